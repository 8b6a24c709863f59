//! Whether a request may become a socket, and what it then speaks.
//!
//! A client says with `Sec-WebSocket-Protocol` what it wants, in order:
//! - `json`: answers are text, one message each. So they are if it says nothing.
//! - `proto`: answers are binary, one message each.
//! - `bearer`, followed by a token: what `Authorization: Bearer` says, for browsers,
//!   which cannot send that. The token is never sent back. It is not taken from the
//!   query, which ends up in logs.
//!
//! The Origin of a browser must be one of `cors_origins`, or the edge's own: the
//! same-origin policy does not hold for sockets (RFC 6455, section 10.2).

use aws_lc_rs::digest;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chassis::Fault;
use contracts::mesh::v1::ErrorReason;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use tonic::body::Body;

use crate::cors::Cors;

/// What the key is answered with (RFC 6455, section 1.3).
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of a key.
const KEY_BYTES: usize = 16;
const VERSION: HeaderValue = HeaderValue::from_static("13");
const WEBSOCKET: &str = "websocket";
const BEARER: &str = "bearer";

/// How the answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Proto,
}

/// What both sides agreed on.
pub(super) struct Agreed {
    pub(super) format: Format,
    /// What the client proves who it is with, if it said so among the subprotocols.
    pub(super) authorization: Option<HeaderValue>,
    pub(super) response: Response<Body>,
}

/// Why it does not become a socket.
pub(super) enum Disagreed {
    /// There is but one version of the protocol (RFC 6455, section 4.4).
    Version(Fault),
    Other(Box<Fault>),
}

/// Whether the request asks for a socket. That is HTTP/1.1; by HTTP/2 both sides of
/// a plain request stream, and the extended CONNECT of RFC 8441 is not offered.
pub(crate) fn is_asked<B>(request: &Request<B>) -> bool {
    request.method() == Method::GET
        && request.headers().contains_key(header::UPGRADE)
        && names(request.headers(), &header::UPGRADE, WEBSOCKET)
        && names(request.headers(), &header::CONNECTION, "upgrade")
}

/// Agrees with the client on everything but the route.
pub(super) fn agree<B>(request: &Request<B>, cors: &Cors) -> Result<Agreed, Disagreed> {
    let headers = request.headers();
    if headers.get(header::SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
        let fault = Fault::invalid_argument(ErrorReason::HeaderInvalid)
            .message("there is no such version of the WebSocket protocol here")
            .violation("sec-websocket-version", "must be 13");
        return Err(Disagreed::Version(fault));
    }
    if let Some(origin) = headers.get(header::ORIGIN)
        && !cors.allows(origin)
        && !is_own(origin, request)
    {
        let fault = Fault::permission_denied(ErrorReason::AccessDenied)
            .message("pages of this origin may not open sockets here: see gateway.cors_origins");
        return Err(fault.into());
    }
    let spoken = Spoken::of(headers)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer.insert(header::UPGRADE, HeaderValue::from_static(WEBSOCKET));
    answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept(headers)?);
    if let Some(chosen) = spoken.chosen {
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(chosen));
    }
    Ok(Agreed { format: spoken.format, authorization: spoken.authorization, response })
}

/// The answer to a version that is not spoken.
pub(super) fn wrong_version(mut response: Response<Body>) -> Response<Body> {
    *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(WEBSOCKET));
    headers.insert(header::SEC_WEBSOCKET_VERSION, VERSION);
    response
}

/// What the client's key is answered with.
fn accept(headers: &HeaderMap) -> Result<HeaderValue, Fault> {
    let malformed = || {
        Fault::invalid_argument(ErrorReason::HeaderInvalid)
            .message("the key of the WebSocket handshake cannot be read")
            .violation("sec-websocket-key", "must be 16 bytes in base64")
    };
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or_else(malformed)?;
    let bytes = BASE64_STANDARD.decode(key.as_bytes()).map_err(|_| malformed())?;
    if bytes.len() != KEY_BYTES {
        return Err(malformed());
    }
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(MAGIC);
    let answer = BASE64_STANDARD.encode(hash.finish());
    HeaderValue::try_from(answer).map_err(|error| Fault::internal().because(error))
}

