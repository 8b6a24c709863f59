//! Callers who leave before their answer, before a server that bounds resets as
//! tonic's does out of the box.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use chassis::{Channel, channel::Config, listen, serve::Limits};
use h2::Reason;
use http::{HeaderMap, HeaderValue, Response};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::yield_now,
};
use tonic::Code;

use crate::{
    attack::frame,
    probe::{Probe, READ, Server, WRITE, call, eventually, peers},
};

/// More than tonic lets its peer reset before it has looked at them.
const LEAVING: usize = 64;
const GOAWAY: u8 = 0x7;
const SETTINGS: u8 = 0x4;

/// A server with a thread of its own, which a test can hold up.
struct Held {
    address: SocketAddr,
    /// Lets the call "hold" go on; until then the server looks at nothing.
    go_on: mpsc::Sender<()>,
    /// Lets the call "wait" have its answer.
    answer: Arc<Notify>,
    served: Arc<AtomicUsize>,
}

impl Held {
    fn start() -> Self {
        let (go_on, held) = mpsc::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        let (answer, served) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let (tell, told) = mpsc::channel();
        let (wait, count) = (Arc::clone(&answer), Arc::clone(&served));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let probe = Probe::new(move |text| {
                    count.fetch_add(1, Ordering::SeqCst);
                    if text == "hold" {
                        held.lock().unwrap().recv().unwrap();
                    }
                    let wait = Arc::clone(&wait);
                    async move {
                        if text == "wait" {
                            wait.notified().await;
                        }
                        Ok(text)
                    }
                });
                let config = listen::Config {
                    max_pending_accept_reset_streams: 20,
                    ..listen::Config::default()
                };
                let server = Server::with(probe, config, Limits::default()).await;
                tell.send(server.address).unwrap();
                std::future::pending::<()>().await;
            });
        });
        let address = told.recv().unwrap();
        Self { address, go_on, answer, served }
    }

    async fn has_served(&self, count: usize) {
        eventually("the server is busy", || self.served.load(Ordering::SeqCst) == count).await;
    }
}

/// Whether a call survives that many others on its connection are given up while
/// the server is too busy to look at them.
async fn survives(config: Config) -> bool {
    let server = Held::start();
    let channel =
        peers(&[server.address], Config { connections_per_endpoint: 1, ..config }).channel("probe");
    let spawned = |path, text| {
        let channel = channel.clone();
        tokio::spawn(async move { call(&channel, path, text).await })
    };
    let sibling = spawned(WRITE, "wait");
    server.has_served(1).await;
    let holding = spawned(WRITE, "hold");
    server.has_served(2).await;

    let leaving: Vec<_> = (0..LEAVING).map(|_| spawned(READ, "late")).collect();
    // Each task here gets its turn: the requests leave, and so do the resets if
    // there are any.
    for _ in 0..100 {
        yield_now().await;
    }
    for caller in &leaving {
        caller.abort();
    }
    for _ in 0..100 {
        yield_now().await;
    }
    server.go_on.send(()).unwrap();

    let has_held = holding.await.unwrap().is_ok();
    server.answer.notify_one();
    let has_waited = sibling.await.unwrap().is_ok();
    for _ in 0..100 {
        call(&channel, WRITE, "hello").await.unwrap();
    }
    has_held && has_waited
}

#[tokio::test]
async fn callers_who_leave_harm_no_other() {
    assert!(survives(Config::default()).await);
}

#[tokio::test]
async fn they_would_if_every_call_was_cancelled_at_once() {
    let config = Config {
        abandoned_patience: Duration::ZERO,
        blind_resets_max: usize::MAX,
        ..Config::default()
    };
    // A server that got its turn between the resets takes them: then it was not busy.
    let mut has_died = false;
    for _ in 0..10 {
        has_died = has_died || !survives(config.clone()).await;
    }
    assert!(has_died);
}

#[tokio::test]
async fn a_call_that_the_server_has_surely_begun_is_cancelled_at_once() {
    let ended = Arc::new(AtomicUsize::new(0));
    let (begun, count) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&ended));
    let counted = Arc::clone(&begun);
    let server = Server::start(Probe::new(move |text| {
        counted.fetch_add(1, Ordering::SeqCst);
        let count = Arc::clone(&count);
        async move {
            if text == "long" {
                let _counted = Ended(count);
                std::future::pending::<()>().await;
            }
            Ok(text)
        }
    }))
    .await;
    let config = Config {
        connections_per_endpoint: 1,
        abandoned_patience: Duration::from_secs(60 * 60),
        ..Config::default()
    };
    let channel = peers(&[server.address], config).channel("probe");
    let long = {
        let channel = channel.clone();
        tokio::spawn(async move { call(&channel, WRITE, "long").await })
    };
    eventually("it has begun", || begun.load(Ordering::SeqCst) == 1).await;
    call(&channel, WRITE, "later").await.unwrap();
    long.abort();
    eventually("it is cancelled", || ended.load(Ordering::SeqCst) == 1).await;
}

struct Ended(Arc<AtomicUsize>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn what_a_server_refuses_unseen_is_sent_again_whatever_its_method() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut has_refused = false;
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            if has_refused {
                tokio::spawn(echo(request.into_body(), respond));
            } else {
                respond.send_reset(Reason::REFUSED_STREAM);
                has_refused = true;
            }
        }
    });
    assert_eq!(written(address).await.unwrap(), "hello");
}

#[tokio::test]
async fn what_a_goaway_leaves_out_is_sent_again_whatever_its_method() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (first, _) = listener.accept().await.unwrap();
        go_away(first, 0).await;
        let (second, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(second).await.unwrap();
        while let Some(Ok((request, respond))) = connection.accept().await {
            tokio::spawn(echo(request.into_body(), respond));
        }
    });
    assert_eq!(written(address).await.unwrap(), "hello");
}

#[tokio::test]
async fn what_a_goaway_includes_may_have_been_done_and_is_not_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            go_away(stream, 1).await;
        }
    });
    assert_eq!(written(address).await.unwrap_err().code(), Code::Unavailable);
}

/// A call that is not safe to make again.
async fn written(address: SocketAddr) -> Result<String, tonic::Status> {
    let config = Config { connections_per_endpoint: 1, ..Config::default() };
    let channel: Channel = peers(&[address], config).channel("probe");
    call(&channel, WRITE, "hello").await
}

/// Greets, waits for the first request, says that it looked at none beyond `last`,
/// and closes.
async fn go_away(mut stream: TcpStream, last: u32) {
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    let mut seen = Vec::new();
    // The request's frame of data comes last, and ends with its text.
    while !seen.ends_with(b"hello") {
        assert!(stream.read_buf(&mut seen).await.unwrap() > 0);
    }
    let mut payload = last.to_be_bytes().to_vec();
    payload.extend(0_u32.to_be_bytes());
    stream.write_all(&frame(GOAWAY, 0, 0, &payload)).await.unwrap();
    stream.shutdown().await.unwrap();
    while matches!(stream.read_buf(&mut seen).await, Ok(1..)) {}
}

async fn echo(mut body: h2::RecvStream, mut respond: h2::server::SendResponse<Bytes>) {
    let mut message = BytesMut::new();
    while let Some(data) = body.data().await {
        message.put(data.unwrap());
    }
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    stream.send_data(message.freeze(), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers).unwrap();
}
