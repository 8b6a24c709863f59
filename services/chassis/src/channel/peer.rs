//! One peer, and the life of a call to it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use contracts::mesh::v1::ErrorReason;
use http::{
    HeaderMap, Request, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use prometheus_client::metrics::counter::Counter;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt as _;

use super::{
    Config, Credential, SERVICE_IDENTITY, Switchboard,
    answer::Answer,
    breaker::Admission,
    budget::Budget,
    discovery::Directory,
    endpoint::Endpoint,
    made::{Made, Method, Sent},
    outgoing::Outgoing,
    stream::Arriving,
    tls::Trust,
};
use crate::{
    Contract, Fault, call, random,
    serve::{code_of, timeout},
    telemetry::Telemetry,
};

/// What a server says of when to come again, in milliseconds; negative for never.
const PUSHBACK: &str = "grpc-retry-pushback-ms";
/// As good as no deadline.
const UNBOUNDED: Duration = Duration::from_secs(24 * 60 * 60);

/// A peer by its name.
pub(super) struct Peer {
    name: Arc<str>,
    methods: HashMap<String, Arc<Method>>,
    unknown: Arc<Method>,
    telemetry: Telemetry,
    switchboard: Switchboard,
    directory: Result<Arc<Directory>, String>,
    config: Config,
    credential: Credential,
    budget: Budget,
    retries: Counter,
    retries_refused: Counter,
}

/// What an attempt came to.
enum Outcome {
    /// The head of an answer by the peer's stack in this process.
    Local(Response<Body>),
    /// The head of an answer from an instance.
    Remote(Response<Arriving>, Sent),
    /// There is no answer.
    Failed(Fault),
}

// === impl Peer ===

impl Peer {
    #[expect(
        clippy::too_many_arguments,
        reason = "they are what its two makers have, each of another kind"
    )]
    pub(super) fn new(
        name: &str,
        contract: &Contract,
        telemetry: Telemetry,
        switchboard: Switchboard,
        addresses: Option<&str>,
        config: Config,
        trust: Arc<Trust>,
        credential: Credential,
    ) -> Self {
        let (service, metrics) = (telemetry.service().to_owned(), telemetry.metrics().clone());
        let methods = contract
            .methods_of(name)
            .map(|method| {
                let known = Method {
                    path: method.path().to_owned(),
                    deadline: Some(method.deadline()),
                    is_safe_to_retry: method.safe_to_retry() && method.is_request_unary(),
                    is_request_unary: method.is_request_unary(),
                    is_response_unary: !method.descriptor().is_server_streaming(),
                    metrics: metrics.client_method(&service, method.path()),
                };
                (method.path().to_owned(), Arc::new(known))
            })
            .collect();
        let unknown = Arc::new(Method {
            path: "/unknown/unknown".to_owned(),
            deadline: None,
            is_safe_to_retry: false,
            is_request_unary: false,
            is_response_unary: false,
            metrics: metrics.client_method(&service, "/unknown/unknown"),
        });
        let directory = Directory::new(name, addresses, config.clone(), trust, telemetry.clone());
        Self {
            name: Arc::from(name),
            methods,
            unknown,
            switchboard,
            directory: directory.map(Arc::new).map_err(|error| error.to_string()),
            budget: Budget::new(config.retry_percent, config.retry_reserve),
            retries: metrics.retries(&service, name),
            retries_refused: metrics.retries_refused(&service, name),
            telemetry,
            config,
            credential,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Makes one call, with whatever retries it may have.
    pub(super) async fn call(self: Arc<Self>, mut request: Request<Body>) -> Response<Body> {
        let method = Arc::clone(self.methods.get(request.uri().path()).unwrap_or(&self.unknown));
        let started = Instant::now();
        let asked = match timeout::read(request.headers()) {
            Ok(asked) => asked,
            Err(fault) => return Status::from(fault).into_http(),
        };
        let longest = method.deadline.unwrap_or(UNBOUNDED);
        let mut allowed = asked.unwrap_or(longest).min(longest);
        let headers = request.headers_mut();
        let parent = call::with(|call| {
            let call = call?;
            let left = call.deadline.saturating_duration_since(started);
            allowed = allowed.min(left.saturating_sub(self.config.deadline_overhead));
            if let Some(token) = &call.authorization
                && !headers.contains_key(AUTHORIZATION)
            {
                headers.insert(AUTHORIZATION, token.clone());
            }
            Some(call.trace.clone())
        });
        let (trace, span) = self.telemetry.call(&method.metrics, parent, &self.name);
        trace.inject(headers);
        timeout::write(headers, allowed);
        if let Some(identity) = (self.credential)() {
            headers.insert(SERVICE_IDENTITY, identity);
        }
        let deadline = started + allowed;
        let peer = Arc::clone(&self.name);
        let callers = self.config.callers;
        let made = Made { peer, callers, method, started, deadline, code: Code::Cancelled, span };
        if allowed.is_zero() {
            let fault = made.expired();
            return made.refuse(fault);
        }
        self.budget.earn();
        let method = &made.method;
        let mut outgoing = if method.is_request_unary {
            let is_short = method.is_response_unary;
            let read = Outgoing::read(request, self.config.replay_bytes_max, is_short);
            match timeout_at(deadline, read).await {
                Ok(outgoing) => outgoing,
                Err(_elapsed) => {
                    let fault = made.expired();
                    return made.refuse(fault);
                }
            }
        } else {
            Outgoing::stream(request)
        };
        if method.is_safe_to_retry && outgoing.is_repeatable() {
            self.again_and_again(outgoing, made).await
        } else {
            let outcome = self.attempt(&mut outgoing, deadline, &made).await;
            self.finish(outcome, made)
        }
    }

    /// Makes a call that is safe to make again, until it is answered, or its
    /// attempts, its time or the budget are used up.
    async fn again_and_again(&self, mut outgoing: Outgoing, mut made: Made) -> Response<Body> {
        let mut attempt = 1;
        loop {
            let outcome = self.attempt(&mut outgoing, made.deadline, &made).await;
            let Some(wait) = self.wait_before_retry(&outcome, attempt) else {
                return self.finish(outcome, made);
            };
            if Instant::now() + wait >= made.deadline {
                return self.finish(outcome, made);
            }
            if !self.budget.spend() {
                self.retries_refused.inc();
                return self.finish(outcome, made);
            }
            drop(outcome);
            self.retries.inc();
            made.span.retried("UNAVAILABLE");
            sleep(wait).await;
            attempt += 1;
            let left = made.deadline.saturating_duration_since(Instant::now());
            timeout::write(&mut outgoing.headers, left);
        }
    }

    /// How long to wait before an attempt is made again; `None` if it should not be.
    fn wait_before_retry(&self, outcome: &Outcome, attempt: u32) -> Option<Duration> {
        if attempt >= self.config.attempts_max {
            return None;
        }
        let asked = match outcome {
            // An open breaker fails fast: waiting for it is the caller's to decide.
            Outcome::Failed(fault)
                if fault.code() == Code::Unavailable && fault.retry_delay().is_none() =>
            {
                None
            }
            Outcome::Failed(_) => return None,
            Outcome::Local(response) => pushback(response.headers())?,
            Outcome::Remote(response, _) => pushback(response.headers())?,
        };
        let doubled = self.config.retry_backoff.saturating_mul(1 << (attempt - 1).min(10));
        Some(asked.unwrap_or_else(|| random::jitter(doubled, 50)))
    }

    /// Hands a request over, or sends it to an instance.
    async fn attempt(&self, outgoing: &mut Outgoing, deadline: Instant, made: &Made) -> Outcome {
        if let Some(stack) = self.switchboard.find(&self.name) {
            // The stack itself watches the deadline.
            return Outcome::Local(stack.serve(outgoing.request()).await);
        }
        match timeout_at(deadline, self.send(outgoing)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Outcome::Failed(made.expired()),
        }
    }

    /// Sends a request to an instance, and to another if it did not leave.
    async fn send(&self, outgoing: &mut Outgoing) -> Outcome {
        let mut attempt = 1;
        loop {
            let (endpoint, admission, others) = match self.choose().await {
                Ok(chosen) => chosen,
                Err(fault) => return Outcome::Failed(fault),
            };
            let mut sent = Sent::begin(endpoint);
            match sent.endpoint.send(&self.config, outgoing).await {
                Ok(response) => {
                    if is_unavailable(&response) {
                        sent.fail(admission);
                    } else {
                        sent.endpoint.breaker.succeeded(admission);
                    }
                    return Outcome::Remote(response, sent);
                }
                Err(broken) => {
                    if broken.is_news || admission == Admission::Probe {
                        sent.fail(admission);
                    }
                    // Its load is counted now, so that the other is chosen.
                    let may_move = others > 0 && attempt < self.config.attempts_max;
                    if !broken.is_unprocessed || !may_move {
                        let address = sent.endpoint.address();
                        return Outcome::Failed(
                            self.unavailable(format!("{address}: {}", broken.error)),
                        );
                    }
                    attempt += 1;
                }
            }
        }
    }

    /// The less loaded of two random instances that are not known to fail.
    /// With it comes how many others there are.
    async fn choose(&self) -> Result<(Arc<Endpoint>, Admission, usize), Fault> {
        let directory = self.directory.as_ref().map_err(|error| self.unavailable(error.clone()))?;
        let endpoints =
            directory.endpoints().await.map_err(|error| self.unavailable(error.to_string()))?;
        if let [only] = endpoints.as_slice() {
            return match only.breaker.admit() {
                Admission::Refused(left) => Err(self.refused(1, left)),
                admission => Ok((Arc::clone(only), admission, 0)),
            };
        }
        // An open breaker whose time is over gets its probe; else it is passed by.
        let mut soonest = Duration::MAX;
        let mut open: Vec<&Arc<Endpoint>> =
            endpoints.iter().filter(|endpoint| !endpoint.breaker.is_open()).collect();
        while !open.is_empty() {
            let first = random::below(open.len());
            let second = (first + 1 + random::below(open.len() - 1)) % open.len();
            let cost = |at: usize| open.get(at).map_or(u64::MAX, |endpoint| endpoint.load.cost());
            let better = if cost(second) < cost(first) { second } else { first };
            let endpoint = open.swap_remove(better);
            match endpoint.breaker.admit() {
                Admission::Refused(left) => soonest = soonest.min(left),
                admission => return Ok((Arc::clone(endpoint), admission, endpoints.len() - 1)),
            }
        }
        for endpoint in endpoints.iter() {
            match endpoint.breaker.admit() {
                Admission::Refused(left) => soonest = soonest.min(left),
                admission => return Ok((Arc::clone(endpoint), admission, endpoints.len() - 1)),
            }
        }
        Err(self.refused(endpoints.len(), soonest))
    }

    /// Every breaker is open. The log had its line when they opened.
    fn refused(&self, instances: usize, left: Duration) -> Fault {
        let who = if instances == 1 {
            "it".to_owned()
        } else {
            format!("each of its {instances} instances")
        };
        let name = self.config.callers.name(&self.name);
        let fault = Fault::unavailable(ErrorReason::Unavailable)
            .message(format!("{name} is unavailable: {who} failed again and again"))
            .metadata("breaker", "open")
            .retry_after(left);
        self.config.callers.blame(fault, &self.name)
    }

    fn unavailable(&self, why: String) -> Fault {
        let callers = self.config.callers;
        let name = callers.name(&self.name);
        let fault = Fault::unavailable(ErrorReason::Unavailable)
            .message(format!("{name} is unavailable: {}", callers.reason(&why)))
            .because(why);
        self.config.callers.blame(fault, &self.name)
    }

    /// The response of the last attempt; the call is over, or its body goes on.
    fn finish(&self, outcome: Outcome, made: Made) -> Response<Body> {
        match outcome {
            Outcome::Failed(fault) => made.refuse(fault),
            Outcome::Local(response)
                if made.method.is_response_unary || code_of(response.headers()).is_some() =>
            {
                made.end(response)
            }
            Outcome::Local(response) => {
                let deadline = made.deadline;
                response.map(|body| Body::new(Answer::new(body, made, None, deadline)))
            }
            Outcome::Remote(response, mut sent) => {
                if let Some(fault) = self.not_grpc(&response) {
                    sent.failed = true;
                    return made.refuse(fault);
                }
                let deadline = made.deadline;
                if code_of(response.headers()).is_some() {
                    return made.end(response.map(Body::new));
                }
                response.map(|body| Body::new(Answer::new(body, made, Some(sent), deadline)))
            }
        }
    }

    /// What a proxy or a stranger on the peer's port says instead of gRPC.
    fn not_grpc<B>(&self, response: &Response<B>) -> Option<Fault> {
        if response.status() == StatusCode::OK {
            let is_grpc = response
                .headers()
                .get(CONTENT_TYPE)
                .is_none_or(|kind| kind.as_bytes().starts_with(b"application/grpc"));
            return (!is_grpc)
                .then(|| self.unavailable("what answers there does not speak gRPC".to_owned()));
        }
        Some(self.unavailable(format!("what answers there says HTTP {}", response.status())))
    }
}

/// What a server that says UNAVAILABLE wants: `None` if it does not say so or
/// wants no retry, else when it wants one, if it says.
fn pushback(headers: &HeaderMap) -> Option<Option<Duration>> {
    if code_of(headers) != Some(Code::Unavailable) {
        return None;
    }
    if let Some(value) = headers.get(PUSHBACK) {
        // What is no number forbids it too, says gRPC.
        let millis: u64 = value.to_str().ok()?.parse().ok()?;
        return Some(Some(Duration::from_millis(millis)));
    }
    let status = Status::from_header_map(headers)?;
    Some(status.get_details_retry_info().and_then(|info| info.retry_delay))
}

fn is_unavailable<B>(response: &Response<B>) -> bool {
    match code_of(response.headers()) {
        Some(code) => code == Code::Unavailable,
        None => matches!(
            response.status(),
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        ),
    }
}
