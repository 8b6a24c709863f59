//! The till: where the service and the provider meet.
//!
//! Whatever moves money takes three steps. A first transaction decides by the
//! rules of [`crate::domain`] and writes down what is about to be asked. Then the
//! provider is asked, and no transaction is open. A second transaction applies
//! what it said, together with the ledger, the events and the answer to the
//! caller. If the second one never comes, because the answer or this process is
//! lost, the first has left a time at which [`sync`] asks again.

mod intent;
mod refund;
mod sync;
mod webhook;

use std::{sync::Arc, time::Duration};

use chassis::{
    Clock, Database, Tasks, Time, Tx,
    failpoint::{self, Failpoints},
    idempotency::{self, Begin, Key},
    store::Origin,
};
use prost::bytes::Bytes;

use crate::{
    domain::{
        Attempt, Change, Charge, Failure, Intent, IntentStatus, Question, learn, lose, refuse,
    },
    error::Error,
    events,
    provider::{Provider, ProviderError},
    store,
};

pub(crate) use intent::{NewIntent, Operation};
pub(crate) use webhook::Turn;

/// How long a provider may take to answer: less than the deadline of the calls
/// that wait for it.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(4);

/// When a call that began is taken for dead: later than any deadline of one.
const LEASE: Duration = Duration::from_secs(10);

/// Where the service and the provider meet. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Till {
    pub(crate) database: Database,
    pub(crate) clock: Clock,
    pub(crate) tasks: Tasks,
    pub(crate) provider: Arc<dyn Provider>,
    /// Secrets by which webhooks are known, any of them.
    pub(crate) secrets: Arc<Vec<Vec<u8>>>,
    /// Where a test makes a call die.
    pub(crate) failpoints: Failpoints,
}

/// Who calls, and which call it is.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) key: Key,
    /// Caller, method and request id, as rows remember it.
    pub(crate) operation: String,
    pub(crate) origin: Origin,
}

/// An answer, made now or before.
#[derive(Debug)]
pub(crate) enum Answer<T> {
    /// Made now.
    Fresh(T),
    /// Encoded, as it was given before.
    Replayed(Bytes),
}

/// What the provider's word has made of a payment.
#[derive(Debug)]
struct Applied {
    intent: Intent,
    refused: Option<Failure>,
}

impl Till {
    /// Where a call may die, if a test wants it to: everything before is done,
    /// nothing after it will be.
    fn survive(&self, what: &str, step: &str) -> Result<(), Error> {
        let name = || format!("{what}.{step}");
        let armed = failpoint::process().hit_with(|| format!("payments.{}", name()));
        match armed.or_else(|| self.failpoints.hit_with(name)) {
            Some(_) => Err(Error::Died),
            None => Ok(()),
        }
    }

    /// Waits for the provider, but not for ever.
    async fn patiently<T>(
        &self,
        answer: impl Future<Output = Result<T, ProviderError>> + Send,
    ) -> Result<T, ProviderError> {
        tokio::time::timeout(PROVIDER_TIMEOUT, answer).await.unwrap_or(Err(ProviderError::Lost))
    }

    /// Applies what the provider said, or did not say, to a payment as it was
    /// when it was asked; or to the payment as it is now, if it has changed since.
    /// With a call, also stores its answer.
    async fn apply(
        &self,
        known: (Intent, Attempt),
        outcome: Result<Charge, ProviderError>,
        call: Option<Call>,
    ) -> Result<Applied, Error> {
        let now = self.clock.now();
        let origin = call.as_ref().map_or_else(Origin::current, |call| call.origin.clone());
        self.database
            .write_from(origin, move |tx| {
                Box::pin(async move {
                    let (mut intent, mut attempt) = known.clone();
                    let asked = attempt.state.in_flight();
                    let mut change = weigh(&mut intent, &mut attempt, &outcome, now)?;
                    if change.moved
                        && let Err(stale) = store::intent::save(tx, &mut intent, now).await
                    {
                        let Error::Stale = stale else { return Err(stale) };
                        // A webhook or a sync was here in between.
                        intent = store::intent::lock(tx, &known.0.id, None).await?;
                        attempt = store::attempt::get(tx, &known.1.id).await?;
                        change = weigh(&mut intent, &mut attempt, &outcome, now)?;
                        if change.moved {
                            store::intent::save(tx, &mut intent, now).await?;
                        }
                    }
                    if change.moved {
                        store::attempt::save(tx, &mut attempt, now).await?;
                        settle(tx, &intent, &attempt, &change, now).await?;
                    }
                    let refused = match outcome {
                        Err(ProviderError::Refused(failure)) => Some(failure),
                        Err(ProviderError::Lost) | Ok(_) => None,
                    };
                    if let Some(call) = call {
                        let undone = asked == Some(Question::Void)
                            && intent.status == IntentStatus::Succeeded;
                        if refused.is_some() || undone {
                            idempotency::forget(tx, &call.key).await?;
                        } else {
                            idempotency::finish(tx, &call.key, &intent.message()).await?;
                        }
                    }
                    Ok(Applied { intent, refused })
                })
            })
            .await
    }
}

/// What follows from the provider's answer, or from its silence.
fn weigh(
    intent: &mut Intent,
    attempt: &mut Attempt,
    outcome: &Result<Charge, ProviderError>,
    now: Time,
) -> Result<Change, Error> {
    match outcome {
        Ok(charge) => learn(intent, attempt, charge, now),
        Err(ProviderError::Lost) => lose(intent, attempt, now),
        Err(ProviderError::Refused(failure)) => refuse(intent, attempt, failure.clone(), now),
    }
}

/// Writes down what follows from a change: the ledger and the news.
async fn settle(
    tx: &mut Tx,
    intent: &Intent,
    attempt: &Attempt,
    change: &Change,
    now: Time,
) -> Result<(), Error> {
    store::ledger::post(tx, intent, &attempt.id, &change.postings, now).await?;
    if let Some(news) = change.news {
        events::tell(tx, intent, Some(attempt), news).await?;
    }
    Ok(())
}

/// Claims the key of a call: `None` if it is ours, the stored answer if it was
/// given before.
async fn claim(tx: &mut Tx, call: &Call) -> Result<Option<Bytes>, Error> {
    match idempotency::begin(tx, &call.key, LEASE).await? {
        Begin::Fresh => Ok(None),
        Begin::Running => Err(idempotency::in_progress().into()),
        Begin::Done(stored) => Ok(Some(stored)),
    }
}
