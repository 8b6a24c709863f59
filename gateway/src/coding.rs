//! Content codings of plain HTTP, in both directions (RFC 9110, sections 8.4,
//! 12.5.3 and 15.5.16). gRPC, gRPC-Web and Connect have codings of their own.
//!
//! An answer is compressed if the client takes a coding, the content is of a type
//! that shrinks, and it is long enough to be worth it. A stream is flushed with
//! every piece, so that nothing waits for more. A request that does not say
//! `Accept-Encoding` costs the look for that header.
//!
//! A compressed request is read within three bounds: what it may stand for, how
//! many times its own length that may be, and what of it may come out in one go.

use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use chassis::Fault;
use contracts::mesh::v1::ErrorReason;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, Full, StreamBody};
use tonic::{Status, body::Body};

use crate::{
    compression::{Coding, Decoder, Encoder, Unreadable, WORTH_BYTES, compress},
    config::Config,
};

/// An answer of at most this many bytes is compressed at once, and has a length.
const WHOLE_BYTES_MAX: usize = 256 << 10;
/// What is compressed before others have their turn.
const PIECE_BYTES: usize = 64 << 10;
/// What is decompressed before its bounds are looked at.
const STEP_BYTES: usize = 256;
/// A request may stand for this many bytes whatever its own length.
const RATIO_FREE_BYTES: usize = 1 << 20;
/// What comes out in one go of a body whose length is not known, before its ratio
/// can be looked at: as large as the windows of br are by default (2^22). One of a
/// body that has come so far that its ratio allows it may be larger.
const SUDDEN_BYTES: usize = 4 << 20;
/// What a request may be compressed with.
const TAKEN: HeaderValue = HeaderValue::from_static("zstd, gzip, br, deflate");

/// The bounds of compressed requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    bytes_max: usize,
    ratio_max: usize,
}

/// What the client takes of codings, if it says anything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accepted(Option<Arc<[HeaderValue]>>);

/// A body that is compressed as it passes.
struct Encoding {
    body: Body,
    encoder: Option<Encoder>,
    rest: Bytes,
}

/// A body that is decompressed as it passes.
struct Decoding {
    body: Body,
    decoder: Option<Decoder>,
    bounds: Bounds,
    /// What may come out in one go whatever was taken.
    sudden_max: usize,
    rest: Bytes,
    /// Whether what was taken stands for more than was made of it.
    is_more: bool,
    taken: usize,
    made: usize,
}

// === impl Bounds ===

impl From<&Config> for Bounds {
    fn from(config: &Config) -> Self {
        Self { bytes_max: config.decoded_bytes_max, ratio_max: config.decoded_ratio_max }
    }
}

impl Bounds {
    /// What a body of this length may stand for by its ratio.
    fn most(self, length: usize) -> usize {
        length.saturating_mul(self.ratio_max).max(RATIO_FREE_BYTES)
    }
}

// === requests ===

/// A request whose body is read as what it stands for.
///
/// # Errors
///
/// A coding that is not taken, with the response that says which are.
pub(crate) fn decode(request: Request<Body>, bounds: Bounds) -> Result<Request<Body>, Fault> {
    if !request.headers().contains_key(header::CONTENT_ENCODING) {
        return Ok(request);
    }
    let (mut parts, body) = request.into_parts();
    let mut named = parts
        .headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"));
    let body = match (named.next(), named.next()) {
        (None, _) => body,
        (Some(name), None) => {
            let coding = Coding::named(name).ok_or_else(|| unsupported(name))?;
            let decoder = Decoder::new(coding, bounds.bytes_max).map_err(|why| unreadable(&why))?;
            decoding(body, decoder, bounds)
        }
        (Some(_), Some(_)) => return Err(unsupported("more than one coding")),
    };
    parts.headers.remove(header::CONTENT_ENCODING);
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok(Request::from_parts(parts, body))
}

/// Says what would have been taken.
pub(crate) fn offer(headers: &mut HeaderMap) {
    headers.insert(header::ACCEPT_ENCODING, TAKEN);
}

