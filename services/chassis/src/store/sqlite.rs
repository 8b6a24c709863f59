//! The SQLite arm: how connections are opened, the pool of readers, and one
//! function per way to run a statement.

use std::{
    path::Path,
    str::FromStr as _,
    sync::{Mutex, PoisonError},
};

use futures_util::TryStreamExt as _;
use sqlx::{
    ConnectOptions as _, Connection as _, Either, Executor as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Config, Error, FromRow, Row, Statement, Synchronous, Value, statement::Prefix, value};

/// Readers of one database file. The driver's own pool spawns a task and pings
/// the connection each time one is given back, which costs more than a point
/// read; a reader has no state that a dropped query could leave behind.
pub(super) struct Readers {
    options: SqliteConnectOptions,
    free: Mutex<Vec<SqliteConnection>>,
    permits: Semaphore,
}

/// A reader on loan.
pub(super) struct Reader<'p> {
    readers: &'p Readers,
    /// Absent only while it is being given back.
    connection: Option<SqliteConnection>,
    _permit: SemaphorePermit<'p>,
}

/// How the writer of a file is opened. Makes the folder.
pub(super) fn options(config: &Config, url: &str) -> Result<SqliteConnectOptions, Error> {
    let options = SqliteConnectOptions::from_str(url).map_err(|problem| {
        Error::setup(format!("`database.url` is not an address of SQLite: {problem}"))
    })?;
    if url.contains(":memory:") {
        return Err(Error::setup(
            "`database.url` names a database in memory, which readers could not share",
        ));
    }
    let folder = options.get_filename().parent().unwrap_or(Path::new(""));
    if !folder.as_os_str().is_empty() {
        std::fs::create_dir_all(folder).map_err(|problem| {
            Error::setup(format!("the folder {} cannot be made: {problem}", folder.display()))
        })?;
    }
    let synchronous = match config.synchronous {
        Synchronous::Full => SqliteSynchronous::Full,
        Synchronous::Normal => SqliteSynchronous::Normal,
    };
    Ok(options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .foreign_keys(true)
        .busy_timeout(config.busy_timeout)
        .statement_cache_capacity(config.statement_cache)
        .pragma("cache_size", format!("-{}", config.cache_kib))
        .pragma("mmap_size", (i64::from(config.mmap_mib) << 20).to_string())
        .pragma("temp_store", "memory")
        .disable_statement_logging())
}

/// Opens a connection.
pub(super) async fn connect(options: &SqliteConnectOptions) -> Result<SqliteConnection, Error> {
    SqliteConnection::connect_with(options).await.map_err(|problem| {
        Error::unavailable(format!(
            "{} cannot be opened: {problem}",
            options.get_filename().display()
        ))
    })
}

// === impl Readers ===

impl Readers {
    pub(super) fn new(writer: SqliteConnectOptions, count: usize) -> Self {
        Self {
            options: writer.create_if_missing(false).read_only(true),
            free: Mutex::default(),
            permits: Semaphore::new(count.max(1)),
        }
    }

    /// A reader: one that is free, or a new one while there are fewer than allowed.
    pub(super) async fn reader(&self) -> Result<Reader<'_>, Error> {
        let permit = self
            .permits
            .acquire()
            .await
            .map_err(|_closed| Error::unavailable("the database is closing"))?;
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match free {
            Some(connection) => connection,
            None => connect(&self.options).await?,
        };
        Ok(Reader { readers: self, connection: Some(connection), _permit: permit })
    }

    pub(super) async fn close(&self) {
        self.permits.close();
        let free = std::mem::take(&mut *self.free.lock().unwrap_or_else(PoisonError::into_inner));
        for connection in free {
            if let Err(problem) = connection.close().await {
                tracing::warn!(%problem, "a reader did not close");
            }
        }
    }
}

impl Reader<'_> {
    pub(super) fn connection(&mut self) -> Result<&mut SqliteConnection, Error> {
        self.connection.as_mut().ok_or_else(|| Error::unavailable("the reader was given back"))
    }

    /// Runs a query; a connection that broke is not given back.
    pub(super) async fn optional<T: FromRow>(
        mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Option<T>, Error> {
        let found = optional(self.connection()?, Prefix::None, statement, values).await;
        self.checked(found)
    }

    /// Runs a query; a connection that broke is not given back.
    pub(super) async fn all<T: FromRow>(
        mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Vec<T>, Error> {
        let found = all(self.connection()?, Prefix::None, statement, values).await;
        self.checked(found)
    }

    fn checked<T>(&mut self, found: Result<T, Error>) -> Result<T, Error> {
        if matches!(found, Err(Error::Unavailable(_))) {
            self.connection = None;
        }
        found
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.readers.free.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

// === running statements ===

pub(super) async fn execute(
    connection: &mut SqliteConnection,
    prefix: Prefix,
    statement: Statement,
    values: Vec<Value>,
) -> Result<u64, Error> {
    let name = statement.name();
    let query = sqlx::query_with(statement.after(prefix), value::sqlite(name, values)?);
    let mut steps = connection.fetch_many(query);
    let mut changed = 0;
    while let Some(step) = steps.try_next().await.map_err(|problem| Error::of(name, problem))? {
        // Of several statements the last one counts: the prefix changes nothing,
        // but repeats the number of what was changed before it.
        if let Either::Left(done) = step {
            changed = done.rows_affected();
        }
    }
    Ok(changed)
}

pub(super) async fn optional<T: FromRow>(
    connection: &mut SqliteConnection,
    prefix: Prefix,
    statement: Statement,
    values: Vec<Value>,
) -> Result<Option<T>, Error> {
    let name = statement.name();
    sqlx::query_with(statement.after(prefix), value::sqlite(name, values)?)
        .fetch_optional(connection)
        .await
        .map_err(|problem| Error::of(name, problem))?
        .map(|row| T::from_row(&Row::sqlite(&row)))
        .transpose()
}

pub(super) async fn all<T: FromRow>(
    connection: &mut SqliteConnection,
    prefix: Prefix,
    statement: Statement,
    values: Vec<Value>,
) -> Result<Vec<T>, Error> {
    let name = statement.name();
    sqlx::query_with(statement.after(prefix), value::sqlite(name, values)?)
        .fetch_all(connection)
        .await
        .map_err(|problem| Error::of(name, problem))?
        .iter()
        .map(|row| T::from_row(&Row::sqlite(row)))
        .collect()
}
