//! The purchase under way: handed to the orders service, followed, written down.
//!
//! Whoever learns how a purchase ended (the shopper's own call, an event of the
//! orders service, the resumer after a crash) writes the same thing by the same
//! guarded update, so it does not matter who is first.

use std::time::Duration;

use chassis::{
    Channel, Clock, Fault,
    failpoint::{Action, Failpoints},
};
use contracts::orders::v1::{
    GetPlacementRequest, PlaceOrderRequest, Placement, Refusal, RefusalReason,
    order_service_client::OrderServiceClient, placement::Outcome,
};
use prost::Message as _;
use tonic::Code;

use crate::{
    domain::{Checkout, CheckoutStatus, OrderRef},
    error::Error,
    store::{self, Settlement, Store},
};

/// How many stale purchases one round of the resumer takes up.
const RESUME_MAX: i64 = 50;

/// Follows purchases to their end.
#[derive(Debug, Clone)]
pub(crate) struct Purchases {
    store: Store,
    orders: OrderServiceClient<Channel>,
    clock: Clock,
    failpoints: Failpoints,
}

/// How a purchase stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Progress {
    Sold { order: OrderRef, total: contracts::values::v1::Money },
    Action(contracts::orders::v1::NextAction),
    Pending { placement_id: String },
    Refused(Refusal),
}

// === impl Purchases ===

impl Purchases {
    pub(crate) fn new(
        store: Store,
        orders: OrderServiceClient<Channel>,
        clock: Clock,
        failpoints: Failpoints,
    ) -> Self {
        Self { store, orders, clock, failpoints }
    }

    /// Hands a purchase to the orders service, or hands it over again: the
    /// placement's id makes that the same thing.
    pub(crate) async fn place(&self, checkout: &Checkout) -> Result<Progress, Error> {
        let purchase = kept_purchase(checkout)?;
        let placement_id = purchase.placement_id.clone();
        let answer = self.orders.clone().place_order(purchase).await;
        match answer {
            Ok(response) => Ok(progress(response.into_inner().placement, placement_id)),
            Err(status) => unanswered(status.into(), placement_id),
        }
    }

    /// Asks how a purchase stands.
    pub(crate) async fn look(&self, checkout: &Checkout) -> Result<Progress, Error> {
        let Some(placement_id) = checkout.placement_id.clone() else {
            return Err(Error::CompletionNotFound);
        };
        let request = GetPlacementRequest { placement_id: placement_id.clone() };
        match self.orders.clone().get_placement(request).await {
            Ok(response) => Ok(progress(Some(response.into_inner()), placement_id)),
            // We died before it was handed over: hand it over now.
            Err(status) if status.code() == Code::NotFound => self.place(checkout).await,
            Err(status) => unanswered(status.into(), placement_id),
        }
    }

    /// Takes up every purchase that nobody has looked after for a while.
    pub(crate) async fn resume_stale(&self, after: Duration) -> Result<(), Fault> {
        let before = self.clock.now() - after;
        for status in [CheckoutStatus::Completing, CheckoutStatus::AwaitingAction] {
            for checkout in self.store.list_stale_purchases(status, before, RESUME_MAX).await? {
                // One that cannot be carried on does not hold up the others.
                if let Err(error) = self.carry_on(&checkout).await {
                    let fault = Fault::from(error);
                    tracing::warn!(%fault, checkout.id, "a purchase could not be carried on");
                }
            }
        }
        Ok(())
    }

    /// Asks how a purchase under way stands, and writes it down.
    async fn carry_on(&self, checkout: &Checkout) -> Result<(), Error> {
        let progress = match checkout.status {
            CheckoutStatus::Completing => self.place(checkout).await?,
            _ => self.look(checkout).await?,
        };
        self.write_down(checkout, progress).await
    }

    /// Where a test lets somebody else carry on a purchase, just after a click has
    /// read it.
    pub(crate) async fn overtake(&self, checkout: &Checkout) -> Result<(), Error> {
        match self.failpoints.hit("completion.read") {
            Some(Action::Twice) => self.carry_on(checkout).await,
            _ => Ok(()),
        }
    }

    /// Writes down how a purchase stands, in a transaction of its own.
    pub(crate) async fn write_down(
        &self,
        checkout: &Checkout,
        progress: Progress,
    ) -> Result<(), Error> {
        let Some(settlement) = Settlement::of(&progress) else { return Ok(()) };
        let Some(placement_id) = checkout.placement_id.clone() else { return Ok(()) };
        let checkout = checkout.clone();
        self.store
            .database()
            .write(move |tx| {
                Box::pin(
                    async move { store::settle(tx, &checkout, &placement_id, &settlement).await },
                )
            })
            .await
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}

// === impl Settlement ===

impl Settlement {
    /// What is written down of a purchase that stands so.
    pub(crate) fn of(progress: &Progress) -> Option<Self> {
        Some(match progress {
            Progress::Sold { order, total } => {
                Self::Sold { order: order.clone(), total: total.clone() }
            }
            Progress::Refused(refusal) => Self::Refused {
                refusal: refusal.encode_to_vec(),
                reason: refusal.reason().as_str_name().trim_start_matches("REFUSAL_REASON_"),
            },
            Progress::Action(_) => Self::UnderWay { status: CheckoutStatus::AwaitingAction },
            Progress::Pending { .. } => Self::UnderWay { status: CheckoutStatus::Completing },
        })
    }
}

/// The purchase of a checkout, as it was agreed to.
pub(crate) fn kept_purchase(checkout: &Checkout) -> Result<PlaceOrderRequest, Error> {
    let kept = checkout.purchase.as_deref().ok_or(Error::CompletionNotFound)?;
    Ok(PlaceOrderRequest::decode(kept)?)
}

/// What a placement's outcome means to the shopper.
pub(crate) fn progress(placement: Option<Placement>, placement_id: String) -> Progress {
    match placement.and_then(|placement| placement.outcome) {
        Some(Outcome::Order(order)) => Progress::Sold {
            total: order.totals.and_then(|totals| totals.total).unwrap_or_default(),
            order: OrderRef { id: order.order_id, number: order.number },
        },
        Some(Outcome::NextAction(action)) => Progress::Action(action),
        Some(Outcome::Refusal(refusal)) => Progress::Refused(refusal),
        Some(Outcome::Pending(_)) | None => Progress::Pending { placement_id },
    }
}

/// What it means that the orders service did not answer. Only its word that the
/// purchase is impossible as such ends it; anything else leaves it under way, and
/// the resumer asks again.
fn unanswered(fault: Fault, placement_id: String) -> Result<Progress, Error> {
    if fault.code() == Code::InvalidArgument {
        return Ok(Progress::Refused(Refusal {
            reason: RefusalReason::Failed.into(),
            message: fault.message_text().to_owned(),
            violations: Vec::new(),
        }));
    }
    tracing::warn!(%fault, placement_id, "a purchase is under way and its outcome not known yet");
    Ok(Progress::Pending { placement_id })
}
