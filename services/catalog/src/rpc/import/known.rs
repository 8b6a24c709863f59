//! What is stored already of all that the rows name.

use std::collections::{HashMap, HashSet};

use chassis::store::Tx;
use contracts::catalog::v1::{self, ErrorReason as Reason};

use super::{Flaw, tax_category};
use crate::{
    domain::{Category, Price, Product, Variant, paths_down_to, slug_of},
    error::Error,
    store::{self, Source},
};

/// What is stored already of all that the rows name.
pub(super) struct Known {
    /// Products by id.
    pub(super) products: HashMap<String, Product>,
    /// Whose each slug is.
    pub(super) slugs: HashMap<String, String>,
    /// The variants of those products, by SKU.
    pub(super) variants: HashMap<String, Variant>,
    /// The prices that stand of those variants, by variant.
    pub(super) prices: HashMap<String, Vec<Price>>,
    /// Categories by path.
    pub(super) categories: HashMap<String, Category>,
    pub(super) tax_categories: HashSet<String>,
}

// === impl Known ===

impl Known {
    /// Everything that the rows name: seven queries, however many rows there are.
    pub(super) async fn read(tx: &mut Tx, rows: &[v1::ImportProduct]) -> Result<Self, Error> {
        let paths: HashSet<&str> = rows
            .iter()
            .flat_map(|row| &row.category_paths)
            .flat_map(|path| paths_down_to(path))
            .collect();
        if !paths.is_empty() {
            store::category::lock_tree(tx).await?;
        }
        let slugs: Vec<String> = rows
            .iter()
            .map(|row| if row.slug.is_empty() { slug_of(&row.title) } else { row.slug.clone() })
            .collect();
        let skus: Vec<&str> =
            rows.iter().flat_map(|row| &row.variants).map(|variant| variant.sku.as_str()).collect();
        let slugs: HashMap<String, String> =
            store::product::slug_owners(tx, &slugs).await?.into_iter().collect();
        let by_skus = store::variant::by_skus(tx, &skus).await?;
        let named: HashSet<&str> = slugs
            .values()
            .map(String::as_str)
            .chain(by_skus.iter().map(|taxed| taxed.variant.product_id.as_str()))
            .collect();
        let named: Vec<&str> = named.into_iter().collect();
        let mut known = Self {
            products: HashMap::new(),
            variants: HashMap::new(),
            prices: HashMap::new(),
            categories: HashMap::new(),
            tax_categories: HashSet::new(),
            slugs: HashMap::new(),
        };
        if !named.is_empty() {
            let products = store::product::lock(tx, &named).await?;
            let variants = store::variant::of_products(&mut Source::Write(tx), &named).await?;
            known.products =
                products.into_iter().map(|product| (product.product_id.clone(), product)).collect();
            known.variants = variants
                .into_iter()
                .map(|taxed| (taxed.variant.sku.clone(), taxed.variant))
                .collect();
            let ids: Vec<&str> =
                known.variants.values().map(|variant| variant.variant_id.as_str()).collect();
            for price in store::price::standing(tx, &ids).await? {
                known.prices.entry(price.variant_id.clone()).or_default().push(price);
            }
        }
        if !paths.is_empty() {
            let paths: Vec<&str> = paths.into_iter().collect();
            let found = store::category::by_paths(tx, &paths).await?;
            known.categories =
                found.into_iter().map(|category| (category.path.clone(), category)).collect();
        }
        let taxes: HashSet<&str> = rows.iter().map(tax_category).collect();
        let taxes: Vec<&str> = taxes.into_iter().collect();
        known.tax_categories =
            store::product::known_tax_categories(tx, &taxes).await?.into_iter().collect();
        known.slugs = slugs;
        Ok(known)
    }

    /// The product that a row is about, if it is stored.
    pub(super) fn target(&self, row: &v1::ImportProduct) -> Result<Option<&Product>, Flaw> {
        if !row.slug.is_empty() {
            return Ok(self.slugs.get(&row.slug).and_then(|owner| self.products.get(owner)));
        }
        let mut owners = row
            .variants
            .iter()
            .filter_map(|variant| self.variants.get(&variant.sku))
            .map(|found| &found.product_id);
        let first = owners.next();
        if owners.any(|other| Some(other) != first) {
            return Err(Flaw::new(
                "variants",
                Reason::SkuTaken,
                "are of several products: give the slug of one",
            ));
        }
        Ok(first.and_then(|owner| self.products.get(owner)))
    }

    /// The variants that are stored of a product.
    pub(super) fn variants_of<'k>(
        &'k self,
        product_id: &'k str,
    ) -> impl Iterator<Item = &'k Variant> {
        self.variants.values().filter(move |variant| variant.product_id == product_id)
    }
}
