//! TLS to peers.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use chassis::{
    Channel, Peers, Switchboard, Telemetry,
    channel::{Config, Tls},
    listen,
    serve::Limits,
};
use tonic::Code;

use crate::{
    certificate::{Authority, Identity},
    probe::{Probe, Server, WRITE, call, contract, nobody},
};

/// Far below every deadline.
const SOON: Duration = Duration::from_millis(1_500);

/// A probe that shows this certificate.
async fn server(tls: listen::Tls) -> Server {
    let config = listen::Config { tls: Some(tls), ..listen::Config::default() };
    Server::with(Probe::echo(), config, Limits::default()).await
}

fn channel(address: String, tls: Tls) -> Channel {
    let config = Config {
        tls,
        reconnect_backoff: Duration::from_millis(1),
        reconnect_backoff_max: Duration::from_millis(5),
        breaker_open_for: Duration::from_millis(1),
        breaker_open_for_max: Duration::from_millis(5),
        ..Config::default()
    };
    let addresses = BTreeMap::from([("probe".to_owned(), address)]);
    let telemetry = Telemetry::off("caller");
    Peers::with_config(contract(), telemetry, Switchboard::new(), addresses, config, nobody())
        .channel("probe")
}

fn believing(ca_file: PathBuf) -> Tls {
    Tls { ca_file: Some(ca_file), ..Tls::default() }
}

/// By a certificate of its own.
fn proved(authority: &Authority, identity: &Identity) -> Tls {
    let (certificate, key) =
        (authority.folder().join("own.crt"), authority.folder().join("own.key"));
    std::fs::write(&certificate, &identity.certificate).unwrap();
    std::fs::write(&key, &identity.key).unwrap();
    Tls { certificate_file: Some(certificate), key_file: Some(key), ..believing(authority.file()) }
}

async fn refused(channel: &Channel) {
    let began = Instant::now();
    let status = call(channel, WRITE, "hello").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_peer_is_believed_by_its_name_or_its_address() {
    let authority = Authority::new();
    let identity = authority.issue(&["localhost", "127.0.0.1"]);
    let server = server(authority.show(&identity)).await;
    let port = server.address.port();
    for host in ["localhost", "127.0.0.1"] {
        let channel = channel(format!("https://{host}:{port}"), believing(authority.file()));
        assert_eq!(call(&channel, WRITE, "hello").await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn a_peer_that_does_not_prove_its_name_is_not_called() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = server(authority.show(&authority.issue(&["elsewhere"]))).await;
    let port = server.address.port();
    for trust in [
        // Its name is another.
        believing(authority.file()),
        // Its authority is another.
        believing(stranger.file()),
        // It is known to nobody.
        Tls::default(),
    ] {
        refused(&channel(format!("https://localhost:{port}"), trust)).await;
    }
    assert_eq!(server.stack.in_flight(), 0);
}

#[tokio::test]
async fn an_operator_is_told_why_a_server_is_not_believed() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let good = server(authority.show(&authority.issue(&["localhost"]))).await;
    let not_good = server(stranger.show(&stranger.itself())).await;
    for (server, trust, said) in [
        (&good, stranger.file(), "invalid peer certificate"),
        (&not_good, stranger.file(), "basicConstraints=critical,CA:FALSE"),
    ] {
        let address = format!("https://localhost:{}", server.address.port());
        let channel = Channel::at(&contract(), &address, believing(trust)).unwrap();
        let status = call(&channel, WRITE, "hello").await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        assert!(status.message().contains(said), "{status}");
        assert!(status.message().contains(&server.address.to_string()), "{status}");
    }
}

#[tokio::test]
async fn both_sides_must_speak_it() {
    let authority = Authority::new();
    let secure = server(authority.show(&authority.issue(&["localhost"]))).await;
    let plain = Server::start(Probe::echo()).await;
    let trust = || believing(authority.file());
    refused(&channel(format!("http://localhost:{}", secure.address.port()), trust())).await;
    refused(&channel(format!("https://localhost:{}", plain.address.port()), trust())).await;
}

#[tokio::test]
async fn a_peer_that_asks_who_calls_is_told() {
    let authority = Authority::new();
    let shown = authority.show(&authority.issue(&["localhost"]));
    let server = server(listen::Tls { client_ca_file: Some(authority.file()), ..shown }).await;
    let address = format!("https://localhost:{}", server.address.port());
    let own = proved(&authority, &authority.issue(&["caller"]));
    let channel_with = |tls| channel(address.clone(), tls);
    assert_eq!(call(&channel_with(own), WRITE, "hello").await.unwrap(), "hello");
    refused(&channel_with(believing(authority.file()))).await;
}

#[tokio::test]
async fn an_authority_that_is_replaced_counts_without_a_restart() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = server(authority.show(&authority.issue(&["localhost"]))).await;
    let file = stranger.file();
    let channel =
        channel(format!("https://localhost:{}", server.address.port()), believing(file.clone()));
    refused(&channel).await;
    std::fs::copy(authority.file(), file).unwrap();
    let given_up = Instant::now() + SOON;
    while call(&channel, WRITE, "hello").await.is_err() {
        assert!(Instant::now() < given_up, "the new authority is not believed");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_peer_that_does_not_agree_on_http2_is_not_called() {
    let authority = Authority::new();
    let tls = authority.show(&authority.issue(&["localhost"]));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let acceptor = authority.acceptor(&tls);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Without ALPN: what a server of HTTP/1.1 alone would show.
            let _held = acceptor.accept(stream).await;
        }
    });
    refused(&channel(address, believing(authority.file()))).await;
}
