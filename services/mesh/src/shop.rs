//! A purchase from the first look to the receipt, one printed line a step: the
//! smoke test that a person watches.

use std::time::{Duration, Instant};

use chassis::{Clock, Fault, Money};
use contracts::{
    catalog::v1::{
        GetProductRequest, ListProductsRequest, Product,
        product_service_client::ProductServiceClient,
    },
    identity::v1::{IssueGuestTokenRequest, auth_service_client::AuthServiceClient},
    orders::v1::{
        GetOrderRequest, ListOrderEventsRequest, Order, OrderStatus, PaymentStatus,
        order_service_client::OrderServiceClient,
    },
    payments::v1::{
        CompletePaymentActionRequest, PaymentActionOutcome,
        payment_service_client::PaymentServiceClient,
    },
    storefront::v1::{
        AddLineRequest, CheckoutAction, CompleteCheckoutRequest, CompleteCheckoutResponse,
        CreateCartRequest, GetCompletionRequest, PlacedOrder, SetAddressesRequest,
        SetContactRequest, SetPaymentMethodRequest, SetShippingOptionRequest, StartCheckoutRequest,
        cart_service_client::CartServiceClient, checkout_service_client::CheckoutServiceClient,
        complete_checkout_response::Outcome,
    },
    values::v1::PostalAddress,
};

use crate::client::Client;

/// How long the outcome of a purchase is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is asked for.
const PAUSE: Duration = Duration::from_millis(200);

/// What to buy, and how to pay.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The payment method's token.
    pub payment_method: String,
    /// How many.
    pub quantity: i32,
    /// Which of the first products in the list.
    pub pick: usize,
    /// Say nothing.
    pub quiet: bool,
}

struct Steps {
    number: u32,
    last: Instant,
    quiet: bool,
}

// === impl Steps ===

impl Steps {
    fn done(&mut self, what: &str, result: impl AsRef<str>) {
        self.number += 1;
        if !self.quiet {
            let took = self.last.elapsed();
            println!("{:>3}. {what:<32} {} ({:.1?})", self.number, result.as_ref(), took);
        }
        self.last = Instant::now();
    }
}

/// Somebody new, and the id it has.
pub async fn guest(client: &Client) -> Result<(Client, String), Fault> {
    let request = IssueGuestTokenRequest { request_id: Clock::system().id() };
    let guest =
        client.client(AuthServiceClient::new).issue_guest_token(request).await?.into_inner();
    let client = client.with_token(&guest.tokens.unwrap_or_default().access_token)?;
    Ok((client, guest.guest_id))
}

/// The first product in the list, and the SKU of its first variant.
pub async fn first_sku(client: &Client) -> Result<(String, String), Fault> {
    let (product, sku) = look(client, 0).await?;
    Ok((product.product_id, sku))
}

async fn look(client: &Client, pick: usize) -> Result<(Product, String), Fault> {
    let request = ListProductsRequest { page_size: 10, ..ListProductsRequest::default() };
    let listed =
        client.client(ProductServiceClient::new).list_products(request).await?.into_inner();
    let product = listed.products.get(pick % listed.products.len().max(1)).ok_or_else(|| {
        Fault::internal().message("nothing is for sale: run `mercat seed --products 100` first")
    })?;
    let request = GetProductRequest {
        product_id: product.product_id.clone(),
        ..GetProductRequest::default()
    };
    let product = client.client(ProductServiceClient::new).get_product(request).await?.into_inner();
    let sku = product.variants.first().map(|variant| variant.sku.clone()).unwrap_or_default();
    Ok((product, sku))
}

/// Buys something as a guest, and gives the order once the money is captured.
pub async fn buy(client: &Client, wish: &Wish) -> Result<Order, Fault> {
    let mut steps = Steps { number: 0, last: Instant::now(), quiet: wish.quiet };
    let (client, guest_id) = guest(client).await?;
    steps.done("Be a guest", guest_id);
    let placed = walk(&client, wish, &mut steps).await?;
    receipt(&client, &placed, &mut steps).await
}

/// Buys something as whoever the client is.
pub async fn purchase(client: &Client, wish: &Wish) -> Result<PlacedOrder, Fault> {
    let mut steps = Steps { number: 0, last: Instant::now(), quiet: wish.quiet };
    walk(client, wish, &mut steps).await
}

/// From the first look to the sale.
async fn walk(client: &Client, wish: &Wish, steps: &mut Steps) -> Result<PlacedOrder, Fault> {
    let clock = Clock::system();
    let (product, sku) = look(client, wish.pick).await?;
    steps.done("Look at what there is", format!("{} as {sku}", product.title));

    let mut carts = client.client(CartServiceClient::new);
    let cart = carts
        .create_cart(CreateCartRequest { request_id: clock.id(), ..Default::default() })
        .await?
        .into_inner();
    steps.done("Take a cart", &cart.cart_id);
    let request = AddLineRequest {
        request_id: clock.id(),
        cart_id: cart.cart_id.clone(),
        sku,
        quantity: wish.quantity,
    };
    let cart = carts.add_line(request).await?.into_inner();
    let goods = cart.totals.and_then(|totals| totals.total);
    steps.done("Put it in", format!("{} x, {}", wish.quantity, shown(goods)));

    let checkout_id = fill_in(client, &clock, &cart.cart_id, wish, steps).await?;
    complete(client, &clock, &checkout_id, steps).await
}

