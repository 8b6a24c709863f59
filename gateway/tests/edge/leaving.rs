//! Clients that leave with requests in flight.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
    mpsc,
};

use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use http_body_util::BodyExt as _;
use serde_json::json;
use testkit::eventually;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::yield_now};

use crate::{
    client::post,
    upstream::{Answer, Edge, Upstream},
    wire::{begin_h1, piece, sending},
};

const GET_BOOK: &str = "/library.v1.Library/GetBook";
const LEND: &str = "/library.v1.Library/Lend";
const WATCH: &str = "/library.v1.Library/WatchBooks";
/// Connections that are dropped together, and how often: what a load generator
/// does at the end of each run. tonic ends a connection at 20 resets of streams
/// that it has not looked at.
const LEAVING: usize = 64;
const ROUNDS: usize = 20;
/// Neighbours of either kind: more than the edge has connections.
const NEIGHBOURS: usize = 4;

/// An upstream with a thread of its own, which a test can hold up.
struct Held {
    upstream: Upstream,
    /// Calls of `GetBook` that have begun, and those that have not ended.
    begun: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    /// Whether it is held up now, by a call to lend `hold`; and what ends that.
    is_held: Arc<AtomicBool>,
    go_on: mpsc::Sender<()>,
}

/// A call that is open at the upstream, until it is dropped.
struct Open(Arc<AtomicUsize>);

#[tokio::test]
async fn clients_that_drop_their_connections_harm_no_other() {
    let held = Held::start();
    let edge = Edge::before(&held.upstream).await;
    let to = edge.address;

    let is_over = Arc::new(AtomicBool::new(false));
    let mut callers = Vec::new();
    let mut watchers = Vec::new();
    for number in 0..NEIGHBOURS {
        let is_over = Arc::clone(&is_over);
        callers.push(tokio::spawn(async move {
            let mut made = 0;
            while !is_over.load(Ordering::SeqCst) {
                // Not safe to make again: nothing hides a failure.
                let name = format!("{number}/{made}");
                let lent = post(to, LEND, json!({ "name": name })).await;
                assert_eq!(lent.status, StatusCode::OK, "after {made} calls: {lent:?}");
                assert_eq!(lent.json["name"], name);
                made += 1;
            }
            made
        }));
        let headers = [("accept", "application/x-ndjson")];
        let (_, nothing) = sending();
        let mut watching = begin_h1(to, WATCH, &headers, nothing).await.into_body();
        piece(&mut watching).await;
        watchers.push(tokio::spawn(async move { watching.frame().await.is_some() }));
    }

    let request = format!("GET /v1/shelves/1/books/2 HTTP/1.1\r\nHost: {to}\r\n\r\n");
    for round in 0..ROUNDS {
        // Some leave when the upstream has begun with their calls, and some before
        // it has looked at them.
        let holding = (round % 2 == 1).then(|| {
            held.is_held.store(false, Ordering::SeqCst);
            tokio::spawn(post(to, LEND, json!({ "name": "hold" })))
        });
        if holding.is_some() {
            eventually(async || held.is_held.load(Ordering::SeqCst).then_some(())).await;
        }
        // Counted before they come: the first may be there before the last has left.
        let begun = held.begun.load(Ordering::SeqCst) + LEAVING / 2;
        let mut leaving = Vec::new();
        for _ in 0..LEAVING {
            let mut stream = TcpStream::connect(to).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            leaving.push(stream);
        }
        if let Some(holding) = holding {
            turns().await;
            drop(leaving);
            turns().await;
            held.go_on.send(()).unwrap();
            assert_eq!(holding.await.unwrap().status, StatusCode::OK);
        } else {
            eventually(async || (held.begun.load(Ordering::SeqCst) >= begun).then_some(())).await;
        }
    }

    eventually(async || (held.open.load(Ordering::SeqCst) == 0).then_some(())).await;
    is_over.store(true, Ordering::SeqCst);
    for caller in callers {
        assert!(caller.await.unwrap() > 0);
    }
    for watcher in watchers {
        assert!(!watcher.is_finished(), "the connection of a stream was ended");
        watcher.abort();
    }
    edge.stop().await;
}

/// Gives each task of the edge, which shares the test's thread, its turns: requests
/// leave, and so do resets if there are any.
async fn turns() {
    for _ in 0..100 {
        yield_now().await;
    }
}

// === impl Held ===

impl Held {
    fn start() -> Self {
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                tell.send(Upstream::start("library.proto").await).unwrap();
                std::future::pending::<()>().await;
            });
        });
        let upstream = told.recv().unwrap();

        let (begun, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (all, those) = (Arc::clone(&begun), Arc::clone(&open));
        upstream.on(GET_BOOK, move |_| {
            all.fetch_add(1, Ordering::SeqCst);
            let open = Open::new(&those);
            async move {
                // Nobody who asks this has an answer.
                let _open = open;
                std::future::pending::<Result<Answer, tonic::Status>>().await
            }
        });
        let is_held = Arc::new(AtomicBool::new(false));
        let (go_on, wait) = mpsc::channel::<()>();
        let (tell, wait) = (Arc::clone(&is_held), Mutex::new(wait));
        upstream.unary(LEND, move |request, _| {
            if request["name"] == "hold" {
                tell.store(true, Ordering::SeqCst);
                wait.lock().unwrap().recv().unwrap();
            }
            Ok(json!({ "name": request["name"] }))
        });
        upstream.server_stream(WATCH, |_| {
            stream::iter([Ok(json!({ "pages": "1" }))]).chain(stream::pending())
        });
        Self { upstream, begun, open, is_held, go_on }
    }
}

// === impl Open ===

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