fn decoding(body: Body, decoder: Decoder, bounds: Bounds) -> Body {
    let length = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let source = Decoding {
        body,
        decoder: Some(decoder),
        bounds,
        sudden_max: length.map_or(SUDDEN_BYTES, |length| bounds.most(length)),
        rest: Bytes::new(),
        is_more: false,
        taken: 0,
        made: 0,
    };
    let pieces = stream::unfold(source, |mut source| async move {
        let piece = source.next().await?;
        Some((piece.map(Frame::data), source))
    });
    Body::new(StreamBody::new(pieces))
}

impl Decoding {
    /// The next piece; none behind a failure.
    async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        let mut out = Vec::new();
        while out.is_empty() {
            let mut decoder = self.decoder.take()?;
            if self.rest.is_empty() && !self.is_more {
                match self.body.frame().await {
                    Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                    Some(Err(status)) => return Some(Err(status)),
                    None => {
                        let finished = decoder.finish();
                        return finished.err().map(|why| Err(unreadable(&why).into()));
                    }
                }
            }
            while (self.is_more || !self.rest.is_empty()) && out.len() < PIECE_BYTES {
                let piece = self.rest.get(..STEP_BYTES).unwrap_or(&self.rest);
                let before = out.len();
                let taken = self.taken.saturating_add(piece.len());
                decoder.within(self.bounds.most(taken).max(self.sudden_max));
                let step = match decoder.step(piece, &mut out) {
                    Ok(step) => step,
                    Err(why) => return Some(Err(unreadable(&why).into())),
                };
                self.rest.advance(step.taken);
                self.is_more = step.is_more;
                self.taken = self.taken.saturating_add(step.taken);
                self.made = self.made.saturating_add(out.len() - before);
                if self.made > self.bounds.most(self.taken) {
                    return Some(Err(too_dense(self.bounds.ratio_max).into()));
                }
            }
            self.decoder = Some(decoder);
        }
        Some(Ok(out.into()))
    }
}

// === answers ===

impl Accepted {
    /// What a request says.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        if !headers.contains_key(header::ACCEPT_ENCODING) {
            return Self(None);
        }
        Self(Some(headers.get_all(header::ACCEPT_ENCODING).iter().cloned().collect()))
    }

    /// The coding that the client likes best, and the edge among those; `None` for
    /// none at all.
    fn choose(&self) -> Option<Coding> {
        let mut any = None;
        let mut identity = None;
        let mut named: Vec<(Coding, u16)> = Vec::new();
        let values = self.0.iter().flat_map(|values| values.iter());
        for item in values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','))
        {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let quality = parts
                .filter_map(|part| part.split_once('='))
                .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
                .map_or(1_000, |(_, quality)| thousandths(quality.trim()));
            match Coding::named(name) {
                Some(coding) => named.push((coding, quality)),
                None if name == "*" => any = Some(quality),
                None if name.eq_ignore_ascii_case("identity") => identity = Some(quality),
                None => {}
            }
        }
        let quality = |coding: Coding| {
            let named = named.iter().find(|(named, _)| *named == coding);
            named.map(|(_, quality)| *quality).or(any).unwrap_or(0)
        };
        let best = Coding::ALL.into_iter().rev().max_by_key(|coding| quality(*coding))?;
        let wanted = quality(best);
        (wanted > 0 && wanted >= identity.unwrap_or(0)).then_some(best)
    }

    /// Compresses an answer, if that is of use.
    pub(crate) async fn encode(&self, response: Response<Body>) -> Response<Body> {
        if self.0.is_none() || !is_worth_it(&response) {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        vary(&mut parts.headers);
        let Some(coding) = self.choose() else { return Response::from_parts(parts, body) };
        let length = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
        let body = match length {
            Some(length) if length <= WHOLE_BYTES_MAX => {
                let whole = match body.collect().await {
                    Ok(collected) => collected.to_bytes(),
                    Err(status) => {
                        let broken =
                            StreamBody::new(stream::iter([Err::<Frame<Bytes>, _>(status)]));
                        return Response::from_parts(parts, Body::new(broken));
                    }
                };
                let mut out = Vec::with_capacity(whole.len() / 2);
                match compress(coding, &whole, &mut out) {
                    Ok(()) if out.len() < whole.len() => Body::new(Full::new(Bytes::from(out))),
                    _ => return Response::from_parts(parts, Body::new(Full::new(whole))),
                }
            }
            _ => match Encoder::new(coding) {
                Ok(encoder) => encoding(body, encoder),
                Err(_) => return Response::from_parts(parts, body),
            },
        };
        let headers = &mut parts.headers;
        headers.insert(header::CONTENT_ENCODING, coding.value());
        headers.remove(header::CONTENT_LENGTH);
        // A part of what is compressed on the way cannot be asked for.
        headers.remove(header::ACCEPT_RANGES);
        tag(headers, coding);
        Response::from_parts(parts, body)
    }
}

