//! What can be wrong with a schema, a request, a JSON text or wire bytes; each error says where.

use std::fmt;

/// Something in the contracts that would make the edge answer wrongly, found before it answers at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", places.join(" and "))]
pub struct Problem {
    /// What sort of problem it is.
    pub kind: ProblemKind,
    /// Where it is: `pkg.Service.Method (GET /v1/things/{id})`; two places where two rules collide.
    pub places: Vec<String>,
    /// What is wrong and what to do.
    pub message: String,
}

/// The sorts of [`Problem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProblemKind {
    /// The path template does not follow the grammar.
    Template,
    /// Two bindings match the same requests.
    Ambiguous,
    /// A binding that no request can reach.
    Unreachable,
    /// A variable that names no field, or one that a path segment cannot hold.
    Variable,
    /// A field that path and body, or two variables, would both set.
    Override,
    /// `body` or `response_body` that names no field, or one that cannot be a body.
    Body,
    /// The rule itself is malformed: no pattern, or bindings nested in additional bindings.
    Rule,
    /// The schema has more of something than the tables can hold.
    TooLarge,
}

/// Why no binding takes a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// No binding has such a path.
    #[error("no such path")]
    NotFound,
    /// The path is known, the method is not.
    #[error("this path takes {}", allow.join(", "))]
    MethodNotAllowed {
        /// What it takes, sorted, for the `Allow` header; with HEAD where there is GET, and OPTIONS.
        allow: Vec<String>,
    },
    /// The path holds a broken percent-escape, or one that is not UTF-8.
    #[error(
        "the path holds a broken percent-escape in {segment:?}; escape the UTF-8 bytes of the text, as %C3%BC"
    )]
    Malformed {
        /// The segment in question, as it came.
        segment: String,
    },
}

/// A place in a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Bytes before it.
    pub offset: usize,
    /// Its line, from 1.
    pub line: usize,
    /// Its column in characters, from 1.
    pub column: usize,
}

/// What sort of thing is wrong with a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonErrorKind {
    /// It is not JSON.
    Syntax,
    /// A member that the message does not have.
    UnknownField,
    /// A member twice, or two members of one oneof.
    Duplicate,
    /// A member that the path, the query or a header sets already.
    Conflict,
    /// A value that does not fit its field.
    Value,
    /// An `Any` of a type that the schema does not hold.
    UnknownType,
    /// Nested deeper than the limit.
    Depth,
    /// Longer than the limit.
    Size,
}

/// Why a JSON text does not make a message.
#[derive(Clone, PartialEq, Eq)]
pub struct JsonError(Box<JsonFailure>);

#[derive(Clone, PartialEq, Eq)]
struct JsonFailure {
    kind: JsonErrorKind,
    position: Position,
    path: String,
    message: String,
}

/// What sort of thing is wrong with wire bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireErrorKind {
    /// They are no message of the type.
    Broken,
    /// They hold a value that JSON cannot express.
    Value,
    /// They hold an `Any` of a type that the schema does not hold.
    UnknownType,
    /// Nested deeper, or printed longer, than the limit.
    Limit,
}

/// Why wire bytes do not make a JSON text.
#[derive(Clone, PartialEq, Eq)]
pub struct WireError(Box<WireFailure>);

#[derive(Clone, PartialEq, Eq)]
struct WireFailure {
    kind: WireErrorKind,
    path: String,
    message: String,
}

/// Where a value of a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A variable of the path.
    Path,
    /// A query parameter, by its name as it came.
    Query(String),
    /// A header, by name.
    Header(String),
    /// The body.
    Body,
}

/// Why a request cannot become a message. Everything here is the client's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The JSON body is wrong.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A path variable, query parameter or header has a value that does not fit its field, or names none.
    #[error("{}: {message}", .from.naming(.field))]
    Parameter {
        /// Where it came from.
        from: Source,
        /// The field or parameter.
        field: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// Two parts of the request set one field, or two fields of one oneof. Where one of them is a JSON body, it is a
    /// [`Json`](Self::Json) of kind [`JsonErrorKind::Conflict`] instead, which also says where.
    #[error("{first} and {second} both set {field:?}; send it in one of them")]
    Conflict {
        /// The field.
        field: String,
        /// What set it first.
        first: Source,
        /// What set it again.
        second: Source,
    },
    /// A body where the rule has none.
    #[error("{method} takes no body; send its fields in the path and the query")]
    UnexpectedBody {
        /// The method's full name.
        method: String,
    },
    /// A body of a sort that this method does not take.
    #[error("{message}")]
    UnsupportedBody {
        /// What it takes instead.
        message: String,
    },
}

// === impl Position ===

impl Position {
    /// Where a text begins.
    pub(crate) const START: Self = Self { offset: 0, line: 1, column: 1 };

