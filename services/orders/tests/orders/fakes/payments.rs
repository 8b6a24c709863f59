//! Money, and the feed that tells of it. What an intent does is written on its
//! payment method: ok, declined, 3ds, unknown, processing, conflicted.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use chassis::{Clock, Fault};
use contracts::{
    io::cloudevents::v1::{
        CloudEvent,
        cloud_event::{CloudEventAttributeValue, Data, cloud_event_attribute_value::Attr},
    },
    mesh::v1::{
        FeedEvent, PullEventsRequest, PullEventsResponse, feed_service_server::FeedService,
    },
    payments::v1::{
        CancelPaymentIntentRequest, CapturePaymentIntentRequest, CompletePaymentActionRequest,
        ConfirmPaymentIntentRequest, CreatePaymentIntentRequest, CreateRefundRequest, ErrorReason,
        GetPaymentIntentRequest, GetRefundRequest, ListAttemptsRequest, ListAttemptsResponse,
        ListPaymentIntentsRequest, ListPaymentIntentsResponse, ListRefundsRequest,
        ListRefundsResponse, NextAction, PaymentAuthorized, PaymentDeclined, PaymentError,
        PaymentIntent, PaymentIntentStatus as State, Refund, RefundStatus, RefundSucceeded,
        SyncPaymentRequest, SyncRefundRequest, payment_service_server::PaymentService,
        refund_service_server::RefundService,
    },
    values::v1::Money,
};
use prost::{Message, Name};
use tokio::sync::Notify;
use tonic::{Request, Response, Status};

use super::{Replays, Script, Strike, lock, serve};

#[derive(Default)]
pub(crate) struct Payments {
    state: Mutex<Books>,
    clock: Clock,
    told: Notify,
}

#[derive(Default)]
struct Books {
    intents: BTreeMap<String, PaymentIntent>,
    script: Script,
    replays: Replays,
    events: Vec<FeedEvent>,
    captures: usize,
    refunds: usize,
    /// What a sync finds out about an unknown intent.
    truth: Option<State>,
}

fn money(minor_units: i64) -> Option<Money> {
    Some(Money { currency_code: "EUR".to_owned(), minor_units })
}

fn minor(amount: &Option<Money>) -> i64 {
    amount.as_ref().map(|amount| amount.minor_units).unwrap_or_default()
}

fn confirm(intent: &mut PaymentIntent) {
    match intent.payment_method.as_str() {
        "ok" => intent.set_status(State::RequiresCapture),
        "declined" => {
            intent.set_status(State::RequiresPaymentMethod);
            intent.last_error = Some(PaymentError {
                message: "the card was declined".to_owned(),
                ..PaymentError::default()
            });
        }
        "3ds" => {
            intent.set_status(State::RequiresAction);
            intent.next_action = Some(NextAction {
                redirect_uri: "https://bank.example/challenge".to_owned(),
                expire_time: Some((chassis::clock::FAKE_START + Duration::from_secs(600)).into()),
            });
        }
        "unknown" => intent.set_status(State::Unknown),
        "processing" => intent.set_status(State::Processing),
        "conflicted" => intent.set_status(State::Conflicted),
        other => panic!("no such payment method: {other}"),
    }
}

impl Books {
    fn parts(&mut self) -> (&mut Script, &mut Replays) {
        (&mut self.script, &mut self.replays)
    }

    fn demand(&mut self, id: &str) -> Result<&mut PaymentIntent, Status> {
        self.intents.get_mut(id).ok_or_else(|| Fault::not_found(ErrorReason::IntentNotFound).into())
    }
}

impl Payments {
    pub(crate) fn fail(&self, method: &'static str, strike: Strike, status: Status) {
        lock(&self.state).script.fail(method, strike, status);
    }

    /// How many intents hold a customer's money, or may.
    pub(crate) fn held(&self) -> usize {
        let holds =
            [State::RequiresCapture, State::RequiresAction, State::Processing, State::Unknown];
        lock(&self.state).intents.values().filter(|intent| holds.contains(&intent.status())).count()
    }

    /// Minor units that were captured and not given back.
    pub(crate) fn taken(&self) -> i64 {
        lock(&self.state)
            .intents
            .values()
            .map(|intent| minor(&intent.amount_captured) - minor(&intent.amount_refunded))
            .sum()
    }

    pub(crate) fn intents(&self) -> usize {
        lock(&self.state).intents.len()
    }

    pub(crate) fn captures(&self) -> usize {
        lock(&self.state).captures
    }

    pub(crate) fn refunds(&self) -> usize {
        lock(&self.state).refunds
    }

    /// What the provider will say when it is asked about an unknown intent.
    pub(crate) fn truth(&self, truth: State) {
        lock(&self.state).truth = Some(truth);
    }

