//! The life of one inbound connection.

use std::{
    convert::Infallible,
    error::Error as StdError,
    future::Future,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::AsyncReadExt as _,
    net::TcpStream,
    time::{Duration, sleep, timeout},
};
use tonic::body::Body;
use tower_service::Service;

use super::{
    Certificates, Config, PeerCertificates, Place, Port, Protocol,
    io::Io,
    requests::{Counted, Requests},
    stall::Answers,
    tls::Secured,
};
use crate::{random, tls::Stream};

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How far the age of connections is spread.
const AGE_SPREAD_PERCENT: u32 = 10;

/// The largest frame that every HTTP/2 peer takes (RFC 9113, section 4.2): larger
/// pieces of an answer are cut into these anyway.
const FRAME_BYTES: usize = 16 * 1_024;

/// Serves one connection to its end.
pub(super) async fn run<S, B>(
    stream: TcpStream,
    address: SocketAddr,
    place: Place,
    certificates: Option<Arc<Certificates>>,
    service: S,
) where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let port = Arc::clone(&place.port);
    let config = &port.config;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection ended before it began");
        return;
    }
    let begun = tokio::select! {
        biased;
        () = port.soft.cancelled() => return,
        begun = begin(stream, certificates, &port) => begun,
    };
    let Some(Begun { stream, prefix, is_http2, peer }) = begun else { return };
    let io = Io::new(prefix, stream, place);
    let requests = Arc::new(Requests::default());
    let counted = |piece, head_most| Counted {
        service,
        address,
        peer,
        requests: Arc::clone(&requests),
        port: Arc::clone(&port),
        piece,
        head_most,
    };
    if is_http2 {
        let io = io.with_budget(config.max_control_frames_per_second, PREFACE.len());
        let counted = counted(FRAME_BYTES, Some(config.max_header_list_size));
        let connection = http2_builder(&port).serve_connection(TokioIo::new(io), counted);
        drive(connection, http2::Connection::graceful_shutdown, None, &port, &requests).await;
    } else {
        let io = io.with_heads(Arc::clone(&requests));
        let connection = http1_builder(config)
            .serve_connection(TokioIo::new(io), counted(usize::MAX, None))
            .with_upgrades();
        let quiet = Some(config.drain_idle_timeout);
        drive(connection, http1::UpgradeableConnection::graceful_shutdown, quiet, &port, &requests)
            .await;
    }
}

/// A connection of which it is known what it speaks.
struct Begun {
    stream: Stream,
    /// What was read to learn it.
    prefix: Vec<u8>,
    is_http2: bool,
    peer: Option<PeerCertificates>,
}

/// Shakes hands if the port is a TLS port, and waits for the first bytes of HTTP.
async fn begin(
    stream: TcpStream,
    certificates: Option<Arc<Certificates>>,
    port: &Port,
) -> Option<Begun> {
    let Secured { stream, is_http2: agreed, peer } = match certificates {
        None => Secured { stream: stream.into(), is_http2: None, peer: None },
        // In a box, so that plain connections carry none of it.
        Some(certificates) => Box::pin(certificates.shake_hands(stream, port)).await?,
    };
    let (prefix, is_http2, stream) =
        match timeout(port.config.first_byte_timeout, spoken(stream)).await {
            Ok(Ok(Some(spoken))) => spoken,
            Ok(Ok(None) | Err(_)) => return None,
            Err(_elapsed) => {
                port.refused("first_byte").inc();
                return None;
            }
        };
    let is_welcome = is_http2 || port.config.protocol == Protocol::Both;
    if !is_welcome || agreed.is_some_and(|agreed| agreed != is_http2) {
        port.refused("protocol").inc();
        return None;
    }
    Some(Begun { stream, prefix, is_http2, peer })
}

/// Reads until it is plain which protocol is spoken.
async fn spoken(mut stream: Stream) -> std::io::Result<Option<(Vec<u8>, bool, Stream)>> {
    let mut prefix = vec![0; PREFACE.len()];
    let mut filled = 0;
    loop {
        let read = stream.read(prefix.get_mut(filled..).unwrap_or_default()).await?;
        if read == 0 {
            return Ok(None);
        }
        filled += read;
        let so_far = prefix.get(..filled).unwrap_or_default();
        if !PREFACE.starts_with(so_far) {
            prefix.truncate(filled);
            return Ok(Some((prefix, false, stream)));
        }
        if filled == PREFACE.len() {
            return Ok(Some((prefix, true, stream)));
        }
    }
}

fn http2_builder(port: &Arc<Port>) -> http2::Builder<Answers> {
    let config = &port.config;
    let mut builder = http2::Builder::new(Answers::new(Arc::clone(port)));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.max_concurrent_streams)
        .max_header_list_size(config.max_refused_header_list_size.max(config.max_header_list_size))
        .max_pending_accept_reset_streams(config.max_pending_accept_reset_streams)
        .max_local_error_reset_streams(config.max_local_error_reset_streams)
        .keep_alive_interval(config.keep_alive_interval)
        .keep_alive_timeout(config.keep_alive_timeout)
        .initial_stream_window_size(config.stream_window)
        .initial_connection_window_size(config.connection_window)
        .max_send_buf_size(config.stream_send_buffer)
        .auto_date_header(config.protocol == Protocol::Both);
    builder
}

fn http1_builder(config: &Config) -> http1::Builder {
    let mut builder = http1::Builder::new();
    let header_bytes = usize::try_from(config.max_header_list_size).unwrap_or(usize::MAX);
    builder
        .timer(TokioTimer::new())
        // It counts from the end of the request before; how long a head may take once
        // it has begun is the stream's to see.
        .header_read_timeout(config.idle_timeout.max(config.header_read_timeout))
        .max_header_size(header_bytes)
        // What hyper needs at least.
        .max_buf_size(header_bytes.max(8 * 1_024))
        // Flushes of pipelined answers are not gathered: hyper holds back the answer
        // to a head it cannot read as well, and closes without it.
        .half_close(false);
    builder
}

/// Polls a connection to its end, and sees to it that there is one: by age, by
/// the drain of the port, or by force.
///
/// HTTP/2 tells its peer at any time that the connection takes no more. HTTP/1.1
/// can do so in an answer alone, and closes without a word only after it was
/// `quiet` for so long.
async fn drive<C, E>(
    connection: C,
    graceful: fn(Pin<&mut C>),
    quiet: Option<Duration>,
    port: &Port,
    requests: &Requests,
) where
    C: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let config = &port.config;
    let mut connection = pin!(connection);
    let age = random::jitter(config.max_connection_age, AGE_SPREAD_PERCENT);
    let grace = tokio::select! {
        biased;
        ended = connection.as_mut() => return log(ended),
        () = port.soft.cancelled() => config.drain_timeout,
        () = sleep(age) => config.max_connection_age_grace,
    };
    let mut grace = pin!(sleep(grace));
    if let Some(quiet) = quiet {
        requests.leave();
        tokio::select! {
            biased;
            ended = connection.as_mut() => return log(ended),
            () = port.hard.cancelled() => {}
            () = requests.none_for(quiet) => {}
            () = grace.as_mut() => {}
        }
    }
    graceful(connection.as_mut());
    // A well-behaved peer lets go by itself. One that does not is let go when it
    // has no request open, and in any case when the grace is over.
    tokio::select! {
        biased;
        ended = connection => log(ended),
        () = port.hard.cancelled() => {}
        () = requests.none_for(config.drain_idle_timeout) => {}
        () = grace => {}
    }
}

fn log<E: std::fmt::Display>(ended: Result<(), E>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}
