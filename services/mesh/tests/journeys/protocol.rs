//! The same purchase by each protocol.

use contracts::{
    catalog::v1::{
        ListProductsRequest, ListProductsResponse, product_service_client::ProductServiceClient,
    },
    identity::v1::{IssueGuestTokenRequest, IssueGuestTokenResponse},
    orders::v1::{
        GetOrderRequest, ListOrderEventsRequest, Order, OrderEventKind, OrderStatus, PaymentStatus,
    },
    payments::v1::{LedgerAccount, PaymentIntentStatus},
    storefront::v1::{
        AddLineRequest, Cart, Checkout, CompleteCheckoutRequest, CompleteCheckoutResponse,
        CreateCartRequest, GetCartRequest, GetCompletionRequest, PlacedOrder, SetAddressesRequest,
        SetContactRequest, SetPaymentMethodRequest, SetShippingOptionRequest, StartCheckoutRequest,
        complete_checkout_response::Outcome,
    },
};
use serde_json::json;
use testkit::{eventually, request_id};

use super::{
    balances, levels,
    support::{
        PRICE_MINOR, TestMesh,
        rest::text,
        shopper::{CARD_OK, address},
        web::{Framing, Refusal, Web},
    },
};

pub(crate) async fn a_guest_buys_over_rest(mesh: TestMesh) {
    let sku = mesh.product(10).await;
    let guest = mesh.rest().post("/v1/auth:guest", json!({})).await.ok();
    let shop = mesh.rest().with_token(guest["tokens"]["accessToken"].as_str().unwrap());
    let products = shop.get("/v1/products?pageSize=3&currencyCode=EUR").await.ok();
    assert_eq!(products["products"][0]["title"], "Enamel mug");

    let cart = shop.post("/v1/carts", json!({"currencyCode": "EUR"})).await.ok();
    let cart_id = text(&cart["cartId"]);
    let cart = shop
        .post(&format!("/v1/carts/{cart_id}/lines"), json!({"sku": sku, "quantity": 2}))
        .await
        .ok();
    assert_eq!(
        cart["totals"]["subtotal"],
        json!({"currencyCode": "EUR", "minorUnits": (2 * PRICE_MINOR).to_string()})
    );

    let checkout = shop.post("/v1/checkouts", json!({"cartId": cart_id})).await.ok();
    assert_eq!(
        checkout["missing"].as_array().map(Vec::is_empty),
        Some(false),
        "it says what is missing"
    );
    let checkout = format!("/v1/checkouts/{}", text(&checkout["checkoutId"]));
    shop.put(&format!("{checkout}/contact"), json!({"email": "ana@example.com"})).await.ok();
    let address = json!({
        "recipient": "Ana Puig", "addressLines": ["Carrer de la Força 12"], "locality": "Girona",
        "postalCode": "17004", "regionCode": "ES",
    });
    shop.put(&format!("{checkout}/addresses"), json!({"shippingAddress": address})).await.ok();
    let options = shop.get(&format!("{checkout}/shippingOptions")).await.ok();
    let code = &options["shippingOptions"][0]["code"];
    shop.put(&format!("{checkout}/shippingOption"), json!({"code": code})).await.ok();
    let ready = shop
        .put(&format!("{checkout}/paymentMethod"), json!({"paymentMethod": CARD_OK}))
        .await
        .ok();
    let agreed = json!({"requestId": request_id(), "quoteHash": ready["quoteHash"]});
    let done = shop.post(&format!("{checkout}:complete"), agreed).await.ok();
    assert_eq!(done["order"]["total"], ready["totals"]["total"]);

    let order_id = text(&done["order"]["orderId"]);
    let path = format!("/v1/orders/{order_id}");
    let order = eventually(|| async {
        let order = shop.get(&path).await.ok();
        (order["paymentStatus"] == "PAYMENT_STATUS_CAPTURED").then_some(order)
    })
    .await;
    assert_eq!(
        (&order["status"], &order["number"]),
        (&json!("ORDER_STATUS_CONFIRMED"), &done["order"]["number"])
    );
    assert_eq!(order["totals"]["total"], ready["totals"]["total"]);
    assert_eq!(order["shippingAddress"]["locality"], "Girona");
    let events = shop.get(&format!("{path}/events")).await.ok();
    let kinds: Vec<String> =
        events["events"].as_array().unwrap().iter().map(|event| text(&event["kind"])).collect();
    for kind in ["CREATED", "CONFIRMED", "PAYMENT_CAPTURED"] {
        assert!(kinds.contains(&format!("ORDER_EVENT_KIND_{kind}")), "{kinds:?}");
    }
    let intent =
        shop.get(&format!("/v1/paymentIntents/{}", text(&order["paymentIntentId"]))).await.ok();
    assert_eq!(intent["status"], "PAYMENT_INTENT_STATUS_SUCCEEDED");
    assert_eq!(intent["amountCaptured"], ready["totals"]["total"]);
    assert_eq!(
        shop.get(&format!("/v1/carts/{cart_id}")).await.ok()["status"],
        "CART_STATUS_CONVERTED"
    );
    assert_eq!(levels(&mesh, &sku).await, (10, 0, 2));
    mesh.stop().await;
}

