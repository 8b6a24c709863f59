//! Beginning, waking and watching instances. What a turn of one is: [`super::run`].

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore, watch},
    time::Instant as Moment,
};

use super::{
    Saga, Settings, Step,
    definition::{Definition, Of, StepInfo},
    store::{self, Attempt, Instance, Status},
};
use crate::{
    Fault, args,
    call::{self, Call},
    clock::{Clock, Time},
    failpoint::Failpoints,
    store::{Database, Engine, Tx, json_texts},
    tasks::Tasks,
};

/// Recovered instances that are worked on at once.
const RECOVERIES_MAX: usize = 128;
/// How often instances that ended long ago are forgotten, and how many at once.
const PRUNE_PERIOD: Duration = Duration::from_secs(600);
/// See [`PRUNE_PERIOD`].
const PRUNE_MAX: i64 = 500;
/// How often a waiter looks into the database, for what other processes saved.
const WAIT_POLL: Duration = Duration::from_millis(250);

/// The sagas of a service. Cheap to clone.
#[derive(Clone)]
pub struct Sagas {
    pub(super) inner: Arc<Inner>,
}

/// What an engine is made of, before it starts.
pub struct Builder {
    database: Database,
    clock: Clock,
    tasks: Tasks,
    settings: Settings,
    definitions: Vec<Arc<dyn Definition>>,
}

/// A new instance.
#[derive(Debug)]
pub struct New<'a, S: Saga> {
    /// Its id: a UUID that the owner's own row knows too.
    pub saga_id: &'a str,
    /// What it knows from the beginning.
    pub state: &'a S::State,
    /// How many of its first steps the transaction that begins it has done already.
    pub done: usize,
    /// When it gives up waiting and goes back, unless it has passed its pivot.
    pub deadline: Option<Time>,
}

/// An instance that is begun as soon as its transaction commits: hand it to
/// [`Sagas::run`] then. If the process dies before, another takes it up.
#[derive(Debug)]
#[must_use = "hand it to `Sagas::run` after the commit, or the instance waits for its lease to end"]
pub struct Begun {
    instance: Instance,
}

/// Somebody who wants to know how an instance goes on.
pub struct Waiter {
    inner: Arc<Inner>,
    saga_id: String,
    watch: Arc<Watch>,
    /// Of an instance that has only just begun: its row tells nothing yet.
    fresh: bool,
}

pub(super) struct Inner {
    pub(super) database: Database,
    pub(super) clock: Clock,
    pub(super) tasks: Tasks,
    pub(super) settings: Settings,
    pub(super) failpoints: Failpoints,
    /// This engine, in the lease of what it works on.
    pub(super) owner: String,
    definitions: Vec<Arc<dyn Definition>>,
    watches: Mutex<HashMap<String, Arc<Watch>>>,
    recoveries: Arc<Semaphore>,
    /// Set by a failpoint: as if the process were gone.
    pub(super) stopped: AtomicBool,
}

/// What everybody in this process who is interested in one instance shares.
pub(super) struct Watch {
    latest: watch::Sender<Option<Arc<Instance>>>,
    /// Wakes its driver from the pause between two attempts.
    pub(super) nudged: Notify,
    driven: AtomicBool,
}

// === impl Builder ===

impl Builder {
    /// Adds a saga, or another version of one.
    #[must_use]
    pub fn saga<S: Saga>(mut self, saga: S) -> Self {
        self.definitions.push(Arc::new(Of(saga)));
        self
    }

    /// Starts the engine: takes up what a process before this one left, and looks
    /// for what is due from now on.
    pub async fn start(self) -> Result<Sagas, Fault> {
        let failpoints = self
            .settings
            .failpoints
            .parse::<Failpoints>()
            .map_err(|error| Fault::internal().because(error))?;
        let sweep = self.settings.sweep;
        let inner = Arc::new(Inner {
            owner: self.clock.id(),
            database: self.database,
            clock: self.clock,
            tasks: self.tasks,
            settings: self.settings,
            failpoints,
            definitions: self.definitions,
            watches: Mutex::default(),
            recoveries: Arc::new(Semaphore::new(RECOVERIES_MAX)),
            stopped: AtomicBool::new(false),
        });
        // A file has one process.
        if inner.database.engine() == Engine::Sqlite {
            inner
                .database
                .write(|tx| Box::pin(async move { tx.execute(store::TAKE_OVER, args![]).await }))
                .await?;
        }
        let sweeper = Arc::clone(&inner);
        inner.tasks.every("saga sweeper", sweep, move || {
            let inner = Arc::clone(&sweeper);
            async move { inner.sweep().await }
        });
        let pruner = Arc::clone(&inner);
        inner.tasks.every("saga pruner", PRUNE_PERIOD, move || {
            let inner = Arc::clone(&pruner);
            async move { inner.prune().await.map(drop) }
        });
        Ok(Sagas { inner })
    }
}

