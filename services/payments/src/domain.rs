//! What a payment is and how it may change. Pure: no provider, no database, no
//! clock. Everything that changes an intent is one of the functions here; what
//! follows from it (entries in the ledger, news for others) is their result.

mod card;
mod names;
mod refund;
mod report;
mod state;

use std::time::Duration;

use chassis::{Currency, Money, clock::Time};

pub use card::looks_like_card_number;
pub use names::{
    Account, CancellationReason, CaptureMethod, DeclineCode, EntryKind, RefundReason, RefundStatus,
    WebhookStatus,
};
pub use refund::{Refund, RefundNews, RefundReport, RefundRequest, settle, start};
pub use report::{learn, lose, refuse};
pub use state::{ATTEMPT_EDGES, AttemptState, ChargeState, INTENT_EDGES, IntentStatus, Question};

use crate::error::Error;

/// How many attempts an intent may have: enough for a clumsy customer, too few
/// to try out stolen cards.
pub const ATTEMPTS_MAX: i64 = 20;

/// When the provider is asked what became of something, each time anew.
pub const SYNC_SCHEDULE: [Duration; 6] = [
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 60 * 60),
    Duration::from_secs(6 * 60 * 60),
];

/// The will to collect one amount for one order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are those of the contract's PaymentIntent, which explains them"
)]
pub struct Intent {
    pub id: String,
    pub operation: String,
    pub order_id: String,
    pub customer_id: String,
    pub currency: Currency,
    pub amount: i64,
    pub capture_method: CaptureMethod,
    pub status: IntentStatus,
    pub payment_method: Option<String>,
    pub return_uri: Option<String>,
    pub authorized: i64,
    pub captured: i64,
    pub refunded: i64,
    pub refund_pending: i64,
    pub attempt_id: Option<String>,
    pub attempt_count: i64,
    pub action: Option<Action>,
    pub authorization_expire_time: Option<Time>,
    pub error: Option<Failure>,
    pub cancellation_reason: Option<CancellationReason>,
    pub version: i64,
    pub create_time: Time,
    pub update_time: Time,
}

/// One try at an intent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are those of the contract's Attempt, which explains them"
)]
pub struct Attempt {
    pub id: String,
    pub intent_id: String,
    pub state: AttemptState,
    /// Caller and request id of the call that is, or was last, at work on it.
    pub operation: String,
    pub provider: String,
    pub reference: Option<String>,
    pub payment_method: String,
    pub amount: i64,
    pub currency: Currency,
    pub provider_amount: Option<i64>,
    pub provider_currency: Option<String>,
    pub capture_amount: Option<i64>,
    pub cancellation_reason: Option<CancellationReason>,
    pub error: Option<Failure>,
    pub sync_count: i64,
    pub next_sync_time: Option<Time>,
    pub create_time: Time,
    pub update_time: Time,
}

/// What the customer must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// Where.
    pub uri: String,
    /// Until when.
    pub expire_time: Time,
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In words that hold for every provider.
    pub code: DeclineCode,
    /// In the provider's.
    pub provider_code: String,
}

/// What the provider says of a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// What the provider calls it.
    pub reference: String,
    /// How it stands.
    pub state: ChargeState,
    /// What it is over.
    pub amount: i64,
    /// In which currency, as the provider spells it.
    pub currency: String,
    /// What was taken.
    pub captured: i64,
    /// The challenge; with `ActionRequired`.
    pub action: Option<Action>,
    /// Until when the money is held; with `Authorized`.
    pub expire_time: Option<Time>,
    /// Why it was declined; with `Declined`.
    pub failure: Option<Failure>,
}

/// One movement of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posting {
    /// What happened.
    pub kind: EntryKind,
    /// How much.
    pub amount: i64,
}

/// What others are told of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The customer must act.
    ActionRequired,
    /// The money is held.
    Authorized,
    /// The money was taken.
    Captured,
    /// The attempt failed.
    Declined,
    /// The intent was given up, or expired.
    Canceled,
    /// An answer was lost.
    Unknown,
    /// The provider answered for another amount.
    Conflicted,
}

/// What follows from a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Entries for the ledger.
    pub postings: Vec<Posting>,
    /// What to tell others.
    pub news: Option<News>,
    /// Whether anything changed at all.
    pub moved: bool,
}

/// What `confirm` is given.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Confirmation {
    pub attempt_id: String,
    pub operation: String,
    pub provider: String,
    pub payment_method: Option<String>,
    pub return_uri: Option<String>,
}

/// What is to be done after `cancel`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancel {
    /// Nothing: it was given up before.
    Already,
    /// Nothing more: it is given up now.
    Done(Change),
    /// Ask the provider to void.
    Void,
}

