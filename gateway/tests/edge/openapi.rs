//! The document of what is served, and the page that renders it.

mod requests;

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use chassis::Contract;
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    client::{get, request, send},
    json_schema::{problems, resolve},
    upstream::{Edge, Upstream, compile_text},
};

/// Contracts with a field for everything that a schema can say.
const SHAPES: &str = r#"
syntax = "proto3";
package shapes.v1beta1;

import "buf/validate/validate.proto";
import "google/api/annotations.proto";
import "google/api/field_behavior.proto";
import "google/api/httpbody.proto";
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";

service Shapes {
  rpc Make(Shape) returns (Shape) {
    option (google.api.http) = {
      post: "/v1/shapes"
      body: "*"
      additional_bindings: { put: "/v1/shapes/{name}" body: "*" }
      additional_bindings: { custom: { kind: "PURGE" path: "/v1/shapes" } }
    };
  }
  // Finds shapes.
  rpc Find(FindRequest) returns (Shape) {
    option (google.api.http) = {get: "/v1/shapes:find" response_body: "tree"};
  }
  rpc Upload(UploadRequest) returns (google.api.HttpBody) {
    option deprecated = true;
    option (google.api.http) = {post: "/v1/files/{path=**}" body: "file"};
  }
  rpc Any(google.protobuf.Empty) returns (google.protobuf.Value) {
    option (google.api.http) = {custom: { kind: "*" path: "/v1/any/*/*" }};
  }
}

// A shape.
message Shape {
  // What it is called.
  string name = 1 [(buf.validate.field).string = { min_len: 2 max_len: 9 pattern: "^[a-z]+$" }];
  int64 count = 2 [(buf.validate.field).int64 = { gte: 1 lte: 12 }];
  uint64 big = 3;
  int32 small = 4 [(buf.validate.field).int32 = { gt: 5 lt: 9 }];
  sint32 signed = 5;
  double ratio = 6 [(buf.validate.field).double = { gte: 0 lte: 1 }];
  float any_ratio = 7;
  bytes key = 8 [(buf.validate.field).bytes.len = 32];
  map<string, int32> labels = 9 [(buf.validate.field).map.max_pairs = 3];
  map<int64, Shape> by_number = 10;
  map<bool, string> by_truth = 11;
  repeated string tags = 12 [
    (buf.validate.field).repeated = { min_items: 1 max_items: 4 unique: true items: { string: { email: true } } }
  ];
  google.protobuf.Timestamp create_time = 13 [(google.api.field_behavior) = OUTPUT_ONLY];
  google.protobuf.Duration wait = 14 [(buf.validate.field).duration = { gte: {} lte: { seconds: 30 } }];
  google.protobuf.FieldMask mask = 15;
  google.protobuf.Struct extra = 16;
  google.protobuf.Value value = 17;
  google.protobuf.ListValue list = 18;
  google.protobuf.Any detail = 19;
  google.protobuf.Empty nothing = 20;
  google.protobuf.StringValue maybe = 21;
  google.protobuf.Int64Value maybe_big = 22;
  google.protobuf.NullValue null = 23;
  string secret = 24 [(google.api.field_behavior) = INPUT_ONLY, (google.api.field_behavior) = REQUIRED];
  string old = 25 [deprecated = true];
  Colour colour = 26 [(buf.validate.field).enum = { defined_only: true not_in: [0] }];
  optional string note = 27;
  Tree tree = 28;
  oneof size {
    option (buf.validate.oneof).required = true;
    int32 width = 29;
    int32 height = 30;
  }
  oneof place {
    string here = 31;
    string there = 32;
    string nowhere = 33;
  }
  string unit = 34 [(buf.validate.field).string = { in: ["cm", "in"] }, (buf.validate.field).ignore = IGNORE_IF_ZERO_VALUE];
  string link = 35 [(buf.validate.field).string = { prefix: "https://" }];
  // Refused unless it is given.
  string odd = 36 [(buf.validate.field).string.pattern = "^(?s)[A-Z]{2}.\\d{3}$"];
}

// A tree.
message Tree {
  Tree left = 1;
  Tree right = 2;
  string leaf = 3;
}

