//! The order and its commands. A command changes the order in memory and says
//! what happened; whoever calls it saves both in one transaction.

use chassis::{Currency, Money, Time};
use contracts::{
    orders::v1::{
        CancelReason, FulfillmentStatus, Order as Message, OrderEventKind, OrderLine, OrderStatus,
        OrderTotals, OwnerKind, PaymentStatus, ShippingSelection,
    },
    values::v1::{Money as Amount, PostalAddress},
};

use super::{
    Draft, Misfit,
    states::{FULFILLMENT_EDGES, PAYMENT_EDGES, STATUS_EDGES, is_final, may},
};
use crate::Error;

/// One SKU of an order. Amounts in minor units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The stock keeping unit.
    pub sku: String,
    /// The catalogue's product.
    pub product_id: String,
    /// The catalogue's variant.
    pub variant_id: String,
    /// What the customer saw.
    pub title: String,
    /// How many.
    pub quantity: i64,
    /// The price of one, without tax.
    pub unit_price: i64,
    /// Without tax.
    pub subtotal: i64,
    /// In millionths.
    pub tax_rate_micros: i64,
    /// Rounded once.
    pub tax: i64,
    /// With tax.
    pub total: i64,
    /// Which version of the price was shown.
    pub price_version: String,
    /// In parcels that inventory has not let go yet.
    pub shipping: i64,
    /// On their way.
    pub shipped: i64,
}

/// The amounts of an order in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Of all of them.
    pub currency: Currency,
    /// The lines without tax.
    pub subtotal: i64,
    /// Shipping without tax.
    pub shipping: i64,
    /// All tax.
    pub tax: i64,
    /// What is charged.
    pub total: i64,
}

/// An order.
#[derive(Debug, Clone)]
pub struct Order {
    /// UUIDv7.
    pub order_id: String,
    /// For people.
    pub number: String,
    /// Where it came from.
    pub checkout_id: String,
    /// The placement that made it.
    pub placement_id: String,
    /// Who owns it.
    pub owner_id: String,
    /// What the owner is.
    pub owner_kind: OwnerKind,
    /// Where the confirmation goes.
    pub email: String,
    /// How far it has come.
    pub status: OrderStatus,
    /// How far its money has come.
    pub payment_status: PaymentStatus,
    /// How far its parcels have come.
    pub fulfillment_status: FulfillmentStatus,
    /// What was bought.
    pub lines: Vec<Line>,
    /// What it costs.
    pub totals: Totals,
    /// What was given back.
    pub refunded: i64,
    /// Where it goes.
    pub shipping_address: PostalAddress,
    /// Who is billed, if it is not the recipient.
    pub billing_address: Option<PostalAddress>,
    /// How it goes.
    pub shipping: Option<ShippingSelection>,
    /// What the customer agreed to.
    pub quote_hash: String,
    /// Empty until there is one.
    pub payment_intent_id: String,
    /// Empty until there is one.
    pub reservation_id: String,
    /// Why it was cancelled.
    pub cancel_reason: Option<CancelReason>,
    /// When it was asked to stop while being placed.
    pub cancel_request_time: Option<Time>,
    /// When it was begun.
    pub create_time: Time,
    /// When it changed last.
    pub update_time: Time,
    /// When the sale became final.
    pub confirm_time: Option<Time>,
    /// When it was cancelled.
    pub cancel_time: Option<Time>,
    /// When everything was done.
    pub complete_time: Option<Time>,
    /// Grows with every change.
    pub version: i64,
}

/// Units of one SKU in a parcel.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Parcel {
    /// The stock keeping unit.
    pub sku: String,
    /// How many.
    pub quantity: i64,
}

/// Something that happened to an order: a row of its timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// What.
    pub kind: OrderEventKind,
    /// Details for a person.
    pub message: String,
    /// Whether only staff see it.
    pub internal: bool,
}

// === impl Happening ===

impl Happening {
    /// Something everybody may know.
    pub fn new(kind: OrderEventKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), internal: false }
    }
}

// === impl Order ===

