//! Orders over a real socket and a real database; its peers are faked.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, and says where")]

#[path = "orders/fakes/mod.rs"]
mod fakes;

#[path = "orders/access.rs"]
mod access;
#[path = "orders/admin.rs"]
mod admin;
#[path = "orders/after.rs"]
mod after;
#[path = "orders/exhaustion.rs"]
mod exhaustion;
#[path = "orders/payment.rs"]
mod payment;
#[path = "orders/place.rs"]
mod place;
#[path = "orders/told.rs"]
mod told;
#[path = "orders/watch.rs"]
mod watch;

use std::time::Duration;

use chassis::saga;
use contracts::{
    orders::v1::{
        AddNoteRequest, BatchGetOrdersRequest, CancelOrderRequest, CancelReason,
        ForceCompensateRequest, FulfillmentLine, FulfillmentStatus, GetOrderRequest,
        GetPlacementRequest, GetSagaRequest, HoldOrderRequest, ListFulfillmentsRequest,
        ListOrderEventsRequest, ListOrdersRequest, ListSagasRequest, Order, OrderEventKind,
        OrderLine, OrderStatus, OrderTotals, OwnerKind, PaymentStatus, PlaceOrderRequest,
        Placement, RecordFulfillmentRequest, RefusalReason, ReleaseHoldRequest,
        ResolveUnknownRequest, ResolvedOutcome, RetryStepRequest, SagaStatus, ShippingSelection,
        SkipStepRequest, WatchOrderRequest, order_service_client::OrderServiceClient,
        placement::Outcome, saga_admin_service_client::SagaAdminServiceClient,
    },
    payments::v1::PaymentIntentStatus,
    values::v1::{Money, PostalAddress},
};
use fakes::{Strike, World};
use orders::{Config, Orders};
use testkit::{As, Fixture, eventually, fields, reason, request_id};
use tonic::Status;

const ALICE: &str = "alice";

struct Shop {
    fixture: Fixture<Orders>,
    world: World,
}

async fn shop() -> Shop {
    shop_with("").await
}

fn config(failpoints: &str) -> Config {
    Config {
        // Whoever asks a service that has stopped need not wait long.
        placement_wait: Duration::from_millis(if failpoints.contains("stop") {
            200
        } else {
            5_000
        }),
        sagas: saga::Settings {
            sweep: Duration::from_millis(20),
            backoff: Duration::from_millis(2),
            failpoints: failpoints.to_owned(),
            ..saga::Settings::default()
        },
        watch_period: Duration::from_millis(10),
        watches_max: 2,
        ..Config::default()
    }
}

/// A shop whose sagas fail at these points.
async fn shop_with(failpoints: &str) -> Shop {
    let world = World::default();
    world.stock.set("mug", 10);
    world.stock.set("tee", 10);
    let fixture = testkit::service::<Orders>()
        .config(config(failpoints))
        .peer("inventory", world.inventory())
        .peer("payments", world.payments())
        .start()
        .await;
    Shop { fixture, world }
}

fn eur(minor_units: i64) -> Option<Money> {
    Some(Money { currency_code: "EUR".to_owned(), minor_units })
}

fn line(sku: &str, quantity: i64, unit: i64) -> OrderLine {
    let subtotal = unit * quantity;
    // 21 %, half to even; the tests' prices leave no half.
    let tax = (subtotal * 21 + 50) / 100;
    OrderLine {
        sku: sku.to_owned(),
        title: format!("A {sku}"),
        quantity,
        unit_price: eur(unit),
        subtotal: eur(subtotal),
        tax_rate_micros: 210_000,
        tax: eur(tax),
        total: eur(subtotal + tax),
        ..OrderLine::default()
    }
}

fn minor(amount: &Option<Money>) -> i64 {
    amount.as_ref().unwrap().minor_units
}

fn purchase(lines: Vec<OrderLine>, payment_method: &str) -> PlaceOrderRequest {
    let subtotal: i64 = lines.iter().map(|line| minor(&line.subtotal)).sum();
    let tax: i64 = lines.iter().map(|line| minor(&line.tax)).sum();
    let (shipping, shipping_tax) = (500, 105);
    PlaceOrderRequest {
        request_id: request_id(),
        placement_id: request_id(),
        checkout_id: request_id(),
        owner_id: ALICE.to_owned(),
        owner_kind: OwnerKind::Customer.into(),
        email: "alice@example.com".to_owned(),
        lines,
        totals: Some(OrderTotals {
            subtotal: eur(subtotal),
            shipping: eur(shipping),
            tax: eur(tax + shipping_tax),
            total: eur(subtotal + shipping + tax + shipping_tax),
        }),
        shipping_address: Some(PostalAddress {
            recipient: "Alice".to_owned(),
            address_lines: vec!["Calle Mayor 1".to_owned()],
            locality: "Madrid".to_owned(),
            postal_code: "28013".to_owned(),
            region_code: "ES".to_owned(),
            ..PostalAddress::default()
        }),
        shipping: Some(ShippingSelection {
            shipping_option_id: "standard".to_owned(),
            title: "Standard".to_owned(),
            price: eur(shipping),
            tax_rate_micros: 210_000,
            tax: eur(shipping_tax),
        }),
        payment_method: payment_method.to_owned(),
        return_uri: "https://shop.example/back".to_owned(),
        ..PlaceOrderRequest::default()
    }
}

