//! The call being served: what a handler's own calls to its peers inherit.
//!
//! It is a task-local. The server stack sets it around the handler, the client
//! stack reads it: the deadline shrinks, the trace goes on and the caller's
//! token is passed on without a line in any service.

use std::{future::Future, time::Duration};

use http::HeaderValue;
use opentelemetry::context::FutureExt as _;
use tokio::time::Instant;

use crate::telemetry::{self, TraceContext, Tracer};

tokio::task_local! {
    static CURRENT: Current;
}

/// A call, and who records the spans that its handler opens.
struct Current {
    call: Call,
    tracer: Option<Tracer>,
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
        Self {
            deadline: Instant::now() + timeout,
            trace: TraceContext::start(),
            authorization: None,
        }
    }

    /// What is left of the deadline.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// The call this task serves, if it serves one.
pub fn current() -> Option<Call> {
    with(|call| call.cloned())
}

/// Looks at the call this task serves without copying it.
pub fn with<T>(look: impl FnOnce(Option<&Call>) -> T) -> T {
    with_current(|current| look(current.map(|current| &current.call)))
}

/// The tracer of the service whose call this task serves.
pub(crate) fn with_tracer<T>(look: impl FnOnce(Option<&Tracer>) -> T) -> T {
    with_current(|current| look(current.and_then(|current| current.tracer.as_ref())))
}

fn with_current<T>(look: impl FnOnce(Option<&Current>) -> T) -> T {
    let mut look = Some(look);
    let seen = CURRENT.try_with(|current| look.take().map(|look| look(Some(current))));
    match (seen, look) {
        (Ok(Some(seen)), _) => seen,
        (_, Some(look)) => look(None),
        (_, None) => unreachable!("`look` is taken only when its result is returned"),
    }
}

/// The `traceparent` of the call this task serves: kept with the events it makes.
pub fn traceparent() -> Option<String> {
    with(|call| call.map(|call| call.trace.traceparent()))
}

/// Runs a future as the service of this call.
pub fn scope<F: Future>(call: Call, future: F) -> impl Future<Output = F::Output> {
    scope_of(call, inherited(), future)
}

/// As [`scope`], with the tracer of the service.
pub(crate) async fn scope_of<F: Future>(
    call: Call,
    tracer: Option<Tracer>,
    future: F,
) -> F::Output {
    match tracer {
        None => CURRENT.scope(Current { call, tracer: None }, future).await,
        Some(tracer) => {
            // What is opened in there must not hang beneath the spans of a caller
            // in this process.
            let future = future.with_context(telemetry::beneath(&call.trace));
            CURRENT.scope(Current { call, tracer: Some(tracer) }, future).await
        }
    }
}

/// Runs a closure as the service of this call.
pub fn scope_sync<T>(call: Call, run: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(Current { call, tracer: inherited() }, run)
}

fn inherited() -> Option<Tracer> {
    with_current(|current| current.and_then(|current| current.tracer.clone()))
}
