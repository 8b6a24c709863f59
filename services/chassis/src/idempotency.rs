//! The same call twice has one effect and one answer.
//!
//! A row per (caller, request type, `request_id`) is written in the transaction
//! of the effect. The same call sent again finds it and gets the same bytes;
//! another payload under the same id is refused. Failures are not stored: they
//! are rolled back with everything else, and the call may be tried again.
//!
//! [`Database::once`] serves the usual RPC, whose whole effect is one
//! transaction. Where a peer or a provider must be called between two
//! transactions, use [`begin`] in the first and [`finish`] in the last.

use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use contracts::mesh::v1::ErrorReason;
use futures_util::future::BoxFuture;
use prost::{Message, Name};
use tonic::{Request, Response, metadata::MetadataValue};

use crate::{
    Caller, Fault, args,
    contract::Contract,
    store::{Database, Error, FromRow, Origin, Row, Tx},
};

/// How long an answer is kept.
pub const KEEP: Duration = Duration::from_secs(24 * 60 * 60);
/// How long an answer is kept where money moves.
pub const KEEP_MONEY: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Metadata of an answer that was given before.
pub const REPLAYED: &str = "idempotent-replayed";
/// When to ask again for the answer of a call that still runs.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// How many rows one sweep forgets at most.
const SWEEP_MAX: i64 = 1_000;
/// The field that makes a request repeatable.
const REQUEST_ID: &str = "request_id";

crate::statements! {
    /// Claims a key. No row if somebody has it.
    CLAIM_KEY = "insert into idempotency
            (principal, method, request_id, request_hash, state, response, create_time, expire_time)
        values ($1, $2, $3, $4, 'RUNNING', null, $5, $6)
        on conflict (principal, method, request_id) do nothing";
    /// What is known of a key that somebody has.
    FIND_KEY = "select request_hash, state, response, expire_time from idempotency
        where principal = $1 and method = $2 and request_id = $3 {{FOR_UPDATE}}";
    /// Takes over a key whose owner died, or whose answer is forgotten.
    RECLAIM_KEY = "update idempotency
        set request_hash = $4, state = 'RUNNING', response = null, create_time = $5, expire_time = $6
        where principal = $1 and method = $2 and request_id = $3";
    /// Stores the answer.
    FINISH_KEY = "update idempotency set state = 'DONE', response = $4, expire_time = $5
        where principal = $1 and method = $2 and request_id = $3";
    /// Stores the answer in the transaction that claimed the key, which said then
    /// how long it is kept.
    FINISH_AT_ONCE = "update idempotency set state = 'DONE', response = $4
        where principal = $1 and method = $2 and request_id = $3";
    /// Gives a key back.
    FORGET_KEY = "delete from idempotency
        where principal = $1 and method = $2 and request_id = $3 and state = 'RUNNING'";
    /// Forgets what is old.
    SWEEP_KEYS = "delete from idempotency where (principal, method, request_id) in (
        select principal, method, request_id from idempotency
        where expire_time < $1 and state = 'DONE' order by expire_time limit $2)";
}

/// Names one call of one caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    principal: String,
    method: String,
    request_id: String,
    hash: Vec<u8>,
    keep: Duration,
}

/// What [`begin`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// Nobody did it: do it. If the one who had begun it died, its lease ran out,
    /// and this is you: the effect must bear being taken up in the middle.
    Fresh,
    /// Somebody is doing it. Answer with [`in_progress`].
    Running,
    /// It is done, and this is the encoded answer. See [`replay`].
    Done(Bytes),
}

struct Found {
    hash: Vec<u8>,
    done: bool,
    response: Option<Bytes>,
    expire_time: crate::Time,
}

impl FromRow for Found {
    fn from_row(row: &Row<'_>) -> Result<Self, Error> {
        Ok(Self {
            hash: row.get("request_hash")?,
            done: row.get::<String>("state")? == "DONE",
            response: row.get("response")?,
            expire_time: row.get("expire_time")?,
        })
    }
}

// === impl Key ===

impl Key {
    /// The key of a request; `None` if it carries no `request_id`, so that it
    /// cannot be told from its repetition.
    pub fn of<M: Message + Name>(request: &Request<M>) -> Option<Self> {
        Self::new(Caller::of(request).key(), request.get_ref())
    }

