//! The schema of a database: numbered texts, each applied once.

use std::collections::HashMap;

use aws_lc_rs::digest;

use super::{Engine, Error, Tx, statement::expand};

/// One step of a schema. What was applied may never change: add another.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// "0001_catalog": its number and what it is about.
    pub name: &'static str,
    /// SQL for both engines, with the tokens of a [`Statement`](super::Statement).
    /// A line that begins with `-- sqlite: ` or `-- pg: ` is for that engine only.
    pub sql: &'static str,
}

/// The migration in `migrations/<name>.sql` of this crate.
#[macro_export]
macro_rules! migration {
    ($name:literal) => {
        $crate::store::Migration {
            name: $name,
            sql: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/", $name, ".sql")),
        }
    };
}

/// Whose migrations the chassis' own are.
const CHASSIS: &str = "chassis";

/// The chassis' own tables, in every service's database.
const OWN: &[Migration] = &[
    crate::migration!("0001_idempotency"),
    crate::migration!("0002_event"),
    crate::migration!("0003_saga"),
];

/// Held while migrations run, so that replicas that start together do not both
/// apply them. Any number will do; it spells "mercat".
const LOCK: i64 = 0x006d_6572_6361_7400;

crate::statements! {
    /// What was applied so far.
    LIST_MIGRATIONS = "select owner, name, checksum from migration";
    /// Remembers one.
    RECORD_MIGRATION = "insert into migration (owner, name, checksum, apply_time) values ($1, $2, $3, $4)";
}

const TABLE: &str = "create table if not exists migration (
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    apply_time BIGINT NOT NULL,
    constraint migration_pkey primary key (owner, name)
)";

/// Brings the schema up to date, inside a transaction that the caller began and
/// will commit.
pub(super) async fn migrate(
    tx: &mut Tx,
    service: &str,
    migrations: &[Migration],
) -> Result<(), Error> {
    tx.lock(LOCK).await?;
    tx.raw("create table migration", TABLE.to_owned()).await?;
    let applied: Vec<(String, String, String)> = tx.fetch_all(LIST_MIGRATIONS, Vec::new()).await?;
    let applied: HashMap<(String, String), String> =
        applied.into_iter().map(|(owner, name, checksum)| ((owner, name), checksum)).collect();

    let own = OWN.iter().map(|migration| (CHASSIS, migration));
    let theirs = migrations.iter().map(|migration| (service, migration));
    for (owner, migration) in own.chain(theirs) {
        let checksum = checksum(migration.sql);
        match applied.get(&(owner.to_owned(), migration.name.to_owned())) {
            Some(recorded) if *recorded == checksum => {}
            Some(_) => {
                return Err(Error::setup(format!(
                    "migration {owner}/{} was changed after it was applied: restore it and add another",
                    migration.name
                )));
            }
            None => {
                tx.raw(migration.name, for_engine(migration.sql, tx.engine())).await.map_err(
                    |problem| {
                        Error::setup(format!(
                            "migration {owner}/{} failed: {}",
                            migration.name, problem
                        ))
                    },
                )?;
                let now = tx.clock().now();
                tx.execute(RECORD_MIGRATION, crate::args![owner, migration.name, checksum, now])
                    .await?;
                tracing::info!(owner, migration = migration.name, "schema migrated");
            }
        }
    }
    Ok(())
}

fn checksum(sql: &str) -> String {
    use std::fmt::Write as _;
    digest::digest(&digest::SHA256, sql.as_bytes()).as_ref().iter().fold(
        String::new(),
        |mut text, byte| {
            // Writing to a String cannot fail.
            let _infallible = write!(text, "{byte:02x}");
            text
        },
    )
}

/// The text for one engine: its own lines uncommented, the other's left as the
/// comments they are, tokens expanded.
fn for_engine(sql: &str, engine: Engine) -> String {
    let marker = match engine {
        Engine::Sqlite => "-- sqlite: ",
        Engine::Postgres => "-- pg: ",
    };
    let mut text = String::with_capacity(sql.len());
    for line in sql.lines() {
        text.push_str(line.trim_start().strip_prefix(marker).unwrap_or(line));
        text.push('\n');
    }
    expand(&text, engine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marked_line_is_for_its_engine_only() {
        let sql = "a {{SEQ_PK}}\n-- sqlite: b\n-- pg: c\n";
        assert_eq!(
            for_engine(sql, Engine::Sqlite),
            "a INTEGER PRIMARY KEY AUTOINCREMENT\nb\n-- pg: c\n"
        );
        assert_eq!(
            for_engine(sql, Engine::Postgres),
            "a BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY\n-- sqlite: b\nc\n"
        );
    }
}
