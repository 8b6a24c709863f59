//! What is written, and what may be done with it.

use http::StatusCode;
use prost_reflect::{DynamicMessage, prost::Message as _};
use serde_json::json;

use super::{Gallery, fields};
use crate::upstream::to_json;

const PICTURE: &str = "/v1/pictures/p1";

#[tokio::test(flavor = "multi_thread")]
async fn the_client_says_what_it_takes() {
    let gallery = Gallery::open().await;
    for (accept, content_type) in [
        ("*/*", "application/json"),
        ("application/json;q=0.2, application/x-protobuf;q=0.1", "application/json"),
        ("application/hal+json", "application/json"),
        ("application/x-protobuf", "application/x-protobuf"),
        ("application/json;q=0.1, application/x-protobuf;q=0.2", "application/x-protobuf"),
    ] {
        let reply = gallery.get(PICTURE, &[("accept", accept)]).await;
        assert_eq!(reply.status, StatusCode::OK, "{accept}");
        assert_eq!(reply.header("content-type"), content_type, "{accept}");
        if content_type == "application/x-protobuf" {
            let picture = gallery.upstream.pool().get_message_by_name("gallery.v1.Picture");
            let picture = DynamicMessage::decode(picture.unwrap(), reply.body).unwrap();
            assert_eq!(to_json(&picture)["title"], "Las Meninas");
        }
    }
    let refused = gallery.get(PICTURE, &[("accept", "image/png, application/json;q=0")]).await;
    assert_eq!((refused.status.as_u16(), refused.reason()), (406, "NOT_ACCEPTABLE"));
    assert_eq!(fields(&refused), ["accept"]);
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_read_as_what_it_says_it_is() {
    let gallery = Gallery::open().await;
    gallery.on("CreatePicture", |request, _| Ok(request["picture"].clone()));
    let picture = gallery.upstream.pool().get_message_by_name("gallery.v1.Picture").unwrap();
    let json = r#"{"title":"Guernica"}"#;
    let wire = {
        let parsed = json!({ "title": "Guernica" });
        DynamicMessage::deserialize(picture, &parsed).unwrap().encode_to_vec()
    };
    for (content_type, body) in [
        ("application/json; charset=utf-8", json.as_bytes()),
        ("application/vnd.gallery+json", json.as_bytes()),
        ("application/x-protobuf", &wire),
    ] {
        let headers = [("content-type", content_type)];
        let reply = gallery.ask("POST", "/v1/pictures", &headers, body.to_vec()).await;
        assert_eq!(reply.json, json!({ "title": "Guernica" }), "{content_type}");
    }
    for content_type in ["text/plain", "application/json; charset=latin1", "application/xml"] {
        let headers = [("content-type", content_type)];
        let reply = gallery.ask("POST", "/v1/pictures", &headers, json).await;
        assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}");
        assert_eq!(reply.reason(), "MEDIA_TYPE_UNSUPPORTED", "{content_type}");
        assert_eq!(reply.header("accept"), "application/json, application/x-protobuf");
    }
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_numbers_are_numbers_for_those_who_ask() {
    let gallery = Gallery::open().await;
    for (query, expected) in [
        ("", json!("9007199254740993")),
        ("?alt=json", json!("9007199254740993")),
        ("?alt=json;int64=number", json!(9_007_199_254_740_993_i64)),
        ("?int64=number&view=x", json!(9_007_199_254_740_993_i64)),
    ] {
        let reply = gallery.get(&format!("{PICTURE}{query}"), &[]).await;
        assert_eq!(reply.json["price"], expected, "{query}");
    }
    let refused = gallery.get(&format!("{PICTURE}?alt=xml"), &[]).await;
    assert_eq!((refused.status.as_u16(), fields(&refused)), (400, vec!["alt"]));
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn enums_are_numbers_for_the_clients_of_google() {
    let gallery = Gallery::open().await;
    gallery.on("CopyPicture", |_, _| Ok(json!({ "style": "STYLE_BAROQUE" })));
    for (query, expected) in [
        ("", json!("STYLE_BAROQUE")),
        ("?$alt=json", json!("STYLE_BAROQUE")),
        ("?%24alt=json%3Benum-encoding%3Dint", json!(1)),
    ] {
        let target = format!("{PICTURE}:copy{query}");
        let reply =
            gallery.ask("POST", &target, &[("content-type", "application/json")], "{}").await;
        assert_eq!(reply.json["style"], expected, "{query} {}", reply.json);
    }
    let refused = gallery.get(&format!("{PICTURE}?%24alt=proto"), &[]).await;
    assert_eq!((refused.status.as_u16(), fields(&refused)), (400, vec!["$alt"]));
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_its_body() {
    let gallery = Gallery::open().await;
    let get = gallery.get(PICTURE, &[]).await;
    let head = gallery.ask("HEAD", PICTURE, &[], "").await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    for name in ["content-length", "content-type", "etag", "cache-control", "vary"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
        assert!(!head.header(name).is_empty(), "{name}");
    }
    assert_eq!(head.header("content-length"), get.body.len().to_string());
    let missing = gallery.ask("HEAD", "/v1/nothing", &[], "").await;
    assert_eq!((missing.status, missing.body.len()), (StatusCode::NOT_FOUND, 0));
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_says_what_it_takes() {
    let gallery = Gallery::open().await;
    let options = gallery.ask("OPTIONS", PICTURE, &[], "").await;
    assert_eq!(options.status, StatusCode::NO_CONTENT);
    assert_eq!(options.header("allow"), "DELETE, GET, HEAD, OPTIONS, PATCH");
    assert_eq!(options.header("accept-patch"), "application/merge-patch+json, application/json");
    assert_eq!(options.header("accept-post"), "");
    let options = gallery.ask("OPTIONS", "/v1/pictures", &[], "").await;
    assert_eq!(options.header("allow"), "GET, HEAD, OPTIONS, POST");
    assert_eq!(options.header("accept-post"), "application/json, application/x-protobuf");
    let server = gallery.ask("OPTIONS", "*", &[], "").await;
    assert_eq!(server.status, StatusCode::NO_CONTENT);
    assert!(server.header("allow").contains("PATCH"));
    let refused = gallery.ask("PUT", PICTURE, &[], "").await;
    assert_eq!((refused.status.as_u16(), refused.reason()), (405, "HTTP_METHOD_NOT_ALLOWED"));
    assert_eq!(refused.header("allow"), "DELETE, GET, HEAD, OPTIONS, PATCH");
    let unknown = gallery.ask("OPTIONS", "/v1/nothing", &[], "").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caches_and_browsers_are_told_what_they_may_do() {
    let gallery = Gallery::open().await;
    gallery.on("ListPictures", |_, _| Ok(json!({})));
    let tagged = gallery.get(PICTURE, &[]).await;
    assert_eq!(tagged.header("cache-control"), "private, no-cache");
    assert_eq!(
        tagged.header("vary"),
        "accept, accept-encoding, authorization, accept-language",
        "what the answer depends on"
    );
    for target in ["/v1/pictures", "/v1/nothing"] {
        assert_eq!(gallery.get(target, &[]).await.header("cache-control"), "no-store", "{target}");
    }
    for target in [PICTURE, "/v1/nothing"] {
        let reply = gallery.get(target, &[]).await;
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{target}");
        assert_eq!(reply.header("x-frame-options"), "DENY", "{target}");
        assert!(reply.header("content-security-policy").contains("default-src 'none'"), "{target}");
        assert!(!reply.header("x-request-id").is_empty(), "{target}");
        assert!(reply.headers.keys().all(|name| !name.as_str().starts_with("grpc")), "{target}");
    }
    gallery.close().await;
}
