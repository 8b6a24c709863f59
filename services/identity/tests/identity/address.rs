//! Address books.

use contracts::{
    identity::v1::{
        Address, AddressUse, CreateAddressRequest, DeleteAddressRequest, ErrorReason,
        GetAddressRequest, ListAddressesRequest, SetDefaultAddressRequest, SuspendUserRequest,
        UpdateAddressRequest, user_service_client::UserServiceClient,
    },
    values::v1::PostalAddress,
};
use prost_types::FieldMask;
use tonic::Code;

use crate::{Shop, refused};

fn postal(locality: &str) -> PostalAddress {
    PostalAddress {
        recipient: "Ada Lovelace".to_owned(),
        address_lines: vec!["Calle Mayor 1".to_owned()],
        locality: locality.to_owned(),
        region_code: "ES".to_owned(),
        postal_code: "28001".to_owned(),
        ..PostalAddress::default()
    }
}

fn new(user_id: &str, label: &str) -> CreateAddressRequest {
    let address = Address {
        label: label.to_owned(),
        postal_address: Some(postal("Madrid")),
        ..Address::default()
    };
    CreateAddressRequest {
        user_id: user_id.to_owned(),
        address: Some(address),
        ..CreateAddressRequest::default()
    }
}

fn default_for(address_id: &str, r#use: AddressUse) -> SetDefaultAddressRequest {
    SetDefaultAddressRequest {
        address_id: address_id.to_owned(),
        r#use: r#use.into(),
        ..SetDefaultAddressRequest::default()
    }
}

#[tokio::test]
async fn the_first_address_is_the_default_until_another_is_chosen() {
    let shop = Shop::open().await;
    let (user, tokens) = shop.register("ada@example.com").await;
    let mut users = shop.users_as(&tokens);
    let request =
        CreateAddressRequest { request_id: testkit::request_id(), ..new(&user.user_id, "home") };
    let home = users.create_address(request.clone()).await.unwrap().into_inner();
    assert!(home.default_shipping && home.default_billing);
    assert_eq!(
        (home.label.as_str(), home.postal_address.clone()),
        ("home", Some(postal("Madrid")))
    );
    assert_eq!(users.create_address(request).await.unwrap().into_inner(), home);

    let office = users.create_address(new(&user.user_id, "office")).await.unwrap().into_inner();
    assert!(!office.default_shipping && !office.default_billing);
    let request = default_for(&office.address_id, AddressUse::Shipping);
    let chosen =
        users.set_default_address(request.clone()).await.unwrap().into_inner().address.unwrap();
    assert!(chosen.default_shipping && !chosen.default_billing);
    assert_eq!(
        users.set_default_address(request).await.unwrap().into_inner().address.unwrap(),
        chosen
    );

    let request = ListAddressesRequest { user_id: user.user_id, ..ListAddressesRequest::default() };
    let book = users.list_addresses(request).await.unwrap().into_inner().addresses;
    let defaults: Vec<_> =
        book.iter().map(|address| (address.default_shipping, address.default_billing)).collect();
    assert_eq!(defaults, [(false, true), (true, false)]);
}

#[tokio::test]
async fn an_update_changes_what_its_mask_names() {
    let shop = Shop::open().await;
    let (user, tokens) = shop.register("ada@example.com").await;
    let mut users = shop.users_as(&tokens);
    let home = users.create_address(new(&user.user_id, "home")).await.unwrap().into_inner();
    let changed = Address {
        address_id: home.address_id.clone(),
        label: "old flat".to_owned(),
        postal_address: Some(postal("Sevilla")),
        etag: home.etag.clone(),
        ..Address::default()
    };
    let request = UpdateAddressRequest {
        address: Some(changed.clone()),
        update_mask: Some(FieldMask { paths: vec!["label".to_owned()] }),
        ..UpdateAddressRequest::default()
    };
    let after = users.update_address(request.clone()).await.unwrap().into_inner();
    assert_eq!(
        (after.label.as_str(), after.postal_address.clone()),
        ("old flat", home.postal_address)
    );
    assert!(after.default_shipping);
    refused(users.update_address(request).await, ErrorReason::EtagMismatch);

    let all = UpdateAddressRequest {
        address: Some(Address { etag: after.etag, ..changed }),
        ..UpdateAddressRequest::default()
    };
    let after = users.update_address(all).await.unwrap().into_inner();
    assert_eq!(after.postal_address, Some(postal("Sevilla")));
    let wrong = UpdateAddressRequest {
        address: Some(Address { address_id: home.address_id, ..Address::default() }),
        update_mask: Some(FieldMask { paths: vec!["user_id".to_owned()] }),
        ..UpdateAddressRequest::default()
    };
    assert_eq!(
        testkit::reason(&users.update_address(wrong).await.unwrap_err()),
        "UPDATE_MASK_INVALID"
    );
}

