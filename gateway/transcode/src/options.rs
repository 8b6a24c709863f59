//! How to read, how to print, and what the edge adds to a request.

use crate::path::FieldPath;

/// How JSON is read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ParseOptions {
    /// Skips members and enum names that the message does not know, instead of refusing them. Default: false.
    pub ignore_unknown_fields: bool,
    /// How deep objects and arrays may nest. Default: 100, as in the reference implementations.
    pub max_depth: u32,
    /// How many bytes of JSON one message may have. Default: 64 MiB.
    pub max_bytes: usize,
}

/// How JSON is printed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PrintOptions {
    /// Prints 64-bit integers as JSON numbers, for clients that can hold them. Default: false, as strings.
    pub int64_as_number: bool,
    /// Prints `create_time` where the mapping says `createTime`. Default: false.
    pub use_proto_names: bool,
    /// Prints fields without presence even when they hold their default: `0`, `""`, `false`, `[]`, `{}` and the first
    /// enum value. Messages, members of a oneof and `optional` fields that are not set stay absent. Default: false.
    pub emit_defaults: bool,
    /// Prints enums by number. Default: false, by name.
    pub enum_as_numbers: bool,
    /// Prints an `Any` whose type is unknown, or whose bytes do not fit its type, as `{"@type", "value"}` with the
    /// bytes in base64, instead of failing. Default: false.
    pub keep_unknown_any: bool,
    /// How deep messages may nest. Default: 100.
    pub max_depth: u32,
    /// How many bytes of JSON may be printed; a small message can print as a large text. Default: 256 MiB.
    pub max_bytes: usize,
}

/// The body of a request, as its content type says.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Body<'a> {
    /// No body was sent.
    None,
    /// `application/json`. Empty bytes count as no body.
    Json(&'a [u8]),
    /// `application/x-protobuf`: the wire bytes of the message that the rule's `body` names.
    Wire(&'a [u8]),
    /// Any other content, for a body of type `google.api.HttpBody` or `bytes`.
    Raw {
        /// The request's `Content-Type`.
        content_type: &'a str,
        /// The content itself.
        data: &'a [u8],
    },
    /// The files of a form. What else the form holds goes into the query; see [`RequestOptions::form`].
    Files(&'a [File<'a>]),
}

/// One file of a form.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// The field it goes into, of type `google.api.HttpBody` or `bytes`; an element of it if the field is repeated.
    pub field: &'a FieldPath,
    /// Its own `Content-Type`.
    pub content_type: &'a str,
    /// Its content.
    pub data: &'a [u8],
}

/// A field that takes its value from a header, as `Idempotency-Key` gives `request_id`.
#[derive(Debug, Clone, Copy)]
pub struct HeaderBinding<'a> {
    /// The header's name, for messages.
    pub header: &'a str,
    /// The field it sets; see [`Schema::field_path`](crate::Schema::field_path) and [`Method`](crate::Method).
    pub field: &'a FieldPath,
    /// The header's value, as text.
    pub value: &'a str,
}

/// How a request is put together.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RequestOptions<'a> {
    /// How its JSON body is read.
    pub parse: ParseOptions,
    /// Query parameters that the edge itself reads (`alt`, `int64`), skipped unless the message has such a field.
    pub edge_parameters: &'a [&'a str],
    /// Fields that come from headers.
    pub headers: &'a [HeaderBinding<'a>],
    /// Lets path, query, header and body say the same value for one field. Default: false, naming it twice is refused.
    pub allow_agreeing: bool,
    /// Fills the update mask of a PATCH from the keys of its body if the client sent none. Default: false.
    pub derive_update_mask: bool,
    /// The body is a merge patch (RFC 7396), all of which is meant: an update mask that the client did send must hold
    /// every field that the body names. Default: false, what the mask leaves out of the body is ignored (AIP-134).
    pub mask_covers_body: bool,
    /// The query holds the fields of a form, which is the body: a rule whose body is `*` takes them too. Default: false.
    pub form: bool,
    /// Another message of a stream: what path, query and headers say went into the first one and is not written again,
    /// but a body still may not say otherwise. Default: false.
    pub continued: bool,
}

// === impl ParseOptions ===

impl Default for ParseOptions {
    fn default() -> Self {
        Self { ignore_unknown_fields: false, max_depth: 100, max_bytes: 64 << 20 }
    }
}

// === impl PrintOptions ===

impl Default for PrintOptions {
    fn default() -> Self {
        Self {
            int64_as_number: false,
            use_proto_names: false,
            emit_defaults: false,
            enum_as_numbers: false,
            keep_unknown_any: false,
            max_depth: 100,
            max_bytes: 256 << 20,
        }
    }
}
