//! What is to be placed: a request becomes a draft if it adds up.

use std::collections::HashSet;

use chassis::{Currency, Fault, Money, MoneyError};
use contracts::{
    mesh::v1::ErrorReason as MeshReason,
    orders::v1::{
        ErrorReason as Reason, OrderLine, OwnerKind, PlaceOrderRequest, ShippingSelection,
    },
    values::v1::{Money as Amount, PostalAddress},
};

use super::order::{Line, Totals};

/// An order that holds together but does not exist yet.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Names the purchase.
    pub placement_id: String,
    /// The checkout that is completed.
    pub checkout_id: String,
    /// Who will own it.
    pub owner_id: String,
    /// What the owner is.
    pub owner_kind: OwnerKind,
    /// Where the confirmation goes.
    pub email: String,
    /// What is bought.
    pub lines: Vec<Line>,
    /// The amounts.
    pub totals: Totals,
    /// Where the parcel goes.
    pub shipping_address: PostalAddress,
    /// Who is billed, if it is not the recipient.
    pub billing_address: Option<PostalAddress>,
    /// How it is shipped.
    pub shipping: Option<ShippingSelection>,
    /// The payment method's token.
    pub payment_method: String,
    /// Where the customer comes back to.
    pub return_uri: String,
    /// What the customer agreed to.
    pub quote_hash: String,
}

/// Why a request does not hold together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// An amount is not what its parts make.
    #[error("{field} is {given}, its parts make {computed}")]
    Total {
        /// The path of the field.
        field: String,
        /// What was sent.
        given: i64,
        /// What it should be.
        computed: i64,
    },
    /// An amount is in another currency than the total, or in none.
    #[error("{field} is not in {expected}")]
    Currency {
        /// The path of the field.
        field: String,
        /// The total's currency; empty if that itself is none.
        expected: String,
    },
    /// Two lines name the same SKU.
    #[error("{field} names {sku} again")]
    Duplicate {
        /// The path of the field.
        field: String,
        /// The SKU.
        sku: String,
    },
    /// The order has no line with this SKU.
    #[error("{field} names {sku}, which the order has not")]
    UnknownLine {
        /// The path of the field.
        field: String,
        /// The SKU.
        sku: String,
    },
    /// More would be shipped than is left.
    #[error("{field} is more than the {left} left of {sku}")]
    Exceeded {
        /// The path of the field.
        field: String,
        /// The SKU.
        sku: String,
        /// What is left to ship.
        left: i64,
    },
    /// An amount is below zero.
    #[error("{field} is below zero")]
    Negative {
        /// The path of the field.
        field: String,
    },
    /// An amount is larger than any till can hold.
    #[error("{field} is too large")]
    Overflow {
        /// The path of the field.
        field: String,
    },
}

impl From<Misfit> for Fault {
    fn from(misfit: Misfit) -> Self {
        let text = misfit.to_string();
        match misfit {
            Misfit::Total { field, computed, .. } => Self::invalid_argument(Reason::TotalsMismatch)
                .message(text)
                .violation(field, format!("must be {computed} minor units")),
            Misfit::Currency { field, expected } => {
                Self::invalid_argument(Reason::CurrencyMismatch).message(text).violation(
                    field,
                    format!("must be in the currency of the total ({expected}), one of ISO 4217"),
                )
            }
            Misfit::Duplicate { field, sku } => Self::invalid_argument(Reason::LineDuplicated)
                .message(text)
                .violation(field, format!("{sku} must be named once: add the quantities")),
            Misfit::UnknownLine { field, sku } => Self::invalid_argument(Reason::LineUnknown)
                .message(text)
                .violation(field, format!("the order has no line {sku}")),
            Misfit::Exceeded { field, sku, left } => {
                Self::failed_precondition(Reason::QuantityExceeded)
                    .message(text)
                    .precondition("QUANTITY", sku, format!("{left} are left to ship"))
                    .violation(field, format!("must be at most {left}"))
            }
            Misfit::Negative { field } => Self::invalid_argument(Reason::TotalsMismatch)
                .message(text)
                .violation(field, "must not be negative"),
            Misfit::Overflow { field } => Self::invalid_argument(MeshReason::MoneyInvalid)
                .message(text)
                .violation(field, "is too large"),
        }
    }
}

/// Reads amounts of one currency.
struct Till {
    currency: Currency,
}

// === impl Till ===

impl Till {
    fn amount(&self, field: &str, amount: Option<&Amount>) -> Result<Money, Misfit> {
        let wrong = || Misfit::Currency {
            field: field.to_owned(),
            expected: self.currency.code().to_owned(),
        };
        let money = Money::try_from(amount.ok_or_else(wrong)?).map_err(|_| wrong())?;
        if money.currency != self.currency {
            return Err(wrong());
        }
        if money.minor < 0 {
            return Err(Misfit::Negative { field: field.to_owned() });
        }
        Ok(money)
    }

