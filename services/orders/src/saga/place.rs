//! The checkout saga: a purchase comes about, or leaves nothing behind.

use std::time::Duration;

use chassis::{
    Fault, Time,
    saga::{At, Effect, Interrupt, Outcome, Saga, Step, Undone},
};
use contracts::{
    inventory::v1::{
        CommitReservationRequest, ErrorReason as Stock, ExtendReservationRequest,
        ListReservationsRequest, ReservationState, ReserveLine, ReserveRequest,
    },
    orders::v1::{ErrorReason, OrderEventKind, Refusal, RefusalReason, RefusalViolation},
    payments::v1::{
        CancellationReason, CaptureMethod, CapturePaymentIntentRequest,
        ConfirmPaymentIntentRequest, CreatePaymentIntentRequest, ErrorReason as Payment,
        PaymentIntent, PaymentIntentStatus,
    },
    values::v1::Money,
};
use serde::{Deserialize, Serialize};

use super::{
    ACTOR, Meaning, Peers, ending, impatient, meaning, patient,
    payment::{LetGo, Standing, standing},
    stock_owner,
};
use crate::{
    Config,
    domain::{Happening, Order, Parcel},
    store,
};

/// How long after a challenge has ended its payment is looked at.
const ACTION_GRACE: Duration = Duration::from_secs(2);
/// How long an open payment is left alone at first; doubles.
const OPEN_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause between two looks at an open payment.
const OPEN_PAUSE_MAX: Duration = Duration::from_secs(120);
/// How much longer than the payment the stock is held.
const RESERVATION_MARGIN: Duration = Duration::from_secs(120);
/// Bounds of a reservation's life, as inventory has them.
const TTL_MIN: Duration = Duration::from_secs(60);
/// See [`TTL_MIN`].
const TTL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The steps of a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceStep {
    /// The order exists, PENDING. Done by the transaction that begins the saga.
    CreateOrder,
    /// Its stock is held for it.
    ReserveStock,
    /// Its money is authorized.
    AuthorizePayment,
    /// Its stock is its own: from here there is only forward.
    CommitReservation,
    /// It is CONFIRMED, and everybody hears of it.
    ConfirmOrder,
    /// Its money is taken.
    CapturePayment,
}

/// Places orders.
#[derive(Debug)]
pub struct Place {
    peers: Peers,
    reservation_ttl: Duration,
}

/// What the saga knows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Purchase {
    /// The order.
    pub order_id: String,
    /// Who pays.
    pub owner_id: String,
    /// What is bought.
    pub lines: Vec<Parcel>,
    /// In which currency.
    pub currency: String,
    /// What is charged, in minor units. Nothing: no payment is made.
    pub total: i64,
    /// With what; forgotten as soon as it was used.
    pub payment_method: String,
    /// Where the customer comes back to.
    pub return_uri: String,
    /// The stock that is held.
    pub reservation_id: String,
    /// Until when, in microseconds.
    pub reserved_until: i64,
    /// Whether inventory said that it holds nothing.
    pub nothing_held: bool,
    /// The payment.
    pub payment_intent_id: String,
    /// What the customer must do.
    pub action: Option<Action>,
    /// How often an open payment was looked at.
    pub looks: u32,
    /// Why it is not to be.
    pub refused: Option<Refused>,
}

/// What the customer must do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// Where.
    pub redirect_uri: String,
    /// Until when, in microseconds.
    pub expire_time: i64,
}

/// Why a purchase is not to be. A [`Refusal`] that JSON can hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    reason: i32,
    message: String,
    violations: Vec<(String, String)>,
}

// === impl PlaceStep ===

impl PlaceStep {
    /// Whether an instance at this position has its order confirmed.
    pub fn is_confirmed(position: i64) -> bool {
        let confirm = Self::ALL.iter().position(|step| *step == Self::ConfirmOrder);
        confirm
            .and_then(|confirm| i64::try_from(confirm).ok())
            .is_some_and(|confirm| position > confirm)
    }
}

