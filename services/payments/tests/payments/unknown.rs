//! Answers that are lost.

use contracts::payments::v1::{
    AttemptState, DeclineCode, PaymentIntentStatus as Status, RefundStatus, SyncRefundRequest,
};
use testkit::reason;

use crate::shop::{Books, PRICE, Shop, minor};

#[tokio::test]
async fn a_timeout_after_effect_is_unknown_until_a_sync_and_authorized_once() {
    let shop = Shop::asleep().await;
    let intent = shop.confirmed("pm_timeout_after_effect").await;
    assert_eq!(intent.status(), Status::Unknown);
    assert_eq!(shop.attempts(&intent).await[0].state(), AttemptState::Unknown);
    assert_eq!(reason(&shop.confirm(&intent, "pm_card_ok").await.unwrap_err()), "OUTCOME_UNKNOWN");
    assert_eq!(reason(&shop.capture(&intent, None).await.unwrap_err()), "OUTCOME_UNKNOWN");

    let synced = shop.sync(&intent).await;

    assert_eq!(synced.status(), Status::RequiresCapture);
    assert_eq!(minor(&synced.amount_authorized), PRICE);
    assert_eq!(
        shop.books(&intent).await,
        Books { charges: 1, held: PRICE, captured: 0, refunded: 0 }
    );
    assert_eq!(shop.sync(&intent).await, synced);
}

#[tokio::test]
async fn the_schedule_asks_by_itself_after_ten_seconds() {
    let shop = Shop::open().await;
    let intent = shop.confirmed("pm_timeout_after_effect").await;

    shop.advance(10);

    shop.becomes(&intent, Status::RequiresCapture).await;
    assert_eq!(shop.books(&intent).await.charges, 1);
    assert_eq!(shop.attempts(&intent).await[0].sync_count, 1);
}

#[tokio::test]
async fn the_providers_webhook_ends_the_doubt_too() {
    let shop = Shop::asleep().await;
    let intent = shop.confirmed("pm_timeout_after_effect").await;

    shop.ingest(shop.told(&intent, "evt_1", "AUTHORIZED", 0)).await.unwrap();

    shop.becomes(&intent, Status::RequiresCapture).await;
    assert_eq!(shop.books(&intent).await.charges, 1);
}

#[tokio::test]
async fn a_request_that_never_arrived_is_closed_and_may_be_made_anew() {
    let shop = Shop::asleep().await;
    let intent = shop.confirmed("pm_timeout_before_effect").await;
    assert_eq!(intent.status(), Status::Unknown);

    let synced = shop.sync(&intent).await;

    assert_eq!(synced.status(), Status::RequiresPaymentMethod);
    assert_eq!(synced.last_error.unwrap().decline_code(), DeclineCode::NotProcessed);
    assert_eq!(shop.attempts(&intent).await[0].state(), AttemptState::Voided);
    assert_eq!(
        shop.confirm(&intent, "pm_card_ok").await.unwrap().status(),
        Status::RequiresCapture
    );
    assert_eq!(shop.books(&intent).await.held, PRICE);
}

#[tokio::test]
async fn a_capture_whose_answer_is_lost_is_taken_once() {
    let shop = Shop::asleep().await;
    let intent = shop.confirmed("pm_capture_timeout").await;
    let unknown = shop.capture(&intent, None).await.unwrap();
    assert_eq!(unknown.status(), Status::Unknown);
    assert_eq!(reason(&shop.cancel(&intent).await.unwrap_err()), "OUTCOME_UNKNOWN");

    let synced = shop.sync(&intent).await;

    assert_eq!(synced.status(), Status::Succeeded);
    assert_eq!(
        shop.books(&intent).await,
        Books { charges: 1, held: 0, captured: PRICE, refunded: 0 }
    );
}

#[tokio::test]
async fn a_refund_whose_answer_is_lost_is_paid_once() {
    let shop = Shop::open().await;
    let intent = shop.captured("pm_refund_timeout").await;
    let refund = shop.refund(&intent, None).await.unwrap();
    assert_eq!(refund.status(), RefundStatus::Pending);
    assert_eq!(minor(&shop.get(&intent).await.amount_refund_pending), PRICE);
    assert_eq!(reason(&shop.refund(&intent, None).await.unwrap_err()), "AMOUNT_EXCEEDS_REFUNDABLE");

    let request = SyncRefundRequest { refund_id: refund.refund_id, request_id: String::new() };
    let synced = shop.refunds().sync_refund(request.clone()).await.unwrap().into_inner();

    assert_eq!(synced.status(), RefundStatus::Succeeded);
    assert_eq!(shop.refunds().sync_refund(request).await.unwrap().into_inner(), synced);
    let after = shop.get(&intent).await;
    assert_eq!((minor(&after.amount_refunded), minor(&after.amount_refund_pending)), (PRICE, 0));
    assert_eq!(shop.books(&intent).await.refunded, PRICE);
}

#[tokio::test]
async fn a_lost_refund_is_asked_for_by_itself() {
    let shop = Shop::open().await;
    let intent = shop.captured("pm_refund_timeout").await;
    shop.refund(&intent, None).await.unwrap();

    shop.advance(10);

    testkit::eventually(|| async {
        Some(()).filter(|()| true).and(refunded(&shop, &intent).await)
    })
    .await;
    assert_eq!(shop.books(&intent).await.refunded, PRICE);
}

async fn refunded(shop: &Shop, intent: &contracts::payments::v1::PaymentIntent) -> Option<()> {
    (minor(&shop.get(intent).await.amount_refunded) == PRICE).then_some(())
}

#[tokio::test]
async fn a_restart_finds_what_was_in_flight() {
    let mut shop = Shop::open().await;
    let intent = shop.confirmed("pm_timeout_after_effect").await;
    shop.fixture.restart().await;

    shop.advance(10);

    shop.becomes(&intent, Status::RequiresCapture).await;
    assert_eq!(shop.books(&intent).await.charges, 1);
}
