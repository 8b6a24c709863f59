//! Prices and tax categories.

use chassis::{
    Database, Time, args,
    store::{Error, FromRow, Row, Tx, json_texts},
};
use serde::Serialize;

use super::{Source, read_list, rows};
use crate::domain::{Choice, Media, NewPrice, Price, State};

macro_rules! columns {
    () => {
        "select r.price_id, r.variant_id, r.currency_code, r.min_quantity, r.minor_units, r.start_time, r.end_time,
            r.create_time, r.supersede_time
        from price r"
    };
}

chassis::statements! {
    /// The prices of products' variants that are open now.
    FIND_OF_PRODUCTS = "select v.product_id, r.price_id, r.variant_id, r.currency_code, r.min_quantity, r.minor_units,
            r.start_time, r.end_time, r.create_time, r.supersede_time
        from variant v join price r on r.variant_id = v.variant_id
        where v.product_id in (select value from {{JSON_TEXTS:$1}})
            and r.supersede_time is null and r.currency_code = $2 and r.start_time <= $3 and r.end_time > $3";
    /// The prices of variants that are open now.
    FIND_OF_VARIANTS = concat!(
        columns!(),
        " where r.supersede_time is null and r.currency_code = $2 and r.start_time <= $3 and r.end_time > $3
            and r.variant_id in (select value from {{JSON_TEXTS:$1}})"
    );
    /// Every price of variants that stands, whatever its currency and window.
    FIND_STANDING = concat!(
        columns!(),
        " where r.supersede_time is null and r.variant_id in (select value from {{JSON_TEXTS:$1}})
        order by r.variant_id, r.currency_code, r.min_quantity, r.start_time, r.price_id"
    );
    /// A page of a variant's prices, newest first.
    LIST_PRICES = concat!(
        columns!(),
        " where r.variant_id = $1 and r.price_id < $2 and ($3 or r.supersede_time is null)
            and ($4 = '' or r.currency_code = $4)
        order by r.price_id desc limit $5"
    );
    /// Everything that the price of a line depends on, for all lines at once.
    RESOLVE = "select v.sku, v.variant_id, v.product_id, v.option_values, v.weight_grams,
            p.title, p.state, p.media,
            (select t.rate_micros from tax_category t where t.tax_category = p.tax_category) as tax_rate_micros,
            r.price_id, r.currency_code, r.min_quantity, r.minor_units, r.start_time, r.end_time, r.create_time,
            r.supersede_time
        from variant v
        join product p on p.product_id = v.product_id
        left join price r on r.variant_id = v.variant_id and r.supersede_time is null
            and r.currency_code = $2 and r.start_time <= $3 and r.end_time > $3
        where v.sku in (select value from {{JSON_TEXTS:$1}})
        order by v.sku";
    /// New prices.
    INSERT_PRICES = "insert into price
            (price_id, variant_id, currency_code, min_quantity, minor_units, start_time, end_time, create_time)
        select value ->> 'price_id', value ->> 'variant_id', value ->> 'currency_code',
            cast(value ->> 'min_quantity' as bigint), cast(value ->> 'minor_units' as bigint),
            cast(value ->> 'start_time' as bigint), cast(value ->> 'end_time' as bigint),
            cast(value ->> 'create_time' as bigint)
        from {{JSON_ROWS:$1}}";
    /// Prices that stand no longer.
    SUPERSEDE_PRICES = "update price set supersede_time = $2
        where supersede_time is null and price_id in (select value from {{JSON_TEXTS:$1}})";
    /// A page of tax categories.
    LIST_TAX_CATEGORIES = "select tax_category, title, rate_micros from tax_category
        where tax_category > $1 order by tax_category limit $2";
    /// A tax category, new or changed.
    SET_TAX_CATEGORY = "insert into tax_category (tax_category, title, rate_micros, update_time)
        values ($1, $2, $3, $4)
        on conflict (tax_category) do update set
            title = excluded.title, rate_micros = excluded.rate_micros, update_time = excluded.update_time";
}

/// A variant for sale, with one of its prices if it has any.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    pub(crate) sku: String,
    pub(crate) variant_id: String,
    pub(crate) product_id: String,
    pub(crate) choices: Vec<Choice>,
    pub(crate) weight_grams: i64,
    pub(crate) title: String,
    pub(crate) state: State,
    pub(crate) media: Vec<Media>,
    pub(crate) tax_rate_micros: i64,
    pub(crate) price: Option<Price>,
}

/// A price and the product it is of.
struct Owned {
    price: Price,
    product_id: String,
}

#[derive(Serialize)]
struct Record<'p> {
    price_id: &'p str,
    variant_id: &'p str,
    currency_code: &'p str,
    min_quantity: i64,
    minor_units: i64,
    start_time: i64,
    end_time: i64,
    create_time: i64,
}

