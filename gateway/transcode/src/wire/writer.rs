//! The buffer that both directions write into.

use super::{Tag, encode_varint, index, low8, varint_length};
use crate::decimal::{SHORT, Short};

/// A growing buffer. Its vector is longer than what is written, so that small things are copied in fixed sizes (two
/// stores and no call) and the cursor then moves by their true length.
pub(crate) struct Writer<'o> {
    /// Where the buffer came from and goes back to.
    home: &'o mut Vec<u8>,
    /// Held by value, since each write looks at it.
    buffer: Vec<u8>,
    start: usize,
    at: usize,
    limit: usize,
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        *self.home = std::mem::take(&mut self.buffer);
    }
}

/// The limit of a [`Writer`] is reached.
pub(crate) struct Full;

impl<'o> Writer<'o> {
    /// Writes behind what `home` holds, at most `limit` bytes, and expects `expected`.
    pub(crate) fn new(home: &'o mut Vec<u8>, expected: usize, limit: usize) -> Self {
        let mut buffer = std::mem::take(home);
        let start = buffer.len();
        buffer.resize(start.saturating_add(expected.min(limit)).saturating_add(64), 0);
        Self { home, buffer, start, at: start, limit: start.saturating_add(limit) }
    }

    /// Cuts the buffer to what was written.
    pub(crate) fn finish(mut self) {
        self.buffer.truncate(self.at);
    }

    /// Cuts the buffer to what it held before.
    pub(crate) fn abandon(mut self) {
        self.buffer.truncate(self.start);
    }

    /// Forgets all that was written.
    pub(crate) fn restart(&mut self) {
        self.at = self.start;
    }

    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Forgets what was written from `position` on.
    #[inline]
    pub(crate) fn rewind(&mut self, position: usize) {
        self.at = position;
    }

    /// What was written from `from` on.
    #[inline]
    pub(crate) fn written(&self, from: usize) -> &[u8] {
        self.buffer.get(from..self.at).unwrap_or_default()
    }

    /// `length` writable bytes at the cursor, which stays; `None` if the buffer must [grow](Self::grow) first.
    #[inline]
    pub(crate) fn spare(&mut self, length: usize) -> Option<&mut [u8]> {
        self.buffer.get_mut(self.at..self.at + length)
    }

    /// `length` writable bytes at the cursor, which stays.
    #[inline]
    pub(crate) fn room(&mut self, length: usize) -> Result<&mut [u8], Full> {
        if self.spare(length).is_none() {
            self.grow(length)?;
        }
        self.spare(length).ok_or(Full)
    }

    /// Makes room for `length` bytes at the cursor.
    #[cold]
    #[inline(never)]
    pub(crate) fn grow(&mut self, length: usize) -> Result<(), Full> {
        let needed = self.at + length;
        if self.at > self.limit || needed > self.limit.saturating_add(64) {
            return Err(Full);
        }
        let wanted = self.buffer.len().saturating_mul(2).min(self.limit.saturating_add(64));
        self.buffer.resize(wanted.max(needed), 0);
        Ok(())
    }

    /// Moves the cursor over bytes that were written into [`room`](Self::room).
    #[inline]
    pub(crate) fn advance(&mut self, length: usize) {
        self.at += length;
    }

    #[inline]
    pub(crate) fn byte(&mut self, byte: u8) -> Result<(), Full> {
        self.padded(&[byte], 1)
    }

