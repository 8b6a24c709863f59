//! Payments that take their time.

use super::*;

#[tokio::test]
async fn a_challenge_parks_the_purchase_and_the_event_wakes_it() {
    let shop = shop().await;
    let placement = shop.place(mugs("3ds")).await;
    let Some(Outcome::NextAction(action)) = &placement.outcome else { panic!("{placement:?}") };
    assert_eq!(action.redirect_uri, "https://bank.example/challenge");
    assert!(action.expire_time.is_some());
    assert_eq!(shop.order(&placement.order_id).await.status(), OrderStatus::Pending);
    assert_eq!(shop.world.stock.extended(), 1, "the stock waits with the customer");

    shop.world.payments.settle(&placement.order_id, PaymentIntentStatus::RequiresCapture);
    let ended = shop.ended(&placement.placement_id).await;
    assert_eq!(confirmed(&ended).order_id, placement.order_id);
    assert!(shop.timeline(&placement.order_id).await.contains(&OrderEventKind::ActionRequired));
}

#[tokio::test]
async fn a_challenge_that_fails_refuses() {
    let shop = shop().await;
    let placement = shop.place(mugs("3ds")).await;
    shop.world.payments.settle(&placement.order_id, PaymentIntentStatus::RequiresPaymentMethod);
    assert_eq!(refused(&shop.ended(&placement.placement_id).await), RefusalReason::PaymentDeclined);
    assert!(shop.world.is_clean());
}

#[tokio::test]
async fn a_challenge_that_nobody_answers_expires() {
    let shop = shop().await;
    let placement = shop.place(mugs("3ds")).await;
    shop.fixture.clock.advance(Duration::from_secs(16 * 60));
    let ended = shop.ended(&placement.placement_id).await;
    assert_eq!(refused(&ended), RefusalReason::Expired);
    assert_eq!(shop.order(&placement.order_id).await.cancel_reason(), CancelReason::Expired);
    assert!(shop.world.is_clean());
}

#[tokio::test]
async fn an_unknown_payment_is_pending_until_the_provider_says() {
    for (truth, good) in [
        (PaymentIntentStatus::RequiresCapture, true),
        (PaymentIntentStatus::RequiresPaymentMethod, false),
    ] {
        let shop = shop().await;
        let placement = shop.place(mugs("unknown")).await;
        assert!(matches!(placement.outcome, Some(Outcome::Pending(_))), "{placement:?}");
        assert_eq!(shop.world.stock.held().len(), 1, "nothing is taken back on a guess");

        shop.world.payments.truth(truth);
        shop.fixture.clock.advance(Duration::from_secs(10));
        let ended = shop.ended(&placement.placement_id).await;
        assert_eq!(matches!(ended.outcome, Some(Outcome::Order(_))), good);
        assert_eq!(shop.world.is_clean(), !good);
    }
}

#[tokio::test]
async fn an_unknown_payment_outlives_the_deadline_until_it_can_be_voided() {
    let shop = shop().await;
    let placement = shop.place(mugs("unknown")).await;
    shop.fixture.clock.advance(Duration::from_secs(16 * 60));
    let saga = GetSagaRequest { saga_id: placement.order_id.clone() };
    eventually(|| async {
        let found = shop.admin().get_saga(saga.clone()).await.unwrap().into_inner();
        (found.status() == SagaStatus::Compensating && found.attempts > 1).then_some(())
    })
    .await;
    assert_eq!(
        shop.order(&placement.order_id).await.status(),
        OrderStatus::Pending,
        "the money is not known to be free"
    );

    shop.world.payments.truth(PaymentIntentStatus::RequiresCapture);
    shop.fixture.clock.advance(Duration::from_secs(120));
    assert_eq!(refused(&shop.ended(&placement.placement_id).await), RefusalReason::Expired);
    assert!(shop.world.is_clean());
}

#[tokio::test]
async fn a_payment_in_progress_is_pending_and_the_late_event_settles_it() {
    let shop = shop().await;
    let placement = shop.place(mugs("processing")).await;
    assert!(matches!(placement.outcome, Some(Outcome::Pending(_))), "{placement:?}");
    shop.world.payments.settle(&placement.order_id, PaymentIntentStatus::RequiresCapture);
    confirmed(&shop.ended(&placement.placement_id).await);
}

#[tokio::test]
async fn stock_that_expired_during_the_payment_is_reserved_once_more() {
    let shop = shop().await;
    let placement = shop.place(mugs("3ds")).await;
    shop.world.stock.expire_all();
    shop.world.payments.settle(&placement.order_id, PaymentIntentStatus::RequiresCapture);
    confirmed(&shop.ended(&placement.placement_id).await);
    assert_eq!(shop.world.stock.free("mug"), 8);
}

#[tokio::test]
async fn stock_that_was_sold_during_the_payment_refuses_without_a_capture() {
    let shop = shop().await;
    let placement = shop.place(mugs("3ds")).await;
    shop.world.stock.expire_all();
    shop.world.stock.set("mug", 0);
    shop.world.payments.settle(&placement.order_id, PaymentIntentStatus::RequiresCapture);
    assert_eq!(refused(&shop.ended(&placement.placement_id).await), RefusalReason::OutOfStock);
    assert_eq!(shop.world.payments.captures(), 0);
    assert!(shop.world.is_clean());
}

#[tokio::test]
async fn money_that_is_held_too_late_for_a_refused_order_is_let_go() {
    let shop = shop().await;
    let placement = shop.place(mugs("declined")).await;
    assert_eq!(refused(&placement), RefusalReason::PaymentDeclined);
    shop.world.payments.orphan(&placement.order_id);
    assert_eq!(shop.world.payments.held(), 1);
    eventually(|| async { shop.world.is_clean().then_some(()) }).await;
}