    /// The provider's word comes, and with it the event.
    pub(crate) fn settle(&self, order_id: &str, status: State) {
        let event = {
            let mut books = lock(&self.state);
            let intent =
                books.intents.values_mut().find(|intent| intent.order_id == order_id).unwrap();
            intent.set_status(status);
            intent.next_action = None;
            intent.clone()
        };
        match status {
            State::RequiresCapture => self.tell(
                &event.payment_intent_id,
                &PaymentAuthorized {
                    payment_intent_id: event.payment_intent_id.clone(),
                    order_id: event.order_id,
                    ..PaymentAuthorized::default()
                },
            ),
            _ => self.tell(
                &event.payment_intent_id,
                &PaymentDeclined {
                    payment_intent_id: event.payment_intent_id.clone(),
                    order_id: event.order_id,
                    ..PaymentDeclined::default()
                },
            ),
        }
    }

    /// An intent that was made so late that nobody waits for it any more.
    pub(crate) fn orphan(&self, order_id: &str) {
        let intent = PaymentIntent {
            payment_intent_id: self.clock.id(),
            order_id: order_id.to_owned(),
            status: State::RequiresCapture.into(),
            ..PaymentIntent::default()
        };
        lock(&self.state).intents.insert(intent.payment_intent_id.clone(), intent.clone());
        self.tell(
            &intent.payment_intent_id,
            &PaymentAuthorized {
                payment_intent_id: intent.payment_intent_id.clone(),
                order_id: order_id.to_owned(),
                ..PaymentAuthorized::default()
            },
        );
    }

    /// Somebody refunds outside of any saga.
    pub(crate) fn refund(&self, order_id: &str, units: i64) {
        let (id, in_all) = {
            let mut books = lock(&self.state);
            let intent =
                books.intents.values_mut().find(|intent| intent.order_id == order_id).unwrap();
            intent.amount_refunded = money(minor(&intent.amount_refunded) + units);
            (intent.payment_intent_id.clone(), intent.amount_refunded.clone())
        };
        self.tell(
            &id,
            &RefundSucceeded {
                payment_intent_id: id.clone(),
                order_id: order_id.to_owned(),
                amount: money(units),
                amount_refunded: in_all,
                ..RefundSucceeded::default()
            },
        );
    }

    fn tell<M: Message + Name>(&self, subject: &str, message: &M) {
        {
            let mut books = lock(&self.state);
            let seq = i64::try_from(books.events.len()).unwrap() + 1;
            let text = |text: &str| CloudEventAttributeValue {
                attr: Some(Attr::CeString(text.to_owned())),
            };
            books.events.push(FeedEvent {
                seq,
                event: Some(CloudEvent {
                    id: self.clock.id(),
                    source: "/payments".to_owned(),
                    spec_version: "1.0".to_owned(),
                    r#type: M::full_name(),
                    attributes: [("subject".to_owned(), text(subject))].into(),
                    data: Some(Data::ProtoData(prost_types::Any {
                        type_url: format!("type.googleapis.com/{}", M::full_name()),
                        value: message.encode_to_vec(),
                    })),
                }),
            });
        }
        self.told.notify_waiters();
    }
}

#[tonic::async_trait]
impl FeedService for Payments {
    async fn pull_events(
        &self,
        request: Request<PullEventsRequest>,
    ) -> Result<Response<PullEventsResponse>, Status> {
        let request = request.into_inner();
        let after = if request.feed_id == "fake" { request.after_seq } else { 0 };
        for _ in 0..2 {
            let told = self.told.notified();
            let events: Vec<FeedEvent> = lock(&self.state)
                .events
                .iter()
                .filter(|event| event.seq > after)
                .cloned()
                .collect();
            if !events.is_empty() {
                return Ok(Response::new(PullEventsResponse {
                    feed_id: "fake".to_owned(),
                    events,
                }));
            }
            let _elapsed = tokio::time::timeout(Duration::from_millis(500), told).await;
        }
        Ok(Response::new(PullEventsResponse { feed_id: "fake".to_owned(), events: Vec::new() }))
    }
}

#[tonic::async_trait]
impl PaymentService for Payments {
    async fn create_payment_intent(
        &self,
        request: Request<CreatePaymentIntentRequest>,
    ) -> Result<Response<PaymentIntent>, Status> {
        let request = request.into_inner();
        serve(&self.state, "create", &request.request_id, Books::parts, |books| {
            if request.payment_method == "nonsense" {
                return Err(Fault::invalid_argument(ErrorReason::PaymentMethodUnknown)
                    .message("the provider knows no such payment method")
                    .into());
            }
            let open = books.intents.values().find(|intent| {
                intent.order_id == request.order_id
                    && !matches!(intent.status(), State::Canceled | State::Expired)
            });
            if let Some(open) = open {
                return Err(Fault::already_exists(ErrorReason::OrderIntentExists)
                    .metadata("payment_intent_id", &open.payment_intent_id)
                    .into());
            }
            let mut intent = PaymentIntent {
                payment_intent_id: self.clock.id(),
                order_id: request.order_id.clone(),
                customer_id: request.customer_id.clone(),
                amount: request.amount.clone(),
                payment_method: request.payment_method.clone(),
                ..PaymentIntent::default()
            };
            intent.set_status(State::RequiresConfirmation);
            if request.confirm {
                confirm(&mut intent);
            }
            books.intents.insert(intent.payment_intent_id.clone(), intent.clone());
            Ok(intent)
        })
    }