impl Step for PlaceStep {
    const ALL: &'static [Self] = &[
        Self::CreateOrder,
        Self::ReserveStock,
        Self::AuthorizePayment,
        Self::CommitReservation,
        Self::ConfirmOrder,
        Self::CapturePayment,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::CreateOrder => "create_order",
            Self::ReserveStock => "reserve_stock",
            Self::AuthorizePayment => "authorize_payment",
            Self::CommitReservation => "commit_reservation",
            Self::ConfirmOrder => "confirm_order",
            Self::CapturePayment => "capture_payment",
        }
    }

    fn timeout(self) -> Duration {
        match self {
            Self::CreateOrder | Self::ConfirmOrder => Duration::from_secs(5),
            Self::ReserveStock | Self::CommitReservation => Duration::from_secs(8),
            Self::AuthorizePayment | Self::CapturePayment => Duration::from_secs(12),
        }
    }

    fn is_local(self) -> bool {
        match self {
            Self::CreateOrder | Self::ConfirmOrder => true,
            Self::ReserveStock
            | Self::AuthorizePayment
            | Self::CommitReservation
            | Self::CapturePayment => false,
        }
    }
}

// === impl Purchase ===

impl Purchase {
    /// What is known at the beginning.
    pub fn of(order: &Order, payment_method: String, return_uri: String) -> Self {
        Self {
            order_id: order.order_id.clone(),
            owner_id: order.owner_id.clone(),
            lines: order
                .lines
                .iter()
                .map(|line| Parcel { sku: line.sku.clone(), quantity: line.quantity })
                .collect(),
            currency: order.totals.currency.code().to_owned(),
            total: order.totals.total,
            payment_method,
            return_uri,
            ..Self::default()
        }
    }

    fn refuse(&mut self, reason: RefusalReason, message: impl Into<String>) -> Outcome {
        self.refuse_with(reason, message, Vec::new())
    }

    fn refuse_with(
        &mut self,
        reason: RefusalReason,
        message: impl Into<String>,
        violations: Vec<(String, String)>,
    ) -> Outcome {
        let message = message.into();
        let fault =
            Fault::failed_precondition(ErrorReason::OrderStateInvalid).message(message.clone());
        self.refused.get_or_insert(Refused { reason: reason.into(), message, violations });
        Outcome::Refuse(fault)
    }

    /// Why the purchase is not to be, as the caller is told.
    pub fn refusal(&self) -> Refusal {
        match &self.refused {
            Some(refused) => Refusal {
                reason: refused.reason,
                message: refused.message.clone(),
                violations: refused
                    .violations
                    .iter()
                    .map(|(subject, description)| RefusalViolation {
                        subject: subject.clone(),
                        description: description.clone(),
                    })
                    .collect(),
            },
            None => Refusal {
                reason: RefusalReason::Failed.into(),
                message: "the purchase could not be made".to_owned(),
                violations: Vec::new(),
            },
        }
    }

    fn amount(&self) -> Money {
        Money { currency_code: self.currency.clone(), minor_units: self.total }
    }

    fn is_free(&self) -> bool {
        self.total == 0
    }
}

// === impl Place ===

impl Place {
    /// Places orders with these peers.
    pub fn new(peers: Peers, config: &Config) -> Self {
        Self { peers, reservation_ttl: config.reservation_ttl.clamp(TTL_MIN, TTL_MAX) }
    }

    async fn hold(&self, key: String, at: &At, state: &mut Purchase) -> Result<(), Outcome> {
        let request = ReserveRequest {
            request_id: key,
            owner: stock_owner(&state.order_id),
            lines: state
                .lines
                .iter()
                .map(|line| ReserveLine { sku: line.sku.clone(), quantity: line.quantity })
                .collect(),
            ttl: prost_types::Duration::try_from(self.reservation_ttl).ok(),
        };
        match self.peers.inventory.clone().reserve(request).await {
            Ok(answer) => {
                let reservation = answer.into_inner().reservation.unwrap_or_default();
                state.reserved_until = reservation
                    .expire_time
                    .map(|time| Time::from(time).micros())
                    .unwrap_or_default();
                state.reservation_id = reservation.reservation_id;
                Ok(())
            }
            Err(status) => {
                let fault = Fault::from(status);
                if fault.is(Stock::OutOfStock) {
                    let short = fault
                        .preconditions()
                        .iter()
                        .map(|short| (short.subject.clone(), short.description.clone()))
                        .collect();
                    return Err(state.refuse_with(
                        RefusalReason::OutOfStock,
                        fault.to_string(),
                        short,
                    ));
                }
                Err(match impatient(&fault, at.attempt) {
                    Meaning::Again => Outcome::retry(&fault),
                    Meaning::No => state.refuse(
                        RefusalReason::Failed,
                        format!("stock cannot be reserved: {fault}"),
                    ),
                })
            }
        }
    }

