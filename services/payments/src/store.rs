//! Everything the service says in SQL, but for the built-in provider's books.
//!
//! - [`intent`], [`attempt`]: a payment, changed under the intent's version only.
//! - [`refund`]: money that goes back.
//! - [`ledger`]: every movement of money, both sides in one row.
//! - [`webhook`]: what providers told.

pub(crate) mod attempt;
pub(crate) mod intent;
pub(crate) mod ledger;
pub(crate) mod refund;
pub(crate) mod webhook;

use chassis::{
    Currency, Time,
    store::{Error as StoreError, Row, Statement},
};

use crate::{
    domain::{DeclineCode, Failure},
    provider::sandbox,
};

/// Every statement of the service.
pub(crate) const STATEMENTS: &[&[Statement]] = &[
    intent::STATEMENTS,
    attempt::STATEMENTS,
    refund::STATEMENTS,
    ledger::STATEMENTS,
    webhook::STATEMENTS,
    sandbox::STATEMENTS,
];

/// Where a list sorted downwards begins: after every time and every id.
#[derive(Debug, Clone)]
pub(crate) struct Below(pub(crate) Time, pub(crate) String);

impl Below {
    /// The row after which the page begins.
    pub(crate) fn of(after: Option<(i64, String)>) -> Self {
        after.map_or_else(
            || Self(Time::from_micros(i64::MAX), "z".to_owned()),
            |(time, id)| Self(Time::from_micros(time), id),
        )
    }
}

/// A column whose text means nothing to this version.
pub(crate) fn unreadable(column: &'static str, text: &str) -> StoreError {
    StoreError::Column { column: column.into(), problem: format!("{text:?} means nothing").into() }
}

/// Reads a column that holds a name.
pub(crate) fn named<T>(
    row: &Row<'_>,
    column: &'static str,
    parse: fn(&str) -> Option<T>,
) -> Result<T, StoreError> {
    let text: String = row.get(column)?;
    parse(&text).ok_or_else(|| unreadable(column, &text))
}

/// Reads a column that holds a name or nothing.
pub(crate) fn perhaps<T>(
    row: &Row<'_>,
    column: &'static str,
    parse: fn(&str) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| parse(&text).ok_or_else(|| unreadable(column, &text))).transpose()
}

/// Reads the column `currency`.
pub(crate) fn currency(row: &Row<'_>) -> Result<Currency, StoreError> {
    named(row, "currency", |text| Currency::new(text).ok())
}

/// Reads the two columns of an error.
pub(crate) fn failure(row: &Row<'_>) -> Result<Option<Failure>, StoreError> {
    let provider_code: Option<String> = row.get("error_provider_code")?;
    Ok(perhaps(row, "error_code", DeclineCode::parse)?
        .map(|code| Failure { code, provider_code: provider_code.unwrap_or_default() }))
}

/// The two columns of an error.
pub(crate) fn failure_columns(failure: Option<&Failure>) -> (Option<&str>, Option<&str>) {
    match failure {
        Some(failure) => (Some(failure.code.as_str()), Some(&failure.provider_code)),
        None => (None, None),
    }
}
