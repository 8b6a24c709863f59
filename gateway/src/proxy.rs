//! gRPC as bytes: a call goes to the service that owns its method.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use chassis::{
    Channel, Contract, Fault, Peers, Routes, contract::service_name, guard::SERVICE_HEADER,
};
use contracts::mesh::v1::ErrorReason;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, Request, Response, header};
use tonic::{Status, body::Body};
use tower_service::Service;

/// Headers that speak of one connection (RFC 9110, section 7.6.1) or of the edge,
/// and go no further.
const HOP_BY_HOP: [HeaderName; 9] = [
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
/// Headers with this prefix are the mesh's own: nobody outside may send them.
const INTERNAL_PREFIX: &str = "x-mercat-";

/// Hands calls to the services. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    local: Routes,
    channels: Arc<HashMap<String, Channel>>,
}

/// Whether the methods of a gRPC service may be called from outside: those of
/// the services' own packages. What the chassis adds to each service (health,
/// reflection, the event feed) is answered by the edge or not at all.
pub(crate) fn is_exposed(contract: &Contract, name: &str) -> bool {
    contract
        .pool()
        .get_service_by_name(name)
        .is_some_and(|service| service_name(service.package_name()).is_some())
}

// === impl Proxy ===

impl Proxy {
    /// Answers `local` itself, and hands the rest of what is exposed to its owner.
    pub(crate) fn new(
        local: Routes,
        contract: &Contract,
        peers: &Peers,
        exposed: &[String],
    ) -> Self {
        let channels = exposed
            .iter()
            .filter_map(|name| {
                let package = contract.pool().get_service_by_name(name)?;
                Some((name.clone(), peers.channel(&service_name(package.package_name())?)))
            })
            .collect();
        Self { local, channels: Arc::new(channels) }
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
        let name = request.uri().path().split('/').nth(1).unwrap_or_default();
        match self.channels.get(name) {
            Some(channel) => channel.clone().call(request),
            None if self.local.names().any(|local| local == name) => self.local.call(request),
            None => {
                let fault = Fault::unimplemented(ErrorReason::MethodUnknown).message(format!(
                    "there is no service `{name}`: ask reflection for those there are"
                ));
                Box::pin(std::future::ready(Ok(Status::from(fault).into_http())))
            }
        }
    }
}

/// Takes away what must not cross the edge, above all what would be believed
/// inside it.
fn strip(headers: &mut HeaderMap) {
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove(SERVICE_HEADER);
    let internal: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(INTERNAL_PREFIX)).cloned().collect();
    for name in internal {
        headers.remove(name);
    }
}
