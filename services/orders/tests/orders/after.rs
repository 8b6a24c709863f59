//! After the sale: cancelling, shipping, holding, noting.

use super::*;

#[tokio::test]
async fn a_cancelled_order_gives_stock_and_money_back() {
    let shop = shop().await;
    let order = shop.sold().await;
    let request = cancellation(&order);
    let cancelled = shop.alice().cancel_order(request.clone()).await.unwrap().into_inner();
    assert_eq!(cancelled.status(), OrderStatus::Cancelled);
    assert_eq!(cancelled.cancel_reason(), CancelReason::Customer);
    let again = shop.alice().cancel_order(request).await.unwrap();
    assert_eq!(again.metadata().get("idempotent-replayed").unwrap(), "true");
    assert_eq!(again.into_inner(), cancelled, "the same bytes");

    let order = shop
        .until(&order.order_id, |order| order.payment_status() == PaymentStatus::Refunded)
        .await;
    eventually(|| async { shop.world.is_clean().then_some(()) }).await;
    assert_eq!(shop.world.payments.refunds(), 1);
    assert_eq!(shop.world.stock.free("mug"), 10);
    // Cancelling what is cancelled changes nothing.
    let same = shop.staff().cancel_order(cancellation(&order)).await.unwrap().into_inner();
    assert_eq!(same.etag, order.etag);
}

#[tokio::test]
async fn an_order_cancelled_before_its_capture_is_voided() {
    // The capture is held up until the cancellation is through.
    let shop = shop().await;
    for _ in 0..5 {
        shop.world.payments.fail("capture", Strike::Before, unavailable());
    }
    let order = confirmed(&shop.place(mugs("ok")).await).clone();
    let request = CancelOrderRequest { reason: CancelReason::Fraud.into(), ..cancellation(&order) };
    let cancelled = shop.staff().cancel_order(request).await.unwrap().into_inner();
    assert_eq!(cancelled.cancel_reason(), CancelReason::Fraud);
    let gone = |order: &Order| {
        matches!(order.payment_status(), PaymentStatus::Voided | PaymentStatus::Refunded)
    };
    shop.until(&order.order_id, gone).await;
    assert_eq!(shop.saga_over(&order.order_id).await, SagaStatus::Done);
    eventually(|| async { shop.world.is_clean().then_some(()) }).await;
}

#[tokio::test]
async fn a_capture_that_meets_a_payment_in_another_state_looks_again() {
    // Between its look and its call somebody else has moved the payment on: what a
    // cancellation does that comes at that moment.
    let shop = shop().await;
    let moved = chassis::Fault::failed_precondition(
        contracts::payments::v1::ErrorReason::IntentStateInvalid,
    );
    for _ in 0..5 {
        shop.world.payments.fail("capture", Strike::Before, unavailable());
    }
    shop.world.payments.fail("capture", Strike::Before, moved.into());
    let order = confirmed(&shop.place(mugs("ok")).await).clone();
    assert_eq!(shop.saga_over(&order.order_id).await, SagaStatus::Done);
    shop.until(&order.order_id, |order| order.payment_status() == PaymentStatus::Captured).await;
}

#[tokio::test]
async fn every_step_of_a_cancellation_may_fail_or_happen_twice() {
    for step in ["release_stock", "release_payment"] {
        for how in ["act.before=error:1", "act.after=error:1", "act.before=twice"] {
            let shop = shop_with(&format!("cancel_order.{step}.{how}")).await;
            let order = shop.sold().await;
            shop.alice().cancel_order(cancellation(&order)).await.unwrap();
            shop.until(&order.order_id, |order| order.payment_status() == PaymentStatus::Refunded)
                .await;
            assert!(shop.world.is_clean(), "{step} {how}");
            assert_eq!(shop.world.payments.refunds(), 1, "{step} {how}");
        }
    }
}

#[tokio::test]
async fn a_placement_that_waits_can_be_called_off() {
    let shop = shop().await;
    let placement = shop.place(mugs("3ds")).await;
    let order = shop.order(&placement.order_id).await;
    let asked = shop.alice().cancel_order(cancellation(&order)).await.unwrap().into_inner();
    assert_eq!(asked.status(), OrderStatus::Pending);
    assert!(asked.cancel_request_time.is_some());

    assert_eq!(refused(&shop.ended(&placement.placement_id).await), RefusalReason::Cancelled);
    let order = shop.order(&placement.order_id).await;
    assert_eq!(
        (order.status(), order.cancel_reason()),
        (OrderStatus::Cancelled, CancelReason::Customer)
    );
    assert!(shop.world.is_clean());
}

