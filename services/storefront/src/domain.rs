//! Carts, quotes and checkouts: what they are and what may become of them.

use std::{collections::HashMap, fmt};

use chassis::{Currency, Money, MoneyError, Time};
use serde::{Deserialize, Serialize};

use crate::config;

/// The most lines a cart has.
pub(crate) const LINES_MAX: usize = 200;
/// The most pieces of one SKU.
pub(crate) const QUANTITY_MAX: i32 = 10_000;

/// What a shopper means to buy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cart {
    pub(crate) id: String,
    pub(crate) owner_id: String,
    pub(crate) currency: Currency,
    pub(crate) status: CartStatus,
    pub(crate) lines: Vec<Line>,
    pub(crate) version: i64,
    pub(crate) create_time: Time,
    pub(crate) update_time: Time,
}

/// So many of one SKU, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) line_id: String,
    pub(crate) sku: String,
    pub(crate) quantity: i32,
}

/// What can be done with a cart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CartStatus {
    Active,
    CheckingOut,
    Converted,
}

/// A cart on its way to an order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Checkout {
    pub(crate) id: String,
    pub(crate) cart_id: String,
    pub(crate) owner_id: String,
    pub(crate) owner_kind: OwnerKind,
    pub(crate) status: CheckoutStatus,
    pub(crate) email: String,
    /// Encoded postal addresses: this service never looks into them.
    pub(crate) shipping_address: Option<Vec<u8>>,
    pub(crate) billing_address: Option<Vec<u8>>,
    pub(crate) shipping_code: String,
    pub(crate) payment_method: String,
    pub(crate) purchase: Option<Vec<u8>>,
    pub(crate) placement_id: Option<String>,
    /// How the last attempt failed: an encoded refusal of the orders service.
    pub(crate) refusal: Option<Vec<u8>>,
    pub(crate) order: Option<OrderRef>,
    pub(crate) version: i64,
    pub(crate) create_time: Time,
    pub(crate) update_time: Time,
}

/// The order that a checkout became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OrderRef {
    pub(crate) id: String,
    pub(crate) number: String,
}

/// What the owner of a checkout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnerKind {
    Guest,
    Customer,
}

/// How far a checkout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckoutStatus {
    Open,
    Completing,
    AwaitingAction,
    Completed,
    Cancelled,
}

/// What the catalogue says of an SKU today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) product_id: String,
    pub(crate) variant_id: String,
    pub(crate) title: String,
    /// `None` if it is not sold at present, or not in the currency.
    pub(crate) unit_price: Option<Money>,
    pub(crate) tax_rate_micros: i64,
    pub(crate) price_version: String,
}

/// What the mesh says of the SKUs in a cart today.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Market {
    pub(crate) offers: HashMap<String, Offer>,
    pub(crate) available: HashMap<String, i64>,
}

/// A line with today's price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PricedLine {
    pub(crate) line: Line,
    pub(crate) offer: Option<Offer>,
    pub(crate) subtotal: Money,
    pub(crate) tax: Money,
    pub(crate) problems: Vec<Problem>,
}

/// Why a line cannot be bought as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    NotSold,
    LowStock { available: i64 },
}

/// A chosen way to ship, with its price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShippingChoice {
    pub(crate) code: String,
    pub(crate) title: String,
    pub(crate) amount: Money,
    pub(crate) tax_rate_micros: i64,
    pub(crate) tax: Money,
}

/// What is bought, for how much: everything the shopper agrees to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quote {
    pub(crate) lines: Vec<PricedLine>,
    pub(crate) shipping: Option<ShippingChoice>,
    pub(crate) subtotal: Money,
    pub(crate) shipping_amount: Money,
    pub(crate) tax: Money,
    pub(crate) total: Money,
}

/// Why the lines of a cart cannot be changed so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinesError {
    LineNotFound,
    TooManyLines,
    TooManyPieces,
}

// === impl Cart ===

impl Cart {
    /// Puts so many more of an SKU in.
    pub(crate) fn add(
        &mut self,
        sku: &str,
        quantity: i32,
        new_line_id: impl FnOnce() -> String,
    ) -> Result<(), LinesError> {
        if let Some(line) = self.lines.iter_mut().find(|line| line.sku == sku) {
            let sum = line.quantity.saturating_add(quantity);
            if sum > QUANTITY_MAX {
                return Err(LinesError::TooManyPieces);
            }
            line.quantity = sum;
            return Ok(());
        }
        if self.lines.len() >= LINES_MAX {
            return Err(LinesError::TooManyLines);
        }
        if quantity > QUANTITY_MAX {
            return Err(LinesError::TooManyPieces);
        }
        self.lines.push(Line { line_id: new_line_id(), sku: sku.to_owned(), quantity });
        Ok(())
    }

