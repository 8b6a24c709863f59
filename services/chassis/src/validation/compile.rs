//! From `buf.validate` options to tables.

use prost_reflect::{
    Cardinality, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value as Reflected,
};
use regex::Regex;

use super::{
    Elements, FieldRules, Ignore, MessageRules, Rules, Shape, WireKind,
    checks::{Checks, Enumeration, Format, Lengths, Range, Text, Unit},
    options,
};

/// The option fields of one rule set that were read, and a place for problems.
struct Set<'m> {
    message: &'m DynamicMessage,
    place: String,
    read: Vec<&'static str>,
}

impl Rules {
    /// Compiles a message and all it contains; gives its number.
    pub(crate) fn compile(&mut self, message: &MessageDescriptor) -> usize {
        if let Some(known) = self.index.get(message.full_name()) {
            return *known;
        }
        let number = self.messages.len();
        self.messages.push(MessageRules::default());
        self.index.insert(message.full_name().to_owned(), number);

        let mut fields: Vec<FieldDescriptor> = message.fields().collect();
        fields.sort_by_key(FieldDescriptor::number);
        let compiled: Vec<FieldRules> = fields.iter().map(|field| self.field(field)).collect();
        let oneofs = message
            .oneofs()
            .filter(|oneof| !oneof.is_synthetic() && options::is_oneof_required(oneof))
            .map(|oneof| {
                let members = oneof
                    .fields()
                    .filter_map(|member| {
                        fields.iter().position(|field| field.number() == member.number())
                    })
                    .collect();
                (oneof.name().to_owned(), members)
            })
            .collect();
        if uses_cel(message) {
            self.problems
                .push(format!("{} uses a CEL rule, which is not enforced", message.full_name()));
        }
        self.messages[number] = MessageRules { fields: compiled, oneofs };
        number
    }

    fn field(&mut self, field: &FieldDescriptor) -> FieldRules {
        let place = field.full_name().to_owned();
        let demanded = options::of_field(field);
        let kind = field.kind();
        let shape = match (field.is_map(), field.is_list(), field.supports_presence()) {
            (true, _, _) => Shape::Map,
            (_, true, _) => Shape::Repeated,
            (_, _, true) => Shape::Explicit,
            _ => Shape::Implicit,
        };
        let mut compiled = FieldRules {
            number: field.number(),
            name: field.name().to_owned(),
            wire: wire_kind(&kind),
            shape,
            message: None,
            required: field.cardinality() == Cardinality::Required,
            ignore: Ignore::Never,
            checks: Checks::default(),
            elements: Elements::default(),
        };
        if let (Kind::Message(entry), true) = (&kind, field.is_map()) {
            let key = entry.map_entry_key_field();
            let value = entry.map_entry_value_field();
            compiled.elements.key = Some((wire_kind(&key.kind()), Checks::default()));
            compiled.elements.value = Some(wire_kind(&value.kind()));
            if let Kind::Message(inner) = value.kind() {
                compiled.message = Some(self.compile(&inner));
            }
        } else if let Kind::Message(inner) = &kind {
            compiled.message = Some(self.compile(inner));
        }
        let Some(demanded) = demanded else { return compiled };
        let mut set = Set { message: &demanded, place, read: Vec::new() };
        compiled.required |= set.boolean("required");
        compiled.ignore = match set.number("ignore") {
            Some(options::IGNORE_IF_ZERO_VALUE) => Ignore::IfZero,
            Some(options::IGNORE_ALWAYS) => Ignore::Always,
            _ => Ignore::Never,
        };
        self.typed(&mut set, field, &kind, &mut compiled);
        set.finish(&mut self.problems);
        compiled
    }

    /// The rules of the type, and for lists and maps those of their elements.
    fn typed(
        &mut self,
        set: &mut Set<'_>,
        field: &FieldDescriptor,
        kind: &Kind,
        compiled: &mut FieldRules,
    ) {
        if field.is_map() {
            let Some(map) = set.message("map") else { return };
            let mut map = Set { message: &map, place: set.place.clone(), read: Vec::new() };
            compiled.elements.min = map.unsigned("min_pairs").unwrap_or_default();
            compiled.elements.max = map.unsigned("max_pairs");
            if let (Kind::Message(entry), Some((_, checks))) =
                (kind, compiled.elements.key.as_mut())
            {
                if let Some(keys) = map.message("keys") {
                    *checks =
                        self.value_checks(&keys, &entry.map_entry_key_field().kind(), &map.place);
                }
                if let Some(values) = map.message("values") {
                    compiled.checks = self.value_checks(
                        &values,
                        &entry.map_entry_value_field().kind(),
                        &map.place,
                    );
                }
            }
            map.finish(&mut self.problems);
        } else if field.is_list() {
            let Some(list) = set.message("repeated") else { return };
            let mut list = Set { message: &list, place: set.place.clone(), read: Vec::new() };
            compiled.elements.min = list.unsigned("min_items").unwrap_or_default();
            compiled.elements.max = list.unsigned("max_items");
            compiled.elements.unique = list.boolean("unique");
            if let Some(items) = list.message("items") {
                compiled.checks = self.value_checks(&items, kind, &list.place);
            }
            list.finish(&mut self.problems);
        } else {
            compiled.checks = self.checks(set, kind);
        }
    }

