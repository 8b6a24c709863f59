//! The usual ways of a payment, and every refusal.

use contracts::payments::v1::{
    AttemptState, CancellationReason, CaptureMethod, DeclineCode, GetPaymentIntentRequest,
    ListAttemptsRequest, ListPaymentIntentsRequest, PaymentActionOutcome,
    PaymentIntentStatus as Status, RecommendedAction, SyncPaymentRequest,
};
use testkit::{reason, request_id};

use crate::shop::{Books, CUSTOMER, PRICE, Shop, eur, minor};

#[tokio::test]
async fn money_is_authorized_and_then_captured() {
    let shop = Shop::open().await;
    let intent = shop.intent().await;
    assert_eq!(intent.status(), Status::RequiresPaymentMethod);
    assert_eq!(intent.capture_method(), CaptureMethod::Manual);

    let intent = shop.confirm(&intent, "pm_card_ok").await.unwrap();
    assert_eq!(intent.status(), Status::RequiresCapture);
    assert_eq!(
        (minor(&intent.amount_authorized), minor(&intent.amount_capturable)),
        (PRICE, PRICE)
    );
    assert_eq!(
        shop.books(&intent).await,
        Books { charges: 1, held: PRICE, captured: 0, refunded: 0 }
    );

    let intent = shop.capture(&intent, None).await.unwrap();
    assert_eq!(intent.status(), Status::Succeeded);
    assert_eq!((minor(&intent.amount_captured), minor(&intent.amount_capturable)), (PRICE, 0));
    assert_eq!(
        shop.books(&intent).await,
        Books { charges: 1, held: 0, captured: PRICE, refunded: 0 }
    );
    assert_eq!(shop.get(&intent).await, intent);
    let attempts = shop.attempts(&intent).await;
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].state(), AttemptState::Captured);
    assert_eq!(attempts[0].attempt_id, intent.attempt_id);
}

#[tokio::test]
async fn one_call_creates_and_confirms() {
    let shop = Shop::open().await;
    let mut wanted = shop.wanted();
    wanted.confirm = true;
    wanted.payment_method = "pm_card_ok".to_owned();

    let first = shop.orders().create_payment_intent(wanted.clone()).await.unwrap();
    let again = shop.orders().create_payment_intent(wanted).await.unwrap();

    assert_eq!(first.get_ref().status(), Status::RequiresCapture);
    assert_eq!(again.metadata().get("idempotent-replayed").unwrap(), "true");
    assert_eq!(first.get_ref(), again.get_ref());
    assert_eq!(shop.books(first.get_ref()).await.charges, 1);
}

#[tokio::test]
async fn automatic_capture_takes_the_money_at_once() {
    let shop = Shop::open().await;
    let mut wanted = shop.wanted();
    wanted.capture_method = CaptureMethod::Automatic.into();
    let intent = shop.orders().create_payment_intent(wanted).await.unwrap().into_inner();

    let intent = shop.confirm(&intent, "pm_card_ok").await.unwrap();

    assert_eq!(intent.status(), Status::Succeeded);
    assert_eq!(minor(&intent.amount_captured), PRICE);
}

#[tokio::test]
async fn a_payment_method_given_at_creation_is_used_at_confirmation() {
    let shop = Shop::open().await;
    let mut wanted = shop.wanted();
    wanted.payment_method = "pm_card_ok".to_owned();
    let intent = shop.orders().create_payment_intent(wanted).await.unwrap().into_inner();
    assert_eq!(intent.status(), Status::RequiresConfirmation);

    assert_eq!(shop.confirm(&intent, "").await.unwrap().status(), Status::RequiresCapture);
}

#[tokio::test]
async fn a_part_may_be_captured_and_the_rest_is_released() {
    let shop = Shop::open().await;
    let intent = shop.confirmed("pm_card_ok").await;

    let refused = shop.capture(&intent, eur(PRICE + 1)).await.unwrap_err();
    assert_eq!(reason(&refused), "AMOUNT_EXCEEDS_CAPTURABLE");
    let intent = shop.capture(&intent, eur(4_000)).await.unwrap();

    assert_eq!(intent.status(), Status::Succeeded);
    assert_eq!((minor(&intent.amount_captured), minor(&intent.amount_capturable)), (4_000, 0));
    let refused = shop.capture(&intent, eur(1)).await.unwrap_err();
    assert_eq!(reason(&refused), "INTENT_STATE_INVALID");
    assert_eq!(shop.books(&intent).await.captured, 4_000);
}

