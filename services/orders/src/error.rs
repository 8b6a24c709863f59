//! Why orders refuses, and what a caller is told.

use chassis::{Fault, saga::Decision, store};
use contracts::orders::v1::{ErrorReason as Reason, OrderStatus};

use crate::domain::Misfit;

/// Why orders refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such order, or not for this caller.
    #[error("order {0} was not found")]
    OrderNotFound(String),
    /// No placement was begun under this id.
    #[error("placement {0} was not found")]
    PlacementNotFound(String),
    /// What was to be placed does not hold together.
    #[error("the order does not hold together: {0}")]
    Misfit(#[from] Misfit),
    /// The placement's id was used for something else.
    #[error("placement {0} is another purchase")]
    PlacementReused(String),
    /// Two live orders of one checkout, seen in the moment when one was ending.
    #[error("checkout {0} is just being placed or cancelled")]
    CheckoutBusy(String),
    /// The order is not in a state that allows this.
    #[error("the order is {is:?}")]
    State {
        /// What it is.
        is: OrderStatus,
        /// What it would have to be, for a person.
        must: &'static str,
    },
    /// Something has been shipped.
    #[error("something of the order has been shipped")]
    Shipped,
    /// The order changed since it was read.
    #[error("the etag is not {0}")]
    EtagMismatch(String),
    /// Inventory does not let the units go.
    #[error("inventory refused: {0}")]
    FulfillmentRefused(String),
    /// Inventory has not answered yet.
    #[error("inventory has not answered yet")]
    FulfillmentPending,
    /// Only staff may ask for others' orders.
    #[error("the caller asked for another owner's orders")]
    OwnerForeign,
    /// There is no such saga.
    #[error("saga {0} was not found")]
    SagaNotFound(String),
    /// The saga is not in a state that allows this.
    #[error("saga {0} is not in a state for that")]
    SagaState(String),
    /// A row cannot be read back.
    #[error("a row cannot be read: {0}")]
    Row(String),
    /// What the chassis refused.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The database failed.
    #[error("the store failed")]
    Store(#[from] store::Error),
}

impl Error {
    /// What a decision about a saga means for who took it.
    pub fn of_decision(decision: Decision, saga_id: &str) -> Result<(), Self> {
        match decision {
            Decision::Taken => Ok(()),
            Decision::Impossible => Err(Self::SagaState(saga_id.to_owned())),
            Decision::Unknown => Err(Self::SagaNotFound(saga_id.to_owned())),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::OrderNotFound(id) => {
                Self::not_found(Reason::OrderNotFound).message(format!("there is no order {id} for this caller"))
            }
            Error::PlacementNotFound(id) => {
                Self::not_found(Reason::PlacementNotFound).message(format!("there is no placement {id}"))
            }
            Error::Misfit(misfit) => misfit.into(),
            Error::PlacementReused(id) => {
                Self::invalid_argument(contracts::mesh::v1::ErrorReason::IdempotencyKeyReused)
                    .message("this placement_id was used for another purchase")
                    .violation("placement_id", format!("{id} was used for another purchase: make a new UUID"))
            }
            Error::CheckoutBusy(id) => Self::aborted(contracts::mesh::v1::ErrorReason::Conflict)
                .message(format!("checkout {id} is just being placed or cancelled: ask again")),
            Error::State { is, must } => Self::failed_precondition(Reason::OrderStateInvalid)
                .message(format!("the order is {}; it must be {must}", crate::domain::name(is)))
                .precondition("ORDER_STATE", "order", format!("must be {must}")),
            Error::Shipped => Self::failed_precondition(Reason::OrderShipped)
                .message("something of the order has been shipped or is about to be: it cannot be cancelled any more"),
            Error::EtagMismatch(etag) => Self::aborted(Reason::EtagMismatch)
                .message("the order changed since it was read: read it again")
                .metadata("etag", etag),
            Error::FulfillmentRefused(why) => Self::failed_precondition(Reason::FulfillmentRefused)
                .message(format!("inventory does not let the units go: {why}")),
            Error::FulfillmentPending => Self::unavailable(Reason::FulfillmentPending)
                .message("inventory has not answered yet: ask again with the same request_id")
                .retry_after(std::time::Duration::from_secs(1)),
            Error::OwnerForeign => Self::permission_denied(Reason::OwnerForeign)
                .message("only staff may ask for another owner's orders: leave owner_id out"),
            Error::SagaNotFound(id) => {
                Self::not_found(Reason::SagaNotFound).message(format!("there is no saga {id}"))
            }
            Error::SagaState(id) => Self::failed_precondition(Reason::SagaStateInvalid)
                .message(format!("saga {id} is not in a state that allows this: read it again")),
            Error::Row(problem) => Self::internal().because(problem),
            Error::Fault(fault) => fault,
            Error::Store(error) => error.into(),
        }
    }
}

chassis::status_from!(Error);
