//! What of a request and of an answer crosses the edge by gRPC, gRPC-Web and
//! Connect: everything but what speaks of one connection, what is the mesh's own
//! and what belongs to the client's protocol.
//!
//! REST is told apart from these on purpose: there a list says what crosses.

use http::{HeaderMap, HeaderName};

/// Headers with this prefix are the mesh's own.
const INTERNAL_PREFIX: &str = "x-mercat-";

/// Takes away what clients are not shown of headers or trailers of an answer.
pub(crate) fn withhold(headers: &mut HeaderMap) {
    remove_all(headers, |name| name.starts_with(INTERNAL_PREFIX) || is_of_the_connection(name));
}

/// Takes away what fits. Most often there is nothing, and nothing is allocated.
pub(crate) fn remove_all(headers: &mut HeaderMap, is_removed: impl Fn(&str) -> bool) {
    let removed: Vec<HeaderName> =
        headers.keys().filter(|name| is_removed(name.as_str())).cloned().collect();
    for name in removed {
        headers.remove(name);
    }
}

/// Headers of one connection (RFC 9110, section 7.6.1).
fn is_of_the_connection(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn an_answer_shows_its_own_metadata_and_nothing_of_the_mesh() {
        let mut headers = HeaderMap::new();
        for name in ["x-mercat-service", "grpc-status", "x-custom", "connection", "etag", "te"] {
            headers.insert(name, HeaderValue::from_static("1"));
        }
        withhold(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["etag", "grpc-status", "x-custom"]);
    }
}
