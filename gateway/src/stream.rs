//! A stream of messages over HTTP: as a JSON array, as lines or as events. An
//! error after the first message is always seen: as an error line, an error
//! event, or an array that never closes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use chassis::Fault;
use futures_util::stream;
use http::{HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tonic::body::Body;
use transcode::{BindingId, PrintOptions, Schema};

use crate::{
    problem,
    rest::{Refusal, broken, failed, next_message, streaming},
};

/// How messages are set apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// One JSON array.
    Array,
    /// `application/x-ndjson`: one line each.
    Lines,
    /// `text/event-stream`: one event each.
    Events,
}

struct Source {
    body: Body,
    arrived: BytesMut,
    schema: Arc<Schema>,
    binding: BindingId,
    options: PrintOptions,
    framing: Framing,
    request_id: String,
    state: State,
    sent: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// Everything was said; nothing follows.
    Ended,
    /// An array that must not look complete.
    Broken,
}

// === impl Framing ===

impl Framing {
    /// As the client asks.
    pub(crate) fn of(accept: Option<&HeaderValue>) -> Self {
        let accept = accept.and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        if accept.contains("text/event-stream") {
            Self::Events
        } else if accept.contains("application/x-ndjson") {
            Self::Lines
        } else {
            Self::Array
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Array => "application/json",
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
        }
    }
}

/// Turns a streaming answer into HTTP. A stream that fails before its first
/// message is refused like any other call.
pub(crate) async fn respond(
    response: Response<Body>,
    schema: Arc<Schema>,
    binding: BindingId,
    options: PrintOptions,
    framing: Framing,
    request_id: &str,
) -> Result<Response<Body>, Refusal> {
    let (head, body) = response.into_parts();
    failed(&head.headers)?;
    let mut source = Source {
        body,
        arrived: BytesMut::new(),
        schema,
        binding,
        options,
        framing,
        request_id: request_id.to_owned(),
        state: State::Reading,
        sent: 0,
    };
    // The first message is waited for, so that an early failure has its status.
    let first = source.message().await?;
    let first = match first {
        Some(message) => source.print(&message)?,
        None => source.end(),
    };
    let rest = stream::unfold((Some(first), source), |(first, mut source)| async move {
        if let Some(first) = first {
            return Some((Ok(Frame::data(first)), (None, source)));
        }
        let next = source.next().await?;
        Some((next.map(Frame::data), (None, source)))
    });
    Ok(streaming(framing.content_type(), Body::new(StreamBody::new(rest))))
}

// === impl Source ===

impl Source {
    /// The next piece of the body; `None` at its end, `Err` to break it off.
    async fn next(&mut self) -> Option<Result<Bytes, tonic::Status>> {
        match self.state {
            State::Ended => return None,
            State::Broken => {
                self.state = State::Ended;
                return Some(Err(Fault::unavailable(
                    contracts::mesh::v1::ErrorReason::Unavailable,
                )
                .into()));
            }
            State::Reading => {}
        }
        let printed = match self.message().await {
            Ok(Some(message)) => self.print(&message),
            Ok(None) => Ok(self.end()),
            Err(fault) => Err(fault),
        };
        Some(Ok(printed.unwrap_or_else(|fault| self.fail(&fault))))
    }

    /// The next message of the call; `None` when it ended well.
    async fn message(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            if let Some(message) = next_message(&mut self.arrived) {
                return Ok(Some(message));
            }
            let Some(frame) = self.body.frame().await else {
                return Err(broken("the stream ended without a status"));
            };
            let frame = frame.map_err(broken)?;
            match frame.into_data() {
                Ok(data) => self.arrived.extend_from_slice(&data),
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        failed(&trailers)?;
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn print(&mut self, message: &[u8]) -> Result<Bytes, Fault> {
        let Some(binding) = self.schema.binding(self.binding) else {
            return Err(Fault::internal());
        };
        let mut out = Vec::with_capacity(message.len() * 2 + 64);
        out.extend_from_slice(match (self.framing, self.sent) {
            (Framing::Array, 0) => b"[",
            (Framing::Array, _) => b",",
            (Framing::Lines, _) => b"",
            (Framing::Events, _) => b"data: ",
        });
        self.schema
            .response_to_json(binding, message, &self.options, &mut out)
            .map_err(|error| Fault::internal().because(error.to_string()))?;
        out.extend_from_slice(match self.framing {
            Framing::Array => b"",
            Framing::Lines => b"\n",
            Framing::Events => b"\n\n",
        });
        self.sent += 1;
        Ok(out.into())
    }

    fn end(&mut self) -> Bytes {
        self.state = State::Ended;
        Bytes::from_static(match (self.framing, self.sent) {
            (Framing::Array, 0) => b"[]",
            (Framing::Array, _) => b"]",
            (Framing::Lines | Framing::Events, _) => b"",
        })
    }

    fn fail(&mut self, fault: &Fault) -> Bytes {
        let told = problem::json(fault, &self.request_id);
        match self.framing {
            Framing::Array => {
                self.state = State::Broken;
                [b",".as_slice(), &told].concat().into()
            }
            Framing::Lines => {
                self.state = State::Ended;
                [told.as_slice(), b"\n"].concat().into()
            }
            Framing::Events => {
                self.state = State::Ended;
                [b"event: error\ndata: ".as_slice(), &told, b"\n\n"].concat().into()
            }
        }
    }
}
