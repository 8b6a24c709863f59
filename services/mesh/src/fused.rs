//! Every service in one process: calls between them are handed over, not sent.

use std::{net::SocketAddr, time::Duration};

use chassis::{
    Error, Settings,
    admin::Admin,
    run::serve_admin,
    service::{Host, Launch, Running},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::Client;

/// How long a start may take before it is given up.
const READY_PATIENCE: Duration = Duration::from_secs(30);

/// Where each part of a mesh listens: the first service on this port, the next
/// on the next.
#[derive(Debug, Clone, Copy)]
pub struct Ports(pub u16);

/// All services and the gateway, running in this process.
#[derive(Debug)]
pub struct Mesh {
    gateway: gateway::Running,
    services: Vec<Running>,
    admin: Option<SocketAddr>,
    stop_admin: CancellationToken,
}

// === impl Ports ===

impl Ports {
    /// The loopback address of the service at this place of the list. Port 0
    /// stays 0: any free one.
    pub fn address(self, position: usize) -> String {
        let port = match self.0 {
            0 => 0,
            first => first.saturating_add(u16::try_from(position).unwrap_or(u16::MAX)),
        };
        format!("127.0.0.1:{port}")
    }
}

// === impl Mesh ===

impl Mesh {
    /// Starts every service, then the gateway, and waits until all are ready.
    pub async fn start(
        host: &Host,
        settings: &Settings,
        services: &[Box<dyn Launch>],
        ports: Ports,
    ) -> Result<Self, Error> {
        let admin = Admin::new(host.telemetry.metrics().clone());
        let mut running = Vec::with_capacity(services.len());
        for (position, service) in services.iter().enumerate() {
            let mut own = settings.clone();
            own.listen.grpc = ports.address(position);
            let started = service.start(host, &own).await?;
            admin.add(started.name(), started.health().clone());
            running.push(started);
        }
        let gateway = gateway::start(host, settings).await?;
        let stop_admin = CancellationToken::new();
        let admin = serve_admin(admin, &settings.listen.admin, stop_admin.clone()).await?;
        let mesh = Self { gateway, services: running, admin, stop_admin };
        mesh.ready().await?;
        Ok(mesh)
    }

    async fn ready(&self) -> Result<(), Error> {
        let deadline = Instant::now() + READY_PATIENCE;
        while !self.gateway.is_ready() {
            if Instant::now() > deadline {
                return Err(Error::build("the services did not become ready: see the log"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Where the gateway listens.
    pub fn gateway(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// A client of the gateway, nobody yet, whatever its port speaks.
    pub fn client(&self) -> Result<Client, Error> {
        Client::within(&self.gateway)
    }

    /// Where the admin page is, if it has an address.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Every service with its own gRPC port.
    pub fn services(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> + '_ {
        self.services.iter().map(|service| (service.name(), service.address()))
    }

    /// The service of this name.
    pub fn service(&self, name: &str) -> Option<&Running> {
        self.services.iter().find(|service| service.name() == name)
    }

    /// Stops everything in good order: first nothing comes in any more, then each
    /// service after those that call it.
    pub async fn stop(mut self) {
        self.gateway.stop().await;
        while let Some(service) = self.services.pop() {
            service.stop().await;
        }
        self.stop_admin.cancel();
    }
}
