//! The profile of JSON that a request asks for in its query: `alt=json;int64=number`,
//! or `int64=number` by itself.
//!
//! 64-bit integers are strings in the JSON mapping of protobuf, since JavaScript
//! rounds larger numbers. Clients that do not may have them as numbers. A method
//! whose request has a field of either name takes the parameter for that.
//!
//! `$alt=json;enum-encoding=int` has enums by number. Google's generated clients ask
//! for that with every request (Google Cloud, "System parameters"), under this name:
//! no field can have it.

use chassis::Fault;
use contracts::mesh::v1::ErrorReason;
use transcode::{Method, PrintOptions, Schema};

use super::percent;

/// The parameters of the edge's own.
pub(crate) const PARAMETERS: [&str; 3] = [ALT, SYSTEM_ALT, INT64];
const ALT: &str = "alt";
const SYSTEM_ALT: &str = "$alt";
const INT64: &str = "int64";
const ENUM_ENCODING: &str = "enum-encoding";

/// What a query says of the JSON of its answer, as far as it says anything.
#[derive(Debug, Clone, Copy, Default)]
struct Profile {
    int64_as_number: Option<bool>,
    enum_as_numbers: Option<bool>,
}

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
    let mut asked = Profile::default();
    for parameter in query.split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let (name, read) = match name {
            ALT if !taken.alt => (ALT, alt(&percent::decode(value))),
            INT64 if !taken.int64 => {
                (INT64, Profile::default().with(INT64, &percent::decode(value)))
            }
            SYSTEM_ALT | "%24alt" => (SYSTEM_ALT, alt(&percent::decode(value))),
            _ => continue,
        };
        asked = read.and_then(|read| asked.and(read)).ok_or_else(|| unknown(name))?;
    }
    options.int64_as_number = asked.int64_as_number == Some(true);
    options.enum_as_numbers = asked.enum_as_numbers == Some(true);
    Ok(options)
}

/// `json`, perhaps with its profile.
fn alt(value: &str) -> Option<Profile> {
    let mut parts = value.split(';').map(str::trim);
    if parts.next() != Some("json") {
        return None;
    }
    parts.try_fold(Profile::default(), |profile, part| {
        let (name, value) = part.split_once('=')?;
        profile.with(name, value)
    })
}

// === impl Profile ===

impl Profile {
    /// With this said of it; `None` if it means nothing or says otherwise.
    fn with(self, name: &str, value: &str) -> Option<Self> {
        let said = match (name, value) {
            (INT64, "number") => Self { int64_as_number: Some(true), ..Self::default() },
            (INT64, "string") => Self { int64_as_number: Some(false), ..Self::default() },
            (ENUM_ENCODING, "int") => Self { enum_as_numbers: Some(true), ..Self::default() },
            (ENUM_ENCODING, "string") => Self { enum_as_numbers: Some(false), ..Self::default() },
            _ => return None,
        };
        self.and(said)
    }

    /// Both; `None` if they do not agree.
    fn and(self, other: Self) -> Option<Self> {
        let both = |one: Option<bool>, other: Option<bool>| match (one, other) {
            (Some(one), Some(other)) if one != other => None,
            _ => Some(one.or(other)),
        };
        Some(Self {
            int64_as_number: both(self.int64_as_number, other.int64_as_number)?,
            enum_as_numbers: both(self.enum_as_numbers, other.enum_as_numbers)?,
        })
    }
}

#[cold]
fn unknown(name: &str) -> Fault {
    let form = match name {
        ALT | SYSTEM_ALT => {
            "must be json, and after it may have ;int64=number and ;enum-encoding=int"
        }
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
    fn enums_are_numbers_for_those_who_ask() {
        let taken = Taken { alt: true, int64: true };
        for (query, enums, integers) in [
            ("$alt=json", false, false),
            ("$alt=json;enum-encoding=int", true, false),
            ("%24alt=json%3Benum-encoding%3Dint", true, false),
            ("a=b&$alt=json%3benum-encoding=int&c", true, false),
            ("$alt=json;enum-encoding=string", false, false),
            ("$alt=json;int64=number;enum-encoding=int", true, true),
            ("alt=json;enum-encoding=int", false, false),
        ] {
            let options = print_options(Some(query), taken).unwrap();
            let found = (options.enum_as_numbers, options.int64_as_number);
            assert_eq!(found, (enums, integers), "{query}");
        }
        let options = print_options(Some("alt=json;enum-encoding=int"), Taken::none()).unwrap();
        assert!(options.enum_as_numbers);
    }

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
            "alt=json;enum-encoding=number",
            "$alt=xml",
            "$alt=json;enum-encoding=int&alt=json;enum-encoding=string",
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
