//! `google.api.HttpBody`, the message that stands for any content.

use crate::{
    path::Raw,
    wire::{Reader, Tag, Writer},
};

/// A `google.api.HttpBody`, borrowed from its wire bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HttpBody<'a> {
    /// Its content type; empty if the service said none.
    pub content_type: &'a str,
    /// The content.
    pub data: &'a [u8],
}

impl<'a> HttpBody<'a> {
    /// Reads it from wire bytes; `None` if they are broken. `extensions` are skipped.
    #[must_use]
    pub fn decode(wire: &'a [u8]) -> Option<Self> {
        let mut found = Self::default();
        let mut reader = Reader::new(wire);
        while !reader.is_empty() {
            let (number, kind) = reader.tag()?;
            match (number, reader.raw(number, kind)??) {
                (1, Raw::Bytes(bytes)) => found.content_type = std::str::from_utf8(bytes).ok()?,
                (2, Raw::Bytes(bytes)) => found.data = bytes,
                _ => {}
            }
        }
        Some(found)
    }

    /// Appends its wire bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let expected = self.content_type.len() + self.data.len() + 32;
        let mut writer = Writer::new(out, expected, usize::MAX >> 1);
        for (number, bytes) in [(1, self.content_type.as_bytes()), (2, self.data)] {
            if !bytes.is_empty() {
                // Nothing here can reach the limit.
                let _ = writer.tag(Tag::new(number, crate::wire::LEN));
                let _ = writer.varint(u64::try_from(bytes.len()).unwrap_or(0));
                let _ = writer.bytes(bytes);
            }
        }
        writer.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded() {
        let body = HttpBody { content_type: "image/png", data: &[1, 2, 3] };
        let mut wire = Vec::new();
        body.encode(&mut wire);
        assert_eq!(HttpBody::decode(&wire), Some(body));
        assert_eq!(HttpBody::decode(&[0x0a]), None);
    }
}
