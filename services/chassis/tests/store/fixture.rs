//! A fresh database for each test.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use chassis::{
    Clock, Database, Migration,
    store::{Config, Synchronous, Url},
};
use tempfile::TempDir;

/// A table with one constraint of each sort.
pub(crate) const SCHEMA: &[Migration] = &[Migration {
    name: "0001_shelf",
    sql:
        "create table shelf (shelf_id TEXT NOT NULL, constraint shelf_pkey primary key (shelf_id));
        create table item (
            item_id TEXT NOT NULL,
            shelf_id TEXT NOT NULL,
            label TEXT NOT NULL,
            position BIGINT NOT NULL,
            quantity BIGINT NOT NULL,
            fragile BOOLEAN NOT NULL,
            picture BYTEA,
            seen_time BIGINT,
            note TEXT,
            constraint item_pkey primary key (item_id),
            constraint item_shelf_id_position_key unique (shelf_id, position),
            constraint item_quantity_check check (quantity >= 0),
            constraint item_shelf_id_fkey foreign key (shelf_id) references shelf (shelf_id)
        );
        create unique index item_label_key on item (lower(label));
        insert into shelf (shelf_id) values ('a');",
}];

chassis::statements! {
    /// An item with the columns that tests vary.
    ADD = "insert into item (item_id, shelf_id, label, position, quantity, fragile) values ($1, $2, $3, $4, $5, false)";
    /// An item with every column.
    ADD_WHOLE = "insert into item (item_id, shelf_id, label, position, quantity, fragile, picture, seen_time, note)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    /// How many items.
    COUNT = "select count(*) from item";
    /// All ids in order.
    IDS = "select item_id from item order by item_id";
    /// Every column.
    GET = "select * from item where item_id = $1";
    /// Some of them.
    GET_SOME = "select item_id from item where item_id in (select value from {{JSON_TEXTS:$1}})
        order by item_id";
    /// Several from one parameter.
    ADD_MANY = "insert into item (item_id, shelf_id, label, position, quantity, fragile)
        select line.value ->> 'id', 'a', line.value ->> 'id', cast(line.value ->> 'position' as bigint), 0, false
        from {{JSON_ROWS:$1}} as line where true";
    /// Takes some if there are enough.
    TAKE = "update item set quantity = quantity - $2 where item_id = $1 and quantity >= $2 returning quantity";
    /// Locks it.
    LOCK = "select quantity from item where item_id = $1 {{FOR_UPDATE}}";
    /// Sets it.
    SET = "update item set quantity = $2 where item_id = $1";
}

/// A database that nobody else uses, and where it is.
pub(crate) struct Fresh {
    pub(crate) database: Database,
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    _folder: TempDir,
}

impl Fresh {
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = Url::new(format!("sqlite:{}/deep/{{service}}.db", folder.path().display()));
        Self::open(Config { url, ..Config::default() }, folder).await
    }

    pub(crate) async fn postgres() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        #[expect(clippy::disallowed_methods, reason = "a test has no settings of its own")]
        let server =
            std::env::var("MERCAT_TEST_POSTGRES").expect("MERCAT_TEST_POSTGRES names a server");
        let server = server.trim_end_matches('/').trim_end_matches("/postgres");
        let (process, next) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let url = Url::new(format!("{server}/{{service}}_{process}_{next}"));
        Self::open(
            Config { url, connections: 8, connections_idle: 0, ..Config::default() },
            tempfile::tempdir().unwrap(),
        )
        .await
    }

    async fn open(config: Config, folder: TempDir) -> Self {
        let config = Config { synchronous: Synchronous::Normal, ..config };
        let clock = Clock::fake();
        let database = Database::open(&config, "shop", SCHEMA, clock.clone()).await.unwrap();
        Self { database, config, clock, _folder: folder }
    }

    /// Opens it as another process would.
    pub(crate) async fn again(&self) -> Database {
        Database::open(&self.config, "shop", SCHEMA, self.clock.clone()).await.unwrap()
    }
}

/// The same test for each engine.
macro_rules! on_both_engines {
    ($($(#[$doc:meta])* async fn $name:ident($fresh:ident: Fresh) $body:block)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::fixture::Fresh::sqlite().await).await;
            })*
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs PostgreSQL"]
            async fn $name() {
                super::$name(crate::fixture::Fresh::postgres().await).await;
            })*
        }

        $($(#[$doc])* async fn $name($fresh: Fresh) $body)*
    };
}
pub(crate) use on_both_engines;

/// Asks again until it is so.
pub(crate) async fn eventually<F: Future<Output = bool>>(mut is_so: impl FnMut() -> F) {
    let patience = Instant::now() + Duration::from_secs(10);
    while !is_so().await {
        assert!(Instant::now() < patience, "it did not come to pass");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
