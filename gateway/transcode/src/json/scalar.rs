//! Scalars and enums from JSON to the wire.

use super::{
    lexer::{Quoted, broken_escape, short, special, unescaped},
    number::{self, Number},
    parse::{Outcome, Parser},
};
use crate::{
    error::{JsonError, JsonErrorKind},
    schema::{Field, Scalar},
    wire::{Full, Writer, zigzag32, zigzag64},
};

type Valued = Result<Outcome, JsonError>;

/// Whether a value that was written is the default of its type.
fn outcome(default: bool) -> Outcome {
    if default { Outcome::Default } else { Outcome::Written }
}

/// The text of a map's key, or of a parameter, is read as a scalar of this sort by [`write_text`].
pub(crate) fn write_text(out: &mut Writer<'_>, scalar: Scalar, text: &str) -> Result<bool, String> {
    let number = || number::scan_all(text.as_bytes());
    match scalar {
        Scalar::String => {
            out.varint(u64::try_from(text.len()).unwrap_or(0))
                .and_then(|()| out.bytes(text.as_bytes()))
                .map_err(full)?;
            Ok(text.is_empty())
        }
        Scalar::Bytes => {
            let body = out.open().map_err(full)?;
            write_base64(out, text.as_bytes()).map_err(|_| expected(scalar, text))?;
            out.close(body).map_err(full)?;
            Ok(text.is_empty())
        }
        Scalar::Bool => {
            let value = match text {
                "true" => true,
                "false" => false,
                _ => return Err(expected(scalar, text)),
            };
            out.byte(u8::from(value)).map_err(full)?;
            Ok(!value)
        }
        Scalar::Double | Scalar::Float => {
            let default = write_float(out, scalar, special_float(text), number()).map_err(full)?;
            default.ok_or_else(|| expected(scalar, text))
        }
        _ => {
            let default = number()
                .map(|number| write_integer(out, scalar, number))
                .transpose()
                .map_err(full)?;
            default.flatten().ok_or_else(|| expected(scalar, text))
        }
    }
}

#[cold]
fn full(_: Full) -> String {
    "larger than the limit".into()
}

#[cold]
fn expected(scalar: Scalar, found: &str) -> String {
    let shown: String = found.chars().take(40).collect();
    format!("expected {}, found {shown:?}", describe(scalar))
}

/// What a scalar takes, for messages.
fn describe(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::Double | Scalar::Float => {
            "a number in range, \"NaN\", \"Infinity\" or \"-Infinity\""
        }
        Scalar::Int32 | Scalar::Sint32 | Scalar::Sfixed32 => {
            "an integer from -2147483648 to 2147483647"
        }
        Scalar::Uint32 | Scalar::Fixed32 => "an integer from 0 to 4294967295",
        Scalar::Int64 | Scalar::Sint64 | Scalar::Sfixed64 => {
            "an integer from -9223372036854775808 to 9223372036854775807"
        }
        Scalar::Uint64 | Scalar::Fixed64 => "an integer from 0 to 18446744073709551615",
        Scalar::Bool => "true or false",
        Scalar::String => "a string",
        Scalar::Bytes => "base64",
    }
}

