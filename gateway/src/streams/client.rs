//! What a client streams: the body of its request becomes the messages of a gRPC
//! call while it arrives.
//!
//! | content type | messages |
//! |---|---|
//! | `application/json` and its relatives, or none | the elements of one array, or values one behind the other |
//! | `application/x-ndjson`, `application/jsonl` | values one behind the other |
//! | `application/x-protobuf` | each behind its length as a varint |
//! | `multipart/form-data` | a file in pieces, see `http_body` |
//! | any, where the body of the rule is an `HttpBody` or `bytes` | pieces as they arrive |
//!
//! What path, query and headers say goes into the first message; a later one may
//! not say otherwise of what the path says. Nothing is read before the service
//! takes it. A body that cannot be read, or ends too early, cancels the call: the
//! service never takes it for the whole.

use std::{borrow::Cow, future::pending, mem, pin::pin, sync::Arc};

use bytes::{Buf as _, Bytes, BytesMut};
use chassis::Fault;
use contracts::mesh::v1::ErrorReason;
use futures_util::stream;
use http::{HeaderMap, Response, Version, header, request::Parts};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use prost_reflect::Kind;
use tokio::sync::oneshot;
use tonic::{Status, body::Body};
use transcode::{
    Body as Content, BodyRule, Content as Sort, JsonError, JsonValues, Match, Method, Position,
    RequestError, RequestOptions, Sequence,
};

use super::{Answer, Bounds, Framing, Messages, Resume};
use crate::{
    http_body::{FormUpload, answer_pieces, is_form},
    rest::{Accept, Asked, PARAMETERS, Refusal, Rest, not_acceptable},
    serving::Serving,
};

/// Messages that have arrived go on in one piece of about this many bytes.
const PIECE_BYTES: usize = 16 << 10;
/// The most bytes of raw content in one message.
const RAW_PIECE_BYTES: usize = 64 << 10;
/// By HTTP/1.1 the answer waits for the end of the request, but for no longer
/// than until it has this many bytes: a service that answers as it is asked would
/// wait for its answers to be read.
const HALF_DUPLEX_BYTES: usize = 64 << 10;
/// Bytes of the longest length that protobuf writes.
const VARINT_BYTES_MAX: usize = 10;

/// The body of a call, made of the body of a request.
struct Upload {
    bounds: Bounds,
    serving: Arc<Serving>,
    parts: Parts,
    body: Body,
    cut: Cut,
    /// Messages that went on.
    sent: u64,
    state: State,
    tell: Option<oneshot::Sender<Fault>>,
}

/// How the body is cut into messages.
enum Cut {
    Json(JsonValues),
    Delimited(BytesMut),
    Raw { content_type: String, arrived: Bytes },
    Form(FormUpload),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// All of it arrived.
    Finished,
    /// The call has its end.
    Ended,
}

/// What became of a client's stream, for whoever answers it. The stream goes on
/// for as long as this is kept.
#[derive(Debug)]
pub(crate) struct Told(Option<oneshot::Receiver<Fault>>);

// === impl Rest ===

impl Rest {
    /// Answers a call whose request is a stream.
    pub(crate) async fn client_stream(
        &self,
        asked: &Asked<'_>,
        body: Body,
        request_id: &str,
    ) -> Result<Response<Body>, Refusal> {
        let Asked { serving, found, parts, .. } = *asked;
        let method = found.method();
        let cut = Cut::of(asked.plan.raw, parts, self.streams)?;
        let (tell, told) = oneshot::channel();
        let upload = Upload {
            bounds: self.streams,
            serving: Arc::clone(serving),
            parts: parts.clone(),
            body,
            cut,
            sent: 0,
            state: State::Reading,
            tell: Some(tell),
        };
        let call = self.call(asked, upload.into_body())?;
        let mut told = Told(Some(told));
        let response = tokio::select! {
            biased;
            fault = told.failure() => return Err(fault.into()),
            response = serving.stack.serve(call) => response,
        };
        if !method.is_server_streaming() {
            let mut answer = pin!(self.reply(asked, response));
            return tokio::select! {
                biased;
                fault = told.failure() => Err(fault.into()),
                answer = &mut answer => answer,
            };
        }
        let (head, body) = response.into_parts();
        let mut messages = Messages::new(&head.headers, body, self.streams.answer_bytes_max)?;
        if parts.version < Version::HTTP_2 {
            // A client of HTTP/1.1 reads the answer when it has sent the request.
            loop {
                tokio::select! {
                    biased;
                    ended = told.ended() => break ended?,
                    more = messages.gather(HALF_DUPLEX_BYTES) => if !more? { break },
                }
            }
        }
        self.answer_stream(asked, messages.and(told), &head.headers, request_id).await
    }

