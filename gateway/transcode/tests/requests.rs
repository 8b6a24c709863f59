//! Routes, and whole HTTP requests to wire bytes.
#![expect(clippy::unwrap_used, reason = "a test panics where it fails")]

use std::sync::OnceLock;

use prost_reflect::{DescriptorPool, DynamicMessage};
use transcode::{
    Body, Content, File, HeaderBinding, HttpBody, Idempotency, JsonErrorKind, PrintOptions,
    RequestError, RequestOptions, RouteError, Schema, Source,
};

fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| {
        let root = env!("CARGO_MANIFEST_DIR");
        let mut compiler =
            protox::Compiler::new([format!("{root}/tests/proto"), format!("{root}/../../proto")])
                .unwrap();
        compiler.include_imports(true).open_file("shop.proto").unwrap();
        // Through bytes, as the real descriptors come: options must survive it.
        DescriptorPool::decode(&*compiler.encode_file_descriptor_set()).unwrap()
    })
}

fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| Schema::new(pool()).unwrap())
}

#[track_caller]
fn routed(method: &str, path: &str) -> String {
    schema()
        .route(method, path)
        .unwrap_or_else(|error| panic!("{path}: {error}"))
        .method()
        .name()
        .to_owned()
}

fn variables(method: &str, path: &str) -> Vec<(String, String)> {
    let found = schema().route(method, path).unwrap();
    found
        .variables()
        .map(|(field, value)| (field.as_str().to_owned(), value.into_owned()))
        .collect()
}

/// The request as prost-reflect prints it.
fn with(
    method: &str,
    target: &str,
    body: Body<'_>,
    options: &RequestOptions<'_>,
) -> Result<serde_json::Value, RequestError> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let found = schema().route(method, path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut wire = b"before".to_vec();
    found.request(query, body, options, &mut wire)?;
    let input = found.method().descriptor().input();
    let message = DynamicMessage::decode(input, &wire[6..]).unwrap();
    Ok(serde_json::to_value(&message).unwrap())
}

fn request(method: &str, target: &str, body: &str) -> Result<serde_json::Value, RequestError> {
    with(method, target, Body::Json(body.as_bytes()), &RequestOptions::default())
}

#[track_caller]
fn becomes(method: &str, target: &str, body: &str, expected: serde_json::Value) {
    let made = request(method, target, body).unwrap_or_else(|error| panic!("{target}: {error}"));
    assert_eq!(made, expected);
}

