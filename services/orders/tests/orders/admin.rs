//! The person on call.

use super::*;

#[tokio::test]
async fn a_saga_that_waits_is_resolved_by_hand() {
    for (outcome, good) in [(ResolvedOutcome::Succeeded, true), (ResolvedOutcome::Failed, false)] {
        let shop = shop().await;
        let placement = shop.place(mugs("unknown")).await;
        let request = ResolveUnknownRequest {
            saga_id: placement.order_id.clone(),
            outcome: outcome.into(),
            evidence: "the provider's console".to_owned(),
            ..Default::default()
        };
        let said = if good {
            PaymentIntentStatus::RequiresCapture
        } else {
            PaymentIntentStatus::RequiresPaymentMethod
        };
        shop.world.payments.truth(said);
        shop.admin().resolve_unknown(request.clone()).await.unwrap();
        let ended = shop.ended(&placement.placement_id).await;
        assert_eq!(matches!(ended.outcome, Some(Outcome::Order(_))), good);
        assert_eq!(shop.world.is_clean(), !good);
        shop.saga_over(&placement.order_id).await;
        let error = shop.admin().resolve_unknown(request).await.unwrap_err();
        assert_eq!(reason(&error), "SAGA_STATE_INVALID");
        assert!(shop.timeline(&placement.order_id).await.contains(&OrderEventKind::SagaDecided));
    }
}

#[tokio::test]
async fn a_capture_that_is_refused_waits_for_a_person() {
    let shop = shop_with("place_order.capture_payment.act.before=refuse:1").await;
    let order = confirmed(&shop.place(mugs("ok")).await).clone();
    assert_eq!(shop.saga_over(&order.order_id).await, SagaStatus::Failed);
    let list = ListSagasRequest { status: SagaStatus::Failed.into(), ..Default::default() };
    let failed = shop.admin().list_sagas(list).await.unwrap().into_inner().sagas;
    assert_eq!((failed.len(), failed[0].step.as_str()), (1, "capture_payment"));

    let retry = RetryStepRequest { saga_id: order.order_id.clone(), ..Default::default() };
    let saga = shop.admin().retry_step(retry.clone()).await.unwrap().into_inner();
    assert!(saga.log.iter().any(|line| line.outcome == "RETRIED" && line.message == "user/staff"));
    shop.until(&order.order_id, |order| order.payment_status() == PaymentStatus::Captured).await;
    assert_eq!(shop.saga_over(&order.order_id).await, SagaStatus::Done);
    assert_eq!(reason(&shop.admin().retry_step(retry).await.unwrap_err()), "SAGA_STATE_INVALID");
}

#[tokio::test]
async fn a_step_that_was_done_by_hand_is_skipped_and_booked() {
    let shop = shop_with("place_order.capture_payment.act.before=refuse").await;
    let order = confirmed(&shop.place(mugs("ok")).await).clone();
    shop.saga_over(&order.order_id).await;
    let skip = |step: &str| SkipStepRequest {
        saga_id: order.order_id.clone(),
        step: step.to_owned(),
        evidence: "captured in the console".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        reason(&shop.admin().skip_step(skip("reserve_stock")).await.unwrap_err()),
        "SAGA_STATE_INVALID"
    );
    shop.admin().skip_step(skip("capture_payment")).await.unwrap();
    shop.until(&order.order_id, |order| order.payment_status() == PaymentStatus::Captured).await;
}

#[tokio::test]
async fn a_saga_is_taken_back_by_hand_only_before_its_pivot() {
    let shop = shop().await;
    let placement = shop.place(mugs("3ds")).await;
    let force = |saga_id: &str| ForceCompensateRequest {
        saga_id: saga_id.to_owned(),
        reason: "looks odd".to_owned(),
        ..Default::default()
    };
    shop.admin().force_compensate(force(&placement.order_id)).await.unwrap();
    assert_eq!(refused(&shop.ended(&placement.placement_id).await), RefusalReason::Cancelled);
    assert!(shop.world.is_clean());

    let sold = shop.sold().await;
    let error = shop.admin().force_compensate(force(&sold.order_id)).await.unwrap_err();
    assert_eq!(reason(&error), "SAGA_STATE_INVALID");
    let error = shop.admin().force_compensate(force(&request_id())).await.unwrap_err();
    assert_eq!(reason(&error), "SAGA_NOT_FOUND");
    let error = shop.admin().get_saga(GetSagaRequest { saga_id: request_id() }).await.unwrap_err();
    assert_eq!(reason(&error), "SAGA_NOT_FOUND");
    let mut nobody = SagaAdminServiceClient::new(shop.fixture.as_customer(ALICE));
    assert_eq!(
        reason(&nobody.list_sagas(ListSagasRequest::default()).await.unwrap_err()),
        "ACCESS_DENIED"
    );
}
