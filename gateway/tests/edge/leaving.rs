//! Clients that leave with requests in flight.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use http::StatusCode;
use serde_json::json;
use testkit::eventually;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{
    client::post,
    upstream::{Answer, Edge, Upstream},
};

/// Connections that are dropped together, and how often: what a load generator
/// does at the end of each run. tonic ends a connection at 20 resets of streams
/// that it has not looked at.
const LEAVING: usize = 64;
const ROUNDS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_drop_their_connections_harm_no_other() {
    let upstream = Upstream::start("library.proto").await;
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    upstream.on("/library.v1.Library/GetBook", move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        // Nobody who asks this has an answer.
        std::future::pending::<Result<Answer, tonic::Status>>()
    });
    upstream.unary("/library.v1.Library/Lend", |request, _| Ok(json!({ "name": request["name"] })));
    let edge = Edge::before(&upstream).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let siblings: Vec<_> = (0..4)
        .map(|number| {
            let (address, is_over) = (edge.address, Arc::clone(&is_over));
            tokio::spawn(async move {
                let mut made = 0;
                while !is_over.load(Ordering::SeqCst) {
                    // Not safe to make again: nothing hides a failure.
                    let name = format!("{number}/{made}");
                    let lent =
                        post(address, "/library.v1.Library/Lend", json!({ "name": name })).await;
                    assert_eq!(lent.status, StatusCode::OK, "after {made} calls: {lent:?}");
                    assert_eq!(lent.json["name"], name);
                    made += 1;
                }
                made
            })
        })
        .collect();
    let request = format!("GET /v1/shelves/1/books/2 HTTP/1.1\r\nHost: {}\r\n\r\n", edge.address);
    for round in 0..ROUNDS {
        let mut leaving = Vec::new();
        for _ in 0..LEAVING {
            let mut stream = TcpStream::connect(edge.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            leaving.push(stream);
        }
        // Some leave at once, and some when their call has begun.
        if round % 2 == 0 {
            let least = seen.load(Ordering::SeqCst) + LEAVING / 2;
            eventually(async || (seen.load(Ordering::SeqCst) >= least).then_some(())).await;
        }
    }
    is_over.store(true, Ordering::SeqCst);
    for sibling in siblings {
        assert!(sibling.await.unwrap() > 0);
    }
    edge.stop().await;
}
