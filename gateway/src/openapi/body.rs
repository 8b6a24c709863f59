//! The body of a request, in every form that is read.

use std::collections::BTreeSet;

use chassis::validation::options::is_oneof_required;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};
use transcode::{BodyRule, Content};

use super::{
    example::{self, Use},
    find, known,
    operation::Facts,
    schema::Schemas,
};

/// The body of an operation; `None` where the http rule has none.
pub(super) fn request(schemas: &mut Schemas, facts: &Facts<'_>) -> Option<Value> {
    let (method, binding) = (facts.method, facts.binding);
    let input = method.descriptor().input();
    let bound: BTreeSet<String> =
        binding.variables().map(|(field, _)| field.as_str().to_owned()).collect();
    let is_content = facts.plan.raw == Some(Content::HttpBody);
    let (schema, example, is_required) = match binding.body() {
        BodyRule::None => return None,
        BodyRule::Whole if is_content => (Value::Null, None, false),
        BodyRule::Field(field) if is_content => {
            (Value::Null, None, schemas.is_required(&find(&input, field.as_str())?))
        }
        BodyRule::Whole => {
            let schema = schemas.part(&input, &bound);
            let example = example::message(schemas, &input, &bound, Use::Request);
            (schema, Some(example), is_demanding(schemas, &input, &bound))
        }
        BodyRule::Field(field) => {
            let found = find(&input, field.as_str())?;
            let inner = below(&bound, field.as_str());
            let limit = schemas.limits.request_bytes;
            match found.kind() {
                Kind::Message(message)
                    if !found.is_list()
                        && !found.is_map()
                        && !known::is_known(message.full_name()) =>
                {
                    let is_required = schemas.is_required(&found)
                        || !inner.is_empty() && is_demanding(schemas, &message, &inner);
                    let schema = schemas.part(&message, &inner);
                    let example = example::message(schemas, &message, &inner, Use::Request);
                    (schema, Some(example), is_required)
                }
                _ => {
                    let is_required = schemas.is_required(&found);
                    let schema = schemas.field(&found, limit);
                    (schema, example::field(schemas, &found, Use::Request), is_required)
                }
            }
        }
    };
    let mut content = Map::new();
    if facts.plan.raw.is_some() {
        content.insert("*/*".to_owned(), json!({}));
    }
    if method.is_client_streaming() {
        if facts.plan.raw.is_none() {
            let most = schemas.limits.request_bytes / 2;
            let items = json!({"type": "array", "items": schema, "maxItems": most});
            let example = example.map(|example| json!([example]));
            content.insert("application/json".to_owned(), media(items, example));
            let lines = lines("application/x-ndjson", &schema);
            content.insert("application/x-ndjson".to_owned(), lines);
        }
    } else if !is_content {
        if binding.http_method() == "PATCH"
            && let Some(patch) = merge_patch(schemas, &schema)
        {
            content.insert("application/merge-patch+json".to_owned(), patch);
        }
        content.insert("application/json".to_owned(), media(schema, example));
    }
    if let Some(form) = form(schemas, &input, binding.body(), &bound) {
        content.insert("multipart/form-data".to_owned(), json!({"schema": form}));
    }
    // A stream of nothing is a stream too, and an empty file a file.
    let is_required = is_required && !method.is_client_streaming();
    Some(json!({"required": is_required, "content": content}))
}

/// The paths below a field, as paths below its message.
pub(super) fn below(paths: &BTreeSet<String>, field: &str) -> BTreeSet<String> {
    paths
        .iter()
        .filter_map(|path| path.strip_prefix(field)?.strip_prefix('.'))
        .map(str::to_owned)
        .collect()
}

/// Whether a message without any field of its own breaks a rule. Those of `bound`
/// are set.
fn is_demanding(
    schemas: &mut Schemas,
    message: &MessageDescriptor,
    bound: &BTreeSet<String>,
) -> bool {
    let is_set = |field: &FieldDescriptor| {
        let path = field.name();
        bound.contains(path) || !below(bound, path).is_empty()
    };
    let demanded = message.fields().any(|field| match field.kind() {
        _ if bound.contains(field.name()) => false,
        Kind::Message(inner) if is_set(&field) => {
            is_demanding(schemas, &inner, &below(bound, field.name()))
        }
        _ => schemas.is_required(&field),
    });
    demanded
        || message
            .oneofs()
            .any(|oneof| is_oneof_required(&oneof) && !oneof.fields().any(|field| is_set(&field)))
}

/// The same members, each of which null takes away (RFC 7396).
fn merge_patch(schemas: &Schemas, schema: &Value) -> Option<Value> {
    let reference = schema.get("$ref")?.as_str()?;
    let names = schemas.properties(reference.rsplit('/').next()?)?;
    let properties: Map<String, Value> = names
        .map(|name| {
            let member = json!({"$ref": format!("{reference}/properties/{name}")});
            (name.to_owned(), json!({"anyOf": [member, {"type": "null"}]}))
        })
        .collect();
    Some(json!({"schema": {
        "type": "object",
        "description": "What is named changes, and null takes it away.",
        "properties": properties,
        "additionalProperties": false,
    }}))
}

/// The request as a form with files (RFC 7578), if a file has somewhere to go.
/// Parts for fields of messages and maps are named as in a query.
fn form(
    schemas: &mut Schemas,
    input: &MessageDescriptor,
    rule: &BodyRule,
    bound: &BTreeSet<String>,
) -> Option<Value> {
    let takes_part = |field: &FieldDescriptor| match rule {
        BodyRule::None => false,
        BodyRule::Whole => true,
        BodyRule::Field(path) => path.as_str() == field.name() || !is_file(field),
    };
    let fields: Vec<FieldDescriptor> =
        input.fields().filter(|field| !bound.contains(field.name()) && takes_part(field)).collect();
    if !fields.iter().any(is_file) {
        return None;
    }
    let limit = schemas.limits.request_bytes;
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in &fields {
        if schemas.is_required(field) {
            required.push(Value::from(field.json_name()));
        }
        let schema = match field.kind() {
            _ if is_file(field) => {
                let checks = schemas.rules(field).value;
                json!({
                    "type": "string",
                    "format": "binary",
                    "minLength": checks.min.unwrap_or_default(),
                    "maxLength": checks.max.unwrap_or(limit),
                })
            }
            Kind::Message(message) if !known::is_text(message.full_name()) => continue,
            _ => schemas.field(field, limit),
        };
        properties.insert(field.json_name().to_owned(), schema);
    }
    Some(json!({
        "type": "object",
        "description": "A form with files: a part goes into the field of its name.",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    }))
}

/// Whether a part of a form with this name is content as it is.
fn is_file(field: &FieldDescriptor) -> bool {
    match field.kind() {
        Kind::Bytes => !field.is_map(),
        Kind::Message(message) => !field.is_map() && message.full_name() == "google.api.HttpBody",
        _ => false,
    }
}

fn media(schema: Value, example: Option<Value>) -> Value {
    let mut media = Map::from_iter([("schema".to_owned(), schema)]);
    media.extend(example.map(|example| ("example".to_owned(), example)));
    Value::Object(media)
}

/// A text of many values: to a client it is text, of which each line or event is
/// what the inner schema says.
pub(super) fn lines(media_type: &str, schema: &Value) -> Value {
    json!({"schema": {
        "type": "string",
        "contentMediaType": media_type,
        "contentSchema": schema,
    }})
}
