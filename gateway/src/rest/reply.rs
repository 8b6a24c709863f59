//! The answer to a unary call, as HTTP.

use bytes::{Bytes, BytesMut};
use chassis::Fault;
use contracts::mesh::v1::ErrorReason;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use tonic::{Code, Status, body::Body};
use transcode::{Content as Kind, Raw};

use super::{
    Asked,
    accept::Format,
    call::Crossing,
    etag::{self, Verdict},
    plan::DEPRECATION,
    prefer::{PREFERENCE_APPLIED, Prefer},
    refusal::Refusal,
    sunset::SUNSET,
};
use crate::{
    frame::{self, HEAD_BYTES, RESERVE_BYTES_MAX},
    http_body::answer_whole,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
/// What no cache may keep: another caller may not see it, or not any more.
pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// What the caller's own cache may keep, if it asks each time whether it still holds.
const REVALIDATE: HeaderValue = HeaderValue::from_static("private, no-cache");
/// Where the outcome of an operation is asked for, beside `Location`.
const OPERATION_LOCATION: &str = "operation-location";
/// Room for the headers of an answer, with those that the edge adds, without growing.
const ANSWER_HEADERS: usize = 12;

/// How unary answers are written, whatever the request.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    pub(crate) response_bytes_max: usize,
    /// `Vary` of what a cache may keep.
    pub(crate) vary: HeaderValue,
}

// === impl Manner ===

impl Manner {
    /// Turns the answer of a unary call into that of a request.
    pub(crate) async fn reply(
        &self,
        asked: &Asked<'_>,
        crossing: &Crossing,
        response: Response<Body>,
    ) -> Result<Response<Body>, Refusal> {
        let (head, body) = response.into_parts();
        let mut headers = HeaderMap::with_capacity(ANSWER_HEADERS);
        crossing.carry_out(&head.headers, &mut headers);
        if let Err(fault) = failed(&head.headers) {
            return Err(Refusal::from(fault).with_headers(headers));
        }
        let (frame, trailers) = whole(body, self.response_bytes_max).await?;
        crossing.carry_out(&trailers, &mut headers);
        if let Err(fault) = failed(&trailers) {
            return Err(Refusal::from(fault).with_headers(headers));
        }
        let message = message(&frame)?;
        if asked.found.method().output_content() == Kind::HttpBody {
            let message = frame.slice_ref(message);
            return answer_whole(&head.headers, asked, &message, headers);
        }
        self.write(asked, headers, &frame, message)
    }

    fn write(
        &self,
        asked: &Asked<'_>,
        mut headers: HeaderMap,
        frame: &Bytes,
        message: &[u8],
    ) -> Result<Response<Body>, Refusal> {
        let Asked { plan, parts, found, serving, .. } = *asked;
        let mut applied = Prefer { lenient: asked.prefer.lenient, ..Prefer::default() };
        let tag =
            plan.etag.as_ref().and_then(|field| field.find_text(message)).and_then(etag::header);
        let verdict = match plan.is_read {
            true => etag::judge(&parts.headers, tag.as_ref())?,
            false => Verdict::Answer,
        };
        if verdict == Verdict::Mismatch {
            return Err(Refusal::precondition().with_headers(headers));
        }
        match tag {
            Some(tag) => {
                headers.insert(header::ETAG, tag);
                if plan.is_read {
                    headers.insert(header::VARY, self.vary.clone());
                    headers.insert(header::CACHE_CONTROL, REVALIDATE);
                } else {
                    headers.insert(header::CACHE_CONTROL, NO_STORE);
                }
            }
            None => {
                headers.insert(header::CACHE_CONTROL, NO_STORE);
            }
        }
        if let Some(deprecation) = &plan.deprecation {
            headers.insert(DEPRECATION, deprecation.clone());
        }
        if let Some(sunset) = &plan.sunset {
            headers.insert(SUNSET, sunset.header.clone());
        }
        if verdict == Verdict::NotModified {
            return Ok(answer(StatusCode::NOT_MODIFIED, headers, Body::empty()));
        }
        if let Some(next) = &plan.next
            && let Some(link) = next.link(parts.uri.path(), parts.uri.query(), message)
        {
            headers.insert(header::LINK, link);
        }
        let mut status = StatusCode::OK;
        if plan.is_create {
            status = StatusCode::CREATED;
            if let Some(location) = location(asked, message) {
                headers.insert(header::LOCATION, location);
            }
        } else if asked.prefer.respond_async
            && let Some(done) = &plan.done
            && !matches!(done.find(message), Some(Raw::Varint(1..)))
        {
            status = StatusCode::ACCEPTED;
            applied.respond_async = true;
            if let Some(location) = location(asked, message) {
                headers.insert(OPERATION_LOCATION, location.clone());
                headers.insert(header::LOCATION, location);
            }
        }
        let is_minimal = asked.prefer.minimal && !plan.is_read && status != StatusCode::ACCEPTED;
        applied.minimal = is_minimal;
        if let Some(applied) = applied.applied() {
            headers.insert(PREFERENCE_APPLIED, applied);
        }
        if is_minimal {
            let status = if status == StatusCode::OK { StatusCode::NO_CONTENT } else { status };
            return Ok(answer(status, headers, Body::empty()));
        }

        let (content_type, body) = match asked.format {
            Format::Protobuf => (PROTOBUF, frame.slice(HEAD_BYTES..)),
            Format::Json => {
                let mut out = Vec::with_capacity(message.len() * 2 + 64);
                serving
                    .schema
                    .response_to_json(found.binding(), message, &asked.options, &mut out)
                    .map_err(|error| Fault::internal().because(error.to_string()))?;
                (JSON, Bytes::from(out))
            }
        };
        headers.insert(header::CONTENT_TYPE, content_type);
        Ok(answer(status, headers, Body::new(Full::new(body))))
    }
}

