//! Changing orders: cancelling, holding, noting.

use chassis::{
    Caller,
    idempotency::KEEP_MONEY,
    saga::{New, Sagas},
    store::Tx,
};
use contracts::orders::v1::{
    AddNoteRequest, AddNoteResponse, CancelOrderRequest, CancelReason, HoldOrderRequest,
    Order as Message, OrderEventKind, OrderStatus, ReleaseHoldRequest,
};
use tonic::{Request, Response};

use super::{Rpc, owner_of};
use crate::{
    Error,
    domain::{Happening, Order},
    saga::{
        cancel::{Cancel, Cancellation},
        cancel_id, ending,
        place::Place,
    },
    store,
};

impl Rpc {
    pub(super) async fn cancel(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<Message>, Error> {
        let (owner, actor) = (owner_of(&request), Caller::of(&request).actor());
        let order_id = request.get_ref().order_id.clone();
        let sagas = self.sagas.clone();
        let response = self
            .database
            .once_kept(&request, KEEP_MONEY, move |tx, request| {
                Box::pin(async move {
                    let order = cancel(tx, &sagas, &request, owner.as_deref(), &actor).await?;
                    Ok::<_, Error>(Message::from(&order))
                })
            })
            .await?;
        self.sagas.nudge(&order_id);
        self.sagas.nudge(&cancel_id(&order_id));
        Ok(response)
    }

    pub(super) async fn hold(
        &self,
        request: Request<HoldOrderRequest>,
    ) -> Result<Response<Message>, Error> {
        let actor = Caller::of(&request).actor();
        self.database
            .once(&request, move |tx, request| {
                Box::pin(async move {
                    let mut order = store::demand_order(tx, &request.order_id, None).await?;
                    order.check_etag(&request.etag)?;
                    if let Some(happened) = order.hold(&request.note)? {
                        store::save_order(tx, &mut order, &[happened], &actor).await?;
                    }
                    Ok(Message::from(&order))
                })
            })
            .await
    }

    pub(super) async fn release(
        &self,
        request: Request<ReleaseHoldRequest>,
    ) -> Result<Response<Message>, Error> {
        let actor = Caller::of(&request).actor();
        self.database
            .once(&request, move |tx, request| {
                Box::pin(async move {
                    let mut order = store::demand_order(tx, &request.order_id, None).await?;
                    order.check_etag(&request.etag)?;
                    if let Some(happened) = order.release(&request.note)? {
                        store::save_order(tx, &mut order, &[happened], &actor).await?;
                    }
                    Ok(Message::from(&order))
                })
            })
            .await
    }

    pub(super) async fn note(
        &self,
        request: Request<AddNoteRequest>,
    ) -> Result<Response<AddNoteResponse>, Error> {
        let actor = Caller::of(&request).actor();
        self.database
            .once(&request, move |tx, request| {
                Box::pin(async move {
                    let order = store::demand_order(tx, &request.order_id, None).await?;
                    let happened = Happening {
                        kind: OrderEventKind::Note,
                        message: request.text,
                        internal: !request.customer_visible,
                    };
                    let row = store::insert_event(tx, &order, &happened, &actor).await?;
                    Ok(AddNoteResponse { event: Some(row.into()) })
                })
            })
            .await
    }
}

/// Calls an order off, or asks the saga that places it to turn back.
async fn cancel(
    tx: &mut Tx,
    sagas: &Sagas,
    request: &CancelOrderRequest,
    owner: Option<&str>,
    actor: &str,
) -> Result<Order, Error> {
    let now = tx.clock().now();
    let reason = match (owner, request.reason()) {
        (Some(_), _) => CancelReason::Customer,
        (None, CancelReason::Unspecified) => CancelReason::Staff,
        (None, reason) => reason,
    };
    let note = if request.note.is_empty() { "it was called off" } else { &request.note };
    // The saga is asked first and the order locked after it, as the saga itself
    // does: otherwise the two could wait for each other. Nothing of it is kept
    // unless the order may be touched.
    let turned_back = sagas.interrupt::<Place>(tx, &request.order_id, note).await?;
    let mut order = store::demand_order(tx, &request.order_id, owner).await?;
    order.check_etag(&request.etag)?;
    match order.status {
        OrderStatus::Cancelled => Ok(order),
        OrderStatus::Pending => {
            tracing::debug!(
                order.id = order.order_id,
                turned_back,
                "a placement was asked to stop"
            );
            if let Some(happened) = order.request_cancel(reason, note, now) {
                store::save_order(tx, &mut order, &[happened], actor).await?;
            }
            Ok(order)
        }
        OrderStatus::Confirmed
        | OrderStatus::OnHold
        | OrderStatus::Completed
        | OrderStatus::Unspecified => {
            let happened = order.cancel(reason, note, now)?;
            store::save_order(tx, &mut order, &[happened], actor).await?;
            let (saga_id, state) = (cancel_id(&order.order_id), Cancellation::of(&order));
            let new = New { saga_id: &saga_id, state: &state, done: 0, deadline: None };
            sagas.enqueue::<Cancel>(tx, new).await?;
            tx.publish(ending::event(&order, &ending::cancelled(&order, true, now))).await?;
            Ok(order)
        }
    }
}
