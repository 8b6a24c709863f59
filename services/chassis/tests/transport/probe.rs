//! A service whose behaviour a test writes, served as every service is, and
//! callers of it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    path::Path,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use chassis::{
    Channel, Contract, Fault, Peers, Switchboard, Telemetry,
    channel::{self, Credential},
    listen::{self, Listener},
    serve::{Limits, Stack},
    telemetry::Metrics,
};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::BoxStream};
use http::{Request, Response, uri::PathAndQuery};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body, server::NamedService};
use tonic_prost::ProstCodec;
use tower_service::Service;

pub(crate) const READ: &str = "/mercat.probe.v1.ProbeService/Read";
pub(crate) const WRITE: &str = "/mercat.probe.v1.ProbeService/Write";
pub(crate) const WATCH: &str = "/mercat.probe.v1.ProbeService/Watch";

/// The contract of the probe.
pub(crate) fn contract() -> Arc<Contract> {
    static CONTRACT: OnceLock<Arc<Contract>> = OnceLock::new();
    Arc::clone(CONTRACT.get_or_init(|| {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut compiler =
            protox::Compiler::new([here.join("tests/transport"), here.join("../../proto")])
                .unwrap();
        compiler.include_imports(true).open_file("probe.proto").unwrap();
        Arc::new(Contract::decode(&compiler.encode_file_descriptor_set()).unwrap())
    }))
}

pub(crate) type Answer = BoxFuture<'static, Result<String, Fault>>;
type Handle = Arc<dyn Fn(String) -> Answer + Send + Sync>;

/// The probe: what a test says it does.
#[derive(Clone)]
pub(crate) struct Probe(Handle);

impl Probe {
    pub(crate) fn new<F>(handle: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<String, Fault>> + Send + 'static,
    {
        Self(Arc::new(move |text| handle(text).boxed()))
    }

    pub(crate) fn echo() -> Self {
        Self::new(async |text| Ok(text))
    }

    pub(crate) fn stack(&self, name: &str, limits: Limits) -> Stack {
        Stack::new(
            &contract(),
            Telemetry::off(name),
            limits,
            chassis::serve::Routes::new().add(self.clone()),
        )
    }
}

impl NamedService for Probe {
    const NAME: &'static str = "mercat.probe.v1.ProbeService";
}

impl Service<Request<Body>> for Probe {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let probe = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<String, String>::default());
            Ok(match request.uri().path() {
                READ | WRITE => grpc.unary(Unary(probe), request).await,
                WATCH => grpc.server_streaming(Streamed(probe), request).await,
                other => panic!("no method {other}"),
            })
        })
    }
}

struct Unary(Probe);

impl tonic::server::UnaryService<String> for Unary {
    type Response = String;
    type Future = BoxFuture<'static, Result<tonic::Response<String>, Status>>;

    fn call(&mut self, request: tonic::Request<String>) -> Self::Future {
        let answer = (self.0.0)(request.into_inner());
        Box::pin(async move { answer.await.map(tonic::Response::new).map_err(Status::from) })
    }
}

/// Asks the behaviour for one message after the other; a fault ends the stream.
struct Streamed(Probe);

impl tonic::server::ServerStreamingService<String> for Streamed {
    type Response = String;
    type ResponseStream = BoxStream<'static, Result<String, Status>>;
    type Future = BoxFuture<'static, Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<String>) -> Self::Future {
        let (handle, text) = (Arc::clone(&self.0.0), request.into_inner());
        let messages = futures_util::stream::unfold(0, move |number| {
            let answer = handle(format!("{text}{number}"));
            async move { Some((answer.await.map_err(Status::from), number + 1)) }
        });
        Box::pin(async move { Ok(tonic::Response::new(messages.boxed())) })
    }
}

