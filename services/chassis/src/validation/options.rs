//! The options of `buf.validate` as descriptors hold them: for those who enforce
//! them and those who describe them.
//!
//! A set of rules is a message of options: that of a field, of the elements of a
//! list or map, or of one type of value.

use prost_reflect::{
    DynamicMessage, FieldDescriptor, OneofDescriptor, ReflectMessage as _, Value as Reflected,
};

/// `buf.validate.Ignore`: zero is as good as absent.
pub const IGNORE_IF_ZERO_VALUE: i32 = 1;
/// `buf.validate.Ignore`: whatever the other rules say.
pub const IGNORE_ALWAYS: i32 = 3;

/// The rule sets of `buf.validate.FieldRules` for one value.
const TYPES: [&str; 18] = [
    "float",
    "double",
    "int32",
    "int64",
    "uint32",
    "uint64",
    "sint32",
    "sint64",
    "fixed32",
    "fixed64",
    "sfixed32",
    "sfixed64",
    "bool",
    "string",
    "bytes",
    "enum",
    "duration",
    "timestamp",
];

/// What is demanded of a field.
pub fn of_field(field: &FieldDescriptor) -> Option<DynamicMessage> {
    let extension = field.parent_pool().get_extension_by_name("buf.validate.field")?;
    let options = field.options();
    if !options.has_extension(&extension) {
        return None;
    }
    options.get_extension(&extension).as_message().cloned()
}

/// Whether one member of a oneof must be set.
pub fn is_oneof_required(oneof: &OneofDescriptor) -> bool {
    let file = oneof.parent_file();
    let Some(extension) = file.parent_pool().get_extension_by_name("buf.validate.oneof") else {
        return false;
    };
    let options = oneof.options();
    options.has_extension(&extension)
        && options
            .get_extension(&extension)
            .as_message()
            .is_some_and(|demanded| boolean(demanded, "required"))
}

/// The rules for the type of a value: the member of the `type` oneof that is set.
pub fn typed(set: &DynamicMessage) -> Option<(&'static str, DynamicMessage)> {
    TYPES.iter().find_map(|name| Some((*name, message(set, name)?)))
}

/// A rule, if it is set.
pub fn value(set: &DynamicMessage, name: &str) -> Option<Reflected> {
    let field = set.descriptor().get_field_by_name(name)?;
    set.has_field(&field).then(|| set.get_field(&field).into_owned())
}

/// A rule that is a set of rules.
pub fn message(set: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    match value(set, name)? {
        Reflected::Message(found) => Some(found),
        _ => None,
    }
}

/// Whether a rule is set and true.
pub fn boolean(set: &DynamicMessage, name: &str) -> bool {
    value(set, name).and_then(|value| value.as_bool()).unwrap_or_default()
}

/// A rule that is a number of an enum.
pub fn number(set: &DynamicMessage, name: &str) -> Option<i32> {
    value(set, name)?.as_enum_number()
}

/// A rule that counts something.
pub fn unsigned(set: &DynamicMessage, name: &str) -> Option<u64> {
    match value(set, name)? {
        Reflected::U32(number) => Some(number.into()),
        Reflected::U64(number) => Some(number),
        _ => None,
    }
}

/// A rule that is a text.
pub fn text(set: &DynamicMessage, name: &str) -> Option<String> {
    value(set, name)?.as_str().map(str::to_owned)
}

/// A Duration, or a Timestamp since 1970, in nanoseconds.
pub fn nanos(time: &DynamicMessage) -> Option<i128> {
    let seconds = time.get_field_by_name("seconds")?.as_i64()?;
    let nanos = time.get_field_by_name("nanos")?.as_i32()?;
    Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
}
