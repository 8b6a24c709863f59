//! The gateway in front of an upstream, as `mercat gateway --upstream` starts it.

use std::{io, net::SocketAddr};

use chassis::{Error, Settings, service::Host, telemetry};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What the gateway does for an upstream.
#[derive(Debug)]
pub struct Edge {
    settings: Settings,
    gateway: Value,
    /// Certificates, until they are read: a suite hands them over as bytes.
    files: Option<TempDir>,
}

// === impl Edge ===

impl Edge {
    /// Serves what a file describes, to anyone, on a free port of loopback.
    pub fn new(upstream: SocketAddr, descriptors: &str) -> Self {
        let mut settings = Settings::default();
        // What a suite does wrong on purpose is no news.
        "error".clone_into(&mut settings.telemetry.log_filter);
        let gateway = json!({
            "listen": "127.0.0.1:0",
            "upstreams": [upstream.to_string()],
            "descriptors": descriptors,
            "access": "public",
        });
        Self { settings, gateway, files: None }
    }

    /// Another setting of the `[gateway]` table.
    #[must_use]
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.gateway[key] = value;
        self
    }

    /// By TLS, with this certificate and key; with an authority for clients, they
    /// must prove themselves.
    pub fn with_tls(
        mut self,
        certificate: &[u8],
        key: &[u8],
        clients: Option<&[u8]>,
    ) -> io::Result<Self> {
        let files = tempfile::tempdir()?;
        let write = |name: &str, bytes: &[u8]| {
            let file = files.path().join(name);
            std::fs::write(&file, bytes).map(|()| file)
        };
        let tls = json!({
            "certificate_file": write("certificate.pem", certificate)?,
            "key_file": write("key.pem", key)?,
            "client_ca_file": clients.map(|clients| write("clients.pem", clients)).transpose()?,
            // By then the files are gone, and the suite is over.
            "reload_interval": "24h",
        });
        self.settings.connections.tls = serde_json::from_value(tls)?;
        self.files = Some(files);
        Ok(self)
    }

    /// Starts it.
    pub async fn start(mut self) -> Result<gateway::Running, Error> {
        self.settings.set_table(gateway::NAME, self.gateway);
        let host = Host::new(&self.settings, telemetry::init(&self.settings.telemetry)?)?;
        gateway::start(&host, &self.settings).await
    }
}
