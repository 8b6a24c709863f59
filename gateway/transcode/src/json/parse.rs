//! JSON to wire bytes, in one pass: each member is written as it is read.

use super::{
    distinct::first_twice,
    guard::{Guard, Mask, Narrowed, Scope},
    lexer::{Lexer, too_deep},
};
use crate::{
    error::{JsonError, JsonErrorKind},
    message_set,
    options::ParseOptions,
    schema::{Cardinality, Field, Kind, MessageTable, NONE, Scalar, Tables},
    wire::{END_GROUP, Full, Tag, Writer, index},
};

pub(super) type Step = Result<(), JsonError>;

/// What became of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Written,
    /// It was written, and is the default of its type.
    Default,
    /// It is an enum name to be ignored; nothing counts of what was written.
    Ignored,
}

/// One JSON text on its way to the wire.
pub(crate) struct Parser<'s, 'j, 'o> {
    pub(super) tables: &'s Tables,
    pub(super) options: &'s ParseOptions,
    pub(crate) lexer: Lexer<'j>,
    pub(crate) out: Writer<'o>,
    /// How much deeper it may nest.
    pub(super) depth: u32,
    /// Seen bits beyond the 64th of the messages that are open.
    seen: Vec<u64>,
    /// Where the keys of the maps that are open stand in `out`.
    pub(super) keys: Vec<(usize, usize)>,
    /// Fields that other parts of the request set.
    pub(crate) guards: &'s [Guard<'s>],
    /// Collects the paths of a derived update mask.
    pub(crate) mask: Option<Mask>,
}

/// Which members of a message were seen.
struct Seen {
    first: u64,
    /// Where the rest begins on the parser's stack.
    base: usize,
}

impl From<Full> for JsonError {
    #[cold]
    fn from(_: Full) -> Self {
        Self::new(JsonErrorKind::Size, 0, "larger than the limit".into())
    }
}

impl<'s, 'j, 'o> Parser<'s, 'j, 'o> {
    pub(crate) fn new(
        tables: &'s Tables,
        json: &'j [u8],
        out: &'o mut Vec<u8>,
        options: &'s ParseOptions,
    ) -> Result<Self, JsonError> {
        if json.len() > options.max_bytes {
            let message = format!("larger than the limit of {} bytes", options.max_bytes);
            return Err(JsonError::new(JsonErrorKind::Size, options.max_bytes, message));
        }
        Ok(Self {
            tables,
            options,
            lexer: Lexer::new(json),
            // Wire bytes are hardly ever longer than their JSON; the limit only guards the arithmetic.
            out: Writer::new(out, json.len(), usize::MAX >> 2),
            depth: options.max_depth,
            seen: Vec::new(),
            keys: Vec::new(),
            guards: &[],
            mask: None,
        })
    }

    /// Nothing but whitespace may follow.
    pub(crate) fn end(&mut self) -> Step {
        super::end(&mut self.lexer)
    }

    #[inline]
    pub(super) fn enter(&mut self) -> Step {
        match self.depth.checked_sub(1) {
            Some(depth) => {
                self.depth = depth;
                Ok(())
            }
            None => Err(too_deep(self.lexer.position())),
        }
    }

    #[inline]
    pub(super) fn leave(&mut self) {
        self.depth += 1;
    }

    /// A value that is not `expected`.
    #[cold]
    pub(super) fn mismatch(&mut self, expected: &str) -> JsonError {
        let found = self.lexer.describe();
        if found == "no value" {
            return self.lexer.syntax(expected);
        }
        self.wrong(self.lexer.position(), format!("expected {expected}, found {found}"))
    }

    #[cold]
    pub(super) fn wrong(&self, at: usize, message: String) -> JsonError {
        JsonError::new(JsonErrorKind::Value, at, message)
    }

    /// A whole message of any kind, without tag or length.
    pub(crate) fn root(&mut self, table: &'s MessageTable, scope: Scope) -> Step {
        match table.kind {
            Kind::Message(_) | Kind::Group(_) => self.message(table, scope),
            kind => self.well_known(kind),
        }
    }

    /// An object that is a message of ordinary JSON, without tag or length.
    pub(crate) fn message(&mut self, table: &'s MessageTable, scope: Scope) -> Step {
        if self.lexer.peek() != b'{' {
            return Err(self.mismatch("an object"));
        }
        self.enter()?;
        if !self.lexer.is_empty(b'}') {
            self.members(table, scope, false)?;
        }
        self.leave();
        Ok(())
    }