#[tokio::test]
async fn a_decline_says_why_and_another_method_may_be_tried() {
    let shop = Shop::open().await;
    let intent = shop.intent().await;
    let declines = [
        ("pm_card_declined", DeclineCode::CardDeclined, RecommendedAction::ContactIssuer),
        (
            "pm_card_insufficient_funds",
            DeclineCode::InsufficientFunds,
            RecommendedAction::UseAnotherMethod,
        ),
        ("pm_card_expired", DeclineCode::CardExpired, RecommendedAction::UseAnotherMethod),
    ];
    for (method, code, action) in declines {
        let declined = shop.confirm(&intent, method).await.unwrap();
        assert_eq!(declined.status(), Status::RequiresPaymentMethod);
        let error = declined.last_error.unwrap();
        assert_eq!((error.decline_code(), error.recommended_action()), (code, action));
        assert!(!error.message.is_empty() && !error.provider_code.is_empty());
    }

    let paid = shop.confirm(&intent, "pm_card_ok").await.unwrap();

    assert_eq!(paid.status(), Status::RequiresCapture);
    assert_eq!((paid.last_error, paid.attempt_count), (None, 4));
    let states: Vec<_> =
        shop.attempts(&intent).await.iter().map(|attempt| attempt.state()).collect();
    let declined = AttemptState::Declined;
    assert_eq!(states, [declined, declined, declined, AttemptState::Authorized]);
}

#[tokio::test]
async fn a_challenge_is_answered_by_the_customer_and_the_money_is_authorized() {
    let shop = Shop::open().await;
    let intent = shop.confirmed("pm_card_3ds").await;
    assert_eq!(intent.status(), Status::RequiresAction);
    let action = intent.next_action.clone().unwrap();
    assert!(action.redirect_uri.contains(&intent.payment_intent_id), "{}", action.redirect_uri);
    assert_eq!(shop.books(&intent).await.held, 0);

    let request = shop.answering(&intent, PaymentActionOutcome::Success);
    let first =
        shop.customer().complete_payment_action(request.clone()).await.unwrap().into_inner();
    let again = shop.customer().complete_payment_action(request).await.unwrap().into_inner();

    assert_eq!((first.status(), &first.next_action), (Status::RequiresCapture, &None));
    assert_eq!(first, again);
    assert_eq!(
        shop.books(&intent).await,
        Books { charges: 1, held: PRICE, captured: 0, refunded: 0 }
    );
    let late = shop.answer(&intent, PaymentActionOutcome::Success).await.unwrap_err();
    assert_eq!(reason(&late), "INTENT_STATE_INVALID");
}

#[tokio::test]
async fn a_challenge_that_is_failed_declines_the_attempt() {
    let shop = Shop::open().await;
    for (method, outcome) in [
        ("pm_card_3ds", PaymentActionOutcome::Failure),
        ("pm_card_3ds_fail", PaymentActionOutcome::Success),
    ] {
        let intent = shop.confirmed(method).await;
        let declined = shop.answer(&intent, outcome).await.unwrap();
        assert_eq!(declined.status(), Status::RequiresPaymentMethod);
        assert_eq!(declined.last_error.unwrap().decline_code(), DeclineCode::AuthenticationFailed);
        assert_eq!(shop.books(&intent).await.held, 0);
    }
}

#[tokio::test]
async fn a_challenge_that_is_not_answered_in_time_declines_the_attempt() {
    let shop = Shop::open().await;
    let intent = shop.confirmed("pm_card_3ds").await;

    shop.advance(15 * 60 + 1);

    let declined = shop.becomes(&intent, Status::RequiresPaymentMethod).await;
    assert_eq!(declined.last_error.unwrap().decline_code(), DeclineCode::AuthenticationExpired);
}

#[tokio::test]
async fn an_authorization_that_is_not_captured_expires() {
    let shop = Shop::open().await;
    let intent = shop.confirmed("pm_card_ok").await;

    shop.advance(7 * 24 * 60 * 60 + 1);

    let expired = shop.becomes(&intent, Status::Expired).await;
    assert_eq!(expired.cancellation_reason(), CancellationReason::Expired);
    assert_eq!(shop.books(&intent).await.held, 0);
}

