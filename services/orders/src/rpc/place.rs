//! Placing an order, and asking how it stands.

use std::time::Duration;

use chassis::{
    Time,
    saga::{Begun, Instance, New, Sagas, Status},
    store::Tx,
};
use contracts::orders::v1::{
    NextAction, OrderEventKind, Pending, PlaceOrderRequest, Placement, placement,
};
use prost::Message as _;

use super::{Rpc, patience};
use crate::{
    Error,
    domain::{Draft, Happening, Order},
    saga::{
        ending,
        place::{Place, PlaceStep, Purchase},
    },
    store::{self, PlacementRow},
};

/// When it is worth asking again about a placement that is pending.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// A placement that was looked at this recently is not woken by being read.
const LOOKED_RECENTLY: Duration = Duration::from_millis(500);
/// How long a reader waits for the placement that it woke.
const WOKEN_PATIENCE: Duration = Duration::from_secs(3);

/// What the transaction of `PlaceOrder` found or did.
enum Started {
    /// A new order, and the saga that places it.
    Begun(PlacementRow, Box<Begun>),
    /// The placement, or another of the same checkout, was there before.
    Known(PlacementRow),
}

impl Rpc {
    pub(super) async fn place(&self, request: PlaceOrderRequest) -> Result<Placement, Error> {
        let hash = hash_of(&request);
        let draft = Draft::try_from(request)?;
        let number = self.numbers.next().await?;
        let (order_id, sagas) = (self.clock.id(), self.sagas.clone());
        let expire_time = self.clock.now() + self.config.placement_expiry;
        let started = self
            .database
            .write(move |tx| {
                Box::pin(async move {
                    start(tx, &sagas, draft, order_id, number, hash, expire_time).await
                })
            })
            .await?;
        match started {
            Started::Known(row) => self.outcome_of(row, patience(self.config.placement_wait)).await,
            Started::Begun(row, begun) => {
                let waiter = self.sagas.run(*begun);
                let found = waiter.until(patience(self.config.placement_wait), is_settled).await?;
                self.answer(row, found).await
            }
        }
    }

    pub(super) async fn placement(&self, placement_id: &str) -> Result<Placement, Error> {
        let row = store::find_placement(&self.database, placement_id)
            .await?
            .ok_or_else(|| Error::PlacementNotFound(placement_id.to_owned()))?;
        if row.outcome.is_some() {
            return self.answer(row, None).await;
        }
        let found = self.sagas.get(&row.order_id).await?;
        let Some(parked) = found.filter(|found| {
            found.status == Status::Parked
                && self.clock.now().since(found.update_time) >= LOOKED_RECENTLY
        }) else {
            return self.outcome_of(row, Duration::ZERO).await;
        };
        // The customer may be back from the payment provider: look at once.
        let waiter = self.sagas.waiter(&row.order_id);
        self.sagas.wake(&row.order_id).await?;
        let moved = waiter
            .until(patience(WOKEN_PATIENCE), |now| {
                now.lease_epoch > parked.lease_epoch && is_settled(now)
            })
            .await?;
        self.answer(row, moved).await
    }

    /// How a placement stands, after waiting a while for it to settle.
    async fn outcome_of(&self, row: PlacementRow, patience: Duration) -> Result<Placement, Error> {
        if row.outcome.is_some() {
            return self.answer(row, None).await;
        }
        let found = self.sagas.waiter(&row.order_id).until(patience, is_settled).await?;
        self.answer(row, found).await
    }

