//! What arrived, as the suite wants it told.

use std::time::Duration;

use http::HeaderMap;
use prost::{Message, Name};
use prost_types::Any;

use crate::contracts::connectrpc::conformance::v1::{Header, conformance_payload::RequestInfo};

/// Longer timeouts are a gateway's own bound, not a client's: the suite's longest
/// is seconds, and it wants to hear of none where it sent none.
const TIMEOUT_MAX: Duration = Duration::from_secs(20);

/// The head of a call.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    headers: Vec<Header>,
    timeout: Option<Duration>,
}

// === impl Seen ===

impl Seen {
    pub(super) fn new(headers: &HeaderMap) -> Self {
        let timeout = headers
            .get("grpc-timeout")
            .and_then(|value| parse(value.as_bytes()))
            .filter(|timeout| *timeout < TIMEOUT_MAX);
        let headers = headers
            .keys()
            .map(|name| Header {
                name: name.as_str().to_owned(),
                value: headers
                    .get_all(name)
                    .iter()
                    .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                    .collect(),
            })
            .collect();
        Self { headers, timeout }
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// The head, and these requests.
    pub(super) fn info(&self, requests: Vec<Any>) -> RequestInfo {
        RequestInfo {
            request_headers: self.headers.clone(),
            timeout_ms: self.timeout.and_then(|timeout| timeout.as_millis().try_into().ok()),
            requests,
            // A gRPC server does not see how the gateway was asked.
            connect_get_info: None,
        }
    }
}

/// A message under its type's URL.
pub(super) fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// `grpc-timeout`, by the gRPC specification.
fn parse(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3_600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}
