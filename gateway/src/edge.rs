//! The port: tells the protocols apart, and says no in one voice.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use chassis::{
    Error, Fault, Tasks,
    listen::PeerAddr,
    telemetry::{ACCESS, TraceContext},
};
use contracts::mesh::v1::ErrorReason;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use ipnet::IpNet;
use tonic::body::Body;
use tower_service::Service;

use crate::{
    coding::{self, Accepted},
    config::Config,
    connect::{self, Connect},
    cors::Cors,
    docs,
    grpc::{self, Grpc},
    health::Aggregate,
    problem::{self, Telling},
    rest::{Accept, Rest},
    serving::Serving,
    timing::{self, ServerTiming},
    web::{self, Web},
    websocket::{self, Sockets},
};

/// Names a request to people: the client's own, or the id of its trace.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Whom a proxy before the edge heard from.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// The longest name a client may give a request.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// The whole edge as one service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Edge(Arc<Inner>);

struct Inner {
    serving: Arc<ArcSwap<Serving>>,
    grpc: Grpc,
    web: Web,
    connect: Connect,
    rest: Rest,
    sockets: Sockets,
    coding: coding::Bounds,
    cors: Cors,
    health: Aggregate,
    trusted_proxies: Vec<IpNet>,
    uri_bytes_max: usize,
    access_log: bool,
    timing: ServerTiming,
}

/// The route that a REST request took: in the extensions of its answer, for the log.
#[derive(Debug, Clone)]
pub(crate) struct Matched(pub(crate) Arc<str>);

/// What a request speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speech {
    Grpc,
    GrpcWeb,
    Http,
}

// === impl Edge ===

impl Edge {
    pub(crate) fn new(
        config: &Config,
        serving: Arc<ArcSwap<Serving>>,
        health: Aggregate,
        tasks: &Tasks,
    ) -> Result<Self, Error> {
        Ok(Self(Arc::new(Inner {
            grpc: Grpc::new(config),
            web: Web::new(config),
            connect: Connect::new(config),
            rest: Rest::new(config)?,
            sockets: Sockets::new(config, tasks.clone()),
            coding: coding::Bounds::from(config),
            cors: Cors::new(&config.cors_origins)?,
            trusted_proxies: config.trusted_proxies.clone(),
            uri_bytes_max: config.uri_bytes_max,
            access_log: config.access_log,
            timing: config.server_timing,
            serving,
            health,
        })))
    }
}

impl Service<Request<Body>> for Edge {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let edge = Arc::clone(&self.0);
        Box::pin(async move { Ok(edge.answer(request).await) })
    }
}

// === impl Inner ===

impl Inner {
    async fn answer(&self, mut request: Request<Body>) -> Response<Body> {
        if let Some(preflight) = self.cors.preflight(&request) {
            return preflight;
        }
        let started = Instant::now();
        let serving = self.serving.load_full();
        self.find_client(&mut request);
        let origin = request.headers().get(header::ORIGIN).cloned();
        let request_id = request_id(request.headers_mut());
        let (method, path) = match self.access_log {
            true => (request.method().clone(), request.uri().path().to_owned()),
            false => (Method::GET, String::new()),
        };
        let speech = speech(&request);
        let mut response = match speech {
            Speech::Grpc => self.grpc.answer(&serving, request).await,
            Speech::GrpcWeb => self.web.answer(&serving, request).await,
            Speech::Http => self.http(&serving, request, &request_id).await,
        };
        let headers = response.headers_mut();
        if speech != Speech::Grpc {
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            if let Ok(name) = HeaderValue::from_str(&request_id) {
                headers.insert(REQUEST_ID, name);
            }
        }
        if self.timing.is_on() {
            timing::complete(started.elapsed(), headers);
        }
        self.cors.admit(headers, origin.as_ref());
        if self.access_log {
            let status = response.status().as_u16();
            let duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
            let route = response.extensions().get::<Matched>().map_or("", |Matched(route)| route);
            tracing::info!(target: ACCESS, %method, path, route, status, duration_us, request_id, "answered");
        }
        response
    }

