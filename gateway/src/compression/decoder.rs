//! Reads a compressed body that passes in pieces.
//!
//! What comes out of a piece comes in steps, so that whoever reads can look at its
//! bounds between them: 250 bytes of zstd may stand for eight megabytes.

use std::fmt;

use brotli::{Allocator, BrotliDecompressStream, BrotliResult, BrotliState, enc::StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as Zstd, InBuffer, Operation as _, OutBuffer};

use super::{Coding, Unreadable};

/// The largest window of zstd that is read, as a power of two: 8 MiB, which is
/// all that HTTP allows (RFC 9659).
const ZSTD_WINDOW_BITS_MAX: u32 = 23;
/// The window of gzip, as a power of two.
const GZIP_WINDOW_BITS: u8 = 15;
/// Members that a gzip body may have: each takes time, even an empty one.
const GZIP_MEMBERS_MAX: u32 = 1_024;
/// How much room is made at a time, in bytes.
const STEP_BYTES: usize = 8 << 10;
/// Bytes that br takes beside its window: the maps of its trees.
const BROTLI_SPARE_BYTES: usize = 64 << 10;

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
    Brotli(Box<BrotliState<Window, StandardAlloc, StandardAlloc>>),
}

/// How far a step got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Bytes of the data that were taken.
    pub(crate) taken: usize,
    /// Whether they stand for more than came out: the next step has it, and needs
    /// no data for that.
    pub(crate) is_more: bool,
}

