//! Messages as JSON Schema (2020-12), as their JSON mapping has them.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _,
    Value as Reflected,
};
use serde_json::{Map, Value, json};

use super::text;

/// The schemas of all messages that were asked for.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    known: BTreeMap<String, Value>,
}

// === impl Schemas ===

impl Schemas {
    /// All of them, with the one of errors.
    pub(super) fn finish(mut self) -> Value {
        self.known.insert("Error".to_owned(), error());
        json!(self.known)
    }

    /// A reference to a message's schema, which is made if it is not known.
    pub(super) fn message(&mut self, message: &MessageDescriptor) -> Value {
        if let Some(schema) = well_known(message.full_name()) {
            return schema;
        }
        let name = message.full_name().to_owned();
        if !self.known.contains_key(&name) {
            self.known.insert(name.clone(), Value::Null);
            let schema = self.object(message, &BTreeSet::new());
            self.known.insert(name.clone(), schema);
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// A message as a body, without the fields that the path sets.
    pub(super) fn body(&mut self, message: &MessageDescriptor, bound: &BTreeSet<String>) -> Value {
        if bound.is_empty() { self.message(message) } else { self.object(message, bound) }
    }

    fn object(&mut self, message: &MessageDescriptor, without: &BTreeSet<String>) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in message.fields().filter(|field| !without.contains(field.name())) {
            if is_required(&field) {
                required.push(Value::from(field.json_name()));
            }
            let mut schema = self.field(&field);
            if let Value::Object(schema) = &mut schema {
                let comment = text::of_field(&field);
                if !comment.is_empty() {
                    schema.insert("description".to_owned(), comment.into());
                }
                if has_behavior(&field, "OUTPUT_ONLY") {
                    schema.insert("readOnly".to_owned(), true.into());
                }
                if has_behavior(&field, "INPUT_ONLY") {
                    schema.insert("writeOnly".to_owned(), true.into());
                }
            }
            properties.insert(field.json_name().to_owned(), schema);
        }
        let mut object =
            json!({"type": "object", "properties": properties, "additionalProperties": false});
        if let Value::Object(fields) = &mut object {
            let comment = text::of_message(message);
            if !comment.is_empty() {
                fields.insert("description".to_owned(), comment.into());
            }
            if !required.is_empty() {
                fields.insert("required".to_owned(), required.into());
            }
        }
        object
    }

    /// The schema of a field's value.
    pub(super) fn field(&mut self, field: &FieldDescriptor) -> Value {
        let rules = rules(field);
        if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
            let value = self.single(&entry.map_entry_value_field(), None);
            return json!({"type": "object", "additionalProperties": value});
        }
        if field.is_list() {
            let list = rules.as_ref().and_then(|rules| inner(rules, "repeated"));
            let items = list.as_ref().and_then(|list| inner(list, "items"));
            let mut array = json!({"type": "array", "items": self.single(field, items.as_ref())});
            if let (Value::Object(array), Some(list)) = (&mut array, &list) {
                copy(list, "min_items", array, "minItems");
                copy(list, "max_items", array, "maxItems");
            }
            return array;
        }
        self.single(field, rules.as_ref())
    }

