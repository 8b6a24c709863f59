//! Orders over a real socket and a real database; its peers are faked.

mod fakes;

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
        SkipStepRequest, order_service_client::OrderServiceClient, placement::Outcome,
        saga_admin_service_client::SagaAdminServiceClient,
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

// ---- placing ----

#[tokio::test]
async fn a_purchase_reserves_pays_commits_and_captures() {
    let shop = shop().await;
    let placement = shop.place(mugs("ok")).await;

    let order = confirmed(&placement);
    assert_eq!(order.status(), OrderStatus::Confirmed);
    assert_eq!(order.payment_status(), PaymentStatus::Authorized);
    assert!(order.number.starts_with('M'));
    assert_eq!(minor(&order.totals.as_ref().unwrap().total), 4_000 + 840 + 605);

    let order = shop
        .until(&order.order_id, |order| order.payment_status() == PaymentStatus::Captured)
        .await;
    assert_eq!(shop.world.payments.captures(), 1);
    assert_eq!(shop.world.stock.free("mug"), 8);
    assert_eq!(order.lines.len(), 2);
    assert_eq!(order.shipping_address.unwrap().locality, "Madrid");
    let kinds = shop.timeline(&order.order_id).await;
    assert_eq!(
        kinds,
        [OrderEventKind::Created, OrderEventKind::Confirmed, OrderEventKind::PaymentCaptured]
    );
}

#[tokio::test]
async fn a_purchase_that_costs_nothing_needs_no_payment() {
    let shop = shop().await;
    let mut request = purchase(vec![line("mug", 1, 0)], "ok");
    request.shipping = None;
    request.totals =
        Some(OrderTotals { subtotal: eur(0), shipping: eur(0), tax: eur(0), total: eur(0) });
    let order = confirmed(&shop.place(request).await).clone();
    assert_eq!(order.payment_status(), PaymentStatus::None);
    assert_eq!(shop.saga_over(&order.order_id).await, SagaStatus::Done);
    assert_eq!(shop.world.payments.intents(), 0);
}

#[tokio::test]
async fn too_little_stock_refuses_and_names_each_short_line() {
    let shop = shop().await;
    shop.world.stock.set("mug", 1);
    shop.world.stock.set("tee", 0);
    let placement = shop.place(mugs("ok")).await;

    let Some(Outcome::Refusal(refusal)) = &placement.outcome else { panic!("{placement:?}") };
    assert_eq!(refusal.reason(), RefusalReason::OutOfStock);
    let short: Vec<_> = refusal.violations.iter().map(|short| short.subject.as_str()).collect();
    assert_eq!(short, ["mug", "tee"]);
    assert_eq!(refusal.violations[0].description, "1 are available");
    let order = shop.order(&placement.order_id).await;
    assert_eq!(order.status(), OrderStatus::Cancelled);
    assert_eq!(order.cancel_reason(), CancelReason::OutOfStock);
    assert!(shop.world.is_clean());
}

#[tokio::test]
async fn a_declined_payment_gives_the_stock_back() {
    for method in ["declined", "nonsense"] {
        let shop = shop().await;
        let placement = shop.place(mugs(method)).await;
        assert_eq!(refused(&placement), RefusalReason::PaymentDeclined, "{method}");
        assert_eq!(shop.world.stock.free("mug"), 10);
        assert!(shop.world.is_clean());
    }
}

#[tokio::test]
async fn a_payment_of_another_amount_is_let_go() {
    let shop = shop().await;
    assert_eq!(refused(&shop.place(mugs("conflicted")).await), RefusalReason::Failed);
    assert!(shop.world.is_clean());
}

#[tokio::test]
async fn a_refused_checkout_may_be_placed_again() {
    let shop = shop().await;
    let first = mugs("declined");
    assert_eq!(refused(&shop.place(first.clone()).await), RefusalReason::PaymentDeclined);
    let again =
        PlaceOrderRequest { placement_id: request_id(), payment_method: "ok".to_owned(), ..first };
    confirmed(&shop.place(again).await);
}