/// Where br gets its window from. It grows to what the next part of the body says
/// it stands for, and that comes out in one go: one that may not is not begun with.
#[derive(Debug)]
struct Window {
    bytes_max: usize,
    is_refused: bool,
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
            // Strictly: windows of more than RFC 7932 has are for no HTTP.
            Coding::Brotli => Inner::Brotli(Box::new(BrotliState::new_strict(
                Window::new(bytes_max),
                StandardAlloc::default(),
                StandardAlloc::default(),
            ))),
        };
        Ok(Self { coding, bytes_max, room: bytes_max, inner, is_ended: false })
    }

    /// Says what may come out in one go: of br no larger window is begun with. It
    /// may be said again when more is known.
    pub(crate) fn within(&mut self, bytes: usize) {
        if let Inner::Brotli(brotli) = &mut self.inner {
            brotli.alloc_u8.bytes_max = bytes.min(self.bytes_max);
        }
    }

    /// Takes more of the body, and appends what it stands for to `out`.
    ///
    /// # Errors
    ///
    /// [`Unreadable`], after which there is nothing more to be had.
    pub(crate) fn write(&mut self, mut data: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
        while !data.is_empty() {
            let mut step = self.step(data, out)?;
            data = data.get(step.taken..).unwrap_or_default();
            while step.is_more && data.is_empty() {
                step = self.step(data, out)?;
            }
        }
        Ok(())
    }

    /// Takes some of `data`, and appends some of what the body stands for to `out`:
    /// about as much as `out` has room for, or a little if it has none.
    ///
    /// # Errors
    ///
    /// [`Unreadable`], after which there is nothing more to be had.
    pub(crate) fn step(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<Step, Unreadable> {
        if self.is_ended {
            if data.is_empty() {
                return Ok(Step { taken: 0, is_more: false });
            }
            self.begin_again()?;
        }
        out.reserve(STEP_BYTES.min(self.room.saturating_add(1)));
        let before = out.len();
        let step = self.run(data, out)?;
        let made = out.len() - before;
        let too_large = Unreadable::TooLarge { bytes_max: self.bytes_max };
        self.room = self.room.checked_sub(made).ok_or(too_large)?;
        if !self.is_ended && !step.is_more && step.taken == 0 && made == 0 && !data.is_empty() {
            return Err(Unreadable::Broken(self.coding));
        }
        Ok(step)
    }

    /// Says whether that was the whole body.
    ///
    /// # Errors
    ///
    /// [`Unreadable::CutShort`] if it was not.
    pub(crate) fn finish(self) -> Result<(), Unreadable> {
        if self.is_ended { Ok(()) } else { Err(Unreadable::CutShort(self.coding)) }
    }

    /// Reads some of `data` into the room that `out` has.
    fn run(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<Step, Unreadable> {
        let broken = Unreadable::Broken(self.coding);
        let (taken, is_full) = match &mut self.inner {
            Inner::Deflate(inflate, _) => {
                let before = inflate.total_in();
                let status =
                    inflate.decompress_vec(data, out, FlushDecompress::None).map_err(|_| broken)?;
                self.is_ended = status == Status::StreamEnd;
                let taken = usize::try_from(inflate.total_in() - before).map_err(|_| broken)?;
                (taken, out.len() == out.capacity())
            }
            Inner::Zstd(zstd) => {
                let mut input = InBuffer::around(data);
                let at = out.len();
                let hint = zstd
                    .run(&mut input, &mut OutBuffer::around_pos(out, at))
                    .map_err(|_| broken)?;
                self.is_ended = hint == 0;
                (input.pos(), out.len() == out.capacity())
            }
            Inner::Brotli(brotli) => {
                let at = out.len();
                out.resize(at + STEP_BYTES.min(out.capacity() - at), 0);
                let room = out.get_mut(at..).unwrap_or_default();
                let (mut left, mut taken) = (data.len(), 0);
                let (mut empty, mut made, mut total) = (room.len(), 0, 0);
                let result = BrotliDecompressStream(
                    &mut left, &mut taken, data, &mut empty, &mut made, room, &mut total, brotli,
                );
                out.truncate(at + made);
                match result {
                    BrotliResult::ResultSuccess => self.is_ended = true,
                    BrotliResult::ResultFailure if brotli.alloc_u8.is_refused => {
                        let bytes_max = brotli.alloc_u8.bytes_max;
                        return Err(if bytes_max == self.bytes_max {
                            Unreadable::TooLarge { bytes_max }
                        } else {
                            Unreadable::TooSudden { bytes_max }
                        });
                    }
                    BrotliResult::ResultFailure => return Err(broken),
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
                }
                (taken, matches!(result, BrotliResult::NeedsMoreOutput))
            }
        };
        Ok(Step { taken, is_more: is_full && !self.is_ended })
    }

    /// A body may have several members (RFC 1952, section 2.2) or frames (RFC
    /// 8878, section 3.1), one behind the other.
    fn begin_again(&mut self) -> Result<(), Unreadable> {
        match &mut self.inner {
            Inner::Deflate(inflate, members) if *members < GZIP_MEMBERS_MAX => {
                *members += 1;
                inflate.reset(true);
            }
            Inner::Zstd(_) => {}
            Inner::Deflate(..) | Inner::Brotli(_) => {
                return Err(Unreadable::Broken(self.coding));
            }
        }
        self.is_ended = false;
        Ok(())
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("coding", &self.coding).finish_non_exhaustive()
    }
}

// === impl Window ===

impl Window {
    fn new(bytes_max: usize) -> Self {
        Self { bytes_max, is_refused: false }
    }
}

impl Allocator<u8> for Window {
    type AllocatedMemory = <StandardAlloc as Allocator<u8>>::AllocatedMemory;

    fn alloc_cell(&mut self, bytes: usize) -> Self::AllocatedMemory {
        // A window is a power of two, and has a little behind it.
        let window = self.bytes_max.checked_next_power_of_two().unwrap_or(usize::MAX);
        if bytes > window.saturating_add(BROTLI_SPARE_BYTES) {
            self.is_refused = true;
            return Self::AllocatedMemory::default();
        }
        StandardAlloc::default().alloc_cell(bytes)
    }

    fn free_cell(&mut self, _memory: Self::AllocatedMemory) {}
}