// === impl EntryKind ===

impl EntryKind {
    /// The account that is debited and the one that is credited.
    pub const fn accounts(self) -> (Account, Account) {
        match self {
            Self::Authorization => (Account::AuthorizationHold, Account::AuthorizedFunds),
            Self::Release => (Account::AuthorizedFunds, Account::AuthorizationHold),
            Self::Capture => (Account::ProviderClearing, Account::OrderFunds),
            Self::Refund => (Account::OrderFunds, Account::ProviderClearing),
        }
    }
}

// === impl Change ===

impl Change {
    /// A change without money.
    pub(crate) fn of(news: News) -> Self {
        Self { postings: Vec::new(), news: Some(news), moved: true }
    }

    /// A change that nobody need hear of.
    pub(crate) fn quiet() -> Self {
        Self { postings: Vec::new(), news: None, moved: true }
    }

    pub(crate) fn with(mut self, kind: EntryKind, amount: i64) -> Self {
        if amount > 0 {
            self.postings.push(Posting { kind, amount });
        }
        self
    }
}

// === impl Failure ===

impl Failure {
    /// A failure that the service itself names.
    pub fn own(code: DeclineCode) -> Self {
        Self { code, provider_code: String::new() }
    }
}

// === impl Intent ===

impl Intent {
    /// What may be captured.
    pub fn capturable(&self) -> i64 {
        match self.status {
            IntentStatus::RequiresCapture => self.authorized,
            IntentStatus::RequiresPaymentMethod
            | IntentStatus::RequiresConfirmation
            | IntentStatus::RequiresAction
            | IntentStatus::Processing
            | IntentStatus::Succeeded
            | IntentStatus::Canceled
            | IntentStatus::Expired
            | IntentStatus::Unknown
            | IntentStatus::Conflicted => 0,
        }
    }

    /// What may be refunded.
    pub fn refundable(&self) -> i64 {
        self.captured - self.refunded - self.refund_pending
    }

    /// An amount of it.
    pub fn money(&self, minor: i64) -> Money {
        Money::new(minor, self.currency)
    }

    /// Moves to another status, by the table.
    pub(crate) fn go(&mut self, next: IntentStatus) -> Result<(), Error> {
        if self.status == next {
            return Ok(());
        }
        if !self.status.leads_to(next) {
            return Err(Error::IllegalStep { from: self.status.as_str(), to: next.as_str() });
        }
        self.status = next;
        if next != IntentStatus::RequiresAction {
            self.action = None;
        }
        Ok(())
    }

    /// A requested amount in the intent's currency, or `all` if none is requested.
    fn asked(&self, amount: Option<Money>, all: i64) -> Result<i64, Error> {
        let Some(amount) = amount else { return Ok(all) };
        if amount.currency != self.currency {
            return Err(Error::CurrencyMismatch { held: self.currency, given: amount.currency });
        }
        if amount.minor <= 0 {
            return Err(Error::AmountInvalid);
        }
        Ok(amount.minor)
    }
}

// === impl Attempt ===

impl Attempt {
    /// Moves to another state, by the table.
    pub(crate) fn go(&mut self, next: AttemptState) -> Result<(), Error> {
        if self.state == next {
            return Ok(());
        }
        if !self.state.leads_to(next) {
            return Err(Error::IllegalStep { from: self.state.as_str(), to: next.as_str() });
        }
        self.state = next;
        Ok(())
    }

    /// Begins the schedule of syncs anew: what is sent now is asked for soon,
    /// also if this process is no more.
    fn sent(&mut self, operation: String, now: Time) {
        self.operation = operation;
        self.sync_count = 0;
        self.next_sync_time = Some(now + SYNC_SCHEDULE[0]);
    }
}

/// When to ask next, after having asked so many times.
pub fn sync_delay(asked: i64) -> Duration {
    let last = SYNC_SCHEDULE.len() - 1;
    SYNC_SCHEDULE[usize::try_from(asked).map_or(last, |asked| asked.min(last))]
}

/// Why an intent does not allow what was asked: because somebody else is at it,
/// because nobody knows, or because of its status.
fn not_now(intent: &Intent, attempt: Option<&Attempt>) -> Error {
    let in_flight = attempt.is_some_and(|attempt| attempt.state.in_flight().is_some());
    match intent.status {
        IntentStatus::Unknown => Error::OutcomeUnknown,
        _ if in_flight => Error::InProgress,
        status => Error::StateInvalid { status },
    }
}

