//! What the edge answers: the headers, the one form of failures, and the statuses
//! that a call may end in.

use serde_json::{Map, Value, json};

use super::{Limits, operation::Facts};

/// A status that a call may end in.
pub(super) struct Failure {
    status: u16,
    /// The name of its component.
    name: &'static str,
    /// When it is answered.
    description: &'static str,
    /// The gRPC code, as the error has it.
    code: &'static str,
    /// A cause, as the error has it.
    reason: &'static str,
    message: &'static str,
    /// Which operations answer it.
    of: Of,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Every,
    /// Those that take a body.
    Bodies,
    /// Those that compare an entity tag.
    Tagged,
    /// Those that answer a part of a content.
    Downloads,
}

/// What the port itself answers to a head that it does not read.
const HEAD_TOO_LARGE: &str = "RequestHeaderFieldsTooLarge";
/// Headers of every answer.
pub(super) const ALWAYS: [&str; 4] =
    ["X-Request-Id", "Access-Control-Allow-Origin", "RateLimit", "RateLimit-Policy"];

/// Every status of a failure, and what it means here.
const FAILURES: [Failure; 17] = [
    Failure {
        status: 400,
        name: "BadRequest",
        description: "The request breaks a rule of the contract, or the state of things does not \
                      admit it: `violations` name each field, `preconditions` what stands in the \
                      way. The same call will not succeed later.",
        code: "INVALID_ARGUMENT",
        reason: "INVALID_FIELD",
        message: "a field breaks a rule of the contract",
        of: Of::Every,
    },
    Failure {
        status: 401,
        name: "Unauthorized",
        description: "The call wants a token and has none, or one that is malformed, expired or \
                      revoked.",
        code: "UNAUTHENTICATED",
        reason: "TOKEN_MISSING",
        message: "the method wants a token",
        of: Of::Every,
    },
    Failure {
        status: 403,
        name: "Forbidden",
        description: "The caller is known and may not do this.",
        code: "PERMISSION_DENIED",
        reason: "ACCESS_DENIED",
        message: "the access rule of the method does not admit you",
        of: Of::Every,
    },
    Failure {
        status: 404,
        name: "NotFound",
        description: "There is no such thing, or none that the caller may see.",
        code: "NOT_FOUND",
        reason: "ROUTE_NOT_FOUND",
        message: "there is no such thing",
        of: Of::Every,
    },
    Failure {
        status: 406,
        name: "NotAcceptable",
        description: "None of the media types that `Accept` admits can be written.",
        code: "INVALID_ARGUMENT",
        reason: "NOT_ACCEPTABLE",
        message: "none of the media types you accept can be written",
        of: Of::Every,
    },
    Failure {
        status: 409,
        name: "Conflict",
        description: "It exists already, or another writer was there first: read again, then \
                      decide.",
        code: "ABORTED",
        reason: "CONFLICT",
        message: "another writer was there first",
        of: Of::Every,
    },
    Failure {
        status: 412,
        name: "PreconditionFailed",
        description: "The thing is no longer what `If-Match` says: read it again.",
        code: "ABORTED",
        reason: "ETAG_MISMATCH",
        message: "the entity tag is not that of today",
        of: Of::Tagged,
    },
    Failure {
        status: 413,
        name: "ContentTooLarge",
        description: "The body is larger than what is read.",
        code: "RESOURCE_EXHAUSTED",
        reason: "MESSAGE_TOO_LARGE",
        message: "the body is too large",
        of: Of::Bodies,
    },
    Failure {
        status: 414,
        name: "UriTooLong",
        description: "Path and query have more bytes than are read.",
        code: "INVALID_ARGUMENT",
        reason: "HEADER_INVALID",
        message: "path and query are too long",
        of: Of::Every,
    },
    Failure {
        status: 415,
        name: "UnsupportedMediaType",
        description: "The body has a media type or a coding that is not read.",
        code: "INVALID_ARGUMENT",
        reason: "MEDIA_TYPE_UNSUPPORTED",
        message: "the body's media type is not read here",
        of: Of::Bodies,
    },
    Failure {
        status: 416,
        name: "RangeNotSatisfiable",
        description: "The content has no byte of the range: `Content-Range` says how many it has.",
        code: "OUT_OF_RANGE",
        reason: "HEADER_INVALID",
        message: "the content has none of the bytes asked for",
        of: Of::Downloads,
    },
    Failure {
        status: 429,
        name: "TooManyRequests",
        description: "The caller's share is used up for now, or the edge is full: come back after \
                      `Retry-After`.",
        code: "RESOURCE_EXHAUSTED",
        reason: "RATE_LIMITED",
        message: "your share of calls is used up for now",
        of: Of::Every,
    },
    Failure {
        status: 499,
        name: "ClientClosedRequest",
        description: "The call was cancelled.",
        code: "CANCELLED",
        reason: "CANCELLED",
        message: "the call was cancelled",
        of: Of::Every,
    },
    Failure {
        status: 500,
        name: "InternalServerError",
        description: "Something broke that should not; the log has it under the `request_id`.",
        code: "INTERNAL",
        reason: "INTERNAL",
        message: "something broke",
        of: Of::Every,
    },
    Failure {
        status: 501,
        name: "NotImplemented",
        description: "The service does not have the method.",
        code: "UNIMPLEMENTED",
        reason: "METHOD_UNKNOWN",
        message: "there is no such method",
        of: Of::Every,
    },
    Failure {
        status: 503,
        name: "ServiceUnavailable",
        description: "The service or something it stands on is away: try again.",
        code: "UNAVAILABLE",
        reason: "UNAVAILABLE",
        message: "the service is away",
        of: Of::Every,
    },
    Failure {
        status: 504,
        name: "GatewayTimeout",
        description: "The deadline ran out; whether the call had an effect is unknown, unless it \
                      is sent again with the same `Idempotency-Key`.",
        code: "DEADLINE_EXCEEDED",
        reason: "DEADLINE_EXCEEDED",
        message: "the deadline ran out",
        of: Of::Every,
    },
];

