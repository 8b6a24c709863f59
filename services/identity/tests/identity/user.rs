//! Accounts: reading, renaming, suspending.

use contracts::identity::v1::{
    BatchGetUsersRequest, ErrorReason, GetMeRequest, GetUserRequest, ListUsersRequest,
    ReactivateUserRequest, SuspendUserRequest, UpdateMeRequest, User, UserStatus,
    user_service_client::UserServiceClient,
};
use prost_types::FieldMask;
use tonic::Code;

use crate::{ADMIN_EMAIL, PASSWORD, Shop, refused};

fn renamed(display_name: &str, etag: &str) -> UpdateMeRequest {
    let user =
        User { display_name: display_name.to_owned(), etag: etag.to_owned(), ..User::default() };
    UpdateMeRequest { user: Some(user), ..UpdateMeRequest::default() }
}

#[tokio::test]
async fn a_user_reads_and_renames_itself() {
    let shop = Shop::open().await;
    let (user, tokens) = shop.register("ada@example.com").await;
    let mut users = shop.users_as(&tokens);
    let me = users.get_me(GetMeRequest {}).await.unwrap().into_inner();
    assert_eq!((me.user.as_ref(), me.permissions.len()), (Some(&user), 0));

    let request =
        UpdateMeRequest { request_id: testkit::request_id(), ..renamed("Countess", &user.etag) };
    let after = users.update_me(request.clone()).await.unwrap().into_inner();
    assert_eq!(after.user.as_ref().unwrap().display_name, "Countess");
    assert_eq!(users.update_me(request).await.unwrap().into_inner(), after);

    let status =
        refused(users.update_me(renamed("Duchess", &user.etag)).await, ErrorReason::EtagMismatch);
    assert_eq!(status.code(), Code::Aborted);
    let wrong = UpdateMeRequest {
        update_mask: Some(FieldMask { paths: vec!["email".to_owned()] }),
        ..renamed("Duchess", "")
    };
    let status = users.update_me(wrong).await.unwrap_err();
    assert_eq!(testkit::reason(&status), "UPDATE_MASK_INVALID");
    assert_eq!(testkit::fields(&status), ["update_mask"]);
    assert_eq!(users.get_me(GetMeRequest {}).await.unwrap().into_inner().user, after.user);
}

#[tokio::test]
async fn what_the_service_owns_cannot_be_sent() {
    let shop = Shop::open().await;
    let (user, tokens) = shop.register("ada@example.com").await;
    let claimed = User {
        display_name: "Ada".to_owned(),
        email: "admin@example.org".to_owned(),
        kind: 2,
        status: 2,
        user_id: testkit::request_id(),
        ..User::default()
    };
    let request = UpdateMeRequest {
        user: Some(claimed),
        update_mask: Some(FieldMask { paths: vec!["*".to_owned()] }),
        ..UpdateMeRequest::default()
    };
    let after = shop.users_as(&tokens).update_me(request).await.unwrap().into_inner().user.unwrap();
    assert_eq!(
        (&after.email, after.kind, after.status, &after.user_id),
        (&user.email, 1, 1, &user.user_id)
    );
}

#[tokio::test]
async fn a_guest_has_no_account() {
    let shop = Shop::open().await;
    let (_, tokens) = shop.guest().await;
    refused(shop.users_as(&tokens).get_me(GetMeRequest {}).await, ErrorReason::UserNotFound);
    refused(
        shop.users_as(&tokens).update_me(renamed("Nobody", "")).await,
        ErrorReason::UserNotFound,
    );
    let status =
        UserServiceClient::new(shop.fixture.anonymous()).get_me(GetMeRequest {}).await.unwrap_err();
    assert_eq!(testkit::reason(&status), "TOKEN_MISSING");
}

#[tokio::test]
async fn anothers_account_does_not_exist() {
    let shop = Shop::open().await;
    let (ada, tokens) = shop.register("ada@example.com").await;
    let (_, eves) = shop.register("eve@example.com").await;
    let request = GetUserRequest { user_id: ada.user_id.clone() };
    assert_eq!(shop.users_as(&tokens).get_user(request.clone()).await.unwrap().into_inner(), ada);
    let found =
        refused(shop.users_as(&eves).get_user(request.clone()).await, ErrorReason::UserNotFound);
    let unknown = GetUserRequest { user_id: testkit::request_id() };
    let missing = refused(shop.users_as(&eves).get_user(unknown).await, ErrorReason::UserNotFound);
    assert_eq!(
        (found.code(), found.message(), found.details()),
        (Code::NotFound, missing.message(), missing.details())
    );

    for caller in
        [shop.fixture.as_service("orders"), shop.fixture.as_staff(&["identity.users.read"])]
    {
        assert_eq!(
            UserServiceClient::new(caller).get_user(request.clone()).await.unwrap().into_inner(),
            ada
        );
    }
}

