//! The accept loop and its bounds.

use std::time::{Duration, Instant};

use chassis::{
    listen::{Config, Protocol},
    serve::Limits,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::{
    attack::{
        Attacker, END_HEADERS, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, frame,
        header_block,
    },
    probe::{Probe, READ, Server, WRITE, call, eventually},
};

const SHORT: Duration = Duration::from_millis(60);
/// Far below every default that could close a connection instead.
const SOON: Duration = Duration::from_millis(1_500);

/// Bounds that no test waits for, but for those it sets.
fn config() -> Config {
    Config { drain_timeout: Duration::from_secs(5), drain_idle_timeout: SHORT, ..Config::default() }
}

async fn server(config: Config) -> Server {
    Server::with(Probe::echo(), config, Limits::default()).await
}

#[test]
fn the_bounds_start_as_they_were_measured() {
    let config = Config::default();
    assert_eq!(config.max_concurrent_streams, 128);
    assert_eq!(config.max_connections, 1_024);
    assert_eq!(config.max_connections_per_address, 64);
    assert_eq!(config.max_header_list_size, 16 * 1_024);
    assert_eq!(config.max_refused_header_list_size, 128 * 1_024);
    assert_eq!(Config::edge().max_pending_accept_reset_streams, 20);
    assert_eq!(config.first_byte_timeout, Duration::from_secs(5));
    assert_eq!(config.keep_alive_interval, Duration::from_secs(10));
    assert_eq!(config.keep_alive_timeout, Duration::from_secs(5));
    assert_eq!(config.max_connection_age, Duration::from_secs(300));
    assert_eq!(config.max_connection_age_grace, Duration::from_secs(10));
    assert_eq!(config.drain_timeout, Duration::from_secs(15));
}

#[tokio::test]
async fn one_connection_holds_no_more_requests_than_it_may() {
    let server = server(Config { max_concurrent_streams: 8, ..config() }).await;
    let mut attacker = Attacker::greeted(server.address).await;
    for number in 0..200 {
        attacker.open(number * 2 + 1, WRITE).await;
    }

    let mut refused = 0;
    while refused < 192 {
        let frame = attacker.frame().await.expect("the connection stays open");
        refused += u32::from(frame.kind == RST_STREAM);
    }
    eventually("eight are held", || server.stack.in_flight() == 8).await;
    // The others of this server do not notice.
    assert_eq!(call(&server.channel(), READ, "hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn a_silent_peer_is_closed_at_the_first_byte_timeout() {
    let server = server(Config { first_byte_timeout: SHORT, ..config() }).await;
    let kept = Attacker::connect(server.address).await.closed_after().await;
    assert!(kept >= SHORT / 2 && kept < SOON, "{kept:?}");
}

#[tokio::test]
async fn half_a_preface_is_no_excuse() {
    let server = server(Config { first_byte_timeout: SHORT, ..config() }).await;
    let mut attacker = Attacker::connect(server.address).await;
    attacker.send(&PREFACE[..11]).await;
    assert!(attacker.closed_after().await < SOON);
}

#[tokio::test]
async fn a_peer_that_only_greets_is_reaped_by_the_keepalive() {
    let server =
        server(Config { keep_alive_interval: SHORT, keep_alive_timeout: SHORT, ..config() }).await;
    let mut attacker = Attacker::connect(server.address).await;
    attacker.send(PREFACE).await;
    attacker.send(&frame(SETTINGS, 0, 0, &[])).await;
    assert!(attacker.closed_after().await < SOON);
}

#[tokio::test]
async fn headers_longer_than_the_limit_do_not_reach_a_handler() {
    let server = server(config()).await;
    let mut request = tonic::Request::new("hello".to_owned());
    request.metadata_mut().insert("x-long", "x".repeat(17 * 1_024).parse().unwrap());
    let status = crate::probe::send(&server.channel(), WRITE, request).await.unwrap_err();
    assert_ne!(status.code(), tonic::Code::Ok);
    assert_eq!(call(&server.channel(), WRITE, "hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn an_old_connection_is_told_to_go_and_then_closed() {
    let config = Config { max_connection_age: SHORT, max_connection_age_grace: SHORT, ..config() };
    let server = server(config).await;
    let mut attacker = Attacker::greeted(server.address).await;
    attacker.open(1, WRITE).await;
    let began = Instant::now();
    loop {
        let frame = attacker.frame().await.expect("it is told first");
        if frame.kind == GOAWAY {
            break;
        }
    }
    // Its request never ends; the grace does.
    attacker.closed_after().await;
    assert!(began.elapsed() < SOON);
    eventually("its request was dropped", || server.stack.in_flight() == 0).await;
}

#[tokio::test]
async fn calls_outlive_the_age_of_their_connection() {
    let config = Config { max_connection_age: Duration::from_millis(10), ..config() };
    let server = server(config).await;
    let channel = server.channel();
    let until = Instant::now() + Duration::from_millis(300);
    while Instant::now() < until {
        call(&channel, WRITE, "hello").await.unwrap();
    }
}

#[tokio::test]
async fn a_flood_of_pings_ends_the_connection() {
    let server = server(Config { max_control_frames_per_second: 100, ..config() }).await;
    let mut attacker = Attacker::greeted(server.address).await;
    let flood = frame(PING, 0, 0, &[7; 8]).repeat(1_000);
    attacker.send(&flood).await;
    assert!(attacker.closed_after().await < SOON);
    assert_eq!(call(&server.channel(), READ, "hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn a_rapid_reset_ends_the_connection_of_a_stranger() {
    let server = server(Config { drain_idle_timeout: SHORT, ..Config::edge() }).await;
    let mut attacker = Attacker::greeted(server.address).await;
    let mut flood = Vec::new();
    for number in 0..2_000 {
        let stream = number * 2 + 1;
        flood.extend(frame(HEADERS, END_HEADERS, stream, &header_block(WRITE)));
        flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    attacker.send(&flood).await;
    assert!(attacker.closed_after().await < SOON);
    assert_eq!(call(&server.channel(), READ, "hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn connections_beyond_the_bounds_are_closed_at_once() {
    for bounds in [
        Config { max_connections: 2, ..config() },
        Config { max_connections_per_address: 2, limit_loopback: true, ..config() },
    ] {
        let server = server(bounds).await;
        let first = Attacker::connect(server.address).await;
        let _second = Attacker::connect(server.address).await;
        assert!(Attacker::connect(server.address).await.closed_after().await < SOON);
        // A place that is given back can be taken.
        drop(first);
        let mut again = Attacker::greeted(server.address).await;
        while again.frame().await.is_none() {
            again = Attacker::greeted(server.address).await;
        }
    }
}

#[tokio::test]
async fn many_neighbours_on_one_machine_are_welcome() {
    let server = server(config()).await;
    let mut peers = Vec::new();
    for _ in 0..100 {
        let mut peer = Attacker::greeted(server.address).await;
        assert!(peer.frame().await.is_some());
        peers.push(peer);
    }
}

#[tokio::test]
async fn the_drain_ends_in_time_whoever_is_connected() {
    let server = server(config()).await;
    let mut hostile = Vec::new();
    for number in 0..300 {
        let mut attacker = Attacker::connect(server.address).await;
        let said: &[u8] = match number % 4 {
            0 => b"",
            1 => &PREFACE[..13],
            2 => PREFACE,
            _ => b"POST /mercat.probe.v1.ProbeService/Wri",
        };
        attacker.send(said).await;
        hostile.push(attacker);
    }
    let mut holder = Attacker::greeted(server.address).await;
    holder.open(1, WRITE).await;
    eventually("the request is open", || server.stack.in_flight() == 1).await;
    drop(holder);

    let took = server.stop().await;
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn a_request_that_never_ends_holds_the_drain_no_longer_than_its_timeout() {
    let server = server(Config { drain_timeout: Duration::from_millis(200), ..config() }).await;
    let mut holder = Attacker::greeted(server.address).await;
    holder.open(1, WRITE).await;
    eventually("the request is open", || server.stack.in_flight() == 1).await;

    let took = server.stop().await;
    assert!(took >= Duration::from_millis(150) && took < SOON, "{took:?}");
}

#[tokio::test]
async fn an_open_call_is_answered_during_the_drain() {
    let probe = Probe::new(async |text| {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok(text)
    });
    let server = Server::with(probe, config(), Limits::default()).await;
    let channel = server.channel();
    let open = tokio::spawn(async move { call(&channel, WRITE, "hello").await });
    eventually("the call is open", || server.stack.in_flight() == 1).await;

    let took = server.stop().await;

    assert_eq!(open.await.unwrap().unwrap(), "hello");
    assert!(took < SOON, "{took:?}");
}

#[tokio::test]
async fn http1_is_spoken_only_where_it_is_wanted() {
    for (protocol, is_spoken) in [(Protocol::Http2, false), (Protocol::Both, true)] {
        let server = server(Config { protocol, ..config() }).await;
        let mut peer = Attacker::connect(server.address).await;
        peer.send(b"GET / HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n").await;
        let mut answer = Vec::new();
        let _reset = peer.stream.read_to_end(&mut answer).await;
        assert_eq!(
            answer.starts_with(b"HTTP/1.1 200 OK\r\n"),
            is_spoken,
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
}

/// What comes until the connection is closed, which must be soon.
async fn rest(peer: &mut Attacker) -> Vec<u8> {
    let mut rest = Vec::new();
    let read = timeout(SOON, peer.stream.read_to_end(&mut rest)).await;
    // A reset is an end too.
    let _reset = read.expect("it was not closed");
    rest
}

#[tokio::test]
async fn half_an_http1_head_is_closed_at_its_timeout() {
    let server =
        server(Config { protocol: Protocol::Both, header_read_timeout: SHORT, ..config() }).await;
    let mut peer = Attacker::connect(server.address).await;
    peer.send(b"GET / HTTP/1.1\r\nhost: pro").await;
    assert_eq!(rest(&mut peer).await, b"");
    let _closed = peer.stream.shutdown().await;
}

#[tokio::test]
async fn a_connection_without_a_request_outlives_the_timeout_of_heads() {
    let config = Config { protocol: Protocol::Both, header_read_timeout: SHORT, ..config() };
    let server = server(config).await;
    let mut peer = Attacker::connect(server.address).await;
    for _ in 0..2 {
        peer.send(b"GET / HTTP/1.1\r\nhost: probe\r\n\r\n").await;
        let mut start = [0; 15];
        peer.stream.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 200 OK");
        // The rest of the answer, then silence for longer than a head may take.
        let mut rest = vec![0; 4 * 1_024];
        while let Ok(read) = timeout(3 * SHORT, peer.stream.read(&mut rest)).await {
            assert_ne!(read.unwrap(), 0, "an idle connection was closed");
        }
    }
    // A second head has as long as the first, and no longer.
    peer.send(b"GET / HTTP/1.1\r\nhost: pro").await;
    assert_eq!(rest(&mut peer).await, b"");
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_has_no_longer() {
    let config = Config { protocol: Protocol::Both, header_read_timeout: SHORT, ..config() };
    let server = server(config).await;
    let mut peer = Attacker::connect(server.address).await;
    peer.send(b"GET / HTTP/1.1\r\nhost: ").await;
    let began = Instant::now();
    while server.refused("slow_head") == 0 {
        assert!(began.elapsed() < SOON, "it is still waited for");
        peer.send(b"p").await;
        tokio::time::sleep(SHORT / 10).await;
    }
    assert!(began.elapsed() >= SHORT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_idle_connection_has_its_own_timeout() {
    let config = Config {
        protocol: Protocol::Both,
        header_read_timeout: SHORT,
        idle_timeout: 2 * SHORT,
        ..config()
    };
    let server = server(config).await;
    let mut peer = Attacker::connect(server.address).await;
    peer.send(b"GET / HTTP/1.1\r\nhost: probe\r\n\r\n").await;
    let began = Instant::now();
    assert!(rest(&mut peer).await.starts_with(b"HTTP/1.1 200 OK"));
    assert!(began.elapsed() >= 2 * SHORT, "{:?}", began.elapsed());
}
