//! Placing, cancelling and shipping: what takes several services.
//!
//! # Layout
//! - [`place`]: the checkout saga.
//! - `payment`: how it deals with payments.
//! - [`cancel`]: an order that was confirmed is called off.
//! - [`fulfill`]: a parcel leaves.
//! - [`ending`]: what the placements of an order are told when it has ended.

pub mod cancel;
pub mod ending;
pub mod fulfill;
pub(crate) mod payment;
pub mod place;

use chassis::{Channel, Fault, saga::derived_id};
use contracts::{
    inventory::v1::{
        ErrorReason as Stock, ReleaseReservationRequest,
        inventory_service_client::InventoryServiceClient,
    },
    payments::v1::{
        payment_service_client::PaymentServiceClient, refund_service_client::RefundServiceClient,
    },
};
use tonic::Code;

/// Who acts when a saga does.
pub const ACTOR: &str = "service/orders";

/// How often a step is tried whose failure nobody foresaw.
const ODD_ATTEMPTS_MAX: i64 = 5;
/// How often a step is tried while a peer is away and the customer waits.
const AWAY_ATTEMPTS_MAX: i64 = 8;

/// The services that a purchase takes.
#[derive(Debug, Clone)]
pub struct Peers {
    /// Stock.
    pub inventory: InventoryServiceClient<Channel>,
    /// Money.
    pub payments: PaymentServiceClient<Channel>,
    /// Money that goes back.
    pub refunds: RefundServiceClient<Channel>,
}

/// What a peer's fault means for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Not now, or nobody knows: again.
    Again,
    /// It said no, and will say so again.
    No,
}

/// Judges a fault. What was perhaps done is never taken for refused.
pub(crate) fn meaning(fault: &Fault, attempt: i64) -> Meaning {
    match fault.code() {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Cancelled => Meaning::Again,
        Code::Internal | Code::Unknown | Code::DataLoss | Code::Unauthenticated => {
            if attempt < ODD_ATTEMPTS_MAX { Meaning::Again } else { Meaning::No }
        }
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented => Meaning::No,
    }
}

/// As [`meaning`], where there is only forward: what nobody foresaw is tried for ever.
pub(crate) fn patient(fault: &Fault) -> Meaning {
    meaning(fault, 1)
}

/// As [`meaning`], while a customer waits and nothing is lost by giving up.
pub(crate) fn impatient(fault: &Fault, attempt: i64) -> Meaning {
    if attempt >= AWAY_ATTEMPTS_MAX { Meaning::No } else { meaning(fault, attempt) }
}

/// The saga that cancels an order.
pub fn cancel_id(order_id: &str) -> String {
    derived_id(&[order_id, "cancel"])
}

/// The name under which inventory keeps an order's stock.
pub(crate) fn stock_owner(order_id: &str) -> String {
    format!("orders/{order_id}")
}

impl Peers {
    /// Gives stock back. Content if nothing is held any more, however that came.
    pub(crate) async fn release(&self, key: String, reservation_id: &str) -> Result<(), Fault> {
        let request = ReleaseReservationRequest {
            request_id: key,
            reservation_id: reservation_id.to_owned(),
        };
        match self.inventory.clone().release_reservation(request).await {
            Ok(_) => Ok(()),
            Err(status) => {
                let fault = Fault::from(status);
                let gone = [
                    Stock::ReservationNotFound,
                    Stock::ReservationAlreadyReleased,
                    Stock::ReservationExpired,
                    Stock::ReservationAlreadyReturned,
                ];
                if gone.into_iter().any(|reason| fault.is(reason)) { Ok(()) } else { Err(fault) }
            }
        }
    }
}