fn special_float(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// Writes an integer; whether it is zero, `None` if it is out of range.
#[inline]
fn write_integer(
    out: &mut Writer<'_>,
    scalar: Scalar,
    number: Number<'_>,
) -> Result<Option<bool>, Full> {
    const SMALL: std::ops::RangeInclusive<i64> = -0x8000_0000..=0x7fff_ffff;
    const WHOLE: std::ops::RangeInclusive<i64> = i64::MIN..=i64::MAX;
    let range = match scalar {
        Scalar::Int32 | Scalar::Sint32 | Scalar::Sfixed32 => SMALL,
        Scalar::Uint32 | Scalar::Fixed32 | Scalar::Uint64 | Scalar::Fixed64 => {
            let most = if matches!(scalar, Scalar::Uint32 | Scalar::Fixed32) {
                0xffff_ffff
            } else {
                u64::MAX
            };
            let Some(value) = number.unsigned(most) else { return Ok(None) };
            match scalar {
                Scalar::Fixed32 => out.padded(&value.to_le_bytes(), 4)?,
                Scalar::Fixed64 => out.padded(&value.to_le_bytes(), 8)?,
                _ => out.varint(value)?,
            }
            return Ok(Some(value == 0));
        }
        _ => WHOLE,
    };
    let Some(value) = number.signed(range) else { return Ok(None) };
    match scalar {
        Scalar::Sint32 => out.varint(i32::try_from(value).map_or(0, zigzag32))?,
        Scalar::Sint64 => out.varint(zigzag64(value))?,
        Scalar::Sfixed32 => out.padded(&value.to_le_bytes(), 4)?,
        Scalar::Sfixed64 => out.padded(&value.to_le_bytes(), 8)?,
        _ => out.varint(value.cast_unsigned())?,
    }
    Ok(Some(value == 0))
}

fn is_signed(scalar: Scalar) -> bool {
    !matches!(scalar, Scalar::Uint32 | Scalar::Fixed32 | Scalar::Uint64 | Scalar::Fixed64)
}

/// Writes an integer of up to seven digits, which every type of its sign holds.
#[inline]
fn write_few(
    out: &mut Writer<'_>,
    scalar: Scalar,
    magnitude: u64,
    negative: bool,
) -> Result<(), Full> {
    let value = if negative { magnitude.wrapping_neg() } else { magnitude };
    match scalar {
        // Of numbers this small the one is as the other.
        Scalar::Sint32 | Scalar::Sint64 => {
            out.varint((magnitude * 2).wrapping_sub(u64::from(negative && magnitude != 0)))
        }
        Scalar::Fixed32 | Scalar::Sfixed32 => out.padded(&value.to_le_bytes(), 4),
        Scalar::Fixed64 | Scalar::Sfixed64 => out.padded(&value.to_le_bytes(), 8),
        _ => out.varint(value),
    }
}

/// Writes a float; whether it is plus zero, `None` if it is neither special nor a number in range.
#[inline]
fn write_float(
    out: &mut Writer<'_>,
    scalar: Scalar,
    special: Option<f64>,
    number: Option<Number<'_>>,
) -> Result<Option<bool>, Full> {
    if scalar == Scalar::Double {
        let Some(value) = special.or_else(|| number?.double()) else { return Ok(None) };
        out.padded(&value.to_le_bytes(), 8)?;
        return Ok(Some(value.to_bits() == 0));
    }
    let special = special.map(|value| match value.is_nan() {
        true => f32::NAN,
        false if value.is_sign_negative() => f32::NEG_INFINITY,
        false => f32::INFINITY,
    });
    let Some(value) = special.or_else(|| number?.float()) else { return Ok(None) };
    out.padded(&value.to_le_bytes(), 4)?;
    Ok(Some(value.to_bits() == 0))
}

/// Neither alphabet of base64.
struct NotBase64;

/// The six bits of each letter of either alphabet; what is none has its high bits set.
static SEXTETS: [u8; 256] = {
    let mut sextets = [0xff; 256];
    let (mut at, mut letter) = (0, 0_u8);
    while at < sextets.len() {
        sextets[at] = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => 0xff,
        };
        letter = letter.wrapping_add(1);
        at += 1;
    }
    sextets
};

/// Writes the bytes of base64 in either alphabet, padded or not.
fn write_base64(out: &mut Writer<'_>, text: &[u8]) -> Result<(), NotBase64> {
    let text = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let (chunks, rest) = text.as_chunks::<8>();
    let length = chunks.len() * 6;
    let room = out.room(length + 2).map_err(|_| NotBase64)?;
    let mut wrong = 0;
    for (nth, chunk) in chunks.iter().enumerate() {
        let [a, b, c, d, e, f, g, h] = chunk.map(|letter| SEXTETS[usize::from(letter)]);
        wrong |= a | b | c | d | e | f | g | h;
        let word = [a, b, c, d, e, f, g, h]
            .into_iter()
            .fold(0_u64, |word, sextet| word << 6 | u64::from(sextet & 63));
        // Eight bytes of which six count; the next ones overwrite the rest.
        if let Some(room) = room.get_mut(nth * 6..).and_then(<[u8]>::first_chunk_mut) {
            *room = (word << 16).to_be_bytes();
        }
    }
    if wrong & 0xc0 != 0 {
        return Err(NotBase64);
    }
    out.advance(length);
    let (rest, last) = rest.split_at(rest.len() & 4);
    if !rest.is_empty() {
        let [_, a, b, c] = sextets(rest)?.to_be_bytes();
        out.padded(&[a, b, c, 0], 3).map_err(|_| NotBase64)?;
    }
    let word = sextets(last)?;
    let bytes: &[u8] = match last.len() {
        0 => return Ok(()),
        2 => &[crate::wire::low8(u64::from(word >> 4))],
        3 => &[crate::wire::low8(u64::from(word >> 10)), crate::wire::low8(u64::from(word >> 2))],
        _ => return Err(NotBase64),
    };
    out.bytes(bytes).map_err(|_| NotBase64)
}

#[inline]
fn sextets(letters: &[u8]) -> Result<u32, NotBase64> {
    letters.iter().try_fold(0, |word, &letter| match SEXTETS[usize::from(letter)] {
        sextet @ 0..64 => Ok(word << 6 | u32::from(sextet)),
        _ => Err(NotBase64),
    })
}

