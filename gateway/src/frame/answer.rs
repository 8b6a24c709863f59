//! What services answer: messages, and at the end trailers that say how it went.
//!
//! Whatever goes wrong on the way becomes trailers too, so that every translator
//! has one thing to tell its client.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use chassis::Fault;
use contracts::mesh::v1::ErrorReason;
use http::HeaderMap;
use http_body::Body as HttpBody;
use tonic::{Code, Status, body::Body};

use super::Frames;
use crate::compression::{self, Coding};

/// The coding of the messages of a gRPC stream.
pub(crate) const GRPC_ENCODING: &str = "grpc-encoding";

/// The body of an answer, read message by message.
#[derive(Debug)]
pub(crate) struct Answer {
    body: Body,
    frames: Frames,
    /// How compressed messages are read.
    coding: Option<Coding>,
    message_bytes_max: usize,
    is_over: bool,
}

/// What there is next in an answer.
#[derive(Debug)]
pub(crate) enum Part {
    /// A message, decompressed.
    Message(Bytes),
    /// The trailers. Nothing follows.
    End(HeaderMap),
}

/// The answer of a method that answers with one message, and did.
#[derive(Debug)]
pub(crate) struct Unary {
    pub(crate) message: Bytes,
    pub(crate) trailers: HeaderMap,
}

// === impl Answer ===

impl Answer {
    /// The body of an answer with these headers, whose messages have at most so
    /// many bytes.
    pub(crate) fn new(headers: &HeaderMap, body: Body, message_bytes_max: usize) -> Self {
        let coding = headers.get(GRPC_ENCODING).and_then(|coding| coding.to_str().ok());
        Self {
            body,
            frames: Frames::new(message_bytes_max),
            coding: coding.and_then(Coding::named),
            message_bytes_max,
            is_over: false,
        }
    }

    /// The next part; after the trailers, trailers without anything.
    pub(crate) async fn part(&mut self) -> Part {
        poll_fn(|cx| self.poll_part(cx)).await
    }

    pub(crate) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Part> {
        loop {
            if self.is_over {
                return Poll::Ready(Part::End(HeaderMap::new()));
            }
            match self.pull() {
                Ok(Some(message)) => return Poll::Ready(Part::Message(message)),
                Ok(None) => {}
                Err(fault) => return Poll::Ready(self.fail(trailers(fault))),
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => return Poll::Ready(self.fail(trailers(ended_early()))),
                Some(Err(status)) => return Poll::Ready(self.fail(status_trailers(&status))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.frames.push(data),
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        return Poll::Ready(self.end(trailers));
                    }
                },
            }
        }
    }

    /// Reads the answer of a method that answers with one message.
    ///
    /// # Errors
    ///
    /// The trailers of an answer that failed.
    pub(crate) async fn unary(mut self) -> Result<Unary, HeaderMap> {
        let message = match self.part().await {
            Part::Message(message) => message,
            Part::End(end) if is_ok(&end) => {
                return Err(trailers(no_message()));
            }
            Part::End(trailers) => return Err(trailers),
        };
        match self.part().await {
            Part::End(trailers) if is_ok(&trailers) => Ok(Unary { message, trailers }),
            Part::End(trailers) => Err(trailers),
            Part::Message(_) => {
                let fault = Fault::internal().because("the service answered more than one message");
                Err(trailers(fault))
            }
        }
    }

    /// The next message that has arrived.
    fn pull(&mut self) -> Result<Option<Bytes>, Fault> {
        let Some(frame) = self.frames.pull()? else { return Ok(None) };
        if frame.flags == 0 {
            return Ok(Some(frame.message));
        }
        let Some(coding) = self.coding.filter(|_| frame.is_compressed()) else {
            return Err(Fault::internal().because(format!(
                "the service answered a frame with the flags {:#04x}",
                frame.flags
            )));
        };
        let mut message = Vec::new();
        compression::decompress(coding, &frame.message, self.message_bytes_max, &mut message)
            .map_err(|error| Fault::internal().because(error))?;
        Ok(Some(message.into()))
    }

    fn end(&mut self, trailers: HeaderMap) -> Part {
        self.is_over = true;
        if !self.frames.is_empty() && is_ok(&trailers) {
            return self.fail(self::trailers(ended_early()));
        }
        Part::End(trailers)
    }

    fn fail(&mut self, trailers: HeaderMap) -> Part {
        self.is_over = true;
        self.body = Body::empty();
        Part::End(trailers)
    }
}

/// Whether trailers, or the headers of an answer without any message, say that
/// the call went well.
pub(crate) fn is_ok(trailers: &HeaderMap) -> bool {
    trailers.get(Status::GRPC_STATUS).is_some_and(|code| code == "0")
}

/// Whether the messages of an answer may be compressed.
pub(crate) fn is_coded(headers: &HeaderMap) -> bool {
    headers.get(GRPC_ENCODING).is_some_and(|coding| coding != "identity")
}

/// The trailers that tell of a fault.
pub(crate) fn trailers(fault: Fault) -> HeaderMap {
    status_trailers(&Status::from(fault))
}

/// The trailers that a status stands for.
pub(crate) fn status_trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(4);
    if status.add_header(&mut trailers).is_err() {
        // Its metadata cannot be written; its code can.
        trailers.insert(Status::GRPC_STATUS, http::HeaderValue::from(i32::from(Code::Internal)));
    }
    trailers
}

/// An answer that ended well and said nothing.
pub(crate) fn no_message() -> Fault {
    Fault::internal().because("the service answered without a message")
}

/// An answer that broke off: without trailers nobody knows how the call went.
pub(crate) fn ended_early() -> Fault {
    Fault::unavailable(ErrorReason::Unavailable).message("the service's answer ended too early")
}
