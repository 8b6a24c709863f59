//! A whole mesh for a test: all services, the gateway, people who use it, and
//! clients of every protocol.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot be set up has failed, and says why"
)]

pub(crate) mod raw;
pub(crate) mod rest;
pub(crate) mod shopper;
pub(crate) mod web;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use chassis::{
    Channel, Clock, Contract, Keys, Peers, Settings, Switchboard,
    channel::Tls,
    keys::{Kind, MeshKey, SigningKey},
    service::{Host, Running},
    telemetry,
};
use contracts::{
    catalog::v1::{
        ImportProduct, ImportProductsRequest, ImportVariant, NewPrice,
        import_service_client::ImportServiceClient,
    },
    identity::v1::{
        IssueGuestTokenRequest, LoginRequest, RegisterRequest,
        auth_service_client::AuthServiceClient,
    },
    inventory::v1::{
        CreateLocationRequest, GetStockRequest, ListLocationsRequest, SetStockRequest, Stock,
        location_service_client::LocationServiceClient, stock_service_client::StockServiceClient,
    },
    values::v1::Money,
};
use mesh::{
    client::Client,
    fused::{Mesh, Ports},
};
use tempfile::TempDir;
use testkit::request_id;
use tokio::net::TcpSocket;

use self::{rest::Rest, shopper::Shopper};

/// The administrator's e-mail address.
pub(crate) const ADMIN_EMAIL: &str = "admin@example.com";
/// The administrator's password.
pub(crate) const ADMIN_PASSWORD: &str = "keys to everything";
/// The password of every customer that [`TestMesh::customer`] registers.
pub(crate) const PASSWORD: &str = "correct horse battery";
/// What one piece of [`TestMesh::product`] costs, net of tax.
pub(crate) const PRICE_MINOR: i64 = 1_250;

/// How the services of the mesh call each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// In one host: calls are handed over on the switchboard.
    Fused,
    /// Each in a host of its own: every call crosses a TCP socket.
    Tcp,
}

/// A mesh that runs for a test, on databases of its own.
pub(crate) struct TestMesh {
    pub(crate) shape: Shape,
    settings: Settings,
    host: Host,
    signing: SigningKey,
    admin_token: String,
    parts: Option<Parts>,
    folder: TempDir,
}

enum Parts {
    Fused(Mesh),
    Tcp { gateway: gateway::Running, services: Vec<Running> },
}

/// Somebody with a token.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    /// The subject of the token.
    pub(crate) id: String,
    /// Empty for a guest.
    pub(crate) email: String,
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
    /// Typed clients: `person.client.client(CartServiceClient::new)`.
    pub(crate) client: Client,
}

impl TestMesh {
    /// Starts a mesh on fresh databases.
    pub(crate) async fn start(shape: Shape) -> Self {
        Self::start_with(shape, |_| {}).await
    }

    /// The same, with some settings changed.
    pub(crate) async fn start_with(shape: Shape, change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let signing = SigningKey::generate().unwrap();
        let mut settings = Settings::default();
        settings.listen.grpc = "127.0.0.1:0".to_owned();
        settings.database = testkit::fresh_database(folder.path());
        settings.set_table("gateway", serde_json::json!({ "listen": "127.0.0.1:0" }));
        settings.set_table(
            "identity",
            serde_json::json!({
                "admin_email": ADMIN_EMAIL, "admin_password": ADMIN_PASSWORD,
                "argon2_memory_kib": 64, "argon2_passes": 1,
            }),
        );
        settings.set_table(
            "payments",
            serde_json::json!({ "sync_period": "50ms", "sandbox_period": "50ms" }),
        );
        change(&mut settings);
        let host = Host {
            contract: Contract::embedded().unwrap(),
            telemetry: Arc::new(telemetry::Guard::new(&settings.telemetry)),
            switchboard: Switchboard::new(),
            clock: Clock::system(),
            mesh_key: MeshKey::ephemeral().unwrap(),
            trusted: vec![signing.public().clone()],
        };
        let mut mesh = Self {
            shape,
            settings,
            host,
            signing,
            admin_token: String::new(),
            parts: None,
            folder,
        };
        mesh.launch().await;
        mesh
    }

    /// Stops everything in good order and starts it again on the same data.
    pub(crate) async fn restart(&mut self) {
        self.halt().await;
        self.host.switchboard = Switchboard::new();
        self.launch().await;
    }

