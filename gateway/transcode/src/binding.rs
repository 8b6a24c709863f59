//! A binding: one way to call one method by HTTP; and the match of a request with it.

use std::borrow::Cow;

use crate::{
    error::{RequestError, RouteError, WireError},
    method::{Method, MethodId},
    options::{Body, PrintOptions, RequestOptions},
    path::FieldPath,
    request, response,
    route::{Captures, Template, decode_segments},
    schema::Schema,
};

/// One way to call one method: an HTTP method, a path template and where the fields come from.
#[derive(Debug)]
pub struct Binding {
    pub(crate) id: BindingId,
    pub(crate) method: MethodId,
    pub(crate) http_method: Box<str>,
    pub(crate) template: Template,
    /// The field of each variable of the template.
    pub(crate) variables: Vec<FieldPath>,
    pub(crate) body: BodyRule,
    pub(crate) response_body: Option<FieldPath>,
    pub(crate) update_mask: Option<FieldPath>,
    pub(crate) rpc: bool,
}

/// A binding of a [`Schema`]; to be used with that schema only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BindingId(pub(crate) u32);

impl BindingId {
    /// Its place among [`Schema::bindings`], for tables of one's own.
    #[must_use]
    pub fn index(self) -> usize {
        crate::wire::index(self.0)
    }
}

/// What the body of a request holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyRule {
    /// There is none; all fields come from path and query.
    None,
    /// The whole request, but for the fields of the path.
    Whole,
    /// One field of the request.
    Field(FieldPath),
}

/// A request that found its binding.
#[derive(Debug, Clone)]
pub struct Match<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) binding: &'a Binding,
    pub(crate) path: &'a str,
    pub(crate) captures: Captures,
}

impl Binding {
    /// Its id, which is cheap to keep.
    #[must_use]
    pub fn id(&self) -> BindingId {
        self.id
    }

    /// The method it calls.
    #[must_use]
    pub fn method(&self) -> MethodId {
        self.method
    }

    /// GET, POST, ..., a custom method, or `*` for any.
    #[must_use]
    pub fn http_method(&self) -> &str {
        &self.http_method
    }

    /// The path template as the contract has it: `/v1/{name=shelves/*}:archive`. For logs, metrics and OpenAPI.
    #[must_use]
    pub fn pattern(&self) -> &str {
        self.template.text()
    }

    /// The path with every variable in braces by its field alone: `/v1/{name}:archive`.
    #[must_use]
    pub fn openapi_path(&self) -> String {
        self.template.openapi_path()
    }

    /// The variables, in order: the field and the pattern of its segments (`*`, `**`, `shelves/*`).
    pub fn variables(&self) -> impl Iterator<Item = (&FieldPath, &str)> {
        self.variables.iter().zip(self.template.variable_patterns())
    }

    /// What the body holds.
    #[must_use]
    pub fn body(&self) -> &BodyRule {
        &self.body
    }

    /// The one field that is the response, if it is not the whole.
    #[must_use]
    pub fn response_body(&self) -> Option<&FieldPath> {
        self.response_body.as_ref()
    }

    /// The FieldMask that a PATCH may derive from its body: there is one if the body is a message field and the request
    /// has a FieldMask beside it.
    #[must_use]
    pub fn update_mask_field(&self) -> Option<&FieldPath> {
        self.update_mask.as_ref()
    }

    /// Whether it is the `POST /pkg.Service/Method` that every method has, rather than one of its http rule.
    #[must_use]
    pub fn is_rpc(&self) -> bool {
        self.rpc
    }
}

impl<'a> Match<'a> {
    /// The binding.
    #[must_use]
    pub fn binding(&self) -> &'a Binding {
        self.binding
    }

    /// The method it calls.
    #[must_use]
    pub fn method(&self) -> &'a Method {
        let id = crate::wire::index(self.binding.method.0);
        &self.schema.methods()[id]
    }

    /// The variables of the path with their decoded values.
    pub fn variables(&self) -> impl Iterator<Item = (&'a FieldPath, Cow<'a, str>)> {
        let (binding, captures, path) = (self.binding, self.captures, self.path);
        binding.variables.iter().enumerate().map(move |(at, field)| {
            let raw = captures.get(path, at);
            let multi = binding.template.is_multi(at);
            (field, decode_segments(raw, multi).unwrap_or(Cow::Borrowed(raw)))
        })
    }

    /// Appends the wire bytes of the request message to `out`: path variables, query parameters, headers and body in one
    /// buffer. On an error `out` is as it was. `query` is the raw query without its question mark.
    ///
    /// # Errors
    ///
    /// [`RequestError`], which names the field, and the place in a JSON body; every one is the client's to mend.
    pub fn request(
        &self,
        query: Option<&str>,
        body: Body<'_>,
        options: &RequestOptions<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), RequestError> {
        request::build(self, query.unwrap_or_default(), body, options, out)
    }

    /// Appends the JSON of the response, or of its `response_body` field, to `out`. On an error `out` is as it was.
    ///
    /// # Errors
    ///
    /// [`WireError`] if the bytes cannot be printed.
    pub fn response(
        &self,
        wire: &[u8],
        options: &PrintOptions,
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        self.schema.response_to_json(self.binding, wire, options, out)
    }
}

impl Schema {
    /// [`Match::response`] for a binding that was kept by its id.
    ///
    /// # Errors
    ///
    /// [`WireError`] if the bytes cannot be printed.
    pub fn response_to_json(
        &self,
        binding: &Binding,
        wire: &[u8],
        options: &PrintOptions,
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        response::print(self, binding, wire, options, out)
    }
}

/// The outcome of [`Schema::route`].
pub(crate) type Routed<'a> = Result<Match<'a>, RouteError>;
