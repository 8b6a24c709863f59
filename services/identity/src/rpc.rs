//! The RPCs: one file per noun, and what they share.

mod access;
mod address;
mod auth;
mod session;
mod user;

use std::sync::Arc;

use chassis::{
    Caller, Clock, Contract, Database, Pages, Scope, Time, event::Event, keys::Kind, store::Tx,
};
use contracts::identity::v1::{self as api, RoleAssigned, Tokens, UserRegistered};
use tonic::{Request, Response, metadata::MetadataMap};

use crate::{
    config::Config,
    domain::{self, ADMIN_ROLE_ID, ADMIN_ROLE_NAME, Holder, Lifetimes, Limit, USER_AGENT_MAX},
    error::Error,
    hasher::Hasher,
    store::{
        access as roles,
        account::{self, Account, Newcomer},
        session::{self as sessions, Session},
    },
    token::{self, Bearer, Mint},
};

/// All three services of the contract. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Rpc {
    database: Database,
    clock: Clock,
    pages: Pages,
    mint: Mint,
    hasher: Hasher,
    lifetimes: Lifetimes,
    account_limit: Limit,
    address_limit: Limit,
    permissions: Arc<[api::Permission]>,
}

/// Who is signing in where: what a new session is made from.
struct Arrival {
    user_id: String,
    holder: Holder,
    user_agent: String,
}

// === impl Rpc ===

impl Rpc {
    pub(crate) fn new(
        config: &Config,
        (database, clock, pages): (Database, Clock, Pages),
        (mint, hasher): (Mint, Hasher),
        contract: &Contract,
    ) -> Self {
        Self {
            lifetimes: config.lifetimes(),
            account_limit: config.account_limit(),
            address_limit: config.address_limit(),
            permissions: access::permissions(contract).into(),
            database,
            clock,
            pages,
            mint,
            hasher,
        }
    }

    /// Makes the first administrator, if nobody is one and the settings name somebody.
    pub(crate) async fn ensure_admin(&self, config: &Config) -> Result<(), Error> {
        let email = domain::normalize_email(&config.admin_email);
        let unnamed = email.is_empty() || config.admin_password.is_empty();
        let newcomer = if unnamed || roles::any_admin(&self.database).await? {
            None
        } else {
            Some(Newcomer {
                user_id: self.clock.id(),
                password_hash: self.hasher.place()?.hash(config.admin_password.expose()).await?,
                display_name: "Administrator".to_owned(),
                email,
            })
        };
        let now = self.clock.now();
        let role = self.database.write(move |tx| Box::pin(roles::ensure_admin_role(tx, now)));
        role.await?;
        let Some(newcomer) = newcomer else { return Ok(()) };
        let made = self
            .database
            .write(move |tx| {
                Box::pin(async move {
                    // Held, so that two replicas that start at once take turns.
                    roles::lock(tx, ADMIN_ROLE_ID).await?;
                    if roles::another_admin(tx, "").await? {
                        return Ok(());
                    }
                    let account = enrol(tx, &newcomer, now).await?;
                    give_role(tx, &account.user_id, ADMIN_ROLE_ID, ADMIN_ROLE_NAME, "", now)
                        .await?;
                    tracing::info!(user_id = account.user_id, "made the first administrator");
                    Ok(())
                })
            })
            .await;
        match made {
            // Whoever registered the address first gets no power by it.
            Err(Error::EmailTaken) => {
                tracing::warn!(
                    "no administrator was made: the address in `identity.admin_email` is a customer's"
                );
                Ok(())
            }
            made => made,
        }
    }

    /// Opens a session for somebody, and drafts its tokens.
    async fn open_session(
        &self,
        tx: &mut Tx,
        arrival: Arrival,
        now: Time,
    ) -> Result<Tokens, Error> {
        let Arrival { user_id, holder, user_agent } = arrival;
        let bearer = bearer(tx, &user_id, holder).await?;
        let session = Session {
            session_id: self.clock.id(),
            user_id,
            holder,
            active: true,
            user_agent,
            create_time: now,
            refresh_time: now,
            expire_time: self.lifetimes.expire_time(holder, now, now),
            revoke_time: None,
        };
        let (draft, token_hash) =
            self.mint.draft(bearer, &session.session_id, session.expire_time, now)?;
        sessions::insert(tx, &session, token_hash).await?;
        Ok(draft)
    }

