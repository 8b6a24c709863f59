//! The typed way, as pbjson and its kin generate it: decode into a struct, and let serde print that, and back.

use prost::Message;
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Money {
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    currency_code: String,
    #[prost(int64, tag = "2")]
    #[serde(with = "text", skip_serializing_if = "is_zero")]
    units: i64,
    #[prost(int32, tag = "3")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Product {
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[prost(string, tag = "4")]
    #[serde(skip_serializing_if = "String::is_empty")]
    sku: String,
    #[prost(enumeration = "Status", tag = "5")]
    #[serde(with = "status", skip_serializing_if = "is_default")]
    status: i32,
    #[prost(message, tag = "6")]
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<Money>,
    #[prost(string, repeated, tag = "7")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[prost(string, repeated, tag = "8")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    image_urls: Vec<String>,
    #[prost(message, tag = "9")]
    #[serde(with = "time", skip_serializing_if = "Option::is_none")]
    create_time: Option<prost_types::Timestamp>,
    #[prost(bool, tag = "10")]
    #[serde(skip_serializing_if = "is_default")]
    in_stock: bool,
    #[prost(int64, tag = "11")]
    #[serde(with = "text", skip_serializing_if = "is_zero")]
    stock_count: i64,
    #[prost(double, tag = "12")]
    #[serde(skip_serializing_if = "is_default")]
    rating: f64,
}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct List {
    #[prost(message, repeated, tag = "1")]
    products: Vec<Product>,
    #[prost(string, tag = "2")]
    next_page_token: String,
    #[prost(int32, tag = "3")]
    total_size: i32,
}

#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    prost::Enumeration,
    Serialize,
    Deserialize,
)]
enum Status {
    #[serde(rename = "STATUS_UNSPECIFIED")]
    Unspecified = 0,
    #[serde(rename = "STATUS_ACTIVE")]
    Active = 1,
    #[serde(rename = "STATUS_ARCHIVED")]
    Archived = 2,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// 64-bit integers are strings.
mod text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(value: &i64, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
        <&str>::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

mod status {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, ser::Error as _};

    use super::Status;

    pub(super) fn serialize<S: Serializer>(value: &i32, out: S) -> Result<S::Ok, S::Error> {
        Status::try_from(*value).map_err(S::Error::custom)?.serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i32, D::Error> {
        Status::deserialize(from).map(i32::from)
    }
}

mod time {
    use prost_types::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Timestamp>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(time) => out.collect_str(time),
            None => out.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        <&str>::deserialize(from)?.parse().map(Some).map_err(D::Error::custom)
    }
}

/// Wire bytes to JSON.
pub(crate) fn print<T: Message + Default + Serialize>(wire: &[u8], out: &mut Vec<u8>) -> bool {
    T::decode(wire).is_ok_and(|message| serde_json::to_writer(out, &message).is_ok())
}

/// JSON to wire bytes.
pub(crate) fn parse<T: Message + for<'de> Deserialize<'de>>(
    json: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    serde_json::from_slice::<T>(json).is_ok_and(|message| message.encode(out).is_ok())
}
