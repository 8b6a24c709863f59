//! The well-known types from JSON to the wire; tags and lengths around them are the caller's.

use super::{
    guard::Scope,
    lexer::Quoted,
    parse::{Outcome, Parser, Step},
    time,
};
use crate::{
    error::{JsonError, JsonErrorKind},
    schema::{Kind, Scalar},
    wire::{FIXED64, Full, LEN, VARINT, Writer, small_tag},
};

/// Writes the fields of a Timestamp or Duration.
pub(crate) fn write_time(out: &mut Writer<'_>, (seconds, nanos): (i64, i32)) -> Result<(), Full> {
    if seconds != 0 {
        out.byte(small_tag(1, VARINT))?;
        out.varint(seconds.cast_unsigned())?;
    }
    if nanos != 0 {
        out.byte(small_tag(2, VARINT))?;
        out.varint(i64::from(nanos).cast_unsigned())?;
    }
    Ok(())
}

/// Writes the paths of a FieldMask from `a,bC.d`; `snake` also takes `b_c`. The path that is none, if any.
pub(crate) fn write_mask<'t>(
    out: &mut Writer<'_>,
    text: &'t str,
    snake: bool,
) -> Result<Option<&'t str>, Full> {
    if text.is_empty() {
        return Ok(None);
    }
    for path in text.split(',') {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || snake && byte == b'_';
        // `*` stands for every field, and for every member of a list (AIP-161).
        let is_path = |part: &str| part == "*" || part.bytes().all(fits);
        if path.is_empty() || !path.split('.').all(is_path) {
            return Ok(Some(path));
        }
        out.byte(small_tag(1, LEN))?;
        let body = out.open()?;
        for byte in path.bytes() {
            if byte.is_ascii_uppercase() {
                out.byte(b'_')?;
            }
            out.byte(byte.to_ascii_lowercase())?;
        }
        out.close(body)?;
    }
    Ok(None)
}

impl<'j> Parser<'_, 'j, '_> {
    /// The content of a well-known type.
    pub(super) fn well_known(&mut self, kind: Kind) -> Step {
        match kind {
            Kind::Timestamp => {
                let at = self.lexer.position();
                if self.lexer.peek() != b'"' {
                    return Err(self.mismatch("a time as a string, as \"2026-01-31T12:00:00Z\""));
                }
                let text = self.lexer.text("a time")?;
                match time::parse_timestamp(&text) {
                    Some(time) => Ok(write_time(&mut self.out, time)?),
                    None => Err(self.wrong(
                        at,
                        "expected a time by RFC 3339 from year 1 to 9999, as \"2026-01-31T12:00:00Z\"".into(),
                    )),
                }
            }
            Kind::Duration => {
                let at = self.lexer.position();
                if self.lexer.peek() != b'"' {
                    return Err(self.mismatch("a duration as a string, as \"1.5s\""));
                }
                let text = self.lexer.text("a duration")?;
                match time::parse_duration(&text) {
                    Some(duration) => Ok(write_time(&mut self.out, duration)?),
                    None => {
                        let message = "expected seconds with at most nine decimals and an s, as \"1.5s\", within 10000 years";
                        Err(self.wrong(at, message.into()))
                    }
                }
            }
            Kind::FieldMask => {
                let at = self.lexer.position();
                if self.lexer.peek() != b'"' {
                    return Err(
                        self.mismatch("field paths in one string, as \"title,price.currencyCode\"")
                    );
                }
                let text = self.lexer.text("field paths")?;
                match write_mask(&mut self.out, &text, false)? {
                    None => Ok(()),
                    Some(path) => {
                        let message = format!(
                            "{path:?} is no field path; write names in lowerCamelCase, with commas"
                        );
                        Err(self.wrong(at, message))
                    }
                }
            }
            Kind::Struct => self.structure(),
            Kind::Value => self.any_value(),
            Kind::ListValue => self.list_value(),
            Kind::Any => self.any(),
            Kind::Wrapper(scalar) => {
                let start = self.out.position();
                self.out.byte(small_tag(1, scalar.wire_type()))?;
                if self.scalar(scalar)? == Outcome::Default {
                    self.out.rewind(start);
                }
                Ok(())
            }
            Kind::Message(message) => self.message(self.tables.message(message), Scope::PLAIN),
            Kind::Group(_) | Kind::Scalar(_) | Kind::Enum(_) | Kind::NullValue => Ok(()),
        }
    }

    fn structure(&mut self) -> Step {
        if self.lexer.peek() != b'{' {
            return Err(self.mismatch("an object"));
        }
        self.enter()?;
        if !self.lexer.is_empty(b'}') {
            let base = self.keys.len();
            let opening = self.lexer.position();
            loop {
                let start = self.out.position();
                self.out.byte(small_tag(1, LEN))?;
                let entry = self.out.open()?;
                self.out.byte(small_tag(1, LEN))?;
                let key = self.out.position();
                let quoted = self.lexer.quoted("a member's name")?;
                self.quoted_string(quoted)?;
                let key_end = self.out.position();
                self.lexer.expect(b':', "`:`")?;
                self.out.byte(small_tag(2, LEN))?;
                let value = self.out.open()?;
                self.any_value().map_err(|error| match quoted.text() {
                    Ok(name) => error.within(&name),
                    Err(_) => error,
                })?;
                self.out.close(value)?;
                self.out.close(entry)?;
                let grown = self.keys_moved(start, entry, key, key_end);
                self.keys.push(grown);
                if !self.lexer.more(b'}')? {
                    break;
                }
            }
            self.distinct(base, opening)?;
        }
        self.leave();
        Ok(())
    }

