//! Path templates of `google.api.http`: `/v1/{name=shelves/*/books/**}:archive`.

use std::{fmt::Write as _, ops::Range};

use super::percent::encode_segment;

/// How many variables a template may have.
pub(crate) const MAX_VARIABLES: usize = 8;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    text: Box<str>,
    segments: Vec<Segment>,
    variables: Vec<Variable>,
    verb: Option<Box<str>>,
}

/// What one segment of a path must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    /// Exactly this, after decoding.
    Literal(Box<str>),
    /// Anything but nothing.
    Single,
    /// All that follows, even nothing. Always last.
    Multi,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Variable {
    field: Box<str>,
    /// Where it stands in the text, with its braces.
    braces: Range<usize>,
    /// The segments it captures.
    segments: Range<usize>,
    pattern: Box<str>,
    multi: bool,
}

impl Template {
    /// Parses a template; the error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix('/') else {
            return Err("a path template begins with a slash".into());
        };
        let mut template =
            Self { text: text.into(), segments: Vec::new(), variables: Vec::new(), verb: None };
        let last = path.rfind(['/', '}']).map_or(0, |at| at + 1);
        let path = match path[last..].find(':') {
            Some(colon) => {
                let (path, verb) = path.split_at(last + colon);
                let verb = &verb[1..];
                check_literal(verb)?;
                template.verb = Some(verb.into());
                path
            }
            None => path,
        };
        if path.is_empty() && template.verb.is_none() {
            return Ok(template);
        }
        let mut rest = Some(path);
        while let Some(at) = rest {
            rest = template.segment(at, text.len() - text.strip_prefix('/').map_or(0, str::len))?;
        }
        let before_last = template.segments.len().saturating_sub(1);
        if template.segments.iter().take(before_last).any(|segment| *segment == Segment::Multi) {
            return Err(
                "`**` takes the rest of the path, so nothing but a `:verb` may follow it".into()
            );
        }
        if template.variables.len() > MAX_VARIABLES {
            return Err(format!("a template has at most {MAX_VARIABLES} variables"));
        }
        for (at, variable) in template.variables.iter().enumerate() {
            if template.variables.iter().take(at).any(|other| other.field == variable.field) {
                return Err(format!("the variable `{}` stands in it twice", variable.field));
            }
        }
        Ok(template)
    }

    /// Takes one segment or variable; gives what follows its slash.
    fn segment<'t>(&mut self, at: &'t str, slash: usize) -> Result<Option<&'t str>, String> {
        let Some(inner) = at.strip_prefix('{') else {
            let (segment, rest) = match at.split_once('/') {
                Some((segment, rest)) => (segment, Some(rest)),
                None => (at, None),
            };
            self.segments.push(parse_segment(segment)?);
            return Ok(rest);
        };
        let Some((variable, after)) = inner.split_once('}') else {
            return Err("a `{` is not closed".into());
        };
        let (field, pattern) = variable.split_once('=').unwrap_or((variable, "*"));
        check_field(field)?;
        let first = self.segments.len();
        for segment in pattern.split('/') {
            self.segments.push(parse_segment(segment)?);
        }
        let multi =
            self.segments.len() - first > 1 || self.segments.last() == Some(&Segment::Multi);
        let body = self.text.len() - slash - self.verb.as_ref().map_or(0, |verb| verb.len() + 1);
        let start = slash + body - at.len();
        self.variables.push(Variable {
            field: field.into(),
            braces: start..start + variable.len() + 2,
            segments: first..self.segments.len(),
            pattern: pattern.into(),
            multi,
        });
        match after.strip_prefix('/') {
            None if after.is_empty() => Ok(None),
            None => Err(format!("a slash must follow `{{{variable}}}`")),
            rest => Ok(rest),
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    pub(crate) fn verb(&self) -> Option<&str> {
        self.verb.as_deref()
    }

    /// The field of each variable, as the template spells it.
    pub(crate) fn variable_fields(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|variable| &*variable.field)
    }

    /// The pattern of each variable.
    pub(crate) fn variable_patterns(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|variable| &*variable.pattern)
    }

    /// Which segments each variable captures.
    pub(crate) fn variable_segments(&self) -> impl Iterator<Item = Range<usize>> {
        self.variables.iter().map(|variable| variable.segments.clone())
    }

    /// Whether the variable at `at` captures several segments.
    pub(crate) fn is_multi(&self, at: usize) -> bool {
        self.variables.get(at).is_some_and(|variable| variable.multi)
    }

    /// The path with these values of its variables, percent-encoded; `None` if one does not fit its variable's pattern,
    /// or the template has wildcards of no variable.
    pub(crate) fn fill(&self, values: &[impl AsRef<str>]) -> Option<String> {
        let mut path = String::new();
        let mut at = 0;
        for (variable, value) in self.variables.iter().zip(values) {
            literals(self.segments.get(at..variable.segments.start)?, &mut path)?;
            let pattern = self.segments.get(variable.segments.clone())?;
            match pattern {
                [Segment::Single] => {
                    Some(value.as_ref()).filter(|value| !value.is_empty())?;
                    path.push('/');
                    encode_segment(value.as_ref(), &mut path);
                }
                _ => fill_pattern(pattern, value.as_ref(), &mut path)?,
            }
            at = variable.segments.end;
        }
        literals(self.segments.get(at..)?, &mut path)?;
        if let Some(verb) = &self.verb {
            path.push(':');
            encode_segment(verb, &mut path);
        }
        Some(path)
    }

    /// The text with each variable reduced to its field.
    pub(crate) fn openapi_path(&self) -> String {
        let mut path = String::new();
        let mut from = 0;
        for variable in &self.variables {
            let _ =
                write!(path, "{}{{{}}}", &self.text[from..variable.braces.start], variable.field);
            from = variable.braces.end;
        }
        path.push_str(&self.text[from..]);
        path
    }
}

