//! Examples, always the same for the same contracts, that keep every rule a
//! schema has: plausible by the name of the field where a rule lets them be.

use std::collections::BTreeSet;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::{
    known,
    path::camel,
    pattern,
    rule::{Bound, Checks, Rules},
    schema::{Schemas, allowed, extent, whole},
    text,
};

/// How deep an example goes.
const DEPTH_MAX: usize = 6;
const TIME: &str = "2026-01-31T12:00:00Z";
const UUID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
/// Eight bytes, in base64.
const BYTES: &str = "bWVyY2FudGU=";

/// What a text may hold, by the end of its name; the first that fits.
const WORDS: [(&str, &str); 46] = [
    ("email", "ana@example.com"),
    ("currency_code", "EUR"),
    ("region_code", "ES"),
    ("country_code", "ES"),
    ("language_code", "en"),
    ("locale", "en"),
    ("postal_code", "17001"),
    ("tax_category", "standard"),
    ("code", "standard"),
    ("locality", "Girona"),
    ("city", "Girona"),
    ("administrative_area", "Girona"),
    ("address_lines", "Carrer de la Força 12"),
    ("recipient", "Ana Puig"),
    ("display_name", "Ana Puig"),
    ("full_name", "Ana Puig"),
    ("given_name", "Ana"),
    ("family_name", "Puig"),
    ("author", "Ana Puig"),
    ("organization", "Puig & Cia"),
    ("phone_number", "+34972000000"),
    ("phone", "+34972000000"),
    ("password", "correct horse battery staple"),
    ("sku", "MUG-00001-S"),
    ("slug", "enamel-mug"),
    ("title", "Enamel mug"),
    ("description", "Fired twice, so that it forgives a fall."),
    ("summary", "Fired twice."),
    ("reason", "Changed my mind."),
    ("note", "Leave it at the door."),
    ("comment", "Leave it at the door."),
    ("url", "https://example.com/"),
    ("uri", "https://example.com/"),
    ("hostname", "example.com"),
    ("content_type", "application/json"),
    ("mime_type", "image/png"),
    ("time_zone", "Europe/Madrid"),
    ("payment_method", "pm_card_ok"),
    ("permission", "things.read"),
    ("permissions", "things.read"),
    ("etag", "5"),
    ("hash", "9f86d081884c7d65"),
    ("token", "eyJhbGciOiJFZERTQSJ9"),
    ("number", "1001"),
    ("query", "mug"),
    ("id", UUID),
];

/// Numbers by the end of their name.
const NUMBERS: [(&str, i128); 12] = [
    ("page_size", 20),
    ("quantity", 2),
    ("limit", 20),
    ("minor_units", 1_250),
    ("percent", 21),
    ("weight_grams", 320),
    ("_grams", 320),
    ("year", 2026),
    ("port", 8080),
    ("count", 3),
    ("seconds", 60),
    ("_ms", 250),
];

/// What an example is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// What a client sends: what it must, and what says most.
    Request,
    /// What a client gets: everything.
    Response,
}

/// An example of a message without some fields, which are paths below it.
pub(super) fn message(
    schemas: &mut Schemas,
    message: &MessageDescriptor,
    without: &BTreeSet<String>,
    purpose: Use,
) -> Value {
    below(schemas, message, without, purpose, &mut Vec::new()).unwrap_or_else(|| json!({}))
}

/// An example of a field's value; `None` if there is none worth showing.
pub(super) fn field(schemas: &mut Schemas, field: &FieldDescriptor, purpose: Use) -> Option<Value> {
    value(schemas, field, purpose, &mut Vec::new())
}

