//! Bodies that every reading of the JSON mapping takes alike.

use serde_json::{Map, Value, json};

use super::random::Random;

const TEXTS: [&str; 12] = [
    "a",
    "shelf",
    "two words",
    "Zürich",
    "日本",
    "🦀",
    "a\"b\\c",
    "tab\there",
    "line\nbreak",
    "<tag>&amp;",
    "1",
    "\u{7f}",
];
const NAMES: [&str; 5] = ["a", "b.c", "two words", "Ä", "true"];
const INT32S: [i32; 6] = [1, -1, 42, 1_000_000, i32::MIN, i32::MAX];
const INT64S: [&str; 5] =
    ["7", "-7", "9007199254740993", "9223372036854775807", "-9223372036854775808"];
const UINT64S: [&str; 3] = ["1", "9007199254740993", "18446744073709551615"];
const DOUBLES: [f64; 6] = [0.5, -1.25, 1e100, 123_456.789, 1e-7, -3.0];
const FLOATS: [f64; 4] = [0.5, -1.25, 1024.0, 0.000_976_562_5];
const BLOBS: [&str; 4] = ["AA==", "aGVsbG8=", "+/+/", "AQID"];
const COLOURS: [&str; 2] = ["COLOUR_RED", "COLOUR_FAR"];
const TIMESTAMPS: [&str; 4] = [
    "2026-11-21T15:03:04Z",
    "1969-12-31T23:59:59.500Z",
    "0001-01-01T00:00:01Z",
    "9999-12-31T23:59:59.123456789Z",
];
const DURATIONS: [&str; 4] = ["3s", "0.500s", "-1.000000001s", "86400s"];
const MASKS: [&str; 3] = ["text", "inner.text,longName", "int64Value"];

/// Any value of `Everything.inner`.
pub(super) fn inner(random: &mut Random, depth: usize) -> Value {
    let mut inner = Map::new();
    inner.insert("text".into(), text(random));
    if random.one_in(2) {
        inner.insert("number".into(), json!(random.pick(&INT64S)));
    }
    if random.one_in(3) {
        inner.insert("texts".into(), list(random, text));
    }
    if depth > 0 && random.one_in(2) {
        inner.insert("inner".into(), self::inner(random, depth - 1));
    }
    Value::Object(inner)
}

/// An `Everything` with some of its fields.
pub(super) fn everything(random: &mut Random) -> Map<String, Value> {
    let mut message = Map::new();
    for _ in 0..random.below(8) {
        let (name, value) = field(random);
        message.insert(name.to_owned(), value);
    }
    message
}

/// One of its fields.
fn field(random: &mut Random) -> (&'static str, Value) {
    match random.below(34) {
        0 => ("text", text(random)),
        1 => ("int32", json!(random.pick(&INT32S))),
        2 => ("int64", json!(random.pick(&INT64S))),
        3 => ("uint32", json!(random.below(1 << 32))),
        4 => ("uint64", json!(random.pick(&UINT64S))),
        5 => ("sint64", json!(random.pick(&INT64S))),
        6 => ("fixed32", json!(random.below(1 << 32))),
        7 => ("double", json!(random.pick(&DOUBLES))),
        8 => ("float", json!(random.pick(&FLOATS))),
        9 => ("truth", json!(true)),
        10 => ("blob", json!(random.pick(&BLOBS))),
        11 => ("colour", json!(random.pick(&COLOURS))),
        12 => ("inner", inner(random, 3)),
        13 => ("maybe", json!(random.below(2))),
        14 => ("longName", text(random)),
        15 => ("texts", list(random, text)),
        16 => ("int32s", list(random, |random| json!(random.pick(&INT32S)))),
        17 => ("int64s", list(random, |random| json!(random.pick(&INT64S)))),
        18 => ("doubles", list(random, |random| json!(random.pick(&DOUBLES)))),
        19 => ("colours", list(random, |random| json!(random.pick(&COLOURS)))),
        20 => ("inners", list(random, |random| inner(random, 1))),
        21 => ("blobs", list(random, |random| json!(random.pick(&BLOBS)))),
        22 => ("labels", json!({ *random.pick(&NAMES): text(random) })),
        23 => ("byNumber", json!({ (random.below(100) + 1).to_string(): inner(random, 1) })),
        24 => ("byTruth", json!({ "true": random.pick(&COLOURS) })),
        25 => match random.below(3) {
            0 => ("choiceText", text(random)),
            1 => ("choiceNumber", json!(random.pick(&INT32S))),
            _ => ("choiceInner", inner(random, 1)),
        },
        26 => ("timestamp", json!(random.pick(&TIMESTAMPS))),
        27 => ("duration", json!(random.pick(&DURATIONS))),
        28 => ("mask", json!(random.pick(&MASKS))),
        29 => ("structure", json!({ *random.pick(&NAMES): any(random, 2) })),
        30 => ("value", any(random, 2)),
        31 => ("list", list(random, |random| any(random, 1))),
        32 => ("int64Value", json!(random.pick(&INT64S))),
        _ => match random.below(4) {
            0 => ("doubleValue", json!(random.pick(&DOUBLES))),
            1 => ("boolValue", json!(random.one_in(2))),
            2 => ("stringValue", text(random)),
            _ => ("bytesValue", json!(random.pick(&BLOBS))),
        },
    }
}

/// A text that means only itself.
pub(super) fn text(random: &mut Random) -> Value {
    json!(random.pick(&TEXTS))
}

fn list(random: &mut Random, mut item: impl FnMut(&mut Random) -> Value) -> Value {
    (0..=random.below(3)).map(|_| item(random)).collect()
}

/// What `google.protobuf.Value` may hold.
fn any(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth == 0 { 3 } else { 5 }) {
        0 => text(random),
        1 => json!(random.pick(&DOUBLES)),
        2 => json!(random.one_in(2)),
        3 => list(random, |random| any(random, depth - 1)),
        _ => json!({ *random.pick(&NAMES): any(random, depth - 1) }),
    }
}