    async fn reserve_stock(&self, at: &At, state: &mut Purchase) -> Outcome {
        match self.hold(at.key("reserve"), at, state).await {
            Ok(()) => Outcome::done(),
            Err(outcome) => {
                state.nothing_held = state
                    .refused
                    .as_ref()
                    .is_some_and(|refused| refused.reason == i32::from(RefusalReason::OutOfStock));
                outcome
            }
        }
    }

    async fn release_stock(&self, at: &At, state: &mut Purchase) -> Undone {
        if state.nothing_held && state.reservation_id.is_empty() {
            return Undone::done();
        }
        // An answer may have been lost, so inventory is asked what it holds.
        let request = ListReservationsRequest {
            page_size: 20,
            owner: stock_owner(&state.order_id),
            ..ListReservationsRequest::default()
        };
        let held = match self.peers.inventory.clone().list_reservations(request).await {
            Ok(answer) => answer.into_inner().reservations,
            Err(status) => return Undone::retry(Fault::from(status)),
        };
        for reservation in held {
            match reservation.state() {
                ReservationState::Held | ReservationState::Committed => {}
                ReservationState::Fulfilled => {
                    return Undone::Stuck("the units have left the house".to_owned());
                }
                ReservationState::Released
                | ReservationState::Expired
                | ReservationState::ReturnedToStock
                | ReservationState::Unspecified => continue,
            }
            let key = at.key(&reservation.reservation_id);
            if let Err(fault) = self.peers.release(key, &reservation.reservation_id).await {
                return Undone::retry(fault);
            }
        }
        Undone::done()
    }

    /// Keeps the stock for as long as the payment may take. If that fails the
    /// reservation may expire; the commit sees to that.
    async fn prolong(&self, at: &At, state: &mut Purchase, until: Time) {
        let until = until + RESERVATION_MARGIN;
        if state.reserved_until >= until.micros() {
            return;
        }
        let ttl = until.since(at.now).clamp(TTL_MIN, TTL_MAX);
        let request = ExtendReservationRequest {
            request_id: at.key(&format!("extend-{}", until.micros())),
            reservation_id: state.reservation_id.clone(),
            ttl: prost_types::Duration::try_from(ttl).ok(),
        };
        match self.peers.inventory.clone().extend_reservation(request).await {
            Ok(answer) => {
                let reservation = answer.into_inner().reservation.unwrap_or_default();
                state.reserved_until = reservation
                    .expire_time
                    .map(|time| Time::from(time).micros())
                    .unwrap_or(state.reserved_until);
            }
            Err(status) => {
                let fault = Fault::from(status);
                tracing::debug!(order.id = state.order_id, %fault, "the reservation was not prolonged");
            }
        }
    }

