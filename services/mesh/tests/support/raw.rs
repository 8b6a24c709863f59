//! gRPC calls of any method, as bytes: what a test makes from descriptors.

use bytes::{Buf as _, BufMut as _, Bytes};
use chassis::{Channel, Fault};
use http::uri::PathAndQuery;
use mesh::client::Client;
use tonic::{
    Request, Status,
    client::{Grpc, GrpcService},
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Bytes in, bytes out.
#[derive(Debug, Default, Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// Calls `/package.Service/Method` through the gateway.
pub(crate) async fn call(
    client: &Client,
    path: &str,
    request: Request<Bytes>,
) -> Result<Bytes, Fault> {
    unary(client.client(Grpc::new), path, request).await
}

/// Calls it on a channel of its own, such as to a service's own port.
pub(crate) async fn call_on(
    channel: Channel,
    path: &str,
    request: Request<Bytes>,
) -> Result<Bytes, Fault> {
    unary(Grpc::new(channel), path, request).await
}

async fn unary<S>(mut grpc: Grpc<S>, path: &str, request: Request<Bytes>) -> Result<Bytes, Fault>
where
    S: GrpcService<tonic::body::Body>,
    S::ResponseBody: tonic::codegen::Body<Data = Bytes> + Send + 'static,
    <S::ResponseBody as tonic::codegen::Body>::Error: Into<tonic::codegen::StdError>,
{
    let path: PathAndQuery = path.parse().unwrap();
    if grpc.ready().await.is_err() {
        return Err(Fault::internal());
    }
    match grpc.unary(request, path, Raw).await {
        Ok(response) => Ok(response.into_inner()),
        Err(status) => Err(Fault::from_status(&status)),
    }
}
