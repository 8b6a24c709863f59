//! What is done to an intent on somebody's word.

use chassis::{Money, Tx, idempotency};

use super::{Answer, Applied, Call, Till, claim};
use crate::{
    domain::{
        self, Attempt, AttemptState, Cancel, CancellationReason, CaptureMethod, Confirmation,
        Intent, IntentStatus, Question,
    },
    error::Error,
    events,
    provider::{Authorization, ProviderError},
    store,
};

/// What a new intent is made of.
#[derive(Debug, Clone)]
pub(crate) struct NewIntent {
    pub(crate) order_id: String,
    pub(crate) customer_id: String,
    pub(crate) amount: Money,
    pub(crate) capture_method: CaptureMethod,
    pub(crate) payment_method: Option<String>,
    pub(crate) return_uri: Option<String>,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    /// Make an intent and confirm it.
    Collect(NewIntent),
    /// Make an attempt.
    Confirm { intent_id: String, payment_method: Option<String>, return_uri: Option<String> },
    /// Take the money.
    Capture { intent_id: String, amount: Option<Money> },
    /// Give up.
    Cancel { intent_id: String, reason: CancellationReason },
    /// Answer the challenge.
    Answer { intent_id: String, owner: Option<String>, success: bool },
}

/// What the first transaction has decided.
enum Begun {
    /// The call was answered before.
    Replayed(prost::bytes::Bytes),
    /// There is nothing to ask.
    Settled(Box<Intent>),
    /// This is to be asked.
    Ask(Box<(Intent, Attempt)>, Ask),
}

/// What has become of the wish to make an intent.
enum Collected {
    /// It is made, and this is to be asked.
    New(Begun),
    /// It was made before.
    Known(String),
}

/// What the provider is asked.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Authorize,
    Capture(i64),
    Void,
    Answer(bool),
}

impl Operation {
    /// What failpoints call it.
    fn name(&self) -> &'static str {
        match self {
            Self::Collect(_) => "collect",
            Self::Confirm { .. } => "confirm",
            Self::Capture { .. } => "capture",
            Self::Cancel { .. } => "cancel",
            Self::Answer { .. } => "answer",
        }
    }
}

impl NewIntent {
    /// The intent, before anything was tried.
    pub(crate) fn intent(self, tx: &Tx, operation: String) -> Intent {
        let (id, now) = (tx.clock().id(), tx.clock().now());
        Intent {
            id,
            operation,
            order_id: self.order_id,
            customer_id: self.customer_id,
            currency: self.amount.currency,
            amount: self.amount.minor,
            capture_method: self.capture_method,
            status: match self.payment_method {
                Some(_) => IntentStatus::RequiresConfirmation,
                None => IntentStatus::RequiresPaymentMethod,
            },
            payment_method: self.payment_method,
            return_uri: self.return_uri,
            authorized: 0,
            captured: 0,
            refunded: 0,
            refund_pending: 0,
            attempt_id: None,
            attempt_count: 0,
            action: None,
            authorization_expire_time: None,
            error: None,
            cancellation_reason: None,
            version: 1,
            create_time: now,
            update_time: now,
        }
    }
}

impl Till {
    /// Does it: decide, ask, apply.
    pub(crate) async fn perform(
        &self,
        call: Call,
        operation: Operation,
    ) -> Result<Answer<Intent>, Error> {
        let (what, provider) = (operation.name(), self.provider.name().to_owned());
        let begun = {
            let call = call.clone();
            self.database
                .write_from(call.origin.clone(), move |tx| {
                    Box::pin(async move {
                        if let Some(stored) = claim(tx, &call).await? {
                            return Ok(Begun::Replayed(stored));
                        }
                        let begun = begin(tx, operation, call.operation, provider).await?;
                        if let Begun::Settled(intent) = &begun {
                            idempotency::finish(tx, &call.key, &intent.message()).await?;
                        }
                        Ok::<_, Error>(begun)
                    })
                })
                .await?
        };
        let ((intent, attempt), ask) = match begun {
            Begun::Replayed(stored) => return Ok(Answer::Replayed(stored)),
            Begun::Settled(intent) => return Ok(Answer::Fresh(*intent)),
            Begun::Ask(pair, ask) => (*pair, ask),
        };
        self.survive(what, "written")?;
        let outcome = self.ask(&intent, &attempt, ask).await;
        self.survive(what, "answered")?;
        let Applied { intent, refused, .. } =
            self.apply((intent, attempt), outcome, Some(call)).await?;
        match (refused, ask) {
            (Some(_), Ask::Authorize | Ask::Answer(_)) => Err(Error::PaymentMethodUnknown),
            (Some(failure), Ask::Capture(_)) => Err(Error::CaptureFailed { failure }),
            (Some(failure), Ask::Void) => Err(Error::VoidFailed { failure }),
            (None, Ask::Void) if intent.status == IntentStatus::Succeeded => {
                Err(Error::StateInvalid { status: intent.status })
            }
            (None, _) => Ok(Answer::Fresh(intent)),
        }
    }

