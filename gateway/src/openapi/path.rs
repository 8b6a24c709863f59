//! Path templates of the contracts as OpenAPI has them, where a parameter is one
//! segment: `/v1/{name=shelves/*}` is `/v1/shelves/{shelvesId}`.

use transcode::Binding;

/// A path, piece by piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Parameter(Parameter),
}

/// A parameter of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) name: String,
    /// The request's field that it sets, or sets a part of.
    pub(super) field: Option<String>,
    pub(super) extent: Extent,
}

/// How much of the field a parameter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    Whole,
    /// One segment; the pattern of the whole is with it.
    Segment(String),
    /// All segments that follow.
    Rest,
}

// === impl Path ===

impl Path {
    /// The path of a binding.
    pub(super) fn of(binding: &Binding) -> Self {
        Self::parse(binding.pattern())
    }

    fn parse(template: &str) -> Self {
        let mut path = Self { pieces: Vec::new() };
        let mut rest = template;
        while let Some(at) = rest.find(['{', '*']) {
            path.literal(&rest[..at]);
            rest = &rest[at..];
            if let Some(inner) = rest.strip_prefix('{') {
                let (variable, after) = inner.split_once('}').unwrap_or((inner, ""));
                let (field, pattern) = variable.split_once('=').unwrap_or((variable, "*"));
                path.variable(field, pattern);
                rest = after;
            } else if let Some(after) = rest.strip_prefix("**") {
                path.parameter(None, "**", "**");
                rest = after;
            } else {
                path.parameter(None, "*", "*/");
                rest = &rest[1..];
            }
        }
        path.literal(rest);
        path
    }

    fn literal(&mut self, text: &str) {
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Literal(before)) => before.push_str(text),
            _ => self.pieces.push(Piece::Literal(text.to_owned())),
        }
    }

    fn variable(&mut self, field: &str, pattern: &str) {
        for (at, segment) in pattern.split('/').enumerate() {
            if at > 0 {
                self.literal("/");
            }
            match segment {
                "*" | "**" => self.parameter(Some(field), segment, pattern),
                literal => self.literal(literal),
            }
        }
    }

    fn parameter(&mut self, field: Option<&str>, segment: &str, pattern: &str) {
        let extent = match (segment, pattern) {
            ("**", _) => Extent::Rest,
            (_, "*") => Extent::Whole,
            _ => Extent::Segment(pattern.to_owned()),
        };
        let name = match (&extent, field) {
            (Extent::Whole | Extent::Rest, Some(field)) => {
                camel(field.rsplit('.').next().unwrap_or(field))
            }
            _ => self.after_literal(),
        };
        let same =
            self.parameters().filter(|other| other.name.trim_end_matches(char::is_numeric) == name);
        let name = match same.count() {
            0 => name,
            before => format!("{name}{}", before + 1),
        };
        let field = field.map(str::to_owned);
        self.pieces.push(Piece::Parameter(Parameter { name, field, extent }));
    }

    /// The name of a segment by the literal in front of it, as Google's discovery
    /// documents have it.
    fn after_literal(&self) -> String {
        let literal = self.pieces.iter().rev().find_map(|piece| match piece {
            Piece::Literal(text) => {
                text.rsplit('/').find(|part| !part.is_empty()).map(str::to_owned)
            }
            Piece::Parameter(_) => None,
        });
        format!("{}Id", camel(&literal.unwrap_or_else(|| "segment".to_owned())))
    }

    /// The parameters, in order.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Parameter(parameter) => Some(parameter),
            Piece::Literal(_) => None,
        })
    }

    /// Takes the names of another path of the same shape: OpenAPI tells paths
    /// apart by their shape alone.
    pub(super) fn rename(&mut self, other: &Self) {
        let names: Vec<String> = other.parameters().map(|other| other.name.clone()).collect();
        let parameters = self.pieces.iter_mut().filter_map(|piece| match piece {
            Piece::Parameter(parameter) => Some(parameter),
            Piece::Literal(_) => None,
        });
        for (parameter, name) in parameters.zip(names) {
            parameter.name = name;
        }
    }

    /// The path without the names.
    pub(super) fn shape(&self) -> String {
        self.write(|_| "")
    }

    /// The path as OpenAPI has it.
    pub(super) fn text(&self) -> String {
        self.write(|parameter| &parameter.name)
    }

    fn write<'p>(&'p self, name: impl Fn(&'p Parameter) -> &'p str) -> String {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Parameter(parameter) => format!("{{{}}}", name(parameter)),
        });
        pieces.collect()
    }
}

/// `product_id` as `productId`.
pub(super) fn camel(name: &str) -> String {
    let mut text = String::new();
    let mut raise = false;
    for letter in name.chars() {
        match letter {
            '_' | '-' | ':' => raise = true,
            letter if raise => {
                text.extend(letter.to_uppercase());
                raise = false;
            }
            letter => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_of_several_segments_is_written_out() {
        let path = Path::parse("/v1/{name=shelves/*/books/*}:archive");
        assert_eq!(path.text(), "/v1/shelves/{shelvesId}/books/{booksId}:archive");
        assert_eq!(path.shape(), "/v1/shelves/{}/books/{}:archive");
        assert!(path.parameters().all(|parameter| parameter.field.as_deref() == Some("name")));
    }

    #[test]
    fn a_variable_of_one_segment_has_the_name_of_its_field() {
        let path = Path::parse("/v1/{product.product_id}/x/{other=**}");
        assert_eq!(path.text(), "/v1/{productId}/x/{other}");
        let extents: Vec<&Extent> = path.parameters().map(|parameter| &parameter.extent).collect();
        assert_eq!(extents, [&Extent::Whole, &Extent::Rest]);
    }

    #[test]
    fn no_two_parameters_have_one_name() {
        assert_eq!(Path::parse("/v1/{a.id}/{b.id}/*/*").text(), "/v1/{id}/{id2}/{v1Id}/{v1Id2}");
    }

    #[test]
    fn paths_of_one_shape_share_their_names() {
        let first = Path::parse("/v1/products/{product_id}");
        let mut second = Path::parse("/v1/products/{name}");
        second.rename(&first);
        assert_eq!(second.text(), first.text());
    }
}
