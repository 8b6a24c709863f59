//! `PaymentService`.

use chassis::{Caller, idempotency::KEEP_MONEY};
use contracts::payments::v1::{
    CancelPaymentIntentRequest, CapturePaymentIntentRequest, CompletePaymentActionRequest,
    ConfirmPaymentIntentRequest, CreatePaymentIntentRequest, GetPaymentIntentRequest,
    ListAttemptsRequest, ListAttemptsResponse, ListPaymentIntentsRequest,
    ListPaymentIntentsResponse, PaymentActionOutcome, PaymentIntent, SyncPaymentRequest,
    payment_service_server::PaymentService,
};
use tonic::{Request, Response, Status};

use super::{Rpc, amount, given, harmless};
use crate::{
    domain::{Attempt, CancellationReason, CaptureMethod, Intent, IntentStatus},
    error::Error,
    store::{self, Below},
    till::{Call, NewIntent, Operation},
};

#[tonic::async_trait]
impl PaymentService for Rpc {
    async fn create_payment_intent(
        &self,
        request: Request<CreatePaymentIntentRequest>,
    ) -> Result<Response<PaymentIntent>, Status> {
        let call = Call::of(&request)?;
        let message = request.get_ref().clone();
        let new = NewIntent {
            order_id: message.order_id,
            customer_id: message.customer_id,
            amount: amount(message.amount)?.ok_or(Error::AmountInvalid)?,
            capture_method: CaptureMethod::from_wire(message.capture_method)
                .unwrap_or(CaptureMethod::Manual),
            payment_method: harmless("payment_method", message.payment_method)?,
            return_uri: harmless("return_uri", message.return_uri)?,
        };
        if message.confirm {
            if new.payment_method.is_none() {
                return Err(Error::PaymentMethodRequired.into());
            }
            let answer = self.till.perform(call, Operation::Collect(new)).await?;
            return Ok(answer.respond(Intent::message)?);
        }
        let create = self.till.database.once_kept(&request, KEEP_MONEY, move |tx, _| {
            Box::pin(async move {
                let intent = new.intent(tx, call.operation);
                if store::intent::insert(tx, &intent).await? {
                    return Ok(intent.message());
                }
                let known =
                    store::intent::find_by_operation(tx, &intent.operation, &intent.order_id)
                        .await?;
                Ok::<_, Error>(known.message())
            })
        });
        Ok(create.await?)
    }

    async fn confirm_payment_intent(
        &self,
        request: Request<ConfirmPaymentIntentRequest>,
    ) -> Result<Response<PaymentIntent>, Status> {
        let call = Call::of(&request)?;
        let message = request.into_inner();
        let operation = Operation::Confirm {
            intent_id: message.payment_intent_id,
            payment_method: harmless("payment_method", message.payment_method)?,
            return_uri: harmless("return_uri", message.return_uri)?,
        };
        Ok(self.till.perform(call, operation).await?.respond(Intent::message)?)
    }

    async fn capture_payment_intent(
        &self,
        request: Request<CapturePaymentIntentRequest>,
    ) -> Result<Response<PaymentIntent>, Status> {
        let call = Call::of(&request)?;
        let message = request.into_inner();
        let operation = Operation::Capture {
            intent_id: message.payment_intent_id,
            amount: amount(message.amount)?,
        };
        Ok(self.till.perform(call, operation).await?.respond(Intent::message)?)
    }

    async fn cancel_payment_intent(
        &self,
        request: Request<CancelPaymentIntentRequest>,
    ) -> Result<Response<PaymentIntent>, Status> {
        let call = Call::of(&request)?;
        let message = request.into_inner();
        let operation = Operation::Cancel {
            intent_id: message.payment_intent_id,
            reason: CancellationReason::from_wire(message.reason)
                .unwrap_or(CancellationReason::Requested),
        };
        Ok(self.till.perform(call, operation).await?.respond(Intent::message)?)
    }

    async fn get_payment_intent(
        &self,
        request: Request<GetPaymentIntentRequest>,
    ) -> Result<Response<PaymentIntent>, Status> {
        let owner = Caller::of(&request).scope().owner();
        let id = &request.get_ref().payment_intent_id;
        let intent = store::intent::find(&self.till.database, id, owner).await?;
        Ok(Response::new(intent.message()))
    }

    async fn list_payment_intents(
        &self,
        request: Request<ListPaymentIntentsRequest>,
    ) -> Result<Response<ListPaymentIntentsResponse>, Status> {
        let message = request.into_inner();
        let filter = store::intent::Filter {
            order_id: given(message.order_id),
            customer_id: given(message.customer_id),
            status: IntentStatus::from_wire(message.status),
        };
        let parts = [
            filter.order_id.as_deref().unwrap_or_default(),
            filter.customer_id.as_deref().unwrap_or_default(),
            filter.status.map_or("", IntentStatus::as_str),
        ];
        let page = self.pages.page(message.page_size, &message.page_token, &parts)?;
        let below = Below::of(page.after());
        let found = store::intent::list(&self.till.database, &filter, below, page.limit())
            .await
            .map_err(Error::from)?;
        let (intents, next_page_token) =
            page.finish(found, |last| (last.create_time.micros(), last.id.clone()));
        let payment_intents = intents.iter().map(Intent::message).collect();
        Ok(Response::new(ListPaymentIntentsResponse { payment_intents, next_page_token }))
    }

    async fn list_attempts(
        &self,
        request: Request<ListAttemptsRequest>,
    ) -> Result<Response<ListAttemptsResponse>, Status> {
        let message = request.into_inner();
        let (database, id) = (&self.till.database, &message.payment_intent_id);
        let page = self.pages.page(message.page_size, &message.page_token, &[id])?;
        store::intent::find(database, id, None).await?;
        let found = store::attempt::list(database, id, page.after(), page.limit())
            .await
            .map_err(Error::from)?;
        let (attempts, next_page_token) =
            page.finish(found, |last| (last.create_time.micros(), last.id.clone()));
        let attempts = attempts.iter().map(Attempt::message).collect();
        Ok(Response::new(ListAttemptsResponse { attempts, next_page_token }))
    }

    async fn complete_payment_action(
        &self,
        request: Request<CompletePaymentActionRequest>,
    ) -> Result<Response<PaymentIntent>, Status> {
        let call = Call::of(&request)?;
        let owner = Caller::of(&request).scope().owner().map(str::to_owned);
        let message = request.into_inner();
        let success = match message.outcome() {
            PaymentActionOutcome::Success => true,
            PaymentActionOutcome::Failure | PaymentActionOutcome::Unspecified => false,
        };
        let operation = Operation::Answer { intent_id: message.payment_intent_id, owner, success };
        Ok(self.till.perform(call, operation).await?.respond(Intent::message)?)
    }

    async fn sync_payment(
        &self,
        request: Request<SyncPaymentRequest>,
    ) -> Result<Response<PaymentIntent>, Status> {
        let intent = self.till.sync(&request.get_ref().payment_intent_id).await?;
        Ok(Response::new(intent.message()))
    }
}
