//! What an order is and how it may change. Pure: no clock, no SQL, no network.
//!
//! # Layout
//! - [`states`]: the three orthogonal states, their transition tables as data.
//! - [`draft`]: what is to be placed, checked to the last cent.
//! - [`order`]: the order and its commands.

pub mod draft;
pub mod order;
pub mod states;

#[cfg(test)]
mod tests;

pub use draft::{Draft, Misfit};
pub use order::{Happening, Line, Order, Parcel, Totals};
pub use states::{Named, is_final, name};
