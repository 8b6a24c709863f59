//! What must be true when everything has come to rest: orders, money and stock
//! tell the same story.

use std::collections::BTreeMap;

use contracts::{
    catalog::v1::{
        ImportProduct, ImportProductsRequest, ImportVariant, NewPrice,
        import_service_client::ImportServiceClient,
    },
    identity::v1::{IssueGuestTokenRequest, auth_service_client::AuthServiceClient},
    inventory::v1::{
        CreateLocationRequest, GetStockRequest, ListReservationsRequest, ReconcileStockRequest,
        ReservationState, SetStockRequest, inventory_service_client::InventoryServiceClient,
        location_service_client::LocationServiceClient, stock_service_client::StockServiceClient,
    },
    orders::v1::{
        ListOrdersRequest, ListSagasRequest, Order, OrderStatus, PaymentStatus, SagaStatus,
        order_service_client::OrderServiceClient,
        saga_admin_service_client::SagaAdminServiceClient,
    },
    payments::v1::{
        GetBalancesRequest, LedgerAccount, ListPaymentIntentsRequest, PaymentActionOutcome,
        PaymentIntentStatus, ledger_service_client::LedgerServiceClient,
        payment_service_client::PaymentServiceClient,
    },
    storefront::v1::{Checkout, complete_checkout_response::Outcome},
    values::v1::Money,
};
use mesh::client::Client;
use testkit::{eventually, request_id};
use tonic::Status;

use crate::{program::Program, support::shopper::Shopper};

/// A last click, and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) checkout: Checkout,
    /// The shopper's.
    pub(crate) token: String,
    /// The `request_id` of the click.
    pub(crate) key: String,
    pub(crate) quantity: i64,
    /// The order that the shopper was told of.
    pub(crate) order_id: Option<String>,
}

/// Everything that was attempted, of one product.
#[derive(Debug)]
pub(crate) struct Audit {
    pub(crate) sku: String,
    /// How much there was at the beginning.
    pub(crate) stock: i64,
    pub(crate) attempts: Vec<Attempt>,
}

/// A new guest, if there is a mesh.
pub(crate) async fn try_guest(nobody: &Client) -> Result<(Shopper, String), Status> {
    let request = IssueGuestTokenRequest { request_id: request_id() };
    let issued =
        nobody.client(AuthServiceClient::new).issue_guest_token(request).await?.into_inner();
    let token = issued.tokens.unwrap().access_token;
    Ok((Shopper::new(nobody.with_token(&token).unwrap()), token))
}

/// A new guest.
pub(crate) async fn guest(program: &Program) -> (Shopper, String) {
    try_guest(&program.client()).await.unwrap()
}

/// A product for sale with so much in stock; gives its SKU.
pub(crate) async fn product(admin: &Client, stock: i64) -> String {
    let sku = format!("SKU-{}", request_id());
    let price = Money { currency_code: "EUR".to_owned(), minor_units: 1_250 };
    let variant = ImportVariant {
        sku: sku.clone(),
        weight_grams: 320,
        prices: vec![NewPrice { unit_price: Some(price), ..NewPrice::default() }],
        ..ImportVariant::default()
    };
    let product = ImportProduct {
        slug: sku.to_lowercase(),
        title: "Enamel mug".to_owned(),
        tax_category: "standard".to_owned(),
        publish: true,
        variants: vec![variant],
        ..ImportProduct::default()
    };
    let request = ImportProductsRequest {
        request_id: request_id(),
        products: vec![product],
        atomic: true,
        ..ImportProductsRequest::default()
    };
    let imported = admin.client(ImportServiceClient::new).import_products(request).await.unwrap();
    assert_eq!(imported.get_ref().errors, []);
    let request = CreateLocationRequest {
        request_id: request_id(),
        code: "main".to_owned(),
        display_name: "Main warehouse".to_owned(),
        ..CreateLocationRequest::default()
    };
    let location = admin
        .client(LocationServiceClient::new)
        .create_location(request)
        .await
        .unwrap()
        .into_inner();
    let request = SetStockRequest {
        request_id: request_id(),
        sku: sku.clone(),
        location_id: location.location_id,
        on_hand: stock,
        ..SetStockRequest::default()
    };
    admin.client(StockServiceClient::new).set_stock(request).await.unwrap();
    sku
}

