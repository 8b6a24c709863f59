//! What the other services are told.

use contracts::{
    io::cloudevents::v1::cloud_event::{Data, cloud_event_attribute_value::Attr},
    mesh::v1::{PullEventsRequest, feed_service_client::FeedServiceClient},
    payments::v1::{
        CancellationReason, DeclineCode, PaymentActionOutcome, PaymentActionRequired,
        PaymentAuthorized, PaymentCanceled, PaymentCaptured, PaymentConflicted, PaymentDeclined,
        PaymentUnknown, RefundCreated, RefundFailed, RefundSucceeded,
    },
};
use prost::{Message, Name};

use crate::shop::{PRICE, Shop, eur, minor};

/// Everything the service has told: kind, subject and data.
async fn told(shop: &Shop) -> Vec<(String, String, Vec<u8>)> {
    let mut client = FeedServiceClient::new(shop.fixture.as_service("orders"));
    let events =
        client.pull_events(PullEventsRequest::default()).await.unwrap().into_inner().events;
    events
        .into_iter()
        .map(|found| {
            let event = found.event.unwrap();
            let subject = match event.attributes["subject"].attr.clone().unwrap() {
                Attr::CeString(subject) => subject,
                other => panic!("the subject is {other:?}"),
            };
            match event.data.unwrap() {
                Data::ProtoData(any) => (event.r#type, subject, any.value),
                other => panic!("the data is {other:?}"),
            }
        })
        .collect()
}

/// The event of a kind, if it was told once.
fn one<M: Message + Name + Default>(told: &[(String, String, Vec<u8>)], subject: &str) -> M {
    let found: Vec<_> =
        told.iter().filter(|(kind, of, _)| *kind == M::full_name() && of == subject).collect();
    assert_eq!(found.len(), 1, "{} of {subject}: {told:?}", M::full_name());
    M::decode(found[0].2.as_slice()).unwrap()
}

#[tokio::test]
async fn each_step_of_a_payment_is_told_once_with_its_order() {
    let shop = Shop::asleep().await;
    let intent = shop.confirmed("pm_card_3ds").await;
    shop.answer(&intent, PaymentActionOutcome::Success).await.unwrap();
    shop.capture(&intent, None).await.unwrap();
    let refund = shop.refund(&intent, eur(100)).await.unwrap();

    let told = told(&shop).await;
    let id = &intent.payment_intent_id;

    let action: PaymentActionRequired = one(&told, id);
    assert_eq!(
        (action.order_id, action.next_action),
        (intent.order_id.clone(), intent.next_action.clone())
    );
    let authorized: PaymentAuthorized = one(&told, id);
    assert_eq!(
        (authorized.attempt_id, minor(&authorized.amount)),
        (intent.attempt_id.clone(), PRICE)
    );
    assert!(authorized.expire_time.is_some());
    let captured: PaymentCaptured = one(&told, id);
    assert_eq!((captured.order_id, minor(&captured.amount)), (intent.order_id.clone(), PRICE));
    let created: RefundCreated = one(&told, id);
    assert_eq!(created.refund_id, refund.refund_id);
    let succeeded: RefundSucceeded = one(&told, id);
    assert_eq!((minor(&succeeded.amount), minor(&succeeded.amount_refunded)), (100, 100));
    assert_eq!(told.len(), 5);
}

#[tokio::test]
async fn what_goes_wrong_is_told_with_its_cause() {
    let shop = Shop::asleep().await;
    let declined = shop.confirmed("pm_card_insufficient_funds").await;
    let lost = shop.confirmed("pm_timeout_after_effect").await;
    let conflicted = shop.confirmed("pm_wrong_amount").await;
    let canceled = shop.confirmed("pm_card_ok").await;
    shop.cancel(&canceled).await.unwrap();
    let unpaid = shop.captured("pm_refund_fails").await;
    shop.refund(&unpaid, None).await.unwrap();

    let told = told(&shop).await;

    let event: PaymentDeclined = one(&told, &declined.payment_intent_id);
    assert_eq!(event.error.unwrap().decline_code(), DeclineCode::InsufficientFunds);
    let event: PaymentUnknown = one(&told, &lost.payment_intent_id);
    assert_eq!(event.order_id, lost.order_id);
    let event: PaymentConflicted = one(&told, &conflicted.payment_intent_id);
    assert_eq!((minor(&event.amount), minor(&event.provider_amount)), (PRICE, PRICE + 1));
    let event: PaymentCanceled = one(&told, &canceled.payment_intent_id);
    assert_eq!(event.reason(), CancellationReason::Requested);
    let event: RefundFailed = one(&told, &unpaid.payment_intent_id);
    assert_eq!(event.error.unwrap().decline_code(), DeclineCode::RefundRefused);
}
