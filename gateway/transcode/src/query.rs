//! Query parameters to wire bytes: `page_size=5&filter.state=OPEN&labels[a]=b`.

use crate::{
    binding::{BodyRule, Match},
    error::{RequestError, Source},
    json::{parse_duration, parse_timestamp, write_mask, write_text, write_time},
    options::RequestOptions,
    path::{FieldPath, Step},
    request::{Fixed, MAX_DEPTH, full, nest},
    route::decode_query,
    schema::{Cardinality, Field, Kind, Tables},
    wire::{Writer, small_tag},
};

/// How many parameters one query may have.
const MAX_PARAMETERS: usize = 1000;

/// The query of one request.
pub(crate) struct Query<'a> {
    found: &'a Match<'a>,
    options: &'a RequestOptions<'a>,
    fixed: &'a [Fixed<'a>],
    leaves: &'a [u8],
    /// What was named so far; lists only once.
    named: Vec<Named>,
}

struct Named {
    path: FieldPath,
    parameter: String,
    /// The key of a map.
    key: Option<String>,
}

/// Writes tag and value of a singular field, or of one element of a list, from text. The error says what was expected.
pub(crate) fn write_leaf(
    tables: &Tables,
    field: &Field,
    text: &str,
    out: &mut Writer<'_>,
) -> Result<bool, String> {
    if matches!(field.cardinality, Cardinality::List { packed: true }) {
        // A packed list of one.
        out.tag(field.tag).map_err(|_| limit())?;
        let body = out.open().map_err(|_| limit())?;
        write_value(tables, field, text, out)?;
        out.close(body).map_err(|_| limit())?;
        return Ok(false);
    }
    out.tag(field.tag).map_err(|_| limit())?;
    write_value(tables, field, text, out)
}

#[cold]
fn limit() -> String {
    "larger than the limit".into()
}

/// Writes a value without its tag; whether it is the default of its type.
fn write_value(
    tables: &Tables,
    field: &Field,
    text: &str,
    out: &mut Writer<'_>,
) -> Result<bool, String> {
    let shown = || text.chars().take(40).collect::<String>();
    match field.kind {
        Kind::Scalar(scalar) => write_text(out, scalar, text),
        Kind::Enum(enumeration) => {
            let table = tables.enumeration(enumeration);
            let number = table.number(text.as_bytes()).or_else(|| {
                let number = text.parse().ok()?;
                (!table.closed || table.name(number).is_some()).then_some(number)
            });
            let Some(number) = number else {
                let nearest = table
                    .nearest(text)
                    .map(|near| format!("; did you mean {near:?}?"))
                    .unwrap_or_default();
                return Err(format!("{:?} is no value of {}{nearest}", shown(), table.full_name));
            };
            out.varint(i64::from(number).cast_unsigned()).map_err(|_| limit())?;
            Ok(number == 0)
        }
        Kind::NullValue if matches!(text, "null" | "NULL_VALUE") => {
            out.byte(0).map(|()| true).map_err(|_| limit())
        }
        Kind::NullValue => Err(format!("expected null, found {:?}", shown())),
        kind => {
            let body = out.open().map_err(|_| limit())?;
            write_known(kind, text, out)?;
            out.close(body).map_err(|_| limit())?;
            Ok(false)
        }
    }
}

/// Writes the content of a well-known type that text can say.
fn write_known(kind: Kind, text: &str, out: &mut Writer<'_>) -> Result<(), String> {
    let shown = || text.chars().take(40).collect::<String>();
    match kind {
        Kind::Timestamp => {
            let time = parse_timestamp(text).ok_or_else(|| {
                format!("expected a time by RFC 3339, as 2026-01-31T12:00:00Z, found {:?}", shown())
            })?;
            write_time(out, time).map_err(|_| limit())
        }
        Kind::Duration => {
            let duration = parse_duration(text).ok_or_else(|| {
                format!("expected seconds with an s, as 1.5s, found {:?}", shown())
            })?;
            write_time(out, duration).map_err(|_| limit())
        }
        Kind::FieldMask => match write_mask(out, text, true).map_err(|_| limit())? {
            None => Ok(()),
            Some(path) => Err(format!("{path:?} is no field path")),
        },
        Kind::Wrapper(scalar) => {
            let start = out.position();
            out.byte(small_tag(1, scalar.wire_type())).map_err(|_| limit())?;
            if write_text(out, scalar, text)? {
                out.rewind(start);
            }
            Ok(())
        }
        _ => Err("is a message, which a query cannot say; name one of its fields, as a.b=1".into()),
    }
}

