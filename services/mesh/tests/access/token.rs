//! Tokens that nobody issued, and claims that nobody should believe.

use aws_lc_rs::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use chassis::{
    Channel,
    keys::{Kind, SigningKey},
};
use http::StatusCode;
use serde_json::{Value, json};
use testkit::request_id;
use tonic::{Code, Request};

use super::support::{Shape, TestMesh, raw};

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token with this header and these claims, signed as `sign` has it.
fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", encoded(header), encoded(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// Every forgery with what is wrong with it.
fn forgeries(mesh: &TestMesh, trap: &str) -> Vec<(&'static str, String)> {
    let key = mesh.signing();
    let pair = Ed25519KeyPair::from_pkcs8(key.pkcs8()).unwrap();
    let (kid, now) = (key.public().kid.clone(), mesh.host().clock.now().micros() / 1_000_000);
    let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": kid});
    let claims = json!({
        "iss": "mercat", "aud": "mercat", "sub": request_id(), "kind": "staff", "perms": ["*"],
        "iat": now, "exp": now + 600, "jti": request_id(),
    });
    let ed25519 = |bytes: &[u8]| pair.sign(bytes).as_ref().to_vec();
    let headed = |change: Value| {
        let mut changed = header.clone();
        for (name, value) in change.as_object().unwrap() {
            changed[name] = value.clone();
        }
        changed
    };
    let claimed = |change: Value| {
        let mut changed = claims.clone();
        for (name, value) in change.as_object().unwrap() {
            match value {
                Value::Null => drop(changed.as_object_mut().unwrap().remove(name)),
                value => changed[name] = value.clone(),
            }
        }
        changed
    };
    let good = token(&header, &claims, ed25519);
    let mut parts = good.split('.');
    let (head, body, tail) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let stranger = SigningKey::generate().unwrap();
    let stranger = Ed25519KeyPair::from_pkcs8(stranger.pkcs8()).unwrap();
    let public = pair.public_key().as_ref().to_vec();
    let hs256 = |bytes: &[u8]| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &public), bytes).as_ref().to_vec()
    };
    let jwk = json!({
        "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(stranger.public_key().as_ref()),
    });
    let doubled = format!("{{\"sub\":\"x\",{}", &claims.to_string()[1..]);
    let doubled = format!("{head}.{}", URL_SAFE_NO_PAD.encode(doubled));
    let doubled_tail = URL_SAFE_NO_PAD.encode(pair.sign(doubled.as_bytes()).as_ref());
    let by_stranger = |bytes: &[u8]| stranger.sign(bytes).as_ref().to_vec();
    vec![
        ("alg none, no signature", format!("{}.{body}.", encoded(&headed(json!({"alg": "none"}))))),
        ("alg NONE", format!("{}.{body}.{tail}", encoded(&headed(json!({"alg": "NONE"}))))),
        ("HS256 with the public key", token(&headed(json!({"alg": "HS256"})), &claims, hs256)),
        ("ES256 of zeros", token(&headed(json!({"alg": "ES256"})), &claims, |_| vec![0; 64])),
        ("RS256", token(&headed(json!({"alg": "RS256"})), &claims, ed25519)),
        ("no kid", token(&json!({"alg": "EdDSA"}), &claims, ed25519)),
        ("an unknown kid", token(&headed(json!({"kid": "nobody's"})), &claims, ed25519)),
        (
            "a kid that is a path",
            token(&headed(json!({"kid": "../../../../dev/null"})), &claims, ed25519),
        ),
        ("a kid that is SQL", token(&headed(json!({"kid": "' or 1=1 --"})), &claims, ed25519)),
        ("a kid that is no text", token(&headed(json!({"kid": 1})), &claims, ed25519)),
        ("a stranger's key under our kid", token(&header, &claims, by_stranger)),
        ("jku", token(&headed(json!({"jku": trap, "kid": "theirs"})), &claims, by_stranger)),
        ("x5u", token(&headed(json!({"x5u": trap, "kid": "theirs"})), &claims, by_stranger)),
        ("jwk", token(&headed(json!({"jwk": jwk})), &claims, by_stranger)),
        ("crit", token(&headed(json!({"crit": ["b64"], "b64": false})), &claims, ed25519)),
        (
            "expired",
            token(&header, &claimed(json!({"exp": now - 3_600, "iat": now - 7_200})), ed25519),
        ),
        ("no expiry", token(&header, &claimed(json!({"exp": null})), ed25519)),
        ("issued in the future", token(&header, &claimed(json!({"iat": now + 3_600})), ed25519)),
        ("another audience", token(&header, &claimed(json!({"aud": "elsewhere"})), ed25519)),
        (
            "another issuer",
            token(&header, &claimed(json!({"iss": "https://evil.example"})), ed25519),
        ),
        (
            "the mesh's own issuer",
            token(&header, &claimed(json!({"iss": "mercat-mesh", "aud": "mercat-mesh"})), ed25519),
        ),
        ("no subject", token(&header, &claimed(json!({"sub": null})), ed25519)),
        ("an unknown kind", token(&header, &claimed(json!({"kind": "root"})), ed25519)),
        ("an empty signature", format!("{head}.{body}.")),
        ("a signature of zeros", token(&header, &claims, |_| vec![0; 64])),
        ("other claims under the signature", {
            format!("{head}.{}.{tail}", encoded(&claimed(json!({"sub": "somebody else"}))))
        }),
        ("trailing data", format!("{good}.more")),
        ("a claim twice", format!("{doubled}.{doubled_tail}")),
        ("a token in a token", token(&headed(json!({"cty": "JWT"})), &json!(good), ed25519)),
        (
            "a token that is too long",
            token(&header, &claimed(json!({"jti": "x".repeat(9_000)})), ed25519),
        ),
        ("no token", "mallory".to_owned()),
        ("nothing", String::new()),
        ("a service's token", mesh.service_token("orders").to_str().unwrap().to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_token_opens_nothing() {
    let mesh = TestMesh::start(Shape::Fused).await;
    let guest = mesh.guest().await;
    let trap = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let mut forged = forgeries(&mesh, &format!("http://{}/jwks", trap.local_addr().unwrap()));
    forged.push(("a refresh token", guest.refresh_token.clone()));

    // The honest one, so that the others fail for what is wrong with them.
    let honest = mesh.token(&request_id(), Kind::Staff, &["*"]);
    mesh.rest().with_token(&honest).get("/v1/roles").await.ok();
    assert!(forged.len() > 25);
    for (what, token) in &forged {
        for path in ["/v1/roles", "/v1/carts", "/v1/products"] {
            let reply = mesh.rest().with_token(token).get(path).await;
            assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{what} at {path}: {}", reply.json);
            assert_eq!(
                (reply.reason(), reply.header("www-authenticate")),
                ("TOKEN_INVALID", "Bearer error=\"invalid_token\""),
                "{what}"
            );
        }
    }
    for scheme in ["Basic", "bearer:", "Token"] {
        let reply = mesh
            .rest()
            .raw("GET", "/v1/roles", &[("authorization", &format!("{scheme} {honest}"))], "")
            .await;
        assert_eq!(
            (reply.status, reply.reason()),
            (StatusCode::UNAUTHORIZED, "TOKEN_INVALID"),
            "{scheme}"
        );
    }
    assert!(trap.accept().is_err(), "nothing that a token names is fetched");
    let page = mesh.host().telemetry.metrics().encode().unwrap();
    let panics: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("mesh_panics_total{") && !line.ends_with(" 0"))
        .collect();
    assert!(panics.is_empty(), "{panics:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_to_be_a_service_gains_nothing() {
    let mesh = TestMesh::start(Shape::Tcp).await;
    let stolen = mesh.service_token("storefront");
    let path = "/mercat.orders.v1.OrderService/GetPlacement";
    let asked = |value: &http::HeaderValue| {
        let mut request = Request::new(Bytes::new());
        request.metadata_mut().insert("x-mercat-service", value.to_str().unwrap().parse().unwrap());
        request
    };

    // Even the real thing ends at the edge: it is taken away there.
    let at_the_edge = raw::call(&mesh.client(), path, asked(&stolen)).await.unwrap_err();
    assert_eq!(at_the_edge.code(), Code::PermissionDenied);
    let orders = mesh.service_token("orders");
    let headers = [("x-mercat-service", orders.to_str().unwrap())];
    let reply = mesh.rest().raw("GET", "/v1/reservations", &headers, "").await;
    assert_eq!((reply.status, reply.reason()), (StatusCode::UNAUTHORIZED, "TOKEN_MISSING"));
    mesh.rest().raw("GET", "/v1/products", &[("x-mercat-service", "storefront")], "").await.ok();

    // A service tells the real thing from what a client made up.
    let direct = || Channel::to(&mesh.host().contract, mesh.service("orders").address());
    let real = raw::call_on(direct(), path, asked(&stolen)).await.unwrap_err();
    assert_eq!(
        (real.code(), real.reason()),
        (Code::InvalidArgument, "INVALID_FIELD"),
        "it is let in"
    );
    let made_up = http::HeaderValue::from_static("storefront");
    let users = mesh.token("storefront", Kind::Staff, &["*"]).parse().unwrap();
    for forged in [&made_up, &users] {
        let refused = raw::call_on(direct(), path, asked(forged)).await.unwrap_err();
        assert_eq!((refused.code(), refused.reason()), (Code::Unauthenticated, "TOKEN_INVALID"));
    }
}
