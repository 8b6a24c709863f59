//! Entity tags: what is not sent again, and what is not overwritten.

use http::StatusCode;
use serde_json::json;
use tonic::Status;

use super::{Gallery, fields};

const PICTURE: &str = "/v1/pictures/p1";
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_has_is_not_sent_again() {
    let gallery = Gallery::open().await;
    let first = gallery.get(PICTURE, &[]).await;
    assert_eq!(first.header("etag"), "\"v1\"");
    for condition in ["\"v1\"", "W/\"v1\"", "\"v0\", \"v1\"", "\"v1+gzip\"", "*"] {
        let again = gallery.get(PICTURE, &[("if-none-match", condition)]).await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{condition}");
        assert_eq!(again.body.len(), 0, "{condition}");
        for name in ["etag", "cache-control", "vary"] {
            assert_eq!(again.header(name), first.header(name), "{condition}: {name}");
        }
        assert_eq!(again.header("content-type"), "", "{condition}");
    }
    let changed = gallery.get(PICTURE, &[("if-none-match", "\"v0\"")]).await;
    assert_eq!(changed.status, StatusCode::OK);
    let head = gallery.ask("HEAD", PICTURE, &[("if-none-match", "\"v1\"")], "").await;
    assert_eq!((head.status, head.header("content-length")), (StatusCode::NOT_MODIFIED, ""));
    let stale = gallery.get(PICTURE, &[("if-match", "\"v0\"")]).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    let current = gallery.get(PICTURE, &[("if-match", "\"v1\"")]).await;
    assert_eq!(current.status, StatusCode::OK);
    // A failure is no representation that the client could have.
    gallery.on("GetPicture", |_, _| Err(Status::not_found("gone")));
    let gone = gallery.get(PICTURE, &[("if-none-match", "*")]).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_etag_has_no_tag() {
    let gallery = Gallery::open().await;
    gallery.on("GetPicture", |_, _| Ok(json!({ "title": "untagged" })));
    let reply = gallery.get(PICTURE, &[("if-none-match", "\"v1\"")]).await;
    assert_eq!((reply.status, reply.header("etag")), (StatusCode::OK, ""));
    assert_eq!(reply.header("cache-control"), "no-store");
    // The tag of the field that is answered, where one is.
    gallery.on("HangPicture", |_, _| {
        Ok(json!({ "etag": "whole", "wall": { "room": "12", "etag": "part" } }))
    });
    let wall = gallery.ask("PUT", "/v1/pictures/p1/wall", &[JSON], "{}").await;
    assert_eq!(wall.json, json!({ "room": "12", "etag": "part" }));
    assert_eq!(wall.header("etag"), "\"part\"");
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_is_sent_back_is_what_the_service_gave() {
    let gallery = Gallery::open().await;
    for etag in ["v1", "\"v1\"", "a b", "50%", "ü"] {
        gallery.on("GetPicture", move |_, _| Ok(json!({ "etag": etag })));
        gallery.on("UpdatePicture", |request, _| {
            Ok(json!({ "title": request["picture"]["etag"], "etag": "v2" }))
        });
        let read = gallery.get(PICTURE, &[]).await;
        let headers = [JSON, ("if-match", read.header("etag"))];
        let written = gallery.ask("PATCH", PICTURE, &headers, r#"{"price": 1}"#).await;
        assert_eq!(written.json["title"], etag, "{}", read.header("etag"));
        assert_eq!(written.header("etag"), "\"v2\"", "the next write needs it");
    }
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_to_what_has_changed_is_412() {
    let gallery = Gallery::open().await;
    gallery.on("UpdatePicture", |_, _| Err(Status::aborted("it is v2 now")));
    gallery.on("DeletePicture", |request, _| match request["etag"].as_str() {
        Some("v2") | None => Ok(json!({})),
        Some(_) => Err(Status::aborted("it is v2 now")),
    });
    let headers = [JSON, ("if-match", "\"v1\"")];
    let stale = gallery.ask("PATCH", PICTURE, &headers, "{}").await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(stale.json["error"]["code"], 412);
    assert_eq!(stale.json["error"]["status"], "ABORTED");
    // Whoever did not ask for it is told of the conflict alone.
    let conflict = gallery.ask("PATCH", PICTURE, &[JSON], "{}").await;
    assert_eq!(conflict.status, StatusCode::CONFLICT);

    let delete = |condition: &'static str| {
        let gallery = &gallery;
        async move { gallery.ask("DELETE", PICTURE, &[("if-match", condition)], "").await }
    };
    assert_eq!(delete("\"v1\"").await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(delete("\"v2\"").await.status, StatusCode::OK);
    assert_eq!(delete("*").await.status, StatusCode::OK, "any that there is");
    assert_eq!(delete("W/\"v2\"").await.status, StatusCode::PRECONDITION_FAILED, "weak");
    let two = delete("\"v1\", \"v2\"").await;
    assert_eq!((two.status, fields(&two)), (StatusCode::BAD_REQUEST, vec!["if-match"]));
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_cannot_be_heeded_is_refused() {
    let gallery = Gallery::open().await;
    gallery.on("HangPicture", |_, _| Ok(json!({})));
    let hang = |headers: &'static [(&'static str, &'static str)]| {
        let gallery = &gallery;
        async move { gallery.ask("PUT", "/v1/pictures/p1/wall", headers, "{}").await }
    };
    // Its request has an etag within the wall.
    assert_eq!(hang(&[JSON, ("if-match", "\"v1\"")]).await.status, StatusCode::OK);
    let refused = hang(&[JSON, ("if-none-match", "*")]).await;
    assert_eq!((refused.status.as_u16(), fields(&refused)), (400, vec!["if-none-match"]));
    gallery.close().await;
}
