//! Nothing is allocated for a field: the buffers that a message needs are those of its one call.
#![expect(clippy::unwrap_used, reason = "a test panics where it fails")]

use std::fmt::Write as _;

use prost_reflect::{
    DescriptorPool,
    prost_types::{
        DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
        field_descriptor_proto::{Label, Type},
    },
};
use transcode::{MessageId, ParseOptions, PrintOptions, Schema};

/// `rich.proto`, compiled before anything is counted.
fn schema() -> Schema {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proto");
    let mut compiler = protox::Compiler::new([folder]).unwrap();
    compiler.include_imports(true).open_file("rich.proto").unwrap();
    let pool = DescriptorPool::decode(&*compiler.encode_file_descriptor_set()).unwrap();
    Schema::new(&pool).unwrap()
}

/// How often each direction allocates, into a buffer that has room.
fn allocations(schema: &Schema, json: &str) -> [u64; 2] {
    allocations_of(schema, schema.message("rich.v1.Rich").unwrap(), json)
}

fn allocations_of(schema: &Schema, message: MessageId, json: &str) -> [u64; 2] {
    let (parse, print) = (ParseOptions::default(), PrintOptions::default());
    let mut wire = Vec::with_capacity(json.len() * 2 + 1000);
    let mut printed = Vec::with_capacity(json.len() * 4 + 1000);
    let parsing = allocation_counter::measure(|| {
        schema.json_to_wire(message, json.as_bytes(), &mut wire, &parse).unwrap();
    });
    let printing = allocation_counter::measure(|| {
        schema.wire_to_json(message, &wire, &mut printed, &print).unwrap();
    });
    assert_eq!(String::from_utf8(printed).unwrap(), json);
    [parsing.count_total, printing.count_total]
}

fn list(field: &str, count: usize, item: impl Fn(usize) -> String) -> String {
    let items: Vec<String> = (0..count).map(item).collect();
    format!(r#"{{"{field}":[{}]}}"#, items.join(","))
}

/// A list of `Rich`, and the JSON of its elements.
type Shape = (&'static str, fn(usize) -> String);

#[test]
fn a_thousand_values_take_no_more_allocations_than_one() {
    // Rich has more than 64 fields: one buffer says which of them were met.
    let shapes: [Shape; 13] = [
        ("strings", |n| format!("\"text {n}\"")),
        ("strings", |n| format!("\"text\\n\\\"{n}\\\"ü\"")),
        ("int32s", |n| n.to_string()),
        ("unpacked", |n| n.to_string()),
        ("int64s", |n| format!("\"{n}\"")),
        ("doubles", |n| format!("{n}.5")),
        ("bytess", |_| "\"QUJD\"".into()),
        ("colours", |_| "\"COLOUR_FAR\"".into()),
        ("inners", |n| format!(r#"{{"number":{},"items":["x"]}}"#, n + 1)),
        ("timestamps", |_| "\"2026-11-21T07:00:00.500Z\"".into()),
        ("int64Values", |n| format!("\"{n}\"")),
        ("values", |n| format!(r#"[{n},"text",true,null]"#)),
        ("anys", |n| {
            format!(r#"{{"@type":"type.googleapis.com/rich.v1.Inner","number":{}}}"#, n + 1)
        }),
    ];
    let schema = schema();
    for (field, item) in shapes {
        let [one, many] = [1, 1000].map(|count| allocations(&schema, &list(field, count, item)));
        assert_eq!((one, many), ([1, 1], [1, 1]), "{field}");
    }
}

#[test]
fn the_keys_of_a_map_share_buffers_that_grow_now_and_then() {
    let map = |count: usize| {
        let mut json = String::from(r#"{"labels":{"a":"b""#);
        for n in 1..count {
            let _ = write!(json, r#","key {n}":"value""#);
        }
        json + "}}"
    };
    let schema = schema();
    let [few, many] = [map(8), map(1000)].map(|json| allocations(&schema, &json));
    // From eight keys to a thousand the buffer doubles seven times; one more finds the keys that came twice.
    assert!(
        few.into_iter().zip(many).all(|(few, many)| few <= 3 && many <= few + 8),
        "{few:?} {many:?}"
    );
}

#[test]
fn a_message_of_up_to_64_fields_takes_none_however_deep() {
    let mut json = String::from(r#"{"number":1}"#);
    for level in 0..90 {
        json = format!(r#"{{"textValue":"{level}","inner":{json},"items":["a","b"]}}"#);
    }
    let schema = schema();
    let inner = schema.message("rich.v1.Inner").unwrap();
    assert_eq!(allocations_of(&schema, inner, &json), [0, 0]);
}

/// A message of a thousand fields, all of one type.
fn wide() -> Schema {
    let fields = (1..=1000).map(|number| FieldDescriptorProto {
        name: Some(format!("field_{number}")),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(Type::Int32.into()),
        ..FieldDescriptorProto::default()
    });
    let wide = DescriptorProto {
        name: Some("Wide".into()),
        field: fields.collect(),
        ..DescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("wide.proto".into()),
        syntax: Some("proto3".into()),
        message_type: vec![wide],
        ..FileDescriptorProto::default()
    };
    Schema::new(
        &DescriptorPool::from_file_descriptor_set(FileDescriptorSet { file: vec![file] }).unwrap(),
    )
    .unwrap()
}

#[test]
fn a_thousand_fields_take_no_more_allocations_than_one() {
    let schema = wide();
    let id = schema.message("Wide").unwrap();
    let [one, many] = [1, 1000].map(|count| {
        let members: Vec<String> = (1..=count).map(|n| format!("\"field{n}\":{n}")).collect();
        allocations_of(&schema, id, &format!("{{{}}}", members.join(",")))
    });
    assert_eq!((one, many), ([1, 1], [1, 1]));
}
