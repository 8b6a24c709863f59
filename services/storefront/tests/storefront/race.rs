//! Many at once.

use std::sync::Arc;

use contracts::{
    orders::v1::RefusalReason,
    storefront::v1::{
        CartStatus, CheckoutStatus, ErrorReason, complete_checkout_response::Outcome,
    },
};
use prost::Message;
use tokio::task::JoinSet;

use crate::{Shop, addition, completion_of, contents, fakes::Ends, refused, sold};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_added_at_once_are_all_added() {
    let shop = Arc::new(Shop::open().await);
    let cart = shop.cart(&[("tea", 1)]).await;
    let mut clicks = JoinSet::new();
    for _ in 0..20 {
        let (shop, cart) = (Arc::clone(&shop), cart.clone());
        clicks.spawn(async move { shop.add(&cart, "mug", 1).await });
    }
    for answer in clicks.join_all().await {
        answer.unwrap();
    }
    assert_eq!(contents(&shop.read_cart(&cart.cart_id).await), [("tea", 1), ("mug", 20)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_addition_sent_at_once_is_added_once() {
    let shop = Arc::new(Shop::open().await);
    let cart = shop.cart(&[]).await;
    let request = addition(&cart, "mug", 1);
    let mut clicks = JoinSet::new();
    for _ in 0..20 {
        let (shop, request) = (Arc::clone(&shop), request.clone());
        clicks.spawn(async move { shop.carts().add_line(request).await.unwrap().into_inner() });
    }
    let answers = clicks.join_all().await;
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(contents(&shop.read_cart(&cart.cart_id).await), [("mug", 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkouts_started_at_once_are_one_checkout() {
    let shop = Arc::new(Shop::open().await);
    let cart = shop.cart(&[("mug", 1)]).await;
    let mut clicks = JoinSet::new();
    for _ in 0..10 {
        let (shop, cart) = (Arc::clone(&shop), cart.clone());
        clicks.spawn(async move { shop.start(&cart).await.unwrap() });
    }
    let answers = clicks.join_all().await;
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(shop.events().await, ["CheckoutStarted"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_clicks_on_the_button_buy_once() {
    let shop = Arc::new(Shop::open().await);
    let checkout = shop.ready().await;
    let request = completion_of(&checkout);
    let mut clicks = JoinSet::new();
    for _ in 0..20 {
        let (shop, request) = (Arc::clone(&shop), request.clone());
        clicks.spawn(async move { shop.complete_with(request).await.unwrap() });
    }
    let answers = clicks.join_all().await;
    sold(answers[0].outcome.as_ref().unwrap());
    let bytes: Vec<_> = answers.iter().map(Message::encode_to_vec).collect();
    assert!(bytes.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(shop.world.orders.purchases().len(), 1);
    shop.stands(&checkout, CheckoutStatus::Completed, CartStatus::Converted).await;
    let told = shop.events().await;
    assert_eq!(told, ["CheckoutStarted", "CheckoutCompleted", "CartConverted"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clicks_with_different_keys_buy_once() {
    let shop = Arc::new(Shop::open().await);
    let checkout = shop.ready().await;
    let mut clicks = JoinSet::new();
    for _ in 0..8 {
        let (shop, request) = (Arc::clone(&shop), completion_of(&checkout));
        clicks.spawn(async move { shop.complete_with(request).await.unwrap() });
    }
    let answers = clicks.join_all().await;
    sold(answers[0].outcome.as_ref().unwrap());
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(shop.world.orders.purchases().len(), 1);
}

/// The second click reads the checkout before the first buys, and the stock after
/// the first has taken the last of it.
#[tokio::test]
async fn a_late_click_joins_the_purchase_that_took_the_last_unit() {
    let shop = Shop::open().await;
    let checkout = shop.ready().await;
    shop.world.shelf.stock("mug", 2);
    let request = completion_of(&checkout);
    let gate = shop.world.shelf.hold_next();
    let late = shop.complete_with(request.clone());
    let first = async {
        gate.reached().await;
        let first = shop.complete_with(request.clone()).await;
        shop.world.shelf.stock("mug", 0);
        gate.open();
        first
    };
    let (late, first) = tokio::join!(late, first);
    assert_eq!(late.unwrap(), first.unwrap());
    assert_eq!(shop.world.orders.purchases().len(), 1);
}

/// The click reads a purchase under way and finds the checkout open again when it
/// comes to join it: it looks again, and buys.
#[tokio::test]
async fn a_click_that_is_overtaken_by_a_refusal_buys_anew() {
    let shop = Shop::open_with("completion.read=twice:1").await;
    shop.world.orders.will(Ends::Pending);
    let checkout = shop.ready().await;
    let outcome = shop.complete(&checkout).await.unwrap();
    assert!(matches!(outcome, Outcome::Pending(_)), "{outcome:?}");
    shop.world.orders.end(Ends::Refused(RefusalReason::PaymentDeclined));
    shop.world.orders.will(Ends::Sold);

    sold(&shop.complete(&checkout).await.unwrap());

    assert_eq!(shop.world.orders.purchases().len(), 2);
    shop.stands(&checkout, CheckoutStatus::Completed, CartStatus::Converted).await;
    let told = shop.events().await;
    assert_eq!(told, ["CheckoutStarted", "CheckoutFailed", "CheckoutCompleted", "CartConverted"]);
}

/// The same where it ends in a sale: the click says that one.
#[tokio::test]
async fn a_click_that_is_overtaken_by_a_sale_tells_of_it() {
    let shop = Shop::open_with("completion.read=twice:1").await;
    shop.world.orders.will(Ends::Pending);
    let checkout = shop.ready().await;
    shop.complete(&checkout).await.unwrap();
    shop.world.orders.end(Ends::Sold);
    sold(&shop.complete(&checkout).await.unwrap());
    assert_eq!(shop.world.orders.purchases().len(), 1);
    assert_eq!(shop.world.orders.asked(), 2, "what is settled is not handed over again");
}

/// Between the quote and the sale another click has begun a purchase that was
/// refused: the checkout is open as it was, and not the same any more.
#[tokio::test]
async fn a_click_under_which_another_was_refused_buys() {
    let shop = Shop::open().await;
    let checkout = shop.ready().await;
    let gate = shop.world.shelf.hold_next();
    let late = shop.complete(&checkout);
    let first = async {
        gate.reached().await;
        shop.world.orders.will(Ends::Refused(RefusalReason::PaymentDeclined));
        refused(shop.complete(&checkout).await, ErrorReason::PaymentDeclined);
        shop.world.orders.will(Ends::Sold);
        gate.open();
    };
    let (late, ()) = tokio::join!(late, first);
    sold(&late.unwrap());
    assert_eq!(shop.world.orders.purchases().len(), 2);
    shop.stands(&checkout, CheckoutStatus::Completed, CartStatus::Converted).await;
}

/// The cart changes after the quote was made and before the sale begins: it is
/// not sold for a price that is not that of what is in it.
#[tokio::test]
async fn a_line_added_under_a_completion_is_not_sold_unasked() {
    let shop = Shop::open().await;
    let checkout = shop.ready().await;
    let cart = shop.read_cart(&checkout.cart_id).await;
    let gate = shop.world.shelf.hold_next();
    let completed = shop.complete(&checkout);
    let added = async {
        gate.reached().await;
        shop.add(&cart, "sofa", 1).await.unwrap();
        gate.open();
    };
    let (completed, ()) = tokio::join!(completed, added);
    refused(completed, ErrorReason::PriceChanged);
    assert_eq!(shop.world.orders.asked(), 0);
    shop.stands(&checkout, CheckoutStatus::Open, CartStatus::Active).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_and_fresh_starts_do_not_wait_for_each_other() {
    let shop = Arc::new(Shop::open().await);
    shop.world.orders.will(Ends::Refused(RefusalReason::PaymentDeclined));
    let checkout = shop.ready().await;
    let cart = shop.read_cart(&checkout.cart_id).await;
    for _ in 0..15 {
        let mut calls = JoinSet::new();
        for _ in 0..4 {
            let (shop, cart) = (Arc::clone(&shop), cart.clone());
            calls.spawn(async move { shop.start(&cart).await.unwrap().checkout_id });
        }
        let status = refused(shop.complete(&checkout).await, ErrorReason::PaymentDeclined);
        assert!(!status.message().is_empty());
        for id in calls.join_all().await {
            assert_eq!(id, checkout.checkout_id);
        }
    }
    shop.stands(&checkout, CheckoutStatus::Open, CartStatus::Active).await;
}
