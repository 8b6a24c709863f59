//! An inventory service with one location, and short words for what tests say.

use std::time::Duration;

use chassis::{Fault, Time};
use contracts::inventory::v1::{
    BatchGetAvailabilityRequest, CommitReservationRequest, CreateLocationRequest,
    ExtendReservationRequest, FulfillLine, FulfillRequest, GetReservationRequest, GetStockRequest,
    ListMovementsRequest, MovementKind, ReconcileStockRequest, ReleaseReservationRequest,
    Reservation, ReservationState, ReserveLine, ReserveRequest, SetStockPolicyRequest,
    SetStockRequest, Stock, StockLevel, StockMovement,
    inventory_service_client::InventoryServiceClient,
    location_service_client::LocationServiceClient, stock_service_client::StockServiceClient,
};
use inventory::Inventory;
use testkit::{As, Fixture, request_id};
use tonic::Status;

/// An id that is nobody's.
pub(crate) const NOBODY: &str = "01980000-0000-7000-8000-000000000000";

/// The service under test, with the location "main".
pub(crate) struct Warehouse {
    pub(crate) fixture: Fixture<Inventory>,
    pub(crate) main: String,
}

impl Warehouse {
    /// Opens one whose sweeper looks all the time.
    pub(crate) async fn open() -> Self {
        Self::with_sweeper("5ms").await
    }

    /// Opens one whose sweeper never comes.
    pub(crate) async fn unswept() -> Self {
        Self::with_sweeper("24h").await
    }

    async fn with_sweeper(period: &str) -> Self {
        let config = serde_json::json!({ "sweep_period": period });
        let fixture = testkit::service::<Inventory>().config(config).start().await;
        let mut warehouse = Self { fixture, main: String::new() };
        warehouse.main = warehouse.location("main", 10).await;
        warehouse
    }

    /// The service that sells.
    pub(crate) fn orders(&self) -> InventoryServiceClient<As> {
        InventoryServiceClient::new(self.fixture.as_service("orders"))
    }

    /// Whoever fills and counts the shelves.
    pub(crate) fn staff(&self) -> StockServiceClient<As> {
        StockServiceClient::new(
            self.fixture.as_staff(&["inventory.stock.read", "inventory.stock.write"]),
        )
    }

    /// Whoever says where the shelves are.
    pub(crate) fn planner(&self) -> LocationServiceClient<As> {
        LocationServiceClient::new(
            self.fixture.as_staff(&["inventory.stock.read", "inventory.locations.write"]),
        )
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, by: Duration) {
        self.fixture.clock.advance(by);
    }

    pub(crate) fn now(&self) -> Time {
        self.fixture.clock.now()
    }

    /// Makes another location.
    pub(crate) async fn location(&self, code: &str, priority: i64) -> String {
        let request = CreateLocationRequest {
            request_id: request_id(),
            code: code.into(),
            display_name: format!("The {code} one"),
            priority,
            inactive: false,
        };
        self.planner().create_location(request).await.unwrap().into_inner().location_id
    }

    /// Puts so many on the shelf of the main location.
    pub(crate) async fn stock(&self, sku: &str, on_hand: i64) -> StockLevel {
        self.stock_at(sku, &self.main, on_hand).await
    }

    /// Puts so many on a shelf.
    pub(crate) async fn stock_at(&self, sku: &str, location_id: &str, on_hand: i64) -> StockLevel {
        let request = SetStockRequest {
            request_id: request_id(),
            sku: sku.into(),
            location_id: location_id.into(),
            on_hand,
            ..Default::default()
        };
        self.staff().set_stock(request).await.unwrap().into_inner().level.unwrap()
    }

    /// Says how the main location's level is sold.
    pub(crate) async fn policy(
        &self,
        sku: &str,
        safety: i64,
        backorder_limit: i64,
        reorder_point: i64,
    ) -> StockLevel {
        let request = SetStockPolicyRequest {
            request_id: request_id(),
            sku: sku.into(),
            location_id: self.main.clone(),
            safety,
            backorder_limit,
            reorder_point,
            etag: String::new(),
        };
        self.staff().set_stock_policy(request).await.unwrap().into_inner().level.unwrap()
    }

    /// Everything that is known of an SKU.
    pub(crate) async fn find(&self, sku: &str) -> Stock {
        self.staff().get_stock(GetStockRequest { sku: sku.into() }).await.unwrap().into_inner()
    }

    /// (on hand, reserved, committed) over all locations.
    pub(crate) async fn counts(&self, sku: &str) -> (i64, i64, i64) {
        let stock = self.find(sku).await;
        (stock.on_hand, stock.reserved, stock.committed)
    }

