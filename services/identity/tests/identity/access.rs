//! Roles, and who has them.

use contracts::identity::v1::{
    AssignRoleRequest, CheckAccessRequest, CreateRoleRequest, DeleteRoleRequest, ErrorReason,
    GetMeRequest, GetRoleRequest, ListPermissionsRequest, ListRolesRequest, ListUserRolesRequest,
    ListUsersRequest, Role, Tokens, UnassignRoleRequest, UpdateRoleRequest, UserKind,
    access_service_client::AccessServiceClient,
};
use prost_types::FieldMask;
use tonic::Code;

use crate::{ADMIN_EMAIL, PASSWORD, Shop, refused};

const READ: &str = "identity.users.read";
const WRITE: &str = "identity.users.write";
const ROLES: &str = "identity.roles.write";
const ASSIGN: &str = "identity.roles.assign";

fn role(name: &str, permissions: &[&str]) -> CreateRoleRequest {
    let permissions = permissions.iter().map(|permission| (*permission).to_owned()).collect();
    let role = Role { name: name.to_owned(), permissions, ..Role::default() };
    CreateRoleRequest { role: Some(role), ..CreateRoleRequest::default() }
}

fn assign(user_id: &str, role_id: &str) -> AssignRoleRequest {
    AssignRoleRequest {
        user_id: user_id.to_owned(),
        role_id: role_id.to_owned(),
        ..AssignRoleRequest::default()
    }
}

fn unassign(user_id: &str, role_id: &str) -> UnassignRoleRequest {
    UnassignRoleRequest {
        user_id: user_id.to_owned(),
        role_id: role_id.to_owned(),
        ..UnassignRoleRequest::default()
    }
}

async fn admin_role(shop: &Shop, admin: &Tokens) -> Role {
    let roles = shop
        .access_as(admin)
        .list_roles(ListRolesRequest::default())
        .await
        .unwrap()
        .into_inner()
        .roles;
    roles.into_iter().find(|role| role.name == "admin").unwrap()
}

async fn admin_id(shop: &Shop, admin: &Tokens) -> String {
    let request = ListUsersRequest { email: ADMIN_EMAIL.to_owned(), ..ListUsersRequest::default() };
    shop.users_as(admin).list_users(request).await.unwrap().into_inner().users.remove(0).user_id
}

#[tokio::test]
async fn a_role_makes_a_customer_staff_and_its_loss_a_customer() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let (ada, tokens) = shop.register("ada@example.com").await;
    let mut access = shop.access_as(&admin);
    let support = access.create_role(role("support", &[READ])).await.unwrap().into_inner();
    let list = ListUsersRequest::default();
    assert!(shop.users_as(&tokens).list_users(list.clone()).await.is_err());

    access.assign_role(assign(&ada.user_id, &support.role_id)).await.unwrap();
    access.assign_role(assign(&ada.user_id, &support.role_id)).await.unwrap();
    let staff = shop.refresh(&tokens).await.unwrap();
    shop.users_as(&staff).list_users(list.clone()).await.unwrap();
    let me = shop.users_as(&staff).get_me(GetMeRequest {}).await.unwrap().into_inner();
    assert_eq!((me.user.unwrap().kind(), me.permissions), (UserKind::Staff, vec![READ.to_owned()]));
    let request =
        ListUserRolesRequest { user_id: ada.user_id.clone(), ..ListUserRolesRequest::default() };
    assert_eq!(
        access.list_user_roles(request).await.unwrap().into_inner().roles,
        std::slice::from_ref(&support)
    );

    let check = |permission: &str| CheckAccessRequest {
        user_id: ada.user_id.clone(),
        permission: permission.to_owned(),
    };
    let mut orders = AccessServiceClient::new(shop.fixture.as_service("orders"));
    assert!(orders.check_access(check(READ)).await.unwrap().into_inner().allowed);
    assert!(!orders.check_access(check(WRITE)).await.unwrap().into_inner().allowed);

    access.unassign_role(unassign(&ada.user_id, &support.role_id)).await.unwrap();
    access.unassign_role(unassign(&ada.user_id, &support.role_id)).await.unwrap();
    assert!(!orders.check_access(check(READ)).await.unwrap().into_inner().allowed);
    refused(shop.refresh(&staff).await, ErrorReason::RefreshTokenInvalid);
    let again = shop.login("ada@example.com", PASSWORD).await.unwrap();
    assert_eq!(again.user.unwrap().kind(), UserKind::Customer);
    assert!(shop.users_as(&again.tokens.unwrap()).list_users(list).await.is_err());
    let events = shop.events().await;
    assert_eq!(
        events.iter().filter(|kind| *kind == "RoleAssigned").count(),
        2,
        "the administrator's and this"
    );
    assert_eq!(events.iter().filter(|kind| *kind == "RoleUnassigned").count(), 1);
}

