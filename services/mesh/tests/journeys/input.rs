//! What is wrong with a request is said by name, in one form, and has no effect.

use serde_json::{Value, json};
use testkit::request_id;

use super::support::{TestMesh, rest::Rest};

/// One wrong request, and what is to be said about it.
struct Wrong<'t> {
    what: &'t str,
    by: &'t Rest,
    verb: &'t str,
    path: &'t str,
    headers: &'t [(&'t str, &'t str)],
    body: String,
    status: u16,
    reason: &'t str,
    /// The field that is named; none if no field is at fault.
    field: &'t str,
}

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

#[expect(clippy::too_many_lines, reason = "it is a table")]
pub(crate) async fn bad_input_names_the_field_and_changes_nothing(mesh: TestMesh) {
    let sku = mesh.product(50).await;
    let (ana, mallory) = (mesh.guest().await, mesh.guest().await);
    let cart = ana.shopper().cart(&sku, 1).await.unwrap();
    let own = mesh.rest().with_token(&ana.access_token);
    let foreign = mesh.rest().with_token(&mallory.access_token);
    let broken = mesh.rest().with_token("not.a.token");
    let nobody = mesh.rest();
    let cart_path = format!("/v1/carts/{}", cart.cart_id);
    let lines = format!("{cart_path}/lines");
    let line = format!("{lines}/{}", cart.lines[0].line_id);
    let key = request_id();
    own.raw(
        "POST",
        &lines,
        &[("content-type", "application/json"), ("idempotency-key", &key)],
        json!({"sku": sku, "quantity": 1}).to_string(),
    )
    .await
    .ok();
    let with_key = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
    let stale = [("content-type", "application/json"), ("if-match", "\"stale\"")];
    let huge = format!("{{\"sku\": \"{}\", \"quantity\": 1}}", "x".repeat(5 << 20));
    let line_of =
        |sku: Value, quantity: Value| json!({"sku": sku, "quantity": quantity}).to_string();
    let good = line_of(sku.clone().into(), 1.into());
    let duplicate = format!("{{\"sku\": \"{sku}\", \"quantity\": 1, \"quantity\": 2}}");
    let wrong = |what, verb, path, headers, body: &str, status, reason, field| Wrong {
        what,
        by: &own,
        verb,
        path,
        headers,
        body: body.to_owned(),
        status,
        reason,
        field,
    };
    let table = [
        wrong(
            "a wrong type",
            "POST",
            &lines,
            JSON,
            &line_of(5.into(), 1.into()),
            400,
            "INVALID_FIELD",
            "sku",
        ),
        wrong(
            "a word for a number",
            "POST",
            &lines,
            JSON,
            &line_of("a".into(), "many".into()),
            400,
            "INVALID_FIELD",
            "quantity",
        ),
        wrong(
            "a missing field",
            "POST",
            &lines,
            JSON,
            "{\"quantity\": 1}",
            400,
            "INVALID_FIELD",
            "sku",
        ),
        wrong("no body", "POST", &lines, &[], "", 400, "INVALID_FIELD", "sku"),
        wrong(
            "an unknown field",
            "POST",
            &lines,
            JSON,
            "{\"sku\": \"a\", \"quantity\": 1, \"colour\": 1}",
            400,
            "INVALID_FIELD",
            "colour",
        ),
        wrong("a field twice", "POST", &lines, JSON, &duplicate, 400, "INVALID_FIELD", "quantity"),
        wrong(
            "out of range",
            "POST",
            &lines,
            JSON,
            &line_of(sku.clone().into(), 0.into()),
            400,
            "INVALID_FIELD",
            "quantity",
        ),
        wrong("no JSON", "POST", &lines, JSON, "{\"sku\"", 400, "INVALID_FIELD", "body"),
        wrong(
            "an unknown parameter",
            "GET",
            "/v1/products?colour=red",
            &[],
            "",
            400,
            "INVALID_FIELD",
            "colour",
        ),
        wrong(
            "a negative page",
            "GET",
            "/v1/products?pageSize=-1",
            &[],
            "",
            400,
            "PAGE_SIZE_INVALID",
            "page_size",
        ),
        wrong(
            "a broken page token",
            "GET",
            "/v1/products?pageToken=abc",
            &[],
            "",
            400,
            "PAGE_TOKEN_INVALID",
            "page_token",
        ),
        wrong("no id", "GET", "/v1/carts/mine", &[], "", 400, "INVALID_FIELD", "cart_id"),
        wrong(
            "an unknown id",
            "GET",
            "/v1/carts/0190c5e5-0000-7000-8000-000000000000",
            &[],
            "",
            404,
            "CART_NOT_FOUND",
            "",
        ),
        Wrong {
            by: &foreign,
            ..wrong("a foreign id", "POST", &lines, JSON, &good, 404, "CART_NOT_FOUND", "")
        },
        Wrong {
            by: &broken,
            ..wrong("a broken token", "GET", &cart_path, &[], "", 401, "TOKEN_INVALID", "")
        },
        Wrong {
            by: &nobody,
            ..wrong("no token", "GET", &cart_path, &[], "", 401, "TOKEN_MISSING", "")
        },
        wrong("what only staff may", "GET", "/v1/users", &[], "", 403, "ACCESS_DENIED", ""),
        wrong(
            "a stale etag",
            "PATCH",
            &line,
            JSON,
            "{\"quantity\": 9, \"etag\": \"stale\"}",
            409,
            "ETAG_MISMATCH",
            "",
        ),
        wrong(
            "a stale If-Match",
            "PATCH",
            &line,
            &stale,
            "{\"quantity\": 9}",
            412,
            "ETAG_MISMATCH",
            "",
        ),
        wrong("a wrong method", "PUT", &cart_path, JSON, "{}", 405, "HTTP_METHOD_NOT_ALLOWED", ""),
        wrong("an unknown route", "GET", "/v1/nothing", &[], "", 404, "ROUTE_NOT_FOUND", ""),
        wrong(
            "a wrong media type",
            "POST",
            &lines,
            &[("content-type", "text/plain")],
            &good,
            415,
            "MEDIA_TYPE_UNSUPPORTED",
            "content-type",
        ),
        wrong(
            "an unknown media type wanted",
            "GET",
            &cart_path,
            &[("accept", "image/png")],
            "",
            406,
            "NOT_ACCEPTABLE",
            "accept",
        ),
        wrong("too much", "POST", &lines, JSON, &huge, 413, "MESSAGE_TOO_LARGE", ""),
        wrong(
            "a key with another payload",
            "POST",
            &lines,
            &with_key,
            &line_of(sku.clone().into(), 9.into()),
            400,
            "IDEMPOTENCY_KEY_REUSED",
            "",
        ),
        wrong(
            "a key that is no UUID",
            "POST",
            &lines,
            JSON,
            &format!("{{\"sku\": \"{sku}\", \"quantity\": 1, \"requestId\": \"1\"}}"),
            400,
            "INVALID_FIELD",
            "request_id",
        ),
        wrong(
            "an unknown SKU",
            "POST",
            &lines,
            JSON,
            &line_of("no-such".into(), 1.into()),
            404,
            "SKU_UNKNOWN",
            "",
        ),
    ];
    let before = own.get(&cart_path).await.ok();
    for wrong in table {
        let Wrong { what, by, verb, path, headers, body, status, reason, field } = wrong;
        let reply = by.raw(verb, path, headers, body).await;
        let error = &reply.json["error"];
        assert_eq!(
            (reply.status.as_u16(), reply.reason()),
            (status, reason),
            "{what}: {}",
            reply.json
        );
        assert_eq!(error["code"], json!(status), "{what}");
        for part in ["status", "domain", "message", "request_id"] {
            assert!(
                error[part].as_str().is_some_and(|text| !text.is_empty()),
                "{what} has no {part}: {error}"
            );
        }
        if !field.is_empty() {
            assert!(reply.fields().iter().any(|named| named == field), "{what}: {error}");
            assert!(
                error["violations"][0]["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{what}"
            );
        }
        if status == 405 {
            assert_eq!(reply.header("allow"), "GET, HEAD, OPTIONS", "{what}");
        }
        assert_eq!(own.get(&cart_path).await.ok(), before, "{what} changed the cart");
    }

    // A page that is too long is cut, not refused.
    let page = own.get("/v1/products?pageSize=1000000").await.ok();
    assert_eq!(page["products"].as_array().map(Vec::len), Some(1));
    mesh.stop().await;
}
