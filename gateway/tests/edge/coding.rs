//! Compressed requests and answers, as plain HTTP has them.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use serde_json::json;

use crate::{
    client::{Reply, request, send},
    streams::{collects, first_piece, relay},
    upstream::Edge,
};

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn gunzip(data: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(data).read_to_string(&mut text).unwrap();
    text
}

async fn ask(edge: &Edge, target: &str, headers: &[(&str, &str)]) -> Reply {
    send(edge.address, request(edge.address, "GET", target, headers, "")).await
}

async fn collect(edge: &Edge, coding: &str, body: impl Into<Bytes>) -> Reply {
    let headers = [("content-type", "application/json"), ("content-encoding", coding)];
    let target = "/v1/rooms/a/notes:collect";
    send(edge.address, request(edge.address, "POST", target, &headers, body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_compressed_for_those_who_take_it() {
    let upstream = relay().await;
    upstream.unary("/streams.v1.Relay/Get", |request, _| {
        let bytes = request["count"].as_u64().unwrap_or(2_000);
        Ok(json!({ "text": "x".repeat(usize::try_from(bytes).unwrap()) }))
    });
    let edge = Edge::before(&upstream).await;
    let plain = ask(&edge, "/v1/note", &[]).await;
    assert_eq!(plain.header("content-encoding"), "");

    let small = ask(&edge, "/v1/note", &[("accept-encoding", "gzip")]).await;
    assert_eq!(small.header("content-encoding"), "gzip");
    assert_eq!(small.header("content-length"), small.body.len().to_string());
    assert!(small.header("vary").contains("accept-encoding"), "{small:?}");
    assert!(small.body.len() < plain.body.len() / 10);
    assert_eq!(gunzip(&small.body).as_bytes(), plain.body);
    for coding in ["zstd", "br", "deflate"] {
        let coded = ask(&edge, "/v1/note", &[("accept-encoding", coding)]).await;
        assert_eq!(coded.header("content-encoding"), coding);
        assert!(coded.body.len() < plain.body.len() / 10, "{coding}");
    }
    // Larger than what is compressed at once.
    let large = ask(&edge, "/v1/note?count=1000000", &[("accept-encoding", "gzip")]).await;
    assert_eq!(gunzip(&large.body).len(), r#"{"text":""}"#.len() + 1_000_000);

    for (target, accept) in
        [("/v1/note?count=20", "gzip"), ("/v1/note", "gzip;q=0"), ("/v1/note", "lzw")]
    {
        let plain = ask(&edge, target, &[("accept-encoding", accept)]).await;
        assert_eq!(plain.header("content-encoding"), "", "{target} {accept}");
    }
    let failure = ask(&edge, "/v1/nothing", &[("accept-encoding", "gzip")]).await;
    assert_eq!(failure.status, StatusCode::NOT_FOUND);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_stream_does_not_wait_for_more() {
    let upstream = relay().await;
    upstream.server_stream("/streams.v1.Relay/Watch", |_| {
        stream::once(async { Ok(json!({ "text": "tic" })) }).chain(stream::pending())
    });
    let edge = Edge::before(&upstream).await;
    for accept in ["text/event-stream", "application/x-ndjson", "application/json"] {
        let headers = [("accept", accept), ("accept-encoding", "gzip")];
        let piece = first_piece(edge.address, "/v1/notes:watch", &headers).await;
        let mut text = [0; 256];
        let read = GzDecoder::new(&piece[..]).read(&mut text).unwrap();
        let text = std::str::from_utf8(&text[..read]).unwrap();
        assert!(text.contains(r#"{"text":"tic"}"#), "{accept}: {text}");
    }
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_request_is_read_within_its_bounds() {
    let upstream = relay().await;
    collects(&upstream);
    let config = json!({
        "access": "public", "decoded_bytes_max": 3_000_000, "decoded_ratio_max": 50,
    });
    let edge = Edge::with(&[&upstream], config).await;
    let notes = br#"[{"text":"x"},{"text":"y"}]"#;
    for coding in ["gzip", "GZIP", "x-gzip"] {
        let read = collect(&edge, coding, gzip(notes)).await;
        assert_eq!(read.json, json!({ "count": "2", "text": "ax,y" }), "{coding}: {read:?}");
    }
    assert_eq!(collect(&edge, "identity", &notes[..]).await.status, StatusCode::OK);

    for coding in ["lzw", "gzip, zstd", "?"] {
        let refused = collect(&edge, coding, &notes[..]).await;
        assert_eq!(refused.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{coding}");
        assert_eq!(refused.header("accept-encoding"), "zstd, gzip, br, deflate");
    }
    let damaged = collect(&edge, "gzip", &notes[..]).await;
    assert_eq!(damaged.status, StatusCode::BAD_REQUEST, "{damaged:?}");
    let whole = gzip(notes);
    let cut = collect(&edge, "gzip", whole[..whole.len() - 4].to_vec()).await;
    assert_eq!(cut.status, StatusCode::BAD_REQUEST, "{cut:?}");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_is_refused_before_it_goes_off() {
    let upstream = relay().await;
    collects(&upstream);
    upstream.unary("/streams.v1.Relay/Get", |_, _| Ok(json!({})));
    let config = json!({
        "access": "public", "decoded_bytes_max": 3_000_000, "decoded_ratio_max": 50,
        "body_bytes_max": 8_000_000,
    });
    let edge = Edge::with(&[&upstream], config).await;
    // Two megabytes in two kilobytes, and four that are not so dense.
    let dense = gzip(&vec![b' '; 2_000_000]);
    let mut state: u32 = 7;
    let noise: Vec<u8> = (0..4_000_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if state >> 28 == 0 { b'\n' } else { b' ' }
        })
        .collect();
    for (bomb, said) in [(dense, "50 times"), (gzip(&noise), "3000000 bytes")] {
        for target in ["/v1/rooms/a/notes:collect", "/streams.v1.Relay/Get"] {
            let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
            let body = request(edge.address, "POST", target, &headers, bomb.clone());
            let refused = send(edge.address, body).await;
            assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE, "{target} {refused:?}");
            let text = refused.json["error"]["message"].as_str().unwrap();
            assert!(text.contains(said), "{text}");
        }
    }
    edge.stop().await;
}
