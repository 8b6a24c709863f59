//! What payments tells: a payment that a saga waits for has moved.

use chassis::{
    Fault,
    event::{Consumer, Delivery, Effect},
    saga::{New, Sagas, derived_id},
    store::Tx,
};
use contracts::orders::v1::OrderStatus;
use contracts::payments::v1::{
    PaymentAuthorized, PaymentCanceled, PaymentCaptured, PaymentConflicted, PaymentDeclined,
    RefundFailed, RefundSucceeded,
};

use crate::{
    Error,
    saga::{
        cancel::{Cancel, Cancellation},
        cancel_id, ending,
    },
    store,
};

/// Follows the events of payments.
#[derive(Debug)]
pub(crate) struct Payments {
    sagas: Sagas,
}

impl Payments {
    pub(crate) fn new(sagas: Sagas) -> Self {
        Self { sagas }
    }

    /// Waking is repeatable, so it needs no place in the effect.
    async fn wake(&self, order_id: &str) -> Result<(), Fault> {
        for saga_id in [order_id.to_owned(), cancel_id(order_id)] {
            let live =
                self.sagas.get(&saga_id).await?.is_some_and(|instance| !instance.status.is_over());
            if live {
                self.sagas.wake(&saga_id).await?;
            }
        }
        Ok(())
    }
}

impl Consumer for Payments {
    const NAME: &'static str = "orders.payments";

    async fn on(&self, delivery: &Delivery) -> Result<Effect, Fault> {
        let held = delivery
            .decode::<PaymentAuthorized>()
            .map(|event| (event.order_id, event.payment_intent_id))
            .or_else(|| {
                delivery
                    .decode::<PaymentCaptured>()
                    .map(|event| (event.order_id, event.payment_intent_id))
            });
        if let Some((order_id, payment_intent_id)) = held {
            self.wake(&order_id).await?;
            let sagas = self.sagas.clone();
            return Ok(Effect::new(move |tx| {
                Box::pin(async move { adopt(tx, &sagas, &order_id, &payment_intent_id).await })
            }));
        }
        let moved = delivery
            .decode::<PaymentDeclined>()
            .map(|event| event.order_id)
            .or_else(|| delivery.decode::<PaymentCanceled>().map(|event| event.order_id))
            .or_else(|| delivery.decode::<PaymentConflicted>().map(|event| event.order_id))
            .or_else(|| delivery.decode::<RefundFailed>().map(|event| event.order_id));
        if let Some(order_id) = moved {
            self.wake(&order_id).await?;
            return Ok(Effect::none());
        }
        let Some(refund) = delivery.decode::<RefundSucceeded>() else { return Ok(Effect::none()) };
        self.wake(&refund.order_id).await?;
        let in_all = refund.amount_refunded.map(|amount| amount.minor_units).unwrap_or_default();
        Ok(Effect::new(move |tx| {
            Box::pin(async move {
                let Some(mut order) = store::lock_order(tx, &refund.order_id, None).await? else {
                    return Ok(());
                };
                match order.refunded(in_all) {
                    Some(happened) => {
                        ending::save_and_complete(tx, &mut order, vec![happened], None).await
                    }
                    None => Ok(()),
                }
            })
        }))
    }
}

/// No money stays with an order that is not to be: an intent whose making was
/// answered too late to be taken back is taken back when it is heard of.
async fn adopt(
    tx: &mut Tx,
    sagas: &Sagas,
    order_id: &str,
    payment_intent_id: &str,
) -> Result<(), Fault> {
    let order = match store::demand_header(tx, order_id).await {
        Ok(order) => order,
        Err(Error::OrderNotFound(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // What a confirmed order held its own cancellation lets go.
    if order.status != OrderStatus::Cancelled || order.payment_intent_id == payment_intent_id {
        return Ok(());
    }
    let saga_id = derived_id(&[order_id, "orphan", payment_intent_id]);
    if sagas.read(tx, &saga_id).await?.is_some() {
        return Ok(());
    }
    tracing::warn!(
        order.id = order_id,
        payment_intent_id,
        "money is held for an order that is not to be"
    );
    let state = Cancellation::of_orphan(order_id, payment_intent_id);
    sagas
        .enqueue::<Cancel>(tx, New { saga_id: &saga_id, state: &state, done: 0, deadline: None })
        .await
}
