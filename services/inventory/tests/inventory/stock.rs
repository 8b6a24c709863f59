//! What lies where, how it comes and goes, and who is told.

use contracts::inventory::v1::{
    AdjustStockRequest, BatchGetAvailabilityRequest, BulkSetStockRequest, GetAvailabilityRequest,
    GetStockRequest, ListLowStockRequest, ListStockRequest, ListStockResponse, Location,
    ReceiveStockRequest, RestockRequest, ReturnCondition, SetStockPolicyRequest, SetStockRequest,
    StockCount, TransferStockRequest, UpdateLocationRequest, WriteOffRequest,
    inventory_service_client::InventoryServiceClient, stock_service_client::StockServiceClient,
};
use testkit::request_id;
use tonic::Code;

use crate::warehouse::{NOBODY, Warehouse, refused};

impl Warehouse {
    fn adjust(&self, sku: &str, delta: i64, etag: &str) -> AdjustStockRequest {
        AdjustStockRequest {
            request_id: request_id(),
            sku: sku.into(),
            location_id: self.main.clone(),
            delta,
            reason: "counted".into(),
            etag: etag.into(),
        }
    }

    fn receive(&self, sku: &str, location_id: &str, quantity: i64) -> ReceiveStockRequest {
        ReceiveStockRequest {
            request_id: request_id(),
            sku: sku.into(),
            location_id: location_id.into(),
            quantity,
            reason: "delivery 7".into(),
        }
    }

    fn write_off(&self, sku: &str, quantity: i64) -> WriteOffRequest {
        WriteOffRequest {
            request_id: request_id(),
            sku: sku.into(),
            location_id: self.main.clone(),
            quantity,
            reason: "broken".into(),
        }
    }

    fn transfer(&self, sku: &str, target: &str, quantity: i64) -> TransferStockRequest {
        TransferStockRequest {
            request_id: request_id(),
            sku: sku.into(),
            source_location_id: self.main.clone(),
            target_location_id: target.into(),
            quantity,
            reason: String::new(),
        }
    }

    fn restock(&self, sku: &str, quantity: i64, condition: ReturnCondition) -> RestockRequest {
        RestockRequest {
            request_id: request_id(),
            sku: sku.into(),
            location_id: self.main.clone(),
            quantity,
            condition: condition.into(),
            reason: "orders/1".into(),
        }
    }
}

#[tokio::test]
async fn units_come_and_go_once_however_often_it_is_said() {
    let warehouse = Warehouse::open().await;
    let (mut staff, mut orders) = (warehouse.staff(), warehouse.orders());
    let away = warehouse.location("away", 20).await;

    macro_rules! twice {
        ($client:ident.$method:ident($request:expr)) => {{
            let request = $request;
            let first = $client.$method(request.clone()).await.unwrap();
            assert!(first.metadata().get("idempotent-replayed").is_none());
            let second = $client.$method(request).await.unwrap();
            assert_eq!(second.metadata().get("idempotent-replayed").unwrap(), "true");
            assert_eq!(second.into_inner(), *first.get_ref());
            first.into_inner()
        }};
    }
    let level =
        twice!(staff.receive_stock(warehouse.receive("mug", &warehouse.main, 10))).level.unwrap();
    assert_eq!((level.on_hand, level.available), (10, 10));
    let level = twice!(staff.adjust_stock(warehouse.adjust("mug", -2, &level.etag))).level.unwrap();
    assert_eq!(level.on_hand, 8);
    let level = twice!(staff.write_off(warehouse.write_off("mug", 1))).level.unwrap();
    assert_eq!(level.on_hand, 7);
    let moved = twice!(staff.transfer_stock(warehouse.transfer("mug", &away, 3)));
    assert_eq!((moved.source.unwrap().on_hand, moved.target.unwrap().on_hand), (4, 3));
    let level =
        twice!(orders.restock(warehouse.restock("mug", 2, ReturnCondition::Ok))).level.unwrap();
    assert_eq!(level.on_hand, 6);
    let level = twice!(orders.restock(warehouse.restock("mug", 5, ReturnCondition::Damaged)))
        .level
        .unwrap();
    assert_eq!(level.on_hand, 6);
    let set = SetStockRequest {
        request_id: request_id(),
        sku: "mug".into(),
        location_id: warehouse.main.clone(),
        on_hand: 9,
        reason: "yearly count".into(),
        etag: level.etag,
    };
    assert_eq!(twice!(staff.set_stock(set)).level.unwrap().on_hand, 9);

    let ledger: Vec<String> = warehouse
        .movements("mug")
        .await
        .iter()
        .map(|found| {
            format!("{} {} {}", found.kind().as_str_name(), found.on_hand_delta, found.reason)
        })
        .collect();
    let expected = [
        "RECEIVE 10 delivery 7",
        "ADJUST -2 counted",
        "WRITE_OFF -1 broken",
        "TRANSFER_OUT -3 ",
        "TRANSFER_IN 3 ",
        "RETURN 2 orders/1",
        "RETURN 5 orders/1",
        "WRITE_OFF -5 orders/1",
        "ADJUST 3 yearly count",
    ];
    assert_eq!(ledger, expected.map(|line| format!("MOVEMENT_KIND_{line}")));
    warehouse.reconcile().await;
}