#[track_caller]
fn refused(method: &str, target: &str, body: &str) -> String {
    match request(method, target, body) {
        Ok(made) => panic!("{target} was taken as {made}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_most_specific_route_wins() {
    assert_eq!(routed("GET", "/v1/things/newest"), "FindNewest");
    assert_eq!(routed("GET", "/v1/things/other"), "GetThing");
    assert_eq!(routed("GET", "/v1/things"), "ListThings");
    assert_eq!(routed("GET", "/v1/shelves/a/boxes/b/things"), "ListThings");
    assert_eq!(routed("POST", "/v1/things/x:cancel"), "CancelThing");
    assert_eq!(routed("GET", "/files/a/b/c"), "GetFile");
    assert_eq!(routed("POST", "/files/a/b:sign"), "SignFile");
    assert_eq!(routed("PROPFIND", "/v1/search"), "SearchThings");
}

#[test]
fn every_method_is_called_by_its_path() {
    let found = schema().route("POST", "/shop.v1.ThingService/Plain").unwrap();
    assert!(found.binding().is_rpc());
    assert_eq!(found.method().path(), "/shop.v1.ThingService/Plain");
    becomes(
        "POST",
        "/shop.v1.ThingService/GetThing",
        r#"{"thingId":"x"}"#,
        serde_json::json!({"thingId": "x"}),
    );
    becomes("POST", "/shop.v1.ThingService/GetThing", "", serde_json::json!({}));
}

#[test]
fn a_wrong_method_lists_those_that_the_path_takes() {
    let error = schema().route("DELETE", "/v1/things/x").unwrap_err();
    let expected = ["GET", "HEAD", "OPTIONS", "PATCH", "PUT"].map(str::to_owned).to_vec();
    assert_eq!(error, RouteError::MethodNotAllowed { allow: expected });
    assert_eq!(schema().route("HEAD", "/v1/things/x").unwrap().method().name(), "GetThing");
}

#[test]
fn a_colon_before_a_verb_of_the_path_is_not_text() {
    let allow = ["OPTIONS", "POST"].map(str::to_owned).to_vec();
    for method in ["GET", "PUT", "HEAD", "OPTIONS"] {
        let error = schema().route(method, "/v1/things/x:cancel").unwrap_err();
        assert_eq!(error, RouteError::MethodNotAllowed { allow: allow.clone() }, "{method}");
    }
    for (path, id) in [
        ("/v1/things/x%3Acancel", "x:cancel"),
        ("/v1/things/x:unknown", "x:unknown"),
        ("/v1/things/x:cancel:y", "x:cancel:y"),
    ] {
        becomes("GET", path, "", serde_json::json!({"thingId": id}));
    }
}

#[test]
fn what_is_no_path_is_not_found() {
    for path in [
        "",
        "/",
        "/v1",
        "/v1/things/",
        "/v1//things",
        "/v1/things/x/",
        "/v1/things/x/y",
        "/files/a/",
        "/files//a",
        "v1/things",
        "/V1/things",
    ] {
        assert_eq!(schema().route("GET", path).unwrap_err(), RouteError::NotFound, "{path}");
    }
}

#[test]
fn variables_are_decoded_by_their_sort() {
    assert_eq!(variables("GET", "/v1/things/a%2Fb%20c"), [("thing_id".into(), "a/b c".into())]);
    assert_eq!(variables("GET", "/v1/things/a:b"), [("thing_id".into(), "a:b".into())]);
    assert_eq!(variables("POST", "/v1/things/a:b:cancel"), [("thing_id".into(), "a:b".into())]);
    assert_eq!(variables("GET", "/files/a/b%2Fc%20d"), [("path".into(), "a/b%2Fc d".into())]);
    assert_eq!(variables("GET", "/files"), [("path".into(), String::new())]);
    assert_eq!(variables("POST", "/files/a/b:sign"), [("path".into(), "a/b".into())]);
    assert_eq!(
        variables("GET", "/v1/shelves/s%2F1/boxes/b/things"),
        [("parent".into(), "shelves/s%2F1/boxes/b".into())]
    );
    assert_eq!(routed("GET", "/v1/%74hings/x"), "GetThing");
    for path in ["/v1/things/%ff", "/v1/things/%4", "/files/a/%zz", "/newest/%"] {
        assert!(matches!(schema().route("GET", path), Err(RouteError::Malformed { .. })), "{path}");
    }
}

#[test]
fn path_and_query_become_fields() {
    becomes(
        "GET",
        "/v1/search/STATE_SHUT/5?words=a+b&words=c%26&sizes=1&sizes=2&filter.colour=red&filter.inner.weight=1.5",
        "",
        serde_json::json!({"state": "STATE_SHUT", "limit": 5, "words": ["a b", "c&"], "sizes": [1, 2],
            "filter": {"colour": "red", "inner": {"weight": 1.5}}}),
    );
    becomes(
        "GET",
        "/v1/search/2/5?labels[a]=b&labels%5Bc.d%5D=e&since=2026-01-01T00:00:00Z&within=1.5s&mask=a_b,cD&wrapped=0\
         &states=STATE_OPEN&states=2&number=7&token=_-8&exact=true&maybe=0",
        "",
        serde_json::json!({"state": "STATE_SHUT", "limit": 5, "labels": {"a": "b", "c.d": "e"},
            "since": "2026-01-01T00:00:00Z", "within": "1.500s", "mask": "aB,cD", "wrapped": 0,
            "states": ["STATE_OPEN", "STATE_SHUT"], "number": "7", "token": "/+8=", "exact": true, "maybe": 0}),
    );
    becomes("PROPFIND", "/v1/search?&&limit=3&", "", serde_json::json!({"limit": 3}));
    becomes(
        "GET",
        "/v1/things?pageSize=3&page_token=x",
        "",
        serde_json::json!({"pageSize": 3, "pageToken": "x"}),
    );
}

#[test]
fn a_wrong_parameter_is_refused_by_name() {
    for (query, part) in [
        ("limt=1", "did you mean `limit`?"),
        ("limit=1&limit=2", "both set \"limit\""),
        ("name=a&number=1", "both set \"number\""),
        ("filter=x", "is a message"),
        ("structure=x", "is a message"),
        ("more=x", "is a list of messages"),
        ("more.colour=x", "is a list or map"),
        ("filters[a]=x", "map of messages"),
        ("labels=x", "labels[key]=value"),
        ("labels[a=x", "closing ]"),
        ("labels[a]=x&labels[a]=y", "both set \"labels\""),
        ("limit[a]=1", "is no map"),
        ("limit.x=1", "has no fields"),
        ("limit=", "expected an integer"),
        ("limit=1.5", "expected an integer"),
        ("exact=yes", "expected true or false"),
        ("state=OPEN", "is no value of shop.v1.State"),
        ("since=yesterday", "RFC 3339"),
        ("words=%ff", "percent-escape"),
        ("filter.colour=a&filter.colour=b", "both set \"filter.colour\""),
    ] {
        let message = refused("PROPFIND", &format!("/v1/search?{query}"), "");
        assert!(message.contains(part), "{query}: {message}");
    }
}

#[test]
fn path_query_and_body_do_not_set_one_field() {
    let error = request("GET", "/v1/search/STATE_OPEN/5?limit=6", "").unwrap_err();
    assert_eq!(
        error,
        RequestError::Conflict {
            field: "limit".into(),
            first: Source::Path,
            second: Source::Query("limit".into())
        }
    );
    let message = refused("PATCH", "/v1/things/x", r#"{"title":"t","thing_id":"y"}"#);
    assert_eq!(
        message,
        "thing.thingId: the path and the body both set `thing.thing_id`; send it in one of them (line 1, column 14)"
    );
    let message = refused("POST", "/v1/things/x:cancel", r#"{"thingId":"y"}"#);
    assert!(message.starts_with("thingId: the path and the body"), "{message}");
    let message = refused("PATCH", "/v1/things/x?thing.title=a", r#"{"title":"t"}"#);
    assert!(message.starts_with("the body and the query parameter \"thing.title\""), "{message}");
    let message = refused("POST", "/v1/things?request_id=a", "{}");
    assert!(message.starts_with("the query parameter \"request_id\": this method"), "{message}");
    let message = refused("GET", "/v1/search/STATE_BENT/5", "");
    assert!(message.starts_with("the path \"state\": \"STATE_BENT\" is no value"), "{message}");
}

#[test]
fn agreeing_values_are_taken_on_demand() {
    let mut options = RequestOptions::default();
    options.allow_agreeing = true;
    let made =
        with("PATCH", "/v1/things/x", Body::Json(br#"{"thingId":"x","title":"t"}"#), &options)
            .unwrap();
    assert_eq!(made, serde_json::json!({"thing": {"thingId": "x", "title": "t"}}));
    assert!(with("PATCH", "/v1/things/x", Body::Json(br#"{"thingId":"y"}"#), &options).is_err());
    assert!(with("GET", "/v1/search/STATE_OPEN/5?limit=5", Body::None, &options).is_ok());
    assert!(with("GET", "/v1/search/STATE_OPEN/5?limit=6", Body::None, &options).is_err());
}

#[test]
fn bodies_are_whole_or_one_field() {
    becomes(
        "POST",
        "/v1/things",
        r#"{"requestId":"r","thing":{"title":"t","price":{"minor":"5"}}}"#,
        serde_json::json!({"requestId": "r", "thing": {"title": "t", "price": {"minor": "5"}}}),
    );
    becomes(
        "POST",
        "/v1/things/x/tags",
        r#"["a","b"]"#,
        serde_json::json!({"thingId": "x", "tags": ["a", "b"]}),
    );
    becomes("POST", "/v1/things/x/tags", "null", serde_json::json!({"thingId": "x"}));
    becomes(
        "POST",
        "/v1/things/x:cancel",
        " {\"view\":\"all\"} ",
        serde_json::json!({"thingId": "x", "view": "all"}),
    );
    becomes("POST", "/v1/things/x:cancel", "", serde_json::json!({"thingId": "x"}));
    let message = refused("GET", "/v1/things/x", "{}");
    assert!(message.starts_with("shop.v1.ThingService.GetThing takes no body"), "{message}");
    let error = request("POST", "/v1/things/x/tags", r#"["a",1]"#).unwrap_err();
    assert_eq!(error.field(), Some("tags[1]"));
    assert_eq!(error.position().map(|position| position.column), Some(6));
    assert!(matches!(error, RequestError::Json(error) if error.kind() == JsonErrorKind::Value));
    assert!(request("POST", "/v1/things", "{} x").is_err());
}

#[test]
fn an_update_mask_is_derived_from_the_body() {
    let mut options = RequestOptions::default();
    options.derive_update_mask = true;
    let body = br#"{"title":"t","price":{"minor":5},"tags":[],"etag":null,"createTime":"2026-01-01T00:00:00Z"}"#;
    let made = with("PATCH", "/v1/things/x", Body::Json(body), &options).unwrap();
    assert_eq!(made["updateMask"], "title,price.minor,tags,etag,createTime");
    assert_eq!(made["thing"]["thingId"], "x");
    let made = with("PATCH", "/v1/things/x?update_mask=title", Body::Json(body), &options).unwrap();
    assert_eq!(made["updateMask"], "title");
    let made = with("PATCH", "/v1/things/x", Body::Json(br#"{"price":{}}"#), &options).unwrap();
    assert_eq!(made["updateMask"], "price");
    let found = schema().route("PATCH", "/v1/things/x").unwrap();
    assert_eq!(found.binding().update_mask_field().unwrap().as_str(), "update_mask");
    // PUT replaces; there is nothing to derive.
    assert!(schema().route("PUT", "/v1/things/x").unwrap().binding().update_mask_field().is_none());
}

#[test]
fn headers_become_fields() {
    let found = schema().route("POST", "/v1/things").unwrap();
    let field = found.method().request_id().unwrap();
    let headers = [HeaderBinding { header: "Idempotency-Key", field, value: "k" }];
    let mut options = RequestOptions::default();
    options.headers = &headers;
    let made = with("POST", "/v1/things", Body::Json(b"{}"), &options).unwrap();
    assert_eq!(made, serde_json::json!({"requestId": "k"}));
    let error =
        with("POST", "/v1/things", Body::Json(br#"{"requestId":"j"}"#), &options).unwrap_err();
    assert!(
        error.to_string().starts_with("requestId: the header Idempotency-Key and the body"),
        "{error}"
    );
    let etag = schema().route("PATCH", "/v1/things/x").unwrap().method().etag().unwrap();
    assert_eq!(etag.as_str(), "thing.etag");
    let headers = [HeaderBinding { header: "If-Match", field: etag, value: "e" }];
    options.headers = &headers;
    let made = with("PATCH", "/v1/things/x", Body::Json(br#"{"title":"t"}"#), &options).unwrap();
    assert_eq!(made, serde_json::json!({"thing": {"thingId": "x", "title": "t", "etag": "e"}}));
}

#[test]
fn a_null_in_the_body_leaves_a_field_to_whoever_sets_it() {
    let etag = schema().route("PATCH", "/v1/things/x").unwrap().method().etag().unwrap();
    let headers = [HeaderBinding { header: "If-Match", field: etag, value: "e" }];
    let mut options = RequestOptions::default();
    options.headers = &headers;
    options.allow_agreeing = true;
    let text = br#"{"thingId": null, "etag": null, "title": "t"}"#;
    let made = with("PATCH", "/v1/things/x", Body::Json(text), &options).unwrap();
    assert_eq!(made, serde_json::json!({"thing": {"thingId": "x", "title": "t", "etag": "e"}}));

    // Where nothing may be named twice, that is naming it.
    options.allow_agreeing = false;
    assert!(with("PATCH", "/v1/things/x", Body::Json(text), &options).is_err());
}

#[test]
fn parameters_of_the_edge_are_left_to_it() {
    let mut options = RequestOptions::default();
    options.edge_parameters = &["alt", "view"];
    assert!(with("GET", "/v1/things/x?alt=json", Body::None, &options).is_ok());
    let made = with("GET", "/v1/things/x?view=full", Body::None, &options).unwrap();
    assert_eq!(made["view"], "full");
}

#[test]
fn a_later_message_of_a_stream_leaves_out_what_the_path_said_and_may_not_say_otherwise() {
    let mut options = RequestOptions::default();
    options.continued = true;
    options.allow_agreeing = true;
    let json = |text: &'static str| {
        with("PATCH", "/v1/things/x?allow=1", Body::Json(text.as_bytes()), &options)
    };
    assert_eq!(json(r#"{"title": "t"}"#).unwrap(), serde_json::json!({"thing": {"title": "t"}}));
    let agreeing = json(r#"{"thingId": "x", "toy": "y"}"#).unwrap();
    assert_eq!(agreeing, serde_json::json!({"thing": {"toy": "y"}}));
    assert!(json(r#"{"thingId": "y"}"#).is_err());

    let wire = |bytes: &'static [u8]| {
        with("POST", "/v1/things/x:cancel", Body::Wire(bytes), &options).unwrap()
    };
    assert_eq!(wire(&[0x12, 1, b'v']), serde_json::json!({"view": "v"}));
    assert_eq!(wire(&[0x0a, 1, b'y']), serde_json::json!({"thingId": "x"}));
}

#[test]
fn a_form_has_files_and_fields() {
    let mut options = RequestOptions::default();
    options.form = true;
    let found = schema().route("POST", "/v1/pictures").unwrap();
    let field = |path: &str| schema().field_path(found.method().input(), path).unwrap();
    let (picture, thumbnail, more, id) =
        (field("picture"), field("thumbnail"), field("more"), field("thing_id"));
    let file = |field, data| File { field, content_type: "image/png", data };
    let made =
        |target: &str, files: &[File<'_>]| with("POST", target, Body::Files(files), &options);
    let files =
        [file(&picture, &[1, 2]), file(&thumbnail, &[3]), file(&more, &[4]), file(&more, &[5])];
    assert_eq!(
        made("/v1/pictures?thing_id=a%20b", &files).unwrap(),
        serde_json::json!({
            "thingId": "a b",
            "picture": {"contentType": "image/png", "data": "AQI="},
            "thumbnail": "Aw==",
            "more": ["BA==", "BQ=="],
        })
    );
    assert!(made("/v1/pictures", &[file(&picture, &[1]), file(&picture, &[2])]).is_err());
    assert!(made("/v1/pictures", &[file(&id, &[1])]).is_err());

    let alone = made("/v1/things/x/picture", &[file(&picture, &[1])]).unwrap();
    assert_eq!(alone["picture"]["data"], "AQ==");
    assert!(made("/v1/things/x/picture", &[file(&thumbnail, &[1])]).is_err());
}

#[test]
fn raw_and_wire_bodies_are_embedded() {
    let options = RequestOptions::default();
    let body = Body::Raw { content_type: "image/png", data: &[1, 2] };
    let made = with("POST", "/v1/things/x/picture", body, &options).unwrap();
    assert_eq!(
        made,
        serde_json::json!({"thingId": "x", "picture": {"contentType": "image/png", "data": "AQI="}})
    );
    assert!(with("POST", "/v1/things", body, &options).is_err());
    let made = with("POST", "/v1/things/x/thumbnail", body, &options).unwrap();
    assert_eq!(made, serde_json::json!({"thingId": "x", "thumbnail": "AQI="}));
    // A wire body that names the field of the path does not get its way.
    let made =
        with("POST", "/v1/things/x:cancel", Body::Wire(&[0x0a, 1, b'y', 0x12, 1, b'v']), &options)
            .unwrap();
    assert_eq!(made, serde_json::json!({"thingId": "x", "view": "v"}));
    let made = with("PATCH", "/v1/things/x", Body::Wire(&[0x12, 1, b't']), &options).unwrap();
    assert_eq!(made, serde_json::json!({"thing": {"thingId": "x", "title": "t"}}));
    let found = schema().route("GET", "/files/x").unwrap();
    assert_eq!(found.method().output_content(), Content::HttpBody);
    assert_eq!(HttpBody::decode(&[0x12, 1, b'x']).unwrap().data, b"x");
}

#[test]
fn a_response_is_the_message_or_one_field() {
    let thing = [0x0a, 1, b'x', 0x22, 1, b'a', 0x22, 1, b'b', 0x2a, 1, b'e'];
    let print = |method: &str, path: &str, wire: &[u8]| {
        let mut out = Vec::new();
        schema()
            .route(method, path)
            .unwrap()
            .response(wire, &PrintOptions::default(), &mut out)
            .unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        print("GET", "/v1/things/x", &thing),
        r#"{"thingId":"x","tags":["a","b"],"etag":"e"}"#
    );
    assert_eq!(print("PUT", "/v1/things/x", &thing), r#"["a","b"]"#);
    assert_eq!(print("PUT", "/v1/things/x", &[]), "[]");
    assert_eq!(print("POST", "/v1/things/x/tags", &thing), "{}");
    assert_eq!(
        print("POST", "/v1/things/x/tags", &[0x1a, 2, 0x10, 1, 0x1a, 3, 0x0a, 1, b'E']),
        r#"{"minor":"1","currency":"E"}"#
    );
    let found = schema().route("GET", "/v1/things/x").unwrap();
    assert_eq!(found.method().output_etag().unwrap().find_text(&thing), Some("e"));
}

#[test]
fn the_facts_of_a_method_are_at_hand() {
    let method = schema().method("/shop.v1.ThingService/GetThing").unwrap();
    assert_eq!(method.idempotency(), Idempotency::NoSideEffects);
    assert_eq!(method.service(), "shop.v1.ThingService");
    assert_eq!(schema().message_name(method.output()), "shop.v1.Thing");
    let binding = schema().binding(method.bindings()[0]).unwrap();
    assert_eq!(binding.pattern(), "/v1/things/{thing_id}");
    assert!(schema().method("/shop.v1.ThingService/CancelThing").unwrap().is_deprecated());
    let plain = schema().method("/shop.v1.ThingService/Plain").unwrap();
    assert!(
        plain.is_server_streaming() && !plain.is_client_streaming() && plain.bindings().is_empty()
    );
    let list = schema().method("/shop.v1.ThingService/ListThings").unwrap();
    assert_eq!(list.bindings().len(), 2);
    assert_eq!(list.next_page_token().unwrap().as_str(), "next_page_token");
}

#[test]
fn a_response_says_where_its_resource_is() {
    let at = |method: &str, wire: &[u8]| {
        schema()
            .location(schema().method(&format!("/shop.v1.ThingService/{method}")).unwrap(), wire)
    };
    let thing = [&[0x0a, 6][..], "a/ü:c".as_bytes()].concat();
    assert_eq!(at("CreateThing", &thing).as_deref(), Some("/v1/things/a%2F%C3%BC%3Ac"));
    assert_eq!(
        variables("GET", "/v1/things/a%2F%C3%BC%3Ac"),
        [("thing_id".into(), "a/ü:c".into())]
    );
    assert_eq!(at("CreateThing", &[]), None);
    assert_eq!(at("CreateThing", &[0x0a, 0]), None);
    assert_eq!(at("CreateThing", &[0x0a]), None);
    assert_eq!(at("SignFile", &thing), None);
    assert_eq!(at("ListThings", &thing), None);
}

#[test]
fn a_field_as_text_is_what_a_parameter_takes() {
    let search = schema().message("shop.v1.SearchThingsRequest").unwrap();
    for (field, text) in [
        ("limit", "-5"),
        ("state", "STATE_SHUT"),
        ("since", "2026-11-21T07:00:00.500Z"),
        ("within", "-1.500s"),
        ("mask", "colour,inner.weight"),
        ("wrapped", "7"),
        ("name", "a \"b\" \\ ü"),
        ("number", "-9223372036854775808"),
        ("token", "AQI="),
        ("exact", "true"),
        ("maybe", "0"),
        ("filter.inner.weight", "-0.25"),
        ("filter.inner.inner.colour", "red"),
    ] {
        let query: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let found = schema().route("PROPFIND", "/v1/search").unwrap();
        let mut wire = Vec::new();
        let parameters = format!("{field}={query}");
        found
            .request(Some(&parameters), Body::None, &RequestOptions::default(), &mut wire)
            .unwrap();
        let path = schema().field_path(search, field).unwrap();
        assert_eq!(schema().field_text(&path, &wire).as_deref(), Some(text), "{field}");
        assert_eq!(schema().field_text(&path, &[]), None, "{field}");
        wire.push(0x0a);
        assert_eq!(schema().field_text(&path, &wire), None, "{field}: broken bytes");
    }
    let path = |field| schema().field_path(search, field).unwrap();
    assert_eq!(schema().field_text(&path("words"), &[0x1a, 1, b'x']), None);
    assert_eq!(schema().field_text(&path("filter"), &[0x2a, 0]), None);
    // A wire type other than the field's is an unknown field; a message may come in parts.
    assert_eq!(schema().field_text(&path("limit"), &[0x12, 1, 5]), None);
    let parts = [0x2a, 3, 0x0a, 1, b'a', 0x2a, 0, 0x70, 1];
    assert_eq!(schema().field_text(&path("filter.colour"), &parts).as_deref(), Some("a"));
}

#[test]
fn a_merge_patch_means_all_that_it_names() {
    let patch = |query: &str, body: &str| {
        let mut options = RequestOptions::default();
        options.derive_update_mask = true;
        options.mask_covers_body = true;
        let target = format!("/v1/things/x{query}");
        with("PATCH", &target, Body::Json(body.as_bytes()), &options)
            .map(|request| request["updateMask"].as_str().unwrap_or_default().to_owned())
            .map_err(|error| error.to_string())
    };
    let both = r#"{"title": null, "price": {"minor": "1"}}"#;
    assert_eq!(patch("", both).unwrap(), "title,price.minor");
    assert_eq!(patch("?updateMask=price,title,tags", both).unwrap(), "price,title,tags");
    assert_eq!(patch("?updateMask=*", both).unwrap(), "*");
    assert_eq!(patch("?updateMask=title", "").unwrap(), "title");
    for (query, missing) in [
        ("?updateMask=title", "`price.minor`"),
        ("?updateMask=title,price.currency", "`price.minor`"),
        ("?updateMask=titles,price", "`title`"),
    ] {
        let error = patch(query, both).unwrap_err();
        assert!(error.contains("update_mask") && error.contains(missing), "{query}: {error}");
    }
    // A message that is taken away is more than one of its fields.
    let error = patch("?updateMask=price.minor", r#"{"price": null}"#).unwrap_err();
    assert!(error.contains("`price`"), "{error}");
}
