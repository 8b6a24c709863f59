//! What the placements of an order are told when it has ended, and what the rest
//! of the mesh hears of it. Runs inside the transaction that makes it true.

use chassis::{Fault, Time, event::Event, store::Tx};
use contracts::orders::v1::{
    CancelReason, Order as OrderMessage, OrderCancelled, OrderCompleted, OrderFulfilled, OrderLine,
    OrderPlaced, OrderStatus, Placement, PlacementEnded, Refusal, RefusalReason, placement,
    placement_ended,
};
use prost::Message as _;

use crate::{
    Error,
    domain::{Happening, Order},
    store::{self, PlacementRow},
};

use super::ACTOR;

/// Confirms an order: the sale is final. Does nothing the second time.
pub async fn confirm(
    tx: &mut Tx,
    order_id: &str,
    payment_intent_id: &str,
    reservation_id: &str,
) -> Result<(), Fault> {
    let now = tx.clock().now();
    let mut order = store::demand_order(tx, order_id, None).await?;
    if order.status != OrderStatus::Pending {
        return Ok(());
    }
    let happened = order.confirm(payment_intent_id, reservation_id, now)?;
    store::save_order(tx, &mut order, &[happened], ACTOR).await?;
    let ended = end_placements(tx, &order, Ending::Order, now).await?;

    let placed = OrderPlaced {
        order_id: order.order_id.clone(),
        number: order.number.clone(),
        checkout_id: order.checkout_id.clone(),
        placement_id: order.placement_id.clone(),
        owner_id: order.owner_id.clone(),
        owner_kind: order.owner_kind.into(),
        email: order.email.clone(),
        lines: order
            .lines
            .iter()
            .map(|line| -> OrderLine { line.message(&order.totals) })
            .collect(),
        totals: Some((&order.totals).into()),
        confirm_time: Some(now.into()),
        payment_intent_id: order.payment_intent_id.clone(),
    };
    tx.publish(event(&order, &placed)).await?;
    publish_ended(tx, &order, ended).await
}

/// Calls off an order that never came to be. Does nothing the second time.
pub async fn refuse(tx: &mut Tx, order_id: &str, refusal: &Refusal) -> Result<(), Fault> {
    let now = tx.clock().now();
    let mut order = store::demand_order(tx, order_id, None).await?;
    if order.status != OrderStatus::Pending {
        return Ok(());
    }
    // Whoever asked it to stop said why.
    let reason = order.cancel_reason.unwrap_or_else(|| reason_of(refusal.reason()));
    let happened = order.cancel(reason, &refusal.message, now)?;
    store::save_order(tx, &mut order, &[happened], ACTOR).await?;
    let ended = end_placements(tx, &order, Ending::Refusal(refusal), now).await?;
    tx.publish(event(&order, &cancelled(&order, false, now))).await?;
    publish_ended(tx, &order, ended).await
}

/// Saves an order that is paid or shipped, and tells of it: perhaps it is complete.
pub async fn save_and_complete(
    tx: &mut Tx,
    order: &mut Order,
    mut happened: Vec<Happening>,
    fulfilled: Option<OrderFulfilled>,
) -> Result<(), Fault> {
    let now = tx.clock().now();
    let completed = order.complete(now);
    let is_complete = completed.is_some();
    happened.extend(completed);
    store::save_order(tx, order, &happened, ACTOR).await?;
    if let Some(fulfilled) = fulfilled {
        tx.publish(event(order, &fulfilled)).await?;
    }
    if is_complete {
        let message = OrderCompleted {
            order_id: order.order_id.clone(),
            number: order.number.clone(),
            owner_id: order.owner_id.clone(),
            complete_time: Some(now.into()),
            total: Some(order.amount(order.totals.total).into()),
        };
        tx.publish(event(order, &message)).await?;
    }
    Ok(())
}

