//! Wire bytes to JSON, in one pass: each field is printed as it is met.
//!
//! Fields nearly always come once, lists and maps in one run; such a message streams straight through. The wire format
//! also allows a list in several runs, a message in parts, a field or a map key again with another value. The first such
//! thing that is met ends the attempt, and the whole is printed again carefully: each message is looked over first, and
//! those that need it are printed from an index of their fields. So the worst case costs a small multiple, not a power,
//! of the usual one.

use super::distinct::first_twice;
use crate::{
    error::{WireError, WireErrorKind},
    message_set,
    options::PrintOptions,
    schema::{Cardinality, EntryTable, Field, Key, Kind, MessageTable, NONE, Scalar, Tables},
    wire::{Full, LEN, Reader, START_GROUP, Writer, index, low8, number_and_type},
};

pub(super) type Step = Result<(), WireError>;

/// What became of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Written,
    /// It was written, and is the default of its type.
    Default,
    /// It counts as an unknown field: an enum of proto2 that has no such value.
    Ignored,
}

/// One message on its way to JSON.
pub(super) struct Printer<'s, 'o> {
    pub(super) tables: &'s Tables,
    pub(super) options: &'s PrintOptions,
    pub(super) out: Writer<'o>,
    pub(super) depth: u32,
    /// Whether messages are looked over before they are printed.
    pub(super) careful: bool,
    /// The error that is on its way up only asks for care.
    pub(super) restart: bool,
    /// Seen bits beyond the 64th of the messages that are open.
    pub(super) seen: Vec<u64>,
    /// Where the keys of the maps that are open stand in `out`.
    pub(super) keys: Vec<(usize, usize)>,
}

/// Which fields of a message were met.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    first: u64,
    pub(super) base: usize,
}

/// The list or map that is being printed.
#[derive(Clone, Copy)]
pub(super) struct Open {
    pub(super) slot: u32,
    /// Where its name begins, and where its content does.
    pub(super) name: usize,
    pub(super) content: usize,
    /// Where its keys begin.
    pub(super) keys: usize,
    pub(super) count: usize,
}

impl From<Full> for WireError {
    #[cold]
    fn from(_: Full) -> Self {
        Self::new(WireErrorKind::Limit, "prints longer than the limit".into())
    }
}

#[cold]
pub(super) fn broken() -> WireError {
    WireError::new(WireErrorKind::Broken, "the bytes are no message of this type".into())
}

