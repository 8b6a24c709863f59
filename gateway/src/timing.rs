//! Where the time of a request went: `Server-Timing` (W3C), for those who may know.
//!
//! | metric | from | until |
//! |---|---|---|
//! | `upstream` | the call is handed to the service | the head of its answer is there |
//! | `edge` | the rest: all that the gateway did until its own head went out | |
//!
//! Both are in milliseconds, and no service is named. They tell strangers what a
//! request costs, so that nobody is told unless a setting says so.

use std::time::Duration;

use chassis::{Caller, Principal};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

pub(crate) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const UPSTREAM: &str = "upstream;dur=";

/// Who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerTiming {
    /// Nobody; nothing is measured.
    #[default]
    Never,
    /// Users with roles.
    Staff,
    /// Whoever calls.
    Anyone,
}

// === impl ServerTiming ===

impl ServerTiming {
    pub(crate) fn is_on(self) -> bool {
        self != Self::Never
    }

    /// Notes how long the service took, if the caller may know. What the service
    /// itself says of that stays inside.
    pub(crate) fn note(self, caller: &Caller, took: Duration, headers: &mut HeaderMap) {
        headers.remove(SERVER_TIMING);
        let may_know = match self {
            Self::Never => false,
            Self::Staff => matches!(caller.principal(), Principal::Staff { .. }),
            Self::Anyone => true,
        };
        if may_know && let Ok(value) = HeaderValue::try_from(upstream(took)) {
            headers.insert(SERVER_TIMING, value);
        }
    }
}

/// Adds what the edge took of the whole time to an answer that was noted.
pub(crate) fn complete(whole: Duration, headers: &mut HeaderMap) {
    let noted = headers.get(SERVER_TIMING).and_then(|noted| noted.to_str().ok());
    let Some(noted) = noted.and_then(|noted| noted.strip_prefix(UPSTREAM)) else { return };
    let Some(took) = micros(noted) else { return };
    let edge = millis(whole.saturating_sub(took));
    if let Ok(value) = HeaderValue::try_from(format!("edge;dur={edge}, {}", upstream(took))) {
        headers.insert(SERVER_TIMING, value);
    }
}

fn upstream(took: Duration) -> String {
    format!("{UPSTREAM}{}", millis(took))
}

/// Milliseconds, to the microsecond.
fn millis(duration: Duration) -> String {
    format!("{}.{:03}", duration.as_millis(), duration.subsec_micros() % 1_000)
}

/// What [`millis`] wrote.
fn micros(text: &str) -> Option<Duration> {
    let (millis, micros) = text.split_once('.')?;
    let whole = Duration::from_millis(millis.parse().ok()?);
    Some(whole.saturating_add(Duration::from_micros(micros.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_completed() {
        for (took, whole, expected) in [
            (12_345, 13_000, "edge;dur=0.655, upstream;dur=12.345"),
            (7, 1_000_008, "edge;dur=1000.001, upstream;dur=0.007"),
            (2_000_001, 0, "edge;dur=0.000, upstream;dur=2000.001"),
        ] {
            let mut headers = HeaderMap::new();
            let value = upstream(Duration::from_micros(took));
            headers.insert(SERVER_TIMING, HeaderValue::try_from(value).unwrap());
            complete(Duration::from_micros(whole), &mut headers);
            assert_eq!(headers[SERVER_TIMING], expected);
        }
        let mut headers = HeaderMap::new();
        complete(Duration::from_secs(1), &mut headers);
        assert!(headers.is_empty(), "nobody noted that the caller may know");
    }
}
