//! Following an order.

use tonic::{Code, Streaming};

use super::*;

async fn follow(shop: &Shop, order: &Order, etag: &str) -> Streaming<Order> {
    let request = WatchOrderRequest { order_id: order.order_id.clone(), etag: etag.to_owned() };
    let mut alice = OrderServiceClient::new(shop.fixture.as_customer(ALICE));
    alice.watch_order(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_watched_order_is_seen_to_change_until_it_ends() {
    let shop = shop().await;
    let order = shop.sold().await;
    let mut watched = follow(&shop, &order, "").await;
    assert_eq!(watched.message().await.unwrap().unwrap(), order, "as it is now");
    let mut alice = OrderServiceClient::new(shop.fixture.as_customer(ALICE));
    alice.cancel_order(cancellation(&order)).await.unwrap();
    let mut last = order.clone();
    while let Some(changed) = watched.message().await.unwrap() {
        assert_ne!(changed.etag, last.etag, "each version once");
        last = changed;
    }
    assert_eq!(last.status(), OrderStatus::Cancelled, "it ends with the order");
}

#[tokio::test]
async fn a_watch_goes_on_where_another_ended() {
    let shop = shop().await;
    let order = shop.sold().await;
    let mut watched = follow(&shop, &order, &order.etag).await;
    shop.staff()
        .hold_order(HoldOrderRequest {
            request_id: request_id(),
            order_id: order.order_id.clone(),
            ..Default::default()
        })
        .await
        .unwrap();
    let next = watched.message().await.unwrap().unwrap();
    assert_eq!(next.status(), OrderStatus::OnHold, "what it has is not sent again");
}

#[tokio::test]
async fn a_watch_whose_time_is_up_says_so() {
    let shop = shop().await;
    let order = shop.sold().await;
    let request = WatchOrderRequest { order_id: order.order_id.clone(), ..Default::default() };
    let mut request = tonic::Request::new(request);
    request.set_timeout(Duration::from_millis(300));
    let mut alice = OrderServiceClient::new(shop.fixture.as_customer(ALICE));
    let mut watched = alice.watch_order(request).await.unwrap().into_inner();
    assert!(watched.message().await.unwrap().is_some());
    assert_eq!(watched.message().await.unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn only_so_many_orders_are_watched_and_a_stop_ends_them() {
    let shop = shop().await;
    let order = shop.sold().await;
    let mut first = follow(&shop, &order, "").await;
    let second = follow(&shop, &order, "").await;
    let request = WatchOrderRequest { order_id: order.order_id.clone(), ..Default::default() };
    let mut alice = OrderServiceClient::new(shop.fixture.as_customer(ALICE));
    let refused = alice.watch_order(request.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), "OVERLOADED");
    drop(second);
    eventually(|| async {
        let mut alice = OrderServiceClient::new(shop.fixture.as_customer(ALICE));
        alice.watch_order(request.clone()).await.ok()
    })
    .await;
    assert!(first.message().await.unwrap().is_some());
    let ended = async { first.message().await.unwrap_err().code() };
    let ((), code) = tokio::join!(shop.fixture.stop(), ended);
    assert_eq!(code, Code::Unavailable);
}
