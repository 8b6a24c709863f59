//! The body of a request while it arrives, which may not take for ever, and what
//! becomes of its connection if the answer does not wait for it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use contracts::mesh::v1::ErrorReason;
use http::{
    HeaderMap, Version,
    header::{CONTENT_TYPE, EXPECT},
    request,
};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{
    runtime::Handle,
    time::{Duration, Instant, timeout},
};
use tonic::{Status, body::Body};

use super::{Port, requests::Open, stall::Stall};
use crate::Fault;

/// The longest body of HTTP/1.1 that is read away if it was not wanted, so that
/// the connection can go on; to read more costs more than to connect anew.
const READ_AWAY_BYTES_MAX: u64 = 256 * 1_024;

/// A body that must bring so much in so much time.
struct Arriving {
    /// Taken when this is dropped.
    incoming: Option<Incoming>,
    port: Arc<Port>,
    /// None where the body may be silent.
    progress: Option<Progress>,
    unread: Unread,
}

/// How much a body brings.
#[derive(Default)]
struct Progress {
    /// Bytes since `waited` was nothing.
    arrived: u64,
    /// How long the handler waited for these.
    waited: Duration,
    /// Since when it waits.
    since: Option<Instant>,
    stall: Stall,
}

/// What becomes of the connection if its request is answered before the body has
/// come.
///
/// What is still on its way stands before the next request of the client, so it
/// is read, or the answer says that it is the last (RFC 9112, section 9.6). A
/// connection that is closed without a word loses the request that follows.
enum Unread {
    /// HTTP/2: its stream alone is ended.
    Stream,
    /// There is little of it, which is read away; until then the request is open.
    ReadAway(Open),
    /// The answer is the last one, unless the body is over.
    Last(BodyOver),
}

/// Whether a body has come to its end.
#[derive(Debug, Clone, Default)]
pub(super) struct BodyOver(Arc<AtomicBool>);

/// The body of a request, and how to learn whether it is over, where the answer
/// has to say so.
pub(super) fn body(
    head: &request::Parts,
    incoming: Incoming,
    open: &Open,
    port: &Arc<Port>,
) -> (Body, Option<BodyOver>) {
    let is_stream = is_stream(&head.headers);
    if incoming.is_end_stream() || (is_stream && head.version == Version::HTTP_2) {
        return (Body::new(incoming), None);
    }
    let is_short = incoming.size_hint().upper().is_some_and(|most| most <= READ_AWAY_BYTES_MAX);
    let unread = if head.version == Version::HTTP_2 {
        Unread::Stream
    } else if is_short && !head.headers.contains_key(EXPECT) {
        Unread::ReadAway(open.clone())
    } else {
        // To read what waits to be asked for would be to ask.
        Unread::Last(BodyOver::default())
    };
    let over = match &unread {
        Unread::Last(over) => Some(over.clone()),
        _ => None,
    };
    let progress = (!is_stream).then(Progress::default);
    let arriving = Arriving { incoming: Some(incoming), port: Arc::clone(port), progress, unread };
    (Body::new(arriving), over)
}

/// Whether the body may be silent for as long as it likes, because it is a stream
/// of messages: those have a deadline.
fn is_stream(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes();
        kind.starts_with(b"application/grpc") || kind.starts_with(b"application/connect+")
    })
}

// === impl BodyOver ===

impl BodyOver {
    pub(super) fn is_over(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

// === impl Progress ===

impl Progress {
    fn came(&mut self, bytes: usize, enough: u64) {
        if let Some(since) = self.since.take() {
            self.stall.clear();
            self.waited += since.elapsed();
        }
        self.arrived = self.arrived.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.arrived >= enough {
            self.arrived = 0;
            self.waited = Duration::ZERO;
        }
    }

    /// Nothing comes; ready when so little has come for as long as `patience`.
    fn poll(&mut self, cx: &mut Context<'_>, patience: Duration) -> Poll<()> {
        self.since.get_or_insert_with(Instant::now);
        self.stall.poll(cx, patience.saturating_sub(self.waited))
    }
}

// === impl Arriving ===

impl Arriving {
    fn too_slow(&self) -> Status {
        let config = &self.port.config;
        self.port.refused("slow_body").inc();
        Fault::deadline_exceeded(ErrorReason::DeadlineExceeded)
            .message(format!(
                "the body arrives too slowly: it must bring {} bytes or its end within {}",
                config.body_progress_min,
                crate::duration::format(&config.body_idle_timeout)
            ))
            .into()
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *incoming).poll_frame(cx);
        if let (Unread::Last(over), Poll::Ready(frame)) = (&this.unread, &polled)
            && (frame.is_none() || incoming.is_end_stream())
        {
            over.0.store(true, Ordering::Release);
        }
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(progress) = &mut this.progress {
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    progress.came(bytes, this.port.config.body_progress_min);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                Poll::Ready(Some(Err(Status::from_error(Box::new(error)))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let Some(progress) = &mut this.progress else { return Poll::Pending };
                std::task::ready!(progress.poll(cx, this.port.config.body_idle_timeout));
                Poll::Ready(Some(Err(this.too_slow())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let Unread::ReadAway(open) = &self.unread else { return };
        let Some(mut incoming) = self.incoming.take().filter(|body| !body.is_end_stream()) else {
            return;
        };
        // Without a runtime there is no connection left either.
        let Ok(runtime) = Handle::try_current() else { return };
        let (open, patience) = (open.clone(), self.port.config.linger_timeout);
        runtime.spawn(async move {
            let rest = async { while let Some(Ok(_)) = incoming.frame().await {} };
            // A client that has not sent its request by then counts on nothing yet.
            let _late = timeout(patience, rest).await;
            drop(open);
        });
    }
}