    /// Makes what was written from `start` on the items of a message set.
    #[cold]
    fn message_set(&mut self, start: usize) -> Step {
        let items = message_set::items(self.out.written(start)).unwrap_or_default();
        self.out.rewind(start);
        Ok(self.out.bytes(&items)?)
    }

    /// The members of an object whose brace is read, up to its end; `any` allows for `@type` among them.
    pub(super) fn members(&mut self, table: &'s MessageTable, scope: Scope, any: bool) -> Step {
        let mut seen = Seen { first: 0, base: self.seen.len() };
        if table.seen_bits > 64 {
            let words = index((table.seen_bits - 1) / 64);
            self.seen.resize(seen.base + words, 0);
        }
        let mut typed = false;
        let mut expected = 0;
        let start = self.out.position();
        loop {
            let at = {
                self.lexer.peek();
                self.lexer.position()
            };
            // Members mostly come in the order of their fields.
            let slot = match table.fields.get(index(expected)) {
                Some(field) if self.lexer.take_key(&field.json_key) => Some(expected),
                _ => self.key(table, any, &mut typed)?,
            };
            if let Some(slot) = slot {
                expected = slot + 1;
                let field = table.field(slot);
                if self.mark(&mut seen, slot) {
                    let message = "named twice; send it once".into();
                    return Err(JsonError::new(JsonErrorKind::Duplicate, at, message)
                        .within(&field.json_name));
                }
                let scope = if scope.is_plain() {
                    Some(scope)
                } else {
                    self.narrow(table, scope, slot, at)?
                };
                if let Some(scope) = scope
                    && let Err(error) = self.member(table, field, &mut seen, scope, at)
                {
                    return Err(error.within(&field.json_name));
                }
            }
            if !self.lexer.more(b'}')? {
                break;
            }
        }
        self.seen.truncate(seen.base);
        if table.message_set {
            self.message_set(start)?;
        }
        Ok(())
    }

    /// A member's name that was not the expected one; `None` if it is skipped with its value.
    fn key(
        &mut self,
        table: &MessageTable,
        any: bool,
        typed: &mut bool,
    ) -> Result<Option<u32>, JsonError> {
        let at = self.lexer.position();
        let quoted = self.lexer.quoted("a member's name")?;
        let name = quoted.text()?;
        self.lexer.expect(b':', "`:`")?;
        if let Some(slot) = table.slot_by_name(name.as_bytes()) {
            return Ok(Some(slot));
        }
        if any && name == "@type" {
            if std::mem::replace(typed, true) {
                let message = "named twice; send it once".into();
                return Err(JsonError::new(JsonErrorKind::Duplicate, at, message).within("@type"));
            }
            self.lexer.skip(self.depth)?;
            return Ok(None);
        }
        if self.options.ignore_unknown_fields {
            self.lexer.skip(self.depth)?;
            return Ok(None);
        }
        let nearest = table
            .nearest(&name)
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        let message = format!("unknown field of {}{nearest}", table.full_name);
        Err(JsonError::new(JsonErrorKind::UnknownField, at, message).within(&name))
    }

    /// Marks a seen bit; whether it was marked before.
    #[inline]
    fn mark(&mut self, seen: &mut Seen, bit: u32) -> bool {
        let mask = 1_u64 << (bit & 63);
        let word = if bit < 64 {
            Some(&mut seen.first)
        } else {
            self.seen.get_mut(seen.base + index(bit / 64) - 1)
        };
        word.is_some_and(|word| std::mem::replace(word, *word | mask) & mask != 0)
    }

    /// The scope of a member's value, under guards or a mask; `None` if it said what another part of the request says,
    /// and was read.
    #[cold]
    fn narrow(
        &mut self,
        table: &'s MessageTable,
        scope: Scope,
        slot: u32,
        at: usize,
    ) -> Result<Option<Scope>, JsonError> {
        let field = table.field(slot);
        let guard = match scope.narrow(self.guards, table, slot) {
            Narrowed::Free(scope) => return Ok(Some(scope)),
            // Null says nothing of it.
            Narrowed::Same(guard) if guard.agreeing.is_some() && self.is_absence(field) => {
                self.lexer.null()?;
                return Ok(None);
            }
            Narrowed::Same(guard) => {
                if let Some(agreeing) = guard.agreeing {
                    let start = self.out.position();
                    self.out.tag(field.tag)?;
                    self.value(field, Scope::PLAIN)
                        .map_err(|error| error.within(&field.json_name))?;
                    let agrees = self.out.written(start) == agreeing;
                    self.out.rewind(start);
                    if agrees {
                        return Ok(None);
                    }
                }
                guard
            }
            Narrowed::Sibling(guard) => guard,
        };
        let message = format!(
            "{} and the body both set `{}`; send it in one of them",
            guard.source(),
            guard.path.as_str()
        );
        Err(JsonError::new(JsonErrorKind::Conflict, at, message).within(&field.json_name))
    }

