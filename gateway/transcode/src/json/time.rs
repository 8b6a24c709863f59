//! Timestamps and durations as text.

use crate::{
    decimal::{Short, eight_digits, parse_eight},
    wire::index,
};

/// 0001-01-01T00:00:00Z.
const FIRST_SECOND: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z.
const LAST_SECOND: i64 = 253_402_300_799;
/// Ten thousand years.
const LONGEST: i64 = 315_576_000_000;

/// Whether a Timestamp lies within its range.
pub(crate) fn is_timestamp(seconds: i64, nanos: i32) -> bool {
    (FIRST_SECOND..=LAST_SECOND).contains(&seconds) && (0..=999_999_999).contains(&nanos)
}

/// Whether a Duration lies within its range, and its parts agree in sign.
pub(crate) fn is_duration(seconds: i64, nanos: i32) -> bool {
    (-LONGEST..=LONGEST).contains(&seconds)
        && (-999_999_999..=999_999_999).contains(&nanos)
        && !(seconds > 0 && nanos < 0)
        && !(seconds < 0 && nanos > 0)
}

/// Reads RFC 3339: `2026-11-21T07:00:00.5Z` or with an offset. Seconds since 1970, and nanoseconds.
pub(crate) fn parse_timestamp(text: &str) -> Option<(i64, i32)> {
    let (date_time, rest) = text.as_bytes().split_first_chunk::<19>()?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', time @ ..] = *date_time else {
        return None;
    };
    let [h1, h2, b':', n1, n2, b':', s1, s2] = time else { return None };
    let date = parse_eight([y1, y2, y3, y4, m1, m2, d1, d2])?.cast_signed();
    let time = parse_eight([b'0', b'0', h1, h2, n1, n2, s1, s2])?.cast_signed();
    let (year, month, day) = (date / 10_000, date / 100 % 100, date % 100);
    let (hour, minute, second) = (time / 10_000, time / 100 % 100, time % 100);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days_in_month).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, zone) = match rest.strip_prefix(b".") {
        Some(fraction) => {
            let end = fraction.iter().position(|byte| !byte.is_ascii_digit())?;
            let (fraction, zone) = fraction.split_at_checked(end)?;
            (nanos(fraction)?, zone)
        }
        None => (0, rest),
    };
    let offset = match *zone {
        [b'Z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[h1, h2])?, digits(&[m1, m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 3600 + minutes * 60) * if sign == b'+' { 1 } else { -1 }
        }
        _ => return None,
    };
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    is_timestamp(seconds, nanos).then_some((seconds, nanos))
}

