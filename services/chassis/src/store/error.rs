//! What a database says no to, in the same words for both engines.

use std::{sync::Arc, time::Duration};

use contracts::mesh::v1::ErrorReason;
use sqlx::postgres::PgDatabaseError;

use crate::Fault;

/// When to try again after the database was away.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// A failed statement, transaction or start.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The rows would break a constraint.
    #[error("{kind} constraint {name} is violated")]
    Constraint {
        /// What sort of constraint.
        kind: Kind,
        /// Its name, the same on both engines.
        name: Arc<str>,
    },
    /// Another transaction was there first: PostgreSQL gave this one up.
    #[error("the transaction lost against another: {0}")]
    Conflict(Arc<str>),
    /// The database is away, full, closing or too busy.
    #[error("the database is not available: {0}")]
    Unavailable(Arc<str>),
    /// The statement must find a row and found none.
    #[error("{statement} found no row")]
    RowNotFound {
        /// The statement's name.
        statement: &'static str,
    },
    /// What a column holds is not what the code reads.
    #[error("column {column} cannot be read: {problem}")]
    Column {
        /// The column, or its position.
        column: Arc<str>,
        /// What is wrong with it.
        problem: Arc<str>,
    },
    /// An earlier statement of this transaction failed, so that it can only be
    /// rolled back.
    #[error("an earlier statement of this transaction failed")]
    Spoiled,
    /// The write's closure panicked; nothing of it was kept.
    #[error("the write panicked: {0}")]
    Panicked(Arc<str>),
    /// The database cannot be used as configured, or its schema is another.
    #[error("{0}")]
    Setup(Arc<str>),
    /// Anything else the engine refused.
    #[error("{statement}: {source}")]
    Engine {
        /// The statement's name.
        statement: &'static str,
        /// What the engine said.
        source: Arc<sqlx::Error>,
    },
}

/// A sort of constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A primary key (`<table>_pkey`), a unique index or constraint.
    Unique,
    /// A CHECK.
    Check,
    /// A foreign key. SQLite does not say which: its name is `foreign_key` on
    /// both engines.
    ForeignKey,
    /// NOT NULL: `<table>_<column>_not_null`.
    NotNull,
}

/// The name of every violated foreign key.
const FOREIGN_KEY: &str = "foreign_key";

// === impl Error ===

impl Error {
    /// The violated constraint's name, the same on both engines.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Constraint { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Whether a unique index or primary key has the row already.
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Constraint { kind: Kind::Unique, .. })
    }

    /// Whether the same write may succeed when it is simply made again.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::Unavailable(_))
    }

    pub(super) fn setup(problem: impl Into<String>) -> Self {
        Self::Setup(problem.into().into())
    }

    pub(super) fn unavailable(problem: impl Into<String>) -> Self {
        Self::Unavailable(problem.into().into())
    }

    pub(super) fn column(column: &str, problem: &sqlx::Error) -> Self {
        let problem = match problem {
            sqlx::Error::ColumnDecode { source, .. } => source.to_string(),
            other => other.to_string(),
        };
        Self::Column { column: column.into(), problem: problem.into() }
    }

    /// What an engine's error means.
    pub(super) fn of(statement: &'static str, error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(refused) => Self::refused(statement, refused),
            sqlx::Error::RowNotFound => Self::RowNotFound { statement },
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::unavailable(error.to_string()),
            other => Self::Engine { statement, source: Arc::new(other) },
        }
    }

    fn refused(statement: &'static str, refused: Box<dyn sqlx::error::DatabaseError>) -> Self {
        let known = match refused.try_downcast_ref::<PgDatabaseError>() {
            Some(error) => postgres(error),
            None => sqlite(&refused.code().unwrap_or_default(), refused.message()),
        };
        known.unwrap_or_else(|| Self::Engine {
            statement,
            source: Arc::new(sqlx::Error::Database(refused)),
        })
    }

    fn violated(kind: Kind, name: impl Into<Arc<str>>) -> Self {
        Self::Constraint { kind, name: name.into() }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unique => "unique",
            Self::Check => "check",
            Self::ForeignKey => "foreign key",
            Self::NotNull => "not-null",
        })
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Conflict(_) => Self::aborted(ErrorReason::Conflict)
                .message("another write was there first: read again and retry")
                .retry_after(RETRY_DELAY)
                .because(error),
            Error::Unavailable(_) => Self::unavailable(ErrorReason::Unavailable)
                .message("the service's database is not available: try again")
                .retry_after(RETRY_DELAY)
                .because(error),
            Error::Constraint { .. }
            | Error::RowNotFound { .. }
            | Error::Column { .. }
            | Error::Spoiled
            | Error::Panicked(_)
            | Error::Setup(_)
            | Error::Engine { .. } => Self::internal().because(error),
        }
    }
}

