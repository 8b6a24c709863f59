//! Messages as JSON Schema (2020-12), as their JSON mapping has them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chassis::validation::options::is_oneof_required;
use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, OneofDescriptor,
};
use serde_json::{Map, Value, json};

use super::{
    Limits, known,
    pattern::{self, Patterns},
    rule::{self, Checks, Rules},
    text::{self, Texts},
};

/// Names of components that are not of the contracts.
const RESERVED: [&str; 2] = ["Error", "Problem"];

/// The schemas of all messages that were asked for.
#[derive(Debug)]
pub(super) struct Schemas {
    pub(super) texts: Texts,
    pub(super) patterns: Patterns,
    pub(super) limits: Limits,
    /// Short names of messages and enums that have one to themselves.
    names: HashMap<String, String>,
    /// Messages that a request can hold.
    read: HashSet<String>,
    /// Messages that an answer can hold.
    printed: HashSet<String>,
    known: BTreeMap<String, Value>,
    /// Names of messages without those fields that stand elsewhere in a request.
    variants: BTreeMap<(String, Vec<String>), String>,
    rules: HashMap<String, Rules>,
}

// === impl Schemas ===

impl Schemas {
    pub(super) fn new(pool: &DescriptorPool, limits: Limits) -> Self {
        Self {
            texts: Texts::default(),
            patterns: Patterns::default(),
            limits,
            names: names(pool),
            read: HashSet::new(),
            printed: HashSet::new(),
            known: BTreeMap::new(),
            variants: BTreeMap::new(),
            rules: HashMap::new(),
        }
    }

    /// Notes what a method reads and prints, before any schema is made.
    pub(super) fn note(&mut self, input: &MessageDescriptor, output: &MessageDescriptor) {
        reach(input, &mut self.read);
        reach(output, &mut self.printed);
    }

    /// All of them, by the names of their components.
    pub(super) fn finish(self) -> BTreeMap<String, Value> {
        self.known
    }

    /// The names of a component's properties.
    pub(super) fn properties(&self, component: &str) -> Option<impl Iterator<Item = &str>> {
        let properties = self.known.get(component)?.get("properties")?.as_object()?;
        Some(properties.keys().map(String::as_str))
    }

    /// What is demanded of a field.
    pub(super) fn rules(&mut self, field: &FieldDescriptor) -> Rules {
        if let Some(rules) = self.rules.get(field.full_name()) {
            return rules.clone();
        }
        let rules = Rules::of(field);
        self.rules.insert(field.full_name().to_owned(), rules.clone());
        rules
    }

    /// Whether a request without the field is refused.
    pub(super) fn is_required(&mut self, field: &FieldDescriptor) -> bool {
        let rules = self.rules(field);
        rules.is_required(field, &mut self.patterns)
    }

    /// A reference to a message's schema, which is made if it is not known.
    pub(super) fn message(&mut self, message: &MessageDescriptor) -> Value {
        self.part(message, &BTreeSet::new())
    }

