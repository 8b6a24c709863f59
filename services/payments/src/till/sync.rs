//! Asking the provider what became of something.

use super::{LEASE, Till};
use crate::{
    domain::{Attempt, AttemptState, Intent, Question, sync_delay},
    error::Error,
    provider::ProviderError,
    store,
};

/// How many attempts, and how many refunds, one round asks about.
const SYNC_BATCH: i64 = 50;

impl Till {
    /// Asks about an intent's last attempt, and applies the provider's word.
    pub(crate) async fn sync(&self, intent_id: &str) -> Result<Intent, Error> {
        let intent = store::intent::find(&self.database, intent_id, None).await?;
        let Some(attempt_id) = intent.attempt_id.clone() else { return Ok(intent) };
        let attempt = store::attempt::read(&self.database, &attempt_id).await?;
        let Some(question) = attempt.state.question() else { return Ok(intent) };
        // Whoever has just sent it is still waiting for the answer.
        let waiting =
            attempt.state == AttemptState::Sent && self.clock.now() < attempt.update_time + LEASE;
        let outcome = match question {
            Question::Charge => match self.patiently(self.provider.find(&attempt.id)).await {
                Ok(Some(charge)) => Ok(charge),
                Ok(None) if waiting || !never_arrived(&attempt) => return Ok(intent),
                // It is not there, and now it never will be.
                Ok(None) => self.patiently(self.provider.void(&attempt.id)).await,
                Err(ProviderError::Lost) if waiting => return Ok(intent),
                Err(error) => Err(error),
            },
            Question::Capture | Question::Void => self.ask_again(&intent, &attempt, question).await,
        };
        self.apply((intent, attempt), outcome, None).await.map(|applied| applied.intent)
    }

    /// Asks about everything whose time in the schedule has come.
    pub(crate) async fn sync_due(self) -> Result<(), Error> {
        let now = self.clock.now();
        for (attempt_id, intent_id, asked) in
            store::attempt::due(&self.database, now, SYNC_BATCH).await?
        {
            let next = now + sync_delay(asked.saturating_add(1));
            let ours = self
                .database
                .write(move |tx| {
                    Box::pin(
                        async move { store::attempt::claim(tx, &attempt_id, asked, next).await },
                    )
                })
                .await?;
            if ours && let Err(error) = self.sync(&intent_id).await {
                tracing::warn!(%error, intent.id = intent_id, "payment {intent_id} could not be synced");
            }
        }
        for (refund_id, asked) in store::refund::due(&self.database, now, SYNC_BATCH).await? {
            let next = now + sync_delay(asked.saturating_add(1));
            let id = refund_id.clone();
            let ours = self
                .database
                .write(move |tx| {
                    Box::pin(async move { store::refund::claim(tx, &id, asked, next).await })
                })
                .await?;
            if ours && let Err(error) = self.sync_refund(&refund_id).await {
                tracing::warn!(%error, refund.id = refund_id, "refund {refund_id} could not be synced");
            }
        }
        Ok(())
    }
}

/// Whether a key that the provider does not know means that nothing ever reached
/// it: of what it has spoken of before, it has merely forgotten.
fn never_arrived(attempt: &Attempt) -> bool {
    attempt.reference.is_none()
        && matches!(attempt.state, AttemptState::Sent | AttemptState::Unknown)
}
