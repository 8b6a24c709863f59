//! `RefundService`.

use contracts::payments::v1::{
    CreateRefundRequest, GetRefundRequest, ListRefundsRequest, ListRefundsResponse,
    Refund as Message, SyncRefundRequest, refund_service_server::RefundService,
};
use tonic::{Request, Response, Status};

use super::{Rpc, amount, given};
use crate::{
    domain::{Refund, RefundReason, RefundStatus},
    error::Error,
    store::{self, Below},
    till::Call,
};

#[tonic::async_trait]
impl RefundService for Rpc {
    async fn create_refund(
        &self,
        request: Request<CreateRefundRequest>,
    ) -> Result<Response<Message>, Status> {
        let call = Call::of(&request)?;
        let message = request.into_inner();
        let amount = amount(message.amount)?;
        let reason = RefundReason::from_wire(message.reason).unwrap_or(RefundReason::Requested);
        let answer = self.till.refund(call, message.payment_intent_id, amount, reason).await?;
        Ok(answer.respond(Refund::message)?)
    }

    async fn get_refund(
        &self,
        request: Request<GetRefundRequest>,
    ) -> Result<Response<Message>, Status> {
        let refund = store::refund::find(&self.till.database, &request.get_ref().refund_id).await?;
        Ok(Response::new(refund.message()))
    }

    async fn list_refunds(
        &self,
        request: Request<ListRefundsRequest>,
    ) -> Result<Response<ListRefundsResponse>, Status> {
        let message = request.into_inner();
        let filter = store::refund::Filter {
            intent_id: given(message.payment_intent_id),
            order_id: given(message.order_id),
            status: RefundStatus::from_wire(message.status),
        };
        let parts = [
            filter.intent_id.as_deref().unwrap_or_default(),
            filter.order_id.as_deref().unwrap_or_default(),
            filter.status.map_or("", RefundStatus::as_str),
        ];
        let page = self.pages.page(message.page_size, &message.page_token, &parts)?;
        let below = Below::of(page.after());
        let found = store::refund::list(&self.till.database, &filter, below, page.limit())
            .await
            .map_err(Error::from)?;
        let (refunds, next_page_token) =
            page.finish(found, |last| (last.create_time.micros(), last.id.clone()));
        let refunds = refunds.iter().map(Refund::message).collect();
        Ok(Response::new(ListRefundsResponse { refunds, next_page_token }))
    }

    async fn sync_refund(
        &self,
        request: Request<SyncRefundRequest>,
    ) -> Result<Response<Message>, Status> {
        let refund = self.till.sync_refund(&request.get_ref().refund_id).await?;
        Ok(Response::new(refund.message()))
    }
}