/// The order that a last click led to, as the shopper is told when it asks.
async fn outcome(program: &Program, attempt: &Attempt) -> Option<String> {
    let shopper = Shopper::new(program.client().with_token(&attempt.token).unwrap());
    eventually(|| async {
        match shopper.completion(&attempt.checkout.checkout_id).await {
            Ok(answer) => match answer.outcome {
                Some(Outcome::Order(order)) => Some(Some(order.order_id)),
                _ => None,
            },
            Err(status) if status.code() == tonic::Code::Unavailable => None,
            Err(_refused) => Some(None),
        }
    })
    .await
}

/// How many sagas have not ended.
async fn unfinished(admin: &Client) -> usize {
    let request = ListSagasRequest { page_size: 1_000, ..ListSagasRequest::default() };
    let listed =
        admin.client(SagaAdminServiceClient::new).list_sagas(request).await.unwrap().into_inner();
    assert_eq!(listed.next_page_token, "");
    let failed: Vec<_> =
        listed.sagas.iter().filter(|saga| saga.status() == SagaStatus::Failed).collect();
    assert!(failed.is_empty(), "a person must decide: {failed:?}");
    listed
        .sagas
        .iter()
        .filter(|saga| !matches!(saga.status(), SagaStatus::Done | SagaStatus::Compensated))
        .count()
}

/// Waits until no saga is under way.
pub(crate) async fn nothing_is_under_way(admin: &Client) {
    eventually(|| async { (unfinished(admin).await == 0).then_some(()) }).await;
}

async fn orders(admin: &Client) -> Vec<Order> {
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let request =
            ListOrdersRequest { page_size: 1_000, page_token, ..ListOrdersRequest::default() };
        let listed =
            admin.client(OrderServiceClient::new).list_orders(request).await.unwrap().into_inner();
        found.extend(listed.orders);
        page_token = listed.next_page_token;
        if page_token.is_empty() {
            return found;
        }
    }
}

fn minor(money: Option<&Money>) -> i64 {
    money.map_or(0, |money| money.minor_units)
}

impl Audit {
    /// Every n-th shopper clicks again with the same key, and waits.
    pub(crate) async fn click_again(&self, program: &Program, every: usize) {
        for attempt in self.attempts.iter().step_by(every) {
            let shopper = Shopper::new(program.client().with_token(&attempt.token).unwrap());
            let first = shopper.complete(&attempt.checkout, &attempt.key).await;
            let settled = match first {
                Ok(first) => {
                    shopper
                        .settle(
                            &attempt.checkout,
                            first.into_inner(),
                            PaymentActionOutcome::Success,
                        )
                        .await
                }
                Err(refused) => Err(refused),
            };
            match (&attempt.order_id, &settled) {
                (Some(before), Ok(order)) => assert_eq!(before, &order.order_id),
                (Some(before), Err(refused)) => {
                    panic!("order {before} was answered, and now {refused:?}")
                }
                (None, Ok(_)) => {}
                (None, Err(refused)) => {
                    assert_eq!(testkit::reason(refused), "PAYMENT_DECLINED", "{refused:?}")
                }
            }
        }
    }

    /// Everything agrees, and at least so many orders are there.
    pub(crate) async fn hold(&self, admin: &Client, program: &Program, at_least: usize) {
        // A click that got no further than the storefront goes on when it is asked for.
        let mut known = Vec::new();
        for attempt in &self.attempts {
            known.push(outcome(program, attempt).await);
        }
        nothing_is_under_way(admin).await;
        let orders = self.assert_orders(admin, &known, at_least).await;
        assert_money(admin, &orders).await;
        self.assert_stock(admin, &orders).await;
    }

    /// One order a checkout, or none; what the shopper was told is true.
    async fn assert_orders(
        &self,
        admin: &Client,
        known: &[Option<String>],
        at_least: usize,
    ) -> Vec<Order> {
        let orders = orders(admin).await;
        let mut confirmed: BTreeMap<&str, &Order> = BTreeMap::new();
        for order in &orders {
            match order.status() {
                OrderStatus::Confirmed => {
                    let twice = confirmed.insert(&order.checkout_id, order);
                    assert!(twice.is_none(), "two orders of one checkout: {twice:?} {order:?}");
                }
                OrderStatus::Cancelled => {}
                other => panic!("an order is left {other:?}: {order:?}"),
            }
        }
        assert!(confirmed.len() >= at_least, "{} orders of {at_least}", confirmed.len());
        for (attempt, known) in self.attempts.iter().zip(known) {
            let found = confirmed.get(attempt.checkout.checkout_id.as_str());
            if let Some(told) = &attempt.order_id {
                let order = found.unwrap_or_else(|| panic!("the order {told} is lost"));
                assert_eq!(&order.order_id, told);
                let quoted =
                    attempt.checkout.totals.as_ref().and_then(|totals| totals.total.as_ref());
                let total = order.totals.as_ref().and_then(|totals| totals.total.as_ref());
                assert_eq!(minor(total), minor(quoted), "it costs what was agreed");
            }
            assert_eq!(known, &found.map(|order| order.order_id.clone()), "{attempt:?}");
        }
        orders
    }

