//! Messages whose fields come in parts: looked over first, then printed from an index of their fields.

use super::print::{Open, Outcome, Printer, Step, body, broken};
use crate::{
    error::WireError,
    schema::{Cardinality, Field, MessageTable, NONE},
    wire::Reader,
};

impl<'s> Printer<'s, '_> {
    /// Whether a message has fields in several runs, again, or (with defaults in between) out of order.
    pub(super) fn is_irregular(
        &mut self,
        table: &MessageTable,
        wire: &[u8],
    ) -> Result<bool, WireError> {
        let mut reader = Reader::new(wire);
        let mut seen = self.begin(table);
        let mut last = NONE;
        let mut irregular = false;
        while !reader.is_empty() && !irregular {
            let (number, wire_type) = reader.tag().ok_or_else(broken)?;
            reader.skip(number, wire_type).ok_or_else(broken)?;
            let Some(slot) = table.slot_by_number(number) else { continue };
            let field = table.field(slot);
            if !field.accepts(wire_type) {
                continue;
            }
            if slot == last {
                // Two entries may have one key.
                irregular = !matches!(field.cardinality, Cardinality::List { .. });
                continue;
            }
            irregular = self.mark_field(&mut seen, slot, field)
                || self.options.emit_defaults && last != NONE && slot < last;
            last = slot;
        }
        self.seen.truncate(seen.base);
        Ok(irregular)
    }

    /// The fields of a message in any order and any number of parts, from an index of them.
    pub(super) fn indexed(&mut self, table: &'s MessageTable, wire: &[u8]) -> Step {
        let mut reader = Reader::new(wire);
        let mut found: Vec<(u32, u8, Reader<'_>)> = Vec::new();
        while !reader.is_empty() {
            let (number, wire_type) = reader.tag().ok_or_else(broken)?;
            let at = reader;
            reader.skip(number, wire_type).ok_or_else(broken)?;
            if let Some(slot) =
                table.slot_by_number(number).filter(|slot| table.field(*slot).accepts(wire_type))
            {
                let oneof = table.field(slot).oneof;
                if oneof != NONE {
                    // The last member of a oneof wins, and what came before it is gone.
                    found.retain(|&(other, _, _)| {
                        other == slot || table.field(other).oneof != oneof
                    });
                }
                found.push((slot, wire_type, at));
            }
        }
        found.sort_by_key(|&(slot, _, _)| slot);
        let mut rest = found.as_slice();
        let mut next_default = 0;
        let mut seen = self.begin(table);
        while let Some(&(slot, _, _)) = rest.first() {
            let run = rest.partition_point(|&(other, _, _)| other == slot);
            let (run, after) = rest.split_at(run);
            rest = after;
            if self.options.emit_defaults {
                self.defaults(table, next_default..slot, &mut seen)?;
                next_default = slot + 1;
            }
            let field = table.field(slot);
            if let Err(error) = self.run(table, slot, run) {
                return Err(self.within(error, field));
            }
        }
        if self.options.emit_defaults {
            let all = u32::try_from(table.fields.len()).unwrap_or(NONE);
            self.defaults(table, next_default..all, &mut seen)?;
        }
        self.seen.truncate(seen.base);
        Ok(())
    }

    /// What a message holds of one field, as the value alone.
    pub(super) fn field(&mut self, table: &'s MessageTable, slot: u32, wire: &[u8]) -> Step {
        let mut reader = Reader::new(wire);
        let mut found = Vec::new();
        while !reader.is_empty() {
            let (number, wire_type) = reader.tag().ok_or_else(broken)?;
            let at = reader;
            reader.skip(number, wire_type).ok_or_else(broken)?;
            if table.slot_by_number(number) == Some(slot) && table.field(slot).accepts(wire_type) {
                found.push((slot, wire_type, at));
            }
        }
        let field = table.field(slot);
        let Some(&(_, _, mut last)) = found.last() else {
            return match field.cardinality {
                Cardinality::Singular => self.default_value(field),
                Cardinality::List { .. } => Ok(self.out.bytes(b"[]")?),
                Cardinality::Map(_) => Ok(self.out.bytes(b"{}")?),
            };
        };
        let start = self.out.position();
        match field.cardinality {
            Cardinality::Singular if found.len() == 1 || field.message == NONE => {
                self.value(field, &mut last).map(drop)
            }
            Cardinality::Singular => {
                let parts: Vec<_> =
                    found.iter().filter_map(|(_, _, part)| body(field, *part)).collect();
                self.whole(field.kind, &parts.concat())
            }
            Cardinality::List { .. } => {
                let mut count = 0;
                for (_, wire_type, mut reader) in found {
                    self.elements(field, wire_type, &mut reader, &mut count)?;
                }
                self.enclose(start, b'[', b']')
            }
            Cardinality::Map(entry) => {
                let entry = self.tables.entry(entry);
                let entries: Vec<_> =
                    found.into_iter().filter_map(|(_, _, mut reader)| reader.bytes()).collect();
                for bytes in self.last_of_each_key(&entry.key, &entries)? {
                    self.entry(entry, bytes)?;
                }
                self.enclose(start, b'{', b'}')
            }
        }
    }

    /// All that a message holds of one field.
    fn run(&mut self, table: &'s MessageTable, slot: u32, run: &[(u32, u8, Reader<'_>)]) -> Step {
        let field = table.field(slot);
        let name = self.out.position();
        self.name(field)?;
        let open =
            Open { slot, name, content: self.out.position(), keys: self.keys.len(), count: 0 };
        match field.cardinality {
            Cardinality::Singular => {
                let Some(&(_, _, mut last)) = run.last() else { return Ok(()) };
                let outcome = if field.message != NONE && run.len() > 1 {
                    let parts: Vec<_> =
                        run.iter().filter_map(|(_, _, part)| body(field, *part)).collect();
                    self.whole(field.kind, &parts.concat()).map(|()| Outcome::Written)?
                } else {
                    self.value(field, &mut last)?
                };
                if outcome == Outcome::Ignored
                    || outcome == Outcome::Default && !field.presence && !self.options.emit_defaults
                {
                    self.out.rewind(name);
                }
                Ok(())
            }
            Cardinality::List { .. } => {
                let mut count = 0;
                for &(_, wire_type, mut reader) in run {
                    self.elements(field, wire_type, &mut reader, &mut count)?;
                }
                self.close(table, open)
            }
            Cardinality::Map(entry) => {
                let entry = self.tables.entry(entry);
                let entries: Vec<_> =
                    run.iter().filter_map(|&(_, _, mut reader)| reader.bytes()).collect();
                for bytes in self.last_of_each_key(&entry.key, &entries)? {
                    self.entry(entry, bytes)?;
                }
                self.close(table, open)
            }
        }
    }

    /// The entries of a map without those whose key comes again.
    pub(super) fn last_of_each_key<'w>(
        &mut self,
        key: &Field,
        entries: &[&'w [u8]],
    ) -> Result<Vec<&'w [u8]>, WireError> {
        let mut last = std::collections::BTreeMap::new();
        let start = self.out.position();
        for (nth, entry) in entries.iter().enumerate() {
            let mut reader = Reader::new(entry);
            let mut found = None;
            while !reader.is_empty() {
                let (number, wire_type) = reader.tag().ok_or_else(broken)?;
                let at = reader;
                reader.skip(number, wire_type).ok_or_else(broken)?;
                if number == 1 && wire_type == key.kind.wire_type() {
                    found = Some(at);
                }
            }
            self.map_key(key, found)?;
            last.insert(self.out.written(start).to_vec(), nth);
            self.out.rewind(start);
        }
        let mut kept: Vec<_> = last.into_values().collect();
        kept.sort_unstable();
        Ok(kept.into_iter().filter_map(|nth| entries.get(nth).copied()).collect())
    }
}
