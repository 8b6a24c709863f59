//! Peers that take their time: with reading, and with sending.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use chassis::{
    listen::{Closing, Config, Protocol},
    serve::Limits,
};
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use tonic::body::Body;
use tower_service::Service;

use crate::{
    attack::{Attacker, DATA, END_HEADERS, HEADERS, PING, RST_STREAM, frame},
    probe::{Probe, Server, WATCH, WRITE, call, eventually},
};

const SHORT: Duration = Duration::from_millis(100);
/// Far below every default that could close a connection instead.
const SOON: Duration = Duration::from_millis(2_500);
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
/// As large as a window may be (RFC 9113, section 6.9.1).
const WINDOW_MAX: u32 = u32::MAX >> 1;

fn config() -> Config {
    Config {
        protocol: Protocol::Both,
        write_stall_timeout: SHORT,
        body_idle_timeout: SHORT,
        ..Config::default()
    }
}

/// Messages of 16 KiB, and how many were taken.
fn endless() -> (Probe, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let probe = Probe::new(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok("x".repeat(16 * 1_024)))
    });
    (probe, taken)
}

#[tokio::test]
async fn an_answer_without_a_window_is_reset_and_its_connection_goes_on() {
    let server = Server::with(Probe::echo(), config(), Limits::default()).await;
    let mut attacker = Attacker::with_window(server.address, 0).await;
    attacker.call(1, WRITE, "hello").await;
    let reset = attacker.frame_of(RST_STREAM).await.expect("the connection stays");
    assert_eq!(reset.stream, 1);
    assert_eq!(server.refused("stream_stall"), 1);
    attacker.send(&frame(PING, 0, 0, &[7; 8])).await;
    assert_eq!(attacker.frame_of(PING).await.expect("it answers").payload, [7; 8]);
}

#[tokio::test]
async fn a_large_answer_is_reset_when_its_window_stays_shut() {
    // One message, so that its handler has nothing to do with the wait.
    let probe = Probe::new(async |_| Ok("x".repeat(1 << 20)));
    let server = Server::with(probe, config(), Limits::default()).await;
    let mut attacker = Attacker::greeted(server.address).await;
    attacker.call(1, WRITE, "hello").await;
    let mut taken = 0;
    loop {
        let frame = attacker.frame().await.expect("the connection stays");
        match frame.kind {
            DATA => taken += frame.payload.len(),
            RST_STREAM => break,
            _ => {}
        }
    }
    assert_eq!(taken, 65_535, "the window is used up first");
}

#[tokio::test]
async fn an_answer_that_waits_for_its_handler_is_not_reset() {
    let probe = Probe::new(async |text| {
        tokio::time::sleep(Duration::from_millis(30)).await;
        Ok(text)
    });
    let patience = Config { write_stall_timeout: Duration::from_millis(5), ..config() };
    let server = Server::with(probe, patience, Limits::default()).await;
    let channel = server.channel();
    assert_eq!(call(&channel, WRITE, "hello").await.unwrap(), "hello");
    // The stream goes on until its deadline.
    let (seen, status) = crate::probe::watch(&channel, "hello").await;
    assert_eq!(seen.first().unwrap(), "hello0");
    assert_eq!(status.unwrap().code(), tonic::Code::DeadlineExceeded);
    assert_eq!(server.refused("stream_stall"), 0);
}

#[tokio::test]
async fn a_peer_that_reads_nothing_is_closed() {
    let (probe, taken) = endless();
    let server = Server::with(probe, config(), Limits::default()).await;
    let mut attacker = Attacker::with_window(server.address, WINDOW_MAX).await;
    for number in 0..100 {
        attacker.call(number * 2 + 1, WATCH, "hello").await;
    }
    let began = Instant::now();
    eventually("it is closed", || server.connections() == 0).await;
    assert!(began.elapsed() < SOON * 2, "{:?}", began.elapsed());
    assert_eq!(server.refused("write_stall"), 1);
    eventually("its calls have ended", || server.stack.in_flight() == 0).await;
    // 64 KiB for each, a message in hand, and what the sockets of this machine take.
    let taken = taken.load(Ordering::SeqCst) * 16;
    assert!(taken < 100 * (64 + 32) + 12 * 1_024, "{taken} KiB were kept for it");
}

