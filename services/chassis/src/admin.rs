//! The page for operators: `/metrics`, `/healthz`, `/readyz`. It has a port of
//! its own, which the edge does not show.

use std::{
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower_service::Service;

use crate::{
    Error,
    listen::{Config, Listener, Protocol},
    serve::Health,
    telemetry::Metrics,
};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// What the page shows. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Admin {
    metrics: Metrics,
    services: Arc<RwLock<Vec<(String, Health)>>>,
}

// === impl Admin ===

impl Admin {
    /// Shows these metrics, and no service yet.
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, services: Arc::default() }
    }

    /// `/readyz` waits for this service too.
    pub fn add(&self, name: &str, health: Health) {
        self.services
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push((name.to_owned(), health));
    }

    /// The port of the page: plain text, for it is no port for strangers.
    pub async fn bind(address: &str) -> Result<Listener, Error> {
        let config = Config { protocol: Protocol::Both, max_connections: 64, ..Config::default() };
        Listener::bind(address, config).await
    }

    /// Serves the page until `shutdown` is cancelled.
    pub async fn serve(self, listener: Listener, shutdown: CancellationToken) {
        let metrics = self.metrics.clone();
        listener.serve("admin", &metrics, self, shutdown).await;
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".to_owned());
        }
        match request.uri().path() {
            "/metrics" => match self.metrics.encode() {
                Ok(metrics) => page(StatusCode::OK, OPEN_METRICS, metrics),
                Err(error) => {
                    tracing::error!(%error, "the metrics could not be written");
                    page(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        TEXT,
                        "the metrics could not be written\n".to_owned(),
                    )
                }
            },
            "/healthz" => page(StatusCode::OK, TEXT, "alive\n".to_owned()),
            "/readyz" => {
                let services = self.services.read().unwrap_or_else(PoisonError::into_inner);
                let is_ready = services.iter().all(|(_, health)| health.is_ready());
                let lines = services.iter().map(|(name, health)| {
                    format!("{name}: {}\n", if health.is_ready() { "ready" } else { "not ready" })
                });
                let status =
                    if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                page(status, TEXT, lines.collect())
            }
            _ => page(
                StatusCode::NOT_FOUND,
                TEXT,
                "there are /metrics, /healthz and /readyz\n".to_owned(),
            ),
        }
    }
}

fn page(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl Service<Request<Body>> for Admin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        ready(Ok(self.answer(&request)))
    }
}
