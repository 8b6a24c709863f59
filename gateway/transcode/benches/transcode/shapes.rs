//! The messages that are measured, each as the JSON that the mapping prints.

use std::fmt::Write as _;

/// A message of one shape.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) message: &'static str,
    pub(crate) json: String,
}

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

/// A field that is a list of so many items.
fn list(field: &str, count: usize, item: impl Fn(usize) -> String) -> String {
    format!(r#"{{"{field}":[{}]}}"#, joined(count, item))
}

/// A field that is a map of so many entries.
fn map(field: &str, count: usize, entry: impl Fn(usize) -> String) -> String {
    format!(r#"{{"{field}":{{{}}}}}"#, joined(count, entry))
}

/// A shape of the catalogue's messages.
fn catalog(name: &'static str, message: &'static str, json: String) -> Shape {
    Shape { name, message, json }
}

/// A shape of the message that has every sort of field.
fn rich(name: &'static str, json: String) -> Shape {
    Shape { name, message: "rich.v1.Rich", json }
}

pub(crate) fn shapes() -> Vec<Shape> {
    let products = format!(
        r#"{{"products":[{}],"nextPageToken":"eyJvZmZzZXQiOjUwfQ","totalSize":1000}}"#,
        joined(50, product)
    );
    let mut tree = String::from(r#"{"number":7,"items":["a","b"]}"#);
    for level in 0..40 {
        tree = format!(r#"{{"number":{},"textValue":"level","inner":{tree}}}"#, level + 1);
    }
    let mut structure = String::new();
    for n in 0..25 {
        let _ = write!(
            structure,
            r#"{}"key{n}":{{"name":"value {n}","size":{n}.5,"list":[{n},true,null,"x"]}}"#,
            if n == 0 { "" } else { "," }
        );
    }
    vec![
        catalog("one product", "catalog.v1.Product", product(7)),
        catalog("list of 50", "catalog.v1.ListProductsResponse", products),
        rich("1000 ints < 100", list("int32s", 1000, |n| (n * 37 % 99 + 1).to_string())),
        rich("1000 ints", list("int32s", 1000, |n| (n * 977 % 100_000 + 1).to_string())),
        rich("1000 64-bit ints", list("int64s", 1000, |n| format!("\"{}\"", n * n * n * 7919 + 1))),
        rich("1000 unpacked ints", list("unpacked", 1000, |n| (n * 37 % 999 + 1).to_string())),
        rich("1000 bools", list("bools", 1000, |n| (n % 3 == 0).to_string())),
        rich("1000 enums", list("colours", 1000, |n| format!("\"COLOUR_{}\"", ["RED", "GREEN"][n % 2]))),
        rich("500 short doubles", list("doubles", 500, |n| format!("{n}.{}5", n % 10))),
        rich("500 long doubles", list("doubles", 500, long_double)),
        rich("500 floats", list("floats", 500, |n| format!("{n}.{}5", n % 10))),
        rich("200 short strings", list("strings", 200, |n| format!("\"item {n}\""))),
        rich("escapes", list("strings", 50, |n| format!(r#""line {n}\nsays \"hello\"\tand more of it""#))),
        rich("wide text", list("strings", 50, |n| format!(r#""größere Läden {n} für Füße""#))),
        rich("long text", list("strings", 1, |_| format!("\"{}\"", "all plain ascii ".repeat(1000)))),
        rich("bytes", format!(r#"{{"aBytes":"{}"}}"#, "QUJDREVG".repeat(1000))),
        rich("200 short bytes", list("bytess", 200, |n| format!("\"{}\"", ["QUI=", "QUJDREVG", "AA=="][n % 3]))),
        rich("map of 100 strings", map("labels", 100, |n| format!(r#""key-{n}":"value {n}""#))),
        rich("map of 100 ints", map("byInt32", 100, |n| format!(r#""{}":"value {n}""#, n + 1))),
        rich("map of 100 messages", map("byInt64", 100, |n| format!(r#""{}":{{"number":{}}}"#, n + 1, n + 1))),
        rich("100 messages", list("inners", 100, |n| format!(r#"{{"number":{},"textValue":"x"}}"#, n + 1))),
        catalog("nested 40", "rich.v1.Inner", tree),
        rich("200 times", list("timestamps", 200, |n| format!("\"2026-01-{:02}T00:00:{:02}.500Z\"", n % 28 + 1, n % 60))),
        rich("struct", format!(r#"{{"structure":{{{structure}}}}}"#)),
        rich("200 anys", list("anys", 200, |n| {
            format!(r#"{{"@type":"type.googleapis.com/rich.v1.Inner","number":{}}}"#, n + 1)
        })),
        rich("every well-known type", String::from(
            r#"{"timestamp":"2026-11-21T07:00:00.123456Z","duration":"-1.500s","mask":"title,price.currencyCode","structure":{"a":[1,null,true,{"b":"c"}]},"value":"text","list":[1,2,3],"any":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"3s"},"empty":{},"nullValue":null,"doubleValue":1.5,"floatValue":-0.25,"int64Value":"-5","uint64Value":"18446744073709551615","int32Value":-7,"uint32Value":7,"boolValue":true,"stringValue":"text","bytesValue":"AAECAw=="}"#,
        ).replace(r#""nullValue":null,"#, "")),
    ]
}

/// A fraction of seventeen digits, most of which count.
fn long_double(n: usize) -> String {
    let numerator = u32::try_from(n * 7919 + 1).unwrap_or_default();
    format!("{}", f64::from(numerator) / 9973.0)
}