#[tokio::test]
async fn a_shelf_is_never_emptier_than_empty_or_than_what_is_promised() {
    let warehouse = Warehouse::open().await;
    let mut staff = warehouse.staff();
    let away = warehouse.location("away", 20).await;
    warehouse.stock("mug", 5).await;
    warehouse.reserve(&[("mug", 3)]).await.unwrap();

    let status = staff.adjust_stock(warehouse.adjust("mug", -6, "")).await.unwrap_err();
    assert_eq!(
        (status.code(), &*testkit::reason(&status)),
        (Code::FailedPrecondition, "STOCK_INSUFFICIENT")
    );
    assert_eq!(refused(staff.write_off(warehouse.write_off("mug", 6)).await), "STOCK_INSUFFICIENT");
    assert_eq!(
        refused(staff.transfer_stock(warehouse.transfer("mug", &away, 6)).await),
        "STOCK_INSUFFICIENT"
    );

    assert_eq!(
        refused(staff.adjust_stock(warehouse.adjust("mug", -3, "")).await),
        "STOCK_PROMISED"
    );
    assert_eq!(refused(staff.write_off(warehouse.write_off("mug", 3)).await), "STOCK_PROMISED");
    assert_eq!(
        refused(staff.transfer_stock(warehouse.transfer("mug", &away, 3)).await),
        "STOCK_PROMISED"
    );
    let set = SetStockRequest {
        request_id: request_id(),
        sku: "mug".into(),
        location_id: warehouse.main.clone(),
        on_hand: 2,
        ..SetStockRequest::default()
    };
    assert_eq!(refused(staff.set_stock(set).await), "STOCK_PROMISED");

    assert_eq!(warehouse.counts("mug").await, (5, 3, 0));
    staff.write_off(warehouse.write_off("mug", 2)).await.unwrap();
    assert_eq!(warehouse.available("mug").await, 0);
}

