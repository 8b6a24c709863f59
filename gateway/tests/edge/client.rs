//! HTTP/1.1 and HTTP/2 as a client without a library would speak it.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
    /// `Null` if the body is no JSON.
    pub(crate) json: Value,
}

/// Sends one request by HTTP/1.1, over a connection of its own.
pub(crate) async fn send(to: SocketAddr, request: Request<Full<Bytes>>) -> Reply {
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    collect(sender.send_request(request).await.unwrap()).await
}

/// The same by HTTP/2.
pub(crate) async fn send_h2(to: SocketAddr, request: Request<Full<Bytes>>) -> Reply {
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let mut request = request;
    let target = format!("http://{to}{}", request.uri());
    *request.uri_mut() = target.parse().unwrap();
    request.headers_mut().remove(header::HOST);
    collect(sender.send_request(request).await.unwrap()).await
}

async fn collect(response: http::Response<hyper::body::Incoming>) -> Reply {
    let (parts, body) = response.into_parts();
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let body = collected.to_bytes();
    let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Reply { status: parts.status, headers: parts.headers, body, trailers, json }
}

/// A request: headers and body as they are.
pub(crate) fn request(
    to: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let mut request =
        Request::builder().method(method).uri(target).header(header::HOST, to.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into())).unwrap()
}

pub(crate) async fn get(to: SocketAddr, target: &str) -> Reply {
    send(to, request(to, "GET", target, &[], Bytes::new())).await
}

pub(crate) async fn post(to: SocketAddr, target: &str, body: Value) -> Reply {
    let json = [("content-type", "application/json")];
    send(to, request(to, "POST", target, &json, body.to_string())).await
}

impl Reply {
    /// The value of a header; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// `error.reason` of a refusal.
    pub(crate) fn reason(&self) -> &str {
        self.json["error"]["reason"].as_str().unwrap_or_default()
    }
}
