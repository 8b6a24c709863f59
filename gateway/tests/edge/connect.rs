//! The Connect protocol through the edge.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::StatusCode;
use http_body_util::BodyExt as _;
use prost_reflect::prost::Message as _;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};

use crate::{
    client::{Reply, request, send, send_h2},
    upstream::{Edge, Upstream},
    wire::{begin, begin_h1, book, frame, frames, library, piece, sending, watched, wire},
};

const LEND: &str = "/library.v1.Library/Lend";
const GET_BOOK: &str = "/library.v1.Library/GetBook";
const WATCH: &str = "/library.v1.Library/WatchBooks";
const PROTO: (&str, &str) = ("content-type", "application/proto");
const JSON: (&str, &str) = ("content-type", "application/json");
const STREAM: (&str, &str) = ("content-type", "application/connect+proto");
const STREAM_JSON: (&str, &str) = ("content-type", "application/connect+json");
const VERSION: (&str, &str) = ("connect-protocol-version", "1");

async fn edge() -> (Upstream, Edge) {
    let upstream = library().await;
    let config = json!({ "access": "public", "body_bytes_max": 20_000 });
    let edge = Edge::with(&[&upstream], config).await;
    (upstream, edge)
}

async fn call(edge: &Edge, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
    send(edge.address, request(edge.address, "POST", path, headers, body)).await
}

