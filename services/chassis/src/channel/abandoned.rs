//! Calls whose callers left before there was an answer.
//!
//! A server bounds how many streams its peer may reset before it has looked at
//! them (rapid reset, CVE-2023-44487): tonic's ends the whole connection, with every
//! other call on it, at 20. A client that drops its connections with requests in
//! flight must not do that to its neighbours. So the stream of a short call is not
//! reset at once: most answer within the patience and need no reset; the others are
//! reset when the server has certainly looked at them, for it looks at streams in
//! their order and has answered a later one; and of the rest only a few.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use h2::client::ResponseFuture;
use hyper::rt::Executor as _;
use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, timeout};

use super::Config;

/// How often it is seen whether a stream may be reset by now.
const STEP: Duration = Duration::from_millis(10);

/// The abandoned calls of one connection.
#[derive(Debug)]
pub(super) struct Abandoned {
    /// The latest stream that has an answer: the server has looked at all before it.
    answered: AtomicU32,
    /// Streams that wait for their answer although nobody else does.
    kept: AtomicUsize,
    /// Streams that were reset although the server may not have looked at them.
    blind: Mutex<Vec<u32>>,
    patience: Duration,
    kept_max: usize,
    blind_max: usize,
}

/// A place among those that are kept, given back when dropped.
struct Place(Arc<Abandoned>);

// === impl Abandoned ===

impl Abandoned {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            answered: AtomicU32::new(0),
            kept: AtomicUsize::new(0),
            blind: Mutex::default(),
            patience: config.abandoned_patience,
            kept_max: config.abandoned_max,
            blind_max: config.blind_resets_max,
        }
    }

    /// The server has answered a stream.
    pub(super) fn answered(&self, id: u32) {
        // Racing writers may lose one: a later answer says it again.
        if self.answered.load(Ordering::Relaxed) < id {
            self.answered.store(id, Ordering::Relaxed);
        }
    }

    /// Keeps a stream until it has its answer or may be reset. To drop the future
    /// is to reset it.
    pub(super) fn keep(abandoned: &Arc<Self>, answer: ResponseFuture, id: u32, begun: Instant) {
        if abandoned.may_reset(id, begun) {
            return;
        }
        let place = Place(Arc::clone(abandoned));
        if abandoned.kept.fetch_add(1, Ordering::Relaxed) >= abandoned.kept_max {
            return;
        }
        // There is no runtime any more when a process ends.
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        TokioExecutor::new().execute(async move {
            let mut answer = answer;
            while timeout(STEP, &mut answer).await.is_err() {
                if place.0.may_reset(id, begun) {
                    return;
                }
            }
            place.0.answered(id);
        });
    }

    fn may_reset(&self, id: u32, begun: Instant) -> bool {
        let answered = self.answered.load(Ordering::Relaxed);
        if id < answered {
            return true;
        }
        if begun.elapsed() < self.patience {
            return false;
        }
        let mut blind = self.blind.lock().unwrap_or_else(PoisonError::into_inner);
        blind.retain(|id| *id > answered);
        let has_room = blind.len() < self.blind_max;
        if has_room {
            blind.push(id);
        }
        has_room
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        self.0.kept.fetch_sub(1, Ordering::Relaxed);
    }
}
