//! Promises: made whole or not at all, and resolved once.

use std::time::Duration;

use contracts::inventory::v1::{
    CommitReservationRequest, FulfillLine, FulfillRequest, GetReservationRequest,
    ListReservationsRequest, MovementKind, ReservationState, ReserveRequest,
    inventory_service_client::InventoryServiceClient,
};
use testkit::request_id;
use tonic::Code;

use crate::warehouse::{NOBODY, Warehouse, refused, reserve, short};

#[tokio::test]
async fn stock_is_taken_for_every_line_or_for_none() {
    let warehouse = Warehouse::open().await;
    warehouse.stock("mug", 5).await;
    warehouse.stock("cup", 1).await;

    let status = warehouse.reserve(&[("mug", 2), ("cup", 2), ("pot", 1)]).await.unwrap_err();
    assert_eq!(
        (status.code(), &*testkit::reason(&status)),
        (Code::FailedPrecondition, "OUT_OF_STOCK")
    );
    let named = short(&status);
    let expected = [("cup", "2 wanted, 1 available"), ("pot", "1 wanted, 0 available")];
    assert_eq!(named, expected.map(|(sku, text)| (sku.to_owned(), text.to_owned())));
    assert_eq!(warehouse.counts("mug").await, (5, 0, 0));

    // One line alone is refused as clearly, lines of one SKU are added up.
    let status = warehouse.reserve(&[("cup", 3)]).await.unwrap_err();
    assert_eq!(short(&status), [("cup".to_owned(), "3 wanted, 1 available".to_owned())]);
    let reservation = warehouse.reserve(&[("mug", 2), ("cup", 1), ("mug", 1)]).await.unwrap();
    let lines: Vec<_> = reservation.lines.iter().map(|line| (&*line.sku, line.quantity)).collect();
    assert_eq!(lines, [("cup", 1), ("mug", 3)]);
    assert_eq!(
        (warehouse.counts("mug").await, warehouse.counts("cup").await),
        ((5, 3, 0), (1, 1, 0))
    );
    assert_eq!((warehouse.available("mug").await, warehouse.available("cup").await), (2, 0));
}

#[tokio::test]
async fn locations_are_asked_by_priority_and_share_what_none_can_meet() {
    let warehouse = Warehouse::open().await;
    let near = warehouse.location("near", 1).await;
    let far = warehouse.location("far", 99).await;
    for (location, on_hand) in [(&near, 2), (&warehouse.main, 3), (&far, 4)] {
        warehouse.stock_at("mug", location, on_hand).await;
    }
    let taken = |quantity| {
        let warehouse = &warehouse;
        async move {
            let reservation = warehouse.reserve(&[("mug", quantity)]).await.unwrap();
            let lines: Vec<_> = reservation
                .lines
                .iter()
                .map(|line| (line.location_id.clone(), line.quantity))
                .collect();
            warehouse.release(&reservation.reservation_id).await.unwrap();
            lines
        }
    };

    assert_eq!(taken(2).await, [(near.clone(), 2)]);
    assert_eq!(taken(3).await, [(warehouse.main.clone(), 3)], "the nearest that has all of it");
    assert_eq!(taken(4).await, [(far.clone(), 4)]);
    let mut split = [(near, 2), (warehouse.main.clone(), 3), (far, 2)];
    split.sort();
    assert_eq!(taken(7).await, split);
    assert_eq!(refused(warehouse.reserve(&[("mug", 10)]).await), "OUT_OF_STOCK");
    warehouse.reconcile().await;
}