#[tokio::test]
async fn what_does_not_exist_is_named_and_not_made() {
    let warehouse = Warehouse::open().await;
    let (mut staff, mut orders) = (warehouse.staff(), warehouse.orders());

    assert_eq!(
        refused(staff.get_stock(GetStockRequest { sku: "mug".into() }).await),
        "LEVEL_NOT_FOUND"
    );
    assert_eq!(
        refused(staff.adjust_stock(warehouse.adjust("mug", 1, "")).await),
        "LEVEL_NOT_FOUND"
    );
    assert_eq!(refused(staff.write_off(warehouse.write_off("mug", 1)).await), "LEVEL_NOT_FOUND");
    let away = warehouse.location("away", 20).await;
    assert_eq!(
        refused(staff.transfer_stock(warehouse.transfer("mug", &away, 1)).await),
        "LEVEL_NOT_FOUND"
    );
    assert_eq!(
        refused(staff.receive_stock(warehouse.receive("mug", NOBODY, 1)).await),
        "LOCATION_NOT_FOUND"
    );
    let nowhere = RestockRequest {
        location_id: NOBODY.into(),
        ..warehouse.restock("mug", 1, ReturnCondition::Ok)
    };
    assert_eq!(refused(orders.restock(nowhere).await), "LOCATION_NOT_FOUND");

    warehouse.stock("mug", 3).await;
    assert_eq!(
        refused(staff.transfer_stock(warehouse.transfer("mug", NOBODY, 1)).await),
        "LOCATION_NOT_FOUND"
    );
    let status =
        staff.transfer_stock(warehouse.transfer("mug", &warehouse.main, 1)).await.unwrap_err();
    assert_eq!(
        (status.code(), &*testkit::reason(&status)),
        (Code::InvalidArgument, "SAME_LOCATION")
    );
    assert_eq!(warehouse.counts("mug").await, (3, 0, 0));
}

#[tokio::test]
async fn of_two_who_read_the_same_level_only_the_first_may_change_it() {
    let warehouse = Warehouse::open().await;
    let mut staff = warehouse.staff();
    let etag = warehouse.stock("mug", 5).await.etag;

    staff.adjust_stock(warehouse.adjust("mug", 1, &etag)).await.unwrap();
    let status = staff.adjust_stock(warehouse.adjust("mug", 1, &etag)).await.unwrap_err();
    assert_eq!((status.code(), &*testkit::reason(&status)), (Code::Aborted, "ETAG_MISMATCH"));
    let set = SetStockRequest {
        request_id: request_id(),
        sku: "mug".into(),
        location_id: warehouse.main.clone(),
        on_hand: 6,
        reason: String::new(),
        etag: etag.clone(),
    };
    assert_eq!(
        refused(staff.set_stock(set).await),
        "ETAG_MISMATCH",
        "even if it would change nothing"
    );
    let policy = SetStockPolicyRequest {
        request_id: request_id(),
        sku: "mug".into(),
        location_id: warehouse.main.clone(),
        etag,
        ..SetStockPolicyRequest::default()
    };
    assert_eq!(refused(staff.set_stock_policy(policy).await), "ETAG_MISMATCH");
    assert_eq!(warehouse.counts("mug").await, (6, 0, 0));
}

#[tokio::test]
async fn a_shelf_has_an_end() {
    let warehouse = Warehouse::open().await;
    warehouse.stock("sand", 1_000_000_000_000).await;
    let status =
        warehouse.staff().receive_stock(warehouse.receive("sand", &warehouse.main, 1)).await;
    assert_eq!(refused(status), "STOCK_TOO_LARGE");
}

#[tokio::test]
async fn safety_is_kept_back_and_backorders_are_promised_beyond_the_shelf() {
    let warehouse = Warehouse::open().await;
    warehouse.stock("mug", 5).await;
    assert_eq!(warehouse.policy("mug", 2, 0, 0).await.available, 3);
    assert_eq!(refused(warehouse.reserve(&[("mug", 4)]).await), "OUT_OF_STOCK");

    assert_eq!(warehouse.policy("mug", 0, 10, 0).await.available, 15);
    let reservation = warehouse.reserve(&[("mug", 12)]).await.unwrap();
    let policy = SetStockPolicyRequest {
        request_id: request_id(),
        sku: "mug".into(),
        location_id: warehouse.main.clone(),
        backorder_limit: 6,
        ..SetStockPolicyRequest::default()
    };
    assert_eq!(refused(warehouse.staff().set_stock_policy(policy).await), "STOCK_PROMISED");

    // Promised on backorder is not on the shelf: it ships when it has come.
    warehouse.commit(&reservation.reservation_id).await.unwrap();
    assert_eq!(
        refused(warehouse.fulfill(&reservation.reservation_id, &[]).await),
        "STOCK_INSUFFICIENT"
    );
    warehouse.fulfill(&reservation.reservation_id, &[("mug", 5)]).await.unwrap();
    warehouse.staff().receive_stock(warehouse.receive("mug", &warehouse.main, 8)).await.unwrap();
    warehouse.fulfill(&reservation.reservation_id, &[]).await.unwrap();
    assert_eq!(warehouse.counts("mug").await, (1, 0, 0));
    warehouse.reconcile().await;
}

