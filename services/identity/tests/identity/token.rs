//! Refreshing, stealing, and the keys that sign.

use std::{future::Future, time::Duration};

use contracts::identity::v1::{
    ErrorReason, GetJwksRequest, GetMeRequest, RefreshTokenRequest, RotateSigningKeyRequest,
    Tokens, auth_service_client::AuthServiceClient,
};
use tonic::Code;

use crate::{PASSWORD, Shop, refused};

/// Polls all of them together, and gives back all answers.
pub(crate) async fn all_at_once<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(move |context| {
        let mut pending = false;
        for (future, answer) in &mut waiting {
            if answer.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(found) => *answer = Some(found),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(waiting.iter_mut().filter_map(|(_, answer)| answer.take()).collect())
    })
    .await
}

async fn knows_me(shop: &Shop, tokens: &Tokens) -> bool {
    shop.users_as(tokens).get_me(GetMeRequest {}).await.is_ok()
}

#[tokio::test]
async fn a_refresh_spends_the_old_token_and_brings_a_new_pair() {
    let shop = Shop::open().await;
    let (_, first) = shop.register("ada@example.com").await;
    let second = shop.refresh(&first).await.unwrap();
    assert_eq!(second.session_id, first.session_id);
    assert_ne!(second.refresh_token, first.refresh_token);
    assert_ne!(second.access_token, first.access_token);
    assert!(knows_me(&shop, &second).await);
    let third = shop.refresh(&second).await.unwrap();
    assert!(knows_me(&shop, &third).await);
}

#[tokio::test]
async fn a_spent_token_that_comes_back_ends_the_session() {
    let shop = Shop::open().await;
    let (_, stolen) = shop.register("ada@example.com").await;
    let other = shop.login("ada@example.com", PASSWORD).await.unwrap().tokens.unwrap();
    let owners = shop.refresh(&stolen).await.unwrap();

    let status = refused(shop.refresh(&stolen).await, ErrorReason::RefreshTokenReused);
    assert_eq!(status.code(), Code::Unauthenticated);
    refused(shop.refresh(&owners).await, ErrorReason::RefreshTokenInvalid);
    refused(shop.refresh(&stolen).await, ErrorReason::RefreshTokenInvalid);
    // Another session of the same user goes on.
    shop.refresh(&other).await.unwrap();
    assert_eq!(
        shop.events().await.iter().filter(|kind| *kind == "SessionFamilyRevoked").count(),
        1
    );
}

#[tokio::test]
async fn however_refreshes_race_no_session_has_two_live_tokens() {
    let shop = Shop::open().await;
    for round in 0..25 {
        let (_, tokens) = shop.register(&format!("ada{round}@example.com")).await;
        let answers = all_at_once((0..4).map(|_| shop.refresh(&tokens))).await;
        let (winner, losers) = testkit::exactly_one_ok(answers);
        for status in &losers {
            let reason = testkit::reason(status);
            assert!(
                ["REFRESH_TOKEN_REUSED", "REFRESH_TOKEN_INVALID"].contains(&reason.as_str()),
                "{status:?}"
            );
        }
        // One of the four was a thief, for all we know.
        refused(shop.refresh(&winner).await, ErrorReason::RefreshTokenInvalid);
    }
}

#[tokio::test]
async fn a_refresh_whose_answer_was_lost_can_be_sent_again() {
    let shop = Shop::open().await;
    let (_, tokens) = shop.register("ada@example.com").await;
    let request = RefreshTokenRequest {
        request_id: testkit::request_id(),
        refresh_token: tokens.refresh_token.clone(),
    };
    let first = shop.auth().refresh_token(request.clone()).await.unwrap().into_inner();
    let second = shop.auth().refresh_token(request.clone()).await.unwrap().into_inner();
    assert_eq!(first, second);
    shop.refresh(second.tokens.as_ref().unwrap()).await.unwrap();

    let thief = RefreshTokenRequest { request_id: testkit::request_id(), ..request };
    refused(shop.auth().refresh_token(thief).await, ErrorReason::RefreshTokenReused);
}

