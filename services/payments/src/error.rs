//! Why payments refused.

use std::time::Duration;

use chassis::{Currency, Fault};
use contracts::payments::v1::ErrorReason;

use crate::domain::{Failure, IntentStatus};

/// When an operation that is under way is worth asking for again.
const BUSY_DELAY: Duration = Duration::from_millis(200);

/// Why payments refused, as a fact.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such intent, or not for this caller.
    #[error("the payment intent does not exist")]
    IntentNotFound,
    /// No such refund.
    #[error("the refund does not exist")]
    RefundNotFound,
    /// No such event.
    #[error("the webhook event does not exist")]
    WebhookEventNotFound,
    /// No such provider.
    #[error("no provider of this name is connected")]
    ProviderNotFound,
    /// The order has an open intent.
    #[error("the order has an open payment intent, {intent_id}: use that, or cancel it first")]
    OrderIntentExists {
        /// Which.
        intent_id: String,
    },
    /// The status does not allow it.
    #[error("the payment intent is {}, which does not allow this", status.as_str())]
    StateInvalid {
        /// Which.
        status: IntentStatus,
    },
    /// A provider's answer was lost.
    #[error("a provider's answer was lost and it is not known what happened: sync first")]
    OutcomeUnknown,
    /// Somebody else is at it.
    #[error("another call about this payment intent is with the provider: read again, then retry")]
    InProgress,
    /// Too many attempts.
    #[error("the payment intent has had as many attempts as it may: cancel it and make another")]
    AttemptLimit,
    /// Nothing, or less.
    #[error("the amount must be more than nothing, in a currency that exists")]
    AmountInvalid,
    /// Two currencies.
    #[error("the amount is in {given}, the payment intent in {held}")]
    CurrencyMismatch {
        /// The intent's.
        held: Currency,
        /// The amount's.
        given: Currency,
    },
    /// More than is authorized.
    #[error("more than the {capturable} minor units that may be captured")]
    ExceedsCapturable {
        /// Minor units that may be.
        capturable: i64,
    },
    /// More than is left.
    #[error("more than the {refundable} minor units that may be refunded")]
    ExceedsRefundable {
        /// Minor units that may be.
        refundable: i64,
    },
    /// Nothing to pay with.
    #[error("neither the call nor the payment intent names a payment method")]
    PaymentMethodRequired,
    /// Nothing the provider knows.
    #[error("the provider knows no such payment method")]
    PaymentMethodUnknown,
    /// A card number.
    #[error("{field} looks like a card number: give the token that the provider made of it")]
    CardNumber {
        /// The field that holds it.
        field: &'static str,
    },
    /// The provider refused to capture.
    #[error("the provider refused the capture ({}); the authorization stands", failure.provider_code)]
    CaptureFailed {
        /// Why.
        failure: Failure,
    },
    /// The provider refused to void.
    #[error("the provider refused the void ({}); what it held it still holds", failure.provider_code)]
    VoidFailed {
        /// Why.
        failure: Failure,
    },
    /// Not signed by the provider.
    #[error("the webhook's signature does not verify")]
    SignatureInvalid,
    /// Signed too long ago.
    #[error("the webhook was not signed within the last five minutes")]
    WebhookExpired,
    /// No event.
    #[error("the webhook is signed, but it is no event: {why}")]
    WebhookMalformed {
        /// What is wrong.
        why: String,
    },
    /// A step that no table has: a defect of this service.
    #[error("{from} may not become {to}")]
    IllegalStep {
        /// Where it was.
        from: &'static str,
        /// Where it was to go.
        to: &'static str,
    },
    /// Another write was there first; what was read is old.
    #[error("another write was there first")]
    Stale,
    /// A test had the call die here.
    #[error("the call died at a failpoint")]
    Died,
    /// A fault of the chassis, passed on.
    #[error("{0}")]
    Fault(Box<Fault>),
    /// The database failed.
    #[error("the store failed")]
    Store(#[from] chassis::store::Error),
}

chassis::status_from!(Error);

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Fault(Box::new(fault))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        use ErrorReason as R;
        let text = error.to_string();
        match error {
            Error::IntentNotFound => Self::not_found(R::IntentNotFound),
            Error::RefundNotFound => Self::not_found(R::RefundNotFound),
            Error::WebhookEventNotFound => Self::not_found(R::WebhookEventNotFound),
            Error::ProviderNotFound => Self::not_found(R::ProviderNotFound),
            Error::OrderIntentExists { intent_id } => {
                Self::already_exists(R::OrderIntentExists).metadata("payment_intent_id", intent_id)
            }
            Error::StateInvalid { status } => {
                Self::failed_precondition(R::IntentStateInvalid).metadata("status", status.as_str())
            }
            Error::OutcomeUnknown => Self::failed_precondition(R::OutcomeUnknown),
            Error::InProgress => Self::aborted(R::OperationInProgress).retry_after(BUSY_DELAY),
            Error::AttemptLimit => Self::failed_precondition(R::AttemptLimitReached),
            Error::AmountInvalid => Self::invalid_argument(R::AmountInvalid)
                .violation("amount", "must be more than nothing, in a currency of ISO 4217"),
            Error::CurrencyMismatch { held, .. } => Self::invalid_argument(R::CurrencyMismatch)
                .violation(
                    "amount.currency_code",
                    format!("must be {held}, as the payment intent's"),
                ),
            Error::ExceedsCapturable { capturable } => {
                Self::failed_precondition(R::AmountExceedsCapturable)
                    .metadata("capturable", capturable.to_string())
            }
            Error::ExceedsRefundable { refundable } => {
                Self::failed_precondition(R::AmountExceedsRefundable)
                    .metadata("refundable", refundable.to_string())
            }
            Error::PaymentMethodRequired => Self::invalid_argument(R::PaymentMethodRequired)
                .violation("payment_method", "must be the token of a payment method"),
            Error::PaymentMethodUnknown => Self::invalid_argument(R::PaymentMethodUnknown)
                .violation("payment_method", "must be a token that the provider made"),
            Error::CardNumber { field } => Self::invalid_argument(R::CardNumberRefused)
                .violation(field, "must be a token: card numbers are never taken here"),
            Error::CaptureFailed { failure } => {
                Self::aborted(R::CaptureFailed).metadata("provider_code", failure.provider_code)
            }
            Error::VoidFailed { failure } => {
                Self::aborted(R::VoidFailed).metadata("provider_code", failure.provider_code)
            }
            Error::SignatureInvalid => Self::unauthenticated(R::WebhookSignatureInvalid),
            Error::WebhookExpired => Self::unauthenticated(R::WebhookExpired),
            Error::WebhookMalformed { .. } => Self::invalid_argument(R::WebhookMalformed)
                .violation("payload", "must be an event of the provider"),
            Error::Stale => {
                return Self::from(chassis::store::Error::Conflict("the row changed".into()));
            }
            Error::IllegalStep { .. } | Error::Died => {
                return Self::internal().because(text);
            }
            Error::Fault(fault) => return *fault,
            Error::Store(error) => return Self::from(error),
        }
        .message(text)
    }
}
