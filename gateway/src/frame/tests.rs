//! Frames, however the bytes are cut.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body as _, Frame as Piece};
use http_body_util::{BodyExt as _, StreamBody};
use tonic::{Code, Status, body::Body};

use super::{
    answer::{self, Answer, Part},
    recode::{self, Bounds, Codec, Reader},
    reply,
    request::{self, Mishap},
    *,
};
use crate::compression::{self, Coding};

fn framed(flags: u8, message: &[u8]) -> Vec<u8> {
    let mut out = head(flags, message.len()).unwrap().to_vec();
    out.extend_from_slice(message);
    out
}

fn body(pieces: Vec<Result<Piece<Bytes>, Status>>) -> Body {
    Body::new(StreamBody::new(futures_util::stream::iter(pieces)))
}

fn data(pieces: &[&[u8]]) -> Body {
    body(pieces.iter().map(|piece| Ok(Piece::data(Bytes::copy_from_slice(piece)))).collect())
}

fn code_of(trailers: &HeaderMap) -> Code {
    Status::from_header_map(trailers).unwrap().code()
}

fn well() -> HeaderMap {
    HeaderMap::from_iter([(Status::GRPC_STATUS, HeaderValue::from_static("0"))])
}

#[test]
fn frames_come_out_whole_however_they_arrive() {
    let messages: [&[u8]; 4] = [b"one", b"", &[7; 300], b"the last"];
    let wire: Vec<u8> = messages.iter().flat_map(|message| framed(0, message)).collect();
    for size in 1..=wire.len() {
        let mut frames = Frames::new(300);
        let mut watch = Watch::new(300, false);
        let mut out = Vec::new();
        for piece in wire.chunks(size) {
            watch.see(piece).unwrap();
            frames.push(Bytes::copy_from_slice(piece));
            while let Some(frame) = frames.pull().unwrap() {
                out.push(frame.message);
            }
        }
        assert_eq!(out, messages, "in pieces of {size}");
        assert!(frames.is_empty() && watch.is_between());
        assert_eq!(watch.count(), 4);
    }
}

#[test]
fn pieces_pushed_before_others_were_taken_out_keep_their_order() {
    let mut frames = Frames::new(100);
    for piece in [framed(0, b"a"), framed(1, b"b"), framed(0, b"c")] {
        frames.push(piece.into());
    }
    let mut seen = Vec::new();
    while let Some(frame) = frames.pull().unwrap() {
        seen.push((frame.flags, frame.message));
    }
    assert_eq!(seen, [(0, "a".into()), (1, "b".into()), (0, "c".into())]);
}

#[test]
fn a_frame_that_is_whole_in_its_piece_is_not_copied() {
    let piece = Bytes::from(framed(0, b"as it came"));
    let mut frames = Frames::new(100);
    frames.push(piece.clone());
    let frame = frames.pull().unwrap().unwrap();
    assert_eq!(frame.message.as_ptr(), piece[HEAD_BYTES..].as_ptr());
}

#[test]
fn a_message_that_will_be_too_large_is_refused_at_its_head() {
    let head = head(0, 101).unwrap();
    let mut frames = Frames::new(100);
    frames.push(Bytes::copy_from_slice(&head));
    assert_eq!(frames.pull().unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(Watch::new(100, false).see(&head).unwrap_err().code(), Code::ResourceExhausted);
}

#[test]
fn flags_mean_only_what_the_request_said() {
    let see = |flags, is_coded| Watch::new(100, is_coded).see(&framed(flags, b"x"));
    assert!(see(0, false).is_ok() && see(0, true).is_ok() && see(1, true).is_ok());
    for (flags, is_coded) in [(1, false), (2, true), (0x80, true)] {
        assert_eq!(see(flags, is_coded).unwrap_err().code(), Code::Internal);
    }
}

#[test]
fn what_cannot_be_written_leaves_nothing_behind() {
    let mut out = b"before".to_vec();
    append(&mut out, 0, |out| {
        out.extend_from_slice(b"half");
        Err(Fault::internal())
    })
    .unwrap_err();
    assert_eq!(out, b"before");
    append(&mut out, 1, |out| {
        out.extend_from_slice(b"whole");
        Ok::<_, Fault>(())
    })
    .unwrap();
    assert_eq!(out, [b"before".as_slice(), &framed(1, b"whole")].concat());
}

#[tokio::test]
async fn one_message_is_one_message() {
    let one = |pieces: &[&[u8]]| request::one(data(pieces), Watch::new(10, false));
    let frame = framed(0, b"hello");
    for split in 0..frame.len() {
        let (left, right) = frame.split_at(split);
        let body = one(&[left, right]).await.unwrap();
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(10));
        assert_eq!(body.collect().await.unwrap().to_bytes(), frame);
    }
    let code = |read: Result<Body, Fault>| read.unwrap_err().code();
    assert_eq!(code(one(&[]).await), Code::Unimplemented);
    assert_eq!(code(one(&[&frame, &frame]).await), Code::Unimplemented);
    assert_eq!(code(one(&[&[frame.clone(), frame.clone()].concat()]).await), Code::Unimplemented);
    assert_eq!(code(one(&[&frame[..7]]).await), Code::InvalidArgument);
    assert_eq!(code(one(&[&frame[..3]]).await), Code::InvalidArgument);
    assert_eq!(code(one(&[&framed(0, &[0; 11])]).await), Code::ResourceExhausted);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_on_its_way_is_what_its_client_hears() {
    let mishap = Mishap::default();
    let bad = [framed(0, b"good"), framed(9, b"bad")].concat();
    let mut sent =
        request::passing(data(&[&bad[..9], &bad[9..]]), Watch::new(10, false), mishap.clone());
    // The service waits for a request that will never be whole.
    let answer = mishap.or(async {
        assert!(sent.frame().await.unwrap().is_ok());
        assert!(sent.frame().await.unwrap().is_err());
        assert!(sent.frame().await.is_none());
        std::future::pending::<Response<Body>>().await
    });
    let headers = answer.await.into_parts().0.headers;
    assert_eq!(code_of(&headers), Code::Internal);
}

#[tokio::test]
async fn a_client_that_does_not_send_its_request_is_not_waited_for() {
    tokio::time::pause();
    let mut headers = HeaderMap::new();
    headers.insert("grpc-timeout", HeaderValue::from_static("2S"));
    let never = std::future::pending::<Result<(), Fault>>();
    let read = request::within(Duration::from_secs(9), &mut headers, never).await;
    assert_eq!(read.unwrap_err().code(), Code::DeadlineExceeded);

    let slow = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(())
    };
    request::within(Duration::from_secs(9), &mut headers, slow).await.unwrap();
    // Timers may be late by a millisecond.
    let left: u32 =
        headers["grpc-timeout"].to_str().unwrap().trim_end_matches('u').parse().unwrap();
    assert!((1_498_000..=1_500_000).contains(&left), "{left} us");
}

