//! Reads a compressed body that passes in pieces.

use std::{fmt, io};

use brotli::DecompressorWriter;
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as Zstd, InBuffer, Operation as _, OutBuffer};

use super::{Coding, Sink, Unreadable};

/// The largest window of zstd that is read, as a power of two: 8 MiB, which is
/// all that HTTP allows (RFC 9659).
const ZSTD_WINDOW_BITS_MAX: u32 = 23;
/// The window of gzip, as a power of two.
const GZIP_WINDOW_BITS: u8 = 15;
/// Members that a gzip body may have: each takes time, even an empty one.
const GZIP_MEMBERS_MAX: u32 = 1_024;
/// How much room is made at a time, in bytes.
const STEP_BYTES: usize = 8 << 10;
/// What br gathers before it writes, in bytes.
const BROTLI_BUFFER_BYTES: usize = 4 << 10;

/// A decompressor of one body.
pub(crate) struct Decoder {
    coding: Coding,
    bytes_max: usize,
    /// How much may still come out.
    room: usize,
    inner: Inner,
    is_ended: bool,
}

enum Inner {
    Deflate(Decompress, u32),
    Zstd(Zstd<'static>),
    Brotli(Box<DecompressorWriter<Sink>>),
}

// === impl Decoder ===

impl Decoder {
    /// Of a body that stands for at most `bytes_max` bytes.
    ///
    /// # Errors
    ///
    /// If there is no memory for it.
    pub(crate) fn new(coding: Coding, bytes_max: usize) -> Result<Self, Unreadable> {
        let inner = match coding {
            Coding::Gzip => Inner::Deflate(Decompress::new_gzip(GZIP_WINDOW_BITS), 1),
            Coding::Deflate => Inner::Deflate(Decompress::new(true), GZIP_MEMBERS_MAX),
            Coding::Zstd => {
                let broken = |_| Unreadable::Broken(coding);
                let mut zstd = Zstd::new().map_err(broken)?;
                zstd.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_BITS_MAX))
                    .map_err(broken)?;
                Inner::Zstd(zstd)
            }
            Coding::Brotli => Inner::Brotli(Box::new(DecompressorWriter::new(
                Sink::new(bytes_max),
                BROTLI_BUFFER_BYTES,
            ))),
        };
        Ok(Self { coding, bytes_max, room: bytes_max, inner, is_ended: false })
    }

    /// Takes more of the body, and appends what it stands for to `out`.
    ///
    /// # Errors
    ///
    /// [`Unreadable`], after which there is nothing more to be had.
    pub(crate) fn write(&mut self, mut data: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
        if data.is_empty() {
            return Ok(());
        }
        loop {
            if self.is_ended {
                if data.is_empty() {
                    return Ok(());
                }
                self.begin_again()?;
            }
            out.reserve(STEP_BYTES.min(self.room.saturating_add(1)));
            let before = out.len();
            let taken = self.step(data, out)?;
            let made = out.len() - before;
            let too_large = Unreadable::TooLarge { bytes_max: self.bytes_max };
            self.room = self.room.checked_sub(made).ok_or(too_large)?;
            data = data.get(taken..).unwrap_or_default();
            if self.is_ended || out.len() == out.capacity() {
                continue;
            }
            if data.is_empty() {
                return Ok(());
            }
            if taken == 0 && made == 0 {
                return Err(Unreadable::Broken(self.coding));
            }
        }
    }

    /// Says whether that was the whole body.
    ///
    /// # Errors
    ///
    /// [`Unreadable::CutShort`] if it was not.
    pub(crate) fn finish(mut self, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        if let Inner::Brotli(brotli) = &mut self.inner {
            let closed = brotli.close();
            brotli.get_mut().drain(out);
            return closed.map_err(|error| match self.unreadable(&error) {
                Unreadable::Broken(coding) => Unreadable::CutShort(coding),
                other => other,
            });
        }
        if self.is_ended { Ok(()) } else { Err(Unreadable::CutShort(self.coding)) }
    }

    /// Reads some of `data` into the room that `out` has, and says how much.
    fn step(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<usize, Unreadable> {
        let broken = Unreadable::Broken(self.coding);
        match &mut self.inner {
            Inner::Deflate(inflate, _) => {
                let before = inflate.total_in();
                let status =
                    inflate.decompress_vec(data, out, FlushDecompress::None).map_err(|_| broken)?;
                self.is_ended = status == Status::StreamEnd;
                usize::try_from(inflate.total_in() - before).map_err(|_| broken)
            }
            Inner::Zstd(zstd) => {
                let mut input = InBuffer::around(data);
                let at = out.len();
                let hint = zstd
                    .run(&mut input, &mut OutBuffer::around_pos(out, at))
                    .map_err(|_| broken)?;
                self.is_ended = hint == 0;
                Ok(input.pos())
            }
            Inner::Brotli(brotli) => {
                let written = io::Write::write_all(&mut **brotli, data);
                brotli.get_mut().drain(out);
                written.map_err(|error| self.unreadable(&error))?;
                Ok(data.len())
            }
        }
    }

    /// A body may have several members (RFC 1952, section 2.2) or frames (RFC
    /// 8878, section 3.1), one behind the other.
    fn begin_again(&mut self) -> Result<(), Unreadable> {
        if let Inner::Deflate(inflate, members) = &mut self.inner {
            if *members >= GZIP_MEMBERS_MAX {
                return Err(Unreadable::Broken(self.coding));
            }
            *members += 1;
            inflate.reset(true);
        }
        self.is_ended = false;
        Ok(())
    }

    fn unreadable(&self, error: &io::Error) -> Unreadable {
        match error.kind() {
            io::ErrorKind::FileTooLarge => Unreadable::TooLarge { bytes_max: self.bytes_max },
            _ => Unreadable::Broken(self.coding),
        }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("coding", &self.coding).finish_non_exhaustive()
    }
}
