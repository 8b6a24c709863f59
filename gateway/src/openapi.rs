//! The description of the edge as OpenAPI 3.1, made from the contracts: paths
//! from the http rules, texts from the comments, limits from the validation
//! rules, security from the access rules.

mod schema;
mod text;

use std::collections::BTreeSet;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};
use serde_json::{Map, Value, json};
use transcode::{Binding, BodyRule, Method, Schema};

use schema::Schemas;

/// The document.
pub fn document(schema: &Schema) -> Value {
    let mut schemas = Schemas::default();
    let mut paths: Map<String, Value> = Map::new();
    let mut tags = BTreeSet::new();
    for method in schema.methods() {
        let ids = method.bindings();
        for (position, id) in ids.iter().enumerate() {
            let Some(binding) = schema.binding(*id) else { continue };
            if binding.is_rpc() {
                continue;
            }
            tags.insert(method.service().to_owned());
            let operation = operation(method, binding, position, &mut schemas);
            let path = paths.entry(binding.openapi_path()).or_insert_with(|| json!({}));
            if let Value::Object(path) = path {
                path.insert(binding.http_method().to_ascii_lowercase(), operation);
            }
        }
    }
    let tags: Vec<Value> = tags
        .into_iter()
        .map(|name| {
            let about =
                schema.pool().get_service_by_name(&name).map(|service| text::of_service(&service));
            json!({"name": name, "description": about.unwrap_or_default()})
        })
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Mercat",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A commerce backend. Every operation is also a gRPC method under the same name.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas.finish(),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "An access token of the identity service.",
                }
            },
            "responses": {"Error": {
                "description": "The call was refused or failed.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            }},
        },
    })
}

fn operation(method: &Method, binding: &Binding, position: usize, schemas: &mut Schemas) -> Value {
    let descriptor = method.descriptor();
    let input = descriptor.input();
    let suffix = if position == 0 { String::new() } else { format!("_{position}") };
    let comment = text::of_method(descriptor);
    let mut operation = json!({
        "operationId": format!("{}{suffix}", method.full_name().replace('.', "_")),
        "tags": [method.service()],
        "summary": text::first_sentence(&comment),
        "description": comment,
        "parameters": parameters(&input, binding, method, schemas),
        "responses": {
            "200": success(descriptor, binding, schemas),
            "default": {"$ref": "#/components/responses/Error"},
        },
    });
    let Value::Object(fields) = &mut operation else { return operation };
    if let Some(body) = request_body(&input, binding, schemas) {
        fields.insert("requestBody".to_owned(), body);
    }
    if method.is_deprecated() {
        fields.insert("deprecated".to_owned(), true.into());
    }
    let access = access(descriptor);
    fields.insert("security".to_owned(), access.0);
    if let Some(rule) = access.1 {
        fields.insert("x-mercat-access".to_owned(), rule);
    }
    operation
}

/// Who may call: as OpenAPI can say it, and in full.
fn access(descriptor: &MethodDescriptor) -> (Value, Option<Value>) {
    let pool = descriptor.parent_pool().clone();
    let rule = pool.get_extension_by_name("mercat.mesh.v1.policy").and_then(|extension| {
        let value = descriptor.options().get_extension(&extension).into_owned();
        let policy: contracts::mesh::v1::Policy = value.as_message()?.transcode_to().ok()?;
        policy.access
    });
    let Some(rule) = rule else { return (json!([{"bearer": []}]), None) };
    let security = if rule.public { json!([{}, {"bearer": []}]) } else { json!([{"bearer": []}]) };
    let mut told = Map::new();
    if rule.public {
        told.insert("public".to_owned(), true.into());
    }
    if rule.signed_in {
        told.insert("signed_in".to_owned(), true.into());
    }
    if !rule.owner_field.is_empty() {
        told.insert("owner_field".to_owned(), rule.owner_field.into());
    }
    if !rule.permission.is_empty() {
        told.insert("permission".to_owned(), rule.permission.into());
    }
    (security, Some(Value::Object(told)))
}

