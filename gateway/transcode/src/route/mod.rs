//! From a method and a path to a binding: templates and the trie.

mod percent;
mod template;
mod trie;

pub(crate) use percent::{decode_query, decode_segments};
pub(crate) use template::{Segment, Template};
pub(crate) use trie::{Captures, Trie};
