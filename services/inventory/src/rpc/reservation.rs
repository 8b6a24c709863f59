//! `InventoryService`.

use std::time::Duration;

use chassis::{Time, store::Tx};
use contracts::inventory::v1::{
    self, Availability, BatchGetAvailabilityRequest, BatchGetAvailabilityResponse,
    CommitReservationRequest, CommitReservationResponse, ExtendReservationRequest,
    ExtendReservationResponse, FulfillRequest, FulfillResponse, GetAvailabilityRequest,
    GetReservationRequest, ListReservationsRequest, ListReservationsResponse,
    ReleaseReservationRequest, ReleaseReservationResponse, ReserveRequest, ReserveResponse,
    RestockRequest, RestockResponse, ReturnCondition, inventory_service_server::InventoryService,
};
use tonic::{Request, Response, Status};

use super::{Rpc, given};
use crate::{
    domain::{Delta, Kind, LevelKey, Line, Movement, Parcel, Reservation, State, demand, ship},
    error::Error,
    events,
    store::{
        Note,
        ledger::{self, Change},
        level::{self, Taking},
        reservation,
    },
};

/// How long a reservation that does not say is held.
const TTL_DEFAULT: Duration = Duration::from_secs(15 * 60);

#[tonic::async_trait]
impl InventoryService for Rpc {
    async fn get_availability(
        &self,
        request: Request<GetAvailabilityRequest>,
    ) -> Result<Response<Availability>, Status> {
        let skus = [request.into_inner().sku];
        let found = level::availability(&self.database, &skus).await.map_err(Error::from)?;
        let [sku] = skus;
        let available = found.get(&sku).copied().unwrap_or_default();
        Ok(Response::new(Availability { sku, available }))
    }

    async fn batch_get_availability(
        &self,
        request: Request<BatchGetAvailabilityRequest>,
    ) -> Result<Response<BatchGetAvailabilityResponse>, Status> {
        let skus = request.into_inner().skus;
        let found = level::availability(&self.database, &skus).await.map_err(Error::from)?;
        let availabilities = skus
            .into_iter()
            .map(|sku| Availability {
                available: found.get(&sku).copied().unwrap_or_default(),
                sku,
            })
            .collect();
        Ok(Response::new(BatchGetAvailabilityResponse { availabilities }))
    }

    async fn reserve(
        &self,
        request: Request<ReserveRequest>,
    ) -> Result<Response<ReserveResponse>, Status> {
        match self.reserve_by(&request, Taking::Quickly).await {
            // Only another look, with every level locked, tells how to share it out.
            Err(Error::Contended) => Ok(self.reserve_by(&request, Taking::Carefully).await?),
            answer => Ok(answer?),
        }
    }

    async fn commit_reservation(
        &self,
        request: Request<CommitReservationRequest>,
    ) -> Result<Response<CommitReservationResponse>, Status> {
        let note = self.note(&request, "");
        let committed =
            self.database.once(&request, move |tx, message: CommitReservationRequest| {
                Box::pin(async move {
                    let reservation =
                        reservation::commit(tx, &message.reservation_id, note.now).await?;
                    let movements = reservation.movements(Kind::Commit);
                    let changes = ledger::book(tx, &movements, None, &note).await?;
                    events::committed(tx, &reservation).await?;
                    events::changed(tx, &changes, &note).await?;
                    Ok::<_, Error>(CommitReservationResponse {
                        reservation: Some(reservation.into()),
                    })
                })
            });
        Ok(committed.await?)
    }

    async fn release_reservation(
        &self,
        request: Request<ReleaseReservationRequest>,
    ) -> Result<Response<ReleaseReservationResponse>, Status> {
        let note = self.note(&request, "");
        let released =
            self.database.once(&request, move |tx, message: ReleaseReservationRequest| {
                Box::pin(async move {
                    let reservation =
                        reservation::release(tx, &message.reservation_id, note.now).await?;
                    let was_held = reservation.state == State::Released;
                    let movements =
                        reservation.movements(if was_held { Kind::Release } else { Kind::Cancel });
                    let changes = ledger::book(tx, &movements, None, &note).await?;
                    events::released(tx, &reservation).await?;
                    events::changed(tx, &changes, &note).await?;
                    Ok::<_, Error>(ReleaseReservationResponse {
                        reservation: Some(reservation.into()),
                    })
                })
            });
        Ok(released.await?)
    }

