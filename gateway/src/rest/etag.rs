//! Entity tags and the conditions on them (RFC 9110, sections 8.8.3 and 13).
//!
//! A resource's `etag` field is text of the service's own making, and its tag is
//! that text in quotes. What HTTP does not admit between them, above all the
//! quotes of services that write `"abc"` into the field itself (AIP-154), is
//! percent-encoded: a client that sends back the tag it was given always sends
//! back the field. A field that says `W/"…"` makes a weak tag.
//!
//! A compressed answer is another representation and has another tag: that of
//! the plain one with `+gzip`, or the name of another coding, behind it. Coming
//! back, it stands for the same field.

use std::borrow::Cow;

use bytes::Bytes;
use chassis::Fault;
use contracts::mesh::v1::ErrorReason;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::percent;
use crate::compression::Coding;

/// The longest field that makes a tag, in bytes.
pub(crate) const FIELD_BYTES_MAX: usize = 512;

/// One member of `If-Match` or `If-None-Match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag<'h> {
    /// `*`: whatever there is.
    Any,
    Strong(&'h str),
    Weak(&'h str),
}

/// What `If-Match` asks of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expected<'h> {
    /// There is no such condition.
    Nothing,
    /// That there is a resource at all; the service finds out by itself.
    Existence,
    /// That its `etag` is this.
    Field(Cow<'h, str>),
    /// Only weak tags, which never match here (RFC 9110, section 13.1.1).
    Impossible,
}

/// What the conditions of a read come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer.
    Answer,
    /// The client has it: 304.
    NotModified,
    /// It is not what the client expects: 412.
    Mismatch,
}

// === writing ===

/// The tag of a field's text; `None` for text that makes none.
pub(crate) fn header(field: &str) -> Option<HeaderValue> {
    if field.is_empty() || field.len() > FIELD_BYTES_MAX {
        return None;
    }
    let weak = field.strip_prefix("W/").filter(|tag| tag.len() > 1 && is_quoted(tag));
    let opaque = weak.unwrap_or(field);
    let mut tag = Vec::with_capacity(opaque.len() + 4);
    tag.extend_from_slice(if weak.is_some() { b"W/\"" } else { b"\"" });
    for byte in opaque.bytes() {
        match byte {
            b'"' | b'%' | ..=b' ' | 0x7f.. => percent::escape(&mut tag, byte),
            byte => tag.push(byte),
        }
    }
    tag.push(b'"');
    HeaderValue::from_maybe_shared(Bytes::from(tag)).ok()
}

fn is_quoted(text: &str) -> bool {
    text.starts_with('"') && text.ends_with('"')
}

/// The field's text that a strong tag was made from.
fn field(opaque: &str) -> Cow<'_, str> {
    percent::decode(plain(opaque))
}

/// The tag of the answer before it was compressed.
pub(crate) fn plain(opaque: &str) -> &str {
    let without = |coding: Coding| opaque.strip_suffix(coding.name())?.strip_suffix('+');
    Coding::ALL.into_iter().find_map(without).unwrap_or(opaque)
}

// === reading ===

/// The members of a header's value. Text without quotes counts as in quotes.
fn tags(value: &str) -> impl Iterator<Item = Tag<'_>> {
    let mut rest = value;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return None;
        }
        let weak = rest.strip_prefix("W/").filter(|quoted| quoted.starts_with('"'));
        let quoted = weak.unwrap_or(rest).strip_prefix('"');
        if let Some((opaque, after)) = quoted.and_then(|opaque| opaque.split_once('"')) {
            rest = after;
            return Some(if weak.is_some() { Tag::Weak(opaque) } else { Tag::Strong(opaque) });
        }
        let (bare, after) = rest.split_once(',').unwrap_or((rest, ""));
        rest = after;
        Some(match bare.trim() {
            "*" => Tag::Any,
            bare => Tag::Strong(bare),
        })
    })
}

/// All members of all headers of this name.
fn members<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<impl Iterator<Item = Tag<'h>>, Fault> {
    let mut values = Vec::new();
    for value in headers.get_all(name) {
        values.push(value.to_str().map_err(|_| malformed(name, "must be visible ASCII"))?);
    }
    Ok(values.into_iter().flat_map(tags))
}

/// What a write with these headers expects of its resource.
///
/// # Errors
///
/// More than the one tag that the request's field can hold.
pub(crate) fn expected(headers: &HeaderMap) -> Result<Expected<'_>, Fault> {
    let name = &header::IF_MATCH;
    if !headers.contains_key(name) {
        return Ok(Expected::Nothing);
    }
    let mut expected = Expected::Impossible;
    for tag in members(headers, name)? {
        let new = match tag {
            Tag::Any => Expected::Existence,
            Tag::Strong(opaque) => Expected::Field(field(opaque)),
            Tag::Weak(_) => continue,
        };
        if expected != Expected::Impossible && expected != new {
            return Err(malformed(name, "must be one entity tag, since there is one resource"));
        }
        expected = new;
    }
    Ok(expected)
}

/// Whether a read with these headers is answered, now that there is an answer
/// with this tag or with none.
///
/// # Errors
///
/// Conditions that are no text.
pub(crate) fn judge(headers: &HeaderMap, current: Option<&HeaderValue>) -> Result<Verdict, Fault> {
    let if_match = headers.contains_key(header::IF_MATCH);
    let if_none_match = headers.contains_key(header::IF_NONE_MATCH);
    if !if_match && !if_none_match {
        return Ok(Verdict::Answer);
    }
    let current = current.and_then(|tag| tag.to_str().ok()).and_then(|tag| tags(tag).next());
    if if_match {
        let mut expected = members(headers, &header::IF_MATCH)?;
        if !expected.any(|tag| tag == Tag::Any || is_same_strongly(tag, current)) {
            return Ok(Verdict::Mismatch);
        }
    }
    if if_none_match {
        let mut known = members(headers, &header::IF_NONE_MATCH)?;
        if known.any(|tag| tag == Tag::Any || is_same_weakly(tag, current)) {
            return Ok(Verdict::NotModified);
        }
    }
    Ok(Verdict::Answer)
}

