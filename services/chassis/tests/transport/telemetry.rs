//! What can be seen from outside: health, reflection, the admin page.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use chassis::{
    Channel, Telemetry,
    admin::Admin,
    listen::{self, Listener},
    serve::{Health, Limits, Routes, Stack, reflection},
    telemetry,
};
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, body::Body};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use tower_service::Service;

use crate::probe::{Probe, WRITE, call, contract, nobody};

const PROBE: &str = "mercat.probe.v1.ProbeService";

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_service_tells_its_health_and_its_contract_and_its_numbers() {
    let telemetry = Telemetry::off("probe");
    let metrics = telemetry.metrics().clone();
    let health = Health::new([PROBE]).await;
    let routes = Routes::new().add(Probe::echo()).add(health.server());
    let routes = reflection(routes, &contract(), &[PROBE.to_owned()]).unwrap();
    let stack = Stack::new(&contract(), telemetry, Limits::default(), routes);
    let stop = CancellationToken::new();

    let listener = Listener::bind("127.0.0.1:0", listen::Config::default()).await.unwrap();
    let channel = Channel::to(&contract(), listener.address());
    let (counted, stopped) = (metrics.clone(), stop.clone());
    tokio::spawn(async move { listener.serve("probe", &counted, stack, stopped).await });
    let listener = Admin::bind("127.0.0.1:0").await.unwrap();
    let page = listener.address();
    let admin = Admin::new(metrics);
    admin.add("probe", health.clone());
    tokio::spawn(admin.serve(listener, stop.clone()));

    // Health: per service, and only after a check was good.
    let mut client = HealthClient::new(channel.clone());
    let mut check = async |service: &str| {
        let request = HealthCheckRequest { service: service.to_owned() };
        client.check(request).await.map(|response| response.into_inner().status())
    };
    for name in ["", PROBE] {
        assert_eq!(check(name).await.unwrap(), ServingStatus::NotServing);
    }
    assert!(get(page, "/readyz").await.starts_with("HTTP/1.1 503"));
    health.set(true).await;
    for name in ["", PROBE] {
        assert_eq!(check(name).await.unwrap(), ServingStatus::Serving);
    }
    assert_eq!(check("mercat.nobody.v1.NobodyService").await.unwrap_err().code(), Code::NotFound);
    assert!(get(page, "/readyz").await.starts_with("HTTP/1.1 200"));

    // Reflection: its own services, with their options.
    let request =
        |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let asked = [
        request(MessageRequest::ListServices(String::new())),
        request(MessageRequest::FileContainingSymbol(PROBE.to_owned())),
    ];
    let mut client = ServerReflectionClient::new(channel.clone());
    let mut answers =
        client.server_reflection_info(tokio_stream::iter(asked)).await.unwrap().into_inner();
    match answers.message().await.unwrap().unwrap().message_response.unwrap() {
        MessageResponse::ListServicesResponse(list) => {
            let names: Vec<&str> =
                list.service.iter().map(|service| service.name.as_str()).collect();
            assert_eq!(
                names,
                [PROBE, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]
            );
        }
        other => panic!("{other:?}"),
    }
    match answers.message().await.unwrap().unwrap().message_response.unwrap() {
        MessageResponse::FileDescriptorResponse(files) => {
            let file =
                contract().pool().get_service_by_name(PROBE).unwrap().parent_file().encode_to_vec();
            assert!(
                files.file_descriptor_proto.contains(&file),
                "custom options are lost on the way"
            );
        }
        other => panic!("{other:?}"),
    }

    // Numbers.
    call(&channel, WRITE, "hello").await.unwrap();
    let page_now = get(page, "/metrics").await;
    let series = "rpc_server_call_duration_seconds_count{service=\"probe\",rpc_service=\"mercat.probe.v1.ProbeService\",\
                  rpc_method=\"Write\",rpc_response_status_code=\"OK\"} 1";
    assert!(page_now.contains(series), "{page_now}");
    assert!(page_now.contains("mesh_connections{listener=\"probe\"}"), "{page_now}");
    assert!(get(page, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(get(page, "/secrets").await.starts_with("HTTP/1.1 404"));

    // Drain: not ready before the port closes, and no later check changes that.
    health.drain().await;
    health.set(true).await;
    assert!(get(page, "/readyz").await.starts_with("HTTP/1.1 503"));
    stop.cancel();
}

/// Keeps what an OpenTelemetry collector is sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<u8>>>);

impl Service<Request<Body>> for Collector {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let kept = Arc::clone(&self.0);
        Box::pin(async move {
            let bytes = request.into_body().collect().await.unwrap().to_bytes();
            kept.lock().unwrap().extend_from_slice(&bytes);
            // An empty answer, and OK.
            let mut response = Response::new(Body::new(Full::new(Bytes::from_static(&[0; 5]))));
            response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
            response.headers_mut().insert("grpc-status", "0".parse().unwrap());
            Ok(response)
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_reach_the_collector_that_is_configured() {
    let listener = Listener::bind("127.0.0.1:0", listen::Config::default()).await.unwrap();
    let config = telemetry::Config {
        otlp_endpoint: Some(format!("http://{}", listener.address())),
        attributes: [("service.version".to_owned(), "7.7.7".to_owned())].into(),
        ..telemetry::Config::default()
    };
    let collector = Collector::default();
    let (kept, stop) = (Arc::clone(&collector.0), CancellationToken::new());
    let stopped = stop.clone();
    tokio::spawn(async move {
        let metrics = telemetry::Metrics::new();
        listener.serve("otlp", &metrics, collector, stopped).await;
    });

    let guard = telemetry::Guard::new(&config);
    let routes = Routes::new().add(Probe::echo());
    let stack = Stack::new(&contract(), guard.service("probe"), Limits::default(), routes);
    let switchboard = chassis::Switchboard::new();
    switchboard.connect("probe", stack);
    let caller = guard.service("caller");
    let peers = chassis::Peers::new(contract(), caller, switchboard, [].into(), nobody());
    call(&peers.channel("probe"), WRITE, "hello").await.unwrap();
    tokio::task::spawn_blocking(move || guard.shutdown()).await.unwrap();

    let sent = kept.lock().unwrap();
    for text in ["caller", "probe", "7.7.7", "mercat.probe.v1.ProbeService/Write"] {
        assert!(sent.windows(text.len()).any(|part| part == text.as_bytes()), "no {text}");
    }
    stop.cancel();
}
