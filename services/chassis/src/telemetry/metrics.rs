//! Counters, gauges and latencies, as Prometheus reads them.
//!
//! Names follow OpenTelemetry's RPC conventions where they have one. Handles are
//! looked up once, when a method or a peer becomes known: a call touches atomics
//! only.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet, text},
    metrics::{MetricType, counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use tonic::Code;

/// The labels of a series: few, and never from what a client sends.
pub type Labels = Vec<(&'static str, String)>;

/// Upper bounds of the latency buckets, in nanoseconds.
const BOUNDS: [u64; 16] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Every metric of a process. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Mutex<Registry>,
    server: Arc<Durations>,
    client: Arc<Durations>,
    in_flight: Family<Labels, Gauge>,
    shed: Family<Labels, Counter>,
    panics: Family<Labels, Counter>,
    retries: Family<Labels, Counter>,
    retries_refused: Family<Labels, Counter>,
    breaker_open: Family<Labels, Gauge>,
    connections: Family<Labels, Gauge>,
    connections_refused: Family<Labels, Counter>,
}

/// A distribution of durations on atomics.
#[derive(Debug)]
pub struct Histogram {
    /// One per bound, and one for what is beyond the last.
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

/// The latencies of one method, by the code it ended with.
pub struct MethodMetrics {
    service: String,
    rpc_service: String,
    rpc_method: String,
    by_code: [OnceLock<Box<Histogram>>; CODES.len()],
}

/// The latencies of every method of one side.
struct Durations {
    name: &'static str,
    help: &'static str,
    /// By service and path.
    methods: RwLock<BTreeMap<(String, String), Arc<MethodMetrics>>>,
}

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A registry of its own.
    pub fn new() -> Self {
        let inner = Inner {
            registry: Mutex::new(Registry::default()),
            server: Arc::new(Durations::new(
                "rpc_server_call_duration",
                "How long served calls took",
            )),
            client: Arc::new(Durations::new(
                "rpc_client_call_duration",
                "How long calls to peers took, with retries",
            )),
            in_flight: Family::default(),
            shed: Family::default(),
            panics: Family::default(),
            retries: Family::default(),
            retries_refused: Family::default(),
            breaker_open: Family::default(),
            connections: Family::default(),
            connections_refused: Family::default(),
        };
        let metrics = Self(Arc::new(inner));
        let inner = &metrics.0;
        metrics.register(|registry| {
            registry.register_collector(Box::new(Arc::clone(&inner.server)));
            registry.register_collector(Box::new(Arc::clone(&inner.client)));
            registry.register(
                "mesh_calls_in_flight",
                "Calls being served",
                inner.in_flight.clone(),
            );
            registry.register(
                "mesh_calls_shed",
                "Calls refused because too many were in flight",
                inner.shed.clone(),
            );
            registry.register("mesh_panics", "Calls whose handler panicked", inner.panics.clone());
            registry.register("mesh_retries", "Calls to peers made again", inner.retries.clone());
            registry.register(
                "mesh_retries_refused",
                "Calls to peers not made again because the retry budget was used up",
                inner.retries_refused.clone(),
            );
            registry.register(
                "mesh_breaker_open",
                "1 while calls to an endpoint fail fast",
                inner.breaker_open.clone(),
            );
            registry.register(
                "mesh_connections",
                "Open inbound connections",
                inner.connections.clone(),
            );
            registry.register(
                "mesh_connections_refused",
                "Inbound connections and streams closed for what their peer did, by cause",
                inner.connections_refused.clone(),
            );
        });
        metrics
    }

    /// Adds metrics of one's own.
    pub fn register<T>(&self, add: impl FnOnce(&mut Registry) -> T) -> T {
        add(&mut self.0.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Everything, in the OpenMetrics text format.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.0.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(page)
    }

    /// The handle of a served method.
    pub(crate) fn server_method(&self, service: &str, path: &str) -> Arc<MethodMetrics> {
        self.0.server.method(service, path)
    }

    /// The handle of a method called on a peer.
    pub(crate) fn client_method(&self, service: &str, path: &str) -> Arc<MethodMetrics> {
        self.0.client.method(service, path)
    }

    pub(crate) fn in_flight(&self, service: &str) -> Gauge {
        self.0.in_flight.get_or_create_owned(&of(service))
    }

    pub(crate) fn shed(&self, service: &str) -> Counter {
        self.0.shed.get_or_create_owned(&of(service))
    }

    pub(crate) fn panics(&self, service: &str) -> Counter {
        self.0.panics.get_or_create_owned(&of(service))
    }

    pub(crate) fn retries(&self, service: &str, peer: &str) -> Counter {
        self.0.retries.get_or_create_owned(&to(service, peer))
    }

    pub(crate) fn retries_refused(&self, service: &str, peer: &str) -> Counter {
        self.0.retries_refused.get_or_create_owned(&to(service, peer))
    }

    pub(crate) fn breaker_open(&self, service: &str, peer: &str, endpoint: &str) -> Gauge {
        let mut labels = to(service, peer);
        labels.push(("endpoint", endpoint.to_owned()));
        self.0.breaker_open.get_or_create_owned(&labels)
    }

    pub(crate) fn connections(&self, listener: &str) -> Gauge {
        self.0.connections.get_or_create_owned(&vec![("listener", listener.to_owned())])
    }

    pub(crate) fn connections_refused(&self, listener: &str, cause: &str) -> Counter {
        self.0.connections_refused.get_or_create_owned(&vec![
            ("listener", listener.to_owned()),
            ("cause", cause.to_owned()),
        ])
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn of(service: &str) -> Labels {
    vec![("service", service.to_owned())]
}

fn to(service: &str, peer: &str) -> Labels {
    vec![("service", service.to_owned()), ("peer", peer.to_owned())]
}

// === impl Histogram ===

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| AtomicU64::new(0)), nanos: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < nanos);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds =
            BOUNDS.iter().map(|bound| Duration::from_nanos(*bound).as_secs_f64()).chain([f64::MAX]);
        bounds
            .zip(&self.counts)
            .map(|(bound, count)| (bound, count.load(Ordering::Relaxed)))
            .collect()
    }
}

