//! Roles, what they permit and who has them.

use chassis::{
    Database, Time, args,
    store::{self, FromRow, Row, Tx, json_texts},
};
use contracts::identity::v1 as api;

use super::on_constraint;
use crate::{
    domain::{self, ADMIN_ROLE_ID, ADMIN_ROLE_NAME},
    error::Error,
};

chassis::statements! {
    /// One role.
    FIND = "
        select role_id, name, description, built_in, version, create_time, update_time from role where role_id = $1";
    /// One role, which nobody else changes, gives or takes until this transaction ends.
    LOCK = "
        select role_id, name, description, built_in, version, create_time, update_time from role where role_id = $1
        {{FOR_UPDATE}}";
    /// A page of the roles, by name.
    LIST = "
        select role_id, name, description, built_in, version, create_time, update_time
        from role
        where cast($1 as text) is null or name > $1
        order by name
        limit $2";
    /// A page of the roles of one user, by name.
    LIST_OF_USER = "
        select role.role_id, role.name, role.description, role.built_in, role.version, role.create_time,
            role.update_time
        from account_role
        join role on role.role_id = account_role.role_id
        where account_role.user_id = $1 and (cast($2 as text) is null or role.name > $2)
        order by role.name
        limit $3";
    /// What some roles permit.
    PERMISSIONS = "
        select role_id, permission from role_permission
        where role_id in (select value from {{JSON_TEXTS:$1}})
        order by role_id, permission";
    /// What a user may do.
    PERMISSIONS_OF_USER = "
        select distinct role_permission.permission
        from account_role
        join role_permission on role_permission.role_id = account_role.role_id
        where account_role.user_id = $1
        order by role_permission.permission";
    /// A new role.
    INSERT = "
        insert into role (role_id, name, description, built_in, version, create_time, update_time)
        values ($1, $2, $3, false, 1, $4, $4)";
    /// The role that Mercat brings along, unless it is there.
    INSERT_BUILT_IN = "
        insert into role (role_id, name, description, built_in, version, create_time, update_time)
        values ($1, $2, $3, true, 1, $4, $4)
        on conflict (role_id) do nothing";
    /// A change of a role.
    UPDATE = "
        update role set name = $2, description = $3, version = version + 1, update_time = $4 where role_id = $1";
    /// One role less, unless somebody has it.
    DELETE = "
        delete from role
        where role_id = $1 and not exists (select 1 from account_role where account_role.role_id = $1)";
    /// A role permits something.
    INSERT_PERMISSION = "
        insert into role_permission (role_id, permission) values ($1, $2)
        on conflict (role_id, permission) do nothing";
    /// A role permits nothing.
    DELETE_PERMISSIONS = "
        delete from role_permission where role_id = $1";
    /// A user has a role.
    ASSIGN = "
        insert into account_role (user_id, role_id, create_time) values ($1, $2, $3)
        on conflict (user_id, role_id) do nothing";
    /// A user has a role no more.
    UNASSIGN = "
        delete from account_role where user_id = $1 and role_id = $2";
    /// Whether a user has a role.
    HAS_ROLE = "
        select cast(count(*) as bigint) from account_role where user_id = $1 and role_id = $2";
    /// How many others who may sign in have a role.
    COUNT_OTHERS = "
        select cast(count(*) as bigint)
        from account_role
        join account on account.user_id = account_role.user_id
        where account_role.role_id = $1 and account_role.user_id <> $2 and account.status = 'ACTIVE'";
}

/// A role and what it permits.
#[derive(Debug, Clone)]
pub(crate) struct Role {
    pub role_id: String,
    pub name: String,
    pub description: String,
    pub permissions: Vec<String>,
    pub built_in: bool,
    pub version: i64,
    pub create_time: Time,
    pub update_time: Time,
}

// === impl Role ===

impl FromRow for Role {
    fn from_row(row: &Row<'_>) -> Result<Self, store::Error> {
        Ok(Self {
            role_id: row.get("role_id")?,
            name: row.get("name")?,
            description: row.get("description")?,
            permissions: Vec::new(),
            built_in: row.get("built_in")?,
            version: row.get("version")?,
            create_time: row.get("create_time")?,
            update_time: row.get("update_time")?,
        })
    }
}

impl From<Role> for api::Role {
    fn from(role: Role) -> Self {
        Self {
            role_id: role.role_id,
            name: role.name,
            description: role.description,
            permissions: role.permissions,
            built_in: role.built_in,
            etag: domain::etag(role.version),
            create_time: Some(role.create_time.timestamp()),
            update_time: Some(role.update_time.timestamp()),
        }
    }
}

/// Gives roles what was read of their permissions.
fn with_permissions(mut roles: Vec<Role>, permissions: Vec<(String, String)>) -> Vec<Role> {
    for (role_id, permission) in permissions {
        if let Some(role) = roles.iter_mut().find(|role| role.role_id == role_id) {
            role.permissions.push(permission);
        }
    }
    roles
}

fn ids(roles: &[Role]) -> String {
    json_texts(&roles.iter().map(|role| role.role_id.as_str()).collect::<Vec<_>>())
}

// === reading ===

/// One role.
pub(crate) async fn find(database: &Database, role_id: &str) -> Result<Option<Role>, store::Error> {
    let roles = database.fetch_all(FIND, args![role_id]).await?;
    let permissions = database.fetch_all(PERMISSIONS, args![ids(&roles)]).await?;
    Ok(with_permissions(roles, permissions).pop())
}

