//! The service as it is called: each method parses its request, applies a rule or
//! a query, and answers.

mod location;
mod reservation;
mod stock;

use chassis::{Caller, Clock, Database, Pages};
use contracts::inventory::v1;
use tonic::Request;

use crate::{
    domain::{Kind, Level, Line, Reservation, State},
    error::Error,
    store::{Note, ledger},
};

/// Answers every method of the three services.
#[derive(Debug, Clone)]
pub(crate) struct Rpc {
    pub(crate) database: Database,
    pub(crate) clock: Clock,
    pub(crate) pages: Pages,
}

impl Rpc {
    /// Who calls, why and when.
    fn note<T>(&self, request: &Request<T>, reason: &str) -> Note {
        Note {
            actor: Caller::of(request).actor(),
            reason: reason.to_owned(),
            now: self.clock.now(),
        }
    }
}

/// The version that an etag stands for, if one is given.
fn version_of(etag: &str) -> Result<Option<i64>, Error> {
    if etag.is_empty() {
        return Ok(None);
    }
    match etag.parse() {
        Ok(version) => Ok(Some(version)),
        Err(_) => Err(Error::EtagMismatch { subject: "what this was read from".to_owned() }),
    }
}

/// A text that narrows a list, if it is given.
fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

// === domain to contract ===

impl From<Level> for v1::StockLevel {
    fn from(level: Level) -> Self {
        Self {
            sku: level.key.sku,
            location_id: level.key.location_id,
            on_hand: level.on_hand,
            reserved: level.reserved,
            committed: level.committed,
            safety: level.safety,
            backorder_limit: level.backorder_limit,
            reorder_point: level.reorder_point,
            available: level.available.max(0),
            etag: level.version.to_string(),
            update_time: Some(level.update_time.timestamp()),
        }
    }
}

impl From<Line> for v1::ReservationLine {
    fn from(line: Line) -> Self {
        Self {
            sku: line.sku,
            location_id: line.location_id,
            quantity: line.quantity,
            fulfilled_quantity: line.fulfilled,
        }
    }
}

impl From<Reservation> for v1::Reservation {
    fn from(reservation: Reservation) -> Self {
        Self {
            reservation_id: reservation.reservation_id,
            owner: reservation.owner,
            state: v1::ReservationState::from(reservation.state).into(),
            lines: reservation.lines.into_iter().map(Into::into).collect(),
            create_time: Some(reservation.create_time.timestamp()),
            expire_time: Some(reservation.expire_time.timestamp()),
            update_time: Some(reservation.update_time.timestamp()),
        }
    }
}

impl From<State> for v1::ReservationState {
    fn from(state: State) -> Self {
        match state {
            State::Held => Self::Held,
            State::Committed => Self::Committed,
            State::Released => Self::Released,
            State::Expired => Self::Expired,
            State::Fulfilled => Self::Fulfilled,
            State::Returned => Self::ReturnedToStock,
        }
    }
}

impl From<Kind> for v1::MovementKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Receive => Self::Receive,
            Kind::Adjust => Self::Adjust,
            Kind::Reserve => Self::Reserve,
            Kind::Release => Self::Release,
            Kind::Expire => Self::Expire,
            Kind::Commit => Self::Commit,
            Kind::Cancel => Self::Cancel,
            Kind::Sale => Self::Sale,
            Kind::Return => Self::Return,
            Kind::TransferIn => Self::TransferIn,
            Kind::TransferOut => Self::TransferOut,
            Kind::WriteOff => Self::WriteOff,
        }
    }
}

impl From<ledger::Entry> for v1::StockMovement {
    fn from(entry: ledger::Entry) -> Self {
        let movement = entry.movement;
        Self {
            sequence: entry.sequence,
            sku: movement.key.sku,
            location_id: movement.key.location_id,
            kind: v1::MovementKind::from(movement.kind).into(),
            on_hand_delta: movement.delta.on_hand,
            reserved_delta: movement.delta.reserved,
            committed_delta: movement.delta.committed,
            reservation_id: movement.reservation_id.unwrap_or_default(),
            reason: entry.reason,
            actor: entry.actor,
            create_time: Some(entry.create_time.timestamp()),
        }
    }
}
