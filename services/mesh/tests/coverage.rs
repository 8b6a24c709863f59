//! Every RPC of every service does its work for somebody: a tour that calls each
//! of them by REST, and the services' own counters, which say what was answered.
#![expect(clippy::unwrap_used, reason = "a test says why it failed")]

#[expect(dead_code, reason = "each test file uses its part of it")]
mod support;

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chassis::Contract;
use contracts::orders::v1::PaymentStatus;
use contracts::payments::v1::PaymentActionOutcome;
use serde_json::{Value, json};
use support::{
    PASSWORD, Person, Shape, TestMesh,
    rest::{Rest, text},
    shopper::CARD_OK,
};
use testkit::{eventually, request_id};

/// By which the test signs a webhook, as the provider does.
const WEBHOOK_SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Which methods a service answered with OK, by its own count.
fn answered(mesh: &TestMesh) -> BTreeSet<String> {
    let page = mesh.host().telemetry.metrics().encode().unwrap();
    page.lines()
        .filter(|line| line.starts_with("rpc_server_call_duration_seconds_count{"))
        .filter(|line| {
            line.contains("rpc_response_status_code=\"OK\"")
                && !line.contains("{service=\"gateway\"")
        })
        .map(|line| format!("/{}/{}", label(line, "rpc_service"), label(line, "rpc_method")))
        .collect()
}

fn label<'l>(line: &'l str, name: &str) -> &'l str {
    let rest = line.split_once(&format!("{name}=\"")).unwrap().1;
    rest.split_once('"').unwrap().0
}

