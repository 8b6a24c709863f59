//! What may be asked of one value.

use std::borrow::Cow;

use regex::Regex;

/// A value as it was read from the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'b> {
    Signed(i64),
    Unsigned(u64),
    Enum(i64),
    Bool(bool),
    Float(f64),
    Text(&'b str),
    Bytes(&'b [u8]),
    Message(&'b [u8]),
}

/// The rules of one value; only those that fit its type are ever filled in.
#[derive(Debug, Default)]
pub(super) struct Checks {
    pub(super) signed: Option<Range<i64>>,
    pub(super) unsigned: Option<Range<u64>>,
    pub(super) float: Option<Range<f64>>,
    pub(super) text: Option<Box<Text>>,
    pub(super) bytes: Option<Lengths>,
    pub(super) enumeration: Option<Enumeration>,
    pub(super) boolean: Option<bool>,
    /// Nanoseconds, of a Duration or a Timestamp.
    pub(super) nanos: Option<Range<i128>>,
}

/// Bounds of a number and lists it must or must not be in.
#[derive(Debug, Default)]
pub(super) struct Range<T> {
    pub(super) above: Option<T>,
    pub(super) least: Option<T>,
    pub(super) below: Option<T>,
    pub(super) most: Option<T>,
    pub(super) exactly: Option<T>,
    pub(super) any_of: Vec<T>,
    pub(super) none_of: Vec<T>,
    /// How a bound is shown.
    pub(super) unit: Unit,
}

/// How a bound of a number is shown.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    #[default]
    Plain,
    Seconds,
}

/// Bounds of a length.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Lengths {
    pub(super) min: Option<u64>,
    pub(super) max: Option<u64>,
}

/// The rules of a string.
#[derive(Debug, Default)]
pub(super) struct Text {
    pub(super) characters: Lengths,
    pub(super) bytes: Lengths,
    pub(super) exactly: Option<String>,
    pub(super) pattern: Option<Regex>,
    pub(super) prefix: Option<String>,
    pub(super) suffix: Option<String>,
    pub(super) contains: Option<String>,
    pub(super) any_of: Vec<String>,
    pub(super) none_of: Vec<String>,
    pub(super) format: Option<Format>,
}

/// A well-known form of a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Uuid,
    Email,
    Uri,
    Hostname,
}

/// The rules of an enum.
#[derive(Debug, Default)]
pub(super) struct Enumeration {
    pub(super) defined: Option<Vec<i64>>,
    pub(super) any_of: Vec<i64>,
    pub(super) none_of: Vec<i64>,
    pub(super) exactly: Option<i64>,
    /// Numbers and names, to say which may be given.
    pub(super) names: Vec<(i64, String)>,
}

// === impl Value ===

impl Value<'_> {
    pub(super) fn is_zero(&self) -> bool {
        match self {
            Self::Signed(number) | Self::Enum(number) => *number == 0,
            Self::Unsigned(number) => *number == 0,
            Self::Bool(truth) => !truth,
            Self::Float(number) => number.to_bits() == 0,
            Self::Text(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Message(_) => false,
        }
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Signed(number) | Self::Enum(number) => number.to_le_bytes().to_vec(),
            Self::Unsigned(number) => number.to_le_bytes().to_vec(),
            Self::Bool(truth) => vec![u8::from(truth)],
            Self::Float(number) => number.to_bits().to_le_bytes().to_vec(),
            Self::Text(text) => text.as_bytes().to_vec(),
            Self::Bytes(bytes) | Self::Message(bytes) => bytes.to_vec(),
        }
    }

    pub(super) fn display(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Owned(format!("{text:?}")),
            Self::Signed(number) | Self::Enum(number) => Cow::Owned(number.to_string()),
            Self::Unsigned(number) => Cow::Owned(number.to_string()),
            Self::Bool(truth) => Cow::Owned(truth.to_string()),
            Self::Float(number) => Cow::Owned(number.to_string()),
            Self::Bytes(_) | Self::Message(_) => Cow::Borrowed("…"),
        }
    }
}

// === impl Checks ===

