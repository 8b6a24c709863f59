//! What is known of a binding before anyone calls it.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, Uri};
use transcode::{Binding, Content, FieldPath, Match, Schema};

use super::{
    link::Next,
    profile::Taken,
    sunset::{Sunset, Sunsets},
};
use crate::streams::raw_body;

/// RFC 9745.
pub(crate) const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
/// The contracts say that a method is deprecated, but not since when; a date must
/// be said, and one long past says that it is.
const LONG_AGO: HeaderValue = HeaderValue::from_static("@0");

/// The plans of all bindings of a schema; to be used with that schema only.
#[derive(Debug)]
pub(crate) struct Plans(Box<[Plan]>);

/// The plan of one binding.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The gRPC path.
    pub(crate) uri: Uri,
    /// The path's template, for the log.
    pub(crate) route: Arc<str>,
    /// GET, and so HEAD: conditions are weighed, and the answer may be kept.
    pub(crate) is_read: bool,
    /// A standard Create method (AIP-133): its answer is 201.
    pub(crate) is_create: bool,
    /// The answer is a `google.longrunning.Operation`; this is its `done`.
    pub(crate) done: Option<FieldPath>,
    /// `etag` of what is answered.
    pub(crate) etag: Option<FieldPath>,
    /// How the list goes on.
    pub(crate) next: Option<Next>,
    /// Which parameters of the edge are the method's own.
    pub(crate) taken: Taken,
    pub(crate) deprecation: Option<HeaderValue>,
    /// When the method goes away.
    pub(crate) sunset: Option<Sunset>,
    /// What a body of any content becomes, if it may be one.
    pub(crate) raw: Option<Content>,
}

// === impl Plans ===

impl Plans {
    pub(crate) fn new(schema: &Schema, sunsets: &Sunsets) -> Self {
        let plan = |binding| Plan::new(schema, binding, sunsets);
        Self(schema.bindings().iter().map(plan).collect())
    }

    /// The plan of a binding; `None` if it is of another schema.
    pub(crate) fn at(&self, binding: &Binding) -> Option<&Plan> {
        self.0.get(binding.id().index())
    }

    /// The plan of a match; `None` if it is of another schema.
    pub(crate) fn of(&self, found: &Match<'_>) -> Option<&Plan> {
        self.at(found.binding())
    }
}

// === impl Plan ===

impl Plan {
    fn new(schema: &Schema, binding: &Binding, sunsets: &Sunsets) -> Self {
        let method = schema.method_by_id(binding.method());
        let is_unary = method
            .is_some_and(|method| !method.is_client_streaming() && !method.is_server_streaming());
        let unary = method.filter(|_| is_unary);
        let is_read = binding.http_method() == Method::GET.as_str();
        let is_create = unary.is_some_and(|method| {
            let noun = method.name().strip_prefix("Create").unwrap_or_default();
            !binding.is_rpc()
                && binding.http_method() == Method::POST.as_str()
                && noun.starts_with(|letter: char| letter.is_ascii_uppercase())
                && method.output_content() == Content::Message
                && !has_verb(binding.pattern())
        });
        // The tag of the field that is answered, or of the message around it.
        let etag = unary.and_then(|method| {
            let answered = binding.response_body().and_then(|field| {
                let path = format!("{}.etag", field.as_str());
                schema.field_path(method.output(), &path)
            });
            answered.or_else(|| method.output_etag().cloned())
        });
        let operation = unary.filter(|method| method.output_content() == Content::Operation);
        Self {
            uri: method.and_then(|method| method.path().parse().ok()).unwrap_or_default(),
            route: binding.pattern().into(),
            is_read,
            is_create,
            done: operation.and_then(|method| schema.field_path(method.output(), "done")),
            etag,
            next: unary.filter(|_| is_read).and_then(|method| Next::of(schema, method)),
            taken: method.map_or_else(Taken::none, |method| Taken::by(schema, method)),
            deprecation: method.filter(|method| method.is_deprecated()).map(|_| LONG_AGO),
            sunset: method.and_then(|method| sunsets.of(method)).cloned(),
            raw: method.and_then(|method| raw_body(method, binding.body())),
        }
    }
}

/// Whether a template ends in a custom verb, `/v1/things/{id}:archive`.
fn has_verb(pattern: &str) -> bool {
    let last = pattern.rfind(['/', '}']).map_or(0, |at| at + 1);
    pattern.get(last..).is_some_and(|last| last.contains(':'))
}
