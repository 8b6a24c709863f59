//! Looking at sessions and ending them.

use contracts::identity::v1::{
    ErrorReason, ListSessionsRequest, LogoutRequest, RevokeAllSessionsRequest,
    RevokeSessionRequest, SessionState, auth_service_client::AuthServiceClient,
};
use tonic::Code;

use crate::{PASSWORD, Shop, refused};

#[tokio::test]
async fn a_logout_ends_the_session_however_often_it_is_sent() {
    let shop = Shop::open().await;
    let (_, tokens) = shop.register("ada@example.com").await;
    let request =
        LogoutRequest { refresh_token: tokens.refresh_token.clone(), ..LogoutRequest::default() };
    shop.auth().logout(request.clone()).await.unwrap();
    shop.auth().logout(request).await.unwrap();
    let unknown =
        LogoutRequest { refresh_token: "never-given-out".to_owned(), ..LogoutRequest::default() };
    shop.auth().logout(unknown).await.unwrap();
    refused(shop.refresh(&tokens).await, ErrorReason::RefreshTokenInvalid);
    assert_eq!(
        shop.events().await.iter().filter(|kind| *kind == "SessionFamilyRevoked").count(),
        1
    );
}

#[tokio::test]
async fn a_user_lists_its_own_sessions_page_by_page() {
    let shop = Shop::open().await;
    let (user, first) = shop.register("ada@example.com").await;
    shop.register("eve@example.com").await;
    for _ in 0..4 {
        shop.login("ada@example.com", PASSWORD).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let request =
            ListSessionsRequest { user_id: user.user_id.clone(), page_size: 2, page_token };
        let page = shop.auth_as(&first).list_sessions(request).await.unwrap().into_inner();
        seen.extend(page.sessions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen.len(), 5);
    assert!(
        seen.iter()
            .all(|session| session.user_id == user.user_id
                && session.state() == SessionState::Active)
    );
    let current: Vec<_> = seen.iter().filter(|session| session.current).collect();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0].session_id, first.session_id);
}

#[tokio::test]
async fn a_revoked_session_is_refreshed_no_more_and_stays_as_it_ended() {
    let shop = Shop::open().await;
    let (_, here) = shop.register("ada@example.com").await;
    let there = shop.login("ada@example.com", PASSWORD).await.unwrap().tokens.unwrap();
    let request = RevokeSessionRequest {
        session_id: there.session_id.clone(),
        ..RevokeSessionRequest::default()
    };
    let first = shop
        .auth_as(&here)
        .revoke_session(request.clone())
        .await
        .unwrap()
        .into_inner()
        .session
        .unwrap();
    assert_eq!(first.state(), SessionState::Revoked);
    shop.fixture.clock.advance(std::time::Duration::from_secs(5));
    let second =
        shop.auth_as(&here).revoke_session(request).await.unwrap().into_inner().session.unwrap();
    assert_eq!(first, second);
    refused(shop.refresh(&there).await, ErrorReason::RefreshTokenInvalid);
    shop.refresh(&here).await.unwrap();
}

#[tokio::test]
async fn anothers_sessions_do_not_exist() {
    let shop = Shop::open().await;
    let (ada, adas) = shop.register("ada@example.com").await;
    let (_, eves) = shop.register("eve@example.com").await;
    let (_, guests) = shop.guest().await;
    for foreign in [&eves, &guests] {
        let request = RevokeSessionRequest {
            session_id: adas.session_id.clone(),
            ..RevokeSessionRequest::default()
        };
        let found = refused(
            shop.auth_as(foreign).revoke_session(request).await,
            ErrorReason::SessionNotFound,
        );
        let request = RevokeSessionRequest {
            session_id: testkit::request_id(),
            ..RevokeSessionRequest::default()
        };
        let missing = refused(
            shop.auth_as(foreign).revoke_session(request).await,
            ErrorReason::SessionNotFound,
        );
        assert_eq!((found.code(), found.message()), (Code::NotFound, missing.message()));

        let request =
            ListSessionsRequest { user_id: ada.user_id.clone(), ..ListSessionsRequest::default() };
        refused(shop.auth_as(foreign).list_sessions(request).await, ErrorReason::UserNotFound);
        let request = RevokeAllSessionsRequest {
            user_id: ada.user_id.clone(),
            ..RevokeAllSessionsRequest::default()
        };
        refused(
            shop.auth_as(foreign).revoke_all_sessions(request).await,
            ErrorReason::UserNotFound,
        );
    }
    shop.refresh(&adas).await.unwrap();
}

#[tokio::test]
async fn all_sessions_of_a_user_end_at_once() {
    let shop = Shop::open().await;
    let (user, here) = shop.register("ada@example.com").await;
    let there = shop.login("ada@example.com", PASSWORD).await.unwrap().tokens.unwrap();
    let request = RevokeAllSessionsRequest {
        request_id: testkit::request_id(),
        user_id: user.user_id.clone(),
    };
    let first =
        shop.auth_as(&here).revoke_all_sessions(request.clone()).await.unwrap().into_inner();
    assert_eq!(first.revoked_count, 2);
    assert_eq!(shop.auth_as(&here).revoke_all_sessions(request).await.unwrap().into_inner(), first);
    for tokens in [&here, &there] {
        refused(shop.refresh(tokens).await, ErrorReason::RefreshTokenInvalid);
    }

    // Staff may do it for anybody.
    let tokens = shop.login("ada@example.com", PASSWORD).await.unwrap().tokens.unwrap();
    let mut staff = AuthServiceClient::new(shop.fixture.as_staff(&["identity.sessions.write"]));
    let request =
        RevokeAllSessionsRequest { user_id: user.user_id, ..RevokeAllSessionsRequest::default() };
    assert_eq!(staff.revoke_all_sessions(request).await.unwrap().into_inner().revoked_count, 1);
    refused(shop.refresh(&tokens).await, ErrorReason::RefreshTokenInvalid);
}