/// What the mesh hears when an order is cancelled.
pub fn cancelled(order: &Order, was_confirmed: bool, now: Time) -> OrderCancelled {
    OrderCancelled {
        order_id: order.order_id.clone(),
        number: order.number.clone(),
        checkout_id: order.checkout_id.clone(),
        owner_id: order.owner_id.clone(),
        reason: order.cancel_reason.unwrap_or_default().into(),
        was_confirmed,
        cancel_time: Some(now.into()),
        total: Some(order.amount(order.totals.total).into()),
    }
}

/// An event about an order.
pub fn event<M: prost::Message + prost::Name>(order: &Order, message: &M) -> Event {
    Event::new(message).subject(order.order_id.clone()).version(order.version)
}

/// Ends a placement that joined an order which is settled already.
pub(crate) async fn join_settled(
    tx: &mut Tx,
    order: &Order,
    joined: &PlacementRow,
) -> Result<(), Error> {
    let now = tx.clock().now();
    // What the one that made the order was told, but under its own name.
    let outcome =
        match store::ended_placement(tx, &order.order_id).await?.and_then(|first| first.outcome) {
            Some(bytes) => {
                Placement::decode(bytes).map_err(|problem| Error::Row(problem.to_string()))?.outcome
            }
            None => Some(placement::Outcome::Order(OrderMessage::from(order))),
        };
    let told = message(joined, order, outcome);
    store::end_placement(tx, &joined.placement_id, told.encode_to_vec()).await?;
    let ended = ended_event(&told, order, now);
    tx.publish(event(order, &ended)).await?;
    Ok(())
}

enum Ending<'a> {
    Order,
    Refusal(&'a Refusal),
}

async fn end_placements(
    tx: &mut Tx,
    order: &Order,
    ending: Ending<'_>,
    now: Time,
) -> Result<Vec<PlacementEnded>, Error> {
    let mut ended = Vec::new();
    for row in store::open_placements(tx, &order.order_id).await? {
        let outcome = match &ending {
            Ending::Order => placement::Outcome::Order(OrderMessage::from(order)),
            Ending::Refusal(refusal) => placement::Outcome::Refusal((*refusal).clone()),
        };
        let told = message(&row, order, Some(outcome));
        store::end_placement(tx, &row.placement_id, told.encode_to_vec()).await?;
        ended.push(ended_event(&told, order, now));
    }
    Ok(ended)
}

async fn publish_ended(
    tx: &mut Tx,
    order: &Order,
    ended: Vec<PlacementEnded>,
) -> Result<(), Fault> {
    for ended in ended {
        tx.publish(event(order, &ended)).await?;
    }
    Ok(())
}

/// A placement as its caller is told.
fn message(row: &PlacementRow, order: &Order, outcome: Option<placement::Outcome>) -> Placement {
    Placement {
        placement_id: row.placement_id.clone(),
        checkout_id: row.checkout_id.clone(),
        order_id: order.order_id.clone(),
        create_time: Some(row.create_time.into()),
        expire_time: Some(row.expire_time.into()),
        outcome,
    }
}

fn ended_event(told: &Placement, order: &Order, now: Time) -> PlacementEnded {
    let outcome = match &told.outcome {
        Some(placement::Outcome::Refusal(refusal)) => {
            placement_ended::Outcome::Refusal(refusal.clone())
        }
        Some(
            placement::Outcome::Order(_)
            | placement::Outcome::NextAction(_)
            | placement::Outcome::Pending(_),
        )
        | None => placement_ended::Outcome::Number(order.number.clone()),
    };
    PlacementEnded {
        placement_id: told.placement_id.clone(),
        checkout_id: told.checkout_id.clone(),
        order_id: told.order_id.clone(),
        outcome: Some(outcome),
        end_time: Some(now.into()),
    }
}

/// Why an order is cancelled whose placement was refused for this reason.
pub fn reason_of(reason: RefusalReason) -> CancelReason {
    match reason {
        RefusalReason::OutOfStock => CancelReason::OutOfStock,
        RefusalReason::PaymentDeclined => CancelReason::PaymentDeclined,
        RefusalReason::Expired => CancelReason::Expired,
        RefusalReason::Cancelled => CancelReason::Customer,
        RefusalReason::Failed | RefusalReason::Unspecified => CancelReason::Failed,
    }
}
