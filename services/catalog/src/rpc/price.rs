//! Prices and tax categories.

use std::collections::{HashMap, HashSet};

use chassis::{Currency, Money, Time, event::Event, store::Tx};
use contracts::catalog::v1::{self, pricing_service_server::PricingService};
use prost_types::Timestamp;
use tonic::{Request, Response, Status};

use super::{Rpc, check_editable, currency, product::event, reply::price_message};
use crate::{
    domain::{
        FOREVER, NewPrice, Price, Product, SINCE_EVER, State, Variant, best, check_prices,
        difference,
    },
    error::Error,
    store::{self, Source, price, price::Offer},
};

/// Above every `price_id` in any order of texts: ids are hexadecimal.
const AFTER_EVERY_ID: &str = "g";

#[tonic::async_trait]
impl PricingService for Rpc {
    async fn set_prices(
        &self,
        request: Request<v1::SetPricesRequest>,
    ) -> Result<Response<v1::SetPricesResponse>, Status> {
        Ok(self.database.once(&request, |tx, message| Box::pin(set(tx, message))).await?)
    }

    async fn batch_set_prices(
        &self,
        request: Request<v1::BatchSetPricesRequest>,
    ) -> Result<Response<v1::BatchSetPricesResponse>, Status> {
        Ok(self.database.once(&request, |tx, message| Box::pin(batch_set(tx, message))).await?)
    }

    async fn list_prices(
        &self,
        request: Request<v1::ListPricesRequest>,
    ) -> Result<Response<v1::ListPricesResponse>, Status> {
        let message = request.into_inner();
        let currency = currency(&message.currency_code)?;
        let code = currency.as_ref().map_or("", Currency::code);
        let history = if message.include_history { "history" } else { "" };
        let page = self.pages.page(
            message.page_size,
            &message.page_token,
            &[&message.variant_id, code, history],
        )?;
        let before = page.after().unwrap_or_else(|| AFTER_EVERY_ID.to_owned());
        let found = price::page(
            &self.database,
            &message.variant_id,
            code,
            message.include_history,
            &before,
            page.limit(),
        )
        .await
        .map_err(Error::from)?;
        if found.is_empty() {
            let mut source = Source::Pool(&self.database);
            let variant = store::variant::by_ids(&mut source, &[&message.variant_id], true)
                .await
                .map_err(Error::from)?;
            if variant.is_empty() {
                return Err(
                    Error::VariantNotFound { field: None, variant: message.variant_id }.into()
                );
            }
        }
        let (found, next_page_token) = page.finish(found, |last| last.price_id.clone());
        let prices = messages(found)?;
        Ok(Response::new(v1::ListPricesResponse { prices, next_page_token }))
    }

    async fn resolve_prices(
        &self,
        request: Request<v1::ResolvePricesRequest>,
    ) -> Result<Response<v1::ResolvePricesResponse>, Status> {
        let message = request.into_inner();
        let currency = Currency::new(&message.currency_code).map_err(Error::from)?;
        let now = self.clock.now();
        let skus: Vec<&str> = message.queries.iter().map(|query| query.sku.as_str()).collect();
        let offers = price::offers(&self.database, &skus, currency.code(), now)
            .await
            .map_err(Error::from)?;
        let mut by_sku: HashMap<&str, Vec<&Offer>> = HashMap::with_capacity(skus.len());
        for offer in &offers {
            by_sku.entry(&offer.sku).or_default().push(offer);
        }
        let prices = message
            .queries
            .iter()
            .map(|query| {
                let offers = by_sku.get(query.sku.as_str()).map_or(&[][..], Vec::as_slice);
                resolve(query, offers, currency, now)
            })
            .collect();
        Ok(Response::new(v1::ResolvePricesResponse { prices }))
    }

    async fn list_tax_categories(
        &self,
        request: Request<v1::ListTaxCategoriesRequest>,
    ) -> Result<Response<v1::ListTaxCategoriesResponse>, Status> {
        let message = request.into_inner();
        let page = self.pages.page(message.page_size, &message.page_token, &[])?;
        let after: String = page.after().unwrap_or_default();
        let found = price::tax_categories(&self.database, &after, page.limit())
            .await
            .map_err(Error::from)?;
        let (found, next_page_token) = page.finish(found, |(name, _, _)| name.clone());
        let tax_categories = found
            .into_iter()
            .map(|(tax_category, title, rate_micros)| v1::TaxCategory {
                tax_category,
                title,
                rate_micros,
            })
            .collect();
        Ok(Response::new(v1::ListTaxCategoriesResponse { tax_categories, next_page_token }))
    }

