//! Many at once.

use std::future::Future;

use contracts::payments::v1::{LedgerAccount, PaymentActionOutcome, PaymentIntentStatus as Status};
use testkit::{exactly_one_ok, reason, request_id};
use tokio::task::JoinSet;

use crate::shop::{Books, PRICE, Shop, eur, minor};

/// What all of them say.
async fn all<T: Send + 'static>(
    calls: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    calls.into_iter().collect::<JoinSet<T>>().join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_captures_take_the_money_once() {
    let shop = Shop::open().await;
    let intent = shop.confirmed("pm_card_ok").await;

    let results = all((0..100).map(|_| {
        let (mut client, request) = (shop.orders(), shop.capturing(&intent, None));
        async move { client.capture_payment_intent(request).await }
    }))
    .await;

    let (winner, losers) = exactly_one_ok(results);
    assert_eq!(winner.into_inner().status(), Status::Succeeded);
    for refused in losers {
        assert!(
            ["OPERATION_IN_PROGRESS", "INTENT_STATE_INVALID"].contains(&reason(&refused).as_str()),
            "{refused}"
        );
    }
    assert_eq!(
        shop.books(&intent).await,
        Books { charges: 1, held: 0, captured: PRICE, refunded: 0 }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_confirmations_make_one_attempt() {
    let shop = Shop::open().await;
    let intent = shop.intent().await;

    let results = all((0..100).map(|_| {
        let (mut client, request) = (shop.orders(), shop.confirmation(&intent, "pm_card_ok"));
        async move { client.confirm_payment_intent(request).await }
    }))
    .await;

    exactly_one_ok(results);
    assert_eq!(
        shop.books(&intent).await,
        Books { charges: 1, held: PRICE, captured: 0, refunded: 0 }
    );
    assert_eq!(shop.attempts(&intent).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_confirmation_a_hundred_times_is_one() {
    let shop = Shop::open().await;
    let intent = shop.intent().await;
    let request = shop.confirmation(&intent, "pm_card_ok");

    let results = all((0..100).map(|_| {
        let (mut client, request) = (shop.orders(), request.clone());
        async move { client.confirm_payment_intent(request).await }
    }))
    .await;

    let mut answers = Vec::new();
    for result in results {
        match result {
            Ok(answer) => answers.push(answer.into_inner()),
            Err(refused) => assert_eq!(reason(&refused), "IDEMPOTENCY_IN_PROGRESS"),
        }
    }
    assert!(!answers.is_empty() && answers.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(shop.books(&intent).await.charges, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_refunds_never_exceed_what_was_taken() {
    let shop = Shop::open().await;
    let intent = shop.captured("pm_card_ok").await;

    let results = all((0..100).map(|_| {
        let (mut client, request) = (shop.refunds(), shop.refunding(&intent, eur(999)));
        async move { client.create_refund(request).await }
    }))
    .await;

    let paid = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(paid, 10);
    for refused in results.into_iter().filter_map(Result::err) {
        assert_eq!(reason(&refused), "AMOUNT_EXCEEDS_REFUNDABLE");
    }
    assert_eq!(minor(&shop.get(&intent).await.amount_refunded), 9_990);
    assert_eq!(shop.books(&intent).await.refunded, 9_990);
    assert_eq!(shop.balance(LedgerAccount::ProviderClearing).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn capture_and_cancel_have_one_winner() {
    let shop = Shop::open().await;
    for _ in 0..20 {
        let intent = shop.confirmed("pm_card_ok").await;
        let (captured, canceled) = tokio::join!(shop.capture(&intent, None), shop.cancel(&intent));
        exactly_one_ok([captured, canceled]);
        let (books, status) = (shop.books(&intent).await, shop.get(&intent).await.status());
        let captured = Books { charges: 1, held: 0, captured: PRICE, refunded: 0 };
        let canceled = Books { charges: 1, held: 0, captured: 0, refunded: 0 };
        match status {
            Status::Succeeded => assert_eq!(books, captured),
            other => assert_eq!((other, books), (Status::Canceled, canceled)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_wanted_a_hundred_times_has_one_intent() {
    let shop = Shop::open().await;
    let wanted = shop.wanted();

    let results = all((0..100).map(|_| {
        let (mut client, mut request) = (shop.orders(), wanted.clone());
        request.request_id = request_id();
        request.confirm = true;
        request.payment_method = "pm_card_ok".to_owned();
        async move { client.create_payment_intent(request).await }
    }))
    .await;

    let (winner, losers) = exactly_one_ok(results);
    assert_eq!(shop.books(winner.get_ref()).await.charges, 1);
    for refused in losers {
        assert_eq!(reason(&refused), "ORDER_INTENT_EXISTS");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_a_webhook_and_a_sync_at_once_agree() {
    let shop = Shop::open().await;
    for _ in 0..20 {
        let intent = shop.confirmed("pm_card_3ds").await;
        let payload = shop.told(&intent, &request_id(), "AUTHORIZED", 0);
        let (answered, told, _) = tokio::join!(
            shop.answer(&intent, PaymentActionOutcome::Success),
            shop.ingest(payload),
            shop.sync(&intent)
        );
        told.unwrap();
        if let Err(refused) = answered {
            assert_eq!(reason(&refused), "INTENT_STATE_INVALID");
            // The webhook of this test lied: nothing was authorized at the provider.
            continue;
        }
        shop.becomes(&intent, Status::RequiresCapture).await;
        assert_eq!(
            shop.books(&intent).await,
            Books { charges: 1, held: PRICE, captured: 0, refunded: 0 }
        );
    }
}
