//! Follows a peer's feed.
//!
//! # How an event is had exactly once
//! A consumer asks its handler what the event means ([`Consumer::on`]: it may
//! read and call, and may be asked more than once) and gets an [`Effect`]. The
//! effect, the row of the inbox and the new position are one transaction. The
//! position moves by compare-and-set, so that two replicas that follow the same
//! feed cannot both have an event: the slower one is undone and reads again.
//!
//! # Order, and deliveries that fail
//! Events of one subject are had in order. What the feed gives is cut into runs
//! of different subjects, which are handled beside each other and committed
//! together. A delivery that fails is set aside (see
//! [`DeadLetter`](super::DeadLetter)) and tried again with growing pauses; what
//! comes for its subject meanwhile queues behind it, and everything else flows.
//! After [`Options::attempts`] refusals it is parked until somebody redrives it;
//! as long as the failure is transient (a peer is away) it is not.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use contracts::mesh::v1::{PullEventsRequest, PullEventsResponse};
use futures_util::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Consumer, Delivery, Effect, Feed, Options,
    dead_letter::{self, FIND_HEAD, Head, LIST_BLOCKED, LIST_WAITING, NOTE_FAILURE, State},
};
use crate::{
    Fault, args,
    call::{self, Call},
    store::{Database, Error, Tx, json_texts},
    telemetry::TraceContext,
};

/// How long a handler may work on one event.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(30);

crate::statements! {
    /// A position to begin with.
    ADD_CURSOR = "insert into feed_cursor (consumer, source, feed_id, seq, update_time) values ($1, $2, '', 0, $3)
        on conflict (consumer, source) do nothing";
    /// How far a consumer has read.
    FIND_CURSOR = "select feed_id, seq from feed_cursor where consumer = $1 and source = $2";
    /// Reads on, if nobody else did.
    MOVE_CURSOR = "update feed_cursor set feed_id = $3, seq = $4, update_time = $5
        where consumer = $1 and source = $2 and feed_id = $6 and seq = $7";
    /// An event is had, unless it was before.
    ADD_INBOX = "insert into inbox (consumer, event_id, create_time) values ($1, $2, $3)
        on conflict (consumer, event_id) do nothing";
}

