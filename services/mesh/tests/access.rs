//! Who may do what: every rule of every contract is tried by those it keeps out.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test says why it failed")]

#[path = "access/owner.rs"]
mod owner;
#[expect(dead_code, reason = "each test file uses its part of it")]
mod support;
#[path = "access/token.rs"]
mod token;

use bytes::Bytes;
use chassis::{Channel, Contract, contract::Method, keys::Kind};
use support::{Shape, TestMesh, raw};
use testkit::request_id;
use tonic::{Code, Request};

/// The methods of our own services.
fn methods(contract: &Contract) -> Vec<&Method> {
    let mut found: Vec<_> =
        contract.methods().filter(|method| method.service_name().is_some()).collect();
    found.sort_by_key(|method| method.path());
    found
}

fn with_token(token: Option<&str>) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

/// What an empty request of this person is told, through the gateway and by the
/// service itself.
async fn told(mesh: &TestMesh, method: &Method, token: Option<&str>) -> Vec<(Code, String)> {
    let service = mesh.service(method.service_name().unwrap());
    let direct = Channel::to(&mesh.host().contract, service.address());
    let answers = [
        raw::call(&mesh.client(), method.path(), with_token(token)).await,
        raw::call_on(direct, method.path(), with_token(token)).await,
    ];
    answers
        .into_iter()
        .map(|answer| {
            let fault = answer.expect_err(method.path());
            (fault.code(), fault.reason().to_owned())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_staff_and_services_may_do_nobody_else_may() {
    let mesh = TestMesh::start(Shape::Tcp).await;
    let contract = mesh.host().contract.clone();
    let people = [
        mesh.token(&request_id(), Kind::Guest, &[]),
        mesh.token(&request_id(), Kind::Customer, &[]),
        // A permission of another kind opens nothing.
        mesh.token(&request_id(), Kind::Staff, &["catalog.nothing.read"]),
    ];
    let mut tried = 0;
    for method in methods(&contract) {
        let access = method.access();
        if access.public || access.signed_in {
            continue;
        }
        tried += 1;
        for (code, reason) in told(&mesh, method, None).await {
            let expected = match access.permission {
                Some(_) => (Code::Unauthenticated, "TOKEN_MISSING"),
                None => (Code::PermissionDenied, "ACCESS_DENIED"),
            };
            assert_eq!((code, reason.as_str()), expected, "{} for nobody", method.path());
        }
        for token in &people {
            for (code, reason) in told(&mesh, method, Some(token)).await {
                assert_eq!(
                    (code, reason.as_str()),
                    (Code::PermissionDenied, "ACCESS_DENIED"),
                    "{}",
                    method.path()
                );
            }
        }
    }
    assert!(tried > 50, "only {tried} methods are for staff or services");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_token_is_refused_without_one() {
    let mesh = TestMesh::start(Shape::Tcp).await;
    let contract = mesh.host().contract.clone();
    let mut tried = 0;
    for method in methods(&contract).into_iter().filter(|method| method.access().signed_in) {
        tried += 1;
        for (code, reason) in told(&mesh, method, None).await {
            assert_eq!(
                (code, reason.as_str()),
                (Code::Unauthenticated, "TOKEN_MISSING"),
                "{}",
                method.path()
            );
        }
    }
    assert!(tried > 20, "only {tried} methods need a token");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_feed_of_a_service_is_for_services() {
    let mesh = TestMesh::start(Shape::Tcp).await;
    let contract = mesh.host().contract.clone();
    let feeds: Vec<_> =
        contract.methods().filter(|method| method.path().starts_with("/mercat.mesh.v1.")).collect();
    assert!(!feeds.is_empty());
    let admin = mesh.admin_token().to_owned();
    for method in feeds {
        for token in [None, Some(admin.as_str())] {
            let outside =
                raw::call(&mesh.client(), method.path(), with_token(token)).await.unwrap_err();
            assert_eq!(outside.code(), Code::Unimplemented, "{} is not exposed", method.path());
            for service in ["identity", "catalog", "inventory", "payments", "orders", "storefront"]
            {
                let channel = Channel::to(&contract, mesh.service(service).address());
                let inside =
                    raw::call_on(channel, method.path(), with_token(token)).await.unwrap_err();
                assert_eq!(inside.code(), Code::PermissionDenied, "{} of {service}", method.path());
            }
        }
    }
}
