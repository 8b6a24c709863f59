//! Where a payment can be, and which ways lead on. The tables are data: the
//! rules walk them and the tests compare them.

use contracts::payments::v1 as wire;

/// Makes an enum with its name in the database and its form in the contract.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident: $wire:ty { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All of them, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name in the database and in metadata.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// The value with this name.
            pub fn parse(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The contract's value.
            pub const fn wire(self) -> $wire {
                match self {
                    $(Self::$variant => <$wire>::$variant,)*
                }
            }

            /// The value of a contract's field; `None` if it is unspecified or unknown.
            pub fn from_wire(value: i32) -> Option<Self> {
                let value = <$wire>::try_from(value).ok()?;
                Self::ALL.iter().copied().find(|known| known.wire() == value)
            }
        }
    };
}

names! {
    /// How an intent stands.
    IntentStatus: wire::PaymentIntentStatus {
        /// New, or its last attempt failed.
        RequiresPaymentMethod = "REQUIRES_PAYMENT_METHOD",
        /// It has a method and was not confirmed yet.
        RequiresConfirmation = "REQUIRES_CONFIRMATION",
        /// The customer must answer a challenge.
        RequiresAction = "REQUIRES_ACTION",
        /// The provider is at it.
        Processing = "PROCESSING",
        /// Authorized.
        RequiresCapture = "REQUIRES_CAPTURE",
        /// Captured.
        Succeeded = "SUCCEEDED",
        /// Given up; nothing is held.
        Canceled = "CANCELED",
        /// The provider let go of it.
        Expired = "EXPIRED",
        /// A provider's answer was lost.
        Unknown = "UNKNOWN",
        /// The provider answered for another amount.
        Conflicted = "CONFLICTED",
    }
}

names! {
    /// How an attempt stands.
    AttemptState: wire::AttemptState {
        /// On its way to the provider.
        Sent = "SENT",
        /// The customer must answer a challenge.
        AuthenticationPending = "AUTHENTICATION_PENDING",
        /// The provider will say later.
        Processing = "PROCESSING",
        /// The provider's answer was lost.
        Unknown = "UNKNOWN",
        /// The provider holds the money.
        Authorized = "AUTHORIZED",
        /// A capture is on its way.
        CaptureInitiated = "CAPTURE_INITIATED",
        /// The capture was refused; the authorization stands.
        CaptureFailed = "CAPTURE_FAILED",
        /// The money was taken.
        Captured = "CAPTURED",
        /// A void is on its way.
        VoidInitiated = "VOID_INITIATED",
        /// The void was refused.
        VoidFailed = "VOID_FAILED",
        /// Nothing is held any more, nor can be.
        Voided = "VOIDED",
        /// The provider declined.
        Declined = "DECLINED",
        /// The provider could not take it.
        Error = "ERROR",
        /// The provider answered for another amount.
        Conflicted = "CONFLICTED",
    }
}

names! {
    /// How a refund stands.
    RefundStatus: wire::RefundStatus {
        /// With the provider.
        Pending = "PENDING",
        /// The money went back.
        Succeeded = "SUCCEEDED",
        /// The provider refused.
        Failed = "FAILED",
    }
}

names! {
    /// When the money is taken.
    CaptureMethod: wire::CaptureMethod {
        /// By a call of its own.
        Manual = "MANUAL",
        /// Together with the authorization.
        Automatic = "AUTOMATIC",
    }
}

names! {
    /// Why an intent was given up.
    CancellationReason: wire::CancellationReason {
        /// Somebody asked for it.
        Requested = "REQUESTED",
        /// The purchase was not made.
        Abandoned = "ABANDONED",
        /// It was made twice.
        Duplicate = "DUPLICATE",
        /// It looks like fraud.
        Fraudulent = "FRAUDULENT",
        /// The provider let go of it.
        Expired = "EXPIRED",
    }
}

names! {
    /// Why money goes back.
    RefundReason: wire::RefundReason {
        /// The customer asked for it.
        Requested = "REQUESTED",
        /// The order was cancelled.
        OrderCancelled = "ORDER_CANCELLED",
        /// The goods came back.
        Returned = "RETURNED",
        /// It was paid twice.
        Duplicate = "DUPLICATE",
        /// It looks like fraud.
        Fraudulent = "FRAUDULENT",
    }
}