/// Follows a feed until `stop` is cancelled.
pub(super) async fn follow<C: Consumer>(
    database: Database,
    source: String,
    feed: impl Feed,
    consumer: C,
    options: Options,
    stop: CancellationToken,
) {
    let mut follower = Follower {
        database,
        source,
        consumer,
        options,
        cursor: Cursor::default(),
        due: HashMap::new(),
        failures: 0,
    };
    while !stop.is_cancelled() {
        match follower.follow(&feed, &stop).await {
            Ok(()) => return,
            Err(problem) => {
                // Said once, not at every attempt while a peer is away.
                if follower.failures == 0 {
                    tracing::warn!(consumer = C::NAME, source = follower.source, %problem, "the feed cannot be followed for now");
                }
                follower.failures += 1;
                let pause = follower.options.backoff(follower.failures);
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }
}

/// A consumer on its way through a feed.
struct Follower<C> {
    database: Database,
    source: String,
    consumer: C,
    options: Options,
    cursor: Cursor,
    /// When each subject with a delivery set aside is to be tried again.
    due: HashMap<String, Instant>,
    /// How often the feed or the database failed since the last pull that did not.
    failures: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Cursor {
    feed_id: String,
    seq: i64,
}

/// What is to become of a delivery.
enum Plan {
    Have(Effect),
    /// It failed, or waits behind another that did.
    SetAside(Option<Fault>),
}

/// Why a transaction of the follower came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Error),
    /// Another replica was there first.
    #[error("another replica was there first")]
    Lost,
    /// An effect was refused.
    #[error(transparent)]
    Refused(Fault),
}

/// Why the feed cannot be followed for now.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the database failed: {0}")]
    Store(#[from] Error),
    #[error("the feed failed: {0}")]
    Feed(Fault),
}

// === impl Follower ===

impl<C: Consumer> Follower<C> {
    /// Pulls and handles until something fails or `stop` is cancelled.
    async fn follow(&mut self, feed: &dyn Feed, stop: &CancellationToken) -> Result<(), Trouble> {
        self.load().await?;
        let mut redriven = self.database.redriven();
        while !stop.is_cancelled() {
            let wait = prost_types::Duration::try_from(self.options.wait).unwrap_or_default();
            let mut pull = feed.pull(PullEventsRequest {
                feed_id: self.cursor.feed_id.clone(),
                after_seq: self.cursor.seq,
                limit: self.options.limit,
                wait: Some(wait),
            });
            let pulled = loop {
                let next = self.due.values().min().copied();
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return Ok(()),
                    pulled = &mut pull => break pulled.map_err(Trouble::Feed)?,
                    _ = redriven.changed() => self.load_due(Instant::now()).await?,
                    () = until(next) => self.retry_due(stop).await?,
                }
            };
            drop(pull);
            self.failures = 0;
            self.accept(pulled, stop).await?;
            // Another replica may have gone and left its dead letters to us.
            self.load_due(Instant::now() + self.options.pause).await?;
        }
        Ok(())
    }

    async fn load(&mut self) -> Result<(), Error> {
        let source = self.source.clone();
        self.database
            .write(|tx| {
                Box::pin(async move {
                    let now = tx.clock().now();
                    tx.execute(ADD_CURSOR, args![C::NAME, source, now]).await
                })
            })
            .await?;
        self.load_cursor().await?;
        self.load_due(Instant::now()).await
    }

    async fn load_cursor(&mut self) -> Result<(), Error> {
        let (feed_id, seq) =
            self.database.fetch_one(FIND_CURSOR, args![C::NAME, &self.source]).await?;
        self.cursor = Cursor { feed_id, seq };
        Ok(())
    }

    /// Learns of subjects that are to be tried again and that we do not know of.
    async fn load_due(&mut self, when: Instant) -> Result<(), Error> {
        let waiting: Vec<String> =
            self.database.fetch_all(LIST_WAITING, args![C::NAME, &self.source]).await?;
        for subject in waiting {
            self.due.entry(subject).or_insert(when);
        }
        Ok(())
    }

    /// Handles what was pulled.
    async fn accept(
        &mut self,
        pulled: PullEventsResponse,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        if pulled.events.is_empty() {
            return Ok(());
        }
        let deliveries: Vec<Delivery> = pulled.events.into_iter().map(Delivery::of_feed).collect();
        let mut rest = deliveries.as_slice();
        while !rest.is_empty() && !stop.is_cancelled() {
            let (run, tail) = rest.split_at(run_length(rest, self.options.width));
            if !self.have(&pulled.feed_id, run).await? {
                // Another replica had it: its position is ours, too.
                self.load_cursor().await?;
                return Ok(());
            }
            rest = tail;
        }
        Ok(())
    }

    /// Has a run of events of different subjects; says whether nobody else did.
    async fn have(&mut self, feed_id: &str, run: &[Delivery]) -> Result<bool, Error> {
        match self.have_together(feed_id, run).await {
            Ok(()) => Ok(true),
            Err(Stop::Lost) => Ok(false),
            Err(Stop::Store(error)) if error.is_transient() => Err(error),
            // One of them is refused: find out which.
            Err(Stop::Store(_) | Stop::Refused(_)) if run.len() > 1 => {
                for delivery in run {
                    match self.have_together(feed_id, std::slice::from_ref(delivery)).await {
                        Ok(()) => {}
                        Err(Stop::Lost) => return Ok(false),
                        Err(Stop::Store(error)) if error.is_transient() => return Err(error),
                        Err(problem) => {
                            if !self.set_aside(feed_id, delivery, problem.into()).await? {
                                return Ok(false);
                            }
                        }
                    }
                }
                Ok(true)
            }
            Err(problem) => match run.first() {
                Some(delivery) => self.set_aside(feed_id, delivery, problem.into()).await,
                None => Ok(true),
            },
        }
    }

    async fn have_together(&mut self, feed_id: &str, run: &[Delivery]) -> Result<(), Stop> {
        let subjects: Vec<&str> = run.iter().map(|delivery| delivery.subject.as_str()).collect();
        let blocked: Vec<String> = self
            .database
            .fetch_all(LIST_BLOCKED, args![C::NAME, &self.source, json_texts(&subjects)])
            .await?;
        let plans = join_all(run.iter().map(|delivery| async {
            if blocked.contains(&delivery.subject) {
                return Plan::SetAside(None);
            }
            match self.ask(delivery).await {
                Ok(effect) => Plan::Have(effect),
                Err(fault) => Plan::SetAside(Some(fault)),
            }
        }))
        .await;
        self.commit(feed_id, run, plans).await
    }

    async fn set_aside(
        &mut self,
        feed_id: &str,
        delivery: &Delivery,
        fault: Fault,
    ) -> Result<bool, Error> {
        let plans = vec![Plan::SetAside(Some(fault))];
        match self.commit(feed_id, std::slice::from_ref(delivery), plans).await {
            Ok(()) => Ok(true),
            Err(Stop::Lost) => Ok(false),
            Err(Stop::Store(error)) => Err(error),
            Err(Stop::Refused(fault)) => {
                tracing::error!(%fault, "setting a delivery aside has no effect that could be refused");
                Ok(false)
            }
        }
    }

    /// Commits what is to become of a run, and the position after it.
    async fn commit(
        &mut self,
        feed_id: &str,
        run: &[Delivery],
        plans: Vec<Plan>,
    ) -> Result<(), Stop> {
        let Some(last) = run.last() else { return Ok(()) };
        let next = Cursor { feed_id: feed_id.to_owned(), seq: last.seq };
        let (from, to, source) = (self.cursor.clone(), next.clone(), self.source.clone());
        let failed: Vec<String> = run
            .iter()
            .zip(&plans)
            .filter_map(|(delivery, plan)| match plan {
                Plan::SetAside(Some(fault)) => {
                    tracing::warn!(consumer = C::NAME, event = delivery.id, kind = delivery.kind,
                        subject = delivery.subject, %fault, "a delivery failed and is set aside");
                    Some(delivery.subject.clone())
                }
                Plan::SetAside(None) | Plan::Have(_) => None,
            })
            .collect();
        let work: Vec<(Delivery, Plan)> = run.iter().cloned().zip(plans).collect();
        let origin = run.first().map(Delivery::origin).unwrap_or_default();
        self.database
            .write_from(origin, move |tx| {
                Box::pin(async move {
                    let now = tx.clock().now();
                    let arguments =
                        args![C::NAME, &source, to.feed_id, to.seq, now, from.feed_id, from.seq];
                    if tx.execute(MOVE_CURSOR, arguments).await? == 0 {
                        return Err(Stop::Lost);
                    }
                    for (delivery, plan) in work {
                        match plan {
                            Plan::Have(effect) => apply::<C>(tx, &delivery, effect).await?,
                            Plan::SetAside(fault) => {
                                let failure = fault.map(|fault| fault.to_string());
                                dead_letter::add(
                                    tx,
                                    C::NAME,
                                    &source,
                                    &delivery,
                                    failure.as_deref(),
                                )
                                .await?;
                            }
                        }
                    }
                    Ok(())
                })
            })
            .await?;
        self.cursor = next;
        let when = Instant::now() + self.options.backoff(1);
        for subject in failed {
            self.due.insert(subject, when);
        }
        Ok(())
    }

    /// Tries those subjects again whose time has come.
    async fn retry_due(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        let now = Instant::now();
        let due: Vec<String> = self
            .due
            .iter()
            .filter(|(_, when)| **when <= now)
            .map(|(subject, _)| subject.clone())
            .collect();
        for subject in due {
            if stop.is_cancelled() {
                return Ok(());
            }
            match self.retry(&subject).await? {
                Some(pause) => self.due.insert(subject, Instant::now() + pause),
                None => self.due.remove(&subject),
            };
        }
        Ok(())
    }

    /// Delivers what is set aside of a subject, in order, until one fails; how
    /// long to wait before it is tried again, if it is.
    async fn retry(&self, subject: &str) -> Result<Option<Duration>, Error> {
        loop {
            let head: Option<Head> = self
                .database
                .fetch_optional(FIND_HEAD, args![C::NAME, &self.source, subject])
                .await?;
            let Some(head) = head else { return Ok(None) };
            if head.state == State::Parked {
                return Ok(None);
            }
            let Some(delivery) = head.delivery() else {
                tracing::error!(
                    dead_letter = head.id,
                    "a dead letter cannot be read and is parked"
                );
                self.note(&head, State::Parked, "its envelope cannot be read".to_owned()).await?;
                return Ok(None);
            };
            let fault = match self.retry_head(&head, delivery).await {
                Ok(()) => continue,
                // Another replica had it.
                Err(Stop::Lost) => continue,
                Err(Stop::Store(error)) if error.is_transient() => return Err(error),
                Err(problem) => Fault::from(problem),
            };
            let attempts = head.attempts + 1;
            let parked = attempts >= self.options.attempts && !fault.is_transient();
            let state = if parked { State::Parked } else { State::Waiting };
            if parked {
                tracing::error!(consumer = C::NAME, dead_letter = head.id, subject, %fault, "a delivery is parked");
            }
            self.note(&head, state, fault.to_string()).await?;
            return Ok((!parked).then(|| self.options.backoff(attempts)));
        }
    }

    async fn retry_head(&self, head: &Head, delivery: Delivery) -> Result<(), Stop> {
        let effect = self.ask(&delivery).await.map_err(Stop::Refused)?;
        let id = head.id;
        self.database
            .write_from(delivery.origin(), move |tx| {
                Box::pin(async move {
                    dead_letter::remove(tx, id).await?;
                    apply::<C>(tx, &delivery, effect).await
                })
            })
            .await
    }

    async fn note(&self, head: &Head, state: State, failure: String) -> Result<(), Error> {
        let (id, attempts) = (head.id, head.attempts + 1);
        self.database
            .write(move |tx| {
                Box::pin(async move {
                    let now = tx.clock().now();
                    let arguments =
                        args![id, state.name(), attempts, dead_letter::shortened(&failure), now];
                    tx.execute(NOTE_FAILURE, arguments).await.map(drop)
                })
            })
            .await
    }

    /// Asks the handler, within its time and in the trace of the event.
    async fn ask(&self, delivery: &Delivery) -> Result<Effect, Fault> {
        let mut call = Call::begin(HANDLER_TIMEOUT);
        if let Some(trace) =
            delivery.traceparent.as_deref().and_then(|text| TraceContext::parse(text.as_bytes()))
        {
            call.trace = trace;
        }
        let asked = call::scope(call, self.consumer.on(delivery));
        tokio::time::timeout(HANDLER_TIMEOUT, asked).await.unwrap_or_else(|_elapsed| {
            Err(Fault::deadline_exceeded(contracts::mesh::v1::ErrorReason::DeadlineExceeded)
                .message("the handler took too long"))
        })
    }
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// How many events from the first on are of different subjects.
fn run_length(deliveries: &[Delivery], width: usize) -> usize {
    let mut seen = HashSet::new();
    deliveries
        .iter()
        .take(width.max(1))
        .take_while(|delivery| seen.insert(delivery.subject.as_str()))
        .count()
}

/// Has an event, unless it was had before.
async fn apply<C: Consumer>(tx: &mut Tx, delivery: &Delivery, effect: Effect) -> Result<(), Stop> {
    let now = tx.clock().now();
    if tx.execute(ADD_INBOX, args![C::NAME, &delivery.id, now]).await? == 0 {
        return Ok(());
    }
    tx.set_origin(delivery.origin());
    match effect.0 {
        Some(apply) => apply(tx).await.map_err(Stop::Refused),
        None => Ok(()),
    }
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Store(error) => error.into(),
            Stop::Refused(fault) => fault,
            Stop::Lost => Self::aborted(contracts::mesh::v1::ErrorReason::Conflict),
        }
    }
}