    /// Stops everything in good order.
    pub(crate) async fn stop(mut self) {
        self.halt().await;
    }

    async fn launch(&mut self) {
        self.parts = Some(match self.shape {
            Shape::Fused => Parts::Fused(
                Mesh::start(&self.host, &self.settings, &mesh::services(), Ports(0))
                    .await
                    .expect("the mesh starts"),
            ),
            Shape::Tcp => self.start_apart().await,
        });
        let request = LoginRequest {
            email: ADMIN_EMAIL.to_owned(),
            password: ADMIN_PASSWORD.to_owned(),
            ..LoginRequest::default()
        };
        let login =
            self.client().client(AuthServiceClient::new).login(request).await.unwrap().into_inner();
        self.admin_token = login.tokens.unwrap().access_token;
    }

    /// Every service in a host of its own, which has nobody on its switchboard.
    async fn start_apart(&self) -> Parts {
        let launches = mesh::services();
        // Bound until the services listen: a port that is free meanwhile goes to
        // whoever asks for any, a connection of another test too.
        let held: Vec<TcpSocket> = launches.iter().map(|_| hold()).collect();
        let addresses: Vec<SocketAddr> =
            held.iter().map(|socket| socket.local_addr().unwrap()).collect();
        let mut settings = self.settings.clone();
        settings.peers = launches
            .iter()
            .zip(&addresses)
            .map(|(launch, address)| (launch.name().to_owned(), format!("http://{address}")))
            .collect();
        let mut services = Vec::new();
        for (launch, address) in launches.iter().zip(&addresses) {
            let mut own = settings.clone();
            own.listen.grpc = address.to_string();
            services.push(launch.start(&self.alone(), &own).await.expect("the service starts"));
        }
        drop(held);
        let gateway = gateway::start(&self.alone(), &settings).await.expect("the gateway starts");
        testkit::eventually(|| async { gateway.is_ready().then_some(()) }).await;
        Parts::Tcp { gateway, services }
    }

    fn alone(&self) -> Host {
        Host { switchboard: Switchboard::new(), ..self.host.clone() }
    }

    async fn halt(&mut self) {
        match self.parts.take() {
            None => {}
            Some(Parts::Fused(mesh)) => mesh.stop().await,
            Some(Parts::Tcp { gateway, mut services }) => {
                gateway.stop().await;
                while let Some(service) = services.pop() {
                    service.stop().await;
                }
            }
        }
    }

    /// What the services share; `host().telemetry.metrics()` counts their calls.
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// The folder of the databases.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Where the gateway listens.
    pub(crate) fn gateway(&self) -> SocketAddr {
        match self.parts() {
            Parts::Fused(mesh) => mesh.gateway(),
            Parts::Tcp { gateway, .. } => gateway.address(),
        }
    }

    /// A service as it runs: its port, its database.
    pub(crate) fn service(&self, name: &str) -> &Running {
        let found = match self.parts() {
            Parts::Fused(mesh) => mesh.service(name),
            Parts::Tcp { services, .. } => services.iter().find(|service| service.name() == name),
        };
        found.expect("there is such a service")
    }

    fn parts(&self) -> &Parts {
        self.parts.as_ref().expect("the mesh runs")
    }

    // === people ===

