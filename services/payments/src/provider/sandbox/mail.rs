//! The built-in provider's webhooks, on their way to the service's front door.

use chassis::{args, store::Error as StoreError};

use super::{NAME, Sandbox, book};
use crate::{error::Error, signature, till::Till};

/// How many webhooks one round sends at most.
pub const MAIL_BATCH: i64 = 100;

/// Sends what is due, signed, by the way that every webhook comes in.
#[derive(Debug, Clone)]
pub struct Mail {
    sandbox: Sandbox,
    till: Till,
    secret: Vec<u8>,
}

impl Mail {
    /// From the provider to the service, signed with a secret that it knows.
    pub(crate) fn new(sandbox: Sandbox, till: Till, secret: Vec<u8>) -> Self {
        Self { sandbox, till, secret }
    }

    /// Sends what is due. What is not taken in for a passing reason is sent again
    /// next time; what is refused for good is dropped, as a provider gives up.
    pub async fn send(self) -> Result<(), StoreError> {
        let now = self.sandbox.clock.now();
        let due: Vec<(i64, String, String, Option<String>)> =
            self.sandbox.database.fetch_all(book::LIST_MAIL, args![now, MAIL_BATCH]).await?;
        for (seq, event_id, key, payload) in due {
            let payload = match payload {
                Some(payload) => payload,
                None => match self.present(&key, &event_id).await? {
                    Some(payload) => payload,
                    None => continue,
                },
            };
            let signature = signature::sign(&self.secret, payload.as_bytes(), now);
            match self.till.ingest(NAME, payload.as_bytes(), &signature).await {
                Ok(_) => {}
                Err(error @ (Error::Store(_) | Error::Stale)) => {
                    tracing::warn!(%error, "a webhook of the built-in provider was not taken in yet");
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "a webhook of the built-in provider was refused")
                }
            }
            let dropped = self.sandbox.database.write(move |tx| {
                Box::pin(async move { tx.execute(book::DROP_MAIL, args![seq]).await.map(drop) })
            });
            dropped.await?;
        }
        Ok(())
    }

    /// The body of a webhook about a charge as it is by now.
    async fn present(&self, key: &str, event_id: &str) -> Result<Option<String>, StoreError> {
        let (key, now) = (key.to_owned(), self.sandbox.clock.now());
        let found = self
            .sandbox
            .database
            .write(move |tx| {
                Box::pin(async move {
                    book::find(tx, &key, now).await.map_err(book::Broken::into_store)
                })
            })
            .await?;
        Ok(found.map(|entry| entry.payload(event_id, now)))
    }
}
