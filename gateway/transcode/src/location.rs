//! Where the resource of a response is found: the path of the GET that answers with the same message.

use std::borrow::Cow;

use crate::{
    binding::{Binding, BindingId},
    method::Method,
    path::FieldPath,
    schema::{Schema, Tables},
    wire::index,
};

/// A GET, and the fields of the resource that fill the variables of its path.
pub(crate) struct Location {
    binding: BindingId,
    fields: Vec<FieldPath>,
}

/// Finds the GET of each method's resource: of methods named `Get`, that of the same service or at least named after
/// the message. Its variables must all be fields of the resource, by their last name: `thing.thing_id` is `thing_id`.
pub(crate) fn locate(tables: &Tables, methods: &mut [Method], bindings: &[Binding]) {
    let found: Vec<_> =
        methods.iter().map(|method| best(tables, method, methods, bindings)).collect();
    for (method, location) in methods.iter_mut().zip(found) {
        method.location = location;
    }
}

fn best(
    tables: &Tables,
    method: &Method,
    methods: &[Method],
    bindings: &[Binding],
) -> Option<Location> {
    let resource = &tables.message(method.output.0).full_name;
    let short = resource.rsplit('.').next().unwrap_or_default();
    let mut found: Vec<(bool, bool, &Method)> = methods
        .iter()
        .filter(|get| get.output == method.output && !get.is_server_streaming())
        .filter_map(|get| Some((get.name().strip_prefix("Get")?, get)))
        .map(|(noun, get)| (get.service() != method.service(), noun != short, get))
        .filter(|(elsewhere, otherwise, _)| !(*elsewhere && *otherwise))
        .collect();
    found.sort_by_key(|&(elsewhere, otherwise, _)| (otherwise, elsewhere));
    found.iter().flat_map(|(_, _, get)| &get.bindings).find_map(|&id| {
        let binding = bindings.get(index(id.0))?;
        let plain = *binding.http_method == *"GET"
            && binding.response_body.is_none()
            && binding.template.verb().is_none()
            && !binding.variables.is_empty();
        let field = |variable: &FieldPath| {
            let name = variable.as_str().rsplit('.').next()?;
            let path = FieldPath::resolve(tables, method.output.0, name)?;
            let field = crate::request::field(tables, &path);
            (field.is_singular() && field.kind.is_text()).then_some(path)
        };
        let fields: Option<_> = binding.variables.iter().map(field).collect();
        plain.then_some(Location { binding: id, fields: fields? })
    })
}

impl Schema {
    /// The path at which a GET finds the resource that this response of `method` holds, for a `Location` header:
    /// percent-encoded, and routed back to the same values. `None` if there is no such GET, or the response lacks what
    /// its path takes.
    #[must_use]
    pub fn location(&self, method: &Method, response: &[u8]) -> Option<String> {
        let location = method.location.as_ref()?;
        let binding = self.binding(location.binding)?;
        let values: Option<Vec<Cow<'_, str>>> =
            location.fields.iter().map(|field| self.field_text(field, response)).collect();
        binding.template.fill(&values?)
    }
}
