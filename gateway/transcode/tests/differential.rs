//! Random messages, printed and parsed by us and by prost-reflect: both must agree.
//!
//! # Where we differ from prost-reflect, on purpose
//!
//! - Member names twice, map keys twice and two members of one oneof are refused; it takes the last (some of them).
//! - A Timestamp, Duration or FieldMask out of range or without JSON form is refused in both directions.
//! - A wire type other than the field's makes it an unknown field, as the specification has it; it refuses the message.
//! - So does it for maps: prost-reflect takes a varint in the place of an entry for an entry of defaults.
//! - Minus zero is not the default, and is printed; it leaves it out.
//! - Numbers are read as what they are; it reads all but plain integers as doubles first.
//! - An Any of Empty has no "value", as protobuf.dev has it since 2026; it prints one, and wants it.
//! - Any without a type is `{}`; a Value that holds nothing is null.
//! - 1.0 is printed as 1.
//! - Base64 of both alphabets is read; so are integers with exponents in strings.
#![expect(clippy::unwrap_used, reason = "a test panics where it fails")]

#[path = "oracle/judge.rs"]
pub mod judge;
mod oracle;

use judge::is_odd;
use oracle::{decode, parse, pool, print, rich_descriptor, their_parse, their_print, value};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

/// Random choices from a seed.
struct Dice(TestRng);

impl Dice {
    fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
    }

    fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    /// Numbers of every length, and the edges.
    fn number(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(3),
            1 => u64::MAX - self.below(3),
            2 => 1 << self.below(64),
            _ => self.next() >> self.below(64),
        }
    }

    fn text(&mut self) -> String {
        const LETTERS: [&str; 16] = [
            "a", "b", "Z", "0", " ", "_", ".", "\"", "\\", "\n", "\u{1}", "/", "ü", "€", "😀",
            "\u{7f}",
        ];
        let plain = self.one_in(2);
        let range = if plain { 8 } else { 16 };
        let most = if self.one_in(10) { 200 } else { 12 };
        let length = self.below(most);
        (0..length).map(|_| LETTERS[usize::try_from(self.below(range)).unwrap()]).collect()
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.below(20)).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }

    fn double(&mut self) -> f64 {
        match self.below(5) {
            0 => f64::from_bits(self.next()),
            1 => 0.0,
            2 => f64::from(i32::try_from(self.below(100_000)).unwrap()),
            3 => f64::INFINITY,
            _ => format!("{}.{}", self.below(1000), self.below(1000)).parse().unwrap(),
        }
    }
}

fn signed32(value: u64) -> i32 {
    u32::try_from(value & 0xffff_ffff).unwrap().cast_signed()
}

/// A random value of a kind; `None` where the kind is too deep.
fn scalar(dice: &mut Dice, kind: &Kind, depth: u32) -> Option<Value> {
    Some(match kind {
        Kind::Double => Value::F64(dice.double()),
        Kind::Float => {
            let bits = u32::try_from(dice.next() >> 32).unwrap();
            Value::F32(if dice.one_in(3) { 1.5 } else { f32::from_bits(bits) })
        }
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(signed32(dice.number())),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(dice.number().cast_signed()),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(signed32(dice.number()).cast_unsigned()),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(dice.number()),
        Kind::Bool => Value::Bool(dice.one_in(2)),
        Kind::String => Value::String(dice.text()),
        Kind::Bytes => Value::Bytes(dice.bytes().into()),
        Kind::Enum(found) if found.full_name() == "google.protobuf.NullValue" => {
            Value::EnumNumber(0)
        }
        Kind::Enum(_) => {
            Value::EnumNumber([0, 1, 2, 100_000, -1, 77][usize::try_from(dice.below(6)).unwrap()])
        }
        Kind::Message(message) => {
            Value::Message(self::message(dice, message, depth.checked_sub(1)?))
        }
    })
}

fn set(message: &mut DynamicMessage, name: &str, value: Value) {
    message.set_field_by_name(name, value);
}

