//! Media types: what a body is, and what the client takes (RFC 9110, sections
//! 8.3 and 12.5.1).
//!
//! A range of JSON's family, as `application/hal+json`, admits JSON: whoever
//! reads it reads JSON. The answer is `application/json` all the same.

use bytes::Bytes;
use chassis::Fault;
use contracts::mesh::v1::ErrorReason;
use http::{HeaderMap, HeaderValue, header};
use transcode::{Body as Content, Content as Kind};

/// What a path takes that takes PATCH (RFC 5789, section 3.1).
pub(crate) const PATCHES: HeaderValue =
    HeaderValue::from_static("application/merge-patch+json, application/json");
/// What a path takes that takes POST.
pub(crate) const POSTS: HeaderValue =
    HeaderValue::from_static("application/json, application/x-protobuf");
/// RFC 7396: members that are named change, and null takes one away.
const MERGE_PATCH: &str = "application/merge-patch+json";

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `application/json`.
    Json,
    /// `application/x-protobuf`.
    Protobuf,
}

/// How a failure is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureFormat {
    /// `{"error": {…}}` (AIP-193).
    Json,
    /// `application/problem+json` (RFC 9457), of the same content.
    Problem,
    /// `google.rpc.Status` in `application/x-protobuf`, for clients that take no JSON.
    Protobuf,
}

/// How much a client wants each media type that is written here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accept {
    pub(crate) json: Weight,
    pub(crate) protobuf: Weight,
    problem: Weight,
    /// `application/x-ndjson`: streams alone.
    pub(crate) lines: Weight,
    /// `text/event-stream`: streams alone.
    pub(crate) events: Weight,
}

/// The quality of the most specific range that a media type falls under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Weight {
    specificity: Specificity,
    /// In thousandths; 0 is "not at all".
    quality: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Specificity {
    /// No range admits it.
    #[default]
    None,
    /// `*/*`.
    Any,
    /// `application/*`.
    Type,
    /// A relative of it, as `application/hal+json` is of JSON.
    Suffix,
    /// The very type.
    Exact,
}

// === impl Accept ===

impl Accept {
    /// A client that does not say takes anything.
    const ANYTHING: Self = {
        let any = Weight { specificity: Specificity::Any, quality: 1_000 };
        Self { json: any, protobuf: any, problem: any, lines: any, events: any }
    };
    const NOTHING: Self = {
        let none = Weight { specificity: Specificity::None, quality: 0 };
        Self { json: none, protobuf: none, problem: none, lines: none, events: none }
    };

    /// Reads all `Accept` headers. An empty one says nothing.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut read = None;
        for value in headers.get_all(header::ACCEPT) {
            let ranges = value.to_str().unwrap_or_default().split(',').map(str::trim);
            for range in ranges.filter(|range| !range.is_empty()) {
                read.get_or_insert(Self::NOTHING).range(range);
            }
        }
        read.unwrap_or(Self::ANYTHING)
    }

    fn range(&mut self, range: &str) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let mut quality = 1_000;
        for part in parts {
            if let Some((name, value)) = part.split_once('=')
                && name.trim().eq_ignore_ascii_case("q")
            {
                quality = thousandths(value.trim());
            }
        }
        let admit = |weights: &mut [&mut Weight], specificity| {
            for weight in weights {
                weight.admit(specificity, quality);
            }
        };
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let Self { json, protobuf, problem, lines, events } = self;
        if is("application/json") {
            admit(&mut [json], Specificity::Exact);
        } else if is("*/*") {
            admit(&mut [json, protobuf, problem, lines, events], Specificity::Any);
        } else if is("application/*") {
            admit(&mut [json, protobuf, problem, lines], Specificity::Type);
        } else if is("text/*") {
            admit(&mut [events], Specificity::Type);
        } else if is("application/x-ndjson") {
            admit(&mut [lines], Specificity::Exact);
        } else if is("text/event-stream") {
            admit(&mut [events], Specificity::Exact);
        } else if is("application/x-protobuf") || is("application/protobuf") {
            admit(&mut [protobuf], Specificity::Exact);
        } else if is("application/problem+json") {
            admit(&mut [problem], Specificity::Exact);
            admit(&mut [json], Specificity::Suffix);
        } else if is_json_relative(name) {
            admit(&mut [json], Specificity::Suffix);
        }
    }

    /// How an answer is to be written; `None` if the client takes nothing there is.
    pub(crate) fn format(self) -> Option<Format> {
        match (self.json.quality, self.protobuf.quality) {
            (0, 0) => None,
            (json, protobuf) if json >= protobuf => Some(Format::Json),
            _ => Some(Format::Protobuf),
        }
    }

    /// How a failure is to be written. It always is: a client that takes nothing
    /// there is gets JSON.
    pub(crate) fn failure_format(self) -> FailureFormat {
        let Self { json, protobuf, problem, .. } = self;
        // It is named beside JSON by those who want it for failures alone.
        if problem.specificity == Specificity::Exact
            && problem.quality > 0
            && problem.quality >= json.quality
        {
            FailureFormat::Problem
        } else if json.quality == 0 && protobuf.quality > 0 {
            FailureFormat::Protobuf
        } else {
            FailureFormat::Json
        }
    }
}

