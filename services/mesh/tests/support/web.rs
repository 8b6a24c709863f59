//! gRPC-Web by hand, as a browser sends it: frames over HTTP/1.1, binary or in
//! base64.

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{Request, header};
use http_body_util::Full;
use prost::Message;

use super::rest;

/// The flag of the frame that holds the trailers.
const TRAILERS: u8 = 0x80;

/// How frames travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `application/grpc-web+proto`
    Binary,
    /// `application/grpc-web-text+proto`
    Text,
}

/// A gateway, and the token that calls carry.
#[derive(Debug, Clone)]
pub(crate) struct Web {
    gateway: SocketAddr,
    framing: Framing,
    token: Option<String>,
}

/// A refusal as the trailers say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// `grpc-status`
    pub(crate) code: i32,
    /// `grpc-message`
    pub(crate) message: String,
}

impl Web {
    /// Nobody.
    pub(crate) fn new(gateway: SocketAddr, framing: Framing) -> Self {
        Self { gateway, framing, token: None }
    }

    /// The same with a token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// One call: `web.call("mercat.storefront.v1.CartService/CreateCart", &request)`.
    pub(crate) async fn call<Q: Message, A: Message + Default>(
        &self,
        method: &str,
        request: &Q,
    ) -> Result<A, Refusal> {
        let message = request.encode_to_vec();
        let mut frame = BytesMut::new();
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.len()).unwrap());
        frame.extend_from_slice(&message);
        let (kind, body) = match self.framing {
            Framing::Binary => ("application/grpc-web+proto", frame.freeze()),
            Framing::Text => {
                ("application/grpc-web-text+proto", Bytes::from(STANDARD.encode(&frame)))
            }
        };
        let mut request = Request::post(format!("/{method}"))
            .header(header::HOST, self.gateway.to_string())
            .header(header::ORIGIN, "https://shop.example")
            .header(header::CONTENT_TYPE, kind)
            .header(header::ACCEPT, kind)
            .header("x-grpc-web", "1");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let reply = rest::send(self.gateway, request.body(Full::new(body)).unwrap()).await;
        assert_eq!(reply.status, 200, "gRPC-Web says everything in the trailers");
        assert!(
            reply.header("content-type").starts_with(kind.trim_end_matches("+proto")),
            "{:?}",
            reply.headers
        );
        if let Some(code) = reply.headers.get("grpc-status") {
            let code = code.to_str().unwrap().parse().unwrap();
            if code != 0 {
                return Err(Refusal { code, message: reply.header("grpc-message").to_owned() });
            }
        }
        let (messages, trailers) = self.frames(&reply.body);
        match trailers.code {
            0 => Ok(A::decode(messages.first().expect("an answer has a message").clone()).unwrap()),
            _ => Err(trailers),
        }
    }

    fn frames(&self, body: &[u8]) -> (Vec<Bytes>, Refusal) {
        let mut left = match self.framing {
            Framing::Binary => body.to_vec(),
            // Each part that was sent is padded for itself.
            Framing::Text => {
                body.chunks(4).flat_map(|quad| STANDARD.decode(quad).unwrap()).collect()
            }
        };
        let (mut messages, mut trailers) =
            (Vec::new(), Refusal { code: -1, message: String::new() });
        while left.len() >= 5 {
            let length =
                usize::try_from(u32::from_be_bytes([left[1], left[2], left[3], left[4]])).unwrap();
            let payload: Vec<u8> = left[5..5 + length].to_vec();
            if left[0] & TRAILERS == 0 {
                messages.push(Bytes::from(payload));
            } else {
                for line in String::from_utf8(payload).unwrap().lines() {
                    match line.split_once(':') {
                        Some(("grpc-status", code)) => trailers.code = code.trim().parse().unwrap(),
                        Some(("grpc-message", message)) => {
                            message.trim().clone_into(&mut trailers.message)
                        }
                        _ => {}
                    }
                }
            }
            left.drain(..5 + length);
        }
        assert!(left.is_empty(), "nothing follows the last frame");
        (messages, trailers)
    }
}
