//! Money that goes back.

use chassis::args;
use contracts::payments::v1::{
    DeclineCode, GetRefundRequest, LedgerAccount, ListRefundsRequest, RefundStatus,
    SyncRefundRequest,
};
use testkit::{reason, request_id};

use crate::shop::{PRICE, REFUND_TOO_MUCH, Shop, eur, minor};

#[tokio::test]
async fn money_goes_back_in_parts_and_never_more_than_was_taken() {
    let shop = Shop::open().await;
    let intent = shop.captured("pm_card_ok").await;

    let refund = shop.refund(&intent, eur(3_000)).await.unwrap();
    assert_eq!(refund.status(), RefundStatus::Succeeded);
    assert_eq!(minor(&shop.get(&intent).await.amount_refunded), 3_000);
    let refused = shop.refund(&intent, eur(7_001)).await.unwrap_err();
    assert_eq!(reason(&refused), "AMOUNT_EXCEEDS_REFUNDABLE");
    let rest = shop.refund(&intent, None).await.unwrap();
    assert_eq!(minor(&rest.amount), 7_000);
    let refused = shop.refund(&intent, None).await.unwrap_err();
    assert_eq!(reason(&refused), "AMOUNT_EXCEEDS_REFUNDABLE");

    assert_eq!(shop.books(&intent).await.refunded, PRICE);
    assert_eq!(shop.balance(LedgerAccount::ProviderClearing).await, 0);
    assert_eq!(shop.balance(LedgerAccount::OrderFunds).await, 0);
}

#[tokio::test]
async fn the_same_refund_twice_is_paid_once() {
    let shop = Shop::open().await;
    let intent = shop.captured("pm_card_ok").await;
    let request = shop.refunding(&intent, eur(1_000));

    let first = shop.refunds().create_refund(request.clone()).await.unwrap();
    let again = shop.refunds().create_refund(request.clone()).await.unwrap();

    assert_eq!(first.get_ref(), again.get_ref());
    assert_eq!(again.metadata().get("idempotent-replayed").unwrap(), "true");
    assert_eq!(shop.books(&intent).await.refunded, 1_000);
    let mut other = request;
    other.amount = eur(2_000);
    assert_eq!(
        reason(&shop.refunds().create_refund(other).await.unwrap_err()),
        "IDEMPOTENCY_KEY_REUSED"
    );
}

#[tokio::test]
async fn a_refund_that_the_provider_refuses_frees_its_amount() {
    let shop = Shop::open().await;
    let intent = shop.captured("pm_refund_fails").await;

    let refund = shop.refund(&intent, None).await.unwrap();

    assert_eq!(refund.status(), RefundStatus::Failed);
    assert_eq!(refund.error.unwrap().decline_code(), DeclineCode::RefundRefused);
    let after = shop.get(&intent).await;
    assert_eq!((minor(&after.amount_refunded), minor(&after.amount_refund_pending)), (0, 0));
    assert_eq!(shop.balance(LedgerAccount::ProviderClearing).await, PRICE);
    assert!(shop.refund(&intent, None).await.is_ok());
}

#[tokio::test]
async fn only_captured_money_goes_back() {
    let shop = Shop::open().await;
    let intent = shop.confirmed("pm_card_ok").await;
    assert_eq!(reason(&shop.refund(&intent, None).await.unwrap_err()), "INTENT_STATE_INVALID");
    let intent = shop.capture(&intent, None).await.unwrap();
    assert_eq!(reason(&shop.refund(&intent, eur(0)).await.unwrap_err()), "AMOUNT_INVALID");
    let dollars = contracts::values::v1::Money { currency_code: "USD".into(), minor_units: 1 };
    assert_eq!(
        reason(&shop.refund(&intent, Some(dollars)).await.unwrap_err()),
        "CURRENCY_MISMATCH"
    );
    let request = GetRefundRequest { refund_id: request_id() };
    assert_eq!(reason(&shop.refunds().get_refund(request).await.unwrap_err()), "REFUND_NOT_FOUND");
    let request = SyncRefundRequest { refund_id: request_id(), request_id: String::new() };
    assert_eq!(reason(&shop.refunds().sync_refund(request).await.unwrap_err()), "REFUND_NOT_FOUND");
}

#[tokio::test]
async fn the_database_itself_refuses_to_refund_too_much() {
    let shop = Shop::open().await;
    let intent = shop.captured("pm_card_ok").await;
    let refused = shop.tamper(REFUND_TOO_MUCH, args![&intent.payment_intent_id]).await.unwrap_err();
    assert_eq!(refused.constraint(), Some("payment_intent_refunded_check"));
}

#[tokio::test]
async fn refunds_are_found_by_intent_order_and_status() {
    let shop = Shop::open().await;
    let (one, other) = (shop.captured("pm_card_ok").await, shop.captured("pm_refund_fails").await);
    let first = shop.refund(&one, eur(1)).await.unwrap();
    shop.advance(1);
    let second = shop.refund(&one, eur(2)).await.unwrap();
    shop.advance(1);
    let failed = shop.refund(&other, eur(3)).await.unwrap();

    let list = |request: ListRefundsRequest| {
        let mut client = shop.refunds();
        async move { client.list_refunds(request).await.unwrap().into_inner().refunds }
    };
    let all = list(ListRefundsRequest::default()).await;
    assert_eq!(all, [failed.clone(), second.clone(), first.clone()]);
    let payment_intent_id = one.payment_intent_id.clone();
    let by_intent = list(ListRefundsRequest { payment_intent_id, ..Default::default() }).await;
    assert_eq!(by_intent, [second, first.clone()]);
    let order_id = other.order_id.clone();
    assert_eq!(
        list(ListRefundsRequest { order_id, ..Default::default() }).await,
        std::slice::from_ref(&failed)
    );
    let status = RefundStatus::Failed.into();
    assert_eq!(list(ListRefundsRequest { status, ..Default::default() }).await, [failed]);
    let request = GetRefundRequest { refund_id: first.refund_id.clone() };
    assert_eq!(shop.refunds().get_refund(request).await.unwrap().into_inner(), first);
}
