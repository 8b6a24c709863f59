//! Where the next page is (RFC 8288).

use bytes::Bytes;
use http::HeaderValue;
use transcode::{FieldPath, Method, Schema};

use super::percent;

/// How a method's list goes on: with the same request and another token.
#[derive(Debug)]
pub(crate) struct Next {
    /// `next_page_token` of the response.
    token: FieldPath,
    /// The name of `page_token` in JSON, which a query may use too.
    json_name: Box<str>,
}

/// Where the request says which page it wants.
const PAGE_TOKEN: &str = "page_token";
/// The longest link, in bytes; a longer one is not said.
const LINK_BYTES_MAX: usize = 8 << 10;

// === impl Next ===

impl Next {
    /// `None` for a method that does not list.
    pub(crate) fn of(schema: &Schema, method: &Method) -> Option<Self> {
        let token = method.next_page_token()?.clone();
        let input = schema.message_descriptor(method.input())?;
        let json_name = input.get_field_by_name(PAGE_TOKEN)?.json_name().into();
        Some(Self { token, json_name })
    }

    /// The link to the page behind this one: the same request with another token;
    /// `None` for the last page.
    pub(crate) fn link(
        &self,
        path: &str,
        query: Option<&str>,
        message: &[u8],
    ) -> Option<HeaderValue> {
        let token = self.token.find_text(message).filter(|token| !token.is_empty())?;
        let query = query.unwrap_or_default();
        let mut link = Vec::with_capacity(path.len() + query.len() + token.len() + 32);
        link.push(b'<');
        append(&mut link, path);
        let mut separator = b'?';
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
            let name = percent::decode(name);
            if name == PAGE_TOKEN || name == *self.json_name {
                continue;
            }
            link.push(separator);
            append(&mut link, parameter);
            separator = b'&';
        }
        link.push(separator);
        link.extend_from_slice(PAGE_TOKEN.as_bytes());
        link.push(b'=');
        for byte in token.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    link.push(byte)
                }
                byte => percent::escape(&mut link, byte),
            }
        }
        link.extend_from_slice(b">; rel=\"next\"");
        if link.len() > LINK_BYTES_MAX {
            return None;
        }
        HeaderValue::from_maybe_shared(Bytes::from(link)).ok()
    }
}

/// A part of the request's own target, which is escaped as far as it need be, but
/// for what would end the link or is not ASCII.
fn append(link: &mut Vec<u8>, part: &str) {
    for byte in part.bytes() {
        match byte {
            b'<' | b'>' | b'"' | ..=b' ' | 0x7f.. => percent::escape(link, byte),
            byte => link.push(byte),
        }
    }
}
