//! The server stack.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use chassis::{Fault, Switchboard, channel, listen, serve::Limits};
use contracts::mesh::v1::ErrorReason;
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use tonic::{Code, Status};
use tower_service::Service as _;

use crate::probe::{
    Probe, READ, Server, WRITE, call, call_within, eventually, neighbours, peers, reason, send,
    watch,
};

/// Says when it is dropped.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Does what its request says: the cases that a caller must not be able to tell
/// apart by where the service runs.
fn obedient() -> Probe {
    Probe::new(async |text| match text.as_str() {
        "panic" => panic!("as told"),
        "forever" => std::future::pending().await,
        "refuse" | "stream3" => Err(Fault::failed_precondition(ErrorReason::Conflict)
            .message("no ünicode was harmed")
            .precondition("KIND", "subject", "description")
            .retry_after(Duration::from_secs(3))),
        "internal" => Err(Fault::internal().because("a secret of the store")),
        _ => Ok(text.to_uppercase()),
    })
}

#[tokio::test]
async fn a_peer_answers_alike_in_this_process_and_over_tcp() {
    let server = Server::start(obedient()).await;
    let remote = server.channel();
    let near = neighbours(&[("probe", &server.stack)], channel::Config::default()).channel("probe");
    for (path, text) in [
        (READ, "hello"),
        (WRITE, ""),
        (WRITE, "panic"),
        (WRITE, "refuse"),
        (READ, "internal"),
        (READ, "forever"),
    ] {
        let timeout = Duration::from_millis(if text == "forever" { 60 } else { 2_000 });
        let there = call_within(&remote, path, text, timeout).await;
        let here = call_within(&near, path, text, timeout).await;
        match (there, here) {
            (Ok(there), Ok(here)) => assert_eq!(there, here),
            (Err(there), Err(here)) => {
                assert_eq!(there.code(), here.code(), "{text}");
                assert_eq!(reason(&there), reason(&here), "{text}");
                assert!(text == "forever" || there.message() == here.message(), "{there} {here}");
                assert!(
                    text == "forever" || there.details() == here.details(),
                    "{there:?} {here:?}"
                );
                assert!(!format!("{there:?}{here:?}").contains("secret"));
            }
            (there, here) => panic!("{text}: {there:?} over TCP, {here:?} in this process"),
        }
    }
    for channel in [&remote, &near] {
        let (seen, status) = watch(channel, "stream").await;
        assert_eq!(seen, ["STREAM0", "STREAM1", "STREAM2"]);
        assert_eq!(status.unwrap().code(), Code::FailedPrecondition);
    }
    let unknown = "/mercat.nobody.v1.NobodyService/Nothing";
    for channel in [&remote, &near] {
        let status = call(channel, unknown, "hello").await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::Unimplemented, "METHOD_UNKNOWN")
        );
    }
}

#[tokio::test]
async fn a_panic_is_an_internal_error_and_nothing_else() {
    let server = Server::start(obedient()).await;
    let channel = server.channel();
    let status = call(&channel, WRITE, "panic").await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Internal, "INTERNAL"));
    assert!(!status.message().contains("as told"));
    assert_eq!(call(&channel, WRITE, "hello").await.unwrap(), "HELLO");
    assert_eq!(server.stack.in_flight(), 0);
}

#[tokio::test]
async fn an_expired_call_is_not_dispatched() {
    let dispatched = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&dispatched);
    let server = Server::start(Probe::new(move |text| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Ok(text) }
    }))
    .await;
    // As a stranger sends it: our own client stack would not.
    for timeout in ["0m", "00000000n"] {
        let mut request = http::Request::post(format!("http://{}{WRITE}", server.address))
            .body(tonic::body::Body::empty())
            .unwrap();
        request.headers_mut().insert("grpc-timeout", timeout.parse().unwrap());
        let response = server.stack.serve(request).await;
        assert_eq!(response.headers()["grpc-status"], "4");
    }
    assert_eq!(dispatched.load(Ordering::SeqCst), 0);

    let mut request = http::Request::post(WRITE).body(tonic::body::Body::empty()).unwrap();
    request.headers_mut().insert("grpc-timeout", "soon".parse().unwrap());
    assert_eq!(server.stack.serve(request).await.headers()["grpc-status"], "3");
}

