//! Whole requests: a path, a query and a body, one a line, for bindings of every sort. What is built must be wire bytes
//! that prost-reflect decodes, and hold what the path says, whatever query and body say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transcode::{Body, HeaderBinding, RequestOptions};
use transcode_fuzz::{SHOP, Subject, nesting};

fuzz_target!(|input: &[u8]| {
    let Some((&choice, input)) = input.split_first() else { return };
    let mut lines = input.splitn(3, |&byte| byte == b'\n');
    let mut text = || std::str::from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    let (path, query) = (text(), text());
    let body = lines.next().unwrap_or_default();

    let methods = ["GET", "POST", "PATCH", "PUT", "PROPFIND", "OPTIONS", "HEAD", ""];
    let method = methods[usize::from(choice & 7)];
    let Ok(found) = SHOP.schema.route(method, path) else { return };
    let mut options = RequestOptions::default();
    options.allow_agreeing = choice & 8 != 0;
    options.derive_update_mask = choice & 16 != 0;
    options.parse.ignore_unknown_fields = choice & 32 != 0;
    options.edge_parameters = &["alt"];
    let key = found.method().request_id();
    let headers: Vec<HeaderBinding<'_>> = key
        .map(|field| HeaderBinding { header: "idempotency-key", field, value: "k-1" })
        .into_iter()
        .collect();
    options.headers = &headers;
    let body = match choice >> 6 {
        0 => Body::None,
        1 | 2 => Body::Json(body),
        _ => Body::Raw { content_type: "image/png", data: body },
    };
    let mut wire = b"kept".to_vec();
    let built = found.request(Some(query), body, &options, &mut wire);
    assert_eq!(wire.get(..4), Some(&b"kept"[..]));
    let Err(error) = built else {
        let wire = &wire[4..];
        let name = SHOP.schema.message_name(found.method().input());
        let subject: Subject = SHOP.message(name);
        // A Struct takes up to three levels on the wire, of which prost takes a hundred.
        let deep = matches!(body, Body::Json(json) if nesting(json) > 25);
        assert!(deep || subject.decode(wire).is_some(), "{method} {path} {query} {body:?}");
        for (field, value) in found.variables() {
            // Enums and numbers have several spellings.
            let held = SHOP.schema.field_text(field, wire);
            if !["state", "limit"].contains(&field.as_str()) {
                assert_eq!(held.unwrap_or_default(), value, "{method} {path} {query} {body:?}");
            }
        }
        return;
    };
    assert_eq!(wire.len(), 4, "an error leaves nothing behind");
    assert!(!error.to_string().is_empty());
});
