//! The body of an answer: it has the call's deadline, and the call is over when
//! it is.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use contracts::mesh::v1::ErrorReason;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Code, Status};

use super::made::{Made, Sent};
use crate::{Fault, serve::code_of};

/// The body of an answer.
pub(super) struct Answer<B> {
    body: B,
    /// Set until the end.
    open: Option<(Made, Option<Sent>)>,
    deadline: Instant,
    /// Made when the body keeps us waiting.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<B> Answer<B> {
    pub(super) fn new(body: B, made: Made, sent: Option<Sent>, deadline: Instant) -> Self {
        Self { body, open: Some((made, sent)), deadline, alarm: None }
    }

    fn end(&mut self, code: Code) {
        if let Some((mut made, sent)) = self.open.take() {
            made.code = code;
            drop(sent);
            drop(made);
        }
    }

    fn fail(&mut self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.end(fault.code());
        let mut trailers = HeaderMap::with_capacity(3);
        Poll::Ready(Some(
            Status::from(fault).add_header(&mut trailers).map(|()| Frame::trailers(trailers)),
        ))
    }
}

impl<B> HttpBody for Answer<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: std::error::Error + 'static,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some((made, _)) = &this.open else {
            return Poll::Ready(None);
        };
        match Pin::new(&mut this.body).poll_frame(cx) {
            // A stream that never pauses never waits for the alarm.
            Poll::Ready(Some(Ok(frame))) if frame.is_data() && Instant::now() > this.deadline => {
                let fault = made.expired();
                this.fail(fault)
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    let code = code_of(trailers).unwrap_or(Code::Unknown);
                    this.end(code);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                // A gRPC answer ends with trailers; this one did not.
                this.end(Code::Unknown);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                let fault = Fault::unavailable(ErrorReason::Unavailable)
                    .message(format!("{} broke off its answer: {error}", made.peer()));
                this.fail(fault)
            }
            Poll::Pending => {
                let deadline = this.deadline;
                let alarm = this.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
                if alarm.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                let fault = made.expired();
                this.fail(fault)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