    /// The amount that was sent, if it is what it must be.
    fn agreed(
        &self,
        field: &str,
        amount: Option<&Amount>,
        computed: Result<Money, MoneyError>,
    ) -> Result<Money, Misfit> {
        let given = self.amount(field, amount)?;
        let computed = computed.map_err(|_| Misfit::Overflow { field: field.to_owned() })?;
        if given == computed {
            Ok(given)
        } else {
            Err(Misfit::Total {
                field: field.to_owned(),
                given: given.minor,
                computed: computed.minor,
            })
        }
    }

    fn line(&self, index: usize, line: OrderLine) -> Result<Line, Misfit> {
        let field = |name: &str| format!("lines[{index}].{name}");
        let unit = self.amount(&field("unit_price"), line.unit_price.as_ref())?;
        let subtotal = self.agreed(
            &field("subtotal"),
            line.subtotal.as_ref(),
            unit.checked_mul(line.quantity),
        )?;
        let tax =
            self.agreed(&field("tax"), line.tax.as_ref(), subtotal.share(line.tax_rate_micros))?;
        let total = self.agreed(&field("total"), line.total.as_ref(), subtotal.checked_add(tax))?;
        Ok(Line {
            sku: line.sku,
            product_id: line.product_id,
            variant_id: line.variant_id,
            title: line.title,
            quantity: line.quantity,
            unit_price: unit.minor,
            subtotal: subtotal.minor,
            tax_rate_micros: line.tax_rate_micros,
            tax: tax.minor,
            total: total.minor,
            price_version: line.price_version,
            shipping: 0,
            shipped: 0,
        })
    }
}

impl TryFrom<PlaceOrderRequest> for Draft {
    type Error = Misfit;

    fn try_from(request: PlaceOrderRequest) -> Result<Self, Misfit> {
        let owner_kind = request.owner_kind();
        let totals = request.totals.unwrap_or_default();
        let code =
            totals.total.as_ref().map(|total| total.currency_code.as_str()).unwrap_or_default();
        let currency = Currency::new(code).map_err(|_| Misfit::Currency {
            field: "totals.total".to_owned(),
            expected: code.to_owned(),
        })?;
        let till = Till { currency };

        let mut seen = HashSet::new();
        for (index, line) in request.lines.iter().enumerate() {
            if !seen.insert(line.sku.as_str()) {
                return Err(Misfit::Duplicate {
                    field: format!("lines[{index}].sku"),
                    sku: line.sku.clone(),
                });
            }
        }
        let lines: Vec<Line> = request
            .lines
            .into_iter()
            .enumerate()
            .map(|(index, line)| till.line(index, line))
            .collect::<Result<_, _>>()?;

        let money = |minor| Money::new(minor, currency);
        let (price, shipping_tax) = match &request.shipping {
            Some(shipping) => {
                let price = till.amount("shipping.price", shipping.price.as_ref())?;
                let tax = price.share(shipping.tax_rate_micros);
                (price, till.agreed("shipping.tax", shipping.tax.as_ref(), tax)?)
            }
            None => (Money::zero(currency), Money::zero(currency)),
        };
        let subtotal = Money::sum(currency, lines.iter().map(|line| money(line.subtotal)));
        let subtotal = till.agreed("totals.subtotal", totals.subtotal.as_ref(), subtotal)?;
        let shipping = till.agreed("totals.shipping", totals.shipping.as_ref(), Ok(price))?;
        let tax =
            Money::sum(currency, lines.iter().map(|line| money(line.tax)).chain([shipping_tax]));
        let tax = till.agreed("totals.tax", totals.tax.as_ref(), tax)?;
        let total = subtotal.checked_add(shipping).and_then(|sum| sum.checked_add(tax));
        let total = till.agreed("totals.total", totals.total.as_ref(), total)?;

        Ok(Self {
            placement_id: request.placement_id,
            checkout_id: request.checkout_id,
            owner_id: request.owner_id,
            owner_kind,
            email: request.email,
            lines,
            totals: Totals {
                currency,
                subtotal: subtotal.minor,
                shipping: shipping.minor,
                tax: tax.minor,
                total: total.minor,
            },
            shipping_address: request.shipping_address.unwrap_or_default(),
            billing_address: request.billing_address,
            shipping: request.shipping,
            payment_method: request.payment_method,
            return_uri: request.return_uri,
            quote_hash: request.quote_hash,
        })
    }
}
