//! The rules of the JSON mapping, one by one.
#![expect(clippy::unwrap_used, reason = "a test panics where it fails")]

mod oracle;

use oracle::{decode, parse, print, rich, schema, their_parse, their_print, value};
use transcode::{JsonErrorKind, JsonValues, ParseOptions, PrintOptions, Sequence};

/// What comes of a JSON text that goes to the wire and back; and prost-reflect must read the same into it.
#[track_caller]
fn round(json: &str) -> String {
    let wire = parse(json.as_bytes()).unwrap_or_else(|error| panic!("{error}: {json}"));
    let printed = print(&wire).unwrap();
    let ours = their_print(&decode(&wire).unwrap()).unwrap();
    let theirs = their_parse(json.as_bytes())
        .unwrap_or_else(|error| panic!("prost-reflect: {error}: {json}"));
    assert_eq!(value(&ours), value(&their_print(&theirs).unwrap()), "{json}");
    printed
}

#[track_caller]
fn same(json: &str) {
    assert_eq!(value(&round(json)), value(json));
}

#[track_caller]
fn becomes(json: &str, expected: &str) {
    assert_eq!(round(json), expected);
}

#[track_caller]
fn refused(json: &str, kind: JsonErrorKind) -> String {
    let Err(error) = parse(json.as_bytes()) else { panic!("was taken: {json}") };
    assert_eq!(error.kind(), kind, "{error}");
    error.to_string()
}

#[test]
fn every_scalar_comes_back() {
    same(
        r#"{"aDouble":1.5,"aFloat":-0.25,"anInt32":-5,"anInt64":"-9223372036854775808","aUint32":4294967295,
        "aUint64":"18446744073709551615","aSint32":-2147483648,"aSint64":"-1","aFixed32":7,"aFixed64":"8",
        "aSfixed32":-9,"aSfixed64":"-10","aBool":true,"aString":"grüße \u0001 \" \\ / 😀","aBytes":"AAECAw==",
        "colour":"COLOUR_FAR","twin":"TWIN_ONE","inner":{"number":1,"textValue":"x","inner":{"items":["a",""]}}}"#,
    );
}

