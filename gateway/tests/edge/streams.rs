//! What a service streams, by plain HTTP; and what streams are tested with.

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
    client::{get, request, send},
    upstream::{Answer, Call, Edge, Upstream, message, to_json},
};

/// Nothing here takes this long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");

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

// === a client that reads and writes in pieces ===

/// An answer that is read piece by piece.
pub(crate) struct Reading {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
}

/// The sending side of a request.
pub(crate) struct Writing(pub(crate) mpsc::Sender<Result<Bytes, Aborted>>);

/// The client is gone.
#[derive(Debug)]
pub(crate) struct Aborted;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// Begins a request whose body goes on for as long as the sender is kept.
pub(crate) async fn open(
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
    pub(crate) async fn send(&self, piece: impl Into<Bytes>) {
        timeout(PATIENCE, self.0.send(Ok(piece.into()))).await.unwrap().unwrap();
    }

    /// Breaks off in the midst of the body.
    pub(crate) async fn abort(self) {
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
    pub(crate) async fn next(&mut self) -> Option<Result<String, hyper::Error>> {
        let frame = timeout(PATIENCE, self.body.frame()).await.unwrap()?;
        let data = frame.map(|frame| frame.into_data().unwrap_or_default());
        Some(data.map(|data| String::from_utf8(data.to_vec()).unwrap()))
    }

    /// Everything there is, and whether it ended well.
    pub(crate) async fn rest(mut self) -> (String, bool) {
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

/// The first piece of an answer, as it comes.
pub(crate) async fn first_piece(to: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Bytes {
    let (_, reading) = open(Version::Http1, to, "GET", target, headers).await;
    let mut reading = reading.await;
    let frame = timeout(PATIENCE, reading.body.frame()).await.unwrap().unwrap().unwrap();
    frame.into_data().unwrap()
}

/// What comes by either version, and whether it ended well.
pub(crate) async fn read_rest(to: SocketAddr, target: &str) -> Vec<(String, bool)> {
    let mut read_by = Vec::new();
    for version in VERSIONS {
        read_by.push(read(version, to, target, "*/*").await);
    }
    read_by
}

pub(crate) const VERSIONS: [Version; 2] = [Version::Http1, Version::Http2];

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
