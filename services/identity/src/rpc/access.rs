//! `AccessService`: roles, and who has them.

use std::collections::BTreeMap;

use chassis::{Caller, Contract, caller::EVERY_PERMISSION, event::Event};
use contracts::identity::v1::{
    self as api, AssignRoleRequest, AssignRoleResponse, CheckAccessRequest, CheckAccessResponse,
    CreateRoleRequest, DeleteRoleRequest, DeleteRoleResponse, GetRoleRequest,
    ListPermissionsRequest, ListPermissionsResponse, ListRolesRequest, ListRolesResponse,
    ListUserRolesRequest, ListUserRolesResponse, Permission, RevocationCause, RoleUnassigned,
    UnassignRoleRequest, UnassignRoleResponse, UpdateRoleRequest,
    access_service_server::AccessService,
};
use tonic::{Request, Response, Status};

use super::{Rpc, demand_all, give_role};
use crate::{
    domain::{self, ADMIN_ROLE_ID, Status as AccountStatus},
    error::Error,
    store::{access as roles, account, session as sessions},
};

type Reply<T> = Result<Response<T>, Status>;

/// Every permission that a contract asks for, by name, with what it opens.
pub(super) fn permissions(contract: &Contract) -> Vec<Permission> {
    let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for method in contract.methods() {
        if let Some(permission) = method.access().permission.as_deref() {
            found
                .entry(permission)
                .or_default()
                .push(method.path().trim_start_matches('/').to_owned());
        }
    }
    found
        .into_iter()
        .map(|(name, mut methods)| {
            methods.sort();
            Permission { name: name.to_owned(), methods }
        })
        .collect()
}

#[tonic::async_trait]
impl AccessService for Rpc {
    async fn create_role(&self, request: Request<CreateRoleRequest>) -> Reply<api::Role> {
        let caller = Caller::of(&request).clone();
        let given = request.get_ref().role.clone().unwrap_or_default();
        if given.name.is_empty() {
            return Err(Error::FieldMissing { field: "role.name" }.into());
        }
        self.demand_known(&given.permissions)?;
        demand_all(&caller, &given.permissions)?;
        let (clock, role_id) = (self.clock.clone(), self.clock.id());
        let response = self
            .database
            .once(&request, move |tx, _| {
                Box::pin(async move {
                    let api::Role { name, description, permissions, .. } = given;
                    let role =
                        roles::insert(tx, &role_id, &name, &description, &permissions, clock.now())
                            .await?;
                    Ok::<_, Error>(role.into())
                })
            })
            .await?;
        Ok(response)
    }

    async fn get_role(&self, request: Request<GetRoleRequest>) -> Reply<api::Role> {
        let role =
            roles::find(&self.database, &request.get_ref().role_id).await.map_err(Error::from)?;
        Ok(Response::new(role.ok_or(Error::RoleNotFound)?.into()))
    }

    async fn list_roles(&self, request: Request<ListRolesRequest>) -> Reply<ListRolesResponse> {
        let ListRolesRequest { page_size, page_token } = request.get_ref();
        let page = self.pages.page(*page_size, page_token, &["roles"])?;
        let found =
            roles::list(&self.database, page.after(), page.limit()).await.map_err(Error::from)?;
        let (found, next_page_token) = page.finish(found, |last| last.name.clone());
        let roles = found.into_iter().map(api::Role::from).collect();
        Ok(Response::new(ListRolesResponse { roles, next_page_token }))
    }

    async fn update_role(&self, request: Request<UpdateRoleRequest>) -> Reply<api::Role> {
        let caller = Caller::of(&request).clone();
        let this = self.clone();
        let response = self
            .database
            .once(&request, move |tx, message| {
                Box::pin(async move {
                    let given = message.role.unwrap_or_default();
                    if given.role_id.is_empty() {
                        return Err(Error::FieldMissing { field: "role.role_id" });
                    }
                    let mask = message.update_mask.as_ref().map(|mask| mask.paths.as_slice());
                    let fields = [
                        ("name", !given.name.is_empty()),
                        ("description", !given.description.is_empty()),
                        ("permissions", !given.permissions.is_empty()),
                    ];
                    let chosen = domain::fields_to_update(mask, &fields).map_err(|path| {
                        Error::MaskInvalid { path, known: "`name`, `description` or `permissions`" }
                    })?;
                    let mut role = editable(&caller, roles::lock(tx, &given.role_id).await?)?;
                    if !domain::etag_matches(&given.etag, role.version) {
                        return Err(Error::EtagMismatch { field: "role.etag" });
                    }
                    if chosen.contains("name") {
                        if given.name.is_empty() {
                            return Err(Error::FieldMissing { field: "role.name" });
                        }
                        role.name = given.name;
                    }
                    if chosen.contains("description") {
                        role.description = given.description;
                    }
                    if chosen.contains("permissions") {
                        this.demand_known(&given.permissions)?;
                        demand_all(&caller, &given.permissions)?;
                        role.permissions = given.permissions;
                    }
                    if chosen.is_empty() {
                        return Ok(role.into());
                    }
                    Ok(roles::update(tx, &role, this.clock.now()).await?.into())
                })
            })
            .await?;
        Ok(response)
    }

    async fn delete_role(&self, request: Request<DeleteRoleRequest>) -> Reply<DeleteRoleResponse> {
        let caller = Caller::of(&request).clone();
        let response = self
            .database
            .once(&request, move |tx, message| {
                Box::pin(async move {
                    let role = editable(&caller, roles::lock(tx, &message.role_id).await?)?;
                    if !domain::etag_matches(&message.etag, role.version) {
                        return Err(Error::EtagMismatch { field: "etag" });
                    }
                    roles::delete(tx, &message.role_id).await?;
                    Ok(DeleteRoleResponse {})
                })
            })
            .await?;
        Ok(response)
    }

