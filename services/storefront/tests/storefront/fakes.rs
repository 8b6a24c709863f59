//! Catalogue, stock and orders as the storefront sees them: small and stateful.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use chassis::{Clock, Fault, Routes};
use contracts::{
    catalog::v1::{
        BatchSetPricesRequest, BatchSetPricesResponse, ListPricesRequest, ListPricesResponse,
        ListTaxCategoriesRequest, ListTaxCategoriesResponse, ResolvePricesRequest,
        ResolvePricesResponse, ResolvedPrice, SetPricesRequest, SetPricesResponse,
        SetTaxCategoryRequest, SetTaxCategoryResponse,
        pricing_service_server::{PricingService, PricingServiceServer},
    },
    inventory::v1::{
        Availability, BatchGetAvailabilityRequest, BatchGetAvailabilityResponse,
        CommitReservationRequest, CommitReservationResponse, ExtendReservationRequest,
        ExtendReservationResponse, FulfillRequest, FulfillResponse, GetAvailabilityRequest,
        GetReservationRequest, ListReservationsRequest, ListReservationsResponse,
        ReleaseReservationRequest, ReleaseReservationResponse, Reservation, ReserveRequest,
        ReserveResponse, RestockRequest, RestockResponse,
        inventory_service_server::{InventoryService, InventoryServiceServer},
    },
    io::cloudevents::v1::{
        CloudEvent,
        cloud_event::{CloudEventAttributeValue, Data, cloud_event_attribute_value::Attr},
    },
    mesh::v1::{
        ErrorReason as MeshReason, FeedEvent, PullEventsRequest, PullEventsResponse,
        feed_service_server::{FeedService, FeedServiceServer},
    },
    orders::v1::{
        AddNoteRequest, AddNoteResponse, BatchGetOrdersRequest, BatchGetOrdersResponse,
        CancelOrderRequest, ErrorReason as OrdersReason, GetOrderRequest, GetPlacementRequest,
        HoldOrderRequest, ListFulfillmentsRequest, ListFulfillmentsResponse,
        ListOrderEventsRequest, ListOrderEventsResponse, ListOrdersRequest, ListOrdersResponse,
        NextAction, Order, Pending, PlaceOrderRequest, PlaceOrderResponse, Placement,
        PlacementEnded, RecordFulfillmentRequest, RecordFulfillmentResponse, Refusal,
        RefusalReason, RefusalViolation, ReleaseHoldRequest, WatchOrderRequest,
        order_service_server::{OrderService, OrderServiceServer},
        placement::Outcome,
        placement_ended,
    },
    values::v1::Money,
};
use prost::{Message, Name};
use tokio::sync::Notify;
use tonic::{Request, Response, Status};

/// Methods that the storefront has no business with.
macro_rules! not_asked_for {
    ($($method:ident($request:ty) -> $response:ty;)*) => {$(
        fn $method<'s, 'f>(
            &'s self,
            _request: Request<$request>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<$response>, Status>> + Send + 'f>>
        where
            's: 'f,
            Self: 'f,
        {
            Box::pin(async { Err(Status::unimplemented("not asked for")) })
        }
    )*};
}

fn lock<S>(state: &Mutex<S>) -> MutexGuard<'_, S> {
    state.lock().unwrap()
}

/// The peers of a test.
#[derive(Clone)]
pub(crate) struct World {
    pub shelf: Arc<Shelf>,
    pub orders: Arc<Orders>,
}

impl World {
    pub(crate) fn new() -> Self {
        let orders =
            Orders { state: Mutex::default(), told: Notify::new(), clock: Clock::system() };
        Self { shelf: Arc::default(), orders: Arc::new(orders) }
    }

    pub(crate) fn catalog(&self) -> Routes {
        Routes::new().add(PricingServiceServer::from_arc(Arc::clone(&self.shelf)))
    }

    pub(crate) fn inventory(&self) -> Routes {
        Routes::new().add(InventoryServiceServer::from_arc(Arc::clone(&self.shelf)))
    }

    pub(crate) fn orders(&self) -> Routes {
        Routes::new()
            .add(OrderServiceServer::from_arc(Arc::clone(&self.orders)))
            .add(FeedServiceServer::from_arc(Arc::clone(&self.orders)))
    }
}

