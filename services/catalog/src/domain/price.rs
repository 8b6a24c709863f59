//! Prices: which lists make sense, which one applies, and what changes when a
//! list replaces another.

use std::cmp::Reverse;

use chassis::Time;

/// When a window that has no start opened.
pub const SINCE_EVER: Time = Time::from_micros(i64::MIN);
/// When a window that has no end closes.
pub const FOREVER: Time = Time::from_micros(i64::MAX);

/// A price of a variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// Its id.
    pub price_id: String,
    /// The variant it is of.
    pub variant_id: String,
    /// Its currency.
    pub currency_code: String,
    /// What it is, quantity and window.
    pub terms: NewPrice,
    /// When it was set.
    pub create_time: Time,
    /// When it was replaced or taken away.
    pub supersede_time: Option<Time>,
}

/// What a price says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NewPrice {
    /// The net price of one, in minor units.
    pub minor_units: i64,
    /// From which quantity.
    pub min_quantity: i64,
    /// From when; [`SINCE_EVER`] if always.
    pub start_time: Time,
    /// Until when; [`FOREVER`] if for ever.
    pub end_time: Time,
}

/// What is wrong with a list of prices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// Below zero.
    #[error("the price is below zero")]
    Negative,
    /// The window closes before it opens.
    #[error("the window ends before it starts")]
    Window,
    /// Two prices have the same quantity and window.
    #[error("another price has the same quantity and window")]
    Repeated,
}

/// What changes when a list replaces another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// The ids of the prices that no longer stand.
    pub superseded: Vec<String>,
    /// The prices that did not stand before.
    pub added: Vec<NewPrice>,
}

/// Whether a list makes sense, or which of its prices does not and why.
pub fn check_prices(prices: &[NewPrice]) -> Result<(), (usize, PriceError)> {
    for (index, price) in prices.iter().enumerate() {
        if price.minor_units < 0 {
            return Err((index, PriceError::Negative));
        }
        if price.start_time >= price.end_time {
            return Err((index, PriceError::Window));
        }
        if prices.iter().take(index).any(|earlier| earlier.place() == price.place()) {
            return Err((index, PriceError::Repeated));
        }
    }
    Ok(())
}

/// The price that applies to a quantity: of those whose window is open, the one
/// of the highest tier not above it; among equals the one whose window opened
/// last, then the lowest.
pub fn best<'p>(
    prices: impl IntoIterator<Item = &'p Price>,
    quantity: i64,
    now: Time,
) -> Option<&'p Price> {
    prices
        .into_iter()
        .filter(|price| price.supersede_time.is_none())
        .filter(|price| price.terms.min_quantity <= quantity)
        .filter(|price| price.terms.start_time <= now && now < price.terms.end_time)
        .max_by_key(|price| {
            let terms = &price.terms;
            (
                terms.min_quantity,
                terms.start_time,
                Reverse(terms.minor_units),
                Reverse(price.price_id.clone()),
            )
        })
}

/// What changes when `wanted` replaces the prices that stand.
pub fn difference(standing: &[Price], wanted: &[NewPrice]) -> Difference {
    Difference {
        superseded: standing
            .iter()
            .filter(|price| !wanted.contains(&price.terms))
            .map(|price| price.price_id.clone())
            .collect(),
        added: wanted
            .iter()
            .filter(|wanted| !standing.iter().any(|price| price.terms == **wanted))
            .copied()
            .collect(),
    }
}

impl NewPrice {
    /// What tells two prices of one list apart.
    fn place(&self) -> (i64, Time, Time) {
        (self.min_quantity, self.start_time, self.end_time)
    }
}

