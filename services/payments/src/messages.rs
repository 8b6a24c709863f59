//! What the rows are called in the contract.

use contracts::{payments::v1, values::v1::Money};

use crate::{
    domain::{Action, Attempt, Failure, Intent, Refund},
    store::{ledger::Entry, webhook::Webhook},
};

impl Intent {
    /// As the contract has it.
    pub(crate) fn message(&self) -> v1::PaymentIntent {
        let money = |minor| Some(self.money(minor).into());
        v1::PaymentIntent {
            payment_intent_id: self.id.clone(),
            order_id: self.order_id.clone(),
            customer_id: self.customer_id.clone(),
            amount: money(self.amount),
            capture_method: self.capture_method.wire().into(),
            status: self.status.wire().into(),
            payment_method: self.payment_method.clone().unwrap_or_default(),
            amount_authorized: money(self.authorized),
            amount_capturable: money(self.capturable()),
            amount_captured: money(self.captured),
            amount_refunded: money(self.refunded),
            amount_refund_pending: money(self.refund_pending),
            next_action: self.action.as_ref().map(Into::into),
            last_error: self.error.as_ref().map(Into::into),
            attempt_id: self.attempt_id.clone().unwrap_or_default(),
            attempt_count: count(self.attempt_count),
            return_uri: self.return_uri.clone().unwrap_or_default(),
            cancellation_reason: self.cancellation_reason.map_or(0, |reason| reason.wire().into()),
            authorization_expire_time: self.authorization_expire_time.map(Into::into),
            create_time: Some(self.create_time.into()),
            update_time: Some(self.update_time.into()),
            etag: self.version.to_string(),
        }
    }
}

impl Attempt {
    /// What the provider said it is over.
    pub(crate) fn provider_money(&self) -> Option<Money> {
        let currency_code = self.provider_currency.clone()?;
        Some(Money { currency_code, minor_units: self.provider_amount? })
    }

    /// As the contract has it.
    pub(crate) fn message(&self) -> v1::Attempt {
        let money = |minor| chassis::Money::new(minor, self.currency).into();
        v1::Attempt {
            attempt_id: self.id.clone(),
            payment_intent_id: self.intent_id.clone(),
            state: self.state.wire().into(),
            provider: self.provider.clone(),
            provider_reference: self.reference.clone().unwrap_or_default(),
            payment_method: self.payment_method.clone(),
            amount: Some(money(self.amount)),
            provider_amount: self.provider_money(),
            capture_amount: self.capture_amount.map(money),
            error: self.error.as_ref().map(Into::into),
            sync_count: count(self.sync_count),
            next_sync_time: self.next_sync_time.map(Into::into),
            create_time: Some(self.create_time.into()),
            update_time: Some(self.update_time.into()),
        }
    }
}

impl Refund {
    /// As the contract has it.
    pub(crate) fn message(&self) -> v1::Refund {
        v1::Refund {
            refund_id: self.id.clone(),
            payment_intent_id: self.intent_id.clone(),
            order_id: self.order_id.clone(),
            amount: Some(chassis::Money::new(self.amount, self.currency).into()),
            reason: self.reason.wire().into(),
            status: self.status.wire().into(),
            error: self.error.as_ref().map(Into::into),
            provider_reference: self.reference.clone().unwrap_or_default(),
            sync_count: count(self.sync_count),
            next_sync_time: self.next_sync_time.map(Into::into),
            create_time: Some(self.create_time.into()),
            update_time: Some(self.update_time.into()),
        }
    }
}

impl From<&Action> for v1::NextAction {
    fn from(action: &Action) -> Self {
        Self { redirect_uri: action.uri.clone(), expire_time: Some(action.expire_time.into()) }
    }
}

impl From<&Failure> for v1::PaymentError {
    fn from(failure: &Failure) -> Self {
        Self {
            decline_code: failure.code.wire().into(),
            recommended_action: failure.code.recommended_action().into(),
            message: failure.code.message().to_owned(),
            provider_code: failure.provider_code.clone(),
        }
    }
}

impl From<Entry> for v1::LedgerEntry {
    fn from(entry: Entry) -> Self {
        Self {
            ledger_entry_id: entry.id,
            kind: entry.kind.wire().into(),
            debit_account: entry.debit.wire().into(),
            credit_account: entry.credit.wire().into(),
            amount: Some(chassis::Money::new(entry.amount, entry.currency).into()),
            payment_intent_id: entry.intent_id,
            order_id: entry.order_id,
            source_id: entry.source_id,
            create_time: Some(entry.create_time.into()),
        }
    }
}

impl From<Webhook> for v1::WebhookEvent {
    fn from(event: Webhook) -> Self {
        Self {
            webhook_event_id: event.id,
            provider: event.provider,
            provider_event_id: event.provider_event_id,
            kind: event.kind,
            status: event.status.wire().into(),
            payment_intent_id: event.intent_id.unwrap_or_default(),
            note: event.note,
            payload: event.payload.into(),
            receive_time: Some(event.receive_time.into()),
            process_time: event.process_time.map(Into::into),
        }
    }
}

/// A count that a bound of ours keeps small.
fn count(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
