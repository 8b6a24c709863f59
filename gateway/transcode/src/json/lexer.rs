//! JSON as bytes: whitespace, strings, numbers, and values to be skipped.

use std::borrow::Cow;

use super::number::{self, Number};
use crate::{
    decimal::parse_few,
    error::{JsonError, JsonErrorKind},
    utf8::is_utf8,
};

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = LOW << 7;

/// A cursor over a JSON text.
pub(crate) struct Lexer<'j> {
    json: &'j [u8],
    at: usize,
}

/// A string as it stands in the text, between its quotes.
#[derive(Clone, Copy)]
pub(crate) struct Quoted<'j> {
    pub(crate) raw: &'j [u8],
    /// Where its content begins.
    pub(crate) start: usize,
    /// Whether it holds escapes.
    pub(crate) escaped: bool,
    /// Whether it may hold more than ASCII.
    wide: bool,
}

/// The high bit of each byte that ends or escapes a JSON string, or that it may not hold. Exact up to the first one.
#[inline]
pub(crate) fn special(word: u64) -> u64 {
    let quote = word ^ (LOW * 0x22);
    let backslash = word ^ (LOW * 0x5c);
    let control = word.wrapping_sub(LOW * 0x20) & !word;
    (control | quote.wrapping_sub(LOW) & !quote | backslash.wrapping_sub(LOW) & !backslash) & HIGH
}

/// The high bit of each byte that is not ASCII.
#[inline]
pub(crate) fn wide(word: u64) -> u64 {
    word & HIGH
}

/// Up to seven bytes as a word, the rest of it blanks.
#[inline]
pub(crate) fn short(text: &[u8]) -> u64 {
    let length = text.len();
    let byte = |at: usize| text.get(at).map_or(0, |&byte| u64::from(byte)) << (at * 8);
    let word = match (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first))
                | u64::from(u32::from_le_bytes(*last)) << ((length - 4) * 8)
        }
        _ => byte(0) | byte(1) | byte(2),
    };
    word | 0x2020_2020_2020_2020 << (length * 8)
}

impl<'j> Lexer<'j> {
    pub(crate) fn new(json: &'j [u8]) -> Self {
        Self { json, at: 0 }
    }

