//! Events on their way in.

use bytes::Bytes;
use contracts::{
    io::cloudevents::v1::{
        CloudEvent,
        cloud_event::{Data, cloud_event_attribute_value::Attr},
    },
    mesh::v1::FeedEvent,
};
use prost::{Message, Name};

use crate::{Time, store::Origin};

/// An event as a consumer gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Names it; the same if it is delivered again.
    pub id: String,
    /// The full name of the message that is its data: "mercat.orders.v1.OrderPlaced".
    pub kind: String,
    /// The id of the aggregate it happened to.
    pub subject: String,
    /// The aggregate's version after it.
    pub version: i64,
    /// When it happened.
    pub time: Time,
    /// The encoded message.
    pub data: Bytes,
    /// The trace it happened in.
    pub traceparent: Option<String>,
    /// Who did it.
    pub actor: Option<String>,
    /// The story it belongs to.
    pub correlation: Option<String>,
    /// Its position in the feed; 0 if it comes from the dead letters.
    pub(super) seq: i64,
    /// As it came.
    pub(super) envelope: CloudEvent,
}

// === impl Delivery ===

impl Delivery {
    /// The data, if it is of this type and can be read.
    pub fn decode<M: Message + Name + Default>(&self) -> Option<M> {
        if self.kind != M::full_name() {
            return None;
        }
        M::decode(self.data.clone())
            .inspect_err(|problem| tracing::error!(event = self.id, kind = self.kind, %problem, "an event is malformed"))
            .ok()
    }

    pub(super) fn of_feed(event: FeedEvent) -> Self {
        Self::new(event.seq, event.event.unwrap_or_default())
    }

    pub(super) fn new(seq: i64, envelope: CloudEvent) -> Self {
        let data = match &envelope.data {
            Some(Data::ProtoData(any)) => Bytes::copy_from_slice(&any.value),
            Some(Data::BinaryData(bytes)) => bytes.clone(),
            Some(Data::TextData(text)) => Bytes::copy_from_slice(text.as_bytes()),
            None => Bytes::new(),
        };
        let attr = |name: &str| envelope.attributes.get(name).and_then(|value| value.attr.as_ref());
        let text = |name: &str| match attr(name) {
            Some(Attr::CeString(text)) => Some(text.clone()),
            _ => None,
        };
        let version = match attr("aggregateversion") {
            Some(Attr::CeInteger(version)) => i64::from(*version),
            Some(Attr::CeString(version)) => version.parse().unwrap_or_default(),
            _ => 0,
        };
        let time = match attr("time") {
            Some(Attr::CeTimestamp(time)) => Time::from(*time),
            _ => Time::default(),
        };
        let (subject, traceparent) = (text("subject").unwrap_or_default(), text("traceparent"));
        let (actor, correlation) = (text("actor"), text("correlationid"));
        Self {
            id: envelope.id.clone(),
            kind: envelope.r#type.clone(),
            subject,
            version,
            time,
            data,
            traceparent,
            actor,
            correlation,
            seq,
            envelope,
        }
    }

    /// What the events that this one causes carry of it.
    pub(super) fn origin(&self) -> Origin {
        Origin {
            traceparent: self.traceparent.clone(),
            actor: self.actor.clone(),
            correlation: self.correlation.clone(),
            causation: Some(self.id.clone()),
        }
    }
}
