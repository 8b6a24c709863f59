//! Requests on their way out: what can be made again is kept.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{
    HeaderMap, Method, Request, Uri, Version,
    uri::{PathAndQuery, Scheme},
};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};

use super::endpoint::Target;

/// A request, before and while it is sent.
pub(super) struct Outgoing {
    method: Method,
    target: PathAndQuery,
    pub(super) headers: HeaderMap,
    pub(super) payload: Payload,
    /// One message each way: the peer is done with it soon.
    pub(super) is_short: bool,
}

/// What a request carries.
pub(super) enum Payload {
    /// All of it, as often as it takes.
    Whole(Bytes),
    /// It is a stream, or longer than is kept: it can be sent once.
    Once(Body),
}

/// What was read of a body, then the rest of it.
struct Rejoined {
    read: Option<Bytes>,
    rest: Body,
    failed: Option<Status>,
}

// === impl Outgoing ===

impl Outgoing {
    /// A request whose body is passed on as it comes.
    pub(super) fn stream(request: Request<Body>) -> Self {
        let (head, body) = request.into_parts();
        Self::new(head, Payload::Once(body), false)
    }

    /// A request of one message, which is read first: at most `most` bytes of it
    /// are kept.
    pub(super) async fn read(request: Request<Body>, most: usize, is_short: bool) -> Self {
        let (head, body) = request.into_parts();
        Self::new(head, read(body, most).await, is_short)
    }

    fn new(head: http::request::Parts, payload: Payload, is_short: bool) -> Self {
        let target = head.uri.into_parts().path_and_query;
        Self {
            method: head.method,
            target: target.unwrap_or_else(|| PathAndQuery::from_static("/")),
            headers: head.headers,
            payload,
            is_short,
        }
    }

    /// Whether it can be sent once more after it was sent.
    pub(super) fn is_repeatable(&self) -> bool {
        matches!(self.payload, Payload::Whole(_))
    }

    /// Whether nothing follows the head.
    pub(super) fn is_empty(&self) -> bool {
        match &self.payload {
            Payload::Whole(bytes) => bytes.is_empty(),
            Payload::Once(body) => body.is_end_stream(),
        }
    }

    /// The head, with the absolute target that HTTP/2 wants.
    pub(super) fn head(&self, to: &Target) -> Request<()> {
        let mut target = http::uri::Parts::default();
        target.scheme = Some(if to.name.is_some() { Scheme::HTTPS } else { Scheme::HTTP });
        target.authority = Some(to.authority.clone());
        target.path_and_query = Some(self.target.clone());
        let mut head = Request::new(());
        *head.method_mut() = self.method.clone();
        // All three are there, so it is a URI.
        *head.uri_mut() = Uri::from_parts(target).unwrap_or_default();
        *head.version_mut() = Version::HTTP_2;
        *head.headers_mut() = self.headers.clone();
        head
    }

    /// For a peer in this process. A payload that can be sent once is gone then.
    pub(super) fn request(&mut self) -> Request<Body> {
        let body = match &mut self.payload {
            Payload::Whole(bytes) => Body::new(http_body_util::Full::new(bytes.clone())),
            Payload::Once(body) => std::mem::take(body),
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from(self.target.clone());
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// Reads a body of at most `most` bytes.
async fn read(mut body: Body, most: usize) -> Payload {
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(status) => return once(first, more, body, Some(status)),
        };
        // A client sends no trailers.
        let Ok(data) = frame.into_data() else { continue };
        if first.is_empty() {
            first = data;
        } else {
            if more.is_empty() {
                more.extend_from_slice(&first);
            }
            more.extend_from_slice(&data);
        }
        if first.len().max(more.len()) > most {
            return once(first, more, body, None);
        }
    }
    Payload::Whole(joined(first, more))
}

fn joined(first: Bytes, more: BytesMut) -> Bytes {
    if more.is_empty() { first } else { more.freeze() }
}

fn once(first: Bytes, more: BytesMut, rest: Body, failed: Option<Status>) -> Payload {
    Payload::Once(Body::new(Rejoined { read: Some(joined(first, more)), rest, failed }))
}

impl HttpBody for Rejoined {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(read) = self.read.take().filter(Bytes::has_remaining) {
            return Poll::Ready(Some(Ok(Frame::data(read))));
        }
        if let Some(status) = self.failed.take() {
            return Poll::Ready(Some(Err(status)));
        }
        Pin::new(&mut self.rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_none() && self.failed.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
