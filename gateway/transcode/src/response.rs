//! A whole response to JSON.

use crate::{binding::Binding, error::WireError, json, options::PrintOptions, schema::Schema};

/// Appends the JSON of a response message, or of the field that the rule's `response_body` names.
pub(crate) fn print(
    schema: &Schema,
    binding: &Binding,
    wire: &[u8],
    options: &PrintOptions,
    out: &mut Vec<u8>,
) -> Result<(), WireError> {
    if let Some(step) = binding.response_body.as_ref().and_then(|path| path.steps.first()) {
        return json::print_field(&schema.tables, step.message, step.slot, wire, out, options);
    }
    let method = &schema.methods()[crate::wire::index(binding.method.0)];
    json::print_message(&schema.tables, method.output().0, wire, out, options)
}
