//! The test contracts, and prost-reflect as the second opinion.

use std::sync::OnceLock;

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use transcode::{JsonError, MessageId, ParseOptions, PrintOptions, Schema, WireError};

/// The pool of `rich.proto`.
pub(crate) fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proto");
        let mut compiler = protox::Compiler::new([folder]).unwrap();
        compiler.include_imports(true).open_file("rich.proto").unwrap();
        DescriptorPool::decode(&*compiler.encode_file_descriptor_set()).unwrap()
    })
}

/// Its schema.
pub(crate) fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| Schema::new(pool()).unwrap())
}

pub(crate) fn rich() -> MessageId {
    schema().message("rich.v1.Rich").unwrap()
}

pub(crate) fn rich_descriptor() -> MessageDescriptor {
    pool().get_message_by_name("rich.v1.Rich").unwrap()
}

/// Ours: JSON to wire.
pub(crate) fn parse(json: &[u8]) -> Result<Vec<u8>, JsonError> {
    let mut out = Vec::new();
    schema().json_to_wire(rich(), json, &mut out, &ParseOptions::default())?;
    Ok(out)
}

/// Ours: wire to JSON.
pub(crate) fn print(wire: &[u8]) -> Result<String, WireError> {
    let mut out = Vec::new();
    schema().wire_to_json(rich(), wire, &mut out, &PrintOptions::default())?;
    Ok(String::from_utf8(out).unwrap())
}

/// Theirs: JSON to a message.
pub(crate) fn their_parse(json: &[u8]) -> Result<DynamicMessage, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let message = DynamicMessage::deserialize(rich_descriptor(), &mut deserializer)
        .map_err(|e| e.to_string())?;
    deserializer.end().map_err(|e| e.to_string())?;
    Ok(message)
}

/// Theirs: a message to JSON.
pub(crate) fn their_print(message: &DynamicMessage) -> Result<String, String> {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::new(&mut out);
    message
        .serialize_with_options(&mut serializer, &SerializeOptions::new())
        .map_err(|e| e.to_string())?;
    Ok(String::from_utf8(out).unwrap())
}

pub(crate) fn decode(wire: &[u8]) -> Result<DynamicMessage, String> {
    DynamicMessage::decode(rich_descriptor(), wire).map_err(|e| e.to_string())
}

/// A JSON text as a value, in which 1 and 1.0 are the same.
pub(crate) fn value(json: &str) -> serde_json::Value {
    fn normal(value: serde_json::Value) -> serde_json::Value {
        use serde_json::Value;
        match value {
            // serde_json reads doubles to within a unit in the last place.
            Value::Number(number) => Value::from(format!("{:.12e}", number.as_f64().unwrap())),
            Value::Array(items) => items.into_iter().map(normal).collect(),
            Value::Object(members) => {
                members.into_iter().map(|(name, value)| (name, normal(value))).collect()
            }
            other => other,
        }
    }
    normal(serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}")))
}
