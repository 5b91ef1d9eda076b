//! Saying no: the answer, and what becomes of the rest of the request.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, Version, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::REQUEST_ID;
use super::body::Body;
use super::state::Gateway;
use crate::authorize::Refused;
use crate::refusal::{Answer, Blame, Refusal, shown};
use crate::request::Scheme;
use crate::respond::{self, Circumstances};
use crate::routes::Route;
use crate::telemetry::{Decision, Record};

/// A refused upload is read and thrown away up to here, so that its client gets to read the answer.
const DRAIN_BYTES: u64 = 16 * 1024 * 1024;

/// And for no longer than this.
const DRAIN_TIME: Duration = Duration::from_secs(10);

impl Gateway {
    /// Answers a request that could not even be read.
    pub(super) fn refuse_unread(
        &self,
        unread: (Refusal, Request<Incoming>),
        mut record: Box<Record>,
    ) -> Response<Body> {
        let (refusal, request) = unread;
        record.decided(true);
        record.unread_target(|| shown(request.uri().path()));
        let response = self.answer_refusal(refusal, None, None, None, record);
        discard(request);
        response
    }

    /// Answers a refused request.
    pub(super) fn refuse(&self, refused: Refused<Incoming>, record: Box<Record>) -> Response<Body> {
        let Refused { refusal, inbound, route } = refused;
        let response =
            self.answer_refusal(refusal, route.as_ref(), Some(inbound.target().host()), inbound.scheme_used(), record);
        discard(inbound.into_parts().0);
        response
    }

    /// Makes the answer, counts it and notes it.
    pub(super) fn answer_refusal(
        &self,
        refusal: Refusal,
        route: Option<&Arc<Route>>,
        host: Option<&str>,
        scheme_used: Option<Scheme>,
        mut record: Box<Record>,
    ) -> Response<Body> {
        let reason = refusal.reason();
        let policy = route.and_then(|route| route.access.policy()).map(|policy| &**policy);
        let nonce = (reason.answer().status() == 401).then(|| self.fresh_nonce()).flatten();
        let realm = host.unwrap_or("keybound");
        let circumstances =
            Circumstances { scheme_used, policy, algorithms: &self.algorithms, realm, id: Some(&record.id), nonce };
        let (mut parts, text) = respond::refuse(reason, &circumstances).into_parts();
        if let Ok(id) = HeaderValue::from_str(record.id.as_str()) {
            parts.headers.insert(REQUEST_ID, id);
        }
        if reason.answer() == Answer::Malformed {
            // Whoever cannot be understood is not listened to further.
            parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        record.decision = match reason.answer().blame() {
            Blame::Client => Decision::Refuse,
            Blame::Upstream | Blame::Gateway => Decision::Error,
        };
        record.refusal = Some(refusal);
        let after = record.elapsed();
        record.answered(parts.status.as_u16(), after);
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
        Response::from_parts(parts, if record.bodiless { Body::nothing(record) } else { Body::own(text, record) })
    }
}

/// Reads what is left of a refused request, within bounds (RFC 9112 §9.6): a connection that is closed
/// over unread bytes is reset, and the client may lose the answer. A client that waits for `100 Continue` sends
/// nothing until it is asked, and reading would ask.
fn discard(request: Request<Incoming>) {
    let waits = request.version() == Version::HTTP_11 && request.headers().contains_key(header::EXPECT);
    let mut body = request.into_body();
    if waits || body.is_end_stream() {
        return;
    }
    tokio::spawn(async move {
        let drain = async {
            let mut left = DRAIN_BYTES;
            while let Some(Ok(frame)) = body.frame().await {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                let Some(rest) = left.checked_sub(length) else { break };
                left = rest;
            }
        };
        // Over the time it is closed all the same.
        let _ = tokio::time::timeout(DRAIN_TIME, drain).await;
    });
}
