//! What the checkout saga knows of its purchase.

use chassis::{Fault, saga::Outcome};
use contracts::{
    orders::v1::{ErrorReason, Refusal, RefusalReason, RefusalViolation},
    values::v1::Money,
};
use serde::{Deserialize, Serialize};

use crate::domain::{Order, Parcel};

/// What the saga knows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Purchase {
    /// The order.
    pub order_id: String,
    /// Who pays.
    pub owner_id: String,
    /// What is bought.
    pub lines: Vec<Parcel>,
    /// In which currency.
    pub currency: String,
    /// What is charged, in minor units. Nothing: no payment is made.
    pub total: i64,
    /// With what; forgotten as soon as it was used.
    pub payment_method: String,
    /// Where the customer comes back to.
    pub return_uri: String,
    /// The stock that is held.
    pub reservation_id: String,
    /// Until when, in microseconds.
    pub reserved_until: i64,
    /// Whether inventory said that it holds nothing.
    pub nothing_held: bool,
    /// The payment.
    pub payment_intent_id: String,
    /// What the customer must do.
    pub action: Option<Action>,
    /// How often an open payment was looked at.
    pub looks: u32,
    /// Why it is not to be.
    pub refused: Option<Refused>,
}

/// What the customer must do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// Where.
    pub redirect_uri: String,
    /// Until when, in microseconds.
    pub expire_time: i64,
}

/// Why a purchase is not to be. A [`Refusal`] that JSON can hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub(super) reason: i32,
    pub(super) message: String,
    pub(super) violations: Vec<(String, String)>,
}

// === impl Purchase ===

impl Purchase {
    /// What is known at the beginning.
    pub fn of(order: &Order, payment_method: String, return_uri: String) -> Self {
        Self {
            order_id: order.order_id.clone(),
            owner_id: order.owner_id.clone(),
            lines: order
                .lines
                .iter()
                .map(|line| Parcel { sku: line.sku.clone(), quantity: line.quantity })
                .collect(),
            currency: order.totals.currency.code().to_owned(),
            total: order.totals.total,
            payment_method,
            return_uri,
            ..Self::default()
        }
    }

    pub(super) fn refuse(&mut self, reason: RefusalReason, message: impl Into<String>) -> Outcome {
        self.refuse_with(reason, message, Vec::new())
    }

    pub(super) fn refuse_with(
        &mut self,
        reason: RefusalReason,
        message: impl Into<String>,
        violations: Vec<(String, String)>,
    ) -> Outcome {
        let message = message.into();
        let fault =
            Fault::failed_precondition(ErrorReason::OrderStateInvalid).message(message.clone());
        self.refused.get_or_insert(Refused { reason: reason.into(), message, violations });
        Outcome::Refuse(fault)
    }

    /// Why the purchase is not to be, as the caller is told.
    pub fn refusal(&self) -> Refusal {
        match &self.refused {
            Some(refused) => Refusal {
                reason: refused.reason,
                message: refused.message.clone(),
                violations: refused
                    .violations
                    .iter()
                    .map(|(subject, description)| RefusalViolation {
                        subject: subject.clone(),
                        description: description.clone(),
                    })
                    .collect(),
            },
            None => Refusal {
                reason: RefusalReason::Failed.into(),
                message: "the purchase could not be made".to_owned(),
                violations: Vec::new(),
            },
        }
    }

    pub(super) fn amount(&self) -> Money {
        Money { currency_code: self.currency.clone(), minor_units: self.total }
    }

    pub(super) fn is_free(&self) -> bool {
        self.total == 0
    }
}