#[tokio::test]
async fn a_session_that_nobody_refreshes_expires() {
    let shop = Shop::open().await;
    let (_, tokens) = shop.register("ada@example.com").await;
    shop.fixture.clock.advance(Duration::from_secs(29 * 86_400));
    let tokens = shop.refresh(&tokens).await.unwrap();
    shop.fixture.clock.advance(Duration::from_secs(30 * 86_400));
    let status = refused(shop.refresh(&tokens).await, ErrorReason::RefreshTokenExpired);
    assert_eq!(status.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_session_ends_at_last_however_often_it_is_refreshed() {
    let shop = Shop::with(
        serde_json::json!({"session_lifetime": "1000h", "refresh_token_lifetime": "400h"}),
    )
    .await;
    let (_, mut tokens) = shop.register("ada@example.com").await;
    for _ in 0..3 {
        shop.fixture.clock.advance(Duration::from_secs(300 * 3_600));
        tokens = shop.refresh(&tokens).await.unwrap();
    }
    shop.fixture.clock.advance(Duration::from_secs(101 * 3_600));
    refused(shop.refresh(&tokens).await, ErrorReason::RefreshTokenExpired);
}

#[tokio::test]
async fn a_token_that_was_never_given_out_is_refused() {
    let shop = Shop::open().await;
    let forged = Tokens { refresh_token: "never-given-out".to_owned(), ..Tokens::default() };
    refused(shop.refresh(&forged).await, ErrorReason::RefreshTokenInvalid);
}

#[tokio::test]
async fn an_access_token_lives_for_minutes() {
    let shop = Shop::open().await;
    let (_, tokens) = shop.register("ada@example.com").await;
    assert!(knows_me(&shop, &tokens).await);
    shop.fixture.clock.advance(Duration::from_secs(14 * 60));
    assert!(knows_me(&shop, &tokens).await);
    shop.fixture.clock.advance(Duration::from_secs(3 * 60));
    let status = shop.users_as(&tokens).get_me(GetMeRequest {}).await.unwrap_err();
    assert_eq!(testkit::reason(&status), "TOKEN_INVALID");
}

#[tokio::test]
async fn no_token_is_kept_in_a_form_that_can_be_used() {
    let shop = Shop::open().await;
    let request = contracts::identity::v1::RegisterRequest {
        request_id: testkit::request_id(),
        email: "ada@example.com".to_owned(),
        password: PASSWORD.to_owned(),
        ..Default::default()
    };
    let tokens = shop.auth().register(request).await.unwrap().into_inner().tokens.unwrap();
    let signature = tokens.access_token.rsplit('.').next().unwrap().to_owned();
    let mut searched = 0_usize;
    for file in std::fs::read_dir(shop.fixture.folder()).unwrap() {
        let path = file.unwrap().path();
        if !path.is_file() {
            continue;
        }
        let bytes = std::fs::read(path).unwrap();
        searched += bytes.len();
        for secret in [tokens.refresh_token.as_bytes(), signature.as_bytes(), PASSWORD.as_bytes()] {
            assert!(
                !bytes.windows(secret.len()).any(|window| window == secret),
                "a secret is in the database"
            );
        }
    }
    if std::env::var_os("MERCAT_TEST_POSTGRES").is_none() {
        assert!(searched > 0, "there is a database to search");
    }
}

#[tokio::test]
async fn an_old_key_verifies_until_its_last_token_has_expired() {
    let shop = Shop::open().await;
    let (_, old) = shop.register("ada@example.com").await;
    let admin = shop.admin().await;
    let request =
        RotateSigningKeyRequest { request_id: testkit::request_id(), revoke_previous: false };
    let rotated =
        shop.auth_as(&admin).rotate_signing_key(request.clone()).await.unwrap().into_inner();
    assert_ne!(rotated.kid, rotated.previous_kid);
    assert_eq!(
        shop.auth_as(&admin).rotate_signing_key(request).await.unwrap().into_inner(),
        rotated
    );

    assert!(knows_me(&shop, &old).await, "a token of the old key");
    let new = shop.refresh(&old).await.unwrap();
    assert!(knows_me(&shop, &new).await, "a token of the new key");
    let keys = shop.auth().get_jwks(GetJwksRequest {}).await.unwrap().into_inner().keys;
    assert_eq!(
        keys.iter().map(|key| key.kid.as_str()).collect::<Vec<_>>(),
        [&rotated.kid, &rotated.previous_kid]
    );
    assert!(keys.iter().all(|key| {
        (key.kty.as_str(), key.crv.as_str(), key.alg.as_str(), key.r#use.as_str(), key.x.len())
            == ("OKP", "Ed25519", "EdDSA", "sig", 43)
    }));

    shop.fixture.clock.advance(Duration::from_secs(20 * 60));
    let keys = shop.auth().get_jwks(GetJwksRequest {}).await.unwrap().into_inner().keys;
    assert_eq!(keys.len(), 1, "the old key is published no more");
    assert_eq!(keys[0].kid, rotated.kid);
}

#[tokio::test]
async fn a_key_that_has_leaked_is_withdrawn_at_once() {
    let shop = Shop::open().await;
    let (_, old) = shop.register("ada@example.com").await;
    let admin = shop.admin().await;
    let request =
        RotateSigningKeyRequest { revoke_previous: true, ..RotateSigningKeyRequest::default() };
    let rotated = shop.auth_as(&admin).rotate_signing_key(request).await.unwrap().into_inner();
    assert!(rotated.previous_expire_time.is_none());
    assert!(!knows_me(&shop, &old).await);
    let new = shop.refresh(&old).await.unwrap();
    assert!(knows_me(&shop, &new).await);
}

#[tokio::test]
async fn keys_and_sessions_outlive_a_restart() {
    let mut shop = Shop::open().await;
    let (_, tokens) = shop.register("ada@example.com").await;
    let keys = shop.auth().get_jwks(GetJwksRequest {}).await.unwrap().into_inner();
    shop.fixture.restart().await;
    assert_eq!(shop.auth().get_jwks(GetJwksRequest {}).await.unwrap().into_inner(), keys);
    assert!(knows_me(&shop, &tokens).await);
    shop.refresh(&tokens).await.unwrap();
}

#[tokio::test]
async fn only_staff_with_the_permission_rotates_keys() {
    let shop = Shop::open().await;
    let (_, customer) = shop.register("ada@example.com").await;
    let status = shop
        .auth_as(&customer)
        .rotate_signing_key(RotateSigningKeyRequest::default())
        .await
        .unwrap_err();
    assert_eq!(testkit::reason(&status), "ACCESS_DENIED");
    let staff = shop.fixture.as_staff(&["identity.users.write"]);
    let mut auth = AuthServiceClient::new(staff);
    let status = auth.rotate_signing_key(RotateSigningKeyRequest::default()).await.unwrap_err();
    assert_eq!(testkit::reason(&status), "ACCESS_DENIED");
    let staff = shop.fixture.as_staff(&["identity.keys.rotate"]);
    AuthServiceClient::new(staff)
        .rotate_signing_key(RotateSigningKeyRequest::default())
        .await
        .unwrap();
}
