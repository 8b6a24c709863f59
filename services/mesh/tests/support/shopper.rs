//! Somebody who buys, by typed gRPC clients through the gateway.

use contracts::{
    orders::v1::{
        CancelOrderRequest, GetOrderRequest, Order, PaymentStatus,
        order_service_client::OrderServiceClient,
    },
    payments::v1::{
        CompletePaymentActionRequest, GetPaymentIntentRequest, PaymentActionOutcome, PaymentIntent,
        payment_service_client::PaymentServiceClient,
    },
    storefront::v1::{
        Cart, Checkout, CompleteCheckoutRequest, CompleteCheckoutResponse, CreateCartRequest,
        GetCartRequest, GetCheckoutRequest, GetCompletionRequest, LineInput, PlacedOrder,
        SetAddressesRequest, SetContactRequest, SetPaymentMethodRequest, SetShippingOptionRequest,
        StartCheckoutRequest, cart_service_client::CartServiceClient,
        checkout_service_client::CheckoutServiceClient, complete_checkout_response::Outcome,
    },
    values::v1::PostalAddress,
};
use mesh::client::{Authorized, Client};
use testkit::{eventually, request_id};
use tonic::{Response, Status};

/// A payment method that is approved at once.
pub(crate) const CARD_OK: &str = "pm_card_ok";

/// Somebody with a token who wants something.
#[derive(Debug, Clone)]
pub(crate) struct Shopper {
    pub(crate) client: Client,
}

/// Where it all goes.
pub(crate) fn address() -> PostalAddress {
    PostalAddress {
        recipient: "Ana Puig".to_owned(),
        address_lines: vec!["Carrer de la Força 12".to_owned()],
        locality: "Girona".to_owned(),
        postal_code: "17004".to_owned(),
        region_code: "ES".to_owned(),
        ..PostalAddress::default()
    }
}

impl Shopper {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    pub(crate) fn carts(&self) -> CartServiceClient<Authorized> {
        self.client.client(CartServiceClient::new)
    }

    pub(crate) fn checkouts(&self) -> CheckoutServiceClient<Authorized> {
        self.client.client(CheckoutServiceClient::new)
    }

    pub(crate) fn orders(&self) -> OrderServiceClient<Authorized> {
        self.client.client(OrderServiceClient::new)
    }

    pub(crate) fn payments(&self) -> PaymentServiceClient<Authorized> {
        self.client.client(PaymentServiceClient::new)
    }

    /// A new cart with so many pieces.
    pub(crate) async fn cart(&self, sku: &str, quantity: i32) -> Result<Cart, Status> {
        let request = CreateCartRequest {
            request_id: request_id(),
            currency_code: "EUR".to_owned(),
            lines: vec![LineInput { sku: sku.to_owned(), quantity }],
        };
        self.carts().create_cart(request).await.map(Response::into_inner)
    }

    pub(crate) async fn read_cart(&self, cart_id: &str) -> Cart {
        let request = GetCartRequest { cart_id: cart_id.to_owned() };
        self.carts().get_cart(request).await.unwrap().into_inner()
    }

    /// A checkout of that cart with everything filled in.
    pub(crate) async fn checkout(
        &self,
        cart_id: &str,
        payment_method: &str,
    ) -> Result<Checkout, Status> {
        let mut checkouts = self.checkouts();
        let request =
            StartCheckoutRequest { request_id: request_id(), cart_id: cart_id.to_owned() };
        let checkout_id = checkouts.start_checkout(request).await?.into_inner().checkout_id;
        let request = SetContactRequest {
            request_id: request_id(),
            checkout_id: checkout_id.clone(),
            email: "ana@example.com".to_owned(),
        };
        checkouts.set_contact(request).await?;
        let request = SetAddressesRequest {
            request_id: request_id(),
            checkout_id: checkout_id.clone(),
            shipping_address: Some(address()),
            billing_address: None,
        };
        checkouts.set_addresses(request).await?;
        let request = SetShippingOptionRequest {
            request_id: request_id(),
            checkout_id: checkout_id.clone(),
            code: "standard".to_owned(),
        };
        checkouts.set_shipping_option(request).await?;
        let request = SetPaymentMethodRequest {
            request_id: request_id(),
            checkout_id,
            payment_method: payment_method.to_owned(),
        };
        checkouts.set_payment_method(request).await.map(Response::into_inner)
    }

