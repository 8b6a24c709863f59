//! Pages of a list: keyset cursors that a client can hold but not forge.
//!
//! A page token says where the last page ended (the sort key of its last row)
//! and for which filter; it is authenticated, so that what comes back is what
//! was sent out. A page far down costs what the first one costs.

use std::{fmt, sync::Arc};

use aws_lc_rs::{constant_time, digest, hmac};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use contracts::mesh::v1::ErrorReason;

use crate::Fault;

/// The size of a page whose request states none.
pub const PAGE_SIZE_DEFAULT: i32 = 50;
/// The largest page; a request for more gets this many.
pub const PAGE_SIZE_MAX: i32 = 1_000;
/// The longest token that is looked at.
pub const PAGE_TOKEN_MAX: usize = 2 * 1024;

const VERSION: u8 = 1;
const FILTER_BYTES: usize = 8;
const MAC_BYTES: usize = 16;
const TAG_INTEGER: u8 = 0;
const TAG_TEXT: u8 = 1;

/// Makes and reads the pages of a service.
#[derive(Clone)]
pub struct Pages {
    key: Arc<hmac::Key>,
}

/// The page that a request asks for.
pub struct Page {
    size: i64,
    after: Option<Vec<Part>>,
    filter: [u8; FILTER_BYTES],
    key: Arc<hmac::Key>,
}

/// One column of a sort key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A number or a time.
    Integer(i64),
    /// A text, an id.
    Text(String),
}

/// The columns by which a list is sorted, the last of which makes it unique:
/// a number, a text, or two or three of those.
pub trait SortKey: Sized {
    /// As parts, in order.
    fn parts(self) -> Vec<Part>;
    /// From parts, if they are of this shape.
    fn from_parts(parts: &[Part]) -> Option<Self>;
}

/// One column of a [`SortKey`].
pub trait SortColumn: Sized {
    /// As a part.
    fn part(self) -> Part;
    /// From a part, if it is of this type.
    fn from_part(part: &Part) -> Option<Self>;
}

// === impl Pages ===

impl Pages {
    /// Pages whose tokens are authenticated with this secret. Replicas of one
    /// service must share it, or a token is good on one of them only.
    pub fn new(secret: &[u8]) -> Self {
        Self { key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret)) }
    }

    /// The page that `page_size` and `page_token` of a request ask for. `filter`
    /// is whatever else decides which rows are listed and in what order: a token
    /// is good for the same filter only.
    pub fn page(&self, page_size: i32, page_token: &str, filter: &[&str]) -> Result<Page, Fault> {
        let size = match page_size {
            ..0 => {
                return Err(Fault::invalid_argument(ErrorReason::PageSizeInvalid)
                    .message("the page size is negative")
                    .violation(
                        "page_size",
                        format!("is {page_size}: leave it out or give 1 to {PAGE_SIZE_MAX}"),
                    ));
            }
            0 => PAGE_SIZE_DEFAULT,
            1..=PAGE_SIZE_MAX => page_size,
            _ => PAGE_SIZE_MAX,
        };
        let filter = digest_of(filter);
        let after = if page_token.is_empty() {
            None
        } else {
            Some(self.open(page_token, filter).ok_or_else(|| {
                Fault::invalid_argument(ErrorReason::PageTokenInvalid)
                    .message("the page token is not one that this method gave for this filter")
                    .violation(
                        "page_token",
                        "start again without one, with the same filter on every page",
                    )
            })?)
        };
        Ok(Page { size: i64::from(size), after, filter, key: Arc::clone(&self.key) })
    }

    fn open(&self, token: &str, filter: [u8; FILTER_BYTES]) -> Option<Vec<Part>> {
        if token.len() > PAGE_TOKEN_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (body, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC_BYTES)?)?;
        let expected = hmac::sign(&self.key, body);
        constant_time::verify_slices_are_equal(expected.as_ref().get(..MAC_BYTES)?, mac).ok()?;
        let rest = body.strip_prefix(&[VERSION])?.strip_prefix(&filter)?;
        decode(rest)
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").finish_non_exhaustive()
    }
}

// === impl Page ===

impl Page {
    /// How many rows the page shows at most.
    pub fn size(&self) -> i64 {
        self.size
    }

    /// How many rows to read: one more than shown, which tells whether there is
    /// a next page.
    pub fn limit(&self) -> i64 {
        self.size + 1
    }

    /// The sort key of the last row of the page before, if there was one.
    pub fn after<K: SortKey>(&self) -> Option<K> {
        K::from_parts(self.after.as_deref()?)
    }

    /// The rows to show, and the token of the next page (empty on the last).
    /// `key` names the sort key of a row.
    pub fn finish<T, K: SortKey>(
        &self,
        mut rows: Vec<T>,
        key: impl FnOnce(&T) -> K,
    ) -> (Vec<T>, String) {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        if rows.len() <= size {
            return (rows, String::new());
        }
        rows.truncate(size);
        let token = rows.last().map(|last| self.seal(&key(last).parts())).unwrap_or_default();
        (rows, token)
    }

