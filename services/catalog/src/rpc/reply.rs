//! From what the catalog knows to what the contract says.

use std::collections::HashMap;

use chassis::{Currency, Money, Time, store};
use contracts::catalog::v1;

use super::etag;
use crate::{
    domain::{
        Category, Choice, FOREVER, Media, Price, Product, ProductOption, SINCE_EVER, State, best,
    },
    store::{Source, price, variant, variant::Taxed},
};

/// How much of a product is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Detail {
    /// Variants too. (The description is read or not with the product.)
    pub(super) full: bool,
    /// Prices in this currency too.
    pub(super) currency: Option<Currency>,
}

// === impl Detail ===

impl Detail {
    /// What the answer to a write tells.
    pub(super) const WRITTEN: Self = Self { full: true, currency: None };
}

/// Products with their variants and prices: at most two more queries, however
/// many products there are.
pub(super) async fn products(
    source: &mut Source<'_>,
    products: Vec<Product>,
    detail: Detail,
    now: Time,
) -> Result<Vec<v1::Product>, store::Error> {
    if products.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<&str> = products.iter().map(|product| product.product_id.as_str()).collect();
    let variants = if detail.full { variant::of_products(source, &ids).await? } else { Vec::new() };
    let prices = match detail.currency {
        Some(currency) => Prices::of_products(source, &ids, currency, now).await?,
        None => Prices::default(),
    };
    let mut by_product: HashMap<String, Vec<v1::Variant>> = HashMap::with_capacity(products.len());
    for taxed in variants {
        let unit_price = prices.unit(&taxed.variant.variant_id);
        let product_id = taxed.variant.product_id.clone();
        by_product.entry(product_id).or_default().push(variant_message(taxed, unit_price));
    }
    Ok(products
        .into_iter()
        .map(|product| {
            let variants = by_product.remove(&product.product_id).unwrap_or_default();
            let range = prices.range(&product.product_id);
            let mut message = product_message(product);
            message.variants = variants;
            message.lowest_price = range.map(|(lowest, _)| lowest.into());
            message.highest_price = range.map(|(_, highest)| highest.into());
            message
        })
        .collect())
}

/// One product, as [`products`].
pub(super) async fn product(
    source: &mut Source<'_>,
    product: Product,
    detail: Detail,
    now: Time,
) -> Result<v1::Product, store::Error> {
    Ok(products(source, vec![product], detail, now).await?.pop().unwrap_or_default())
}

/// Variants with their prices: one more query at most.
pub(super) async fn variants(
    source: &mut Source<'_>,
    variants: Vec<Taxed>,
    currency: Option<Currency>,
    now: Time,
) -> Result<Vec<v1::Variant>, store::Error> {
    if variants.is_empty() {
        return Ok(Vec::new());
    }
    let prices = match currency {
        Some(currency) => {
            let ids: Vec<&str> =
                variants.iter().map(|taxed| taxed.variant.variant_id.as_str()).collect();
            let open = price::of_variants(source, &ids, currency.code(), now).await?;
            Prices::new(open, &HashMap::new(), currency, now)
        }
        None => Prices::default(),
    };
    Ok(variants
        .into_iter()
        .map(|taxed| {
            let unit_price = prices.unit(&taxed.variant.variant_id);
            variant_message(taxed, unit_price)
        })
        .collect())
}

/// The prices of single units.
#[derive(Debug, Default)]
struct Prices {
    by_variant: HashMap<String, Money>,
    by_product: HashMap<String, (Money, Money)>,
}

// === impl Prices ===

impl Prices {
    async fn of_products(
        source: &mut Source<'_>,
        product_ids: &[&str],
        currency: Currency,
        now: Time,
    ) -> Result<Self, store::Error> {
        let open = price::of_products(source, product_ids, currency.code(), now).await?;
        let owners = open
            .iter()
            .map(|(price, product_id)| (price.variant_id.clone(), product_id.clone()))
            .collect();
        Ok(Self::new(open.into_iter().map(|(price, _)| price).collect(), &owners, currency, now))
    }

    /// Of open prices; `owners` says whose product each variant is.
    fn new(
        open: Vec<Price>,
        owners: &HashMap<String, String>,
        currency: Currency,
        now: Time,
    ) -> Self {
        let mut offers: HashMap<String, Vec<Price>> = HashMap::new();
        for price in open {
            offers.entry(price.variant_id.clone()).or_default().push(price);
        }
        let mut prices = Self::default();
        for (variant_id, offers) in offers {
            let Some(price) = best(&offers, 1, now) else { continue };
            let money = Money::new(price.terms.minor_units, currency);
            if let Some(product_id) = owners.get(&variant_id) {
                prices
                    .by_product
                    .entry(product_id.clone())
                    .and_modify(|(lowest, highest)| {
                        lowest.minor = lowest.minor.min(money.minor);
                        highest.minor = highest.minor.max(money.minor);
                    })
                    .or_insert((money, money));
            }
            prices.by_variant.insert(variant_id, money);
        }
        prices
    }

