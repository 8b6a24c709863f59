//! The last thing before a handler: who calls, may they, and is what they sent
//! what the contract says.
//!
//! Every service enforces its own contract, whoever stands in front of it. The
//! rules come from the method's options alone.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use contracts::mesh::v1::ErrorReason;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use tonic::{Status, body::Body};
use tower_service::Service;

use crate::{
    Caller, Contract, Fault, Principal, Scope, caller, contract::Method, keys::Keys, serve::Routes,
    validation::Invalid,
};

/// The header by which a service proves itself to a peer.
pub const SERVICE_HEADER: &str = "x-mercat-service";

/// A gRPC frame: one flag byte and four bytes of length.
const FRAME_HEADER_BYTES: usize = 5;

/// Authenticates, authorizes and validates. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Guard {
    contract: Arc<Contract>,
    keys: Keys,
    message_bytes_max: usize,
}

/// Routes that nothing reaches but through a guard.
#[derive(Debug, Clone)]
pub struct Guarded {
    guard: Guard,
    routes: Routes,
}

// === impl Guard ===

impl Guard {
    /// A guard for the methods of a contract.
    pub fn new(contract: Arc<Contract>, keys: Keys, message_bytes_max: usize) -> Self {
        Self { contract, keys, message_bytes_max }
    }

    /// Puts routes behind this guard.
    pub fn guard(self, routes: Routes) -> Guarded {
        Guarded { guard: self, routes }
    }

    /// Lets a request through to its handler, with the [`Caller`] in its
    /// extensions, or says why not.
    pub async fn admit(&self, mut request: Request<Body>) -> Result<Request<Body>, Fault> {
        // A method that is in no contract is the router's to refuse.
        let Some(method) = self.contract.method(request.uri().path()) else {
            return Ok(request);
        };
        let caller = self.caller(method, request.headers()).await?;
        request.extensions_mut().insert(caller);
        if method.is_request_unary() { self.validate(method, request).await } else { Ok(request) }
    }

    /// Who calls a method, if they may at all.
    pub async fn caller(&self, method: &Method, headers: &HeaderMap) -> Result<Caller, Fault> {
        authorize(method, self.authenticate(headers).await?)
    }

    async fn authenticate(
        &self,
        headers: &HeaderMap,
    ) -> Result<(Principal, Option<String>), Fault> {
        let principal = match headers.get(http::header::AUTHORIZATION) {
            None => Principal::Anonymous,
            Some(value) => {
                let token = value.to_str().ok().and_then(bearer).ok_or_else(|| {
                    Fault::unauthenticated(ErrorReason::TokenInvalid)
                        .message("the authorization header is not of the form `Bearer <token>`")
                })?;
                self.keys.verify(token).await?
            }
        };
        let service = match headers.get(SERVICE_HEADER) {
            None => None,
            Some(value) => {
                let token = value.to_str().map_err(|error| {
                    Fault::unauthenticated(ErrorReason::TokenInvalid)
                        .message("the service's token is not text")
                        .because(error)
                })?;
                Some(self.keys.verify_service(token)?)
            }
        };
        Ok((principal, service))
    }

    /// Reads the one message of the request and holds it to the contract.
    async fn validate(
        &self,
        method: &Method,
        request: Request<Body>,
    ) -> Result<Request<Body>, Fault> {
        let (parts, body) = request.into_parts();
        let limit = self.message_bytes_max.saturating_add(FRAME_HEADER_BYTES);
        let frame = Limited::new(body, limit).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                too_large(self.message_bytes_max)
            } else {
                Fault::cancelled(ErrorReason::Cancelled)
                    .message("the request ended too early")
                    .because(error)
            }
        })?;
        let frame = frame.to_bytes();
        // A compressed frame is refused by the codec, an incomplete one by the
        // check below.
        if let Some(message) = message(&frame)? {
            match self.contract.rules().check(method.request_rules(), message) {
                Ok(()) => {}
                Err(Invalid::Malformed(what)) => {
                    return Err(Fault::invalid_argument(ErrorReason::MalformedMessage).message(
                        format!(
                            "the request is not a {}: {what}",
                            method.descriptor().input().full_name()
                        ),
                    ));
                }
                Err(Invalid::Fields(violations)) => {
                    let summary = violations
                        .iter()
                        .take(3)
                        .map(|violation| format!("{} {}", violation.field, violation.description))
                        .collect::<Vec<_>>()
                        .join("; ");
                    let fault = Fault::invalid_argument(ErrorReason::InvalidField).message(summary);
                    return Err(violations.into_iter().fold(fault, |fault, violation| {
                        fault.violation(violation.field, violation.description)
                    }));
                }
            }
        }
        Ok(Request::from_parts(parts, Body::new(Full::new(frame))))
    }
}

// === impl Guarded ===

impl Service<Request<Body>> for Guarded {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { guard, mut routes } = self.clone();
        Box::pin(async move {
            match guard.admit(request).await {
                Ok(request) => routes.call(request).await,
                Err(fault) => Ok(Status::from(fault).into_http()),
            }
        })
    }
}

/// The message in a frame; `None` if it is compressed.
fn message(frame: &Bytes) -> Result<Option<&[u8]>, Fault> {
    let malformed = |what: &str| {
        Err(Fault::invalid_argument(ErrorReason::MalformedMessage)
            .message(format!("the gRPC frame {what}")))
    };
    let Some((header, message)) = frame.split_at_checked(FRAME_HEADER_BYTES) else {
        return malformed("is incomplete: send exactly one message");
    };
    let [flag, length @ ..] = header else {
        return malformed("is incomplete: send exactly one message");
    };
    let length = <[u8; 4]>::try_from(length).map_or(0, u32::from_be_bytes);
    if usize::try_from(length).ok() != Some(message.len()) {
        return malformed("has another length than it says: send exactly one message");
    }
    match flag {
        0 => Ok(Some(message)),
        1 => Ok(None),
        _ => malformed("has an unknown flag"),
    }
}

/// Decides by the method's rule, and on whose behalf the call may act.
fn authorize(
    method: &Method,
    (principal, service): (Principal, Option<String>),
) -> Result<Caller, Fault> {
    let access = method.access();
    let subject = principal.id().unwrap_or_default().to_owned();
    let as_itself = Caller::new(principal, service, Scope::Own(subject));
    let for_any = as_itself.service().is_some_and(|name| access.admits_service(name))
        || access.permission.as_deref().is_some_and(|permission| as_itself.may(permission));
    if for_any {
        return Ok(as_itself.with_scope(Scope::Any));
    }
    if access.public || (access.signed_in && as_itself.subject().is_some()) {
        return Ok(as_itself);
    }
    if as_itself.subject().is_none() && (access.signed_in || access.permission.is_some()) {
        as_itself.demand_subject()?;
    }
    Err(caller::denied(method.descriptor().full_name()))
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

fn too_large(limit: usize) -> Fault {
    Fault::resource_exhausted(ErrorReason::MessageTooLarge)
        .message(format!("the message is larger than {limit} bytes: send less, or in parts"))
}