enum Colour {
  COLOUR_UNSPECIFIED = 0;
  // As the sea.
  COLOUR_BLUE = 1;
}

message FindRequest {
  string query = 1 [(google.api.field_behavior) = REQUIRED];
  Tree tree = 2;
  map<string, string> labels = 3;
  repeated Colour colours = 4;
  google.protobuf.Timestamp since = 5;
  google.protobuf.Struct extra = 6;
  repeated Tree trees = 7;
}

message UploadRequest {
  string path = 1;
  google.api.HttpBody file = 2;
}
"#;

/// The document of a gateway before a server with these contracts.
async fn before(upstream: &Upstream) -> Value {
    let edge = Edge::before(upstream).await;
    let reply = get(edge.address, "/openapi.json").await;
    edge.stop().await;
    assert_eq!(reply.status, StatusCode::OK);
    reply.json
}

async fn shapes() -> Value {
    before(&Upstream::serve(compile_text(SHAPES), true).await).await
}

async fn library() -> Value {
    before(&Upstream::start("library.proto").await).await
}

fn embedded() -> (Value, transcode::Schema) {
    let contract = Contract::embedded().unwrap();
    let schema = gateway::schema(&contract).unwrap();
    let limits = gateway::openapi::Limits::of(&gateway::Config::default(), 16 << 10);
    let title = gateway::openapi::Title::embedded();
    let sunsets = gateway::Sunsets::default();
    (gateway::openapi::document(&contract, &schema, &title, limits, &sunsets), schema)
}

async fn all() -> Vec<Value> {
    vec![embedded().0, library().await, shapes().await]
}

/// Calls `visit` with every object and its place.
fn walk<'v>(value: &'v Value, at: &str, visit: &mut impl FnMut(&str, &'v Value)) {
    visit(at, value);
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                walk(member, &format!("{at}/{name}"), visit);
            }
        }
        Value::Array(items) => {
            for (position, item) in items.iter().enumerate() {
                walk(item, &format!("{at}/{position}"), visit);
            }
        }
        _ => {}
    }
}