/// Begins an attempt: the intent is PROCESSING and the attempt SENT.
pub fn confirm(
    intent: &mut Intent,
    previous: Option<&Attempt>,
    given: Confirmation,
    now: Time,
) -> Result<Attempt, Error> {
    let payment_method = match intent.status {
        IntentStatus::RequiresConfirmation => {
            given.payment_method.or_else(|| intent.payment_method.clone())
        }
        IntentStatus::RequiresPaymentMethod => given.payment_method,
        _ => return Err(not_now(intent, previous)),
    }
    .ok_or(Error::PaymentMethodRequired)?;
    if intent.attempt_count >= ATTEMPTS_MAX {
        return Err(Error::AttemptLimit);
    }
    intent.go(IntentStatus::Processing)?;
    intent.payment_method = Some(payment_method.clone());
    intent.return_uri = given.return_uri.or(intent.return_uri.take());
    intent.attempt_id = Some(given.attempt_id.clone());
    intent.attempt_count += 1;
    intent.error = None;
    Ok(Attempt {
        id: given.attempt_id,
        intent_id: intent.id.clone(),
        state: AttemptState::Sent,
        operation: given.operation,
        provider: given.provider,
        reference: None,
        payment_method,
        amount: intent.amount,
        currency: intent.currency,
        provider_amount: None,
        provider_currency: None,
        capture_amount: None,
        cancellation_reason: None,
        error: None,
        sync_count: 0,
        next_sync_time: Some(now + SYNC_SCHEDULE[0]),
        create_time: now,
        update_time: now,
    })
}

/// Begins a capture.
pub fn capture(
    intent: &mut Intent,
    attempt: &mut Attempt,
    amount: Option<Money>,
    operation: String,
    now: Time,
) -> Result<(), Error> {
    let amount = intent.asked(amount, intent.capturable())?;
    let ready = matches!(
        attempt.state,
        AttemptState::Authorized | AttemptState::CaptureFailed | AttemptState::VoidFailed
    );
    if intent.status != IntentStatus::RequiresCapture || !ready {
        return Err(not_now(intent, Some(attempt)));
    }
    if amount > intent.capturable() {
        return Err(Error::ExceedsCapturable { capturable: intent.capturable() });
    }
    attempt.go(AttemptState::CaptureInitiated)?;
    attempt.capture_amount = Some(amount);
    attempt.sent(operation, now);
    Ok(())
}

/// Gives an intent up, or begins to.
pub fn cancel(
    intent: &mut Intent,
    attempt: Option<&mut Attempt>,
    reason: CancellationReason,
    operation: String,
    now: Time,
) -> Result<Cancel, Error> {
    match intent.status {
        IntentStatus::Canceled | IntentStatus::Expired => return Ok(Cancel::Already),
        IntentStatus::RequiresPaymentMethod | IntentStatus::RequiresConfirmation => {
            intent.go(IntentStatus::Canceled)?;
            intent.cancellation_reason = Some(reason);
            return Ok(Cancel::Done(Change::of(News::Canceled)));
        }
        IntentStatus::Succeeded => return Err(Error::StateInvalid { status: intent.status }),
        IntentStatus::RequiresAction
        | IntentStatus::Processing
        | IntentStatus::RequiresCapture
        | IntentStatus::Unknown
        | IntentStatus::Conflicted => {}
    }
    let Some(attempt) = attempt else { return Err(Error::StateInvalid { status: intent.status }) };
    match attempt.state {
        // The void's own answer was lost: ask again.
        AttemptState::VoidInitiated if intent.status == IntentStatus::Unknown => {}
        AttemptState::AuthenticationPending
        | AttemptState::Processing
        | AttemptState::Unknown
        | AttemptState::Authorized
        | AttemptState::CaptureFailed
        | AttemptState::VoidFailed
        | AttemptState::Conflicted => attempt.go(AttemptState::VoidInitiated)?,
        AttemptState::Sent
        | AttemptState::CaptureInitiated
        | AttemptState::VoidInitiated
        | AttemptState::Captured
        | AttemptState::Voided
        | AttemptState::Declined
        | AttemptState::Error => return Err(not_now(intent, Some(attempt))),
    }
    attempt.cancellation_reason = Some(reason);
    attempt.sent(operation, now);
    Ok(Cancel::Void)
}

/// Sends the customer's answer to the challenge.
pub fn answer(
    intent: &mut Intent,
    attempt: &mut Attempt,
    operation: String,
    now: Time,
) -> Result<(), Error> {
    let ready =
        matches!(attempt.state, AttemptState::AuthenticationPending | AttemptState::VoidFailed);
    if intent.status != IntentStatus::RequiresAction || !ready {
        return Err(not_now(intent, Some(attempt)));
    }
    attempt.go(AttemptState::Sent)?;
    attempt.sent(operation, now);
    intent.go(IntentStatus::Processing)
}

#[cfg(test)]
mod tests;