#[tokio::test]
async fn staff_lists_accounts_newest_first_by_status_and_address() {
    let shop = Shop::open().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        shop.fixture.clock.advance(std::time::Duration::from_secs(1));
        ids.push(shop.register(&format!("ada{number}@example.com")).await.0.user_id);
    }
    let mut staff = UserServiceClient::new(shop.fixture.as_staff(&["identity.users.read"]));
    let mut seen = Vec::new();
    let mut request = ListUsersRequest { page_size: 2, ..ListUsersRequest::default() };
    loop {
        let page = staff.list_users(request.clone()).await.unwrap().into_inner();
        assert!(page.users.len() <= 2);
        seen.extend(page.users.into_iter().map(|user| user.user_id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    ids.reverse();
    assert_eq!(seen[..5], ids[..]);
    assert_eq!(seen.len(), 6, "the administrator is the oldest");

    let other_filter = ListUsersRequest { status: UserStatus::Active.into(), ..request };
    let status = staff.list_users(other_filter).await.unwrap_err();
    assert_eq!(testkit::reason(&status), "PAGE_TOKEN_INVALID");

    let request =
        ListUsersRequest { email: "ADA3@example.com".to_owned(), ..ListUsersRequest::default() };
    let found = staff.list_users(request).await.unwrap().into_inner().users;
    assert_eq!(found.len(), 1);
    let request =
        ListUsersRequest { status: UserStatus::Suspended.into(), ..ListUsersRequest::default() };
    assert!(staff.list_users(request).await.unwrap().into_inner().users.is_empty());
}

#[tokio::test]
async fn peers_read_many_accounts_in_the_order_asked_for() {
    let shop = Shop::open().await;
    let (ada, tokens) = shop.register("ada@example.com").await;
    let (eve, _) = shop.register("eve@example.com").await;
    let user_ids = vec![eve.user_id.clone(), testkit::request_id(), ada.user_id.clone()];
    let request = BatchGetUsersRequest { user_ids };
    let mut orders = UserServiceClient::new(shop.fixture.as_service("orders"));
    assert_eq!(
        orders.batch_get_users(request.clone()).await.unwrap().into_inner().users,
        [eve, ada]
    );
    let status = shop.users_as(&tokens).batch_get_users(request).await.unwrap_err();
    assert_eq!(testkit::reason(&status), "ACCESS_DENIED");
}

#[tokio::test]
async fn whoever_is_suspended_is_out_until_reactivated() {
    let shop = Shop::open().await;
    let (user, tokens) = shop.register("ada@example.com").await;
    let admin = shop.admin().await;
    let request = SuspendUserRequest {
        request_id: testkit::request_id(),
        user_id: user.user_id.clone(),
        note: "chargebacks".to_owned(),
    };
    let suspended = shop.users_as(&admin).suspend_user(request.clone()).await.unwrap().into_inner();
    assert_eq!(suspended.user.as_ref().unwrap().status(), UserStatus::Suspended);
    assert_eq!(
        shop.users_as(&admin).suspend_user(request.clone()).await.unwrap().into_inner(),
        suspended
    );
    let again = SuspendUserRequest { request_id: String::new(), ..request };
    assert_eq!(
        shop.users_as(&admin).suspend_user(again).await.unwrap().into_inner(),
        suspended,
        "unchanged"
    );

    refused(shop.refresh(&tokens).await, ErrorReason::RefreshTokenInvalid);
    let status = refused(shop.login("ada@example.com", PASSWORD).await, ErrorReason::UserSuspended);
    assert_eq!(status.code(), Code::PermissionDenied);
    // Only who knows the password learns of it.
    refused(shop.login("ada@example.com", "wrong horse").await, ErrorReason::InvalidCredentials);
    // A token that is still good changes nothing any more.
    refused(
        shop.users_as(&tokens).update_me(renamed("Mallory", "")).await,
        ErrorReason::UserSuspended,
    );

    let request =
        ReactivateUserRequest { user_id: user.user_id.clone(), ..ReactivateUserRequest::default() };
    let active = shop.users_as(&admin).reactivate_user(request.clone()).await.unwrap().into_inner();
    assert_eq!(active.user.as_ref().unwrap().status(), UserStatus::Active);
    assert_eq!(shop.users_as(&admin).reactivate_user(request).await.unwrap().into_inner(), active);
    shop.login("ada@example.com", PASSWORD).await.unwrap();
    refused(shop.refresh(&tokens).await, ErrorReason::RefreshTokenInvalid);
    let events = shop.events().await;
    for kind in ["UserSuspended", "UserReactivated"] {
        assert_eq!(events.iter().filter(|told| *told == kind).count(), 1, "{kind} in {events:?}");
    }
}

#[tokio::test]
async fn nobody_suspends_who_may_do_more() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let mut all = shop.users_as(&admin);
    let request = ListUsersRequest { email: ADMIN_EMAIL.to_owned(), ..ListUsersRequest::default() };
    let user_id = all.list_users(request).await.unwrap().into_inner().users.remove(0).user_id;
    let request = SuspendUserRequest { user_id: user_id.clone(), ..SuspendUserRequest::default() };
    let mut support = UserServiceClient::new(shop.fixture.as_staff(&["identity.users.write"]));
    refused(support.suspend_user(request.clone()).await, ErrorReason::PermissionNotHeld);
    let status = refused(all.suspend_user(request).await, ErrorReason::LastAdmin);
    assert_eq!(status.code(), Code::FailedPrecondition);

    let unknown =
        SuspendUserRequest { user_id: testkit::request_id(), ..SuspendUserRequest::default() };
    refused(all.suspend_user(unknown).await, ErrorReason::UserNotFound);
    let unknown = ReactivateUserRequest {
        user_id: testkit::request_id(),
        ..ReactivateUserRequest::default()
    };
    refused(all.reactivate_user(unknown).await, ErrorReason::UserNotFound);
}