#[tokio::test]
async fn of_many_who_change_one_address_at_once_one_does() {
    let shop = Shop::open().await;
    let (user, tokens) = shop.register("ada@example.com").await;
    let home = shop
        .users_as(&tokens)
        .create_address(new(&user.user_id, "home"))
        .await
        .unwrap()
        .into_inner();
    let changes = (0..8).map(|number| {
        let mut users = shop.users_as(&tokens);
        let address = Address { label: format!("home {number}"), ..home.clone() };
        let request =
            UpdateAddressRequest { address: Some(address), ..UpdateAddressRequest::default() };
        async move { users.update_address(request).await }
    });
    let (_, others) = testkit::exactly_one_ok(crate::token::all_at_once(changes).await);
    assert!(others.iter().all(|status| testkit::reason(status) == "ETAG_MISMATCH"), "{others:?}");
}

#[tokio::test]
async fn a_removed_address_is_gone_and_no_default() {
    let shop = Shop::open().await;
    let (user, tokens) = shop.register("ada@example.com").await;
    let mut users = shop.users_as(&tokens);
    let home = users.create_address(new(&user.user_id, "home")).await.unwrap().into_inner();
    let office = users.create_address(new(&user.user_id, "office")).await.unwrap().into_inner();
    let stale = DeleteAddressRequest {
        address_id: home.address_id.clone(),
        etag: "v0".to_owned(),
        ..DeleteAddressRequest::default()
    };
    refused(users.delete_address(stale).await, ErrorReason::EtagMismatch);
    let request = DeleteAddressRequest {
        request_id: testkit::request_id(),
        address_id: home.address_id.clone(),
        etag: home.etag,
    };
    users.delete_address(request.clone()).await.unwrap();
    users.delete_address(request.clone()).await.unwrap();
    let again = DeleteAddressRequest { request_id: String::new(), ..request };
    refused(users.delete_address(again).await, ErrorReason::AddressNotFound);
    let request = GetAddressRequest { address_id: home.address_id };
    let status = refused(users.get_address(request).await, ErrorReason::AddressNotFound);
    assert_eq!(status.code(), Code::NotFound);
    let request = GetAddressRequest { address_id: office.address_id };
    let left = users.get_address(request).await.unwrap().into_inner();
    assert!(!left.default_shipping && !left.default_billing);
}

#[tokio::test]
async fn anothers_addresses_do_not_exist() {
    let shop = Shop::open().await;
    let (ada, adas) = shop.register("ada@example.com").await;
    let (_, eves) = shop.register("eve@example.com").await;
    let (_, guests) = shop.guest().await;
    let home =
        shop.users_as(&adas).create_address(new(&ada.user_id, "home")).await.unwrap().into_inner();
    let address_id = home.address_id.clone();
    for foreign in [&eves, &guests] {
        let mut users = shop.users_as(foreign);
        let request = GetAddressRequest { address_id: address_id.clone() };
        let found = refused(users.get_address(request).await, ErrorReason::AddressNotFound);
        let request = GetAddressRequest { address_id: testkit::request_id() };
        let missing = refused(users.get_address(request).await, ErrorReason::AddressNotFound);
        assert_eq!((found.message(), found.details()), (missing.message(), missing.details()));
        let stolen = Address { label: "mine".to_owned(), ..home.clone() };
        let request =
            UpdateAddressRequest { address: Some(stolen), ..UpdateAddressRequest::default() };
        refused(users.update_address(request).await, ErrorReason::AddressNotFound);
        let request = DeleteAddressRequest {
            address_id: address_id.clone(),
            ..DeleteAddressRequest::default()
        };
        refused(users.delete_address(request).await, ErrorReason::AddressNotFound);
        let request = default_for(&address_id, AddressUse::Billing);
        refused(users.set_default_address(request).await, ErrorReason::AddressNotFound);
        refused(users.create_address(new(&ada.user_id, "mine")).await, ErrorReason::UserNotFound);
        let request = ListAddressesRequest {
            user_id: ada.user_id.clone(),
            ..ListAddressesRequest::default()
        };
        refused(users.list_addresses(request).await, ErrorReason::UserNotFound);
    }
    let mut staff = UserServiceClient::new(shop.fixture.as_staff(&["identity.addresses.read"]));
    let request = GetAddressRequest { address_id };
    assert_eq!(staff.get_address(request).await.unwrap().into_inner(), home);
}

