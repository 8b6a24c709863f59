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
use http::{
    Request, Response, Uri,
    uri::{Authority, PathAndQuery, Scheme},
};
use hyper::{body::Incoming, client::conn::http2, rt::Executor as _};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, timeout},
};
use tonic::body::Body;

use super::{Config, breaker::Breaker, load::Load, tls::Trust};
use crate::{random, tls::Stream};

/// How far reconnects are spread.
const SPREAD_PERCENT: u32 = 30;
/// How often a call may find its connection gone before it was sent.
const RESENDS_MAX: usize = 3;

type Sender = http2::SendRequest<Body>;
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
    sender: Arc<ArcSwapOption<Sender>>,
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
    /// The request, if it never left: it can go elsewhere, whatever its method.
    pub(super) unsent: Option<Request<Body>>,
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
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Broken> {
        let mut request = request;
        self.address_it(&mut request);
        let mut resends = 0;
        loop {
            let sender = match self.sender(config).await {
                Ok(sender) => sender,
                Err(error) => return Err(Broken { error, unsent: Some(request), is_news: true }),
            };
            match Sender::clone(&sender).try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(mut error) => {
                    let unsent = error.take_message();
                    let error = chain("the connection broke", error.error());
                    // A stream may fail on a connection that goes on.
                    let is_lost = unsent.is_some() || sender.is_closed();
                    let is_news = is_lost && self.forget(&sender);
                    match unsent {
                        Some(unsent) if resends < RESENDS_MAX => {
                            resends += 1;
                            request = unsent;
                        }
                        unsent => return Err(Broken { error, unsent, is_news }),
                    }
                }
            }
        }
    }

    /// Gives the request the absolute target that HTTP/2 wants.
    fn address_it(&self, request: &mut Request<Body>) {
        let mut target = http::uri::Parts::default();
        let is_secure = self.target.name.is_some();
        target.scheme = Some(if is_secure { Scheme::HTTPS } else { Scheme::HTTP });
        target.authority = Some(self.target.authority.clone());
        target.path_and_query = Some(
            request
                .uri()
                .path_and_query()
                .cloned()
                .unwrap_or_else(|| PathAndQuery::from_static("/")),
        );
        // All three are there, so it is a URI.
        *request.uri_mut() = Uri::from_parts(target).unwrap_or_default();
        *request.version_mut() = http::Version::HTTP_2;
    }

    /// A usable connection: one that is there, or else the first that gets there.
    async fn sender(&self, config: &Config) -> Result<Arc<Sender>, Arc<str>> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.connections.len();
        let mut wanted: Option<&Connection> = None;
        for turn in 0..count {
            let Some(connection) = self.connections.get((first.wrapping_add(turn)) % count) else {
                continue;
            };
            if let Some(sender) = connection.usable() {
                if let Some(missing) = wanted {
                    // Go on with this one, and get that one back meanwhile.
                    let _later = missing.connect(self, config);
                }
                return Ok(sender);
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
    fn forget(&self, sender: &Arc<Sender>) -> bool {
        self.connections.iter().any(|connection| {
            let held = connection.sender.compare_and_swap(sender, None);
            held.as_ref().is_some_and(|held| Arc::ptr_eq(held, sender))
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
        Self { sender: Arc::default(), state: Arc::new(Mutex::new(State::Idle)) }
    }

    fn usable(&self) -> Option<Arc<Sender>> {
        self.sender.load_full().filter(|sender| !sender.is_closed())
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
        let (sender, state, config) =
            (Arc::clone(&self.sender), Arc::clone(&self.state), config.clone());
        let address = to.address;
        let security = to.target.name.clone().map(|name| (name, Arc::clone(&to.trust)));
        // A task of its own: it must not end with the call that wanted it first.
        TokioExecutor::new().execute(async move {
            let outcome = match establish(address, security, &config).await {
                Ok(made) => {
                    sender.store(Some(Arc::new(made)));
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
) -> Result<Sender, Arc<str>> {
    let connect = async {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| chain("it cannot be reached", &error))?;
        stream.set_nodelay(true).map_err(|error| chain("it cannot be reached", &error))?;
        let stream = match security {
            None => stream.into(),
            Some((name, trust)) => trust.connect(stream, name).await.map_err(Arc::<str>::from)?,
        };
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(config.stream_window)
            .initial_connection_window_size(config.connection_window)
            .keep_alive_interval(config.keep_alive_interval)
            .keep_alive_timeout(config.keep_alive_timeout)
            .keep_alive_while_idle(true)
            // Calls that run out of time reset their streams. That is no fault of
            // the connection, and must not end it for the other calls on it.
            .max_local_error_reset_streams(config.max_local_error_reset_streams)
            .handshake::<_, Body>(TokioIo::<Stream>::new(stream))
            .await
            .map_err(|error| chain("it does not speak HTTP/2", &error))
    };
    let (sender, connection) =
        timeout(config.connect_timeout, connect).await.map_err(|_elapsed| {
            Arc::<str>::from(format!(
                "no connection within {}",
                crate::duration::format(&config.connect_timeout)
            ))
        })??;
    TokioExecutor::new().execute(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, %address, "a connection to a peer ended with an error");
        }
    });
    Ok(sender)
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