/// The failures of one operation, as references.
pub(super) fn failures(facts: &Facts<'_>, has_body: bool) -> impl Iterator<Item = (String, Value)> {
    let (has_tag, is_download) = (facts.takes_if_match(), facts.is_download());
    let answered = FAILURES.iter().filter(move |failure| match failure.of {
        Of::Every => true,
        Of::Bodies => has_body,
        Of::Tagged => has_tag,
        Of::Downloads => is_download,
    });
    let named = answered.map(|failure| (failure.status.to_string(), failure.name));
    named
        .chain([("431".to_owned(), HEAD_TOO_LARGE)])
        .map(|(status, name)| (status, json!({"$ref": format!("#/components/responses/{name}")})))
}

/// All failures, and what has no body, as components.
pub(super) fn responses() -> Value {
    let all = FAILURES.iter().map(|failure| {
        let mut headers = headers(&ALWAYS);
        match failure.status {
            401 => headers.extend(self::headers(&["WWW-Authenticate"])),
            409 | 429 | 503 => headers.extend(self::headers(&["Retry-After"])),
            415 => headers.extend(self::headers(&["Accept"])),
            416 => headers.extend(self::headers(&["Content-Range"])),
            _ => {}
        }
        let mut example = json!({
            "code": failure.status,
            "status": failure.code,
            "reason": failure.reason,
            "domain": "mercat.mesh.v1",
            "message": failure.message,
            "request_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        });
        if let (Value::Object(fields), 400) = (&mut example, failure.status) {
            let violation = json!([{"field": "quantity", "description": "must be at least 1"}]);
            fields.insert("violations".to_owned(), violation);
        }
        let problem = problem_example(failure.status, &example);
        let response = json!({
            "description": failure.description,
            "headers": headers,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/Error"},
                    "example": {"error": example},
                },
                "application/problem+json": {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "example": problem,
                },
            },
        });
        (failure.name.to_owned(), response)
    });
    Value::Object(all.chain(empty_responses()).collect())
}

