//! TLS on a port.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use chassis::{
    listen::{ClientCertificate, Config, Listener, PeerCertificates, Protocol, Tls, Version},
    serve::Limits,
};
use http::{Request, Response};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::body::Body;
use tower_service::Service;

use crate::{
    attack::{Attacker, HEADERS, PING, PREFACE, frame},
    certificate::{Authority, Client, der, shown},
    probe::{Probe, Server, WRITE, eventually},
};

const SHORT: Duration = Duration::from_millis(100);
/// Far below every default that could close a connection instead.
const SOON: Duration = Duration::from_millis(2_500);
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const BOTH: [&str; 2] = ["h2", "http/1.1"];
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n";

fn config(tls: Tls) -> Config {
    Config {
        protocol: Protocol::Both,
        drain_timeout: Duration::from_secs(5),
        drain_idle_timeout: SHORT,
        tls: Some(tls),
        ..Config::default()
    }
}

async fn server(config: Config) -> Server {
    Server::with(Probe::echo(), config, Limits::default()).await
}

/// The first message of a handshake, as a client of this port sends it.
async fn client_hello(client: &Client) -> Vec<u8> {
    let listener = tokio::net::TcpListener::bind(ANY).await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = client.clone();
    let connecting = tokio::spawn(async move { client.connect(address).await.map(drop) });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = [0; 5];
    stream.read_exact(&mut head).await.unwrap();
    let mut hello = head.to_vec();
    hello.resize(5 + usize::from(u16::from_be_bytes([head[3], head[4]])), 0);
    stream.read_exact(&mut hello[5..]).await.unwrap();
    connecting.abort();
    hello
}

#[tokio::test]
async fn both_protocols_are_agreed_on_in_the_handshake() {
    let authority = Authority::new();
    let server = server(config(authority.show(&authority.issue(&["localhost"])))).await;

    let stream = authority.client(&BOTH, None).connect(server.address).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut http2 = Attacker::over(stream).greet(&[]).await;
    http2.call(1, WRITE, "hello").await;
    assert_eq!(http2.frame_of(HEADERS).await.unwrap().stream, 1);

    for alpn in [&["http/1.1"][..], &[]] {
        let mut http1 = authority.client(alpn, None).connect(server.address).await.unwrap();
        http1.write_all(GET).await.unwrap();
        let mut answer = [0; 15];
        http1.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
    }
}

#[tokio::test]
async fn what_was_agreed_on_is_spoken() {
    let authority = Authority::new();
    let server = server(config(authority.show(&authority.issue(&["localhost"])))).await;
    for (alpn, said) in [("h2", GET), ("http/1.1", PREFACE)] {
        let stream = authority.client(&[alpn], None).connect(server.address).await.unwrap();
        let mut peer = Attacker::over(stream);
        peer.send(said).await;
        assert!(peer.closed_after().await < SOON);
    }
    assert_eq!(server.refused("protocol"), 2);
}

#[tokio::test]
async fn a_port_of_http2_agrees_on_nothing_else() {
    let authority = Authority::new();
    let tls = authority.show(&authority.issue(&["localhost"]));
    let server = server(Config { protocol: Protocol::Http2, ..config(tls) }).await;
    let stream = authority.client(&BOTH, None).connect(server.address).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert!(authority.client(&["http/1.1"], None).connect(server.address).await.is_err());
    eventually("it was counted", || server.refused("tls") == 1).await;
}

#[tokio::test]
async fn plain_text_on_a_tls_port_is_closed_and_counted() {
    let authority = Authority::new();
    let server = server(config(authority.show(&authority.issue(&["localhost"])))).await;
    for said in [GET, PREFACE] {
        let mut peer = Attacker::connect(server.address).await;
        peer.send(said).await;
        let mut answer = Vec::new();
        let _reset = peer.stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
    }
    eventually("both were counted", || server.refused("tls") == 2).await;
}

#[tokio::test]
async fn silence_and_half_a_hello_end_at_the_first_byte_timeout() {
    let authority = Authority::new();
    let tls = authority.show(&authority.issue(&["localhost"]));
    let server = server(Config { first_byte_timeout: SHORT, ..config(tls) }).await;
    let hello = client_hello(&authority.client(&BOTH, None)).await;
    for said in [&[][..], &hello[..hello.len() / 2]] {
        let mut peer = Attacker::connect(server.address).await;
        peer.send(said).await;
        assert!(peer.closed_after().await < SOON);
    }
    // One that shakes hands and then says nothing is no better.
    let stream = authority.client(&BOTH, None).connect(server.address).await.unwrap();
    assert!(Attacker::over(stream).closed_after().await < SOON);
    assert_eq!(server.refused("first_byte"), 3);
}

