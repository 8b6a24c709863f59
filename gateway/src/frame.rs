//! Messages in frames: a byte of flags, four of length, then the message. So
//! they pass in gRPC ("Length-Prefixed-Message"), in gRPC-Web and in the streams
//! of Connect, which differ in the flags alone.
//!
//! - [`Frames`] takes frames out of what arrives; [`Watch`] only looks at them as
//!   they pass.
//! - [`request`]: what clients send, held to the method's kind and to a size.
//! - [`answer`]: what services answer, message by message.
//! - [`recode`]: messages in JSON or compressed, to wire bytes and back.
//! - [`reply`]: the body of an answer on its way to the client.

pub(crate) mod answer;
pub(crate) mod recode;
pub(crate) mod reply;
pub(crate) mod request;
#[cfg(test)]
mod tests;

use bytes::{Buf as _, Bytes, BytesMut};
use chassis::Fault;
use contracts::mesh::v1::ErrorReason;
use tonic::Code;

/// The head of a frame: flags and length.
pub(crate) const HEAD_BYTES: usize = 5;
/// The flag of a message that is compressed.
pub(crate) const COMPRESSED: u8 = 0x01;
/// The most that is set aside for a message before its bytes arrive: who only
/// says that it will be long gets no more.
pub(crate) const RESERVE_BYTES_MAX: usize = 64 << 10;

/// A message with its flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) flags: u8,
    pub(crate) message: Bytes,
}

/// Takes frames out of the pieces in which they arrive. A frame that is whole in
/// its piece is not copied.
#[derive(Debug)]
pub(crate) struct Frames {
    /// A frame whose rest has not arrived.
    begun: BytesMut,
    /// What arrived after it.
    piece: Bytes,
    message_bytes_max: usize,
}

/// Looks at frames that pass as they are.
#[derive(Debug)]
pub(crate) struct Watch {
    head: [u8; HEAD_BYTES],
    /// Bytes of the head that were seen.
    seen: usize,
    /// Bytes of the message that were not.
    left: usize,
    count: u64,
    message_bytes_max: usize,
    /// Whether messages may be compressed.
    is_coded: bool,
}

// === impl Frame ===

impl Frame {
    pub(crate) fn is_compressed(&self) -> bool {
        self.flags & COMPRESSED != 0
    }
}

// === impl Frames ===

impl Frames {
    /// Of messages that have at most so many bytes.
    pub(crate) fn new(message_bytes_max: usize) -> Self {
        Self { begun: BytesMut::new(), piece: Bytes::new(), message_bytes_max }
    }

    /// Takes what arrived.
    pub(crate) fn push(&mut self, piece: Bytes) {
        if !self.piece.is_empty() {
            self.begun.extend_from_slice(&self.piece);
        }
        self.piece = piece;
    }

    /// The next frame, if it is there.
    ///
    /// # Errors
    ///
    /// As soon as a head says that its message is too large.
    pub(crate) fn pull(&mut self) -> Result<Option<Frame>, Fault> {
        if self.begun.is_empty() {
            let Some((flags, length)) = read_head(&self.piece) else {
                self.begun.extend_from_slice(&std::mem::take(&mut self.piece));
                return Ok(None);
            };
            check_size(length, self.message_bytes_max)?;
            if self.piece.len() >= HEAD_BYTES + length {
                self.piece.advance(HEAD_BYTES);
                return Ok(Some(Frame { flags, message: self.piece.split_to(length) }));
            }
            self.begun.reserve((HEAD_BYTES + length).min(RESERVE_BYTES_MAX));
        }
        self.fill(HEAD_BYTES);
        let Some((flags, length)) = read_head(&self.begun) else { return Ok(None) };
        check_size(length, self.message_bytes_max)?;
        self.fill(HEAD_BYTES + length);
        if self.begun.len() < HEAD_BYTES + length {
            return Ok(None);
        }
        let mut frame = self.begun.split_to(HEAD_BYTES + length).freeze();
        frame.advance(HEAD_BYTES);
        Ok(Some(Frame { flags, message: frame }))
    }

    /// Whether everything that arrived was taken out.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that arrived and were not taken out.
    pub(crate) fn len(&self) -> usize {
        self.begun.len() + self.piece.len()
    }

    /// Moves bytes to the begun frame until it has so many, or there are none.
    fn fill(&mut self, bytes: usize) {
        let missing = bytes.saturating_sub(self.begun.len()).min(self.piece.len());
        if missing > 0 {
            self.begun.extend_from_slice(&self.piece.split_to(missing));
        }
    }
}

// === impl Watch ===