/// Every operation: the HTTP method, the path and the operation itself.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if method == "x-additional-operations" {
                for (method, operation) in operation.as_object().unwrap() {
                    found.push((method.clone(), path.clone(), operation));
                }
            } else {
                found.push((method.clone(), path.clone(), operation));
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reference_leads_somewhere() {
    for document in all().await {
        let mut count = 0;
        walk(&document, "", &mut |at, value| {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return };
            assert!(resolve(&document, reference).is_some(), "{at}: {reference}");
            count += 1;
        });
        assert!(count > 50, "{count}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_keeps_the_rules_of_its_schema() {
    for document in all().await {
        let mut count = 0;
        walk(&document, "", &mut |at, value| {
            let Some(schema) = value.get("schema") else { return };
            let named = value.get("examples").and_then(Value::as_object).into_iter().flatten();
            let shared = named.map(|(_, example)| match example["$ref"].as_str() {
                Some(reference) => &resolve(&document, reference).unwrap()["value"],
                None => &example["value"],
            });
            for example in value.get("example").into_iter().chain(shared) {
                let broken = problems(&document, schema, example);
                assert!(broken.is_empty(), "{at}: {broken:#?}");
                count += 1;
            }
        });
        assert!(count > 10, "{count}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_example_of_a_request_has_nothing_that_only_answers_have() {
    for document in all().await {
        for (method, path, operation) in operations(&document) {
            let body = &operation["requestBody"]["content"]["application/json"];
            let Some(reference) = body["schema"]["$ref"].as_str() else { continue };
            let properties = &resolve(&document, reference).unwrap()["properties"];
            for name in body["example"].as_object().unwrap().keys() {
                assert_ne!(properties[name]["readOnly"], true, "{method} {path}: {name}");
            }
        }
    }
}

#[test]
fn every_route_is_in_the_document() {
    let (document, schema) = embedded();
    let contract = Contract::embedded().unwrap();
    let shape = |path: &str| {
        let mut parts = path.split('{');
        let first = parts.next().unwrap().to_owned();
        parts.fold(first, |text, part| format!("{text}{{}}{}", part.split_once('}').unwrap().1))
    };
    let described: BTreeSet<(String, String)> = operations(&document)
        .into_iter()
        .map(|(method, path, _)| (method.to_uppercase(), shape(&path)))
        .collect();
    let mut count = 0;
    for method in
        schema.methods().iter().filter(|method| gateway::openapi::is_shown(&contract, method))
    {
        let rpc = [method.rpc_binding()];
        let bindings = if method.bindings().is_empty() { &rpc } else { method.bindings() };
        for binding in bindings {
            let binding = schema.binding(*binding).unwrap();
            let route = (binding.http_method().to_owned(), shape(&binding.openapi_path()));
            assert!(described.contains(&route), "{route:?}");
            count += 1;
        }
    }
    assert_eq!(count, described.len(), "the document has no other");
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_have_names_of_their_own_and_the_parameters_of_their_path() {
    for document in all().await {
        let mut ids = BTreeSet::new();
        for (method, path, operation) in operations(&document) {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
            let mut named = HashMap::new();
            for parameter in operation["parameters"].as_array().unwrap() {
                let parameter = match parameter["$ref"].as_str() {
                    Some(reference) => resolve(&document, reference).unwrap(),
                    None => parameter,
                };
                let key = (parameter["in"].as_str().unwrap(), parameter["name"].as_str().unwrap());
                assert!(named.insert(key, parameter).is_none(), "{method} {path}: {key:?}");
            }
            let in_path = named.keys().filter(|(place, _)| *place == "path").count();
            assert_eq!(in_path, path.matches('{').count(), "{method} {path}");
            for (place, name) in named.keys() {
                assert!(
                    *place != "path" || path.contains(&format!("{{{name}}}")),
                    "{path}: {name}"
                );
            }
            for status in ["400", "401", "403", "404", "409", "429", "500", "503", "504"] {
                assert!(operation["responses"][status].is_object(), "{method} {path}: {status}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_the_contract_are_limits_of_the_schema() {
    let document = shapes().await;
    let shape = &document["components"]["schemas"]["Shape"];
    let properties = &shape["properties"];
    let same = |name: &str, wanted: Value| assert_eq!(properties[name], wanted, "{name}");
    same(
        "name",
        json!({"type": "string", "minLength": 2, "maxLength": 9, "pattern": "^[a-z]+$",
            "description": "What it is called."}),
    );
    same(
        "count",
        json!({"type": "string", "format": "int64", "pattern": "^([1-9]|1[0-2])$", "maxLength": 20}),
    );
    same("small", json!({"type": "integer", "format": "int32", "minimum": 6, "maximum": 8}));
    same("ratio", json!({"type": "number", "format": "double", "minimum": 0, "maximum": 1}));
    assert_eq!(properties["anyRatio"]["anyOf"][1]["enum"], json!(["NaN", "Infinity", "-Infinity"]));
    same(
        "key",
        json!({"type": "string", "format": "byte", "contentEncoding": "base64", "minLength": 43,
            "maxLength": 44}),
    );
    assert_eq!(properties["labels"]["maxProperties"], 3);
    assert_eq!(properties["labels"]["additionalProperties"]["type"], "integer");
    assert_eq!(properties["byTruth"]["propertyNames"], json!({"enum": ["true", "false"]}));
    assert_eq!(
        properties["byNumber"]["additionalProperties"]["$ref"],
        "#/components/schemas/Shape"
    );
    same(
        "tags",
        json!({"type": "array", "minItems": 1, "maxItems": 4, "uniqueItems": true,
            "items": {"type": "string", "format": "email", "maxLength": 320}}),
    );
    assert_eq!(properties["createTime"]["readOnly"], true);
    assert_eq!(properties["createTime"]["format"], "date-time");
    assert_eq!(properties["wait"]["description"], "At least 0s, at most 30s.");
    assert_eq!(properties["secret"]["writeOnly"], true);
    assert_eq!(properties["old"]["deprecated"], true);
    same("colour", json!({"$ref": "#/components/schemas/Colour", "enum": ["COLOUR_BLUE"]}));
    assert_eq!(properties["maybeBig"]["format"], "int64");
    assert_eq!(properties["null"]["type"], "null");
    assert_eq!(properties["unit"]["enum"], json!(["cm", "in"]));
    assert_eq!(properties["link"]["pattern"], "^https://");
    assert!(properties["odd"]["pattern"].is_null(), "ECMA-262 has no such flag");
    // What is refused when it is absent. Numbers that may be zero are left out of
    // answers, and this message is both.
    let required: BTreeSet<&str> =
        shape["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let wanted = ["name", "count", "small", "key", "tags", "secret", "colour", "link", "odd"];
    assert_eq!(required, BTreeSet::from(wanted));
    assert_eq!(shape["additionalProperties"], false);
    let told = shape["description"].as_str().unwrap();
    assert!(told.contains("Exactly one of `width`, `height` is set."), "{told}");
    assert!(told.contains("At most one of `here`, `there`, `nowhere` is set."), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_oneof_exclude_each_other() {
    let document = shapes().await;
    let schema = json!({ "not": document["components"]["schemas"]["Shape"]["not"] });
    let is_valid = |value: Value| problems(&document, &schema, &value).is_empty();
    assert!(is_valid(json!({"width": 1})));
    assert!(is_valid(json!({"height": 1, "there": "x"})));
    assert!(!is_valid(json!({})), "one of width and height must be there");
    assert!(!is_valid(json!({"width": 1, "height": 1})));
    assert!(!is_valid(json!({"width": 1, "here": "x", "nowhere": "x"})));
}

#[tokio::test(flavor = "multi_thread")]
async fn bindings_of_every_kind_are_described() {
    let document = shapes().await;
    let paths = &document["paths"];
    assert_eq!(document["info"]["title"], "shapes");
    assert_eq!(document["info"]["version"], "v1beta1");
    assert!(document["info"]["license"].is_null(), "nobody said");
    let put = &paths["/v1/shapes/{name}"]["put"];
    assert_eq!(put["operationId"], "Shapes_Make2");
    let body =
        put["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str().unwrap();
    let body = resolve(&document, body).unwrap();
    assert!(body["properties"]["name"].is_null(), "the path has it");
    assert!(body["properties"]["count"].is_object());
    assert!(paths["/v1/shapes"]["x-additional-operations"]["PURGE"].is_object());
    for method in ["get", "put", "post", "delete", "patch"] {
        assert!(paths["/v1/any/{anyId}/{anyId2}"][method].is_object(), "{method}");
    }
    let find = &paths["/v1/shapes:find"]["get"];
    assert_eq!(find["summary"], "Finds shapes.");
    let query: Vec<&str> = find["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|parameter| parameter["in"] == "query")
        .map(|parameter| parameter["name"].as_str().unwrap())
        .collect();
    assert_eq!(query, ["query", "tree.leaf", "labels", "colours", "since"]);
    assert_eq!(find["parameters"][0]["required"], true);
    assert_eq!(find["parameters"][2]["style"], "deepObject");
    assert_eq!(
        find["responses"]["200"]["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/Tree"
    );
    let upload = &paths["/v1/files/{path}"]["post"];
    assert_eq!(upload["deprecated"], true);
    assert!(upload["requestBody"]["content"]["*/*"].is_object());
    assert!(upload["responses"]["200"]["content"]["*/*"].is_object());
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_contracts_without_options_are_described() {
    let document = library().await;
    let paths = &document["paths"];
    let lend = &paths["/library.v1.Library/Lend"]["post"];
    assert_eq!(lend["operationId"], "Library_Lend");
    assert_eq!(lend["security"], json!([]), "anyone may call");
    assert_eq!(
        lend["requestBody"]["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/LendRequest"
    );
    let item = &paths["/v1/shelves/{shelvesId}/books/{booksId}"];
    for method in ["get", "patch", "delete"] {
        assert!(item[method].is_object(), "{method}");
    }
    let patch =
        item["patch"]["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str();
    let patch = resolve(&document, patch.unwrap()).unwrap();
    assert!(patch["properties"]["name"].is_null(), "the path has it: {patch}");
    let made = &paths["/v1/shelves/{shelvesId}/books"]["post"]["responses"];
    assert!(made["201"]["headers"]["Location"].is_object() && made["200"].is_null(), "{made}");
    let read = &item["get"]["responses"];
    assert!(read["304"].is_object() && read["412"].is_object(), "{read}");
    assert!(read["200"]["headers"]["ETag"].is_object(), "{read}");
    let listed = &paths["/v1/shelves/{shelvesId}/books"]["get"]["responses"]["200"]["headers"];
    assert!(listed["Link"].is_object(), "{listed}");
    let merge = &item["patch"]["requestBody"]["content"]["application/merge-patch+json"]["schema"];
    assert!(problems(&document, merge, &json!({"title": null, "pages": "9"})).is_empty());
    assert!(!problems(&document, merge, &json!({"pages": 9})).is_empty());
    let watch = &paths["/v1/shelves/{shelvesId}/books:watch"]["get"]["responses"]["200"]["content"];
    assert_eq!(watch["application/json"]["schema"]["type"], "array");
    for lines in ["application/x-ndjson", "text/event-stream"] {
        assert_eq!(
            watch[lines]["schema"]["contentSchema"]["$ref"], "#/components/schemas/Book",
            "{lines}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_of_foreign_contracts_are_their_security() {
    let upstream = Upstream::start("library.proto").await;
    let policies = tempfile::NamedTempFile::new().unwrap();
    let text = r#"
        [default]
        access = "signed_in"
        [rules."library.v1.Library/GetBook"]
        access = "public"
        [rules."library.v1.Library/Lend"]
        access = "permission"
        permission = "books.lend"
    "#;
    std::fs::write(policies.path(), text).unwrap();
    let edge = Edge::with(&[&upstream], json!({ "policies": policies.path() })).await;
    let document = get(edge.address, "/openapi.json").await.json;
    edge.stop().await;
    let paths = &document["paths"];
    let item = &paths["/v1/shelves/{shelvesId}/books/{booksId}"];
    assert_eq!(item["get"]["security"], json!([]));
    assert_eq!(item["delete"]["security"], json!([{"bearer": []}]));
    let lend = &paths["/library.v1.Library/Lend"]["post"];
    assert_eq!(lend["security"], json!([{"bearer": []}]));
    assert_eq!(lend["x-mercat-access"]["permission"], "books.lend");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_cached_and_follows_the_contracts() {
    let upstream = Upstream::start("library.proto").await;
    let edge = Edge::before(&upstream).await;
    let ask = async |headers: &[(&str, &str)]| {
        send(edge.address, request(edge.address, "GET", "/openapi.json", headers, Bytes::new()))
            .await
    };
    let first = ask(&[]).await;
    let tag = first.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(first.headers["cache-control"], "no-cache");
    let again = ask(&[("if-none-match", &tag)]).await;
    assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
    let short = ask(&[("accept-encoding", "gzip")]).await;
    assert_eq!(short.headers["content-encoding"], "gzip");
    assert!(
        short.body.len() < first.body.len() / 4,
        "{} of {}",
        short.body.len(),
        first.body.len()
    );
    assert_ne!(short.headers["etag"], first.headers["etag"]);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_asks_nobody_but_the_gateway() {
    let upstream = Upstream::start("library.proto").await;
    let edge = Edge::before(&upstream).await;
    let page = get(edge.address, "/docs").await;
    assert_eq!(page.status, StatusCode::OK);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.contains("default-src 'none'") && policy.contains("connect-src 'self'"),
        "{policy}"
    );
    let html = String::from_utf8(page.body.to_vec()).unwrap();
    for address in html.split('"').filter(|text| text.starts_with("docs/")) {
        let file = get(edge.address, &format!("/{address}")).await;
        assert_eq!(file.status, StatusCode::OK, "{address}");
    }
    let missing = get(edge.address, "/docs/none").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert_eq!(missing.json["error"]["reason"], "ROUTE_NOT_FOUND");
    edge.stop().await;
}