    async fn set_tax_category(
        &self,
        request: Request<v1::SetTaxCategoryRequest>,
    ) -> Result<Response<v1::SetTaxCategoryResponse>, Status> {
        Ok(self
            .database
            .once(&request, |tx, message| Box::pin(set_tax_category(tx, message)))
            .await?)
    }
}

async fn set(tx: &mut Tx, message: v1::SetPricesRequest) -> Result<v1::SetPricesResponse, Error> {
    let list = message.price_list.unwrap_or_default();
    Ok(v1::SetPricesResponse { prices: replace(tx, &[list], |_| "price_list".to_owned()).await? })
}

async fn batch_set(
    tx: &mut Tx,
    message: v1::BatchSetPricesRequest,
) -> Result<v1::BatchSetPricesResponse, Error> {
    let prices = replace(tx, &message.price_lists, |index| format!("price_lists[{index}]")).await?;
    Ok(v1::BatchSetPricesResponse { prices })
}

async fn set_tax_category(
    tx: &mut Tx,
    message: v1::SetTaxCategoryRequest,
) -> Result<v1::SetTaxCategoryResponse, Error> {
    let now = tx.clock().now();
    let v1::SetTaxCategoryRequest { tax_category, title, rate_micros, .. } = message;
    price::set_tax_category(tx, &tax_category, &title, rate_micros, now).await?;
    let tax_category = v1::TaxCategory { tax_category, title, rate_micros };
    Ok(v1::SetTaxCategoryResponse { tax_category: Some(tax_category) })
}

/// A list of prices, checked.
struct Wanted {
    sku: String,
    currency: Currency,
    prices: Vec<NewPrice>,
}

/// Makes the lists' prices the only ones of their variants in their currencies;
/// the prices that stand then, in the order of the lists.
async fn replace(
    tx: &mut Tx,
    lists: &[v1::PriceList],
    field: impl Fn(usize) -> String,
) -> Result<Vec<v1::Price>, Error> {
    let now = tx.clock().now();
    let wanted = check(lists, &field)?;
    let skus: Vec<&str> = wanted.iter().map(|list| list.sku.as_str()).collect();
    let mut products: HashMap<String, Product> = HashMap::new();
    let owners: HashSet<String> = store::variant::by_skus(tx, &skus)
        .await?
        .into_iter()
        .map(|taxed| taxed.variant.product_id)
        .collect();
    for product in store::product::lock(tx, &owners.into_iter().collect::<Vec<_>>()).await? {
        check_editable(&product, None)?;
        products.insert(product.product_id.clone(), product);
    }
    let variants: HashMap<String, Variant> = store::variant::by_skus(tx, &skus)
        .await?
        .into_iter()
        .map(|taxed| (taxed.variant.sku.clone(), taxed.variant))
        .collect();
    if let Some((index, list)) =
        wanted.iter().enumerate().find(|(_, list)| !variants.contains_key(&list.sku))
    {
        let variant = format!("with the SKU {}", list.sku);
        return Err(Error::VariantNotFound {
            field: Some(format!("{}.sku", field(index))),
            variant,
        });
    }
    let variant_ids: Vec<&str> =
        variants.values().map(|variant| variant.variant_id.as_str()).collect();
    let mut standing: HashMap<(String, String), Vec<Price>> = HashMap::new();
    for price in price::standing(tx, &variant_ids).await? {
        standing
            .entry((price.variant_id.clone(), price.currency_code.clone()))
            .or_default()
            .push(price);
    }

    let mut changes = Changes::default();
    let mut answer = Vec::new();
    for list in &wanted {
        let Some(variant) = variants.get(&list.sku) else { continue };
        let held = standing
            .remove(&(variant.variant_id.clone(), list.currency.code().to_owned()))
            .unwrap_or_default();
        let changed = changes.add(tx, variant, list.currency, &held, &list.prices);
        if let Some(product) = products.get_mut(&variant.product_id).filter(|_| changed) {
            product.touch(now);
            changes.events.push(price_changed(product, variant, list.currency));
        }
        answer.extend(held.into_iter().filter(|price| list.prices.contains(&price.terms)));
        answer.extend(changes.last_added().iter().cloned());
    }
    let touched: Vec<Product> =
        products.into_values().filter(|product| product.update_time == now).collect();
    changes.apply(tx, now).await?;
    store::product::touch(tx, &touched).await?;
    for event in changes.events {
        tx.publish(event).await?;
    }
    messages(answer)
}

/// Prices that are to end and to begin, of many variants.
#[derive(Debug, Default)]
pub(super) struct Changes {
    superseded: Vec<String>,
    added: Vec<Price>,
    /// Where in `added` the last list begins.
    last: usize,
    events: Vec<Event>,
}

