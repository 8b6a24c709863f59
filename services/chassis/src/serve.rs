//! The server stack: what every call passes before it reaches a handler,
//! whether it came over a socket or from the next service in this process.
//!
//! From outside in: load shed, trace, metrics, deadline, panics. Inside of it
//! comes the guard (authentication, access, validation), then the [`Routes`].

mod health;
mod reflection;
mod routes;
mod stream;
pub mod timeout;

use std::{
    any::Any,
    collections::HashMap,
    convert::Infallible,
    fmt,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use contracts::mesh::v1::ErrorReason;
use futures_util::{FutureExt as _, future::BoxFuture};
use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use serde::{Deserialize, Serialize};
use tokio::{sync::Notify, time::Instant};
use tonic::{Code, Status, body::Body};
use tower_service::Service;

pub use health::Health;
pub use reflection::reflection;
pub use routes::Routes;

use crate::{
    Contract, Fault,
    call::{self, Call},
    telemetry::{MethodMetrics, Span, Telemetry, TraceContext},
};

/// Where health and reflection live: answered under any load, for as long as
/// their caller likes.
const INFRASTRUCTURE: &str = "/grpc.";
/// As good as no deadline: connections do not get this old.
const UNBOUNDED: Duration = Duration::from_secs(24 * 60 * 60);

/// The bounds of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Calls being served at once; further ones are refused at once.
    pub max_in_flight: usize,
    /// Bytes of the request of a unary call: the guard's to enforce.
    pub max_request_bytes: usize,
    /// When a refused caller may come again.
    #[serde(with = "crate::duration")]
    pub overload_retry_after: Duration,
}

/// The server stack of one service. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Stack(Arc<Inner>);

struct Inner {
    telemetry: Telemetry,
    limits: Limits,
    methods: HashMap<String, Arc<Method>>,
    infrastructure: Arc<Method>,
    unknown: Arc<Method>,
    in_flight: AtomicUsize,
    /// Told when the last call in flight has ended.
    ended: Notify,
    in_flight_gauge: Gauge,
    shed: Counter,
    panics: Counter,
    handler: Box<dyn Handler>,
}

/// What the stack knows of a method before it is called.
struct Method {
    path: String,
    /// The longest that is granted; `None` for as long as the caller likes.
    deadline: Option<Duration>,
    is_shed: bool,
    is_response_unary: bool,
    metrics: Arc<MethodMetrics>,
}

/// The guard and everything inside of it, whatever its type.
trait Handler: Send + Sync {
    fn handle(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>>;
}

/// A call being served: counted when it ends, however it ends.
struct Served {
    stack: Stack,
    method: Arc<Method>,
    started: Instant,
    /// What it ended with; a call dropped before it ended was cancelled.
    code: Code,
    span: Span,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_in_flight: 1_024,
            max_request_bytes: 256 * 1_024,
            overload_retry_after: Duration::from_secs(1),
        }
    }
}

// === impl Stack ===

impl Stack {
    /// A stack around `handler`: the guard around the routes.
    pub fn new<H>(contract: &Contract, telemetry: Telemetry, limits: Limits, handler: H) -> Self
    where
        H: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        H::Future: Send + 'static,
    {
        let service = telemetry.service().to_owned();
        let metrics = telemetry.metrics().clone();
        let methods = contract
            .methods_of(&service)
            .map(|method| {
                let known = Method {
                    path: method.path().to_owned(),
                    deadline: Some(method.deadline()),
                    is_shed: true,
                    is_response_unary: !method.descriptor().is_server_streaming(),
                    metrics: metrics.server_method(&service, method.path()),
                };
                (method.path().to_owned(), Arc::new(known))
            })
            .collect();
        let other = |path: &str, is_shed: bool| {
            Arc::new(Method {
                path: path.to_owned(),
                deadline: if is_shed { Some(crate::contract::DEADLINE_DEFAULT) } else { None },
                is_shed,
                is_response_unary: false,
                metrics: metrics.server_method(&service, path),
            })
        };
        Self(Arc::new(Inner {
            methods,
            infrastructure: other("/grpc/infrastructure", false),
            unknown: other("/unknown/unknown", true),
            in_flight: AtomicUsize::new(0),
            ended: Notify::new(),
            in_flight_gauge: metrics.in_flight(&service),
            shed: metrics.shed(&service),
            panics: metrics.panics(&service),
            telemetry,
            limits,
            handler: Box::new(Erased(handler)),
        }))
    }

    /// The name of the service.
    pub fn service(&self) -> &str {
        self.0.telemetry.service()
    }

