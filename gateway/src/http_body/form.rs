//! Files of a form as a request (`multipart/form-data`, RFC 7578).
//!
//! A part goes into the field of its name. One whose field is an `HttpBody` or
//! `bytes` is content; so is one with a `filename`, and where the body of the rule
//! is one field it goes there whatever its name. All other parts are read as query
//! parameters are: `labels[a]`, `filter.state`.
//!
//! A method that takes one message takes all of it at once. One that takes a stream
//! gets the parameters with the first piece of the file, and then one piece after
//! the other as they arrive; parameters must stand before the file, and there is
//! one file.

use std::sync::Arc;

use bytes::Bytes;
use chassis::Fault;
use contracts::mesh::v1::ErrorReason;
use http::{HeaderMap, header, request::Parts};
use http_body_util::BodyExt as _;
use prost_reflect::Kind;
use tonic::body::Body;
use transcode::{Body as Content, BodyRule, FieldPath, File, Match};

use super::multipart::{Event, Head, Multipart};
use crate::{
    serving::Serving,
    streams::{Bounds, Piece, broken_off, frame},
};

/// Whether the body is a form with parts.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        let media_type = value.split(';').next().unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case("multipart/form-data")
    })
}

/// A form on its way.
#[derive(Debug)]
struct Arriving {
    multipart: Multipart,
    bounds: Bounds,
    count: usize,
    /// The parameters, as a query.
    query: String,
    part: Option<Part>,
}

/// The part at hand.
#[derive(Debug)]
struct Part {
    head: Head,
    /// Where its content goes; `None` if it is a parameter.
    field: Option<FieldPath>,
    /// What is kept of it.
    content: Vec<u8>,
}

/// A form that was read whole.
#[derive(Debug)]
pub(crate) struct Form {
    query: String,
    files: Vec<(FieldPath, String, Vec<u8>)>,
}

/// A form that goes on as it arrives.
#[derive(Debug)]
pub(crate) struct FormUpload {
    parts: Arriving,
    sent: u64,
    finished: bool,
}

// === impl Form ===

impl Form {
    /// Reads a form of at most `message_bytes_max` bytes.
    pub(crate) async fn read(
        serving: &Serving,
        found: &Match<'_>,
        parts: &Parts,
        mut body: Body,
        bounds: Bounds,
    ) -> Result<Self, Fault> {
        let mut form = Arriving::new(&parts.headers, bounds)?;
        let mut files: Vec<(FieldPath, String, Vec<u8>)> = Vec::new();
        let mut bytes: usize = 0;
        loop {
            while let Some(event) = form.next(serving, found)? {
                match event {
                    Event::Part(_) => {}
                    Event::Content(content) => form.keep(&content, bounds.form_part_bytes_max)?,
                    Event::End => {
                        if let Some((field, head, content)) = form.end()? {
                            files.push((field, head.content_type, content));
                        }
                    }
                }
            }
            match body.frame().await {
                None if form.multipart.is_ended() => return Ok(Self { query: form.query, files }),
                None => form.multipart.finish(),
                Some(frame) => {
                    let frame = frame.map_err(|status| broken_off(&status))?;
                    let Ok(data) = frame.into_data() else { continue };
                    bytes = bytes.saturating_add(data.len());
                    if bytes > bounds.message_bytes_max {
                        return Err(too_large("the form", bounds.message_bytes_max));
                    }
                    form.multipart.push(&data);
                }
            }
        }
    }

    /// The form's message in its gRPC frame.
    pub(crate) fn frame(
        &self,
        found: &Match<'_>,
        parts: &Parts,
        bounds: Bounds,
    ) -> Result<Bytes, Fault> {
        let files: Vec<File<'_>> = self
            .files
            .iter()
            .map(|(field, content_type, data)| File { field, content_type, data })
            .collect();
        let piece = Piece { form: Some(&self.query), ..Piece::of(Content::Files(&files)) };
        let mut out = Vec::new();
        frame(bounds, found, parts, piece, &mut out)?;
        Ok(out.into())
    }
}

// === impl FormUpload ===

impl FormUpload {
    pub(crate) fn new(headers: &HeaderMap, bounds: Bounds) -> Result<Self, Fault> {
        Ok(Self { parts: Arriving::new(headers, bounds)?, sent: 0, finished: false })
    }

    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.parts.multipart.push(piece);
    }

    pub(crate) fn finish(&mut self) {
        self.parts.multipart.finish();
        self.finished = true;
    }

    /// Appends the next message in its frame; `false` if that takes more bytes, or
    /// there is none.
    pub(crate) fn next(
        &mut self,
        serving: &Arc<Serving>,
        found: &Match<'_>,
        parts: &Parts,
        out: &mut Vec<u8>,
    ) -> Result<bool, Fault> {
        let bounds = self.parts.bounds;
        while let Some(event) = self.parts.next(serving, found)? {
            match event {
                Event::Part(_) if self.sent > 0 => {
                    return Err(malformed(
                        "has a part behind the file, which must be the last one".to_owned(),
                    ));
                }
                Event::Part(_) => {}
                Event::Content(content) => {
                    if self.parts.is_file() {
                        self.send(found, parts, &content, out)?;
                        return Ok(true);
                    }
                    self.parts.keep(&content, bounds.form_part_bytes_max)?;
                }
                Event::End if self.parts.is_file() => {
                    let is_empty = self.sent == 0;
                    if is_empty {
                        self.send(found, parts, &Bytes::new(), out)?;
                    }
                    self.parts.part = None;
                    if is_empty {
                        return Ok(true);
                    }
                }
                Event::End => {
                    self.parts.end()?;
                }
            }
        }
        if self.sent == 0 && self.finished {
            // Parameters alone are a message too.
            let piece = Piece { form: Some(&self.parts.query), ..Piece::of(Content::Files(&[])) };
            frame(bounds, found, parts, piece, out)?;
            self.sent += 1;
            return Ok(true);
        }
        Ok(false)
    }

    fn send(
        &mut self,
        found: &Match<'_>,
        parts: &Parts,
        content: &Bytes,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let Some(Part { head, field: Some(field), .. }) = &self.parts.part else { return Ok(()) };
        // Later pieces are of the same type.
        let content_type = if self.sent == 0 { head.content_type.as_str() } else { "" };
        let files = [File { field, content_type, data: content }];
        let piece = Piece {
            index: Some(self.sent),
            form: Some(&self.parts.query),
            ..Piece::of(Content::Files(&files))
        };
        frame(self.parts.bounds, found, parts, piece, out)?;
        self.sent += 1;
        Ok(())
    }
}

