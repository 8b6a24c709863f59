//! Where stock lies.

use contracts::inventory::v1::{
    CreateLocationRequest, DeleteLocationRequest, GetLocationRequest, ListLocationsRequest,
    Location, UpdateLocationRequest,
};
use prost_types::FieldMask;
use testkit::request_id;
use tonic::Code;

use crate::warehouse::{NOBODY, Warehouse, refused};

fn delete(location_id: &str) -> DeleteLocationRequest {
    DeleteLocationRequest {
        request_id: request_id(),
        location_id: location_id.into(),
        etag: String::new(),
    }
}

fn update(location: Location, mask: &[&str]) -> UpdateLocationRequest {
    let paths = mask.iter().map(|path| (*path).to_owned()).collect();
    UpdateLocationRequest {
        request_id: request_id(),
        location: Some(location),
        update_mask: (!mask.is_empty()).then_some(FieldMask { paths }),
    }
}

#[tokio::test]
async fn a_location_is_made_changed_and_removed() {
    let warehouse = Warehouse::open().await;
    let mut planner = warehouse.planner();
    let request = CreateLocationRequest {
        request_id: request_id(),
        code: "berlin-1".into(),
        display_name: "Berlin".into(),
        priority: 3,
        inactive: true,
    };

    let made = planner.create_location(request.clone()).await.unwrap().into_inner();
    let again = planner.create_location(request).await.unwrap();
    assert_eq!(again.metadata().get("idempotent-replayed").unwrap(), "true");
    assert_eq!(again.into_inner(), made);
    assert!(!made.active);

    let get = GetLocationRequest { location_id: made.location_id.clone() };
    assert_eq!(planner.get_location(get.clone()).await.unwrap().into_inner(), made);

    // Without a mask, what is not empty; the etag is still the location's.
    let change =
        Location { active: true, display_name: String::new(), priority: 0, ..made.clone() };
    let changed = planner.update_location(update(change, &[])).await.unwrap().into_inner();
    assert_eq!((changed.active, &*changed.display_name, changed.priority), (true, "Berlin", 3));

    // With one, what it names, empty or not.
    let change = Location { location_id: made.location_id.clone(), ..Location::default() };
    let changed = planner
        .update_location(update(change, &["display_name", "priority"]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((changed.active, &*changed.display_name, changed.priority), (true, "", 0));

    planner.delete_location(delete(&made.location_id)).await.unwrap();
    assert_eq!(refused(planner.get_location(get).await), "LOCATION_NOT_FOUND");
    assert_eq!(
        refused(planner.delete_location(delete(&made.location_id)).await),
        "LOCATION_NOT_FOUND"
    );
}

#[tokio::test]
async fn a_stale_etag_a_taken_code_and_a_wrong_mask_change_nothing() {
    let warehouse = Warehouse::open().await;
    let mut planner = warehouse.planner();
    let other = warehouse.location("other", 20).await;
    let get = GetLocationRequest { location_id: other.clone() };
    let before = planner.get_location(get.clone()).await.unwrap().into_inner();

    let stale = Location { etag: "7".into(), priority: 5, ..before.clone() };
    let status = planner.update_location(update(stale, &["priority"])).await.unwrap_err();
    assert_eq!((status.code(), &*testkit::reason(&status)), (Code::Aborted, "ETAG_MISMATCH"));
    let status = planner
        .delete_location(DeleteLocationRequest { etag: "odd".into(), ..delete(&other) })
        .await;
    assert_eq!(refused(status), "ETAG_MISMATCH");

    let taken = Location { code: "main".into(), ..before.clone() };
    assert_eq!(
        refused(planner.update_location(update(taken, &["code"])).await),
        "LOCATION_CODE_TAKEN"
    );
    let request = CreateLocationRequest { code: "main".into(), ..CreateLocationRequest::default() };
    let status = planner.create_location(request).await.unwrap_err();
    assert_eq!(
        (status.code(), &*testkit::reason(&status)),
        (Code::AlreadyExists, "LOCATION_CODE_TAKEN")
    );

    let status =
        planner.update_location(update(before.clone(), &["create_time"])).await.unwrap_err();
    assert_eq!(testkit::reason(&status), "UPDATE_MASK_INVALID");
    assert_eq!(testkit::fields(&status), ["update_mask"]);
    let blank = Location { code: String::new(), ..before.clone() };
    let status = planner.update_location(update(blank, &["*"])).await.unwrap_err();
    assert_eq!(testkit::fields(&status), ["location.code"]);
    let missing = Location { location_id: NOBODY.into(), ..Location::default() };
    assert_eq!(refused(planner.update_location(update(missing, &[])).await), "LOCATION_NOT_FOUND");

    assert_eq!(planner.get_location(get).await.unwrap().into_inner(), before);
}

#[tokio::test]
async fn a_location_with_stock_or_promises_stays() {
    let warehouse = Warehouse::open().await;
    let mut planner = warehouse.planner();
    warehouse.stock("mug", 1).await;
    assert_eq!(refused(planner.delete_location(delete(&warehouse.main)).await), "LOCATION_IN_USE");

    // Nothing on the shelf, one on backorder, promised.
    warehouse.stock("mug", 0).await;
    warehouse.policy("mug", 0, 1, 0).await;
    let reservation = warehouse.reserve(&[("mug", 1)]).await.unwrap();
    assert_eq!(refused(planner.delete_location(delete(&warehouse.main)).await), "LOCATION_IN_USE");

    warehouse.release(&reservation.reservation_id).await.unwrap();
    planner.delete_location(delete(&warehouse.main)).await.unwrap();
    assert_eq!(warehouse.available("mug").await, 0);
    assert_eq!(warehouse.movements("mug").await.len(), 4, "the ledger outlives its location");
}

#[tokio::test]
async fn locations_are_listed_in_the_order_in_which_they_are_asked() {
    let warehouse = Warehouse::open().await;
    let first = warehouse.location("first", 1).await;
    let last = warehouse.location("last", 99).await;
    let also_ten = warehouse.location("also-ten", 10).await;

    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListLocationsRequest { page_size: 1, page_token };
        let page = warehouse.planner().list_locations(request).await.unwrap().into_inner();
        found.extend(page.locations.into_iter().map(|location| location.location_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, [first, warehouse.main.clone(), also_ten, last]);
}