impl Watch {
    /// Of messages that have at most so many bytes, and are compressed only if
    /// the request says how.
    pub(crate) fn new(message_bytes_max: usize, is_coded: bool) -> Self {
        Self { head: [0; HEAD_BYTES], seen: 0, left: 0, count: 0, message_bytes_max, is_coded }
    }

    /// Looks at what passes.
    ///
    /// # Errors
    ///
    /// A message that is too large, or flags that gRPC does not know.
    pub(crate) fn see(&mut self, mut data: &[u8]) -> Result<(), Fault> {
        loop {
            let passed = self.left.min(data.len());
            self.left -= passed;
            data = data.get(passed..).unwrap_or_default();
            if data.is_empty() {
                return Ok(());
            }
            let taken = (HEAD_BYTES - self.seen).min(data.len());
            let (head, rest) = data.split_at(taken);
            if let Some(room) = self.head.get_mut(self.seen..self.seen + taken) {
                room.copy_from_slice(head);
            }
            self.seen += taken;
            data = rest;
            if self.seen < HEAD_BYTES {
                return Ok(());
            }
            self.seen = 0;
            self.count += 1;
            if let Some((flags, length)) = read_head(&self.head) {
                check_size(length, self.message_bytes_max)?;
                check_flags(flags, self.is_coded)?;
                self.left = length;
            }
        }
    }

    /// How many messages there were.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Whether the last of them was whole.
    pub(crate) fn is_between(&self) -> bool {
        self.seen == 0 && self.left == 0
    }
}

// === reading ===

/// Flags and length of a frame, if its head is there.
pub(crate) fn read_head(data: &[u8]) -> Option<(u8, usize)> {
    let (flags, length) = data.first_chunk::<HEAD_BYTES>()?.split_first()?;
    let length = u32::from_be_bytes(<[u8; 4]>::try_from(length).ok()?);
    Some((*flags, usize::try_from(length).ok()?))
}

/// Flags and message of a body that is one frame, if it is.
pub(crate) fn only(body: &[u8]) -> Option<(u8, &[u8])> {
    let (flags, length) = read_head(body)?;
    let message = body.get(HEAD_BYTES..)?;
    (message.len() == length).then_some((flags, message))
}

fn check_size(bytes: usize, bytes_max: usize) -> Result<(), Fault> {
    if bytes <= bytes_max { Ok(()) } else { Err(too_large(bytes, bytes_max)) }
}

#[cold]
fn too_large(bytes: usize, bytes_max: usize) -> Fault {
    Fault::resource_exhausted(ErrorReason::MessageTooLarge)
        .message(format!("a message of {bytes} bytes is larger than {bytes_max} bytes"))
}

/// Holds the flags of a message to what the request said of its coding.
pub(crate) fn check_flags(flags: u8, is_coded: bool) -> Result<(), Fault> {
    match flags {
        0 => Ok(()),
        COMPRESSED if is_coded => Ok(()),
        COMPRESSED => Err(Fault::of(Code::Internal, ErrorReason::MalformedMessage).message(
            "a message is marked as compressed, but the request names no compression: name it, or send the message as it is",
        )),
        other => Err(Fault::of(Code::Internal, ErrorReason::MalformedMessage)
            .message(format!("a message has the unknown flags {other:#04x}: they must be 0 or 1"))),
    }
}

// === writing ===

/// The head of a frame for a message of so many bytes.
///
/// # Errors
///
/// If a frame cannot hold it.
pub(crate) fn head(flags: u8, bytes: usize) -> Result<[u8; HEAD_BYTES], Fault> {
    let length = u32::try_from(bytes)
        .map_err(|_| too_large(bytes, usize::try_from(u32::MAX).unwrap_or(usize::MAX)))?;
    let mut head = [0; HEAD_BYTES];
    let (first, rest) = head.split_at_mut(1);
    first.fill(flags);
    rest.copy_from_slice(&length.to_be_bytes());
    Ok(head)
}

/// Appends a frame whose message `write` appends.
///
/// # Errors
///
/// Those of `write`; `out` is then as it was.
pub(crate) fn append<E: From<Fault>>(
    out: &mut Vec<u8>,
    flags: u8,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    let written = write(out).and_then(|()| Ok(head(flags, out.len() - start - HEAD_BYTES)?));
    match written {
        Ok(head) => {
            if let Some(room) = out.get_mut(start..start + HEAD_BYTES) {
                room.copy_from_slice(&head);
            }
            Ok(())
        }
        Err(fault) => {
            out.truncate(start);
            Err(fault)
        }
    }
}
