//! The call being served: what a handler's own calls to its peers inherit.
//!
//! It is a task-local. The server stack sets it around the handler, the client
//! stack reads it: the deadline shrinks, the trace goes on and the caller's
//! token is passed on without a line in any service.

use std::{future::Future, time::Duration};

use http::HeaderValue;
use tokio::time::Instant;

use crate::telemetry::TraceContext;

tokio::task_local! {
    static CALL: Call;
}

/// What is known of the call that this task serves.
#[derive(Debug, Clone)]
pub struct Call {
    /// When its answer is worth nothing any more.
    pub deadline: Instant,
    /// Where it stands in its trace.
    pub trace: TraceContext,
    /// The token it came with, for calls made on the caller's behalf.
    pub authorization: Option<HeaderValue>,
}

// === impl Call ===

impl Call {
    /// A call that begins here: a new trace, nobody's token.
    pub fn begin(timeout: Duration) -> Self {
        Self { deadline: Instant::now() + timeout, trace: TraceContext::start(), authorization: None }
    }

    /// What is left of the deadline.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// The call this task serves, if it serves one.
pub fn current() -> Option<Call> {
    CALL.try_with(Clone::clone).ok()
}

/// Looks at the call this task serves without copying it.
pub fn with<T>(look: impl FnOnce(Option<&Call>) -> T) -> T {
    let mut look = Some(look);
    match CALL.try_with(|call| look.take().map(|look| look(Some(call)))) {
        Ok(Some(seen)) => seen,
        // `look` was not taken: there is no call.
        Ok(None) | Err(_) => match look.take() {
            Some(look) => look(None),
            None => unreachable!("`look` is taken only when its result is returned"),
        },
    }
}

/// The `traceparent` of the call this task serves: kept with the events it makes.
pub fn traceparent() -> Option<String> {
    with(|call| call.map(|call| call.trace.traceparent()))
}

/// Runs a future as the service of this call.
pub fn scope<F: Future>(call: Call, future: F) -> impl Future<Output = F::Output> {
    CALL.scope(call, future)
}

/// Runs a closure as the service of this call.
pub fn scope_sync<T>(call: Call, run: impl FnOnce() -> T) -> T {
    CALL.sync_scope(call, run)
}
