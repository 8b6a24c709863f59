//! The catalog owns what is for sale: products and their variants, the tree of
//! categories, net prices and the tax rates on them.
//!
//! It promises that a page of products costs the same wherever it is in the
//! list, that any number of lines is priced by one query, and that a price that
//! was once quoted can be told from every later one.
//!
//! It never knows how many there are: stock is the inventory's. It never calls
//! another service.
//!
//! # Layout
//! - [`domain`]: states, options, slugs, and which price applies.
//! - `store`: the SQL. `rpc`: the contract, method by method. `error`: refusals.

pub mod domain;
mod error;
mod rpc;
mod store;

use chassis::{Build, Context, Migration, Routes, Service, migration, store::Statement};
use contracts::catalog::v1::{
    category_service_server::CategoryServiceServer, import_service_server::ImportServiceServer,
    pricing_service_server::PricingServiceServer, product_service_server::ProductServiceServer,
};

/// The catalog service.
#[derive(Debug)]
pub struct Catalog;

impl Service for Catalog {
    const NAME: &'static str = "catalog";
    const MIGRATIONS: &'static [Migration] = &[migration!("0001_catalog")];
    const STATEMENTS: &'static [&'static [Statement]] = store::STATEMENTS;
    // Five hundred rows of an import.
    const REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;
    type Config = ();

    fn build(context: Context<()>) -> Build {
        Box::pin(async move {
            let rpc = rpc::Rpc::new(&context)?;
            Ok(Routes::new()
                .add(ProductServiceServer::new(rpc.clone()))
                .add(CategoryServiceServer::new(rpc.clone()))
                .add(PricingServiceServer::new(rpc.clone()))
                .add(ImportServiceServer::new(rpc)))
        })
    }
}
