//! How connectconformance starts a server: it says on standard input what it
//! wants, and reads from standard output where that is. Both are one message after
//! its length in four bytes.

use std::io;

use bytes::BytesMut;
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Bytes of a message: two certificates and a few numbers.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Reads a message: what is wanted, or where it is.
pub async fn read<M: Message + Default>(mut input: impl AsyncRead + Unpin) -> io::Result<M> {
    let length = usize::try_from(input.read_u32().await?).unwrap_or(usize::MAX);
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "a message has {length} bytes, and may have {MESSAGE_BYTES_MAX}"
        )));
    }
    let mut message = BytesMut::zeroed(length);
    input.read_exact(&mut message).await?;
    M::decode(message).map_err(io::Error::other)
}

/// Writes one.
pub async fn write(mut output: impl AsyncWrite + Unpin, message: &impl Message) -> io::Result<()> {
    let encoded = message.encode_to_vec();
    output.write_u32(u32::try_from(encoded.len()).map_err(io::Error::other)?).await?;
    output.write_all(&encoded).await?;
    output.flush().await
}
