//! Inventory and payments as orders sees them: small, stateful, and honest about
//! repeated calls. A script makes a call fail before or after its effect.

mod payments;
mod stock;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use chassis::Routes;
use contracts::{
    inventory::v1::inventory_service_server::InventoryServiceServer,
    mesh::v1::feed_service_server::FeedServiceServer,
    payments::v1::{
        payment_service_server::PaymentServiceServer, refund_service_server::RefundServiceServer,
    },
};
use prost::Message;
use tonic::{Response, Status};

pub(crate) use payments::Payments;
pub(crate) use stock::Stock;

/// When a scripted failure strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strike {
    /// Nothing was done.
    Before,
    /// It was done; the answer is lost.
    After,
}

/// Failures to come, by method.
#[derive(Debug, Default)]
pub(crate) struct Script {
    strikes: BTreeMap<&'static str, VecDeque<(Strike, Status)>>,
}

impl Script {
    pub(crate) fn fail(&mut self, method: &'static str, strike: Strike, status: Status) {
        self.strikes.entry(method).or_default().push_back((strike, status));
    }

    fn next(&mut self, method: &str) -> Option<(Strike, Status)> {
        self.strikes.get_mut(method)?.pop_front()
    }
}

/// Answers by request id, as every Mercat service keeps them.
#[derive(Debug, Default)]
pub(crate) struct Replays {
    answers: BTreeMap<(&'static str, String), Vec<u8>>,
}

impl Replays {
    fn find<M: Message + Default>(&self, method: &'static str, request_id: &str) -> Option<M> {
        let bytes = self.answers.get(&(method, request_id.to_owned()))?;
        Some(M::decode(bytes.as_slice()).unwrap())
    }

    fn keep<M: Message>(&mut self, method: &'static str, request_id: &str, answer: &M) {
        self.answers.insert((method, request_id.to_owned()), answer.encode_to_vec());
    }
}

/// Runs a call as a Mercat service would: scripted failures, replays, effect.
fn serve<S, M: Message + Default + Clone>(
    state: &Mutex<S>,
    method: &'static str,
    request_id: &str,
    parts: impl Fn(&mut S) -> (&mut Script, &mut Replays),
    effect: impl FnOnce(&mut S) -> Result<M, Status>,
) -> Result<Response<M>, Status> {
    let mut state = lock(state);
    let strike = parts(&mut state).0.next(method);
    if let Some((Strike::Before, status)) = strike {
        return Err(status);
    }
    let replayed =
        (!request_id.is_empty()).then(|| parts(&mut state).1.find(method, request_id)).flatten();
    let answer = match replayed {
        Some(answer) => answer,
        None => {
            let answer: M = effect(&mut state)?;
            parts(&mut state).1.keep(method, request_id, &answer);
            answer
        }
    };
    match strike {
        Some((Strike::After, status)) => Err(status),
        _ => Ok(Response::new(answer)),
    }
}

fn lock<S>(state: &Mutex<S>) -> MutexGuard<'_, S> {
    state.lock().unwrap()
}

/// Both peers of a test.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub stock: Arc<Stock>,
    pub payments: Arc<Payments>,
}

impl World {
    pub(crate) fn inventory(&self) -> Routes {
        Routes::new().add(InventoryServiceServer::from_arc(Arc::clone(&self.stock)))
    }

    pub(crate) fn payments(&self) -> Routes {
        Routes::new()
            .add(PaymentServiceServer::from_arc(Arc::clone(&self.payments)))
            .add(RefundServiceServer::from_arc(Arc::clone(&self.payments)))
            .add(FeedServiceServer::from_arc(Arc::clone(&self.payments)))
    }

    /// Nothing is reserved and nobody's money is held.
    pub(crate) fn is_clean(&self) -> bool {
        self.stock.held().is_empty() && self.payments.held() == 0 && self.payments.taken() == 0
    }
}
