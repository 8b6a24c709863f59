//! How loaded an endpoint is: peak-EWMA latency times calls in flight, in whole
//! numbers on atomics.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// How fast old latencies are forgotten.
const DECAY_NANOS: u64 = 10_000_000_000;
/// What an endpoint costs before it was measured: new ones are tried soon, but
/// not by everyone at once.
const UNKNOWN_NANOS: u64 = 1_000_000;

#[derive(Debug)]
pub(super) struct Load {
    since: Instant,
    /// The moving average, which jumps up to every peak and decays from it.
    nanos: AtomicU64,
    /// When it was last written, in nanoseconds since `since`.
    written: AtomicU64,
    in_flight: AtomicU64,
}

// === impl Load ===

impl Load {
    pub(super) fn new() -> Self {
        Self {
            since: Instant::now(),
            nanos: AtomicU64::new(UNKNOWN_NANOS),
            written: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
        }
    }

    /// What one more call would cost.
    pub(super) fn cost(&self) -> u64 {
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        self.decayed(self.now()).saturating_mul(in_flight.saturating_add(1))
    }

    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// A call has ended, answered or given up, after this long.
    pub(super) fn end(&self, took: Duration) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.observe(took);
    }

    /// Counts a latency. Racing writers may lose one: it is an estimate.
    pub(super) fn observe(&self, took: Duration) {
        let now = self.now();
        let old = self.decayed(now);
        let new = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let next = if new >= old {
            new
        } else {
            // The weight of a sample is the time since the last one.
            let passed =
                now.saturating_sub(self.written.load(Ordering::Relaxed)).max(DECAY_NANOS / 100);
            old - scale(old - new, passed, passed.saturating_add(DECAY_NANOS))
        };
        self.nanos.store(next.max(1), Ordering::Relaxed);
        self.written.store(now, Ordering::Relaxed);
    }

    fn decayed(&self, now: u64) -> u64 {
        let idle = now.saturating_sub(self.written.load(Ordering::Relaxed));
        scale(self.nanos.load(Ordering::Relaxed), DECAY_NANOS, DECAY_NANOS.saturating_add(idle))
            .max(1)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// `value * part / whole` without overflow.
fn scale(value: u64, part: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(value) * u128::from(part) / u128::from(whole.max(1)))
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_shows_at_once_and_fades() {
        let load = Load::new();
        load.observe(Duration::from_secs(1));
        assert!(load.cost() > 990_000_000);
        for _ in 0..500 {
            load.observe(Duration::from_micros(200));
        }
        assert!(load.cost() < 20_000_000, "{}", load.cost());
    }

    #[test]
    fn calls_in_flight_count() {
        let load = Load::new();
        let one = load.cost();
        load.begin();
        load.begin();
        assert!(load.cost() > 2 * one);
    }
}
