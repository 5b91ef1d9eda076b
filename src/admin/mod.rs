//! The operator's door: metrics, health, readiness. On an address of its own; it forwards nothing.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::accept::Handler;
use crate::gateway::{Current, Readiness};
use crate::request::Peer;

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

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "expected GET\n".to_owned());
        }
        match path {
            "/" => text(StatusCode::OK, INDEX.to_owned()),
            "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => match self.current.get().readiness() {
                Readiness::Ready(notes) => text(StatusCode::OK, lines("ready", &notes)),
                Readiness::NotReady(missing) => text(StatusCode::SERVICE_UNAVAILABLE, lines("not ready", &missing)),
            },
            "/metrics" => self.metrics(),
            "/observed" => json(&self.current.get().observations().report()),
            "/identity/jwks.json" => self.identity_set(),
            _ => text(StatusCode::NOT_FOUND, format!("nothing here\n{INDEX}")),
        }
    }

    /// What upstreams verify assertions with. They may keep it for a while: a key is published before it signs.
    fn identity_set(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.current.get().identity_set().clone()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
        response
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let gateway = self.current.get();
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

/metrics             for Prometheus
/healthz             the process lives
/readyz              requests may be sent here
/observed            who would be refused on routes that observe
/identity/jwks.json  keys that sign who was proven to ask
";

fn lines(first: &str, rest: &[String]) -> String {
    let mut text = format!("{first}\n");
    for line in rest {
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn json(value: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::OK, format!("{value:#}\n"));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

impl Handler for Admin {
    type Body = Full<Bytes>;
    type BodyError = Infallible;

    async fn handle(&self, request: Request<Incoming>, _: Arc<Peer>) -> Response<Self::Body> {
        self.answer(request.method(), request.uri().path())
    }
}