    /// A message as a body, without the fields that the path sets. Those are
    /// paths below the message.
    pub(super) fn part(
        &mut self,
        message: &MessageDescriptor,
        without: &BTreeSet<String>,
    ) -> Value {
        if let Some((schema, _)) = known::schema(message.full_name(), &Checks::default()) {
            return schema;
        }
        let name = self.component(message, without);
        if !self.known.contains_key(&name) {
            self.known.insert(name.clone(), Value::Null);
            let schema = self.object(message, without);
            self.known.insert(name.clone(), schema);
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// The name of a component: the message's own if it is whole.
    fn component(&mut self, message: &MessageDescriptor, without: &BTreeSet<String>) -> String {
        let name = self.name(message.full_name());
        if without.is_empty() {
            return name;
        }
        let key = (message.full_name().to_owned(), without.iter().cloned().collect());
        let others = self.variants.keys().filter(|(full, _)| full == message.full_name()).count();
        let number = if others == 0 { String::new() } else { (others + 1).to_string() };
        self.variants.entry(key).or_insert_with(|| format!("{name}Body{number}")).clone()
    }

    fn name(&self, full_name: &str) -> String {
        self.names.get(full_name).cloned().unwrap_or_else(|| full_name.to_owned())
    }

    fn object(&mut self, message: &MessageDescriptor, without: &BTreeSet<String>) -> Value {
        let is_read = self.read.contains(message.full_name());
        let is_printed = self.printed.contains(message.full_name());
        let limit = if is_read { self.limits.request_bytes } else { self.limits.response_bytes };
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in message.fields().filter(|field| !without.contains(field.name())) {
            let rules = self.rules(&field);
            if rules.is_required(&field, &mut self.patterns)
                && (!is_printed || rules.is_always_printed(&field, &mut self.patterns))
            {
                required.push(Value::from(field.json_name()));
            }
            let below: BTreeSet<String> = without
                .iter()
                .filter_map(|path| path.strip_prefix(field.name())?.strip_prefix('.'))
                .map(str::to_owned)
                .collect();
            let schema = match field.kind() {
                Kind::Message(inner) if !below.is_empty() => self.part(&inner, &below),
                _ => self.field(&field, limit),
            };
            properties.insert(field.json_name().to_owned(), self.described(&field, &rules, schema));
        }
        let mut object = Map::new();
        object.insert("type".to_owned(), "object".into());
        let mut comment = self.texts.of_message(message);
        let oneofs: Vec<OneofDescriptor> =
            message.oneofs().filter(|oneof| !oneof.is_synthetic()).collect();
        let mut excluded = Vec::new();
        for oneof in &oneofs {
            comment = text::paragraphs(&comment, &exclusive(oneof, &mut excluded));
        }
        if !comment.is_empty() {
            object.insert("description".to_owned(), comment.into());
        }
        match excluded.as_slice() {
            [] => {}
            [one] => {
                object.insert("not".to_owned(), one.clone());
            }
            _ => {
                object.insert("not".to_owned(), json!({"anyOf": excluded}));
            }
        }
        object.insert("properties".to_owned(), properties.into());
        if !required.is_empty() {
            object.insert("required".to_owned(), required.into());
        }
        // A request with a field that nobody knows is refused; an answer may gain
        // fields.
        if is_read {
            object.insert("additionalProperties".to_owned(), false.into());
        }
        Value::Object(object)
    }

    /// A field's schema with what is said of the field itself.
    fn described(&mut self, field: &FieldDescriptor, rules: &Rules, mut schema: Value) -> Value {
        let comment = self.texts.of_field(field);
        let Value::Object(fields) = &mut schema else { return schema };
        if !comment.is_empty() {
            let own = fields.get("description").and_then(Value::as_str).unwrap_or_default();
            let told = text::paragraphs(&comment, own);
            fields.insert("description".to_owned(), told.into());
        }
        if rules.output_only {
            fields.insert("readOnly".to_owned(), true.into());
        }
        if rules.input_only {
            fields.insert("writeOnly".to_owned(), true.into());
        }
        if field
            .field_descriptor_proto()
            .options
            .as_ref()
            .is_some_and(|options| options.deprecated())
        {
            fields.insert("deprecated".to_owned(), true.into());
        }
        schema
    }

    /// The schema of a field's value. `limit` is how many bytes all of it may
    /// have where the contract has no bound of its own.
    pub(super) fn field(&mut self, field: &FieldDescriptor, limit: u64) -> Value {
        let rules = self.rules(field);
        if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
            let key = entry.map_entry_key_field();
            let value = self.single(&entry.map_entry_value_field(), &rules.value, limit);
            let mut object = Map::new();
            object.insert("type".to_owned(), "object".into());
            object.insert("additionalProperties".to_owned(), value);
            if let Some(names) = self.keys(&key, &rules.keys) {
                object.insert("propertyNames".to_owned(), names);
            }
            insert(&mut object, "minProperties", rules.items_min);
            insert(&mut object, "maxProperties", rules.items_max);
            return Value::Object(object);
        }
        if field.is_list() {
            let items = self.single(field, &rules.value, limit);
            let mut array = Map::new();
            array.insert("type".to_owned(), "array".into());
            array.insert("items".to_owned(), items);
            insert(&mut array, "minItems", rules.items_min);
            // An element and its comma have two bytes at least.
            array.insert("maxItems".to_owned(), rules.items_max.unwrap_or(limit / 2).into());
            if rules.unique {
                array.insert("uniqueItems".to_owned(), true.into());
            }
            return Value::Object(array);
        }
        self.single(field, &rules.value, limit)
    }

    /// The names that a map's keys may have: JSON has them all as text.
    fn keys(&mut self, key: &FieldDescriptor, checks: &Checks) -> Option<Value> {
        match key.kind() {
            Kind::String if checks.is_empty() => None,
            Kind::String => Some(string(checks, None)),
            Kind::Bool => Some(json!({"enum": ["true", "false"]})),
            kind => {
                let (least, most) = extent(whole(&kind)?);
                let (least, most) = checks.range(least, most);
                Some(json!({"pattern": pattern::between(least, most)}))
            }
        }
    }

    fn single(&mut self, field: &FieldDescriptor, checks: &Checks, limit: u64) -> Value {
        match field.kind() {
            Kind::Message(message) => match known::wrapped(message.full_name()) {
                Some("bool") => json!({"type": "boolean"}),
                Some("string") => string(checks, Some(limit)),
                Some("bytes") => bytes(checks, limit),
                Some("float") => real("float", checks),
                Some("double") => real("double", checks),
                Some(format) => integer(format, checks),
                None => match known::schema(message.full_name(), checks) {
                    Some((mut schema, bounds)) => {
                        if let (Value::Object(fields), false) = (&mut schema, bounds.is_empty()) {
                            fields.insert("description".to_owned(), bounds.into());
                        }
                        schema
                    }
                    None => self.message(&message),
                },
            },
            Kind::Enum(descriptor) => self.enumeration(&descriptor, checks),
            Kind::Bool => match checks.any_of.as_slice() {
                [] => json!({"type": "boolean"}),
                only => json!({"type": "boolean", "enum": only}),
            },
            Kind::Bytes => bytes(checks, limit),
            Kind::Float => real("float", checks),
            Kind::Double => real("double", checks),
            Kind::String => string(checks, Some(limit)),
            kind => integer(whole(&kind).unwrap_or("int64"), checks),
        }
    }

    /// A reference to an enum, narrowed to what a rule lets through.
    fn enumeration(&mut self, descriptor: &EnumDescriptor, checks: &Checks) -> Value {
        if descriptor.full_name() == "google.protobuf.NullValue" {
            return json!({"type": "null"});
        }
        let name = self.name(descriptor.full_name());
        if !self.known.contains_key(&name) {
            let mut comment = self.texts.of_enum(descriptor);
            let mut told = Vec::new();
            for value in descriptor.values() {
                let said = self.texts.of_value(&value).replace('\n', " ");
                told.push(format!("- `{}`: {said}", value.name()));
            }
            comment = text::paragraphs(&comment, &told.join("\n"));
            let names = allowed(descriptor, &Checks::default());
            self.known.insert(
                name.clone(),
                json!({"type": "string", "enum": names, "description": comment}),
            );
        }
        let mut schema = json!({"$ref": format!("#/components/schemas/{name}")});
        let allowed = allowed(descriptor, checks);
        if let (Value::Object(fields), true) =
            (&mut schema, allowed.len() < descriptor.values().len())
        {
            fields.insert("enum".to_owned(), allowed.into());
        }
        schema
    }
}

impl Checks {
    fn is_empty(&self) -> bool {
        self.min.is_none()
            && self.max.is_none()
            && self.pattern.is_none()
            && self.format.is_none()
            && self.lacks.is_none()
            && self.any_of.is_empty()
            && self.none_of.is_empty()
    }
}

/// The names of an enum's values that a rule lets through.
pub(super) fn allowed(descriptor: &EnumDescriptor, checks: &Checks) -> Vec<Value> {
    let passes = |number: i32| {
        (checks.any_of.is_empty() || checks.any_of.contains(&number.into()))
            && !checks.none_of.contains(&number.into())
    };
    let values = descriptor.values().filter(|value| passes(value.number()));
    values.map(|value| value.name().into()).collect()
}

/// Adds the pairs of members that never stand together, or the absence of all of
/// them; gives the sentence that says so.
fn exclusive(oneof: &OneofDescriptor, excluded: &mut Vec<Value>) -> String {
    let fields: Vec<FieldDescriptor> = oneof.fields().collect();
    let named: Vec<String> =
        fields.iter().map(|field| format!("`{}`", field.json_name())).collect();
    for (at, first) in fields.iter().enumerate() {
        for second in fields.iter().skip(at + 1) {
            excluded.push(json!({"required": [first.json_name(), second.json_name()]}));
        }
    }
    if is_oneof_required(oneof) {
        let any: Vec<Value> =
            fields.iter().map(|field| json!({"required": [field.json_name()]})).collect();
        excluded.push(json!({"not": {"anyOf": any}}));
        return format!("Exactly one of {} is set.", named.join(", "));
    }
    if fields.len() > 1 {
        format!("At most one of {} is set.", named.join(", "))
    } else {
        String::new()
    }
}

/// The short names of all messages and enums: without the package, where that is
/// no other's name.
fn names(pool: &DescriptorPool) -> HashMap<String, String> {
    let of_messages = pool
        .all_messages()
        .map(|message| (message.full_name().to_owned(), message.package_name().to_owned()));
    let of_enums = pool
        .all_enums()
        .map(|found| (found.full_name().to_owned(), found.package_name().to_owned()));
    let all: Vec<(String, String)> = of_messages
        .chain(of_enums)
        .map(|(full, package)| {
            let short = full.strip_prefix(&package).unwrap_or(&full).trim_start_matches('.');
            (full.clone(), short.to_owned())
        })
        .collect();
    let mut taken: HashMap<&str, usize> = RESERVED.iter().map(|name| (*name, 1)).collect();
    for (_, short) in &all {
        *taken.entry(short.as_str()).or_default() += 1;
    }
    all.iter()
        .filter(|(_, short)| taken.get(short.as_str()) == Some(&1))
        .map(|(full, short)| (full.clone(), short.clone()))
        .collect()
}

/// Adds a message and all that it can hold.
fn reach(message: &MessageDescriptor, found: &mut HashSet<String>) {
    if known::is_known(message.full_name()) || !found.insert(message.full_name().to_owned()) {
        return;
    }
    for field in message.fields() {
        match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                if let Kind::Message(value) = entry.map_entry_value_field().kind() {
                    reach(&value, found);
                }
            }
            Kind::Message(inner) => reach(&inner, found),
            _ => {}
        }
    }
}