#[tokio::test]
async fn a_peer_of_http1_that_reads_nothing_is_closed() {
    let (probe, _) = endless();
    let server = Server::with(probe, config(), Limits::default()).await;
    let mut attacker = Attacker::connect(server.address).await;
    let body = b"\0\0\0\0\x03\x0a\x01x";
    attacker
        .send(format!("POST {WATCH} HTTP/1.1\r\nhost: probe\r\ncontent-type: application/grpc\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes())
        .await;
    attacker.send(body).await;
    eventually("it is closed", || server.refused("write_stall") == 1).await;
    eventually("nothing of it is left", || {
        server.connections() == 0 && server.stack.in_flight() == 0
    })
    .await;
}

/// Reads the body of every request, and says how that ended; upgrades those that
/// ask for it, and sends back what they send until the port closes.
#[derive(Clone)]
struct Reader;

impl Service<Request<Body>> for Reader {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut response = Response::new(Body::empty());
            if let Some(closing) = request.extensions().get::<Closing>().cloned() {
                let upgrade = hyper::upgrade::on(&mut request);
                tokio::spawn(async move {
                    let held = TokioIo::new(upgrade.await.unwrap());
                    let (mut from, mut to) = tokio::io::split(held);
                    tokio::select! {
                        _ = tokio::io::copy(&mut from, &mut to) => {}
                        () = closing.0.cancelled() => {}
                    }
                });
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            } else if request.into_body().collect().await.is_err() {
                *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
            }
            Ok(response)
        })
    }
}

async fn reader(config: Config) -> Server {
    let stack = Probe::echo().stack("probe", Limits::default());
    Server::serving(ANY, stack, Reader, config).await
}

fn post(kind: &str, length: usize) -> String {
    format!(
        "POST / HTTP/1.1\r\nhost: probe\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_body_that_stops_is_given_up() {
    let server = reader(config()).await;
    let mut attacker = Attacker::connect(server.address).await;
    attacker.send(post("application/json", 100).as_bytes()).await;
    attacker.send(b"{\"a\":").await;
    let mut answer = Vec::new();
    let began = Instant::now();
    let _reset = attacker.stream.read_to_end(&mut answer).await;
    assert!(began.elapsed() < SOON && began.elapsed() >= SHORT / 2);
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(server.refused("slow_body"), 1);

    // The same over HTTP/2, where the connection stays.
    let mut attacker = Attacker::greeted(server.address).await;
    let mut block = vec![0x83, 0x86, 0x84, 0x01, 5];
    block.extend(b"probe");
    attacker.send(&frame(HEADERS, END_HEADERS, 1, &block)).await;
    attacker.send(&frame(DATA, 0, 1, b"{")).await;
    let head = attacker.frame_of(HEADERS).await.expect("it is answered");
    assert_eq!(head.stream, 1);
    assert_eq!(server.refused("slow_body"), 2);
}

#[tokio::test]
async fn a_byte_now_and_then_is_no_progress() {
    let server = reader(config()).await;
    let mut attacker = Attacker::connect(server.address).await;
    attacker.send(post("application/json", 1_000_000).as_bytes()).await;
    let began = Instant::now();
    while server.refused("slow_body") == 0 {
        assert!(began.elapsed() < SOON, "it is still read");
        attacker.send(b"1").await;
        tokio::time::sleep(SHORT / 10).await;
    }
}

#[tokio::test]
async fn a_slow_body_that_makes_progress_is_read_to_its_end() {
    let server = reader(Config { body_progress_min: 16, ..config() }).await;
    let mut client = Attacker::connect(server.address).await;
    client.send(post("application/json", 16 * 20).as_bytes()).await;
    for _ in 0..20 {
        client.send(&[b' '; 16]).await;
        tokio::time::sleep(SHORT / 5).await;
    }
    let mut answer = [0; 12];
    client.stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test]
async fn a_stream_of_messages_may_be_silent() {
    let server = reader(config()).await;
    for kind in ["application/grpc+proto", "application/connect+json"] {
        let mut client = Attacker::connect(server.address).await;
        client.send(post(kind, 4).as_bytes()).await;
        tokio::time::sleep(SHORT * 3).await;
        client.send(b"past").await;
        let mut answer = [0; 12];
        client.stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
}

/// A connection that speaks something else from now on.
async fn upgraded(server: &Server) -> Attacker {
    let mut peer = Attacker::connect(server.address).await;
    peer.send(b"GET / HTTP/1.1\r\nhost: probe\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n")
        .await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(peer.stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    peer
}

#[tokio::test]
async fn an_upgraded_connection_has_no_heads_to_be_late_with() {
    let server = reader(Config { header_read_timeout: SHORT, ..config() }).await;
    let mut peer = upgraded(&server).await;
    for word in [b"half", b"rest"] {
        peer.send(word).await;
        let mut echo = [0; 4];
        peer.stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, word);
        // Silence for longer than a head may take.
        assert!(timeout(3 * SHORT, peer.stream.read_u8()).await.is_err(), "it was closed");
    }
    assert_eq!(server.refused("slow_head"), 0);
}

#[tokio::test]
async fn an_upgraded_connection_keeps_its_place_and_is_told_of_the_end() {
    let server = reader(Config { max_connections: 1, ..config() }).await;
    let mut held = upgraded(&server).await;
    assert!(Attacker::connect(server.address).await.closed_after().await < SOON);
    assert_eq!(server.refused("connections"), 1);

    // It goes when it is told, long before it had to.
    let took = server.stop().await;
    assert!(took < SOON, "{took:?}");
    let _closed = held.stream.shutdown().await;
}
