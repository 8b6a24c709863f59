//! The trie of all templates: literals before variables before `**`, from the left.

use std::ops::ControlFlow;

use super::{
    decode_segments,
    template::{MAX_VARIABLES, Segment, Template},
};
use crate::{
    binding::{Binding, Match, Routed},
    error::RouteError,
    schema::{NONE, Schema},
    wire::index,
};

#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    /// Sorted by literal.
    literals: Vec<(Box<str>, u32)>,
    single: u32,
    multi: u32,
    leaves: Vec<Leaf>,
}

#[derive(Debug)]
struct Leaf {
    verb: Option<Box<str>>,
    http_method: Box<str>,
    binding: u32,
}

/// Where the variables of a match stand in its path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Captures([(u32, u32); MAX_VARIABLES]);

impl Captures {
    /// The raw text of the variable at `at`.
    pub(crate) fn get(self, path: &str, at: usize) -> &str {
        self.0
            .get(at)
            .and_then(|&(start, end)| path.get(index(start)..index(end)))
            .unwrap_or_default()
    }
}

impl Node {
    fn new() -> Self {
        Self { literals: Vec::new(), single: NONE, multi: NONE, leaves: Vec::new() }
    }

    fn literal(&self, segment: &str) -> Option<u32> {
        let at = self.literals.binary_search_by(|(literal, _)| (**literal).cmp(segment)).ok()?;
        self.literals.get(at).map(|&(_, node)| node)
    }
}

impl Trie {
    pub(crate) fn new() -> Self {
        Self { nodes: vec![Node::new()] }
    }

    /// Adds a binding; gives the one that already takes the same requests.
    pub(crate) fn insert(
        &mut self,
        template: &Template,
        http_method: &str,
        binding: u32,
    ) -> Result<(), u32> {
        let mut at = 0;
        for segment in template.segments() {
            at = self.child(at, segment);
        }
        let leaves = &mut self.nodes[at].leaves;
        let same = |leaf: &&Leaf| {
            leaf.verb.as_deref() == template.verb() && *leaf.http_method == *http_method
        };
        if let Some(leaf) = leaves.iter().find(same) {
            return Err(leaf.binding);
        }
        leaves.push(Leaf {
            verb: template.verb().map(Into::into),
            http_method: http_method.into(),
            binding,
        });
        Ok(())
    }

    fn child(&mut self, at: usize, segment: &Segment) -> usize {
        let new = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        let node = &mut self.nodes[at];
        let slot = match segment {
            Segment::Single => &mut node.single,
            Segment::Multi => &mut node.multi,
            Segment::Literal(text) => {
                let at = match node.literals.binary_search_by(|(literal, _)| literal.cmp(text)) {
                    Ok(at) => at,
                    Err(at) => {
                        node.literals.insert(at, (text.clone(), NONE));
                        at
                    }
                };
                &mut node.literals[at].1
            }
        };
        if *slot == NONE {
            *slot = new;
            self.nodes.push(Node::new());
            return index(new);
        }
        index(*slot)
    }

    /// Visits every node that `rest` ends at, most specific first.
    fn walk<T>(
        &self,
        node: u32,
        rest: Option<&str>,
        visit: &mut impl FnMut(&Node) -> ControlFlow<T>,
    ) -> ControlFlow<T> {
        let Some(node) = self.nodes.get(index(node)) else { return ControlFlow::Continue(()) };
        let multi = self.nodes.get(index(node.multi));
        let Some(rest) = rest else {
            visit(node)?;
            return multi.map_or(ControlFlow::Continue(()), visit);
        };
        let (segment, after) = match rest.split_once('/') {
            Some((segment, after)) => (segment, Some(after)),
            None => (rest, None),
        };
        // Nothing between two slashes, or behind the last one, is no segment.
        if segment.is_empty() {
            return ControlFlow::Continue(());
        }
        let literal = match segment.contains('%') {
            true => decode_segments(segment, false).and_then(|decoded| node.literal(&decoded)),
            false => node.literal(segment),
        };
        if let Some(child) = literal {
            self.walk(child, after, visit)?;
        }
        self.walk(node.single, after, visit)?;
        match multi {
            Some(multi) if !rest.ends_with('/') && !rest.contains("//") => visit(multi),
            _ => ControlFlow::Continue(()),
        }
    }

