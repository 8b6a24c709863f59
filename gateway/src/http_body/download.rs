//! Content as an answer. What the service says beside it comes as metadata of the
//! call and goes out as headers: `content-disposition`, `content-language`,
//! `cache-control`, `expires`, `etag`, `last-modified`. A service that streams a
//! content whose length it knows says it as `x-content-length`; only then can a
//! part of it be asked for.

use bytes::Bytes;
use chassis::Fault;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, request::Parts};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use tonic::{Status, body::Body};
use transcode::HttpBody;

use super::range::{Validators, Wanted};
use crate::{
    rest::{Asked, NO_STORE, Refusal},
    streams::{BREAK_OFF_AFTER, Messages},
};

/// Metadata that becomes headers.
const CARRIED: [HeaderName; 6] = [
    header::CONTENT_DISPOSITION,
    header::CONTENT_LANGUAGE,
    header::CACHE_CONTROL,
    header::EXPIRES,
    header::ETAG,
    header::LAST_MODIFIED,
];
/// The length of a streamed content. `content-length` is that of the gRPC answer.
const LENGTH: HeaderName = HeaderName::from_static("x-content-length");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Answers with a content that is all there.
pub(crate) fn whole(
    metadata: &HeaderMap,
    asked: &Asked<'_>,
    message: &Bytes,
    shown: HeaderMap,
) -> Result<Response<Body>, Refusal> {
    let (content_type, data) = read(message)?;
    let total = length(&data);
    let mut answer = Answer::new(metadata, content_type);
    answer.select(asked.parts, Some(total));
    let data = match answer.wanted {
        Wanted::Whole => data,
        Wanted::Part { first, last } => slice(&data, first, last.saturating_add(1)),
        Wanted::Nothing => return Err(Refusal::range(total)),
    };
    let mut response = answer.respond(Body::new(Full::new(data)));
    response.headers_mut().extend(shown);
    Ok(response)
}

/// Answers with a content that comes in pieces.
pub(crate) async fn pieces(
    mut messages: Messages,
    metadata: &HeaderMap,
    parts: &Parts,
) -> Result<Response<Body>, Refusal> {
    let (content_type, first) = match messages.next().await? {
        Some(message) => read(&message)?,
        None => (None, Bytes::new()),
    };
    let total = metadata
        .get(&LENGTH)
        .and_then(|total| total.to_str().ok())
        .and_then(|total| total.parse::<u64>().ok());
    let mut answer = Answer::new(metadata, content_type);
    answer.select(parts, total);
    let (skip, take) = match (answer.wanted, total) {
        (Wanted::Nothing, total) => return Err(Refusal::range(total.unwrap_or(0))),
        (Wanted::Part { first, last }, _) => (first, Some(last - first + 1)),
        (Wanted::Whole, total) => (0, total),
    };
    let is_part = answer.wanted != Wanted::Whole;
    let source =
        Source { messages, first: Some(first), skip, left: take, is_part, is_ended: false };
    let pieces = stream::unfold(source, |mut source| async move {
        let piece = source.next().await?;
        Some((piece.map(Frame::data), source))
    });
    Ok(answer.respond(Body::new(StreamBody::new(pieces))))
}

/// The content of a message.
fn read(message: &Bytes) -> Result<(Option<HeaderValue>, Bytes), Fault> {
    let body = HttpBody::decode(message).ok_or_else(|| {
        Fault::internal().because("the service answered an HttpBody that cannot be read")
    })?;
    let content_type = Some(body.content_type).filter(|said| !said.is_empty());
    let content_type = content_type.and_then(|said| HeaderValue::from_str(said).ok());
    Ok((content_type, message.slice_ref(body.data)))
}

fn length(data: &Bytes) -> u64 {
    u64::try_from(data.len()).unwrap_or(u64::MAX)
}

/// From `start` until before `end`, as far as there is any.
fn slice(data: &Bytes, start: u64, end: u64) -> Bytes {
    let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(data.len());
    data.slice(at(start)..at(end).max(at(start)))
}