    /// Answers a call whose answer is a stream.
    pub(crate) async fn server_stream(
        &self,
        asked: &Asked<'_>,
        response: Response<Body>,
        request_id: &str,
    ) -> Result<Response<Body>, Refusal> {
        let (head, body) = response.into_parts();
        let messages = Messages::new(&head.headers, body, self.streams.answer_bytes_max)?;
        self.answer_stream(asked, messages, &head.headers, request_id).await
    }

    async fn answer_stream(
        &self,
        asked: &Asked<'_>,
        messages: Messages,
        metadata: &HeaderMap,
        request_id: &str,
    ) -> Result<Response<Body>, Refusal> {
        let Asked { serving, found, parts, .. } = *asked;
        let mut response = if found.method().output_content() == Sort::HttpBody {
            answer_pieces(messages, metadata, parts).await?
        } else {
            let framing = Framing::of(Accept::of(&parts.headers)).ok_or_else(not_acceptable)?;
            let answer = Answer {
                serving: Arc::clone(serving),
                binding: found.binding().id(),
                options: asked.options.clone(),
                framing,
                resume: Resume::of(&serving.schema, found.method()),
                bounds: self.streams,
                request_id: request_id.to_owned(),
            };
            answer.respond(messages).await?
        };
        self.carry_out(metadata, response.headers_mut());
        Ok(response)
    }
}

// === impl Told ===

impl Told {
    /// Resolves when the client's stream failed, and only then.
    pub(crate) async fn failure(&mut self) -> Fault {
        match self.ended().await {
            Err(fault) => fault,
            Ok(()) => pending().await,
        }
    }

    /// Resolves when the client's stream has come to its end.
    async fn ended(&mut self) -> Result<(), Fault> {
        let Some(told) = &mut self.0 else { return Ok(()) };
        let ended = told.await;
        self.0 = None;
        ended.map_or(Ok(()), Err)
    }
}

// === impl Upload ===

impl Upload {
    fn into_body(self) -> Body {
        let pieces = stream::unfold(self, |mut upload| async move {
            let piece = upload.next().await?;
            Some((piece.map(Frame::data), upload))
        });
        Body::new(StreamBody::new(pieces))
    }

    /// The next messages in their frames; `Err` cancels the call.
    async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        loop {
            if self.state == State::Ended {
                return None;
            }
            match self.whole() {
                Ok(frames) if !frames.is_empty() => return Some(Ok(frames.into())),
                Ok(_) if self.state == State::Finished => {
                    self.state = State::Ended;
                    return None;
                }
                Ok(_) => {}
                Err(fault) => return Some(Err(self.fail(fault))),
            }
            let Some(tell) = &mut self.tell else { return None };
            let arrived = tokio::select! {
                biased;
                // Nobody waits for the answer any more.
                () = tell.closed() => {
                    self.state = State::Ended;
                    return Some(Err(cancelled()));
                }
                arrived = self.body.frame() => arrived,
            };
            match arrived {
                None => self.finish(),
                Some(Ok(frame)) => {
                    // A request of HTTP may have trailers; nobody asked for any.
                    if let Ok(data) = frame.into_data() {
                        self.cut.push(data);
                    }
                }
                Some(Err(status)) => return Some(Err(self.fail(broken_off(&status)))),
            }
        }
    }

    fn finish(&mut self) {
        self.state = State::Finished;
        match &mut self.cut {
            Cut::Json(values) => values.finish(),
            Cut::Form(form) => form.finish(),
            Cut::Delimited(_) | Cut::Raw { .. } => {}
        }
    }

    fn fail(&mut self, fault: Fault) -> Status {
        self.state = State::Ended;
        if let Some(tell) = self.tell.take() {
            let _nobody_waits = tell.send(fault);
        }
        cancelled()
    }

    /// The frames of messages that are whole: about a piece of them.
    fn whole(&mut self) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::new();
        let is_finished = self.state == State::Finished;
        let Self { bounds, serving, parts, cut, sent, .. } = self;
        let path = parts.uri.path();
        let found = serving
            .schema
            .route(parts.method.as_str(), path)
            .map_err(|error| Fault::internal().because(error))?;
        let bounds = *bounds;
        while out.len() < PIECE_BYTES {
            let index = *sent;
            let piece = |content| Piece { index: Some(index), ..Piece::of(content) };
            match cut {
                Cut::Json(values) => {
                    let value = values.next_value().map_err(|error| not_json(index, &error))?;
                    let Some(value) = value else { break };
                    let piece =
                        Piece { start: Some(value.position), ..piece(Content::Json(value.json)) };
                    frame(bounds, &found, parts, piece, &mut out)?;
                }
                Cut::Delimited(arrived) => {
                    let length = delimited(arrived, bounds.message_bytes_max, is_finished)
                        .map_err(|why| unreadable(index, why))?;
                    let Some(length) = length else { break };
                    let message = arrived.split_to(length);
                    frame(bounds, &found, parts, piece(Content::Wire(&message)), &mut out)?;
                }
                Cut::Raw { content_type, arrived } => {
                    // Content of no bytes is a message too: the first and only one.
                    if arrived.is_empty() && !(is_finished && index == 0) {
                        break;
                    }
                    let data = arrived.split_to(arrived.len().min(RAW_PIECE_BYTES));
                    let content_type = mem::take(content_type);
                    let content = Content::Raw { content_type: &content_type, data: &data };
                    frame(bounds, &found, parts, piece(content), &mut out)?;
                }
                Cut::Form(form) => {
                    if !form.next(serving, &found, parts, &mut out)? {
                        break;
                    }
                }
            }
            *sent += 1;
        }
        Ok(out)
    }
}

