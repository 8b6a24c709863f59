//! Messages from the form that a client speaks to wire bytes, and back: JSON,
//! compression, or both. Where neither is needed nothing of this runs, and the
//! frames pass as they are.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use chassis::Fault;
use contracts::mesh::v1::ErrorReason;
use http_body::{Body as HttpBody, Frame as Piece};
use tonic::{Status, body::Body};
use transcode::{JsonError, JsonErrorKind, MessageId, ParseOptions, PrintOptions, Schema};

use super::{
    COMPRESSED, Frame, Frames, append, check_flags,
    request::{Mishap, broken_off, cut_short},
};
use crate::{
    compression::{self, Coding, Unreadable, WORTH_BYTES},
    config::Config,
};

/// Messages go on together until they have this many bytes.
const PIECE_BYTES: usize = 64 << 10;

/// How a client writes its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// As wire bytes.
    Proto,
    /// By the JSON mapping of protobuf.
    Json,
}

/// What a message may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes of a message that a client sends, before and after decompression.
    pub(crate) request_bytes_max: usize,
    /// Bytes of a message that a service answers.
    pub(crate) answer_bytes_max: usize,
    /// How deep a message in JSON may nest.
    pub(crate) json_depth_max: u32,
}

/// Turns a client's messages into wire bytes.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    pub(crate) schema: Arc<Schema>,
    pub(crate) message: MessageId,
    pub(crate) codec: Codec,
    /// How messages are compressed that say they are.
    pub(crate) coding: Option<Coding>,
    pub(crate) bounds: Bounds,
}

/// Turns wire bytes into a client's messages.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    pub(crate) schema: Arc<Schema>,
    pub(crate) message: MessageId,
    pub(crate) codec: Codec,
    /// How messages are compressed that are worth it.
    pub(crate) coding: Option<Coding>,
}

/// The messages of a client's stream on their way to the service, in frames of
/// gRPC.
struct Recoded {
    body: Body,
    frames: Frames,
    reader: Reader,
    mishap: Mishap,
    is_over: bool,
}

// === impl Bounds ===

impl Bounds {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            request_bytes_max: config.body_bytes_max,
            answer_bytes_max: config.response_bytes_max,
            json_depth_max: config.json_depth_max,
        }
    }
}

// === impl Reader ===

impl Reader {
    /// Whether the client's frames are those of gRPC without compression.
    pub(crate) fn is_plain(&self) -> bool {
        self.codec == Codec::Proto && self.coding.is_none()
    }

    /// Appends the wire bytes of a message to `out`.
    ///
    /// # Errors
    ///
    /// A message that cannot be decompressed, is too large then, or is no JSON of
    /// its type.
    pub(crate) fn read(
        &self,
        message: &[u8],
        is_compressed: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        // Nothing is nothing, compressed or not.
        let coding = self.coding.filter(|_| is_compressed && !message.is_empty());
        match (self.codec, coding) {
            (Codec::Proto, None) => {
                out.extend_from_slice(message);
                Ok(())
            }
            (Codec::Proto, Some(coding)) => self.decompress(coding, message, out),
            (Codec::Json, None) => self.parse(message, out),
            (Codec::Json, Some(coding)) => {
                let mut json = Vec::new();
                self.decompress(coding, message, &mut json)?;
                self.parse(&json, out)
            }
        }
    }

    fn decompress(&self, coding: Coding, message: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        compression::decompress(coding, message, self.bounds.request_bytes_max, out)
            .map_err(unreadable)
    }

    fn parse(&self, json: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut options = ParseOptions::default();
        // A client may know more of the contract than the service does, as it may
        // with wire bytes.
        options.ignore_unknown_fields = true;
        options.max_depth = self.bounds.json_depth_max;
        options.max_bytes = self.bounds.request_bytes_max;
        self.schema.json_to_wire(self.message, json, out, &options).map_err(|error| no_json(&error))
    }
}

/// What compressed bytes are refused with.
pub(crate) fn unreadable(error: Unreadable) -> Fault {
    match error {
        Unreadable::TooLarge { .. } | Unreadable::TooSudden { .. } => {
            Fault::resource_exhausted(ErrorReason::MessageTooLarge)
        }
        Unreadable::Broken(_) | Unreadable::CutShort(_) => {
            Fault::invalid_argument(ErrorReason::MalformedMessage)
        }
    }
    .message(format!("the message cannot be taken: {error}"))
}

