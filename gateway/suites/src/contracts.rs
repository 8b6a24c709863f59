//! The contracts of the suites, generated from `proto/`.

#![expect(
    missing_docs,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::as_conversions,
    reason = "generated"
)]

include!(concat!(env!("OUT_DIR"), "/contracts.rs"));

/// The file of the descriptors of `connectrpc.conformance.v1`, as a gateway reads
/// it.
pub const CONFORMANCE: &str = concat!(env!("OUT_DIR"), "/conformance.bin");
/// The file of the descriptors of `grpc.testing`.
pub const INTEROP: &str = concat!(env!("OUT_DIR"), "/interop.bin");
/// The file of the descriptors of `oracle.v1`.
pub const ORACLE: &str = concat!(env!("OUT_DIR"), "/oracle.bin");
