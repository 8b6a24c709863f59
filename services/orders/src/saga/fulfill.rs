//! A parcel leaves: its units are set aside in the order, inventory lets them go,
//! and then it is on its way; or it never was.

use std::time::Duration;

use chassis::{
    Fault,
    saga::{At, Effect, Outcome, Saga, Step, Undone},
    store::Tx,
};
use contracts::{
    inventory::v1::{FulfillLine, FulfillRequest},
    orders::v1::{FulfillmentLine, FulfillmentState, OrderFulfilled},
};
use serde::{Deserialize, Serialize};

use super::{ACTOR, Meaning, Peers, ending, patient};
use crate::{domain::Parcel, store};

/// The steps of a parcel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShipStep {
    /// Its units are set aside. Done by the transaction that begins the saga.
    Pack,
    /// Inventory lets them go: from here there is only forward.
    TakeFromStock,
    /// It is on its way.
    Record,
}

/// Ships parcels.
#[derive(Debug)]
pub struct Ship {
    peers: Peers,
}

/// What the saga knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shipment {
    /// The parcel.
    pub fulfillment_id: String,
    /// The order.
    pub order_id: String,
    /// The order's stock.
    pub reservation_id: String,
    /// What is in it.
    pub parcel: Vec<Parcel>,
    /// Why inventory did not let it go.
    pub refused: String,
}

impl Step for ShipStep {
    const ALL: &'static [Self] = &[Self::Pack, Self::TakeFromStock, Self::Record];

    fn name(self) -> &'static str {
        match self {
            Self::Pack => "pack",
            Self::TakeFromStock => "take_from_stock",
            Self::Record => "record",
        }
    }

    fn timeout(self) -> Duration {
        Duration::from_secs(8)
    }

    fn is_local(self) -> bool {
        match self {
            Self::Pack | Self::Record => true,
            Self::TakeFromStock => false,
        }
    }
}

// === impl Ship ===

impl Ship {
    /// Ships with these peers.
    pub fn new(peers: Peers) -> Self {
        Self { peers }
    }

    async fn take_from_stock(&self, at: &At, state: &mut Shipment) -> Outcome {
        let lines = state
            .parcel
            .iter()
            .map(|part| FulfillLine {
                sku: part.sku.clone(),
                quantity: part.quantity,
                location_id: String::new(),
            })
            .collect();
        let request = FulfillRequest {
            request_id: at.key("fulfill"),
            reservation_id: state.reservation_id.clone(),
            lines,
        };
        match self.peers.inventory.clone().fulfill(request).await {
            Ok(_) => Outcome::done(),
            Err(status) => {
                let fault = Fault::from(status);
                match patient(&fault) {
                    Meaning::Again => Outcome::retry(fault),
                    Meaning::No => {
                        state.refused = fault.to_string();
                        Outcome::Refuse(fault)
                    }
                }
            }
        }
    }
}

impl Saga for Ship {
    const NAME: &'static str = "fulfill_order";
    const VERSION: i64 = 1;
    type Step = ShipStep;
    const PIVOT: Option<ShipStep> = Some(ShipStep::TakeFromStock);
    type State = Shipment;

    async fn act(&self, step: ShipStep, at: &At, state: &mut Shipment) -> Outcome {
        match step {
            ShipStep::Pack => Outcome::done(),
            ShipStep::TakeFromStock => self.take_from_stock(at, state).await,
            ShipStep::Record => Outcome::Done(Some(recorded(state))),
        }
    }

    async fn undo(&self, step: ShipStep, _at: &At, state: &mut Shipment) -> Undone {
        match step {
            ShipStep::Pack => {
                let state = state.clone();
                Undone::done_with(move |tx| Box::pin(async move { unpack(tx, &state).await }))
            }
            // It refuses for good or is repeated until it answers: nothing to take back.
            ShipStep::TakeFromStock | ShipStep::Record => Undone::done(),
        }
    }

    fn skipped(
        &self,
        step: ShipStep,
        undo: bool,
        _at: &At,
        state: &mut Shipment,
    ) -> Option<Effect> {
        match (step, undo) {
            (ShipStep::Record, false) => Some(recorded(state)),
            (ShipStep::Pack, true) => {
                let state = state.clone();
                Some(Box::new(move |tx| Box::pin(async move { unpack(tx, &state).await })))
            }
            (ShipStep::Pack | ShipStep::TakeFromStock | ShipStep::Record, _) => None,
        }
    }
}

fn recorded(state: &Shipment) -> Effect {
    let state = state.clone();
    Box::new(move |tx| Box::pin(async move { record(tx, &state).await }))
}

/// The parcel is on its way. Does nothing the second time.
async fn record(tx: &mut Tx, state: &Shipment) -> Result<(), Fault> {
    let now = tx.clock().now();
    let mut order = store::demand_order(tx, &state.order_id, None).await?;
    if !store::settle_fulfillment(tx, &state.fulfillment_id, FulfillmentState::Shipped, "").await? {
        return Ok(());
    }
    let parcel = store::get_fulfillment(tx, &state.fulfillment_id).await?;
    let (carrier, tracking_number) =
        parcel.map(|row| (row.carrier, row.tracking_number)).unwrap_or_default();
    let happened = order.ship(&state.parcel, &format!("{carrier} {tracking_number}"));
    store::save_lines(tx, &order, &state.parcel).await?;
    let fulfilled = OrderFulfilled {
        order_id: order.order_id.clone(),
        number: order.number.clone(),
        owner_id: order.owner_id.clone(),
        fulfillment_id: state.fulfillment_id.clone(),
        lines: state.parcel.iter().map(FulfillmentLine::from).collect(),
        fulfillment_status: order.fulfillment_status.into(),
        carrier,
        tracking_number,
        ship_time: Some(now.into()),
    };
    ending::save_and_complete(tx, &mut order, vec![happened], Some(fulfilled)).await
}

/// The parcel never was. Does nothing the second time.
async fn unpack(tx: &mut Tx, state: &Shipment) -> Result<(), Fault> {
    let mut order = store::demand_order(tx, &state.order_id, None).await?;
    if !store::settle_fulfillment(
        tx,
        &state.fulfillment_id,
        FulfillmentState::Refused,
        &state.refused,
    )
    .await?
    {
        return Ok(());
    }
    order.unpack(&state.parcel);
    store::save_lines(tx, &order, &state.parcel).await?;
    store::save_order(tx, &mut order, &[], ACTOR).await?;
    Ok(())
}
