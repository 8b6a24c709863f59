//! Calls to a running mesh, as an operator makes them.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use chassis::{
    Channel, Contract, Error, Fault, Settings,
    channel::{self, Tls},
};
use contracts::identity::v1::{LoginRequest, auth_service_client::AuthServiceClient};
use http::{Uri, uri::Scheme};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// How long a gateway may take to say whether it is ready.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);

/// A gateway, and the token that calls carry.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    token: Option<MetadataValue<Ascii>>,
}

/// What the ports of a mesh speak.
#[derive(Debug, Clone)]
pub enum Speech {
    /// Plain text.
    Plain,
    /// TLS. This is how the certificates of the mesh are believed.
    Secret(Tls),
}

/// A channel that carries a token.
pub type Authorized = InterceptedService<Channel, Token>;

/// Puts a token on each call.
#[derive(Debug, Clone)]
pub struct Token(Option<MetadataValue<Ascii>>);

// === impl Client ===

impl Client {
    /// A client of the gateway at this address, nobody yet: `host:port`, or a URL,
    /// whose port may be left out if it is that of its scheme. With `https` it must
    /// have a certificate for that host which `tls` believes.
    pub fn new(gateway: &str, tls: Tls) -> Result<Self, Error> {
        let address = address(gateway)?;
        channel::Config { tls: tls.clone(), ..channel::Config::default() }.check()?;
        let contract = Contract::embedded()?;
        let channel = Channel::at(&contract, &address, tls).map_err(|error| {
            Error::build(format!("{gateway} is no address of a gateway: {}", error.why))
        })?;
        Ok(Self { channel, token: None })
    }

    /// A client of a gateway in this process, nobody yet.
    pub fn within(gateway: &gateway::Running) -> Result<Self, Error> {
        let contract = Contract::embedded()?;
        Ok(Self { channel: Channel::within(&contract, gateway.stack()), token: None })
    }

    /// The same, for whoever holds this token.
    pub fn with_token(&self, token: &str) -> Result<Self, Fault> {
        let value =
            format!("Bearer {token}").parse().map_err(|error| Fault::internal().because(error))?;
        Ok(Self { channel: self.channel.clone(), token: Some(value) })
    }

    /// The same, signed in.
    pub async fn sign_in(&self, email: &str, password: &str) -> Result<Self, Fault> {
        let request = LoginRequest {
            email: email.to_owned(),
            password: password.to_owned(),
            ..LoginRequest::default()
        };
        let response = self.client(AuthServiceClient::new).login(request).await?.into_inner();
        let tokens = response.tokens.ok_or_else(Fault::internal)?;
        self.with_token(&tokens.access_token)
    }

    /// Whether the gateway says that every service is ready.
    pub async fn is_ready(&self) -> bool {
        let mut health = self.client(HealthClient::new);
        let check = health.check(HealthCheckRequest::default());
        match tokio::time::timeout(PROBE_PATIENCE, check).await {
            Ok(Ok(answer)) => answer.get_ref().status() == ServingStatus::Serving,
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// A generated client: `client.client(CartServiceClient::new)`.
    pub fn client<C>(&self, new: impl FnOnce(Authorized) -> C) -> C {
        new(InterceptedService::new(self.channel.clone(), Token(self.token.clone())))
    }
}

// === impl Speech ===

impl Speech {
    /// What these settings make a mesh speak.
    pub fn new(settings: &Settings) -> Self {
        match settings.connections.tls {
            Some(_) => Self::Secret(settings.channel.tls.clone()),
            None => Self::Plain,
        }
    }

    /// The URL of a port.
    pub fn url(&self, address: SocketAddr) -> String {
        match self {
            Self::Plain => format!("http://{address}"),
            Self::Secret(_) => format!("https://{address}"),
        }
    }
}

/// Where a port that listens there is called: on loopback, if it listens
/// everywhere.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// The address as channels take it.
fn address(gateway: &str) -> Result<String, Error> {
    let wrong = |why| Error::build(format!("{gateway} is no address of a gateway: {why}"));
    let url = match gateway.contains("://") {
        true => Cow::Borrowed(gateway),
        false => Cow::Owned(format!("http://{gateway}")),
    };
    let form = "write host:port, or https://host:port where it speaks TLS";
    let uri: Uri = url.parse().map_err(|_| wrong(form))?;
    let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
        return Err(wrong(form));
    };
    // "http" if none was written: that has no port of its own then.
    let port = match authority.port_u16() {
        Some(port) => port,
        None if *scheme == Scheme::HTTPS => 443,
        None if gateway.contains("://") => 80,
        None => return Err(wrong(form)),
    };
    if uri.path() != "/" || uri.query().is_some() || authority.as_str().contains('@') {
        return Err(wrong("it has more than a host and a port"));
    }
    Ok(format!("{scheme}://{}:{port}", authority.host()))
}

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}
