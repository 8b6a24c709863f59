//! What a service stands on: everything every service needs, written once.
//!
//! # Layout
//! - [`service`]: the [`Service`] trait, and the two ways to run one: [`run`] and [`start`].
//! - [`settings`]: configuration in four layers.
//! - [`contract`], [`guard`]: the contracts' options, read and enforced.
//! - [`caller`], [`keys`]: who calls, and how that is proved.
//! - [`fault`]: the one form of failure, and its way to a `tonic::Status`.
//! - [`money`]: checked amounts.

pub mod caller;
pub mod contract;
pub mod fault;
pub mod money;
pub mod admin;
pub mod call;
pub mod channel;
pub mod clock;
pub mod duration;
pub mod event;
pub mod idempotency;
pub mod lifecycle;
pub mod listen;
pub mod page;
pub mod serve;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod validation;

mod random;

pub use caller::{Caller, Principal, Scope};
pub use channel::{Channel, Peers, Switchboard};
pub use clock::{Clock, Time};
pub use contract::Contract;
pub use fault::Fault;
pub use page::{Page, Pages};
pub use store::{Database, Migration, Statement, Tx};
pub use tasks::Tasks;
pub use telemetry::Telemetry;
pub use money::{Currency, Money, MoneyError};
