//! What a person may decide about an instance. Every decision is a line in its log.

use super::{
    Saga, Sagas,
    store::{self, Attempt, Instance, Status},
};
use crate::{Fault, args, store::Tx};

/// A decision about an instance, as it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is carried out as soon as the instance is nudged.
    Taken,
    /// The instance is not in a state that allows it.
    Impossible,
    /// There is no such instance.
    Unknown,
}

impl Sagas {
    /// Asks an instance to go back. `false` if it cannot any more, was asked
    /// already, or does not exist.
    pub async fn interrupt<S: Saga>(
        &self,
        tx: &mut Tx,
        saga_id: &str,
        reason: &str,
    ) -> Result<bool, Fault> {
        let now = self.inner.clock.now();
        Ok(tx.execute(store::INTERRUPT, args![saga_id, reason, now]).await? > 0)
    }

    /// Tries the current step again now; sets a failed instance going again.
    pub async fn retry(&self, tx: &mut Tx, saga_id: &str, actor: &str) -> Result<Decision, Fault> {
        let now = self.inner.clock.now();
        let Some(instance) = self.locked(tx, saga_id).await? else { return Ok(Decision::Unknown) };
        if tx.execute(store::RETRY, args![saga_id, now]).await? == 0 {
            return Ok(Decision::Impossible);
        }
        self.decided(tx, &instance, "RETRIED", actor, "").await
    }

    /// Takes the current step (or its undo) as done by hand. It must still be at
    /// `step`.
    pub async fn skip(
        &self,
        tx: &mut Tx,
        saga_id: &str,
        step: &str,
        actor: &str,
        evidence: &str,
    ) -> Result<Decision, Fault> {
        let now = self.inner.clock.now();
        let Some(instance) = self.locked(tx, saga_id).await? else { return Ok(Decision::Unknown) };
        if self.step_name(&instance) != step
            || tx.execute(store::SKIP, args![saga_id, now, instance.step]).await? == 0
        {
            return Ok(Decision::Impossible);
        }
        self.decided(tx, &instance, "SKIP_ORDERED", actor, evidence).await
    }

    /// Takes everything back, unless the instance has passed its pivot.
    pub async fn force_back(
        &self,
        tx: &mut Tx,
        saga_id: &str,
        actor: &str,
        reason: &str,
    ) -> Result<Decision, Fault> {
        let now = self.inner.clock.now();
        let Some(instance) = self.locked(tx, saga_id).await? else { return Ok(Decision::Unknown) };
        if tx.execute(store::INTERRUPT, args![saga_id, reason, now]).await? == 0 {
            return Ok(Decision::Impossible);
        }
        self.decided(tx, &instance, "BACK_ORDERED", actor, reason).await
    }

    /// Tells a parked instance how what it waits for came out.
    pub async fn resolve(
        &self,
        tx: &mut Tx,
        saga_id: &str,
        succeeded: bool,
        actor: &str,
        evidence: &str,
    ) -> Result<Decision, Fault> {
        let now = self.inner.clock.now();
        let Some(instance) = self.locked(tx, saga_id).await? else { return Ok(Decision::Unknown) };
        if instance.status != Status::Parked {
            return Ok(Decision::Impossible);
        }
        let written = if succeeded {
            tx.execute(store::SKIP, args![saga_id, now, instance.step]).await?
        } else {
            tx.execute(store::INTERRUPT, args![saga_id, evidence, now]).await?
        };
        if written == 0 {
            return Ok(Decision::Impossible);
        }
        self.decided(
            tx,
            &instance,
            if succeeded { "RESOLVED_DONE" } else { "RESOLVED_FAILED" },
            actor,
            evidence,
        )
        .await
    }

    /// An instance and its log, as a transaction sees them.
    pub async fn read(
        &self,
        tx: &mut Tx,
        saga_id: &str,
    ) -> Result<Option<(Instance, Vec<Attempt>)>, Fault> {
        let Some(instance) = tx.fetch_optional(store::GET, args![saga_id]).await? else {
            return Ok(None);
        };
        let log = tx.fetch_all(store::ATTEMPTS, args![saga_id, store::LOG_LINES_MAX]).await?;
        Ok(Some((instance, log)))
    }

    async fn locked(&self, tx: &mut Tx, saga_id: &str) -> Result<Option<Instance>, Fault> {
        Ok(tx.fetch_optional(store::LOCK, args![saga_id]).await?)
    }

    async fn decided(
        &self,
        tx: &mut Tx,
        instance: &Instance,
        outcome: &str,
        actor: &str,
        message: &str,
    ) -> Result<Decision, Fault> {
        let line = Attempt {
            step: self.step_name(instance).to_owned(),
            undo: instance.undoing,
            attempt: instance.attempts,
            outcome: outcome.to_owned(),
            message: if message.is_empty() {
                actor.to_owned()
            } else {
                format!("{actor}: {message}")
            },
            create_time: self.inner.clock.now(),
        };
        store::log(tx, &instance.saga_id, &line).await?;
        Ok(Decision::Taken)
    }
}
