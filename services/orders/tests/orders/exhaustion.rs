//! The sagas by exhaustion: every call failed, every action and undo repeated, the process stopped everywhere.

use super::*;

const CALLS: [(&str, &str); 4] =
    [("stock", "reserve"), ("payments", "create"), ("stock", "commit"), ("payments", "capture")];

#[tokio::test]
async fn every_call_may_fail_or_lose_its_answer() {
    for (peer, method) in CALLS {
        for strike in [Strike::Before, Strike::After] {
            let shop = shop().await;
            match peer {
                "stock" => shop.world.stock.fail(method, strike, unavailable()),
                _ => shop.world.payments.fail(method, strike, unavailable()),
            }
            let order = confirmed(&shop.place(mugs("ok")).await).clone();
            assert_eq!(
                shop.saga_over(&order.order_id).await,
                SagaStatus::Done,
                "{method} {strike:?}"
            );
            assert_eq!(shop.world.stock.free("mug"), 8, "{method} {strike:?}");
            assert_eq!(
                (shop.world.payments.intents(), shop.world.payments.captures()),
                (1, 1),
                "{method} {strike:?}"
            );
        }
    }
}

#[tokio::test]
async fn every_undo_may_fail_or_lose_its_answer() {
    for method in ["release", "list_reservations", "cancel"] {
        for strike in [Strike::Before, Strike::After] {
            let shop = shop_with("place_order.commit_reservation.act.after=refuse").await;
            shop.world.stock.fail(method, strike, unavailable());
            shop.world.payments.fail(method, strike, unavailable());
            let placement = shop.ended(&shop.place(mugs("ok")).await.placement_id).await;
            assert_eq!(refused(&placement), RefusalReason::Failed, "{method} {strike:?}");
            assert!(shop.world.is_clean(), "{method} {strike:?}");
        }
    }
}

const FORWARD: [&str; 5] = [
    "reserve_stock",
    "authorize_payment",
    "commit_reservation",
    "confirm_order",
    "capture_payment",
];
const BACKWARD: [&str; 4] =
    ["commit_reservation", "authorize_payment", "reserve_stock", "create_order"];

#[tokio::test]
async fn a_step_that_refuses_before_the_sale_is_final_leaves_nothing() {
    for step in &FORWARD[..3] {
        for phase in ["before", "after"] {
            let shop = shop_with(&format!("place_order.{step}.act.{phase}=refuse")).await;
            let placement = shop.place(mugs("ok")).await;
            assert_eq!(refused(&placement), RefusalReason::Failed, "{step} {phase}");
            assert_eq!(shop.order(&placement.order_id).await.status(), OrderStatus::Cancelled);
            assert!(shop.world.is_clean(), "{step} {phase}");
        }
    }
}

#[tokio::test]
async fn every_action_and_every_undo_may_happen_twice() {
    for step in FORWARD {
        let shop = shop_with(&format!("place_order.{step}.act.before=twice")).await;
        let order = confirmed(&shop.place(mugs("ok")).await).clone();
        assert_eq!(shop.saga_over(&order.order_id).await, SagaStatus::Done, "{step}");
        assert_eq!(shop.world.stock.free("mug"), 8, "{step}");
        assert_eq!(
            (shop.world.payments.intents(), shop.world.payments.captures()),
            (1, 1),
            "{step}"
        );
    }
    for step in BACKWARD {
        let points = format!(
            "place_order.commit_reservation.act.after=refuse;place_order.{step}.undo.before=twice"
        );
        let shop = shop_with(&points).await;
        assert_eq!(refused(&shop.place(mugs("ok")).await), RefusalReason::Failed, "{step}");
        assert!(shop.world.is_clean(), "{step}");
    }
}

#[tokio::test]
async fn a_process_that_stops_at_any_point_recovers_when_it_starts_again() {
    let forward = FORWARD.map(|step| format!("place_order.{step}.act"));
    let backward = BACKWARD.map(|step| format!("place_order.{step}.undo"));
    let mut points = 0;
    for at in forward.iter().chain(&backward) {
        for phase in ["before", "after", "saved"] {
            points += 1;
            let undo = if at.ends_with("undo") {
                "place_order.commit_reservation.act.after=refuse:1;"
            } else {
                ""
            };
            let mut shop = shop_with(&format!("{undo}{at}.{phase}=stop:1")).await;
            let request = mugs("ok");
            let placement_id = request.placement_id.clone();
            shop.place(request).await;
            shop.fixture.configure(config(""));
            shop.fixture.restart().await;
            // On PostgreSQL the lease of the one that is gone has to end.
            shop.fixture.clock.advance(Duration::from_secs(25));

            let ended = shop.ended(&placement_id).await;
            match ended.outcome {
                Some(Outcome::Order(order)) => {
                    assert_eq!(
                        shop.saga_over(&order.order_id).await,
                        SagaStatus::Done,
                        "{at}.{phase}"
                    );
                    assert_eq!(shop.world.stock.free("mug"), 8, "{at}.{phase}");
                    let payments = &shop.world.payments;
                    assert_eq!((payments.intents(), payments.captures()), (1, 1), "{at}.{phase}");
                }
                _ => {
                    assert!(at.ends_with("undo"), "{at}.{phase}");
                    assert!(shop.world.is_clean(), "{at}.{phase}");
                }
            }
        }
    }
    assert_eq!(points, 27);
}
