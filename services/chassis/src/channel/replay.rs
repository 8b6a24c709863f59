//! Requests that can be made again: their one message is kept.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};

/// A request body that was read to see whether it fits.
pub(super) enum Read {
    /// All of it.
    Whole(Bytes),
    /// It is longer than is kept, or it failed: it can be sent once.
    Once(Body),
}

/// What was read of a body, then the rest of it.
struct Rejoined {
    read: Option<Bytes>,
    rest: Body,
    failed: Option<Status>,
}

/// Reads a body of at most `most` bytes.
pub(super) async fn read(mut body: Body, most: usize) -> Read {
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    loop {
        match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            None => break,
            Some(Ok(frame)) => {
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
            Some(Err(status)) => return once(first, more, body, Some(status)),
        }
    }
    Read::Whole(joined(first, more))
}

/// A body of these bytes.
pub(super) fn whole(bytes: Bytes) -> Body {
    Body::new(http_body_util::Full::new(bytes))
}

fn joined(first: Bytes, more: BytesMut) -> Bytes {
    if more.is_empty() { first } else { more.freeze() }
}

fn once(first: Bytes, more: BytesMut, rest: Body, failed: Option<Status>) -> Read {
    Read::Once(Body::new(Rejoined { read: Some(joined(first, more)), rest, failed }))
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
