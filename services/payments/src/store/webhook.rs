//! What providers told, as it came and what came of it.

use chassis::{
    Database, Time, args,
    store::{Error as StoreError, FromRow, Row, Tx},
};

use super::{Below, named};
use crate::{domain::WebhookStatus, error::Error};

macro_rules! columns {
    () => {
        "webhook_event_id, provider, provider_event_id, kind, status, payment_intent_id, note, payload, receive_time,
            process_time"
    };
}

chassis::statements! {
    /// A new one, unless it is known.
    INSERT_WEBHOOK = concat!("insert into webhook_event (", columns!(), ")
        values ($1, $2, $3, $4, 'RECEIVED', null, '', $5, $6, null)
        on conflict (provider, provider_event_id) do nothing");
    /// The id of one that is known.
    FIND_WEBHOOK_ID = "select webhook_event_id from webhook_event where provider = $1 and provider_event_id = $2";
    /// One, held until the transaction ends.
    LOCK_WEBHOOK = concat!("select ", columns!(), " from webhook_event where webhook_event_id = $1 {{FOR_UPDATE}}");
    /// What came of one.
    MARK_WEBHOOK = "update webhook_event set status = $2, payment_intent_id = $3, note = $4, process_time = $5
        where webhook_event_id = $1";
    /// Those that wait.
    LIST_RECEIVED_WEBHOOKS = "select webhook_event_id from webhook_event
        where status = 'RECEIVED' and receive_time <= $1 order by receive_time limit $2";
    /// All, newest first.
    LIST_WEBHOOKS = concat!("select ", columns!(), " from webhook_event
        where (receive_time, webhook_event_id) < ($1, $2) and (cast($4 as text) is null or status = $4)
        order by receive_time desc, webhook_event_id desc limit $3");
    /// Those about an intent.
    LIST_WEBHOOKS_OF_INTENT = concat!("select ", columns!(), " from webhook_event
        where payment_intent_id = $5 and (receive_time, webhook_event_id) < ($1, $2)
            and (cast($4 as text) is null or status = $4)
        order by receive_time desc, webhook_event_id desc limit $3");
}

/// One event.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    pub(crate) id: String,
    pub(crate) provider: String,
    pub(crate) provider_event_id: String,
    pub(crate) kind: String,
    pub(crate) status: WebhookStatus,
    pub(crate) intent_id: Option<String>,
    pub(crate) note: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) receive_time: Time,
    pub(crate) process_time: Option<Time>,
}

/// What a list is narrowed to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) intent_id: Option<String>,
    pub(crate) status: Option<WebhookStatus>,
}

impl FromRow for Webhook {
    fn from_row(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("webhook_event_id")?,
            provider: row.get("provider")?,
            provider_event_id: row.get("provider_event_id")?,
            kind: row.get("kind")?,
            status: named(row, "status", WebhookStatus::parse)?,
            intent_id: row.get("payment_intent_id")?,
            note: row.get("note")?,
            payload: row.get("payload")?,
            receive_time: row.get("receive_time")?,
            process_time: row.get("process_time")?,
        })
    }
}

/// Keeps an event as it came. The id of the first of its name, and whether it
/// was known.
pub(crate) async fn receive(
    tx: &mut Tx,
    id: &str,
    provider: &str,
    provider_event_id: &str,
    kind: &str,
    payload: &[u8],
    now: Time,
) -> Result<(String, bool), StoreError> {
    let arguments = args![id, provider, provider_event_id, kind, payload, now];
    if tx.execute(INSERT_WEBHOOK, arguments).await? == 1 {
        return Ok((id.to_owned(), false));
    }
    Ok((tx.fetch_one(FIND_WEBHOOK_ID, args![provider, provider_event_id]).await?, true))
}

/// One, held until the transaction ends.
pub(crate) async fn lock(tx: &mut Tx, id: &str) -> Result<Webhook, Error> {
    tx.fetch_optional(LOCK_WEBHOOK, args![id]).await?.ok_or(Error::WebhookEventNotFound)
}

/// Says what came of one.
pub(crate) async fn mark(tx: &mut Tx, event: &Webhook) -> Result<(), StoreError> {
    let arguments =
        args![&event.id, event.status.as_str(), &event.intent_id, &event.note, event.process_time];
    tx.execute(MARK_WEBHOOK, arguments).await.map(drop)
}

/// Those that wait since before a time.
pub(crate) async fn received(
    database: &Database,
    before: Time,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    database.fetch_all(LIST_RECEIVED_WEBHOOKS, args![before, limit]).await
}

/// A page of them, newest first.
pub(crate) async fn list(
    database: &Database,
    filter: &Filter,
    Below(time, id): Below,
    limit: i64,
) -> Result<Vec<Webhook>, StoreError> {
    let status = filter.status.map(WebhookStatus::as_str);
    match &filter.intent_id {
        Some(intent_id) => {
            database
                .fetch_all(LIST_WEBHOOKS_OF_INTENT, args![time, id, limit, status, intent_id])
                .await
        }
        None => database.fetch_all(LIST_WEBHOOKS, args![time, id, limit, status]).await,
    }
}
