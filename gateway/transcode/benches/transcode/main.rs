//! What transcoding costs, beside prost-reflect's way through a message tree, beside the typed way of pbjson (prost and
//! serde, generated for the catalogue alone) and beside a plain copy.
//!
//! `cargo bench -p transcode [-- [--ours] PART_OF_A_NAME...]`. Each case runs in batches of about 5 ms; the median of the
//! batches counts. With `--ours` nothing else is measured, for profiles.
#![expect(clippy::print_stdout, reason = "a bench talks to its terminal")]
#![expect(clippy::unwrap_used, reason = "a bench panics where it fails")]
#![expect(clippy::float_arithmetic, reason = "nanoseconds per byte")]

mod shapes;
mod typed;

use std::{
    alloc::System,
    hint::black_box,
    time::{Duration, Instant},
};

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use shapes::{Shape, shapes};
use transcode::{Body, ParseOptions, PrintOptions, RequestOptions, Schema};

/// The default allocator, named so that the numbers say what they stand on.
#[global_allocator]
static ALLOCATOR: System = System;

/// Nanoseconds of one call.
fn time(mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut warm = 0_u32;
    while start.elapsed() < Duration::from_millis(60) {
        call();
        warm += 1;
    }
    let batch = (warm / 12).max(1);
    let mut batches: Vec<f64> = (0..41)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..batch {
                call();
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(batch)
        })
        .collect();
    batches.sort_by(f64::total_cmp);
    batches[20]
}

fn theirs(descriptor: &MessageDescriptor, wire: &[u8], out: &mut Vec<u8>) {
    let message = DynamicMessage::decode(descriptor.clone(), wire).unwrap();
    let mut serializer = serde_json::Serializer::new(out);
    message.serialize_with_options(&mut serializer, &SerializeOptions::new()).unwrap();
}

fn their_parse(descriptor: &MessageDescriptor, json: &[u8]) -> Vec<u8> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    DynamicMessage::deserialize(descriptor.clone(), &mut deserializer).unwrap().encode_to_vec()
}

fn pool(file: &str) -> DescriptorPool {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut compiler =
        protox::Compiler::new([format!("{root}/tests/proto"), format!("{root}/../../proto")])
            .unwrap();
    compiler.include_imports(true).open_file(file).unwrap();
    DescriptorPool::decode(&*compiler.encode_file_descriptor_set()).unwrap()
}

/// The typed way, if there is one for this message: nanoseconds of printing and of parsing.
fn typed(message: &str, wire: &[u8], json: &[u8]) -> Option<(f64, f64)> {
    match message {
        "catalog.v1.Product" => Some(typed_as::<typed::Product>(wire, json)),
        "catalog.v1.ListProductsResponse" => Some(typed_as::<typed::List>(wire, json)),
        _ => None,
    }
}

fn typed_as<T>(wire: &[u8], json: &[u8]) -> (f64, f64)
where
    T: prost::Message + Default + serde::Serialize + for<'de> serde::Deserialize<'de>,
{
    let mut out = Vec::with_capacity(1 << 20);
    assert!(typed::print::<T>(wire, &mut out) && out.len() == json.len());
    out.clear();
    assert!(typed::parse::<T>(json, &mut out) && out.len() == wire.len());
    let printed = time(|| {
        out.clear();
        typed::print::<T>(black_box(wire), &mut out);
    });
    let parsed = time(|| {
        out.clear();
        typed::parse::<T>(black_box(json), &mut out);
    });
    (printed, parsed)
}

fn main() {
    let (print, parse) = (PrintOptions::default(), ParseOptions::default());
    let contracts = [pool("catalog.proto"), pool("rich.proto")];
    let schemas = contracts.each_ref().map(|pool| Schema::new(pool).unwrap());
    println!(
        "| shape | wire B | JSON B | wire->JSON ns | ns/B | MB/s | of prost-reflect | of typed | of memcpy | JSON->wire ns | ns/B | MB/s | of prost-reflect | of typed |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    // Any argument that is no flag picks the shapes that contain it.
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    for Shape { name, message, json } in shapes() {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let schema = schemas.iter().find(|schema| schema.message(message).is_some()).unwrap();
        let id = schema.message(message).unwrap();
        let descriptor = schema.message_descriptor(id).unwrap();
        let wire = their_parse(&descriptor, json.as_bytes());
        let mut out = Vec::with_capacity(1 << 20);
        schema.json_to_wire(id, json.as_bytes(), &mut out, &parse).unwrap();
        assert_eq!(out.len(), wire.len(), "{name}");
        let wire = out.clone();
        out.clear();
        schema.wire_to_json(id, &wire, &mut out, &print).unwrap();
        assert_eq!(String::from_utf8_lossy(&out), json, "{name}");
        let printed = time(|| {
            out.clear();
            schema.wire_to_json(id, black_box(&wire), &mut out, &print).unwrap();
        });
        let parsed = time(|| {
            out.clear();
            schema.json_to_wire(id, black_box(json.as_bytes()), &mut out, &parse).unwrap();
        });
        if std::env::args().any(|argument| argument == "--ours") {
            println!("{name}: wire->JSON {printed:.0} ns, JSON->wire {parsed:.0} ns");
            continue;
        }
        let their_printed = time(|| {
            out.clear();
            theirs(&descriptor, black_box(&wire), &mut out);
        });
        let their_parsed = time(|| {
            black_box(their_parse(&descriptor, black_box(json.as_bytes())));
        });
        let copied = time(|| {
            out.clear();
            out.extend_from_slice(black_box(json.as_bytes()));
            black_box(&mut out);
        });
        let typed = typed(message, &wire, json.as_bytes());
        let of_typed = |ours: f64, theirs: Option<f64>| {
            theirs.map_or_else(|| "-".into(), |theirs| format!("{:.3}", ours / theirs))
        };
        let bytes = f64::from(u32::try_from(json.len()).unwrap());
        println!(
            "| {name} | {} | {} | {printed:.0} | {:.2} | {:.0} | {:.3} | {} | {:.0} x | {parsed:.0} | {:.2} | {:.0} | {:.3} | {} |",
            wire.len(),
            json.len(),
            printed / bytes,
            bytes / printed * 1e3,
            printed / their_printed,
            of_typed(printed, typed.map(|(printed, _)| printed)),
            printed / copied,
            parsed / bytes,
            bytes / parsed * 1e3,
            parsed / their_parsed,
            of_typed(parsed, typed.map(|(_, parsed)| parsed)),
        );
    }

    if !wanted.is_empty() {
        return;
    }
    let pool_of_shop = pool("shop.proto");
    let shop = Schema::new(&pool_of_shop).unwrap();
    let options = RequestOptions::default();
    println!("\n| request | ns |\n|---|---|");
    let routed = time(|| {
        black_box(shop.route("GET", black_box("/v1/things/p-000007")).unwrap());
    });
    println!("| route GET /v1/things/p-000007 | {routed:.0} |");
    let mut out = Vec::with_capacity(1 << 16);
    let got = time(|| {
        out.clear();
        let found = shop.route("GET", black_box("/v1/things/p-000007")).unwrap();
        found.request(None, Body::None, &options, &mut out).unwrap();
    });
    println!("| route and build it | {got:.0} |");
    let listed = time(|| {
        out.clear();
        let found = shop.route("GET", black_box("/v1/things")).unwrap();
        found
            .request(Some(black_box("page_size=50&page_token=abc")), Body::None, &options, &mut out)
            .unwrap();
    });
    println!("| route and build GET /v1/things?page_size=50&page_token=abc | {listed:.0} |");
}
