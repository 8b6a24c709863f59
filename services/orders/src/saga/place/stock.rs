//! The stock of a purchase: held, kept, committed or let go.

use std::time::Duration;

use chassis::{
    Fault, Time,
    saga::{At, Outcome, Undone},
};
use contracts::{
    inventory::v1::{
        CommitReservationRequest, ErrorReason as Stock, ExtendReservationRequest,
        ListReservationsRequest, ReservationState, ReserveLine, ReserveRequest,
    },
    orders::v1::RefusalReason,
};

use super::{Place, Purchase};
use crate::saga::{Meaning, impatient, meaning, stock_owner};

/// How much longer than the payment the stock is held.
const RESERVATION_MARGIN: Duration = Duration::from_secs(120);
/// Bounds of a reservation's life, as inventory has them.
pub(super) const TTL_MIN: Duration = Duration::from_secs(60);
/// See [`TTL_MIN`].
pub(super) const TTL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

// === impl Place ===

impl Place {
    async fn hold(&self, key: String, at: &At, state: &mut Purchase) -> Result<(), Outcome> {
        let request = ReserveRequest {
            request_id: key,
            owner: stock_owner(&state.order_id),
            lines: state
                .lines
                .iter()
                .map(|line| ReserveLine { sku: line.sku.clone(), quantity: line.quantity })
                .collect(),
            ttl: prost_types::Duration::try_from(self.reservation_ttl).ok(),
        };
        match self.peers.inventory.clone().reserve(request).await {
            Ok(answer) => {
                let reservation = answer.into_inner().reservation.unwrap_or_default();
                state.reserved_until = reservation
                    .expire_time
                    .map(|time| Time::from(time).micros())
                    .unwrap_or_default();
                state.reservation_id = reservation.reservation_id;
                Ok(())
            }
            Err(status) => {
                let fault = Fault::from(status);
                if fault.is(Stock::OutOfStock) {
                    let short = fault
                        .preconditions()
                        .iter()
                        .map(|short| (short.subject.clone(), short.description.clone()))
                        .collect();
                    return Err(state.refuse_with(
                        RefusalReason::OutOfStock,
                        fault.to_string(),
                        short,
                    ));
                }
                Err(match impatient(&fault, at.attempt) {
                    Meaning::Again => Outcome::retry(&fault),
                    Meaning::No => state.refuse(
                        RefusalReason::Failed,
                        format!("stock cannot be reserved: {fault}"),
                    ),
                })
            }
        }
    }

    pub(super) async fn reserve_stock(&self, at: &At, state: &mut Purchase) -> Outcome {
        match self.hold(at.key("reserve"), at, state).await {
            Ok(()) => Outcome::done(),
            Err(outcome) => {
                state.nothing_held = state
                    .refused
                    .as_ref()
                    .is_some_and(|refused| refused.reason == i32::from(RefusalReason::OutOfStock));
                outcome
            }
        }
    }

    pub(super) async fn release_stock(&self, at: &At, state: &mut Purchase) -> Undone {
        if state.nothing_held && state.reservation_id.is_empty() {
            return Undone::done();
        }
        // An answer may have been lost, so inventory is asked what it holds.
        let request = ListReservationsRequest {
            page_size: 20,
            owner: stock_owner(&state.order_id),
            ..ListReservationsRequest::default()
        };
        let held = match self.peers.inventory.clone().list_reservations(request).await {
            Ok(answer) => answer.into_inner().reservations,
            Err(status) => return Undone::retry(Fault::from(status)),
        };
        for reservation in held {
            match reservation.state() {
                ReservationState::Held | ReservationState::Committed => {}
                ReservationState::Fulfilled => {
                    return Undone::Stuck("the units have left the house".to_owned());
                }
                ReservationState::Released
                | ReservationState::Expired
                | ReservationState::ReturnedToStock
                | ReservationState::Unspecified => continue,
            }
            let key = at.key(&reservation.reservation_id);
            if let Err(fault) = self.peers.release(key, &reservation.reservation_id).await {
                return Undone::retry(fault);
            }
        }
        Undone::done()
    }

    /// Keeps the stock for as long as the payment may take. If that fails the
    /// reservation may expire; the commit sees to that.
    pub(super) async fn prolong(&self, at: &At, state: &mut Purchase, until: Time) {
        let until = until + RESERVATION_MARGIN;
        if state.reserved_until >= until.micros() {
            return;
        }
        let ttl = until.since(at.now).clamp(TTL_MIN, TTL_MAX);
        let request = ExtendReservationRequest {
            request_id: at.key(&format!("extend-{}", until.micros())),
            reservation_id: state.reservation_id.clone(),
            ttl: prost_types::Duration::try_from(ttl).ok(),
        };
        match self.peers.inventory.clone().extend_reservation(request).await {
            Ok(answer) => {
                let reservation = answer.into_inner().reservation.unwrap_or_default();
                state.reserved_until = reservation
                    .expire_time
                    .map(|time| Time::from(time).micros())
                    .unwrap_or(state.reserved_until);
            }
            Err(status) => {
                let fault = Fault::from(status);
                tracing::debug!(order.id = state.order_id, %fault, "the reservation was not prolonged");
            }
        }
    }

    pub(super) async fn commit(&self, at: &At, state: &mut Purchase) -> Outcome {
        match self.commit_held(at, state).await {
            Ok(outcome) => outcome,
            // It expired before the payment was done: once more, if there is stock.
            Err(_) => {
                if let Err(outcome) = self.hold(at.key("reserve-again"), at, state).await {
                    return outcome;
                }
                match self.commit_held(at, state).await {
                    Ok(outcome) => outcome,
                    Err(fault) => state.refuse(RefusalReason::OutOfStock, fault.to_string()),
                }
            }
        }
    }

    /// `Err` if the reservation is no more.
    async fn commit_held(&self, at: &At, state: &mut Purchase) -> Result<Outcome, Fault> {
        let request = CommitReservationRequest {
            request_id: at.key(&format!("commit-{}", state.reservation_id)),
            reservation_id: state.reservation_id.clone(),
        };
        match self.peers.inventory.clone().commit_reservation(request).await {
            Ok(_) => Ok(Outcome::done()),
            Err(status) => {
                let fault = Fault::from(status);
                let gone = [
                    Stock::ReservationExpired,
                    Stock::ReservationAlreadyReleased,
                    Stock::ReservationNotFound,
                ];
                if fault.is(Stock::ReservationAlreadyCommitted) {
                    return Ok(Outcome::done());
                }
                if gone.into_iter().any(|reason| fault.is(reason)) {
                    return Err(fault);
                }
                Ok(match meaning(&fault, at.attempt) {
                    Meaning::Again => Outcome::retry(&fault),
                    Meaning::No => state.refuse(
                        RefusalReason::Failed,
                        format!("stock cannot be committed: {fault}"),
                    ),
                })
            }
        }
    }
}
