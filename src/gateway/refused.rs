//! Saying no: the answer, and what becomes of the rest of the request.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Version, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::REQUEST_ID;
use super::body::Body;
use super::facade::Facade;
use super::state::Gateway;
use crate::authorize::Refused;
use crate::refusal::{Answer, Blame, Progress, Refusal, shown};
use crate::request::Scheme;
use crate::respond::{self, Circumstances, Metadata, cors};
use crate::routes::Route;
use crate::telemetry::{Decision, Record};

/// A refused upload is read and thrown away up to here, so that its client gets to read the answer.
const DRAIN_BYTES: u64 = 16 * 1024 * 1024;

/// And for no longer than this.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// What is known of a refused request, as far as its answer depends on it.
#[derive(Debug, Default)]
pub(super) struct Asked<'a> {
    pub(super) route: Option<&'a Route>,
    pub(super) host: Option<&'a str>,
    pub(super) scheme_used: Option<Scheme>,
    /// Where the script is from that waits for the answer.
    pub(super) origin: Option<&'a HeaderValue>,
    /// What the listener tells its clients.
    pub(super) metadata: Option<&'a Metadata>,
    /// Whether it is a call of gRPC, whose clients look for a status of their own.
    pub(super) grpc: bool,
    /// Whether a proxy asks, who speaks for CORS itself.
    pub(super) by_proxy: bool,
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Whether a request is a call of gRPC: `application/grpc`, with a suffix for its encoding or without. gRPC-Web is
/// something else.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let rest = headers.get(header::CONTENT_TYPE).and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

impl Gateway {
    /// Answers a request that could not even be read.
    pub(super) fn refuse_unread(
        &self,
        unread: (Refusal, Request<Incoming>),
        facade: Option<&Facade>,
        mut record: Box<Record>,
    ) -> Response<Body> {
        let (refusal, request) = unread;
        record.decided(true);
        record.unread_target(|| shown(request.uri().path()));
        let asked = Asked {
            origin: cors::origin(request.headers()),
            grpc: is_grpc(request.headers()),
            by_proxy: facade.is_some_and(Facade::is_asked),
            ..Asked::default()
        };
        let response = self.answer_refusal(refusal, &asked, record);
        discard(request);
        response
    }

    /// Answers a refused request.
    pub(super) fn refuse(&self, refused: Refused<Incoming>, facade: &Facade, record: Box<Record>) -> Response<Body> {
        let Refused { refusal, inbound, route, key, place } = refused;
        let now = self.clock.now();
        if let Some(place) = place {
            place.give_back(now);
        }
        if let Some(sender) = inbound.sender() {
            self.failures.count(refusal.reason(), sender, key, now);
        }
        let asked = Asked {
            route: route.as_deref(),
            host: Some(inbound.target().host()),
            scheme_used: inbound.scheme_used(),
            origin: cors::origin(inbound.request().headers()),
            metadata: facade.metadata.as_ref(),
            grpc: is_grpc(inbound.request().headers()),
            by_proxy: facade.is_asked(),
        };
        let response = self.answer_refusal(refusal, &asked, record);
        discard(inbound.into_parts().0);
        response
    }

    /// Makes the answer, counts it and notes it.
    pub(super) fn answer_refusal(
        &self,
        refusal: Refusal,
        asked: &Asked<'_>,
        mut record: Box<Record>,
    ) -> Response<Body> {
        let reason = refusal.reason();
        let policy = asked.route.and_then(|route| route.access.policy()).map(|policy| &**policy);
        let nonce = (reason.answer().status() == 401).then(|| self.fresh_nonce()).flatten();
        let circumstances = Circumstances {
            scheme_used: asked.scheme_used,
            policy,
            algorithms: &self.algorithms,
            realm: asked.host.unwrap_or("keybound"),
            id: Some(&record.id),
            nonce,
            resource_metadata: asked
                .metadata
                .zip(asked.route.filter(|_| policy.is_some()))
                .map(|(told, route)| told.url(route)),
            retry_after: refusal.wait(),
        };
        let (mut parts, text) = respond::refuse(reason, &circumstances).into_parts();
        if let Ok(id) = HeaderValue::from_str(record.id.as_str()) {
            parts.headers.insert(REQUEST_ID, id);
        }
        if let Some(rule) = self.cors_of(asked.route, asked.origin).filter(|_| !asked.by_proxy) {
            cors::mark(&mut parts.headers, rule, asked.origin);
        }
        if reason.answer() == Answer::Malformed {
            // Whoever cannot be understood is not listened to further.
            parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if record.decision == Decision::Observe {
            // It came to its upstream whatever its checks said.
            record.progress = Progress { read: true, ..Progress::default() };
        }
        record.decision = match reason.answer().blame() {
            Blame::Client => Decision::Refuse,
            Blame::Upstream | Blame::Gateway => Decision::Error,
        };
        record.refusal = Some(refusal);
        let after = record.elapsed();
        record.answered(parts.status.as_u16(), after);
        if asked.grpc {
            speak_grpc(&mut parts.headers, reason.answer());
            return Response::from_parts(parts, Body::nothing(record));
        }
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
        Response::from_parts(parts, if record.bodiless { Body::nothing(record) } else { Body::own(text, record) })
    }
}

/// An answer that a client of gRPC understands. It reads a status of its own in a head without a body ("Trailers-Only");
/// with a body, it would wait for trailers.
fn speak_grpc(headers: &mut HeaderMap, answer: Answer) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from(answer.grpc_status()));
    if let Some(error) = answer.oauth_error() {
        headers.insert(GRPC_MESSAGE, HeaderValue::from_static(error));
    }
}

/// Reads what is left of a refused request, within bounds (RFC 9112 §9.6): a connection that is closed
/// over unread bytes is reset, and the client may lose the answer. A client that waits for `100 Continue` sends
/// nothing until it is asked, and reading would ask.
pub(super) fn discard(request: Request<Incoming>) {
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
