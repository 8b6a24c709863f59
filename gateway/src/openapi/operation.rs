//! One way to call one method.

use std::collections::BTreeSet;

use chassis::contract::Access;
use prost_reflect::MethodDescriptor;
use serde_json::{Map, Value, json};
use transcode::{Binding, BodyRule, Content, Method};

use super::{
    answer,
    example::{self, Use},
    find, known, parameter,
    path::Path,
    schema::Schemas,
    text,
};
use crate::rest::Plan;

/// What an operation is called, and where it is listed.
pub(super) struct Named {
    pub(super) id: String,
    pub(super) tag: String,
}

/// What an operation is made of.
pub(super) struct Facts<'f> {
    pub(super) method: &'f Method,
    pub(super) binding: &'f Binding,
    pub(super) path: &'f Path,
    /// Who may call.
    pub(super) access: Option<&'f Access>,
    /// How its answer is written.
    pub(super) plan: &'f Plan,
}

// === impl Facts ===

impl Facts<'_> {
    /// Whether one message goes in and one comes out.
    pub(super) fn is_unary(&self) -> bool {
        !self.method.is_client_streaming() && !self.method.is_server_streaming()
    }

    /// Whether `If-Match` says of what the call is meant.
    pub(super) fn takes_if_match(&self) -> bool {
        if self.plan.is_read { self.plan.etag.is_some() } else { self.method.etag().is_some() }
    }

    /// Whether the client may have the answer already.
    pub(super) fn takes_if_none_match(&self) -> bool {
        self.plan.is_read && self.plan.etag.is_some()
    }

    /// Whether the client may do without the answer's body.
    pub(super) fn takes_prefer(&self) -> bool {
        self.is_unary() && !self.plan.is_read
    }
}

/// An operation.
pub(super) fn operation(
    schemas: &mut Schemas,
    examples: &mut Map<String, Value>,
    facts: &Facts<'_>,
    named: Named,
) -> Value {
    let (method, binding) = (facts.method, facts.binding);
    let descriptor = method.descriptor();
    let comment = schemas.texts.of_method(descriptor);
    let summary = match text::first_sentence(&comment) {
        none if none.is_empty() => text::words(descriptor.name()),
        sentence => sentence,
    };
    let body = request_body(schemas, method, binding);
    let mut responses: Map<String, Value> =
        answer::failures(body.is_some(), facts.takes_if_match()).collect();
    let done = success(schemas, examples, facts);
    if facts.plan.done.is_some() {
        responses.insert("202".to_owned(), started(&done));
    }
    responses.insert(if facts.plan.is_create { "201" } else { "200" }.to_owned(), done);
    if facts.takes_prefer() && !facts.plan.is_create {
        responses.insert("204".to_owned(), json!({"$ref": "#/components/responses/NoContent"}));
    }
    if facts.takes_if_none_match() {
        responses.insert("304".to_owned(), json!({"$ref": "#/components/responses/NotModified"}));
    }
    let mut operation = Map::from_iter([
        ("operationId".to_owned(), Value::from(named.id)),
        ("tags".to_owned(), json!([named.tag])),
        ("summary".to_owned(), summary.into()),
        ("description".to_owned(), text::paragraphs(&comment, &rpc_note(method)).into()),
        ("parameters".to_owned(), parameter::all(schemas, facts).into()),
        ("responses".to_owned(), responses.into()),
    ]);
    if let Some(body) = body {
        operation.insert("requestBody".to_owned(), body);
    }
    if method.is_deprecated() {
        operation.insert("deprecated".to_owned(), true.into());
    }
    operation.insert("security".to_owned(), security(facts.access));
    if let Some(rule) = facts.access.and_then(told) {
        operation.insert("x-mercat-access".to_owned(), rule);
    }
    Value::Object(operation)
}

fn rpc_note(method: &Method) -> String {
    format!("By gRPC: `{}`.", method.path().trim_start_matches('/'))
}

/// Who may call, as OpenAPI can say it.
fn security(access: Option<&Access>) -> Value {
    match access {
        // Who has a token may get to see more.
        Some(access) if access.public && (access.signed_in || access.permission.is_some()) => {
            json!([{}, {"bearer": []}])
        }
        Some(access) if access.public => json!([]),
        _ => json!([{"bearer": []}]),
    }
}

/// Who may call, in full, where OpenAPI cannot say it.
fn told(access: &Access) -> Option<Value> {
    let mut rule = Map::new();
    if access.public {
        return None;
    }
    if access.signed_in {
        rule.insert("signed_in".to_owned(), true.into());
    }
    if let Some(field) = &access.owner_field {
        rule.insert("owner_field".to_owned(), field.as_str().into());
    }
    if let Some(permission) = &access.permission {
        rule.insert("permission".to_owned(), permission.as_str().into());
    }
    Some(Value::Object(rule))
}

// === requests ===