    /// Puts the address of the client in the place of a trusted proxy's.
    fn find_client(&self, request: &mut Request<Body>) {
        if self.trusted_proxies.is_empty() {
            return;
        }
        let Some(PeerAddr(peer)) = request.extensions().get::<PeerAddr>().copied() else { return };
        let is_trusted = |ip: IpAddr| self.trusted_proxies.iter().any(|net| net.contains(&ip));
        if !is_trusted(peer.ip()) {
            return;
        }
        // Each proxy adds whom it heard from at the end; what a client made up
        // stands before that.
        let client = request
            .headers()
            .get_all(FORWARDED_FOR)
            .iter()
            .rev()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.rsplit(','))
            .map_while(|address| address.trim().parse::<IpAddr>().ok())
            .find(|address| !is_trusted(*address));
        if let Some(client) = client {
            request.extensions_mut().insert(PeerAddr(SocketAddr::new(client, 0)));
        }
    }

    async fn http(
        &self,
        serving: &Arc<Serving>,
        request: Request<Body>,
        request_id: &str,
    ) -> Response<Body> {
        let length = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        if length > self.uri_bytes_max {
            let fault = Fault::invalid_argument(ErrorReason::HeaderInvalid).message(format!(
                "path and query have {length} bytes, and may have {}",
                self.uri_bytes_max
            ));
            let telling = Telling {
                status: Some(StatusCode::URI_TOO_LONG),
                format: Accept::of(request.headers()).failure_format(),
                ..Telling::new(request_id)
            };
            return problem::tell(&fault, &telling);
        }
        if websocket::is_asked(&request) {
            return self.sockets.answer(serving, &self.rest, &self.cors, request, request_id);
        }
        // It compresses by rules of its own.
        if connect::is_spoken(&request) {
            return self.connect.answer(serving, request).await;
        }
        let accepted = Accepted::of(request.headers());
        let request = match coding::decode(request, self.coding) {
            Ok(request) => request,
            Err(fault) => {
                let mut response = problem::response(&fault, request_id);
                coding::offer(response.headers_mut());
                return response;
            }
        };
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let response = match (request.uri().path(), is_read) {
            ("/healthz", true) => {
                json(StatusCode::OK, Bytes::from_static(b"{\"status\":\"alive\"}"))
            }
            ("/readyz", true) => self.readiness(),
            ("/openapi.json", true) => serving.document.answer(request.headers()),
            (path, true) if path.starts_with("/docs") => {
                match docs::answer(path, request.headers()) {
                    Some(page) => page,
                    None => self.rest.answer(serving, request, request_id).await,
                }
            }
            _ => self.rest.answer(serving, request, request_id).await,
        };
        accepted.encode(response).await
    }

    fn readiness(&self) -> Response<Body> {
        let is_ready = self.health.is_ready();
        let services: serde_json::Map<String, serde_json::Value> = self
            .health
            .told()
            .into_iter()
            .map(|(name, is_ready)| (name, if is_ready { "ready" } else { "not ready" }.into()))
            .collect();
        let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let said = if is_ready { "ready" } else { "not ready" };
        json(
            status,
            Bytes::from(serde_json::json!({"status": said, "services": services}).to_string()),
        )
    }
}

impl std::fmt::Debug for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edge").field("serving", &self.0.serving).finish_non_exhaustive()
    }
}

fn speech<B>(request: &Request<B>) -> Speech {
    let kind = grpc::media_type(request.headers());
    if grpc::after(kind, web::MEDIA_TYPE).is_some() {
        Speech::GrpcWeb
    } else if grpc::after(kind, grpc::MEDIA_TYPE).is_some() {
        Speech::Grpc
    } else {
        Speech::Http
    }
}

/// The name of the request: the client's if it is harmless, else the trace's id,
/// so that a log line is found by what the client saw.
fn request_id(headers: &mut HeaderMap) -> String {
    let is_harmless = |name: &&str| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
    };
    if let Some(name) =
        headers.get(&REQUEST_ID).and_then(|value| value.to_str().ok()).filter(is_harmless)
    {
        return name.to_owned();
    }
    headers.remove(&REQUEST_ID);
    let trace = match TraceContext::extract(headers) {
        Some(trace) => trace,
        None => {
            let trace = TraceContext::start();
            trace.inject(headers);
            trace
        }
    };
    trace.trace_id_text()
}

/// A page of the edge's own.
fn json(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
