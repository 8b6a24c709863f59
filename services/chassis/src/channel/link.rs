//! One HTTP/2 connection to an instance, on h2 itself: a general client would put a
//! queue and a task between each call and its stream.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{
    Ping, PingPong, Reason,
    client::{Builder, Connection, SendRequest},
};
use http::Response;
use hyper::rt::Executor as _;
use hyper_util::rt::TokioExecutor;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{sleep, timeout},
};

use super::{
    Config,
    abandoned::Abandoned,
    endpoint::Target,
    outgoing::{Outgoing, Payload},
    stream::{Arriving, Pipe, Waiting},
};

/// Bytes of bookkeeping for frames that have arrived and were not read yet, per
/// connection. Beyond that h2 ends the connection for all its calls, so that it is
/// far more than a slow reader of small messages can hold back within its window.
const BUFFERED_FRAMES_BYTES: usize = 256 << 20;

/// A connection, as those see it who make calls on it.
pub(super) struct Link {
    requests: SendRequest<Bytes>,
    is_closed: Arc<AtomicBool>,
    abandoned: Arc<Abandoned>,
}

/// Why a call got no answer.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: h2::Error,
    /// The peer has not begun with it: it can go elsewhere, whatever its method.
    pub(super) is_unprocessed: bool,
    /// The connection takes no more calls.
    pub(super) is_lost: bool,
}

/// A stream that remembers whether anything was heard from the peer.
struct Heard<T> {
    io: T,
    is_heard: Arc<AtomicBool>,
}

// === impl Link ===

impl Link {
    /// Greets the peer; a task then serves the connection to its end.
    pub(super) async fn connect<T>(io: T, config: &Config) -> Result<Self, h2::Error>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let is_heard = Arc::new(AtomicBool::new(false));
        let io = Heard { io, is_heard: Arc::clone(&is_heard) };
        let (requests, mut connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(config.stream_window)
            .initial_connection_window_size(config.connection_window)
            .data_frame_budget(BUFFERED_FRAMES_BYTES)
            // Calls that run out of time reset their streams. That is no fault of
            // the connection, and must not end it for the other calls on it.
            .max_local_error_reset_streams(Some(config.max_local_error_reset_streams))
            .handshake(io)
            .await?;
        let is_closed = Arc::new(AtomicBool::new(false));
        let link = Self {
            requests,
            is_closed: Arc::clone(&is_closed),
            abandoned: Arc::new(Abandoned::new(config)),
        };
        let (interval, patience) = (config.keep_alive_interval, config.keep_alive_timeout);
        let pings = connection.ping_pong();
        TokioExecutor::new().execute(async move {
            let silent = async {
                let Some(mut pings) = pings else { return std::future::pending().await };
                loop {
                    sleep(interval).await;
                    if is_heard.swap(false, Ordering::Relaxed) {
                        continue;
                    }
                    if !matches!(timeout(patience, answered(&mut pings)).await, Ok(true)) {
                        return;
                    }
                }
            };
            match until(connection, silent).await {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::debug!(%error, "a connection to a peer ended with an error");
                }
                None => tracing::debug!("a peer fell silent; its connection is closed"),
            }
            is_closed.store(true, Ordering::Release);
        });
        Ok(link)
    }

    /// Whether the connection has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Sends a request and waits for the head of the answer.
    pub(super) async fn send(
        &self,
        outgoing: &mut Outgoing,
        target: &Target,
    ) -> Result<Response<Arriving>, Failed> {
        let mut requests = self.requests.clone();
        poll_fn(|cx| requests.poll_ready(cx)).await.map_err(Failed::before)?;
        let head = outgoing.head(target);
        let (answer, mut stream) =
            requests.send_request(head, outgoing.is_empty()).map_err(Failed::before)?;
        drop(requests);
        let mut pipe = None;
        if !outgoing.is_empty() {
            match &mut outgoing.payload {
                Payload::Whole(bytes) => {
                    // A peer that refuses a call may have said so and closed the stream
                    // before its body left: what it said is waited for below.
                    let _refused = stream.send_data(bytes.clone(), true);
                }
                Payload::Once(body) => {
                    pipe = Pipe::start(std::mem::take(body), stream);
                }
            }
        }
        let is_repeatable = matches!(outgoing.payload, Payload::Whole(_));
        let waiting = Waiting::new(answer, outgoing.is_short, pipe, &self.abandoned);
        waiting.await.map_err(|error| {
            let mut failed = Failed::after(error);
            failed.is_unprocessed &= is_repeatable;
            failed
        })
    }
}

// === impl Failed ===

impl Failed {
    /// It never left.
    fn before(error: h2::Error) -> Self {
        // Neither the connection nor the peer: the request itself is malformed.
        let is_own = !error.is_io() && !error.is_go_away() && !error.is_reset();
        Self { is_unprocessed: !is_own, is_lost: !is_own, error }
    }

    /// It left, and its stream ended without an answer.
    fn after(error: h2::Error) -> Self {
        // A stream that fails by the peer's GOAWAY is one beyond the last that the
        // peer says it looked at; one that was refused was not looked at either
        // (RFC 9113, sections 6.8 and 8.7).
        let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        let is_gone = error.is_go_away();
        let is_unprocessed = error.is_remote() && (is_refused || is_gone);
        Self { is_unprocessed, is_lost: is_gone || error.is_io(), error }
    }
}

/// Whether the peer answers a ping.
async fn answered(pings: &mut PingPong) -> bool {
    pings.ping(Ping::opaque()).await.is_ok()
}

/// Polls a connection to its end, or until its peer is silent for too long.
async fn until<T>(
    mut connection: Connection<T, Bytes>,
    silent: impl Future<Output = ()>,
) -> Option<Result<(), h2::Error>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut silent = pin!(silent);
    poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
        Poll::Ready(ended) => Poll::Ready(Some(ended)),
        Poll::Pending => silent.as_mut().poll(cx).map(|()| None),
    })
    .await
}

// === impl Heard ===

impl<T: AsyncRead + Unpin> AsyncRead for Heard<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if polled.is_ready() {
            self.is_heard.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Heard<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