/// SQLite names columns where PostgreSQL names constraints: the names that
/// PostgreSQL gives by default are made from them.
fn sqlite(code: &str, message: &str) -> Option<Error> {
    let detail = message.split_once("constraint failed: ").map(|(_, detail)| detail);
    Some(match code {
        // SQLITE_CONSTRAINT_UNIQUE. An index on expressions is named outright.
        "2067" => {
            let detail = detail?;
            match detail.strip_prefix("index '").and_then(|rest| rest.strip_suffix('\'')) {
                Some(index) => Error::violated(Kind::Unique, index),
                None => {
                    let (table, columns) = columns(detail)?;
                    Error::violated(Kind::Unique, format!("{table}_{}_key", columns.join("_")))
                }
            }
        }
        // SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_ROWID.
        "1555" | "2579" => Error::violated(Kind::Unique, format!("{}_pkey", columns(detail?)?.0)),
        // SQLITE_CONSTRAINT_CHECK
        "275" => Error::violated(Kind::Check, detail?),
        // SQLITE_CONSTRAINT_FOREIGNKEY
        "787" => Error::violated(Kind::ForeignKey, FOREIGN_KEY),
        // SQLITE_CONSTRAINT_NOTNULL
        "1299" => {
            let (table, columns) = columns(detail?)?;
            Error::violated(Kind::NotNull, format!("{table}_{}_not_null", columns.join("_")))
        }
        // The low byte is the primary code: BUSY, LOCKED, NOMEM, IOERR, FULL, CANTOPEN.
        code => match code.parse::<i64>().ok()? & 0xff {
            5 | 6 | 7 | 10 | 13 | 14 => Error::unavailable(message),
            _ => return None,
        },
    })
}

/// The table and columns of "cart.owner_id, cart.state".
fn columns(detail: &str) -> Option<(&str, Vec<&str>)> {
    let pairs: Option<Vec<(&str, &str)>> =
        detail.split(", ").map(|pair| pair.split_once('.')).collect();
    let pairs = pairs?;
    let (table, _) = *pairs.first()?;
    Some((table, pairs.into_iter().map(|(_, column)| column).collect()))
}

fn postgres(error: &PgDatabaseError) -> Option<Error> {
    Some(match error.code() {
        "23505" => Error::violated(Kind::Unique, error.constraint()?),
        "23514" => Error::violated(Kind::Check, error.constraint()?),
        "23503" => Error::violated(Kind::ForeignKey, FOREIGN_KEY),
        "23502" => Error::violated(
            Kind::NotNull,
            format!("{}_{}_not_null", error.table()?, error.column()?),
        ),
        // serialization_failure, deadlock_detected, lock_not_available
        "40001" | "40P01" | "55P03" => Error::Conflict(error.message().into()),
        // connection exceptions, insufficient resources, operator intervention
        code if code.starts_with("08") || code.starts_with("53") || code.starts_with("57P") => {
            Error::unavailable(error.message())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(code: &str, message: &str) -> String {
        sqlite(code, message).unwrap().constraint().unwrap().to_owned()
    }

    #[test]
    fn sqlites_columns_become_postgresqls_default_names() {
        assert_eq!(
            named("2067", "UNIQUE constraint failed: cart.owner_id, cart.state"),
            "cart_owner_id_state_key"
        );
        assert_eq!(
            named("2067", "UNIQUE constraint failed: index 'user_email_key'"),
            "user_email_key"
        );
        assert_eq!(named("1555", "UNIQUE constraint failed: cart.cart_id"), "cart_pkey");
        assert_eq!(named("275", "CHECK constraint failed: level_stock_check"), "level_stock_check");
        assert_eq!(
            named("1299", "NOT NULL constraint failed: cart.owner_id"),
            "cart_owner_id_not_null"
        );
        assert!(matches!(sqlite("13", "database or disk is full"), Some(Error::Unavailable(_))));
        assert!(sqlite("1", "no such table: x").is_none());
    }
}
