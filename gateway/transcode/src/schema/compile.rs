//! From descriptors to tables.

use prost_reflect::{
    DescriptorPool, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, MessageDescriptor, Syntax,
};

use super::{
    MessageId, Schema,
    names::Names,
    rules,
    table::{
        Cardinality, EntryTable, EnumTable, Field, Key, Kind, MessageTable, NONE, Scalar, Tables,
    },
};
use crate::{
    binding::BindingId,
    error::{Problem, ProblemKind},
    location::locate,
    method::{Content, Idempotency, Method, MethodId},
    path::FieldPath,
    text,
    wire::{LEN, Tag},
};

/// The seen bits of a message must fit the slots.
const MAX_FIELDS: usize = 0xfff0;

pub(crate) fn compile(pool: &DescriptorPool) -> (Schema, Vec<Problem>) {
    let mut problems = Vec::new();
    let tables = Compiler::default().run(pool, &mut problems);
    let mut methods = Vec::new();
    for service in pool.services() {
        let service_deprecated =
            service.service_descriptor_proto().options.as_ref().is_some_and(|o| o.deprecated());
        for descriptor in service.methods() {
            let id = MethodId(u32::try_from(methods.len()).unwrap_or(NONE));
            let input = message_id(&tables, &descriptor.input());
            let output = message_id(&tables, &descriptor.output());
            let options = descriptor.method_descriptor_proto().options.as_ref();
            methods.push(Method {
                id,
                path: format!("/{}/{}", service.full_name(), descriptor.name()).into(),
                input,
                output,
                idempotency: match options.and_then(|options| options.idempotency_level) {
                    Some(1) => Idempotency::NoSideEffects,
                    Some(2) => Idempotency::Idempotent,
                    _ => Idempotency::Unknown,
                },
                deprecated: service_deprecated
                    || options.is_some_and(|options| options.deprecated()),
                bindings: Vec::new(),
                rpc: BindingId(NONE),
                request_id: text_field(&tables, input, "request_id"),
                etag: text_field(&tables, input, "etag")
                    .or_else(|| resource_etag(&tables, &descriptor.input())),
                output_etag: text_field(&tables, output, "etag"),
                next_page_token: text_field(&tables, output, "next_page_token"),
                input_content: content(&descriptor.input()),
                output_content: content(&descriptor.output()),
                location: None,
                descriptor,
            });
        }
    }
    let (bindings, trie) = rules::bind(pool, &tables, &mut methods, &mut problems);
    locate(&tables, &mut methods, &bindings);
    (Schema::assemble(pool.clone(), tables, methods, bindings, trie), problems)
}

fn message_id(tables: &Tables, message: &MessageDescriptor) -> MessageId {
    // Every message of the pool has a table.
    MessageId(tables.find(message.full_name()).unwrap_or(0))
}

/// A singular string field directly below a message.
fn text_field(tables: &Tables, message: MessageId, name: &str) -> Option<FieldPath> {
    let table = tables.message(message.0);
    let field = table.field(table.slot_by_name(name.as_bytes())?);
    let fits = field.is_singular() && field.kind == Kind::Scalar(Scalar::String);
    fits.then(|| FieldPath::resolve(tables, message.0, name)).flatten()
}

/// `etag` of the one message field of a request that has an `etag`.
fn resource_etag(tables: &Tables, input: &MessageDescriptor) -> Option<FieldPath> {
    let mut found =
        input.fields().filter(|field| !field.is_list() && !field.is_map()).filter_map(|field| {
            let kind = field.kind();
            let resource = kind.as_message()?;
            text_field(tables, message_id(tables, resource), "etag")?;
            FieldPath::resolve(
                tables,
                message_id(tables, input).0,
                &format!("{}.etag", field.name()),
            )
        });
    found.next().filter(|_| found.next().is_none())
}

fn content(message: &MessageDescriptor) -> Content {
    match message.full_name() {
        "google.api.HttpBody" => Content::HttpBody,
        "google.longrunning.Operation" => Content::Operation,
        _ => Content::Message,
    }
}