/// Whether an answer can shrink, and enough of it.
fn is_worth_it(response: &Response<Body>) -> bool {
    let headers = response.headers();
    let is_whole = !matches!(
        response.status(),
        StatusCode::PARTIAL_CONTENT
            | StatusCode::NO_CONTENT
            | StatusCode::NOT_MODIFIED
            | StatusCode::SWITCHING_PROTOCOLS
    );
    let is_free = !headers.contains_key(header::CONTENT_ENCODING)
        && !headers
            .get(header::CACHE_CONTROL)
            .is_some_and(|said| said.to_str().is_ok_and(|said| said.contains("no-transform")));
    let length = response.body().size_hint().exact();
    let is_long =
        length.is_none_or(|length| usize::try_from(length).unwrap_or(usize::MAX) >= WORTH_BYTES);
    is_whole && is_free && is_long && headers.get(header::CONTENT_TYPE).is_some_and(shrinks)
}

/// Whether content of a type is text or a message, and no picture or archive, which
/// are compressed already.
fn shrinks(content_type: &HeaderValue) -> bool {
    let Ok(content_type) = content_type.to_str() else { return false };
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let media_type = media_type.to_ascii_lowercase();
    media_type.starts_with("text/")
        || media_type.ends_with("+json")
        || media_type.ends_with("+xml")
        || matches!(
            media_type.as_str(),
            "application/json"
                | "application/x-ndjson"
                | "application/x-protobuf"
                | "application/javascript"
                | "application/xml"
                | "application/yaml"
                | "application/wasm"
        )
}

/// Another client may get another form.
fn vary(headers: &mut HeaderMap) {
    let said = headers.get_all(header::VARY).iter().any(|value| {
        value.to_str().is_ok_and(|said| said.to_ascii_lowercase().contains("accept-encoding"))
    });
    if !said {
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// A compressed answer is another representation: a strong tag says which.
fn tag(headers: &mut HeaderMap, coding: Coding) {
    let Some(tag) = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()) else { return };
    let Some(opaque) = tag.strip_suffix('"').filter(|tag| tag.starts_with('"')) else { return };
    if let Ok(tag) = HeaderValue::try_from(format!("{opaque}+{}\"", coding.name())) {
        headers.insert(header::ETAG, tag);
    }
}

fn encoding(body: Body, encoder: Encoder) -> Body {
    let source = Encoding { body, encoder: Some(encoder), rest: Bytes::new() };
    let pieces = stream::unfold(source, |mut source| async move {
        let piece = source.next().await?;
        Some((piece.map(Frame::data), source))
    });
    Body::new(StreamBody::new(pieces))
}

impl Encoding {
    /// The next piece. A body that breaks off is not given an end.
    async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        let mut out = Vec::new();
        while out.is_empty() {
            let mut encoder = self.encoder.take()?;
            if self.rest.is_empty() {
                match self.body.frame().await {
                    Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                    Some(Err(status)) => return Some(Err(status)),
                    None => {
                        let ended = encoder.finish(&mut out);
                        return match ended {
                            Ok(()) => Some(Ok(out.into())),
                            Err(error) => Some(Err(Fault::internal().because(error).into())),
                        };
                    }
                }
            }
            let piece = self.rest.slice(..self.rest.len().min(PIECE_BYTES));
            self.rest.advance(piece.len());
            let written = match piece.is_empty() {
                true => Ok(()),
                // What is said is to be read now, and not when more was said.
                false => encoder.write(&piece, &mut out).and_then(|()| encoder.flush(&mut out)),
            };
            if let Err(error) = written {
                return Some(Err(Fault::internal().because(error).into()));
            }
            self.encoder = Some(encoder);
        }
        Some(Ok(out.into()))
    }
}

