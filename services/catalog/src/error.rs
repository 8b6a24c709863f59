//! Why the catalog refused, and what the caller is told.

use chassis::{Fault, MoneyError, store};
use contracts::{catalog::v1::ErrorReason as Reason, mesh::v1::ErrorReason as Common};

use crate::domain::{DEPTH_MAX, OptionsError, PriceError, State, Transition, VARIANTS_MAX};

/// A refusal, as a fact.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("there is no product {product_id}")]
    ProductNotFound { product_id: String },
    #[error("there is no variant {variant}")]
    VariantNotFound { field: Option<String>, variant: String },
    #[error("there is no category {category}")]
    CategoryNotFound { field: &'static str, category: String },
    #[error("there is no tax category {name:?}")]
    TaxCategoryUnknown { field: &'static str, name: String },
    #[error("another product has or had the slug {slug:?}")]
    SlugTaken { slug: String },
    #[error("another variant has the SKU")]
    SkuTaken,
    #[error("another variant of the product chose the same option values")]
    VariantExists,
    #[error("{problem}")]
    OptionsInvalid { field: String, problem: OptionsError },
    #[error("the variant {sku} would no longer fit the options")]
    OptionsInUse { sku: String, problem: OptionsError },
    #[error("the product is {state} and cannot be {}", .transition.map_or("changed".to_owned(), |by| by.to_string()))]
    StateInvalid { product_id: String, state: State, transition: Option<Transition> },
    #[error("the product was published and cannot be deleted: unpublish and archive it")]
    NotDeletable { product_id: String, state: State },
    #[error("the product has no variant: add one first")]
    Incomplete { product_id: String },
    #[error("it is the last variant of a published product: unpublish the product first")]
    VariantRequired { product_id: String },
    #[error("a product has at most {VARIANTS_MAX} variants")]
    TooManyVariants { product_id: String },
    #[error("somebody else changed it since it was read: read it again")]
    EtagMismatch { field: &'static str },
    #[error("a sibling has the same slug")]
    CategoryExists,
    #[error("a category cannot stand beneath itself")]
    CategoryCycle { category_id: String },
    #[error("the tree would become deeper than {DEPTH_MAX} levels")]
    CategoryTooDeep { category_id: String },
    #[error("products or other categories are in the category")]
    CategoryNotEmpty { category_id: String },
    #[error("a list of prices contradicts itself")]
    PriceInvalid { field: String, problem: PriceError },
    #[error("two lists are for the same variant and currency")]
    PriceListRepeated { field: String },
    #[error("a price is in another currency than its list")]
    CurrencyMismatch { field: String, wanted: String },
    #[error("a field of the request is not as it must be")]
    FieldInvalid { field: String, problem: String },
    #[error("the update mask names a field that cannot be changed")]
    MaskInvalid { path: String, fields: &'static [&'static str] },
    #[error(transparent)]
    Money(#[from] MoneyError),
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("the store failed")]
    Store(#[source] store::Error),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error.constraint() {
            Some("product_slug_pkey") => Self::SlugTaken { slug: String::new() },
            Some("variant_sku_key") => Self::SkuTaken,
            Some("variant_product_id_option_key_key") => Self::VariantExists,
            Some("category_path_key") => Self::CategoryExists,
            _ => Self::Store(error),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let fault = match error {
            Error::ProductNotFound { .. } => Self::not_found(Reason::ProductNotFound),
            Error::VariantNotFound { field, .. } => match field {
                Some(field) => {
                    Self::not_found(Reason::VariantNotFound).violation(field, "names no variant")
                }
                None => Self::not_found(Reason::VariantNotFound),
            },
            Error::CategoryNotFound { field, category } => {
                Self::not_found(Reason::CategoryNotFound)
                    .violation(field, format!("{category} names no category"))
            }
            Error::TaxCategoryUnknown { field, .. } => {
                Self::invalid_argument(Reason::TaxCategoryUnknown).violation(
                    field,
                    "names no tax category: give one of ListTaxCategories, or set it first",
                )
            }
            Error::SlugTaken { .. } => Self::already_exists(Reason::SlugTaken)
                .violation("slug", "is taken: give another, or none"),
            Error::SkuTaken => {
                Self::already_exists(Reason::SkuTaken).violation("sku", "is taken: give another")
            }
            Error::VariantExists => Self::already_exists(Reason::VariantExists)
                .violation("option_values", "are those of another variant: choose others"),
            Error::OptionsInvalid { field, problem } => {
                Self::invalid_argument(Reason::OptionsInvalid).violation(field, problem.to_string())
            }
            Error::OptionsInUse { sku, problem } => Self::failed_precondition(Reason::OptionsInUse)
                .precondition("OPTIONS_IN_USE", sku, problem.to_string()),
            Error::StateInvalid { product_id, state, .. } => {
                Self::failed_precondition(Reason::ProductStateInvalid)
                    .precondition("PRODUCT_STATE", product_id, state.name())
                    .metadata("state", state.name())
            }
            Error::NotDeletable { product_id, state } => Self::failed_precondition(
                Reason::ProductNotDeletable,
            )
            .precondition("PRODUCT_STATE", product_id, state.name()),
            Error::Incomplete { product_id } => {
                Self::failed_precondition(Reason::ProductIncomplete)
                    .precondition("VARIANTS", product_id, "has none")
            }
            Error::VariantRequired { product_id } => Self::failed_precondition(
                Reason::VariantRequired,
            )
            .precondition("VARIANTS", product_id, "has one only"),
            Error::TooManyVariants { product_id } => Self::failed_precondition(
                Reason::TooManyVariants,
            )
            .precondition("VARIANTS", product_id, format!("has {VARIANTS_MAX}")),
            Error::EtagMismatch { field } => Self::aborted(Reason::EtagMismatch).violation(
                field,
                "is not the current one: read again, and send the one that comes back",
            ),
            Error::CategoryExists => Self::already_exists(Reason::CategoryExists)
                .violation("slug", "is a sibling's: give another"),
            Error::CategoryCycle { category_id } => {
                Self::failed_precondition(Reason::CategoryCycle).precondition(
                    "CATEGORY_CYCLE",
                    category_id,
                    "stands above its new parent, or is it",
                )
            }
            Error::CategoryTooDeep { category_id } => {
                Self::failed_precondition(Reason::CategoryTooDeep).precondition(
                    "CATEGORY_DEPTH",
                    category_id,
                    format!("{DEPTH_MAX} levels are allowed"),
                )
            }
            Error::CategoryNotEmpty { category_id } => {
                Self::failed_precondition(Reason::CategoryNotEmpty).precondition(
                    "CATEGORY_CONTENTS",
                    category_id,
                    "move or delete them first",
                )
            }
            Error::PriceInvalid { field, problem } => {
                Self::invalid_argument(Reason::PriceInvalid).violation(field, problem.to_string())
            }
            Error::PriceListRepeated { field } => Self::invalid_argument(Reason::PriceInvalid)
                .violation(
                    field,
                    "is for the variant and currency of an earlier list: give one list for both",
                ),
            Error::CurrencyMismatch { field, wanted } => {
                Self::invalid_argument(Reason::PriceInvalid)
                    .violation(field, format!("must be {wanted}, as the list says"))
            }
            Error::FieldInvalid { field, problem } => {
                Self::invalid_argument(Common::InvalidField).violation(field, problem)
            }
            Error::MaskInvalid { path, fields } => {
                Self::invalid_argument(Common::UpdateMaskInvalid).violation(
                    "update_mask",
                    format!("{path:?} cannot be changed: give some of {}", fields.join(", ")),
                )
            }
            Error::Money(error) => return error.into(),
            Error::Fault(fault) => return fault,
            Error::Store(error) => return error.into(),
        };
        fault.message(message)
    }
}

chassis::status_from!(Error);