#[tokio::test]
async fn a_canceled_intent_holds_nothing() {
    let shop = Shop::open().await;
    for method in
        ["pm_card_ok", "pm_card_3ds", "pm_processing", "pm_wrong_amount", "pm_timeout_after_effect"]
    {
        let intent = shop.confirmed(method).await;
        let request = shop.canceling(&intent);
        let canceled =
            shop.orders().cancel_payment_intent(request.clone()).await.unwrap().into_inner();
        assert_eq!(canceled.status(), Status::Canceled, "{method}");
        assert_eq!(canceled.cancellation_reason(), CancellationReason::Requested);
        let again = shop.orders().cancel_payment_intent(request).await.unwrap().into_inner();
        assert_eq!(again, canceled);
        assert_eq!(shop.cancel(&intent).await.unwrap(), canceled);
        assert_eq!(
            shop.books(&intent).await,
            Books { charges: 1, held: 0, captured: 0, refunded: 0 },
            "{method}"
        );
        assert_eq!(
            reason(&shop.confirm(&intent, "pm_card_ok").await.unwrap_err()),
            "INTENT_STATE_INVALID"
        );
    }
    let fresh = shop.intent().await;
    assert_eq!(shop.cancel(&fresh).await.unwrap().status(), Status::Canceled);
}

#[tokio::test]
async fn captured_money_cannot_be_canceled() {
    let shop = Shop::open().await;
    let intent = shop.captured("pm_card_ok").await;
    assert_eq!(reason(&shop.cancel(&intent).await.unwrap_err()), "INTENT_STATE_INVALID");
}

#[tokio::test]
async fn a_capture_that_was_refused_may_be_sent_again_as_it_is() {
    let shop = Shop::open().await;
    let intent = shop.confirmed("pm_capture_fails_once").await;
    let request = shop.capturing(&intent, None);

    let refused = shop.orders().capture_payment_intent(request.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), "CAPTURE_FAILED");
    let between = shop.get(&intent).await;
    assert_eq!(between.status(), Status::RequiresCapture);
    assert_eq!(between.last_error.unwrap().decline_code(), DeclineCode::CaptureRefused);
    let captured = shop.orders().capture_payment_intent(request).await.unwrap().into_inner();

    assert_eq!((captured.status(), captured.last_error.is_none()), (Status::Succeeded, true));
    assert_eq!(shop.books(&intent).await.captured, PRICE);
}

#[tokio::test]
async fn a_void_that_was_refused_may_be_sent_again_as_it_is() {
    let shop = Shop::open().await;
    let intent = shop.confirmed("pm_void_fails_once").await;
    let request = shop.canceling(&intent);

    let refused = shop.orders().cancel_payment_intent(request.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), "VOID_FAILED");
    assert_eq!(shop.books(&intent).await.held, PRICE);
    let canceled = shop.orders().cancel_payment_intent(request).await.unwrap().into_inner();

    assert_eq!(canceled.status(), Status::Canceled);
    assert_eq!(shop.books(&intent).await.held, 0);
}

#[tokio::test]
async fn another_amount_than_was_asked_for_is_a_conflict() {
    let shop = Shop::open().await;
    let intent = shop.confirmed("pm_wrong_amount").await;

    assert_eq!(intent.status(), Status::Conflicted);
    assert_eq!(minor(&intent.amount_authorized), 0);
    assert_eq!(intent.last_error.clone().unwrap().decline_code(), DeclineCode::AmountMismatch);
    let attempt = shop.attempts(&intent).await.remove(0);
    assert_eq!(
        (attempt.state(), minor(&attempt.provider_amount)),
        (AttemptState::Conflicted, PRICE + 1)
    );
    assert_eq!(reason(&shop.capture(&intent, None).await.unwrap_err()), "INTENT_STATE_INVALID");
    assert_eq!(shop.sync(&intent).await.status(), Status::Conflicted);
}

#[tokio::test]
async fn an_order_has_one_open_intent() {
    let shop = Shop::open().await;
    let wanted = shop.wanted();
    let first = shop.orders().create_payment_intent(wanted.clone()).await.unwrap().into_inner();
    let mut second = wanted.clone();
    second.request_id = request_id();

    let refused = shop.orders().create_payment_intent(second.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), "ORDER_INTENT_EXISTS");
    let fault = chassis::Fault::from_status(&refused);
    assert_eq!(fault.metadata_map().get("payment_intent_id"), Some(&first.payment_intent_id));
    second.confirm = true;
    second.payment_method = "pm_card_ok".to_owned();
    let refused = shop.orders().create_payment_intent(second.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), "ORDER_INTENT_EXISTS");

    shop.cancel(&first).await.unwrap();
    assert!(shop.orders().create_payment_intent(second).await.is_ok());
}

