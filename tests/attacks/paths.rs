//! Paths that route match, `htu` and upstream could read otherwise: what is served under `/private` stands behind a route that
//! nobody here may take, beside open ones. No spelling reaches it.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::frames::Wire;
use crate::in_time;
use crate::origin::{Kind, SECRET};
use crate::range::{Door, Range, rest, shown};
use crate::support::HOST;
use crate::support::frames::{END_HEADERS, END_STREAM, HEADERS, block, push_frame};
use crate::support::wire::Http;

/// Request targets. Each leads, or could be thought to lead, to `/private/secret`.
pub const SPELLINGS: &[&str] = &[
    // As it is, and with a query or fragment.
    "/private/secret",
    "/private/secret?",
    "/private/secret?x=/open/y",
    "/private/secret#",
    "/private/secret#/../../open/y",
    "/private/secret?#",
    "/open/x?/../../private/secret",
    "/open/x#/../../private/secret",
    "/open/x/..#/private/secret",
    "?/private/secret",
    "?/../private/secret",
    "#/private/secret",
    "/?/../private/secret",
    // Encoded letters.
    "/%70rivate/secret",
    "/p%72ivate/secret",
    "/%70%72%69%76%61%74%65/secret",
    "/%70%72%69%76%61%74%65/%73%65%63%72%65%74",
    "/private%2fsecret",
    "/private%2Fsecret",
    "/%2fprivate/secret",
    "/%2Fprivate%2Fsecret",
    "%2fprivate%2fsecret",
    "/private%5csecret",
    "/%5cprivate/secret",
    "/%u0070rivate/secret",
    "/%70rivate%2fsecret",
    "/priva%74e/secret?x",
    // Encoded twice and more.
    "/%2570rivate/secret",
    "/%25%37%30rivate/secret",
    "/%252570rivate/secret",
    "/private%252fsecret",
    "/%252fprivate/secret",
    "/open%252f..%252fprivate/secret",
    "/open/%252e%252e/private/secret",
    "/open/%25%32%65%25%32%65/private/secret",
    "/open/..%252fprivate/secret",
    "/open/x%253f/../../private/secret",
    // Slashes.
    "//private/secret",
    "///private/secret",
    "////private////secret",
    "/private//secret",
    "/open//../private/secret",
    "/open/..//private/secret",
    "//open/../private/secret",
    "/.//private/secret",
    "//rs.example/private/secret",
    "/\\private/secret",
    // Dots.
    "/./private/secret",
    "/././private/./secret",
    "/private/./secret",
    "/private/.//secret",
    "/open/../private/secret",
    "/open/x/../../private/secret",
    "/api/../private/secret",
    "/api/x/../../private/secret",
    "/../private/secret",
    "/../../../../private/secret",
    "/open/%2e%2e/private/secret",
    "/open/%2E%2E/private/secret",
    "/open/.%2e/private/secret",
    "/open/%2e./private/secret",
    "/api/%2e%2e/private/secret",
    "/%2e/private/secret",
    "/%2e%2e/private/secret",
    "/open/..%2fprivate/secret",
    "/open%2f../private/secret",
    "/open%2f..%2fprivate/secret",
    "/open/%2e%2e%2fprivate%2fsecret",
    "/private/../private/secret",
    "/open/.../private/secret",
    "/open/....//private/secret",
    "/private/secret/.",
    "/private/secret/..",
    "/private/secret/",
    "/private/secret.",
    "/private./secret",
    "/private/secret%20",
    "/private%20/secret",
    "/private/secret..",
    // Parameters.
    "/;x/private/secret",
    "/private;x/secret",
    "/private;x=1/secret;y=2",
    "/private/;/secret",
    "/;/private/secret",
    "/open;/../private/secret",
    "/open/..;/private/secret",
    "/open/..;x=1/private/secret",
    "/open/;../private/secret",
    "/open/.;./private/secret",
    "/open/..%3b/private/secret",
    "/open/%2e%2e;/private/secret",
    "/open/%2e%2e%3bx/private/secret",
    "/private%3bx/secret",
    "/private/secret;.html",
    // Backslashes.
    "\\private\\secret",
    "/private\\secret",
    "/open\\..\\private\\secret",
    "/open/..\\private\\secret",
    "/open\\../private/secret",
    "/open/..%5cprivate%5csecret",
    "/open/%5c../private/secret",
    // Overlong and other encodings.
    "/open/%c0%ae%c0%ae/private/secret",
    "/open/%e0%80%ae%e0%80%ae/private/secret",
    "/open/%f0%80%80%ae%f0%80%80%ae/private/secret",
    "/private%c0%afsecret",
    "/private%c1%9csecret",
    "/private%e0%80%afsecret",
    "/open/..%c0%afprivate/secret",
    "/open/%uff0e%uff0e/private/secret",
    "/open/%ef%bc%8e%ef%bc%8e/private/secret",
    "/open/..%ef%bc%8fprivate/secret",
    "/private%e2%88%95secret",
    "/%ef%bd%90rivate/secret",
    "/pr\u{131}vate/secret",
    "/%f1rivate/secret",
    // Bytes that end or vanish.
    "/private/secret%00",
    "/private%00/secret",
    "/open/x%00/../../private/secret",
    "/private/secret\0",
    "/private/secret%0a",
    "/private/secret%0d%0a",
    "/%09/private/secret",
    "/\tprivate/secret",
    "/pri\tvate/secret",
    "/private/sec\rret",
    "/%0aprivate/secret",
    "/private/secret%7f",
    "/private/secret\u{7f}",
    "/private/secret%",
    "/private/secret%2",
    "/private/secret%zz",
    "/%/private/secret",
    // Letters of the other case: another path, unless a server folds them.
    "/PRIVATE/SECRET",
    "/Private/secret",
    "/%50rivate/secret",
    // Absolute, authorities, asterisks.
    "https://rs.example/private/secret",
    "https://rs.example/open/../private/secret",
    "https://rs.example//private/secret",
    "https://rs.example/%70rivate/secret",
    "https://other.example/private/secret",
    "https://localhost/private/secret",
    "https://rs.example:443/private/secret",
    "https://rs.example:8443/private/secret",
    "https://rs.example./private/secret",
    "https://a@rs.example/private/secret",
    "https://open@rs.example/private/secret",
    "https:///private/secret",
    "https:/private/secret",
    "https:private/secret",
    "HTTPS://rs.example/private/secret",
    "http://rs.example/private/secret",
    "http://127.0.0.1/private/secret",
    "file:///private/secret",
    "https://rs.example?/private/secret",
    "https://rs.example#/private/secret",
    "https://rs.example\\private/secret",
    "https://rs.example/open/x?https://rs.example/private/secret",
    "rs.example/private/secret",
    "rs.example:443/private/secret",
    "private/secret",
    "*",
    "*/private/secret",
    "/*/../private/secret",
    ".",
    "./private/secret",
    "../private/secret",
];

