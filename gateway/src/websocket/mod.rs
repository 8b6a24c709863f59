//! Streams over WebSocket (RFC 6455), for whoever cannot stream by HTTP both ways.
//!
//! The path is that of the method: of its http rule, with whatever HTTP method the
//! rule has, or `/pkg.Service/Method`. Methods that stream in either direction are
//! called so; for others there is plain HTTP.
//!
//! | frame | is |
//! |---|---|
//! | text, from the client | one message as JSON |
//! | binary, from the client | one message as protobuf |
//! | text without content, from the client | the end of its stream (half-close) |
//! | text, from the service | one message as JSON, or the failure `{"error": …}` |
//! | binary, from the service | one message as protobuf, with the subprotocol `proto` |
//! | Close, from the client | the end of the call, which is cancelled |
//! | Close, from the service | the end of the call: 1000 if it ended well |
//!
//! No message is empty text, while one of protobuf may well have no bytes; so it
//! is the text that ends a stream, whatever the messages are. What path and query
//! say goes into the first message, as with every stream of a client. Where a rule
//! has no body they are the whole request, and the client sends nothing. Codes of
//! the last Close are in `close`, the subprotocols in `handshake`.
//!
//! # Layout
//! - `handshake`: whether the request may become a socket, and what it speaks.
//! - `session`: the life of a socket.
//! - `feed`: from the socket to the service.
//! - `close`: how it ends.

mod close;
mod feed;
mod handshake;
mod session;

use std::{sync::Arc, time::Duration};

use chassis::{Fault, Tasks, listen::Closing};
use contracts::mesh::v1::ErrorReason;
use http::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tonic::body::Body;
use transcode::{Body as Content, Match, RouteError, Schema};

pub(crate) use handshake::is_asked;
use session::Session;

use crate::{
    config::Config,
    cors::Cors,
    problem,
    rest::{Refusal, Rest},
    serving::Serving,
    streams::{Bounds, Piece, frame},
};

/// How long the connection may take to become a socket.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers requests to become a socket.
#[derive(Debug, Clone)]
pub(crate) struct Sockets {
    limits: Limits,
    tasks: Tasks,
}

/// The bounds of a socket.
#[derive(Debug, Clone, Copy)]
struct Limits {
    streams: Bounds,
    ping_interval: Duration,
    idle_timeout: Duration,
    close_timeout: Duration,
    control_frames_per_second: u32,
}

// === impl Sockets ===

impl Sockets {
    /// Sockets whose life ends with `tasks`.
    pub(crate) fn new(config: &Config, tasks: Tasks) -> Self {
        let limits = Limits {
            streams: Bounds::from(config),
            ping_interval: config.websocket_ping_interval,
            idle_timeout: config.websocket_idle_timeout,
            close_timeout: config.websocket_close_timeout,
            control_frames_per_second: config.websocket_control_frames_per_second,
        };
        Self { limits, tasks }
    }

    /// Turns the connection into a socket, or says why not.
    pub(crate) fn answer(
        &self,
        serving: &Arc<Serving>,
        rest: &Rest,
        cors: &Cors,
        request: Request<Body>,
        request_id: &str,
    ) -> Response<Body> {
        let headers = request.headers().clone();
        self.try_answer(serving, rest, cors, request, request_id)
            .unwrap_or_else(|refusal| refusal.response(&serving.schema, &headers, request_id))
    }

    fn try_answer(
        &self,
        serving: &Arc<Serving>,
        rest: &Rest,
        cors: &Cors,
        mut request: Request<Body>,
        request_id: &str,
    ) -> Result<Response<Body>, Refusal> {
        let agreed = match handshake::agree(&request, cors) {
            Ok(agreed) => agreed,
            Err(handshake::Disagreed::Version(fault)) => {
                return Ok(handshake::wrong_version(problem::response(&fault, request_id)));
            }
            Err(handshake::Disagreed::Other(fault)) => return Err((*fault).into()),
        };
        let upgrade = hyper::upgrade::on(&mut request);
        let (mut parts, _body) = request.into_parts();
        if let Some(authorization) = agreed.authorization {
            parts.headers.insert(http::header::AUTHORIZATION, authorization);
        }
        let found = route(&serving.schema, parts.uri.path())?;
        let method = found.method();
        if !method.is_client_streaming() && !method.is_server_streaming() {
            return Err(Fault::invalid_argument(ErrorReason::HeaderInvalid)
                .message(format!("{} is no stream: call it by plain HTTP", method.full_name()))
                .violation("upgrade", "must be absent for methods that do not stream")
                .into());
        }
        // What path and query say is wrong before there is a socket, or not at all.
        let mut first = Vec::new();
        frame(self.limits.streams, &found, &parts, Piece::of(Content::None), &mut first)?;
        let is_whole =
            !method.is_client_streaming() && *found.binding().body() == transcode::BodyRule::None;
        // The port waits for its connections before the gateway's tasks are ended.
        let closing = parts.extensions.get::<Closing>();
        let draining = closing.map_or_else(|| self.tasks.token(), |Closing(token)| token.clone());
        let session = Session {
            http_method: found.binding().http_method().to_owned(),
            first: is_whole.then(|| first.into()),
            serving: Arc::clone(serving),
            rest: rest.clone(),
            parts,
            limits: self.limits,
            format: agreed.format,
            request_id: request_id.to_owned(),
            draining,
        };
        self.tasks.spawn("websocket", async move {
            match timeout(UPGRADE_TIMEOUT, upgrade).await {
                Ok(Ok(upgraded)) => session.run(TokioIo::new(upgraded)).await,
                Ok(Err(error)) => tracing::debug!(%error, "a connection became no socket"),
                Err(_elapsed) => tracing::debug!("a connection became no socket in time"),
            }
        });
        Ok(agreed.response)
    }
}

/// The binding of a path, whatever its HTTP method; that of GET if there are several.
fn route<'a>(schema: &'a Schema, path: &'a str) -> Result<Match<'a>, Refusal> {
    match schema.route("GET", path) {
        Ok(found) => return Ok(found),
        Err(RouteError::MethodNotAllowed { allow }) => {
            let others = allow.iter().filter(|name| !matches!(name.as_str(), "HEAD" | "OPTIONS"));
            if let Some(found) = others.filter_map(|name| schema.route(name, path).ok()).next() {
                return Ok(found);
            }
        }
        Err(_) => {}
    }
    Err(Fault::not_found(ErrorReason::RouteNotFound)
        .message(format!("nothing answers to {path}: /openapi.json lists what does"))
        .into())
}
