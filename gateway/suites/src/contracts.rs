//! The contracts of the suites, generated from `proto/`.

#![expect(
    missing_docs,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::as_conversions,
    reason = "generated"
)]

include!(concat!(env!("OUT_DIR"), "/contracts.rs"));

/// The descriptors of `connectrpc.conformance.v1`, as a gateway reads them.
pub const CONFORMANCE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/conformance.bin"));
/// The descriptors of `grpc.testing`.
pub const INTEROP: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/interop.bin"));
