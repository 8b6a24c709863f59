//! Storefront.
