//! The storefront over a real socket and a real database; its peers are faked.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, and says where")]

#[path = "storefront/fakes.rs"]
mod fakes;

#[path = "storefront/access.rs"]
mod access;
#[path = "storefront/cart.rs"]
mod cart;
#[path = "storefront/checkout.rs"]
mod checkout;
#[path = "storefront/completion.rs"]
mod completion;
#[path = "storefront/list.rs"]
mod list;
#[path = "storefront/race.rs"]
mod race;
#[path = "storefront/resume.rs"]
mod resume;

use std::{fmt::Debug, time::Duration};

use chassis::Service as _;
use contracts::{
    mesh::v1::{PullEventsRequest, feed_service_client::FeedServiceClient},
    storefront::v1::{
        AddLineRequest, Cart, CartStatus, Checkout, CheckoutStatus, CompleteCheckoutRequest,
        CompleteCheckoutResponse, CreateCartRequest, ErrorReason, GetCartRequest,
        GetCheckoutRequest, GetCompletionRequest, LineInput, PlacedOrder, SetAddressesRequest,
        SetContactRequest, SetPaymentMethodRequest, SetShippingOptionRequest, StartCheckoutRequest,
        Totals, cart_service_client::CartServiceClient,
        checkout_service_client::CheckoutServiceClient, complete_checkout_response::Outcome,
    },
    values::v1::{Money, PostalAddress},
};
use fakes::World;
use storefront::{Config, Storefront};
use testkit::{As, Fixture, eventually, request_id};
use tonic::{Response, Status};

const ALICE: &str = "alice";

/// How long a purchase is left alone in these tests.
const RESUME_AFTER: Duration = Duration::from_secs(5);

struct Shop {
    fixture: Fixture<Storefront>,
    world: World,
}

impl Shop {
    /// A shop that sells mugs, tea and sofas.
    async fn open() -> Self {
        Self::open_with("").await
    }

    /// The same with failpoints armed.
    async fn open_with(failpoints: &str) -> Self {
        let world = World::new();
        world.shelf.put("mug", 1_250, 10);
        world.shelf.put("tea", 333, 10);
        world.shelf.put("sofa", 7_500, 2);
        let config = Config {
            resume_after: RESUME_AFTER,
            resume_period: Duration::from_millis(10),
            failpoints: failpoints.to_owned(),
            ..Config::default()
        };
        let fixture = testkit::service::<Storefront>()
            .config(config)
            .peer("catalog", world.catalog())
            .peer("inventory", world.inventory())
            .peer("orders", world.orders())
            .start()
            .await;
        Self { fixture, world }
    }

    fn carts(&self) -> CartServiceClient<As> {
        CartServiceClient::new(self.fixture.as_customer(ALICE))
    }

    fn checkouts(&self) -> CheckoutServiceClient<As> {
        CheckoutServiceClient::new(self.fixture.as_customer(ALICE))
    }

    /// A cart of Alice's with these lines.
    async fn cart(&self, lines: &[(&str, i32)]) -> Cart {
        self.carts().create_cart(creation(lines)).await.unwrap().into_inner()
    }

    async fn read_cart(&self, cart_id: &str) -> Cart {
        let request = GetCartRequest { cart_id: cart_id.to_owned() };
        self.carts().get_cart(request).await.unwrap().into_inner()
    }

    async fn add(&self, cart: &Cart, sku: &str, quantity: i32) -> Result<Cart, Status> {
        self.carts().add_line(addition(cart, sku, quantity)).await.map(Response::into_inner)
    }

    async fn start(&self, cart: &Cart) -> Result<Checkout, Status> {
        let request = StartCheckoutRequest { cart_id: cart.cart_id.clone(), ..Default::default() };
        self.checkouts().start_checkout(request).await.map(Response::into_inner)
    }

