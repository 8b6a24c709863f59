//! Products by the hundred: read what the rows touch, decide about each row on
//! its own, then write all that is decided.

use std::collections::{HashMap, HashSet};

use chassis::{Contract, Currency, Money, Time, event::Event, store::Tx, validation::Invalid};
use contracts::{
    catalog::v1::{
        self, ErrorReason as Reason, ImportOutcome, import_service_server::ImportService,
    },
    mesh::v1::ErrorReason as Common,
};
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::{
    Rpc, category,
    price::{Changes, new_price, price_changed},
    product, variant,
};
use crate::{
    domain::{
        Category, Choice, NewPrice, Price, Product, ProductOption, State, TAX_CATEGORY_DEFAULT,
        Transition, VARIANTS_MAX, Variant, check_options, check_prices, choose, path_beneath,
        paths_down_to, slug_of, slug_with, title_of,
    },
    error::Error,
    store::{self, Source},
};

/// The most rows of one call.
const ROWS_MAX: usize = 500;

#[tonic::async_trait]
impl ImportService for Rpc {
    async fn import_products(
        &self,
        request: Request<v1::ImportProductsRequest>,
    ) -> Result<Response<v1::ImportProductsResponse>, Status> {
        let rows = request.get_ref().products.len();
        if rows == 0 || rows > ROWS_MAX {
            let problem = format!("has {rows} rows: give 1 to {ROWS_MAX}");
            return Err(Error::FieldInvalid { field: "products".to_owned(), problem }.into());
        }
        let rules = Rules { contract: self.contract.clone(), row: self.row_rules };
        Ok(self
            .database
            .once(&request, move |tx, message| Box::pin(import(tx, rules, message)))
            .await?)
    }
}

/// The contract's rules for one row.
struct Rules {
    contract: std::sync::Arc<Contract>,
    row: usize,
}

/// What is wrong with a row.
struct Flaw {
    field: String,
    reason: &'static str,
    description: String,
}

/// What is stored already of all that the rows name.
struct Known {
    /// Products by id.
    products: HashMap<String, Product>,
    /// Whose each slug is.
    slugs: HashMap<String, String>,
    /// The variants of those products, by SKU.
    variants: HashMap<String, Variant>,
    /// The prices that stand of those variants, by variant.
    prices: HashMap<String, Vec<Price>>,
    /// Categories by path.
    categories: HashMap<String, Category>,
    tax_categories: HashSet<String>,
}

/// What is decided.
#[derive(Default)]
struct Plan {
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
    /// The rows that took these, so that no other row does.
    slugs: HashMap<String, usize>,
    skus: HashMap<String, usize>,
    targets: HashMap<String, usize>,
}

async fn import(
    tx: &mut Tx,
    rules: Rules,
    message: v1::ImportProductsRequest,
) -> Result<v1::ImportProductsResponse, Error> {
    let now = tx.clock().now();
    let mut response = v1::ImportProductsResponse::default();
    let mut known = Known::read(tx, &message.products).await?;
    let mut plan = Plan::default();
    for (row, index) in message.products.iter().zip(0_i32..) {
        let position = usize::try_from(index).unwrap_or_default();
        let flaws = rules.flaws(row);
        let decided = if flaws.is_empty() {
            plan.decide(tx, &mut known, position, row, now)
        } else {
            Err(flaws)
        };
        match decided {
            Ok((product_id, slug, outcome)) => {
                response.results.push(v1::ImportResult {
                    index,
                    product_id,
                    slug,
                    outcome: outcome.into(),
                });
            }
            Err(flaws) => response.errors.extend(flaws.into_iter().map(|flaw| v1::ImportError {
                index,
                field: flaw.field,
                reason: flaw.reason.to_owned(),
                description: flaw.description,
            })),
        }
    }
    response.applied = !message.dry_run && (response.errors.is_empty() || !message.atomic);
    if response.applied {
        plan.apply(tx, &known, now).await?;
    }
    Ok(response)
}

// === impl Rules ===

impl Rules {
    fn flaws(&self, row: &v1::ImportProduct) -> Vec<Flaw> {
        match self.contract.rules().check(self.row, &row.encode_to_vec()) {
            Ok(()) => Vec::new(),
            Err(Invalid::Malformed(problem)) => {
                vec![Flaw::new("", Common::MalformedMessage, problem)]
            }
            Err(Invalid::Fields(violations)) => violations
                .into_iter()
                .map(|violation| {
                    Flaw::new(violation.field, Common::InvalidField, violation.description)
                })
                .collect(),
        }
    }
}

