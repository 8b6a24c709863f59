//! The servers start as the suites' scripts start them.

use std::{io, process::Stdio, time::Duration};

use suites::{
    conformance::driver,
    contracts::connectrpc::conformance::v1::{
        HttpVersion, Protocol, ServerCompatRequest, ServerCompatResponse,
    },
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};

/// A debug build that shares its cores takes a while.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(program: &str) -> io::Result<Child> {
    Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()
}

#[tokio::test]
async fn connectconformance_is_told_where_the_gateway_is() {
    let mut server = start(env!("CARGO_BIN_EXE_conformance")).unwrap();
    let wanted = ServerCompatRequest {
        protocol: Protocol::Grpc.into(),
        http_version: HttpVersion::HttpVersion2.into(),
        message_receive_limit: 200 * 1_024,
        ..ServerCompatRequest::default()
    };
    driver::write(server.stdin.take().unwrap(), &wanted).await.unwrap();

    let output = server.stdout.take().unwrap();
    let told: ServerCompatResponse =
        timeout(PATIENCE, driver::read(output)).await.unwrap().unwrap();

    assert_eq!(told.host, "127.0.0.1");
    assert!(told.pem_cert.is_empty(), "no certificate where none was wanted");
    TcpStream::connect((told.host, u16::try_from(told.port).unwrap())).await.unwrap();
}

#[tokio::test]
async fn a_request_that_is_too_long_is_not_read() {
    let mut server = start(env!("CARGO_BIN_EXE_conformance")).unwrap();
    server.stdin.take().unwrap().write_u32(u32::MAX).await.unwrap();

    let mut told = Vec::new();
    let mut output = server.stdout.take().unwrap();
    timeout(PATIENCE, output.read_to_end(&mut told)).await.unwrap().unwrap();

    assert!(told.is_empty());
    assert!(!server.wait().await.unwrap().success());
}

#[tokio::test]
async fn the_interop_servers_serve_until_their_input_ends() {
    let mut servers = start(env!("CARGO_BIN_EXE_interop")).unwrap();
    let mut lines = BufReader::new(servers.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    let ports: Vec<u16> = line.split(' ').map(|port| port.parse().unwrap()).collect();
    assert_eq!(ports.len(), 2);
    for port in ports {
        TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    }

    drop(servers.stdin.take());

    assert!(timeout(PATIENCE, servers.wait()).await.unwrap().unwrap().success());
}