names! {
    /// Why something failed at the provider, whoever that is.
    DeclineCode: wire::DeclineCode {
        /// The issuer says no more.
        CardDeclined = "CARD_DECLINED",
        /// Not enough money.
        InsufficientFunds = "INSUFFICIENT_FUNDS",
        /// Past its date.
        CardExpired = "CARD_EXPIRED",
        /// The challenge was failed or refused.
        AuthenticationFailed = "AUTHENTICATION_FAILED",
        /// The challenge was not answered in time.
        AuthenticationExpired = "AUTHENTICATION_EXPIRED",
        /// It never reached the provider.
        NotProcessed = "NOT_PROCESSED",
        /// The capture was refused.
        CaptureRefused = "CAPTURE_REFUSED",
        /// The void was refused.
        VoidRefused = "VOID_REFUSED",
        /// The refund was refused.
        RefundRefused = "REFUND_REFUSED",
        /// Another amount or currency than asked for.
        AmountMismatch = "AMOUNT_MISMATCH",
        /// No such payment method.
        PaymentMethodUnknown = "PAYMENT_METHOD_UNKNOWN",
    }
}

names! {
    /// Where money can be.
    Account: wire::LedgerAccount {
        /// What providers hold and were not told to take.
        AuthorizationHold = "AUTHORIZATION_HOLD",
        /// What customers have promised.
        AuthorizedFunds = "AUTHORIZED_FUNDS",
        /// What providers owe the shop.
        ProviderClearing = "PROVIDER_CLEARING",
        /// What customers have paid.
        OrderFunds = "ORDER_FUNDS",
    }
}

names! {
    /// What moves money.
    EntryKind: wire::LedgerEntryKind {
        /// An authorization.
        Authorization = "AUTHORIZATION",
        /// The end of an authorization.
        Release = "RELEASE",
        /// A capture.
        Capture = "CAPTURE",
        /// A refund.
        Refund = "REFUND",
    }
}

names! {
    /// What came of a webhook event.
    WebhookStatus: wire::WebhookEventStatus {
        /// Stored.
        Received = "RECEIVED",
        /// It changed a payment.
        Processed = "PROCESSED",
        /// It said nothing new.
        Ignored = "IGNORED",
        /// It is about nothing that is known.
        Failed = "FAILED",
    }
}

/// How the provider says a charge stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChargeState {
    /// The customer must answer a challenge.
    ActionRequired,
    /// It will say later.
    Processing,
    /// It holds the money.
    Authorized,
    /// It took the money.
    Captured,
    /// It declined.
    Declined,
    /// It holds nothing, and never will under this key.
    Voided,
}

/// What is asked of the provider, of which no answer is known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// To authorize, or what became of an authorization.
    Charge,
    /// To capture.
    Capture,
    /// To void.
    Void,
}

use AttemptState as A;
use IntentStatus as I;

/// Every way from one status of an intent to another.
pub const INTENT_EDGES: &[(IntentStatus, &[IntentStatus])] = &[
    (I::RequiresPaymentMethod, &[I::Processing, I::Canceled]),
    (I::RequiresConfirmation, &[I::Processing, I::Canceled]),
    (
        I::RequiresAction,
        &[
            I::RequiresPaymentMethod,
            I::Processing,
            I::RequiresCapture,
            I::Succeeded,
            I::Canceled,
            I::Unknown,
            I::Conflicted,
        ],
    ),
    (
        I::Processing,
        &[
            I::RequiresPaymentMethod,
            I::RequiresAction,
            I::RequiresCapture,
            I::Succeeded,
            I::Canceled,
            I::Unknown,
            I::Conflicted,
        ],
    ),
    (I::RequiresCapture, &[I::Succeeded, I::Canceled, I::Expired, I::Unknown, I::Conflicted]),
    (I::Succeeded, &[]),
    (I::Canceled, &[]),
    (I::Expired, &[]),
    (
        I::Unknown,
        &[
            I::RequiresPaymentMethod,
            I::RequiresAction,
            I::Processing,
            I::RequiresCapture,
            I::Succeeded,
            I::Canceled,
            I::Expired,
            I::Conflicted,
        ],
    ),
    (
        I::Conflicted,
        &[
            I::RequiresPaymentMethod,
            I::RequiresCapture,
            I::Succeeded,
            I::Canceled,
            I::Expired,
            I::Unknown,
        ],
    ),
];

