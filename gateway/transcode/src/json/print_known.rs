//! The well-known types from the wire to JSON.

use super::{
    print::{Printer, Step, broken},
    time,
};
use crate::{
    decimal::Short,
    error::{WireError, WireErrorKind},
    path::Raw,
    schema::{Kind, Scalar},
    wire::{Reader, low32, number_and_type},
};

/// The tags of a Timestamp's fields and a Duration's, which are varints.
const SECONDS: u32 = 1 << 3;
const NANOS: u32 = 2 << 3;

impl Printer<'_, '_> {
    /// A message whose JSON is not an object of its fields.
    pub(super) fn well_known(&mut self, kind: Kind, wire: &[u8]) -> Step {
        match kind {
            Kind::Timestamp => {
                let (seconds, nanos) = seconds_and_nanos(wire)?;
                let Some(text) = time::timestamp(seconds, nanos) else {
                    return Err(WireError::new(
                        WireErrorKind::Value,
                        "a time outside of the years 1 to 9999".into(),
                    ));
                };
                let (bytes, length) = text.padded();
                Ok(self.out.padded(bytes, length)?)
            }
            Kind::Duration => {
                let (seconds, nanos) = seconds_and_nanos(wire)?;
                let Some(text) = time::duration(seconds, nanos) else {
                    return Err(WireError::new(
                        WireErrorKind::Value,
                        "a duration beyond 10000 years, or of mixed signs".into(),
                    ));
                };
                let (bytes, length) = text.padded();
                Ok(self.out.padded(bytes, length)?)
            }
            Kind::FieldMask => self.mask(wire),
            Kind::Struct => self.structure(wire),
            Kind::Value => self.any_value(wire),
            Kind::ListValue => self.list_value(wire),
            Kind::Any => self.any(wire),
            Kind::Wrapper(scalar) => self.wrapper(scalar, wire),
            // Not well-known: the caller prints these.
            Kind::Message(_)
            | Kind::Group(_)
            | Kind::Scalar(_)
            | Kind::Enum(_)
            | Kind::NullValue => Err(broken()),
        }
    }

    fn wrapper(&mut self, scalar: Scalar, wire: &[u8]) -> Step {
        let mut reader = Reader::new(wire);
        let mut found = None;
        while !reader.is_empty() {
            let (number, wire_type) = reader.tag().ok_or_else(broken)?;
            let at = reader;
            reader.skip(number, wire_type).ok_or_else(broken)?;
            if number == 1 && wire_type == scalar.wire_type() {
                found = Some(at);
            }
        }
        match found {
            Some(mut at) => self.scalar(scalar, &mut at).map(drop),
            None => self.default_scalar(scalar),
        }
    }

    fn mask(&mut self, wire: &[u8]) -> Step {
        let mut reader = Reader::new(wire);
        self.out.byte(b'"')?;
        let mut first = true;
        while !reader.is_empty() {
            let (number, wire_type) = reader.tag().ok_or_else(broken)?;
            let Some(Raw::Bytes(path)) =
                reader.raw(number, wire_type).flatten().filter(|_| number == 1)
            else {
                if number == 1 {
                    return Err(broken());
                }
                continue;
            };
            if !std::mem::take(&mut first) {
                self.out.byte(b',')?;
            }
            let mut upper = false;
            for (at, &byte) in path.iter().enumerate() {
                match byte {
                    b'*' if is_wildcard(path, at) => self.out.byte(byte)?,
                    b'_' if !upper => upper = true,
                    b'a'..=b'z' if std::mem::take(&mut upper) => {
                        self.out.byte(byte.to_ascii_uppercase())?
                    }
                    b'a'..=b'z' | b'0'..=b'9' | b'.' if !upper => self.out.byte(byte)?,
                    _ => return Err(not_a_path(path)),
                }
            }
            if upper || path.is_empty() {
                return Err(not_a_path(path));
            }
        }
        Ok(self.out.byte(b'"')?)
    }

    fn structure(&mut self, wire: &[u8]) -> Step {
        self.enter()?;
        let start = self.out.position();
        let base = self.keys.len();
        let mut reader = Reader::new(wire);
        while !reader.is_empty() {
            if let Some(entry) = message_field(&mut reader, 1)? {
                self.struct_entry(entry)?;
            }
        }
        if self.twice(base) {
            if !self.careful {
                return Err(self.again());
            }
            self.keys.truncate(base);
            self.out.rewind(start);
            self.distinct_structure(wire)?;
        }
        self.keys.truncate(base);
        self.leave();
        self.enclose(start, b'{', b'}')
    }

