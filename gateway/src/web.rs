//! gRPC-Web, which browsers can speak: gRPC with its trailers in a last frame of
//! the body, as bytes or in base64, over HTTP/1.1 or HTTP/2.
//!
//! Frames pass as they are, both ways. `application/grpc-web-text` is read in
//! base64 that may be padded anywhere and cut anywhere, and every piece of an
//! answer is padded by itself, so that a client can read it at once.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use bytes::Bytes;
use chassis::Fault;
use contracts::mesh::v1::ErrorReason;
use http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use http_body::{Body as HttpBody, Frame as Piece};
use tonic::{Status, body::Body};

use crate::{
    config::Config,
    frame::{self, answer, recode::Codec, reply::Ending},
    grpc::{self, Called, Caller, GRPC, Input},
    metadata,
    serving::Serving,
};

/// The media type of gRPC-Web, which may go on with `-text`, `+proto` or `+json`.
pub(crate) const MEDIA_TYPE: &str = "application/grpc-web";
/// The media types, as their answers have them.
const BINARY: HeaderValue = HeaderValue::from_static("application/grpc-web+proto");
const BINARY_JSON: HeaderValue = HeaderValue::from_static("application/grpc-web+json");
const TEXT: HeaderValue = HeaderValue::from_static("application/grpc-web-text+proto");
/// The flag of the frame that holds the trailers.
const TRAILERS: u8 = 0x80;
/// Bytes and letters of base64 that belong together.
const QUANTUM: usize = 4;

/// Answers gRPC-Web.
#[derive(Debug, Clone)]
pub(crate) struct Web {
    caller: Caller,
}

/// What a client speaks, and what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Form {
    codec: Codec,
    reads_text: bool,
    writes_text: bool,
}

/// A body in base64, as bytes.
struct Text {
    body: Body,
    decoder: Decoder,
    is_over: bool,
}

/// Reads base64 piece by piece.
#[derive(Debug, Default)]
struct Decoder {
    /// Letters whose quantum is not whole.
    begun: [u8; QUANTUM],
    length: usize,
}

// === impl Web ===

impl Web {
    pub(crate) fn new(config: &Config) -> Self {
        Self { caller: Caller::new(config) }
    }

    pub(crate) async fn answer(
        &self,
        serving: &Arc<Serving>,
        request: Request<Body>,
    ) -> Response<Body> {
        let Some(form) = Form::of(request.headers()) else {
            return grpc::unsupported(
                grpc::media_type(request.headers()),
                "application/grpc-web or application/grpc-web-text, with +proto or +json",
                &BINARY,
            );
        };
        if let Err(refused) = grpc::check_post(request.method(), &form.media_type()) {
            return *refused;
        }
        let mut request =
            if form.reads_text { request.map(|body| Body::new(Text::new(body))) } else { request };
        // What the service gets is a gRPC request, by HTTP/2.
        *request.version_mut() = Version::HTTP_2;
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, GRPC);
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        for name in [header::CONTENT_LENGTH, header::ACCEPT, header::ACCEPT_ENCODING] {
            headers.remove(name);
        }
        headers.remove("x-grpc-web");

        let mut response = match serving.schema.method(request.uri().path()) {
            // Of the edge's own, or unknown: the router knows.
            None => {
                let response = serving.stack.serve(request).await;
                plain(Called { response, mishap: None }, form)
            }
            Some(method) => {
                let input = match form.codec {
                    Codec::Proto => Input::Plain { is_coded: answer::is_coded(request.headers()) },
                    Codec::Json => self.caller.json_input(serving, method, request.headers_mut()),
                };
                let called = self.caller.call(serving, method, request, input).await;
                let ending = Ending::Web { is_text: form.writes_text };
                let response = self.caller.reply(serving, method, called, form.codec, ending);
                if method.is_server_streaming() {
                    response
                } else {
                    let (parts, body) = response.into_parts();
                    Response::from_parts(parts, frame::reply::gathered(body).await)
                }
            }
        };
        let headers = response.headers_mut();
        metadata::withhold(headers);
        headers.insert(header::CONTENT_TYPE, form.media_type());
        response
    }
}

