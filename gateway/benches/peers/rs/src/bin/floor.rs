//! The floors: what the same HTTP costs when no JSON is read or written.
//!
//!     floor memory ADDRESS DIR           answers from memory, calls nobody
//!     floor hyper  ADDRESS DIR UPSTREAM  calls the backend through hyper's client
//!     floor tonic  ADDRESS DIR UPSTREAM  calls it through tonic's
//!
//! A REST request makes the call it would be translated to, from bytes encoded
//! before, waits for the whole answer, drops it and answers stored JSON. gRPC and
//! gRPC-Web pass frame for frame.

use std::{
    convert::Infallible,
    error::Error,
    fs,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{BufMut, Bytes, BytesMut};
use http::{
    HeaderValue, Method, Request, Response, Uri, Version, header,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http2, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use peers::Raw;
use tokio::net::{TcpListener, TcpStream};
use tonic::{
    Status,
    body::Body,
    client::GrpcService,
    transport::{Channel, Endpoint},
};

/// Windows as wide as ours.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// One kind of call: what it sends, and the JSON that answers it.
struct Stored {
    path: &'static str,
    message: Bytes,
    json: Bytes,
}

struct Calls {
    get: Stored,
    list: Stored,
    create: Stored,
}

/// Where calls go.
#[derive(Clone)]
enum Upstream {
    Nowhere,
    Hyper(http2::SendRequest<Body>, Authority),
    Tonic(Channel),
}

/// A gRPC-Web answer: data as it is, the trailers in a frame of their own.
struct Web {
    body: Body,
    has_ended: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (address, folder, upstream) = match arguments.as_slice() {
        ["memory", address, folder] => (*address, *folder, Upstream::Nowhere),
        ["hyper", address, folder, upstream] => (*address, *folder, hyper(upstream).await?),
        ["tonic", address, folder, upstream] => (*address, *folder, tonic(upstream).await?),
        _ => return Err("usage: floor memory|hyper|tonic ADDRESS DIR [UPSTREAM]".into()),
    };
    let calls: &'static Calls = Box::leak(Box::new(Calls {
        get: Stored::read(folder, "/catalog.v1.Catalog/GetProduct", "get")?,
        list: Stored::read(folder, "/catalog.v1.Catalog/ListProducts", "list")?,
        create: Stored::read(folder, "/catalog.v1.Catalog/CreateProduct", "create")?,
    }));
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let upstream = upstream.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, upstream.clone(), calls));
            let connection = auto::Builder::new(TokioExecutor::new());
            let _ended = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn hyper(address: &str) -> Result<Upstream, Box<dyn Error>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .timer(TokioTimer::new())
        .handshake(TokioIo::new(stream))
        .await?;
    tokio::spawn(connection);
    Ok(Upstream::Hyper(sender, address.parse()?))
}

async fn tonic(address: &str) -> Result<Upstream, Box<dyn Error>> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .tcp_nodelay(true)
        .connect()
        .await?;
    Ok(Upstream::Tonic(channel))
}

async fn answer(
    request: Request<Incoming>,
    mut upstream: Upstream,
    calls: &'static Calls,
) -> Result<Response<Body>, Infallible> {
    let kind = request.headers().get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if kind.starts_with(b"application/grpc-web") {
        let mut request = request.map(Body::new);
        let headers = request.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::HOST);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        let (mut head, body) = upstream.send(request).await.into_parts();
        let kind = HeaderValue::from_static("application/grpc-web+proto");
        head.headers.insert(header::CONTENT_TYPE, kind);
        head.version = Version::HTTP_11;
        return Ok(Response::from_parts(head, Body::new(Web { body, has_ended: false })));
    }
    if kind.starts_with(b"application/grpc") {
        return Ok(upstream.send(request.map(Body::new)).await);
    }
    let (head, body) = request.into_parts();
    let call = if head.method == Method::POST {
        let _read = body.collect().await;
        &calls.create
    } else if head.uri.path() == "/v1/products" {
        &calls.list
    } else {
        &calls.get
    };
    upstream.call(call).await;
    let mut response = Response::new(Body::new(Full::new(call.json.clone())));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

// === impl Stored ===

impl Stored {
    fn read(folder: &str, path: &'static str, name: &str) -> Result<Self, Box<dyn Error>> {
        let frame = Bytes::from(fs::read(format!("{folder}/{name}.grpc"))?);
        let json = Bytes::from(fs::read(format!("{folder}/{name}.json"))?);
        Ok(Self { path, message: frame.slice(5..), json })
    }
}

// === impl Upstream ===

impl Upstream {
    /// Passes a gRPC call on.
    async fn send(&mut self, mut request: Request<Body>) -> Response<Body> {
        match self {
            Self::Nowhere => Status::unimplemented("no upstream").into_http(),
            Self::Tonic(channel) => {
                poll_fn(|cx| GrpcService::<Body>::poll_ready(channel, cx)).await.unwrap();
                GrpcService::call(channel, request).await.unwrap()
            }
            Self::Hyper(sender, authority) => {
                let mut target = std::mem::take(request.uri_mut()).into_parts();
                target.scheme = Some(Scheme::HTTP);
                target.authority = Some(authority.clone());
                *request.uri_mut() = Uri::from_parts(target).unwrap();
                *request.version_mut() = Version::HTTP_2;
                sender.ready().await.unwrap();
                sender.send_request(request).await.unwrap().map(Body::new)
            }
        }
    }

    /// Makes a unary call and drops its answer.
    async fn call(&mut self, call: &'static Stored) {
        match self {
            Self::Nowhere => {}
            Self::Tonic(channel) => {
                let mut client = tonic::client::Grpc::new(channel.clone());
                client.ready().await.unwrap();
                let request = tonic::Request::new(call.message.clone());
                let path = PathAndQuery::from_static(call.path);
                let answer: tonic::Response<Bytes> =
                    client.unary(request, path, Raw).await.unwrap();
                assert!(!answer.into_inner().is_empty());
            }
            Self::Hyper(..) => {
                let mut frame = BytesMut::with_capacity(call.message.len() + 5);
                frame.put_u8(0);
                frame.put_u32(call.message.len() as u32);
                frame.put_slice(&call.message);
                let mut request = Request::new(Body::new(Full::new(frame.freeze())));
                *request.method_mut() = Method::POST;
                *request.uri_mut() = Uri::from_static(call.path);
                let headers = request.headers_mut();
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                headers.insert(header::TE, HeaderValue::from_static("trailers"));
                let answer = self.send(request).await.into_body().collect().await.unwrap();
                let status = answer.trailers().and_then(|trailers| trailers.get("grpc-status"));
                assert!(status.is_some_and(|status| status == "0"));
                assert!(answer.to_bytes().len() > 5);
            }
        }
    }
}

// === impl Web ===

impl HttpBody for Web {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_trailers() {
                Ok(trailers) => {
                    self.has_ended = true;
                    let mut frame = BytesMut::with_capacity(64);
                    frame.put_slice(&[0x80, 0, 0, 0, 0]);
                    for (name, value) in &trailers {
                        frame.put_slice(name.as_str().as_bytes());
                        frame.put_slice(b":");
                        frame.put_slice(value.as_bytes());
                        frame.put_slice(b"\r\n");
                    }
                    let length = (frame.len() - 5) as u32;
                    frame[1..5].copy_from_slice(&length.to_be_bytes());
                    Poll::Ready(Some(Ok(Frame::data(frame.freeze()))))
                }
                Err(frame) => Poll::Ready(Some(Ok(frame))),
            },
            other => other,
        }
    }
}
