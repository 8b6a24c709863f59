//! Sagas: several steps in several services that happen all, or not at all.
//!
//! A [`Saga`] is a list of steps. Each step has an `act` and an `undo`; one may be
//! the *pivot*: as long as it is not done everything can be taken back, once it is
//! done there is only forward. The engine ([`Sagas`]) keeps every instance in the
//! owner's own database and survives whatever happens to its process:
//!
//! - An instance is worked on under a **lease** with a fencing epoch: a process
//!   that slept through the end of its lease cannot write any more.
//! - An outcome is **saved before the next step begins**, one update and one row of
//!   log, together with whatever the step wants to write into the owner's tables
//!   (an [`Effect`]): state and effect commit together.
//! - A step may be run again at any time: after a crash, a timeout, a lost answer.
//!   Its calls therefore carry a key that is derived from instance, step and
//!   direction ([`At::key`]): the callee answers a repetition as it did before.
//! - A step that waits **parks**: until a time, or until an event wakes it. A
//!   wake-up that comes while the step is still running is not lost.
//! - What was not answered is **unknown**, never failed: the step is run again, and
//!   an undo runs until it has an answer.
//!
//! A purchase that meets no trouble costs one insert at its beginning, and one
//! update and one insert per step that calls somebody. A *local* step calls nobody
//! and is saved together with the one before it.

mod admin;
mod definition;
mod engine;
mod judge;
mod run;
mod store;

use std::{fmt, future::Future, time::Duration};

use aws_lc_rs::digest;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Fault, clock::Time, store::Tx};

pub use admin::Decision;
pub use engine::{Begun, Builder, New, Sagas, Waiter};
pub(crate) use store::STATEMENTS;
pub use store::{Attempt, Instance, Status};

/// Several steps that happen all, or not at all.
pub trait Saga: Send + Sync + 'static {
    /// What it is called, in the database and in logs: "place_order".
    const NAME: &'static str;
    /// Raise it when the steps change. Instances keep the version they began with:
    /// register the old one beside the new one until the last has ended.
    const VERSION: i64;
    /// The steps, an enum.
    type Step: Step;
    /// The step after which there is only forward. Without one there is only
    /// forward from the beginning.
    const PIVOT: Option<Self::Step>;
    /// What the instance knows. Kept as JSON; may grow fields with defaults.
    type State: Serialize + DeserializeOwned + Clone + Send + Sync + 'static;

    /// Does a step. What it writes into `state` is saved with the outcome.
    fn act(
        &self,
        step: Self::Step,
        at: &At,
        state: &mut Self::State,
    ) -> impl Future<Output = Outcome> + Send;

    /// Takes a step back, whether it was done, half done or never begun.
    fn undo(
        &self,
        step: Self::Step,
        at: &At,
        state: &mut Self::State,
    ) -> impl Future<Output = Undone> + Send;

    /// Told before the steps are taken back for a reason that no step gave.
    fn interrupted(&self, _why: &Interrupt, _state: &mut Self::State) {}

    /// What to write when a person declares a step (or its undo) done.
    fn skipped(
        &self,
        _step: Self::Step,
        _undo: bool,
        _at: &At,
        _state: &mut Self::State,
    ) -> Option<Effect> {
        None
    }
}

/// The steps of a saga.
pub trait Step: Copy + Eq + fmt::Debug + Send + Sync + 'static {
    /// In the order in which they are done.
    const ALL: &'static [Self];

    /// What it is called, in the database and in logs: "reserve_stock".
    fn name(self) -> &'static str;

    /// How long one attempt may take.
    fn timeout(self) -> Duration {
        Duration::from_secs(5)
    }

    /// Whether it calls nobody and only writes into the owner's own tables: then
    /// it is saved in one transaction with the step before it.
    fn is_local(self) -> bool {
        false
    }
}

/// What a step writes into the owner's tables, in the transaction that saves it.
pub type Effect = Box<dyn for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<(), Fault>> + Send>;

/// How an attempt of a step ended.
pub enum Outcome {
    /// It is done.
    Done(Option<Effect>),
    /// Something is away or undecided for a moment: again, after the given time or
    /// after one that doubles with every attempt.
    Retry {
        /// How long to wait; by default as the engine's back-off says.
        after: Option<Duration>,
        /// What was in the way, for the log.
        because: String,
    },
    /// It will not be done: take everything back. After the pivot: stop, and let a
    /// person decide.
    Refuse(Fault),
    /// It waits for somebody: until woken, or until the given time.
    Park {
        /// What it waits for, for the log.
        reason: String,
        /// When to look again without being woken.
        until: Option<Time>,
        /// What to write.
        effect: Option<Effect>,
    },
}

