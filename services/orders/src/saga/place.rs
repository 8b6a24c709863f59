//! The checkout saga: a purchase comes about, or leaves nothing behind.

mod money;
mod purchase;
mod stock;

use std::time::Duration;

use chassis::saga::{At, Effect, Interrupt, Outcome, Saga, Step, Undone};
use contracts::orders::v1::RefusalReason;

pub use self::purchase::{Action, Purchase, Refused};
use self::stock::{TTL_MAX, TTL_MIN};
use super::{Peers, ending};
use crate::{Config, store};

/// The steps of a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceStep {
    /// The order exists, PENDING. Done by the transaction that begins the saga.
    CreateOrder,
    /// Its stock is held for it.
    ReserveStock,
    /// Its money is authorized.
    AuthorizePayment,
    /// Its stock is its own: from here there is only forward.
    CommitReservation,
    /// It is CONFIRMED, and everybody hears of it.
    ConfirmOrder,
    /// Its money is taken.
    CapturePayment,
}

/// Places orders.
#[derive(Debug)]
pub struct Place {
    peers: Peers,
    reservation_ttl: Duration,
}

// === impl PlaceStep ===

impl PlaceStep {
    /// Whether an instance at this position has its order confirmed.
    pub fn is_confirmed(position: i64) -> bool {
        let confirm = Self::ALL.iter().position(|step| *step == Self::ConfirmOrder);
        confirm
            .and_then(|confirm| i64::try_from(confirm).ok())
            .is_some_and(|confirm| position > confirm)
    }
}

impl Step for PlaceStep {
    const ALL: &'static [Self] = &[
        Self::CreateOrder,
        Self::ReserveStock,
        Self::AuthorizePayment,
        Self::CommitReservation,
        Self::ConfirmOrder,
        Self::CapturePayment,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::CreateOrder => "create_order",
            Self::ReserveStock => "reserve_stock",
            Self::AuthorizePayment => "authorize_payment",
            Self::CommitReservation => "commit_reservation",
            Self::ConfirmOrder => "confirm_order",
            Self::CapturePayment => "capture_payment",
        }
    }

    fn timeout(self) -> Duration {
        match self {
            Self::CreateOrder | Self::ConfirmOrder => Duration::from_secs(5),
            Self::ReserveStock | Self::CommitReservation => Duration::from_secs(8),
            Self::AuthorizePayment | Self::CapturePayment => Duration::from_secs(12),
        }
    }

    fn is_local(self) -> bool {
        match self {
            Self::CreateOrder | Self::ConfirmOrder => true,
            Self::ReserveStock
            | Self::AuthorizePayment
            | Self::CommitReservation
            | Self::CapturePayment => false,
        }
    }
}

// === impl Place ===

impl Place {
    /// Places orders with these peers.
    pub fn new(peers: Peers, config: &Config) -> Self {
        Self { peers, reservation_ttl: config.reservation_ttl.clamp(TTL_MIN, TTL_MAX) }
    }
}

impl Saga for Place {
    const NAME: &'static str = "place_order";
    const VERSION: i64 = 1;
    type Step = PlaceStep;
    const PIVOT: Option<PlaceStep> = Some(PlaceStep::CommitReservation);
    type State = Purchase;

    async fn act(&self, step: PlaceStep, at: &At, state: &mut Purchase) -> Outcome {
        match step {
            PlaceStep::CreateOrder => Outcome::done(),
            PlaceStep::ReserveStock => self.reserve_stock(at, state).await,
            PlaceStep::AuthorizePayment => self.authorize(at, state).await,
            PlaceStep::CommitReservation => self.commit(at, state).await,
            PlaceStep::ConfirmOrder => Outcome::Done(Some(confirmed(state))),
            PlaceStep::CapturePayment => self.capture(at, state).await,
        }
    }

    async fn undo(&self, step: PlaceStep, at: &At, state: &mut Purchase) -> Undone {
        match step {
            PlaceStep::CreateOrder => {
                let (order_id, refusal) = (state.order_id.clone(), state.refusal());
                Undone::done_with(move |tx| {
                    Box::pin(async move { ending::refuse(tx, &order_id, &refusal).await })
                })
            }
            // With the stock that was perhaps committed, too.
            PlaceStep::ReserveStock => self.release_stock(at, state).await,
            PlaceStep::AuthorizePayment => self.let_payment_go(at, state).await,
            PlaceStep::CommitReservation | PlaceStep::ConfirmOrder | PlaceStep::CapturePayment => {
                Undone::done()
            }
        }
    }

    fn interrupted(&self, why: &Interrupt, state: &mut Purchase) {
        let (reason, message) = match why {
            Interrupt::Deadline => {
                (RefusalReason::Expired, "the payment was not completed in time".to_owned())
            }
            Interrupt::Asked(said) => (RefusalReason::Cancelled, said.clone()),
        };
        state.refused.get_or_insert(Refused {
            reason: reason.into(),
            message,
            violations: Vec::new(),
        });
    }

    fn skipped(
        &self,
        step: PlaceStep,
        undo: bool,
        _at: &At,
        state: &mut Purchase,
    ) -> Option<Effect> {
        match (step, undo) {
            (PlaceStep::ConfirmOrder, false) => Some(confirmed(state)),
            (PlaceStep::CapturePayment, false) => Some(captured(state.order_id.clone())),
            (PlaceStep::CreateOrder, true) => {
                let (order_id, refusal) = (state.order_id.clone(), state.refusal());
                Some(Box::new(move |tx| {
                    Box::pin(async move { ending::refuse(tx, &order_id, &refusal).await })
                }))
            }
            (
                PlaceStep::CreateOrder
                | PlaceStep::ReserveStock
                | PlaceStep::AuthorizePayment
                | PlaceStep::CommitReservation
                | PlaceStep::ConfirmOrder
                | PlaceStep::CapturePayment,
                _,
            ) => None,
        }
    }
}

fn confirmed(state: &Purchase) -> Effect {
    let (order_id, intent, reservation) =
        (state.order_id.clone(), state.payment_intent_id.clone(), state.reservation_id.clone());
    Box::new(move |tx| {
        Box::pin(async move { ending::confirm(tx, &order_id, &intent, &reservation).await })
    })
}

fn captured(order_id: String) -> Effect {
    Box::new(move |tx| {
        Box::pin(async move {
            let mut order = store::demand_header(tx, &order_id).await?;
            match order.captured() {
                Some(happened) => {
                    ending::save_and_complete(tx, &mut order, vec![happened], None).await
                }
                None => Ok(()),
            }
        })
    })
}
