//! Time, ids and tokens: the only source of each, so that a test can say what
//! time it is.

use std::{
    fmt,
    ops::{Add, Sub},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use prost_types::Timestamp;
use tokio::sync::watch;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_MILLI: i64 = 1_000;
const NANOS_PER_MICRO: i64 = 1_000;

/// Where a fake clock stands before it is advanced: 2026-01-01T00:00:00Z.
pub const FAKE_START: Time = Time(1_767_225_600 * MICROS_PER_SECOND);

/// An instant, in microseconds since 1970. What a `BIGINT` time column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(i64);

/// Tells the time and makes what depends on it. Cheap to clone; all clones of a
/// fake clock move together.
#[derive(Clone)]
pub struct Clock {
    source: Source,
    ids: Arc<Mutex<LastId>>,
}

#[derive(Clone)]
enum Source {
    System,
    Fake(Arc<Fake>),
}

struct Fake {
    now: AtomicI64,
    /// Tells sleepers that the clock was moved.
    moved: watch::Sender<()>,
}

/// The time part of the last id, by which ids of one process are in order.
#[derive(Default)]
struct LastId {
    millis: u64,
    counter: u16,
}

// === impl Time ===

impl Time {
    /// The instant this many microseconds after 1970 began.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970 began.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970 began, as a JWT counts them.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(MICROS_PER_SECOND)
    }

    /// As the contracts spell it.
    pub fn timestamp(self) -> Timestamp {
        let nanos = self.0.rem_euclid(MICROS_PER_SECOND) * NANOS_PER_MICRO;
        // Below 10^9, so that it always fits.
        Timestamp { seconds: self.seconds(), nanos: i32::try_from(nanos).unwrap_or_default() }
    }

    /// How long after `earlier` this is; nothing if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or_default())
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Saturates at the end of time.
    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(later.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Time {
    type Output = Self;

    /// Saturates at the beginning of time.
    fn sub(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(earlier.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl From<Time> for Timestamp {
    fn from(time: Time) -> Self {
        time.timestamp()
    }
}

impl From<Timestamp> for Time {
    /// Drops what is finer than a microsecond; saturates.
    fn from(stamp: Timestamp) -> Self {
        let micros = i64::from(stamp.nanos) / NANOS_PER_MICRO;
        Self(stamp.seconds.saturating_mul(MICROS_PER_SECOND).saturating_add(micros))
    }
}

// === impl Clock ===

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self { source: Source::System, ids: Arc::default() }
    }

    /// A clock that stands at [`FAKE_START`] until it is advanced.
    pub fn fake() -> Self {
        let (moved, _) = watch::channel(());
        Self {
            source: Source::Fake(Arc::new(Fake { now: AtomicI64::new(FAKE_START.0), moved })),
            ids: Arc::default(),
        }
    }

    /// The present instant.
    pub fn now(&self) -> Time {
        match &self.source {
            Source::System => system_now(),
            Source::Fake(fake) => Time(fake.now.load(Ordering::Acquire)),
        }
    }

    /// Moves a fake clock on and wakes its sleepers. The machine's clock is not
    /// ours to move: nothing happens.
    pub fn advance(&self, by: Duration) {
        if let Source::Fake(fake) = &self.source {
            fake.now.fetch_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX), Ordering::AcqRel);
            fake.moved.send_replace(());
        }
    }

    /// Whether this is a fake clock.
    pub fn is_fake(&self) -> bool {
        matches!(self.source, Source::Fake(_))
    }

    /// Returns when the clock has moved on by this much: a fake clock's sleepers
    /// wait for [`Clock::advance`].
    pub async fn sleep(&self, duration: Duration) {
        match &self.source {
            Source::System => tokio::time::sleep(duration).await,
            Source::Fake(fake) => {
                let due = self.now() + duration;
                let mut moved = fake.moved.subscribe();
                while self.now() < due {
                    // The sender lives in `self`, so that this cannot fail.
                    if moved.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// A new UUIDv7 as text (RFC 9562). Ids of one process come in the order of
    /// their making, however many fall into one millisecond.
    pub fn id(&self) -> String {
        let now = u64::try_from(self.now().0 / MICROS_PER_MILLI).unwrap_or_default();
        let mut random = [0_u8; 10];
        fill(&mut random);
        let (millis, counter) = {
            let mut last = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
            last.next(now, u16::from_be_bytes([random[0], random[1]]));
            (last.millis, last.counter)
        };
        let [high, low] = counter.to_be_bytes();
        random[0] = high;
        random[1] = low;
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().to_string()
    }

    /// 32 random bytes as base64url: a secret that cannot be guessed.
    pub fn token(&self) -> String {
        let mut random = [0_u8; 32];
        fill(&mut random);
        URL_SAFE_NO_PAD.encode(random)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_fake() { "fake" } else { "system" };
        f.debug_struct("Clock").field("kind", &kind).field("now", &self.now()).finish()
    }
}

// === impl LastId ===

impl LastId {
    /// The 12 bits after the timestamp count within a millisecond, from a random
    /// start in their lower half. When they are used up, or the clock went back,
    /// the ids run ahead of the clock rather than out of order.
    fn next(&mut self, now: u64, random: u16) {
        if now > self.millis {
            self.millis = now;
            self.counter = random & 0x07ff;
        } else if self.counter < 0x0fff {
            self.counter += 1;
        } else {
            self.millis += 1;
            self.counter = random & 0x07ff;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
pub(crate) fn system_now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Random bytes fit for secrets. The generator is seeded by the operating system
/// and fails only where that has no randomness to give, which no later call
/// would survive either.
fn fill(bytes: &mut [u8]) {
    if aws_lc_rs::rand::fill(bytes).is_err() {
        tracing::error!("the operating system gives no randomness");
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_process_are_in_order_even_on_a_clock_that_stands() {
        let clock = Clock::fake();
        let ids: Vec<String> = (0..10_000).map(|_| clock.id()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(ids.iter().all(|id| uuid::Uuid::parse_str(id).unwrap().get_version_num() == 7));
    }

    #[test]
    fn a_time_survives_the_way_through_a_timestamp() {
        for micros in [0, 1, -1, 1_767_225_600_123_456, -62_135_596_800_000_000] {
            let time = Time::from_micros(micros);
            assert_eq!(Time::from(time.timestamp()), time);
        }
    }

    #[test]
    fn clones_of_a_fake_clock_move_together() {
        let clock = Clock::fake();
        clock.clone().advance(Duration::from_secs(2));
        assert_eq!(clock.now(), FAKE_START + Duration::from_secs(2));
    }

    #[tokio::test]
    async fn a_fake_clocks_sleeper_waits_for_the_advance() {
        let clock = Clock::fake();
        let mut sleep = Box::pin(clock.sleep(Duration::from_secs(60)));
        assert!(futures_util::poll!(&mut sleep).is_pending());
        clock.advance(Duration::from_secs(59));
        assert!(futures_util::poll!(&mut sleep).is_pending());
        clock.advance(Duration::from_secs(1));
        sleep.await;
    }

    #[test]
    fn tokens_differ_and_fit_a_url() {
        let clock = Clock::system();
        let token = clock.token();
        assert_eq!(token.len(), 43);
        assert_ne!(token, clock.token());
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    }
}