    fn single(&mut self, field: &FieldDescriptor, rules: Option<&DynamicMessage>) -> Value {
        match field.kind() {
            Kind::Message(message) => self.message(&message),
            Kind::Enum(descriptor) => enumeration(&descriptor),
            Kind::Bool => json!({"type": "boolean"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Float | Kind::Double => json!({"type": "number"}),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"})
            }
            Kind::Uint64 | Kind::Fixed64 => {
                json!({"type": "string", "format": "uint64", "pattern": "^[0-9]{1,20}$"})
            }
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => bounded(
                json!({"type": "integer", "format": "int32"}),
                rules,
                "int32",
                (-2_147_483_648, 2_147_483_647),
            ),
            Kind::Uint32 | Kind::Fixed32 => bounded(
                json!({"type": "integer", "format": "uint32"}),
                rules,
                "uint32",
                (0, 4_294_967_295),
            ),
            Kind::String => string(rules.and_then(|rules| inner(rules, "string")).as_ref()),
        }
    }
}

fn string(rules: Option<&DynamicMessage>) -> Value {
    let mut schema = Map::from_iter([("type".to_owned(), Value::from("string"))]);
    let Some(rules) = rules else { return Value::Object(schema) };
    copy(rules, "min_len", &mut schema, "minLength");
    copy(rules, "max_len", &mut schema, "maxLength");
    copy(rules, "len", &mut schema, "minLength");
    copy(rules, "len", &mut schema, "maxLength");
    copy(rules, "pattern", &mut schema, "pattern");
    for (rule, format) in
        [("uuid", "uuid"), ("email", "email"), ("uri", "uri"), ("hostname", "hostname")]
    {
        if rules.get_field_by_name(rule).and_then(|value| value.as_bool()) == Some(true) {
            schema.insert("format".to_owned(), format.into());
        }
    }
    Value::Object(schema)
}

fn bounded(
    mut schema: Value,
    rules: Option<&DynamicMessage>,
    kind: &str,
    (min, max): (i64, i64),
) -> Value {
    let Value::Object(fields) = &mut schema else { return schema };
    fields.insert("minimum".to_owned(), min.into());
    fields.insert("maximum".to_owned(), max.into());
    if let Some(rules) = rules.and_then(|rules| inner(rules, kind)) {
        for (rule, keyword) in [
            ("gte", "minimum"),
            ("lte", "maximum"),
            ("gt", "exclusiveMinimum"),
            ("lt", "exclusiveMaximum"),
        ] {
            copy(&rules, rule, fields, keyword);
        }
    }
    schema
}

fn enumeration(descriptor: &EnumDescriptor) -> Value {
    let names: Vec<Value> = descriptor.values().map(|value| value.name().into()).collect();
    let told = descriptor.values().map(|value| {
        let comment = text::of_value(&value).replace('\n', " ");
        format!("- `{}`: {comment}", value.name())
    });
    json!({"type": "string", "enum": names, "description": told.collect::<Vec<_>>().join("\n")})
}

/// Whether the JSON mapping has a form of its own for the field's message.
pub(super) fn is_well_known(field: &FieldDescriptor) -> bool {
    match field.kind() {
        Kind::Message(message) => well_known(message.full_name()).is_some(),
        _ => true,
    }
}

fn well_known(name: &str) -> Option<Value> {
    Some(match name {
        "google.protobuf.Timestamp" => json!({"type": "string", "format": "date-time"}),
        "google.protobuf.Duration" => {
            json!({"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?s$"})
        }
        "google.protobuf.FieldMask" => {
            json!({"type": "string", "description": "Names of fields, with commas between."})
        }
        "google.protobuf.Empty" => json!({"type": "object"}),
        "google.protobuf.Struct" => json!({"type": "object", "additionalProperties": true}),
        "google.protobuf.Value" => json!({}),
        "google.protobuf.ListValue" => json!({"type": "array", "items": {}}),
        "google.protobuf.Any" => {
            json!({"type": "object", "properties": {"@type": {"type": "string"}}, "additionalProperties": true})
        }
        "google.protobuf.BoolValue" => json!({"type": "boolean"}),
        "google.protobuf.StringValue" => json!({"type": "string"}),
        "google.protobuf.BytesValue" => json!({"type": "string", "contentEncoding": "base64"}),
        "google.protobuf.Int32Value" | "google.protobuf.UInt32Value" => json!({"type": "integer"}),
        "google.protobuf.Int64Value" | "google.protobuf.UInt64Value" => json!({"type": "string"}),
        "google.protobuf.FloatValue" | "google.protobuf.DoubleValue" => json!({"type": "number"}),
        "google.api.HttpBody" => {
            json!({"type": "string", "contentMediaType": "application/octet-stream"})
        }
        _ => return None,
    })
}

/// The form of every failure; see `problem`.
fn error() -> Value {
    let texts = |names: &[&str]| -> Map<String, Value> {
        names.iter().map(|name| ((*name).to_owned(), json!({"type": "string"}))).collect()
    };
    json!({
        "type": "object",
        "required": ["error"],
        "properties": {"error": {
            "type": "object",
            "required": ["code", "status", "message", "request_id"],
            "properties": {
                "code": {"type": "integer", "format": "int32", "minimum": 400, "maximum": 599,
                    "description": "The HTTP status."},
                "status": {"type": "string", "description": "The gRPC code: NOT_FOUND."},
                "reason": {"type": "string", "description": "The cause, for programs: CART_NOT_FOUND."},
                "domain": {"type": "string", "description": "The package whose cause it is."},
                "message": {"type": "string", "description": "The cause, for people."},
                "violations": {"type": "array", "description": "The fields that are wrong, and the fix.",
                    "items": {"type": "object", "properties": texts(&["field", "description"])}},
                "preconditions": {"type": "array", "description": "What stands in the way.",
                    "items": {"type": "object", "properties": texts(&["type", "subject", "description"])}},
                "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
                "retry_after_seconds": {"type": "integer", "format": "int64", "minimum": 0, "maximum": 86400},
                "request_id": {"type": "string", "description": "Names the request; logs and traces have it too."},
            },
        }},
    })
}

// === options ===

/// Whether a value must be given.
pub(super) fn is_required(field: &FieldDescriptor) -> bool {
    has_behavior(field, "REQUIRED")
        || rules(field)
            .and_then(|rules| rules.get_field_by_name("required").and_then(|value| value.as_bool()))
            .unwrap_or_default()
}

fn has_behavior(field: &FieldDescriptor, name: &str) -> bool {
    let pool = field.parent_pool().clone();
    let Some(extension) = pool.get_extension_by_name("google.api.field_behavior") else {
        return false;
    };
    let Kind::Enum(behaviors) = extension.kind() else { return false };
    let Some(wanted) = behaviors.get_value_by_name(name) else { return false };
    let options = field.options();
    let value = options.get_extension(&extension);
    value.as_list().is_some_and(|list| {
        list.iter().any(|found| found.as_enum_number() == Some(wanted.number()))
    })
}

fn rules(field: &FieldDescriptor) -> Option<DynamicMessage> {
    let extension = field.parent_pool().get_extension_by_name("buf.validate.field")?;
    let options = field.options();
    if !options.has_extension(&extension) {
        return None;
    }
    options.get_extension(&extension).as_message().cloned()
}

fn inner(rules: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    let field = rules.descriptor().get_field_by_name(name)?;
    if !rules.has_field(&field) {
        return None;
    }
    rules.get_field(&field).as_message().cloned()
}

/// Copies a rule that is set to a keyword of JSON Schema.
fn copy(rules: &DynamicMessage, rule: &str, schema: &mut Map<String, Value>, keyword: &str) {
    let Some(field) = rules.descriptor().get_field_by_name(rule) else { return };
    if !rules.has_field(&field) {
        return;
    }
    let value = match &*rules.get_field(&field) {
        Reflected::U64(number) => Value::from(*number),
        Reflected::U32(number) => Value::from(*number),
        Reflected::I64(number) => Value::from(*number),
        Reflected::I32(number) => Value::from(*number),
        Reflected::String(text) => Value::from(text.as_str()),
        _ => return,
    };
    schema.insert(keyword.to_owned(), value);
}
