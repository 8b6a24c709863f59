//! What a request asks for, whichever of the messages it is.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use prost::{Message, Name};
use tonic::{Code, Status, metadata::MetadataMap};

use super::seen::any;
use crate::contracts::connectrpc::conformance::v1::{
    BidiStreamRequest, BidiStreamResponse, ClientStreamRequest, ClientStreamResponse,
    ConformancePayload, Error, Header, IdempotentUnaryRequest, IdempotentUnaryResponse,
    ServerStreamRequest, ServerStreamResponse, UnaryRequest, UnaryResponse,
    conformance_payload::RequestInfo, unary_response_definition::Response as UnaryResponseOf,
};

/// A request of the suite.
pub(super) trait Asks: Message + Name + Default + Send + 'static {
    /// What it asks for, if it says.
    fn definition(&mut self) -> Option<Definition>;
}

/// A response of the suite: a payload, under different names.
pub(super) trait Tells: Message + Send + 'static {
    fn of(payload: ConformancePayload) -> Self;
}

/// What to answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Definition {
    pub(super) headers: HeaderMap,
    pub(super) trailers: HeaderMap,
    /// The messages. One that is due and undefined is empty.
    pub(super) data: Vec<Bytes>,
    pub(super) delay: Duration,
    pub(super) error: Option<Error>,
}

// === impl Definition ===

impl Definition {
    /// How the call ends: with the error that was asked for, or well. What was
    /// seen goes with an error that is the first thing told.
    pub(super) fn end(self, seen: Option<RequestInfo>) -> Status {
        let metadata = MetadataMap::from_headers(self.trailers);
        let Some(error) = self.error else {
            // A status that is fine and has metadata is how tonic is given trailers.
            return Status::with_metadata(Code::Ok, "", metadata);
        };
        let details = error.details.into_iter().chain(seen.map(|seen| any(&seen)));
        let status = tonic_types::Status {
            code: error.code,
            message: error.message.unwrap_or_default(),
            details: details.collect(),
        };
        let encoded = Bytes::from(status.encode_to_vec());
        Status::with_details_and_metadata(
            Code::from_i32(status.code),
            status.message,
            encoded,
            metadata,
        )
    }
}

/// Names or values that HTTP does not allow are left out: the suite sends none.
fn map(headers: Vec<Header>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for header in headers {
        let Ok(name) = HeaderName::try_from(header.name) else { continue };
        for value in header.value {
            if let Ok(value) = HeaderValue::try_from(value) {
                map.append(name.clone(), value);
            }
        }
    }
    map
}

macro_rules! tells {
    ($response:ty) => {
        impl Tells for $response {
            fn of(payload: ConformancePayload) -> Self {
                Self { payload: Some(payload) }
            }
        }
    };
}

macro_rules! unary {
    ($($request:ty => $response:ty),*) => { $(
        impl Asks for $request {
            fn definition(&mut self) -> Option<Definition> {
                let asked = self.response_definition.clone()?;
                let (data, error) = match asked.response {
                    Some(UnaryResponseOf::Error(error)) => (vec![], Some(error)),
                    Some(UnaryResponseOf::ResponseData(data)) => (vec![data], None),
                    None => (vec![], None),
                };
                Some(Definition {
                    headers: map(asked.response_headers),
                    trailers: map(asked.response_trailers),
                    data,
                    delay: Duration::from_millis(asked.response_delay_ms.into()),
                    error,
                })
            }
        }
        tells!($response);
    )* };
}

macro_rules! streaming {
    ($($request:ty => $response:ty),*) => { $(
        impl Asks for $request {
            fn definition(&mut self) -> Option<Definition> {
                let asked = self.response_definition.clone()?;
                Some(Definition {
                    headers: map(asked.response_headers),
                    trailers: map(asked.response_trailers),
                    data: asked.response_data,
                    delay: Duration::from_millis(asked.response_delay_ms.into()),
                    error: asked.error,
                })
            }
        }
        tells!($response);
    )* };
}

unary!(
    UnaryRequest => UnaryResponse,
    IdempotentUnaryRequest => IdempotentUnaryResponse,
    ClientStreamRequest => ClientStreamResponse
);
streaming!(
    ServerStreamRequest => ServerStreamResponse,
    BidiStreamRequest => BidiStreamResponse
);
