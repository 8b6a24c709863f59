//! Codings of bodies and of single messages: gzip, deflate, zstd and br.
//!
//! [`compress`] and [`decompress`] are for a message that is there as a whole,
//! [`Encoder`] and [`Decoder`] for a body that passes in pieces. What is read is
//! bounded by what comes out of it, not by what goes in: a few bytes can stand
//! for gigabytes.

mod decoder;
mod encoder;
#[cfg(test)]
mod tests;

use std::{fmt, io};

use http::HeaderValue;

pub(crate) use decoder::Decoder;
pub(crate) use encoder::Encoder;

/// The smallest message that is worth compressing, in bytes: below it the
/// result is about as long, and takes its time on both sides.
pub(crate) const WORTH_BYTES: usize = 512;

/// A way to make bytes fewer (RFC 9110, section 8.4.1; RFC 8878; RFC 7932).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// RFC 1952.
    Gzip,
    /// The zlib format, RFC 1950, which HTTP calls `deflate`.
    Deflate,
    /// RFC 8878, with a window of 8 MiB at most (RFC 9659).
    Zstd,
    /// RFC 7932.
    Brotli,
}

/// Why compressed bytes cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// They stand for more than is taken.
    TooLarge {
        /// What is taken.
        bytes_max: usize,
    },
    /// So few of them stand for more than may come out in one go.
    TooSudden {
        /// What may.
        bytes_max: usize,
    },
    /// They are not of this coding, or were damaged on the way.
    Broken(Coding),
    /// They end before their coding does.
    CutShort(Coding),
}

// === impl Coding ===

impl Coding {
    /// Every coding, in the order in which the edge prefers them.
    pub(crate) const ALL: [Self; 4] = [Self::Zstd, Self::Gzip, Self::Brotli, Self::Deflate];

    /// The coding of this name, in any case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|coding| coding.name().eq_ignore_ascii_case(name))
            .or_else(|| name.eq_ignore_ascii_case("x-gzip").then_some(Self::Gzip))
    }

    /// Its name in IANA's registry of content codings.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
            Self::Brotli => "br",
        }
    }

    /// Its name as the value of a header.
    pub(crate) fn value(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }
}

// === impl Unreadable ===

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes_max } => {
                write!(f, "decompressed, it is larger than {bytes_max} bytes")
            }
            Self::TooSudden { bytes_max } => {
                write!(f, "so little of it stands for more than {bytes_max} bytes")
            }
            Self::Broken(coding) => write!(f, "it cannot be read as {}", coding.name()),
            Self::CutShort(coding) => write!(f, "it ends in the middle of {}", coding.name()),
        }
    }
}

impl std::error::Error for Unreadable {}

/// Appends the compressed form of `data` to `out`.
///
/// # Errors
///
/// If there is no memory for it.
pub(crate) fn compress(coding: Coding, data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = Encoder::sized(coding, data.len())?;
    encoder.write(data, out)?;
    encoder.finish(out)
}

/// Appends what `data` stands for to `out`: at most `bytes_max` bytes.
///
/// # Errors
///
/// [`Unreadable`]; `out` then holds what came before.
pub(crate) fn decompress(
    coding: Coding,
    data: &[u8],
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), Unreadable> {
    let mut decoder = Decoder::new(coding, bytes_max)?;
    decoder.write(data, out)?;
    decoder.finish()
}
