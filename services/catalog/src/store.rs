//! The SQL of the catalog, a file per noun.
//!
//! Rows are written many at a time: a statement takes a JSON array of objects,
//! so that an import of hundreds of products is a dozen statements, and a single
//! product goes the same way.

pub(crate) mod category;
pub(crate) mod price;
pub(crate) mod product;
pub(crate) mod variant;

use chassis::{
    Database,
    store::{Error, FromRow, Row, Statement, Tx, Value},
};
use serde::{Serialize, de::DeserializeOwned};

/// Every statement of the catalog.
pub(crate) const STATEMENTS: &[&[Statement]] =
    &[product::STATEMENTS, variant::STATEMENTS, price::STATEMENTS, category::STATEMENTS];

/// Where a query runs: on the read pool, or inside a write that must see itself.
pub(crate) enum Source<'s> {
    /// The read pool.
    Pool(&'s Database),
    /// A write.
    Write(&'s mut Tx),
}

// === impl Source ===

impl Source<'_> {
    /// All rows of a query.
    pub(crate) async fn fetch_all<T: FromRow>(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Vec<T>, Error> {
        match self {
            Self::Pool(database) => database.fetch_all(statement, values).await,
            Self::Write(tx) => tx.fetch_all(statement, values).await,
        }
    }
}

/// Rows as a statement with `{{JSON_ROWS:$1}}` takes them.
fn rows<T: Serialize>(rows: &[T]) -> String {
    // Texts and whole numbers always have a JSON form.
    serde_json::to_string(rows).unwrap_or_default()
}

/// A list as a column holds it.
fn list<T: Serialize>(items: &[T]) -> String {
    rows(items)
}

/// A list from a column that holds one.
fn read_list<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<Vec<T>, Error> {
    let text: String = row.get(column)?;
    if text == "[]" {
        return Ok(Vec::new());
    }
    serde_json::from_str(&text).map_err(|problem| Error::Column {
        column: column.into(),
        problem: problem.to_string().into(),
    })
}
