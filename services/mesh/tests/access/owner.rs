//! What is another's is not there: for every RPC with an `owner_field`, a valid
//! request that names somebody else's thing.

use std::collections::BTreeMap;

use bytes::Bytes;
use chassis::{Contract, Fault, contract::Method};
use contracts::{
    identity::v1::{
        Address, CreateAddressRequest, ListSessionsRequest, auth_service_client::AuthServiceClient,
        user_service_client::UserServiceClient,
    },
    orders::v1::PaymentStatus,
    storefront::v1::complete_checkout_response::Outcome,
};
use prost::Message as _;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, Value};
use serde_json::Value as Json;
use testkit::request_id;
use tonic::{Code, Request};

use super::{
    methods,
    support::{
        Person, Shape, TestMesh, raw,
        shopper::{CARD_OK, address},
    },
};

/// Names of fields that hold a subject, not a thing: that there is such a person
/// is no secret to be kept by "not found", but who asks for another's is refused.
const SUBJECT_FIELDS: [&str; 1] = ["owner_id"];

/// Everything that somebody has, by the name of the field that names it.
type Things = BTreeMap<&'static str, String>;

/// Makes one of everything that can be owned.
async fn things(mesh: &TestMesh, person: &Person) -> Things {
    let sku = mesh.product(10).await;
    let shopper = person.shopper();
    let request = CreateAddressRequest {
        request_id: request_id(),
        user_id: person.id.clone(),
        address: Some(Address { postal_address: Some(address()), ..Address::default() }),
    };
    let home = person
        .client
        .client(UserServiceClient::new)
        .create_address(request)
        .await
        .unwrap()
        .into_inner();
    let request =
        ListSessionsRequest { user_id: person.id.clone(), ..ListSessionsRequest::default() };
    let sessions = person
        .client
        .client(AuthServiceClient::new)
        .list_sessions(request)
        .await
        .unwrap()
        .into_inner();
    let cart = shopper.cart(&sku, 1).await.unwrap();
    let checkout = shopper.ready(&sku, 1, CARD_OK).await.unwrap();
    let placed = shopper.buy(&sku, 1, CARD_OK).await.unwrap();
    shopper.order_when(&placed.order_id, PaymentStatus::Captured).await;
    let challenged = shopper.ready(&sku, 1, "pm_card_3ds").await.unwrap();
    let answer = shopper.complete(&challenged, &request_id()).await.unwrap().into_inner();
    let Some(Outcome::NextAction(action)) = answer.outcome else {
        panic!("{answer:?} demands no proof")
    };
    BTreeMap::from([
        ("user_id", person.id.clone()),
        ("owner_id", person.id.clone()),
        ("session_id", sessions.sessions[0].session_id.clone()),
        ("address_id", home.address_id),
        ("line_id", cart.lines[0].line_id.clone()),
        ("cart_id", cart.cart_id),
        ("checkout_id", checkout.checkout_id),
        ("order_id", placed.order_id),
        ("payment_intent_id", action.payment_intent_id),
        // Not owned, but needed to ask for what is.
        ("quote_hash", checkout.quote_hash),
        ("sku", sku),
    ])
}

/// A request that is valid, and names these things.
fn request(descriptor: &MessageDescriptor, things: &Things) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields().filter(|field| !field.is_list() && !field.is_map()) {
        let text = |text: &str| Some(Value::String(text.to_owned()));
        let value = match (field.name(), field.kind()) {
            (name, Kind::String) if things.contains_key(name) => text(&things[name]),
            ("request_id", _) => text(&request_id()),
            ("email", _) => text("mallory@example.com"),
            ("code", _) => text("express"),
            ("payment_method", _) => text(CARD_OK),
            ("label", _) => text("Mine now"),
            ("quantity", Kind::Int32) => Some(Value::I32(7)),
            ("use" | "outcome", Kind::Enum(_)) => Some(Value::EnumNumber(1)),
            ("shipping_address" | "postal_address", Kind::Message(inner)) => {
                let mut postal = DynamicMessage::new(inner);
                postal.merge(address().encode_to_vec().as_slice()).unwrap();
                Some(Value::Message(postal))
            }
            ("address", Kind::Message(inner)) => Some(Value::Message(request(&inner, things))),
            _ => None,
        };
        if let Some(value) = value {
            message.set_field(&field, value);
        }
    }
    message
}

async fn ask(person: &Person, method: &Method, things: &Things) -> Result<Bytes, Fault> {
    let message = request(&method.descriptor().input(), things).encode_to_vec();
    raw::call(&person.client, method.path(), Request::new(Bytes::from(message))).await
}

/// Everything of somebody's that can be read.
async fn seen(mesh: &TestMesh, person: &Person, things: &Things) -> Vec<Json> {
    let own = mesh.rest().with_token(&person.access_token);
    let user = format!("/v1/users/{}", person.id);
    let mut seen = Vec::new();
    for path in [
        "/v1/me".to_owned(),
        "/v1/carts".to_owned(),
        "/v1/orders".to_owned(),
        format!("{user}/addresses"),
        format!("{user}/sessions"),
        format!("/v1/carts/{}", things["cart_id"]),
        format!("/v1/checkouts/{}", things["checkout_id"]),
        format!("/v1/orders/{}/events", things["order_id"]),
        format!("/v1/paymentIntents/{}", things["payment_intent_id"]),
    ] {
        seen.push(own.get(&path).await.ok());
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_anothers_is_not_there() {
    let mesh = TestMesh::start(Shape::Fused).await;
    let contract = Contract::embedded().unwrap();
    let ana = mesh.customer().await;
    let things = things(&mesh, &ana).await;
    let nothing: Things = things
        .iter()
        .map(|(name, value)| {
            (*name, if name.ends_with("_id") { request_id() } else { value.clone() })
        })
        .collect();
    let before = seen(&mesh, &ana, &things).await;
    let mallories = [mesh.customer().await, mesh.guest().await];

    let mut tried = 0;
    for method in methods(&contract) {
        let Some(field) = method.access().owner_field.as_deref() else { continue };
        let name = field.rsplit('.').next().unwrap_or(field);
        assert!(
            things.contains_key(name),
            "{}: the test makes nothing that {field} could name",
            method.path()
        );
        tried += 1;
        for mallory in &mallories {
            let of_another = ask(mallory, method, &things).await;
            let of_nobody = ask(mallory, method, &nothing).await;
            let (of_another, of_nobody) = match (of_another, of_nobody) {
                (Err(of_another), Err(of_nobody)) => (of_another, of_nobody),
                answers => panic!("{} gives Mallory {answers:?}", method.path()),
            };
            let expected = match SUBJECT_FIELDS.contains(&name) {
                true => Code::PermissionDenied,
                false => Code::NotFound,
            };
            assert_eq!(of_another.code(), expected, "{}: {of_another}", method.path());
            assert_eq!(
                (of_another.code(), of_another.reason()),
                (of_nobody.code(), of_nobody.reason()),
                "{}: what is another's is told from what is not",
                method.path()
            );
        }
    }
    assert!(tried > 25, "only {tried} methods have an owner");
    assert_eq!(seen(&mesh, &ana, &things).await, before, "Mallory changed nothing");
}
