//! One way to call one method.

use std::collections::BTreeSet;

use chassis::contract::Access;
use prost_reflect::MethodDescriptor;
use serde_json::{Map, Value, json};
use transcode::{Binding, Content, Method};

use super::{
    answer, body,
    example::{self, Use},
    find, parameter,
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
    /// Whether a stream of events goes on where it broke.
    pub(super) resumes: bool,
}

// === impl Facts ===

impl Facts<'_> {
    /// Whether one message goes in and one comes out.
    pub(super) fn is_unary(&self) -> bool {
        !self.method.is_client_streaming() && !self.method.is_server_streaming()
    }

    /// Whether `If-Match` says of what the call is meant: what is only being made
    /// was not read before.
    pub(super) fn takes_if_match(&self) -> bool {
        match self.plan.is_read {
            true => self.plan.etag.is_some(),
            false => self.method.etag().is_some() && !self.plan.is_create,
        }
    }

    /// Whether the client may have the answer already.
    pub(super) fn takes_if_none_match(&self) -> bool {
        self.is_download() || self.plan.is_read && self.plan.etag.is_some()
    }

    /// Whether the answer is a content of which a part can be asked for.
    pub(super) fn is_download(&self) -> bool {
        self.plan.is_read && self.method.output_content() == Content::HttpBody
    }

    /// Whether it can be called over WebSocket.
    pub(super) fn is_stream(&self) -> bool {
        self.method.is_client_streaming() || self.method.is_server_streaming()
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
    let method = facts.method;
    let descriptor = method.descriptor();
    let comment = schemas.texts.of_method(descriptor);
    let summary = match text::first_sentence(&comment) {
        none if none.is_empty() => text::words(descriptor.name()),
        sentence => sentence,
    };
    let body = body::request(schemas, facts);
    let mut responses: Map<String, Value> = answer::failures(facts, body.is_some()).collect();
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
    if facts.is_download() {
        let part = "#/components/responses/PartialContent";
        responses.insert("206".to_owned(), json!({"$ref": part}));
    }
    let notes = [rpc_note(method), stream_note(facts)];
    let description = notes.iter().fold(comment, |told, note| text::paragraphs(&told, note));
    let mut operation = Map::from_iter([
        ("operationId".to_owned(), Value::from(named.id)),
        ("tags".to_owned(), json!([named.tag])),
        ("summary".to_owned(), summary.into()),
        ("description".to_owned(), description.into()),
        ("parameters".to_owned(), parameter::all(schemas, facts).into()),
        ("responses".to_owned(), responses.into()),
    ]);
    if let Some(body) = body {
        operation.insert("requestBody".to_owned(), body);
    }
    if method.is_deprecated() {
        operation.insert("deprecated".to_owned(), true.into());
    }
    if let Some(sunset) = &facts.plan.sunset {
        operation.insert("x-sunset".to_owned(), (*sunset.date).into());
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

/// How a stream is framed, and how else it can be called; see `streams` and
/// `websocket`.
fn stream_note(facts: &Facts<'_>) -> String {
    if !facts.is_stream() {
        return String::new();
    }
    let method = facts.method;
    let is_content = method.output_content() == Content::HttpBody;
    let mut told = Vec::new();
    if method.is_client_streaming() {
        told.push(
            "The request is a stream: its messages are passed on while they arrive. A body that \
             cannot be read, or ends too early, cancels the call.",
        );
    }
    if method.is_server_streaming() && !is_content {
        told.push(
            "The answer is a stream, framed as `Accept` says: one JSON array, a line each \
             (`application/x-ndjson`) or an event each (`text/event-stream`). A failure after the \
             first message is the last element, line or event, `{\"error\": …}`, and an array is \
             then broken off without its bracket.",
        );
    }
    if method.is_client_streaming() && method.is_server_streaming() {
        told.push(
            "By HTTP/1.1 the answer begins when the request has ended; by HTTP/2 they cross.",
        );
    }
    told.push(
        "Over WebSocket it is a GET of the same path with `Upgrade: websocket`: a text frame is a \
         message as JSON, a binary one a message as protobuf, and a text frame without content ends \
         what the client sends. Subprotocols: `json` (the default) or `proto` for the answers, and \
         `bearer` followed by a token in place of `Authorization`.",
    );
    told.join("\n\n")
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

// === answers ===

fn success(schemas: &mut Schemas, examples: &mut Map<String, Value>, facts: &Facts<'_>) -> Value {
    let (method, binding, plan) = (facts.method, facts.binding, facts.plan);
    let descriptor = method.descriptor();
    let output = descriptor.output();
    let mut headers = answer::headers(&answer::ALWAYS);
    for (name, is_sent) in [
        ("Location", plan.is_create),
        ("ETag", plan.etag.is_some() || facts.is_download()),
        ("Link", plan.next.is_some()),
        ("Deprecation", plan.deprecation.is_some()),
        ("Sunset", plan.sunset.is_some()),
        ("Preference-Applied", facts.takes_prefer()),
        ("Idempotent-Replayed", method.request_id().is_some()),
        ("Accept-Ranges", facts.is_download()),
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
            "application/x-ndjson": body::lines("application/x-ndjson", &schema),
            "text/event-stream": body::lines("text/event-stream", &schema),
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
