//! The validation rules of the contracts (`buf.validate`), checked on the bytes
//! of a request before its handler runs.
//!
//! The rules are compiled once into tables; a check walks the wire format once
//! and builds no message. The subset that is enforced is the declarative one:
//! a contract that uses another rule, CEL among them, does not start, so that no
//! rule is written and silently ignored.

mod checks;
mod compile;
pub mod options;
mod wire;

use std::collections::HashMap;

use checks::{Checks, Value};
use wire::{Field, Reader, Wire};

use crate::fault::Violation;

/// The most violations that one answer lists.
pub const VIOLATIONS_MAX: usize = 50;

/// How deep messages may nest, as prost has it.
pub const DEPTH_MAX: usize = 100;

/// The compiled rules of every request message.
#[derive(Debug, Default)]
pub struct Rules {
    messages: Vec<MessageRules>,
    index: HashMap<String, usize>,
    problems: Vec<String>,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invalid {
    /// The bytes are not a message of the type.
    Malformed(String),
    /// Fields break rules.
    Fields(Vec<Violation>),
}

#[derive(Debug, Default)]
struct MessageRules {
    /// Sorted by number.
    fields: Vec<FieldRules>,
    /// Oneofs of which one member must be set: the name and the indices of its fields.
    oneofs: Vec<(String, Vec<usize>)>,
}

#[derive(Debug)]
struct FieldRules {
    number: u32,
    name: String,
    wire: WireKind,
    shape: Shape,
    /// The message's rules, if it is a message.
    message: Option<usize>,
    required: bool,
    ignore: Ignore,
    /// Of the value, or of each element.
    checks: Checks,
    elements: Elements,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// One value; unset and zero are the same.
    Implicit,
    /// One value that is set or not.
    Explicit,
    Repeated,
    Map,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ignore {
    Never,
    IfZero,
    Always,
}

/// How a value lies on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WireKind {
    Signed,
    Unsigned,
    ZigZag,
    Bool,
    Enum,
    Fixed32,
    SFixed32,
    Fixed64,
    SFixed64,
    Float,
    Double,
    Text,
    Bytes,
    Message,
}

/// What holds for the elements of a repeated field or a map together.
#[derive(Debug, Default)]
struct Elements {
    min: u64,
    max: Option<u64>,
    unique: bool,
    key: Option<(WireKind, Checks)>,
    value: Option<WireKind>,
}

struct Walk<'r> {
    rules: &'r Rules,
    violations: Vec<Violation>,
    path: String,
}

// === impl Rules ===

impl Rules {
    /// Checks the bytes of a message against the rules of its type, which
    /// `compile` gave the number of.
    pub fn check(&self, root: usize, bytes: &[u8]) -> Result<(), Invalid> {
        let Some(message) = self.messages.get(root) else {
            return Ok(());
        };
        let mut walk = Walk { rules: self, violations: Vec::new(), path: String::new() };
        walk.message(message, bytes, 0)?;
        if walk.violations.is_empty() { Ok(()) } else { Err(Invalid::Fields(walk.violations)) }
    }

    /// The number of a message's rules by its full name, if a request is of that
    /// type or contains it: for a handler that checks the parts one by one.
    pub fn number(&self, message: &str) -> Option<usize> {
        self.index.get(message).copied()
    }

    /// The problems found while compiling, each naming a field.
    pub(crate) fn take_problems(&mut self) -> Vec<String> {
        std::mem::take(&mut self.problems)
    }
}

// === impl Walk ===

