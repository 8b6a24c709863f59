//! The description of the edge as OpenAPI 3.1, made from the contracts: paths
//! from the http rules, texts from the comments, limits from the validation
//! rules, security from the access rules.
//!
//! Contracts without any of those are described too: a method without an http
//! rule by `POST /pkg.Service/Method`, which every method answers to.

mod answer;
mod body;
mod component;
mod example;
mod known;
mod operation;
mod parameter;
mod path;
mod pattern;
mod rule;
mod schema;
mod text;

use std::collections::{BTreeMap, HashMap};

use chassis::Contract;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};
use transcode::{Binding, Method, Schema};

use crate::{
    config::Config,
    rest::{Plans, Sunsets},
    streams::Resume,
};
use operation::{Facts, Named};
use path::Path;
use schema::Schemas;

/// Where the bindings of any HTTP method stand: OpenAPI has no word for them.
const ANY_METHOD: [&str; 5] = ["get", "put", "post", "delete", "patch"];
/// The HTTP methods that OpenAPI 3.1 has a place for.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// What bounds a value that the contracts do not bound.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a request's line and headers.
    pub head_bytes: u64,
    /// Bytes of a path and a query.
    pub uri_bytes: u64,
    /// Bytes of a body.
    pub request_bytes: u64,
    /// Bytes of an answer.
    pub response_bytes: u64,
}

/// What the contracts are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Title {
    /// Of the document.
    pub title: String,
    /// Of the contracts.
    pub version: String,
    /// An SPDX identifier, if it is known.
    pub license: Option<String>,
}

/// The document.
pub fn document(
    contract: &Contract,
    schema: &Schema,
    title: &Title,
    limits: Limits,
    sunsets: &Sunsets,
) -> Value {
    let mut document = Document {
        schemas: Schemas::new(schema.pool(), limits),
        examples: Map::new(),
        paths: Map::new(),
        shapes: HashMap::new(),
        names: HashMap::new(),
        plans: Plans::new(schema, sunsets),
    };
    let exposed: Vec<&Method> =
        schema.methods().iter().filter(|method| is_shown(contract, method)).collect();
    let services: BTreeMap<String, String> = short_names(&exposed);
    for method in &exposed {
        document.schemas.note(&method.descriptor().input(), &method.descriptor().output());
    }
    for method in &exposed {
        document.method(contract, schema, method, &services);
    }
    document.finish(schema, services, title)
}

struct Document {
    schemas: Schemas,
    examples: Map<String, Value>,
    paths: Map<String, Value>,
    /// The first path of each shape.
    shapes: HashMap<String, Path>,
    /// Operation ids that are taken.
    names: HashMap<String, usize>,
    /// What is known of the bindings' answers.
    plans: Plans,
}

// === impl Limits ===

impl Limits {
    /// Those of the edge, on a port that reads heads of so many bytes.
    pub fn of(config: &Config, head_bytes: u32) -> Self {
        let bytes = |limit: usize| u64::try_from(limit).unwrap_or(u64::MAX);
        Self {
            head_bytes: head_bytes.into(),
            uri_bytes: bytes(config.uri_bytes_max),
            request_bytes: bytes(config.body_bytes_max),
            response_bytes: bytes(config.response_bytes_max),
        }
    }
}

// === impl Title ===

impl Title {
    /// Of the contracts of this build.
    pub fn embedded() -> Self {
        Self {
            title: "Mercat".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            license: Some(env!("CARGO_PKG_LICENSE").to_owned()),
        }
    }

    /// Of contracts that are somebody else's: what their packages have in common,
    /// `acme.weather.v1` as "acme.weather" in version "v1".
    pub fn foreign(contract: &Contract) -> Self {
        let mut packages: Vec<String> = contract
            .methods()
            .filter(|method| method.service_name().is_some())
            .map(|method| method.descriptor().parent_service().package_name().to_owned())
            .collect();
        packages.sort();
        packages.dedup();
        let mut versions: Vec<&str> =
            packages.iter().filter_map(|package| version(package)).collect();
        versions.sort_unstable();
        versions.dedup();
        let version = if versions.is_empty() { "0".to_owned() } else { versions.join(", ") };
        let mut common: Option<Vec<&str>> = None;
        for package in &packages {
            let parts = package.split('.').filter(|part| !is_version(part)).collect::<Vec<_>>();
            let shared = match common {
                None => parts,
                Some(before) => before
                    .into_iter()
                    .zip(parts)
                    .take_while(|(a, b)| a == b)
                    .map(|(part, _)| part)
                    .collect(),
            };
            common = Some(shared);
        }
        let title = match common.unwrap_or_default().join(".") {
            none if none.is_empty() => "API".to_owned(),
            name => name,
        };
        Self { title, version, license: None }
    }
}

fn version(package: &str) -> Option<&str> {
    package.rsplit('.').find(|part| is_version(part))
}