    /// Nobody, through the gateway.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.gateway().to_string(), Tls::default()).unwrap()
    }

    /// The administrator.
    pub(crate) fn admin(&self) -> Client {
        self.client().with_token(&self.admin_token).unwrap()
    }

    /// The administrator's token.
    pub(crate) fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// A new guest.
    pub(crate) async fn guest(&self) -> Person {
        let request = IssueGuestTokenRequest { request_id: request_id() };
        let issued = self
            .client()
            .client(AuthServiceClient::new)
            .issue_guest_token(request)
            .await
            .unwrap()
            .into_inner();
        let tokens = issued.tokens.unwrap();
        Person {
            id: issued.guest_id,
            email: String::new(),
            client: self.client().with_token(&tokens.access_token).unwrap(),
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
        }
    }

    /// A new customer, registered with [`PASSWORD`].
    pub(crate) async fn customer(&self) -> Person {
        let email = format!("{}@example.com", request_id());
        let request = RegisterRequest {
            request_id: request_id(),
            email: email.clone(),
            password: PASSWORD.to_owned(),
            display_name: "Ana Puig".to_owned(),
        };
        let registered = self
            .client()
            .client(AuthServiceClient::new)
            .register(request)
            .await
            .unwrap()
            .into_inner();
        let tokens = registered.tokens.unwrap();
        Person {
            id: registered.user.unwrap().user_id,
            email,
            client: self.client().with_token(&tokens.access_token).unwrap(),
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
        }
    }

    /// A token that every service believes, for a subject that nobody registered.
    pub(crate) fn token(&self, id: &str, kind: Kind, permissions: &[&str]) -> String {
        testkit::token(&self.signing, &self.host.clock, id, kind, permissions)
    }

    /// The key whose tokens every service believes.
    pub(crate) fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// Proof of being this service, as peers send it.
    pub(crate) fn service_token(&self, name: &str) -> http::HeaderValue {
        let keys = Keys::new(name, self.host.mesh_key.clone(), self.host.clock.clone(), &[]);
        keys.own_token().unwrap()
    }

    /// The way to a service's own port as a peer service.
    pub(crate) fn as_service(&self, caller: &str, callee: &str) -> Channel {
        let keys = Keys::new(caller, self.host.mesh_key.clone(), self.host.clock.clone(), &[]);
        let address = format!("http://{}", self.service(callee).address());
        Peers::new(
            self.host.contract.clone(),
            telemetry::Telemetry::off("test"),
            Switchboard::new(),
            BTreeMap::from([(callee.to_owned(), address)]),
            Arc::new(move || keys.own_token()),
        )
        .channel(callee)
    }

    /// REST through the gateway, as nobody.
    pub(crate) fn rest(&self) -> Rest {
        Rest::new(self.gateway())
    }

    /// REST as the administrator.
    pub(crate) fn admin_rest(&self) -> Rest {
        self.rest().with_token(&self.admin_token)
    }

    // === goods ===

    /// A published product of one variant at [`PRICE_MINOR`] EUR with so much in
    /// stock; gives its SKU, which no other test has.
    pub(crate) async fn product(&self, stock: i64) -> String {
        let sku = format!("SKU-{}", request_id());
        let price = Money { currency_code: "EUR".to_owned(), minor_units: PRICE_MINOR };
        let product = ImportProduct {
            slug: sku.to_lowercase(),
            title: "Enamel mug".to_owned(),
            tax_category: "standard".to_owned(),
            publish: true,
            variants: vec![ImportVariant {
                sku: sku.clone(),
                weight_grams: 320,
                prices: vec![NewPrice { unit_price: Some(price), ..NewPrice::default() }],
                ..ImportVariant::default()
            }],
            ..ImportProduct::default()
        };
        let request = ImportProductsRequest {
            request_id: request_id(),
            products: vec![product],
            atomic: true,
            ..ImportProductsRequest::default()
        };
        let imported =
            self.admin().client(ImportServiceClient::new).import_products(request).await.unwrap();
        assert_eq!(imported.get_ref().errors, []);
        self.set_stock(&sku, stock).await;
        sku
    }

    /// Counts what is on hand in the warehouse `main`, which is made the first time.
    pub(crate) async fn set_stock(&self, sku: &str, on_hand: i64) {
        let request = SetStockRequest {
            request_id: request_id(),
            sku: sku.to_owned(),
            location_id: self.location().await,
            on_hand,
            ..SetStockRequest::default()
        };
        self.admin().client(StockServiceClient::new).set_stock(request).await.unwrap();
    }

    /// The id of the warehouse `main`.
    pub(crate) async fn location(&self) -> String {
        let mut locations = self.admin().client(LocationServiceClient::new);
        let found =
            locations.list_locations(ListLocationsRequest::default()).await.unwrap().into_inner();
        if let Some(location) = found.locations.into_iter().find(|location| location.code == "main")
        {
            return location.location_id;
        }
        let request = CreateLocationRequest {
            request_id: request_id(),
            code: "main".to_owned(),
            display_name: "Main warehouse".to_owned(),
            ..CreateLocationRequest::default()
        };
        locations.create_location(request).await.unwrap().into_inner().location_id
    }

    /// What there is of an SKU.
    pub(crate) async fn stock(&self, sku: &str) -> Stock {
        let request = GetStockRequest { sku: sku.to_owned() };
        self.admin().client(StockServiceClient::new).get_stock(request).await.unwrap().into_inner()
    }
}

impl Person {
    /// Somebody who buys.
    pub(crate) fn shopper(&self) -> Shopper {
        Shopper::new(self.client.clone())
    }
}

/// A socket that keeps a free port for one who listens there.
fn hold() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    socket
}
