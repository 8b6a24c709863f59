//! Peers that do not behave: HTTP/2 frames written by hand.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A raw connection, in TLS or not.
pub(crate) struct Attacker {
    pub(crate) stream: Box<dyn Stream>,
    read: Vec<u8>,
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A frame that was received.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The header block of a gRPC request, without compression.
pub(crate) fn header_block(path: &str) -> Vec<u8> {
    let literal = |block: &mut Vec<u8>, text: &str| {
        block.push(u8::try_from(text.len()).unwrap());
        block.extend(text.as_bytes());
    };
    // `:method: POST` and `:scheme: http` stand in the static table.
    let mut block = vec![0x83, 0x86];
    block.push(0x04);
    literal(&mut block, path);
    block.push(0x01);
    literal(&mut block, "probe");
    for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")] {
        block.push(0x00);
        literal(&mut block, name);
        literal(&mut block, value);
    }
    block
}

impl Attacker {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), read: Vec::new() }
    }

    /// A connection that said hello as HTTP/2 asks for.
    pub(crate) async fn greeted(address: SocketAddr) -> Self {
        Self::connect(address).await.greet(&[]).await
    }

    /// As [`Self::greeted`], with room for so many bytes on each stream, and as
    /// many as there can be on the connection.
    pub(crate) async fn with_window(address: SocketAddr, bytes: u32) -> Self {
        let mut settings = vec![0, 4];
        settings.extend(bytes.to_be_bytes());
        let mut attacker = Self::connect(address).await.greet(&settings).await;
        let all = (u32::MAX >> 1) - 65_535;
        attacker.send(&frame(WINDOW_UPDATE, 0, 0, &all.to_be_bytes())).await;
        attacker
    }

    pub(crate) async fn greet(mut self, settings: &[u8]) -> Self {
        self.send(PREFACE).await;
        self.send(&frame(SETTINGS, 0, 0, settings)).await;
        self.send(&frame(SETTINGS, ACK, 0, &[])).await;
        self
    }

    /// Sends; a connection that the server has closed swallows it.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _closed = self.stream.write_all(bytes).await;
    }

    /// Begins a request and never ends it.
    pub(crate) async fn open(&mut self, stream: u32, path: &str) {
        self.send(&frame(HEADERS, END_HEADERS, stream, &header_block(path))).await;
    }

    /// Makes a whole request of one message.
    pub(crate) async fn call(&mut self, stream: u32, path: &str, message: &str) {
        self.open(stream, path).await;
        // A string message is a field of its own: tag, length, text.
        let mut text = vec![0x0a, u8::try_from(message.len()).unwrap()];
        text.extend(message.as_bytes());
        let mut framed = vec![0, 0, 0, 0, u8::try_from(text.len()).unwrap()];
        framed.extend(text);
        self.send(&frame(DATA, END_STREAM, stream, &framed)).await;
    }

    /// The next frame of a kind.
    pub(crate) async fn frame_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.frame().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// The next frame; `None` when the server has closed.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((head, rest)) = self.read.split_at_checked(9) {
                let length =
                    usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
                if let Some((payload, rest)) = rest.split_at_checked(length) {
                    let found = Frame {
                        kind: head[3],
                        stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
                        payload: payload.to_vec(),
                    };
                    self.read = rest.to_vec();
                    return Some(found);
                }
            }
            let mut more = [0; 4_096];
            match self.stream.read(&mut more).await {
                Ok(0) => return None,
                Ok(count) => self.read.extend(&more[..count]),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof
                    ) =>
                {
                    return None;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// How long the server keeps a peer that says nothing more.
    pub(crate) async fn closed_after(mut self) -> Duration {
        let began = Instant::now();
        tokio::time::timeout(Duration::from_secs(10), async {
            while self.frame().await.is_some() {}
        })
        .await
        .expect("the server never closed the connection");
        began.elapsed()
    }
}
