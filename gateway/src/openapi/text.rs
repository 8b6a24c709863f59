//! The contracts' comments as descriptions.

use prost_reflect::{
    EnumValueDescriptor, FieldDescriptor, FileDescriptor, MessageDescriptor, MethodDescriptor,
    ServiceDescriptor,
};

/// The comment in front of a method.
pub(super) fn of_method(method: &MethodDescriptor) -> String {
    at(&method.parent_file(), method.path())
}

/// The comment in front of a service.
pub(super) fn of_service(service: &ServiceDescriptor) -> String {
    at(&service.parent_file(), service.path())
}

/// The comment in front of a message.
pub(super) fn of_message(message: &MessageDescriptor) -> String {
    at(&message.parent_file(), message.path())
}

/// The comment in front of a field.
pub(super) fn of_field(field: &FieldDescriptor) -> String {
    at(&field.parent_file(), field.path())
}

/// The comment in front of an enum's value.
pub(super) fn of_value(value: &EnumValueDescriptor) -> String {
    at(&value.parent_enum().parent_file(), value.path())
}

/// The first sentence of a comment.
pub(super) fn first_sentence(comment: &str) -> String {
    let paragraph = comment.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    match paragraph.split_once(". ") {
        Some((sentence, _)) => format!("{sentence}."),
        None => paragraph,
    }
}

fn at(file: &FileDescriptor, path: &[i32]) -> String {
    let Some(info) = &file.file_descriptor_proto().source_code_info else { return String::new() };
    let Some(location) = info.location.iter().find(|location| location.path == path) else {
        return String::new();
    };
    let lines =
        location.leading_comments().lines().map(|line| line.strip_prefix(' ').unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}
