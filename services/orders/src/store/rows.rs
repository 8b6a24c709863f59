//! What comes back from the database.

use bytes::Bytes;
use chassis::{
    Currency, Time,
    store::{self, FromRow, Row},
};
use contracts::orders::v1::{
    Fulfillment, FulfillmentLine, FulfillmentState, OrderEvent, OrderEventKind,
};
use prost::Message;
use serde_json::json;

use super::States;
use crate::{
    Error,
    domain::{Line, Named, Order, Parcel, Totals},
};

/// A line and whose it is.
#[derive(Debug)]
pub(crate) struct LineRow {
    pub(crate) order_id: String,
    pub(crate) line: Line,
}

/// A row of the timeline.
#[derive(Debug, Clone)]
pub(crate) struct EventRow {
    pub(crate) order_event_id: String,
    pub(crate) order_id: String,
    pub(crate) kind: OrderEventKind,
    pub(crate) message: String,
    pub(crate) actor: String,
    pub(crate) internal: bool,
    pub(crate) status: contracts::orders::v1::OrderStatus,
    pub(crate) payment_status: contracts::orders::v1::PaymentStatus,
    pub(crate) fulfillment_status: contracts::orders::v1::FulfillmentStatus,
    pub(crate) create_time: Time,
}

/// An attempt to turn a checkout into an order.
#[derive(Debug, Clone)]
pub(crate) struct PlacementRow {
    pub(crate) placement_id: String,
    pub(crate) checkout_id: String,
    pub(crate) order_id: String,
    pub(crate) request_hash: String,
    /// The encoded Placement, once it has ended.
    pub(crate) outcome: Option<Bytes>,
    pub(crate) create_time: Time,
    pub(crate) expire_time: Time,
}

/// A parcel.
#[derive(Debug, Clone)]
pub(crate) struct FulfillmentRow {
    pub(crate) fulfillment_id: String,
    pub(crate) order_id: String,
    pub(crate) state: FulfillmentState,
    pub(crate) lines: Vec<Parcel>,
    pub(crate) carrier: String,
    pub(crate) tracking_number: String,
    pub(crate) message: String,
    pub(crate) create_time: Time,
}

/// A state by its name.
fn state<S: Named>(row: &Row<'_>, column: &str) -> Result<S, store::Error> {
    let name: String = row.get(column)?;
    S::parse(&name).ok_or_else(|| unreadable(column, format!("`{name}` is no state")))
}

fn message<M: Message + Default>(column: &str, bytes: Bytes) -> Result<M, store::Error> {
    M::decode(bytes).map_err(|problem| unreadable(column, problem.to_string()))
}

fn unreadable(column: &str, problem: String) -> store::Error {
    store::Error::Column { column: column.into(), problem: problem.into() }
}

fn states(row: &Row<'_>) -> Result<States, store::Error> {
    Ok((state(row, "status")?, state(row, "payment_status")?, state(row, "fulfillment_status")?))
}

/// Lines as the statement that writes them takes them.
pub(super) fn lines_json(lines: &[Line]) -> Result<String, Error> {
    let rows: Vec<serde_json::Value> = lines
        .iter()
        .enumerate()
        .map(|(position, line)| {
            json!({
                "position": position,
                "sku": line.sku,
                "product_id": line.product_id,
                "variant_id": line.variant_id,
                "title": line.title,
                "quantity": line.quantity,
                "unit_price": line.unit_price,
                "subtotal": line.subtotal,
                "tax_rate_micros": line.tax_rate_micros,
                "tax": line.tax,
                "total": line.total,
                "price_version": line.price_version,
            })
        })
        .collect();
    serde_json::to_string(&rows).map_err(|problem| Error::Row(problem.to_string()))
}

