//! A whole HTTP request to wire bytes: body, query, headers and path in one buffer.
//!
//! The parts are written one behind the other. That is enough, since on the wire a message may come in parts: two
//! variables below `product` are two occurrences of `product`, which every decoder merges. The path comes last, so that
//! it would win even where a conflict went unseen.

use crate::{
    binding::{BodyRule, Match},
    error::{JsonError, JsonErrorKind, RequestError, Source},
    http_body::HttpBody,
    json::{Guard, MAX_GUARDS, Mask, Parser, Scope},
    method::Content,
    options::{Body, File, RequestOptions},
    path::{FieldPath, Raw},
    query::{Query, write_leaf},
    schema::{Cardinality, Field, Kind, Scalar, Tables},
    wire::{Full, LEN, Reader, Tag, Writer},
};

/// A field that the path or a header sets, written and waiting.
pub(crate) struct Fixed<'a> {
    pub(crate) path: &'a FieldPath,
    pub(crate) header: Option<&'a str>,
    /// Its tag and value in the leaves.
    start: usize,
    end: usize,
}

impl Fixed<'_> {
    pub(crate) fn source(&self) -> Source {
        self.header.map_or(Source::Path, |name| Source::Header(name.into()))
    }

    pub(crate) fn leaf<'l>(&self, leaves: &'l [u8]) -> &'l [u8] {
        leaves.get(self.start..self.end).unwrap_or_default()
    }
}

/// Appends the wire bytes of a request.
pub(crate) fn build(
    found: &Match<'_>,
    query: &str,
    body: Body<'_>,
    options: &RequestOptions<'_>,
    out: &mut Vec<u8>,
) -> Result<(), RequestError> {
    let start = out.len();
    let built = parts(found, query, body, options, out);
    if built.is_err() {
        out.truncate(start);
    }
    built
}

fn parts(
    found: &Match<'_>,
    query: &str,
    body: Body<'_>,
    options: &RequestOptions<'_>,
    out: &mut Vec<u8>,
) -> Result<(), RequestError> {
    let tables = &found.schema.tables;
    let start = out.len();
    let mut leaves = Vec::new();
    let fixed = fixed(found, options, &mut leaves)?;
    let mut mask = None;
    match (&found.binding.body, body) {
        (_, Body::None | Body::Json([])) => {}
        (BodyRule::None, _) => {
            return Err(RequestError::UnexpectedBody { method: found.method().full_name().into() });
        }
        (rule, Body::Json(json)) => {
            mask = json_body(found, rule, json, &fixed, &leaves, options, out)?
        }
        (BodyRule::Whole, Body::Wire(wire)) => out.extend_from_slice(wire),
        (BodyRule::Whole, Body::Raw { content_type, data }) => {
            if found.method().input_content() != Content::HttpBody {
                return Err(unsupported("this method takes a body of JSON"));
            }
            HttpBody { content_type, data }.encode(out);
        }
        (BodyRule::Field(path), Body::Wire(wire)) => {
            let field = field(tables, path);
            if field.message == crate::schema::NONE || !field.is_singular() {
                return Err(unsupported("the body of this method is no message; send it as JSON"));
            }
            embed(out, field.number, wire);
        }
        (BodyRule::Field(path), Body::Raw { content_type, data }) => {
            if !field(tables, path).is_singular() {
                return Err(unsupported("this method takes a body of JSON"));
            }
            file(tables, &File { field: path, content_type, data }, out)?;
        }
        (rule, Body::Files(files)) => {
            for (nth, at) in files.iter().enumerate() {
                place(tables, rule, files.get(..nth).unwrap_or_default(), at, &fixed)?;
                file(tables, at, out)?;
            }
        }
    }
    if options.continued {
        return repeat(tables, &fixed, &leaves, start, out).map_err(full);
    }
    if query.is_empty() && fixed.is_empty() && mask.is_none() {
        return Ok(());
    }
    let mut writer = Writer::new(out, query.len() + leaves.len() * 2, usize::MAX >> 2);
    let mut parameters = Query::new(found, options, &fixed, &leaves);
    parameters.write(query, &mut writer)?;
    let explicit = found.binding.update_mask.as_ref().filter(|path| parameters.names(path));
    if let (Some(mask), Some(path), None) = (&mask, &found.binding.update_mask, explicit) {
        let field = field(tables, path);
        let written = (|| {
            writer.tag(field.tag)?;
            writer.varint(u64::try_from(mask.wire.len()).unwrap_or(0))?;
            writer.bytes(&mask.wire)
        })();
        written.map_err(full)?;
    }
    for fixed in fixed.iter().rev() {
        nest(tables, fixed.path, fixed.leaf(&leaves), &mut writer).map_err(full)?;
    }
    writer.finish();
    match (mask, explicit) {
        (Some(mask), Some(path)) if options.mask_covers_body => {
            covers(path, out.get(start..).unwrap_or_default(), &mask)
        }
        _ => Ok(()),
    }
}