impl Walk<'_> {
    fn message(&mut self, rules: &MessageRules, bytes: &[u8], depth: usize) -> Result<(), Invalid> {
        if depth > DEPTH_MAX {
            return Err(Invalid::Malformed(format!("messages nest deeper than {DEPTH_MAX}")));
        }
        let mut counts = vec![0_u64; rules.fields.len()];
        let mut seen_values: Vec<(usize, Vec<u8>)> = Vec::new();
        let mut reader = Reader::new(bytes);
        while let Some(Field { number, wire }) = reader.next().map_err(malformed)? {
            let Ok(position) = rules.fields.binary_search_by_key(&number, |field| field.number)
            else {
                continue;
            };
            let Some(field) = rules.fields.get(position) else { continue };
            let count = &mut counts[position];
            if field.ignore == Ignore::Always && matches!(field.shape, Shape::Repeated | Shape::Map)
            {
                continue;
            }
            match (field.shape, wire) {
                (Shape::Repeated, Wire::Delimited(packed)) if field.wire.is_packable() => {
                    let mut values = Reader::new(packed);
                    while !values.is_empty() {
                        let wire = values.value(field.wire.wire_type()).map_err(malformed)?;
                        self.element(field, wire, *count, depth, &mut seen_values, position)?;
                        *count += 1;
                    }
                }
                (Shape::Repeated, wire) => {
                    self.element(field, wire, *count, depth, &mut seen_values, position)?;
                    *count += 1;
                }
                (Shape::Map, Wire::Delimited(entry)) => {
                    self.entry(field, entry, depth)?;
                    *count += 1;
                }
                (Shape::Map, _) => {
                    return Err(Invalid::Malformed(format!("{} is not a map", field.name)));
                }
                (Shape::Implicit | Shape::Explicit, wire) => {
                    *count += 1;
                    self.within(&field.name, |walk| walk.single(field, wire, depth))?;
                }
            }
        }
        for (field, count) in rules.fields.iter().zip(&counts) {
            self.absent(field, *count);
        }
        for (name, members) in &rules.oneofs {
            if members.iter().all(|member| counts.get(*member).is_none_or(|count| *count == 0)) {
                let field = self.at(name);
                self.violation(field, "is required: set one of its fields".to_owned());
            }
        }
        Ok(())
    }

    /// What must hold of a field that was seen `count` times.
    fn absent(&mut self, field: &FieldRules, count: u64) {
        match field.shape {
            Shape::Implicit if count == 0 => {
                if field.required {
                    let path = self.at(&field.name);
                    self.violation(path, "is required".to_owned());
                } else if field.ignore == Ignore::Never {
                    let zero = field.wire.zero();
                    self.within(&field.name, |walk| walk.checked(&field.checks, &zero));
                }
            }
            Shape::Explicit if count == 0 && field.required => {
                let path = self.at(&field.name);
                self.violation(path, "is required".to_owned());
            }
            Shape::Implicit | Shape::Explicit => {}
            Shape::Repeated | Shape::Map => {
                if field.ignore == Ignore::Always || (field.ignore == Ignore::IfZero && count == 0)
                {
                    return;
                }
                let path = self.at(&field.name);
                if count < field.elements.min || (field.required && count == 0) {
                    let min = field.elements.min.max(1);
                    self.violation(path, format!("has {count} elements: give at least {min}"));
                } else if let Some(max) = field.elements.max.filter(|max| count > *max) {
                    self.violation(path, format!("has {count} elements: give at most {max}"));
                }
            }
        }
    }

    fn single(&mut self, field: &FieldRules, wire: Wire<'_>, depth: usize) -> Result<(), Invalid> {
        let value =
            field.wire.value(wire).map_err(|what| malformed(format!("{}: {what}", field.name)))?;
        if let (Some(inner), Value::Message(bytes)) = (field.message, &value) {
            let rules = self.rules;
            if field.ignore != Ignore::Always
                && let Some(message) = rules.messages.get(inner)
            {
                self.message(message, bytes, depth + 1)?;
            }
            self.checked(&field.checks, &value);
            return Ok(());
        }
        let is_zero = value.is_zero();
        if field.shape == Shape::Implicit && field.required && is_zero {
            let path = self.path.clone();
            self.violation(path, "is required".to_owned());
        } else if field.ignore == Ignore::Never || (field.ignore == Ignore::IfZero && !is_zero) {
            self.checked(&field.checks, &value);
        }
        Ok(())
    }

    fn element(
        &mut self,
        field: &FieldRules,
        wire: Wire<'_>,
        index: u64,
        depth: usize,
        seen: &mut Vec<(usize, Vec<u8>)>,
        position: usize,
    ) -> Result<(), Invalid> {
        if field.elements.max.is_some_and(|max| index >= max) {
            return Ok(()); // counted, and refused as one violation at the end
        }
        let value =
            field.wire.value(wire).map_err(|what| malformed(format!("{}: {what}", field.name)))?;
        let duplicate = field.elements.unique && {
            let bytes = (position, value.to_bytes());
            let found = seen.contains(&bytes);
            seen.push(bytes);
            found
        };
        let name = format!("{}[{index}]", field.name);
        self.within(&name, |walk| {
            if duplicate {
                let path = walk.path.clone();
                walk.violation(path, "repeats an element: give each once".to_owned());
            }
            if let (Some(inner), Value::Message(bytes)) = (field.message, &value) {
                let rules = walk.rules;
                if let Some(message) = rules.messages.get(inner) {
                    walk.message(message, bytes, depth + 1)?;
                }
            }
            walk.checked(&field.checks, &value);
            Ok(())
        })
    }

    fn entry(&mut self, field: &FieldRules, entry: &[u8], depth: usize) -> Result<(), Invalid> {
        let (Some((key_kind, key_checks)), Some(value_kind)) =
            (&field.elements.key, field.elements.value)
        else {
            return Ok(());
        };
        let mut key = key_kind.zero();
        let mut value = value_kind.zero();
        let mut reader = Reader::new(entry);
        while let Some(Field { number, wire }) = reader.next().map_err(malformed)? {
            match number {
                1 => {
                    key = key_kind
                        .value(wire)
                        .map_err(|what| malformed(format!("{}: {what}", field.name)))?
                }
                2 => {
                    value = value_kind
                        .value(wire)
                        .map_err(|what| malformed(format!("{}: {what}", field.name)))?
                }
                _ => {}
            }
        }
        let name = format!("{}[{}]", field.name, key.display());
        self.within(&name, |walk| {
            walk.checked(key_checks, &key);
            if let (Some(inner), Value::Message(bytes)) = (field.message, &value) {
                let rules = walk.rules;
                if let Some(message) = rules.messages.get(inner) {
                    walk.message(message, bytes, depth + 1)?;
                }
            }
            walk.checked(&field.checks, &value);
            Ok(())
        })
    }

    fn checked(&mut self, checks: &Checks, value: &Value<'_>) {
        if let Some(description) = checks.broken(value) {
            let path = self.path.clone();
            self.violation(path, description);
        }
    }

    fn violation(&mut self, field: String, description: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation { field, description });
        }
    }

    fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Runs `inside` with the path one step deeper.
    fn within<T>(&mut self, name: &str, inside: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        let result = inside(self);
        self.path.truncate(length);
        result
    }
}

