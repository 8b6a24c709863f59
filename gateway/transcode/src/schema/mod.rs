//! The compiled form of the descriptors: flat tables of messages, enums, methods and bindings.

mod compile;
mod names;
mod rules;
mod table;

pub(crate) use table::{
    Cardinality, EntryTable, EnumTable, Field, Key, Kind, MessageTable, NONE, Scalar, Tables, hash,
};

use std::{borrow::Cow, fmt};

use prost_reflect::{DescriptorPool, MessageDescriptor};

use self::names::Names;
use crate::{
    binding::{Binding, BindingId, Match},
    error::{JsonError, Problem, RouteError, WireError},
    json,
    method::{Method, MethodId},
    options::{ParseOptions, PrintOptions},
    path::FieldPath,
    route::Trie,
};

/// Every message, method and route of a descriptor pool, compiled once and shared by all requests.
pub struct Schema {
    pool: DescriptorPool,
    pub(crate) tables: Tables,
    methods: Vec<Method>,
    by_path: Names,
    bindings: Vec<Binding>,
    trie: Trie,
}

/// A message of a [`Schema`]; to be used with that schema only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub(crate) u32);

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Descriptors refer to each other in circles.
        f.debug_struct("Schema")
            .field("messages", &self.tables.messages.len())
            .field("methods", &self.methods)
            .field("bindings", &self.bindings.len())
            .finish_non_exhaustive()
    }
}

impl Schema {
    /// Compiles messages, methods and routes.
    ///
    /// # Errors
    ///
    /// Everything in the http rules that would make the edge answer wrongly: templates that do not parse, bindings that
    /// match the same requests or none, variables and bodies that name no field or one that cannot be set so.
    pub fn new(pool: &DescriptorPool) -> Result<Self, Vec<Problem>> {
        let (schema, problems) = Self::lenient(pool);
        if problems.is_empty() { Ok(schema) } else { Err(problems) }
    }

    /// As [`new`](Self::new), but leaves out what is wrong and goes on with the rest; for contracts that somebody else
    /// owns. A method without its http rule is still called by `POST /pkg.Service/Method`.
    #[must_use]
    pub fn lenient(pool: &DescriptorPool) -> (Self, Vec<Problem>) {
        compile::compile(pool)
    }

    pub(crate) fn assemble(
        pool: DescriptorPool,
        tables: Tables,
        methods: Vec<Method>,
        bindings: Vec<Binding>,
        trie: Trie,
    ) -> Self {
        let by_path = Names::new(methods.iter().map(Method::path).zip(0..));
        Self { pool, tables, methods, by_path, bindings, trie }
    }

    /// The descriptors it was compiled from.
    #[must_use]
    pub fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    /// A message by its full name.
    #[must_use]
    pub fn message(&self, full_name: &str) -> Option<MessageId> {
        self.tables.find(full_name).map(MessageId)
    }

    /// The full name of a message.
    #[must_use]
    pub fn message_name(&self, message: MessageId) -> &str {
        &self.tables.message(message.0).full_name
    }

    /// The descriptor of a message.
    #[must_use]
    pub fn message_descriptor(&self, message: MessageId) -> Option<MessageDescriptor> {
        self.pool.get_message_by_name(self.message_name(message))
    }

    /// A field below a message, by proto or JSON names: `product.etag`. `None` if a step names no field or goes through
    /// a list or a map.
    #[must_use]
    pub fn field_path(&self, message: MessageId, path: &str) -> Option<FieldPath> {
        FieldPath::resolve(&self.tables, message.0, path)
    }

    /// A field of a message as the text that stands for it in a path, a query or a header: strings as they are, numbers
    /// in decimal, enums by name, times as in JSON. `None` where it is absent, a list, a map or an ordinary message, or
    /// the bytes are broken.
    #[must_use]
    pub fn field_text<'w>(&self, path: &FieldPath, wire: &'w [u8]) -> Option<Cow<'w, str>> {
        let (wire_type, at) = path.locate(wire)?;
        json::print_text(&self.tables, crate::request::field(&self.tables, path), wire_type, at)
    }

    /// Every method of every service, in the order of the files.
    #[must_use]
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// A method by its gRPC path, `/pkg.Service/Method`.
    #[must_use]
    pub fn method(&self, path: &str) -> Option<&Method> {
        self.methods.get(crate::wire::index(self.by_path.get(path.as_bytes())?))
    }

    /// A method by its id.
    #[must_use]
    pub fn method_by_id(&self, id: MethodId) -> Option<&Method> {
        self.methods.get(crate::wire::index(id.0))
    }

    /// Every binding: those of the http rules, and `POST /pkg.Service/Method` of each method.
    #[must_use]
    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }

    /// A binding by its id.
    #[must_use]
    pub fn binding(&self, id: BindingId) -> Option<&Binding> {
        self.bindings.get(crate::wire::index(id.0))
    }

    /// Finds the binding of a request: the most specific one, whatever the order of registration (a literal before a
    /// variable, a variable before `**`, from the left). HEAD is answered by the binding of GET if it has none of its
    /// own. `path` is the raw path without the query, still percent-encoded.
    ///
    /// # Errors
    ///
    /// [`RouteError`], of which `MethodNotAllowed` lists what the path takes (also for OPTIONS).
    pub fn route<'a>(&'a self, http_method: &str, path: &'a str) -> Result<Match<'a>, RouteError> {
        self.trie.route(self, http_method, path)
    }

    /// Appends the wire bytes of the message that `json` describes to `out`. On an error `out` is as it was.
    ///
    /// # Errors
    ///
    /// [`JsonError`], with the place in the text and the field.
    pub fn json_to_wire(
        &self,
        message: MessageId,
        json: &[u8],
        out: &mut Vec<u8>,
        options: &ParseOptions,
    ) -> Result<(), JsonError> {
        json::parse_message(&self.tables, message.0, json, out, options)
    }

    /// Appends the JSON of a message to `out`. On an error `out` is as it was.
    ///
    /// # Errors
    ///
    /// [`WireError`] if the bytes are broken, hold text that is not UTF-8, or a value that JSON cannot express.
    pub fn wire_to_json(
        &self,
        message: MessageId,
        wire: &[u8],
        out: &mut Vec<u8>,
        options: &PrintOptions,
    ) -> Result<(), WireError> {
        json::print_message(&self.tables, message.0, wire, out, options)
    }

    /// Appends the `details` of a `google.rpc.Status` (the bytes of `grpc-status-details-bin`) to `out` as a JSON array.
    /// Known types are expanded; unknown ones are kept as `{"@type", "value"}` with their bytes in base64.
    ///
    /// # Errors
    ///
    /// [`WireError`] if `status` is no `google.rpc.Status`.
    pub fn details_to_json(
        &self,
        status: &[u8],
        out: &mut Vec<u8>,
        options: &PrintOptions,
    ) -> Result<(), WireError> {
        json::print_details(&self.tables, status, out, options)
    }
}