/// Starts a checkout and fills it in.
async fn fill_in(
    client: &Client,
    clock: &Clock,
    cart_id: &str,
    wish: &Wish,
    steps: &mut Steps,
) -> Result<String, Fault> {
    let mut checkouts = client.client(CheckoutServiceClient::new);
    let request = StartCheckoutRequest { request_id: clock.id(), cart_id: cart_id.to_owned() };
    let checkout_id = checkouts.start_checkout(request).await?.into_inner().checkout_id;
    steps.done("Go to the till", &checkout_id);

    let request = SetContactRequest {
        request_id: clock.id(),
        checkout_id: checkout_id.clone(),
        email: "ana@example.com".to_owned(),
    };
    checkouts.set_contact(request).await?;
    let address = PostalAddress {
        recipient: "Ana Puig".to_owned(),
        address_lines: vec!["Carrer de la Força 12".to_owned()],
        locality: "Girona".to_owned(),
        postal_code: "17004".to_owned(),
        region_code: "ES".to_owned(),
        ..PostalAddress::default()
    };
    let request = SetAddressesRequest {
        request_id: clock.id(),
        checkout_id: checkout_id.clone(),
        shipping_address: Some(address),
        billing_address: None,
    };
    checkouts.set_addresses(request).await?;
    steps.done("Say who and where", "Ana Puig, Girona");

    let request = SetShippingOptionRequest {
        request_id: clock.id(),
        checkout_id: checkout_id.clone(),
        code: "standard".to_owned(),
    };
    let checkout = checkouts.set_shipping_option(request).await?.into_inner();
    let option = checkout.shipping_option.unwrap_or_default();
    steps.done("Choose how it is shipped", format!("{}, {}", option.title, shown(option.amount)));

    let request = SetPaymentMethodRequest {
        request_id: clock.id(),
        checkout_id: checkout_id.clone(),
        payment_method: wish.payment_method.clone(),
    };
    let checkout = checkouts.set_payment_method(request).await?.into_inner();
    let total = checkout.totals.and_then(|totals| totals.total);
    steps
        .done("Choose how it is paid", format!("{}, {} in all", wish.payment_method, shown(total)));
    Ok(checkout_id)
}

/// Agrees to the quote, and waits for the outcome.
async fn complete(
    client: &Client,
    clock: &Clock,
    checkout_id: &str,
    steps: &mut Steps,
) -> Result<PlacedOrder, Fault> {
    let mut checkouts = client.client(CheckoutServiceClient::new);
    let request =
        contracts::storefront::v1::GetCheckoutRequest { checkout_id: checkout_id.to_owned() };
    let quote_hash = checkouts.get_checkout(request).await?.into_inner().quote_hash;
    let request = CompleteCheckoutRequest {
        request_id: clock.id(),
        checkout_id: checkout_id.to_owned(),
        quote_hash,
        return_uri: String::new(),
    };
    let mut answer = checkouts.complete_checkout(request).await?.into_inner();
    let deadline = Instant::now() + PATIENCE;
    let mut proved = String::new();
    loop {
        match answer {
            CompleteCheckoutResponse { outcome: Some(Outcome::Order(order)) } => {
                steps
                    .done("Buy", format!("order {}, {}", order.number, shown(order.total.clone())));
                return Ok(order);
            }
            CompleteCheckoutResponse { outcome: Some(Outcome::NextAction(action)) }
                if action.payment_intent_id != proved =>
            {
                proved.clone_from(&action.payment_intent_id);
                authenticate(client, clock, &action).await?;
                steps.done("Prove it at the bank (3-D Secure)", &action.redirect_uri);
            }
            CompleteCheckoutResponse { outcome: _ } => tokio::time::sleep(PAUSE).await,
        }
        if Instant::now() > deadline {
            return Err(Fault::internal().message("the outcome of the purchase is still not known"));
        }
        let request = GetCompletionRequest { checkout_id: checkout_id.to_owned() };
        answer = checkouts.get_completion(request).await?.into_inner();
    }
}

/// Does what the shopper's bank wants.
async fn authenticate(
    client: &Client,
    clock: &Clock,
    action: &CheckoutAction,
) -> Result<(), Fault> {
    let request = CompletePaymentActionRequest {
        request_id: clock.id(),
        payment_intent_id: action.payment_intent_id.clone(),
        outcome: PaymentActionOutcome::Success.into(),
    };
    client.client(PaymentServiceClient::new).complete_payment_action(request).await?;
    Ok(())
}

/// Reads the order back once the money is captured.
async fn receipt(client: &Client, placed: &PlacedOrder, steps: &mut Steps) -> Result<Order, Fault> {
    let mut orders = client.client(OrderServiceClient::new);
    let deadline = Instant::now() + PATIENCE;
    let order = loop {
        let request = GetOrderRequest { order_id: placed.order_id.clone() };
        let order = orders.get_order(request).await?.into_inner();
        if order.payment_status() == PaymentStatus::Captured || Instant::now() > deadline {
            break order;
        }
        tokio::time::sleep(PAUSE).await;
    };
    let status = |name: &str, prefix: &str| name.trim_start_matches(prefix).to_lowercase();
    steps.done(
        "Read the order back",
        format!(
            "{}, payment {}",
            status(OrderStatus::as_str_name(&order.status()), "ORDER_STATUS_"),
            status(PaymentStatus::as_str_name(&order.payment_status()), "PAYMENT_STATUS_"),
        ),
    );
    let request = ListOrderEventsRequest {
        order_id: placed.order_id.clone(),
        ..ListOrderEventsRequest::default()
    };
    let events = orders.list_order_events(request).await?.into_inner().events;
    let story: Vec<String> = events
        .iter()
        .map(|event| status(event.kind().as_str_name(), "ORDER_EVENT_KIND_"))
        .collect();
    steps.done("Read its story", story.join(", "));
    Ok(order)
}

fn shown(money: Option<contracts::values::v1::Money>) -> String {
    money
        .and_then(|money| Money::try_from(money).ok())
        .map_or_else(String::new, |money| money.to_string())
}
