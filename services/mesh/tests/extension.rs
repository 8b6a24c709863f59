//! Adding a service is one proto, one crate, one line: a service that exists in
//! this test alone is served by the unchanged gateway, over every protocol.
//!
//! The proto is `extension/loyalty.proto`, the crate is [`loyalty`], and the line
//! is the one that pushes it to `mesh::services()`.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test says why it failed")]

#[path = "extension/loyalty.rs"]
mod loyalty;
#[path = "support/rest.rs"]
#[expect(dead_code, reason = "each test file uses its part of it")]
mod rest;
#[path = "support/web.rs"]
mod web;

use std::{path::Path, sync::Arc};

use chassis::{
    Clock, Contract, Settings, Switchboard,
    keys::{Kind, MeshKey, SigningKey},
    service::Host,
    telemetry,
};
use loyalty::{Balance, EarnPoints, GetBalance, Loyalty, WatchPoints};
use mesh::fused::{Mesh, Ports};
use prost_reflect::DescriptorPool;
use rest::Rest;
use serde_json::json;
use tempfile::TempDir;
use testkit::request_id;
use web::{Framing, Web};

/// The embedded contracts and one more, compiled as `build.rs` compiles them.
fn extended() -> Contract {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compiler =
        protox::Compiler::new([here.join("tests/extension"), here.join("../../proto")]).unwrap();
    compiler.include_imports(false).include_source_info(true);
    compiler.open_file("loyalty.proto").unwrap();
    let mut pool = DescriptorPool::decode(contracts::DESCRIPTORS).unwrap();
    pool.decode_file_descriptor_set(compiler.encode_file_descriptor_set().as_slice()).unwrap();
    Contract::new(pool).unwrap()
}

struct Extended {
    mesh: Mesh,
    host: Host,
    signing: SigningKey,
    _folder: TempDir,
}

