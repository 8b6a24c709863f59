//! As much of JSON Schema (2020-12) as the document uses, read strictly: a keyword
//! that is not known here is a failure, so that none goes unchecked.

use regex::Regex;
use serde_json::Value;

/// Keywords that say nothing about what is valid.
const ANNOTATIONS: [&str; 11] = [
    "description",
    "readOnly",
    "writeOnly",
    "deprecated",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "properties",
    "additionalProperties",
    "$ref",
    "title",
];

/// What is wrong with a value, by the path of each part that breaks the schema.
pub(crate) fn problems(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(document, schema, value, "", &mut found);
    found
}

/// The target of a reference within the document.
pub(crate) fn resolve<'d>(document: &'d Value, reference: &str) -> Option<&'d Value> {
    document.pointer(reference.strip_prefix('#')?)
}

fn check(document: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let Some(keywords) = schema.as_object() else { return };
    if let Some(reference) = schema["$ref"].as_str() {
        let target = resolve(document, reference).unwrap_or_else(|| panic!("{reference}"));
        check(document, target, value, at, found);
    }
    for (keyword, wanted) in keywords {
        if !holds(document, schema, keyword, wanted, value, at, found) {
            found.push(format!("{at}: {value} breaks {keyword} {wanted}"));
        }
    }
}

fn is_valid(document: &Value, schema: &Value, value: &Value) -> bool {
    problems(document, schema, value).is_empty()
}

fn holds(
    document: &Value,
    schema: &Value,
    keyword: &str,
    wanted: &Value,
    value: &Value,
    at: &str,
    found: &mut Vec<String>,
) -> bool {
    let count = |length: usize| u64::try_from(length).unwrap();
    let text = value.as_str();
    let characters = text.map(|text| count(text.chars().count()));
    let items = value.as_array();
    let members = value.as_object();
    let list = || wanted.as_array().unwrap().iter();
    match keyword {
        "type" => match wanted.as_str().unwrap() {
            "object" => members.is_some(),
            "array" => items.is_some(),
            "string" => text.is_some(),
            "boolean" => value.is_boolean(),
            "number" => value.is_number(),
            "integer" => value.is_i64() || value.is_u64(),
            "null" => value.is_null(),
            other => panic!("no such type: {other}"),
        },
        "enum" => list().any(|one| one == value),
        "minLength" => characters.is_none_or(|length| length >= wanted.as_u64().unwrap()),
        "maxLength" => characters.is_none_or(|length| length <= wanted.as_u64().unwrap()),
        "pattern" => {
            text.is_none_or(|text| Regex::new(wanted.as_str().unwrap()).unwrap().is_match(text))
        }
        "format" => text.is_none_or(|text| is_of_format(wanted.as_str().unwrap(), text)),
        "minimum" => value.as_f64().is_none_or(|number| number >= wanted.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|number| number <= wanted.as_f64().unwrap()),
        "exclusiveMinimum" => value.as_f64().is_none_or(|number| number > wanted.as_f64().unwrap()),
        "exclusiveMaximum" => value.as_f64().is_none_or(|number| number < wanted.as_f64().unwrap()),
        "minItems" => items.is_none_or(|items| count(items.len()) >= wanted.as_u64().unwrap()),
        "maxItems" => items.is_none_or(|items| count(items.len()) <= wanted.as_u64().unwrap()),
        "uniqueItems" => items.is_none_or(|items| {
            items.iter().enumerate().all(|(at, item)| !items[..at].contains(item))
        }),
        "items" => {
            for (position, item) in items.into_iter().flatten().enumerate() {
                check(document, wanted, item, &format!("{at}/{position}"), found);
            }
            true
        }
        // Answers have no members that are only written.
        "required" => members.is_none_or(|members| {
            list().map(|name| name.as_str().unwrap()).all(|name| {
                members.contains_key(name) || schema["properties"][name]["writeOnly"] == true
            })
        }),
        "minProperties" => {
            members.is_none_or(|members| count(members.len()) >= wanted.as_u64().unwrap())
        }
        "maxProperties" => {
            members.is_none_or(|members| count(members.len()) <= wanted.as_u64().unwrap())
        }
        "propertyNames" => members.is_none_or(|members| {
            members.keys().all(|name| is_valid(document, wanted, &name.as_str().into()))
        }),
        "not" => !is_valid(document, wanted, value),
        "anyOf" => list().any(|one| is_valid(document, one, value)),
        _ if ANNOTATIONS.contains(&keyword) => {
            if keyword == "properties" || keyword == "additionalProperties" {
                each_member(document, schema, keyword, wanted, value, at, found);
            }
            true
        }
        other => panic!("the keyword {other} is not known here"),
    }
}

fn each_member(
    document: &Value,
    schema: &Value,
    keyword: &str,
    wanted: &Value,
    value: &Value,
    at: &str,
    found: &mut Vec<String>,
) {
    for (name, member) in value.as_object().into_iter().flatten() {
        let place = format!("{at}/{name}");
        let named = schema["properties"].get(name);
        match (keyword, named) {
            ("properties", Some(named)) => check(document, named, member, &place, found),
            ("additionalProperties", None) if *wanted == false => {
                found.push(format!("{place} is not a member that there may be"));
            }
            ("additionalProperties", None) => check(document, wanted, member, &place, found),
            _ => {}
        }
    }
}

fn is_of_format(format: &str, text: &str) -> bool {
    let matches = |pattern: &str| Regex::new(pattern).unwrap().is_match(text);
    match format {
        "uuid" => matches("^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$"),
        "email" => matches("^[^@ ]+@[^@ ]+$"),
        "uri" => matches("^[a-z]+:"),
        "uri-reference" => !text.contains(' '),
        "hostname" => matches(r"^[a-z0-9-]+(\.[a-z0-9-]+)*$"),
        "date-time" => matches(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"),
        "byte" => matches("^[A-Za-z0-9+/]*={0,2}$") && text.len().is_multiple_of(4),
        "ipv4" | "ipv6" => text.parse::<std::net::IpAddr>().is_ok(),
        "int64" => text.parse::<i64>().is_ok(),
        "uint64" => text.parse::<u64>().is_ok(),
        "int32" | "uint32" | "float" | "double" => false,
        other => panic!("the format {other} is not known here"),
    }
}