// === impl Weight ===

impl Weight {
    fn admit(&mut self, specificity: Specificity, quality: u16) {
        if specificity > self.specificity {
            *self = Self { specificity, quality };
        } else if specificity == self.specificity {
            self.quality = self.quality.max(quality);
        }
    }

    /// In thousandths; 0 is "not at all".
    pub(crate) fn quality(self) -> u16 {
        self.quality
    }

    /// Whether it is asked for by its own name.
    pub(crate) fn is_named(self) -> bool {
        self.specificity == Specificity::Exact
    }
}

/// `0.5` is 500. What is no quality counts as none given.
fn thousandths(text: &str) -> u16 {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_number = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "0" if is_number => format!("{decimals:0<3}").parse().unwrap_or(1_000),
        _ => 1_000,
    }
}

fn is_json_relative(media_type: &str) -> bool {
    let suffix = media_type.len().checked_sub("+json".len()).and_then(|at| media_type.get(at..));
    suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"))
}

// === reading the body ===

/// What the body is, by its content type. Without one it is JSON.
pub(crate) fn content<'b>(
    headers: &'b HeaderMap,
    body: &'b Bytes,
    kind: Kind,
) -> Result<Content<'b>, Fault> {
    if body.is_empty() {
        return Ok(Content::None);
    }
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(Content::Json(body));
    };
    if kind == Kind::HttpBody {
        return Ok(Content::Raw { content_type: value.to_str().unwrap_or_default(), data: body });
    }
    if value == "application/json" {
        return Ok(Content::Json(body));
    }
    let mut parts = value.to_str().unwrap_or("?").split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let is = |other: &str| media_type.eq_ignore_ascii_case(other);
    if is("application/x-protobuf") || is("application/protobuf") {
        return Ok(Content::Wire(body));
    }
    // A list of operations is JSON, but no message.
    let is_json = is("application/json")
        || is_json_relative(media_type) && !is("application/json-patch+json");
    if !is_json {
        return Err(unsupported(media_type));
    }
    let charset = parts.filter_map(|part| part.split_once('=')).find_map(|(name, value)| {
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("charset").then_some(value)
    });
    match charset {
        Some(charset) if !charset.eq_ignore_ascii_case("utf-8") => {
            Err(unsupported(&format!("{media_type} in {charset}")))
        }
        _ => Ok(Content::Json(body)),
    }
}

/// Whether the body says with every member it names that it is to change.
pub(crate) fn is_merge_patch(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        let media_type = value.split(';').next().unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case(MERGE_PATCH)
    })
}

#[cold]
fn unsupported(media_type: &str) -> Fault {
    Fault::invalid_argument(ErrorReason::MediaTypeUnsupported)
        .message(format!("the body's media type {media_type} is not read here"))
        .violation(
            "content-type",
            "must be application/json in UTF-8, one of its relatives such as \
             application/merge-patch+json, or application/x-protobuf",
        )
}

