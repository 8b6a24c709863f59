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
//! An error says where: the field by its path, and the place in the text.
//!
//! ```
//! # let pool = prost_reflect::DescriptorPool::global();
//! # let schema = transcode::Schema::new(&pool).unwrap();
//! let api = schema.message("google.protobuf.Api").unwrap();
//! let json = br#"{"name": "shop.v1", "methods": [{"name": "Get"}, {"requestTypeURL": ""}]}"#;
//! let error = schema.json_to_wire(api, json, &mut Vec::new(), &Default::default()).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "methods[1].requestTypeURL: unknown field of google.protobuf.Method; did you mean `requestTypeUrl`? \
//!      (line 1, column 51)"
//! );
//! ```
//!
//! # Costs
//!
//! Both directions append to a buffer of the caller's and allocate nothing for a field, an element or a nested message
//! (`tests/allocations.rs`): there is one buffer for messages of more than 64 fields, one for the keys of maps, in which
//! one that comes twice is found, and copies of what the wire format holds in parts, which hardly any encoder writes.
//! `cargo bench -p transcode` measures both beside prost-reflect, the typed way and a plain copy.
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
mod decimal;
mod error;
mod http_body;
mod json;
mod location;
mod message_set;
mod method;
mod options;
mod path;
mod query;
mod request;
mod response;
mod route;
mod schema;
mod text;
mod utf8;
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
