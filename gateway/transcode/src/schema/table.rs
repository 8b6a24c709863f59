//! Messages, fields and enums as tables that both directions read.

use super::names::Names;
use crate::{
    text,
    wire::{LEN, Tag, index, number_and_type},
};

/// No slot, no oneof, no child.
pub(crate) const NONE: u32 = u32::MAX;

/// All messages and enums of a schema.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) messages: Vec<MessageTable>,
    pub(crate) enums: Vec<EnumTable>,
    pub(crate) entries: Vec<EntryTable>,
    /// The messages by full name.
    pub(crate) names: Names,
}

/// A scalar type of protobuf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
}

/// What a value is, as far as its JSON goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Scalar(Scalar),
    Enum(u32),
    NullValue,
    /// A message of ordinary JSON, by its table.
    Message(u32),
    /// The same between start and end tags.
    Group(u32),
    Timestamp,
    Duration,
    FieldMask,
    Struct,
    Value,
    ListValue,
    Any,
    /// One of the wrappers: a message around one scalar, printed as the scalar.
    Wrapper(Scalar),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cardinality {
    Singular,
    /// A list; `packed` says how it is written, both are read.
    List {
        packed: bool,
    },
    /// A map, by its entry.
    Map(u32),
}

/// A field of a message.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) number: u32,
    /// The tag as it is written: with packed lists, the one of the whole list.
    pub(crate) tag: Tag,
    pub(crate) kind: Kind,
    pub(crate) cardinality: Cardinality,
    /// The message table of the value, also where `kind` is a well-known type; else [`NONE`].
    pub(crate) message: u32,
    /// The bit of its oneof among the message's seen bits, or [`NONE`].
    pub(crate) oneof: u32,
    /// Its own seen bit and that of its oneof, in messages that have at most 64; else nothing.
    pub(crate) seen: u64,
    /// Whether being set to the default differs from not being set.
    pub(crate) presence: bool,
    pub(crate) json_name: Box<str>,
    pub(crate) proto_name: Box<str>,
    /// `,"jsonName":`, as printed.
    pub(crate) json_key: Key,
    /// `,"proto_name":`, as printed.
    pub(crate) proto_key: Key,
}

/// The name of a member as it stands in JSON, with its comma and colon.
#[derive(Debug)]
pub(crate) struct Key {
    /// The first 32 bytes, for copies of fixed size.
    pub(crate) head: [u8; 32],
    pub(crate) length: usize,
    /// All of it.
    pub(crate) full: Box<[u8]>,
    /// Up to 16 bytes behind the comma, and which bits of them count.
    first: (u128, u128),
    /// The 16 bytes after these, and which bits of them count.
    second: (u128, u128),
}

/// A message.
#[derive(Debug)]
pub(crate) struct MessageTable {
    pub(crate) full_name: Box<str>,
    /// What its JSON is; [`Kind::Message`] for all but the well-known types.
    pub(crate) kind: Kind,
    /// By number; the place is the field's slot.
    pub(crate) fields: Box<[Field]>,
    /// Slots by number, for small numbers.
    dense: Box<[u16]>,
    /// Slots by tag, for small numbers; see [`slot_by_tag`](Self::slot_by_tag).
    tagged: Box<[u16]>,
    /// Fields and oneofs: how many seen bits a parse needs.
    pub(crate) seen_bits: u32,
    /// Its extensions travel as the items of a message set.
    pub(crate) message_set: bool,
    /// Slots by hash of either name, open addressing; see [`slot_by_name`](Self::slot_by_name).
    hashed: Box<[u16]>,
}

/// The entry of a map field.
#[derive(Debug)]
pub(crate) struct EntryTable {
    pub(crate) key: Field,
    pub(crate) value: Field,
}

