//! The requests of a connection: counted while they are open, told where they
//! come from, and answered in pieces.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CONNECTION, UPGRADE},
};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::{sync::Notify, time::sleep};
use tonic::body::Body;
use tower_service::Service;

use super::{
    Closing, PeerAddr, PeerCertificates, Port,
    arriving::{self, BodyOver},
    head,
    stall::{Polled, body_polled},
};

/// The requests open on one connection, answers included.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: AtomicUsize,
    /// All there were so far.
    begun: AtomicUsize,
    /// Whether one of them asked for another protocol.
    is_upgrading: AtomicBool,
    /// Whether one was answered that its peer may still be sending.
    is_cut: AtomicBool,
    /// Whether the next answer is to say that it is the last.
    is_leaving: AtomicBool,
    /// One waits: the connection's own task.
    changed: Notify,
}

impl Requests {
    /// How many there were so far, while none is open and what comes next is a head.
    pub(super) fn between(&self) -> Option<usize> {
        let is_between =
            self.open.load(Ordering::Acquire) == 0 && !self.is_upgrading.load(Ordering::Relaxed);
        is_between.then(|| self.begun.load(Ordering::Relaxed))
    }

    /// From now on answers say that they are the last, which HTTP/1.1 alone has
    /// words for in an answer: its peer would send another request meanwhile to a
    /// connection that is closed without (RFC 9112, section 9.6).
    pub(super) fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    /// Whether the peer may still be sending what was answered.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Relaxed)
    }

    /// Resolves when no request has been open for this long.
    pub(super) async fn none_for(&self, quiet: Duration) {
        loop {
            while self.open.load(Ordering::Acquire) > 0 {
                self.changed.notified().await;
            }
            tokio::select! {
                biased;
                () = self.changed.notified() => {}
                () = sleep(quiet) => return,
            }
        }
    }
}

/// One open request.
#[derive(Debug)]
pub(super) struct Open(Arc<Requests>);

impl Open {
    fn begin(requests: &Arc<Requests>) -> Self {
        requests.begun.fetch_add(1, Ordering::Relaxed);
        if requests.open.fetch_add(1, Ordering::AcqRel) == 0 {
            requests.changed.notify_one();
        }
        Self(Arc::clone(requests))
    }
}

impl Clone for Open {
    /// The same request, open until both are dropped.
    fn clone(&self) -> Self {
        self.0.open.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.changed.notify_one();
        }
    }
}

/// The service of a port, on one connection.
#[derive(Debug, Clone)]
pub(super) struct Counted<S> {
    pub(super) service: S,
    pub(super) address: SocketAddr,
    pub(super) peer: Option<PeerCertificates>,
    pub(super) requests: Arc<Requests>,
    pub(super) port: Arc<Port>,
    /// Bytes of an answer that are handed over at once.
    pub(super) piece: usize,
    /// Bytes of a head that are taken, where more of them are read.
    pub(super) head_most: Option<u32>,
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
{
    type Response = Response<CountedBody<B>>;
    type Error = Infallible;
    type Future = CountedFuture<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let open = Open::begin(&self.requests);
        if let Some(refusal) = self.head_most.and_then(|most| head::refusal(&request, most)) {
            self.port.refused("head").inc();
            return CountedFuture {
                future: None,
                refusal: Some(refusal),
                last_unless: None,
                open: Some(open),
                piece: self.piece,
            };
        }
        let (parts, incoming) = request.into_parts();
        let (body, unless) = arriving::body(&parts, incoming, &open, &self.port);
        let mut request = Request::from_parts(parts, body);
        let has_upgrade = request.headers().contains_key(UPGRADE);
        let extensions = request.extensions_mut();
        extensions.insert(PeerAddr(self.address));
        if let Some(peer) = &self.peer {
            extensions.insert(peer.clone());
        }
        if has_upgrade {
            self.requests.is_upgrading.store(true, Ordering::Relaxed);
            extensions.insert(Closing(self.port.soft.clone()));
        }
        let future = Some(self.service.clone().call(request));
        let (open, piece) = (Some(open), self.piece);
        CountedFuture { future, refusal: None, last_unless: unless, open, piece }
    }
}

pin_project! {
    /// The future of a request, which is open until its answer's body has ended.
    pub(super) struct CountedFuture<F> {
        #[pin]
        future: Option<F>,
        // What there is instead, if the request was not even looked at.
        refusal: Option<Box<Response<()>>>,
        // The answer is the connection's last, unless this body is over by then.
        last_unless: Option<BodyOver>,
        open: Option<Open>,
        piece: usize,
    }
}

impl<F, B> Future for CountedFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<CountedBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = match this.future.as_pin_mut() {
            Some(future) => {
                let Ok(response) = std::task::ready!(future.poll(cx));
                response.map(Some)
            }
            None => match this.refusal.take() {
                Some(refusal) => refusal.map(|()| None),
                None => return Poll::Pending,
            },
        };
        let is_cut = this.last_unless.take().is_some_and(|body| !body.is_over());
        let is_last = this.open.as_ref().is_some_and(|Open(requests)| {
            if is_cut {
                requests.is_cut.store(true, Ordering::Relaxed);
            }
            is_cut || requests.is_leaving.load(Ordering::Relaxed)
        });
        if is_last && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let (open, piece) = (this.open.take(), *this.piece);
        Poll::Ready(Ok(response.map(|body| CountedBody { body, piece, rest: Bytes::new(), open })))
    }
}

pin_project! {
    /// The body of an answer; the request is open until it is dropped.
    ///
    /// It comes in pieces, because HTTP/2 takes what it is given whole, however
    /// little the peer has room for.
    pub(super) struct CountedBody<B> {
        #[pin]
        body: Option<B>,
        piece: usize,
        // What is left of the last frame.
        rest: Bytes,
        open: Option<Open>,
    }
}

impl<B: HttpBody<Data = Bytes>> HttpBody for CountedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let mut data = if this.rest.is_empty() {
            let polled = match this.body.as_pin_mut() {
                Some(body) => body.poll_frame(cx),
                None => Poll::Ready(None),
            };
            match polled {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => data,
                    Err(trailers) => {
                        body_polled(Polled::HadNone);
                        return Poll::Ready(Some(Ok(trailers)));
                    }
                },
                other => {
                    body_polled(Polled::HadNone);
                    return other;
                }
            }
        } else {
            std::mem::take(this.rest)
        };
        if data.len() > *this.piece {
            *this.rest = data.split_off(*this.piece);
        }
        body_polled(Polled::Gave);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), B::size_hint);
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        if rest > 0 {
            let upper = hint.upper().map(|upper| upper.saturating_add(rest));
            // Upper first: a lower bound may not pass it.
            if let Some(upper) = upper {
                hint.set_upper(upper);
            }
            hint.set_lower(hint.lower().saturating_add(rest));
        }
        hint
    }
}
