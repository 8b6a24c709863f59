//! The HTTP/2 frames of a peer that carry no request, counted as they pass.

use std::io;

use tokio::time::{Duration, Instant};

/// What every frame begins with (RFC 9113, section 4.1).
const FRAME_HEAD_BYTES: usize = 9;
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const WINDOW_UPDATE: u8 = 0x8;
const ACK: u8 = 0x1;
/// What a frame that comes with nothing is charged, next to those that come with
/// every few requests.
const IDLE_FRAME: u32 = 10;

/// Counts the frames of a peer that carry no request.
///
/// A peer may send PING or SETTINGS for ever at half a core each; h2 answers
/// them all. This reads the frame heads as they pass, and fails the read when a
/// second holds too many.
#[derive(Debug)]
pub(super) struct FrameBudget {
    per_second: u32,
    used: u32,
    since: Instant,
    head: [u8; FRAME_HEAD_BYTES],
    head_filled: usize,
    /// Bytes of the connection preface or of a frame's payload still to pass.
    skip: usize,
    /// The last stream that was opened: headers on it or before it are trailers.
    last_stream: [u8; 4],
}

// === impl FrameBudget ===

impl FrameBudget {
    /// So many a second; `preface` bytes come before the first frame.
    pub(super) fn new(per_second: u32, preface: usize) -> Self {
        Self {
            per_second: per_second.saturating_mul(IDLE_FRAME),
            used: 0,
            since: Instant::now(),
            head: [0; FRAME_HEAD_BYTES],
            head_filled: 0,
            skip: preface,
            last_stream: [0; 4],
        }
    }

    /// Reads what was received, whatever way it is cut.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let (_, rest) = bytes.split_at(self.skip.min(bytes.len()));
                self.skip -= bytes.len() - rest.len();
                bytes = rest;
                continue;
            }
            let (now, rest) =
                bytes.split_at((FRAME_HEAD_BYTES - self.head_filled).min(bytes.len()));
            if let Some(room) = self.head.get_mut(self.head_filled..self.head_filled + now.len()) {
                room.copy_from_slice(now);
            }
            self.head_filled += now.len();
            bytes = rest;
            if self.head_filled == FRAME_HEAD_BYTES {
                self.head_filled = 0;
                let [l2, l1, l0, kind, flags, stream @ ..] = self.head;
                self.skip = usize::from(l2) << 16 | usize::from(l1) << 8 | usize::from(l0);
                match kind {
                    HEADERS if stream > self.last_stream => self.last_stream = stream,
                    DATA | CONTINUATION => {}
                    // What comes with requests, or because this side asked.
                    HEADERS | RST_STREAM | WINDOW_UPDATE => self.charge(1)?,
                    PING | SETTINGS if flags & ACK != 0 => self.charge(1)?,
                    // PING, SETTINGS, PRIORITY and what nobody knows.
                    _ => self.charge(IDLE_FRAME)?,
                }
            }
        }
        Ok(())
    }

    fn charge(&mut self, price: u32) -> io::Result<()> {
        self.used = self.used.saturating_add(price);
        if self.used <= self.per_second {
            return Ok(());
        }
        let now = Instant::now();
        if now.duration_since(self.since) < Duration::from_secs(1) {
            return Err(io::Error::other("the peer sends more control frames than it may"));
        }
        self.since = now;
        self.used = price;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![0, 0, u8::try_from(payload).unwrap(), kind, flags, 0, 0, 0, 1];
        frame.resize(frame.len() + payload, 0xff);
        frame
    }

    #[tokio::test]
    async fn only_control_frames_are_charged_however_the_bytes_are_cut() {
        let mut sent = vec![b'P'; 24];
        for _ in 0..50 {
            sent.extend(frame(DATA, 0, 7));
            sent.extend(frame(PING, ACK, 8));
        }
        sent.extend(frame(PING, 0, 8));
        sent.extend(frame(SETTINGS, 0, 0));
        for cut in [1, 3, 9, 1_000] {
            // Ten for each frame that asks, one for each that answers.
            let mut budget = FrameBudget::new(7, 24);
            for piece in sent.chunks(cut) {
                budget.pass(piece).unwrap();
            }
            assert!(budget.pass(&frame(PING, 0, 8)).is_err());
        }
    }
}