/// The client takes nothing that can be written.
#[cold]
pub(crate) fn not_acceptable() -> Fault {
    Fault::invalid_argument(ErrorReason::NotAcceptable)
        .message("none of the media types you accept can be written")
        .violation("accept", "must admit application/json or application/x-protobuf")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &str) -> Accept {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_str(value).unwrap());
        Accept::of(&headers)
    }

    #[test]
    fn the_best_format_that_the_client_takes_is_written() {
        assert_eq!(Accept::of(&HeaderMap::new()).format(), Some(Format::Json));
        for (value, expected) in [
            ("*/*", Some(Format::Json)),
            ("application/*", Some(Format::Json)),
            ("application/json", Some(Format::Json)),
            ("APPLICATION/JSON; charset=utf-8", Some(Format::Json)),
            ("application/x-protobuf", Some(Format::Protobuf)),
            ("application/protobuf", Some(Format::Protobuf)),
            ("application/x-protobuf, application/json", Some(Format::Json)),
            ("application/json;q=0.5, application/x-protobuf", Some(Format::Protobuf)),
            ("application/x-protobuf;q=0.9, */*;q=0.1", Some(Format::Protobuf)),
            ("application/x-protobuf ; Q = 0.1, text/html, */*;q=0.2", Some(Format::Json)),
            ("*/*, application/json;q=0", Some(Format::Protobuf)),
            ("application/hal+json", Some(Format::Json)),
            ("application/problem+json", Some(Format::Json)),
            (
                "application/problem+json;q=0.3, application/x-protobuf;q=0.5",
                Some(Format::Protobuf),
            ),
            (
                "text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8",
                Some(Format::Json),
            ),
            ("application/json;q=none", Some(Format::Json)),
            ("text/html", None),
            ("image/*", None),
            ("text/event-stream", None),
            ("application/json;q=0", None),
            ("application/json;q=0.000, */*;q=0.0", None),
            ("", Some(Format::Json)),
        ] {
            assert_eq!(accept(value).format(), expected, "{value}");
        }
    }

    #[test]
    fn several_headers_are_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(header::ACCEPT, HeaderValue::from_static("application/json;q=0.1"));
        headers.append(header::ACCEPT, HeaderValue::from_static("application/x-protobuf"));
        assert_eq!(Accept::of(&headers).format(), Some(Format::Protobuf));
    }

    #[test]
    fn failures_are_problems_for_those_who_ask() {
        for (value, expected) in [
            ("*/*", FailureFormat::Json),
            ("application/json", FailureFormat::Json),
            ("application/problem+json", FailureFormat::Problem),
            ("application/json, application/problem+json", FailureFormat::Problem),
            ("application/json, application/problem+json;q=0.5", FailureFormat::Json),
            ("application/problem+json;q=0", FailureFormat::Json),
            ("application/x-protobuf", FailureFormat::Protobuf),
            ("application/x-protobuf, application/json;q=0.1", FailureFormat::Json),
            ("application/x-protobuf, application/problem+json", FailureFormat::Problem),
            ("text/html", FailureFormat::Json),
        ] {
            assert_eq!(accept(value).failure_format(), expected, "{value}");
        }
    }

    #[test]
    fn a_body_is_what_its_content_type_says() {
        let body = Bytes::from_static(b"{}");
        let read = |value: &str, kind| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
            match content(&headers, &body, kind) {
                Ok(Content::Json(_)) => "json",
                Ok(Content::Wire(_)) => "wire",
                Ok(Content::Raw { content_type, .. }) if content_type == value => "raw",
                Ok(_) => "other",
                Err(fault) if fault.is(ErrorReason::MediaTypeUnsupported) => "unsupported",
                Err(_) => "wrong",
            }
        };
        for (value, expected) in [
            ("application/json", "json"),
            ("Application/JSON", "json"),
            ("application/json; charset=UTF-8", "json"),
            ("application/json;charset=\"utf-8\"", "json"),
            ("application/json; charset=latin1", "unsupported"),
            ("application/merge-patch+json", "json"),
            ("application/json-patch+json", "unsupported"),
            ("application/x-protobuf", "wire"),
            ("application/protobuf; messageType=\"a.B\"", "wire"),
            ("text/plain", "unsupported"),
            ("application/x-www-form-urlencoded", "unsupported"),
            ("", "unsupported"),
        ] {
            assert_eq!(read(value, Kind::Message), expected, "{value}");
        }
        assert_eq!(read("image/png", Kind::HttpBody), "raw");
        assert!(matches!(content(&HeaderMap::new(), &body, Kind::Message), Ok(Content::Json(_))));
        let nothing = Bytes::new();
        assert!(matches!(content(&HeaderMap::new(), &nothing, Kind::Message), Ok(Content::None)));
    }
}
