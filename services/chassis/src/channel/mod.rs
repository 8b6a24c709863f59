//! The client stack: what every call passes on its way to a peer, whether that
//! runs in this process or elsewhere.
//!
//! [`Peers`] makes a [`Channel`] for a peer by its name, and generated clients
//! stand on that. A call is given a deadline that is shorter than its own
//! call's, the trace, the caller's token and this service's identity. If the
//! peer is on the [`Switchboard`] it is handed over; else it goes to the less
//! loaded of two instances that answer. What is safe to make again is made
//! again, within a budget.

mod abandoned;
mod answer;
mod breaker;
mod budget;
mod discovery;
mod endpoint;
mod link;
mod load;
mod made;
mod outgoing;
mod peer;
mod stream;
mod switchboard;
mod tls;

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, Request, Response};
use serde::{Deserialize, Serialize};
use tonic::body::Body;
use tower_service::Service;

pub use discovery::{AddressError, PORT_DEFAULT};
use peer::Peer;
pub use switchboard::Switchboard;
pub use tls::Tls;
use tls::Trust;

use crate::{Contract, Fault, serve::Stack, settings::SettingsError, telemetry::Telemetry};

/// The header that carries the identity of the calling service.
pub const SERVICE_IDENTITY: HeaderName = HeaderName::from_static("x-mercat-service");
/// What a server is called that has no name of a service.
const SERVER: &str = "server";

/// The bounds of calls to peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What a hop keeps of its deadline, so that it can still answer when its
    /// peer could not.
    #[serde(with = "crate::duration")]
    pub deadline_overhead: Duration,
    /// How long a connect may take.
    #[serde(with = "crate::duration")]
    pub connect_timeout: Duration,
    /// Connections to one instance, so that the end of one hits a part of the calls
    /// and no core waits for another. One where there is one core: what it writes
    /// then goes out in fewer pieces.
    pub connections_per_endpoint: usize,
    /// Silence after which a peer is asked whether it is still there.
    #[serde(with = "crate::duration")]
    pub keep_alive_interval: Duration,
    /// How long it may take to answer that.
    #[serde(with = "crate::duration")]
    pub keep_alive_timeout: Duration,
    /// Bytes a peer may send on one stream before it must wait.
    pub stream_window: u32,
    /// Bytes a peer may send on one connection before it must wait.
    pub connection_window: u32,
    /// Streams this side may reset before it ends the connection: calls that run
    /// out of time must not end the connection of those that do not.
    pub max_local_error_reset_streams: usize,
    /// How long a call whose caller left may still take before it is cancelled at
    /// the peer, unless that has surely begun with it.
    #[serde(with = "crate::duration")]
    pub abandoned_patience: Duration,
    /// Such calls on one connection; further ones are cancelled at once.
    pub abandoned_max: usize,
    /// Calls on one connection that are cancelled although the peer may not have
    /// begun with them: half of the 20 at which common servers end a connection.
    pub blind_resets_max: usize,
    /// How long to wait before the second attempt to connect; it doubles.
    #[serde(with = "crate::duration")]
    pub reconnect_backoff: Duration,
    /// How long to wait before an attempt to connect at most.
    #[serde(with = "crate::duration")]
    pub reconnect_backoff_max: Duration,
    /// How old the addresses of a name get before it is resolved again.
    #[serde(with = "crate::duration")]
    pub resolve_interval: Duration,
    /// How often one call is made at most, the first time included.
    pub attempts_max: u32,
    /// Retries for every hundred calls.
    pub retry_percent: u32,
    /// Retries that may be made at once, before any were earned.
    pub retry_reserve: u32,
    /// How long to wait before the first retry; it doubles.
    #[serde(with = "crate::duration")]
    pub retry_backoff: Duration,
    /// Bytes of a request that are kept so that it can be made again.
    pub replay_bytes_max: usize,
    /// Failures in a row after which calls to an instance fail fast.
    pub breaker_failures: u32,
    /// How long they do before one is let through to see; it doubles.
    #[serde(with = "crate::duration")]
    pub breaker_open_for: Duration,
    /// How long they do at most.
    #[serde(with = "crate::duration")]
    pub breaker_open_for_max: Duration,
    /// Who makes the calls; no setting, but for whoever makes the channel to say.
    #[serde(skip)]
    pub callers: Callers,
    /// `[channel.tls]`: how peers at `https://` addresses are believed.
    pub tls: Tls,
}

