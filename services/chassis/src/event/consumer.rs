//! What a service does when something happened elsewhere.

use std::{future::Future, time::Duration};

use contracts::mesh::v1::feed_service_client::FeedServiceClient;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{Delivery, Feed, follower};
use crate::{
    Fault,
    channel::Peers,
    random,
    store::{Database, Tx},
    tasks::Tasks,
};

/// By how many percent a pause varies.
const JITTER: u32 = 25;

/// What a service does when something happened elsewhere.
pub trait Consumer: Send + Sync + 'static {
    /// Names this consumer in its service's database. Must not change: it is
    /// what the position is kept under.
    const NAME: &'static str;

    /// What the event means. May read and call peers, and may be asked again for
    /// the same event; whatever it changes in the database belongs into the
    /// effect.
    fn on(&self, delivery: &Delivery) -> impl Future<Output = Result<Effect, Fault>> + Send;
}

pub(super) type Apply =
    Box<dyn for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<(), Fault>> + Send>;

/// What an event changes, in the transaction that also notes that it was had.
pub struct Effect(pub(super) Option<Apply>);

/// How patiently a feed is followed.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many events are pulled at a time.
    pub limit: i32,
    /// How long a pull waits for an event.
    pub wait: Duration,
    /// How many events of different subjects are handled beside each other.
    pub width: usize,
    /// After how many refusals a delivery is parked.
    pub attempts: i64,
    /// The first pause before a failed delivery is tried again; it doubles.
    pub pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limit: 100,
            wait: Duration::from_secs(20),
            width: 16,
            attempts: 10,
            pause: Duration::from_millis(100),
            pause_max: Duration::from_secs(30),
        }
    }
}

// === impl Effect ===

impl Effect {
    /// Nothing changes.
    pub fn none() -> Self {
        Self(None)
    }

    /// What this closure does. It owns what it needs and awaits SQL only.
    pub fn new<F>(apply: F) -> Self
    where
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<(), Fault>> + Send + 'static,
    {
        Self(Some(Box::new(apply)))
    }
}

impl std::fmt::Debug for Effect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Effect").field("changes", &self.0.is_some()).finish()
    }
}

/// Follows a peer's events, from where this consumer left off, until the drain.
pub fn consume<C: Consumer>(
    database: &Database,
    tasks: &Tasks,
    peers: &Peers,
    source: &'static str,
    consumer: C,
) {
    let feed = peers.client(source, FeedServiceClient::new);
    tasks.spawn(
        C::NAME,
        consume_from(database.clone(), source, feed, consumer, Options::default(), tasks.token()),
    );
}

/// Follows a feed until `stop` is cancelled.
pub async fn consume_from<C: Consumer>(
    database: Database,
    source: impl Into<String>,
    feed: impl Feed,
    consumer: C,
    options: Options,
    stop: CancellationToken,
) {
    follower::follow(database, source.into(), feed, consumer, options, stop).await;
}

impl Options {
    /// The pause after this many failures.
    pub(super) fn backoff(&self, failures: i64) -> Duration {
        let doublings = u32::try_from(failures.clamp(1, 20) - 1).unwrap_or_default();
        let pause = self.pause.saturating_mul(1 << doublings).min(self.pause_max);
        random::jitter(pause, JITTER)
    }
}
