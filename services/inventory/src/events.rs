//! What the service tells the others, in the transaction that made it true.

use std::collections::{BTreeMap, BTreeSet};

use chassis::{
    event::Event,
    store::{Error as StoreError, Tx},
};
use contracts::inventory::v1::{
    MovementKind, ReservationCommitted, ReservationExpired, ReservationFulfilled, ReservationHeld,
    ReservationReleased, ReservationState, StockAdjusted, StockBack, StockLow, StockOut,
};
use prost::{Message, Name};

use crate::{
    domain::{Line, Reservation},
    store::{Note, ledger::Change, level},
};

/// Tells what changes of levels mean: units came or went, a level became low, an
/// SKU can no longer be promised or can again.
pub(crate) async fn changed(
    tx: &mut Tx,
    changes: &[Change],
    note: &Note,
) -> Result<(), StoreError> {
    for Change { before, after, kind } in changes {
        let delta = after.on_hand - before.on_hand;
        if let (Some(kind), true) = (kind, delta != 0) {
            let message = StockAdjusted {
                sku: after.key.sku.clone(),
                location_id: after.key.location_id.clone(),
                kind: MovementKind::from(*kind).into(),
                on_hand_delta: delta,
                on_hand: after.on_hand,
                reason: note.reason.clone(),
            };
            publish(tx, &message, &after.key.sku, after.version).await?;
        }
        if after.is_low() && !before.is_low() {
            let message = StockLow {
                sku: after.key.sku.clone(),
                location_id: after.key.location_id.clone(),
                free: after.free(),
                reorder_point: after.reorder_point,
            };
            publish(tx, &message, &after.key.sku, after.version).await?;
        }
    }
    crossed(tx, changes).await
}

/// An SKU is out, or back, when the last level that could promise it no longer
/// can, or the first one can. Others are looked at only if a level says so.
async fn crossed(tx: &mut Tx, changes: &[Change]) -> Result<(), StoreError> {
    let crossing: BTreeSet<&str> = changes
        .iter()
        .filter(|change| (change.before.available > 0) != (change.after.available > 0))
        .map(|change| change.after.key.sku.as_str())
        .collect();
    if crossing.is_empty() {
        return Ok(());
    }
    let changed: BTreeMap<_, _> =
        changes.iter().map(|change| (&change.after.key, change)).collect();
    let skus: Vec<&str> = crossing.iter().copied().collect();
    let candidates = level::candidates(tx, &skus).await?;
    for sku in crossing {
        let (mut before, mut after, mut version) = (0, 0, 0);
        for candidate in candidates.iter().filter(|candidate| candidate.key.sku == sku) {
            let change = changed.get(&candidate.key);
            before += change.map_or(candidate.available, |change| change.before.available).max(0);
            after += candidate.available.max(0);
            version = version.max(change.map_or(0, |change| change.after.version));
        }
        match (before > 0, after > 0) {
            (true, false) => publish(tx, &StockOut { sku: sku.to_owned() }, sku, version).await?,
            (false, true) => {
                publish(tx, &StockBack { sku: sku.to_owned(), available: after }, sku, version)
                    .await?;
            }
            (true, true) | (false, false) => {}
        }
    }
    Ok(())
}

/// Tells that stock was taken.
pub(crate) async fn held(tx: &mut Tx, reservation: &Reservation) -> Result<(), StoreError> {
    let message = ReservationHeld {
        reservation_id: reservation.reservation_id.clone(),
        owner: reservation.owner.clone(),
        lines: reservation.lines.iter().cloned().map(Into::into).collect(),
        expire_time: Some(reservation.expire_time.timestamp()),
    };
    publish(tx, &message, &reservation.reservation_id, reservation.version).await
}

/// Tells that a reservation is final.
pub(crate) async fn committed(tx: &mut Tx, reservation: &Reservation) -> Result<(), StoreError> {
    let message = ReservationCommitted {
        reservation_id: reservation.reservation_id.clone(),
        owner: reservation.owner.clone(),
    };
    publish(tx, &message, &reservation.reservation_id, reservation.version).await
}

/// Tells that stock was given back by a call.
pub(crate) async fn released(tx: &mut Tx, reservation: &Reservation) -> Result<(), StoreError> {
    let message = ReservationReleased {
        reservation_id: reservation.reservation_id.clone(),
        owner: reservation.owner.clone(),
        state: ReservationState::from(reservation.state).into(),
    };
    publish(tx, &message, &reservation.reservation_id, reservation.version).await
}

/// Tells that stock fell back.
pub(crate) async fn expired(tx: &mut Tx, reservation: &Reservation) -> Result<(), StoreError> {
    let message = ReservationExpired {
        reservation_id: reservation.reservation_id.clone(),
        owner: reservation.owner.clone(),
    };
    publish(tx, &message, &reservation.reservation_id, reservation.version).await
}

/// Tells what was shipped.
pub(crate) async fn fulfilled(
    tx: &mut Tx,
    reservation: &Reservation,
    shipped: Vec<Line>,
) -> Result<(), StoreError> {
    let message = ReservationFulfilled {
        reservation_id: reservation.reservation_id.clone(),
        owner: reservation.owner.clone(),
        lines: shipped.into_iter().map(Into::into).collect(),
        state: ReservationState::from(reservation.state).into(),
    };
    publish(tx, &message, &reservation.reservation_id, reservation.version).await
}

async fn publish<M: Message + Name>(
    tx: &mut Tx,
    message: &M,
    subject: &str,
    version: i64,
) -> Result<(), StoreError> {
    tx.publish(Event::new(message).subject(subject).version(version)).await.map(drop)
}
