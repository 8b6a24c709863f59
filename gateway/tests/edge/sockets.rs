//! Streams over WebSocket, with clients that behave and clients that do not.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _, stream};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Bytes, Error, Message, client::IntoClientRequest as _, http::Response},
};
use tonic::{Code, Status};

use crate::{
    client::{request, send},
    streams::{Ending, Guard, Seen, chats, collects, relay},
    upstream::{Answer, Call, Edge, Upstream, message, to_json},
};

/// Nothing here takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);
const CHAT: &str = "/v1/rooms/a/chat";

/// A client's end of a socket.
struct Socket(WebSocketStream<TcpStream>);

/// Asks for a socket, with these headers.
async fn ask(
    to: SocketAddr,
    target: &str,
    headers: &[(&str, &str)],
) -> Result<(Socket, Response<Option<Vec<u8>>>), (StatusCode, Value)> {
    let mut request = format!("ws://{to}{target}").into_client_request().unwrap();
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let stream = TcpStream::connect(to).await.unwrap();
    match timeout(PATIENCE, client_async(request, stream)).await.unwrap() {
        Ok((socket, response)) => Ok((Socket(socket), response)),
        Err(Error::Http(refused)) => {
            let body = refused.body().clone().unwrap_or_default();
            Err((refused.status(), serde_json::from_slice(&body).unwrap_or(Value::Null)))
        }
        Err(other) => panic!("{other}"),
    }
}

async fn open(to: SocketAddr, target: &str) -> Socket {
    ask(to, target, &[]).await.ok().unwrap().0
}

impl Socket {
    async fn send(&mut self, message: Message) {
        timeout(PATIENCE, self.0.send(message)).await.unwrap().unwrap();
    }

    async fn say(&mut self, note: Value) {
        self.send(Message::text(note.to_string())).await;
    }

    /// The end of this side's stream.
    async fn end(&mut self) {
        self.send(Message::text("")).await;
    }

    /// The next message that is no ping or pong.
    async fn next(&mut self) -> Option<Message> {
        loop {
            match timeout(PATIENCE, self.0.next()).await.unwrap() {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => return Some(message),
                Some(Err(_)) | None => return None,
            }
        }
    }

    async fn json(&mut self) -> Value {
        let message = self.next().await.unwrap();
        serde_json::from_str(message.to_text().unwrap()).unwrap()
    }