/// Every way from one state of an attempt to another.
pub const ATTEMPT_EDGES: &[(AttemptState, &[AttemptState])] = &[
    (
        A::Sent,
        &[
            A::AuthenticationPending,
            A::Processing,
            A::Unknown,
            A::Authorized,
            A::Captured,
            A::Voided,
            A::Declined,
            A::Error,
            A::Conflicted,
        ],
    ),
    (
        A::AuthenticationPending,
        &[
            A::Sent,
            A::Processing,
            A::Authorized,
            A::Captured,
            A::VoidInitiated,
            A::Voided,
            A::Declined,
            A::Conflicted,
        ],
    ),
    (
        A::Processing,
        &[A::Authorized, A::Captured, A::VoidInitiated, A::Voided, A::Declined, A::Conflicted],
    ),
    (
        A::Unknown,
        &[
            A::AuthenticationPending,
            A::Processing,
            A::Authorized,
            A::Captured,
            A::VoidInitiated,
            A::Voided,
            A::Declined,
            A::Conflicted,
        ],
    ),
    (
        A::Authorized,
        &[A::CaptureInitiated, A::Captured, A::VoidInitiated, A::Voided, A::Conflicted],
    ),
    (A::CaptureInitiated, &[A::Captured, A::CaptureFailed, A::Voided, A::Conflicted]),
    (
        A::CaptureFailed,
        &[A::CaptureInitiated, A::Captured, A::VoidInitiated, A::Voided, A::Conflicted],
    ),
    (A::Captured, &[]),
    (A::VoidInitiated, &[A::Voided, A::VoidFailed, A::Unknown, A::Captured, A::Conflicted]),
    (
        A::VoidFailed,
        &[
            A::Sent,
            A::Authorized,
            A::CaptureInitiated,
            A::Captured,
            A::VoidInitiated,
            A::Voided,
            A::Declined,
            A::Conflicted,
        ],
    ),
    (A::Voided, &[]),
    (A::Declined, &[]),
    (A::Error, &[]),
    (A::Conflicted, &[A::Authorized, A::Captured, A::VoidInitiated, A::Voided, A::Declined]),
];

// === impl IntentStatus ===

impl IntentStatus {
    /// Whether one status may follow the other. Staying is no step.
    pub fn leads_to(self, next: Self) -> bool {
        INTENT_EDGES.iter().any(|(from, ways)| *from == self && ways.contains(&next))
    }

    /// Whether nothing follows.
    pub fn is_final(self) -> bool {
        INTENT_EDGES.iter().any(|(from, ways)| *from == self && ways.is_empty())
    }
}

// === impl AttemptState ===

impl AttemptState {
    /// Whether one state may follow the other. Staying is no step.
    pub fn leads_to(self, next: Self) -> bool {
        ATTEMPT_EDGES.iter().any(|(from, ways)| *from == self && ways.contains(&next))
    }

    /// What the provider was asked and has not answered, while a call waits for it.
    pub fn in_flight(self) -> Option<Question> {
        match self {
            Self::Sent => Some(Question::Charge),
            Self::CaptureInitiated => Some(Question::Capture),
            Self::VoidInitiated => Some(Question::Void),
            Self::AuthenticationPending
            | Self::Processing
            | Self::Unknown
            | Self::Authorized
            | Self::CaptureFailed
            | Self::Captured
            | Self::VoidFailed
            | Self::Voided
            | Self::Declined
            | Self::Error
            | Self::Conflicted => None,
        }
    }

    /// What to ask the provider to learn more, if there is more to learn.
    pub fn question(self) -> Option<Question> {
        match self {
            Self::CaptureInitiated => Some(Question::Capture),
            Self::VoidInitiated => Some(Question::Void),
            Self::Sent
            | Self::AuthenticationPending
            | Self::Processing
            | Self::Unknown
            | Self::Authorized
            | Self::CaptureFailed
            | Self::VoidFailed
            | Self::Conflicted => Some(Question::Charge),
            Self::Captured | Self::Voided | Self::Declined | Self::Error => None,
        }
    }

