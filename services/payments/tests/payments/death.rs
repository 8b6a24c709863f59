//! Calls that die in the middle: after what is to be asked is written down, and
//! after the provider has answered.

use contracts::payments::v1::{
    LedgerAccount, PaymentActionOutcome, PaymentIntentStatus as Status, RefundStatus,
    SyncRefundRequest,
};
use testkit::reason;

use crate::shop::{Books, PRICE, Shop, eur, minor};

/// The two places where a call can die.
const STEPS: [&str; 2] = ["written", "answered"];

/// When a call is taken for dead.
const LEASE_SECONDS: u64 = 10;

/// A shop whose first call of a sort dies at a step.
async fn doomed(what: &str, step: &str) -> Shop {
    Shop::doomed(&format!("{what}.{step}=error:1")).await
}

/// The provider's books, and the ledger that must agree with them.
async fn agreed(shop: &Shop) -> Books {
    let books = shop.all_books().await;
    assert_eq!(shop.balance(LedgerAccount::AuthorizationHold).await, books.held);
    assert_eq!(
        shop.balance(LedgerAccount::ProviderClearing).await,
        books.captured - books.refunded
    );
    books
}

#[tokio::test]
async fn a_dead_confirmation_is_taken_up_by_its_repetition() {
    for step in STEPS {
        let shop = doomed("confirm", step).await;
        let intent = shop.intent().await;
        let request = shop.confirmation(&intent, "pm_card_ok");
        shop.orders().confirm_payment_intent(request.clone()).await.unwrap_err();
        let refused = shop.orders().confirm_payment_intent(request.clone()).await.unwrap_err();
        assert_eq!(reason(&refused), "IDEMPOTENCY_IN_PROGRESS");
        assert_eq!(
            reason(&shop.confirm(&intent, "pm_card_ok").await.unwrap_err()),
            "OPERATION_IN_PROGRESS"
        );

        shop.advance(LEASE_SECONDS);
        let again = shop.orders().confirm_payment_intent(request).await.unwrap().into_inner();

        assert_eq!((again.status(), again.attempt_count), (Status::RequiresCapture, 1), "{step}");
        assert_eq!(
            agreed(&shop).await,
            Books { charges: 1, held: PRICE, captured: 0, refunded: 0 }
        );
    }
}

#[tokio::test]
async fn a_dead_creation_with_confirmation_is_taken_up_by_its_repetition() {
    for step in STEPS {
        let shop = doomed("collect", step).await;
        let mut wanted = shop.wanted();
        (wanted.confirm, wanted.payment_method) = (true, "pm_card_ok".to_owned());
        shop.orders().create_payment_intent(wanted.clone()).await.unwrap_err();

        shop.advance(LEASE_SECONDS);
        let again = shop.orders().create_payment_intent(wanted.clone()).await.unwrap().into_inner();

        assert_eq!((again.status(), again.attempt_count), (Status::RequiresCapture, 1), "{step}");
        assert_eq!(shop.orders().create_payment_intent(wanted).await.unwrap().into_inner(), again);
        assert_eq!(
            agreed(&shop).await,
            Books { charges: 1, held: PRICE, captured: 0, refunded: 0 }
        );
    }
}

#[tokio::test]
async fn a_dead_confirmation_that_nobody_repeats_is_settled_by_the_schedule() {
    for (step, status, held) in [
        ("written", Status::RequiresPaymentMethod, 0),
        ("answered", Status::RequiresCapture, PRICE),
    ] {
        let shop = doomed("confirm", step).await;
        let intent = shop.intent().await;
        let request = shop.confirmation(&intent, "pm_card_ok");
        shop.orders().confirm_payment_intent(request.clone()).await.unwrap_err();
        // Whoever has just sent it may still be waiting.
        assert_eq!(shop.sync(&intent).await.status() == Status::Processing, step == "written");

        shop.advance(LEASE_SECONDS);
        assert_eq!(shop.sync(&intent).await.status(), status);

        let again = shop.orders().confirm_payment_intent(request).await.unwrap().into_inner();
        assert_eq!((again.status(), again.attempt_count), (status, 1));
        assert_eq!(agreed(&shop).await.held, held);
    }
}

