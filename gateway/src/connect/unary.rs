//! One message each way, as the body: no frames, and an HTTP status that says how
//! the call went.

use std::sync::Arc;

use bytes::Bytes;
use chassis::Fault;
use http::{HeaderMap, HeaderName, HeaderValue, Method as Verb, Request, Response, Uri, header};
use http_body_util::Full;
use tonic::{Status, body::Body};
use transcode::Method;

use super::{
    Connect, error,
    get::{NoQuery, Query},
    head::{self, Head, Kind},
    make_connect, make_grpc, unsupported,
};
use crate::{
    compression::Coding,
    frame::{
        HEAD_BYTES,
        answer::{self, Answer, Unary},
        append,
        recode::{Codec, Reader, Writer},
        request,
    },
    serving::Serving,
};

/// What trailers are called among the headers.
const TRAILER_PREFIX: &str = "trailer-";

/// A request as it was read.
struct Asked {
    codec: Codec,
    taken: Option<Coding>,
    call: Request<Body>,
}

// === impl Connect ===

impl Connect {
    pub(super) async fn unary(
        &self,
        serving: &Arc<Serving>,
        method: &Method,
        request: Request<Body>,
        kind: Kind,
    ) -> Response<Body> {
        let is_get = kind == Kind::Get;
        let asked = match kind {
            Kind::Unary(codec) | Kind::Stream(codec) => {
                self.posted(serving, method, request, codec).await
            }
            Kind::Get => match Query::read(request.uri().query().unwrap_or_default()) {
                Ok(query) => self.queried(serving, method, request, query),
                Err(NoQuery::Fault(fault)) => Err(fault),
                Err(NoQuery::Codec(name)) => return unsupported(&name, true),
            },
        };
        let Asked { codec, taken, call } = match asked {
            Ok(asked) => asked,
            Err(fault) => return refuse(serving, fault),
        };
        let (parts, body) = serving.stack.serve(call).await.into_parts();
        let mut headers = parts.headers;
        if headers.contains_key(Status::GRPC_STATUS) {
            // Without a body its trailers are its headers, and of use as such.
            let mut trailers = headers.clone();
            if answer::is_ok(&trailers) {
                trailers = answer::trailers(answer::no_message());
            }
            make_connect(&mut headers);
            return error::response(&serving.schema, headers, &trailers);
        }
        let answer = Answer::new(&headers, body, self.caller.bounds.answer_bytes_max);
        let answered = answer.unary().await;
        make_connect(&mut headers);
        match answered {
            Ok(Unary { message, trailers }) => {
                let writer = Writer {
                    schema: Arc::clone(&serving.schema),
                    message: method.output(),
                    codec,
                    coding: taken,
                };
                let written = match writer.write(message) {
                    Ok(written) => written,
                    Err(fault) => return refuse(serving, fault),
                };
                prefix(&trailers, &mut headers);
                if is_get {
                    headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
                }
                respond(headers, codec, taken, written)
            }
            Err(trailers) => {
                prefix(&trailers, &mut headers);
                error::response(&serving.schema, headers, &trailers)
            }
        }
    }

    async fn posted(
        &self,
        serving: &Serving,
        method: &Method,
        request: Request<Body>,
        codec: Codec,
    ) -> Result<Asked, Fault> {
        let (mut parts, body) = request.into_parts();
        let head = Head::of_unary(&parts.headers, None)?;
        make_grpc(&mut parts.headers, &head);
        let reader = self.reader(serving, method, codec, head.sent);
        // The message goes where its frame wants it, if it stays as it is.
        let mut frame = Vec::new();
        let start = if reader.is_plain() { HEAD_BYTES } else { 0 };
        frame.resize(start, 0);
        let read = request::whole(body, reader.bounds.request_bytes_max, &mut frame);
        request::within(self.caller.patience, &mut parts.headers, read).await?;
        let frame = if reader.is_plain() { finish(frame)? } else { reframe(&reader, &frame)? };
        Ok(Asked { codec, taken: head.taken, call: call(parts.uri, parts.headers, frame)? })
    }

    fn queried(
        &self,
        serving: &Serving,
        method: &Method,
        request: Request<Body>,
        query: Query,
    ) -> Result<Asked, Fault> {
        let (mut parts, _) = request.into_parts();
        let head = Head::of_unary(&parts.headers, Some(&query.coding))?;
        make_grpc(&mut parts.headers, &head);
        let reader = self.reader(serving, method, query.codec, head.sent);
        let frame = reframe(&reader, &query.message)?;
        Ok(Asked {
            codec: query.codec,
            taken: head.taken,
            call: call(parts.uri, parts.headers, frame)?,
        })
    }

    fn reader(
        &self,
        serving: &Serving,
        method: &Method,
        codec: Codec,
        coding: Option<Coding>,
    ) -> Reader {
        Reader {
            schema: Arc::clone(&serving.schema),
            message: method.input(),
            codec,
            coding,
            bounds: self.caller.bounds,
        }
    }
}

// === the call ===

/// A message behind room for its head, as a frame.
fn finish(mut frame: Vec<u8>) -> Result<Bytes, Fault> {
    let head = crate::frame::head(0, frame.len() - HEAD_BYTES)?;
    if let Some(room) = frame.get_mut(..HEAD_BYTES) {
        room.copy_from_slice(&head);
    }
    Ok(frame.into())
}

fn reframe(reader: &Reader, message: &[u8]) -> Result<Bytes, Fault> {
    let mut frame = Vec::with_capacity(HEAD_BYTES + message.len());
    append(&mut frame, 0, |out| reader.read(message, true, out))?;
    Ok(frame.into())
}

/// The gRPC request.
fn call(uri: Uri, headers: HeaderMap, frame: Bytes) -> Result<Request<Body>, Fault> {
    let mut call = Request::new(Body::new(Full::new(frame)));
    *call.method_mut() = Verb::POST;
    *call.version_mut() = http::Version::HTTP_2;
    *call.uri_mut() = match uri.query() {
        None => uri,
        Some(_) => uri.path().parse().map_err(|error| Fault::internal().because(error))?,
    };
    *call.headers_mut() = headers;
    Ok(call)
}

// === the answer ===

fn respond(
    mut headers: HeaderMap,
    codec: Codec,
    taken: Option<Coding>,
    (message, is_compressed): (Bytes, bool),
) -> Response<Body> {
    let kind = match codec {
        Codec::Proto => "application/proto",
        Codec::Json => "application/json",
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(coding) = taken.filter(|_| is_compressed) {
        headers.insert(header::CONTENT_ENCODING, coding.value());
    }
    let mut response = Response::new(Body::new(Full::new(message)));
    *response.headers_mut() = headers;
    response
}

/// Puts trailers among the headers.
fn prefix(trailers: &HeaderMap, headers: &mut HeaderMap) {
    let mut shown = trailers.clone();
    make_connect(&mut shown);
    for (name, value) in &shown {
        let name = HeaderName::try_from(format!("{TRAILER_PREFIX}{name}"));
        if let Ok(name) = name {
            headers.append(name, value.clone());
        }
    }
}

/// The answer to a request that was not made a call.
fn refuse(serving: &Serving, fault: Fault) -> Response<Body> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT_ENCODING, head::ACCEPTED);
    error::response(&serving.schema, headers, &answer::trailers(fault))
}
