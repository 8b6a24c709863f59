//! The testee of protobuf's conformance runner: what it is sent goes through the transcoder.
//!
//! `tests/conformance.sh` runs it: `conformance_test_runner --enforce_recommended ./testee`, where `testee` is a script
//! that calls this with the folder of the runner's own protos. Binary to JSON and JSON to binary are the transcoder's own; binary to binary goes through
//! JSON and back, and so does JSON to JSON through binary. Editions are skipped, since protox does not read them, and so
//! are the text format and JSPB.
use std::{
    error::Error,
    io::{self, Read as _, Write as _},
};

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, Value};
use transcode::{MessageId, ParseOptions, PrintOptions, Schema, WireErrorKind};

type Failure = (&'static str, String);

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("the folder of the runner's protos is missing")?;
    let mut compiler = protox::Compiler::new([folder])?;
    compiler.include_imports(true).open_files([
        "conformance/conformance.proto",
        "google/protobuf/test_messages_proto3.proto",
        "google/protobuf/test_messages_proto2.proto",
    ])?;
    // Through bytes, as descriptors come in earnest: options are only resolved there.
    let pool = DescriptorPool::decode(&*compiler.encode_file_descriptor_set())?;
    let schema = Schema::lenient(&pool).0;
    let request_type =
        pool.get_message_by_name("conformance.ConformanceRequest").ok_or("no request type")?;
    let response_type =
        pool.get_message_by_name("conformance.ConformanceResponse").ok_or("no response type")?;
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut length = [0; 4];
    while input.read_exact(&mut length).is_ok() {
        let mut bytes = vec![0; usize::try_from(u32::from_le_bytes(length))?];
        input.read_exact(&mut bytes)?;
        let request = DynamicMessage::decode(request_type.clone(), &*bytes)?;
        let response = answer(&schema, &request, &response_type).encode_to_vec();
        output.write_all(&u32::try_from(response.len())?.to_le_bytes())?;
        output.write_all(&response)?;
        output.flush()?;
    }
    Ok(())
}

fn answer(
    schema: &Schema,
    request: &DynamicMessage,
    response_type: &MessageDescriptor,
) -> DynamicMessage {
    let mut response = DynamicMessage::new(response_type.clone());
    match outcome(schema, request) {
        Ok((field, value)) => response.set_field_by_name(field, value),
        Err((field, message)) => response.set_field_by_name(field, Value::String(message)),
    }
    response
}

fn outcome(schema: &Schema, request: &DynamicMessage) -> Result<(&'static str, Value), Failure> {
    let text = |name: &str| {
        request.get_field_by_name(name).and_then(|value| value.as_str().map(str::to_owned))
    };
    let number =
        |name: &str| request.get_field_by_name(name).and_then(|value| value.as_enum_number());
    let name = text("message_type").unwrap_or_default();
    if name == "conformance.FailureSet" {
        return Ok(("protobuf_payload", Value::Bytes(Vec::new().into())));
    }
    let message = schema.message(&name).ok_or(("skipped", format!("{name} is not known")))?;
    let mut parse = ParseOptions::default();
    parse.ignore_unknown_fields = number("test_category") == Some(3);
    let wire = if request.has_field_by_name("json_payload") {
        let mut wire = Vec::new();
        let json = text("json_payload").unwrap_or_default();
        schema
            .json_to_wire(message, json.as_bytes(), &mut wire, &parse)
            .map_err(|e| ("parse_error", e.to_string()))?;
        wire
    } else if request.has_field_by_name("protobuf_payload") {
        let payload = request.get_field_by_name("protobuf_payload");
        payload.and_then(|value| value.as_bytes().map(|bytes| bytes.to_vec())).unwrap_or_default()
    } else {
        return Err(("skipped", "neither binary nor JSON".into()));
    };
    let out = number("requested_output_format");
    match out {
        Some(1) if request.has_field_by_name("json_payload") => {
            Ok(("protobuf_payload", Value::Bytes(wire.into())))
        }
        Some(1) => {
            let json = print(schema, message, &wire)?;
            let mut wire = Vec::new();
            schema
                .json_to_wire(message, json.as_bytes(), &mut wire, &parse)
                .map_err(|e| ("runtime_error", e.to_string()))?;
            Ok(("protobuf_payload", Value::Bytes(wire.into())))
        }
        Some(2) => Ok(("json_payload", Value::String(print(schema, message, &wire)?))),
        _ => Err(("skipped", "neither binary nor JSON".into())),
    }
}

fn print(schema: &Schema, message: MessageId, wire: &[u8]) -> Result<String, Failure> {
    let mut out = Vec::new();
    schema.wire_to_json(message, wire, &mut out, &PrintOptions::default()).map_err(|error| {
        (
            if error.kind() == WireErrorKind::Broken { "parse_error" } else { "serialize_error" },
            error.to_string(),
        )
    })?;
    String::from_utf8(out).map_err(|error| ("runtime_error", error.to_string()))
}
