//! A compressed message is held to what it stands for, whoever decompresses it.

use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use flate2::{Compression, write::GzEncoder};
use http::StatusCode;
use serde_json::json;

use crate::{
    client::{Reply, request, send, send_h2},
    upstream::Edge,
    wire::{frame, library, wire},
};

const LEND: &str = "/library.v1.Library/Lend";
const GET_BOOK: &str = "/library.v1.Library/GetBook";
const FIND: &str = "/library.v1.Library/FindBooks";

async fn ask(edge: &Edge, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
    let to = edge.address;
    send_h2(to, request(to, "POST", path, headers, body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_bounded_by_what_it_stands_for() {
    let upstream = library().await;
    let config = json!({ "access": "public", "body_bytes_max": 10_000 });
    let edge = Edge::with(&[&upstream], config).await;
    let zstd = |data: &[u8]| zstd::encode_all(data, 3).unwrap();
    for (bytes, is_taken) in [(5_000, true), (50_000, false)] {
        let book = json!({ "name": "x".repeat(bytes) });
        let (json, proto) = (zstd(book.to_string().as_bytes()), zstd(&wire("LendRequest", &book)));
        assert!(json.len() < 200 && proto.len() < 200);

        for (kind, body) in [("application/json", &json), ("application/proto", &proto)] {
            let headers = [
                ("content-type", kind),
                ("connect-protocol-version", "1"),
                ("content-encoding", "zstd"),
                ("accept-encoding", "identity"),
            ];
            let reply = ask(&edge, LEND, &headers, body.clone()).await;
            let expected = if is_taken { StatusCode::OK } else { StatusCode::TOO_MANY_REQUESTS };
            assert_eq!(reply.status, expected, "{kind}: {reply:?}");
        }

        let query = URL_SAFE_NO_PAD.encode(&json);
        let target = format!(
            "{GET_BOOK}?connect=v1&encoding=json&compression=zstd&base64=1&message={query}"
        );
        let got = send(edge.address, request(edge.address, "GET", &target, &[], "")).await;
        assert_eq!(got.status == StatusCode::OK, is_taken, "{got:?}");

        for (kind, path, message) in [
            ("application/connect+json", FIND, &json),
            ("application/connect+proto", FIND, &proto),
            ("application/grpc+json", LEND, &json),
            ("application/grpc-web+json", LEND, &json),
            ("application/grpc+json", FIND, &json),
        ] {
            let headers = [
                ("content-type", kind),
                ("grpc-encoding", "zstd"),
                ("connect-content-encoding", "zstd"),
                ("connect-accept-encoding", "identity"),
            ];
            let reply = ask(&edge, path, &headers, frame(1, message)).await;
            let said = format!("{reply:?}");
            let is_refused = said.contains("resource_exhausted")
                || said.contains("\"grpc-status\": \"8\"")
                || said.contains("grpc-status: 8");
            assert_eq!(is_refused, !is_taken, "{kind} {path}: {said}");
        }
    }
    edge.stop().await;
}

/// A message that passes as it came is as long as it came, and whoever unpacks it
/// has its own bound: ours unpack none, and others' refuse what grows too large.
#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_that_passes_unread_does_not_go_off_here() {
    let upstream = library().await;
    let edge = Edge::before(&upstream).await;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&[0; 1 << 20]).unwrap();
    // A hundred megabytes, a member each.
    let bomb = gzip.finish().unwrap().repeat(100);
    assert!(bomb.len() < 120_000);
    let headers =
        [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-encoding", "gzip")];
    let refused = ask(&edge, LEND, &headers, frame(1, &bomb)).await;
    assert_eq!(refused.header("grpc-status"), "12", "{refused:?}");
    assert!(refused.header("grpc-message").contains("gzip"), "{refused:?}");
    edge.stop().await;
}
