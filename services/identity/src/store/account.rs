//! Accounts, and the attempts to sign in to them.

use std::time::Duration;

use chassis::{
    Database, Time, args,
    store::{self, FromRow, Row, Tx, json_texts},
};
use contracts::identity::v1 as api;

use super::on_constraint;
use crate::{
    domain::{self, Limit, Status},
    error::Error,
};

chassis::statements! {
    /// One account.
    FIND = "
        select user_id, email, display_name, status, version, create_time, update_time,
            (select cast(count(*) as bigint) from account_role where account_role.user_id = account.user_id)
                as role_count
        from account
        where user_id = $1";
    /// One account, which nobody else changes until this transaction ends.
    LOCK = "
        select user_id, email, display_name, status, version, create_time, update_time,
            (select cast(count(*) as bigint) from account_role where account_role.user_id = account.user_id)
                as role_count
        from account
        where user_id = $1
        {{FOR_UPDATE}}";
    /// Several accounts.
    FIND_MANY = "
        select user_id, email, display_name, status, version, create_time, update_time,
            (select cast(count(*) as bigint) from account_role where account_role.user_id = account.user_id)
                as role_count
        from account
        where user_id in (select value from {{JSON_TEXTS:$1}})";
    /// A page of accounts, newest first.
    LIST = "
        select user_id, email, display_name, status, version, create_time, update_time,
            (select cast(count(*) as bigint) from account_role where account_role.user_id = account.user_id)
                as role_count
        from account
        where (cast($1 as text) is null or status = $1)
            and (cast($2 as text) is null or email = $2)
            and (cast($3 as bigint) is null or (create_time, user_id) < ($3, $4))
        order by create_time desc, user_id desc
        limit $5";
    /// What is needed to check a password, by e-mail address.
    CREDENTIALS_OF_EMAIL = "
        select user_id, email, password_hash, status from account where email = $1";
    /// What is needed to check a password, by user.
    CREDENTIALS_OF_USER = "
        select user_id, email, password_hash, status from account where user_id = $1";
    /// A new account.
    INSERT = "
        insert into account (
            user_id, email, display_name, password_hash, status, version, create_time, update_time
        ) values ($1, $2, $3, $4, 'ACTIVE', 1, $5, $5)";
    /// Another display name.
    SET_DISPLAY_NAME = "
        update account set display_name = $2, version = version + 1, update_time = $3 where user_id = $1";
    /// Another status.
    SET_STATUS = "
        update account set status = $2, version = version + 1, update_time = $3 where user_id = $1";
    /// The account is a newer one, though no column of its own changed.
    TOUCH = "
        update account set version = version + 1, update_time = $2 where user_id = $1";
    /// Another password, if it is still the one that was verified.
    SET_PASSWORD = "
        update account set password_hash = $3, version = version + 1, update_time = $4
        where user_id = $1 and password_hash = $2";
    /// Another default address for shipping.
    SET_DEFAULT_SHIPPING = "
        update account set default_shipping_id = $2 where user_id = $1";
    /// Another default address for billing.
    SET_DEFAULT_BILLING = "
        update account set default_billing_id = $2 where user_id = $1";
    /// Counts an attempt as failed until it is forgiven; no row, no attempt.
    CHARGE = "
        insert into attempt (subject, until_time) values ($1, $2)
        on conflict (subject) do update
        set until_time = case when attempt.until_time > $3 then attempt.until_time + $4 else $2 end
        where attempt.until_time <= $5";
    /// Until when the failed attempts of a subject count.
    ATTEMPTS_UNTIL = "
        select until_time from attempt where subject = $1";
    /// Forgets all failed attempts of a subject.
    FORGET = "
        delete from attempt where subject = $1";
    /// Takes one attempt back.
    FORGIVE = "
        update attempt set until_time = until_time - $2 where subject = $1";
    /// Forgets attempts that no longer count.
    SWEEP_ATTEMPTS = "
        delete from attempt
        where subject in (select subject from attempt where until_time < $1 order by until_time limit $2)";
}

/// An account.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub user_id: String,
    pub email: String,
    pub display_name: String,
    pub status: Status,
    pub version: i64,
    pub create_time: Time,
    pub update_time: Time,
    pub role_count: i64,
}

