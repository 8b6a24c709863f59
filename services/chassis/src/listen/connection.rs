//! The life of one inbound connection.

use std::{
    convert::Infallible,
    error::Error as StdError,
    future::Future,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pin_project_lite::pin_project;
use tokio::{io::AsyncReadExt as _, net::TcpStream, sync::Notify, time::sleep};
use tonic::body::Body;
use tower_service::Service;

use super::{Config, PeerAddr, Place, Protocol, prefixed::Prefixed};
use crate::random;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How far the age of connections is spread.
const AGE_SPREAD_PERCENT: u32 = 10;

/// Serves one connection to its end.
pub(super) async fn run<S, B>(stream: TcpStream, address: SocketAddr, place: Place, service: S)
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let port = Arc::clone(&place.port);
    let config = &port.config;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection ended before it began");
        return;
    }
    let spoken = tokio::select! {
        biased;
        () = port.soft.cancelled() => return,
        spoken = tokio::time::timeout(config.first_byte_timeout, spoken(stream)) => spoken,
    };
    let (io, is_http2) = match spoken {
        Ok(Ok(Some(spoken))) => spoken,
        Ok(Ok(None) | Err(_)) => return,
        Err(_elapsed) => {
            port.refused("first_byte").inc();
            return;
        }
    };
    let requests = Arc::new(Requests::default());
    let service = Counted { service, address, requests: Arc::clone(&requests) };
    if is_http2 {
        let io = io.with_budget(config.max_control_frames_per_second, PREFACE.len());
        let connection = http2_builder(config).serve_connection(TokioIo::new(io), service);
        drive(connection, http2::Connection::graceful_shutdown, &place, &requests).await;
    } else if config.protocol == Protocol::Both {
        let connection =
            http1_builder(config).serve_connection(TokioIo::new(io), service).with_upgrades();
        drive(connection, http1::UpgradeableConnection::graceful_shutdown, &place, &requests).await;
    } else {
        port.refused("protocol").inc();
    }
}

/// Reads until it is plain which protocol is spoken.
async fn spoken(mut stream: TcpStream) -> std::io::Result<Option<(Prefixed, bool)>> {
    let mut prefix = vec![0; PREFACE.len()];
    let mut filled = 0;
    loop {
        let read = stream.read(prefix.get_mut(filled..).unwrap_or_default()).await?;
        if read == 0 {
            return Ok(None);
        }
        filled += read;
        let so_far = prefix.get(..filled).unwrap_or_default();
        if !PREFACE.starts_with(so_far) {
            prefix.truncate(filled);
            return Ok(Some((Prefixed::new(prefix, stream), false)));
        }
        if filled == PREFACE.len() {
            return Ok(Some((Prefixed::new(prefix, stream), true)));
        }
    }
}

fn http2_builder(config: &Config) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.max_concurrent_streams)
        .max_header_list_size(config.max_header_list_size)
        .max_pending_accept_reset_streams(config.max_pending_accept_reset_streams)
        .max_local_error_reset_streams(config.max_local_error_reset_streams)
        .keep_alive_interval(config.keep_alive_interval)
        .keep_alive_timeout(config.keep_alive_timeout)
        .initial_stream_window_size(config.stream_window)
        .initial_connection_window_size(config.connection_window)
        .auto_date_header(config.protocol == Protocol::Both);
    builder
}

fn http1_builder(config: &Config) -> http1::Builder {
    let mut builder = http1::Builder::new();
    let header_bytes = usize::try_from(config.max_header_list_size).unwrap_or(usize::MAX);
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_read_timeout)
        .max_header_size(header_bytes)
        // What hyper needs at least.
        .max_buf_size(header_bytes.max(8 * 1_024))
        .half_close(false)
        .pipeline_flush(true);
    builder
}

/// Polls a connection to its end, and sees to it that there is one: by age, by
/// the drain of the port, or by force.
async fn drive<C, E>(connection: C, graceful: fn(Pin<&mut C>), place: &Place, requests: &Requests)
where
    C: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let port = &place.port;
    let config = &port.config;
    let mut connection = pin!(connection);
    let age = random::jitter(config.max_connection_age, AGE_SPREAD_PERCENT);
    let grace = tokio::select! {
        biased;
        ended = connection.as_mut() => return log(ended),
        () = port.soft.cancelled() => config.drain_timeout,
        () = sleep(age) => config.max_connection_age_grace,
    };
    graceful(connection.as_mut());
    // A well-behaved peer lets go by itself. One that does not is let go when it
    // has no request open, and in any case when the grace is over.
    tokio::select! {
        biased;
        ended = connection => log(ended),
        () = port.hard.cancelled() => {}
        () = requests.none_for(config.drain_idle_timeout) => {}
        () = sleep(grace) => {}
    }
}

fn log<E: std::fmt::Display>(ended: Result<(), E>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}

/// The requests open on one connection, answers included.
#[derive(Debug, Default)]
struct Requests {
    open: AtomicUsize,
    /// One waits: the connection's own task.
    changed: Notify,
}

impl Requests {
    /// Resolves when no request has been open for this long.
    async fn none_for(&self, quiet: Duration) {
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
struct Open(Arc<Requests>);

impl Open {
    fn begin(requests: &Arc<Requests>) -> Self {
        if requests.open.fetch_add(1, Ordering::AcqRel) == 0 {
            requests.changed.notify_one();
        }
        Self(Arc::clone(requests))
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
struct Counted<S> {
    service: S,
    address: SocketAddr,
    requests: Arc<Requests>,
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
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(PeerAddr(self.address));
        CountedFuture { future: self.service.clone().call(request), open: Some(open) }
    }
}

pin_project! {
    /// The future of a request, which is open until its answer's body has ended.
    struct CountedFuture<F> {
        #[pin]
        future: F,
        open: Option<Open>,
    }
}

impl<F, B> Future for CountedFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<CountedBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(response) = std::task::ready!(this.future.poll(cx));
        let open = this.open.take();
        Poll::Ready(Ok(response.map(|body| CountedBody { body, open })))
    }
}

pin_project! {
    /// The body of an answer; the request is open until it is dropped.
    struct CountedBody<B> {
        #[pin]
        body: B,
        open: Option<Open>,
    }
}

impl<B: HttpBody> HttpBody for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