    /// One member's value, with its tag.
    fn member(
        &mut self,
        table: &'s MessageTable,
        field: &'s Field,
        seen: &mut Seen,
        scope: Scope,
        at: usize,
    ) -> Step {
        if self.is_absence(field) {
            self.lexer.null()?;
            return self.masked(field, scope, |_| Ok(()));
        }
        if field.oneof != NONE && self.mark(seen, field.oneof) {
            let others = table
                .fields
                .iter()
                .filter(|other| other.oneof == field.oneof && other.number != field.number);
            let names: Vec<_> = others.map(|other| format!("`{}`", other.json_name)).collect();
            let message = format!(
                "set together with another of its oneof; send one of it and {}",
                names.join(", ")
            );
            return Err(JsonError::new(JsonErrorKind::Duplicate, at, message));
        }
        if scope.is_plain() {
            return self.field_value(field, Scope::PLAIN);
        }
        self.masked(field, scope, |parser| parser.field_value(field, scope))
    }

    /// Whether what comes is a null that stands for no value; of some fields it is a value itself.
    #[inline]
    fn is_absence(&mut self, field: &Field) -> bool {
        self.lexer.peek() == b'n' && !matches!(field.kind, Kind::Value | Kind::NullValue)
    }

    /// Reads a value, and notes its path in the mask, unless the value noted paths within itself.
    #[cold]
    fn masked(
        &mut self,
        field: &Field,
        scope: Scope,
        read: impl FnOnce(&mut Self) -> Step,
    ) -> Step {
        let before = match &mut self.mask {
            Some(mask) if scope.is_masked() => Some(mask.enter(&field.proto_name)),
            _ => None,
        };
        read(self)?;
        if let (Some(before), Some(mask)) = (before, &mut self.mask) {
            mask.leave(before);
        }
        Ok(())
    }

    /// The body of a request that is one field of its message; null is none.
    pub(crate) fn body_field(&mut self, field: &'s Field, scope: Scope) -> Step {
        if self.is_absence(field) {
            return self.lexer.null();
        }
        self.field_value(field, scope)
    }

    /// A field's value, with its tags.
    fn field_value(&mut self, field: &'s Field, scope: Scope) -> Step {
        match field.cardinality {
            Cardinality::Singular => {
                let start = self.out.position();
                self.out.tag(field.tag)?;
                match self.value(field, scope)? {
                    Outcome::Written => {}
                    Outcome::Default if field.presence => {}
                    Outcome::Default | Outcome::Ignored => self.out.rewind(start),
                }
                Ok(())
            }
            Cardinality::List { packed } => self.list(field, packed),
            Cardinality::Map(entry) => self.map(field, entry),
        }
    }

    /// One value, without its tag.
    #[inline]
    pub(super) fn value(&mut self, field: &'s Field, scope: Scope) -> Result<Outcome, JsonError> {
        match field.kind {
            Kind::Scalar(Scalar::String) => self.string(),
            Kind::Scalar(scalar) => self.scalar(scalar),
            Kind::Message(message) => {
                let body = self.out.open()?;
                self.message(self.tables.message(message), scope)?;
                self.out.close(body)?;
                Ok(Outcome::Written)
            }
            Kind::Enum(enumeration) => self.enumeration(enumeration),
            Kind::NullValue => self.null_value(),
            Kind::Group(message) => {
                self.message(self.tables.message(message), scope)?;
                self.out.tag(Tag::new(field.number, END_GROUP))?;
                Ok(Outcome::Written)
            }
            kind => {
                let body = self.out.open()?;
                self.well_known(kind)?;
                self.out.close(body)?;
                Ok(Outcome::Written)
            }
        }
    }

    fn list(&mut self, field: &'s Field, packed: bool) -> Step {
        if self.lexer.peek() != b'[' {
            return Err(self.mismatch("an array"));
        }
        self.enter()?;
        if self.lexer.is_empty(b']') {
            self.leave();
            return Ok(());
        }
        let start = self.out.position();
        let mut body = start;
        if packed {
            self.out.tag(field.tag)?;
            body = self.out.open()?;
        }
        let mut nth = 0_usize;
        loop {
            let start = self.out.position();
            if !packed {
                self.out.tag(field.tag)?;
            }
            match self.element(field) {
                Ok(Outcome::Ignored) => self.out.rewind(start),
                Ok(_) => {}
                Err(error) => return Err(error.within(&format!("[{nth}]"))),
            }
            nth += 1;
            if !self.lexer.more(b']')? {
                break;
            }
        }
        if packed {
            if self.out.position() == body {
                self.out.rewind(start);
            } else {
                self.out.close(body)?;
            }
        }
        self.leave();
        Ok(())
    }