    /// The checks of an element's own `FieldRules`.
    fn value_checks(&mut self, demanded: &DynamicMessage, kind: &Kind, place: &str) -> Checks {
        let mut set = Set { message: demanded, place: place.to_owned(), read: Vec::new() };
        let checks = self.checks(&mut set, kind);
        set.finish(&mut self.problems);
        checks
    }

    /// The checks that fit the kind of one value.
    fn checks(&mut self, set: &mut Set<'_>, kind: &Kind) -> Checks {
        let mut checks = Checks::default();
        let Some((name, rules)) = set.typed_rules() else { return checks };
        let fits = match kind {
            Kind::Message(message) => match message.full_name() {
                "google.protobuf.Duration" => "duration",
                "google.protobuf.Timestamp" => "timestamp",
                _ => "",
            },
            Kind::Enum(_) => "enum",
            Kind::Double => "double",
            Kind::Float => "float",
            Kind::Int32 => "int32",
            Kind::Int64 => "int64",
            Kind::Uint32 => "uint32",
            Kind::Uint64 => "uint64",
            Kind::Sint32 => "sint32",
            Kind::Sint64 => "sint64",
            Kind::Fixed32 => "fixed32",
            Kind::Fixed64 => "fixed64",
            Kind::Sfixed32 => "sfixed32",
            Kind::Sfixed64 => "sfixed64",
            Kind::Bool => "bool",
            Kind::String => "string",
            Kind::Bytes => "bytes",
        };
        if name != fits {
            self.problems
                .push(format!("{} has `{name}` rules, which do not fit its type", set.place));
            return checks;
        }
        let mut inner =
            Set { message: &rules, place: format!("{} ({name})", set.place), read: Vec::new() };
        match kind {
            Kind::Int32
            | Kind::Int64
            | Kind::Sint32
            | Kind::Sint64
            | Kind::Sfixed32
            | Kind::Sfixed64 => {
                checks.signed = Some(inner.range(signed));
            }
            Kind::Uint32 | Kind::Uint64 | Kind::Fixed32 | Kind::Fixed64 => {
                checks.unsigned = Some(inner.range(unsigned));
            }
            Kind::Float | Kind::Double => checks.float = Some(inner.range(float)),
            Kind::Bool => {
                checks.boolean = inner.value("const").and_then(|value| value.as_bool());
            }
            Kind::String => checks.text = Some(Box::new(inner.text(&mut self.problems))),
            Kind::Bytes => {
                let exactly = inner.unsigned("len");
                checks.bytes = Some(Lengths {
                    min: exactly.or(inner.unsigned("min_len")),
                    max: exactly.or(inner.unsigned("max_len")),
                });
            }
            Kind::Enum(descriptor) => {
                let names: Vec<(i64, String)> = descriptor
                    .values()
                    .map(|value| (i64::from(value.number()), value.name().to_owned()))
                    .collect();
                checks.enumeration = Some(Enumeration {
                    defined: inner
                        .boolean("defined_only")
                        .then(|| names.iter().map(|(number, _)| *number).collect()),
                    any_of: inner.list("in", signed),
                    none_of: inner.list("not_in", signed),
                    exactly: inner.value("const").as_ref().and_then(signed),
                    names,
                });
            }
            Kind::Message(_) => {
                let mut range = inner.range(nanos);
                range.unit = Unit::Seconds;
                checks.nanos = Some(range);
            }
        }
        inner.finish(&mut self.problems);
        checks
    }
}

// === impl Set ===

