//! Streams by plain HTTP, in both directions.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, future::BoxFuture, stream};
use http::{HeaderMap, Request, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tonic::Status;

use crate::{
    client::{Reply, get, post, request, send},
    upstream::{Answer, Call, Edge, Upstream, message, to_json},
};

/// Nothing here takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);
const JSON: (&str, &str) = ("content-type", "application/json");

pub(crate) async fn relay() -> Upstream {
    let upstream = Upstream::start("streams.proto").await;
    upstream.server_stream("/streams.v1.Relay/Watch", |request| {
        let count = request["count"].as_i64().unwrap_or(3);
        let notes = (1..=count).map(|number| {
            Ok(json!({ "text": "tic", "number": number.to_string(), "resumeToken": format!("t{number}") }))
        });
        stream::iter(notes)
    });
    upstream.server_stream("/streams.v1.Relay/Troubles", |_| {
        stream::iter([Ok(json!({ "error": "none" })), Err(Status::data_loss("lost"))])
    });
    upstream
}

/// Collects into a summary of the texts, and of the rooms where there are any.
pub(crate) fn collects(upstream: &Upstream) {
    let pool = upstream.pool();
    upstream.on("/streams.v1.Relay/Collect", move |mut call| {
        let pool = pool.clone();
        async move {
            let mut texts = Vec::new();
            while let Some(note) = call.requests.message().await? {
                let note = to_json(&note);
                let part = |name: &str| note[name].as_str().unwrap_or_default().to_owned();
                texts.push(part("room") + &part("text"));
            }
            let count = texts.len().to_string();
            let summary = json!({ "count": count, "text": texts.join(",") });
            let summary = message(&pool, "streams.v1.Summary", &summary);
            Ok(Answer::of(stream::iter([Ok(summary)])))
        }
    });
}

/// Answers every note at once with its text twice.
pub(crate) fn chats(upstream: &Upstream) {
    let pool = upstream.pool();
    upstream.on("/streams.v1.Relay/Chat", move |call| {
        let pool = pool.clone();
        async move {
            let answers = call.requests.map(move |note| {
                let note = to_json(&note?);
                let text = note["text"].as_str().unwrap_or_default().repeat(2);
                let answer = json!({ "room": note["room"], "text": text });
                Ok(message(&pool, "streams.v1.Note", &drop_nulls(answer)))
            });
            Ok(Answer::of(answers))
        }
    });
}

fn drop_nulls(mut value: Value) -> Value {
    if let Some(members) = value.as_object_mut() {
        members.retain(|_, member| !member.is_null());
    }
    value
}

// === a client that reads and writes in pieces ===

/// An answer that is read piece by piece.
struct Reading {
    status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
}

/// The sending side of a request.
struct Writing(mpsc::Sender<Result<Bytes, Aborted>>);

/// The client is gone.
#[derive(Debug)]
struct Aborted;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

/// Begins a request whose body goes on for as long as the sender is kept.
async fn open(
    version: Version,
    to: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> (Writing, BoxFuture<'static, Reading>) {
    let (sender, receiver) = mpsc::channel(1);
    let pieces = stream::unfold(receiver, |mut receiver| async move {
        let piece: Result<_, Aborted> = receiver.recv().await?;
        Some((piece.map(Frame::data), receiver))
    });
    let body = StreamBody::new(Box::pin(pieces));
    let uri = match version {
        Version::Http1 => target.to_owned(),
        Version::Http2 => format!("http://{to}{target}"),
    };
    let mut request = Request::builder().method(method).uri(uri);
    if version == Version::Http1 {
        request = request.header(header::HOST, to.to_string());
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body).unwrap();
    let io = TokioIo::new(TcpStream::connect(to).await.unwrap());
    let response: BoxFuture<'static, _> = match version {
        Version::Http1 => {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            Box::pin(async move { sender.send_request(request).await })
        }
        Version::Http2 => {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            Box::pin(async move { sender.send_request(request).await })
        }
    };
    // It is sent whether or not somebody waits for the answer yet.
    let response = tokio::spawn(response);
    let reading = Box::pin(async move {
        let (head, body) =
            timeout(PATIENCE, response).await.unwrap().unwrap().unwrap().into_parts();
        Reading { status: head.status, headers: head.headers, body }
    });
    (Writing(sender), reading)
}

impl Writing {
    async fn send(&self, piece: impl Into<Bytes>) {
        timeout(PATIENCE, self.0.send(Ok(piece.into()))).await.unwrap().unwrap();
    }

    /// Breaks off in the midst of the body.
    async fn abort(self) {
        self.0.send(Err(Aborted)).await.unwrap();
    }
}

impl std::fmt::Display for Aborted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("aborted")
    }
}

impl std::error::Error for Aborted {}

