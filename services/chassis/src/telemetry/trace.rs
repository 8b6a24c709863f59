//! Spans: one for each call served and one for each call made, with
//! OpenTelemetry's RPC conventions, exported over OTLP when that is configured.
//!
//! Every service has a tracer of its own, so that in a process of many each span
//! still says whose it is. Where nothing is recorded a trace context passes
//! through unchanged: a made-up span id would break the tree for whoever records.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::HeaderValue;
use opentelemetry::{
    Context, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{
        Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, TraceState,
        Tracer as _, TracerProvider as _,
    },
};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracer, SdkTracerProvider, SpanExporter},
};
use tonic::Code;

use super::{MethodMetrics, TraceContext};
use crate::call;

/// How long the last spans may take to leave when the process stops.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

type Export = dyn Fn(Resource, Sampler) -> Option<SdkTracerProvider> + Send + Sync;

/// Where spans go, and whose they are.
#[derive(Clone)]
pub(super) struct Traces(Arc<Shared>);

struct Shared {
    /// Makes a provider; `None` when spans go nowhere.
    export: Option<Box<Export>>,
    sample_ratio: f64,
    providers: Mutex<Vec<SdkTracerProvider>>,
}

/// Makes the spans of one service.
#[derive(Debug, Clone)]
pub(crate) struct Tracer(SdkTracer);

/// A span that is open, or none.
#[derive(Default)]
pub(crate) struct Span(Option<Box<Recording>>);

struct Recording {
    span: opentelemetry_sdk::trace::Span,
    kind: SpanKind,
}

// === impl Traces ===

impl Traces {
    /// Spans go nowhere.
    pub(super) fn off() -> Self {
        Self(Arc::new(Shared { export: None, sample_ratio: 0.0, providers: Mutex::default() }))
    }

    /// Spans go to exporters that `make` makes, one for each service.
    pub(super) fn to<E, M>(sample_ratio: f64, make: M) -> Self
    where
        E: SpanExporter + 'static,
        M: Fn() -> Result<E, String> + Send + Sync + 'static,
    {
        let export = move |resource: Resource, sampler: Sampler| match make() {
            Ok(exporter) => Some(
                SdkTracerProvider::builder()
                    .with_batch_exporter(exporter)
                    .with_resource(resource)
                    .with_sampler(Sampler::ParentBased(Box::new(sampler)))
                    .build(),
            ),
            Err(error) => {
                tracing::error!(error, "traces cannot be exported");
                None
            }
        };
        Self(Arc::new(Shared {
            export: Some(Box::new(export)),
            sample_ratio,
            providers: Mutex::default(),
        }))
    }

    /// The tracer of a service, if spans go anywhere.
    pub(super) fn tracer(&self, service: &str, attributes: Vec<KeyValue>) -> Option<Tracer> {
        let export = self.0.export.as_ref()?;
        let resource = Resource::builder_empty()
            .with_service_name(service.to_owned())
            .with_attributes(attributes)
            .build();
        let provider = export(resource, Sampler::TraceIdRatioBased(self.0.sample_ratio))?;
        let tracer = provider.tracer("mercat");
        self.0.providers.lock().unwrap_or_else(PoisonError::into_inner).push(provider);
        Some(Tracer(tracer))
    }

    /// Sends what is still held back. Blocks for a few seconds at most.
    pub(super) fn shutdown(&self) {
        let providers =
            std::mem::take(&mut *self.0.providers.lock().unwrap_or_else(PoisonError::into_inner));
        for provider in providers {
            if let Err(error) = provider.shutdown_with_timeout(FLUSH_TIMEOUT) {
                tracing::warn!(%error, "the last spans could not be exported");
            }
        }
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").field("on", &self.0.export.is_some()).finish_non_exhaustive()
    }
}

// === impl Tracer ===