    /// Calls being served now.
    pub fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::Relaxed)
    }

    /// Resolves when no call is being served: those from this process, which no
    /// port waits for, included.
    pub async fn idle(&self) {
        loop {
            let ended = self.0.ended.notified();
            if self.in_flight() == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Serves one call.
    pub fn serve(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let stack = self.clone();
        Box::pin(async move { stack.run(request).await })
    }

    async fn run(self, request: Request<Body>) -> Response<Body> {
        let method = self.0.method(request.uri().path());
        let started = Instant::now();
        let (trace, span) =
            self.0.telemetry.serve(&method.metrics, TraceContext::extract(request.headers()));
        let served = Served::begin(self, Arc::clone(&method), started, span);
        let inner = &served.stack.0;

        if method.is_shed && inner.in_flight.load(Ordering::Relaxed) > inner.limits.max_in_flight {
            inner.shed.inc();
            let fault = Fault::resource_exhausted(ErrorReason::Overloaded)
                .message(format!("{} serves as many calls as it can", served.stack.service()))
                .retry_after(inner.limits.overload_retry_after);
            return served.refuse(fault);
        }
        let timeout = match (timeout::read(request.headers()), method.deadline) {
            (Ok(asked), Some(longest)) => asked.unwrap_or(longest).min(longest),
            (Ok(asked), None) => asked.unwrap_or(UNBOUNDED).min(UNBOUNDED),
            (Err(fault), _) => return served.refuse(fault),
        };
        if timeout.is_zero() {
            return served.refuse(expired(&method.path, timeout));
        }

        let deadline = started + timeout;
        let call =
            Call { deadline, trace, authorization: request.headers().get(AUTHORIZATION).cloned() };
        let for_body = if method.is_response_unary { None } else { Some(call.clone()) };
        let handler = async { inner.handler.handle(request).await };
        let guarded = AssertUnwindSafe(call::scope_of(call, inner.telemetry.tracer(), handler))
            .catch_unwind();
        let response = match tokio::time::timeout_at(deadline, guarded).await {
            Ok(Ok(response)) => response,
            Ok(Err(panic)) => return served.panicked(&*panic),
            Err(_elapsed) => return served.refuse(expired(&method.path, timeout)),
        };
        match for_body {
            None => served.finish(response),
            Some(call) => {
                let (parts, body) = response.into_parts();
                match code_of(&parts.headers) {
                    // A stream that failed before it began has no body to watch.
                    Some(_) => served.finish(Response::from_parts(parts, body)),
                    None => Response::from_parts(
                        parts,
                        Body::new(stream::Watched::new(body, served, call)),
                    ),
                }
            }
        }
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("service", &self.service())
            .field("in_flight", &self.in_flight())
            .finish()
    }
}

impl Service<Request<Body>> for Stack {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let stack = self.clone();
        Box::pin(async move { Ok(stack.run(request).await) })
    }
}

// === impl Inner ===

impl Inner {
    fn method(&self, path: &str) -> Arc<Method> {
        let found = match self.methods.get(path) {
            Some(known) => known,
            None if path.starts_with(INFRASTRUCTURE) => &self.infrastructure,
            None => &self.unknown,
        };
        Arc::clone(found)
    }
}

// === impl Served ===

impl Served {
    fn begin(stack: Stack, method: Arc<Method>, started: Instant, span: Span) -> Self {
        stack.0.in_flight.fetch_add(1, Ordering::Relaxed);
        stack.0.in_flight_gauge.inc();
        Self { stack, method, started, code: Code::Cancelled, span }
    }

    fn finish(mut self, response: Response<Body>) -> Response<Body> {
        self.code = code_of(response.headers()).unwrap_or(Code::Ok);
        response
    }

    fn refuse(mut self, fault: Fault) -> Response<Body> {
        self.code = fault.code();
        Status::from(fault).into_http()
    }

    fn panicked(self, panic: &(dyn Any + Send)) -> Response<Body> {
        let fault = self.panic_fault(panic);
        self.refuse(fault)
    }

    fn panic_fault(&self, panic: &(dyn Any + Send)) -> Fault {
        self.stack.0.panics.inc();
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a value that is no text".to_owned());
        Fault::internal().because(format!("the handler of {} panicked: {text}", self.method.path))
    }

    fn expired(&self, deadline: Instant) -> Fault {
        expired(&self.method.path, deadline.duration_since(self.started))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if self.stack.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.stack.0.ended.notify_waiters();
        }
        self.stack.0.in_flight_gauge.dec();
        self.method.metrics.observe(self.code, self.started.elapsed());
        self.span.end(self.code);
    }
}

fn expired(path: &str, timeout: Duration) -> Fault {
    Fault::deadline_exceeded(ErrorReason::DeadlineExceeded)
        .message(format!("{path} did not end within {}", crate::duration::rounded(&timeout)))
}

/// The code that a head states: those of failures that had no message.
pub(crate) fn code_of(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

// === Erased ===

struct Erased<H>(H);

impl<H> Handler for Erased<H>
where
    H: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    H::Future: Send + 'static,
{
    fn handle(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let future = self.0.clone().call(request);
        Box::pin(async move {
            let Ok(response) = future.await;
            response
        })
    }
}
