//! A service as a process of its own: what its one-line `main` calls, and what
//! `mercat serve` does.

use std::{
    io::Write as _, net::SocketAddr, num::NonZeroUsize, path::PathBuf, process::ExitCode,
    time::Duration,
};

use clap::Parser;
use tokio::runtime::{Builder, Runtime};

use crate::{
    Contract, Settings,
    admin::Admin,
    lifecycle,
    service::{Error, Host, Launch, Service, launch},
    settings::Sources,
    telemetry,
};

/// `EX_USAGE` of sysexits.h: the command line or the settings are wrong.
pub const EXIT_USAGE: u8 = 64;
/// `EX_UNAVAILABLE`: something the service stands on is not there.
pub const EXIT_UNAVAILABLE: u8 = 69;

/// The flags of a service.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// Read settings from this TOML file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Serve gRPC on this address [default: 0.0.0.0:50051].
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Serve /metrics, /healthz and /readyz on this address.
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<String>,
    /// Set any setting: `--set database.url=postgres://…`. Repeatable; wins over
    /// the file and the environment.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = assignment)]
    pub set: Vec<(String, String)>,
    /// Print the effective settings, secrets masked, and exit.
    #[arg(long)]
    pub check: bool,
    /// Drain when standard input ends: whoever started this process holds it.
    #[arg(long, hide = true)]
    pub until_eof: bool,
}

#[derive(Debug, Parser)]
#[command(version, about, long_about = None)]
struct Command {
    #[command(flatten)]
    flags: Flags,
}

// === impl Flags ===

impl Flags {
    /// The four layers: defaults, the file, the environment, these flags.
    pub fn sources(&self) -> Sources {
        let mut sources = Sources::process(self.config.clone());
        sources
            .flags
            .extend(self.listen.iter().map(|address| ("listen.grpc".to_owned(), address.clone())));
        sources
            .flags
            .extend(self.admin.iter().map(|address| ("listen.admin".to_owned(), address.clone())));
        sources.flags.extend(self.set.iter().cloned());
        sources
    }

    /// The signals of the process, and the end of its standard input if that counts.
    pub fn signals(&self) -> Result<lifecycle::Signals, Error> {
        let signals = lifecycle::signal().map_err(|error| {
            Error::Build("signals cannot be listened for".to_owned(), Some(error.into()))
        })?;
        if self.until_eof {
            lifecycle::stop_at_eof(&signals);
        }
        Ok(signals)
    }
}

/// Reads `section.key=value`.
pub fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if key.contains('.') => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as section.key=value".to_owned()),
    }
}

/// Runs one service until it is told to stop: the whole of its `main`.
pub fn run<S: Service>() -> ExitCode {
    let Command { flags } = Command::parse();
    run_launch(&*launch::<S>(), &flags)
}

/// As [`run`], for a service known by its launcher.
pub fn run_launch(service: &dyn Launch, flags: &Flags) -> ExitCode {
    match try_run(service, flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Tells a person what went wrong, and the caller by the exit code.
pub fn fail(error: &Error) -> ExitCode {
    let mut text = format!("error: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    let _nobody_listens = writeln!(std::io::stderr(), "{text}");
    ExitCode::from(match error {
        Error::Settings(_) | Error::Telemetry(_) => EXIT_USAGE,
        Error::Contract(_) | Error::Store { .. } | Error::Listen { .. } | Error::Build(..) => {
            EXIT_UNAVAILABLE
        }
    })
}

fn try_run(service: &dyn Launch, flags: &Flags) -> Result<(), Error> {
    let contract = Contract::embedded()?;
    let settings = Settings::load(&flags.sources(), &contract.service_names())?;
    let own = service.show(&settings)?;
    if flags.check {
        let _nobody_listens = write!(std::io::stdout(), "{}\n{own}", settings.show());
        return Ok(());
    }
    runtime()?.block_on(serve(service, &settings, flags))
}

/// Cores that this process may run on.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// What a process runs on: a thread for each core. With one core there is nobody to
/// share work with, and a runtime that knows so wakes nobody for it.
pub fn runtime() -> Result<Runtime, Error> {
    let mut builder = match cores() {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder
        .enable_all()
        .build()
        .map_err(|error| Error::Build("the runtime cannot be made".to_owned(), Some(error.into())))
}

async fn serve(service: &dyn Launch, settings: &Settings, flags: &Flags) -> Result<(), Error> {
    let signals = flags.signals()?;
    let telemetry = telemetry::init(&settings.telemetry)?;
    let host = Host::new(settings, telemetry)?;
    if settings.mesh.mesh_key_file.is_none() {
        tracing::warn!(
            "mesh.mesh_key_file is not set: other processes will not trust this service, nor it them"
        );
    }
    let running = service.start(&host, settings).await?;
    let admin = Admin::new(host.telemetry.metrics().clone());
    admin.add(running.name(), running.health().clone());
    let bound = serve_admin(admin, &settings.listen.admin, signals.hard()).await?;
    if let Some(address) = bound {
        tracing::info!(%address, "serving the admin page");
    }
    signals.soft().cancelled().await;
    let hard = signals.hard();
    tokio::select! {
        () = running.stop() => {}
        () = hard.cancelled() => {}
    }
    hard.cancel();
    let telemetry = host.telemetry.clone();
    let _flushed = tokio::time::timeout(
        Duration::from_secs(5),
        tokio::task::spawn_blocking(move || telemetry.shutdown()),
    )
    .await;
    Ok(())
}

/// Serves the admin page, if it has an address; gives the one that was bound.
pub async fn serve_admin(
    admin: Admin,
    address: &str,
    shutdown: tokio_util::sync::CancellationToken,
) -> Result<Option<SocketAddr>, Error> {
    if address.is_empty() {
        return Ok(None);
    }
    let listener = Admin::bind(address).await?;
    let bound = listener.address();
    #[expect(
        clippy::disallowed_methods,
        reason = "the admin page outlives every service it tells of"
    )]
    tokio::spawn(admin.serve(listener, shutdown));
    Ok(Some(bound))
}
