//! `google.api.HttpBody`: any content, in both directions, whole or in pieces.
//!
//! # Layout
//! - `download`: content as an answer, and the part of it that was asked for.
//! - `range`: which part that is (RFC 9110, section 14).
//! - `form`: files of a form as a request (RFC 7578).
//! - `multipart`: how a form is cut into its parts (RFC 2046).

mod download;
mod form;
mod multipart;
mod range;

pub(crate) use download::{pieces as answer_pieces, whole as answer_whole};
pub(crate) use form::{Form, FormUpload, is_form};
