//! Calls to a running mesh, as an operator makes them.

use std::net::{SocketAddr, ToSocketAddrs as _};

use chassis::{Channel, Contract, Error, Fault};
use contracts::identity::v1::{LoginRequest, auth_service_client::AuthServiceClient};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
};

/// A gateway, and the token that calls carry.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    token: Option<MetadataValue<Ascii>>,
}

/// A channel that carries a token.
pub type Authorized = InterceptedService<Channel, Token>;

/// Puts a token on each call.
#[derive(Debug, Clone)]
pub struct Token(Option<MetadataValue<Ascii>>);

// === impl Client ===

impl Client {
    /// A client of the gateway at `host:port`, nobody yet.
    pub fn new(gateway: &str) -> Result<Self, Error> {
        let host = gateway.trim_start_matches("http://").trim_end_matches('/');
        let unknown =
            || Error::build(format!("{gateway} is no address of a gateway: write host:port"));
        let address: SocketAddr =
            host.to_socket_addrs().map_err(|_| unknown())?.next().ok_or_else(unknown)?;
        let contract = Contract::embedded()?;
        Ok(Self { channel: Channel::to(&contract, address), token: None })
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

    /// A generated client: `client.client(CartServiceClient::new)`.
    pub fn client<C>(&self, new: impl FnOnce(Authorized) -> C) -> C {
        new(InterceptedService::new(self.channel.clone(), Token(self.token.clone())))
    }
}

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}
