//! What a request says in its path, query and headers.

use std::collections::BTreeSet;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};
use transcode::BodyRule;

use super::{
    Limits,
    body::below,
    example::{self, Use},
    find, known,
    operation::Facts,
    path::{Extent, Parameter},
    schema::Schemas,
    text,
};
use crate::{
    compression::Coding,
    rest::{KEY_BYTES_MAX, TAG_BYTES_MAX},
};

/// How many parameters a query is described with: messages within messages can
/// have any number.
const QUERY_PARAMETERS_MAX: usize = 200;

/// All parameters of a binding.
pub(super) fn all(schemas: &mut Schemas, facts: &Facts<'_>) -> Vec<Value> {
    let (method, binding, path) = (facts.method, facts.binding, facts.path);
    let input = method.descriptor().input();
    let mut found: Vec<Value> =
        path.parameters().map(|parameter| in_path(schemas, &input, parameter)).collect();
    if !matches!(binding.body(), BodyRule::Whole) {
        let mut query = Query {
            schemas,
            bound: binding.variables().map(|(field, _)| field.as_str().to_owned()).collect(),
            mask: None,
            within: Vec::new(),
            found: Vec::new(),
        };
        if let BodyRule::Field(field) = binding.body() {
            query.mask = find(&input, field.as_str())
                .and_then(|resource| named(query.schemas, &resource, &query.bound));
            query.bound.insert(field.as_str().to_owned());
        }
        query.message(&input, "", "", true);
        found.append(&mut query.found);
    }
    if let Some(field) = method.request_id() {
        found.push(idempotency_key(schemas, find(&input, field.as_str()).as_ref()));
    }
    if facts.takes_if_match() {
        let field = method.etag().filter(|_| !facts.plan.is_read);
        found.push(if_match(schemas, field.and_then(|field| find(&input, field.as_str()))));
    }
    for (name, is_read) in [
        ("If-None-Match", facts.takes_if_none_match()),
        ("Range", facts.is_download()),
        ("Last-Event-ID", facts.resumes),
        ("Prefer", facts.takes_prefer()),
        ("X-Request-Timeout", true),
    ] {
        if is_read {
            found.push(reference(name));
        }
    }
    found
}

/// The key stands in for a field, and keeps its rules.
fn idempotency_key(schemas: &mut Schemas, field: Option<&FieldDescriptor>) -> Value {
    let limit = u64::try_from(KEY_BYTES_MAX).unwrap_or(u64::MAX);
    let mut schema = match field {
        Some(field) => schemas.field(field, limit),
        None => json!({"type": "string", "maxLength": limit}),
    };
    let example = field.and_then(|field| example::field(schemas, field, Use::Request));
    if let Value::Object(schema) = &mut schema {
        // An empty one is refused, whatever the field.
        schema.entry("minLength").or_insert_with(|| 1.into());
        let most = schema.get("maxLength").and_then(Value::as_u64).unwrap_or(limit).min(limit);
        schema.insert("maxLength".to_owned(), most.into());
    }
    json!({
        "name": "Idempotency-Key",
        "in": "header",
        "required": false,
        "description": "Stands in for `requestId`: the same call sent again has one effect and one \
            answer. If both are given they must be the same. It may be in quotes.",
        "schema": schema,
        "example": example.unwrap_or_else(|| "01890a5d-ac96-774b-bcce-b302099a8057".into()),
    })
}

/// Of a write it stands in for a field, and keeps its length.
fn if_match(schemas: &mut Schemas, field: Option<FieldDescriptor>) -> Value {
    let rules = field.map(|field| schemas.rules(&field)).unwrap_or_default();
    let most = rules.value.max.or(rules.value.max_bytes);
    let limit = u64::try_from(TAG_BYTES_MAX).unwrap_or(u64::MAX);
    let most = most.unwrap_or(limit).clamp(1, limit);
    // What the tag is made of is escaped where a tag cannot hold it, and a compressed
    // answer has the coding behind it.
    let codings = Coding::ALL.map(Coding::name).join("|");
    let tag = format!("\"([!#$&-~]|%[0-9A-F]{{2}}){{1,{most}}}(\\+({codings}))?\"");
    let longest = Coding::ALL.map(|coding| coding.name().len()).into_iter().max().unwrap_or(0);
    let longest = u64::try_from(longest).unwrap_or(u64::MAX).saturating_add(3);
    json!({
        "name": "If-Match",
        "in": "header",
        "required": false,
        "description": "Nothing is changed, or answered, unless the thing is still the one with \
            this entity tag; `*` is any. Of a write it stands in for `etag`: if both are given they \
            must be the same.",
        "schema": {
            "type": "string",
            "pattern": format!("^(\\*|{tag})$"),
            "maxLength": most.saturating_mul(3).saturating_add(longest),
        },
        "example": "\"5\"",
    })
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/parameters/{name}")})
}

