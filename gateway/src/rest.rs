//! REST by `google.api.http`: JSON in, a gRPC call through the same stack that
//! every other call takes, JSON out; from descriptors alone.
//!
//! # What HTTP has words for
//! | HTTP | contract |
//! |---|---|
//! | `Accept`, `Content-Type` | JSON or protobuf; failures also as `application/problem+json` |
//! | `?alt=json;int64=number` | 64-bit integers as numbers |
//! | `?$alt=json;enum-encoding=int` | enums as numbers, for Google's clients |
//! | `Idempotency-Key` | `request_id` of the request |
//! | `ETag`, `If-Match`, `If-None-Match` | `etag` of the resource: 304, 412 |
//! | 201, `Location` | what a standard Create method made, and the GET that finds it |
//! | `Link: rel="next"` | `next_page_token` of a list |
//! | `Prefer` | see `prefer`; `respond-async` answers an Operation with 202 |
//! | `Deprecation` | `option deprecated = true` of the method |
//! | `Sunset` | `gateway.sunsets` of the settings |
//! | PATCH | the update mask is what the body names, if the query does not send one |
//!
//! A method that answers nothing (`google.protobuf.Empty`) says `{}` with 200, as
//! the JSON mapping has it and clients of other transcoders expect.
//!
//! # Layout
//! - `plan`: what is known of a binding before anyone calls it.
//! - `accept`, `prefer`, `profile`: what the client wants.
//! - `call`: the gRPC request. `reply`: the answer. `refusal`: a failure.
//! - `etag`, `link`, `percent`, `sunset`: headers and their grammar.

mod accept;
mod call;
mod etag;
mod link;
mod percent;
mod plan;
mod prefer;
mod profile;
mod refusal;
mod reply;
mod sunset;

use std::sync::Arc;

use bytes::Bytes;
use chassis::{Error, Fault};
use contracts::mesh::v1::ErrorReason;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tonic::{Status, body::Body};
use transcode::{Content as Kind, Match, PrintOptions, RouteError};

use crate::{
    config::Config,
    connect,
    edge::Matched,
    http_body::{Form, is_form},
    serving::Serving,
    streams,
};
pub(crate) use accept::FailureFormat;
use accept::Format;
pub(crate) use accept::{Accept, not_acceptable};
pub(crate) use call::KEY_BYTES_MAX;
use call::{Bounds, Crossing};
pub(crate) use etag::{FIELD_BYTES_MAX as TAG_BYTES_MAX, plain};
pub(crate) use plan::{Plan, Plans};
use prefer::Prefer;
pub(crate) use profile::PARAMETERS;
pub(crate) use refusal::Refusal;
use reply::Manner;
pub(crate) use reply::{NO_STORE, broken, failed};
pub use sunset::Sunsets;

/// What browsers may do with an answer: nothing but give it to the script that
/// asked (OWASP REST Security Cheat Sheet).
const CONTENT_SECURITY_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const FRAME_OPTIONS: HeaderValue = HeaderValue::from_static("DENY");
/// Headers of a request that its answer always depends on.
const ALWAYS_VARYING: &str = "accept, accept-encoding";
/// What the server as a whole takes.
const EVERY_METHOD: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// Answers REST requests.
#[derive(Debug, Clone)]
pub(crate) struct Rest {
    bounds: Bounds,
    crossing: Crossing,
    manner: Manner,
    pub(crate) streams: streams::Bounds,
    /// Whether the log wants to know the route.
    shows_route: bool,
}

/// A request that found its method, and what it wants of it.
pub(crate) struct Asked<'r> {
    pub(crate) serving: &'r Arc<Serving>,
    pub(crate) found: &'r Match<'r>,
    pub(crate) plan: &'r Plan,
    pub(crate) parts: &'r Parts,
    pub(crate) format: Format,
    pub(crate) prefer: Prefer,
    pub(crate) options: PrintOptions,
}

// === impl Rest ===

