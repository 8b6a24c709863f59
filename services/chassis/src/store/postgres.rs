//! The PostgreSQL arm: how the pool is opened, and one function per way to run
//! a statement.

use std::str::FromStr as _;

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, PgExecutor,
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{Config, Engine, Error, FromRow, Row, Statement, Value, value};

/// The SQLSTATE of a database that does not exist.
const NO_DATABASE: &str = "3D000";
/// The SQLSTATEs of losing a race to make one.
const DATABASE_EXISTS: [&str; 2] = ["42P04", "23505"];
/// The database that every server has.
const MAINTENANCE: &str = "postgres";

/// Opens the pool, and makes the database if there is none and we may.
pub(super) async fn open(config: &Config, url: &str, service: &str) -> Result<PgPool, Error> {
    let options = PgConnectOptions::from_str(url)
        // What the driver says of an address may repeat its password.
        .map_err(|_problem| Error::setup("`database.url` is not an address of PostgreSQL"))?
        .application_name(&format!("mercat-{service}"))
        .statement_cache_capacity(config.statement_cache)
        .disable_statement_logging();
    if config.create {
        ensure(&options).await?;
    }
    PgPoolOptions::new()
        .max_connections(config.connections.max(1))
        .min_connections(config.connections_idle)
        .acquire_timeout(config.acquire_timeout)
        .test_before_acquire(false)
        .connect_with(options)
        .await
        .map_err(|problem| Error::of("connect", problem))
}

async fn ensure(options: &PgConnectOptions) -> Result<(), Error> {
    match PgConnection::connect_with(options).await {
        Ok(connection) => {
            return connection.close().await.map_err(|problem| Error::of("connect", problem));
        }
        Err(sqlx::Error::Database(refused)) if refused.code().as_deref() == Some(NO_DATABASE) => {}
        Err(problem) => return Err(Error::of("connect", problem)),
    }
    let name = options.get_database().unwrap_or(options.get_username()).replace('"', "\"\"");
    let mut connection = PgConnection::connect_with(&options.clone().database(MAINTENANCE))
        .await
        .map_err(|problem| Error::of("connect", problem))?;
    let made = connection.execute(AssertSqlSafe(format!("create database \"{name}\""))).await;
    let closed = connection.close().await;
    match made {
        Err(sqlx::Error::Database(refused))
            if refused.code().is_some_and(|code| DATABASE_EXISTS.contains(&code.as_ref())) => {}
        made => {
            made.map_err(|problem| Error::of("create database", problem))?;
        }
    }
    closed.map_err(|problem| Error::of("connect", problem))
}

// === running statements ===

pub(super) async fn execute(
    executor: impl PgExecutor<'_>,
    statement: Statement,
    values: Vec<Value>,
) -> Result<u64, Error> {
    let name = statement.name();
    sqlx::query_with(statement.text(Engine::Postgres), value::postgres(name, values)?)
        .execute(executor)
        .await
        .map(|done| done.rows_affected())
        .map_err(|problem| Error::of(name, problem))
}

pub(super) async fn optional<T: FromRow>(
    executor: impl PgExecutor<'_>,
    statement: Statement,
    values: Vec<Value>,
) -> Result<Option<T>, Error> {
    let name = statement.name();
    sqlx::query_with(statement.text(Engine::Postgres), value::postgres(name, values)?)
        .fetch_optional(executor)
        .await
        .map_err(|problem| Error::of(name, problem))?
        .map(|row| T::from_row(&Row::postgres(&row)))
        .transpose()
}

pub(super) async fn all<T: FromRow>(
    executor: impl PgExecutor<'_>,
    statement: Statement,
    values: Vec<Value>,
) -> Result<Vec<T>, Error> {
    let name = statement.name();
    sqlx::query_with(statement.text(Engine::Postgres), value::postgres(name, values)?)
        .fetch_all(executor)
        .await
        .map_err(|problem| Error::of(name, problem))?
        .iter()
        .map(|row| T::from_row(&Row::postgres(row)))
        .collect()
}
