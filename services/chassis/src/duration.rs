//! Durations in settings, as people write them: `250ms`, `5s`, `10m`, `24h`.
//!
//! Use it as `#[serde(with = "chassis::duration")]`.

use std::time::Duration;

use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Reads a whole number with a unit.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "`{text}` is not a duration: write a whole number and a unit, such as 250ms, 5s, 10m or 24h"
        )
    };
    let text = text.trim();
    let split = text.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(wrong)?;
    number.checked_mul(*nanos).map(Duration::from_nanos).ok_or_else(wrong)
}

/// Writes a duration in the largest unit that keeps it whole.
pub fn format(duration: &Duration) -> String {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    if nanos == 0 {
        return "0s".to_owned();
    }
    UNITS
        .iter()
        .find(|(_, unit)| nanos % unit == 0)
        .map_or_else(|| format!("{nanos}ns"), |(name, unit)| format!("{}{name}", nanos / unit))
}

/// Writes what was measured, for a person: to the millisecond, or to the
/// microsecond below ten of them. It is not made to be read back.
pub fn rounded(duration: &Duration) -> String {
    let micros = duration.as_nanos().saturating_add(500) / 1_000;
    if micros == 0 {
        return "0s".to_owned();
    }
    if micros < 10_000 {
        return thousandths(micros, "ms");
    }
    let millis = micros.saturating_add(500) / 1_000;
    match u64::try_from(millis).map(Duration::from_millis) {
        Ok(whole) if millis < 1_000 || millis.is_multiple_of(1_000) => format(&whole),
        _ => thousandths(millis, "s"),
    }
}

/// `1250` is `1.25`.
fn thousandths(number: u128, unit: &str) -> String {
    let (whole, rest) = (number / 1_000, format!("{:03}", number % 1_000));
    match rest.trim_end_matches('0') {
        "" => format!("{whole}{unit}"),
        rest => format!("{whole}.{rest}{unit}"),
    }
}

/// For `#[serde(with = ..)]`.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(duration))
}

/// For `#[serde(with = ..)]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_tells_what_was_measured_in_a_persons_units() {
        for (nanos, told) in [
            (0, "0s"),
            (300, "0s"),
            (250_000, "0.25ms"),
            (1_500_499, "1.5ms"),
            (9_999_700, "10ms"),
            (249_873_421, "250ms"),
            (999_873_421, "1s"),
            (1_249_700_000, "1.25s"),
            (4_999_873_421, "5s"),
            (59_999_999_999, "1m"),
            (90_000_000_000, "90s"),
            (61_001_000_000, "61.001s"),
        ] {
            assert_eq!(rounded(&Duration::from_nanos(nanos)), told, "{nanos}ns");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["0s", "250ms", "5s", "10m", "24h", "1500us", "7ns"] {
            assert_eq!(format(&parse(text).unwrap()), text);
        }
        assert_eq!(parse("90s").map(|duration| format(&duration)), Ok("90s".to_owned()));
        for text in
            ["", "5", "s", "5 parsecs", "-1s", "1.5s", "99999999999999999999s", "999999999999h"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
