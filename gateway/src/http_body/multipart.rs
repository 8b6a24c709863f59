//! How a `multipart/form-data` body is cut into its parts while it arrives (RFC
//! 7578, RFC 2046 section 5.1).
//!
//! It holds no more than the head of a part, or what came with a delimiter that is
//! not whole yet: what a file has goes on as it comes. (The usual library reads
//! whatever has arrived into memory, so that nothing would stop a client.)

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memmem;

/// Bytes of the head of a part, and of what stands before the first one.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// Bytes of a boundary (RFC 2046, section 5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// A body that is cut as it arrives.
#[derive(Debug)]
pub(super) struct Multipart {
    /// Line break, dashes and boundary.
    delimiter: Vec<u8>,
    arrived: BytesMut,
    state: State,
    finished: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first delimiter.
    Before,
    /// Behind a delimiter.
    Delimited,
    /// In the head of a part.
    Head,
    /// In a part.
    Content,
    /// Behind the last delimiter.
    Ended,
}

/// What comes next in a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A part begins.
    Part(Head),
    /// Some of its content.
    Content(Bytes),
    /// The part ends.
    End,
}

/// What a part says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) name: String,
    /// Set of files.
    pub(super) is_file: bool,
    /// Empty if it does not say.
    pub(super) content_type: String,
}

// === impl Multipart ===

impl Multipart {
    /// A body with the boundary that its content type says.
    pub(super) fn new(content_type: &str) -> Result<Self, String> {
        let boundary = parameters(content_type)
            .find(|(name, _)| name.eq_ignore_ascii_case("boundary"))
            .map(|(_, value)| value)
            .filter(|boundary| (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()))
            .ok_or("has no boundary of 1 to 70 bytes")?;
        Ok(Self {
            delimiter: [b"\r\n--", boundary.as_bytes()].concat(),
            // The first delimiter has no line before it.
            arrived: BytesMut::from("\r\n"),
            state: State::Before,
            finished: false,
        })
    }

    /// Takes what arrived. Ask for [`Multipart::next`] until there is none before
    /// the next piece.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.arrived.extend_from_slice(piece);
    }

    /// Nothing more arrives.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    /// Whether the last delimiter came.
    pub(super) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// What comes next; `None` if that takes more bytes, or at the end.
    pub(super) fn next(&mut self) -> Result<Option<Event>, String> {
        loop {
            match self.state {
                State::Ended => {
                    self.arrived.clear();
                    return Ok(None);
                }
                State::Before => match memmem::find(&self.arrived, &self.delimiter) {
                    Some(at) => {
                        self.arrived.advance(at + self.delimiter.len());
                        self.state = State::Delimited;
                    }
                    None if self.arrived.len() > HEAD_BYTES_MAX => {
                        return Err("does not begin with its boundary".to_owned());
                    }
                    None => return self.wait(),
                },
                State::Delimited => match self.delimited()? {
                    true => {}
                    false => return self.wait(),
                },
                State::Head => match self.head()? {
                    Some(head) => return Ok(Some(Event::Part(head))),
                    None => return self.wait(),
                },
                State::Content => {
                    if let Some(at) = memmem::find(&self.arrived, &self.delimiter) {
                        if at == 0 {
                            self.arrived.advance(self.delimiter.len());
                            self.state = State::Delimited;
                            return Ok(Some(Event::End));
                        }
                        return Ok(Some(Event::Content(self.arrived.split_to(at).freeze())));
                    }
                    // Its end may be the beginning of a delimiter.
                    let sure = self.arrived.len().saturating_sub(self.delimiter.len() - 1);
                    if sure == 0 {
                        return self.wait();
                    }
                    return Ok(Some(Event::Content(self.arrived.split_to(sure).freeze())));
                }
            }
        }
    }

    fn wait(&self) -> Result<Option<Event>, String> {
        match self.finished {
            true => Err("ends before its last boundary".to_owned()),
            false => Ok(None),
        }
    }

    /// Whether what stands behind a delimiter came: dashes, or the end of its line.
    fn delimited(&mut self) -> Result<bool, String> {
        let padding = self.arrived.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let Some([first, second]) = self.arrived.get(padding..padding + 2) else {
            return Ok(false);
        };
        self.state = match [*first, *second] {
            [b'-', b'-'] if padding == 0 => State::Ended,
            [b'\r', b'\n'] => State::Head,
            _ => return Err("has a boundary within a line".to_owned()),
        };
        // A head may be empty; then its last line break is that of the delimiter.
        self.arrived.advance(padding);
        Ok(true)
    }

    fn head(&mut self) -> Result<Option<Head>, String> {
        let Some(end) = memmem::find(&self.arrived, b"\r\n\r\n") else {
            return match self.arrived.len() > HEAD_BYTES_MAX {
                true => Err(format!("has a part whose head is larger than {HEAD_BYTES_MAX} bytes")),
                false => Ok(None),
            };
        };
        let head = self.arrived.split_to(end);
        self.arrived.advance(b"\r\n\r\n".len());
        self.state = State::Content;
        let head = std::str::from_utf8(&head).map_err(|_| "has a head that is not UTF-8")?;
        Head::read(head).map(Some)
    }
}

// === impl Head ===

