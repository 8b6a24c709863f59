//! What a service streams, over HTTP: as a JSON array, as lines, as events or as
//! protobuf.
//!
//! An error after the first message is always seen:
//!
//! | framing | the failure | the end after it |
//! |---|---|---|
//! | JSON array | `{"error": …}` as the last element | broken off, no `]` |
//! | lines | a line `{"error": …}` | broken off if a message has a field of that name |
//! | events | `event: error` | as it should be |
//! | protobuf | - | broken off |
//!
//! "Broken off" is a chunked body without its last chunk (HTTP/1.1) or
//! RST_STREAM (HTTP/2). A stream of events that ended well ends with
//! `event: end`, since an `EventSource` takes every other end for a reason to come
//! back.

use std::{mem, sync::Arc, time::Duration};

use bytes::{BufMut as _, Bytes};
use chassis::Fault;
use contracts::mesh::v1::ErrorReason;
use futures_util::stream;
use http::{HeaderName, HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::time::{sleep, timeout};
use tonic::{Status, body::Body};
use transcode::{BindingId, PrintOptions};

use super::{Bounds, Framing, Messages, Resume};
use crate::{
    problem::{self, Telling},
    serving::Serving,
};

/// Messages that have arrived go out in one piece of about this many bytes. None
/// waits for another.
const PIECE_BYTES: usize = 16 << 10;
/// How long a body that is to be broken off waits first, so that what was said
/// before gets out: a reset overtakes what is still queued.
pub(crate) const BREAK_OFF_AFTER: Duration = Duration::from_millis(50);
/// Tells nginx to pass every piece on at once.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// How an answer is to be written.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) serving: Arc<Serving>,
    pub(crate) binding: BindingId,
    pub(crate) options: PrintOptions,
    pub(crate) framing: Framing,
    pub(crate) resume: Option<Resume>,
    pub(crate) bounds: Bounds,
    pub(crate) request_id: String,
}

/// An answer on its way.
struct Source {
    answer: Answer,
    messages: Messages,
    state: State,
    sent: u64,
}

#[derive(Debug)]
enum State {
    Reading,
    /// It failed, and the client is to be told.
    Failed(Fault),
    /// Everything was said; nothing follows.
    Ended,
    /// Everything was said, and it must not look complete.
    Broken,
}

// === impl Answer ===

impl Answer {
    /// Turns a streamed answer into HTTP. A stream that fails before its first
    /// message, and soon, is refused like any other call.
    pub(crate) async fn respond(self, messages: Messages) -> Result<Response<Body>, Fault> {
        let (framing, head_wait) = (self.framing, self.bounds.head_wait);
        let mut source = Source { answer: self, messages, state: State::Reading, sent: 0 };
        let mut first = Vec::new();
        if framing == Framing::Events {
            let retry = source.answer.bounds.retry.as_millis();
            first.extend_from_slice(format!("retry: {retry}\n\n").as_bytes());
        }
        // Who waits longer than that is to see that it is waiting.
        if let Ok(waited) = timeout(head_wait, source.messages.next()).await {
            match waited? {
                Some(message) => {
                    source.print(&message, &mut first)?;
                    source.print_arrived(&mut first);
                }
                None => source.end(&mut first),
            }
        }
        let first = (!first.is_empty()).then(|| Bytes::from(first));
        let pieces = stream::unfold((first, source), |(first, mut source)| async move {
            let piece = match first {
                Some(first) => Ok(first),
                None => source.next().await?,
            };
            Some((piece.map(Frame::data), (None, source)))
        });
        let mut response = Response::new(Body::new(StreamBody::new(pieces)));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(framing.content_type()));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
        Ok(response)
    }
}

// === impl Source ===

