//! Which request reaches which field, through the port.

use http::StatusCode;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Gallery, fields};

async fn files() -> Gallery {
    let gallery = Gallery::open().await;
    gallery.on("FindFile", |request, _| Ok(request));
    gallery
}

#[tokio::test(flavor = "multi_thread")]
async fn escapes_are_read_by_where_they_stand() {
    let gallery = files().await;
    for (target, field, expected) in [
        ("/v1/pictures/a%2Fb", "pictureId", "a/b"),
        ("/v1/pictures/a%20b+c", "pictureId", "a b+c"),
        ("/v1/pictures/%C3%BC", "pictureId", "ü"),
        ("/v1/files/a/b%20c", "path", "a/b c"),
        // It could not be told from a separator.
        ("/v1/files/a%2Fb/c", "path", "a%2Fb/c"),
        ("/v1/files/a?name=b+c%2Bd%2Fe", "name", "b c+d/e"),
        ("/v1/files/a?na%6De=x", "name", "x"),
    ] {
        let reply = gallery.get(target, &[]).await;
        assert_eq!(reply.json[field], expected, "{target}: {}", reply.json);
    }
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_path_is_refused() {
    let gallery = files().await;
    for (target, status, reason) in [
        ("/v1/pictures/", 404, "ROUTE_NOT_FOUND"),
        ("/v1/pictures/p1/", 404, "ROUTE_NOT_FOUND"),
        ("//v1/pictures", 404, "ROUTE_NOT_FOUND"),
        ("/V1/pictures", 404, "ROUTE_NOT_FOUND"),
        ("/v1/pictures/%ff", 400, "INVALID_FIELD"),
        ("/v1/pictures/%zz", 400, "INVALID_FIELD"),
        ("/v1/files/a?name=%ff", 400, "INVALID_FIELD"),
        ("/v1/files/a?nam=x", 400, "INVALID_FIELD"),
    ] {
        let reply = gallery.get(target, &[]).await;
        assert_eq!((reply.status.as_u16(), reply.reason()), (status, reason), "{target}");
        assert_eq!(reply.json["error"]["code"], status, "{target}");
    }
    let nearest = gallery.get("/v1/files/a?nam=x", &[]).await;
    assert!(nearest.json["error"]["message"].as_str().unwrap().contains("`name`"));
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_is_set_in_one_place() {
    let gallery = files().await;
    gallery.tell("UpdatePicture");
    let json = [("content-type", "application/json")];
    let told = |reply: &crate::client::Reply| {
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{}", reply.json);
        reply.json["error"]["message"].as_str().unwrap().to_owned()
    };
    let path_and_query = gallery.get("/v1/pictures/p1?pictureId=p2", &[]).await;
    let message = told(&path_and_query);
    assert!(message.contains("the path") && message.contains("pictureId"), "{message}");
    assert_eq!(fields(&path_and_query), ["picture_id"]);

    let body = json!({ "pictureId": "p2" }).to_string();
    let path_and_body = gallery.ask("PATCH", "/v1/pictures/p1", &json, body).await;
    let message = told(&path_and_body);
    assert!(message.contains("the path") && message.contains("the body"), "{message}");

    let target = "/v1/pictures/p1?picture.title=x";
    let query_and_body = gallery.ask("PATCH", target, &json, "{}").await;
    let message = told(&query_and_body);
    assert!(message.contains("picture.title") && message.contains("the body"), "{message}");

    let twice = gallery.get("/v1/pictures?filter=a&filter=b", &[]).await;
    assert!(told(&twice).contains("filter"));
    // What says the same says it.
    let agreeing = gallery.get("/v1/pictures/p1?pictureId=p1", &[]).await;
    assert_eq!(agreeing.json["pictureId"], "p1");
    let unwanted = gallery.ask("GET", "/v1/pictures/p1", &json, "{}").await;
    assert!(told(&unwanted).contains("takes no body"));
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_long_is_refused_in_the_one_form() {
    let gallery = Gallery::with(json!({ "body_bytes_max": 1_000, "uri_bytes_max": 200 })).await;
    gallery.on("CreatePicture", |_, _| Ok(json!({})));
    let json = [("content-type", "application/json")];
    let body = json!({ "title": "x".repeat(1_000) }).to_string();
    let large = gallery.ask("POST", "/v1/pictures", &json, body).await;
    assert_eq!((large.status.as_u16(), large.reason()), (413, "MESSAGE_TOO_LARGE"));
    let long = gallery.get(&format!("/v1/pictures/{}", "x".repeat(200)), &[]).await;
    assert_eq!(long.status, StatusCode::URI_TOO_LONG);
    for reply in [large, long] {
        assert_eq!(reply.json["error"]["code"], reply.status.as_u16());
        for member in ["status", "reason", "message", "request_id"] {
            assert!(reply.json["error"][member].is_string(), "{member}: {}", reply.json);
        }
    }
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let deep = gallery.ask("POST", "/v1/pictures", &json, format!("{{\"x\":{deep}}}")).await;
    assert_eq!(deep.status, StatusCode::BAD_REQUEST);
    gallery.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_sent_ends_the_connection_without_an_answer() {
    let gallery = files().await;
    // As bytes: no client library would send these.
    for target in ["/v1/files/\u{fc}", "/v1/pictures/%", "/v1/files/a?%", "/v1/files/a?=&=;&&"] {
        let mut stream = TcpStream::connect(gallery.edge.address).await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status: Value = answer.get(9..12).and_then(|code| code.parse::<u16>().ok()).into();
        assert!([200, 400].map(Value::from).contains(&status), "{target}: {answer}");
    }
    gallery.close().await;
}
