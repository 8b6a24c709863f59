//! Cross-origin requests from browsers (Fetch Standard, section 3.2).

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use tonic::body::Body;

/// What a page may read of an answer beside the simple headers.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "grpc-status, grpc-message, grpc-status-details-bin, idempotent-replayed, x-request-id, retry-after, etag, location",
);
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
/// How long a browser may remember a preflight's answer, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Which pages may call.
#[derive(Debug, Clone)]
pub(crate) struct Cors {
    origins: Vec<HeaderValue>,
    is_open: bool,
}

// === impl Cors ===

impl Cors {
    /// Pages of these origins; `*` is any.
    pub(crate) fn new(origins: &[String]) -> Result<Self, chassis::Error> {
        let values = origins
            .iter()
            .map(|origin| {
                HeaderValue::from_str(origin).map_err(|_| {
                    chassis::Error::build(format!("gateway.cors_origins: `{origin}` is no origin"))
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { is_open: origins.iter().any(|origin| origin == "*"), origins: values })
    }

    /// The answer to a preflight, if the request is one.
    pub(crate) fn preflight<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let headers = request.headers();
        let asked = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        let origin = headers.get(header::ORIGIN)?;
        if request.method() != Method::OPTIONS {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        if self.allows(origin) && !asked.is_empty() {
            let answer = response.headers_mut();
            answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            if let Some(wanted) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
            }
            answer.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
            self.admit(answer, Some(origin));
        }
        Some(response)
    }

    /// Lets the page that sent the request read the answer.
    pub(crate) fn admit(&self, answer: &mut HeaderMap, origin: Option<&HeaderValue>) {
        let Some(origin) = origin.filter(|origin| self.allows(origin)) else { return };
        let allowed = if self.is_open { HeaderValue::from_static("*") } else { origin.clone() };
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        if !self.is_open {
            answer.append(header::VARY, HeaderValue::from_static("origin"));
        }
    }

    /// Whether pages of this origin may call.
    pub(crate) fn allows(&self, origin: &HeaderValue) -> bool {
        self.is_open || self.origins.contains(origin)
    }
}
