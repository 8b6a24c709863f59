//! What a call costs: `cargo bench -p chassis --bench call`.
//!
//! The handler answers at once, so what is left is the transport: codecs alone,
//! then with both stacks in one process, then over TCP on loopback.
#![expect(clippy::disallowed_methods, reason = "what a bench spawns ends with its runtime")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot be set up ends")]
#![allow(dead_code, reason = "the fixture is shared with the tests, which use all of it")]

#[path = "../tests/transport/probe.rs"]
mod probe;

use std::{
    future::Future,
    io::Write as _,
    time::{Duration, Instant},
};

use chassis::{channel, serve::Limits};
use http::uri::PathAndQuery;
use probe::{Probe, READ, Server, WRITE, call, neighbours};
use tonic_prost::ProstCodec;

const ROUNDS: usize = 7;

/// The median time of one call, alone on one thread.
async fn median<F: Future<Output = ()>>(calls: u32, mut one: impl FnMut() -> F) -> Duration {
    for _ in 0..calls / 4 {
        one().await;
    }
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for _ in 0..calls {
            one().await;
        }
        rounds.push(began.elapsed() / calls);
    }
    rounds.sort();
    rounds[ROUNDS / 2]
}

async fn codecs(probe: &Probe) {
    let mut grpc = tonic::client::Grpc::new(probe.clone());
    let codec = ProstCodec::<String, String>::default();
    let request = tonic::Request::new("hello".to_owned());
    grpc.unary(request, PathAndQuery::from_static(WRITE), codec).await.unwrap();
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let probe = Probe::echo();
        let server = Server::start(probe.clone()).await;
        let near = neighbours(
            &[("probe", &probe.stack("probe", Limits::default()))],
            channel::Config::default(),
        );
        let (near, far) = (near.channel("probe"), server.channel());
        let mut out = std::io::stdout().lock();
        let mut say = |what: &str, took: Duration| {
            writeln!(out, "{what:<44} {:>8} ns", took.as_nanos()).unwrap();
            took
        };
        let base = say("codecs alone", median(20_000, || codecs(&probe)).await);
        for (what, path) in [("once only", WRITE), ("safe to retry", READ)] {
            let took =
                median(20_000, || async { drop(call(&near, path, "hello").await.unwrap()) }).await;
            say(&format!("in this process, {what}"), took);
            say(&format!("  of it the two stacks, {what}"), took.saturating_sub(base));
        }
        say(
            "over TCP",
            median(3_000, || async { drop(call(&far, WRITE, "hello").await.unwrap()) }).await,
        );
    });
}
