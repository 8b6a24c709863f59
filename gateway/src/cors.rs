//! Cross-origin requests from browsers (Fetch Standard, section 3.2).

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use tonic::body::Body;

/// Headers of an answer that every page may read (Fetch Standard, section 2.2.2).
const SAFELISTED: [HeaderName; 7] = [
    header::CACHE_CONTROL,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::PRAGMA,
];
/// Headers that are for the browser itself.
const BROWSERS: [HeaderName; 5] = [
    header::CONTENT_SECURITY_POLICY,
    header::DATE,
    header::VARY,
    header::X_CONTENT_TYPE_OPTIONS,
    header::X_FRAME_OPTIONS,
];
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
            self.allow(answer, origin);
        }
        Some(response)
    }

    /// Lets the page that sent the request read the answer, which is complete.
    pub(crate) fn admit(&self, answer: &mut HeaderMap, origin: Option<&HeaderValue>) {
        let Some(origin) = origin.filter(|origin| self.allows(origin)) else { return };
        // No answer has a secret in its headers: tokens are in bodies.
        if let Some(exposed) = exposed(answer) {
            answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
        self.allow(answer, origin);
    }

    fn allow(&self, answer: &mut HeaderMap, origin: &HeaderValue) {
        let allowed = if self.is_open { HeaderValue::from_static("*") } else { origin.clone() };
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if !self.is_open {
            answer.append(header::VARY, HeaderValue::from_static("origin"));
        }
    }

    /// Whether pages of this origin may call.
    pub(crate) fn allows(&self, origin: &HeaderValue) -> bool {
        self.is_open || self.origins.contains(origin)
    }
}

/// The names of what a page may read of an answer beside what it always may.
fn exposed(answer: &HeaderMap) -> Option<HeaderValue> {
    let mut names = String::new();
    let is_shown = |name: &&HeaderName| !SAFELISTED.contains(name) && !BROWSERS.contains(name);
    for name in answer.keys().filter(is_shown) {
        if !names.is_empty() {
            names.push_str(", ");
        }
        names.push_str(name.as_str());
    }
    HeaderValue::try_from(names).ok().filter(|names| !names.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_may_read_what_the_answer_has() {
        let cors = Cors::new(&["https://shop.example".to_owned()]).unwrap();
        let mut answer = HeaderMap::new();
        for name in ["content-type", "etag", "vary", "ratelimit", "trailer-x-shelf"] {
            answer.insert(name, HeaderValue::from_static("1"));
        }
        let origin = |origin| HeaderValue::from_static(origin);
        let mut other = answer.clone();
        cors.admit(&mut other, Some(&origin("https://other.example")));
        assert_eq!(other, answer);
        cors.admit(&mut answer, Some(&origin("https://shop.example")));
        assert_eq!(answer["access-control-allow-origin"], "https://shop.example");
        let exposed = answer["access-control-expose-headers"].to_str().unwrap();
        let mut exposed: Vec<&str> = exposed.split(", ").collect();
        exposed.sort_unstable();
        assert_eq!(exposed, ["etag", "ratelimit", "trailer-x-shelf"]);
    }
}
