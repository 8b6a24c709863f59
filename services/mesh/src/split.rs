//! The same mesh as a process each, over loopback gRPC: what production looks
//! like, on one machine.

use std::{io, net::SocketAddr, process::Stdio, time::Duration};

use chassis::{Error, channel::Tls, lifecycle::Signals};
use tokio::{
    net::TcpSocket,
    process::{Child, Command},
    time::Instant,
};

use crate::{
    client::{Client, Speech, reachable},
    fused::Ports,
    home::Home,
};

/// How long the processes may take to be ready.
const READY_PATIENCE: Duration = Duration::from_secs(60);
/// How long they may take to drain.
const DRAIN_PATIENCE: Duration = Duration::from_secs(40);

/// The processes of a mesh.
#[derive(Debug)]
pub struct Split {
    children: Vec<(String, Child)>,
    services: Vec<(String, Held)>,
    gateway: Held,
    speech: Speech,
}

/// An address whose port is kept for a child: a socket that is bound and does not
/// listen lets one other listen there that asks for this very port, and the system
/// gives it to nobody else meanwhile.
#[derive(Debug)]
struct Held {
    address: SocketAddr,
    _socket: TcpSocket,
}

// === impl Split ===

impl Split {
    /// Starts a process for each service and one for the gateway, from this very
    /// program, with `arguments` for each.
    pub async fn start(
        home: &Home,
        names: &[&str],
        ports: Ports,
        gateway: &str,
        speech: Speech,
        arguments: &[String],
    ) -> Result<Self, Error> {
        let failed =
            |what: &str, error: io::Error| Error::Build(what.to_owned(), Some(error.into()));
        let program = std::env::current_exe()
            .map_err(|error| failed("this program cannot be found", error))?;
        let mut services = Vec::new();
        for (position, name) in names.iter().enumerate() {
            let held = Held::at(&ports.address(position))
                .await
                .map_err(|error| failed("no port is free", error))?;
            services.push(((*name).to_owned(), held));
        }
        let gateway = Held::at(gateway)
            .await
            .map_err(|error| failed(&format!("{gateway} cannot be listened on"), error))?;
        let mut children = Vec::new();
        for (name, held) in &services {
            let mut command = command(&program, home, &services, &speech);
            command
                .args(["serve", name, "--until-eof", "--listen", &held.address.to_string()])
                .args(arguments);
            let child = command
                .spawn()
                .map_err(|error| failed(&format!("{name} cannot be started"), error))?;
            children.push((name.clone(), child));
        }
        let mut command = command(&program, home, &services, &speech);
        command
            .args(["gateway", "--until-eof", "--listen", &gateway.address.to_string()])
            .args(arguments);
        let child =
            command.spawn().map_err(|error| failed("the gateway cannot be started", error))?;
        children.push(("gateway".to_owned(), child));
        let mut split = Self { children, services, gateway, speech };
        split.ready().await?;
        Ok(split)
    }

    /// Waits until the gateway says that every service is ready.
    async fn ready(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + READY_PATIENCE;
        loop {
            for (name, child) in &mut self.children {
                if let Ok(Some(status)) = child.try_wait() {
                    return Err(Error::build(format!("{name} ended with {status}: see its log")));
                }
            }
            // A new client each time: one that found nobody waits before it looks again.
            if self.client()?.is_ready().await {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::build(match self.speech {
                    Speech::Plain => "the services did not become ready: see their logs",
                    Speech::Secret(_) => {
                        "the services did not become ready: see their logs. They find each other \
                         at 127.0.0.1, for which the certificate of `connections.tls` must be \
                         good, by the authorities of `channel.tls.ca_file`"
                    }
                }));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Where the gateway listens.
    pub fn gateway(&self) -> SocketAddr {
        self.gateway.address
    }

    /// A client of the gateway, nobody yet.
    pub fn client(&self) -> Result<Client, Error> {
        let tls = match &self.speech {
            Speech::Plain => Tls::default(),
            Speech::Secret(tls) => tls.clone(),
        };
        Client::new(&self.speech.url(reachable(self.gateway.address)), tls)
    }

    /// Every service with its gRPC port.
    pub fn services(&self) -> impl Iterator<Item = (&str, SocketAddr)> + '_ {
        self.services.iter().map(|(name, held)| (name.as_str(), held.address))
    }

    /// The process of a service, or of the "gateway".
    pub fn process(&self, name: &str) -> Option<u32> {
        self.children.iter().find(|(found, _)| found == name).and_then(|(_, child)| child.id())
    }

    /// Runs until told to stop, or until a process ends by itself.
    pub async fn run(mut self, signals: &Signals) -> Result<(), Error> {
        let mut died = None;
        while died.is_none() && !signals.soft().is_cancelled() {
            for (name, child) in &mut self.children {
                if let Ok(Some(status)) = child.try_wait() {
                    died = Some(format!("{name} ended with {status}"));
                }
            }
            let told = signals.soft();
            tokio::select! {
                () = told.cancelled() => {}
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
        }
        self.stop().await;
        died.map_or(Ok(()), |what| Err(Error::build(what)))
    }

    /// Asks every process to stop, the gateway first, and waits for each.
    pub async fn stop(&mut self) {
        while let Some((name, mut child)) = self.children.pop() {
            // Each lives as long as its standard input: the end of it is told to
            // drain, also if this process dies.
            drop(child.stdin.take());
            if tokio::time::timeout(DRAIN_PATIENCE, child.wait()).await.is_err() {
                tracing::warn!(service = name, "did not stop in time and is killed");
                let _already_gone = child.kill().await;
            }
        }
    }
}

// === impl Held ===

impl Held {
    /// The address, with a free port in the place of 0.
    async fn at(address: &str) -> io::Result<Self> {
        let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in tokio::net::lookup_host(address).await? {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.set_reuseaddr(true)?;
            match socket.bind(address) {
                Ok(()) => return Ok(Self { address: socket.local_addr()?, _socket: socket }),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

/// This program again, with the mesh's addresses and secrets in its environment.
fn command(
    program: &std::path::Path,
    home: &Home,
    services: &[(String, Held)],
    speech: &Speech,
) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::piped());
    let mut sources = chassis::settings::Sources::default();
    home.defaults(&mut sources);
    for (key, value) in sources.defaults {
        let name = format!("MERCAT__{}", key.to_uppercase().replace('.', "__"));
        // What the operator set stays.
        if std::env::var_os(&name).is_none() {
            command.env(name, value);
        }
    }
    for (name, held) in services {
        command.env(format!("MERCAT__PEERS__{}", name.to_uppercase()), speech.url(held.address));
    }
    command
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_held_port_is_its_childs_and_nobody_elses() {
        let held = Held::at("127.0.0.1:0").await.unwrap();
        let takes = |address| TcpSocket::new_v4().unwrap().bind(address);
        let refused = takes(held.address).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        // A child listens there, and another in its place after it.
        for _ in 0..2 {
            let child = TcpListener::bind(held.address).await.unwrap();
            assert!(TcpListener::bind(held.address).await.is_err());
            drop(child);
            takes(held.address).unwrap_err();
        }
    }
}