#[tokio::test]
async fn an_address_book_has_an_end() {
    let shop = Shop::open().await;
    let (user, tokens) = shop.register("ada@example.com").await;
    let mut users = shop.users_as(&tokens);
    for number in 0..100 {
        users.create_address(new(&user.user_id, &format!("number {number}"))).await.unwrap();
    }
    let status = refused(
        users.create_address(new(&user.user_id, "one more")).await,
        ErrorReason::AddressLimitReached,
    );
    assert_eq!(status.code(), Code::FailedPrecondition);

    let mut seen = 0;
    let mut request = ListAddressesRequest {
        user_id: user.user_id,
        page_size: 30,
        ..ListAddressesRequest::default()
    };
    loop {
        let page = users.list_addresses(request.clone()).await.unwrap().into_inner();
        seen += page.addresses.len();
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(seen, 100);
}

#[tokio::test]
async fn what_is_missing_or_wrong_is_named() {
    let shop = Shop::open().await;
    let (user, tokens) = shop.register("ada@example.com").await;
    let mut users = shop.users_as(&tokens);
    let mut request = new(&user.user_id, "home");
    request.address = Some(Address { label: "home".to_owned(), ..Address::default() });
    let status = users.create_address(request).await.unwrap_err();
    assert_eq!(testkit::fields(&status), ["address.postal_address"]);
    let mut request = new(&user.user_id, "home");
    let wrong = PostalAddress { region_code: "Spain".to_owned(), ..postal("Madrid") };
    request.address = Some(Address { postal_address: Some(wrong), ..Address::default() });
    let status = users.create_address(request).await.unwrap_err();
    assert_eq!(testkit::fields(&status), ["address.postal_address.region_code"]);
    let status = users
        .set_default_address(default_for(&testkit::request_id(), AddressUse::Unspecified))
        .await;
    assert_eq!(testkit::fields(&status.unwrap_err()), ["use"]);
    let status = users.update_address(UpdateAddressRequest {
        address: Some(Address { label: "home".to_owned(), ..Address::default() }),
        ..UpdateAddressRequest::default()
    });
    assert_eq!(testkit::fields(&status.await.unwrap_err()), ["address.address_id"]);
}

#[tokio::test]
async fn a_suspended_user_changes_no_address() {
    let shop = Shop::open().await;
    let (user, tokens) = shop.register("ada@example.com").await;
    let mut users = shop.users_as(&tokens);
    let home = users.create_address(new(&user.user_id, "home")).await.unwrap().into_inner();
    let admin = shop.admin().await;
    let request =
        SuspendUserRequest { user_id: user.user_id.clone(), ..SuspendUserRequest::default() };
    shop.users_as(&admin).suspend_user(request).await.unwrap();
    refused(users.create_address(new(&user.user_id, "office")).await, ErrorReason::UserSuspended);
    let request = DeleteAddressRequest {
        address_id: home.address_id.clone(),
        ..DeleteAddressRequest::default()
    };
    refused(users.delete_address(request.clone()).await, ErrorReason::UserSuspended);
    shop.users_as(&admin).delete_address(request).await.unwrap();
}