/// A probe on a port.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) stack: Stack,
    pub(crate) shutdown: CancellationToken,
    metrics: Metrics,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(probe: Probe) -> Self {
        Self::with(probe, listen::Config::default(), Limits::default()).await
    }

    pub(crate) async fn with(probe: Probe, config: listen::Config, limits: Limits) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), probe, config, limits).await
    }

    pub(crate) async fn at(
        address: SocketAddr,
        probe: Probe,
        config: listen::Config,
        limits: Limits,
    ) -> Self {
        let stack = probe.stack("probe", limits);
        Self::serving(address, stack.clone(), stack, config).await
    }

    /// A service of any kind; `stack` is what it is asked about.
    pub(crate) async fn serving<S>(
        address: SocketAddr,
        stack: Stack,
        service: S,
        config: listen::Config,
    ) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        let listener = Listener::bind(&address.to_string(), config).await.unwrap();
        let (address, shutdown, metrics) =
            (listener.address(), CancellationToken::new(), Metrics::new());
        let (counted, stopped) = (metrics.clone(), shutdown.clone());
        let task = tokio::spawn(async move {
            listener.serve("probe", &counted, service, stopped).await;
        });
        Self { address, stack, shutdown, metrics, task }
    }

    /// How many connections were closed for this cause.
    pub(crate) fn refused(&self, cause: &str) -> u64 {
        let line =
            format!("mesh_connections_refused_total{{listener=\"probe\",cause=\"{cause}\"}} ");
        let page = self.metrics.encode().unwrap();
        page.lines()
            .find_map(|found| found.strip_prefix(&line))
            .map_or(0, |count| count.parse().unwrap())
    }

    /// How many connections are open.
    pub(crate) fn connections(&self) -> u64 {
        let page = self.metrics.encode().unwrap();
        page.lines()
            .find_map(|found| found.strip_prefix("mesh_connections{listener=\"probe\"} "))
            .map_or(0, |count| count.parse().unwrap())
    }

    pub(crate) fn channel(&self) -> Channel {
        Channel::to(&contract(), self.address)
    }

    /// Drains, and says how long that took.
    pub(crate) async fn stop(self) -> Duration {
        let began = Instant::now();
        self.shutdown.cancel();
        self.task.await.unwrap();
        began.elapsed()
    }
}

/// Peers of a service "caller", with "probe" at these addresses.
pub(crate) fn peers(addresses: &[SocketAddr], config: channel::Config) -> Peers {
    let addresses: Vec<String> =
        addresses.iter().map(|address| format!("http://{address}")).collect();
    let addresses = BTreeMap::from([("probe".to_owned(), addresses.join(","))]);
    let telemetry = Telemetry::off("caller");
    Peers::with_config(contract(), telemetry, Switchboard::new(), addresses, config, nobody())
}

/// Peers of a service "caller", with these in the same process.
pub(crate) fn neighbours(stacks: &[(&str, &Stack)], config: channel::Config) -> Peers {
    let switchboard = Switchboard::new();
    for (name, stack) in stacks {
        switchboard.connect(name, Stack::clone(stack));
    }
    Peers::with_config(
        contract(),
        Telemetry::off("caller"),
        switchboard,
        BTreeMap::new(),
        config,
        nobody(),
    )
}

pub(crate) fn nobody() -> Credential {
    Arc::new(|| None)
}

/// One unary call.
pub(crate) async fn call(
    channel: &Channel,
    path: &'static str,
    text: &str,
) -> Result<String, Status> {
    send(channel, path, tonic::Request::new(text.to_owned())).await
}

/// One unary call with a deadline of its own.
pub(crate) async fn call_within(
    channel: &Channel,
    path: &'static str,
    text: &str,
    timeout: Duration,
) -> Result<String, Status> {
    let mut request = tonic::Request::new(text.to_owned());
    request.set_timeout(timeout);
    send(channel, path, request).await
}

/// One unary call of a request that is ready.
pub(crate) async fn send(
    channel: &Channel,
    path: &'static str,
    request: tonic::Request<String>,
) -> Result<String, Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    let codec = ProstCodec::<String, String>::default();
    grpc.unary(request, PathAndQuery::from_static(path), codec)
        .await
        .map(tonic::Response::into_inner)
}

/// Reads a stream to its end.
pub(crate) async fn watch(channel: &Channel, text: &str) -> (Vec<String>, Option<Status>) {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    let codec = ProstCodec::<String, String>::default();
    let request = tonic::Request::new(text.to_owned());
    let mut seen = Vec::new();
    match grpc.server_streaming(request, PathAndQuery::from_static(WATCH), codec).await {
        Err(status) => (seen, Some(status)),
        Ok(response) => {
            let mut messages = response.into_inner();
            loop {
                match messages.message().await {
                    Ok(Some(message)) => seen.push(message),
                    Ok(None) => return (seen, None),
                    Err(status) => return (seen, Some(status)),
                }
            }
        }
    }
}

/// The reason of a refusal.
pub(crate) fn reason(status: &Status) -> String {
    Fault::from_status(status).reason().to_owned()
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let given_up = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < given_up, "it never came to be that {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
