//! Scalars and enums from the wire to JSON.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    lexer::{short, special, wide},
    print::{Outcome, Printer, Step, broken},
};
use crate::{
    error::{WireError, WireErrorKind},
    schema::{EnumTable, Scalar},
    wire::{Reader, low8, low32, unzigzag32, unzigzag64},
};

impl Printer<'_, '_> {
    /// A string in quotes. Plain ASCII is looked over and copied eight bytes at a time, in one go.
    #[inline]
    pub(super) fn string(&mut self, text: &[u8]) -> Step {
        let length = text.len();
        let Some((quote, room)) = self.out.room(length + 16)?.split_first_mut() else {
            return Ok(());
        };
        *quote = b'"';
        let (mut escapes, mut high) = (0, 0);
        if let Some(last) = text.last_chunk::<8>() {
            let (chunks, _) = text.as_chunks::<8>();
            let (to, _) = room.as_chunks_mut::<8>();
            for (from, to) in chunks.iter().zip(to) {
                let word = u64::from_le_bytes(*from);
                escapes |= special(word);
                high |= word;
                *to = *from;
            }
            let word = u64::from_le_bytes(*last);
            escapes |= special(word);
            high |= word;
            if let Some(to) = room.get_mut(length - 8..).and_then(<[u8]>::first_chunk_mut) {
                *to = *last;
            }
        } else {
            let word = short(text);
            escapes = special(word);
            high = word;
            if let Some(to) = room.first_chunk_mut() {
                *to = word.to_le_bytes();
            }
        }
        if wide(high) != 0 && std::str::from_utf8(text).is_err() {
            return Err(WireError::new(
                WireErrorKind::Broken,
                "holds text that is not UTF-8".into(),
            ));
        }
        if escapes != 0 {
            return self.escaped(text);
        }
        if let Some(end) = room.get_mut(length) {
            *end = b'"';
        }
        self.out.advance(length + 2);
        Ok(())
    }

