//! What a body may not set because another part of the request does, and the mask of what it did set.

use crate::{
    error::Source,
    path::FieldPath,
    schema::{MessageTable, NONE},
    wire::{LEN, encode_varint, small_tag},
};

/// A field that the path or a header sets.
#[derive(Debug)]
pub(crate) struct Guard<'a> {
    pub(crate) path: &'a FieldPath,
    /// The header's name; none for the path.
    pub(crate) header: Option<&'a str>,
    /// The field's tag and value on the wire, if the body may say the same.
    pub(crate) agreeing: Option<&'a [u8]>,
    /// It was set in an earlier message of a stream: this one may well set another member of its oneof.
    pub(crate) earlier: bool,
}

/// Where a member stands to the guards of its message.
pub(super) enum Narrowed<'g> {
    /// It is free; its own members have this scope.
    Free(Scope),
    /// It is the very field of this guard.
    Same(&'g Guard<'g>),
    /// It would undo what this guard sets, being of the same oneof.
    Sibling(&'g Guard<'g>),
}

impl Guard<'_> {
    pub(crate) fn source(&self) -> Source {
        self.header.map_or(Source::Path, |name| Source::Header(name.into()))
    }
}

/// Which guards still lie below the message at hand, and whether its members belong into the mask.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope {
    /// One bit for each guard whose path led here.
    guards: u64,
    level: u8,
    masked: bool,
}

/// How many guards one request can have.
pub(crate) const MAX_GUARDS: usize = 64;

impl Scope {
    /// Nothing is guarded, nothing is masked: all but the body's own top.
    pub(crate) const PLAIN: Self = Self { guards: 0, level: 0, masked: false };

    /// The request message itself, under `count` guards.
    pub(crate) fn top(count: usize) -> Self {
        let guards = match count {
            0 => 0,
            count => u64::MAX >> (64 - count.min(MAX_GUARDS)),
        };
        Self { guards, level: 0, masked: false }
    }

    /// The scope of the body's one field: the guards that lead through it.
    pub(crate) fn of_field(guards: &[Guard<'_>], slot: u32) -> Self {
        let mut scope = Self { guards: 0, level: 1, masked: false };
        for (bit, guard) in guards.iter().take(MAX_GUARDS).enumerate() {
            if guard.path.steps.first().is_some_and(|step| step.slot == slot)
                && guard.path.steps.len() > 1
            {
                scope.guards |= 1 << bit;
            }
        }
        scope
    }

    /// The same, with its members noted in the mask.
    pub(crate) fn masked(self) -> Self {
        Self { masked: true, ..self }
    }

    #[inline]
    pub(crate) fn is_plain(self) -> bool {
        self.guards == 0 && !self.masked
    }

    pub(crate) fn is_masked(self) -> bool {
        self.masked
    }

    fn level(self) -> usize {
        usize::from(self.level)
    }

    /// Where the member at `slot` stands.
    pub(super) fn narrow<'g>(
        self,
        guards: &'g [Guard<'g>],
        table: &MessageTable,
        slot: u32,
    ) -> Narrowed<'g> {
        let mut next = Self { guards: 0, level: self.level.saturating_add(1), masked: self.masked };
        for (bit, guard) in guards.iter().enumerate().filter(|(bit, _)| self.guards >> bit & 1 == 1)
        {
            let Some(step) = guard.path.steps.get(self.level()) else { continue };
            if step.slot == slot {
                if guard.path.steps.len() == self.level() + 1 {
                    return Narrowed::Same(guard);
                }
                next.guards |= 1 << bit;
            } else if !guard.earlier
                && table.field(slot).oneof != NONE
                && table.field(slot).oneof == table.field(step.slot).oneof
            {
                return Narrowed::Sibling(guard);
            }
        }
        Narrowed::Free(next)
    }
}

/// A FieldMask that is being derived: its wire bytes and the path at hand.
#[derive(Debug, Default)]
pub(crate) struct Mask {
    pub(crate) wire: Vec<u8>,
    prefix: String,
}

/// What [`Mask::leave`] needs to know.
#[derive(Clone, Copy)]
pub(super) struct Entered {
    prefix: usize,
    wire: usize,
}

impl Mask {
    /// Goes into a member.
    pub(super) fn enter(&mut self, name: &str) -> Entered {
        let entered = Entered { prefix: self.prefix.len(), wire: self.wire.len() };
        if !self.prefix.is_empty() {
            self.prefix.push('.');
        }
        self.prefix.push_str(name);
        entered
    }

    /// Leaves it; its own path counts if none below it did.
    pub(super) fn leave(&mut self, entered: Entered) {
        if self.wire.len() == entered.wire {
            let mut length = [0; 10];
            let digits = encode_varint(u64::try_from(self.prefix.len()).unwrap_or(0), &mut length);
            self.wire.push(small_tag(1, LEN));
            self.wire.extend_from_slice(length.get(..digits).unwrap_or_default());
            self.wire.extend_from_slice(self.prefix.as_bytes());
        }
        self.prefix.truncate(entered.prefix);
    }
}
