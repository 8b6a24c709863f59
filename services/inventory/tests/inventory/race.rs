//! Many at once.

use std::{sync::Arc, time::Duration};

use contracts::inventory::v1::{ReservationState, TransferStockRequest};
use testkit::{exactly_one_ok, request_id};
use tokio::task::JoinSet;

use crate::warehouse::{Warehouse, refused};

#[tokio::test]
async fn the_last_unit_is_sold_once() {
    let warehouse = Warehouse::open().await;
    warehouse.stock("mug", 1).await;

    let (first, second) =
        tokio::join!(warehouse.reserve(&[("mug", 1)]), warehouse.reserve(&[("mug", 1)]));

    let (_, refusals) = exactly_one_ok([first, second]);
    assert_eq!(testkit::reason(&refusals[0]), "OUT_OF_STOCK");
    assert_eq!(warehouse.counts("mug").await, (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_who_want_one_unit_one_gets_it() {
    let warehouse = Arc::new(Warehouse::open().await);
    warehouse.stock("mug", 1).await;

    let mut buyers = JoinSet::new();
    for _ in 0..200 {
        let warehouse = Arc::clone(&warehouse);
        buyers.spawn(async move { warehouse.reserve(&[("mug", 1)]).await });
    }
    let (_, refusals) = exactly_one_ok(buyers.join_all().await);

    for status in refusals {
        assert_eq!(testkit::reason(&status), "OUT_OF_STOCK");
    }
    assert_eq!(warehouse.counts("mug").await, (1, 1, 0));
    warehouse.reconcile().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_sent_at_once_takes_stock_once() {
    let warehouse = Arc::new(Warehouse::open().await);
    warehouse.stock("mug", 50).await;
    let id = request_id();

    let mut clicks = JoinSet::new();
    for _ in 0..20 {
        let (warehouse, id) = (Arc::clone(&warehouse), id.clone());
        clicks.spawn(async move { warehouse.reserve_as(id, &[("mug", 1)]).await });
    }
    let answers: Vec<_> = clicks.join_all().await.into_iter().map(Result::unwrap).collect();

    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(warehouse.counts("mug").await, (50, 1, 0));
}

/// Everybody wants several SKUs, from two locations, in every order, while stock
/// is moved to and fro between them: nobody waits for ever, and nobody is told
/// that the service failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reservations_over_crossing_skus_never_deadlock() {
    let warehouse = Arc::new(Warehouse::open().await);
    let away = warehouse.location("away", 1).await;
    for sku in ["a", "b", "c"] {
        warehouse.stock(sku, 10).await;
        warehouse.stock_at(sku, &away, 10).await;
    }
    let orders: [&[(&str, i64)]; 4] =
        [&[("a", 3), ("b", 3)], &[("b", 3), ("a", 3)], &[("c", 15), ("a", 1)], &[("a", 12)]];

    let mut work = JoinSet::new();
    for round in 0..60 {
        let warehouse = Arc::clone(&warehouse);
        work.spawn(async move {
            match warehouse.reserve(orders[round % orders.len()]).await {
                Ok(reservation) => {
                    drop(warehouse.release(&reservation.reservation_id).await.unwrap())
                }
                Err(status) => assert_eq!(testkit::reason(&status), "OUT_OF_STOCK"),
            }
        });
    }
    for round in 0..30 {
        let warehouse = Arc::clone(&warehouse);
        let (source, target) = match round % 2 {
            0 => (warehouse.main.clone(), away.clone()),
            _ => (away.clone(), warehouse.main.clone()),
        };
        work.spawn(async move {
            let request = TransferStockRequest {
                request_id: request_id(),
                sku: "a".into(),
                source_location_id: source,
                target_location_id: target,
                quantity: 1,
                reason: String::new(),
            };
            if let Err(status) = warehouse.staff().transfer_stock(request).await {
                let reason = testkit::reason(&status);
                assert!(reason == "STOCK_PROMISED" || reason == "STOCK_INSUFFICIENT", "{status:?}");
            }
        });
    }
    tokio::time::timeout(Duration::from_secs(60), work.join_all())
        .await
        .expect("nobody waits for ever");

    for sku in ["a", "b", "c"] {
        assert_eq!(warehouse.counts(sku).await, (20, 0, 0));
    }
    warehouse.reconcile().await;
}

/// Time runs out while reservations are committed: each is committed or expired,
/// its buyer was told which, and its stock is where that says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_and_an_expiry_never_both_happen() {
    let warehouse = Arc::new(Warehouse::open().await);
    warehouse.stock("mug", 40).await;
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(warehouse.reserve(&[("mug", 1)]).await.unwrap().reservation_id);
    }
    warehouse.advance(Duration::from_secs(15 * 60) - Duration::from_micros(20));

    let mut answers = Vec::new();
    for wave in ids.chunks(4) {
        let mut commits = JoinSet::new();
        for id in wave.iter().cloned() {
            let warehouse = Arc::clone(&warehouse);
            commits.spawn(async move {
                let answer = warehouse.commit(&id).await;
                warehouse.advance(Duration::from_micros(1));
                (id, answer)
            });
        }
        answers.extend(commits.join_all().await);
    }
    warehouse.advance(Duration::from_secs(60));

    let mut committed = 0;
    for (id, answer) in answers {
        if answer.is_ok() {
            committed += 1;
            assert_eq!(warehouse.state(&id).await, ReservationState::Committed);
        } else {
            assert_eq!(refused(answer), "RESERVATION_EXPIRED");
            warehouse.until(&id, ReservationState::Expired).await;
        }
    }
    assert!(committed > 0 && committed < 40, "{committed} were in time: both sides must be seen");
    assert_eq!(warehouse.counts("mug").await, (40, 0, committed));
    warehouse.reconcile().await;
}

/// Two sweepers in two transactions, and calls beside them: each reservation is
/// given back once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_and_an_expiry_never_both_happen() {
    let warehouse = Arc::new(Warehouse::open().await);
    warehouse.stock("mug", 30).await;
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.push(warehouse.reserve(&[("mug", 1)]).await.unwrap().reservation_id);
    }
    warehouse.advance(Duration::from_secs(15 * 60));

    let mut releases = JoinSet::new();
    for id in ids {
        let warehouse = Arc::clone(&warehouse);
        releases.spawn(async move {
            match warehouse.release(&id).await {
                Ok(_) => warehouse.until(&id, ReservationState::Released).await,
                Err(status) => {
                    assert_eq!(testkit::reason(&status), "RESERVATION_EXPIRED");
                    warehouse.until(&id, ReservationState::Expired).await;
                }
            }
        });
    }
    releases.join_all().await;
    assert_eq!(warehouse.counts("mug").await, (30, 0, 0));
    warehouse.reconcile().await;
}
