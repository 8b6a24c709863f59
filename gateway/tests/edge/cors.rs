//! What a page of another origin may read of an answer: all that is in it.

use http::StatusCode;
use serde_json::json;

use crate::{
    client::{Reply, request, send},
    upstream::Edge,
    wire::{frame, library, wire},
};

const LEND: &str = "/library.v1.Library/Lend";
/// What a page may always read (Fetch, "CORS-safelisted response-header name"), and
/// what is not for pages.
const UNNAMED: [&str; 12] = [
    "cache-control",
    "content-language",
    "content-length",
    "content-type",
    "expires",
    "last-modified",
    "pragma",
    "date",
    "vary",
    "content-security-policy",
    "x-content-type-options",
    "x-frame-options",
];

/// The names that the page is told, after a look that they are all it was sent.
fn told(reply: &Reply) -> Vec<&str> {
    let mut told: Vec<&str> = reply.header("access-control-expose-headers").split(", ").collect();
    let mut sent: Vec<&str> = reply.headers.keys().map(|name| name.as_str()).collect();
    sent.retain(|name| !UNNAMED.contains(name) && !name.starts_with("access-control-"));
    told.sort_unstable();
    sent.sort_unstable();
    assert_eq!(told, sent, "{reply:?}");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_reads_every_header_of_its_answer() {
    let upstream = library().await;
    let edge = Edge::with(
        &[&upstream],
        json!({ "access": "public", "cors_origins": ["https://shop.example"] }),
    )
    .await;
    let ask = async |method, target: &str, kind, body: Vec<u8>, origin| {
        let headers = [("origin", origin), ("content-type", kind), ("x-grpc-web", "1")];
        send(edge.address, request(edge.address, method, target, &headers, body)).await
    };
    let shop = "https://shop.example";
    let json = "application/json";
    let web = "application/grpc-web+proto";

    let read = ask("GET", "/v1/shelves/a/books/b", json, Vec::new(), shop).await;
    assert_eq!(read.status, StatusCode::OK);
    assert!(told(&read).contains(&"x-request-id"), "{read:?}");
    let absent = ask("GET", "/v1/nothing", json, Vec::new(), shop).await;
    assert_eq!(absent.status, StatusCode::NOT_FOUND);
    told(&absent);
    let wrong = ask("PUT", "/v1/shelves/a/books/b", json, Vec::new(), shop).await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(told(&wrong).contains(&"allow"), "{wrong:?}");
    // A refusal without a message is all headers: unread, it is no refusal.
    let lend = frame(0, &wire("LendRequest", &json!({ "name": "none" })));
    let refused = ask("POST", LEND, web, lend.clone(), shop).await;
    assert_eq!(refused.header("grpc-status"), "5", "{refused:?}");
    assert!(told(&refused).contains(&"grpc-message"), "{refused:?}");

    let foreign = ask("POST", LEND, web, lend, "https://other.example").await;
    assert!(!foreign.headers.keys().any(|name| name.as_str().starts_with("access-control-")));
    edge.stop().await;
}
