//! How connectconformance starts a server: it says on standard input what it
//! wants, and reads from standard output where that is.

use std::io;

use bytes::BytesMut;
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::contracts::connectrpc::conformance::v1::{ServerCompatRequest, ServerCompatResponse};

/// A request is two certificates and a few numbers.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// Reads what is wanted.
pub async fn read(mut input: impl AsyncRead + Unpin) -> io::Result<ServerCompatRequest> {
    let length = usize::try_from(input.read_u32().await?).unwrap_or(usize::MAX);
    if length > REQUEST_BYTES_MAX {
        return Err(io::Error::other(format!(
            "a request has {length} bytes, and may have {REQUEST_BYTES_MAX}"
        )));
    }
    let mut request = BytesMut::zeroed(length);
    input.read_exact(&mut request).await?;
    ServerCompatRequest::decode(request).map_err(io::Error::other)
}

/// Says where it is.
pub async fn write(
    mut output: impl AsyncWrite + Unpin,
    response: &ServerCompatResponse,
) -> io::Result<()> {
    let encoded = response.encode_to_vec();
    output.write_u32(u32::try_from(encoded.len()).map_err(io::Error::other)?).await?;
    output.write_all(&encoded).await?;
    output.flush().await
}