/// A random message. The well-known types only hold what they may.
fn message(dice: &mut Dice, descriptor: &MessageDescriptor, depth: u32) -> DynamicMessage {
    let mut made = DynamicMessage::new(descriptor.clone());
    match descriptor.full_name() {
        "google.protobuf.Timestamp" => {
            let seconds = i64::try_from(dice.below(315_537_897_600)).unwrap() - 62_135_596_800;
            set(&mut made, "seconds", Value::I64(seconds));
            set(&mut made, "nanos", Value::I32(nanos(dice)));
        }
        "google.protobuf.Duration" => {
            let sign = if dice.one_in(2) { 1 } else { -1 };
            let seconds = i64::try_from(dice.below(315_576_000_000)).unwrap();
            set(
                &mut made,
                "seconds",
                Value::I64(if dice.one_in(3) { 0 } else { seconds * i64::from(sign) }),
            );
            set(&mut made, "nanos", Value::I32(nanos(dice) * sign));
        }
        "google.protobuf.FieldMask" => {
            let paths = ["a", "a.b", "foo_bar", "a_b.c_d"];
            let some = (0..dice.below(4))
                .map(|_| Value::String(paths[usize::try_from(dice.below(4)).unwrap()].into()));
            set(&mut made, "paths", Value::List(some.collect()));
        }
        "google.protobuf.Value" => {
            let field = [
                "null_value",
                "number_value",
                "string_value",
                "bool_value",
                "struct_value",
                "list_value",
            ];
            let field = field[usize::try_from(dice.below(if depth == 0 { 4 } else { 6 })).unwrap()];
            let kind = descriptor.get_field_by_name(field).unwrap().kind();
            let value = match field {
                "number_value" => Value::F64(f64::from(signed32(dice.number()))),
                _ => scalar(dice, &kind, depth).unwrap(),
            };
            set(&mut made, field, value);
        }
        // prost-reflect prints these as null where they are not finite.
        "google.protobuf.DoubleValue" => {
            set(&mut made, "value", Value::F64(f64::from(signed32(dice.number()))))
        }
        "google.protobuf.FloatValue" => set(&mut made, "value", Value::F32(-0.5)),
        "google.protobuf.Any" => {
            let types = ["rich.v1.Inner", "google.protobuf.Duration", "google.protobuf.Int64Value"];
            let name = types[usize::try_from(dice.below(3)).unwrap()];
            let inner =
                message(dice, &pool().get_message_by_name(name).unwrap(), depth.saturating_sub(1));
            set(&mut made, "type_url", Value::String(format!("type.googleapis.com/{name}")));
            set(&mut made, "value", Value::Bytes(inner.encode_to_vec().into()));
        }
        _ => {
            let fill = 1 + dice.below(6);
            for field in descriptor.fields() {
                if dice.one_in(fill)
                    && let Some(value) = field_value(dice, &field, depth)
                {
                    made.set_field(&field, value);
                }
            }
        }
    }
    made
}

fn nanos(dice: &mut Dice) -> i32 {
    let scale = [0, 1, 1000, 1_000_000][usize::try_from(dice.below(4)).unwrap()];
    i32::try_from(dice.below(999)).unwrap() * scale
}

fn field_value(dice: &mut Dice, field: &FieldDescriptor, depth: u32) -> Option<Value> {
    let kind = field.kind();
    let most = if dice.one_in(8) { 20 } else { 4 };
    let count = dice.below(most);
    if field.is_map() {
        let entry = kind.as_message()?.clone();
        let pairs = (0..count).filter_map(|_| {
            let key = match scalar(dice, &entry.map_entry_key_field().kind(), 0)? {
                Value::Bool(value) => MapKey::Bool(value),
                Value::I32(value) => MapKey::I32(value),
                Value::I64(value) => MapKey::I64(value),
                Value::U32(value) => MapKey::U32(value),
                Value::U64(value) => MapKey::U64(value),
                Value::String(value) => MapKey::String(value),
                _ => return None,
            };
            Some((key, scalar(dice, &entry.map_entry_value_field().kind(), depth)?))
        });
        return Some(Value::Map(pairs.collect()));
    }
    if field.is_list() {
        return Some(Value::List((0..count).filter_map(|_| scalar(dice, &kind, depth)).collect()));
    }
    scalar(dice, &kind, depth)
}

/// Whether minus zero may be among these bytes, which prost-reflect takes for the default.
fn has_minus_zero(wire: &[u8]) -> bool {
    let holds = |zero: &[u8]| wire.windows(zero.len()).any(|bytes| bytes == zero);
    holds(&(-0.0_f64).to_le_bytes()) || holds(&(-0.0_f32).to_le_bytes())
}

/// Cuts wire bytes at the boundaries of their top fields and shuffles the pieces.
fn shuffle(dice: &mut Dice, wire: &[u8]) -> Vec<u8> {
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    let mut rest = wire;
    while !rest.is_empty() {
        let before = rest;
        let (tag, wire_type) = prost::encoding::decode_key(&mut rest).unwrap();
        prost::encoding::skip_field(
            wire_type,
            tag,
            &mut rest,
            prost::encoding::DecodeContext::default(),
        )
        .unwrap();
        pieces.push(before[..before.len() - rest.len()].to_vec());
    }
    for at in (1..pieces.len()).rev() {
        pieces.swap(at, usize::try_from(dice.below(u64::try_from(at).unwrap() + 1)).unwrap());
    }
    pieces.concat()
}

/// The first difference of two JSON texts, if any.
fn difference(ours: &str, theirs: &str) -> Option<String> {
    fn within(path: &str, a: &serde_json::Value, b: &serde_json::Value) -> Option<String> {
        use serde_json::Value::{Array, Object};
        match (a, b) {
            _ if a == b => None,
            (Object(a), Object(b)) if a.keys().eq(b.keys()) => a
                .iter()
                .find_map(|(name, value)| within(&format!("{path}.{name}"), value, &b[name])),
            (Array(a), Array(b)) if a.len() == b.len() => a
                .iter()
                .zip(b)
                .enumerate()
                .find_map(|(nth, (a, b))| within(&format!("{path}[{nth}]"), a, b)),
            (Object(a), Object(b)) => Some(format!("{path}: {:?} and {:?}", a.keys(), b.keys())),
            _ => Some(format!("{path}: ours {a} theirs {b}")),
        }
    }
    within("", &value(ours), &value(theirs))
}