/// Heads that stand for a request of that target, but not as HTTP/1.1 has it.
pub const HEADS: &[&str] = &[
    "GET /private/secret\r\n",
    "GET /private/secret\n",
    "GET /private/secret\r\n\r\n",
    "GET /private/secret HTTP/0.9\r\n\r\n",
    "GET /private/secret HTTP/1.0\r\n\r\n",
    "GET /private/secret HTTP/1.0\r\nHost: rs.example\r\n\r\n",
    "GET /open/x /private/secret HTTP/1.1\r\nHost: rs.example\r\n\r\n",
    "GET /private/secret /open/x HTTP/1.1\r\nHost: rs.example\r\n\r\n",
    "GET  /private/secret HTTP/1.1\r\nHost: rs.example\r\n\r\n",
    "GET\t/private/secret\tHTTP/1.1\r\nHost: rs.example\r\n\r\n",
    "GET /private/secret HTTP/1.1\r\nHost: rs.example\r\nX-HTTP-Method-Override: GET\r\n\r\n",
    "GET /open/x HTTP/1.1\r\nHost: rs.example\r\nX-Original-URL: /private/secret\r\nX-Rewrite-URL: /private/secret\r\n\r\n",
    "GET /open/x HTTP/1.1\r\nHost: rs.example/private/secret?\r\n\r\n",
    "GET /secret HTTP/1.1\r\nHost: rs.example/private\r\n\r\n",
    "GET /private/secret HTTP/1.1\r\nHost: rs.example:443@open\r\n\r\n",
    "GET /private/secret HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "GET /private/secret HTTP/1.1\r\nHost: rs.example.\r\n\r\n",
    "HEAD /private/secret HTTP/1.1\r\nHost: rs.example\r\nX-HTTP-Method: GET\r\n\r\n",
    "POST /private/secret HTTP/1.1\r\nHost: rs.example\r\nContent-Length: 0\r\n\r\n",
    "get /private/secret HTTP/1.1\r\nHost: rs.example\r\n\r\n",
    "GETX /private/secret HTTP/1.1\r\nHost: rs.example\r\n\r\n",
    "PROPFIND /private/secret HTTP/1.1\r\nHost: rs.example\r\n\r\n",
];