impl Extended {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let signing = SigningKey::generate().unwrap();
        let mut settings = Settings::default();
        settings.database = testkit::fresh_database(folder.path());
        settings.set_table("gateway", json!({ "listen": "127.0.0.1:0" }));
        let host = Host {
            contract: Arc::new(extended()),
            telemetry: Arc::new(telemetry::Guard::new(&settings.telemetry)),
            switchboard: Switchboard::new(),
            clock: Clock::system(),
            mesh_key: MeshKey::ephemeral().unwrap(),
            trusted: vec![signing.public().clone()],
        };
        let mut services = mesh::services();
        services.push(chassis::launch::<Loyalty>());
        let mesh = Mesh::start(&host, &settings, &services, Ports(0)).await.unwrap();
        Self { mesh, host, signing, _folder: folder }
    }

    fn rest(&self) -> Rest {
        Rest::new(self.mesh.gateway())
    }

    /// Staff with this permission.
    fn staff(&self, permission: &str) -> String {
        testkit::token(&self.signing, &self.host.clock, "staff", Kind::Staff, &[permission])
    }

    /// A client with nothing of ours on the way to this port.
    fn grpc(&self, port: std::net::SocketAddr) -> chassis::Channel {
        chassis::Channel::to(&self.host.contract, port)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_service_answers_rest() {
    let extended = Extended::start().await;
    let rest = extended.rest();
    let writer = rest.with_token(&extended.staff("loyalty.points.write"));

    let earn = json!({ "requestId": request_id(), "points": "30" });
    let given = writer.post("/v1/members/ana/points:earn", earn.clone()).await.ok();
    assert_eq!(given, json!({ "memberId": "ana", "points": "30" }));
    assert_eq!(writer.post("/v1/members/ana/points:earn", earn).await.ok()["points"], "30", "once");
    assert_eq!(rest.get("/v1/members/ana/points").await.ok()["points"], "30");

    // The rules of the contract hold, and name what they refuse.
    let wrong = json!({ "requestId": request_id(), "points": "1001" });
    let refused = writer.post("/v1/members/ana/points:earn", wrong).await;
    assert_eq!((refused.status.as_u16(), refused.fields()), (400, vec!["points".to_owned()]));
    let unknown = writer.post("/v1/members/ana/points:earn", json!({ "pints": 1 })).await;
    assert_eq!(unknown.status.as_u16(), 400);

    // So does its access rule.
    let earn = json!({ "requestId": request_id(), "points": "1" });
    let nobody = rest.post("/v1/members/ana/points:earn", earn.clone()).await;
    assert_eq!(
        (nobody.status.as_u16(), nobody.reason()),
        (401, "TOKEN_MISSING"),
        "{}",
        nobody.json
    );
    let other = rest.with_token(&extended.staff("catalog.products.write"));
    let denied = other.post("/v1/members/ana/points:earn", earn).await;
    assert_eq!(
        (denied.status.as_u16(), denied.reason()),
        (403, "ACCESS_DENIED"),
        "{}",
        denied.json
    );
    assert_eq!(rest.get("/v1/members/ana/points").await.ok()["points"], "30");
    extended.mesh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_service_answers_grpc_and_grpc_web() {
    let extended = Extended::start().await;
    let token = extended.staff("loyalty.points.write");
    let port = extended.mesh.service("loyalty").unwrap().address();
    let earn = EarnPoints { request_id: request_id(), member_id: "ana".to_owned(), points: 7 };

    let web = Web::new(extended.mesh.gateway(), Framing::Binary);
    let refused =
        web.call::<_, Balance>("mercat.loyalty.v1.LoyaltyService/EarnPoints", &earn).await;
    assert_eq!(refused.unwrap_err().code, 16);
    let given: Balance = web
        .with_token(&token)
        .call("mercat.loyalty.v1.LoyaltyService/EarnPoints", &earn)
        .await
        .unwrap();
    assert_eq!((given.member_id.as_str(), given.points), ("ana", 7));

    let read = GetBalance { member_id: "ana".to_owned() };
    let text = Web::new(extended.mesh.gateway(), Framing::Text);
    let balance: Balance =
        text.call("mercat.loyalty.v1.LoyaltyService/GetBalance", &read).await.unwrap();
    assert_eq!(balance.points, 7);
    for port in [extended.mesh.gateway(), port] {
        let balance = loyalty::get_balance(extended.grpc(port), &read).await.unwrap();
        assert_eq!(balance.points, 7);
        let mut messages = loyalty::watch_points(
            extended.grpc(port),
            &WatchPoints { member_id: "ana".to_owned() },
        )
        .await
        .unwrap();
        assert_eq!(messages.message().await.unwrap().unwrap().points, 7);
        let left = loop {
            match messages.message().await {
                Ok(message) => assert!(message.is_some(), "the stream ends with an error"),
                Err(status) => break status,
            }
        };
        assert_eq!(testkit::reason(&left), "MEMBER_LEFT");
    }
    extended.mesh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_the_middle_of_a_stream_is_seen() {
    let extended = Extended::start().await;
    let rest = extended.rest();
    let path = "/v1/members/ana/points:watch";

    let lines = rest.raw("GET", path, &[("accept", "application/x-ndjson")], "").await;
    assert_eq!(lines.status.as_u16(), 200);
    let lines: Vec<serde_json::Value> = std::str::from_utf8(&lines.body)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (last, before) = lines.split_last().unwrap();
    assert_eq!(before.len(), loyalty::MESSAGES);
    assert!(
        before.iter().all(|line| line["memberId"] == "ana" && line.get("error").is_none()),
        "{before:?}"
    );
    assert_eq!(last["error"]["reason"], "MEMBER_LEFT", "{last}");
    assert_eq!(last["error"]["status"], "FAILED_PRECONDITION", "{last}");

    let events = rest.raw("GET", path, &[("accept", "text/event-stream")], "").await;
    let events = String::from_utf8(events.body.to_vec()).unwrap();
    assert_eq!(events.matches("data: {\"memberId\"").count(), loyalty::MESSAGES, "{events}");
    assert!(events.contains("event: error\ndata: {"), "{events}");
    extended.mesh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_service_is_described() {
    let extended = Extended::start().await;
    let openapi = extended.rest().get("/openapi.json").await.ok();
    let paths = openapi["paths"].as_object().unwrap();
    for (path, verb) in [
        ("/v1/members/{memberId}/points", "get"),
        ("/v1/members/{memberId}/points:earn", "post"),
        ("/v1/members/{memberId}/points:watch", "get"),
    ] {
        let found = paths.get(path).or_else(|| paths.get(&path.replace("memberId", "member_id")));
        assert!(found.is_some_and(|found| found[verb].is_object()), "{path}: {:?}", paths.keys());
    }
    assert!(
        openapi.to_string().contains("How many points a member has."),
        "its comments are there"
    );

    let port = extended.mesh.service("loyalty").unwrap().address();
    for (port, also) in [(extended.mesh.gateway(), true), (port, false)] {
        let listed = loyalty::list_services(extended.grpc(port)).await;
        assert!(listed.contains(&"mercat.loyalty.v1.LoyaltyService".to_owned()), "{listed:?}");
        assert_eq!(
            listed.contains(&"mercat.catalog.v1.ProductService".to_owned()),
            also,
            "{listed:?}"
        );
    }
    extended.mesh.stop().await;
}