    async fn answer(
        &self,
        row: PlacementRow,
        instance: Option<Instance>,
    ) -> Result<Placement, Error> {
        let row = match (&row.outcome, &instance) {
            (None, Some(instance)) if has_ended(instance) => {
                store::find_placement(&self.database, &row.placement_id).await?.unwrap_or(row)
            }
            _ => row,
        };
        if let Some(outcome) = row.outcome {
            return Placement::decode(outcome).map_err(|problem| Error::Row(problem.to_string()));
        }
        let purchase = instance.as_ref().and_then(Instance::state::<Purchase>).unwrap_or_default();
        let outcome = match (instance, purchase.action) {
            (Some(instance), Some(action)) if instance.status == Status::Parked => {
                placement::Outcome::NextAction(NextAction {
                    payment_intent_id: purchase.payment_intent_id,
                    redirect_uri: action.redirect_uri,
                    expire_time: Some(Time::from_micros(action.expire_time).into()),
                })
            }
            (instance, _) => placement::Outcome::Pending(Pending {
                message: instance
                    .map(|instance| instance.message)
                    .filter(|message| !message.is_empty())
                    .unwrap_or_else(|| "the order is being placed".to_owned()),
                retry_after: prost_types::Duration::try_from(ASK_AGAIN).ok(),
            }),
        };
        Ok(Placement {
            placement_id: row.placement_id,
            checkout_id: row.checkout_id,
            order_id: row.order_id,
            create_time: Some(row.create_time.into()),
            expire_time: Some(row.expire_time.into()),
            outcome: Some(outcome),
        })
    }
}

/// What makes two requests the same purchase: everything but the call's own name.
fn hash_of(request: &PlaceOrderRequest) -> String {
    let mut same = request.clone();
    same.request_id.clear();
    chassis::hash::hex(&same.encode_to_vec())
}

fn same(row: PlacementRow, hash: &str) -> Result<PlacementRow, Error> {
    if row.request_hash == hash { Ok(row) } else { Err(Error::PlacementReused(row.placement_id)) }
}

/// Whether a caller can be told something better than "wait".
fn is_settled(instance: &Instance) -> bool {
    instance.status == Status::Parked || has_ended(instance)
}

fn has_ended(instance: &Instance) -> bool {
    instance.status.is_over() || (!instance.undoing && PlaceStep::is_confirmed(instance.step))
}

/// The transaction that begins a purchase, or finds that it was begun before.
async fn start(
    tx: &mut Tx,
    sagas: &Sagas,
    mut draft: Draft,
    order_id: String,
    number: String,
    hash: String,
    expire_time: Time,
) -> Result<Started, Error> {
    let now = tx.clock().now();
    let mut row = PlacementRow {
        placement_id: draft.placement_id.clone(),
        checkout_id: draft.checkout_id.clone(),
        order_id: order_id.clone(),
        request_hash: hash,
        outcome: None,
        create_time: now,
        expire_time,
    };
    if !store::insert_placement(tx, &row).await? {
        let known = store::get_placement(tx, &row.placement_id).await?;
        let known = known.ok_or_else(|| Error::CheckoutBusy(row.checkout_id.clone()))?;
        return Ok(Started::Known(same(known, &row.request_hash)?));
    }
    let (payment_method, return_uri) =
        (std::mem::take(&mut draft.payment_method), std::mem::take(&mut draft.return_uri));
    let order = Order::begin(draft, order_id, number, now);
    if store::insert_order(tx, &order).await? {
        let happened = Happening::new(OrderEventKind::Created, "");
        store::insert_first_event(tx, &order, &happened).await?;
        let state = Purchase::of(&order, payment_method, return_uri);
        let new =
            New { saga_id: &order.order_id, state: &state, done: 1, deadline: Some(expire_time) };
        let begun = sagas.begin::<Place>(tx, new).await?;
        return Ok(Started::Begun(row, Box::new(begun)));
    }
    // The checkout has a live order: whoever lost the race gets the winner's result.
    let busy = || Error::CheckoutBusy(row.checkout_id.clone());
    let live = store::live_order(tx, &row.checkout_id).await?.ok_or_else(busy)?;
    let order = store::demand_order(tx, &live, None).await?;
    store::join_placement(tx, &row.placement_id, &live).await?;
    row.order_id = live;
    if order.confirm_time.is_some() {
        ending::join_settled(tx, &order, &row).await?;
        row = store::get_placement(tx, &row.placement_id).await?.unwrap_or(row);
    }
    Ok(Started::Known(row))
}
