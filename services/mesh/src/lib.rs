//! The mesh: every service and the gateway, started together or one by one.
//!
//! # Layout
//! - [`services`]: the one list.
//! - [`fused`]: all of them in this process; [`split`]: a process each.
//! - [`demo`]: a catalogue with stock to begin with; [`shop`]: a purchase, step by step.
//! - [`mod@bench`]: purchases, measured.
//! - [`routes`]: what the edge answers to, for people.
#![expect(
    clippy::print_stdout,
    reason = "this is a command-line program: what it prints is its answer"
)]

pub mod bench;
pub mod client;
pub mod demo;
pub mod fused;
pub mod greeting;
pub mod home;
pub mod routes;
pub mod shop;
pub mod split;

use chassis::service::Launch;

/// Every service, in the order in which they are started: each after those it
/// calls first.
pub fn services() -> Vec<Box<dyn Launch>> {
    vec![
        chassis::launch::<identity::Identity>(),
        chassis::launch::<catalog::Catalog>(),
        chassis::launch::<inventory::Inventory>(),
        chassis::launch::<payments::Payments>(),
        chassis::launch::<orders::Orders>(),
        chassis::launch::<storefront::Storefront>(),
    ]
}
