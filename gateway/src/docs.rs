//! The pages for people and tools: `/openapi.json`, and `/docs` which renders it.
//!
//! The viewer is in the binary, compressed as it goes over the wire; see
//! `gateway/docs/README.md`. The page works offline: its policy lets it ask
//! nobody but the gateway.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use chassis::Contract;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use tonic::body::Body;
use transcode::Schema;

use crate::{
    compression::{self, Coding},
    openapi::{self, Limits, Title},
    rest::Sunsets,
};

/// The version of the viewer, a part of its files' addresses.
const VERSION: &str = include_str!("../docs/VERSION");
/// What a page may do: run the viewer's script, and ask the gateway. The viewer's
/// pictures are within its style sheet.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
/// Of what may change with the next release: ask each time, by the entity tag.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");
/// Of what never changes at its address.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// The most that a file of the viewer may be decompressed to.
const VIEWER_BYTES_MAX: usize = 8 << 20;

/// Digits of a fingerprint that make an entity tag.
const TAG_DIGITS: usize = 32;

/// A page with both of its forms.
#[derive(Debug)]
struct Page {
    content_type: HeaderValue,
    caching: HeaderValue,
    /// A strong entity tag for each form (RFC 9110, section 8.8.3).
    tag: HeaderValue,
    gzip_tag: HeaderValue,
    plain: Bytes,
    gzip: Bytes,
}

/// The document of what is served, made when it is first asked for.
#[derive(Debug)]
pub(crate) struct Document {
    contract: Arc<Contract>,
    schema: Arc<Schema>,
    title: Title,
    limits: Limits,
    sunsets: Sunsets,
    page: OnceLock<Page>,
}

// === impl Document ===

impl Document {
    pub(crate) fn new(
        contract: &Arc<Contract>,
        schema: &Arc<Schema>,
        is_foreign: bool,
        limits: Limits,
        sunsets: Sunsets,
    ) -> Self {
        Self {
            contract: Arc::clone(contract),
            schema: Arc::clone(schema),
            title: if is_foreign { Title::foreign(contract) } else { Title::embedded() },
            limits,
            sunsets,
            page: OnceLock::new(),
        }
    }

    /// Answers `GET /openapi.json`.
    pub(crate) fn answer(&self, headers: &HeaderMap) -> Response<Body> {
        let page = self.page.get_or_init(|| {
            let Self { contract, schema, title, limits, sunsets, .. } = self;
            let document = openapi::document(contract, schema, title, *limits, sunsets);
            Page::new("application/json", REVALIDATE, Bytes::from(document.to_string()))
        });
        page.answer(headers)
    }
}

// === the viewer ===

/// Answers `GET` of `/docs` and what is below it; `None` if nothing is there.
pub(crate) fn answer(path: &str, headers: &HeaderMap) -> Option<Response<Body>> {
    static INDEX: OnceLock<Page> = OnceLock::new();
    static START: OnceLock<Page> = OnceLock::new();
    static STYLE: OnceLock<Page> = OnceLock::new();
    static SCRIPT: OnceLock<Page> = OnceLock::new();
    let file = match path.strip_prefix("/docs")? {
        "" => {
            let page = INDEX.get_or_init(|| {
                let text = include_str!("../docs/index.html").replace("VERSION", VERSION.trim());
                Page::new("text/html; charset=utf-8", REVALIDATE, Bytes::from(text))
            });
            let mut response = page.answer(headers);
            let fields = response.headers_mut();
            fields.insert(header::CONTENT_SECURITY_POLICY, POLICY);
            fields.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
            return Some(response);
        }
        "/" => return Some(moved()),
        "/start.js" => {
            let page = START.get_or_init(|| {
                let text = Bytes::from_static(include_bytes!("../docs/start.js"));
                Page::new("text/javascript", REVALIDATE, text)
            });
            return Some(page.answer(headers));
        }
        file => file.strip_prefix('/')?.strip_prefix(VERSION.trim())?,
    };
    let page = match file {
        "/swagger-ui.css" => STYLE
            .get_or_init(|| Page::packed("text/css", include_bytes!("../docs/swagger-ui.css.gz"))),
        "/swagger-ui-bundle.js" => SCRIPT.get_or_init(|| {
            Page::packed("text/javascript", include_bytes!("../docs/swagger-ui-bundle.js.gz"))
        }),
        _ => return None,
    };
    Some(page.answer(headers))
}

/// The addresses in the page are relative, so that it works behind a prefix.
fn moved() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("../docs"));
    response
}

// === impl Page ===

impl Page {
    fn new(content_type: &'static str, caching: HeaderValue, plain: Bytes) -> Self {
        let mut gzip = Vec::new();
        // Without memory for the short form there is the long one.
        let gzip = match compression::compress(Coding::Gzip, &plain, &mut gzip) {
            Ok(()) => Bytes::from(gzip),
            Err(_) => Bytes::new(),
        };
        Self::of(content_type, caching, plain, gzip)
    }

    /// A file of the viewer.
    fn packed(content_type: &'static str, gzip: &'static [u8]) -> Self {
        let mut plain = Vec::new();
        if let Err(error) =
            compression::decompress(Coding::Gzip, gzip, VIEWER_BYTES_MAX, &mut plain)
        {
            tracing::error!(%error, "a file of the viewer cannot be read");
        }
        Self::of(content_type, FOR_EVER, Bytes::from(plain), Bytes::from_static(gzip))
    }

