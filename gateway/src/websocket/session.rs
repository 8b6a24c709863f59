//! The life of a socket: one call, from its first message to its status.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use chassis::Fault;
use contracts::mesh::v1::ErrorReason;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use http::request::Parts;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message, Utf8Bytes,
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use transcode::{Binding, Match, PrintOptions};

use super::{
    Limits, close,
    feed::{Left, feed},
    handshake::Format,
};
use crate::{
    problem::{self, Telling},
    rest::{Asked, Refusal, Rest},
    serving::Serving,
    streams::Messages,
};

/// What is read from the connection at once, and what is gathered before it is
/// written: sockets are many and mostly quiet.
const BUFFER_BYTES: usize = 8 << 10;
/// Messages that have arrived go out together, up to about this many bytes.
const PIECE_BYTES: usize = 64 << 10;

/// A socket that is about to be.
pub(super) struct Session {
    /// Of the binding that was found.
    pub(super) http_method: String,
    /// The whole request, if path and query are all of it.
    pub(super) first: Option<Bytes>,
    pub(super) serving: Arc<Serving>,
    pub(super) rest: Rest,
    pub(super) parts: Parts,
    pub(super) limits: Limits,
    pub(super) format: Format,
    pub(super) request_id: String,
    /// Cancelled when the gateway stops.
    pub(super) draining: CancellationToken,
}

/// Whether the other side lives.
pub(super) struct Pulse {
    heard: Mutex<Instant>,
    /// How many wait for something else than to hear from it.
    waiting: AtomicU32,
}

/// While it lasts the client is not expected to be heard: nobody listens.
pub(super) struct Waiting<'p>(&'p Pulse);

/// What goes to the client at once.
#[derive(Default)]
struct Batch {
    messages: Vec<Message>,
    ended: Option<Result<(), Fault>>,
}

/// How a call over a socket ended.
enum End {
    /// The service ended it.
    Answered(Result<(), Fault>),
    /// What the client sent ended it.
    Left(Left),
    /// The client answers no ping.
    Silent,
    /// The client takes no answer, or the connection is lost.
    Lost,
    /// The gateway stops.
    Draining,
}

// === impl Session ===