impl Reading {
    /// The next piece; `None` at the end, `Err` if it was broken off.
    async fn next(&mut self) -> Option<Result<String, hyper::Error>> {
        let frame = timeout(PATIENCE, self.body.frame()).await.unwrap()?;
        let data = frame.map(|frame| frame.into_data().unwrap_or_default());
        Some(data.map(|data| String::from_utf8(data.to_vec()).unwrap()))
    }

    /// Everything there is, and whether it ended well.
    async fn rest(mut self) -> (String, bool) {
        let mut all = String::new();
        loop {
            match self.next().await {
                Some(Ok(piece)) => all += &piece,
                Some(Err(_)) => return (all, false),
                None => return (all, true),
            }
        }
    }
}

async fn read(version: Version, to: SocketAddr, target: &str, accept: &str) -> (String, bool) {
    let (_, reading) = open(version, to, "GET", target, &[("accept", accept)]).await;
    let reading = reading.await;
    assert_eq!(reading.status, StatusCode::OK);
    reading.rest().await
}

/// What comes by either version, and whether it ended well.
pub(crate) async fn read_rest(to: SocketAddr, target: &str) -> Vec<(String, bool)> {
    let mut read_by = Vec::new();
    for version in VERSIONS {
        read_by.push(read(version, to, target, "*/*").await);
    }
    read_by
}

const VERSIONS: [Version; 2] = [Version::Http1, Version::Http2];

