//! What a test stands on: a service over a real socket with a fresh database,
//! peers that the test fakes, callers of every kind, and a clock to turn.
//!
//! ```ignore
//! let shop = testkit::service::<Catalog>().start().await;
//! let mut products = ProductServiceClient::new(shop.as_staff(&["catalog.products.write"]));
//! ```
//!
//! Databases are SQLite files that vanish with the test. With the environment
//! variable `MERCAT_TEST_POSTGRES` (the address of a server on which databases
//! may be made) the same tests run on PostgreSQL.
#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed, and says why")]

mod caller;
mod database;
mod wait;

use std::{
    collections::BTreeMap,
    fmt,
    marker::PhantomData,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use chassis::{
    Clock, Contract, Fault, Keys, Peers, Routes, Service, Settings,
    channel::Switchboard,
    keys::{MeshKey, SigningKey},
    serve::{Limits, Stack},
    service::{Host, Running},
    telemetry,
};
use serde::Serialize;
use tempfile::TempDir;
use tonic::Status;

pub use caller::{As, token};
pub use database::{fresh as fresh_database, postgres_url};
pub use wait::{eventually, exactly_one_ok};

/// Describes the service under test.
pub struct Builder<S: Service> {
    settings: Settings,
    peers: BTreeMap<&'static str, Routes>,
    clock: Clock,
    contract: Option<Arc<Contract>>,
    service: PhantomData<fn() -> S>,
}

/// A service that runs for a test.
pub struct Fixture<S: Service> {
    /// The service's clock, which stands still until it is advanced.
    pub clock: Clock,
    host: Host,
    settings: Settings,
    running: Option<Running>,
    signing: SigningKey,
    folder: TempDir,
    service: PhantomData<fn() -> S>,
}

/// Begins to describe the service under test.
pub fn service<S: Service>() -> Builder<S> {
    let mut settings = Settings::default();
    settings.listen.grpc = "127.0.0.1:0".to_owned();
    Builder {
        settings,
        peers: BTreeMap::new(),
        clock: Clock::fake(),
        contract: None,
        service: PhantomData,
    }
}

/// The reason in a refusal's `ErrorInfo`.
pub fn reason(status: &Status) -> String {
    Fault::from_status(status).reason().to_owned()
}

/// The fields that a refusal names.
pub fn fields(status: &Status) -> Vec<String> {
    Fault::from_status(status)
        .violations()
        .iter()
        .map(|violation| violation.field.clone())
        .collect()
}

/// A new id of the form every `request_id` has.
pub fn request_id() -> String {
    static CLOCK: OnceLock<Clock> = OnceLock::new();
    CLOCK.get_or_init(Clock::system).id()
}

// === impl Builder ===

impl<S: Service> Builder<S> {
    /// Sets the service's own settings.
    #[must_use]
    pub fn config(mut self, config: impl Serialize) -> Self {
        let table = serde_json::to_value(config).expect("the settings can be written");
        self.settings.set_table(S::NAME, table);
        self
    }

    /// Changes the settings that every service has.
    #[must_use]
    pub fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Puts a fake in the place of a peer: generated servers that the test implements.
    #[must_use]
    pub fn peer(mut self, name: &'static str, routes: Routes) -> Self {
        self.peers.insert(name, routes);
        self
    }

    /// Lets real time pass for the service.
    #[must_use]
    pub fn real_time(mut self) -> Self {
        self.clock = Clock::system();
        self
    }

    /// Serves another contract than the embedded one.
    #[must_use]
    pub fn contract(mut self, contract: Arc<Contract>) -> Self {
        self.contract = Some(contract);
        self
    }

    /// Starts the service on a free port and a fresh database.
    pub async fn start(self) -> Fixture<S> {
        let folder = tempfile::tempdir().expect("a folder for the test's files");
        let mut settings = self.settings;
        settings.database = database::fresh(folder.path());
        let signing = SigningKey::generate().expect("a key for the test's tokens");
        let contract = match self.contract {
            Some(contract) => contract,
            None => Contract::embedded().expect("the contracts can be enforced"),
        };
        let host = Host {
            contract,
            telemetry: Arc::new(telemetry::Guard::new(&telemetry::Config::default())),
            switchboard: Switchboard::new(),
            clock: self.clock.clone(),
            mesh_key: MeshKey::ephemeral().expect("a key for the test's mesh"),
            trusted: vec![signing.public().clone()],
        };
        for (name, routes) in self.peers {
            let stack =
                Stack::new(&host.contract, host.telemetry.service(name), Limits::default(), routes);
            host.switchboard.connect(name, stack);
        }
        let running = chassis::start::<S>(&host, &settings).await.expect("the service starts");
        Fixture {
            clock: self.clock,
            host,
            settings,
            running: Some(running),
            signing,
            folder,
            service: PhantomData,
        }
    }
}

impl<S: Service> fmt::Debug for Builder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("service", &S::NAME).finish_non_exhaustive()
    }
}