/// What a field and an extension have in common.
struct Declared {
    number: u32,
    kind: prost_reflect::Kind,
    map: bool,
    list: bool,
    packed: bool,
    group: bool,
    presence: bool,
    json_name: String,
    proto_name: String,
}

#[derive(Default)]
struct Compiler {
    tables: Tables,
    enums: Names,
}

impl Compiler {
    fn run(mut self, pool: &DescriptorPool, problems: &mut Vec<Problem>) -> Tables {
        let enums: Vec<_> = pool.all_enums().collect();
        self.enums = Names::new(enums.iter().map(EnumDescriptor::full_name).zip(0..));
        self.tables.enums = enums.iter().map(enumeration).collect();
        let messages: Vec<_> = pool.all_messages().collect();
        self.tables.names = Names::new(messages.iter().map(MessageDescriptor::full_name).zip(0..));
        for message in &messages {
            if message.fields().len() > MAX_FIELDS {
                problems.push(Problem {
                    kind: ProblemKind::TooLarge,
                    places: vec![message.full_name().into()],
                    message: format!("a message has at most {MAX_FIELDS} fields"),
                });
            }
            let table = self.message(message);
            self.tables.messages.push(table);
        }
        self.tables
    }

    fn message(&mut self, message: &MessageDescriptor) -> MessageTable {
        let descriptors: Vec<_> = message.fields().take(MAX_FIELDS).collect();
        let extensions: Vec<_> =
            message.extensions().take(MAX_FIELDS - descriptors.len()).collect();
        let oneofs: Vec<_> = message.oneofs().filter(|oneof| !oneof.is_synthetic()).collect();
        let count = u32::try_from(descriptors.len() + extensions.len()).unwrap_or(NONE);
        let fields = descriptors.iter().map(|field| {
            let oneof = field
                .containing_oneof()
                .and_then(|oneof| oneofs.iter().position(|other| *other == oneof));
            let bit = oneof.and_then(|at| u32::try_from(at).ok()).map_or(NONE, |at| count + at);
            self.field(field, bit)
        });
        let mut fields: Vec<Field> = fields.collect();
        fields.extend(extensions.iter().map(|extension| self.extension(extension)));
        fields.sort_by_key(|field| field.number);
        let kind = self.message_kind(message, false);
        let oneofs = u32::try_from(oneofs.len()).unwrap_or(0);
        let options = message.descriptor_proto().options.as_ref();
        let mut table = MessageTable::new(message.full_name(), kind, fields, oneofs);
        table.message_set = options.is_some_and(|options| options.message_set_wire_format());
        table
    }

    fn field(&mut self, field: &FieldDescriptor, oneof: u32) -> Field {
        self.declared(
            &Declared {
                number: field.number(),
                kind: field.kind(),
                map: field.is_map(),
                list: field.is_list(),
                packed: field.is_packed(),
                group: field.is_group(),
                presence: field.supports_presence(),
                json_name: field.json_name().into(),
                proto_name: field.name().into(),
            },
            oneof,
        )
    }

    /// An extension is a field whose JSON name is its full name in brackets.
    fn extension(&mut self, extension: &ExtensionDescriptor) -> Field {
        let name = format!("[{}]", extension.full_name());
        self.declared(
            &Declared {
                number: extension.number(),
                kind: extension.kind(),
                map: extension.is_map(),
                list: extension.is_list(),
                packed: extension.is_packed(),
                group: extension.is_group(),
                presence: extension.supports_presence(),
                json_name: name.clone(),
                proto_name: name,
            },
            NONE,
        )
    }