#[tokio::test]
async fn a_dead_capture_takes_the_money_once() {
    for step in STEPS {
        for by_sync in [false, true] {
            let shop = doomed("capture", step).await;
            let intent = shop.confirmed("pm_card_ok").await;
            let request = shop.capturing(&intent, eur(4_000));
            shop.orders().capture_payment_intent(request.clone()).await.unwrap_err();
            assert_eq!(reason(&shop.cancel(&intent).await.unwrap_err()), "OPERATION_IN_PROGRESS");

            shop.advance(LEASE_SECONDS);
            if by_sync {
                assert_eq!(shop.sync(&intent).await.status(), Status::Succeeded);
            }
            let again = shop.orders().capture_payment_intent(request).await.unwrap().into_inner();

            assert_eq!((again.status(), minor(&again.amount_captured)), (Status::Succeeded, 4_000));
            assert_eq!(
                agreed(&shop).await,
                Books { charges: 1, held: 0, captured: 4_000, refunded: 0 }
            );
        }
    }
}

#[tokio::test]
async fn a_dead_cancellation_releases_the_money() {
    for step in STEPS {
        for by_sync in [false, true] {
            let shop = doomed("cancel", step).await;
            let intent = shop.confirmed("pm_card_ok").await;
            let request = shop.canceling(&intent);
            shop.orders().cancel_payment_intent(request.clone()).await.unwrap_err();
            assert_eq!(
                reason(&shop.capture(&intent, None).await.unwrap_err()),
                "OPERATION_IN_PROGRESS"
            );

            shop.advance(LEASE_SECONDS);
            if by_sync {
                assert_eq!(shop.sync(&intent).await.status(), Status::Canceled);
            }
            let again = shop.orders().cancel_payment_intent(request).await.unwrap().into_inner();

            assert_eq!(again.status(), Status::Canceled);
            assert_eq!(
                agreed(&shop).await,
                Books { charges: 1, held: 0, captured: 0, refunded: 0 }
            );
        }
    }
}

#[tokio::test]
async fn a_dead_answer_to_a_challenge_is_taken_up_by_its_repetition() {
    for step in STEPS {
        let shop = doomed("answer", step).await;
        let intent = shop.confirmed("pm_card_3ds").await;
        let request = shop.answering(&intent, PaymentActionOutcome::Success);
        shop.customer().complete_payment_action(request.clone()).await.unwrap_err();

        shop.advance(LEASE_SECONDS);
        let again = shop.customer().complete_payment_action(request).await.unwrap().into_inner();

        assert_eq!(again.status(), Status::RequiresCapture, "{step}");
        assert_eq!(agreed(&shop).await.held, PRICE);
    }
}

#[tokio::test]
async fn a_dead_answer_that_nobody_repeats_is_settled_by_the_schedule() {
    for (step, status) in
        [("written", Status::RequiresAction), ("answered", Status::RequiresCapture)]
    {
        let shop = doomed("answer", step).await;
        let intent = shop.confirmed("pm_card_3ds").await;
        shop.answer(&intent, PaymentActionOutcome::Success).await.unwrap_err();

        shop.advance(LEASE_SECONDS);
        let synced = shop.sync(&intent).await;

        assert_eq!((synced.status(), synced.next_action.is_some()), (status, step == "written"));
        agreed(&shop).await;
    }
}

#[tokio::test]
async fn a_dead_refund_is_paid_once() {
    for step in STEPS {
        for by_sync in [false, true] {
            let shop = doomed("refund", step).await;
            let intent = shop.captured("pm_card_ok").await;
            let request = shop.refunding(&intent, eur(3_000));
            shop.refunds().create_refund(request.clone()).await.unwrap_err();
            assert_eq!(minor(&shop.get(&intent).await.amount_refund_pending), 3_000);

            shop.advance(LEASE_SECONDS);
            if by_sync {
                let refunds = shop
                    .refunds()
                    .list_refunds(contracts::payments::v1::ListRefundsRequest::default())
                    .await
                    .unwrap()
                    .into_inner()
                    .refunds;
                let refund_id = refunds[0].refund_id.clone();
                let request = SyncRefundRequest { refund_id, request_id: String::new() };
                shop.refunds().sync_refund(request).await.unwrap();
            }
            let again = shop.refunds().create_refund(request).await.unwrap().into_inner();

            assert_eq!(again.status(), RefundStatus::Succeeded, "{step}");
            assert_eq!(
                agreed(&shop).await,
                Books { charges: 1, held: 0, captured: PRICE, refunded: 3_000 }
            );
            let after = shop.get(&intent).await;
            assert_eq!(
                (minor(&after.amount_refunded), minor(&after.amount_refund_pending)),
                (3_000, 0)
            );
        }
    }
}
