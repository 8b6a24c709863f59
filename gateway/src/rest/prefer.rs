//! What a client would like, without insisting (RFC 7240).
//!
//! - `respond-async`: a method that starts a `google.longrunning.Operation` is
//!   answered with 202 and where to ask for its outcome.
//! - `return=minimal`: a write is answered without its resource.
//! - `handling=lenient`: unknown fields of the request are left out instead of refused.
//!
//! What was heeded is said in `Preference-Applied`. The rest is ignored, as the
//! RFC wants it.

use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The preferences that are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Prefer {
    pub(crate) respond_async: bool,
    pub(crate) minimal: bool,
    pub(crate) lenient: bool,
}

// === impl Prefer ===

impl Prefer {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut prefer = Self::default();
        if !headers.contains_key(PREFER) {
            return prefer;
        }
        // Of one preference said twice the first counts.
        let (mut returns, mut handling) = (false, false);
        for value in headers.get_all(PREFER) {
            for preference in value.to_str().unwrap_or_default().split(',') {
                let token = preference.split(';').next().unwrap_or_default();
                let (name, value) = token.split_once('=').unwrap_or((token, ""));
                let (name, value) = (name.trim(), value.trim().trim_matches('"'));
                if name.eq_ignore_ascii_case("respond-async") {
                    prefer.respond_async = true;
                } else if name.eq_ignore_ascii_case("return") && !returns {
                    returns = true;
                    prefer.minimal = value.eq_ignore_ascii_case("minimal");
                } else if name.eq_ignore_ascii_case("handling") && !handling {
                    handling = true;
                    prefer.lenient = value.eq_ignore_ascii_case("lenient");
                }
            }
        }
        prefer
    }

    /// The header that tells what was heeded of it; `None` for nothing.
    pub(crate) fn applied(self) -> Option<HeaderValue> {
        Some(HeaderValue::from_static(match (self.respond_async, self.minimal, self.lenient) {
            (false, false, false) => return None,
            (true, false, false) => "respond-async",
            (false, true, false) => "return=minimal",
            (false, false, true) => "handling=lenient",
            (true, true, false) => "respond-async, return=minimal",
            (true, false, true) => "respond-async, handling=lenient",
            (false, true, true) => "return=minimal, handling=lenient",
            (true, true, true) => "respond-async, return=minimal, handling=lenient",
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_read_from_lists_and_parameters() {
        let read = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(PREFER, HeaderValue::from_static(value));
            }
            Prefer::of(&headers)
        };
        let none = Prefer::default();
        assert_eq!(read(&[]), none);
        assert_eq!(read(&["wait=5"]), none);
        assert_eq!(read(&["return=representation, return=minimal"]), none);
        assert_eq!(read(&["Respond-Async, wait=5"]), Prefer { respond_async: true, ..none });
        assert_eq!(read(&["return=\"minimal\"; foo=1"]), Prefer { minimal: true, ..none });
        let both = read(&["respond-async", "handling = lenient"]);
        assert_eq!(both, Prefer { respond_async: true, lenient: true, ..none });
        assert_eq!(both.applied().unwrap(), "respond-async, handling=lenient");
        assert_eq!(none.applied(), None);
    }
}