#[tokio::test]
async fn the_same_placement_sent_twice_is_one_order_and_the_same_bytes() {
    let shop = shop().await;
    let request = mugs("ok");
    let first = shop.place(request.clone()).await;
    shop.until(&first.order_id, |order| order.payment_status() == PaymentStatus::Captured).await;
    let again = PlaceOrderRequest { request_id: request_id(), ..request.clone() };
    assert_eq!(shop.place(again).await, first);
    assert_eq!(shop.placement(&first.placement_id).await, first);
    assert_eq!(shop.world.payments.intents(), 1);

    let other = PlaceOrderRequest { email: "mallory@example.com".to_owned(), ..request };
    let error = shop.try_place(other).await.unwrap_err();
    assert_eq!(reason(&error), "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test]
async fn one_placement_raced_is_one_order() {
    let shop = shop().await;
    let request = mugs("ok");
    let calls = (0..8).map(|_| shop.try_place(request.clone()));
    let answers = futures_util::future::join_all(calls).await;
    let first = answers[0].as_ref().unwrap();
    for answer in &answers {
        assert_eq!(answer.as_ref().unwrap(), first);
    }
    assert_eq!(shop.world.payments.intents(), 1);
    assert_eq!(shop.world.stock.free("mug"), 8);
}

#[tokio::test]
async fn two_placements_of_one_checkout_are_one_order() {
    let shop = shop().await;
    let request = mugs("ok");
    let calls = (0..6).map(|_| {
        shop.try_place(PlaceOrderRequest { placement_id: request_id(), ..request.clone() })
    });
    let answers = futures_util::future::join_all(calls).await;
    let orders: std::collections::BTreeSet<_> =
        answers.iter().map(|answer| confirmed(answer.as_ref().unwrap()).order_id.clone()).collect();
    assert_eq!(orders.len(), 1, "{orders:?}");
    assert_eq!(shop.world.payments.intents(), 1);
    assert_eq!(shop.world.stock.free("mug"), 8);

    let late = shop.place(PlaceOrderRequest { placement_id: request_id(), ..request }).await;
    assert!(orders.contains(&confirmed(&late).order_id), "who comes late sees the winner's result");
}

#[tokio::test]
async fn amounts_that_do_not_add_up_are_refused_by_name() {
    let shop = shop().await;
    let mut wrong_total = mugs("ok");
    wrong_total.totals.as_mut().unwrap().total = eur(1);
    let error = shop.try_place(wrong_total).await.unwrap_err();
    assert_eq!(
        (reason(&error).as_str(), fields(&error)),
        ("TOTALS_MISMATCH", vec!["totals.total".to_owned()])
    );

    let mut wrong_line = mugs("ok");
    wrong_line.lines[1].tax = eur(419);
    let error = shop.try_place(wrong_line).await.unwrap_err();
    assert_eq!(
        (reason(&error).as_str(), fields(&error)),
        ("TOTALS_MISMATCH", vec!["lines[1].tax".to_owned()])
    );

    let mut two_currencies = mugs("ok");
    two_currencies.lines[0].unit_price =
        Some(Money { currency_code: "USD".to_owned(), minor_units: 1_000 });
    let error = shop.try_place(two_currencies).await.unwrap_err();
    assert_eq!(reason(&error), "CURRENCY_MISMATCH");

    let error = shop
        .try_place(purchase(vec![line("mug", 1, 100), line("mug", 1, 100)], "ok"))
        .await
        .unwrap_err();
    assert_eq!(
        (reason(&error).as_str(), fields(&error)),
        ("LINE_DUPLICATED", vec!["lines[1].sku".to_owned()])
    );

    let mut huge = purchase(vec![line("mug", 1, 100)], "ok");
    huge.lines[0].quantity = 1_000_000;
    huge.lines[0].unit_price = eur(i64::MAX / 2);
    assert_eq!(reason(&shop.try_place(huge).await.unwrap_err()), "MONEY_INVALID");
    assert_eq!(shop.world.stock.free("mug"), 10);
}

#[tokio::test]
async fn only_the_storefront_places_orders() {
    let shop = shop().await;
    for caller in [shop.fixture.as_customer(ALICE), shop.fixture.as_service("payments")] {
        let error = OrderServiceClient::new(caller).place_order(mugs("ok")).await.unwrap_err();
        assert_eq!(reason(&error), "ACCESS_DENIED");
    }
    let request = GetPlacementRequest { placement_id: request_id() };
    let error = shop.storefront().get_placement(request).await.unwrap_err();
    assert_eq!(reason(&error), "PLACEMENT_NOT_FOUND");
}

// ---- payments that take their time ----

#[tokio::test]
async fn a_challenge_parks_the_purchase_and_the_event_wakes_it() {
    let shop = shop().await;
    let placement = shop.place(mugs("3ds")).await;
    let Some(Outcome::NextAction(action)) = &placement.outcome else { panic!("{placement:?}") };
    assert_eq!(action.redirect_uri, "https://bank.example/challenge");
    assert!(action.expire_time.is_some());
    assert_eq!(shop.order(&placement.order_id).await.status(), OrderStatus::Pending);
    assert_eq!(shop.world.stock.extended(), 1, "the stock waits with the customer");

    shop.world.payments.settle(&placement.order_id, PaymentIntentStatus::RequiresCapture);
    let ended = shop.ended(&placement.placement_id).await;
    assert_eq!(confirmed(&ended).order_id, placement.order_id);
    assert!(shop.timeline(&placement.order_id).await.contains(&OrderEventKind::ActionRequired));
}

#[tokio::test]
async fn a_challenge_that_fails_refuses() {
    let shop = shop().await;
    let placement = shop.place(mugs("3ds")).await;
    shop.world.payments.settle(&placement.order_id, PaymentIntentStatus::RequiresPaymentMethod);
    assert_eq!(refused(&shop.ended(&placement.placement_id).await), RefusalReason::PaymentDeclined);
    assert!(shop.world.is_clean());
}

#[tokio::test]
async fn a_challenge_that_nobody_answers_expires() {
    let shop = shop().await;
    let placement = shop.place(mugs("3ds")).await;
    shop.fixture.clock.advance(Duration::from_secs(16 * 60));
    let ended = shop.ended(&placement.placement_id).await;
    assert_eq!(refused(&ended), RefusalReason::Expired);
    assert_eq!(shop.order(&placement.order_id).await.cancel_reason(), CancelReason::Expired);
    assert!(shop.world.is_clean());
}

#[tokio::test]
async fn an_unknown_payment_is_pending_until_the_provider_says() {
    for (truth, good) in [
        (PaymentIntentStatus::RequiresCapture, true),
        (PaymentIntentStatus::RequiresPaymentMethod, false),
    ] {
        let shop = shop().await;
        let placement = shop.place(mugs("unknown")).await;
        assert!(matches!(placement.outcome, Some(Outcome::Pending(_))), "{placement:?}");
        assert_eq!(shop.world.stock.held().len(), 1, "nothing is taken back on a guess");

        shop.world.payments.truth(truth);
        shop.fixture.clock.advance(Duration::from_secs(10));
        let ended = shop.ended(&placement.placement_id).await;
        assert_eq!(matches!(ended.outcome, Some(Outcome::Order(_))), good);
        assert_eq!(shop.world.is_clean(), !good);
    }
}

#[tokio::test]
async fn an_unknown_payment_outlives_the_deadline_until_it_can_be_voided() {
    let shop = shop().await;
    let placement = shop.place(mugs("unknown")).await;
    shop.fixture.clock.advance(Duration::from_secs(16 * 60));
    let saga = GetSagaRequest { saga_id: placement.order_id.clone() };
    eventually(|| async {
        let found = shop.admin().get_saga(saga.clone()).await.unwrap().into_inner();
        (found.status() == SagaStatus::Compensating && found.attempts > 1).then_some(())
    })
    .await;
    assert_eq!(
        shop.order(&placement.order_id).await.status(),
        OrderStatus::Pending,
        "the money is not known to be free"
    );

    shop.world.payments.truth(PaymentIntentStatus::RequiresCapture);
    shop.fixture.clock.advance(Duration::from_secs(120));
    assert_eq!(refused(&shop.ended(&placement.placement_id).await), RefusalReason::Expired);
    assert!(shop.world.is_clean());
}

#[tokio::test]
async fn a_payment_in_progress_is_pending_and_the_late_event_settles_it() {
    let shop = shop().await;
    let placement = shop.place(mugs("processing")).await;
    assert!(matches!(placement.outcome, Some(Outcome::Pending(_))), "{placement:?}");
    shop.world.payments.settle(&placement.order_id, PaymentIntentStatus::RequiresCapture);
    confirmed(&shop.ended(&placement.placement_id).await);
}

#[tokio::test]
async fn stock_that_expired_during_the_payment_is_reserved_once_more() {
    let shop = shop().await;
    let placement = shop.place(mugs("3ds")).await;
    shop.world.stock.expire_all();
    shop.world.payments.settle(&placement.order_id, PaymentIntentStatus::RequiresCapture);
    confirmed(&shop.ended(&placement.placement_id).await);
    assert_eq!(shop.world.stock.free("mug"), 8);
}

#[tokio::test]
async fn stock_that_was_sold_during_the_payment_refuses_without_a_capture() {
    let shop = shop().await;
    let placement = shop.place(mugs("3ds")).await;
    shop.world.stock.expire_all();
    shop.world.stock.set("mug", 0);
    shop.world.payments.settle(&placement.order_id, PaymentIntentStatus::RequiresCapture);
    assert_eq!(refused(&shop.ended(&placement.placement_id).await), RefusalReason::OutOfStock);
    assert_eq!(shop.world.payments.captures(), 0);
    assert!(shop.world.is_clean());
}

// ---- exhaustion ----

const CALLS: [(&str, &str); 4] =
    [("stock", "reserve"), ("payments", "create"), ("stock", "commit"), ("payments", "capture")];

#[tokio::test]
async fn every_call_may_fail_or_lose_its_answer() {
    for (peer, method) in CALLS {
        for strike in [Strike::Before, Strike::After] {
            let shop = shop().await;
            match peer {
                "stock" => shop.world.stock.fail(method, strike, unavailable()),
                _ => shop.world.payments.fail(method, strike, unavailable()),
            }
            let order = confirmed(&shop.place(mugs("ok")).await).clone();
            assert_eq!(
                shop.saga_over(&order.order_id).await,
                SagaStatus::Done,
                "{method} {strike:?}"
            );
            assert_eq!(shop.world.stock.free("mug"), 8, "{method} {strike:?}");
            assert_eq!(
                (shop.world.payments.intents(), shop.world.payments.captures()),
                (1, 1),
                "{method} {strike:?}"
            );
        }
    }
}

#[tokio::test]
async fn every_undo_may_fail_or_lose_its_answer() {
    for method in ["release", "list_reservations", "cancel"] {
        for strike in [Strike::Before, Strike::After] {
            let shop = shop_with("place_order.commit_reservation.act.after=refuse").await;
            shop.world.stock.fail(method, strike, unavailable());
            shop.world.payments.fail(method, strike, unavailable());
            let placement = shop.ended(&shop.place(mugs("ok")).await.placement_id).await;
            assert_eq!(refused(&placement), RefusalReason::Failed, "{method} {strike:?}");
            assert!(shop.world.is_clean(), "{method} {strike:?}");
        }
    }
}

const FORWARD: [&str; 5] = [
    "reserve_stock",
    "authorize_payment",
    "commit_reservation",
    "confirm_order",
    "capture_payment",
];
const BACKWARD: [&str; 4] =
    ["commit_reservation", "authorize_payment", "reserve_stock", "create_order"];

#[tokio::test]
async fn a_step_that_refuses_before_the_sale_is_final_leaves_nothing() {
    for step in &FORWARD[..3] {
        for phase in ["before", "after"] {
            let shop = shop_with(&format!("place_order.{step}.act.{phase}=refuse")).await;
            let placement = shop.place(mugs("ok")).await;
            assert_eq!(refused(&placement), RefusalReason::Failed, "{step} {phase}");
            assert_eq!(shop.order(&placement.order_id).await.status(), OrderStatus::Cancelled);
            assert!(shop.world.is_clean(), "{step} {phase}");
        }
    }
}

#[tokio::test]
async fn every_action_and_every_undo_may_happen_twice() {
    for step in FORWARD {
        let shop = shop_with(&format!("place_order.{step}.act.before=twice")).await;
        let order = confirmed(&shop.place(mugs("ok")).await).clone();
        assert_eq!(shop.saga_over(&order.order_id).await, SagaStatus::Done, "{step}");
        assert_eq!(shop.world.stock.free("mug"), 8, "{step}");
        assert_eq!(
            (shop.world.payments.intents(), shop.world.payments.captures()),
            (1, 1),
            "{step}"
        );
    }
    for step in BACKWARD {
        let points = format!(
            "place_order.commit_reservation.act.after=refuse;place_order.{step}.undo.before=twice"
        );
        let shop = shop_with(&points).await;
        assert_eq!(refused(&shop.place(mugs("ok")).await), RefusalReason::Failed, "{step}");
        assert!(shop.world.is_clean(), "{step}");
    }
}

#[tokio::test]
async fn a_process_that_stops_at_any_point_recovers_when_it_starts_again() {
    let forward = FORWARD.map(|step| format!("place_order.{step}.act"));
    let backward = BACKWARD.map(|step| format!("place_order.{step}.undo"));
    let mut points = 0;
    for at in forward.iter().chain(&backward) {
        for phase in ["before", "after", "saved"] {
            points += 1;
            let undo = if at.ends_with("undo") {
                "place_order.commit_reservation.act.after=refuse:1;"
            } else {
                ""
            };
            let mut shop = shop_with(&format!("{undo}{at}.{phase}=stop:1")).await;
            let request = mugs("ok");
            let placement_id = request.placement_id.clone();
            shop.place(request).await;
            shop.fixture.configure(config(""));
            shop.fixture.restart().await;
            // On PostgreSQL the lease of the one that is gone has to end.
            shop.fixture.clock.advance(Duration::from_secs(25));

            let ended = shop.ended(&placement_id).await;
            match ended.outcome {
                Some(Outcome::Order(order)) => {
                    assert_eq!(
                        shop.saga_over(&order.order_id).await,
                        SagaStatus::Done,
                        "{at}.{phase}"
                    );
                    assert_eq!(shop.world.stock.free("mug"), 8, "{at}.{phase}");
                    let payments = &shop.world.payments;
                    assert_eq!((payments.intents(), payments.captures()), (1, 1), "{at}.{phase}");
                }
                _ => {
                    assert!(at.ends_with("undo"), "{at}.{phase}");
                    assert!(shop.world.is_clean(), "{at}.{phase}");
                }
            }
        }
    }
    assert_eq!(points, 27);
}

// ---- after the sale ----

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

#[tokio::test]
async fn a_cancelled_order_gives_stock_and_money_back() {
    let shop = shop().await;
    let order = shop.sold().await;
    let request = cancellation(&order);
    let cancelled = shop.alice().cancel_order(request.clone()).await.unwrap().into_inner();
    assert_eq!(cancelled.status(), OrderStatus::Cancelled);
    assert_eq!(cancelled.cancel_reason(), CancelReason::Customer);
    let again = shop.alice().cancel_order(request).await.unwrap();
    assert_eq!(again.metadata().get("idempotent-replayed").unwrap(), "true");
    assert_eq!(again.into_inner(), cancelled, "the same bytes");

    let order = shop
        .until(&order.order_id, |order| order.payment_status() == PaymentStatus::Refunded)
        .await;
    eventually(|| async { shop.world.is_clean().then_some(()) }).await;
    assert_eq!(shop.world.payments.refunds(), 1);
    assert_eq!(shop.world.stock.free("mug"), 10);
    // Cancelling what is cancelled changes nothing.
    let same = shop.staff().cancel_order(cancellation(&order)).await.unwrap().into_inner();
    assert_eq!(same.etag, order.etag);
}

#[tokio::test]
async fn an_order_cancelled_before_its_capture_is_voided() {
    // The capture is held up until the cancellation is through.
    let shop = shop().await;
    for _ in 0..5 {
        shop.world.payments.fail("capture", Strike::Before, unavailable());
    }
    let order = confirmed(&shop.place(mugs("ok")).await).clone();
    let request = CancelOrderRequest { reason: CancelReason::Fraud.into(), ..cancellation(&order) };
    let cancelled = shop.staff().cancel_order(request).await.unwrap().into_inner();
    assert_eq!(cancelled.cancel_reason(), CancelReason::Fraud);
    let gone = |order: &Order| {
        matches!(order.payment_status(), PaymentStatus::Voided | PaymentStatus::Refunded)
    };
    shop.until(&order.order_id, gone).await;
    assert_eq!(shop.saga_over(&order.order_id).await, SagaStatus::Done);
    eventually(|| async { shop.world.is_clean().then_some(()) }).await;
}

#[tokio::test]
async fn every_step_of_a_cancellation_may_fail_or_happen_twice() {
    for step in ["release_stock", "release_payment"] {
        for how in ["act.before=error:1", "act.after=error:1", "act.before=twice"] {
            let shop = shop_with(&format!("cancel_order.{step}.{how}")).await;
            let order = shop.sold().await;
            shop.alice().cancel_order(cancellation(&order)).await.unwrap();
            shop.until(&order.order_id, |order| order.payment_status() == PaymentStatus::Refunded)
                .await;
            assert!(shop.world.is_clean(), "{step} {how}");
            assert_eq!(shop.world.payments.refunds(), 1, "{step} {how}");
        }
    }
}

#[tokio::test]
async fn a_placement_that_waits_can_be_called_off() {
    let shop = shop().await;
    let placement = shop.place(mugs("3ds")).await;
    let order = shop.order(&placement.order_id).await;
    let asked = shop.alice().cancel_order(cancellation(&order)).await.unwrap().into_inner();
    assert_eq!(asked.status(), OrderStatus::Pending);
    assert!(asked.cancel_request_time.is_some());

    assert_eq!(refused(&shop.ended(&placement.placement_id).await), RefusalReason::Cancelled);
    let order = shop.order(&placement.order_id).await;
    assert_eq!(
        (order.status(), order.cancel_reason()),
        (OrderStatus::Cancelled, CancelReason::Customer)
    );
    assert!(shop.world.is_clean());
}

#[tokio::test]
async fn parcels_leave_until_the_order_is_complete() {
    let shop = shop().await;
    let order = shop.sold().await;
    let first = parcel(&order, &[("mug", 1)]);
    let answer = shop.staff().record_fulfillment(first.clone()).await.unwrap().into_inner();
    let shipped = answer.order.clone().unwrap();
    assert_eq!(shipped.fulfillment_status(), FulfillmentStatus::PartiallyShipped);
    assert_eq!(shipped.lines[0].shipped_quantity, 1);
    assert_eq!(
        shop.staff().record_fulfillment(first).await.unwrap().into_inner(),
        answer,
        "sent twice, shipped once"
    );

    let error = shop.alice().cancel_order(cancellation(&order)).await.unwrap_err();
    assert_eq!(reason(&error), "ORDER_SHIPPED");

    let rest = shop.staff().record_fulfillment(parcel(&order, &[])).await.unwrap().into_inner();
    let order = rest.order.unwrap();
    assert_eq!(order.fulfillment_status(), FulfillmentStatus::Shipped);
    assert_eq!(order.status(), OrderStatus::Completed);
    let request = ListFulfillmentsRequest {
        order_id: order.order_id.clone(),
        page_size: 1,
        ..Default::default()
    };
    let page = shop.alice().list_fulfillments(request.clone()).await.unwrap().into_inner();
    assert_eq!(page.fulfillments.len(), 1);
    let next = ListFulfillmentsRequest { page_token: page.next_page_token, ..request };
    let page = shop.alice().list_fulfillments(next).await.unwrap().into_inner();
    assert_eq!((page.fulfillments.len(), page.next_page_token.as_str()), (1, ""));
    assert!(
        shop.timeline(&order.order_id)
            .await
            .ends_with(&[OrderEventKind::Shipped, OrderEventKind::Completed])
    );
}

#[tokio::test]
async fn a_parcel_of_what_was_not_bought_is_refused() {
    let shop = shop().await;
    let order = shop.sold().await;
    let mut staff = shop.staff();
    let cases = [
        (parcel(&order, &[("cap", 1)]), "LINE_UNKNOWN"),
        (parcel(&order, &[("mug", 3)]), "QUANTITY_EXCEEDED"),
        (parcel(&order, &[("mug", 1), ("mug", 1)]), "LINE_DUPLICATED"),
        (
            RecordFulfillmentRequest { etag: "v0".to_owned(), ..parcel(&order, &[]) },
            "ETAG_MISMATCH",
        ),
        (
            RecordFulfillmentRequest { order_id: request_id(), ..parcel(&order, &[]) },
            "ORDER_NOT_FOUND",
        ),
    ];
    for (request, expected) in cases {
        assert_eq!(reason(&staff.record_fulfillment(request).await.unwrap_err()), expected);
    }
    staff.record_fulfillment(parcel(&order, &[])).await.unwrap();
    let again = staff.record_fulfillment(parcel(&order, &[])).await.unwrap_err();
    assert_eq!(
        reason(&again),
        "ORDER_STATE_INVALID",
        "everything has left and the order is complete"
    );
}

#[tokio::test]
async fn units_that_inventory_keeps_are_to_ship_again() {
    let shop = shop().await;
    let order = shop.sold().await;
    let refusal = chassis::Fault::failed_precondition(
        contracts::inventory::v1::ErrorReason::StockInsufficient,
    );
    shop.world.stock.fail("fulfill", Strike::Before, refusal.into());
    let request = parcel(&order, &[("mug", 2)]);
    for _ in 0..2 {
        let error = shop.staff().record_fulfillment(request.clone()).await.unwrap_err();
        assert_eq!(reason(&error), "FULFILLMENT_REFUSED");
    }
    shop.staff().record_fulfillment(parcel(&order, &[("mug", 2)])).await.unwrap();
}

#[tokio::test]
async fn a_parcel_whose_answer_is_lost_is_asked_for_again() {
    let shop = shop_with("fulfill_order.take_from_stock.act.after=stop:1").await;
    let order = shop.sold().await;
    let request = parcel(&order, &[("mug", 1)]);
    let mut call = tonic::Request::new(request.clone());
    call.set_timeout(Duration::from_millis(600));
    let error = shop.staff().record_fulfillment(call).await.unwrap_err();
    assert_eq!(reason(&error), "FULFILLMENT_PENDING");

    let mut shop = shop;
    shop.fixture.configure(config(""));
    shop.fixture.restart().await;
    shop.fixture.clock.advance(Duration::from_secs(25));
    let answer = shop.staff().record_fulfillment(request).await.unwrap().into_inner();
    assert_eq!(answer.order.unwrap().lines[0].shipped_quantity, 1);
}

#[tokio::test]
async fn every_step_of_a_parcel_may_fail_or_happen_twice() {
    for step in ["take_from_stock", "record"] {
        for how in ["act.before=error:1", "act.after=error:1", "act.before=twice"] {
            let shop = shop_with(&format!("fulfill_order.{step}.{how}")).await;
            let order = shop.sold().await;
            let answer =
                shop.staff().record_fulfillment(parcel(&order, &[])).await.unwrap().into_inner();
            assert_eq!(answer.order.unwrap().status(), OrderStatus::Completed, "{step} {how}");
        }
    }
}

#[tokio::test]
async fn an_order_on_hold_is_not_shipped_until_it_is_released() {
    let shop = shop().await;
    let order = shop.sold().await;
    let mut staff = shop.staff();
    let hold = HoldOrderRequest {
        order_id: order.order_id.clone(),
        note: "call the customer".to_owned(),
        etag: order.etag.clone(),
        ..Default::default()
    };
    let held = staff.hold_order(hold.clone()).await.unwrap().into_inner();
    assert_eq!(held.status(), OrderStatus::OnHold);
    assert_eq!(reason(&staff.hold_order(hold).await.unwrap_err()), "ETAG_MISMATCH");
    assert_eq!(
        reason(&staff.record_fulfillment(parcel(&order, &[])).await.unwrap_err()),
        "ORDER_STATE_INVALID"
    );

    let release = ReleaseHoldRequest { order_id: order.order_id.clone(), ..Default::default() };
    let released = staff.release_hold(release.clone()).await.unwrap().into_inner();
    assert_eq!(released.status(), OrderStatus::Confirmed);
    let same = staff.release_hold(release.clone()).await.unwrap().into_inner();
    assert_eq!(same.etag, released.etag, "an order that is not on hold is answered as it is");
    staff.record_fulfillment(parcel(&order, &[])).await.unwrap();
    assert_eq!(reason(&staff.release_hold(release).await.unwrap_err()), "ORDER_STATE_INVALID");
}

#[tokio::test]
async fn a_refund_outside_of_any_saga_is_in_the_books() {
    let shop = shop().await;
    let order = shop.sold().await;
    let total = minor(&order.totals.as_ref().unwrap().total);
    shop.world.payments.refund(&order.order_id, 1_000);
    shop.until(&order.order_id, |order| order.payment_status() == PaymentStatus::PartiallyRefunded)
        .await;
    shop.world.payments.refund(&order.order_id, total - 1_000);
    shop.until(&order.order_id, |order| order.payment_status() == PaymentStatus::Refunded).await;
}

#[tokio::test]
async fn notes_are_for_staff_unless_they_say_otherwise() {
    let shop = shop().await;
    let order = shop.sold().await;
    let note = |text: &str, customer_visible| AddNoteRequest {
        request_id: request_id(),
        order_id: order.order_id.clone(),
        text: text.to_owned(),
        customer_visible,
    };
    let secret = note("pays late", false);
    let first = shop.staff().add_note(secret.clone()).await.unwrap().into_inner();
    assert_eq!(
        shop.staff().add_note(secret).await.unwrap().into_inner(),
        first,
        "sent twice, written once"
    );
    shop.staff().add_note(note("it is on its way", true)).await.unwrap();

    let request = ListOrderEventsRequest { order_id: order.order_id.clone(), ..Default::default() };
    let seen = shop.alice().list_order_events(request.clone()).await.unwrap().into_inner().events;
    let notes: Vec<_> = seen
        .iter()
        .filter(|event| event.kind() == OrderEventKind::Note)
        .map(|event| event.message.as_str())
        .collect();
    assert_eq!(notes, ["it is on its way"]);
    let all = shop.staff().list_order_events(request).await.unwrap().into_inner().events;
    assert_eq!(all.len(), seen.len() + 1);
    let gone = AddNoteRequest { order_id: request_id(), ..note("x", true) };
    assert_eq!(reason(&shop.staff().add_note(gone).await.unwrap_err()), "ORDER_NOT_FOUND");
}

// ---- who may see what ----

#[tokio::test]
async fn anothers_order_is_answered_as_one_that_does_not_exist() {
    let shop = shop().await;
    let order = shop.sold().await;
    let mut mallory = OrderServiceClient::new(shop.fixture.as_customer("mallory"));
    for order_id in [order.order_id.clone(), request_id()] {
        let get = GetOrderRequest { order_id: order_id.clone() };
        assert_eq!(reason(&mallory.get_order(get).await.unwrap_err()), "ORDER_NOT_FOUND");
        let events = ListOrderEventsRequest { order_id: order_id.clone(), ..Default::default() };
        assert_eq!(
            reason(&mallory.list_order_events(events).await.unwrap_err()),
            "ORDER_NOT_FOUND"
        );
        let parcels = ListFulfillmentsRequest { order_id: order_id.clone(), ..Default::default() };
        assert_eq!(
            reason(&mallory.list_fulfillments(parcels).await.unwrap_err()),
            "ORDER_NOT_FOUND"
        );
        let cancel =
            CancelOrderRequest { request_id: request_id(), order_id, ..Default::default() };
        assert_eq!(reason(&mallory.cancel_order(cancel).await.unwrap_err()), "ORDER_NOT_FOUND");
    }
    let list = ListOrdersRequest { owner_id: ALICE.to_owned(), ..Default::default() };
    assert_eq!(reason(&mallory.list_orders(list).await.unwrap_err()), "OWNER_FOREIGN");
    assert!(
        mallory
            .list_orders(ListOrdersRequest::default())
            .await
            .unwrap()
            .into_inner()
            .orders
            .is_empty()
    );
    let batch = BatchGetOrdersRequest { order_ids: vec![order.order_id.clone()] };
    assert_eq!(reason(&mallory.batch_get_orders(batch).await.unwrap_err()), "ACCESS_DENIED");
    assert_eq!(shop.order(&order.order_id).await.etag, order.etag, "nothing was changed");
}

#[tokio::test]
async fn a_foreign_placement_that_waits_is_not_turned_back() {
    let shop = shop().await;
    let placement = shop.place(mugs("3ds")).await;
    let order = shop.order(&placement.order_id).await;
    let mut mallory = OrderServiceClient::new(shop.fixture.as_customer("mallory"));
    assert_eq!(
        reason(&mallory.cancel_order(cancellation(&order)).await.unwrap_err()),
        "ORDER_NOT_FOUND"
    );
    shop.world.payments.settle(&placement.order_id, PaymentIntentStatus::RequiresCapture);
    confirmed(&shop.ended(&placement.placement_id).await);
}

#[tokio::test]
async fn orders_are_listed_newest_first_page_by_page() {
    let shop = shop().await;
    let mut numbers = Vec::new();
    for index in 0..5 {
        shop.fixture.clock.advance(Duration::from_secs(1));
        let mut request = purchase(vec![line("mug", 1, 1_000)], "ok");
        if index == 2 {
            request.owner_id = "bob".to_owned();
        }
        numbers.push(confirmed(&shop.place(request).await).number.clone());
    }
    numbers.reverse();
    let mut listed = Vec::new();
    let mut request = ListOrdersRequest { page_size: 2, ..Default::default() };
    loop {
        let page = shop.staff().list_orders(request.clone()).await.unwrap().into_inner();
        listed.extend(page.orders.iter().map(|order| order.number.clone()));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(listed, numbers);

    let own =
        shop.alice().list_orders(ListOrdersRequest::default()).await.unwrap().into_inner().orders;
    assert_eq!(own.len(), 4);
    let one = ListOrdersRequest { number: numbers[2].clone(), ..Default::default() };
    let found = shop.staff().list_orders(one).await.unwrap().into_inner().orders;
    assert_eq!(found[0].owner_id, "bob");
    let none = ListOrdersRequest { status: OrderStatus::Cancelled.into(), ..Default::default() };
    assert!(shop.staff().list_orders(none).await.unwrap().into_inner().orders.is_empty());
    let since = ListOrdersRequest { min_create_time: found[0].create_time, ..Default::default() };
    assert_eq!(shop.staff().list_orders(since).await.unwrap().into_inner().orders.len(), 3);
    let before = ListOrdersRequest { max_create_time: found[0].create_time, ..Default::default() };
    assert_eq!(shop.staff().list_orders(before).await.unwrap().into_inner().orders.len(), 2);

    let ids = vec![own[1].order_id.clone(), request_id(), found[0].order_id.clone()];
    let batch = shop
        .staff()
        .batch_get_orders(BatchGetOrdersRequest { order_ids: ids.clone() })
        .await
        .unwrap();
    let got: Vec<_> = batch.into_inner().orders.into_iter().map(|order| order.order_id).collect();
    assert_eq!(got, [ids[0].clone(), ids[2].clone()]);
}

// ---- the person on call ----

#[tokio::test]
async fn a_saga_that_waits_is_resolved_by_hand() {
    for (outcome, good) in [(ResolvedOutcome::Succeeded, true), (ResolvedOutcome::Failed, false)] {
        let shop = shop().await;
        let placement = shop.place(mugs("unknown")).await;
        let request = ResolveUnknownRequest {
            saga_id: placement.order_id.clone(),
            outcome: outcome.into(),
            evidence: "the provider's console".to_owned(),
            ..Default::default()
        };
        let said = if good {
            PaymentIntentStatus::RequiresCapture
        } else {
            PaymentIntentStatus::RequiresPaymentMethod
        };
        shop.world.payments.truth(said);
        shop.admin().resolve_unknown(request.clone()).await.unwrap();
        let ended = shop.ended(&placement.placement_id).await;
        assert_eq!(matches!(ended.outcome, Some(Outcome::Order(_))), good);
        assert_eq!(shop.world.is_clean(), !good);
        shop.saga_over(&placement.order_id).await;
        let error = shop.admin().resolve_unknown(request).await.unwrap_err();
        assert_eq!(reason(&error), "SAGA_STATE_INVALID");
        assert!(shop.timeline(&placement.order_id).await.contains(&OrderEventKind::SagaDecided));
    }
}

#[tokio::test]
async fn a_capture_that_is_refused_waits_for_a_person() {
    let shop = shop_with("place_order.capture_payment.act.before=refuse:1").await;
    let order = confirmed(&shop.place(mugs("ok")).await).clone();
    assert_eq!(shop.saga_over(&order.order_id).await, SagaStatus::Failed);
    let list = ListSagasRequest { status: SagaStatus::Failed.into(), ..Default::default() };
    let failed = shop.admin().list_sagas(list).await.unwrap().into_inner().sagas;
    assert_eq!((failed.len(), failed[0].step.as_str()), (1, "capture_payment"));

    let retry = RetryStepRequest { saga_id: order.order_id.clone(), ..Default::default() };
    let saga = shop.admin().retry_step(retry.clone()).await.unwrap().into_inner();
    assert!(saga.log.iter().any(|line| line.outcome == "RETRIED" && line.message == "user/staff"));
    shop.until(&order.order_id, |order| order.payment_status() == PaymentStatus::Captured).await;
    assert_eq!(shop.saga_over(&order.order_id).await, SagaStatus::Done);
    assert_eq!(reason(&shop.admin().retry_step(retry).await.unwrap_err()), "SAGA_STATE_INVALID");
}

#[tokio::test]
async fn a_step_that_was_done_by_hand_is_skipped_and_booked() {
    let shop = shop_with("place_order.capture_payment.act.before=refuse").await;
    let order = confirmed(&shop.place(mugs("ok")).await).clone();
    shop.saga_over(&order.order_id).await;
    let skip = |step: &str| SkipStepRequest {
        saga_id: order.order_id.clone(),
        step: step.to_owned(),
        evidence: "captured in the console".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        reason(&shop.admin().skip_step(skip("reserve_stock")).await.unwrap_err()),
        "SAGA_STATE_INVALID"
    );
    shop.admin().skip_step(skip("capture_payment")).await.unwrap();
    shop.until(&order.order_id, |order| order.payment_status() == PaymentStatus::Captured).await;
}

#[tokio::test]
async fn a_saga_is_taken_back_by_hand_only_before_its_pivot() {
    let shop = shop().await;
    let placement = shop.place(mugs("3ds")).await;
    let force = |saga_id: &str| ForceCompensateRequest {
        saga_id: saga_id.to_owned(),
        reason: "looks odd".to_owned(),
        ..Default::default()
    };
    shop.admin().force_compensate(force(&placement.order_id)).await.unwrap();
    assert_eq!(refused(&shop.ended(&placement.placement_id).await), RefusalReason::Cancelled);
    assert!(shop.world.is_clean());

    let sold = shop.sold().await;
    let error = shop.admin().force_compensate(force(&sold.order_id)).await.unwrap_err();
    assert_eq!(reason(&error), "SAGA_STATE_INVALID");
    let error = shop.admin().force_compensate(force(&request_id())).await.unwrap_err();
    assert_eq!(reason(&error), "SAGA_NOT_FOUND");
    let error = shop.admin().get_saga(GetSagaRequest { saga_id: request_id() }).await.unwrap_err();
    assert_eq!(reason(&error), "SAGA_NOT_FOUND");
    let mut nobody = SagaAdminServiceClient::new(shop.fixture.as_customer(ALICE));
    assert_eq!(
        reason(&nobody.list_sagas(ListSagasRequest::default()).await.unwrap_err()),
        "ACCESS_DENIED"
    );
}

// ---- what the others hear ----

async fn told(shop: &Shop) -> Vec<(String, String)> {
    use contracts::mesh::v1::{PullEventsRequest, feed_service_client::FeedServiceClient};
    let mut feed = FeedServiceClient::new(shop.fixture.as_service("storefront"));
    let events = feed.pull_events(PullEventsRequest::default()).await.unwrap().into_inner().events;
    let short = |kind: &str| kind.trim_start_matches("mercat.orders.v1.").to_owned();
    let subject = |event: &contracts::io::cloudevents::v1::CloudEvent| {
        format!("{:?}", event.attributes.get("subject").and_then(|found| found.attr.clone()))
    };
    events
        .into_iter()
        .filter_map(|found| found.event)
        .map(|event| (short(&event.r#type), subject(&event)))
        .collect()
}

#[tokio::test]
async fn every_turn_of_an_order_is_told_once_and_in_order() {
    let shop = shop().await;
    let order = shop.sold().await;
    shop.staff().record_fulfillment(parcel(&order, &[])).await.unwrap();
    let kinds: Vec<_> = told(&shop).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["OrderPlaced", "PlacementEnded", "OrderFulfilled", "OrderCompleted"]);

    let placement = shop.place(mugs("declined")).await;
    let kinds: Vec<_> = told(&shop).await.into_iter().skip(4).collect();
    assert_eq!(kinds[0].0, "OrderCancelled");
    assert_eq!(kinds[1].0, "PlacementEnded");
    assert!(kinds.iter().all(|(_, subject)| subject.contains(&placement.order_id)));

    let order = shop.sold().await;
    shop.alice().cancel_order(cancellation(&order)).await.unwrap();
    let last = told(&shop).await.pop().unwrap();
    assert_eq!(last.0, "OrderCancelled");
}

#[tokio::test]
async fn every_statement_prepares_on_the_engine_in_use() {
    use chassis::Service as _;
    let shop = shop().await;
    let prepared = shop.fixture.running().database().prepare_all(Orders::STATEMENTS).await;
    assert!(prepared.is_ok(), "{prepared:?}");
}