// === impl Arriving ===

impl Arriving {
    fn new(headers: &HeaderMap, bounds: Bounds) -> Result<Self, Fault> {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let multipart = Multipart::new(content_type.unwrap_or_default()).map_err(|why| {
            Fault::invalid_argument(ErrorReason::HeaderInvalid)
                .message(format!("the form's content type {why}"))
                .violation("content-type", "must be multipart/form-data; boundary=…")
        })?;
        Ok(Self { multipart, bounds, count: 0, query: String::new(), part: None })
    }

    fn next(&mut self, serving: &Serving, found: &Match<'_>) -> Result<Option<Event>, Fault> {
        let event = self.multipart.next().map_err(malformed)?;
        if let Some(Event::Part(head)) = &event {
            self.count += 1;
            if self.count > self.bounds.form_parts_max {
                return Err(too_many(self.bounds.form_parts_max));
            }
            let field = field(serving, found, head)?;
            self.part = Some(Part { head: head.clone(), field, content: Vec::new() });
        }
        Ok(event)
    }

    fn is_file(&self) -> bool {
        self.part.as_ref().is_some_and(|part| part.field.is_some())
    }

    /// Keeps more of the part at hand.
    fn keep(&mut self, content: &[u8], most: usize) -> Result<(), Fault> {
        let Some(part) = &mut self.part else { return Ok(()) };
        if part.content.len() + content.len() > most {
            return Err(too_large(&format!("the part {:?}", part.head.name), most));
        }
        part.content.extend_from_slice(content);
        Ok(())
    }

    /// Ends the part at hand: a file is given back, a parameter goes to the query.
    fn end(&mut self) -> Result<Option<(FieldPath, Head, Vec<u8>)>, Fault> {
        let Some(Part { head, field, content }) = self.part.take() else { return Ok(None) };
        if let Some(field) = field {
            return Ok(Some((field, head, content)));
        }
        let text = String::from_utf8(content).map_err(|_| {
            Fault::invalid_argument(ErrorReason::InvalidField)
                .message(format!("the part {:?} is neither a file nor text", head.name))
                .violation(head.name.clone(), "must be UTF-8, or have a filename")
        })?;
        if !self.query.is_empty() {
            self.query.push('&');
        }
        escape(&head.name, &mut self.query);
        self.query.push('=');
        escape(&text, &mut self.query);
        Ok(None)
    }
}

/// Where the content of a part goes; `None` if it is a parameter.
fn field(serving: &Serving, found: &Match<'_>, head: &Head) -> Result<Option<FieldPath>, Fault> {
    let method = found.method();
    let path = serving.schema.field_path(method.input(), &head.name);
    if path.as_ref().is_some_and(|path| is_content(found, path)) {
        return Ok(path);
    }
    if !head.is_file {
        return Ok(None);
    }
    match found.binding().body() {
        BodyRule::Field(body) => Ok(Some(body.clone())),
        _ => Err(Fault::invalid_argument(ErrorReason::InvalidField)
            .message(format!("{} has no field {:?} for a file", method.full_name(), head.name))
            .violation(head.name.clone(), "must be an HttpBody or bytes")),
    }
}

fn is_content(found: &Match<'_>, path: &FieldPath) -> bool {
    let mut message = found.method().descriptor().input();
    let mut steps = path.as_str().split('.').peekable();
    while let Some(step) = steps.next() {
        let Some(field) = message.get_field_by_name(step) else { return false };
        match field.kind() {
            Kind::Bytes => return steps.peek().is_none(),
            Kind::Message(inner) if steps.peek().is_none() => {
                return inner.full_name() == "google.api.HttpBody" && !field.is_map();
            }
            Kind::Message(inner) => message = inner,
            _ => return false,
        }
    }
    false
}

/// As a query has it (URL Standard, section 5.2).
fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(byte.into()),
            other => {
                out.push('%');
                for digit in [other >> 4, other & 0xf] {
                    out.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
                }
            }
        }
    }
}

// === faults ===

fn malformed(why: String) -> Fault {
    Fault::invalid_argument(ErrorReason::MalformedMessage)
        .message(format!("the form {why}"))
        .violation("body", "must be multipart/form-data (RFC 7578)")
}

fn too_many(most: usize) -> Fault {
    Fault::resource_exhausted(ErrorReason::MessageTooLarge)
        .message(format!("the form has more than {most} parts"))
}

fn too_large(what: &str, most: usize) -> Fault {
    Fault::resource_exhausted(ErrorReason::MessageTooLarge)
        .message(format!("{what} is larger than {most} bytes"))
}
