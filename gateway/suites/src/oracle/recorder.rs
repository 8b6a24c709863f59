//! The server behind both gateways: gives back what it was given, and remembers
//! it.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{future::BoxFuture, stream};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use prost::Message as _;
use tonic::{Code, Status, body::Body};
use tower_service::Service;

use crate::contracts::oracle::v1::Everything;

/// Before the name of a method. Others are a gateway's own business, as health is.
const SERVICE: &str = "/oracle.v1.Oracle/";
/// The flag and the length before a message.
const HEAD_BYTES: usize = 5;
/// How often `Stream` gives back its message.
const STREAMED: usize = 3;

/// The server. Clones share what they remember.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Arc<Mutex<Option<Recorded>>>);

/// A call that arrived.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The method's name.
    pub method: String,
    /// Its message, if it could be read.
    pub message: Option<Everything>,
}

// === impl Recorder ===

impl Recorder {
    /// The last call, which is forgotten with this.
    pub fn take(&self) -> Option<Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let method = path.strip_prefix(SERVICE).unwrap_or_default().to_owned();
        let body = request.into_body().collect().await.map(|body| body.to_bytes());
        // A gateway may open a call before it has seen that its body is wrong.
        let message = body.ok().filter(|body| body.len() >= HEAD_BYTES && !method.is_empty());
        let message = message.map(|body| body.slice(HEAD_BYTES..));
        let decoded = message.clone().and_then(|bytes| Everything::decode(bytes).ok());
        let code = match (&decoded, method.as_str()) {
            (Some(message), "Fail") => message.int32,
            (None, _) if message.is_some() => Code::InvalidArgument.into(),
            _ => 0,
        };
        let answers = match method.as_str() {
            _ if code != 0 => 0,
            "Stream" => STREAMED,
            _ => 1,
        };
        if message.is_some() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(Recorded { method, message: decoded.clone() });
        }

        // Encoded anew, both gateways are answered the same bytes.
        let message = Bytes::from(decoded.unwrap_or_default().encode_to_vec());
        let message = framed(&message);
        let mut trailers = HeaderMap::new();
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from(code));
        if code != 0 {
            trailers.insert(Status::GRPC_MESSAGE, HeaderValue::from_static("as you wish"));
        }
        let frames = (0..answers)
            .map(|_| Frame::data(message.clone()))
            .chain([Frame::trailers(trailers)])
            .map(Ok::<_, Infallible>);
        let mut response =
            Response::new(Body::new(StreamBody::new(stream::iter(frames.collect::<Vec<_>>()))));
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }
}

// === impl Recorded ===

impl PartialEq for Recorded {
    fn eq(&self, other: &Self) -> bool {
        // NaN is printed alike, and not equal to itself.
        self.method == other.method
            && (self.message == other.message
                || format!("{:?}", self.message) == format!("{:?}", other.message))
    }
}

impl Service<Request<Incoming>> for Recorder {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let recorder = self.clone();
        Box::pin(async move { Ok(recorder.answer(request).await) })
    }
}

fn framed(message: &Bytes) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD_BYTES + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(message);
    frame.freeze()
}
