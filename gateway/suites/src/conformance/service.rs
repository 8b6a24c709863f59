//! The six methods.

use std::{collections::VecDeque, pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use prost_types::Any;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

use super::{
    definition::{Asks, Definition, Tells},
    seen::{Seen, any},
};
use crate::contracts::connectrpc::conformance::v1::{
    BidiStreamRequest, BidiStreamResponse, ClientStreamRequest, ClientStreamResponse,
    ConformancePayload, IdempotentUnaryRequest, IdempotentUnaryResponse, ServerStreamRequest,
    ServerStreamResponse, UnaryRequest, UnaryResponse, UnimplementedRequest, UnimplementedResponse,
    conformance_payload::RequestInfo, conformance_service_server::ConformanceService,
};

/// Longer than any call of the suite.
const PATIENCE: Duration = Duration::from_secs(60);

/// The suite's service.
#[derive(Debug, Clone, Copy)]
pub struct Conformance {
    deadlines: Deadlines,
}

/// Who ends calls that run out of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadlines {
    /// This server, as when nothing stands before it.
    Kept,
    /// Whoever stands before it: it goes on, and tells the timeout it was given.
    Told,
}

/// The messages of a response, and its end: always a status, so that it has
/// trailers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

type Answered<T> = Result<Response<Answers<T>>, Status>;

// === impl Conformance ===

impl Conformance {
    /// A service that treats deadlines so.
    pub fn new(deadlines: Deadlines) -> Self {
        Self { deadlines }
    }

    /// When a call ends whatever it does.
    fn end(self, seen: &Seen) -> Instant {
        let timeout = match self.deadlines {
            Deadlines::Kept => seen.timeout(),
            Deadlines::Told => None,
        };
        Instant::now() + timeout.unwrap_or(PATIENCE)
    }

    /// One message out; the first that came in says which.
    async fn single<Q: Asks, R: Tells>(
        self,
        request: Request<Streaming<Q>>,
        read: impl AsyncFnOnce(&mut Streaming<Q>) -> Result<Vec<Q>, Status>,
    ) -> Answered<R> {
        let (metadata, _, mut stream) = request.into_parts();
        let seen = Seen::new(&metadata.into_headers());
        let work = async {
            let mut requests = read(&mut stream).await?;
            let definition = requests.first_mut().and_then(Asks::definition).unwrap_or_default();
            let info = seen.info(requests.iter().map(any).collect());
            sleep(definition.delay).await;
            if definition.error.is_some() {
                return refused(definition, info);
            }
            let data = definition.data.first().cloned().unwrap_or_default();
            let headers = definition.headers.clone();
            let message = R::of(ConformancePayload { data, request_info: Some(info) });
            let end = definition.end(None);
            Ok(head(headers, stream::iter([Ok(message), Err(end)]).boxed()))
        };
        timeout_at(self.end(&seen), work).await.unwrap_or_else(|_elapsed| Err(expired()))
    }
}

#[tonic::async_trait]
impl ConformanceService for Conformance {
    type UnaryStream = Answers<UnaryResponse>;
    type IdempotentUnaryStream = Answers<IdempotentUnaryResponse>;
    type UnimplementedStream = Answers<UnimplementedResponse>;
    type ServerStreamStream = Answers<ServerStreamResponse>;
    type ClientStreamStream = Answers<ClientStreamResponse>;
    type BidiStreamStream = Answers<BidiStreamResponse>;

    async fn unary(&self, request: Request<Streaming<UnaryRequest>>) -> Answered<UnaryResponse> {
        self.single(request, only).await
    }

    async fn idempotent_unary(
        &self,
        request: Request<Streaming<IdempotentUnaryRequest>>,
    ) -> Answered<IdempotentUnaryResponse> {
        self.single(request, only).await
    }

    async fn unimplemented(
        &self,
        _request: Request<Streaming<UnimplementedRequest>>,
    ) -> Answered<UnimplementedResponse> {
        Err(Status::unimplemented("the suite wants this method not to be there"))
    }

    async fn client_stream(
        &self,
        request: Request<Streaming<ClientStreamRequest>>,
    ) -> Answered<ClientStreamResponse> {
        self.single(request, all).await
    }

    async fn server_stream(
        &self,
        request: Request<Streaming<ServerStreamRequest>>,
    ) -> Answered<ServerStreamResponse> {
        let (metadata, _, mut stream) = request.into_parts();
        let seen = Seen::new(&metadata.into_headers());
        let end = self.end(&seen);
        let mut requests = timeout_at(end, only(&mut stream)).await.map_err(|_| expired())??;
        let definition = requests.first_mut().and_then(Asks::definition).unwrap_or_default();
        let requests = requests.iter().map(any).collect();
        Script::new(stream, seen, definition, requests, end, Turns::Free).begin()
    }

