//! Waits that have an end: for a peer that reads nothing, or sends nothing.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper::rt::Executor;
use hyper_util::rt::TokioExecutor;
use pin_project_lite::pin_project;
use tokio::time::{Duration, Instant, Sleep, sleep_until};

use super::Port;

/// An alarm that costs nothing until the first wait.
#[derive(Debug, Default)]
pub(super) struct Stall {
    alarm: Option<Pin<Box<Sleep>>>,
    is_set: bool,
}

/// Runs the answers of an HTTP/2 connection, and gives up those that the peer
/// leaves no room for.
///
/// A peer that opens no window is not seen on its connection: that may have
/// nothing to write. So every answer has its own alarm, which runs while the
/// answer has bytes in hand and nowhere to put them. Its stream is reset; the
/// others of its connection go on.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    port: Arc<Port>,
}

pin_project! {
    struct Answering<F> {
        #[pin]
        future: F,
        // Whether bytes wait for the peer.
        is_full: bool,
        stall: Stall,
        port: Arc<Port>,
    }
}

/// What the body of an answer did while its future was polled.
#[derive(Debug, Clone, Copy)]
pub(super) enum Polled {
    /// It was not asked: whoever asks still has its last bytes.
    NotAsked,
    /// It gave bytes.
    Gave,
    /// It had none.
    HadNone,
}

thread_local! {
    /// Between a body and the future around it, which hyper keeps apart; both run
    /// within one poll.
    static POLLED: Cell<Polled> = const { Cell::new(Polled::NotAsked) };
}

/// Told by the body of an answer.
pub(super) fn body_polled(what: Polled) {
    POLLED.set(what);
}

// === impl Stall ===

impl Stall {
    /// Something moved.
    pub(super) fn clear(&mut self) {
        self.is_set = false;
    }

    /// Nothing moves; ready when that has been so for as long as `patience`.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, patience: Duration) -> Poll<()> {
        let alarm = match &mut self.alarm {
            Some(alarm) => {
                if !self.is_set {
                    alarm.as_mut().reset(Instant::now() + patience);
                }
                alarm
            }
            none => none.insert(Box::pin(sleep_until(Instant::now() + patience))),
        };
        self.is_set = true;
        alarm.as_mut().poll(cx)
    }
}

// === impl Answers ===

impl Answers {
    pub(super) fn new(port: Arc<Port>) -> Self {
        Self { port }
    }
}

impl<F> Executor<F> for Answers
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let (stall, port) = (Stall::default(), Arc::clone(&self.port));
        TokioExecutor::new().execute(Answering { future, is_full: false, stall, port });
    }
}

impl<F: Future<Output = ()>> Future for Answering<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        POLLED.set(Polled::NotAsked);
        if this.future.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match POLLED.get() {
            Polled::NotAsked if !*this.is_full => return Poll::Pending,
            Polled::NotAsked => {}
            Polled::Gave => {
                this.stall.clear();
                *this.is_full = true;
            }
            Polled::HadNone => {
                this.stall.clear();
                *this.is_full = false;
                return Poll::Pending;
            }
        }
        std::task::ready!(this.stall.poll(cx, this.port.config.write_stall_timeout));
        this.port.refused("stream_stall").inc();
        // Dropped with its task, the stream is reset.
        Poll::Ready(())
    }
}
