//! Cross-origin answers (Fetch, "CORS protocol"): what lets a script of an allowed origin send a token and a proof, and
//! read the answer, refusals and nonces included.
//!
//! Nobody else hears a word: an origin that is not allowed is never repeated.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};

use crate::routes::{Cors, Origins};

/// What a script must be able to read, or it never learns of a nonce or of why it was refused.
const EXPOSED: [&str; 3] = ["DPoP-Nonce", "WWW-Authenticate", "Retry-After"];

/// What a script must be able to send. By name: a wildcard never covers `Authorization`.
const SENDABLE: [&str; 2] = ["Authorization", "DPoP"];

/// Requested names beyond these are more than any script sends.
const MOST_NAMES: usize = 64;

/// A browser's question whether a script may send a request. It never carries credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preflight {
    /// Where the script is from.
    pub origin: HeaderValue,
    /// The method of the request that is asked about.
    pub method: Method,
}

/// The one `Origin` of a request. Browsers send no more than one.
pub fn origin(headers: &HeaderMap) -> Option<&HeaderValue> {
    single(headers, &header::ORIGIN)
}

/// Reads a preflight: `OPTIONS` with an origin and the method that is asked about. Any other `OPTIONS` is a request like
/// every other.
pub fn preflight(method: &Method, headers: &HeaderMap) -> Option<Preflight> {
    if method != Method::OPTIONS {
        return None;
    }
    let origin = origin(headers)?.clone();
    let asked = single(headers, &header::ACCESS_CONTROL_REQUEST_METHOD)?;
    let method = Method::from_bytes(asked.as_bytes()).ok()?;
    let is_served = !matches!(method, Method::CONNECT | Method::TRACE);
    is_served.then_some(Preflight { origin, method })
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

/// Answers a preflight for a method that is served. `headers` are the preflight's own.
///
/// Only the method that was asked about is allowed: another may fall under another route.
pub fn answer(preflight: &Preflight, headers: &HeaderMap, cors: &Cors) -> Response<Bytes> {
    let mut response = nothing();
    let fields = response.headers_mut();
    fields.insert(
        header::VARY,
        HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
    );
    let Some(allowed) = cors.allowed(Some(&preflight.origin)) else { return response };
    fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    if cors.allow_credentials {
        fields.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    if let Ok(method) = HeaderValue::from_str(preflight.method.as_str()) {
        fields.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method);
    }
    fields.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, sendable(headers));
    fields.insert(header::ACCESS_CONTROL_MAX_AGE, seconds(cors.max_age));
    response
}

fn nothing() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn seconds(duration: Duration) -> HeaderValue {
    HeaderValue::from(duration.as_secs())
}

/// What a script may send: a token, a proof, and what else it asked for.
fn sendable(headers: &HeaderMap) -> HeaderValue {
    let asked = headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
    // A wildcard would be more than was asked.
    let is_name = |name: &&str| *name != "*" && HeaderName::from_bytes(name.as_bytes()).is_ok();
    let asked = asked.flat_map(items).filter(is_name).take(MOST_NAMES);
    list(SENDABLE.into_iter().chain(asked))
}

