//! How a saga deals with payments. What a provider has not said is unknown, and
//! unknown is never taken for no.

use chassis::{Fault, Time, saga::At};
use contracts::payments::v1::{
    CancelPaymentIntentRequest, CancellationReason, CreateRefundRequest, ErrorReason as Money,
    GetPaymentIntentRequest, ListPaymentIntentsRequest, PaymentIntent,
    PaymentIntentStatus as Status, RefundReason, RefundStatus, SyncPaymentRequest,
};

use super::{Meaning, Peers, meaning};

/// Where an intent stands, as far as a purchase is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The money is authorized, or taken.
    Held,
    /// The customer must act.
    Action {
        /// Where.
        redirect_uri: String,
        /// Until when.
        expire_time: Time,
    },
    /// Nobody knows yet.
    Open(&'static str),
    /// It waits for a confirmation.
    Unconfirmed,
    /// It was declined, for this reason.
    Declined(String),
    /// It was given up, or the provider let go of it.
    Gone,
    /// The provider answered for another amount.
    Conflicted,
}

/// What became of the wish to hold no money any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LetGo {
    /// There never was an intent.
    Nothing,
    /// Nothing is held and nothing was taken.
    Voided,
    /// What was taken has gone back: so many minor units.
    Refunded(i64),
    /// Not yet: ask again.
    NotYet(String),
    /// It cannot be done without a person.
    Stuck(String),
}

/// Where an intent stands.
pub(crate) fn standing(intent: &PaymentIntent) -> Standing {
    match intent.status() {
        Status::RequiresCapture | Status::Succeeded => Standing::Held,
        Status::RequiresAction => {
            let action = intent.next_action.clone().unwrap_or_default();
            Standing::Action {
                redirect_uri: action.redirect_uri,
                expire_time: action.expire_time.map(Time::from).unwrap_or_default(),
            }
        }
        Status::Processing => Standing::Open("the payment is being processed"),
        Status::Unknown => Standing::Open("the payment provider has not answered yet"),
        Status::Unspecified => Standing::Open("the payment's state is not known"),
        Status::RequiresConfirmation => Standing::Unconfirmed,
        Status::RequiresPaymentMethod => {
            let said =
                intent.last_error.as_ref().map(|error| error.message.clone()).unwrap_or_default();
            Standing::Declined(if said.is_empty() {
                "the payment was declined".to_owned()
            } else {
                said
            })
        }
        Status::Canceled | Status::Expired => Standing::Gone,
        Status::Conflicted => Standing::Conflicted,
    }
}

impl Peers {
    /// The intent as it is now; if nobody knows, the provider is asked.
    pub(crate) async fn look(&self, payment_intent_id: &str) -> Result<PaymentIntent, Fault> {
        let mut payments = self.payments.clone();
        let request = GetPaymentIntentRequest { payment_intent_id: payment_intent_id.to_owned() };
        let intent = payments.get_payment_intent(request).await?.into_inner();
        match standing(&intent) {
            Standing::Open(_) => {
                let request = SyncPaymentRequest {
                    payment_intent_id: payment_intent_id.to_owned(),
                    ..SyncPaymentRequest::default()
                };
                Ok(payments.sync_payment(request).await?.into_inner())
            }
            Standing::Held
            | Standing::Action { .. }
            | Standing::Unconfirmed
            | Standing::Declined(_)
            | Standing::Gone
            | Standing::Conflicted => Ok(intent),
        }
    }

    /// The intents of an order: there may be one that was made without our
    /// learning its id.
    pub(crate) async fn intents_of(&self, order_id: &str) -> Result<Vec<PaymentIntent>, Fault> {
        let request = ListPaymentIntentsRequest {
            page_size: 20,
            order_id: order_id.to_owned(),
            ..ListPaymentIntentsRequest::default()
        };
        Ok(self.payments.clone().list_payment_intents(request).await?.into_inner().payment_intents)
    }

