//! The messages of a gRPC answer, one after the other, until its status.

use bytes::Bytes;
use chassis::Fault;
use http::HeaderMap;
use http_body_util::BodyExt as _;
use tonic::body::Body;

use super::Told;
use crate::{
    frame::Frames,
    rest::{broken, failed},
};

/// A gRPC answer that is read as it comes.
pub(crate) struct Messages {
    body: Body,
    /// What has arrived and was not read yet: never more than one message that is
    /// not whole, and what came in one piece with its beginning.
    frames: Frames,
    bytes_max: usize,
    /// Its status came, and it was OK.
    ended: bool,
    /// Of a client that streams too: its failure ends the answer.
    client: Option<Told>,
}

// === impl Messages ===

impl Messages {
    /// The messages of an answer, none larger than `bytes_max`; or the failure
    /// that its head states already.
    pub(crate) fn new(head: &HeaderMap, body: Body, bytes_max: usize) -> Result<Self, Fault> {
        failed(head)?;
        let ended = head.contains_key(tonic::Status::GRPC_STATUS);
        Ok(Self { body, frames: Frames::new(bytes_max), bytes_max, ended, client: None })
    }

    /// The same, for as long as the client's own stream does not fail.
    pub(crate) fn and(self, client: Told) -> Self {
        Self { client: Some(client), ..self }
    }

    /// The next message; `None` when the call ended well. It may be dropped while
    /// it waits and called again.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            if let Some(message) = self.arrived()? {
                return Ok(Some(message));
            }
            if self.ended {
                if !self.frames.is_empty() {
                    return Err(broken("the stream ended within a message"));
                }
                return Ok(None);
            }
            self.read().await?;
        }
    }

    /// Waits for more to arrive without taking it: `false` when there is nothing
    /// to wait for, or enough has.
    pub(crate) async fn gather(&mut self, enough: usize) -> Result<bool, Fault> {
        if self.ended || self.frames.len() >= enough {
            return Ok(false);
        }
        self.read().await?;
        Ok(true)
    }

    async fn read(&mut self) -> Result<(), Fault> {
        let frame = match &mut self.client {
            None => self.body.frame().await,
            Some(client) => tokio::select! {
                biased;
                fault = client.failure() => return Err(fault),
                frame = self.body.frame() => frame,
            },
        };
        let Some(frame) = frame else {
            return Err(broken("the stream ended without a status"));
        };
        match frame.map_err(broken)?.into_data() {
            Ok(data) => self.frames.push(data),
            Err(frame) => {
                let Ok(trailers) = frame.into_trailers() else { return Ok(()) };
                failed(&trailers)?;
                if !trailers.contains_key(tonic::Status::GRPC_STATUS) {
                    return Err(broken("the trailers have no status"));
                }
                self.ended = true;
            }
        }
        Ok(())
    }

    /// The next message, if all of it is here.
    pub(crate) fn arrived(&mut self) -> Result<Option<Bytes>, Fault> {
        let frame = self.frames.pull().map_err(|_too_large| {
            Fault::internal()
                .message(format!("a message of the answer has more than {} bytes", self.bytes_max))
                .because("the service answered more than gateway.response_bytes_max")
        })?;
        match frame {
            Some(frame) if frame.flags != 0 => {
                // Nobody asked for compression.
                Err(Fault::internal().because("the service answered a compressed message"))
            }
            frame => Ok(frame.map(|frame| frame.message)),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body::Frame;
    use http_body_util::StreamBody;
    use tonic::Code;

    use super::*;

    fn messages(frames: Vec<Frame<Bytes>>) -> Messages {
        let frames = futures_util::stream::iter(frames.into_iter().map(Ok::<_, tonic::Status>));
        Messages::new(&HeaderMap::new(), Body::new(StreamBody::new(frames)), 8).unwrap()
    }

    fn data(bytes: &[u8]) -> Frame<Bytes> {
        Frame::data(Bytes::copy_from_slice(bytes))
    }

    fn status(code: &str) -> Frame<Bytes> {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", code.parse().unwrap());
        Frame::trailers(trailers)
    }

    #[tokio::test]
    async fn messages_are_whole_however_they_were_cut() {
        let mut messages = messages(vec![
            data(&[0, 0, 0]),
            data(&[0, 2, b'a']),
            data(&[b'b', 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, b'c']),
            status("0"),
        ]);
        assert_eq!(messages.next().await.unwrap().unwrap(), "ab");
        assert_eq!(messages.next().await.unwrap().unwrap(), "");
        assert_eq!(messages.arrived().unwrap().unwrap(), "c");
        assert_eq!(messages.next().await.unwrap(), None);
        assert_eq!(messages.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn only_a_status_ends_an_answer_well() {
        let whole = || data(&[0, 0, 0, 0, 1, b'a']);
        let cases = [
            (vec![whole()], Code::Unavailable),
            (vec![whole(), Frame::trailers(HeaderMap::new())], Code::Unavailable),
            (vec![whole(), data(&[0, 0]), status("0")], Code::Unavailable),
            (vec![whole(), status("9")], Code::FailedPrecondition),
            // Compressed, and longer than 8 bytes.
            (vec![whole(), data(&[1, 0, 0, 0, 1, 0]), status("0")], Code::Internal),
            (vec![whole(), data(&[0, 0, 0, 0, 9])], Code::Internal),
        ];
        for (frames, code) in cases {
            let mut messages = messages(frames);
            assert_eq!(messages.next().await.unwrap().unwrap(), "a");
            assert_eq!(messages.next().await.unwrap_err().code(), code);
        }
    }
}
