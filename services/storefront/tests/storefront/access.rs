//! Whose carts and checkouts they are.

use contracts::storefront::v1::{
    CancelCheckoutRequest, ClearCartRequest, ErrorReason, GetCartRequest, GetCheckoutRequest,
    GetCompletionRequest, ListShippingOptionsRequest, RemoveLineRequest, ReplaceLinesRequest,
    StartCheckoutRequest, UpdateLineRequest, cart_service_client::CartServiceClient,
    checkout_service_client::CheckoutServiceClient,
};
use testkit::request_id;
use tonic::Code;

use crate::{
    Shop, addition, addresses, completion_of, contact, creation, inputs, payment, refused,
    shipping, sold,
};

#[tokio::test]
async fn a_foreign_cart_is_not_there() {
    let shop = Shop::open().await;
    let cart = shop.cart(&[("mug", 1)]).await;
    let cart_id = cart.cart_id.clone();
    let line_id = cart.lines[0].line_id.clone();
    // Neither another customer nor staff who may only read.
    let mallory = shop.fixture.as_customer("mallory");
    for caller in [mallory, shop.fixture.as_staff(&["storefront.carts.read"])] {
        let mut carts = CartServiceClient::new(caller.clone());
        let status =
            refused(carts.add_line(addition(&cart, "mug", 1)).await, ErrorReason::CartNotFound);
        assert_eq!(status.code(), Code::NotFound);
        let request = UpdateLineRequest {
            cart_id: cart_id.clone(),
            line_id: line_id.clone(),
            quantity: 2,
            ..Default::default()
        };
        refused(carts.update_line(request).await, ErrorReason::CartNotFound);
        let request = RemoveLineRequest {
            cart_id: cart_id.clone(),
            line_id: line_id.clone(),
            ..Default::default()
        };
        refused(carts.remove_line(request).await, ErrorReason::CartNotFound);
        let request = ReplaceLinesRequest {
            cart_id: cart_id.clone(),
            lines: inputs(&[("tea", 1)]),
            ..Default::default()
        };
        refused(carts.replace_lines(request).await, ErrorReason::CartNotFound);
        let request = ClearCartRequest { cart_id: cart_id.clone(), ..Default::default() };
        refused(carts.clear_cart(request).await, ErrorReason::CartNotFound);
        let request = StartCheckoutRequest { cart_id: cart_id.clone(), ..Default::default() };
        let mut checkouts = CheckoutServiceClient::new(caller);
        refused(checkouts.start_checkout(request).await, ErrorReason::CartNotFound);
    }
    let mut mallory = CartServiceClient::new(shop.fixture.as_customer("mallory"));
    let foreign = mallory.get_cart(GetCartRequest { cart_id: cart_id.clone() }).await;
    let missing = mallory.get_cart(GetCartRequest { cart_id: request_id() }).await;
    let foreign = refused(foreign, ErrorReason::CartNotFound);
    let missing = refused(missing, ErrorReason::CartNotFound);
    assert_eq!(foreign.message(), missing.message(), "nobody can tell the one from the other");
    assert_eq!(shop.read_cart(&cart_id).await, cart);
}

