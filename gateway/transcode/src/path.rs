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
        let (number, kind, mut at) = last(&self.steps, wire)??;
        at.raw(number, kind)?
    }

    /// The field's last occurrence: its wire type and its value.
    pub(crate) fn locate<'w>(&self, wire: &'w [u8]) -> Option<(u8, Reader<'w>)> {
        last(&self.steps, wire)?.map(|(_, kind, at)| (kind, at))
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

/// Number, wire type and value of the last occurrence of a field. The messages that lead to it may come in parts.
fn last<'w>(steps: &[Step], wire: &'w [u8]) -> Option<Option<(u32, u8, Reader<'w>)>> {
    let (step, below) = steps.split_first()?;
    let mut reader = Reader::new(wire);
    let mut found = None;
    while !reader.is_empty() {
        let (number, kind) = reader.tag()?;
        let at = reader;
        let value = reader.raw(number, kind)??;
        if number != step.number {
            continue;
        }
        match value {
            _ if below.is_empty() => found = Some((number, kind, at)),
            Raw::Bytes(bytes) => found = last(below, bytes)?.or(found),
            _ => {}
        }
    }
    Some(found)
}
