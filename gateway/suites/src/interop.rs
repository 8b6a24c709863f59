//! `grpc.testing.TestService`, by the description of the interop cases
//! (grpc/grpc, `doc/interop-test-descriptions.md`).

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderName};
use tokio::time::sleep;
use tonic::{Code, Request, Response, Status, Streaming, metadata::MetadataMap};

use crate::contracts::grpc::testing::{
    EchoStatus, Empty, Payload, PayloadType, SimpleRequest, SimpleResponse,
    StreamingInputCallRequest, StreamingInputCallResponse, StreamingOutputCallRequest,
    StreamingOutputCallResponse, test_service_server::TestService,
};

/// Comes back among the headers.
const ECHO_INITIAL: HeaderName = HeaderName::from_static("x-grpc-test-echo-initial");
/// Comes back among the trailers.
const ECHO_TRAILING: HeaderName = HeaderName::from_static("x-grpc-test-echo-trailing-bin");
/// The suite's largest payload has a good 300 kB.
const PAYLOAD_BYTES_MAX: usize = 4 << 20;

/// The suite's service.
#[derive(Debug, Clone, Copy, Default)]
pub struct Interop;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Answered<T> = Result<Response<Answers<T>>, Status>;

/// What of the metadata comes back.
struct Echo {
    headers: HeaderMap,
    trailers: HeaderMap,
}

// === impl Interop ===

#[tonic::async_trait]
impl TestService for Interop {
    type EmptyCallStream = Answers<Empty>;
    type UnaryCallStream = Answers<SimpleResponse>;
    type CacheableUnaryCallStream = Answers<SimpleResponse>;
    type StreamingOutputCallStream = Answers<StreamingOutputCallResponse>;
    type StreamingInputCallStream = Answers<StreamingInputCallResponse>;
    type FullDuplexCallStream = Answers<StreamingOutputCallResponse>;
    type HalfDuplexCallStream = Answers<StreamingOutputCallResponse>;
    type UnimplementedMethodStream = Answers<Empty>;

    async fn empty_call(&self, request: Request<Streaming<Empty>>) -> Answered<Empty> {
        let (echo, mut requests) = opened(request);
        only(&mut requests).await?;
        Ok(echo.around(stream::iter([Ok(Empty {})])))
    }

    async fn unary_call(
        &self,
        request: Request<Streaming<SimpleRequest>>,
    ) -> Answered<SimpleResponse> {
        let (echo, mut requests) = opened(request);
        let asked = only(&mut requests).await?;
        refused(asked.response_status)?;
        let payload = Some(payload(asked.response_size)?);
        Ok(echo.around(stream::iter([Ok(SimpleResponse { payload })])))
    }

    async fn cacheable_unary_call(
        &self,
        request: Request<Streaming<SimpleRequest>>,
    ) -> Answered<SimpleResponse> {
        self.unary_call(request).await
    }

    async fn streaming_output_call(
        &self,
        request: Request<Streaming<StreamingOutputCallRequest>>,
    ) -> Answered<StreamingOutputCallResponse> {
        let (echo, mut requests) = opened(request);
        let asked = only(&mut requests).await?;
        Ok(echo.around(output(Ok(asked))))
    }

    async fn streaming_input_call(
        &self,
        request: Request<Streaming<StreamingInputCallRequest>>,
    ) -> Answered<StreamingInputCallResponse> {
        let (echo, mut requests) = opened(request);
        let mut size = 0;
        while let Some(request) = requests.message().await? {
            size += request.payload.map_or(0, |payload| payload.body.len());
        }
        let aggregated_payload_size = i32::try_from(size).unwrap_or(i32::MAX);
        let response = StreamingInputCallResponse { aggregated_payload_size };
        Ok(echo.around(stream::iter([Ok(response)])))
    }

    async fn full_duplex_call(
        &self,
        request: Request<Streaming<StreamingOutputCallRequest>>,
    ) -> Answered<StreamingOutputCallResponse> {
        let (echo, requests) = opened(request);
        Ok(echo.around(requests.flat_map(output)))
    }

    async fn half_duplex_call(
        &self,
        request: Request<Streaming<StreamingOutputCallRequest>>,
    ) -> Answered<StreamingOutputCallResponse> {
        let (echo, requests) = opened(request);
        let requests: Vec<_> = requests.collect().await;
        Ok(echo.around(stream::iter(requests).flat_map(output)))
    }

    async fn unimplemented_method(&self, _request: Request<Streaming<Empty>>) -> Answered<Empty> {
        Err(Status::unimplemented("the suite wants this method not to be there"))
    }
}

/// Takes a request apart.
fn opened<T>(request: Request<Streaming<T>>) -> (Echo, Streaming<T>) {
    let (metadata, _, requests) = request.into_parts();
    let metadata = metadata.into_headers();
    let copy = |name: HeaderName| {
        metadata.get_all(&name).iter().map(|value| (name.clone(), value.clone())).collect()
    };
    (Echo { headers: copy(ECHO_INITIAL), trailers: copy(ECHO_TRAILING) }, requests)
}

/// The one request of a call that may have no more.
async fn only<T>(requests: &mut Streaming<T>) -> Result<T, Status> {
    let Some(request) = requests.message().await? else {
        return Err(Status::unimplemented("one request is due, and none came"));
    };
    if requests.message().await?.is_some() {
        return Err(Status::unimplemented("one request is due, and more came"));
    }
    Ok(request)
}

/// The end that was asked for, if it is a bad one.
fn refused(status: Option<EchoStatus>) -> Result<(), Status> {
    match status {
        Some(EchoStatus { code, message }) if code != 0 => {
            Err(Status::with_metadata(Code::from_i32(code), message, MetadataMap::new()))
        }
        _ => Ok(()),
    }
}

fn payload(size: i32) -> Result<Payload, Status> {
    let size = usize::try_from(size).ok().filter(|size| *size <= PAYLOAD_BYTES_MAX);
    let size = size.ok_or_else(|| {
        Status::invalid_argument(format!("a payload may have 0 to {PAYLOAD_BYTES_MAX} bytes"))
    })?;
    Ok(Payload { r#type: PayloadType::Compressable.into(), body: Bytes::from(vec![0; size]) })
}

/// The messages that a request asks for, each after its wait.
fn output(
    asked: Result<StreamingOutputCallRequest, Status>,
) -> impl Stream<Item = Result<StreamingOutputCallResponse, Status>> + Send {
    let (parameters, end) = match asked {
        Ok(asked) => (asked.response_parameters, refused(asked.response_status).err()),
        Err(status) => (vec![], Some(status)),
    };
    stream::iter(parameters)
        .then(async |wanted| {
            let micros = u64::try_from(wanted.interval_us).unwrap_or(0);
            sleep(Duration::from_micros(micros)).await;
            Ok(StreamingOutputCallResponse { payload: Some(payload(wanted.size)?) })
        })
        .chain(stream::iter(end.map(Err)))
}

// === impl Echo ===

impl Echo {
    /// Headers before the messages and trailers after them.
    fn around<T: Send + 'static>(
        self,
        messages: impl Stream<Item = Result<T, Status>> + Send + 'static,
    ) -> Response<Answers<T>> {
        // A status that is fine and has metadata is how tonic is given trailers.
        let end = Status::with_metadata(Code::Ok, "", MetadataMap::from_headers(self.trailers));
        let mut response = Response::new(messages.chain(stream::iter([Err(end)])).boxed());
        *response.metadata_mut() = MetadataMap::from_headers(self.headers);
        response
    }
}