    /// A checkout of two mugs and a packet of tea, nothing filled in.
    async fn started(&self) -> Checkout {
        let cart = self.cart(&[("mug", 2), ("tea", 1)]).await;
        self.start(&cart).await.unwrap()
    }

    /// The same with everything filled in.
    async fn ready(&self) -> Checkout {
        let checkout = self.started().await;
        self.fill_in(&checkout).await
    }

    async fn fill_in(&self, checkout: &Checkout) -> Checkout {
        self.checkouts().set_contact(contact(checkout)).await.unwrap();
        self.checkouts().set_addresses(addresses(checkout)).await.unwrap();
        self.checkouts().set_shipping_option(shipping(checkout, "standard")).await.unwrap();
        let chosen = self.checkouts().set_payment_method(payment(checkout, "pm_ok")).await;
        chosen.unwrap().into_inner()
    }

    async fn read(&self, checkout: &Checkout) -> Checkout {
        let request = GetCheckoutRequest { checkout_id: checkout.checkout_id.clone() };
        self.checkouts().get_checkout(request).await.unwrap().into_inner()
    }

    async fn complete(&self, checkout: &Checkout) -> Result<Outcome, Status> {
        self.complete_with(completion_of(checkout)).await.map(|answer| answer.outcome.unwrap())
    }

    async fn complete_with(
        &self,
        request: CompleteCheckoutRequest,
    ) -> Result<CompleteCheckoutResponse, Status> {
        self.checkouts().complete_checkout(request).await.map(Response::into_inner)
    }

    async fn completion(&self, checkout: &Checkout) -> Result<Outcome, Status> {
        let request = GetCompletionRequest { checkout_id: checkout.checkout_id.clone() };
        let answer = self.checkouts().get_completion(request).await?.into_inner();
        Ok(answer.outcome.unwrap())
    }

    /// Waits until the checkout stands so.
    async fn until(&self, checkout: &Checkout, status: CheckoutStatus) -> Checkout {
        eventually(|| async {
            let checkout = self.read(checkout).await;
            (checkout.status() == status).then_some(checkout)
        })
        .await
    }

    /// Asserts how a checkout and its cart stand.
    async fn stands(&self, checkout: &Checkout, status: CheckoutStatus, cart: CartStatus) {
        let found = self.read(checkout).await;
        assert_eq!(found.status(), status);
        assert_eq!(self.read_cart(&found.cart_id).await.status(), cart);
    }

