//! A stream of JSON values that arrives in pieces.

use super::lexer::{found, special, too_deep};
use crate::{
    error::{JsonError, JsonErrorKind, Position},
    options::ParseOptions,
    wire::index,
};

/// How the values of a stream are set apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sequence {
    /// The elements of one array if the stream begins with `[`, else as [`Concatenated`](Self::Concatenated).
    Detected,
    /// One behind the other, with or without whitespace between them, as in NDJSON. An array is a value like any other.
    Concatenated,
}

/// Takes the bytes of a stream as they arrive and gives back its values, each once it is whole.
///
/// A value is delimited, not checked: what stands between its brackets is for [`Schema::json_to_wire`] to refuse. What
/// the stream holds at any time is one unfinished value and the last piece.
///
/// ```
/// # fn main() -> Result<(), transcode::JsonError> {
/// use transcode::{JsonValues, ParseOptions, Sequence};
///
/// let mut values = JsonValues::new(Sequence::Detected, &ParseOptions::default());
/// values.push(b"[{\"a\": 1}, {\"b");
/// assert_eq!(values.next_value()?.map(|value| value.json), Some(&b"{\"a\": 1}"[..]));
/// assert_eq!(values.next_value()?, None);
/// values.push(b"\": 2}]");
/// assert_eq!(values.next_value()?.map(|value| value.json), Some(&b"{\"b\": 2}"[..]));
/// values.finish();
/// assert_eq!(values.next_value()?, None);
/// # Ok(())
/// # }
/// ```
///
/// [`Schema::json_to_wire`]: crate::Schema::json_to_wire
#[derive(Debug)]
pub struct JsonValues {
    sequence: Sequence,
    /// How many bytes one value may have.
    max_bytes: usize,
    /// How deep one value may nest.
    max_depth: usize,
    buffer: Vec<u8>,
    /// Where the bytes begin that were not given out.
    taken: usize,
    /// Up to where they were looked at.
    scanned: usize,
    /// The place of `taken` in the stream.
    place: Position,
    state: State,
    /// The closing bytes that the value at hand waits for.
    open: Vec<u8>,
    /// How many values were given out.
    count: u64,
    finished: bool,
}

/// One value of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonValue<'v> {
    /// Its text.
    pub json: &'v [u8],
    /// Where it begins in the stream; see [`JsonError::after`].
    pub position: Position,
    /// How many came before it.
    pub index: u64,
}

#[derive(Debug)]
enum State {
    /// Nothing but whitespace came.
    Start,
    /// Between values that stand one behind the other.
    Between,
    /// Behind the opening of the array.
    Opened,
    /// Behind a comma of the array.
    Comma,
    /// Behind an element of the array.
    Element,
    /// Behind the array's end.
    Closed,
    /// Within an object, an array or a string.
    Value { array: bool, quoted: bool },
    /// Within a number or a literal.
    Word { array: bool },
    /// It is no stream of values.
    Failed(JsonError),
}

// === impl JsonValues ===

impl JsonValues {
    /// An empty stream. Of the options, `max_bytes` and `max_depth` bound each value.
    #[must_use]
    pub fn new(sequence: Sequence, options: &ParseOptions) -> Self {
        Self {
            sequence,
            max_bytes: options.max_bytes,
            max_depth: index(options.max_depth),
            buffer: Vec::new(),
            taken: 0,
            scanned: 0,
            place: Position::START,
            state: State::Start,
            open: Vec::new(),
            count: 0,
            finished: false,
        }
    }