/// The same failure in the words of RFC 9457.
fn problem_example(status: u16, failure: &Value) -> Value {
    let title = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Client Closed Request");
    let mut problem = failure.clone();
    let Value::Object(members) = &mut problem else { return problem };
    let detail = members.remove("message").unwrap_or_default();
    let code = members.remove("status").unwrap_or_default();
    members.remove("code");
    members.extend([
        ("type".to_owned(), "about:blank".into()),
        ("title".to_owned(), title.into()),
        ("status".to_owned(), status.into()),
        ("detail".to_owned(), detail),
        ("grpc_status".to_owned(), code),
    ]);
    problem
}

/// Answers without a body, or with any, as components.
fn empty_responses() -> Map<String, Value> {
    let told = [
        ("NotModified", "The client has it already: `If-None-Match` names its entity tag.", "ETag"),
        (
            "NoContent",
            "Done. The client asked for no more, by `Prefer: return=minimal`.",
            "Preference-Applied",
        ),
    ];
    let responses = told.into_iter().map(|(name, description, header)| {
        let mut headers = headers(&ALWAYS);
        headers.extend(self::headers(&[header]));
        (name.to_owned(), json!({"description": description, "headers": headers}))
    });
    let mut responses: Map<String, Value> = responses.collect();
    let too_large = "The line and the headers of the request have more bytes than the port reads; \
        nothing else is said, and an HTTP/1.1 connection is closed.";
    responses.insert(HEAD_TOO_LARGE.to_owned(), json!({"description": too_large}));
    let mut headers = headers(&ALWAYS);
    headers.extend(self::headers(&["Content-Range", "Accept-Ranges", "ETag"]));
    responses.insert(
        "PartialContent".to_owned(),
        json!({
            "description": "The part of the content that `Range` asks for.",
            "headers": headers,
            "content": {"*/*": {}},
        }),
    );
    responses
}

/// References to headers by their names.
pub(super) fn headers(names: &[&str]) -> Map<String, Value> {
    names.iter().map(|name| ((*name).to_owned(), reference(name))).collect()
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{name}")})
}

/// The headers of answers, as components.
pub(super) fn header_components() -> Value {
    let text = |description: &str, characters: u32, example: &str| {
        json!({
            "description": description,
            "schema": {"type": "string", "maxLength": characters},
            "example": example,
        })
    };
    json!({
        "X-Request-Id": text(
            "Names the request, in logs and traces too: the client's own name if it sent one.",
            128, "4bf92f3577b34da6a3ce929d0e0e4736",
        ),
        "Access-Control-Allow-Origin": text(
            "The origin whose pages may read the answer, if the request came from a page.",
            2048, "https://shop.example.com",
        ),
        "WWW-Authenticate": text("How to authenticate (RFC 6750).", 1024, "Bearer"),
        "Retry-After": {
            "description": "After how many seconds to come back.",
            "schema": {"type": "integer", "format": "int32", "minimum": 0, "maximum": 86_400},
            "example": 2,
        },
        "ETag": text(
            "The entity tag of what is answered: give it as `If-Match` to change just this.",
            1024, "\"5\"",
        ),
        "Link": text("The next page: `<…>; rel=\"next\"`.", 8192, "</v1/products?pageToken=eyJ>; rel=\"next\""),
        "RateLimit": text(
            "How the caller stands, if calls are counted for it: how many remain, and after how \
             many seconds all are there again (draft-ietf-httpapi-ratelimit-headers-10).",
            128, "\"read\";r=299;t=1",
        ),
        "RateLimit-Policy": text(
            "How many calls the caller may make in how many seconds, if they are counted.",
            128, "\"read\";q=300;w=3",
        ),
        "Location": text("Where what was made is found, if something finds it.", 8192, "/v1/products/01890a5d"),
        "Operation-Location": text("Where the outcome is asked for.", 8192, "/v1/operations/1"),
        "Preference-Applied": text("What of `Prefer` was heeded (RFC 7240).", 128, "return=minimal"),
        "Deprecation": text("That the method is deprecated (RFC 9745).", 32, "@0"),
        "Sunset": text("From when on the method will not answer (RFC 8594).", 32, "Wed, 30 Jun 2027 00:00:00 GMT"),
        "Accept-Ranges": text("`bytes`, if a part of it can be asked for.", 16, "bytes"),
        "Content-Range": text("Which bytes these are, and of how many.", 64, "bytes 0-1023/4096"),
        "Accept": text("The media types that are read.", 256, "application/json, application/x-protobuf"),
        "Idempotent-Replayed": {
            "description": "The answer was given before, to the first call with this key.",
            "schema": {"type": "string", "enum": ["true"]},
            "example": "true",
        },
    })
}