    /// The whole text.
    #[inline]
    pub(crate) fn json(&self) -> &'j [u8] {
        self.json
    }

    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    #[inline]
    pub(crate) fn seek(&mut self, position: usize) {
        self.at = position;
    }

    #[cold]
    pub(crate) fn syntax(&self, expected: &str) -> JsonError {
        let found = found(self.json.get(self.at));
        JsonError::new(
            JsonErrorKind::Syntax,
            self.at,
            format!("expected {expected}, found {found}"),
        )
    }

    /// The next byte that is no whitespace, which stays; 0 at the end.
    #[inline]
    pub(crate) fn peek(&mut self) -> u8 {
        match self.json.get(self.at) {
            Some(&byte) if byte > b' ' => byte,
            _ => self.peek_further(),
        }
    }

    fn peek_further(&mut self) -> u8 {
        while let Some(&byte) = self.json.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return byte;
            }
            self.at += 1;
        }
        0
    }

    #[inline]
    pub(crate) fn expect(&mut self, byte: u8, name: &str) -> Result<(), JsonError> {
        if self.peek() == byte {
            self.at += 1;
            return Ok(());
        }
        Err(self.syntax(name))
    }

    /// Moves over `key` (`,"name":`, without its comma) if it stands here.
    #[inline]
    pub(crate) fn take_key(&mut self, key: &crate::schema::Key) -> bool {
        let Some(rest) = self.json.get(self.at..) else { return false };
        let taken = match rest.first_chunk::<32>() {
            Some(chunk) if key.length <= 33 => key.begins(chunk),
            _ => key.full.get(1..).is_some_and(|name| rest.starts_with(name)),
        };
        if taken {
            self.at += key.length - 1;
        }
        taken
    }

    /// Moves over an integer of up to seven digits if one stands here and neither fraction nor exponent follows; its
    /// magnitude, and whether it is negative.
    #[inline]
    pub(crate) fn few_digits(&mut self) -> Option<(u64, bool)> {
        let mut rest = self.json.get(self.at..)?;
        let negative = rest.first() == Some(&b'-');
        rest = rest.get(usize::from(negative)..)?;
        let (value, length) = parse_few(*rest.first_chunk()?)?;
        let zero_first = length > 1 && rest.first() == Some(&b'0');
        if zero_first || matches!(rest.get(length), None | Some(b'.' | b'e' | b'E')) {
            return None;
        }
        self.at += length + usize::from(negative);
        Some((value, negative))
    }

    /// The same within quotes.
    #[inline]
    pub(crate) fn few_quoted_digits(&mut self) -> Option<(u64, bool)> {
        let start = self.at;
        self.at += 1;
        let found = self.few_digits();
        if found.is_some() && self.json.get(self.at) == Some(&b'"') {
            self.at += 1;
            return found;
        }
        self.at = start;
        None
    }

    /// After a member or element: whether another follows. Moves over the comma or the closing byte.
    #[inline]
    pub(crate) fn more(&mut self, close: u8) -> Result<bool, JsonError> {
        let byte = self.peek();
        if byte == b',' {
            self.at += 1;
            return Ok(true);
        }
        if byte == close {
            self.at += 1;
            return Ok(false);
        }
        Err(self.syntax(if close == b'}' { "`,` or `}`" } else { "`,` or `]`" }))
    }

    /// Moves over an opening byte; whether it is closed at once, and that is moved over too.
    #[inline]
    pub(crate) fn is_empty(&mut self, close: u8) -> bool {
        self.at += 1;
        let empty = self.peek() == close;
        self.at += usize::from(empty);
        empty
    }

    /// Moves over `null`.
    pub(crate) fn null(&mut self) -> Result<(), JsonError> {
        self.literal(b"null")
    }

    #[inline]
    pub(crate) fn literal(&mut self, literal: &'static [u8]) -> Result<(), JsonError> {
        self.peek();
        if self.json.get(self.at..).is_some_and(|rest| rest.starts_with(literal)) {
            self.at += literal.len();
            return Ok(());
        }
        Err(self.syntax("a value"))
    }

    /// A string; `what` says what it is expected to be.
    #[inline]
    pub(crate) fn quoted(&mut self, what: &str) -> Result<Quoted<'j>, JsonError> {
        if self.peek() != b'"' {
            return Err(self.syntax(what));
        }
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        let mut high = 0;
        loop {
            let rest = self.json.get(self.at..).unwrap_or_default();
            let mut stopped = false;
            let (chunks, tail) = rest.as_chunks::<8>();
            for chunk in chunks {
                let word = u64::from_le_bytes(*chunk);
                let found = special(word);
                high |= wide(word);
                if found != 0 {
                    self.at += crate::wire::index(found.trailing_zeros() >> 3);
                    stopped = true;
                    break;
                }
                self.at += 8;
            }
            if !stopped {
                for &byte in tail {
                    if byte == b'"' || byte == b'\\' || byte < 0x20 {
                        break;
                    }
                    high |= u64::from(byte & 0x80);
                    self.at += 1;
                }
            }
            match self.json.get(self.at) {
                Some(b'"') => {
                    let raw = self.json.get(start..self.at).unwrap_or_default();
                    self.at += 1;
                    return Ok(Quoted { raw, start, escaped, wide: high != 0 });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.at += 2;
                }
                Some(_) => return Err(self.syntax("no control character in a string; escape it")),
                None => {
                    self.at = self.at.min(self.json.len());
                    return Err(self.syntax("the closing quote of a string"));
                }
            }
        }
    }

    /// A string with its escapes decoded.
    pub(crate) fn text(&mut self, what: &str) -> Result<Cow<'j, str>, JsonError> {
        let quoted = self.quoted(what)?;
        quoted.text()
    }

    /// A number, by the grammar of JSON.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<Number<'j>, JsonError> {
        let rest = self.json.get(self.at..).unwrap_or_default();
        match number::scan(rest) {
            Some(number) => {
                self.at += number.text.len();
                Ok(number)
            }
            None => {
                self.at += usize::from(rest.first() == Some(&b'-'));
                Err(self.syntax("a number"))
            }
        }
    }

    /// Moves over a value of any sort, at most `depth` deep.
    pub(crate) fn skip(&mut self, depth: u32) -> Result<(), JsonError> {
        match self.peek() {
            b'"' => self.text("a string").map(drop),
            b'-' | b'0'..=b'9' => self.number().map(drop),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            open @ (b'{' | b'[') => {
                let Some(depth) = depth.checked_sub(1) else { return Err(too_deep(self.at)) };
                let close = if open == b'{' { b'}' } else { b']' };
                if self.is_empty(close) {
                    return Ok(());
                }
                loop {
                    if open == b'{' {
                        self.text("a member's name")?;
                        self.expect(b':', "`:`")?;
                    }
                    self.skip(depth)?;
                    if !self.more(close)? {
                        return Ok(());
                    }
                }
            }
            _ => Err(self.syntax("a value")),
        }
    }

    /// What stands here, for an error.
    #[cold]
    pub(crate) fn describe(&mut self) -> &'static str {
        match self.peek() {
            b'"' => "a string",
            b'-' | b'0'..=b'9' => "a number",
            b't' | b'f' => "a boolean",
            b'n' => "null",
            b'{' => "an object",
            b'[' => "an array",
            _ => "no value",
        }
    }
}

/// A byte that was not expected, for an error.
#[cold]
pub(crate) fn found(byte: Option<&u8>) -> String {
    match byte {
        None => "the end".into(),
        Some(byte @ 0x21..=0x7e) => format!("`{}`", char::from(*byte)),
        Some(byte) => format!("byte 0x{byte:02x}"),
    }
}

#[cold]
pub(crate) fn too_deep(at: usize) -> JsonError {
    JsonError::new(JsonErrorKind::Depth, at, "nested too deep".into())
}