/// Runs a test on many seeds, of which a failure prints the one at fault: the same ones every time, unless TRANSCODE_SEED
/// asks for others.
#[expect(clippy::disallowed_methods, reason = "a test has no settings but its environment")]
fn cases(count: u32, test: impl Fn(&mut Dice) -> Result<(), TestCaseError>) {
    let config = Config { cases: count, failure_persistence: None, ..Config::default() };
    let seeds = any::<u64>().no_shrink();
    let of_seeds = std::env::var("TRANSCODE_SEED").map_or(0, |seed| seed.parse().unwrap());
    TestRunner::new_with_rng(config, Dice::new(of_seeds).0)
        .run(&seeds, |seed| test(&mut Dice::new(seed)))
        .unwrap();
}

#[test]
fn random_messages_print_and_parse_as_theirs() {
    cases(1500, |dice| {
        let made = message(dice, &rich_descriptor(), 4);
        let wire = made.encode_to_vec();
        let theirs = their_print(&decode(&wire).unwrap()).unwrap();
        let ours = print(&wire).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(difference(&ours, &theirs), None);
        for json in [&ours, &theirs] {
            let parsed = parse(json.as_bytes())
                .map_err(|error| TestCaseError::fail(format!("{error}: {json}")))?;
            let again = their_print(&decode(&parsed).unwrap()).unwrap();
            prop_assert_eq!(difference(&again, &theirs), None);
        }
        // What was printed and parsed prints the same, byte for byte.
        prop_assert_eq!(print(&parse(ours.as_bytes()).unwrap()).unwrap(), ours);
        Ok(())
    });
}

#[test]
fn fields_in_any_order_and_in_parts_print_as_theirs() {
    cases(700, |dice| {
        let first = message(dice, &rich_descriptor(), 3).encode_to_vec();
        let second = message(dice, &rich_descriptor(), 3).encode_to_vec();
        let wire = shuffle(dice, &[first, second].concat());
        let Ok(theirs) = their_print(&decode(&wire).unwrap()) else { return Ok(()) };
        // A Timestamp or Any put together from two may have no JSON form.
        let Ok(ours) = print(&wire) else { return Ok(()) };
        prop_assert_eq!(difference(&ours, &theirs), None);
        Ok(())
    });
}

#[test]
fn mutated_wire_bytes_never_panic_and_agree_where_both_accept() {
    cases(3000, |dice| {
        let mut wire = message(dice, &rich_descriptor(), 3).encode_to_vec();
        for _ in 0..=dice.below(3) {
            if wire.is_empty() {
                break;
            }
            let at = usize::try_from(dice.below(u64::try_from(wire.len()).unwrap())).unwrap();
            match dice.below(4) {
                0 => wire.truncate(at),
                1 => wire.insert(at, u8::try_from(dice.below(256)).unwrap()),
                2 => drop(wire.remove(at)),
                _ => wire[at] ^= 1 << dice.below(8),
            }
        }
        let (Ok(ours), Ok(decoded)) = (print(&wire), decode(&wire)) else { return Ok(()) };
        let Ok(theirs) = their_print(&decoded) else { return Ok(()) };
        if !is_odd(&rich_descriptor(), &wire) && !has_minus_zero(&wire) {
            prop_assert_eq!(difference(&ours, &theirs), None, "{:02x?}", wire);
        }
        Ok(())
    });
}

#[test]
fn mutated_json_never_panics_and_agrees_where_both_accept() {
    cases(3000, |dice| {
        let wire = message(dice, &rich_descriptor(), 3).encode_to_vec();
        let mut json = print(&wire).unwrap().into_bytes();
        for _ in 0..=dice.below(3) {
            const BYTES: &[u8] = b"{}[]\",:\\0123456789-+.eEtfn ua\x00\xff\xc3";
            let at = usize::try_from(dice.below(u64::try_from(json.len()).unwrap())).unwrap();
            let byte =
                BYTES[usize::try_from(dice.below(u64::try_from(BYTES.len()).unwrap())).unwrap()];
            match dice.below(4) {
                0 => json.truncate(at + 1),
                1 => json.insert(at, byte),
                2 if json.len() > 1 => drop(json.remove(at)),
                _ => json[at] = byte,
            }
        }
        let (Ok(ours), Ok(theirs)) = (parse(&json), their_parse(&json)) else { return Ok(()) };
        let ours = their_print(&decode(&ours).unwrap());
        let theirs = their_print(&theirs);
        if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
            prop_assert_eq!(difference(&ours, &theirs), None);
        }
        Ok(())
    });
}
