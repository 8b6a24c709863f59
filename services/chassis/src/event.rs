//! What happened: out through the outbox, in through the inbox.
//!
//! # Layout
//! - [`Event`], [`Tx::publish`](crate::store::Tx::publish): an event is written in
//!   the transaction that makes it true, and in no other way.
//! - [`feed`]: serves the outbox to whoever pulls (`mercat.mesh.v1.FeedService`).
//! - [`Consumer`], [`consume`]: follows a peer's feed from a durable position. The
//!   effect of an event, the note that it was had and the position are one
//!   transaction: delivered at least once, effective once, in order per subject.
//! - [`DeadLetter`]: a delivery that keeps failing waits aside with those of the
//!   same subject behind it; other subjects flow.

mod consumer;
mod dead_letter;
mod delivery;
mod feed;
mod follower;
mod outbox;

pub use consumer::{Consumer, Effect, Options, consume, consume_from};
pub use dead_letter::{DeadLetter, State};
pub use delivery::Delivery;
pub use feed::{Feed, FeedServer, feed};
pub use outbox::{Event, INBOX_KEEP, OUTBOX_KEEP};

use crate::store::Statement;

/// Every statement of this module.
pub(crate) const STATEMENTS: &[&[Statement]] =
    &[outbox::STATEMENTS, feed::STATEMENTS, follower::STATEMENTS, dead_letter::STATEMENTS];
