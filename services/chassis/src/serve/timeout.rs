//! `grpc-timeout`: what is left of a deadline, on the wire.

use std::time::Duration;

use contracts::mesh::v1::ErrorReason;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::Fault;

/// The header.
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The specification's longest number.
const DIGITS_MAX: usize = 8;
const NUMBER_MAX: u128 = 99_999_999;
const FORM: &str = "one to eight digits and a unit of H, M, S, m, u or n, such as 500m";

/// What a caller asks for, if it asks.
pub fn read(headers: &HeaderMap) -> Result<Option<Duration>, Fault> {
    let Some(value) = headers.get(GRPC_TIMEOUT) else { return Ok(None) };
    parse(value.as_bytes()).map(Some).ok_or_else(|| {
        Fault::invalid_argument(ErrorReason::HeaderInvalid)
            .message(format!("`grpc-timeout` must be {FORM}"))
            .violation("grpc-timeout", format!("must be {FORM}"))
    })
}

fn parse(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > DIGITS_MAX {
        return None;
    }
    let mut number: u64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + u64::from(digit - b'0');
    }
    Some(match unit {
        b'H' => Duration::from_secs(number * 3_600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// What is left, in the finest unit that has room for it.
pub fn write(headers: &mut HeaderMap, left: Duration) {
    let (number, unit) =
        [(left.as_micros(), b'u'), (left.as_millis(), b'm'), (u128::from(left.as_secs()), b'S')]
            .into_iter()
            .find(|(number, _)| *number <= NUMBER_MAX)
            .unwrap_or((NUMBER_MAX, b'S'));
    let mut text = [unit; DIGITS_MAX + 1];
    let mut rest = u32::try_from(number).unwrap_or(u32::MAX);
    let mut at = DIGITS_MAX;
    loop {
        at -= 1;
        text[at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 || at == 0 {
            break;
        }
    }
    if let Ok(mut value) = HeaderValue::from_bytes(text.get(at..).unwrap_or_default()) {
        // It hardly ever comes twice: not for HPACK's table.
        value.set_sensitive(true);
        headers.insert(GRPC_TIMEOUT, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(left: Duration) -> String {
        let mut headers = HeaderMap::new();
        write(&mut headers, left);
        headers[GRPC_TIMEOUT].to_str().unwrap().to_owned()
    }

    #[test]
    fn a_timeout_is_read_back_as_it_was_written() {
        for (left, text) in [
            (Duration::ZERO, "0u"),
            (Duration::from_micros(7), "7u"),
            (Duration::from_secs(2), "2000000u"),
            (Duration::from_micros(99_999_999), "99999999u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
        ] {
            assert_eq!(written(left), text);
            assert_eq!(parse(text.as_bytes()), Some(left));
        }
        assert_eq!(written(Duration::MAX), "99999999S");
        assert_eq!(parse(b"1n"), Some(Duration::from_nanos(1)));
        assert_eq!(parse(b"99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        for bad in [&b""[..], b"1", b"S", b"123456789S", b"1 S", b"-1S", b"1s", b"1.5S"] {
            assert_eq!(parse(bad), None);
        }
    }
}