/// Refuses a mask of the client's own that leaves out what the body names.
fn covers(path: &FieldPath, wire: &[u8], named: &Mask) -> Result<(), RequestError> {
    let Some(Raw::Bytes(explicit)) = path.find(wire) else { return Ok(()) };
    let holds = |named: &str| {
        mask_paths(explicit).any(|path| {
            let rest = named.strip_prefix(path);
            path == "*" || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    match mask_paths(&named.wire).find(|named| !holds(named)) {
        None => Ok(()),
        Some(missing) => Err(RequestError::Parameter {
            from: Source::Query(path.as_str().into()),
            field: path.as_str().into(),
            message: format!(
                "leaves out `{missing}`, which the merge patch changes; add it, or leave the mask to the body"
            ),
        }),
    }
}

/// The paths of a FieldMask's wire bytes.
fn mask_paths(wire: &[u8]) -> impl Iterator<Item = &str> {
    let mut reader = Reader::new(wire);
    std::iter::from_fn(move || {
        while !reader.is_empty() {
            let (number, kind) = reader.tag()?;
            if let (1, Raw::Bytes(path)) = (number, reader.raw(number, kind)??) {
                return std::str::from_utf8(path).ok();
            }
        }
        None
    })
}

/// Writes what path and headers set into `leaves`.
fn fixed<'a>(
    found: &'a Match<'a>,
    options: &'a RequestOptions<'_>,
    leaves: &mut Vec<u8>,
) -> Result<Vec<Fixed<'a>>, RequestError> {
    let tables = &found.schema.tables;
    let mut fixed: Vec<Fixed<'a>> = Vec::new();
    if found.binding.variables.is_empty() && options.headers.is_empty() {
        return Ok(fixed);
    }
    let mut add = |path: &'a FieldPath, header: Option<&'a str>, text: &str| {
        let start = leaves.len();
        let mut writer = Writer::new(leaves, text.len() + 16, usize::MAX >> 2);
        let written = write_leaf(tables, field(tables, path), text, &mut writer);
        writer.finish();
        let source = header.map_or(Source::Path, |name| Source::Header(name.into()));
        written.map_err(|message| RequestError::Parameter {
            from: source,
            field: path.as_str().into(),
            message,
        })?;
        let new = Fixed { path, header, start, end: leaves.len() };
        if let Some(other) = fixed.iter().find(|other| other.path.clashes(tables, path)) {
            if options.allow_agreeing
                && other.path == path
                && other.leaf(leaves) == new.leaf(leaves)
            {
                return Ok(());
            }
            return Err(RequestError::Conflict {
                field: path.as_str().into(),
                first: other.source(),
                second: new.source(),
            });
        }
        fixed.push(new);
        Ok(())
    };
    for (path, value) in found.variables() {
        add(path, None, &value)?;
    }
    for header in options.headers.iter().take(MAX_GUARDS / 2) {
        add(header.field, Some(header.header), header.value)?;
    }
    Ok(fixed)
}

fn json_body(
    found: &Match<'_>,
    rule: &BodyRule,
    json: &[u8],
    fixed: &[Fixed<'_>],
    leaves: &[u8],
    options: &RequestOptions<'_>,
    out: &mut Vec<u8>,
) -> Result<Option<Mask>, RequestError> {
    let tables = &found.schema.tables;
    let guards: Vec<Guard<'_>> = fixed
        .iter()
        .map(|fixed| Guard {
            path: fixed.path,
            header: fixed.header,
            agreeing: options.allow_agreeing.then(|| fixed.leaf(leaves)),
            earlier: options.continued,
        })
        .collect();
    let mut parser =
        Parser::new(tables, json, out, &options.parse).map_err(|error| error.located(json))?;
    parser.guards = &guards;
    let parsed = match rule {
        BodyRule::None => Ok(()),
        BodyRule::Whole => {
            let table = tables.message(found.method().input.0);
            parser.root(table, Scope::top(guards.len()))
        }
        BodyRule::Field(path) => {
            let field = field(tables, path);
            let mut scope =
                Scope::of_field(&guards, path.steps.first().map_or(0, |step| step.slot));
            if options.derive_update_mask && found.binding.update_mask.is_some() {
                parser.mask = Some(Mask::default());
                scope = scope.masked();
            }
            parser.body_field(field, scope).map_err(|error| error.within(&field.json_name))
        }
    };
    match parsed.and_then(|()| parser.end()) {
        Ok(()) => {
            let mask = parser.mask.take();
            parser.out.finish();
            Ok(mask)
        }
        Err(error) => {
            parser.out.abandon();
            Err(error.located(json).into())
        }
    }
}

/// Writes a leaf below the messages that lead to it.
pub(crate) fn nest(
    tables: &Tables,
    path: &FieldPath,
    leaf: &[u8],
    writer: &mut Writer<'_>,
) -> Result<(), Full> {
    let Some((_, above)) = path.steps.split_last() else { return Ok(()) };
    let mut bodies = [0; MAX_DEPTH];
    for (body, step) in bodies.iter_mut().zip(above) {
        writer.tag(tables.message(step.message).field(step.slot).tag)?;
        *body = writer.open()?;
    }
    writer.bytes(leaf)?;
    for body in bodies.iter().take(above.len()).rev() {
        writer.close(*body)?;
    }
    Ok(())
}

/// How deep a parameter may reach.
pub(crate) const MAX_DEPTH: usize = 32;

/// The field at the end of a path.
pub(crate) fn field<'t>(tables: &'t Tables, path: &FieldPath) -> &'t Field {
    // A path has at least one step.
    let step =
        path.steps.last().copied().unwrap_or(crate::path::Step { message: 0, slot: 0, number: 0 });
    tables.message(step.message).field(step.slot)
}