    async fn ask(
        &self,
        intent: &Intent,
        attempt: &Attempt,
        ask: Ask,
    ) -> Result<domain::Charge, ProviderError> {
        match ask {
            Ask::Authorize => {
                let order = Authorization {
                    key: attempt.id.clone(),
                    merchant_reference: intent.order_id.clone(),
                    intent_id: intent.id.clone(),
                    payment_method: attempt.payment_method.clone(),
                    amount: attempt.amount,
                    currency: attempt.currency.code().to_owned(),
                    capture_method: intent.capture_method,
                    return_uri: intent.return_uri.clone(),
                };
                self.patiently(self.provider.authorize(&order)).await
            }
            Ask::Capture(amount) => {
                self.patiently(self.provider.capture(&attempt.id, amount)).await
            }
            Ask::Void => self.patiently(self.provider.void(&attempt.id)).await,
            Ask::Answer(success) => {
                self.patiently(self.provider.answer(&attempt.id, success)).await
            }
        }
    }

    /// Asks again what was asked and not answered.
    pub(super) async fn ask_again(
        &self,
        intent: &Intent,
        attempt: &Attempt,
        question: Question,
    ) -> Result<domain::Charge, ProviderError> {
        let ask = match question {
            Question::Charge => Ask::Authorize,
            Question::Capture => Ask::Capture(attempt.capture_amount.unwrap_or(attempt.amount)),
            Question::Void => Ask::Void,
        };
        self.ask(intent, attempt, ask).await
    }
}

/// The first transaction: what is about to be asked is written down.
async fn begin(
    tx: &mut Tx,
    wanted: Operation,
    operation: String,
    provider: String,
) -> Result<Begun, Error> {
    let now = tx.clock().now();
    let (intent_id, owner) = match &wanted {
        Operation::Collect(new) => match collect(tx, new, &operation, &provider).await? {
            Collected::New(begun) => return Ok(begun),
            Collected::Known(intent_id) => (intent_id, None),
        },
        Operation::Confirm { intent_id, .. }
        | Operation::Capture { intent_id, .. }
        | Operation::Cancel { intent_id, .. } => (intent_id.clone(), None),
        Operation::Answer { intent_id, owner, .. } => (intent_id.clone(), owner.as_deref()),
    };
    let (mut intent, mut attempt) = locked(tx, &intent_id, owner).await?;
    let ours = attempt.as_ref().filter(|attempt| attempt.operation == operation);
    if let Some(attempt) = ours
        && let Some(resumed) = resume(&intent, attempt, &wanted)
    {
        return Ok(resumed);
    }
    let ask = match wanted {
        Operation::Collect(NewIntent { payment_method, return_uri, .. })
        | Operation::Confirm { payment_method, return_uri, .. } => {
            let attempt_id = tx.clock().id();
            let given =
                Confirmation { attempt_id, operation, provider, payment_method, return_uri };
            let fresh = domain::confirm(&mut intent, attempt.as_ref(), given, now)?;
            store::intent::save(tx, &mut intent, now).await?;
            store::attempt::insert(tx, &fresh).await?;
            return Ok(Begun::Ask(Box::new((intent, fresh)), Ask::Authorize));
        }
        Operation::Capture { amount, .. } => {
            let attempt = attempt.as_mut().ok_or(Error::StateInvalid { status: intent.status })?;
            domain::capture(&mut intent, attempt, amount, operation, now)?;
            Ask::Capture(attempt.capture_amount.unwrap_or(attempt.amount))
        }
        Operation::Cancel { reason, .. } => {
            match domain::cancel(&mut intent, attempt.as_mut(), reason, operation, now)? {
                Cancel::Already => return Ok(Begun::Settled(Box::new(intent))),
                Cancel::Void => Ask::Void,
                Cancel::Done(change) => {
                    store::intent::save(tx, &mut intent, now).await?;
                    if let Some(news) = change.news {
                        events::tell(tx, &intent, attempt.as_ref(), news).await?;
                    }
                    return Ok(Begun::Settled(Box::new(intent)));
                }
            }
        }
        Operation::Answer { success, .. } => {
            let attempt = attempt.as_mut().ok_or(Error::StateInvalid { status: intent.status })?;
            domain::answer(&mut intent, attempt, operation, now)?;
            Ask::Answer(success)
        }
    };
    let mut attempt = attempt.ok_or(Error::StateInvalid { status: intent.status })?;
    store::intent::save(tx, &mut intent, now).await?;
    store::attempt::save(tx, &mut attempt, now).await?;
    Ok(Begun::Ask(Box::new((intent, attempt)), ask))
}