    fn list_value(&mut self) -> Step {
        if self.lexer.peek() != b'[' {
            return Err(self.mismatch("an array"));
        }
        self.enter()?;
        if !self.lexer.is_empty(b']') {
            let mut nth = 0_usize;
            loop {
                self.out.byte(small_tag(1, LEN))?;
                let value = self.out.open()?;
                self.any_value().map_err(|error| error.within(&format!("[{nth}]")))?;
                self.out.close(value)?;
                nth += 1;
                if !self.lexer.more(b']')? {
                    break;
                }
            }
        }
        self.leave();
        Ok(())
    }

    /// A `google.protobuf.Value`: whatever JSON can say.
    fn any_value(&mut self) -> Step {
        match self.lexer.peek() {
            b'n' => {
                self.lexer.null()?;
                self.out.byte(small_tag(1, VARINT))?;
                Ok(self.out.byte(0)?)
            }
            b'-' | b'0'..=b'9' => {
                self.out.byte(small_tag(2, FIXED64))?;
                self.scalar(Scalar::Double).map(drop)
            }
            b'"' => {
                self.out.byte(small_tag(3, LEN))?;
                self.string().map(drop)
            }
            b't' | b'f' => {
                self.out.byte(small_tag(4, VARINT))?;
                self.scalar(Scalar::Bool).map(drop)
            }
            b'{' => {
                self.out.byte(small_tag(5, LEN))?;
                let body = self.out.open()?;
                self.structure()?;
                Ok(self.out.close(body)?)
            }
            b'[' => {
                self.out.byte(small_tag(6, LEN))?;
                let body = self.out.open()?;
                self.list_value()?;
                Ok(self.out.close(body)?)
            }
            _ => Err(self.lexer.syntax("a value")),
        }
    }

    /// An Any: `{"@type": "type.googleapis.com/pkg.Message", ...}`. The type may stand anywhere among the members.
    fn any(&mut self) -> Step {
        if self.lexer.peek() != b'{' {
            return Err(self.mismatch("an object with \"@type\""));
        }
        self.enter()?;
        let opening = self.lexer.position();
        if self.lexer.is_empty(b'}') {
            self.leave();
            return Ok(());
        }
        let first = self.lexer.position();
        let Some(url) = self.find_type()? else {
            let message =
                "lacks \"@type\", as \"type.googleapis.com/google.protobuf.Duration\"".into();
            return Err(self.wrong(opening, message));
        };
        let at = url.start;
        let url_text = url.text()?;
        let name = url_text.rsplit_once('/').map(|(_, name)| name);
        let Some(message) = name.and_then(|name| self.tables.find(name)) else {
            let message = format!(
                "{url_text:?} is no known type; write it as \"type.googleapis.com/package.Message\""
            );
            return Err(JsonError::new(JsonErrorKind::UnknownType, at, message).within("@type"));
        };
        let table = self.tables.message(message);
        self.out.byte(small_tag(1, LEN))?;
        self.quoted_string(url)?;
        let start = self.out.position();
        self.out.byte(small_tag(2, LEN))?;
        let body = self.out.open()?;
        self.lexer.seek(first);
        match table.kind {
            Kind::Message(_) if &*table.full_name != "google.protobuf.Empty" => {
                self.members(table, Scope::PLAIN, true)?;
            }
            kind => self.any_well_known(kind)?,
        }
        if self.out.position() == body {
            self.out.rewind(start);
        } else {
            self.out.close(body)?;
        }
        self.leave();
        Ok(())
    }

    /// Looks for `@type` among members, without moving over more than needed.
    fn find_type(&mut self) -> Result<Option<Quoted<'j>>, JsonError> {
        loop {
            let name = self.lexer.text("a member's name")?;
            self.lexer.expect(b':', "`:`")?;
            if name == "@type" {
                return self.lexer.quoted("a type's URL as a string").map(Some);
            }
            self.lexer.skip(self.depth)?;
            if !self.lexer.more(b'}')? {
                return Ok(None);
            }
        }
    }

    /// The members of an Any whose type has JSON of its own, which stands in `value`.
    fn any_well_known(&mut self, kind: Kind) -> Step {
        let (mut typed, mut valued) = (false, false);
        loop {
            self.lexer.peek();
            let at = self.lexer.position();
            let name = self.lexer.text("a member's name")?;
            self.lexer.expect(b':', "`:`")?;
            let again = match &*name {
                "@type" => {
                    self.lexer.skip(self.depth)?;
                    std::mem::replace(&mut typed, true)
                }
                "value" => {
                    self.well_known(kind).map_err(|error| error.within("value"))?;
                    std::mem::replace(&mut valued, true)
                }
                _ if self.options.ignore_unknown_fields => {
                    self.lexer.skip(self.depth)?;
                    false
                }
                _ => {
                    let message =
                        "unknown field; an Any of this type has \"@type\" and \"value\" only"
                            .into();
                    return Err(
                        JsonError::new(JsonErrorKind::UnknownField, at, message).within(&name)
                    );
                }
            };
            if again {
                let message = "named twice; send it once".into();
                return Err(JsonError::new(JsonErrorKind::Duplicate, at, message).within(&name));
            }
            if !self.lexer.more(b'}')? {
                break;
            }
        }
        // Empty needs no value, as it has none.
        if valued || matches!(kind, Kind::Message(_)) {
            return Ok(());
        }
        Err(self.wrong(
            self.lexer.position(),
            "lacks \"value\", where the JSON of this type stands".into(),
        ))
    }
}