    async fn extend_reservation(
        &self,
        request: Request<ExtendReservationRequest>,
    ) -> Result<Response<ExtendReservationResponse>, Status> {
        let now = self.clock.now();
        let extended =
            self.database.once(&request, move |tx, message: ExtendReservationRequest| {
                Box::pin(async move {
                    let expire_time = now + ttl_of(message.ttl);
                    let reservation =
                        reservation::extend(tx, &message.reservation_id, now, expire_time).await?;
                    Ok::<_, Error>(ExtendReservationResponse {
                        reservation: Some(reservation.into()),
                    })
                })
            });
        Ok(extended.await?)
    }

    async fn fulfill(
        &self,
        request: Request<FulfillRequest>,
    ) -> Result<Response<FulfillResponse>, Status> {
        let note = self.note(&request, "");
        let fulfilled = self.database.once(&request, move |tx, message: FulfillRequest| {
            Box::pin(async move {
                let parcels: Vec<Parcel> = message
                    .lines
                    .into_iter()
                    .map(|line| Parcel {
                        sku: line.sku,
                        location_id: given(line.location_id),
                        quantity: line.quantity,
                    })
                    .collect();
                let reservation = fulfill(tx, &message.reservation_id, &parcels, &note).await?;
                Ok::<_, Error>(FulfillResponse { reservation: Some(reservation.into()) })
            })
        });
        Ok(fulfilled.await?)
    }

    async fn restock(
        &self,
        request: Request<RestockRequest>,
    ) -> Result<Response<RestockResponse>, Status> {
        let note = self.note(&request, &request.get_ref().reason);
        let restocked = self.database.once(&request, move |tx, message: RestockRequest| {
            Box::pin(async move {
                let condition = message.condition();
                let key = LevelKey::new(message.sku, message.location_id);
                level::lock(tx, &key, note.now).await?;
                let mut movements =
                    vec![Movement::new(key.clone(), Kind::Return, message.quantity)];
                if condition == ReturnCondition::Damaged {
                    movements.push(Movement::new(key, Kind::WriteOff, message.quantity));
                }
                let changes = ledger::book(tx, &movements, None, &note).await?;
                events::changed(tx, &changes, &note).await?;
                let level = changes.into_iter().next().map(|change| change.after.into());
                Ok::<_, Error>(RestockResponse { level })
            })
        });
        Ok(restocked.await?)
    }

    async fn get_reservation(
        &self,
        request: Request<GetReservationRequest>,
    ) -> Result<Response<v1::Reservation>, Status> {
        let reservation =
            reservation::get(&self.database, request.into_inner().reservation_id).await?;
        Ok(Response::new(reservation.into()))
    }

    async fn list_reservations(
        &self,
        request: Request<ListReservationsRequest>,
    ) -> Result<Response<ListReservationsResponse>, Status> {
        let request = request.into_inner();
        let state = state_of(request.state());
        let filter = [&*request.owner, state.map_or("", State::as_str)];
        let page = self.pages.page(request.page_size, &request.page_token, &filter)?;
        let owner = given(request.owner);
        let found =
            reservation::list(&self.database, owner.as_deref(), state, page.after(), page.limit());
        let found = found.await.map_err(Error::from)?;
        let (found, next_page_token) = page.finish(found, |last| last.reservation_id.clone());
        let reservations = found.into_iter().map(Into::into).collect();
        Ok(Response::new(ListReservationsResponse { reservations, next_page_token }))
    }
}