    /// Sets how many there are of a line; none removes it.
    pub(crate) fn set(&mut self, line_id: &str, quantity: i32) -> Result<(), LinesError> {
        let position = self
            .lines
            .iter()
            .position(|line| line.line_id == line_id)
            .ok_or(LinesError::LineNotFound)?;
        if quantity <= 0 {
            self.lines.remove(position);
        } else if let Some(line) = self.lines.get_mut(position) {
            line.quantity = quantity.min(QUANTITY_MAX);
        }
        Ok(())
    }

    /// Fingerprint of the cart as it stands.
    pub(crate) fn etag(&self) -> String {
        format!("{}", self.version)
    }
}

// === impl CartStatus ===

impl CartStatus {
    /// As it is kept.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::CheckingOut => "CHECKING_OUT",
            Self::Converted => "CONVERTED",
        }
    }

    /// As it was kept.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Active, Self::CheckingOut, Self::Converted]
            .into_iter()
            .find(|status| status.name() == name)
    }
}

// === impl CheckoutStatus ===

impl CheckoutStatus {
    /// Every state.
    pub(crate) const ALL: [Self; 5] =
        [Self::Open, Self::Completing, Self::AwaitingAction, Self::Completed, Self::Cancelled];

    /// As it is kept.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Completing => "COMPLETING",
            Self::AwaitingAction => "AWAITING_ACTION",
            Self::Completed => "COMPLETED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// As it was kept.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether the purchase is under way.
    pub(crate) fn is_under_way(self) -> bool {
        match self {
            Self::Completing | Self::AwaitingAction => true,
            Self::Open | Self::Completed | Self::Cancelled => false,
        }
    }
}

// === impl OwnerKind ===

impl OwnerKind {
    /// As it is kept.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Guest => "GUEST",
            Self::Customer => "CUSTOMER",
        }
    }

    /// As it was kept.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Guest, Self::Customer].into_iter().find(|kind| kind.name() == name)
    }
}

// === impl PricedLine ===

impl PricedLine {
    /// Prices a line. A line that cannot be bought costs nothing and says why.
    pub(crate) fn new(line: Line, currency: Currency, market: &Market) -> Result<Self, MoneyError> {
        let offer = market.offers.get(&line.sku).cloned();
        let mut problems = Vec::new();
        let zero = Money::zero(currency);
        let (mut subtotal, mut tax) = (zero, zero);
        match &offer {
            Some(Offer { unit_price: Some(price), tax_rate_micros, .. }) => {
                subtotal = price.checked_mul(i64::from(line.quantity))?;
                tax = subtotal.share(*tax_rate_micros)?;
            }
            Some(_) | None => problems.push(Problem::NotSold),
        }
        let available = market.available.get(&line.sku).copied().unwrap_or_default();
        if problems.is_empty() && available < i64::from(line.quantity) {
            problems.push(Problem::LowStock { available });
        }
        Ok(Self { line, offer, subtotal, tax, problems })
    }

    /// Whether it counts: short stock does not change what a line costs.
    pub(crate) fn has_price(&self) -> bool {
        self.problems.iter().all(|problem| match problem {
            Problem::LowStock { .. } => true,
            Problem::NotSold => false,
        })
    }
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSold => f.write_str("it is not sold at present"),
            Self::LowStock { available: 0 } => f.write_str("it is out of stock"),
            Self::LowStock { available } => write!(f, "only {available} are in stock"),
        }
    }
}

// === impl Quote ===

impl Quote {
    /// Adds up lines and shipping: the totals are sums of rounded parts.
    pub(crate) fn new(
        lines: Vec<PricedLine>,
        shipping: Option<ShippingChoice>,
        currency: Currency,
    ) -> Result<Self, MoneyError> {
        let zero = Money::zero(currency);
        let subtotal = Money::sum(currency, lines.iter().map(|line| line.subtotal))?;
        let (shipping_amount, shipping_tax) =
            shipping.as_ref().map_or((zero, zero), |choice| (choice.amount, choice.tax));
        let tax =
            Money::sum(currency, lines.iter().map(|line| line.tax))?.checked_add(shipping_tax)?;
        let total = subtotal.checked_add(shipping_amount)?.checked_add(tax)?;
        Ok(Self { lines, shipping, subtotal, shipping_amount, tax, total })
    }

