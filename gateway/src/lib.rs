//! The edge of the mesh: one port on which every RPC of every service answers
//! over gRPC, gRPC-Web, Connect and REST.
//!
//! The gateway knows the services by their descriptors alone. It holds no state
//! and no business rule, and no line of it names a service.
//!
//! # Layout
//! - [`config`]: the `[gateway]` table.
//! - `edge`: tells the protocols apart; CORS, limits, the pages of its own.
//! - `serving`: what is served now, exchanged whole when the contracts change.
//! - `learn`: contracts from this build, a file, or the servers' reflection.
//! - `proxy`: hands gRPC calls to the service that owns the method.
//! - `rates`: how often one caller may call. `timing`: where the time of a call went.
//! - `rest`, `streams`: JSON in, gRPC through, JSON out, by the [`transcode`] library.
//! - `http_body`: content of any type, as a whole, in parts, in pieces and in forms.
//! - `websocket`: streams for whoever cannot stream by HTTP.
//! - `deadline`: how long a caller waits, whichever header says so.
//! - `grpc`, `web`, `connect`: the protocols of calls, which differ in their heads
//!   and ends; `frame`: the messages between, as bytes; `metadata`: the headers.
//! - `coding`: which of them plain HTTP uses, by what a client takes and sends.
//! - `compression`: codings of bodies and of messages, with a limit on what comes out.
//! - `problem`: the one JSON form of every failure.
//! - `health`: what the services say of themselves.
//! - [`openapi`]: the description of it all, from the same descriptors.
//! - `docs`: the pages that show it.

mod coding;
mod compression;
pub mod config;
mod connect;
mod cors;
mod deadline;
mod docs;
mod edge;
mod frame;
mod grpc;
mod health;
mod http_body;
mod learn;
mod metadata;
pub mod openapi;
mod problem;
mod proxy;
pub mod rates;
mod rest;
mod serving;
mod streams;
mod timing;
mod web;
mod websocket;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use chassis::{
    Contract, Error, Fault, Keys, Settings, Tasks,
    keys::PublicKey,
    listen::{self, Listener, Protocol},
    serve::Stack,
    service::Host,
};
use tokio_util::sync::CancellationToken;
use transcode::Schema;

pub use config::Config;
use learn::{Learned, Teacher};
pub use rest::Sunsets;
use serving::{Maker, Serving};
pub use timing::ServerTiming;

/// The name under which the gateway appears in settings, traces and metrics.
pub const NAME: &str = "gateway";

/// How often callers who have all of their allowance are forgotten.
const FORGET_PERIOD: Duration = Duration::from_secs(30);
/// How often the keys of tokens are asked for again.
const KEYS_PERIOD: Duration = Duration::from_secs(30);
/// How long to wait before an upstream that was not there is asked again.
const LEARN_PAUSE: Duration = Duration::from_millis(250);

/// A gateway that runs.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    serving: Arc<ArcSwap<Serving>>,
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

/// Starts the gateway for the contracts of a host, or for those of the upstreams
/// that its settings name.
pub async fn start(host: &Host, settings: &Settings) -> Result<Running, Error> {
    let config: Config = settings.table(NAME)?;
    settings.channel.check()?;
    let tasks = Tasks::new(NAME);
    let teacher = Teacher::new(&config, host)?;
    let keys = keys(&config, host)?;
    let health = health::Aggregate::new();
    let mut limits = settings.limits.clone();
    limits.max_in_flight = config.calls_in_flight_max;
    limits.max_request_bytes = config.body_bytes_max;
    let mut addresses = settings.peers.clone();
    addresses.extend(teacher.upstreams().clone());
    let rates = Arc::new(rates::Rates::new(&config.rates));
    let maker = Maker {
        config: config.clone(),
        host: host.clone(),
        limits,
        head_bytes: settings.connections.max_header_list_size,
        addresses,
        channel: settings.channel.clone(),
        keys: keys.clone(),
        health: health.clone(),
        rates: Arc::clone(&rates),
        sunsets: Sunsets::read(&config.sunsets)?,
    };
    let learned = learn_at_start(&teacher, &maker).await?;
    let serving = Arc::new(ArcSwap::from_pointee(maker.make(&learned)?));
    health.start(&tasks).await;
    tasks.every("keys", KEYS_PERIOD, move || {
        let keys = keys.clone();
        async move { keys.refresh().await }
    });
    tasks.every("rates", FORGET_PERIOD, move || {
        rates.forget();
        std::future::ready(Ok::<(), Fault>(()))
    });
    let edge = edge::Edge::new(&config, Arc::clone(&serving), health.clone(), &tasks)?;
    if teacher.is_live() {
        let period = config.descriptor_period;
        let serving = Arc::clone(&serving);
        follow(&tasks, period, Follower { teacher, maker, learned, refused: None, serving });
    }

    let edge_bounds = listen::Config::edge();
    let connections = listen::Config {
        protocol: Protocol::Both,
        max_pending_accept_reset_streams: edge_bounds.max_pending_accept_reset_streams,
        max_connection_age: edge_bounds.max_connection_age,
        ..settings.connections.clone()
    };
    let drain_timeout = connections.drain_timeout;
    let listener = Listener::bind(&config.listen, connections).await?;
    let address = listener.address();
    let shutdown = CancellationToken::new();
    let metrics = host.telemetry.metrics().clone();
    let server = {
        let shutdown = shutdown.clone();
        let serve = async move { listener.serve(NAME, &metrics, edge, shutdown).await };
        #[expect(
            clippy::disallowed_methods,
            reason = "the port outlives the gateway's tasks, which it drains"
        )]
        tokio::spawn(serve)
    };
    tracing::info!(%address, "the gateway is serving");
    Ok(Running { address, serving, health, tasks, shutdown, server, drain_timeout })
}

