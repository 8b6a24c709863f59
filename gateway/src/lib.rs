//! The edge of the mesh: one port on which every RPC of every service answers
//! over gRPC, gRPC-Web and REST.
//!
//! The gateway knows the services by their descriptors alone. It holds no state
//! and no business rule, and no line of it names a service.
//!
//! # Layout
//! - [`config`]: the `[gateway]` table.
//! - `edge`: tells the protocols apart; CORS, limits, the pages of its own.
//! - `proxy`: hands gRPC calls to the service that owns the method.
//! - `rest`, `stream`: JSON in, gRPC through, JSON out, by the [`transcode`] library.
//! - `deadline`: how long a caller waits, whichever header says so.
//! - `compression`: codings of bodies and of messages, with a limit on what comes out.
//! - `problem`: the one JSON form of every failure.
//! - `health`: what the services say of themselves.
//! - `openapi`: the description of it all, from the same descriptors.

#[expect(dead_code, reason = "the translators that compress stand on it next")]
mod compression;
pub mod config;
mod cors;
mod deadline;
mod edge;
mod health;
pub mod openapi;
mod problem;
mod proxy;
mod rest;
mod stream;

use std::{net::SocketAddr, sync::Arc};

use chassis::{
    Contract, Error, Peers, Settings, Tasks,
    listen::{self, Protocol},
    serve::{Stack, reflection},
    service::Host,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use transcode::Schema;

pub use config::Config;

/// The name under which the gateway appears in settings, traces and metrics.
pub const NAME: &str = "gateway";

/// A gateway that runs.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    health: health::Aggregate,
    tasks: Tasks,
    shutdown: CancellationToken,
    server: tokio::task::JoinHandle<()>,
    drain_timeout: std::time::Duration,
}

/// Compiles the routes of a contract. Every problem is listed: a binding that is
/// ambiguous, unreachable or could be overridden does not start.
pub fn schema(contract: &Contract) -> Result<Schema, Error> {
    Schema::new(contract.pool()).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Error::build(format!(
            "the routes of the contracts cannot be served:\n  {}",
            problems.join("\n  ")
        ))
    })
}

/// Starts the gateway for the contracts of a host.
pub async fn start(host: &Host, settings: &Settings) -> Result<Running, Error> {
    let config: Config = settings.table(NAME)?;
    let contract = &host.contract;
    let schema = Arc::new(schema(contract)?);
    let telemetry = host.telemetry.service(NAME);
    let tasks = Tasks::new(NAME);
    // The edge has no identity of its own in the mesh: it acts for its callers.
    let peers = Peers::new(
        contract.clone(),
        telemetry.clone(),
        host.switchboard.clone(),
        settings.peers.clone(),
        Arc::new(|| None),
    );
    let health = health::Aggregate::start(contract, &peers, &tasks).await;
    let names: Vec<String> =
        contract.pool().services().map(|service| service.full_name().to_owned()).collect();
    let exposed: Vec<String> =
        names.into_iter().filter(|name| proxy::is_exposed(contract, name)).collect();
    let local = reflection(chassis::Routes::new().add(health.server()), contract, &exposed)
        .map_err(|error| {
            Error::Build("reflection cannot be served".to_owned(), Some(Box::new(error)))
        })?;
    let proxy = proxy::Proxy::new(local, contract, &peers, &exposed);
    let mut limits = settings.limits.clone();
    limits.max_in_flight = config.calls_in_flight_max;
    limits.max_request_bytes = config.body_bytes_max;
    let stack = Stack::new(contract, telemetry, limits, proxy);
    let edge = edge::Edge::new(&config, stack, schema, health.clone())?;

    let failed = |source| Error::Listen { address: config.listen.clone(), source };
    let listener = TcpListener::bind(&config.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let shutdown = CancellationToken::new();
    let metrics = host.telemetry.metrics().clone();
    let edge_bounds = listen::Config::edge();
    let connections = listen::Config {
        protocol: Protocol::Both,
        max_pending_accept_reset_streams: edge_bounds.max_pending_accept_reset_streams,
        max_connection_age: edge_bounds.max_connection_age,
        ..settings.connections.clone()
    };
    let drain_timeout = connections.drain_timeout;
    let server = {
        let shutdown = shutdown.clone();
        let serve = async move {
            listen::serve(listener, NAME, connections, &metrics, edge, shutdown).await
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the port outlives the gateway's tasks, which it drains"
        )]
        tokio::spawn(serve)
    };
    tracing::info!(%address, "the gateway is serving");
    Ok(Running { address, health, tasks, shutdown, server, drain_timeout })
}

// === impl Running ===

impl Running {
    /// Where the gateway listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether every service behind it is ready.
    pub fn is_ready(&self) -> bool {
        self.health.is_ready()
    }

    /// Says "not serving", lets open calls end and closes the port.
    pub async fn stop(self) {
        self.health.drain().await;
        self.shutdown.cancel();
        if let Err(error) = self.server.await {
            tracing::error!(%error, "the gateway's port ended badly");
        }
        self.tasks.cancel();
        self.tasks.drain(self.drain_timeout).await;
        tracing::info!("the gateway has stopped");
    }
}