/// An enum.
#[derive(Debug)]
pub(crate) struct EnumTable {
    pub(crate) full_name: Box<str>,
    /// `"NAME"` by number, for small numbers.
    dense: Box<[Option<Key>]>,
    /// `"NAME"` of the other numbers, sorted by them.
    sparse: Box<[(i32, Key)]>,
    /// The bits of the number of each name.
    by_name: Names,
    /// proto2: a number without a name counts as an unknown field.
    pub(crate) closed: bool,
    /// The number of its first value.
    pub(crate) default: i32,
}

const EMPTY: u16 = u16::MAX;
/// How many tags a message's table of them has at most: those of fields below 64.
const TAGS: usize = 64 * 8;

impl Tables {
    #[inline]
    pub(crate) fn message(&self, id: u32) -> &MessageTable {
        &self.messages[index(id)]
    }

    #[inline]
    pub(crate) fn entry(&self, id: u32) -> &EntryTable {
        &self.entries[index(id)]
    }

    #[inline]
    pub(crate) fn enumeration(&self, id: u32) -> &EnumTable {
        &self.enums[index(id)]
    }

    pub(crate) fn find(&self, full_name: &str) -> Option<u32> {
        self.names.get(full_name.as_bytes())
    }
}

impl Scalar {
    /// The wire type of one value.
    #[inline]
    pub(crate) fn wire_type(self) -> u8 {
        match self {
            Self::Double | Self::Fixed64 | Self::Sfixed64 => crate::wire::FIXED64,
            Self::Float | Self::Fixed32 | Self::Sfixed32 => crate::wire::FIXED32,
            Self::String | Self::Bytes => crate::wire::LEN,
            _ => crate::wire::VARINT,
        }
    }
}

impl Kind {
    /// The wire type of one value.
    #[inline]
    pub(crate) fn wire_type(self) -> u8 {
        match self {
            Self::Scalar(scalar) => scalar.wire_type(),
            Self::Enum(_) | Self::NullValue => crate::wire::VARINT,
            Self::Group(_) => crate::wire::START_GROUP,
            _ => crate::wire::LEN,
        }
    }

    /// Whether a text can say it, as in a path, a query or a header.
    pub(crate) fn is_text(self) -> bool {
        matches!(
            self,
            Self::Scalar(_)
                | Self::Enum(_)
                | Self::NullValue
                | Self::Timestamp
                | Self::Duration
                | Self::FieldMask
                | Self::Wrapper(_)
        )
    }

    /// Whether a list of it may be packed.
    #[inline]
    pub(crate) fn packable(self) -> bool {
        !matches!(self.wire_type(), crate::wire::LEN | crate::wire::START_GROUP)
    }
}

impl Field {
    /// The message table to go on in, where the value has fields of its own.
    pub(crate) fn child(&self) -> Option<u32> {
        (self.message != NONE).then_some(self.message)
    }

    /// Whether its value may come with this wire type; another makes it an unknown field.
    #[inline]
    pub(crate) fn accepts(&self, wire_type: u8) -> bool {
        match self.cardinality {
            Cardinality::Singular => wire_type == self.kind.wire_type(),
            Cardinality::List { .. } => {
                wire_type == self.kind.wire_type() || wire_type == LEN && self.kind.packable()
            }
            Cardinality::Map(_) => wire_type == LEN,
        }
    }

    pub(crate) fn is_singular(&self) -> bool {
        self.cardinality == Cardinality::Singular
    }
}

impl Key {
    pub(crate) fn new(text: String) -> Self {
        let full = text.into_bytes().into_boxed_slice();
        let mut head = [0; 32];
        for (to, from) in head.iter_mut().zip(&full) {
            *to = *from;
        }
        let word = |from: usize| {
            let mut bytes = [0; 16];
            let mut mask = [0; 16];
            for ((byte, bits), from) in
                bytes.iter_mut().zip(&mut mask).zip(full.iter().skip(from + 1))
            {
                *byte = *from;
                *bits = 0xff;
            }
            (u128::from_le_bytes(bytes), u128::from_le_bytes(mask))
        };
        let (first, second) = (word(0), word(16));
        Self { head, length: full.len(), full, first, second }
    }

