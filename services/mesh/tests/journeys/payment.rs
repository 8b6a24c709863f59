//! Purchases whose payment, price or mind changes.

use contracts::{
    catalog::v1::{
        NewPrice, PriceList, SetPricesRequest, pricing_service_client::PricingServiceClient,
    },
    orders::v1::{CancelOrderRequest, CancelReason, OrderStatus, PaymentStatus},
    payments::v1::{
        ListPaymentIntentsRequest, PaymentActionOutcome, PaymentIntentStatus, SyncPaymentRequest,
    },
    storefront::v1::{CartStatus, CheckoutStatus, complete_checkout_response::Outcome},
    values::v1::Money,
};
use testkit::{eventually, reason, request_id};
use tonic::Code;

use super::{
    balances, levels, orders,
    support::{
        TestMesh,
        shopper::{CARD_OK, Shopper},
    },
};

pub(crate) async fn a_cancelled_order_gives_stock_and_money_back(mesh: TestMesh) {
    let sku = mesh.product(5).await;
    let shopper = mesh.guest().await.shopper();
    let placed = shopper.buy(&sku, 2, CARD_OK).await.unwrap();
    shopper.order_when(&placed.order_id, PaymentStatus::Captured).await;
    assert_eq!(levels(&mesh, &sku).await, (5, 0, 2));

    let request = CancelOrderRequest {
        request_id: request_id(),
        order_id: placed.order_id.clone(),
        reason: CancelReason::Customer.into(),
        ..CancelOrderRequest::default()
    };
    shopper.orders().cancel_order(request).await.unwrap();

    let order = shopper.order_when(&placed.order_id, PaymentStatus::Refunded).await;
    let order = eventually(|| async {
        let order = shopper.order(&order.order_id).await;
        (order.status() == OrderStatus::Cancelled).then_some(order)
    })
    .await;
    assert_eq!(order.cancel_reason(), CancelReason::Customer);
    assert_eq!(levels(&mesh, &sku).await, (5, 0, 0));
    let intent = shopper.intent(&order.payment_intent_id).await;
    assert_eq!(intent.amount_refunded, placed.total);
    assert!(balances(&mesh, &order.order_id).await.is_empty(), "nobody owes anybody anything");
    mesh.stop().await;
}

pub(crate) async fn a_proof_that_succeeds_sells(mesh: TestMesh) {
    let sku = mesh.product(5).await;
    let shopper = mesh.guest().await.shopper();
    let checkout = shopper.ready(&sku, 1, "pm_card_3ds").await.unwrap();

    let answer = shopper.complete(&checkout, &request_id()).await.unwrap().into_inner();

    let Some(Outcome::NextAction(action)) = answer.outcome.clone() else { panic!("{answer:?}") };
    assert!(action.redirect_uri.starts_with("http"), "{action:?}");
    assert_eq!(
        shopper.read_checkout(&checkout.checkout_id).await.status(),
        CheckoutStatus::AwaitingAction
    );
    assert_eq!(
        levels(&mesh, &sku).await,
        (5, 1, 0),
        "the piece is kept for whoever goes to the bank"
    );
    let placed = shopper.settle(&checkout, answer, PaymentActionOutcome::Success).await.unwrap();
    let order = shopper.order_when(&placed.order_id, PaymentStatus::Captured).await;
    assert_eq!(order.status(), OrderStatus::Confirmed);
    assert_eq!(levels(&mesh, &sku).await, (5, 0, 1));
    mesh.stop().await;
}

pub(crate) async fn a_proof_that_fails_sells_nothing(mesh: TestMesh) {
    let sku = mesh.product(5).await;
    let shopper = mesh.guest().await.shopper();
    let checkout = shopper.ready(&sku, 1, "pm_card_3ds").await.unwrap();
    let answer = shopper.complete(&checkout, &request_id()).await.unwrap().into_inner();

    let refused =
        shopper.settle(&checkout, answer, PaymentActionOutcome::Failure).await.unwrap_err();

    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::FailedPrecondition, "PAYMENT_DECLINED")
    );
    assert_nothing_sold(&mesh, &shopper, &sku, &checkout.checkout_id).await;
    mesh.stop().await;
}

pub(crate) async fn a_declined_payment_leaves_the_cart_as_it_was(mesh: TestMesh) {
    let sku = mesh.product(5).await;
    let shopper = mesh.guest().await.shopper();
    let checkout = shopper.ready(&sku, 1, "pm_card_declined").await.unwrap();
    let before = shopper.read_cart(&checkout.cart_id).await;

    let refused = shopper.complete(&checkout, &request_id()).await.unwrap_err();

    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::FailedPrecondition, "PAYMENT_DECLINED")
    );
    assert_nothing_sold(&mesh, &shopper, &sku, &checkout.checkout_id).await;
    let after = shopper.read_cart(&checkout.cart_id).await;
    assert_eq!((after.lines, after.totals), (before.lines, before.totals));

    // With another card the same checkout goes through.
    let checkout = shopper.checkout(&checkout.cart_id, CARD_OK).await.unwrap();
    let answer = shopper.complete(&checkout, &request_id()).await.unwrap().into_inner();
    shopper.settle(&checkout, answer, PaymentActionOutcome::Success).await.unwrap();
    assert_eq!(levels(&mesh, &sku).await, (5, 0, 1));
    mesh.stop().await;
}

