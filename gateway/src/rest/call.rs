//! The gRPC call that a REST request stands for.

use bytes::Bytes;
use chassis::{Error, Fault, listen::PeerAddr};
use contracts::mesh::v1::ErrorReason;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header};
use http_body_util::Full;
use tonic::body::Body;
use transcode::{Body as Content, HeaderBinding, JsonErrorKind, RequestError, RequestOptions};

use super::{
    Asked, accept,
    etag::{self, Expected},
    profile,
    refusal::Refusal,
};
use crate::{
    config::Config,
    deadline, frame,
    streams::{LAST_EVENT_ID, Resume},
};

/// The IETF draft's header for what contracts call `request_id` (AIP-155).
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// `header::IF_MATCH`, as text.
const IF_MATCH: &str = "if-match";
/// The longest key, in bytes.
pub(crate) const KEY_BYTES_MAX: usize = 255;
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
/// Request headers that always go with the call.
const ALWAYS_FORWARDED: [&str; 3] = ["authorization", "traceparent", "tracestate"];
/// Metadata of an answer that is always shown.
const ALWAYS_SHOWN: [&str; 3] = ["idempotent-replayed", "ratelimit", "ratelimit-policy"];
/// The same, where callers are told of times.
const TIMING_SHOWN: [&str; 4] =
    ["idempotent-replayed", "ratelimit", "ratelimit-policy", "server-timing"];
/// Room for headers of a call without growing.
const CALL_HEADERS: usize = 12;

/// Which headers become metadata, and which metadata becomes headers.
#[derive(Debug, Clone)]
pub(crate) struct Crossing {
    inward: Box<[HeaderName]>,
    outward: Box<[HeaderName]>,
    /// Of a header `Grpc-Metadata-Name`, what comes before the name; in lower case.
    prefix: Option<Box<str>>,
}

// === impl Crossing ===

impl Crossing {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let names = |setting: &str, always: &[&str], configured: &[String]| {
            let configured = configured.iter().map(String::as_str);
            let names = always.iter().copied().chain(configured);
            names.map(|name| crossing(setting, name)).collect::<Result<Box<[_]>, _>>()
        };
        let prefix = config.metadata_prefix.to_ascii_lowercase();
        if !prefix.is_empty() {
            HeaderName::try_from(&*prefix).map_err(|_| {
                Error::build(format!("gateway.metadata_prefix: `{prefix}` begins no header's name"))
            })?;
        }
        let shown = match config.server_timing.is_on() {
            true => &TIMING_SHOWN[..],
            false => &ALWAYS_SHOWN,
        };
        Ok(Self {
            inward: names("forwarded_headers", &ALWAYS_FORWARDED, &config.forwarded_headers)?,
            outward: names("shown_headers", shown, &config.shown_headers)?,
            prefix: (!prefix.is_empty()).then(|| prefix.into()),
        })
    }

    /// Copies what goes with the call.
    fn carry_in(&self, from: &HeaderMap, into: &mut HeaderMap) {
        for (name, value) in from {
            // Both are few: to compare them costs less than to look each of them up.
            if self.inward.contains(name) {
                into.append(name.clone(), value.clone());
            }
            if let Some(prefix) = &self.prefix
                && let Some(name) = name.as_str().strip_prefix(&**prefix)
                && !is_reserved(name)
                && let Ok(name) = HeaderName::try_from(name)
            {
                into.append(name, value.clone());
            }
        }
    }

    /// Copies what the client is shown of metadata, be it before or behind the message.
    pub(crate) fn carry_out(&self, from: &HeaderMap, into: &mut HeaderMap) {
        for (name, value) in from {
            if self.outward.contains(name) {
                into.append(name.clone(), value.clone());
            }
        }
    }

    /// The headers of a request that an answer to it may depend on.
    pub(crate) fn varying(&self) -> impl Iterator<Item = &HeaderName> {
        self.inward
            .iter()
            .filter(|name| **name == header::AUTHORIZATION || name.as_str().starts_with("accept-"))
    }
}

/// A header that may cross.
fn crossing(setting: &str, name: &str) -> Result<HeaderName, Error> {
    let wrong = |why| Error::build(format!("gateway.{setting}: `{name}` {why}"));
    let name = HeaderName::try_from(name).map_err(|_| wrong("is no header's name"))?;
    if is_reserved(name.as_str()) {
        return Err(wrong("is of the transport and never crosses"));
    }
    Ok(name)
}

/// Headers that mean something to gRPC, to the connection or to the edge.
fn is_reserved(name: &str) -> bool {
    const RESERVED: [&str; 13] = [
        "accept",
        "accept-encoding",
        "connection",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    ["grpc-", "content-", "x-mercat-"].iter().any(|prefix| name.starts_with(prefix))
        || RESERVED.contains(&name)
}

// === the message ===

/// The bounds of a request's message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) body_bytes_max: usize,
    pub(crate) json_depth_max: u32,
}

