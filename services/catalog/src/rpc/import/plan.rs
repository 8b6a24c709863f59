//! What is done for the rows that are right.

use std::collections::HashMap;

use chassis::{Currency, Time, event::Event, store::Tx};
use contracts::catalog::v1::{self, ImportOutcome};

use super::{
    super::{
        category,
        price::{Changes, price_changed},
        product, variant,
    },
    Flaw,
    check::{CheckedVariant, Taken},
    known::Known,
    tax_category,
};
use crate::{
    domain::{
        Category, Price, Product, State, Transition, Variant, path_beneath, paths_down_to, slug_of,
        slug_with, title_of,
    },
    error::Error,
    store,
};

/// What is decided.
#[derive(Default)]
pub(super) struct Plan {
    created: Vec<Product>,
    updated: Vec<Product>,
    /// Updated products whose categories changed.
    recategorised: Vec<Product>,
    /// Updated products that lists show otherwise.
    relisted: Vec<String>,
    /// Updated products of which only something that belongs to them changed.
    touched: Vec<Product>,
    new_variants: Vec<Variant>,
    changed_variants: Vec<Variant>,
    prices: Changes,
    new_categories: Vec<Category>,
    events: Vec<Event>,
    taken: Taken,
}

/// What was done to something that belongs to a product.
enum Told {
    Variant(v1::VariantChange),
    Price(Currency),
}

// === impl Plan ===

impl Plan {
    /// Decides about one row: what is wrong with it, or what is done for it.
    pub(super) fn decide(
        &mut self,
        tx: &Tx,
        known: &mut Known,
        position: usize,
        row: &v1::ImportProduct,
        now: Time,
    ) -> Result<(String, String, ImportOutcome), Vec<Flaw>> {
        let target = known.target(row).map_err(|flaw| vec![flaw])?.cloned();
        let checked = self.taken.check(known, row, target.as_ref())?;
        let slug = match &target {
            Some(product) => product.slug.clone(),
            None if !row.slug.is_empty() => row.slug.clone(),
            None => String::new(),
        };
        let category_ids = self.categories(tx, known, &row.category_paths, now);
        let (mut product, outcome) = match target.clone() {
            Some(product) => (product, ImportOutcome::Updated),
            None => (self.blank(tx, known, slug, row, now), ImportOutcome::Created),
        };
        product.title.clone_from(&row.title);
        product.description.clone_from(&row.description);
        tax_category(row).clone_into(&mut product.tax_category);
        product.options = checked.options;
        product.media = row.media.iter().cloned().map(Into::into).collect();
        product.category_ids = category_ids;
        if row.publish
            && let Some(state) = product.state.after(Transition::Publish)
        {
            product.state = state;
            product.publish_time.get_or_insert(now);
        }
        let mut events = Vec::new();
        for (variant, checked) in row.variants.iter().zip(checked.variants) {
            self.taken.skus.insert(variant.sku.clone(), position);
            self.put_variant(tx, known, &mut product, variant, checked, now, &mut events);
        }
        self.taken.slugs.insert(product.slug.clone(), position);
        self.taken.targets.insert(product.product_id.clone(), position);
        let answer = (product.product_id.clone(), product.slug.clone(), outcome);
        self.put_product(product, target, now, events);
        Ok(answer)
    }

    /// A product that is not stored yet.
    fn blank(
        &self,
        tx: &Tx,
        known: &Known,
        slug: String,
        row: &v1::ImportProduct,
        now: Time,
    ) -> Product {
        let product_id = tx.clock().id();
        let slug = if slug.is_empty() {
            let made = slug_of(&row.title);
            let taken = made.is_empty()
                || known.slugs.contains_key(&made)
                || self.taken.slugs.contains_key(&made);
            if taken { slug_with(&made, &product_id) } else { made }
        } else {
            slug
        };
        Product {
            product_id,
            state: State::Draft,
            title: String::new(),
            slug,
            description: String::new(),
            tax_category: String::new(),
            tax_rate_micros: 0,
            options: Vec::new(),
            media: Vec::new(),
            category_ids: Vec::new(),
            revision: 1,
            version: 1,
            create_time: now,
            update_time: now,
            publish_time: None,
        }
    }