/// The JSON of the frame that ends a stream.
fn end(body: &[u8]) -> Value {
    let (flags, end) = frames(body).pop().unwrap();
    assert_eq!(flags, 2);
    serde_json::from_slice(&end).unwrap()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn gunzip(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(data).read_to_end(&mut out).unwrap();
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_each_way_in_either_codec() {
    let (_upstream, edge) = edge().await;
    let to = edge.address;
    let headers =
        [PROTO, ("x-custom", "1"), ("x-mercat-service", "orders"), ("grpc-encoding", "x")];
    let body = wire("LendRequest", &json!({ "name": "x" }));
    let by_h2 = send_h2(to, request(to, "POST", LEND, &headers, body.clone())).await;
    for reply in [call(&edge, LEND, &headers, body).await, by_h2] {
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (StatusCode::OK, "application/proto")
        );
        assert!(!reply.headers.keys().any(|name| name.as_str().contains("grpc")), "{reply:?}");
        let title = book(&reply.body)["title"].as_str().unwrap().to_owned();
        assert!(
            title.contains("x-custom=1\n") && title.contains("content-type=application/grpc\n")
        );
        for own in ["x-mercat", "grpc-encoding", "connect-"] {
            assert!(!title.contains(own), "{title}");
        }
    }
    let reply = call(&edge, LEND, &[JSON, VERSION], r#"{"name": "x", "unheardOf": [1]}"#).await;
    assert_eq!((reply.status, reply.header("content-type")), (StatusCode::OK, "application/json"));
    assert_eq!((&reply.json["name"], &reply.json["pages"]), (&json!("x"), &json!("921")));
    let empty = call(&edge, LEND, &[PROTO], "").await;
    assert_eq!(empty.status, StatusCode::OK, "no bytes are an empty message");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_has_code_message_details_and_its_http_status() {
    let (_upstream, edge) = edge().await;
    let body = wire("LendRequest", &json!({ "name": "none" }));
    let reply = call(&edge, LEND, &[PROTO], body).await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (404, "application/json"));
    assert_eq!(
        (&reply.json["code"], &reply.json["message"]),
        (&json!("not_found"), &json!("no such bóok"))
    );
    let detail = &reply.json["details"][0];
    assert_eq!(detail["type"], "google.rpc.ErrorInfo");
    let value = STANDARD_NO_PAD.decode(detail["value"].as_str().unwrap()).unwrap();
    let info = tonic_types::pb::ErrorInfo::decode(value.as_slice()).unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("NO_SUCH_BOOK", "library.v1"));
    assert_eq!(reply.header("x-shelf"), "7");
    assert!(!reply.headers.contains_key("x-mercat-secret"));

    // JSON alone is REST, with REST's errors.
    let rest = call(&edge, LEND, &[JSON], r#"{"name": "none"}"#).await;
    assert_eq!((rest.status.as_u16(), rest.reason()), (404, "NO_SUCH_BOOK"));
    let connect = call(&edge, LEND, &[JSON, VERSION], r#"{"name": "none"}"#).await;
    assert_eq!((connect.status.as_u16(), &connect.json["code"]), (404, &json!("not_found")));
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_nothing_may_be_got() {
    let (_upstream, edge) = edge().await;
    let to = edge.address;
    let get = async |path: &str, query: &str| {
        send(to, request(to, "GET", &format!("{path}?{query}"), &[], "")).await
    };
    let json = "connect=v1&encoding=json&message=%7B%22name%22%3A%22x%22%7D";
    let reply = get(GET_BOOK, json).await;
    assert_eq!((reply.status, &reply.json["name"]), (StatusCode::OK, &json!("x")), "{reply:?}");
    assert_eq!(reply.header("vary"), "accept-encoding");
    // {"name": "x"} as wire bytes, in base64.
    let reply = get(GET_BOOK, "connect=v1&encoding=proto&base64=1&message=CgF4").await;
    assert_eq!(book(&reply.body)["name"], "x");
    let refused = get(LEND, json).await;
    assert_eq!((refused.status.as_u16(), refused.header("allow")), (405, "POST"));
    let foo = get(GET_BOOK, "connect=v1&encoding=foo&message=").await;
    assert_eq!(foo.status.as_u16(), 415);
    let missing = get(GET_BOOK, "connect=v1&encoding=json").await;
    assert_eq!((missing.status.as_u16(), &missing.json["code"]), (400, &json!("invalid_argument")));
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_compressed_as_the_client_says_and_takes() {
    let (_upstream, edge) = edge().await;
    let body = wire("LendRequest", &json!({ "name": "long" }));
    let headers = [PROTO, ("content-encoding", "gzip")];
    let reply = call(&edge, LEND, &headers, gzip(&body)).await;
    assert_eq!(reply.header("content-encoding"), "gzip", "who compresses can decompress");
    assert!(reply.body.len() < 1_000);
    assert_eq!(book(&gunzip(&reply.body))["name"], "long");

    let headers = [PROTO, ("accept-encoding", "foo, zstd, gzip")];
    let reply = call(&edge, LEND, &headers, body.clone()).await;
    assert_eq!(reply.header("content-encoding"), "zstd");
    assert_eq!(book(&zstd::decode_all(&*reply.body).unwrap())["name"], "long");

    let headers =
        [STREAM, ("connect-content-encoding", "gzip"), ("connect-accept-encoding", "gzip")];
    let found = "/library.v1.Library/FindBooks";
    let long = "a long name ".repeat(100);
    let sent = [
        frame(1, &gzip(&wire("GetBookRequest", &json!({ "name": long })))),
        frame(0, &wire("GetBookRequest", &json!({ "name": "short" }))),
    ];
    let reply = call(&edge, found, &headers, sent.concat()).await;
    assert_eq!(reply.header("connect-content-encoding"), "gzip");
    let all = frames(&reply.body);
    assert_eq!(all.iter().map(|(flags, _)| *flags).collect::<Vec<_>>(), [1, 0, 2]);
    assert_eq!(book(&gunzip(&all[0].1))["name"], json!(long));
    assert_eq!(book(&all[1].1)["name"], "short");

    for (path, headers, body) in [
        (LEND, vec![PROTO, ("content-encoding", "gzip")], gzip(&vec![0; 100_000])),
        (LEND, vec![PROTO], vec![0; 20_001]),
    ] {
        let reply = call(&edge, path, &headers, body).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.json["code"]),
            (429, &json!("resource_exhausted"))
        );
    }
    let unread = call(&edge, LEND, &[PROTO, ("content-encoding", "foo")], body).await;
    assert_eq!((unread.status.as_u16(), &unread.json["code"]), (501, &json!("unimplemented")));
    assert_eq!(unread.header("accept-encoding"), "gzip, zstd, br");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_how_it_went() {
    let (_upstream, edge) = edge().await;
    let all = wire("ListBooksRequest", &json!({}));
    let reply = call(&edge, WATCH, &[STREAM], frame(0, &all)).await;
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (StatusCode::OK, "application/connect+proto")
    );
    let pages: Vec<Value> =
        frames(&reply.body)[..3].iter().map(|(_, wire)| book(wire)["pages"].clone()).collect();
    assert_eq!(pages, ["1", "2", "3"]);
    assert_eq!(end(&reply.body), json!({}));

    let reply = call(&edge, WATCH, &[STREAM_JSON], frame(0, br#"{"parent": "fails"}"#)).await;
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (StatusCode::OK, "application/connect+json")
    );
    let all = frames(&reply.body);
    assert_eq!(all[1], (0, br#"{"pages":"2"}"#.to_vec()));
    let end = end(&reply.body);
    assert_eq!(
        (&end["error"]["code"], &end["metadata"]),
        (&json!("not_found"), &json!({ "x-shelf": ["7"] }))
    );
    assert_eq!(end["error"]["details"][0]["type"], "google.rpc.ErrorInfo");

    for (body, code) in [
        (Vec::new(), "unimplemented"),
        (frame(0, b"").repeat(2), "unimplemented"),
        (frame(1, b"?"), "internal"),
        (frame(0, b"").repeat(1)[..4].to_vec(), "invalid_argument"),
    ] {
        let reply = call(&edge, WATCH, &[STREAM], body).await;
        assert_eq!(
            (reply.status, &self::end(&reply.body)["error"]["code"]),
            (StatusCode::OK, &json!(code))
        );
    }
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_may_speak_in_turns() {
    let (_upstream, edge) = edge().await;
    let path = "/library.v1.Library/FindBooks";
    for is_json in [false, true] {
        let (sender, sent) = sending();
        let ask = |name: &str| match is_json {
            true => frame(0, json!({ "name": name }).to_string().as_bytes()),
            false => frame(0, &wire("GetBookRequest", &json!({ "name": name }))),
        };
        sender.send(ask("first")).await;
        let kind = if is_json { STREAM_JSON } else { STREAM };
        let mut answer = begin(edge.address, path, &[kind], sent).await.into_body();
        for (name, next) in [("first", Some("second")), ("second", None)] {
            let (flags, found) = frames(&piece(&mut answer).await).remove(0);
            assert_eq!(flags, 0);
            let found =
                if is_json { serde_json::from_slice(&found).unwrap() } else { book(&found) };
            assert_eq!(found, json!({ "name": name }));
            if let Some(next) = next {
                sender.send(ask(next)).await;
            }
        }
        drop(sender);
        assert_eq!(end(&answer.collect().await.unwrap().to_bytes()), json!({}));
    }
    // By HTTP/1.1 one side after the other.
    let names: Vec<u8> = ["a", "b"]
        .iter()
        .flat_map(|name| frame(0, &wire("GetBookRequest", &json!({ "name": name }))))
        .collect();
    let reply = call(&edge, path, &[STREAM], names).await;
    assert_eq!(frames(&reply.body).len(), 3);
    // What is wrong with a later message is said, whatever came before.
    let bad = [frame(0, br#"{"name": "a"}"#), frame(0, br#"{"name": "#)].concat();
    let reply = call(&edge, path, &[STREAM_JSON], bad).await;
    assert_eq!(end(&reply.body)["error"]["code"], "invalid_argument");
    let imported = [frame(0, b"{}"), frame(0, b"{}")].concat();
    let reply = call(&edge, "/library.v1.Library/ImportBooks", &[STREAM_JSON], imported).await;
    assert_eq!(frames(&reply.body)[0], (0, br#"{"count":2}"#.to_vec()));
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_call_is_refused_by_its_http_status() {
    let (_upstream, edge) = edge().await;
    let to = edge.address;
    for (path, kind, accepted) in [
        (LEND, "application/foo", "application/proto, application/json"),
        (LEND, "application/connect+proto", "application/proto, application/json"),
        (WATCH, "application/proto", "application/connect+proto, application/connect+json"),
    ] {
        let reply = call(&edge, path, &[("content-type", kind), VERSION], "").await;
        assert_eq!((reply.status.as_u16(), reply.header("accept-post")), (415, accepted), "{kind}");
    }
    // What is of no protocol at all, too: JSON would be an error of Connect.
    for (path, accepted) in [
        (LEND, "application/proto, application/json"),
        (WATCH, "application/connect+proto, application/connect+json"),
    ] {
        let reply = call(&edge, path, &[("content-type", "image/jpeg")], "JFIF").await;
        assert_eq!((reply.status.as_u16(), reply.header("accept-post")), (415, accepted));
        assert_eq!(reply.json, Value::Null, "{reply:?}");
    }
    let deleted = send(to, request(to, "DELETE", LEND, &[PROTO], "")).await;
    assert_eq!((deleted.status.as_u16(), deleted.header("allow")), (405, "POST"));
    let deleted = send(to, request(to, "DELETE", GET_BOOK, &[PROTO], "")).await;
    assert_eq!(deleted.header("allow"), "GET, POST");
    let unknown = call(&edge, "/library.v1.Library/Burn", &[PROTO], "").await;
    assert_eq!((unknown.status.as_u16(), &unknown.json["code"]), (404, &json!("unimplemented")));
    for (header, status) in [
        (("connect-protocol-version", "2"), 400),
        (("connect-timeout-ms", "soon"), 400),
        (("connect-timeout-ms", "0"), 504),
    ] {
        let reply = call(&edge, LEND, &[PROTO, header], "").await;
        assert_eq!(reply.status.as_u16(), status, "{header:?}");
    }
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_stream_and_a_client_that_left_ends_its_call() {
    let (upstream, edge) = edge().await;
    let mut gone = watched(&upstream);
    let headers = [STREAM, ("connect-timeout-ms", "200")];
    let reply = call(&edge, WATCH, &headers, frame(0, b"")).await;
    assert_eq!(frames(&reply.body).len(), 2, "what came before is not lost");
    assert_eq!(end(&reply.body)["error"]["code"], "deadline_exceeded");
    gone.recv().await.unwrap();

    let (sender, sent) = sending();
    sender.send(frame(0, b"")).await;
    drop(sender);
    let mut response = begin_h1(edge.address, WATCH, &[STREAM], sent).await;
    piece(response.body_mut()).await;
    assert!(gone.try_recv().is_err(), "the call is under way");
    drop(response);
    gone.recv().await.unwrap();
    edge.stop().await;
}
