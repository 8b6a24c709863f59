//! Webhooks: twice, late, forged, old, and when they are the only news.

use contracts::payments::v1::{
    DeclineCode, IngestWebhookRequest, ListWebhookEventsRequest, PaymentIntentStatus as Status,
    ReplayWebhookEventRequest, WebhookEventStatus,
    payment_webhook_service_client::PaymentWebhookServiceClient,
};
use payments::signature;
use testkit::{eventually, reason, request_id};

use crate::shop::{Books, OLD_SECRET, PRICE, SECRET, Shop};

#[tokio::test]
async fn a_slow_payment_settles_by_webhook() {
    let shop = Shop::open().await;
    let good = shop.confirmed("pm_processing").await;
    let bad = shop.confirmed("pm_processing_declined").await;
    assert_eq!((good.status(), bad.status()), (Status::Processing, Status::Processing));

    shop.advance(30);

    shop.becomes(&good, Status::RequiresCapture).await;
    let declined = shop.becomes(&bad, Status::RequiresPaymentMethod).await;
    assert_eq!(declined.last_error.unwrap().decline_code(), DeclineCode::CardDeclined);
    assert_eq!(
        shop.books(&good).await,
        Books { charges: 1, held: PRICE, captured: 0, refunded: 0 }
    );
}

#[tokio::test]
async fn an_event_that_comes_three_times_is_stored_and_applied_once() {
    let shop = Shop::open().await;
    let intent = shop.captured("pm_duplicate_webhooks").await;

    let events = eventually(|| async {
        let events = shop.received().await;
        let done = events.iter().all(|event| event.status() != WebhookEventStatus::Received);
        Some(events).filter(|events| events.len() == 2 && done)
    })
    .await;

    // An event may be faster than the answer to the call that caused it: then it is
    // the event that is applied, and the answer that says nothing new.
    let known = [WebhookEventStatus::Processed, WebhookEventStatus::Ignored];
    assert!(events.iter().all(|event| known.contains(&event.status())), "{events:?}");
    assert!(events.iter().all(|event| event.payment_intent_id == intent.payment_intent_id));
    assert_eq!(shop.get(&intent).await, intent);
    assert_eq!(shop.books(&intent).await.captured, PRICE);
}

#[tokio::test]
async fn the_second_delivery_is_told_that_it_is_one() {
    let shop = Shop::asleep().await;
    let intent = shop.confirmed("pm_timeout_after_effect").await;
    let payload = shop.told(&intent, "evt_twice", "AUTHORIZED", 0);

    let first = shop.ingest(payload.clone()).await.unwrap();
    let second = shop.ingest(payload).await.unwrap();

    assert!(!first.duplicate && second.duplicate);
    assert_eq!(first.webhook_event_id, second.webhook_event_id);
    assert_eq!(shop.received().await.len(), 1);
}

#[tokio::test]
async fn a_late_processing_after_a_success_changes_nothing() {
    let shop = Shop::open().await;
    let intent = shop.captured("pm_late_webhook").await;

    shop.advance(60);

    let event = eventually(|| async {
        shop.received().await.pop().filter(|event| event.status() != WebhookEventStatus::Received)
    })
    .await;
    assert_eq!(
        (event.kind.as_str(), event.status()),
        ("charge.processing", WebhookEventStatus::Ignored)
    );
    assert!(event.note.contains("CAPTURED"), "{}", event.note);
    assert_eq!(shop.get(&intent).await, intent);
}

#[tokio::test]
async fn events_in_any_order_end_the_same() {
    let shop = Shop::asleep().await;
    let stories = [
        ["PROCESSING", "AUTHORIZED"],
        ["AUTHORIZED", "PROCESSING"],
        ["AUTHORIZED", "ACTION_REQUIRED"],
        ["AUTHORIZED", "DECLINED"],
    ];
    for story in stories {
        let intent = shop.confirmed("pm_timeout_after_effect").await;
        for state in story {
            let answer = shop.ingest(shop.told(&intent, &request_id(), state, 0)).await.unwrap();
            let request = ReplayWebhookEventRequest {
                webhook_event_id: answer.webhook_event_id,
                request_id: String::new(),
            };
            shop.webhooks().replay_webhook_event(request).await.unwrap();
        }
        assert_eq!(shop.get(&intent).await.status(), Status::RequiresCapture, "{story:?}");
    }
}

