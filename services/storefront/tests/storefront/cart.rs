//! Carts: what goes in, and what it costs.

use contracts::storefront::v1::{
    Cart, CartStatus, ClearCartRequest, ErrorReason, LineProblemKind, RemoveLineRequest,
    ReplaceLinesRequest, UpdateLineRequest,
};
use prost::Message;
use testkit::request_id;
use tonic::Code;

use crate::{Shop, addition, amounts, cents, contents, creation, inputs, is_replay, refused};

fn update(cart: &Cart, position: usize, quantity: i32) -> UpdateLineRequest {
    UpdateLineRequest {
        request_id: request_id(),
        cart_id: cart.cart_id.clone(),
        line_id: cart.lines[position].line_id.clone(),
        quantity,
        etag: String::new(),
    }
}

fn removal(cart: &Cart, line_id: &str) -> RemoveLineRequest {
    RemoveLineRequest {
        request_id: request_id(),
        cart_id: cart.cart_id.clone(),
        line_id: line_id.to_owned(),
    }
}

fn replacement(cart: &Cart, lines: &[(&str, i32)]) -> ReplaceLinesRequest {
    ReplaceLinesRequest {
        request_id: request_id(),
        cart_id: cart.cart_id.clone(),
        lines: inputs(lines),
        etag: String::new(),
    }
}

fn clearance(cart: &Cart) -> ClearCartRequest {
    ClearCartRequest { request_id: request_id(), cart_id: cart.cart_id.clone() }
}

fn problems(cart: &Cart) -> Vec<Vec<LineProblemKind>> {
    let kinds = |line: &contracts::storefront::v1::CartLine| {
        line.problems.iter().map(contracts::storefront::v1::LineProblem::kind).collect()
    };
    cart.lines.iter().map(kinds).collect()
}

#[tokio::test]
async fn a_cart_holds_what_was_put_in_at_todays_prices() {
    let shop = Shop::open().await;
    let made = shop.cart(&[("mug", 2), ("tea", 1)]).await;
    assert_eq!(made.owner_id, "alice");
    assert_eq!(made.currency_code, "EUR");
    assert_eq!(made.status(), CartStatus::Active);

    let mug = &made.lines[0];
    assert_eq!((mug.sku.as_str(), mug.quantity, mug.title.as_str()), ("mug", 2, "A mug"));
    assert_eq!((mug.product_id.as_str(), mug.variant_id.as_str()), ("product-mug", "variant-mug"));
    assert_eq!(
        [&mug.unit_price, &mug.subtotal, &mug.tax].map(cents),
        [1_250, 2_500, 525],
        "tax is a part of the line, rounded once"
    );
    // 21 % of 333 is 69.93.
    assert_eq!(cents(&made.lines[1].tax), 70);
    assert_eq!(amounts(&made.totals), [2_833, 595, 0, 3_428]);
    assert_eq!(shop.read_cart(&made.cart_id).await, made);
}

#[tokio::test]
async fn a_new_price_is_seen_at_once() {
    let shop = Shop::open().await;
    let cart = shop.cart(&[("mug", 1)]).await;
    shop.world.shelf.price("mug", 1_000);
    let cart = shop.read_cart(&cart.cart_id).await;
    assert_eq!(amounts(&cart.totals), [1_000, 210, 0, 1_210]);
}

#[tokio::test]
async fn lines_are_added_updated_removed_replaced_and_cleared() {
    let shop = Shop::open().await;
    let cart = shop.cart(&[]).await;
    assert_eq!(amounts(&cart.totals), [0, 0, 0, 0]);
    shop.add(&cart, "mug", 1).await.unwrap();
    shop.add(&cart, "tea", 2).await.unwrap();
    let cart = shop.add(&cart, "mug", 2).await.unwrap();
    assert_eq!(contents(&cart), [("mug", 3), ("tea", 2)], "more of an SKU joins its line");

    let cart = shop.carts().update_line(update(&cart, 0, 5)).await.unwrap().into_inner();
    assert_eq!(contents(&cart), [("mug", 5), ("tea", 2)]);
    let cart = shop.carts().update_line(update(&cart, 0, 0)).await.unwrap().into_inner();
    assert_eq!(contents(&cart), [("tea", 2)]);
    let gone = removal(&cart, &cart.lines[0].line_id);
    let cart = shop.carts().remove_line(gone).await.unwrap().into_inner();
    assert_eq!(contents(&cart), []);

    let lines = [("sofa", 1), ("mug", 1), ("sofa", 1)];
    let cart = shop.carts().replace_lines(replacement(&cart, &lines)).await.unwrap().into_inner();
    assert_eq!(contents(&cart), [("sofa", 2), ("mug", 1)], "an SKU given twice is added up");
    let cart = shop.carts().clear_cart(clearance(&cart)).await.unwrap().into_inner();
    assert_eq!(contents(&cart), []);
}