impl Tracer {
    /// Opens the span of a call, under its parent, and says what comes next in
    /// the trace.
    pub(crate) fn start(
        &self,
        kind: SpanKind,
        method: &MethodMetrics,
        parent: Option<TraceContext>,
        peer: Option<&str>,
    ) -> (TraceContext, Span) {
        if let Some(parent) = &parent
            && !parent.is_sampled()
        {
            return (parent.clone(), Span::default());
        }
        let mut attributes = vec![
            KeyValue::new("rpc.system.name", "grpc"),
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", method.rpc_service().to_owned()),
            KeyValue::new("rpc.method", method.rpc_method().to_owned()),
        ];
        if let Some(peer) = peer {
            attributes.push(KeyValue::new("peer.service", peer.to_owned()));
        }
        let context = match &parent {
            None => Context::new(),
            Some(parent) if kind == SpanKind::Client => innermost(parent),
            Some(parent) => beneath(parent),
        };
        let span = self
            .0
            .span_builder(format!("{}/{}", method.rpc_service(), method.rpc_method()))
            .with_kind(kind.clone())
            .with_attributes(attributes)
            .start_with_context(&self.0, &context);
        let state = parent.as_ref().and_then(TraceContext::state).cloned();
        let next = trace_context(span.span_context(), state);
        (
            next,
            if span.is_recording() {
                Span(Some(Box::new(Recording { span, kind })))
            } else {
                Span::default()
            },
        )
    }
}

/// The tracer of `tracing`'s own spans: that of the service whose call is being
/// served. Outside of calls nothing is recorded.
#[derive(Debug)]
pub(super) struct OfTheCall {
    nobody: SdkTracer,
}

impl OfTheCall {
    pub(super) fn new() -> Self {
        let provider = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).build();
        Self { nobody: provider.tracer("nobody") }
    }
}

impl opentelemetry::trace::Tracer for OfTheCall {
    type Span = opentelemetry_sdk::trace::Span;

    fn build_with_context(&self, builder: SpanBuilder, context: &Context) -> Self::Span {
        call::with_tracer(|found| match found {
            Some(tracer) => tracer.0.build_with_context(builder, context),
            None => self.nobody.build_with_context(builder, context),
        })
    }
}

/// The context of what is opened where a call stands.
pub(crate) fn beneath(trace: &TraceContext) -> Context {
    Context::new().with_remote_span_context(span_context(trace))
}

/// The context of what is opened by a handler: beneath the innermost span that it
/// has open, if that is of the same trace.
fn innermost(trace: &TraceContext) -> Context {
    let active = Context::current();
    if active.span().span_context().trace_id().to_bytes() == trace.trace_id() {
        active
    } else {
        beneath(trace)
    }
}

// === impl Span ===

impl Span {
    /// Ends the span with the code of its call.
    pub(crate) fn end(&mut self, code: Code) {
        let Some(recording) = self.0.take() else { return };
        let Recording { mut span, kind } = *recording;
        span.set_attribute(KeyValue::new("rpc.grpc.status_code", i64::from(i32::from(code))));
        if is_failure_of_server(code) || kind == SpanKind::Client && code != Code::Ok {
            span.set_status(Status::error(code.description()));
        }
        span.end();
    }

    /// Notes that the call was made again.
    pub(crate) fn retried(&mut self, because: &str) {
        if let Some(recording) = &mut self.0 {
            recording.span.add_event("retry", vec![KeyValue::new("because", because.to_owned())]);
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Span").field(&self.0.is_some()).finish()
    }
}

/// What the conventions call an error of the server: not what the caller did wrong.
fn is_failure_of_server(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

fn span_context(context: &TraceContext) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(context.trace_id()),
        SpanId::from_bytes(context.span_id()),
        if context.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::default() },
        true,
        TraceState::NONE,
    )
}