#[tokio::test]
async fn anybody_may_ask_what_is_available_and_nothing_else() {
    let warehouse = Warehouse::open().await;
    let away = warehouse.location("away", 20).await;
    warehouse.stock("mug", 2).await;
    warehouse.stock_at("mug", &away, 5).await;
    warehouse.stock("cup", 1).await;
    let mut anybody = InventoryServiceClient::new(warehouse.fixture.anonymous());

    let request =
        BatchGetAvailabilityRequest { skus: vec!["pot".into(), "mug".into(), "cup".into()] };
    let found = anybody.batch_get_availability(request).await.unwrap().into_inner().availabilities;
    let found: Vec<_> = found.iter().map(|found| (&*found.sku, found.available)).collect();
    assert_eq!(found, [("pot", 0), ("mug", 7), ("cup", 1)]);

    // An inactive location counts no more.
    let location = Location { location_id: away, ..Location::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["active".into()] });
    let request =
        UpdateLocationRequest { request_id: request_id(), location: Some(location), update_mask };
    warehouse.planner().update_location(request).await.unwrap();
    let request = GetAvailabilityRequest { sku: "mug".into() };
    assert_eq!(anybody.get_availability(request).await.unwrap().into_inner().available, 2);
    assert_eq!(refused(warehouse.reserve(&[("mug", 3)]).await), "OUT_OF_STOCK");
    let stock = warehouse.find("mug").await;
    assert_eq!((stock.available, stock.on_hand, stock.levels.len()), (2, 7, 2));

    let request = GetStockRequest { sku: "mug".into() };
    let status = StockServiceClient::new(warehouse.fixture.anonymous())
        .get_stock(request.clone())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let mut customer = StockServiceClient::new(warehouse.fixture.as_customer("c1"));
    assert_eq!(customer.get_stock(request).await.unwrap_err().code(), Code::PermissionDenied);
    let mut reader = StockServiceClient::new(warehouse.fixture.as_staff(&["inventory.stock.read"]));
    let status = reader.adjust_stock(warehouse.adjust("mug", 1, "")).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn each_row_of_a_bulk_count_stands_on_its_own() {
    let warehouse = Warehouse::open().await;
    warehouse.stock("cup", 4).await;
    warehouse.stock("pot", 4).await;
    warehouse.reserve(&[("pot", 3)]).await.unwrap();
    let row = |sku: &str, location_id: &str, on_hand| StockCount {
        sku: sku.into(),
        location_id: location_id.into(),
        on_hand,
    };
    let main = &warehouse.main;
    let request = BulkSetStockRequest {
        request_id: request_id(),
        rows: vec![
            row("mug", main, 7),
            row("cup", main, 4),
            row("mug", NOBODY, 1),
            row("pot", main, 2),
            row("mug", main, 8),
            row("jug", main, 0),
        ],
        reason: "first count".into(),
    };

    let answer = warehouse.staff().bulk_set_stock(request.clone()).await.unwrap().into_inner();
    assert_eq!((answer.changed_count, answer.unchanged_count), (1, 2));
    let errors: Vec<_> = answer.errors.iter().map(|error| (error.index, &*error.reason)).collect();
    assert_eq!(errors, [(2, "LOCATION_NOT_FOUND"), (3, "STOCK_PROMISED"), (4, "DUPLICATE_ROW")]);
    assert_eq!(warehouse.counts("mug").await, (7, 0, 0));
    assert_eq!(warehouse.counts("pot").await, (4, 3, 0));

    warehouse.stock("mug", 1).await;
    assert_eq!(warehouse.staff().bulk_set_stock(request).await.unwrap().into_inner(), answer);
    assert_eq!(warehouse.counts("mug").await, (1, 0, 0), "it was not set again");
    warehouse.reconcile().await;
}

