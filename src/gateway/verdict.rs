//! A decision endpoint: the verdict goes to the proxy that asked, which forwards the request or not.

use std::sync::Arc;

use http::{HeaderValue, Response, StatusCode, header};
use hyper::body::Incoming;

use super::body::Body;
use super::refused::Asked;
use super::state::Gateway;
use super::{REQUEST_ID, nonce};
use crate::authorize::{Authorized, Grant};
use crate::replay::Question;
use crate::request::{Front, Inbound};
use crate::telemetry::Record;

impl Gateway {
    /// The question that a trusted proxy asks with this request, if it names its client's request.
    pub(super) fn question(&self, front: &Front, inbound: &Inbound<Incoming>) -> Option<Question<'_>> {
        let name = front.request_id.as_ref().filter(|_| front.asks.is_some())?;
        let mut lines = inbound.request().headers().get_all(name).iter();
        // Two of them name nothing.
        let id = lines.next().filter(|_| lines.next().is_none())?;
        self.lasting.questions.about(id.as_bytes())
    }

    /// Says yes: 200, with the fields that the upstream should get.
    pub(super) fn answer_with_verdict(
        &self,
        authorized: Authorized<Incoming>,
        mut record: Box<Record>,
    ) -> Response<Body> {
        let nonce = self.nonce_for(authorized.grant().and_then(Grant::nonce), &record);
        let route = Arc::clone(authorized.route());
        let mut headers = match self.forwarder.verdict(authorized) {
            Ok(headers) => headers,
            Err(refusal) => {
                return self.answer_refusal(
                    refusal,
                    &Asked { route: Some(&route), by_proxy: true, ..Asked::default() },
                    record,
                );
            }
        };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        if let Some(nonce) = nonce {
            nonce::hand_out(nonce, &mut headers);
        }
        if let Ok(id) = HeaderValue::from_str(record.id.as_str()) {
            headers.insert(REQUEST_ID, id);
        }
        let after = record.elapsed();
        record.answered(StatusCode::OK.as_u16(), after);
        let mut response = Response::new(Body::nothing(record));
        *response.headers_mut() = headers;
        response
    }
}
