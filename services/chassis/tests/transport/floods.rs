//! Floods of one connection: each is held to a bound, and nobody else notices.

use std::time::Duration;

use chassis::{
    listen::{Config, Protocol},
    serve::Limits,
};
use tokio::io::AsyncReadExt as _;
use tonic::Status;

use crate::{
    attack::{
        ACK, Attacker, CONTINUATION, DATA, END_HEADERS, HEADERS, PING, PRIORITY, SETTINGS,
        WINDOW_UPDATE, frame, header_block,
    },
    probe::{Probe, READ, Server, WRITE, call, eventually},
};

const SHORT: Duration = Duration::from_millis(60);
/// Far below every default that could close a connection instead.
const SOON: Duration = Duration::from_millis(1_500);

fn config() -> Config {
    Config { drain_timeout: Duration::from_secs(5), drain_idle_timeout: SHORT, ..Config::edge() }
}

async fn server(config: Config) -> Server {
    Server::with(Probe::echo(), config, Limits::default()).await
}

/// Sends a flood on a connection that has an open request, and sees the
/// connection closed for it and the server well.
async fn is_closed_for(flood: &[u8], config: Config) {
    let server = server(config).await;
    let mut attacker = Attacker::greeted(server.address).await;
    attacker.open(1, WRITE).await;
    attacker.send(flood).await;
    assert!(attacker.closed_after().await < SOON);
    assert_eq!(call(&server.channel(), READ, "hello").await.unwrap(), "hello");
    eventually("nothing of it is left", || server.stack.in_flight() == 0).await;
}

#[tokio::test]
async fn frames_that_carry_no_request_have_a_budget() {
    let update = 1_u32.to_be_bytes();
    for (kind, flags, stream, payload, count) in [
        (PING, 0, 0, &[7; 8][..], 200),
        (SETTINGS, 0, 0, &[], 200),
        (PRIORITY, 0, 1, &[0, 0, 0, 3, 16], 200),
        // A frame that nobody knows.
        (0xbb, 0, 0, &[1; 16], 200),
        // These come with requests or were asked for, so there may be ten times as
        // many. Headers on a stream that is open are trailers.
        (WINDOW_UPDATE, 0, 0, &update, 2_000),
        (HEADERS, END_HEADERS, 1, &[0x0f, 0x00, 0x00], 2_000),
        (PING, ACK, 0, &[7; 8], 2_000),
    ] {
        let config = Config { max_control_frames_per_second: 100, ..config() };
        is_closed_for(&frame(kind, flags, stream, payload).repeat(count), config).await;
    }
}

#[tokio::test]
async fn header_blocks_have_an_end() {
    // None of these frames says END_HEADERS.
    let mut flood = frame(HEADERS, 0, 3, &header_block(WRITE));
    flood.extend(frame(CONTINUATION, 0, 3, b"\0\x01a\x01b").repeat(100_000));
    is_closed_for(&flood, config()).await;
}

#[tokio::test]
async fn empty_frames_of_a_body_are_not_taken_for_ever() {
    is_closed_for(&frame(DATA, 0, 1, &[]).repeat(100_000), config()).await;
}

#[tokio::test]
async fn ten_thousand_headers_do_not_reach_a_handler() {
    let server = server(config()).await;
    let channel = server.channel();
    let mut request = tonic::Request::new("hello".to_owned());
    for number in 0..10_000 {
        let name = format!("x-{number}");
        let name = tonic::metadata::MetadataKey::from_bytes(name.as_bytes()).unwrap();
        request.metadata_mut().insert(name, "x".parse().unwrap());
    }
    assert!(crate::probe::send(&channel, WRITE, request).await.is_err());
    assert_eq!(call(&channel, WRITE, "hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn heads_of_http1_that_are_too_large_are_answered_so() {
    let server = server(Config { protocol: Protocol::Both, ..config() }).await;
    let many: String = (0..10_000).map(|number| format!("x-{number}: x\r\n")).collect();
    let long = format!("x-long: {}\r\n", "x".repeat(64 * 1_024));
    for headers in [many, long] {
        let mut peer = Attacker::connect(server.address).await;
        peer.send(format!("GET / HTTP/1.1\r\nhost: probe\r\n{headers}\r\n").as_bytes()).await;
        let mut answer = [0; 12];
        peer.stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 431");
    }
}

/// One request over HTTP/2 with further headers: the status, the gRPC status, and
/// what that says.
async fn asked(
    sender: &h2::client::SendRequest<bytes::Bytes>,
    headers: &[(String, String)],
) -> Result<(u16, Option<Status>), h2::Error> {
    let mut sender = sender.clone().ready().await?;
    let mut request = http::Request::post(format!("http://probe{WRITE}"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let (answer, mut body) = sender.send_request(request.body(()).unwrap(), false)?;
    let _refused_already = body.send_data(bytes::Bytes::from_static(&[0; 5]), true);
    let answer = answer.await?;
    Ok((answer.status().as_u16(), Status::from_header_map(answer.headers())))
}

#[tokio::test]
async fn heads_of_http2_that_are_too_large_are_answered_on_their_streams() {
    let server = server(config()).await;
    let tcp = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (sender, connection) = h2::client::handshake(tcp).await.unwrap();
    let connection = tokio::spawn(connection);
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let grpc = header("content-type", "application/grpc");

    // A text that no coding makes shorter.
    let long = header("x-long", &"~".repeat(100_000));
    let some: Vec<_> = (0..1_000).map(|number| header(&format!("x-{number}"), "x")).collect();
    // More than is read at all, and less than ends a connection.
    let many: Vec<_> = (0..10_000).map(|number| header(&format!("x-{number}"), "x")).collect();
    for headers in [vec![long.clone()], some, many] {
        let (status, grpc) = asked(&sender, &headers).await.unwrap();
        assert_eq!((status, grpc.is_none()), (431, true), "{} headers", headers.len());
    }

    let (status, told) = asked(&sender, &[grpc.clone(), long]).await.unwrap();
    let told = told.unwrap();
    assert_eq!((status, told.code()), (200, tonic::Code::ResourceExhausted));
    assert!(told.message().contains("may have 16384"), "{told}");
    assert!(told.message().contains("`x-long` has 100000"), "{told}");

    // As many as there may be are taken, on the same connection.
    let (status, told) =
        asked(&sender, &[grpc, header("x-long", &"~".repeat(16_000))]).await.unwrap();
    assert_eq!((status, told.map(|told| told.code())), (200, None));
    assert!(!connection.is_finished());
    connection.abort();
}

#[tokio::test]
async fn a_head_over_http2_has_an_end() {
    let server = server(config()).await;
    let mut attacker = Attacker::greeted(server.address).await;
    // A text of which there is always more: it is never whole, and so never counted.
    let mut block = header_block(WRITE);
    block.extend(b"\0\x01a\x7f\xff\xff\xff\x7f");
    attacker.send(&frame(HEADERS, 0, 1, &block)).await;
    attacker.send(&frame(CONTINUATION, 0, 1, &[b'a'; 16 * 1_024]).repeat(16)).await;
    assert!(attacker.closed_after().await < SOON);
}
