//! What a request may say, and in which forms.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{all, before, operations, walk};
use crate::{
    json_schema::{problems, resolve},
    upstream::{Upstream, compile_text},
};

const RULES: &str = r#"
syntax = "proto3";
package rules.v1;

import "buf/validate/validate.proto";
import "google/api/annotations.proto";
import "google/protobuf/field_mask.proto";

service Things {
  rpc Make(MakeRequest) returns (Thing) {
    option (google.api.http) = {post: "/v1/things" body: "*"};
  }
  rpc Change(ChangeRequest) returns (Thing) {
    option (google.api.http) = {patch: "/v1/things/{thing.id}" body: "thing"};
  }
  rpc Touch(TouchRequest) returns (Thing) {
    option (google.api.http) = {post: "/v1/things/{id}:touch" body: "*"};
  }
  rpc Choose(ChooseRequest) returns (Thing) {
    option (google.api.http) = {post: "/v1/things:choose" body: "*"};
  }
  rpc List(ListRequest) returns (ListResponse) {
    option (google.api.http) = {get: "/v1/things"};
  }
  rpc Get(TouchRequest) returns (Thing) {
    option (google.api.http) = {get: "/v1/things/{id}"};
  }
}

message MakeRequest {
  string request_id = 1 [(buf.validate.field).string.uuid = true];
  string name = 2 [(buf.validate.field).required = true];
  repeated string tags = 3 [(buf.validate.field).required = true];
  map<string, string> labels = 4 [(buf.validate.field).required = true];
  int64 count = 5 [(buf.validate.field).required = true];
  Kind kind = 6 [(buf.validate.field).required = true];
  bool agreed = 7 [(buf.validate.field).required = true];
  optional string note = 8 [(buf.validate.field).required = true];
  string code = 9 [(buf.validate.field).string = { not_in: ["A", "B"] not_contains: "." min_bytes: 9 }];
  int32 delta = 10 [(buf.validate.field).int32 = { gte: -5 lte: 5 not_in: [0] }];
  double ratio = 11 [(buf.validate.field).double = { not_in: [0.5] }];
}

enum Kind {
  KIND_UNSPECIFIED = 0;
  KIND_ROUND = 1;
}

message Thing {
  string id = 1;
  string title = 2;
  string etag = 3 [(buf.validate.field).string.max_len = 40];
}

message ChangeRequest {
  Thing thing = 1 [(buf.validate.field).required = true];
  google.protobuf.FieldMask update_mask = 2;
}

message ListRequest {
  int32 page_size = 1;
  string page_token = 2;
}

message ListResponse {
  repeated Thing things = 1;
  string next_page_token = 2;
}

message TouchRequest {
  string id = 1 [(buf.validate.field).required = true];
  string request_id = 2;
  string etag = 3 [(buf.validate.field).string.max_len = 40];
}

message ChooseRequest {
  oneof which {
    option (buf.validate.oneof).required = true;
    string name = 1;
    int32 number = 2;
  }
}
"#;

async fn rules() -> Value {
    before(&Upstream::serve(compile_text(RULES), true).await).await
}

/// The parameter of an operation, by its name.
fn parameter<'d>(document: &'d Value, operation: &'d Value, name: &str) -> &'d Value {
    let parameters = operation["parameters"].as_array().unwrap().iter();
    let mut resolved = parameters.map(|parameter| match parameter["$ref"].as_str() {
        Some(reference) => resolve(document, reference).unwrap(),
        None => parameter,
    });
    resolved.find(|parameter| parameter["name"] == name).unwrap_or(&Value::Null)
}

