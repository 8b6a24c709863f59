//! How long a call may take, and what happens when nobody waits for it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::{net::TcpStream, sync::mpsc};

use super::{Gallery, SERVICE, fields};
use crate::client::request;

const PICTURE: &str = "/v1/pictures/p1";
/// What a method that states none is granted at most, where contracts are foreign.
const LONGEST: Duration = Duration::from_secs(60);

/// The time that the service was given.
async fn given(gallery: &Gallery, headers: &[(&str, &str)]) -> Duration {
    let heard = Arc::new(Mutex::new(String::new()));
    let note = Arc::clone(&heard);
    gallery.on("GetPicture", move |_, headers| {
        *note.lock().unwrap() = headers["grpc-timeout"].to_str().unwrap().to_owned();
        Ok(json!({}))
    });
    let reply = gallery.get(PICTURE, headers).await;
    assert!(reply.status.is_success(), "{}", reply.json);
    let text = heard.lock().unwrap().clone();
    let microseconds = text.strip_suffix('u').unwrap().parse().unwrap();
    Duration::from_micros(microseconds)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shortest_time_that_is_asked_for_is_passed_on_less_the_overhead() {
    let gallery = Gallery::open().await;
    let two_seconds = Duration::from_secs(2);
    for headers in [
        &[("grpc-timeout", "2S")][..],
        &[("connect-timeout-ms", "2000")],
        &[("x-request-timeout", "2")],
        &[("x-request-timeout", "2.0s")],
        &[("x-request-timeout", "3"), ("grpc-timeout", "2000m"), ("connect-timeout-ms", "4000")],
    ] {
        let given = given(&gallery, headers).await;
        let overhead = two_seconds.checked_sub(given).unwrap();
        let allowed = Duration::from_millis(5)..Duration::from_secs(1);
        assert!(allowed.contains(&overhead), "{headers:?}: {given:?}");
    }
    for headers in [&[("x-request-timeout", "1h")][..], &[]] {
        let given = given(&gallery, headers).await;
        assert!(given < LONGEST && given > LONGEST / 2, "{headers:?}: {given:?}");
    }
    for name in ["grpc-timeout", "connect-timeout-ms", "x-request-timeout"] {
        let refused = gallery.get(PICTURE, &[(name, "soon")]).await;
        let found = (refused.status.as_u16(), refused.reason(), fields(&refused));
        assert_eq!(found, (400, "HEADER_INVALID", vec![name]));
    }
    gallery.close().await;
}

/// Tells when the call it belongs to is dropped.
struct Dropped(mpsc::UnboundedSender<&'static str>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _nobody_listens = self.0.send("dropped");
    }
}

/// A service that never answers, and tells when it is asked and when it is left.
fn never_answer(gallery: &Gallery) -> mpsc::UnboundedReceiver<&'static str> {
    let (tell, told) = mpsc::unbounded_channel();
    gallery.upstream.on(&format!("{SERVICE}/GetPicture"), move |_| {
        let tell = tell.clone();
        async move {
            let _dropped = Dropped(tell.clone());
            tell.send("asked").unwrap();
            std::future::pending().await
        }
    });
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_runs_out_of_time_is_504_and_is_given_up() {
    let gallery = Gallery::open().await;
    let mut told = never_answer(&gallery);
    let late = gallery.get(PICTURE, &[("x-request-timeout", "200ms")]).await;
    assert_eq!((late.status.as_u16(), late.reason()), (504, "DEADLINE_EXCEEDED"));
    assert_eq!(told.recv().await, Some("asked"));
    assert_eq!(told.recv().await, Some("dropped"));
    let at_once = gallery.get(PICTURE, &[("x-request-timeout", "0")]).await;
    assert_eq!(at_once.status.as_u16(), 504);
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_nobody_waits_for_is_cancelled() {
    let gallery = Gallery::open().await;
    let mut told = never_answer(&gallery);
    let to = gallery.edge.address;
    let one: http::Request<Full<Bytes>> = request(to, "GET", PICTURE, &[], Bytes::new());

    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let answer = tokio::spawn(sender.send_request(one.clone()));
    assert_eq!(told.recv().await, Some("asked"));
    connection.abort();
    answer.abort();
    assert_eq!(told.recv().await, Some("dropped"), "the connection is gone");

    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let mut two = one;
    *two.uri_mut() = format!("http://{to}{PICTURE}").parse().unwrap();
    two.headers_mut().remove("host");
    let answer = tokio::spawn(sender.send_request(two));
    assert_eq!(told.recv().await, Some("asked"));
    answer.abort();
    assert_eq!(told.recv().await, Some("dropped"), "the stream is reset");
    drop(sender);
    connection.abort();
    gallery.close().await;
}
