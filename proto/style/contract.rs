//! What there is in the contracts, and what their options say of it.

use std::sync::LazyLock;

use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, ExtensionDescriptor, FieldDescriptor,
    FileDescriptor, MessageDescriptor, MethodDescriptor, Value,
};

pub(crate) static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(contracts::DESCRIPTORS).expect("the descriptors can be read")
});

pub(crate) fn files() -> impl Iterator<Item = FileDescriptor> {
    POOL.files().filter(|file| file.package_name().starts_with("mercat."))
}

pub(crate) fn methods() -> impl Iterator<Item = MethodDescriptor> {
    POOL.services()
        .filter(|service| service.package_name().starts_with("mercat."))
        .flat_map(|service| service.methods().collect::<Vec<_>>())
}

/// Our messages, the nested ones too, without the made-up entries of maps.
pub(crate) fn messages() -> impl Iterator<Item = MessageDescriptor> {
    POOL.all_messages().filter(|message| is_ours(message.package_name()) && !message.is_map_entry())
}

pub(crate) fn fields() -> impl Iterator<Item = FieldDescriptor> {
    messages().flat_map(|message| message.fields().collect::<Vec<_>>())
}

pub(crate) fn enums() -> impl Iterator<Item = EnumDescriptor> {
    POOL.all_enums().filter(|found| is_ours(found.package_name()))
}

pub(crate) fn is_ours(package: &str) -> bool {
    package.starts_with("mercat.")
}

fn extension(name: &str) -> ExtensionDescriptor {
    POOL.get_extension_by_name(name).expect("our options are in the descriptors")
}

/// An option of ours or of a library's, if it is set.
fn option(options: &DynamicMessage, name: &str) -> Option<Value> {
    let extension = extension(name);
    options.has_extension(&extension).then(|| options.get_extension(&extension).into_owned())
}

fn policy(method: &MethodDescriptor) -> Option<DynamicMessage> {
    option(&method.options(), "mercat.mesh.v1.policy")?.as_message().cloned()
}

/// The access rule, if it admits anybody.
pub(crate) fn access(method: &MethodDescriptor) -> Option<DynamicMessage> {
    let access = part(&policy(method)?, "access")?;
    let admits = ["public", "signed_in", "permission", "services"]
        .iter()
        .any(|way| access.has_field_by_name(way));
    admits.then_some(access)
}

/// Whether other services are the only callers.
pub(crate) fn is_internal(method: &MethodDescriptor) -> bool {
    access(method).is_some_and(|access| {
        access.has_field_by_name("services")
            && !["public", "signed_in", "permission"]
                .iter()
                .any(|way| access.has_field_by_name(way))
    })
}

/// The verb and path of every REST binding.
pub(crate) fn routes(method: &MethodDescriptor) -> Vec<(String, String)> {
    let Some(Value::Message(rule)) = option(&method.options(), "google.api.http") else {
        return Vec::new();
    };
    let mut rules = vec![rule.clone()];
    if let Some(Value::List(more)) = rule.get_field_by_name("additional_bindings").as_deref() {
        rules.extend(more.iter().filter_map(|rule| rule.as_message().cloned()));
    }
    let mut found = Vec::new();
    for rule in rules {
        for verb in ["get", "put", "post", "delete", "patch"] {
            if rule.has_field_by_name(verb)
                && let Some(Value::String(path)) = rule.get_field_by_name(verb).as_deref()
            {
                found.push((verb.to_uppercase(), path.clone()));
            }
        }
    }
    found
}

/// 0 unknown, 1 reads only, 2 may be repeated.
pub(crate) fn effect(method: &MethodDescriptor) -> i32 {
    method
        .options()
        .get_field_by_name("idempotency_level")
        .and_then(|level| level.as_enum_number())
        .unwrap_or_default()
}

pub(crate) fn reads(method: &MethodDescriptor) -> bool {
    effect(method) == 1
}

/// The message in a field of a message, if it is set.
pub(crate) fn part(message: &DynamicMessage, field: &str) -> Option<DynamicMessage> {
    if !message.has_field_by_name(field) {
        return None;
    }
    message.get_field_by_name(field)?.as_message().cloned()
}

pub(crate) fn rules(field: &FieldDescriptor) -> Option<DynamicMessage> {
    option(&field.options(), "buf.validate.field")?.as_message().cloned()
}

/// Whether the rules of a string bound what may be in it.
pub(crate) fn bounds_text(rules: Option<&DynamicMessage>) -> bool {
    let Some(text) = rules.and_then(|rules| part(rules, "string")) else { return false };
    ["max_len", "max_bytes", "len", "uuid", "pattern", "in", "const"]
        .iter()
        .any(|rule| text.has_field_by_name(rule))
}

pub(crate) fn bounds_bytes(rules: Option<&DynamicMessage>) -> bool {
    let Some(bytes) = rules.and_then(|rules| part(rules, "bytes")) else { return false };
    ["max_len", "len"].iter().any(|rule| bytes.has_field_by_name(rule))
}

/// Whether a server sets the field and reads it from nobody.
pub(crate) fn is_output_only(field: &FieldDescriptor) -> bool {
    let Some(Value::List(behaviours)) = option(&field.options(), "google.api.field_behavior")
    else {
        return false;
    };
    behaviours.iter().any(|behaviour| behaviour.as_enum_number() == Some(3))
}

/// `SagaStatus` as `SAGA_STATUS`.
pub(crate) fn upper_snake(name: &str) -> String {
    let mut text = String::new();
    for (position, letter) in name.char_indices() {
        if letter.is_uppercase() && position > 0 {
            text.push('_');
        }
        text.extend(letter.to_uppercase());
    }
    text
}