fn mugs(payment_method: &str) -> PlaceOrderRequest {
    purchase(vec![line("mug", 2, 1_000), line("tee", 1, 2_000)], payment_method)
}

impl Shop {
    fn storefront(&self) -> OrderServiceClient<As> {
        OrderServiceClient::new(self.fixture.as_service("storefront"))
    }

    fn alice(&self) -> OrderServiceClient<As> {
        OrderServiceClient::new(self.fixture.as_customer(ALICE))
    }

    fn staff(&self) -> OrderServiceClient<As> {
        let all = ["orders.orders.read", "orders.orders.write", "orders.fulfillments.write"];
        OrderServiceClient::new(self.fixture.as_staff(&all))
    }

    fn admin(&self) -> SagaAdminServiceClient<As> {
        SagaAdminServiceClient::new(self.fixture.as_staff(&["orders.sagas.admin"]))
    }

    async fn place(&self, request: PlaceOrderRequest) -> Placement {
        self.try_place(request).await.unwrap()
    }

    async fn try_place(&self, request: PlaceOrderRequest) -> Result<Placement, Status> {
        Ok(self.storefront().place_order(request).await?.into_inner().placement.unwrap())
    }

    async fn order(&self, order_id: &str) -> Order {
        let request = GetOrderRequest { order_id: order_id.to_owned() };
        self.staff().get_order(request).await.unwrap().into_inner()
    }

    async fn until(&self, order_id: &str, is: impl Fn(&Order) -> bool) -> Order {
        eventually(|| async {
            let order = self.order(order_id).await;
            is(&order).then_some(order)
        })
        .await
    }

    /// An order that is confirmed and paid.
    async fn sold(&self) -> Order {
        let placement = self.place(mugs("ok")).await;
        let id = confirmed(&placement).order_id.clone();
        self.until(&id, |order| order.payment_status() == PaymentStatus::Captured).await
    }

    async fn placement(&self, placement_id: &str) -> Placement {
        let request = GetPlacementRequest { placement_id: placement_id.to_owned() };
        self.storefront().get_placement(request).await.unwrap().into_inner()
    }

    async fn ended(&self, placement_id: &str) -> Placement {
        eventually(|| async {
            let placement = self.placement(placement_id).await;
            matches!(placement.outcome, Some(Outcome::Order(_) | Outcome::Refusal(_)))
                .then_some(placement)
        })
        .await
    }

    async fn saga_over(&self, saga_id: &str) -> SagaStatus {
        eventually(|| async {
            let request = GetSagaRequest { saga_id: saga_id.to_owned() };
            let status = self.admin().get_saga(request).await.ok()?.into_inner().status();
            matches!(status, SagaStatus::Done | SagaStatus::Compensated | SagaStatus::Failed)
                .then_some(status)
        })
        .await
    }

    async fn timeline(&self, order_id: &str) -> Vec<OrderEventKind> {
        let request =
            ListOrderEventsRequest { order_id: order_id.to_owned(), ..Default::default() };
        let events = self.staff().list_order_events(request).await.unwrap().into_inner().events;
        events.iter().map(contracts::orders::v1::OrderEvent::kind).collect()
    }
}

fn confirmed(placement: &Placement) -> &Order {
    match &placement.outcome {
        Some(Outcome::Order(order)) => order,
        other => panic!("no order: {other:?}"),
    }
}

fn refused(placement: &Placement) -> RefusalReason {
    match &placement.outcome {
        Some(Outcome::Refusal(refusal)) => refusal.reason(),
        other => panic!("no refusal: {other:?}"),
    }
}

fn unavailable() -> Status {
    chassis::Fault::unavailable(contracts::mesh::v1::ErrorReason::Unavailable).into()
}

fn cancellation(order: &Order) -> CancelOrderRequest {
    CancelOrderRequest {
        request_id: request_id(),
        order_id: order.order_id.clone(),
        ..Default::default()
    }
}

fn parcel(order: &Order, lines: &[(&str, i64)]) -> RecordFulfillmentRequest {
    RecordFulfillmentRequest {
        request_id: request_id(),
        order_id: order.order_id.clone(),
        lines: lines
            .iter()
            .map(|(sku, quantity)| FulfillmentLine { sku: (*sku).to_owned(), quantity: *quantity })
            .collect(),
        carrier: "DHL".to_owned(),
        tracking_number: "JD0001".to_owned(),
        etag: String::new(),
    }
}