    async fn authorize(&self, at: &At, state: &mut Purchase) -> Outcome {
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

    async fn let_payment_go(&self, at: &At, state: &mut Purchase) -> Undone {
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

    async fn commit(&self, at: &At, state: &mut Purchase) -> Outcome {
        match self.commit_held(at, state).await {
            Ok(outcome) => outcome,
            // It expired before the payment was done: once more, if there is stock.
            Err(_) => {
                if let Err(outcome) = self.hold(at.key("reserve-again"), at, state).await {
                    return outcome;
                }
                match self.commit_held(at, state).await {
                    Ok(outcome) => outcome,
                    Err(fault) => state.refuse(RefusalReason::OutOfStock, fault.to_string()),
                }
            }
        }
    }

    /// `Err` if the reservation is no more.
    async fn commit_held(&self, at: &At, state: &mut Purchase) -> Result<Outcome, Fault> {
        let request = CommitReservationRequest {
            request_id: at.key(&format!("commit-{}", state.reservation_id)),
            reservation_id: state.reservation_id.clone(),
        };
        match self.peers.inventory.clone().commit_reservation(request).await {
            Ok(_) => Ok(Outcome::done()),
            Err(status) => {
                let fault = Fault::from(status);
                let gone = [
                    Stock::ReservationExpired,
                    Stock::ReservationAlreadyReleased,
                    Stock::ReservationNotFound,
                ];
                if fault.is(Stock::ReservationAlreadyCommitted) {
                    return Ok(Outcome::done());
                }
                if gone.into_iter().any(|reason| fault.is(reason)) {
                    return Err(fault);
                }
                Ok(match meaning(&fault, at.attempt) {
                    Meaning::Again => Outcome::retry(&fault),
                    Meaning::No => state.refuse(
                        RefusalReason::Failed,
                        format!("stock cannot be committed: {fault}"),
                    ),
                })
            }
        }
    }

    async fn capture(&self, at: &At, state: &mut Purchase) -> Outcome {
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
            Err(fault) if fault.is(Payment::IntentStateInvalid) && at.attempt == 1 => {
                return Outcome::retry(fault);
            }
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

impl Saga for Place {
    const NAME: &'static str = "place_order";
    const VERSION: i64 = 1;
    type Step = PlaceStep;
    const PIVOT: Option<PlaceStep> = Some(PlaceStep::CommitReservation);
    type State = Purchase;

    async fn act(&self, step: PlaceStep, at: &At, state: &mut Purchase) -> Outcome {
        match step {
            PlaceStep::CreateOrder => Outcome::done(),
            PlaceStep::ReserveStock => self.reserve_stock(at, state).await,
            PlaceStep::AuthorizePayment => self.authorize(at, state).await,
            PlaceStep::CommitReservation => self.commit(at, state).await,
            PlaceStep::ConfirmOrder => Outcome::Done(Some(confirmed(state))),
            PlaceStep::CapturePayment => self.capture(at, state).await,
        }
    }

    async fn undo(&self, step: PlaceStep, at: &At, state: &mut Purchase) -> Undone {
        match step {
            PlaceStep::CreateOrder => {
                let (order_id, refusal) = (state.order_id.clone(), state.refusal());
                Undone::done_with(move |tx| {
                    Box::pin(async move { ending::refuse(tx, &order_id, &refusal).await })
                })
            }
            // With the stock that was perhaps committed, too.
            PlaceStep::ReserveStock => self.release_stock(at, state).await,
            PlaceStep::AuthorizePayment => self.let_payment_go(at, state).await,
            PlaceStep::CommitReservation | PlaceStep::ConfirmOrder | PlaceStep::CapturePayment => {
                Undone::done()
            }
        }
    }

    fn interrupted(&self, why: &Interrupt, state: &mut Purchase) {
        let (reason, message) = match why {
            Interrupt::Deadline => {
                (RefusalReason::Expired, "the payment was not completed in time".to_owned())
            }
            Interrupt::Asked(said) => (RefusalReason::Cancelled, said.clone()),
        };
        state.refused.get_or_insert(Refused {
            reason: reason.into(),
            message,
            violations: Vec::new(),
        });
    }

    fn skipped(
        &self,
        step: PlaceStep,
        undo: bool,
        _at: &At,
        state: &mut Purchase,
    ) -> Option<Effect> {
        match (step, undo) {
            (PlaceStep::ConfirmOrder, false) => Some(confirmed(state)),
            (PlaceStep::CapturePayment, false) => Some(captured(state.order_id.clone())),
            (PlaceStep::CreateOrder, true) => {
                let (order_id, refusal) = (state.order_id.clone(), state.refusal());
                Some(Box::new(move |tx| {
                    Box::pin(async move { ending::refuse(tx, &order_id, &refusal).await })
                }))
            }
            (
                PlaceStep::CreateOrder
                | PlaceStep::ReserveStock
                | PlaceStep::AuthorizePayment
                | PlaceStep::CommitReservation
                | PlaceStep::ConfirmOrder
                | PlaceStep::CapturePayment,
                _,
            ) => None,
        }
    }
}

fn confirmed(state: &Purchase) -> Effect {
    let (order_id, intent, reservation) =
        (state.order_id.clone(), state.payment_intent_id.clone(), state.reservation_id.clone());
    Box::new(move |tx| {
        Box::pin(async move { ending::confirm(tx, &order_id, &intent, &reservation).await })
    })
}

fn captured(order_id: String) -> Effect {
    Box::new(move |tx| {
        Box::pin(async move {
            let mut order = store::demand_header(tx, &order_id).await?;
            match order.captured() {
                Some(happened) => {
                    ending::save_and_complete(tx, &mut order, vec![happened], None).await
                }
                None => Ok(()),
            }
        })
    })
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
