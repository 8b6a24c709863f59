//! Why the storefront refuses, and how it says so.

use chassis::{Fault, Money, MoneyError, store};
use contracts::{
    orders::v1::{Refusal, RefusalReason},
    storefront::v1::ErrorReason as Reason,
};

use crate::domain::{LINES_MAX, LinesError, QUANTITY_MAX};

/// Why the storefront refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no such cart")]
    CartNotFound,
    #[error("the cart is not active")]
    CartNotActive,
    #[error("the cart is empty")]
    CartEmpty,
    #[error("the lines cannot be changed so")]
    Lines(LinesError),
    #[error("the catalogue does not sell {}", skus.join(", "))]
    SkuUnknown { skus: Vec<String> },
    #[error("the etag is stale")]
    EtagMismatch,
    #[error("no such checkout")]
    CheckoutNotFound,
    #[error("the checkout is not open")]
    CheckoutNotOpen,
    #[error("the checkout lacks {}", missing.join(", "))]
    CheckoutIncomplete { missing: Vec<&'static str> },
    #[error("no way to ship is called {code}")]
    ShippingOptionUnknown { code: String, known: Vec<String> },
    #[error("the payment method looks like a card number")]
    PaymentMethodInvalid,
    #[error("the quote has changed")]
    PriceChanged { quote_hash: String, total: Money },
    #[error("some lines cannot be bought")]
    NotPurchasable { lines: Vec<(String, String)> },
    #[error("some lines are short")]
    OutOfStock { lines: Vec<(String, String)> },
    #[error("the placement was refused")]
    PlacementRefused { refusal: Refusal },
    #[error("the checkout was never completed")]
    CompletionNotFound,
    #[error("the amounts do not add up")]
    Money(#[from] MoneyError),
    #[error("what was kept cannot be read")]
    Kept(#[from] prost::DecodeError),
    #[error("the store failed")]
    Store(#[from] store::Error),
    #[error("the mesh refused")]
    Refused(#[from] Fault),
}

chassis::status_from!(Error);

// === impl Error ===

impl From<LinesError> for Error {
    fn from(error: LinesError) -> Self {
        Self::Lines(error)
    }
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(status.into())
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::CartNotFound => {
                Self::not_found(Reason::CartNotFound).message("there is no such cart")
            }
            Error::CartNotActive => Self::failed_precondition(Reason::CartNotActive)
                .message("the cart is being checked out or was sold, and cannot be changed"),
            Error::CartEmpty => Self::failed_precondition(Reason::CartEmpty)
                .message("there is nothing in the cart: add a line first"),
            Error::Lines(LinesError::LineNotFound) => Self::not_found(Reason::LineNotFound)
                .message("the cart has no such line")
                .violation("line_id", "names no line of the cart: read the cart for those it has"),
            Error::Lines(LinesError::TooManyLines) => Self::failed_precondition(Reason::CartFull)
                .message(format!(
                    "a cart has at most {LINES_MAX} lines: remove some, or make another cart"
                )),
            Error::Lines(LinesError::TooManyPieces) => Self::failed_precondition(Reason::CartFull)
                .message(format!("a cart has at most {QUANTITY_MAX} of one SKU"))
                .violation("quantity", format!("would make more than {QUANTITY_MAX} of the SKU")),
            Error::SkuUnknown { skus } => Self::not_found(Reason::SkuUnknown)
                .message(format!(
                    "the catalogue does not sell {} in the cart's currency",
                    skus.join(", ")
                ))
                .violation("sku", "is not sold at present, or not in the cart's currency"),
            Error::EtagMismatch => Self::aborted(Reason::EtagMismatch)
                .message("it has changed meanwhile: read it again")
                .violation("etag", "is not the one that it has now"),
            Error::CheckoutNotFound => {
                Self::not_found(Reason::CheckoutNotFound).message("there is no such checkout")
            }
            Error::CheckoutNotOpen => Self::failed_precondition(Reason::CheckoutNotOpen).message(
                "the checkout is completed, being completed or cancelled, and cannot be changed",
            ),
            Error::CheckoutIncomplete { missing } => missing.iter().fold(
                Self::failed_precondition(Reason::CheckoutIncomplete)
                    .message(format!("the checkout still lacks {}", missing.join(", "))),
                |fault, field| {
                    fault.precondition("MISSING", *field, format!("give the {field} first"))
                },
            ),
            Error::ShippingOptionUnknown { code, known } => {
                Self::not_found(Reason::ShippingOptionUnknown)
                    .message(format!("no way to ship is called {code}"))
                    .violation("code", format!("must be one of {}", known.join(", ")))
            }
            Error::PaymentMethodInvalid => Self::invalid_argument(Reason::PaymentMethodInvalid)
                .message("a payment method is a token of the payment provider, never a card number")
                .violation(
                    "payment_method",
                    "looks like a card number: send the provider's token instead",
                ),
            Error::PriceChanged { quote_hash, total } => {
                Self::failed_precondition(Reason::PriceChanged)
                    .message(format!("the price has changed: the total is {total} now"))
                    .violation(
                        "quote_hash",
                        "is not that of today's quote: read the checkout and ask the shopper again",
                    )
                    .metadata("quote_hash", quote_hash)
                    .metadata("total_minor_units", total.minor.to_string())
                    .metadata("total_currency_code", total.currency.code())
            }
            Error::NotPurchasable { lines } => named(
                Self::failed_precondition(Reason::LinesNotPurchasable)
                    .message("some lines cannot be bought"),
                "NOT_PURCHASABLE",
                lines,
            ),
            Error::OutOfStock { lines } => named(
                Self::failed_precondition(Reason::OutOfStock)
                    .message("less is in stock than asked for"),
                "OUT_OF_STOCK",
                lines,
            ),
            Error::PlacementRefused { refusal } => refused(refusal),
            Error::CompletionNotFound => Self::not_found(Reason::CompletionNotFound)
                .message("the checkout was never completed: call CompleteCheckout first"),
            Error::Money(error) => error.into(),
            Error::Kept(error) => Self::internal().because(error),
            Error::Store(error) => error.into(),
            Error::Refused(fault) => fault,
        }
    }
}

fn named(fault: Fault, kind: &str, lines: Vec<(String, String)>) -> Fault {
    lines.into_iter().fold(fault, |fault, (sku, why)| fault.precondition(kind, sku, why))
}

/// What the orders service said, in our words.
fn refused(refusal: Refusal) -> Fault {
    let (reason, kind) = match refusal.reason() {
        RefusalReason::OutOfStock => (Reason::OutOfStock, "OUT_OF_STOCK"),
        RefusalReason::PaymentDeclined => (Reason::PaymentDeclined, "PAYMENT_DECLINED"),
        RefusalReason::Unspecified
        | RefusalReason::Expired
        | RefusalReason::Cancelled
        | RefusalReason::Failed => (Reason::PlacementRefused, "PLACEMENT_REFUSED"),
    };
    let lines =
        refusal.violations.into_iter().map(|found| (found.subject, found.description)).collect();
    named(Fault::failed_precondition(reason).message(refusal.message), kind, lines)
}
