//! A connection as HTTP reads and writes it: what was read to learn its protocol
//! comes first, frames are counted as they pass, a peer that takes nothing is not
//! written to for ever, and one that still sends gets to read why it was closed.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Place, budget::FrameBudget, requests::Requests, stall::Stall};
use crate::tls::Stream;

/// Bytes that are read away at once while a connection closes.
const LINGER_BYTES: usize = 4 * 1_024;
/// Bytes that are read away in all.
const LINGER_BYTES_MAX: usize = 1 << 20;

/// The bytes already read, then the rest of the stream.
pub(super) struct Io {
    prefix: Vec<u8>,
    taken: usize,
    stream: Stream,
    budget: Option<FrameBudget>,
    heads: Option<Heads>,
    stall: Stall,
    /// How much was read away, once this side is closed.
    lingered: Option<usize>,
    /// Held as long as the socket is, also by those that it is upgraded for.
    place: Place,
}

/// Sees to it that the heads of HTTP/1.1 requests arrive in time.
struct Heads {
    requests: Arc<Requests>,
    /// How many requests there were when the head at hand began.
    begun_at: Option<usize>,
    stall: Stall,
}

// === impl Heads ===

impl Heads {
    /// Bytes have come.
    fn came(&mut self) {
        if self.begun_at.is_none() {
            self.begun_at = self.requests.between();
        }
    }

    /// Nothing comes; ready when half a head has waited for as long as `patience`.
    fn poll(&mut self, cx: &mut Context<'_>, patience: Duration) -> Poll<()> {
        if self.begun_at.is_none() || self.begun_at != self.requests.between() {
            self.begun_at = None;
            self.stall.clear();
            return Poll::Pending;
        }
        self.stall.poll(cx, patience)
    }
}

// === impl Io ===

impl Io {
    pub(super) fn new(prefix: Vec<u8>, stream: Stream, place: Place) -> Self {
        let stall = Stall::default();
        Self { prefix, taken: 0, stream, budget: None, heads: None, stall, lingered: None, place }
    }

    /// Counts frames; `preface` bytes come before the first.
    pub(super) fn with_budget(mut self, per_second: u32, preface: usize) -> Self {
        self.budget = Some(FrameBudget::new(per_second, preface));
        self
    }

    /// Bounds how long the head of a request may take.
    pub(super) fn with_heads(mut self, requests: Arc<Requests>) -> Self {
        self.heads = Some(Heads { requests, begun_at: None, stall: Stall::default() });
        self
    }

    /// Waits for more bytes, unless half a head has been waiting for too long.
    fn poll_heads(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(heads) = &mut self.heads else { return Poll::Pending };
        std::task::ready!(heads.poll(cx, self.place.port.config.header_read_timeout));
        self.place.port.refused("slow_head").inc();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the head arrives too slowly")))
    }

    /// Lets a write through, unless it has been waiting for too long.
    fn in_time<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall.clear();
            return written;
        }
        std::task::ready!(self.stall.poll(cx, self.place.port.config.write_stall_timeout));
        self.place.port.refused("write_stall").inc();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer reads nothing")))
    }

    /// Reads away what the peer is still sending: a socket that is closed over
    /// unread bytes is reset, and the peer loses the answer that told it why. One
    /// that sends nothing is not waited for, unless half its request has come.
    fn linger(&mut self, cx: &mut Context<'_>, mut lingered: usize) -> Poll<()> {
        let is_cut = self.heads.as_ref().is_some_and(|heads| heads.requests.is_cut());
        let mut scratch = [0; LINGER_BYTES];
        while lingered < LINGER_BYTES_MAX {
            let mut read = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                    lingered += read.filled().len();
                    self.lingered = Some(lingered);
                }
                Poll::Pending if is_cut || lingered > 0 => {
                    return self.stall.poll(cx, self.place.port.config.linger_timeout);
                }
                _ => return Poll::Ready(()),
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let rest = this.prefix.get(this.taken..).unwrap_or_default();
        if rest.is_empty() {
            match Pin::new(&mut this.stream).poll_read(cx, buf) {
                Poll::Pending => return this.poll_heads(cx),
                Poll::Ready(read) => read?,
            }
        } else {
            let (now, _) = rest.split_at(rest.len().min(buf.remaining()));
            buf.put_slice(now);
            this.taken += now.len();
        }
        if let Some(heads) = &mut this.heads {
            heads.came();
        }
        if let Some(budget) = &mut this.budget {
            budget.pass(buf.filled().get(before..).unwrap_or_default())?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.in_time(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.in_time(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.in_time(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingered.is_none() {
            let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
            std::task::ready!(self.in_time(cx, closed))?;
            self.lingered = Some(0);
        }
        let lingered = self.lingered.unwrap_or_default();
        self.linger(cx, lingered).map(Ok)
    }
}