#[tokio::test]
async fn roles_are_created_read_changed_and_removed() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let mut access = shop.access_as(&admin);
    let request =
        CreateRoleRequest { request_id: testkit::request_id(), ..role("support", &[READ]) };
    let created = access.create_role(request.clone()).await.unwrap().into_inner();
    assert_eq!(access.create_role(request).await.unwrap().into_inner(), created);
    assert!(!created.built_in);
    let status =
        refused(access.create_role(role("support", &[])).await, ErrorReason::RoleNameTaken);
    assert_eq!(status.code(), Code::AlreadyExists);
    let request = GetRoleRequest { role_id: created.role_id.clone() };
    assert_eq!(access.get_role(request).await.unwrap().into_inner(), created);

    let other = access.create_role(role("warehouse", &[])).await.unwrap().into_inner();
    let renamed = Role { name: "support".to_owned(), ..other.clone() };
    let request = UpdateRoleRequest { role: Some(renamed), ..UpdateRoleRequest::default() };
    refused(access.update_role(request).await, ErrorReason::RoleNameTaken);

    let changed = Role {
        permissions: vec![WRITE.to_owned()],
        description: "Helps".to_owned(),
        ..created.clone()
    };
    let request = UpdateRoleRequest {
        role: Some(changed),
        update_mask: Some(FieldMask { paths: vec!["permissions".to_owned()] }),
        ..UpdateRoleRequest::default()
    };
    let after = access.update_role(request.clone()).await.unwrap().into_inner();
    assert_eq!(
        (after.permissions.as_slice(), after.description.as_str()),
        (&[WRITE.to_owned()][..], "")
    );
    let status = refused(access.update_role(request).await, ErrorReason::EtagMismatch);
    assert_eq!(status.code(), Code::Aborted);

    let page = ListRolesRequest { page_size: 2, ..ListRolesRequest::default() };
    let first = access.list_roles(page.clone()).await.unwrap().into_inner();
    let rest = ListRolesRequest { page_token: first.next_page_token, ..page };
    let second = access.list_roles(rest).await.unwrap().into_inner();
    let names: Vec<_> =
        first.roles.iter().chain(&second.roles).map(|role| role.name.as_str()).collect();
    assert_eq!(names, ["admin", "support", "warehouse"]);

    let request =
        DeleteRoleRequest { role_id: created.role_id.clone(), ..DeleteRoleRequest::default() };
    access.delete_role(request.clone()).await.unwrap();
    let status = refused(access.delete_role(request).await, ErrorReason::RoleNotFound);
    assert_eq!(status.code(), Code::NotFound);
    refused(
        access.get_role(GetRoleRequest { role_id: created.role_id }).await,
        ErrorReason::RoleNotFound,
    );
}

#[tokio::test]
async fn a_role_that_somebody_has_is_not_removed() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let (ada, _) = shop.register("ada@example.com").await;
    let mut access = shop.access_as(&admin);
    let support = access.create_role(role("support", &[READ])).await.unwrap().into_inner();
    access.assign_role(assign(&ada.user_id, &support.role_id)).await.unwrap();
    let request =
        DeleteRoleRequest { role_id: support.role_id.clone(), ..DeleteRoleRequest::default() };
    let status = refused(access.delete_role(request.clone()).await, ErrorReason::RoleInUse);
    assert_eq!(status.code(), Code::FailedPrecondition);
    access.unassign_role(unassign(&ada.user_id, &support.role_id)).await.unwrap();
    access.delete_role(request).await.unwrap();
}

