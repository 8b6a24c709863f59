//! What changes a product.

use chassis::{Time, event::Event, store::Tx};
use contracts::catalog::v1;

use super::super::{
    check_editable, lock_editable, lock_product, mask, reply, reply::Detail, state_invalid,
};
use crate::{
    domain::{
        Choice, Product, ProductOption, State, TAX_CATEGORY_DEFAULT, Transition, VARIANTS_MAX,
        Variant, check_options, choose, slug_of, slug_with,
    },
    error::Error,
    store::{self, Source},
};

/// What `UpdateProduct` can change.
const FIELDS: &[&str] = &["title", "slug", "description", "tax_category", "options", "media"];
pub(super) async fn create(
    tx: &mut Tx,
    message: v1::CreateProductRequest,
) -> Result<v1::Product, Error> {
    let now = tx.clock().now();
    let product_id = tx.clock().id();
    let tax_category = if message.tax_category.is_empty() {
        TAX_CATEGORY_DEFAULT.to_owned()
    } else {
        message.tax_category
    };
    demand_tax_category(tx, &tax_category, "tax_category").await?;
    demand_categories(tx, &message.category_ids).await?;
    let slug = if message.slug.is_empty() {
        free_slug(tx, &message.title, &product_id).await?
    } else {
        message.slug
    };
    let product = Product {
        product_id,
        state: State::Draft,
        title: message.title,
        slug,
        description: message.description,
        tax_category,
        tax_rate_micros: 0,
        options: options(message.options, "options")?,
        media: message.media.into_iter().map(Into::into).collect(),
        category_ids: message.category_ids,
        revision: 1,
        version: 1,
        create_time: now,
        update_time: now,
        publish_time: None,
    };
    let mut variants = Vec::with_capacity(message.variants.len());
    for (index, new) in message.variants.into_iter().enumerate() {
        variants.push(new_variant(tx, &product, new, &format!("variants[{index}].option_values"))?);
    }
    store::product::insert(tx, std::slice::from_ref(&product)).await?;
    store::variant::insert(tx, &variants).await?;
    tx.publish(event(
        &product,
        &v1::ProductCreated {
            product_id: product.product_id.clone(),
            slug: product.slug.clone(),
            title: product.title.clone(),
        },
    ))
    .await?;
    written(tx, product, now).await
}

pub(super) async fn update(
    tx: &mut Tx,
    message: v1::UpdateProductRequest,
) -> Result<v1::Product, Error> {
    let now = tx.clock().now();
    let wanted = message.product.unwrap_or_default();
    let fields = mask::fields(message.update_mask.as_ref(), FIELDS, |field| match field {
        "title" => !wanted.title.is_empty(),
        "slug" => !wanted.slug.is_empty(),
        "description" => !wanted.description.is_empty(),
        "tax_category" => !wanted.tax_category.is_empty(),
        "options" => !wanted.options.is_empty(),
        _ => !wanted.media.is_empty(),
    })?;
    demand_text(
        &fields,
        &[("title", &wanted.title), ("slug", &wanted.slug), ("tax_category", &wanted.tax_category)],
    )?;
    let before = lock_editable(tx, &wanted.product_id, &wanted.etag, "product.etag").await?;
    let mut product = before.clone();
    for field in fields {
        match field {
            "title" => product.title.clone_from(&wanted.title),
            "slug" => product.slug.clone_from(&wanted.slug),
            "description" => product.description.clone_from(&wanted.description),
            "tax_category" => product.tax_category.clone_from(&wanted.tax_category),
            "options" => product.options = options(wanted.options.clone(), "product.options")?,
            _ => product.media = wanted.media.iter().cloned().map(Into::into).collect(),
        }
    }
    if product == before {
        return written(tx, product, now).await;
    }
    if product.tax_category != before.tax_category {
        demand_tax_category(tx, &product.tax_category, "product.tax_category").await?;
    }
    product.revise(now);
    if product.slug != before.slug {
        take_slug(tx, &product).await?;
    }
    if product.options != before.options {
        refit_variants(tx, &product, now).await?;
    }
    store::product::update(tx, std::slice::from_ref(&product)).await?;
    if product.title != before.title {
        store::product::relist(tx, &[&product.product_id]).await?;
    }
    tx.publish(updated(&product)).await?;
    written(tx, product, now).await
}