fn is_same_strongly(tag: Tag<'_>, current: Option<Tag<'_>>) -> bool {
    match (tag, current) {
        (Tag::Strong(tag), Some(Tag::Strong(current))) => plain(tag) == current,
        _ => false,
    }
}

fn is_same_weakly(tag: Tag<'_>, current: Option<Tag<'_>>) -> bool {
    match (tag, current) {
        (Tag::Strong(tag) | Tag::Weak(tag), Some(Tag::Strong(current) | Tag::Weak(current))) => {
            plain(tag) == current
        }
        _ => false,
    }
}

#[cold]
fn malformed(name: &HeaderName, form: &str) -> Fault {
    Fault::invalid_argument(ErrorReason::HeaderInvalid)
        .message(format!("the header {name} {form}"))
        .violation(name.as_str(), form)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_tag_that_is_sent_back_is_the_field_it_was_made_from() {
        for (text, expected) in [
            ("abc", "\"abc\""),
            ("6-1", "\"6-1\""),
            ("a,b", "\"a,b\""),
            ("\"abc\"", "\"%22abc%22\""),
            ("a b%20", "\"a%20b%2520\""),
            ("ü", "\"%C3%BC\""),
            ("\u{7f}", "\"%7F\""),
            ("W/abc", "\"W/abc\""),
        ] {
            let tag = header(text).unwrap();
            assert_eq!(tag, expected);
            let back = headers(&[("if-match", tag.to_str().unwrap())]);
            assert_eq!(super::expected(&back).unwrap(), Expected::Field(text.into()));
        }
        assert_eq!(header(""), None);
        assert_eq!(header(&"x".repeat(FIELD_BYTES_MAX + 1)), None);
        assert_eq!(header("W/\"abc\"").unwrap(), "W/\"%22abc%22\"");
    }

    #[test]
    fn a_write_expects_one_strong_tag() {
        let read = |values: &[&str]| {
            let pairs: Vec<_> = values.iter().map(|value| ("if-match", *value)).collect();
            match super::expected(&headers(&pairs)) {
                Ok(Expected::Field(field)) => format!("field {field}"),
                Ok(other) => format!("{other:?}"),
                Err(fault) => fault.reason().to_owned(),
            }
        };
        assert_eq!(read(&[]), "Nothing");
        assert_eq!(read(&["*"]), "Existence");
        assert_eq!(read(&["\"*\""]), "field *");
        assert_eq!(read(&["\"a\""]), "field a");
        assert_eq!(read(&["a"]), "field a");
        assert_eq!(read(&["\"a+gzip\""]), "field a");
        assert_eq!(read(&["\"a\", \"a\"", "\"a\""]), "field a");
        assert_eq!(read(&["\"a\", W/\"b\""]), "field a");
        assert_eq!(read(&["W/\"a\""]), "Impossible");
        assert_eq!(read(&[""]), "Impossible");
        assert_eq!(read(&["\"a\", \"b\""]), "HEADER_INVALID");
        assert_eq!(read(&["\"a\"", "*"]), "HEADER_INVALID");
        assert_eq!(read(&["ü"]), "HEADER_INVALID");
        assert_eq!(read(&["\"%zz%4\""]), "field %zz%4");
    }

    #[test]
    fn conditions_of_a_read_are_weighed_as_http_says() {
        let strong = header("a");
        let weak = HeaderValue::from_static("W/\"a\"");
        let judge = |name, value, current: Option<&HeaderValue>| {
            judge(&headers(&[(name, value)]), current).unwrap()
        };
        use Verdict::{Answer, Mismatch, NotModified};
        for (name, value, with_strong, with_weak, with_none) in [
            ("if-none-match", "\"a\"", NotModified, NotModified, Answer),
            ("if-none-match", "W/\"a\"", NotModified, NotModified, Answer),
            ("if-none-match", "\"b\", \"a+zstd\"", NotModified, NotModified, Answer),
            ("if-none-match", "*", NotModified, NotModified, NotModified),
            ("if-none-match", "\"*\"", Answer, Answer, Answer),
            ("if-none-match", "\"b\"", Answer, Answer, Answer),
            ("if-match", "\"a\"", Answer, Mismatch, Mismatch),
            ("if-match", "W/\"a\"", Mismatch, Mismatch, Mismatch),
            ("if-match", "\"b\", \"a\"", Answer, Mismatch, Mismatch),
            ("if-match", "\"b\"", Mismatch, Mismatch, Mismatch),
            ("if-match", "*", Answer, Answer, Answer),
            ("accept", "*/*", Answer, Answer, Answer),
        ] {
            assert_eq!(judge(name, value, strong.as_ref()), with_strong, "{name}: {value}");
            assert_eq!(judge(name, value, Some(&weak)), with_weak, "{name}: {value}");
            assert_eq!(judge(name, value, None), with_none, "{name}: {value}");
        }
        // What must hold is looked at before what must not.
        let both = headers(&[("if-match", "\"b\""), ("if-none-match", "\"a\"")]);
        assert_eq!(super::judge(&both, strong.as_ref()).unwrap(), Mismatch);
    }
}
