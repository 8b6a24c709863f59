//! One instance of a peer: a few HTTP/2 connections, its breaker and its load.

use std::{
    error::Error as StdError,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use http::{Response, uri::Authority};
use hyper::rt::Executor as _;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::ServerName;
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    Config, breaker::Breaker, link::Link, load::Load, outgoing::Outgoing, stream::Arriving,
    tls::Trust,
};
use crate::{random, tls::Stream};

/// How far reconnects are spread.
const SPREAD_PERCENT: u32 = 30;
/// How often a call may find its connection gone before it was sent.
const RESENDS_MAX: usize = 3;

/// `None` while the connect is under way.
type Connected = watch::Receiver<Option<Result<(), Arc<str>>>>;

/// What a peer is called, and whether it must prove it.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) authority: Authority,
    /// The name in its certificate; none for plain text.
    pub(super) name: Option<ServerName<'static>>,
}

/// One instance of a peer.
pub(super) struct Endpoint {
    address: SocketAddr,
    target: Target,
    trust: Arc<Trust>,
    connections: Vec<Connection>,
    next: AtomicUsize,
    pub(super) breaker: Breaker,
    pub(super) load: Load,
}

/// A connection that is made when it is needed, and again when it is lost.
struct Connection {
    /// Set while it can be used; calls look here first, without a lock.
    link: Arc<ArcSwapOption<Link>>,
    state: Arc<Mutex<State>>,
}

enum State {
    /// Not connected.
    Idle,
    /// Somebody is at it.
    Connecting(Connected),
    /// It failed so often in a row; nobody tries again before then.
    Failed { times: u32, not_before: Instant, error: Arc<str> },
}

/// Why a call could not be made, or not to its end.
#[derive(Debug)]
pub(super) struct Broken {
    /// One sentence fragment.
    pub(super) error: Arc<str>,
    /// The peer has not begun with it: it can go elsewhere, whatever its method.
    pub(super) is_unprocessed: bool,
    /// Whether this is the first to hear of it: many calls break with one
    /// connection, and that is one failure.
    pub(super) is_news: bool,
}

// === impl Endpoint ===

impl Endpoint {
    pub(super) fn new(
        address: SocketAddr,
        target: Target,
        trust: Arc<Trust>,
        config: &Config,
        breaker: Breaker,
    ) -> Self {
        let connections =
            (0..config.connections_per_endpoint.max(1)).map(|_| Connection::new()).collect();
        Self {
            address,
            target,
            trust,
            connections,
            next: AtomicUsize::new(0),
            breaker,
            load: Load::new(),
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Sends a request and waits for the head of the answer.
    pub(super) async fn send(
        &self,
        config: &Config,
        outgoing: &mut Outgoing,
    ) -> Result<Response<Arriving>, Broken> {
        let mut resends = 0;
        loop {
            let link = match self.link(config).await {
                Ok(link) => link,
                Err(error) => return Err(Broken { error, is_unprocessed: true, is_news: true }),
            };
            let failed = match link.send(outgoing, &self.target).await {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            // A stream may fail on a connection that goes on.
            let is_news = (failed.is_lost || link.is_closed()) && self.forget(&link);
            if !failed.is_unprocessed || resends >= RESENDS_MAX {
                let error = chain("the connection broke", &failed.error);
                return Err(Broken { error, is_unprocessed: failed.is_unprocessed, is_news });
            }
            resends += 1;
        }
    }

    /// A usable connection: one that is there, or else the first that gets there.
    async fn link(&self, config: &Config) -> Result<Arc<Link>, Arc<str>> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.connections.len();
        let mut wanted: Option<&Connection> = None;
        for turn in 0..count {
            let Some(connection) = self.connections.get((first.wrapping_add(turn)) % count) else {
                continue;
            };
            if let Some(link) = connection.usable() {
                if let Some(missing) = wanted {
                    // Go on with this one, and get that one back meanwhile.
                    let _later = missing.connect(self, config);
                }
                return Ok(link);
            }
            wanted.get_or_insert(connection);
        }
        let connection = wanted.ok_or("there is no connection")?;
        let mut connected = connection.connect(self, config)?;
        let outcome = match connected.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_closed) => None,
        };
        match outcome {
            Some(Ok(())) => connection
                .usable()
                .ok_or_else(|| Arc::from("the connection was lost as soon as it was made")),
            Some(Err(error)) => Err(error),
            None => Err(Arc::from("the connect was given up")),
        }
    }

