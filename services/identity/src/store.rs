//! Everything that identity keeps, and every SQL text.

pub(crate) mod access;
pub(crate) mod account;
pub(crate) mod address;
pub(crate) mod key;
pub(crate) mod session;

use chassis::store::{self, Statement};

/// All statements, for the test that prepares each on both engines.
pub(crate) const STATEMENTS: &[&[Statement]] = &[
    access::STATEMENTS,
    account::STATEMENTS,
    address::STATEMENTS,
    key::STATEMENTS,
    session::STATEMENTS,
];

/// Gives a violated constraint its meaning; any other failure stays what it is.
fn on_constraint<E: From<store::Error>>(
    error: store::Error,
    meanings: impl FnOnce(&str) -> Option<E>,
) -> E {
    error.constraint().and_then(meanings).unwrap_or_else(|| error.into())
}
