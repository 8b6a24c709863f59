//! A call by GET: its message is in the query.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use chassis::Fault;
use contracts::mesh::v1::ErrorReason;

use super::head::codec;
use crate::frame::recode::Codec;

/// The URL-safe alphabet (RFC 4648, section 5), padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a query says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) codec: Codec,
    /// The name of the message's coding; empty for none.
    pub(super) coding: String,
    pub(super) message: Vec<u8>,
}

/// Why a query is no call.
#[derive(Debug)]
pub(super) enum NoQuery {
    /// It names a codec that nobody knows: 415.
    Codec(String),
    Fault(Fault),
}

/// Whether a query says that it is Connect's.
pub(super) fn is_connect(query: &str) -> bool {
    query.split('&').any(|pair| pair.strip_prefix("connect=").is_some())
}

// === impl Query ===

impl Query {
    /// Reads the parameters of Connect, in any order; others are not its own.
    pub(super) fn read(query: &str) -> Result<Self, NoQuery> {
        let (mut encoding, mut message, mut coding) = (None, None, String::new());
        let mut is_base64 = false;
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "encoding" => encoding = Some(text(name, value)?),
                "message" => message = Some(unescape(value)),
                "compression" => coding = text(name, value)?,
                "base64" => is_base64 = value == "1",
                "connect" if value != "v1" => return Err(invalid(name, "must be v1")),
                _ => {}
            }
        }
        let encoding =
            encoding.ok_or_else(|| invalid("encoding", "must be there: proto or json"))?;
        let message = message.ok_or_else(|| invalid("message", "must be there"))?;
        let message = if is_base64 {
            BASE64.decode(message).map_err(|error| {
                invalid("message", &format!("must be base64 of the URL-safe alphabet: {error}"))
            })?
        } else {
            message
        };
        match codec(&encoding) {
            Some(codec) => Ok(Self { codec, coding, message }),
            None => Err(NoQuery::Codec(encoding)),
        }
    }
}

fn text(name: &str, value: &str) -> Result<String, NoQuery> {
    String::from_utf8(unescape(value)).map_err(|_| invalid(name, "must be UTF-8"))
}

fn invalid(name: &str, must: &str) -> NoQuery {
    NoQuery::Fault(
        Fault::invalid_argument(ErrorReason::InvalidField)
            .message(format!("the query parameter {name} {must}"))
            .violation(name, must),
    )
}

/// A value without its escapes; what only looks like one stays as it is.
fn unescape(value: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let escaped = match (byte, after) {
            (b'%', [high, low, after @ ..]) => {
                hex(*high).zip(hex(*low)).map(|(high, low)| (high << 4 | low, after))
            }
            _ => None,
        };
        match escaped {
            Some((byte, after)) => {
                out.push(byte);
                rest = after;
            }
            None => out.push(if byte == b'+' { b' ' } else { byte }),
        }
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(query: &str) -> Vec<u8> {
        Query::read(query).unwrap().message
    }

    #[test]
    fn a_message_is_read_from_the_query() {
        let read = Query::read(
            "message=%7B%22name%22%3A%22B%C3%BCch+er%22%7D&encoding=json&connect=v1&other=1",
        );
        let read = read.unwrap();
        assert_eq!(read.message, "{\"name\":\"Büch er\"}".as_bytes());
        assert_eq!((read.codec, read.coding.as_str()), (Codec::Json, ""));
        let read = Query::read("base64=1&encoding=proto&compression=gzip&message=-_8").unwrap();
        assert_eq!(read.message, [0xFB, 0xFF]);
        assert_eq!((read.codec, read.coding.as_str()), (Codec::Proto, "gzip"));
        for padded in ["QQ", "QQ%3D%3D", "QQ=="] {
            assert_eq!(message(&format!("encoding=proto&base64=1&message={padded}")), b"A");
        }
        assert_eq!(message("encoding=proto&message="), b"");
        assert_eq!(message("encoding=json&message=50%&base64=yes"), b"50%");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (query, name) in [
            ("message=", "encoding"),
            ("encoding=json", "message"),
            ("encoding=proto&base64=1&message=Q", "message"),
            ("encoding=json&message=&connect=v2", "connect"),
        ] {
            let Err(NoQuery::Fault(fault)) = Query::read(query) else { panic!("{query}") };
            assert_eq!(fault.violations()[0].field, name, "{query}");
        }
        assert!(matches!(Query::read("encoding=foo&message="), Err(NoQuery::Codec(_))));
        assert!(is_connect("a=1&connect=v1") && !is_connect("connected=v1&x=connect=v1"));
    }
}