    fn struct_entry(&mut self, entry: &[u8]) -> Step {
        let (key, values) = split_entry(entry)?;
        let start = self.out.position();
        self.out.byte(b',')?;
        self.string(key)?;
        self.keys.push((start, self.out.position()));
        self.out.byte(b':')?;
        match values {
            Parts::None => self.any_value(&[]),
            Parts::One(value) => self.any_value(value),
            Parts::Many(values) => self.any_value(&values),
        }
        .map_err(|error| match std::str::from_utf8(key) {
            Ok(name) if !self.restart => error.within(name),
            _ => error,
        })
    }

    /// A Struct in which a key comes again: the last one counts.
    #[cold]
    fn distinct_structure(&mut self, wire: &[u8]) -> Step {
        let mut reader = Reader::new(wire);
        let mut entries: Vec<(&[u8], &[u8])> = Vec::new();
        let mut last = std::collections::BTreeMap::new();
        while !reader.is_empty() {
            if let Some(entry) = message_field(&mut reader, 1)? {
                let (key, _) = split_entry(entry)?;
                last.insert(key, entries.len());
                entries.push((key, entry));
            }
        }
        for (nth, (key, entry)) in entries.iter().enumerate() {
            if last.get(key) == Some(&nth) {
                self.struct_entry(entry)?;
            }
        }
        Ok(())
    }

    fn list_value(&mut self, wire: &[u8]) -> Step {
        self.enter()?;
        let start = self.out.position();
        let mut reader = Reader::new(wire);
        let mut nth = 0_usize;
        while !reader.is_empty() {
            if let Some(value) = message_field(&mut reader, 1)? {
                self.out.byte(b',')?;
                if let Err(error) = self.any_value(value) {
                    return Err(self.within_text(error, &format!("[{nth}]")));
                }
                nth += 1;
            }
        }
        self.leave();
        self.enclose(start, b'[', b']')
    }

    /// A `google.protobuf.Value`; one that holds nothing is null.
    fn any_value(&mut self, wire: &[u8]) -> Step {
        let mut reader = Reader::new(wire);
        let mut found = (0, Raw::Varint(0));
        let mut parts = Vec::new();
        while !reader.is_empty() {
            let (number, wire_type) = reader.tag().ok_or_else(broken)?;
            let value = reader.raw(number, wire_type).flatten().ok_or_else(broken)?;
            let fits = match number {
                1 | 4 => matches!(value, Raw::Varint(_)),
                2 => matches!(value, Raw::Fixed64(_)),
                3 | 5 | 6 => matches!(value, Raw::Bytes(_)) && wire_type == crate::wire::LEN,
                _ => false,
            };
            if !fits {
                continue;
            }
            // A struct or list in parts is one; any other value replaces what came before.
            if let (5 | 6, Raw::Bytes(more)) = (number, value) {
                if found.0 != number {
                    parts.clear();
                } else if let Raw::Bytes(first) = found.1
                    && parts.is_empty()
                {
                    parts.extend_from_slice(first);
                }
                if found.0 == number {
                    parts.extend_from_slice(more);
                }
            } else {
                parts.clear();
            }
            found = (number, value);
        }
        match found {
            (2, Raw::Fixed64(bits)) => {
                let value = f64::from_bits(bits);
                if !value.is_finite() {
                    return Err(WireError::new(
                        WireErrorKind::Value,
                        "a number that JSON cannot express".into(),
                    ));
                }
                Ok(self.double(Short::EMPTY, value)?)
            }
            (3, Raw::Bytes(text)) => self.string(text),
            (4, Raw::Varint(value)) => {
                Ok(self.out.bytes(if value != 0 { b"true" } else { b"false" })?)
            }
            (5, Raw::Bytes(wire)) => self.structure(if parts.is_empty() { wire } else { &parts }),
            (6, Raw::Bytes(wire)) => self.list_value(if parts.is_empty() { wire } else { &parts }),
            _ => Ok(self.out.bytes(b"null")?),
        }
    }