impl<'s, 'o> Printer<'s, 'o> {
    pub(super) fn new(
        tables: &'s Tables,
        out: &'o mut Vec<u8>,
        expected: usize,
        options: &'s PrintOptions,
    ) -> Self {
        Self {
            tables,
            options,
            out: Writer::new(out, expected, options.max_bytes),
            depth: options.max_depth,
            careful: false,
            restart: false,
            seen: Vec::new(),
            keys: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn enter(&mut self) -> Step {
        match self.depth.checked_sub(1) {
            Some(depth) => {
                self.depth = depth;
                Ok(())
            }
            None => Err(WireError::new(WireErrorKind::Limit, "nested too deep".into())),
        }
    }

    #[inline]
    pub(super) fn leave(&mut self) {
        self.depth += 1;
    }

    /// Asks for the careful way.
    #[cold]
    pub(super) fn again(&mut self) -> WireError {
        self.restart = true;
        WireError::new(WireErrorKind::Broken, String::new())
    }

    /// Begins again, with care.
    pub(super) fn careful(&mut self) {
        self.careful = true;
        self.restart = false;
        self.depth = self.options.max_depth;
        self.seen.clear();
        self.keys.clear();
        self.out.restart();
    }

    /// Everything in an object or array begins with a comma; the first of these becomes the opening.
    #[inline]
    pub(super) fn enclose(&mut self, start: usize, open: u8, close: u8) -> Step {
        if self.out.position() == start {
            self.out.byte(open)?;
        } else {
            self.out.patch(start, open);
        }
        Ok(self.out.byte(close)?)
    }

    /// A message of ordinary JSON.
    pub(super) fn message(&mut self, table: &'s MessageTable, wire: &[u8]) -> Step {
        self.enter()?;
        let start = self.out.position();
        self.fields(table, wire)?;
        self.leave();
        self.enclose(start, b'{', b'}')
    }

    /// The fields of a message, each with a comma before it.
    pub(super) fn fields(&mut self, table: &'s MessageTable, wire: &[u8]) -> Step {
        if table.message_set {
            let fields = message_set::fields(wire).ok_or_else(broken)?;
            return self.ordinary_fields(table, &fields);
        }
        self.ordinary_fields(table, wire)
    }

    fn ordinary_fields(&mut self, table: &'s MessageTable, wire: &[u8]) -> Step {
        if self.careful && self.is_irregular(table, wire)? {
            return self.indexed(table, wire);
        }
        self.streamed(table, wire)
    }

    pub(super) fn begin(&mut self, table: &MessageTable) -> Seen {
        let seen = Seen { first: 0, base: self.seen.len() };
        if table.seen_bits > 64 {
            self.seen.resize(seen.base + index((table.seen_bits - 1) / 64), 0);
        }
        seen
    }

    /// Marks a seen bit; whether it was marked before.
    #[inline]
    pub(super) fn mark(&mut self, seen: &mut Seen, bit: u32) -> bool {
        let mask = 1_u64 << (bit & 63);
        let word = if bit < 64 {
            Some(&mut seen.first)
        } else {
            self.seen.get_mut(seen.base + index(bit / 64) - 1)
        };
        word.is_some_and(|word| std::mem::replace(word, *word | mask) & mask != 0)
    }

    /// Marks a field and its oneof; whether one of them was marked before.
    #[inline]
    pub(super) fn mark_field(&mut self, seen: &mut Seen, slot: u32, field: &Field) -> bool {
        if field.seen != 0 {
            let before = seen.first;
            seen.first |= field.seen;
            return before & field.seen != 0;
        }
        self.mark(seen, slot) || field.oneof != NONE && self.mark(seen, field.oneof)
    }

    #[inline]
    pub(super) fn name(&mut self, field: &Field) -> Result<(), Full> {
        let key = if self.options.use_proto_names { &field.proto_key } else { &field.json_key };
        self.key(key)
    }

    #[inline]
    pub(super) fn key(&mut self, key: &Key) -> Result<(), Full> {
        if key.length <= key.head.len() {
            return self.out.padded(&key.head, key.length);
        }
        self.out.bytes(&key.full)
    }

    fn streamed(&mut self, table: &'s MessageTable, wire: &[u8]) -> Step {
        let mut reader = Reader::new(wire);
        let mut seen = self.begin(table);
        let mut open = Open { slot: NONE, name: 0, content: 0, keys: 0, count: 0 };
        // Where there are none to write, no slot is as high as this.
        let mut next_default = if self.options.emit_defaults { 0 } else { NONE };
        while !reader.is_empty() {
            let tag = reader.whole_tag().ok_or_else(broken)?;
            let Some(slot) = table.slot_by_tag(tag) else {
                let (number, wire_type) = number_and_type(tag).ok_or_else(broken)?;
                reader.skip(number, wire_type).ok_or_else(broken)?;
                continue;
            };
            let field = table.field(slot);
            if slot != open.slot {
                if open.slot != NONE {
                    self.close(table, open)?;
                    open.slot = NONE;
                }
                if self.mark_field(&mut seen, slot, field) {
                    return Err(self.again());
                }
                if slot >= next_default {
                    self.defaults(table, next_default..slot, &mut seen)?;
                    next_default = slot + 1;
                }
                let name = self.out.position();
                self.name(field)?;
                if field.cardinality == Cardinality::Singular {
                    match self.value_here(field, &mut reader) {
                        Ok(Outcome::Written) => {}
                        Ok(Outcome::Default) if field.presence || self.options.emit_defaults => {}
                        Ok(_) => self.out.rewind(name),
                        Err(error) => return Err(self.within(error, field)),
                    }
                    continue;
                }
                open = Open {
                    slot,
                    name,
                    content: self.out.position(),
                    keys: self.keys.len(),
                    count: 0,
                };
            }
            let printed = match field.cardinality {
                Cardinality::Map(entry) => {
                    let entry = self.tables.entry(entry);
                    reader.bytes().ok_or_else(broken).and_then(|bytes| self.entry(entry, bytes))
                }
                _ => self
                    .elements(field, low8(u64::from(tag)) & 7, &mut reader, &mut open.count)
                    .map_err(|error| self.within_text(error, &format!("[{}]", open.count))),
            };
            if let Err(error) = printed {
                return Err(self.within(error, field));
            }
        }
        if open.slot != NONE {
            self.close(table, open)?;
        }
        if self.options.emit_defaults {
            let all = u32::try_from(table.fields.len()).unwrap_or(NONE);
            self.defaults(table, next_default..all, &mut seen)?;
        }
        self.seen.truncate(seen.base);
        Ok(())
    }

    #[cold]
    pub(super) fn within(&self, error: WireError, field: &Field) -> WireError {
        self.within_text(error, &field.json_name)
    }

    #[cold]
    pub(super) fn within_text(&self, error: WireError, name: &str) -> WireError {
        if self.restart { error } else { error.within(name) }
    }

    /// Ends a list or map.
    pub(super) fn close(&mut self, table: &MessageTable, open: Open) -> Step {
        let map = matches!(table.field(open.slot).cardinality, Cardinality::Map(_));
        if map {
            if self.twice(open.keys) {
                return Err(self.again());
            }
            self.keys.truncate(open.keys);
        }
        if self.out.position() == open.content && !self.options.emit_defaults {
            self.out.rewind(open.name);
            return Ok(());
        }
        let (opening, closing) = if map { (b'{', b'}') } else { (b'[', b']') };
        self.enclose(open.content, opening, closing)
    }

    /// Whether a key came twice among those from `base` on.
    pub(super) fn twice(&self, base: usize) -> bool {
        let keys = self.keys.get(base..).unwrap_or_default();
        let bytes = |nth: usize| {
            let (start, end) = keys.get(nth).copied().unwrap_or_default();
            self.out.written(start).get(..end - start).unwrap_or_default()
        };
        first_twice(keys.len(), bytes).is_some()
    }

    /// One element of a list, or a packed run of them.
    #[inline]
    pub(super) fn elements(
        &mut self,
        field: &'s Field,
        wire_type: u8,
        reader: &mut Reader<'_>,
        count: &mut usize,
    ) -> Step {
        if wire_type != LEN || !field.kind.packable() {
            self.element(field, reader)?;
            *count += 1;
            return Ok(());
        }
        let packed = reader.bytes().ok_or_else(broken)?;
        if let Kind::Scalar(scalar) = field.kind {
            return self.packed(scalar, packed, count);
        }
        let mut packed = Reader::new(packed);
        while !packed.is_empty() {
            self.element(field, &mut packed)?;
            *count += 1;
        }
        Ok(())
    }

    #[inline]
    fn element(&mut self, field: &'s Field, reader: &mut Reader<'_>) -> Step {
        let start = self.out.position();
        self.out.byte(b',')?;
        if self.value(field, reader)? == Outcome::Ignored {
            self.out.rewind(start);
        }
        Ok(())
    }

    /// One value, whose tag is read and fits.
    pub(super) fn value(
        &mut self,
        field: &'s Field,
        reader: &mut Reader<'_>,
    ) -> Result<Outcome, WireError> {
        self.value_here(field, reader)
    }

    /// The same for where most values are printed.
    #[inline(always)]
    fn value_here(
        &mut self,
        field: &'s Field,
        reader: &mut Reader<'_>,
    ) -> Result<Outcome, WireError> {
        match field.kind {
            Kind::Scalar(Scalar::String) => {
                let text = reader.bytes().ok_or_else(broken)?;
                self.string(text)?;
                Ok(if text.is_empty() { Outcome::Default } else { Outcome::Written })
            }
            Kind::Scalar(scalar) => self.scalar(scalar, reader),
            Kind::Enum(enumeration) => self.enumeration(enumeration, reader),
            Kind::Message(message) => {
                let wire = reader.bytes().ok_or_else(broken)?;
                self.message(self.tables.message(message), wire)?;
                Ok(Outcome::Written)
            }
            Kind::NullValue => {
                reader.varint().ok_or_else(broken)?;
                self.out.bytes(b"null")?;
                Ok(Outcome::Default)
            }
            Kind::Group(message) => {
                let wire = reader.group(field.number).ok_or_else(broken)?;
                self.message(self.tables.message(message), wire)?;
                Ok(Outcome::Written)
            }
            kind => {
                let wire = reader.bytes().ok_or_else(broken)?;
                self.well_known(kind, wire)?;
                Ok(Outcome::Written)
            }
        }
    }

    /// A message of any kind, from its bytes.
    pub(super) fn whole(&mut self, kind: Kind, wire: &[u8]) -> Step {
        match kind {
            Kind::Message(message) | Kind::Group(message) => {
                self.message(self.tables.message(message), wire)
            }
            kind => self.well_known(kind, wire),
        }
    }

    /// One entry of a map, with a comma before it.
    pub(super) fn entry(&mut self, entry: &'s EntryTable, wire: &[u8]) -> Step {
        if let Some((key, mut value)) = usual_entry(entry, wire) {
            let start = self.begin_entry(&entry.key, Some(key))?;
            return match self.value(&entry.value, &mut value) {
                Ok(outcome) => {
                    self.end_entry(start, outcome);
                    Ok(())
                }
                Err(error) => Err(self.within_entry(error, start)),
            };
        }
        let (key, value, parts) = any_entry(entry, wire).ok_or_else(broken)?;
        let start = self.begin_entry(&entry.key, key)?;
        let outcome = match value {
            Some(_) if !parts.is_empty() => {
                self.whole(entry.value.kind, &parts).map(|()| Outcome::Written)
            }
            Some(mut value) => self.value(&entry.value, &mut value),
            None => self.default_value(&entry.value).map(|()| Outcome::Default),
        };
        let outcome = outcome.map_err(|error| self.within_entry(error, start))?;
        self.end_entry(start, outcome);
        Ok(())
    }

    /// An error of the value whose key was written at `start`, with its comma.
    #[cold]
    fn within_entry(&self, error: WireError, start: usize) -> WireError {
        let key = self.keys.iter().rfind(|(at, _)| *at == start);
        let end = key.map_or(start, |(_, end)| *end);
        let key = self.out.written(start).get(1..end - start).unwrap_or_default();
        self.within_text(error, &format!("[{}]", String::from_utf8_lossy(key)))
    }

    /// Comma, key and colon; notes where the key stands.
    #[inline]
    fn begin_entry(&mut self, key: &Field, at: Option<Reader<'_>>) -> Result<usize, WireError> {
        let start = self.out.position();
        self.out.byte(b',')?;
        self.map_key(key, at)?;
        self.keys.push((start, self.out.position()));
        self.out.byte(b':')?;
        Ok(start)
    }

    #[inline]
    fn end_entry(&mut self, start: usize, outcome: Outcome) {
        if outcome == Outcome::Ignored {
            self.out.rewind(start);
            self.keys.pop();
        }
    }

    /// The key of a map, in quotes.
    #[inline]
    pub(super) fn map_key(&mut self, key: &Field, at: Option<Reader<'_>>) -> Step {
        let Kind::Scalar(scalar) = key.kind else { return Err(broken()) };
        let mut at = at.unwrap_or(Reader::new(&[0; 8]));
        if scalar == Scalar::String {
            return self.string(at.bytes().ok_or_else(broken)?);
        }
        self.quoted_scalar(scalar, &mut at)
    }

    /// The fields of `slots` that were not met and have no presence, as their defaults.
    #[cold]
    pub(super) fn defaults(
        &mut self,
        table: &'s MessageTable,
        slots: std::ops::Range<u32>,
        seen: &mut Seen,
    ) -> Step {
        for slot in slots {
            let field = table.field(slot);
            if field.presence || self.mark(seen, slot) {
                continue;
            }
            self.name(field)?;
            match field.cardinality {
                Cardinality::Singular => self.default_value(field)?,
                Cardinality::List { .. } => self.out.bytes(b"[]")?,
                Cardinality::Map(_) => self.out.bytes(b"{}")?,
            }
        }
        Ok(())
    }

    /// What a value prints as that is not there.
    pub(super) fn default_value(&mut self, field: &'s Field) -> Step {
        match field.kind {
            Kind::Scalar(scalar) => self.default_scalar(scalar),
            Kind::Enum(enumeration) => {
                let table = self.tables.enumeration(enumeration);
                self.enum_value(table, table.default).map(drop)
            }
            Kind::NullValue => Ok(self.out.bytes(b"null")?),
            kind => self.whole(kind, &[]),
        }
    }
}

/// Where key and value of an entry stand, if they come as they are usually written: each once, and the key first.
#[inline]
fn usual_entry<'w>(entry: &EntryTable, wire: &'w [u8]) -> Option<(Reader<'w>, Reader<'w>)> {
    let mut reader = Reader::new(wire);
    let mut next = |wanted: u32, field: &Field| {
        let (number, wire_type) = reader.tag()?;
        let at = reader;
        reader.skip(number, wire_type)?;
        (number == wanted && wire_type == field.kind.wire_type()).then_some((at, reader.is_empty()))
    };
    let (key, _) = next(1, &entry.key)?;
    let (value, last) = next(2, &entry.value)?;
    last.then_some((key, value))
}

/// Key, value and what more there is of it.
type Entry<'w> = (Option<Reader<'w>>, Option<Reader<'w>>, Vec<u8>);

/// Where key and value of any entry stand, if at all; a message in parts is put together.
fn any_entry<'w>(entry: &EntryTable, wire: &'w [u8]) -> Option<Entry<'w>> {
    let mut reader = Reader::new(wire);
    let (mut key, mut value) = (None, None);
    let mut parts = Vec::new();
    while !reader.is_empty() {
        let (number, wire_type) = reader.tag()?;
        let at = reader;
        reader.skip(number, wire_type)?;
        if number == 1 && wire_type == entry.key.kind.wire_type() {
            key = Some(at);
        } else if number == 2
            && wire_type == entry.value.kind.wire_type()
            && let Some(first) = value.replace(at)
            && entry.value.message != NONE
        {
            if parts.is_empty() {
                parts.extend_from_slice(body(&entry.value, first).unwrap_or_default());
            }
            parts.extend_from_slice(body(&entry.value, at).unwrap_or_default());
        }
    }
    Some((key, value, parts))
}

/// The bytes of a message field whose tag is read.
pub(super) fn body<'w>(field: &Field, mut at: Reader<'w>) -> Option<&'w [u8]> {
    if field.kind.wire_type() == START_GROUP { at.group(field.number) } else { at.bytes() }
}
