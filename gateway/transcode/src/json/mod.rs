//! The JSON mapping of protobuf, in both directions.

use crate::{
    error::{JsonError, WireError},
    options::{ParseOptions, PrintOptions},
    schema::Tables,
};

pub(crate) fn parse_message(
    _: &Tables,
    _: u32,
    _: &[u8],
    _: &mut Vec<u8>,
    _: &ParseOptions,
) -> Result<(), JsonError> {
    Err(JsonError::new(crate::JsonErrorKind::Size, 0, "being built".into()))
}
pub(crate) fn print_message(
    _: &Tables,
    _: u32,
    _: &[u8],
    _: &mut Vec<u8>,
    _: &PrintOptions,
) -> Result<(), WireError> {
    Err(WireError::new("being built".into()))
}
pub(crate) fn print_details(
    _: &Tables,
    _: &[u8],
    _: &mut Vec<u8>,
    _: &PrintOptions,
) -> Result<(), WireError> {
    Err(WireError::new("being built".into()))
}