/// Sends a request twice, and demands one effect and one answer.
macro_rules! twice {
    ($shop:ident, $method:ident, $request:expr) => {{
        let request = $request;
        let first = $shop.carts().$method(request.clone()).await.unwrap();
        let second = $shop.carts().$method(request).await.unwrap();
        assert!(!is_replay(&first) && is_replay(&second), stringify!($method));
        let (first, second) = (first.into_inner(), second.into_inner());
        assert_eq!(first.encode_to_vec(), second.encode_to_vec(), stringify!($method));
        let kept = $shop.read_cart(&first.cart_id).await;
        assert_eq!(kept, first, "{} was done once", stringify!($method));
        first
    }};
}

#[tokio::test]
async fn a_request_sent_twice_has_one_effect_and_one_answer() {
    let shop = Shop::open().await;
    let mut new = creation(&[("mug", 1)]);
    new.request_id = request_id();
    let cart = twice!(shop, create_cart, new);
    let cart = twice!(shop, add_line, addition(&cart, "tea", 2));
    assert_eq!(contents(&cart), [("mug", 1), ("tea", 2)]);
    let cart = twice!(shop, update_line, update(&cart, 0, 4));
    let cart = twice!(shop, remove_line, removal(&cart, &cart.lines[0].line_id));
    let cart = twice!(shop, replace_lines, replacement(&cart, &[("sofa", 1)]));
    let cart = twice!(shop, clear_cart, clearance(&cart));
    assert_eq!(contents(&cart), []);
}