    /// Lets nobody use this connection again. Says whether anybody still would have.
    fn forget(&self, link: &Arc<Link>) -> bool {
        self.connections.iter().any(|connection| {
            let held = connection.link.compare_and_swap(link, None);
            held.as_ref().is_some_and(|held| Arc::ptr_eq(held, link))
        })
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("address", &self.address).finish_non_exhaustive()
    }
}

// === impl Connection ===

impl Connection {
    fn new() -> Self {
        Self { link: Arc::default(), state: Arc::new(Mutex::new(State::Idle)) }
    }

    fn usable(&self) -> Option<Arc<Link>> {
        self.link.load_full().filter(|link| !link.is_closed())
    }

    /// Begins to connect unless somebody is at it, or it failed just now.
    fn connect(&self, to: &Endpoint, config: &Config) -> Result<Connected, Arc<str>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let times = match &*state {
            State::Connecting(connected)
                if connected.borrow().is_none() && connected.has_changed().is_ok() =>
            {
                return Ok(connected.clone());
            }
            State::Connecting(connected) if self.usable().is_some() => return Ok(connected.clone()),
            State::Failed { not_before, error, .. } if Instant::now() < *not_before => {
                return Err(Arc::clone(error));
            }
            State::Failed { times, .. } => *times,
            State::Idle | State::Connecting(_) => 0,
        };
        let (told, connected) = watch::channel(None);
        *state = State::Connecting(connected.clone());
        drop(state);
        let (link, state, config) =
            (Arc::clone(&self.link), Arc::clone(&self.state), config.clone());
        let address = to.address;
        let security = to.target.name.clone().map(|name| (name, Arc::clone(&to.trust)));
        // A task of its own: it must not end with the call that wanted it first.
        TokioExecutor::new().execute(async move {
            let outcome = match establish(address, security, &config).await {
                Ok(made) => {
                    link.store(Some(Arc::new(made)));
                    Ok(())
                }
                Err(error) => {
                    let times = times.saturating_add(1);
                    let backoff = config.reconnect_backoff.saturating_mul(1 << times.min(10));
                    let backoff =
                        random::jitter(backoff.min(config.reconnect_backoff_max), SPREAD_PERCENT);
                    let failed = State::Failed {
                        times,
                        not_before: Instant::now() + backoff,
                        error: Arc::clone(&error),
                    };
                    *state.lock().unwrap_or_else(PoisonError::into_inner) = failed;
                    Err(error)
                }
            };
            let _nobody_waits = told.send(Some(outcome));
        });
        Ok(connected)
    }
}

async fn establish(
    address: SocketAddr,
    security: Option<(ServerName<'static>, Arc<Trust>)>,
    config: &Config,
) -> Result<Link, Arc<str>> {
    let connect = async {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| chain("it cannot be reached", &error))?;
        stream.set_nodelay(true).map_err(|error| chain("it cannot be reached", &error))?;
        let stream: Stream = match security {
            None => stream.into(),
            Some((name, trust)) => trust.connect(stream, name).await.map_err(Arc::<str>::from)?,
        };
        Link::connect(stream, config)
            .await
            .map_err(|error| chain("it does not speak HTTP/2", &error))
    };
    timeout(config.connect_timeout, connect).await.map_err(|_elapsed| {
        Arc::<str>::from(format!(
            "no connection within {}",
            crate::duration::format(&config.connect_timeout)
        ))
    })?
}

fn chain(what: &str, error: &(dyn StdError + 'static)) -> Arc<str> {
    let mut text = format!("{what}: {error}");
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    Arc::from(text)
}

/// How long a failed call weighs on the balance: far more than any answer.
pub(super) const PENALTY: Duration = Duration::from_secs(2);