    /// Whether these bytes begin with it, without its comma. It must be no longer than they are.
    #[inline]
    pub(crate) fn begins(&self, text: &[u8; 32]) -> bool {
        let (halves, _) = text.as_chunks::<16>();
        let differs = |half: usize, (bytes, mask): (u128, u128)| {
            halves.get(half).map_or(1, |half| (u128::from_le_bytes(*half) ^ bytes) & mask)
        };
        differs(0, self.first) | differs(1, self.second) == 0
    }
}

impl MessageTable {
    pub(crate) fn new(full_name: &str, kind: Kind, mut fields: Vec<Field>, oneofs: u32) -> Self {
        let slots = u32::try_from(fields.len()).unwrap_or(NONE);
        let reach = 64.max(fields.len() * 4);
        let highest = fields.iter().map(|field| index(field.number)).filter(|&n| n < reach).max();
        let mut dense = vec![EMPTY; highest.map_or(0, |n| n + 1)];
        let mut hashed = vec![EMPTY; (fields.len() * 4).next_power_of_two()];
        let mut tagged = vec![EMPTY; (dense.len() * 8).min(TAGS)];
        for (slot, field) in (0_u16..).zip(&mut fields) {
            if slots + oneofs <= u64::BITS {
                let oneof = 1_u64.checked_shl(field.oneof).unwrap_or(0);
                field.seen = 1 << slot | oneof;
            }
            if let Some(at) = dense.get_mut(index(field.number)) {
                *at = slot;
            }
            for wire_type in (0..8).filter(|wire_type| field.accepts(*wire_type)) {
                let tag = index(field.number).saturating_mul(8) + usize::from(wire_type);
                if let Some(at) = tagged.get_mut(tag) {
                    *at = slot;
                }
            }
            insert(&mut hashed, &field.json_name, slot);
            if field.proto_name != field.json_name {
                insert(&mut hashed, &field.proto_name, slot);
            }
        }
        Self {
            full_name: full_name.into(),
            kind,
            fields: fields.into(),
            dense: dense.into(),
            tagged: tagged.into(),
            seen_bits: slots + oneofs,
            message_set: false,
            hashed: hashed.into(),
        }
    }

    #[inline]
    pub(crate) fn field(&self, slot: u32) -> &Field {
        &self.fields[index(slot)]
    }

    #[inline]
    pub(crate) fn slot_by_number(&self, number: u32) -> Option<u32> {
        match self.dense.get(index(number)) {
            Some(&EMPTY) => None,
            Some(&slot) => Some(u32::from(slot)),
            None => self.sparse_slot(number),
        }
    }

    /// The slot of the field that a tag begins a value of.
    #[inline]
    pub(crate) fn slot_by_tag(&self, tag: u32) -> Option<u32> {
        match self.tagged.get(index(tag)) {
            Some(&EMPTY) => None,
            Some(&slot) => Some(u32::from(slot)),
            None => self.slot_by_long_tag(tag),
        }
    }

    #[inline(never)]
    fn slot_by_long_tag(&self, tag: u32) -> Option<u32> {
        let (number, wire_type) = number_and_type(tag)?;
        self.slot_by_number(number).filter(|slot| self.field(*slot).accepts(wire_type))
    }

    fn sparse_slot(&self, number: u32) -> Option<u32> {
        let slot = self.fields.binary_search_by_key(&number, |field| field.number).ok()?;
        u32::try_from(slot).ok()
    }

    /// The slot of a member, by JSON name or proto name.
    #[inline]
    pub(crate) fn slot_by_name(&self, name: &[u8]) -> Option<u32> {
        let mask = self.hashed.len() - 1;
        let mut at = hash(name) & mask;
        loop {
            let slot = *self.hashed.get(at)?;
            if slot == EMPTY {
                return None;
            }
            let field = self.fields.get(usize::from(slot))?;
            if field.json_name.as_bytes() == name || field.proto_name.as_bytes() == name {
                return Some(u32::from(slot));
            }
            at = (at + 1) & mask;
        }
    }

