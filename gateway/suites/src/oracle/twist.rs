//! Requests at the edges of the rules, and where the two gateways read them
//! differently: each with the reason that ours reads it as it does.

use Does::{Calls, Dies, Refuses};

use super::{asker::Outcome, case::Case};

/// A request at an edge.
#[derive(Debug, Clone, Copy)]
pub struct Twist {
    /// What is special.
    pub name: &'static str,
    verb: &'static str,
    target: &'static str,
    body: Option<&'static str>,
    /// Why the two differ; without it, they must agree.
    pub difference: Option<Difference>,
}

/// A difference that is meant.
#[derive(Debug, Clone, Copy)]
pub struct Difference {
    ours: Does,
    theirs: Does,
    /// What grpc-gateway does, if that is not what ours does.
    third: Option<Does>,
    /// Why ours does as it does.
    pub reason: &'static str,
}

/// What a gateway does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    /// Answers with this status, and the server was called.
    Calls(u16),
    /// Answers with this status, and it was not.
    Refuses(u16),
    /// Ends without an answer.
    Dies,
}

// === impl Twist ===

impl Twist {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        TWISTS.iter().copied()
    }

    /// With a difference that is meant.
    const fn differs(mut self, ours: Does, theirs: Does, reason: &'static str) -> Self {
        self.difference = Some(Difference { ours, theirs, third: None, reason });
        self
    }

    /// With a difference that is meant: ours refuses what Envoy hands on.
    const fn stricter(self, reason: &'static str) -> Self {
        self.differs(Refuses(400), Calls(200), reason)
    }

    /// And grpc-gateway does otherwise than ours, too.
    const fn alone(mut self, third: Does) -> Self {
        if let Some(difference) = &mut self.difference {
            difference.third = Some(third);
        }
        self
    }

    /// The request.
    pub fn case(&self) -> Case {
        match self.body {
            Some(body) => Case::post(self.target, body).by(self.verb),
            None => Case::get(self.target).by(self.verb),
        }
    }
}

// === impl Difference ===

impl Difference {
    /// Whether it is this one.
    pub fn is(&self, ours: &Outcome, theirs: &Outcome) -> bool {
        self.ours.is(ours) && self.theirs.is(theirs)
    }

    /// Whether grpc-gateway bears ours out.
    pub fn is_borne_out(&self) -> bool {
        self.third.is_none()
    }

    /// Whether grpc-gateway does what is said of it. Where it bears ours out, the
    /// same reached the server.
    pub fn is_third(&self, ours: &Outcome, third: &Outcome) -> bool {
        match self.third {
            Some(does) => does.is(third),
            None => self.ours.is_like(third) && ours.recorded == third.recorded,
        }
    }
}

// === impl Does ===

impl Does {
    /// Whether it is a refusal too, whatever its status, or a call with the same.
    fn is_like(self, outcome: &Outcome) -> bool {
        match self {
            Self::Refuses(_) => outcome.status >= 400 && outcome.recorded.is_none(),
            _ => self.is(outcome),
        }
    }

    fn is(self, outcome: &Outcome) -> bool {
        match self {
            Self::Calls(status) => outcome.status == status && outcome.recorded.is_some(),
            Self::Refuses(status) => outcome.status == status && outcome.recorded.is_none(),
            Self::Dies => !outcome.is_answer(),
        }
    }
}

const fn get(name: &'static str, target: &'static str) -> Twist {
    Twist { name, verb: "GET", target, body: None, difference: None }
}

const fn post(name: &'static str, body: &'static str) -> Twist {
    Twist { name, verb: "POST", target: "/v1/all", body: Some(body), difference: None }
}

const fn verb(name: &'static str, verb: &'static str, target: &'static str) -> Twist {
    Twist { name, verb, target, body: None, difference: None }
}

const fn sent(
    name: &'static str,
    verb: &'static str,
    target: &'static str,
    body: &'static str,
) -> Twist {
    Twist { name, verb, target, body: Some(body), difference: None }
}