/// A page of the roles.
pub(crate) async fn list(
    database: &Database,
    after: Option<String>,
    limit: i64,
) -> Result<Vec<Role>, store::Error> {
    let roles = database.fetch_all(LIST, args![after, limit]).await?;
    let permissions = database.fetch_all(PERMISSIONS, args![ids(&roles)]).await?;
    Ok(with_permissions(roles, permissions))
}

/// A page of the roles of one user.
pub(crate) async fn list_of_user(
    database: &Database,
    user_id: &str,
    after: Option<String>,
    limit: i64,
) -> Result<Vec<Role>, store::Error> {
    let roles = database.fetch_all(LIST_OF_USER, args![user_id, after, limit]).await?;
    let permissions = database.fetch_all(PERMISSIONS, args![ids(&roles)]).await?;
    Ok(with_permissions(roles, permissions))
}

/// What a user may do.
pub(crate) async fn permissions_of_user(
    database: &Database,
    user_id: &str,
) -> Result<Vec<String>, store::Error> {
    database.fetch_all(PERMISSIONS_OF_USER, args![user_id]).await
}

/// What a user may do, within a transaction.
pub(crate) async fn permissions_in(
    tx: &mut Tx,
    user_id: &str,
) -> Result<Vec<String>, store::Error> {
    tx.fetch_all(PERMISSIONS_OF_USER, args![user_id]).await
}

/// Whether anybody may sign in and do everything.
pub(crate) async fn any_admin(database: &Database) -> Result<bool, store::Error> {
    let count: i64 = database.fetch_one(COUNT_OTHERS, args![ADMIN_ROLE_ID, ""]).await?;
    Ok(count > 0)
}

// === writing ===

/// One role, held until the transaction ends.
pub(crate) async fn lock(tx: &mut Tx, role_id: &str) -> Result<Role, Error> {
    let roles: Vec<Role> = tx.fetch_all(LOCK, args![role_id]).await?;
    let permissions = tx.fetch_all(PERMISSIONS, args![ids(&roles)]).await?;
    with_permissions(roles, permissions).pop().ok_or(Error::RoleNotFound)
}

/// Adds a role.
pub(crate) async fn insert(
    tx: &mut Tx,
    role_id: &str,
    name: &str,
    description: &str,
    permissions: &[String],
    now: Time,
) -> Result<Role, Error> {
    tx.execute(INSERT, args![role_id, name, description, now]).await.map_err(name_taken)?;
    permit(tx, role_id, permissions).await?;
    lock(tx, role_id).await
}

/// Keeps a changed role, which the transaction holds.
pub(crate) async fn update(tx: &mut Tx, role: &Role, now: Time) -> Result<Role, Error> {
    tx.execute(UPDATE, args![&role.role_id, &role.name, &role.description, now])
        .await
        .map_err(name_taken)?;
    tx.execute(DELETE_PERMISSIONS, args![&role.role_id]).await?;
    permit(tx, &role.role_id, &role.permissions).await?;
    lock(tx, &role.role_id).await
}

/// Removes a role that nobody has.
pub(crate) async fn delete(tx: &mut Tx, role_id: &str) -> Result<(), Error> {
    match tx.execute(DELETE, args![role_id]).await? {
        0 => Err(Error::RoleInUse),
        _ => Ok(()),
    }
}

/// Makes sure of the role that includes everything.
pub(crate) async fn ensure_admin_role(tx: &mut Tx, now: Time) -> Result<(), store::Error> {
    let description = "May do everything. Comes with Mercat.";
    tx.execute(INSERT_BUILT_IN, args![ADMIN_ROLE_ID, ADMIN_ROLE_NAME, description, now]).await?;
    tx.execute(INSERT_PERMISSION, args![ADMIN_ROLE_ID, chassis::caller::EVERY_PERMISSION]).await?;
    Ok(())
}

/// Gives a user a role. Says whether it had it not.
pub(crate) async fn assign(
    tx: &mut Tx,
    user_id: &str,
    role_id: &str,
    now: Time,
) -> Result<bool, store::Error> {
    Ok(tx.execute(ASSIGN, args![user_id, role_id, now]).await? > 0)
}

/// Takes a role from a user. Says whether it had it.
pub(crate) async fn unassign(
    tx: &mut Tx,
    user_id: &str,
    role_id: &str,
) -> Result<bool, store::Error> {
    Ok(tx.execute(UNASSIGN, args![user_id, role_id]).await? > 0)
}

/// Whether a user has a role.
pub(crate) async fn has_role(
    tx: &mut Tx,
    user_id: &str,
    role_id: &str,
) -> Result<bool, store::Error> {
    let count: i64 = tx.fetch_one(HAS_ROLE, args![user_id, role_id]).await?;
    Ok(count > 0)
}

/// Whether anybody but this user may sign in and do everything. Whoever asks
/// must hold the role, so that two who take it from each other take turns.
pub(crate) async fn another_admin(tx: &mut Tx, user_id: &str) -> Result<bool, store::Error> {
    let count: i64 = tx.fetch_one(COUNT_OTHERS, args![ADMIN_ROLE_ID, user_id]).await?;
    Ok(count > 0)
}

async fn permit(tx: &mut Tx, role_id: &str, permissions: &[String]) -> Result<(), store::Error> {
    for permission in permissions {
        tx.execute(INSERT_PERMISSION, args![role_id, permission]).await?;
    }
    Ok(())
}

fn name_taken(error: store::Error) -> Error {
    on_constraint(error, |name| (name == "role_name_key").then_some(Error::RoleNameTaken))
}