#[tokio::test]
async fn parcels_leave_until_the_order_is_complete() {
    let shop = shop().await;
    let order = shop.sold().await;
    let first = parcel(&order, &[("mug", 1)]);
    let answer = shop.staff().record_fulfillment(first.clone()).await.unwrap().into_inner();
    let shipped = answer.order.clone().unwrap();
    assert_eq!(shipped.fulfillment_status(), FulfillmentStatus::PartiallyShipped);
    assert_eq!(shipped.lines[0].shipped_quantity, 1);
    assert_eq!(
        shop.staff().record_fulfillment(first).await.unwrap().into_inner(),
        answer,
        "sent twice, shipped once"
    );

    let error = shop.alice().cancel_order(cancellation(&order)).await.unwrap_err();
    assert_eq!(reason(&error), "ORDER_SHIPPED");

    let rest = shop.staff().record_fulfillment(parcel(&order, &[])).await.unwrap().into_inner();
    let order = rest.order.unwrap();
    assert_eq!(order.fulfillment_status(), FulfillmentStatus::Shipped);
    assert_eq!(order.status(), OrderStatus::Completed);
    let request = ListFulfillmentsRequest {
        order_id: order.order_id.clone(),
        page_size: 1,
        ..Default::default()
    };
    let page = shop.alice().list_fulfillments(request.clone()).await.unwrap().into_inner();
    assert_eq!(page.fulfillments.len(), 1);
    let next = ListFulfillmentsRequest { page_token: page.next_page_token, ..request };
    let page = shop.alice().list_fulfillments(next).await.unwrap().into_inner();
    assert_eq!((page.fulfillments.len(), page.next_page_token.as_str()), (1, ""));
    assert!(
        shop.timeline(&order.order_id)
            .await
            .ends_with(&[OrderEventKind::Shipped, OrderEventKind::Completed])
    );
}

#[tokio::test]
async fn a_parcel_of_what_was_not_bought_is_refused() {
    let shop = shop().await;
    let order = shop.sold().await;
    let mut staff = shop.staff();
    let cases = [
        (parcel(&order, &[("cap", 1)]), "LINE_UNKNOWN"),
        (parcel(&order, &[("mug", 3)]), "QUANTITY_EXCEEDED"),
        (parcel(&order, &[("mug", 1), ("mug", 1)]), "LINE_DUPLICATED"),
        (
            RecordFulfillmentRequest { etag: "v0".to_owned(), ..parcel(&order, &[]) },
            "ETAG_MISMATCH",
        ),
        (
            RecordFulfillmentRequest { order_id: request_id(), ..parcel(&order, &[]) },
            "ORDER_NOT_FOUND",
        ),
    ];
    for (request, expected) in cases {
        assert_eq!(reason(&staff.record_fulfillment(request).await.unwrap_err()), expected);
    }
    staff.record_fulfillment(parcel(&order, &[])).await.unwrap();
    let again = staff.record_fulfillment(parcel(&order, &[])).await.unwrap_err();
    assert_eq!(
        reason(&again),
        "ORDER_STATE_INVALID",
        "everything has left and the order is complete"
    );
}

#[tokio::test]
async fn units_that_inventory_keeps_are_to_ship_again() {
    let shop = shop().await;
    let order = shop.sold().await;
    let refusal = chassis::Fault::failed_precondition(
        contracts::inventory::v1::ErrorReason::StockInsufficient,
    );
    shop.world.stock.fail("fulfill", Strike::Before, refusal.into());
    let request = parcel(&order, &[("mug", 2)]);
    for _ in 0..2 {
        let error = shop.staff().record_fulfillment(request.clone()).await.unwrap_err();
        assert_eq!(reason(&error), "FULFILLMENT_REFUSED");
    }
    shop.staff().record_fulfillment(parcel(&order, &[("mug", 2)])).await.unwrap();
}

#[tokio::test]
async fn a_parcel_whose_answer_is_lost_is_asked_for_again() {
    let shop = shop_with("fulfill_order.take_from_stock.act.after=stop:1").await;
    let order = shop.sold().await;
    let request = parcel(&order, &[("mug", 1)]);
    let mut call = tonic::Request::new(request.clone());
    call.set_timeout(Duration::from_millis(600));
    let error = shop.staff().record_fulfillment(call).await.unwrap_err();
    assert_eq!(reason(&error), "FULFILLMENT_PENDING");

    let mut shop = shop;
    shop.fixture.configure(config(""));
    shop.fixture.restart().await;
    shop.fixture.clock.advance(Duration::from_secs(25));
    let answer = shop.staff().record_fulfillment(request).await.unwrap().into_inner();
    assert_eq!(answer.order.unwrap().lines[0].shipped_quantity, 1);
}

