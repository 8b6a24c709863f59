//! Whether new descriptors can take the place of old ones while clients call:
//! what buf calls `WIRE_JSON`, for everything that the services' methods reach.

use std::collections::BTreeSet;

use chassis::Contract;
use prost_reflect::{
    Cardinality, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
};

/// How many problems are told.
const TOLD_MAX: usize = 20;

/// What clients of `before` could not do any more with `after`: one sentence
/// each, naming the method, field or value.
pub(crate) fn breaks(before: &Contract, after: &Contract) -> Vec<String> {
    let mut comparison = Comparison::default();
    for service in before.pool().services() {
        if before.owner(service.full_name()).is_none() {
            continue;
        }
        let Some(found) = after.pool().get_service_by_name(service.full_name()) else {
            comparison.say(format!("the service {} is gone", service.full_name()));
            continue;
        };
        for method in service.methods() {
            match found.methods().find(|found| found.name() == method.name()) {
                Some(found) => comparison.methods(&method, &found),
                None => comparison.say(format!("the method {} is gone", method.full_name())),
            }
        }
    }
    comparison.problems.truncate(TOLD_MAX);
    comparison.problems
}

#[derive(Default)]
struct Comparison {
    problems: Vec<String>,
    seen: BTreeSet<String>,
}

// === impl Comparison ===

impl Comparison {
    fn say(&mut self, problem: String) {
        self.problems.push(problem);
    }

    fn methods(&mut self, before: &MethodDescriptor, after: &MethodDescriptor) {
        let name = before.full_name();
        let shape = |method: &MethodDescriptor| {
            (method.is_client_streaming(), method.is_server_streaming())
        };
        if shape(before) != shape(after) {
            self.say(format!("{name} streams where it did not, or no longer"));
        }
        for (what, before, after) in [
            ("request", before.input(), after.input()),
            ("response", before.output(), after.output()),
        ] {
            if before.full_name() == after.full_name() {
                self.messages(&before, &after);
            } else {
                self.say(format!(
                    "the {what} of {name} was {} and is {}",
                    before.full_name(),
                    after.full_name()
                ));
            }
        }
    }

    fn messages(&mut self, before: &MessageDescriptor, after: &MessageDescriptor) {
        if !self.seen.insert(before.full_name().to_owned()) {
            return;
        }
        for field in before.fields() {
            match after.get_field(field.number()) {
                Some(found) => self.fields(&field, &found),
                None if is_reserved(&field, after) => {}
                None => self.say(format!(
                    "the field {} is gone, and neither its number nor its name is reserved",
                    field.full_name()
                )),
            }
        }
    }

    fn fields(&mut self, before: &FieldDescriptor, after: &FieldDescriptor) {
        let name = before.full_name();
        if before.name() != after.name() || before.json_name() != after.json_name() {
            self.say(format!("the field {name} is now called {}", after.name()));
        }
        let is_repeated = |field: &FieldDescriptor| field.cardinality() == Cardinality::Repeated;
        if is_repeated(before) != is_repeated(after) || before.is_map() != after.is_map() {
            self.say(format!("the field {name} is repeated where it was not, or no longer"));
        }
        match (before.kind(), after.kind()) {
            (Kind::Message(old), Kind::Message(new)) => {
                if !before.is_map() && old.full_name() != new.full_name() {
                    self.retyped(name, old.full_name(), new.full_name());
                } else {
                    self.messages(&old, &new);
                }
            }
            (Kind::Enum(old), Kind::Enum(new)) => {
                if old.full_name() == new.full_name() {
                    self.enums(&old, &new);
                } else {
                    self.retyped(name, old.full_name(), new.full_name());
                }
            }
            (old, new) if old != new => {
                self.retyped(name, &format!("{old:?}"), &format!("{new:?}"));
            }
            _ => {}
        }
    }

    fn retyped(&mut self, name: &str, before: &str, after: &str) {
        self.say(format!("the field {name} was of type {before} and is {after}"));
    }

    fn enums(&mut self, before: &EnumDescriptor, after: &EnumDescriptor) {
        if !self.seen.insert(before.full_name().to_owned()) {
            return;
        }
        for value in before.values() {
            let found = after.values().find(|found| found.name() == value.name());
            match found {
                Some(found) if found.number() == value.number() => {}
                Some(found) => self.say(format!(
                    "the value {} was {} and is {}",
                    value.full_name(),
                    value.number(),
                    found.number()
                )),
                None if after.reserved_names().any(|name| name == value.name()) => {}
                None => self.say(format!("the value {} is gone", value.full_name())),
            }
        }
    }
}

/// Whether nobody can give the field's number and name another meaning.
fn is_reserved(field: &FieldDescriptor, message: &MessageDescriptor) -> bool {
    message.reserved_ranges().any(|range| range.contains(&field.number()))
        && message.reserved_names().any(|name| name == field.name())
}
