//! The messages that JSON has a form of its own for (proto3 JSON mapping).

use serde_json::{Value, json};

use super::{
    pattern,
    rule::{Bound, Checks},
};

/// The widest range of a `google.protobuf.Duration`, in seconds.
const DURATION_SECONDS_MAX: i128 = 315_576_000_000;

/// The schema of a well-known type. What it cannot say of the rules stands in
/// the second value, for people.
pub(super) fn schema(name: &str, checks: &Checks) -> Option<(Value, String)> {
    let schema = match name {
        // 2026-01-31T12:00:00.123456789+02:00
        "google.protobuf.Timestamp" => {
            return Some((
                json!({"type": "string", "format": "date-time", "minLength": 20, "maxLength": 35}),
                String::new(),
            ));
        }
        "google.protobuf.Duration" => {
            return Some((
                json!({"type": "string", "pattern": seconds(checks), "maxLength": 24}),
                bounds(checks),
            ));
        }
        "google.protobuf.FieldMask" => json!({
            "type": "string",
            "maxLength": 4096,
            "pattern": "^([a-zA-Z0-9_.]+(,[a-zA-Z0-9_.]+)*|\\*)?$",
        }),
        "google.protobuf.Empty" => {
            json!({"type": "object", "properties": {}, "additionalProperties": false})
        }
        "google.protobuf.Struct" => json!({"type": "object", "additionalProperties": true}),
        "google.protobuf.Value" => json!({}),
        "google.protobuf.ListValue" => json!({"type": "array", "items": {}}),
        "google.protobuf.Any" => json!({
            "type": "object",
            "required": ["@type"],
            "properties": {"@type": {"type": "string", "maxLength": 4096}},
            "additionalProperties": true,
        }),
        _ => return None,
    };
    Some((schema, String::new()))
}

/// The scalar that a wrapper holds: it may be unset, and is then absent.
pub(super) fn wrapped(name: &str) -> Option<&'static str> {
    Some(match name.strip_prefix("google.protobuf.")? {
        "BoolValue" => "bool",
        "StringValue" => "string",
        "BytesValue" => "bytes",
        "Int32Value" => "int32",
        "UInt32Value" => "uint32",
        "Int64Value" => "int64",
        "UInt64Value" => "uint64",
        "FloatValue" => "float",
        "DoubleValue" => "double",
        _ => return None,
    })
}

/// Whether the mapping has a form of its own for the message.
pub(super) fn is_known(name: &str) -> bool {
    wrapped(name).is_some()
        || name == "google.api.HttpBody"
        || schema(name, &Checks::default()).is_some()
}

/// Whether a query parameter can say the message.
pub(super) fn is_text(name: &str) -> bool {
    wrapped(name).is_some()
        || matches!(
            name,
            "google.protobuf.Timestamp" | "google.protobuf.Duration" | "google.protobuf.FieldMask"
        )
}

/// The pattern of a duration, as far as a pattern can bound it.
fn seconds(checks: &Checks) -> String {
    let whole = |bound: Option<Bound>| match bound {
        Some(Bound::Whole(nanos)) => Some(nanos.div_euclid(1_000_000_000)),
        _ => None,
    };
    let least = whole(checks.least.or(checks.above));
    let most = whole(checks.most.or(checks.below));
    let Some(least) = least.filter(|least| *least >= 0) else {
        return "^-?[0-9]{1,12}(\\.[0-9]{1,9})?s$".to_owned();
    };
    let most = most.unwrap_or(DURATION_SECONDS_MAX);
    let inner = |from, to| pattern::between(from, to).replace(['^', '$'], "");
    if most > least {
        let (below, last) = (inner(least, most - 1), inner(most, most));
        format!("^({below}(\\.[0-9]{{1,9}})?|{last})s$")
    } else {
        format!("^{}s$", inner(least, most))
    }
}

/// The bounds of a duration, in words.
fn bounds(checks: &Checks) -> String {
    let named = [
        ("at least", checks.least),
        ("more than", checks.above),
        ("at most", checks.most),
        ("less than", checks.below),
    ];
    let told: Vec<String> = named
        .into_iter()
        .filter_map(|(word, bound)| Some(format!("{word} {}", bound?.seconds()?)))
        .collect();
    match told.as_slice() {
        [] => String::new(),
        told => {
            let text = told.join(", ");
            let (first, rest) = text.split_at(1);
            format!("{}{rest}.", first.to_uppercase())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_bounded_by_its_pattern() {
        let checks = Checks {
            least: Some(Bound::Whole(0)),
            most: Some(Bound::Whole(30_000_000_000)),
            ..Checks::default()
        };
        let pattern = regex::Regex::new(&seconds(&checks)).unwrap();
        for good in ["0s", "1.5s", "29.999999999s", "30s"] {
            assert!(pattern.is_match(good), "{good}");
        }
        for bad in ["-1s", "30.5s", "31s", "300s", "1"] {
            assert!(!pattern.is_match(bad), "{bad}");
        }
        assert_eq!(bounds(&checks), "At least 0s, at most 30s.");
    }
}
