//! gRPC through the edge: what passes, what is refused, and how.

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt as _;
use serde_json::json;

use crate::{
    client::{Reply, request, send, send_h2},
    upstream::{Edge, Upstream},
    wire::{begin, book, frame, frames, library, piece, sending, watched, wire},
};

const LEND: &str = "/library.v1.Library/Lend";
const GRPC: (&str, &str) = ("content-type", "application/grpc");

async fn edge() -> (Upstream, Edge) {
    let upstream = library().await;
    let edge =
        Edge::with(&[&upstream], json!({ "access": "public", "body_bytes_max": 1_000 })).await;
    (upstream, edge)
}

async fn call(edge: &Edge, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
    send_h2(edge.address, request(edge.address, "POST", path, headers, body)).await
}

/// The code of an answer: in its trailers, or in its headers if it has no body.
fn code(reply: &Reply) -> &str {
    let trailers = if reply.trailers.is_empty() { &reply.headers } else { &reply.trailers };
    trailers.get("grpc-status").unwrap().to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_and_trailers_pass_as_they_are() {
    let (_upstream, edge) = edge().await;
    let message = wire("LendRequest", &json!({ "name": "x" }));
    let headers = [GRPC, ("te", "trailers"), ("x-custom", "1"), ("x-mercat-service", "orders")];
    let reply = call(&edge, LEND, &headers, frame(0, &message)).await;
    assert_eq!((reply.status, code(&reply)), (StatusCode::OK, "0"));
    let answer = frames(&reply.body);
    assert_eq!(answer.len(), 1);
    let title = book(&answer[0].1)["title"].as_str().unwrap().to_owned();
    assert!(title.contains("x-custom=1") && !title.contains("x-mercat"), "{title}");

    let none = wire("LendRequest", &json!({ "name": "none" }));
    let reply = call(&edge, LEND, &[GRPC], frame(0, &none)).await;
    assert_eq!((reply.status, code(&reply)), (StatusCode::OK, "5"));
    assert_eq!(reply.header("grpc-message"), "no%20such%20b%C3%B3ok");
    assert_eq!(reply.header("x-shelf"), "7");
    assert!(reply.headers.contains_key("grpc-status-details-bin"));
    assert!(!reply.headers.contains_key("x-mercat-secret"), "the mesh's own stays inside");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_grpc_is_refused_in_its_own_words() {
    let (_upstream, edge) = edge().await;
    let body = frame(0, &wire("LendRequest", &json!({ "name": "x" })));
    let to = edge.address;

    let old = send(to, request(to, "POST", LEND, &[GRPC], body.clone())).await;
    assert_eq!((old.status.as_u16(), code(&old)), (505, "12"));
    assert!(old.header("grpc-message").contains("needs%20HTTP/2"), "{old:?}");

    let deleted = send_h2(to, request(to, "DELETE", LEND, &[GRPC], body.clone())).await;
    assert_eq!((deleted.status.as_u16(), code(&deleted)), (405, "12"));
    assert_eq!(deleted.header("allow"), "POST");

    let foo = [("content-type", "application/grpc+foo")];
    let foo = call(&edge, LEND, &foo, body.clone()).await;
    assert_eq!((foo.status.as_u16(), code(&foo)), (415, "12"));

    for path in ["/library.v1.Library/Burn", "/library.v2.Library/Lend", "/"] {
        let unknown = call(&edge, path, &[GRPC], body.clone()).await;
        assert_eq!((unknown.status, code(&unknown)), (StatusCode::OK, "12"), "{path}");
    }
    for kind in ["application/grpc+proto", "application/grpc;charset=utf-8"] {
        let passed = call(&edge, LEND, &[("content-type", kind)], body.clone()).await;
        assert_eq!(code(&passed), "0", "{kind}");
    }
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_takes_one_message_is_sent_one_of_bounded_size() {
    let (_upstream, edge) = edge().await;
    let one = frame(0, &wire("LendRequest", &json!({ "name": "x" })));
    let big = frame(0, &wire("LendRequest", &json!({ "name": "x".repeat(1_001) })));
    for (body, expected) in [
        (Vec::new(), "12"),
        ([one.clone(), one.clone()].concat(), "12"),
        (one[..one.len() - 1].to_vec(), "3"),
        (big, "8"),
        (frame(1, b"?"), "13"),
        (frame(4, b"?"), "13"),
    ] {
        let reply = call(&edge, LEND, &[GRPC], body.clone()).await;
        assert_eq!(code(&reply), expected, "{body:?}");
    }
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_of_a_stream_is_bounded_and_all_of_them_are_not() {
    let (_upstream, edge) = edge().await;
    let import = "/library.v1.Library/ImportBooks";
    let message = frame(0, &wire("CreateBookRequest", &json!({ "parent": "x".repeat(900) })));
    let reply = call(&edge, import, &[GRPC], message.repeat(20)).await;
    assert_eq!(code(&reply), "0");
    assert_eq!(frames(&reply.body), [(0, vec![8, 20])], "count = 20");

    let big = frame(0, &wire("CreateBookRequest", &json!({ "parent": "x".repeat(1_001) })));
    let reply = call(&edge, import, &[GRPC], [message.clone(), big].concat()).await;
    assert_eq!(code(&reply), "8", "what was wrong with the request is its answer");
    let reply = call(&edge, import, &[GRPC], message[..20].to_vec()).await;
    assert_eq!(code(&reply), "3");

    // Found wrong while the answer lasts.
    let (sender, body) = sending();
    let name = frame(0, &wire("GetBookRequest", &json!({ "name": "first" })));
    sender.send(name.clone()).await;
    let response = begin(edge.address, "/library.v1.Library/FindBooks", &[GRPC], body).await;
    let mut answer = response.into_body();
    let first = piece(&mut answer).await;
    assert_eq!(book(&frames(&first)[0].1)["name"], "first");
    sender.send(frame(7, b"?")).await;
    let trailers = answer.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "13");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_may_be_json() {
    let (_upstream, edge) = edge().await;
    let json = [("content-type", "application/grpc+json")];
    let reply = call(&edge, LEND, &json, frame(0, br#"{"name": "x"}"#)).await;
    assert_eq!((code(&reply), reply.header("content-type")), ("0", "application/grpc+json"));
    let answer: serde_json::Value = serde_json::from_slice(&frames(&reply.body)[0].1).unwrap();
    assert_eq!((&answer["name"], &answer["pages"]), (&json!("x"), &json!("921")));
    let broken = call(&edge, LEND, &json, frame(0, br#"{"name": 1}"#)).await;
    assert_eq!(code(&broken), "3");
    let found: Vec<u8> = ["a", "b"]
        .iter()
        .flat_map(|name| frame(0, json!({ "name": name }).to_string().as_bytes()))
        .collect();
    let reply = call(&edge, "/library.v1.Library/FindBooks", &json, found).await;
    let names: Vec<String> = frames(&reply.body)
        .iter()
        .map(|(_, book)| String::from_utf8(book.clone()).unwrap())
        .collect();
    assert_eq!(names, [r#"{"name":"a"}"#, r#"{"name":"b"}"#]);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_stream_and_a_client_that_left_ends_its_call() {
    let (upstream, edge) = edge().await;
    let mut gone = watched(&upstream);
    let watch = "/library.v1.Library/WatchBooks";
    let body = frame(0, b"");
    let headers = [GRPC, ("grpc-timeout", "200m")];
    let reply = call(&edge, watch, &headers, body.clone()).await;
    assert_eq!(code(&reply), "4");
    assert_eq!(frames(&reply.body).len(), 1, "what came before is not lost");
    gone.recv().await.unwrap();

    let (sender, sent) = sending();
    sender.send(body).await;
    drop(sender);
    let mut response = begin(edge.address, watch, &[GRPC], sent).await;
    piece(response.body_mut()).await;
    assert!(gone.try_recv().is_err(), "the call is under way");
    drop(response);
    gone.recv().await.unwrap();
    edge.stop().await;
}
