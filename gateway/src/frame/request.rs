//! What clients send in frames: one message where the method takes one, which is
//! read before the call is made, or a stream of them, which passes while it is
//! looked at.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use chassis::{Fault, serve::timeout};
use contracts::mesh::v1::ErrorReason;
use futures_util::task::AtomicWaker;
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Full;
use tokio::time::Instant;
use tonic::{Code, Status, body::Body};

use super::{
    Frames, Watch,
    recode::{Reader, read_frame},
};

/// What was found wrong with a request that is already on its way. Whoever
/// answers the client looks here first: what the service says of a request that
/// broke off is not the reason.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mishap(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    status: OnceLock<Status>,
    waker: AtomicWaker,
}

/// The messages of a stream on their way to the service.
struct Passing {
    body: Body,
    watch: Watch,
    mishap: Mishap,
    is_over: bool,
}

/// The pieces of a body that was read.
struct Pieces {
    first: Option<Bytes>,
    rest: std::vec::IntoIter<Bytes>,
    bytes: u64,
}

// === reading one message ===

/// Reads the one message of a request whose method takes one; what is returned
/// is its frame, as it came.
///
/// # Errors
///
/// No message or more than one, one that is too large or not whole, and a body
/// that broke off.
pub(crate) async fn one(mut body: Body, mut watch: Watch) -> Result<Body, Fault> {
    let (mut first, mut rest, mut bytes) = (None, Vec::new(), 0_u64);
    while let Some(data) = next(&mut body).await? {
        watch.see(&data)?;
        if watch.count() > 1 {
            return Err(too_many());
        }
        bytes += u64::try_from(data.len()).unwrap_or(u64::MAX);
        if first.is_none() {
            first = Some(data);
        } else {
            rest.push(data);
        }
    }
    if !watch.is_between() {
        return Err(cut_short());
    }
    match first {
        Some(first) if watch.count() == 1 => Ok(if rest.is_empty() {
            Body::new(Full::new(first))
        } else {
            Body::new(Pieces { first: Some(first), rest: rest.into_iter(), bytes })
        }),
        _ => Err(none()),
    }
}

/// As [`one`], of a client whose frames are not those of the service.
///
/// # Errors
///
/// As [`one`], and a message that cannot be read.
pub(crate) async fn one_recoded(mut body: Body, reader: &Reader) -> Result<Body, Fault> {
    let mut frames = Frames::new(reader.bounds.request_bytes_max);
    let mut out = Vec::new();
    while let Some(data) = next(&mut body).await? {
        frames.push(data);
        while let Some(frame) = frames.pull()? {
            if !out.is_empty() {
                return Err(too_many());
            }
            read_frame(reader, &frame, &mut out)?;
        }
    }
    match (frames.is_empty(), out.is_empty()) {
        (false, _) => Err(cut_short()),
        (true, true) => Err(none()),
        (true, false) => Ok(Body::new(Full::new(out.into()))),
    }
}

fn none() -> Fault {
    Fault::unimplemented(ErrorReason::MalformedMessage)
        .message("the method takes one message, and was sent none")
}

fn too_many() -> Fault {
    Fault::unimplemented(ErrorReason::MalformedMessage)
        .message("the method takes one message, and was sent more")
}

/// Reads a body as a whole into `out`, which may already hold something: at most
/// `bytes_max` bytes.
///
/// # Errors
///
/// A body that is larger, and one that broke off.
pub(crate) async fn whole(
    mut body: Body,
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let start = out.len();
    if let Some(bytes) = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok()) {
        if bytes > bytes_max {
            return Err(larger(bytes_max));
        }
        out.reserve_exact(bytes);
    }
    while let Some(data) = next(&mut body).await? {
        if out.len() - start + data.len() > bytes_max {
            return Err(larger(bytes_max));
        }
        out.extend_from_slice(&data);
    }
    Ok(())
}

