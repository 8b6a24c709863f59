//! Variants.

use chassis::{
    Database, args,
    store::{Error, FromRow, Row, Tx, json_texts},
};
use serde::Serialize;

use super::{Source, list, read_list, rows};
use crate::domain::{Choice, Variant};

/// How many variants a lookup by code finds at most.
const LOOKUP_MAX: i64 = 1_000;

macro_rules! columns {
    () => {
        "select v.variant_id, v.product_id, v.sku, v.barcode, v.option_values, v.weight_grams, v.version,
            v.create_time, v.update_time,
            (select t.rate_micros from tax_category t where t.tax_category = p.tax_category) as tax_rate_micros
        from variant v join product p on p.product_id = v.product_id"
    };
}

chassis::statements! {
    /// The variants of products.
    FIND_OF_PRODUCTS = concat!(
        columns!(),
        " where v.product_id in (select value from {{JSON_TEXTS:$1}}) order by v.product_id, v.sku"
    );
    /// Variants by id; only of published products unless `$2`.
    FIND_BY_IDS = concat!(
        columns!(),
        " where v.variant_id in (select value from {{JSON_TEXTS:$1}}) and ($2 or p.state = 'PUBLISHED')"
    );
    /// Variants by SKU or barcode; only of published products unless `$3`.
    FIND_BY_CODES = concat!(
        columns!(),
        " where v.variant_id in (
                select s.variant_id from variant s where s.sku in (select value from {{JSON_TEXTS:$1}})
                union
                select b.variant_id from variant b
                where b.barcode <> '' and b.barcode in (select value from {{JSON_TEXTS:$2}}))
            and ($3 or p.state = 'PUBLISHED')
        order by v.sku limit $4"
    );
    /// A page of a product's variants, after a SKU.
    LIST_VARIANTS = concat!(
        columns!(),
        " where v.product_id = $1 and v.sku > $2 and ($3 or p.state = 'PUBLISHED') order by v.sku limit $4"
    );
    /// New variants.
    INSERT_VARIANTS = "insert into variant
            (variant_id, product_id, sku, barcode, option_key, option_values, weight_grams, version,
             create_time, update_time)
        select value ->> 'variant_id', value ->> 'product_id', value ->> 'sku', value ->> 'barcode',
            value ->> 'option_key', value ->> 'option_values', cast(value ->> 'weight_grams' as bigint),
            cast(value ->> 'version' as bigint), cast(value ->> 'create_time' as bigint),
            cast(value ->> 'update_time' as bigint)
        from {{JSON_ROWS:$1}}";
    /// Frees the choices of variants that are about to choose anew: two may swap.
    FREE_CHOICES = "update variant set option_key = variant_id
        where variant_id in (select value from {{JSON_TEXTS:$1}})";
    /// Changed variants.
    UPDATE_VARIANTS = "update variant set
            barcode = value ->> 'barcode', option_key = value ->> 'option_key',
            option_values = value ->> 'option_values', weight_grams = cast(value ->> 'weight_grams' as bigint),
            version = cast(value ->> 'version' as bigint), update_time = cast(value ->> 'update_time' as bigint)
        from {{JSON_ROWS:$1}} where variant_id = value ->> 'variant_id'";
    /// A variant with its prices.
    DELETE_VARIANT = "delete from variant where variant_id = $1";
}

/// A variant with what it inherits.
#[derive(Debug, Clone)]
pub(crate) struct Taxed {
    /// The variant.
    pub(crate) variant: Variant,
    /// The rate of its product's tax category.
    pub(crate) tax_rate_micros: i64,
}

#[derive(Serialize)]
struct Record<'v> {
    variant_id: &'v str,
    product_id: &'v str,
    sku: &'v str,
    barcode: &'v str,
    option_key: String,
    option_values: String,
    weight_grams: i64,
    version: i64,
    create_time: i64,
    update_time: i64,
}

