//! `google.api.http`: the rules of all methods, checked and put into the trie.

use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, Value};

use super::{
    NONE,
    table::{Cardinality, Kind, Tables},
};
use crate::{
    binding::{Binding, BindingId, BodyRule},
    error::{Problem, ProblemKind},
    method::Method,
    path::FieldPath,
    route::{Segment, Template, Trie},
    text,
    wire::index,
};

/// A rule as the contract has it.
struct Rule {
    http_method: String,
    path: String,
    body: String,
    response_body: String,
}

/// Makes the bindings of all methods; what is wrong is reported and left out.
pub(super) fn bind(
    pool: &DescriptorPool,
    tables: &Tables,
    methods: &mut [Method],
    problems: &mut Vec<Problem>,
) -> (Vec<Binding>, Trie) {
    let mut bindings: Vec<Binding> = Vec::new();
    let mut trie = Trie::new();
    let extension = pool.get_extension_by_name("google.api.http");
    for at in 0..methods.len() {
        let mut rules = Vec::new();
        if let Some(extension) = &extension {
            let options = methods[at].descriptor.options();
            if options.has_extension(extension)
                && let Value::Message(rule) = &*options.get_extension(extension)
            {
                collect(&methods[at].descriptor, rule, false, &mut rules, problems);
            }
        }
        let declared = rules.len();
        rules.push(Rule {
            http_method: "POST".into(),
            path: methods[at].path.to_string(),
            body: "*".into(),
            response_body: String::new(),
        });
        for (nth, rule) in rules.iter().enumerate() {
            let rpc = nth == declared;
            let id = BindingId(u32::try_from(bindings.len()).unwrap_or(NONE));
            let mut audit = Audit { tables, method: &methods[at], rule, found: Vec::new() };
            let binding = audit.binding(id, rpc);
            problems.append(&mut audit.found);
            let Some(binding) = binding else { continue };
            if let Err(other) = trie.insert(&binding.template, &binding.http_method, id.0) {
                let other = bindings.get(index(other)).map(|other| {
                    place(
                        &methods[index(other.method.0)].descriptor,
                        &other.http_method,
                        other.template.text(),
                    )
                });
                let here = place(&methods[at].descriptor, &rule.http_method, &rule.path);
                problems.push(Problem {
                    kind: ProblemKind::Ambiguous,
                    places: other.into_iter().chain([here]).collect(),
                    message: "both take the same requests; give one of them a path or a method of its own".into(),
                });
                continue;
            }
            bindings.push(binding);
            if rpc {
                methods[at].rpc = id;
            } else {
                methods[at].bindings.push(id);
            }
        }
    }
    (bindings, trie)
}

fn place(method: &MethodDescriptor, http_method: &str, path: &str) -> String {
    format!("{} ({http_method} {path})", method.full_name())
}