fn parameters(
    input: &MessageDescriptor,
    binding: &Binding,
    method: &Method,
    schemas: &mut Schemas,
) -> Vec<Value> {
    let mut parameters = Vec::new();
    let mut bound = BTreeSet::new();
    for (field, _pattern) in binding.variables() {
        bound.insert(field.as_str().to_owned());
        let described = find(input, field.as_str());
        parameters.push(json!({
            "name": field.as_str(),
            "in": "path",
            "required": true,
            "description": described.as_ref().map(text::of_field).unwrap_or_default(),
            "schema": described.map_or_else(|| json!({"type": "string"}), |field| schemas.field(&field)),
        }));
    }
    let takes_query = !matches!(binding.body(), BodyRule::Whole);
    if takes_query {
        let body_field = match binding.body() {
            BodyRule::Field(field) => Some(field.as_str().to_owned()),
            _ => None,
        };
        let mut seen = Vec::new();
        query(input, "", &bound, body_field.as_deref(), &mut seen, schemas, &mut parameters);
    }
    if method.request_id().is_some() {
        parameters.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "required": false,
            "description": "Sets `request_id`: the same call sent again has one effect and one answer.",
            "schema": {"type": "string", "format": "uuid"},
        }));
    }
    parameters
}

/// Every field that a query can set.
fn query(
    message: &MessageDescriptor,
    prefix: &str,
    bound: &BTreeSet<String>,
    body_field: Option<&str>,
    seen: &mut Vec<String>,
    schemas: &mut Schemas,
    parameters: &mut Vec<Value>,
) {
    if seen.iter().any(|name| name == message.full_name()) {
        return;
    }
    seen.push(message.full_name().to_owned());
    for field in message.fields() {
        let path = format!("{prefix}{}", field.name());
        if bound.contains(&path) || (prefix.is_empty() && body_field == Some(field.name())) {
            continue;
        }
        match field.kind() {
            Kind::Message(_)
                if field.is_map() || (field.is_list() && !schema::is_well_known(&field)) => {}
            Kind::Message(inner) if !schema::is_well_known(&field) => {
                query(&inner, &format!("{path}."), bound, None, seen, schemas, parameters);
            }
            _ => parameters.push(json!({
                "name": path,
                "in": "query",
                "required": schema::is_required(&field),
                "description": text::of_field(&field),
                "schema": schemas.field(&field),
            })),
        }
    }
    seen.pop();
}

fn request_body(
    input: &MessageDescriptor,
    binding: &Binding,
    schemas: &mut Schemas,
) -> Option<Value> {
    let schema = match binding.body() {
        BodyRule::Whole => {
            let bound: BTreeSet<String> =
                binding.variables().map(|(field, _)| field.as_str().to_owned()).collect();
            schemas.body(input, &bound)
        }
        BodyRule::Field(field) => schemas.field(&find(input, field.as_str())?),
        _ => return None,
    };
    Some(json!({"required": true, "content": {"application/json": {"schema": schema}}}))
}

fn success(descriptor: &MethodDescriptor, binding: &Binding, schemas: &mut Schemas) -> Value {
    let output = descriptor.output();
    let schema = match binding.response_body().and_then(|field| find(&output, field.as_str())) {
        Some(field) => schemas.field(&field),
        None => schemas.message(&output),
    };
    let description = text::first_sentence(&text::of_message(&output));
    let description = if description.is_empty() { "Done.".to_owned() } else { description };
    if descriptor.is_server_streaming() {
        return json!({"description": description, "content": {
            "application/json": {"schema": {"type": "array", "items": schema.clone()}},
            "application/x-ndjson": {"schema": schema.clone()},
            "text/event-stream": {"schema": schema},
        }});
    }
    json!({"description": description, "content": {"application/json": {"schema": schema}}})
}

fn find(message: &MessageDescriptor, path: &str) -> Option<FieldDescriptor> {
    let (head, rest) = match path.split_once('.') {
        Some((head, rest)) => (head, Some(rest)),
        None => (path, None),
    };
    let field = message.get_field_by_name(head)?;
    match (rest, field.kind()) {
        (None, _) => Some(field),
        (Some(rest), Kind::Message(inner)) => find(&inner, rest),
        (Some(_), _) => None,
    }
}