/// One message of a client, before it is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece<'a> {
    /// How many came before it in its stream, if it is of one.
    pub(crate) index: Option<u64>,
    pub(crate) content: Content<'a>,
    /// Where its JSON begins in the body.
    pub(crate) start: Option<Position>,
    /// The parameters of a form.
    pub(crate) form: Option<&'a str>,
}

impl<'a> Piece<'a> {
    /// The only message there is.
    pub(crate) fn of(content: Content<'a>) -> Self {
        Self { index: None, content, start: None, form: None }
    }
}

/// Appends one message in its frame.
///
/// # Errors
///
/// If it cannot be read; the fault says which message it is.
pub(crate) fn frame(
    bounds: Bounds,
    found: &Match<'_>,
    parts: &Parts,
    piece: Piece<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let Piece { index, content, start, form } = piece;
    let mut options = RequestOptions::default();
    options.parse = bounds.parse_options();
    options.edge_parameters = &PARAMETERS;
    options.allow_agreeing = true;
    options.form = form.is_some();
    options.continued = index.is_some_and(|index| index > 0);
    let query = match (parts.uri.query(), form) {
        (Some(query), Some(form)) if !form.is_empty() => Some(Cow::from(format!("{query}&{form}"))),
        (None, Some(form)) => Some(Cow::from(form)),
        (query, _) => query.map(Cow::from),
    };
    crate::frame::append(out, 0, |out| {
        found.request(query.as_deref(), content, &options, out).map_err(|error| {
            refuse(index, &start.map_or_else(|| error.clone(), |start| error.clone().after(start)))
        })
    })
}

// === impl Cut ===

impl Cut {
    /// How the body of this request is cut.
    fn of(raw_body: Option<Sort>, parts: &Parts, bounds: Bounds) -> Result<Self, Fault> {
        let said = parts.headers.get(header::CONTENT_TYPE).map(|value| value.to_str());
        let said = match said {
            None => "",
            Some(value) => value.unwrap_or("?"),
        };
        let media_type = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let raw = || Self::Raw { content_type: said.to_owned(), arrived: Bytes::new() };
        let json = |sequence| Self::Json(JsonValues::new(sequence, &bounds.parse_options()));
        if is_form(&parts.headers) {
            return FormUpload::new(&parts.headers, bounds).map(Self::Form);
        }
        match (raw_body, media_type.as_str()) {
            (Some(Sort::HttpBody), _) => Ok(raw()),
            (_, "application/x-ndjson" | "application/ndjson" | "application/jsonl") => {
                Ok(json(Sequence::Concatenated))
            }
            (_, "application/x-protobuf" | "application/protobuf") => {
                Ok(Self::Delimited(BytesMut::new()))
            }
            (_, "" | "application/json") => Ok(json(Sequence::Detected)),
            (_, other) if other.ends_with("+json") => Ok(json(Sequence::Detected)),
            (Some(_), _) => Ok(raw()),
            (None, other) => Err(Fault::invalid_argument(ErrorReason::MediaTypeUnsupported)
                .message(format!("a stream of the media type {other} is not read here"))
                .violation(
                    "content-type",
                    "must be application/json, application/x-ndjson or application/x-protobuf",
                )),
        }
    }

