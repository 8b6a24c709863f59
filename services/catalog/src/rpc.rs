//! The contract, method by method: a file per noun.

mod category;
mod import;
mod mask;
mod price;
mod product;
mod reply;
mod variant;

use std::sync::Arc;

use chassis::{
    Caller, Clock, Context, Contract, Currency, Database, Error, Pages, Principal, store::Tx,
};
use prost::{Message, Name};
use tonic::Request;

use crate::{
    domain::{Product, State, Transition},
    error, store,
};

/// Staff who hold this see products in every state.
const READ: &str = "catalog.products.read";

/// The catalog's four services.
#[derive(Debug, Clone)]
pub(crate) struct Rpc {
    database: Database,
    clock: Clock,
    pages: Pages,
    contract: Arc<Contract>,
    /// The number of the contract's rules for one row of an import.
    row_rules: usize,
}

// === impl Rpc ===

impl Rpc {
    /// The handlers, over the service's database.
    pub(crate) fn new(context: &Context<()>) -> Result<Self, Error> {
        let row = contracts::catalog::v1::ImportProduct::full_name();
        let row_rules = context
            .contract
            .rules()
            .number(&row)
            .ok_or_else(|| Error::build(format!("the contract has no rules for {row}")))?;
        Ok(Self {
            database: context.database.clone(),
            clock: context.clock.clone(),
            pages: context.pages.clone(),
            contract: Arc::clone(&context.contract),
            row_rules,
        })
    }
}

/// Whether the caller sees products that the public does not: staff, and peers
/// that act for themselves.
fn sees_all<M: Message>(request: &Request<M>) -> bool {
    let caller = Caller::of(request);
    caller.may(READ) || (caller.service().is_some() && *caller.principal() == Principal::Anonymous)
}

/// A currency by its code, or none if the code is empty.
fn currency(code: &str) -> Result<Option<Currency>, error::Error> {
    if code.is_empty() { Ok(None) } else { Ok(Some(Currency::new(code)?)) }
}

/// A product that is to be changed, if its etag is the one the caller saw.
async fn lock_product(
    tx: &mut Tx,
    product_id: &str,
    etag: &str,
    etag_field: &'static str,
) -> Result<Product, error::Error> {
    let product = store::product::lock(tx, &[product_id])
        .await?
        .pop()
        .ok_or_else(|| error::Error::ProductNotFound { product_id: product_id.to_owned() })?;
    check_etag(etag, product.revision, etag_field)?;
    Ok(product)
}

/// As [`lock_product`], for changes that an archived product does not admit.
async fn lock_editable(
    tx: &mut Tx,
    product_id: &str,
    etag: &str,
    etag_field: &'static str,
) -> Result<Product, error::Error> {
    let product = lock_product(tx, product_id, etag, etag_field).await?;
    check_editable(&product, None)?;
    Ok(product)
}

fn check_editable(product: &Product, transition: Option<Transition>) -> Result<(), error::Error> {
    if product.state.is_editable() {
        return Ok(());
    }
    Err(state_invalid(product, product.state, transition))
}

fn state_invalid(product: &Product, state: State, transition: Option<Transition>) -> error::Error {
    error::Error::StateInvalid { product_id: product.product_id.clone(), state, transition }
}

/// The etag of a version.
fn etag(version: i64) -> String {
    version.to_string()
}

/// Whether the etag that a caller sent, if any, is the current one.
fn check_etag(sent: &str, version: i64, field: &'static str) -> Result<(), error::Error> {
    if sent.is_empty() || sent == etag(version) {
        Ok(())
    } else {
        Err(error::Error::EtagMismatch { field })
    }
}
