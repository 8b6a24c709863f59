//! The outbox, served.

use std::time::Duration;

use bytes::Bytes;
use contracts::mesh::v1::{
    FeedEvent, PullEventsRequest, PullEventsResponse,
    feed_service_client::FeedServiceClient,
    feed_service_server::{FeedService, FeedServiceServer},
};
use futures_util::future::BoxFuture;
use prost::Message;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, body::Body, client::GrpcService};

use crate::{
    Fault, args,
    store::{Database, Engine},
    tasks::Tasks,
};

/// How many events a pull gives that asks for no number.
const LIMIT_DEFAULT: i32 = 100;
/// How many events a pull gives at most.
const LIMIT_MAX: i32 = 1_000;
/// No further event is added to an answer that has this many bytes.
const BYTES_MAX: usize = 1024 * 1024;
/// How long a pull waits at most.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// On PostgreSQL other replicas commit events that nobody here tells of.
const POLL_PERIOD: Duration = Duration::from_millis(500);

crate::statements! {
    /// The events after a position.
    READ_EVENTS = "select seq, envelope from outbox where seq > $1 order by seq limit $2";
}

/// Where a consumer pulls events from: a peer, or a database at hand.
pub trait Feed: Send + Sync + 'static {
    /// The events after a position.
    fn pull(&self, request: PullEventsRequest) -> BoxFuture<'_, Result<PullEventsResponse, Fault>>;
}

/// The feed of a service's own outbox.
#[derive(Debug, Clone)]
pub struct FeedServer {
    database: Database,
    stop: CancellationToken,
}

/// Serves a service's outbox until its drain begins.
pub fn feed(database: &Database, tasks: &Tasks) -> FeedServiceServer<FeedServer> {
    FeedServiceServer::new(FeedServer::new(database.clone(), tasks.token()))
}

// === impl FeedServer ===

impl FeedServer {
    /// A feed whose waiting pulls end when `stop` is cancelled.
    pub fn new(database: Database, stop: CancellationToken) -> Self {
        Self { database, stop }
    }

    async fn read(&self, request: &PullEventsRequest) -> Result<PullEventsResponse, Fault> {
        let ours = self.database.feed_id();
        let after = if request.feed_id == ours { request.after_seq } else { 0 };
        let limit = match request.limit {
            ..=0 => LIMIT_DEFAULT,
            limit => limit.min(LIMIT_MAX),
        };
        let rows: Vec<(i64, Bytes)> =
            self.database.fetch_all(READ_EVENTS, args![after, i64::from(limit)]).await?;
        let mut events = Vec::with_capacity(rows.len());
        let mut bytes = 0;
        for (seq, envelope) in rows {
            bytes += envelope.len();
            if bytes > BYTES_MAX && !events.is_empty() {
                break;
            }
            let event =
                Message::decode(envelope).map_err(|problem| Fault::internal().because(problem))?;
            events.push(FeedEvent { seq, event: Some(event) });
        }
        Ok(PullEventsResponse { feed_id: ours.to_owned(), events })
    }

    async fn wait(&self, request: PullEventsRequest) -> Result<PullEventsResponse, Fault> {
        let wait = request
            .wait
            .and_then(|wait| Duration::try_from(wait).ok())
            .unwrap_or_default()
            .min(WAIT_MAX);
        let deadline = Instant::now() + wait;
        let mut committed = self.database.committed();
        loop {
            committed.borrow_and_update();
            let found = self.read(&request).await?;
            if !found.events.is_empty() || Instant::now() >= deadline || self.stop.is_cancelled() {
                return Ok(found);
            }
            let pause = match self.database.engine() {
                Engine::Sqlite => deadline,
                Engine::Postgres => deadline.min(Instant::now() + POLL_PERIOD),
            };
            tokio::select! {
                // The sender lives as long as the database that we hold.
                _ = committed.changed() => {}
                () = tokio::time::sleep_until(pause) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }
}

#[tonic::async_trait]
impl FeedService for FeedServer {
    async fn pull_events(
        &self,
        request: Request<PullEventsRequest>,
    ) -> Result<Response<PullEventsResponse>, Status> {
        Ok(Response::new(self.wait(request.into_inner()).await?))
    }
}

impl Feed for FeedServer {
    fn pull(&self, request: PullEventsRequest) -> BoxFuture<'_, Result<PullEventsResponse, Fault>> {
        Box::pin(self.wait(request))
    }
}

impl<T> Feed for FeedServiceClient<T>
where
    T: GrpcService<Body, Error: Into<tonic::codegen::StdError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    T::ResponseBody: http_body::Body<Data = Bytes, Error: Into<tonic::codegen::StdError> + Send>
        + Send
        + 'static,
{
    fn pull(&self, request: PullEventsRequest) -> BoxFuture<'_, Result<PullEventsResponse, Fault>> {
        let mut client = self.clone();
        Box::pin(async move { Ok(client.pull_events(request).await?.into_inner()) })
    }
}