/// How an attempt to take a step back ended.
pub enum Undone {
    /// Nothing of it is left.
    Done(Option<Effect>),
    /// Not yet: again, after the given time or after one that doubles.
    Retry {
        /// How long to wait; by default as the engine's back-off says.
        after: Option<Duration>,
        /// What was in the way, for the log.
        because: String,
    },
    /// It cannot be taken back: a person must decide.
    Stuck(String),
}

/// Why everything is taken back although no step refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interrupt {
    /// The deadline of the instance passed.
    Deadline,
    /// Somebody asked for it, for this reason.
    Asked(String),
}

/// Where an instance is while one of its steps runs.
#[derive(Debug, Clone)]
pub struct At {
    /// The instance.
    pub saga_id: String,
    /// Which attempt of this step it is since it last parked, from 1.
    pub attempt: i64,
    /// The time at which the attempt began.
    pub now: Time,
    /// When the instance gives up waiting.
    pub deadline: Option<Time>,
    step: &'static str,
    undo: bool,
}

/// What the engine takes from configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long a process may work on an instance without saving anything before
    /// another takes it over. Longer than any step's timeout.
    #[serde(with = "crate::duration")]
    pub lease: Duration,
    /// How often to look for instances whose time has come.
    #[serde(with = "crate::duration")]
    pub sweep: Duration,
    /// How long to wait after the first failed attempt; doubles with every one.
    #[serde(with = "crate::duration")]
    pub backoff: Duration,
    /// The longest wait between two attempts.
    #[serde(with = "crate::duration")]
    pub backoff_max: Duration,
    /// How many instances are taken up by one look.
    pub batch: i64,
    /// How long an instance that has ended is kept for whoever asks about it.
    #[serde(with = "crate::duration")]
    pub keep: Duration,
    /// Points at which to fail, for tests: `<saga>.<step>.<act|undo>.<before|after|saved>=<action>`,
    /// separated by `;`. See [`mod@crate::failpoint`].
    pub failpoints: String,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(20),
            sweep: Duration::from_millis(250),
            backoff: Duration::from_millis(50),
            backoff_max: Duration::from_secs(60),
            batch: 64,
            keep: Duration::from_secs(90 * 24 * 60 * 60),
            failpoints: String::new(),
        }
    }
}

// === impl Outcome ===

impl Outcome {
    /// Done, with nothing to write.
    pub fn done() -> Self {
        Self::Done(None)
    }

    /// Done, with something to write.
    pub fn done_with(
        effect: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<(), Fault>> + Send + 'static,
    ) -> Self {
        Self::Done(Some(Box::new(effect)))
    }

    /// Again, after the engine's back-off.
    pub fn retry(because: impl fmt::Display) -> Self {
        Self::Retry { after: None, because: because.to_string() }
    }

    /// Waits until woken, or until the given time.
    pub fn park(reason: impl Into<String>, until: Option<Time>) -> Self {
        Self::Park { reason: reason.into(), until, effect: None }
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(_) => f.write_str("Done"),
            Self::Retry { because, .. } => write!(f, "Retry({because})"),
            Self::Refuse(fault) => write!(f, "Refuse({fault})"),
            Self::Park { reason, .. } => write!(f, "Park({reason})"),
        }
    }
}

// === impl Undone ===

impl Undone {
    /// Done, with nothing to write.
    pub fn done() -> Self {
        Self::Done(None)
    }

    /// Done, with something to write.
    pub fn done_with(
        effect: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<(), Fault>> + Send + 'static,
    ) -> Self {
        Self::Done(Some(Box::new(effect)))
    }

    /// Again, after the engine's back-off.
    pub fn retry(because: impl fmt::Display) -> Self {
        Self::Retry { after: None, because: because.to_string() }
    }
}

impl fmt::Debug for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(_) => f.write_str("Done"),
            Self::Retry { because, .. } => write!(f, "Retry({because})"),
            Self::Stuck(reason) => write!(f, "Stuck({reason})"),
        }
    }
}

// === impl At ===

impl At {
    /// The `request_id` of one of this step's calls. The same for every attempt,
    /// in every process; different for every instance, step, direction and call.
    pub fn key(&self, call: &str) -> String {
        let direction = if self.undo { "undo" } else { "act" };
        derived_id(&[&self.saga_id, self.step, direction, call])
    }
}

/// A UUID (version 8 of RFC 9562) that follows from its parts: the same parts, the
/// same id, on every machine.
pub fn derived_id(parts: &[&str]) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    for part in parts {
        hash.update(part.as_bytes());
        // Cannot be in a part of ours, so that ("ab", "c") is not ("a", "bc").
        hash.update(&[0]);
    }
    let mut bytes = [0_u8; 16];
    for (to, from) in bytes.iter_mut().zip(hash.finish().as_ref()) {
        *to = *from;
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
mod tests;