// === what is sold, and how many there are ===

/// Prices in euros and stock.
#[derive(Default)]
pub(crate) struct Shelf {
    state: Mutex<Goods>,
}

#[derive(Default)]
struct Goods {
    prices: BTreeMap<String, i64>,
    stock: BTreeMap<String, i64>,
    gate: Option<Arc<Gate>>,
}

/// Where one question about stock waits.
#[derive(Default)]
pub(crate) struct Gate {
    reached: Notify,
    open: Notify,
}

impl Gate {
    /// Somebody waits.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    pub(crate) fn open(&self) {
        self.open.notify_one();
    }
}

impl Shelf {
    /// Sells so many for so many cents each.
    pub(crate) fn put(&self, sku: &str, cents: i64, units: i64) {
        self.price(sku, cents);
        self.stock(sku, units);
    }

    pub(crate) fn price(&self, sku: &str, cents: i64) {
        lock(&self.state).prices.insert(sku.to_owned(), cents);
    }

    pub(crate) fn stock(&self, sku: &str, units: i64) {
        lock(&self.state).stock.insert(sku.to_owned(), units);
    }

    /// Sells it no more.
    pub(crate) fn withdraw(&self, sku: &str) {
        lock(&self.state).prices.remove(sku);
    }

    /// Makes the next question about stock wait.
    pub(crate) fn hold_next(&self) -> Arc<Gate> {
        let gate = Arc::new(Gate::default());
        lock(&self.state).gate = Some(Arc::clone(&gate));
        gate
    }
}

#[tonic::async_trait]
impl PricingService for Shelf {
    async fn resolve_prices(
        &self,
        request: Request<ResolvePricesRequest>,
    ) -> Result<Response<ResolvePricesResponse>, Status> {
        let request = request.into_inner();
        let goods = lock(&self.state);
        let resolve = |sku: String| {
            let cents = goods.prices.get(&sku).filter(|_| request.currency_code == "EUR");
            match cents {
                Some(cents) => ResolvedPrice {
                    product_id: format!("product-{sku}"),
                    variant_id: format!("variant-{sku}"),
                    title: format!("A {sku}"),
                    purchasable: true,
                    unit_price: Some(Money {
                        currency_code: "EUR".to_owned(),
                        minor_units: *cents,
                    }),
                    tax_rate_micros: 210_000,
                    price_version: cents.to_string(),
                    sku,
                    ..ResolvedPrice::default()
                },
                None => ResolvedPrice { sku, ..ResolvedPrice::default() },
            }
        };
        let prices = request.queries.into_iter().map(|query| resolve(query.sku)).collect();
        Ok(Response::new(ResolvePricesResponse { prices }))
    }

    not_asked_for! {
        set_prices(SetPricesRequest) -> SetPricesResponse;
        batch_set_prices(BatchSetPricesRequest) -> BatchSetPricesResponse;
        list_prices(ListPricesRequest) -> ListPricesResponse;
        list_tax_categories(ListTaxCategoriesRequest) -> ListTaxCategoriesResponse;
        set_tax_category(SetTaxCategoryRequest) -> SetTaxCategoryResponse;
    }
}

#[tonic::async_trait]
impl InventoryService for Shelf {
    async fn batch_get_availability(
        &self,
        request: Request<BatchGetAvailabilityRequest>,
    ) -> Result<Response<BatchGetAvailabilityResponse>, Status> {
        let gate = lock(&self.state).gate.take();
        if let Some(gate) = gate {
            gate.reached.notify_one();
            gate.open.notified().await;
        }
        let goods = lock(&self.state);
        let available = |sku: String| Availability {
            available: goods.stock.get(&sku).copied().unwrap_or_default(),
            sku,
        };
        let availabilities = request.into_inner().skus.into_iter().map(available).collect();
        Ok(Response::new(BatchGetAvailabilityResponse { availabilities }))
    }

    not_asked_for! {
        get_availability(GetAvailabilityRequest) -> Availability;
        reserve(ReserveRequest) -> ReserveResponse;
        commit_reservation(CommitReservationRequest) -> CommitReservationResponse;
        release_reservation(ReleaseReservationRequest) -> ReleaseReservationResponse;
        extend_reservation(ExtendReservationRequest) -> ExtendReservationResponse;
        fulfill(FulfillRequest) -> FulfillResponse;
        restock(RestockRequest) -> RestockResponse;
        get_reservation(GetReservationRequest) -> Reservation;
        list_reservations(ListReservationsRequest) -> ListReservationsResponse;
    }
}