/// The request's message in a gRPC frame.
pub(crate) fn frame(asked: &Asked<'_>, body: &Bytes, bounds: Bounds) -> Result<Bytes, Refusal> {
    let Asked { serving, found, plan, parts, prefer, .. } = *asked;
    let method = found.method();
    let kind = plan.raw.unwrap_or(method.input_content());
    let headers = &parts.headers;
    let resume = Resume::of(&serving.schema, method);
    let is_write = matches!(parts.method, Method::PUT | Method::PATCH | Method::DELETE);
    let key = match method.request_id() {
        Some(field) => idempotency_key(headers)?.map(|key| (field, key)),
        None => None,
    };
    let expected = match parts.method {
        // A read is answered, and then it is seen what of.
        Method::GET | Method::HEAD => Expected::Nothing,
        _ => etag::expected(headers)?,
    };
    let mut bindings = Vec::new();
    if let Some((field, key)) = key {
        bindings.push(HeaderBinding { header: IDEMPOTENCY_KEY, field, value: key });
    }
    if let (Some(resume), Some(id)) = (&resume, headers.get(LAST_EVENT_ID)) {
        let value = id.to_str().map_err(|_| {
            Fault::invalid_argument(ErrorReason::HeaderInvalid)
                .message(format!("the header {LAST_EVENT_ID} is not text"))
                .violation(LAST_EVENT_ID, "must be visible ASCII")
        })?;
        bindings.push(HeaderBinding { header: LAST_EVENT_ID, field: &resume.request, value });
    }
    match (&expected, method.etag()) {
        (Expected::Nothing | Expected::Existence, _) => {}
        (Expected::Impossible, _) => return Err(Refusal::precondition()),
        (Expected::Field(tag), Some(field)) => {
            bindings.push(HeaderBinding { header: IF_MATCH, field, value: tag });
        }
        (Expected::Field(_), None) if is_write => {
            return Err(unheeded(&header::IF_MATCH, method.full_name()));
        }
        (Expected::Field(_), None) => {}
    }
    if is_write && headers.contains_key(header::IF_NONE_MATCH) {
        return Err(unheeded(&header::IF_NONE_MATCH, method.full_name()));
    }

    let mut options = RequestOptions::default();
    options.parse.max_depth = bounds.json_depth_max;
    options.parse.max_bytes = bounds.body_bytes_max;
    options.parse.ignore_unknown_fields = prefer.lenient;
    options.edge_parameters = &profile::PARAMETERS;
    options.headers = &bindings;
    options.allow_agreeing = true;
    if parts.method == Method::PATCH {
        options.derive_update_mask = true;
        options.mask_covers_body = accept::is_merge_patch(headers);
    }
    let content = match (accept::content(headers, body, kind), plan.raw) {
        // Bytes are of any type.
        (Err(_), Some(_)) => Content::Raw { content_type: "", data: body },
        (content, _) => content?,
    };
    let query = parts.uri.query();
    let room = frame::HEAD_BYTES + body.len() + query.map_or(0, str::len) + 64;
    let mut frame = Vec::with_capacity(room);
    frame::append(&mut frame, 0, |frame| {
        found.request(query, content, &options, frame).map_err(|error| unreadable(&error))
    })?;
    Ok(frame.into())
}

/// The key under which a call may be sent twice: a string of the draft, in quotes,
/// or as most clients send it, without.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Fault> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let malformed = |form: &str| {
        Fault::invalid_argument(ErrorReason::HeaderInvalid)
            .message(format!("the header {IDEMPOTENCY_KEY} {form}"))
            .violation(IDEMPOTENCY_KEY, form)
    };
    if values.any(|other| other != value) {
        return Err(malformed("must be sent once"));
    }
    let text = value.to_str().map_err(|_| malformed("must be visible ASCII"))?.trim();
    let key = text.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(text);
    match key.len() {
        0 => Err(malformed("must not be empty")),
        1..=KEY_BYTES_MAX => Ok(Some(key)),
        _ => Err(malformed(&format!("must have at most {KEY_BYTES_MAX} bytes"))),
    }
}

/// A condition that would be broken without anyone noticing.
#[cold]
fn unheeded(name: &HeaderName, method: &str) -> Refusal {
    Fault::invalid_argument(ErrorReason::HeaderInvalid)
        .message(format!(
            "{method} cannot heed {name}: its request has no etag; leave the header out"
        ))
        .violation(name.as_str(), "must not be sent to this method")
        .into()
}

#[cold]
fn unreadable(error: &RequestError) -> Refusal {
    // It says the place of what is wrong itself.
    let text = error.to_string();
    let field = error.field().filter(|field| !field.is_empty()).unwrap_or("body");
    let reason = match error {
        RequestError::Json(error) if error.kind() == JsonErrorKind::Size => {
            return Fault::resource_exhausted(ErrorReason::MessageTooLarge).message(text).into();
        }
        RequestError::UnsupportedBody { .. } => ErrorReason::MediaTypeUnsupported,
        _ => ErrorReason::InvalidField,
    };
    Fault::invalid_argument(reason).message(text.clone()).violation(field, text).into()
}

// === the call ===

/// The gRPC request.
pub(crate) fn request(
    asked: &Asked<'_>,
    crossing: &Crossing,
    body: Body,
) -> Result<Request<Body>, Fault> {
    let Asked { plan, parts, .. } = *asked;
    let mut call = Request::new(body);
    *call.method_mut() = Method::POST;
    *call.version_mut() = Version::HTTP_2;
    *call.uri_mut() = plan.uri.clone();
    if let Some(address) = parts.extensions.get::<PeerAddr>() {
        call.extensions_mut().insert(*address);
    }
    let mut headers = HeaderMap::with_capacity(CALL_HEADERS);
    headers.insert(header::CONTENT_TYPE, GRPC);
    headers.insert(header::TE, TRAILERS);
    crossing.carry_in(&parts.headers, &mut headers);
    deadline::carry(&parts.headers, &mut headers)?;
    *call.headers_mut() = headers;
    Ok(call)
}

/// The body of a call with one message.
pub(crate) fn once(frame: Bytes) -> Body {
    Body::new(Full::new(frame))
}
