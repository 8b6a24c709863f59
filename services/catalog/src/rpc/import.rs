//! Products by the hundred: read what the rows touch, decide about each row on
//! its own, then write all that is decided.

mod check;
mod known;
mod plan;

use std::sync::Arc;

use chassis::{Contract, store::Tx, validation::Invalid};
use contracts::{
    catalog::v1::{self, import_service_server::ImportService},
    mesh::v1::ErrorReason as Common,
};
use prost::Message as _;
use tonic::{Request, Response, Status};

use self::{known::Known, plan::Plan};
use super::Rpc;
use crate::{domain::TAX_CATEGORY_DEFAULT, error::Error};

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
    contract: Arc<Contract>,
    row: usize,
}

/// What is wrong with a row.
struct Flaw {
    field: String,
    reason: &'static str,
    description: String,
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

/// How a row's product is taxed.
fn tax_category(row: &v1::ImportProduct) -> &str {
    if row.tax_category.is_empty() { TAX_CATEGORY_DEFAULT } else { &row.tax_category }
}
