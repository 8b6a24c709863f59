//! What the edge needs to know of a method.

use std::fmt;

use prost_reflect::MethodDescriptor;

use crate::{binding::BindingId, location::Location, path::FieldPath, schema::MessageId};

/// A method of a service.
pub struct Method {
    pub(crate) id: MethodId,
    pub(crate) path: Box<str>,
    pub(crate) descriptor: MethodDescriptor,
    pub(crate) input: MessageId,
    pub(crate) output: MessageId,
    pub(crate) idempotency: Idempotency,
    pub(crate) deprecated: bool,
    pub(crate) bindings: Vec<BindingId>,
    pub(crate) rpc: BindingId,
    pub(crate) request_id: Option<FieldPath>,
    pub(crate) etag: Option<FieldPath>,
    pub(crate) output_etag: Option<FieldPath>,
    pub(crate) next_page_token: Option<FieldPath>,
    pub(crate) input_content: Content,
    pub(crate) output_content: Content,
    pub(crate) location: Option<Location>,
}

/// A method of a [`Schema`](crate::Schema); to be used with that schema only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MethodId(pub(crate) u32);

/// What may be done with a call whose outcome is unknown: the method's `idempotency_level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idempotency {
    /// Nothing is promised.
    Unknown,
    /// It only reads.
    NoSideEffects,
    /// Twice is as once.
    Idempotent,
}

/// Messages that mean something to the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// An ordinary message.
    Message,
    /// `google.api.HttpBody`: any content with its type.
    HttpBody,
    /// `google.longrunning.Operation`.
    Operation,
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Descriptors refer to each other in circles.
        f.debug_tuple("Method").field(&self.path).finish()
    }
}

impl Method {
    /// Its id, which is cheap to keep.
    #[must_use]
    pub fn id(&self) -> MethodId {
        self.id
    }

    /// The gRPC path: `/pkg.Service/Method`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The full name: `pkg.Service.Method`.
    #[must_use]
    pub fn full_name(&self) -> &str {
        self.descriptor.full_name()
    }

    /// The service's full name: `pkg.Service`.
    #[must_use]
    pub fn service(&self) -> &str {
        self.path.trim_start_matches('/').split('/').next().unwrap_or_default()
    }

    /// The short name: `Method`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The descriptor, for options and comments.
    #[must_use]
    pub fn descriptor(&self) -> &MethodDescriptor {
        &self.descriptor
    }

    /// The request message.
    #[must_use]
    pub fn input(&self) -> MessageId {
        self.input
    }

    /// The response message.
    #[must_use]
    pub fn output(&self) -> MessageId {
        self.output
    }

    /// Whether the client sends a stream.
    #[must_use]
    pub fn is_client_streaming(&self) -> bool {
        self.descriptor.is_client_streaming()
    }

    /// Whether the server answers with a stream.
    #[must_use]
    pub fn is_server_streaming(&self) -> bool {
        self.descriptor.is_server_streaming()
    }

    /// Its `idempotency_level`.
    #[must_use]
    pub fn idempotency(&self) -> Idempotency {
        self.idempotency
    }

    /// Whether the method or its service is deprecated.
    #[must_use]
    pub fn is_deprecated(&self) -> bool {
        self.deprecated
    }

    /// The bindings of its http rule, without that of [`rpc_binding`](Self::rpc_binding).
    #[must_use]
    pub fn bindings(&self) -> &[BindingId] {
        &self.bindings
    }

    /// The binding of `POST /pkg.Service/Method`, which every method has.
    #[must_use]
    pub fn rpc_binding(&self) -> BindingId {
        self.rpc
    }

    /// `request_id` of the request, if it has one: where `Idempotency-Key` goes.
    #[must_use]
    pub fn request_id(&self) -> Option<&FieldPath> {
        self.request_id.as_ref()
    }

    /// `etag` of the request or of the one resource in it: where `If-Match` goes.
    #[must_use]
    pub fn etag(&self) -> Option<&FieldPath> {
        self.etag.as_ref()
    }

    /// `etag` of the response: what the `ETag` header says.
    #[must_use]
    pub fn output_etag(&self) -> Option<&FieldPath> {
        self.output_etag.as_ref()
    }

    /// `next_page_token` of the response: what `Link: rel=next` continues with.
    #[must_use]
    pub fn next_page_token(&self) -> Option<&FieldPath> {
        self.next_page_token.as_ref()
    }

    /// What the request is to the edge.
    #[must_use]
    pub fn input_content(&self) -> Content {
        self.input_content
    }

    /// What the response is to the edge.
    #[must_use]
    pub fn output_content(&self) -> Content {
        self.output_content
    }
}