// ---- why ours differs ----
const SAME_URI: &str = "%65 is e wherever it stands (RFC 3986, section 6.2.2.2), in a literal too";
const EMPTY_SEGMENT: &str = "an empty segment is none, so that a resource has one path";
const ESCAPES: &str = "% begins an escape or the URI is wrong (RFC 3986, section 2.4): passed on as text it means something else to the next who reads it";
const UTF8: &str = "a string must be UTF-8: Envoy leaves it to the server to find out";
const METHODS: &str =
    "a path that is known takes other methods: 405 with Allow (RFC 9110, section 15.5.6)";
const HEAD: &str = "HEAD is GET without its body (RFC 9110, section 9.3.2), and every server must take it (section 9.1)";
const NUMBERS: &str = "numbers are read as the JSON mapping reads them, in paths and queries too: with exponents, without zeros or a plus in front";
const TRUTHS: &str = "the JSON mapping knows true and false, in paths and queries too";
const OPEN_ENUMS: &str =
    "proto3 enums are open: Envoy takes unknown numbers in bodies, and not here";
const TWICE: &str = "one of two values would be lost without a word";
const OVERRIDES: &str = "what the path or the body says, the query cannot say otherwise: who may call may have been decided by it";
const SCALARS: &str = "a parameter has one value: repeated messages and structures have a place in bodies alone (google.api.http)";
const MAPS: &str = "a map in a query is labels[key]=value";
const KNOWN: &str = "the JSON mapping has one form for it, and that is not its fields";
const NO_BODY: &str = "the method takes no body, and one that is dropped would be missed";
const WHOLE_BODY: &str = "with body: \"*\" there are no parameters (google.api.http)";
const MASKS: &str = "a PATCH that sends no mask is one of the fields that it sends (AIP-134)";
const UNKNOWN_FIELDS: &str = "a field that is not known is an error unless asked otherwise (the JSON mapping): Envoy drops it without a word";
const NULLS: &str = "null is no element of a list or map (the JSON mapping); Envoy 1.40 drops it from lists, and crashes over maps";
const MAPPING: &str = "the JSON mapping has no such form";
const CRASH: &str = "a map entry whose key or value is the default leaves it out on the wire, as most encoders do: Envoy 1.40 crashes when it prints one";
const LEAP: &str = "a Timestamp has no leap seconds (timestamp.proto)";
const JSON: &str = "it is no JSON (RFC 8259): Envoy reads some JavaScript too";