// === impl MethodMetrics ===

impl MethodMetrics {
    /// Counts one call.
    pub(crate) fn observe(&self, code: Code, took: Duration) {
        if let Some(slot) =
            usize::try_from(i32::from(code)).ok().and_then(|code| self.by_code.get(code))
        {
            slot.get_or_init(Box::default).observe(took);
        }
    }

    /// `mercat.catalog.v1.ProductService`.
    pub(crate) fn rpc_service(&self) -> &str {
        &self.rpc_service
    }

    /// `GetProduct`.
    pub(crate) fn rpc_method(&self) -> &str {
        &self.rpc_method
    }
}

impl fmt::Debug for MethodMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MethodMetrics({}/{})", self.rpc_service, self.rpc_method)
    }
}

// === impl Durations ===

impl Durations {
    fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help, methods: RwLock::default() }
    }

    fn method(&self, service: &str, path: &str) -> Arc<MethodMetrics> {
        let mut methods = self.methods.write().unwrap_or_else(PoisonError::into_inner);
        let method = methods.entry((service.to_owned(), path.to_owned())).or_insert_with(|| {
            let (rpc_service, rpc_method) =
                path.trim_start_matches('/').split_once('/').unwrap_or((path, ""));
            Arc::new(MethodMetrics {
                service: service.to_owned(),
                rpc_service: rpc_service.to_owned(),
                rpc_method: rpc_method.to_owned(),
                by_code: std::array::from_fn(|_| OnceLock::new()),
            })
        });
        Arc::clone(method)
    }
}

impl fmt::Debug for Durations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durations").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Collector for Durations {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut family = encoder.encode_descriptor(
            self.name,
            self.help,
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for method in self.methods.read().unwrap_or_else(PoisonError::into_inner).values() {
            for (histogram, code) in method.by_code.iter().zip(CODES) {
                let Some(histogram) = histogram.get() else { continue };
                let labels = [
                    ("service", method.service.as_str()),
                    ("rpc_service", method.rpc_service.as_str()),
                    ("rpc_method", method.rpc_method.as_str()),
                    ("rpc_response_status_code", code),
                ];
                let buckets = histogram.buckets();
                let sum =
                    Duration::from_nanos(histogram.nanos.load(Ordering::Relaxed)).as_secs_f64();
                let count = buckets.iter().map(|(_, count)| count).sum();
                family
                    .encode_family(&labels)?
                    .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_shows_on_the_page_under_its_method_and_code() {
        let metrics = Metrics::new();
        let method =
            metrics.server_method("catalog", "/mercat.catalog.v1.ProductService/GetProduct");
        method.observe(Code::NotFound, Duration::from_micros(300));
        metrics.shed("catalog").inc();

        let page = metrics.encode().unwrap();

        let series = "service=\"catalog\",rpc_service=\"mercat.catalog.v1.ProductService\",\
                      rpc_method=\"GetProduct\",rpc_response_status_code=\"NOT_FOUND\"";
        assert!(
            page.contains(&format!("rpc_server_call_duration_seconds_count{{{series}}} 1")),
            "{page}"
        );
        assert!(page.contains(&format!(
            "rpc_server_call_duration_seconds_bucket{{le=\"0.00025\",{series}}} 0"
        )));
        assert!(page.contains("mesh_calls_shed_total{service=\"catalog\"} 1"), "{page}");
        assert!(page.ends_with("# EOF\n"));
    }
}