/// Marks an answer of a route that has `cors`, the upstream's or our own, to a request from `origin`. What the upstream
/// says about CORS is replaced, but for the names that it exposes.
pub fn mark(headers: &mut HeaderMap, cors: &Cors, origin: Option<&HeaderValue>) {
    let exposed = exposed(headers);
    remove_own(headers);
    if matches!(cors.origins, Origins::Listed(_)) {
        vary_by_origin(headers);
    }
    let Some(allowed) = cors.allowed(origin) else { return };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    if cors.allow_credentials {
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
}

/// Where the upstream speaks of CORS itself and lets a script read its answer, the script may read what the gateway adds
/// as well.
pub fn expose(headers: &mut HeaderMap) {
    if headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        let exposed = exposed(headers);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

/// What the answer exposes so far, and what a client of the gateway needs.
fn exposed(headers: &HeaderMap) -> HeaderValue {
    let own = headers.get_all(header::ACCESS_CONTROL_EXPOSE_HEADERS).iter().flat_map(items);
    list(own.chain(EXPOSED))
}

fn remove_own(headers: &mut HeaderMap) {
    let speaks_of_cors = |name: &HeaderName| name.as_str().starts_with("access-control-");
    if !headers.keys().any(speaks_of_cors) {
        return;
    }
    let doomed: Vec<HeaderName> = headers.keys().filter(|name| speaks_of_cors(name)).cloned().collect();
    for name in doomed {
        headers.remove(name);
    }
}

/// RFC 9110 §12.5.5: a cache must not give the answer to one origin to another.
fn vary_by_origin(headers: &mut HeaderMap) {
    let named = |item: &str| item == "*" || item.eq_ignore_ascii_case("origin");
    if !headers.get_all(header::VARY).iter().flat_map(items).any(named) {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
}

/// The items of a comma-separated line that can be read at all.
fn items(line: &HeaderValue) -> impl Iterator<Item = &str> {
    let text = line.to_str().unwrap_or_default();
    text.split(',').map(|item| item.trim_matches([' ', '\t'])).filter(|item| !item.is_empty())
}

/// Names as one line, each once: names of fields have no case.
fn list<'n>(names: impl Iterator<Item = &'n str>) -> HeaderValue {
    let mut once: Vec<&str> = Vec::new();
    for name in names {
        if !once.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            once.push(name);
        }
    }
    HeaderValue::from_str(&once.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const APP: &str = "https://app.example.com";

    fn cors(origins: &[&'static str]) -> Cors {
        let listed = origins.iter().map(|origin| HeaderValue::from_static(origin)).collect();
        Cors { origins: Origins::Listed(listed), allow_credentials: false, max_age: Cors::MAX_AGE }
    }

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn shown(headers: &HeaderMap, name: &str) -> String {
        let lines = headers.get_all(name).iter().map(|value| value.to_str().unwrap());
        lines.collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn a_preflight_has_one_origin_and_one_method() {
        let asks = [("origin", APP), ("access-control-request-method", "PUT")];
        let read = preflight(&Method::OPTIONS, &fields(&asks)).unwrap();
        assert_eq!((read.origin.as_bytes(), read.method), (APP.as_bytes(), Method::PUT));
        assert_eq!(preflight(&Method::GET, &fields(&asks)), None);
        for missing in 0..2 {
            assert_eq!(preflight(&Method::OPTIONS, &fields(&asks[missing..=missing])), None);
            assert_eq!(preflight(&Method::OPTIONS, &fields(&[asks[0], asks[1], asks[missing]])), None);
        }
        let garbage = [asks[0], ("access-control-request-method", "P UT")];
        assert_eq!(preflight(&Method::OPTIONS, &fields(&garbage)), None);
    }

    #[test]
    fn a_script_may_send_what_it_asked_for_and_what_it_needs() {
        let asked = |value| shown_sendable(&fields(&[("access-control-request-headers", value)]));
        assert_eq!(shown_sendable(&HeaderMap::new()), "Authorization, DPoP");
        assert_eq!(asked("authorization,dpop,content-type"), "Authorization, DPoP, content-type");
        assert_eq!(asked("x-a, , X-A, b c, \"q\", *"), "Authorization, DPoP, x-a");
        let two = fields(&[("access-control-request-headers", "a"), ("access-control-request-headers", "b")]);
        assert_eq!(shown_sendable(&two), "Authorization, DPoP, a, b");
        let many: Vec<String> = (0..1000).map(|number| format!("x{number}")).collect();
        let mut headers = HeaderMap::new();
        headers.insert("access-control-request-headers", HeaderValue::from_str(&many.join(",")).unwrap());
        assert_eq!(shown_sendable(&headers).split(", ").count(), 2 + MOST_NAMES);
    }

    fn shown_sendable(headers: &HeaderMap) -> String {
        sendable(headers).to_str().unwrap().to_owned()
    }

    #[test]
    fn what_the_upstream_says_is_replaced_and_what_it_exposes_is_kept() {
        let mut headers = fields(&[
            ("access-control-allow-origin", "*"),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-private-network", "true"),
            ("access-control-max-age", "1"),
            ("access-control-expose-headers", "ETag, dpop-nonce"),
            ("access-control-expose-headers", "etag, X-Total"),
            ("vary", "Accept"),
        ]);
        let (mut other, mut none) = (headers.clone(), headers.clone());
        mark(&mut headers, &cors(&[APP]), Some(&HeaderValue::from_static(APP)));
        assert_eq!(shown(&headers, "access-control-allow-origin"), APP);
        assert_eq!(
            shown(&headers, "access-control-expose-headers"),
            "ETag, dpop-nonce, X-Total, WWW-Authenticate, Retry-After"
        );
        assert_eq!(shown(&headers, "vary"), "Accept | Origin");
        assert_eq!(headers.keys().filter(|name| name.as_str().starts_with("access-control-")).count(), 2);
        mark(&mut other, &cors(&[APP]), Some(&HeaderValue::from_static("https://app.example.com.evil.example")));
        mark(&mut none, &cors(&[APP]), None);
        for unmarked in [other, none] {
            assert_eq!(unmarked.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["vary"]);
            assert_eq!(shown(&unmarked, "vary"), "Accept | Origin");
        }
    }

    #[test]
    fn a_cache_is_told_once() {
        for (before, after) in
            [("origin", "origin"), ("*", "*"), ("Accept, Origin", "Accept, Origin"), ("X-Origin", "X-Origin | Origin")]
        {
            let mut headers = fields(&[("vary", before)]);
            mark(&mut headers, &cors(&[APP]), None);
            assert_eq!(shown(&headers, "vary"), after);
        }
    }

    #[test]
    fn where_the_upstream_speaks_only_names_are_added() {
        let mut silent = fields(&[("access-control-expose-headers", "ETag")]);
        expose(&mut silent);
        assert_eq!(shown(&silent, "access-control-expose-headers"), "ETag");
        let mut speaks = fields(&[("access-control-allow-origin", APP), ("access-control-expose-headers", "ETag")]);
        expose(&mut speaks);
        assert_eq!(shown(&speaks, "access-control-expose-headers"), "ETag, DPoP-Nonce, WWW-Authenticate, Retry-After");
        assert_eq!(shown(&speaks, "access-control-allow-origin"), APP);
    }

    proptest! {
        /// Whatever is asked and said, only a listed origin is ever named, and no name stands twice.
        #[test]
        fn nobody_else_hears_a_word(
            origin in "(https://app.example.com)?[ -~]{0,20}",
            asked in "[ -~]{0,60}",
            exposed in "[ -~]{0,60}",
        ) {
            let Ok(origin) = HeaderValue::from_str(&origin) else { return Ok(()) };
            let rule = cors(&[APP]);
            let question = Preflight { origin: origin.clone(), method: Method::PUT };
            let mut request = HeaderMap::new();
            request.insert("access-control-request-headers", HeaderValue::from_str(&asked).unwrap());
            let preflight = answer(&question, &request, &rule).into_parts().0.headers;
            let mut marked = HeaderMap::new();
            marked.insert("access-control-expose-headers", HeaderValue::from_str(&exposed).unwrap());
            mark(&mut marked, &rule, Some(&origin));
            for headers in [preflight, marked] {
                let speaks = headers.keys().any(|name| name.as_str().starts_with("access-control-"));
                prop_assert_eq!(speaks, origin == APP, "{:?}", headers);
                for value in headers.values() {
                    let mut names: Vec<String> = items(value).map(str::to_ascii_lowercase).collect();
                    let all = names.len();
                    names.sort();
                    names.dedup();
                    prop_assert_eq!(names.len(), all, "{:?}", value);
                }
            }
        }
    }
}
