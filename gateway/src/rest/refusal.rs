//! A failure on its way to the client.

use chassis::Fault;
use contracts::mesh::v1::ErrorReason;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use tonic::{Code, body::Body};
use transcode::Schema;

use super::{
    EVERY_METHOD,
    accept::{Accept, PATCHES, POSTS},
};
use crate::problem::{self, Telling};

/// The reason of every service whose `etag` did not match.
const ETAG_MISMATCH: &str = "ETAG_MISMATCH";

/// A fault, and what goes with it.
pub(crate) struct Refusal {
    fault: Box<Fault>,
    /// What HTTP has a better word for than the fault's code says.
    status: Option<StatusCode>,
    headers: HeaderMap,
}

// === impl Refusal ===

impl Refusal {
    /// A path that does not take this method.
    #[cold]
    pub(crate) fn method(method: &Method, path: &str, allow: &[String]) -> Self {
        let list = allow.join(", ");
        let fault = Fault::unimplemented(ErrorReason::HttpMethodNotAllowed)
            .message(format!("{path} does not take {method}: it takes {list}"));
        let mut refusal = Self::from(fault);
        if let Ok(list) = HeaderValue::try_from(list) {
            refusal.headers.insert(header::ALLOW, list);
        }
        let takes = |wanted: Method| allow.iter().any(|method| method == wanted.as_str());
        if takes(Method::PATCH) {
            refusal.headers.insert("accept-patch", PATCHES);
        }
        if takes(Method::POST) {
            refusal.headers.insert("accept-post", POSTS);
        }
        refusal
    }

    /// The server as a whole, `*`, which takes no method but OPTIONS.
    pub(crate) fn server() -> Self {
        let mut refusal = Self::from(Fault::unimplemented(ErrorReason::HttpMethodNotAllowed));
        refusal.headers.insert(header::ALLOW, EVERY_METHOD);
        refusal
    }

    /// A condition of the request that does not hold.
    #[cold]
    pub(crate) fn precondition() -> Self {
        let mut refusal = Self::from(
            Fault::aborted(ErrorReason::Conflict)
                .message("the resource is not the one that if-match names: read it again")
                .violation("if-match", "must be the entity tag of the resource as it is now"),
        );
        refusal.status = Some(StatusCode::PRECONDITION_FAILED);
        refusal
    }

    /// What the path takes, if that is what is wrong (RFC 9110, section 9.3.7).
    pub(crate) fn into_options(self) -> Result<Response<Body>, Self> {
        if !self.fault.is(ErrorReason::HttpMethodNotAllowed) {
            return Err(self);
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        *response.headers_mut() = self.headers;
        Ok(response)
    }

    /// No byte of the range that is asked for is there (RFC 9110, section 15.5.17).
    #[cold]
    pub(crate) fn range(total: u64) -> Self {
        let mut refusal = Self::from(
            Fault::out_of_range(ErrorReason::HeaderInvalid)
                .message(format!("the content has {total} bytes, and none of those asked for"))
                .violation("range", format!("must begin before byte {total}")),
        );
        refusal.status = Some(StatusCode::RANGE_NOT_SATISFIABLE);
        if let Ok(range) = HeaderValue::try_from(format!("bytes */{total}")) {
            refusal.headers.insert(header::CONTENT_RANGE, range);
        }
        refusal
    }

    /// Whether it is for this reason.
    pub(super) fn is(&self, reason: ErrorReason) -> bool {
        self.fault.is(reason)
    }

    /// The fault alone, where there is no response to put headers on.
    pub(crate) fn into_fault(self) -> Fault {
        *self.fault
    }

    /// The same with headers of the service's own.
    pub(crate) fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.headers = headers;
        self
    }

    /// The answer to a request with these headers.
    #[cold]
    pub(crate) fn response(
        mut self,
        schema: &Schema,
        request: &HeaderMap,
        request_id: &str,
    ) -> Response<Body> {
        if self.status.is_none() && request.contains_key(header::IF_MATCH) && self.is_mismatch() {
            self.status = Some(StatusCode::PRECONDITION_FAILED);
        }
        let telling = Telling {
            request_id,
            schema: Some(schema),
            format: Accept::of(request).failure_format(),
            status: self.status,
            token_was_sent: request.contains_key(header::AUTHORIZATION),
        };
        let mut response = problem::tell(&self.fault, &telling);
        if self.fault.is(ErrorReason::MediaTypeUnsupported) {
            response.headers_mut().insert(header::ACCEPT, POSTS);
        }
        response.headers_mut().extend(self.headers);
        response
    }

    /// Whether the service found another `etag` than the one it was told: ABORTED
    /// (AIP-154), of a reason that says so or of none.
    fn is_mismatch(&self) -> bool {
        self.fault.code() == Code::Aborted
            && (self.fault.reason() == ETAG_MISMATCH || self.fault.reason().is_empty())
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self { fault: Box::new(fault), status: None, headers: HeaderMap::new() }
    }
}
