//! Lists of carts.

use std::{collections::BTreeSet, time::Duration};

use contracts::storefront::v1::{
    Cart, CartStatus, ListCartsRequest, cart_service_client::CartServiceClient,
};
use testkit::As;
use tonic::Code;

use crate::{Shop, creation};

/// The ids of every cart, page by page.
async fn pages(mut client: CartServiceClient<As>, size: i32, status: CartStatus) -> Vec<Vec<Cart>> {
    let mut pages = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListCartsRequest { page_size: size, page_token, status: status.into() };
        let page = client.list_carts(request).await.unwrap().into_inner();
        pages.push(page.carts);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return pages;
        }
    }
}

fn ids(pages: &[Vec<Cart>]) -> Vec<String> {
    pages.iter().flatten().map(|cart| cart.cart_id.clone()).collect()
}

fn only(cart: &Cart) -> Vec<String> {
    vec![cart.cart_id.clone()]
}

#[tokio::test]
async fn pages_list_every_cart_once_the_newest_first() {
    let shop = Shop::open().await;
    let mut made = Vec::new();
    for number in 0..7 {
        // Some are made in one moment.
        if number % 3 == 0 {
            shop.fixture.clock.advance(Duration::from_secs(1));
        }
        made.push(shop.cart(&[]).await.cart_id);
    }
    let found = pages(shop.carts(), 3, CartStatus::Unspecified).await;
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
    let found = ids(&found);
    assert_eq!(found.iter().collect::<BTreeSet<_>>(), made.iter().collect());
    assert_eq!(found[0], made[6]);
    assert_eq!(ids(&pages(shop.carts(), 0, CartStatus::Unspecified).await), found);
}

#[tokio::test]
async fn a_cart_made_between_two_pages_moves_none() {
    let shop = Shop::open().await;
    for _ in 0..4 {
        shop.cart(&[]).await;
        shop.fixture.clock.advance(Duration::from_secs(1));
    }
    let first = ListCartsRequest { page_size: 2, ..Default::default() };
    let first = shop.carts().list_carts(first).await.unwrap().into_inner();
    let late = shop.cart(&[]).await;
    let second = ListCartsRequest {
        page_size: 2,
        page_token: first.next_page_token.clone(),
        ..Default::default()
    };
    let second = shop.carts().list_carts(second).await.unwrap().into_inner();
    let found = ids(&[first.carts, second.carts]);
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 4);
    assert!(!found.contains(&late.cart_id));

    // A token is good for the list that gave it.
    let other = ListCartsRequest {
        page_token: first.next_page_token,
        status: CartStatus::Active.into(),
        ..Default::default()
    };
    let status = shop.carts().list_carts(other).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn carts_are_listed_by_status_by_owner_and_by_staff() {
    let shop = Shop::open().await;
    let open = shop.cart(&[("mug", 1)]).await;
    let sold = shop.ready().await;
    shop.complete(&sold).await.unwrap();
    let mut bob = CartServiceClient::new(shop.fixture.as_guest("bob"));
    let bobs = bob.create_cart(creation(&[])).await.unwrap().into_inner();

    assert_eq!(ids(&pages(shop.carts(), 0, CartStatus::Active).await), only(&open));
    assert_eq!(
        ids(&pages(shop.carts(), 0, CartStatus::Converted).await),
        vec![sold.cart_id.clone()]
    );
    assert!(ids(&pages(shop.carts(), 0, CartStatus::CheckingOut).await).is_empty());
    assert_eq!(ids(&pages(bob, 0, CartStatus::Unspecified).await), only(&bobs));

    let staff = || CartServiceClient::new(shop.fixture.as_staff(&["storefront.carts.read"]));
    let all = ids(&pages(staff(), 1, CartStatus::Unspecified).await);
    assert_eq!(
        all.into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from([open.cart_id.clone(), sold.cart_id, bobs.cart_id.clone()])
    );
    let active = ids(&pages(staff(), 1, CartStatus::Active).await);
    assert_eq!(
        active.into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from([open.cart_id, bobs.cart_id])
    );
}
