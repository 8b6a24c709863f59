//! gRPC: passed through, frames and trailers as they are, and the way by which
//! every protocol of frames makes its call.
//!
//! A compressed message that passes as it is stays compressed, and is bounded by
//! the length it has here: nobody unpacks it before its service does. That bound is
//! the service's, which knows what it takes. Ours read no coding and answer
//! UNIMPLEMENTED with what they take; grpc-go, grpc-java and tonic hold a message
//! to their limit once more while they unpack it, and answer RESOURCE_EXHAUSTED.
//! Envoy and nginx pass it on alike.

use std::{sync::Arc, time::Duration};

use chassis::Fault;
use contracts::mesh::v1::ErrorReason;
use http::{
    HeaderMap, HeaderValue, Method as Verb, Request, Response, StatusCode, Version, header,
};
use tonic::{Status, body::Body};
use transcode::Method;

use crate::{
    config::Config,
    frame::{
        Watch,
        answer::{self, Answer, GRPC_ENCODING},
        recode::{Bounds, Codec, Reader, Writer, recoded},
        reply::{self, Ending, Messages},
        request::{self, Mishap},
    },
    metadata,
    serving::Serving,
};

/// The media type of gRPC, which may go on with `+proto` or `+json`.
pub(crate) const MEDIA_TYPE: &str = "application/grpc";
/// The same as a header.
pub(crate) const GRPC: HeaderValue = HeaderValue::from_static(MEDIA_TYPE);

/// Answers gRPC.
#[derive(Debug, Clone)]
pub(crate) struct Grpc {
    pub(crate) caller: Caller,
}

/// Makes calls with the frames of a client.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) bounds: Bounds,
    /// How long a client may take to send what must be there before the call.
    pub(crate) patience: Duration,
}

/// What the frames of a request are.
pub(crate) enum Input {
    /// Those of gRPC, perhaps compressed, to be passed as they are.
    Plain {
        /// Whether messages may be compressed.
        is_coded: bool,
    },
    /// Others, to be made into those.
    Recoded(Reader),
}

/// What came of a call.
pub(crate) struct Called {
    pub(crate) response: Response<Body>,
    /// Where to look, while the answer lasts, for what is wrong with the rest of
    /// the request.
    pub(crate) mishap: Option<Mishap>,
}

// === impl Grpc ===

impl Grpc {
    pub(crate) fn new(config: &Config) -> Self {
        Self { caller: Caller::new(config) }
    }

    pub(crate) async fn answer(
        &self,
        serving: &Arc<Serving>,
        mut request: Request<Body>,
    ) -> Response<Body> {
        let codec = match codec(&request) {
            Ok(codec) => codec,
            Err(refused) => return *refused,
        };
        let Some(method) = serving.schema.method(request.uri().path()) else {
            // Of the edge's own, or unknown: the router knows.
            return serving.stack.serve(request).await;
        };
        let input = match codec {
            Codec::Proto => Input::Plain { is_coded: answer::is_coded(request.headers()) },
            Codec::Json => self.caller.json_input(serving, method, request.headers_mut()),
        };
        let Called { mut response, mishap } =
            self.caller.call(serving, method, request, input).await;
        metadata::withhold(response.headers_mut());
        if codec == Codec::Json {
            let kind = HeaderValue::from_static("application/grpc+json");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        self.caller.reply(serving, method, Called { response, mishap }, codec, Ending::Grpc)
    }
}

/// How the messages of a gRPC request are written; or why it is none.
fn codec(request: &Request<Body>) -> Result<Codec, Box<Response<Body>>> {
    if request.version() != Version::HTTP_2 {
        let fault = Fault::unimplemented(ErrorReason::MediaTypeUnsupported).message(
            "gRPC needs HTTP/2, and this came by HTTP/1.1: use HTTP/2, or gRPC-Web or Connect, which need it not",
        );
        return Err(Box::new(refuse(StatusCode::HTTP_VERSION_NOT_SUPPORTED, &GRPC, fault)));
    }
    check_post(request.method(), &GRPC)?;
    let kind = media_type(request.headers());
    let known = "application/grpc, application/grpc+proto or application/grpc+json";
    let codec = after(kind, MEDIA_TYPE).and_then(suffix);
    codec.ok_or_else(|| Box::new(unsupported(kind, known, &GRPC)))
}

// === impl Caller ===

impl Caller {
    pub(crate) fn new(config: &Config) -> Self {
        Self { bounds: Bounds::new(config), patience: config.request_timeout }
    }