impl FromRow for Order {
    /// Without its lines.
    fn from_row(row: &Row<'_>) -> Result<Self, store::Error> {
        let code: String = row.get("currency_code")?;
        let currency = Currency::new(&code)
            .map_err(|problem| unreadable("currency_code", problem.to_string()))?;
        let (status, payment_status, fulfillment_status) = states(row)?;
        let billing: Option<Bytes> = row.get("billing_address")?;
        let shipping: Option<Bytes> = row.get("shipping_selection")?;
        let cancel_reason: Option<String> = row.get("cancel_reason")?;
        Ok(Self {
            order_id: row.get("order_id")?,
            number: row.get("number")?,
            checkout_id: row.get("checkout_id")?,
            placement_id: row.get("placement_id")?,
            owner_id: row.get("owner_id")?,
            owner_kind: state(row, "owner_kind")?,
            email: row.get("email")?,
            status,
            payment_status,
            fulfillment_status,
            lines: Vec::new(),
            totals: Totals {
                currency,
                subtotal: row.get("subtotal")?,
                shipping: row.get("shipping")?,
                tax: row.get("tax")?,
                total: row.get("total")?,
            },
            refunded: row.get("refunded")?,
            shipping_address: message("shipping_address", row.get("shipping_address")?)?,
            billing_address: billing.map(|bytes| message("billing_address", bytes)).transpose()?,
            shipping: shipping.map(|bytes| message("shipping_selection", bytes)).transpose()?,
            quote_hash: row.get("quote_hash")?,
            payment_intent_id: row.get("payment_intent_id")?,
            reservation_id: row.get("reservation_id")?,
            cancel_reason: cancel_reason.as_deref().and_then(Named::parse),
            cancel_request_time: row.get("cancel_request_time")?,
            create_time: row.get("create_time")?,
            update_time: row.get("update_time")?,
            confirm_time: row.get("confirm_time")?,
            cancel_time: row.get("cancel_time")?,
            complete_time: row.get("complete_time")?,
            version: row.get("version")?,
        })
    }
}

impl FromRow for LineRow {
    fn from_row(row: &Row<'_>) -> Result<Self, store::Error> {
        Ok(Self {
            order_id: row.get("order_id")?,
            line: Line {
                sku: row.get("sku")?,
                product_id: row.get("product_id")?,
                variant_id: row.get("variant_id")?,
                title: row.get("title")?,
                quantity: row.get("quantity")?,
                unit_price: row.get("unit_price")?,
                subtotal: row.get("subtotal")?,
                tax_rate_micros: row.get("tax_rate_micros")?,
                tax: row.get("tax")?,
                total: row.get("total")?,
                price_version: row.get("price_version")?,
                shipping: row.get("shipping")?,
                shipped: row.get("shipped")?,
            },
        })
    }
}

impl FromRow for EventRow {
    fn from_row(row: &Row<'_>) -> Result<Self, store::Error> {
        let (status, payment_status, fulfillment_status) = states(row)?;
        Ok(Self {
            order_event_id: row.get("order_event_id")?,
            order_id: row.get("order_id")?,
            kind: state(row, "kind")?,
            message: row.get("message")?,
            actor: row.get("actor")?,
            internal: row.get("internal")?,
            status,
            payment_status,
            fulfillment_status,
            create_time: row.get("create_time")?,
        })
    }
}

impl FromRow for PlacementRow {
    fn from_row(row: &Row<'_>) -> Result<Self, store::Error> {
        Ok(Self {
            placement_id: row.get("placement_id")?,
            checkout_id: row.get("checkout_id")?,
            order_id: row.get("order_id")?,
            request_hash: row.get("request_hash")?,
            outcome: row.get("outcome")?,
            create_time: row.get("create_time")?,
            expire_time: row.get("expire_time")?,
        })
    }
}

impl FromRow for FulfillmentRow {
    fn from_row(row: &Row<'_>) -> Result<Self, store::Error> {
        let lines: String = row.get("lines")?;
        Ok(Self {
            fulfillment_id: row.get("fulfillment_id")?,
            order_id: row.get("order_id")?,
            state: state(row, "state")?,
            lines: serde_json::from_str(&lines)
                .map_err(|problem| unreadable("lines", problem.to_string()))?,
            carrier: row.get("carrier")?,
            tracking_number: row.get("tracking_number")?,
            message: row.get("message")?,
            create_time: row.get("create_time")?,
        })
    }
}

impl From<EventRow> for OrderEvent {
    fn from(row: EventRow) -> Self {
        Self {
            order_event_id: row.order_event_id,
            order_id: row.order_id,
            kind: row.kind.into(),
            message: row.message,
            actor: row.actor,
            internal: row.internal,
            status: row.status.into(),
            payment_status: row.payment_status.into(),
            fulfillment_status: row.fulfillment_status.into(),
            create_time: Some(row.create_time.into()),
        }
    }
}

impl From<FulfillmentRow> for Fulfillment {
    fn from(row: FulfillmentRow) -> Self {
        Self {
            fulfillment_id: row.fulfillment_id,
            order_id: row.order_id,
            state: row.state.into(),
            lines: row.lines.iter().map(FulfillmentLine::from).collect(),
            carrier: row.carrier,
            tracking_number: row.tracking_number,
            create_time: Some(row.create_time.into()),
        }
    }
}

impl From<&Parcel> for FulfillmentLine {
    fn from(part: &Parcel) -> Self {
        Self { sku: part.sku.clone(), quantity: part.quantity }
    }
}
