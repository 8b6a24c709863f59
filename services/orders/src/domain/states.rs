//! The states of an order, and the edges between them as data: the code, the
//! documentation and the tests read the same tables.

use contracts::orders::v1::{
    CancelReason, FulfillmentState, FulfillmentStatus, OrderEventKind, OrderStatus, OwnerKind,
    PaymentStatus,
};

/// A state that is kept under its name, without the enum's prefix.
pub trait Named: Copy + Eq + std::fmt::Debug + Into<i32> + TryFrom<i32> + 'static {
    /// Its name: "CONFIRMED".
    fn name(self) -> &'static str;
    /// The state of a name.
    fn parse(name: &str) -> Option<Self>;
}

macro_rules! named {
    ($($state:ty: $prefix:literal;)*) => {$(
        impl Named for $state {
            fn name(self) -> &'static str {
                let name = self.as_str_name();
                name.strip_prefix($prefix).unwrap_or(name)
            }

            fn parse(name: &str) -> Option<Self> {
                Self::from_str_name(&format!("{}{name}", $prefix))
            }
        }
    )*};
}

named! {
    OrderStatus: "ORDER_STATUS_";
    PaymentStatus: "PAYMENT_STATUS_";
    FulfillmentStatus: "FULFILLMENT_STATUS_";
    FulfillmentState: "FULFILLMENT_STATE_";
    CancelReason: "CANCEL_REASON_";
    OrderEventKind: "ORDER_EVENT_KIND_";
    OwnerKind: "OWNER_KIND_";
}

/// The name of a state, without the enum's prefix.
pub fn name<S: Named>(state: S) -> &'static str {
    state.name()
}

/// Where an order may go from where it is.
pub const STATUS_EDGES: &[(OrderStatus, OrderStatus)] = &[
    (OrderStatus::Pending, OrderStatus::Confirmed),
    (OrderStatus::Pending, OrderStatus::Cancelled),
    (OrderStatus::Confirmed, OrderStatus::OnHold),
    (OrderStatus::Confirmed, OrderStatus::Completed),
    (OrderStatus::Confirmed, OrderStatus::Cancelled),
    (OrderStatus::OnHold, OrderStatus::Confirmed),
    (OrderStatus::OnHold, OrderStatus::Cancelled),
];

/// Where its money may go.
pub const PAYMENT_EDGES: &[(PaymentStatus, PaymentStatus)] = &[
    (PaymentStatus::None, PaymentStatus::Authorized),
    (PaymentStatus::Authorized, PaymentStatus::Captured),
    (PaymentStatus::Authorized, PaymentStatus::Voided),
    (PaymentStatus::Captured, PaymentStatus::PartiallyRefunded),
    (PaymentStatus::Captured, PaymentStatus::Refunded),
    (PaymentStatus::PartiallyRefunded, PaymentStatus::Refunded),
];

/// Where its parcels may go.
pub const FULFILLMENT_EDGES: &[(FulfillmentStatus, FulfillmentStatus)] = &[
    (FulfillmentStatus::Unfulfilled, FulfillmentStatus::PartiallyShipped),
    (FulfillmentStatus::Unfulfilled, FulfillmentStatus::Shipped),
    (FulfillmentStatus::PartiallyShipped, FulfillmentStatus::Shipped),
];

/// Whether a table has this edge. Staying where one is needs none.
pub fn may<S: Copy + Eq>(edges: &[(S, S)], from: S, to: S) -> bool {
    from == to || edges.contains(&(from, to))
}

/// Whether nothing can follow. Exhaustive on purpose: a new state must be judged.
pub fn is_final(status: OrderStatus) -> bool {
    match status {
        OrderStatus::Completed | OrderStatus::Cancelled => true,
        OrderStatus::Unspecified
        | OrderStatus::Pending
        | OrderStatus::Confirmed
        | OrderStatus::OnHold => false,
    }
}
