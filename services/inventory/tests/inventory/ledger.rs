//! A level is the sum of its movements, whatever happens to it.

use std::time::Duration;

use chassis::args;
use contracts::inventory::v1::{
    AdjustStockRequest, GetReservationRequest, ListMovementsRequest, ReconcileStockRequest,
    ReservationState, RestockRequest, ReturnCondition, SetStockPolicyRequest, SetStockRequest,
    TransferStockRequest, WriteOffRequest,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use testkit::request_id;
use tokio::runtime::Handle;

use crate::warehouse::{Warehouse, refused};

chassis::statements! {
    /// What nobody may do: a level changed without a movement.
    TAMPER = "update stock_level set on_hand = on_hand + 1 where sku = $1";
    /// Nor this.
    FORGE = "update movement set on_hand_delta = on_hand_delta + 1 where sku = $1";
    /// Nor this.
    BURN = "delete from movement where sku = $1";
    /// A promise without stock.
    OVERSELL = "update stock_level set reserved = on_hand + backorder_limit + 1 where sku = $1";
    /// The events of the service, in order.
    EVENTS = "select kind, subject from outbox order by seq";
}

impl Warehouse {
    /// Runs a statement behind the service's back.
    async fn tamper(
        &self,
        statement: chassis::Statement,
        sku: &str,
    ) -> Result<u64, chassis::store::Error> {
        let arguments = args![sku];
        let database = self.fixture.running().database();
        database
            .write(move |tx| Box::pin(async move { tx.execute(statement, arguments).await }))
            .await
    }
}

#[tokio::test]
async fn a_level_that_is_not_the_sum_of_its_movements_is_found() {
    let warehouse = Warehouse::open().await;
    for sku in ["a", "mug", "z"] {
        warehouse.stock(sku, 4).await;
    }
    warehouse.reserve(&[("mug", 1)]).await.unwrap();
    warehouse.reconcile().await;

    warehouse.tamper(TAMPER, "mug").await.unwrap();

    let mut request = ReconcileStockRequest { page_size: 1, page_token: String::new() };
    let (mut found, mut compared) = (Vec::new(), 0);
    loop {
        let page = warehouse.staff().reconcile_stock(request.clone()).await.unwrap().into_inner();
        found.extend(page.discrepancies);
        compared += page.compared_count;
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(compared, 3);
    let found: Vec<_> = found
        .iter()
        .map(|found| (&*found.sku, found.level_on_hand, found.ledger_on_hand, found.level_reserved))
        .collect();
    assert_eq!(found, [("mug", 5, 4, 1)]);
}

#[tokio::test]
async fn the_ledger_cannot_be_rewritten_and_stock_cannot_be_promised_twice() {
    let warehouse = Warehouse::open().await;
    warehouse.stock("mug", 4).await;
    assert!(warehouse.tamper(FORGE, "mug").await.is_err());
    assert!(warehouse.tamper(BURN, "mug").await.is_err());
    let refusal = warehouse.tamper(OVERSELL, "mug").await.unwrap_err();
    assert_eq!(refusal.constraint(), Some("stock_level_promised_check"));
    assert_eq!(warehouse.movements("mug").await.len(), 1);
    warehouse.reconcile().await;
}

#[tokio::test]
async fn movements_are_listed_newest_first_by_what_is_asked() {
    let warehouse = Warehouse::open().await;
    let away = warehouse.location("away", 1).await;
    warehouse.stock("mug", 4).await;
    warehouse.stock_at("mug", &away, 4).await;
    warehouse.stock("cup", 4).await;
    let id = warehouse.reserve(&[("mug", 6), ("cup", 1)]).await.unwrap().reservation_id;
    warehouse.release(&id).await.unwrap();

    let count = |request: ListMovementsRequest| {
        let mut request = ListMovementsRequest { page_size: 2, ..request };
        let mut staff = warehouse.staff();
        async move {
            let mut found = Vec::new();
            loop {
                let page = staff.list_movements(request.clone()).await.unwrap().into_inner();
                found.extend(page.movements.into_iter().map(|movement| movement.sequence));
                request.page_token = page.next_page_token;
                if request.page_token.is_empty() {
                    assert!(found.windows(2).all(|pair| pair[0] > pair[1]));
                    return found.len();
                }
            }
        }
    };
    let all = ListMovementsRequest::default();
    assert_eq!(count(all.clone()).await, 9);
    assert_eq!(count(ListMovementsRequest { sku: "mug".into(), ..all.clone() }).await, 6);
    assert_eq!(count(ListMovementsRequest { location_id: away.clone(), ..all.clone() }).await, 3);
    assert_eq!(count(ListMovementsRequest { reservation_id: id.clone(), ..all.clone() }).await, 6);
    let one = ListMovementsRequest {
        sku: "mug".into(),
        location_id: away,
        reservation_id: id,
        ..all.clone()
    };
    assert_eq!(count(one).await, 2);

    // A token is good for the list that gave it.
    let mut request = ListMovementsRequest { page_size: 1, ..all };
    request.page_token = warehouse
        .staff()
        .list_movements(request.clone())
        .await
        .unwrap()
        .into_inner()
        .next_page_token;
    request.sku = "mug".into();
    assert_eq!(refused(warehouse.staff().list_movements(request).await), "PAGE_TOKEN_INVALID");
}

#[tokio::test]
async fn others_are_told_in_order_and_once() {
    let warehouse = Warehouse::open().await;
    let away = warehouse.location("away", 99).await;
    warehouse.stock("mug", 3).await;
    warehouse.policy("mug", 0, 0, 2).await;
    warehouse.stock_at("mug", &away, 1).await;
    let all = warehouse.reserve(&[("mug", 3)]).await.unwrap().reservation_id;
    let last = warehouse.reserve(&[("mug", 1)]).await.unwrap().reservation_id;
    warehouse.release(&last).await.unwrap();
    warehouse.commit(&all).await.unwrap();
    warehouse.fulfill(&all, &[]).await.unwrap();
    let lapsing = warehouse.reserve(&[("mug", 1)]).await.unwrap().reservation_id;
    warehouse.advance(Duration::from_secs(15 * 60));
    warehouse.until(&lapsing, ReservationState::Expired).await;

    let database = warehouse.fixture.running().database();
    let told: Vec<(String, String)> = database.fetch_all(EVENTS, args![]).await.unwrap();
    let told: Vec<(&str, &str)> = told
        .iter()
        .map(|(kind, subject)| (kind.trim_start_matches("mercat.inventory.v1."), subject.as_str()))
        .collect();
    let expected = [
        ("StockAdjusted", "mug"),
        ("StockBack", "mug"),
        ("StockAdjusted", "mug"),
        ("ReservationHeld", &*all),
        ("StockLow", "mug"),
        ("ReservationHeld", &*last),
        ("StockOut", "mug"),
        ("ReservationReleased", &*last),
        ("StockBack", "mug"),
        ("ReservationCommitted", &*all),
        ("ReservationFulfilled", &*all),
        ("StockAdjusted", "mug"),
        ("ReservationHeld", &*lapsing),
        ("StockOut", "mug"),
        ("ReservationExpired", &*lapsing),
        ("StockBack", "mug"),
    ];
    assert_eq!(told, expected);
}

/// Something that may happen to one SKU.
#[derive(Debug, Clone)]
enum Happening {
    Set { at: bool, on_hand: i64 },
    Adjust { at: bool, delta: i64 },
    WriteOff { at: bool, quantity: i64 },
    Transfer { to: bool, quantity: i64 },
    Return { at: bool, quantity: i64, damaged: bool },
    Policy { safety: i64, backorder_limit: i64 },
    Reserve { quantity: i64 },
    Commit { which: usize },
    Release { which: usize },
    Fulfill { which: usize, quantity: Option<i64> },
    Pass { seconds: u64 },
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        1 => (any::<bool>(), 0..12_i64).prop_map(|(at, on_hand)| Happening::Set { at, on_hand }),
        1 => (any::<bool>(), -6..6_i64).prop_map(|(at, delta)| Happening::Adjust { at, delta }),
        1 => (any::<bool>(), 1..6_i64).prop_map(|(at, quantity)| Happening::WriteOff { at, quantity }),
        1 => (any::<bool>(), 1..6_i64).prop_map(|(to, quantity)| Happening::Transfer { to, quantity }),
        1 => (any::<bool>(), 1..4_i64, any::<bool>())
            .prop_map(|(at, quantity, damaged)| Happening::Return { at, quantity, damaged }),
        1 => (0..4_i64, 0..4_i64)
            .prop_map(|(safety, backorder_limit)| Happening::Policy { safety, backorder_limit }),
        4 => (1..8_i64).prop_map(|quantity| Happening::Reserve { quantity }),
        2 => any::<usize>().prop_map(|which| Happening::Commit { which }),
        1 => any::<usize>().prop_map(|which| Happening::Release { which }),
        2 => (any::<usize>(), prop::option::of(1..4_i64))
            .prop_map(|(which, quantity)| Happening::Fulfill { which, quantity }),
        1 => (0..600_u64).prop_map(|seconds| Happening::Pass { seconds }),
    ]
}

/// Lets it happen; what the service refuses is refused for a reason.
async fn happen(
    warehouse: &Warehouse,
    away: &str,
    sku: &str,
    held: &mut Vec<String>,
    what: Happening,
) -> Option<String> {
    let location = |at: bool| if at { warehouse.main.clone() } else { away.to_owned() };
    let (request_id, reason) = (request_id(), String::new());
    let (sku_text, mut staff) = (sku.to_owned(), warehouse.staff());
    let pick = |held: &Vec<String>, which: usize| held.get(which % held.len().max(1)).cloned();
    let status = match what {
        Happening::Set { at, on_hand } => {
            let request = SetStockRequest {
                request_id,
                sku: sku_text,
                location_id: location(at),
                on_hand,
                reason,
                etag: String::new(),
            };
            staff.set_stock(request).await.err()
        }
        Happening::Adjust { delta: 0, .. } => None,
        Happening::Adjust { at, delta } => {
            let request = AdjustStockRequest {
                request_id,
                sku: sku_text,
                location_id: location(at),
                delta,
                reason,
                etag: String::new(),
            };
            staff.adjust_stock(request).await.err()
        }
        Happening::WriteOff { at, quantity } => {
            let request = WriteOffRequest {
                request_id,
                sku: sku_text,
                location_id: location(at),
                quantity,
                reason,
            };
            staff.write_off(request).await.err()
        }
        Happening::Transfer { to, quantity } => {
            let request = TransferStockRequest {
                request_id,
                sku: sku_text,
                source_location_id: location(!to),
                target_location_id: location(to),
                quantity,
                reason,
            };
            staff.transfer_stock(request).await.err()
        }
        Happening::Return { at, quantity, damaged } => {
            let condition = if damaged { ReturnCondition::Damaged } else { ReturnCondition::Ok };
            let request = RestockRequest {
                request_id,
                sku: sku_text,
                location_id: location(at),
                quantity,
                condition: condition.into(),
                reason,
            };
            warehouse.orders().restock(request).await.err()
        }
        Happening::Policy { safety, backorder_limit } => {
            let request = SetStockPolicyRequest {
                request_id,
                sku: sku_text,
                location_id: warehouse.main.clone(),
                safety,
                backorder_limit,
                ..Default::default()
            };
            staff.set_stock_policy(request).await.err()
        }
        Happening::Reserve { quantity } => match warehouse.reserve(&[(sku, quantity)]).await {
            Ok(reservation) => {
                held.push(reservation.reservation_id);
                None
            }
            Err(status) => Some(status),
        },
        Happening::Commit { which } => warehouse.commit(&pick(held, which)?).await.err(),
        Happening::Release { which } => warehouse.release(&pick(held, which)?).await.err(),
        Happening::Fulfill { which, quantity } => {
            let lines: Vec<_> = quantity.iter().map(|quantity| (sku, *quantity)).collect();
            warehouse.fulfill(&pick(held, which)?, &lines).await.err()
        }
        Happening::Pass { seconds } => {
            warehouse.advance(Duration::from_secs(seconds));
            None
        }
    };
    status.as_ref().map(testkit::reason)
}

const REFUSALS: [&str; 12] = [
    "OUT_OF_STOCK",
    "LEVEL_NOT_FOUND",
    "STOCK_INSUFFICIENT",
    "STOCK_PROMISED",
    "RESERVATION_EXPIRED",
    "RESERVATION_ALREADY_COMMITTED",
    "RESERVATION_ALREADY_RELEASED",
    "RESERVATION_ALREADY_FULFILLED",
    "RESERVATION_ALREADY_RETURNED",
    "RESERVATION_NOT_COMMITTED",
    "FULFILLMENT_EXCEEDS_RESERVATION",
    "SAME_LOCATION",
];

/// Whatever happens in whatever order: no number is negative, nothing is promised
/// that is not there, the level is the sum of its movements, and what is reserved
/// and committed is what the reservations say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_level_is_the_sum_of_its_movements_whatever_happens() {
    let warehouse = Warehouse::open().await;
    let away = warehouse.location("away", 1).await;
    let mut runner =
        TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
    let cases = std::sync::atomic::AtomicUsize::new(0);
    let outcome = runner.run(&prop::collection::vec(happening(), 1..40), |happenings| {
        let sku = format!("sku-{}", cases.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        tokio::task::block_in_place(|| {
            Handle::current().block_on(async {
                let mut held = Vec::new();
                warehouse.stock(&sku, 6).await;
                for what in happenings {
                    let refusal = happen(&warehouse, &away, &sku, &mut held, what).await;
                    if let Some(refusal) = refusal {
                        prop_assert!(REFUSALS.contains(&&*refusal), "{refusal}");
                    }
                    check(&warehouse, &sku).await?;
                }
                settle(&warehouse, &sku, &held).await
            })
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    warehouse.reconcile().await;
}

/// In the end whatever was held is resolved, and what is committed is what the
/// reservations say.
async fn settle(warehouse: &Warehouse, sku: &str, held: &[String]) -> Result<(), TestCaseError> {
    warehouse.advance(Duration::from_secs(24 * 60 * 60));
    let mut left = 0;
    for id in held {
        let request = GetReservationRequest { reservation_id: id.clone() };
        let reservation = testkit::eventually(|| async {
            let found =
                warehouse.orders().get_reservation(request.clone()).await.unwrap().into_inner();
            (found.state() != ReservationState::Held).then_some(found)
        })
        .await;
        if reservation.state() == ReservationState::Committed {
            left += reservation
                .lines
                .iter()
                .map(|line| line.quantity - line.fulfilled_quantity)
                .sum::<i64>();
        }
    }
    let (_, reserved, committed) = warehouse.counts(sku).await;
    prop_assert_eq!((reserved, committed), (0, left));
    Ok(())
}

/// The invariants of one SKU, at this moment.
async fn check(warehouse: &Warehouse, sku: &str) -> Result<(), TestCaseError> {
    // A level and its ledger are two reads, between which the sweeper may come:
    // the reconciliation is one statement, and sees one moment.
    let request = ReconcileStockRequest { page_size: 1000, page_token: String::new() };
    let response = warehouse.staff().reconcile_stock(request).await.unwrap().into_inner();
    prop_assert_eq!(response.discrepancies, vec![]);
    for level in warehouse.find(sku).await.levels {
        prop_assert!(
            level.on_hand >= 0 && level.reserved >= 0 && level.committed >= 0,
            "{level:?}"
        );
        prop_assert!(
            level.reserved + level.committed <= level.on_hand + level.backorder_limit,
            "{level:?}"
        );
    }
    Ok(())
}
