//! How the messages of a stream are set apart, as the client asks.

use crate::rest::Accept;

/// How messages are set apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// One JSON array.
    Array,
    /// `application/x-ndjson`: one line each.
    Lines,
    /// `text/event-stream`: one event each.
    Events,
    /// `application/x-protobuf`: each behind its length as a varint.
    Delimited,
}

// === impl Framing ===

impl Framing {
    /// What the client wants most; `None` if it takes none of them. Where it likes
    /// two as much, it is what it asks for by name, and then JSON before the rest.
    pub(crate) fn of(accept: Accept) -> Option<Self> {
        let wanted = [
            (accept.protobuf, Self::Delimited),
            (accept.lines, Self::Lines),
            (accept.events, Self::Events),
            (accept.json, Self::Array),
        ];
        wanted
            .into_iter()
            .filter(|(weight, _)| weight.quality() > 0)
            .max_by_key(|(weight, _)| (weight.quality(), weight.is_named()))
            .map(|(_, framing)| framing)
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Array => "application/json",
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
            Self::Delimited => "application/x-protobuf; encoding=delimited",
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, header};

    use super::*;

    #[test]
    fn the_client_gets_what_it_wants_most() {
        for (accept, framing) in [
            ("*/*", Some(Framing::Array)),
            ("application/json", Some(Framing::Array)),
            ("application/*", Some(Framing::Array)),
            ("application/x-ndjson", Some(Framing::Lines)),
            ("text/event-stream", Some(Framing::Events)),
            ("text/event-stream, */*", Some(Framing::Events)),
            ("text/event-stream;q=0.5, */*", Some(Framing::Array)),
            ("application/x-protobuf", Some(Framing::Delimited)),
            ("application/json;q=0.2, application/x-ndjson;q=0.3", Some(Framing::Lines)),
            ("application/x-ndjson;q=0, text/*", Some(Framing::Events)),
            ("application/json, text/event-stream", Some(Framing::Array)),
            ("image/png", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(Framing::of(Accept::of(&headers)), framing, "{accept}");
        }
        assert_eq!(Framing::of(Accept::of(&HeaderMap::new())), Some(Framing::Array));
    }
}
