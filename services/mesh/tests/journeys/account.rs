//! Guests, customers and their sessions.

use contracts::{
    identity::v1::{
        Address, CreateAddressRequest, ListAddressesRequest, RefreshTokenRequest,
        RefreshTokenResponse, UpgradeGuestRequest, auth_service_client::AuthServiceClient,
        user_service_client::UserServiceClient,
    },
    orders::v1::{ListOrdersRequest, OwnerKind, PaymentStatus},
    storefront::v1::SetAddressesRequest,
};
use testkit::{reason, request_id};
use tonic::{Code, Status};

use super::support::{
    PASSWORD, TestMesh,
    shopper::{CARD_OK, Shopper, address},
};

pub(crate) async fn a_customer_buys_with_the_address_book(mesh: TestMesh) {
    let sku = mesh.product(5).await;
    let ana = mesh.customer().await;
    let mut users = ana.client.client(UserServiceClient::new);
    let mut postal_address = address();
    postal_address.locality = "Figueres".to_owned();
    let request = CreateAddressRequest {
        request_id: request_id(),
        user_id: ana.id.clone(),
        address: Some(Address {
            label: "Home".to_owned(),
            postal_address: Some(postal_address),
            ..Address::default()
        }),
    };
    users.create_address(request).await.unwrap();
    let shopper = ana.shopper();
    let checkout = shopper.ready(&sku, 1, CARD_OK).await.unwrap();

    let request =
        ListAddressesRequest { user_id: ana.id.clone(), ..ListAddressesRequest::default() };
    let book = users.list_addresses(request).await.unwrap().into_inner().addresses;
    assert_eq!(book.len(), 1);
    let request = SetAddressesRequest {
        request_id: request_id(),
        checkout_id: checkout.checkout_id.clone(),
        shipping_address: book[0].postal_address.clone(),
        billing_address: None,
    };
    let checkout = shopper.checkouts().set_addresses(request).await.unwrap().into_inner();
    let answer = shopper.complete(&checkout, &request_id()).await.unwrap().into_inner();
    let placed = shopper
        .settle(&checkout, answer, contracts::payments::v1::PaymentActionOutcome::Success)
        .await
        .unwrap();

    let order = shopper.order_when(&placed.order_id, PaymentStatus::Captured).await;
    assert_eq!((order.owner_kind(), &order.owner_id), (OwnerKind::Customer, &ana.id));
    assert_eq!(order.shipping_address.unwrap().locality, "Figueres");
    let listed = shopper
        .orders()
        .list_orders(ListOrdersRequest::default())
        .await
        .unwrap()
        .into_inner()
        .orders;
    assert_eq!(listed.iter().map(|order| &order.order_id).collect::<Vec<_>>(), [&placed.order_id]);
    // Signed in again it is all still hers.
    let again = mesh.client().sign_in(&ana.email, PASSWORD).await.unwrap();
    assert_eq!(Shopper::new(again).order(&placed.order_id).await.number, order.number);
    mesh.stop().await;
}

pub(crate) async fn a_guest_who_registers_keeps_the_cart(mesh: TestMesh) {
    let sku = mesh.product(5).await;
    let guest = mesh.guest().await;
    let cart = guest.shopper().cart(&sku, 2).await.unwrap();

    let request = UpgradeGuestRequest {
        request_id: request_id(),
        email: format!("{}@example.com", request_id()),
        password: PASSWORD.to_owned(),
        display_name: "Ana Puig".to_owned(),
    };
    let upgraded = guest
        .client
        .client(AuthServiceClient::new)
        .upgrade_guest(request)
        .await
        .unwrap()
        .into_inner();

    assert_eq!(upgraded.user.unwrap().user_id, guest.id);
    let customer =
        Shopper::new(mesh.client().with_token(&upgraded.tokens.unwrap().access_token).unwrap());
    assert_eq!(customer.read_cart(&cart.cart_id).await, cart);
    let checkout = customer.checkout(&cart.cart_id, CARD_OK).await.unwrap();
    let answer = customer.complete(&checkout, &request_id()).await.unwrap().into_inner();
    let success = contracts::payments::v1::PaymentActionOutcome::Success;
    let placed = customer.settle(&checkout, answer, success).await.unwrap();
    assert_eq!(customer.order(&placed.order_id).await.owner_kind(), OwnerKind::Customer);
    mesh.stop().await;
}

pub(crate) async fn a_refresh_token_is_good_once(mesh: TestMesh) {
    let ana = mesh.customer().await;
    let refresh = async |token: &str, key: &str| -> Result<RefreshTokenResponse, Status> {
        let request =
            RefreshTokenRequest { request_id: key.to_owned(), refresh_token: token.to_owned() };
        let response = mesh.client().client(AuthServiceClient::new).refresh_token(request).await?;
        Ok(response.into_inner())
    };
    let key = request_id();
    let first = refresh(&ana.refresh_token, &key).await.unwrap();
    // Whoever lost the answer may ask again by the same key.
    assert_eq!(refresh(&ana.refresh_token, &key).await.unwrap(), first);
    let second = first.tokens.unwrap();
    assert_ne!(second.refresh_token, ana.refresh_token);
    let third = refresh(&second.refresh_token, &request_id()).await.unwrap().tokens.unwrap();
    let own = mesh.client().with_token(&third.access_token).unwrap();
    Shopper::new(own)
        .carts()
        .list_carts(contracts::storefront::v1::ListCartsRequest::default())
        .await
        .unwrap();

    // A thief who replays a spent one ends the session for both.
    let stolen = refresh(&ana.refresh_token, &request_id()).await.unwrap_err();
    assert_eq!(
        (stolen.code(), reason(&stolen).as_str()),
        (Code::Unauthenticated, "REFRESH_TOKEN_REUSED")
    );
    let ended = refresh(&third.refresh_token, &request_id()).await.unwrap_err();
    assert_eq!(
        (ended.code(), reason(&ended).as_str()),
        (Code::Unauthenticated, "REFRESH_TOKEN_INVALID")
    );
    mesh.stop().await;
}
