//! Cheap randomness for jitter, balancing and trace ids. Nothing secret: tokens
//! and keys come from elsewhere.

use std::{
    cell::Cell,
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

thread_local! {
    /// Splitmix64, seeded per thread by the standard library's own random keys.
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0x4d65_7263_6174_u64));
}

/// 64 random bits.
pub(crate) fn bits() -> u64 {
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// A number below `bound`; 0 if `bound` is 0.
pub(crate) fn below(bound: usize) -> usize {
    match u64::try_from(bound) {
        Ok(bound) if bound > 1 => usize::try_from(bits() % bound).unwrap_or(0),
        _ => 0,
    }
}

/// A duration within `percent` of the given one, so that what started together
/// does not end together.
pub(crate) fn jitter(around: Duration, percent: u32) -> Duration {
    let spread = around.saturating_mul(percent) / 100;
    let width = u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX).saturating_mul(2);
    if width == 0 {
        return around;
    }
    around.saturating_sub(spread) + Duration::from_nanos(bits() % width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_its_percentage() {
        let around = Duration::from_secs(300);
        for _ in 0..1_000 {
            let drawn = jitter(around, 10);
            assert!(
                (Duration::from_secs(270)..=Duration::from_secs(330)).contains(&drawn),
                "{drawn:?}"
            );
        }
    }
}