// === impl Sagas ===

impl Sagas {
    /// An engine over a service's own database.
    pub fn builder(
        database: &Database,
        clock: &Clock,
        tasks: &Tasks,
        settings: Settings,
    ) -> Builder {
        Builder {
            database: database.clone(),
            clock: clock.clone(),
            tasks: tasks.clone(),
            settings,
            definitions: Vec::new(),
        }
    }

    /// Writes a new instance, in the transaction of whatever it is about.
    pub async fn begin<S: Saga>(&self, tx: &mut Tx, new: New<'_, S>) -> Result<Begun, Fault> {
        let now = self.inner.clock.now();
        let lease = now + self.inner.settings.lease;
        let instance = self.insert::<S>(tx, new, now, Some(lease)).await?;
        Ok(Begun { instance })
    }

    /// As [`Sagas::begin`], for an instance that nobody waits for: it is taken up
    /// by the next look, or at once by [`Sagas::nudge`].
    pub async fn enqueue<S: Saga>(&self, tx: &mut Tx, new: New<'_, S>) -> Result<(), Fault> {
        let now = self.inner.clock.now();
        self.insert::<S>(tx, new, now, None).await?;
        Ok(())
    }

    async fn insert<S: Saga>(
        &self,
        tx: &mut Tx,
        new: New<'_, S>,
        now: Time,
        lease: Option<Time>,
    ) -> Result<Instance, Fault> {
        let pivot = S::PIVOT
            .and_then(|pivot| S::Step::ALL.iter().position(|step| *step == pivot))
            .map(index);
        let state =
            serde_json::to_string(new.state).map_err(|error| Fault::internal().because(error))?;
        let instance = Instance {
            saga_id: new.saga_id.to_owned(),
            name: S::NAME.to_owned(),
            version: S::VERSION,
            pivot,
            status: Status::Running,
            undoing: false,
            step: index(new.done),
            state,
            attempts: 0,
            message: String::new(),
            interrupt: None,
            directive: None,
            lease_owner: self.inner.owner.clone(),
            lease_epoch: 1,
            lease_expire_time: lease,
            wakes: 0,
            next_time: now,
            deadline: new.deadline,
            create_time: now,
            update_time: now,
        };
        tx.execute(
            store::INSERT,
            args![
                &instance.saga_id,
                &instance.name,
                instance.version,
                instance.pivot,
                instance.step,
                &instance.state,
                &instance.lease_owner,
                lease,
                now,
                instance.deadline,
            ],
        )
        .await?;
        Ok(instance)
    }

    /// Sets an instance going whose transaction has committed.
    pub fn run(&self, begun: Begun) -> Waiter {
        let instance = begun.instance;
        let waiter = self.follow(&instance.saga_id, true);
        let inner = Arc::clone(&self.inner);
        let call = call::current();
        self.inner.tasks.spawn("saga", async move { inner.drive(instance, call).await });
        waiter
    }

    /// Makes an instance due and takes it up: what it waits for may have happened.
    /// Says whether there is a live one.
    pub async fn wake(&self, saga_id: &str) -> Result<bool, Fault> {
        let now = self.inner.clock.now();
        let woken = {
            let saga_id = saga_id.to_owned();
            self.inner
                .database
                .write(move |tx| {
                    Box::pin(async move { tx.execute(store::WAKE, args![saga_id, now]).await })
                })
                .await?
        };
        if woken > 0 {
            self.nudge(saga_id);
        }
        Ok(woken > 0)
    }