/// Reads what must be there before the call is made, for no longer than the call
/// may take. `headers` are those of the call: its `grpc-timeout` is less by the
/// time that was waited.
///
/// # Errors
///
/// Those of `read`, and a client that takes too long.
pub(crate) async fn within<T>(
    longest: Duration,
    headers: &mut HeaderMap,
    read: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let mut read = pin!(read);
    if let Poll::Ready(done) = futures_util::poll!(read.as_mut()) {
        return done;
    }
    let asked = timeout::read(headers)?;
    let (started, allowed) = (Instant::now(), asked.map_or(longest, |asked| asked.min(longest)));
    let Ok(done) = tokio::time::timeout(allowed, read).await else {
        return Err(Fault::deadline_exceeded(ErrorReason::DeadlineExceeded)
            .message("the request did not arrive in the time that it may take"));
    };
    if let Some(asked) = asked {
        timeout::write(headers, asked.saturating_sub(started.elapsed()));
    }
    done
}

/// The next piece of a body. Trailers of requests mean nothing to gRPC.
async fn next(body: &mut Body) -> Result<Option<Bytes>, Fault> {
    loop {
        if body.is_end_stream() {
            return Ok(None);
        }
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            None => return Ok(None),
            Some(Err(error)) => return Err(broken_off(error)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Ok(Some(data)),
                Err(_trailers) => {}
            },
        }
    }
}

/// A request that ends within a message.
pub(crate) fn cut_short() -> Fault {
    Fault::invalid_argument(ErrorReason::MalformedMessage)
        .message("the request ends in the middle of a message")
}

/// A request whose body failed: what was wrong with it, if a layer before said
/// so, and else that its client went away.
pub(crate) fn broken_off(error: Status) -> Fault {
    if matches!(error.code(), Code::InvalidArgument | Code::ResourceExhausted) {
        return Fault::from_status(&error);
    }
    Fault::cancelled(ErrorReason::Cancelled).message("the request ended too early").because(error)
}

#[cold]
fn larger(bytes_max: usize) -> Fault {
    Fault::resource_exhausted(ErrorReason::MessageTooLarge)
        .message(format!("the message is larger than {bytes_max} bytes"))
}

// === impl Mishap ===

impl Mishap {
    /// Notes what went wrong, and wakes who answers. It returns what a body ends
    /// with.
    pub(crate) fn note(&self, fault: Fault) -> Status {
        let status = Status::from(fault);
        // Only the first is the reason.
        let _had_one = self.0.status.set(status.clone());
        self.0.waker.wake();
        status
    }

    /// What went wrong, as soon as something did.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<&Status> {
        if let Some(status) = self.0.status.get() {
            return Poll::Ready(status);
        }
        self.0.waker.register(cx.waker());
        self.0.status.get().map_or(Poll::Pending, Poll::Ready)
    }

    /// The answer to a call, or what went wrong with its request.
    pub(crate) async fn or(&self, answer: impl Future<Output = Response<Body>>) -> Response<Body> {
        let mut answer = pin!(answer);
        poll_fn(|cx| match self.poll(cx) {
            Poll::Ready(status) => Poll::Ready(status.clone().into_http()),
            Poll::Pending => answer.as_mut().poll(cx),
        })
        .await
    }
}

// === impl Passing ===

/// A stream of messages that passes as it is, while it is looked at.
pub(crate) fn passing(body: Body, watch: Watch, mishap: Mishap) -> Body {
    Body::new(Passing { body, watch, mishap, is_over: false })
}

impl HttpBody for Passing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        let fault = match std::task::ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => match this.watch.see(&data) {
                    Ok(()) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Err(fault) => fault,
                },
                Err(_trailers) => {
                    this.is_over = true;
                    return Poll::Ready(None);
                }
            },
            None if this.watch.is_between() => {
                this.is_over = true;
                return Poll::Ready(None);
            }
            None => cut_short(),
            Some(Err(error)) => broken_off(error),
        };
        this.is_over = true;
        this.body = Body::empty();
        Poll::Ready(Some(Err(this.mishap.note(fault))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || (self.body.is_end_stream() && self.watch.is_between())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// === impl Pieces ===

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let piece = self.first.take().or_else(|| self.rest.next());
        if let Some(piece) = &piece {
            self.bytes -= u64::try_from(piece.len()).unwrap_or(0).min(self.bytes);
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes)
    }
}
