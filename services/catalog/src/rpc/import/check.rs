//! Everything that can be wrong with a row by itself, beside the rows before it,
//! and beside what is stored.

use std::collections::{HashMap, HashSet};

use chassis::{Currency, Money};
use contracts::{
    catalog::v1::{self, ErrorReason as Reason},
    mesh::v1::ErrorReason as Common,
};

use super::{super::price::new_price, Flaw, known::Known, tax_category};
use crate::domain::{
    Choice, NewPrice, Product, ProductOption, VARIANTS_MAX, check_options, check_prices, choose,
};

/// What the rows before took, each with the row that did.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) slugs: HashMap<String, usize>,
    pub(super) skus: HashMap<String, usize>,
    /// Products that a row is about.
    pub(super) targets: HashMap<String, usize>,
}

/// One row, checked: nothing of it is in the plan yet.
pub(super) struct Checked {
    pub(super) options: Vec<ProductOption>,
    /// What each variant of the row comes to.
    pub(super) variants: Vec<CheckedVariant>,
}

/// One variant of a row, checked.
pub(super) struct CheckedVariant {
    /// Its choices, in the order of the options.
    pub(super) choices: Vec<Choice>,
    /// Its prices by currency.
    pub(super) prices: Vec<(Currency, Vec<NewPrice>)>,
}

// === impl Taken ===

impl Taken {
    /// Everything that is wrong with a row, or what it comes to.
    pub(super) fn check(
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
            variants.push(CheckedVariant { choices, prices });
        }
        if flaws.is_empty() { Ok(Checked { options, variants }) } else { Err(flaws) }
    }
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