impl Order {
    /// The order of a draft: PENDING, nothing paid, nothing shipped.
    pub fn begin(draft: Draft, order_id: String, number: String, now: Time) -> Self {
        Self {
            order_id,
            number,
            checkout_id: draft.checkout_id,
            placement_id: draft.placement_id,
            owner_id: draft.owner_id,
            owner_kind: draft.owner_kind,
            email: draft.email,
            status: OrderStatus::Pending,
            payment_status: PaymentStatus::None,
            fulfillment_status: FulfillmentStatus::Unfulfilled,
            lines: draft.lines,
            totals: draft.totals,
            refunded: 0,
            shipping_address: draft.shipping_address,
            billing_address: draft.billing_address,
            shipping: draft.shipping,
            quote_hash: draft.quote_hash,
            payment_intent_id: String::new(),
            reservation_id: String::new(),
            cancel_reason: None,
            cancel_request_time: None,
            create_time: now,
            update_time: now,
            confirm_time: None,
            cancel_time: None,
            complete_time: None,
            version: 1,
        }
    }

    /// What changes with every change.
    pub fn etag(&self) -> String {
        format!("v{}", self.version)
    }

    /// Refuses if the caller has read another version. An empty etag is content with any.
    pub fn check_etag(&self, etag: &str) -> Result<(), Error> {
        if etag.is_empty() || etag == self.etag() {
            Ok(())
        } else {
            Err(Error::EtagMismatch(self.etag()))
        }
    }

    /// The sale is final: the stock is committed and the money authorized.
    pub fn confirm(
        &mut self,
        payment_intent_id: &str,
        reservation_id: &str,
        now: Time,
    ) -> Result<Happening, Error> {
        self.go(OrderStatus::Confirmed, "PENDING")?;
        self.payment_intent_id = payment_intent_id.to_owned();
        self.reservation_id = reservation_id.to_owned();
        if !payment_intent_id.is_empty() {
            self.pay(PaymentStatus::Authorized)?;
        }
        self.confirm_time = Some(now);
        Ok(Happening::new(OrderEventKind::Confirmed, "the sale is final"))
    }

    /// The money was taken. `None` if that is known already or of no use any more.
    pub fn captured(&mut self) -> Option<Happening> {
        if self.payment_status != PaymentStatus::Authorized {
            return None;
        }
        self.payment_status = PaymentStatus::Captured;
        Some(Happening::new(
            OrderEventKind::PaymentCaptured,
            self.amount(self.totals.total).to_string(),
        ))
    }

    /// The authorization was let go. `None` if that is known already.
    pub fn voided(&mut self) -> Option<Happening> {
        if self.payment_status != PaymentStatus::Authorized {
            return None;
        }
        self.payment_status = PaymentStatus::Voided;
        Some(Happening::new(OrderEventKind::PaymentVoided, "nothing was charged"))
    }

    /// So much has gone back in all. Late and repeated news change nothing.
    pub fn refunded(&mut self, in_all: i64) -> Option<Happening> {
        let in_all = in_all.min(self.totals.total);
        if in_all <= self.refunded {
            return None;
        }
        // A refund proves a capture, whichever news came first.
        if self.payment_status == PaymentStatus::Authorized {
            self.payment_status = PaymentStatus::Captured;
        }
        let to = if in_all == self.totals.total {
            PaymentStatus::Refunded
        } else {
            PaymentStatus::PartiallyRefunded
        };
        if !may(PAYMENT_EDGES, self.payment_status, to) {
            return None;
        }
        let by = in_all - self.refunded;
        self.refunded = in_all;
        self.payment_status = to;
        Some(Happening::new(OrderEventKind::PaymentRefunded, self.amount(by).to_string()))
    }

    /// Stops it for now. `None` if it is on hold already.
    pub fn hold(&mut self, note: &str) -> Result<Option<Happening>, Error> {
        if self.status == OrderStatus::OnHold {
            return Ok(None);
        }
        self.go(OrderStatus::OnHold, "CONFIRMED")?;
        Ok(Some(Happening::new(OrderEventKind::Held, note)))
    }

