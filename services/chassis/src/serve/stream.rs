//! The body of a streamed answer, watched as it passes: its deadline, the code it
//! ends with, and panics on the way.

use std::{
    future::Future as _,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Code, Status, body::Body};

use super::{Served, code_of};
use crate::{
    Fault,
    call::{self, Call},
};

/// The body of a streamed answer.
pub(super) struct Watched {
    body: Body,
    /// Set while the stream lasts.
    served: Option<Served>,
    call: Call,
    deadline: Pin<Box<Sleep>>,
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
        let polled = catch_unwind(AssertUnwindSafe(|| {
            call::scope_sync(this.call.clone(), || body.poll_frame(cx))
        }));
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
            // A stream that never pauses never waits for the alarm.
            Ok(Poll::Ready(Some(Ok(frame))))
                if frame.is_data() && Instant::now() > this.call.deadline =>
            {
                let fault = served.expired(this.call.deadline);
                this.end(served, fault)
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