fn id(value: &Value, name: &str) -> String {
    let found = text(&value[name]);
    assert!(!found.is_empty(), "there is no {name} in {value}");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_of_every_service_answers_somebody() {
    let mesh = TestMesh::start_with(Shape::Fused, |settings| {
        let table = json!({
            "sync_period": "50ms", "sandbox_period": "50ms", "webhook_secrets": [WEBHOOK_SECRET],
        });
        settings.set_table("payments", table);
    })
    .await;
    let admin = mesh.admin_rest();
    let ana = mesh.customer().await;

    catalogue(&mesh.rest(), &admin).await;
    let sku = mesh.product(100).await;
    stock(&mesh, &admin, &sku).await;
    reservations(&admin, &sku).await;
    people(&mesh, &admin, &ana).await;
    carts(&mesh.rest().with_token(&ana.access_token), &sku).await;
    let order = orders(&mesh, &admin, &ana, &sku).await;
    payments(&admin, &order).await;
    webhooks(&mesh, &admin, &sku).await;
    sagas(&mesh, &admin, &sku).await;
    admin.post("/v1/auth/keys:rotate", json!({})).await.ok();

    let contract = Contract::embedded().unwrap();
    let wanted: BTreeSet<String> = contract
        .methods()
        .filter(|method| method.service_name().is_some())
        .map(|method| method.path().to_owned())
        .collect();
    let answered = answered(&mesh);
    let missed: Vec<_> = wanted.difference(&answered).collect();
    assert!(missed.is_empty(), "nobody was answered by {missed:#?}");
    assert!(wanted.len() > 100, "the contracts name {} methods", wanted.len());
}

async fn catalogue(anybody: &Rest, admin: &Rest) {
    let home = admin.post("/v1/categories", json!({"title": "Home"})).await.ok();
    let home = id(&home, "categoryId");
    let kitchen = admin.post("/v1/categories", json!({"title": "Kitchen"})).await.ok();
    let kitchen = id(&kitchen, "categoryId");
    anybody.get(&format!("/v1/categories/{home}")).await.ok();
    admin.post(&format!("/v1/categories/{kitchen}:move"), json!({"parentId": home})).await.ok();
    anybody.get("/v1/categories:lookup?path=home/kitchen").await.ok();
    anybody.get("/v1/categories").await.ok();
    anybody.get("/v1/categories:tree").await.ok();
    admin
        .patch(&format!("/v1/categories/{kitchen}"), json!({"description": "Pots and pans"}))
        .await
        .ok();
    admin.delete(&format!("/v1/categories/{kitchen}")).await.ok();

    let tax = json!({"requestId": request_id(), "title": "Books", "rateMicros": "40000"});
    admin.put("/v1/taxCategories/books", tax).await.ok();
    anybody.get("/v1/taxCategories").await.ok();

    let product = json!({
        "title": "Copper kettle", "taxCategory": "books",
        "options": [{"name": "size", "values": ["small", "large"]}],
        "variants": [{"sku": "KETTLE-S", "optionValues": [{"name": "size", "value": "small"}]}],
    });
    let product = admin.post("/v1/products", product).await.ok();
    let (product_id, slug) = (id(&product, "productId"), id(&product, "slug"));
    let path = format!("/v1/products/{product_id}");
    let variant = json!({"variant": {"sku": "KETTLE-L", "optionValues": [{"name": "size", "value": "large"}]}});
    let variant = admin.post(&format!("{path}/variants"), variant).await.ok();
    let variant = id(&variant, "variantId");
    let list = |sku: &str| {
        json!({
            "sku": sku, "currencyCode": "EUR",
            "prices": [{"unitPrice": {"currencyCode": "EUR", "minorUnits": "4900"}}],
        })
    };
    admin
        .post("/v1/prices:set", json!({"requestId": request_id(), "priceList": list("KETTLE-S")}))
        .await
        .ok();
    let lists = json!({"requestId": request_id(), "priceLists": [list("KETTLE-L")]});
    admin.post("/v1/prices:batchSet", lists).await.ok();
    admin.get(&format!("/v1/variants/{variant}/prices")).await.ok();
    let queries = json!({"currencyCode": "EUR", "queries": [{"sku": "KETTLE-S", "quantity": "1"}]});
    anybody.post("/v1/prices:resolve", queries).await.ok();
    admin.patch(&path, json!({"description": "Sings in G"})).await.ok();
    admin.post(&format!("{path}:setCategories"), json!({"categoryIds": [home]})).await.ok();
    admin.post(&format!("{path}:publish"), json!({})).await.ok();
    anybody.get(&path).await.ok();
    anybody.get(&format!("/v1/products:bySlug?slug={slug}")).await.ok();
    anybody.get(&format!("/v1/products:batchGet?productIds={product_id}")).await.ok();
    anybody.get("/v1/products").await.ok();
    anybody.get(&format!("{path}/variants")).await.ok();
    anybody.get(&format!("/v1/variants/{variant}")).await.ok();
    anybody.get(&format!("/v1/variants:batchGet?variantIds={variant}")).await.ok();
    anybody.get("/v1/variants:lookup?skus=KETTLE-L").await.ok();
    admin.patch(&format!("/v1/variants/{variant}"), json!({"weightGrams": "900"})).await.ok();
    admin.delete(&format!("/v1/variants/{variant}")).await.ok();
    admin.post(&format!("{path}:unpublish"), json!({})).await.ok();
    admin.post(&format!("{path}:archive"), json!({})).await.ok();
    let draft = admin.post("/v1/products", json!({"title": "A mistake"})).await.ok();
    admin.delete(&format!("/v1/products/{}", id(&draft, "productId"))).await.ok();
}

async fn stock(mesh: &TestMesh, admin: &Rest, sku: &str) {
    let main = mesh.location().await;
    let shop =
        admin.post("/v1/locations", json!({"code": "shop", "displayName": "Shop"})).await.ok();
    let shop = id(&shop, "locationId");
    admin.get(&format!("/v1/locations/{shop}")).await.ok();
    admin.patch(&format!("/v1/locations/{shop}"), json!({"displayName": "The shop"})).await.ok();
    admin.get("/v1/locations").await.ok();
    let gone = admin.post("/v1/locations", json!({"code": "gone"})).await.ok();
    admin.delete(&format!("/v1/locations/{}", id(&gone, "locationId"))).await.ok();

    let change = |verb: &str, mut body: Value| {
        body["requestId"] = request_id().into();
        let path = format!("/v1/stock/{sku}:{verb}");
        async move { admin.post(&path, body).await.ok() }
    };
    change("set", json!({"locationId": main, "onHand": "100"})).await;
    change("adjust", json!({"locationId": main, "delta": "5"})).await;
    change("receive", json!({"locationId": main, "quantity": "5"})).await;
    change(
        "transfer",
        json!({"sourceLocationId": main, "targetLocationId": shop, "quantity": "2"}),
    )
    .await;
    change("writeOff", json!({"locationId": main, "quantity": "1"})).await;
    change("setPolicy", json!({"locationId": main, "reorderPoint": "1000"})).await;
    change(
        "restock",
        json!({"locationId": main, "quantity": "1", "condition": "RETURN_CONDITION_OK"}),
    )
    .await;
    let rows = json!([{"sku": sku, "locationId": main, "onHand": "100"}]);
    admin.post("/v1/stock:bulkSet", json!({"requestId": request_id(), "rows": rows})).await.ok();
    admin.get(&format!("/v1/stock/{sku}")).await.ok();
    admin.get("/v1/stock").await.ok();
    admin.get("/v1/stock:low").await.ok();
    admin.get("/v1/stock:reconcile").await.ok();
    admin.get("/v1/movements").await.ok();
    let anybody = mesh.rest();
    anybody.get(&format!("/v1/availability/{sku}")).await.ok();
    anybody.get(&format!("/v1/availability:batchGet?skus={sku}")).await.ok();
}

async fn reservations(admin: &Rest, sku: &str) {
    let mut ids = Vec::new();
    for owner in ["kept", "let go"] {
        let lines = json!([{"sku": sku, "quantity": "1"}]);
        let body =
            json!({"requestId": request_id(), "owner": owner, "lines": lines, "ttl": "120s"});
        let held = admin.post("/v1/reservations", body).await.ok();
        ids.push(id(&held["reservation"], "reservationId"));
    }
    let path = format!("/v1/reservations/{}", ids[0]);
    let act = |path: String, mut body: Value| {
        body["requestId"] = request_id().into();
        async move { admin.post(&path, body).await.ok() }
    };
    act(format!("{path}:extend"), json!({"ttl": "300s"})).await;
    act(format!("{path}:commit"), json!({})).await;
    act(format!("{path}:fulfill"), json!({})).await;
    act(format!("/v1/reservations/{}:release", ids[1]), json!({})).await;
    admin.get(&path).await.ok();
    admin.get("/v1/reservations").await.ok();
}

async fn people(mesh: &TestMesh, admin: &Rest, ana: &Person) {
    let anybody = mesh.rest();
    let own = anybody.with_token(&ana.access_token);
    let user = format!("/v1/users/{}", ana.id);

    let guest = anybody.post("/v1/auth:guest", json!({})).await.ok();
    let guest = anybody.with_token(&id(&guest["tokens"], "accessToken"));
    let email = format!("{}@example.com", request_id());
    guest.post("/v1/auth:upgradeGuest", json!({"email": email, "password": PASSWORD})).await.ok();
    let login = json!({"email": email, "password": PASSWORD});
    let bea = anybody.post("/v1/auth:login", login).await.ok();
    let refresh = json!({"refreshToken": id(&bea["tokens"], "refreshToken")});
    let renewed = anybody.post("/v1/auth:refresh", refresh).await.ok();
    let logout = json!({"refreshToken": id(&renewed["tokens"], "refreshToken")});
    anybody.post("/v1/auth:logout", logout).await.ok();
    anybody.get("/v1/auth/jwks").await.ok();

    own.get("/v1/me").await.ok();
    own.patch("/v1/me", json!({"displayName": "Anna Puig"})).await.ok();
    own.get(&user).await.ok();
    admin.get(&format!("/v1/users:batchGet?userIds={}", ana.id)).await.ok();
    admin.get("/v1/users").await.ok();
    let home = json!({"label": "Home", "postalAddress": postal()});
    let address = own.post(&format!("{user}/addresses"), home).await.ok();
    let address = format!("/v1/addresses/{}", id(&address, "addressId"));
    own.get(&address).await.ok();
    own.get(&format!("{user}/addresses")).await.ok();
    own.patch(&address, json!({"label": "Casa"})).await.ok();
    own.post(&format!("{address}:setDefault"), json!({"use": "ADDRESS_USE_SHIPPING"})).await.ok();
    own.delete(&address).await.ok();

    let role = json!({"name": "packer", "permissions": ["orders.orders.read"]});
    let role = id(&admin.post("/v1/roles", role).await.ok(), "roleId");
    admin.get(&format!("/v1/roles/{role}")).await.ok();
    admin.get("/v1/roles").await.ok();
    admin.patch(&format!("/v1/roles/{role}"), json!({"description": "Packs"})).await.ok();
    admin.get("/v1/permissions").await.ok();
    admin.post(&format!("{user}/roles:assign"), json!({"roleId": role})).await.ok();
    admin.get(&format!("{user}/roles")).await.ok();
    let question = json!({"userId": ana.id, "permission": "orders.orders.read"});
    assert_eq!(admin.post("/v1/access:check", question).await.ok()["allowed"], true);
    admin.post(&format!("{user}/roles:unassign"), json!({"roleId": role})).await.ok();
    admin.delete(&format!("/v1/roles/{role}")).await.ok();

    // Another session of hers, so that hers can go on.
    let login = json!({"email": ana.email, "password": PASSWORD});
    anybody.post("/v1/auth:login", login).await.ok();
    let sessions = own.get(&format!("{user}/sessions")).await.ok();
    let session = id(&sessions["sessions"][0], "sessionId");
    own.post(&format!("/v1/sessions/{session}:revoke"), json!({})).await.ok();
    let passwords = json!({"currentPassword": PASSWORD, "newPassword": "a better battery"});
    own.post("/v1/auth:changePassword", passwords).await.ok();
    admin.post(&format!("{user}/sessions:revokeAll"), json!({})).await.ok();
    admin.post(&format!("{user}:suspend"), json!({"note": "too keen"})).await.ok();
    admin.post(&format!("{user}:reactivate"), json!({})).await.ok();
}

fn postal() -> Value {
    json!({
        "recipient": "Ana Puig", "addressLines": ["Carrer de la Força 12"], "locality": "Girona",
        "postalCode": "17004", "regionCode": "ES",
    })
}

async fn carts(own: &Rest, sku: &str) {
    let cart = own.post("/v1/carts", json!({"currencyCode": "EUR"})).await.ok();
    let cart_id = id(&cart, "cartId");
    let path = format!("/v1/carts/{cart_id}");
    let cart = own.post(&format!("{path}/lines"), json!({"sku": sku, "quantity": 2})).await.ok();
    let line = id(&cart["lines"][0], "lineId");
    own.patch(&format!("{path}/lines/{line}"), json!({"quantity": 3})).await.ok();
    own.delete(&format!("{path}/lines/{line}")).await.ok();
    own.put(&format!("{path}/lines"), json!({"lines": [{"sku": sku, "quantity": 1}]})).await.ok();
    own.get(&path).await.ok();
    own.get("/v1/carts").await.ok();
    let checkout = own.post("/v1/checkouts", json!({"cartId": cart_id})).await.ok();
    own.post(&format!("/v1/checkouts/{}:cancel", id(&checkout, "checkoutId")), json!({}))
        .await
        .ok();
    own.post(&format!("{path}:clear"), json!({})).await.ok();
}

/// A whole purchase and its after-life. Gives the id of an order that was paid.
async fn orders(mesh: &TestMesh, admin: &Rest, ana: &Person, sku: &str) -> String {
    let own = mesh.rest().with_token(&ana.access_token);
    let lines = json!([{"sku": sku, "quantity": 1}]);
    let cart = own.post("/v1/carts", json!({"currencyCode": "EUR", "lines": lines})).await.ok();
    let checkout = own.post("/v1/checkouts", json!({"cartId": id(&cart, "cartId")})).await.ok();
    let checkout = format!("/v1/checkouts/{}", id(&checkout, "checkoutId"));
    own.put(&format!("{checkout}/contact"), json!({"email": ana.email})).await.ok();
    own.put(&format!("{checkout}/addresses"), json!({"shippingAddress": postal()})).await.ok();
    own.get(&format!("{checkout}/shippingOptions")).await.ok();
    own.put(&format!("{checkout}/shippingOption"), json!({"code": "standard"})).await.ok();
    own.put(&format!("{checkout}/paymentMethod"), json!({"paymentMethod": "pm_card_3ds"}))
        .await
        .ok();
    let read = own.get(&checkout).await.ok();
    let body = json!({"requestId": request_id(), "quoteHash": id(&read, "quoteHash")});
    let action = own.post(&format!("{checkout}:complete"), body).await.ok();
    let intent = id(&action["nextAction"], "paymentIntentId");
    let body =
        json!({"requestId": request_id(), "outcome": PaymentActionOutcome::Success.as_str_name()});
    own.post(&format!("/v1/paymentIntents/{intent}:completeAction"), body).await.ok();
    let order = eventually(|| async {
        let found = own.get(&format!("{checkout}/completion")).await.ok();
        found["order"]["orderId"].as_str().map(str::to_owned)
    })
    .await;

    let path = format!("/v1/orders/{order}");
    own.get(&path).await.ok();
    own.get("/v1/orders").await.ok();
    own.get(&format!("{path}/events")).await.ok();
    admin.get(&format!("/v1/orders:batchGet?orderIds={order}")).await.ok();
    // Held while its money moves the order changes under one's hands.
    ana.shopper().order_when(&order, PaymentStatus::Captured).await;
    admin.post(&format!("{path}:hold"), json!({"note": "look at it"})).await.ok();
    admin.post(&format!("{path}:releaseHold"), json!({})).await.ok();
    admin
        .post(&format!("{path}/notes"), json!({"requestId": request_id(), "text": "looked at it"}))
        .await
        .ok();
    admin
        .post(
            &format!("{path}/fulfillments"),
            json!({"requestId": request_id(), "carrier": "Correos"}),
        )
        .await
        .ok();
    own.get(&format!("{path}/fulfillments")).await.ok();

    let other = ana.shopper().buy(sku, 1, CARD_OK).await.unwrap().order_id;
    let body = json!({"requestId": request_id(), "reason": "CANCEL_REASON_CUSTOMER"});
    own.post(&format!("/v1/orders/{other}:cancel"), body).await.ok();
    // The stream ends with the order.
    let watched = own.get(&format!("/v1/orders/{other}:watch")).await.ok();
    let last = watched.as_array().and_then(|seen| seen.last()).unwrap();
    assert_eq!(last["status"], "ORDER_STATUS_CANCELLED");
    order
}

async fn payments(admin: &Rest, order: &str) {
    let listed = admin.get(&format!("/v1/paymentIntents?orderId={order}")).await.ok();
    let paid = id(&listed["paymentIntents"][0], "paymentIntentId");
    admin.get(&format!("/v1/paymentIntents/{paid}")).await.ok();
    admin.get(&format!("/v1/paymentIntents/{paid}/attempts")).await.ok();
    admin.post(&format!("/v1/paymentIntents/{paid}:sync"), json!({})).await.ok();
    let amount = json!({"currencyCode": "EUR", "minorUnits": "100"});
    let refund = json!({"requestId": request_id(), "paymentIntentId": paid, "amount": amount});
    let refund = id(&admin.post("/v1/refunds", refund).await.ok(), "refundId");
    admin.get(&format!("/v1/refunds/{refund}")).await.ok();
    admin.get("/v1/refunds").await.ok();
    admin.post(&format!("/v1/refunds/{refund}:sync"), json!({})).await.ok();
    admin.get("/v1/ledger/entries").await.ok();
    admin.get("/v1/ledger/balances").await.ok();

    // By hand, as staff may, for orders that were taken on the telephone.
    for last in ["capture", "cancel"] {
        let body = json!({
            "requestId": request_id(), "orderId": request_id(), "customerId": "telephone",
            "amount": amount, "captureMethod": "CAPTURE_METHOD_MANUAL",
        });
        let intent = id(&admin.post("/v1/paymentIntents", body).await.ok(), "paymentIntentId");
        let path = format!("/v1/paymentIntents/{intent}");
        let body = json!({"requestId": request_id(), "paymentMethod": CARD_OK});
        admin.post(&format!("{path}:confirm"), body).await.ok();
        admin.post(&format!("{path}:{last}"), json!({"requestId": request_id()})).await.ok();
    }
}

async fn webhooks(mesh: &TestMesh, admin: &Rest, sku: &str) {
    let guest = mesh.guest().await.shopper();
    let placed = guest.buy(sku, 1, "pm_duplicate_webhooks").await.unwrap();
    let order = guest.order_when(&placed.order_id, PaymentStatus::Captured).await;
    let attempts =
        admin.get(&format!("/v1/paymentIntents/{}/attempts", order.payment_intent_id)).await.ok();
    let attempt = &attempts["attempts"][0];
    let event = json!({
        "id": request_id(), "type": "charge.authorized", "created": 0,
        "data": {
            "key": attempt["attemptId"], "reference": attempt["providerReference"], "state": "CAPTURED",
            "amount": placed.total.as_ref().unwrap().minor_units, "currency": "EUR",
            "captured": placed.total.as_ref().unwrap().minor_units,
        },
    })
    .to_string();
    let signature = payments::signature::sign(
        WEBHOOK_SECRET.as_bytes(),
        event.as_bytes(),
        mesh.host().clock.now(),
    );
    let body = json!({"payload": STANDARD.encode(event), "signature": signature});
    // The provider has no token: what it sends is believed for its signature.
    mesh.rest().post("/v1/paymentWebhooks/sandbox", body).await.ok();
    let listed = admin.get("/v1/paymentWebhookEvents").await.ok();
    let event = id(&listed["webhookEvents"][0], "webhookEventId");
    admin.post(&format!("/v1/paymentWebhookEvents/{event}:replay"), json!({})).await.ok();
}

/// Purchases whose payment the provider is still thinking about, each decided by
/// hand in another way.
async fn sagas(mesh: &TestMesh, admin: &Rest, sku: &str) {
    for decision in ["retryStep", "skipStep", "forceCompensate", "resolveUnknown"] {
        let shopper = mesh.guest().await.shopper();
        let checkout = shopper.ready(sku, 1, "pm_processing").await.unwrap();
        let key = request_id();
        let (saga, step) = {
            let clicked = shopper.complete(&checkout, &key);
            let parked = eventually(|| async {
                let found = admin.get("/v1/sagas?status=SAGA_STATUS_PARKED").await.ok();
                let saga = found["sagas"].as_array()?.first()?.clone();
                Some((id(&saga, "sagaId"), id(&saga, "step")))
            });
            // Whoever clicked waits, and is not waited for.
            tokio::select! {
                biased;
                found = parked => found,
                Err(status) = clicked => panic!("{status:?}"),
            }
        };
        let path = format!("/v1/sagas/{saga}");
        admin.get(&path).await.ok();
        let body = match decision {
            "retryStep" => json!({}),
            "skipStep" => json!({"step": step, "evidence": "the provider's page says so"}),
            "forceCompensate" => json!({"reason": "the customer called"}),
            _ => {
                json!({"outcome": "RESOLVED_OUTCOME_FAILED", "evidence": "the provider's page says so"})
            }
        };
        admin.post(&format!("{path}:{decision}"), body).await.ok();
        if decision == "retryStep" {
            // It parks again; take it out of the way of the next.
            admin.post(&format!("{path}:forceCompensate"), json!({"reason": "enough"})).await.ok();
        }
        eventually(|| async {
            let found = admin.get("/v1/sagas?status=SAGA_STATUS_PARKED").await.ok();
            found["sagas"].as_array().is_none_or(Vec::is_empty).then_some(())
        })
        .await;
    }
}
