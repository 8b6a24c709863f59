//! `PaymentWebhookService`.

use contracts::payments::v1::{
    IngestWebhookRequest, IngestWebhookResponse, ListWebhookEventsRequest,
    ListWebhookEventsResponse, ReplayWebhookEventRequest, WebhookEvent,
    payment_webhook_service_server::PaymentWebhookService,
};
use tonic::{Request, Response, Status};

use super::{Rpc, given};
use crate::{
    domain::WebhookStatus,
    error::Error,
    store::{self, Below},
    till::Turn,
};

#[tonic::async_trait]
impl PaymentWebhookService for Rpc {
    async fn ingest_webhook(
        &self,
        request: Request<IngestWebhookRequest>,
    ) -> Result<Response<IngestWebhookResponse>, Status> {
        let message = request.get_ref();
        let (webhook_event_id, duplicate) =
            self.till.ingest(&message.provider, &message.payload, &message.signature).await?;
        Ok(Response::new(IngestWebhookResponse { webhook_event_id, duplicate }))
    }

    async fn list_webhook_events(
        &self,
        request: Request<ListWebhookEventsRequest>,
    ) -> Result<Response<ListWebhookEventsResponse>, Status> {
        let message = request.into_inner();
        let filter = store::webhook::Filter {
            intent_id: given(message.payment_intent_id),
            status: WebhookStatus::from_wire(message.status),
        };
        let parts = [
            filter.intent_id.as_deref().unwrap_or_default(),
            filter.status.map_or("", WebhookStatus::as_str),
        ];
        let page = self.pages.page(message.page_size, &message.page_token, &parts)?;
        let below = Below::of(page.after());
        let found = store::webhook::list(&self.till.database, &filter, below, page.limit())
            .await
            .map_err(Error::from)?;
        let (events, next_page_token) =
            page.finish(found, |last| (last.receive_time.micros(), last.id.clone()));
        let webhook_events = events.into_iter().map(Into::into).collect();
        Ok(Response::new(ListWebhookEventsResponse { webhook_events, next_page_token }))
    }

    async fn replay_webhook_event(
        &self,
        request: Request<ReplayWebhookEventRequest>,
    ) -> Result<Response<WebhookEvent>, Status> {
        let event = self.till.process(&request.get_ref().webhook_event_id, Turn::Again).await?;
        Ok(Response::new(event.into()))
    }
}
