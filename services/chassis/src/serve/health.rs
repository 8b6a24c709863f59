//! `grpc.health.v1`: whether a service can do its work.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

/// What the health service of a process says. It begins as "not serving".
#[derive(Debug, Clone)]
pub struct Health {
    reporter: HealthReporter,
    /// The gRPC services it speaks of, and "" for the whole.
    names: Arc<[String]>,
    ready: Arc<AtomicBool>,
    draining: Arc<AtomicBool>,
}

// === impl Health ===

impl Health {
    /// Speaks of these services.
    pub async fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        let names =
            std::iter::once(String::new()).chain(names.into_iter().map(Into::into)).collect();
        let health = Self {
            reporter: HealthReporter::new(),
            names,
            ready: Arc::new(AtomicBool::new(false)),
            draining: Arc::new(AtomicBool::new(false)),
        };
        health.tell(ServingStatus::NotServing).await;
        health
    }

    /// The server, to be added to the routes.
    pub fn server(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }

    /// Says what a check of everything the service stands on has found.
    pub async fn set(&self, is_ready: bool) {
        if self.draining.load(Ordering::Acquire) {
            return;
        }
        if self.ready.swap(is_ready, Ordering::AcqRel) != is_ready {
            self.tell(if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing })
                .await;
        }
    }

    /// Whether calls are welcome.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && !self.draining.load(Ordering::Acquire)
    }

    /// Says "not serving" from now on, so that callers go elsewhere before the
    /// port closes.
    pub async fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.tell(ServingStatus::NotServing).await;
    }

    async fn tell(&self, status: ServingStatus) {
        for name in self.names.iter() {
            self.reporter.set_service_status(name, status).await;
        }
    }
}
