//! Variants: the second half of the product service.

use std::collections::HashMap;

use chassis::store::Tx;
use contracts::catalog::v1;
use tonic::Request;

use super::{
    Rpc, check_etag, currency, lock_editable, mask,
    product::{check_room, event, new_variant, unique},
    reply, sees_all,
};
use crate::{
    domain::{Choice, Product, State, Variant, choose},
    error::Error,
    store::{self, Source, variant::Taxed},
};

/// What `UpdateVariant` can change.
const FIELDS: &[&str] = &["barcode", "option_values", "weight_grams"];

impl Rpc {
    pub(super) async fn find_variant(
        &self,
        request: Request<v1::GetVariantRequest>,
    ) -> Result<v1::Variant, Error> {
        let all = sees_all(&request);
        let message = request.into_inner();
        let currency = currency(&message.currency_code)?;
        let mut source = Source::Pool(&self.database);
        let found = store::variant::by_ids(&mut source, &[&message.variant_id], all).await?;
        let mut replies = reply::variants(&mut source, found, currency, self.clock.now()).await?;
        replies.pop().ok_or(Error::VariantNotFound { field: None, variant: message.variant_id })
    }

    pub(super) async fn find_variants(
        &self,
        request: Request<v1::BatchGetVariantsRequest>,
    ) -> Result<v1::BatchGetVariantsResponse, Error> {
        let all = sees_all(&request);
        let message = request.into_inner();
        let currency = currency(&message.currency_code)?;
        let mut source = Source::Pool(&self.database);
        let found = store::variant::by_ids(&mut source, &message.variant_ids, all).await?;
        let replies = reply::variants(&mut source, found, currency, self.clock.now()).await?;
        let mut by_id: HashMap<String, v1::Variant> =
            replies.into_iter().map(|variant| (variant.variant_id.clone(), variant)).collect();
        let mut response = v1::BatchGetVariantsResponse::default();
        for variant_id in unique(message.variant_ids) {
            match by_id.remove(&variant_id) {
                Some(variant) => response.variants.push(variant),
                None => response.missing_variant_ids.push(variant_id),
            }
        }
        Ok(response)
    }

    pub(super) async fn variants_of(
        &self,
        request: Request<v1::ListVariantsRequest>,
    ) -> Result<v1::ListVariantsResponse, Error> {
        let all = sees_all(&request);
        let message = request.into_inner();
        let currency = currency(&message.currency_code)?;
        let page =
            self.pages.page(message.page_size, &message.page_token, &[&message.product_id])?;
        let after: String = page.after().unwrap_or_default();
        let found =
            store::variant::page(&self.database, &message.product_id, &after, page.limit(), all)
                .await?;
        let mut source = Source::Pool(&self.database);
        if found.is_empty()
            && store::product::find(&mut source, &[&message.product_id], all, false)
                .await?
                .is_empty()
        {
            return Err(Error::ProductNotFound { product_id: message.product_id });
        }
        let (found, next_page_token) = page.finish(found, |last| last.variant.sku.clone());
        let variants = reply::variants(&mut source, found, currency, self.clock.now()).await?;
        Ok(v1::ListVariantsResponse { variants, next_page_token })
    }

    pub(super) async fn variants_by_codes(
        &self,
        request: Request<v1::LookupVariantsRequest>,
    ) -> Result<v1::LookupVariantsResponse, Error> {
        let all = sees_all(&request);
        let message = request.into_inner();
        let currency = currency(&message.currency_code)?;
        let mut source = Source::Pool(&self.database);
        let found =
            store::variant::by_codes(&mut source, &message.skus, &message.barcodes, all).await?;
        let variants = reply::variants(&mut source, found, currency, self.clock.now()).await?;
        Ok(v1::LookupVariantsResponse { variants })
    }
}

pub(super) async fn create(
    tx: &mut Tx,
    message: v1::CreateVariantRequest,
) -> Result<v1::Variant, Error> {
    let mut product = lock_editable(tx, &message.product_id, "", "").await?;
    let others =
        store::variant::of_products(&mut Source::Write(tx), &[&product.product_id]).await?;
    check_room(&product, others.len())?;
    let new = message.variant.unwrap_or_default();
    let variant = new_variant(tx, &product, new, "variant.option_values")?;
    store::variant::insert(tx, std::slice::from_ref(&variant)).await?;
    changed(tx, &mut product, variant, v1::VariantChange::Created).await
}

