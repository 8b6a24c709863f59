//! A gRPC server for any contract, and a gateway before it.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use arc_swap::ArcSwap;
use bytes::{Buf as _, BufMut as _};
use chassis::{
    Clock, Contract, Routes, Settings, Switchboard,
    keys::{MeshKey, SigningKey},
    listen::{self, Listener},
    service::Host,
    telemetry,
};
use futures_util::{
    FutureExt as _, Stream, StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use http::{HeaderMap, Request, Response};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, prost::Message as _};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tonic::{
    Status, Streaming,
    body::Body,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
    server::{Grpc, StreamingService},
};

/// One call as a handler sees it.
pub(crate) struct Call {
    pub(crate) headers: HeaderMap,
    pub(crate) requests: Streaming<DynamicMessage>,
}

/// What a handler answers: headers, and messages until the stream ends or fails.
pub(crate) struct Answer {
    pub(crate) headers: MetadataMap,
    pub(crate) messages: BoxStream<'static, Result<DynamicMessage, Status>>,
}

type Handler =
    Arc<dyn Fn(Call) -> BoxFuture<'static, Result<Answer, Status>> + Send + Sync + 'static>;

/// A gRPC server that runs until it is dropped.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    shutdown: CancellationToken,
}

struct State {
    contracts: ArcSwap<Contracts>,
    handlers: Mutex<HashMap<String, Handler>>,
}

struct Contracts {
    pool: DescriptorPool,
    /// None of a server without it.
    reflection: Option<Routes>,
}

/// Compiles contracts from `tests/proto`.
pub(crate) fn compile(files: &[&str]) -> DescriptorPool {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [here.join("tests/proto"), here.join("../proto")];
    DescriptorPool::decode(encode(&folders, files).as_slice()).unwrap()
}

/// The same from a text, under the name `test.proto`.
pub(crate) fn compile_text(text: &str) -> DescriptorPool {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("test.proto"), text).unwrap();
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto");
    let set = encode(&[folder.path().to_owned(), proto], &["test.proto"]);
    DescriptorPool::decode(set.as_slice()).unwrap()
}

fn encode(folders: &[std::path::PathBuf], files: &[&str]) -> Vec<u8> {
    let mut compiler = protox::Compiler::new(folders).unwrap();
    compiler.include_imports(true).include_source_info(true).open_files(files).unwrap();
    compiler.encode_file_descriptor_set()
}

/// A message from its JSON.
pub(crate) fn message(pool: &DescriptorPool, name: &str, json: &Value) -> DynamicMessage {
    let descriptor = pool.get_message_by_name(name).unwrap();
    DynamicMessage::deserialize(descriptor, json).unwrap()
}

/// A message as JSON.
pub(crate) fn to_json(message: &DynamicMessage) -> Value {
    serde_json::to_value(message).unwrap()
}

// === impl Upstream ===

impl Upstream {
    /// Serves the contracts of a file in `tests/proto`, with reflection. Methods
    /// without a handler are unimplemented.
    pub(crate) async fn start(file: &str) -> Self {
        Self::serve(compile(&[file]), true).await
    }

    pub(crate) async fn serve(pool: DescriptorPool, has_reflection: bool) -> Self {
        let state = Arc::new(State {
            contracts: ArcSwap::from_pointee(Contracts::new(pool, has_reflection)),
            handlers: Mutex::default(),
        });
        // As tonic's server does out of the box.
        let config =
            listen::Config { max_pending_accept_reset_streams: 20, ..listen::Config::default() };
        let listener = Listener::bind("127.0.0.1:0", config).await.unwrap();
        let address = listener.address();
        let shutdown = CancellationToken::new();
        let telemetry = telemetry::Guard::new(&telemetry::Config::default());
        let (service, stop) = (Server(Arc::clone(&state)), shutdown.clone());
        tokio::spawn(async move {
            listener.serve("upstream", telemetry.metrics(), service, stop).await;
        });
        Self { address, state, shutdown }
    }

    pub(crate) fn pool(&self) -> DescriptorPool {
        self.state.contracts.load().pool.clone()
    }

    /// From now on it serves these contracts.
    pub(crate) fn replace(&self, pool: DescriptorPool) {
        self.state.contracts.store(Arc::new(Contracts::new(pool, true)));
    }

