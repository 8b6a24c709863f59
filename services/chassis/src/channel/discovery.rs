//! Where a peer is: a list of addresses, or names that are asked again and again.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use http::uri::Uri;
use hyper::rt::Executor as _;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::ServerName;
use tokio::{sync::Mutex, time::Instant};

use super::{
    Config,
    breaker::Breaker,
    endpoint::{Endpoint, Target},
    tls::Trust,
};
use crate::telemetry::Telemetry;

/// The port of a service that is known by its name only.
pub const PORT_DEFAULT: u16 = 50_051;
/// How long a name that resolves to nothing is not asked again.
const NOTHING_HOLDS_FOR: Duration = Duration::from_secs(1);

/// An address that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the address `{address}` of peer `{peer}` is not usable: {why}")]
pub struct AddressError {
    /// The peer.
    pub peer: String,
    /// What was written.
    pub address: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// One address as written.
#[derive(Debug, Clone)]
struct Site {
    host: Host,
    port: u16,
    target: Target,
}

#[derive(Debug, Clone)]
enum Host {
    Ip(IpAddr),
    Name(String),
}

/// The instances of a peer, kept up to date.
pub(super) struct Directory {
    sites: Vec<Site>,
    /// Empty until the names were first resolved.
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    /// When the names were last resolved, and why to nothing. Held while they are.
    resolved: Mutex<Option<(Instant, Option<Arc<str>>)>>,
    is_refreshing: AtomicBool,
    is_static: bool,
    peer: String,
    config: Config,
    trust: Arc<Trust>,
    telemetry: Telemetry,
}

/// Reads `http://host:port` or `https://host:port`, or several of these with
/// commas between.
fn sites(peer: &str, addresses: &str) -> Result<Vec<Site>, AddressError> {
    addresses.split(',').map(|address| Site::parse(peer, address.trim())).collect()
}

/// Refuses addresses that cannot be used, before anybody calls them.
pub(super) fn check(peer: &str, addresses: &str) -> Result<(), AddressError> {
    sites(peer, addresses).map(drop)
}

// === impl Site ===

impl Site {
    fn parse(peer: &str, address: &str) -> Result<Self, AddressError> {
        let wrong = |why| AddressError { peer: peer.to_owned(), address: address.to_owned(), why };
        let uri: Uri =
            address.parse().map_err(|_| wrong("it is no URL; write http://host:port"))?;
        let is_secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("it has no scheme; write http://host:port")),
        };
        if !matches!(uri.path(), "" | "/") {
            return Err(wrong("it has a path, and gRPC has its own"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
        let port = authority.port_u16().unwrap_or(PORT_DEFAULT);
        let text = authority.host().trim_start_matches('[').trim_end_matches(']');
        let host = match text.parse::<IpAddr>() {
            Ok(ip) => Host::Ip(ip),
            // It resolves to both families, and only one is listened on.
            Err(_) if text == "localhost" => Host::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            Err(_) => Host::Name(text.to_owned()),
        };
        let name = match is_secure {
            true => Some(
                ServerName::try_from(text.to_owned())
                    .map_err(|_| wrong("its host is no name that a certificate can have"))?,
            ),
            false => None,
        };
        Ok(Self { host, port, target: Target { authority: authority.clone(), name } })
    }
}

// === impl Directory ===

impl Directory {
    pub(super) fn new(
        peer: &str,
        addresses: Option<&str>,
        config: Config,
        trust: Arc<Trust>,
        telemetry: Telemetry,
    ) -> Result<Self, AddressError> {
        let by_name = format!("http://{peer}:{PORT_DEFAULT}");
        let sites = sites(peer, addresses.unwrap_or(&by_name))?;
        let is_static = sites.iter().all(|site| matches!(site.host, Host::Ip(_)));
        let directory = Self {
            sites,
            endpoints: ArcSwap::default(),
            resolved: Mutex::new(None),
            is_refreshing: AtomicBool::new(false),
            is_static,
            peer: peer.to_owned(),
            config,
            trust,
            telemetry,
        };
        if is_static {
            let found = directory.sites.iter().filter_map(|site| match site.host {
                Host::Ip(ip) => Some((SocketAddr::new(ip, site.port), site.target.clone())),
                Host::Name(_) => None,
            });
            directory.adopt(found.collect());
        }
        Ok(directory)
    }

    /// The instances known now. Resolves names first if that was never done, and
    /// again, behind the caller's back, when it was long ago.
    pub(super) async fn endpoints(self: &Arc<Self>) -> Result<Arc<Vec<Arc<Endpoint>>>, Arc<str>> {
        let known = self.endpoints.load_full();
        if self.is_static {
            return Ok(known);
        }
        if known.is_empty() {
            self.resolve().await?;
            return Ok(self.endpoints.load_full());
        }
        let is_old = match self.resolved.try_lock() {
            Ok(resolved) => {
                resolved.as_ref().is_none_or(|(at, _)| at.elapsed() >= self.config.resolve_interval)
            }
            Err(_somebody_resolves) => false,
        };
        if is_old && !self.is_refreshing.swap(true, Ordering::AcqRel) {
            let directory = Arc::clone(self);
            TokioExecutor::new().execute(async move {
                if let Err(error) = directory.resolve().await {
                    tracing::warn!(
                        peer = directory.peer,
                        error = &*error,
                        "a peer's name could not be resolved again"
                    );
                }
                directory.is_refreshing.store(false, Ordering::Release);
            });
        }
        Ok(known)
    }

    async fn resolve(&self) -> Result<(), Arc<str>> {
        let mut resolved = self.resolved.lock().await;
        match &*resolved {
            Some((at, None)) if at.elapsed() < self.config.resolve_interval => return Ok(()),
            Some((at, Some(error))) if at.elapsed() < NOTHING_HOLDS_FOR => {
                return Err(Arc::clone(error));
            }
            _ => {}
        }
        let mut found = Vec::new();
        let mut failure = None;
        for site in &self.sites {
            match &site.host {
                Host::Ip(ip) => found.push((SocketAddr::new(*ip, site.port), site.target.clone())),
                Host::Name(name) => match tokio::net::lookup_host((name.as_str(), site.port)).await
                {
                    Ok(addresses) => {
                        found.extend(addresses.map(|address| (address, site.target.clone())))
                    }
                    Err(error) => {
                        failure =
                            Some(Arc::from(format!("the name {name} does not resolve: {error}")))
                    }
                },
            }
        }
        if found.is_empty() {
            let nothing = || Arc::from("its name resolves to nothing");
            let error: Arc<str> = failure.unwrap_or_else(nothing);
            *resolved = Some((Instant::now(), Some(Arc::clone(&error))));
            return Err(error);
        }
        if failure.is_some() {
            // One of several names failed: its instances may still be there.
            let known = self.endpoints.load();
            found.extend(known.iter().map(|known| (known.address(), known.target().clone())));
        }
        *resolved = Some((Instant::now(), None));
        self.adopt(found);
        Ok(())
    }

    /// Makes the found addresses the instances; those known before keep their
    /// connections and what was learnt of them.
    fn adopt(&self, mut found: Vec<(SocketAddr, Target)>) {
        found.sort_by_key(|(address, _)| *address);
        found.dedup_by_key(|(address, _)| *address);
        let known = self.endpoints.load();
        let endpoints = found.into_iter().map(|(address, target)| {
            match known.iter().find(|endpoint| endpoint.address() == address) {
                Some(endpoint) => Arc::clone(endpoint),
                None => {
                    let gauge = self.telemetry.metrics().breaker_open(
                        self.telemetry.service(),
                        &self.peer,
                        &address.to_string(),
                    );
                    let breaker = Breaker::new(
                        self.config.breaker_failures,
                        self.config.breaker_open_for,
                        self.config.breaker_open_for_max,
                        gauge,
                    );
                    let trust = Arc::clone(&self.trust);
                    Arc::new(Endpoint::new(address, target, trust, &self.config, breaker))
                }
            }
        });
        self.endpoints.store(Arc::new(endpoints.collect()));
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory")
            .field("peer", &self.peer)
            .field("sites", &self.sites)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_be_used_say_why() {
        for (address, why) in [
            ("inventory:50051", "no scheme"),
            ("https://-inventory:50051", "certificate"),
            ("ftp://inventory:50051", "no scheme"),
            ("http://inventory:50051/v1", "path"),
            ("", "no URL"),
        ] {
            let error = Site::parse("inventory", address).unwrap_err();
            assert!(error.to_string().contains(why), "{address}: {error}");
        }
        assert_eq!(Site::parse("inventory", "http://inventory").unwrap().port, PORT_DEFAULT);
        let named = |address| Site::parse("inventory", address).unwrap().target.name;
        assert_eq!(named("http://inventory"), None);
        for (address, name) in [
            ("https://inventory:1", "inventory"),
            ("https://localhost:1", "localhost"),
            ("https://[::1]:1", "::1"),
        ] {
            assert_eq!(named(address), Some(ServerName::try_from(name).unwrap()));
        }
        assert!(matches!(
            Site::parse("inventory", "http://[::1]:1").unwrap().host,
            Host::Ip(IpAddr::V6(_))
        ));
    }
}
