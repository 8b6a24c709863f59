//! What a write is answered with, and what it means.

use http::StatusCode;
use serde_json::{Value, json};

use super::{Gallery, fields, seen};

const JSON: (&str, &str) = ("content-type", "application/json");
const MERGE_PATCH: (&str, &str) = ("content-type", "application/merge-patch+json");

#[tokio::test(flavor = "multi_thread")]
async fn what_was_created_is_found_where_it_is_said_to_be() {
    let gallery = Gallery::open().await;
    gallery.on("CreatePicture", |request, _| Ok(request["picture"].clone()));
    let body = json!({ "pictureId": "a/b ü", "etag": "v1" }).to_string();
    let created = gallery.ask("POST", "/v1/pictures", &[JSON], body).await;
    assert_eq!(created.status, StatusCode::CREATED);
    assert_eq!(created.header("location"), "/v1/pictures/a%2Fb%20%C3%BC");
    assert_eq!(created.header("etag"), "\"v1\"");
    assert_eq!(created.header("cache-control"), "no-store");
    let found = gallery.get(created.header("location"), &[]).await;
    assert_eq!(found.json["pictureId"], "a/b ü");
    // What has no id has no place.
    let nameless = gallery.ask("POST", "/v1/pictures", &[JSON], "{}").await;
    assert_eq!((nameless.status, nameless.header("location")), (StatusCode::CREATED, ""));
    // Neither a verb nor the path of the RPC is a collection.
    gallery.on("CopyPicture", |_, _| Ok(json!({ "pictureId": "p2" })));
    let copied = gallery.ask("POST", "/v1/pictures/p1:copy", &[JSON], "{}").await;
    assert_eq!((copied.status, copied.header("location")), (StatusCode::OK, ""));
    let rpc = gallery
        .ask("POST", "/gallery.v1.Gallery/CreatePicture", &[JSON], r#"{"picture": {}}"#)
        .await;
    assert_eq!(rpc.status, StatusCode::OK);
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_an_empty_object() {
    let gallery = Gallery::open().await;
    gallery.on("DeletePicture", |_, _| Ok(json!({})));
    let deleted = gallery.ask("DELETE", "/v1/pictures/p1", &[], "").await;
    assert_eq!((deleted.status, &*deleted.body), (StatusCode::OK, &b"{}"[..]));
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_says_where_it_goes_on() {
    let gallery = Gallery::open().await;
    gallery.on("ListPictures", |request, _| {
        let next = match request["pageToken"].as_str() {
            Some("a+b/c=&") => "",
            _ => "a+b/c=&",
        };
        Ok(json!({ "pictures": [{ "title": request.to_string() }], "nextPageToken": next }))
    });
    let seen = |json: &Value| -> Value {
        serde_json::from_str(json["pictures"][0]["title"].as_str().unwrap()).unwrap()
    };
    for (target, expected) in [
        ("/v1/pictures", "/v1/pictures?page_token=a%2Bb%2Fc%3D%26"),
        (
            "/v1/pictures?pageSize=5&filter=a%20b+%3E%22&labels[x]=y&pageToken=old",
            "/v1/pictures?pageSize=5&filter=a%20b+%3E%22&labels[x]=y&page_token=a%2Bb%2Fc%3D%26",
        ),
        (
            "/v1/pictures?page%5Ftoken=old&page_size=5",
            "/v1/pictures?page_size=5&page_token=a%2Bb%2Fc%3D%26",
        ),
    ] {
        let first = gallery.get(target, &[]).await;
        let link = first.header("link");
        assert_eq!(link, format!("<{expected}>; rel=\"next\""), "{target}");
        let second = gallery.get(expected, &[]).await;
        let (mut before, mut after) = (seen(&first.json), seen(&second.json));
        assert_eq!(after["pageToken"], "a+b/c=&", "{target}");
        before["pageToken"].take();
        after["pageToken"].take();
        assert_eq!(after, before, "the same request but for its page");
        assert_eq!(second.header("link"), "", "the last page");
    }
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_a_call_repeatable() {
    let gallery = Gallery::open().await;
    gallery.tell("CreatePicture");
    let create = |headers: Vec<(&'static str, String)>, body: &'static str| {
        let gallery = &gallery;
        async move {
            let mut all = vec![JSON];
            all.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
            gallery.ask("POST", "/v1/pictures", &all, body).await
        }
    };
    let key = |value: &str| ("idempotency-key", value.to_owned());
    assert_eq!(seen(&create(vec![key("k1")], "{}").await)["requestId"], "k1");
    assert_eq!(seen(&create(vec![key("\"k1\"")], "{}").await)["requestId"], "k1");
    assert_eq!(seen(&create(vec![key("k1"), key("k1")], "{}").await)["requestId"], "k1");
    let longest = "x".repeat(255);
    assert_eq!(seen(&create(vec![key(&longest)], "{}").await)["requestId"], longest.as_str());
    for headers in [
        vec![key("k1"), key("k2")],
        vec![key(&"x".repeat(256))],
        vec![key("")],
        vec![key("\"\"")],
        vec![key("ü")],
    ] {
        let refused = create(headers.clone(), "{}").await;
        let found = (refused.status.as_u16(), refused.reason(), fields(&refused));
        assert_eq!(found, (400, "HEADER_INVALID", vec!["idempotency-key"]), "{headers:?}");
    }
    // Said in two places it must be said alike.
    let target = "/v1/pictures?requestId=k1";
    let agreeing = [JSON, ("idempotency-key", "k1")];
    let both = gallery.ask("POST", target, &agreeing, "{}").await;
    assert_eq!(seen(&both)["requestId"], "k1");
    let differing = [JSON, ("idempotency-key", "k2")];
    let both = gallery.ask("POST", target, &differing, "{}").await;
    assert_eq!(both.status, StatusCode::BAD_REQUEST);
    let message = both.json["error"]["message"].as_str().unwrap();
    assert!(message.contains("idempotency-key") && message.contains("requestId"), "{message}");
    // A read has no use for it.
    let read = gallery.get("/v1/pictures/p1", &[("idempotency-key", "")]).await;
    assert_eq!(read.status, StatusCode::OK);
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_changes_what_its_body_names() {
    let gallery = Gallery::open().await;
    gallery.tell("UpdatePicture");
    let patch = |content_type, query: &'static str, body: &'static str| {
        let gallery = &gallery;
        let target = format!("/v1/pictures/p1{query}");
        async move { gallery.ask("PATCH", &target, &[content_type], body).await }
    };
    for (body, mask) in [
        (r#"{"title": "x"}"#, "title"),
        (r#"{"title": null}"#, "title"),
        (r#"{"frame": {"wood": "oak"}}"#, "frame.wood"),
        (r#"{"frame": {"wood": null, "width": 3}}"#, "frame.wood,frame.width"),
        (r#"{"frame": {}}"#, "frame"),
        (r#"{"frame": null}"#, "frame"),
        // A mask names no keys: a map and a list are replaced whole.
        (r#"{"labels": {"a": "b"}, "painters": ["x"]}"#, "labels,painters"),
        (r#"{"title": "", "price": "0"}"#, "title,price"),
    ] {
        for content_type in [JSON, MERGE_PATCH] {
            let request = seen(&patch(content_type, "", body).await);
            assert_eq!(request["updateMask"], mask, "{body}");
            assert_eq!(request["picture"]["pictureId"], "p1", "{body}");
        }
    }
    let full = r#"{"title": "x", "price": "5"}"#;
    let explicit = seen(&patch(JSON, "?updateMask=title", full).await);
    assert_eq!(explicit["updateMask"], "title", "the client's own mask stands");
    // All that a merge patch names is meant.
    let covered = seen(&patch(MERGE_PATCH, "?updateMask=title,price,frame", full).await);
    assert_eq!(covered["updateMask"], "title,price,frame");
    seen(&patch(MERGE_PATCH, "?updateMask=*", full).await);
    let refused = patch(MERGE_PATCH, "?updateMask=title", full).await;
    assert_eq!((refused.status.as_u16(), fields(&refused)), (400, vec!["update_mask"]));
    assert!(refused.json["error"]["message"].as_str().unwrap().contains("`price`"));
    let twice = patch(JSON, "?updateMask=title&update_mask=price", full).await;
    assert_eq!(twice.status, StatusCode::BAD_REQUEST);
    let operations = ("content-type", "application/json-patch+json");
    let refused = patch(operations, "", "[]").await;
    assert_eq!(refused.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_work_is_answered_at_once_for_those_who_prefer_it() {
    let gallery = Gallery::open().await;
    let operation = |done: bool| json!({ "name": "operations/restore/7", "done": done });
    gallery.on("RestorePicture", move |_, _| Ok(operation(false)));
    let asked = [JSON, ("prefer", "respond-async, wait=10")];
    let target = "/v1/pictures/p1:restore";
    let accepted = gallery.ask("POST", target, &asked, "{}").await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
    assert_eq!(accepted.header("preference-applied"), "respond-async");
    assert_eq!(accepted.header("location"), "/v1/operations/restore/7");
    assert_eq!(accepted.header("operation-location"), "/v1/operations/restore/7");
    assert_eq!(accepted.json["name"], "operations/restore/7");
    let plain = gallery.ask("POST", target, &[JSON], "{}").await;
    assert_eq!((plain.status, plain.header("location")), (StatusCode::OK, ""));
    gallery.on("RestorePicture", move |_, _| Ok(operation(true)));
    let done = gallery.ask("POST", target, &asked, "{}").await;
    assert_eq!((done.status, done.header("preference-applied")), (StatusCode::OK, ""));
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_preferences_are_heeded_and_said() {
    let gallery = Gallery::open().await;
    gallery.on("UpdatePicture", |_, _| Ok(json!({ "title": "x", "etag": "v2" })));
    gallery.on("CreatePicture", |_, _| Ok(json!({ "pictureId": "p9" })));
    let minimal = [JSON, ("prefer", "return=minimal")];
    let patched = gallery.ask("PATCH", "/v1/pictures/p1", &minimal, "{}").await;
    assert_eq!((patched.status, patched.body.len()), (StatusCode::NO_CONTENT, 0));
    assert_eq!(patched.header("etag"), "\"v2\"");
    assert_eq!(patched.header("preference-applied"), "return=minimal");
    let created = gallery.ask("POST", "/v1/pictures", &minimal, "{}").await;
    assert_eq!((created.status, created.body.len()), (StatusCode::CREATED, 0));
    assert_eq!(created.header("location"), "/v1/pictures/p9");
    let unknown = r#"{"colour": "red"}"#;
    let strict = gallery.ask("POST", "/v1/pictures", &[JSON], unknown).await;
    assert_eq!((strict.status.as_u16(), fields(&strict)), (400, vec!["picture.colour"]));
    let lenient = [JSON, ("prefer", "handling=lenient")];
    let created = gallery.ask("POST", "/v1/pictures", &lenient, unknown).await;
    assert_eq!(created.status, StatusCode::CREATED);
    assert_eq!(created.header("preference-applied"), "handling=lenient");
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_of_deprecated_methods_are_told() {
    let gallery = Gallery::open().await;
    gallery.on("HangPicture", |_, _| Ok(json!({})));
    let old = gallery.ask("PUT", "/v1/pictures/p1/wall", &[JSON], "{}").await;
    assert_eq!(old.header("deprecation"), "@0");
    assert_eq!(gallery.get("/v1/pictures/p1", &[]).await.header("deprecation"), "");
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_told_when_a_method_will_be_gone() {
    let gallery = Gallery::with(json!({ "sunsets": {
        "gallery.v1.Gallery": "2028-01-01",
        "gallery.v1.Gallery/HangPicture": "2027-06-30T12:00:00Z",
        "gallery.v1.Gallery/NeverMade": "2027-06-30",
    }}))
    .await;
    gallery.on("HangPicture", |_, _| Ok(json!({})));
    let old = gallery.ask("PUT", "/v1/pictures/p1/wall", &[JSON], "{}").await;
    assert_eq!(old.header("sunset"), "Wed, 30 Jun 2027 12:00:00 GMT");
    let other = gallery.get("/v1/pictures/p1", &[]).await;
    assert_eq!(other.header("sunset"), "Sat, 01 Jan 2028 00:00:00 GMT", "its service's");
    let document = gallery.get("/openapi.json", &[]).await.json;
    let paths = &document["paths"];
    assert_eq!(paths["/v1/pictures/{pictureId}/wall"]["put"]["x-sunset"], "2027-06-30T12:00:00Z");
    let read = &paths["/v1/pictures/{pictureId}"]["get"];
    assert_eq!(read["x-sunset"], "2028-01-01");
    assert!(read["responses"]["200"]["headers"]["Sunset"].is_object(), "{read}");
    gallery.close().await;
}