/// An answer whose messages pass as they are.
fn plain(called: Called, form: Form) -> Response<Body> {
    let Called { response, mishap } = called;
    if response.headers().contains_key(Status::GRPC_STATUS) {
        return response;
    }
    response.map(|body| {
        let ending = Ending::Web { is_text: form.writes_text };
        frame::reply::body(frame::reply::Messages::Plain(body), ending, mishap)
    })
}

// === impl Form ===

impl Form {
    /// By `Content-Type`, and by `Accept` if that names one of the two forms.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let rest = grpc::after(grpc::media_type(headers), MEDIA_TYPE)?;
        let (reads_text, rest) = match grpc::after(rest, "-text") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let accepted = headers
            .get(header::ACCEPT)
            .and_then(|accept| grpc::after(accept.to_str().ok()?.trim_start(), MEDIA_TYPE));
        Some(Self {
            codec: grpc::suffix(rest)?,
            reads_text,
            writes_text: accepted.map_or(reads_text, |rest| grpc::after(rest, "-text").is_some()),
        })
    }

    fn media_type(self) -> HeaderValue {
        match (self.writes_text, self.codec) {
            (true, Codec::Proto) => TEXT,
            (true, Codec::Json) => HeaderValue::from_static("application/grpc-web-text+json"),
            (false, Codec::Proto) => BINARY,
            (false, Codec::Json) => BINARY_JSON,
        }
    }
}

// === writing ===

/// The frame that ends an answer: its trailers as a block of HTTP/1.1 headers.
pub(crate) fn trailers_frame(trailers: &HeaderMap) -> Bytes {
    let mut out = Vec::with_capacity(64);
    let written = frame::append(&mut out, TRAILERS, |out| {
        for (name, value) in trailers {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Ok::<_, Fault>(())
    });
    debug_assert!(written.is_ok(), "headers are never 4 GiB");
    out.into()
}

/// A piece of an answer in base64.
pub(crate) fn to_text(data: &[u8]) -> Bytes {
    STANDARD.encode(data).into()
}

// === impl Text ===

impl Text {
    fn new(body: Body) -> Self {
        Self { body, decoder: Decoder::default(), is_over: false }
    }
}

impl HttpBody for Text {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece<Bytes>, Status>>> {
        let this = &mut *self;
        loop {
            if this.is_over {
                return Poll::Ready(None);
            }
            let mut out = Vec::new();
            let decoded = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Err(error)) => {
                    this.is_over = true;
                    return Poll::Ready(Some(Err(error)));
                }
                Some(Ok(piece)) => match piece.into_data() {
                    Ok(text) => this.decoder.write(&text, &mut out),
                    Err(_trailers) => Ok(()),
                },
                None => {
                    this.is_over = true;
                    this.decoder.finish(&mut out)
                }
            };
            if let Err(fault) = decoded {
                this.is_over = true;
                return Poll::Ready(Some(Err(fault.into())));
            }
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Piece::data(out.into()))));
            }
        }
    }
}

// === impl Decoder ===

impl Decoder {
    /// Takes a piece of the text, and appends what it stands for to `out`.
    fn write(&mut self, mut text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.length > 0 {
            let taken = (QUANTUM - self.length).min(text.len());
            let (first, rest) = text.split_at(taken);
            if let Some(room) = self.begun.get_mut(self.length..self.length + taken) {
                room.copy_from_slice(first);
            }
            self.length += taken;
            text = rest;
            if self.length < QUANTUM {
                return Ok(());
            }
            self.length = 0;
            STANDARD.decode_vec(self.begun, out).map_err(no_base64)?;
        }
        let (mut whole, rest) = text.split_at(text.len() - text.len() % QUANTUM);
        // Padding ends a part, and another may follow.
        while !whole.is_empty() {
            let end = whole
                .iter()
                .position(|letter| *letter == b'=')
                .map_or(whole.len(), |at| at - at % QUANTUM + QUANTUM);
            let (part, others) = whole.split_at(end);
            STANDARD.decode_vec(part, out).map_err(no_base64)?;
            whole = others;
        }
        if let Some(room) = self.begun.get_mut(..rest.len()) {
            room.copy_from_slice(rest);
        }
        self.length = rest.len();
        Ok(())
    }