fn request_body(schemas: &mut Schemas, method: &Method, binding: &Binding) -> Option<Value> {
    let input = method.descriptor().input();
    let bound: BTreeSet<String> =
        binding.variables().map(|(field, _)| field.as_str().to_owned()).collect();
    let limit = schemas.limits.request_bytes;
    if method.input_content() == Content::HttpBody && *binding.body() == BodyRule::Whole {
        return Some(json!({"required": true, "content": {"*/*": {}}}));
    }
    let (schema, example, is_required) = match binding.body() {
        BodyRule::None => return None,
        BodyRule::Whole => {
            let schema = schemas.part(&input, &bound);
            let example = example::message(schemas, &input, &bound, Use::Request);
            // A request of which nothing is demanded may leave its body out.
            let is_required = example.as_object().is_none_or(|fields| !fields.is_empty());
            (schema, Some(example), is_required)
        }
        BodyRule::Field(field) => {
            let found = find(&input, field.as_str())?;
            let inner: BTreeSet<String> = bound
                .iter()
                .filter_map(|path| path.strip_prefix(field.as_str())?.strip_prefix('.'))
                .map(str::to_owned)
                .collect();
            match found.kind() {
                prost_reflect::Kind::Message(message)
                    if message.full_name() == "google.api.HttpBody" =>
                {
                    return Some(json!({"required": true, "content": {"*/*": {}}}));
                }
                prost_reflect::Kind::Message(message)
                    if !found.is_list()
                        && !found.is_map()
                        && !known::is_known(message.full_name()) =>
                {
                    let schema = schemas.part(&message, &inner);
                    (schema, Some(example::message(schemas, &message, &inner, Use::Request)), true)
                }
                _ => {
                    let schema = schemas.field(&found, limit);
                    (schema, example::field(schemas, &found, Use::Request), true)
                }
            }
        }
    };
    if method.is_client_streaming() {
        let mut content = Map::new();
        let items = json!({"type": "array", "items": schema, "maxItems": limit / 2});
        let example = example.map(|example| json!([example]));
        content.insert("application/json".to_owned(), media(items, example));
        content.insert("application/x-ndjson".to_owned(), lines("application/x-ndjson", &schema));
        return Some(json!({"required": true, "content": content}));
    }
    let mut content = Map::new();
    if binding.http_method() == "PATCH"
        && let Some(patch) = merge_patch(schemas, &schema)
    {
        content.insert("application/merge-patch+json".to_owned(), patch);
    }
    content.insert("application/json".to_owned(), media(schema, example));
    Some(json!({"required": is_required, "content": content}))
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

// === answers ===

fn success(schemas: &mut Schemas, examples: &mut Map<String, Value>, facts: &Facts<'_>) -> Value {
    let (method, binding, plan) = (facts.method, facts.binding, facts.plan);
    let descriptor = method.descriptor();
    let output = descriptor.output();
    let mut headers = answer::headers(&answer::ALWAYS);
    for (name, is_sent) in [
        ("Location", plan.is_create),
        ("ETag", plan.etag.is_some()),
        ("Link", plan.next.is_some()),
        ("Deprecation", plan.deprecation.is_some()),
        ("Preference-Applied", facts.takes_prefer()),
        ("Idempotent-Replayed", method.request_id().is_some()),
    ] {
        if is_sent {
            headers.extend(answer::headers(&[name]));
        }
    }
    let description = described(schemas, descriptor);
    if method.output_content() == Content::HttpBody {
        return json!({"description": description, "headers": headers, "content": {"*/*": {}}});
    }
    let (schema, example) =
        match binding.response_body().and_then(|path| find(&output, path.as_str())) {
            Some(field) => {
                let limit = schemas.limits.response_bytes;
                let example = example::field(schemas, &field, Use::Response);
                (schemas.field(&field, limit), example.map(|value| json!({"value": value})))
            }
            None => {
                let schema = schemas.message(&output);
                let example = shared(schemas, examples, &schema, &output);
                (schema, Some(example))
            }
        };
    if descriptor.is_server_streaming() {
        let limit = schemas.limits.response_bytes;
        let items = json!({"type": "array", "items": schema, "maxItems": limit / 2});
        return json!({"description": description, "headers": headers, "content": {
            "application/json": {"schema": items},
            "application/x-ndjson": lines("application/x-ndjson", &schema),
            "text/event-stream": lines("text/event-stream", &schema),
        }});
    }
    let mut content = Map::from_iter([("schema".to_owned(), schema)]);
    if let Some(example) = example {
        content.insert("examples".to_owned(), json!({"example": example}));
    }
    json!({
        "description": description,
        "headers": headers,
        "content": {"application/json": content},
    })
}

/// The answer to a client that does not wait for the outcome (RFC 7240).
fn started(done: &Value) -> Value {
    let mut started = done.clone();
    if let Value::Object(fields) = &mut started {
        fields.insert("description".to_owned(), "It goes on; ask for its outcome.".into());
        let headers = fields.entry("headers").or_insert_with(|| json!({}));
        if let Value::Object(headers) = headers {
            headers.extend(answer::headers(&["Location", "Operation-Location"]));
        }
    }
    started
}

/// An example that all operations share which answer the message.
fn shared(
    schemas: &mut Schemas,
    examples: &mut Map<String, Value>,
    schema: &Value,
    output: &prost_reflect::MessageDescriptor,
) -> Value {
    let name = schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|reference| reference.rsplit('/').next())
        .map(str::to_owned);
    let Some(name) = name else {
        let value = example::message(schemas, output, &BTreeSet::new(), Use::Response);
        return json!({"value": value});
    };
    if !examples.contains_key(&name) {
        let value = example::message(schemas, output, &BTreeSet::new(), Use::Response);
        examples.insert(name.clone(), json!({"value": value}));
    }
    json!({"$ref": format!("#/components/examples/{name}")})
}

fn described(schemas: &mut Schemas, descriptor: &MethodDescriptor) -> String {
    let said = schemas.texts.of_message(&descriptor.output());
    match text::first_sentence(&said) {
        none if none.is_empty() => "Done.".to_owned(),
        sentence => sentence,
    }
}

fn media(schema: Value, example: Option<Value>) -> Value {
    let mut media = Map::from_iter([("schema".to_owned(), schema)]);
    media.extend(example.map(|example| ("example".to_owned(), example)));
    Value::Object(media)
}

/// A text of many values: to a client it is text, of which each line or event is
/// what the inner schema says.
fn lines(media_type: &str, schema: &Value) -> Value {
    json!({"schema": {
        "type": "string",
        "contentMediaType": media_type,
        "contentSchema": schema,
    }})
}