    fn push(&mut self, data: Bytes) {
        match self {
            Self::Json(values) => values.push(&data),
            Self::Delimited(arrived) => arrived.extend_from_slice(&data),
            // It was empty, or there would have been a message.
            Self::Raw { arrived, .. } => *arrived = data,
            Self::Form(form) => form.push(&data),
        }
    }
}

/// What raw content becomes in the body of a rule, if it can become anything: an
/// `HttpBody`, or else `bytes`.
pub(crate) fn raw_body(method: &Method, rule: &BodyRule) -> Option<Sort> {
    match rule {
        BodyRule::None => None,
        BodyRule::Whole => (method.input_content() == Sort::HttpBody).then_some(Sort::HttpBody),
        BodyRule::Field(path) => {
            let field = method.descriptor().input().get_field_by_name(path.as_str())?;
            match field.kind() {
                Kind::Bytes if !field.is_list() => Some(Sort::Message),
                Kind::Message(message)
                    if !field.is_list() && message.full_name() == "google.api.HttpBody" =>
                {
                    Some(Sort::HttpBody)
                }
                _ => None,
            }
        }
    }
}

/// The length of the first message, if all of it is here; its own length is then
/// gone from the front.
fn delimited(
    arrived: &mut BytesMut,
    most: usize,
    is_finished: bool,
) -> Result<Option<usize>, String> {
    let mut length: u64 = 0;
    let mut digits = 0;
    loop {
        let Some(byte) = arrived.get(digits).copied() else {
            if is_finished && !arrived.is_empty() {
                return Err("it ends within the length of a message".to_owned());
            }
            return Ok(None);
        };
        length |= u64::from(byte & 0x7f) << (7 * digits).min(63);
        digits += 1;
        if byte < 0x80 {
            break;
        }
        if digits == VARINT_BYTES_MAX {
            return Err("the length before it is no varint".to_owned());
        }
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > most {
        return Err(format!("it has {length} bytes, and may have {most}"));
    }
    if arrived.len() - digits < length {
        return match is_finished {
            true => Err(format!("it ends after {} of {length} bytes", arrived.len() - digits)),
            false => Ok(None),
        };
    }
    arrived.advance(digits);
    Ok(Some(length))
}

// === faults ===

/// Ends the call without its being taken for the whole (RST_STREAM, CANCEL).
pub(crate) fn cancelled() -> Status {
    let fault = Fault::cancelled(ErrorReason::Cancelled).message("the client's stream broke off");
    let mut status = Status::from(fault);
    status.set_source(Arc::new(h2::Error::from(h2::Reason::CANCEL)));
    status
}

/// Why the body of a request ended before its end.
pub(crate) fn broken_off(status: &Status) -> Fault {
    let fault = Fault::from_status(status);
    if !fault.reason().is_empty() {
        // It says so itself: it cannot be decompressed, say.
        return fault;
    }
    Fault::cancelled(ErrorReason::Cancelled)
        .message("the body ended too early")
        .because(status.clone())
}

fn not_json(index: u64, error: &JsonError) -> Fault {
    unreadable(index, error.to_string())
}

fn refuse(index: Option<u64>, error: &RequestError) -> Fault {
    let text = error.to_string();
    let field = error.field().filter(|field| !field.is_empty());
    let (message, field) = match (index, field) {
        (Some(index), Some(field)) => {
            (format!("message {index}: {text}"), format!("[{index}].{field}"))
        }
        (Some(index), None) => (format!("message {index}: {text}"), format!("[{index}]")),
        (None, field) => (text.clone(), field.unwrap_or("body").to_owned()),
    };
    Fault::invalid_argument(ErrorReason::InvalidField).message(message).violation(field, text)
}

fn unreadable(index: u64, why: String) -> Fault {
    Fault::invalid_argument(ErrorReason::InvalidField)
        .message(format!("message {index}: {why}"))
        .violation(format!("[{index}]"), why)
}