impl Checks {
    /// What is wrong with the value, if anything. The value itself is never
    /// repeated in the answer: it may be a secret.
    pub(super) fn broken(&self, value: &Value<'_>) -> Option<String> {
        match value {
            Value::Signed(number) => self.signed.as_ref()?.broken(number),
            Value::Unsigned(number) => self.unsigned.as_ref()?.broken(number),
            Value::Float(number) => self.float.as_ref()?.broken(number),
            Value::Text(text) => self.text.as_ref()?.broken(text),
            Value::Bytes(bytes) => self.bytes.as_ref()?.broken(bytes.len(), "bytes"),
            Value::Enum(number) => self.enumeration.as_ref()?.broken(*number),
            Value::Bool(truth) => {
                let wanted = self.boolean?;
                (wanted != *truth).then(|| format!("must be {wanted}"))
            }
            Value::Message(bytes) => self.nanos.as_ref()?.broken(&nanos(bytes)),
        }
    }
}

/// The value of a Duration or a Timestamp: seconds are field 1, nanos field 2.
fn nanos(bytes: &[u8]) -> i128 {
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    let mut reader = super::wire::Reader::new(bytes);
    while let Ok(Some(field)) = reader.next() {
        match (field.number, field.wire) {
            (1, super::wire::Wire::Varint(bits)) => seconds = bits.cast_signed(),
            (2, super::wire::Wire::Varint(bits)) => nanos = bits.cast_signed(),
            _ => {}
        }
    }
    i128::from(seconds) * 1_000_000_000 + i128::from(nanos)
}

// === impl Range ===

/// A number that can be shown to a person.
pub(super) trait Shown: PartialOrd + Copy {
    fn shown(&self, unit: Unit) -> String;
}

impl Shown for i64 {
    fn shown(&self, _unit: Unit) -> String {
        self.to_string()
    }
}

impl Shown for u64 {
    fn shown(&self, _unit: Unit) -> String {
        self.to_string()
    }
}

impl Shown for f64 {
    fn shown(&self, _unit: Unit) -> String {
        self.to_string()
    }
}

impl Shown for i128 {
    fn shown(&self, unit: Unit) -> String {
        match unit {
            Unit::Plain => self.to_string(),
            Unit::Seconds if self % 1_000_000_000 == 0 => format!("{}s", self / 1_000_000_000),
            Unit::Seconds => {
                format!("{}.{:09}s", self / 1_000_000_000, (self % 1_000_000_000).abs())
            }
        }
    }
}

impl<T: Shown> Range<T> {
    fn broken(&self, number: &T) -> Option<String> {
        let shown = |bound: &T| bound.shown(self.unit);
        if let Some(exactly) = self.exactly.as_ref().filter(|exactly| *exactly != number) {
            return Some(format!("must be {}", shown(exactly)));
        }
        let low = self
            .above
            .as_ref()
            .map(|bound| (format!("greater than {}", shown(bound)), number > bound));
        let low = low.or(self
            .least
            .as_ref()
            .map(|bound| (format!("at least {}", shown(bound)), number >= bound)));
        let high = self
            .below
            .as_ref()
            .map(|bound| (format!("less than {}", shown(bound)), number < bound));
        let high = high.or(self
            .most
            .as_ref()
            .map(|bound| (format!("at most {}", shown(bound)), number <= bound)));
        match (low, high) {
            (Some((low, low_holds)), Some((high, high_holds))) if !low_holds || !high_holds => {
                return Some(format!("must be {low} and {high}"));
            }
            (Some((bound, false)), None) | (None, Some((bound, false))) => {
                return Some(format!("must be {bound}"));
            }
            _ => {}
        }
        let list = |numbers: &[T]| numbers.iter().map(shown).collect::<Vec<_>>().join(", ");
        if !self.any_of.is_empty() && !self.any_of.contains(number) {
            return Some(format!("must be one of {}", list(&self.any_of)));
        }
        self.none_of.contains(number).then(|| format!("must be none of {}", list(&self.none_of)))
    }
}

// === impl Lengths ===

