//! Path templates and paths. Two templates, one a line, become bindings if the audit takes them; the paths behind them
//! are routed, and must go where a plain reading of the templates says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DynamicMessage, Value,
    prost_types::{
        DescriptorProto, FieldDescriptorProto, FileDescriptorProto, MethodDescriptorProto,
        ServiceDescriptorProto,
        field_descriptor_proto::{Label, Type},
    },
};
use transcode::Schema;
use transcode_fuzz::RULES;

fuzz_target!(|input: &str| {
    let mut lines = input.lines();
    let templates = [lines.next().unwrap_or_default(), lines.next().unwrap_or_default()];
    let (schema, problems) = Schema::lenient(&contract(templates));
    for problem in &problems {
        assert!(!problem.message.is_empty() && !problem.places.is_empty());
    }
    let bound: Vec<(&str, Vec<&str>, Option<&str>)> = schema
        .bindings()
        .iter()
        .filter(|binding| !binding.is_rpc() && binding.http_method() == "REPORT")
        .map(|binding| {
            let (segments, verb) = read(binding.pattern());
            (binding.pattern(), segments, verb)
        })
        .collect();
    for path in lines.take(20) {
        let routed = schema.route("REPORT", path);
        let expected = bound.iter().any(|(_, segments, verb)| takes(segments, *verb, path));
        let error = routed.as_ref().err();
        assert_eq!(error.is_none(), expected, "{bound:?} {path:?} {error:?}");
        if let Ok(found) = routed {
            let (_, segments, verb) =
                bound.iter().find(|(pattern, _, _)| *pattern == found.binding().pattern()).unwrap();
            assert!(takes(segments, *verb, path), "{segments:?} {verb:?} {path:?}");
            for (field, value) in found.variables() {
                // What was not escaped stands in the path as it is.
                assert!(path.contains('%') || path.contains(&*value), "{field:?} {value:?}");
            }
        }
    }
});

/// A service of two methods with these templates.
fn contract(templates: [&str; 2]) -> DescriptorPool {
    let rule = RULES.get_message_by_name("google.api.HttpRule").unwrap();
    let pattern = RULES.get_message_by_name("google.api.CustomHttpPattern").unwrap();
    let mut service =
        ServiceDescriptorProto { name: Some("Fuzz".into()), ..ServiceDescriptorProto::default() };
    for name in ["A", "B"] {
        service.method.push(MethodDescriptorProto {
            name: Some(name.into()),
            input_type: Some(".fuzz.Thing".into()),
            output_type: Some(".fuzz.Thing".into()),
            ..MethodDescriptorProto::default()
        });
    }
    let file = FileDescriptorProto {
        name: Some("fuzz.proto".into()),
        package: Some("fuzz".into()),
        dependency: vec!["google/api/annotations.proto".into()],
        message_type: vec![DescriptorProto {
            name: Some("Thing".into()),
            field: vec![
                field("name", 1, Type::String),
                field("token", 2, Type::String),
                field("limit", 3, Type::Int32),
                field("filter", 4, Type::Message),
            ],
            ..DescriptorProto::default()
        }],
        service: vec![service],
        syntax: Some("proto3".into()),
        ..FileDescriptorProto::default()
    };
    // The rules are extensions, which prost's own type of the options has no room for.
    let descriptor = RULES.get_message_by_name("google.protobuf.FileDescriptorProto").unwrap();
    let mut file = DynamicMessage::decode(descriptor, &*file.encode_to_vec()).unwrap();
    let extension = RULES.get_extension_by_name("google.api.http").unwrap();
    let options = RULES.get_message_by_name("google.protobuf.MethodOptions").unwrap();
    if let Some(Value::List(services)) = file.get_field_by_name_mut("service")
        && let Some(Value::Message(service)) = services.first_mut()
        && let Some(Value::List(methods)) = service.get_field_by_name_mut("method")
    {
        for (method, template) in methods.iter_mut().zip(templates) {
            let mut custom = DynamicMessage::new(pattern.clone());
            custom.set_field_by_name("kind", Value::String("REPORT".into()));
            custom.set_field_by_name("path", Value::String(template.into()));
            let mut http = DynamicMessage::new(rule.clone());
            http.set_field_by_name("custom", Value::Message(custom));
            let mut set = DynamicMessage::new(options.clone());
            set.set_extension(&extension, Value::Message(http));
            if let Value::Message(method) = method {
                method.set_field_by_name("options", Value::Message(set));
            }
        }
    }
    let mut pool = RULES.clone();
    pool.decode_file_descriptor_proto(&*file.encode_to_vec()).unwrap();
    pool
}

fn field(name: &str, number: i32, kind: Type) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        type_name: (kind == Type::Message).then(|| ".fuzz.Thing".into()),
        ..FieldDescriptorProto::default()
    }
}

/// Segments and verb of a template that the audit took.
fn read(pattern: &str) -> (Vec<&str>, Option<&str>) {
    let last = pattern.rfind(['/', '}']).map_or(0, |at| at + 1);
    let (path, verb) = match pattern[last..].find(':') {
        Some(colon) => (&pattern[..last + colon], Some(&pattern[last + colon + 1..])),
        None => (pattern, None),
    };
    let mut segments = Vec::new();
    let mut rest = path.strip_prefix('/').unwrap();
    while !rest.is_empty() {
        let (piece, after) = match rest.strip_prefix('{') {
            Some(variable) => {
                let (variable, after) = variable.split_once('}').unwrap();
                (variable.split_once('=').map_or("*", |(_, pattern)| pattern), after)
            }
            None => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        };
        segments.extend(piece.split('/'));
        rest = after.strip_prefix('/').unwrap_or(after);
    }
    (segments, verb)
}

/// Whether a template takes a path: its verb behind the last colon, its segments one by one.
fn takes(segments: &[&str], verb: Option<&str>, path: &str) -> bool {
    let Some(path) = path.strip_prefix('/') else { return false };
    let path = match verb {
        Some(verb) => {
            let last = path.rfind('/').map_or(0, |at| at + 1);
            let Some(colon) = path[last..].rfind(':') else { return false };
            if &path[last + colon + 1..] != verb {
                return false;
            }
            &path[..last + colon]
        }
        None => path,
    };
    let found: Vec<&str> = if path.is_empty() { Vec::new() } else { path.split('/').collect() };
    let Some(decoded) = found.iter().map(|segment| decode(segment)).collect::<Option<Vec<_>>>()
    else {
        return false;
    };
    if found.iter().any(|segment| segment.is_empty()) {
        return false;
    }
    let single = |(segment, text): (&&str, &String)| *segment == "*" || **segment == **text;
    match segments.split_last() {
        Some((&"**", first)) => {
            decoded.len() >= first.len() && first.iter().zip(&decoded).all(single)
        }
        _ => decoded.len() == segments.len() && segments.iter().zip(&decoded).all(single),
    }
}

fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = segment.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (hex, after) = rest.split_at_checked(2)?;
        if !hex.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}