    fn declared(&mut self, field: &Declared, oneof: u32) -> Field {
        let kind = self.kind(field);
        let cardinality = if field.map {
            let entry = field.kind.as_message().map(|entry| EntryTable {
                key: self.field(&entry.map_entry_key_field(), NONE),
                value: self.field(&entry.map_entry_value_field(), NONE),
            });
            let id = u32::try_from(self.tables.entries.len()).unwrap_or(NONE);
            self.tables.entries.extend(entry);
            Cardinality::Map(id)
        } else if field.list {
            Cardinality::List { packed: field.packed && kind.packable() }
        } else {
            Cardinality::Singular
        };
        let wire_type = match cardinality {
            Cardinality::List { packed: true } | Cardinality::Map(_) => LEN,
            _ => kind.wire_type(),
        };
        let message =
            field.kind.as_message().filter(|_| !field.map).map(MessageDescriptor::full_name);
        Field {
            number: field.number,
            tag: Tag::new(field.number, wire_type),
            kind,
            cardinality,
            message: message.and_then(|name| self.tables.find(name)).unwrap_or(NONE),
            oneof,
            seen: 0,
            presence: field.presence,
            json_name: field.json_name.as_str().into(),
            proto_name: field.proto_name.as_str().into(),
            json_key: Key::new(format!(",{}:", text::quoted(&field.json_name))),
            proto_key: Key::new(format!(",{}:", text::quoted(&field.proto_name))),
        }
    }

    fn kind(&self, field: &Declared) -> Kind {
        use prost_reflect::Kind as Type;
        Kind::Scalar(match &field.kind {
            Type::Double => Scalar::Double,
            Type::Float => Scalar::Float,
            Type::Int32 => Scalar::Int32,
            Type::Int64 => Scalar::Int64,
            Type::Uint32 => Scalar::Uint32,
            Type::Uint64 => Scalar::Uint64,
            Type::Sint32 => Scalar::Sint32,
            Type::Sint64 => Scalar::Sint64,
            Type::Fixed32 => Scalar::Fixed32,
            Type::Fixed64 => Scalar::Fixed64,
            Type::Sfixed32 => Scalar::Sfixed32,
            Type::Sfixed64 => Scalar::Sfixed64,
            Type::Bool => Scalar::Bool,
            Type::String => Scalar::String,
            Type::Bytes => Scalar::Bytes,
            Type::Enum(found) if found.full_name() == "google.protobuf.NullValue" => {
                return Kind::NullValue;
            }
            Type::Enum(found) => {
                return Kind::Enum(self.enums.get(found.full_name().as_bytes()).unwrap_or(NONE));
            }
            Type::Message(message) => return self.message_kind(message, field.group),
        })
    }

    fn message_kind(&self, message: &MessageDescriptor, group: bool) -> Kind {
        let id = self.tables.find(message.full_name()).unwrap_or(NONE);
        match message.full_name() {
            _ if group => Kind::Group(id),
            "google.protobuf.Timestamp" => Kind::Timestamp,
            "google.protobuf.Duration" => Kind::Duration,
            "google.protobuf.FieldMask" => Kind::FieldMask,
            "google.protobuf.Struct" => Kind::Struct,
            "google.protobuf.Value" => Kind::Value,
            "google.protobuf.ListValue" => Kind::ListValue,
            "google.protobuf.Any" => Kind::Any,
            "google.protobuf.DoubleValue" => Kind::Wrapper(Scalar::Double),
            "google.protobuf.FloatValue" => Kind::Wrapper(Scalar::Float),
            "google.protobuf.Int64Value" => Kind::Wrapper(Scalar::Int64),
            "google.protobuf.UInt64Value" => Kind::Wrapper(Scalar::Uint64),
            "google.protobuf.Int32Value" => Kind::Wrapper(Scalar::Int32),
            "google.protobuf.UInt32Value" => Kind::Wrapper(Scalar::Uint32),
            "google.protobuf.BoolValue" => Kind::Wrapper(Scalar::Bool),
            "google.protobuf.StringValue" => Kind::Wrapper(Scalar::String),
            "google.protobuf.BytesValue" => Kind::Wrapper(Scalar::Bytes),
            _ => Kind::Message(id),
        }
    }
}

fn enumeration(found: &EnumDescriptor) -> EnumTable {
    // In the order of the file: of two names for one number, the first is printed.
    let declared = found.enum_descriptor_proto().value.iter();
    let values: Vec<_> = declared.map(|value| (value.number(), value.name().to_owned())).collect();
    let closed = found.parent_file().syntax() == Syntax::Proto2;
    EnumTable::new(found.full_name(), &values, closed, found.default_value().number())
}
