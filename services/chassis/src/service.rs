//! A service, and the one way to run it.
//!
//! [`run()`](crate::run()) is what `main` calls; [`start`] is the same thing for the mesh and for
//! tests, where many services share a [`Host`]. There is no third way.

use std::{fmt, marker::PhantomData, net::SocketAddr, sync::Arc, time::Duration};

use contracts::identity::v1::{GetJwksRequest, auth_service_client::AuthServiceClient};
use futures_util::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};
use tokio_util::sync::CancellationToken;

use crate::{
    Clock, Contract, Database, Fault, Keys, Migration, Pages, Peers, Routes, Settings, Statement,
    Tasks,
    call::{self, Call},
    channel::Switchboard,
    event,
    guard::Guard,
    keys::{MeshKey, PublicKey},
    listen::Listener,
    serve,
    settings::{self, SettingsError},
    telemetry,
};

/// How often the identity service is asked for its keys: a withdrawn one is
/// believed no longer than this.
const KEYS_PERIOD: Duration = Duration::from_secs(30);
/// How often what is old is forgotten.
const SWEEP_PERIOD: Duration = Duration::from_secs(60);
/// How long the identity service may take to say its keys.
const KEYS_PATIENCE: Duration = Duration::from_secs(2);
/// How often a service looks whether what it stands on still answers.
const HEALTH_PERIOD: Duration = Duration::from_secs(1);

/// One service of the mesh: a contract's rules and data.
pub trait Service: Send + Sync + Sized + 'static {
    /// The name: of its contract's package, its settings, its database.
    const NAME: &'static str;
    /// The schema of its database, oldest first.
    const MIGRATIONS: &'static [Migration];
    /// Every statement it sends: a test prepares each on both engines.
    const STATEMENTS: &'static [&'static [Statement]];
    /// The largest request message it takes.
    const REQUEST_BYTES_MAX: usize = 256 * 1024;
    /// Settings of its own; `()` if it has none.
    type Config: Serialize + DeserializeOwned + Default + Clone + fmt::Debug + Send + Sync + 'static;

    /// Puts it together: stores, clients, background work, and its servers.
    ///
    /// The future is boxed so that a service is compiled in its own crate, and not
    /// once more in each that starts it.
    fn build(context: Context<Self::Config>) -> Build;
}

/// A service being put together.
pub type Build = BoxFuture<'static, Result<Routes, Error>>;

/// What a service is built from.
#[derive(Debug, Clone)]
pub struct Context<C> {
    /// Settings of its own.
    pub config: C,
    /// Its database, migrated.
    pub database: Database,
    /// The time and ids.
    pub clock: Clock,
    /// The other services.
    pub peers: Peers,
    /// Work in the background.
    pub tasks: Tasks,
    /// Cursors of lists.
    pub pages: Pages,
    /// Proof of who calls.
    pub keys: Keys,
    /// The contracts.
    pub contract: Arc<Contract>,
    /// What it tells about itself.
    pub telemetry: telemetry::Telemetry,
}

/// Why a service did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The contracts are wrong.
    #[error(transparent)]
    Contract(#[from] crate::contract::ContractError),
    /// The database cannot be opened or migrated.
    #[error("the database of {service} cannot be used")]
    Store {
        /// Whose.
        service: &'static str,
        /// Why.
        #[source]
        source: crate::store::Error,
    },
    /// A port cannot be bound.
    #[error("{address} cannot be listened on")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The service could not be put together.
    #[error("{0}")]
    Build(String, #[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// Logs, traces or metrics cannot be set up.
    #[error("telemetry cannot be set up")]
    Telemetry(#[from] telemetry::Error),
}

/// What the services of one process share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Host {
    /// The contracts that are enforced.
    pub contract: Arc<Contract>,
    /// Logs, traces and metrics.
    pub telemetry: Arc<telemetry::Guard>,
    /// The services of this process, which call each other without a socket.
    pub switchboard: Switchboard,
    /// The time.
    pub clock: Clock,
    /// By which the services of the mesh know each other.
    pub mesh_key: MeshKey,
    /// Keys whose tokens count beside those of the identity service: a test's.
    pub trusted: Vec<PublicKey>,
}

/// A service that runs.
#[derive(Debug)]
pub struct Running {
    name: &'static str,
    address: SocketAddr,
    health: serve::Health,
    database: Database,
    tasks: Tasks,
    switchboard: Switchboard,
    stack: serve::Stack,
    drain_timeout: Duration,
    shutdown: CancellationToken,
    server: tokio::task::JoinHandle<()>,
}

/// A service that can be started without naming its type: what the mesh lists.
pub trait Launch: Send + Sync {
    /// The service's name.
    fn name(&self) -> &'static str;
    /// Every statement it sends.
    fn statements(&self) -> Vec<Statement>;
    /// Its migrations.
    fn migrations(&self) -> &'static [Migration];
    /// Its own settings as they would be used, for `--check`.
    fn show(&self, settings: &Settings) -> Result<String, SettingsError>;
    /// As [`start`].
    fn start<'a>(
        &'a self,
        host: &'a Host,
        settings: &'a Settings,
    ) -> BoxFuture<'a, Result<Running, Error>>;
}

