//! What a process tells about itself: logs for people or machines, traces over
//! OTLP, metrics for Prometheus.
//!
//! [`init`] is called once by a process; what it returns makes a [`Telemetry`]
//! for each service, and writes and sends what is held back when the process ends.

mod context;
mod lines;
mod log;
mod metrics;
mod trace;

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Stderr, stderr},
    sync::Arc,
    time::Duration,
};

use opentelemetry::{KeyValue, trace::SpanKind};
use opentelemetry_otlp::WithExportConfig as _;
use serde::{Deserialize, Serialize};
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::LevelFilter, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

pub use context::{TRACEPARENT, TRACESTATE, TraceContext};
pub use lines::ACCESS;
use lines::Lines;
pub use metrics::{Histogram, Labels, MethodMetrics, Metrics};
use trace::Traces;
pub(crate) use trace::{Span, Tracer, beneath};

/// What is told, and to whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Text for people or JSON for machines.
    pub log_format: LogFormat,
    /// What is logged, as `tracing` filters are written: `info,chassis=debug`.
    pub log_filter: String,
    /// How long a line of the access log may wait for others, so that they are
    /// written together; `0s` writes each at once, as on a terminal. A process that
    /// is killed loses those that wait.
    #[serde(with = "crate::duration")]
    pub access_log_delay: Duration,
    /// Where spans are sent by OTLP over gRPC (`http://collector:4317`); nowhere
    /// if absent.
    pub otlp_endpoint: Option<String>,
    /// The share of the traces begun here that is recorded, from 0 to 1. Traces
    /// begun elsewhere are recorded if their beginner records them.
    pub sample_ratio: f64,
    /// What else each span says of this process: `service.version`,
    /// `deployment.environment.name`, `service.instance.id`.
    pub attributes: BTreeMap<String, String>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line, for machines.
    Json,
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter cannot be read.
    #[error("the log filter is not understood")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// There is no thread for the log.
    #[error("the log has no thread to be written by")]
    Log(#[from] std::io::Error),
    /// Another subscriber was there first.
    #[error("logging was set up before")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
    /// The ratio is not one.
    #[error("the sample ratio is {0}, and must be from 0 to 1")]
    Ratio(f64),
}

/// The telemetry of a process. Dropping it sends what is held back.
#[derive(Debug)]
pub struct Guard {
    lines: Option<Lines<Stderr>>,
    metrics: Metrics,
    traces: Traces,
    attributes: Vec<KeyValue>,
}

/// What one service tells: its name goes with everything.
#[derive(Debug, Clone)]
pub struct Telemetry {
    service: Arc<str>,
    metrics: Metrics,
    tracer: Option<Tracer>,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Text,
            log_filter: "info".to_owned(),
            access_log_delay: Duration::from_millis(250),
            otlp_endpoint: None,
            sample_ratio: 1.0,
            attributes: BTreeMap::new(),
        }
    }
}

/// Sets up logging for the process, and where traces go. Call it once, inside
/// the runtime.
pub fn init(config: &Config) -> Result<Guard, Error> {
    if !(0.0..=1.0).contains(&config.sample_ratio) {
        return Err(Error::Ratio(config.sample_ratio));
    }
    let filter = EnvFilter::builder().parse(&config.log_filter)?;
    let is_terminal = stderr().is_terminal();
    let delay = if is_terminal { Duration::ZERO } else { config.access_log_delay };
    let written = Lines::to(stderr(), delay)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(written.clone());
    let lines = lines.with_ansi(is_terminal);
    let lines = match config.log_format {
        LogFormat::Text => lines.event_format(log::Text::new(is_terminal)).boxed(),
        LogFormat::Json => lines.fmt_fields(log::JsonFields).event_format(log::Json).boxed(),
    };
    // What handlers open with `info_span!` is recorded beneath their call's span.
    let spans = config.otlp_endpoint.as_ref().map(|_endpoint| {
        tracing_opentelemetry::layer()
            .with_tracer(trace::OfTheCall::new())
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(LevelFilter::INFO)
    });
    tracing_subscriber::registry().with(lines.with_filter(filter)).with(spans).try_init()?;
    let mut guard = Guard::new(config);
    guard.lines = Some(written);
    Ok(guard)
}

// === impl Guard ===

impl Guard {
    /// Metrics and traces as configured, with logging left as it is: for tests
    /// and for processes that log their own way.
    pub fn new(config: &Config) -> Self {
        let traces = match config.otlp_endpoint.clone() {
            None => Traces::off(),
            Some(endpoint) => Traces::to(config.sample_ratio, move || {
                opentelemetry_otlp::SpanExporter::builder()
                    .with_tonic()
                    .with_endpoint(endpoint.clone())
                    .build()
                    .map_err(|error| error.to_string())
            }),
        };
        let attributes = config
            .attributes
            .iter()
            .map(|(key, value)| KeyValue::new(key.clone(), value.clone()))
            .collect();
        Self { lines: None, metrics: Metrics::new(), traces, attributes }
    }

    /// The metrics of the process.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The telemetry of one service of the process.
    pub fn service(&self, name: &str) -> Telemetry {
        let tracer = self.traces.tracer(name, self.attributes.clone());
        Telemetry { service: Arc::from(name), metrics: self.metrics.clone(), tracer }
    }

    /// Writes and sends what is held back. Blocks for a few seconds at most.
    pub fn shutdown(&self) {
        if let Some(lines) = &self.lines {
            lines.flush();
        }
        self.traces.shutdown();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shutdown();
    }
}

// === impl Telemetry ===

impl Telemetry {
    /// Metrics of its own and no traces: for tests.
    pub fn off(service: &str) -> Self {
        Self { service: Arc::from(service), metrics: Metrics::new(), tracer: None }
    }

    /// The service's name.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The metrics of the process.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Who records the spans of this service, if they are recorded.
    pub(crate) fn tracer(&self) -> Option<Tracer> {
        self.tracer.clone()
    }

    /// Opens the span of a call being served.
    pub(crate) fn serve(
        &self,
        method: &MethodMetrics,
        parent: Option<TraceContext>,
    ) -> (TraceContext, Span) {
        match &self.tracer {
            Some(tracer) => tracer.start(SpanKind::Server, method, parent, None),
            None => (parent.unwrap_or_else(TraceContext::start), Span::default()),
        }
    }

    /// Opens the span of a call to a peer.
    pub(crate) fn call(
        &self,
        method: &MethodMetrics,
        parent: Option<TraceContext>,
        peer: &str,
    ) -> (TraceContext, Span) {
        match &self.tracer {
            Some(tracer) => tracer.start(SpanKind::Client, method, parent, Some(peer)),
            None => (parent.unwrap_or_else(TraceContext::start), Span::default()),
        }
    }
}
