//! What the contracts demand of a field: `google.api.field_behavior` and
//! `buf.validate`, read once.

use chassis::validation::options::{self, boolean, message, number, text, unsigned};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, Value as Reflected};
use serde_json::Value;

use super::pattern::Patterns;

/// Everything that is demanded of a field.
#[derive(Debug, Default, Clone)]
pub(super) struct Rules {
    /// It must be given: by either option.
    pub(super) required: bool,
    /// Zero is as good as absent, whatever the other rules say.
    zero_is_absent: bool,
    /// Only the answer has it.
    pub(super) output_only: bool,
    /// Only the request has it.
    pub(super) input_only: bool,
    /// Of the value, or of each element.
    pub(super) value: Checks,
    /// Of each key of a map.
    pub(super) keys: Checks,
    /// How many elements there must be.
    pub(super) items_min: Option<u64>,
    /// How many elements there may be.
    pub(super) items_max: Option<u64>,
    /// Whether no two elements may be equal.
    pub(super) unique: bool,
}

/// What is demanded of one value; only what fits its type is ever filled in.
#[derive(Debug, Default, Clone)]
pub(super) struct Checks {
    /// Characters of a text, or bytes.
    pub(super) min: Option<u64>,
    /// Characters of a text, or bytes.
    pub(super) max: Option<u64>,
    pub(super) max_bytes: Option<u64>,
    pub(super) pattern: Option<String>,
    pub(super) prefix: Option<String>,
    pub(super) suffix: Option<String>,
    pub(super) contains: Option<String>,
    /// What a text may not hold.
    pub(super) lacks: Option<String>,
    /// The format of JSON Schema.
    pub(super) format: Option<&'static str>,
    pub(super) least: Option<Bound>,
    pub(super) above: Option<Bound>,
    pub(super) most: Option<Bound>,
    pub(super) below: Option<Bound>,
    pub(super) finite: bool,
    /// The only values there may be; empty for any.
    pub(super) any_of: Vec<Value>,
    /// Values that there may not be.
    pub(super) none_of: Vec<Value>,
}

/// A bound of a number, or of a time in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound {
    Whole(i128),
    Real(f64),
}

/// Formats that both `buf.validate` and JSON Schema know.
const FORMATS: [(&str, &str); 7] = [
    ("uuid", "uuid"),
    ("email", "email"),
    ("uri", "uri"),
    ("uri_ref", "uri-reference"),
    ("hostname", "hostname"),
    ("ipv4", "ipv4"),
    ("ipv6", "ipv6"),
];
/// `google.api.FieldBehavior`.
const REQUIRED: i32 = 2;
const OUTPUT_ONLY: i32 = 3;
const INPUT_ONLY: i32 = 4;

// === impl Rules ===

impl Rules {
    /// What the options of a field say.
    pub(super) fn of(field: &FieldDescriptor) -> Self {
        let mut rules = Self::default();
        let pool = field.parent_pool();
        if let Some(extension) = pool.get_extension_by_name("google.api.field_behavior") {
            let declared = field.options();
            let value = declared.get_extension(&extension);
            for behavior in value.as_list().unwrap_or_default() {
                match behavior.as_enum_number() {
                    Some(REQUIRED) => rules.required = true,
                    Some(OUTPUT_ONLY) => rules.output_only = true,
                    Some(INPUT_ONLY) => rules.input_only = true,
                    _ => {}
                }
            }
        }
        if let Some(demanded) = options::of_field(field) {
            rules.read(&demanded);
            if boolean(&demanded, "required")
                && number(&demanded, "ignore") != Some(options::IGNORE_ALWAYS)
            {
                rules.refuse_zero(field);
            }
        }
        // A page has no negative size, and none is the default (AIP-158).
        if field.name() == "page_size"
            && field.parent_message().get_field_by_name("page_token").is_some()
            && rules.value.least.or(rules.value.above).is_none()
        {
            rules.value.least = Some(Bound::Whole(0));
        }
        rules
    }

    /// What is required may not be zero where zero is absence.
    fn refuse_zero(&mut self, field: &FieldDescriptor) {
        if field.is_list() || field.is_map() {
            self.items_min = self.items_min.max(Some(1));
            return;
        }
        if field.supports_presence() {
            return;
        }
        match field.kind() {
            Kind::String | Kind::Bytes => self.value.min = self.value.min.max(Some(1)),
            Kind::Bool => self.value.any_of = vec![true.into()],
            _ => self.value.none_of.push(0.into()),
        }
    }