fn below(
    schemas: &mut Schemas,
    message: &MessageDescriptor,
    without: &BTreeSet<String>,
    purpose: Use,
    within: &mut Vec<String>,
) -> Option<Value> {
    if let Some(known) = well_known(message.full_name()) {
        return Some(known);
    }
    if within.len() >= DEPTH_MAX || within.iter().any(|name| name == message.full_name()) {
        return None;
    }
    within.push(message.full_name().to_owned());
    let fields: Vec<FieldDescriptor> =
        message.fields().filter(|field| !without.contains(field.name())).collect();
    let demanded: Vec<bool> = fields.iter().map(|field| schemas.is_required(field)).collect();
    let any_demanded = demanded.contains(&true);
    let mut members = Map::new();
    let mut settled: Vec<String> = Vec::new();
    let mut complete = true;
    for (field, demanded) in fields.iter().zip(demanded) {
        let rules = schemas.rules(field);
        let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
        if oneof.as_ref().is_some_and(|oneof| settled.iter().any(|name| name == oneof.full_name()))
        {
            continue;
        }
        let is_shown = match purpose {
            Use::Response => !rules.input_only,
            Use::Request if rules.output_only => false,
            Use::Request => {
                demanded
                    || oneof.is_some()
                    || is_amount(field)
                    || (!any_demanded && within.len() <= 2 && is_telling(field))
            }
        };
        if !is_shown {
            continue;
        }
        let inner: BTreeSet<String> = without
            .iter()
            .filter_map(|path| path.strip_prefix(field.name())?.strip_prefix('.'))
            .map(str::to_owned)
            .collect();
        let example = match field.kind() {
            Kind::Message(message) if !inner.is_empty() => {
                below(schemas, &message, &inner, purpose, within)
            }
            _ => value(schemas, field, purpose, within),
        };
        match example {
            Some(example) => {
                members.insert(field.json_name().to_owned(), example);
                settled.extend(oneof.map(|oneof| oneof.full_name().to_owned()));
            }
            None if demanded => complete = false,
            None => {}
        }
    }
    within.pop();
    complete.then_some(Value::Object(members))
}

/// Whether it is a number whose absence says zero.
fn is_amount(field: &FieldDescriptor) -> bool {
    let is_number = !matches!(
        field.kind(),
        Kind::Message(_) | Kind::Enum(_) | Kind::Bool | Kind::String | Kind::Bytes
    );
    is_number && !field.is_list() && !field.supports_presence()
}

/// Whether an optional field belongs into a request that is to show what can be
/// done: not what only answers know.
fn is_telling(field: &FieldDescriptor) -> bool {
    !["etag", "page_token", "update_mask", "filter", "order_by"].contains(&field.name())
}

fn value(
    schemas: &mut Schemas,
    field: &FieldDescriptor,
    purpose: Use,
    within: &mut Vec<String>,
) -> Option<Value> {
    let rules = schemas.rules(field);
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        let key = match entry.map_entry_key_field().kind() {
            Kind::String => text(schemas, "key", &rules.keys)?,
            Kind::Bool => Value::from("true"),
            _ => Value::from("1"),
        };
        let element =
            single(schemas, &entry.map_entry_value_field(), field.name(), &rules, purpose, within)?;
        let key = key.as_str()?.to_owned();
        return Some(Value::Object(Map::from_iter([(key, element)])));
    }
    let one = single(schemas, field, field.name(), &rules, purpose, within);
    if !field.is_list() {
        return one;
    }
    match (one, rules.items_min.unwrap_or_default()) {
        (Some(one), 0 | 1) => Some(json!([one])),
        (Some(one), least) if !rules.unique => {
            Some(Value::Array(vec![one; usize::try_from(least).ok()?]))
        }
        (Some(_), _) => None,
        (None, 0) => Some(json!([])),
        (None, _) => None,
    }
}