    /// Prices a cart.
    pub(crate) fn of(
        lines: &[Line],
        currency: Currency,
        market: &Market,
        shipping: Option<&config::Shipping>,
        shipping_tax_rate_micros: i64,
    ) -> Result<Self, MoneyError> {
        let lines = lines
            .iter()
            .map(|line| PricedLine::new(line.clone(), currency, market))
            .collect::<Result<Vec<_>, _>>()?;
        let subtotal = Money::sum(currency, lines.iter().map(|line| line.subtotal))?;
        let shipping = match shipping {
            Some(option) => ShippingChoice::of(option, subtotal, shipping_tax_rate_micros)?,
            None => None,
        };
        Self::new(lines, shipping, currency)
    }

    /// What the fingerprint of the quote is taken of: everything the shopper
    /// agrees to and nothing else.
    pub(crate) fn canonical(&self) -> String {
        let mut text = String::from("quote/1\n");
        for line in &self.lines {
            let (price, version, rate) = line.offer.as_ref().map_or((None, "", 0), |offer| {
                (offer.unit_price, offer.price_version.as_str(), offer.tax_rate_micros)
            });
            text.push_str(&format!(
                "{:?} {} {:?} {version:?} {rate} {} {}\n",
                line.line.sku,
                line.line.quantity,
                price.map(|price| price.minor),
                line.subtotal.minor,
                line.tax.minor,
            ));
        }
        if let Some(shipping) = &self.shipping {
            text.push_str(&format!(
                "{:?} {} {}\n",
                shipping.code, shipping.amount.minor, shipping.tax.minor
            ));
        }
        text.push_str(&format!("{} {}", self.total.minor, self.total.currency));
        text
    }
}

// === impl ShippingChoice ===

impl ShippingChoice {
    /// What a way to ship costs for goods of this value; `None` if it is not
    /// offered in the currency.
    pub(crate) fn of(
        option: &config::Shipping,
        goods: Money,
        tax_rate_micros: i64,
    ) -> Result<Option<Self>, MoneyError> {
        let Some(price) = option.prices.get(goods.currency.code()) else { return Ok(None) };
        let is_free =
            option.free_from.get(goods.currency.code()).is_some_and(|from| goods.minor >= *from);
        let amount = Money::new(if is_free { 0 } else { *price }, goods.currency);
        let tax = amount.share(tax_rate_micros)?;
        Ok(Some(Self {
            code: option.code.clone(),
            title: option.title.clone(),
            amount,
            tax_rate_micros,
            tax,
        }))
    }
}

