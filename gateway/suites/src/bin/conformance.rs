//! The server that connectconformance starts: `ConformanceService` with nothing in
//! front of it.

use std::{error::Error, future::pending};

use suites::{
    conformance::{Conformance, Deadlines, driver},
    contracts::connectrpc::conformance::v1::{
        ServerCompatResponse, conformance_service_server::ConformanceServiceServer,
    },
    upstream::Upstream,
};
use tonic::codec::CompressionEncoding;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    driver::read(tokio::io::stdin()).await?;

    let mut service = ConformanceServiceServer::new(Conformance::new(Deadlines::Kept));
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        service = service.accept_compressed(encoding).send_compressed(encoding);
    }
    let upstream = Upstream::start(service).await?;

    let address = upstream.address();
    let response = ServerCompatResponse {
        host: address.ip().to_string(),
        port: address.port().into(),
        pem_cert: bytes::Bytes::new(),
    };
    driver::write(tokio::io::stdout(), &response).await?;
    // The suite ends the process.
    pending().await
}