#[tokio::test]
async fn the_same_call_twice_answers_the_same_bytes_and_another_payload_is_refused() {
    let shop = Shop::open().await;
    let wanted = shop.wanted();
    let first = shop.orders().create_payment_intent(wanted.clone()).await.unwrap();
    let again = shop.orders().create_payment_intent(wanted.clone()).await.unwrap();
    assert_eq!(first.get_ref(), again.get_ref());
    assert_eq!(again.metadata().get("idempotent-replayed").unwrap(), "true");
    let mut other = wanted;
    other.amount = eur(1);
    let refused = shop.orders().create_payment_intent(other).await.unwrap_err();
    assert_eq!(reason(&refused), "IDEMPOTENCY_KEY_REUSED");

    let intent = first.into_inner();
    let confirmation = shop.confirmation(&intent, "pm_card_ok");
    let first =
        shop.orders().confirm_payment_intent(confirmation.clone()).await.unwrap().into_inner();
    let capture = shop.capturing(&intent, None);
    let captured =
        shop.orders().capture_payment_intent(capture.clone()).await.unwrap().into_inner();
    let again = shop.orders().confirm_payment_intent(confirmation.clone()).await.unwrap();
    assert_eq!(
        (&first, again.metadata().get("idempotent-replayed").is_some()),
        (again.get_ref(), true)
    );
    assert_eq!(
        shop.orders().capture_payment_intent(capture.clone()).await.unwrap().into_inner(),
        captured
    );
    let mut other = confirmation;
    other.payment_method = "pm_card_declined".to_owned();
    assert_eq!(
        reason(&shop.orders().confirm_payment_intent(other).await.unwrap_err()),
        "IDEMPOTENCY_KEY_REUSED"
    );
    assert_eq!(
        shop.books(&intent).await,
        Books { charges: 1, held: 0, captured: PRICE, refunded: 0 }
    );
}

#[tokio::test]
async fn bad_amounts_are_refused_by_name() {
    let shop = Shop::open().await;
    for amount in [
        eur(0),
        eur(-1),
        Some(contracts::values::v1::Money { currency_code: "XXZ".into(), minor_units: 1 }),
    ] {
        let mut wanted = shop.wanted();
        wanted.amount = amount;
        let refused = shop.orders().create_payment_intent(wanted).await.unwrap_err();
        assert_eq!(reason(&refused), "AMOUNT_INVALID");
        assert_eq!(testkit::fields(&refused), ["amount"]);
    }
    let intent = shop.confirmed("pm_card_ok").await;
    assert_eq!(reason(&shop.capture(&intent, eur(0)).await.unwrap_err()), "AMOUNT_INVALID");
    let dollars = contracts::values::v1::Money { currency_code: "USD".into(), minor_units: 1 };
    assert_eq!(
        reason(&shop.capture(&intent, Some(dollars)).await.unwrap_err()),
        "CURRENCY_MISMATCH"
    );
}

#[tokio::test]
async fn card_numbers_are_refused_and_never_stored() {
    let shop = Shop::open().await;
    let intent = shop.intent().await;
    for number in ["4242424242424242", "4242 4242 4242 4242", "5555-5555-5555-4444"] {
        let refused = shop.confirm(&intent, number).await.unwrap_err();
        assert_eq!(reason(&refused), "CARD_NUMBER_REFUSED");
        assert!(!format!("{refused:?}").contains("4242"), "{refused:?}");
    }
    let mut wanted = shop.wanted();
    wanted.return_uri = "https://shop.example/?card=4242424242424242".to_owned();
    assert_eq!(
        reason(&shop.orders().create_payment_intent(wanted).await.unwrap_err()),
        "CARD_NUMBER_REFUSED"
    );
    assert_eq!(shop.get(&intent).await, intent);
}

#[tokio::test]
async fn a_confirmation_needs_a_method_that_the_provider_knows() {
    let shop = Shop::open().await;
    let intent = shop.intent().await;
    assert_eq!(reason(&shop.confirm(&intent, "").await.unwrap_err()), "PAYMENT_METHOD_REQUIRED");
    let mut wanted = shop.wanted();
    wanted.confirm = true;
    assert_eq!(
        reason(&shop.orders().create_payment_intent(wanted).await.unwrap_err()),
        "PAYMENT_METHOD_REQUIRED"
    );

    let request = shop.confirmation(&intent, "pm_of_nobody");
    for _ in 0..2 {
        let refused = shop.orders().confirm_payment_intent(request.clone()).await.unwrap_err();
        assert_eq!(reason(&refused), "PAYMENT_METHOD_UNKNOWN");
    }

    let after = shop.get(&intent).await;
    assert_eq!(after.status(), Status::RequiresPaymentMethod);
    assert_eq!(after.last_error.unwrap().decline_code(), DeclineCode::PaymentMethodUnknown);
    assert!(
        shop.attempts(&intent).await.iter().all(|attempt| attempt.state() == AttemptState::Error)
    );
    assert_eq!(
        shop.confirm(&intent, "pm_card_ok").await.unwrap().status(),
        Status::RequiresCapture
    );
}