    /// An element of a list or a value of a map, where null is no value.
    #[inline]
    fn element(&mut self, field: &'s Field) -> Result<Outcome, JsonError> {
        if self.lexer.peek() == b'n' && !matches!(field.kind, Kind::Value | Kind::NullValue) {
            return Err(self.mismatch("a value; leave the element out"));
        }
        self.value(field, Scope::PLAIN)
    }

    fn map(&mut self, field: &'s Field, entry: u32) -> Step {
        if self.lexer.peek() != b'{' {
            return Err(self.mismatch("an object"));
        }
        self.enter()?;
        if self.lexer.is_empty(b'}') {
            self.leave();
            return Ok(());
        }
        let entry = self.tables.entry(entry);
        let base = self.keys.len();
        let opening = self.lexer.position();
        loop {
            let start = self.out.position();
            self.out.tag(field.tag)?;
            let body = self.out.open()?;
            self.lexer.peek();
            let at = self.lexer.position();
            self.out.tag(entry.key.tag)?;
            let key = self.out.position();
            self.map_key(&entry.key)?;
            let key_end = self.out.position();
            self.lexer.expect(b':', "`:`")?;
            self.out.tag(entry.value.tag)?;
            match self.element(&entry.value) {
                Ok(Outcome::Ignored) => self.out.rewind(start),
                Ok(_) => {
                    self.out.close(body)?;
                    // A length that outgrew its hole moved the key.
                    let grown = self.keys_moved(start, body, key, key_end);
                    self.keys.push(grown);
                }
                Err(error) => return Err(error.within(&self.key_text(at))),
            }
            if !self.lexer.more(b'}')? {
                break;
            }
        }
        self.distinct(base, opening)?;
        self.leave();
        Ok(())
    }

    /// Refuses a key that came twice among those from `base` on, whose members begin at `opening`; forgets them.
    pub(super) fn distinct(&mut self, base: usize, opening: usize) -> Step {
        if let Some(nth) = self.twice(base) {
            let at = self.find_key(opening, nth).unwrap_or(opening);
            let key = self.key_text(at);
            let message = "named twice; send it once".into();
            return Err(JsonError::new(JsonErrorKind::Duplicate, at, message).within(&key));
        }
        self.keys.truncate(base);
        Ok(())
    }

    /// Where a key stands after its entry was closed.
    #[inline]
    pub(super) fn keys_moved(
        &self,
        start: usize,
        body: usize,
        key: usize,
        key_end: usize,
    ) -> (usize, usize) {
        let entry = self.out.position() - start;
        // The tag and the first byte of the length stay; the rest of the length moves the content.
        let content = body - start;
        let mut grown = 0;
        while crate::wire::varint_length(entry - content - grown) > grown + 1 {
            grown += 1;
        }
        (key + grown, key_end + grown)
    }

    /// The index of an entry whose key came before, among those from `base` on.
    fn twice(&mut self, base: usize) -> Option<usize> {
        let keys = self.keys.get(base..).unwrap_or_default();
        let bytes = |nth: usize| {
            let (start, end) = keys.get(nth).copied().unwrap_or_default();
            self.out.written(start).get(..end - start).unwrap_or_default()
        };
        first_twice(keys.len(), bytes)
    }

    /// Where the name of the `nth` member of an object stands, for an error.
    #[cold]
    fn find_key(&mut self, opening: usize, nth: usize) -> Option<usize> {
        let end = self.lexer.position();
        self.lexer.seek(opening);
        for _ in 0..nth {
            self.lexer.skip(0).ok()?;
            self.lexer.expect(b':', "`:`").ok()?;
            self.lexer.skip(self.depth).ok()?;
            self.lexer.more(b'}').ok()?;
        }
        self.lexer.peek();
        let found = self.lexer.position();
        self.lexer.seek(end);
        Some(found)
    }

    /// The name of a map's member as a path shows it.
    #[cold]
    fn key_text(&mut self, at: usize) -> String {
        let end = self.lexer.position();
        self.lexer.seek(at);
        let name = self
            .lexer
            .text("a member's name")
            .map(std::borrow::Cow::into_owned)
            .unwrap_or_default();
        self.lexer.seek(end);
        format!("[{}]", crate::text::quoted(&name))
    }
}
