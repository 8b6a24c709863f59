//! Settings of the `[gateway]` table.

use serde::{Deserialize, Serialize};

/// Where the edge listens and what it lets through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address of the port. Port 0 takes any free one.
    pub listen: String,
    /// Bytes of a request's body.
    pub body_bytes_max: usize,
    /// Bytes of a request's path and query.
    pub uri_bytes_max: usize,
    /// Bytes of a response that is turned into JSON.
    pub response_bytes_max: usize,
    /// How deep a JSON body may nest.
    pub json_depth_max: u32,
    /// Calls in flight; further ones are refused with 429.
    pub calls_in_flight_max: usize,
    /// Origins whose pages may call from a browser; `*` is any. Tokens travel in
    /// a header, never in a cookie, so that `*` gives no page anything of another.
    pub cors_origins: Vec<String>,
    /// Headers of a REST request that become metadata of the call. Those that
    /// authenticate, trace and limit a call always do.
    pub forwarded_headers: Vec<String>,
    /// Writes a log line for every request.
    pub access_log: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "0.0.0.0:8080".to_owned(),
            body_bytes_max: 4 << 20,
            uri_bytes_max: 8 << 10,
            response_bytes_max: 16 << 20,
            json_depth_max: 64,
            calls_in_flight_max: 4_096,
            cors_origins: vec!["*".to_owned()],
            forwarded_headers: vec!["accept-language".to_owned(), "x-request-id".to_owned()],
            access_log: false,
        }
    }
}
