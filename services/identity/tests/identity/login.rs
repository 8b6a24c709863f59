//! Registering, signing in, and guessing passwords.

use std::time::Duration;

use contracts::identity::v1::{
    ChangePasswordRequest, ErrorReason, IssueGuestTokenRequest, LoginRequest, RegisterRequest,
    UpgradeGuestRequest, UserKind, UserStatus, auth_service_client::AuthServiceClient,
};
use tonic::Code;

use crate::{ADMIN_EMAIL, PASSWORD, Shop, refused};

#[tokio::test]
async fn whoever_registers_is_signed_in_and_can_sign_in_again() {
    let shop = Shop::open().await;
    let (user, tokens) = shop.register("  Ada@Example.com".trim()).await;
    assert_eq!(user.email, "ada@example.com");
    assert_eq!((user.kind(), user.status()), (UserKind::Customer, UserStatus::Active));
    assert!(!tokens.access_token.is_empty() && !tokens.refresh_token.is_empty());

    let again = shop.login("ADA@example.COM ", PASSWORD).await.unwrap();
    assert_eq!(again.user.unwrap().user_id, user.user_id);
    assert_ne!(again.tokens.unwrap().session_id, tokens.session_id);
    assert!(shop.events().await.contains(&"UserRegistered".to_owned()));
}