/// The cart can be bought again, and nothing is kept, promised or charged.
async fn assert_nothing_sold(mesh: &TestMesh, shopper: &Shopper, sku: &str, checkout_id: &str) {
    let checkout = shopper.read_checkout(checkout_id).await;
    assert_eq!(checkout.status(), CheckoutStatus::Open);
    assert_eq!(shopper.read_cart(&checkout.cart_id).await.status(), CartStatus::Active);
    assert_eq!(levels(mesh, sku).await, (5, 0, 0));
    assert_eq!(orders(mesh, OrderStatus::Confirmed).await, 0);
    assert_eq!(orders(mesh, OrderStatus::Pending).await, 0);
    let request = ListPaymentIntentsRequest::default();
    let staff = Shopper::new(mesh.admin());
    let intents =
        staff.payments().list_payment_intents(request).await.unwrap().into_inner().payment_intents;
    for intent in &intents {
        assert_eq!(intent.status(), PaymentIntentStatus::Canceled);
        assert!(balances(mesh, &intent.order_id).await.is_empty());
    }
}

pub(crate) async fn a_price_that_changed_is_agreed_to_again(mesh: TestMesh) {
    let sku = mesh.product(5).await;
    let shopper = mesh.guest().await.shopper();
    let checkout = shopper.ready(&sku, 1, CARD_OK).await.unwrap();
    let unit_price = Some(Money { currency_code: "EUR".to_owned(), minor_units: 2_000 });
    let price_list = PriceList {
        sku: sku.clone(),
        currency_code: "EUR".to_owned(),
        prices: vec![NewPrice { unit_price, ..NewPrice::default() }],
    };
    let request = SetPricesRequest { request_id: request_id(), price_list: Some(price_list) };
    mesh.admin().client(PricingServiceClient::new).set_prices(request).await.unwrap();

    let refused = shopper.complete(&checkout, &request_id()).await.unwrap_err();

    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::FailedPrecondition, "PRICE_CHANGED")
    );
    assert_eq!(levels(&mesh, &sku).await, (5, 0, 0));
    assert_eq!(orders(&mesh, OrderStatus::Confirmed).await, 0);
    let again = shopper.read_checkout(&checkout.checkout_id).await;
    assert_ne!(again.quote_hash, checkout.quote_hash);
    assert_eq!(again.totals.clone().unwrap().subtotal.unwrap().minor_units, 2_000);
    let answer = shopper.complete(&again, &request_id()).await.unwrap().into_inner();
    let placed = shopper.settle(&again, answer, PaymentActionOutcome::Success).await.unwrap();
    assert_eq!(placed.total, again.totals.unwrap().total);
    mesh.stop().await;
}

pub(crate) async fn a_lost_answer_of_the_provider_ends_in_one_order(mesh: TestMesh) {
    let sku = mesh.product(5).await;
    let shopper = mesh.guest().await.shopper();
    let checkout = shopper.ready(&sku, 1, "pm_timeout_after_effect").await.unwrap();
    let staff = Shopper::new(mesh.admin());
    let every = async || {
        let request = ListPaymentIntentsRequest::default();
        staff.payments().list_payment_intents(request).await.unwrap().into_inner().payment_intents
    };
    let key = request_id();

    // While the shopper waits, somebody asks the provider what became of it.
    let asked = eventually(|| async {
        let unknown = every()
            .await
            .into_iter()
            .find(|intent| intent.status() == PaymentIntentStatus::Unknown)?;
        let request = SyncPaymentRequest {
            payment_intent_id: unknown.payment_intent_id,
            ..SyncPaymentRequest::default()
        };
        staff.payments().sync_payment(request).await.ok()
    });
    let (answer, _synced) = tokio::join!(shopper.complete(&checkout, &key), asked);

    let answer = answer.unwrap().into_inner();
    let placed = shopper.settle(&checkout, answer, PaymentActionOutcome::Success).await.unwrap();
    let order = shopper.order_when(&placed.order_id, PaymentStatus::Captured).await;
    assert_eq!(orders(&mesh, OrderStatus::Confirmed).await, 1);
    assert_eq!(levels(&mesh, &sku).await, (5, 0, 1));
    let intents = every().await;
    assert_eq!(intents.len(), 1);
    assert_eq!((intents[0].attempt_count, &intents[0].order_id), (1, &order.order_id));
    assert_eq!(
        (&intents[0].amount_authorized, &intents[0].amount_captured),
        (&placed.total, &placed.total)
    );
    mesh.stop().await;
}
