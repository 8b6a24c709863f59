//! The one writer of a SQLite file.
//!
//! A commit that waits for the disk costs the same for one write as for a
//! hundred. So writes are sent to one task, which takes all that are waiting,
//! runs each inside its own savepoint, commits once and then answers them all:
//! group commit. One that fails is rolled back alone.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{Error, Origin, Tx, sqlite, statement::Prefix, tx::Session};

/// How many writes may wait; the next waits for a place.
const QUEUE: usize = 1_024;
/// How long a write may take: one that waits for something else than SQL, such as
/// another write, would stop every write of the service.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many writes share a commit at most.
const BATCH: usize = 128;

const UNDO: &str = "rollback to write";
const COMMIT: &str = "commit";
const ROLLBACK: &str = "rollback";

/// The way to the writer's task.
pub(super) struct Writer {
    queue: mpsc::Sender<Box<dyn Job>>,
    stop: CancellationToken,
    ended: watch::Receiver<bool>,
}

/// A write that waits for its turn, then for its commit.
trait Job: Send {
    /// Whether its caller has gone before it began.
    fn is_abandoned(&self) -> bool;
    /// Runs it. Never panics.
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> BoxFuture<'t, ()>;
    /// Whether what it did is to be kept.
    fn is_kept(&self) -> bool;
    /// Replaces a success that came to nothing.
    fn fail(&mut self, error: &Error);
    /// Tells its caller.
    fn answer(self: Box<Self>);
}

struct Write<T, E, F> {
    effect: Option<F>,
    origin: Origin,
    outcome: Option<Result<T, E>>,
    caller: oneshot::Sender<Result<T, E>>,
}

/// Runs a write's closure. A panic becomes an error, and so does an `Ok` whose
/// transaction is spoiled.
pub(super) async fn attempt<T, E, F>(effect: F, tx: &mut Tx) -> Result<T, E>
where
    F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>>,
    E: From<Error>,
{
    // Unwind safety: what the closure leaves behind in the transaction is rolled
    // back, and of `tx` itself only `spoiled` matters, which is set here.
    match AssertUnwindSafe(async { effect(&mut *tx).await }).catch_unwind().await {
        Ok(Ok(_)) if tx.spoiled => Err(Error::Spoiled.into()),
        Ok(outcome) => outcome,
        Err(panic) => {
            let what = panic_text(panic.as_ref());
            tracing::error!(panic = what, "a write panicked");
            tx.spoiled = true;
            Err(Error::Panicked(what.into()).into())
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("something that is no text")
}

// === impl Writer ===

impl Writer {
    #[expect(
        clippy::disallowed_methods,
        reason = "the writer outlives the drained tasks: Database::close ends it"
    )]
    pub(super) fn start(
        tx: Tx,
        options: SqliteConnectOptions,
        committed: watch::Sender<()>,
        commits: Arc<AtomicU64>,
    ) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let stop = CancellationToken::new();
        let (end, ended) = watch::channel(false);
        let stopped = stop.clone();
        let actor = Actor { tx, options, committed, commits };
        tokio::spawn(async move {
            actor.run(jobs, stopped).await;
            end.send_replace(true);
        });
        Self { queue, stop, ended }
    }

    /// Runs a closure in a transaction; returns when it is committed or undone.
    pub(super) async fn write<T, E, F>(&self, origin: Origin, effect: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let write = Write { effect: Some(effect), origin, outcome: None, caller };
        if self.queue.send(Box::new(write)).await.is_err() {
            return Err(closing().into());
        }
        answer.await.unwrap_or_else(|_dropped| Err(closing().into()))
    }

    pub(super) fn is_running(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Takes no more writes, finishes those that wait and closes the file.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        // An error means that the task is gone: that is what we wait for.
        let mut ended = self.ended.clone();
        let _gone = ended.wait_for(|ended| *ended).await;
    }
}

fn closing() -> Error {
    Error::unavailable("the database is closing")
}

// === impl Write ===

