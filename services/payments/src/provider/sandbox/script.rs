//! What each token makes the built-in provider do: the table of the contract.

use std::time::Duration;

/// How long a challenge waits for the customer.
pub(super) const CHALLENGE_TTL: Duration = Duration::from_secs(15 * 60);
/// How long money is held.
pub(super) const HOLD_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How long a slow issuer takes.
pub(super) const PROCESSING_TIME: Duration = Duration::from_secs(30);
/// When a webhook tells what a lost answer would have told.
pub(super) const NEWS_DELAY: Duration = Duration::from_secs(20);
/// How late a late webhook is.
pub(super) const LATE: Duration = Duration::from_secs(60);
/// How often a webhook is sent that is sent too often.
pub(super) const COPIES: usize = 3;

/// How a charge begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// The issuer agrees.
    Approve,
    /// It does not.
    Decline(&'static str),
    /// It asks the customer.
    Challenge,
    /// It thinks about it, and then agrees or says why not.
    Later(Option<&'static str>),
}

/// What a token makes the provider do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) first: First,
    /// The request never arrives.
    pub(super) lost_before: bool,
    /// The answer to the authorization never arrives.
    pub(super) lost_after: bool,
    /// Minor units by which it authorizes too much.
    pub(super) surplus: i64,
    /// How often each event is sent.
    pub(super) copies: usize,
    /// Whether an event that is long past comes in late.
    pub(super) late: bool,
}

impl Script {
    /// The script of a token; `None` if there is no such token.
    pub(super) fn of(token: &str) -> Option<Self> {
        let plain = Self {
            first: First::Approve,
            lost_before: false,
            lost_after: false,
            surplus: 0,
            copies: 0,
            late: false,
        };
        let first = |first| Self { first, ..plain };
        Some(match token {
            "pm_card_ok"
            | "pm_capture_fails_once"
            | "pm_capture_timeout"
            | "pm_void_fails_once"
            | "pm_refund_fails"
            | "pm_refund_timeout" => plain,
            "pm_card_declined" => first(First::Decline("generic_decline")),
            "pm_card_insufficient_funds" => first(First::Decline("insufficient_funds")),
            "pm_card_expired" => first(First::Decline("expired_card")),
            "pm_card_3ds" | "pm_card_3ds_fail" => first(First::Challenge),
            "pm_processing" => first(First::Later(None)),
            "pm_processing_declined" => first(First::Later(Some("generic_decline"))),
            "pm_timeout_after_effect" => Self { lost_after: true, ..plain },
            "pm_timeout_before_effect" => Self { lost_before: true, ..plain },
            "pm_duplicate_webhooks" => Self { copies: COPIES, ..plain },
            "pm_late_webhook" => Self { late: true, ..plain },
            "pm_wrong_amount" => Self { surplus: 1, ..plain },
            _ => return None,
        })
    }
}
