//! A transaction, as the closure of a write sees it.

use std::{fmt, sync::Arc};

use sqlx::{AssertSqlSafe, Postgres, SqliteConnection};

use super::{Engine, Error, FromRow, Statement, Value, postgres, sqlite, statement::Prefix};
use crate::{Clock, call};

/// Where a write comes from: what its events carry of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The trace it belongs to.
    pub traceparent: Option<String>,
    /// Who acted: "user/..", "service/..".
    pub actor: Option<String>,
    /// What all events of one story have in common.
    pub correlation: Option<String>,
    /// The event it answers to.
    pub causation: Option<String>,
}

/// A transaction. Whatever it does becomes true together when the closure
/// returns `Ok`, or not at all.
///
/// A statement that fails spoils it on either engine, as PostgreSQL has it: the
/// rest is refused and nothing is kept. Write `on conflict do nothing` where a
/// conflict is to be expected.
pub struct Tx {
    pub(super) session: Session,
    pub(super) clock: Clock,
    pub(super) service: Arc<str>,
    pub(super) origin: Origin,
    /// A statement failed: only a rollback is left.
    pub(super) spoiled: bool,
    /// An event was added to the outbox: its readers are to be woken.
    pub(super) published: bool,
    /// What SQLite's writer does together with the next statement. A write that
    /// runs no statement leaves it to the next write.
    pub(super) prefix: Prefix,
}

pub(super) enum Session {
    Sqlite(SqliteConnection),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

// === impl Origin ===

impl Origin {
    /// The call that this task serves.
    pub fn current() -> Self {
        Self { traceparent: call::traceparent(), ..Self::default() }
    }

    /// The same, acted by this one.
    #[must_use]
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = Some(actor.into());
        self
    }
}

// === impl Tx ===

impl Tx {
    pub(super) fn new(session: Session, clock: Clock, service: Arc<str>) -> Self {
        Self {
            session,
            clock,
            service,
            origin: Origin::default(),
            spoiled: false,
            published: false,
            prefix: Prefix::None,
        }
    }

    /// Runs a statement; the number of rows it changed.
    pub async fn execute(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<u64, Error> {
        self.usable()?;
        let prefix = std::mem::take(&mut self.prefix);
        let done = match &mut self.session {
            Session::Sqlite(connection) => {
                sqlite::execute(connection, prefix, statement, values).await
            }
            Session::Postgres(transaction) => {
                postgres::execute(&mut **transaction, statement, values).await
            }
        };
        self.noted(done)
    }

    /// Runs a query; its first row, if it has one.
    pub async fn fetch_optional<T: FromRow>(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Option<T>, Error> {
        self.usable()?;
        let prefix = std::mem::take(&mut self.prefix);
        let found = match &mut self.session {
            Session::Sqlite(connection) => {
                sqlite::optional(connection, prefix, statement, values).await
            }
            Session::Postgres(transaction) => {
                postgres::optional(&mut **transaction, statement, values).await
            }
        };
        self.noted(found)
    }

    /// Runs a query that must find a row; its first row.
    pub async fn fetch_one<T: FromRow>(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<T, Error> {
        self.fetch_optional(statement, values)
            .await?
            .ok_or(Error::RowNotFound { statement: statement.name() })
    }

    /// Runs a query; all its rows. Bound it with a limit.
    pub async fn fetch_all<T: FromRow>(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Vec<T>, Error> {
        self.usable()?;
        let prefix = std::mem::take(&mut self.prefix);
        let found = match &mut self.session {
            Session::Sqlite(connection) => sqlite::all(connection, prefix, statement, values).await,
            Session::Postgres(transaction) => {
                postgres::all(&mut **transaction, statement, values).await
            }
        };
        self.noted(found)
    }

    /// The clock by which this transaction's times are written.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The service whose database this is.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Which engine runs it.
    pub fn engine(&self) -> Engine {
        match self.session {
            Session::Sqlite(_) => Engine::Sqlite,
            Session::Postgres(_) => Engine::Postgres,
        }
    }

    /// Where it comes from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Holds everyone off who asks for the same lock, until this transaction has
    /// ended and what it did is visible. SQLite's one writer needs none.
    pub(crate) async fn lock(&mut self, key: i64) -> Result<(), Error> {
        self.usable()?;
        let locked = match &mut self.session {
            Session::Sqlite(_) => Ok(()),
            Session::Postgres(transaction) => sqlx::query("select pg_advisory_xact_lock($1)")
                .bind(key)
                .execute(&mut **transaction)
                .await
                .map(drop)
                .map_err(|problem| Error::of("lock", problem)),
        };
        self.noted(locked)
    }

    /// What the events that follow carry.
    pub(crate) fn set_origin(&mut self, origin: Origin) {
        self.origin = origin;
    }

    /// Says that an event was added to the outbox.
    pub(crate) fn note_published(&mut self) {
        self.published = true;
    }

    /// Makes it ready for the next closure.
    pub(super) fn renew(&mut self, origin: Origin) {
        self.origin = origin;
        self.spoiled = false;
        self.published = false;
    }

    /// Runs texts that are no statements: schema changes and transaction control.
    pub(super) async fn raw(&mut self, name: &'static str, sql: String) -> Result<(), Error> {
        let query = sqlx::raw_sql(AssertSqlSafe(sql));
        match &mut self.session {
            Session::Sqlite(connection) => query.execute(connection).await.map(drop),
            Session::Postgres(transaction) => query.execute(&mut **transaction).await.map(drop),
        }
        .map_err(|problem| Error::of(name, problem))
    }

    fn usable(&self) -> Result<(), Error> {
        if self.spoiled { Err(Error::Spoiled) } else { Ok(()) }
    }

    fn noted<T>(&mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        match &outcome {
            // The engine was content; we did not like the row.
            Ok(_) | Err(Error::Column { .. } | Error::RowNotFound { .. }) => {}
            Err(_) => self.spoiled = true,
        }
        outcome
    }
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx")
            .field("service", &self.service)
            .field("engine", &self.engine())
            .finish_non_exhaustive()
    }
}
