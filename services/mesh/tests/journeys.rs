//! What people do in a shop, from the first look to the receipt and after, through
//! the gateway of a whole mesh: on both shapes, by each of the three protocols.
#![expect(clippy::unwrap_used, reason = "a test says why it failed")]

#[path = "journeys/account.rs"]
mod account;
#[path = "journeys/input.rs"]
mod input;
#[path = "journeys/payment.rs"]
mod payment;
#[path = "journeys/protocol.rs"]
mod protocol;
#[path = "support/shapes.rs"]
#[macro_use]
mod shapes;
#[expect(dead_code, reason = "each test file uses its part of it")]
mod support;

use std::collections::BTreeMap;

use account::{
    a_customer_buys_with_the_address_book, a_guest_who_registers_keeps_the_cart,
    a_refresh_token_is_good_once,
};
use contracts::{
    orders::v1::{ListOrdersRequest, OrderStatus},
    payments::v1::{GetBalancesRequest, LedgerAccount, ledger_service_client::LedgerServiceClient},
};
use input::bad_input_names_the_field_and_changes_nothing;
use payment::{
    a_cancelled_order_gives_stock_and_money_back, a_declined_payment_leaves_the_cart_as_it_was,
    a_lost_answer_of_the_provider_ends_in_one_order, a_price_that_changed_is_agreed_to_again,
    a_proof_that_fails_sells_nothing, a_proof_that_succeeds_sells,
};
use protocol::{a_guest_buys_over_grpc, a_guest_buys_over_grpc_web, a_guest_buys_over_rest};
use support::{
    Shape, TestMesh,
    shopper::{CARD_OK, Shopper},
};

on_both_shapes! {
    a_guest_buys_over_rest,
    a_guest_buys_over_grpc,
    a_guest_buys_over_grpc_web,
    a_cancelled_order_gives_stock_and_money_back,
    a_proof_that_succeeds_sells,
    a_proof_that_fails_sells_nothing,
    a_declined_payment_leaves_the_cart_as_it_was,
    a_price_that_changed_is_agreed_to_again,
    a_lost_answer_of_the_provider_ends_in_one_order,
    a_customer_buys_with_the_address_book,
    a_guest_who_registers_keeps_the_cart,
    a_refresh_token_is_good_once,
    bad_input_names_the_field_and_changes_nothing,
}

/// The balance of each account of the ledger for one order, in minor units.
async fn balances(mesh: &TestMesh, order_id: &str) -> BTreeMap<LedgerAccount, i64> {
    let request =
        GetBalancesRequest { order_id: order_id.to_owned(), ..GetBalancesRequest::default() };
    let mut ledger = mesh.admin().client(LedgerServiceClient::new);
    let balances = ledger.get_balances(request).await.unwrap().into_inner().balances;
    let (debits, credits) = balances.iter().fold((0, 0), |(debits, credits), found| {
        (
            debits + found.debits.as_ref().unwrap().minor_units,
            credits + found.credits.as_ref().unwrap().minor_units,
        )
    });
    assert_eq!(debits, credits, "what one account gives another takes");
    balances
        .iter()
        .map(|found| (found.account(), found.balance.as_ref().unwrap().minor_units))
        .filter(|(_, balance)| *balance != 0)
        .collect()
}

/// How many orders of the whole mesh are in this state.
async fn orders(mesh: &TestMesh, status: OrderStatus) -> usize {
    let request = ListOrdersRequest {
        page_size: 1_000,
        status: status.into(),
        ..ListOrdersRequest::default()
    };
    Shopper::new(mesh.admin())
        .orders()
        .list_orders(request)
        .await
        .unwrap()
        .into_inner()
        .orders
        .len()
}

/// On hand, reserved and committed of an SKU.
async fn levels(mesh: &TestMesh, sku: &str) -> (i64, i64, i64) {
    let stock = mesh.stock(sku).await;
    (stock.on_hand, stock.reserved, stock.committed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_loses_nothing() {
    let mut mesh = TestMesh::start(Shape::Fused).await;
    let sku = mesh.product(10).await;
    let ana = mesh.customer().await;
    let placed = ana.shopper().buy(&sku, 2, CARD_OK).await.unwrap();
    let order = ana
        .shopper()
        .order_when(&placed.order_id, contracts::orders::v1::PaymentStatus::Captured)
        .await;
    let open = ana.shopper().ready(&sku, 1, CARD_OK).await.unwrap();
    let key = testkit::request_id();
    let answer = ana.shopper().complete(&open, &key).await.unwrap().into_inner();
    let paths = [
        "/v1/me".to_owned(),
        "/v1/products".to_owned(),
        "/v1/carts".to_owned(),
        format!("/v1/checkouts/{}", open.checkout_id),
        format!("/v1/orders/{}", order.order_id),
        format!("/v1/orders/{}/events", order.order_id),
        format!("/v1/paymentIntents/{}", order.payment_intent_id),
        format!("/v1/availability/{sku}"),
    ];
    let read = async |mesh: &TestMesh| {
        let rest = mesh.rest().with_token(&ana.access_token);
        let mut pages = Vec::new();
        for path in &paths {
            pages.push(rest.get(path).await.ok());
        }
        pages
    };
    // The second order's money must be at rest before it is read.
    let second = mesh.admin_rest().get(&format!("/v1/checkouts/{}", open.checkout_id)).await.ok();
    let second = second["orderId"].as_str().unwrap().to_owned();
    ana.shopper().order_when(&second, contracts::orders::v1::PaymentStatus::Captured).await;
    let before = read(&mesh).await;

    mesh.restart().await;

    assert_eq!(read(&mesh).await, before);
    assert_eq!(levels(&mesh, &sku).await, (10, 0, 3));
    // The address has changed with the restart; the shopper and the key have not.
    let again = Shopper::new(mesh.client().with_token(&ana.access_token).unwrap());
    let replayed = again.complete(&open, &key).await.unwrap();
    assert!(replayed.metadata().contains_key("idempotent-replayed"));
    assert_eq!(replayed.into_inner(), answer);
    again.buy(&sku, 1, CARD_OK).await.unwrap();
}
