//! JSON to protobuf wire bytes and back, in one pass over the bytes, from descriptors alone.
//!
//! A [`Schema`] is compiled once from a descriptor pool. It then answers three questions, without I/O and without
//! building a message in between:
//!
//! - [`Schema::route`]: which method does this HTTP request call? By `google.api.http`, and by
//!   `POST /pkg.Service/Method` for every method.
//! - [`Match::request`]: what are the wire bytes of its request? From path, query, headers and body.
//! - [`Match::response`]: what is the JSON of its response?
//!
//! [`Schema::json_to_wire`] and [`Schema::wire_to_json`] do the same for a message by itself. [`JsonValues`] takes apart a
//! stream of JSON values that arrives in pieces.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use transcode::{Body, ParseOptions, PrintOptions, Schema};
//!
//! # let pool = prost_reflect::DescriptorPool::global();
//! let schema = Schema::new(&pool).map_err(|problems| format!("{problems:?}"))?;
//! let timestamp = schema.message("google.protobuf.Timestamp").ok_or("no such message")?;
//!
//! let mut wire = Vec::new();
//! schema.json_to_wire(timestamp, br#""1970-01-01T00:00:05Z""#, &mut wire, &ParseOptions::default())?;
//! assert_eq!(wire, [0x08, 5]);
//!
//! let mut json = Vec::new();
//! schema.wire_to_json(timestamp, &wire, &mut json, &PrintOptions::default())?;
//! assert_eq!(json, br#""1970-01-01T00:00:05Z""#);
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//!
//! - `schema`: the tables, and the audit of the http rules.
//! - `route`: path templates and the trie.
//! - `json`: the lexer, the parser (JSON to wire), the printer (wire to JSON), the well-known types, streams of values.
//! - `request`, `query`, `response`: a whole HTTP request to wire bytes, a whole response to JSON.
//! - `path`, `location`: single fields of a response, and where its resource is found.
//! - `decimal`, `utf8`: numbers and text, eight bytes at a time.
//! - `wire`: the protobuf wire format; `message_set`: its oldest part.
//!
//! # What the mapping does not do
//!
//! Required fields of proto2 are not demanded; the service that decodes the message
//! does that. Of protobuf's conformance suite (binary and JSON, required and recommended) all passes but what is listed
//! with its reason in `tests/conformance.txt`.

mod binding;
mod error;
mod http_body;
mod json;
mod location;
mod method;
mod options;
mod path;
mod query;
mod request;
mod response;
mod route;
mod schema;
mod text;
mod wire;

pub use binding::{Binding, BindingId, BodyRule, Match};
pub use error::{
    JsonError, JsonErrorKind, Position, Problem, ProblemKind, RequestError, RouteError, Source,
    WireError, WireErrorKind,
};
pub use http_body::HttpBody;
pub use json::{JsonValue, JsonValues, Sequence};
pub use method::{Content, Idempotency, Method, MethodId};
pub use options::{Body, File, HeaderBinding, ParseOptions, PrintOptions, RequestOptions};
pub use path::{FieldPath, Raw};
pub use schema::{MessageId, Schema};
mod message_set;