/// The forms of every failure; see `problem`.
pub(super) fn errors(limits: Limits) -> [(&'static str, Value); 2] {
    let http = json!({"type": "integer", "format": "int32", "minimum": 400, "maximum": 599,
        "description": "The HTTP status."});
    let grpc = json!({"type": "string", "description": "The gRPC code.", "enum": [
        "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
        "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
        "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
        "UNAUTHENTICATED",
    ]});
    let message = text(limits, "The cause, for people.");
    let mut failure = content(limits);
    failure.extend([
        ("code".to_owned(), http.clone()),
        ("status".to_owned(), grpc.clone()),
        ("message".to_owned(), message.clone()),
    ]);
    let mut problem = content(limits);
    problem.extend([
        (
            "type".to_owned(),
            json!({"type": "string", "format": "uri-reference", "maxLength": 64,
            "description": "`about:blank`: what tells problems apart is `domain` and `reason`."}),
        ),
        ("title".to_owned(), text(limits, "The phrase of the status.")),
        ("status".to_owned(), http),
        ("detail".to_owned(), message),
        ("grpc_status".to_owned(), grpc),
    ]);
    let error = json!({
        "type": "object",
        "description": "Why a call was refused or failed (AIP-193).",
        "required": ["error"],
        "properties": {"error": {
            "type": "object",
            "required": ["code", "status", "message", "request_id"],
            "properties": failure,
        }},
    });
    let problem = json!({
        "type": "object",
        "description": "The same in the words of RFC 9457, for clients that accept it.",
        "required": ["type", "title", "status", "detail", "grpc_status", "request_id"],
        "properties": problem,
    });
    [("Error", error), ("Problem", problem)]
}

/// What both forms say.
fn content(limits: Limits) -> Map<String, Value> {
    let list = |description: &str, members: &[(&str, &str)]| {
        let members: Map<String, Value> =
            members.iter().map(|(name, said)| ((*name).to_owned(), text(limits, said))).collect();
        json!({
            "type": "array",
            "description": description,
            "maxItems": limits.response_bytes / 2,
            "items": {"type": "object", "properties": members},
        })
    };
    let violations = [("field", "The field, by its path."), ("description", "What it must be.")];
    let preconditions =
        [("type", "Its kind."), ("subject", "What it is about."), ("description", "The fix.")];
    Map::from_iter([
        ("reason".to_owned(), text(limits, "The cause, for programs: `CART_NOT_FOUND`.")),
        ("domain".to_owned(), text(limits, "The package whose cause it is.")),
        ("violations".to_owned(), list("The fields that are wrong, and the fix.", &violations)),
        ("preconditions".to_owned(), list("What stands in the way.", &preconditions)),
        (
            "metadata".to_owned(),
            json!({"type": "object", "description": "More about the cause, by name.",
                "additionalProperties": text(limits, "A value.")}),
        ),
        (
            "retry_after_seconds".to_owned(),
            json!({"type": "integer", "format": "int64", "minimum": 0, "maximum": 315_576_000_000_i64,
                "description": "After how many seconds to come back."}),
        ),
        (
            "details".to_owned(),
            json!({
                "type": "array",
                "description": "All that was said, as messages of google.rpc and others by `@type`.",
                "maxItems": limits.response_bytes / 2,
                "items": {
                    "type": "object",
                    "required": ["@type"],
                    "properties": {"@type": text(limits, "The type's URL.")},
                },
            }),
        ),
        ("request_id".to_owned(), text(limits, "Names the request; logs and traces have it too.")),
    ])
}

fn text(limits: Limits, description: &str) -> Value {
    json!({"type": "string", "maxLength": limits.response_bytes, "description": description})
}