// === orders ===

/// How a placement stands, or what becomes of the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Ends {
    /// An order.
    #[default]
    Sold,
    /// The shopper must act first.
    Action,
    /// Not known yet.
    Pending,
    /// Refused.
    Refused(RefusalReason),
    /// The service is away: nothing arrives.
    Away,
    /// The purchase as such is refused: nothing is kept.
    Invalid,
    /// The question arrives nowhere and is never answered.
    Silent,
}

/// Placements.
pub(crate) struct Orders {
    state: Mutex<Book>,
    told: Notify,
    clock: Clock,
}

#[derive(Default)]
struct Book {
    ends: Ends,
    placements: Vec<(PlaceOrderRequest, Ends)>,
    asked: usize,
    events: Vec<FeedEvent>,
}

impl Orders {
    /// How the placements to come end.
    pub(crate) fn will(&self, ends: Ends) {
        lock(&self.state).ends = ends;
    }

    /// How all placements stand from now on, and those to come.
    pub(crate) fn end(&self, ends: Ends) {
        let mut book = lock(&self.state);
        book.ends = ends;
        for (_, stands) in &mut book.placements {
            *stands = ends;
        }
    }

    /// The purchases that arrived.
    pub(crate) fn purchases(&self) -> Vec<PlaceOrderRequest> {
        lock(&self.state).placements.iter().map(|(purchase, _)| purchase.clone()).collect()
    }

    /// How often a purchase was handed over, whatever became of it.
    pub(crate) fn asked(&self) -> usize {
        lock(&self.state).asked
    }

    /// Tells how every placement ended.
    pub(crate) fn tell(&self) {
        let mut book = lock(&self.state);
        for (purchase, ends) in book.placements.clone() {
            let placement = placement(&purchase, ends);
            let outcome = match placement.outcome {
                Some(Outcome::Order(order)) => placement_ended::Outcome::Number(order.number),
                Some(Outcome::Refusal(refusal)) => placement_ended::Outcome::Refusal(refusal),
                _ => continue,
            };
            let ended = PlacementEnded {
                placement_id: purchase.placement_id,
                checkout_id: purchase.checkout_id,
                order_id: placement.order_id.clone(),
                outcome: Some(outcome),
                ..PlacementEnded::default()
            };
            let seq = i64::try_from(book.events.len()).unwrap() + 1;
            let event = self.event(&placement.order_id, &ended);
            book.events.push(FeedEvent { seq, event: Some(event) });
        }
        self.told.notify_waiters();
    }

    fn event<M: Message + Name>(&self, subject: &str, message: &M) -> CloudEvent {
        let subject = CloudEventAttributeValue { attr: Some(Attr::CeString(subject.to_owned())) };
        CloudEvent {
            id: self.clock.id(),
            source: "/orders".to_owned(),
            spec_version: "1.0".to_owned(),
            r#type: M::full_name(),
            attributes: [("subject".to_owned(), subject)].into(),
            data: Some(Data::ProtoData(prost_types::Any {
                type_url: format!("type.googleapis.com/{}", M::full_name()),
                value: message.encode_to_vec(),
            })),
        }
    }
}

/// A placement of this purchase that stands so.
fn placement(purchase: &PlaceOrderRequest, ends: Ends) -> Placement {
    let outcome = match ends {
        Ends::Sold => Outcome::Order(Order {
            order_id: purchase.placement_id.clone(),
            number: "M-1".to_owned(),
            checkout_id: purchase.checkout_id.clone(),
            totals: purchase.totals.clone(),
            ..Order::default()
        }),
        Ends::Action => Outcome::NextAction(NextAction {
            payment_intent_id: "intent".to_owned(),
            redirect_uri: "https://bank.example/3ds".to_owned(),
            expire_time: None,
        }),
        Ends::Refused(reason) => Outcome::Refusal(Refusal {
            reason: reason.into(),
            message: format!("refused: {reason:?}"),
            violations: vec![RefusalViolation {
                subject: "mug".to_owned(),
                description: "only 1 left".to_owned(),
            }],
        }),
        Ends::Pending | Ends::Away | Ends::Invalid | Ends::Silent => {
            Outcome::Pending(Pending::default())
        }
    };
    Placement {
        placement_id: purchase.placement_id.clone(),
        checkout_id: purchase.checkout_id.clone(),
        order_id: purchase.placement_id.clone(),
        outcome: Some(outcome),
        ..Placement::default()
    }
}

