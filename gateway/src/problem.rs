//! The one form of every failure, whoever it comes from: the router, the decoder,
//! a limit, a breaker or a service (AIP-193).
//!
//! ```json
//! {"error": {"code": 409, "status": "ABORTED", "reason": "ETAG_MISMATCH",
//!   "domain": "mercat.storefront.v1", "message": "…", "request_id": "…",
//!   "violations": [{"field": "etag", "description": "…"}],
//!   "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", …}]}}
//! ```
//!
//! `details` is all that was said, in AIP-193's own form; a type that the contracts
//! do not hold stays `{"@type", "value"}` with its bytes in base64. What stands
//! beside it says the usual ones in a form that needs no search.
//!
//! A client that accepts `application/problem+json` gets a problem of RFC 9457
//! with the same members behind `type`, `title`, `status` and `detail`; there
//! `status` is HTTP's, and gRPC's is `grpc_status`. Its `type` is `about:blank`:
//! what tells problems apart is `domain` and `reason`. A client that takes
//! protobuf alone gets the `google.rpc.Status`.

use std::{borrow::Cow, collections::BTreeMap, sync::OnceLock, time::Duration};

use bytes::Bytes;
use chassis::Fault;
use contracts::mesh::v1::ErrorReason;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use prost::Message as _;
use prost_reflect::DescriptorPool;
use serde::Serialize;
use serde_json::value::RawValue;
use tonic::{Code, body::Body};
use tonic_types::pb;
use transcode::{PrintOptions, Schema};

use crate::rest::FailureFormat;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
/// What a caller without a token is asked for, and one whose token is refused
/// (RFC 6750, section 3).
const BEARER: HeaderValue = HeaderValue::from_static("Bearer");
const BEARER_INVALID: HeaderValue = HeaderValue::from_static("Bearer error=\"invalid_token\"");
/// A detail of this type is in every schema that knows any of the standard ones.
const ERROR_INFO: &str = "google.rpc.ErrorInfo";

/// How a failure is told.
#[derive(Debug)]
pub(crate) struct Telling<'t> {
    /// The name of the request.
    pub(crate) request_id: &'t str,
    /// Knows the types of details; without one, the standard ones are known.
    pub(crate) schema: Option<&'t Schema>,
    pub(crate) format: FailureFormat,
    /// What HTTP has a better word for than the fault's code says.
    pub(crate) status: Option<StatusCode>,
    /// Whether it is the token that is wrong, where a token is what is missing.
    pub(crate) token_was_sent: bool,
}

#[derive(Serialize)]
struct Envelope<'f> {
    error: Failure<'f>,
}

#[derive(Serialize)]
struct Problem<'f> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: &'f str,
    grpc_status: &'static str,
    #[serde(flatten)]
    content: Content<'f>,
}

#[derive(Serialize)]
struct Failure<'f> {
    code: u16,
    status: &'static str,
    message: &'f str,
    #[serde(flatten)]
    content: Content<'f>,
}

/// What both forms say.
#[derive(Serialize)]
struct Content<'f> {
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'f str,
    #[serde(skip_serializing_if = "str::is_empty")]
    domain: &'f str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    violations: Vec<FieldViolation<'f>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    preconditions: Vec<Precondition<'f>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'f BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Box<RawValue>>,
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

// === impl Telling ===

impl<'t> Telling<'t> {
    /// To a client that did not say how.
    pub(crate) fn new(request_id: &'t str) -> Self {
        Self {
            request_id,
            schema: None,
            format: FailureFormat::Json,
            status: None,
            token_was_sent: false,
        }
    }
}

/// The response that tells a client of a fault, in JSON.
pub(crate) fn response(fault: &Fault, request_id: &str) -> Response<Body> {
    tell(fault, &Telling::new(request_id))
}

