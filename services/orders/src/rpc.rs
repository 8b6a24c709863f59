//! The contract's methods. Each file holds the methods of one concern.

mod admin;
mod change;
mod fulfill;
mod place;
mod read;
mod watch;

use std::time::Duration;

use chassis::{Caller, Clock, Context, Database, Pages, Tasks, call, saga::Sagas};
use contracts::orders::v1::{
    AddNoteRequest, AddNoteResponse, BatchGetOrdersRequest, BatchGetOrdersResponse,
    CancelOrderRequest, GetOrderRequest, GetPlacementRequest, HoldOrderRequest,
    ListFulfillmentsRequest, ListFulfillmentsResponse, ListOrderEventsRequest,
    ListOrderEventsResponse, ListOrdersRequest, ListOrdersResponse, Order, PlaceOrderRequest,
    PlaceOrderResponse, Placement, RecordFulfillmentRequest, RecordFulfillmentResponse,
    ReleaseHoldRequest, WatchOrderRequest, order_service_server::OrderService,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::{Config, number::Numbers};

/// How much of a call's deadline is kept for the answer.
const ANSWER_TIME: Duration = Duration::from_millis(300);

/// Serves both services of the contract.
#[derive(Debug, Clone)]
pub(crate) struct Rpc {
    database: Database,
    clock: Clock,
    pages: Pages,
    sagas: Sagas,
    numbers: Numbers,
    config: Config,
    tasks: Tasks,
    watches: watch::Watches,
}

impl Rpc {
    pub(crate) fn new(context: &Context<Config>, sagas: Sagas) -> Self {
        Self {
            database: context.database.clone(),
            clock: context.clock.clone(),
            pages: context.pages.clone(),
            sagas,
            numbers: Numbers::new(&context.database),
            config: context.config.clone(),
            tasks: context.tasks.clone(),
            watches: watch::Watches::default(),
        }
    }
}

/// The only owner whose orders the caller may touch, or `None` if any.
fn owner_of<T>(request: &Request<T>) -> Option<String> {
    Caller::of(request).scope().owner().map(str::to_owned)
}

/// How long a call may wait: as wished, unless its deadline is nearer.
fn patience(wish: Duration) -> Duration {
    call::current().map_or(wish, |call| wish.min(call.remaining().saturating_sub(ANSWER_TIME)))
}

#[tonic::async_trait]
impl OrderService for Rpc {
    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<PlaceOrderResponse>, Status> {
        let placement = self.place(request.into_inner()).await?;
        Ok(Response::new(PlaceOrderResponse { placement: Some(placement) }))
    }

    async fn get_placement(
        &self,
        request: Request<GetPlacementRequest>,
    ) -> Result<Response<Placement>, Status> {
        Ok(Response::new(self.placement(&request.into_inner().placement_id).await?))
    }

    async fn get_order(
        &self,
        request: Request<GetOrderRequest>,
    ) -> Result<Response<Order>, Status> {
        Ok(Response::new(self.one(&request).await?))
    }

    type WatchOrderStream = ReceiverStream<Result<Order, Status>>;

    async fn watch_order(
        &self,
        request: Request<WatchOrderRequest>,
    ) -> Result<Response<Self::WatchOrderStream>, Status> {
        Ok(Response::new(self.watch(request).await?))
    }

    async fn batch_get_orders(
        &self,
        request: Request<BatchGetOrdersRequest>,
    ) -> Result<Response<BatchGetOrdersResponse>, Status> {
        Ok(Response::new(self.many(&request).await?))
    }

    async fn list_orders(
        &self,
        request: Request<ListOrdersRequest>,
    ) -> Result<Response<ListOrdersResponse>, Status> {
        Ok(Response::new(self.list(&request).await?))
    }

    async fn cancel_order(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<Order>, Status> {
        Ok(self.cancel(request).await?)
    }

    async fn hold_order(
        &self,
        request: Request<HoldOrderRequest>,
    ) -> Result<Response<Order>, Status> {
        Ok(self.hold(request).await?)
    }

    async fn release_hold(
        &self,
        request: Request<ReleaseHoldRequest>,
    ) -> Result<Response<Order>, Status> {
        Ok(self.release(request).await?)
    }

    async fn record_fulfillment(
        &self,
        request: Request<RecordFulfillmentRequest>,
    ) -> Result<Response<RecordFulfillmentResponse>, Status> {
        Ok(self.fulfill(request).await?)
    }

    async fn list_fulfillments(
        &self,
        request: Request<ListFulfillmentsRequest>,
    ) -> Result<Response<ListFulfillmentsResponse>, Status> {
        Ok(Response::new(self.parcels(&request).await?))
    }

    async fn list_order_events(
        &self,
        request: Request<ListOrderEventsRequest>,
    ) -> Result<Response<ListOrderEventsResponse>, Status> {
        Ok(Response::new(self.timeline(&request).await?))
    }

    async fn add_note(
        &self,
        request: Request<AddNoteRequest>,
    ) -> Result<Response<AddNoteResponse>, Status> {
        Ok(self.note(request).await?)
    }
}
