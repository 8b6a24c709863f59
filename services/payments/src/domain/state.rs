//! Where a payment can be, and which ways lead on. The tables are data: the
//! rules walk them and the tests compare them.

use contracts::payments::v1 as wire;

use super::names::names;

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
