//! Following an order.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use chassis::{Fault, Tasks};
use contracts::{
    mesh::v1::ErrorReason,
    orders::v1::{Order as Message, WatchOrderRequest},
};
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::{Rpc, owner_of};
use crate::{
    Error,
    domain::{Order, is_final},
    store,
};

/// Orders that wait for a slow client: it gets the newest version when it reads
/// on, so that one is enough.
const WAITING: usize = 1;

/// The watches that are open.
#[derive(Debug, Clone, Default)]
pub(super) struct Watches(Arc<AtomicUsize>);

/// One of them, until it is dropped.
struct Open(Watches);

// === impl Watches ===

impl Watches {
    fn open(&self, most: usize) -> Result<Open, Fault> {
        let open = Open(self.clone());
        if self.0.fetch_add(1, Ordering::Relaxed) >= most {
            return Err(Fault::resource_exhausted(ErrorReason::Overloaded)
                .message(format!("{most} orders are being watched, and no more can be"))
                .retry_after(std::time::Duration::from_secs(5)));
        }
        Ok(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Rpc {
    pub(super) async fn watch(
        &self,
        request: Request<WatchOrderRequest>,
    ) -> Result<ReceiverStream<Result<Message, Status>>, Error> {
        let owner = owner_of(&request);
        let request = request.into_inner();
        let open = self.watches.open(self.config.watches_max)?;
        let order = self.demand(&request.order_id, owner.as_deref()).await?;
        let (sender, receiver) = mpsc::channel(WAITING);
        let watch = Watch { rpc: self.clone(), owner, seen: request.etag, sender, _open: open };
        let stopping = self.tasks.clone();
        self.tasks.spawn("watch", async move { watch.follow(order, &stopping).await });
        Ok(ReceiverStream::new(receiver))
    }
}

struct Watch {
    rpc: Rpc,
    owner: Option<String>,
    /// The etag that the client has.
    seen: String,
    sender: mpsc::Sender<Result<Message, Status>>,
    _open: Open,
}

// === impl Watch ===

impl Watch {
    /// Sends what changes until the order has ended or the client is gone; its
    /// deadline ends the stream from outside.
    async fn follow(mut self, first: Order, tasks: &Tasks) {
        let sender = self.sender.clone();
        let ended = tokio::select! {
            () = sender.closed() => return,
            () = tasks.cancelled() => Err(Fault::unavailable(ErrorReason::Unavailable)
                .message("the service is stopping: watch again, with the last etag")
                .into()),
            ended = self.changes(first) => ended,
        };
        if let Err(error) = ended {
            let status = Status::from(Fault::from(error));
            // Whoever reads nothing is not told either.
            let _gone = sender.try_send(Err(status));
        }
    }

    async fn changes(&mut self, first: Order) -> Result<(), Error> {
        let order_id = first.order_id.clone();
        let mut order = first;
        let mut looks = tokio::time::interval(self.rpc.config.watch_period);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_last = is_final(order.status);
            if order.etag() != self.seen {
                self.seen = order.etag();
                if self.sender.send(Ok(Message::from(&order))).await.is_err() {
                    return Ok(());
                }
            }
            if is_last {
                return Ok(());
            }
            loop {
                looks.tick().await;
                let version = store::order_version(&self.rpc.database, &order_id).await?;
                if version != Some(order.version) {
                    break;
                }
            }
            order = self.rpc.demand(&order_id, self.owner.as_deref()).await?;
        }
    }
}
