//! How many calls may be made again: a share of those made at all.

use std::sync::atomic::{AtomicU64, Ordering};

/// One retry, in thousandths, so that a call can earn a part of one.
const RETRY: u64 = 1_000;

/// A bucket that every call fills a little and every retry empties by one. When
/// a peer fails for good, it sees only this share more than it is offered.
#[derive(Debug)]
pub(super) struct Budget {
    earned_per_call: u64,
    most: u64,
    held: AtomicU64,
}

// === impl Budget ===

impl Budget {
    /// `percent` retries for a hundred calls, and at most `reserve` at once.
    pub(super) fn new(percent: u32, reserve: u32) -> Self {
        let most = u64::from(reserve) * RETRY;
        Self { earned_per_call: u64::from(percent) * RETRY / 100, most, held: AtomicU64::new(most) }
    }

    /// Counts a call.
    pub(super) fn earn(&self) {
        let _full = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            (held < self.most).then(|| (held + self.earned_per_call).min(self.most))
        });
    }

    /// Takes a retry, if there is one.
    pub(super) fn spend(&self) -> bool {
        self.held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| held.checked_sub(RETRY))
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_stay_a_share_of_the_calls() {
        let budget = Budget::new(10, 10);
        let mut retries = 0;
        for _ in 0..1_000 {
            budget.earn();
            while budget.spend() {
                retries += 1;
            }
        }
        assert!((100..=110).contains(&retries), "{retries}");
    }
}
