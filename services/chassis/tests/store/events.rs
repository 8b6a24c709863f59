//! Events: out in the order of the commits, in exactly once.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use chassis::{
    Database, Fault, args,
    event::{
        Consumer, Delivery, Effect, Event, Feed, FeedServer, INBOX_KEEP, OUTBOX_KEEP, Options,
        State, consume_from,
    },
    store::Error,
};
use contracts::{
    mesh::v1::{ErrorReason, PullEventsRequest, PullEventsResponse},
    values::v1::Money,
};
use futures_util::future::{BoxFuture, join_all};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fresh, eventually, on_both_engines};

chassis::statements! {
    /// What the consumer writes down.
    NOTE = "insert into item (item_id, shelf_id, label, position, quantity, fragile, note)
        values ($1, 'a', $1, (select count(*) from item), 0, false, $2)";
    /// What it wrote down, in order.
    NOTES = "select note from item order by position";
    /// Another replica, or a restored backup.
    REWIND = "update feed_cursor set seq = 0";
}

/// Publishes one event of a subject.
async fn publish(database: &Database, subject: &str, n: i64) {
    let subject = subject.to_owned();
    let published: Result<String, Error> = database
        .write(move |tx| {
            Box::pin(async move {
                let paid = Money { currency_code: subject.clone(), minor_units: n };
                tx.publish(Event::new(&paid).subject(subject).version(n)).await
            })
        })
        .await;
    published.unwrap();
}

async fn pull(database: &Database, after_seq: i64, wait: Duration) -> PullEventsResponse {
    FeedServer::new(database.clone(), CancellationToken::new())
        .pull(PullEventsRequest {
            feed_id: String::new(),
            after_seq,
            limit: 1_000,
            wait: Some(wait.try_into().unwrap()),
        })
        .await
        .unwrap()
}

/// Writes down what it hears; refuses or breaks on demand.
#[derive(Default)]
struct Notes {
    refuse: Arc<Mutex<Option<&'static str>>>,
    away: Arc<AtomicBool>,
    refuse_effect: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Consumer for Notes {
    const NAME: &'static str = "notes";

    async fn on(&self, delivery: &Delivery) -> Result<Effect, Fault> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let paid: Money = delivery.decode().ok_or_else(Fault::internal)?;
        assert_eq!((&paid.currency_code, paid.minor_units), (&delivery.subject, delivery.version));
        if *self.refuse.lock().unwrap() == Some(delivery.subject.as_str()) {
            return Err(Fault::failed_precondition(ErrorReason::Conflict).message("not this one"));
        }
        if self.away.load(Ordering::SeqCst) {
            return Err(Fault::unavailable(ErrorReason::Unavailable));
        }
        let label = format!("{}{}", delivery.subject, delivery.version);
        let refused = self.refuse_effect.load(Ordering::SeqCst);
        Ok(Effect::new(move |tx| {
            Box::pin(async move {
                // An id of its own, so that a second effect would be seen.
                let id = tx.clock().id();
                tx.execute(NOTE, args![id, label]).await?;
                if refused {
                    Err(Fault::failed_precondition(ErrorReason::Conflict))
                } else {
                    Ok(())
                }
            })
        }))
    }
}

/// A consumer that runs, following its own service's feed.
struct Following {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Following {
    #[expect(clippy::disallowed_methods, reason = "a test has no tasks to drain")]
    fn start(database: &Database, feed: impl Feed, consumer: Notes) -> Self {
        let stop = CancellationToken::new();
        let options = Options {
            attempts: 3,
            pause: Duration::from_millis(5),
            pause_max: Duration::from_millis(20),
            ..Options::default()
        };
        let task = tokio::spawn(consume_from(
            database.clone(),
            "shop",
            feed,
            consumer,
            options,
            stop.clone(),
        ));
        Self { stop, task }
    }

    fn of(database: &Database, consumer: Notes) -> Self {
        Self::start(database, FeedServer::new(database.clone(), CancellationToken::new()), consumer)
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(5), self.task)
            .await
            .expect("it ends promptly")
            .unwrap();
    }
}

async fn notes(database: &Database) -> Vec<String> {
    database.fetch_all(NOTES, Vec::new()).await.unwrap()
}

async fn until_noted(database: &Database, expected: &[&str]) {
    eventually(|| async { notes(database).await.len() >= expected.len() }).await;
    assert_eq!(notes(database).await, expected);
}

