//! The same call twice.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chassis::{
    Caller, Database, Fault, Principal, Scope, args,
    idempotency::{self, Begin, KEEP, KEEP_MONEY, Key, REPLAYED},
    store::Error,
};
use contracts::{
    mesh::v1::ErrorReason, payments::v1::CreatePaymentIntentRequest, values::v1::Money,
};
use futures_util::future::join_all;
use tonic::{Request, Response};

use crate::fixture::{ADD, COUNT, Fresh, on_both_engines};

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn request(request_id: &str, order: &str) -> Request<CreatePaymentIntentRequest> {
    let message = CreatePaymentIntentRequest {
        request_id: request_id.to_owned(),
        order_id: order.to_owned(),
        ..Default::default()
    };
    from("ann", message)
}

fn from<M>(user: &str, message: M) -> Request<M> {
    let mut request = Request::new(message);
    let principal = Principal::Customer { id: user.to_owned() };
    request.extensions_mut().insert(Caller::new(principal, None, Scope::Own(user.to_owned())));
    request
}

/// Adds an item under a number of its own, so that a second run would be seen.
async fn place(
    database: &Database,
    runs: &Arc<AtomicI64>,
    request: Request<CreatePaymentIntentRequest>,
) -> Result<Response<Money>, Fault> {
    let runs = Arc::clone(runs);
    database
        .once(&request, move |tx, message| {
            Box::pin(async move {
                let run = runs.fetch_add(1, Ordering::SeqCst);
                let id = format!("{}-{run}", message.order_id);
                tx.execute(ADD, args![&id, "a", &id, run, 1_i64]).await?;
                if message.order_id == "refused" {
                    return Err(Fault::failed_precondition(ErrorReason::Conflict));
                }
                Ok(Money { currency_code: "EUR".to_owned(), minor_units: run })
            })
        })
        .await
}

fn replayed<M>(response: &Response<M>) -> bool {
    response.metadata().get(REPLAYED).is_some_and(|value| value == "true")
}

on_both_engines! {
    async fn a_call_sent_again_gets_the_same_answer_and_has_no_second_effect(fresh: Fresh) {
        let runs = Arc::default();
        let first = place(&fresh.database, &runs, request(ID, "o")).await.unwrap();
        let second = place(&fresh.database, &runs, request(ID, "o")).await.unwrap();
        assert_eq!((replayed(&first), replayed(&second)), (false, true));
        assert_eq!(first.into_inner(), second.into_inner());
        fresh.database.close().await;
        let again = fresh.again().await;
        let third = place(&again, &runs, request(ID, "o")).await.unwrap();
        assert_eq!((replayed(&third), third.into_inner().minor_units), (true, 0));
        assert_eq!(again.fetch_one::<i64>(COUNT, Vec::new()).await.unwrap(), 1);
    }

    async fn another_payload_under_the_same_id_is_refused_and_another_caller_is_not(fresh: Fresh) {
        let runs = Arc::default();
        place(&fresh.database, &runs, request(ID, "o")).await.unwrap();
        let fault = place(&fresh.database, &runs, request(ID, "p")).await.unwrap_err();
        assert!(fault.is(ErrorReason::IdempotencyKeyReused), "{fault}");
        assert_eq!(fault.violations()[0].field, "request_id");
        let other = from("bob", request(ID, "p").into_inner());
        assert!(!replayed(&place(&fresh.database, &runs, other).await.unwrap()));
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }

    async fn of_calls_that_race_under_one_id_one_runs(fresh: Fresh) {
        let runs = Arc::default();
        let answers = join_all((0..16).map(|_| place(&fresh.database, &runs, request(ID, "o")))).await;
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.get_ref().minor_units == 0)));
        assert_eq!(answers.iter().filter(|answer| answer.as_ref().is_ok_and(|answer| !replayed(answer))).count(), 1);
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }

    async fn a_failure_is_not_stored(fresh: Fresh) {
        let runs = Arc::default();
        for _ in 0..2 {
            let fault = place(&fresh.database, &runs, request(ID, "refused")).await.unwrap_err();
            assert!(fault.is(ErrorReason::Conflict));
        }
        assert_eq!(runs.load(Ordering::SeqCst), 2);
        assert_eq!(fresh.database.fetch_one::<i64>(COUNT, Vec::new()).await.unwrap(), 0);
        place(&fresh.database, &runs, request(ID, "o")).await.unwrap();
    }

    async fn a_call_without_an_id_just_runs(fresh: Fresh) {
        let runs = Arc::default();
        for _ in 0..2 {
            assert!(!replayed(&place(&fresh.database, &runs, request("", "o")).await.unwrap()));
        }
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }

    async fn an_effect_of_several_transactions_is_done_by_one_and_taken_up_when_that_one_died(fresh: Fresh) {
        let key = Key::of(&request(ID, "o")).unwrap().keep(KEEP_MONEY);
        let other = Key::of(&request(ID, "p")).unwrap();
        let lease = Duration::from_secs(30);
        let start = |key: &Key| {
            let key = key.clone();
            fresh.database.write(move |tx| Box::pin(async move { idempotency::begin(tx, &key, lease).await }))
        };
        assert_eq!(start(&key).await.unwrap(), Begin::Fresh);
        assert_eq!(start(&key).await.unwrap(), Begin::Running);
        assert!(start(&other).await.unwrap_err().is(ErrorReason::IdempotencyKeyReused));
        let fault = idempotency::in_progress();
        assert!(fault.code() == tonic::Code::Aborted && fault.retry_delay().is_some());
        fresh.clock.advance(lease);
        assert_eq!(start(&key).await.unwrap(), Begin::Fresh, "the lease ran out");
        let done = Money { currency_code: "EUR".to_owned(), minor_units: 7 };
        let (ended, answer) = (key.clone(), done.clone());
        fresh.database
            .write(move |tx| Box::pin(async move { idempotency::finish(tx, &ended, &answer).await }))
            .await
            .unwrap();
        let Begin::Done(stored) = start(&key).await.unwrap() else { panic!("it is done") };
        let response = idempotency::replay::<Money>(stored).unwrap();
        assert!(replayed(&response));
        assert_eq!(response.into_inner(), done);
        // A day is not enough where money moves.
        fresh.clock.advance(KEEP);
        assert_eq!(fresh.database.sweep_idempotency().await.unwrap(), 0);
        fresh.clock.advance(KEEP_MONEY);
        assert_eq!(fresh.database.sweep_idempotency().await.unwrap(), 1);
        assert_eq!(start(&key).await.unwrap(), Begin::Fresh);
    }

    async fn a_key_given_back_may_be_used_again(fresh: Fresh) {
        let key = Key::of(&request(ID, "o")).unwrap();
        let begun = key.clone();
        let outcome: Result<Begin, Fault> = fresh.database.write(move |tx| Box::pin(async move {
            idempotency::begin(tx, &begun, KEEP).await?;
            idempotency::forget(tx, &begun).await?;
            idempotency::begin(tx, &begun, KEEP).await
        })).await;
        assert_eq!(outcome.unwrap(), Begin::Fresh);
        let forgotten: Result<(), Error> =
            fresh.database.write(move |tx| Box::pin(async move { idempotency::forget(tx, &key).await })).await;
        forgotten.unwrap();
    }
}