#[tokio::test]
async fn the_same_request_takes_stock_once() {
    let warehouse = Warehouse::open().await;
    warehouse.stock("mug", 5).await;
    let request = reserve(request_id(), &[("mug", 2)]);

    let first = warehouse.orders().reserve(request.clone()).await.unwrap().into_inner();
    let again = warehouse.orders().reserve(request.clone()).await.unwrap();
    assert_eq!(again.metadata().get("idempotent-replayed").unwrap(), "true");
    assert_eq!(again.into_inner(), first);
    let other = reserve(request.request_id, &[("mug", 3)]);
    assert_eq!(refused(warehouse.orders().reserve(other).await), "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(warehouse.counts("mug").await, (5, 2, 0));

    let id = first.reservation.unwrap().reservation_id;
    let request = CommitReservationRequest { request_id: request_id(), reservation_id: id.clone() };
    let first = warehouse.orders().commit_reservation(request.clone()).await.unwrap().into_inner();
    assert_eq!(warehouse.orders().commit_reservation(request).await.unwrap().into_inner(), first);
    let request =
        FulfillRequest { request_id: request_id(), reservation_id: id, lines: Vec::new() };
    let first = warehouse.orders().fulfill(request.clone()).await.unwrap().into_inner();
    assert_eq!(warehouse.orders().fulfill(request).await.unwrap().into_inner(), first);
    assert_eq!(warehouse.counts("mug").await, (3, 0, 0));
}

#[tokio::test]
async fn a_reservation_expires_and_returns_its_stock() {
    let warehouse = Warehouse::open().await;
    warehouse.stock("mug", 1).await;
    let reservation = warehouse.reserve(&[("mug", 1)]).await.unwrap();
    let id = &reservation.reservation_id;
    let expected = (warehouse.now() + Duration::from_secs(15 * 60)).timestamp();
    assert_eq!(reservation.expire_time, Some(expected), "15 minutes unless it is said");

    warehouse.advance(Duration::from_secs(15 * 60 - 1));
    assert_eq!(refused(warehouse.reserve(&[("mug", 1)]).await), "OUT_OF_STOCK");
    assert_eq!(warehouse.state(id).await, ReservationState::Held);

    warehouse.advance(Duration::from_secs(1));
    warehouse.until(id, ReservationState::Expired).await;
    assert_eq!(warehouse.counts("mug").await, (1, 0, 0));
    assert_eq!(
        warehouse.kinds("mug").await,
        [MovementKind::Adjust, MovementKind::Reserve, MovementKind::Expire]
    );
    assert_eq!(warehouse.movements("mug").await[2].actor, "service/inventory");
    warehouse.reserve(&[("mug", 1)]).await.unwrap();
    warehouse.reconcile().await;
}

#[tokio::test]
async fn a_sweep_gives_back_more_than_one_batch() {
    let config = serde_json::json!({ "sweep_period": "5ms", "sweep_batch": 3 });
    let mut warehouse = Warehouse::unswept().await;
    warehouse.fixture = testkit::service().config(config).start().await;
    warehouse.main = warehouse.location("main", 1).await;
    warehouse.stock("mug", 20).await;
    for _ in 0..10 {
        warehouse.reserve(&[("mug", 2)]).await.unwrap();
    }
    warehouse.advance(Duration::from_secs(15 * 60));
    testkit::eventually(|| async { (warehouse.available("mug").await == 20).then_some(()) }).await;
    warehouse.reconcile().await;
}

#[tokio::test]
async fn a_reservation_can_be_held_for_longer_but_never_for_less() {
    let warehouse = Warehouse::open().await;
    warehouse.stock("mug", 1).await;
    let ttl = Some(prost_types::Duration { seconds: 600, nanos: 0 });
    let request = ReserveRequest { ttl, ..reserve(request_id(), &[("mug", 1)]) };
    let held = warehouse.orders().reserve(request).await.unwrap().into_inner().reservation.unwrap();

    let same = warehouse.extend(&held.reservation_id, 60).await.unwrap();
    assert_eq!(same.expire_time, held.expire_time);
    let longer = warehouse.extend(&held.reservation_id, 3600).await.unwrap();
    assert_eq!(longer.expire_time, Some((warehouse.now() + Duration::from_secs(3600)).timestamp()));
    warehouse.advance(Duration::from_secs(3599));
    warehouse.commit(&held.reservation_id).await.unwrap();
}

#[tokio::test]
async fn every_way_to_resolve_a_reservation_works_from_its_state_only() {
    let warehouse = Warehouse::unswept().await;
    warehouse.stock("mug", 1000).await;
    let held = || async { warehouse.reserve(&[("mug", 2)]).await.unwrap().reservation_id };
    let committed = || async { warehouse.commit(&held().await).await.unwrap().reservation_id };

    // One reservation in each state; each is asked everything, and nothing changes it.
    let lapsed = held().await;
    warehouse.advance(Duration::from_secs(15 * 60));
    let released = warehouse.release(&held().await).await.unwrap().reservation_id;
    let fulfilled = warehouse.fulfill(&committed().await, &[]).await.unwrap().reservation_id;
    let returned = warehouse.release(&committed().await).await.unwrap().reservation_id;
    let before = warehouse.counts("mug").await;
    for (id, reason) in [
        (released.as_str(), "RESERVATION_ALREADY_RELEASED"),
        (&fulfilled, "RESERVATION_ALREADY_FULFILLED"),
        (&returned, "RESERVATION_ALREADY_RETURNED"),
        (NOBODY, "RESERVATION_NOT_FOUND"),
    ] {
        assert_eq!(refused(warehouse.commit(id).await), reason);
        assert_eq!(refused(warehouse.release(id).await), reason);
        assert_eq!(refused(warehouse.extend(id, 600).await), reason);
        assert_eq!(refused(warehouse.fulfill(id, &[]).await), reason);
    }
    // Out of time, though no sweeper has been there: it is too late for all but giving back.
    assert_eq!(refused(warehouse.commit(&lapsed).await), "RESERVATION_EXPIRED");
    assert_eq!(refused(warehouse.extend(&lapsed, 600).await), "RESERVATION_EXPIRED");
    assert_eq!(refused(warehouse.fulfill(&lapsed, &[]).await), "RESERVATION_EXPIRED");
    // Committed.
    let id = committed().await;
    assert_eq!(refused(warehouse.commit(&id).await), "RESERVATION_ALREADY_COMMITTED");
    assert_eq!(refused(warehouse.extend(&id, 600).await), "RESERVATION_ALREADY_COMMITTED");
    // Held.
    let id = held().await;
    assert_eq!(refused(warehouse.fulfill(&id, &[]).await), "RESERVATION_NOT_COMMITTED");

    let (on_hand, reserved, committed) = before;
    assert_eq!(warehouse.counts("mug").await, (on_hand, reserved + 2, committed + 2));
    assert_eq!((on_hand, reserved, committed), (998, 2, 0));
    let request = GetReservationRequest { reservation_id: NOBODY.into() };
    assert_eq!(refused(warehouse.orders().get_reservation(request).await), "RESERVATION_NOT_FOUND");
    warehouse.reconcile().await;
}

#[tokio::test]
async fn an_expired_reservation_says_so_to_everybody() {
    let warehouse = Warehouse::open().await;
    warehouse.stock("mug", 1).await;
    let id = warehouse.reserve(&[("mug", 1)]).await.unwrap().reservation_id;
    warehouse.advance(Duration::from_secs(15 * 60));
    warehouse.until(&id, ReservationState::Expired).await;

    assert_eq!(refused(warehouse.commit(&id).await), "RESERVATION_EXPIRED");
    assert_eq!(refused(warehouse.release(&id).await), "RESERVATION_EXPIRED");
    assert_eq!(refused(warehouse.extend(&id, 600).await), "RESERVATION_EXPIRED");
    assert_eq!(refused(warehouse.fulfill(&id, &[]).await), "RESERVATION_EXPIRED");
}

#[tokio::test]
async fn units_ship_in_parcels_and_what_is_cancelled_comes_back() {
    let warehouse = Warehouse::open().await;
    let near = warehouse.location("near", 1).await;
    warehouse.stock_at("mug", &near, 3).await;
    warehouse.stock("mug", 2).await;
    warehouse.stock("cup", 1).await;
    let id = warehouse.reserve(&[("mug", 4), ("cup", 1)]).await.unwrap().reservation_id;
    warehouse.commit(&id).await.unwrap();
    assert_eq!(warehouse.counts("mug").await, (5, 0, 4));

    assert_eq!(
        refused(warehouse.fulfill(&id, &[("mug", 5)]).await),
        "FULFILLMENT_EXCEEDS_RESERVATION"
    );
    assert_eq!(
        refused(warehouse.fulfill(&id, &[("pot", 1)]).await),
        "FULFILLMENT_EXCEEDS_RESERVATION"
    );
    assert_eq!(warehouse.counts("mug").await, (5, 0, 4));

    let line = FulfillLine { sku: "mug".into(), quantity: 1, location_id: warehouse.main.clone() };
    let request =
        FulfillRequest { request_id: request_id(), reservation_id: id.clone(), lines: vec![line] };
    let partly =
        warehouse.orders().fulfill(request).await.unwrap().into_inner().reservation.unwrap();
    assert_eq!(partly.state(), ReservationState::Committed);
    let shipped: Vec<_> =
        partly.lines.iter().map(|line| (&*line.sku, line.fulfilled_quantity)).collect();
    assert_eq!(shipped.iter().map(|(_, quantity)| quantity).sum::<i64>(), 1);
    let left = warehouse.fulfill(&id, &[("mug", 3), ("cup", 1)]).await.unwrap();
    assert_eq!(left.state(), ReservationState::Fulfilled);
    assert_eq!(
        (warehouse.counts("mug").await, warehouse.counts("cup").await),
        ((1, 0, 0), (0, 0, 0))
    );

    // Of one that is half shipped, the other half returns.
    let id = warehouse.reserve(&[("mug", 1)]).await.unwrap().reservation_id;
    warehouse.stock("cup", 4).await;
    warehouse.release(&id).await.unwrap();
    let id = warehouse.reserve(&[("cup", 4)]).await.unwrap().reservation_id;
    warehouse.commit(&id).await.unwrap();
    warehouse.fulfill(&id, &[("cup", 1)]).await.unwrap();
    let returned = warehouse.release(&id).await.unwrap();
    assert_eq!(returned.state(), ReservationState::ReturnedToStock);
    assert_eq!((warehouse.counts("cup").await, warehouse.available("cup").await), ((3, 0, 0), 3));
    warehouse.reconcile().await;
}

#[tokio::test]
async fn reservations_are_listed_newest_first() {
    let warehouse = Warehouse::open().await;
    warehouse.stock("mug", 10).await;
    let mut made = Vec::new();
    for owner in ["orders/1", "orders/2", "orders/1"] {
        let request =
            ReserveRequest { owner: owner.into(), ..reserve(request_id(), &[("mug", 1)]) };
        let held =
            warehouse.orders().reserve(request).await.unwrap().into_inner().reservation.unwrap();
        made.insert(0, held.reservation_id);
    }
    warehouse.commit(&made[0]).await.unwrap();
    let list = |owner: &str, state: ReservationState| {
        let mut request = ListReservationsRequest {
            page_size: 1,
            owner: owner.into(),
            state: state.into(),
            ..ListReservationsRequest::default()
        };
        let mut orders = warehouse.orders();
        async move {
            let mut found = Vec::new();
            loop {
                let page = orders.list_reservations(request.clone()).await.unwrap().into_inner();
                found.extend(page.reservations.into_iter().map(|found| found.reservation_id));
                request.page_token = page.next_page_token;
                if request.page_token.is_empty() {
                    return found;
                }
            }
        }
    };
    assert_eq!(list("", ReservationState::Unspecified).await, made);
    assert_eq!(
        list("orders/1", ReservationState::Unspecified).await,
        [made[0].clone(), made[2].clone()]
    );
    assert_eq!(list("orders/1", ReservationState::Held).await, [made[2].clone()]);
    assert_eq!(list("", ReservationState::Held).await, [made[1].clone(), made[2].clone()]);
}

#[tokio::test]
async fn only_the_service_that_sells_may_take_stock() {
    let warehouse = Warehouse::open().await;
    warehouse.stock("mug", 1).await;
    let request = || reserve(request_id(), &[("mug", 1)]);
    let fixture = &warehouse.fixture;
    for (caller, code) in [
        (fixture.anonymous(), Code::Unauthenticated),
        (fixture.as_guest("g1"), Code::PermissionDenied),
        (fixture.as_customer("c1"), Code::PermissionDenied),
        (fixture.as_staff(&["inventory.stock.write"]), Code::PermissionDenied),
        (fixture.as_service("storefront"), Code::Unauthenticated),
        (fixture.as_service_for("storefront", "c1"), Code::PermissionDenied),
    ] {
        let status = InventoryServiceClient::new(caller).reserve(request()).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
    }
    assert_eq!(warehouse.counts("mug").await, (1, 0, 0));
    let staff = fixture.as_staff(&["inventory.reservations.write"]);
    InventoryServiceClient::new(staff).reserve(request()).await.unwrap();
}

#[tokio::test]
async fn a_request_that_cannot_be_meant_names_the_field() {
    let warehouse = Warehouse::open().await;
    let good = || reserve(request_id(), &[("mug", 1)]);
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    for (request, field) in [
        (reserve(String::new(), &[("mug", 1)]), "request_id"),
        (reserve(request_id(), &[]), "lines"),
        (reserve(request_id(), &[("mug", 0)]), "lines[0].quantity"),
        (reserve(request_id(), &[("mug", 1), ("a mug", 1)]), "lines[1].sku"),
        (ReserveRequest { owner: String::new(), ..good() }, "owner"),
        (ReserveRequest { ttl: seconds(59), ..good() }, "ttl"),
        (ReserveRequest { ttl: seconds(86_401), ..good() }, "ttl"),
    ] {
        let status = warehouse.orders().reserve(request).await.unwrap_err();
        assert_eq!(
            (status.code(), testkit::fields(&status)),
            (Code::InvalidArgument, vec![field.to_owned()])
        );
    }
}