    async fn list_permissions(
        &self,
        request: Request<ListPermissionsRequest>,
    ) -> Reply<ListPermissionsResponse> {
        let ListPermissionsRequest { page_size, page_token } = request.get_ref();
        let page = self.pages.page(*page_size, page_token, &["permissions"])?;
        let after: Option<String> = page.after();
        let limit = usize::try_from(page.limit()).unwrap_or(usize::MAX);
        let rest = self
            .permissions
            .iter()
            .filter(|found| after.as_ref().is_none_or(|after| found.name > *after));
        let (permissions, next_page_token) =
            page.finish(rest.take(limit).cloned().collect(), |last| last.name.clone());
        Ok(Response::new(ListPermissionsResponse { permissions, next_page_token }))
    }

    async fn assign_role(&self, request: Request<AssignRoleRequest>) -> Reply<AssignRoleResponse> {
        let (caller, clock) = (Caller::of(&request).clone(), self.clock.clone());
        let response = self
            .database
            .once(&request, move |tx, message| {
                Box::pin(async move {
                    let role = roles::lock(tx, &message.role_id).await?;
                    demand_all(&caller, &role.permissions)?;
                    let account = account::lock(tx, &message.user_id).await?;
                    let actor_id = caller.subject().unwrap_or_default();
                    give_role(
                        tx,
                        &account.user_id,
                        &role.role_id,
                        &role.name,
                        actor_id,
                        clock.now(),
                    )
                    .await?;
                    Ok::<_, Error>(AssignRoleResponse {})
                })
            })
            .await?;
        Ok(response)
    }

    async fn unassign_role(
        &self,
        request: Request<UnassignRoleRequest>,
    ) -> Reply<UnassignRoleResponse> {
        let (caller, clock) = (Caller::of(&request).clone(), self.clock.clone());
        let response = self
            .database
            .once(&request, move |tx, message| {
                Box::pin(async move {
                    let (now, user_id) = (clock.now(), &message.user_id);
                    let role = roles::lock(tx, &message.role_id).await?;
                    demand_all(&caller, &role.permissions)?;
                    account::lock(tx, user_id).await?;
                    if !roles::unassign(tx, user_id, &role.role_id).await? {
                        return Ok(UnassignRoleResponse {});
                    }
                    if role.role_id == ADMIN_ROLE_ID && !roles::another_admin(tx, user_id).await? {
                        return Err(Error::LastAdmin);
                    }
                    let account = account::touch(tx, user_id, now).await?;
                    sessions::revoke_all(tx, user_id, "", RevocationCause::RoleUnassigned, now)
                        .await?;
                    let event = RoleUnassigned {
                        user_id: user_id.clone(),
                        role_id: role.role_id,
                        role_name: role.name,
                        actor_id: caller.subject().unwrap_or_default().to_owned(),
                    };
                    tx.publish(Event::new(&event).subject(user_id).version(account.version))
                        .await?;
                    Ok(UnassignRoleResponse {})
                })
            })
            .await?;
        Ok(response)
    }

    async fn list_user_roles(
        &self,
        request: Request<ListUserRolesRequest>,
    ) -> Reply<ListUserRolesResponse> {
        let ListUserRolesRequest { user_id, page_size, page_token } = request.get_ref();
        let page = self.pages.page(*page_size, page_token, &["user_roles", user_id])?;
        account::find(&self.database, user_id)
            .await
            .map_err(Error::from)?
            .ok_or(Error::UserNotFound)?;
        let found = roles::list_of_user(&self.database, user_id, page.after(), page.limit())
            .await
            .map_err(Error::from)?;
        let (found, next_page_token) = page.finish(found, |last| last.name.clone());
        let roles = found.into_iter().map(api::Role::from).collect();
        Ok(Response::new(ListUserRolesResponse { roles, next_page_token }))
    }

    async fn check_access(
        &self,
        request: Request<CheckAccessRequest>,
    ) -> Reply<CheckAccessResponse> {
        let CheckAccessRequest { user_id, permission } = request.get_ref();
        let account = account::find(&self.database, user_id).await.map_err(Error::from)?;
        let allowed = match account.map(|account| account.status) {
            Some(AccountStatus::Active) => {
                let held = roles::permissions_of_user(&self.database, user_id)
                    .await
                    .map_err(Error::from)?;
                held.iter().any(|held| held == permission || held == EVERY_PERMISSION)
            }
            Some(AccountStatus::Suspended) | None => false,
        };
        Ok(Response::new(CheckAccessResponse { allowed }))
    }
}

// === impl Rpc ===

impl Rpc {
    /// Refuses a permission that no contract asks for: it would be a typing error.
    fn demand_known(&self, permissions: &[String]) -> Result<(), Error> {
        let unknown = permissions.iter().find(|permission| {
            permission.as_str() != EVERY_PERMISSION
                && self
                    .permissions
                    .binary_search_by(|known| known.name.as_str().cmp(permission))
                    .is_err()
        });
        match unknown {
            Some(permission) => Err(Error::PermissionUnknown { permission: permission.clone() }),
            None => Ok(()),
        }
    }
}

/// Refuses a role that is built in, or that permits what the caller may not.
fn editable(caller: &Caller, role: roles::Role) -> Result<roles::Role, Error> {
    if role.built_in {
        return Err(Error::RoleBuiltIn);
    }
    demand_all(caller, &role.permissions)?;
    Ok(role)
}