    /// The code and the reason of its last frame.
    async fn closed(&mut self) -> (u16, String) {
        match self.next().await {
            Some(Message::Close(Some(frame))) => (frame.code.into(), frame.reason.to_string()),
            other => panic!("not closed, but {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_talk_until_the_client_ends_its_stream() {
    let upstream = relay().await;
    chats(&upstream);
    let edge = Edge::before(&upstream).await;
    for target in [CHAT, "/streams.v1.Relay/Chat"] {
        let mut socket = open(edge.address, target).await;
        socket.say(json!({ "text": "x" })).await;
        let first = socket.json().await;
        assert_eq!(first["text"], "xx");
        assert_eq!(first.get("room").is_some(), target == CHAT, "the path is in the first message");
        socket.say(json!({ "text": "y" })).await;
        assert_eq!(socket.json().await, json!({ "text": "yy" }));
        socket.end().await;
        assert_eq!(socket.closed().await, (1000, String::new()));
    }
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_protobuf_if_the_client_likes() {
    let upstream = relay().await;
    chats(&upstream);
    let edge = Edge::before(&upstream).await;
    let proto = [("sec-websocket-protocol", "proto")];
    let target = "/streams.v1.Relay/Chat";
    let (mut socket, response) = ask(edge.address, target, &proto).await.ok().unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "proto");
    socket.send(Message::binary(&b"\x12\x01x"[..])).await;
    assert_eq!(socket.next().await.unwrap(), Message::binary(&b"\x12\x02xx"[..]));
    socket.send(Message::binary(Bytes::new())).await;
    assert_eq!(
        socket.next().await.unwrap(),
        Message::binary(Bytes::new()),
        "no bytes, one message"
    );
    // In either form, whatever the answers are.
    socket.say(json!({ "text": "y" })).await;
    assert_eq!(socket.next().await.unwrap(), Message::binary(&b"\x12\x02yy"[..]));
    socket.end().await;
    assert_eq!(socket.closed().await.0, 1000);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_side_may_be_all_that_streams() {
    let upstream = relay().await;
    collects(&upstream);
    let edge = Edge::before(&upstream).await;

    let mut watching = open(edge.address, "/v1/notes:watch?count=2").await;
    assert_eq!(watching.json().await["number"], "1");
    assert_eq!(watching.json().await["number"], "2");
    assert_eq!(watching.closed().await.0, 1000);

    // Without a path and query for it, the request is the first message.
    let mut watching = open(edge.address, "/streams.v1.Relay/Watch").await;
    watching.say(json!({ "count": 1 })).await;
    assert_eq!(watching.json().await["number"], "1");
    assert_eq!(watching.closed().await.0, 1000);

    let mut collecting = open(edge.address, "/v1/rooms/a/notes:collect").await;
    for text in ["x", "y"] {
        collecting.say(json!({ "text": text })).await;
    }
    collecting.end().await;
    assert_eq!(collecting.json().await, json!({ "count": "2", "text": "ax,y" }));
    assert_eq!(collecting.closed().await.0, 1000);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_said_in_full_and_by_the_code_of_the_close() {
    let upstream = relay().await;
    upstream.on("/streams.v1.Relay/Chat", |mut call: Call| async move {
        let note = call.requests.message().await?.unwrap();
        let code = to_json(&note)["number"].as_str().unwrap().parse().unwrap();
        Err(Status::new(Code::from_i32(code), "for a reason"))
    });
    let edge = Edge::before(&upstream).await;
    for (code, name, close) in [
        (2, "UNKNOWN", 1011),
        (3, "INVALID_ARGUMENT", 1008),
        (4, "DEADLINE_EXCEEDED", 3008),
        (5, "NOT_FOUND", 1008),
        (7, "PERMISSION_DENIED", 3003),
        (8, "RESOURCE_EXHAUSTED", 1013),
        (13, "INTERNAL", 1011),
        (14, "UNAVAILABLE", 1013),
        (16, "UNAUTHENTICATED", 3000),
    ] {
        let mut socket = open(edge.address, CHAT).await;
        socket.say(json!({ "number": code })).await;
        let failure = socket.json().await;
        assert_eq!(failure["error"]["status"], name);
        assert_eq!(failure["error"]["message"], "for a reason");
        assert_eq!(socket.closed().await, (close, name.to_owned()));
    }
    edge.stop().await;
}

/// What a service sees of calls that it answers with a greeting, to begin with.
fn endings(upstream: &Upstream) -> mpsc::UnboundedReceiver<Seen> {
    let (tell, told) = mpsc::unbounded_channel();
    let pool = upstream.pool();
    upstream.on("/streams.v1.Relay/Chat", move |mut call: Call| {
        let (ending, pool) = (Ending::new(&tell), pool.clone());
        async move {
            let hello = message(&pool, "streams.v1.Note", &json!({ "text": "hello" }));
            let answers = stream::once(async { Ok(hello) }).chain(stream::once(async move {
                ending.read(&mut call).await;
                Err(Status::aborted("the end"))
            }));
            Ok(Answer::of(answers))
        }
    });
    told
}

/// How the call ended at the service.
async fn ending(told: &mut mpsc::UnboundedReceiver<Seen>) -> Seen {
    loop {
        match timeout(PATIENCE, told.recv()).await.unwrap().unwrap() {
            Seen::First => {}
            end => return end,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_a_socket_early_cancels_the_call() {
    let upstream = relay().await;
    let mut told = endings(&upstream);
    let config = json!({ "access": "public", "body_bytes_max": 1000, "websocket_control_frames_per_second": 20 });
    let edge = Edge::with(&[&upstream], config).await;
    let unreadable = |text: &str| vec![Message::text("{}"), Message::text(text)];
    let pings = (0..50).map(|_| Message::Ping(Bytes::new())).collect();
    let cases = [
        (unreadable("{\"txt\":1}"), 1007, "message 1: "),
        (unreadable("{}{}"), 1007, "message 1: "),
        (unreadable("{\"room\":\"b\"}"), 1007, "the path"),
        (vec![Message::text("x".repeat(1001))], 1009, ""),
        (pings, 1013, "pings"),
    ];
    for (messages, code, said) in cases {
        let mut socket = open(edge.address, CHAT).await;
        assert_eq!(socket.json().await["text"], "hello");
        for message in messages {
            let _closed_meanwhile = socket.0.send(message).await;
        }
        if !said.is_empty() {
            let failure = socket.json().await;
            let text = failure["error"]["message"].as_str().unwrap();
            assert!(text.contains(said), "{text}");
        }
        assert_eq!(socket.closed().await.0, code, "{said}");
        assert_eq!(ending(&mut told).await, Seen::Cancelled, "{said}");
    }
    // The client's own Close is answered, and cancels as well.
    let mut socket = open(edge.address, CHAT).await;
    assert_eq!(socket.json().await["text"], "hello");
    socket.send(Message::Close(None)).await;
    assert!(matches!(socket.next().await, Some(Message::Close(_))));
    assert_eq!(ending(&mut told).await, Seen::Cancelled);
    // So does a connection that is lost.
    let mut socket = open(edge.address, CHAT).await;
    assert_eq!(socket.json().await["text"], "hello");
    drop(socket);
    assert_eq!(ending(&mut told).await, Seen::Cancelled);
    // A message behind the end is no message; the stream had its end.
    let mut socket = open(edge.address, "/streams.v1.Relay/Watch").await;
    socket.say(json!({ "count": 1_000_000 })).await;
    socket.say(json!({})).await;
    loop {
        match socket.next().await.unwrap() {
            Message::Close(frame) => break assert_eq!(u16::from(frame.unwrap().code), 1008),
            message => assert!(message.is_text()),
        }
    }
    edge.stop().await;
}

// === frames as no library would send them ===

/// A socket without a library.
async fn raw(to: SocketAddr, target: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let ask = format!(
        "GET {target} HTTP/1.1\r\nHost: {to}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    stream
}

/// The code of the Close that comes, whatever comes before; `None` without one.
async fn close_code(stream: &mut TcpStream) -> Option<u16> {
    loop {
        let first = timeout(PATIENCE, stream.read_u8()).await.unwrap().ok()?;
        let length = stream.read_u8().await.ok()?;
        let length = match length {
            126 => stream.read_u16().await.ok()?.into(),
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.ok()?;
        if first == 0x88 {
            return Some(u16::from_be_bytes([payload[0], payload[1]]));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_frames_end_the_socket_and_nothing_else() {
    let upstream = relay().await;
    chats(&upstream);
    let config = json!({ "access": "public", "body_bytes_max": 1000 });
    let edge = Edge::with(&[&upstream], config).await;
    let mask = [0; 4];
    let masked = |header: &[u8], payload: &[u8]| [header, &mask, payload].concat();
    let half = masked(&[0x01, 0x80 | 100], &[b' '; 100]);
    let more = masked(&[0x00, 0x80 | 100], &[b' '; 100]);
    let cases = [
        (
            "a frame of 2^63 bytes",
            [&[0x81, 0xff][..], &(1_u64 << 62).to_be_bytes(), &mask].concat(),
            1009,
        ),
        ("a frame above the bound", [&[0x82, 0xfe, 0x03, 0xe9][..], &mask].concat(), 1009),
        ("fragments above the bound", [half.clone(), more.repeat(10)].concat(), 1009),
        ("no mask", vec![0x81, 0x02, b'{', b'}'], 1002),
        ("a reserved bit", masked(&[0xc1, 0x82], b"{}"), 1002),
        ("a reserved opcode", masked(&[0x83, 0x80], b""), 1002),
        ("a reserved control", masked(&[0x8b, 0x80], b""), 1002),
        ("a continuation of nothing", masked(&[0x80, 0x82], b"{}"), 1002),
        ("a message within a message", [half, masked(&[0x81, 0x80], b"")].concat(), 1002),
        ("a ping in fragments", masked(&[0x09, 0x80], b""), 1002),
        ("a ping above 125 bytes", masked(&[0x89, 0xfe, 0x00, 0x7e], &[0; 126]), 1002),
        ("a close of one byte", masked(&[0x88, 0x81], b"\x03"), 1002),
        ("text that is not UTF-8", masked(&[0x81, 0x82], &[0xc3, 0x28]), 1007),
    ];
    for (what, frames, code) in cases {
        let mut stream = raw(edge.address, CHAT).await;
        stream.write_all(&frames).await.unwrap();
        assert_eq!(close_code(&mut stream).await, Some(code), "{what}");
    }
    let mut stream = raw(edge.address, CHAT).await;
    stream.write_all(&masked(&[0x88, 0x82], &1000_u16.to_be_bytes())).await.unwrap();
    assert_eq!(close_code(&mut stream).await, Some(1000));
    let mut socket = open(edge.address, CHAT).await;
    socket.end().await;
    assert_eq!(socket.closed().await.0, 1000, "others go on");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_answers_no_ping_is_left() {
    let upstream = relay().await;
    chats(&upstream);
    let config = json!({
        "access": "public", "websocket_ping_interval": "20ms", "websocket_idle_timeout": "200ms",
        "websocket_close_timeout": "100ms",
    });
    let edge = Edge::with(&[&upstream], config).await;
    for half_a_frame in [&b""[..], &[0x81, 0xfe, 0x00], &[0x81, 0xfe, 0x00, 0xff, 0, 0, 0, 0, b'{']]
    {
        let mut stream = raw(edge.address, CHAT).await;
        stream.write_all(half_a_frame).await.unwrap();
        assert_eq!(close_code(&mut stream).await, Some(3008));
        let left = timeout(PATIENCE, stream.read(&mut [0; 8])).await.unwrap();
        assert!(matches!(left, Ok(0) | Err(_)), "who takes no leave is left");
    }
    // One that only listens is heard by its pongs.
    let mut socket = open(edge.address, CHAT).await;
    let listened = timeout(Duration::from_millis(800), socket.next()).await;
    assert!(listened.is_err(), "{listened:?}");
    socket.end().await;
    assert_eq!(socket.closed().await.0, 1000);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_stops_the_service_and_is_left() {
    let upstream = relay().await;
    let (gone, mut told) = mpsc::unbounded_channel();
    let (made, count) = tokio::sync::watch::channel(0_usize);
    upstream.server_stream("/streams.v1.Relay/Watch", move |_| {
        let (guard, made) = (Guard(gone.clone()), made.clone());
        stream::repeat_with(move || {
            let _held = &guard;
            made.send_modify(|made| *made += 1);
            Ok(json!({ "text": "x".repeat(10_000) }))
        })
    });
    let config = json!({
        "access": "public", "websocket_idle_timeout": "500ms", "websocket_close_timeout": "100ms",
    });
    let edge = Edge::with(&[&upstream], config).await;
    let stream = raw(edge.address, "/v1/notes:watch").await;
    timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
    let made = *count.borrow();
    assert!(made < 5_000, "{made} messages of 10 kB were made for nobody");
    drop(stream);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_read_stops_the_client() {
    let upstream = relay().await;
    let (go, gate) = tokio::sync::watch::channel(false);
    let pool = upstream.pool();
    upstream.on("/streams.v1.Relay/Collect", move |mut call: Call| {
        let (mut gate, pool) = (gate.clone(), pool.clone());
        async move {
            gate.wait_for(|open| *open).await.unwrap();
            let mut count = 0;
            while call.requests.message().await?.is_some() {
                count += 1;
            }
            let summary = message(&pool, "streams.v1.Summary", &json!({ "count": count }));
            Ok(Answer::of(stream::iter([Ok(summary)])))
        }
    });
    // Nobody listens to it meanwhile, which is not its fault.
    let config = json!({
        "access": "public", "websocket_ping_interval": "50ms", "websocket_idle_timeout": "300ms",
    });
    let edge = Edge::with(&[&upstream], config).await;
    let mut socket = open(edge.address, "/v1/rooms/a/notes:collect").await;
    let note = json!({ "text": "x".repeat(50_000) }).to_string();
    let mut sent = 0;
    loop {
        let sending = socket.0.feed(Message::text(note.clone()));
        if timeout(Duration::from_secs(1), sending).await.is_err() {
            break;
        }
        sent += 1;
        if timeout(Duration::from_secs(1), socket.0.flush()).await.is_err() {
            break;
        }
        assert!(sent < 2_000, "nothing stops the client");
    }
    go.send(true).unwrap();
    timeout(PATIENCE, socket.0.flush()).await.unwrap().unwrap();
    socket.end().await;
    assert_eq!(socket.json().await["count"], sent.to_string());
    assert_eq!(socket.closed().await.0, 1000);
    edge.stop().await;
}

// === the handshake ===

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_cannot_be_is_refused_as_http() {
    let upstream = relay().await;
    let config = json!({ "access": "public", "cors_origins": ["https://shop.example"] });
    let edge = Edge::with(&[&upstream], config).await;
    let own = format!("http://{}", edge.address);
    for (target, headers, expected) in [
        ("/v1/note", &[][..], Err(StatusCode::BAD_REQUEST)),
        ("/v1/nothing", &[], Err(StatusCode::NOT_FOUND)),
        ("/v1/notes:watch?count=many", &[], Err(StatusCode::BAD_REQUEST)),
        ("/v1/notes:watch", &[("origin", "https://evil.example")], Err(StatusCode::FORBIDDEN)),
        ("/v1/notes:watch", &[("origin", "null")], Err(StatusCode::FORBIDDEN)),
        ("/v1/notes:watch", &[("origin", "https://shop.example")], Ok(())),
        ("/v1/notes:watch", &[("origin", &own)], Ok(())),
        ("/v1/notes:watch", &[("sec-websocket-protocol", "bearer")], Err(StatusCode::BAD_REQUEST)),
    ] {
        let asked = ask(edge.address, target, headers).await;
        let outcome = asked.map(|_| ()).map_err(|(status, _)| status);
        assert_eq!(outcome, expected, "{target} {headers:?}");
    }
    let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
    let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let old = [upgrade[0], upgrade[1], key, ("sec-websocket-version", "8")];
    let old = send(edge.address, request(edge.address, "GET", "/v1/notes:watch", &old, "")).await;
    assert_eq!(old.status, StatusCode::UPGRADE_REQUIRED);
    assert_eq!(old.header("sec-websocket-version"), "13");
    let keyless = [upgrade[0], upgrade[1], ("sec-websocket-version", "13")];
    let keyless = request(edge.address, "GET", "/v1/notes:watch", &keyless, "");
    let keyless = send(edge.address, keyless).await;
    assert_eq!(keyless.status, StatusCode::BAD_REQUEST);
    assert_eq!(keyless.json["error"]["violations"][0]["field"], "sec-websocket-key");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_proves_who_it_is_by_a_subprotocol() {
    let upstream = relay().await;
    let pool = upstream.pool();
    upstream.on("/streams.v1.Relay/Chat", move |call: Call| {
        let pool = pool.clone();
        async move {
            let token = call.headers["authorization"].to_str().unwrap();
            let note = message(&pool, "streams.v1.Note", &json!({ "text": token }));
            Ok(Answer::of(stream::iter([Ok(note)])))
        }
    });
    let edge = Edge::before(&upstream).await;
    let kind = chassis::keys::Kind::Customer;
    let token = testkit::token(&edge.signing, &edge.clock, "ana", kind, &[]);
    let header = format!("Bearer {token}");
    for (name, value, chosen) in [
        ("sec-websocket-protocol", format!("bearer, {token}"), Some("bearer")),
        ("sec-websocket-protocol", format!("json, bearer, {token}"), Some("json")),
        ("authorization", header.clone(), None),
    ] {
        let (mut socket, response) = ask(edge.address, CHAT, &[(name, &value)]).await.ok().unwrap();
        let answered = response.headers().get("sec-websocket-protocol");
        assert_eq!(answered.map(|value| value.to_str().unwrap()), chosen);
        assert_eq!(socket.json().await["text"], header);
    }
    let forged = [("sec-websocket-protocol", "bearer, a.b.c")];
    let (mut socket, _) = ask(edge.address, CHAT, &forged).await.ok().unwrap();
    assert_eq!(socket.json().await["error"]["status"], "UNAUTHENTICATED");
    assert_eq!(socket.closed().await.0, 3000);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_time_allowed_ends_the_socket() {
    let upstream = relay().await;
    upstream.server_stream("/streams.v1.Relay/Watch", |_| stream::pending());
    let edge = Edge::before(&upstream).await;
    let headers = [("x-request-timeout", "100ms")];
    let (mut socket, _) = ask(edge.address, "/v1/notes:watch", &headers).await.ok().unwrap();
    assert_eq!(socket.json().await["error"]["status"], "DEADLINE_EXCEEDED");
    assert_eq!(socket.closed().await.0, 3008);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_says_so() {
    let upstream = relay().await;
    chats(&upstream);
    let edge = Edge::before(&upstream).await;
    let mut socket = open(edge.address, CHAT).await;
    socket.say(json!({ "text": "x" })).await;
    socket.json().await;
    let stopping = tokio::spawn(edge.stop());
    assert_eq!(socket.json().await["error"]["status"], "UNAVAILABLE");
    assert_eq!(socket.closed().await.0, 1001);
    timeout(PATIENCE, stopping).await.unwrap().unwrap();
}