fn away() -> Status {
    Fault::unavailable(MeshReason::Unavailable).into()
}

#[tonic::async_trait]
impl OrderService for Orders {
    type WatchOrderStream = tokio_stream::Empty<Result<Order, Status>>;

    async fn watch_order(
        &self,
        _: Request<WatchOrderRequest>,
    ) -> Result<Response<Self::WatchOrderStream>, Status> {
        Err(away())
    }

    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<PlaceOrderResponse>, Status> {
        let purchase = request.into_inner();
        let ends = {
            let mut book = lock(&self.state);
            book.asked += 1;
            book.ends
        };
        match ends {
            Ends::Away => return Err(away()),
            Ends::Invalid => {
                return Err(Fault::invalid_argument(OrdersReason::TotalsMismatch)
                    .message("the amounts do not add up")
                    .into());
            }
            Ends::Silent => return std::future::pending().await,
            Ends::Sold | Ends::Action | Ends::Pending | Ends::Refused(_) => {}
        }
        let mut book = lock(&self.state);
        let found =
            book.placements.iter().find(|(kept, _)| kept.placement_id == purchase.placement_id);
        let stands = match found {
            Some((kept, stands)) => {
                assert_eq!(*kept, purchase, "a placement that is handed over again is the same");
                *stands
            }
            None => {
                book.placements.push((purchase.clone(), ends));
                ends
            }
        };
        Ok(Response::new(PlaceOrderResponse { placement: Some(placement(&purchase, stands)) }))
    }

    async fn get_placement(
        &self,
        request: Request<GetPlacementRequest>,
    ) -> Result<Response<Placement>, Status> {
        let id = request.into_inner().placement_id;
        let book = lock(&self.state);
        if book.ends == Ends::Away {
            return Err(away());
        }
        let found = book.placements.iter().find(|(kept, _)| kept.placement_id == id);
        match found {
            Some((purchase, ends)) => Ok(Response::new(placement(purchase, *ends))),
            None => Err(Fault::not_found(OrdersReason::PlacementNotFound).into()),
        }
    }

    not_asked_for! {
        get_order(GetOrderRequest) -> Order;
        batch_get_orders(BatchGetOrdersRequest) -> BatchGetOrdersResponse;
        list_orders(ListOrdersRequest) -> ListOrdersResponse;
        cancel_order(CancelOrderRequest) -> Order;
        hold_order(HoldOrderRequest) -> Order;
        release_hold(ReleaseHoldRequest) -> Order;
        record_fulfillment(RecordFulfillmentRequest) -> RecordFulfillmentResponse;
        list_fulfillments(ListFulfillmentsRequest) -> ListFulfillmentsResponse;
        list_order_events(ListOrderEventsRequest) -> ListOrderEventsResponse;
        add_note(AddNoteRequest) -> AddNoteResponse;
    }
}

#[tonic::async_trait]
impl FeedService for Orders {
    async fn pull_events(
        &self,
        request: Request<PullEventsRequest>,
    ) -> Result<Response<PullEventsResponse>, Status> {
        let request = request.into_inner();
        let after = if request.feed_id == "fake" { request.after_seq } else { 0 };
        for _ in 0..2 {
            let told = self.told.notified();
            let events: Vec<FeedEvent> = lock(&self.state)
                .events
                .iter()
                .filter(|event| event.seq > after)
                .cloned()
                .collect();
            if !events.is_empty() {
                return Ok(Response::new(PullEventsResponse {
                    feed_id: "fake".to_owned(),
                    events,
                }));
            }
            let _elapsed = tokio::time::timeout(Duration::from_millis(500), told).await;
        }
        Ok(Response::new(PullEventsResponse { feed_id: "fake".to_owned(), events: Vec::new() }))
    }
}