// === impl Flaw ===

impl Flaw {
    fn new(
        field: impl Into<String>,
        reason: impl contracts::Reason,
        description: impl Into<String>,
    ) -> Self {
        Self { field: field.into(), reason: reason.reason(), description: description.into() }
    }
}

// === impl Known ===

impl Known {
    /// Everything that the rows name: seven queries, however many rows there are.
    async fn read(tx: &mut Tx, rows: &[v1::ImportProduct]) -> Result<Self, Error> {
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
    fn target(&self, row: &v1::ImportProduct) -> Result<Option<&Product>, Flaw> {
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
    fn variants_of<'k>(&'k self, product_id: &'k str) -> impl Iterator<Item = &'k Variant> {
        self.variants.values().filter(move |variant| variant.product_id == product_id)
    }
}

/// One row, checked: nothing of it is in the plan yet.
struct Checked {
    options: Vec<ProductOption>,
    /// Each variant of the row with its choices and its prices by currency.
    variants: Vec<(Vec<Choice>, Vec<(Currency, Vec<NewPrice>)>)>,
}

// === impl Plan ===

impl Plan {
    /// Decides about one row: what is wrong with it, or what is done for it.
    fn decide(
        &mut self,
        tx: &Tx,
        known: &mut Known,
        position: usize,
        row: &v1::ImportProduct,
        now: Time,
    ) -> Result<(String, String, ImportOutcome), Vec<Flaw>> {
        let target = known.target(row).map_err(|flaw| vec![flaw])?.cloned();
        let checked = self.check(known, row, target.as_ref())?;
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
        for (variant, (choices, prices)) in row.variants.iter().zip(checked.variants) {
            self.skus.insert(variant.sku.clone(), position);
            self.put_variant(tx, known, &mut product, variant, choices, prices, now, &mut events);
        }
        self.slugs.insert(product.slug.clone(), position);
        self.targets.insert(product.product_id.clone(), position);
        let answer = (product.product_id.clone(), product.slug.clone(), outcome);
        self.put_product(product, target, now, events);
        Ok(answer)
    }

    fn check(
        &self,
        known: &Known,
        row: &v1::ImportProduct,
        target: Option<&Product>,
    ) -> Result<Checked, Vec<Flaw>> {
        let mut flaws = Vec::new();
        if let Some(product) = target {
            if let Some(other) = self.targets.get(&product.product_id) {
                flaws.push(Flaw::new(
                    "slug",
                    Reason::SlugTaken,
                    format!("row {other} is about the same product"),
                ));
            }
            if !product.state.is_editable() {
                let problem = format!("the product is {} and cannot be changed", product.state);
                flaws.push(Flaw::new("", Reason::ProductStateInvalid, problem));
            }
        } else if let Some(other) = self.slugs.get(&row.slug) {
            flaws.push(Flaw::new(
                "slug",
                Reason::SlugTaken,
                format!("row {other} has the same slug"),
            ));
        }
        if !known.tax_categories.contains(tax_category(row)) {
            flaws.push(Flaw::new(
                "tax_category",
                Reason::TaxCategoryUnknown,
                "names no tax category",
            ));
        }
        let options: Vec<ProductOption> = row.options.iter().cloned().map(Into::into).collect();
        if let Err(problem) = check_options(&options) {
            flaws.push(Flaw::new("options", Reason::OptionsInvalid, problem.to_string()));
        }
        let named: HashSet<&str> =
            row.variants.iter().map(|variant| variant.sku.as_str()).collect();
        let mut chosen: HashSet<Vec<(String, String)>> = HashSet::new();
        let mut kept = 0;
        if let Some(product) = target {
            for variant in known
                .variants_of(&product.product_id)
                .filter(|found| !named.contains(found.sku.as_str()))
            {
                kept += 1;
                match choose(&options, &variant.choices) {
                    Ok(choices) if choices == variant.choices => {
                        chosen.insert(pairs(&choices));
                    }
                    _ => flaws.push(Flaw::new(
                        "options",
                        Reason::OptionsInUse,
                        format!(
                            "the variant {}, which the row does not name, would not fit them",
                            variant.sku
                        ),
                    )),
                }
            }
        }
        if kept + row.variants.len() > VARIANTS_MAX {
            let problem = format!("the product would have more than {VARIANTS_MAX}");
            flaws.push(Flaw::new("variants", Reason::TooManyVariants, problem));
        }
        let mut variants = Vec::with_capacity(row.variants.len());
        let mut skus = HashSet::new();
        for (index, variant) in row.variants.iter().enumerate() {
            let field = format!("variants[{index}]");
            let taken = known.variants.get(&variant.sku).is_some_and(|found| {
                target.is_none_or(|product| product.product_id != found.product_id)
            });
            if taken {
                let problem = "is a variant of another product";
                flaws.push(Flaw::new(format!("{field}.sku"), Reason::SkuTaken, problem));
            } else if !skus.insert(variant.sku.as_str()) {
                flaws.push(Flaw::new(
                    format!("{field}.sku"),
                    Reason::SkuTaken,
                    "stands twice in the row",
                ));
            } else if let Some(other) = self.skus.get(&variant.sku) {
                let problem = format!("row {other} has the same SKU");
                flaws.push(Flaw::new(format!("{field}.sku"), Reason::SkuTaken, problem));
            }
            let choices: Vec<Choice> =
                variant.option_values.iter().cloned().map(Into::into).collect();
            let choices = choose(&options, &choices).unwrap_or_else(|problem| {
                flaws.push(Flaw::new(
                    format!("{field}.option_values"),
                    Reason::OptionsInvalid,
                    problem.to_string(),
                ));
                Vec::new()
            });
            if choices.len() == options.len() && !chosen.insert(pairs(&choices)) {
                let problem = "are those of another variant";
                flaws.push(Flaw::new(
                    format!("{field}.option_values"),
                    Reason::VariantExists,
                    problem,
                ));
            }
            let prices = price_lists(variant, &field, &mut flaws);
            variants.push((choices, prices));
        }
        if flaws.is_empty() { Ok(Checked { options, variants }) } else { Err(flaws) }
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
                || self.slugs.contains_key(&made);
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
        choices: Vec<Choice>,
        prices: Vec<(Currency, Vec<NewPrice>)>,
        now: Time,
        events: &mut Vec<(Variant, Told)>,
    ) {
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
    async fn apply(self, tx: &mut Tx, known: &Known, now: Time) -> Result<(), Error> {
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

/// What was done to something that belongs to a product.
enum Told {
    Variant(v1::VariantChange),
    Price(Currency),
}

fn tax_category(row: &v1::ImportProduct) -> &str {
    if row.tax_category.is_empty() { TAX_CATEGORY_DEFAULT } else { &row.tax_category }
}

fn pairs(choices: &[Choice]) -> Vec<(String, String)> {
    choices.iter().map(|choice| (choice.name.clone(), choice.value.clone())).collect()
}

/// A variant's prices by currency, in the order they were named.
fn price_lists(
    variant: &v1::ImportVariant,
    field: &str,
    flaws: &mut Vec<Flaw>,
) -> Vec<(Currency, Vec<NewPrice>)> {
    let mut lists: Vec<(Currency, Vec<NewPrice>)> = Vec::new();
    for (index, message) in variant.prices.iter().enumerate() {
        let field = format!("{field}.prices[{index}]");
        let money = message.unit_price.clone().unwrap_or_default();
        let money = match Money::try_from(money) {
            Ok(money) => money,
            Err(problem) => {
                flaws.push(Flaw::new(
                    format!("{field}.unit_price"),
                    Common::MoneyInvalid,
                    problem.to_string(),
                ));
                continue;
            }
        };
        let list = match lists.iter().position(|(currency, _)| *currency == money.currency) {
            Some(at) => at,
            None => {
                lists.push((money.currency, Vec::new()));
                lists.len() - 1
            }
        };
        let Some((_, list)) = lists.get_mut(list) else { continue };
        list.push(new_price(message));
        if let Err((_, problem)) = check_prices(list) {
            flaws.push(Flaw::new(field, Reason::PriceInvalid, problem.to_string()));
            list.pop();
        }
    }
    lists
}