fn single(
    schemas: &mut Schemas,
    field: &FieldDescriptor,
    name: &str,
    rules: &Rules,
    purpose: Use,
    within: &mut Vec<String>,
) -> Option<Value> {
    let checks = &rules.value;
    match field.kind() {
        Kind::Message(message) => match known::wrapped(message.full_name()) {
            Some("string") => text(schemas, name, checks),
            Some("bool") => Some(true.into()),
            Some("bytes") => bytes(checks),
            Some("float" | "double") => real(checks),
            Some(format) => integer(format, name, checks),
            None if message.full_name() == "google.protobuf.Duration" => duration(checks),
            None => below(schemas, &message, &BTreeSet::new(), purpose, within),
        },
        Kind::Enum(descriptor) => enumeration(&descriptor, checks),
        Kind::Bool => Some(checks.any_of.first().cloned().unwrap_or_else(|| true.into())),
        Kind::Bytes => bytes(checks),
        Kind::Float | Kind::Double => real(checks),
        Kind::String => text(schemas, name, checks),
        kind => integer(whole(&kind)?, name, checks),
    }
}

fn well_known(name: &str) -> Option<Value> {
    Some(match name {
        "google.protobuf.Timestamp" => TIME.into(),
        "google.protobuf.Duration" => "60s".into(),
        "google.protobuf.FieldMask" => "title".into(),
        "google.protobuf.Empty" => json!({}),
        "google.protobuf.Struct" => json!({"key": "value"}),
        "google.protobuf.Value" => "value".into(),
        "google.protobuf.ListValue" => json!(["value"]),
        "google.protobuf.Any" => {
            json!({"@type": "type.googleapis.com/google.protobuf.Duration", "value": "60s"})
        }
        _ => return None,
    })
}

/// The first value that means something.
fn enumeration(descriptor: &EnumDescriptor, checks: &Checks) -> Option<Value> {
    if descriptor.full_name() == "google.protobuf.NullValue" {
        return Some(Value::Null);
    }
    let allowed = allowed(descriptor, checks);
    let zero = descriptor.get_value(0);
    let zero = zero.as_ref().map(|zero| Value::from(zero.name()));
    allowed.iter().find(|name| Some(*name) != zero.as_ref()).or(allowed.first()).cloned()
}

/// A text for a field of this name that keeps the rules.
fn text(schemas: &mut Schemas, name: &str, checks: &Checks) -> Option<Value> {
    if let Some(first) = checks.any_of.first() {
        return Some(first.clone());
    }
    if let Some(format) = checks.format {
        let found = match format {
            "uuid" => UUID,
            "email" => "ana@example.com",
            "uri" => "https://example.com/",
            "uri-reference" => "/mugs/1",
            "hostname" => "example.com",
            "ipv4" => "192.0.2.1",
            _ => "2001:db8::1",
        };
        return Some(found.into());
    }
    let affixed = |text: &str| {
        let (prefix, suffix) = (checks.prefix.as_deref(), checks.suffix.as_deref());
        [
            prefix.unwrap_or_default(),
            checks.contains.as_deref().unwrap_or(text),
            suffix.unwrap_or_default(),
        ]
        .concat()
    };
    let ends = |end: &str| name == end || name.ends_with(&format!("_{end}"));
    let word = WORDS.iter().find(|(end, _)| ends(end)).map(|(_, word)| (*word).to_owned());
    let candidates =
        [word, Some(text::words(name)), Some(camel(name).to_lowercase()), Some("a".to_owned())];
    for candidate in candidates.into_iter().flatten() {
        if let Some(fitting) = fitted(schemas, &affixed(&candidate), checks) {
            return Some(fitting.into());
        }
    }
    let made = pattern::sample(checks.pattern.as_deref()?)?;
    fitted(schemas, &made, checks).map(Value::from)
}

