//! Where prost-reflect is no judge.

use std::collections::BTreeMap;

use prost::{
    Message as _,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use prost_reflect::{Kind, MessageDescriptor, Syntax, prost_types};

/// Whether these bytes hold something, at any depth, that prost-reflect reads otherwise than the specification has it: a
/// map with a wire type other than that of its entries, to it an entry and by the specification an unknown field; or an
/// Any of a message of proto2, of whose enums it prints numbers without a name, which are unknown fields too.
pub fn is_odd(descriptor: &MessageDescriptor, wire: &[u8]) -> bool {
    if descriptor.full_name() == "google.protobuf.Any" {
        return is_odd_any(descriptor, wire);
    }
    let mut rest = wire;
    // A message in parts is one: its type may stand in another part than its bytes do.
    let mut whole: BTreeMap<u32, (MessageDescriptor, Vec<u8>)> = BTreeMap::new();
    while let Ok((number, wire_type)) = decode_key(&mut rest) {
        let field = descriptor.get_field(number);
        let len = wire_type == WireType::LengthDelimited;
        if !len && field.as_ref().is_some_and(prost_reflect::FieldDescriptor::is_map) {
            return true;
        }
        let before = rest;
        if skip_field(wire_type, number, &mut rest, DecodeContext::default()).is_err() {
            break;
        }
        let mut value = before.get(..before.len() - rest.len()).unwrap_or_default();
        let Some(field) = field.filter(|_| len) else { continue };
        if let Kind::Message(below) = field.kind()
            && decode_varint(&mut value).is_ok()
        {
            if !field.is_list() && !field.is_map() {
                whole.entry(number).or_insert((below, Vec::new())).1.extend_from_slice(value);
            } else if is_odd(&below, value) {
                return true;
            }
        }
    }
    whole.values().any(|(below, wire)| is_odd(below, wire))
}

fn is_odd_any(descriptor: &MessageDescriptor, wire: &[u8]) -> bool {
    let Ok(any) = prost_types::Any::decode(wire) else { return false };
    let name = any.type_url.rsplit_once('/').map_or("", |(_, name)| name);
    let below = descriptor.parent_pool().get_message_by_name(name);
    below.is_some_and(|below| {
        below.parent_file().syntax() != Syntax::Proto3 || is_odd(&below, &any.value)
    })
}

/// A bound on how deep a JSON text nests.
pub fn nesting(json: &[u8]) -> usize {
    json.iter().filter(|byte| matches!(byte, b'{' | b'[')).count()
}

/// Whether a JSON text holds a number of more digits than a double keeps. prost-reflect reads all numbers but plain
/// integers as doubles first: it rounds a float twice, and an integer with a fraction of zero once too often.
pub fn is_beyond_doubles(json: &[u8]) -> bool {
    let number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
    json.split(|byte| !number(byte)).any(|text| {
        let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
        let integer = text.strip_prefix(b"-").unwrap_or(text).iter().all(u8::is_ascii_digit);
        digits > 19 || digits > 15 && !integer
    })
}