/// Whether a text looks like a card number: 12 to 19 digits that pass Luhn's test
/// (ISO/IEC 7812-1), whatever stands between them.
pub(crate) fn looks_like_a_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|letter| letter.to_digit(10)).collect();
    let only_digits =
        text.chars().all(|letter| letter.is_ascii_digit() || matches!(letter, ' ' | '-' | '.'));
    if !only_digits || !(12..=19).contains(&digits.len()) {
        return false;
    }
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(position, digit)| match (position % 2, digit * 2) {
            (0, _) => *digit,
            (_, doubled) if doubled > 9 => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn eur() -> Currency {
        Currency::new("EUR").unwrap()
    }

    fn market(entries: &[(&str, i64, i64)]) -> Market {
        let mut market = Market::default();
        for (sku, price, available) in entries {
            market.offers.insert(
                (*sku).to_owned(),
                Offer {
                    product_id: "p".to_owned(),
                    variant_id: "v".to_owned(),
                    title: format!("the {sku}"),
                    unit_price: Some(Money::new(*price, eur())),
                    tax_rate_micros: 210_000,
                    price_version: "1".to_owned(),
                },
            );
            market.available.insert((*sku).to_owned(), *available);
        }
        market
    }

    fn line(sku: &str, quantity: i32) -> Line {
        Line { line_id: sku.to_owned(), sku: sku.to_owned(), quantity }
    }

    fn quote(lines: &[Line], market: &Market, code: Option<&str>) -> Quote {
        let config = config::Config::default();
        let option =
            code.and_then(|code| config.shipping.iter().find(|option| option.code == code));
        Quote::of(lines, eur(), market, option, config.shipping_tax_rate_micros).unwrap()
    }

    #[test]
    fn a_quote_is_the_sum_of_its_rounded_parts() {
        let market = market(&[("mug", 1_250, 10), ("tea", 333, 10)]);
        let quote = quote(&[line("mug", 2), line("tea", 1)], &market, Some("standard"));
        assert_eq!(quote.subtotal.minor, 2_833);
        assert_eq!(quote.shipping_amount.minor, 499);
        assert_eq!(quote.tax.minor, 525 + 70 + 105);
        assert_eq!(quote.total.minor, 2_833 + 499 + 700);
    }

    #[test]
    fn shipping_is_free_from_its_threshold_on() {
        let market = market(&[("sofa", 7_500, 1)]);
        assert_eq!(quote(&[line("sofa", 1)], &market, Some("standard")).shipping_amount.minor, 0);
        assert_eq!(
            quote(&[line("sofa", 1)], &market, Some("express")).shipping_amount.minor,
            1_299
        );
    }

    #[test]
    fn a_line_that_cannot_be_bought_says_why_and_costs_nothing() {
        let mut market = market(&[("mug", 1_250, 1), ("tea", 333, 10)]);
        market.offers.get_mut("tea").unwrap().unit_price = None;
        let quote = quote(&[line("mug", 2), line("tea", 1), line("ghost", 1)], &market, None);
        assert_eq!(quote.lines[0].problems, [Problem::LowStock { available: 1 }]);
        assert_eq!(quote.lines[1].problems, [Problem::NotSold]);
        assert_eq!(quote.lines[2].problems, [Problem::NotSold]);
        assert_eq!(quote.subtotal.minor, 2_500);
        assert!(quote.lines[0].has_price() && !quote.lines[1].has_price());
    }

    #[test]
    fn whatever_the_shopper_agrees_to_is_in_the_fingerprint() {
        let base = market(&[("mug", 1_250, 10)]);
        let reference = quote(&[line("mug", 2)], &base, Some("standard")).canonical();
        assert_ne!(quote(&[line("mug", 3)], &base, Some("standard")).canonical(), reference);
        assert_ne!(quote(&[line("mug", 2)], &base, Some("express")).canonical(), reference);
        assert_ne!(
            quote(&[line("mug", 2)], &market(&[("mug", 1_251, 10)]), Some("standard")).canonical(),
            reference
        );
        // Stock is not: what is short is refused, not agreed to.
        assert_eq!(
            quote(&[line("mug", 2)], &market(&[("mug", 1_250, 1)]), Some("standard")).canonical(),
            reference
        );
    }

    #[test]
    fn card_numbers_are_told_from_tokens() {
        assert!(looks_like_a_card("4242 4242 4242 4242"));
        assert!(looks_like_a_card("378282246310005"));
        assert!(!looks_like_a_card("4242424242424241"));
        assert!(!looks_like_a_card("pm_card_4242424242424242"));
        assert!(!looks_like_a_card("pm_card_ok"));
    }

    proptest! {
        #[test]
        fn a_cart_never_breaks_its_bounds(steps in proptest::collection::vec((0_usize..4, 0_u8..6, -1_i32..12_000), 0..400)) {
            let mut cart = Cart {
                id: "c".to_owned(),
                owner_id: "o".to_owned(),
                currency: eur(),
                status: CartStatus::Active,
                lines: Vec::new(),
                version: 1,
                create_time: Time::from_micros(0),
                update_time: Time::from_micros(0),
            };
            let mut made = 0_u32;
            for (kind, which, quantity) in steps {
                let before = cart.lines.clone();
                let sku = format!("sku-{which}");
                let result = if kind < 3 {
                    cart.add(&sku, quantity.max(1), || { made += 1; format!("line-{made}") })
                } else {
                    cart.set(&format!("line-{which}"), quantity)
                };
                if result.is_err() {
                    prop_assert_eq!(&cart.lines, &before);
                }
                prop_assert!(cart.lines.len() <= LINES_MAX);
                prop_assert!(cart.lines.iter().all(|line| (1..=QUANTITY_MAX).contains(&line.quantity)));
                let mut skus: Vec<_> = cart.lines.iter().map(|line| &line.sku).collect();
                skus.sort();
                skus.dedup();
                prop_assert_eq!(skus.len(), cart.lines.len());
            }
        }
    }
}
