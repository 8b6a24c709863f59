//! The contracts' comments as descriptions.

use std::collections::HashMap;

use prost_reflect::{
    EnumDescriptor, EnumValueDescriptor, FieldDescriptor, FileDescriptor, MessageDescriptor,
    MethodDescriptor, ServiceDescriptor,
};

/// The comments of the files that were asked for, by the path of what they stand at.
#[derive(Debug, Default)]
pub(super) struct Texts {
    files: HashMap<String, HashMap<Vec<i32>, String>>,
}

// === impl Texts ===

impl Texts {
    /// The comment of a method.
    pub(super) fn of_method(&mut self, method: &MethodDescriptor) -> String {
        self.at(&method.parent_file(), method.path())
    }

    /// The comment of a service.
    pub(super) fn of_service(&mut self, service: &ServiceDescriptor) -> String {
        self.at(&service.parent_file(), service.path())
    }

    /// The comment of a message.
    pub(super) fn of_message(&mut self, message: &MessageDescriptor) -> String {
        self.at(&message.parent_file(), message.path())
    }

    /// The comment of a field.
    pub(super) fn of_field(&mut self, field: &FieldDescriptor) -> String {
        self.at(&field.parent_file(), field.path())
    }

    /// The comment of an enum.
    pub(super) fn of_enum(&mut self, found: &EnumDescriptor) -> String {
        self.at(&found.parent_file(), found.path())
    }

    /// The comment of an enum's value.
    pub(super) fn of_value(&mut self, value: &EnumValueDescriptor) -> String {
        self.at(&value.parent_enum().parent_file(), value.path())
    }

    fn at(&mut self, file: &FileDescriptor, path: &[i32]) -> String {
        if !self.files.contains_key(file.name()) {
            self.files.insert(file.name().to_owned(), read(file));
        }
        self.files.get(file.name()).and_then(|found| found.get(path)).cloned().unwrap_or_default()
    }
}

/// Every comment of a file: the one in front, or the one behind on the same line.
fn read(file: &FileDescriptor) -> HashMap<Vec<i32>, String> {
    let Some(info) = &file.file_descriptor_proto().source_code_info else { return HashMap::new() };
    let texts = info.location.iter().filter_map(|location| {
        let comment = [location.leading_comments(), location.trailing_comments()]
            .into_iter()
            .map(clean)
            .find(|comment| !comment.is_empty())?;
        Some((location.path.clone(), comment))
    });
    texts.collect()
}

/// A comment without its margin, without what it tells only to linters, and
/// without what is for the authors alone: `(-- … --)` (AIP-192).
fn clean(comment: &str) -> String {
    let lines = comment
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end())
        .filter(|line| !line.trim_start().starts_with("buf:lint:"));
    let mut text = lines.collect::<Vec<_>>().join("\n");
    while let Some(start) = text.find("(--") {
        let end = text[start..].find("--)").map_or(text.len(), |end| start + end + 3);
        text.replace_range(start..end, "");
    }
    text.trim().to_owned()
}

/// The first sentence of a comment.
pub(super) fn first_sentence(comment: &str) -> String {
    let paragraph = comment.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    match paragraph.split_once(". ") {
        Some((sentence, _)) => format!("{sentence}."),
        None => paragraph,
    }
}

/// `ListProducts` as `List products`, for what has no comment.
pub(super) fn words(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter == '_' {
            text.push(' ');
        } else if letter.is_uppercase() && !text.is_empty() {
            text.push(' ');
            text.extend(letter.to_lowercase());
        } else {
            text.push(letter);
        }
    }
    text
}

/// Two texts as paragraphs of one, if there are two.
pub(super) fn paragraphs(first: &str, second: &str) -> String {
    match (first.is_empty(), second.is_empty()) {
        (true, _) => second.to_owned(),
        (_, true) => first.to_owned(),
        _ => format!("{first}\n\n{second}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_told_without_what_is_for_its_authors() {
        assert_eq!(
            clean(" Shelves books.\n buf:lint:ignore RPC_X\n (-- api-linter: off\n --)\n"),
            "Shelves books."
        );
    }

    #[test]
    fn a_name_is_told_in_words() {
        assert_eq!(words("ListProducts"), "List products");
        assert_eq!(words("page_size"), "page size");
    }

    #[test]
    fn a_summary_is_the_first_sentence() {
        assert_eq!(first_sentence("Lists\nall of them. Twice.\n\nMore."), "Lists all of them.");
    }
}
