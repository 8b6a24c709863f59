//! The gRPC services that a stack serves.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use contracts::mesh::v1::ErrorReason;
use futures_util::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use tonic::{Status, body::Body, server::NamedService};
use tower_service::Service;

use crate::Fault;

type Answer = BoxFuture<'static, Result<Response<Body>, Infallible>>;
type Route = Arc<dyn Fn(Request<Body>) -> Answer + Send + Sync>;

/// Generated servers by the name of their service. Cheap to clone.
#[derive(Clone, Default)]
pub struct Routes {
    routes: Arc<BTreeMap<&'static str, Route>>,
}

// === impl Routes ===

impl Routes {
    /// No service yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a generated server; one added before under the same name is replaced.
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "a service is added to routes; nothing is summed"
    )]
    pub fn add<S>(mut self, server: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        let route: Route = Arc::new(move |request| server.clone().call(request).boxed());
        Arc::make_mut(&mut self.routes).insert(S::NAME, route);
        self
    }

    /// The full names of the services, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.routes.keys().copied()
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.routes.keys()).finish()
    }
}

impl Service<Request<Body>> for Routes {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let name = request.uri().path().split('/').nth(1).unwrap_or_default();
        if let Some(route) = self.routes.get(name) {
            return route(request);
        }
        let fault = Fault::unimplemented(ErrorReason::MethodUnknown)
            .message(format!("there is no service `{name}` here"));
        std::future::ready(Ok(Status::from(fault).into_http())).boxed()
    }
}
