//! Servers that suites written by others call through the gateway.
//!
//! Nothing that ships stands on this crate. Each suite brings its clients and its
//! idea of what is right; what it needs of us is a gRPC server of its own contract
//! with the gateway in front, and that is here.
//!
//! # Layout
//! - [`conformance`]: `connectrpc.conformance.v1`, for connectconformance.
//! - [`edge`]: the gateway in front of such a port.
//! - [`interop`]: `grpc.testing`, for the gRPC interop clients.
//! - [`oracle`]: Envoy and ours, asked the same.
//! - [`upstream`]: a port that speaks gRPC as any tonic server does.
//! - [`contracts`]: generated from `proto/`.

pub mod conformance;
pub mod contracts;
pub mod edge;
pub mod interop;
pub mod oracle;
pub mod upstream;
