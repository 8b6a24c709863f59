//! One purchase is one tree of spans: from the gateway through all services, on
//! both shapes, as a collector sees it.
#![expect(clippy::unwrap_used, reason = "a test says why it failed")]

#[expect(dead_code, reason = "each test file uses its part of it")]
mod support;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
};

use chassis::{
    listen::{self, Listener},
    telemetry::Metrics,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::Span,
};
use serde_json::{Value as Json, json};
use support::{Shape, TestMesh, rest::Rest, shopper::CARD_OK};
use testkit::request_id;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// What a collector was sent: the service, and its span.
type Spans = Arc<Mutex<Vec<(String, Span)>>>;

/// A collector that keeps everything in mind.
#[derive(Clone)]
struct Collector(Spans);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        let mut kept = self.0.lock().unwrap();
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.unwrap_or_default().attributes;
            let name = attributes
                .into_iter()
                .find(|attribute| attribute.key == "service.name")
                .and_then(|attribute| attribute.value?.value)
                .map(|value| match value {
                    Value::StringValue(name) => name,
                    other => format!("{other:?}"),
                })
                .unwrap_or_default();
            for scope in resource.scope_spans {
                kept.extend(scope.spans.into_iter().map(|span| (name.clone(), span)));
            }
        }
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A collector on a port of its own.
async fn collect() -> (Spans, String, CancellationToken) {
    let spans = Spans::default();
    let listener = Listener::bind("127.0.0.1:0", listen::Config::default()).await.unwrap();
    let address = format!("http://{}", listener.address());
    let stop = CancellationToken::new();
    let (port, stopped) = (TraceServiceServer::new(Collector(spans.clone())), stop.clone());
    #[expect(
        clippy::disallowed_methods,
        reason = "no service's task: it goes with the test's runtime"
    )]
    tokio::spawn(async move {
        listener.serve("collector", &Metrics::new(), port, stopped).await;
    });
    (spans, address, stop)
}

/// The trace of the shopper, and the span in it that is the shopper's own: what a
/// browser that is traced sends along.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SHOPPER: &str = "00f067aa0ba902b7";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A request of the shopper's, over REST.
async fn ask(rest: &Rest, verb: &str, path: &str, mut body: Json) -> Json {
    let traceparent = format!("00-{TRACE}-{SHOPPER}-01");
    let headers = [("content-type", "application/json"), ("traceparent", traceparent.as_str())];
    if verb == "GET" {
        return rest.raw(verb, path, &headers[1..], "").await.ok();
    }
    body["requestId"] = request_id().into();
    rest.raw(verb, path, &headers, body.to_string()).await.ok()
}

/// Buys as a new guest, all of it in one trace.
async fn buy(mesh: &TestMesh, sku: &str) {
    let rest = mesh.rest();
    let guest = ask(&rest, "POST", "/v1/auth:guest", json!({})).await;
    let rest = rest.with_token(guest["tokens"]["accessToken"].as_str().unwrap());
    ask(&rest, "GET", "/v1/products", json!({})).await;
    let cart = ask(&rest, "POST", "/v1/carts", json!({ "currencyCode": "EUR" })).await;
    let cart_id = cart["cartId"].as_str().unwrap();
    ask(&rest, "POST", &format!("/v1/carts/{cart_id}/lines"), json!({ "sku": sku, "quantity": 1 }))
        .await;
    let checkout = ask(&rest, "POST", "/v1/checkouts", json!({ "cartId": cart_id })).await;
    let path = format!("/v1/checkouts/{}", checkout["checkoutId"].as_str().unwrap());
    let address = json!({
        "recipient": "Ana Puig", "addressLines": ["Carrer de la Força 12"],
        "locality": "Girona", "postalCode": "17004", "regionCode": "ES",
    });
    ask(&rest, "PUT", &format!("{path}/contact"), json!({ "email": "ana@example.com" })).await;
    ask(&rest, "PUT", &format!("{path}/addresses"), json!({ "shippingAddress": address })).await;
    ask(&rest, "PUT", &format!("{path}/shippingOption"), json!({ "code": "standard" })).await;
    let quote =
        ask(&rest, "PUT", &format!("{path}/paymentMethod"), json!({ "paymentMethod": CARD_OK }))
            .await;
    let click = json!({ "quoteHash": quote["quoteHash"] });
    let bought = ask(&rest, "POST", &format!("{path}:complete"), click).await;
    assert!(bought["order"]["orderId"].is_string(), "{bought}");
}

/// Buys, and gives every span of it, by its id.
async fn trace_of_a_purchase(shape: Shape) -> HashMap<String, (String, Span)> {
    let (spans, endpoint, stop) = collect().await;
    let mesh =
        TestMesh::start_with(shape, |settings| settings.telemetry.otlp_endpoint = Some(endpoint))
            .await;
    let sku = mesh.product(5).await;
    buy(&mesh, &sku).await;
    let host = mesh.host().clone();
    mesh.stop().await;
    tokio::task::spawn_blocking(move || host.telemetry.shutdown()).await.unwrap();
    stop.cancel();
    let kept = std::mem::take(&mut *spans.lock().unwrap());
    assert!(!kept.is_empty(), "the collector got nothing");
    kept.into_iter()
        .filter(|(_, span)| hex(&span.trace_id) == TRACE)
        .map(|(service, span)| (hex(&span.span_id), (service, span)))
        .collect()
}

fn assert_one_tree(spans: &HashMap<String, (String, Span)>) {
    let mut shown: BTreeMap<String, usize> = BTreeMap::new();
    for (service, span) in spans.values() {
        *shown.entry(format!("{service} {} {}", span.kind, span.name)).or_default() += 1;
    }
    let orphans: Vec<String> = spans
        .values()
        .map(|(service, span)| (service, span, hex(&span.parent_span_id)))
        .filter(|(_, _, parent)| parent != SHOPPER && !spans.contains_key(parent))
        .map(|(service, span, parent)| format!("{service} {} beneath {parent}", span.name))
        .collect();
    assert!(orphans.is_empty(), "whose parent was not sent: {orphans:?} in {shown:#?}");

    let beneath_the_shopper: BTreeSet<&str> = spans
        .values()
        .filter(|(_, span)| hex(&span.parent_span_id) == SHOPPER)
        .map(|(service, _)| service.as_str())
        .collect();
    assert_eq!(beneath_the_shopper, BTreeSet::from([gateway::NAME]), "{shown:#?}");

    let mut names: BTreeSet<String> =
        mesh::services().iter().map(|service| service.name().to_owned()).collect();
    names.insert(gateway::NAME.to_owned());
    let seen: BTreeSet<String> = spans.values().map(|(service, _)| service.clone()).collect();
    assert_eq!(seen, names, "{shown:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_in_one_process_is_one_tree() {
    assert_one_tree(&trace_of_a_purchase(Shape::Fused).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_across_sockets_is_one_tree() {
    assert_one_tree(&trace_of_a_purchase(Shape::Tcp).await);
}
