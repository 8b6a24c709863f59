//! Stock.

use std::{collections::BTreeMap, sync::Mutex};

use chassis::{Clock, Fault};
use contracts::inventory::v1::{
    Availability, BatchGetAvailabilityRequest, BatchGetAvailabilityResponse,
    CommitReservationRequest, CommitReservationResponse, ErrorReason, ExtendReservationRequest,
    ExtendReservationResponse, FulfillRequest, FulfillResponse, GetAvailabilityRequest,
    GetReservationRequest, ListReservationsRequest, ListReservationsResponse,
    ReleaseReservationRequest, ReleaseReservationResponse, Reservation, ReservationLine,
    ReservationState, ReserveRequest, ReserveResponse, RestockRequest, RestockResponse,
    inventory_service_server::InventoryService,
};
use tonic::{Request, Response, Status};

use super::{Replays, Script, Strike, lock, serve};

/// A reservation that holds stock: its owner and state.
pub(crate) type Held = (String, ReservationState);

pub(crate) struct Stock {
    state: Mutex<State>,
    clock: Clock,
}

#[derive(Default)]
struct State {
    free: BTreeMap<String, i64>,
    reservations: BTreeMap<String, Reservation>,
    script: Script,
    replays: Replays,
    extended: usize,
}

impl Default for Stock {
    fn default() -> Self {
        Self { state: Mutex::default(), clock: Clock::system() }
    }
}

impl State {
    fn parts(&mut self) -> (&mut Script, &mut Replays) {
        (&mut self.script, &mut self.replays)
    }

    fn give_back(&mut self, id: &str, to: ReservationState) -> Reservation {
        let reservation = self.reservations.get_mut(id).unwrap();
        reservation.set_state(to);
        let lines = reservation.lines.clone();
        let left = reservation.clone();
        for line in lines {
            *self.free.entry(line.sku).or_default() += line.quantity - line.fulfilled_quantity;
        }
        left
    }

    fn demand(&self, id: &str) -> Result<&Reservation, Status> {
        self.reservations
            .get(id)
            .ok_or_else(|| Fault::not_found(ErrorReason::ReservationNotFound).into())
    }

    /// The refusal of a reservation that is not in one of these states.
    fn must_be(&self, id: &str, states: &[ReservationState]) -> Result<(), Status> {
        let is = self.demand(id)?.state();
        if states.contains(&is) {
            return Ok(());
        }
        let reason = match is {
            ReservationState::Held | ReservationState::Unspecified => {
                ErrorReason::ReservationNotCommitted
            }
            ReservationState::Committed => ErrorReason::ReservationAlreadyCommitted,
            ReservationState::Released => ErrorReason::ReservationAlreadyReleased,
            ReservationState::Expired => ErrorReason::ReservationExpired,
            ReservationState::Fulfilled => ErrorReason::ReservationAlreadyFulfilled,
            ReservationState::ReturnedToStock => ErrorReason::ReservationAlreadyReturned,
        };
        Err(Fault::failed_precondition(reason).into())
    }
}

impl Stock {
    pub(crate) fn set(&self, sku: &str, units: i64) {
        lock(&self.state).free.insert(sku.to_owned(), units);
    }

    pub(crate) fn free(&self, sku: &str) -> i64 {
        lock(&self.state).free.get(sku).copied().unwrap_or_default()
    }

    pub(crate) fn fail(&self, method: &'static str, strike: Strike, status: Status) {
        lock(&self.state).script.fail(method, strike, status);
    }

    /// The reservations that hold anything.
    pub(crate) fn held(&self) -> Vec<Held> {
        let holds = [ReservationState::Held, ReservationState::Committed];
        let state = lock(&self.state);
        state
            .reservations
            .values()
            .filter(|found| holds.contains(&found.state()))
            .map(|found| (found.owner.clone(), found.state()))
            .collect()
    }

    pub(crate) fn extended(&self) -> usize {
        lock(&self.state).extended
    }

    /// The time of every held reservation is up.
    pub(crate) fn expire_all(&self) {
        let mut state = lock(&self.state);
        let held: Vec<String> = state
            .reservations
            .values()
            .filter(|found| found.state() == ReservationState::Held)
            .map(|found| found.reservation_id.clone())
            .collect();
        for id in held {
            state.give_back(&id, ReservationState::Expired);
        }
    }
}

