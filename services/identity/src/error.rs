//! Why identity refuses, and how it says so.

use std::time::Duration;

use chassis::{Fault, store};
use contracts::{identity::v1::ErrorReason, mesh::v1::ErrorReason as MeshReason};

use crate::domain::{ADDRESSES_MAX, Weakness};

/// Why identity refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no such e-mail address, or not its password")]
    InvalidCredentials,
    #[error("the e-mail address is registered")]
    EmailTaken,
    #[error("the password in {field} is weak")]
    WeakPassword { field: &'static str, weakness: Weakness },
    #[error("too many failed attempts")]
    TooManyAttempts { wait: Duration },
    #[error("too many passwords are being checked")]
    HashingBusy,
    #[error("the account is suspended")]
    UserSuspended,
    #[error("no such refresh token")]
    RefreshTokenInvalid,
    #[error("the refresh token of session {session_id} was spent before")]
    RefreshTokenReused { session_id: String },
    #[error("the session has expired")]
    RefreshTokenExpired,
    #[error("the caller is not a guest")]
    NotAGuest,
    #[error("the guest is a customer already")]
    GuestAlreadyUpgraded,
    #[error("no such session")]
    SessionNotFound,
    #[error("no such user")]
    UserNotFound,
    #[error("{field} is stale")]
    EtagMismatch { field: &'static str },
    #[error("the update mask names {path}")]
    MaskInvalid { path: String, known: &'static str },
    #[error("{field} is missing")]
    FieldMissing { field: &'static str },
    #[error("no such address")]
    AddressNotFound,
    #[error("the address book is full")]
    AddressLimitReached,
    #[error("no such role")]
    RoleNotFound,
    #[error("the role's name is taken")]
    RoleNameTaken,
    #[error("the role is built in")]
    RoleBuiltIn,
    #[error("the role is in use")]
    RoleInUse,
    #[error("no contract knows the permission {permission}")]
    PermissionUnknown { permission: String },
    #[error("the caller does not hold {permission}")]
    PermissionNotHeld { permission: String },
    #[error("nobody would be left who may do everything")]
    LastAdmin,
    #[error("the password could not be hashed")]
    Hash(#[source] argon2::password_hash::Error),
    #[error("the hashing task ended early")]
    HashTask(#[source] tokio::task::JoinError),
    #[error("the store failed")]
    Store(#[from] store::Error),
    #[error("the chassis refused")]
    Refused(#[from] Fault),
}

chassis::status_from!(Error);

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        use ErrorReason as Reason;
        match error {
            Error::InvalidCredentials => {
                Self::unauthenticated(Reason::InvalidCredentials).message("the e-mail address or the password is wrong")
            }
            Error::EmailTaken => Self::already_exists(Reason::EmailTaken)
                .message("this e-mail address is registered: sign in instead")
                .violation("email", "is registered"),
            Error::WeakPassword { field, weakness } => Self::invalid_argument(Reason::WeakPassword)
                .message("the password is too easy to guess")
                .violation(field, weakness.advice()),
            Error::TooManyAttempts { wait } => Self::resource_exhausted(Reason::TooManyAttempts)
                .message("too many attempts failed: wait before the next one")
                .retry_after(wait),
            Error::HashingBusy => Self::resource_exhausted(Reason::HashingBusy)
                .message("too many passwords are being checked at this moment: try again")
                .retry_after(Duration::from_secs(1)),
            Error::UserSuspended => Self::permission_denied(Reason::UserSuspended).message("the account is suspended"),
            Error::RefreshTokenInvalid => Self::unauthenticated(Reason::RefreshTokenInvalid)
                .message("the refresh token is unknown or its session has ended: sign in again"),
            Error::RefreshTokenReused { .. } => Self::unauthenticated(Reason::RefreshTokenReused)
                .message("the refresh token was spent before, so its session has been ended: sign in again"),
            Error::RefreshTokenExpired => Self::unauthenticated(Reason::RefreshTokenExpired)
                .message("the session was not refreshed in time: sign in again"),
            Error::NotAGuest => {
                Self::failed_precondition(Reason::NotAGuest).message("only a guest can become a customer this way")
            }
            Error::GuestAlreadyUpgraded => Self::failed_precondition(Reason::GuestAlreadyUpgraded)
                .message("this guest is a customer already: sign in instead"),
            Error::SessionNotFound => Self::not_found(Reason::SessionNotFound).message("no such session"),
            Error::UserNotFound => Self::not_found(Reason::UserNotFound).message("no such user"),
            Error::EtagMismatch { field } => Self::aborted(Reason::EtagMismatch)
                .message("it changed since it was read: read it again")
                .violation(field, "is stale: read it again and send the new one"),
            Error::MaskInvalid { path, known } => Self::invalid_argument(MeshReason::UpdateMaskInvalid)
                .message(format!("`{path}` cannot be updated"))
                .violation("update_mask", format!("names `{path}`: use {known}, or `*`")),
            Error::FieldMissing { field } => Self::invalid_argument(MeshReason::InvalidField)
                .message(format!("{field} is required"))
                .violation(field, "is required"),
            Error::AddressNotFound => Self::not_found(Reason::AddressNotFound).message("no such address"),
            Error::AddressLimitReached => Self::failed_precondition(Reason::AddressLimitReached)
                .message(format!("the address book holds {ADDRESSES_MAX} addresses: delete one first"))
                .precondition("ADDRESS_LIMIT", "addresses", format!("{ADDRESSES_MAX} at most")),
            Error::RoleNotFound => Self::not_found(Reason::RoleNotFound).message("no such role"),
            Error::RoleNameTaken => Self::already_exists(Reason::RoleNameTaken)
                .message("another role has this name")
                .violation("role.name", "is taken"),
            Error::RoleBuiltIn => Self::failed_precondition(Reason::RoleBuiltIn)
                .message("a role that Mercat brings along cannot be changed: create another"),
            Error::RoleInUse => Self::failed_precondition(Reason::RoleInUse)
                .message("somebody still has the role: unassign it first"),
            Error::PermissionUnknown { permission } => Self::invalid_argument(Reason::PermissionUnknown)
                .message(format!("no contract knows the permission `{permission}`"))
                .violation("role.permissions", format!("`{permission}` is in no contract: see ListPermissions")),
            Error::PermissionNotHeld { permission } => Self::permission_denied(Reason::PermissionNotHeld)
                .message(format!("`{permission}` is not yours to give or take"))
                .metadata("permission", permission),
            Error::LastAdmin => Self::failed_precondition(Reason::LastAdmin)
                .message("nobody would be left who may do everything: make another administrator first"),
            Error::Hash(source) => Self::internal().because(source),
            Error::HashTask(source) => Self::internal().because(source),
            Error::Store(source) => source.into(),
            Error::Refused(fault) => fault,
        }
    }
}
