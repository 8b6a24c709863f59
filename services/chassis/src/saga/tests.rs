//! The engine by exhaustion: a trip of three bookings over a real database.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use contracts::mesh::v1::ErrorReason;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::*;
use crate::{
    clock::Clock,
    store::{Config, Database, Url},
    tasks::Tasks,
};

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leg {
    Begin,
    Hotel,
    Flight,
    Pay,
    Note,
    Thank,
}

impl Step for Leg {
    const ALL: &'static [Self] =
        &[Self::Begin, Self::Hotel, Self::Flight, Self::Pay, Self::Note, Self::Thank];

    fn name(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Hotel => "hotel",
            Self::Flight => "flight",
            Self::Pay => "pay",
            Self::Note => "note",
            Self::Thank => "thank",
        }
    }

    fn is_local(self) -> bool {
        matches!(self, Self::Begin | Self::Note)
    }
}

/// What the world outside has done: by key, so that a repetition is none.
#[derive(Debug, Default)]
struct World {
    done: BTreeMap<String, &'static str>,
    undone: BTreeMap<String, &'static str>,
    /// While set, `flight` waits for it.
    visa: bool,
    wants_visa: bool,
}

#[derive(Clone, Default)]
struct Trip {
    world: Arc<Mutex<World>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Bag {
    booked: Vec<String>,
}

impl Trip {
    fn standing(&self) -> Vec<&'static str> {
        let world = self.world.lock().unwrap();
        world
            .done
            .values()
            .filter(|step| !world.undone.values().any(|undone| undone == *step))
            .copied()
            .collect()
    }
}

impl Saga for Trip {
    const NAME: &'static str = "trip";
    const VERSION: i64 = 1;
    type Step = Leg;
    const PIVOT: Option<Leg> = Some(Leg::Pay);
    type State = Bag;

    async fn act(&self, step: Leg, at: &At, state: &mut Bag) -> Outcome {
        let mut world = self.world.lock().unwrap();
        if step == Leg::Flight && world.wants_visa && !world.visa {
            return Outcome::park("the visa", Some(at.now + Duration::from_secs(60)));
        }
        if !step.is_local() {
            world.done.insert(at.key("book"), step.name());
            state.booked.push(step.name().to_owned());
        }
        Outcome::done()
    }

    async fn undo(&self, step: Leg, at: &At, _state: &mut Bag) -> Undone {
        let mut world = self.world.lock().unwrap();
        if world.done.values().any(|done| *done == step.name()) {
            world.undone.insert(at.key("cancel"), step.name());
        }
        Undone::done()
    }
}

struct Bench {
    database: Database,
    clock: Clock,
    tasks: Tasks,
    trip: Trip,
    sagas: Sagas,
    _folder: TempDir,
}

async fn bench(failpoints: &str) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::fake();
    let url = Url::new(format!("sqlite:{}/trip.db", folder.path().display()));
    let config = Config { url, ..Config::default() };
    let database = Database::open(&config, "trip", &[], clock.clone()).await.unwrap();
    let trip = Trip::default();
    let tasks = Tasks::new("trip");
    let sagas = engine(&database, &clock, &tasks, &trip, failpoints).await;
    Bench { database, clock, tasks, trip, sagas, _folder: folder }
}

async fn engine(
    database: &Database,
    clock: &Clock,
    tasks: &Tasks,
    trip: &Trip,
    failpoints: &str,
) -> Sagas {
    let settings = Settings {
        sweep: Duration::from_millis(5),
        backoff: Duration::from_millis(1),
        failpoints: failpoints.to_owned(),
        ..Settings::default()
    };
    Sagas::builder(database, clock, tasks, settings).saga(trip.clone()).start().await.unwrap()
}

impl Bench {
    async fn begin(&self) -> Waiter {
        let (sagas, id) = (self.sagas.clone(), self.clock.id());
        let deadline = self.clock.now() + Duration::from_secs(600);
        let begun = self
            .database
            .write(move |tx| {
                Box::pin(async move {
                    let new = New {
                        saga_id: &id,
                        state: &Bag::default(),
                        done: 1,
                        deadline: Some(deadline),
                    };
                    sagas.begin::<Trip>(tx, new).await
                })
            })
            .await
            .unwrap();
        self.sagas.run(begun)
    }

