//! What the backend and the floors share: the messages, the goods and a codec
//! that leaves bytes as they are.

use bytes::{Buf, BufMut, Bytes};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// The messages of `catalog.proto`.
pub mod v1 {
    tonic::include_proto!("catalog.v1");
}

/// The descriptors of `catalog.proto` and all it imports.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/catalog.fds"));

const WORDS: [&str; 20] = [
    "trail",
    "running",
    "shoe",
    "waterproof",
    "membrane",
    "light",
    "grip",
    "\"Pro\"",
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

/// Product `n`, always the same; about 530 bytes of JSON.
pub fn product(n: usize) -> v1::Product {
    let word = |k: usize| WORDS[(n * 7 + k * 3) % WORDS.len()];
    v1::Product {
        id: format!("p-{n:06}"),
        name: format!("{} {} {} {n}", word(0), word(1), word(2)),
        description: (3..19).map(word).collect::<Vec<_>>().join(" "),
        sku: format!("SKU-{:04}-{:04}-{}", n % 10_000, (n * 37) % 10_000, word(4).len()),
        status: v1::Status::Active as i32,
        price: Some(v1::Money {
            currency_code: "EUR".to_owned(),
            units: 19 + n as i64,
            nanos: 990_000_000,
        }),
        tags: (5..9).map(|k| word(k).to_owned()).collect(),
        image_urls: (0..2)
            .map(|k| format!("https://img.example.com/catalog/{n:06}/{k}.webp"))
            .collect(),
        create_time: Some(prost_types::Timestamp {
            seconds: 1_700_000_000 + n as i64 * 61,
            nanos: 123_000_000,
        }),
        in_stock: !n.is_multiple_of(3),
        stock_count: (n as i64 * 13) % 1_000 + 1,
        rating: 3.0 + (n % 20) as f64 / 10.0,
    }
}

/// The first `n` products.
pub fn list(n: usize) -> v1::ListProductsResponse {
    v1::ListProductsResponse {
        products: (0..n).map(product).collect(),
        next_page_token: "eyJvZmZzZXQiOjUwfQ".to_owned(),
        total_size: 1_000,
    }
}

/// Messages as the bytes they are on the wire.
#[derive(Debug, Default, Clone)]
pub struct Raw;

// === impl Raw ===

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.reserve(item.len());
        out.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = source.remaining();
        Ok(Some(source.copy_to_bytes(length)))
    }
}
