//! Intents. Their version is the lock of a payment: whatever changes an intent,
//! or the attempt that is its last, changes the version in the same transaction.

use chassis::{
    Database, Time, args,
    store::{Error as StoreError, FromRow, Row, Tx},
};

use super::{Below, currency, failure, failure_columns, named, perhaps};
use crate::{
    domain::{Action, CancellationReason, CaptureMethod, Intent, IntentStatus},
    error::Error,
};

macro_rules! columns {
    () => {
        "payment_intent_id, operation, order_id, customer_id, currency, amount, capture_method, status,
            payment_method, return_uri, amount_authorized, amount_captured, amount_refunded, amount_refund_pending,
            attempt_id, attempt_count, action_uri, action_expire_time, authorization_expire_time, error_code,
            error_provider_code, cancellation_reason, version, create_time, update_time"
    };
}

chassis::statements! {
    /// A new one, unless the call was made before or the order has an open one.
    INSERT_INTENT = concat!("insert into payment_intent (", columns!(), ")
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
            $23, $24, $25)
        on conflict do nothing");
    /// The one that a call made.
    FIND_INTENT_BY_OPERATION = concat!("select ", columns!(), " from payment_intent where operation = $1");
    /// The one of an order that is open.
    FIND_OPEN_INTENT = "select payment_intent_id from payment_intent
        where order_id = $1 and status not in ('SUCCEEDED', 'CANCELED', 'EXPIRED')";
    /// One, of one owner if one is given.
    FIND_INTENT = concat!("select ", columns!(), " from payment_intent
        where payment_intent_id = $1 and (cast($2 as text) is null or customer_id = $2)");
    /// The same, held until the transaction ends.
    LOCK_INTENT = concat!("select ", columns!(), " from payment_intent
        where payment_intent_id = $1 and (cast($2 as text) is null or customer_id = $2) {{FOR_UPDATE}}");
    /// Changes one that is still as it was read.
    SAVE_INTENT = "update payment_intent set
            status = $3,
            payment_method = $4,
            return_uri = $5,
            amount_authorized = $6,
            amount_captured = $7,
            amount_refunded = $8,
            amount_refund_pending = $9,
            attempt_id = $10,
            attempt_count = $11,
            action_uri = $12,
            action_expire_time = $13,
            authorization_expire_time = $14,
            error_code = $15,
            error_provider_code = $16,
            cancellation_reason = $17,
            update_time = $18,
            version = $2 + 1
        where payment_intent_id = $1 and version = $2";
    /// All, newest first.
    LIST_INTENTS = concat!("select ", columns!(), " from payment_intent
        where (create_time, payment_intent_id) < ($1, $2)
        order by create_time desc, payment_intent_id desc limit $3");
    /// Those of an order.
    LIST_INTENTS_OF_ORDER = concat!("select ", columns!(), " from payment_intent
        where order_id = $4 and (create_time, payment_intent_id) < ($1, $2)
            and (cast($5 as text) is null or customer_id = $5) and (cast($6 as text) is null or status = $6)
        order by create_time desc, payment_intent_id desc limit $3");
    /// Those of a customer.
    LIST_INTENTS_OF_CUSTOMER = concat!("select ", columns!(), " from payment_intent
        where customer_id = $4 and (create_time, payment_intent_id) < ($1, $2)
            and (cast($5 as text) is null or status = $5)
        order by create_time desc, payment_intent_id desc limit $3");
    /// Those in a status.
    LIST_INTENTS_IN_STATUS = concat!("select ", columns!(), " from payment_intent
        where status = $4 and (create_time, payment_intent_id) < ($1, $2)
        order by create_time desc, payment_intent_id desc limit $3");
}

/// What a list is narrowed to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) order_id: Option<String>,
    pub(crate) customer_id: Option<String>,
    pub(crate) status: Option<IntentStatus>,
}

impl FromRow for Intent {
    fn from_row(row: &Row<'_>) -> Result<Self, StoreError> {
        let uri: Option<String> = row.get("action_uri")?;
        let expire_time: Option<Time> = row.get("action_expire_time")?;
        Ok(Self {
            id: row.get("payment_intent_id")?,
            operation: row.get("operation")?,
            order_id: row.get("order_id")?,
            customer_id: row.get("customer_id")?,
            currency: currency(row)?,
            amount: row.get("amount")?,
            capture_method: named(row, "capture_method", CaptureMethod::parse)?,
            status: named(row, "status", IntentStatus::parse)?,
            payment_method: row.get("payment_method")?,
            return_uri: row.get("return_uri")?,
            authorized: row.get("amount_authorized")?,
            captured: row.get("amount_captured")?,
            refunded: row.get("amount_refunded")?,
            refund_pending: row.get("amount_refund_pending")?,
            attempt_id: row.get("attempt_id")?,
            attempt_count: row.get("attempt_count")?,
            action: uri.zip(expire_time).map(|(uri, expire_time)| Action { uri, expire_time }),
            authorization_expire_time: row.get("authorization_expire_time")?,
            error: failure(row)?,
            cancellation_reason: perhaps(row, "cancellation_reason", CancellationReason::parse)?,
            version: row.get("version")?,
            create_time: row.get("create_time")?,
            update_time: row.get("update_time")?,
        })
    }
}

/// Keeps a new one. `false` if the call was made before, or the order has an
/// open one.
pub(crate) async fn insert(tx: &mut Tx, intent: &Intent) -> Result<bool, StoreError> {
    let (code, provider_code) = failure_columns(intent.error.as_ref());
    let inserted = tx
        .execute(
            INSERT_INTENT,
            args![
                &intent.id,
                &intent.operation,
                &intent.order_id,
                &intent.customer_id,
                intent.currency.code(),
                intent.amount,
                intent.capture_method.as_str(),
                intent.status.as_str(),
                &intent.payment_method,
                &intent.return_uri,
                intent.authorized,
                intent.captured,
                intent.refunded,
                intent.refund_pending,
                &intent.attempt_id,
                intent.attempt_count,
                intent.action.as_ref().map(|action| action.uri.as_str()),
                intent.action.as_ref().map(|action| action.expire_time),
                intent.authorization_expire_time,
                code,
                provider_code,
                intent.cancellation_reason.map(CancellationReason::as_str),
                intent.version,
                intent.create_time,
                intent.update_time,
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// The one that a call made, or the open one that is in its way.
pub(crate) async fn find_by_operation(
    tx: &mut Tx,
    operation: &str,
    order_id: &str,
) -> Result<Intent, Error> {
    if let Some(intent) = tx.fetch_optional(FIND_INTENT_BY_OPERATION, args![operation]).await? {
        return Ok(intent);
    }
    match tx.fetch_optional::<String>(FIND_OPEN_INTENT, args![order_id]).await? {
        Some(intent_id) => Err(Error::OrderIntentExists { intent_id }),
        None => Err(Error::Stale),
    }
}

/// One, of one owner if one is given.
pub(crate) async fn find(
    database: &Database,
    id: &str,
    owner: Option<&str>,
) -> Result<Intent, Error> {
    database.fetch_optional(FIND_INTENT, args![id, owner]).await?.ok_or(Error::IntentNotFound)
}

/// The same, held until the transaction ends.
pub(crate) async fn lock(tx: &mut Tx, id: &str, owner: Option<&str>) -> Result<Intent, Error> {
    tx.fetch_optional(LOCK_INTENT, args![id, owner]).await?.ok_or(Error::IntentNotFound)
}

/// Changes one that is still as it was read; [`Error::Stale`] if it is not.
pub(crate) async fn save(tx: &mut Tx, intent: &mut Intent, now: Time) -> Result<(), Error> {
    let (code, provider_code) = failure_columns(intent.error.as_ref());
    let saved = tx
        .execute(
            SAVE_INTENT,
            args![
                &intent.id,
                intent.version,
                intent.status.as_str(),
                &intent.payment_method,
                &intent.return_uri,
                intent.authorized,
                intent.captured,
                intent.refunded,
                intent.refund_pending,
                &intent.attempt_id,
                intent.attempt_count,
                intent.action.as_ref().map(|action| action.uri.as_str()),
                intent.action.as_ref().map(|action| action.expire_time),
                intent.authorization_expire_time,
                code,
                provider_code,
                intent.cancellation_reason.map(CancellationReason::as_str),
                now,
            ],
        )
        .await?;
    if saved == 0 {
        return Err(Error::Stale);
    }
    intent.version += 1;
    intent.update_time = now;
    Ok(())
}

/// A page of them, newest first.
pub(crate) async fn list(
    database: &Database,
    filter: &Filter,
    Below(time, id): Below,
    limit: i64,
) -> Result<Vec<Intent>, StoreError> {
    let status = filter.status.map(IntentStatus::as_str);
    match (&filter.order_id, &filter.customer_id, status) {
        (Some(order_id), customer_id, status) => {
            let arguments = args![time, id, limit, order_id, customer_id, status];
            database.fetch_all(LIST_INTENTS_OF_ORDER, arguments).await
        }
        (None, Some(customer_id), status) => {
            database
                .fetch_all(LIST_INTENTS_OF_CUSTOMER, args![time, id, limit, customer_id, status])
                .await
        }
        (None, None, Some(status)) => {
            database.fetch_all(LIST_INTENTS_IN_STATUS, args![time, id, limit, status]).await
        }
        (None, None, None) => database.fetch_all(LIST_INTENTS, args![time, id, limit]).await,
    }
}