    /// Answers `/package.Service/Method`.
    pub(crate) fn on<F>(&self, path: &str, handler: impl Fn(Call) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<Answer, Status>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |call| handler(call).boxed());
        self.state.handlers.lock().unwrap().insert(path.to_owned(), handler);
    }

    /// Answers one message with one, both as JSON.
    pub(crate) fn unary(
        &self,
        path: &str,
        handler: impl Fn(Value, &HeaderMap) -> Result<Value, Status> + Send + Sync + 'static,
    ) {
        let output = self.output(path);
        let handler = Arc::new(handler);
        self.on(path, move |mut call| {
            let (handler, output) = (Arc::clone(&handler), output.clone());
            async move {
                let request = call.requests.message().await?;
                let request = request.ok_or_else(|| Status::internal("no message"))?;
                let answer = handler(to_json(&request), &call.headers)?;
                let answer = DynamicMessage::deserialize(output, &answer).unwrap();
                Ok(Answer::of(stream::iter([Ok(answer)])))
            }
        });
    }

    /// Answers one message with many, and perhaps a failure, all as JSON.
    pub(crate) fn server_stream<S>(
        &self,
        path: &str,
        handler: impl Fn(Value) -> S + Send + Sync + 'static,
    ) where
        S: Stream<Item = Result<Value, Status>> + Send + 'static,
    {
        let output = self.output(path);
        let handler = Arc::new(handler);
        self.on(path, move |mut call| {
            let (handler, output) = (Arc::clone(&handler), output.clone());
            async move {
                let request = call.requests.message().await?;
                let request = request.ok_or_else(|| Status::internal("no message"))?;
                let messages = handler(to_json(&request)).map(move |item| {
                    item.map(|json| DynamicMessage::deserialize(output.clone(), &json).unwrap())
                });
                Ok(Answer::of(messages))
            }
        });
    }

    /// The message that a method answers with.
    pub(crate) fn output(&self, path: &str) -> MessageDescriptor {
        let (_, output) = self.state.shapes(path).unwrap();
        output
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Answer {
    pub(crate) fn of(
        messages: impl Stream<Item = Result<DynamicMessage, Status>> + Send + 'static,
    ) -> Self {
        Self { headers: MetadataMap::new(), messages: messages.boxed() }
    }
}

impl Contracts {
    fn new(pool: DescriptorPool, has_reflection: bool) -> Self {
        let reflection = has_reflection.then(|| {
            let names: Vec<String> =
                pool.services().map(|service| service.full_name().to_owned()).collect();
            let builder = || {
                names
                    .iter()
                    .fold(tonic_reflection::server::Builder::configure(), |builder, name| {
                        builder.with_service_name(name)
                    })
            };
            let set = pool.encode_to_vec();
            Routes::new()
                .add(builder().register_encoded_file_descriptor_set(&set).build_v1().unwrap())
        });
        Self { pool, reflection }
    }
}

impl State {
    fn shapes(&self, path: &str) -> Option<(MessageDescriptor, MessageDescriptor)> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        let contracts = self.contracts.load();
        let service = contracts.pool.get_service_by_name(service)?;
        let method = service.methods().find(|found| found.name() == method)?;
        Some((method.input(), method.output()))
    }
}

// === the server ===

#[derive(Clone)]
struct Server(Arc<State>);

impl tower_service::Service<Request<Body>> for Server {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let state = Arc::clone(&self.0);
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            if path.starts_with("/grpc.reflection.")
                && let Some(mut routes) = state.contracts.load().reflection.clone()
            {
                return routes.call(request).await;
            }
            let handler = state.handlers.lock().unwrap().get(&path).cloned();
            match (handler, state.shapes(&path)) {
                (Some(handler), Some((input, _))) => {
                    let headers = request.headers().clone();
                    let service = Handle { handler, headers };
                    Ok(Grpc::new(Dynamic(input)).streaming(service, request).await)
                }
                _ => Ok(Status::unimplemented(format!("no handler for {path}")).into_http()),
            }
        })
    }
}

struct Handle {
    handler: Handler,
    headers: HeaderMap,
}

impl StreamingService<DynamicMessage> for Handle {
    type Response = DynamicMessage;
    type ResponseStream = BoxStream<'static, Result<DynamicMessage, Status>>;
    type Future = BoxFuture<'static, Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<DynamicMessage>>) -> Self::Future {
        let call = Call { headers: self.headers.clone(), requests: request.into_inner() };
        let answered = (self.handler)(call);
        Box::pin(async move {
            let answer = answered.await?;
            let mut response = tonic::Response::new(answer.messages);
            *response.metadata_mut() = answer.headers;
            Ok(response)
        })
    }
}

/// Messages by their descriptor.
#[derive(Clone)]
struct Dynamic(MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        self.clone()
    }

    fn decoder(&mut self) -> Self {
        self.clone()
    }
}

impl Encoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item.encode_to_vec().as_slice());
        Ok(())
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        DynamicMessage::decode(self.0.clone(), bytes)
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

// === Edge ===

/// A gateway before upstreams.
pub(crate) struct Edge {
    pub(crate) address: SocketAddr,
    /// Signs tokens that the gateway believes: see `testkit::token`.
    pub(crate) signing: SigningKey,
    pub(crate) clock: Clock,
    running: gateway::Running,
}

impl Edge {
    /// Anyone may call; contracts by reflection.
    pub(crate) async fn before(upstream: &Upstream) -> Self {
        Self::with(&[upstream], json!({ "access": "public" })).await
    }

    /// With these settings in the `[gateway]` table.
    pub(crate) async fn with(upstreams: &[&Upstream], config: Value) -> Self {
        Self::try_with(upstreams, config).await.unwrap()
    }

    pub(crate) async fn try_with(
        upstreams: &[&Upstream],
        config: Value,
    ) -> Result<Self, chassis::Error> {
        let signing = SigningKey::generate().unwrap();
        let mut table = json!({
            "listen": "127.0.0.1:0",
            "upstreams": upstreams.iter().map(|one| one.address.to_string()).collect::<Vec<_>>(),
            "descriptor_period": "50ms",
            "upstream_patience": "0s",
        });
        for (key, value) in config.as_object().unwrap() {
            table[key] = value.clone();
        }
        let mut settings = Settings::default();
        settings.set_table(gateway::NAME, table);
        let host = Host {
            contract: Contract::embedded().unwrap(),
            telemetry: Arc::new(telemetry::Guard::new(&settings.telemetry)),
            switchboard: Switchboard::new(),
            clock: Clock::system(),
            mesh_key: MeshKey::ephemeral().unwrap(),
            trusted: vec![signing.public().clone()],
        };
        let running = gateway::start(&host, &settings).await?;
        Ok(Self { address: running.address(), signing, clock: host.clock, running })
    }

    pub(crate) async fn stop(self) {
        self.running.stop().await;
    }
}