    /// Takes the next piece. Ask for [`next_value`](Self::next_value) until there is none before the next one, so that
    /// only what is unfinished is kept.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.taken);
        self.scanned -= self.taken;
        self.taken = 0;
        self.buffer.extend_from_slice(piece);
    }

    /// Nothing more arrives. What is still whole is given out; what is not is then an error.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// The next value, `None` where it takes more bytes, or after the last one.
    ///
    /// # Errors
    ///
    /// [`JsonError`], with its place in the stream, if this is no stream of values or one of them nests too deep or is
    /// too long. It stays so.
    pub fn next_value(&mut self) -> Result<Option<JsonValue<'_>>, JsonError> {
        match self.find() {
            Ok(None) => Ok(None),
            Ok(Some(end)) => {
                let (start, position, index) = (self.taken, self.place, self.count);
                self.take(end);
                self.count += 1;
                let json = self.buffer.get(start..end).unwrap_or_default();
                Ok(Some(JsonValue { json, position, index }))
            }
            Err(error) => {
                self.state = State::Failed(error.clone());
                Err(error)
            }
        }
    }

    /// Moves on until a value is whole, and says where it ends.
    fn find(&mut self) -> Result<Option<usize>, JsonError> {
        loop {
            let array = match self.state {
                State::Failed(ref error) => return Err(error.clone()),
                State::Value { array, quoted } => match self.value(array, quoted)? {
                    true => array,
                    false => return self.unfinished(),
                },
                State::Word { array } => match self.word()? {
                    true => array,
                    false => return self.unfinished(),
                },
                _ => match self.between()? {
                    true => continue,
                    false => return Ok(None),
                },
            };
            self.state = if array { State::Element } else { State::Between };
            return Ok(Some(self.scanned));
        }
    }

    /// Moves over whitespace and what separates values; whether something came.
    fn between(&mut self) -> Result<bool, JsonError> {
        let rest = self.buffer.get(self.scanned..).unwrap_or_default();
        let blanks = rest.iter().position(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'));
        let byte = blanks.and_then(|blanks| rest.get(blanks)).copied();
        self.take(self.scanned + blanks.unwrap_or(rest.len()));
        let Some(byte) = byte else {
            let expected = match self.state {
                State::Opened => "a value or `]`",
                State::Comma => "a value",
                State::Element => "`,` or `]`",
                _ => return Ok(false),
            };
            return if self.finished { Err(self.syntax(expected)) } else { Ok(false) };
        };
        let separator = match (&self.state, byte) {
            (State::Start, b'[') if self.sequence == Sequence::Detected => State::Opened,
            (State::Opened | State::Element, b']') => State::Closed,
            (State::Element, b',') => State::Comma,
            (State::Element, _) => return Err(self.syntax("`,` or `]`")),
            (State::Closed, _) => return Err(self.syntax("the end")),
            (state, _) => {
                self.begin(byte, matches!(state, State::Opened | State::Comma))?;
                return Ok(true);
            }
        };
        self.state = separator;
        self.take(self.scanned + 1);
        Ok(true)
    }

    /// Begins a value, whose first byte is this.
    fn begin(&mut self, byte: u8, array: bool) -> Result<(), JsonError> {
        self.state = match byte {
            b'{' | b'[' => State::Value { array, quoted: false },
            b'"' => {
                self.scanned += 1;
                State::Value { array, quoted: true }
            }
            b'-' | b'0'..=b'9' | b'a'..=b'z' => State::Word { array },
            _ => return Err(self.syntax("a value")),
        };
        Ok(())
    }

    /// Moves over brackets and strings; whether the value ended.
    fn value(&mut self, array: bool, mut quoted: bool) -> Result<bool, JsonError> {
        let ended = loop {
            if quoted {
                if !self.string()? {
                    break false;
                }
                quoted = false;
                if self.open.is_empty() {
                    break true;
                }
            }
            let rest = self.buffer.get(self.scanned..).unwrap_or_default();
            let Some(at) =
                rest.iter().position(|byte| matches!(byte, b'"' | b'[' | b']' | b'{' | b'}'))
            else {
                self.scanned = self.buffer.len();
                break false;
            };
            let byte = rest.get(at).copied().unwrap_or_default();
            self.scanned += at;
            match byte {
                b'"' => quoted = true,
                b'[' | b'{' if self.open.len() >= self.max_depth => {
                    return Err(self.placed(too_deep(self.scanned)));
                }
                // The closing byte of either comes two behind its opening one.
                b'[' | b'{' => self.open.push(byte + 2),
                _ => match self.open.pop() {
                    Some(b'}') if byte != b'}' => return Err(self.syntax("`}`")),
                    Some(b']') if byte != b']' => return Err(self.syntax("`]`")),
                    _ => {}
                },
            }
            self.scanned += 1;
            if self.open.is_empty() && !quoted {
                break true;
            }
        };
        self.state = State::Value { array, quoted };
        self.bounded()?;
        Ok(ended)
    }

    /// Moves over what is left of a string; whether its closing quote came.
    fn string(&mut self) -> Result<bool, JsonError> {
        loop {
            let rest = self.buffer.get(self.scanned..).unwrap_or_default();
            let (chunks, tail) = rest.as_chunks::<8>();
            let plain = chunks.iter().position(|chunk| special(u64::from_le_bytes(*chunk)) != 0);
            let looked = plain.unwrap_or(chunks.len()) * 8;
            let rest = if plain.is_some() { rest.get(looked..).unwrap_or_default() } else { tail };
            let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            let byte = end.and_then(|end| rest.get(end)).copied();
            self.scanned += looked + end.unwrap_or(rest.len());
            match byte {
                Some(b'"') => {
                    self.scanned += 1;
                    return Ok(true);
                }
                // An escape is moved over with what it escapes.
                Some(b'\\') if self.scanned + 1 < self.buffer.len() => self.scanned += 2,
                None | Some(b'\\') => return Ok(false),
                Some(_) => {
                    return Err(self.syntax("no control character in a string; escape it"));
                }
            }
        }
    }

    /// Moves over a number or a literal; whether it ended.
    fn word(&mut self) -> Result<bool, JsonError> {
        let rest = self.buffer.get(self.scanned..).unwrap_or_default();
        let end = rest.iter().position(
            |byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'E' | b'+' | b'-' | b'.'),
        );
        self.scanned += end.unwrap_or(rest.len());
        self.bounded()?;
        Ok(end.is_some() || self.finished)
    }

    /// The value takes more bytes than came.
    fn unfinished(&self) -> Result<Option<usize>, JsonError> {
        if !self.finished {
            return Ok(None);
        }
        let State::Value { quoted, .. } = self.state else { return Ok(None) };
        Err(self.syntax(match self.open.last() {
            _ if quoted => "the closing quote of a string",
            Some(b'}') => "`}`",
            _ => "`]`",
        }))
    }

    /// Refuses a value that is longer than the limit, as far as it came.
    fn bounded(&self) -> Result<(), JsonError> {
        if self.scanned - self.taken <= self.max_bytes {
            return Ok(());
        }
        Err(self.placed(self.too_large()))
    }

    #[cold]
    fn too_large(&self) -> JsonError {
        let message = format!("larger than the limit of {} bytes", self.max_bytes);
        JsonError::new(JsonErrorKind::Size, self.taken + self.max_bytes, message)
    }

    /// Gives out what stands before `end`.
    fn take(&mut self, end: usize) {
        let gone = self.buffer.get(self.taken..end).unwrap_or_default();
        self.place = self.place.behind(gone);
        self.taken = end;
        self.scanned = end;
    }

    #[cold]
    fn syntax(&self, expected: &str) -> JsonError {
        let found = found(self.buffer.get(self.scanned));
        let message = format!("expected {expected}, found {found}");
        self.placed(JsonError::new(JsonErrorKind::Syntax, self.scanned, message))
    }

    /// An error whose place is one in the buffer, at its place in the stream. What is wrong beyond the limit is too
    /// large first, so that it does not depend on the pieces.
    #[cold]
    fn placed(&self, error: JsonError) -> JsonError {
        let mut at = error.position().offset.saturating_sub(self.taken);
        let error = if at > self.max_bytes { self.too_large() } else { error };
        at = at.min(self.max_bytes);
        let rest = self.buffer.get(self.taken..).unwrap_or_default();
        error.at(self.place.behind(rest.get(..at).unwrap_or(rest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values and then the error, if any, of a stream that comes in these pieces.
    fn split(sequence: Sequence, pieces: &[&[u8]]) -> (Vec<String>, Option<JsonError>) {
        let options = ParseOptions { max_depth: 3, max_bytes: 30, ..ParseOptions::default() };
        let mut values = JsonValues::new(sequence, &options);
        let mut texts = Vec::new();
        for nth in 0..=pieces.len() {
            match pieces.get(nth) {
                Some(piece) => values.push(piece),
                None => values.finish(),
            }
            loop {
                match values.next_value() {
                    Ok(Some(value)) => {
                        let text = std::str::from_utf8(value.json).unwrap();
                        assert_eq!(value.index, u64::try_from(texts.len()).unwrap());
                        texts.push(format!(
                            "{}:{} {text}",
                            value.position.line, value.position.column
                        ));
                    }
                    Ok(None) => break,
                    Err(error) => return (texts, Some(error)),
                }
            }
        }
        (texts, None)
    }

    const WHOLE: [&str; 13] = [
        "",
        " \n ",
        "[]",
        " [ ] ",
        "[{\"a\":[1]}, 2 ,\"x\"\n,null]\n",
        " {\"a\":1}\n{\"b\":\"]\\\"}\"}\r\n\n",
        "1 2\n-3.5e+7",
        "{}{}[]\"a\"\"b\"true",
        "[[[]],[{},[]]]",
        "\"ü€😀 \\\\\" 1",
        "[\"\\u00fc\\\"\"]",
        "\"123456789012345678901234567\"",
        "[\"\",\"\",\n\n  \"12345678\"]",
    ];

    const BROKEN: [(&str, &str); 18] = [
        ("[1", "expected `,` or `]`, found the end (line 1, column 3)"),
        ("[", "expected a value or `]`, found the end (line 1, column 2)"),
        ("[1,]", "expected a value, found `]` (line 1, column 4)"),
        ("[1,", "expected a value, found the end (line 1, column 4)"),
        ("[,1]", "expected a value, found `,` (line 1, column 2)"),
        ("[1 2]", "expected `,` or `]`, found `2` (line 1, column 4)"),
        ("[1]\n2", "expected the end, found `2` (line 2, column 1)"),
        ("{\"ü\"", "expected `}`, found the end (line 1, column 5)"),
        ("{\"a", "expected the closing quote of a string, found the end (line 1, column 4)"),
        ("\"a\\", "expected the closing quote of a string, found `\\` (line 1, column 3)"),
        ("[[", "expected `]`, found the end (line 1, column 3)"),
        ("{}\n  ,{}", "expected a value, found `,` (line 2, column 3)"),
        ("{]", "expected `}`, found `]` (line 1, column 2)"),
        ("{\"a\":[1}", "expected `]`, found `}` (line 1, column 8)"),
        (
            "{} {\"a\n",
            "expected no control character in a string; escape it, found byte 0x0a (line 1, column 7)",
        ),
        ("{{{\n{", "nested too deep (line 2, column 1)"),
        (
            "[[3456789012345678901234567890123}",
            "larger than the limit of 30 bytes (line 1, column 32)",
        ),
        (
            "1 \"ü3456789012345678901234567890\"",
            "larger than the limit of 30 bytes (line 1, column 32)",
        ),
    ];

    #[test]
    fn values_are_the_same_in_whatever_pieces_they_arrive() {
        for sequence in [Sequence::Detected, Sequence::Concatenated] {
            for text in WHOLE.into_iter().chain(BROKEN.map(|(text, _)| text)) {
                let bytes = text.as_bytes();
                let expected = split(sequence, &[bytes]);
                for first in 0..=bytes.len() {
                    for second in first..=bytes.len() {
                        let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                        assert_eq!(
                            split(sequence, &pieces),
                            expected,
                            "{text:?} at {first}, {second}"
                        );
                    }
                }
                let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
                assert_eq!(split(sequence, &pieces), expected, "{text:?} byte by byte");
            }
        }
    }

    #[test]
    fn values_one_behind_the_other_are_those_that_serde_json_finds() {
        for text in WHOLE {
            let found: Vec<String> = serde_json::Deserializer::from_str(text)
                .into_iter::<Box<serde_json::value::RawValue>>()
                .map(|value| value.unwrap().get().to_owned())
                .collect();
            let (ours, error) = split(Sequence::Concatenated, &[text.as_bytes()]);
            let ours: Vec<&str> = ours.iter().map(|v| v.split_once(' ').unwrap().1).collect();
            assert_eq!(
                (ours, error),
                (found.iter().map(String::as_str).collect(), None),
                "{text:?}"
            );
        }
    }

    #[test]
    fn an_array_is_its_elements_where_it_is_detected_and_one_value_where_not() {
        let text = b" [{\"a\": 1},\n 2]";
        let array = split(Sequence::Detected, &[text]);
        assert_eq!(array, (vec!["1:3 {\"a\": 1}".into(), "2:2 2".into()], None));
        let lines = split(Sequence::Concatenated, &[text]);
        assert_eq!(lines, (vec!["1:2 [{\"a\": 1},\n 2]".into()], None));
    }

    #[test]
    fn what_is_no_stream_of_values_is_refused_at_its_place() {
        for (text, message) in BROKEN {
            let (_, error) = split(Sequence::Detected, &[text.as_bytes()]);
            assert_eq!(error.map(|error| error.to_string()).as_deref(), Some(message), "{text:?}");
        }
    }

    #[test]
    fn an_error_stays() {
        let mut values = JsonValues::new(Sequence::Detected, &ParseOptions::default());
        values.push(b"[1}");
        assert_eq!(values.next_value().unwrap().unwrap().json, b"1");
        let error = values.next_value().unwrap_err();
        values.push(b"{}");
        values.finish();
        assert_eq!(values.next_value().unwrap_err(), error);
    }

    #[test]
    fn only_what_is_unfinished_is_kept() {
        let options = ParseOptions { max_bytes: 100, ..ParseOptions::default() };
        let mut values = JsonValues::new(Sequence::Concatenated, &options);
        for _ in 0..1000 {
            values.push(b"{\"a\": \"some text\"} {\"b\":");
            while values.next_value().unwrap().is_some() {}
            values.push(b"1}");
            assert_eq!(values.next_value().unwrap().unwrap().json, b"{\"b\":1}");
        }
        assert!(values.buffer.capacity() < 1000, "{}", values.buffer.capacity());
        // A value without an end is refused once it is too long, whatever pieces it comes in.
        values.push(b"[");
        let pushed = (0..).find(|_| {
            values.push(b"1,");
            values.next_value().is_err()
        });
        assert_eq!(pushed, Some(49));
    }
}
