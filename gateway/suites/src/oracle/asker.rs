//! Sends a request to one gateway, and tells what came of it.

use std::{io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

use super::{
    case::Case,
    recorder::{Recorded, Recorder},
};

/// A request that takes longer has hung.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a request without an answer is sent.
const ATTEMPTS: usize = 2;

/// Asks one gateway, one request after the other.
#[derive(Debug)]
pub struct Asker {
    address: SocketAddr,
    recorder: Recorder,
    sender: Option<http1::SendRequest<Full<Bytes>>>,
    connections: JoinSet<()>,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The HTTP status; 0 if there was no answer.
    pub status: u16,
    /// The body: JSON if it is some, else text.
    pub body: Value,
    /// What reached the server.
    pub recorded: Option<Recorded>,
}

// === impl Asker ===

impl Asker {
    /// Asks the gateway at this address, before this server.
    pub fn new(address: SocketAddr, recorder: Recorder) -> Self {
        Self { address, recorder, sender: None, connections: JoinSet::new() }
    }

    /// Asks. A gateway that closes the connection instead of answering is asked
    /// once more, on another: it may have closed it before.
    pub async fn ask(&mut self, case: &Case) -> Outcome {
        let mut failure = String::new();
        for _ in 0..ATTEMPTS {
            match timeout(PATIENCE, self.exchange(case)).await {
                Ok(Ok(outcome)) => return outcome,
                Ok(Err(error)) => failure = error.to_string(),
                Err(elapsed) => failure = elapsed.to_string(),
            }
            self.sender = None;
        }
        Outcome { status: 0, body: Value::String(failure), recorded: self.recorder.take() }
    }

    async fn exchange(&mut self, case: &Case) -> io::Result<Outcome> {
        self.recorder.take();
        let mut sender = self.connected().await?;
        let mut request = Request::builder()
            .method(case.verb.as_str())
            .uri(case.target.as_str())
            .header(header::HOST, "gateway.test");
        if let Some(content_type) = &case.content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let body = Full::new(Bytes::from(case.body.clone().unwrap_or_default()));
        let request = request.body(body).map_err(io::Error::other)?;
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        self.sender = Some(sender);
        let body = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
        Ok(Outcome { status, body, recorded: self.recorder.take() })
    }

    /// The connection of the request before, or another.
    async fn connected(&mut self) -> io::Result<http1::SendRequest<Full<Bytes>>> {
        if let Some(mut sender) = self.sender.take()
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        self.connections.spawn(async move {
            // How it ends, the request tells.
            let _ = connection.await;
        });
        Ok(sender)
    }
}

// === impl Outcome ===

impl Outcome {
    /// Whether there was an answer at all.
    pub fn is_answer(&self) -> bool {
        self.status != 0
    }
}
