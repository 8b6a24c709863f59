//! Percent-encoding (RFC 3986, section 2.1), for what the edge itself reads and
//! writes. Parameters of the methods are `transcode`'s.

use std::borrow::Cow;

/// Appends a byte as an escape.
pub(crate) fn escape(out: &mut Vec<u8>, byte: u8) {
    let hex = |digit: u8| if digit < 10 { b'0' + digit } else { b'A' + digit - 10 };
    out.extend_from_slice(&[b'%', hex(byte >> 4), hex(byte & 15)]);
}

/// Text with its escapes replaced. What is no escape, or makes no UTF-8, stays as
/// it is.
pub(crate) fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = after.first_chunk::<2>().filter(|_| byte == b'%').and_then(|[high, low]| {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
        });
        decoded.push(escaped.unwrap_or(byte));
        rest = after.get(escaped.map_or(0, |_| 2)..).unwrap_or_default();
    }
    String::from_utf8(decoded).map_or(Cow::Borrowed(text), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_replaced_and_the_rest_stays() {
        assert_eq!(decode("a%20b%C3%BC+"), "a bü+");
        assert_eq!(decode("%zz%4"), "%zz%4");
        assert_eq!(decode("a%ff"), "a%ff");
        let mut out = Vec::new();
        escape(&mut out, 0xfc);
        assert_eq!(out, b"%FC");
    }
}