#[tokio::test]
async fn a_handshake_that_stops_ends_at_its_timeout() {
    let authority = Authority::new();
    let tls = authority.show(&authority.issue(&["localhost"]));
    let server = server(config(Tls { handshake_timeout: SHORT, ..tls })).await;
    let mut peer = Attacker::connect(server.address).await;
    peer.send(&client_hello(&authority.client(&BOTH, None)).await).await;
    let mut answer = Vec::new();
    let began = Instant::now();
    let _reset = peer.stream.read_to_end(&mut answer).await;
    assert!(began.elapsed() < SOON);
    assert_eq!(server.refused("handshake"), 1);
}

#[tokio::test]
async fn a_flood_of_handshakes_takes_turns_and_does_not_block_the_port() {
    let authority = Authority::new();
    let tls = authority.show(&authority.issue(&["localhost"]));
    let server = server(config(Tls { max_handshakes: 2, ..tls })).await;
    let client = authority.client(&BOTH, None);
    let hello = client_hello(&client).await;
    let mut first = Vec::new();
    for _ in 0..2 {
        let mut peer = Attacker::connect(server.address).await;
        peer.send(&hello).await;
        // The server has said its part, and waits for theirs.
        peer.stream.read_exact(&mut [0; 5]).await.unwrap();
        first.push(peer);
    }
    let mut waiting = Attacker::connect(server.address).await;
    waiting.send(&hello).await;
    let answer = tokio::time::timeout(SHORT, waiting.stream.read_exact(&mut [0; 5])).await;
    assert!(answer.is_err(), "it has no turn yet");
    // The accept loop goes on: this one is judged at once.
    let mut plain = Attacker::connect(server.address).await;
    plain.send(GET).await;
    let _reset = plain.stream.read_to_end(&mut Vec::new()).await;
    assert_eq!(server.refused("tls"), 1);

    // A turn that is given up is another's.
    drop(first);
    waiting.stream.read_exact(&mut [0; 5]).await.unwrap();
    assert!(client.connect(server.address).await.is_ok());
}

#[tokio::test]
async fn handshakes_count_among_the_connections_and_end_with_the_port() {
    let authority = Authority::new();
    let tls = authority.show(&authority.issue(&["localhost"]));
    let server = server(Config { max_connections: 2, ..config(tls) }).await;
    let client = authority.client(&BOTH, None);
    let mut stopped = Attacker::connect(server.address).await;
    stopped.send(&client_hello(&client).await).await;
    let silent = Attacker::connect(server.address).await;
    eventually("both are taken in", || server.connections() == 2).await;
    assert!(client.connect(server.address).await.is_err());
    assert_eq!(server.refused("connections"), 1);

    let took = server.stop().await;
    assert!(took < SOON, "{took:?}");
    drop((stopped, silent));
}

#[tokio::test]
async fn floods_within_tls_are_seen() {
    let authority = Authority::new();
    let tls = authority.show(&authority.issue(&["localhost"]));
    let bounds = Config { max_control_frames_per_second: 100, ..config(tls) };
    let server = server(bounds).await;
    let stream = authority.client(&["h2"], None).connect(server.address).await.unwrap();
    let mut attacker = Attacker::over(stream).greet(&[]).await;
    attacker.send(&frame(PING, 0, 0, &[7; 8]).repeat(1_000)).await;
    assert!(attacker.closed_after().await < SOON);
}

#[tokio::test]
async fn new_certificates_are_shown_and_bad_ones_are_not() {
    let authority = Authority::new();
    let (first, second) = (authority.issue(&["localhost"]), authority.issue(&["localhost"]));
    let tls = authority.show(&first);
    let server = server(config(Tls { reload_interval: Duration::from_millis(5), ..tls })).await;
    let client = authority.client(&["h2"], None);
    let stream = client.connect(server.address).await.unwrap();
    assert_eq!(shown(&stream), der(&first));
    let mut before = Attacker::over(stream).greet(&[]).await;
    before.call(1, WRITE, "hello").await;
    assert!(before.frame_of(HEADERS).await.is_some());

    let mut bad = second.clone();
    bad.key = first.key.clone();
    authority.show(&bad);
    // Time for it to be looked at, many times over.
    tokio::time::sleep(SHORT).await;
    assert_eq!(shown(&client.connect(server.address).await.unwrap()), der(&first));

    authority.show(&second);
    let given_up = Instant::now() + SOON;
    while shown(&client.connect(server.address).await.unwrap()) != der(&second) {
        assert!(Instant::now() < given_up, "the new certificate is not shown");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The connection of old lives on.
    before.call(3, WRITE, "hello").await;
    while before.frame_of(HEADERS).await.expect("it is open").stream != 3 {}
}

/// Keeps the certificates that clients proved themselves by.
#[derive(Clone, Default)]
struct Doorman(Arc<Mutex<Vec<Option<Vec<u8>>>>>);

impl Service<Request<Body>> for Doorman {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let shown = request.extensions().get::<PeerCertificates>();
        let own = shown.map(|peer| peer.chain().next().unwrap().to_vec());
        self.0.lock().unwrap().push(own);
        std::future::ready(Ok(Response::new(Body::empty())))
    }
}

