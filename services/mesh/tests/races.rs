//! Many want the same at the same time: one gets it, the others are told why not,
//! and nothing is left over. On both shapes, on the database the tests run on.
#![expect(clippy::unwrap_used, reason = "a test says why it failed")]

#[path = "support/shapes.rs"]
#[macro_use]
mod shapes;
#[expect(dead_code, reason = "each test file uses its part of it")]
mod support;

use std::collections::{BTreeMap, HashSet};

use chassis::Fault;
use contracts::{
    inventory::v1::{ReconcileStockRequest, stock_service_client::StockServiceClient},
    orders::v1::{ListOrdersRequest, OrderStatus, PaymentStatus},
    payments::v1::{
        GetBalancesRequest, LedgerAccount, ListPaymentIntentsRequest, ListRefundsRequest,
        PaymentActionOutcome, PaymentIntentStatus, ledger_service_client::LedgerServiceClient,
        refund_service_client::RefundServiceClient,
    },
    storefront::v1::{CartStatus, CheckoutStatus, PlacedOrder},
};
use futures_util::{StreamExt as _, future::join_all, stream};
use prost::Message as _;
use support::{
    TestMesh,
    shopper::{CARD_OK, Shopper},
};
use testkit::{eventually, exactly_one_ok, reason, request_id};
use tonic::{Code, Status};

/// How many shoppers want the last piece.
const BUYERS: usize = 200;
/// How many calls of them are under way at one time while they fill their carts.
const AT_ONCE: usize = 32;

on_both_shapes! {
    the_last_unit_is_sold_once,
    a_double_click_buys_once,
    two_keys_on_one_checkout_buy_once,
    many_cancels_give_back_once,
}

/// Everything about the stock of an SKU: on hand, reserved, committed.
async fn levels(mesh: &TestMesh, sku: &str) -> (i64, i64, i64) {
    let stock = mesh.stock(sku).await;
    (stock.on_hand, stock.reserved, stock.committed)
}

/// Levels are what the movements add up to.
async fn assert_reconciled(mesh: &TestMesh) {
    let mut stock = mesh.admin().client(StockServiceClient::new);
    let found = stock.reconcile_stock(ReconcileStockRequest::default()).await.unwrap().into_inner();
    assert_eq!(found.discrepancies, []);
    assert!(found.compared_count > 0);
}

/// How many payment intents there are in each state.
async fn intents(mesh: &TestMesh) -> BTreeMap<PaymentIntentStatus, usize> {
    let payments = Shopper::new(mesh.admin());
    let request = ListPaymentIntentsRequest { page_size: 1_000, ..Default::default() };
    let listed = payments.payments().list_payment_intents(request).await.unwrap().into_inner();
    assert_eq!(listed.next_page_token, "");
    let mut found = BTreeMap::new();
    for intent in listed.payment_intents {
        *found.entry(intent.status()).or_default() += 1;
    }
    found
}

async fn orders(mesh: &TestMesh, status: OrderStatus) -> usize {
    let request =
        ListOrdersRequest { page_size: 1_000, status: status.into(), ..Default::default() };
    let listed =
        Shopper::new(mesh.admin()).orders().list_orders(request).await.unwrap().into_inner();
    assert_eq!(listed.next_page_token, "");
    listed.orders.len()
}

