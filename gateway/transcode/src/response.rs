//! A whole response to JSON.
use crate::{Binding, PrintOptions, Schema, WireError};
pub(crate) fn print(
    s: &Schema,
    b: &Binding,
    wire: &[u8],
    options: &PrintOptions,
    out: &mut Vec<u8>,
) -> Result<(), WireError> {
    let method = &s.methods()[crate::wire::index(b.method.0)];
    s.wire_to_json(method.output(), wire, out, options)
}