impl<'j> Parser<'_, 'j, '_> {
    /// A string, with its length.
    #[inline]
    pub(super) fn string(&mut self) -> Valued {
        if self.lexer.peek() != b'"' {
            return Err(self.mismatch("a string"));
        }
        let quoted = self.lexer.quoted("a string")?;
        self.quoted_string(quoted)?;
        Ok(outcome(quoted.raw.is_empty()))
    }

    #[inline]
    pub(super) fn quoted_string(&mut self, quoted: Quoted<'j>) -> Result<(), JsonError> {
        if quoted.escaped {
            return self.escaped_string(quoted);
        }
        quoted.check()?;
        let length = quoted.raw.len();
        if length < 32
            && let Some(padded) =
                self.lexer.json().get(quoted.start..).and_then(<[u8]>::first_chunk::<32>)
        {
            self.out.byte(crate::wire::low8(u64::try_from(length).unwrap_or(0)))?;
            return Ok(self.out.padded(padded, length)?);
        }
        self.out.varint(u64::try_from(length).unwrap_or(0))?;
        Ok(self.out.bytes(quoted.raw)?)
    }

    fn escaped_string(&mut self, quoted: Quoted<'j>) -> Result<(), JsonError> {
        let body = self.out.open()?;
        quoted.check()?;
        let mut rest = quoted.raw;
        loop {
            let (word, length) = match rest.first_chunk::<8>() {
                Some(chunk) => (u64::from_le_bytes(*chunk), 8),
                None => (short(rest), rest.len()),
            };
            // Nothing is special here but backslashes, since the string ended at its quote.
            let found = special(word);
            let plain =
                if found == 0 { length } else { crate::wire::index(found.trailing_zeros() >> 3) };
            self.out.padded(&word.to_le_bytes(), plain)?;
            rest = rest.get(plain..).unwrap_or_default();
            if found != 0 {
                let at = quoted.start + quoted.raw.len() - rest.len();
                let (letter, used) = unescaped(rest).ok_or_else(|| broken_escape(at))?;
                let mut utf8 = [0; 4];
                let length = letter.encode_utf8(&mut utf8).len();
                self.out.padded(&utf8, length)?;
                rest = rest.get(used..).unwrap_or_default();
            } else if length < 8 {
                break;
            }
        }
        Ok(self.out.close(body)?)
    }

    /// A scalar other than a string.
    #[inline]
    pub(super) fn scalar(&mut self, scalar: Scalar) -> Valued {
        match scalar {
            Scalar::String => self.string(),
            Scalar::Bool => self.boolean(),
            Scalar::Bytes => self.bytes(),
            Scalar::Double | Scalar::Float => self.float(scalar),
            _ => self.integer(scalar),
        }
    }

    fn boolean(&mut self) -> Valued {
        match self.lexer.peek() {
            b't' => self
                .lexer
                .literal(b"true")
                .and_then(|()| Ok(self.out.byte(1)?))
                .map(|()| Outcome::Written),
            b'f' => self
                .lexer
                .literal(b"false")
                .and_then(|()| Ok(self.out.byte(0)?))
                .map(|()| Outcome::Default),
            _ => Err(self.mismatch("true or false")),
        }
    }

    fn bytes(&mut self) -> Valued {
        if self.lexer.peek() != b'"' {
            return Err(self.mismatch("a string of base64"));
        }
        let quoted = self.lexer.quoted("a string of base64")?;
        let text = if quoted.escaped { Some(quoted.text()?) } else { None };
        let raw = text.as_ref().map_or(quoted.raw, |text| text.as_bytes());
        let body = self.out.open()?;
        if write_base64(&mut self.out, raw).is_err() {
            return Err(self.wrong(
                quoted.start,
                "expected base64, found other characters or a broken end".into(),
            ));
        }
        let default = self.out.position() == body;
        self.out.close(body)?;
        Ok(outcome(default))
    }

    #[inline]
    fn integer(&mut self, scalar: Scalar) -> Valued {
        let first = self.lexer.peek();
        let at = self.lexer.position();
        let few = match first {
            b'"' => self.lexer.few_quoted_digits(),
            _ => self.lexer.few_digits(),
        };
        match few {
            Some((magnitude, negative)) if !negative || is_signed(scalar) => {
                write_few(&mut self.out, scalar, magnitude, negative)?;
                Ok(outcome(magnitude == 0))
            }
            _ => {
                self.lexer.seek(at);
                self.any_integer(scalar)
            }
        }
    }

