//! A call on its way: what is counted of it, whenever and however it ends.

use std::{sync::Arc, time::Duration};

use contracts::mesh::v1::ErrorReason;
use http::Response;
use tokio::time::Instant;
use tonic::{Code, Status, body::Body};

use super::{
    Callers,
    breaker::Admission,
    endpoint::{Endpoint, PENALTY},
};
use crate::{
    Fault,
    serve::code_of,
    telemetry::{MethodMetrics, Span},
};

/// What is known of a method before it is called.
pub(super) struct Method {
    pub(super) path: String,
    /// The longest that may be waited; `None` for as long as the caller likes.
    pub(super) deadline: Option<Duration>,
    pub(super) is_safe_to_retry: bool,
    pub(super) is_request_unary: bool,
    pub(super) is_response_unary: bool,
    pub(super) metrics: Arc<MethodMetrics>,
}

/// A call that is being made: counted when it ends, however it ends.
pub(super) struct Made {
    pub(super) peer: Arc<str>,
    pub(super) callers: Callers,
    pub(super) method: Arc<Method>,
    pub(super) started: Instant,
    pub(super) deadline: Instant,
    /// What it ended with; a call dropped before it ended was cancelled.
    pub(super) code: Code,
    pub(super) span: Span,
}

/// An attempt that is under way at an instance: its load counts until it ends.
pub(super) struct Sent {
    pub(super) endpoint: Arc<Endpoint>,
    started: Instant,
    /// Whether the instance failed, and should be avoided.
    pub(super) failed: bool,
}

// === impl Made ===

impl Made {
    /// What its caller knows the peer by.
    pub(super) fn peer(&self) -> &str {
        self.callers.name(&self.peer)
    }

    pub(super) fn expired(&self) -> Fault {
        let fault = Fault::deadline_exceeded(ErrorReason::DeadlineExceeded).message(format!(
            "{} had no answer from {} within {}",
            self.method.path,
            self.peer(),
            crate::duration::rounded(&self.deadline.duration_since(self.started)),
        ));
        self.callers.blame(fault, &self.peer)
    }

    pub(super) fn refuse(mut self, fault: Fault) -> Response<Body> {
        self.code = fault.code();
        Status::from(fault).into_http()
    }

    pub(super) fn end(mut self, response: Response<Body>) -> Response<Body> {
        self.code = code_of(response.headers()).unwrap_or(Code::Ok);
        response
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        self.method.metrics.observe(self.code, self.started.elapsed());
        self.span.end(self.code);
    }
}

// === impl Sent ===

impl Sent {
    pub(super) fn begin(endpoint: Arc<Endpoint>) -> Self {
        endpoint.load.begin();
        Self { endpoint, started: Instant::now(), failed: false }
    }

    pub(super) fn fail(&mut self, admission: Admission) {
        self.failed = true;
        self.endpoint.breaker.failed(admission);
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        // A call given up counts with the time it was given; one that failed fast
        // must not make its instance look fast.
        let took = self.started.elapsed();
        self.endpoint.load.end(if self.failed { took.max(PENALTY) } else { took });
    }
}