    fn of(content_type: &'static str, caching: HeaderValue, plain: Bytes, gzip: Bytes) -> Self {
        Self {
            content_type: HeaderValue::from_static(content_type),
            caching,
            tag: tag(&plain),
            gzip_tag: tag(&gzip),
            plain,
            gzip,
        }
    }

    fn answer(&self, headers: &HeaderMap) -> Response<Body> {
        let is_short = takes_gzip(headers) && !self.gzip.is_empty();
        let (tag, body) =
            if is_short { (&self.gzip_tag, &self.gzip) } else { (&self.tag, &self.plain) };
        let mut response = Response::new(Body::empty());
        let fields = response.headers_mut();
        fields.insert(header::ETAG, tag.clone());
        fields.insert(header::CACHE_CONTROL, self.caching.clone());
        fields.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if is_known(headers, tag) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        fields.insert(header::CONTENT_TYPE, self.content_type.clone());
        if is_short {
            fields.insert(header::CONTENT_ENCODING, Coding::Gzip.value());
        }
        *response.body_mut() = Body::new(Full::new(body.clone()));
        response
    }
}

fn tag(content: &[u8]) -> HeaderValue {
    let hash = chassis::hash::hex(content);
    let text = hash.get(..TAG_DIGITS).unwrap_or_default();
    HeaderValue::from_str(&format!("\"{text}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Whether the client has this form already (RFC 9110, section 13.1.2).
fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let tag = tag.to_str().unwrap_or_default();
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|known| known.trim().trim_start_matches("W/"))
        .any(|known| known == "*" || known == tag)
}

/// Whether the client reads gzip (RFC 9110, section 12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let refuses = |parameters: &str| {
        parameters
            .split(';')
            .filter_map(|parameter| parameter.trim().strip_prefix("q="))
            .any(|weight| weight.trim_end_matches(['0', '.']).is_empty())
    };
    let mut any = false;
    for range in headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
    {
        let (name, parameters) = range.split_once(';').unwrap_or((range, ""));
        match name.trim() {
            name if Coding::named(name) == Some(Coding::Gzip) => return !refuses(parameters),
            "*" => any = !refuses(parameters),
            _ => {}
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn with(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    async fn body(response: Response<Body>) -> Bytes {
        response.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn every_address_in_the_page_is_served() {
        let page = answer("/docs", &HeaderMap::new()).unwrap();
        let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(!policy.contains("http"), "{policy}");
        let html = String::from_utf8(body(page).await.to_vec()).unwrap();
        let named = html
            .split(['"', '\''])
            .filter(|text| text.starts_with("docs/"))
            .map(|text| format!("/{text}"));
        let mut count = 0;
        for address in named {
            let file = answer(&address, &HeaderMap::new()).unwrap();
            assert_eq!(file.status(), StatusCode::OK, "{address}");
            assert!(!body(file).await.is_empty(), "{address}");
            count += 1;
        }
        assert_eq!(count, 3);
        assert!(!html.contains("://"), "the page names no other host");
        assert!(answer("/docs/../Cargo.toml", &HeaderMap::new()).is_none());
        assert!(answer("/docs/0.0.0/swagger-ui.css", &HeaderMap::new()).is_none());
    }

    #[tokio::test]
    async fn the_viewer_goes_out_as_it_is_kept() {
        let address = format!("/docs/{}/swagger-ui-bundle.js", VERSION.trim());
        let short = answer(&address, &with(header::ACCEPT_ENCODING, "br, gzip")).unwrap();
        assert_eq!(short.headers()["content-encoding"], "gzip");
        assert_eq!(short.headers()["cache-control"], "public, max-age=31536000, immutable");
        let short = body(short).await;
        let long = body(answer(&address, &HeaderMap::new()).unwrap()).await;
        let mut unpacked = Vec::new();
        compression::decompress(Coding::Gzip, &short, VIEWER_BYTES_MAX, &mut unpacked).unwrap();
        assert!(short.len() < long.len() / 3);
        assert_eq!(unpacked, long);
    }

    #[test]
    fn a_page_that_is_known_is_not_sent_again() {
        let page = Page::new("text/plain", REVALIDATE, Bytes::from_static(b"text"));
        let first = page.answer(&HeaderMap::new());
        let tag = first.headers()["etag"].to_str().unwrap().to_owned();
        let status =
            |known: &str| page.answer(&with(header::IF_NONE_MATCH, known)).status().as_u16();
        assert_eq!(status(&tag), 304);
        assert_eq!(status(&format!("\"other\", W/{tag}")), 304);
        assert_eq!(status("*"), 304);
        assert_eq!(status("\"other\""), 200);
        let mut short = with(header::ACCEPT_ENCODING, "gzip");
        short.insert(header::IF_NONE_MATCH, HeaderValue::from_str(&tag).unwrap());
        assert_eq!(page.answer(&short).status().as_u16(), 200, "each form has its own tag");
    }

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        for (value, takes) in [
            ("gzip", true),
            ("GZIP;q=0.5", true),
            ("br;q=1, x-gzip", true),
            ("*", true),
            ("gzip;q=0", false),
            ("*;q=0.5, gzip;q=0.000", false),
            ("br", false),
            ("", false),
        ] {
            assert_eq!(takes_gzip(&with(header::ACCEPT_ENCODING, value)), takes, "{value}");
        }
    }
}