/// The response that tells a client of a fault, in the form it takes.
pub(crate) fn tell(fault: &Fault, telling: &Telling<'_>) -> Response<Body> {
    fault.log();
    let mut response = Response::new(Body::new(Full::new(Bytes::from(body(fault, telling)))));
    *response.status_mut() = telling.status.unwrap_or_else(|| status(fault));
    let headers = response.headers_mut();
    let content_type = match telling.format {
        FailureFormat::Json => JSON,
        FailureFormat::Problem => PROBLEM,
        FailureFormat::Protobuf => PROTOBUF,
    };
    headers.insert(header::CONTENT_TYPE, content_type);
    if let Some(delay) = fault.retry_delay() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(delay)));
    }
    if fault.code() == Code::Unauthenticated {
        let challenge = if telling.token_was_sent { BEARER_INVALID } else { BEARER };
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// The body of that response.
pub(crate) fn body(fault: &Fault, telling: &Telling<'_>) -> Vec<u8> {
    let http = telling.status.unwrap_or_else(|| status(fault));
    let code = fault.code();
    let sent = sent(fault);
    if telling.format == FailureFormat::Protobuf {
        return match sent.is_empty() {
            true => fault.to_status().details().to_vec(),
            false => sent.into_owned(),
        };
    }
    let message = fault.to_string();
    let content = Content {
        reason: fault.reason(),
        domain: fault.domain(),
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
        details: details(&sent, telling.schema),
        request_id: telling.request_id,
    };
    let written = match telling.format {
        FailureFormat::Problem => serde_json::to_vec(&Problem {
            kind: "about:blank",
            title: title(http),
            status: http.as_u16(),
            detail: &message,
            grpc_status: name(code),
            content,
        }),
        _ => serde_json::to_vec(&Envelope {
            error: Failure { code: http.as_u16(), status: name(code), message: &message, content },
        }),
    };
    written.unwrap_or_default()
}

/// The phrase of a status; nginx's for the one that is nginx's.
fn title(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Client Closed Request")
}

// === details ===

/// The encoded `google.rpc.Status` of a fault; empty if it says no more than code
/// and message.
fn sent(fault: &Fault) -> Cow<'_, [u8]> {
    match (fault.details(), fault.reason()) {
        ([], "") => Cow::Borrowed(&[]),
        ([], _) => Cow::Owned(fault.to_status().details().to_vec()),
        (sent, _) => Cow::Borrowed(sent),
    }
}

/// The details of an encoded `google.rpc.Status` as a JSON array; `None` if it has none.
fn details(status: &[u8], schema: Option<&Schema>) -> Option<Box<RawValue>> {
    if status.is_empty() {
        return None;
    }
    let standard = standard();
    let schema = schema.or(standard)?;
    let mut json = Vec::new();
    match standard.filter(|_| schema.message(ERROR_INFO).is_none()) {
        None => print(schema, status, &mut json)?,
        // Contracts that never name the standard details may still send them.
        Some(standard) => {
            for detail in pb::Status::decode(status).ok()?.details {
                let kind = detail.type_url.rsplit('/').next().unwrap_or_default();
                let knows = schema.message(kind).map_or(standard, |_| schema);
                let one = pb::Status { details: vec![detail], ..pb::Status::default() };
                // Two arrays, one behind the other, are one with a comma between.
                if json.pop().is_some() {
                    json.push(b',');
                }
                let start = json.len();
                print(knows, &one.encode_to_vec(), &mut json)?;
                if start > 0 {
                    json.remove(start);
                }
            }
        }
    }
    if matches!(&*json, [] | b"[]") {
        return None;
    }
    RawValue::from_string(String::from_utf8(json).ok()?).ok()
}

fn print(schema: &Schema, status: &[u8], json: &mut Vec<u8>) -> Option<()> {
    schema.details_to_json(status, json, &PrintOptions::default()).ok()
}

/// Knows `google.rpc` alone.
fn standard() -> Option<&'static Schema> {
    static STANDARD: OnceLock<Option<Schema>> = OnceLock::new();
    let compile = || {
        let pool = DescriptorPool::decode(pb::FILE_DESCRIPTOR_SET).ok()?;
        Some(Schema::lenient(&pool).0)
    };
    STANDARD.get_or_init(compile).as_ref()
}

// === status ===

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
    status_of(fault.code())
}