// === impl Fixture ===

impl<S: Service> Fixture<S> {
    /// Where the service's gRPC port is.
    pub fn address(&self) -> SocketAddr {
        self.running().address()
    }

    /// The service as it runs.
    pub fn running(&self) -> &Running {
        self.running.as_ref().expect("the service runs")
    }

    /// The folder of the test's files.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// What the service shares with its fakes.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Puts another fake in the place of a peer, or the first.
    pub fn set_peer(&self, name: &'static str, routes: Routes) {
        let stack = Stack::new(
            &self.host.contract,
            self.host.telemetry.service(name),
            Limits::default(),
            routes,
        );
        self.host.switchboard.connect(name, stack);
    }

    /// Sets the service's own settings for when it is started again.
    pub fn set_config(&mut self, config: impl Serialize) {
        let table = serde_json::to_value(config).expect("the settings can be written");
        self.settings.set_table(S::NAME, table);
    }

    /// Changes the service's own settings; they hold from the next start.
    pub fn configure(&mut self, config: impl Serialize) {
        let table = serde_json::to_value(config).expect("the settings can be written");
        self.settings.set_table(S::NAME, table);
    }

    /// Stops the service and starts it again on the same database.
    pub async fn restart(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
        self.running = Some(
            chassis::start::<S>(&self.host, &self.settings)
                .await
                .expect("the service starts again"),
        );
    }

    /// Stops the service in good order.
    pub async fn stop(mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    /// Somebody without a token.
    pub fn anonymous(&self) -> As {
        self.caller(None, None)
    }

    /// A guest with this id.
    pub fn as_guest(&self, id: &str) -> As {
        self.caller(Some(self.token(id, chassis::keys::Kind::Guest, &[])), None)
    }

    /// A customer with this id.
    pub fn as_customer(&self, id: &str) -> As {
        self.caller(Some(self.token(id, chassis::keys::Kind::Customer, &[])), None)
    }

    /// Somebody of the staff with these permissions.
    pub fn as_staff(&self, permissions: &[&str]) -> As {
        self.caller(Some(self.token("staff", chassis::keys::Kind::Staff, permissions)), None)
    }

    /// Whoever holds this token.
    pub fn with_token(&self, token: &str) -> As {
        self.caller(Some(token.to_owned()), None)
    }

    /// A peer service, for itself.
    pub fn as_service(&self, name: &str) -> As {
        self.caller(None, Some(name))
    }

    /// A peer service, on behalf of a customer.
    pub fn as_service_for(&self, name: &str, customer: &str) -> As {
        self.caller(Some(self.token(customer, chassis::keys::Kind::Customer, &[])), Some(name))
    }

    /// A user's token as the service accepts it, good for 15 minutes.
    pub fn token(&self, id: &str, kind: chassis::keys::Kind, permissions: &[&str]) -> String {
        caller::token(&self.signing, &self.clock, id, kind, permissions)
    }

    fn caller(&self, token: Option<String>, service: Option<&str>) -> As {
        let keys = service
            .map(|name| Keys::new(name, self.host.mesh_key.clone(), self.clock.clone(), &[]));
        let peers = Peers::new(
            self.host.contract.clone(),
            telemetry::Telemetry::off("test"),
            // An empty switchboard: every call of a test crosses a real socket.
            Switchboard::new(),
            BTreeMap::from([(S::NAME.to_owned(), format!("http://{}", self.address()))]),
            Arc::new(move || keys.as_ref().and_then(Keys::own_token)),
        );
        As::new(peers.channel(S::NAME), token)
    }
}

impl<S: Service> fmt::Debug for Fixture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture").field("service", &S::NAME).finish_non_exhaustive()
    }
}
