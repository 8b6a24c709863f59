//! Which part of a content is asked for (RFC 9110, section 14).
//!
//! One range is answered. Several are answered with the whole, as section 14.2
//! allows: they cost more than they save. What is no range is not there.

use http::{HeaderMap, HeaderValue, Method, header};

use crate::rest::plain;

/// What is asked for of a content whose length is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Whole,
    /// These bytes, the last one included.
    Part {
        first: u64,
        last: u64,
    },
    /// None that it has.
    Nothing,
}

/// What a client remembers a content by.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Validators<'h> {
    pub(super) etag: Option<&'h HeaderValue>,
    pub(super) last_modified: Option<&'h HeaderValue>,
}

impl Wanted {
    /// What a request asks for of a content of `total` bytes.
    pub(super) fn of(
        method: &Method,
        headers: &HeaderMap,
        validators: Validators<'_>,
        total: u64,
    ) -> Self {
        let Some(range) = headers.get(header::RANGE).filter(|_| method == Method::GET) else {
            return Self::Whole;
        };
        if !validators.hold(headers) {
            return Self::Whole;
        }
        range.to_str().ok().and_then(|range| Self::read(range, total)).unwrap_or(Self::Whole)
    }

    /// `None` if it is no range, or more than one.
    fn read(range: &str, total: u64) -> Option<Self> {
        let (unit, range) = range.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = range.trim().split_once('-')?;
        if first.is_empty() {
            let length = number(last)?;
            return Some(match length.min(total) {
                0 => Self::Nothing,
                length => Self::Part { first: total - length, last: total - 1 },
            });
        }
        let first = number(first)?;
        let last = if last.is_empty() { u64::MAX } else { number(last)? };
        if last < first {
            return None;
        }
        Some(match first < total {
            true => Self::Part { first, last: last.min(total - 1) },
            false => Self::Nothing,
        })
    }
}

impl Validators<'_> {
    /// Whether what the client has a part of is still the same (section 13.1.5).
    fn hold(&self, headers: &HeaderMap) -> bool {
        let Some(known) = headers.get(header::IF_RANGE) else { return true };
        let is_weak = known.as_bytes().starts_with(b"W/");
        let is_tag = is_weak || known.as_bytes().starts_with(b"\"");
        match is_tag {
            true => !is_weak && self.etag == Some(known),
            false => self.last_modified == Some(known),
        }
    }

    /// Whether the client has it all (section 13.1.2).
    pub(super) fn are_known(&self, headers: &HeaderMap) -> bool {
        let Some(etag) = self.etag.and_then(|etag| etag.to_str().ok()) else { return false };
        let opaque =
            |tag: &str| plain(tag.trim().trim_start_matches("W/").trim_matches('"')).to_owned();
        headers
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|known| known.trim() == "*" || opaque(known) == opaque(etag))
    }
}

/// Digits alone; more than fit are as good as all there are.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(range: &str, total: u64) -> Wanted {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, range.parse().unwrap());
        Wanted::of(&Method::GET, &headers, Validators::default(), total)
    }

    fn part(first: u64, last: u64) -> Wanted {
        Wanted::Part { first, last }
    }

    #[test]
    fn one_range_is_found_within_the_content() {
        for (range, expected) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=2-4", part(2, 4)),
            ("Bytes = 2-4", part(2, 4)),
            ("bytes=2-", part(2, 9)),
            ("bytes=2-99999999999999999999999", part(2, 9)),
            ("bytes=-3", part(7, 9)),
            ("bytes=-30", part(0, 9)),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=4-2", Wanted::Whole),
            ("bytes=0-1,4-5", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("lines=1-2", Wanted::Whole),
            ("", Wanted::Whole),
        ] {
            assert_eq!(asked(range, 10), expected, "{range}");
        }
        for range in ["bytes=0-", "bytes=-1"] {
            assert_eq!(asked(range, 0), Wanted::Nothing, "{range}: nothing has no part");
        }
    }

    #[test]
    fn a_range_holds_for_the_content_that_the_client_knows() {
        let (etag, date) = (HeaderValue::from_static("\"a\""), HeaderValue::from_static("Fri"));
        let validators = Validators { etag: Some(&etag), last_modified: Some(&date) };
        for (known, holds) in
            [("\"a\"", true), ("\"b\"", false), ("W/\"a\"", false), ("Fri", true), ("Sat", false)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-0"));
            headers.insert(header::IF_RANGE, known.parse().unwrap());
            let asked = Wanted::of(&Method::GET, &headers, validators, 10);
            assert_eq!(asked == part(0, 0), holds, "{known}");
            assert_eq!(Wanted::of(&Method::HEAD, &headers, validators, 10), Wanted::Whole);
        }
    }
}
