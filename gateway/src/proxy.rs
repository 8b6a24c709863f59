//! gRPC as bytes: a call goes to the service that owns its method.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use chassis::{Channel, Contract, Fault, Peers, Routes, guard::Guard};
use contracts::mesh::v1::ErrorReason;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, Request, Response, header};
use tonic::{Status, body::Body};
use tower_service::Service;

use crate::{rates::Rates, timing::ServerTiming};

/// Headers that speak of one connection (RFC 9110, section 7.6.1) or of the edge,
/// and go no further.
static HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::HOST,
    header::COOKIE,
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
    header::ORIGIN,
    header::REFERER,
];
/// Headers with this prefix are the mesh's own: nobody outside may send them, a
/// service's identity least of all.
const INTERNAL_PREFIX: &str = "x-mercat-";

/// Hands calls to the services. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Proxy(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    local: Routes,
    /// By the name of the gRPC service. What the chassis adds to each service
    /// (health, reflection, the event feed) is answered by the edge or not at all.
    channels: HashMap<String, Channel>,
    contract: Arc<Contract>,
    guard: Guard,
    rates: Arc<Rates>,
    timing: ServerTiming,
}

// === impl Proxy ===

impl Proxy {
    /// Answers `local` itself, and hands the rest of what is exposed to its owner.
    pub(crate) fn new(
        local: Routes,
        contract: &Arc<Contract>,
        peers: &Peers,
        exposed: &[String],
        guard: Guard,
        rates: Arc<Rates>,
        timing: ServerTiming,
    ) -> Self {
        let channels = exposed
            .iter()
            .filter_map(|name| Some((name.clone(), peers.channel(&contract.owner(name)?))))
            .collect();
        let contract = Arc::clone(contract);
        Self(Arc::new(Inner { local, channels, contract, guard, rates, timing }))
    }
}

impl Service<Request<Body>> for Proxy {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        strip(request.headers_mut());
        let inner = Arc::clone(&self.0);
        Box::pin(async move { Ok(inner.answer(request).await) })
    }
}

// === impl Inner ===

impl Inner {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path();
        let name = path.split('/').nth(1).unwrap_or_default();
        let Some(channel) = self.channels.get(name) else {
            if self.local.names().any(|local| local == name) {
                let Ok(response) = self.local.clone().call(request).await;
                return response;
            }
            return unknown(format!(
                "there is no service `{name}`: ask reflection for those there are"
            ));
        };
        let Some(method) = self.contract.method(path) else {
            return unknown(format!("{name} has no method {path}"));
        };
        // Services decide for themselves; the edge spares them what they would
        // refuse, and knows whose rate a call counts against.
        let caller = match self.guard.caller(method, request.headers()).await {
            Ok(caller) => caller,
            Err(fault) => return Status::from(fault).into_http(),
        };
        let standing = self.rates.take(method.rate_class(), &caller, request.extensions());
        if let Err(exceeded) = &standing {
            let mut response = Status::from(exceeded.fault()).into_http();
            exceeded.tell(response.headers_mut());
            return response;
        }
        let started = self.timing.is_on().then(Instant::now);
        let Ok(mut response) = channel.clone().call(request).await;
        if let Some(started) = started {
            self.timing.note(&caller, started.elapsed(), response.headers_mut());
        }
        if let Ok(Some(standing)) = &standing {
            standing.tell(response.headers_mut());
        }
        response
    }
}

fn unknown(message: String) -> Response<Body> {
    let fault = Fault::unimplemented(ErrorReason::MethodUnknown).message(message);
    Status::from(fault).into_http()
}

/// Takes away what must not cross the edge, above all what would be believed
/// inside it.
fn strip(headers: &mut HeaderMap) {
    let stays_out = |name: &&HeaderName| {
        name.as_str().starts_with(INTERNAL_PREFIX) || HOP_BY_HOP.contains(name)
    };
    let unwanted: Vec<HeaderName> = headers.keys().filter(stays_out).cloned().collect();
    for name in unwanted {
        headers.remove(name);
    }
}
