//! The one accept loop: services, the gateway and the admin page stand on it.
//!
//! A stock server can be eaten by one connection and does not stop while a
//! hostile peer holds one. Here every bound has a name in [`Config`], every
//! connection has an end, and [`Listener::serve`] returns in time whoever is connected.

mod arriving;
mod budget;
mod connection;
mod head;
mod io;
mod requests;
mod stall;
mod tls;

use std::{
    collections::HashMap,
    convert::Infallible,
    error::Error as StdError,
    fmt,
    future::pending,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tonic::body::Body;
use tower_service::Service;

use crate::{Error, settings::SettingsError, telemetry::Metrics};
use tls::Certificates;
pub use tls::{ClientCertificate, PeerCertificates, Tls, Version};

/// How long to wait when the system has no file descriptor left to accept with.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Which protocols a port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/2 with prior knowledge only: what gRPC needs.
    #[default]
    Http2,
    /// HTTP/1.1 as well, told apart by the first bytes.
    Both,
}

/// The bounds of a port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Which protocols are spoken.
    pub protocol: Protocol,
    /// Connections open at once; further ones are closed at once.
    pub max_connections: usize,
    /// Connections open at once from one address.
    pub max_connections_per_address: usize,
    /// Whether `max_connections_per_address` holds for loopback addresses too.
    /// Off by default: a mesh on one machine is one address.
    pub limit_loopback: bool,
    /// How long a connection may stay silent after it was accepted, and how long
    /// it may take to say which protocol it speaks.
    #[serde(with = "crate::duration")]
    pub first_byte_timeout: Duration,
    /// How long the head of an HTTP/1.1 request may take from its first byte.
    #[serde(with = "crate::duration")]
    pub header_read_timeout: Duration,
    /// How long an HTTP/1.1 connection may be idle between two requests. Longer than
    /// proxies before it keep theirs, commonly a minute: whoever closes first must be
    /// who sends, or a request is lost in between.
    #[serde(with = "crate::duration")]
    pub idle_timeout: Duration,
    /// Requests open at once on one HTTP/2 connection.
    pub max_concurrent_streams: u32,
    /// Bytes of a request's headers. More of them are 431.
    pub max_header_list_size: u32,
    /// Bytes of an HTTP/2 request's headers that are read at all, so that a head which
    /// is too large is refused on its own stream. What has more is answered as well
    /// while it comes in few frames and has no more than four times as much; beyond that
    /// the connection ends, because a peer could send a head for ever.
    pub max_refused_header_list_size: u32,
    /// Streams a peer may have reset before they were accepted; more end its
    /// connection (rapid reset).
    ///
    /// Honest peers reset what runs out of time, and by the dozen when this side
    /// is slow to accept: among services a small bound would fail the calls that
    /// had time left. The edge has a small one.
    pub max_pending_accept_reset_streams: usize,
    /// Streams this side may have reset for the peer's errors.
    pub max_local_error_reset_streams: usize,
    /// HTTP/2 frames that carry no request, per second and connection: PING and
    /// SETTINGS floods end here.
    pub max_control_frames_per_second: u32,
    /// Silence after which an HTTP/2 peer is asked whether it is still there.
    #[serde(with = "crate::duration")]
    pub keep_alive_interval: Duration,
    /// How long it may take to answer that.
    #[serde(with = "crate::duration")]
    pub keep_alive_timeout: Duration,
    /// Bytes a peer may send on one stream before it must wait.
    pub stream_window: u32,
    /// Bytes a peer may send on one connection before it must wait.
    pub connection_window: u32,
    /// Bytes of an answer that are taken from its handler before the peer of an
    /// HTTP/2 stream has taken those before them.
    pub stream_send_buffer: usize,
    /// How long a peer may leave no room for what it asked for: a connection that
    /// takes nothing is closed, a stream without a window is reset.
    #[serde(with = "crate::duration")]
    pub write_stall_timeout: Duration,
    /// How long the body of a request may take for its next `body_progress_min`
    /// bytes, or its end. Streams of gRPC and Connect have a deadline instead.
    #[serde(with = "crate::duration")]
    pub body_idle_timeout: Duration,
    /// Bytes of a body that count as progress: a body may be slow, but not a byte
    /// every few seconds.
    pub body_progress_min: u64,
    /// How long what a peer still sends is read away after its connection was
    /// closed, so that it gets to read why.
    #[serde(with = "crate::duration")]
    pub linger_timeout: Duration,
    /// How old a connection gets, give or take a tenth, so that clients spread
    /// over new instances.
    #[serde(with = "crate::duration")]
    pub max_connection_age: Duration,
    /// How long the requests of an aged connection may still take.
    #[serde(with = "crate::duration")]
    pub max_connection_age_grace: Duration,
    /// How long open requests may still take when the process stops.
    #[serde(with = "crate::duration")]
    pub drain_timeout: Duration,
    /// How long a connection without requests may linger when the process stops.
    #[serde(with = "crate::duration")]
    pub drain_idle_timeout: Duration,
    /// `[connections.tls]`: TLS, and nothing but TLS. None: plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// Where a request came from: in the extensions of every request of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// When an upgraded connection should end: in the extensions of every request
/// that asks for an upgrade.
///
/// The connection keeps its place among those of its port for as long as it is
/// held, and the port waits for it no longer than `drain_timeout`.
#[derive(Debug, Clone)]
pub struct Closing(pub CancellationToken);

/// A bound port with its bounds and certificates.
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    config: Config,
    certificates: Option<Arc<Certificates>>,
}

