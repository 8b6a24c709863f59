//! REST by `google.api.http`: JSON in, a gRPC call through the same stack that
//! every other call takes, JSON out.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use chassis::{Fault, listen::PeerAddr};
use contracts::mesh::v1::ErrorReason;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header,
    request::Parts,
};
use http_body_util::{BodyExt as _, Full, Limited};
use tonic::{Code, Status, body::Body};
use transcode::{
    Body as Content, Content as Kind, HeaderBinding, HttpBody, Match, PrintOptions, RequestError,
    RequestOptions, RouteError,
};

use crate::{
    config::Config,
    deadline, problem,
    serving::Serving,
    stream::{self, Framing},
};

/// The IETF draft's header for what our contracts call `request_id`.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
/// Query parameters of the edge's own.
const EDGE_PARAMETERS: [&str; 1] = ["int64"];
/// Request headers that always go with the call.
const ALWAYS_FORWARDED: [&str; 3] = ["authorization", "traceparent", "tracestate"];
/// Metadata of an answer that the client is shown.
const SHOWN: [&str; 3] = ["idempotent-replayed", "ratelimit", "ratelimit-policy"];
/// The header of a gRPC frame: a flag and a length.
pub(crate) const FRAME_HEADER_BYTES: usize = 5;

/// Answers REST requests.
#[derive(Debug, Clone)]
pub(crate) struct Rest {
    body_bytes_max: usize,
    response_bytes_max: usize,
    json_depth_max: u32,
    forwarded: Arc<[HeaderName]>,
}

/// Which representation the client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Protobuf,
}

// === impl Rest ===

impl Rest {
    pub(crate) fn new(config: &Config) -> Self {
        let forwarded = ALWAYS_FORWARDED
            .iter()
            .copied()
            .chain(config.forwarded_headers.iter().map(String::as_str))
            .filter_map(|name| name.parse().ok())
            .collect();
        Self {
            body_bytes_max: config.body_bytes_max,
            response_bytes_max: config.response_bytes_max,
            json_depth_max: config.json_depth_max,
            forwarded,
        }
    }