#[tonic::async_trait]
impl InventoryService for Stock {
    async fn get_availability(
        &self,
        _request: Request<GetAvailabilityRequest>,
    ) -> Result<Response<Availability>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn batch_get_availability(
        &self,
        _request: Request<BatchGetAvailabilityRequest>,
    ) -> Result<Response<BatchGetAvailabilityResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn reserve(
        &self,
        request: Request<ReserveRequest>,
    ) -> Result<Response<ReserveResponse>, Status> {
        let request = request.into_inner();
        serve(&self.state, "reserve", &request.request_id.clone(), State::parts, |state| {
            let mut refusal =
                Fault::failed_precondition(ErrorReason::OutOfStock).message("too little is left");
            let mut short = false;
            for line in &request.lines {
                let free = state.free.get(&line.sku).copied().unwrap_or_default();
                if free < line.quantity {
                    short = true;
                    refusal = refusal.precondition(
                        "OUT_OF_STOCK",
                        &line.sku,
                        format!("{free} are available"),
                    );
                }
            }
            if short {
                return Err(refusal.into());
            }
            for line in &request.lines {
                *state.free.get_mut(&line.sku).unwrap() -= line.quantity;
            }
            let reservation = Reservation {
                reservation_id: self.clock.id(),
                owner: request.owner,
                state: ReservationState::Held.into(),
                lines: request
                    .lines
                    .into_iter()
                    .map(|line| ReservationLine {
                        sku: line.sku,
                        quantity: line.quantity,
                        ..ReservationLine::default()
                    })
                    .collect(),
                ..Reservation::default()
            };
            state.reservations.insert(reservation.reservation_id.clone(), reservation.clone());
            Ok(ReserveResponse { reservation: Some(reservation) })
        })
    }

    async fn commit_reservation(
        &self,
        request: Request<CommitReservationRequest>,
    ) -> Result<Response<CommitReservationResponse>, Status> {
        let request = request.into_inner();
        serve(&self.state, "commit", &request.request_id, State::parts, |state| {
            state.must_be(&request.reservation_id, &[ReservationState::Held])?;
            let reservation = state.reservations.get_mut(&request.reservation_id).unwrap();
            reservation.set_state(ReservationState::Committed);
            Ok(CommitReservationResponse { reservation: Some(reservation.clone()) })
        })
    }

    async fn release_reservation(
        &self,
        request: Request<ReleaseReservationRequest>,
    ) -> Result<Response<ReleaseReservationResponse>, Status> {
        let request = request.into_inner();
        serve(&self.state, "release", &request.request_id, State::parts, |state| {
            let id = &request.reservation_id;
            state.must_be(id, &[ReservationState::Held, ReservationState::Committed])?;
            let to = match state.demand(id)?.state() {
                ReservationState::Committed => ReservationState::ReturnedToStock,
                _ => ReservationState::Released,
            };
            Ok(ReleaseReservationResponse { reservation: Some(state.give_back(id, to)) })
        })
    }

    async fn extend_reservation(
        &self,
        request: Request<ExtendReservationRequest>,
    ) -> Result<Response<ExtendReservationResponse>, Status> {
        let request = request.into_inner();
        serve(&self.state, "extend", &request.request_id, State::parts, |state| {
            state.must_be(&request.reservation_id, &[ReservationState::Held])?;
            state.extended += 1;
            Ok(ExtendReservationResponse {
                reservation: Some(state.demand(&request.reservation_id)?.clone()),
            })
        })
    }

    async fn fulfill(
        &self,
        request: Request<FulfillRequest>,
    ) -> Result<Response<FulfillResponse>, Status> {
        let request = request.into_inner();
        serve(&self.state, "fulfill", &request.request_id, State::parts, |state| {
            state.must_be(&request.reservation_id, &[ReservationState::Committed])?;
            let reservation = state.reservations.get_mut(&request.reservation_id).unwrap();
            for line in &request.lines {
                let held = reservation.lines.iter_mut().find(|held| held.sku == line.sku).unwrap();
                held.fulfilled_quantity += line.quantity;
                assert!(held.fulfilled_quantity <= held.quantity, "shipped more than was reserved");
            }
            if reservation.lines.iter().all(|line| line.fulfilled_quantity == line.quantity) {
                reservation.set_state(ReservationState::Fulfilled);
            }
            Ok(FulfillResponse { reservation: Some(reservation.clone()) })
        })
    }

    async fn restock(
        &self,
        _request: Request<RestockRequest>,
    ) -> Result<Response<RestockResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn get_reservation(
        &self,
        request: Request<GetReservationRequest>,
    ) -> Result<Response<Reservation>, Status> {
        Ok(Response::new(lock(&self.state).demand(&request.into_inner().reservation_id)?.clone()))
    }

    async fn list_reservations(
        &self,
        request: Request<ListReservationsRequest>,
    ) -> Result<Response<ListReservationsResponse>, Status> {
        let owner = request.into_inner().owner;
        serve(&self.state, "list_reservations", "", State::parts, |state| {
            let reservations =
                state.reservations.values().filter(|found| found.owner == owner).cloned().collect();
            Ok(ListReservationsResponse { reservations, next_page_token: String::new() })
        })
    }
}