#[tokio::test]
async fn a_request_id_is_not_good_for_something_else() {
    let shop = Shop::open().await;
    let cart = shop.cart(&[]).await;
    let mut request = addition(&cart, "mug", 1);
    shop.carts().add_line(request.clone()).await.unwrap();
    request.quantity = 2;
    let status = shop.carts().add_line(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(testkit::reason(&status), "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(contents(&shop.read_cart(&cart.cart_id).await), [("mug", 1)]);
}

#[tokio::test]
async fn what_was_done_is_answered_again_though_it_is_sold_no_more() {
    let shop = Shop::open().await;
    let mut new = creation(&[("mug", 1)]);
    new.request_id = request_id();
    let cart = shop.carts().create_cart(new.clone()).await.unwrap().into_inner();
    let more = addition(&cart, "mug", 1);
    shop.carts().add_line(more.clone()).await.unwrap();
    let instead = replacement(&cart, &[("mug", 7)]);
    shop.carts().replace_lines(instead.clone()).await.unwrap();

    shop.world.shelf.withdraw("mug");
    let again = shop.carts().create_cart(new).await.unwrap();
    assert!(is_replay(&again));
    assert_eq!(again.into_inner().cart_id, cart.cart_id);
    assert!(is_replay(&shop.carts().add_line(more).await.unwrap()));
    assert!(is_replay(&shop.carts().replace_lines(instead).await.unwrap()));
}

#[tokio::test]
async fn what_the_catalogue_does_not_sell_cannot_be_put_in() {
    let shop = Shop::open().await;
    let cart = shop.cart(&[("mug", 1)]).await;
    let status = refused(shop.add(&cart, "ghost", 1).await, ErrorReason::SkuUnknown);
    assert_eq!(status.code(), Code::NotFound);
    assert!(status.message().contains("ghost"), "{status:?}");
    let answer = shop.carts().replace_lines(replacement(&cart, &[("tea", 1), ("ghost", 1)])).await;
    refused(answer, ErrorReason::SkuUnknown);
    refused(shop.carts().create_cart(creation(&[("ghost", 1)])).await, ErrorReason::SkuUnknown);
    // Mugs are sold in euros only.
    let mut dollars = creation(&[("mug", 1)]);
    dollars.currency_code = "USD".to_owned();
    refused(shop.carts().create_cart(dollars).await, ErrorReason::SkuUnknown);
    assert_eq!(contents(&shop.read_cart(&cart.cart_id).await), [("mug", 1)]);
}

#[tokio::test]
async fn a_line_that_cannot_be_bought_stays_and_says_why() {
    let shop = Shop::open().await;
    let cart = shop.cart(&[("mug", 2), ("tea", 3), ("sofa", 1)]).await;
    assert_eq!(problems(&cart), [vec![], vec![], vec![]]);
    shop.world.shelf.withdraw("mug");
    shop.world.shelf.stock("tea", 2);
    let cart = shop.read_cart(&cart.cart_id).await;
    assert_eq!(
        problems(&cart),
        [vec![LineProblemKind::NotSold], vec![LineProblemKind::LowStock], vec![]]
    );
    assert_eq!(cart.lines[1].problems[0].message, "only 2 are in stock");
    assert_eq!(cart.lines[0].unit_price, None);
    assert_eq!(amounts(&cart.totals)[0], 3 * 333 + 7_500, "what is not sold does not count");
}

#[tokio::test]
async fn a_stale_etag_is_refused() {
    let shop = Shop::open().await;
    let stale = shop.cart(&[("mug", 1)]).await;
    let fresh = shop.add(&stale, "mug", 1).await.unwrap();
    assert_ne!(stale.etag, fresh.etag);

    let mut request = update(&stale, 0, 9);
    request.etag = stale.etag.clone();
    let status =
        refused(shop.carts().update_line(request.clone()).await, ErrorReason::EtagMismatch);
    assert_eq!(status.code(), Code::Aborted);
    let mut instead = replacement(&stale, &[("tea", 1)]);
    instead.etag = stale.etag;
    refused(shop.carts().replace_lines(instead).await, ErrorReason::EtagMismatch);
    assert_eq!(shop.read_cart(&fresh.cart_id).await, fresh);

    // A refusal is not remembered: the same id may be tried with the fresh one.
    request.etag = fresh.etag;
    let cart = shop.carts().update_line(request).await.unwrap().into_inner();
    assert_eq!(contents(&cart), [("mug", 9)]);
}

#[tokio::test]
async fn a_cart_has_room_for_200_lines_and_10000_pieces_of_each() {
    let shop = Shop::open().await;
    let skus: Vec<String> = (0..201).map(|number| format!("sku-{number}")).collect();
    for sku in &skus {
        shop.world.shelf.put(sku, 100, 20_000);
    }
    let lines: Vec<(&str, i32)> = skus.iter().map(|sku| (sku.as_str(), 1)).collect();
    let cart = shop.cart(&lines[..200]).await;
    let status = refused(shop.add(&cart, &skus[200], 1).await, ErrorReason::CartFull);
    assert_eq!(status.code(), Code::FailedPrecondition);
    shop.add(&cart, &skus[0], 9_999).await.unwrap();
    refused(shop.add(&cart, &skus[0], 1).await, ErrorReason::CartFull);
    let heap = replacement(&cart, &[(&skus[0], 6_000), (&skus[0], 4_001)]);
    refused(shop.carts().replace_lines(heap).await, ErrorReason::CartFull);

    let cart = shop.read_cart(&cart.cart_id).await;
    assert_eq!((cart.lines.len(), cart.lines[0].quantity), (200, 10_000));
    let too_many = shop.carts().create_cart(creation(&lines)).await.unwrap_err();
    assert_eq!(too_many.code(), Code::InvalidArgument);
    let too_much = shop.add(&cart, &skus[1], 10_001).await.unwrap_err();
    assert_eq!(testkit::fields(&too_much), ["quantity"]);
}

#[tokio::test]
async fn a_line_that_is_not_there_cannot_be_changed() {
    let shop = Shop::open().await;
    let cart = shop.cart(&[("mug", 1)]).await;
    let other = shop.cart(&[("mug", 1)]).await;
    let mut request = update(&cart, 0, 2);
    request.line_id = other.lines[0].line_id.clone();
    let status = refused(shop.carts().update_line(request).await, ErrorReason::LineNotFound);
    assert_eq!(status.code(), Code::NotFound);
    let request = removal(&cart, &request_id());
    refused(shop.carts().remove_line(request).await, ErrorReason::LineNotFound);
}

#[tokio::test]
async fn a_cart_that_was_sold_or_is_being_sold_cannot_be_changed() {
    let shop = Shop::open().await;
    for ends in [crate::fakes::Ends::Sold, crate::fakes::Ends::Pending] {
        shop.world.orders.will(ends);
        let checkout = shop.ready().await;
        shop.complete(&checkout).await.unwrap();
        let cart = shop.read_cart(&checkout.cart_id).await;
        let status = refused(shop.add(&cart, "mug", 1).await, ErrorReason::CartNotActive);
        assert_eq!(status.code(), Code::FailedPrecondition);
        let mut carts = shop.carts();
        refused(carts.update_line(update(&cart, 0, 1)).await, ErrorReason::CartNotActive);
        let gone = removal(&cart, &cart.lines[0].line_id);
        refused(carts.remove_line(gone).await, ErrorReason::CartNotActive);
        let instead = replacement(&cart, &[("tea", 1)]);
        refused(carts.replace_lines(instead).await, ErrorReason::CartNotActive);
        refused(carts.clear_cart(clearance(&cart)).await, ErrorReason::CartNotActive);
        assert_eq!(shop.read_cart(&checkout.cart_id).await, cart);
    }
}