#[tokio::test]
async fn an_intent_has_twenty_attempts_and_no_more() {
    let shop = Shop::open().await;
    let intent = shop.intent().await;
    for _ in 0..20 {
        assert!(shop.confirm(&intent, "pm_card_declined").await.is_ok());
    }
    assert_eq!(
        reason(&shop.confirm(&intent, "pm_card_ok").await.unwrap_err()),
        "ATTEMPT_LIMIT_REACHED"
    );
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let shop = Shop::open().await;
    let mut nobody = shop.intent().await;
    nobody.payment_intent_id = request_id();
    assert_eq!(reason(&shop.confirm(&nobody, "pm_card_ok").await.unwrap_err()), "INTENT_NOT_FOUND");
    assert_eq!(reason(&shop.capture(&nobody, None).await.unwrap_err()), "INTENT_NOT_FOUND");
    assert_eq!(reason(&shop.cancel(&nobody).await.unwrap_err()), "INTENT_NOT_FOUND");
    assert_eq!(reason(&shop.refund(&nobody, None).await.unwrap_err()), "INTENT_NOT_FOUND");
    let answered = shop.answer(&nobody, PaymentActionOutcome::Success).await;
    assert_eq!(reason(&answered.unwrap_err()), "INTENT_NOT_FOUND");
    let payment_intent_id = nobody.payment_intent_id;
    let request =
        SyncPaymentRequest { payment_intent_id: payment_intent_id.clone(), ..Default::default() };
    assert_eq!(reason(&shop.orders().sync_payment(request).await.unwrap_err()), "INTENT_NOT_FOUND");
    let request =
        ListAttemptsRequest { payment_intent_id: payment_intent_id.clone(), ..Default::default() };
    assert_eq!(
        reason(&shop.orders().list_attempts(request).await.unwrap_err()),
        "INTENT_NOT_FOUND"
    );
    let request = GetPaymentIntentRequest { payment_intent_id };
    let refused = shop.orders().get_payment_intent(request).await.unwrap_err();
    assert_eq!(reason(&refused), "INTENT_NOT_FOUND");
}

#[tokio::test]
async fn lists_show_every_intent_once_newest_first() {
    let shop = Shop::open().await;
    let mut made = Vec::new();
    for _ in 0..7 {
        shop.advance(1);
        made.push(shop.intent().await.payment_intent_id);
    }
    shop.confirmed("pm_card_ok").await;
    made.reverse();

    let mut request = ListPaymentIntentsRequest {
        page_size: 3,
        customer_id: CUSTOMER.to_owned(),
        status: Status::RequiresPaymentMethod.into(),
        ..Default::default()
    };
    let mut found = Vec::new();
    loop {
        let page = shop.orders().list_payment_intents(request.clone()).await.unwrap().into_inner();
        assert!(page.payment_intents.len() <= 3);
        found.extend(page.payment_intents.into_iter().map(|intent| intent.payment_intent_id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(found, made);

    let all = shop
        .orders()
        .list_payment_intents(ListPaymentIntentsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(all.payment_intents.len(), 8);
    let order_id = all.payment_intents[3].order_id.clone();
    let by_order = ListPaymentIntentsRequest { order_id, ..Default::default() };
    let found = shop.orders().list_payment_intents(by_order).await.unwrap().into_inner();
    assert_eq!(found.payment_intents, all.payment_intents[3..4]);
    let status = Status::RequiresCapture.into();
    let by_status = ListPaymentIntentsRequest { status, ..Default::default() };
    assert_eq!(
        shop.orders()
            .list_payment_intents(by_status)
            .await
            .unwrap()
            .into_inner()
            .payment_intents
            .len(),
        1
    );
}

#[tokio::test]
async fn every_statement_prepares_on_the_engine_in_use() {
    use chassis::Service as _;
    let shop = Shop::open().await;
    let refused =
        shop.fixture.running().database().prepare_all(payments::Payments::STATEMENTS).await;
    assert!(refused.is_ok(), "{refused:?}");
}
