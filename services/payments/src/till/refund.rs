//! What is done to give money back.

use chassis::{Money, Tx, idempotency, store::Origin};
use prost::bytes::Bytes;

use super::{Answer, Call, Till, claim};
use crate::{
    domain::{
        self, Intent, Refund, RefundNews, RefundReason, RefundReport, RefundRequest, RefundStatus,
    },
    error::Error,
    events,
    provider::ProviderError,
    store,
};

/// What the first transaction has decided.
enum Begun {
    Replayed(Bytes),
    Settled(Box<Refund>),
    Ask(Box<(Intent, Refund)>),
}

impl Till {
    /// Gives money back: decide, ask, apply.
    pub(crate) async fn refund(
        &self,
        call: Call,
        intent_id: String,
        amount: Option<Money>,
        reason: RefundReason,
    ) -> Result<Answer<Refund>, Error> {
        let begun = match self.begin_refund(call.clone(), intent_id, amount, reason).await {
            // This very call made it, and then died.
            Err(Error::Store(error)) if error.constraint() == Some("refund_operation_key") => {
                self.resume_refund(call.clone()).await?
            }
            begun => begun?,
        };
        let (intent, refund) = match begun {
            Begun::Replayed(stored) => return Ok(Answer::Replayed(stored)),
            Begun::Settled(refund) => return Ok(Answer::Fresh(*refund)),
            Begun::Ask(pair) => *pair,
        };
        self.survive("refund", "written")?;
        let outcome = self.ask_refund(&refund).await;
        self.survive("refund", "answered")?;
        self.apply_refund((intent, refund), outcome, Some(call)).await.map(Answer::Fresh)
    }

    /// Asks for a pending refund again, under its own key, and applies the answer.
    pub(crate) async fn sync_refund(&self, id: &str) -> Result<Refund, Error> {
        let refund = store::refund::find(&self.database, id).await?;
        match refund.status {
            RefundStatus::Succeeded | RefundStatus::Failed => return Ok(refund),
            RefundStatus::Pending => {}
        }
        let intent = store::intent::find(&self.database, &refund.intent_id, None).await?;
        let outcome = self.ask_refund(&refund).await;
        self.apply_refund((intent, refund), outcome, None).await
    }

    async fn ask_refund(&self, refund: &Refund) -> Result<RefundReport, ProviderError> {
        self.patiently(self.provider.refund(&refund.id, &refund.attempt_id, refund.amount)).await
    }

    async fn begin_refund(
        &self,
        call: Call,
        intent_id: String,
        amount: Option<Money>,
        reason: RefundReason,
    ) -> Result<Begun, Error> {
        self.database
            .write_from(call.origin.clone(), move |tx| {
                Box::pin(async move {
                    if let Some(stored) = claim(tx, &call).await? {
                        return Ok(Begun::Replayed(stored));
                    }
                    let now = tx.clock().now();
                    let mut intent = store::intent::lock(tx, &intent_id, None).await?;
                    let refund_id = tx.clock().id();
                    let given =
                        RefundRequest { refund_id, operation: call.operation, amount, reason };
                    let refund = domain::start(&mut intent, given, now)?;
                    store::refund::insert(tx, &refund).await?;
                    store::intent::save(tx, &mut intent, now).await?;
                    events::tell_refund(tx, &intent, &refund, RefundNews::Created).await?;
                    Ok(Begun::Ask(Box::new((intent, refund))))
                })
            })
            .await
    }

    async fn resume_refund(&self, call: Call) -> Result<Begun, Error> {
        self.database
            .write_from(call.origin.clone(), move |tx| {
                Box::pin(async move {
                    if let Some(stored) = claim(tx, &call).await? {
                        return Ok(Begun::Replayed(stored));
                    }
                    let found = store::refund::find_by_operation(tx, &call.operation).await?;
                    let refund = found.ok_or(Error::Stale)?;
                    if refund.status == RefundStatus::Pending {
                        let intent = store::intent::lock(tx, &refund.intent_id, None).await?;
                        return Ok(Begun::Ask(Box::new((intent, refund))));
                    }
                    idempotency::finish(tx, &call.key, &refund.message()).await?;
                    Ok(Begun::Settled(Box::new(refund)))
                })
            })
            .await
    }

    async fn apply_refund(
        &self,
        known: (Intent, Refund),
        outcome: Result<RefundReport, ProviderError>,
        call: Option<Call>,
    ) -> Result<Refund, Error> {
        let origin = call.as_ref().map_or_else(Origin::current, |call| call.origin.clone());
        // A refund is answered or not: a refusal is an answer.
        let report = match outcome {
            Ok(report) => Some(report),
            Err(ProviderError::Lost) => None,
            Err(ProviderError::Refused(failure)) => Some(RefundReport {
                reference: String::new(),
                outcome: Err(failure),
                amount: known.1.amount,
                currency: known.1.currency.code().to_owned(),
            }),
        };
        self.database
            .write_from(origin, move |tx| {
                Box::pin(async move {
                    let refund = match report {
                        Some(report) => settle(tx, known, &report).await?,
                        None => known.1,
                    };
                    if let Some(call) = call {
                        idempotency::finish(tx, &call.key, &refund.message()).await?;
                    }
                    Ok(refund)
                })
            })
            .await
    }
}

/// Applies the provider's word to a refund as it was when it was asked for, or as
/// it is now, if its intent has changed since.
async fn settle(
    tx: &mut Tx,
    known: (Intent, Refund),
    report: &RefundReport,
) -> Result<Refund, Error> {
    let now = tx.clock().now();
    let (mut intent, mut refund) = known.clone();
    let Some(mut settled) = domain::settle(&mut intent, &mut refund, report) else {
        return Ok(refund);
    };
    if let Err(stale) = store::intent::save(tx, &mut intent, now).await {
        let Error::Stale = stale else { return Err(stale) };
        intent = store::intent::lock(tx, &known.0.id, None).await?;
        refund = store::refund::get(tx, &known.1.id).await?;
        match domain::settle(&mut intent, &mut refund, report) {
            Some(now) => settled = now,
            None => return Ok(refund),
        }
        store::intent::save(tx, &mut intent, now).await?;
    }
    store::refund::save(tx, &mut refund, now).await?;
    let (posting, news) = settled;
    store::ledger::post(tx, &intent, &refund.id, posting.as_slice(), now).await?;
    if let Some(news) = news {
        events::tell_refund(tx, &intent, &refund, news).await?;
    }
    Ok(refund)
}