    async fn confirm_payment_intent(
        &self,
        request: Request<ConfirmPaymentIntentRequest>,
    ) -> Result<Response<PaymentIntent>, Status> {
        let request = request.into_inner();
        serve(&self.state, "confirm", &request.request_id, Books::parts, |books| {
            let intent = books.demand(&request.payment_intent_id)?;
            confirm(intent);
            Ok(intent.clone())
        })
    }

    async fn capture_payment_intent(
        &self,
        request: Request<CapturePaymentIntentRequest>,
    ) -> Result<Response<PaymentIntent>, Status> {
        let request = request.into_inner();
        serve(&self.state, "capture", &request.request_id, Books::parts, |books| {
            let intent = books.demand(&request.payment_intent_id)?;
            if intent.status() != State::RequiresCapture {
                return Err(Fault::failed_precondition(ErrorReason::IntentStateInvalid).into());
            }
            intent.set_status(State::Succeeded);
            intent.amount_captured = intent.amount.clone();
            let intent = intent.clone();
            books.captures += 1;
            Ok(intent)
        })
    }

    async fn cancel_payment_intent(
        &self,
        request: Request<CancelPaymentIntentRequest>,
    ) -> Result<Response<PaymentIntent>, Status> {
        let request = request.into_inner();
        serve(&self.state, "cancel", &request.request_id, Books::parts, |books| {
            let intent = books.demand(&request.payment_intent_id)?;
            if intent.status() == State::Succeeded {
                return Err(Fault::failed_precondition(ErrorReason::IntentStateInvalid).into());
            }
            if intent.status() == State::Unknown {
                return Err(Fault::failed_precondition(ErrorReason::OutcomeUnknown).into());
            }
            intent.set_status(State::Canceled);
            Ok(intent.clone())
        })
    }

    async fn get_payment_intent(
        &self,
        request: Request<GetPaymentIntentRequest>,
    ) -> Result<Response<PaymentIntent>, Status> {
        let id = request.into_inner().payment_intent_id;
        Ok(Response::new(lock(&self.state).demand(&id)?.clone()))
    }

    async fn list_payment_intents(
        &self,
        request: Request<ListPaymentIntentsRequest>,
    ) -> Result<Response<ListPaymentIntentsResponse>, Status> {
        let order_id = request.into_inner().order_id;
        let books = lock(&self.state);
        let payment_intents =
            books.intents.values().filter(|intent| intent.order_id == order_id).cloned().collect();
        Ok(Response::new(ListPaymentIntentsResponse {
            payment_intents,
            next_page_token: String::new(),
        }))
    }

    async fn list_attempts(
        &self,
        _request: Request<ListAttemptsRequest>,
    ) -> Result<Response<ListAttemptsResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn complete_payment_action(
        &self,
        _request: Request<CompletePaymentActionRequest>,
    ) -> Result<Response<PaymentIntent>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn sync_payment(
        &self,
        request: Request<SyncPaymentRequest>,
    ) -> Result<Response<PaymentIntent>, Status> {
        let id = request.into_inner().payment_intent_id;
        let mut books = lock(&self.state);
        let truth = books.truth;
        let intent = books.demand(&id)?;
        if let Some(truth) = truth {
            intent.set_status(truth);
        }
        Ok(Response::new(intent.clone()))
    }
}

#[tonic::async_trait]
impl RefundService for Payments {
    async fn create_refund(
        &self,
        request: Request<CreateRefundRequest>,
    ) -> Result<Response<Refund>, Status> {
        let request = request.into_inner();
        serve(&self.state, "refund", &request.request_id, Books::parts, |books| {
            let intent = books.demand(&request.payment_intent_id)?;
            if intent.status() != State::Succeeded {
                return Err(Fault::failed_precondition(ErrorReason::IntentStateInvalid).into());
            }
            if minor(&intent.amount_refunded) >= minor(&intent.amount_captured) {
                return Err(Fault::failed_precondition(ErrorReason::AmountExceedsRefundable).into());
            }
            intent.amount_refunded = intent.amount_captured.clone();
            books.refunds += 1;
            Ok(Refund { status: RefundStatus::Succeeded.into(), ..Refund::default() })
        })
    }

    async fn get_refund(
        &self,
        _request: Request<GetRefundRequest>,
    ) -> Result<Response<Refund>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn list_refunds(
        &self,
        _request: Request<ListRefundsRequest>,
    ) -> Result<Response<ListRefundsResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn sync_refund(
        &self,
        _request: Request<SyncRefundRequest>,
    ) -> Result<Response<Refund>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}