impl<'j> Quoted<'j> {
    /// Its text, which is borrowed unless it holds escapes.
    pub(crate) fn text(self) -> Result<Cow<'j, str>, JsonError> {
        if !self.escaped {
            return self.check().and_then(|()| {
                std::str::from_utf8(self.raw)
                    .map(Cow::Borrowed)
                    .map_err(|error| self.not_utf8(error.valid_up_to()))
            });
        }
        let mut text = Vec::with_capacity(self.raw.len());
        self.unescape(|bytes| {
            text.extend_from_slice(bytes);
            Ok(())
        })?;
        String::from_utf8(text)
            .map(Cow::Owned)
            .map_err(|error| self.not_utf8(error.utf8_error().valid_up_to()))
    }

    /// Checks that what it holds as it stands is UTF-8.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), JsonError> {
        if !self.wide || is_utf8(self.raw) {
            return Ok(());
        }
        let error = std::str::from_utf8(self.raw).err();
        Err(self.not_utf8(error.map_or(0, |error| error.valid_up_to())))
    }

    #[cold]
    fn not_utf8(&self, at: usize) -> JsonError {
        JsonError::new(JsonErrorKind::Syntax, self.start + at, "a string that is not UTF-8".into())
    }

    /// Gives the text in pieces, its escapes decoded.
    pub(crate) fn unescape(
        &self,
        mut emit: impl FnMut(&[u8]) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.check()?;
        let mut rest = self.raw;
        while let Some(at) = rest.iter().position(|&byte| byte == b'\\') {
            let (plain, escape) = rest.split_at(at);
            emit(plain)?;
            let offset = self.start + self.raw.len() - escape.len();
            let broken = || {
                JsonError::new(
                    JsonErrorKind::Syntax,
                    offset,
                    "a string with a broken escape".into(),
                )
            };
            let (letter, length) = unescaped(escape).ok_or_else(broken)?;
            emit(letter.encode_utf8(&mut [0; 4]).as_bytes())?;
            rest = escape.get(length..).unwrap_or_default();
        }
        emit(rest)
    }
}

#[cold]
pub(crate) fn broken_escape(at: usize) -> JsonError {
    JsonError::new(JsonErrorKind::Syntax, at, "a string with a broken escape".into())
}

/// What an escape stands for, and its length.
pub(crate) fn unescaped(escape: &[u8]) -> Option<(char, usize)> {
    let letter = match escape.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(escape),
        _ => return None,
    };
    Some((letter, 2))
}

/// An escape of four hex digits, or two that are a pair of surrogates, and its length.
fn unicode(escape: &[u8]) -> Option<(char, usize)> {
    let unit = |at: usize| -> Option<u32> {
        let digits = escape.get(at..at + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |sum, &digit| Some(sum << 4 | char::from(digit).to_digit(16)?))
    };
    let first = unit(0)?;
    if !(0xd800..0xe000).contains(&first) {
        return Some((char::from_u32(first)?, 6));
    }
    let second = unit(6).filter(|second| (0xdc00..0xe000).contains(second) && first < 0xdc00)?;
    Some((char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))?, 12))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> Result<String, JsonError> {
        Lexer::new(json.as_bytes()).text("a string").map(Cow::into_owned)
    }

    #[test]
    fn strings_end_where_they_should_at_every_offset() {
        for length in 0..40 {
            let body = "x".repeat(length);
            assert_eq!(text(&format!("\"{body}\"")).unwrap(), body);
            assert_eq!(text(&format!("\"{body}\\n\"rest")).unwrap(), format!("{body}\n"));
            assert_eq!(text(&format!("\"{body}ü\" , \"y\"")).unwrap(), format!("{body}ü"));
            assert!(text(&format!("\"{body}")).is_err());
            assert!(text(&format!("\"{body}\u{1f}\"")).is_err());
        }
    }

    #[test]
    fn escapes_are_decoded_and_broken_ones_refused() {
        assert_eq!(
            text(r#""\"\\\/\b\f\n\r\tA\u00fc\ud83d\ude00""#).unwrap(),
            "\"\\/\u{8}\u{c}\n\r\tAü😀"
        );
        for broken in
            [r#""\x""#, r#""\u12""#, r#""\ud800""#, r#""\ude00\ud83d""#, r#""\ud83dA""#, "\"\\"]
        {
            assert!(text(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn bad_utf8_is_refused() {
        assert!(Lexer::new(b"\"abc\xff\"").text("a string").is_err());
        assert!(Lexer::new(b"\"abc\\n\xff\"").text("a string").is_err());
    }

    #[test]
    fn values_are_skipped_whole() {
        let json = br#" {"a":[1,-2.5e+3,{"b":null}],"c":"\"","d":{}} x"#;
        let mut lexer = Lexer::new(json);
        lexer.skip(5).unwrap();
        assert_eq!(lexer.peek(), b'x');
        assert_eq!(Lexer::new(b"[[[]]]").skip(2).unwrap_err().kind(), JsonErrorKind::Depth);
        for broken in ["[1,]", "{\"a\"}", "{,}", "[", "01", "1.", "-", "tru", "+1", "{\"a\":1,}"] {
            let mut lexer = Lexer::new(broken.as_bytes());
            assert!(lexer.skip(5).is_err() || lexer.peek() != 0, "{broken}");
        }
    }
}
