//! Refunds. They change only together with their intent's version; what the
//! schedule counts is guarded by its own counter.

use chassis::{
    Database, Time, args,
    store::{Error as StoreError, FromRow, Row, Tx},
};

use super::{Below, currency, failure, failure_columns, named};
use crate::{
    domain::{Refund, RefundReason, RefundStatus},
    error::Error,
};

macro_rules! columns {
    () => {
        "refund_id, payment_intent_id, attempt_id, order_id, operation, amount, currency, reason, status,
            provider_reference, error_code, error_provider_code, sync_count, next_sync_time, create_time, update_time"
    };
}

chassis::statements! {
    /// A new one.
    INSERT_REFUND = concat!("insert into refund (", columns!(), ")
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)");
    /// One.
    FIND_REFUND = concat!("select ", columns!(), " from refund where refund_id = $1");
    /// The one that a call made.
    FIND_REFUND_BY_OPERATION = concat!("select ", columns!(), " from refund where operation = $1");
    /// Changes one, under the version of its intent.
    SAVE_REFUND = "update refund set
            status = $2,
            provider_reference = $3,
            error_code = $4,
            error_provider_code = $5,
            next_sync_time = $6,
            update_time = $7
        where refund_id = $1";
    /// All, newest first.
    LIST_REFUNDS = concat!("select ", columns!(), " from refund
        where (create_time, refund_id) < ($1, $2) and (cast($4 as text) is null or status = $4)
        order by create_time desc, refund_id desc limit $3");
    /// Those of an intent.
    LIST_REFUNDS_OF_INTENT = concat!("select ", columns!(), " from refund
        where payment_intent_id = $4 and (create_time, refund_id) < ($1, $2)
            and (cast($5 as text) is null or order_id = $5) and (cast($6 as text) is null or status = $6)
        order by create_time desc, refund_id desc limit $3");
    /// Those of an order.
    LIST_REFUNDS_OF_ORDER = concat!("select ", columns!(), " from refund
        where order_id = $4 and (create_time, refund_id) < ($1, $2) and (cast($5 as text) is null or status = $5)
        order by create_time desc, refund_id desc limit $3");
    /// Those that the provider is to be asked about.
    LIST_DUE_REFUNDS = "select refund_id, sync_count from refund
        where next_sync_time <= $1 order by next_sync_time limit $2";
    /// Takes one's turn in the schedule, unless somebody else has.
    CLAIM_REFUND = "update refund set sync_count = sync_count + 1, next_sync_time = $3
        where refund_id = $1 and sync_count = $2 and next_sync_time is not null";
}

/// What a list is narrowed to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) intent_id: Option<String>,
    pub(crate) order_id: Option<String>,
    pub(crate) status: Option<RefundStatus>,
}

impl FromRow for Refund {
    fn from_row(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("refund_id")?,
            intent_id: row.get("payment_intent_id")?,
            attempt_id: row.get("attempt_id")?,
            order_id: row.get("order_id")?,
            operation: row.get("operation")?,
            amount: row.get("amount")?,
            currency: currency(row)?,
            reason: named(row, "reason", RefundReason::parse)?,
            status: named(row, "status", RefundStatus::parse)?,
            reference: row.get("provider_reference")?,
            error: failure(row)?,
            sync_count: row.get("sync_count")?,
            next_sync_time: row.get("next_sync_time")?,
            create_time: row.get("create_time")?,
            update_time: row.get("update_time")?,
        })
    }
}

/// Keeps a new one.
pub(crate) async fn insert(tx: &mut Tx, refund: &Refund) -> Result<(), StoreError> {
    let (code, provider_code) = failure_columns(refund.error.as_ref());
    tx.execute(
        INSERT_REFUND,
        args![
            &refund.id,
            &refund.intent_id,
            &refund.attempt_id,
            &refund.order_id,
            &refund.operation,
            refund.amount,
            refund.currency.code(),
            refund.reason.as_str(),
            refund.status.as_str(),
            &refund.reference,
            code,
            provider_code,
            refund.sync_count,
            refund.next_sync_time,
            refund.create_time,
            refund.update_time,
        ],
    )
    .await
    .map(drop)
}

/// The one that a call made.
pub(crate) async fn find_by_operation(
    tx: &mut Tx,
    operation: &str,
) -> Result<Option<Refund>, StoreError> {
    tx.fetch_optional(FIND_REFUND_BY_OPERATION, args![operation]).await
}

/// One, in a transaction.
pub(crate) async fn get(tx: &mut Tx, id: &str) -> Result<Refund, Error> {
    tx.fetch_optional(FIND_REFUND, args![id]).await?.ok_or(Error::RefundNotFound)
}

/// One.
pub(crate) async fn find(database: &Database, id: &str) -> Result<Refund, Error> {
    database.fetch_optional(FIND_REFUND, args![id]).await?.ok_or(Error::RefundNotFound)
}

/// Changes one, in a transaction that changes its intent.
pub(crate) async fn save(tx: &mut Tx, refund: &mut Refund, now: Time) -> Result<(), StoreError> {
    let (code, provider_code) = failure_columns(refund.error.as_ref());
    refund.update_time = now;
    tx.execute(
        SAVE_REFUND,
        args![
            &refund.id,
            refund.status.as_str(),
            &refund.reference,
            code,
            provider_code,
            refund.next_sync_time,
            now
        ],
    )
    .await
    .map(drop)
}

/// A page of them, newest first.
pub(crate) async fn list(
    database: &Database,
    filter: &Filter,
    Below(time, id): Below,
    limit: i64,
) -> Result<Vec<Refund>, StoreError> {
    let status = filter.status.map(RefundStatus::as_str);
    match (&filter.intent_id, &filter.order_id) {
        (Some(intent_id), order_id) => {
            let arguments = args![time, id, limit, intent_id, order_id, status];
            database.fetch_all(LIST_REFUNDS_OF_INTENT, arguments).await
        }
        (None, Some(order_id)) => {
            database
                .fetch_all(LIST_REFUNDS_OF_ORDER, args![time, id, limit, order_id, status])
                .await
        }
        (None, None) => database.fetch_all(LIST_REFUNDS, args![time, id, limit, status]).await,
    }
}

/// Those that the provider is to be asked about, and how often it was asked.
pub(crate) async fn due(
    database: &Database,
    now: Time,
    limit: i64,
) -> Result<Vec<(String, i64)>, StoreError> {
    database.fetch_all(LIST_DUE_REFUNDS, args![now, limit]).await
}

/// Takes one's turn in the schedule. `false` if somebody else has.
pub(crate) async fn claim(
    tx: &mut Tx,
    id: &str,
    asked: i64,
    next: Time,
) -> Result<bool, StoreError> {
    Ok(tx.execute(CLAIM_REFUND, args![id, asked, next]).await? == 1)
}