fn head(target: &str, fields: &[(String, String)]) -> String {
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n{fields}Connection: close\r\n\r\n")
}

fn shows_secret(answer: &[u8]) -> bool {
    answer.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
}

/// Everything that comes back. The client closes its side where a server would wait for more.
async fn says(mut stream: Box<dyn crate::support::wire::Stream>, bytes: &[u8], closes: bool) -> Vec<u8> {
    let _ = stream.write_all(bytes).await;
    if closes {
        let _ = stream.shutdown().await;
    }
    rest(&mut *stream).await
}

async fn passes(range: &Range, what: &str) {
    let path = range.path(Door::Proven);
    let message = range.message("GET", &path, range.credentials(Door::Proven, "GET", &path));
    let answer = range.gateway.dialer().send(Http::One, &message).await.unwrap();
    assert_eq!(answer.status, 200, "{:?}: a good request after {what}", range.origin.kind);
}

async fn asks_over_http2(range: &Range, target: &str) {
    let fields = [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", target)];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec();
    let mut wire = Wire::over(range.connect(Http::Two).await).await.unwrap();
    let mut out = Vec::new();
    push_frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields), &mut out);
    let _ = wire.write(&out).await;
    in_time("an outcome", wire.outcome(1)).await;
    assert!(!shows_secret(&wire.bodies), "{:?}: {target:?} over HTTP/2 shows the secret", range.origin.kind);
}

/// How many spellings lead there when nobody stands in between: what the corpus is worth.
async fn reach_it_directly(range: &Range) -> usize {
    let mut reach = 0;
    for target in SPELLINGS {
        let stream = TcpStream::connect(range.origin.address).await.unwrap();
        let answer = says(Box::new(stream), head(target, &[]).as_bytes(), false).await;
        reach += usize::from(shows_secret(&answer));
    }
    reach
}

async fn no_spelling_reaches(kind: Kind, at_least: usize) {
    let range = Range::set(kind).await;
    let directly = reach_it_directly(&range).await;
    assert!(directly >= at_least, "{kind:?}: only {directly} of {} spellings lead anywhere", SPELLINGS.len());
    println!("{kind:?}: {directly} of {} spellings lead to the secret without a gateway", SPELLINGS.len());
    // Who may read it does.
    let fields = range.secret_credentials("/private/secret");
    let answer = says(range.connect(Http::One).await, head("/private/secret", &fields).as_bytes(), false).await;
    assert!(shows_secret(&answer), "{kind:?}: {}", shown(&answer));

    for target in SPELLINGS {
        // Nobody; somebody who may do other things, with a proof for what is asked as it is spelled; and with one for where
        // it would lead.
        let url = if target.starts_with('/') { (*target).to_owned() } else { "/private/secret".to_owned() };
        let may_do_else = range.credentials(Door::Proven, "GET", &url);
        let for_the_secret = range.credentials(Door::Proven, "GET", "/private/secret");
        for fields in [Vec::new(), may_do_else, for_the_secret] {
            let answer = says(range.connect(Http::One).await, head(target, &fields).as_bytes(), false).await;
            assert!(!shows_secret(&answer), "{kind:?}: {target:?} shows the secret:\n{}", shown(&answer));
            assert!(answer.starts_with(b"HTTP/1."), "{kind:?}: {target:?} is answered: {}", shown(&answer));
        }
        asks_over_http2(&range, target).await;
        passes(&range, target).await;
    }
    for head in HEADS {
        let answer = says(range.connect(Http::One).await, head.as_bytes(), true).await;
        assert!(!shows_secret(&answer), "{kind:?}: {head:?} shows the secret:\n{}", shown(&answer));
        passes(&range, head).await;
    }
}

#[tokio::test]
async fn no_spelling_reaches_what_nginx_keeps_private() {
    no_spelling_reaches(Kind::Nginx, 30).await;
}

#[tokio::test]
async fn no_spelling_reaches_what_apache_keeps_private() {
    no_spelling_reaches(Kind::Apache, 30).await;
}

#[tokio::test]
async fn no_spelling_reaches_what_node_keeps_private() {
    no_spelling_reaches(Kind::Node, 30).await;
}
