//! Failures of services, as REST tells them.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tonic::{Code, Status, metadata::MetadataMap};
use tonic_types::{ErrorDetails, StatusExt as _, pb};

use prost::Message as _;

use super::Gallery;

const PICTURE: &str = "/v1/pictures/p1";

async fn failing(status: impl Fn() -> Status + Send + Sync + 'static) -> Gallery {
    let gallery = Gallery::open().await;
    gallery.on("GetPicture", move |_, _| Err(status()));
    gallery
}

/// Two details that everybody knows and one that nobody does.
fn worn_out() -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(
        "WORN_OUT",
        "gallery.example",
        [("since".to_owned(), "1937".to_owned())],
    );
    details.set_retry_info(Some(Duration::from_millis(1_500)));
    let known = Status::with_error_details(Code::Unavailable, "closed", details);
    let mut status = pb::Status::decode(known.details()).unwrap();
    let made_up = "type.googleapis.com/made.up.Type".to_owned();
    status.details.push(prost_types::Any { type_url: made_up, value: vec![8, 1] });
    let encoded = status.encode_to_vec().into();
    Status::with_details_and_metadata(Code::Unavailable, "closed", encoded, MetadataMap::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_detail_arrives_also_those_of_unknown_types() {
    let gallery = failing(worn_out).await;
    let reply = gallery.get(PICTURE, &[]).await;
    let error = &reply.json["error"];
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.header("retry-after"), "2");
    assert_eq!(
        (&error["reason"], &error["domain"], &error["message"], &error["metadata"]["since"]),
        (&json!("WORN_OUT"), &json!("gallery.example"), &json!("closed"), &json!("1937"))
    );
    let details = error["details"].as_array().unwrap();
    let of = |name: &str| -> Value {
        let kind = format!("type.googleapis.com/{name}");
        details.iter().find(|detail| detail["@type"] == *kind).cloned().unwrap_or_default()
    };
    assert_eq!(of("google.rpc.RetryInfo")["retryDelay"], "1.500s");
    assert_eq!(of("google.rpc.ErrorInfo")["reason"], "WORN_OUT");
    assert_eq!(of("made.up.Type")["value"], "CAE=");
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_has_the_form_that_the_client_accepts() {
    let gallery = failing(worn_out).await;
    let accept = "application/json, application/problem+json";
    let problem = gallery.get(PICTURE, &[("accept", accept)]).await;
    assert_eq!(problem.header("content-type"), "application/problem+json");
    assert_eq!(problem.json["title"], "Service Unavailable");
    assert_eq!(problem.json["status"], 503);
    assert_eq!(problem.json["detail"], "closed");
    assert_eq!(problem.json["reason"], "WORN_OUT");
    let binary = gallery.get(PICTURE, &[("accept", "application/x-protobuf")]).await;
    assert_eq!(binary.header("content-type"), "application/x-protobuf");
    let status = pb::Status::decode(&*binary.body).unwrap();
    assert_eq!((status.code, status.details.len()), (14, 3));
    // The edge's own failures too.
    let lost = gallery.get("/v1/nothing", &[("accept", "application/problem+json")]).await;
    assert_eq!(lost.header("content-type"), "application/problem+json");
    assert_eq!(
        (&lost.json["status"], &lost.json["reason"]),
        (&json!(404), &json!("ROUTE_NOT_FOUND"))
    );
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_code_has_its_status() {
    let gallery = Gallery::open().await;
    for (code, expected) in [
        (Code::Cancelled, 499),
        (Code::Unknown, 500),
        (Code::InvalidArgument, 400),
        (Code::DeadlineExceeded, 504),
        (Code::NotFound, 404),
        (Code::AlreadyExists, 409),
        (Code::PermissionDenied, 403),
        (Code::ResourceExhausted, 429),
        (Code::FailedPrecondition, 400),
        (Code::Aborted, 409),
        (Code::OutOfRange, 400),
        (Code::Unimplemented, 501),
        (Code::Internal, 500),
        (Code::DataLoss, 500),
        (Code::Unauthenticated, 401),
    ] {
        gallery.on("GetPicture", move |_, _| {
            Err(Status::with_details(code, "no", bytes::Bytes::new()))
        });
        let reply = gallery.get(PICTURE, &[]).await;
        assert_eq!(reply.status.as_u16(), expected, "{code:?}");
        assert_eq!(reply.json["error"]["code"], expected, "{code:?}");
        assert_eq!(reply.header("cache-control"), "no-store", "{code:?}");
        let challenge = if code == Code::Unauthenticated { "Bearer" } else { "" };
        assert_eq!(reply.header("www-authenticate"), challenge, "{code:?}");
    }
    gallery.close().await;
}