on_both_engines! {
    async fn events_are_read_in_the_order_of_their_commits_and_none_is_skipped(fresh: Fresh) {
        let writers = join_all((0..8).map(|writer| {
            let database = fresh.database.clone();
            async move {
                for n in 1..=25 {
                    publish(&database, &format!("s{writer}"), n).await;
                }
            }
        }));
        let reader = async {
            let mut seen = Vec::new();
            while seen.len() < 200 {
                let after = seen.last().map_or(0, |(seq, _)| *seq);
                let mut request = PullEventsRequest { after_seq: after, limit: 7, ..Default::default() };
                request.feed_id = pull(&fresh.database, 0, Duration::ZERO).await.feed_id;
                request.wait = Some(Duration::from_secs(5).try_into().unwrap());
                let feed = FeedServer::new(fresh.database.clone(), CancellationToken::new());
                let events = feed.pull(request).await.unwrap().events;
                assert!(!events.is_empty() && events.len() <= 7);
                seen.extend(events.into_iter().map(|event| (event.seq, event.event.unwrap().id)));
            }
            seen
        };
        let (_, seen) = tokio::join!(writers, reader);
        assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let all = pull(&fresh.database, 0, Duration::ZERO).await.events;
        assert_eq!(all.len(), 200);
        assert!(all.iter().map(|event| event.seq).eq(seen.iter().map(|(seq, _)| *seq)));
        for writer in 0..8 {
            let versions: Vec<i64> = all.iter().filter_map(|event| {
                let event = event.event.clone()?;
                let data = match event.data? {
                    contracts::io::cloudevents::v1::cloud_event::Data::ProtoData(any) => any.value,
                    _ => return None,
                };
                let paid: Money = prost::Message::decode(data.as_slice()).ok()?;
                (paid.currency_code == format!("s{writer}")).then_some(paid.minor_units)
            }).collect();
            assert_eq!(versions, (1..=25).collect::<Vec<i64>>());
        }
    }

    async fn an_event_of_a_write_that_fails_is_never_told(fresh: Fresh) {
        let failed: Result<(), Error> = fresh.database.write(|tx| Box::pin(async move {
            tx.publish(Event::new(&Money::default()).subject("s")).await?;
            Err(Error::RowNotFound { statement: "made up" })
        })).await;
        assert!(failed.is_err());
        assert!(pull(&fresh.database, 0, Duration::ZERO).await.events.is_empty());
    }

    async fn a_pull_that_waits_is_answered_by_the_next_commit(fresh: Fresh) {
        let mut waiting = Box::pin(pull(&fresh.database, 0, Duration::from_secs(25)));
        let answered = tokio::time::timeout(Duration::from_millis(100), &mut waiting).await;
        assert!(answered.is_err(), "there is nothing to answer with");
        publish(&fresh.database, "s", 1).await;
        let pulled = tokio::time::timeout(Duration::from_secs(5), waiting).await.expect("it is woken");
        assert_eq!(pulled.events.len(), 1);
        let event = pulled.events[0].event.clone().unwrap();
        assert_eq!((event.source.as_str(), event.r#type.as_str()), ("/shop", "mercat.values.v1.Money"));
    }

    async fn a_pull_that_waits_ends_when_the_drain_begins(fresh: Fresh) {
        let stop = CancellationToken::new();
        let feed = FeedServer::new(fresh.database.clone(), stop.clone());
        let wait = Some(Duration::from_secs(25).try_into().unwrap());
        let (pulled, ()) = tokio::join!(
            feed.pull(PullEventsRequest { wait, ..Default::default() }),
            async { stop.cancel() },
        );
        assert!(pulled.unwrap().events.is_empty());
    }

    async fn a_position_in_another_feed_means_nothing(fresh: Fresh) {
        publish(&fresh.database, "s", 1).await;
        let feed = FeedServer::new(fresh.database.clone(), CancellationToken::new());
        let request = PullEventsRequest { feed_id: "another".to_owned(), after_seq: 99, ..Default::default() };
        assert_eq!(feed.pull(request).await.unwrap().events.len(), 1);
    }

    async fn each_event_has_its_effect_once_though_it_is_delivered_again(fresh: Fresh) {
        for n in 1..=3 {
            publish(&fresh.database, "a", n).await;
            publish(&fresh.database, "b", n).await;
        }
        let expected = ["a1", "b1", "a2", "b2", "a3", "b3"];
        let following = Following::of(&fresh.database, Notes::default());
        until_noted(&fresh.database, &expected).await;
        following.stop().await;
        let rewound: Result<u64, Error> =
            fresh.database.write(|tx| Box::pin(async move { tx.execute(REWIND, Vec::new()).await })).await;
        rewound.unwrap();
        let again = Notes::default();
        let asked = Arc::clone(&again.asked);
        let following = Following::of(&fresh.database, again);
        eventually(|| async { asked.load(Ordering::SeqCst) >= 6 }).await;
        publish(&fresh.database, "c", 1).await;
        eventually(|| async { notes(&fresh.database).await.len() >= 7 }).await;
        following.stop().await;
        assert_eq!(notes(&fresh.database).await, ["a1", "b1", "a2", "b2", "a3", "b3", "c1"]);
    }

    async fn a_consumer_that_is_killed_at_any_moment_goes_on_where_it_was(fresh: Fresh) {
        let mut expected = Vec::new();
        for n in 1..=40 {
            publish(&fresh.database, "a", n).await;
            expected.push(format!("a{n}"));
        }
        for kill in 0..15_u32 {
            let following = Following::of(&fresh.database, Notes::default());
            tokio::time::sleep(Duration::from_micros(700 * u64::from(kill))).await;
            following.task.abort();
        }
        let following = Following::of(&fresh.database, Notes::default());
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        until_noted(&fresh.database, &expected).await;
        following.stop().await;
    }

    async fn replicas_that_follow_one_feed_have_each_event_once(fresh: Fresh) {
        let replicas: Vec<Following> =
            (0..3).map(|_| Following::of(&fresh.database, Notes::default())).collect();
        let mut expected = Vec::new();
        for n in 1..=30 {
            publish(&fresh.database, "a", n).await;
            expected.push(format!("a{n}"));
        }
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        until_noted(&fresh.database, &expected).await;
        for replica in replicas {
            replica.stop().await;
        }
    }

    async fn a_poisoned_subject_waits_alone_and_in_order_until_it_is_redriven(fresh: Fresh) {
        let consumer = Notes::default();
        let (refuse, asked) = (Arc::clone(&consumer.refuse), Arc::clone(&consumer.asked));
        *refuse.lock().unwrap() = Some("bad");
        let following = Following::of(&fresh.database, consumer);
        publish(&fresh.database, "bad", 1).await;
        publish(&fresh.database, "good", 1).await;
        publish(&fresh.database, "bad", 2).await;
        publish(&fresh.database, "good", 2).await;
        until_noted(&fresh.database, &["good1", "good2"]).await;
        eventually(|| async {
            let letters = fresh.database.dead_letters(0, 10).await.unwrap();
            letters.len() == 2 && letters[0].state == State::Parked
        }).await;
        let letters = fresh.database.dead_letters(0, 10).await.unwrap();
        assert_eq!((letters[0].attempts, letters[1].attempts), (3, 0));
        assert!(letters[0].failure.contains("not this one"), "{}", letters[0].failure);
        assert_eq!((letters[0].consumer.as_str(), letters[0].source.as_str()), ("notes", "shop"));

        // Mended, but parked until somebody says so; what comes meanwhile queues.
        *refuse.lock().unwrap() = None;
        let before = asked.load(Ordering::SeqCst);
        publish(&fresh.database, "bad", 3).await;
        publish(&fresh.database, "good", 3).await;
        until_noted(&fresh.database, &["good1", "good2", "good3"]).await;
        assert_eq!(asked.load(Ordering::SeqCst), before + 1);
        assert!(fresh.database.redrive(letters[0].id).await.unwrap());
        until_noted(&fresh.database, &["good1", "good2", "good3", "bad1", "bad2", "bad3"]).await;
        assert!(fresh.database.dead_letters(0, 10).await.unwrap().is_empty());
        assert!(!fresh.database.redrive(letters[0].id).await.unwrap());
        following.stop().await;
    }

    async fn an_effect_that_is_refused_leaves_nothing_and_parks_its_subject_alone(fresh: Fresh) {
        let consumer = Notes::default();
        let refuse = Arc::clone(&consumer.refuse_effect);
        refuse.store(true, Ordering::SeqCst);
        publish(&fresh.database, "bad", 1).await;
        let following = Following::of(&fresh.database, consumer);
        eventually(|| async {
            let letters = fresh.database.dead_letters(0, 10).await.unwrap();
            letters.first().is_some_and(|letter| letter.state == State::Parked)
        }).await;
        assert!(notes(&fresh.database).await.is_empty());
        refuse.store(false, Ordering::SeqCst);
        publish(&fresh.database, "good", 1).await;
        until_noted(&fresh.database, &["good1"]).await;
        let letter = fresh.database.dead_letters(0, 10).await.unwrap().remove(0);
        assert!(fresh.database.discard(letter.id).await.unwrap());
        publish(&fresh.database, "bad", 2).await;
        until_noted(&fresh.database, &["good1", "bad2"]).await;
        following.stop().await;
    }

    async fn while_a_peer_is_away_deliveries_are_tried_again_and_never_parked(fresh: Fresh) {
        let consumer = Notes::default();
        let (away, asked) = (Arc::clone(&consumer.away), Arc::clone(&consumer.asked));
        away.store(true, Ordering::SeqCst);
        publish(&fresh.database, "a", 1).await;
        publish(&fresh.database, "a", 2).await;
        let following = Following::of(&fresh.database, consumer);
        eventually(|| async { asked.load(Ordering::SeqCst) > 6 }).await;
        assert!(notes(&fresh.database).await.is_empty());
        away.store(false, Ordering::SeqCst);
        until_noted(&fresh.database, &["a1", "a2"]).await;
        following.stop().await;
    }

    async fn a_feed_that_is_away_is_asked_again(fresh: Fresh) {
        publish(&fresh.database, "a", 1).await;
        let feed = Flaky {
            feed: FeedServer::new(fresh.database.clone(), CancellationToken::new()),
            failures: AtomicUsize::new(3),
        };
        let following = Following::start(&fresh.database, feed, Notes::default());
        until_noted(&fresh.database, &["a1"]).await;
        following.stop().await;
    }

    async fn what_is_old_is_forgotten_in_time_and_not_before(fresh: Fresh) {
        publish(&fresh.database, "a", 1).await;
        let following = Following::of(&fresh.database, Notes::default());
        until_noted(&fresh.database, &["a1"]).await;
        following.stop().await;
        fresh.clock.advance(OUTBOX_KEEP);
        fresh.database.sweep().await.unwrap();
        assert_eq!(pull(&fresh.database, 0, Duration::ZERO).await.events.len(), 1);
        fresh.clock.advance(INBOX_KEEP);
        fresh.database.sweep().await.unwrap();
        assert!(pull(&fresh.database, 0, Duration::ZERO).await.events.is_empty());
    }

    async fn an_event_tells_which_one_caused_it(fresh: Fresh) {
        publish(&fresh.database, "a", 1).await;
        let stop = CancellationToken::new();
        let feed = FeedServer::new(fresh.database.clone(), stop.clone());
        #[expect(clippy::disallowed_methods, reason = "a test has no tasks to drain")]
        let task = tokio::spawn(consume_from(fresh.database.clone(), "shop", feed, Echo, Options::default(), stop.clone()));
        eventually(|| async { pull(&fresh.database, 0, Duration::ZERO).await.events.len() == 2 }).await;
        stop.cancel();
        task.await.unwrap();
        let events = pull(&fresh.database, 0, Duration::ZERO).await.events;
        let (cause, echo) = (events[0].event.clone().unwrap(), events[1].event.clone().unwrap());
        let text = |name: &str| match echo.attributes[name].attr.clone() {
            Some(contracts::io::cloudevents::v1::cloud_event::cloud_event_attribute_value::Attr::CeString(text)) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(text("causationid"), cause.id);
        assert_eq!(text("correlationid"), cause.id);
    }
}

struct Echo;

impl Consumer for Echo {
    const NAME: &'static str = "echo";

    async fn on(&self, delivery: &Delivery) -> Result<Effect, Fault> {
        if delivery.subject == "echo" {
            return Ok(Effect::none());
        }
        Ok(Effect::new(|tx| {
            Box::pin(async move {
                tx.publish(Event::new(&Money::default()).subject("echo")).await?;
                Ok(())
            })
        }))
    }
}

struct Flaky {
    feed: FeedServer,
    failures: AtomicUsize,
}

impl Feed for Flaky {
    fn pull(&self, request: PullEventsRequest) -> BoxFuture<'_, Result<PullEventsResponse, Fault>> {
        let fails = self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_ok();
        if fails {
            return Box::pin(async { Err(Fault::unavailable(ErrorReason::Unavailable)) });
        }
        self.feed.pull(request)
    }
}
