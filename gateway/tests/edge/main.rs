//! The gateway before gRPC servers that are not ours: real sockets on both sides.
#![expect(clippy::unwrap_used, reason = "a test says why it failed")]

mod client;
mod foreign;
mod rest;
mod upstream;
