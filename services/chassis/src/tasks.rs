//! Work that outlives a call: named, stopped at drain and waited for.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

/// The tasks of a process or of one of its services.
#[derive(Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    /// Cancelled when the drain begins: finish what you do, begin nothing.
    soft: CancellationToken,
    /// Cancelled when patience is over: every task is dropped where it waits.
    hard: CancellationToken,
    owner: Arc<str>,
}

// === impl Tasks ===

impl Tasks {
    /// No tasks yet; `owner` names the service in logs.
    pub fn new(owner: &str) -> Self {
        Self {
            tracker: TaskTracker::new(),
            soft: CancellationToken::new(),
            hard: CancellationToken::new(),
            owner: Arc::from(owner),
        }
    }

    /// Runs a future to its end, or until the drain loses patience. It should
    /// watch [`Tasks::cancelled`] if it would not end by itself.
    pub fn spawn<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let hard = self.hard.clone();
        let span = tracing::info_span!("task", name, service = &*self.owner);
        self.tracker.spawn(
            async move {
                tokio::select! {
                    biased;
                    () = future => {}
                    () = hard.cancelled() => tracing::warn!("a task did not end in time and was dropped"),
                }
            }
            .instrument(span),
        );
    }

    /// Does something again and again, `period` after it last began, until the
    /// drain. A failure is logged and does not end it.
    pub fn every<W, F, E>(&self, name: &'static str, period: Duration, mut work: W)
    where
        W: FnMut() -> F + Send + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + Send,
    {
        let soft = self.soft.clone();
        self.spawn(name, async move {
            let period = period.max(Duration::from_millis(1));
            let mut ticks = tokio::time::interval_at(Instant::now() + period, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    biased;
                    () = soft.cancelled() => return,
                    _ = ticks.tick() => {}
                }
                if let Err(error) = work().await {
                    tracing::warn!(%error, "a periodic task failed and will be tried again");
                }
            }
        });
    }

    /// Resolves when the drain begins.
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + 'static {
        self.soft.clone().cancelled_owned()
    }

    /// Whether the drain has begun.
    pub fn is_draining(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// The token that is cancelled when the drain begins.
    pub fn token(&self) -> CancellationToken {
        self.soft.clone()
    }

    /// Tells every task to end, and does not wait.
    pub fn cancel(&self) {
        self.soft.cancel();
    }

    /// Tells every task to end and waits for them; those that have not ended
    /// after `timeout` are dropped. Says whether all ended by themselves.
    pub async fn drain(&self, timeout: Duration) -> bool {
        self.soft.cancel();
        self.tracker.close();
        if tokio::time::timeout(timeout, self.tracker.wait()).await.is_ok() {
            return true;
        }
        self.hard.cancel();
        self.tracker.wait().await;
        false
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks")
            .field("owner", &self.owner)
            .field("running", &self.tracker.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_periodic_task_outlives_its_failures_and_ends_at_the_drain() {
        let tasks = Tasks::new("test");
        let runs = Arc::new((AtomicUsize::new(0), Notify::new()));
        let counted = Arc::clone(&runs);
        tasks.every("count", Duration::from_millis(1), move || {
            let runs = Arc::clone(&counted);
            async move {
                runs.0.fetch_add(1, Ordering::Relaxed);
                runs.1.notify_one();
                Err("always")
            }
        });
        while runs.0.load(Ordering::Relaxed) < 3 {
            runs.1.notified().await;
        }
        assert!(tasks.drain(Duration::from_secs(5)).await);
    }

    #[tokio::test]
    async fn a_task_that_will_not_end_is_dropped_after_the_timeout() {
        let tasks = Tasks::new("test");
        tasks.spawn("stuck", std::future::pending());
        assert!(!tasks.drain(Duration::from_millis(20)).await);
    }
}