/// Whether a header's list has this name in it, in any case.
fn names(headers: &HeaderMap, header: &http::HeaderName, name: &str) -> bool {
    list(headers, header).any(|item| item.eq_ignore_ascii_case(name))
}

fn list<'h>(
    headers: &'h HeaderMap,
    header: &http::HeaderName,
) -> impl Iterator<Item = &'h str> + use<'h> {
    headers
        .get_all(header)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// Whether a page came from the edge itself.
fn is_own<B>(origin: &HeaderValue, request: &Request<B>) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let Some(origin) = origin.as_ref().and_then(Uri::authority) else { return false };
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    host.is_some_and(|host| host.eq_ignore_ascii_case(origin.as_str()))
}

/// What was said with the subprotocols.
struct Spoken {
    format: Format,
    authorization: Option<HeaderValue>,
    chosen: Option<&'static str>,
}

impl Spoken {
    fn of(headers: &HeaderMap) -> Result<Self, Fault> {
        let mut spoken = Self { format: Format::Json, authorization: None, chosen: None };
        let mut offered = list(headers, &header::SEC_WEBSOCKET_PROTOCOL);
        let mut format = None;
        while let Some(name) = offered.next() {
            match name {
                "json" => format = format.or(Some((Format::Json, "json"))),
                "proto" => format = format.or(Some((Format::Proto, "proto"))),
                BEARER => {
                    let token = offered.next().ok_or_else(|| {
                        Fault::invalid_argument(ErrorReason::HeaderInvalid)
                            .message("the subprotocol `bearer` is not followed by a token")
                            .violation("sec-websocket-protocol", "must be: bearer, TOKEN")
                    })?;
                    let value = HeaderValue::try_from(format!("Bearer {token}"));
                    let mut value = value.map_err(|error| Fault::internal().because(error))?;
                    value.set_sensitive(true);
                    if spoken.authorization.replace(value).is_some()
                        || headers.contains_key(header::AUTHORIZATION)
                    {
                        return Err(Fault::invalid_argument(ErrorReason::HeaderInvalid)
                            .message("the request has two tokens")
                            .violation(
                                "sec-websocket-protocol",
                                "must hold no token beside that of authorization, and one at most",
                            ));
                    }
                    spoken.chosen = Some(BEARER);
                }
                _ => {}
            }
        }
        // A browser fails the handshake unless one of what it offered is chosen.
        if let Some((format, name)) = format {
            (spoken.format, spoken.chosen) = (format, Some(name));
        }
        Ok(spoken)
    }
}

impl From<Fault> for Disagreed {
    fn from(fault: Fault) -> Self {
        Self::Other(Box::new(fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap())
            })
            .collect()
    }

    #[test]
    fn the_key_of_the_specification_has_its_answer() {
        let headers = headers(&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]);
        assert_eq!(accept(&headers).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn keys_of_another_length_are_refused() {
        for key in ["", "dGhl", "?"] {
            assert!(accept(&headers(&[("sec-websocket-key", key)])).is_err(), "{key}");
        }
        assert!(accept(&HeaderMap::new()).is_err());
    }

    #[test]
    fn subprotocols_choose_the_format_and_may_hold_a_token() {
        let cases = [
            ("", Format::Json, None, None),
            ("json", Format::Json, Some("json"), None),
            ("proto, json", Format::Proto, Some("proto"), None),
            ("graphql-ws", Format::Json, None, None),
            ("bearer, a.b-c_d", Format::Json, Some("bearer"), Some("Bearer a.b-c_d")),
            ("bearer,json,proto", Format::Proto, Some("proto"), Some("Bearer json")),
        ];
        for (offered, format, chosen, token) in cases {
            let spoken = Spoken::of(&headers(&[("sec-websocket-protocol", offered)])).unwrap();
            assert_eq!((spoken.format, spoken.chosen), (format, chosen), "{offered}");
            let authorization = spoken.authorization.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(authorization, token, "{offered}");
        }
        for offered in ["bearer", "bearer, a, bearer, b"] {
            assert!(Spoken::of(&headers(&[("sec-websocket-protocol", offered)])).is_err());
        }
        let twice = [("sec-websocket-protocol", "bearer, a"), ("authorization", "Bearer b")];
        assert!(Spoken::of(&headers(&twice)).is_err());
    }
}
