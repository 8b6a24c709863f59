//! The gateway in front of an upstream, as `mercat gateway --upstream` starts it.

use std::net::SocketAddr;

use chassis::{Error, Settings, service::Host, telemetry};
use serde_json::{Value, json};

/// What the gateway does for an upstream.
#[derive(Debug, Clone)]
pub struct Edge {
    settings: Settings,
    gateway: Value,
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
        Self { settings, gateway }
    }

    /// Another setting of the `[gateway]` table.
    #[must_use]
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.gateway[key] = value;
        self
    }

    /// Starts it.
    pub async fn start(mut self) -> Result<gateway::Running, Error> {
        self.settings.set_table(gateway::NAME, self.gateway);
        let host = Host::new(&self.settings, telemetry::init(&self.settings.telemetry)?)?;
        gateway::start(&host, &self.settings).await
    }
}