struct Launcher<S>(PhantomData<fn() -> S>);

// === impl Error ===

impl Error {
    /// A service that could not be put together, and why.
    pub fn build(message: impl Into<String>) -> Self {
        Self::Build(message.into(), None)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Build(fault.to_string(), Some(Box::new(fault)))
    }
}

impl From<crate::store::Error> for Error {
    fn from(error: crate::store::Error) -> Self {
        Self::Build("its database failed".to_owned(), Some(Box::new(error)))
    }
}

// === impl Context ===

impl<C> Context<C> {
    /// Follows a peer's events, from where it left off.
    pub fn consume<H: event::Consumer>(&self, source: &'static str, consumer: H) {
        event::consume(&self.database, &self.tasks, &self.peers, source, consumer);
    }
}

// === impl Host ===

impl Host {
    /// A host as settings have it: real time, the embedded contracts.
    pub fn new(settings: &Settings, telemetry: telemetry::Guard) -> Result<Self, Error> {
        Self::with_contract(settings, telemetry, Contract::embedded()?)
    }

    /// The same for other contracts than this build's.
    pub fn with_contract(
        settings: &Settings,
        telemetry: telemetry::Guard,
        contract: Arc<Contract>,
    ) -> Result<Self, Error> {
        let mesh_key = match &settings.mesh.mesh_key_file {
            Some(file) => {
                let seed = settings::mesh_seed(file.as_ref(), false).map_err(|source| {
                    Error::Build(
                        format!("the mesh's key in {file} cannot be read"),
                        Some(source.into()),
                    )
                })?;
                MeshKey::from_seed(&seed)?
            }
            None => MeshKey::ephemeral()?,
        };
        Ok(Self {
            contract,
            telemetry: Arc::new(telemetry),
            switchboard: Switchboard::new(),
            clock: Clock::system(),
            mesh_key,
            trusted: Vec::new(),
        })
    }
}

// === start ===

/// Starts a service: opens and migrates its database, builds it, binds its port.
pub async fn start<S: Service>(host: &Host, settings: &Settings) -> Result<Running, Error> {
    let config: S::Config = settings.table(S::NAME)?;
    let telemetry = host.telemetry.service(S::NAME);
    let tasks = Tasks::new(S::NAME);
    let database = Database::open(&settings.database, S::NAME, S::MIGRATIONS, host.clock.clone())
        .await
        .map_err(|source| Error::Store { service: S::NAME, source })?;
    let keys = Keys::new(S::NAME, host.mesh_key.clone(), host.clock.clone(), &host.trusted);
    let own_token = keys.clone();
    settings.channel.check()?;
    let peers = Peers::with_config(
        host.contract.clone(),
        telemetry.clone(),
        host.switchboard.clone(),
        settings.peers.clone(),
        settings.channel.clone(),
        Arc::new(move || own_token.own_token()),
    );
    let context = Context {
        config,
        database: database.clone(),
        clock: host.clock.clone(),
        peers: peers.clone(),
        tasks: tasks.clone(),
        pages: Pages::new(&host.mesh_key.derive("pages")),
        keys: keys.clone(),
        contract: host.contract.clone(),
        telemetry: telemetry.clone(),
    };
    let feed = event::feed(&database, &tasks);
    let routes = S::build(context).await?.add(feed);
    keys.fetch_from(Arc::new(move || Box::pin(public_keys(peers.clone()))));

    let names: Vec<String> = routes.names().map(str::to_owned).collect();
    unruled(&host.contract, &names)?;
    let health = serve::Health::new(names.clone()).await;
    let routes = serve::reflection(routes.add(health.server()), &host.contract, &names).map_err(
        |error| Error::Build("reflection cannot be served".to_owned(), Some(Box::new(error))),
    )?;
    let mut limits = settings.limits.clone();
    limits.max_request_bytes = limits.max_request_bytes.max(S::REQUEST_BYTES_MAX);
    let guard = Guard::new(host.contract.clone(), keys.clone(), limits.max_request_bytes);
    let stack = serve::Stack::new(&host.contract, telemetry, limits, guard.guard(routes));

    let connections = settings.connections.clone();
    let drain_timeout = connections.drain_timeout;
    let listener = Listener::bind(&settings.listen.grpc, connections).await?;
    let bound = listener.address();
    let shutdown = CancellationToken::new();
    let metrics = host.telemetry.metrics().clone();
    let server = {
        let (stack, shutdown) = (stack.clone(), shutdown.clone());
        let serve = async move { listener.serve(S::NAME, &metrics, stack, shutdown).await };
        #[expect(
            clippy::disallowed_methods,
            reason = "the port outlives the service's tasks, which it drains"
        )]
        tokio::spawn(serve)
    };
    host.switchboard.connect(S::NAME, stack.clone());
    watch_health(&tasks, &database, &health).await;
    sweep(&tasks, &database);
    let refreshed = keys.clone();
    tasks.every("keys", KEYS_PERIOD, move || {
        let keys = refreshed.clone();
        async move { keys.refresh().await }
    });
    tracing::info!(service = S::NAME, address = %bound, database = database.engine_name(), "serving");
    Ok(Running {
        name: S::NAME,
        address: bound,
        health,
        database,
        tasks,
        switchboard: host.switchboard.clone(),
        stack,
        drain_timeout,
        shutdown,
        server,
    })
}

