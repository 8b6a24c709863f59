//! The profile of JSON that a request asks for in its query: `alt=json;int64=number`,
//! or `int64=number` by itself.
//!
//! 64-bit integers are strings in the JSON mapping of protobuf, since JavaScript
//! rounds larger numbers. Clients that do not may have them as numbers. A method
//! whose request has a field of either name takes the parameter for that.

use chassis::Fault;
use contracts::mesh::v1::ErrorReason;
use transcode::{Method, PrintOptions, Schema};

use super::percent;

/// The parameters of the edge's own.
pub(crate) const PARAMETERS: [&str; 2] = [ALT, INT64];
const ALT: &str = "alt";
const INT64: &str = "int64";

/// Which of the parameters are the method's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    alt: bool,
    int64: bool,
}

// === impl Taken ===

impl Taken {
    pub(crate) fn none() -> Self {
        Self { alt: false, int64: false }
    }

    pub(crate) fn by(schema: &Schema, method: &Method) -> Self {
        let has = |name| schema.field_path(method.input(), name).is_some();
        Self { alt: has(ALT), int64: has(INT64) }
    }
}

/// How an answer to a request with this query is printed.
///
/// # Errors
///
/// A profile that there is not, or two.
pub(crate) fn print_options(query: Option<&str>, taken: Taken) -> Result<PrintOptions, Fault> {
    let mut options = PrintOptions::default();
    options.keep_unknown_any = true;
    let Some(query) = query else { return Ok(options) };
    let mut int64 = None;
    for parameter in query.split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let asked = match name {
            ALT if !taken.alt => alt(&percent::decode(value)),
            INT64 if !taken.int64 => as_number(&percent::decode(value)).map(Some),
            _ => continue,
        };
        let asked = asked.ok_or_else(|| unknown(name))?;
        if int64.is_some() && asked.is_some() && int64 != asked {
            return Err(unknown(name));
        }
        int64 = int64.or(asked);
    }
    options.int64_as_number = int64 == Some(true);
    Ok(options)
}

/// `json`, perhaps with its profile: whether 64-bit integers are numbers, if it says so.
fn alt(value: &str) -> Option<Option<bool>> {
    let mut parts = value.split(';').map(str::trim);
    if parts.next() != Some("json") {
        return None;
    }
    match (parts.next(), parts.next()) {
        (None, _) => Some(None),
        (Some(profile), None) => as_number(profile.strip_prefix("int64=")?).map(Some),
        _ => None,
    }
}

fn as_number(value: &str) -> Option<bool> {
    match value {
        "number" => Some(true),
        "string" => Some(false),
        _ => None,
    }
}

#[cold]
fn unknown(name: &str) -> Fault {
    let form = match name {
        ALT => "must be json, json;int64=number or json;int64=string",
        _ => "must be number or string, once",
    };
    Fault::invalid_argument(ErrorReason::InvalidField)
        .message(format!("the query parameter {name} {form}"))
        .violation(name, form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_asked_for_in_the_query() {
        let free = Taken::none();
        let read = |query| print_options(Some(query), free).map(|options| options.int64_as_number);
        for (query, expected) in [
            ("", false),
            ("a=b", false),
            ("int64=number", true),
            ("a=b&int64=number", true),
            ("int64=string", false),
            ("alt=json", false),
            ("alt=json;int64=number", true),
            ("alt=json%3Bint64%3Dnumber", true),
            ("alt=json&int64=number", true),
            ("alt=json;int64=number&int64=number", true),
        ] {
            assert_eq!(read(query).ok(), Some(expected), "{query}");
        }
        for query in [
            "alt=proto",
            "alt",
            "alt=json;int64=float",
            "alt=json;indent=2",
            "int64=1",
            "int64=number&int64=string",
        ] {
            let fault = read(query).unwrap_err();
            assert!(fault.is(ErrorReason::InvalidField), "{query}");
            assert!(query.contains(&fault.violations()[0].field), "{query}");
        }
        let taken = Taken { alt: true, int64: true };
        assert!(!print_options(Some("alt=1&int64=number"), taken).unwrap().int64_as_number);
        assert!(!print_options(None, free).unwrap().int64_as_number);
    }
}