#[test]
fn integers_are_read_in_every_spelling_that_is_one() {
    becomes(r#"{"anInt32":"12"}"#, r#"{"anInt32":12}"#);
    becomes(r#"{"anInt32":1.0,"aUint32":1e2}"#, r#"{"anInt32":1,"aUint32":100}"#);
    becomes(r#"{"anInt64":5}"#, r#"{"anInt64":"5"}"#);
    assert_eq!(print(&parse(br#"{"anInt32":"1e2"}"#).unwrap()).unwrap(), r#"{"anInt32":100}"#);
    assert_eq!(print(&parse(br#"{"anInt32":"\u0031"}"#).unwrap()).unwrap(), r#"{"anInt32":1}"#);
    for json in [
        r#"{"anInt32":2147483648}"#,
        r#"{"anInt32":1.5}"#,
        r#"{"anInt32":""}"#,
        r#"{"anInt32":" 1"}"#,
        r#"{"anInt32":"1 "}"#,
        r#"{"anInt32":"01"}"#,
        r#"{"anInt32":true}"#,
        r#"{"aUint64":-1}"#,
        r#"{"aUint32":4294967296}"#,
        r#"{"anInt64":"9223372036854775808"}"#,
        r#"{"anInt32":{}}"#,
    ] {
        refused(json, JsonErrorKind::Value);
    }
    refused(r#"{"anInt32":01}"#, JsonErrorKind::Syntax);
}

#[test]
fn floats_have_names_for_what_json_lacks() {
    becomes(
        r#"{"aDouble":"NaN","aFloat":"-Infinity","doubles":["Infinity",1e300,"1.5"]}"#,
        r#"{"aDouble":"NaN","aFloat":"-Infinity","doubles":["Infinity",1e+300,1.5]}"#,
    );
    refused(r#"{"aDouble":1e400}"#, JsonErrorKind::Value);
    refused(r#"{"aFloat":1e39}"#, JsonErrorKind::Value);
    refused(r#"{"aDouble":NaN}"#, JsonErrorKind::Syntax);
}

#[test]
fn defaults_without_presence_are_not_printed_and_others_are() {
    becomes(
        r#"{"anInt32":0,"aString":"","aBool":false,"colour":"COLOUR_UNSPECIFIED","int32s":[],"labels":{},"aBytes":""}"#,
        "{}",
    );
    same(
        r#"{"maybeInt32":0,"maybeString":"","maybeColour":"COLOUR_UNSPECIFIED","choiceInt32":0,"inner":{}}"#,
    );
    assert_eq!(parse(br#"{"anInt32":0,"aDouble":0.0}"#).unwrap(), b"");
    assert_eq!(print(&[0x18, 0]).unwrap(), "{}");
    same(r#"{"aDouble":-0.0}"#);
}

#[test]
fn null_is_as_absent_but_for_values() {
    becomes(
        r#"{"anInt32":null,"inner":null,"labels":null,"strings":null,"timestamp":null,"int64Value":null}"#,
        "{}",
    );
    same(r#"{"value":null,"otherValue":null}"#);
    becomes(r#"{"choiceInt32":null,"choiceString":"x"}"#, r#"{"choiceString":"x"}"#);
    refused(r#"{"strings":[null]}"#, JsonErrorKind::Value);
    refused(r#"{"labels":{"a":null}}"#, JsonErrorKind::Value);
    same(r#"{"values":[null,1]}"#);
    assert_eq!(
        print(&parse(br#"{"choiceNull":null}"#).unwrap()).unwrap(),
        r#"{"choiceNull":null}"#
    );
}

#[test]
fn both_names_of_a_field_are_read_and_the_json_name_is_printed() {
    becomes(
        r#"{"an_int32":1,"aString":"x","another-Name":"y"}"#,
        r#"{"anInt32":1,"aString":"x","another-Name":"y"}"#,
    );
    becomes(r#"{"renamed":"y"}"#, r#"{"another-Name":"y"}"#);
    becomes(r#"{"\u0061nInt32":1}"#, r#"{"anInt32":1}"#);
    same(r#"{"aFieldWhoseNameIsLongEnoughToMissThePadding":"x"}"#);
    let mut out = Vec::new();
    let mut options = PrintOptions::default();
    options.use_proto_names = true;
    schema()
        .wire_to_json(rich(), &parse(br#"{"anInt32":1}"#).unwrap(), &mut out, &options)
        .unwrap();
    assert_eq!(out, br#"{"an_int32":1}"#);
}

#[test]
fn a_member_twice_is_refused_under_any_name() {
    let message = refused(r#"{"inner":{"number":1,"number":2}}"#, JsonErrorKind::Duplicate);
    assert_eq!(message, "inner.number: named twice; send it once (line 1, column 22)");
    refused(r#"{"an_int32":1,"anInt32":1}"#, JsonErrorKind::Duplicate);
    refused(r#"{"anInt32":null,"anInt32":1}"#, JsonErrorKind::Duplicate);
    let message = refused(r#"{"labels":{"a":"1","b":"2","a":"3"}}"#, JsonErrorKind::Duplicate);
    assert_eq!(message, r#"labels["a"]: named twice; send it once (line 1, column 28)"#);
    let many: Vec<String> =
        (0..40).map(|n| format!("\"{}\":\"{}\"", n % 39, "x".repeat(n * 7))).collect();
    refused(&format!("{{\"labels\":{{{}}}}}", many.join(",")), JsonErrorKind::Duplicate);
    refused(r#"{"byInt32":{"1":"a","1":"b"}}"#, JsonErrorKind::Duplicate);
    refused(r#"{"structure":{"a":1,"a":2}}"#, JsonErrorKind::Duplicate);
    // Beyond the first 64 fields of a message.
    refused(r#"{"bytesValue":"","bytesValue":""}"#, JsonErrorKind::Duplicate);
}

#[test]
fn a_oneof_is_set_once() {
    same(r#"{"choiceInner":{"number":3},"otherInner":{}}"#);
    let message = refused(r#"{"choiceString":"a","choiceInt32":1}"#, JsonErrorKind::Duplicate);
    assert!(
        message.starts_with("choiceInt32: set together with another of its oneof"),
        "{message}"
    );
}

#[test]
fn an_unknown_field_is_refused_with_the_nearest_name() {
    let message = refused("{\n  \"inner\": {\"textvalue\": 1}}", JsonErrorKind::UnknownField);
    assert_eq!(
        message,
        "inner.textvalue: unknown field of rich.v1.Inner; did you mean `textValue`? (line 2, column 13)"
    );
    let mut options = ParseOptions::default();
    options.ignore_unknown_fields = true;
    let mut out = Vec::new();
    let json = br#"{"nope":[{"a":[1]}],"anInt32":1,"colour":"MAUVE","colours":["MAUVE","COLOUR_RED"],"byBool":{"true":"MAUVE"}}"#;
    schema().json_to_wire(rich(), json, &mut out, &options).unwrap();
    assert_eq!(print(&out).unwrap(), r#"{"anInt32":1,"colours":["COLOUR_RED"]}"#);
}

#[test]
fn an_error_names_the_element_and_its_place() {
    let message = refused("{\"inners\":[{},{\"number\":\n \"x\"}]}", JsonErrorKind::Value);
    assert_eq!(
        message,
        "inners[1].number: expected an integer from -2147483648 to 2147483647, found \"x\" (line 2, column 2)"
    );
    let message = refused(r#"{"byInt64":{"5":{"number":[]}}}"#, JsonErrorKind::Value);
    assert_eq!(
        message,
        "byInt64[\"5\"].number: expected an integer from -2147483648 to 2147483647, found an array (line 1, column 27)"
    );
}

#[test]
fn enums_are_read_by_name_and_number() {
    becomes(r#"{"colour":2,"twin":"TWIN_UNO"}"#, r#"{"colour":"COLOUR_GREEN","twin":"TWIN_ONE"}"#);
    same(r#"{"colour":77,"maybeColour":"COLOUR_BELOW"}"#);
    let message = refused(r#"{"colour":"COLOUR_REDD"}"#, JsonErrorKind::Value);
    assert!(message.contains("did you mean \"COLOUR_RED\"?"), "{message}");
    let mut options = PrintOptions::default();
    options.enum_as_numbers = true;
    let mut out = Vec::new();
    schema()
        .wire_to_json(rich(), &parse(br#"{"colour":"COLOUR_RED"}"#).unwrap(), &mut out, &options)
        .unwrap();
    assert_eq!(out, br#"{"colour":1}"#);
}

#[test]
fn lists_are_read_packed_and_unpacked() {
    same(r#"{"doubles":[1.5,0.0],"int32s":[0,-1,300],"bools":[true,false],"unpacked":[1,2],"colours":["COLOUR_RED",0]}"#
        .replace(",0]}", ",\"COLOUR_UNSPECIFIED\"]}")
        .as_str());
    // int32s (32) unpacked, then packed, then unpacked; unpacked (43) packed.
    let wire = [0x80, 2, 1, 0x82, 2, 2, 2, 3, 0x80, 2, 4, 0xda, 2, 2, 7, 8];
    assert_eq!(print(&wire).unwrap(), r#"{"int32s":[1,2,3,4],"unpacked":[7,8]}"#);
}

#[test]
fn maps_of_every_key_come_back() {
    same(
        r#"{"labels":{"":"","a":"b"},"byInt32":{"-1":"x"},"byInt64":{"9007199254740993":{"number":1}},
        "byUint32":{"4294967295":0.5},"byBool":{"true":"COLOUR_RED","false":"COLOUR_UNSPECIFIED"},
        "blobs":{"k":"/w=="},"byFixed64":{"18446744073709551615":true},"bySint32":{"-5":"1970-01-01T00:00:01Z"}}"#,
    );
    refused(r#"{"byInt32":{"x":"y"}}"#, JsonErrorKind::Value);
    refused(r#"{"byBool":{"True":1}}"#, JsonErrorKind::Value);
}

#[test]
fn what_comes_in_parts_on_the_wire_is_put_together() {
    let inner = |body: &[u8]| [&[0x92, 1, u8::try_from(body.len()).unwrap()], body].concat();
    // inner twice, with an_int32 in between and again; labels with a key again.
    let label = |key: u8, value: u8| [0x92, 3, 6, 0x0a, 1, key, 0x12, 1, value].to_vec();
    let wire = [
        inner(&[8, 1]),
        vec![0x18, 5],
        label(b'a', b'1'),
        inner(&[0x12, 1, b'x']),
        vec![0x18, 6],
        label(b'b', b'2'),
        label(b'a', b'3'),
        inner(&[8, 2]),
    ]
    .concat();
    let printed = print(&wire).unwrap();
    assert_eq!(
        printed,
        r#"{"anInt32":6,"inner":{"number":2,"textValue":"x"},"labels":{"b":"2","a":"3"}}"#
    );
    assert_eq!(value(&printed), value(&oracle::their_print(&decode(&wire).unwrap()).unwrap()));
    // A oneof: the last member wins, and forgets what it was before.
    let choice_inner = |body: &[u8]| [&[0xf2, 3, u8::try_from(body.len()).unwrap()], body].concat();
    let wire = [choice_inner(&[8, 1]), vec![0xe8, 3, 9], choice_inner(&[0x12, 1, b'x'])].concat();
    assert_eq!(print(&wire).unwrap(), r#"{"choiceInner":{"textValue":"x"}}"#);
    // A value that is gone again, being its default.
    assert_eq!(print(&[0x18, 5, 0x18, 0]).unwrap(), "{}");
}

#[test]
fn parts_within_parts_do_not_take_exponential_time() {
    let mut wire = vec![8, 1, 8, 2];
    for _ in 0..90 {
        let mut length = Vec::new();
        let mut value = wire.len();
        while value >= 128 {
            length.push(u8::try_from(value % 128 + 128).unwrap());
            value /= 128;
        }
        length.push(u8::try_from(value).unwrap());
        wire = [&[0x1a], &*length, &*wire, &[8, 1, 8, 2]].concat();
    }
    let mut out = Vec::new();
    let inner = schema().message("rich.v1.Inner").unwrap();
    let start = std::time::Instant::now();
    schema().wire_to_json(inner, &wire, &mut out, &PrintOptions::default()).unwrap();
    assert!(start.elapsed().as_secs() < 5);
    assert_eq!(String::from_utf8(out).unwrap().matches("\"number\":2").count(), 91);
}

#[test]
fn unknown_fields_and_groups_on_the_wire_are_skipped() {
    let unknown = [0xf8, 0xff, 1, 5, 0xfb, 0xff, 1, 8, 1, 0xfc, 0xff, 1];
    assert_eq!(print(&[&unknown[..], &[0x18, 7], &unknown].concat()).unwrap(), r#"{"anInt32":7}"#);
    // A known field with another wire type is an unknown one.
    assert_eq!(print(&[0x1d, 1, 2, 3, 4, 0x18, 7]).unwrap(), r#"{"anInt32":7}"#);
    for broken in
        [&[0x18][..], &[0x72, 5, b'x'], &[0xfb, 0xff, 1], &[0x1c], &[0], &[0x1f], &[0xff; 12]]
    {
        assert!(print(broken).is_err(), "{broken:?}");
    }
    assert_eq!(
        print(&[0x72, 1, 0xff]).unwrap_err().to_string(),
        "aString: holds text that is not UTF-8"
    );
}

#[test]
fn times_and_masks_have_text_of_their_own() {
    same(r#"{"timestamp":"2026-11-21T07:00:00.123Z","duration":"-1.500s","mask":"a.b,fooBar"}"#);
    becomes(
        r#"{"timestamp":"2026-11-21T08:00:00+01:00"}"#,
        r#"{"timestamp":"2026-11-21T07:00:00Z"}"#,
    );
    same(r#"{"timestamps":["1970-01-01T00:00:00Z"],"duration":"0s","mask":""}"#);
    same(r#"{"mask":"*,inner.*.fooBar,*.a"}"#);
    for json in [
        r#"{"timestamp":"2026"}"#,
        r#"{"duration":"1"}"#,
        r#"{"mask":"foo_bar"}"#,
        r#"{"mask":"a-b"}"#,
        r#"{"mask":"a,b:c"}"#,
        r#"{"mask":"a,"}"#,
        r#"{"duration":1}"#,
    ] {
        refused(json, JsonErrorKind::Value);
    }
    // A path without JSON form, and a time out of range.
    assert!(print(&[0xc2, 4, 4, 0x0a, 2, b'A', b'b']).is_err());
    assert!(print(&[0xc2, 4, 4, 0x0a, 0, 0x0a, 0]).is_err());
    assert!(print(&[0xb2, 4, 2, 0x10, 0xff]).is_err());
}

#[test]
fn structs_hold_any_json() {
    same(
        r#"{"structure":{"a":null,"b":[1,"x",{"c":true}],"d":{}},"value":{"x":[[]]},"list":[null,false,""],
        "values":[1.5,"s",[],{}]}"#,
    );
    same(r#"{"value":"text","otherValue":[]}"#);
    assert_eq!(print(&[0xd2, 4, 0]).unwrap(), r#"{"value":null}"#);
    // NaN in a Value.
    assert!(print(&[0xd2, 4, 9, 0x11, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f]).is_err());
}

#[test]
fn an_any_is_expanded_by_its_type() {
    same(r#"{"any":{"@type":"type.googleapis.com/rich.v1.Inner","number":1,"items":["x"]}}"#);
    same(r#"{"any":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1.500s"}}"#);
    same(
        r#"{"anys":[{"@type":"type.googleapis.com/google.protobuf.Any","value":{"@type":"t/rich.v1.Inner"}}]}"#,
    );
    same(r#"{"any":{"@type":"type.googleapis.com/google.protobuf.Int64Value","value":"5"}}"#);
    becomes(
        r#"{"any":{"number":1,"@type":"x/rich.v1.Inner"}}"#,
        r#"{"any":{"@type":"x/rich.v1.Inner","number":1}}"#,
    );
    assert_eq!(print(&parse(br#"{"any":{}}"#).unwrap()).unwrap(), r#"{"any":{}}"#);
    // Empty has no JSON of its own and stands without "value"; Go and prost-reflect write and want one.
    for json in [
        r#"{"any":{"@type":"t/google.protobuf.Empty"}}"#,
        r#"{"any":{"@type":"t/google.protobuf.Empty","value":{}}}"#,
    ] {
        let wire = parse(json.as_bytes()).unwrap();
        assert_eq!(print(&wire).unwrap(), r#"{"any":{"@type":"t/google.protobuf.Empty"}}"#);
    }
    refused(
        r#"{"any":{"@type":"t/google.protobuf.Empty","value":{"a":1}}}"#,
        JsonErrorKind::UnknownField,
    );
    refused(r#"{"any":{"@type":"x/unknown.Type"}}"#, JsonErrorKind::UnknownType);
    refused(r#"{"any":{"number":1}}"#, JsonErrorKind::Value);
    refused(
        r#"{"any":{"@type":"x/rich.v1.Inner","@type":"x/rich.v1.Inner"}}"#,
        JsonErrorKind::Duplicate,
    );
    refused(r#"{"any":{"@type":"x/google.protobuf.Duration"}}"#, JsonErrorKind::Value);
    refused(r#"{"any":{"@type":"x/rich.v1.Inner","nope":1}}"#, JsonErrorKind::UnknownField);
}

#[test]
fn an_any_of_unknown_type_is_kept_on_demand() {
    let wire = [0xe2, 4, 9, 0x0a, 3, b't', b'/', b'x', 0x12, 2, 1, 2];
    assert!(print(&wire).unwrap_err().to_string().starts_with("any: an Any of unknown type"));
    let mut options = PrintOptions::default();
    options.keep_unknown_any = true;
    let mut out = Vec::new();
    schema().wire_to_json(rich(), &wire, &mut out, &options).unwrap();
    assert_eq!(out, br#"{"any":{"@type":"t/x","value":"AQI="}}"#);
}

#[test]
fn details_of_a_status_are_expanded_where_known() {
    // code 5, message "x", details: an Inner, something unknown, an Inner whose bytes are broken
    let detail = |url: &str, value: &[u8]| {
        let byte = |n: usize| u8::try_from(n).unwrap();
        let any =
            [&[0x0a, byte(url.len())], url.as_bytes(), &[0x12, byte(value.len())], value].concat();
        [&[0x1a, byte(any.len())], &*any].concat()
    };
    let status = [
        vec![8, 5, 0x12, 1, b'x'],
        detail("t/rich.v1.Inner", &[8, 1]),
        detail("t/no.Such", &[1]),
        detail("t/rich.v1.Inner", &[8]),
    ]
    .concat();
    let mut out = Vec::new();
    schema().details_to_json(&status, &mut out, &PrintOptions::default()).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"[{"@type":"t/rich.v1.Inner","number":1},{"@type":"t/no.Such","value":"AQ=="},{"@type":"t/rich.v1.Inner","value":"CA=="}]"#
    );
}

#[test]
fn wrappers_are_printed_as_what_they_wrap() {
    same(
        r#"{"doubleValue":0.0,"floatValue":1.5,"int64Value":"0","uint64Value":"1","int32Value":0,"uint32Value":2,
        "boolValue":false,"stringValue":"","bytesValue":"","int64Values":["0","1"]}"#,
    );
}

#[test]
fn bytes_are_read_in_both_alphabets_padded_or_not() {
    for text in ["-_8=", "+/8=", "-_8", "+/8"] {
        assert_eq!(
            parse(format!(r#"{{"aBytes":"{text}"}}"#).as_bytes()).unwrap(),
            [0x7a, 2, 0xfb, 0xff]
        );
    }
    for text in ["a", "ab*=", "abc=d", "ab cd"] {
        refused(&format!(r#"{{"aBytes":"{text}"}}"#), JsonErrorKind::Value);
    }
}

#[test]
fn long_integers_are_numbers_on_demand() {
    let mut options = PrintOptions::default();
    options.int64_as_number = true;
    let mut out = Vec::new();
    let wire = parse(br#"{"anInt64":"-5","aFixed64":"7","byInt64":{"1":{}}}"#).unwrap();
    schema().wire_to_json(rich(), &wire, &mut out, &options).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"anInt64":-5,"aFixed64":7,"byInt64":{"1":{}}}"#
    );
}

#[test]
fn defaults_are_printed_on_demand_in_the_order_of_the_fields() {
    let inner = schema().message("rich.v1.Inner").unwrap();
    let mut options = PrintOptions::default();
    options.emit_defaults = true;
    let show = |wire: &[u8]| {
        let mut out = Vec::new();
        schema().wire_to_json(inner, wire, &mut out, &options).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(show(&[]), r#"{"number":0,"textValue":"","items":[]}"#);
    assert_eq!(show(&[0x12, 1, b'x']), r#"{"number":0,"textValue":"x","items":[]}"#);
    assert_eq!(show(&[0x22, 1, b'x', 8, 0]), r#"{"number":0,"textValue":"","items":["x"]}"#);
    assert_eq!(
        show(&[0x1a, 0]),
        r#"{"number":0,"textValue":"","inner":{"number":0,"textValue":"","items":[]},"items":[]}"#
    );
}

#[test]
fn depth_and_size_are_limited() {
    let nested = format!("{}{{}}{}", r#"{"inner":"#.repeat(200), "}".repeat(200));
    refused(&nested, JsonErrorKind::Depth);
    let list = format!(r#"{{"value":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    refused(&list, JsonErrorKind::Depth);
    let skipped = format!(r#"{{"nope":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let mut options = ParseOptions::default();
    options.ignore_unknown_fields = true;
    let error =
        schema().json_to_wire(rich(), skipped.as_bytes(), &mut Vec::new(), &options).unwrap_err();
    assert_eq!(error.kind(), JsonErrorKind::Depth);
    options.max_bytes = 10;
    let error =
        schema().json_to_wire(rich(), br#"{"anInt32":1}"#, &mut Vec::new(), &options).unwrap_err();
    assert_eq!(error.kind(), JsonErrorKind::Size);
    let mut print = PrintOptions::default();
    print.max_bytes = 1000;
    let mut out = b"kept".to_vec();
    assert!(schema().wire_to_json(rich(), &[0x82, 2, 5, 1, 1, 1, 1, 1], &mut out, &print).is_ok());
    let wire = [&[0x82, 2, 0x90, 0x4e][..], &[1; 10_000]].concat();
    out.truncate(4);
    assert!(schema().wire_to_json(rich(), &wire, &mut out, &print).is_err());
    assert_eq!(out, b"kept");
}

#[test]
fn what_is_no_json_is_refused_at_its_place() {
    for json in [
        "",
        "{",
        "{}x",
        "[]",
        "null",
        "{\"anInt32\" 1}",
        "{\"anInt32\":}",
        "{\"anInt32\":1,}",
        "{,}",
        "\u{feff}{}",
    ] {
        assert!(parse(json.as_bytes()).is_err(), "{json}");
    }
    let message = refused("{\"anInt32\":1\n\"aString\":2}", JsonErrorKind::Syntax);
    assert_eq!(message, "expected `,` or `}`, found `\"` (line 2, column 1)");
}

#[test]
fn an_error_in_a_value_of_a_stream_is_placed_in_the_stream() {
    for (stream, place) in [
        ("{\"anInt32\":1}\n {\"anInt32\":\"x\"}", "(line 2, column 13)"),
        ("[{}, {\n\"aString\": \"ü\", \"nope\":1}]", "(line 2, column 17)"),
    ] {
        let mut values = JsonValues::new(Sequence::Detected, &ParseOptions::default());
        values.push(stream.as_bytes());
        let first = values.next_value().unwrap().unwrap();
        assert!(parse(first.json).is_ok());
        let second = values.next_value().unwrap().unwrap();
        let error = parse(second.json).unwrap_err().after(second.position);
        assert!(error.to_string().ends_with(place), "{error}");
        let offset = error.position().offset;
        assert!(stream[offset..].starts_with("\"x\"") || stream[offset..].starts_with("\"nope\""));
    }
}

#[test]
fn an_extension_is_a_field_by_its_full_name_in_brackets() {
    let options = schema().message("google.protobuf.MessageOptions").unwrap();
    let mut wire = Vec::new();
    let json = br#"{"deprecated":true,"[rich.v1.note]":"x"}"#;
    schema().json_to_wire(options, json, &mut wire, &ParseOptions::default()).unwrap();
    let mut out = Vec::new();
    schema().wire_to_json(options, &wire, &mut out, &PrintOptions::default()).unwrap();
    assert_eq!(out, json);
}

#[test]
fn an_error_of_printing_says_which_field_element_and_key() {
    // Times beyond year 9999, and numbers that are none.
    let late = [&[0x08][..], &[0xff; 8], &[0x7f]].concat();
    let nan = [&[0x11][..], &f64::NAN.to_le_bytes()].concat();
    let framed = |tag: &[u8], body: &[u8]| -> Vec<u8> {
        [tag, &[u8::try_from(body.len()).unwrap()], body].concat()
    };
    let entry = [&[0x08, 10][..], &framed(&[0x12], &late)].concat();
    let good = framed(&[0x0a], &[0x20, 1]);
    let list = framed(&[0x32], &[good, framed(&[0x0a], &nan)].concat());
    let member = [framed(&[0x0a], b"a"), framed(&[0x12], &list)].concat();
    for (wire, path) in [
        (framed(&[0xb2, 0x04], &late), "timestamp"),
        ([framed(&[0xf2, 0x04], &[]), framed(&[0xf2, 0x04], &late)].concat(), "timestamps[1]"),
        (framed(&[0xca, 0x03], &entry), r#"bySint32["5"]"#),
        (framed(&[0xca, 0x04], &framed(&[0x0a], &member)), "structure.a[1]"),
    ] {
        assert_eq!(print(&wire).unwrap_err().path(), path, "{wire:02x?}");
    }
}

#[test]
fn what_needs_an_escape_is_found_at_every_place_of_a_text() {
    for length in 0..80 {
        for at in 0..=length {
            for letter in ["\"", "\\", "\n", "\u{1}", "ü", "\"ü"] {
                let text = format!("{}{letter}{}", "x".repeat(at), "y".repeat(length - at));
                let json = serde_json::json!({ "aString": text }).to_string();
                let wire = parse(json.as_bytes()).unwrap();
                assert!(wire.ends_with(text.as_bytes()), "{json}");
                assert_eq!(value(&print(&wire).unwrap()), value(&json));
            }
        }
    }
}

#[test]
fn the_wildcard_of_a_mask_and_minus_zero_come_back() {
    // What fuzzing found.
    assert_eq!(
        print(&parse(br#"{"mask":"*,a.*,bC"}"#).unwrap()).unwrap(),
        r#"{"mask":"*,a.*,bC"}"#
    );
    for json in [r#"{"aDouble":-0}"#, r#"{"aFloat":-0}"#, r#"{"doubles":[-0,0]}"#] {
        assert_eq!(print(&parse(json.as_bytes()).unwrap()).unwrap(), json);
    }
}