    /// What was there is there or promised to an order, and nothing is held.
    async fn assert_stock(&self, admin: &Client, orders: &[Order]) {
        let sold: i64 = self
            .attempts
            .iter()
            .filter(|attempt| {
                orders.iter().any(|order| {
                    order.checkout_id == attempt.checkout.checkout_id
                        && order.status() == OrderStatus::Confirmed
                })
            })
            .map(|attempt| attempt.quantity)
            .sum();
        let request = ListReservationsRequest {
            page_size: 1_000,
            state: ReservationState::Held.into(),
            ..ListReservationsRequest::default()
        };
        let held = admin
            .client(InventoryServiceClient::new)
            .list_reservations(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(held.reservations, [], "nothing is held for a purchase that has ended");
        let mut stock = admin.client(StockServiceClient::new);
        let found =
            stock.get_stock(GetStockRequest { sku: self.sku.clone() }).await.unwrap().into_inner();
        assert_eq!((found.on_hand, found.reserved, found.committed), (self.stock, 0, sold));
        let drift =
            stock.reconcile_stock(ReconcileStockRequest::default()).await.unwrap().into_inner();
        assert_eq!(drift.discrepancies, []);
    }
}

/// What was captured is what confirmed orders cost; of the others nothing is kept.
async fn assert_money(admin: &Client, orders: &[Order]) {
    let confirmed: BTreeMap<&str, i64> = orders
        .iter()
        .filter(|order| order.status() == OrderStatus::Confirmed)
        .map(|order| {
            assert_eq!(order.payment_status(), PaymentStatus::Captured, "{order:?}");
            let total = order.totals.as_ref().and_then(|totals| totals.total.as_ref());
            (order.order_id.as_str(), minor(total))
        })
        .collect();
    let mut captured: BTreeMap<String, i64> = BTreeMap::new();
    let mut page_token = String::new();
    loop {
        let request = ListPaymentIntentsRequest {
            page_size: 1_000,
            page_token,
            ..ListPaymentIntentsRequest::default()
        };
        let listed = admin
            .client(PaymentServiceClient::new)
            .list_payment_intents(request)
            .await
            .unwrap()
            .into_inner();
        for intent in listed.payment_intents {
            assert_eq!(minor(intent.amount_capturable.as_ref()), 0, "still held: {intent:?}");
            let open = [
                PaymentIntentStatus::Processing,
                PaymentIntentStatus::RequiresAction,
                PaymentIntentStatus::RequiresCapture,
                PaymentIntentStatus::Unknown,
                PaymentIntentStatus::Conflicted,
            ];
            assert!(!open.contains(&intent.status()), "{intent:?}");
            let kept =
                minor(intent.amount_captured.as_ref()) - minor(intent.amount_refunded.as_ref());
            if kept != 0 {
                let twice = captured.insert(intent.order_id.clone(), kept);
                assert_eq!(twice, None, "order {} was paid twice", intent.order_id);
            }
        }
        page_token = listed.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let captured: BTreeMap<&str, i64> =
        captured.iter().map(|(order, kept)| (order.as_str(), *kept)).collect();
    assert_eq!(captured, confirmed, "captured against ordered");

    let request = GetBalancesRequest::default();
    let balances = admin
        .client(LedgerServiceClient::new)
        .get_balances(request)
        .await
        .unwrap()
        .into_inner()
        .balances;
    let of = |account: LedgerAccount| -> i64 {
        balances
            .iter()
            .filter(|found| found.account() == account)
            .map(|found| minor(found.balance.as_ref()))
            .sum()
    };
    let total: i64 = confirmed.values().sum();
    assert_eq!(
        balances.iter().map(|found| minor(found.balance.as_ref())).sum::<i64>(),
        0,
        "debits are credits"
    );
    assert_eq!(of(LedgerAccount::ProviderClearing), total);
    assert_eq!(of(LedgerAccount::OrderFunds), -total);
    assert_eq!((of(LedgerAccount::AuthorizationHold), of(LedgerAccount::AuthorizedFunds)), (0, 0));
}
