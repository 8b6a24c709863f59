//! The handle that a service holds.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use sqlx::{Executor as _, PgPool, SqlSafeStr as _};
use tokio::sync::watch;

use super::{
    Config, Engine, Error, FromRow, Migration, Origin, Statement, Tx, Value, migrate, postgres,
    sqlite::{self, Readers},
    tx::Session,
    writer::{Writer, attempt},
};
use crate::Clock;

/// How long the readiness check waits for an answer.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

crate::statements! {
    /// Says that the database answers.
    PING = "select 1";
    /// Names this database's outbox for good.
    NAME_FEED = "insert into feed (singleton, feed_id) values (1, $1) on conflict (singleton) do nothing";
    /// The name of this database's outbox.
    FIND_FEED = "select feed_id from feed where singleton = 1";
}

/// A service's database. Cheap to clone.
#[derive(Clone)]
pub struct Database(Arc<Inner>);

struct Inner {
    service: Arc<str>,
    clock: Clock,
    feed_id: String,
    /// Marked as changed by each commit that added events.
    committed: watch::Sender<()>,
    /// How many transactions were committed.
    commits: Arc<AtomicU64>,
    /// Marked as changed when dead letters are to be tried again.
    redriven: watch::Sender<()>,
    arm: Arm,
}

#[expect(clippy::large_enum_variant, reason = "a service has one of these, behind its Arc")]
enum Arm {
    Sqlite { readers: Readers, writer: Writer },
    Postgres { pool: PgPool },
}

// === impl Database ===

impl Database {
    /// Opens the database of a service, makes it if there is none, and brings its
    /// schema up to date: the chassis' own tables first, then the service's.
    pub async fn open(
        config: &Config,
        service: &str,
        migrations: &[Migration],
        clock: Clock,
    ) -> Result<Self, Error> {
        let url = config.url.of_service(service);
        let name: Arc<str> = service.into();
        let (committed, _) = watch::channel(());
        let (redriven, _) = watch::channel(());
        let commits = Arc::new(AtomicU64::new(0));
        let (arm, feed_id) = if url.starts_with("sqlite:") {
            let options = sqlite::options(config, &url)?;
            let connection = sqlite::connect(&options).await?;
            let mut tx = Tx::new(Session::Sqlite(connection), clock.clone(), Arc::clone(&name));
            tx.raw("begin", "begin immediate".to_owned()).await?;
            let feed_id = prepare(&mut tx, service, migrations).await?;
            tx.raw("commit", "commit".to_owned()).await?;
            let readers = Readers::new(options.clone(), config.readers);
            (
                Arm::Sqlite {
                    readers,
                    writer: Writer::start(tx, options, committed.clone(), Arc::clone(&commits)),
                },
                feed_id,
            )
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let pool = postgres::open(config, &url, service).await?;
            let transaction = pool.begin().await.map_err(|problem| Error::of("begin", problem))?;
            let mut tx = Tx::new(Session::Postgres(transaction), clock.clone(), Arc::clone(&name));
            let feed_id = prepare(&mut tx, service, migrations).await?;
            finish(tx).await?;
            (Arm::Postgres { pool }, feed_id)
        } else {
            return Err(Error::setup(format!(
                "`database.url` is {}: it must begin with `sqlite:` or `postgres://`",
                config.url
            )));
        };
        Ok(Self(Arc::new(Inner {
            service: name,
            clock,
            feed_id,
            committed,
            commits,
            redriven,
            arm,
        })))
    }