#[tokio::test]
async fn a_thousand_levels_are_counted_at_once_and_listed_page_by_page() {
    let warehouse = Warehouse::open().await;
    let away = warehouse.location("away", 20).await;
    let sku = |number: i64| format!("SKU-{number:04}");
    let rows: Vec<StockCount> = (0..500)
        .flat_map(|number| [(number, &warehouse.main), (number, &away)])
        .map(|(number, at)| StockCount {
            sku: sku(number),
            location_id: at.clone(),
            on_hand: number + 1,
        })
        .collect();
    let request = BulkSetStockRequest { request_id: request_id(), rows, reason: String::new() };
    let answer = warehouse.staff().bulk_set_stock(request).await.unwrap().into_inner();
    assert_eq!((answer.changed_count, answer.errors.len()), (1000, 0));

    let list = |request: ListStockRequest| async {
        let mut found = Vec::new();
        let mut next = request;
        loop {
            let page: ListStockResponse =
                warehouse.staff().list_stock(next.clone()).await.unwrap().into_inner();
            found.extend(page.levels.into_iter().map(|level| (level.sku, level.location_id)));
            if page.next_page_token.is_empty() {
                return found;
            }
            next.page_token = page.next_page_token;
        }
    };
    let all = list(ListStockRequest { page_size: 300, ..ListStockRequest::default() }).await;
    assert_eq!(all.len(), 1000);
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "sorted, none twice");
    let at = list(ListStockRequest {
        page_size: 300,
        location_id: away.clone(),
        ..ListStockRequest::default()
    })
    .await;
    assert_eq!(at.len(), 500);
    let of =
        list(ListStockRequest { page_size: 1, sku: sku(7), ..ListStockRequest::default() }).await;
    assert_eq!(of.len(), 2);
    let one = list(ListStockRequest {
        sku: sku(7),
        location_id: away.clone(),
        ..ListStockRequest::default()
    })
    .await;
    assert_eq!(one, [(sku(7), away)]);
    warehouse.reconcile().await;
}

#[tokio::test]
async fn a_level_is_low_at_its_reorder_point() {
    let warehouse = Warehouse::open().await;
    for (sku, on_hand, reorder_point) in
        [("mug", 5, 3), ("cup", 3, 3), ("pot", 9, 3), ("jug", 0, 0)]
    {
        warehouse.stock(sku, on_hand).await;
        warehouse.policy(sku, 0, 0, reorder_point).await;
    }
    let low = || async {
        let mut found = Vec::new();
        let mut request = ListLowStockRequest { page_size: 1, ..ListLowStockRequest::default() };
        loop {
            let page =
                warehouse.staff().list_low_stock(request.clone()).await.unwrap().into_inner();
            found.extend(page.levels.into_iter().map(|level| level.sku));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return found;
            }
        }
    };
    assert_eq!(low().await, ["cup"]);
    warehouse.reserve(&[("mug", 2)]).await.unwrap();
    assert_eq!(low().await, ["cup", "mug"]);
    let elsewhere =
        ListLowStockRequest { location_id: NOBODY.into(), ..ListLowStockRequest::default() };
    assert_eq!(warehouse.staff().list_low_stock(elsewhere).await.unwrap().into_inner().levels, []);
}
