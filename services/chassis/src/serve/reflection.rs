//! `grpc.reflection`: what `grpcurl list` shows.

use std::collections::BTreeSet;

use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::FileDescriptor;
use tonic_reflection::server::{Builder, Error};

use super::Routes;
use crate::Contract;

/// Adds the reflection service, v1 and v1alpha, which describes these services
/// and itself, with their custom options.
pub fn reflection(routes: Routes, contract: &Contract, names: &[String]) -> Result<Routes, Error> {
    let descriptors = closure(contract, names);
    let builder = || {
        names
            .iter()
            .map(String::as_str)
            .chain(["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"])
            .fold(Builder::configure(), Builder::with_service_name)
            .register_encoded_file_descriptor_set(&descriptors)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(routes.add(builder().build_v1()?).add(builder().build_v1alpha()?))
}

/// The files that declare these services and every file those import, encoded as
/// they came: decoding would drop custom options.
fn closure(contract: &Contract, names: &[String]) -> Vec<u8> {
    let mut seen = BTreeSet::new();
    let mut files = Vec::new();
    for name in names {
        if let Some(service) = contract.pool().get_service_by_name(name) {
            collect(service.parent_file(), &mut seen, &mut files);
        }
    }
    let mut set = Vec::new();
    for file in files {
        let bytes = file.encode_to_vec();
        // `repeated FileDescriptorProto file = 1`.
        encode_key(1, WireType::LengthDelimited, &mut set);
        encode_varint(u64::try_from(bytes.len()).unwrap_or(u64::MAX), &mut set);
        set.extend(bytes);
    }
    set
}

fn collect(file: FileDescriptor, seen: &mut BTreeSet<String>, files: &mut Vec<FileDescriptor>) {
    if !seen.insert(file.name().to_owned()) {
        return;
    }
    for import in file.dependencies() {
        collect(import, seen, files);
    }
    files.push(file);
}