    fn unit(&self, variant_id: &str) -> Option<Money> {
        self.by_variant.get(variant_id).copied()
    }

    fn range(&self, product_id: &str) -> Option<(Money, Money)> {
        self.by_product.get(product_id).copied()
    }
}

fn product_message(product: Product) -> v1::Product {
    v1::Product {
        state: state_message(product.state).into(),
        etag: etag(product.revision),
        product_id: product.product_id,
        title: product.title,
        slug: product.slug,
        description: product.description,
        tax_category: product.tax_category,
        options: product.options.into_iter().map(Into::into).collect(),
        media: product.media.into_iter().map(Into::into).collect(),
        category_ids: product.category_ids,
        variants: Vec::new(),
        lowest_price: None,
        highest_price: None,
        tax_rate_micros: product.tax_rate_micros,
        create_time: Some(product.create_time.into()),
        update_time: Some(product.update_time.into()),
        publish_time: product.publish_time.map(Into::into),
        version: product.version,
    }
}

fn variant_message(taxed: Taxed, unit_price: Option<Money>) -> v1::Variant {
    let Taxed { variant, tax_rate_micros } = taxed;
    v1::Variant {
        etag: etag(variant.version),
        variant_id: variant.variant_id,
        product_id: variant.product_id,
        sku: variant.sku,
        barcode: variant.barcode,
        option_values: variant.choices.into_iter().map(Into::into).collect(),
        weight_grams: variant.weight_grams,
        tax_rate_micros,
        unit_price: unit_price.map(Into::into),
        create_time: Some(variant.create_time.into()),
        update_time: Some(variant.update_time.into()),
    }
}

/// A price.
pub(super) fn price_message(price: Price) -> Result<v1::Price, chassis::MoneyError> {
    let currency = Currency::new(&price.currency_code)?;
    let open = |time: Time| (time != SINCE_EVER && time != FOREVER).then(|| time.into());
    Ok(v1::Price {
        price_id: price.price_id,
        variant_id: price.variant_id,
        unit_price: Some(Money::new(price.terms.minor_units, currency).into()),
        min_quantity: price.terms.min_quantity,
        start_time: open(price.terms.start_time),
        end_time: open(price.terms.end_time),
        create_time: Some(price.create_time.into()),
        supersede_time: price.supersede_time.map(Into::into),
    })
}

/// A category.
pub(super) fn category_message(category: Category) -> v1::Category {
    v1::Category {
        etag: etag(category.version),
        category_id: category.category_id,
        parent_id: category.parent_id,
        title: category.title,
        slug: category.slug,
        path: category.path,
        description: category.description,
        position: category.position,
        depth: category.depth,
        create_time: Some(category.create_time.into()),
        update_time: Some(category.update_time.into()),
    }
}

/// A state, as the contract has it.
pub(super) fn state_message(state: State) -> v1::ProductState {
    match state {
        State::Draft => v1::ProductState::Draft,
        State::Published => v1::ProductState::Published,
        State::Unpublished => v1::ProductState::Unpublished,
        State::Archived => v1::ProductState::Archived,
    }
}

/// A state of the contract; none if unspecified.
pub(super) fn state(message: v1::ProductState) -> Option<State> {
    match message {
        v1::ProductState::Unspecified => None,
        v1::ProductState::Draft => Some(State::Draft),
        v1::ProductState::Published => Some(State::Published),
        v1::ProductState::Unpublished => Some(State::Unpublished),
        v1::ProductState::Archived => Some(State::Archived),
    }
}

impl From<ProductOption> for v1::ProductOption {
    fn from(option: ProductOption) -> Self {
        Self { name: option.name, values: option.values }
    }
}

impl From<v1::ProductOption> for ProductOption {
    fn from(message: v1::ProductOption) -> Self {
        Self { name: message.name, values: message.values }
    }
}

impl From<Choice> for v1::OptionValue {
    fn from(choice: Choice) -> Self {
        Self { name: choice.name, value: choice.value }
    }
}

impl From<v1::OptionValue> for Choice {
    fn from(message: v1::OptionValue) -> Self {
        Self { name: message.name, value: message.value }
    }
}

impl From<Media> for v1::Media {
    fn from(media: Media) -> Self {
        Self { uri: media.uri, alt_text: media.alt_text }
    }
}

impl From<v1::Media> for Media {
    fn from(message: v1::Media) -> Self {
        Self { uri: message.uri, alt_text: message.alt_text }
    }
}
