//! Settings of the `[gateway]` table.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use chassis::Error;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{rates, timing::ServerTiming};

/// Where the edge listens and what it lets through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address of the port. Port 0 takes any free one.
    pub listen: String,
    /// Bytes of a request's body, or of each message of a stream.
    pub body_bytes_max: usize,
    /// How long a client may take to send a message that is read before its call
    /// is made.
    #[serde(with = "chassis::duration")]
    pub request_timeout: Duration,
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
    /// A prefix that makes any header of a REST request metadata of the call, by
    /// the rest of its name: with `grpc-metadata-`, as grpc-gateway has it,
    /// `Grpc-Metadata-Tenant` is `tenant`. Empty, the default: there is none.
    pub metadata_prefix: String,
    /// Metadata of an answer that a REST client is shown as headers. Those that
    /// tell of replays and rates always are.
    pub shown_headers: Vec<String>,
    /// Bytes that a compressed request may stand for; its messages have their own bound.
    pub decoded_bytes_max: usize,
    /// How many times its own length that may be, above the first megabyte.
    pub decoded_ratio_max: usize,
    /// Parts of a form with files; the form itself has `body_bytes_max`.
    pub form_parts_max: usize,
    /// Bytes of one of its parts, but for a file that goes on to a stream.
    pub form_part_bytes_max: usize,
    /// How long the head of a streamed answer waits for the first message, so that
    /// an early failure has its HTTP status.
    #[serde(with = "chassis::duration")]
    pub stream_head_wait: Duration,
    /// Silence after which a stream of events sends a comment, so that proxies keep
    /// it open.
    #[serde(with = "chassis::duration")]
    pub sse_heartbeat: Duration,
    /// How long a browser waits before it comes back to a stream of events.
    #[serde(with = "chassis::duration")]
    pub sse_retry: Duration,
    /// How often the client of a WebSocket is asked whether it is still there.
    #[serde(with = "chassis::duration")]
    pub websocket_ping_interval: Duration,
    /// Silence after which it is not; and how long one message to it may take.
    #[serde(with = "chassis::duration")]
    pub websocket_idle_timeout: Duration,
    /// How long it may take to take leave.
    #[serde(with = "chassis::duration")]
    pub websocket_close_timeout: Duration,
    /// Pings and pongs that it may send in a second.
    pub websocket_control_frames_per_second: u32,
    /// Who is told by `Server-Timing` where the time of a request went: `never`,
    /// `staff` (users with roles) or `anyone`.
    pub server_timing: ServerTiming,
    /// When services and methods go away, for the `Sunset` header and the document:
    /// `"shop.v1.Catalog" = "2027-06-30"`, `"shop.v1.Catalog/GetProduct" = "…"`.
    pub sunsets: BTreeMap<String, String>,
    /// Writes a log line for every request.
    pub access_log: bool,
    /// Addresses and networks (`10.0.0.0/8`) of proxies before the edge, whose
    /// `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Requests that one caller may make, by what they cost.
    pub rates: rates::Config,
    /// Where the contracts come from: `embedded` in this build, `reflection` of
    /// the servers, or the path of an encoded `FileDescriptorSet`. All but the
    /// embedded ones are looked at again every `descriptor_period`, and exchanged
    /// while calls go on.
    pub descriptors: String,
    /// How often descriptors are looked at again.
    #[serde(with = "chassis::duration")]
    pub descriptor_period: Duration,
    /// Bytes of all descriptors of one server or file.
    pub descriptor_bytes_max: usize,
    /// How long a server may take to describe itself.
    #[serde(with = "chassis::duration")]
    pub reflection_timeout: Duration,
    /// How long to wait at the start for servers that do not answer yet.
    #[serde(with = "chassis::duration")]
    pub upstream_patience: Duration,
    /// gRPC servers that are not of this mesh, `host:port` or `https://host:port`,
    /// several instances of one with commas between. Empty: this mesh's services.
    pub upstreams: Vec<String>,
    /// Who may call methods whose contracts do not say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// A TOML file with a policy for each of them; see
    /// [`chassis::contract::Policies`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policies: Option<PathBuf>,
    /// A JSON Web Key Set (RFC 7517, Ed25519 keys) with the keys that sign tokens,
    /// where no identity service is asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<PathBuf>,
}

/// Who may call methods whose contracts do not say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Anyone.
    Public,
}

/// Where the contracts come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Descriptors {
    /// This build.
    Embedded,
    /// The servers.
    Reflection,
    /// A file.
    File(PathBuf),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "0.0.0.0:8080".to_owned(),
            body_bytes_max: 4 << 20,
            request_timeout: Duration::from_secs(30),
            uri_bytes_max: 8 << 10,
            response_bytes_max: 16 << 20,
            json_depth_max: 64,
            calls_in_flight_max: 4_096,
            cors_origins: vec!["*".to_owned()],
            forwarded_headers: vec!["accept-language".to_owned(), "x-request-id".to_owned()],
            metadata_prefix: String::new(),
            shown_headers: Vec::new(),
            decoded_bytes_max: 64 << 20,
            decoded_ratio_max: 100,
            form_parts_max: 100,
            form_part_bytes_max: 4 << 20,
            stream_head_wait: Duration::from_secs(1),
            sse_heartbeat: Duration::from_secs(15),
            sse_retry: Duration::from_secs(3),
            websocket_ping_interval: Duration::from_secs(20),
            websocket_idle_timeout: Duration::from_secs(60),
            websocket_close_timeout: Duration::from_secs(5),
            websocket_control_frames_per_second: 50,
            server_timing: ServerTiming::Never,
            sunsets: BTreeMap::new(),
            access_log: false,
            trusted_proxies: Vec::new(),
            rates: rates::Config::default(),
            descriptors: "embedded".to_owned(),
            descriptor_period: Duration::from_secs(10),
            descriptor_bytes_max: 16 << 20,
            reflection_timeout: Duration::from_secs(5),
            upstream_patience: Duration::from_secs(30),
            upstreams: Vec::new(),
            access: None,
            policies: None,
            jwks_file: None,
        }
    }
}

// === impl Config ===

impl Config {
    /// Where the contracts come from.
    pub fn descriptors(&self) -> Descriptors {
        match self.descriptors.as_str() {
            "" | "embedded" => Descriptors::Embedded,
            "reflection" => Descriptors::Reflection,
            file => Descriptors::File(file.into()),
        }
    }

    /// The upstreams by name, with addresses as [`chassis::Peers`] takes them. The
    /// name is the first instance's host and port.
    pub fn upstream_addresses(&self) -> Result<BTreeMap<String, String>, Error> {
        let mut found = BTreeMap::new();
        for upstream in &self.upstreams {
            let addresses: Vec<String> = upstream
                .split(',')
                .map(str::trim)
                .map(|address| match address.contains("://") {
                    true => address.to_owned(),
                    false => format!("http://{address}"),
                })
                .collect();
            let name = addresses
                .first()
                .and_then(|first| first.split("://").nth(1))
                .filter(|name| !name.is_empty())
                .ok_or_else(|| {
                    Error::build(format!(
                        "gateway.upstreams: `{upstream}` is no upstream: write HOST:PORT"
                    ))
                })?
                .to_owned();
            if found.insert(name.clone(), addresses.join(",")).is_some() {
                return Err(Error::build(format!("gateway.upstreams names {name} twice")));
            }
        }
        chassis::Peers::check(&found)
            .map_err(|error| Error::build(format!("gateway.upstreams: {error}")))?;
        Ok(found)
    }
}
