//! The services of this process: a call to one of them is handed over, not sent.

use std::{collections::HashMap, fmt, sync::Arc};

use arc_swap::ArcSwap;

use crate::serve::Stack;

/// Which services run in this process. Cheap to clone; all clones are one.
///
/// A service is on it from the moment it can serve until its drain ends.
#[derive(Clone, Default)]
pub struct Switchboard {
    stacks: Arc<ArcSwap<HashMap<String, Stack>>>,
}

// === impl Switchboard ===

impl Switchboard {
    /// Nobody yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on calls to `name` are handed to this stack.
    pub fn connect(&self, name: &str, stack: Stack) {
        self.stacks.rcu(|stacks| {
            let mut stacks = HashMap::clone(stacks);
            stacks.insert(name.to_owned(), stack.clone());
            stacks
        });
    }

    /// From now on calls to `name` go over the network.
    pub fn disconnect(&self, name: &str) {
        self.stacks.rcu(|stacks| {
            let mut stacks = HashMap::clone(stacks);
            stacks.remove(name);
            stacks
        });
    }

    /// The stack of a service of this process.
    pub fn find(&self, name: &str) -> Option<Stack> {
        self.stacks.load().get(name).cloned()
    }
}

impl fmt::Debug for Switchboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.stacks.load().keys()).finish()
    }
}