impl Head {
    fn read(text: &str) -> Result<Self, String> {
        let mut name = None;
        let mut is_file = false;
        let mut content_type = String::new();
        for line in text.split("\r\n").filter(|line| !line.is_empty()) {
            let (header, value) =
                line.split_once(':').ok_or_else(|| format!("has a part with the line {line:?}"))?;
            let value = value.trim();
            match header.trim().to_ascii_lowercase().as_str() {
                "content-disposition" => {
                    for (parameter, value) in parameters(value) {
                        match parameter.to_ascii_lowercase().as_str() {
                            "name" => name = Some(value),
                            "filename" => is_file = true,
                            _ => {}
                        }
                    }
                }
                "content-type" => value.clone_into(&mut content_type),
                "content-transfer-encoding"
                    if !["7bit", "8bit", "binary"]
                        .iter()
                        .any(|plain| value.eq_ignore_ascii_case(plain)) =>
                {
                    return Err(format!("has a part in {value}; send it as it is (RFC 7578, 4.7)"));
                }
                _ => {}
            }
        }
        let name = name.ok_or("has a part without a name")?;
        Ok(Self { name, is_file, content_type })
    }
}

/// The parameters behind the first semicolon of a header's value.
fn parameters(value: &str) -> impl Iterator<Item = (String, String)> {
    let mut rest = value.split_once(';').map_or("", |(_, rest)| rest);
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        let (name, behind) = rest.split_once('=')?;
        let (value, behind) = match behind.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = behind.find(';').unwrap_or(behind.len());
                let (value, behind) = behind.split_at(end);
                (value.trim().to_owned(), behind)
            }
        };
        rest = behind;
        Some((name.trim().to_owned(), value))
    })
}

/// A quoted text, and what stands behind it. Browsers write `%22` for a quote, and
/// others a backslash before it.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, text.get(at + 1..).unwrap_or_default()),
            '\\' if matches!(text.get(at + 1..at + 2), Some("\"" | "\\")) => {
                value.extend(letters.next().map(|(_, escaped)| escaped));
            }
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=\"a-b\"";

    /// The parts of a body that comes in pieces of this size, as name, type and content.
    fn parts(body: &str, size: usize) -> Result<Vec<(String, String)>, String> {
        let mut multipart = Multipart::new(TYPE).unwrap();
        let mut parts: Vec<(String, String)> = Vec::new();
        let mut pieces = body.as_bytes().chunks(size);
        loop {
            while let Some(event) = multipart.next()? {
                match event {
                    Event::Part(Head { name, is_file, content_type }) => {
                        let file = if is_file { "*" } else { "" };
                        parts.push((format!("{name}{file}:{content_type}"), String::new()));
                    }
                    Event::Content(content) => {
                        let text = std::str::from_utf8(&content).unwrap();
                        parts.last_mut().unwrap().1.push_str(text);
                    }
                    Event::End => parts.last_mut().unwrap().1.push('.'),
                }
            }
            if multipart.finished {
                return Ok(parts);
            }
            match pieces.next() {
                Some(piece) => multipart.push(piece),
                None if multipart.is_ended() => return Ok(parts),
                None => multipart.finish(),
            }
        }
    }

    #[test]
    fn parts_are_the_same_however_they_were_cut() {
        let body = "a preamble\r\n--a-b \t\r\n\
            Content-Disposition: form-data; name=\"title\"\r\n\r\n\
            a \"quoted\" title\r\n--a-b\r\n\
            content-type: image/png\r\n\
            content-disposition: form-data; filename=\"a;b\\\".png\"; name=file\r\n\r\n\
            \r\n--a-\r\n-a-b\r\n--a-b\r\n\
            Content-Disposition: form-data; name=\"empty\"\r\n\r\n\
            \r\n--a-b--\r\nan epilogue --a-b";
        let expected = [
            ("title:", "a \"quoted\" title."),
            ("file*:image/png", "\r\n--a-\r\n-a-b."),
            ("empty:", "."),
        ];
        for size in 1..body.len() {
            let parts = parts(body, size).unwrap();
            let parts: Vec<_> = parts.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            assert_eq!(parts, expected, "{size}");
        }
        assert_eq!(parts("--a-b--", 3).unwrap(), []);
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let head = "--a-b\r\nContent-Disposition: form-data; name=x\r\n";
        for (body, why) in [
            (String::new(), "ends before"),
            (format!("{head}\r\nx"), "ends before"),
            (format!("{head}\r\nx\r\n--a-b"), "ends before"),
            (head.to_owned(), "ends before"),
            ("x".repeat(HEAD_BYTES_MAX + 1), "does not begin"),
            (format!("{head}x: {}", "x".repeat(HEAD_BYTES_MAX)), "larger than"),
            ("--a-bx\r\n".to_owned(), "within a line"),
            ("--a-b\r\n\r\nx\r\n--a-b--".to_owned(), "without a name"),
            ("--a-b\r\nnonsense\r\n\r\nx\r\n--a-b--".to_owned(), "the line"),
            (format!("{head}Content-Transfer-Encoding: base64\r\n\r\nx\r\n--a-b--"), "base64"),
        ] {
            for size in [1, 4_096] {
                let refused = parts(&body, size).unwrap_err();
                assert!(refused.contains(why), "{body:.40}: {refused}");
            }
        }
        for content_type in ["multipart/form-data", "multipart/form-data; boundary=\"\""] {
            assert!(Multipart::new(content_type).is_err());
        }
    }

    #[test]
    fn a_file_is_not_gathered() {
        let mut multipart = Multipart::new(TYPE).unwrap();
        multipart.push(b"--a-b\r\nContent-Disposition: form-data; name=x; filename=x\r\n\r\n");
        let piece = [b'\r'; 64 << 10];
        for _ in 0..100 {
            while multipart.next().unwrap().is_some() {}
            assert!(multipart.arrived.len() < multipart.delimiter.len());
            multipart.push(&piece);
        }
    }
}
