//! Compresses a body that passes in pieces.

use std::{fmt, io};

use brotli::{CompressorWriter, enc::BrotliEncoderParams};
use flate2::{Compress, Compression, FlushCompress, Status};
use zstd::stream::raw::{CParameter, Encoder as Zstd, InBuffer, Operation as _, OutBuffer};

use super::Coding;

/// What the edge spends on gzip and deflate, of 9: more takes twice as long for
/// a few percent.
const DEFLATE_LEVEL: u32 = 5;
/// What it spends on zstd, of 22.
const ZSTD_LEVEL: i32 = 3;
/// What it spends on br, of 11.
const BROTLI_QUALITY: i32 = 4;
/// The window of zstd and br, as a power of two: 256 KiB, so that a thousand
/// streams do not take gigabytes.
const WINDOW_BITS: u8 = 18;
/// The window of gzip, as a power of two.
const GZIP_WINDOW_BITS: u8 = 15;
/// How much room is made at a time, in bytes.
const STEP_BYTES: usize = 8 << 10;
/// What br gathers before it writes, in bytes.
const BROTLI_BUFFER_BYTES: usize = 4 << 10;

/// A compressor of one body.
pub(crate) struct Encoder(Inner);

enum Inner {
    Deflate(Compress),
    Zstd(Zstd<'static>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
}

// === impl Encoder ===

impl Encoder {
    /// Of a body whose length nobody knows.
    ///
    /// # Errors
    ///
    /// If there is no memory for it, as all of its methods.
    pub(crate) fn new(coding: Coding) -> io::Result<Self> {
        Self::with_size(coding, None)
    }

    /// Of a body of this many bytes, which must all be written: it takes no more
    /// memory than that needs.
    pub(crate) fn sized(coding: Coding, bytes: usize) -> io::Result<Self> {
        Self::with_size(coding, Some(bytes))
    }

    fn with_size(coding: Coding, bytes: Option<usize>) -> io::Result<Self> {
        let level = Compression::new(DEFLATE_LEVEL);
        Ok(Self(match coding {
            Coding::Gzip => Inner::Deflate(Compress::new_gzip(level, GZIP_WINDOW_BITS)),
            Coding::Deflate => Inner::Deflate(Compress::new(level, true)),
            Coding::Zstd => {
                let mut zstd = Zstd::new(ZSTD_LEVEL)?;
                zstd.set_parameter(CParameter::WindowLog(WINDOW_BITS.into()))?;
                zstd.set_pledged_src_size(bytes.and_then(|bytes| bytes.try_into().ok()))?;
                Inner::Zstd(zstd)
            }
            Coding::Brotli => {
                let params = BrotliEncoderParams {
                    quality: BROTLI_QUALITY,
                    lgwin: WINDOW_BITS.into(),
                    size_hint: bytes.unwrap_or(0),
                    ..BrotliEncoderParams::default()
                };
                let writer =
                    CompressorWriter::with_params(Vec::new(), BROTLI_BUFFER_BYTES, &params);
                Inner::Brotli(Box::new(writer))
            }
        }))
    }

    /// Takes more of the body, and appends what is ready to `out`.
    pub(crate) fn write(&mut self, data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.0 {
            Inner::Deflate(deflate) => run(deflate, data, FlushCompress::None, out),
            Inner::Zstd(zstd) => {
                let mut input = InBuffer::around(data);
                while input.pos() < data.len() {
                    step(out, |output| zstd.run(&mut input, output))?;
                }
                Ok(())
            }
            Inner::Brotli(brotli) => {
                io::Write::write_all(&mut **brotli, data)?;
                out.append(brotli.get_mut());
                Ok(())
            }
        }
    }

    /// Appends everything that was taken to `out`, so that the other side can
    /// read it now.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.0 {
            Inner::Deflate(deflate) => run(deflate, &[], FlushCompress::Sync, out),
            Inner::Zstd(zstd) => {
                while step(out, |output| zstd.flush(output))? > 0 {}
                Ok(())
            }
            Inner::Brotli(brotli) => {
                io::Write::flush(&mut **brotli)?;
                out.append(brotli.get_mut());
                Ok(())
            }
        }
    }

    /// Appends the end of the body to `out`.
    pub(crate) fn finish(self, out: &mut Vec<u8>) -> io::Result<()> {
        match self.0 {
            Inner::Deflate(mut deflate) => run(&mut deflate, &[], FlushCompress::Finish, out),
            Inner::Zstd(mut zstd) => {
                while step(out, |output| zstd.finish(output, true))? > 0 {}
                Ok(())
            }
            Inner::Brotli(brotli) => {
                out.append(&mut brotli.into_inner());
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

fn run(
    deflate: &mut Compress,
    mut data: &[u8],
    flush: FlushCompress,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    loop {
        out.reserve(STEP_BYTES);
        let before = deflate.total_in();
        let status = deflate.compress_vec(data, out, flush).map_err(io::Error::other)?;
        let taken = usize::try_from(deflate.total_in() - before).unwrap_or(data.len());
        data = data.get(taken..).unwrap_or_default();
        let is_full = out.len() == out.capacity();
        if status == Status::StreamEnd || (data.is_empty() && !is_full) {
            return Ok(());
        }
    }
}

/// Lets zstd write to the end of `out`.
fn step<T>(
    out: &mut Vec<u8>,
    run: impl FnOnce(&mut OutBuffer<'_, Vec<u8>>) -> io::Result<T>,
) -> io::Result<T> {
    out.reserve(STEP_BYTES);
    let at = out.len();
    run(&mut OutBuffer::around_pos(out, at))
}