#[tokio::test]
async fn forged_and_old_webhooks_are_refused_and_not_stored() {
    let shop = Shop::asleep().await;
    let intent = shop.confirmed("pm_card_ok").await;
    let payload = shop.told(&intent, "evt_forged", "CAPTURED", PRICE);
    let now = shop.fixture.clock.now();
    let good = signature::sign(SECRET.as_bytes(), &payload, now);
    let forged = [
        String::new(),
        "t=1,v1=".to_owned(),
        signature::sign(b"another secret!!", &payload, now),
        good.replace("v1=", "v0="),
    ];
    for signature in forged {
        let refused = shop.ingest_signed(payload.clone(), signature).await.unwrap_err();
        assert_eq!(reason(&refused), "WEBHOOK_SIGNATURE_INVALID");
    }
    let mut touched = payload.clone();
    *touched.last_mut().unwrap() = b' ';
    let refused = shop.ingest_signed(touched, good.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), "WEBHOOK_SIGNATURE_INVALID");

    shop.advance(5 * 60 + 1);
    let refused = shop.ingest_signed(payload, good).await.unwrap_err();
    assert_eq!(reason(&refused), "WEBHOOK_EXPIRED");

    assert!(shop.received().await.is_empty());
    assert_eq!(shop.get(&intent).await, intent);
}

#[tokio::test]
async fn a_secret_that_is_being_rotated_out_still_counts() {
    let shop = Shop::asleep().await;
    let intent = shop.confirmed("pm_timeout_after_effect").await;
    let payload = shop.told(&intent, "evt_old", "AUTHORIZED", 0);
    let signature = signature::sign(OLD_SECRET.as_bytes(), &payload, shop.fixture.clock.now());

    shop.ingest_signed(payload, signature).await.unwrap();

    shop.becomes(&intent, Status::RequiresCapture).await;
}

#[tokio::test]
async fn what_is_signed_and_no_event_is_refused() {
    let shop = Shop::asleep().await;
    for payload in [&b"no json"[..], b"{}", br#"{"id":"e","type":"x","created":1,"data":{}}"#] {
        assert_eq!(reason(&shop.ingest(payload.to_vec()).await.unwrap_err()), "WEBHOOK_MALFORMED");
    }
    let request = IngestWebhookRequest {
        provider: "nobody".to_owned(),
        payload: b"{}".as_slice().into(),
        signature: "t=1,v1=00".to_owned(),
        request_id: String::new(),
    };
    let mut client = PaymentWebhookServiceClient::new(shop.fixture.anonymous());
    assert_eq!(reason(&client.ingest_webhook(request).await.unwrap_err()), "PROVIDER_NOT_FOUND");
}

#[tokio::test]
async fn a_capture_that_nobody_asked_for_is_a_conflict() {
    let shop = Shop::asleep().await;
    let intent = shop.confirmed("pm_card_ok").await;

    shop.ingest(shop.told(&intent, "evt_theft", "CAPTURED", PRICE)).await.unwrap();

    shop.becomes(&intent, Status::Conflicted).await;
}

#[tokio::test]
async fn an_event_about_nothing_known_is_kept_and_may_be_replayed() {
    let shop = Shop::asleep().await;
    let mut intent = shop.confirmed("pm_timeout_after_effect").await;
    let known = intent.clone();
    intent.attempt_id = request_id();
    let unknown = shop.ingest(shop.told(&intent, "evt_lost", "AUTHORIZED", 0)).await.unwrap();
    let event = eventually(|| async {
        shop.received().await.pop().filter(|event| event.status() == WebhookEventStatus::Failed)
    })
    .await;
    assert_eq!(event.webhook_event_id, unknown.webhook_event_id);

    let request = ReplayWebhookEventRequest {
        webhook_event_id: event.webhook_event_id,
        request_id: String::new(),
    };
    let again = shop.webhooks().replay_webhook_event(request).await.unwrap().into_inner();
    assert_eq!(again.status(), WebhookEventStatus::Failed);

    let found = shop.ingest(shop.told(&known, "evt_found", "AUTHORIZED", 0)).await.unwrap();
    shop.becomes(&known, Status::RequiresCapture).await;
    let request = ReplayWebhookEventRequest {
        webhook_event_id: found.webhook_event_id,
        request_id: String::new(),
    };
    let again = shop.webhooks().replay_webhook_event(request).await.unwrap().into_inner();
    assert_eq!(again.status(), WebhookEventStatus::Ignored);
    let request =
        ReplayWebhookEventRequest { webhook_event_id: request_id(), request_id: String::new() };
    let refused = shop.webhooks().replay_webhook_event(request).await.unwrap_err();
    assert_eq!(reason(&refused), "WEBHOOK_EVENT_NOT_FOUND");

    let payment_intent_id = known.payment_intent_id.clone();
    let request =
        ListWebhookEventsRequest { payment_intent_id, page_size: 1, ..Default::default() };
    let page = shop.webhooks().list_webhook_events(request).await.unwrap().into_inner();
    assert_eq!((page.webhook_events.len(), page.next_page_token.as_str()), (1, ""));
}
