//! What payments tells: a payment that a saga waits for has moved.

use chassis::{
    Fault,
    event::{Consumer, Delivery, Effect},
    saga::Sagas,
};
use contracts::payments::v1::{
    PaymentAuthorized, PaymentCanceled, PaymentCaptured, PaymentConflicted, PaymentDeclined,
    RefundFailed, RefundSucceeded,
};

use crate::{
    saga::{cancel_id, ending},
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
        let moved = delivery
            .decode::<PaymentAuthorized>()
            .map(|event| event.order_id)
            .or_else(|| delivery.decode::<PaymentCaptured>().map(|event| event.order_id))
            .or_else(|| delivery.decode::<PaymentDeclined>().map(|event| event.order_id))
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
