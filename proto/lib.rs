//! The contracts: what the services of Mercat say to each other and to the world.
//!
//! Everything here is generated from the `.proto` files beside this one:
//! `contracts::catalog::v1` is the package `mercat.catalog.v1`, with a typed
//! client and server for each of its services.
#![allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    rustdoc::all,
    reason = "generated code answers to its generator"
)]

include!(concat!(env!("OUT_DIR"), "/contracts.rs"));
include!(concat!(env!("OUT_DIR"), "/reasons.rs"));

pub use mercat::*;

/// Every contract, as an encoded `google.protobuf.FileDescriptorSet` with
/// comments and custom options: what reflection serves, what the gateway routes
/// by and what the chassis enforces.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// A machine-readable cause of a failure: the value of a package's `ErrorReason`.
pub trait Reason: Copy {
    /// The package, which is the `domain` of the `google.rpc.ErrorInfo`.
    const DOMAIN: &'static str;

    /// The cause in `UPPER_SNAKE_CASE`, without the enum's prefix.
    fn reason(self) -> &'static str;
}