fn text(rule: &DynamicMessage, name: &str) -> String {
    rule.get_field_by_name(name)
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// The rule and its additional bindings.
fn collect(
    method: &MethodDescriptor,
    rule: &DynamicMessage,
    nested: bool,
    rules: &mut Vec<Rule>,
    problems: &mut Vec<Problem>,
) {
    let mut problem = |message: &str| {
        problems.push(Problem {
            kind: ProblemKind::Rule,
            places: vec![method.full_name().to_owned()],
            message: message.to_owned(),
        });
    };
    let fixed = ["get", "put", "post", "delete", "patch"]
        .into_iter()
        .find(|name| rule.has_field_by_name(name));
    let pattern = match fixed {
        Some(name) => Some((name.to_uppercase(), text(rule, name))),
        None => match rule.get_field_by_name("custom").filter(|_| rule.has_field_by_name("custom"))
        {
            Some(custom) => {
                custom.as_message().map(|custom| (text(custom, "kind"), text(custom, "path")))
            }
            None => None,
        },
    };
    match pattern {
        Some((kind, _))
            if kind.is_empty()
                || !(kind == "*"
                    || kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')) =>
        {
            problem("a custom pattern needs a kind: the name of the HTTP method, or `*` for any");
        }
        Some((http_method, path)) => rules.push(Rule {
            http_method,
            path,
            body: text(rule, "body"),
            response_body: text(rule, "response_body"),
        }),
        None => {
            problem("the http rule has no pattern; give it get, put, post, delete, patch or custom")
        }
    }
    if let Some(Value::List(additional)) = rule.get_field_by_name("additional_bindings").as_deref()
    {
        if nested && !additional.is_empty() {
            problem("additional bindings have no additional bindings of their own");
            return;
        }
        for rule in additional.iter().filter_map(Value::as_message) {
            collect(method, rule, true, rules, problems);
        }
    }
}

/// The checks of one rule.
struct Audit<'a> {
    tables: &'a Tables,
    method: &'a Method,
    rule: &'a Rule,
    found: Vec<Problem>,
}

impl Audit<'_> {
    fn report(&mut self, kind: ProblemKind, message: String) {
        let place = place(&self.method.descriptor, &self.rule.http_method, &self.rule.path);
        self.found.push(Problem { kind, places: vec![place], message });
    }

    fn binding(&mut self, id: BindingId, rpc: bool) -> Option<Binding> {
        let template = match Template::parse(&self.rule.path) {
            Ok(template) => template,
            Err(message) => {
                self.report(ProblemKind::Template, message);
                return None;
            }
        };
        self.reachable(&template);
        let body = self.body();
        let response_body = self.response_body();
        let fields: Vec<String> = template.variable_fields().map(str::to_owned).collect();
        let variables: Vec<FieldPath> =
            fields.iter().filter_map(|field| self.variable(field)).collect();
        self.overlaps(&variables, body.as_ref());
        if !self.found.is_empty() {
            return None;
        }
        let body = body?;
        Some(Binding {
            id,
            method: self.method.id,
            http_method: self.rule.http_method.as_str().into(),
            update_mask: self.update_mask(&body),
            template,
            variables,
            body,
            response_body: response_body?,
            rpc,
        })
    }

    /// What no client can send.
    fn reachable(&mut self, template: &Template) {
        let fixed = ["get", "put", "post", "delete", "patch", "head", "options"];
        if fixed.contains(&self.rule.http_method.as_str()) {
            let message = format!(
                "HTTP methods are upper case; write the kind as {}",
                self.rule.http_method.to_uppercase()
            );
            self.report(ProblemKind::Unreachable, message);
        }
        let dots = |segment: &Segment| matches!(segment, Segment::Literal(text) if matches!(&**text, "." | ".."));
        if template.segments().iter().any(dots) {
            let message = "clients and proxies resolve `.` and `..` before they send a path".into();
            self.report(ProblemKind::Unreachable, message);
        }
    }

    /// `None` if the rule's body is wrong.
    fn body(&mut self) -> Option<BodyRule> {
        match self.rule.body.as_str() {
            "" => Some(BodyRule::None),
            "*" => Some(BodyRule::Whole),
            name => self.top_field("body", self.method.input.0, name).map(BodyRule::Field),
        }
    }

    fn response_body(&mut self) -> Option<Option<FieldPath>> {
        match self.rule.response_body.as_str() {
            "" => Some(None),
            name => self.top_field("response_body", self.method.output.0, name).map(Some),
        }
    }

    fn top_field(&mut self, what: &str, message: u32, name: &str) -> Option<FieldPath> {
        let table = self.tables.message(message);
        let found =
            FieldPath::resolve(self.tables, message, name).filter(|path| path.steps.len() == 1);
        if found.is_none() {
            let nearest = table
                .nearest(name)
                .map(|near| format!("; did you mean `{near}`?"))
                .unwrap_or_default();
            let message =
                format!("{what} names `{name}`, which is no field of {}{nearest}", table.full_name);
            self.report(ProblemKind::Body, message);
        }
        found
    }

    /// The field of a variable, which must hold what a path segment can say.
    fn variable(&mut self, name: &str) -> Option<FieldPath> {
        let mut at = self.method.input.0;
        let mut parts = name.split('.').peekable();
        while let Some(part) = parts.next() {
            let table = self.tables.message(at);
            let Some(slot) = table.slot_by_name(part.as_bytes()) else {
                let nearest =
                    text::nearest(part, table.fields.iter().map(|field| &*field.proto_name));
                let nearest =
                    nearest.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                let message =
                    format!("the variable `{name}` names no field of {}{nearest}", table.full_name);
                self.report(ProblemKind::Variable, message);
                return None;
            };
            let field = table.field(slot);
            if field.cardinality != Cardinality::Singular {
                self.report(
                    ProblemKind::Variable,
                    format!("the variable `{name}` goes through `{part}`, a list or map"),
                );
                return None;
            }
            match (parts.peek(), field.kind) {
                (Some(_), Kind::Message(child)) => at = child,
                (Some(_), _) => {
                    self.report(
                        ProblemKind::Variable,
                        format!("`{part}` in the variable `{name}` has no fields"),
                    );
                    return None;
                }
                (None, Kind::Scalar(_) | Kind::Enum(_)) => {}
                (None, _) => {
                    let message = format!(
                        "the variable `{name}` is a message; a path can hold a scalar only"
                    );
                    self.report(ProblemKind::Variable, message);
                    return None;
                }
            }
        }
        FieldPath::resolve(self.tables, self.method.input.0, name)
    }

    /// Fields that more than one part of a request would set.
    fn overlaps(&mut self, variables: &[FieldPath], body: Option<&BodyRule>) {
        for (nth, variable) in variables.iter().enumerate() {
            if let Some(other) =
                variables.iter().take(nth).find(|other| other.clashes(self.tables, variable))
            {
                let message = format!(
                    "the variables `{}` and `{}` are the same field or of one oneof; only one of them can be set",
                    other.as_str(),
                    variable.as_str()
                );
                self.report(ProblemKind::Override, message);
            }
            if let Some(BodyRule::Field(field)) = body
                && (field == variable
                    || variable.steps.len() == 1 && field.clashes(self.tables, variable))
            {
                let message = format!(
                    "path and body both set `{}`; take it out of one of them",
                    variable.as_str()
                );
                self.report(ProblemKind::Override, message);
            }
        }
    }

    /// The mask that a PATCH of one resource may derive: `update_mask`, or the only FieldMask there is.
    fn update_mask(&self, body: &BodyRule) -> Option<FieldPath> {
        let BodyRule::Field(body) = body else { return None };
        if self.rule.http_method != "PATCH" {
            return None;
        }
        let table = self.tables.message(self.method.input.0);
        let resource = table.field(body.steps.first()?.slot);
        if !resource.is_singular() || !matches!(resource.kind, Kind::Message(_)) {
            return None;
        }
        let is_mask = |field: &&super::Field| field.is_singular() && field.kind == Kind::FieldMask;
        let mut masks = table.fields.iter().filter(is_mask);
        let named =
            table.fields.iter().filter(is_mask).find(|field| &*field.proto_name == "update_mask");
        let only = masks.next().filter(|_| masks.next().is_none());
        FieldPath::resolve(self.tables, self.method.input.0, &named.or(only)?.proto_name)
    }
}

impl FieldPath {
    /// Whether setting both would lose one: one holds the other, or they part within a oneof.
    pub(crate) fn clashes(&self, tables: &Tables, other: &Self) -> bool {
        for (a, b) in self.steps.iter().zip(&other.steps) {
            if a.slot != b.slot {
                let table = tables.message(a.message);
                let oneof = table.field(a.slot).oneof;
                return oneof != NONE && oneof == table.field(b.slot).oneof;
            }
        }
        true
    }
}