// === Answer ===

/// The head of an answer.
struct Answer {
    headers: HeaderMap,
    status: StatusCode,
    wanted: Wanted,
}

impl Answer {
    fn new(metadata: &HeaderMap, content_type: Option<HeaderValue>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, content_type.unwrap_or(OCTETS));
        for name in CARRIED {
            if let Some(value) = metadata.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        // Nobody said that it may be kept.
        headers.entry(header::CACHE_CONTROL).or_insert(NO_STORE);
        Self { headers, status: StatusCode::OK, wanted: Wanted::Whole }
    }

    /// Finds out which part is asked for, and says so.
    fn select(&mut self, parts: &Parts, total: Option<u64>) {
        let validators = Validators {
            etag: self.headers.get(header::ETAG),
            last_modified: self.headers.get(header::LAST_MODIFIED),
        };
        let is_read = matches!(parts.method, http::Method::GET | http::Method::HEAD);
        if is_read && validators.are_known(&parts.headers) {
            self.status = StatusCode::NOT_MODIFIED;
            return;
        }
        let Some(total) = total else { return };
        self.wanted = Wanted::of(&parts.method, &parts.headers, validators, total);
        if is_read {
            self.headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        }
        let length = match self.wanted {
            Wanted::Part { first, last } => {
                self.status = StatusCode::PARTIAL_CONTENT;
                let range = HeaderValue::try_from(format!("bytes {first}-{last}/{total}"));
                if let Ok(range) = range {
                    self.headers.insert(header::CONTENT_RANGE, range);
                }
                last - first + 1
            }
            Wanted::Whole | Wanted::Nothing => total,
        };
        self.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }

    fn respond(self, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        if self.status == StatusCode::NOT_MODIFIED {
            *response.body_mut() = Body::empty();
        }
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        if self.status == StatusCode::NOT_MODIFIED {
            response.headers_mut().remove(header::CONTENT_TYPE);
        }
        response
    }
}

// === Source ===

/// A content on its way.
struct Source {
    messages: Messages,
    first: Option<Bytes>,
    /// Bytes before those asked for.
    skip: u64,
    /// Bytes still to come, if their number is known.
    left: Option<u64>,
    /// The rest of the content is not asked for.
    is_part: bool,
    is_ended: bool,
}

impl Source {
    /// The next piece; `Err` to break the body off, so that it does not look whole.
    async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        while !self.is_ended {
            if self.is_part && self.left == Some(0) {
                self.is_ended = true;
                return None;
            }
            let read = match self.first.take() {
                Some(first) => Ok(Some(first)),
                None => match self.messages.next().await {
                    Ok(Some(message)) => read(&message).map(|(_, data)| Some(data)),
                    other => other,
                },
            };
            let piece = match read {
                Ok(Some(data)) => self.cut(&data),
                Ok(None) if self.left.is_none_or(|left| left == 0) => {
                    self.is_ended = true;
                    return None;
                }
                Ok(None) => Err(Fault::internal().because("the content is shorter than it said")),
                Err(fault) => Err(fault),
            };
            match piece {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Some(Ok(piece)),
                Err(fault) => {
                    self.is_ended = true;
                    tokio::time::sleep(BREAK_OFF_AFTER).await;
                    return Some(Err(fault.into()));
                }
            }
        }
        None
    }

    /// What is asked for of a piece.
    fn cut(&mut self, data: &Bytes) -> Result<Bytes, Fault> {
        let skipped = self.skip.min(length(data));
        self.skip -= skipped;
        let data = slice(data, skipped, u64::MAX);
        let Some(left) = &mut self.left else { return Ok(data) };
        if length(&data) > *left && !self.is_part {
            return Err(Fault::internal().because("the content is longer than it said"));
        }
        let data = slice(&data, 0, *left);
        *left -= length(&data);
        Ok(data)
    }
}
