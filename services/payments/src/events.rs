//! What others are told, in the transaction that made it true.

use chassis::{Tx, event::Event};
use contracts::payments::v1;

use crate::{
    domain::{Attempt, Intent, News, Refund, RefundNews},
    error::Error,
};

/// Tells of a payment.
pub(crate) async fn tell(
    tx: &mut Tx,
    intent: &Intent,
    attempt: Option<&Attempt>,
    news: News,
) -> Result<(), Error> {
    let payment_intent_id = intent.id.clone();
    let order_id = intent.order_id.clone();
    let customer_id = intent.customer_id.clone();
    let attempt_id = intent.attempt_id.clone().unwrap_or_default();
    let amount = Some(intent.money(intent.amount).into());
    let event = match news {
        News::ActionRequired => Event::new(&v1::PaymentActionRequired {
            payment_intent_id,
            order_id,
            customer_id,
            attempt_id,
            amount,
            next_action: intent.action.as_ref().map(Into::into),
        }),
        News::Authorized => Event::new(&v1::PaymentAuthorized {
            payment_intent_id,
            order_id,
            customer_id,
            attempt_id,
            amount: Some(intent.money(intent.authorized).into()),
            expire_time: intent.authorization_expire_time.map(Into::into),
        }),
        News::Captured => Event::new(&v1::PaymentCaptured {
            payment_intent_id,
            order_id,
            customer_id,
            attempt_id,
            amount: Some(intent.money(intent.captured).into()),
        }),
        News::Declined => Event::new(&v1::PaymentDeclined {
            payment_intent_id,
            order_id,
            customer_id,
            attempt_id,
            amount,
            error: intent.error.as_ref().map(Into::into),
        }),
        News::Canceled => Event::new(&v1::PaymentCanceled {
            payment_intent_id,
            order_id,
            customer_id,
            attempt_id,
            amount,
            reason: intent.cancellation_reason.map_or(0, |reason| reason.wire().into()),
        }),
        News::Unknown => Event::new(&v1::PaymentUnknown {
            payment_intent_id,
            order_id,
            customer_id,
            attempt_id,
            amount,
        }),
        News::Conflicted => Event::new(&v1::PaymentConflicted {
            payment_intent_id,
            order_id,
            customer_id,
            attempt_id,
            amount,
            provider_amount: attempt.and_then(Attempt::provider_money),
        }),
    };
    tx.publish(event.subject(&intent.id).version(intent.version)).await?;
    Ok(())
}

/// Tells of a refund.
pub(crate) async fn tell_refund(
    tx: &mut Tx,
    intent: &Intent,
    refund: &Refund,
    news: RefundNews,
) -> Result<(), Error> {
    let refund_id = refund.id.clone();
    let payment_intent_id = intent.id.clone();
    let order_id = intent.order_id.clone();
    let customer_id = intent.customer_id.clone();
    let amount = Some(intent.money(refund.amount).into());
    let event = match news {
        RefundNews::Created => Event::new(&v1::RefundCreated {
            refund_id,
            payment_intent_id,
            order_id,
            customer_id,
            amount,
            reason: refund.reason.wire().into(),
        }),
        RefundNews::Succeeded => Event::new(&v1::RefundSucceeded {
            refund_id,
            payment_intent_id,
            order_id,
            customer_id,
            amount,
            amount_refunded: Some(intent.money(intent.refunded).into()),
        }),
        RefundNews::Failed => Event::new(&v1::RefundFailed {
            refund_id,
            payment_intent_id,
            order_id,
            customer_id,
            amount,
            error: refund.error.as_ref().map(Into::into),
        }),
    };
    tx.publish(event.subject(&intent.id).version(intent.version)).await?;
    Ok(())
}