fn malformed(what: String) -> Invalid {
    Invalid::Malformed(what)
}

// === impl WireKind ===

impl WireKind {
    fn is_packable(self) -> bool {
        !matches!(self, Self::Text | Self::Bytes | Self::Message)
    }

    fn wire_type(self) -> u8 {
        match self {
            Self::Signed | Self::Unsigned | Self::ZigZag | Self::Bool | Self::Enum => 0,
            Self::Fixed64 | Self::SFixed64 | Self::Double => 1,
            Self::Text | Self::Bytes | Self::Message => 2,
            Self::Fixed32 | Self::SFixed32 | Self::Float => 5,
        }
    }

    fn zero(self) -> Value<'static> {
        match self {
            Self::Signed | Self::ZigZag | Self::SFixed32 | Self::SFixed64 => Value::Signed(0),
            Self::Unsigned | Self::Fixed32 | Self::Fixed64 => Value::Unsigned(0),
            Self::Enum => Value::Enum(0),
            Self::Bool => Value::Bool(false),
            Self::Float | Self::Double => Value::Float(0.0),
            Self::Text => Value::Text(""),
            Self::Bytes => Value::Bytes(&[]),
            Self::Message => Value::Message(&[]),
        }
    }

    fn value(self, wire: Wire<'_>) -> Result<Value<'_>, String> {
        Ok(match (self, wire) {
            (Self::Signed, Wire::Varint(bits)) => Value::Signed(bits.cast_signed()),
            (Self::Unsigned, Wire::Varint(bits)) => Value::Unsigned(bits),
            (Self::ZigZag, Wire::Varint(bits)) => {
                Value::Signed((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed())
            }
            (Self::Bool, Wire::Varint(bits)) => Value::Bool(bits != 0),
            (Self::Enum, Wire::Varint(bits)) => Value::Enum(bits.cast_signed()),
            (Self::Fixed32, Wire::Fixed32(bits)) => Value::Unsigned(u64::from(bits)),
            (Self::SFixed32, Wire::Fixed32(bits)) => Value::Signed(i64::from(bits.cast_signed())),
            (Self::Fixed64, Wire::Fixed64(bits)) => Value::Unsigned(bits),
            (Self::SFixed64, Wire::Fixed64(bits)) => Value::Signed(bits.cast_signed()),
            (Self::Float, Wire::Fixed32(bits)) => Value::Float(f64::from(f32::from_bits(bits))),
            (Self::Double, Wire::Fixed64(bits)) => Value::Float(f64::from_bits(bits)),
            (Self::Text, Wire::Delimited(bytes)) => Value::Text(
                std::str::from_utf8(bytes).map_err(|_| "is not valid UTF-8".to_owned())?,
            ),
            (Self::Bytes, Wire::Delimited(bytes)) => Value::Bytes(bytes),
            (Self::Message, Wire::Delimited(bytes)) => Value::Message(bytes),
            _ => return Err("has another wire type than its contract says".to_owned()),
        })
    }
}

#[cfg(test)]
mod tests;
