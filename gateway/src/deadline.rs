//! How long a caller is willing to wait, whichever way it says so.
//!
//! | header | of | value |
//! |---|---|---|
//! | `grpc-timeout` | gRPC | up to eight digits and one of `H M S m u n`: `500m` |
//! | `Connect-Timeout-Ms` | Connect | up to ten digits, milliseconds: `500` |
//! | `X-Request-Timeout` | REST | seconds, or a number with one of `h m s ms us`: `1.5`, `1.5s`, `500ms` |
//!
//! Of several the shortest holds. What is asked for becomes the call's
//! `grpc-timeout`; from there on it is the chassis' to keep. The deadline of the
//! method's policy is the longest that is granted, and every hop passes on what
//! is left less `deadline_overhead` of the `[peers]` bounds, so that it can still
//! answer when the service behind it could not.

use std::time::Duration;

use chassis::{Fault, serve::timeout};
use contracts::mesh::v1::ErrorReason;
use http::{HeaderMap, HeaderName};

/// Connect's header.
pub(crate) const CONNECT_TIMEOUT: HeaderName = HeaderName::from_static("connect-timeout-ms");
/// The header of clients that speak plain HTTP.
pub(crate) const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");
/// The longest number of Connect's specification, and of ours before the point.
const DIGITS_MAX: usize = 10;
/// Nanoseconds are the finest there is.
const DECIMALS_MAX: u32 = 9;
/// Units of `X-Request-Timeout` in nanoseconds. Without one it is seconds.
const UNITS: [(&str, u128); 6] = [
    ("", 1_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// How long the caller waits, if it says so: the shortest of what it says.
///
/// # Errors
///
/// A value that cannot be read, by the name of its header.
pub(crate) fn asked(headers: &HeaderMap) -> Result<Option<Duration>, Fault> {
    let grpc = timeout::read(headers)?;
    let connect = least(
        headers,
        &CONNECT_TIMEOUT,
        milliseconds,
        "one to ten digits, in milliseconds, such as 500",
    )?;
    let request = least(
        headers,
        &REQUEST_TIMEOUT,
        duration,
        "seconds, or a number with a unit of h, m, s, ms or us, such as 1.5 or 500ms",
    )?;
    Ok([grpc, connect, request].into_iter().flatten().min())
}

/// Makes the deadline that `inbound` asks for, if it asks, that of the call with
/// the headers `call`.
///
/// # Errors
///
/// As [`asked`].
pub(crate) fn carry(inbound: &HeaderMap, call: &mut HeaderMap) -> Result<(), Fault> {
    if let Some(asked) = asked(inbound)? {
        timeout::write(call, asked);
    }
    Ok(())
}

fn least(
    headers: &HeaderMap,
    name: &HeaderName,
    read: impl Fn(&str) -> Option<Duration>,
    form: &str,
) -> Result<Option<Duration>, Fault> {
    let mut least: Option<Duration> = None;
    for value in headers.get_all(name) {
        let asked = value.to_str().ok().and_then(|text| read(text.trim()));
        let asked = asked.ok_or_else(|| malformed(name, form))?;
        least = Some(least.map_or(asked, |least| least.min(asked)));
    }
    Ok(least)
}

#[cold]
fn malformed(name: &HeaderName, form: &str) -> Fault {
    Fault::invalid_argument(ErrorReason::HeaderInvalid)
        .message(format!("`{name}` must be {form}"))
        .violation(name.as_str(), format!("must be {form}"))
}

/// Connect: `[0-9]{1,10}`.
fn milliseconds(text: &str) -> Option<Duration> {
    digits(text, DIGITS_MAX).map(Duration::from_millis)
}

/// `1.5`, `1.5s`, `500ms`.
fn duration(text: &str) -> Option<Duration> {
    let split = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let whole = u128::from(digits(whole, DIGITS_MAX)?);
    let places = u32::try_from(decimals.len()).ok().filter(|places| *places <= DECIMALS_MAX)?;
    let decimals = u128::from(digits(decimals, DIGITS_MAX)?);
    let scale = 10_u128.pow(places);
    let nanoseconds = whole * unit + decimals * unit / scale;
    let seconds = u64::try_from(nanoseconds / 1_000_000_000).ok()?;
    Some(Duration::new(seconds, u32::try_from(nanoseconds % 1_000_000_000).ok()?))
}

fn digits(text: &str, most: usize) -> Option<u64> {
    let fits = (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[track_caller]
    fn asks(pairs: &[(&'static str, &'static str)], expected: Option<Duration>) {
        assert_eq!(asked(&headers(pairs)).unwrap(), expected, "{pairs:?}");
    }

    #[test]
    fn each_header_is_read_in_its_own_units() {
        let half = Some(Duration::from_millis(500));
        asks(&[], None);
        asks(&[("grpc-timeout", "500m")], half);
        asks(&[("connect-timeout-ms", "500")], half);
        asks(&[("x-request-timeout", "0.5")], half);
        asks(&[("x-request-timeout", "0.500s")], half);
        asks(&[("x-request-timeout", "500ms")], half);
        asks(&[("x-request-timeout", "500000us")], half);
        asks(&[("x-request-timeout", "2")], Some(Duration::from_secs(2)));
        asks(&[("x-request-timeout", "1.5m")], Some(Duration::from_secs(90)));
        asks(&[("x-request-timeout", "0")], Some(Duration::ZERO));
        asks(&[("connect-timeout-ms", "9999999999")], Some(Duration::from_millis(9_999_999_999)));
        asks(
            &[("x-request-timeout", "9999999999.999999999h")],
            Some(Duration::new(35_999_999_999_999, 999_996_400)),
        );
    }

    #[test]
    fn the_shortest_of_several_holds() {
        let all =
            [("grpc-timeout", "3S"), ("connect-timeout-ms", "2000"), ("x-request-timeout", "1")];
        asks(&all, Some(Duration::from_secs(1)));
        asks(&all[..2], Some(Duration::from_secs(2)));
        let twice = [("x-request-timeout", "2"), ("x-request-timeout", "1")];
        asks(&twice, Some(Duration::from_secs(1)));

        let mut call = HeaderMap::new();
        carry(&headers(&all), &mut call).unwrap();
        assert_eq!(call[timeout::GRPC_TIMEOUT], "1000000u");
        let mut call = HeaderMap::new();
        carry(&HeaderMap::new(), &mut call).unwrap();
        assert!(call.is_empty());
    }

    #[test]
    fn a_value_that_cannot_be_read_is_refused_by_name() {
        for (name, value) in [
            ("grpc-timeout", "1"),
            ("connect-timeout-ms", ""),
            ("connect-timeout-ms", "1.5"),
            ("connect-timeout-ms", "12345678901"),
            ("connect-timeout-ms", "-1"),
            ("x-request-timeout", ""),
            ("x-request-timeout", "soon"),
            ("x-request-timeout", "1 s"),
            ("x-request-timeout", "1."),
            ("x-request-timeout", ".5"),
            ("x-request-timeout", "1e3"),
            ("x-request-timeout", "+1"),
            ("x-request-timeout", "1d"),
            ("x-request-timeout", "12345678901"),
            ("x-request-timeout", "0.1234567890"),
        ] {
            let fault = asked(&headers(&[(name, value)])).unwrap_err();
            assert!(fault.is(ErrorReason::HeaderInvalid), "{name}: {value}");
            assert!(fault.to_string().contains(name), "{fault}");
        }
    }
}
