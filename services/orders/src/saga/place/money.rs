//! The money of a purchase: authorized, captured or let go.

use std::time::Duration;

use chassis::{
    Fault,
    saga::{At, Effect, Outcome, Undone},
};
use contracts::{
    orders::v1::{ErrorReason, OrderEventKind, RefusalReason},
    payments::v1::{
        CancellationReason, CaptureMethod, CapturePaymentIntentRequest,
        ConfirmPaymentIntentRequest, CreatePaymentIntentRequest, ErrorReason as Payment,
        PaymentIntent, PaymentIntentStatus,
    },
};

use super::{Action, Place, Purchase, captured};
use crate::{
    domain::Happening,
    saga::{
        ACTOR, Meaning, meaning, patient,
        payment::{LetGo, Standing, standing},
    },
    store,
};

/// How long after a challenge has ended its payment is looked at.
const ACTION_GRACE: Duration = Duration::from_secs(2);
/// How long an open payment is left alone at first; doubles.
const OPEN_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause between two looks at an open payment.
const OPEN_PAUSE_MAX: Duration = Duration::from_secs(120);

// === impl Place ===

impl Place {
    pub(super) async fn authorize(&self, at: &At, state: &mut Purchase) -> Outcome {
        if state.is_free() {
            return Outcome::done();
        }
        let answer = if state.payment_intent_id.is_empty() {
            self.create_intent(at, state).await
        } else {
            self.peers.look(&state.payment_intent_id).await
        };
        let mut intent = match answer {
            Ok(intent) => intent,
            Err(fault) => return Self::unpaid(&fault, at, state),
        };
        state.payment_intent_id = intent.payment_intent_id.clone();
        if standing(&intent) == Standing::Unconfirmed {
            intent = match self.confirm_intent(at, state).await {
                Ok(intent) => intent,
                Err(fault) => return Self::unpaid(&fault, at, state),
            };
        }
        self.judge(at, state, &intent).await
    }

    async fn create_intent(&self, at: &At, state: &Purchase) -> Result<PaymentIntent, Fault> {
        let request = CreatePaymentIntentRequest {
            request_id: at.key("create"),
            order_id: state.order_id.clone(),
            customer_id: state.owner_id.clone(),
            amount: Some(state.amount()),
            capture_method: CaptureMethod::Manual.into(),
            payment_method: state.payment_method.clone(),
            return_uri: state.return_uri.clone(),
            confirm: true,
        };
        match self.peers.payments.clone().create_payment_intent(request).await {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => {
                let fault = Fault::from(status);
                // Ours, from an attempt whose answer was lost.
                match fault.metadata_map().get("payment_intent_id") {
                    Some(id) if fault.is(Payment::OrderIntentExists) => self.peers.look(id).await,
                    _ => Err(fault),
                }
            }
        }
    }

    async fn confirm_intent(&self, at: &At, state: &Purchase) -> Result<PaymentIntent, Fault> {
        let request = ConfirmPaymentIntentRequest {
            request_id: at.key("confirm"),
            payment_intent_id: state.payment_intent_id.clone(),
            payment_method: state.payment_method.clone(),
            return_uri: state.return_uri.clone(),
        };
        Ok(self.peers.payments.clone().confirm_payment_intent(request).await?.into_inner())
    }

    /// A call about the payment failed. Without an answer nothing is decided.
    fn unpaid(fault: &Fault, at: &At, state: &mut Purchase) -> Outcome {
        if fault.is(Payment::OutcomeUnknown) {
            return Outcome::retry(fault);
        }
        match meaning(fault, at.attempt) {
            Meaning::Again => Outcome::retry(fault),
            Meaning::No => state.refuse(RefusalReason::PaymentDeclined, fault.to_string()),
        }
    }

    async fn judge(&self, at: &At, state: &mut Purchase, intent: &PaymentIntent) -> Outcome {
        match standing(intent) {
            Standing::Held => {
                state.action = None;
                state.payment_method.clear();
                Outcome::done()
            }
            Standing::Action { redirect_uri, expire_time } => {
                let expire_time =
                    at.deadline.map_or(expire_time, |deadline| deadline.min(expire_time));
                self.prolong(at, state, expire_time).await;
                let action = Action { redirect_uri, expire_time: expire_time.micros() };
                let is_new = state.action.as_ref() != Some(&action);
                state.action = Some(action);
                let effect = is_new.then(|| note_action(state.order_id.clone()));
                let reason = "the customer must answer the payment provider's challenge".to_owned();
                Outcome::Park { reason, until: Some(expire_time + ACTION_GRACE), effect }
            }
            Standing::Open(reason) => {
                state.action = None;
                let pause =
                    OPEN_PAUSE.saturating_mul(1_u32 << state.looks.min(5)).min(OPEN_PAUSE_MAX);
                state.looks += 1;
                self.prolong(at, state, at.now + pause).await;
                Outcome::park(reason, Some(at.now + pause))
            }
            Standing::Unconfirmed => Outcome::retry("the payment waits for its confirmation"),
            Standing::Declined(said) => state.refuse(RefusalReason::PaymentDeclined, said),
            Standing::Gone => {
                state.refuse(RefusalReason::PaymentDeclined, "the payment was given up")
            }
            Standing::Conflicted => state
                .refuse(RefusalReason::Failed, "the payment provider answered for another amount"),
        }
    }