    /// Writes `N` bytes, of which `length` count.
    #[inline]
    pub(crate) fn padded<const N: usize>(
        &mut self,
        bytes: &[u8; N],
        length: usize,
    ) -> Result<(), Full> {
        match self.spare(N).and_then(<[u8]>::first_chunk_mut) {
            Some(room) => *room = *bytes,
            None => self.padded_anew(bytes)?,
        }
        self.at += length;
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn padded_anew(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.room(bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    #[inline]
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.room(bytes.len())?.copy_from_slice(bytes);
        self.at += bytes.len();
        Ok(())
    }

    /// Writes a text of up to 16 bytes.
    #[inline]
    pub(crate) fn short(&mut self, text: Short) -> Result<(), Full> {
        self.padded(&text.bytes.to_le_bytes(), index(text.length))
    }

    /// Writes a number in decimal, with up to three bytes before it and one behind it.
    #[inline]
    pub(crate) fn decimal(&mut self, before: Short, value: u64, after: Short) -> Result<(), Full> {
        if value < SHORT {
            return self.short(before.then(Short::number(value)).then(after));
        }
        self.long_decimal(before, value, after)
    }

    #[inline(never)]
    fn long_decimal(&mut self, before: Short, value: u64, after: Short) -> Result<(), Full> {
        const SIXTEEN: u64 = 10_000_000_000_000_000;
        if value < SIXTEEN {
            self.short(before)?;
            self.short(Short::number(value))?;
        } else {
            self.short(before.then(Short::number(value / SIXTEEN)))?;
            self.short(Short::sixteen(value % SIXTEEN))?;
        }
        self.short(after)
    }

    /// Writes up to 32 bytes, in two copies that may overlap.
    #[inline]
    pub(crate) fn brief(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let length = bytes.len();
        let room = self.room(32)?;
        if let (Some(first), Some(last)) = (bytes.first_chunk::<16>(), bytes.last_chunk::<16>()) {
            overlap(room, first, last, length);
        } else if let (Some(first), Some(last)) =
            (bytes.first_chunk::<8>(), bytes.last_chunk::<8>())
        {
            overlap(room, first, last, length);
        } else {
            let text = crate::json::short(bytes);
            if let Some(room) = room.first_chunk_mut() {
                *room = text.to_le_bytes();
            }
        }
        self.at += length;
        Ok(())
    }

    /// Writes one byte where something was written before.
    #[inline]
    pub(crate) fn patch(&mut self, position: usize, byte: u8) {
        if let Some(at) = self.buffer.get_mut(position) {
            *at = byte;
        }
    }

    #[inline]
    pub(crate) fn tag(&mut self, tag: Tag) -> Result<(), Full> {
        self.padded(&tag.bytes, usize::from(tag.length))
    }

    #[inline]
    pub(crate) fn varint(&mut self, value: u64) -> Result<(), Full> {
        if value < 0x80 {
            return self.byte(low8(value));
        }
        if value >> 28 != 0 {
            return self.long_varint(value);
        }
        // Seven bits to a byte, and a high bit in all but the last.
        let septets = value & 0x7f
            | (value & 0x3f80) << 1
            | (value & 0x1f_c000) << 2
            | (value & 0xfe0_0000) << 3;
        let before_last = (64 - septets.leading_zeros() - 1) & !7;
        let more = (1_u64 << before_last).wrapping_sub(1) & 0x8080_8080;
        self.padded(&(septets | more).to_le_bytes(), index(before_last >> 3) + 1)
    }

    #[inline(never)]
    fn long_varint(&mut self, value: u64) -> Result<(), Full> {
        let length = encode_varint(value, self.room(10)?);
        self.at += length;
        Ok(())
    }

    /// Leaves one byte for a length that [`close`](Self::close) fills in.
    #[inline]
    pub(crate) fn open(&mut self) -> Result<usize, Full> {
        self.byte(0)?;
        Ok(self.at)
    }

    /// Fills in the length of what was written since [`open`](Self::open); moves it where the length needs more room.
    #[inline]
    pub(crate) fn close(&mut self, body: usize) -> Result<(), Full> {
        let length = self.at - body;
        if length < 0x80 {
            self.patch(body - 1, low8(u64::try_from(length).unwrap_or(0)));
            return Ok(());
        }
        self.close_long(body, length)
    }

    #[inline(never)]
    fn close_long(&mut self, body: usize, length: usize) -> Result<(), Full> {
        let more = varint_length(length) - 1;
        self.room(more)?;
        self.buffer.copy_within(body..self.at, body + more);
        if let Some(hole) = self.buffer.get_mut(body - 1..body + more) {
            encode_varint(u64::try_from(length).unwrap_or(0), hole);
        }
        self.at += more;
        Ok(())
    }
}

/// Copies a text of `length` bytes by its first and its last `N`.
#[inline]
fn overlap<const N: usize>(room: &mut [u8], first: &[u8; N], last: &[u8; N], length: usize) {
    if let Some(room) = room.first_chunk_mut() {
        *room = *first;
    }
    if let Some(room) = room.get_mut(length - N..).and_then(<[u8]>::first_chunk_mut) {
        *room = *last;
    }
}
