//! The components that something refers to: what nothing uses would only be read
//! in vain.

use std::collections::HashSet;

use serde_json::{Map, Value};

/// The place of all components.
const PLACE: &str = "#/components/";

/// Leaves out every component that neither a path nor a component in use refers to.
/// Security schemes are named, not referred to, and stay.
pub(super) fn retain(paths: &Map<String, Value>, components: &mut Map<String, Value>) {
    let mut used: HashSet<String> = HashSet::new();
    let mut waiting: Vec<String> = Vec::new();
    paths.values().for_each(|path| references(path, &mut waiting));
    while let Some(name) = waiting.pop() {
        if let Some((kind, rest)) = name.split_once('/')
            && let Some(found) = find(components, kind, rest)
            && used.insert(name)
        {
            references(found, &mut waiting);
        }
    }
    for (kind, members) in components.iter_mut().filter(|(kind, _)| *kind != "securitySchemes") {
        if let Value::Object(members) = members {
            members.retain(|name, _| used.contains(&format!("{kind}/{name}")));
        }
    }
    components.retain(|_, members| members.as_object().is_none_or(|members| !members.is_empty()));
}

fn find<'c>(components: &'c Map<String, Value>, kind: &str, name: &str) -> Option<&'c Value> {
    components.get(kind)?.get(name)
}

/// Adds the kind and name of every component that a value refers to.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref")
                && let Some(place) = reference.strip_prefix(PLACE)
            {
                // What follows the name is within the component.
                let mut parts = place.splitn(3, '/');
                let (kind, name) = (parts.next(), parts.next());
                found.extend(kind.zip(name).map(|(kind, name)| format!("{kind}/{name}")));
            }
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}
