//! A whole HTTP request to wire bytes.
use crate::{Body, Match, RequestError, RequestOptions};
pub(crate) fn build(
    _: &Match<'_>,
    _: &str,
    _: Body<'_>,
    _: &RequestOptions<'_>,
    _: &mut Vec<u8>,
) -> Result<(), RequestError> {
    Err(RequestError::UnsupportedBody { message: "being built".into() })
}
