//! Heads of HTTP/2 requests that are too large: answered on their own stream, so
//! that the others on the connection go on.

use contracts::mesh::v1::ErrorReason;
use http::{HeaderMap, Request, Response, StatusCode, header::CONTENT_TYPE};
use tonic::Status;

use crate::Fault;

/// What a header costs besides its name and value (RFC 9113, section 6.5.2).
const HEADER_OVERHEAD: usize = 32;

/// The refusal of a head that has more bytes than it may.
pub(super) fn refusal<B>(request: &Request<B>, most: u32) -> Option<Box<Response<()>>> {
    let size = line(request)
        + request
            .headers()
            .iter()
            .map(|(name, value)| cost(name.as_str(), value.len()))
            .sum::<usize>();
    if u32::try_from(size).is_ok_and(|size| size <= most) {
        return None;
    }
    let response = if is_grpc(request.headers()) {
        Status::from(fault(request, size, most)).into_http()
    } else {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        response
    };
    Some(Box::new(response))
}

/// Names the longest, which most likely is the one that is not meant to be.
fn fault<B>(request: &Request<B>, size: usize, most: u32) -> Fault {
    let fields = request.headers().iter().map(|(name, value)| (name.as_str(), value.len()));
    let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let (name, length) = fields
        .fold((":path", path), |longest, next| if next.1 > longest.1 { next } else { longest });
    Fault::resource_exhausted(ErrorReason::HeaderInvalid).message(format!(
        "the headers have {size} bytes and may have {most}: `{name}` has {length}"
    ))
}

/// Whether a gRPC client asks, which reads its own status.
fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
    kind == b"application/grpc" || kind.starts_with(b"application/grpc+")
}

/// What the pseudo-headers cost.
fn line<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    [
        (":method", Some(request.method().as_str().len())),
        (":scheme", uri.scheme_str().map(str::len)),
        (":authority", uri.authority().map(|authority| authority.as_str().len())),
        (":path", Some(path)),
    ]
    .into_iter()
    .filter_map(|(name, length)| Some(cost(name, length?)))
    .sum()
}

fn cost(name: &str, length: usize) -> usize {
    name.len() + length + HEADER_OVERHEAD
}
