//! The Connect protocol (connectrpc.com/docs/protocol): calls that any HTTP
//! client can make, by POST, by GET where nothing is changed, and as streams.
//!
//! - `head`: what a request says of itself.
//! - `unary`: one message each way, without frames.
//! - `get`: a message in the query.
//! - `error`: errors and ends of streams, in JSON.
//!
//! Messages that are wire bytes pass as they are. JSON is transcoded, and
//! compressed messages are decompressed here: the service gets wire bytes.

mod error;
mod get;
mod head;
mod unary;

use std::sync::Arc;

use chassis::{Fault, serve::timeout};
use contracts::mesh::v1::ErrorReason;
use http::{
    HeaderMap, HeaderValue, Method as Verb, Request, Response, StatusCode, Version, header,
};
use http_body_util::Full;
use tonic::{Status, body::Body};
use transcode::{Idempotency, Method};

pub(crate) use error::end_of_stream;

use self::head::{Head, Kind};
use crate::{
    config::Config,
    deadline,
    frame::{
        answer::{self, Answer},
        recode::{Codec, Reader, Writer},
        reply::{self, Ending, Messages},
    },
    grpc::{Called, Caller, GRPC, Input, media_type},
    metadata,
    serving::Serving,
};

/// The protocol's version, which is the only one.
const PROTOCOL_VERSION: &str = "connect-protocol-version";
/// What a method takes that has one message each way.
const UNARY_TYPES: HeaderValue = HeaderValue::from_static("application/proto, application/json");
/// What the others take.
const STREAM_TYPES: HeaderValue =
    HeaderValue::from_static("application/connect+proto, application/connect+json");
/// The types that a resource takes in a POST (W3C, Linked Data Platform, section 7.1).
const ACCEPT_POST: &str = "accept-post";

/// Answers Connect.
#[derive(Debug, Clone)]
pub(crate) struct Connect {
    caller: Caller,
}

// === telling Connect from REST ===

/// Whether a request speaks Connect: by its media type, by the version that it
/// says, or by the version in the query of a GET.
///
/// JSON alone does not tell: `POST /pkg.Service/Method` is REST too, and then its
/// errors have another form.
pub(crate) fn is_spoken<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    match *request.method() {
        Verb::GET => request.uri().query().is_some_and(get::is_connect),
        Verb::HEAD | Verb::OPTIONS => false,
        _ => {
            headers.contains_key(PROTOCOL_VERSION)
                || headers.get(header::CONTENT_TYPE).is_some_and(head::is_connect_type)
        }
    }
}

// === impl Connect ===

impl Connect {
    pub(crate) fn new(config: &Config) -> Self {
        Self { caller: Caller::new(config) }
    }

    pub(crate) async fn answer(
        &self,
        serving: &Arc<Serving>,
        request: Request<Body>,
    ) -> Response<Body> {
        let Some(method) = serving.schema.method(request.uri().path()) else {
            return unknown(serving, request.uri().path());
        };
        let is_unary = is_unary(method);
        let is_get = *request.method() == Verb::GET;
        let may_get = is_unary && method.idempotency() == Idempotency::NoSideEffects;
        if (is_get && !may_get) || (!is_get && *request.method() != Verb::POST) {
            let allow = if may_get { "GET, POST" } else { "POST" };
            return not_allowed(request.method(), allow);
        }
        if is_get {
            return self.unary(serving, method, request, Kind::Get).await;
        }
        match Kind::of(request.headers()) {
            Some(kind @ Kind::Unary(_)) if is_unary => {
                self.unary(serving, method, request, kind).await
            }
            Some(Kind::Stream(codec)) if !is_unary => {
                self.stream(serving, method, request, codec).await
            }
            _ => unsupported(media_type(request.headers()), is_unary),
        }
    }

