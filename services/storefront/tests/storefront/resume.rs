//! Purchases that nobody waits for any more.

use std::{sync::Arc, time::Duration};

use contracts::{
    orders::v1::RefusalReason,
    storefront::v1::{
        CartStatus, CheckoutStatus, ErrorReason, complete_checkout_response::Outcome,
    },
};
use testkit::eventually;
use tokio::task::JoinSet;

use crate::{RESUME_AFTER, Shop, completion_of, fakes::Ends, refused, sold};

const LATER: Duration = Duration::from_secs(RESUME_AFTER.as_secs() + 1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purchase_begun_before_the_service_died_is_carried_on() {
    let shop = Arc::new(Shop::open().await);
    shop.world.orders.will(Ends::Silent);
    let checkout = shop.ready().await;
    let mut call = JoinSet::new();
    let (caller, request) = (Arc::clone(&shop), completion_of(&checkout));
    call.spawn(async move { caller.complete_with(request).await });
    // Written down, handed over, never answered: here it dies.
    eventually(|| async { (shop.world.orders.asked() > 0).then_some(()) }).await;
    call.shutdown().await;
    let mut shop = Arc::into_inner(shop).unwrap();
    shop.stands(&checkout, CheckoutStatus::Completing, CartStatus::CheckingOut).await;
    shop.fixture.restart().await;
    assert!(shop.world.orders.purchases().is_empty());

    shop.world.orders.will(Ends::Sold);
    shop.fixture.clock.advance(LATER);
    let found = shop.until(&checkout, CheckoutStatus::Completed).await;
    assert!(!found.order_id.is_empty());
    shop.stands(&checkout, CheckoutStatus::Completed, CartStatus::Converted).await;
    assert_eq!(shop.world.orders.purchases().len(), 1);
    sold(&shop.completion(&checkout).await.unwrap());
    let told = shop.events().await;
    assert_eq!(told, ["CheckoutStarted", "CheckoutCompleted", "CartConverted"]);
}

#[tokio::test]
async fn a_purchase_is_left_alone_while_its_call_may_still_run() {
    let shop = Shop::open().await;
    shop.world.orders.will(Ends::Away);
    let old = shop.ready().await;
    shop.complete(&old).await.unwrap();
    shop.fixture.clock.advance(RESUME_AFTER - Duration::from_secs(1));
    let young = shop.ready().await;
    shop.complete(&young).await.unwrap();

    shop.world.orders.will(Ends::Sold);
    shop.fixture.clock.advance(Duration::from_secs(2));
    shop.until(&old, CheckoutStatus::Completed).await;
    assert_eq!(shop.world.orders.purchases().len(), 1);
    shop.stands(&young, CheckoutStatus::Completing, CartStatus::CheckingOut).await;
    shop.fixture.clock.advance(RESUME_AFTER);
    shop.until(&young, CheckoutStatus::Completed).await;
}

#[tokio::test]
async fn a_refusal_that_nobody_waits_for_opens_the_checkout_again() {
    let mut shop = Shop::open().await;
    shop.world.orders.will(Ends::Pending);
    let checkout = shop.ready().await;
    shop.complete(&checkout).await.unwrap();
    shop.fixture.restart().await;
    shop.world.orders.end(Ends::Refused(RefusalReason::PaymentDeclined));
    shop.fixture.clock.advance(LATER);
    shop.until(&checkout, CheckoutStatus::Open).await;
    shop.stands(&checkout, CheckoutStatus::Open, CartStatus::Active).await;
    refused(shop.completion(&checkout).await, ErrorReason::PaymentDeclined);
}

#[tokio::test]
async fn a_purchase_that_waits_for_the_shopper_is_looked_after_too() {
    let shop = Shop::open().await;
    shop.world.orders.will(Ends::Action);
    let checkout = shop.ready().await;
    shop.complete(&checkout).await.unwrap();
    shop.world.orders.end(Ends::Sold);
    shop.fixture.clock.advance(LATER);
    shop.until(&checkout, CheckoutStatus::Completed).await;
    assert_eq!(shop.world.orders.asked(), 1, "it is looked at, not placed again");
}

#[tokio::test]
async fn a_purchase_ends_when_orders_tell_so() {
    for (ends, status) in [
        (Ends::Sold, CheckoutStatus::Completed),
        (Ends::Refused(RefusalReason::Expired), CheckoutStatus::Open),
    ] {
        let shop = Shop::open().await;
        shop.world.orders.will(Ends::Action);
        let checkout = shop.ready().await;
        let outcome = shop.complete(&checkout).await.unwrap();
        assert!(matches!(outcome, Outcome::NextAction(_)), "{outcome:?}");
        // The clock stands still: nothing but the event can end it.
        shop.world.orders.end(ends);
        shop.world.orders.tell();
        shop.world.orders.tell();
        shop.until(&checkout, status).await;
    }
}
