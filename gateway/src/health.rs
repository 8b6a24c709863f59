//! What the services say of themselves, in one place.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use chassis::{Channel, Contract, Fault, Peers, Tasks};
use tonic_health::{
    ServingStatus,
    pb::{
        HealthCheckRequest, health_check_response, health_client::HealthClient,
        health_server::HealthServer,
    },
    server::{HealthReporter, HealthService},
};

/// How often the services are asked.
const PERIOD: Duration = Duration::from_secs(1);
/// How long one may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// The services that are asked, by name.
type Watched = BTreeMap<String, Service>;

/// A service that is asked.
#[derive(Debug)]
struct Service {
    channel: Channel,
    /// The gRPC services it serves.
    grpc: Vec<String>,
    /// What it is called before strangers. An upstream that is not of the mesh goes
    /// by its address, and is told by what it serves.
    told: Vec<String>,
}

/// The health of every service, as of the last second. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Aggregate {
    reporter: HealthReporter,
    services: Arc<ArcSwap<Watched>>,
    ready: Arc<Mutex<BTreeMap<String, bool>>>,
    draining: Arc<AtomicBool>,
}

// === impl Aggregate ===

impl Aggregate {
    /// Nobody is watched yet.
    pub(crate) fn new() -> Self {
        Self {
            reporter: HealthReporter::new(),
            services: Arc::default(),
            ready: Arc::default(),
            draining: Arc::default(),
        }
    }

    /// From now on the services of this contract are those that are asked.
    pub(crate) fn watch(&self, contract: &Contract, peers: &Peers, is_foreign: bool) {
        let services: Watched = contract
            .service_names()
            .into_iter()
            .map(|name| {
                let grpc = contract.grpc_services(&name);
                let told = if is_foreign { grpc.clone() } else { vec![name.clone()] };
                let channel = peers.channel(&name);
                (name, Service { channel, grpc, told })
            })
            .collect();
        self.services.store(Arc::new(services));
        // What they said holds for the gRPC services they had.
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Asks once, and from then on again and again.
    pub(crate) async fn start(&self, tasks: &Tasks) {
        self.look().await;
        let looking = self.clone();
        tasks.every("health of the services", PERIOD, move || {
            let looking = looking.clone();
            async move {
                looking.look().await;
                Ok::<(), Fault>(())
            }
        });
    }

    /// The server, for the gateway's own port.
    pub(crate) fn server(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }

    /// Each service, and whether it is ready, for whoever asks.
    pub(crate) fn told(&self) -> BTreeMap<String, bool> {
        let services = self.services.load();
        let mut told = BTreeMap::new();
        for (name, is_ready) in self.services() {
            let names = services.get(&name).into_iter().flat_map(|service| &service.told);
            told.extend(names.map(|name| (name.clone(), is_ready)));
        }
        told
    }

    fn services(&self) -> BTreeMap<String, bool> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether all are.
    pub(crate) fn is_ready(&self) -> bool {
        let services = self.services();
        !self.draining.load(Ordering::Acquire)
            && services.len() == self.services.load().len()
            && services.values().all(|is_ready| *is_ready)
    }

    /// Says "not serving" from now on.
    pub(crate) async fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.tell("", false).await;
        for service in self.services.load_full().values() {
            for name in &service.grpc {
                self.tell(name, false).await;
            }
        }
    }

    async fn look(&self) {
        let services = self.services.load_full();
        let asked = services.iter().map(|(name, service)| async move {
            let mut client = HealthClient::new(service.channel.clone());
            let answer = tokio::time::timeout(
                PATIENCE,
                client.check(HealthCheckRequest { service: String::new() }),
            );
            let is_ready = match answer.await {
                Ok(Ok(response)) => {
                    response.get_ref().status() == health_check_response::ServingStatus::Serving
                }
                // It has no health service, but it is there.
                Ok(Err(status)) => status.code() == tonic::Code::Unimplemented,
                Err(_elapsed) => false,
            };
            (name.clone(), is_ready)
        });
        let found: BTreeMap<String, bool> =
            futures_util::future::join_all(asked).await.into_iter().collect();
        if self.draining.load(Ordering::Acquire) {
            return;
        }
        let before = self.services();
        for (name, is_ready) in &found {
            if before.get(name) == Some(is_ready) {
                continue;
            }
            if let Some(service) = services.get(name) {
                for service in &service.grpc {
                    self.tell(service, *is_ready).await;
                }
            }
        }
        let all = found.values().all(|is_ready| *is_ready);
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = found;
        self.tell("", all).await;
    }

    async fn tell(&self, name: &str, is_ready: bool) {
        let status = if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.reporter.set_service_status(name, status).await;
    }
}
