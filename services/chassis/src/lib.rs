//! What a service stands on: everything every service needs, written once.
//!
//! # Layout
//! - [`service`]: the [`Service`] trait, and the two ways to run one: [`run()`] and [`start`].
//! - [`settings`]: configuration in four layers.
//! - [`contract`], [`validation`], [`guard`]: the contracts' options, read and enforced.
//! - [`caller`], [`keys`]: who calls, and how that is proved.
//! - [`fault`]: the one form of failure, and its way to a `tonic::Status`.
//! - [`listen`], [`serve`]: the accept loop and the server stack.
//! - [`channel`], [`call`]: the client stack, and what it inherits from the call being served.
//! - [`store`], [`idempotency`], [`page`]: SQLite or PostgreSQL, one text for both.
//! - [`event`], [`saga`]: what leaves a service, and what it carries through.
//! - [`telemetry`], [`admin`], [`tasks`], [`lifecycle`]: what a process tells, and how it ends.
//! - [`clock`], [`money`], [`duration`], [`hash`]: values.

pub mod admin;
pub mod call;
pub mod caller;
pub mod channel;
pub mod clock;
pub mod contract;
pub mod duration;
pub mod event;
pub mod failpoint;
pub mod fault;
pub mod guard;
pub mod hash;
pub mod idempotency;
pub mod keys;
pub mod lifecycle;
pub mod listen;
pub mod money;
pub mod page;
pub mod run;
pub mod saga;
pub mod serve;
pub mod service;
pub mod settings;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod validation;

mod random;
mod tls;

pub use caller::{Caller, Principal, Scope};
pub use channel::{Channel, Peers, Switchboard};
pub use clock::{Clock, Time};
pub use contract::Contract;
pub use fault::Fault;
pub use keys::Keys;
pub use money::{Currency, Money, MoneyError};
pub use page::{Page, Pages};
pub use run::run;
pub use serve::Routes;
pub use service::{Build, Context, Error, Service, launch, start};
pub use settings::Settings;
pub use store::{Database, Migration, Statement, Tx};
pub use tasks::Tasks;
pub use telemetry::Telemetry;
