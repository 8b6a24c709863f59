//! The body of an answer as a client takes it: messages, recoded or as they are,
//! and at the end the trailers in the client's form.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use chassis::Fault;
use futures_util::{StreamExt as _, stream};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame as Piece};
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody};
use tonic::{Status, body::Body};
use transcode::Schema;

use super::{
    answer::{Answer, Part, ended_early, status_trailers, trailers},
    recode::Writer,
    request::Mishap,
};
use crate::{connect, metadata, web};

/// The longest answer that is gathered before it goes out.
const GATHERED_BYTES_MAX: usize = 16 << 10;

/// The messages of an answer.
pub(crate) enum Messages {
    /// As they are.
    Plain(Body),
    /// In another form.
    Recoded(Answer, Writer),
}

/// How a client learns of the end.
pub(crate) enum Ending {
    /// gRPC: by trailers.
    Grpc,
    /// gRPC-Web: by a frame with trailers in it, in base64 if it takes text.
    Web { is_text: bool },
    /// Connect: by a frame with JSON in it. The schema makes details readable.
    Connect(Arc<Schema>),
}

/// The body of an answer on its way to the client.
struct Reply {
    messages: Messages,
    ending: Ending,
    mishap: Option<Mishap>,
    is_over: bool,
}

/// What there is next, before it has the client's form.
enum Next {
    Data(Bytes),
    End(HeaderMap),
}

/// The body of an answer. `mishap` is what may be found wrong with its request
/// while it lasts.
pub(crate) fn body(messages: Messages, ending: Ending, mishap: Option<Mishap>) -> Body {
    Body::new(Reply { messages, ending, mishap, is_over: false })
}

/// The body of a unary answer in one piece, so that it goes out with its length and at once: nobody can use the message
/// before the trailers. One with more than [`GATHERED_BYTES_MAX`] passes as it arrives.
pub(crate) async fn gathered(mut body: Body) -> Body {
    let mut whole = BytesMut::new();
    loop {
        let piece = match body.frame().await {
            None => return Body::new(Full::new(whole.freeze())),
            Some(piece) => piece,
        };
        match piece.as_ref().ok().and_then(Piece::data_ref) {
            Some(data) if whole.len() + data.len() <= GATHERED_BYTES_MAX => {
                whole.extend_from_slice(data);
            }
            _ => {
                let begun = (!whole.is_empty()).then(|| Ok(Piece::data(whole.freeze())));
                let pieces = stream::iter(begun.into_iter().chain([piece]));
                return Body::new(StreamBody::new(pieces.chain(BodyStream::new(body))));
            }
        }
    }
}

// === impl Messages ===

impl Messages {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let next = match self {
            Self::Plain(body) => loop {
                match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                    None => break Next::End(trailers(ended_early())),
                    Some(Err(status)) => break Next::End(status_trailers(&status)),
                    Some(Ok(piece)) => match piece.into_data() {
                        Ok(data) if data.is_empty() => {}
                        Ok(data) => break Next::Data(data),
                        Err(piece) => {
                            break Next::End(piece.into_trailers().unwrap_or_default());
                        }
                    },
                }
            },
            Self::Recoded(answer, writer) => match ready!(answer.poll_part(cx)) {
                Part::End(trailers) => Next::End(trailers),
                Part::Message(message) => {
                    let mut out = Vec::new();
                    match writer.append(message, &mut out) {
                        Ok(()) => Next::Data(out.into()),
                        Err(fault) => self.fail(fault),
                    }
                }
            },
        };
        Poll::Ready(next)
    }

    /// Ends an answer that cannot go on; the call behind it is cancelled.
    fn fail(&mut self, fault: Fault) -> Next {
        *self = Self::Plain(Body::empty());
        Next::End(trailers(fault))
    }
}

// === impl Ending ===

impl Ending {
    fn data(&self, data: Bytes) -> Bytes {
        match self {
            Self::Web { is_text: true } => web::to_text(&data),
            Self::Grpc | Self::Web { .. } | Self::Connect(_) => data,
        }
    }

    fn end(&self, mut trailers: HeaderMap) -> Piece<Bytes> {
        metadata::withhold(&mut trailers);
        match self {
            Self::Grpc => Piece::trailers(trailers),
            Self::Web { .. } => Piece::data(self.data(web::trailers_frame(&trailers))),
            Self::Connect(schema) => Piece::data(connect::end_of_stream(schema, &trailers)),
        }
    }
}

// === impl Reply ===

impl HttpBody for Reply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece<Bytes>, Status>>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        let found = match &this.mishap {
            Some(mishap) => match mishap.poll(cx) {
                Poll::Ready(status) => Some(status_trailers(status)),
                Poll::Pending => None,
            },
            None => None,
        };
        let next = match found {
            Some(trailers) => {
                this.messages = Messages::Plain(Body::empty());
                Next::End(trailers)
            }
            None => ready!(this.messages.poll_next(cx)),
        };
        Poll::Ready(Some(Ok(match next {
            Next::Data(data) => Piece::data(this.ending.data(data)),
            Next::End(trailers) => {
                this.is_over = true;
                this.ending.end(trailers)
            }
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }
}
