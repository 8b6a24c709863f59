//! The gateway before gRPC servers that are not ours: real sockets on both sides.
#![expect(clippy::unwrap_used, reason = "a test says why it failed")]
#![expect(clippy::disallowed_methods, reason = "what a test spawns ends with its runtime")]

mod bounds;
mod client;
mod coding;
mod connect;
mod cors;
mod files;
mod foreign;
mod grpc;
mod json_schema;
mod leaving;
mod openapi;
mod rest;
mod sockets;
mod strangers;
mod streams;
mod uploads;
mod upstream;
mod web;
mod wire;