const TWISTS: &[Twist] = &[
    // ---- paths ----
    get("a literal wins over a variable", "/v1/things/newest"),
    get("an escaped literal", "/v1/things/new%65st")
        .differs(Calls(200), Calls(200), SAME_URI)
        .alone(Calls(200)),
    get("an escaped slash in one segment", "/v1/things/a%2Fb"),
    get("an escaped slash in many segments", "/v1/deep/a%2Fb/c"),
    get("an escaped percent sign", "/v1/things/a%252Fb"),
    get("a plus in a path", "/v1/things/a+b"),
    get("a colon in a segment", "/v1/things/a:b"),
    get("an escaped verb", "/v1/deep/a%3Alook"),
    get("no segment for **", "/v1/deep"),
    get("an empty segment for **", "/v1/deep/")
        .differs(Refuses(404), Calls(200), EMPTY_SEGMENT)
        .alone(Calls(200)),
    get("empty segments within **", "/v1/deep/a//b")
        .differs(Refuses(404), Calls(200), EMPTY_SEGMENT)
        .alone(Calls(200)),
    get("an empty segment", "/v1/things/"),
    get("a slash too many", "/v1/things/a/").differs(Refuses(404), Calls(200), EMPTY_SEGMENT),
    get("a slash too many at the start", "//v1/things/a"),
    get("an escape that is none", "/v1/things/a%zzb").stricter(ESCAPES),
    get("an escape cut short", "/v1/things/a%2").stricter(ESCAPES),
    get("escapes that are no UTF-8", "/v1/things/%ff%fe").differs(Refuses(400), Calls(400), UTF8),
    get("an escaped NUL", "/v1/things/a%00b"),
    get("dots in a path", "/v1/things/../query"),
    get("an unknown path", "/v1/nothing"),
    get("a path in capitals", "/V1/query"),
    verb("the wrong method", "PATCH", "/v1/query").differs(Refuses(405), Refuses(404), METHODS),
    verb("an unknown method", "BREW", "/v1/query").differs(Refuses(405), Refuses(400), METHODS),
    verb("HEAD", "HEAD", "/v1/query").differs(Calls(200), Refuses(404), HEAD).alone(Refuses(501)),
    verb("a custom method", "REPORT", "/v1/report"),
    get("a number that is none", "/v1/numbers/a/1/1/1"),
    get("a number out of range", "/v1/numbers/2147483648/1/1/1"),
    get("a fraction for an integer", "/v1/numbers/1.5/1/1/1"),
    get("an integer as 1.0", "/v1/numbers/1.0/1/1/1")
        .differs(Calls(200), Refuses(400), NUMBERS)
        .alone(Refuses(400)),
    get("an integer as 1e2", "/v1/numbers/1e2/1/1/1")
        .differs(Calls(200), Refuses(400), NUMBERS)
        .alone(Refuses(400)),
    get("an integer with a plus", "/v1/numbers/%2B1/1/1/1").stricter(NUMBERS).alone(Calls(200)),
    get("an integer with zeros", "/v1/numbers/007/1/1/1").stricter(NUMBERS).alone(Calls(200)),
    get("a hexadecimal integer", "/v1/numbers/0x10/1/1/1"),
    get("a space before a number", "/v1/numbers/%201/1/1/1"),
    get("NaN in a path", "/v1/numbers/1/1/1/NaN"),
    get("Infinity in a path", "/v1/numbers/1/1/1/-Infinity"),
    get("inf in a path", "/v1/numbers/1/1/1/inf"),
    get("true as 1", "/v1/kinds/1/COLOUR_RED/AQID").stricter(TRUTHS).alone(Calls(200)),
    get("true in capitals", "/v1/kinds/TRUE/COLOUR_RED/AQID").stricter(TRUTHS).alone(Calls(200)),
    get("an enum by number", "/v1/kinds/true/1/AQID"),
    get("an unknown enum number", "/v1/kinds/true/77/AQID")
        .differs(Calls(200), Refuses(400), OPEN_ENUMS)
        .alone(Refuses(400)),
    get("an unknown enum name", "/v1/kinds/true/COLOUR_NONE/AQID"),
    get("an enum in lower case", "/v1/kinds/true/colour_red/AQID"),
    get("base64 without padding", "/v1/kinds/true/COLOUR_RED/aGVsbG8"),
    get("base64 for URLs", "/v1/kinds/true/COLOUR_RED/-_-_"),
    get("base64 that is none", "/v1/kinds/true/COLOUR_RED/!!!"),
    get("a time with an offset", "/v1/query?timestamp=2026-11-21T15:03:04%2B01:00"),
    get("a time without a zone", "/v1/query?timestamp=2026-11-21T15:03:04"),
    get("a day that is none", "/v1/query?timestamp=2026-02-30T15:03:04Z"),
    // ---- queries ----
    get("an unknown parameter", "/v1/query?nothing=1"),
    get("a parameter within a scalar", "/v1/query?longName.x=1"),
    get("a field twice", "/v1/query?longName=a&longName=b").stricter(TWICE),
    get("a field by both names", "/v1/query?longName=a&long_name=b")
        .stricter(TWICE)
        .alone(Calls(200)),
    get("two of a oneof", "/v1/query?choiceText=a&choiceNumber=1"),
    get("a field of the path in the query", "/v1/things/a?text=b")
        .stricter(OVERRIDES)
        .alone(Calls(200)),
    get("a parameter without a value", "/v1/query?longName="),
    get("a parameter without an equals sign", "/v1/query?longName"),
    get("an empty number", "/v1/query?int32="),
    get("a message as a parameter", "/v1/query?inner=a"),
    get("a repeated message as a parameter", "/v1/query?inners.text=a").stricter(SCALARS),
    get("a map by brackets", "/v1/query?labels%5Ba%5D=b").differs(Calls(200), Refuses(400), MAPS),
    get("a map by a dot", "/v1/query?labels.a=b"),
    get("repeated values by commas", "/v1/query?int32s=1,2"),
    get("an escaped name", "/v1/query?long%4eame=a"),
    get("ampersands too many", "/v1/query?&longName=a&&"),
    get("a semicolon between", "/v1/query?longName=a;uint32=1"),
    get("a second question mark", "/v1/query?longName=a?b"),
    get("an escape that is none in a query", "/v1/query?longName=%zz").stricter(ESCAPES),
    get("no UTF-8 in a query", "/v1/query?longName=%ff").differs(Refuses(400), Calls(400), UTF8),
    get("a struct as a parameter", "/v1/query?structure.a=b"),
    get("a value as a parameter", "/v1/query?value=b").stricter(SCALARS),
    get("a wrapper by its value", "/v1/query?int64Value.value=5").stricter(KNOWN).alone(Calls(200)),
    get("a time by its seconds", "/v1/query?timestamp.seconds=5").stricter(KNOWN).alone(Calls(200)),
    get("a duration of months", "/v1/query?duration=1mo"),
    get("an unset optional as a parameter", "/v1/query?maybe=0"),
    sent("a body where none is due", "GET", "/v1/query?longName=a", "{}")
        .stricter(NO_BODY)
        .alone(Calls(200)),
    sent("a query beside a whole body", "POST", "/v1/all?longName=a", "{}")
        .stricter(WHOLE_BODY)
        .alone(Calls(200)),
    sent("a query beside part of a body", "POST", "/v1/parts/a?longName=b", "{\"text\":\"c\"}"),
    sent("a query into the body's field", "POST", "/v1/parts/a?inner.number=1", "{\"text\":\"c\"}")
        .stricter(OVERRIDES)
        .alone(Calls(200)),
    sent("a field of the path in the body", "PUT", "/v1/all/a", "{\"text\":\"b\"}"),
    // ---- bodies ----
    sent("the second binding", "PATCH", "/v1/parts/7", "{\"text\":\"c\"}").differs(
        Calls(200),
        Calls(200),
        MASKS,
    ),
    post("no body", ""),
    post("a body of spaces", "  "),
    post("null", "null"),
    post("a list", "[]"),
    post("a text", "\"a\""),
    post("a number", "1"),
    post("an unknown field", "{\"nothing\":1}").stricter(UNKNOWN_FIELDS),
    post("an unknown field of a message", "{\"inner\":{\"nothing\":{\"a\":[1]}}}")
        .stricter(UNKNOWN_FIELDS),
    post("a field twice", "{\"longName\":\"a\",\"longName\":\"b\"}").stricter(TWICE),
    post("a field by both names", "{\"longName\":\"a\",\"long_name\":\"b\"}").stricter(TWICE),
    post("a field by its other name", "{\"long_name\":\"b\"}"),
    post("a field by its name in capitals", "{\"LongName\":\"b\"}").stricter(UNKNOWN_FIELDS),
    post("two of a oneof", "{\"choiceText\":\"a\",\"choiceNumber\":1}"),
    post("null for a text", "{\"longName\":null}"),
    post("null for a message", "{\"inner\":null}"),
    post("null for a list", "{\"texts\":null}"),
    post("null in a list", "{\"texts\":[null]}").stricter(NULLS),
    post("null in a map", "{\"labels\":{\"a\":null}}").differs(Refuses(400), Dies, NULLS),
    post("null for a value", "{\"value\":null}"),
    post("null for a wrapper", "{\"int64Value\":null}"),
    post("a default of an optional field", "{\"maybe\":0}"),
    post("a default", "{\"int32\":0,\"longName\":\"\",\"truth\":false}"),
    post("a number for a text", "{\"longName\":1}"),
    post("a truth for a text", "{\"longName\":true}"),
    post("a text for a truth", "{\"truth\":\"true\"}").stricter(MAPPING),
    post("a number for a truth", "{\"truth\":1}"),
    post("a text for an integer", "{\"int32\":\"5\"}"),
    post("a padded text for an integer", "{\"int32\":\" 5\"}"),
    post("an empty text for an integer", "{\"int32\":\"\"}"),
    post("a truth for an integer", "{\"int32\":true}"),
    post("a fraction for an integer", "{\"int32\":1.5}"),
    post("an integer as 1.0", "{\"int32\":1.0}"),
    post("an integer as 1e2", "{\"int32\":1e2}"),
    post("an integer as a text 1e2", "{\"int32\":\"1e2\"}").differs(
        Calls(200),
        Refuses(400),
        NUMBERS,
    ),
    post("an integer out of range", "{\"int32\":2147483648}"),
    post("a negative for an unsigned", "{\"uint32\":-1}"),
    post("minus nothing for an unsigned", "{\"uint32\":-0}"),
    post("a 64-bit number as a number", "{\"int64\":9007199254740993}"),
    post("a 64-bit number out of range", "{\"int64\":\"9223372036854775808\"}"),
    post("zeros before a number", "{\"int32\":01}"),
    post("a plus before a number", "{\"int32\":+1}"),
    post("a double out of range", "{\"double\":1e400}"),
    post("a float out of range", "{\"float\":1e39}"),
    post("a double as a text", "{\"double\":\"0.5\"}"),
    post("NaN as a text", "{\"float\":\"NaN\",\"maybe\":1}"),
    post("Infinity as a text", "{\"double\":\"-Infinity\"}"),
    post("NaN as a word", "{\"double\":NaN}"),
    post("minus zero", "{\"double\":-0.0}"),
    post("an enum by number", "{\"colour\":1}"),
    post("an unknown enum number", "{\"colour\":77}"),
    post("an unknown enum name", "{\"colour\":\"COLOUR_NONE\"}"),
    post("an enum in lower case", "{\"colour\":\"colour_red\"}"),
    post("an enum number as a text", "{\"colour\":\"1\"}").stricter(MAPPING),
    post("base64 without padding", "{\"blob\":\"aGVsbG8\"}"),
    post("base64 for URLs", "{\"blob\":\"-_-_\"}"),
    post("base64 that is none", "{\"blob\":\"!!!\"}"),
    post("one thing for a list", "{\"texts\":\"a\"}").stricter(MAPPING),
    post("a list for one thing", "{\"longName\":[\"a\"]}"),
    post("a list in a list", "{\"texts\":[[\"a\"]]}").stricter(MAPPING),
    post("a list for a message", "{\"inner\":[]}"),
    post("a text for a message", "{\"inner\":\"a\"}"),
    post("a list for a map", "{\"labels\":[]}"),
    post("a map's key twice", "{\"labels\":{\"a\":\"b\",\"a\":\"c\"}}"),
    post("a map's key that is no number", "{\"byNumber\":{\"a\":{}}}"),
    post("a map's key that is no truth", "{\"byTruth\":{\"1\":\"COLOUR_RED\"}}").stricter(MAPPING),
    post("a map's key that is the default", "{\"byTruth\":{\"false\":\"COLOUR_RED\"}}").differs(
        Calls(200),
        Dies,
        CRASH,
    ),
    post("a map's value that is the default", "{\"labels\":{\"a\":\"\"}}").differs(
        Calls(200),
        Dies,
        CRASH,
    ),
    post("a time with an offset", "{\"timestamp\":\"2026-11-21T15:03:04+01:00\"}"),
    post("a time in lower case", "{\"timestamp\":\"2026-11-21t15:03:04z\"}"),
    post("a time with a space", "{\"timestamp\":\"2026-11-21 15:03:04Z\"}"),
    post("a time without a zone", "{\"timestamp\":\"2026-11-21T15:03:04\"}"),
    post("a time of ten digits", "{\"timestamp\":\"2026-11-21T15:03:04.1234567891Z\"}"),
    post("a leap second", "{\"timestamp\":\"2016-12-31T23:59:60Z\"}").stricter(LEAP),
    post("the year 0", "{\"timestamp\":\"0000-01-01T00:00:00Z\"}"),
    post("a time as a message", "{\"timestamp\":{\"seconds\":1}}").stricter(KNOWN),
    post("a duration without a unit", "{\"duration\":\"3\"}"),
    post("a duration of ten digits", "{\"duration\":\"3.1234567891s\"}"),
    post("a duration too long", "{\"duration\":\"315576000001s\"}"),
    post("a duration with an exponent", "{\"duration\":\"1e2s\"}"),
    post("a negative duration of less than a second", "{\"duration\":\"-0.5s\"}"),
    post("a mask by proto names", "{\"mask\":\"long_name\"}").stricter(MAPPING),
    post("an empty mask", "{\"mask\":\"\"}"),
    post("a struct that is a list", "{\"structure\":[]}"),
    post("a list that is a struct", "{\"list\":{}}").stricter(MAPPING),
    post("an unknown escape", "{\"longName\":\"\\x\"}").stricter(JSON),
    post("half a surrogate", "{\"longName\":\"\\ud83e\"}"),
    post("a surrogate pair", "{\"longName\":\"\\ud83e\\udd80\"}"),
    post("an escaped NUL", "{\"longName\":\"\\u0000\"}"),
    post("a line break in a text", "{\"longName\":\"a\nb\"}").stricter(JSON),
    post("single quotes", "{'longName':'a'}").stricter(JSON),
    post("a name without quotes", "{longName:\"a\"}").stricter(JSON),
    post("a comma at the end", "{\"longName\":\"a\",}").stricter(JSON),
    post("a comma at the end of a list", "{\"texts\":[\"a\",]}").stricter(JSON),
    post("a comment", "{\"longName\":\"a\" /* no */}"),
    post("more after the end", "{\"longName\":\"a\"} x"),
    post("two bodies", "{\"longName\":\"a\"}{}"),
    post("an end too early", "{\"longName\":\"a\""),
    post("an escaped name", "{\"long\\u004eame\":\"a\"}"),
    post("an extension's name", "{\"[a.b]\":1}").stricter(UNKNOWN_FIELDS),
    post(
        "a type's name",
        "{\"@type\":\"type.googleapis.com/oracle.v1.Everything\",\"truth\":true}",
    )
    .stricter(UNKNOWN_FIELDS),
    // ---- answers ----
    get("CANCELLED", "/v1/fail/1"),
    get("UNKNOWN", "/v1/fail/2"),
    get("INVALID_ARGUMENT", "/v1/fail/3"),
    get("DEADLINE_EXCEEDED", "/v1/fail/4"),
    get("NOT_FOUND", "/v1/fail/5"),
    get("ALREADY_EXISTS", "/v1/fail/6"),
    get("PERMISSION_DENIED", "/v1/fail/7"),
    get("RESOURCE_EXHAUSTED", "/v1/fail/8"),
    get("FAILED_PRECONDITION", "/v1/fail/9"),
    get("ABORTED", "/v1/fail/10"),
    get("OUT_OF_RANGE", "/v1/fail/11"),
    get("UNIMPLEMENTED", "/v1/fail/12"),
    get("INTERNAL", "/v1/fail/13"),
    get("UNAVAILABLE", "/v1/fail/14"),
    get("DATA_LOSS", "/v1/fail/15"),
    get("UNAUTHENTICATED", "/v1/fail/16"),
];
