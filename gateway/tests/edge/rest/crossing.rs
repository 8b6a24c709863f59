//! Headers that become metadata, and metadata that becomes headers.

use std::sync::{Arc, Mutex};

use chassis::keys::Kind;
use futures_util::stream;
use http::HeaderMap;
use serde_json::json;
use tonic::{Code, Status, metadata::MetadataMap};

use super::{Gallery, SERVICE};
use crate::upstream::{Answer, Edge, message};

const PICTURE: &str = "/v1/pictures/p1";

/// Notes what the service is sent.
fn listen(gallery: &Gallery) -> Arc<Mutex<HeaderMap>> {
    let heard = Arc::new(Mutex::new(HeaderMap::new()));
    let note = Arc::clone(&heard);
    gallery.on("GetPicture", move |_, headers| {
        *note.lock().unwrap() = headers.clone();
        Ok(json!({}))
    });
    heard
}

const SENT: [(&str, &str); 9] = [
    ("accept-language", "ca"),
    ("x-tenant", "museu"),
    ("x-other", "1"),
    ("cookie", "a=b"),
    ("referer", "https://example.com/"),
    ("x-mercat-service", "orders"),
    ("grpc-metadata-shelf", "7"),
    ("grpc-metadata-x-mercat-service", "orders"),
    ("grpc-metadata-grpc-encoding", "gzip"),
];

#[tokio::test(flavor = "multi_thread")]
async fn only_headers_of_the_list_go_on() {
    let gallery = Gallery::with(json!({ "forwarded_headers": ["X-Tenant"] })).await;
    let heard = listen(&gallery);
    gallery.get(PICTURE, &SENT).await;
    let heard = heard.lock().unwrap().clone();
    assert_eq!(heard["x-tenant"], "museu");
    assert!(heard.contains_key("traceparent") && heard.contains_key("grpc-timeout"));
    for (name, _) in SENT.iter().filter(|(name, _)| *name != "x-tenant") {
        assert!(!heard.contains_key(*name), "{name}");
    }
    assert!(!heard.contains_key("shelf"), "there is no prefix unless it is asked for");
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_makes_metadata_of_any_header_but_the_transports() {
    let gallery = Gallery::with(json!({ "metadata_prefix": "Grpc-Metadata-" })).await;
    let heard = listen(&gallery);
    gallery.get(PICTURE, &SENT).await;
    let heard = heard.lock().unwrap().clone();
    assert_eq!(heard["shelf"], "7");
    for name in ["x-mercat-service", "grpc-encoding", "x-other"] {
        assert!(!heard.contains_key(name), "{name}");
    }
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_the_transport_are_no_setting() {
    let upstream = crate::upstream::Upstream::start("gallery.proto").await;
    for (setting, name) in [
        ("forwarded_headers", "content-type"),
        ("forwarded_headers", "grpc-timeout"),
        ("forwarded_headers", "x-mercat-service"),
        ("forwarded_headers", "not a name"),
        ("shown_headers", "grpc-status"),
        ("shown_headers", "set-cookie"),
    ] {
        let config = json!({ "access": "public", setting: [name] });
        let why = Edge::try_with(&[&upstream], config).await.err().unwrap().to_string();
        assert!(why.contains(setting) && why.contains(name), "{why}");
    }
}

fn metadata(entries: &[(&'static str, &str)]) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    for (name, value) in entries {
        metadata.insert(*name, value.parse().unwrap());
    }
    metadata
}

/// A picture with this metadata before it.
fn answers_with(gallery: &Gallery, headers: impl Fn() -> MetadataMap + Send + Sync + 'static) {
    let pool = gallery.upstream.pool();
    gallery.upstream.on(&format!("{SERVICE}/GetPicture"), move |_| {
        let picture = message(&pool, "gallery.v1.Picture", &json!({ "title": "x" }));
        let answer = Answer { headers: headers(), ..Answer::of(stream::iter([Ok(picture)])) };
        std::future::ready(Ok(answer))
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn only_metadata_of_the_list_is_shown() {
    let gallery = Gallery::with(json!({ "shown_headers": ["x-shelf"] })).await;
    let metadata =
        || metadata(&[("x-shelf", "7"), ("x-secret", "1"), ("idempotent-replayed", "true")]);
    answers_with(&gallery, metadata);
    let shown = gallery.get(PICTURE, &[]).await;
    assert_eq!(shown.header("x-shelf"), "7");
    assert_eq!(shown.header("idempotent-replayed"), "true");
    assert_eq!(shown.header("x-secret"), "");
    assert_eq!(shown.header("grpc-status"), "");
    // With a failure they come behind everything, or alone.
    gallery
        .on("GetPicture", move |_, _| Err(Status::with_metadata(Code::NotFound, "no", metadata())));
    let shown = gallery.get(PICTURE, &[]).await;
    assert_eq!((shown.status.as_u16(), shown.header("x-shelf")), (404, "7"));
    assert_eq!((shown.header("x-secret"), shown.header("grpc-message")), ("", ""));
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_may_know_are_told_where_the_time_went() {
    let told = |value: &str| {
        let millis = |part: &str, name: &str| {
            let millis = part.strip_prefix(name)?.strip_prefix(";dur=")?;
            millis.parse::<f64>().ok().filter(|millis| *millis >= 0.0)
        };
        let (edge, upstream) = value.split_once(", ")?;
        Some((millis(edge, "edge")?, millis(upstream, "upstream")?))
    };
    for (setting, stranger_may, staff_may) in
        [("never", false, false), ("staff", false, true), ("anyone", true, true)]
    {
        let gallery = Gallery::with(json!({ "server_timing": setting })).await;
        answers_with(&gallery, || metadata(&[("server-timing", "db-7.internal;dur=5")]));
        let bearer = |kind| {
            let edge = &gallery.edge;
            format!("Bearer {}", testkit::token(&edge.signing, &edge.clock, "ana", kind, &[]))
        };
        let (customer, staff) = (bearer(Kind::Customer), bearer(Kind::Staff));
        for (token, may) in [("", stranger_may), (&customer, stranger_may), (&staff, staff_may)] {
            let headers = [("authorization", token)];
            let headers = if token.is_empty() { &headers[..0] } else { &headers };
            let shown = gallery.get(PICTURE, headers).await;
            assert_eq!(shown.status.as_u16(), 200, "{}", shown.json);
            let value = shown.header("server-timing");
            assert_eq!(told(value).is_some(), may, "{setting}: {value}");
            assert!(may || value.is_empty(), "{setting}: {value}");
        }
        // A failure takes its time too; what the edge itself refuses took none there.
        gallery.on("GetPicture", |_, _| Err(Status::not_found("no")));
        let failed = gallery.get(PICTURE, &[]).await;
        assert_eq!(told(failed.header("server-timing")).is_some(), stranger_may, "{setting}");
        let refused = gallery.get("/v1/nothing", &[]).await;
        assert_eq!(refused.header("server-timing"), "", "{setting}");
        gallery.close().await;
    }
}
