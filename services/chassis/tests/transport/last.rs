//! The last answers of HTTP/1.1: a connection goes on, also where a request was
//! answered before its body had come, or an answer says that it does not.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::SocketAddr,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use chassis::{
    listen::{Config, Protocol},
    serve::Limits,
};
use http::{Request, Response, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use tonic::body::Body;
use tower_service::Service;

use crate::{
    attack::Attacker,
    probe::{Probe, Server},
};

const SHORT: Duration = Duration::from_millis(100);
/// Far below every default that could close a connection instead.
const SOON: Duration = Duration::from_millis(2_500);
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Says no without a look at the body, which it lets go of at once, or at `/later`
/// when the answer has gone out.
#[derive(Clone)]
struct Refusing;

impl Service<Request<Body>> for Refusing {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path() == "/later" {
            tokio::spawn(async move {
                tokio::time::sleep(SHORT).await;
                drop(request);
            });
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        ready(Ok(response))
    }
}

async fn refusing() -> Server {
    let config = Config {
        protocol: Protocol::Both,
        linger_timeout: SHORT,
        header_read_timeout: SHORT,
        ..Config::default()
    };
    let stack = Probe::echo().stack("probe", Limits::default());
    Server::serving(ANY, stack, Refusing, config).await
}

/// The head of an answer.
async fn head(peer: &mut Attacker) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = timeout(SOON, peer.stream.read_u8()).await.expect("it is answered");
        head.push(byte.expect("the connection is open"));
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 401 "), "{head}");
    head
}

/// Nothing comes but the end of the connection, and soon.
async fn is_closed(peer: &mut Attacker) {
    let mut rest = Vec::new();
    let _reset = timeout(SOON, peer.stream.read_to_end(&mut rest)).await.expect("it is closed");
    assert_eq!(String::from_utf8_lossy(&rest), "");
}

const HEADS: [&str; 2] =
    ["POST / HTTP/1.1\r\nhost: probe\r\n", "POST /later HTTP/1.1\r\nhost: probe\r\n"];

#[tokio::test]
async fn what_a_refused_request_still_sends_is_read_away_and_the_next_is_answered() {
    let server = refusing().await;
    for (begun, kind) in HEADS.iter().zip(["application/json", "application/grpc-web+proto"]) {
        let mut peer = Attacker::connect(server.address).await;
        for _ in 0..3 {
            let begun = format!("{begun}content-type: {kind}\r\ncontent-length: 10\r\n\r\n0123");
            peer.send(begun.as_bytes()).await;
            assert!(!head(&mut peer).await.contains("connection: close"));
            peer.send(b"456789").await;
        }
        // Silence after that is no head that comes slowly.
        let silence = timeout(3 * SHORT, peer.stream.read_u8()).await;
        assert!(silence.is_err(), "an idle connection was closed");
    }
    assert_eq!(server.refused("slow_head"), 0);
}

#[tokio::test]
async fn the_rest_of_a_refused_request_is_not_waited_for_for_ever() {
    let server = refusing().await;
    for begun in HEADS {
        let mut peer = Attacker::connect(server.address).await;
        peer.send(format!("{begun}content-length: 10\r\n\r\n0123").as_bytes()).await;
        head(&mut peer).await;
        let began = Instant::now();
        is_closed(&mut peer).await;
        assert!(began.elapsed() >= SHORT / 2, "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn an_answer_before_a_body_of_any_length_says_that_it_is_the_last() {
    let server = refusing().await;
    for begun in HEADS {
        for rest in [
            "content-length: 1000000\r\n\r\n0123",
            "transfer-encoding: chunked\r\n\r\n4\r\n0123\r\n",
            "content-type: application/connect+json\r\ntransfer-encoding: chunked\r\n\r\n",
        ] {
            let mut peer = Attacker::connect(server.address).await;
            peer.send(format!("{begun}{rest}").as_bytes()).await;
            assert!(head(&mut peer).await.contains("connection: close"), "{begun}{rest}");
            is_closed(&mut peer).await;
            // Nor is it reset: some systems forget the answer then that was not read yet.
            for _ in 0..3 {
                peer.stream.write_all(b"4\r\n4567\r\n").await.expect("it is read away");
                tokio::time::sleep(SHORT / 10).await;
            }
        }
    }
}

#[tokio::test]
async fn a_body_that_waits_to_be_asked_for_is_not_asked_for_after_the_answer() {
    let server = refusing().await;
    for begun in HEADS {
        let mut peer = Attacker::connect(server.address).await;
        let asks = format!("{begun}content-length: 10\r\nexpect: 100-continue\r\n\r\n");
        peer.send(asks.as_bytes()).await;
        assert!(head(&mut peer).await.contains("connection: close"), "{begun}");
        is_closed(&mut peer).await;
    }
}

#[tokio::test]
async fn an_old_connection_is_closed_by_an_answer_that_says_so() {
    let config =
        Config { protocol: Protocol::Both, max_connection_age: SHORT, ..Config::default() };
    let stack = Probe::echo().stack("probe", Limits::default());
    let server = Server::serving(ANY, stack, Refusing, config).await;
    let mut peer = Attacker::connect(server.address).await;
    let began = Instant::now();
    loop {
        peer.send(b"GET / HTTP/1.1\r\nhost: probe\r\n\r\n").await;
        if head(&mut peer).await.contains("connection: close") {
            break;
        }
        assert!(began.elapsed() < SOON, "it is still open");
        tokio::time::sleep(SHORT / 10).await;
    }
    is_closed(&mut peer).await;

    // One that has nothing to ask is closed as well.
    let mut peer = Attacker::connect(server.address).await;
    peer.send(b"GET / HTTP/1.1\r\nhost: probe\r\n\r\n").await;
    head(&mut peer).await;
    is_closed(&mut peer).await;
}