    /// What the public is told.
    pub(crate) async fn available(&self, sku: &str) -> i64 {
        let mut anybody = InventoryServiceClient::new(self.fixture.anonymous());
        let request = BatchGetAvailabilityRequest { skus: vec![sku.into()] };
        anybody.batch_get_availability(request).await.unwrap().into_inner().availabilities[0]
            .available
    }

    /// Takes units for a buyer.
    pub(crate) async fn reserve(&self, lines: &[(&str, i64)]) -> Result<Reservation, Status> {
        self.reserve_as(request_id(), lines).await
    }

    /// Takes units for a buyer, under this request id.
    pub(crate) async fn reserve_as(
        &self,
        request_id: String,
        lines: &[(&str, i64)],
    ) -> Result<Reservation, Status> {
        let response = self.orders().reserve(reserve(request_id, lines)).await?;
        Ok(response.into_inner().reservation.unwrap())
    }

    pub(crate) async fn commit(&self, reservation_id: &str) -> Result<Reservation, Status> {
        let request = CommitReservationRequest {
            request_id: request_id(),
            reservation_id: reservation_id.to_owned(),
        };
        Ok(self.orders().commit_reservation(request).await?.into_inner().reservation.unwrap())
    }

    pub(crate) async fn release(&self, reservation_id: &str) -> Result<Reservation, Status> {
        let request = ReleaseReservationRequest {
            request_id: request_id(),
            reservation_id: reservation_id.to_owned(),
        };
        Ok(self.orders().release_reservation(request).await?.into_inner().reservation.unwrap())
    }

    pub(crate) async fn extend(
        &self,
        reservation_id: &str,
        seconds: i64,
    ) -> Result<Reservation, Status> {
        let request = ExtendReservationRequest {
            request_id: request_id(),
            reservation_id: reservation_id.to_owned(),
            ttl: Some(prost_types::Duration { seconds, nanos: 0 }),
        };
        Ok(self.orders().extend_reservation(request).await?.into_inner().reservation.unwrap())
    }

    /// Ships these units, or everything.
    pub(crate) async fn fulfill(
        &self,
        reservation_id: &str,
        lines: &[(&str, i64)],
    ) -> Result<Reservation, Status> {
        let lines = lines
            .iter()
            .map(|(sku, quantity)| FulfillLine {
                sku: (*sku).into(),
                quantity: *quantity,
                ..Default::default()
            })
            .collect();
        let request = FulfillRequest {
            request_id: request_id(),
            reservation_id: reservation_id.to_owned(),
            lines,
        };
        Ok(self.orders().fulfill(request).await?.into_inner().reservation.unwrap())
    }

    /// Where a reservation stands.
    pub(crate) async fn state(&self, reservation_id: &str) -> ReservationState {
        let request = GetReservationRequest { reservation_id: reservation_id.to_owned() };
        self.orders().get_reservation(request).await.unwrap().into_inner().state()
    }

    /// Returns when a reservation stands there.
    pub(crate) async fn until(&self, reservation_id: &str, state: ReservationState) {
        testkit::eventually(|| async { (self.state(reservation_id).await == state).then_some(()) })
            .await;
    }

    /// The ledger of an SKU, oldest first.
    pub(crate) async fn movements(&self, sku: &str) -> Vec<StockMovement> {
        let request =
            ListMovementsRequest { sku: sku.into(), page_size: 1000, ..Default::default() };
        let mut movements =
            self.staff().list_movements(request).await.unwrap().into_inner().movements;
        movements.reverse();
        movements
    }

    /// What happened to an SKU, in order.
    pub(crate) async fn kinds(&self, sku: &str) -> Vec<MovementKind> {
        self.movements(sku).await.iter().map(StockMovement::kind).collect()
    }

    /// Fails if any level is not the sum of its movements.
    pub(crate) async fn reconcile(&self) {
        let request = ReconcileStockRequest { page_size: 1000, page_token: String::new() };
        let response = self.staff().reconcile_stock(request).await.unwrap().into_inner();
        assert_eq!(response.discrepancies, []);
        assert_eq!(response.next_page_token, "");
    }
}

/// A request for units.
pub(crate) fn reserve(request_id: String, lines: &[(&str, i64)]) -> ReserveRequest {
    ReserveRequest {
        request_id,
        owner: "orders/1".into(),
        lines: lines
            .iter()
            .map(|(sku, quantity)| ReserveLine { sku: (*sku).into(), quantity: *quantity })
            .collect(),
        ttl: None,
    }
}

/// The reason of a refusal.
pub(crate) fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    testkit::reason(&answer.unwrap_err())
}

/// What an `OUT_OF_STOCK` names.
pub(crate) fn short(status: &Status) -> Vec<(String, String)> {
    let fault = Fault::from_status(status);
    assert!(fault.preconditions().iter().all(|found| found.kind == "OUT_OF_STOCK"));
    fault
        .preconditions()
        .iter()
        .map(|found| (found.subject.clone(), found.description.clone()))
        .collect()
}
