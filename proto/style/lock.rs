//! What was published stays as it is: every line of it is in the lock file.

use std::{collections::BTreeSet, fs, path::PathBuf};

use prost_reflect::{Cardinality, FieldDescriptor, Kind};

use crate::contract::{enums, fields, methods, routes};

/// Set to rewrite the lock file: `MERCAT_BLESS=1 cargo test --test style`.
const BLESS: &str = "MERCAT_BLESS";

/// One line for each thing that a published contract must not change.
fn wire() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for field in fields() {
        let kind = match field.kind() {
            Kind::Message(message) => message.full_name().to_owned(),
            Kind::Enum(found) => found.full_name().to_owned(),
            scalar => format!("{scalar:?}").to_lowercase(),
        };
        let kind = match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let side = |field: FieldDescriptor| format!("{:?}", field.kind()).to_lowercase();
                format!(
                    "map<{}, {}>",
                    side(entry.map_entry_key_field()),
                    side(entry.map_entry_value_field())
                )
            }
            _ => kind,
        };
        let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
        let label = match (field.cardinality(), oneof) {
            (Cardinality::Repeated, _) => "repeated".to_owned(),
            (_, Some(oneof)) => format!("oneof({})", oneof.name()),
            _ if field.field_descriptor_proto().proto3_optional() => "optional".to_owned(),
            _ => "singular".to_owned(),
        };
        lines.insert(format!(
            "field {} = {} {label} {kind} json={}",
            field.full_name(),
            field.number(),
            field.json_name()
        ));
    }
    for found in enums() {
        for value in found.values() {
            lines.insert(format!(
                "value {}.{} = {}",
                found.full_name(),
                value.name(),
                value.number()
            ));
        }
    }
    for method in methods() {
        let stream = |is: bool| if is { "stream " } else { "" };
        lines.insert(format!(
            "rpc {} ({}{}) returns ({}{})",
            method.full_name(),
            stream(method.is_client_streaming()),
            method.input().full_name(),
            stream(method.is_server_streaming()),
            method.output().full_name(),
        ));
        for (verb, path) in routes(&method) {
            lines.insert(format!("route {verb} {path} -> {}", method.full_name()));
        }
    }
    lines
}

#[test]
fn no_published_contract_is_broken() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("proto/contracts.lock");
    let wire = wire();
    if std::env::var_os(BLESS).is_some() {
        let text = wire.iter().fold(String::new(), |text, line| text + line + "\n");
        fs::write(&file, text).expect("the lock file can be written");
        return;
    }
    let text = fs::read_to_string(&file).unwrap_or_default();
    let locked: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    let gone: Vec<String> = locked.difference(&wire).cloned().collect();
    let new: Vec<String> = wire.difference(&locked).cloned().collect();
    assert!(
        gone.is_empty(),
        "these lines of proto/contracts.lock are no longer true: whoever has the published contract would break. Put \
         them back (a field that is not used any more stays, deprecated), or make a v2:\n  {}\nInstead of them there \
         is:\n  {}",
        gone.join("\n  "),
        new.join("\n  ")
    );
    assert!(
        new.is_empty(),
        "these lines are not in proto/contracts.lock. If they are meant, add them with\n  {BLESS}=1 cargo test --test \
         style\nand commit the file:\n  {}",
        new.join("\n  ")
    );
    assert_eq!(
        text,
        wire.iter().fold(String::new(), |text, line| text + line + "\n"),
        "the lock file is not sorted"
    );
}
