//! A confirmed order is called off: its stock goes back and its money is let go.
//! The decision is made before the saga begins, so that it only goes forward.

use std::time::Duration;

use chassis::{
    Fault,
    saga::{At, Outcome, Saga, Step, Undone},
};
use contracts::{
    orders::v1::{CancelReason, ErrorReason},
    payments::v1::CancellationReason,
};
use serde::{Deserialize, Serialize};

use super::{ACTOR, Meaning, Peers, ending, patient, payment::LetGo};
use crate::{domain::Order, store};

/// How long a payment that cannot be let go yet is left alone at least.
const NOT_YET_PAUSE: Duration = Duration::from_millis(500);

/// The steps of a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelStep {
    /// The stock goes back.
    ReleaseStock,
    /// The money is let go.
    ReleasePayment,
}

/// Cancels confirmed orders.
#[derive(Debug)]
pub struct Cancel {
    peers: Peers,
}

/// What the saga knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cancellation {
    order_id: String,
    reservation_id: String,
    payment_intent_id: String,
    is_fraud: bool,
}

// === impl Cancellation ===

impl Cancellation {
    /// What is known at the beginning.
    pub fn of(order: &Order) -> Self {
        Self {
            order_id: order.order_id.clone(),
            reservation_id: order.reservation_id.clone(),
            payment_intent_id: order.payment_intent_id.clone(),
            is_fraud: order.cancel_reason == Some(CancelReason::Fraud),
        }
    }

    /// A payment that an order which is not to be never heard of.
    pub fn of_orphan(order_id: &str, payment_intent_id: &str) -> Self {
        Self {
            order_id: order_id.to_owned(),
            reservation_id: String::new(),
            payment_intent_id: payment_intent_id.to_owned(),
            is_fraud: false,
        }
    }
}

impl Step for CancelStep {
    const ALL: &'static [Self] = &[Self::ReleaseStock, Self::ReleasePayment];

    fn name(self) -> &'static str {
        match self {
            Self::ReleaseStock => "release_stock",
            Self::ReleasePayment => "release_payment",
        }
    }

    fn timeout(self) -> Duration {
        Duration::from_secs(12)
    }
}

// === impl Cancel ===

impl Cancel {
    /// Cancels with these peers.
    pub fn new(peers: Peers) -> Self {
        Self { peers }
    }

    async fn release_stock(&self, at: &At, state: &Cancellation) -> Outcome {
        if state.reservation_id.is_empty() {
            return Outcome::done();
        }
        match self.peers.release(at.key("release"), &state.reservation_id).await {
            Ok(()) => Outcome::done(),
            Err(fault) => match patient(&fault) {
                Meaning::Again => Outcome::retry(fault),
                Meaning::No => Outcome::Refuse(fault),
            },
        }
    }

    async fn release_payment(&self, at: &At, state: &Cancellation) -> Outcome {
        if state.payment_intent_id.is_empty() {
            return Outcome::done();
        }
        let because = if state.is_fraud {
            CancellationReason::Fraudulent
        } else {
            CancellationReason::Requested
        };
        let order_id = state.order_id.clone();
        match self.peers.let_go(at, &state.payment_intent_id, because).await {
            Ok(LetGo::Nothing | LetGo::Voided) => Outcome::done_with(move |tx| {
                Box::pin(async move {
                    let mut order = store::demand_header(tx, &order_id).await?;
                    match order.voided() {
                        Some(happened) => {
                            Ok(store::save_order(tx, &mut order, &[happened], ACTOR).await?)
                        }
                        None => Ok(()),
                    }
                })
            }),
            Ok(LetGo::Refunded(minor)) => Outcome::done_with(move |tx| {
                Box::pin(async move {
                    let mut order = store::demand_header(tx, &order_id).await?;
                    match order.refunded(minor) {
                        Some(happened) => {
                            ending::save_and_complete(tx, &mut order, vec![happened], None).await
                        }
                        None => Ok(()),
                    }
                })
            }),
            Ok(LetGo::NotYet(what)) => {
                let doublings = u32::try_from(at.attempt).unwrap_or_default().min(7);
                Outcome::Retry { after: Some(NOT_YET_PAUSE * (1 << doublings)), because: what }
            }
            Ok(LetGo::Stuck(why)) => Outcome::Refuse(
                Fault::failed_precondition(ErrorReason::OrderStateInvalid).message(why),
            ),
            Err(fault) => match patient(&fault) {
                Meaning::Again => Outcome::retry(fault),
                Meaning::No => Outcome::Refuse(fault),
            },
        }
    }
}

impl Saga for Cancel {
    const NAME: &'static str = "cancel_order";
    const VERSION: i64 = 1;
    type Step = CancelStep;
    const PIVOT: Option<CancelStep> = None;
    type State = Cancellation;

    async fn act(&self, step: CancelStep, at: &At, state: &mut Cancellation) -> Outcome {
        match step {
            CancelStep::ReleaseStock => self.release_stock(at, state).await,
            CancelStep::ReleasePayment => self.release_payment(at, state).await,
        }
    }

    async fn undo(&self, _step: CancelStep, _at: &At, _state: &mut Cancellation) -> Undone {
        // There is no way back.
        Undone::done()
    }
}