/// Reads `1.5s`.
pub(crate) fn parse_duration(text: &str) -> Option<(i64, i32)> {
    let number = text.as_bytes().strip_suffix(b"s")?;
    let (number, sign) = match number.strip_prefix(b"-") {
        Some(number) => (number, -1),
        None => (number, 1),
    };
    let (whole, nanos) = match number.iter().position(|&byte| byte == b'.') {
        Some(dot) => {
            let (whole, fraction) = number.split_at_checked(dot)?;
            (whole, nanos(fraction.get(1..)?)?)
        }
        None => (number, 0),
    };
    if whole.is_empty() || whole.len() > 12 {
        return None;
    }
    let (seconds, nanos) = (digits(whole)? * sign, nanos * if sign < 0 { -1 } else { 1 });
    is_duration(seconds, nanos).then_some((seconds, nanos))
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter()
        .try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

/// Nanoseconds from one to nine digits of a fraction.
fn nanos(fraction: &[u8]) -> Option<i32> {
    if fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let value = digits(fraction)?;
    let scale = (fraction.len()..9).fold(1, |scale, _| scale * 10);
    i32::try_from(value * scale).ok()
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March, so that the leap day is the last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a number of days since 1970-01-01.
fn date(days: u32) -> (u32, u32, u32) {
    // `days` counts from 0000-03-01 here, so everything is positive.
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (year + era * 400 + u32::from(month <= 2), month, day)
}

/// Text of fixed capacity, built from the left.
pub(crate) struct Text {
    bytes: [u8; 40],
    length: usize,
}

impl Text {
    fn new() -> Self {
        Self { bytes: [0; 40], length: 0 }
    }

    fn push(&mut self, byte: u8) {
        if let Some(at) = self.bytes.get_mut(self.length) {
            *at = byte;
            self.length += 1;
        }
    }

    /// A fraction of three, six or nine digits, or none.
    fn fraction(&mut self, nanos: u32) {
        if nanos == 0 {
            return;
        }
        let length = match nanos {
            _ if nanos.is_multiple_of(1_000_000) => 3,
            _ if nanos.is_multiple_of(1000) => 6,
            _ => 9,
        };
        let [a, b, c, d, e, f, g, h] = eight_digits(u64::from(nanos / 10));
        let last = b'0' + crate::wire::low8(u64::from(nanos % 10));
        let room = self.bytes.get_mut(self.length..).and_then(<[u8]>::first_chunk_mut);
        if let Some(room) = room {
            *room = [b'.', a, b, c, d, e, f, g, h, last];
            self.length += 1 + length;
        }
    }

    /// All of it, and how much of it counts.
    pub(crate) fn padded(&self) -> (&[u8; 40], usize) {
        (&self.bytes, self.length)
    }
}

/// A Timestamp in quotes, as printed; `None` outside of its range.
pub(crate) fn timestamp(seconds: i64, nanos: i32) -> Option<Text> {
    if !is_timestamp(seconds, nanos) {
        return None;
    }
    // From 0000-03-01, so that nothing below is negative.
    let total = u64::try_from(seconds - FIRST_SECOND + 306 * 86_400).ok()?;
    let (year, month, day) = date(u32::try_from(total / 86_400).ok()?);
    let second = u32::try_from(total % 86_400).ok()?;
    let time = second / 3600 * 10_000 + second / 60 % 60 * 100 + second % 60;
    let [y1, y2, y3, y4, m1, m2, d1, d2] =
        eight_digits(u64::from(year * 10_000 + month * 100 + day));
    let [_, _, h1, h2, n1, n2, s1, s2] = eight_digits(u64::from(time));
    let mut text = Text::new();
    text.bytes[..20].copy_from_slice(&[
        b'"', y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2,
    ]);
    text.length = 20;
    text.fraction(nanos.unsigned_abs());
    text.push(b'Z');
    text.push(b'"');
    Some(text)
}

/// A Duration in quotes, as printed; `None` outside of its range.
pub(crate) fn duration(seconds: i64, nanos: i32) -> Option<Text> {
    if !is_duration(seconds, nanos) {
        return None;
    }
    let mut text = Text::new();
    text.push(b'"');
    if seconds < 0 || nanos < 0 {
        text.push(b'-');
    }
    let digits = Short::number(seconds.unsigned_abs());
    for byte in digits.bytes.to_le_bytes().into_iter().take(index(digits.length)) {
        text.push(byte);
    }
    text.fraction(nanos.unsigned_abs());
    text.push(b's');
    text.push(b'"');
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: Option<Text>) -> Option<String> {
        let text = text?;
        let (bytes, length) = text.padded();
        Some(String::from_utf8(bytes[..length].to_vec()).unwrap())
    }

    #[test]
    fn timestamps_come_back() {
        for (text, seconds, nanos) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("0001-01-01T00:00:00Z", FIRST_SECOND, 0),
            ("9999-12-31T23:59:59.999999999Z", LAST_SECOND, 999_999_999),
            ("1969-12-31T23:59:59.500Z", -1, 500_000_000),
            ("2000-02-29T12:34:56.000001Z", 951_827_696, 1000),
            ("2026-11-21T07:00:00Z", 1_795_244_400, 0),
            ("0004-02-29T00:00:00Z", -62_035_891_200, 0),
        ] {
            assert_eq!(parse_timestamp(text), Some((seconds, nanos)), "{text}");
            assert_eq!(shown(timestamp(seconds, nanos)), Some(format!("\"{text}\"")));
        }
    }

    #[test]
    fn offsets_are_taken_off() {
        assert_eq!(parse_timestamp("1970-01-01T01:00:00+01:00"), Some((0, 0)));
        assert_eq!(parse_timestamp("1969-12-31T16:00:00-08:00"), Some((0, 0)));
    }

    #[test]
    fn what_is_no_timestamp_is_refused() {
        for text in [
            "",
            "1970-01-01",
            "1970-01-01T00:00:00",
            "1970-01-01t00:00:00Z",
            "1970-01-01T00:00:00z",
            "1970-01-01 00:00:00Z",
            "1970-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "1970-13-01T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:60Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00.1234567890Z",
            "1970-01-01T00:00:00+1:00",
            "0000-12-31T23:59:59Z",
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "1970-01-01T00:00:00Zx",
        ] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
        assert!(timestamp(LAST_SECOND + 1, 0).is_none());
        assert!(timestamp(0, -1).is_none());
    }

    #[test]
    fn every_day_comes_back() {
        for day in (-719_162..2_932_896_i64).step_by(97) {
            let text = shown(timestamp(day * 86_400, 0)).unwrap();
            assert_eq!(parse_timestamp(text.trim_matches('"')), Some((day * 86_400, 0)), "{text}");
        }
    }

    #[test]
    fn durations_come_back() {
        for (text, seconds, nanos) in [
            ("0s", 0, 0),
            ("1.500s", 1, 500_000_000),
            ("-0.000000001s", 0, -1),
            ("-315576000000.999999s", -LONGEST, -999_999_000),
            ("3s", 3, 0),
        ] {
            assert_eq!(parse_duration(text), Some((seconds, nanos)), "{text}");
            assert_eq!(shown(duration(seconds, nanos)), Some(format!("\"{text}\"")));
        }
        for text in [
            "",
            "s",
            "1",
            "1.s",
            ".5s",
            "--1s",
            "+1s",
            "1.0000000000s",
            "315576000001s",
            "1 s",
            "-s",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        assert!(duration(1, -1).is_none());
    }
}
