//! The life of a product, as a table.

use std::fmt;

/// Where a product is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Being made; never seen by the public.
    Draft,
    /// For sale.
    Published,
    /// Taken off sale.
    Unpublished,
    /// Put away for good.
    Archived,
}

/// What can be done to a product's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transition {
    /// Show it.
    Publish,
    /// Hide it.
    Unpublish,
    /// Put it away.
    Archive,
}

/// Every change of state there is: what is not here is refused.
pub const TRANSITIONS: [(State, Transition, State); 4] = [
    (State::Draft, Transition::Publish, State::Published),
    (State::Published, Transition::Unpublish, State::Unpublished),
    (State::Unpublished, Transition::Publish, State::Published),
    (State::Unpublished, Transition::Archive, State::Archived),
];

// === impl State ===

impl State {
    /// The name that is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Draft => "DRAFT",
            Self::Published => "PUBLISHED",
            Self::Unpublished => "UNPUBLISHED",
            Self::Archived => "ARCHIVED",
        }
    }

    /// The state of a stored name.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Draft, Self::Published, Self::Unpublished, Self::Archived]
            .into_iter()
            .find(|state| state.name() == name)
    }

    /// The state after a transition, if the table has it.
    pub fn after(self, transition: Transition) -> Option<Self> {
        TRANSITIONS
            .iter()
            .find(|(from, by, _)| *from == self && *by == transition)
            .map(|(_, _, to)| *to)
    }

    /// Whether the product and what belongs to it may be changed.
    pub fn is_editable(self) -> bool {
        match self {
            Self::Draft | Self::Published | Self::Unpublished => true,
            Self::Archived => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish => "published",
            Self::Unpublish => "unpublished",
            Self::Archive => "archived",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATES: [State; 4] =
        [State::Draft, State::Published, State::Unpublished, State::Archived];

    #[test]
    fn a_state_is_read_back_by_its_name() {
        for state in STATES {
            assert_eq!(State::of_name(state.name()), Some(state));
        }
        assert_eq!(State::of_name("GONE"), None);
    }

    proptest! {
        #[test]
        fn random_transitions_never_leave_the_table(
            moves in prop::collection::vec(
                prop_oneof![
                    Just(Transition::Publish),
                    Just(Transition::Unpublish),
                    Just(Transition::Archive),
                ],
                0..40,
            )
        ) {
            let mut state = State::Draft;
            let mut was_published = false;
            let mut archived = false;
            for transition in moves {
                let next = state.after(transition);
                prop_assert_eq!(
                    next.is_some(),
                    TRANSITIONS.iter().any(|(from, by, _)| *from == state && *by == transition)
                );
                let Some(next) = next else { continue };
                prop_assert!(!archived, "left the archive by {:?}", transition);
                prop_assert!(next != State::Draft, "became a draft again by {:?}", transition);
                prop_assert!(next == State::Published || was_published);
                was_published |= next == State::Published;
                archived = next == State::Archived;
                state = next;
            }
        }
    }
}
