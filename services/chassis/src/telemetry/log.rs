//! Log lines. Both formats name the trace of the call that was being served,
//! which they read from the call itself: a call costs nothing until it logs.

use std::{cell::RefCell, fmt};

use serde::Serialize;
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
    },
    registry::LookupSpan,
};

use crate::{
    call,
    clock::{Time, system_now},
};

/// Room for a line, without growing for the usual one.
const LINE_BYTES: usize = 512;

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
        let metadata = event.metadata();
        let mut line = Object::with_capacity(LINE_BYTES);
        line.put("timestamp", timestamp(system_now()).as_str());
        line.put("level", metadata.level().as_str());
        line.put("target", metadata.target());
        if let Some((trace_id, span_id)) = trace() {
            line.put("trace_id", trace_id.as_str());
            line.put("span_id", span_id.as_str());
        }
        event.record(&mut Fields { object: &mut line, is_taken: &is_of_the_line });
        // Outer spans first, so that what is nearer wins, and the event wins over all.
        let mut around = Map::new();
        for span in ctx.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>()
                && let Ok(Value::Object(fields)) = serde_json::from_str(&fields.fields)
            {
                around.extend(fields);
            }
        }
        for (name, value) in &around {
            if !is_of_the_line(name) && metadata.fields().field(name).is_none() {
                line.put(name, value);
            }
        }
        writeln!(writer, "{}", line.finish())
    }
}

// === impl JsonFields ===

impl<'w> FormatFields<'w> for JsonFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut object = Object::with_capacity(0);
        fields.record(&mut Fields { object: &mut object, is_taken: &|_| false });
        writer.write_str(&object.finish())
    }
}

thread_local! {
    /// The second that was told last, and its text.
    static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

/// A time as RFC 3339 has it, to the microsecond. Most lines come in the second of
/// the line before.
fn timestamp(time: Time) -> String {
    let mut stamp = time.timestamp();
    let micros = stamp.nanos / 1_000;
    stamp.nanos = 0;
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != stamp.seconds {
            *second = stamp.seconds;
            *text = stamp.to_string();
        }
        format!("{}.{micros:06}Z", text.trim_end_matches('Z'))
    })
}

fn trace() -> Option<(String, String)> {
    call::with(|call| call.map(|call| (call.trace.trace_id_text(), call.trace.span_id_text())))
}

/// What every line has, which no field of an event may stand for.
fn is_of_the_line(name: &str) -> bool {
    matches!(name, "timestamp" | "level" | "target" | "trace_id" | "span_id")
}

/// A JSON object that is written member by member.
struct Object(Vec<u8>);

/// Writes fields into an object, but those whose names are taken.
struct Fields<'a> {
    object: &'a mut Object,
    is_taken: &'a dyn Fn(&str) -> bool,
}

// === impl Object ===

impl Object {
    fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        let Self(out) = self;
        out.push(if out.is_empty() { b'{' } else { b',' });
        // Neither can fail: a name is text, a value is text or a number.
        let written = if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.push(b'"');
            Ok(())
        } else {
            serde_json::to_writer(&mut *out, name)
        };
        out.push(b':');
        let written = written.and_then(|()| serde_json::to_writer(&mut *out, value));
        debug_assert!(written.is_ok(), "{name} is not written");
    }

    fn finish(self) -> String {
        let Self(mut out) = self;
        if out.is_empty() {
            out.push(b'{');
        }
        out.push(b'}');
        String::from_utf8(out).unwrap_or_default()
    }
}

// === impl Fields ===

impl Fields<'_> {
    fn put<T: Serialize + ?Sized>(&mut self, field: &Field, value: &T) {
        if !(self.is_taken)(field.name()) {
            self.object.put(field.name(), value);
        }
    }
}

impl Visit for Fields<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").as_str());
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
        let outer =
            tracing::info_span!("outer", name = "outer", order = 1, target = "x", depth = 1);
        let entered = outer.enter();
        let span = tracing::info_span!("task", name = "sweeper");
        span.in_scope(|| {
            call::scope_sync(call, || {
                tracing::info!(
                    order = 7,
                    "a \"name\"" = 1,
                    text = "a\nb \u{1b}[31m",
                    level = "mine",
                    ratio = f64::NAN,
                    "order placed"
                )
            });
        });
        drop(entered);
        tracing::info!("outside of calls");
        trace_id
    }

    #[test]
    fn a_time_is_told_to_the_microsecond_in_any_second() {
        for (seconds, nanos, text) in [
            (1_795_312_254, 123_456_789, "2026-11-22T01:50:54.123456Z"),
            (1_795_312_254, 7_999, "2026-11-22T01:50:54.000007Z"),
            (1_795_312_255, 0, "2026-11-22T01:50:55.000000Z"),
        ] {
            let stamp = prost_types::Timestamp { seconds, nanos };
            assert_eq!(timestamp(stamp.into()), text);
        }
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
        assert_eq!(lines[0]["a \"name\""], 1);
        assert_eq!(lines[0]["name"], "sweeper");
        assert_eq!(lines[0]["message"], "order placed");
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[0]["target"], module_path!());
        assert_eq!(lines[0]["depth"], 1);
        assert_eq!(lines[0]["text"], "a\nb \u{1b}[31m");
        assert_eq!(lines[0]["ratio"], Value::Null);
        // A reader takes one of two members of a name, and who knows which.
        let first = text.lines().next().unwrap();
        for name in ["timestamp", "level", "target", "trace_id", "name", "order"] {
            assert_eq!(first.matches(&format!("\"{name}\":")).count(), 1, "{name}: {first}");
        }
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