#[tokio::test]
async fn an_email_address_is_registered_once() {
    let shop = Shop::open().await;
    shop.register("ada@example.com").await;
    let request = RegisterRequest {
        email: "ADA@example.com".to_owned(),
        password: PASSWORD.to_owned(),
        ..RegisterRequest::default()
    };
    let status = refused(shop.auth().register(request).await, ErrorReason::EmailTaken);
    assert_eq!(status.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn of_two_who_register_one_address_at_once_one_gets_it() {
    let shop = Shop::open().await;
    let attempts = (0..8).map(|_| {
        let mut auth = shop.auth();
        async move {
            let request = RegisterRequest {
                email: "ada@example.com".to_owned(),
                password: PASSWORD.to_owned(),
                ..RegisterRequest::default()
            };
            auth.register(request).await
        }
    });
    let answers = crate::token::all_at_once(attempts).await;
    let (_, others) = testkit::exactly_one_ok(answers);
    assert!(others.iter().all(|status| testkit::reason(status) == "EMAIL_TAKEN"), "{others:?}");
}

#[tokio::test]
async fn a_registration_sent_twice_is_one_and_has_one_answer() {
    let shop = Shop::open().await;
    let request = RegisterRequest {
        request_id: testkit::request_id(),
        email: "ada@example.com".to_owned(),
        password: PASSWORD.to_owned(),
        display_name: "Ada".to_owned(),
    };
    let first = shop.auth().register(request.clone()).await.unwrap();
    let second = shop.auth().register(request.clone()).await.unwrap();
    assert_eq!(second.metadata().get("idempotent-replayed").unwrap(), "true");
    assert_eq!(first.get_ref(), second.get_ref(), "tokens included");
    shop.refresh(second.get_ref().tokens.as_ref().unwrap()).await.unwrap();

    let other = RegisterRequest { email: "eve@example.com".to_owned(), ..request };
    let status = shop.auth().register(other).await.unwrap_err();
    assert_eq!(testkit::reason(&status), "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test]
async fn a_password_that_anybody_would_guess_is_refused() {
    let shop = Shop::open().await;
    for password in ["password123", "ada@example.com", "aaaaaaaaaa"] {
        let request = RegisterRequest {
            email: "ada@example.com".to_owned(),
            password: password.to_owned(),
            ..RegisterRequest::default()
        };
        let status = refused(shop.auth().register(request).await, ErrorReason::WeakPassword);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(testkit::fields(&status), ["password"]);
        assert!(!status.message().contains(password));
    }
    let short = RegisterRequest {
        email: "ada@example.com".to_owned(),
        password: "seven77".to_owned(),
        ..RegisterRequest::default()
    };
    let status = shop.auth().register(short).await.unwrap_err();
    assert_eq!(
        (testkit::reason(&status).as_str(), testkit::fields(&status)),
        ("INVALID_FIELD", vec!["password".into()])
    );
    assert!(!format!("{status:?}").contains("seven77"), "a password is never said back");
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_password_are_answered_alike() {
    let shop = Shop::open().await;
    shop.register("ada@example.com").await;
    let wrong = refused(
        shop.login("ada@example.com", "wrong horse").await,
        ErrorReason::InvalidCredentials,
    );
    let unknown = refused(
        shop.login("eve@example.com", "wrong horse").await,
        ErrorReason::InvalidCredentials,
    );
    assert_eq!((wrong.code(), wrong.message()), (unknown.code(), unknown.message()));
    assert_eq!(wrong.details(), unknown.details());
    assert_eq!(wrong.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_login_sent_twice_opens_one_session() {
    let shop = Shop::open().await;
    shop.register("ada@example.com").await;
    let request = LoginRequest {
        request_id: testkit::request_id(),
        email: "ada@example.com".to_owned(),
        password: PASSWORD.to_owned(),
    };
    let first = shop.auth().login(request.clone()).await.unwrap().into_inner();
    // As often as one likes: a right password costs no attempt.
    for _ in 0..12 {
        assert_eq!(shop.auth().login(request.clone()).await.unwrap().into_inner(), first);
    }
}

#[tokio::test]
async fn guessing_is_slowed_per_account_and_wears_off() {
    let shop = Shop::open().await;
    shop.register("ada@example.com").await;
    let mut tries = 0;
    let status = loop {
        let status = shop.login("ada@example.com", "wrong horse").await.unwrap_err();
        if testkit::reason(&status) != "INVALID_CREDENTIALS" {
            break status;
        }
        tries += 1;
    };
    assert!((1..=10).contains(&tries), "{tries} guesses were let through");
    let status = refused::<()>(Err(status), ErrorReason::TooManyAttempts);
    assert_eq!(status.code(), Code::ResourceExhausted);
    let wait = chassis::Fault::from_status(&status).retry_delay().unwrap();

    // The right password has to wait as well; another account has not.
    refused(shop.login("ada@example.com", PASSWORD).await, ErrorReason::TooManyAttempts);
    refused(shop.login("eve@example.com", PASSWORD).await, ErrorReason::InvalidCredentials);

    shop.fixture.clock.advance(wait);
    shop.login("ada@example.com", PASSWORD).await.unwrap();
    // Whoever knows the password starts afresh.
    refused(shop.login("ada@example.com", "wrong horse").await, ErrorReason::InvalidCredentials);
    refused(shop.login("ada@example.com", "wrong horse").await, ErrorReason::InvalidCredentials);
}

#[tokio::test]
async fn a_hundred_guesses_at_once_are_a_hundred_guesses() {
    let shop = Shop::open().await;
    shop.register("ada@example.com").await;
    let guesses = (0..60).map(|_| shop.login("ada@example.com", "wrong horse"));
    let answers = crate::token::all_at_once(guesses).await;
    let judged = answers
        .into_iter()
        .filter(|answer| {
            answer.as_ref().is_err_and(|status| testkit::reason(status) == "INVALID_CREDENTIALS")
        })
        .count();
    assert!((1..=10).contains(&judged), "{judged} guesses were judged");
}

#[tokio::test]
async fn guessing_is_slowed_per_network_address() {
    let shop = Shop::with(serde_json::json!({"address_failures_max": 6})).await;
    let mut reasons = Vec::new();
    for number in 0..8 {
        let status =
            shop.login(&format!("nobody{number}@example.com"), "wrong horse").await.unwrap_err();
        reasons.push(testkit::reason(&status));
    }
    assert_eq!(
        reasons.iter().filter(|reason| *reason == "INVALID_CREDENTIALS").count(),
        4,
        "{reasons:?}"
    );
    assert_eq!(reasons.last().unwrap(), "TOO_MANY_ATTEMPTS");
    shop.fixture.clock.advance(Duration::from_secs(16 * 60));
    refused(shop.login("nobody@example.com", "wrong horse").await, ErrorReason::InvalidCredentials);
}

#[tokio::test]
async fn beyond_the_queue_of_hashes_a_call_is_refused_at_once() {
    let settings = serde_json::json!({
        "concurrent_hashes_max": 1, "waiting_hashes_max": 0, "argon2_memory_kib": 16_384, "argon2_passes": 3,
    });
    let shop = Shop::with(settings).await;
    let registrations = (0..12).map(|number| {
        let mut auth = shop.auth();
        async move {
            let request = RegisterRequest {
                email: format!("ada{number}@example.com"),
                password: PASSWORD.to_owned(),
                ..RegisterRequest::default()
            };
            auth.register(request).await
        }
    });
    let answers = crate::token::all_at_once(registrations).await;
    assert!(answers.iter().any(Result::is_ok));
    let busy = answers.into_iter().find(Result::is_err).unwrap();
    let status = refused(busy, ErrorReason::HashingBusy);
    assert_eq!(status.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_changed_password_ends_every_other_session() {
    let shop = Shop::open().await;
    let (_, here) = shop.register("ada@example.com").await;
    let there = shop.login("ada@example.com", PASSWORD).await.unwrap().tokens.unwrap();
    let request = ChangePasswordRequest {
        request_id: testkit::request_id(),
        current_password: PASSWORD.to_owned(),
        new_password: "another horse entirely".to_owned(),
    };
    let wrong =
        ChangePasswordRequest { current_password: "wrong horse".to_owned(), ..request.clone() };
    refused(shop.auth_as(&here).change_password(wrong).await, ErrorReason::InvalidCredentials);
    let weak = ChangePasswordRequest { new_password: "password123".to_owned(), ..request.clone() };
    refused(shop.auth_as(&here).change_password(weak).await, ErrorReason::WeakPassword);

    let first = shop.auth_as(&here).change_password(request.clone()).await.unwrap().into_inner();
    assert_eq!(first.revoked_count, 1);
    // The old password is wrong by now; the repetition is answered all the same.
    assert_eq!(shop.auth_as(&here).change_password(request).await.unwrap().into_inner(), first);

    refused(shop.refresh(&there).await, ErrorReason::RefreshTokenInvalid);
    shop.refresh(&here).await.unwrap();
    refused(shop.login("ada@example.com", PASSWORD).await, ErrorReason::InvalidCredentials);
    shop.login("ada@example.com", "another horse entirely").await.unwrap();
    let events = shop.events().await;
    assert!(
        events.contains(&"PasswordChanged".to_owned())
            && events.contains(&"SessionFamilyRevoked".to_owned())
    );
}

#[tokio::test]
async fn a_guest_becomes_a_customer_under_the_same_id() {
    let shop = Shop::open().await;
    let (guest_id, tokens) = shop.guest().await;
    let request = UpgradeGuestRequest {
        request_id: testkit::request_id(),
        email: "ada@example.com".to_owned(),
        password: PASSWORD.to_owned(),
        display_name: "Ada".to_owned(),
    };
    let upgraded = shop.auth_as(&tokens).upgrade_guest(request.clone()).await.unwrap().into_inner();
    let user = upgraded.user.clone().unwrap();
    assert_eq!((user.user_id.as_str(), user.kind()), (guest_id.as_str(), UserKind::Customer));
    assert_eq!(
        shop.auth_as(&tokens).upgrade_guest(request.clone()).await.unwrap().into_inner(),
        upgraded
    );
    refused(shop.refresh(&tokens).await, ErrorReason::RefreshTokenInvalid);
    assert_eq!(
        shop.login("ada@example.com", PASSWORD).await.unwrap().user.unwrap().user_id,
        guest_id
    );

    let again = UpgradeGuestRequest {
        request_id: String::new(),
        email: "other@example.com".to_owned(),
        ..request.clone()
    };
    refused(
        shop.auth_as(&tokens).upgrade_guest(again.clone()).await,
        ErrorReason::GuestAlreadyUpgraded,
    );
    let customer = upgraded.tokens.unwrap();
    let status =
        refused(shop.auth_as(&customer).upgrade_guest(again).await, ErrorReason::NotAGuest);
    assert_eq!(status.code(), Code::FailedPrecondition);

    let (_, another) = shop.guest().await;
    let taken = UpgradeGuestRequest { request_id: String::new(), ..request };
    refused(shop.auth_as(&another).upgrade_guest(taken).await, ErrorReason::EmailTaken);
    assert!(shop.events().await.contains(&"GuestUpgraded".to_owned()));
}

#[tokio::test]
async fn a_guest_asked_for_twice_is_one_guest() {
    let shop = Shop::open().await;
    let request = IssueGuestTokenRequest { request_id: testkit::request_id() };
    let first = shop.auth().issue_guest_token(request.clone()).await.unwrap().into_inner();
    assert_eq!(shop.auth().issue_guest_token(request).await.unwrap().into_inner(), first);
    assert_ne!(shop.guest().await.0, first.guest_id);
    shop.refresh(first.tokens.as_ref().unwrap()).await.unwrap();
}

#[tokio::test]
async fn the_first_administrator_is_made_once() {
    let mut shop = Shop::open().await;
    let first = shop.login(ADMIN_EMAIL, crate::ADMIN_PASSWORD).await.unwrap().user.unwrap();
    assert_eq!(first.kind(), UserKind::Staff);
    shop.fixture.restart().await;
    let second = shop.login(ADMIN_EMAIL, crate::ADMIN_PASSWORD).await.unwrap().user.unwrap();
    assert_eq!(first.user_id, second.user_id);
    assert_eq!(shop.events().await.iter().filter(|kind| *kind == "RoleAssigned").count(), 1);
}

#[tokio::test]
async fn whoever_registers_the_administrators_address_first_gets_nothing_by_it() {
    let settings = serde_json::json!({"argon2_memory_kib": 64, "argon2_passes": 1});
    let mut fixture =
        testkit::service::<identity::Identity>().config(settings.clone()).start().await;
    let request = RegisterRequest {
        email: ADMIN_EMAIL.to_owned(),
        password: PASSWORD.to_owned(),
        ..RegisterRequest::default()
    };
    AuthServiceClient::new(fixture.anonymous()).register(request).await.unwrap();
    fixture.set_config(serde_json::json!({
        "argon2_memory_kib": 64, "argon2_passes": 1, "admin_email": ADMIN_EMAIL, "admin_password": "keys to everything",
    }));
    fixture.restart().await;
    let request = LoginRequest {
        email: ADMIN_EMAIL.to_owned(),
        password: PASSWORD.to_owned(),
        ..LoginRequest::default()
    };
    let user = AuthServiceClient::new(fixture.anonymous())
        .login(request)
        .await
        .unwrap()
        .into_inner()
        .user
        .unwrap();
    assert_eq!(user.kind(), UserKind::Customer);
}