    async fn stream(
        &self,
        serving: &Arc<Serving>,
        method: &Method,
        mut request: Request<Body>,
        codec: Codec,
    ) -> Response<Body> {
        let head = match Head::of_stream(request.headers()) {
            Ok(head) => head,
            Err(fault) => {
                return self.ended(serving, codec, HeaderMap::new(), &answer::trailers(fault));
            }
        };
        *request.version_mut() = Version::HTTP_2;
        make_grpc(request.headers_mut(), &head);
        let reader = Reader {
            schema: Arc::clone(&serving.schema),
            message: method.input(),
            codec,
            coding: head.sent,
            bounds: self.caller.bounds,
        };
        let input = match reader.is_plain() {
            true => Input::Plain { is_coded: false },
            false => Input::Recoded(reader),
        };
        let Called { response, mishap } = self.caller.call(serving, method, request, input).await;
        let (parts, body) = response.into_parts();
        let mut headers = parts.headers;
        if headers.contains_key(Status::GRPC_STATUS) {
            metadata::withhold(&mut headers);
            return self.ended(serving, codec, HeaderMap::new(), &headers);
        }
        let writer = Writer {
            schema: Arc::clone(&serving.schema),
            message: method.output(),
            codec,
            coding: head.taken,
        };
        let is_coded = answer::is_coded(&headers);
        let messages = if writer.is_plain() && !is_coded {
            Messages::Plain(body)
        } else {
            Messages::Recoded(
                Answer::new(&headers, body, self.caller.bounds.answer_bytes_max),
                writer,
            )
        };
        make_connect(&mut headers);
        if let Some(coding) = head.taken {
            headers.insert(head::STREAM_ENCODING, coding.value());
        }
        headers.insert(header::CONTENT_TYPE, stream_type(codec));
        let ending = Ending::Connect(Arc::clone(&serving.schema));
        let mut response = Response::new(reply::body(messages, ending, mishap));
        *response.headers_mut() = headers;
        response
    }

    /// A stream that ends before its first message.
    fn ended(
        &self,
        serving: &Serving,
        codec: Codec,
        mut headers: HeaderMap,
        trailers: &HeaderMap,
    ) -> Response<Body> {
        headers.insert(header::CONTENT_TYPE, stream_type(codec));
        headers.insert(head::STREAM_ACCEPT_ENCODING, head::ACCEPTED);
        let end = end_of_stream(&serving.schema, trailers);
        let mut response = Response::new(Body::new(Full::new(end)));
        *response.headers_mut() = headers;
        response
    }
}

fn stream_type(codec: Codec) -> HeaderValue {
    HeaderValue::from_static(match codec {
        Codec::Proto => "application/connect+proto",
        Codec::Json => "application/connect+json",
    })
}

// === headers ===

/// Makes the headers of a Connect request those of a gRPC request.
fn make_grpc(headers: &mut HeaderMap, head: &Head) {
    metadata::remove_all(headers, |name| {
        name.starts_with("connect-")
            || name.starts_with("grpc-")
            || name.starts_with("content-")
            || matches!(name, "accept" | "accept-encoding" | "te")
            || name == deadline::REQUEST_TIMEOUT.as_str()
    });
    headers.insert(header::CONTENT_TYPE, GRPC);
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    if let Some(asked) = head.timeout {
        timeout::write(headers, asked);
    }
}

/// Makes the headers of a gRPC answer those of a Connect answer, whose content
/// the caller describes.
fn make_connect(headers: &mut HeaderMap) {
    metadata::withhold(headers);
    metadata::remove_all(headers, |name| name.starts_with("grpc-") || name.starts_with("content-"));
}

// === refusing what is no call ===

/// No method has this path. Clients read the code, or guess it from 404.
fn unknown(serving: &Serving, path: &str) -> Response<Body> {
    let fault = Fault::unimplemented(ErrorReason::MethodUnknown)
        .message(format!("there is no method {path}: ask reflection for those there are"));
    let mut response = error::response(&serving.schema, HeaderMap::new(), &answer::trailers(fault));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

fn not_allowed(verb: &Verb, allow: &'static str) -> Response<Body> {
    let why = format!("the method is not called by {verb}, but by {allow}");
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, why);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// The answer to a media type of no protocol at the path of a method: as with every
/// server of Connect, no JSON, which its clients would read as an error of the call.
pub(crate) fn no_protocol(method: &Method, headers: &HeaderMap) -> Response<Body> {
    unsupported(media_type(headers), is_unary(method))
}

fn is_unary(method: &Method) -> bool {
    !method.is_client_streaming() && !method.is_server_streaming()
}

fn unsupported(kind: &str, is_unary: bool) -> Response<Body> {
    let known = if is_unary { UNARY_TYPES } else { STREAM_TYPES };
    let why = format!("the content type {kind:?} does not fit the method: it must be one of ");
    let why = why + known.to_str().unwrap_or_default();
    let mut response = plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
    response.headers_mut().insert(ACCEPT_POST, known);
    response
}

/// A refusal in words for people. Clients take its code from the HTTP status: JSON
/// would be read as an error of Connect.
fn plain(status: StatusCode, why: String) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(why.into())));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
