//! One call on a connection: its request on the way out, its answer on the way in.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client::ResponseFuture};
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::rt::Executor as _;
use hyper_util::rt::TokioExecutor;
use tokio::{sync::oneshot, time::Instant};
use tonic::body::Body;

use super::abandoned::Abandoned;

/// Held by whoever waits for the answer; when it is dropped the request ends too.
pub(super) type Interest = oneshot::Sender<Infallible>;

/// A request body on its way to the peer.
pub(super) struct Pipe {
    body: Body,
    stream: SendStream<Bytes>,
    /// Resolves when nobody wants the answer any more.
    unwanted: oneshot::Receiver<Infallible>,
}

/// A call that has no answer yet.
pub(super) struct Waiting {
    /// Set until there is one.
    answer: Option<ResponseFuture>,
    id: u32,
    begun: Instant,
    is_short: bool,
    interest: Option<Interest>,
    abandoned: Arc<Abandoned>,
}

/// The body of an answer. The peer hears of it if it is dropped before its end.
pub(super) struct Arriving {
    stream: RecvStream,
    is_data_over: bool,
    _interest: Option<Interest>,
}

// === impl Pipe ===

impl Pipe {
    /// Sends what is there at once; a task sends what comes later.
    pub(super) fn start(body: Body, stream: SendStream<Bytes>) -> Option<Interest> {
        let (interest, unwanted) = oneshot::channel();
        TokioExecutor::new().execute(Self { body, stream, unwanted });
        Some(interest)
    }

    /// Waits until the peer takes more, and then for more to send.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        // One byte: how much comes next is not known before it is there.
        self.stream.reserve_capacity(1);
        while self.stream.capacity() == 0 {
            match std::task::ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(Reason::NO_ERROR)),
            }
        }
        if self.stream.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Reason::NO_ERROR));
        }
        let ended = Err(Reason::NO_ERROR);
        match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None => {
                let _gone = self.stream.send_data(Bytes::new(), true);
                Poll::Ready(ended)
            }
            Some(Ok(frame)) => {
                let is_last = self.body.is_end_stream();
                let sent = match frame.into_data() {
                    Ok(data) => self.stream.send_data(data, is_last),
                    Err(frame) => match frame.into_trailers() {
                        Ok(trailers) => {
                            let _gone = self.stream.send_trailers(trailers);
                            return Poll::Ready(ended);
                        }
                        Err(_unknown) => Ok(()),
                    },
                };
                Poll::Ready(if is_last || sent.is_err() { ended } else { Ok(()) })
            }
            Some(Err(_)) => Poll::Ready(Err(Reason::CANCEL)),
        }
    }
}

impl Future for Pipe {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Pin::new(&mut self.unwanted).poll(cx).is_ready() {
            self.stream.send_reset(Reason::CANCEL);
            return Poll::Ready(());
        }
        loop {
            match std::task::ready!(self.poll_step(cx)) {
                Ok(()) => {}
                Err(Reason::NO_ERROR) => return Poll::Ready(()),
                Err(reason) => {
                    self.stream.send_reset(reason);
                    return Poll::Ready(());
                }
            }
        }
    }
}

// === impl Waiting ===

impl Waiting {
    pub(super) fn new(
        answer: ResponseFuture,
        is_short: bool,
        interest: Option<Interest>,
        abandoned: &Arc<Abandoned>,
    ) -> Self {
        Self {
            id: answer.stream_id().as_u32(),
            answer: Some(answer),
            begun: Instant::now(),
            is_short,
            interest,
            abandoned: Arc::clone(abandoned),
        }
    }
}

impl Future for Waiting {
    type Output = Result<Response<Arriving>, h2::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        // It is not polled again after it was ready.
        let Some(answer) = &mut this.answer else { return Poll::Pending };
        let answered = std::task::ready!(Pin::new(answer).poll(cx));
        this.answer = None;
        let interest = this.interest.take();
        Poll::Ready(answered.map(|response| {
            this.abandoned.answered(this.id);
            response.map(|stream| Arriving { stream, is_data_over: false, _interest: interest })
        }))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take()
            && self.is_short
        {
            Abandoned::keep(&self.abandoned, answer, self.id, self.begun);
        }
    }
}

// === impl Arriving ===

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.is_data_over {
            match std::task::ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // What has been taken makes room for more.
                    let _closed = self.stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) if is_early_end(&error) => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.is_data_over = true,
            }
        }
        let trailers = match std::task::ready!(self.stream.poll_trailers(cx)) {
            Err(error) if is_early_end(&error) => return Poll::Ready(None),
            trailers => trailers,
        };
        Poll::Ready(trailers.transpose().map(|trailers| trailers.map(Frame::trailers)))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// An answer was complete before its request was: nothing more comes, and nothing
/// failed (RFC 9113, section 8.1).
fn is_early_end(error: &h2::Error) -> bool {
    error.is_reset() && error.reason() == Some(Reason::NO_ERROR)
}
