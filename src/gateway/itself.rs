//! What the gateway answers itself, before anyone asks for credentials, and never forwards: what browsers ask before they
//! send a script's request (Fetch), and what clients must know to get a token (RFC 9728).

use http::{HeaderValue, Method, Response, header};
use hyper::body::Incoming;

use super::body::Body;
use super::refused::{Asked, discard};
use super::state::Gateway;
use super::{REQUEST_ID, routes};
use crate::refusal::Reason;
use crate::request::Inbound;
use crate::respond::{Metadata, cors};
use crate::routes::{Cors, Origins, Route};
use crate::telemetry::{Decision, Record};

/// How metadata can be asked for.
const READS: HeaderValue = HeaderValue::from_static("GET, HEAD");

/// An answer of our own, and the route that it is about.
pub(super) struct Own {
    route: Option<usize>,
    /// `None`: the method is none that this is answered to.
    response: Option<Response<bytes::Bytes>>,
}

impl Gateway {
    /// What a request asks of the gateway itself, if anything.
    pub(super) fn own_answer(&self, inbound: &Inbound<Incoming>, metadata: Option<&Metadata>) -> Option<Own> {
        // Refused like every other.
        if self.is_too_large(inbound) {
            return None;
        }
        Self::tell(inbound, metadata).or_else(|| self.preflight(inbound))
    }

    /// A preflight is answered where the request that it asks about would be: by the first route for that method.
    fn preflight(&self, inbound: &Inbound<Incoming>) -> Option<Own> {
        let request = inbound.request();
        let asked = cors::preflight(request.method(), request.headers())?;
        let (index, route) = routes::select(&self.routes, &asked.method, inbound.target()).ok()?;
        let answer = cors::answer(&asked, request.headers(), route.cors.as_ref()?);
        Some(Own { route: Some(index), response: Some(answer) })
    }

    fn tell(inbound: &Inbound<Incoming>, metadata: Option<&Metadata>) -> Option<Own> {
        let (request, target) = (inbound.request(), inbound.target());
        let resource = metadata?.resource(target.host(), target.normalized_path())?;
        let route = resource.route();
        let response = match *request.method() {
            Method::GET | Method::HEAD => Some(resource.answer()),
            // Some clients send fields that a browser asks about first.
            _ => cors::preflight(request.method(), request.headers())
                .filter(|asked| matches!(asked.method, Method::GET | Method::HEAD))
                .map(|asked| cors::answer(&asked, request.headers(), &Cors::open())),
        };
        Some(Own { route, response })
    }

    /// Answers it.
    pub(super) fn answer_itself(
        &self,
        own: Own,
        inbound: Inbound<Incoming>,
        mut record: Box<Record>,
    ) -> Response<Body> {
        record.route = own.route;
        record.decision = Decision::Public;
        record.decided(false);
        let response = match own.response {
            None => {
                let mut response = self.answer_refusal(Reason::MethodNotServed.into(), &Asked::default(), record);
                response.headers_mut().insert(header::ALLOW, READS);
                cors::mark(response.headers_mut(), &Cors::open(), None);
                response
            }
            Some(response) => {
                let (mut parts, text) = response.into_parts();
                if let Ok(id) = HeaderValue::from_str(record.id.as_str()) {
                    parts.headers.insert(REQUEST_ID, id);
                }
                let after = record.elapsed();
                record.answered(parts.status.as_u16(), after);
                if parts.status != http::StatusCode::NO_CONTENT {
                    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
                }
                let silent = text.is_empty() || record.bodiless;
                Response::from_parts(parts, if silent { Body::nothing(record) } else { Body::own(text, record) })
            }
        };
        discard(inbound.into_parts().0);
        response
    }

    /// Which rule says who may read an answer. Before a route is known, any rule that allows the origin: such an answer
    /// says nothing that is not for everyone.
    pub(super) fn cors_of<'r>(&'r self, route: Option<&'r Route>, origin: Option<&HeaderValue>) -> Option<&'r Cors> {
        if let Some(route) = route {
            return route.cors.as_ref();
        }
        let allowing = || {
            let rules = self.routes.iter().filter_map(|route| route.cors.as_ref());
            rules.filter(|cors| cors.allowed(origin).is_some())
        };
        // One that names the origin may say more than one for all.
        allowing().find(|cors| matches!(cors.origins, Origins::Listed(_))).or_else(|| allowing().next())
    }
}