    fn read(&mut self, demanded: &DynamicMessage) {
        match number(demanded, "ignore") {
            Some(options::IGNORE_ALWAYS) => return,
            Some(options::IGNORE_IF_ZERO_VALUE) => self.zero_is_absent = true,
            _ => {}
        }
        self.required |= boolean(demanded, "required");
        if let Some(list) = message(demanded, "repeated") {
            self.items_min = unsigned(&list, "min_items");
            self.items_max = unsigned(&list, "max_items");
            self.unique = boolean(&list, "unique");
            self.value =
                message(&list, "items").map(|items| Checks::of(&items)).unwrap_or_default();
        } else if let Some(map) = message(demanded, "map") {
            self.items_min = unsigned(&map, "min_pairs");
            self.items_max = unsigned(&map, "max_pairs");
            self.keys = message(&map, "keys").map(|keys| Checks::of(&keys)).unwrap_or_default();
            self.value =
                message(&map, "values").map(|values| Checks::of(&values)).unwrap_or_default();
        } else {
            self.value = Checks::of(demanded);
        }
    }

    /// Whether a request without the field is refused: it is demanded outright,
    /// or absence is zero and zero breaks a rule.
    pub(super) fn is_required(&self, field: &FieldDescriptor, patterns: &mut Patterns) -> bool {
        if self.output_only {
            return false;
        }
        self.required || (!self.zero_is_absent && self.refuses_absence(field, patterns))
    }

    /// Whether an answer always has the field: the JSON mapping leaves zeros out.
    pub(super) fn is_always_printed(
        &self,
        field: &FieldDescriptor,
        patterns: &mut Patterns,
    ) -> bool {
        let may_be_zero = !field.supports_presence()
            && !field.is_list()
            && !field.is_map()
            && !matches!(field.kind(), Kind::String | Kind::Bytes)
            && !self.value.refuses_zero(&field.kind(), patterns);
        !may_be_zero
    }

    fn refuses_absence(&self, field: &FieldDescriptor, patterns: &mut Patterns) -> bool {
        if field.is_list() || field.is_map() {
            return self.items_min.is_some_and(|least| least > 0);
        }
        !field.supports_presence() && self.value.refuses_zero(&field.kind(), patterns)
    }
}

// === impl Checks ===

impl Checks {
    fn of(demanded: &DynamicMessage) -> Self {
        let Some((kind, set)) = options::typed(demanded) else { return Self::default() };
        let exactly = unsigned(&set, "len");
        let bound = |name: &str| options::value(&set, name).as_ref().and_then(Bound::of);
        // A character has four bytes at most.
        let min_bytes = unsigned(&set, "min_bytes").or(unsigned(&set, "len_bytes"));
        let mut any_of = list(&set, "in");
        any_of.extend(options::value(&set, "const").as_ref().and_then(json));
        Self {
            min: exactly.or(unsigned(&set, "min_len")).or(min_bytes.map(|bytes| bytes.div_ceil(4))),
            max: exactly.or(unsigned(&set, "max_len")),
            max_bytes: unsigned(&set, "max_bytes").or(unsigned(&set, "len_bytes")),
            pattern: text(&set, "pattern").filter(|_| kind == "string"),
            prefix: text(&set, "prefix").filter(|_| kind == "string"),
            suffix: text(&set, "suffix").filter(|_| kind == "string"),
            contains: text(&set, "contains").filter(|_| kind == "string"),
            lacks: text(&set, "not_contains").filter(|_| kind == "string"),
            format: FORMATS
                .iter()
                .find(|(rule, _)| kind == "string" && boolean(&set, rule))
                .map(|(_, format)| *format),
            least: bound("gte"),
            above: bound("gt"),
            most: bound("lte"),
            below: bound("lt"),
            finite: boolean(&set, "finite"),
            any_of,
            none_of: list(&set, "not_in"),
        }
    }

