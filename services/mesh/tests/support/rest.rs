//! REST as a client without a library would speak it: HTTP/1.1 and JSON.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// A gateway, and the token that requests carry.
#[derive(Debug, Clone)]
pub(crate) struct Rest {
    gateway: SocketAddr,
    token: Option<String>,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// `Null` if the body is no JSON.
    pub(crate) json: Value,
}

/// Sends one request over a connection of its own.
pub(crate) async fn send(gateway: SocketAddr, request: Request<Full<Bytes>>) -> Reply {
    let stream = TcpStream::connect(gateway).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = async {
        let _ended = connection.await;
        std::future::pending::<()>().await
    };
    let exchange = async {
        let response = sender.send_request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Reply { status: parts.status, headers: parts.headers, body, json }
    };
    tokio::select! {
        reply = exchange => reply,
        () = connection => unreachable!("it never ends by itself"),
    }
}

impl Rest {
    /// Nobody.
    pub(crate) fn new(gateway: SocketAddr) -> Self {
        Self { gateway, token: None }
    }

    /// The same with a token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { gateway: self.gateway, token: Some(token.to_owned()) }
    }

    /// Any request: headers and body as they are.
    pub(crate) async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.gateway.to_string());
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        send(self.gateway, request.body(Full::new(body.into())).unwrap()).await
    }

    /// A request with JSON.
    pub(crate) async fn call(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.raw(method, path, &[("content-type", "application/json")], body.to_string()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.raw("GET", path, &[], Bytes::new()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.raw("DELETE", path, &[], Bytes::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.call("POST", path, &body).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Reply {
        self.call("PUT", path, &body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Reply {
        self.call("PATCH", path, &body).await
    }
}

impl Reply {
    /// The JSON of a success.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!(
            self.status.is_success(),
            "{} {}",
            self.status,
            String::from_utf8_lossy(&self.body)
        );
        self.json
    }

    /// `error.reason` of a refusal.
    pub(crate) fn reason(&self) -> &str {
        self.json["error"]["reason"].as_str().unwrap_or_default()
    }

    /// The fields that a refusal names.
    pub(crate) fn fields(&self) -> Vec<String> {
        let found = self.json["error"]["violations"].as_array().cloned().unwrap_or_default();
        found.iter().map(|violation| text(&violation["field"])).collect()
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A JSON string as it is, empty if it is none.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