#[tokio::test]
async fn a_foreign_checkout_is_not_there() {
    let shop = Shop::open().await;
    let checkout = shop.ready().await;
    let checkout_id = checkout.checkout_id.clone();
    let mallory = shop.fixture.as_customer("mallory");
    for caller in [mallory, shop.fixture.as_staff(&["storefront.checkouts.read"])] {
        let mut foreign = CheckoutServiceClient::new(caller);
        let status =
            refused(foreign.set_contact(contact(&checkout)).await, ErrorReason::CheckoutNotFound);
        assert_eq!(status.code(), Code::NotFound);
        let answer = foreign.set_addresses(addresses(&checkout)).await;
        refused(answer, ErrorReason::CheckoutNotFound);
        let answer = foreign.set_shipping_option(shipping(&checkout, "express")).await;
        refused(answer, ErrorReason::CheckoutNotFound);
        let answer = foreign.set_payment_method(payment(&checkout, "pm_mallory")).await;
        refused(answer, ErrorReason::CheckoutNotFound);
        let request = ListShippingOptionsRequest { checkout_id: checkout_id.clone() };
        let answer = foreign.list_shipping_options(request).await;
        refused(answer, ErrorReason::CheckoutNotFound);
        let answer = foreign.complete_checkout(completion_of(&checkout)).await;
        refused(answer, ErrorReason::CheckoutNotFound);
        let request = GetCompletionRequest { checkout_id: checkout_id.clone() };
        refused(foreign.get_completion(request).await, ErrorReason::CheckoutNotFound);
        let request =
            CancelCheckoutRequest { checkout_id: checkout_id.clone(), ..Default::default() };
        refused(foreign.cancel_checkout(request).await, ErrorReason::CheckoutNotFound);
    }
    let mut mallory = CheckoutServiceClient::new(shop.fixture.as_customer("mallory"));
    let answer = mallory.get_checkout(GetCheckoutRequest { checkout_id }).await;
    refused(answer, ErrorReason::CheckoutNotFound);
    assert_eq!(shop.read(&checkout).await, checkout);
    assert!(shop.world.orders.purchases().is_empty());
}

#[tokio::test]
async fn staff_with_the_permission_may_read() {
    let shop = Shop::open().await;
    let checkout = shop.ready().await;
    let cart = shop.read_cart(&checkout.cart_id).await;
    let permissions = ["storefront.carts.read", "storefront.checkouts.read"];
    let staff = shop.fixture.as_staff(&permissions);
    let request = GetCartRequest { cart_id: cart.cart_id.clone() };
    let read = CartServiceClient::new(staff.clone()).get_cart(request).await.unwrap();
    assert_eq!(read.into_inner(), cart);
    let request = GetCheckoutRequest { checkout_id: checkout.checkout_id.clone() };
    let read = CheckoutServiceClient::new(staff).get_checkout(request).await.unwrap();
    assert_eq!(read.into_inner(), checkout);

    let clerk = shop.fixture.as_staff(&["orders.orders.read"]);
    let request = GetCartRequest { cart_id: cart.cart_id };
    let status = CartServiceClient::new(clerk).get_cart(request).await.unwrap_err();
    assert!(matches!(status.code(), Code::NotFound | Code::PermissionDenied), "{status:?}");
}

#[tokio::test]
async fn without_a_token_there_is_no_cart() {
    let shop = Shop::open().await;
    let mut nobody = CartServiceClient::new(shop.fixture.anonymous());
    let status = nobody.create_cart(creation(&[])).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_guest_buys_as_a_guest() {
    let shop = Shop::open().await;
    let guest = shop.fixture.as_guest("guest-1");
    let mut carts = CartServiceClient::new(guest.clone());
    let cart = carts.create_cart(creation(&[("mug", 1)])).await.unwrap().into_inner();
    let mut checkouts = CheckoutServiceClient::new(guest);
    let request = StartCheckoutRequest { cart_id: cart.cart_id, ..Default::default() };
    let checkout = checkouts.start_checkout(request).await.unwrap().into_inner();
    checkouts.set_contact(contact(&checkout)).await.unwrap();
    checkouts.set_addresses(addresses(&checkout)).await.unwrap();
    checkouts.set_shipping_option(shipping(&checkout, "express")).await.unwrap();
    let ready = checkouts.set_payment_method(payment(&checkout, "pm_ok")).await.unwrap();
    let answer = checkouts.complete_checkout(completion_of(ready.get_ref())).await.unwrap();
    sold(&answer.into_inner().outcome.unwrap());

    let purchase = shop.world.orders.purchases().remove(0);
    assert_eq!(purchase.owner_id, "guest-1");
    assert_eq!(purchase.owner_kind(), contracts::orders::v1::OwnerKind::Guest);
}