    fn seal(&self, parts: &[Part]) -> String {
        let mut body = Vec::with_capacity(128);
        body.push(VERSION);
        body.extend_from_slice(&self.filter);
        for part in parts {
            match part {
                Part::Integer(integer) => {
                    body.push(TAG_INTEGER);
                    body.extend_from_slice(&integer.to_be_bytes());
                }
                Part::Text(text) => {
                    body.push(TAG_TEXT);
                    body.extend_from_slice(
                        &u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes(),
                    );
                    body.extend_from_slice(text.as_bytes());
                }
            }
        }
        let mac = hmac::sign(&self.key, &body);
        body.extend(mac.as_ref().iter().take(MAC_BYTES));
        URL_SAFE_NO_PAD.encode(body)
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("size", &self.size)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}

fn decode(mut rest: &[u8]) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    while let Some((tag, tail)) = rest.split_first() {
        match *tag {
            TAG_INTEGER => {
                let (integer, tail) = tail.split_first_chunk::<8>()?;
                parts.push(Part::Integer(i64::from_be_bytes(*integer)));
                rest = tail;
            }
            TAG_TEXT => {
                let (length, tail) = tail.split_first_chunk::<4>()?;
                let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
                let (text, tail) = tail.split_at_checked(length)?;
                parts.push(Part::Text(String::from_utf8(text.to_vec()).ok()?));
                rest = tail;
            }
            _ => return None,
        }
    }
    Some(parts)
}

/// A digest of the filter in which `["ab", ""]` and `["a", "b"]` differ.
fn digest_of(filter: &[&str]) -> [u8; FILTER_BYTES] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in filter {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut short = [0; FILTER_BYTES];
    for (to, from) in short.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    short
}

// === impl SortKey ===

impl SortColumn for i64 {
    fn part(self) -> Part {
        Part::Integer(self)
    }

    fn from_part(part: &Part) -> Option<Self> {
        match part {
            Part::Integer(integer) => Some(*integer),
            Part::Text(_) => None,
        }
    }
}

impl SortColumn for crate::Time {
    fn part(self) -> Part {
        Part::Integer(self.micros())
    }

    fn from_part(part: &Part) -> Option<Self> {
        i64::from_part(part).map(Self::from_micros)
    }
}

impl SortColumn for String {
    fn part(self) -> Part {
        Part::Text(self)
    }

    fn from_part(part: &Part) -> Option<Self> {
        match part {
            Part::Text(text) => Some(text.clone()),
            Part::Integer(_) => None,
        }
    }
}

impl<A: SortColumn> SortKey for A {
    fn parts(self) -> Vec<Part> {
        vec![self.part()]
    }

    fn from_parts(parts: &[Part]) -> Option<Self> {
        let [a] = parts else { return None };
        A::from_part(a)
    }
}

impl<A: SortColumn, B: SortColumn> SortKey for (A, B) {
    fn parts(self) -> Vec<Part> {
        vec![self.0.part(), self.1.part()]
    }

    fn from_parts(parts: &[Part]) -> Option<Self> {
        let [a, b] = parts else { return None };
        Some((A::from_part(a)?, B::from_part(b)?))
    }
}

impl<A: SortColumn, B: SortColumn, C: SortColumn> SortKey for (A, B, C) {
    fn parts(self) -> Vec<Part> {
        vec![self.0.part(), self.1.part(), self.2.part()]
    }

    fn from_parts(parts: &[Part]) -> Option<Self> {
        let [a, b, c] = parts else { return None };
        Some((A::from_part(a)?, B::from_part(b)?, C::from_part(c)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(pages: &Pages, filter: &[&str]) -> String {
        let page = pages.page(2, "", filter).unwrap();
        let rows = vec![(1_i64, "a"), (2, "b"), (3, "c")];
        let (rows, token) = page.finish(rows, |(n, id)| (*n, (*id).to_owned()));
        assert_eq!(rows.len(), 2);
        token
    }

    #[test]
    fn a_token_leads_to_the_row_after_the_last_one_shown() {
        let pages = Pages::new(b"secret");
        let token = token(&pages, &["open"]);
        let next = pages.page(2, &token, &["open"]).unwrap();
        assert_eq!(next.after::<(i64, String)>(), Some((2, "b".to_owned())));
        let (rows, token) = next.finish(vec![(3_i64, "c")], |(n, id)| (*n, (*id).to_owned()));
        assert_eq!((rows.len(), token.as_str()), (1, ""));
    }

    #[test]
    fn a_changed_filter_another_key_and_every_flipped_bit_are_refused() {
        let pages = Pages::new(b"secret");
        let token = token(&pages, &["ab", ""]);
        assert!(pages.page(2, &token, &["ab", ""]).is_ok());
        let fault = pages.page(2, &token, &["a", "b"]).unwrap_err();
        assert!(fault.is(ErrorReason::PageTokenInvalid));
        assert_eq!(fault.violations()[0].field, "page_token");
        assert!(Pages::new(b"other").page(2, &token, &["ab", ""]).is_err());

        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                pages.page(2, &URL_SAFE_NO_PAD.encode(forged), &["ab", ""]).is_err(),
                "bit {bit}"
            );
        }
        for length in 1..token.len() {
            assert!(pages.page(2, &token[..length], &["ab", ""]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn sizes_are_bounded_and_a_negative_one_is_named() {
        let pages = Pages::new(b"secret");
        assert_eq!(pages.page(0, "", &[]).unwrap().size(), 50);
        assert_eq!(pages.page(7, "", &[]).unwrap().limit(), 8);
        assert_eq!(pages.page(i32::MAX, "", &[]).unwrap().size(), 1_000);
        let fault = pages.page(-1, "", &[]).unwrap_err();
        assert!(fault.is(ErrorReason::PageSizeInvalid));
        assert_eq!(fault.violations()[0].field, "page_size");
    }
}
