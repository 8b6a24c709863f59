//! Transactions, constraints, values, schema.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use chassis::{
    Clock, Database, Fault, Migration, Time, args,
    store::{Error, FromRow, Kind, Row, json_texts},
};
use futures_util::future::join_all;
use tokio::sync::oneshot;

use crate::fixture::{
    ADD, ADD_MANY, ADD_WHOLE, COUNT, Fresh, GET, GET_SOME, IDS, LOCK, SCHEMA, SET, STATEMENTS,
    TAKE, on_both_engines,
};

async fn add(database: &Database, id: &str, position: i64, quantity: i64) -> Result<(), Error> {
    let id = id.to_owned();
    database
        .write(move |tx| {
            Box::pin(async move {
                tx.execute(ADD, args![&id, "a", &id, position, quantity]).await.map(drop)
            })
        })
        .await
}

async fn count(database: &Database) -> i64 {
    database.fetch_one(COUNT, Vec::new()).await.unwrap()
}

/// Keeps the writer busy until the returned sender is used, so that the writes
/// sent meanwhile wait together.
async fn busy(database: &Database) -> oneshot::Sender<()> {
    let (began, beginning) = oneshot::channel();
    let (release, released) = oneshot::channel::<()>();
    let database = database.clone();
    #[expect(clippy::disallowed_methods, reason = "a test has no tasks to drain")]
    tokio::spawn(async move {
        database
            .write(move |_tx| {
                Box::pin(async move {
                    began.send(()).unwrap();
                    released.await.unwrap();
                    // Rolled back, so that it is no commit.
                    Err::<(), _>(Error::RowNotFound { statement: "made up" })
                })
            })
            .await
    });
    beginning.await.unwrap();
    release
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_wait_together_share_one_commit() {
    let fresh = Fresh::sqlite().await;
    let database = &fresh.database;
    let before = database.commits();
    let release = busy(database).await;
    let writes = (0..100).map(|n| {
        let id = format!("{n:03}");
        async move { add(database, &id, n, 1).await }
    });
    let (answers, ()) = tokio::join!(join_all(writes), async {
        tokio::task::yield_now().await;
        release.send(()).unwrap();
    });
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(count(database).await, 100);
    assert_eq!(database.commits() - before, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_writes_in_one_commit_those_that_fail_are_undone_alone() {
    let fresh = Fresh::sqlite().await;
    let database = &fresh.database;
    let before = database.commits();
    let release = busy(database).await;
    let writes = (0..30).map(|n| async move {
        database
            .write(move |tx| {
                Box::pin(async move {
                    let id = format!("{n:03}");
                    tx.execute(ADD, args![&id, "a", &id, n, 1]).await?;
                    match n % 3 {
                        0 => Ok(()),
                        1 => Err(Error::RowNotFound { statement: "made up" }),
                        _ => panic!("write {n} panics"),
                    }
                })
            })
            .await
    });
    let (answers, ()) = tokio::join!(join_all(writes), async {
        tokio::task::yield_now().await;
        release.send(()).unwrap();
    });
    for (n, answer) in answers.into_iter().enumerate() {
        match n % 3 {
            0 => assert!(answer.is_ok()),
            1 => assert!(matches!(answer, Err(Error::RowNotFound { .. }))),
            _ => assert!(matches!(answer, Err(Error::Panicked(what)) if what.contains("panics"))),
        }
    }
    let ids: Vec<String> = database.fetch_all(IDS, Vec::new()).await.unwrap();
    assert_eq!(ids, (0..10).map(|n| format!("{:03}", n * 3)).collect::<Vec<_>>());
    assert_eq!(database.commits() - before, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mixture_of_writes_in_one_commit_keeps_what_succeeded() {
    let fresh = Fresh::sqlite().await;
    let database = &fresh.database;
    let mut expected: Vec<String> = Vec::new();
    for mixture in 0..256_u32 {
        // Four writes: each does something or nothing, and succeeds or fails.
        let kinds =
            (0..4).map(|at| ((mixture >> (2 * at)) & 1 == 1, (mixture >> (2 * at)) & 2 == 2));
        let release = busy(database).await;
        let writes = kinds.enumerate().map(|(at, (writes, succeeds))| {
            let id = format!("{mixture:03}-{at}");
            let position = i64::from(mixture) * 4 + i64::try_from(at).unwrap();
            if writes && succeeds {
                expected.push(id.clone());
            }
            async move {
                let answer: Result<(), Error> = database
                    .write(move |tx| {
                        Box::pin(async move {
                            if writes {
                                assert_eq!(
                                    tx.execute(ADD, args![&id, "a", &id, position, 1_i64]).await?,
                                    1
                                );
                            }
                            if succeeds {
                                Ok(())
                            } else {
                                Err(Error::RowNotFound { statement: "made up" })
                            }
                        })
                    })
                    .await;
                assert_eq!(answer.is_ok(), succeeds);
            }
        });
        tokio::join!(join_all(writes), async {
            tokio::task::yield_now().await;
            release.send(()).unwrap();
        });
    }
    let ids: Vec<String> = database.fetch_all(IDS, Vec::new()).await.unwrap();
    assert_eq!(ids, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_caller_left_before_its_turn_never_runs() {
    let fresh = Fresh::sqlite().await;
    let release = busy(&fresh.database).await;
    let ran = Arc::new(AtomicBool::new(false));
    let mark = Arc::clone(&ran);
    let mut write = Box::pin(fresh.database.write(move |_tx| {
        mark.store(true, Ordering::SeqCst);
        Box::pin(async move { Ok::<_, Error>(()) })
    }));
    assert!(futures_util::poll!(&mut write).is_pending());
    drop(write);
    release.send(()).unwrap();
    add(&fresh.database, "x", 1, 1).await.unwrap();
    assert!(!ran.load(Ordering::SeqCst));
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_finishes_the_writes_that_wait_and_takes_no_more() {
    let fresh = Fresh::sqlite().await;
    let database = fresh.database.clone();
    let release = busy(&database).await;
    let mut write = Box::pin(add(&database, "x", 1, 1));
    assert!(futures_util::poll!(&mut write).is_pending());
    let (written, (), ()) = tokio::join!(write, database.close(), async {
        tokio::task::yield_now().await;
        release.send(()).unwrap();
    });
    written.unwrap();
    assert!(matches!(add(&database, "y", 2, 1).await, Err(Error::Unavailable(_))));
    assert!(matches!(database.health().await, Err(Error::Unavailable(_))));
    assert_eq!(count(&fresh.again().await).await, 1);
}

on_both_engines! {
    async fn a_write_that_fails_leaves_nothing(fresh: Fresh) {
        let refused: Result<(), Error> = fresh.database.write(|tx| Box::pin(async move {
            tx.execute(ADD, args!["x", "a", "x", 1_i64, 1_i64]).await?;
            Err(Error::RowNotFound { statement: "made up" })
        })).await;
        assert!(refused.is_err());
        let panicked: Result<(), Error> = fresh.database.write(|tx| Box::pin(async move {
            tx.execute(ADD, args!["y", "a", "y", 1_i64, 1_i64]).await?;
            panic!("on purpose")
        })).await;
        assert!(matches!(panicked, Err(Error::Panicked(_))));
        assert_eq!(count(&fresh.database).await, 0);
        add(&fresh.database, "z", 1, 1).await.unwrap();
        assert_eq!(count(&fresh.database).await, 1);
    }

    async fn a_statement_that_failed_spoils_the_rest_of_its_transaction(fresh: Fresh) {
        add(&fresh.database, "x", 1, 1).await.unwrap();
        let outcome: Result<(), Error> = fresh.database.write(|tx| Box::pin(async move {
            tx.execute(ADD, args!["y", "a", "y", 2_i64, 1_i64]).await?;
            let clash = tx.execute(ADD, args!["x", "a", "z", 3_i64, 1_i64]).await;
            assert!(clash.unwrap_err().is_unique_violation());
            assert!(matches!(tx.fetch_optional::<i64>(COUNT, Vec::new()).await, Err(Error::Spoiled)));
            Ok(())
        })).await;
        assert!(matches!(outcome, Err(Error::Spoiled)), "an Ok of a spoiled transaction is none");
        assert_eq!(count(&fresh.database).await, 1);
    }

    async fn constraints_have_the_same_names_on_both_engines(fresh: Fresh) {
        add(&fresh.database, "x", 1, 1).await.unwrap();
        let cases: [(_, Kind, &str); 6] = [
            (args!["x", "a", "new", 2_i64, 1_i64], Kind::Unique, "item_pkey"),
            (args!["y", "a", "new", 1_i64, 1_i64], Kind::Unique, "item_shelf_id_position_key"),
            (args!["y", "a", "X", 2_i64, 1_i64], Kind::Unique, "item_label_key"),
            (args!["y", "a", "new", 2_i64, -1_i64], Kind::Check, "item_quantity_check"),
            (args!["y", "b", "new", 2_i64, 1_i64], Kind::ForeignKey, "foreign_key"),
            (args!["y", "a", None::<String>, 2_i64, 1_i64], Kind::NotNull, "item_label_not_null"),
        ];
        for (values, kind, name) in cases {
            let refused: Result<u64, Error> =
                fresh.database.write(move |tx| Box::pin(async move { tx.execute(ADD, values).await })).await;
            match refused {
                Err(Error::Constraint { kind: found, name: found_name }) => {
                    assert_eq!((found, &*found_name), (kind, name));
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    async fn values_come_back_as_they_went(fresh: Fresh) {
        let picture = Bytes::from_static(b"\x00\xff");
        let seen = Time::from_micros(-5);
        let values = args!["x", "a", "Ünïcode 'quoted'", i64::MAX, 0_i64, true, &picture, seen, None::<&str>];
        fresh.database.write(move |tx| Box::pin(async move { tx.execute(ADD_WHOLE, values).await })).await.unwrap();
        let item: Item = fresh.database.fetch_one(GET, args!["x"]).await.unwrap();
        assert_eq!(item, Item {
            label: "Ünïcode 'quoted'".to_owned(),
            position: i64::MAX,
            fragile: true,
            picture: Some(picture),
            seen: Some(seen),
            note: None,
        });
        assert!(fresh.database.fetch_optional::<Item>(GET, args!["y"]).await.unwrap().is_none());
        assert!(matches!(
            fresh.database.fetch_one::<Item>(GET, args!["y"]).await,
            Err(Error::RowNotFound { statement: "GET" })
        ));
        assert!(matches!(
            fresh.database.fetch_one::<Wrong>(GET, args!["x"]).await,
            Err(Error::Column { column, .. }) if &*column == "label"
        ));
    }

    async fn many_rows_go_through_one_parameter(fresh: Fresh) {
        let rows = r#"[{"id": "x", "position": 1}, {"id": "y", "position": 2}, {"id": "it's", "position": 3}]"#;
        let added: Result<u64, Error> = fresh.database
            .write(move |tx| Box::pin(async move { tx.execute(ADD_MANY, args![rows]).await })).await;
        assert_eq!(added.unwrap(), 3);
        let some: Vec<String> =
            fresh.database.fetch_all(GET_SOME, args![json_texts(&["it's", "y", "none"])]).await.unwrap();
        assert_eq!(some, ["it's", "y"]);
    }

    async fn the_last_unit_is_taken_once(fresh: Fresh) {
        add(&fresh.database, "x", 1, 1).await.unwrap();
        let takers = (0..40).map(|_| fresh.database.write(|tx| Box::pin(async move {
            tx.fetch_optional::<i64>(TAKE, args!["x", 1_i64]).await
        })));
        let taken: Vec<Result<Option<i64>, Error>> = join_all(takers).await;
        assert_eq!(taken.iter().filter(|taken| matches!(taken, Ok(Some(0)))).count(), 1);
        assert_eq!(taken.iter().filter(|taken| matches!(taken, Ok(None))).count(), 39);
    }

    async fn a_row_that_is_locked_is_read_and_written_by_one_at_a_time(fresh: Fresh) {
        add(&fresh.database, "x", 1, 0).await.unwrap();
        let counters = (0..20).map(|_| fresh.database.write(|tx| Box::pin(async move {
            let quantity: i64 = tx.fetch_one(LOCK, args!["x"]).await?;
            tx.execute(SET, args!["x", quantity + 1]).await
        })));
        let counted: Vec<Result<u64, Error>> = join_all(counters).await;
        assert!(counted.iter().all(Result::is_ok));
        let item: i64 = fresh.database.fetch_one(LOCK, args!["x"]).await.unwrap();
        assert_eq!(item, 20);
    }

    async fn what_was_written_is_there_after_a_restart(fresh: Fresh) {
        add(&fresh.database, "x", 1, 1).await.unwrap();
        fresh.database.health().await.unwrap();
        fresh.database.close().await;
        let again = fresh.again().await;
        assert_eq!(count(&again).await, 1);
        add(&again, "y", 2, 1).await.unwrap();
    }

    async fn a_migration_that_changed_after_it_was_applied_is_refused(fresh: Fresh) {
        let changed = &[Migration { name: SCHEMA[0].name, sql: "select 1" }];
        let refused = Database::open(&fresh.config, "shop", changed, Clock::fake()).await.unwrap_err();
        assert!(refused.to_string().contains("shop/0001_shelf was changed"), "{refused}");
        let more = &[SCHEMA[0], Migration { name: "0002_more", sql: "create table more (id {{SEQ_PK}});" }];
        Database::open(&fresh.config, "shop", more, Clock::fake()).await.unwrap();
    }

    async fn a_migration_that_fails_leaves_the_schema_as_it_was(fresh: Fresh) {
        let broken = &[SCHEMA[0], Migration { name: "0002_more", sql: "create table more (id TEXT); nonsense" }];
        let refused = Database::open(&fresh.config, "shop", broken, Clock::fake()).await.unwrap_err();
        assert!(refused.to_string().contains("shop/0002_more failed"), "{refused}");
        let mended = &[SCHEMA[0], Migration { name: "0002_more", sql: "create table more (id TEXT);" }];
        Database::open(&fresh.config, "shop", mended, Clock::fake()).await.unwrap();
    }

    async fn replicas_that_start_together_migrate_once(fresh: Fresh) {
        let more = &[SCHEMA[0], Migration { name: "0002_more", sql: "create table more (id {{SEQ_PK}});" }];
        let starts = (0..4).map(|_| Database::open(&fresh.config, "shop", more, Clock::fake()));
        assert!(join_all(starts).await.iter().all(Result::is_ok));
    }

    async fn every_statement_prepares(fresh: Fresh) {
        assert_eq!(fresh.database.prepare_all(&[STATEMENTS]).await.map_err(|refused| format!("{refused:?}")), Ok(()));
        let refused = fresh.database.prepare_all(&[STATEMENTS, nonsense::STATEMENTS]).await.unwrap_err();
        assert_eq!(refused.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [nonsense::NONSENSE.name()]);
    }
}

mod nonsense {
    chassis::statements! {
        /// Not SQL.
        NONSENSE = "select nothing from nowhere";
    }
}

#[tokio::test]
async fn what_an_address_cannot_be_is_said_without_its_password() {
    for url in ["mysql://u:hunter2@h/d", "sqlite::memory:", "postgres://u:hunter2@h:notaport/d"] {
        let config = chassis::store::Config { url: url.into(), ..Default::default() };
        let refused = Database::open(&config, "shop", &[], Clock::fake()).await.unwrap_err();
        assert!(refused.to_string().contains("`database.url`"), "{refused}");
        assert!(!refused.to_string().contains("hunter2"), "{refused}");
    }
}

#[test]
fn a_database_that_is_away_is_unavailable_and_a_lost_race_is_aborted() {
    let code = |error: Error| Fault::from(error).code();
    assert_eq!(code(Error::Unavailable("gone".into())), tonic::Code::Unavailable);
    assert_eq!(code(Error::Conflict("deadlock".into())), tonic::Code::Aborted);
    assert_eq!(code(Error::Spoiled), tonic::Code::Internal);
}

#[derive(Debug, PartialEq)]
struct Item {
    label: String,
    position: i64,
    fragile: bool,
    picture: Option<Bytes>,
    seen: Option<Time>,
    note: Option<String>,
}

impl FromRow for Item {
    fn from_row(row: &Row<'_>) -> Result<Self, Error> {
        Ok(Self {
            label: row.get("label")?,
            position: row.get("position")?,
            fragile: row.get("fragile")?,
            picture: row.get("picture")?,
            seen: row.get("seen_time")?,
            note: row.get("note")?,
        })
    }
}

#[derive(Debug)]
struct Wrong;

impl FromRow for Wrong {
    fn from_row(row: &Row<'_>) -> Result<Self, Error> {
        row.get::<i64>("label").map(|_| Self)
    }
}