    /// The end of the text, whose padding may be missing.
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let rest = self.begun.get(..self.length).unwrap_or_default();
        STANDARD_NO_PAD.decode_vec(rest, out).map_err(no_base64)
    }
}

fn no_base64(error: base64::DecodeError) -> Fault {
    Fault::invalid_argument(ErrorReason::MalformedMessage)
        .message(format!("the body of grpc-web-text is not base64: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_however_it_is_padded_and_cut() {
        let parts: [&[u8]; 5] = [b"a", b"bc", b"def", b"", &[0xFF; 50]];
        let text: String = parts.iter().map(|part| STANDARD.encode(part)).collect();
        let expected = parts.concat();
        for size in 1..=text.len() {
            for end in ["", "QQ==", "QQ", "QUI"] {
                let mut decoder = Decoder::default();
                let mut out = Vec::new();
                for piece in [&text, end].concat().as_bytes().chunks(size) {
                    decoder.write(piece, &mut out).unwrap();
                }
                decoder.finish(&mut out).unwrap();
                let more: &[u8] = match end {
                    "" => b"",
                    "QUI" => b"AB",
                    _ => b"A",
                };
                assert_eq!(out, [&expected, more].concat(), "in pieces of {size}, then {end:?}");
            }
        }
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for text in ["Q", "Q===", "QQ=Q", "=QQQ", "Q Q=", "QQ==\n", "Q-_Q"] {
            let mut decoder = Decoder::default();
            let mut out = Vec::new();
            let read =
                decoder.write(text.as_bytes(), &mut out).and_then(|()| decoder.finish(&mut out));
            assert!(read.is_err(), "{text:?} gave {out:?}");
        }
    }

    #[test]
    fn the_form_is_what_the_client_says() {
        let form = |kind: &'static str, accept: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            }
            Form::of(&headers).map(|form| (form.codec, form.reads_text, form.writes_text))
        };
        let proto = |reads, writes| Some((Codec::Proto, reads, writes));
        assert_eq!(form("application/grpc-web", None), proto(false, false));
        assert_eq!(form("application/grpc-web+proto", Some("*/*")), proto(false, false));
        assert_eq!(form("Application/gRPC-Web-Text; charset=utf-8", None), proto(true, true));
        assert_eq!(
            form("application/grpc-web-text", Some("application/grpc-web")),
            proto(true, false)
        );
        assert_eq!(
            form("application/grpc-web", Some("application/grpc-web-text")),
            proto(false, true)
        );
        assert_eq!(form("application/grpc-web+json", None), Some((Codec::Json, false, false)));
        assert_eq!(form("application/grpc-web+foo", None), None);
        assert_eq!(form("application/grpc-webby", None), None);
    }

    #[test]
    fn trailers_are_a_block_of_headers() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers.append("x-a", HeaderValue::from_static("1"));
        trailers.append("x-a", HeaderValue::from_static("2"));
        let expected = [b"\x80\0\0\0\x20".as_slice(), b"grpc-status: 0\r\nx-a: 1\r\nx-a: 2\r\n"];
        let frame = trailers_frame(&trailers);
        assert_eq!(frame[5..], *expected[1]);
        assert_eq!(usize::from(frame[4]), expected[1].len());
        assert_eq!(frame[0], 0x80);
    }
}
