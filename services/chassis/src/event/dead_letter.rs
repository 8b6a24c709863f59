//! Deliveries that failed, and those that wait behind them.

use contracts::io::cloudevents::v1::CloudEvent;
use prost::Message as _;

use super::{Delivery, follower::Stop};
use crate::{
    Time, args,
    store::{Database, Error, FromRow, Row, Tx},
};

/// The most dead letters that one listing shows.
const LIST_MAX: i64 = 1_000;
/// The longest description of a failure that is kept, in characters.
const FAILURE_MAX: usize = 1_000;

crate::statements! {
    /// Sets a delivery aside.
    ADD_DEAD_LETTER = "insert into dead_letter
            (consumer, source, subject, event_id, kind, envelope, state, attempts, failure, create_time, update_time)
        values ($1, $2, $3, $4, $5, $6, 'WAITING', $7, $8, $9, $9)
        on conflict (consumer, event_id) do nothing";
    /// Those of some subjects that have deliveries set aside.
    LIST_BLOCKED = "select distinct subject from dead_letter
        where consumer = $1 and source = $2 and subject in (select value from {{JSON_TEXTS:$3}})";
    /// The subjects that are to be tried again.
    LIST_WAITING = "select distinct subject from dead_letter
        where consumer = $1 and source = $2 and state = 'WAITING'";
    /// The first of a subject: the others wait for it.
    FIND_HEAD = "select dead_letter_id, envelope, state, attempts from dead_letter
        where consumer = $1 and source = $2 and subject = $3 order by dead_letter_id limit 1";
    /// It was delivered, or is given up for good.
    REMOVE_DEAD_LETTER = "delete from dead_letter where dead_letter_id = $1";
    /// It failed again.
    NOTE_FAILURE = "update dead_letter set state = $2, attempts = $3, failure = $4, update_time = $5
        where dead_letter_id = $1";
    /// Oldest first.
    LIST_DEAD_LETTERS = "select dead_letter_id, consumer, source, subject, event_id, kind, state, attempts, failure,
            create_time, update_time
        from dead_letter where dead_letter_id > $1 order by dead_letter_id limit $2";
    /// Tries one again.
    REDRIVE = "update dead_letter set state = 'WAITING', attempts = 0, update_time = $2
        where dead_letter_id = $1 and state = 'PARKED'";
}

/// A delivery that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Names it; those of one subject are delivered in this order.
    pub id: i64,
    /// Whose delivery.
    pub consumer: String,
    /// Of which service's feed.
    pub source: String,
    /// The aggregate.
    pub subject: String,
    /// The event.
    pub event_id: String,
    /// What happened.
    pub kind: String,
    /// Whether it will be tried again.
    pub state: State,
    /// How often it was tried.
    pub attempts: i64,
    /// Why it failed last; empty if it only waits behind another.
    pub failure: String,
    /// When it was set aside.
    pub create_time: Time,
    /// When it was tried last.
    pub update_time: Time,
}

/// Whether a dead letter will be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It will.
    Waiting,
    /// Not before somebody redrives it.
    Parked,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Waiting => "WAITING",
            Self::Parked => "PARKED",
        }
    }

    fn of(name: &str) -> Self {
        if name == "PARKED" { Self::Parked } else { Self::Waiting }
    }
}

impl FromRow for DeadLetter {
    fn from_row(row: &Row<'_>) -> Result<Self, Error> {
        Ok(Self {
            id: row.get("dead_letter_id")?,
            consumer: row.get("consumer")?,
            source: row.get("source")?,
            subject: row.get("subject")?,
            event_id: row.get("event_id")?,
            kind: row.get("kind")?,
            state: State::of(&row.get::<String>("state")?),
            attempts: row.get("attempts")?,
            failure: row.get("failure")?,
            create_time: row.get("create_time")?,
            update_time: row.get("update_time")?,
        })
    }
}

/// The first of a subject's dead letters.
pub(super) struct Head {
    pub(super) id: i64,
    pub(super) envelope: Vec<u8>,
    pub(super) state: State,
    pub(super) attempts: i64,
}

impl FromRow for Head {
    fn from_row(row: &Row<'_>) -> Result<Self, Error> {
        Ok(Self {
            id: row.get("dead_letter_id")?,
            envelope: row.get("envelope")?,
            state: State::of(&row.get::<String>("state")?),
            attempts: row.get("attempts")?,
        })
    }
}

impl Head {
    pub(super) fn delivery(&self) -> Option<Delivery> {
        CloudEvent::decode(self.envelope.as_slice()).ok().map(|envelope| Delivery::new(0, envelope))
    }
}

/// Sets a delivery aside: it failed, or waits behind one that did.
pub(super) async fn add(
    tx: &mut Tx,
    consumer: &str,
    source: &str,
    delivery: &Delivery,
    failure: Option<&str>,
) -> Result<(), Error> {
    let now = tx.clock().now();
    let attempts = i64::from(failure.is_some());
    tx.execute(
        ADD_DEAD_LETTER,
        args![
            consumer,
            source,
            &delivery.subject,
            &delivery.id,
            &delivery.kind,
            delivery.envelope.encode_to_vec(),
            attempts,
            shortened(failure.unwrap_or_default()),
            now
        ],
    )
    .await?;
    Ok(())
}

/// Takes a dead letter out, because its effect is had in this transaction.
pub(super) async fn remove(tx: &mut Tx, id: i64) -> Result<(), Stop> {
    match tx.execute(REMOVE_DEAD_LETTER, args![id]).await? {
        0 => Err(Stop::Lost),
        _ => Ok(()),
    }
}

pub(super) fn shortened(failure: &str) -> String {
    failure.chars().take(FAILURE_MAX).collect()
}

// === impl Database ===

impl Database {
    /// The deliveries that were set aside, oldest first, after an id (0 for the first).
    pub async fn dead_letters(&self, after: i64, limit: i64) -> Result<Vec<DeadLetter>, Error> {
        self.fetch_all(LIST_DEAD_LETTERS, args![after, limit.clamp(1, LIST_MAX)]).await
    }

    /// Tries a parked dead letter again; says whether there was one.
    pub async fn redrive(&self, id: i64) -> Result<bool, Error> {
        let found = self
            .write(move |tx| {
                Box::pin(async move {
                    let now = tx.clock().now();
                    tx.execute(REDRIVE, args![id, now]).await
                })
            })
            .await?;
        self.wake_consumers();
        Ok(found == 1)
    }

    /// Gives a dead letter up for good, so that those behind it flow; says
    /// whether there was one. Its effect will never be had.
    pub async fn discard(&self, id: i64) -> Result<bool, Error> {
        let found: u64 = self
            .write(move |tx| {
                Box::pin(async move { tx.execute(REMOVE_DEAD_LETTER, args![id]).await })
            })
            .await?;
        self.wake_consumers();
        Ok(found == 1)
    }
}