pub(super) async fn update(
    tx: &mut Tx,
    message: v1::UpdateVariantRequest,
) -> Result<v1::Variant, Error> {
    let wanted = message.variant.unwrap_or_default();
    let fields = mask::fields(message.update_mask.as_ref(), FIELDS, |field| match field {
        "barcode" => !wanted.barcode.is_empty(),
        "option_values" => !wanted.option_values.is_empty(),
        _ => wanted.weight_grams != 0,
    })?;
    let (mut product, before) =
        lock_variant(tx, &wanted.variant_id, &wanted.etag, "variant.etag").await?;
    let mut variant = before.variant.clone();
    for field in fields {
        match field {
            "barcode" => variant.barcode.clone_from(&wanted.barcode),
            "option_values" => {
                let choices: Vec<Choice> =
                    wanted.option_values.iter().cloned().map(Into::into).collect();
                variant.choices = choose(&product.options, &choices).map_err(|problem| {
                    Error::OptionsInvalid { field: "variant.option_values".to_owned(), problem }
                })?;
            }
            _ => variant.weight_grams = wanted.weight_grams,
        }
    }
    if variant == before.variant {
        return answer(tx, before).await;
    }
    variant.version += 1;
    variant.update_time = tx.clock().now();
    store::variant::update(tx, std::slice::from_ref(&variant)).await?;
    changed(tx, &mut product, variant, v1::VariantChange::Updated).await
}

pub(super) async fn delete(
    tx: &mut Tx,
    message: v1::DeleteVariantRequest,
) -> Result<v1::DeleteVariantResponse, Error> {
    let (mut product, taxed) = lock_variant(tx, &message.variant_id, &message.etag, "etag").await?;
    if product.state == State::Published {
        let all =
            store::variant::of_products(&mut Source::Write(tx), &[&product.product_id]).await?;
        if all.len() == 1 {
            return Err(Error::VariantRequired { product_id: product.product_id });
        }
    }
    store::variant::delete(tx, &message.variant_id).await?;
    changed(tx, &mut product, taxed.variant, v1::VariantChange::Deleted).await?;
    Ok(v1::DeleteVariantResponse {})
}

/// A variant that is to be changed, and its product. The product is locked
/// first, as every other write does it, and the variant read after.
async fn lock_variant(
    tx: &mut Tx,
    variant_id: &str,
    etag: &str,
    etag_field: &'static str,
) -> Result<(Product, Taxed), Error> {
    let gone = || Error::VariantNotFound { field: None, variant: variant_id.to_owned() };
    let found = store::variant::by_ids(&mut Source::Write(tx), &[variant_id], true).await?;
    let product_id = found.into_iter().next().ok_or_else(gone)?.variant.product_id;
    let product = lock_editable(tx, &product_id, "", "").await?;
    let found = store::variant::by_ids(&mut Source::Write(tx), &[variant_id], true).await?;
    let taxed = found.into_iter().next().ok_or_else(gone)?;
    check_etag(etag, taxed.variant.version, etag_field)?;
    Ok((product, taxed))
}

/// Notes at the product what was done to a variant, tells it, and answers with
/// the variant.
async fn changed(
    tx: &mut Tx,
    product: &mut Product,
    variant: Variant,
    change: v1::VariantChange,
) -> Result<v1::Variant, Error> {
    product.touch(tx.clock().now());
    store::product::touch(tx, std::slice::from_ref(product)).await?;
    tx.publish(updated(product, &variant, change)).await?;
    answer(tx, Taxed { variant, tax_rate_micros: product.tax_rate_micros }).await
}

async fn answer(tx: &mut Tx, taxed: Taxed) -> Result<v1::Variant, Error> {
    let now = tx.clock().now();
    let mut replies = reply::variants(&mut Source::Write(tx), vec![taxed], None, now).await?;
    Ok(replies.pop().unwrap_or_default())
}

/// What was done to a variant.
pub(super) fn updated(
    product: &Product,
    variant: &Variant,
    change: v1::VariantChange,
) -> chassis::event::Event {
    event(
        product,
        &v1::VariantUpdated {
            product_id: product.product_id.clone(),
            variant_id: variant.variant_id.clone(),
            sku: variant.sku.clone(),
            change: change.into(),
        },
    )
}