/// `0.5` is 500. What is no quality counts as none given.
fn thousandths(text: &str) -> u16 {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_number = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "0" if is_number => format!("{decimals:0<3}").parse().unwrap_or(1_000),
        _ => 1_000,
    }
}

// === faults ===

fn unsupported(name: &str) -> Fault {
    Fault::invalid_argument(ErrorReason::MediaTypeUnsupported)
        .message(format!("a body with the content coding {name} is not read here"))
        .violation("content-encoding", "must be one of zstd, gzip, br and deflate, or absent")
}

fn unreadable(why: &Unreadable) -> Fault {
    match why {
        Unreadable::TooLarge { .. } => Fault::resource_exhausted(ErrorReason::MessageTooLarge)
            .message(format!("the body is too large: {why}")),
        Unreadable::TooSudden { .. } => Fault::resource_exhausted(ErrorReason::MessageTooLarge)
            .message(format!(
                "the body is too dense: {why}; say its content-length, or give br a window of 22 bits"
            )),
        Unreadable::Broken(_) | Unreadable::CutShort(_) => Fault::invalid_argument(ErrorReason::MalformedMessage)
            .message(format!("the body is damaged: {why}"))
            .violation("content-encoding", "must say how the body is compressed"),
    }
}

fn too_dense(most: usize) -> Fault {
    Fault::resource_exhausted(ErrorReason::MessageTooLarge)
        .message(format!("the body stands for more than {most} times its own length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bomb_goes_off_in_small_pieces_and_no_further_than_its_ratio() {
        let bomb = vec![0; 16 << 20];
        for coding in Coding::ALL {
            let mut small = Vec::new();
            compress(coding, &bomb, &mut small).unwrap();
            for ratio_max in [usize::MAX, 50] {
                let bounds = Bounds { bytes_max: 16 << 20, ratio_max };
                let decoder = Decoder::new(coding, bounds.bytes_max).unwrap();
                let body = Body::new(Full::new(Bytes::from(small.clone())));
                let mut body = decoding(body, decoder, bounds);
                let (mut made, mut is_whole) = (0, true);
                while let Some(piece) = body.frame().await {
                    let Ok(piece) = piece else {
                        is_whole = false;
                        break;
                    };
                    let bytes = piece.into_data().unwrap().len();
                    assert!(bytes <= 2 * PIECE_BYTES, "{coding:?} made {bytes} bytes at once");
                    made += bytes;
                }
                assert_eq!(is_whole, ratio_max == usize::MAX, "{coding:?}");
                let most = if is_whole { bomb.len() } else { RATIO_FREE_BYTES };
                assert!(made <= most, "{coding:?} made {made} bytes");
            }
        }
    }

    #[tokio::test]
    async fn a_body_whose_length_is_known_is_not_begun_with_if_it_must_be_too_dense() {
        let params = brotli::enc::BrotliEncoderParams {
            quality: 4,
            ..brotli::enc::BrotliEncoderParams::default()
        };
        let mut writer = brotli::CompressorWriter::with_params(Vec::new(), 4_096, &params);
        std::io::Write::write_all(&mut writer, &vec![0; 4 << 20]).unwrap();
        let small = Bytes::from(writer.into_inner());
        for (ratio_max, is_read) in [(usize::MAX, true), (50, false)] {
            let request = Request::builder()
                .header(header::CONTENT_ENCODING, "br")
                .body(Body::new(Full::new(small.clone())))
                .unwrap();
            let bounds = Bounds { bytes_max: 64 << 20, ratio_max };
            let mut body = decode(request, bounds).unwrap().into_body();
            assert_eq!(body.frame().await.unwrap().is_ok(), is_read, "{ratio_max}");
        }
    }

    /// A body of br in pieces, with a window as large as it can be.
    fn long_windowed(data: &[u8]) -> Vec<Bytes> {
        let params = brotli::enc::BrotliEncoderParams {
            quality: 5,
            lgwin: 24,
            ..brotli::enc::BrotliEncoderParams::default()
        };
        let mut writer = brotli::CompressorWriter::with_params(Vec::new(), 4_096, &params);
        std::io::Write::write_all(&mut writer, data).unwrap();
        writer.into_inner().chunks(4_096).map(Bytes::copy_from_slice).collect()
    }

    /// Reads a body of br whose length is not said: how much came out, and what it was
    /// refused with.
    async fn read_unsaid(pieces: Vec<Bytes>) -> (usize, Option<Status>) {
        let pieces = pieces.into_iter().map(|piece| Ok::<_, Status>(Frame::data(piece)));
        let request = Request::builder()
            .header(header::CONTENT_ENCODING, "br")
            .body(Body::new(StreamBody::new(stream::iter(pieces))))
            .unwrap();
        let bounds = Bounds { bytes_max: 64 << 20, ratio_max: 100 };
        let mut body = decode(request, bounds).unwrap().into_body();
        let mut made = 0;
        while let Some(piece) = body.frame().await {
            match piece {
                Ok(piece) => made += piece.into_data().unwrap().len(),
                Err(status) => return (made, Some(status)),
            }
        }
        (made, None)
    }

    #[tokio::test]
    async fn a_body_whose_length_is_not_known_does_not_fill_a_large_window_at_once() {
        let (made, refused) = read_unsaid(long_windowed(&vec![0; 16 << 20])).await;
        let refused = refused.unwrap();
        assert_eq!(made, 0, "{refused}");
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        assert!(refused.message().contains("content-length"), "{refused}");
    }

    #[tokio::test]
    async fn a_window_may_be_as_large_as_what_came_before_allows() {
        // Four megabytes that hardly shrink earn the window for those that do.
        let mut state: u32 = 7;
        let mut data: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .take(3 << 20)
        .collect();
        data.resize(15 << 20, 0);
        assert_eq!(read_unsaid(long_windowed(&data)).await.0, data.len());
    }

    #[test]
    fn the_client_gets_the_coding_it_likes_best() {
        for (accept, coding) in [
            ("gzip", Some(Coding::Gzip)),
            ("GZIP, deflate, br, zstd", Some(Coding::Zstd)),
            ("gzip, deflate, br", Some(Coding::Gzip)),
            ("gzip;q=0.5, br;q=0.8", Some(Coding::Brotli)),
            ("*", Some(Coding::Zstd)),
            ("*;q=0.5, zstd;q=0", Some(Coding::Gzip)),
            ("identity, gzip;q=0.5", None),
            ("identity;q=0.1, gzip;q=0.5", Some(Coding::Gzip)),
            ("gzip;q=0", None),
            ("identity", None),
            ("compress, lzw", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, accept.parse().unwrap());
            assert_eq!(Accepted::of(&headers).choose(), coding, "{accept}");
        }
    }

    #[test]
    fn what_is_compressed_already_is_left_alone() {
        let shrinks = |kind: &'static str| shrinks(&HeaderValue::from_static(kind));
        for kind in ["application/json", "text/event-stream", "Text/HTML; charset=utf-8"] {
            assert!(shrinks(kind), "{kind}");
        }
        for kind in ["image/png", "application/zip", "application/octet-stream", "video/mp4"] {
            assert!(!shrinks(kind), "{kind}");
        }
    }
}
