//! What the others hear, and what the database is asked.

use super::*;

async fn told(shop: &Shop) -> Vec<(String, String)> {
    use contracts::mesh::v1::{PullEventsRequest, feed_service_client::FeedServiceClient};
    let mut feed = FeedServiceClient::new(shop.fixture.as_service("storefront"));
    let events = feed.pull_events(PullEventsRequest::default()).await.unwrap().into_inner().events;
    let short = |kind: &str| kind.trim_start_matches("mercat.orders.v1.").to_owned();
    let subject = |event: &contracts::io::cloudevents::v1::CloudEvent| {
        format!("{:?}", event.attributes.get("subject").and_then(|found| found.attr.clone()))
    };
    events
        .into_iter()
        .filter_map(|found| found.event)
        .map(|event| (short(&event.r#type), subject(&event)))
        .collect()
}

#[tokio::test]
async fn every_turn_of_an_order_is_told_once_and_in_order() {
    let shop = shop().await;
    let order = shop.sold().await;
    shop.staff().record_fulfillment(parcel(&order, &[])).await.unwrap();
    let kinds: Vec<_> = told(&shop).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["OrderPlaced", "PlacementEnded", "OrderFulfilled", "OrderCompleted"]);

    let placement = shop.place(mugs("declined")).await;
    let kinds: Vec<_> = told(&shop).await.into_iter().skip(4).collect();
    assert_eq!(kinds[0].0, "OrderCancelled");
    assert_eq!(kinds[1].0, "PlacementEnded");
    assert!(kinds.iter().all(|(_, subject)| subject.contains(&placement.order_id)));

    let order = shop.sold().await;
    shop.alice().cancel_order(cancellation(&order)).await.unwrap();
    let last = told(&shop).await.pop().unwrap();
    assert_eq!(last.0, "OrderCancelled");
}

#[tokio::test]
async fn every_statement_prepares_on_the_engine_in_use() {
    use chassis::Service as _;
    let shop = shop().await;
    let prepared = shop.fixture.running().database().prepare_all(Orders::STATEMENTS).await;
    assert!(prepared.is_ok(), "{prepared:?}");
}
