//! What the fuzz targets share: the test contracts, prost-reflect as the second opinion, and how the two are compared.

#[path = "../../tests/oracle/judge.rs"]
mod judge;

pub use judge::{is_beyond_doubles, is_odd, nesting};

use std::{path::Path, sync::LazyLock};

use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage as _, SerializeOptions,
    Syntax,
};
use serde_json::Value;
use transcode::{JsonError, MessageId, ParseOptions, PrintOptions, Schema, WireError};

/// A compiled contract.
pub struct Contract {
    /// Its descriptors.
    pub pool: DescriptorPool,
    /// Its tables.
    pub schema: Schema,
}

/// A message of a contract.
pub struct Subject {
    contract: &'static Contract,
    /// By our tables.
    pub id: MessageId,
    /// By prost-reflect.
    pub descriptor: MessageDescriptor,
}

/// `rich.proto`: every shape that the mapping knows.
pub static RICH: LazyLock<Contract> = LazyLock::new(|| Contract::of("rich.proto"));

/// `shop.proto`: bindings of every sort.
pub static SHOP: LazyLock<Contract> = LazyLock::new(|| Contract::of("shop.proto"));

/// `google.api.http` and nothing else, to put other contracts upon.
pub static RULES: LazyLock<DescriptorPool> =
    LazyLock::new(|| Contract::of("google/api/annotations.proto").pool);

/// The messages that JSON and wire bytes are read as; the first byte of an input picks one.
pub static SUBJECTS: LazyLock<Vec<Subject>> = LazyLock::new(|| {
    let names = [
        "rich.v1.Rich",
        "rich.v1.Rich",
        "rich.v1.Rich",
        "rich.v1.Inner",
        "google.protobuf.Value",
        "google.protobuf.Struct",
        "google.protobuf.ListValue",
        "google.protobuf.Any",
        "google.protobuf.Timestamp",
        "google.protobuf.Duration",
        "google.protobuf.FieldMask",
        "google.protobuf.FloatValue",
        "google.protobuf.Int64Value",
        "google.protobuf.BytesValue",
        "google.protobuf.FieldDescriptorProto",
        "google.protobuf.MessageOptions",
    ];
    names.iter().map(|name| RICH.message(name)).collect()
});

// === impl Contract ===

impl Contract {
    fn of(file: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folders = [root.join("../tests/proto"), root.join("../../../proto")];
        let mut compiler = protox::Compiler::new(folders).unwrap();
        compiler.include_imports(true).open_file(file).unwrap();
        let pool = DescriptorPool::decode(&*compiler.encode_file_descriptor_set()).unwrap();
        let schema = Schema::new(&pool).unwrap();
        Self { pool, schema }
    }

    /// One of its messages.
    pub fn message(&'static self, name: &str) -> Subject {
        Subject {
            contract: self,
            id: self.schema.message(name).unwrap(),
            descriptor: self.pool.get_message_by_name(name).unwrap(),
        }
    }
}

// === impl Subject ===

impl Subject {
    /// The subject that the first byte picks, and the rest.
    pub fn pick(input: &[u8]) -> Option<(&'static Self, u8, &[u8])> {
        let (&first, rest) = input.split_first()?;
        // The upper bits are free to choose options.
        Some((SUBJECTS.get(usize::from(first & 15))?, first >> 4, rest))
    }

    /// Ours: JSON to wire.
    pub fn parse(&self, json: &[u8], options: &ParseOptions) -> Result<Vec<u8>, JsonError> {
        let mut out = b"kept".to_vec();
        let parsed = self.contract.schema.json_to_wire(self.id, json, &mut out, options);
        assert_eq!(out.get(..4), Some(&b"kept"[..]), "what was there before is there still");
        assert!(parsed.is_ok() || out.len() == 4, "an error leaves nothing behind");
        parsed.map(|()| out.split_off(4))
    }

