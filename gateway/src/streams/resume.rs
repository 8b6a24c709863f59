//! Where a stream goes on after it broke.
//!
//! A method whose answers and whose request both have a singular `resume_token`,
//! of type `string` or `bytes`, can go on: each event's `id` is the token of its
//! message, and the `Last-Event-ID` that a browser sends when it comes back is
//! the `resume_token` of the request. Bytes are written in base64. Google's own
//! contracts have the same pair of fields (`google.spanner.v1.PartialResultSet`,
//! `google.firestore.v1.ListenResponse`). A method that follows one resource, with
//! an `etag` in its answers and its request, goes on with the version that the
//! client has.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use prost_reflect::{Kind, MessageDescriptor};
use transcode::{FieldPath, Method, Raw, Schema};

/// What a browser sends when it comes back (HTML Standard, section 9.2.4).
pub(crate) const LAST_EVENT_ID: &str = "last-event-id";
/// The field of both sides.
const FIELDS: [&str; 2] = ["resume_token", "etag"];

/// How the messages of a method say where they are.
#[derive(Debug, Clone)]
pub(crate) struct Resume {
    /// The field of the request.
    pub(crate) request: FieldPath,
    answer: FieldPath,
    is_bytes: bool,
}

// === impl Resume ===

impl Resume {
    /// If the method can go on at all.
    pub(crate) fn of(schema: &Schema, method: &Method) -> Option<Self> {
        if !method.is_server_streaming() || method.is_client_streaming() {
            return None;
        }
        let descriptor = method.descriptor();
        FIELDS.into_iter().find_map(|field| {
            is_bytes(&descriptor.input(), field)?;
            let is_bytes = is_bytes(&descriptor.output(), field)?;
            let request = schema.field_path(method.input(), field)?;
            let answer = schema.field_path(method.output(), field)?;
            Some(Self { request, answer, is_bytes })
        })
    }

    /// The token of a message, if it has one and an event's `id` can hold it.
    pub(crate) fn id(&self, message: &[u8]) -> Option<String> {
        let Some(Raw::Bytes(token)) = self.answer.find(message) else { return None };
        let id = match self.is_bytes {
            true => BASE64_STANDARD.encode(token),
            false => std::str::from_utf8(token).ok()?.to_owned(),
        };
        let fits = !id.is_empty() && !id.contains(['\0', '\r', '\n']);
        fits.then_some(id)
    }
}

/// Whether the token is bytes rather than text; `None` where there is no token.
fn is_bytes(message: &MessageDescriptor, field: &str) -> Option<bool> {
    let field = message.get_field_by_name(field).filter(|field| !field.is_list())?;
    match field.kind() {
        Kind::String => Some(false),
        Kind::Bytes => Some(true),
        _ => None,
    }
}