#[tokio::test]
async fn a_handler_ends_when_its_deadline_does() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&dropped);
    let server = Server::start(Probe::new(move |_| {
        let dropped = Dropped(Arc::clone(&counted));
        async move {
            let _dropped = dropped;
            std::future::pending().await
        }
    }))
    .await;
    let began = Instant::now();
    let status = call_within(&server.channel(), WRITE, "hello", Duration::from_nanos(80_123_456))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    // Of what is left of a deadline somewhere, a person wants no nanoseconds.
    assert!(status.message().ends_with("ms"), "{status}");
    assert!((Duration::from_millis(70)..Duration::from_millis(500)).contains(&began.elapsed()));
    eventually("the handler is dropped", || dropped.load(Ordering::SeqCst) == 1).await;
    assert_eq!(server.stack.in_flight(), 0);
}

#[tokio::test]
async fn a_handler_ends_when_its_caller_goes_away() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&dropped);
    let server = Server::start(Probe::new(move |_| {
        let dropped = Dropped(Arc::clone(&counted));
        async move {
            let _dropped = dropped;
            std::future::pending().await
        }
    }))
    .await;
    let channel = server.channel();
    let open = tokio::spawn(async move { call(&channel, WRITE, "hello").await });
    eventually("the call is open", || server.stack.in_flight() == 1).await;
    open.abort();
    eventually("the handler is dropped", || dropped.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn a_stream_ends_when_its_deadline_does() {
    let server = Server::start(Probe::new(async |text| {
        if text == "m2" { std::future::pending().await } else { Ok(text) }
    }))
    .await;
    for channel in [
        server.channel(),
        neighbours(&[("probe", &server.stack)], channel::Config::default()).channel("probe"),
    ] {
        let (seen, status) = watch(&channel, "m").await;
        assert_eq!(seen, ["m0", "m1"]);
        assert_eq!(status.unwrap().code(), Code::DeadlineExceeded);
        let (_, status) = watch(&channel, "without a pause").await;
        assert_eq!(status.unwrap().code(), Code::DeadlineExceeded);
    }
    eventually("nothing is open", || server.stack.in_flight() == 0).await;
}

#[tokio::test]
async fn more_calls_than_the_bound_are_refused_at_once_and_told_when_to_come_again() {
    let limits = Limits { max_in_flight: 4, ..Limits::default() };
    let server = Server::with(obedient(), listen::Config::default(), limits).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        let channel = server.channel();
        open.push(tokio::spawn(async move { call(&channel, WRITE, "forever").await }));
    }
    eventually("four are open", || server.stack.in_flight() == 4).await;
    assert!(server.stack.idle().now_or_never().is_none());

    let began = Instant::now();
    let status = call(&server.channel(), WRITE, "hello").await.unwrap_err();

    assert!(began.elapsed() < Duration::from_millis(500));
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    assert!(Fault::from_status(&status).retry_delay().is_some());
    for call in open {
        call.abort();
    }
    server.stack.idle().await;
    assert_eq!(call(&server.channel(), WRITE, "hello").await.unwrap(), "HELLO");
}