    /// The types of the events that were told, without their package, in order.
    async fn events(&self) -> Vec<String> {
        let mut feed = FeedServiceClient::new(self.fixture.as_service("orders"));
        let request = PullEventsRequest { limit: 1_000, ..PullEventsRequest::default() };
        let events = feed.pull_events(request).await.unwrap().into_inner().events;
        let kinds = events.into_iter().filter_map(|event| event.event).map(|event| event.r#type);
        kinds.map(|kind| kind.rsplit('.').next().unwrap_or_default().to_owned()).collect()
    }
}

fn inputs(lines: &[(&str, i32)]) -> Vec<LineInput> {
    lines
        .iter()
        .map(|(sku, quantity)| LineInput { sku: (*sku).to_owned(), quantity: *quantity })
        .collect()
}

fn creation(lines: &[(&str, i32)]) -> CreateCartRequest {
    CreateCartRequest { lines: inputs(lines), ..CreateCartRequest::default() }
}

fn addition(cart: &Cart, sku: &str, quantity: i32) -> AddLineRequest {
    AddLineRequest {
        request_id: request_id(),
        cart_id: cart.cart_id.clone(),
        sku: sku.to_owned(),
        quantity,
    }
}

fn contact(checkout: &Checkout) -> SetContactRequest {
    SetContactRequest {
        request_id: request_id(),
        checkout_id: checkout.checkout_id.clone(),
        email: "alice@example.com".to_owned(),
    }
}

fn addresses(checkout: &Checkout) -> SetAddressesRequest {
    SetAddressesRequest {
        request_id: request_id(),
        checkout_id: checkout.checkout_id.clone(),
        shipping_address: Some(PostalAddress {
            recipient: "Alice".to_owned(),
            address_lines: vec!["Calle Mayor 1".to_owned()],
            locality: "Madrid".to_owned(),
            postal_code: "28013".to_owned(),
            region_code: "ES".to_owned(),
            ..PostalAddress::default()
        }),
        billing_address: None,
    }
}

fn shipping(checkout: &Checkout, code: &str) -> SetShippingOptionRequest {
    SetShippingOptionRequest {
        request_id: request_id(),
        checkout_id: checkout.checkout_id.clone(),
        code: code.to_owned(),
    }
}

fn payment(checkout: &Checkout, token: &str) -> SetPaymentMethodRequest {
    SetPaymentMethodRequest {
        request_id: request_id(),
        checkout_id: checkout.checkout_id.clone(),
        payment_method: token.to_owned(),
    }
}

fn completion_of(checkout: &Checkout) -> CompleteCheckoutRequest {
    CompleteCheckoutRequest {
        request_id: request_id(),
        checkout_id: checkout.checkout_id.clone(),
        quote_hash: checkout.quote_hash.clone(),
        return_uri: "https://shop.example/back".to_owned(),
    }
}

fn cents(amount: &Option<Money>) -> i64 {
    let amount = amount.as_ref().unwrap();
    assert_eq!(amount.currency_code, "EUR");
    amount.minor_units
}

/// Subtotal, tax, shipping and total.
fn amounts(totals: &Option<Totals>) -> [i64; 4] {
    let totals = totals.as_ref().unwrap();
    [&totals.subtotal, &totals.tax, &totals.shipping, &totals.total].map(cents)
}

/// SKUs and quantities of a cart.
fn contents(cart: &Cart) -> Vec<(&str, i32)> {
    cart.lines.iter().map(|line| (line.sku.as_str(), line.quantity)).collect()
}

#[track_caller]
fn sold(outcome: &Outcome) -> &PlacedOrder {
    match outcome {
        Outcome::Order(order) => order,
        other => panic!("not sold: {other:?}"),
    }
}

#[track_caller]
fn is_replay<T>(response: &Response<T>) -> bool {
    response.metadata().get("idempotent-replayed").is_some_and(|value| value == "true")
}

/// Asserts why somebody was refused.
#[track_caller]
fn refused<T: Debug>(answer: Result<T, Status>, reason: ErrorReason) -> Status {
    let status = answer.unwrap_err();
    let expected = reason.as_str_name().trim_start_matches("ERROR_REASON_");
    assert_eq!(testkit::reason(&status), expected, "{status:?}");
    status
}

/// What a refusal's preconditions say: type and subject.
fn preconditions(status: &Status) -> Vec<(String, String)> {
    let fault = chassis::Fault::from_status(status);
    fault.preconditions().iter().map(|found| (found.kind.clone(), found.subject.clone())).collect()
}

#[tokio::test]
async fn every_statement_is_understood_by_the_engine() {
    let shop = Shop::open().await;
    let refused = shop.fixture.running().database().prepare_all(Storefront::STATEMENTS).await;
    assert!(refused.is_ok(), "{refused:?}");
}

#[test]
fn every_reason_is_provoked_by_a_test() {
    let tests = [
        include_str!("storefront/access.rs"),
        include_str!("storefront/cart.rs"),
        include_str!("storefront/checkout.rs"),
        include_str!("storefront/completion.rs"),
        include_str!("storefront/list.rs"),
        include_str!("storefront/race.rs"),
        include_str!("storefront/resume.rs"),
    ]
    .concat();
    for reason in (1..).map_while(|number| ErrorReason::try_from(number).ok()) {
        assert!(
            tests.contains(&format!("ErrorReason::{reason:?}")),
            "{reason:?} is provoked by no test"
        );
    }
}
