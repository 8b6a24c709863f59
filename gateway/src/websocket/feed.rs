//! From the socket to the service: one message waits at most, so that a service
//! that does not read stops the client.

use std::time::{Duration, Instant};

use bytes::Bytes;
use chassis::Fault;
use contracts::mesh::v1::ErrorReason;
use futures_util::{Stream, StreamExt as _, stream};
use http::request::Parts;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Error, Message};
use tonic::body::Body;
use transcode::{Body as Content, Match};

use super::session::Pulse;
use crate::streams::{Bounds, Piece, cancelled, frame};

/// What goes to the service.
enum Fed {
    Messages(Bytes),
    End,
}

/// The socket's end of a call's body. A feed that is dropped before its end cancels
/// the call.
pub(super) struct Feed {
    sender: mpsc::Sender<Fed>,
    /// Messages that went on.
    sent: u64,
    is_ended: bool,
    /// One message is the whole request.
    is_unary: bool,
    controls: Controls,
}

/// Why nothing more comes from the client.
pub(super) enum Left {
    /// It closed the socket, or lost it.
    Gone,
    /// What it sent is no WebSocket.
    Broken(Error),
    /// What it sent cannot be read.
    Unreadable(Fault),
    /// It sent what is not for it to send.
    Misused(Fault),
}

/// Counts pings and pongs.
struct Controls {
    most: u32,
    since: Instant,
    count: u32,
}

/// A feed, and the body at its other end.
pub(super) fn feed(is_unary: bool, controls_per_second: u32) -> (Feed, Body) {
    let (sender, receiver) = mpsc::channel(1);
    let frames = stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Fed::Messages(frames)) => Some((Ok(Frame::data(frames)), Some(receiver))),
            Some(Fed::End) => None,
            None => Some((Err(cancelled()), None)),
        }
    });
    let controls = Controls { most: controls_per_second, since: Instant::now(), count: 0 };
    let feed = Feed { sender, sent: 0, is_ended: false, is_unary, controls };
    (feed, Body::new(StreamBody::new(frames)))
}

// === impl Feed ===

impl Feed {
    /// Sends the whole request, which took nothing from the client.
    pub(super) async fn whole(&mut self, frames: Bytes, pulse: &Pulse) {
        self.send(Fed::Messages(frames), pulse).await;
        self.end(pulse).await;
    }

    /// Carries what the client sends until it sends no more.
    pub(super) async fn carry<S>(
        &mut self,
        mut socket: S,
        bounds: Bounds,
        found: &Match<'_>,
        parts: &Parts,
        pulse: &Pulse,
    ) -> Left
    where
        S: Stream<Item = Result<Message, Error>> + Unpin,
    {
        loop {
            let message = match socket.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Left::Broken(error),
                None => return Left::Gone,
            };
            pulse.beat();
            let content = match &message {
                Message::Close(_) => return Left::Gone,
                Message::Ping(_) | Message::Pong(_) => match self.controls.admit() {
                    Ok(()) => continue,
                    Err(fault) => return Left::Misused(fault),
                },
                Message::Text(text) if text.as_str().is_empty() => {
                    self.end(pulse).await;
                    continue;
                }
                Message::Text(text) => Content::Json(text.as_str().as_bytes()),
                Message::Binary(bytes) => Content::Wire(bytes),
                // Not read as such.
                Message::Frame(_) => continue,
            };
            if self.is_ended {
                return Left::Misused(
                    Fault::invalid_argument(ErrorReason::InvalidField)
                        .message("a message came behind the end of the stream"),
                );
            }
            let mut frames = Vec::new();
            let piece = Piece { index: Some(self.sent), ..Piece::of(content) };
            match frame(bounds, found, parts, piece, &mut frames) {
                Ok(()) => self.send(Fed::Messages(frames.into()), pulse).await,
                Err(fault) => return Left::Unreadable(fault),
            }
            self.sent += 1;
            if self.is_unary {
                self.end(pulse).await;
            }
        }
    }

    async fn end(&mut self, pulse: &Pulse) {
        if !self.is_ended {
            self.is_ended = true;
            self.send(Fed::End, pulse).await;
        }
    }

    /// Nobody reads any more when the call has ended: its answer says why.
    async fn send(&mut self, fed: Fed, pulse: &Pulse) {
        let _waiting = pulse.wait();
        let _ended = self.sender.send(fed).await;
    }
}

// === impl Controls ===

impl Controls {
    fn admit(&mut self) -> Result<(), Fault> {
        if self.since.elapsed() >= Duration::from_secs(1) {
            (self.since, self.count) = (Instant::now(), 0);
        }
        self.count += 1;
        if self.count <= self.most {
            return Ok(());
        }
        Err(Fault::resource_exhausted(ErrorReason::RateLimited)
            .message(format!("more than {} pings or pongs came within a second", self.most)))
    }
}
