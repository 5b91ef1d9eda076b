//! The operator's door: metrics, health, readiness, and a page for people. On an address of its own; it forwards nothing
//! and changes nothing.

mod door;
mod explained;
mod state;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::accept::Handler;
use crate::gateway::{Current, Gateway, Readiness};
use crate::request::Peer;
use door::{Door, Shut};

/// The page and what it is made of. They hold nothing of a gateway.
const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const ICON: &str = include_str!("icon.svg");

const HTML: &str = "text/html; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// Nothing but the page's own files, from here, and nowhere but here.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                                       connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Answers on the admin port.
#[derive(Clone, Debug)]
pub struct Admin {
    current: Current,
    /// By listener.
    addresses: Arc<[SocketAddr]>,
}

impl Admin {
    /// An admin port for the gateway in force, whose listeners have these addresses.
    pub fn new(current: Current, addresses: &[SocketAddr]) -> Self {
        Self { current, addresses: addresses.into() }
    }

    fn answer(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "expected GET\n".to_owned());
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let gateway = self.current.get();
        match uri.path() {
            "/" if wants(headers, "text/html") => guarded(&gateway, uri, headers, |_| page()),
            "/" => text(StatusCode::OK, INDEX.to_owned()),
            "/page.css" => typed("text/css; charset=utf-8", STYLE),
            "/page.js" => typed("text/javascript; charset=utf-8", SCRIPT),
            "/icon.svg" => typed("image/svg+xml", ICON),
            "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => match gateway.readiness() {
                Readiness::Ready(notes) => text(StatusCode::OK, lines("ready", &notes)),
                Readiness::NotReady(missing) => text(StatusCode::SERVICE_UNAVAILABLE, lines("not ready", &missing)),
            },
            "/metrics" => self.metrics(&gateway),
            "/state.json" => guarded(&gateway, uri, headers, |gateway| json(&state::state(gateway, &self.addresses))),
            "/observed" => guarded(&gateway, uri, headers, |gateway| json(&gateway.observations().report())),
            "/identity/jwks.json" => identity_set(&gateway),
            path => match path.strip_prefix("/explain/") {
                Some(id) => guarded(&gateway, uri, headers, |gateway| explain(gateway, id, headers)),
                None => text(StatusCode::NOT_FOUND, format!("nothing here\n{INDEX}")),
            },
        }
    }

    fn metrics(&self, gateway: &Gateway) -> Response<Full<Bytes>> {
        let (mut snapshot, now) = (gateway.snapshot(), gateway.now());
        let expiries = self.addresses.iter().zip(gateway.certificate_expiries());
        snapshot.certificate_expiries =
            expiries.filter_map(|(address, at)| Some((address.to_string(), -now.seconds_since(at?)))).collect();
        match gateway.metrics().render(&snapshot) {
            Ok(body) => {
                let mut response = Response::new(Full::new(Bytes::from(body)));
                let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(header::CONTENT_TYPE, format);
                response
            }
            Err(error) => {
                tracing::error!(%error, "metrics cannot be rendered");
                text(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be rendered\n".to_owned())
            }
        }
    }
}

const INDEX: &str = "\
keybound admin

/                    a live page, for browsers
/metrics             for Prometheus
/healthz             the process lives
/readyz              requests may be sent here
/state.json          what the page shows
/explain/ID          why the request of this id was refused
/observed            who would be refused on routes that observe
/identity/jwks.json  keys that sign who was proven to ask
";

/// What upstreams verify assertions with. They may keep it for a while: a key is published before it signs.
fn identity_set(gateway: &Gateway) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(gateway.identity_set().clone()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    response
}

fn explain(gateway: &Gateway, id: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
    match gateway.refusals().find(id) {
        None => text(StatusCode::NOT_FOUND, explained::unknown()),
        Some(refused) if wants(headers, "application/json") => json(&explained::whole(&refused)),
        Some(refused) => text(StatusCode::OK, explained::text(&refused)),
    }
}

/// Answers whoever may see it.
fn guarded(
    gateway: &Gateway,
    uri: &Uri,
    headers: &HeaderMap,
    answer: impl FnOnce(&Gateway) -> Response<Full<Bytes>>,
) -> Response<Full<Bytes>> {
    let mut response = match Door::of(gateway.admin()).ask(uri, headers) {
        Ok(()) => answer(gateway),
        Err(shut) => {
            let status = match shut {
                Shut::Token => StatusCode::UNAUTHORIZED,
                Shut::Host => StatusCode::MISDIRECTED_REQUEST,
                Shut::Closed => StatusCode::FORBIDDEN,
            };
            let mut response = text(status, shut.words().to_owned());
            for challenge in shut.challenges() {
                response.headers_mut().append(header::WWW_AUTHENTICATE, challenge.clone());
            }
            response
        }
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// Whether a client names this media type. Programs that take anything get what is plain.
fn wants(headers: &HeaderMap, media_type: &str) -> bool {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let ranges = lines.flat_map(|line| line.split(','));
    ranges.filter_map(|range| range.split(';').next()).any(|range| range.trim().eq_ignore_ascii_case(media_type))
}

fn lines(first: &str, rest: &[String]) -> String {
    let mut text = format!("{first}\n");
    for line in rest {
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn page() -> Response<Full<Bytes>> {
    typed(HTML, PAGE)
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = typed(PLAIN, body);
    *response.status_mut() = status;
    response
}

fn json(value: &serde_json::Value) -> Response<Full<Bytes>> {
    typed(JSON, format!("{value:#}\n"))
}

/// What browsers must not take for anything else, keep, or show inside of another page.
fn typed(content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

impl Handler for Admin {
    type Body = Full<Bytes>;
    type BodyError = Infallible;

    async fn handle(&self, request: Request<Incoming>, _: Arc<Peer>) -> Response<Self::Body> {
        self.answer(request.method(), request.uri(), request.headers())
    }
}