    /// The key of a message from this caller; `None` if it has no `request_id`.
    ///
    /// The hash is over the message's encoding, which is the same for equal
    /// messages unless they hold maps: a repeatable request has none.
    pub fn new<M: Message + Name>(principal: impl Into<String>, message: &M) -> Option<Self> {
        let encoded = message.encode_to_vec();
        let request_id = text_field(&encoded, request_id_number(&M::full_name())?)?;
        if request_id.is_empty() {
            return None;
        }
        Some(Self {
            principal: principal.into(),
            method: M::full_name(),
            request_id: request_id.to_owned(),
            hash: digest::digest(&digest::SHA256, &encoded).as_ref().to_vec(),
            keep: KEEP,
        })
    }

    /// The same, with its answer kept this long: [`KEEP_MONEY`] where money moves.
    #[must_use]
    pub fn keep(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    /// The `request_id`.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }
}

/// Claims a key for an effect that spans transactions: the first of them. The
/// lease says when its owner is taken for dead.
pub async fn begin(tx: &mut Tx, key: &Key, lease: Duration) -> Result<Begin, Fault> {
    let now = tx.clock().now();
    let claimed = tx
        .execute(
            CLAIM_KEY,
            args![
                &key.principal,
                &key.method,
                &key.request_id,
                key.hash.as_slice(),
                now,
                now + lease
            ],
        )
        .await?;
    if claimed == 1 {
        return Ok(Begin::Fresh);
    }
    let Some(found) = tx
        .fetch_optional::<Found>(FIND_KEY, args![&key.principal, &key.method, &key.request_id])
        .await?
    else {
        // Somebody gave it back or swept it between the two statements.
        return Err(in_progress());
    };
    let expired = found.expire_time <= now;
    if found.hash != key.hash && !(expired && found.done) {
        return Err(reused());
    }
    match found.response {
        Some(response) if found.done && !expired => Ok(Begin::Done(response)),
        _ if !expired => Ok(Begin::Running),
        _ => {
            tx.execute(
                RECLAIM_KEY,
                args![
                    &key.principal,
                    &key.method,
                    &key.request_id,
                    key.hash.as_slice(),
                    now,
                    now + lease
                ],
            )
            .await?;
            Ok(Begin::Fresh)
        }
    }
}

/// Stores the answer of a key: in the last transaction of its effect.
pub async fn finish<M: Message>(tx: &mut Tx, key: &Key, response: &M) -> Result<(), Error> {
    let expire_time = tx.clock().now() + key.keep;
    tx.execute(
        FINISH_KEY,
        args![&key.principal, &key.method, &key.request_id, response.encode_to_vec(), expire_time],
    )
    .await?;
    Ok(())
}

/// Gives a key back, for an effect that failed and left nothing: the call may be
/// tried again under the same id.
pub async fn forget(tx: &mut Tx, key: &Key) -> Result<(), Error> {
    tx.execute(FORGET_KEY, args![&key.principal, &key.method, &key.request_id]).await?;
    Ok(())
}

/// The answer of [`Begin::Running`].
pub fn in_progress() -> Fault {
    Fault::aborted(ErrorReason::IdempotencyInProgress)
        .message(
            "the first call with this request_id is still running: ask again with the same one",
        )
        .retry_after(RETRY_DELAY)
}

/// The answer of [`Begin::Done`].
pub fn replay<M: Message + Default>(stored: Bytes) -> Result<Response<M>, Fault> {
    let message = M::decode(stored).map_err(|problem| Fault::internal().because(problem))?;
    let mut response = Response::new(message);
    response.metadata_mut().insert(REPLAYED, MetadataValue::from_static("true"));
    Ok(response)
}

fn reused() -> Fault {
    Fault::invalid_argument(ErrorReason::IdempotencyKeyReused)
        .message("this request_id was used before for another request")
        .violation(
            REQUEST_ID,
            "was used for another request: make a new UUID for each thing you want done",
        )
}

/// What became of a call in [`Database::once`].
enum Once<M> {
    Ran(M),
    Replayed(Bytes),
}

impl Database {
    /// Runs a mutating RPC whose whole effect is one transaction, once: sent
    /// again with the same `request_id`, it gets the same answer and the metadata
    /// `idempotent-replayed: true`. A request without a `request_id` just runs.
    pub async fn once<Req, Resp, E, F>(
        &self,
        request: &Request<Req>,
        effect: F,
    ) -> Result<Response<Resp>, E>
    where
        Req: Message + Name + Clone + 'static,
        Resp: Message + Default + 'static,
        E: From<Error> + From<Fault> + Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx, Req) -> BoxFuture<'t, Result<Resp, E>> + Send + 'static,
    {
        self.once_kept(request, KEEP, effect).await
    }