fn answer(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}

/// Where what was answered is found by itself.
fn location(asked: &Asked<'_>, message: &[u8]) -> Option<HeaderValue> {
    let location = asked.serving.schema.location(asked.found.method(), message)?;
    HeaderValue::from_maybe_shared(Bytes::from(location)).ok()
}

// === reading the answer ===

/// The failure that headers or trailers state, if they state one.
pub(crate) fn failed(headers: &HeaderMap) -> Result<(), Fault> {
    match headers.get(Status::GRPC_STATUS) {
        None => Ok(()),
        Some(code) if code == "0" => Ok(()),
        Some(_) => failure(headers),
    }
}

#[cold]
fn failure(headers: &HeaderMap) -> Result<(), Fault> {
    match Status::from_header_map(headers) {
        Some(status) if status.code() != Code::Ok => Err(Fault::from_status(&status)),
        _ => Ok(()),
    }
}

#[cold]
pub(crate) fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Fault {
    Fault::unavailable(ErrorReason::Unavailable)
        .message("the service's answer ended too early")
        .because(error)
}

/// All bytes of an answer of at most `limit` bytes, and its trailers. An answer in
/// one piece, which it mostly is, is not copied.
async fn whole(mut body: Body, limit: usize) -> Result<(Bytes, HeaderMap), Fault> {
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(broken)?;
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                let whole = if more.is_empty() { first } else { more.freeze() };
                return Ok((whole, trailers));
            }
        };
        if first.len().max(more.len()) + data.len() > limit.saturating_add(HEAD_BYTES) {
            return Err(Fault::internal()
                .message("the service's answer is larger than the edge takes: ask for less")
                .because(format!("the answer has more than {limit} bytes")));
        }
        if first.is_empty() {
            first = data;
            continue;
        }
        if more.is_empty() {
            // Its head says how long it will be.
            let length = frame::read_head(&first).map_or(0, |(_, length)| length);
            more.reserve(HEAD_BYTES.saturating_add(length).min(RESERVE_BYTES_MAX));
            more.extend_from_slice(&first);
        }
        more.extend_from_slice(&data);
    }
    Err(broken("the answer ended without a status"))
}

/// The message of a frame that was read whole.
fn message(frame: &Bytes) -> Result<&[u8], Fault> {
    match frame::only(frame) {
        // Nobody asked for compression.
        Some((0, message)) => Ok(message),
        _ if frame.is_empty() => Err(frame::answer::no_message()),
        _ => Err(Fault::internal().because("the service answered a frame that cannot be read")),
    }
}