impl Set<'_> {
    fn value(&mut self, name: &'static str) -> Option<Reflected> {
        self.read.push(name);
        options::value(self.message, name)
    }

    fn message(&mut self, name: &'static str) -> Option<DynamicMessage> {
        self.read.push(name);
        options::message(self.message, name)
    }

    fn boolean(&mut self, name: &'static str) -> bool {
        self.read.push(name);
        options::boolean(self.message, name)
    }

    fn number(&mut self, name: &'static str) -> Option<i32> {
        self.read.push(name);
        options::number(self.message, name)
    }

    fn unsigned(&mut self, name: &'static str) -> Option<u64> {
        self.read.push(name);
        options::unsigned(self.message, name)
    }

    fn string(&mut self, name: &'static str) -> Option<String> {
        self.read.push(name);
        options::text(self.message, name)
    }

    fn list<T>(&mut self, name: &'static str, read: impl Fn(&Reflected) -> Option<T>) -> Vec<T> {
        self.value(name)
            .and_then(|value| value.as_list().map(|items| items.iter().filter_map(&read).collect()))
            .unwrap_or_default()
    }

    /// The member of the `type` oneof that is set: its name and rules.
    fn typed_rules(&mut self) -> Option<(&'static str, DynamicMessage)> {
        let (name, rules) = options::typed(self.message)?;
        self.read.push(name);
        Some((name, rules))
    }

    fn range<T>(&mut self, read: impl Fn(&Reflected) -> Option<T> + Copy) -> Range<T> {
        let mut bound = |name| self.value(name).as_ref().and_then(read);
        Range {
            above: bound("gt"),
            least: bound("gte"),
            below: bound("lt"),
            most: bound("lte"),
            exactly: bound("const"),
            any_of: self.list("in", read),
            none_of: self.list("not_in", read),
            unit: Unit::Plain,
        }
    }

    fn text(&mut self, problems: &mut Vec<String>) -> Text {
        let exactly = self.unsigned("len");
        let pattern = self.string("pattern").and_then(|pattern| match Regex::new(&pattern) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                problems.push(format!(
                    "{} has a pattern that is no regular expression: {error}",
                    self.place
                ));
                None
            }
        });
        let formats = [
            ("uuid", Format::Uuid),
            ("email", Format::Email),
            ("uri", Format::Uri),
            ("hostname", Format::Hostname),
        ];
        Text {
            characters: Lengths {
                min: exactly.or(self.unsigned("min_len")),
                max: exactly.or(self.unsigned("max_len")),
            },
            bytes: Lengths { min: self.unsigned("min_bytes"), max: self.unsigned("max_bytes") },
            exactly: self.string("const"),
            pattern,
            prefix: self.string("prefix"),
            suffix: self.string("suffix"),
            contains: self.string("contains"),
            any_of: self.list("in", text),
            none_of: self.list("not_in", text),
            format: formats
                .into_iter()
                .filter(|(name, _)| self.boolean(name))
                .map(|(_, format)| format)
                .next(),
        }
    }

    /// Names every rule that is set and was not read: it would be ignored.
    fn finish(self, problems: &mut Vec<String>) {
        for (field, _) in self.message.fields() {
            if !self.read.contains(&field.name()) && field.name() != "example" {
                problems.push(format!(
                    "{} uses the rule `{}`, which is not enforced",
                    self.place,
                    field.name()
                ));
            }
        }
    }
}

// === reading values ===

fn signed(value: &Reflected) -> Option<i64> {
    match value {
        Reflected::I32(number) | Reflected::EnumNumber(number) => Some(i64::from(*number)),
        Reflected::I64(number) => Some(*number),
        _ => None,
    }
}

fn unsigned(value: &Reflected) -> Option<u64> {
    match value {
        Reflected::U32(number) => Some(u64::from(*number)),
        Reflected::U64(number) => Some(*number),
        _ => None,
    }
}

fn float(value: &Reflected) -> Option<f64> {
    match value {
        Reflected::F32(number) => Some(f64::from(*number)),
        Reflected::F64(number) => Some(*number),
        _ => None,
    }
}

fn text(value: &Reflected) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn nanos(value: &Reflected) -> Option<i128> {
    options::nanos(value.as_message()?)
}

fn uses_cel(message: &MessageDescriptor) -> bool {
    let pool = message.parent_file().parent_pool().clone();
    let Some(extension) = pool.get_extension_by_name("buf.validate.message") else { return false };
    message.options().has_extension(&extension)
}

fn wire_kind(kind: &Kind) -> WireKind {
    match kind {
        Kind::Int32 | Kind::Int64 => WireKind::Signed,
        Kind::Uint32 | Kind::Uint64 => WireKind::Unsigned,
        Kind::Sint32 | Kind::Sint64 => WireKind::ZigZag,
        Kind::Fixed32 => WireKind::Fixed32,
        Kind::Fixed64 => WireKind::Fixed64,
        Kind::Sfixed32 => WireKind::SFixed32,
        Kind::Sfixed64 => WireKind::SFixed64,
        Kind::Bool => WireKind::Bool,
        Kind::String => WireKind::Text,
        Kind::Bytes => WireKind::Bytes,
        Kind::Enum(_) => WireKind::Enum,
        Kind::Message(_) => WireKind::Message,
        Kind::Float => WireKind::Float,
        Kind::Double => WireKind::Double,
    }
}
