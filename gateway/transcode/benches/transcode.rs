//! What transcoding costs, beside prost-reflect's way through a message tree and beside a plain copy.
//!
//! `cargo bench -p transcode`. Each case runs in batches of about 5 ms; the median of the batches counts.
#![expect(clippy::print_stdout, reason = "a bench talks to its terminal")]
#![expect(clippy::unwrap_used, reason = "a bench panics where it fails")]
#![expect(clippy::float_arithmetic, reason = "nanoseconds per byte")]

use std::{
    alloc::System,
    hint::black_box,
    time::{Duration, Instant},
};

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use transcode::{Body, ParseOptions, PrintOptions, RequestOptions, Schema};

/// The default allocator, named so that the numbers say what they stand on.
#[global_allocator]
static ALLOCATOR: System = System;

/// As in the peers' benchmark: some need escapes, some are more than ASCII.
const WORDS: [&str; 20] = [
    "trail",
    "running",
    "shoe",
    "waterproof",
    "membrane",
    "light",
    "grip",
    r#"\"Pro\""#,
    "edition",
    "cushion",
    "rubber",
    "sole",
    "mesh",
    "upper",
    "für",
    "Größe",
    "42",
    "café",
    "series",
    "classic",
];

fn product(n: usize) -> String {
    let word = |k: usize| WORDS[(n * 7 + k * 3) % WORDS.len()];
    let description: Vec<&str> = (0..16).map(|k| word(k + 3)).collect();
    format!(
        r#"{{"id":"p-{n:06}","name":"{} {} {} {n}","description":"{}","sku":"SKU-{n:04}-{:04}-{}","status":"STATUS_ACTIVE","price":{{"currencyCode":"EUR","units":"{}","nanos":990000000}},"tags":["{}","{}","{}","{}"],"imageUrls":["https://img.example.com/catalog/{n:06}/0.webp","https://img.example.com/catalog/{n:06}/1.webp"],"createTime":"2023-11-14T{:02}:13:20.123Z","inStock":true,"stockCount":"{}","rating":{}.5}}"#,
        word(0),
        word(1),
        word(2),
        description.join(" "),
        n * 37,
        word(4).len(),
        19 + n,
        word(5),
        word(6),
        word(7),
        word(8),
        n % 24,
        n * 13 + 1,
        3 + n % 2,
    )
}

fn joined(count: usize, item: impl Fn(usize) -> String) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(",")
}

fn shapes() -> Vec<(&'static str, &'static str, String)> {
    let list = format!(
        r#"{{"products":[{}],"nextPageToken":"eyJvZmZzZXQiOjUwfQ","totalSize":1000}}"#,
        joined(50, product)
    );
    vec![
        ("one product", "catalog.v1.Product", product(7)),
        ("list of 50", "catalog.v1.ListProductsResponse", list),
        (
            "map of 100",
            "catalog.v1.Shapes",
            format!(r#"{{"labels":{{{}}}}}"#, joined(100, |n| format!(r#""key-{n}":"value {n}""#))),
        ),
        (
            "1000 packed ints",
            "catalog.v1.Shapes",
            format!(r#"{{"numbers":[{}]}}"#, joined(1000, |n| (n * 977 % 100_000).to_string())),
        ),
        (
            "500 doubles",
            "catalog.v1.Shapes",
            format!(r#"{{"doubles":[{}]}}"#, joined(500, |n| format!("{n}.{}5", n % 10))),
        ),
        (
            "nested 40",
            "catalog.v1.Shapes",
            format!(r#"{}{{"texts":["x"]}}{}"#, r#"{"nested":"#.repeat(40), "}".repeat(40)),
        ),
        (
            "escapes",
            "catalog.v1.Shapes",
            format!(
                r#"{{"texts":[{}]}}"#,
                joined(50, |n| format!(r#""line {n}\nsays \"hello\"\tand more of it""#))
            ),
        ),
        (
            "wide text",
            "catalog.v1.Shapes",
            format!(
                r#"{{"texts":[{}]}}"#,
                joined(50, |n| format!(r#""größere Läden {n} für Füße""#))
            ),
        ),
        (
            "long text",
            "catalog.v1.Shapes",
            format!(r#"{{"texts":["{}"]}}"#, "all plain ascii ".repeat(1000)),
        ),
        (
            "200 times",
            "catalog.v1.Shapes",
            format!(
                r#"{{"times":[{}]}}"#,
                joined(200, |n| format!(r#""2026-01-{:02}T00:00:{:02}.5Z""#, n % 28 + 1, n % 60)
                    .replace(".5Z", ".500Z"))
            ),
        ),
        ("bytes", "catalog.v1.Shapes", format!(r#"{{"blob":"{}"}}"#, "QUJDREVG".repeat(1000))),
    ]
}

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

fn main() {
    let pool_of_catalog = pool("catalog.proto");
    let schema = Schema::new(&pool_of_catalog).unwrap();
    let (print, parse) = (PrintOptions::default(), ParseOptions::default());
    println!(
        "| shape | wire | JSON | wire->JSON ns | ns/B | of theirs | of memcpy | JSON->wire ns | ns/B | of theirs |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    // Any argument that is no flag picks the shapes that contain it.
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    for (name, message, json) in shapes() {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let descriptor = pool_of_catalog.get_message_by_name(message).unwrap();
        let id = schema.message(message).unwrap();
        let wire = their_parse(&descriptor, json.as_bytes());
        let mut out = Vec::with_capacity(1 << 20);
        schema.json_to_wire(id, json.as_bytes(), &mut out, &parse).unwrap();
        assert_eq!(out.len(), wire.len(), "{name}");
        out.clear();
        schema.wire_to_json(id, &wire, &mut out, &print).unwrap();
        assert_eq!(out.len(), json.len(), "{name}: {}", String::from_utf8_lossy(&out));
        let printed = time(|| {
            out.clear();
            schema.wire_to_json(id, black_box(&wire), &mut out, &print).unwrap();
        });
        let parsed = time(|| {
            out.clear();
            schema.json_to_wire(id, black_box(json.as_bytes()), &mut out, &parse).unwrap();
        });
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
        let bytes = f64::from(u32::try_from(json.len()).unwrap());
        println!(
            "| {name} | {} | {} | {printed:.0} | {:.2} | {:.3} | {:.0} x | {parsed:.0} | {:.2} | {:.3} |",
            wire.len(),
            json.len(),
            printed / bytes,
            printed / their_printed,
            printed / copied,
            parsed / bytes,
            parsed / their_parsed,
        );
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