pub(crate) async fn a_guest_buys_over_grpc(mesh: TestMesh) {
    let sku = mesh.product(10).await;
    let products = ListProductsRequest { page_size: 1, ..ListProductsRequest::default() };
    let products =
        mesh.client().client(ProductServiceClient::new).list_products(products).await.unwrap();
    assert_eq!(products.get_ref().products.len(), 1);
    let guest = mesh.guest().await;
    let shopper = guest.shopper();
    let checkout = shopper.ready(&sku, 3, CARD_OK).await.unwrap();
    assert_eq!(checkout.missing, Vec::<String>::new());

    let answer = shopper.complete(&checkout, &request_id()).await.unwrap().into_inner();

    let Some(Outcome::Order(placed)) = answer.outcome else { panic!("{answer:?}") };
    assert_bought(&mesh, &guest.id, &sku, &checkout, &placed).await;
    let order = shopper.order(&placed.order_id).await;
    let request = ListOrderEventsRequest {
        order_id: order.order_id.clone(),
        ..ListOrderEventsRequest::default()
    };
    let events = shopper.orders().list_order_events(request).await.unwrap().into_inner().events;
    let kinds: Vec<_> = events.iter().map(|event| event.kind()).collect();
    for kind in
        [OrderEventKind::Created, OrderEventKind::Confirmed, OrderEventKind::PaymentCaptured]
    {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    mesh.stop().await;
}

/// The order, the money and the stock say the same.
async fn assert_bought(
    mesh: &TestMesh,
    owner: &str,
    sku: &str,
    checkout: &Checkout,
    placed: &PlacedOrder,
) {
    let staff = super::support::shopper::Shopper::new(mesh.admin());
    let order = staff.order_when(&placed.order_id, PaymentStatus::Captured).await;
    let total = checkout.totals.clone().unwrap().total;
    assert_eq!((order.owner_id.as_str(), order.status()), (owner, OrderStatus::Confirmed));
    assert_eq!((&order.totals.clone().unwrap().total, &placed.total), (&total, &total));
    let intent = staff.intent(&order.payment_intent_id).await;
    assert_eq!(intent.status(), PaymentIntentStatus::Succeeded);
    assert_eq!(
        (&intent.amount, &intent.amount_captured, intent.attempt_count),
        (&total, &total, 1)
    );
    let minor = total.unwrap().minor_units;
    let found = balances(mesh, &order.order_id).await;
    assert_eq!(
        found.keys().copied().collect::<Vec<_>>(),
        [LedgerAccount::ProviderClearing, LedgerAccount::OrderFunds]
    );
    assert!(found.values().all(|balance| balance.abs() == minor), "{found:?}");
    let stock = mesh.stock(sku).await;
    assert_eq!((stock.reserved, stock.committed), (0, order.lines[0].quantity));
}

pub(crate) async fn a_guest_buys_over_grpc_web(mesh: TestMesh) {
    for framing in [Framing::Binary, Framing::Text] {
        buy_over_grpc_web(&mesh, framing).await;
    }
    mesh.stop().await;
}

async fn buy_over_grpc_web(mesh: &TestMesh, framing: Framing) {
    let sku = mesh.product(10).await;
    let web = Web::new(mesh.gateway(), framing);
    let request = IssueGuestTokenRequest { request_id: request_id() };
    let guest: IssueGuestTokenResponse =
        web.call("mercat.identity.v1.AuthService/IssueGuestToken", &request).await.unwrap();
    let web = web.with_token(&guest.tokens.unwrap().access_token);
    let listed: ListProductsResponse = web
        .call("mercat.catalog.v1.ProductService/ListProducts", &ListProductsRequest::default())
        .await
        .unwrap();
    assert!(!listed.products.is_empty());

    let request =
        CreateCartRequest { currency_code: "EUR".to_owned(), ..CreateCartRequest::default() };
    let cart: Cart =
        web.call("mercat.storefront.v1.CartService/CreateCart", &request).await.unwrap();
    let cart_id = cart.cart_id;
    let request = AddLineRequest {
        cart_id: cart_id.clone(),
        sku: sku.clone(),
        quantity: 1,
        ..AddLineRequest::default()
    };
    let _cart: Cart = web.call("mercat.storefront.v1.CartService/AddLine", &request).await.unwrap();
    let request = StartCheckoutRequest { cart_id, ..StartCheckoutRequest::default() };
    let checkout: Checkout =
        web.call("mercat.storefront.v1.CheckoutService/StartCheckout", &request).await.unwrap();
    let checkout_id = checkout.checkout_id;
    let request = SetContactRequest {
        checkout_id: checkout_id.clone(),
        email: "ana@example.com".to_owned(),
        ..SetContactRequest::default()
    };
    let _checkout: Checkout =
        web.call("mercat.storefront.v1.CheckoutService/SetContact", &request).await.unwrap();
    let request = SetAddressesRequest {
        checkout_id: checkout_id.clone(),
        shipping_address: Some(address()),
        ..SetAddressesRequest::default()
    };
    let _checkout: Checkout =
        web.call("mercat.storefront.v1.CheckoutService/SetAddresses", &request).await.unwrap();
    let request = SetShippingOptionRequest {
        checkout_id: checkout_id.clone(),
        code: "express".to_owned(),
        ..SetShippingOptionRequest::default()
    };
    let _checkout: Checkout =
        web.call("mercat.storefront.v1.CheckoutService/SetShippingOption", &request).await.unwrap();
    let request = SetPaymentMethodRequest {
        checkout_id: checkout_id.clone(),
        payment_method: CARD_OK.to_owned(),
        ..SetPaymentMethodRequest::default()
    };
    let checkout: Checkout =
        web.call("mercat.storefront.v1.CheckoutService/SetPaymentMethod", &request).await.unwrap();
    let request = CompleteCheckoutRequest {
        request_id: request_id(),
        checkout_id: checkout_id.clone(),
        quote_hash: checkout.quote_hash.clone(),
        ..CompleteCheckoutRequest::default()
    };
    let answer: CompleteCheckoutResponse =
        web.call("mercat.storefront.v1.CheckoutService/CompleteCheckout", &request).await.unwrap();
    let Some(Outcome::Order(placed)) = answer.outcome.clone() else { panic!("{answer:?}") };
    let request = GetCompletionRequest { checkout_id };
    let read: CompleteCheckoutResponse =
        web.call("mercat.storefront.v1.CheckoutService/GetCompletion", &request).await.unwrap();
    assert_eq!(read, answer);
    assert_bought(mesh, &guest.guest_id, &sku, &checkout, &placed).await;
    let request = GetOrderRequest { order_id: placed.order_id };
    let order: Order = web.call("mercat.orders.v1.OrderService/GetOrder", &request).await.unwrap();
    assert_eq!(order.number, placed.number);

    let request = GetCartRequest { cart_id: request_id() };
    let refused: Result<Cart, Refusal> =
        web.call("mercat.storefront.v1.CartService/GetCart", &request).await;
    assert_eq!(refused.unwrap_err().code, 5, "a refusal is in the trailers");
}