/// Asks for a page; says whether there was one.
async fn get(client: &Client, address: SocketAddr) -> bool {
    let Ok(mut stream) = client.connect(address).await else { return false };
    // A client learns with its first read that its certificate was refused.
    let mut answer = Vec::new();
    let _reset = stream.write_all(GET).await;
    let _reset = stream.read_to_end(&mut answer).await;
    answer.starts_with(b"HTTP/1.1 200 OK")
}

#[tokio::test]
async fn clients_prove_themselves_by_certificates() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let tls = authority.show(&authority.issue(&["localhost"]));
    let (known, unknown) = (authority.issue(&["caller"]), stranger.issue(&["caller"]));
    for (asked, without) in
        [(ClientCertificate::Required, false), (ClientCertificate::Optional, true)]
    {
        let tls = Tls {
            client_ca_file: Some(authority.file()),
            client_certificate: asked,
            ..tls.clone()
        };
        let doorman = Doorman::default();
        let stack = Probe::echo().stack("probe", Limits::default());
        let server = Server::serving(ANY, stack, doorman.clone(), config(tls)).await;
        let get =
            async |identity| get(&authority.client(&["http/1.1"], identity), server.address).await;
        assert!(get(Some(&known)).await);
        assert_eq!(get(None).await, without);
        assert!(!get(Some(&unknown)).await);
        let mut seen = vec![Some(der(&known))];
        if without {
            seen.push(None);
        }
        assert_eq!(*doorman.0.lock().unwrap(), seen);
    }
}

#[tokio::test]
async fn old_versions_are_spoken_only_where_they_may() {
    let authority = Authority::new();
    let tls = authority.show(&authority.issue(&["localhost"]));
    let old = authority.client_of(&[&rustls::version::TLS12], &BOTH, None);
    for (min_version, is_spoken) in [(Version::V1_2, true), (Version::V1_3, false)] {
        let server = server(config(Tls { min_version, ..tls.clone() })).await;
        assert_eq!(old.connect(server.address).await.is_ok(), is_spoken);
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_before_a_port_is_bound() {
    let authority = Authority::new();
    let mut identity = authority.issue(&["localhost"]);
    identity.key = authority.issue(&["localhost"]).key;
    let tls = Tls {
        client_ca_file: Some(authority.folder().join("none.pem")),
        ..authority.show(&identity)
    };
    for (tls, named) in [
        (tls.clone(), "`connections.tls.client_ca_file`"),
        (Tls { client_ca_file: None, ..tls }, "`connections.tls.key_file`"),
    ] {
        // The address is not one that can be bound either: the files come first.
        let error = Listener::bind("192.0.2.1:1", config(tls)).await.unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[tokio::test]
async fn a_client_that_comes_back_resumes_its_session() {
    let authority = Authority::new();
    let server = server(config(authority.show(&authority.issue(&["localhost"])))).await;
    let client = authority.client(&["http/1.1"], None);
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let mut stream = client.connect(server.address).await.unwrap();
        stream.write_all(GET).await.unwrap();
        let _reset = stream.read_to_end(&mut Vec::new()).await;
        kinds.push(stream.get_ref().1.handshake_kind().unwrap());
    }
    assert_eq!(kinds, [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed]);
}

#[tokio::test]
async fn a_plain_port_knows_no_handshake() {
    let server = server(Config { protocol: Protocol::Both, ..Config::default() }).await;
    let client = Authority::new().client(&BOTH, None);
    assert!(client.connect(server.address).await.is_err());
    let plain = TcpStream::connect(server.address).await.unwrap();
    assert!(plain.peer_addr().is_ok());
}