#[tokio::test]
async fn an_answer_is_its_messages_and_then_its_trailers() {
    let small = {
        let mut small = Vec::new();
        compression::compress(Coding::Gzip, b"compressed", &mut small).unwrap();
        small
    };
    let mut headers = HeaderMap::new();
    headers.insert("grpc-encoding", HeaderValue::from_static("gzip"));
    let pieces = vec![
        Ok(Piece::data([framed(0, b"plain"), framed(1, &small)].concat().into())),
        Ok(Piece::trailers(well())),
    ];
    let mut answer = Answer::new(&headers, body(pieces), 100);
    for expected in ["plain", "compressed"] {
        assert!(matches!(answer.part().await, Part::Message(message) if message == expected));
    }
    assert!(matches!(answer.part().await, Part::End(trailers) if answer::is_ok(&trailers)));
}

#[tokio::test]
async fn an_answer_that_breaks_off_fails_whatever_came_before() {
    let half = framed(0, b"half")[..7].to_vec();
    let gone = || Err(Status::unavailable("gone"));
    let cases = [
        (vec![], Code::Unavailable),
        (vec![gone()], Code::Unavailable),
        (vec![Ok(Piece::data(half.clone().into()))], Code::Unavailable),
        (vec![Ok(Piece::data(half.into())), Ok(Piece::trailers(well()))], Code::Unavailable),
        (vec![Ok(Piece::data(framed(1, b"?").into()))], Code::Internal),
        (vec![Ok(Piece::data(framed(0, &[0; 11]).into()))], Code::ResourceExhausted),
        (vec![Ok(Piece::trailers(well()))], Code::Internal),
        (
            vec![
                Ok(Piece::data([framed(0, b"1"), framed(0, b"2")].concat().into())),
                Ok(Piece::trailers(well())),
            ],
            Code::Internal,
        ),
    ];
    for (at, (pieces, code)) in cases.into_iter().enumerate() {
        let answer = Answer::new(&HeaderMap::new(), body(pieces), 10);
        let trailers = answer.unary().await.unwrap_err();
        assert_eq!(code_of(&trailers), code, "case {at}");
    }
}

#[tokio::test]
async fn a_piece_full_of_bombs_goes_off_one_by_one() {
    let mut small = Vec::new();
    compression::compress(Coding::Zstd, &vec![0; 100_000], &mut small).unwrap();
    let piece = framed(COMPRESSED, &small).repeat(200);
    assert!(piece.len() < 20_000, "{}", piece.len());
    let pool = prost_reflect::DescriptorPool::decode(tonic_types::pb::FILE_DESCRIPTOR_SET).unwrap();
    let schema = transcode::Schema::lenient(&pool).0;
    let reader = Reader {
        message: schema.message("google.rpc.Status").unwrap(),
        schema: schema.into(),
        codec: Codec::Proto,
        coding: Some(Coding::Zstd),
        bounds: Bounds { request_bytes_max: 100_000, answer_bytes_max: 0, json_depth_max: 0 },
    };
    let mut body = recode::recoded(data(&[&piece]), reader, Mishap::default());
    let mut count = 0;
    while let Some(piece) = body.frame().await {
        let bytes = piece.unwrap().into_data().unwrap().len();
        assert!(bytes < 200_000, "{bytes} bytes were made of one piece");
        count += bytes / 100_000;
    }
    assert_eq!(count, 200);
}

#[tokio::test]
async fn a_unary_answer_has_its_length_unless_it_is_long() {
    let gathered = reply::gathered(data(&[b"one", b"", b"two"])).await;
    assert_eq!(gathered.size_hint().exact(), Some(6));
    assert_eq!(gathered.collect().await.unwrap().to_bytes(), "onetwo");

    let long = vec![7; 20 << 10];
    for pieces in [&[b"one", &long[..], b"two"][..], &[&long], &[&long[..10_000], &long[10_000..]]]
    {
        let passed = reply::gathered(data(pieces)).await;
        assert_eq!(passed.size_hint().exact(), None);
        assert_eq!(passed.collect().await.unwrap().to_bytes(), pieces.concat());
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_a_whole_one() {
    let broken = || Err(Status::unavailable("the service left"));
    for pieces in [vec![broken()], vec![Ok(Piece::data(Bytes::from_static(b"one"))), broken()]] {
        let error = reply::gathered(body(pieces)).await.collect().await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable);
    }
}