/// The headers of requests that are the same wherever they are read, as components.
/// A header is as long as the head may be.
pub(super) fn components(limits: Limits) -> Value {
    json!({
        "If-None-Match": {
            "name": "If-None-Match",
            "in": "header",
            "required": false,
            "description": "Entity tags of answers that the client has: 304 if one is today's.",
            "schema": {"type": "string", "maxLength": limits.head_bytes},
            "example": "\"5\"",
        },
        "Range": {
            "name": "Range",
            "in": "header",
            "required": false,
            "description": "Which part of the content to answer, as `bytes=0-1023` (RFC 9110, \
                section 14): one range, of a content whose length is known. Anything else is \
                answered with the whole.",
            "schema": {"type": "string", "maxLength": limits.head_bytes},
            "example": "bytes=0-1023",
        },
        "Last-Event-ID": {
            "name": "Last-Event-ID",
            "in": "header",
            "required": false,
            "description": "The `id` of the last event that the client has: the stream goes on \
                behind it. An `EventSource` that comes back sends it by itself.",
            "schema": {"type": "string", "maxLength": limits.head_bytes},
            "example": "5",
        },
        "Prefer": {
            "name": "Prefer",
            "in": "header",
            "required": false,
            "description": "What the client would like (RFC 7240): `return=minimal` for no body, \
                `respond-async` not to wait for an operation, `handling=lenient` to leave out fields \
                that are not known. What was heeded is in `Preference-Applied`.",
            "schema": {"type": "string", "maxLength": limits.head_bytes},
            "example": "return=representation",
        },
        "X-Request-Timeout": {
            "name": "X-Request-Timeout",
            "in": "header",
            "required": false,
            "description": "How long the caller will wait: seconds, or a number with a unit of `h`, \
                `m`, `s`, `ms` or `us`. The deadline of the method is the longest that is granted.",
            "schema": {"type": "string", "maxLength": 24,
                "pattern": "^[0-9]{1,10}(\\.[0-9]{1,9})?(h|m|s|ms|us)?$"},
            "example": "2.5",
        },
    })
}

fn in_path(schemas: &mut Schemas, input: &MessageDescriptor, parameter: &Parameter) -> Value {
    let field = parameter.field.as_deref().and_then(|field| find(input, field));
    let limit = schemas.limits.uri_bytes;
    let comment = field.as_ref().map(|field| schemas.texts.of_field(field)).unwrap_or_default();
    let (schema, told) = match (&parameter.extent, &field) {
        (Extent::Whole, Some(field)) => (non_empty(schemas.field(field, limit)), comment),
        (Extent::Whole, None) => {
            (json!({"type": "string", "minLength": 1, "maxLength": limit}), comment)
        }
        (Extent::Segment(pattern), _) => {
            let told = format!("One segment of `{pattern}`.");
            (
                json!({"type": "string", "minLength": 1, "maxLength": limit}),
                text::paragraphs(&comment, &told),
            )
        }
        (Extent::Rest, _) => {
            let told = "All that follows in the path, with its slashes as they are.";
            (json!({"type": "string", "maxLength": limit}), text::paragraphs(&comment, told))
        }
    };
    let mut described = json!({
        "name": parameter.name,
        "in": "path",
        "required": true,
        "description": told,
        "schema": schema,
    });
    let example = match (&parameter.extent, &field) {
        (Extent::Whole, Some(field)) => example::field(schemas, field, Use::Request),
        _ => Some("1".into()),
    };
    if let (Value::Object(fields), Some(example)) = (&mut described, example) {
        fields.insert("example".to_owned(), example);
    }
    described
}