    /// The member whose name is closest to one that does not exist.
    pub(crate) fn nearest(&self, name: &str) -> Option<&str> {
        text::nearest(name, self.fields.iter().map(|field| &*field.json_name))
    }
}

fn insert(hashed: &mut [u16], name: &str, slot: u16) {
    let mask = hashed.len() - 1;
    let mut at = hash(name.as_bytes()) & mask;
    while hashed[at] != EMPTY {
        at = (at + 1) & mask;
    }
    hashed[at] = slot;
}

/// A hash of the length, the first eight bytes and the last eight.
#[inline]
pub(crate) fn hash(name: &[u8]) -> usize {
    let head =
        name.first_chunk::<8>().map_or_else(|| short(name), |chunk| u64::from_le_bytes(*chunk));
    let tail = name.last_chunk::<8>().map_or(0, |chunk| u64::from_le_bytes(*chunk));
    let length = u64::try_from(name.len()).unwrap_or(0);
    // Every bit of both reaches the low bits of the sum of the halves.
    let product = u128::from(head ^ length ^ 0x9e37_79b9_7f4a_7c15)
        * u128::from(tail ^ 0xe703_7ed1_a0b4_28db);
    let [low, high] = [product, product >> 64].map(|half| half & u128::from(u64::MAX));
    index(crate::wire::low32(u64::try_from(low ^ high).unwrap_or(0)))
}

#[inline]
fn short(name: &[u8]) -> u64 {
    name.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

impl EnumTable {
    pub(crate) fn new(
        full_name: &str,
        values: &[(i32, String)],
        closed: bool,
        default: i32,
    ) -> Self {
        let reach = 64.max(values.len() * 4);
        let small = |number: i32| usize::try_from(number).ok().filter(|&n| n < reach);
        let highest = values.iter().filter_map(|(number, _)| small(*number)).max();
        let mut dense: Vec<Option<Key>> = Vec::new();
        dense.resize_with(highest.map_or(0, |n| n + 1), || None);
        let mut sparse: Vec<(i32, Key)> = Vec::new();
        for (number, name) in values {
            let key = || Key::new(format!("\"{name}\""));
            // The first name of a number is the one that is printed; aliases are only read.
            match small(*number).and_then(|n| dense.get_mut(n)) {
                Some(at) if at.is_none() => *at = Some(key()),
                Some(_) => {}
                None => sparse.push((*number, key())),
            }
        }
        sparse.sort_by_key(|(number, _)| *number);
        sparse.dedup_by_key(|(number, _)| *number);
        let by_name = values.iter().map(|(number, name)| (name.as_str(), number.cast_unsigned()));
        Self {
            full_name: full_name.into(),
            dense: dense.into(),
            sparse: sparse.into(),
            by_name: Names::new(by_name),
            closed,
            default,
        }
    }

    /// The quoted name of a number.
    #[inline]
    pub(crate) fn name(&self, number: i32) -> Option<&Key> {
        match usize::try_from(number).ok().and_then(|n| self.dense.get(n)) {
            Some(name) => name.as_ref(),
            None => self.sparse_name(number),
        }
    }

    fn sparse_name(&self, number: i32) -> Option<&Key> {
        let at = self.sparse.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.sparse.get(at).map(|(_, key)| key)
    }

    #[inline]
    pub(crate) fn number(&self, name: &[u8]) -> Option<i32> {
        self.by_name.get(name).map(u32::cast_signed)
    }

    /// The name closest to one that does not exist.
    pub(crate) fn nearest(&self, name: &str) -> Option<&str> {
        text::nearest(name, self.by_name.iter())
    }
}
