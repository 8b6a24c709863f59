//! Waiting for a condition, never for a time.

use std::{future::Future, time::Duration};

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked at.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks until there is something, and gives it back.
///
/// # Panics
/// If there is nothing after 20 seconds.
#[track_caller]
pub fn eventually<T, F, L>(mut look: L) -> impl Future<Output = T>
where
    L: FnMut() -> F,
    F: Future<Output = Option<T>>,
{
    let caller = std::panic::Location::caller();
    async move {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "what {caller} waits for did not happen"
            );
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Of many results, the one that succeeded and those that failed.
///
/// # Panics
/// If none or several succeeded.
#[track_caller]
pub fn exactly_one_ok<T, E>(results: impl IntoIterator<Item = Result<T, E>>) -> (T, Vec<E>) {
    let (mut succeeded, mut failed) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => succeeded.push(value),
            Err(error) => failed.push(error),
        }
    }
    assert_eq!(succeeded.len(), 1, "exactly one should have succeeded; {} failed", failed.len());
    (succeeded.remove(0), failed)
}
