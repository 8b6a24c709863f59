//! `google.api.HttpBody`: files, in both directions.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use serde_json::{Value, json};
use tonic::{Status, metadata::MetadataMap};

use crate::{
    client::{Reply, get, request, send},
    streams::read_rest,
    upstream::{Answer, Call, Edge, Upstream, message, to_json},
};

const CONTENT: &str = "0123456789";

fn content(text: &str) -> Value {
    json!({ "contentType": "text/plain", "data": BASE64_STANDARD.encode(text) })
}

/// What was stored, as text: name, labels, type and content of every message.
fn stored(note: &Value) -> String {
    let decoded = |data: &Value| {
        let data = data.as_str().unwrap_or_default();
        String::from_utf8(BASE64_STANDARD.decode(data).unwrap()).unwrap()
    };
    format!(
        "{}{}|{}|{}|{};",
        note["name"].as_str().unwrap_or_default(),
        note["labels"].as_object().map_or(String::new(), |labels| json!(labels).to_string()),
        note["file"]["contentType"].as_str().unwrap_or_default(),
        decoded(&note["file"]["data"]),
        decoded(&note["thumbnail"]),
    )
}

async fn files() -> Upstream {
    let upstream = Upstream::start("files.proto").await;
    let pool = upstream.pool();
    for path in ["/files.v1.Files/Get", "/files.v1.Files/Read"] {
        let pool = pool.clone();
        upstream.on(path, move |mut call: Call| {
            let pool = pool.clone();
            async move {
                let request = to_json(&call.requests.message().await?.unwrap());
                let body = |value: &Value| Ok(message(&pool, "google.api.HttpBody", value));
                let mut headers = MetadataMap::new();
                headers.insert("etag", "\"v1\"".parse().unwrap());
                headers.insert("content-disposition", "attachment; filename=f".parse().unwrap());
                headers.insert("x-content-length", "10".parse().unwrap());
                let pieces =
                    || vec![body(&content("01234")), body(&content("56")), body(&content("789"))];
                let is_whole = path.ends_with("Get");
                let messages = match request["name"].as_str().unwrap_or_default() {
                    "missing" => return Err(Status::not_found("no such file")),
                    "empty" => vec![body(&json!({}))],
                    _ if is_whole => vec![body(&content(CONTENT))],
                    "broken" => {
                        headers.remove("x-content-length");
                        vec![body(&content("01234")), Err(Status::data_loss("lost"))]
                    }
                    "unknown" => {
                        headers.remove("x-content-length");
                        pieces()
                    }
                    "short" => pieces().into_iter().take(2).collect(),
                    _ => pieces(),
                };
                Ok(Answer { headers, ..Answer::of(stream::iter(messages)) })
            }
        });
    }
    for path in ["/files.v1.Files/Put", "/files.v1.Files/Write"] {
        let pool = pool.clone();
        upstream.on(path, move |mut call: Call| {
            let pool = pool.clone();
            async move {
                let (mut text, mut pieces) = (String::new(), 0);
                while let Some(put) = call.requests.message().await? {
                    text += &stored(&to_json(&put));
                    pieces += 1;
                }
                let stored = json!({ "text": text, "pieces": pieces.to_string() });
                let stored = message(&pool, "files.v1.Stored", &stored);
                Ok(Answer::of(stream::iter([Ok(stored)])))
            }
        });
    }
    upstream
}