/// What all connections of one port share.
#[derive(Debug)]
struct Port {
    config: Config,
    /// Cancelled when requests should end.
    soft: CancellationToken,
    /// Cancelled when patience is over.
    hard: CancellationToken,
    /// The places that are taken.
    places: TaskTracker,
    /// Open connections by address, where those are limited.
    by_address: Mutex<HashMap<IpAddr, usize>>,
    gauge: Gauge,
    metrics: Metrics,
    name: String,
}

/// A place among the open connections, given back when dropped.
#[derive(Debug)]
struct Place {
    port: Arc<Port>,
    address: Option<IpAddr>,
    _held: TaskTrackerToken,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            protocol: Protocol::Http2,
            max_connections: 1_024,
            max_connections_per_address: 64,
            limit_loopback: false,
            first_byte_timeout: Duration::from_secs(5),
            header_read_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(75),
            max_concurrent_streams: 128,
            max_header_list_size: 16 * 1_024,
            max_refused_header_list_size: 128 * 1_024,
            max_pending_accept_reset_streams: 1_024,
            max_local_error_reset_streams: 1_024,
            max_control_frames_per_second: 5_000,
            keep_alive_interval: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(5),
            stream_window: 1 << 20,
            connection_window: 4 << 20,
            stream_send_buffer: 64 * 1_024,
            write_stall_timeout: Duration::from_secs(30),
            body_idle_timeout: Duration::from_secs(20),
            body_progress_min: 4 * 1_024,
            linger_timeout: Duration::from_secs(1),
            max_connection_age: Duration::from_secs(5 * 60),
            max_connection_age_grace: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(15),
            drain_idle_timeout: Duration::from_secs(1),
            tls: None,
        }
    }
}

impl Config {
    /// The bounds of a port that strangers reach.
    pub fn edge() -> Self {
        Self {
            protocol: Protocol::Both,
            max_pending_accept_reset_streams: 20,
            max_connection_age: Duration::from_secs(30 * 60),
            ..Self::default()
        }
    }
}

// === impl Listener ===

impl Listener {
    /// Binds an address, and reads the certificates if there is TLS. Port 0 takes
    /// any free one.
    pub async fn bind(address: &str, config: Config) -> Result<Self, Error> {
        let certificates = certificates(&config)?;
        let failed = |source| Error::Listen { address: address.to_owned(), source };
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        Ok(Self { tcp, address, config, certificates })
    }

    /// A port that is bound already.
    pub fn over(tcp: TcpListener, config: Config) -> Result<Self, Error> {
        let certificates = certificates(&config)?;
        let address = tcp
            .local_addr()
            .map_err(|source| Error::Listen { address: "a bound port".to_owned(), source })?;
        Ok(Self { tcp, address, config, certificates })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves the port until `shutdown` is cancelled and every connection has
    /// ended, or `drain_timeout` has passed: never longer.
    pub async fn serve<S, B>(
        self,
        name: &str,
        metrics: &Metrics,
        service: S,
        shutdown: CancellationToken,
    ) where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let Self { tcp, address: _, config, certificates } = self;
        let port = Arc::new(Port {
            soft: shutdown.clone(),
            hard: CancellationToken::new(),
            places: TaskTracker::new(),
            by_address: Mutex::default(),
            gauge: metrics.connections(name),
            metrics: metrics.clone(),
            name: name.to_owned(),
            config,
        });
        let mut renewal = pin!(renew(certificates.clone()));
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                accepted = tcp.accept() => accepted,
                () = renewal.as_mut() => continue,
            };
            match accepted {
                Ok((stream, address)) => {
                    if let Some(place) = Port::admit(&port, address.ip()) {
                        let (certificates, service) = (certificates.clone(), service.clone());
                        connections.spawn(connection::run(
                            stream,
                            address,
                            place,
                            certificates,
                            service,
                        ));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, listener = port.name, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(tcp);
        connections.close();
        port.places.close();
        let all_gone = async {
            connections.wait().await;
            // Those that were upgraded are held elsewhere.
            port.places.wait().await;
        };
        if tokio::time::timeout(port.config.drain_timeout, all_gone).await.is_err() {
            tracing::warn!(
                listener = port.name,
                open = port.places.len(),
                "connections did not end in time; closing them"
            );
            port.hard.cancel();
            connections.wait().await;
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}

fn certificates(config: &Config) -> Result<Option<Arc<Certificates>>, SettingsError> {
    let read = |tls: &Tls| Certificates::read(tls.clone(), config.protocol).map(Arc::new);
    config.tls.as_ref().map(read).transpose()
}

/// Keeps certificates up to date. Never returns.
async fn renew(certificates: Option<Arc<Certificates>>) {
    match certificates {
        Some(certificates) => certificates.follow().await,
        None => pending().await,
    }
}

// === impl Port ===

impl Port {
    /// A place for one more connection, if the bounds allow it.
    fn admit(port: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        // The accept loop alone takes places.
        let open = port.places.len();
        // From here on dropping the place gives it back.
        let held = port.places.token();
        let mut place = Place { port: Arc::clone(port), address: None, _held: held };
        port.gauge.inc();
        if open >= port.config.max_connections {
            port.refused("connections").inc();
            return None;
        }
        if port.config.limit_loopback || !ip.is_loopback() {
            let mut by_address = port.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            let held = by_address.entry(ip).or_default();
            if *held >= port.config.max_connections_per_address {
                port.refused("connections_per_address").inc();
                return None;
            }
            *held += 1;
            place.address = Some(ip);
        }
        Some(place)
    }

    fn refused(&self, cause: &str) -> Counter {
        self.metrics.connections_refused(&self.name, cause)
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        self.port.gauge.dec();
        let Some(ip) = self.address else { return };
        let mut by_address = self.port.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = by_address.get_mut(&ip) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                by_address.remove(&ip);
            }
        }
    }
}
