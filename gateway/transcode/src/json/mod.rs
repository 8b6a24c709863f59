//! The JSON mapping of protobuf, in both directions.

mod distinct;
mod guard;
mod known;
mod lexer;
mod number;
mod parse;
mod print;
mod print_careful;
mod print_known;
mod print_scalar;
mod scalar;
mod time;
mod values;

pub(crate) use guard::{Guard, MAX_GUARDS, Mask, Scope};
pub(crate) use known::{write_mask, write_time};
pub(crate) use lexer::short;
pub(crate) use parse::Parser;
pub(crate) use scalar::write_text;
pub(crate) use time::{parse_duration, parse_timestamp};
pub use values::{JsonValue, JsonValues, Sequence};

use std::borrow::Cow;

use lexer::Lexer;
use print::{Printer, Step, broken};

use crate::{
    error::{JsonError, WireError},
    options::{ParseOptions, PrintOptions},
    path::Raw,
    schema::{Field, Kind, Scalar, Tables},
    wire::Reader,
};

/// One message from JSON, appended to `out`.
pub(crate) fn parse_message(
    tables: &Tables,
    message: u32,
    json: &[u8],
    out: &mut Vec<u8>,
    options: &ParseOptions,
) -> Result<(), JsonError> {
    let mut parser =
        Parser::new(tables, json, out, options).map_err(|error| error.located(json))?;
    let table = tables.message(message);
    match parser.root(table, Scope::PLAIN).and_then(|()| parser.end()) {
        Ok(()) => {
            parser.out.finish();
            Ok(())
        }
        Err(error) => {
            parser.out.abandon();
            Err(error.located(json))
        }
    }
}

/// Nothing but whitespace may follow.
fn end(lexer: &mut Lexer<'_>) -> Result<(), JsonError> {
    if lexer.peek() == 0 && lexer.position() >= lexer.json().len() {
        return Ok(());
    }
    Err(lexer.syntax("the end"))
}

/// One message as JSON, appended to `out`.
pub(crate) fn print_message(
    tables: &Tables,
    message: u32,
    wire: &[u8],
    out: &mut Vec<u8>,
    options: &PrintOptions,
) -> Result<(), WireError> {
    let kind = tables.message(message).kind;
    print(tables, wire.len(), out, options, |printer| printer.whole(kind, wire))
}

/// One field of a message as JSON: all that the message holds of it, or its default.
pub(crate) fn print_field(
    tables: &Tables,
    message: u32,
    slot: u32,
    wire: &[u8],
    out: &mut Vec<u8>,
    options: &PrintOptions,
) -> Result<(), WireError> {
    let table = tables.message(message);
    print(tables, wire.len(), out, options, |printer| printer.field(table, slot, wire))
}

/// One value of a field as text without quotes; `None` if text cannot say it.
pub(crate) fn print_text<'w>(
    tables: &Tables,
    field: &Field,
    wire_type: u8,
    mut at: Reader<'w>,
) -> Option<Cow<'w, str>> {
    if !field.is_singular() || !field.kind.is_text() || wire_type != field.kind.wire_type() {
        return None;
    }
    if field.kind == Kind::Scalar(Scalar::String) {
        return std::str::from_utf8(at.bytes()?).ok().map(Cow::Borrowed);
    }
    let mut json = Vec::new();
    let options = PrintOptions::default();
    print(tables, 32, &mut json, &options, |printer| printer.value(field, &mut at).map(drop))
        .ok()?;
    match json.first() {
        // An enum of proto2 that has no such value.
        None => None,
        Some(b'"') => Lexer::new(&json).text("a string").ok().map(|text| text.into_owned().into()),
        _ => String::from_utf8(json).ok().map(Cow::Owned),
    }
}

/// The details of a `google.rpc.Status` as a JSON array.
pub(crate) fn print_details(
    tables: &Tables,
    status: &[u8],
    out: &mut Vec<u8>,
    options: &PrintOptions,
) -> Result<(), WireError> {
    let options = PrintOptions { keep_unknown_any: true, ..options.clone() };
    print(tables, status.len(), out, &options, |printer| {
        let start = printer.out.position();
        let mut reader = Reader::new(status);
        while !reader.is_empty() {
            let (number, wire_type) = reader.tag().ok_or_else(broken)?;
            let value = reader.raw(number, wire_type).flatten().ok_or_else(broken)?;
            if let (3, Raw::Bytes(any)) = (number, value) {
                printer.out.byte(b',')?;
                printer.any(any)?;
            }
        }
        printer.enclose(start, b'[', b']')
    })
}

/// Prints in one go, or again with care.
fn print<'s>(
    tables: &'s Tables,
    length: usize,
    out: &mut Vec<u8>,
    options: &'s PrintOptions,
    mut body: impl FnMut(&mut Printer<'s, '_>) -> Step,
) -> Result<(), WireError> {
    // JSON is about twice as long as its wire bytes.
    let mut printer = Printer::new(tables, out, length * 2, options);
    let mut printed = body(&mut printer);
    if printer.restart {
        printer.careful();
        printed = body(&mut printer);
    }
    match printed {
        Ok(()) => {
            printer.out.finish();
            Ok(())
        }
        Err(error) => {
            printer.out.abandon();
            Err(error)
        }
    }
}
