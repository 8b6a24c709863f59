//! REST by `google.api.http`, row by row of what the edge promises.

mod conditions;
mod crossing;
mod deadlines;
mod failures;
mod negotiation;
mod requests;
mod writes;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};
use tonic::Status;

use crate::{
    client::{Reply, request, send},
    upstream::{Edge, Upstream},
};

const SERVICE: &str = "/gallery.v1.Gallery";

/// A server of pictures, and a gateway before it.
struct Gallery {
    upstream: Upstream,
    edge: Edge,
}

impl Gallery {
    async fn open() -> Self {
        Self::with(json!({})).await
    }

    /// With these settings in the `[gateway]` table.
    async fn with(mut config: Value) -> Self {
        config["access"] = json!("public");
        let upstream = Upstream::start("gallery.proto").await;
        let edge = Edge::with(&[&upstream], config).await;
        let gallery = Self { upstream, edge };
        gallery.on("GetPicture", |request, _| {
            Ok(json!({
                "pictureId": request["pictureId"],
                "title": "Las Meninas",
                "etag": "v1",
                "price": "9007199254740993",
            }))
        });
        gallery
    }

    fn on(
        &self,
        method: &str,
        handler: impl Fn(Value, &HeaderMap) -> Result<Value, Status> + Send + Sync + 'static,
    ) {
        self.upstream.unary(&format!("{SERVICE}/{method}"), handler);
    }

    /// Answers with the request, in the field `filter` or `title` as JSON text, so
    /// that a test sees what the service saw.
    fn tell(&self, method: &str) {
        self.on(method, |request, _| Ok(json!({ "title": request.to_string() })));
    }

    async fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let to = self.edge.address;
        send(to, request(to, method, target, headers, body)).await
    }

    async fn get(&self, target: &str, headers: &[(&str, &str)]) -> Reply {
        self.ask("GET", target, headers, Bytes::new()).await
    }

    async fn close(self) {
        self.edge.stop().await;
    }
}

/// What [`Gallery::tell`] told.
#[track_caller]
fn seen(reply: &Reply) -> Value {
    assert!(reply.status.is_success(), "{} {}", reply.status, reply.json);
    serde_json::from_str(reply.json["title"].as_str().unwrap()).unwrap()
}

/// The fields that a refusal names.
fn fields(reply: &Reply) -> Vec<&str> {
    let violations = reply.json["error"]["violations"].as_array();
    violations.into_iter().flatten().filter_map(|found| found["field"].as_str()).collect()
}