    /// Lets it go on. `None` if it was not on hold.
    pub fn release(&mut self, note: &str) -> Result<Option<Happening>, Error> {
        match self.status {
            OrderStatus::Confirmed => Ok(None),
            OrderStatus::OnHold => {
                self.status = OrderStatus::Confirmed;
                Ok(Some(Happening::new(OrderEventKind::Released, note)))
            }
            is @ (OrderStatus::Unspecified
            | OrderStatus::Pending
            | OrderStatus::Completed
            | OrderStatus::Cancelled) => Err(Error::State { is, must: "ON_HOLD" }),
        }
    }

    /// Somebody wants it stopped while it is being placed.
    pub fn request_cancel(
        &mut self,
        reason: CancelReason,
        note: &str,
        now: Time,
    ) -> Option<Happening> {
        if self.cancel_request_time.is_some() {
            return None;
        }
        self.cancel_reason = Some(reason);
        self.cancel_request_time = Some(now);
        Some(Happening::new(OrderEventKind::CancelRequested, note))
    }

    /// Calls it off. Only while nothing has left the house.
    pub fn cancel(
        &mut self,
        reason: CancelReason,
        note: &str,
        now: Time,
    ) -> Result<Happening, Error> {
        if self.lines.iter().any(|line| line.shipping > 0 || line.shipped > 0) {
            return Err(Error::Shipped);
        }
        self.go(OrderStatus::Cancelled, "PENDING, CONFIRMED or ON_HOLD")?;
        self.cancel_reason = Some(reason);
        self.cancel_time = Some(now);
        Ok(Happening::new(OrderEventKind::Cancelled, note))
    }

    /// Puts units into a parcel. No units: everything that is left.
    pub fn pack(&mut self, parcel: Vec<Parcel>) -> Result<Vec<Parcel>, Error> {
        if self.status != OrderStatus::Confirmed {
            return Err(Error::State { is: self.status, must: "CONFIRMED" });
        }
        let parcel = if parcel.is_empty() { self.left() } else { parcel };
        if parcel.is_empty() {
            let sku = self.lines.first().map(|line| line.sku.clone()).unwrap_or_default();
            return Err(Misfit::Exceeded { field: "lines".to_owned(), sku, left: 0 }.into());
        }
        for (index, part) in parcel.iter().enumerate() {
            let field = |name: &str| format!("lines[{index}].{name}");
            if parcel[..index].iter().any(|earlier| earlier.sku == part.sku) {
                return Err(Misfit::Duplicate { field: field("sku"), sku: part.sku.clone() }.into());
            }
            let line =
                self.lines.iter_mut().find(|line| line.sku == part.sku).ok_or_else(|| {
                    Misfit::UnknownLine { field: field("sku"), sku: part.sku.clone() }
                })?;
            let left = line.quantity - line.shipping - line.shipped;
            if part.quantity > left {
                let (field, sku) = (field("quantity"), part.sku.clone());
                return Err(Misfit::Exceeded { field, sku, left }.into());
            }
            line.shipping += part.quantity;
        }
        Ok(parcel)
    }

    /// The parcel is not sent: its units are to ship again.
    pub fn unpack(&mut self, parcel: &[Parcel]) {
        for part in parcel {
            if let Some(line) = self.lines.iter_mut().find(|line| line.sku == part.sku) {
                line.shipping = line.shipping.saturating_sub(part.quantity).max(0);
            }
        }
    }

    /// The parcel is on its way.
    pub fn ship(&mut self, parcel: &[Parcel], tracking: &str) -> Happening {
        for part in parcel {
            if let Some(line) = self.lines.iter_mut().find(|line| line.sku == part.sku) {
                let units = part.quantity.min(line.shipping);
                line.shipping -= units;
                line.shipped += units;
            }
        }
        let all = self.lines.iter().all(|line| line.shipped == line.quantity);
        let to = if all { FulfillmentStatus::Shipped } else { FulfillmentStatus::PartiallyShipped };
        if may(FULFILLMENT_EDGES, self.fulfillment_status, to) {
            self.fulfillment_status = to;
        }
        Happening::new(OrderEventKind::Shipped, tracking)
    }

