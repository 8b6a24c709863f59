//! The server that connectconformance starts: `ConformanceService` with the
//! gateway in front, or with nothing in front if the first argument is `direct`.

use std::{error::Error, future::pending, net::SocketAddr};

use suites::{
    conformance::{Conformance, Deadlines, driver},
    contracts::{
        CONFORMANCE,
        connectrpc::conformance::v1::{
            ServerCompatRequest, ServerCompatResponse,
            conformance_service_server::ConformanceServiceServer,
        },
    },
    edge::Edge,
    upstream::Upstream,
};
use tonic::codec::CompressionEncoding;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let is_direct = std::env::args().nth(1).is_some_and(|argument| argument == "direct");
    let wanted: ServerCompatRequest = driver::read(tokio::io::stdin()).await?;

    let deadlines = if is_direct { Deadlines::Kept } else { Deadlines::Told };
    let mut service = ConformanceServiceServer::new(Conformance::new(deadlines));
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        service = service.accept_compressed(encoding).send_compressed(encoding);
    }
    // What is compressed passes the gateway as it is: how long it is really, the
    // service finds out.
    if let (false, Ok(limit @ 1..)) = (is_direct, usize::try_from(wanted.message_receive_limit)) {
        service = service.max_decoding_message_size(limit);
    }
    let upstream = Upstream::start(service).await?;
    let mut response = at(upstream.address());
    if !is_direct {
        let mut edge = Edge::new(upstream.address(), CONFORMANCE);
        if wanted.message_receive_limit > 0 {
            edge = edge.with("body_bytes_max", wanted.message_receive_limit.into());
        }
        let certificate = match wanted.server_creds.filter(|_| wanted.use_tls) {
            Some(creds) => {
                let clients = Some(&*wanted.client_tls_cert).filter(|clients| !clients.is_empty());
                edge = edge.with_tls(&creds.cert, &creds.key, clients)?;
                creds.cert
            }
            None => bytes::Bytes::new(),
        };
        response =
            ServerCompatResponse { pem_cert: certificate, ..at(edge.start().await?.address()) };
    }
    driver::write(tokio::io::stdout(), &response).await?;
    // The suite ends the process.
    pending().await
}

/// Where a server is, without TLS.
fn at(address: SocketAddr) -> ServerCompatResponse {
    let pem_cert = bytes::Bytes::new();
    ServerCompatResponse { host: address.ip().to_string(), port: address.port().into(), pem_cert }
}