// === what a service streams ===

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_framed_as_the_client_asks() {
    let upstream = relay().await;
    let edge = Edge::before(&upstream).await;
    let target = "/v1/notes:watch?count=2";
    let one = r#"{"text":"tic","number":"1","resumeToken":"t1"}"#;
    let two = r#"{"text":"tic","number":"2","resumeToken":"t2"}"#;
    let events = format!(
        "retry: 3000\n\nid: t1\ndata: {one}\n\nid: t2\ndata: {two}\n\nevent: end\ndata: {{}}\n\n"
    );
    for version in VERSIONS {
        for (accept, body) in [
            ("*/*", format!("[{one},{two}]")),
            ("application/json", format!("[{one},{two}]")),
            ("application/x-ndjson", format!("{one}\n{two}\n")),
            ("text/event-stream", events.clone()),
            (
                "application/x-protobuf",
                "\u{b}\u{12}\u{3}tic\u{18}\u{1}\"\u{2}t1\u{b}\u{12}\u{3}tic\u{18}\u{2}\"\u{2}t2"
                    .to_owned(),
            ),
        ] {
            assert_eq!(read(version, edge.address, target, accept).await, (body, true), "{accept}");
        }
    }
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_after_the_first_message_is_always_seen() {
    let upstream = relay().await;
    upstream.server_stream("/streams.v1.Relay/Watch", |_| {
        let late = Status::failed_precondition("the room was closed");
        stream::iter([Ok(json!({ "text": "tic" })), Err(late)])
    });
    let edge = Edge::before(&upstream).await;
    let target = "/v1/notes:watch";
    for version in VERSIONS {
        let said =
            |text: &str| text.contains("the room was closed") && text.contains("\"code\":400");
        let (array, whole) = read(version, edge.address, target, "application/json").await;
        assert!(array.starts_with(r#"[{"text":"tic"},{"error":{"#) && said(&array), "{array}");
        assert!(!whole && !array.ends_with(']'), "{version:?}: an array that failed has no end");

        let (lines, whole) = read(version, edge.address, target, "application/x-ndjson").await;
        assert!(lines.starts_with("{\"text\":\"tic\"}\n{\"error\":{") && said(&lines), "{lines}");
        assert!(whole);

        let (events, whole) = read(version, edge.address, target, "text/event-stream").await;
        assert!(
            events.contains("\n\nevent: error\ndata: {\"error\":{") && said(&events),
            "{events}"
        );
        assert!(whole && !events.contains("event: end"));

        let (messages, whole) = read(version, edge.address, target, "application/x-protobuf").await;
        assert_eq!((messages.as_str(), whole), ("\u{5}\u{12}\u{3}tic", false));

        // A line that could be a message is not all there is to see.
        let troubles = "/v1/troubles:watch";
        let (lines, whole) = read(version, edge.address, troubles, "application/x-ndjson").await;
        assert!(lines.starts_with("{\"error\":\"none\"}\n{\"error\":{") && !whole, "{lines}");
    }
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_before_the_first_message_has_its_status() {
    let upstream = relay().await;
    upstream.server_stream("/streams.v1.Relay/Watch", |_| {
        stream::iter([Err(Status::not_found("no such room"))])
    });
    let edge = Edge::before(&upstream).await;
    for accept in ["application/json", "text/event-stream"] {
        let asked = request(edge.address, "GET", "/v1/notes:watch", &[("accept", accept)], "");
        let refused = send(edge.address, asked).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{accept}");
        assert_eq!(refused.json["error"]["message"], "no such room");
    }
    let wrong = get(edge.address, "/v1/notes:watch?count=many").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_stream_of_events_has_a_head_and_is_kept_open() {
    let upstream = relay().await;
    upstream.server_stream("/streams.v1.Relay/Watch", |_| {
        stream::once(async { Ok(json!({ "text": "late" })) }).chain(stream::pending())
    });
    upstream.server_stream("/streams.v1.Relay/Troubles", |_| stream::pending());
    let config = json!({ "access": "public", "stream_head_wait": "20ms", "sse_heartbeat": "20ms" });
    let edge = Edge::with(&[&upstream], config).await;
    for (target, before) in [("/v1/notes:watch", "late"), ("/v1/troubles:watch", "retry")] {
        let accept = [("accept", "text/event-stream")];
        let (_, reading) = open(Version::Http1, edge.address, "GET", target, &accept).await;
        let mut reading = reading.await;
        assert_eq!(reading.headers[header::CONTENT_TYPE], "text/event-stream");
        assert_eq!(reading.headers[header::CACHE_CONTROL], "no-store");
        let first = reading.next().await.unwrap().unwrap();
        assert!(first.contains(before), "{first}");
        for _ in 0..3 {
            assert_eq!(reading.next().await.unwrap().unwrap(), ":\n\n");
        }
    }
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_comes_back_goes_on_where_it_was() {
    let upstream = relay().await;
    upstream.server_stream("/streams.v1.Relay/Watch", |request| {
        stream::iter([Ok(json!({ "text": request["resumeToken"] }))])
    });
    let edge = Edge::before(&upstream).await;
    let headers = [("accept", "text/event-stream"), ("last-event-id", "t7")];
    let asked = request(edge.address, "GET", "/v1/notes:watch", &headers, "");
    let events = send(edge.address, asked).await;
    let text = String::from_utf8(events.body.to_vec()).unwrap();
    assert!(text.contains("data: {\"text\":\"t7\"}\n\n"), "{text}");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_time_allowed_is_seen() {
    let upstream = relay().await;
    upstream.server_stream("/streams.v1.Relay/Watch", |_| {
        stream::once(async { Ok(json!({ "text": "tic" })) }).chain(stream::pending())
    });
    let edge = Edge::before(&upstream).await;
    for version in VERSIONS {
        let headers = [("x-request-timeout", "100ms")];
        let (_, reading) = open(version, edge.address, "GET", "/v1/notes:watch", &headers).await;
        let (array, whole) = reading.await.rest().await;
        assert!(array.contains("\"status\":\"DEADLINE_EXCEEDED\"") && !whole, "{array}");
    }
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_ends_the_stream_at_the_service() {
    let upstream = relay().await;
    let (gone, mut told) = mpsc::unbounded_channel();
    upstream.server_stream("/streams.v1.Relay/Watch", move |_| {
        let guard = Guard(gone.clone());
        stream::repeat_with(move || {
            let _held = &guard;
            Ok(json!({ "text": "tic" }))
        })
    });
    let edge = Edge::before(&upstream).await;
    for version in VERSIONS {
        let (_, reading) = open(version, edge.address, "GET", "/v1/notes:watch", &[]).await;
        let mut reading = reading.await;
        assert!(reading.next().await.unwrap().is_ok());
        drop(reading);
        timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
    }
    edge.stop().await;
}

/// Tells when it is dropped.
pub(crate) struct Guard(pub(crate) mpsc::UnboundedSender<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _test_is_over = self.0.send(());
    }
}

// === what a client streams ===

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

/// What a service sees of a client's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The first message.
    First,
    /// The end: there is no more.
    Whole,
    /// A failure, or nothing more at all: the call was cancelled.
    Cancelled,
}

/// Tells how a stream ended, also if nobody goes on reading it.
pub(crate) struct Ending {
    tell: mpsc::UnboundedSender<Seen>,
    seen: Seen,
}

impl Ending {
    pub(crate) fn new(tell: &mpsc::UnboundedSender<Seen>) -> Self {
        Self { tell: tell.clone(), seen: Seen::Cancelled }
    }

    /// Reads a stream to its end.
    pub(crate) async fn read(mut self, call: &mut Call) {
        let mut is_first = true;
        loop {
            match call.requests.message().await {
                Ok(Some(_)) if is_first => self.tell.send(Seen::First).unwrap(),
                Ok(Some(_)) => {}
                Ok(None) => break self.seen = Seen::Whole,
                Err(_) => break,
            }
            is_first = false;
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let _test_is_over = self.tell.send(self.seen);
    }
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