#[tokio::test]
async fn every_step_of_a_parcel_may_fail_or_happen_twice() {
    for step in ["take_from_stock", "record"] {
        for how in ["act.before=error:1", "act.after=error:1", "act.before=twice"] {
            let shop = shop_with(&format!("fulfill_order.{step}.{how}")).await;
            let order = shop.sold().await;
            let answer =
                shop.staff().record_fulfillment(parcel(&order, &[])).await.unwrap().into_inner();
            assert_eq!(answer.order.unwrap().status(), OrderStatus::Completed, "{step} {how}");
        }
    }
}

#[tokio::test]
async fn an_order_on_hold_is_not_shipped_until_it_is_released() {
    let shop = shop().await;
    let order = shop.sold().await;
    let mut staff = shop.staff();
    let hold = HoldOrderRequest {
        order_id: order.order_id.clone(),
        note: "call the customer".to_owned(),
        etag: order.etag.clone(),
        ..Default::default()
    };
    let held = staff.hold_order(hold.clone()).await.unwrap().into_inner();
    assert_eq!(held.status(), OrderStatus::OnHold);
    assert_eq!(reason(&staff.hold_order(hold).await.unwrap_err()), "ETAG_MISMATCH");
    assert_eq!(
        reason(&staff.record_fulfillment(parcel(&order, &[])).await.unwrap_err()),
        "ORDER_STATE_INVALID"
    );

    let release = ReleaseHoldRequest { order_id: order.order_id.clone(), ..Default::default() };
    let released = staff.release_hold(release.clone()).await.unwrap().into_inner();
    assert_eq!(released.status(), OrderStatus::Confirmed);
    let same = staff.release_hold(release.clone()).await.unwrap().into_inner();
    assert_eq!(same.etag, released.etag, "an order that is not on hold is answered as it is");
    staff.record_fulfillment(parcel(&order, &[])).await.unwrap();
    assert_eq!(reason(&staff.release_hold(release).await.unwrap_err()), "ORDER_STATE_INVALID");
}

#[tokio::test]
async fn a_refund_outside_of_any_saga_is_in_the_books() {
    let shop = shop().await;
    let order = shop.sold().await;
    let total = minor(&order.totals.as_ref().unwrap().total);
    shop.world.payments.refund(&order.order_id, 1_000);
    shop.until(&order.order_id, |order| order.payment_status() == PaymentStatus::PartiallyRefunded)
        .await;
    shop.world.payments.refund(&order.order_id, total - 1_000);
    shop.until(&order.order_id, |order| order.payment_status() == PaymentStatus::Refunded).await;
}

#[tokio::test]
async fn notes_are_for_staff_unless_they_say_otherwise() {
    let shop = shop().await;
    let order = shop.sold().await;
    let note = |text: &str, customer_visible| AddNoteRequest {
        request_id: request_id(),
        order_id: order.order_id.clone(),
        text: text.to_owned(),
        customer_visible,
    };
    let secret = note("pays late", false);
    let first = shop.staff().add_note(secret.clone()).await.unwrap().into_inner();
    assert_eq!(
        shop.staff().add_note(secret).await.unwrap().into_inner(),
        first,
        "sent twice, written once"
    );
    shop.staff().add_note(note("it is on its way", true)).await.unwrap();

    let request = ListOrderEventsRequest { order_id: order.order_id.clone(), ..Default::default() };
    let seen = shop.alice().list_order_events(request.clone()).await.unwrap().into_inner().events;
    let notes: Vec<_> = seen
        .iter()
        .filter(|event| event.kind() == OrderEventKind::Note)
        .map(|event| event.message.as_str())
        .collect();
    assert_eq!(notes, ["it is on its way"]);
    let all = shop.staff().list_order_events(request).await.unwrap().into_inner().events;
    assert_eq!(all.len(), seen.len() + 1);
    let gone = AddNoteRequest { order_id: request_id(), ..note("x", true) };
    assert_eq!(reason(&shop.staff().add_note(gone).await.unwrap_err()), "ORDER_NOT_FOUND");
}