/// The keys that callers' tokens are verified with.
fn keys(config: &Config, host: &Host) -> Result<Keys, Error> {
    let mut trusted = host.trusted.clone();
    if let Some(file) = &config.jwks_file {
        let unusable = |why: Box<dyn std::error::Error + Send + Sync>| {
            Error::Build(format!("gateway.jwks_file: {} cannot be used", file.display()), Some(why))
        };
        let text = std::fs::read(file).map_err(|error| unusable(error.into()))?;
        let set: KeySet = serde_json::from_slice(&text).map_err(|error| unusable(error.into()))?;
        trusted.extend(set.keys.into_iter().map(|key| PublicKey { kid: key.kid, x: key.x }));
    }
    let keys = Keys::new(NAME, host.mesh_key.clone(), host.clock.clone(), &trusted);
    if !config.upstreams.is_empty() {
        // There is no identity service to ask: the file's keys are all there are.
        keys.fetch_from(Arc::new(|| Box::pin(std::future::ready(Ok(Vec::new())))));
    }
    Ok(keys)
}

/// A JSON Web Key Set, as far as it is read.
#[derive(serde::Deserialize)]
struct KeySet {
    keys: Vec<Key>,
}

#[derive(serde::Deserialize)]
struct Key {
    kid: String,
    x: String,
}

/// Waits for upstreams that are not there yet.
async fn learn_at_start(teacher: &Teacher, maker: &Maker) -> Result<Learned, Error> {
    let peers = maker.peers(&maker.host.contract);
    let give_up = tokio::time::Instant::now() + maker.config.upstream_patience;
    loop {
        match teacher.learn(&peers).await {
            Err(error) if tokio::time::Instant::now() + LEARN_PAUSE < give_up => {
                tracing::warn!(%error, "the contracts cannot be learned yet");
                tokio::time::sleep(LEARN_PAUSE).await;
            }
            learned => return learned,
        }
    }
}

/// Follows the contracts as they change.
struct Follower {
    teacher: Teacher,
    maker: Maker,
    learned: Learned,
    /// What was refused last, so that it is told once.
    refused: Option<Learned>,
    serving: Arc<ArcSwap<Serving>>,
}

fn follow(tasks: &Tasks, period: Duration, follower: Follower) {
    let follower = Arc::new(tokio::sync::Mutex::new(follower));
    tasks.every("descriptors", period, move || {
        let follower = Arc::clone(&follower);
        async move { follower.lock().await.look().await }
    });
}

impl Follower {
    /// Looks once, and serves what is new if no client breaks by it.
    async fn look(&mut self) -> Result<(), Error> {
        let peers = self.maker.peers(&self.learned.contract);
        let Some(learned) = self.teacher.learn_again(&peers, &self.learned).await? else {
            self.refused = None;
            return Ok(());
        };
        if self.refused.as_ref().is_some_and(|refused| refused.is_same(&learned)) {
            return Ok(());
        }
        let breaks = learn::breaks(&self.learned.contract, &learned.contract);
        if !breaks.is_empty() {
            for problem in &breaks {
                tracing::error!(%problem, "the new contracts would break clients and are refused");
            }
            self.refused = Some(learned);
            return Ok(());
        }
        match self.maker.make(&learned) {
            Ok(serving) => {
                self.serving.store(Arc::new(serving));
                self.learned = learned;
                self.refused = None;
                tracing::info!("the contracts changed: the new ones are served");
            }
            Err(error) => {
                tracing::error!(%error, "the new contracts cannot be served and are refused");
                self.refused = Some(learned);
            }
        }
        Ok(())
    }
}

// === impl Running ===

impl Running {
    /// Where the gateway listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it hands gRPC calls to, for callers in this process: they need no
    /// port, nor TLS to it.
    pub fn stack(&self) -> Stack {
        self.serving.load().stack.clone()
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
