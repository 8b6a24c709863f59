//! The signing keys, and what else this service keeps secret.

use chassis::{
    Database, Time, args,
    store::{self, FromRow, Row, Tx},
};
use contracts::mesh::v1::ErrorReason;

use super::on_constraint;
use crate::error::Error;

chassis::statements! {
    /// Every key.
    ALL = "
        select kid, pkcs8, expire_time from signing_key order by create_time, kid";
    /// How many keys sign: one, or none before the first start.
    COUNT_SIGNING = "
        select cast(count(*) as bigint) from signing_key where state = 'SIGNING'";
    /// The first key, unless another replica made one.
    INSERT_FIRST = "
        insert into signing_key (kid, pkcs8, state, create_time) values ($1, $2, 'SIGNING', $3)
        on conflict do nothing";
    /// The next key.
    INSERT = "
        insert into signing_key (kid, pkcs8, state, create_time) values ($1, $2, 'SIGNING', $3)";
    /// The key that signs stops doing so.
    RETIRE = "
        update signing_key set state = 'RETIRED', expire_time = $1 where state = 'SIGNING' returning kid";
    /// Retired keys stop verifying.
    WITHDRAW = "
        update signing_key set expire_time = $1 where state = 'RETIRED' and expire_time > $1";
    /// Forgets keys that nothing refers to any more.
    SWEEP = "
        delete from signing_key where state = 'RETIRED' and expire_time < $1";
    /// A secret, unless it is there.
    INSERT_SECRET = "
        insert into secret (name, value) values ($1, $2) on conflict (name) do nothing";
    /// A secret.
    FIND_SECRET = "
        select value from secret where name = $1";
}

/// A signing key. Secret.
pub(crate) struct KeyRow {
    pub kid: String,
    pub pkcs8: Vec<u8>,
    /// Of a retired key: until when it verifies.
    pub expire_time: Option<Time>,
}

impl FromRow for KeyRow {
    fn from_row(row: &Row<'_>) -> Result<Self, store::Error> {
        Ok(Self {
            kid: row.get("kid")?,
            pkcs8: row.get("pkcs8")?,
            expire_time: row.get("expire_time")?,
        })
    }
}

/// Every key.
pub(crate) async fn all(database: &Database) -> Result<Vec<KeyRow>, store::Error> {
    database.fetch_all(ALL, args![]).await
}

/// Whether there is a key to sign with.
pub(crate) async fn any_signs(database: &Database) -> Result<bool, store::Error> {
    let count: i64 = database.fetch_one(COUNT_SIGNING, args![]).await?;
    Ok(count > 0)
}

/// Keeps the first key, unless another replica was faster.
pub(crate) async fn insert_first(
    database: &Database,
    key: KeyRow,
    now: Time,
) -> Result<(), store::Error> {
    database
        .write(move |tx| {
            Box::pin(async move {
                tx.execute(INSERT_FIRST, args![key.kid, key.pkcs8, now]).await?;
                Ok(())
            })
        })
        .await
}

/// Puts a key in the place of the one that signs, which verifies until
/// `expire_time`. Returns the name of the old one.
pub(crate) async fn rotate(
    tx: &mut Tx,
    key: KeyRow,
    expire_time: Time,
    now: Time,
) -> Result<String, Error> {
    let previous: Option<String> = tx.fetch_optional(RETIRE, args![expire_time]).await?;
    tx.execute(INSERT, args![key.kid, key.pkcs8, now]).await.map_err(|error| {
        on_constraint(error, |name| {
            (name == "signing_key_state_key").then(|| {
                Error::Refused(
                    chassis::Fault::aborted(ErrorReason::Conflict)
                        .message("the key was being rotated already"),
                )
            })
        })
    })?;
    Ok(previous.unwrap_or_default())
}

/// Ends the verification by every retired key.
pub(crate) async fn withdraw(tx: &mut Tx, now: Time) -> Result<(), store::Error> {
    tx.execute(WITHDRAW, args![now]).await?;
    Ok(())
}

/// Forgets keys that stopped verifying before `before`.
pub(crate) async fn sweep(tx: &mut Tx, before: Time) -> Result<u64, store::Error> {
    tx.execute(SWEEP, args![before]).await
}

/// The secret of this name; `made` becomes it if there is none.
pub(crate) async fn secret_or_insert(
    database: &Database,
    name: &'static str,
    made: Vec<u8>,
) -> Result<Vec<u8>, store::Error> {
    database
        .write(move |tx| {
            Box::pin(async move {
                tx.execute(INSERT_SECRET, args![name, made]).await?;
                tx.fetch_one(FIND_SECRET, args![name]).await
            })
        })
        .await
}
