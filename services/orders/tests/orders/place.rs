//! Placing an order, and placing it again.

use super::*;

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