// === impl Changes ===

impl Changes {
    /// Replaces what stands for one variant in one currency; whether anything changes.
    pub(super) fn add(
        &mut self,
        tx: &Tx,
        variant: &Variant,
        currency: Currency,
        standing: &[Price],
        wanted: &[NewPrice],
    ) -> bool {
        let change = difference(standing, wanted);
        self.last = self.added.len();
        if change.is_empty() {
            return false;
        }
        let now = tx.clock().now();
        self.superseded.extend(change.superseded);
        self.added.extend(change.added.into_iter().map(|terms| Price {
            price_id: tx.clock().id(),
            variant_id: variant.variant_id.clone(),
            currency_code: currency.code().to_owned(),
            terms,
            create_time: now,
            supersede_time: None,
        }));
        true
    }

    /// Stores them.
    pub(super) async fn apply(&self, tx: &mut Tx, now: Time) -> Result<(), Error> {
        Ok(price::replace(tx, &self.superseded, &self.added, now).await?)
    }

    fn last_added(&self) -> &[Price] {
        self.added.get(self.last..).unwrap_or_default()
    }
}

/// That the prices of a variant in a currency changed.
pub(super) fn price_changed(product: &Product, variant: &Variant, currency: Currency) -> Event {
    event(
        product,
        &v1::PriceChanged {
            product_id: product.product_id.clone(),
            variant_id: variant.variant_id.clone(),
            sku: variant.sku.clone(),
            currency_code: currency.code().to_owned(),
        },
    )
}

/// A price that is to be set, as the domain has it. Its currency is checked apart.
pub(super) fn new_price(message: &v1::NewPrice) -> NewPrice {
    let time = |stamp: Option<Timestamp>, open: Time| stamp.map_or(open, Time::from);
    NewPrice {
        minor_units: message.unit_price.as_ref().map_or(0, |money| money.minor_units),
        min_quantity: message.min_quantity.max(1),
        start_time: time(message.start_time, SINCE_EVER),
        end_time: time(message.end_time, FOREVER),
    }
}

fn check(lists: &[v1::PriceList], field: &impl Fn(usize) -> String) -> Result<Vec<Wanted>, Error> {
    let mut seen = HashSet::new();
    lists
        .iter()
        .enumerate()
        .map(|(index, list)| {
            let field = field(index);
            let currency = Currency::new(&list.currency_code)?;
            if !seen.insert((&list.sku, &list.currency_code)) {
                return Err(Error::PriceListRepeated { field });
            }
            let other = list.prices.iter().position(|price| {
                price
                    .unit_price
                    .as_ref()
                    .is_none_or(|money| money.currency_code != list.currency_code)
            });
            if let Some(at) = other {
                return Err(Error::CurrencyMismatch {
                    field: format!("{field}.prices[{at}].unit_price.currency_code"),
                    wanted: list.currency_code.clone(),
                });
            }
            let prices: Vec<NewPrice> = list.prices.iter().map(new_price).collect();
            check_prices(&prices).map_err(|(at, problem)| Error::PriceInvalid {
                field: format!("{field}.prices[{at}]"),
                problem,
            })?;
            Ok(Wanted { sku: list.sku.clone(), currency, prices })
        })
        .collect()
}

/// What one line costs, of a variant of which there is a row for each open price.
fn resolve(
    query: &v1::PriceQuery,
    offers: &[&Offer],
    currency: Currency,
    now: Time,
) -> v1::ResolvedPrice {
    let mut resolved = v1::ResolvedPrice { sku: query.sku.clone(), ..Default::default() };
    let Some(offer) = offers.first().filter(|offer| offer.state != State::Draft) else {
        return resolved;
    };
    resolved.product_id.clone_from(&offer.product_id);
    resolved.variant_id.clone_from(&offer.variant_id);
    resolved.title = Product::title_with(&offer.title, &offer.choices);
    resolved.tax_rate_micros = offer.tax_rate_micros;
    resolved.weight_grams = offer.weight_grams;
    resolved.image_uri = offer.media.first().map(|media| media.uri.clone()).unwrap_or_default();
    let price = best(offers.iter().filter_map(|offer| offer.price.as_ref()), query.quantity, now);
    if let Some(price) = price.filter(|_| offer.state == State::Published) {
        resolved.purchasable = true;
        resolved.unit_price = Some(Money::new(price.terms.minor_units, currency).into());
        resolved.price_version = format!("{}.{}", price.price_id, offer.tax_rate_micros);
    }
    resolved
}

fn messages(prices: Vec<Price>) -> Result<Vec<v1::Price>, Error> {
    Ok(prices.into_iter().map(price_message).collect::<Result<_, _>>()?)
}
