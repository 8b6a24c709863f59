//! What the catalog knows about products, prices and the tree, without a
//! database, a clock or a network.

mod option;
mod price;
mod slug;
mod state;

use chassis::Time;
use serde::{Deserialize, Serialize};

pub use option::{Choice, OptionsError, ProductOption, check_options, choose};
pub use price::{
    Difference, FOREVER, NewPrice, Price, PriceError, SINCE_EVER, best, check_prices, difference,
};
pub use slug::{slug_of, slug_with, title_of};
pub use state::{State, TRANSITIONS, Transition};

/// The most variants of one product.
pub const VARIANTS_MAX: usize = 100;
/// How many levels the tree of categories has at most.
pub const DEPTH_MAX: i64 = 6;
/// How many categories a tree shows at most.
pub const TREE_MAX: i64 = 5_000;
/// How a product is taxed that does not say.
pub const TAX_CATEGORY_DEFAULT: &str = "standard";

/// A product, without its variants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// Its id.
    pub product_id: String,
    /// Where it is in its life.
    pub state: State,
    /// What it is called.
    pub title: String,
    /// Its name in a URL.
    pub slug: String,
    /// What it is. Empty where it was not asked for.
    pub description: String,
    /// How it is taxed.
    pub tax_category: String,
    /// The rate of its tax category.
    pub tax_rate_micros: i64,
    /// In what its variants differ.
    pub options: Vec<ProductOption>,
    /// Its pictures.
    pub media: Vec<Media>,
    /// The categories it was put into.
    pub category_ids: Vec<String>,
    /// Counts changes of the fields above.
    pub revision: i64,
    /// Counts changes of the product and all that belongs to it.
    pub version: i64,
    /// When it was made.
    pub create_time: Time,
    /// When it or something that belongs to it last changed.
    pub update_time: Time,
    /// When it was first published.
    pub publish_time: Option<Time>,
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// Where it is.
    pub uri: String,
    /// What it shows.
    pub alt_text: String,
}

/// A variant of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// Its id.
    pub variant_id: String,
    /// The product it is of.
    pub product_id: String,
    /// Its stock keeping unit.
    pub sku: String,
    /// The code on the box.
    pub barcode: String,
    /// Its choice of each option.
    pub choices: Vec<Choice>,
    /// What it weighs.
    pub weight_grams: i64,
    /// Counts its changes.
    pub version: i64,
    /// When it was made.
    pub create_time: Time,
    /// When it last changed.
    pub update_time: Time,
}

/// A category.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Category {
    /// Its id.
    pub category_id: String,
    /// The category above; empty at the top.
    pub parent_id: String,
    /// Its name in a URL.
    pub slug: String,
    /// The slugs from the top down to it.
    pub path: String,
    /// What it is called.
    pub title: String,
    /// What is found in it.
    pub description: String,
    /// Where it stands among its siblings.
    pub position: i64,
    /// How many stand above it.
    pub depth: i64,
    /// Counts its changes.
    pub version: i64,
    /// When it was made.
    pub create_time: Time,
    /// When it last changed.
    pub update_time: Time,
}

// === impl Product ===

impl Product {
    /// Notes a change of something that belongs to the product.
    pub fn touch(&mut self, now: Time) {
        self.version += 1;
        self.update_time = now;
    }

    /// Notes a change of the product itself.
    pub fn revise(&mut self, now: Time) {
        self.revision += 1;
        self.touch(now);
    }

    /// The title as it is sorted.
    pub fn title_key(&self) -> String {
        self.title.to_lowercase()
    }

    /// What one of its variants is called where it stands alone: "Mug (blue, 0.3 l)".
    pub fn title_with(title: &str, choices: &[Choice]) -> String {
        if choices.is_empty() {
            return title.to_owned();
        }
        let chosen: Vec<&str> = choices.iter().map(|choice| choice.value.as_str()).collect();
        format!("{title} ({})", chosen.join(", "))
    }
}

/// The path of a category beneath another, or at the top.
pub fn path_beneath(parent: &str, slug: &str) -> String {
    if parent.is_empty() { slug.to_owned() } else { format!("{parent}/{slug}") }
}

/// The paths from the top down to this one: "a", "a/b", "a/b/c".
pub fn paths_down_to(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| path.get(..end).unwrap_or(path)).chain([path])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_walked_from_the_top() {
        assert_eq!(paths_down_to("a/b/c").collect::<Vec<_>>(), ["a", "a/b", "a/b/c"]);
        assert_eq!(paths_down_to("a").collect::<Vec<_>>(), ["a"]);
        assert_eq!(path_beneath("", "a"), "a");
        assert_eq!(path_beneath("a/b", "c"), "a/b/c");
    }

    #[test]
    fn a_variant_is_called_by_its_choices() {
        let choice = |value: &str| Choice { name: "x".to_owned(), value: value.to_owned() };
        assert_eq!(Product::title_with("Mug", &[]), "Mug");
        assert_eq!(
            Product::title_with("Mug", &[choice("blue"), choice("0.3 l")]),
            "Mug (blue, 0.3 l)"
        );
    }
}