/// An intent, held, and its last attempt.
async fn locked(
    tx: &mut Tx,
    id: &str,
    owner: Option<&str>,
) -> Result<(Intent, Option<Attempt>), Error> {
    let intent = store::intent::lock(tx, id, owner).await?;
    let attempt = match &intent.attempt_id {
        Some(id) => Some(store::attempt::get(tx, id).await?),
        None => None,
    };
    Ok((intent, attempt))
}

/// Makes an intent with its first attempt; or finds the intent that this very
/// call made before it died.
async fn collect(
    tx: &mut Tx,
    new: &NewIntent,
    operation: &str,
    provider: &str,
) -> Result<Collected, Error> {
    let mut intent = new.clone().intent(tx, operation.to_owned());
    let given = Confirmation {
        attempt_id: tx.clock().id(),
        operation: operation.to_owned(),
        provider: provider.to_owned(),
        payment_method: None,
        return_uri: None,
    };
    let attempt = domain::confirm(&mut intent, None, given, tx.clock().now())?;
    if !store::intent::insert(tx, &intent).await? {
        let known = store::intent::find_by_operation(tx, operation, &intent.order_id).await?;
        return Ok(Collected::Known(known.id));
    }
    store::attempt::insert(tx, &attempt).await?;
    Ok(Collected::New(Begun::Ask(Box::new((intent, attempt)), Ask::Authorize)))
}

/// What is left to do of a call that died after its first transaction.
fn resume(intent: &Intent, attempt: &Attempt, wanted: &Operation) -> Option<Begun> {
    let ask = match (wanted, attempt.state.in_flight()) {
        (Operation::Collect(_) | Operation::Confirm { .. }, Some(Question::Charge)) => {
            Ask::Authorize
        }
        (Operation::Answer { success, .. }, Some(Question::Charge)) => Ask::Answer(*success),
        (Operation::Capture { .. }, Some(Question::Capture)) => {
            Ask::Capture(attempt.capture_amount.unwrap_or(attempt.amount))
        }
        (Operation::Cancel { .. }, Some(Question::Void)) => Ask::Void,
        // A sync or a webhook has ended it, and nothing was done: do it.
        (Operation::Capture { .. }, None) if attempt.state == AttemptState::CaptureFailed => {
            return None;
        }
        (Operation::Cancel { .. }, _) => return None,
        (Operation::Collect(_) | Operation::Confirm { .. }, None)
            if attempt.state == AttemptState::Error =>
        {
            return None;
        }
        // A sync or a webhook has ended it.
        _ => return Some(Begun::Settled(Box::new(intent.clone()))),
    };
    Some(Begun::Ask(Box::new((intent.clone(), attempt.clone())), ask))
}