pub(super) async fn delete(
    tx: &mut Tx,
    message: v1::DeleteProductRequest,
) -> Result<v1::DeleteProductResponse, Error> {
    let now = tx.clock().now();
    let mut product = lock_product(tx, &message.product_id, &message.etag, "etag").await?;
    if product.publish_time.is_some() {
        return Err(Error::NotDeletable { product_id: product.product_id, state: product.state });
    }
    store::product::delete(tx, &product.product_id).await?;
    product.revise(now);
    let gone = v1::ProductUpdated {
        product_id: product.product_id.clone(),
        slug: product.slug.clone(),
        title: product.title.clone(),
        state: reply::state_message(product.state).into(),
        deleted: true,
    };
    tx.publish(event(&product, &gone)).await?;
    Ok(v1::DeleteProductResponse {})
}

pub(super) async fn publish(
    tx: &mut Tx,
    message: v1::PublishProductRequest,
) -> Result<v1::PublishProductResponse, Error> {
    let product = change_state(tx, message.product_id, message.etag, Transition::Publish).await?;
    Ok(v1::PublishProductResponse { product: Some(product) })
}

pub(super) async fn unpublish(
    tx: &mut Tx,
    message: v1::UnpublishProductRequest,
) -> Result<v1::UnpublishProductResponse, Error> {
    let product = change_state(tx, message.product_id, message.etag, Transition::Unpublish).await?;
    Ok(v1::UnpublishProductResponse { product: Some(product) })
}

pub(super) async fn archive(
    tx: &mut Tx,
    message: v1::ArchiveProductRequest,
) -> Result<v1::ArchiveProductResponse, Error> {
    let product = change_state(tx, message.product_id, message.etag, Transition::Archive).await?;
    Ok(v1::ArchiveProductResponse { product: Some(product) })
}

async fn change_state(
    tx: &mut Tx,
    product_id: String,
    etag: String,
    transition: Transition,
) -> Result<v1::Product, Error> {
    let now = tx.clock().now();
    let mut product = lock_product(tx, &product_id, &etag, "etag").await?;
    let state = product
        .state
        .after(transition)
        .ok_or_else(|| state_invalid(&product, product.state, Some(transition)))?;
    if transition == Transition::Publish
        && store::variant::of_products(&mut Source::Write(tx), &[&product_id]).await?.is_empty()
    {
        return Err(Error::Incomplete { product_id });
    }
    product.state = state;
    product.revise(now);
    if transition == Transition::Publish {
        product.publish_time.get_or_insert(now);
    }
    store::product::update(tx, std::slice::from_ref(&product)).await?;
    store::product::relist(tx, &[&product_id]).await?;
    tx.publish(match transition {
        Transition::Publish => published(&product),
        Transition::Unpublish => event(&product, &v1::ProductUnpublished { product_id }),
        Transition::Archive => event(&product, &v1::ProductArchived { product_id }),
    })
    .await?;
    written(tx, product, now).await
}

pub(super) async fn set_categories(
    tx: &mut Tx,
    message: v1::SetProductCategoriesRequest,
) -> Result<v1::SetProductCategoriesResponse, Error> {
    let now = tx.clock().now();
    let mut product = lock_product(tx, &message.product_id, &message.etag, "etag").await?;
    check_editable(&product, None)?;
    if product.category_ids != message.category_ids {
        demand_categories(tx, &message.category_ids).await?;
        product.category_ids = message.category_ids;
        product.revise(now);
        store::product::update(tx, std::slice::from_ref(&product)).await?;
        store::product::set_categories(tx, std::slice::from_ref(&product)).await?;
        tx.publish(updated(&product)).await?;
    }
    Ok(v1::SetProductCategoriesResponse { product: Some(written(tx, product, now).await?) })
}

/// The answer to a write: the product as it is stored now.
async fn written(tx: &mut Tx, product: Product, now: Time) -> Result<v1::Product, Error> {
    let mut source = Source::Write(tx);
    let stored = store::product::find(&mut source, &[&product.product_id], true, true).await?;
    let product = stored.into_iter().next().unwrap_or(product);
    Ok(reply::product(&mut source, product, Detail::WRITTEN, now).await?)
}

/// A variant that is to be made for a product.
pub(in crate::rpc) fn new_variant(
    tx: &Tx,
    product: &Product,
    new: v1::NewVariant,
    field: &str,
) -> Result<Variant, Error> {
    let now = tx.clock().now();
    let choices: Vec<Choice> = new.option_values.into_iter().map(Into::into).collect();
    Ok(Variant {
        variant_id: tx.clock().id(),
        product_id: product.product_id.clone(),
        sku: new.sku,
        barcode: new.barcode,
        choices: choose(&product.options, &choices)
            .map_err(|problem| Error::OptionsInvalid { field: field.to_owned(), problem })?,
        weight_grams: new.weight_grams,
        version: 1,
        create_time: now,
        update_time: now,
    })
}