    /// Reads the first row of a query, if it has one.
    pub async fn fetch_optional<T: FromRow>(
        &self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Option<T>, Error> {
        match &self.0.arm {
            Arm::Sqlite { readers, .. } => {
                readers.reader().await?.optional(statement, values).await
            }
            Arm::Postgres { pool } => postgres::optional(pool, statement, values).await,
        }
    }

    /// Reads the first row of a query that must find one.
    pub async fn fetch_one<T: FromRow>(
        &self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<T, Error> {
        self.fetch_optional(statement, values)
            .await?
            .ok_or(Error::RowNotFound { statement: statement.name() })
    }

    /// Reads all rows of a query. Bound it with a limit.
    pub async fn fetch_all<T: FromRow>(
        &self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Vec<T>, Error> {
        match &self.0.arm {
            Arm::Sqlite { readers, .. } => readers.reader().await?.all(statement, values).await,
            Arm::Postgres { pool } => postgres::all(pool, statement, values).await,
        }
    }

    /// Runs a closure in a transaction: `Ok` commits it, `Err` undoes all of it.
    /// Returns when the commit is durable.
    ///
    /// The closure owns what it needs and awaits SQL only: on SQLite it holds up
    /// every other write of the service.
    pub async fn write<T, E, F>(&self, effect: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    {
        self.write_from(Origin::current(), effect).await
    }

    /// As [`Database::write`], for events that carry another origin than the call
    /// that this task serves.
    pub async fn write_from<T, E, F>(&self, origin: Origin, effect: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    {
        let pool = match &self.0.arm {
            Arm::Sqlite { writer, .. } => return writer.write(origin, effect).await,
            Arm::Postgres { pool } => pool,
        };
        let transaction = pool.begin().await.map_err(|problem| Error::of("begin", problem))?;
        let mut tx = Tx::new(
            Session::Postgres(transaction),
            self.0.clock.clone(),
            Arc::clone(&self.0.service),
        );
        tx.renew(origin);
        match attempt(effect, &mut tx).await {
            Ok(value) => {
                let published = tx.published;
                finish(tx).await?;
                self.0.commits.fetch_add(1, Ordering::Relaxed);
                if published {
                    self.0.committed.send_replace(());
                }
                Ok(value)
            }
            Err(error) => {
                if let Session::Postgres(transaction) = tx.session
                    && let Err(problem) = transaction.rollback().await
                {
                    tracing::warn!(%problem, "a rollback failed; the connection is given up");
                }
                Err(error)
            }
        }
    }

    /// Whether the database answers, reads and can be written to.
    pub async fn health(&self) -> Result<(), Error> {
        if let Arm::Sqlite { writer, .. } = &self.0.arm
            && !writer.is_running()
        {
            return Err(Error::unavailable("the database is closing"));
        }
        tokio::time::timeout(HEALTH_TIMEOUT, self.fetch_one::<i64>(PING, Vec::new()))
            .await
            .unwrap_or_else(|_elapsed| Err(Error::unavailable("the database does not answer")))
            .map(drop)
    }

    /// Prepares every statement, and the chassis' own, on this engine; names
    /// those that it refuses.
    pub async fn prepare_all(
        &self,
        statements: &[&[Statement]],
    ) -> Result<(), Vec<(&'static str, Error)>> {
        let mut refused = Vec::new();
        let own = [
            STATEMENTS,
            migrate::STATEMENTS,
            crate::idempotency::STATEMENTS,
            crate::saga::STATEMENTS,
        ];
        let own = own.iter().chain(crate::event::STATEMENTS);
        for statement in own.chain(statements).flat_map(|list| list.iter().copied()) {
            if let Err(error) = self.prepare(statement).await {
                refused.push((statement.name(), error));
            }
        }
        if refused.is_empty() { Ok(()) } else { Err(refused) }
    }

    async fn prepare(&self, statement: Statement) -> Result<(), Error> {
        let name = statement.name();
        match &self.0.arm {
            Arm::Sqlite { readers, .. } => {
                let mut reader = readers.reader().await?;
                let sql = statement.text(Engine::Sqlite).into_sql_str();
                reader.connection()?.prepare(sql).await.map(drop)
            }
            Arm::Postgres { pool } => {
                pool.prepare(statement.text(Engine::Postgres).into_sql_str()).await.map(drop)
            }
        }
        .map_err(|problem| Error::of(name, problem))
    }

    /// Finishes the writes that wait and closes every connection. Later calls fail.
    pub async fn close(&self) {
        match &self.0.arm {
            Arm::Sqlite { readers, writer } => {
                writer.close().await;
                readers.close().await;
            }
            Arm::Postgres { pool } => pool.close().await,
        }
    }

    /// How many transactions it has committed: fewer than there were writes, where
    /// writes shared one.
    pub fn commits(&self) -> u64 {
        self.0.commits.load(Ordering::Relaxed)
    }

    /// Which engine it is.
    pub fn engine(&self) -> Engine {
        match self.0.arm {
            Arm::Sqlite { .. } => Engine::Sqlite,
            Arm::Postgres { .. } => Engine::Postgres,
        }
    }

    /// The engine's name, for logs.
    pub fn engine_name(&self) -> &'static str {
        match self.engine() {
            Engine::Sqlite => "sqlite",
            Engine::Postgres => "postgresql",
        }
    }

    /// The service whose database it is.
    pub fn service(&self) -> &str {
        &self.0.service
    }

    /// The clock by which it writes times.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The name of its outbox, for good: another database has another.
    pub(crate) fn feed_id(&self) -> &str {
        &self.0.feed_id
    }

    /// Tells of commits that added events, on this process.
    pub(crate) fn committed(&self) -> watch::Receiver<()> {
        self.0.committed.subscribe()
    }

    /// Tells of dead letters that are to be tried again.
    pub(crate) fn redriven(&self) -> watch::Receiver<()> {
        self.0.redriven.subscribe()
    }

    /// Has the consumers look for dead letters that are to be tried again.
    pub(crate) fn wake_consumers(&self) {
        self.0.redriven.send_replace(());
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("service", &self.0.service)
            .field("engine", &self.engine())
            .finish_non_exhaustive()
    }
}

/// The schema, and the name of the outbox.
async fn prepare(tx: &mut Tx, service: &str, migrations: &[Migration]) -> Result<String, Error> {
    migrate::migrate(tx, service, migrations).await?;
    let feed_id = tx.clock().id();
    tx.execute(NAME_FEED, crate::args![feed_id]).await?;
    tx.fetch_one(FIND_FEED, Vec::new()).await
}

async fn finish(tx: Tx) -> Result<(), Error> {
    match tx.session {
        Session::Postgres(transaction) => {
            transaction.commit().await.map_err(|problem| Error::of("commit", problem))
        }
        Session::Sqlite(_) => Err(Error::setup("SQLite commits in its writer")),
    }
}