/// Appends segments that belong to no variable.
fn literals(segments: &[Segment], path: &mut String) -> Option<()> {
    for segment in segments {
        let Segment::Literal(literal) = segment else { return None };
        path.push('/');
        encode_segment(literal, path);
    }
    Some(())
}

/// Appends the value of a variable of several segments.
fn fill_pattern(pattern: &[Segment], value: &str, path: &mut String) -> Option<()> {
    let mut rest = value.split('/');
    for segment in pattern {
        let taken = if *segment == Segment::Multi { usize::MAX } else { 1 };
        let mut none = true;
        for part in rest.by_ref().take(taken) {
            let fits = match segment {
                Segment::Literal(literal) => part == &**literal,
                Segment::Single | Segment::Multi => !part.is_empty(),
            };
            if !fits {
                return None;
            }
            path.push('/');
            encode_segment(part, path);
            none = false;
        }
        if none && *segment != Segment::Multi {
            return None;
        }
    }
    rest.next().is_none().then_some(())
}

fn parse_segment(segment: &str) -> Result<Segment, String> {
    match segment {
        "*" => Ok(Segment::Single),
        "**" => Ok(Segment::Multi),
        literal => {
            check_literal(literal)?;
            Ok(Segment::Literal(literal.into()))
        }
    }
}

fn check_literal(literal: &str) -> Result<(), String> {
    if literal.is_empty() {
        return Err(
            "it has an empty segment; slashes stand between segments, and none ends the path"
                .into(),
        );
    }
    match literal.chars().find(|&letter| {
        "{}*=:?#%".contains(letter) || letter.is_whitespace() || letter.is_control()
    }) {
        Some(letter) => {
            Err(format!("`{literal}` holds {letter:?}, which no path segment of a template may"))
        }
        None => Ok(()),
    }
}

fn check_field(field: &str) -> Result<(), String> {
    let ident = |part: &str| {
        !part.is_empty()
            && !part.starts_with(|letter: char| letter.is_ascii_digit())
            && part.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'_')
    };
    if field.split('.').all(ident) { Ok(()) } else { Err(format!("`{field}` is no field name")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Segment {
        Segment::Literal(text.into())
    }

    #[test]
    fn the_whole_grammar_is_read() {
        let template = Template::parse("/v1/{name=shelves/*/books/**}:archive").unwrap();
        let expected =
            [literal("v1"), literal("shelves"), Segment::Single, literal("books"), Segment::Multi];
        assert_eq!(template.segments(), expected);
        assert_eq!(template.verb(), Some("archive"));
        assert_eq!(template.variable_fields().collect::<Vec<_>>(), ["name"]);
        assert!(template.variable_segments().eq(std::iter::once(1..5)));
        assert!(template.is_multi(0));
        assert_eq!(template.openapi_path(), "/v1/{name}:archive");
    }

    #[test]
    fn several_variables_keep_their_places() {
        let template = Template::parse("/v1/{a.b}/x/{c=y/*}/*:go").unwrap();
        assert_eq!(template.openapi_path(), "/v1/{a.b}/x/{c}/*:go");
        assert_eq!(template.variable_segments().collect::<Vec<_>>(), [1..2, 3..5]);
        assert_eq!([template.is_multi(0), template.is_multi(1)], [false, true]);
        assert_eq!(template.variable_patterns().collect::<Vec<_>>(), ["*", "y/*"]);
    }

    #[test]
    fn values_fill_the_variables_that_they_fit() {
        let fill =
            |template: &str, values: &[&str]| Template::parse(template).unwrap().fill(values);
        assert_eq!(
            fill("/v1/things/{id}", &["a/b c:ü"]).as_deref(),
            Some("/v1/things/a%2Fb%20c%3A%C3%BC")
        );
        let names = "/v1/{a}/{name=shelves/*/books/**}:go";
        assert_eq!(
            fill(names, &["1", "shelves/a b/books/c/%2F"]).as_deref(),
            Some("/v1/1/shelves/a%20b/books/c/%252F:go")
        );
        assert_eq!(fill(names, &["1", "shelves/a"]), None);
        assert_eq!(fill(names, &["1", "boxes/a/books/c"]), None);
        assert_eq!(fill(names, &["", "shelves/a/books/c"]), None);
        assert_eq!(fill("/{name=shelves/*}", &["shelves/a/b"]), None);
        assert_eq!(fill("/{name=**}", &["a//b"]), None);
        assert_eq!(fill("/{a}/*", &["x"]), None);
    }

    #[test]
    fn a_verb_follows_a_literal_or_a_variable() {
        assert_eq!(Template::parse("/v1/things:batchGet").unwrap().verb(), Some("batchGet"));
        assert_eq!(Template::parse("/v1/{id}:cancel").unwrap().verb(), Some("cancel"));
        assert_eq!(Template::parse("/").unwrap().segments(), []);
    }

    #[test]
    fn what_breaks_the_grammar_is_refused() {
        for text in [
            "",
            "v1",
            "/v1/",
            "/v1//x",
            "/{a",
            "/{a}b",
            "/{a=**}ü",
            "/{}",
            "/{a=}",
            "/{a=**}/x",
            "/**/x",
            "/a*",
            "/{a={b}}",
            "/{a}/{a}",
            "/v1:",
            "/v1/a%20b",
            "/v1/a b",
            "/{1a}",
            "/v1/x?y=1",
            "/v1/:verb",
            "/a:b:c",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