/// Who makes the calls, and so what is said of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Callers {
    /// Services of the mesh, which are told the peer that failed.
    #[default]
    Services,
    /// Strangers, at the edge. A peer that is not of the mesh is called by its
    /// address, which is for the log and the trace alone.
    Strangers,
    /// Whoever wrote the address, and is told why nothing is to be had there.
    Operator,
}

/// How a service proves who it is, if it can: the value of [`SERVICE_IDENTITY`].
pub type Credential = Arc<dyn Fn() -> Option<HeaderValue> + Send + Sync>;

/// The other services, by name. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Peers(Arc<Shared>);

struct Shared {
    telemetry: Telemetry,
    contract: Arc<Contract>,
    switchboard: Switchboard,
    addresses: BTreeMap<String, String>,
    config: Config,
    trust: Arc<Trust>,
    credential: Credential,
    known: Mutex<HashMap<String, Arc<Peer>>>,
}

/// The way to one peer. Cheap to clone; all clones share connections, breaker
/// and budget.
///
/// It is what generated clients stand on. It never fails as a service: whatever
/// goes wrong is a gRPC status in a response.
#[derive(Clone)]
pub struct Channel(Arc<Peer>);

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            deadline_overhead: Duration::from_millis(5),
            connect_timeout: Duration::from_secs(1),
            connections_per_endpoint: crate::run::cores().min(2),
            keep_alive_interval: Duration::from_secs(5),
            keep_alive_timeout: Duration::from_secs(3),
            stream_window: 1 << 20,
            connection_window: 4 << 20,
            max_local_error_reset_streams: 1 << 30,
            abandoned_patience: Duration::from_millis(250),
            abandoned_max: 256,
            blind_resets_max: 10,
            reconnect_backoff: Duration::from_millis(50),
            reconnect_backoff_max: Duration::from_secs(2),
            resolve_interval: Duration::from_secs(10),
            attempts_max: 3,
            retry_percent: 10,
            retry_reserve: 10,
            retry_backoff: Duration::from_millis(10),
            replay_bytes_max: 256 * 1_024,
            breaker_failures: 5,
            breaker_open_for: Duration::from_millis(500),
            breaker_open_for_max: Duration::from_secs(5),
            callers: Callers::default(),
            tls: Tls::default(),
        }
    }
}

impl Config {
    /// Refuses certificates that cannot be used, before anybody calls.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.tls.check()
    }
}

// === impl Callers ===

impl Callers {
    /// What a peer is called before them.
    fn name(self, peer: &str) -> &str {
        match self {
            Self::Services => peer,
            Self::Strangers => "the service",
            Self::Operator => "the server",
        }
    }

    /// What they are told of why a peer could not be reached.
    fn reason(self, why: &str) -> &str {
        match self {
            // Addresses are for the log.
            Self::Services | Self::Strangers => "it could not be reached",
            Self::Operator => why,
        }
    }

    /// A fault that says which peer it was, if that is for them to know.
    fn blame(self, fault: Fault, peer: &str) -> Fault {
        match self {
            Self::Services => fault.metadata("peer", peer),
            Self::Strangers | Self::Operator => fault,
        }
    }
}

// === impl Peers ===

