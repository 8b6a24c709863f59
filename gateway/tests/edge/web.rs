//! gRPC-Web through the edge: bytes and text, over both versions of HTTP.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::StatusCode;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    client::{Reply, request, send, send_h2},
    upstream::{Edge, Upstream},
    wire::{begin_h1, book, frame, frames, library, piece, sending, watched, wire},
};

const LEND: &str = "/library.v1.Library/Lend";
const WATCH: &str = "/library.v1.Library/WatchBooks";
const WEB: (&str, &str) = ("content-type", "application/grpc-web+proto");
const TEXT: (&str, &str) = ("content-type", "application/grpc-web-text");

async fn edge() -> (Upstream, Edge) {
    let upstream = library().await;
    let edge = Edge::before(&upstream).await;
    (upstream, edge)
}

async fn call(edge: &Edge, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
    send(edge.address, request(edge.address, "POST", path, headers, body)).await
}

/// The trailers in the last frame of a body.
fn trailers(body: &[u8]) -> String {
    let last = frames(body).pop().unwrap();
    assert_eq!(last.0, 0x80);
    String::from_utf8(last.1).unwrap()
}

/// What a body in base64 stands for, whatever is padded in it.
fn decoded(text: &[u8]) -> Vec<u8> {
    text.chunks(4).flat_map(|quantum| STANDARD.decode(quantum).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_its_frames_and_then_its_trailers() {
    let (_upstream, edge) = edge().await;
    let body = frame(0, &wire("LendRequest", &json!({ "name": "x" })));
    let headers = [WEB, ("x-grpc-web", "1"), ("x-custom", "1"), ("x-mercat-service", "orders")];
    let by_h2 = send_h2(edge.address, request(edge.address, "POST", LEND, &headers, body.clone()));
    for reply in [call(&edge, LEND, &headers, body.clone()).await, by_h2.await] {
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.header("content-type"), "application/grpc-web+proto");
        assert!(reply.trailers.is_empty());
        // It went out in one piece.
        assert_eq!(reply.header("content-length"), reply.body.len().to_string());
        let all = frames(&reply.body);
        assert_eq!(all.len(), 2);
        let title = book(&all[0].1)["title"].as_str().unwrap().to_owned();
        assert!(title.contains("content-type=application/grpc\n"), "{title}");
        assert!(title.contains("x-custom=1") && !title.contains("x-mercat"), "{title}");
        assert!(trailers(&reply.body).contains("grpc-status: 0\r\n"));
    }
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_is_base64_both_ways_however_it_is_cut() {
    let (_upstream, edge) = edge().await;
    let body = frame(0, &wire("LendRequest", &json!({ "name": "xy" })));
    // Two parts, each padded by itself.
    let text = [STANDARD.encode(&body[..4]), STANDARD.encode(&body[4..])].concat();
    for size in [1, 3, 5, text.len()] {
        let (sender, sent) = sending();
        let pieces: Vec<Bytes> = text.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect();
        tokio::spawn(async move {
            for piece in pieces {
                sender.send(piece).await;
            }
        });
        let response = begin_h1(edge.address, LEND, &[TEXT], sent).await;
        assert_eq!(response.headers()["content-type"], "application/grpc-web-text+proto");
        let answer = http_body_util::BodyExt::collect(response).await.unwrap().to_bytes();
        let answer = decoded(&answer);
        assert_eq!(book(&frames(&answer)[0].1)["name"], "xy");
        assert!(trailers(&answer).contains("grpc-status: 0\r\n"));
    }
    // A client may send bytes and take text.
    let mixed = call(&edge, LEND, &[WEB, ("accept", "application/grpc-web-text")], body).await;
    assert_eq!(book(&frames(&decoded(&mixed.body))[0].1)["name"], "xy");

    let broken = call(&edge, LEND, &[TEXT], "AAAA$$$$").await;
    assert_eq!((broken.status, broken.header("grpc-status")), (StatusCode::OK, "3"));
    assert!(broken.header("grpc-message").contains("base64"), "{broken:?}");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_have_the_form_of_the_protocol() {
    let (_upstream, edge) = edge().await;
    let none = frame(0, &wire("LendRequest", &json!({ "name": "none" })));
    let reply = call(&edge, LEND, &[WEB], none.clone()).await;
    assert_eq!((reply.status, reply.header("grpc-status")), (StatusCode::OK, "5"));
    assert_eq!(reply.header("content-type"), "application/grpc-web+proto");
    assert_eq!(reply.header("x-shelf"), "7");
    assert!(!reply.headers.contains_key("x-mercat-secret"));
    assert!(reply.body.is_empty());

    // After the first message the body is all there is.
    let fails = frame(0, &wire("ListBooksRequest", &json!({ "parent": "fails" })));
    let reply = call(&edge, WATCH, &[WEB], fails).await;
    assert_eq!(frames(&reply.body).len(), 3);
    let said = trailers(&reply.body);
    assert!(said.contains("grpc-status: 5\r\n") && said.contains("x-shelf: 7\r\n"), "{said}");
    assert!(!said.contains("x-mercat"), "{said}");

    let unknown = call(&edge, "/library.v1.Library/Burn", &[WEB], none.clone()).await;
    assert_eq!((unknown.status, unknown.header("grpc-status")), (StatusCode::OK, "12"));
    let foo = [("content-type", "application/grpc-web+foo")];
    let foo = call(&edge, LEND, &foo, none.clone()).await;
    assert_eq!((foo.status.as_u16(), foo.header("grpc-status")), (415, "12"));
    let to = edge.address;
    let deleted = send(to, request(to, "DELETE", LEND, &[WEB], none.clone())).await;
    assert_eq!((deleted.status.as_u16(), deleted.header("grpc-status")), (405, "12"));
    let twice = call(&edge, LEND, &[WEB], none.repeat(2)).await;
    assert_eq!(twice.header("grpc-status"), "12");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let (_upstream, edge) = edge().await;
    let mut client = TcpStream::connect(edge.address).await.unwrap();
    let head = format!(
        "POST {LEND} HTTP/1.1\r\nhost: edge\r\ncontent-type: application/grpc-web+foo\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await.unwrap();
    // It looks at nothing before it has sent what it has, and says of no end.
    let chunk = [b"2000\r\n".as_slice(), &[b'x'; 0x2000], b"\r\n"].concat();
    for _ in 0..64 {
        client.write_all(&chunk).await.unwrap();
    }
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    let answer = answer.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 415 "), "{answer}");
    // The client knows that nothing else is answered here.
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_may_be_json() {
    let (_upstream, edge) = edge().await;
    let json = [("content-type", "application/grpc-web+json")];
    let reply = call(&edge, LEND, &json, frame(0, br#"{"name": "x"}"#)).await;
    assert_eq!(reply.header("content-type"), "application/grpc-web+json");
    let answer: serde_json::Value = serde_json::from_slice(&frames(&reply.body)[0].1).unwrap();
    assert_eq!(answer["name"], "x");
    assert!(trailers(&reply.body).contains("grpc-status: 0\r\n"));
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_stream_and_a_client_that_left_ends_its_call() {
    let (upstream, edge) = edge().await;
    let mut gone = watched(&upstream);
    let reply = call(&edge, WATCH, &[WEB, ("grpc-timeout", "200m")], frame(0, b"")).await;
    assert_eq!(frames(&reply.body).len(), 2);
    assert!(trailers(&reply.body).contains("grpc-status: 4\r\n"));
    gone.recv().await.unwrap();

    let (sender, sent) = sending();
    sender.send(frame(0, b"")).await;
    drop(sender);
    let mut response = begin_h1(edge.address, WATCH, &[WEB], sent).await;
    piece(response.body_mut()).await;
    assert!(gone.try_recv().is_err(), "the call is under way");
    drop(response);
    gone.recv().await.unwrap();
    edge.stop().await;
}
