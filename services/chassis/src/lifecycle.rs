//! Beginning and end of a process: signals, and the order of stopping.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal as listen};
use tokio_util::sync::CancellationToken;

/// What the operating system asks of the process.
///
/// The first SIGTERM or SIGINT means "finish what you do": [`Signals::soft`].
/// The second means "now": [`Signals::hard`].
#[derive(Debug, Clone)]
pub struct Signals {
    soft: CancellationToken,
    hard: CancellationToken,
}

// === impl Signals ===

impl Signals {
    /// Signals that nobody sends but [`Signals::stop`]: for tests and for a mesh
    /// whose parts stop together.
    pub fn manual() -> Self {
        Self { soft: CancellationToken::new(), hard: CancellationToken::new() }
    }

    /// Cancelled by the first signal.
    pub fn soft(&self) -> CancellationToken {
        self.soft.clone()
    }

    /// Cancelled by the second signal.
    pub fn hard(&self) -> CancellationToken {
        self.hard.clone()
    }

    /// As if a signal had come.
    pub fn stop(&self) {
        if self.soft.is_cancelled() {
            self.hard.cancel();
        }
        self.soft.cancel();
    }
}

/// Begins to listen for SIGTERM and SIGINT.
pub fn signal() -> io::Result<Signals> {
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let signals = Signals::manual();
    let told = signals.clone();
    let task = async move {
        loop {
            let name = next(&mut terminate, &mut interrupt).await;
            if told.soft.is_cancelled() {
                tracing::warn!(signal = name, "stopping at once");
                told.stop();
                return;
            }
            tracing::info!(signal = name, "draining; a second signal stops at once");
            told.stop();
        }
    };
    #[expect(clippy::disallowed_methods, reason = "the listener must outlive every drain")]
    tokio::spawn(task);
    Ok(signals)
}

/// Takes the end of standard input for a signal: a process that was started by
/// another drains when that one goes, however it goes.
pub fn stop_at_eof(signals: &Signals) {
    let signals = signals.clone();
    // A thread of its own: the runtime would wait for a blocking read at its end.
    std::thread::spawn(move || {
        let _how_it_ends = io::copy(&mut io::stdin().lock(), &mut io::sink());
        tracing::info!("standard input has ended; draining");
        signals.stop();
    });
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
