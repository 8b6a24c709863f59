//! Scalars and enums from the wire to JSON.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    lexer::{short, special, wide},
    print::{Outcome, Printer, Step, broken},
};
use crate::{
    decimal::Short,
    error::{WireError, WireErrorKind},
    schema::{EnumTable, Scalar},
    utf8::is_utf8,
    wire::{FIXED32, FIXED64, Full, Reader, VARINT, low32, unzigzag32, unzigzag64},
};

const COMMA: Short = Short::new(b",");
const QUOTE: Short = Short::new(b"\"");
const MINUS: Short = Short::new(b"-");
const POINT: Short = Short::new(b".");
const TRUE: Short = Short::new(b"true");
const FALSE: Short = Short::new(b"false");

impl Printer<'_, '_> {
    /// A string in quotes. It is looked over and copied in one go, as long as each of its bytes stands for itself.
    pub(super) fn string(&mut self, text: &[u8]) -> Step {
        let length = text.len();
        let Some((quote, room)) = self.out.spare(length + 16).and_then(<[u8]>::split_first_mut)
        else {
            self.out.grow(length + 16)?;
            return self.string(text);
        };
        *quote = b'"';
        let is_plain = if let Some(last) = text.last_chunk::<16>() {
            let mut others = [0; 16];
            let (chunks, _) = text.as_chunks::<16>();
            let (chunk_room, _) = room.as_chunks_mut::<16>();
            for (from, to) in chunks.iter().zip(chunk_room) {
                *to = *from;
                note_others(&mut others, from);
            }
            // They overlap what is done.
            note_others(&mut others, last);
            if let Some(to) = room.get_mut(length - 16..).and_then(<[u8]>::first_chunk_mut) {
                *to = *last;
            }
            !is_noted(&others)
        } else if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>())
        {
            if let Some(to) = room.first_chunk_mut() {
                *to = *first;
            }
            if let Some(to) = room.get_mut(length - 8..).and_then(<[u8]>::first_chunk_mut) {
                *to = *last;
            }
            let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
            special(first) | special(last) | wide(first | last) == 0
        } else {
            let word = short(text);
            if let Some(to) = room.first_chunk_mut() {
                *to = word.to_le_bytes();
            }
            special(word) | wide(word) == 0
        };
        if !is_plain {
            return self.uncommon(text);
        }
        if let Some(end) = room.get_mut(length) {
            *end = b'"';
        }
        self.out.advance(length + 2);
        Ok(())
    }

    /// A string that holds something to escape, or letters beyond ASCII. Nothing of it is written yet.
    #[inline(never)]
    fn uncommon(&mut self, text: &[u8]) -> Step {
        if !text.is_ascii() && !is_utf8(text) {
            return Err(not_utf8());
        }
        self.out.byte(b'"')?;
        let mut rest = text;
        loop {
            // Far more is copied than escaped.
            while let Some((chunk, after)) = rest.split_first_chunk::<16>() {
                let mut escapes = [0; 16];
                note_escapes(&mut escapes, chunk);
                if is_noted(&escapes) {
                    break;
                }
                self.out.padded(chunk, 16)?;
                rest = after;
            }
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

    /// A scalar, as a field's value.
    #[inline]
    pub(super) fn scalar(
        &mut self,
        scalar: Scalar,
        reader: &mut Reader<'_>,
    ) -> Result<Outcome, WireError> {
        let default = match scalar.wire_type() {
            VARINT => {
                let value = reader.varint().ok_or_else(broken)?;
                self.varint(scalar, Short::EMPTY, value)?;
                match scalar {
                    Scalar::Int32 | Scalar::Uint32 | Scalar::Sint32 => low32(value) == 0,
                    _ => value == 0,
                }
            }
            FIXED64 => {
                let value = reader.fixed64().ok_or_else(broken)?;
                self.fixed64(scalar, Short::EMPTY, value)?;
                value == 0
            }
            FIXED32 => {
                let value = reader.fixed32().ok_or_else(broken)?;
                self.fixed32(scalar, Short::EMPTY, value)?;
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

    /// A packed run of scalars, each with a comma before it. What sort they are of is decided once.
    pub(super) fn packed(&mut self, scalar: Scalar, wire: &[u8], count: &mut usize) -> Step {
        macro_rules! all {
            ($read:ident, $print:ident: $($sort:ident)+) => {
                match scalar {
                    $(Scalar::$sort => self.each(wire, count, Reader::$read, |printer, value| {
                        printer.$print(Scalar::$sort, COMMA, value)
                    }),)+
                    _ => Err(broken()),
                }
            };
        }
        match scalar.wire_type() {
            VARINT => all!(varint, varint: Bool Int32 Int64 Uint32 Uint64 Sint32 Sint64),
            FIXED64 => all!(fixed64, fixed64: Double Fixed64 Sfixed64),
            _ => all!(fixed32, fixed32: Float Fixed32 Sfixed32),
        }
    }

    /// Reads and prints to the end.
    #[inline]
    pub(super) fn each<'w, T>(
        &mut self,
        wire: &'w [u8],
        count: &mut usize,
        read: impl Fn(&mut Reader<'w>) -> Option<T>,
        print: impl Fn(&mut Self, T) -> Result<(), Full>,
    ) -> Step {
        let mut reader = Reader::new(wire);
        while !reader.is_empty() {
            print(self, read(&mut reader).ok_or_else(broken)?)?;
            *count += 1;
        }
        Ok(())
    }

    #[inline(always)]
    fn varint(&mut self, scalar: Scalar, before: Short, value: u64) -> Result<(), Full> {
        match scalar {
            Scalar::Bool => self.out.short(before.then(if value != 0 { TRUE } else { FALSE })),
            Scalar::Int32 => self.signed(before, i64::from(low32(value).cast_signed())),
            Scalar::Uint32 => self.out.decimal(before, u64::from(low32(value)), Short::EMPTY),
            Scalar::Sint32 => self.signed(before, i64::from(unzigzag32(value))),
            Scalar::Uint64 => self.wide_unsigned(before, value),
            Scalar::Sint64 => self.wide_signed(before, unzigzag64(value)),
            _ => self.wide_signed(before, value.cast_signed()),
        }
    }

    #[inline(always)]
    fn fixed64(&mut self, scalar: Scalar, before: Short, value: u64) -> Result<(), Full> {
        match scalar {
            Scalar::Double => self.double(before, f64::from_bits(value)),
            Scalar::Fixed64 => self.wide_unsigned(before, value),
            _ => self.wide_signed(before, value.cast_signed()),
        }
    }

    #[inline(always)]
    fn fixed32(&mut self, scalar: Scalar, before: Short, value: u32) -> Result<(), Full> {
        match scalar {
            Scalar::Float => self.float(before, f32::from_bits(value)),
            Scalar::Fixed32 => self.out.decimal(before, u64::from(value), Short::EMPTY),
            _ => self.signed(before, i64::from(value.cast_signed())),
        }
    }

    /// A scalar in quotes, as the key of a map.
    #[inline]
    pub(super) fn quoted_scalar(&mut self, scalar: Scalar, reader: &mut Reader<'_>) -> Step {
        let value = match scalar.wire_type() {
            VARINT => reader.varint(),
            FIXED64 => reader.fixed64(),
            _ => reader.fixed32().map(u64::from),
        };
        let value = value.ok_or_else(broken)?;
        let signed = match scalar {
            Scalar::Bool => {
                let text = if value != 0 { TRUE } else { FALSE };
                return Ok(self.out.short(QUOTE.then(text).then(QUOTE))?);
            }
            Scalar::Uint32 | Scalar::Fixed32 => i64::from(low32(value)),
            Scalar::Int32 | Scalar::Sfixed32 => i64::from(low32(value).cast_signed()),
            Scalar::Sint32 => i64::from(unzigzag32(value)),
            Scalar::Sint64 => unzigzag64(value),
            Scalar::Int64 | Scalar::Sfixed64 => value.cast_signed(),
            _ => return Ok(self.out.decimal(QUOTE, value, QUOTE)?),
        };
        let before = if signed < 0 { QUOTE.then(MINUS) } else { QUOTE };
        Ok(self.out.decimal(before, signed.unsigned_abs(), QUOTE)?)
    }

    pub(super) fn default_scalar(&mut self, scalar: Scalar) -> Step {
        let mut zeros = Reader::new(&[0; 8]);
        self.scalar(scalar, &mut zeros).map(drop)
    }

    #[inline]
    fn signed(&mut self, before: Short, value: i64) -> Result<(), Full> {
        let before = if value < 0 { before.then(MINUS) } else { before };
        self.out.decimal(before, value.unsigned_abs(), Short::EMPTY)
    }

    /// A 64-bit integer: in quotes, since JSON numbers are doubles to most readers.
    #[inline]
    fn wide_signed(&mut self, before: Short, value: i64) -> Result<(), Full> {
        if self.options.int64_as_number {
            return self.signed(before, value);
        }
        let before = before.then(QUOTE);
        let before = if value < 0 { before.then(MINUS) } else { before };
        self.out.decimal(before, value.unsigned_abs(), QUOTE)
    }

    #[inline]
    fn wide_unsigned(&mut self, before: Short, value: u64) -> Result<(), Full> {
        if self.options.int64_as_number {
            return self.out.decimal(before, value, Short::EMPTY);
        }
        self.out.decimal(before.then(QUOTE), value, QUOTE)
    }

    pub(super) fn double(&mut self, before: Short, value: f64) -> Result<(), Full> {
        if let Some(text) = few_digits(value, 6, 7) {
            return self.out.short(before.then(text));
        }
        self.out.short(before)?;
        if value.is_finite() {
            return self.digits(zmij::Buffer::new().format_finite(value));
        }
        self.not_finite(value.is_nan(), value.is_sign_negative())
    }

    fn float(&mut self, before: Short, value: f32) -> Result<(), Full> {
        if let Some(text) = few_digits(f64::from(value), 2, 4) {
            return self.out.short(before.then(text));
        }
        self.out.short(before)?;
        if value.is_finite() {
            return self.digits(zmij::Buffer::new().format_finite(value));
        }
        self.not_finite(value.is_nan(), value.is_sign_negative())
    }

    /// A float's digits, without a fraction of zero.
    #[inline]
    fn digits(&mut self, text: &str) -> Result<(), Full> {
        self.out.brief(text.strip_suffix(".0").unwrap_or(text).as_bytes())
    }

    #[cold]
    fn not_finite(&mut self, nan: bool, negative: bool) -> Result<(), Full> {
        self.out.bytes(match (nan, negative) {
            (true, _) => b"\"NaN\"",
            (false, true) => b"\"-Infinity\"",
            (false, false) => b"\"Infinity\"",
        })
    }

    /// Bytes in base64, padded.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Step {
        let length = bytes.len().div_ceil(3) * 4;
        let room = self.out.room(length + 2)?;
        if let [first, text @ .., last] = room {
            *first = b'"';
            STANDARD.encode_slice(bytes, text).map_err(|_| broken())?;
            *last = b'"';
        }
        self.out.advance(length + 2);
        Ok(())
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
            _ => self.signed(Short::EMPTY, i64::from(number))?,
        }
        Ok(if number == 0 { Outcome::Default } else { Outcome::Written })
    }
}

#[cold]
fn not_utf8() -> WireError {
    WireError::new(WireErrorKind::Broken, "holds text that is not UTF-8".into())
}

/// Notes in which places there are bytes that do not stand for themselves in a JSON string, or that must be looked at
/// together with others: control characters, quotes, backslashes and what is beyond ASCII.
#[inline(always)]
fn note_others(noted: &mut [u8; 16], bytes: &[u8; 16]) {
    for (noted, &byte) in noted.iter_mut().zip(bytes) {
        // What is below the blank wraps around.
        let is_other = byte.wrapping_sub(b' ') >= 0x60 || byte == b'"' || byte == b'\\';
        *noted |= u8::from(is_other);
    }
}

/// Whether anything was noted.
#[inline(always)]
fn is_noted(noted: &[u8; 16]) -> bool {
    // All of them, since to look at sixteen costs as much as to look at one.
    noted.iter().fold(false, |any, &noted| any | (noted != 0))
}

/// Notes in which places there are bytes that a JSON string must escape.
#[inline(always)]
fn note_escapes(noted: &mut [u8; 16], bytes: &[u8; 16]) {
    for (noted, &byte) in noted.iter_mut().zip(bytes) {
        *noted |= u8::from(byte < b' ' || byte == b'"' || byte == b'\\');
    }
}

/// The text of a number that has up to `whole` digits before its point and up to `fraction` behind it, in which a multiple
/// of a power of two always ends. `None` for all others.
///
/// With at most 15 digits (6 for floats) no two decimals are the same number, so this is the shortest text of it. With its
/// sign it leaves room for a comma in a [`Short`].
#[inline]
fn few_digits(value: f64, whole: usize, fraction: u32) -> Option<Short> {
    const POWERS: [u64; 9] =
        [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];
    let bits = value.to_bits();
    // Bits behind the point of the mantissa as it stands, an integer; of these the last `zeros` are no use.
    let mantissa = bits & 0x000f_ffff_ffff_ffff | 0x0010_0000_0000_0000;
    let behind = 1075_u64.wrapping_sub(bits >> 52 & 0x7ff);
    let zeros = u64::from(mantissa.trailing_zeros());
    // A number with too many bits in front of its point, or of no magnitude at all, wraps around here.
    let behind = u32::try_from(behind).ok().filter(|behind| (33..64).contains(behind))?;
    let integer = mantissa >> behind;
    let places = u64::from(behind).saturating_sub(zeros);
    let places = u32::try_from(places).ok().filter(|places| *places <= fraction)?;
    if integer >= *POWERS.get(whole)? {
        return None;
    }
    let text = Short::number(integer);
    let text = if value.is_sign_negative() { MINUS.then(text) } else { text };
    if places == 0 {
        return Some(text);
    }
    // As many decimal places as binary ones: each of them is a half of the one before.
    let rest = mantissa & ((1_u64 << behind) - 1);
    let decimals = ((rest >> (behind - places)) * 100_000_000) >> places;
    Some(text.then(POINT).then(Short::leading(decimals, places)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: f64, whole: usize, fraction: u32) -> Option<String> {
        let text = few_digits(value, whole, fraction)?;
        let length = usize::try_from(text.length).unwrap();
        Some(String::from_utf8(text.bytes.to_le_bytes()[..length].to_vec()).unwrap())
    }

    #[test]
    fn numbers_of_few_digits_are_written_in_full() {
        for sixteenths in 0..100_000 {
            let value = f64::from(sixteenths) / 16.0;
            let expected = (value >= 1.0 / 2048.0).then(|| value.to_string());
            assert_eq!(shown(value, 6, 7), expected, "{value}");
            assert_eq!(shown(-value, 6, 7), expected.map(|text| format!("-{text}")));
        }
        assert_eq!(shown(-999_999.992_187_5, 6, 7).as_deref(), Some("-999999.9921875"));
        assert_eq!(shown(0.007_812_5, 6, 7).as_deref(), Some("0.0078125"));
        assert_eq!(shown(99.062_5, 2, 4).as_deref(), Some("99.0625"));
    }

    #[test]
    fn what_has_more_digits_is_left_to_others() {
        for value in [
            0.0,
            -0.0,
            0.1,
            1_000_000.0,
            0.003_906_25,
            1e300,
            5e-324,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MIN_POSITIVE,
        ] {
            assert_eq!(shown(value, 6, 7), None, "{value}");
        }
        assert_eq!(shown(100.5, 2, 4), None);
        assert_eq!(shown(0.031_25, 2, 4), None);
    }
}
