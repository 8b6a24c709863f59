//! The client stack.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use chassis::{Fault, channel::Config, listen, serve::Limits};
use contracts::mesh::v1::ErrorReason;
use tokio::net::TcpListener;
use tonic::Code;

use crate::probe::{Probe, READ, Server, WRITE, call, call_within, eventually, neighbours, peers};

/// A probe that says UNAVAILABLE while it is told to, and counts its calls.
#[derive(Clone, Default)]
struct Moody {
    is_down: Arc<AtomicBool>,
    /// How many calls still fail, if it is not down.
    failures: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
}

impl Moody {
    fn failing(times: usize) -> Self {
        let moody = Self::default();
        moody.failures.store(times, Ordering::SeqCst);
        moody
    }

    fn down() -> Self {
        let moody = Self::default();
        moody.is_down.store(true, Ordering::SeqCst);
        moody
    }

    fn probe(&self) -> Probe {
        let moody = self.clone();
        Probe::new(move |text| {
            moody.calls.fetch_add(1, Ordering::SeqCst);
            let spent = moody
                .failures
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            let fails = spent.is_ok() || moody.is_down.load(Ordering::SeqCst);
            let answer =
                if fails { Err(Fault::unavailable(ErrorReason::Unavailable)) } else { Ok(text) };
            std::future::ready(answer)
        })
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

/// An address on which nobody listens.
async fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn config() -> Config {
    Config { retry_backoff: Duration::from_millis(1), ..Config::default() }
}

#[test]
fn the_bounds_start_as_they_were_measured() {
    let config = Config::default();
    assert_eq!(config.connect_timeout, Duration::from_secs(1));
    assert_eq!(config.keep_alive_interval, Duration::from_secs(5));
    assert_eq!(config.keep_alive_timeout, Duration::from_secs(3));
    assert_eq!(config.max_local_error_reset_streams, 1 << 30);
    assert_eq!(config.connections_per_endpoint, 2);
    assert_eq!(config.attempts_max, 3);
    assert!(config.retry_percent <= 20);
}

#[tokio::test]
async fn only_what_is_safe_is_made_again() {
    let moody = Moody::failing(2);
    let server = Server::start(moody.probe()).await;
    for channel in [
        peers(&[server.address], config()).channel("probe"),
        neighbours(&[("probe", &server.stack)], config()).channel("probe"),
    ] {
        moody.calls.store(0, Ordering::SeqCst);
        moody.failures.store(2, Ordering::SeqCst);
        assert_eq!(call(&channel, READ, "hello").await.unwrap(), "hello");
        assert_eq!(moody.calls(), 3);

        moody.failures.store(1, Ordering::SeqCst);
        assert_eq!(call(&channel, WRITE, "hello").await.unwrap_err().code(), Code::Unavailable);
        assert_eq!(moody.calls(), 4);

        moody.failures.store(3, Ordering::SeqCst);
        assert_eq!(call(&channel, READ, "hello").await.unwrap_err().code(), Code::Unavailable);
        assert_eq!(moody.calls(), 7);
    }
}

#[tokio::test]
async fn a_server_that_asks_for_more_time_than_there_is_gets_no_retry() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let server = Server::start(Probe::new(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Err(
            Fault::unavailable(ErrorReason::Unavailable).retry_after(Duration::from_secs(60))
        ))
    }))
    .await;
    let began = Instant::now();
    let channel = peers(&[server.address], config()).channel("probe");
    assert_eq!(call(&channel, READ, "hello").await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn the_budget_bounds_what_a_failing_peer_sees() {
    let moody = Moody::down();
    let stack = moody.probe().stack("probe", Limits::default());
    let config = config();
    let (percent, reserve) = (config.retry_percent, config.retry_reserve);
    let channel = neighbours(&[("probe", &stack)], config).channel("probe");
    for _ in 0..500 {
        call(&channel, READ, "hello").await.unwrap_err();
    }
    let most = 500 + 5 * usize::try_from(percent).unwrap() + usize::try_from(reserve).unwrap();
    assert!(moody.calls() > 500 && moody.calls() <= most, "{}", moody.calls());
}

#[tokio::test]
async fn an_open_breaker_fails_fast_and_one_probe_closes_it() {
    let moody = Moody::down();
    let server = Server::start(moody.probe()).await;
    let open_for = Duration::from_millis(150);
    let config = Config { breaker_open_for: open_for, breaker_open_for_max: open_for, ..config() };
    let channel = peers(&[server.address], config).channel("probe");
    for _ in 0..20 {
        call(&channel, WRITE, "hello").await.unwrap_err();
    }
    assert_eq!(moody.calls(), 5, "the peer is left alone after five failures");
    let status = call(&channel, WRITE, "hello").await.unwrap_err();
    let fault = Fault::from_status(&status);
    assert_eq!(fault.metadata_map().get("peer").map(String::as_str), Some("probe"));
    assert!(status.message().contains("failed again and again"), "{status}");
    assert!(fault.retry_delay().is_some());

    moody.is_down.store(false, Ordering::SeqCst);
    tokio::time::sleep(open_for.mul_f32(1.3)).await;
    // Many come at once; one is the probe.
    let together: Vec<_> = (0..20)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move { call(&channel, WRITE, "hello").await.is_ok() })
        })
        .collect();
    for one in together {
        one.await.unwrap();
    }
    assert_eq!(call(&channel, WRITE, "hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn a_dead_instance_is_avoided() {
    let server = Server::start(Probe::echo()).await;
    let dead = nowhere().await;
    let channel = peers(&[dead, server.address], config()).channel("probe");
    for _ in 0..300 {
        // What never left can go elsewhere, whatever its method.
        call(&channel, WRITE, "hello").await.unwrap();
    }
}

#[tokio::test]
async fn an_instance_that_accepts_and_says_nothing_is_left_within_the_keepalive() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::start(Probe::echo()).await;
    let config = Config {
        keep_alive_interval: Duration::from_millis(50),
        keep_alive_timeout: Duration::from_millis(50),
        ..config()
    };
    let channel = peers(&[silent.local_addr().unwrap(), server.address], config).channel("probe");
    let began = Instant::now();
    for _ in 0..100 {
        call(&channel, READ, "hello").await.unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_faster_instance_gets_more() {
    let counts: Vec<Arc<AtomicUsize>> = (0..2).map(|_| Arc::default()).collect();
    let mut servers = Vec::new();
    for (count, delay) in counts.iter().zip([1, 30]) {
        let count = Arc::clone(count);
        let probe = Probe::new(move |text| {
            count.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                Ok(text)
            }
        });
        servers.push(Server::start(probe).await);
    }
    let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
    let channel = peers(&addresses, config()).channel("probe");
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    call(&channel, READ, "hello").await.unwrap();
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let [fast, slow] = [&counts[0], &counts[1]].map(|count| count.load(Ordering::SeqCst));
    assert!(fast > slow * 3, "{fast} {slow}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_run_out_of_time_harm_no_other() {
    let server = Server::start(Probe::new(async |text| {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok(text)
    }))
    .await;
    let channel = peers(&[server.address], config()).channel("probe");
    call(&channel, READ, "connected").await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let siblings: Vec<_> = (0..4)
        .map(|_| {
            let (channel, is_over) = (channel.clone(), Arc::clone(&is_over));
            tokio::spawn(async move {
                let mut made = 0;
                while !is_over.load(Ordering::SeqCst) {
                    // Not safe to make again: nothing hides a failure.
                    call(&channel, WRITE, "sibling").await.unwrap();
                    made += 1;
                }
                made
            })
        })
        .collect();
    let impatient: Vec<_> = (0..32)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move {
                let mut expired = 0;
                for _ in 0..120 {
                    let timeout = Duration::from_millis(3);
                    expired +=
                        usize::from(call_within(&channel, WRITE, "late", timeout).await.is_err());
                }
                expired
            })
        })
        .collect();
    let mut expired = 0;
    for one in impatient {
        expired += one.await.unwrap();
    }
    is_over.store(true, Ordering::SeqCst);
    assert!(expired > 3_000, "{expired}");
    for one in siblings {
        assert!(one.await.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_rolling_restart_of_two_instances_fails_no_call() {
    let bounds =
        || listen::Config { drain_timeout: Duration::from_secs(2), ..listen::Config::default() };
    let mut servers = Vec::new();
    for _ in 0..2 {
        servers.push(Server::with(Probe::echo(), bounds(), Limits::default()).await);
    }
    let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
    let channel = peers(&addresses, config()).channel("probe");
    let is_over = Arc::new(AtomicBool::new(false));
    let made = Arc::new(AtomicUsize::new(0));
    let load = {
        let (channel, is_over, made) = (channel.clone(), Arc::clone(&is_over), Arc::clone(&made));
        tokio::spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                call(&channel, WRITE, "not safe to make again").await.unwrap();
                made.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    for server in servers {
        let before = made.load(Ordering::SeqCst);
        eventually("calls are made", || made.load(Ordering::SeqCst) > before + 50).await;
        let address = server.address;
        server.stop().await;
        let back = Server::at(address, Probe::echo(), bounds(), Limits::default()).await;
        let before = made.load(Ordering::SeqCst);
        eventually("calls are made", || made.load(Ordering::SeqCst) > before + 50).await;
        std::mem::forget(back);
    }
    is_over.store(true, Ordering::SeqCst);
    load.await.unwrap();
}

#[tokio::test]
async fn a_peer_that_comes_back_is_found_again() {
    let server = Server::start(Probe::echo()).await;
    let address = server.address;
    let open_for = Duration::from_millis(50);
    let config = Config { breaker_open_for: open_for, breaker_open_for_max: open_for, ..config() };
    let channel = peers(&[address], config).channel("probe");
    assert_eq!(call(&channel, WRITE, "hello").await.unwrap(), "hello");
    server.stop().await;
    for _ in 0..10 {
        assert_eq!(call(&channel, WRITE, "hello").await.unwrap_err().code(), Code::Unavailable);
    }
    let _back =
        Server::at(address, Probe::echo(), listen::Config::default(), Limits::default()).await;
    let until = Instant::now() + Duration::from_secs(2);
    while call(&channel, WRITE, "hello").await.is_err() {
        assert!(Instant::now() < until, "it was not found again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_is_not_a_grpc_server_is_unavailable() {
    let config_of_edge =
        listen::Config { protocol: listen::Protocol::Both, ..listen::Config::default() };
    let listener = listen::Listener::bind("127.0.0.1:0", config_of_edge).await.unwrap();
    let address = listener.address();
    let metrics = chassis::telemetry::Metrics::new();
    let page = chassis::admin::Admin::new(metrics.clone());
    let stop = tokio_util::sync::CancellationToken::new();
    tokio::spawn(async move { listener.serve("page", &metrics, page, stop).await });
    let status =
        call(&peers(&[address], config()).channel("probe"), WRITE, "hello").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);

    let names = std::collections::BTreeMap::from([("probe".to_owned(), "probe:50051".to_owned())]);
    assert!(chassis::Peers::check(&names).unwrap_err().to_string().contains("probe:50051"));
}

#[tokio::test]
async fn a_name_stands_for_what_it_resolves_to() {
    let server = Server::start(Probe::echo()).await;
    // Not an address as the standard library reads them, but one to the resolver.
    let address = format!("http://127.1:{}", server.address.port());
    let channel = chassis::Peers::new(
        crate::probe::contract(),
        chassis::Telemetry::off("caller"),
        chassis::Switchboard::new(),
        [("probe".to_owned(), address)].into(),
        crate::probe::nobody(),
    )
    .channel("probe");
    for _ in 0..20 {
        assert_eq!(call(&channel, WRITE, "hello").await.unwrap(), "hello");
    }
}
