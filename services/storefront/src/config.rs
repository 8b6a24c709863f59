//! Settings of the `[storefront]` table.

use std::{collections::BTreeMap, time::Duration};

use chassis::{
    Currency,
    failpoint::{Failpoints, Malformed},
};
use serde::{Deserialize, Serialize};

/// What the shop sells in, and how it ships.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// ISO 4217 code of the currency of a cart that names none.
    pub currency_code: String,
    /// The ways to ship.
    pub shipping: Vec<Shipping>,
    /// Tax on shipping, in millionths.
    pub shipping_tax_rate_micros: i64,
    /// How long a purchase may be under way before it is looked after again.
    #[serde(with = "chassis::duration")]
    pub resume_after: Duration,
    /// How often such purchases are looked for.
    #[serde(with = "chassis::duration")]
    pub resume_period: Duration,
    /// Where a test lets a purchase be settled under a click: see
    /// [`mod@chassis::failpoint`]. The point is `completion.read`, with `twice`.
    pub failpoints: String,
}

/// One way to ship.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shipping {
    /// Names it.
    pub code: String,
    /// What it is called.
    pub title: String,
    /// What it costs by currency, in minor units, net of tax. It is offered only
    /// in these currencies.
    pub prices: BTreeMap<String, i64>,
    /// From which net value of the goods on it costs nothing, by currency.
    #[serde(default)]
    pub free_from: BTreeMap<String, i64>,
}

impl Default for Config {
    fn default() -> Self {
        let prices = |eur, usd| BTreeMap::from([("EUR".to_owned(), eur), ("USD".to_owned(), usd)]);
        Self {
            currency_code: "EUR".to_owned(),
            shipping: vec![
                Shipping {
                    code: "standard".to_owned(),
                    title: "Standard, 3 to 5 days".to_owned(),
                    prices: prices(499, 599),
                    free_from: prices(7_500, 9_000),
                },
                Shipping {
                    code: "express".to_owned(),
                    title: "Express, next day".to_owned(),
                    prices: prices(1_299, 1_499),
                    free_from: BTreeMap::new(),
                },
            ],
            shipping_tax_rate_micros: 210_000,
            resume_after: Duration::from_secs(5),
            resume_period: Duration::from_secs(1),
            failpoints: String::new(),
        }
    }
}

/// Settings whose currencies and rates are known to make sense.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) currency: Currency,
    pub(crate) shipping: Vec<Shipping>,
    pub(crate) shipping_tax_rate_micros: i64,
    pub(crate) resume_after: Duration,
    pub(crate) resume_period: Duration,
    pub(crate) failpoints: Failpoints,
}

// === impl Checked ===

impl Checked {
    /// Checks settings, and names what is wrong with them.
    pub(crate) fn new(config: &Config) -> Result<Self, chassis::Error> {
        let Config {
            currency_code,
            shipping,
            shipping_tax_rate_micros,
            resume_after,
            resume_period,
            failpoints,
        } = config.clone();
        let wrong = |what: String| {
            chassis::Error::build(format!("the settings cannot be used: storefront.{what}"))
        };
        let currency = Currency::new(&currency_code)
            .map_err(|error| wrong(format!("currency_code: {error}")))?;
        for option in &shipping {
            for (code, amount) in option.prices.iter().chain(&option.free_from) {
                Currency::new(code)
                    .map_err(|error| wrong(format!("shipping {}: {error}", option.code)))?;
                if *amount < 0 {
                    return Err(wrong(format!(
                        "shipping {}: {amount} {code} is negative",
                        option.code
                    )));
                }
            }
        }
        if !(0..=chassis::money::RATE_ONE_MICROS).contains(&shipping_tax_rate_micros) {
            return Err(wrong("shipping_tax_rate_micros must be 0 to 1000000".to_owned()));
        }
        let failpoints =
            failpoints.parse().map_err(|error: Malformed| wrong(format!("failpoints: {error}")))?;
        Ok(Self {
            currency,
            shipping,
            shipping_tax_rate_micros,
            resume_after,
            resume_period,
            failpoints,
        })
    }

    /// The way to ship with this code, if it is offered in the currency.
    pub(crate) fn shipping_option(&self, code: &str, currency: Currency) -> Option<&Shipping> {
        self.shipping
            .iter()
            .find(|option| option.code == code && option.prices.contains_key(currency.code()))
    }
}
