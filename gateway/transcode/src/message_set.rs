//! Message sets of proto2: messages whose extensions travel as groups of a number and a message each.
//!
//! They are older than extensions proper and rare enough to go through a copy, in which each item is the field that it
//! stands for. In JSON they are as any other message with extensions.

use crate::{
    path::Raw,
    wire::{END_GROUP, Full, LEN, Reader, START_GROUP, Tag, VARINT, Writer},
};

/// The group of an item, and in it the number of the extension and its message.
const ITEM: u32 = 1;
const TYPE_ID: u32 = 2;
const MESSAGE: u32 = 3;

/// The items of a message set as ordinary fields; what is no item stays as it is. `None` if the bytes are broken.
pub(crate) fn fields(set: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, set.len(), usize::MAX >> 2);
    let mut reader = Reader::new(set);
    while !reader.is_empty() {
        let start = reader;
        let (number, kind) = reader.tag()?;
        if (number, kind) != (ITEM, START_GROUP) {
            reader.skip(number, kind)?;
            writer.bytes(start.up_to(&reader)).ok()?;
            continue;
        }
        let mut item = Reader::new(reader.group(number)?);
        let (mut type_id, mut message) = (None, None);
        while !item.is_empty() {
            let (number, kind) = item.tag()?;
            match (number, item.raw(number, kind)??) {
                // Either may come first.
                (TYPE_ID, Raw::Varint(id)) => type_id = type_id.or(Some(id)),
                (MESSAGE, Raw::Bytes(bytes)) => message = message.or(Some(bytes)),
                _ => {}
            }
        }
        let extension = type_id.and_then(|id| u32::try_from(id).ok()).filter(|id| id >> 29 == 0);
        if let (Some(extension), Some(message)) = (extension, message) {
            field(extension, message, &mut writer).ok()?;
        }
    }
    writer.finish();
    Some(out)
}

/// The reverse, for what the parser wrote as ordinary fields: messages, since nothing else extends a message set.
pub(crate) fn items(fields: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, fields.len() * 2, usize::MAX >> 2);
    let mut reader = Reader::new(fields);
    while !reader.is_empty() {
        let start = reader;
        let (number, kind) = reader.tag()?;
        let value = reader.raw(number, kind)??;
        let Raw::Bytes(message) = value else {
            writer.bytes(start.up_to(&reader)).ok()?;
            continue;
        };
        writer.tag(Tag::new(ITEM, START_GROUP)).ok()?;
        writer.tag(Tag::new(TYPE_ID, VARINT)).ok()?;
        writer.varint(u64::from(number)).ok()?;
        field(MESSAGE, message, &mut writer).ok()?;
        writer.tag(Tag::new(ITEM, END_GROUP)).ok()?;
    }
    writer.finish();
    Some(out)
}

fn field(number: u32, message: &[u8], writer: &mut Writer<'_>) -> Result<(), Full> {
    writer.tag(Tag::new(number, LEN))?;
    writer.varint(u64::try_from(message.len()).unwrap_or(0))?;
    writer.bytes(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_the_fields_they_stand_for_in_either_order() {
        let inner = [0x08, 5];
        let ordinary = [&[0xa2, 0x1f, 2][..], &inner].concat();
        let item = [&[0x0b, 0x10, 0xf4, 3, 0x1a, 2][..], &inner, &[0x0c]].concat();
        let swapped = [&[0x0b, 0x1a, 2][..], &inner, &[0x10, 0xf4, 3, 0x0c]].concat();
        assert_eq!(fields(&item).as_deref(), Some(&*ordinary));
        assert_eq!(fields(&swapped).as_deref(), Some(&*ordinary));
        assert_eq!(fields(&ordinary).as_deref(), Some(&*ordinary));
        assert_eq!(items(&ordinary).as_deref(), Some(&*item));
    }

    #[test]
    fn an_item_without_number_or_message_is_nothing_and_a_broken_one_is_broken() {
        assert_eq!(fields(&[0x0b, 0x10, 5, 0x0c]), Some(vec![]));
        assert_eq!(fields(&[0x0b, 0x1a, 0, 0x0c]), Some(vec![]));
        assert_eq!(fields(&[0x0b, 0x10, 5]), None);
        assert_eq!(items(&[0x0a, 5]), None);
    }
}