    /// Cart and checkout in one: everything but the last click.
    pub(crate) async fn ready(
        &self,
        sku: &str,
        quantity: i32,
        payment_method: &str,
    ) -> Result<Checkout, Status> {
        let cart = self.cart(sku, quantity).await?;
        self.checkout(&cart.cart_id, payment_method).await
    }

    pub(crate) async fn read_checkout(&self, checkout_id: &str) -> Checkout {
        let request = GetCheckoutRequest { checkout_id: checkout_id.to_owned() };
        self.checkouts().get_checkout(request).await.unwrap().into_inner()
    }

    /// The last click, once.
    pub(crate) async fn complete(
        &self,
        checkout: &Checkout,
        request_id: &str,
    ) -> Result<Response<CompleteCheckoutResponse>, Status> {
        let request = CompleteCheckoutRequest {
            request_id: request_id.to_owned(),
            checkout_id: checkout.checkout_id.clone(),
            quote_hash: checkout.quote_hash.clone(),
            return_uri: String::new(),
        };
        self.checkouts().complete_checkout(request).await
    }

    pub(crate) async fn completion(
        &self,
        checkout_id: &str,
    ) -> Result<CompleteCheckoutResponse, Status> {
        let request = GetCompletionRequest { checkout_id: checkout_id.to_owned() };
        self.checkouts().get_completion(request).await.map(Response::into_inner)
    }

    /// What became of the last click, asked for until it is known. A payment that
    /// demands a proof is answered with `proof`.
    pub(crate) async fn settle(
        &self,
        checkout: &Checkout,
        first: CompleteCheckoutResponse,
        proof: PaymentActionOutcome,
    ) -> Result<PlacedOrder, Status> {
        let mut answer = first;
        for _ in 0..2_000 {
            match answer.outcome {
                Some(Outcome::Order(order)) => return Ok(order),
                Some(Outcome::NextAction(action)) => {
                    let request = CompletePaymentActionRequest {
                        request_id: request_id(),
                        payment_intent_id: action.payment_intent_id,
                        outcome: proof.into(),
                    };
                    // The second time around the answer has been given already.
                    let _given = self.payments().complete_payment_action(request).await;
                }
                Some(Outcome::Pending(_)) | None => {}
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            answer = self.completion(&checkout.checkout_id).await?;
        }
        panic!("the outcome of checkout {} did not become known", checkout.checkout_id);
    }

    /// Everything, from an empty cart to the order.
    pub(crate) async fn buy(
        &self,
        sku: &str,
        quantity: i32,
        payment_method: &str,
    ) -> Result<PlacedOrder, Status> {
        let checkout = self.ready(sku, quantity, payment_method).await?;
        let first = self.complete(&checkout, &request_id()).await?.into_inner();
        self.settle(&checkout, first, PaymentActionOutcome::Success).await
    }

    pub(crate) async fn order(&self, order_id: &str) -> Order {
        let request = GetOrderRequest { order_id: order_id.to_owned() };
        self.orders().get_order(request).await.unwrap().into_inner()
    }

    /// The order once its money is in this state.
    pub(crate) async fn order_when(&self, order_id: &str, payment: PaymentStatus) -> Order {
        eventually(|| async {
            let order = self.order(order_id).await;
            (order.payment_status() == payment).then_some(order)
        })
        .await
    }

    pub(crate) async fn cancel(&self, order_id: &str, request_id: &str) -> Result<Order, Status> {
        let request = CancelOrderRequest {
            request_id: request_id.to_owned(),
            order_id: order_id.to_owned(),
            ..CancelOrderRequest::default()
        };
        self.orders().cancel_order(request).await.map(Response::into_inner)
    }

    pub(crate) async fn intent(&self, payment_intent_id: &str) -> PaymentIntent {
        let request = GetPaymentIntentRequest { payment_intent_id: payment_intent_id.to_owned() };
        self.payments().get_payment_intent(request).await.unwrap().into_inner()
    }
}
