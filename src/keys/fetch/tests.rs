use std::time::Instant;

use super::*;
use crate::keys::tests::{Answer, TestIssuer, ok, with_fields};

fn client(roots: Arc<RootCertStore>) -> HttpClient {
    let limits = Limits { connect: Duration::from_millis(200), total: Duration::from_millis(400), bytes: 10_000 };
    HttpClient::new(roots, limits).unwrap()
}

async fn get(server: &TestIssuer, answer: Answer) -> Result<Fetched, LoadError> {
    server.answer("/x", answer);
    client(Arc::new(RootCertStore::empty())).get(&server.url("/x").parse().unwrap()).await
}

#[tokio::test]
async fn a_json_object_comes_through() {
    let server = TestIssuer::start().await;
    let fetched =
        get(&server, Answer::Bytes(with_fields("Cache-Control: public, max-age=600\r\n", " {}"))).await.unwrap();
    assert_eq!((&fetched.body[..], fetched.fresh_for), (b" {}".as_slice(), Some(Duration::from_mins(10))));
}

#[tokio::test]
async fn anything_but_a_plain_success_is_called_what_it_is() {
    let server = TestIssuer::start().await;
    let moved = "301 Moved Permanently\r\nLocation: https://other.example/jwks?secret=1";
    let cases = [
        (Answer::status(moved), "found 301; redirects are not followed, this one leads to https://other.example/jwks"),
        (Answer::status("302 Found"), "found 302; redirects are not followed"),
        (Answer::status("500 Internal Server Error"), "expected status 200, found 500"),
        (Answer::status("404 Not Found"), "expected status 200, found 404"),
        (Answer::status("204 No Content"), "expected status 200, found 204"),
        (Answer::Bytes(ok("<!doctype html><p>Sign in")), "expected a JSON object, found an HTML or XML page"),
        (Answer::Bytes(ok("[1]")), "expected a JSON object, found something else"),
        (Answer::Bytes(ok(" ")), "expected a JSON object, found nothing"),
        (Answer::Bytes(ok("\u{feff}{}")), "expected a JSON object, found a byte order mark"),
        (Answer::Bytes(with_fields("Content-Encoding: gzip\r\n", "{}")), "without Content-Encoding"),
        (Answer::Bytes(ok(&format!("{{{}}}", " ".repeat(10_000)))), "expected at most 10000 bytes"),
        (Answer::Endless, "expected at most 10000 bytes"),
        (Answer::Stuck(String::new()), "no complete answer within 400ms"),
        (Answer::Stuck("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_owned()), "no complete answer within 400ms"),
        (Answer::Bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_owned()), "end of file"),
        (Answer::Bytes("SSH-2.0-OpenSSH_9\r\n".to_owned()), "invalid HTTP version"),
    ];
    for (answer, expected) in cases {
        let asked = Instant::now();
        let error = get(&server, answer).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.starts_with(&server.url("/x")) && !error.contains("secret"), "{error}");
        assert!(asked.elapsed() < Duration::from_secs(3), "{expected}");
    }
    // And a good one afterwards.
    get(&server, Answer::Bytes(ok("{}"))).await.unwrap();
}

#[tokio::test]
async fn a_closed_port_says_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/jwks", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let error = client(Arc::new(RootCertStore::empty())).get(&uri).await.unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
}

#[tokio::test]
async fn plain_http_is_asked_on_this_host_only() {
    for place in ["http://192.0.2.1/jwks", "ftp://127.0.0.1/jwks", "/jwks"] {
        let error = client(Arc::new(RootCertStore::empty())).get(&place.parse().unwrap()).await.unwrap_err();
        assert!(matches!(error, LoadError::Place { .. }), "{error}");
    }
}

#[tokio::test]
async fn tls_needs_a_trusted_certificate() {
    let (server, roots) = TestIssuer::start_tls().await;
    server.answer("/x", Answer::Bytes(ok("{}")));
    let uri: Uri = server.url("/x").parse().unwrap();
    client(roots).get(&uri).await.unwrap();
    let error = client(Arc::new(RootCertStore::empty())).get(&uri).await.unwrap_err().to_string();
    assert!(error.contains("UnknownIssuer"), "{error}");
    assert_eq!(server.asked(), ["/x"], "nothing is asked over an untrusted connection");
}

#[test]
fn freshness_is_what_remains() {
    type Fields = &'static [(&'static str, &'static str)];
    let cases: [(Fields, Option<u64>); 10] = [
        (&[], None),
        (&[("cache-control", "max-age=600")], Some(600)),
        (&[("cache-control", "public, Max-Age=\"600\", must-revalidate")], Some(600)),
        (&[("cache-control", "public"), ("cache-control", "max-age=60")], Some(60)),
        (&[("cache-control", "max-age=600"), ("age", "100")], Some(500)),
        (&[("cache-control", "max-age=600"), ("age", "1000")], Some(0)),
        (&[("cache-control", "no-store, max-age=600")], None),
        (&[("cache-control", "no-cache")], None),
        (&[("cache-control", "max-age=-1")], None),
        (&[("cache-control", "s-maxage=600")], None),
    ];
    for (fields, expected) in cases {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        assert_eq!(fresh_for(&headers).map(|fresh| fresh.as_secs()), expected, "{fields:?}");
    }
}

#[test]
fn a_place_tells_no_secrets() {
    let shown = |uri: &str| Place::of(&uri.parse().unwrap()).to_string();
    assert_eq!(shown("https://user:word@as.example:8443/jwks?key=word"), "https://as.example:8443/jwks");
    assert_eq!(shown("/jwks?key=word"), "/jwks");
}