    /// Takes an instance up at once if it is due, instead of at the next look.
    pub fn nudge(&self, saga_id: &str) {
        if let Some(watch) = self.inner.watched(saga_id)
            && watch.driven.load(Ordering::Acquire)
        {
            watch.nudged.notify_one();
            return;
        }
        let inner = Arc::clone(&self.inner);
        let saga_id = saga_id.to_owned();
        let call = call::current();
        self.inner.tasks.spawn("saga", async move { inner.take_up(&saga_id, call).await });
    }

    /// Follows an instance.
    pub fn waiter(&self, saga_id: &str) -> Waiter {
        self.follow(saga_id, false)
    }

    fn follow(&self, saga_id: &str, fresh: bool) -> Waiter {
        Waiter {
            inner: Arc::clone(&self.inner),
            saga_id: saga_id.to_owned(),
            watch: self.inner.watch(saga_id),
            fresh,
        }
    }

    /// One instance.
    pub async fn get(&self, saga_id: &str) -> Result<Option<Instance>, Fault> {
        Ok(self.inner.database.fetch_optional(store::GET, args![saga_id]).await?)
    }

    /// The log of one instance, oldest first.
    pub async fn log(&self, saga_id: &str) -> Result<Vec<Attempt>, Fault> {
        Ok(self
            .inner
            .database
            .fetch_all(store::ATTEMPTS, args![saga_id, store::LOG_LINES_MAX])
            .await?)
    }

    /// Instances, newest first: after the given place, at most so many.
    pub async fn list(
        &self,
        name: Option<&str>,
        status: Option<Status>,
        after: Option<(i64, String)>,
        limit: i64,
    ) -> Result<Vec<Instance>, Fault> {
        let (time, id) = after.unzip();
        let status = status.map(Status::as_str);
        Ok(self.inner.database.fetch_all(store::LIST, args![name, status, time, id, limit]).await?)
    }

    /// The name of the step an instance is at; empty past either end.
    pub fn step_name(&self, instance: &Instance) -> &'static str {
        self.inner.step_of(instance).map_or("", |step| step.name)
    }
}

impl fmt::Debug for Sagas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> =
            self.inner.definitions.iter().map(|found| (found.name(), found.version())).collect();
        f.debug_struct("Sagas")
            .field("owner", &self.inner.owner)
            .field("definitions", &names)
            .finish()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("definitions", &self.definitions.len())
            .finish_non_exhaustive()
    }
}

// === impl Inner ===

impl Inner {
    pub(super) fn definition(&self, instance: &Instance) -> Option<Arc<dyn Definition>> {
        let found = self
            .definitions
            .iter()
            .find(|found| found.name() == instance.name && found.version() == instance.version);
        found.map(Arc::clone)
    }

    pub(super) fn step_of(&self, instance: &Instance) -> Option<StepInfo> {
        self.definition(instance)?.step(usize::try_from(instance.step).ok()?)
    }

    /// Takes up what is due.
    async fn sweep(self: Arc<Self>) -> Result<(), Fault> {
        if self.stopped.load(Ordering::Acquire) {
            return Ok(());
        }
        let due: Vec<String> = self
            .database
            .fetch_all(store::DUE, args![self.clock.now(), self.settings.batch])
            .await?;
        for saga_id in due {
            let Ok(permit) = Arc::clone(&self.recoveries).try_acquire_owned() else { break };
            let inner = Arc::clone(&self);
            self.tasks.spawn("saga", async move {
                inner.take_up(&saga_id, None).await;
                drop(permit);
            });
        }
        Ok(())
    }

    /// Forgets what ended long ago. Says how many.
    pub(super) async fn prune(&self) -> Result<usize, Fault> {
        let before = self.clock.now() - self.settings.keep;
        let old: Vec<String> =
            self.database.fetch_all(store::OLD, args![before, PRUNE_MAX]).await?;
        if old.is_empty() {
            return Ok(0);
        }
        let (count, ids) = (old.len(), json_texts(&old));
        self.database
            .write(move |tx| {
                Box::pin(async move {
                    tx.execute(store::FORGET_STEPS, args![&ids]).await?;
                    tx.execute(store::FORGET, args![&ids]).await
                })
            })
            .await?;
        Ok(count)
    }

