//! Where log lines go: each is written at once, but for those of the access log,
//! which are written together.
//!
//! A write for each request costs more than all else about its line.

use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

/// The target of the lines of an access log, one for each request.
pub const ACCESS: &str = "access";

/// Bytes that wait to be written at most.
const WAITING_BYTES_MAX: usize = 32 * 1_024;

/// Writes lines, in the order in which they came.
#[derive(Debug)]
pub(super) struct Lines<W>(Arc<Shared<W>>);

#[derive(Debug)]
struct Shared<W> {
    waiting: Mutex<Waiting<W>>,
    /// A line waits.
    came: Condvar,
    /// How long it may.
    patience: Duration,
}

#[derive(Debug)]
struct Waiting<W> {
    bytes: Vec<u8>,
    to: W,
}

/// Where one line goes.
pub(super) struct Line<'a, W> {
    lines: &'a Shared<W>,
    /// For company.
    waits: bool,
}

// === impl Lines ===

impl<W: Write + Send + 'static> Lines<W> {
    /// Lines of the access log wait for as long as `patience`, or not at all.
    pub(super) fn to(to: W, patience: Duration) -> io::Result<Self> {
        let waiting = Mutex::new(Waiting { bytes: Vec::new(), to });
        let shared = Arc::new(Shared { waiting, came: Condvar::new(), patience });
        if !patience.is_zero() {
            let lines = Arc::clone(&shared);
            // It ends with the process, which has one log.
            thread::Builder::new().name("log".to_owned()).spawn(move || {
                loop {
                    lines.write_in_time();
                }
            })?;
        }
        Ok(Self(shared))
    }

    /// Writes what waits.
    pub(super) fn flush(&self) {
        self.0.waiting().write();
    }
}

impl<W> Clone for Lines<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<'a, W: Write + 'a> MakeWriter<'a> for Lines<W> {
    type Writer = Line<'a, W>;

    fn make_writer(&'a self) -> Line<'a, W> {
        Line { lines: &self.0, waits: false }
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Line<'a, W> {
        let waits = about.target() == ACCESS && !self.0.patience.is_zero();
        Line { lines: &self.0, waits }
    }
}

// === impl Shared ===

impl<W> Shared<W> {
    fn waiting(&self) -> MutexGuard<'_, Waiting<W>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Write> Shared<W> {
    /// Waits until a line waits, and writes it in time.
    fn write_in_time(&self) {
        drop(self.came.wait_while(self.waiting(), |waiting| waiting.bytes.is_empty()));
        thread::sleep(self.patience);
        self.waiting().write();
    }
}

// === impl Waiting ===

impl<W: Write> Waiting<W> {
    fn write(&mut self) {
        // Whoever does not read the log does not stop the process.
        let _unread = self.to.write_all(&self.bytes);
        self.bytes.clear();
    }
}

// === impl Line ===

impl<W: Write> Write for Line<'_, W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.lines.waiting();
        let was_empty = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        if !self.waits || waiting.bytes.len() >= WAITING_BYTES_MAX {
            waiting.write();
        } else if was_empty {
            self.lines.came.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Tells of every write.
    struct Told(Sender<String>);

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if !bytes.is_empty() {
                let _nobody = self.0.send(String::from_utf8(bytes.to_vec()).unwrap());
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const LONG: Duration = Duration::from_secs(3_600);

    fn lines(patience: Duration, say: impl FnOnce()) -> (Lines<Told>, Receiver<String>) {
        let (sender, written) = channel();
        let lines = Lines::to(Told(sender), patience).unwrap();
        let layer = tracing_subscriber::fmt::layer().with_writer(lines.clone()).without_time();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), say);
        (lines, written)
    }

    #[test]
    fn lines_of_the_access_log_are_written_together_and_before_what_came_later() {
        let (_lines, written) = lines(LONG, || {
            tracing::info!(target: ACCESS, "one");
            tracing::info!(target: ACCESS, "two");
            tracing::info!("three");
        });
        let text = written.try_recv().unwrap();
        let said: Vec<_> = text.lines().filter_map(|line| line.split(' ').next_back()).collect();
        assert_eq!(said, ["one", "two", "three"]);
        assert!(written.try_recv().is_err(), "it is written once");
    }

    #[test]
    fn a_line_that_no_other_follows_is_written_in_time() {
        let (_lines, written) = lines(Duration::from_millis(1), || {
            tracing::info!(target: ACCESS, "alone");
        });
        assert!(written.recv_timeout(Duration::from_secs(10)).unwrap().contains("alone"));
    }

    #[test]
    fn what_waits_is_bounded_and_is_written_at_the_end() {
        let (lines, written) = lines(LONG, || {
            for _ in 0..=WAITING_BYTES_MAX / 1_024 {
                tracing::info!(target: ACCESS, "{}", "x".repeat(1_024));
            }
        });
        assert!(written.try_recv().unwrap().len() >= WAITING_BYTES_MAX);
        assert!(written.try_recv().is_err());
        tracing::subscriber::with_default(
            tracing_subscriber::registry()
                .with(tracing_subscriber::fmt::layer().with_writer(lines.clone())),
            || tracing::info!(target: ACCESS, "last"),
        );
        assert!(written.try_recv().is_err());
        lines.flush();
        assert!(written.try_recv().unwrap().contains("last"));
    }

    #[test]
    fn without_patience_each_line_is_written_at_once() {
        let (_lines, written) = lines(Duration::ZERO, || tracing::info!(target: ACCESS, "now"));
        assert!(written.try_recv().unwrap().contains("now"));
    }
}
