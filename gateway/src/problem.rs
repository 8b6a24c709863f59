//! The one JSON form of every failure, whoever it comes from (AIP-193).
//!
//! ```json
//! {"error": {"code": 409, "status": "ABORTED", "reason": "ETAG_MISMATCH",
//!   "domain": "mercat.storefront.v1", "message": "…", "request_id": "…",
//!   "violations": [{"field": "etag", "description": "…"}]}}
//! ```

use std::time::Duration;

use bytes::Bytes;
use chassis::Fault;
use contracts::mesh::v1::ErrorReason;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;
use tonic::{Code, body::Body};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

#[derive(Serialize)]
struct Envelope<'f> {
    error: Problem<'f>,
}

#[derive(Serialize)]
struct Problem<'f> {
    code: u16,
    status: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'f str,
    #[serde(skip_serializing_if = "str::is_empty")]
    domain: &'f str,
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    violations: Vec<FieldViolation<'f>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    preconditions: Vec<Precondition<'f>>,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    metadata: &'f std::collections::BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u64>,
    request_id: &'f str,
}

#[derive(Serialize)]
struct FieldViolation<'f> {
    field: &'f str,
    description: &'f str,
}

#[derive(Serialize)]
struct Precondition<'f> {
    #[serde(rename = "type")]
    kind: &'f str,
    subject: &'f str,
    description: &'f str,
}

/// The response that tells a client of a fault.
pub(crate) fn response(fault: &Fault, request_id: &str) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from(json(fault, request_id)))));
    *response.status_mut() = status(fault);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    if let Some(delay) = fault.retry_delay() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(delay)));
    }
    if fault.code() == Code::Unauthenticated {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// The body of that response.
pub(crate) fn json(fault: &Fault, request_id: &str) -> Vec<u8> {
    let problem = Problem {
        code: status(fault).as_u16(),
        status: name(fault.code()),
        reason: fault.reason(),
        domain: fault.domain(),
        message: fault.to_string(),
        violations: fault
            .violations()
            .iter()
            .map(|found| FieldViolation { field: &found.field, description: &found.description })
            .collect(),
        preconditions: fault
            .preconditions()
            .iter()
            .map(|found| Precondition {
                kind: &found.kind,
                subject: &found.subject,
                description: &found.description,
            })
            .collect(),
        metadata: fault.metadata_map(),
        retry_after_seconds: fault.retry_delay().map(whole_seconds),
        request_id,
    };
    serde_json::to_vec(&Envelope { error: problem }).unwrap_or_default()
}

/// Rounded up, so that nobody comes too early.
fn whole_seconds(delay: Duration) -> u64 {
    delay.as_secs() + u64::from(delay.subsec_nanos() > 0)
}

/// The HTTP status of a fault: what `google.rpc.Code` documents, and where the
/// edge itself refused, what HTTP has a better word for.
pub(crate) fn status(fault: &Fault) -> StatusCode {
    let edge = [
        (ErrorReason::MessageTooLarge, StatusCode::PAYLOAD_TOO_LARGE),
        (ErrorReason::HttpMethodNotAllowed, StatusCode::METHOD_NOT_ALLOWED),
        (ErrorReason::MediaTypeUnsupported, StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (ErrorReason::NotAcceptable, StatusCode::NOT_ACCEPTABLE),
    ];
    if let Some((_, status)) = edge.iter().find(|(reason, _)| fault.is(*reason)) {
        return *status;
    }
    match fault.code() {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