impl Rpc {
    /// Six statements for one line that one location can meet: the request's key
    /// is claimed, the units are taken, the reservation, its movement and its
    /// event are written, and the answer is kept.
    async fn reserve_by(
        &self,
        request: &Request<ReserveRequest>,
        taking: Taking,
    ) -> Result<Response<ReserveResponse>, Error> {
        let note = self.note(request, "");
        let reservation_id = self.clock.id();
        let reserved = self.database.once(request, move |tx, message: ReserveRequest| {
            Box::pin(async move {
                let wanted =
                    demand(message.lines.into_iter().map(|line| (line.sku, line.quantity)));
                let (lines, levels) = level::take(tx, &wanted, note.now, taking).await?;
                let reservation = Reservation {
                    reservation_id,
                    owner: message.owner,
                    state: State::Held,
                    lines,
                    version: 1,
                    create_time: note.now,
                    expire_time: note.now + ttl_of(message.ttl),
                    update_time: note.now,
                };
                reservation::insert(tx, &reservation).await?;
                let movements = reservation.movements(Kind::Reserve);
                ledger::append(tx, &movements, &note).await?;
                let changes: Vec<Change> = levels
                    .into_iter()
                    .zip(movements.iter().map(|movement| movement.delta))
                    .map(|(after, delta): (_, Delta)| Change {
                        before: after.before(delta),
                        after,
                        kind: Some(Kind::Reserve),
                    })
                    .collect();
                events::held(tx, &reservation).await?;
                events::changed(tx, &changes, &note).await?;
                Ok(ReserveResponse { reservation: Some(reservation.into()) })
            })
        });
        reserved.await
    }
}

/// Ships parcels of a committed reservation, or all that is left of it.
async fn fulfill(
    tx: &mut Tx,
    reservation_id: &str,
    parcels: &[Parcel],
    note: &Note,
) -> Result<Reservation, Error> {
    let mut reservation = reservation::lock(tx, reservation_id).await?;
    match reservation.state {
        State::Committed => {}
        State::Held if !is_expired(&reservation, note.now) => {
            return Err(Error::NotCommitted { reservation_id: reservation.reservation_id });
        }
        State::Held => {
            return Err(Error::Resolved {
                reservation_id: reservation.reservation_id,
                state: State::Expired,
            });
        }
        state @ (State::Released | State::Expired | State::Fulfilled | State::Returned) => {
            return Err(Error::Resolved { reservation_id: reservation.reservation_id, state });
        }
    }
    let shipped =
        ship(&mut reservation.lines, parcels).map_err(|excess| Error::Exceeds { excess })?;
    if reservation.lines.iter().all(|line| line.left() == 0) {
        reservation.state = State::Fulfilled;
    }
    let reservation = reservation::fulfill(tx, &reservation, note.now).await?;
    let movements: Vec<Movement> = shipped
        .iter()
        .map(|line| Movement {
            reservation_id: Some(reservation.reservation_id.clone()),
            ..Movement::new(line.key(), Kind::Sale, line.quantity)
        })
        .collect();
    let changes = ledger::book(tx, &movements, None, note).await?;
    events::fulfilled(tx, &reservation, with_totals(shipped, &reservation.lines)).await?;
    events::changed(tx, &changes, note).await?;
    Ok(reservation)
}

/// What was shipped this time, with what was shipped in all.
fn with_totals(shipped: Vec<Line>, lines: &[Line]) -> Vec<Line> {
    let total = |key: &LevelKey| {
        lines.iter().find(|line| line.key() == *key).map_or(0, |line| line.fulfilled)
    };
    shipped.into_iter().map(|line| Line { fulfilled: total(&line.key()), ..line }).collect()
}

fn is_expired(reservation: &Reservation, now: Time) -> bool {
    reservation.expire_time <= now
}

/// A time that the contract keeps between a minute and a day, if one is given.
fn ttl_of(ttl: Option<prost_types::Duration>) -> Duration {
    ttl.and_then(|ttl| Duration::try_from(ttl).ok()).unwrap_or(TTL_DEFAULT)
}

fn state_of(state: v1::ReservationState) -> Option<State> {
    match state {
        v1::ReservationState::Unspecified => None,
        v1::ReservationState::Held => Some(State::Held),
        v1::ReservationState::Committed => Some(State::Committed),
        v1::ReservationState::Released => Some(State::Released),
        v1::ReservationState::Expired => Some(State::Expired),
        v1::ReservationState::Fulfilled => Some(State::Fulfilled),
        v1::ReservationState::ReturnedToStock => Some(State::Returned),
    }
}