impl Rest {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let crossing = Crossing::new(config)?;
        let mut vary = ALWAYS_VARYING.to_owned();
        for name in crossing.varying() {
            vary.push_str(", ");
            vary.push_str(name.as_str());
        }
        let vary = HeaderValue::try_from(vary)
            .map_err(|_| Error::build("gateway.forwarded_headers has too many names"))?;
        Ok(Self {
            bounds: Bounds {
                body_bytes_max: config.body_bytes_max,
                json_depth_max: config.json_depth_max,
            },
            crossing,
            manner: Manner { response_bytes_max: config.response_bytes_max, vary },
            streams: streams::Bounds::from(config),
            shows_route: config.access_log,
        })
    }

    pub(crate) async fn answer(
        &self,
        serving: &Arc<Serving>,
        request: Request<Body>,
        request_id: &str,
    ) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let mut matched = None;
        let answered = self.try_answer(serving, &parts, body, request_id, &mut matched).await;
        let mut response = answered.unwrap_or_else(|refusal| {
            let mut response = match serving.schema.method(parts.uri.path()) {
                Some(method) if refusal.is(ErrorReason::MediaTypeUnsupported) => {
                    connect::no_protocol(method, &parts.headers)
                }
                _ => refusal.response(&serving.schema, &parts.headers, request_id),
            };
            response.headers_mut().insert(header::CACHE_CONTROL, NO_STORE);
            response
        });
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
        headers.insert(header::X_FRAME_OPTIONS, FRAME_OPTIONS);
        if parts.method == Method::HEAD {
            without_body(&mut response);
        }
        if let Some(plan) = matched.filter(|_| self.shows_route) {
            response.extensions_mut().insert(Matched(Arc::clone(&plan.route)));
        }
        response
    }

    /// Says in `matched` which binding it was, whatever becomes of the request.
    async fn try_answer<'s>(
        &self,
        serving: &'s Arc<Serving>,
        parts: &Parts,
        body: Body,
        request_id: &str,
        matched: &mut Option<&'s Plan>,
    ) -> Result<Response<Body>, Refusal> {
        let found = match route(serving, parts) {
            Err(refusal) if parts.method == Method::OPTIONS => return refusal.into_options(),
            found => found?,
        };
        let method = found.method();
        *matched = serving.plans.of(&found);
        let asked = Asked::new(serving, &found, parts)?;
        if method.is_client_streaming() {
            return self.client_stream(&asked, body, request_id).await;
        }
        let frame = if is_form(&parts.headers) {
            let form = Form::read(serving, &found, parts, body, self.streams).await?;
            form.frame(&found, parts, self.streams)?
        } else {
            call::frame(&asked, &self.body(body).await?, self.bounds)?
        };
        let call = self.call(&asked, call::once(frame))?;
        let response = serving.stack.serve(call).await;
        if method.is_server_streaming() {
            return self.server_stream(&asked, response, request_id).await;
        }
        self.reply(&asked, response).await
    }

    /// All bytes of a request's body.
    async fn body(&self, body: Body) -> Result<Bytes, Fault> {
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        let most = self.bounds.body_bytes_max;
        let collected = Limited::new(body, most).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Fault::resource_exhausted(ErrorReason::MessageTooLarge)
                    .message(format!("the body is larger than {most} bytes"))
            } else {
                match error.downcast::<Status>() {
                    Ok(status) => streams::broken_off(&status),
                    Err(error) => Fault::cancelled(ErrorReason::Cancelled)
                        .message("the body ended too early")
                        .because(error),
                }
            }
        })?;
        Ok(collected.to_bytes())
    }

    /// The gRPC request, with this body.
    pub(crate) fn call(&self, asked: &Asked<'_>, body: Body) -> Result<Request<Body>, Fault> {
        call::request(asked, &self.crossing, body)
    }

    /// Copies what the client is shown of metadata.
    pub(crate) fn carry_out(&self, metadata: &HeaderMap, headers: &mut HeaderMap) {
        self.crossing.carry_out(metadata, headers);
    }

    /// Turns the answer of a call with one message into that of the request.
    pub(crate) async fn reply(
        &self,
        asked: &Asked<'_>,
        response: Response<Body>,
    ) -> Result<Response<Body>, Refusal> {
        self.manner.reply(asked, &self.crossing, response).await
    }
}

// === impl Asked ===

impl<'r> Asked<'r> {
    /// # Errors
    ///
    /// Where the client takes nothing that can be written, or asks for a profile
    /// that there is not.
    pub(crate) fn new(
        serving: &'r Arc<Serving>,
        found: &'r Match<'r>,
        parts: &'r Parts,
    ) -> Result<Self, Refusal> {
        let plan = serving.plans.of(found).ok_or_else(Fault::internal)?;
        let method = found.method();
        let is_message = method.output_content() != Kind::HttpBody && !method.is_server_streaming();
        let format = match is_message {
            true => Accept::of(&parts.headers).format().ok_or_else(not_acceptable)?,
            false => Format::Json,
        };
        Ok(Self {
            serving,
            found,
            plan,
            parts,
            format,
            prefer: Prefer::of(&parts.headers),
            options: profile::print_options(parts.uri.query(), plan.taken)?,
        })
    }
}

fn route<'a>(serving: &'a Serving, parts: &'a Parts) -> Result<Match<'a>, Refusal> {
    let path = parts.uri.path();
    match serving.schema.route(parts.method.as_str(), path) {
        Ok(found) => Ok(found),
        Err(RouteError::MethodNotAllowed { allow }) => {
            Err(Refusal::method(&parts.method, path, &allow))
        }
        Err(RouteError::NotFound) if path == "*" && parts.method == Method::OPTIONS => {
            Err(Refusal::server())
        }
        Err(RouteError::NotFound) => Err(Fault::not_found(ErrorReason::RouteNotFound)
            .message(format!("nothing answers to {path}: /openapi.json lists what does"))
            .into()),
        Err(other) => Err(Fault::invalid_argument(ErrorReason::InvalidField)
            .message(other.to_string())
            .violation("path", other.to_string())
            .into()),
    }
}

/// What HEAD is answered with: the headers of GET (RFC 9110, section 9.3.2).
fn without_body(response: &mut Response<Body>) {
    let length = response.body().size_hint().exact();
    let has_none = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&response.status());
    if let Some(length) = length.filter(|_| !has_none) {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    *response.body_mut() = Body::empty();
}