    pub(super) async fn let_payment_go(&self, at: &At, state: &mut Purchase) -> Undone {
        if state.is_free() {
            return Undone::done();
        }
        let ids = if state.payment_intent_id.is_empty() {
            match self.peers.intents_of(&state.order_id).await {
                Ok(found) => found.into_iter().map(|intent| intent.payment_intent_id).collect(),
                Err(fault) => return Undone::retry(fault),
            }
        } else {
            vec![state.payment_intent_id.clone()]
        };
        for id in ids {
            match self.peers.let_go(at, &id, CancellationReason::Abandoned).await {
                Ok(LetGo::Nothing | LetGo::Voided | LetGo::Refunded(_)) => {}
                Ok(LetGo::NotYet(what)) => return Undone::retry(what),
                Ok(LetGo::Stuck(why)) => return Undone::Stuck(why),
                Err(fault) => return Undone::retry(fault),
            }
        }
        Undone::done()
    }

    pub(super) async fn capture(&self, at: &At, state: &mut Purchase) -> Outcome {
        if state.is_free() {
            return Outcome::done();
        }
        // An answer "unknown" would be replayed for ever: once was enough to send it.
        let answer = if at.attempt == 1 {
            let request = CapturePaymentIntentRequest {
                request_id: at.key("capture"),
                payment_intent_id: state.payment_intent_id.clone(),
                amount: None,
            };
            self.peers.payments.clone().capture_payment_intent(request).await.map_err(Fault::from)
        } else {
            self.capture_again(at, state).await
        };
        let intent = match answer {
            Ok(answer) => answer.into_inner(),
            // Somebody moved it on since we looked, a cancellation most likely: the next look tells.
            Err(fault) if fault.is(Payment::IntentStateInvalid) => return Outcome::retry(fault),
            Err(fault) => {
                return match patient(&fault) {
                    Meaning::No if !fault.is(Payment::OutcomeUnknown) => Outcome::Refuse(fault),
                    Meaning::No | Meaning::Again => Outcome::retry(fault),
                };
            }
        };
        match intent.status() {
            PaymentIntentStatus::Succeeded => Outcome::Done(Some(captured(state.order_id.clone()))),
            // The order was cancelled meanwhile; its own saga keeps the books.
            PaymentIntentStatus::Canceled => Outcome::done(),
            PaymentIntentStatus::Expired => {
                let said = "the provider let go of the authorization before it was captured";
                Outcome::Refuse(
                    Fault::failed_precondition(ErrorReason::OrderStateInvalid).message(said),
                )
            }
            PaymentIntentStatus::Unknown
            | PaymentIntentStatus::Unspecified
            | PaymentIntentStatus::RequiresPaymentMethod
            | PaymentIntentStatus::RequiresConfirmation
            | PaymentIntentStatus::RequiresAction
            | PaymentIntentStatus::Processing
            | PaymentIntentStatus::RequiresCapture
            | PaymentIntentStatus::Conflicted => Outcome::retry("the capture is not known yet"),
        }
    }

    async fn capture_again(
        &self,
        at: &At,
        state: &Purchase,
    ) -> Result<tonic::Response<PaymentIntent>, Fault> {
        let intent = self.peers.look(&state.payment_intent_id).await?;
        if intent.status() != PaymentIntentStatus::RequiresCapture {
            return Ok(tonic::Response::new(intent));
        }
        let request = CapturePaymentIntentRequest {
            request_id: at.key("capture"),
            payment_intent_id: state.payment_intent_id.clone(),
            amount: None,
        };
        Ok(self.peers.payments.clone().capture_payment_intent(request).await?)
    }
}

fn note_action(order_id: String) -> Effect {
    Box::new(move |tx| {
        Box::pin(async move {
            let order = store::demand_header(tx, &order_id).await?;
            let said = "the payment provider wants the customer to prove who they are";
            let happened = Happening::new(OrderEventKind::ActionRequired, said);
            store::insert_event(tx, &order, &happened, ACTOR).await?;
            Ok(())
        })
    })
}