/// What is needed to check a password.
pub(crate) struct Credentials {
    pub user_id: String,
    pub email: String,
    pub password_hash: String,
    pub status: Status,
}

/// Somebody who registers.
#[derive(Debug, Clone)]
pub(crate) struct Newcomer {
    pub user_id: String,
    pub email: String,
    pub display_name: String,
    pub password_hash: String,
}

/// Who is trying to sign in, and how often that may fail.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub subject: String,
    pub limit: Limit,
}

/// Which accounts to list.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub status: Option<Status>,
    pub email: Option<String>,
}

// === impl Account ===

impl FromRow for Account {
    fn from_row(row: &Row<'_>) -> Result<Self, store::Error> {
        Ok(Self {
            user_id: row.get("user_id")?,
            email: row.get("email")?,
            display_name: row.get("display_name")?,
            status: Status::parse(&row.get::<String>("status")?),
            version: row.get("version")?,
            create_time: row.get("create_time")?,
            update_time: row.get("update_time")?,
            role_count: row.get("role_count")?,
        })
    }
}

impl From<Account> for api::User {
    fn from(account: Account) -> Self {
        Self {
            kind: if account.role_count > 0 {
                api::UserKind::Staff
            } else {
                api::UserKind::Customer
            }
            .into(),
            status: match account.status {
                Status::Active => api::UserStatus::Active,
                Status::Suspended => api::UserStatus::Suspended,
            }
            .into(),
            etag: domain::etag(account.version),
            create_time: Some(account.create_time.timestamp()),
            update_time: Some(account.update_time.timestamp()),
            user_id: account.user_id,
            email: account.email,
            display_name: account.display_name,
        }
    }
}

impl FromRow for Credentials {
    fn from_row(row: &Row<'_>) -> Result<Self, store::Error> {
        Ok(Self {
            user_id: row.get("user_id")?,
            email: row.get("email")?,
            password_hash: row.get("password_hash")?,
            status: Status::parse(&row.get::<String>("status")?),
        })
    }
}

// === reading ===

/// One account, if there is one.
pub(crate) async fn find(
    database: &Database,
    user_id: &str,
) -> Result<Option<Account>, store::Error> {
    database.fetch_optional(FIND, args![user_id]).await
}

/// Several accounts, in no order.
pub(crate) async fn find_many(
    database: &Database,
    user_ids: &[String],
) -> Result<Vec<Account>, store::Error> {
    database.fetch_all(FIND_MANY, args![json_texts(user_ids)]).await
}

/// A page of accounts.
pub(crate) async fn list(
    database: &Database,
    filter: &Filter,
    after: Option<(Time, String)>,
    limit: i64,
) -> Result<Vec<Account>, store::Error> {
    let (time, user_id) = after.unzip();
    let status = filter.status.map(Status::as_str);
    database.fetch_all(LIST, args![status, &filter.email, time, user_id, limit]).await
}

/// What is needed to check the password of an e-mail address.
pub(crate) async fn credentials_of_email(
    database: &Database,
    email: &str,
) -> Result<Option<Credentials>, store::Error> {
    database.fetch_optional(CREDENTIALS_OF_EMAIL, args![email]).await
}

/// What is needed to check the password of a user.
pub(crate) async fn credentials_of_user(
    database: &Database,
    user_id: &str,
) -> Result<Option<Credentials>, store::Error> {
    database.fetch_optional(CREDENTIALS_OF_USER, args![user_id]).await
}

// === writing ===

/// One account, held until the transaction ends.
pub(crate) async fn lock(tx: &mut Tx, user_id: &str) -> Result<Account, Error> {
    tx.fetch_optional(LOCK, args![user_id]).await?.ok_or(Error::UserNotFound)
}

/// One account, held until the transaction ends, and not suspended.
pub(crate) async fn lock_active(tx: &mut Tx, user_id: &str) -> Result<Account, Error> {
    let account = lock(tx, user_id).await?;
    match account.status {
        Status::Active => Ok(account),
        Status::Suspended => Err(Error::UserSuspended),
    }
}

