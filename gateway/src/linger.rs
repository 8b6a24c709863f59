//! Requests of HTTP/1.1 that are answered before they were read.
//!
//! A connection is closed if its request's body is left unread, and a client
//! that is still sending then sees a broken pipe instead of the answer. So what
//! is left is read for a while: enough for clients that say more than was asked,
//! not for those who would send for ever.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};

/// What is read of an unwanted body, in bytes.
const BYTES_MAX: usize = 256 << 10;
/// How long it is read for.
const TIME_MAX: Duration = Duration::from_secs(2);

/// A body that is read on when nobody wants it any more.
struct Lingering {
    body: Body,
    is_over: bool,
}

/// The body of a request by HTTP/1.1.
pub(crate) fn lingering(body: Body) -> Body {
    if body.is_end_stream() { body } else { Body::new(Lingering { body, is_over: false }) }
}

// === impl Lingering ===

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.is_over = true;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if self.is_end_stream() {
            return;
        }
        let body = std::mem::take(&mut self.body);
        // A drop cannot wait, and what it leaves behind ends by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(TIME_MAX, drain(body)));
        }
    }
}

async fn drain(mut body: Body) {
    let mut left = BYTES_MAX;
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
        left = rest;
    }
}
