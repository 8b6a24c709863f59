//! Contracts that are not ours, learned and followed.

use http::StatusCode;
use serde_json::{Value, json};
use testkit::eventually;
use tonic::Status;

use crate::{
    client::{get, post, request, send},
    upstream::{Edge, Upstream, compile_text},
};

async fn library() -> Upstream {
    let upstream = Upstream::start("library.proto").await;
    upstream.unary("/library.v1.Library/GetBook", |request, _| match request["name"].as_str() {
        Some("shelves/1/books/none") => Err(Status::not_found("no such book")),
        _ => Ok(json!({ "name": request["name"], "title": "Tirant lo Blanc", "pages": "921" })),
    });
    upstream.unary("/library.v1.Library/Lend", |request, _| Ok(json!({ "name": request["name"] })));
    upstream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_server_is_served_by_its_reflection() {
    let upstream = library().await;
    let edge = Edge::before(&upstream).await;
    let book = get(edge.address, "/v1/shelves/1/books/2").await;
    assert_eq!(book.status, StatusCode::OK, "{book:?}");
    assert_eq!(
        book.json,
        json!({ "name": "shelves/1/books/2", "title": "Tirant lo Blanc", "pages": "921" })
    );
    let lent = post(edge.address, "/library.v1.Library/Lend", json!({ "name": "x" })).await;
    assert_eq!(lent.json, json!({ "name": "x" }), "a method without an http rule");
    let missing = get(edge.address, "/v1/shelves/1/books/none").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    let document = get(edge.address, "/openapi.json").await.json;
    assert!(document["paths"].as_object().is_some_and(|paths| !paths.is_empty()));
    let ready = get(edge.address, "/readyz").await;
    assert_eq!(ready.status, StatusCode::OK, "a server without a health service counts as there");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_reflection_the_contracts_come_from_a_file() {
    let pool = crate::upstream::compile(&["library.proto"]);
    let upstream = Upstream::serve(pool.clone(), false).await;
    upstream.unary("/library.v1.Library/Lend", |_, _| Ok(json!({ "title": "lent" })));
    let refused = Edge::try_with(&[&upstream], json!({ "access": "public" })).await;
    let why = refused.err().unwrap().to_string();
    assert!(why.contains("--descriptors"), "{why}");

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pool.encode_to_vec()).unwrap();
    let config = json!({ "access": "public", "descriptors": file.path() });
    let edge = Edge::with(&[&upstream], config).await;
    let lent = post(edge.address, "/library.v1.Library/Lend", json!({})).await;
    assert_eq!(lent.json, json!({ "title": "lent" }));
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_let_in_without_a_policy() {
    let upstream = library().await;
    let refused = Edge::try_with(&[&upstream], json!({})).await;
    let why = refused.err().unwrap().to_string();
    assert!(why.contains("library.v1.Library/Lend has no policy"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_file_says_who_may_call() {
    let upstream = library().await;
    let policies = tempfile::NamedTempFile::new().unwrap();
    let text = r#"
        [default]
        access = "signed_in"
        [rules."library.v1.Library/GetBook"]
        access = "public"
        [rules."library.v1.Library/DeleteBook"]
        access = "permission"
        permission = "books.delete"
    "#;
    std::fs::write(policies.path(), text).unwrap();
    let edge = Edge::with(&[&upstream], json!({ "policies": policies.path() })).await;
    let to = edge.address;
    assert_eq!(get(to, "/v1/shelves/1/books/2").await.status, StatusCode::OK);
    let nobody = post(to, "/library.v1.Library/Lend", json!({})).await;
    assert_eq!((nobody.status, nobody.reason()), (StatusCode::UNAUTHORIZED, "TOKEN_MISSING"));
    let kind = chassis::keys::Kind::Customer;
    let token = testkit::token(&edge.signing, &edge.clock, "ana", kind, &[]);
    let bearer = format!("Bearer {token}");
    let call = |method, target| {
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        send(to, request(to, method, target, &headers, "{}"))
    };
    assert_eq!(call("POST", "/library.v1.Library/Lend").await.status, StatusCode::OK);
    let denied = call("POST", "/library.v1.Library/DeleteBook").await;
    assert_eq!((denied.status, denied.reason()), (StatusCode::FORBIDDEN, "ACCESS_DENIED"));

    std::fs::write(policies.path(), "[rules.\"library.v1.Libary\"]\naccess = \"public\"").unwrap();
    let config = json!({ "policies": policies.path() });
    let why = Edge::try_with(&[&upstream], config).await.err().unwrap().to_string();
    assert!(why.contains("library.v1.Libary"), "{why}");
    edge.stop().await;
}

const FIRST: &str = r#"
    syntax = "proto3";
    package test.v1;
    service Echo { rpc Say(Said) returns (Said); }
    message Said { string text = 1; int32 times = 2; }
"#;

async fn echo() -> Upstream {
    let upstream = Upstream::serve(compile_text(FIRST), true).await;
    upstream.unary("/test.v1.Echo/Say", |request, _| Ok(request));
    upstream
}

async fn say(edge: &Edge, body: Value) -> (StatusCode, Value) {
    let reply = post(edge.address, "/test.v1.Echo/Say", body).await;
    (reply.status, reply.json)
}

#[tokio::test(flavor = "multi_thread")]
async fn new_contracts_are_served_while_calls_go_on() {
    let upstream = echo().await;
    let edge = Edge::before(&upstream).await;
    let more = json!({ "text": "hello", "loud": true });
    assert_eq!(say(&edge, more.clone()).await.0, StatusCode::BAD_REQUEST, "an unknown field");
    upstream.replace(compile_text(
        &FIRST.replace("int32 times = 2;", "int32 times = 2; bool loud = 3;"),
    ));
    upstream.unary("/test.v1.Echo/Say", |request, _| Ok(request));
    eventually(|| async {
        // What was served before is served all the time.
        let (status, _) = say(&edge, json!({ "text": "hello" })).await;
        assert_eq!(status, StatusCode::OK);
        let (status, said) = say(&edge, more.clone()).await;
        (status == StatusCode::OK && said == more).then_some(())
    })
    .await;
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contracts_that_would_break_clients_are_refused() {
    let upstream = echo().await;
    let edge = Edge::before(&upstream).await;
    // A field changes its name, and a method comes that would show it.
    let broken = FIRST
        .replace("int32 times = 2;", "int32 count = 2;")
        .replace("returns (Said); }", "returns (Said); rpc Shout(Said) returns (Said); }");
    upstream.replace(compile_text(&broken));
    upstream.unary("/test.v1.Echo/Say", |request, _| Ok(request));
    // Nothing says from outside that something was refused: let it look a few times.
    for _ in 0..5 {
        tokio::time::sleep(std::time::Duration::from_millis(60)).await;
        let (status, said) = say(&edge, json!({ "times": 3 })).await;
        assert_eq!((status, said), (StatusCode::OK, json!({ "times": 3 })));
    }
    let (status, _) = say(&edge, json!({ "count": 3 })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let shout = post(edge.address, "/test.v1.Echo/Shout", json!({})).await;
    assert_eq!(shout.status, StatusCode::NOT_FOUND);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_who_call_too_often_are_told_when_to_come_again() {
    let upstream = library().await;
    let rate = json!({ "per_minute": 1, "burst": 2 });
    let rates = json!({ "limit_loopback": true, "standard": rate });
    let edge = Edge::with(&[&upstream], json!({ "access": "public", "rates": rates })).await;
    let first = get(edge.address, "/v1/shelves/1/books/2").await;
    assert_eq!(first.header("ratelimit"), "\"standard\";r=1;t=60");
    assert_eq!(first.header("ratelimit-policy"), "\"standard\";q=2;w=120");
    get(edge.address, "/v1/shelves/1/books/2").await;
    let refused = get(edge.address, "/v1/shelves/1/books/2").await;
    assert_eq!((refused.status.as_u16(), refused.reason()), (429, "RATE_LIMITED"));
    assert!((1..=60).contains(&refused.header("retry-after").parse::<u32>().unwrap()));
    assert!(refused.header("ratelimit").starts_with("\"standard\";r=0"), "{refused:?}");
    edge.stop().await;
}