fn is_valid(document: &Value, schema: &Value, value: Value) -> bool {
    problems(document, schema, &value).is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_required_is_never_the_zero_of_its_type() {
    let document = rules().await;
    let properties = &document["components"]["schemas"]["MakeRequest"]["properties"];
    for (name, zero, other) in [
        ("name", json!(""), json!("a")),
        ("tags", json!([]), json!(["a"])),
        ("labels", json!({}), json!({"a": "b"})),
        ("count", json!("0"), json!("1")),
        ("kind", json!("KIND_UNSPECIFIED"), json!("KIND_ROUND")),
        ("agreed", json!(false), json!(true)),
    ] {
        assert!(!is_valid(&document, &properties[name], zero), "{name}");
        assert!(is_valid(&document, &properties[name], other), "{name}");
    }
    assert!(is_valid(&document, &properties["note"], json!("")), "it has presence");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_excludes_is_excluded() {
    let document = rules().await;
    let properties = &document["components"]["schemas"]["MakeRequest"]["properties"];
    for (name, value, holds) in [
        ("code", json!("ABC"), true),
        ("code", json!("A"), false),
        ("code", json!("a.bc"), false),
        ("code", json!("ab"), false),
        ("delta", json!(0), false),
        ("delta", json!(-5), true),
        ("ratio", json!(0.5), false),
        ("ratio", json!(1.5), true),
    ] {
        assert_eq!(is_valid(&document, &properties[name], value.clone()), holds, "{name} {value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_required_where_none_would_break_a_rule() {
    let document = rules().await;
    for (path, method, is_required) in [
        ("/v1/things", "post", true),
        ("/v1/things/{id}", "patch", true),
        ("/v1/things/{id}:touch", "post", false),
        ("/v1/things:choose", "post", true),
    ] {
        let body = &document["paths"][path][method]["requestBody"];
        assert_eq!(body["required"], is_required, "{path}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_keep_the_rules_of_the_fields_they_stand_for() {
    let document = rules().await;
    let paths = &document["paths"];
    let key = parameter(&document, &paths["/v1/things"]["post"], "Idempotency-Key");
    assert_eq!(
        (&key["schema"]["format"], &key["schema"]["maxLength"]),
        (&json!("uuid"), &json!(36))
    );
    let touch = &paths["/v1/things/{id}:touch"]["post"];
    let key = &parameter(&document, touch, "Idempotency-Key")["schema"];
    assert_eq!((&key["minLength"], &key["maxLength"]), (&json!(1), &json!(255)));
    let tag = &parameter(&document, touch, "If-Match")["schema"];
    let (longest, longer) = ("x".repeat(40), "x".repeat(41));
    for (value, holds) in [
        ("*".to_owned(), true),
        ("\"5\"".to_owned(), true),
        ("\"5+gzip\"".to_owned(), true),
        ("\"%22a%22\"".to_owned(), true),
        (format!("\"{longest}\""), true),
        (format!("\"{longest}+deflate\""), true),
        (format!("\"{longer}\""), false),
        ("\"\"".to_owned(), false),
        ("5".to_owned(), false),
    ] {
        assert_eq!(is_valid(&document, tag, json!(value)), holds, "{value}");
    }
    let read = &parameter(&document, &paths["/v1/things/{id}"]["get"], "If-Match")["schema"];
    assert!(is_valid(&document, read, json!(format!("\"{}\"", "x".repeat(512)))));
    assert!(!is_valid(&document, read, json!(format!("\"{}\"", "x".repeat(513)))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mask_is_shown_with_a_field_of_its_resource_and_a_page_with_a_size() {
    let document = rules().await;
    let change = &document["paths"]["/v1/things/{id}"]["patch"];
    assert_eq!(parameter(&document, change, "updateMask")["example"], "title");
    let list = &document["paths"]["/v1/things"]["get"];
    assert_eq!(parameter(&document, list, "pageSize")["schema"]["minimum"], 0);
}

fn media_types(content: &Value) -> BTreeSet<&str> {
    content.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_described_as_they_come_and_go() {
    let document = before(&Upstream::start("files.proto").await).await;
    let paths = &document["paths"];
    for (path, method) in [
        ("/v1/files/{name}", "put"),
        ("/v1/files/{name}:write", "put"),
        ("/v1/files", "post"),
        ("/v1/files:write", "post"),
    ] {
        let body = &paths[path][method]["requestBody"];
        let types = media_types(&body["content"]);
        let form = &body["content"]["multipart/form-data"]["schema"]["properties"];
        assert_eq!(form["file"]["format"], "binary", "{path}: {body}");
        let is_raw = method == "put";
        assert_eq!(types.contains("*/*"), is_raw, "{path}: {types:?}");
        assert_eq!(types.contains("application/json"), !is_raw, "{path}: {types:?}");
        assert_eq!(form["thumbnail"].is_object(), !is_raw, "{path}: {form}");
        let mut others = body["content"]["multipart/form-data"]["schema"].clone();
        others["properties"] = json!({});
        assert!(!is_valid(&document, &others, json!({"nothing": "x"})), "a part without a field");
    }
    for path in ["/v1/files/{name}", "/v1/files/{name}:read"] {
        let get = &paths[path]["get"];
        assert!(get["responses"]["200"]["content"]["*/*"].is_object(), "{path}");
        for status in ["206", "304", "416"] {
            assert!(get["responses"][status].is_object(), "{path}: {status}");
        }
        assert!(parameter(&document, get, "Range").is_object(), "{path}");
    }
    assert!(paths["/v1/files"]["post"]["responses"]["206"].is_null(), "it answers no content");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_say_how_they_are_called() {
    let document = before(&Upstream::start("streams.proto").await).await;
    let paths = &document["paths"];
    let watch = &paths["/v1/notes:watch"]["get"];
    assert!(parameter(&document, watch, "Last-Event-ID").is_object());
    assert!(parameter(&document, &paths["/v1/troubles:watch"]["get"], "Last-Event-ID").is_null());
    for (path, method, is_stream) in [
        ("/v1/notes:watch", "get", true),
        ("/v1/rooms/{room}/notes:collect", "post", true),
        ("/v1/files/{name}", "put", true),
        ("/v1/rooms/{room}/chat", "post", true),
        ("/v1/note", "get", false),
    ] {
        let told = paths[path][method]["description"].as_str().unwrap();
        assert_eq!(told.contains("WebSocket"), is_stream, "{path}: {told}");
    }
    for path in ["/v1/rooms/{room}/notes:collect", "/v1/rooms/{room}/chat"] {
        let body = &paths[path]["post"]["requestBody"];
        assert_eq!(body["required"], false, "{path}: a stream of nothing is one");
        let types = media_types(&body["content"]);
        assert_eq!(types, BTreeSet::from(["application/json", "application/x-ndjson"]), "{path}");
        let array = &body["content"]["application/json"]["schema"];
        assert!(is_valid(&document, array, json!([{"text": "a"}, {"text": "b"}])), "{array}");
    }
    let store = &paths["/v1/files/{name}"]["put"]["requestBody"]["content"];
    assert!(media_types(store).contains("*/*"), "pieces of any content: {store}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_component_is_used_and_every_operation_may_refuse_its_head() {
    for document in all().await {
        let mut used = BTreeSet::new();
        walk(&document, "", &mut |_, value| {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return };
            let place = reference.strip_prefix("#/components/").unwrap();
            used.insert(place.splitn(3, '/').take(2).collect::<Vec<_>>().join("/"));
        });
        for (kind, members) in document["components"].as_object().unwrap() {
            for name in members.as_object().unwrap().keys() {
                let is_used = kind == "securitySchemes" || used.contains(&format!("{kind}/{name}"));
                assert!(is_used, "{kind}/{name}");
            }
        }
        for (method, path, operation) in operations(&document) {
            assert!(operation["responses"]["431"].is_object(), "{method} {path}");
        }
    }
}
