//! `connectrpc.conformance.v1.ConformanceService`: does as each request says, and
//! tells what it saw of it.
//!
//! - [`driver`]: how the suite starts it.
//! - `definition`: what a request asks for, whichever of the messages it is.
//! - `seen`: what arrived, as the suite wants it told.
//! - `service`: the six methods.

mod definition;
pub mod driver;
mod seen;
mod service;

pub use service::{Conformance, Deadlines};
