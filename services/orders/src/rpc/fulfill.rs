//! Recording that a parcel leaves.

use std::time::Duration;

use bytes::Bytes;
use chassis::{
    Caller,
    idempotency::{self, Begin, KEEP_MONEY, Key},
    saga::{Begun, New, Sagas, derived_id},
    store::Tx,
};
use contracts::orders::v1::{
    FulfillmentState, Order as Message, RecordFulfillmentRequest, RecordFulfillmentResponse,
};
use tonic::{Request, Response};

use super::{Rpc, patience};
use crate::{
    Error,
    domain::Parcel,
    saga::fulfill::{Ship, Shipment},
    store::{self, FulfillmentRow},
};

/// When whoever records a parcel is taken for dead.
const LEASE: Duration = Duration::from_secs(10);

/// What the first transaction found or did.
enum Started {
    /// The answer of the first call.
    Done(Bytes),
    /// A new parcel.
    Begun(Box<Begun>),
    /// The parcel was recorded before; its saga goes on by itself.
    Known,
}

impl Rpc {
    pub(super) async fn fulfill(
        &self,
        request: Request<RecordFulfillmentRequest>,
    ) -> Result<Response<RecordFulfillmentResponse>, Error> {
        let caller = Caller::of(&request);
        let (principal, actor) = (caller.key(), caller.actor());
        let request = request.into_inner();
        // The contract demands a request_id, so that there is a key.
        let key = Key::new(principal.as_str(), &request).map(|key| key.keep(KEEP_MONEY));
        let key = key.ok_or(Error::FulfillmentPending)?;
        let fulfillment_id = derived_id(&[&principal, &request.request_id, "fulfillment"]);

        let (sagas, first, id) = (self.sagas.clone(), key.clone(), fulfillment_id.clone());
        let started = self
            .database
            .write(move |tx| {
                Box::pin(async move { start(tx, &sagas, &first, id, request, &actor).await })
            })
            .await?;
        let waiter = match started {
            Started::Done(stored) => return Ok(idempotency::replay(stored)?),
            Started::Begun(begun) => self.sagas.run(*begun),
            Started::Known => self.sagas.waiter(&fulfillment_id),
        };
        waiter
            .until(patience(self.config.fulfillment_wait), |instance| instance.status.is_over())
            .await?;

        let row = store::find_fulfillment(&self.database, &fulfillment_id).await?;
        let row = row.ok_or(Error::FulfillmentPending)?;
        let refusal = match row.state {
            FulfillmentState::Shipped => return self.shipped(key, row).await,
            FulfillmentState::Refused => Error::FulfillmentRefused(row.message),
            FulfillmentState::Pending | FulfillmentState::Unspecified => Error::FulfillmentPending,
        };
        self.database
            .write(move |tx| Box::pin(async move { idempotency::forget(tx, &key).await }))
            .await?;
        Err(refusal)
    }

    async fn shipped(
        &self,
        key: Key,
        row: FulfillmentRow,
    ) -> Result<Response<RecordFulfillmentResponse>, Error> {
        let order = self.demand(&row.order_id, None).await?;
        let response = RecordFulfillmentResponse {
            fulfillment: Some(row.into()),
            order: Some(Message::from(&order)),
        };
        let stored = response.clone();
        self.database
            .write(move |tx| Box::pin(async move { idempotency::finish(tx, &key, &stored).await }))
            .await?;
        Ok(Response::new(response))
    }
}

async fn start(
    tx: &mut Tx,
    sagas: &Sagas,
    key: &Key,
    fulfillment_id: String,
    request: RecordFulfillmentRequest,
    actor: &str,
) -> Result<Started, Error> {
    match idempotency::begin(tx, key, LEASE).await? {
        Begin::Done(stored) => return Ok(Started::Done(stored)),
        Begin::Running => return Err(idempotency::in_progress().into()),
        Begin::Fresh => {}
    }
    if store::get_fulfillment(tx, &fulfillment_id).await?.is_some() {
        return Ok(Started::Known);
    }
    let now = tx.clock().now();
    let mut order = store::demand_order(tx, &request.order_id, None).await?;
    order.check_etag(&request.etag)?;
    let wanted = request
        .lines
        .into_iter()
        .map(|line| Parcel { sku: line.sku, quantity: line.quantity })
        .collect();
    let parcel = order.pack(wanted)?;
    let row = FulfillmentRow {
        fulfillment_id: fulfillment_id.clone(),
        order_id: order.order_id.clone(),
        state: FulfillmentState::Pending,
        lines: parcel.clone(),
        carrier: request.carrier,
        tracking_number: request.tracking_number,
        message: String::new(),
        create_time: now,
    };
    store::insert_fulfillment(tx, &row).await?;
    store::save_lines(tx, &order, &parcel).await?;
    store::save_order(tx, &mut order, &[], actor).await?;
    let state = Shipment {
        fulfillment_id: fulfillment_id.clone(),
        order_id: order.order_id,
        reservation_id: order.reservation_id,
        parcel,
        refused: String::new(),
    };
    let new = New { saga_id: &fulfillment_id, state: &state, done: 1, deadline: None };
    Ok(Started::Begun(Box::new(sagas.begin::<Ship>(tx, new).await?)))
}