    /// The place behind `text`, which begins here.
    pub(crate) fn behind(self, text: &[u8]) -> Self {
        let offset = self.offset + text.len();
        // Continuation bytes of UTF-8 are no characters of their own.
        let letters = |text: &[u8]| text.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
        match text.iter().rposition(|&byte| byte == b'\n') {
            None => Self { offset, column: self.column + letters(text), ..self },
            Some(last) => {
                let lines = text.iter().filter(|&&byte| byte == b'\n').count();
                let column = 1 + letters(text.get(last + 1..).unwrap_or_default());
                Self { offset, line: self.line + lines, column }
            }
        }
    }
}

// === impl JsonError ===

impl JsonError {
    #[cold]
    pub(crate) fn new(kind: JsonErrorKind, offset: usize, message: String) -> Self {
        let position = Position { offset, line: 0, column: 0 };
        Self(Box::new(JsonFailure { kind, position, path: String::new(), message }))
    }

    /// Puts the name of the enclosing field in front of the path.
    #[cold]
    pub(crate) fn within(mut self, name: &str) -> Self {
        prepend(&mut self.0.path, name);
        self
    }

    /// Finds line and column, now that the text is at hand.
    #[cold]
    pub(crate) fn located(self, json: &[u8]) -> Self {
        let offset = self.0.position.offset.min(json.len());
        self.at(Position::START.behind(json.get(..offset).unwrap_or_default()))
    }

    /// The same at another place.
    #[cold]
    pub(crate) fn at(mut self, position: Position) -> Self {
        self.0.position = position;
        self
    }

    /// The error of a value, at its place in the stream in which the value begins at `start`; see
    /// [`JsonValue`](crate::JsonValue).
    #[must_use]
    pub fn after(self, start: Position) -> Self {
        let Position { offset, line, column } = self.position();
        let position = Position {
            offset: start.offset + offset,
            line: start.line + line.saturating_sub(1),
            column: if line <= 1 { start.column + column.saturating_sub(1) } else { column },
        };
        self.at(position)
    }

    /// What sort of error it is.
    #[must_use]
    pub fn kind(&self) -> JsonErrorKind {
        self.0.kind
    }

    /// Where in the text it is.
    #[must_use]
    pub fn position(&self) -> Position {
        self.0.position
    }

    /// Which field it is, as `lines[3].quantity`; empty for the text as a whole.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// What is wrong and what to do, without the place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let JsonFailure { position, path, message, .. } = &*self.0;
        if !path.is_empty() {
            write!(f, "{path}: ")?;
        }
        write!(f, "{message} (line {}, column {})", position.line, position.column)
    }
}

impl fmt::Debug for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JsonError({:?}: {self})", self.0.kind)
    }
}

impl std::error::Error for JsonError {}

// === impl WireError ===

impl WireError {
    #[cold]
    pub(crate) fn new(kind: WireErrorKind, message: String) -> Self {
        Self(Box::new(WireFailure { kind, path: String::new(), message }))
    }

    #[cold]
    pub(crate) fn within(mut self, name: &str) -> Self {
        prepend(&mut self.0.path, name);
        self
    }

    /// What sort of error it is.
    #[must_use]
    pub fn kind(&self) -> WireErrorKind {
        self.0.kind
    }

    /// Which field it is, as `lines[3].quantity`; empty for the message as a whole.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// What is wrong, without the place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.path.is_empty() {
            write!(f, "{}: ", self.0.path)?;
        }
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WireError({:?}: {self})", self.0.kind)
    }
}

impl std::error::Error for WireError {}

// === impl Source ===

impl Source {
    /// What came from here for a field, which a query parameter names already.
    fn naming(&self, field: &str) -> String {
        match self {
            Self::Query(name) if name == field => self.to_string(),
            _ => format!("{self} {field:?}"),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path => f.write_str("the path"),
            Self::Query(name) => write!(f, "the query parameter {name:?}"),
            Self::Header(name) => write!(f, "the header {name}"),
            Self::Body => f.write_str("the body"),
        }
    }
}

// === impl RequestError ===

impl RequestError {
    /// The error of a request whose body is a value of a stream: see [`JsonError::after`].
    #[must_use]
    pub fn after(self, start: Position) -> Self {
        match self {
            Self::Json(error) => Self::Json(error.after(start)),
            other => other,
        }
    }

    /// The field or parameter in question, for a `BadRequest` violation.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Json(error) => Some(error.path()).filter(|path| !path.is_empty()),
            Self::Parameter { field, .. } | Self::Conflict { field, .. } => Some(field),
            Self::UnexpectedBody { .. } | Self::UnsupportedBody { .. } => None,
        }
    }

    /// Where in the JSON body it is.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::Json(error) => Some(error.position()),
            _ => None,
        }
    }
}

fn prepend(path: &mut String, name: &str) {
    if !path.is_empty() && !path.starts_with('[') {
        path.insert(0, '.');
    }
    path.insert_str(0, name);
}
