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