    /// A string that holds something to escape.
    #[inline(never)]
    fn escaped(&mut self, text: &[u8]) -> Step {
        self.out.byte(b'"')?;
        let mut rest = text;
        loop {
            let (word, length) = match rest.first_chunk::<8>() {
                Some(chunk) => (u64::from_le_bytes(*chunk), 8),
                None => (short(rest), rest.len()),
            };
            let found = special(word);
            let plain =
                if found == 0 { length } else { crate::wire::index(found.trailing_zeros() >> 3) };
            self.out.padded(&word.to_le_bytes(), plain)?;
            rest = rest.get(plain..).unwrap_or_default();
            if found == 0 {
                if length < 8 {
                    return Ok(self.out.byte(b'"')?);
                }
                continue;
            }
            let Some((&byte, after)) = rest.split_first() else { return Err(broken()) };
            rest = after;
            let letter = match byte {
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                0x08 => b'b',
                0x0c => b'f',
                b'"' | b'\\' => byte,
                _ => {
                    let hex = |digit: u8| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
                    self.out.bytes(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)])?;
                    continue;
                }
            };
            self.out.padded(&[b'\\', letter], 2)?;
        }
    }

    /// A scalar other than a string.
    #[inline]
    pub(super) fn scalar(
        &mut self,
        scalar: Scalar,
        reader: &mut Reader<'_>,
    ) -> Result<Outcome, WireError> {
        let default = match scalar.wire_type() {
            crate::wire::VARINT => {
                let value = reader.varint().ok_or_else(broken)?;
                match scalar {
                    Scalar::Bool => {
                        let (word, length) =
                            if value != 0 { (*b"true    ", 4) } else { (*b"false   ", 5) };
                        self.out.padded(&word, length)?;
                    }
                    Scalar::Int32 => self.signed(i64::from(low32(value).cast_signed()))?,
                    Scalar::Uint32 => self.unsigned(u64::from(low32(value)))?,
                    Scalar::Sint32 => self.signed(i64::from(unzigzag32(value)))?,
                    Scalar::Uint64 => self.wide_unsigned(value)?,
                    Scalar::Sint64 => self.wide_signed(unzigzag64(value))?,
                    _ => self.wide_signed(value.cast_signed())?,
                }
                let value = if matches!(scalar, Scalar::Int32 | Scalar::Uint32 | Scalar::Sint32) {
                    u64::from(low32(value))
                } else {
                    value
                };
                value == 0
            }
            crate::wire::FIXED64 => {
                let value = reader.fixed64().ok_or_else(broken)?;
                match scalar {
                    Scalar::Double => self.double(f64::from_bits(value))?,
                    Scalar::Fixed64 => self.wide_unsigned(value)?,
                    _ => self.wide_signed(value.cast_signed())?,
                }
                value == 0
            }
            crate::wire::FIXED32 => {
                let value = reader.fixed32().ok_or_else(broken)?;
                match scalar {
                    Scalar::Float => self.float(f32::from_bits(value))?,
                    Scalar::Fixed32 => self.unsigned(u64::from(value))?,
                    _ => self.signed(i64::from(value.cast_signed()))?,
                }
                value == 0
            }
            _ => {
                let bytes = reader.bytes().ok_or_else(broken)?;
                if scalar == Scalar::String {
                    self.string(bytes)?
                } else {
                    self.bytes(bytes)?
                }
                bytes.is_empty()
            }
        };
        Ok(if default { Outcome::Default } else { Outcome::Written })
    }

    pub(super) fn default_scalar(&mut self, scalar: Scalar) -> Step {
        let mut zeros = Reader::new(&[0; 8]);
        self.scalar(scalar, &mut zeros).map(drop)
    }

    #[inline]
    fn signed(&mut self, value: i64) -> Step {
        if value < 0 {
            self.out.byte(b'-')?;
        }
        self.unsigned(value.unsigned_abs())
    }

    #[inline]
    fn unsigned(&mut self, value: u64) -> Step {
        if value < 10 {
            return Ok(self.out.byte(b'0' + low8(value))?);
        }
        Ok(self.out.digits(value)?)
    }

    /// A 64-bit integer: in quotes, since JSON numbers are doubles to most readers.
    #[inline]
    fn wide_signed(&mut self, value: i64) -> Step {
        if self.options.int64_as_number {
            return self.signed(value);
        }
        self.out.byte(b'"')?;
        self.signed(value)?;
        Ok(self.out.byte(b'"')?)
    }

    #[inline]
    fn wide_unsigned(&mut self, value: u64) -> Step {
        if self.options.int64_as_number {
            return self.unsigned(value);
        }
        self.out.byte(b'"')?;
        self.unsigned(value)?;
        Ok(self.out.byte(b'"')?)
    }

    pub(super) fn double(&mut self, value: f64) -> Step {
        if value.is_finite() {
            return self.digits(zmij::Buffer::new().format_finite(value));
        }
        self.not_finite(value.is_nan(), value.is_sign_negative())
    }

    fn float(&mut self, value: f32) -> Step {
        if value.is_finite() {
            return self.digits(zmij::Buffer::new().format_finite(value));
        }
        self.not_finite(value.is_nan(), value.is_sign_negative())
    }

    /// A float's digits, without a fraction of zero.
    #[inline]
    fn digits(&mut self, text: &str) -> Step {
        let text = text.strip_suffix(".0").unwrap_or(text);
        Ok(self.out.bytes(text.as_bytes())?)
    }

    #[cold]
    fn not_finite(&mut self, nan: bool, negative: bool) -> Step {
        let text: &[u8] = match (nan, negative) {
            (true, _) => b"\"NaN\"",
            (false, true) => b"\"-Infinity\"",
            (false, false) => b"\"Infinity\"",
        };
        Ok(self.out.bytes(text)?)
    }

    /// Bytes in base64, padded.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Step {
        let length = bytes.len().div_ceil(3) * 4;
        self.out.byte(b'"')?;
        let room = self.out.room(length)?;
        STANDARD.encode_slice(bytes, room).map_err(|_| broken())?;
        self.out.advance(length);
        Ok(self.out.byte(b'"')?)
    }

    #[inline]
    pub(super) fn enumeration(
        &mut self,
        enumeration: u32,
        reader: &mut Reader<'_>,
    ) -> Result<Outcome, WireError> {
        let number = low32(reader.varint().ok_or_else(broken)?).cast_signed();
        self.enum_value(self.tables.enumeration(enumeration), number)
    }

    #[inline]
    pub(super) fn enum_value(
        &mut self,
        table: &EnumTable,
        number: i32,
    ) -> Result<Outcome, WireError> {
        match table.name(number) {
            Some(name) if !self.options.enum_as_numbers => self.key(name)?,
            None if table.closed => return Ok(Outcome::Ignored),
            _ => self.signed(i64::from(number))?,
        }
        Ok(if number == 0 { Outcome::Default } else { Outcome::Written })
    }
}