/// An event of a product.
pub(in crate::rpc) fn event<M: prost::Message + prost::Name>(
    product: &Product,
    message: &M,
) -> Event {
    Event::new(message).subject(&product.product_id).version(product.version)
}

/// That a product was changed.
pub(in crate::rpc) fn updated(product: &Product) -> Event {
    event(
        product,
        &v1::ProductUpdated {
            product_id: product.product_id.clone(),
            slug: product.slug.clone(),
            title: product.title.clone(),
            state: reply::state_message(product.state).into(),
            deleted: false,
        },
    )
}

/// That the public sees a product.
pub(in crate::rpc) fn published(product: &Product) -> Event {
    event(
        product,
        &v1::ProductPublished {
            product_id: product.product_id.clone(),
            slug: product.slug.clone(),
            title: product.title.clone(),
        },
    )
}

/// Whether one more variant may be added.
pub(in crate::rpc) fn check_room(product: &Product, variants: usize) -> Result<(), Error> {
    if variants < VARIANTS_MAX {
        Ok(())
    } else {
        Err(Error::TooManyVariants { product_id: product.product_id.clone() })
    }
}

fn options(
    messages: Vec<v1::ProductOption>,
    field: &'static str,
) -> Result<Vec<ProductOption>, Error> {
    let options: Vec<ProductOption> = messages.into_iter().map(Into::into).collect();
    check_options(&options)
        .map_err(|problem| Error::OptionsInvalid { field: field.to_owned(), problem })?;
    Ok(options)
}

/// Puts the choices of a product's variants into the order of its new options;
/// each must still fit.
async fn refit_variants(tx: &mut Tx, product: &Product, now: Time) -> Result<(), Error> {
    let variants =
        store::variant::of_products(&mut Source::Write(tx), &[&product.product_id]).await?;
    let mut changed = Vec::new();
    for taxed in variants {
        let mut variant = taxed.variant;
        let choices = choose(&product.options, &variant.choices)
            .map_err(|problem| Error::OptionsInUse { sku: variant.sku.clone(), problem })?;
        if choices != variant.choices {
            variant.choices = choices;
            variant.version += 1;
            variant.update_time = now;
            changed.push(variant);
        }
    }
    store::variant::update(tx, &changed).await?;
    Ok(())
}

/// Makes a slug of a title; where it is taken, the end of the id keeps them apart.
async fn free_slug(tx: &mut Tx, title: &str, product_id: &str) -> Result<String, Error> {
    let slug = slug_of(title);
    let free = !slug.is_empty() && store::product::slug_owners(tx, &[&slug]).await?.is_empty();
    Ok(if free { slug } else { slug_with(&slug, product_id) })
}

/// Notes a product's new slug, unless it is one that it had before.
async fn take_slug(tx: &mut Tx, product: &Product) -> Result<(), Error> {
    let owners = store::product::slug_owners(tx, &[&product.slug]).await?;
    match owners.first() {
        Some((_, owner)) if *owner == product.product_id => Ok(()),
        Some((slug, _)) => Err(Error::SlugTaken { slug: slug.clone() }),
        None => Ok(store::product::insert_slugs(tx, std::slice::from_ref(product)).await?),
    }
}

async fn demand_tax_category(tx: &mut Tx, name: &str, field: &'static str) -> Result<(), Error> {
    if store::product::known_tax_categories(tx, &[name]).await?.is_empty() {
        return Err(Error::TaxCategoryUnknown { field, name: name.to_owned() });
    }
    Ok(())
}

async fn demand_categories(tx: &mut Tx, category_ids: &[String]) -> Result<(), Error> {
    if category_ids.is_empty() {
        return Ok(());
    }
    let known = store::category::known(tx, category_ids).await?;
    match category_ids.iter().find(|id| !known.contains(id)) {
        Some(missing) => {
            Err(Error::CategoryNotFound { field: "category_ids", category: missing.clone() })
        }
        None => Ok(()),
    }
}

/// Fields that are to be changed and must not become empty.
pub(in crate::rpc) fn demand_text(
    fields: &[&str],
    texts: &[(&'static str, &str)],
) -> Result<(), Error> {
    match texts.iter().find(|(field, text)| fields.contains(field) && text.is_empty()) {
        Some((field, _)) => Err(Error::FieldInvalid {
            field: (*field).to_owned(),
            problem: "must not be empty".to_owned(),
        }),
        None => Ok(()),
    }
}

/// The ids, each once, in their order.
pub(in crate::rpc) fn unique(ids: Vec<String>) -> impl Iterator<Item = String> {
    let mut seen = std::collections::HashSet::new();
    ids.into_iter().filter(move |id| seen.insert(id.clone()))
}