fn trace_context(context: &SpanContext, state: Option<HeaderValue>) -> TraceContext {
    TraceContext::from_parts(
        context.trace_id().to_bytes(),
        context.span_id().to_bytes(),
        context.is_sampled(),
        state,
    )
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::{error::OTelSdkResult, trace::SpanData};
    use tokio::time::Instant;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::{
        call::Call,
        telemetry::{Metrics, Telemetry},
    };

    /// Keeps what is exported, with the name of the service it is from.
    #[derive(Debug, Clone, Default)]
    struct Kept {
        service: String,
        spans: Arc<Mutex<Vec<(String, SpanData)>>>,
    }

    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.spans
                .lock()
                .unwrap()
                .extend(batch.into_iter().map(|span| (self.service.clone(), span)));
            Ok(())
        }

        fn set_resource(&mut self, resource: &Resource) {
            self.service = resource
                .get(&"service.name".into())
                .map(|name| name.to_string())
                .unwrap_or_default();
        }
    }

    fn telemetry(traces: &Traces, service: &str) -> Telemetry {
        let tracer = traces.tracer(service, Vec::new());
        Telemetry { service: Arc::from(service), metrics: Metrics::new(), tracer }
    }

    #[test]
    fn a_call_through_two_services_is_one_tree_and_each_span_says_whose_it_is() {
        let kept = Kept::default();
        let exporter = kept.clone();
        let traces = Traces::to(1.0, move || Ok(exporter.clone()));
        let (front, back) = (telemetry(&traces, "storefront"), telemetry(&traces, "catalog"));
        let method = front
            .metrics()
            .server_method("storefront", "/mercat.catalog.v1.PricingService/ResolvePrices");
        let subscriber = tracing_subscriber::registry()
            .with(tracing_opentelemetry::layer().with_tracer(OfTheCall::new()));

        tracing::subscriber::with_default(subscriber, || {
            let (trace, mut served) = front.serve(&method, None);
            let call = Call { deadline: Instant::now(), trace, authorization: None };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(call::scope_of(call, front.tracer(), async {
                let span = tracing::info_span!("price the cart");
                let _entered = span.enter();
                let parent = call::current().map(|call| call.trace);
                let (trace, mut made) = front.call(&method, parent, "catalog");
                let (_, mut inner) = back.serve(&method, Some(trace));
                inner.end(Code::NotFound);
                made.end(Code::NotFound);
            }));
            served.end(Code::Ok);
        });
        tracing::info_span!("outside of calls").in_scope(|| {});
        traces.shutdown();

        let spans = kept.spans.lock().unwrap();
        let mut names: Vec<(&str, &str)> =
            spans.iter().map(|(service, span)| (service.as_str(), span.name.as_ref())).collect();
        names.sort_unstable();
        let rpc = "mercat.catalog.v1.PricingService/ResolvePrices";
        assert_eq!(
            names,
            [
                ("catalog", rpc),
                ("storefront", rpc),
                ("storefront", rpc),
                ("storefront", "price the cart")
            ]
        );
        let mut parent = SpanId::INVALID;
        for (service, name, kind) in [
            ("storefront", rpc, SpanKind::Server),
            ("storefront", "price the cart", SpanKind::Internal),
            ("storefront", rpc, SpanKind::Client),
            ("catalog", rpc, SpanKind::Server),
        ] {
            let (_, span) = spans
                .iter()
                .find(|(of, span)| of == service && span.name == name && span.span_kind == kind)
                .unwrap();
            assert_eq!(span.parent_span_id, parent, "{service} {name} {kind:?}");
            assert_eq!(span.span_context.trace_id(), spans[0].1.span_context.trace_id());
            parent = span.span_context.span_id();
        }
        let failed: Vec<_> =
            spans.iter().filter(|(_, span)| span.status != Status::Unset).collect();
        assert_eq!(failed.len(), 1, "NOT_FOUND is a failure to the client alone");
    }

    #[test]
    fn what_nobody_records_passes_through_unchanged() {
        let sent = TraceContext::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
            .unwrap();
        let kept = Kept::default();
        let exporter = kept.clone();
        let traces = Traces::to(1.0, move || Ok(exporter.clone()));
        for telemetry in [Telemetry::off("catalog"), telemetry(&traces, "catalog")] {
            let method = telemetry.metrics().server_method("catalog", "/a.B/C");
            let (trace, mut span) = telemetry.serve(&method, Some(sent.clone()));
            assert_eq!(trace, sent);
            span.end(Code::Ok);
        }
        traces.shutdown();
        assert!(kept.spans.lock().unwrap().is_empty());
    }
}
