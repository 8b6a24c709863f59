//! Money that goes back.

use chassis::{Currency, Money, clock::Time};

use super::{
    DeclineCode, EntryKind, Failure, Intent, IntentStatus, Posting, RefundReason, RefundStatus,
    SYNC_SCHEDULE,
};
use crate::error::Error;

/// Money that goes back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are those of the contract's Refund, which explains them"
)]
pub struct Refund {
    pub id: String,
    pub intent_id: String,
    pub attempt_id: String,
    pub order_id: String,
    pub operation: String,
    pub amount: i64,
    pub currency: Currency,
    pub reason: RefundReason,
    pub status: RefundStatus,
    pub reference: Option<String>,
    pub error: Option<Failure>,
    pub sync_count: i64,
    pub next_sync_time: Option<Time>,
    pub create_time: Time,
    pub update_time: Time,
}

/// What `start` is given.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct RefundRequest {
    pub refund_id: String,
    pub operation: String,
    pub amount: Option<Money>,
    pub reason: RefundReason,
}

/// What the provider says of a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundReport {
    /// What the provider calls it.
    pub reference: String,
    /// Whether it paid out, or why not.
    pub outcome: Result<(), Failure>,
    /// How much.
    pub amount: i64,
    /// In which currency, as the provider spells it.
    pub currency: String,
}

/// What others are told of a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundNews {
    /// It is on its way.
    Created,
    /// The money went back.
    Succeeded,
    /// The provider refused.
    Failed,
}

/// Begins a refund: the amount is taken out of what may be refunded.
pub fn start(intent: &mut Intent, given: RefundRequest, now: Time) -> Result<Refund, Error> {
    let refundable = intent.refundable();
    let amount = intent.asked(given.amount, refundable)?;
    let Some(attempt_id) =
        intent.attempt_id.clone().filter(|_| intent.status == IntentStatus::Succeeded)
    else {
        return Err(Error::StateInvalid { status: intent.status });
    };
    if amount > refundable || amount == 0 {
        return Err(Error::ExceedsRefundable { refundable });
    }
    intent.refund_pending += amount;
    Ok(Refund {
        id: given.refund_id,
        intent_id: intent.id.clone(),
        attempt_id,
        order_id: intent.order_id.clone(),
        operation: given.operation,
        amount,
        currency: intent.currency,
        reason: given.reason,
        status: RefundStatus::Pending,
        reference: None,
        error: None,
        sync_count: 0,
        next_sync_time: Some(now + SYNC_SCHEDULE[0]),
        create_time: now,
        update_time: now,
    })
}

/// Applies the provider's word on a refund. One that is settled hears nothing.
pub fn settle(
    intent: &mut Intent,
    refund: &mut Refund,
    report: &RefundReport,
) -> Option<(Option<Posting>, Option<RefundNews>)> {
    match refund.status {
        RefundStatus::Pending => {}
        RefundStatus::Succeeded | RefundStatus::Failed => return None,
    }
    refund.reference = Some(report.reference.clone());
    if report.amount != refund.amount || report.currency != refund.currency.code() {
        // Neither done nor undone: it stays pending until somebody has put it right.
        refund.error = Some(Failure::own(DeclineCode::AmountMismatch));
        return Some((None, None));
    }
    refund.next_sync_time = None;
    intent.refund_pending -= refund.amount;
    match &report.outcome {
        Ok(()) => {
            refund.status = RefundStatus::Succeeded;
            refund.error = None;
            intent.refunded += refund.amount;
            let posting = Posting { kind: EntryKind::Refund, amount: refund.amount };
            Some((Some(posting), Some(RefundNews::Succeeded)))
        }
        Err(failure) => {
            refund.status = RefundStatus::Failed;
            refund.error = Some(failure.clone());
            Some((None, Some(RefundNews::Failed)))
        }
    }
}