// === scalars ===

fn insert(schema: &mut Map<String, Value>, keyword: &str, bound: Option<u64>) {
    if let Some(bound) = bound {
        schema.insert(keyword.to_owned(), bound.into());
    }
}

fn string(checks: &Checks, limit: Option<u64>) -> Value {
    let mut schema = Map::from_iter([("type".to_owned(), Value::from("string"))]);
    if !checks.any_of.is_empty() {
        schema.insert("enum".to_owned(), checks.any_of.clone().into());
        return Value::Object(schema);
    }
    insert(&mut schema, "minLength", checks.min);
    let most = checks.max.or(checks.max_bytes);
    if let Some(format) = checks.format {
        schema.insert("format".to_owned(), format.into());
        let longest = match format {
            "uuid" => Some(36),
            "email" => Some(320),
            "hostname" => Some(253),
            "ipv4" => Some(15),
            "ipv6" => Some(45),
            _ => None,
        };
        insert(&mut schema, "maxLength", most.or(longest).or(limit));
    } else {
        insert(&mut schema, "maxLength", most.or(limit));
    }
    if let Some(pattern) = &checks.pattern {
        match pattern::portable(pattern) {
            Some(pattern) => schema.insert("pattern".to_owned(), pattern.into()),
            None => {
                let told = format!("Must match `{pattern}`, in the syntax of RE2.");
                schema.insert("description".to_owned(), told.into())
            }
        };
    } else if let Some(pattern) = affixed(checks) {
        schema.insert("pattern".to_owned(), pattern.into());
    }
    let lacks = checks.lacks.as_deref().map(|part| json!({"pattern": regex_syntax::escape(part)}));
    exclude(&mut schema, checks.none_of.clone(), lacks);
    Value::Object(schema)
}

