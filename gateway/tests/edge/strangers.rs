//! What strangers are told of a failure: never where the servers are.

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use http::StatusCode;
use serde_json::json;
use testkit::eventually;

use crate::{
    client::{Reply, get, request, send, send_h2},
    upstream::{Answer, Edge, Upstream},
    wire::watched,
};

const GET_BOOK: &str = "/library.v1.Library/GetBook";
const WATCH: &str = "/library.v1.Library/WatchBooks";
const GRPC_TIMEOUT: (&str, &str) = ("grpc-timeout", "200m");
const CONNECT_TIMEOUT: (&str, &str) = ("connect-timeout-ms", "200");
const REST_TIMEOUT: (&str, &str) = ("x-request-timeout", "200ms");
/// Empty messages in frames.
const PROTO: &[u8] = &[0; 5];
const JSON: &[u8] = b"\0\0\0\0\x02{}";

/// A path, a media type, a deadline, and an empty message.
type Way = (&'static str, &'static str, (&'static str, &'static str), &'static [u8]);

const WAYS: [Way; 11] = [
    (GET_BOOK, "application/grpc", GRPC_TIMEOUT, PROTO),
    (GET_BOOK, "application/grpc+json", GRPC_TIMEOUT, JSON),
    (GET_BOOK, "application/grpc-web", GRPC_TIMEOUT, PROTO),
    (GET_BOOK, "application/grpc-web-text", GRPC_TIMEOUT, b"AAAAAAA="),
    (GET_BOOK, "application/proto", CONNECT_TIMEOUT, b""),
    (GET_BOOK, "application/json", REST_TIMEOUT, b"{}"),
    (WATCH, "application/grpc", GRPC_TIMEOUT, PROTO),
    (WATCH, "application/grpc-web-text", GRPC_TIMEOUT, b"AAAAAAA="),
    (WATCH, "application/connect+proto", CONNECT_TIMEOUT, PROTO),
    (WATCH, "application/connect+json", CONNECT_TIMEOUT, JSON),
    (WATCH, "application/json", REST_TIMEOUT, b"{}"),
];

async fn ask(to: SocketAddr, (path, kind, deadline, message): Way) -> Reply {
    // Streams of REST say in a line why they end.
    let headers = [("content-type", kind), ("accept", "application/x-ndjson, */*"), deadline];
    let asked = request(to, "POST", path, &headers, message);
    match kind {
        "application/grpc" | "application/grpc+json" => send_h2(to, asked).await,
        _ => send(to, asked).await,
    }
}

/// Everything that an answer says, and what of it is in base64 in plain as well.
fn said(reply: &Reply) -> String {
    let mut bytes = reply.body.to_vec();
    for (name, value) in reply.headers.iter().chain(&reply.trailers) {
        bytes.extend_from_slice(format!("\n{name}: ").as_bytes());
        bytes.extend_from_slice(value.as_bytes());
    }
    // Twice, for details in a body that is text.
    for _ in 0..2 {
        let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
        let plain: Vec<Vec<u8>> = bytes
            .split(|byte| !is_letter(byte))
            .filter(|run| run.len() > 16)
            .filter_map(|run| STANDARD_NO_PAD.decode(run).ok())
            .collect();
        bytes.extend(plain.concat());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_failure_names_the_address_of_a_server() {
    let upstream = Upstream::start("library.proto").await;
    upstream.on(GET_BOOK, |_| std::future::pending::<Result<Answer, tonic::Status>>());
    let _gone = watched(&upstream);
    let edge = Edge::before(&upstream).await;
    let address = upstream.address.to_string();
    for way in WAYS {
        let said = said(&ask(edge.address, way).await);
        assert!(said.contains("DEADLINE_EXCEEDED"), "{way:?}: {said}");
        assert!(!said.contains(&address), "{way:?}: {said}");
    }
    let ready = get(edge.address, "/readyz").await;
    assert_eq!(ready.json["services"], json!({ "library.v1.Library": "ready" }));

    drop(upstream);
    eventually(async || {
        let asked = ask(edge.address, WAYS[5]).await;
        (asked.status == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    for way in WAYS {
        let said = said(&ask(edge.address, way).await);
        assert!(said.contains("UNAVAILABLE"), "{way:?}: {said}");
        assert!(!said.contains(&address), "{way:?}: {said}");
    }
    edge.stop().await;
}