    async fn bidi_stream(
        &self,
        request: Request<Streaming<BidiStreamRequest>>,
    ) -> Answered<BidiStreamResponse> {
        let (metadata, _, mut stream) = request.into_parts();
        let seen = Seen::new(&metadata.into_headers());
        let end = self.end(&seen);
        let mut first = timeout_at(end, stream.message()).await.map_err(|_elapsed| expired())??;
        let definition = first.as_mut().and_then(Asks::definition).unwrap_or_default();
        let is_full_duplex = first.as_ref().is_some_and(|first| first.full_duplex);
        let mut requests: Vec<Any> = first.iter().map(any).collect();
        let turns = if is_full_duplex {
            Turns::Due
        } else {
            let rest = timeout_at(end, all(&mut stream)).await.map_err(|_elapsed| expired())??;
            requests.extend(rest.iter().map(any));
            Turns::Free
        };
        Script::new(stream, seen, definition, requests, end, turns).begin()
    }
}

/// The one request of a call that may have no more.
async fn only<Q: Asks>(stream: &mut Streaming<Q>) -> Result<Vec<Q>, Status> {
    let requests = all(stream).await?;
    match requests.len() {
        1 => Ok(requests),
        count => Err(Status::unimplemented(format!("one request is due, and {count} came"))),
    }
}

/// Every request, in order.
async fn all<Q: Asks>(stream: &mut Streaming<Q>) -> Result<Vec<Q>, Status> {
    let mut requests = Vec::new();
    while let Some(request) = stream.message().await? {
        requests.push(request);
    }
    Ok(requests)
}

fn expired() -> Status {
    Status::deadline_exceeded("the client's deadline has passed")
}

/// An end before any message. Without headers of its own it is a response of
/// trailers only, as frameworks send it.
fn refused<T: Tells>(mut definition: Definition, info: RequestInfo) -> Answered<T> {
    let headers = std::mem::take(&mut definition.headers);
    let end = definition.end(Some(info));
    if headers.is_empty() {
        return Err(end);
    }
    Ok(head(headers, stream::iter([Err(end)]).boxed()))
}

fn head<T>(headers: http::HeaderMap, answers: Answers<T>) -> Response<Answers<T>> {
    let mut response = Response::new(answers);
    *response.metadata_mut() = MetadataMap::from_headers(headers);
    response
}

// === Script ===

/// The messages of a response that is a stream, one after the other.
struct Script<Q> {
    stream: Streaming<Q>,
    seen: Seen,
    definition: Definition,
    data: VecDeque<Bytes>,
    /// What came in and was not told yet.
    requests: Vec<Any>,
    turns: Turns,
    is_first: bool,
    has_ended: bool,
    end: Instant,
}

/// When the next message may go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turns {
    /// At once.
    Free,
    /// At once, and from then on after another request or the last of them.
    Due,
    /// After another request or the last of them.
    Waiting,
}

// === impl Script ===

impl<Q: Asks> Script<Q> {
    fn new(
        stream: Streaming<Q>,
        seen: Seen,
        mut definition: Definition,
        requests: Vec<Any>,
        end: Instant,
        turns: Turns,
    ) -> Self {
        let data = std::mem::take(&mut definition.data).into();
        let (is_first, has_ended) = (true, false);
        Self { stream, seen, definition, data, requests, turns, is_first, has_ended, end }
    }

    /// Sends the head at once, then the messages.
    fn begin<R: Tells>(mut self) -> Answered<R> {
        if self.data.is_empty() && self.definition.error.is_some() {
            let info = self.seen.info(std::mem::take(&mut self.requests));
            return refused(self.definition, info);
        }
        let headers = std::mem::take(&mut self.definition.headers);
        let answers = stream::unfold(self, async |mut script: Self| {
            if script.has_ended {
                return None;
            }
            let next = timeout_at(script.end, script.next()).await;
            let next = next.unwrap_or_else(|_elapsed| Err(expired()));
            script.has_ended = next.is_err();
            Some((next, script))
        });
        Ok(head(headers, answers.boxed()))
    }

    async fn next<R: Tells>(&mut self) -> Result<R, Status> {
        if self.turns == Turns::Waiting {
            match self.stream.message().await? {
                Some(request) => self.requests.push(any(&request)),
                None => self.turns = Turns::Free,
            }
        }
        let Some(data) = self.data.pop_front() else {
            return Err(std::mem::take(&mut self.definition).end(None));
        };
        let requests = std::mem::take(&mut self.requests);
        let request_info = match (std::mem::take(&mut self.is_first), self.turns) {
            (true, _) => Some(self.seen.info(requests)),
            (false, Turns::Free) => None,
            (false, Turns::Due | Turns::Waiting) => {
                Some(RequestInfo { requests, ..RequestInfo::default() })
            }
        };
        if self.turns == Turns::Due {
            self.turns = Turns::Waiting;
        }
        sleep(self.definition.delay).await;
        Ok(R::of(ConformancePayload { data, request_info }))
    }
}
