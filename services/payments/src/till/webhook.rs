//! What the provider tells on its own account: verified, stored, acknowledged,
//! and then processed.

use std::time::Duration;

use chassis::{Tx, store::Error as StoreError};

use super::{Till, settle};
use crate::{
    domain::{WebhookStatus, learn},
    error::Error,
    provider::Notice,
    signature, store,
    store::webhook::Webhook,
};

/// How many events one round of the sweeper takes up.
const WEBHOOK_BATCH: i64 = 100;

/// How long an event may wait before the sweeper takes it up: whoever took it in
/// is at it.
const WEBHOOK_PATIENCE: Duration = Duration::from_secs(5);

/// Whether an event is to be processed once, or once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Unless somebody has.
    First,
    /// Whatever came of it before.
    Again,
}

impl Till {
    /// Takes in one event. Its id here, and whether it was known.
    pub(crate) async fn ingest(
        &self,
        provider: &str,
        payload: &[u8],
        signed: &str,
    ) -> Result<(String, bool), Error> {
        if provider != self.provider.name() {
            return Err(Error::ProviderNotFound);
        }
        let now = self.clock.now();
        signature::verify(&self.secrets, signed, payload, now)?;
        let notice = self.provider.read(payload).map_err(|why| Error::WebhookMalformed { why })?;
        let (provider, payload, id) = (provider.to_owned(), payload.to_owned(), self.clock.id());
        let (id, known) = self
            .database
            .write(move |tx| {
                Box::pin(async move {
                    let Notice { event_id, kind, .. } = &notice;
                    store::webhook::receive(tx, &id, &provider, event_id, kind, &payload, now).await
                })
            })
            .await?;
        if !known {
            let (till, id) = (self.clone(), id.clone());
            self.tasks.spawn("webhook", async move {
                // What fails is left for the sweeper.
                if let Err(error) = till.process(&id, Turn::First).await {
                    tracing::warn!(%error, webhook_event.id = id, "webhook event {id} could not be processed yet");
                }
            });
        }
        Ok((id, known))
    }

    /// Processes an event as it was stored.
    pub(crate) async fn process(&self, id: &str, turn: Turn) -> Result<Webhook, Error> {
        let till = self.clone();
        let id = id.to_owned();
        self.database
            .write(move |tx| {
                Box::pin(async move {
                    let now = tx.clock().now();
                    let mut event = store::webhook::lock(tx, &id).await?;
                    if turn == Turn::First && event.status != WebhookStatus::Received {
                        return Ok(event);
                    }
                    (event.status, event.note) = match till.provider.read(&event.payload) {
                        Ok(notice) => take_to_heart(tx, &mut event.intent_id, &notice).await?,
                        Err(why) => (WebhookStatus::Failed, why),
                    };
                    event.process_time = Some(now);
                    store::webhook::mark(tx, &event).await?;
                    Ok(event)
                })
            })
            .await
    }

    /// Processes what was taken in and not processed: whoever took it in is gone.
    pub(crate) async fn process_left_over(self) -> Result<(), StoreError> {
        let before = self.clock.now() - WEBHOOK_PATIENCE;
        for id in store::webhook::received(&self.database, before, WEBHOOK_BATCH).await? {
            if let Err(error) = self.process(&id, Turn::First).await {
                tracing::warn!(%error, webhook_event.id = id, "webhook event {id} could not be processed");
            }
        }
        Ok(())
    }
}

/// Applies an event to the payment that it is about.
async fn take_to_heart(
    tx: &mut Tx,
    intent_id: &mut Option<String>,
    notice: &Notice,
) -> Result<(WebhookStatus, String), Error> {
    let now = tx.clock().now();
    let Some(found) = store::attempt::find(tx, &notice.key).await? else {
        return Ok((WebhookStatus::Failed, "no attempt has this key".to_owned()));
    };
    *intent_id = Some(found.intent_id.clone());
    let mut intent = store::intent::lock(tx, &found.intent_id, None).await?;
    let mut attempt = store::attempt::get(tx, &found.id).await?;
    let change = learn(&mut intent, &mut attempt, &notice.charge, now)?;
    if !change.moved {
        return Ok((
            WebhookStatus::Ignored,
            format!("it says nothing new: the attempt is {}", attempt.state.as_str()),
        ));
    }
    store::intent::save(tx, &mut intent, now).await?;
    store::attempt::save(tx, &mut attempt, now).await?;
    settle(tx, &intent, &attempt, &change, now).await?;
    Ok((WebhookStatus::Processed, String::new()))
}
