//! Fails fast while an endpoint fails, and finds out with one call whether it
//! still does.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;

use crate::random;

/// How far the time a breaker stays open is spread.
const SPREAD_PERCENT: u32 = 25;
/// Outcomes remembered: the bits of a word.
const WINDOW: u32 = u64::BITS;
/// Failures among those that open it, however they are spread.
const FAILURES_IN_WINDOW: u32 = WINDOW / 2;
const CLOSED: u64 = 0;

/// The breaker of one endpoint: two words that calls touch without a lock.
#[derive(Debug)]
pub(super) struct Breaker {
    since: Instant,
    /// Failures in a row that open it.
    consecutive: u32,
    open_for: Duration,
    open_for_max: Duration,
    /// The latest outcomes, newest in the lowest bit; 1 is a failure.
    history: AtomicU64,
    /// When the next probe may go, in nanoseconds since `since`; `CLOSED` if
    /// every call may. Whoever moves it forward is the probe.
    until: AtomicU64,
    /// How often it opened without closing.
    trips: AtomicU32,
    gauge: Gauge,
}

/// What a call may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Go.
    Pass,
    /// Go, and find out for all others.
    Probe,
    /// Do not; ask again after this long.
    Refused(Duration),
}

// === impl Breaker ===

impl Breaker {
    pub(super) fn new(
        consecutive: u32,
        open_for: Duration,
        open_for_max: Duration,
        gauge: Gauge,
    ) -> Self {
        Self {
            since: Instant::now(),
            consecutive: consecutive.clamp(1, WINDOW - 1),
            open_for,
            open_for_max,
            history: AtomicU64::new(0),
            until: AtomicU64::new(CLOSED),
            trips: AtomicU32::new(0),
            gauge,
        }
    }

    /// Whether a call may go. `Probe` is given once each time the breaker has
    /// been open long enough; if its call never reports, another gets it later.
    pub(super) fn admit(&self) -> Admission {
        let until = self.until.load(Ordering::Acquire);
        if until == CLOSED {
            return Admission::Pass;
        }
        let now = self.now();
        if now < until {
            return Admission::Refused(Duration::from_nanos(until - now));
        }
        let next = now.saturating_add(nanos(self.open_for));
        match self.until.compare_exchange(until, next, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Admission::Probe,
            Err(_) => Admission::Refused(self.open_for),
        }
    }

    /// Whether calls would be refused now.
    pub(super) fn is_open(&self) -> bool {
        let until = self.until.load(Ordering::Acquire);
        until != CLOSED && self.now() < until
    }

    /// The endpoint answered.
    pub(super) fn succeeded(&self, admission: Admission) {
        match admission {
            Admission::Pass => {
                // A clean history stays clean: the usual call writes nothing.
                if self.history.load(Ordering::Relaxed) != 0 {
                    self.remember(0);
                }
            }
            Admission::Probe => {
                self.history.store(0, Ordering::Relaxed);
                self.trips.store(0, Ordering::Relaxed);
                self.until.store(CLOSED, Ordering::Release);
                self.gauge.set(0);
            }
            Admission::Refused(_) => {}
        }
    }

    /// The endpoint could not be reached, or said it cannot serve.
    pub(super) fn failed(&self, admission: Admission) {
        match admission {
            Admission::Pass => {
                let history = self.remember(1);
                let in_a_row = history.trailing_ones() >= self.consecutive;
                if (in_a_row || history.count_ones() >= FAILURES_IN_WINDOW)
                    && self.until.load(Ordering::Acquire) == CLOSED
                {
                    self.open();
                }
            }
            Admission::Probe => self.open(),
            Admission::Refused(_) => {}
        }
    }

    fn open(&self) {
        let trips = self.trips.fetch_add(1, Ordering::Relaxed).min(16);
        let open_for = self.open_for.saturating_mul(1 << trips).min(self.open_for_max);
        let until = self.now().saturating_add(nanos(random::jitter(open_for, SPREAD_PERCENT)));
        self.until.store(until.max(CLOSED + 1), Ordering::Release);
        self.gauge.set(1);
    }

    fn remember(&self, outcome: u64) -> u64 {
        let mut now = 0;
        let _always = self.history.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |history| {
            now = history << 1 | outcome;
            Some(now)
        });
        now
    }

    fn now(&self) -> u64 {
        nanos(self.since.elapsed())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(open_for: Duration) -> Breaker {
        Breaker::new(3, open_for, open_for * 8, Gauge::default())
    }

    fn fail(breaker: &Breaker, times: usize) {
        for _ in 0..times {
            breaker.failed(Admission::Pass);
        }
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_does_not() {
        let breaker = breaker(Duration::from_secs(60));
        fail(&breaker, 2);
        breaker.succeeded(Admission::Pass);
        fail(&breaker, 2);
        assert_eq!(breaker.admit(), Admission::Pass);
        fail(&breaker, 1);
        assert!(matches!(breaker.admit(), Admission::Refused(_)));
        assert_eq!(breaker.gauge.get(), 1);
    }

    #[test]
    fn half_of_the_calls_failing_opens_it_too() {
        let breaker = breaker(Duration::from_secs(60));
        for _ in 0..WINDOW {
            breaker.failed(Admission::Pass);
            breaker.succeeded(Admission::Pass);
        }
        assert!(breaker.is_open());
    }

    #[test]
    fn one_probe_goes_when_the_time_is_over_and_closes_it() {
        let breaker = breaker(Duration::from_millis(1));
        fail(&breaker, 3);
        let probe = loop {
            match breaker.admit() {
                Admission::Refused(_) => std::thread::yield_now(),
                other => break other,
            }
        };
        assert_eq!(probe, Admission::Probe);

        // A straggler from before it opened says nothing about now.
        breaker.succeeded(Admission::Pass);
        assert!(breaker.until.load(Ordering::Acquire) != CLOSED);

        breaker.succeeded(probe);
        assert_eq!(breaker.admit(), Admission::Pass);
        assert_eq!(breaker.gauge.get(), 0);
    }

    #[test]
    fn a_failed_probe_keeps_it_open_for_longer() {
        let breaker = breaker(Duration::from_secs(1));
        fail(&breaker, 3);
        breaker.failed(Admission::Probe);
        match breaker.admit() {
            Admission::Refused(left) => assert!(left > Duration::from_millis(1_400), "{left:?}"),
            other => panic!("{other:?}"),
        }
    }
}