/// `v1`, `v1beta2`.
fn is_version(part: &str) -> bool {
    part.strip_prefix('v')
        .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

// === impl Document ===

impl Document {
    fn method(
        &mut self,
        contract: &Contract,
        schema: &Schema,
        method: &Method,
        services: &BTreeMap<String, String>,
    ) {
        let rpc = [method.rpc_binding()];
        let ids = if method.bindings().is_empty() { &rpc } else { method.bindings() };
        for id in ids {
            let Some(binding) = schema.binding(*id) else { continue };
            let service = services.get(method.service()).cloned().unwrap_or_default();
            for http_method in http_methods(binding) {
                self.operation(contract, schema, method, binding, &http_method, &service);
            }
        }
    }

    fn operation(
        &mut self,
        contract: &Contract,
        schema: &Schema,
        method: &Method,
        binding: &Binding,
        http_method: &str,
        service: &str,
    ) {
        let Some(plan) = self.plans.at(binding) else { return };
        let mut path = Path::of(binding);
        match self.shapes.get(&path.shape()) {
            Some(first) => path.rename(first),
            None => {
                self.shapes.insert(path.shape(), path.clone());
            }
        }
        let id = format!("{}_{}", service.replace('.', "_"), method.name());
        let count = self.names.entry(id.clone()).or_default();
        *count += 1;
        let id = if *count == 1 { id } else { format!("{id}{count}") };
        let named = Named { id, tag: service.to_owned() };
        let access = contract.method(method.path()).map(chassis::contract::Method::access);
        let resumes = Resume::of(schema, method).is_some();
        let facts = Facts { method, binding, path: &path, access, plan, resumes };
        let operation = operation::operation(&mut self.schemas, &mut self.examples, &facts, named);
        let item = self.paths.entry(path.text()).or_insert_with(|| json!({}));
        let Value::Object(item) = item else { return };
        if METHODS.contains(&http_method) {
            item.insert(http_method.to_owned(), operation);
            return;
        }
        // OpenAPI 3.2 calls it `additionalOperations`.
        let others = item.entry("x-additional-operations").or_insert_with(|| json!({}));
        if let Value::Object(others) = others {
            others.insert(http_method.to_owned(), operation);
        }
    }

    fn finish(
        mut self,
        schema: &Schema,
        services: BTreeMap<String, String>,
        title: &Title,
    ) -> Value {
        let tags: Vec<Value> = services
            .into_iter()
            .map(|(full, name)| {
                let service = schema.pool().get_service_by_name(&full);
                let comment = service.map(|service| self.schemas.texts.of_service(&service));
                let comment = comment.unwrap_or_default();
                let told = if comment.is_empty() { format!("`{full}`") } else { comment };
                json!({"name": name, "description": told})
            })
            .collect();
        let mut info = Map::from_iter([
            ("title".to_owned(), Value::from(title.title.as_str())),
            ("version".to_owned(), title.version.as_str().into()),
            ("description".to_owned(), about().into()),
        ]);
        if let Some(license) = &title.license {
            info.insert("license".to_owned(), json!({"name": license, "identifier": license}));
        }
        let limits = self.schemas.limits;
        let mut schemas = self.schemas.finish();
        schemas.extend(answer::errors(limits).map(|(name, schema)| (name.to_owned(), schema)));
        let mut components = Map::from_iter([
            ("schemas".to_owned(), Value::Object(schemas.into_iter().collect())),
            ("examples".to_owned(), self.examples.into()),
            ("parameters".to_owned(), parameter::components(limits)),
            ("headers".to_owned(), answer::header_components()),
            ("responses".to_owned(), answer::responses()),
            (
                "securitySchemes".to_owned(),
                json!({"bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A signed access token in the header `Authorization: Bearer …`; \
                        made and checked as RFC8725 advises.",
                }}),
            ),
        ]);
        component::retain(&self.paths, &mut components);
        json!({
            "openapi": "3.1.0",
            "info": info,
            "servers": [{
                "url": "/",
                "description": "The gateway that serves this document: production, staging or \
                    local, as its address says.",
                "x-internal": false,
            }],
            "tags": tags,
            "paths": self.paths,
            "components": components,
        })
    }
}

/// Whether somebody outside may call a method: those of services that only each
/// other may call are not.
pub fn is_shown(contract: &Contract, method: &Method) -> bool {
    contract.method(method.path()).is_some_and(|known| {
        let access = known.access();
        known.service_name().is_some()
            && (access.public || access.signed_in || access.permission.is_some())
    })
}

/// What holds for every operation.
fn about() -> &'static str {
    "Every operation is also a method of a gRPC service, and can be called by gRPC, gRPC-Web and \
     Connect at `/package.Service/Method`.\n\n\
     64-bit integers are strings, as the JSON mapping of Protocol Buffers has them; \
     `?int64=number` in the query makes them numbers in the answer, and \
     `?$alt=json;enum-encoding=int` enums. A field that holds the zero of \
     its type is left out of an answer. A field that is not known is refused in a request; answers \
     may gain fields.\n\n\
     Wherever a message is JSON it may be `application/x-protobuf` too, in requests by `Content-Type` \
     and in answers by `Accept`."
}

/// The names of services: short ones, where no other has the same.
fn short_names(methods: &[&Method]) -> BTreeMap<String, String> {
    let mut full: Vec<&str> = methods.iter().map(|method| method.service()).collect();
    full.sort_unstable();
    full.dedup();
    let short = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
    let mut taken: HashMap<String, usize> = HashMap::new();
    for name in &full {
        *taken.entry(short(name)).or_default() += 1;
    }
    full.into_iter()
        .map(|name| match taken.get(&short(name)) {
            Some(1) => (name.to_owned(), short(name)),
            _ => (name.to_owned(), name.to_owned()),
        })
        .collect()
}

/// The HTTP methods of a binding, in OpenAPI's letters.
fn http_methods(binding: &Binding) -> Vec<String> {
    match binding.http_method() {
        "*" => ANY_METHOD.iter().map(|method| (*method).to_owned()).collect(),
        method => {
            let lower = method.to_ascii_lowercase();
            let is_known = METHODS.contains(&lower.as_str());
            vec![if is_known { lower } else { method.to_owned() }]
        }
    }
}

/// The field at a path below a message.
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