async fn ranged(edge: &Edge, target: &str, headers: &[(&str, &str)]) -> Reply {
    send(edge.address, request(edge.address, "GET", target, headers, "")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_answered_as_it_is() {
    let upstream = files().await;
    let edge = Edge::before(&upstream).await;
    for target in ["/v1/files/f", "/v1/files/f:read"] {
        let file = get(edge.address, target).await;
        assert_eq!((file.status, &file.body[..]), (StatusCode::OK, CONTENT.as_bytes()), "{target}");
        assert_eq!(file.header("content-type"), "text/plain");
        assert_eq!(file.header("content-disposition"), "attachment; filename=f");
        assert_eq!(file.header("content-length"), "10");
        assert_eq!(file.header("accept-ranges"), "bytes");
        assert_eq!(file.header("etag"), "\"v1\"");
        assert_eq!(file.header("cache-control"), "no-store");
        let known = ranged(&edge, target, &[("if-none-match", "\"v0\", W/\"v1\"")]).await;
        assert_eq!((known.status, known.body.len()), (StatusCode::NOT_MODIFIED, 0), "{target}");
    }
    let empty = get(edge.address, "/v1/files/empty").await;
    assert_eq!(
        (empty.status, empty.header("content-type")),
        (StatusCode::OK, "application/octet-stream")
    );
    let head = request(edge.address, "HEAD", "/v1/files/f", &[], "");
    let head = send(edge.address, head).await;
    assert_eq!((head.header("content-length"), head.body.len()), ("10", 0));
    for target in ["/v1/files/missing", "/v1/files/missing:read"] {
        assert_eq!(get(edge.address, target).await.status, StatusCode::NOT_FOUND);
    }
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_file_is_answered() {
    let upstream = files().await;
    let edge = Edge::before(&upstream).await;
    for target in ["/v1/files/f", "/v1/files/f:read"] {
        for (range, part, content_range) in [
            ("bytes=0-0", "0", "bytes 0-0/10"),
            ("bytes=3-7", "34567", "bytes 3-7/10"),
            ("bytes=5-", "56789", "bytes 5-9/10"),
            ("bytes=-3", "789", "bytes 7-9/10"),
            ("bytes=6-99", "6789", "bytes 6-9/10"),
        ] {
            let reply = ranged(&edge, target, &[("range", range)]).await;
            assert_eq!(reply.status, StatusCode::PARTIAL_CONTENT, "{target} {range}");
            assert_eq!(reply.body, part, "{target} {range}");
            assert_eq!(reply.header("content-range"), content_range);
            assert_eq!(reply.header("content-length"), part.len().to_string());
        }
        let beyond = ranged(&edge, target, &[("range", "bytes=10-")]).await;
        assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(beyond.header("content-range"), "bytes */10");
        for headers in [
            &[("range", "bytes=0-1,4-5")][..],
            &[("range", "bytes=x")],
            &[("range", "bytes=0-1"), ("if-range", "\"v0\"")],
        ] {
            let whole = ranged(&edge, target, headers).await;
            assert_eq!((whole.status, &whole.body[..]), (StatusCode::OK, CONTENT.as_bytes()));
        }
        let same = [("range", "bytes=0-1"), ("if-range", "\"v1\"")];
        assert_eq!(ranged(&edge, target, &same).await.body, "01");
    }
    // Nobody knows how long it is: there are no parts of it.
    let unknown = ranged(&edge, "/v1/files/unknown:read", &[("range", "bytes=0-1")]).await;
    assert_eq!((unknown.status, &unknown.body[..]), (StatusCode::OK, CONTENT.as_bytes()));
    assert_eq!(unknown.header("accept-ranges"), "");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_breaks_off_does_not_look_whole() {
    let upstream = files().await;
    let edge = Edge::before(&upstream).await;
    for name in ["broken", "short"] {
        for (text, is_whole) in read_rest(edge.address, &format!("/v1/files/{name}:read")).await {
            assert!(!is_whole, "{name}: {text}");
            assert!(text.len() <= CONTENT.len(), "{name}: {text}");
        }
    }
    edge.stop().await;
}

// === files that are sent ===

const BOUNDARY: (&str, &str) = ("content-type", "multipart/form-data; boundary=B");

/// A part of a form.
fn part(name: &str, file: Option<&str>, content: &str) -> String {
    let (filename, content_type) = match file {
        Some(content_type) => ("; filename=\"f\"", format!("Content-Type: {content_type}\r\n")),
        None => ("", String::new()),
    };
    format!(
        "--B\r\nContent-Disposition: form-data; name=\"{name}\"{filename}\r\n{content_type}\r\n{content}\r\n"
    )
}

async fn put(edge: &Edge, method: &str, target: &str, form: &[String]) -> Reply {
    let body = form.concat() + "--B--\r\n";
    send(edge.address, request(edge.address, method, target, &[BOUNDARY], body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn any_content_is_a_file() {
    let upstream = files().await;
    let edge = Edge::before(&upstream).await;
    for (target, pieces) in [("/v1/files/f", "1"), ("/v1/files/f:write", "1")] {
        for content_type in ["image/png", "application/json"] {
            let headers = [("content-type", content_type)];
            let body = request(edge.address, "PUT", target, &headers, "[content");
            let reply = send(edge.address, body).await;
            let text = format!("f|{content_type}|[content|;");
            assert_eq!(reply.json, json!({ "text": text, "pieces": pieces }), "{target}");
        }
    }
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_a_message_with_files() {
    let upstream = files().await;
    let edge = Edge::before(&upstream).await;
    let png = Some("image/png");
    let form = [
        part("name", None, "a & b=ü"),
        part("labels[k]", None, "v"),
        part("file", png, "\r\n--C\r\n-B\r\n"),
        part("thumbnail", None, "t"),
    ];
    let reply = put(&edge, "POST", "/v1/files", &form).await;
    let text = "a & b=ü{\"k\":\"v\"}|image/png|\r\n--C\r\n-B\r\n|t;";
    assert_eq!(reply.json, json!({ "text": text, "pieces": "1" }), "{reply:?}");

    let one = put(&edge, "PUT", "/v1/files/f", &[part("upload", png, "x")]).await;
    assert_eq!(one.json["text"], "f|image/png|x|;", "where one field is the body, it goes there");

    for (target, form, status) in [
        ("/v1/files", vec![part("file", png, "x"), part("file", png, "y")], 400),
        ("/v1/files", vec![part("name", png, "x")], 400),
        ("/v1/files", vec![part("nothing", None, "x")], 400),
        ("/v1/files", vec![part("name", None, "x"), part("name", None, "y")], 400),
        ("/v1/files:write", vec![part("file", png, "x"), part("name", None, "y")], 400),
    ] {
        let refused = put(&edge, "POST", target, &form).await;
        assert_eq!(refused.status.as_u16(), status, "{form:?} {refused:?}");
    }
    let clash = put(&edge, "PUT", "/v1/files/f", &[part("name", None, "g")]).await;
    assert_eq!(clash.status, StatusCode::BAD_REQUEST, "the path names it too");
    let cut = request(edge.address, "POST", "/v1/files", &[BOUNDARY], part("file", png, "x"));
    assert_eq!(send(edge.address, cut).await.status, StatusCode::BAD_REQUEST);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_a_stream_with_a_file() {
    let upstream = files().await;
    let edge = Edge::before(&upstream).await;
    let long = "x".repeat(200_000);
    let form = [part("name", None, "f"), part("file", Some("image/png"), &long)];
    let reply = put(&edge, "POST", "/v1/files:write", &form).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let text = reply.json["text"].as_str().unwrap();
    assert!(text.starts_with("f|image/png|xxx"), "the parameters come with the first piece");
    let content: String = text.split(';').filter_map(|piece| piece.split('|').nth(2)).collect();
    assert_eq!(content.len(), long.len());
    assert_eq!(text.matches("image/png").count(), 1);
    assert_eq!(text.matches("f|").count(), 1);
    let cut =
        request(edge.address, "POST", "/v1/files:write", &[BOUNDARY], part("file", None, "x"));
    assert_eq!(send(edge.address, cut).await.status, StatusCode::BAD_REQUEST);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_have_bounds() {
    let upstream = files().await;
    let config = json!({
        "access": "public", "body_bytes_max": 4000, "form_part_bytes_max": 100, "form_parts_max": 3,
    });
    let edge = Edge::with(&[&upstream], config).await;
    let label = |nth: usize| part(&format!("labels[{nth}]"), None, "v");
    for (form, said) in [
        (vec![part("file", Some("a/b"), &"x".repeat(101))], "100 bytes"),
        (vec![part("name", None, &"x".repeat(101))], "100 bytes"),
        ((0..4).map(label).collect(), "3 parts"),
        (vec![part("nothing", Some("a/b"), "")], "no field"),
    ] {
        let refused = put(&edge, "POST", "/v1/files", &form).await;
        let text = refused.json["error"]["message"].as_str().unwrap();
        assert!(text.contains(said), "{text}");
    }
    let large = [BOUNDARY];
    let body = Bytes::from(["--B\r\n".as_bytes(), &[b'x'; 5000]].concat());
    let large = send(edge.address, request(edge.address, "POST", "/v1/files", &large, body)).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    edge.stop().await;
}