    /// Ours: wire to JSON.
    pub fn print(&self, wire: &[u8], options: &PrintOptions) -> Result<String, WireError> {
        let mut out = b"kept".to_vec();
        let printed = self.contract.schema.wire_to_json(self.id, wire, &mut out, options);
        assert_eq!(out.get(..4), Some(&b"kept"[..]), "what was there before is there still");
        assert!(printed.is_ok() || out.len() == 4, "an error leaves nothing behind");
        printed.map(|()| String::from_utf8(out.split_off(4)).expect("JSON is UTF-8"))
    }

    /// Whether prost-reflect is asked. Of enums of proto2 it prints numbers without a name, which are unknown fields.
    pub fn has_oracle(&self) -> bool {
        self.descriptor.parent_file().syntax() == Syntax::Proto3
    }

    /// Theirs: JSON to a message.
    pub fn their_parse(&self, json: &[u8]) -> Option<DynamicMessage> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let message =
            DynamicMessage::deserialize(self.descriptor.clone(), &mut deserializer).ok()?;
        deserializer.end().ok()?;
        Some(message)
    }

    /// Theirs: wire bytes to a message.
    pub fn decode(&self, wire: &[u8]) -> Option<DynamicMessage> {
        DynamicMessage::decode(self.descriptor.clone(), wire).ok()
    }
}

/// Theirs: a message to JSON, as a value; `None` if it has none.
pub fn their_value(message: &DynamicMessage) -> Option<Value> {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::new(&mut out);
    message.serialize_with_options(&mut serializer, &SerializeOptions::new()).ok()?;
    value(&out)
}

/// Theirs: what a message says once it went over the wire, as a value.
pub fn their_wire_value(message: &DynamicMessage) -> Option<Value> {
    their_value(&DynamicMessage::decode(message.descriptor(), &*message.encode_to_vec()).ok()?)
}

/// A JSON text as a value, in which 1 and 1.0 are the same, and so are both zeros, each with its sign. `None` where it
/// nests too deep for serde_json.
pub fn value(json: &[u8]) -> Option<Value> {
    fn normal(value: Value) -> Value {
        match value {
            Value::Number(number) => Value::from(number.as_f64()),
            Value::Array(items) => items.into_iter().map(normal).collect(),
            Value::Object(members) => {
                members.into_iter().map(|(name, value)| (name, normal(value))).collect()
            }
            other => other,
        }
    }
    match serde_json::from_slice(json) {
        Ok(value) => Some(normal(value)),
        Err(error) if error.to_string().contains("recursion limit") => None,
        Err(error) => panic!("{error}: {}", String::from_utf8_lossy(json)),
    }
}

/// Whether what we print is what prost-reflect prints. It has no JSON for floats in wrappers that are not finite, and says
/// null; it gives an Any of Empty a value, which protobuf.dev has without; it takes minus zero for the default, which is
/// plus zero; and a NullValue of another number than zero is one that it prints.
pub fn agree(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::String(ours), Value::Null) => {
            ["NaN", "Infinity", "-Infinity"].contains(&ours.as_str())
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| agree(a, b))
        }
        (Value::Object(ours), Value::Object(theirs)) => {
            let empty = ours.get("@type").and_then(Value::as_str);
            let empty = empty.is_some_and(|url| url.ends_with("/google.protobuf.Empty"));
            let absent = |name: &str| empty && name == "value" && !ours.contains_key(name);
            // NullValue has one value, and no other comes back from JSON.
            let null = |name: &str| name == "nullValue" && theirs.get(name) == Some(&Value::Null);
            theirs.keys().all(|name| ours.contains_key(name) || absent(name) || null(name))
                && ours.iter().all(|(name, a)| match theirs.get(name) {
                    Some(b) => agree(a, b),
                    None => a.as_f64().is_some_and(|a| a == 0.0 && a.is_sign_negative()),
                })
        }
        _ => ours == theirs,
    }
}