impl Peers {
    /// The peers of the service that this telemetry belongs to, with the usual
    /// bounds.
    ///
    /// An address is `http://host:port` or `https://host:port`, or several with
    /// commas between; a host that is a name stands for everything it resolves to,
    /// and is the name that its certificate must have. Peers without an
    /// address are looked up by their name, on port [`PORT_DEFAULT`].
    pub fn new(
        contract: Arc<Contract>,
        telemetry: Telemetry,
        switchboard: Switchboard,
        addresses: BTreeMap<String, String>,
        credential: Credential,
    ) -> Self {
        Self::with_config(
            contract,
            telemetry,
            switchboard,
            addresses,
            Config::default(),
            credential,
        )
    }

    /// As [`Peers::new`], with other bounds.
    pub fn with_config(
        contract: Arc<Contract>,
        telemetry: Telemetry,
        switchboard: Switchboard,
        addresses: BTreeMap<String, String>,
        config: Config,
        credential: Credential,
    ) -> Self {
        let known = Mutex::default();
        let trust = Arc::new(Trust::new(&config.tls));
        Self(Arc::new(Shared {
            telemetry,
            contract,
            switchboard,
            addresses,
            config,
            trust,
            credential,
            known,
        }))
    }

    /// Refuses addresses that cannot be used, before anybody calls them.
    pub fn check(addresses: &BTreeMap<String, String>) -> Result<(), AddressError> {
        addresses.iter().try_for_each(|(peer, addresses)| discovery::check(peer, addresses))
    }

    /// A generated client: `peers.client("inventory", InventoryServiceClient::new)`.
    pub fn client<C>(&self, name: &str, new: impl FnOnce(Channel) -> C) -> C {
        new(self.channel(name))
    }

    /// The way to a peer.
    pub fn channel(&self, name: &str) -> Channel {
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = known.get(name) {
            return Channel(Arc::clone(peer));
        }
        let peer = Arc::new(self.0.peer(name));
        known.insert(name.to_owned(), Arc::clone(&peer));
        Channel(peer)
    }
}

impl Shared {
    fn peer(&self, name: &str) -> Peer {
        Peer::new(
            name,
            &self.contract,
            self.telemetry.clone(),
            self.switchboard.clone(),
            self.addresses.get(name).map(String::as_str),
            self.config.clone(),
            Arc::clone(&self.trust),
            Arc::clone(&self.credential),
        )
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("addresses", &self.0.addresses).finish_non_exhaustive()
    }
}

// === impl Channel ===

impl Channel {
    /// The way to a server at one address in plain text, without an identity: for
    /// tests.
    pub fn to(contract: &Contract, address: SocketAddr) -> Self {
        let address = format!("http://{address}");
        Self::anonymous(contract, Switchboard::new(), Some(&address), Tls::default())
    }

    /// The way to a server at `http://host:port` or `https://host:port`, without an
    /// identity: for the command line.
    pub fn at(contract: &Contract, address: &str, tls: Tls) -> Result<Self, AddressError> {
        discovery::check(SERVER, address)?;
        Ok(Self::anonymous(contract, Switchboard::new(), Some(address), tls))
    }

    /// The way to a server of this process, without an identity: for what the
    /// process does on its operator's behalf.
    pub fn within(contract: &Contract, stack: Stack) -> Self {
        let switchboard = Switchboard::new();
        switchboard.connect(SERVER, stack);
        Self::anonymous(contract, switchboard, None, Tls::default())
    }

    fn anonymous(
        contract: &Contract,
        switchboard: Switchboard,
        address: Option<&str>,
        tls: Tls,
    ) -> Self {
        let trust = Arc::new(Trust::new(&tls));
        Self(Arc::new(Peer::new(
            SERVER,
            contract,
            Telemetry::off("client"),
            switchboard,
            address,
            Config { tls, callers: Callers::Operator, ..Config::default() },
            trust,
            Arc::new(|| None),
        )))
    }

    /// The name of the peer.
    pub fn peer(&self) -> &str {
        self.0.name()
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Channel").field(&self.peer()).finish()
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let peer = Arc::clone(&self.0);
        Box::pin(async move { Ok(peer.call(request).await) })
    }
}
