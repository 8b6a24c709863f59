//! Other gateways as processes in front of a server: Envoy with its gRPC-JSON
//! transcoder, and grpc-gateway.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Stdio,
    time::Duration,
};

use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a process takes to end that has crashed.
const DEATH: Duration = Duration::from_secs(5);

/// Runs until it is dropped.
#[derive(Debug)]
pub struct Other {
    address: SocketAddr,
    process: Child,
}

// === impl Other ===

impl Other {
    /// Starts Envoy's program before a server that serves what a file describes.
    pub async fn envoy(
        program: &Path,
        upstream: SocketAddr,
        descriptors: &str,
        service: &str,
    ) -> io::Result<Self> {
        let address = free().await?;
        let config = config(address, upstream, descriptors, service);
        let mut command = Command::new(program);
        command.args(["--config-yaml", &config.to_string()]).args([
            "--log-level",
            "error",
            "--concurrency",
            "1",
            "--disable-hot-restart",
        ]);
        Self::start(command, address).await
    }

    /// Starts a program of grpc-gateway, which was built for the contracts.
    pub async fn grpc_gateway(program: &Path, upstream: SocketAddr) -> io::Result<Self> {
        let address = free().await?;
        let mut command = Command::new(program);
        command.args([address.to_string(), upstream.to_string()]);
        Self::start(command, address).await
    }

    async fn start(mut command: Command, address: SocketAddr) -> io::Result<Self> {
        let mut process =
            command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn()?;
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).await.is_err() {
            if let Some(status) = process.try_wait()? {
                return Err(io::Error::other(format!("{command:?} ended with {status}")));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("{command:?} does not listen")));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(Self { address, process })
    }

    /// Whether it has ended, now that it gave no answer: there are requests that
    /// end it.
    pub async fn has_ended(&mut self) -> bool {
        timeout(DEATH, self.process.wait()).await.is_ok()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// An address that nobody listens on.
async fn free() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()
}

/// As near to ours as Envoy can be set: unknown parameters and methods are
/// refused, `+` is a space, methods without a binding answer at their path.
fn config(
    address: SocketAddr,
    upstream: SocketAddr,
    descriptors: &str,
    service: &str,
) -> serde_json::Value {
    let socket = |address: SocketAddr| json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}});
    let of = |kind: &str| format!("type.googleapis.com/envoy.extensions.{kind}");
    let manager = json!({
        "@type": of("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "edge",
        "route_config": {"virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}],
        }]},
        "http_filters": [
            {"name": "transcoder", "typed_config": {
                "@type": of("filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder"),
                "proto_descriptor": descriptors,
                "services": [service],
                "auto_mapping": true,
                "convert_grpc_status": true,
                "url_unescape_spec": "ALL_CHARACTERS_EXCEPT_SLASH",
                "query_param_unescape_plus": true,
                "request_validation_options": {
                    "reject_unknown_method": true,
                    "reject_unknown_query_parameters": true,
                    "reject_binding_body_field_collisions": true,
                },
            }},
            {"name": "router", "typed_config": {"@type": of("filters.http.router.v3.Router")}},
        ],
    });
    json!({"static_resources": {
        "listeners": [{
            "address": socket(address),
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        }],
        "clusters": [{
            "name": "upstream",
            "type": "STATIC",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": of("upstreams.http.v3.HttpProtocolOptions"),
                    "explicit_http_config": {"http2_protocol_options": {}},
                },
            },
            "load_assignment": {
                "cluster_name": "upstream",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(upstream)}}]}],
            },
        }],
    }})
}