/// A served method without a rule would be open to anybody.
fn unruled(contract: &Contract, services: &[String]) -> Result<(), Error> {
    for service in services {
        let Some(descriptor) = contract.pool().get_service_by_name(service) else {
            return Err(Error::build(format!(
                "{service} is served, but in no contract: nothing says who may call it"
            )));
        };
        for method in descriptor.methods() {
            let path = format!("/{service}/{}", method.name());
            if contract.method(&path).is_none() {
                return Err(Error::build(format!("{path} has no access rule")));
            }
        }
    }
    Ok(())
}

async fn watch_health(tasks: &Tasks, database: &Database, health: &serve::Health) {
    health.set(database.health().await.is_ok()).await;
    let (database, health) = (database.clone(), health.clone());
    tasks.every("health", HEALTH_PERIOD, move || {
        let (database, health) = (database.clone(), health.clone());
        async move {
            let found = database.health().await;
            health.set(found.is_ok()).await;
            found
        }
    });
}

/// Forgets answers and events that nobody can ask for any more.
fn sweep(tasks: &Tasks, database: &Database) {
    let database = database.clone();
    tasks.every("sweep", SWEEP_PERIOD, move || {
        let database = database.clone();
        async move { database.sweep().await }
    });
}

/// Asks the identity service for its keys: for this service, never with the token
/// of whoever calls, which nothing vouches for yet.
pub async fn public_keys(peers: Peers) -> Result<Vec<PublicKey>, Fault> {
    let call = call::current().unwrap_or_else(|| Call::begin(KEYS_PATIENCE));
    let mut client = peers.client("identity", AuthServiceClient::new);
    let asked = client.get_jwks(GetJwksRequest {});
    let response = call::scope(Call { authorization: None, ..call }, asked).await?.into_inner();
    Ok(response.keys.into_iter().map(|key| PublicKey { kid: key.kid, x: key.x }).collect())
}

// === impl Running ===

impl Running {
    /// The service's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where its gRPC port is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it can do its work.
    pub fn health(&self) -> &serve::Health {
        &self.health
    }

    /// Its database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Says "not serving", lets open calls and tasks end, closes the database.
    /// Never takes longer than thrice the drain timeout.
    pub async fn stop(self) {
        self.health.drain().await;
        self.tasks.cancel();
        self.shutdown.cancel();
        if let Err(error) = self.server.await {
            tracing::error!(%error, service = self.name, "the port ended badly");
        }
        self.switchboard.disconnect(self.name);
        // Calls that came from this very process, which no port waits for.
        let _all_ended = tokio::time::timeout(self.drain_timeout, self.stack.idle()).await;
        self.tasks.drain(self.drain_timeout).await;
        self.database.close().await;
        tracing::info!(service = self.name, "stopped");
    }
}

// === impl Launcher ===

/// A service for the mesh's list.
pub fn launch<S: Service>() -> Box<dyn Launch> {
    Box::new(Launcher::<S>(PhantomData))
}

impl<S: Service> Launch for Launcher<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn statements(&self) -> Vec<Statement> {
        S::STATEMENTS.iter().flat_map(|statements| statements.iter().copied()).collect()
    }

    fn migrations(&self) -> &'static [Migration] {
        S::MIGRATIONS
    }

    fn show(&self, settings: &Settings) -> Result<String, SettingsError> {
        let config: S::Config = settings.table(S::NAME)?;
        let mut shown = String::new();
        settings::show_table(
            &mut shown,
            S::NAME,
            &serde_json::to_value(config).unwrap_or_default(),
        );
        Ok(shown)
    }

    fn start<'a>(
        &'a self,
        host: &'a Host,
        settings: &'a Settings,
    ) -> BoxFuture<'a, Result<Running, Error>> {
        Box::pin(start::<S>(host, settings))
    }
}