    /// What the provider's word makes of it; `None` if it says nothing new. What
    /// is known never shrinks: a late "processing" after a success is nothing.
    pub fn told(self, charge: ChargeState) -> Option<Self> {
        match self {
            Self::Sent | Self::Unknown => Some(match charge {
                ChargeState::ActionRequired => Self::AuthenticationPending,
                ChargeState::Processing => Self::Processing,
                ChargeState::Authorized => Self::Authorized,
                ChargeState::Captured => Self::Captured,
                ChargeState::Declined => Self::Declined,
                ChargeState::Voided => Self::Voided,
            }),
            Self::AuthenticationPending => match charge {
                ChargeState::ActionRequired => None,
                ChargeState::Processing => Some(Self::Processing),
                ChargeState::Authorized => Some(Self::Authorized),
                ChargeState::Captured => Some(Self::Captured),
                ChargeState::Declined => Some(Self::Declined),
                ChargeState::Voided => Some(Self::Voided),
            },
            Self::Processing | Self::VoidFailed | Self::Conflicted => match charge {
                ChargeState::ActionRequired | ChargeState::Processing => None,
                ChargeState::Authorized => Some(Self::Authorized),
                ChargeState::Captured => Some(Self::Captured),
                ChargeState::Declined => Some(Self::Declined),
                ChargeState::Voided => Some(Self::Voided),
            },
            Self::Authorized | Self::CaptureInitiated | Self::CaptureFailed => match charge {
                ChargeState::ActionRequired
                | ChargeState::Processing
                | ChargeState::Authorized
                | ChargeState::Declined => None,
                ChargeState::Captured => Some(Self::Captured),
                ChargeState::Voided => Some(Self::Voided),
            },
            Self::VoidInitiated => match charge {
                ChargeState::ActionRequired | ChargeState::Processing | ChargeState::Authorized => {
                    None
                }
                ChargeState::Captured => Some(Self::Captured),
                // It declined while it was being voided: nothing is held either way.
                ChargeState::Declined | ChargeState::Voided => Some(Self::Voided),
            },
            Self::Captured | Self::Voided | Self::Declined | Self::Error => None,
        }
    }
}

// === impl DeclineCode ===

impl DeclineCode {
    /// What to do about it.
    pub const fn recommended_action(self) -> wire::RecommendedAction {
        match self {
            Self::InsufficientFunds | Self::CardExpired | Self::PaymentMethodUnknown => {
                wire::RecommendedAction::UseAnotherMethod
            }
            Self::CardDeclined => wire::RecommendedAction::ContactIssuer,
            Self::AuthenticationFailed | Self::AuthenticationExpired => {
                wire::RecommendedAction::AuthenticateAgain
            }
            Self::NotProcessed | Self::CaptureRefused | Self::VoidRefused => {
                wire::RecommendedAction::TryAgain
            }
            Self::RefundRefused | Self::AmountMismatch => wire::RecommendedAction::ContactSupport,
        }
    }

    /// A sentence for the customer.
    pub const fn message(self) -> &'static str {
        match self {
            Self::CardDeclined => {
                "the card was declined: ask the bank that issued it, or use another"
            }
            Self::InsufficientFunds => "the card does not cover this amount: use another",
            Self::CardExpired => "the card is past its date: use another",
            Self::AuthenticationFailed => "the bank could not confirm that it is you: try again",
            Self::AuthenticationExpired => {
                "the bank's question was not answered in time: try again"
            }
            Self::NotProcessed => {
                "the payment did not reach the provider and was not made: try again"
            }
            Self::CaptureRefused => "the provider refused to take the money for now",
            Self::VoidRefused => "the provider refused to release the money for now",
            Self::RefundRefused => "the provider refused to give the money back",
            Self::AmountMismatch => {
                "the provider answered for another amount: somebody is looking into it"
            }
            Self::PaymentMethodUnknown => "the provider knows no such payment method: use another",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHARGES: [ChargeState; 6] = [
        ChargeState::ActionRequired,
        ChargeState::Processing,
        ChargeState::Authorized,
        ChargeState::Captured,
        ChargeState::Declined,
        ChargeState::Voided,
    ];

    #[test]
    fn every_state_has_its_row_in_the_tables() {
        for status in IntentStatus::ALL {
            assert_eq!(
                INTENT_EDGES.iter().filter(|(from, _)| from == status).count(),
                1,
                "{status:?}"
            );
        }
        for state in AttemptState::ALL {
            assert_eq!(
                ATTEMPT_EDGES.iter().filter(|(from, _)| from == state).count(),
                1,
                "{state:?}"
            );
        }
    }

    #[test]
    fn the_providers_word_never_leaves_the_table() {
        for state in AttemptState::ALL {
            for charge in CHARGES {
                if let Some(next) = state.told(charge) {
                    assert!(state.leads_to(next), "{state:?} told {charge:?} becomes {next:?}");
                }
            }
        }
    }

    #[test]
    fn a_final_state_hears_nothing() {
        for state in AttemptState::ALL.iter().filter(|state| state.question().is_none()) {
            assert!(CHARGES.iter().all(|charge| state.told(*charge).is_none()), "{state:?}");
        }
    }

    #[test]
    fn every_name_is_read_back() {
        for status in IntentStatus::ALL {
            assert_eq!(IntentStatus::parse(status.as_str()), Some(*status));
            assert_eq!(IntentStatus::from_wire(i32::from(status.wire())), Some(*status));
        }
        assert_eq!(IntentStatus::from_wire(0), None);
        assert_eq!(IntentStatus::parse("GONE"), None);
    }
}
