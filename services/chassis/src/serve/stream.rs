//! Bodies that are watched as they pass: the bound of a request, and the
//! deadline, code and panics of a streamed answer.

use std::{
    future::Future as _,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes};
use contracts::mesh::v1::ErrorReason;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep_until};
use tonic::{Code, Status, body::Body};

use super::{Served, code_of};
use crate::{
    Fault,
    call::{self, Call},
};

/// A request body that fails once it is longer than it may be.
pub(super) struct Capped {
    body: Body,
    most: usize,
    left: usize,
}

/// The body of a streamed answer.
pub(super) struct Watched {
    body: Body,
    /// Set while the stream lasts.
    served: Option<Served>,
    call: Call,
    deadline: Pin<Box<Sleep>>,
}

// === impl Capped ===

impl Capped {
    pub(super) fn new(body: Body, most: usize) -> Self {
        Self { body, most, left: most }
    }
}

impl HttpBody for Capped {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            match self.left.checked_sub(data.remaining()) {
                Some(left) => self.left = left,
                None => {
                    let fault = Fault::resource_exhausted(ErrorReason::MessageTooLarge)
                        .message(format!("a request of this method may have {} bytes", self.most));
                    return Poll::Ready(Some(Err(fault.into())));
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// === impl Watched ===

impl Watched {
    pub(super) fn new(body: Body, served: Served, call: Call) -> Self {
        let deadline = Box::pin(sleep_until(call.deadline));
        Self { body, served: Some(served), call, deadline }
    }

    /// Ends the stream with the status of a failure.
    fn end(&mut self, served: Served, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.body = Body::empty();
        let mut served = served;
        served.code = fault.code();
        let status = Status::from(fault);
        let mut trailers = HeaderMap::with_capacity(3);
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(served) = this.served.take() else { return Poll::Ready(None) };
        let body = Pin::new(&mut this.body);
        let polled = catch_unwind(AssertUnwindSafe(|| call::scope_sync(this.call.clone(), || body.poll_frame(cx))));
        match polled {
            Err(panic) => {
                let fault = served.panic_fault(&*panic);
                this.end(served, fault)
            }
            Ok(Poll::Pending) if this.deadline.as_mut().poll(cx).is_ready() => {
                let fault = served.expired(this.call.deadline);
                this.end(served, fault)
            }
            Ok(Poll::Pending) => {
                this.served = Some(served);
                Poll::Pending
            }
            Ok(Poll::Ready(Some(Ok(frame)))) => {
                let mut served = served;
                match frame.trailers_ref() {
                    Some(trailers) => served.code = code_of(trailers).unwrap_or(Code::Ok),
                    None => this.served = Some(served),
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Ok(Poll::Ready(Some(Err(status)))) => {
                let mut served = served;
                served.code = status.code();
                Poll::Ready(Some(Err(status)))
            }
            Ok(Poll::Ready(None)) => {
                let mut served = served;
                served.code = Code::Ok;
                Poll::Ready(None)
            }
        }
    }
}