/// Writes again what wire bytes would set otherwise than the first message of their stream did.
fn repeat(
    tables: &Tables,
    fixed: &[Fixed<'_>],
    leaves: &[u8],
    start: usize,
    out: &mut Vec<u8>,
) -> Result<(), Full> {
    for fixed in fixed.iter().rev() {
        if fixed.path.find(out.get(start..).unwrap_or_default()).is_some() {
            let mut writer = Writer::new(out, fixed.leaf(leaves).len() + 32, usize::MAX >> 2);
            nest(tables, fixed.path, fixed.leaf(leaves), &mut writer)?;
            writer.finish();
        }
    }
    Ok(())
}

/// Whether a file may go where it says, behind those before it.
fn place(
    tables: &Tables,
    rule: &BodyRule,
    before: &[File<'_>],
    file: &File<'_>,
    fixed: &[Fixed<'_>],
) -> Result<(), RequestError> {
    let (path, conflict) = (file.field, |first| RequestError::Conflict {
        field: file.field.as_str().into(),
        first,
        second: Source::Body,
    });
    if let BodyRule::Field(body) = rule
        && body != path
    {
        return Err(unsupported(&format!(
            "this method takes the file in {:?} alone",
            body.as_str()
        )));
    }
    let is_list = !field(tables, path).is_singular();
    if before
        .iter()
        .any(|other| other.field.clashes(tables, path) && !(is_list && other.field == path))
    {
        return Err(conflict(Source::Body));
    }
    match fixed.iter().find(|fixed| fixed.path.clashes(tables, path)) {
        Some(fixed) => Err(conflict(fixed.source())),
        None => Ok(()),
    }
}

/// Writes a file into its field.
fn file(tables: &Tables, file: &File<'_>, out: &mut Vec<u8>) -> Result<(), RequestError> {
    let at = field(tables, file.field);
    let mut leaf = Vec::with_capacity(file.data.len() + 32);
    if matches!(at.cardinality, Cardinality::Map(_)) {
        return Err(unsupported("a map holds no file"));
    } else if is_http_body(tables, at) {
        let mut wire = Vec::with_capacity(file.data.len() + 32);
        HttpBody { content_type: file.content_type, data: file.data }.encode(&mut wire);
        embed(&mut leaf, at.number, &wire);
    } else if at.kind == Kind::Scalar(Scalar::Bytes) {
        embed(&mut leaf, at.number, file.data);
    } else {
        return Err(unsupported(&format!(
            "{:?} holds no file; send it as JSON",
            file.field.as_str()
        )));
    }
    let mut writer = Writer::new(out, leaf.len() + 32, usize::MAX >> 2);
    let written = nest(tables, file.field, &leaf, &mut writer);
    writer.finish();
    written.map_err(full)
}

fn is_http_body(tables: &Tables, field: &Field) -> bool {
    field
        .child()
        .is_some_and(|message| &*tables.message(message).full_name == "google.api.HttpBody")
}

/// Writes a message field.
fn embed(out: &mut Vec<u8>, number: u32, wire: &[u8]) {
    let mut writer = Writer::new(out, wire.len() + 16, usize::MAX >> 2);
    // The limit is out of reach.
    let _ = writer.tag(Tag::new(number, LEN));
    let _ = writer.varint(u64::try_from(wire.len()).unwrap_or(0));
    let _ = writer.bytes(wire);
    writer.finish();
}

fn unsupported(message: &str) -> RequestError {
    RequestError::UnsupportedBody { message: message.into() }
}

#[cold]
pub(crate) fn full(_: Full) -> RequestError {
    JsonError::new(JsonErrorKind::Size, 0, "larger than the limit".into()).into()
}
