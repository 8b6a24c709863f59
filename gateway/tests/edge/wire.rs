//! Frames as bytes, and a library that answers every kind of call.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, combinators::BoxBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost_reflect::{DynamicMessage, prost::Message as _};
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::mpsc};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::upstream::{Answer, Upstream, compile, message, to_json};

/// A frame.
pub(crate) fn frame(flags: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[flags], length.to_be_bytes().as_slice(), message].concat()
}

/// All frames of a body.
pub(crate) fn frames(mut body: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [flags, a, b, c, d, rest @ ..] = body {
        let length = u32::from_be_bytes([*a, *b, *c, *d]).try_into().unwrap();
        let (message, rest) = rest.split_at(length);
        frames.push((*flags, message.to_vec()));
        body = rest;
    }
    assert!(body.is_empty(), "the last frame is not whole: {body:?}");
    frames
}

/// The wire bytes of a message of the library.
pub(crate) fn wire(name: &str, json: &Value) -> Vec<u8> {
    let pool = compile(&["library.proto"]);
    message(&pool, &format!("library.v1.{name}"), json).encode_to_vec()
}

/// The JSON of a book's wire bytes.
pub(crate) fn book(wire: &[u8]) -> Value {
    let pool = compile(&["library.proto"]);
    let book = pool.get_message_by_name("library.v1.Book").unwrap();
    to_json(&DynamicMessage::decode(book, wire).unwrap())
}

/// A library whose answers say what they were asked.
///
/// - `Lend` and `GetBook`: a book of that name, its title the headers that crossed;
///   the name `none` is refused with details and a trailer, `long` has a long
///   title, `bomb` is one that must not be asked for.
/// - `WatchBooks`: three books, or two and then a failure for the parent `fails`;
///   for `waits` one, and then nothing for ever.
/// - `ImportBooks`: how many there were. `FindBooks`: each as it comes.
pub(crate) async fn library() -> Upstream {
    let upstream = Upstream::start("library.proto").await;
    for method in ["Lend", "GetBook"] {
        upstream.unary(&format!("/library.v1.Library/{method}"), |request, headers| {
            let title = match request["name"].as_str() {
                Some("none") => return Err(no_such_book()),
                Some("long") => "a long title ".repeat(500),
                _ => headers
                    .iter()
                    .filter(|(name, _)| !name.as_str().starts_with("trace"))
                    .map(|(name, value)| format!("{name}={}\n", value.to_str().unwrap()))
                    .collect(),
            };
            Ok(json!({ "name": request["name"], "title": title, "pages": "921" }))
        });
    }
    upstream.server_stream("/library.v1.Library/WatchBooks", |request| {
        let books =
            |count| stream::iter((1..=count).map(|at| Ok(json!({ "pages": at.to_string() }))));
        match request["parent"].as_str() {
            Some("fails") => books(2).chain(stream::iter([Err(no_such_book())])).boxed(),
            Some("waits") => books(1).chain(stream::pending()).boxed(),
            _ => books(3).boxed(),
        }
    });
    let output = upstream.output("/library.v1.Library/ImportBooks");
    upstream.on("/library.v1.Library/ImportBooks", move |mut call| {
        let output = output.clone();
        async move {
            let mut count = 0;
            while call.requests.message().await?.is_some() {
                count += 1;
            }
            let answer = DynamicMessage::deserialize(output, json!({ "count": count })).unwrap();
            Ok(Answer::of(stream::iter([Ok(answer)])))
        }
    });
    let output = upstream.output("/library.v1.Library/FindBooks");
    upstream.on("/library.v1.Library/FindBooks", move |call| {
        let output = output.clone();
        async move {
            Ok(Answer::of(call.requests.map(move |asked| {
                let name = to_json(&asked?)["name"].clone();
                Ok(DynamicMessage::deserialize(output.clone(), json!({ "name": name })).unwrap())
            })))
        }
    });
    upstream
}

/// A failure with a detail, and with a trailer that belongs to nobody outside.
fn no_such_book() -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info("NO_SUCH_BOOK", "library.v1", []);
    let mut status = Status::with_error_details(Code::NotFound, "no such bóok", details);
    let metadata = status.metadata_mut();
    metadata.insert("x-shelf", "7".parse().unwrap());
    metadata.insert("x-mercat-secret", "1".parse().unwrap());
    status
}

/// The other end of a body that is sent piece by piece; dropping it ends the body.
pub(crate) struct Sending(mpsc::Sender<Bytes>);

impl Sending {
    pub(crate) async fn send(&self, piece: impl Into<Bytes>) {
        self.0.send(piece.into()).await.unwrap();
    }
}

/// A body that is sent piece by piece.
pub(crate) fn sending() -> (Sending, BoxBody<Bytes, std::convert::Infallible>) {
    let (sender, receiver) = mpsc::channel(8);
    let pieces = stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((Ok(http_body::Frame::data(piece)), receiver))
    });
    (Sending(sender), BoxBody::new(http_body_util::StreamBody::new(pieces)))
}

/// Sends a request by HTTP/2 and gives the head of its answer.
pub(crate) async fn begin(
    to: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: BoxBody<Bytes, std::convert::Infallible>,
) -> Response<Incoming> {
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let mut request = Request::post(format!("http://{to}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    sender.send_request(request.body(body).unwrap()).await.unwrap()
}

/// As [`begin`], by HTTP/1.1.
pub(crate) async fn begin_h1(
    to: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: BoxBody<Bytes, std::convert::Infallible>,
) -> Response<Incoming> {
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::post(path).header(header::HOST, to.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    sender.send_request(request.body(body).unwrap()).await.unwrap()
}

/// The next piece of data of a body.
pub(crate) async fn piece(body: &mut Incoming) -> Bytes {
    body.frame().await.unwrap().unwrap().into_data().unwrap()
}

/// Tells when a handler's answer is dropped.
pub(crate) struct Gone(pub(crate) mpsc::UnboundedSender<()>);

impl Drop for Gone {
    fn drop(&mut self) {
        let _nobody_listens = self.0.send(());
    }
}

/// Makes `WatchBooks` answer one book and then wait for ever; what is returned
/// hears when somebody gave up waiting.
pub(crate) fn watched(upstream: &Upstream) -> mpsc::UnboundedReceiver<()> {
    let (told, gone) = mpsc::unbounded_channel();
    upstream.server_stream("/library.v1.Library/WatchBooks", move |_| {
        let gone = Gone(told.clone());
        stream::iter([Ok(json!({ "pages": "1" }))]).chain(stream::poll_fn(move |_| {
            let _kept = &gone;
            std::task::Poll::Pending
        }))
    });
    gone
}