/// What a text is refused with that is not the message's JSON.
fn no_json(error: &JsonError) -> Fault {
    let text = error.to_string();
    if error.kind() == JsonErrorKind::Size {
        return Fault::resource_exhausted(ErrorReason::MessageTooLarge).message(text);
    }
    let field = if error.path().is_empty() { "message" } else { error.path() };
    Fault::invalid_argument(ErrorReason::InvalidField).message(text.clone()).violation(field, text)
}

// === impl Writer ===

impl Writer {
    /// Whether the client takes the frames of gRPC as they are.
    pub(crate) fn is_plain(&self) -> bool {
        self.codec == Codec::Proto && self.coding.is_none()
    }

    /// A message as the client takes it, and whether that is compressed.
    ///
    /// # Errors
    ///
    /// What the service answered is not its message.
    pub(crate) fn write(&self, wire: Bytes) -> Result<(Bytes, bool), Fault> {
        let message = match self.codec {
            Codec::Proto => wire,
            Codec::Json => {
                let mut json = Vec::with_capacity(wire.len() * 2 + 64);
                self.print(&wire, &mut json)?;
                json.into()
            }
        };
        match self.coding {
            Some(coding) if message.len() >= WORTH_BYTES => {
                let mut small = Vec::with_capacity(message.len() / 2);
                compression::compress(coding, &message, &mut small)
                    .map_err(|error| Fault::internal().because(error))?;
                Ok((small.into(), true))
            }
            _ => Ok((message, false)),
        }
    }

    /// Appends a message to `out` in a frame.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub(crate) fn append(&self, wire: Bytes, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.codec == Codec::Json && self.coding.is_none() {
            return append(out, 0, |out| self.print(&wire, out));
        }
        let (message, is_compressed) = self.write(wire)?;
        append(out, if is_compressed { COMPRESSED } else { 0 }, |out| {
            out.extend_from_slice(&message);
            Ok(())
        })
    }

    fn print(&self, wire: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        self.schema
            .wire_to_json(self.message, wire, out, &PrintOptions::default())
            .map_err(|error| Fault::internal().because(error.to_string()))
    }
}

// === impl Recoded ===

/// A client's stream of messages, as the service takes it.
pub(crate) fn recoded(body: Body, reader: Reader, mishap: Mishap) -> Body {
    let frames = Frames::new(reader.bounds.request_bytes_max);
    Body::new(Recoded { body, frames, reader, mishap, is_over: false })
}

impl Recoded {
    /// The frames of messages that have arrived, but no more than a piece of them:
    /// a few bytes may stand for hundreds of the largest. Empty if there are none.
    fn take(&mut self) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::new();
        while out.len() < PIECE_BYTES
            && let Some(frame) = self.frames.pull()?
        {
            read_frame(&self.reader, &frame, &mut out)?;
        }
        Ok(out)
    }
}

/// Appends the gRPC frame of a client's message to `out`.
pub(crate) fn read_frame(reader: &Reader, frame: &Frame, out: &mut Vec<u8>) -> Result<(), Fault> {
    check_flags(frame.flags, reader.coding.is_some())?;
    append(out, 0, |out| reader.read(&frame.message, frame.is_compressed(), out))
}

impl HttpBody for Recoded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece<Bytes>, Status>>> {
        let this = &mut *self;
        let fault = loop {
            if this.is_over {
                return Poll::Ready(None);
            }
            match this.take() {
                Ok(out) if out.is_empty() => {}
                Ok(out) => return Poll::Ready(Some(Ok(Piece::data(out.into())))),
                Err(fault) => break fault,
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(piece)) => {
                    if let Ok(data) = piece.into_data() {
                        this.frames.push(data);
                    }
                }
                None if this.frames.is_empty() => {
                    this.is_over = true;
                }
                None => break cut_short(),
                Some(Err(error)) => break broken_off(error),
            }
        };
        this.is_over = true;
        this.body = Body::empty();
        Poll::Ready(Some(Err(this.mishap.note(fault))))
    }
}