/// What a value may not be, as JSON has it, or may not look like.
fn exclude(schema: &mut Map<String, Value>, none_of: Vec<Value>, lacks: Option<Value>) {
    let listed = (!none_of.is_empty()).then(|| json!({ "enum": none_of }));
    let excluded = match (listed, lacks) {
        (None, None) => return,
        (Some(one), None) | (None, Some(one)) => one,
        (Some(listed), Some(lacks)) => json!({"anyOf": [listed, lacks]}),
    };
    schema.insert("not".to_owned(), excluded);
}

/// What a text must begin with, end with or hold, as a pattern.
fn affixed(checks: &Checks) -> Option<String> {
    let escape = |part: &Option<String>| part.as_deref().map(regex_syntax::escape);
    match (escape(&checks.prefix), escape(&checks.contains), escape(&checks.suffix)) {
        (None, None, None) => None,
        (Some(prefix), None, None) => Some(format!("^{prefix}")),
        (None, None, Some(suffix)) => Some(format!("{suffix}$")),
        (None, Some(inner), None) => Some(inner),
        (prefix, inner, suffix) => Some(format!(
            "^{}[\\s\\S]*{}[\\s\\S]*{}$",
            prefix.unwrap_or_default(),
            inner.unwrap_or_default(),
            suffix.unwrap_or_default()
        )),
    }
}