impl FromRow for Price {
    fn from_row(row: &Row<'_>) -> Result<Self, Error> {
        Ok(Self {
            price_id: row.get("price_id")?,
            variant_id: row.get("variant_id")?,
            currency_code: row.get("currency_code")?,
            terms: NewPrice {
                minor_units: row.get("minor_units")?,
                min_quantity: row.get("min_quantity")?,
                start_time: row.get("start_time")?,
                end_time: row.get("end_time")?,
            },
            create_time: row.get("create_time")?,
            supersede_time: row.get("supersede_time")?,
        })
    }
}

impl FromRow for Owned {
    fn from_row(row: &Row<'_>) -> Result<Self, Error> {
        Ok(Self { price: Price::from_row(row)?, product_id: row.get("product_id")? })
    }
}

impl FromRow for Offer {
    fn from_row(row: &Row<'_>) -> Result<Self, Error> {
        let state: String = row.get("state")?;
        let priced = row.get::<Option<String>>("price_id")?.is_some();
        Ok(Self {
            sku: row.get("sku")?,
            variant_id: row.get("variant_id")?,
            product_id: row.get("product_id")?,
            choices: read_list(row, "option_values")?,
            weight_grams: row.get("weight_grams")?,
            title: row.get("title")?,
            state: State::of_name(&state).ok_or_else(|| Error::Column {
                column: "state".into(),
                problem: format!("{state:?} is no state").into(),
            })?,
            media: read_list(row, "media")?,
            tax_rate_micros: row.get("tax_rate_micros")?,
            price: if priced { Some(Price::from_row(row)?) } else { None },
        })
    }
}

/// The prices of products' variants in a currency that are open now, each with
/// its product.
pub(crate) async fn of_products(
    source: &mut Source<'_>,
    product_ids: &[impl AsRef<str>],
    currency_code: &str,
    now: Time,
) -> Result<Vec<(Price, String)>, Error> {
    let found: Vec<Owned> = source
        .fetch_all(FIND_OF_PRODUCTS, args![json_texts(product_ids), currency_code, now])
        .await?;
    Ok(found.into_iter().map(|Owned { price, product_id }| (price, product_id)).collect())
}

/// The prices of variants in a currency that are open now.
pub(crate) async fn of_variants(
    source: &mut Source<'_>,
    variant_ids: &[impl AsRef<str>],
    currency_code: &str,
    now: Time,
) -> Result<Vec<Price>, Error> {
    source.fetch_all(FIND_OF_VARIANTS, args![json_texts(variant_ids), currency_code, now]).await
}

/// Every price of variants that stands.
pub(crate) async fn standing(
    tx: &mut Tx,
    variant_ids: &[impl AsRef<str>],
) -> Result<Vec<Price>, Error> {
    tx.fetch_all(FIND_STANDING, args![json_texts(variant_ids)]).await
}

/// A page of a variant's prices, newest first, before a price.
pub(crate) async fn page(
    database: &Database,
    variant_id: &str,
    currency_code: &str,
    history: bool,
    before: &str,
    limit: i64,
) -> Result<Vec<Price>, Error> {
    database.fetch_all(LIST_PRICES, args![variant_id, before, history, currency_code, limit]).await
}

/// What the prices of SKUs depend on: a row for each price of each, by SKU.
pub(crate) async fn offers(
    database: &Database,
    skus: &[impl AsRef<str>],
    currency_code: &str,
    now: Time,
) -> Result<Vec<Offer>, Error> {
    database.fetch_all(RESOLVE, args![json_texts(skus), currency_code, now]).await
}

/// Ends prices, then stores new ones.
pub(crate) async fn replace(
    tx: &mut Tx,
    superseded: &[String],
    added: &[Price],
    now: Time,
) -> Result<(), Error> {
    if !superseded.is_empty() {
        tx.execute(SUPERSEDE_PRICES, args![json_texts(superseded), now]).await?;
    }
    if !added.is_empty() {
        let records: Vec<Record<'_>> = added
            .iter()
            .map(|price| Record {
                price_id: &price.price_id,
                variant_id: &price.variant_id,
                currency_code: &price.currency_code,
                min_quantity: price.terms.min_quantity,
                minor_units: price.terms.minor_units,
                start_time: price.terms.start_time.micros(),
                end_time: price.terms.end_time.micros(),
                create_time: price.create_time.micros(),
            })
            .collect();
        tx.execute(INSERT_PRICES, args![rows(&records)]).await?;
    }
    Ok(())
}

/// A page of tax categories after one: name, title, rate.
pub(crate) async fn tax_categories(
    database: &Database,
    after: &str,
    limit: i64,
) -> Result<Vec<(String, String, i64)>, Error> {
    database.fetch_all(LIST_TAX_CATEGORIES, args![after, limit]).await
}

/// Stores a tax category.
pub(crate) async fn set_tax_category(
    tx: &mut Tx,
    name: &str,
    title: &str,
    rate_micros: i64,
    now: Time,
) -> Result<(), Error> {
    tx.execute(SET_TAX_CATEGORY, args![name, title, rate_micros, now]).await?;
    Ok(())
}
