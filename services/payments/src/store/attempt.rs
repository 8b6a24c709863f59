//! Attempts. They change only together with their intent's version; what the
//! schedule counts is apart from that and guarded by its own counter.

use chassis::{
    Database, Time, args,
    store::{Error as StoreError, FromRow, Row, Tx},
};

use super::{currency, failure, failure_columns, named, perhaps};
use crate::domain::{Attempt, AttemptState, CancellationReason};

macro_rules! columns {
    () => {
        "attempt_id, payment_intent_id, state, operation, provider, provider_reference, payment_method, amount,
            currency, provider_amount, provider_currency, capture_amount, cancellation_reason, error_code,
            error_provider_code, sync_count, next_sync_time, create_time, update_time"
    };
}

chassis::statements! {
    /// A new one.
    INSERT_ATTEMPT = concat!("insert into attempt (", columns!(), ")
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)");
    /// One.
    FIND_ATTEMPT = concat!("select ", columns!(), " from attempt where attempt_id = $1");
    /// Changes one, under the version of its intent.
    SAVE_ATTEMPT = "update attempt set
            state = $2,
            operation = $3,
            provider_reference = $4,
            provider_amount = $5,
            provider_currency = $6,
            capture_amount = $7,
            cancellation_reason = $8,
            error_code = $9,
            error_provider_code = $10,
            sync_count = $11,
            next_sync_time = $12,
            update_time = $13
        where attempt_id = $1";
    /// Those of an intent, the first one first.
    LIST_ATTEMPTS = concat!("select ", columns!(), " from attempt
        where payment_intent_id = $1 and (create_time, attempt_id) > ($2, $3)
        order by create_time, attempt_id limit $4");
    /// Those that the provider is to be asked about.
    LIST_DUE_ATTEMPTS = "select attempt_id, payment_intent_id, sync_count from attempt
        where next_sync_time <= $1 order by next_sync_time limit $2";
    /// Takes one's turn in the schedule, unless somebody else has.
    CLAIM_ATTEMPT = "update attempt set sync_count = sync_count + 1, next_sync_time = $3
        where attempt_id = $1 and sync_count = $2 and next_sync_time is not null";
}

impl FromRow for Attempt {
    fn from_row(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("attempt_id")?,
            intent_id: row.get("payment_intent_id")?,
            state: named(row, "state", AttemptState::parse)?,
            operation: row.get("operation")?,
            provider: row.get("provider")?,
            reference: row.get("provider_reference")?,
            payment_method: row.get("payment_method")?,
            amount: row.get("amount")?,
            currency: currency(row)?,
            provider_amount: row.get("provider_amount")?,
            provider_currency: row.get("provider_currency")?,
            capture_amount: row.get("capture_amount")?,
            cancellation_reason: perhaps(row, "cancellation_reason", CancellationReason::parse)?,
            error: failure(row)?,
            sync_count: row.get("sync_count")?,
            next_sync_time: row.get("next_sync_time")?,
            create_time: row.get("create_time")?,
            update_time: row.get("update_time")?,
        })
    }
}

/// Keeps a new one.
pub(crate) async fn insert(tx: &mut Tx, attempt: &Attempt) -> Result<(), StoreError> {
    let (code, provider_code) = failure_columns(attempt.error.as_ref());
    tx.execute(
        INSERT_ATTEMPT,
        args![
            &attempt.id,
            &attempt.intent_id,
            attempt.state.as_str(),
            &attempt.operation,
            &attempt.provider,
            &attempt.reference,
            &attempt.payment_method,
            attempt.amount,
            attempt.currency.code(),
            attempt.provider_amount,
            &attempt.provider_currency,
            attempt.capture_amount,
            attempt.cancellation_reason.map(CancellationReason::as_str),
            code,
            provider_code,
            attempt.sync_count,
            attempt.next_sync_time,
            attempt.create_time,
            attempt.update_time,
        ],
    )
    .await
    .map(drop)
}

/// One, in a transaction that holds its intent.
pub(crate) async fn get(tx: &mut Tx, id: &str) -> Result<Attempt, StoreError> {
    tx.fetch_one(FIND_ATTEMPT, args![id]).await
}

/// One, if there is one.
pub(crate) async fn find(tx: &mut Tx, id: &str) -> Result<Option<Attempt>, StoreError> {
    tx.fetch_optional(FIND_ATTEMPT, args![id]).await
}

/// One, outside of any transaction.
pub(crate) async fn read(database: &Database, id: &str) -> Result<Attempt, StoreError> {
    database.fetch_one(FIND_ATTEMPT, args![id]).await
}

/// Changes one, in a transaction that changes its intent.
pub(crate) async fn save(tx: &mut Tx, attempt: &mut Attempt, now: Time) -> Result<(), StoreError> {
    let (code, provider_code) = failure_columns(attempt.error.as_ref());
    attempt.update_time = now;
    tx.execute(
        SAVE_ATTEMPT,
        args![
            &attempt.id,
            attempt.state.as_str(),
            &attempt.operation,
            &attempt.reference,
            attempt.provider_amount,
            &attempt.provider_currency,
            attempt.capture_amount,
            attempt.cancellation_reason.map(CancellationReason::as_str),
            code,
            provider_code,
            attempt.sync_count,
            attempt.next_sync_time,
            now,
        ],
    )
    .await
    .map(drop)
}

/// A page of those of an intent, the first one first.
pub(crate) async fn list(
    database: &Database,
    intent_id: &str,
    after: Option<(i64, String)>,
    limit: i64,
) -> Result<Vec<Attempt>, StoreError> {
    let (time, id) = after.unwrap_or_default();
    database.fetch_all(LIST_ATTEMPTS, args![intent_id, time, id, limit]).await
}

/// Those that the provider is to be asked about: attempt, intent and how often
/// it was asked.
pub(crate) async fn due(
    database: &Database,
    now: Time,
    limit: i64,
) -> Result<Vec<(String, String, i64)>, StoreError> {
    database.fetch_all(LIST_DUE_ATTEMPTS, args![now, limit]).await
}

/// Takes one's turn in the schedule. `false` if somebody else has.
pub(crate) async fn claim(
    tx: &mut Tx,
    id: &str,
    asked: i64,
    next: Time,
) -> Result<bool, StoreError> {
    Ok(tx.execute(CLAIM_ATTEMPT, args![id, asked, next]).await? == 1)
}