/// A segment of a path is never empty.
fn non_empty(mut schema: Value) -> Value {
    if let Value::Object(fields) = &mut schema
        && fields.get("type").and_then(Value::as_str) == Some("string")
        && !["enum", "format", "pattern", "minLength"].iter().any(|word| fields.contains_key(*word))
    {
        fields.insert("minLength".to_owned(), 1.into());
    }
    schema
}

/// Every field that a query can set.
struct Query<'s> {
    schemas: &'s mut Schemas,
    /// Fields that path or body set.
    bound: BTreeSet<String>,
    /// What the mask of a change may name.
    mask: Option<Value>,
    within: Vec<String>,
    found: Vec<Value>,
}

impl Query<'_> {
    /// `names` is in front of a field's name in the contract, `shown` in front of
    /// its name in the query.
    fn message(&mut self, message: &MessageDescriptor, names: &str, shown: &str, demanded: bool) {
        if self.within.iter().any(|name| name == message.full_name()) {
            return;
        }
        self.within.push(message.full_name().to_owned());
        for field in message.fields() {
            let path = format!("{names}{}", field.name());
            let name = format!("{shown}{}", field.json_name());
            let rules = self.schemas.rules(&field);
            if self.bound.contains(&path)
                || rules.output_only
                || self.found.len() >= QUERY_PARAMETERS_MAX
            {
                continue;
            }
            let demanded = demanded && self.schemas.is_required(&field);
            match field.kind() {
                Kind::Message(entry) if field.is_map() => {
                    let value = entry.map_entry_value_field();
                    self.parameter(&field, &value, &name, demanded);
                }
                Kind::Message(inner) if !field.is_list() && !known::is_known(inner.full_name()) => {
                    self.message(&inner, &format!("{path}."), &format!("{name}."), demanded);
                }
                _ => self.parameter(&field, &field, &name, demanded),
            }
        }
        self.within.pop();
    }

    /// `value` is what one parameter says: the field itself, or the value of a map.
    fn parameter(
        &mut self,
        field: &FieldDescriptor,
        value: &FieldDescriptor,
        name: &str,
        demanded: bool,
    ) {
        if !is_sayable(value) {
            return;
        }
        let limit = self.schemas.limits.uri_bytes;
        let mut described = Map::from_iter([
            ("name".to_owned(), Value::from(name)),
            ("in".to_owned(), "query".into()),
            ("required".to_owned(), demanded.into()),
            ("description".to_owned(), self.schemas.texts.of_field(field).into()),
            ("schema".to_owned(), self.schemas.field(field, limit)),
        ]);
        if field.is_map() {
            // `labels[size]=small`
            described.insert("style".to_owned(), "deepObject".into());
            described.insert("explode".to_owned(), true.into());
        } else if demanded || is_plain(field) {
            let example = match field.name() {
                "update_mask" if self.mask.is_some() => self.mask.clone(),
                _ => example::field(self.schemas, field, Use::Request),
            };
            described.extend(example.map(|example| ("example".to_owned(), example)));
        }
        self.found.push(Value::Object(described));
    }
}

/// All fields that the example of a body names: a mask may not leave any out
/// where null takes away.
fn named(
    schemas: &mut Schemas,
    resource: &FieldDescriptor,
    bound: &BTreeSet<String>,
) -> Option<Value> {
    let Kind::Message(message) = resource.kind() else { return None };
    let inner = below(bound, resource.name());
    let example = example::message(schemas, &message, &inner, Use::Request);
    let names: Vec<&str> = example.as_object()?.keys().map(String::as_str).collect();
    Some(names.join(",").into())
}

/// Whether a query parameter can say one value of a field.
fn is_sayable(field: &FieldDescriptor) -> bool {
    match field.kind() {
        Kind::Message(message) => known::is_text(message.full_name()),
        _ => true,
    }
}

/// Whether any client may try a value of the example's kind: page tokens and tags
/// are only ever what the server gave.
fn is_plain(field: &FieldDescriptor) -> bool {
    !["page_token", "etag"].contains(&field.name())
}
