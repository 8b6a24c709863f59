//! What a Connect request says of itself, before its first message.

use std::time::Duration;

use chassis::Fault;
use contracts::mesh::v1::ErrorReason;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::PROTOCOL_VERSION;
use crate::{
    compression::Coding,
    deadline,
    frame::recode::Codec,
    grpc::{after, media_type},
};

/// The coding of the messages of a stream, whose body as a whole has none.
pub(super) const STREAM_ENCODING: HeaderName = HeaderName::from_static("connect-content-encoding");
/// The codings that the other side reads in a stream.
pub(super) const STREAM_ACCEPT_ENCODING: HeaderName =
    HeaderName::from_static("connect-accept-encoding");
/// The codings that are read here.
pub(super) const ACCEPTED: HeaderValue = HeaderValue::from_static("gzip, zstd, br");
/// The codings of Connect, in its order.
const CODINGS: [Coding; 3] = [Coding::Gzip, Coding::Zstd, Coding::Brotli];

/// What sort of request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A message in the query.
    Get,
    /// A message as the body.
    Unary(Codec),
    /// Messages in frames.
    Stream(Codec),
}

/// What the headers agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// How what the client sends is compressed.
    pub(super) sent: Option<Coding>,
    /// How what it takes may be.
    pub(super) taken: Option<Coding>,
    pub(super) timeout: Option<Duration>,
}

// === impl Kind ===

impl Kind {
    /// By the media type of a POST.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let rest = after(media_type(headers), "application/")?;
        match after(rest, "connect+") {
            Some(rest) => codec(rest).map(Self::Stream),
            None => codec(rest).map(Self::Unary),
        }
    }
}

/// The codec of this name.
pub(super) fn codec(name: &str) -> Option<Codec> {
    [("proto", Codec::Proto), ("json", Codec::Json)]
        .into_iter()
        .find(|(known, _)| name.eq_ignore_ascii_case(known))
        .map(|(_, codec)| codec)
}

/// Whether a media type is nobody's but Connect's.
pub(super) fn is_connect_type(kind: &HeaderValue) -> bool {
    let kind = kind.to_str().unwrap_or_default();
    let rest = after(kind, "application/").unwrap_or_default();
    after(rest, "connect+").is_some()
        || after(rest, "proto").is_some_and(|rest| rest.is_empty() || rest.starts_with(';'))
}

// === impl Head ===

impl Head {
    /// Of a message that is the body, or in the query with this coding.
    pub(super) fn of_unary(headers: &HeaderMap, sent: Option<&str>) -> Result<Self, Fault> {
        let sent = match sent {
            None => text(headers, &header::CONTENT_ENCODING)?,
            Some(sent) => sent,
        };
        Self::new(headers, sent, &header::ACCEPT_ENCODING)
    }

    pub(super) fn of_stream(headers: &HeaderMap) -> Result<Self, Fault> {
        Self::new(headers, text(headers, &STREAM_ENCODING)?, &STREAM_ACCEPT_ENCODING)
    }

    fn new(headers: &HeaderMap, sent: &str, accept: &HeaderName) -> Result<Self, Fault> {
        if let Some(version) = headers.get(PROTOCOL_VERSION)
            && version != "1"
        {
            return Err(Fault::invalid_argument(ErrorReason::HeaderInvalid)
                .message("connect-protocol-version must be 1")
                .violation(PROTOCOL_VERSION, "must be 1"));
        }
        let sent = coding(sent)?;
        let taken = match headers.contains_key(accept) {
            // Who compresses can decompress.
            false => sent,
            true => headers
                .get_all(accept)
                .iter()
                .filter_map(|list| list.to_str().ok())
                .flat_map(|list| list.split(','))
                .find_map(accepted),
        };
        Ok(Self { sent, taken, timeout: deadline::asked(headers)? })
    }
}

/// The coding that a client says it used.
fn coding(name: &str) -> Result<Option<Coding>, Fault> {
    if name.is_empty() || name.eq_ignore_ascii_case("identity") {
        return Ok(None);
    }
    Coding::named(name).filter(|coding| CODINGS.contains(coding)).map(Some).ok_or_else(|| {
        Fault::unimplemented(ErrorReason::HeaderInvalid).message(format!(
            "the compression {name} is not read here: use one of {} or identity",
            ACCEPTED.to_str().unwrap_or_default()
        ))
    })
}

/// An item of the list of codings that a client reads, which is in the order of
/// its liking. One with the weight 0 is refused (RFC 9110, section 12.5.3).
fn accepted(item: &str) -> Option<Coding> {
    let (name, weight) = item.split_once(';').unwrap_or((item, ""));
    let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
    let is_refused = weight.bytes().all(|digit| matches!(digit, b'0' | b'.'));
    Coding::named(name.trim()).filter(|coding| !is_refused && CODINGS.contains(coding))
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h str, Fault> {
    headers.get(name).map_or(Ok(""), |value| {
        value.to_str().map(str::trim).map_err(|_| {
            Fault::invalid_argument(ErrorReason::HeaderInvalid)
                .message(format!("{name} is not text"))
                .violation(name.as_str(), "must be visible ASCII")
        })
    })
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn the_media_type_says_what_sort_of_request_it_is() {
        let kind = |kind| Kind::of(&headers(&[("content-type", kind)]));
        assert_eq!(kind("application/proto"), Some(Kind::Unary(Codec::Proto)));
        assert_eq!(kind("application/json; charset=utf-8"), Some(Kind::Unary(Codec::Json)));
        assert_eq!(kind("Application/Connect+JSON"), Some(Kind::Stream(Codec::Json)));
        assert_eq!(kind("application/connect+foo"), None);
        assert_eq!(kind("application/foo"), None);
        assert_eq!(kind("text/plain"), None);
        assert_eq!(Kind::of(&HeaderMap::new()), None);
        let is_connect = |kind| is_connect_type(&HeaderValue::from_static(kind));
        assert!(is_connect("application/connect+anything") && is_connect("application/proto"));
        assert!(!is_connect("application/json") && !is_connect("application/protobuf"));
    }

    #[test]
    fn a_coding_is_agreed_on() {
        let agreed = |pairs: &[(&'static str, &'static str)]| {
            Head::of_unary(&headers(pairs), None).map(|head| (head.sent, head.taken)).unwrap()
        };
        let gzip = Some(Coding::Gzip);
        assert_eq!(agreed(&[]), (None, None));
        assert_eq!(agreed(&[("content-encoding", "gzip")]), (gzip, gzip), "as it came");
        assert_eq!(
            agreed(&[("content-encoding", "gzip"), ("accept-encoding", "identity")]),
            (gzip, None)
        );
        assert_eq!(agreed(&[("accept-encoding", "deflate, zstd, gzip")]).1, Some(Coding::Zstd));
        assert_eq!(agreed(&[("accept-encoding", "zstd;q=0, br;q=0.0,gzip;q=0.5")]).1, gzip);
        assert_eq!(agreed(&[("accept-encoding", "*")]).1, None);
    }

    #[test]
    fn what_cannot_be_spoken_is_refused() {
        let code = |pairs: &[(&'static str, &'static str)]| {
            Head::of_unary(&headers(pairs), None).unwrap_err().code()
        };
        assert_eq!(code(&[("content-encoding", "foo")]), Code::Unimplemented);
        assert_eq!(code(&[("content-encoding", "deflate")]), Code::Unimplemented);
        assert_eq!(code(&[("connect-protocol-version", "2")]), Code::InvalidArgument);
        assert_eq!(code(&[("connect-timeout-ms", "soon")]), Code::InvalidArgument);
    }
}
