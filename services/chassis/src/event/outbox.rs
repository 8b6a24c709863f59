//! Events on their way out.

use std::{collections::HashMap, time::Duration};

use contracts::io::cloudevents::v1::{
    CloudEvent,
    cloud_event::{CloudEventAttributeValue, Data, cloud_event_attribute_value::Attr},
};
use prost::{Message, Name};
use prost_types::Any;

use crate::{
    Time, args,
    store::{Database, Error, Tx},
};

/// How long an event can be pulled.
pub const OUTBOX_KEEP: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How long a consumer remembers what it had: longer than it can be delivered.
pub const INBOX_KEEP: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// How many rows one sweep deletes at most, of each sort.
const SWEEP_MAX: i64 = 1_000;
/// The specification that the envelopes follow.
const SPEC_VERSION: &str = "1.0";
const TYPE_URL_PREFIX: &str = "type.googleapis.com/";

/// Held from the first event of a transaction to its end, on PostgreSQL: see
/// [`Tx::publish`]. It spells "outbox".
const LOCK: i64 = 0x006f_7574_626f_7800;

crate::statements! {
    /// An event, in the transaction that made it true.
    ADD_EVENT = "insert into outbox (event_id, kind, subject, envelope, create_time) values ($1, $2, $3, $4, $5)";
    /// Forgets old events: those before the first that is not old, which is found
    /// in the order of `seq` without an index that every event would pay for.
    SWEEP_OUTBOX = "delete from outbox where seq in (
        select seq from outbox where create_time < $1 and seq < coalesce(
            (select young.seq from outbox young where young.create_time >= $1 order by young.seq limit 1),
            (select max(newest.seq) + 1 from outbox newest))
        order by seq limit $2)";
    /// Forgets what was had long ago.
    SWEEP_INBOX = "delete from inbox where (consumer, event_id) in (
        select consumer, event_id from inbox where create_time < $1 order by create_time limit $2)";
}

/// Something that happened to an aggregate.
#[derive(Debug, Clone)]
pub struct Event {
    kind: String,
    data: Vec<u8>,
    subject: String,
    version: i64,
    actor: Option<String>,
    correlation: Option<String>,
}

// === impl Event ===

impl Event {
    /// An event whose data is this message, `<Noun><PastVerb>` of the contract.
    pub fn new<M: Message + Name>(message: &M) -> Self {
        Self {
            kind: M::full_name(),
            data: message.encode_to_vec(),
            subject: String::new(),
            version: 0,
            actor: None,
            correlation: None,
        }
    }

    /// The id of the aggregate it happened to: events of one subject are
    /// delivered in order.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    /// The aggregate's version after it.
    #[must_use]
    pub fn version(mut self, version: i64) -> Self {
        self.version = version;
        self
    }

    /// Who did it, if that is not the caller.
    #[must_use]
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = Some(actor.into());
        self
    }

    /// The story it belongs to, if that is not its cause's.
    #[must_use]
    pub fn correlation(mut self, correlation: impl Into<String>) -> Self {
        self.correlation = Some(correlation.into());
        self
    }

    fn envelope(self, id: &str, time: Time, tx: &Tx) -> CloudEvent {
        let origin = tx.origin();
        let correlation = self
            .correlation
            .or_else(|| origin.correlation.clone())
            .unwrap_or_else(|| id.to_owned());
        // The specification's integers have 32 bits.
        let version = match i32::try_from(self.version) {
            Ok(version) => Attr::CeInteger(version),
            Err(_) => Attr::CeString(self.version.to_string()),
        };
        let texts = [
            ("actor", self.actor.or_else(|| origin.actor.clone())),
            ("traceparent", origin.traceparent.clone()),
            ("causationid", origin.causation.clone()),
        ];
        let attributes: HashMap<String, CloudEventAttributeValue> = [
            ("subject", Attr::CeString(self.subject)),
            ("time", Attr::CeTimestamp(time.timestamp())),
            ("aggregateversion", version),
            ("correlationid", Attr::CeString(correlation)),
        ]
        .into_iter()
        .chain(texts.into_iter().filter_map(|(name, text)| Some((name, Attr::CeString(text?)))))
        .map(|(name, attr)| (name.to_owned(), CloudEventAttributeValue { attr: Some(attr) }))
        .collect();
        CloudEvent {
            id: id.to_owned(),
            source: format!("/{}", tx.service()),
            spec_version: SPEC_VERSION.to_owned(),
            data: Some(Data::ProtoData(Any {
                type_url: format!("{TYPE_URL_PREFIX}{}", self.kind),
                value: self.data,
            })),
            r#type: self.kind,
            attributes,
        }
    }
}

// === impl Tx ===

impl Tx {
    /// Adds an event to the outbox: it leaves when this transaction is committed,
    /// and never otherwise. Returns its id.
    ///
    /// On PostgreSQL a sequence gives its numbers before the commit: a reader
    /// that has seen number 8 would skip number 7 of a transaction that commits
    /// later. So transactions that publish take turns from here to their end,
    /// and the numbers are in the order of the commits.
    pub async fn publish(&mut self, event: Event) -> Result<String, Error> {
        self.lock(LOCK).await?;
        let id = self.clock().id();
        let now = self.clock().now();
        let envelope = event.envelope(&id, now, self);
        let subject = match envelope.attributes.get("subject").and_then(|value| value.attr.as_ref())
        {
            Some(Attr::CeString(subject)) => subject.as_str(),
            _ => "",
        };
        let arguments =
            args![id.as_str(), envelope.r#type.as_str(), subject, envelope.encode_to_vec(), now];
        self.execute(ADD_EVENT, arguments).await?;
        self.note_published();
        Ok(id)
    }
}

// === impl Database ===

impl Database {
    /// Forgets what is older than it must be kept: events, what was had of
    /// others', answers of mutating calls. Run it every few minutes.
    pub async fn sweep(&self) -> Result<(), Error> {
        self.sweep_idempotency().await?;
        self.write(|tx| {
            Box::pin(async move {
                let now = tx.clock().now();
                tx.execute(SWEEP_OUTBOX, args![now - OUTBOX_KEEP, SWEEP_MAX]).await?;
                tx.execute(SWEEP_INBOX, args![now - INBOX_KEEP, SWEEP_MAX]).await?;
                Ok(())
            })
        })
        .await
    }
}