#[tokio::test]
async fn every_hop_has_less_time_and_the_same_trace_and_token() {
    const OVERHEAD: Duration = Duration::from_millis(20);
    let config = channel::Config { deadline_overhead: OVERHEAD, ..channel::Config::default() };
    let tell = || {
        let call = chassis::call::current().expect("a handler serves a call");
        let token = call.authorization.as_ref().map(|token| token.to_str().unwrap().to_owned());
        let token = token.unwrap_or_default();
        format!("{} {} {token}", call.remaining().as_micros(), call.trace.trace_id_text())
    };
    let last = Server::start(Probe::new(move |_| std::future::ready(Ok(tell())))).await;
    // In the middle: once over TCP, once in this process.
    for onward in [
        peers(&[last.address], config.clone()).channel("probe"),
        neighbours(&[("probe", &last.stack)], config.clone()).channel("probe"),
    ] {
        let middle = Server::start(Probe::new(move |_| {
            let (onward, mine) = (onward.clone(), tell());
            async move { Ok(format!("{mine}\n{}", call(&onward, READ, "").await?)) }
        }))
        .await;
        let mut request = tonic::Request::new(String::new());
        request.set_timeout(Duration::from_secs(1));
        let sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let call = chassis::call::Call {
            deadline: tokio::time::Instant::now() + Duration::from_secs(1),
            trace: chassis::telemetry::TraceContext::parse(sent.as_bytes()).unwrap(),
            authorization: Some("Bearer mine".parse().unwrap()),
        };
        let channel = peers(&[middle.address], config.clone()).channel("probe");
        let told = chassis::call::scope(call, send(&channel, READ, request)).await.unwrap();

        let hops: Vec<Vec<&str>> = told.lines().map(|line| line.split(' ').collect()).collect();
        let left: Vec<u64> = hops.iter().map(|hop| hop[0].parse().unwrap()).collect();
        let overhead = u64::try_from(OVERHEAD.as_micros()).unwrap();
        assert!(left[0] <= 1_000_000 - overhead && left[1] + overhead <= left[0], "{told}");
        for hop in hops {
            assert_eq!(hop[1], "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_eq!(hop[2..], ["Bearer", "mine"]);
        }
    }
}

#[tokio::test]
async fn a_call_whose_time_is_over_does_not_leave() {
    let server = Server::start(Probe::echo()).await;
    let spent = chassis::call::Call::begin(Duration::from_millis(3));
    let status =
        chassis::call::scope(spent, async { call(&server.channel(), READ, "hello").await }).await;
    assert_eq!(status.unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_service_that_left_the_switchboard_is_called_over_the_network() {
    let server = Server::start(Probe::echo()).await;
    let switchboard = Switchboard::new();
    let elsewhere =
        Probe::new(async |_| Ok("in this process".to_owned())).stack("probe", Limits::default());
    switchboard.connect("probe", elsewhere);
    let peers = chassis::Peers::new(
        crate::probe::contract(),
        chassis::Telemetry::off("caller"),
        switchboard.clone(),
        [("probe".to_owned(), format!("http://{}", server.address))].into(),
        Arc::new(|| Some("identity".parse().unwrap())),
    );
    let channel = peers.channel("probe");
    assert_eq!(call(&channel, READ, "over TCP").await.unwrap(), "in this process");
    switchboard.disconnect("probe");
    assert_eq!(call(&channel, READ, "over TCP").await.unwrap(), "over TCP");
}

/// A service reads no codings, so that a few bytes cannot stand for many: what the
/// gateway passes on as it came goes off nowhere.
#[tokio::test]
async fn a_compressed_message_is_refused_unread() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let probe = Probe::new(move |text| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(text))
    });
    let server = Server::start(probe).await;
    let near = neighbours(&[("probe", &server.stack)], channel::Config::default()).channel("probe");
    // With a name for its coding, and with none.
    for (coding, code) in [
        (Some("gzip"), Code::Unimplemented),
        (Some("zstd"), Code::Unimplemented),
        (Some("identity"), Code::Internal),
        (None, Code::Internal),
    ] {
        for mut channel in [server.channel(), near.clone()] {
            let mut request = http::Request::post(WRITE)
                .header("content-type", "application/grpc")
                .header("te", "trailers");
            if let Some(coding) = coding {
                request = request.header("grpc-encoding", coding);
            }
            // Flags, length, and what would be a message if it were unpacked.
            let frame = [&[1, 0, 0, 0, 5][..], b"probe"].concat();
            let body = tonic::body::Body::new(http_body_util::Full::new(frame.into()));
            let response = channel.call(request.body(body).unwrap()).await.unwrap();
            let (parts, body) = response.into_parts();
            let trailers = body.collect().await.unwrap().trailers().cloned().unwrap_or_default();
            let status = Status::from_header_map(&parts.headers)
                .or_else(|| Status::from_header_map(&trailers))
                .unwrap();
            assert_eq!(status.code(), code, "{coding:?}: {status:?}");
        }
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}