    /// As if the process had been killed: whatever still runs is of no account,
    /// another engine takes over.
    async fn revive(&mut self) {
        self.tasks.drain(Duration::from_millis(200)).await;
        self.tasks = Tasks::new("trip");
        self.sagas = engine(&self.database, &self.clock, &self.tasks, &self.trip, "").await;
    }
}

async fn over(waiter: Waiter) -> Instance {
    let found =
        waiter.until(PATIENCE, |instance| instance.status.is_over()).await.unwrap().unwrap();
    assert!(found.status.is_over(), "{found:?}");
    found
}

const DONE: [&str; 4] = ["flight", "hotel", "pay", "thank"];

fn sorted(mut steps: Vec<&'static str>) -> Vec<&'static str> {
    steps.sort_unstable();
    steps
}

#[tokio::test]
async fn without_trouble_every_step_is_done_once() {
    let bench = bench("").await;
    let ended = over(bench.begin().await).await;

    assert_eq!(ended.status, Status::Done);
    assert_eq!(sorted(bench.trip.standing()), DONE);
    let log = bench.sagas.log(&ended.saga_id).await.unwrap();
    let steps: Vec<_> =
        log.iter().map(|line| (line.step.as_str(), line.outcome.as_str())).collect();
    let all = [
        ("hotel", "DONE"),
        ("flight", "DONE"),
        ("pay", "DONE"),
        ("note", "DONE"),
        ("thank", "DONE"),
    ];
    assert_eq!(steps, all);
}

#[tokio::test]
async fn a_refusal_at_any_step_before_the_pivot_leaves_nothing() {
    for step in ["hotel", "flight", "pay"] {
        for phase in ["before", "after"] {
            let bench = bench(&format!("trip.{step}.act.{phase}=refuse")).await;
            let ended = over(bench.begin().await).await;
            assert_eq!(ended.status, Status::Compensated, "{step} {phase}");
            assert_eq!(ended.step, -1);
            assert_eq!(bench.trip.standing(), [""; 0], "{step} {phase}");
        }
    }
}

#[tokio::test]
async fn a_refusal_after_the_pivot_stops_and_a_person_sets_it_going_again() {
    let bench = bench("trip.thank.act.before=refuse:1").await;
    let ended = over(bench.begin().await).await;
    assert_eq!(ended.status, Status::Failed);
    assert!(sorted(bench.trip.standing()).contains(&"pay"));

    let (sagas, id) = (bench.sagas.clone(), ended.saga_id.clone());
    let decision = bench
        .database
        .write(move |tx| Box::pin(async move { sagas.retry(tx, &id, "user/ops").await }))
        .await
        .unwrap();
    assert_eq!(decision, Decision::Taken);
    let waiter = bench.sagas.waiter(&ended.saga_id);
    bench.sagas.nudge(&ended.saga_id);
    let found =
        waiter.until(PATIENCE, |instance| instance.status == Status::Done).await.unwrap().unwrap();
    assert_eq!(found.status, Status::Done);
}

#[tokio::test]
async fn every_action_and_every_undo_may_happen_twice() {
    for step in ["hotel", "flight", "pay", "thank"] {
        let bench = bench(&format!("trip.{step}.act.before=twice")).await;
        assert_eq!(over(bench.begin().await).await.status, Status::Done, "{step}");
        assert_eq!(sorted(bench.trip.standing()), DONE, "{step}");
        assert_eq!(
            bench.trip.world.lock().unwrap().done.len(),
            4,
            "{step}: a repetition has the same key"
        );
    }
    for step in ["hotel", "flight", "pay"] {
        let bench =
            bench(&format!("trip.pay.act.after=refuse;trip.{step}.undo.before=twice")).await;
        assert_eq!(over(bench.begin().await).await.status, Status::Compensated, "{step}");
        assert_eq!(bench.trip.standing(), [""; 0], "{step}");
    }
}

#[tokio::test]
async fn every_attempt_may_fail_once() {
    for step in ["hotel", "flight", "pay", "note", "thank"] {
        for phase in ["before", "after"] {
            let bench = bench(&format!("trip.{step}.act.{phase}=error:1")).await;
            assert_eq!(over(bench.begin().await).await.status, Status::Done, "{step} {phase}");
            assert_eq!(sorted(bench.trip.standing()), DONE, "{step} {phase}");
        }
    }
}

#[tokio::test]
async fn a_process_that_dies_anywhere_is_taken_up_from_the_database() {
    let forward = ["hotel", "flight", "pay", "note", "thank"].map(|step| (step, "act", ""));
    let backward = ["pay", "flight", "hotel", "begin"]
        .map(|step| (step, "undo", "trip.pay.act.after=refuse;"));
    for (step, direction, with) in forward.into_iter().chain(backward) {
        for phase in ["before", "after", "saved"] {
            let point = format!("trip.{step}.{direction}.{phase}");
            let mut bench = bench(&format!("{with}{point}=stop")).await;
            let waiter = bench.begin().await;
            let id = waiter.saga_id().to_owned();
            let hit =
                wait_for(|| bench.sagas.inner.stopped.load(std::sync::atomic::Ordering::Acquire))
                    .await;
            assert!(hit, "{point} was not met");
            drop(waiter);

            bench.revive().await;
            let waiter = bench.sagas.waiter(&id);
            bench.sagas.nudge(&id);
            let ended = over(waiter).await;
            // A refusal that was not saved never was.
            let done = ended.status == Status::Done;
            assert!(done || direction == "undo", "{point}: {:?}", ended.status);
            assert_eq!(
                sorted(bench.trip.standing()),
                if done { DONE.to_vec() } else { vec![] },
                "{point}"
            );
        }
    }
}

async fn wait_for(condition: impl Fn() -> bool) -> bool {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        if tokio::time::Instant::now() > deadline {
            return false;
        }
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    true
}

#[tokio::test]
async fn a_parked_step_goes_on_when_it_is_woken() {
    let bench = bench("").await;
    bench.trip.world.lock().unwrap().wants_visa = true;
    let waiter = bench.begin().await;
    let id = waiter.saga_id().to_owned();
    let parked = waiter
        .until(PATIENCE, |instance| instance.status == Status::Parked)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(parked.message, "the visa");

    bench.trip.world.lock().unwrap().visa = true;
    let waiter = bench.sagas.waiter(&id);
    assert!(bench.sagas.wake(&id).await.unwrap());
    assert_eq!(over(waiter).await.status, Status::Done);
}

#[tokio::test]
async fn a_parked_step_goes_on_when_its_time_comes() {
    let bench = bench("").await;
    bench.trip.world.lock().unwrap().wants_visa = true;
    let waiter = bench.begin().await;
    let id = waiter.saga_id().to_owned();
    waiter.until(PATIENCE, |instance| instance.status == Status::Parked).await.unwrap();
    bench.trip.world.lock().unwrap().visa = true;
    bench.clock.advance(Duration::from_secs(61));
    assert_eq!(over(bench.sagas.waiter(&id)).await.status, Status::Done);
}

#[tokio::test]
async fn a_deadline_takes_everything_back() {
    let bench = bench("").await;
    bench.trip.world.lock().unwrap().wants_visa = true;
    let waiter = bench.begin().await;
    let id = waiter.saga_id().to_owned();
    waiter.until(PATIENCE, |instance| instance.status == Status::Parked).await.unwrap();
    bench.clock.advance(Duration::from_secs(601));
    assert_eq!(over(bench.sagas.waiter(&id)).await.status, Status::Compensated);
    assert_eq!(bench.trip.standing(), [""; 0]);
}

#[tokio::test]
async fn somebody_may_turn_it_back_before_the_pivot_and_nobody_after() {
    let bench = bench("").await;
    bench.trip.world.lock().unwrap().wants_visa = true;
    let waiter = bench.begin().await;
    let id = waiter.saga_id().to_owned();
    waiter.until(PATIENCE, |instance| instance.status == Status::Parked).await.unwrap();
    assert!(interrupt(&bench, &id).await);
    bench.sagas.nudge(&id);
    assert_eq!(over(bench.sagas.waiter(&id)).await.status, Status::Compensated);
    assert!(!interrupt(&bench, &id).await, "it has ended");

    bench.trip.world.lock().unwrap().visa = true;
    let late = over(bench.begin().await).await;
    assert!(!interrupt(&bench, &late.saga_id).await, "it is past its pivot");
}

async fn interrupt(bench: &Bench, id: &str) -> bool {
    let (sagas, id) = (bench.sagas.clone(), id.to_owned());
    bench
        .database
        .write(move |tx| {
            Box::pin(async move { sagas.interrupt::<Trip>(tx, &id, "changed my mind").await })
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn a_process_that_slept_through_its_lease_cannot_write() {
    let bench = bench("").await;
    bench.trip.world.lock().unwrap().wants_visa = true;
    let waiter = bench.begin().await;
    let id = waiter.saga_id().to_owned();
    waiter.until(PATIENCE, |instance| instance.status == Status::Parked).await.unwrap();

    // One takes it up and sleeps; its lease ends; another takes it up.
    bench.sagas.inner.stopped.store(true, std::sync::atomic::Ordering::Release);
    bench.clock.advance(Duration::from_secs(61));
    let mut sleeper = bench.sagas.inner.claim(&id).await.unwrap().expect("due and free");
    assert!(bench.sagas.inner.claim(&id).await.unwrap().is_none(), "it is leased");
    bench.clock.advance(Duration::from_secs(21));
    let taken = bench.sagas.inner.claim(&id).await.unwrap().expect("the lease has ended");
    assert_eq!(taken.lease_epoch, sleeper.lease_epoch + 1);

    bench.trip.world.lock().unwrap().visa = true;
    sleeper.status = Status::Running;
    bench.sagas.inner.stopped.store(false, std::sync::atomic::Ordering::Release);
    Arc::clone(&bench.sagas.inner).drive(sleeper, None).await;
    let left = bench.sagas.get(&id).await.unwrap().unwrap();
    assert_eq!((left.status, left.step), (Status::Parked, 2), "the sleeper wrote nothing");
}

#[tokio::test]
async fn a_step_that_was_done_by_hand_is_skipped() {
    let bench = bench("trip.thank.act.before=refuse").await;
    let ended = over(bench.begin().await).await;
    assert_eq!(ended.status, Status::Failed);

    for (step, expected) in [("hotel", Decision::Impossible), ("thank", Decision::Taken)] {
        let (sagas, id) = (bench.sagas.clone(), ended.saga_id.clone());
        let decision = bench
            .database
            .write(move |tx| {
                Box::pin(async move { sagas.skip(tx, &id, step, "user/ops", "by hand").await })
            })
            .await
            .unwrap();
        assert_eq!(decision, expected);
    }
    let waiter = bench.sagas.waiter(&ended.saga_id);
    bench.sagas.nudge(&ended.saga_id);
    let found =
        waiter.until(PATIENCE, |instance| instance.status == Status::Done).await.unwrap().unwrap();
    assert_eq!(found.status, Status::Done);
    let log = bench.sagas.log(&found.saga_id).await.unwrap();
    assert!(
        log.iter()
            .any(|line| line.outcome == "SKIP_ORDERED" && line.message == "user/ops: by hand")
    );
}

#[tokio::test]
async fn what_ended_long_ago_is_forgotten_and_what_lives_is_not() {
    let bench = bench("").await;
    let ended = over(bench.begin().await).await;
    bench.trip.world.lock().unwrap().wants_visa = true;
    let waiter = bench.begin().await;
    let id = waiter.saga_id().to_owned();
    waiter.until(PATIENCE, |instance| instance.status == Status::Parked).await.unwrap();
    assert_eq!(bench.sagas.inner.prune().await.unwrap(), 0);

    bench.sagas.inner.stopped.store(true, std::sync::atomic::Ordering::Release);
    bench.clock.advance(Duration::from_secs(91 * 24 * 60 * 60));
    assert_eq!(bench.sagas.inner.prune().await.unwrap(), 1);
    assert!(bench.sagas.get(&ended.saga_id).await.unwrap().is_none());
    assert!(bench.sagas.log(&ended.saga_id).await.unwrap().is_empty());
    assert!(bench.sagas.get(&id).await.unwrap().is_some());
}

#[test]
fn a_derived_id_is_a_uuid_that_follows_from_its_parts() {
    let id = derived_id(&["ab", "c"]);
    assert_eq!(id, derived_id(&["ab", "c"]));
    assert_ne!(id, derived_id(&["a", "bc"]));
    assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 8);
}

#[test]
fn a_fault_is_logged_in_its_own_words() {
    let outcome = Outcome::Refuse(Fault::aborted(ErrorReason::Conflict).message("no"));
    assert_eq!(format!("{outcome:?}"), "Refuse(no)");
}
