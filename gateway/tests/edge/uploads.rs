//! What a client streams by plain HTTP, and both sides at once.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};
use tonic::Status;

use crate::{
    client::{Reply, post, request, send},
    streams::{Ending, JSON, PATIENCE, Seen, VERSIONS, Version, chats, collects, open, relay},
    upstream::{Answer, Call, Edge, Upstream, message, to_json},
};

async fn collect(edge: &Edge, content_type: &str, body: impl Into<Bytes>) -> Reply {
    let headers = [("content-type", content_type)];
    send(edge.address, request(edge.address, "POST", "/v1/rooms/a/notes:collect", &headers, body))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_a_stream_of_messages() {
    let upstream = relay().await;
    collects(&upstream);
    let edge = Edge::before(&upstream).await;
    let summary = json!({ "count": "3", "text": "ax,y,z" });
    let bodies: [(&str, &[u8]); 6] = [
        ("application/json", br#"[{"text":"x"}, {"text":"y"},{"text":"z"}]"#),
        ("application/json", br#"{"text":"x"}{"text":"y"} {"text":"z"}"#),
        ("application/vnd.x+json", br#"[{"text":"x"},{"text":"y"},{"text":"z"}]"#),
        ("application/x-ndjson", b"{\"text\":\"x\"}\n{\"text\":\"y\"}\r\n\n{\"text\":\"z\"}"),
        ("application/jsonl", b"{\"text\":\"x\"}\n{\"text\":\"y\"}\n{\"text\":\"z\"}\n"),
        ("application/x-protobuf", b"\x03\x12\x01x\x03\x12\x01y\x03\x12\x01z"),
    ];
    for (content_type, body) in bodies {
        let collected = collect(&edge, content_type, body).await;
        assert_eq!(collected.json, summary, "{content_type}");
    }
    for body in ["", "[]", " \n"] {
        assert_eq!(collect(&edge, "application/json", body).await.json, json!({}), "{body:?}");
    }
    let rpc = post(
        edge.address,
        "/streams.v1.Relay/Collect",
        json!([{ "room": "b", "text": "x" }, { "room": "b" }]),
    );
    assert_eq!(rpc.await.json, json!({ "count": "2", "text": "bx,b" }));
    let unread = collect(&edge, "text/csv", "a,b").await;
    assert_eq!(unread.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(unread.reason(), "MEDIA_TYPE_UNSUPPORTED");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_reach_the_service_as_they_arrive() {
    let upstream = relay().await;
    let (heard, mut told) = mpsc::unbounded_channel();
    let pool = upstream.pool();
    upstream.on("/streams.v1.Relay/Collect", move |mut call: Call| {
        let (heard, pool) = (heard.clone(), pool.clone());
        async move {
            while let Some(note) = call.requests.message().await? {
                heard.send(to_json(&note)["text"].clone()).unwrap();
            }
            let summary = message(&pool, "streams.v1.Summary", &json!({}));
            Ok(Answer::of(stream::iter([Ok(summary)])))
        }
    });
    let edge = Edge::before(&upstream).await;
    for version in VERSIONS {
        let target = "/v1/rooms/a/notes:collect";
        let (writing, reading) = open(version, edge.address, "POST", target, &[JSON]).await;
        for (piece, text) in [("[{\"text\":\"one\"}", "one"), (",{\"text\":\"two\"}", "two")] {
            writing.send(piece).await;
            assert_eq!(timeout(PATIENCE, told.recv()).await.unwrap().unwrap(), text);
        }
        writing.send("]").await;
        drop(writing);
        assert_eq!(reading.await.status, StatusCode::OK);
    }
    edge.stop().await;
}

/// What the service sees of streams that it collects.
fn endings(upstream: &Upstream) -> mpsc::UnboundedReceiver<Seen> {
    let (tell, told) = mpsc::unbounded_channel();
    let pool = upstream.pool();
    upstream.on("/streams.v1.Relay/Collect", move |mut call: Call| {
        let (ending, pool) = (Ending::new(&tell), pool.clone());
        async move {
            ending.read(&mut call).await;
            let summary = message(&pool, "streams.v1.Summary", &json!({}));
            Ok(Answer::of(stream::iter([Ok(summary)])))
        }
    });
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_read_is_named_and_cancels_the_call() {
    let upstream = relay().await;
    let mut told = endings(&upstream);
    let config = json!({ "access": "public", "body_bytes_max": 64, "json_depth_max": 3 });
    let edge = Edge::with(&[&upstream], config).await;
    let good = r#"{"text":"x"}"#;
    let cases = [
        ("[%,\n {\"txt\":1}]", "message 1: ", "line 2, column 3"),
        ("[%,%,{\"number\":\"x\"}]", "message 2: number", "column 38"),
        ("[%,%", "message 2: expected `,` or `]`", "line 1"),
        ("[%,", "message 1: expected a value", "line 1"),
        ("[% %]", "message 1: expected `,` or `]`", "column 15"),
        ("[%]]", "message 1: expected the end", "column 15"),
        ("%\n{\"text\":", "message 1: ", "line 2"),
        ("[%,{\"text\":[[[[1]]]]}]", "message 1: ", "nest"),
        (
            "[%,{\"text\":\"0123456789012345678901234567890123456789012345678901234567890\"}]",
            "message 1: ",
            "64 bytes",
        ),
        ("[%,{\"room\":\"b\"}]", "message 1: ", "the path"),
    ];
    for (body, index, place) in cases {
        let refused = collect(&edge, "application/json", body.replace('%', good)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{body}: {refused:?}");
        let text = refused.json["error"]["message"].as_str().unwrap();
        assert!(text.starts_with(index) && text.contains(place), "{body}: {text}");
        let field = refused.json["error"]["violations"][0]["field"].as_str().unwrap();
        assert!(field.starts_with('['), "{field}");
        // The service may not have been asked at all.
        while let Ok(seen) = told.try_recv() {
            assert_ne!(seen, Seen::Whole, "{body}: the service took a part for the whole");
        }
    }
    for body in
        [&b"\x03\x12\x01"[..], b"\x80", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x7fx"]
    {
        let refused = collect(&edge, "application/x-protobuf", body).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
    }
    let agreeing = collect(&edge, "application/json", r#"[{"text":"x"},{"room":"a"}]"#).await;
    assert_eq!(agreeing.status, StatusCode::OK, "{agreeing:?}");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_breaks_off_is_never_taken_for_the_whole() {
    let upstream = relay().await;
    let mut told = endings(&upstream);
    let edge = Edge::before(&upstream).await;
    for version in VERSIONS {
        let target = "/v1/rooms/a/notes:collect";
        let (writing, reading) = open(
            version,
            edge.address,
            "POST",
            target,
            &[("content-type", "application/x-ndjson")],
        )
        .await;
        writing.send("{\"text\":\"one\"}\n").await;
        assert_eq!(timeout(PATIENCE, told.recv()).await.unwrap(), Some(Seen::First));
        writing.abort().await;
        let seen = timeout(PATIENCE, told.recv()).await.unwrap();
        assert_eq!(seen, Some(Seen::Cancelled), "{version:?}");
        drop(reading);
    }
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_read_stops_the_client() {
    const PIECE: usize = 64 << 10;
    let upstream = relay().await;
    let (go, gate) = tokio::sync::watch::channel(false);
    let pool = upstream.pool();
    upstream.on("/streams.v1.Relay/Store", move |mut call: Call| {
        let (mut gate, pool) = (gate.clone(), pool.clone());
        async move {
            gate.wait_for(|open| *open).await.unwrap();
            let mut count = 0;
            while let Some(piece) = call.requests.message().await? {
                count += piece.get_field_by_name("data").unwrap().as_bytes().unwrap().len();
            }
            let summary = json!({ "count": count.to_string() });
            let summary = message(&pool, "streams.v1.Summary", &summary);
            Ok(Answer::of(stream::iter([Ok(summary)])))
        }
    });
    let edge = Edge::before(&upstream).await;
    for version in VERSIONS {
        go.send(false).unwrap();
        let (writing, reading) =
            open(version, edge.address, "PUT", "/v1/files/big", &[("content-type", "image/png")])
                .await;
        let mut sent = 0;
        while let Ok(sending) =
            timeout(Duration::from_millis(500), writing.0.send(Ok(vec![7; PIECE].into()))).await
        {
            sending.unwrap();
            sent += PIECE;
            assert!(sent < 64 << 20, "{version:?}: nothing stops the client");
        }
        go.send(true).unwrap();
        drop(writing);
        let (summary, _) = reading.await.rest().await;
        assert_eq!(summary, format!("{{\"count\":\"{sent}\"}}"), "{version:?}");
    }
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_content_is_a_stream_of_pieces() {
    let upstream = relay().await;
    let pool = upstream.pool();
    upstream.on("/streams.v1.Relay/Store", move |mut call: Call| {
        let pool = pool.clone();
        async move {
            let (mut names, mut data) = (Vec::new(), Vec::new());
            while let Some(piece) = call.requests.message().await? {
                names.push(piece.get_field_by_name("name").unwrap().as_str().unwrap().to_owned());
                data.extend_from_slice(
                    piece.get_field_by_name("data").unwrap().as_bytes().unwrap(),
                );
            }
            let text = format!("{}:{}", names.concat(), String::from_utf8(data).unwrap());
            let summary = message(&pool, "streams.v1.Summary", &json!({ "text": text }));
            Ok(Answer::of(stream::iter([Ok(summary)])))
        }
    });
    let edge = Edge::before(&upstream).await;
    for version in VERSIONS {
        let csv = [("content-type", "text/csv")];
        let (writing, reading) = open(version, edge.address, "PUT", "/v1/files/f", &csv).await;
        for piece in ["a,", "b,", "c"] {
            writing.send(piece).await;
        }
        drop(writing);
        assert_eq!(reading.await.rest().await.0, r#"{"text":"f:a,b,c"}"#);
        let (writing, reading) = open(version, edge.address, "PUT", "/v1/files/g", &csv).await;
        drop(writing);
        assert_eq!(reading.await.rest().await.0, r#"{"text":"g:"}"#, "no content is content");
    }
    let json = request(edge.address, "PUT", "/v1/files/h", &[JSON], r#"["YQ==","Yg=="]"#);
    assert_eq!(send(edge.address, json).await.json, json!({ "text": "h:ab" }));
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_may_answer_before_the_client_has_ended() {
    let upstream = relay().await;
    upstream.on("/streams.v1.Relay/Collect", |mut call: Call| async move {
        let _first = call.requests.message().await?;
        Err(Status::permission_denied("not in this room"))
    });
    let edge = Edge::before(&upstream).await;
    for version in VERSIONS {
        let (writing, reading) =
            open(version, edge.address, "POST", "/v1/rooms/a/notes:collect", &[JSON]).await;
        writing.send("[{},").await;
        let reading = reading.await;
        assert_eq!(reading.status, StatusCode::FORBIDDEN);
        assert!(reading.rest().await.0.contains("not in this room"));
    }
    edge.stop().await;
}

// === both at once ===

#[tokio::test(flavor = "multi_thread")]
async fn by_http_2_both_sides_stream_at_once() {
    let upstream = relay().await;
    chats(&upstream);
    let edge = Edge::before(&upstream).await;
    let headers = [("content-type", "application/x-ndjson"), ("accept", "application/x-ndjson")];
    let (writing, reading) =
        open(Version::Http2, edge.address, "POST", "/v1/rooms/a/chat", &headers).await;
    writing.send("{\"text\":\"x\"}\n").await;
    let mut reading = reading.await;
    assert_eq!(reading.next().await.unwrap().unwrap(), "{\"room\":\"a\",\"text\":\"xx\"}\n");
    for text in ["y", "z"] {
        writing.send(format!("{{\"text\":\"{text}\"}}\n")).await;
        let answer = reading.next().await.unwrap().unwrap();
        assert_eq!(answer, format!("{{\"text\":\"{text}{text}\"}}\n"));
    }
    writing.send("{\"txt\":\"x\"}\n").await;
    let (failure, _) = reading.rest().await;
    assert!(
        failure.starts_with("{\"error\":{\"code\":400") && failure.contains("message 3"),
        "{failure}"
    );
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_http_1_the_answer_follows_the_request() {
    let upstream = relay().await;
    chats(&upstream);
    let edge = Edge::before(&upstream).await;
    let target = "/v1/rooms/a/chat";
    let (writing, reading) = open(Version::Http1, edge.address, "POST", target, &[JSON]).await;
    writing.send("[{\"text\":\"x\"},").await;
    let reading = tokio::spawn(reading);
    writing.send("{\"text\":\"y\"}").await;
    assert!(!reading.is_finished());
    writing.send("]").await;
    drop(writing);
    let (array, whole) = reading.await.unwrap().rest().await;
    assert_eq!(array, r#"[{"room":"a","text":"xx"},{"text":"yy"}]"#);
    assert!(whole);

    let refused = post(edge.address, target, json!([{ "text": "x" }, { "txt": "y" }])).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "nothing was said before it was known");
    assert!(refused.json["error"]["message"].as_str().unwrap().starts_with("message 1: "));

    // More than the windows between here and the service hold, in both directions.
    let long = "x".repeat(100_000);
    let notes: Vec<Value> = (0..100).map(|_| json!({ "text": long })).collect();
    let answers = timeout(PATIENCE, post(edge.address, target, json!(notes))).await.unwrap();
    assert_eq!(answers.json.as_array().unwrap().len(), 100);
    edge.stop().await;
}