/// Adds an account.
pub(crate) async fn insert(tx: &mut Tx, newcomer: &Newcomer, now: Time) -> Result<Account, Error> {
    let Newcomer { user_id, email, display_name, password_hash } = newcomer;
    tx.execute(INSERT, args![user_id, email, display_name, password_hash, now]).await.map_err(
        |error| {
            on_constraint(error, |name| match name {
                "account_email_key" => Some(Error::EmailTaken),
                "account_pkey" => Some(Error::GuestAlreadyUpgraded),
                _ => None,
            })
        },
    )?;
    lock(tx, user_id).await
}

/// Renames an account.
pub(crate) async fn set_display_name(
    tx: &mut Tx,
    user_id: &str,
    name: &str,
    now: Time,
) -> Result<Account, Error> {
    tx.execute(SET_DISPLAY_NAME, args![user_id, name, now]).await?;
    lock(tx, user_id).await
}

/// Suspends or reactivates an account.
pub(crate) async fn set_status(
    tx: &mut Tx,
    user_id: &str,
    status: Status,
    now: Time,
) -> Result<Account, Error> {
    tx.execute(SET_STATUS, args![user_id, status.as_str(), now]).await?;
    lock(tx, user_id).await
}

/// Gives an account its next version.
pub(crate) async fn touch(tx: &mut Tx, user_id: &str, now: Time) -> Result<Account, Error> {
    tx.execute(TOUCH, args![user_id, now]).await?;
    lock(tx, user_id).await
}

/// Changes a password that is still the verified one.
pub(crate) async fn set_password(
    tx: &mut Tx,
    user_id: &str,
    verified: &str,
    hash: &str,
    now: Time,
) -> Result<Account, Error> {
    if tx.execute(SET_PASSWORD, args![user_id, verified, hash, now]).await? == 0 {
        return Err(Error::InvalidCredentials);
    }
    lock(tx, user_id).await
}

/// Chooses the default addresses of an account.
pub(crate) async fn set_defaults(
    tx: &mut Tx,
    user_id: &str,
    shipping: Option<Option<&str>>,
    billing: Option<Option<&str>>,
) -> Result<(), store::Error> {
    if let Some(address_id) = shipping {
        tx.execute(SET_DEFAULT_SHIPPING, args![user_id, address_id]).await?;
    }
    if let Some(address_id) = billing {
        tx.execute(SET_DEFAULT_BILLING, args![user_id, address_id]).await?;
    }
    Ok(())
}

/// Counts an attempt as failed before it is known whether it is, so that a
/// thousand at once are a thousand. Refuses if there were too many.
pub(crate) async fn charge(
    database: &Database,
    attempts: Vec<Attempt>,
    now: Time,
) -> Result<(), Error> {
    database
        .write(move |tx| {
            Box::pin(async move {
                for Attempt { subject, limit } in &attempts {
                    let first = now + limit.cost();
                    let parameters =
                        args![subject, first, now, micros(limit.cost()), limit.horizon(now)];
                    if tx.execute(CHARGE, parameters).await? == 0 {
                        let until: Option<Time> =
                            tx.fetch_optional(ATTEMPTS_UNTIL, args![subject]).await?;
                        return Err(Error::TooManyAttempts {
                            wait: limit.wait(until.unwrap_or(now), now),
                        });
                    }
                }
                Ok(())
            })
        })
        .await
}

/// Makes up for the charge of an attempt that did not fail: the account starts
/// afresh, the network address gets back what this one cost.
pub(crate) async fn forgive(tx: &mut Tx, attempts: &[Attempt]) -> Result<(), store::Error> {
    if let Some((account, others)) = attempts.split_first() {
        tx.execute(FORGET, args![&account.subject]).await?;
        for Attempt { subject, limit } in others {
            tx.execute(FORGIVE, args![subject, micros(limit.cost())]).await?;
        }
    }
    Ok(())
}

/// Forgets attempts that no longer count, so many at most.
pub(crate) async fn sweep_attempts(
    tx: &mut Tx,
    now: Time,
    limit: i64,
) -> Result<u64, store::Error> {
    tx.execute(SWEEP_ATTEMPTS, args![now, limit]).await
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
