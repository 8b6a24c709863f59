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
pub mod validation;

pub use caller::{Caller, Principal, Scope};
pub use contract::Contract;
pub use fault::Fault;
pub use money::{Currency, Money, MoneyError};