impl Source {
    /// The next piece of the body; `None` at its end, `Err` to break it off.
    async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        let mut out = Vec::new();
        // A piece of nothing would end a chunked body.
        while out.is_empty() {
            match mem::replace(&mut self.state, State::Ended) {
                State::Ended => return None,
                State::Broken => {
                    sleep(BREAK_OFF_AFTER).await;
                    let fault = Fault::unavailable(ErrorReason::Unavailable)
                        .message("the stream failed; its last message says why");
                    return Some(Err(fault.into()));
                }
                State::Failed(fault) => self.fail(&fault, &mut out),
                State::Reading => {
                    self.state = State::Reading;
                    self.read(&mut out).await;
                }
            }
        }
        Some(Ok(out.into()))
    }

    async fn read(&mut self, out: &mut Vec<u8>) {
        let read = if self.answer.framing == Framing::Events {
            match timeout(self.answer.bounds.heartbeat, self.messages.next()).await {
                Ok(read) => read,
                Err(_elapsed) => {
                    // A comment, which keeps proxies from closing the connection.
                    out.extend_from_slice(b":\n\n");
                    return;
                }
            }
        } else {
            self.messages.next().await
        };
        let printed = read.and_then(|message| match message {
            Some(message) => self.print(&message, out),
            None => {
                self.end(out);
                Ok(())
            }
        });
        match printed {
            Ok(()) => self.print_arrived(out),
            Err(fault) => self.fail(&fault, out),
        }
    }

    /// Prints what is here already. A failure among it is told in the next piece.
    fn print_arrived(&mut self, out: &mut Vec<u8>) {
        while matches!(self.state, State::Reading) && out.len() < PIECE_BYTES {
            let printed = match self.messages.arrived() {
                Ok(Some(message)) => self.print(&message, out),
                Ok(None) => return,
                Err(fault) => Err(fault),
            };
            if let Err(fault) = printed {
                self.state = State::Failed(fault);
            }
        }
    }

    fn print(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let Answer { serving, framing, options, resume, .. } = &self.answer;
        let schema = &serving.schema;
        let start = out.len();
        out.reserve(message.len() * 2 + 64);
        match (framing, self.sent) {
            (Framing::Array, 0) => out.push(b'['),
            (Framing::Array, _) => out.push(b','),
            (Framing::Lines, _) => {}
            (Framing::Events, _) => {
                if let Some(id) = resume.as_ref().and_then(|resume| resume.id(message)) {
                    out.extend_from_slice(format!("id: {id}\n").as_bytes());
                }
                out.extend_from_slice(b"data: ");
            }
            (Framing::Delimited, _) => {
                put_varint(message.len(), out);
                out.extend_from_slice(message);
                self.sent += 1;
                return Ok(());
            }
        }
        let printed = match schema.binding(self.answer.binding) {
            None => Err(Fault::internal()),
            Some(binding) => schema
                .response_to_json(binding, message, options, out)
                .map_err(|error| Fault::internal().because(error.to_string())),
        };
        if let Err(fault) = printed {
            out.truncate(start);
            return Err(fault);
        }
        out.extend_from_slice(match framing {
            Framing::Array | Framing::Delimited => b"",
            Framing::Lines => b"\n",
            Framing::Events => b"\n\n",
        });
        self.sent += 1;
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.state = State::Ended;
        out.extend_from_slice(match (self.answer.framing, self.sent) {
            (Framing::Array, 0) => b"[]",
            (Framing::Array, _) => b"]",
            (Framing::Events, _) => b"event: end\ndata: {}\n\n",
            (Framing::Lines | Framing::Delimited, _) => b"",
        });
    }

    fn fail(&mut self, fault: &Fault, out: &mut Vec<u8>) {
        let schema = Some(&*self.answer.serving.schema);
        let telling = Telling { schema, ..Telling::new(&self.answer.request_id) };
        let told = problem::body(fault, &telling);
        let (before, after, state): (&[u8], &[u8], _) = match (self.answer.framing, self.sent) {
            (Framing::Array, 0) => (b"[", b"", State::Broken),
            (Framing::Array, _) => (b",", b"", State::Broken),
            (Framing::Lines, _) if self.has_error_of_its_own() => (b"", b"\n", State::Broken),
            (Framing::Lines, _) => (b"", b"\n", State::Ended),
            (Framing::Events, _) => (b"event: error\ndata: ", b"\n\n", State::Ended),
            (Framing::Delimited, _) => {
                self.state = State::Broken;
                return;
            }
        };
        self.state = state;
        for part in [before, &told, after] {
            out.extend_from_slice(part);
        }
    }

    /// Whether a line `{"error": …}` could be a message.
    fn has_error_of_its_own(&self) -> bool {
        let Answer { serving, binding, .. } = &self.answer;
        let schema = &serving.schema;
        let method =
            schema.binding(*binding).and_then(|binding| schema.method_by_id(binding.method()));
        method.is_none_or(|method| schema.field_path(method.output(), "error").is_some())
    }
}

/// A length as protobuf writes it.
fn put_varint(length: usize, out: &mut Vec<u8>) {
    let mut rest = length;
    while rest >= 0x80 {
        out.put_u8(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
        rest >>= 7;
    }
    out.put_u8(u8::try_from(rest).unwrap_or(0));
}