    /// Makes the tokens of an answer from their draft.
    fn with_tokens<T>(
        &self,
        mut response: Response<T>,
        tokens: impl FnOnce(&mut T) -> &mut Option<Tokens>,
    ) -> Result<Response<T>, Error> {
        if let Some(draft) = tokens(response.get_mut()) {
            self.mint.strike(draft)?;
        }
        Ok(response)
    }
}

/// Adds an account and tells of it.
async fn enrol(tx: &mut Tx, newcomer: &Newcomer, now: Time) -> Result<Account, Error> {
    let account = account::insert(tx, newcomer, now).await?;
    let event = UserRegistered {
        user_id: account.user_id.clone(),
        email: account.email.clone(),
        display_name: account.display_name.clone(),
    };
    tx.publish(Event::new(&event).subject(&account.user_id).version(account.version)).await?;
    Ok(account)
}

/// Gives a user a role and tells of it, if it had it not.
async fn give_role(
    tx: &mut Tx,
    user_id: &str,
    role_id: &str,
    role_name: &str,
    actor_id: &str,
    now: Time,
) -> Result<(), Error> {
    if roles::assign(tx, user_id, role_id, now).await? {
        let account = account::touch(tx, user_id, now).await?;
        let event = RoleAssigned {
            user_id: user_id.to_owned(),
            role_id: role_id.to_owned(),
            role_name: role_name.to_owned(),
            actor_id: actor_id.to_owned(),
        };
        tx.publish(Event::new(&event).subject(user_id).version(account.version)).await?;
    }
    Ok(())
}

/// What a token will say of somebody. Refuses who is suspended or gone.
async fn bearer(tx: &mut Tx, user_id: &str, holder: Holder) -> Result<Bearer, Error> {
    let user_id = user_id.to_owned();
    match holder {
        Holder::Guest => Ok(Bearer { user_id, kind: Kind::Guest, permissions: Vec::new() }),
        Holder::User => {
            let account = account::lock_active(tx, &user_id).await?;
            let kind = if account.role_count > 0 { Kind::Staff } else { Kind::Customer };
            let permissions = roles::permissions_in(tx, &user_id).await?;
            Ok(Bearer { user_id, kind, permissions })
        }
    }
}

/// Refuses unless the caller holds every one of these permissions.
fn demand_all(caller: &Caller, needed: &[String]) -> Result<(), Error> {
    match domain::first_not_held(needed, |permission| caller.may(permission)) {
        Some(permission) => Err(Error::PermissionNotHeld { permission: permission.to_owned() }),
        None => Ok(()),
    }
}

/// Refuses a user who is not the caller as if it did not exist, unless the
/// caller may reach any.
fn demand_reach(scope: &Scope, user_id: &str) -> Result<(), Error> {
    if scope.covers(user_id) { Ok(()) } else { Err(Error::UserNotFound) }
}

/// One account for a change: of the caller's own only if it is not suspended.
async fn lock_for(tx: &mut Tx, scope: &Scope, user_id: &str) -> Result<Account, Error> {
    match scope {
        Scope::Own(_) => account::lock_active(tx, user_id).await,
        Scope::Any => account::lock(tx, user_id).await,
    }
}

fn header<'m>(metadata: &'m MetadataMap, name: &str) -> Option<&'m str> {
    metadata.get(name).and_then(|value| value.to_str().ok())
}

/// The session of the call's own token; empty if it says none.
fn own_session<T>(request: &Request<T>) -> String {
    token::session_of(header(request.metadata(), "authorization"))
}

fn user_agent<T>(request: &Request<T>) -> String {
    domain::shortened(header(request.metadata(), "user-agent").unwrap_or_default(), USER_AGENT_MAX)
}
