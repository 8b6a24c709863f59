//! Where a call stands in its trace: W3C `traceparent` and `tracestate`.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::random;

/// The header that carries trace id, parent span and flags.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header that carries what other vendors keep with the trace.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// `tracestate` longer than this is dropped, as the specification allows.
const TRACESTATE_BYTES_MAX: usize = 512;
/// `00-<32>-<16>-<2>`.
const TRACEPARENT_BYTES: usize = 55;
const SAMPLED: u8 = 0x01;
/// Sampled, and "the trace id is random": the flags the specification knows.
const FLAGS_KNOWN: u8 = 0x03;

/// A position in a trace: which trace, which span is the parent of what comes
/// next, and whether anybody records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
    state: Option<HeaderValue>,
}

// === impl TraceContext ===

impl TraceContext {
    /// The root of a new trace that nobody records.
    pub fn start() -> Self {
        let mut trace_id = [0; 16];
        let (high, low) = trace_id.split_at_mut(8);
        high.copy_from_slice(&random::bits().to_be_bytes());
        low.copy_from_slice(&(random::bits() | 1).to_be_bytes());
        Self { trace_id, span_id: span_id(), flags: 0, state: None }
    }

    /// From its parts, as a tracer gives them.
    pub(crate) fn from_parts(
        trace_id: [u8; 16],
        span_id: [u8; 8],
        sampled: bool,
        state: Option<HeaderValue>,
    ) -> Self {
        Self { trace_id, span_id, flags: if sampled { SAMPLED } else { 0 }, state }
    }

    /// What a caller sent, if it is well-formed.
    pub fn extract(headers: &HeaderMap) -> Option<Self> {
        let mut context = Self::parse(headers.get(TRACEPARENT)?.as_bytes())?;
        context.state = headers
            .get(TRACESTATE)
            .filter(|state| state.len() <= TRACESTATE_BYTES_MAX && !state.is_empty())
            .cloned();
        Some(context)
    }

    /// Reads a `traceparent`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() < TRACEPARENT_BYTES {
            return None;
        }
        let (head, tail) = text.split_at(TRACEPARENT_BYTES);
        let version: [u8; 1] = unhex(head.get(0..2)?)?;
        // Later versions may append fields; version 0 may not, and 255 is no version.
        if version == [255]
            || (version == [0] && !tail.is_empty())
            || !matches!(tail.first(), None | Some(b'-'))
        {
            return None;
        }
        if head.get(2) != Some(&b'-') || head.get(35) != Some(&b'-') || head.get(52) != Some(&b'-')
        {
            return None;
        }
        let trace_id: [u8; 16] = unhex(head.get(3..35)?)?;
        let span_id: [u8; 8] = unhex(head.get(36..52)?)?;
        let [flags]: [u8; 1] = unhex(head.get(53..55)?)?;
        if trace_id == [0; 16] || span_id == [0; 8] {
            return None;
        }
        Some(Self { trace_id, span_id, flags: flags & FLAGS_KNOWN, state: None })
    }

    /// Writes the headers of an outgoing call.
    pub fn inject(&self, headers: &mut HeaderMap) {
        if let Ok(mut value) = HeaderValue::from_bytes(&self.encode()) {
            // No two calls have the same: in HPACK's table it would only push out what
            // calls do have in common (RFC 7541, section 6.2.3).
            value.set_sensitive(true);
            headers.insert(TRACEPARENT, value);
        }
        match &self.state {
            Some(state) => {
                headers.insert(TRACESTATE, state.clone());
            }
            None => {
                headers.remove(TRACESTATE);
            }
        }
    }

    /// The `traceparent` as text, to be kept with an event.
    pub fn traceparent(&self) -> String {
        String::from_utf8_lossy(&self.encode()).into_owned()
    }

    /// The trace id in hexadecimal.
    pub fn trace_id_text(&self) -> String {
        let mut text = [0; 32];
        hex(&self.trace_id, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The span id in hexadecimal.
    pub fn span_id_text(&self) -> String {
        let mut text = [0; 16];
        hex(&self.span_id, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Which trace.
    pub fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// Which span is the parent of what comes next.
    pub fn span_id(&self) -> [u8; 8] {
        self.span_id
    }

    /// Whether somebody records this trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// What other vendors keep with the trace.
    pub(crate) fn state(&self) -> Option<&HeaderValue> {
        self.state.as_ref()
    }

    fn encode(&self) -> [u8; TRACEPARENT_BYTES] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let (head, rest) = text.split_at_mut(35);
        hex(&self.trace_id, head.split_at_mut(3).1);
        let (middle, flags) = rest.split_at_mut(17);
        hex(&self.span_id, middle.split_at_mut(1).1);
        hex(&[self.flags], flags.split_at_mut(1).1);
        text
    }
}

fn span_id() -> [u8; 8] {
    (random::bits() | 1).to_be_bytes()
}

fn hex(bytes: &[u8], out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(out.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0x0f)];
    }
}

/// Lower-case hexadecimal only, as the specification has it.
fn unhex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    fn digit(byte: u8) -> Option<u8> {
        match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        }
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written_unchanged() {
        let context = TraceContext::parse(SENT).unwrap();
        assert!(context.is_sampled());
        assert_eq!(context.trace_id_text(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id_text(), "00f067aa0ba902b7");
        assert_eq!(context.traceparent().as_bytes(), SENT);
    }

    #[test]
    fn malformed_traceparents_are_ignored() {
        for bad in [
            &b""[..],
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            b"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            b"00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{}", String::from_utf8_lossy(bad));
        }
        assert!(
            TraceContext::parse(b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more")
                .is_some()
        );
    }
}