impl Difference {
    /// Nothing changes.
    pub fn is_empty(&self) -> bool {
        self.superseded.is_empty() && self.added.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms(minor_units: i64, min_quantity: i64) -> NewPrice {
        NewPrice { minor_units, min_quantity, start_time: SINCE_EVER, end_time: FOREVER }
    }

    fn price(id: &str, terms: NewPrice) -> Price {
        Price {
            price_id: id.to_owned(),
            variant_id: String::new(),
            currency_code: "EUR".to_owned(),
            terms,
            create_time: Time::from_micros(0),
            supersede_time: None,
        }
    }

    fn at(micros: i64) -> Time {
        Time::from_micros(micros)
    }

    #[test]
    fn the_highest_tier_within_the_quantity_applies() {
        let prices = [
            price("one", terms(100, 1)),
            price("ten", terms(90, 10)),
            price("all", terms(80, 100)),
        ];
        let id = |quantity| best(&prices, quantity, at(0)).map(|price| price.price_id.as_str());
        assert_eq!(id(0), None);
        assert_eq!(id(1), Some("one"));
        assert_eq!(id(9), Some("one"));
        assert_eq!(id(10), Some("ten"));
        assert_eq!(id(1_000), Some("all"));
    }

    #[test]
    fn a_sale_holds_from_its_first_moment_to_before_its_last() {
        let sale = NewPrice { start_time: at(10), end_time: at(20), ..terms(50, 1) };
        let prices = [price("list", terms(100, 1)), price("sale", sale)];
        let id = |now| best(&prices, 1, at(now)).map(|price| price.price_id.as_str());
        assert_eq!(id(9), Some("list"));
        assert_eq!(id(10), Some("sale"));
        assert_eq!(id(19), Some("sale"));
        assert_eq!(id(20), Some("list"));
    }

    #[test]
    fn a_superseded_price_never_applies() {
        let gone = Price { supersede_time: Some(at(1)), ..price("gone", terms(1, 1)) };
        assert_eq!(best([&gone], 1, at(0)), None);
    }

    #[test]
    fn a_list_that_contradicts_itself_is_refused() {
        assert_eq!(check_prices(&[terms(1, 1), terms(2, 2)]), Ok(()));
        assert_eq!(check_prices(&[terms(1, 1), terms(2, 1)]), Err((1, PriceError::Repeated)));
        assert_eq!(check_prices(&[terms(-1, 1)]), Err((0, PriceError::Negative)));
        let empty = NewPrice { start_time: at(5), end_time: at(5), ..terms(1, 1) };
        assert_eq!(check_prices(&[empty]), Err((0, PriceError::Window)));
    }

    #[test]
    fn what_stays_the_same_keeps_its_id() {
        let standing = [price("a", terms(100, 1)), price("b", terms(90, 10))];
        let change = difference(&standing, &[terms(100, 1), terms(85, 10)]);
        assert_eq!(
            change,
            Difference { superseded: vec!["b".to_owned()], added: vec![terms(85, 10)] }
        );
        assert!(difference(&standing, &[terms(90, 10), terms(100, 1)]).is_empty());
    }

    proptest! {
        #[test]
        fn the_price_that_applies_is_open_and_no_higher_tier_is(
            offers in prop::collection::vec((0_i64..50, 1_i64..5, 0_i64..10, 1_i64..10), 0..12),
            quantity in 1_i64..6,
            now in 0_i64..20,
        ) {
            let prices: Vec<Price> = offers
                .iter()
                .enumerate()
                .map(|(index, (minor, min_quantity, start, length))| price(&index.to_string(), NewPrice {
                    minor_units: *minor,
                    min_quantity: *min_quantity,
                    start_time: at(*start),
                    end_time: at(start + length),
                }))
                .collect();
            let open = |price: &&Price| {
                price.terms.min_quantity <= quantity
                    && price.terms.start_time <= at(now)
                    && at(now) < price.terms.end_time
            };
            match best(&prices, quantity, at(now)) {
                None => prop_assert_eq!(prices.iter().filter(open).count(), 0),
                Some(chosen) => {
                    prop_assert!(open(&chosen));
                    let highest = prices.iter().filter(open).map(|price| price.terms.min_quantity).max();
                    prop_assert_eq!(highest, Some(chosen.terms.min_quantity));
                }
            }
        }
    }
}