async fn the_last_unit_is_sold_once(mesh: TestMesh) {
    let sku = mesh.product(1).await;
    let (mesh, sku) = (&mesh, sku.as_str());
    let ready: Vec<_> = stream::iter(0..BUYERS)
        .map(|_| async move {
            let shopper = mesh.guest().await.shopper();
            let checkout = shopper.ready(sku, 1, CARD_OK).await.unwrap();
            (shopper, checkout)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;

    let results: Vec<Result<PlacedOrder, Status>> =
        join_all(ready.iter().map(|(shopper, checkout)| async move {
            let first = shopper.complete(checkout, &request_id()).await?.into_inner();
            shopper.settle(checkout, first, PaymentActionOutcome::Success).await
        }))
        .await;

    let (_sold, refused) = exactly_one_ok(results);
    assert_eq!(refused.len(), BUYERS - 1);
    for status in &refused {
        assert_eq!(
            (status.code(), reason(status).as_str()),
            (Code::FailedPrecondition, "OUT_OF_STOCK"),
            "{status:?}"
        );
        let fault = Fault::from_status(status);
        assert_eq!(fault.preconditions().len(), 1);
        assert_eq!(
            (fault.preconditions()[0].kind.as_str(), fault.preconditions()[0].subject.as_str()),
            ("OUT_OF_STOCK", sku)
        );
    }

    assert_eq!(
        levels(mesh, sku).await,
        (1, 0, 1),
        "one is promised to the order, nothing is reserved"
    );
    assert_reconciled(mesh).await;
    assert_eq!(orders(mesh, OrderStatus::Confirmed).await, 1);
    assert_eq!(orders(mesh, OrderStatus::Pending).await, 0);
    let money = eventually(|| async {
        let found = intents(mesh).await;
        found.contains_key(&PaymentIntentStatus::Succeeded).then_some(found)
    })
    .await;
    assert_eq!(money.get(&PaymentIntentStatus::Succeeded), Some(&1), "{money:?}");
    assert!(
        money.keys().all(|status| matches!(
            status,
            PaymentIntentStatus::Succeeded | PaymentIntentStatus::Canceled
        )),
        "{money:?}"
    );
    for (shopper, checkout) in ready.iter().take(10) {
        let checkout = shopper.read_checkout(&checkout.checkout_id).await;
        let cart = shopper.read_cart(&checkout.cart_id).await;
        match checkout.status() {
            CheckoutStatus::Completed => assert_eq!(cart.status(), CartStatus::Converted),
            CheckoutStatus::Open => assert_ne!(cart.status(), CartStatus::Converted),
            other => panic!("a checkout is left {other:?}"),
        }
    }
}

async fn a_double_click_buys_once(mesh: TestMesh) {
    let sku = mesh.product(50).await;
    let shopper = mesh.guest().await.shopper();
    let checkout = shopper.ready(&sku, 2, CARD_OK).await.unwrap();
    let key = request_id();

    let answers = join_all((0..20).map(|_| shopper.complete(&checkout, &key))).await;

    let bytes: HashSet<Vec<u8>> =
        answers.into_iter().map(|answer| answer.unwrap().into_inner().encode_to_vec()).collect();
    assert_eq!(bytes.len(), 1, "every click gets the same bytes");
    let again = shopper.complete(&checkout, &key).await.unwrap();
    assert_eq!(
        again.metadata().get("idempotent-replayed").map(|value| value.as_bytes()),
        Some(&b"true"[..])
    );
    assert!(bytes.contains(&again.into_inner().encode_to_vec()));
    assert_eq!(orders(&mesh, OrderStatus::Confirmed).await, 1);
    assert_eq!(levels(&mesh, &sku).await, (50, 0, 2));

    let mut other = checkout.clone();
    other.quote_hash.push('0');
    let refused = shopper.complete(&other, &key).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED")
    );
    assert_eq!(levels(&mesh, &sku).await, (50, 0, 2));
}

async fn two_keys_on_one_checkout_buy_once(mesh: TestMesh) {
    let sku = mesh.product(50).await;
    let shopper = mesh.guest().await.shopper();
    let checkout = shopper.ready(&sku, 1, CARD_OK).await.unwrap();

    let keys = [request_id(), request_id()];
    let answers = join_all(keys.iter().map(|key| shopper.complete(&checkout, key))).await;

    // The second may observe the first one's order or be told that it is too late.
    let mut orders_seen = HashSet::new();
    for answer in answers {
        match answer {
            Ok(answer) => {
                let order = shopper
                    .settle(&checkout, answer.into_inner(), PaymentActionOutcome::Success)
                    .await
                    .unwrap();
                orders_seen.insert(order.order_id);
            }
            Err(status) => assert_eq!(reason(&status), "CHECKOUT_NOT_OPEN", "{status:?}"),
        }
    }
    assert_eq!(orders_seen.len(), 1);
    assert_eq!(orders(&mesh, OrderStatus::Confirmed).await, 1);
    assert_eq!(orders(&mesh, OrderStatus::Pending).await, 0);
    assert_eq!(levels(&mesh, &sku).await, (50, 0, 1));
    assert_eq!(intents(&mesh).await.values().sum::<usize>(), 1);
}

async fn many_cancels_give_back_once(mesh: TestMesh) {
    let sku = mesh.product(10).await;
    let shopper = mesh.guest().await.shopper();
    let placed = shopper.buy(&sku, 3, CARD_OK).await.unwrap();
    let order = shopper.order_when(&placed.order_id, PaymentStatus::Captured).await;
    assert_eq!(levels(&mesh, &sku).await, (10, 0, 3));

    let answers =
        join_all((0..100).map(|_| async { shopper.cancel(&placed.order_id, &request_id()).await }))
            .await;

    assert!(answers.iter().any(Result::is_ok));
    for status in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert!(matches!(status.code(), Code::FailedPrecondition | Code::Aborted), "{status:?}");
    }
    let order = eventually(|| async {
        let order = shopper.order(&order.order_id).await;
        (order.status() == OrderStatus::Cancelled
            && order.payment_status() == PaymentStatus::Refunded)
            .then_some(order)
    })
    .await;
    assert_eq!(levels(&mesh, &sku).await, (10, 0, 0), "the stock is back, once");
    assert_reconciled(&mesh).await;
    let request = ListRefundsRequest { order_id: order.order_id.clone(), ..Default::default() };
    let refunds = mesh
        .admin()
        .client(RefundServiceClient::new)
        .list_refunds(request)
        .await
        .unwrap()
        .into_inner()
        .refunds;
    assert_eq!(refunds.len(), 1, "the money is back, once");
    let request = GetBalancesRequest { order_id: order.order_id, ..Default::default() };
    let balances = mesh
        .admin()
        .client(LedgerServiceClient::new)
        .get_balances(request)
        .await
        .unwrap()
        .into_inner()
        .balances;
    for balance in balances {
        let left = balance.balance.as_ref().map_or(0, |money| money.minor_units);
        assert_eq!(
            left,
            0,
            "{:?} of a cancelled order: {balance:?}",
            LedgerAccount::try_from(balance.account)
        );
    }
}