impl FromRow for Taxed {
    fn from_row(row: &Row<'_>) -> Result<Self, Error> {
        Ok(Self {
            variant: Variant {
                variant_id: row.get("variant_id")?,
                product_id: row.get("product_id")?,
                sku: row.get("sku")?,
                barcode: row.get("barcode")?,
                choices: read_list(row, "option_values")?,
                weight_grams: row.get("weight_grams")?,
                version: row.get("version")?,
                create_time: row.get("create_time")?,
                update_time: row.get("update_time")?,
            },
            tax_rate_micros: row.get("tax_rate_micros")?,
        })
    }
}

impl<'v> From<&'v Variant> for Record<'v> {
    fn from(variant: &'v Variant) -> Self {
        Self {
            variant_id: &variant.variant_id,
            product_id: &variant.product_id,
            sku: &variant.sku,
            barcode: &variant.barcode,
            option_key: Choice::key(&variant.choices),
            option_values: list(&variant.choices),
            weight_grams: variant.weight_grams,
            version: variant.version,
            create_time: variant.create_time.micros(),
            update_time: variant.update_time.micros(),
        }
    }
}

/// The variants of products, by product and SKU.
pub(crate) async fn of_products(
    source: &mut Source<'_>,
    product_ids: &[impl AsRef<str>],
) -> Result<Vec<Taxed>, Error> {
    source.fetch_all(FIND_OF_PRODUCTS, args![json_texts(product_ids)]).await
}

/// Variants by id, in no order; with `all`, also those that the public must not see.
pub(crate) async fn by_ids(
    source: &mut Source<'_>,
    variant_ids: &[impl AsRef<str>],
    all: bool,
) -> Result<Vec<Taxed>, Error> {
    source.fetch_all(FIND_BY_IDS, args![json_texts(variant_ids), all]).await
}

/// Variants by any of their codes, by SKU.
pub(crate) async fn by_codes(
    source: &mut Source<'_>,
    skus: &[impl AsRef<str>],
    barcodes: &[impl AsRef<str>],
    all: bool,
) -> Result<Vec<Taxed>, Error> {
    source
        .fetch_all(FIND_BY_CODES, args![json_texts(skus), json_texts(barcodes), all, LOOKUP_MAX])
        .await
}

/// Variants by SKU, as many as an import can name.
pub(crate) async fn by_skus(tx: &mut Tx, skus: &[impl AsRef<str>]) -> Result<Vec<Taxed>, Error> {
    let none: [&str; 0] = [];
    tx.fetch_all(FIND_BY_CODES, args![json_texts(skus), json_texts(&none), true, i64::MAX]).await
}

/// One page of a product's variants, after a SKU.
pub(crate) async fn page(
    database: &Database,
    product_id: &str,
    after: &str,
    limit: i64,
    all: bool,
) -> Result<Vec<Taxed>, Error> {
    database.fetch_all(LIST_VARIANTS, args![product_id, after, all, limit]).await
}

/// Stores new variants.
pub(crate) async fn insert(tx: &mut Tx, variants: &[Variant]) -> Result<(), Error> {
    if variants.is_empty() {
        return Ok(());
    }
    let records: Vec<Record<'_>> = variants.iter().map(Record::from).collect();
    tx.execute(INSERT_VARIANTS, args![rows(&records)]).await?;
    Ok(())
}

/// Stores changed variants.
pub(crate) async fn update(tx: &mut Tx, variants: &[Variant]) -> Result<(), Error> {
    if variants.is_empty() {
        return Ok(());
    }
    if variants.len() > 1 {
        let ids: Vec<&str> = variants.iter().map(|variant| variant.variant_id.as_str()).collect();
        tx.execute(FREE_CHOICES, args![json_texts(&ids)]).await?;
    }
    let records: Vec<Record<'_>> = variants.iter().map(Record::from).collect();
    tx.execute(UPDATE_VARIANTS, args![rows(&records)]).await?;
    Ok(())
}

/// Deletes a variant.
pub(crate) async fn delete(tx: &mut Tx, variant_id: &str) -> Result<(), Error> {
    tx.execute(DELETE_VARIANT, args![variant_id]).await?;
    Ok(())
}