impl<'a> Query<'a> {
    pub(crate) fn new(
        found: &'a Match<'a>,
        options: &'a RequestOptions<'a>,
        fixed: &'a [Fixed<'a>],
        leaves: &'a [u8],
    ) -> Self {
        Self { found, options, fixed, leaves, named: Vec::new() }
    }

    /// Whether a parameter named this field.
    pub(crate) fn names(&self, path: &FieldPath) -> bool {
        self.named.iter().any(|named| named.path == *path)
    }

    /// Writes every parameter.
    pub(crate) fn write(&mut self, query: &str, out: &mut Writer<'_>) -> Result<(), RequestError> {
        let mut leaf = Vec::new();
        for (count, part) in query.split('&').filter(|part| !part.is_empty()).enumerate() {
            let (raw_name, raw_value) = part.split_once('=').unwrap_or((part, ""));
            let refused = |message: &str| RequestError::Parameter {
                from: Source::Query(raw_name.into()),
                field: raw_name.into(),
                message: message.into(),
            };
            if count >= MAX_PARAMETERS {
                return Err(refused(
                    "a query has at most 1000 parameters; send the rest in another request",
                ));
            }
            let broken =
                "holds a broken percent-escape; escape the UTF-8 bytes of the text, as %C3%BC";
            let name = decode_query(raw_name).ok_or_else(|| refused(broken))?;
            let value = decode_query(raw_value).ok_or_else(|| refused(broken))?;
            self.parameter(&name, &value, &mut leaf, out)?;
        }
        Ok(())
    }

    fn refuse(name: &str, message: String) -> RequestError {
        RequestError::Parameter { from: Source::Query(name.into()), field: name.into(), message }
    }

    fn parameter(
        &mut self,
        name: &str,
        value: &str,
        leaf: &mut Vec<u8>,
        out: &mut Writer<'_>,
    ) -> Result<(), RequestError> {
        let tables = &self.found.schema.tables;
        let input = tables.message(self.found.method().input.0);
        if self.options.edge_parameters.contains(&name)
            && input.slot_by_name(name.as_bytes()).is_none()
        {
            return Ok(());
        }
        if self.found.binding.body == BodyRule::Whole && !self.options.form {
            return Err(Self::refuse(
                name,
                "this method takes its fields in the body; send it there".into(),
            ));
        }
        let (path_text, key) = match name.split_once('[') {
            Some((path, key)) => match key.strip_suffix(']') {
                Some(key) => (path, Some(key)),
                None => {
                    return Err(Self::refuse(name, "lacks the closing ] of a map's key".into()));
                }
            },
            None => (name, None),
        };
        let Some(path) = self.resolve(name, path_text)? else { return Ok(()) };
        let field = crate::request::field(tables, &path);
        leaf.clear();
        let mut writer = Writer::new(leaf, name.len() + value.len() + 16, usize::MAX >> 2);
        let written = match (field.cardinality, key) {
            (Cardinality::Map(entry), Some(key)) => {
                let entry = tables.entry(entry);
                if !entry.value.kind.is_text() {
                    let message =
                        "is a map of messages, which a query cannot say; use a method with a body"
                            .into();
                    return Err(Self::refuse(name, message));
                }
                write_entry(tables, field, entry, key, value, &mut writer)
            }
            (Cardinality::Map(_), None) => {
                return Err(Self::refuse(name, format!("is a map; write {name}[key]=value")));
            }
            (_, Some(_)) => {
                return Err(Self::refuse(
                    name,
                    format!("`{path_text}` is no map, so it has no keys"),
                ));
            }
            (Cardinality::List { .. }, None) if !field.kind.is_text() => {
                let message =
                    "is a list of messages, which a query cannot say; use a method with a body"
                        .into();
                return Err(Self::refuse(name, message));
            }
            (Cardinality::List { .. } | Cardinality::Singular, None) => {
                write_leaf(tables, field, value, &mut writer)
            }
        };
        writer.finish();
        let default = written.map_err(|message| Self::refuse(name, message))?;
        if self.clashes(name, &path, key, leaf)? {
            return Ok(());
        }
        // A default without presence says nothing.
        if !default || field.presence || !field.is_singular() {
            nest(tables, &path, leaf, out).map_err(full)?;
        }
        Ok(())
    }

    /// The field of a parameter; `None` for an unknown one that is to be skipped.
    fn resolve(&self, name: &str, path: &str) -> Result<Option<FieldPath>, RequestError> {
        let tables = &self.found.schema.tables;
        let mut at = self.found.method().input.0;
        let mut steps = Vec::new();
        let mut names = Vec::new();
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
            let table = tables.message(at);
            let Some(slot) = table.slot_by_name(part.as_bytes()) else {
                if self.options.parse.ignore_unknown_fields {
                    return Ok(None);
                }
                let nearest = table
                    .nearest(part)
                    .map(|near| format!("; did you mean `{near}`?"))
                    .unwrap_or_default();
                return Err(Self::refuse(
                    name,
                    format!("`{part}` is no field of {}{nearest}", table.full_name),
                ));
            };
            let field = table.field(slot);
            steps.push(Step { message: at, slot, number: field.number });
            names.push(&*field.proto_name);
            if parts.peek().is_none() {
                break;
            }
            if steps.len() >= MAX_DEPTH {
                return Err(Self::refuse(name, "reaches too deep".into()));
            }
            match (field.cardinality, field.kind) {
                (Cardinality::Singular, Kind::Message(child)) => at = child,
                (Cardinality::Singular, _) => {
                    return Err(Self::refuse(name, format!("`{part}` has no fields of its own")));
                }
                _ => {
                    let message =
                        format!("`{part}` is a list or map; a query cannot reach into it");
                    return Err(Self::refuse(name, message));
                }
            }
        }
        Ok(Some(FieldPath { text: names.join(".").into(), steps: steps.into() }))
    }

    /// Refuses what another part of the request, or another parameter, sets already; notes the parameter. Whether what
    /// is set already is the same, and allowed to be.
    fn clashes(
        &mut self,
        name: &str,
        path: &FieldPath,
        key: Option<&str>,
        leaf: &[u8],
    ) -> Result<bool, RequestError> {
        let tables = &self.found.schema.tables;
        let conflict = |first: Source| {
            Err(RequestError::Conflict {
                field: path.as_str().into(),
                first,
                second: Source::Query(name.into()),
            })
        };
        if let BodyRule::Field(body) = &self.found.binding.body
            && body.clashes(tables, path)
        {
            return conflict(Source::Body);
        }
        for fixed in self.fixed {
            if fixed.path.clashes(tables, path) {
                if self.options.allow_agreeing
                    && fixed.path == path
                    && fixed.leaf(self.leaves) == leaf
                {
                    return Ok(true);
                }
                return conflict(fixed.source());
            }
        }
        let field = crate::request::field(tables, path);
        for named in &self.named {
            let same = named.path == *path;
            match field.cardinality {
                Cardinality::List { .. } if same => return Ok(false),
                Cardinality::Map(_) if same && named.key.as_deref() != key => {}
                _ if same || named.path.clashes(tables, path) => {
                    return conflict(Source::Query(named.parameter.clone()));
                }
                _ => {}
            }
        }
        self.named.push(Named {
            path: path.clone(),
            parameter: name.into(),
            key: key.map(str::to_owned),
        });
        Ok(false)
    }
}

fn write_entry(
    tables: &Tables,
    field: &Field,
    entry: &crate::schema::EntryTable,
    key: &str,
    value: &str,
    out: &mut Writer<'_>,
) -> Result<bool, String> {
    let Kind::Scalar(scalar) = entry.key.kind else { return Ok(false) };
    out.tag(field.tag).map_err(|_| limit())?;
    let body = out.open().map_err(|_| limit())?;
    out.tag(entry.key.tag).map_err(|_| limit())?;
    write_text(out, scalar, key).map_err(|message| format!("in its key: {message}"))?;
    out.tag(entry.value.tag).map_err(|_| limit())?;
    write_value(tables, &entry.value, value, out)?;
    out.close(body).map_err(|_| limit())?;
    Ok(false)
}
