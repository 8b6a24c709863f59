//! A field below a message, resolved once.

use crate::{schema::Tables, wire::Reader};

/// A path of fields below a message, as `product.etag`, resolved against a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath {
    pub(crate) text: Box<str>,
    /// (message, slot) of each step.
    pub(crate) steps: Box<[Step]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) message: u32,
    pub(crate) slot: u32,
    pub(crate) number: u32,
}

/// A scalar as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raw<'a> {
    /// A varint.
    Varint(u64),
    /// Four bytes.
    Fixed32(u32),
    /// Eight bytes.
    Fixed64(u64),
    /// Text, bytes or a message.
    Bytes(&'a [u8]),
}

impl FieldPath {
    /// The path in proto names: `product.etag`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Resolves proto or JSON names, `None` where a step names no field or goes through a list or map.
    pub(crate) fn resolve(tables: &Tables, message: u32, text: &str) -> Option<Self> {
        let mut at = message;
        let mut steps = Vec::new();
        let mut names = Vec::new();
        let mut parts = text.split('.').peekable();
        while let Some(part) = parts.next() {
            let table = tables.message(at);
            let slot = table.slot_by_name(part.as_bytes())?;
            let field = table.field(slot);
            steps.push(Step { message: at, slot, number: field.number });
            names.push(&*field.proto_name);
            if parts.peek().is_some() {
                at = field.child().filter(|_| field.is_singular())?;
            }
        }
        Some(Self { text: names.join(".").into(), steps: steps.into() })
    }

    /// The field's last value in wire bytes, without decoding anything else; `None` where it is absent or the bytes
    /// are broken. `create_time` of a response, say, or its `etag`.
    #[must_use]
    pub fn find<'w>(&self, wire: &'w [u8]) -> Option<Raw<'w>> {
        let mut found = Raw::Bytes(wire);
        for step in &self.steps {
            let Raw::Bytes(bytes) = found else { return None };
            let mut reader = Reader::new(bytes);
            let mut last = None;
            while !reader.is_empty() {
                let (number, kind) = reader.tag()?;
                let value = reader.raw(number, kind)?;
                if number == step.number {
                    last = value.or(last);
                }
            }
            found = last?;
        }
        Some(found)
    }

    /// [`find`](Self::find) for a string field.
    #[must_use]
    pub fn find_text<'w>(&self, wire: &'w [u8]) -> Option<&'w str> {
        match self.find(wire)? {
            Raw::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }
}