#[tokio::test]
async fn a_built_in_role_cannot_be_changed() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let built_in = admin_role(&shop, &admin).await;
    assert_eq!((built_in.built_in, built_in.permissions.as_slice()), (true, &["*".to_owned()][..]));
    let changed = Role { description: "Mine".to_owned(), ..built_in.clone() };
    let request = UpdateRoleRequest { role: Some(changed), ..UpdateRoleRequest::default() };
    refused(shop.access_as(&admin).update_role(request).await, ErrorReason::RoleBuiltIn);
    let request = DeleteRoleRequest { role_id: built_in.role_id, ..DeleteRoleRequest::default() };
    let status =
        refused(shop.access_as(&admin).delete_role(request).await, ErrorReason::RoleBuiltIn);
    assert_eq!(status.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn permissions_are_those_that_the_contracts_ask_for() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let mut access = shop.access_as(&admin);
    let request = ListPermissionsRequest { page_size: 1_000, ..ListPermissionsRequest::default() };
    let all = access.list_permissions(request).await.unwrap().into_inner().permissions;
    let found = all.iter().find(|permission| permission.name == "identity.keys.rotate").unwrap();
    assert_eq!(found.methods, ["mercat.identity.v1.AuthService/RotateSigningKey"]);
    assert!(all.windows(2).all(|pair| pair[0].name < pair[1].name));

    let mut paged = Vec::new();
    let mut request = ListPermissionsRequest { page_size: 3, ..ListPermissionsRequest::default() };
    loop {
        let page = access.list_permissions(request.clone()).await.unwrap().into_inner();
        paged.extend(page.permissions);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(paged, all);

    let status = refused(
        access.create_role(role("typo", &["identity.user.raed"])).await,
        ErrorReason::PermissionUnknown,
    );
    assert_eq!(
        (status.code(), testkit::fields(&status)),
        (Code::InvalidArgument, vec!["role.permissions".to_owned()])
    );
}

#[tokio::test]
async fn nobody_grows_their_own_permissions() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let (ada, _) = shop.register("ada@example.com").await;
    let strong =
        shop.access_as(&admin).create_role(role("strong", &[WRITE])).await.unwrap().into_inner();
    let built_in = admin_role(&shop, &admin).await;
    let mut helper = AccessServiceClient::new(shop.fixture.as_staff(&[ROLES, ASSIGN, READ]));

    for permissions in [&["*"][..], &[WRITE], &[READ, WRITE]] {
        let status = refused(
            helper.create_role(role("mine", permissions)).await,
            ErrorReason::PermissionNotHeld,
        );
        assert_eq!(status.code(), Code::PermissionDenied);
    }
    for role_id in [&strong.role_id, &built_in.role_id] {
        refused(
            helper.assign_role(assign(&ada.user_id, role_id)).await,
            ErrorReason::PermissionNotHeld,
        );
        refused(
            helper.unassign_role(unassign(&ada.user_id, role_id)).await,
            ErrorReason::PermissionNotHeld,
        );
    }
    let mine = helper.create_role(role("mine", &[READ])).await.unwrap().into_inner();
    let grown = Role { permissions: vec![WRITE.to_owned()], ..mine };
    let request = UpdateRoleRequest { role: Some(grown), ..UpdateRoleRequest::default() };
    refused(helper.update_role(request).await, ErrorReason::PermissionNotHeld);
    let weakened = Role { permissions: vec![READ.to_owned()], ..strong.clone() };
    let request = UpdateRoleRequest { role: Some(weakened), ..UpdateRoleRequest::default() };
    refused(helper.update_role(request).await, ErrorReason::PermissionNotHeld);
    let request = DeleteRoleRequest { role_id: strong.role_id, ..DeleteRoleRequest::default() };
    refused(helper.delete_role(request).await, ErrorReason::PermissionNotHeld);
}

#[tokio::test]
async fn somebody_is_always_left_who_may_do_everything() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let admin_id = admin_id(&shop, &admin).await;
    let built_in = admin_role(&shop, &admin).await;
    let mut access = shop.access_as(&admin);
    let status = refused(
        access.unassign_role(unassign(&admin_id, &built_in.role_id)).await,
        ErrorReason::LastAdmin,
    );
    assert_eq!(status.code(), Code::FailedPrecondition);

    let (ada, _) = shop.register("ada@example.com").await;
    access.assign_role(assign(&ada.user_id, &built_in.role_id)).await.unwrap();
    // Both are taken away at once: one of them stays.
    let answers = crate::token::all_at_once([&admin_id, &ada.user_id].map(|user_id| {
        let mut access = shop.access_as(&admin);
        let request = unassign(user_id, &built_in.role_id);
        async move { access.unassign_role(request).await }
    }))
    .await;
    let (_, refusals) = testkit::exactly_one_ok(answers);
    assert_eq!(testkit::reason(&refusals[0]), "LAST_ADMIN");
}

#[tokio::test]
async fn roles_and_users_that_do_not_exist_are_named() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let built_in = admin_role(&shop, &admin).await;
    let (ada, tokens) = shop.register("ada@example.com").await;
    let mut access = shop.access_as(&admin);
    let nobody = testkit::request_id();
    refused(
        access.assign_role(assign(&nobody, &built_in.role_id)).await,
        ErrorReason::UserNotFound,
    );
    refused(access.assign_role(assign(&ada.user_id, &nobody)).await, ErrorReason::RoleNotFound);
    refused(
        access.unassign_role(unassign(&nobody, &built_in.role_id)).await,
        ErrorReason::UserNotFound,
    );
    let request =
        ListUserRolesRequest { user_id: nobody.clone(), ..ListUserRolesRequest::default() };
    refused(access.list_user_roles(request).await, ErrorReason::UserNotFound);
    let check = CheckAccessRequest { user_id: nobody, permission: READ.to_owned() };
    assert!(!access.check_access(check).await.unwrap().into_inner().allowed);
    let status = access.create_role(role("", &[])).await.unwrap_err();
    assert_eq!(testkit::fields(&status), ["role.name"]);

    let mut customer = shop.access_as(&tokens);
    let status = customer.assign_role(assign(&ada.user_id, &built_in.role_id)).await.unwrap_err();
    assert_eq!(testkit::reason(&status), "ACCESS_DENIED");
    let status = customer.list_roles(ListRolesRequest::default()).await.unwrap_err();
    assert_eq!(testkit::reason(&status), "ACCESS_DENIED");
}