impl<T, E, F> Job for Write<T, E, F>
where
    T: Send + 'static,
    E: From<Error> + Send + 'static,
    F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
{
    fn is_abandoned(&self) -> bool {
        self.caller.is_closed()
    }

    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> BoxFuture<'t, ()> {
        Box::pin(async move {
            tx.renew(std::mem::take(&mut self.origin));
            if let Some(effect) = self.effect.take() {
                let attempted = tokio::time::timeout(PATIENCE, attempt(effect, tx)).await;
                self.outcome = Some(attempted.unwrap_or_else(|_elapsed| {
                    tracing::error!(
                        "a write did not end in time and is undone: it may await SQL only"
                    );
                    Err(Error::unavailable("a write did not end in time").into())
                }));
            }
        })
    }

    fn is_kept(&self) -> bool {
        matches!(self.outcome, Some(Ok(_)))
    }

    fn fail(&mut self, error: &Error) {
        if !matches!(self.outcome, Some(Err(_))) {
            self.outcome = Some(Err(error.clone().into()));
        }
    }

    fn answer(self: Box<Self>) {
        if let Some(outcome) = self.outcome {
            // The caller may have gone meanwhile: what is done is done.
            let _gone = self.caller.send(outcome);
        }
    }
}

// === impl Actor ===

struct Actor {
    tx: Tx,
    options: SqliteConnectOptions,
    committed: watch::Sender<()>,
    commits: Arc<AtomicU64>,
}

impl Actor {
    async fn run(mut self, mut jobs: mpsc::Receiver<Box<dyn Job>>, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut stopped = std::pin::pin!(stop.cancelled().fuse());
        loop {
            tokio::select! {
                biased;
                taken = jobs.recv_many(&mut batch, BATCH) => if taken == 0 { break },
                () = &mut stopped => {
                    jobs.close();
                    continue;
                }
            }
            batch.retain(|job| !job.is_abandoned());
            if batch.is_empty() {
                continue;
            }
            if let Err(error) = self.commit(&mut batch).await {
                tracing::warn!(%error, writes = batch.len(), "a group of writes was rolled back");
                for job in &mut batch {
                    job.fail(&error);
                }
                self.recover().await;
            }
            for job in batch.drain(..) {
                job.answer();
            }
        }
        if let Session::Sqlite(mut connection) = self.tx.session {
            if let Err(problem) = sqlx::query("pragma optimize").execute(&mut connection).await {
                tracing::warn!(%problem, "the database was not optimized");
            }
            if let Err(problem) = connection.close().await {
                tracing::warn!(%problem, "the writer did not close");
            }
        }
    }

    /// Runs a batch in one transaction. On an error nothing of it is kept.
    ///
    /// What begins the transaction, and each write in it, goes with the write's
    /// first statement: as long as `tx.prefix` is there, the write has run none.
    async fn commit(&mut self, batch: &mut [Box<dyn Job>]) -> Result<(), Error> {
        let many = batch.len() > 1;
        let begin = if many { Prefix::BeginMany } else { Prefix::Begin };
        let mut kept_any = false;
        let mut published = false;
        let mut undo = false;
        self.tx.prefix = begin;
        for (index, job) in batch.iter_mut().enumerate() {
            if undo {
                // The savepoint stands where it stood: this write uses it.
                self.control(UNDO).await?;
            } else if index > 0 && self.tx.prefix == Prefix::None {
                self.tx.prefix = Prefix::Next;
            }
            job.run(&mut self.tx).await;
            undo = !job.is_kept() && self.tx.prefix == Prefix::None;
            if job.is_kept() {
                kept_any = true;
                published |= self.tx.published;
            }
        }
        if self.tx.prefix == begin {
            // Nobody ran a statement: there is no transaction.
            return Ok(());
        }
        if !kept_any {
            return self.control(ROLLBACK).await;
        }
        if undo {
            self.control(UNDO).await?;
        }
        self.control(COMMIT).await?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        if published {
            self.committed.send_replace(());
        }
        Ok(())
    }

    async fn control(&mut self, sql: &'static str) -> Result<(), Error> {
        match &mut self.tx.session {
            Session::Sqlite(connection) => run(connection, sql).await,
            Session::Postgres(_) => Err(Error::setup("the writer is SQLite's alone")),
        }
    }

    /// Leaves the transaction that failed; a connection that is not even good
    /// for that is replaced.
    async fn recover(&mut self) {
        // "No transaction is active" is what we want to hear, too.
        let left = self.control(ROLLBACK).await;
        if !matches!(left, Err(Error::Unavailable(_))) {
            return;
        }
        match sqlite::connect(&self.options).await {
            Ok(connection) => self.tx.session = Session::Sqlite(connection),
            Err(error) => tracing::error!(%error, "the writer has no connection"),
        }
    }
}

async fn run(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), Error> {
    sqlx::query(sql)
        .execute(connection)
        .await
        .map(drop)
        .map_err(|problem| Error::of("transaction", problem))
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("running", &self.is_running()).finish_non_exhaustive()
    }
}