    /// Makes a call: with its one message, once that is there, or with a stream
    /// that passes while the call is under way.
    pub(crate) async fn call(
        &self,
        serving: &Serving,
        method: &Method,
        request: Request<Body>,
        input: Input,
    ) -> Called {
        let (mut parts, body) = request.into_parts();
        let bytes_max = self.bounds.request_bytes_max;
        if method.is_client_streaming() {
            let mishap = Mishap::default();
            let body = match input {
                Input::Plain { is_coded } => {
                    request::passing(body, Watch::new(bytes_max, is_coded), mishap.clone())
                }
                Input::Recoded(reader) => recoded(body, reader, mishap.clone()),
            };
            let answer = serving.stack.serve(Request::from_parts(parts, body));
            return Called { response: mishap.or(answer).await, mishap: Some(mishap) };
        }
        let read = async {
            match input {
                Input::Plain { is_coded } => {
                    request::one(body, Watch::new(bytes_max, is_coded)).await
                }
                Input::Recoded(reader) => request::one_recoded(body, &reader).await,
            }
        };
        let response = match request::within(self.patience, &mut parts.headers, read).await {
            Ok(body) => serving.stack.serve(Request::from_parts(parts, body)).await,
            Err(fault) => Status::from(fault).into_http(),
        };
        Called { response, mishap: None }
    }

    /// What the frames of a gRPC request with messages in JSON are. The service is
    /// sent wire bytes, uncompressed, and asked for the same.
    pub(crate) fn json_input(
        &self,
        serving: &Serving,
        method: &Method,
        headers: &mut HeaderMap,
    ) -> Input {
        let coding = headers.remove(GRPC_ENCODING);
        headers.remove("grpc-accept-encoding");
        // It was that of other bytes.
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, GRPC);
        Input::Recoded(Reader {
            schema: Arc::clone(&serving.schema),
            message: method.input(),
            codec: Codec::Json,
            coding: coding
                .and_then(|coding| crate::compression::Coding::named(coding.to_str().ok()?)),
            bounds: self.bounds,
        })
    }

    /// The answer with its messages in the client's form. One that needs nothing
    /// passes untouched.
    pub(crate) fn reply(
        &self,
        serving: &Serving,
        method: &Method,
        called: Called,
        codec: Codec,
        ending: Ending,
    ) -> Response<Body> {
        let Called { response, mishap } = called;
        let is_untouched = matches!(ending, Ending::Grpc) && codec == Codec::Proto;
        if response.headers().contains_key(Status::GRPC_STATUS)
            || (is_untouched && mishap.is_none())
        {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        let messages = match codec {
            Codec::Proto => Messages::Plain(body),
            Codec::Json => {
                let answer = Answer::new(&parts.headers, body, self.bounds.answer_bytes_max);
                parts.headers.remove(GRPC_ENCODING);
                let writer = Writer {
                    schema: Arc::clone(&serving.schema),
                    message: method.output(),
                    codec,
                    coding: None,
                };
                Messages::Recoded(answer, writer)
            }
        };
        Response::from_parts(parts, reply::body(messages, ending, mishap))
    }
}

// === reading the head ===

/// The media type of a request; empty if it has none.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .map_or("", |kind| kind.split(';').next().unwrap_or_default().trim())
}

/// What follows a prefix, in any case.
pub(crate) fn after<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// The codec that the end of a media type names.
pub(crate) fn suffix(suffix: &str) -> Option<Codec> {
    match suffix {
        "" => Some(Codec::Proto),
        "+proto" => Some(Codec::Proto),
        "+json" => Some(Codec::Json),
        other if other.eq_ignore_ascii_case("+proto") => Some(Codec::Proto),
        other if other.eq_ignore_ascii_case("+json") => Some(Codec::Json),
        _ => None,
    }
}

/// Refuses what is no POST. `kind` is the media type of the answer.
pub(crate) fn check_post(verb: &Verb, kind: &HeaderValue) -> Result<(), Box<Response<Body>>> {
    if verb == Verb::POST {
        return Ok(());
    }
    let fault = Fault::unimplemented(ErrorReason::HttpMethodNotAllowed)
        .message(format!("a call is made by POST, not by {verb}"));
    let mut refused = refuse(StatusCode::METHOD_NOT_ALLOWED, kind, fault);
    refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    Err(Box::new(refused))
}

/// Refuses a media type.
pub(crate) fn unsupported(kind: &str, known: &str, answer: &HeaderValue) -> Response<Body> {
    let fault = Fault::unimplemented(ErrorReason::MediaTypeUnsupported)
        .message(format!("the content type {kind} is not spoken here: it must be {known}"));
    refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, answer, fault)
}

/// An answer without messages: its headers are its trailers.
pub(crate) fn refuse(status: StatusCode, kind: &HeaderValue, fault: Fault) -> Response<Body> {
    let mut response: Response<Body> = Status::from(fault).into_http();
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    response
}
