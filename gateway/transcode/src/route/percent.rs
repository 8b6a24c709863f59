//! Percent-decoding, by the rules of where the text stands.

use std::borrow::Cow;

/// Decodes a path variable: all escapes, but of `%2F` in a variable of several segments, which stays as it is, since
/// decoded it could not be told from a separator. `None` for broken escapes and for text that is not UTF-8.
pub(crate) fn decode_segments(raw: &str, multi: bool) -> Option<Cow<'_, str>> {
    decode(raw, |byte| if multi && byte == b'/' { None } else { Some(byte) }, false)
}

/// Appends a segment of a path with everything escaped but what RFC 3986 calls unreserved.
pub(super) fn encode_segment(text: &str, out: &mut String) {
    let hex = |digit: u8| char::from(if digit < 10 { b'0' + digit } else { b'A' + digit - 10 });
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.extend(['%', hex(byte >> 4), hex(byte & 15)]),
        }
    }
}

/// Decodes a name or value of a query, where `+` is a space.
pub(crate) fn decode_query(raw: &str) -> Option<Cow<'_, str>> {
    decode(raw, Some, true)
}

fn decode(raw: &str, keep: impl Fn(u8) -> Option<u8>, plus: bool) -> Option<Cow<'_, str>> {
    if !raw.bytes().any(|byte| byte == b'%' || plus && byte == b'+') {
        return Some(Cow::Borrowed(raw));
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let (escape, after) = rest.split_first_chunk::<2>()?;
                let [high, low] = escape.map(hex);
                match keep(high? << 4 | low?) {
                    Some(byte) => decoded.push(byte),
                    None => decoded.extend_from_slice(&[b'%', escape[0], escape[1]]),
                }
                rest = after;
            }
            b'+' if plus => decoded.push(b' '),
            byte => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
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

    #[test]
    fn a_single_segment_is_decoded_whole() {
        assert_eq!(decode_segments("a%2Fb%20c%C3%BC", false).as_deref(), Some("a/b cü"));
        assert_eq!(decode_segments("a+b", false).as_deref(), Some("a+b"));
    }

    #[test]
    fn several_segments_keep_their_escaped_slash() {
        assert_eq!(decode_segments("a/b%2fc%20d", true).as_deref(), Some("a/b%2fc d"));
        assert_eq!(decode_segments("a%2Fb", true).as_deref(), Some("a%2Fb"));
    }

    #[test]
    fn broken_escapes_and_bad_utf8_are_refused() {
        for raw in ["%", "%4", "%zz", "%ff", "%C3"] {
            assert_eq!(decode_segments(raw, false), None, "{raw}");
        }
    }

    #[test]
    fn a_plus_in_a_query_is_a_space() {
        assert_eq!(decode_query("a+b%2Bc").as_deref(), Some("a b+c"));
    }
}
