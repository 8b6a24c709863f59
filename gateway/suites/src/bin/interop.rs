//! `grpc.testing.TestService` twice: by itself, and behind the gateway. Prints both
//! ports on one line, the server's first, and serves until its input ends.

use std::error::Error;

use suites::{
    contracts::{INTEROP, grpc::testing::test_service_server::TestServiceServer},
    edge::Edge,
    interop::Interop,
    upstream::Upstream,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::codec::CompressionEncoding;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let service = TestServiceServer::new(Interop)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    let upstream = Upstream::start(service).await?;
    let gateway = Edge::new(upstream.address(), INTEROP).start().await?;

    let ports = format!("{} {}\n", upstream.address().port(), gateway.address().port());
    let mut output = tokio::io::stdout();
    output.write_all(ports.as_bytes()).await?;
    output.flush().await?;

    // Whoever started this process holds its input.
    let mut rest = Vec::new();
    tokio::io::stdin().read_to_end(&mut rest).await?;
    gateway.stop().await;
    Ok(())
}