    /// The ids of categories by path; those that are missing are made.
    fn categories(
        &mut self,
        tx: &Tx,
        known: &mut Known,
        paths: &[String],
        now: Time,
    ) -> Vec<String> {
        let mut ids = Vec::with_capacity(paths.len());
        for path in paths {
            let mut parent: Option<(String, String, i64)> = None;
            for step in paths_down_to(path) {
                let slug = step.rsplit('/').next().unwrap_or(step);
                let category = known.categories.entry(step.to_owned()).or_insert_with(|| {
                    let (parent_id, above, depth) = match &parent {
                        Some((id, path, depth)) => (id.clone(), path.as_str(), depth + 1),
                        None => (String::new(), "", 0),
                    };
                    let made = Category {
                        category_id: tx.clock().id(),
                        parent_id,
                        slug: slug.to_owned(),
                        path: path_beneath(above, slug),
                        title: title_of(slug),
                        description: String::new(),
                        position: 0,
                        depth,
                        version: 1,
                        create_time: now,
                        update_time: now,
                    };
                    self.new_categories.push(made.clone());
                    made
                });
                parent =
                    Some((category.category_id.clone(), category.path.clone(), category.depth));
            }
            ids.extend(parent.map(|(id, _, _)| id));
        }
        ids
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a row's variant meets what is known, planned and told"
    )]
    fn put_variant(
        &mut self,
        tx: &Tx,
        known: &Known,
        product: &mut Product,
        row: &v1::ImportVariant,
        checked: CheckedVariant,
        now: Time,
        events: &mut Vec<(Variant, Told)>,
    ) {
        let CheckedVariant { choices, prices } = checked;
        let before = known.variants.get(&row.sku);
        let wanted = Variant {
            barcode: row.barcode.clone(),
            choices,
            weight_grams: row.weight_grams,
            ..before.cloned().unwrap_or_else(|| Variant {
                variant_id: tx.clock().id(),
                product_id: product.product_id.clone(),
                sku: row.sku.clone(),
                barcode: String::new(),
                choices: Vec::new(),
                weight_grams: 0,
                version: 1,
                create_time: now,
                update_time: now,
            })
        };
        match before {
            None => {
                self.new_variants.push(wanted.clone());
                events.push((wanted.clone(), Told::Variant(v1::VariantChange::Created)));
            }
            Some(before) if *before != wanted => {
                let changed =
                    Variant { version: wanted.version + 1, update_time: now, ..wanted.clone() };
                self.changed_variants.push(changed);
                events.push((wanted.clone(), Told::Variant(v1::VariantChange::Updated)));
            }
            Some(_) => {}
        }
        let standing = known.prices.get(&wanted.variant_id).map_or(&[][..], Vec::as_slice);
        for (currency, list) in prices {
            let held: Vec<Price> = standing
                .iter()
                .filter(|price| price.currency_code == currency.code())
                .cloned()
                .collect();
            if self.prices.add(tx, &wanted, currency, &held, &list) {
                events.push((wanted.clone(), Told::Price(currency)));
            }
        }
    }

    fn put_product(
        &mut self,
        mut product: Product,
        before: Option<Product>,
        now: Time,
        told: Vec<(Variant, Told)>,
    ) {
        let Some(before) = before else {
            self.events.push(product::event(
                &product,
                &v1::ProductCreated {
                    product_id: product.product_id.clone(),
                    slug: product.slug.clone(),
                    title: product.title.clone(),
                },
            ));
            if product.state == State::Published {
                self.events.push(product::published(&product));
            }
            self.created.push(product);
            return;
        };
        let revised = product != before;
        if revised {
            product.revise(now);
        } else if told.is_empty() {
            return;
        } else {
            product.touch(now);
        }
        self.events.extend(told.into_iter().map(|(changed, what)| match what {
            Told::Variant(change) => variant::updated(&product, &changed, change),
            Told::Price(currency) => price_changed(&product, &changed, currency),
        }));
        if !revised {
            self.touched.push(product);
            return;
        }
        let republished = product.state != before.state;
        let same_state =
            Product { state: before.state, publish_time: before.publish_time, ..product.clone() };
        let same_counts = Product {
            revision: before.revision,
            version: before.version,
            update_time: before.update_time,
            ..same_state
        };
        if same_counts != before {
            self.events.push(product::updated(&product));
        }
        if republished {
            self.events.push(product::published(&product));
        }
        if product.category_ids != before.category_ids {
            self.recategorised.push(product.clone());
        } else if republished || product.title != before.title {
            self.relisted.push(product.product_id.clone());
        }
        self.updated.push(product);
    }

    /// Writes what is decided, many rows a statement; events last, because they
    /// make other writers wait.
    pub(super) async fn apply(self, tx: &mut Tx, known: &Known, now: Time) -> Result<(), Error> {
        let ids: HashMap<String, String> = known
            .categories
            .values()
            .map(|category| (category.path.clone(), category.category_id.clone()))
            .collect();
        let links: Vec<store::category::Link> =
            self.new_categories.iter().flat_map(|made| category::links(made, &ids)).collect();
        store::category::insert(tx, &self.new_categories, &links).await?;
        store::product::insert(tx, &self.created).await?;
        store::product::update(tx, &self.updated).await?;
        store::product::set_categories(tx, &self.recategorised).await?;
        store::product::relist(tx, &self.relisted).await?;
        store::product::touch(tx, &self.touched).await?;
        store::variant::update(tx, &self.changed_variants).await?;
        store::variant::insert(tx, &self.new_variants).await?;
        self.prices.apply(tx, now).await?;
        for event in self.events {
            tx.publish(event).await?;
        }
        Ok(())
    }
}