    /// An integer in any spelling.
    fn any_integer(&mut self, scalar: Scalar) -> Valued {
        let at = self.lexer.position();
        let number = match self.lexer.peek() {
            b'-' | b'0'..=b'9' => self.lexer.number()?,
            b'"' => {
                let quoted = self.lexer.quoted("an integer")?;
                if quoted.escaped {
                    let text = quoted.text()?;
                    let written = write_text(&mut self.out, scalar, &text);
                    return written.map(outcome).map_err(|message| self.wrong(at, message));
                }
                number::scan_all(quoted.raw).ok_or_else(|| self.not(scalar, at))?
            }
            _ => return Err(self.mismatch(describe(scalar))),
        };
        let default = write_integer(&mut self.out, scalar, number)?;
        default.map(outcome).ok_or_else(|| self.not(scalar, at))
    }

    #[inline]
    fn float(&mut self, scalar: Scalar) -> Valued {
        let first = self.lexer.peek();
        let at = self.lexer.position();
        match first {
            b'-' | b'0'..=b'9' => {
                let number = self.lexer.number()?;
                let default = write_float(&mut self.out, scalar, None, Some(number))?;
                default.map(outcome).ok_or_else(|| self.not(scalar, at))
            }
            b'"' => {
                let text = self.lexer.text("a number")?;
                write_text(&mut self.out, scalar, &text)
                    .map(outcome)
                    .map_err(|message| self.wrong(at, message))
            }
            _ => Err(self.mismatch(describe(scalar))),
        }
    }

    /// The value that was just read does not fit.
    #[cold]
    fn not(&self, scalar: Scalar, at: usize) -> JsonError {
        let found = self.lexer.json().get(at..self.lexer.position()).unwrap_or_default();
        let found: String = String::from_utf8_lossy(found).chars().take(40).collect();
        self.wrong(at, format!("expected {}, found {found}", describe(scalar)))
    }

    pub(super) fn enumeration(&mut self, enumeration: u32) -> Valued {
        let table = self.tables.enumeration(enumeration);
        match self.lexer.peek() {
            b'"' => {
                let at = self.lexer.position();
                let quoted = self.lexer.quoted("the name of an enum value")?;
                let text = if quoted.escaped { Some(quoted.text()?) } else { None };
                let name = text.as_ref().map_or(quoted.raw, |text| text.as_bytes());
                if let Some(number) = table.number(name) {
                    self.out.varint(i64::from(number).cast_unsigned())?;
                    return Ok(outcome(number == 0));
                }
                let text = quoted.text()?;
                if self.options.ignore_unknown_fields {
                    return Ok(Outcome::Ignored);
                }
                let nearest = table
                    .nearest(&text)
                    .map(|near| format!("; did you mean {near:?}?"))
                    .unwrap_or_default();
                let shown: String = text.chars().take(40).collect();
                Err(self
                    .wrong(at, format!("{shown:?} is no value of {}{nearest}", table.full_name)))
            }
            b'-' | b'0'..=b'9' => {
                let at = self.lexer.position();
                let number = self.lexer.number()?;
                let value = number.signed(i64::from(i32::MIN)..=i64::from(i32::MAX));
                let value = value.ok_or_else(|| self.not(Scalar::Int32, at))?;
                if table.closed
                    && i32::try_from(value).is_ok_and(|number| table.name(number).is_none())
                {
                    return Err(
                        self.wrong(at, format!("{value} is no value of {}", table.full_name))
                    );
                }
                self.out.varint(value.cast_unsigned())?;
                Ok(outcome(value == 0))
            }
            _ => Err(self.mismatch("the name of an enum value")),
        }
    }

    pub(super) fn null_value(&mut self) -> Valued {
        match self.lexer.peek() {
            b'n' => self.lexer.null()?,
            b'"' if self.lexer.text("null")? == "NULL_VALUE" => {}
            b'0'..=b'9' => drop(self.lexer.number()?),
            _ => return Err(self.mismatch("null")),
        }
        self.out.byte(0)?;
        Ok(Outcome::Default)
    }

    /// The key of a map, which JSON has as a string.
    pub(super) fn map_key(&mut self, key: &Field) -> Result<(), JsonError> {
        let at = self.lexer.position();
        let quoted = self.lexer.quoted("a member's name")?;
        let crate::schema::Kind::Scalar(scalar) = key.kind else { return Ok(()) };
        if scalar == Scalar::String {
            return self.quoted_string(quoted);
        }
        let text = quoted.text()?;
        match write_text(&mut self.out, scalar, &text) {
            Ok(_) => Ok(()),
            Err(message) => Err(JsonError::new(JsonErrorKind::Value, at, message)
                .within(&format!("[{}]", crate::text::quoted(&text)))),
        }
    }
}