/// The HTTP status that `google.rpc.Code` documents for a code.
pub(crate) fn status_of(code: Code) -> StatusCode {
    match code {
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

/// The name of a code, as `google.rpc.Code` spells it.
pub(crate) fn name(code: Code) -> &'static str {
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

#[cfg(test)]
mod tests {
    use prost_types::Any;
    use serde_json::{Value, json};
    use tonic::{Status, metadata::MetadataMap};

    use super::*;

    fn stale() -> Fault {
        Fault::aborted(ErrorReason::Conflict)
            .message("somebody was faster")
            .violation("etag", "read it again")
            .retry_after(Duration::from_millis(1_200))
    }

    fn told(fault: &Fault, telling: &Telling<'_>) -> Value {
        serde_json::from_slice(&body(fault, telling)).unwrap()
    }

    #[test]
    fn a_failure_is_told_in_one_form() {
        let told = told(&stale(), &Telling::new("r1"));
        let details = json!([
            {
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": "1.200s",
            },
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "CONFLICT",
                "domain": "mercat.mesh.v1",
            },
            {
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{"field": "etag", "description": "read it again"}],
            },
        ]);
        assert_eq!(
            told,
            json!({"error": {
                "code": 409,
                "status": "ABORTED",
                "message": "somebody was faster",
                "reason": "CONFLICT",
                "domain": "mercat.mesh.v1",
                "violations": [{"field": "etag", "description": "read it again"}],
                "retry_after_seconds": 2,
                "details": details,
                "request_id": "r1",
            }})
        );
    }

    #[test]
    fn a_problem_says_the_same_in_the_words_of_its_rfc() {
        let telling = Telling {
            format: FailureFormat::Problem,
            status: Some(StatusCode::PRECONDITION_FAILED),
            ..Telling::new("r1")
        };
        let response = tell(&stale(), &telling);
        assert_eq!(response.status(), 412);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["retry-after"], "2");
        let told = told(&stale(), &telling);
        for (member, value) in [
            ("type", json!("about:blank")),
            ("title", json!("Precondition Failed")),
            ("status", json!(412)),
            ("detail", json!("somebody was faster")),
            ("grpc_status", json!("ABORTED")),
            ("reason", json!("CONFLICT")),
            ("request_id", json!("r1")),
        ] {
            assert_eq!(told[member], value, "{member}");
        }
        assert_eq!(told["details"].as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn no_detail_is_lost_because_one_is_unknown() {
        let known = pb::ErrorInfo { reason: "WORN_OUT".to_owned(), ..pb::ErrorInfo::default() };
        let status = pb::Status {
            code: 9,
            message: "no".to_owned(),
            details: vec![
                Any { type_url: "type.googleapis.com/made.up.Type".to_owned(), value: vec![8, 1] },
                Any {
                    type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(),
                    value: known.encode_to_vec(),
                },
            ],
        };
        let status = Status::with_details_and_metadata(
            Code::FailedPrecondition,
            "no",
            status.encode_to_vec().into(),
            MetadataMap::new(),
        );
        let fault = Fault::from_status(&status);
        let expected = json!([
            {"@type": "type.googleapis.com/made.up.Type", "value": "CAE="},
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "WORN_OUT"},
        ]);
        let empty = Schema::lenient(&DescriptorPool::new()).0;
        for schema in [None, Some(&empty)] {
            let told = told(&fault, &Telling { schema, ..Telling::new("") });
            assert_eq!(told["error"]["details"], expected);
        }
        let protobuf = Telling { format: FailureFormat::Protobuf, ..Telling::new("") };
        assert_eq!(body(&fault, &protobuf), status.details());
    }

    #[test]
    fn a_service_that_gives_no_details_is_told_without() {
        #[expect(clippy::disallowed_methods, reason = "it is a service of other manners")]
        let fault = Fault::from_status(&Status::new(Code::NotFound, "nothing"));
        let expected = json!({"error": {
            "code": 404, "status": "NOT_FOUND", "message": "nothing", "request_id": "r",
        }});
        assert_eq!(told(&fault, &Telling::new("r")), expected);
        let protobuf = Telling { format: FailureFormat::Protobuf, ..Telling::new("r") };
        let status = pb::Status::decode(&*body(&fault, &protobuf)).unwrap();
        assert_eq!((status.code, &*status.message), (5, "nothing"));
    }

    #[test]
    fn a_caller_is_told_whether_its_token_is_missing_or_wrong() {
        let missing = Fault::unauthenticated(ErrorReason::TokenMissing);
        let challenge = |token_was_sent| {
            let telling = Telling { token_was_sent, ..Telling::new("") };
            tell(&missing, &telling).headers()["www-authenticate"].clone()
        };
        assert_eq!(challenge(false), "Bearer");
        assert_eq!(challenge(true), "Bearer error=\"invalid_token\"");
    }
}