/// Bytes in base64, whose length is that of the bytes and a third.
fn bytes(checks: &Checks, limit: u64) -> Value {
    let mut schema = Map::from_iter([
        ("type".to_owned(), Value::from("string")),
        ("format".to_owned(), "byte".into()),
        ("contentEncoding".to_owned(), "base64".into()),
    ]);
    insert(&mut schema, "minLength", checks.min.map(|least| (least * 4).div_ceil(3)));
    let most = checks.max.map_or(limit, |most| most.div_ceil(3).saturating_mul(4));
    schema.insert("maxLength".to_owned(), most.into());
    Value::Object(schema)
}

/// The format of an integer's kind.
pub(super) fn whole(kind: &Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "int32",
        Kind::Uint32 | Kind::Fixed32 => "uint32",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "int64",
        Kind::Uint64 | Kind::Fixed64 => "uint64",
        _ => return None,
    })
}

/// What an integer of a format can hold.
pub(super) fn extent(format: &str) -> (i128, i128) {
    match format {
        "int32" => (i32::MIN.into(), i32::MAX.into()),
        "uint32" => (0, u32::MAX.into()),
        "uint64" => (0, u64::MAX.into()),
        _ => (i64::MIN.into(), i64::MAX.into()),
    }
}

/// An integer: of 64 bits as text, as the JSON mapping has it.
fn integer(format: &str, checks: &Checks) -> Value {
    let (least, most) = extent(format);
    let (least, most) = checks.range(least, most);
    let shown = |numbers: &[Value]| -> Vec<Value> {
        match format {
            "int32" | "uint32" => numbers.to_vec(),
            _ => numbers.iter().map(|number| number.to_string().into()).collect(),
        }
    };
    let listed = shown(&checks.any_of);
    let mut schema = Map::from_iter([("format".to_owned(), Value::from(format))]);
    match format {
        "int32" | "uint32" => {
            schema.insert("type".to_owned(), "integer".into());
            for (keyword, bound) in [("minimum", least), ("maximum", most)] {
                schema.insert(keyword.to_owned(), json!(i64::try_from(bound).unwrap_or_default()));
            }
        }
        _ => {
            schema.insert("type".to_owned(), "string".into());
            schema.insert("pattern".to_owned(), pattern::between(least, most).into());
            schema.insert("maxLength".to_owned(), 20.into());
        }
    }
    if !listed.is_empty() {
        schema.insert("enum".to_owned(), listed.into());
    }
    exclude(&mut schema, shown(&checks.none_of), None);
    Value::Object(schema)
}

/// A number that may be infinite or none at all, unless a rule keeps it finite.
fn real(format: &str, checks: &Checks) -> Value {
    let mut number = Map::from_iter([
        ("type".to_owned(), Value::from("number")),
        ("format".to_owned(), format.into()),
    ]);
    for (keyword, bound) in [
        ("minimum", checks.least),
        ("exclusiveMinimum", checks.above),
        ("maximum", checks.most),
        ("exclusiveMaximum", checks.below),
    ] {
        if let Some(bound) = bound.and_then(rule::Bound::json) {
            number.insert(keyword.to_owned(), bound);
        }
    }
    if !checks.any_of.is_empty() {
        number.insert("enum".to_owned(), checks.any_of.clone().into());
    }
    exclude(&mut number, checks.none_of.clone(), None);
    let bounded = checks.least.or(checks.above).is_some() && checks.most.or(checks.below).is_some();
    if checks.finite || bounded || !checks.any_of.is_empty() {
        return Value::Object(number);
    }
    json!({"anyOf": [number, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}]})
}