    pub(crate) async fn answer(
        &self,
        serving: &Arc<Serving>,
        request: Request<Body>,
        request_id: &str,
    ) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let answered = self.try_answer(serving, &parts, body, request_id).await;
        let mut response = answered.unwrap_or_else(|refusal| refusal.response(request_id));
        if parts.method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        response
    }

    async fn try_answer(
        &self,
        serving: &Arc<Serving>,
        parts: &Parts,
        body: Body,
        request_id: &str,
    ) -> Result<Response<Body>, Refusal> {
        let found = match route(serving, parts) {
            Err(Refusal { allow: Some(allow), .. }) if parts.method == Method::OPTIONS => {
                return Ok(options(allow));
            }
            found => found?,
        };
        let method = found.method();
        if method.is_client_streaming() {
            let fault = Fault::unimplemented(ErrorReason::MethodUnknown).message(format!(
                "{} takes a stream of messages: call it by gRPC",
                method.full_name()
            ));
            return Err(fault.into());
        }
        let format = format(parts, method.output_content())?;
        let body = Limited::new(body, self.body_bytes_max).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                Fault::resource_exhausted(ErrorReason::MessageTooLarge)
                    .message(format!("the body is larger than {} bytes", self.body_bytes_max))
            } else {
                Fault::cancelled(ErrorReason::Cancelled)
                    .message("the body ended too early")
                    .because(error)
            }
        })?;
        let frame = self.frame(&found, parts, &body.to_bytes())?;
        let call = self.call(method.path(), parts, frame)?;
        let response = serving.stack.serve(call).await;
        if method.is_server_streaming() {
            let framing = Framing::of(parts.headers.get(header::ACCEPT));
            let options = print_options(parts);
            let binding = found.binding().id();
            return stream::respond(
                response,
                Arc::clone(&serving.schema),
                binding,
                options,
                framing,
                request_id,
            )
            .await;
        }
        self.unary(&found, parts, response, format).await
    }

    /// The request's message in a gRPC frame.
    fn frame(&self, found: &Match<'_>, parts: &Parts, body: &Bytes) -> Result<Bytes, Refusal> {
        let method = found.method();
        let mut headers = Vec::new();
        for (name, field) in [(IDEMPOTENCY_KEY, method.request_id()), ("if-match", method.etag())] {
            if let (Some(value), Some(field)) = (parts.headers.get(name), field) {
                let value = value.to_str().map_err(|_| {
                    Fault::invalid_argument(ErrorReason::HeaderInvalid)
                        .message(format!("the header {name} is not text"))
                        .violation(name, "must be visible ASCII")
                })?;
                headers.push(HeaderBinding { header: name, field, value: unquoted(value) });
            }
        }
        let mut options = RequestOptions::default();
        options.parse.max_depth = self.json_depth_max;
        options.parse.max_bytes = self.body_bytes_max;
        options.edge_parameters = &EDGE_PARAMETERS;
        options.headers = &headers;
        options.allow_agreeing = true;
        options.derive_update_mask = parts.method == Method::PATCH;
        let content = content(parts, body, method.input_content())?;
        let mut frame = vec![0; FRAME_HEADER_BYTES];
        found
            .request(parts.uri.query(), content, &options, &mut frame)
            .map_err(|error| unreadable(&error))?;
        let length = u32::try_from(frame.len() - FRAME_HEADER_BYTES).unwrap_or(u32::MAX);
        frame[1..FRAME_HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
        Ok(frame.into())
    }

    /// The gRPC request.
    fn call(&self, path: &str, parts: &Parts, frame: Bytes) -> Result<Request<Body>, Refusal> {
        let mut call = Request::new(Body::new(Full::new(frame)));
        *call.method_mut() = Method::POST;
        *call.version_mut() = http::Version::HTTP_2;
        *call.uri_mut() = path.parse().map_err(|error| Fault::internal().because(error))?;
        if let Some(address) = parts.extensions.get::<PeerAddr>() {
            call.extensions_mut().insert(*address);
        }
        let headers = call.headers_mut();
        headers.insert(header::CONTENT_TYPE, GRPC);
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        for name in self.forwarded.iter() {
            for value in parts.headers.get_all(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        deadline::carry(&parts.headers, headers)?;
        Ok(call)
    }

    async fn unary(
        &self,
        found: &Match<'_>,
        parts: &Parts,
        response: Response<Body>,
        format: Format,
    ) -> Result<Response<Body>, Refusal> {
        let (head, body) = response.into_parts();
        failed(&head.headers)?;
        let limit = self.response_bytes_max.saturating_add(FRAME_HEADER_BYTES);
        let collected = Limited::new(body, limit).collect().await.map_err(broken)?;
        if let Some(trailers) = collected.trailers() {
            failed(trailers)?;
        }
        let frame = collected.to_bytes();
        let message = message(&frame)?;
        let mut answer = Response::new(Body::empty());
        for name in SHOWN {
            if let Some(value) = head.headers.get(name) {
                answer.headers_mut().insert(HeaderName::from_static(name), value.clone());
            }
        }
        let (content_type, body) = match (found.method().output_content(), format) {
            (Kind::HttpBody, _) => {
                let body = HttpBody::decode(message).ok_or_else(|| {
                    Fault::internal()
                        .because("the service answered an HttpBody that cannot be read")
                })?;
                let kind = HeaderValue::from_str(body.content_type)
                    .unwrap_or(HeaderValue::from_static("application/octet-stream"));
                (kind, Bytes::copy_from_slice(body.data))
            }
            (_, Format::Protobuf) => (
                HeaderValue::from_static("application/x-protobuf"),
                frame.slice(FRAME_HEADER_BYTES..),
            ),
            (_, Format::Json) => {
                let mut out = Vec::with_capacity(message.len() * 2 + 64);
                found
                    .response(message, &print_options(parts), &mut out)
                    .map_err(|error| Fault::internal().because(error.to_string()))?;
                (JSON, Bytes::from(out))
            }
        };
        answer.headers_mut().insert(header::CONTENT_TYPE, content_type);
        *answer.body_mut() = Body::new(Full::new(body));
        Ok(answer)
    }
}

// === Refusal ===

/// A fault on its way to the client, with the headers that go with it.
pub(crate) struct Refusal {
    fault: Box<Fault>,
    allow: Option<HeaderValue>,
}

impl Refusal {
    fn method(method: &Method, path: &str, allow: &[String]) -> Self {
        let list = allow.join(", ");
        let fault = Fault::unimplemented(ErrorReason::HttpMethodNotAllowed)
            .message(format!("{path} does not take {method}: it takes {list}"));
        Self { fault: Box::new(fault), allow: HeaderValue::from_str(&list).ok() }
    }

    pub(crate) fn response(self, request_id: &str) -> Response<Body> {
        let mut response = problem::response(&self.fault, request_id);
        if let Some(allow) = self.allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        response
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self { fault: Box::new(fault), allow: None }
    }
}

/// What a path takes (RFC 9110, section 9.3.7).
fn options(allow: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

// === reading the request ===

fn route<'a>(serving: &'a Serving, parts: &'a Parts) -> Result<Match<'a>, Refusal> {
    let path = parts.uri.path();
    match serving.schema.route(parts.method.as_str(), path) {
        Ok(found) => Ok(found),
        Err(RouteError::MethodNotAllowed { allow }) => {
            Err(Refusal::method(&parts.method, path, &allow))
        }
        Err(RouteError::NotFound) => Err(Fault::not_found(ErrorReason::RouteNotFound)
            .message(format!("nothing answers to {path}: /openapi.json lists what does"))
            .into()),
        Err(other) => Err(Fault::invalid_argument(ErrorReason::HeaderInvalid)
            .message(other.to_string())
            .violation("path", other.to_string())
            .into()),
    }
}

/// What the body is, by its content type.
fn content<'b>(parts: &'b Parts, body: &'b Bytes, kind: Kind) -> Result<Content<'b>, Refusal> {
    if body.is_empty() {
        return Ok(Content::None);
    }
    let header = match parts.headers.get(header::CONTENT_TYPE) {
        None => "application/json",
        Some(value) => value.to_str().unwrap_or("?"),
    };
    let media_type = header.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        _ if kind == Kind::HttpBody => Ok(Content::Raw { content_type: header, data: body }),
        "application/json" => Ok(Content::Json(body)),
        json if json.starts_with("application/") && json.ends_with("+json") => {
            Ok(Content::Json(body))
        }
        "application/x-protobuf" | "application/protobuf" => Ok(Content::Wire(body)),
        other => Err(Fault::invalid_argument(ErrorReason::MediaTypeUnsupported)
            .message(format!("the body's media type {other} is not read here"))
            .violation("content-type", "must be application/json or application/x-protobuf")
            .into()),
    }
}

/// What the client takes.
fn format(parts: &Parts, kind: Kind) -> Result<Format, Refusal> {
    if kind == Kind::HttpBody {
        return Ok(Format::Json);
    }
    let Some(accept) = parts.headers.get(header::ACCEPT) else { return Ok(Format::Json) };
    let accept = accept.to_str().unwrap_or_default().to_ascii_lowercase();
    for range in accept.split(',') {
        let mut parameters = range.split(';').map(str::trim);
        let media_type = parameters.next().unwrap_or_default();
        if parameters.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000")) {
            continue;
        }
        match media_type {
            "application/x-protobuf" | "application/protobuf" => return Ok(Format::Protobuf),
            ""
            | "*/*"
            | "application/*"
            | "application/json"
            | "application/x-ndjson"
            | "text/event-stream" => {
                return Ok(Format::Json);
            }
            json if json.ends_with("+json") => return Ok(Format::Json),
            _ => {}
        }
    }
    Err(Fault::invalid_argument(ErrorReason::NotAcceptable)
        .message("none of the media types you accept can be written")
        .violation("accept", "must admit application/json or application/x-protobuf")
        .into())
}

fn print_options(parts: &Parts) -> PrintOptions {
    let mut options = PrintOptions::default();
    options.int64_as_number = parts
        .uri
        .query()
        .is_some_and(|query| query.split('&').any(|parameter| parameter == "int64=number"));
    options.keep_unknown_any = true;
    options
}

/// An entity tag without its quotes and weakness (RFC 9110, section 8.8.3).
fn unquoted(value: &str) -> &str {
    let value = value.trim();
    let value = value.strip_prefix("W/").unwrap_or(value);
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

fn unreadable(error: &RequestError) -> Refusal {
    // It says the place of what is wrong itself.
    let text = error.to_string();
    let field = error.field().filter(|field| !field.is_empty()).unwrap_or("body");
    Fault::invalid_argument(ErrorReason::InvalidField)
        .message(text.clone())
        .violation(field, text)
        .into()
}

// === reading the response ===

/// The failure that headers or trailers state, if they state one.
pub(crate) fn failed(headers: &HeaderMap) -> Result<(), Fault> {
    match Status::from_header_map(headers) {
        Some(status) if status.code() != Code::Ok => Err(Fault::from_status(&status)),
        _ => Ok(()),
    }
}

pub(crate) fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Fault {
    Fault::unavailable(ErrorReason::Unavailable)
        .message("the service's answer ended too early")
        .because(error)
}

/// The message of a frame that was read whole.
fn message(frame: &Bytes) -> Result<&[u8], Fault> {
    let (header, message) = frame
        .split_at_checked(FRAME_HEADER_BYTES)
        .ok_or_else(|| Fault::internal().because("the service answered without a message"))?;
    let length = header
        .get(1..)
        .and_then(|length| <[u8; 4]>::try_from(length).ok())
        .map_or(0, u32::from_be_bytes);
    if header.first() != Some(&0) || usize::try_from(length).ok() != Some(message.len()) {
        return Err(Fault::internal().because("the service answered a frame that cannot be read"));
    }
    Ok(message)
}

/// Takes the next whole message off the front of what has arrived.
pub(crate) fn next_message(arrived: &mut BytesMut) -> Option<Bytes> {
    let length =
        arrived.get(1..FRAME_HEADER_BYTES).and_then(|length| <[u8; 4]>::try_from(length).ok())?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    if arrived.len() < FRAME_HEADER_BYTES + length {
        return None;
    }
    let mut frame = arrived.split_to(FRAME_HEADER_BYTES + length).freeze();
    Some(frame.split_off(FRAME_HEADER_BYTES))
}

/// The answer to a stream, ready to be filled.
pub(crate) fn streaming(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