impl Session {
    /// Lives to the end.
    pub(super) async fn run<T: AsyncRead + AsyncWrite + Unpin>(self, io: T) {
        let bytes_max = Some(self.limits.streams.message_bytes_max);
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES)
            .max_message_size(bytes_max)
            .max_frame_size(bytes_max);
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        let (mut sink, mut stream) = socket.split();
        let end = self.call(&mut sink, &mut stream).await;
        if matches!(end, End::Lost) {
            return;
        }
        let (told, frame) = self.parting(end);
        let parting = self.part(sink, stream, told, frame);
        // A client that does not take leave is left.
        let _in_time = timeout(self.limits.close_timeout, parting).await;
    }

    async fn call<O, I>(&self, sink: &mut O, stream: &mut I) -> End
    where
        O: Sink<Message, Error = Error> + Unpin,
        I: Stream<Item = Result<Message, Error>> + Unpin,
    {
        let found = match self.serving.schema.route(&self.http_method, self.parts.uri.path()) {
            Ok(found) => found,
            Err(error) => return End::Answered(Err(Fault::internal().because(error))),
        };
        let method = found.method();
        let controls = self.limits.control_frames_per_second;
        let (mut feed, body) = feed(!method.is_client_streaming(), controls);
        let pulse = Pulse::new();
        let carry = async {
            if let Some(first) = &self.first {
                feed.whole(first.clone(), &pulse).await;
            }
            feed.carry(stream, self.limits.streams, &found, &self.parts, &pulse).await
        };
        let answer = self.answer(&found, body, sink);
        tokio::select! {
            biased;
            () = self.draining.cancelled() => End::Draining,
            end = answer => end,
            left = carry => End::Left(left),
            () = pulse.silence(self.limits.idle_timeout) => End::Silent,
        }
    }

    /// Makes the call and sends what the service answers.
    async fn answer<O>(&self, found: &Match<'_>, body: Body, sink: &mut O) -> End
    where
        O: Sink<Message, Error = Error> + Unpin,
    {
        let asked = Asked::new(&self.serving, found, &self.parts).map_err(Refusal::into_fault);
        let made =
            asked.and_then(|asked| self.rest.call(&asked, body).map(|call| (call, asked.options)));
        let (call, options) = match made {
            Ok(made) => made,
            Err(fault) => return End::Answered(Err(fault)),
        };
        let serve = async {
            let (head, body) = self.serving.stack.serve(call).await.into_parts();
            Messages::new(&head.headers, body, self.limits.streams.answer_bytes_max)
        };
        let mut serve = pin!(serve);
        let mut messages = None;
        let mut ping_at = Instant::now() + self.limits.ping_interval;
        loop {
            let mut batch = Batch::default();
            let waited = match &mut messages {
                None => timeout_at(ping_at, &mut serve).await.map(|made| {
                    made.map(|made| messages = Some(made))
                        .unwrap_or_else(|fault| batch.end(Err(fault)));
                }),
                Some(messages) => timeout_at(ping_at, messages.next()).await.map(|read| {
                    self.print_arrived(found.binding(), &options, messages, read, &mut batch);
                }),
            };
            // A client that only listens is heard by its pongs alone.
            if waited.is_err() || Instant::now() >= ping_at {
                ping_at = Instant::now() + self.limits.ping_interval;
                batch.messages.push(Message::Ping(Bytes::new()));
            }
            if !self.send(sink, batch.messages).await {
                return End::Lost;
            }
            if let Some(ended) = batch.ended {
                return End::Answered(ended);
            }
        }
    }

    /// Prints a message and what has arrived with it.
    fn print_arrived(
        &self,
        binding: &Binding,
        options: &PrintOptions,
        messages: &mut Messages,
        mut read: Result<Option<Bytes>, Fault>,
        batch: &mut Batch,
    ) {
        let mut bytes = 0;
        loop {
            let message = match read {
                Ok(None) => return batch.end(Ok(())),
                Ok(Some(message)) => message,
                Err(fault) => return batch.end(Err(fault)),
            };
            match self.print(binding, options, message) {
                Ok(message) => {
                    bytes += message.len();
                    batch.messages.push(message);
                }
                Err(fault) => return batch.end(Err(fault)),
            }
            if bytes >= PIECE_BYTES {
                return;
            }
            read = match messages.arrived() {
                Ok(None) => return,
                arrived => arrived,
            };
        }
    }

    fn print(
        &self,
        binding: &Binding,
        options: &PrintOptions,
        message: Bytes,
    ) -> Result<Message, Fault> {
        if self.format == Format::Proto {
            return Ok(Message::Binary(message));
        }
        let mut out = Vec::with_capacity(message.len() * 2 + 64);
        self.serving
            .schema
            .response_to_json(binding, &message, options, &mut out)
            .map_err(|error| Fault::internal().because(error.to_string()))?;
        text(out).map(Message::Text)
    }

    /// Whether the client took them, and in time.
    async fn send<O>(&self, sink: &mut O, messages: Vec<Message>) -> bool
    where
        O: Sink<Message, Error = Error> + Unpin,
    {
        if messages.is_empty() {
            return true;
        }
        let send = async {
            for message in messages {
                sink.feed(message).await?;
            }
            sink.flush().await
        };
        matches!(timeout(self.limits.idle_timeout, send).await, Ok(Ok(())))
    }

    /// What is said at the end; nothing if there is nobody to say it to.
    fn parting(&self, end: End) -> (Option<Message>, Option<CloseFrame>) {
        let told = |fault: &Fault| {
            let schema = Some(&*self.serving.schema);
            let telling = Telling { schema, ..Telling::new(&self.request_id) };
            text(problem::body(fault, &telling)).map(Message::Text).ok()
        };
        match end {
            End::Answered(Ok(())) => (None, Some(close::well())),
            End::Answered(Err(fault)) | End::Left(Left::Misused(fault)) => {
                (told(&fault), Some(close::failed(&fault)))
            }
            End::Left(Left::Unreadable(fault)) => (told(&fault), Some(close::unreadable(&fault))),
            End::Left(Left::Broken(error)) => (None, close::broken(&error)),
            End::Draining => {
                let fault = Fault::unavailable(ErrorReason::Unavailable)
                    .message("the gateway stops; connect again");
                (told(&fault), Some(close::away()))
            }
            End::Silent => (None, Some(close::silent())),
            End::Left(Left::Gone) | End::Lost => (None, None),
        }
    }

    /// Takes leave, and waits until the client has too: a connection that is closed
    /// with something unread loses what was said last.
    async fn part<O, I>(
        &self,
        mut sink: O,
        mut stream: I,
        told: Option<Message>,
        frame: Option<CloseFrame>,
    ) where
        O: Sink<Message, Error = Error> + Unpin,
        I: Stream<Item = Result<Message, Error>> + Unpin,
    {
        if let Some(told) = told
            && sink.feed(told).await.is_err()
        {
            return;
        }
        if let Some(frame) = frame
            && sink.send(Message::Close(Some(frame))).await.is_err()
        {
            return;
        }
        while let Some(Ok(_)) = stream.next().await {}
    }
}

/// JSON as text, which it always is.
fn text(json: Vec<u8>) -> Result<Utf8Bytes, Fault> {
    Utf8Bytes::try_from(json).map_err(|error| Fault::internal().because(error))
}

// === impl Batch ===

impl Batch {
    fn end(&mut self, ended: Result<(), Fault>) {
        self.ended = Some(ended);
    }
}

// === impl Pulse ===

impl Pulse {
    fn new() -> Self {
        Self { heard: Mutex::new(Instant::now()), waiting: AtomicU32::new(0) }
    }

    /// The client was heard.
    pub(super) fn beat(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Does not expect it to be heard while the guard lasts.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    /// Resolves when it was not heard for this long although somebody listened.
    async fn silence(&self, patience: Duration) {
        loop {
            let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            let end = heard + patience;
            if Instant::now() < end {
                sleep_until(end).await;
            } else if self.waiting.load(Ordering::Relaxed) > 0 {
                sleep_until(Instant::now() + patience).await;
            } else {
                return;
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.beat();
    }
}
