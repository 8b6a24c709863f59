//! Log lines. Both formats name the trace of the call that was being served,
//! which they read from the call itself: a call costs nothing until it logs.

use std::fmt;

use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::{Format, Full, Writer},
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

use crate::call;

/// For people: the usual line, with the trace at its end.
#[derive(Debug)]
pub(super) struct Text(Format<Full>);

/// For machines: one object a line.
#[derive(Debug)]
pub(super) struct Json;

/// The fields of a span, kept as an object.
#[derive(Debug)]
pub(super) struct JsonFields;

// === impl Text ===

impl Text {
    pub(super) fn new(is_terminal: bool) -> Self {
        Self(Format::default().with_ansi(is_terminal))
    }
}

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(trace) = trace() else { return self.0.format_event(ctx, writer, event) };
        let mut line = String::new();
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        writeln!(writer, "{} trace_id={}", line.trim_end_matches('\n'), trace.0)
    }
}

// === impl Json ===

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut object = Map::new();
        // Outer spans first, so that what is nearer wins, and the event wins over all.
        for span in ctx.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>()
                && let Ok(Value::Object(fields)) = serde_json::from_str(&fields.fields)
            {
                object.extend(fields);
            }
        }
        event.record(&mut Fields(&mut object));
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        object.insert("timestamp".to_owned(), Value::String(time));
        object.insert("level".to_owned(), Value::String(event.metadata().level().to_string()));
        object.insert("target".to_owned(), Value::String(event.metadata().target().to_owned()));
        if let Some((trace_id, span_id)) = trace() {
            object.insert("trace_id".to_owned(), Value::String(trace_id));
            object.insert("span_id".to_owned(), Value::String(span_id));
        }
        writeln!(writer, "{}", Value::Object(object))
    }
}

// === impl JsonFields ===

impl<'w> FormatFields<'w> for JsonFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut object = Map::new();
        fields.record(&mut Fields(&mut object));
        write!(writer, "{}", Value::Object(object))
    }
}

fn trace() -> Option<(String, String)> {
    call::with(|call| call.map(|call| (call.trace.trace_id_text(), call.trace.span_id_text())))
}

struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
        time::Duration,
    };

    use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt as _};

    use super::*;
    use crate::call::Call;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn say() -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _runtime = runtime.enter();
        let call = Call::begin(Duration::from_secs(1));
        let trace_id = call.trace.trace_id_text();
        let span = tracing::info_span!("task", name = "sweeper");
        span.in_scope(|| {
            call::scope_sync(call, || {
                tracing::info!(order = 7, text = "a\nb \u{1b}[31m", "order placed")
            });
        });
        tracing::info!("outside of calls");
        trace_id
    }

    #[test]
    fn a_line_for_machines_is_one_object_that_names_its_trace() {
        let lines = Lines::default();
        let layer = tracing_subscriber::fmt::layer().with_writer(lines.clone());
        let layer = layer.fmt_fields(JsonFields).event_format(Json);
        let trace_id =
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), say);

        let text = lines.text();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(lines[0]["trace_id"], trace_id);
        assert_eq!(lines[0]["order"], 7);
        assert_eq!(lines[0]["name"], "sweeper");
        assert_eq!(lines[0]["message"], "order placed");
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[1]["trace_id"], Value::Null);
    }

    #[test]
    fn a_line_for_people_ends_with_its_trace_and_nothing_sent_can_begin_another() {
        let lines = Lines::default();
        let layer = tracing_subscriber::fmt::layer().with_writer(lines.clone());
        let layer = layer.with_ansi(false).event_format(Text::new(false));
        let trace_id =
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), say);

        let text = lines.text();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.lines().next().unwrap().ends_with(&format!("trace_id={trace_id}")), "{text}");
        assert!(!text.contains('\u{1b}'));
    }
}
