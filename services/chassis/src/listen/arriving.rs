//! The body of a request while it arrives, which may not take for ever.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use contracts::mesh::v1::ErrorReason;
use http::{HeaderMap, header::CONTENT_TYPE};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Duration, Instant};
use tonic::{Status, body::Body};

use super::{Port, stall::Stall};
use crate::Fault;

/// A body that must bring so much in so much time.
struct Arriving {
    incoming: Incoming,
    port: Arc<Port>,
    /// Bytes since `waited` was nothing.
    arrived: u64,
    /// How long the handler waited for these.
    waited: Duration,
    /// Since when it waits.
    since: Option<Instant>,
    stall: Stall,
}

/// The body of a request with these headers.
pub(super) fn body(headers: &HeaderMap, incoming: Incoming, port: &Arc<Port>) -> Body {
    if incoming.is_end_stream() || is_stream(headers) {
        return Body::new(incoming);
    }
    Body::new(Arriving {
        incoming,
        port: Arc::clone(port),
        arrived: 0,
        waited: Duration::ZERO,
        since: None,
        stall: Stall::default(),
    })
}

/// Whether the body may be silent for as long as it likes, because it is a stream
/// of messages: those have a deadline.
fn is_stream(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes();
        kind.starts_with(b"application/grpc") || kind.starts_with(b"application/connect+")
    })
}

// === impl Arriving ===

impl Arriving {
    fn came(&mut self, bytes: usize) {
        if let Some(since) = self.since.take() {
            self.stall.clear();
            self.waited += since.elapsed();
        }
        self.arrived = self.arrived.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.arrived >= self.port.config.body_progress_min {
            self.arrived = 0;
            self.waited = Duration::ZERO;
        }
    }

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
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.came(frame.data_ref().map_or(0, Bytes::len));
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                Poll::Ready(Some(Err(Status::from_error(Box::new(error)))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                this.since.get_or_insert_with(Instant::now);
                let patience = this.port.config.body_idle_timeout.saturating_sub(this.waited);
                std::task::ready!(this.stall.poll(cx, patience));
                Poll::Ready(Some(Err(this.too_slow())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
