//! Errors of Connect, and the ends of its streams: JSON, made from the trailers
//! that gRPC ends with.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use bytes::Bytes;
use chassis::Fault;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body_util::Full;
use prost_reflect::prost::Message as _;
use tonic::{Code, Status, body::Body};
use tonic_types::pb;
use transcode::{PrintOptions, Schema};

use super::make_connect;
use crate::{
    frame::{self, answer},
    problem,
};

/// The flag of the frame that ends a stream.
const END_STREAM: u8 = 0x02;

/// The answer to a unary call that failed.
pub(super) fn response(
    schema: &Schema,
    mut headers: HeaderMap,
    trailers: &HeaderMap,
) -> Response<Body> {
    let status = status(trailers);
    let mut body = Vec::with_capacity(128);
    write_error(schema, &status, &mut body);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut response = Response::new(Body::new(Full::new(body.into())));
    *response.headers_mut() = headers;
    *response.status_mut() = problem::status_of(status.code());
    response
}

/// The frame that ends a stream: how it went, and its trailers.
pub(crate) fn end_of_stream(schema: &Schema, trailers: &HeaderMap) -> Bytes {
    let mut out = Vec::with_capacity(128);
    let written = frame::append(&mut out, END_STREAM, |out| {
        out.push(b'{');
        if !answer::is_ok(trailers) {
            out.extend_from_slice(b"\"error\":");
            write_error(schema, &status(trailers), out);
        }
        let mut shown = trailers.clone();
        make_connect(&mut shown);
        if !shown.is_empty() {
            if out.last() == Some(&b'}') {
                out.push(b',');
            }
            write_metadata(&shown, out);
        }
        out.push(b'}');
        Ok::<_, Fault>(())
    });
    debug_assert!(written.is_ok(), "headers are never 4 GiB");
    out.into()
}

/// What trailers say. Without a code nobody knows how the call went.
fn status(trailers: &HeaderMap) -> Status {
    Status::from_header_map(trailers)
        .unwrap_or_else(|| Status::unknown("the service did not say how the call went"))
}

/// `{"code": "not_found", "message": "…", "details": […]}`.
fn write_error(schema: &Schema, status: &Status, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"code\":\"");
    out.extend_from_slice(name(status.code()).as_bytes());
    out.push(b'"');
    if !status.message().is_empty() {
        out.extend_from_slice(b",\"message\":");
        write_text(status.message(), out);
    }
    let details = pb::Status::decode(status.details()).unwrap_or_default().details;
    for (at, detail) in details.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b",\"details\":[" } else { b"," });
        let name = detail.type_url.rsplit('/').next().unwrap_or_default();
        out.extend_from_slice(b"{\"type\":");
        write_text(name, out);
        out.extend_from_slice(b",\"value\":\"");
        out.extend_from_slice(STANDARD_NO_PAD.encode(&detail.value).as_bytes());
        out.push(b'"');
        // For people; clients do not depend on it, and neither does the answer.
        if let Some(message) = schema.message(name) {
            let before = out.len();
            out.extend_from_slice(b",\"debug\":");
            let options = PrintOptions::default();
            if schema.wire_to_json(message, &detail.value, out, &options).is_err() {
                out.truncate(before);
            }
        }
        out.push(b'}');
    }
    if !details.is_empty() {
        out.push(b']');
    }
    out.push(b'}');
}

/// `"metadata": {"name": ["value", …], …}`. Binary values are base64 already.
fn write_metadata(metadata: &HeaderMap, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"metadata\":{");
    for (at, name) in metadata.keys().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_text(HeaderName::as_str(name), out);
        out.extend_from_slice(b":[");
        for (at, value) in metadata.get_all(name).iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_text(&String::from_utf8_lossy(value.as_bytes()), out);
        }
        out.push(b']');
    }
    out.push(b'}');
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    let written = serde_json::to_writer(&mut *out, text);
    debug_assert!(written.is_ok(), "text is always JSON");
}

fn name(code: Code) -> &'static str {
    match code {
        // An error is never that.
        Code::Ok | Code::Unknown => "unknown",
        Code::Cancelled => "canceled",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}