impl Lengths {
    fn broken(self, length: usize, unit: &str) -> Option<String> {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        match (self.min, self.max) {
            (Some(min), Some(max)) if min == max && length != min => {
                Some(format!("must be exactly {min} {unit} long"))
            }
            (Some(1), _) if length == 0 => Some("must not be empty".to_owned()),
            (Some(min), Some(max)) if length < min || length > max => {
                Some(format!("must be {min} to {max} {unit} long, has {length}"))
            }
            (Some(min), _) if length < min => {
                Some(format!("must be at least {min} {unit} long, has {length}"))
            }
            (_, Some(max)) if length > max => {
                Some(format!("must be at most {max} {unit} long, has {length}"))
            }
            _ => None,
        }
    }
}

// === impl Text ===

impl Text {
    fn broken(&self, text: &str) -> Option<String> {
        if self.characters.min.is_some() || self.characters.max.is_some() {
            let broken = self.characters.broken(text.chars().count(), "characters");
            if broken.is_some() {
                return broken;
            }
        }
        if let Some(broken) = self.bytes.broken(text.len(), "bytes") {
            return Some(broken);
        }
        if let Some(exactly) = self.exactly.as_deref().filter(|exactly| *exactly != text) {
            return Some(format!("must be {exactly:?}"));
        }
        if let Some(pattern) = self.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            return Some(format!("must match {}", pattern.as_str()));
        }
        if let Some(prefix) = self.prefix.as_deref().filter(|prefix| !text.starts_with(*prefix)) {
            return Some(format!("must start with {prefix:?}"));
        }
        if let Some(suffix) = self.suffix.as_deref().filter(|suffix| !text.ends_with(*suffix)) {
            return Some(format!("must end with {suffix:?}"));
        }
        if let Some(part) = self.contains.as_deref().filter(|part| !text.contains(*part)) {
            return Some(format!("must contain {part:?}"));
        }
        if !self.any_of.is_empty() && !self.any_of.iter().any(|allowed| allowed == text) {
            return Some(format!("must be one of {}", self.any_of.join(", ")));
        }
        if self.none_of.iter().any(|refused| refused == text) {
            return Some(format!("must be none of {}", self.none_of.join(", ")));
        }
        self.format.and_then(|format| format.broken(text))
    }
}

// === impl Format ===

impl Format {
    fn broken(self, text: &str) -> Option<String> {
        let (holds, wanted) = match self {
            Self::Uuid => (is_uuid(text), "a UUID such as 0190a6f0-7e4b-7cc2-b5d3-3c1f0a8e9d21"),
            Self::Email => (is_email(text), "an e-mail address such as ana@example.com"),
            Self::Uri => (is_uri(text), "an absolute URI such as https://example.com/path"),
            Self::Hostname => (is_hostname(text), "a host name such as shop.example.com"),
        };
        (!holds).then(|| format!("must be {wanted}"))
    }
}

/// RFC 9562, the 36-character form.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(position, byte)| match position {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The HTML Living Standard's e-mail address, which is what forms accept.
fn is_email(text: &str) -> bool {
    let Some((local, host)) = text.rsplit_once('@') else { return false };
    !local.is_empty()
        && local.len() <= 64
        && text.len() <= 254
        && local
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte))
        && is_hostname(host)
}

/// RFC 1123.
fn is_hostname(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}

/// RFC 3986, as far as a scheme and printable ASCII without spaces.
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        && !rest.is_empty()
        && rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"{}|\\^`".contains(&byte))
}

// === impl Enumeration ===

impl Enumeration {
    fn broken(&self, number: i64) -> Option<String> {
        let allowed = |candidate: i64| {
            self.defined.as_ref().is_none_or(|defined| defined.contains(&candidate))
                && (self.any_of.is_empty() || self.any_of.contains(&candidate))
                && !self.none_of.contains(&candidate)
                && self.exactly.is_none_or(|exactly| exactly == candidate)
        };
        if allowed(number) {
            return None;
        }
        let names: Vec<&str> = self
            .names
            .iter()
            .filter(|(number, _)| allowed(*number))
            .map(|(_, name)| name.as_str())
            .collect();
        Some(format!("must be one of {}", names.join(", ")))
    }
}
