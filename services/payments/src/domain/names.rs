//! What things are called: in the rules, in the database and in the contract.

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

pub(super) use names;

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