    /// Whether the zero of a type breaks a rule.
    fn refuses_zero(&self, kind: &Kind, patterns: &mut Patterns) -> bool {
        let (zero, empty) = match kind {
            Kind::String => (Value::from(""), true),
            Kind::Bytes => (Value::Null, true),
            Kind::Bool => (Value::from(false), false),
            Kind::Message(_) => return false,
            _ => (Value::from(0), false),
        };
        let unlisted = !self.any_of.is_empty() && !self.any_of.contains(&zero);
        if unlisted || self.none_of.contains(&zero) {
            return true;
        }
        if empty {
            return self.min.is_some_and(|least| least > 0)
                || self.format.is_some()
                || [&self.prefix, &self.suffix, &self.contains].iter().any(|part| part.is_some())
                || self.pattern.as_ref().is_some_and(|pattern| !patterns.is_match(pattern, ""));
        }
        let zero = Bound::Whole(0);
        self.least.is_some_and(|least| zero.is_below(least))
            || self.above.is_some_and(|above| !above.is_below(zero))
            || self.most.is_some_and(|most| most.is_below(zero))
            || self.below.is_some_and(|below| !zero.is_below(below))
    }

    /// The least and the most of a whole number, within what its type can hold.
    pub(super) fn range(&self, least: i128, most: i128) -> (i128, i128) {
        let whole = |bound: Option<Bound>| match bound {
            Some(Bound::Whole(number)) => Some(number),
            _ => None,
        };
        let from = [whole(self.least), whole(self.above).map(|above| above + 1)];
        let to = [whole(self.most), whole(self.below).map(|below| below - 1)];
        let from = from.into_iter().flatten().fold(least, i128::max);
        let to = to.into_iter().flatten().fold(most, i128::min);
        (from, to)
    }
}

// === impl Bound ===

impl Bound {
    fn of(value: &Reflected) -> Option<Self> {
        Some(match value {
            Reflected::I32(number) => Self::Whole((*number).into()),
            Reflected::I64(number) => Self::Whole((*number).into()),
            Reflected::U32(number) => Self::Whole((*number).into()),
            Reflected::U64(number) => Self::Whole((*number).into()),
            Reflected::F32(number) => Self::Real((*number).into()),
            Reflected::F64(number) => Self::Real(*number),
            Reflected::Message(time) => Self::Whole(options::nanos(time)?),
            _ => return None,
        })
    }

    fn is_below(self, other: Self) -> bool {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a < b,
            (Self::Real(a), Self::Real(b)) => a < b,
            // Only zero is ever compared across the two.
            (Self::Whole(_), Self::Real(b)) => 0.0 < b,
            (Self::Real(a), Self::Whole(_)) => a < 0.0,
        }
    }

    /// As JSON has it, if a JSON number can hold it.
    pub(super) fn json(self) -> Option<Value> {
        match self {
            Self::Whole(number) => i64::try_from(number)
                .map(Value::from)
                .or_else(|_| u64::try_from(number).map(Value::from))
                .ok(),
            Self::Real(number) => {
                let whole = format!("{number:.0}").parse::<i64>();
                // 5.0 is told as 5.
                match whole {
                    Ok(whole) if number.fract().abs() < f64::EPSILON => Some(whole.into()),
                    _ => serde_json::Number::from_f64(number).map(Value::Number),
                }
            }
        }
    }

    /// As seconds: `1.5s`.
    pub(super) fn seconds(self) -> Option<String> {
        let Self::Whole(nanos) = self else { return None };
        let (whole, rest) = (nanos / 1_000_000_000, (nanos % 1_000_000_000).abs());
        if rest == 0 {
            return Some(format!("{whole}s"));
        }
        let rest = format!("{rest:09}");
        Some(format!("{whole}.{}s", rest.trim_end_matches('0')))
    }
}

// === reading options ===

fn list(set: &DynamicMessage, name: &str) -> Vec<Value> {
    match options::value(set, name) {
        Some(Reflected::List(values)) => values.iter().filter_map(json).collect(),
        _ => Vec::new(),
    }
}

fn json(value: &Reflected) -> Option<Value> {
    Some(match value {
        Reflected::String(text) => Value::from(text.as_str()),
        Reflected::Bool(truth) => Value::from(*truth),
        Reflected::EnumNumber(number) => Value::from(*number),
        other => Bound::of(other)?.json()?,
    })
}