    pub(super) fn any(&mut self, wire: &[u8]) -> Step {
        let mut reader = Reader::new(wire);
        let (mut url, mut value): (&[u8], &[u8]) = (&[], &[]);
        while !reader.is_empty() {
            let (number, wire_type) = reader.tag().ok_or_else(broken)?;
            match (number, reader.raw(number, wire_type).flatten().ok_or_else(broken)?) {
                (1, Raw::Bytes(bytes)) => url = bytes,
                (2, Raw::Bytes(bytes)) => value = bytes,
                _ => {}
            }
        }
        if url.is_empty() && value.is_empty() {
            return Ok(self.out.bytes(b"{}")?);
        }
        self.enter()?;
        let start = self.out.position();
        let (depth, keys) = (self.depth, self.keys.len());
        let printed = self.expanded(url, value);
        match printed {
            Err(_) if self.options.keep_unknown_any && !self.restart => {
                self.depth = depth;
                self.keys.truncate(keys);
                self.out.rewind(start);
                self.out.bytes(b"{\"@type\":")?;
                self.string(url)?;
                self.out.bytes(b",\"value\":")?;
                self.bytes(value)?;
                self.out.byte(b'}')?;
            }
            printed => printed?,
        }
        self.leave();
        Ok(())
    }

    fn expanded(&mut self, url: &[u8], value: &[u8]) -> Step {
        let name = std::str::from_utf8(url)
            .ok()
            .and_then(|url| url.rsplit_once('/'))
            .map(|(_, name)| name);
        let Some(message) = name.and_then(|name| self.tables.find(name)) else {
            return Err(WireError::new(
                WireErrorKind::UnknownType,
                format!("an Any of unknown type {:?}", String::from_utf8_lossy(url)),
            ));
        };
        let table = self.tables.message(message);
        self.out.bytes(b"{\"@type\":")?;
        self.string(url)?;
        match table.kind {
            Kind::Message(_) => self.fields(table, value)?,
            kind => {
                self.out.bytes(b",\"value\":")?;
                self.well_known(kind, value)?;
            }
        }
        Ok(self.out.byte(b'}')?)
    }
}

/// Whether a `*` is a whole part of a path: every field, or every member of a list (AIP-161).
fn is_wildcard(path: &[u8], at: usize) -> bool {
    let ends = |byte: Option<&u8>| byte.is_none_or(|byte| *byte == b'.');
    ends(at.checked_sub(1).and_then(|before| path.get(before))) && ends(path.get(at + 1))
}

#[cold]
fn not_a_path(path: &[u8]) -> WireError {
    WireError::new(
        WireErrorKind::Value,
        format!("the field path {:?} has no JSON form", String::from_utf8_lossy(path)),
    )
}

#[inline]
fn seconds_and_nanos(wire: &[u8]) -> Result<(i64, i32), WireError> {
    let mut reader = Reader::new(wire);
    let (mut seconds, mut nanos) = (0, 0);
    while !reader.is_empty() {
        let tag = reader.whole_tag().ok_or_else(broken)?;
        match tag {
            SECONDS => seconds = reader.varint().ok_or_else(broken)?.cast_signed(),
            NANOS => nanos = low32(reader.varint().ok_or_else(broken)?).cast_signed(),
            _ => {
                let (number, wire_type) = number_and_type(tag).ok_or_else(broken)?;
                reader.skip(number, wire_type).ok_or_else(broken)?;
            }
        }
    }
    Ok((seconds, nanos))
}

/// The next field, if it is a message of this number; others are skipped.
fn message_field<'w>(reader: &mut Reader<'w>, wanted: u32) -> Result<Option<&'w [u8]>, WireError> {
    let (number, wire_type) = reader.tag().ok_or_else(broken)?;
    match reader.raw(number, wire_type).flatten().ok_or_else(broken)? {
        Raw::Bytes(bytes) if number == wanted && wire_type == crate::wire::LEN => Ok(Some(bytes)),
        _ => Ok(None),
    }
}

/// A value that came in any number of parts.
enum Parts<'w> {
    None,
    One(&'w [u8]),
    Many(Vec<u8>),
}

/// Key and value of an entry of a Struct.
fn split_entry(entry: &[u8]) -> Result<(&[u8], Parts<'_>), WireError> {
    let mut reader = Reader::new(entry);
    let mut key: &[u8] = &[];
    let mut parts = Parts::None;
    while !reader.is_empty() {
        let (number, wire_type) = reader.tag().ok_or_else(broken)?;
        let value = reader.raw(number, wire_type).flatten().ok_or_else(broken)?;
        let Raw::Bytes(bytes) = value else { continue };
        if number == 1 {
            key = bytes;
        } else if number == 2 {
            parts = match parts {
                Parts::None => Parts::One(bytes),
                Parts::One(first) => Parts::Many([first, bytes].concat()),
                Parts::Many(mut all) => {
                    all.extend_from_slice(bytes);
                    Parts::Many(all)
                }
            };
        }
    }
    Ok((key, parts))
}
