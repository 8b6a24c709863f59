//! Requests that both gateways must take alike.

use std::fmt;

use serde_json::Value;

use super::{json, random::Random};

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The HTTP method.
    pub verb: String,
    /// Path and query.
    pub target: String,
    /// With a body.
    pub content_type: Option<String>,
    /// As it is sent.
    pub body: Option<String>,
}

/// Texts of one segment, before they are escaped.
const SEGMENTS: [&str; 10] =
    ["a", "newer", "two words", "Zürich", "日本", "100%", "a+b", "a&b=c?d#e", "~_-.", "a:b"];
/// Parameters of a query that take one value each: the field, and values of it.
const PARAMETERS: [(&str, &[&str]); 24] = [
    ("longName", &["a", "two words", "Zürich", "a&b=c", "1+1"]),
    ("long_name", &["by its other name"]),
    ("uint32", &["0", "4294967295"]),
    ("uint64", &["1", "18446744073709551615"]),
    ("sint64", &["-5", "-9223372036854775808"]),
    ("fixed32", &["7"]),
    ("float", &["0.5", "-1024"]),
    ("double", &["0.25", "1e100", "-3"]),
    ("truth", &["true", "false"]),
    ("blob", &["aGVsbG8=", "+/+/"]),
    ("colour", &["COLOUR_RED", "COLOUR_FAR"]),
    ("inner.number", &["12", "-12"]),
    ("inner.inner.text", &["deep", "ä"]),
    ("maybe", &["0", "1"]),
    ("choiceText", &["chosen"]),
    ("timestamp", &["2026-11-21T15:03:04Z", "1969-12-31T23:59:59.500Z"]),
    ("duration", &["3s", "-1.500s"]),
    ("mask", &["text,longName"]),
    ("int64Value", &["9007199254740993"]),
    ("int64_value", &["-1"]),
    ("doubleValue", &["0.5"]),
    ("boolValue", &["true", "false"]),
    ("stringValue", &["wrapped", "ü"]),
    ("bytesValue", &["AQID"]),
];
/// Parameters that take several.
const REPEATED: [(&str, &[&str]); 5] = [
    ("texts", &["a", "b c", "ß"]),
    ("int32s", &["1", "-1"]),
    ("doubles", &["0.5", "2"]),
    ("colours", &["COLOUR_RED", "COLOUR_FAR"]),
    ("inner.texts", &["x", "y"]),
];

// === impl Case ===

impl Case {
    /// A request without a body.
    pub fn get(target: impl Into<String>) -> Self {
        let (verb, target) = ("GET".to_owned(), target.into());
        Self { verb, target, content_type: None, body: None }
    }

    /// A request with a JSON body.
    pub fn post(target: impl Into<String>, body: impl Into<String>) -> Self {
        Self {
            verb: "POST".to_owned(),
            content_type: Some("application/json".to_owned()),
            body: Some(body.into()),
            ..Self::get(target)
        }
    }

    /// With another HTTP method.
    #[must_use]
    pub fn by(mut self, verb: &str) -> Self {
        verb.clone_into(&mut self.verb);
        self
    }

    /// Draws one.
    pub fn draw(random: &mut Random) -> Self {
        match random.below(17) {
            0 => Self::get(format!("/v1/things/{}{}", segment(random), query(random))),
            1 => Self::get(format!("/v1/things/newest{}", query(random))),
            2 => {
                Self::post(format!("/v1/things/{}:cancel", segment(random)), all(random, &["text"]))
            }
            3 => Self::get(format!("/v1/things/{}{}", segment(random), query(random))).by("DELETE"),
            4 | 5 => Self::get(format!("/v1/query{}", query(random))),
            6 => Self::get(numbers(random)),
            7 => Self::get(kinds(random)),
            8 => Self::get(format!("/v1/shelves/{}/books/{}", segment(random), segment(random))),
            9 => Self::get(format!("/v1/rooms/{}/{}", segment(random), segment(random))),
            10 => Self::get(format!("/v1/deep{}{}", deep(random), query(random))),
            11 => Self::get(format!("/v1/deep{}:look", deep(random))),
            12 => Self::post("/v1/all", all(random, &[])),
            13 => {
                Self::post(format!("/v1/all/{}", segment(random)), all(random, &["text"])).by("PUT")
            }
            14 => Self::post(
                format!("/v1/parts/{}", segment(random)),
                json::inner(random, 4).to_string(),
            ),
            15 => Self::post("/v1/stream", all(random, &[])),
            _ => Self::post("/oracle.v1.Oracle/Plain", all(random, &[])),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.target)?;
        match &self.body {
            Some(body) => write!(f, "\n    {body}"),
            None => Ok(()),
        }
    }
}

/// A body of all fields but those that the path has.
fn all(random: &mut Random, but: &[&str]) -> String {
    let mut message = json::everything(random);
    message.retain(|name, _| !but.contains(&name.as_str()));
    Value::Object(message).to_string()
}

fn segment(random: &mut Random) -> String {
    let text = *random.pick(&SEGMENTS);
    escape(random, text)
}

/// Some segments, each with its slash.
fn deep(random: &mut Random) -> String {
    (0..=random.below(3)).map(|_| format!("/{}", segment(random))).collect()
}

fn numbers(random: &mut Random) -> String {
    let int32 = random.pick(&["0", "-1", "2147483647"]);
    let int64 = random.pick(&["5", "-9223372036854775808"]);
    let uint64 = random.pick(&["0", "18446744073709551615"]);
    let double = random.pick(&["0.5", "-1e10", "3"]);
    format!("/v1/numbers/{int32}/{int64}/{uint64}/{double}")
}

fn kinds(random: &mut Random) -> String {
    let truth = random.pick(&["true", "false"]);
    let colour = random.pick(&["COLOUR_RED", "COLOUR_FAR"]);
    let blob = random.pick(&["AQID", "aGVsbG8%3D"]);
    format!("/v1/kinds/{truth}/{colour}/{blob}")
}

/// A query of a few fields, none twice but those that may be.
fn query(random: &mut Random) -> String {
    let mut query = String::new();
    let mut add = |random: &mut Random, name: &str, value: &str| {
        query.push(if query.is_empty() { '?' } else { '&' });
        query.push_str(name);
        query.push('=');
        query.push_str(&escape(random, value));
    };
    let first = random.below(PARAMETERS.len());
    for step in 0..random.below(4) {
        // Neighbours in the list are of different fields but for two pairs.
        let (name, values) = PARAMETERS[(first + 5 * step) % PARAMETERS.len()];
        let value = *random.pick(values);
        add(random, name, value);
    }
    if random.one_in(3) {
        let (name, values) = *random.pick(&REPEATED);
        for _ in 0..=random.below(3) {
            let value = *random.pick(values);
            add(random, name, value);
        }
    }
    query
}

/// Escapes what must be, and now and then what need not.
fn escape(random: &mut Random, text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        if is_plain && !random.one_in(40) {
            escaped.push(byte.into());
        } else if random.one_in(2) {
            escaped.push_str(&format!("%{byte:02X}"));
        } else {
            escaped.push_str(&format!("%{byte:02x}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_asks_the_same_and_every_request_can_be_sent() {
        let (mut one, mut other) = (Random::new(7), Random::new(7));
        for _ in 0..2_000 {
            let case = Case::draw(&mut one);
            assert_eq!(case, Case::draw(&mut other));
            case.target.parse::<http::Uri>().unwrap();
            if let Some(body) = &case.body {
                serde_json::from_str::<Value>(body).unwrap();
            }
        }
    }
}