    /// As [`Database::once`], with the answer kept this long: [`KEEP_MONEY`] where
    /// money moves.
    pub async fn once_kept<Req, Resp, E, F>(
        &self,
        request: &Request<Req>,
        keep: Duration,
        effect: F,
    ) -> Result<Response<Resp>, E>
    where
        Req: Message + Name + Clone + 'static,
        Resp: Message + Default + 'static,
        E: From<Error> + From<Fault> + Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx, Req) -> BoxFuture<'t, Result<Resp, E>> + Send + 'static,
    {
        let caller = Caller::of(request).key();
        let message = request.get_ref().clone();
        let key = Key::new(caller.as_str(), &message).map(|key| key.keep(keep));
        let origin = Origin::current().actor(caller);
        let done = self
            .write_from(origin, move |tx| {
                Box::pin(async move {
                    let Some(key) = key else {
                        return effect(tx, message).await.map(Once::Ran);
                    };
                    // Nobody sees the lease: the row is DONE when it is committed.
                    match begin(tx, &key, keep).await? {
                        Begin::Fresh => {}
                        Begin::Running => return Err(in_progress().into()),
                        Begin::Done(stored) => return Ok(Once::Replayed(stored)),
                    }
                    let response = effect(tx, message).await?;
                    let arguments =
                        args![key.principal, key.method, key.request_id, response.encode_to_vec()];
                    tx.execute(FINISH_AT_ONCE, arguments).await?;
                    Ok::<_, E>(Once::Ran(response))
                })
            })
            .await?;
        match done {
            Once::Ran(response) => Ok(Response::new(response)),
            Once::Replayed(stored) => Ok(replay(stored)?),
        }
    }

    /// Forgets answers that are older than they must be kept.
    pub async fn sweep_idempotency(&self) -> Result<u64, Error> {
        self.write(|tx| {
            Box::pin(async move {
                let now = tx.clock().now();
                tx.execute(SWEEP_KEYS, args![now, SWEEP_MAX]).await
            })
        })
        .await
    }
}

/// The number of a message's `request_id` field.
fn request_id_number(message: &str) -> Option<u32> {
    let contract = Contract::embedded().ok()?;
    contract
        .pool()
        .get_message_by_name(message)?
        .get_field_by_name(REQUEST_ID)
        .map(|field| field.number())
}

/// The last value of a text field of an encoded message, as a decoder would take it.
fn text_field(mut encoded: &[u8], number: u32) -> Option<&str> {
    let mut found = None;
    while let Some((key, rest)) = varint(encoded) {
        let field = key >> 3;
        encoded = match key & 7 {
            0 => varint(rest)?.1,
            1 => rest.get(8..)?,
            5 => rest.get(4..)?,
            2 => {
                let (length, rest) = varint(rest)?;
                let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                if field == u64::from(number) {
                    found = Some(value);
                }
                rest
            }
            _ => return None,
        };
    }
    std::str::from_utf8(found?).ok()
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_field_is_found_among_others() {
        // 1: varint 300, 2: "ab", 3: fixed32, 4: fixed64, 2: "cd"
        let mut encoded = vec![0x08, 0xac, 0x02, 0x12, 2, b'a', b'b', 0x1d, 1, 2, 3, 4];
        encoded.extend([0x21, 1, 2, 3, 4, 5, 6, 7, 8, 0x12, 2, b'c', b'd']);
        assert_eq!(text_field(&encoded, 2), Some("cd"));
        assert_eq!(text_field(&encoded, 9), None);
        assert_eq!(text_field(&encoded[..encoded.len() - 1], 2), None);
    }
}