    /// Visits every leaf of `path`: those of its verb, or else those that take the colon as text.
    ///
    /// A client that has a colon in a variable escapes it (google/api/http.proto: all but `[-_.~0-9a-zA-Z]`), so a
    /// colon that stands as it is before a verb of this path begins that verb (AIP-136), whatever the HTTP method:
    /// `GET /v1/orders/x:cancel` asks for no order of the name `x:cancel`.
    fn leaves<T>(
        &self,
        path: &str,
        mut accept: impl FnMut(&Leaf) -> ControlFlow<T>,
    ) -> ControlFlow<T> {
        let Some(path) = path.strip_prefix('/') else { return ControlFlow::Continue(()) };
        let last = path.rfind('/').map_or(0, |at| at + 1);
        if let Some(colon) = path[last..].rfind(':') {
            let (path, verb) = path.split_at(last + colon);
            let mut is_verb = false;
            self.walk(0, Some(path).filter(|path| !path.is_empty()), &mut |node| {
                let mut leaves = node.leaves.iter();
                leaves.try_for_each(|leaf| match leaf.verb.as_deref() == Some(&verb[1..]) {
                    true => {
                        is_verb = true;
                        accept(leaf)
                    }
                    false => ControlFlow::Continue(()),
                })
            })?;
            if is_verb {
                return ControlFlow::Continue(());
            }
        }
        self.walk(0, Some(path).filter(|path| !path.is_empty()), &mut |node| {
            let mut leaves = node.leaves.iter();
            leaves.try_for_each(|leaf| match leaf.verb.is_none() {
                true => accept(leaf),
                false => ControlFlow::Continue(()),
            })
        })
    }

    fn find(&self, http_method: &str, path: &str) -> Option<u32> {
        let mut any = None;
        let found = self.leaves(path, |leaf| {
            if *leaf.http_method == *http_method {
                return ControlFlow::Break(leaf.binding);
            }
            if *leaf.http_method == *"*" {
                any = any.or(Some(leaf.binding));
            }
            ControlFlow::Continue(())
        });
        found.break_value().or(any)
    }

    pub(crate) fn route<'a>(
        &'a self,
        schema: &'a Schema,
        http_method: &str,
        path: &'a str,
    ) -> Routed<'a> {
        let mut found = self.find(http_method, path);
        if found.is_none() && http_method == "HEAD" {
            found = self.find("GET", path);
        }
        match found.and_then(|id| schema.bindings().get(index(id))) {
            Some(binding) => capture(schema, binding, path),
            None => Err(self.refusal(path)),
        }
    }

    #[cold]
    fn refusal(&self, path: &str) -> RouteError {
        let mut allow = Vec::new();
        let _: ControlFlow<()> = self.leaves(path, |leaf| {
            allow.push(leaf.http_method.to_string());
            ControlFlow::Continue(())
        });
        if allow.is_empty() {
            return RouteError::NotFound;
        }
        if allow.iter().any(|method| method == "GET") {
            allow.push("HEAD".into());
        }
        allow.push("OPTIONS".into());
        allow.sort();
        allow.dedup();
        RouteError::MethodNotAllowed { allow }
    }
}

/// Finds the variables of a match in its path, and checks that all of it can be decoded.
fn capture<'a>(schema: &'a Schema, binding: &'a Binding, path: &'a str) -> Routed<'a> {
    let mut captures = Captures([(0, 0); MAX_VARIABLES]);
    let template = &binding.template;
    let end = path.len() - template.verb().map_or(0, |verb| verb.len() + 1);
    for (range, segments) in captures.0.iter_mut().zip(template.variable_segments()) {
        let to_the_end = segments.end == template.segments().len();
        let start = segment_start(path, segments.start).min(end);
        let stop =
            if to_the_end { end } else { segment_start(path, segments.end).saturating_sub(1) };
        *range = (u32::try_from(start).unwrap_or(NONE), u32::try_from(stop).unwrap_or(NONE));
    }
    // Also where no variable takes it.
    if path.contains('%')
        && let Some(segment) = path.split('/').find(|it| decode_segments(it, false).is_none())
    {
        return Err(RouteError::Malformed { segment: segment.into() });
    }
    Ok(Match { schema, binding, path, captures })
}

/// Where the segment at `at` begins: behind the slash before it.
fn segment_start(path: &str, at: usize) -> usize {
    path.bytes()
        .enumerate()
        .filter(|(_, byte)| *byte == b'/')
        .nth(at)
        .map_or(path.len(), |(slash, _)| slash + 1)
}