    /// Lets go of an intent: voids what is held, gives back what was taken.
    pub(crate) async fn let_go(
        &self,
        at: &At,
        payment_intent_id: &str,
        because: CancellationReason,
    ) -> Result<LetGo, Fault> {
        let intent = match self.look(payment_intent_id).await {
            Ok(intent) => intent,
            Err(fault) if fault.is(Money::IntentNotFound) => return Ok(LetGo::Nothing),
            Err(fault) => return Err(fault),
        };
        match intent.status() {
            Status::Canceled | Status::Expired => Ok(LetGo::Voided),
            Status::Succeeded => self.give_back(at, &intent).await,
            Status::Unspecified
            | Status::RequiresPaymentMethod
            | Status::RequiresConfirmation
            | Status::RequiresAction
            | Status::Processing
            | Status::RequiresCapture
            | Status::Unknown
            | Status::Conflicted => self.void(at, payment_intent_id, because).await,
        }
    }

    async fn void(
        &self,
        at: &At,
        payment_intent_id: &str,
        because: CancellationReason,
    ) -> Result<LetGo, Fault> {
        let request = CancelPaymentIntentRequest {
            // Another key for every attempt: cancelling is repeatable by nature, and a
            // replayed "unknown" would never change.
            request_id: at.key(&format!("cancel-{}", at.attempt)),
            payment_intent_id: payment_intent_id.to_owned(),
            reason: because.into(),
        };
        match self.payments.clone().cancel_payment_intent(request).await {
            Ok(answer) => Ok(match answer.into_inner().status() {
                Status::Canceled | Status::Expired => LetGo::Voided,
                other => LetGo::NotYet(format!("the payment is {}", other.as_str_name())),
            }),
            Err(status) => {
                let fault = Fault::from(status);
                let later = [Money::IntentStateInvalid, Money::OutcomeUnknown];
                if fault.is(Money::IntentNotFound) {
                    Ok(LetGo::Nothing)
                } else if later.into_iter().any(|reason| fault.is(reason)) {
                    Ok(LetGo::NotYet(fault.to_string()))
                } else {
                    refused(fault, at)
                }
            }
        }
    }

    async fn give_back(&self, at: &At, intent: &PaymentIntent) -> Result<LetGo, Fault> {
        let minor = |amount: &Option<contracts::values::v1::Money>| {
            amount.as_ref().map(|amount| amount.minor_units).unwrap_or_default()
        };
        let (captured, refunded) = (minor(&intent.amount_captured), minor(&intent.amount_refunded));
        if refunded >= captured {
            return Ok(LetGo::Refunded(refunded));
        }
        if minor(&intent.amount_refund_pending) > 0 {
            return Ok(LetGo::NotYet("the refund is with the provider".to_owned()));
        }
        let request = CreateRefundRequest {
            request_id: at.key(&format!("refund-{}", at.attempt)),
            payment_intent_id: intent.payment_intent_id.clone(),
            amount: None,
            reason: RefundReason::OrderCancelled.into(),
        };
        match self.refunds.clone().create_refund(request).await {
            Ok(answer) => {
                let refund = answer.into_inner();
                Ok(match refund.status() {
                    RefundStatus::Succeeded => LetGo::Refunded(captured),
                    RefundStatus::Pending | RefundStatus::Unspecified => {
                        LetGo::NotYet("the refund is with the provider".to_owned())
                    }
                    RefundStatus::Failed => {
                        let said = refund.error.map(|error| error.message).unwrap_or_default();
                        LetGo::Stuck(format!("the provider refused the refund: {said}"))
                    }
                })
            }
            Err(status) => {
                let fault = Fault::from(status);
                let later = [Money::IntentStateInvalid, Money::AmountExceedsRefundable];
                if later.into_iter().any(|reason| fault.is(reason)) {
                    Ok(LetGo::NotYet(fault.to_string()))
                } else {
                    refused(fault, at)
                }
            }
        }
    }
}

fn refused(fault: Fault, at: &At) -> Result<LetGo, Fault> {
    match meaning(&fault, at.attempt) {
        Meaning::Again => Err(fault),
        Meaning::No => Ok(LetGo::Stuck(fault.to_string())),
    }
}
