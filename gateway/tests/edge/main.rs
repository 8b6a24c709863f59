//! The gateway before gRPC servers that are not ours: real sockets on both sides.
#![expect(clippy::unwrap_used, reason = "a test says why it failed")]
#![expect(clippy::disallowed_methods, reason = "what a test spawns ends with its runtime")]

mod client;
mod coding;
mod connect;
mod files;
mod foreign;
mod grpc;
mod json_schema;
mod openapi;
mod leaving;
mod rest;
mod sockets;
mod streams;
mod uploads;
mod strangers;
mod upstream;
mod web;
mod wire;