    /// Everything is shipped and paid. `None` if it is not, or was so before.
    pub fn complete(&mut self, now: Time) -> Option<Happening> {
        let paid = match self.payment_status {
            PaymentStatus::Captured
            | PaymentStatus::PartiallyRefunded
            | PaymentStatus::Refunded => true,
            PaymentStatus::None => self.totals.total == 0,
            PaymentStatus::Unspecified | PaymentStatus::Authorized | PaymentStatus::Voided => false,
        };
        let due = paid
            && self.fulfillment_status == FulfillmentStatus::Shipped
            && may(STATUS_EDGES, self.status, OrderStatus::Completed)
            && !is_final(self.status);
        if !due {
            return None;
        }
        self.status = OrderStatus::Completed;
        self.complete_time = Some(now);
        Some(Happening::new(OrderEventKind::Completed, "everything is shipped and paid"))
    }

    fn left(&self) -> Vec<Parcel> {
        self.lines
            .iter()
            .map(|line| Parcel {
                sku: line.sku.clone(),
                quantity: line.quantity - line.shipping - line.shipped,
            })
            .filter(|part| part.quantity > 0)
            .collect()
    }

    fn go(&mut self, to: OrderStatus, must: &'static str) -> Result<(), Error> {
        if self.status == to || !may(STATUS_EDGES, self.status, to) {
            return Err(Error::State { is: self.status, must });
        }
        self.status = to;
        Ok(())
    }

    fn pay(&mut self, to: PaymentStatus) -> Result<(), Error> {
        if !may(PAYMENT_EDGES, self.payment_status, to) {
            return Err(Error::Row(format!(
                "the payment is {:?} and cannot become {to:?}",
                self.payment_status
            )));
        }
        self.payment_status = to;
        Ok(())
    }

    /// So many minor units of the order's currency.
    pub fn amount(&self, minor: i64) -> Money {
        Money::new(minor, self.totals.currency)
    }
}

impl Totals {
    fn message(&self, minor: i64) -> Option<Amount> {
        Some(Money::new(minor, self.currency).into())
    }
}

impl From<&Totals> for OrderTotals {
    fn from(totals: &Totals) -> Self {
        Self {
            subtotal: totals.message(totals.subtotal),
            shipping: totals.message(totals.shipping),
            tax: totals.message(totals.tax),
            total: totals.message(totals.total),
        }
    }
}

impl Line {
    /// As the contract spells it.
    pub fn message(&self, totals: &Totals) -> OrderLine {
        OrderLine {
            sku: self.sku.clone(),
            product_id: self.product_id.clone(),
            variant_id: self.variant_id.clone(),
            title: self.title.clone(),
            quantity: self.quantity,
            unit_price: totals.message(self.unit_price),
            subtotal: totals.message(self.subtotal),
            tax_rate_micros: self.tax_rate_micros,
            tax: totals.message(self.tax),
            total: totals.message(self.total),
            price_version: self.price_version.clone(),
            shipped_quantity: self.shipped,
        }
    }
}

impl From<&Order> for Message {
    fn from(order: &Order) -> Self {
        Self {
            order_id: order.order_id.clone(),
            number: order.number.clone(),
            checkout_id: order.checkout_id.clone(),
            owner_id: order.owner_id.clone(),
            owner_kind: order.owner_kind.into(),
            email: order.email.clone(),
            status: order.status.into(),
            payment_status: order.payment_status.into(),
            fulfillment_status: order.fulfillment_status.into(),
            lines: order.lines.iter().map(|line| line.message(&order.totals)).collect(),
            totals: Some((&order.totals).into()),
            shipping_address: Some(order.shipping_address.clone()),
            billing_address: order.billing_address.clone(),
            shipping: order.shipping.clone(),
            payment_intent_id: order.payment_intent_id.clone(),
            reservation_id: order.reservation_id.clone(),
            cancel_reason: order.cancel_reason.unwrap_or_default().into(),
            cancel_request_time: order.cancel_request_time.map(Into::into),
            create_time: Some(order.create_time.into()),
            update_time: Some(order.update_time.into()),
            confirm_time: order.confirm_time.map(Into::into),
            cancel_time: order.cancel_time.map(Into::into),
            complete_time: order.complete_time.map(Into::into),
            etag: order.etag(),
        }
    }
}