    /// Works on an instance if it is due and nobody does.
    async fn take_up(self: Arc<Self>, saga_id: &str, call: Option<Call>) {
        if self.stopped.load(Ordering::Acquire) || self.tasks.is_draining() {
            return;
        }
        match self.claim(saga_id).await {
            Ok(Some(instance)) => self.drive(instance, call).await,
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(saga.id = saga_id, %error, "a saga could not be taken up; it will be later")
            }
        }
    }

    pub(super) async fn claim(&self, saga_id: &str) -> Result<Option<Instance>, Fault> {
        let now = self.clock.now();
        let arguments = args![saga_id, &self.owner, now + self.settings.lease, now];
        self.database
            .write(move |tx| {
                Box::pin(async move { Ok(tx.fetch_optional(store::CLAIM, arguments).await?) })
            })
            .await
    }

    fn watches(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Watch>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watched(&self, saga_id: &str) -> Option<Arc<Watch>> {
        self.watches().get(saga_id).map(Arc::clone)
    }

    fn watch(&self, saga_id: &str) -> Arc<Watch> {
        let mut watches = self.watches();
        Arc::clone(watches.entry(saga_id.to_owned()).or_insert_with(|| {
            Arc::new(Watch {
                latest: watch::Sender::new(None),
                nudged: Notify::new(),
                driven: AtomicBool::new(false),
            })
        }))
    }

    /// Begins to drive: from now on a nudge reaches the driver.
    pub(super) fn drive_watch(&self, saga_id: &str) -> Arc<Watch> {
        let watch = self.watch(saga_id);
        watch.driven.store(true, Ordering::Release);
        watch
    }

    pub(super) fn release(&self, saga_id: &str, watch: Arc<Watch>, driver: bool) {
        if driver {
            watch.driven.store(false, Ordering::Release);
        }
        let mut watches = self.watches();
        drop(watch);
        // What is left is the map's own: nobody is interested any more.
        if watches.get(saga_id).is_some_and(|left| Arc::strong_count(left) == 1) {
            watches.remove(saga_id);
        }
    }
}

// === impl Watch ===

impl Watch {
    pub(super) fn publish(&self, instance: &Instance) {
        if self.latest.receiver_count() > 0 {
            self.latest.send_replace(Some(Arc::new(instance.clone())));
        }
    }
}

// === impl Waiter ===

impl Waiter {
    /// Which instance it follows.
    pub fn saga_id(&self) -> &str {
        &self.saga_id
    }

    /// Returns the instance as soon as it is as wished, or as it is when the
    /// patience ends. `None` if there is none.
    pub async fn until(
        self,
        patience: Duration,
        wish: impl Fn(&Instance) -> bool,
    ) -> Result<Option<Instance>, Fault> {
        let deadline = Moment::now() + patience;
        let mut latest = self.watch.latest.subscribe();
        let mut poll = tokio::time::interval_at(Moment::now() + WAIT_POLL, WAIT_POLL);
        let mut seen = latest.borrow_and_update().clone().map(|instance| (*instance).clone());
        if seen.is_none() && !self.fresh {
            seen = self.read().await?;
        }
        loop {
            if seen.as_ref().is_some_and(&wish) {
                return Ok(seen);
            }
            tokio::select! {
                biased;
                changed = latest.changed() => {
                    // The sender is in `self.watch`, so that this cannot fail.
                    if changed.is_ok() && let Some(instance) = latest.borrow_and_update().as_deref() {
                        seen = Some(instance.clone());
                    }
                }
                _ = poll.tick() => seen = self.read().await?,
                () = tokio::time::sleep_until(deadline) => {
                    return if seen.is_some() { Ok(seen) } else { self.read().await };
                }
            }
        }
    }

    async fn read(&self) -> Result<Option<Instance>, Fault> {
        Ok(self.inner.database.fetch_optional(store::GET, args![&self.saga_id]).await?)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let watch = Arc::clone(&self.watch);
        // `self.watch` itself is dropped after this, so count one more.
        let mut watches = self.inner.watches();
        drop(watch);
        if watches.get(&self.saga_id).is_some_and(|left| Arc::strong_count(left) == 2) {
            watches.remove(&self.saga_id);
        }
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter").field("saga_id", &self.saga_id).finish_non_exhaustive()
    }
}

/// A position as the database counts: there are never more steps than fit.
pub(super) fn index(position: usize) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}
