//! Who may see what.

use super::*;

#[tokio::test]
async fn anothers_order_is_answered_as_one_that_does_not_exist() {
    let shop = shop().await;
    let order = shop.sold().await;
    let mut mallory = OrderServiceClient::new(shop.fixture.as_customer("mallory"));
    for order_id in [order.order_id.clone(), request_id()] {
        let get = GetOrderRequest { order_id: order_id.clone() };
        assert_eq!(reason(&mallory.get_order(get).await.unwrap_err()), "ORDER_NOT_FOUND");
        let watch = WatchOrderRequest { order_id: order_id.clone(), ..Default::default() };
        assert_eq!(reason(&mallory.watch_order(watch).await.unwrap_err()), "ORDER_NOT_FOUND");
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