/// The text, made as long as it must be and as short; `None` if it breaks a rule.
fn fitted(schemas: &mut Schemas, text: &str, checks: &Checks) -> Option<String> {
    let least = usize::try_from(checks.min.unwrap_or_default()).ok()?;
    let most = usize::try_from(checks.max.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let bytes_most = usize::try_from(checks.max_bytes.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let mut fitting: String = text.chars().take(most).collect();
    while fitting.chars().count() < least {
        let missing = least - fitting.chars().count();
        let more: String = text.chars().take(missing).collect();
        if more.is_empty() {
            return None;
        }
        fitting.push_str(&more);
    }
    let matches = match &checks.pattern {
        Some(pattern) => schemas.patterns.is_match(pattern, &fitting),
        None => true,
    };
    (matches && fitting.len() <= bytes_most && !checks.none_of.contains(&fitting.as_str().into()))
        .then_some(fitting)
}

fn bytes(checks: &Checks) -> Option<Value> {
    let (least, most) = (checks.min.unwrap_or_default(), checks.max.unwrap_or(u64::MAX));
    if (least..=most).contains(&8) {
        return Some(BYTES.into());
    }
    // "AAAA" is three zeros.
    let wanted = usize::try_from(least.max(most.min(1))).ok()?;
    let (whole, rest) = (wanted / 3, wanted % 3);
    let tail = ["", "AA==", "AAA="].get(rest)?;
    Some(format!("{}{tail}", "AAAA".repeat(whole)).into())
}

fn integer(format: &str, name: &str, checks: &Checks) -> Option<Value> {
    let is_text = format.ends_with("64");
    let shown = |number: i128| match is_text {
        true => Some(Value::from(number.to_string())),
        false => Bound::Whole(number).json(),
    };
    if let Some(first) = checks.any_of.first() {
        return if is_text { Some(first.to_string().into()) } else { Some(first.clone()) };
    }
    let named =
        NUMBERS.iter().find(|(end, _)| name.ends_with(end)).map_or(1, |(_, number)| *number);
    let (widest_least, widest_most) = extent(format);
    let (least, most) = checks.range(widest_least, widest_most);
    if least > most {
        return None;
    }
    let named = named.clamp(least, most);
    let next = named.saturating_add(1).clamp(least, most);
    let is_excluded =
        |number: &i128| Bound::Whole(*number).json().is_some_and(|it| checks.none_of.contains(&it));
    [named, next, least, most].into_iter().find(|number| !is_excluded(number)).and_then(shown)
}

fn real(checks: &Checks) -> Option<Value> {
    if let Some(first) = checks.any_of.first() {
        return Some(first.clone());
    }
    let bounds = [checks.least, checks.most].into_iter().flatten().find_map(Bound::json);
    let is_open =
        [checks.least, checks.most, checks.above, checks.below].iter().all(Option::is_none);
    if is_open { Some(1.5.into()) } else { bounds.or_else(|| Some(1.into())) }
}

fn duration(checks: &Checks) -> Option<Value> {
    let minute = Bound::Whole(60_000_000_000);
    let seconds = match (checks.least, checks.most) {
        (Some(Bound::Whole(least)), _) if least > 60_000_000_000 => Bound::Whole(least),
        (_, Some(Bound::Whole(most))) if most < 60_000_000_000 => Bound::Whole(most),
        _ => minute,
    };
    Some(seconds.seconds()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_as_many_as_they_must_be() {
        let long = |least: u64, most: u64| Checks {
            min: Some(least),
            max: Some(most),
            ..Checks::default()
        };
        assert_eq!(bytes(&Checks::default()), Some(BYTES.into()));
        assert_eq!(bytes(&long(32, 32)), Some(format!("{}AAA=", "AAAA".repeat(10)).into()));
        assert_eq!(bytes(&long(0, 4)), Some("AA==".into()));
    }

    #[test]
    fn a_number_is_taken_into_its_bounds() {
        let bounded = Checks { most: Some(Bound::Whole(5)), ..Checks::default() };
        assert_eq!(integer("int32", "page_size", &bounded), Some(5.into()));
        assert_eq!(integer("int64", "page_size", &Checks::default()), Some("20".into()));
        let negative = Checks { below: Some(Bound::Whole(0)), ..Checks::default() };
        assert_eq!(integer("int32", "x", &negative), Some((-1).into()));
    }
}
