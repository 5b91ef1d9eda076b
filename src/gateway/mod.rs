//! The narrator: what happens to a request, one stage per line, in order.
//!
//! Enters: a request and its peer, from `accept`. Leaves: always a response. Cheap comes before
//! expensive, the token before the proof, side effects last: the message, the route, the credentials, the token,
//! the binding, limits, replay, policy, the upstream.

mod admin_settings;
mod body;
mod current;
mod facade;
mod itself;
mod lasting;
mod nonce;
mod observe;
mod readiness;
mod refused;
mod settings;
mod state;
mod succession;
mod traces;
mod verdict;

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;

use crate::accept::Handler;
use crate::authorize::{Authorized, Grant, Presented, Refused, Stage};
use crate::forward::{Forwarded, ResponseError};
use crate::refusal::Reason;
use crate::request::{Front, Inbound, Peer};
use crate::respond::{DPOP_NONCE, cors};
use crate::routes::{self, Access, Route};
use crate::telemetry::{Decision, Record, Station};

use facade::Facade;
use refused::Asked;

pub use admin_settings::{AdminSettings, AdminToken};
pub use body::Body;
pub use current::Current;
pub use readiness::Readiness;
pub use settings::Settings;
pub use state::{Gateway, GatewayError};
pub use succession::Changes;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// One listener's door into the gateway in force.
#[derive(Clone, Debug)]
pub struct Door {
    current: Current,
    listener: usize,
}

impl Door {
    /// The door of the listener of that index.
    pub const fn new(current: Current, listener: usize) -> Self {
        Self { current, listener }
    }
}

impl Handler for Door {
    type Body = Body;
    type BodyError = ResponseError;

    async fn handle(&self, request: Request<Incoming>, peer: Arc<Peer>) -> Response<Body> {
        // This one to the end, whatever comes into force meanwhile.
        let gateway = &*self.current.get();
        let (id, peer_address) = (gateway.next_id(), peer.address.ip());
        let mut record = Record::open(Arc::clone(&gateway.ledger), id, peer_address, request.method().clone());
        let onward = record.follow(&request);
        // There is one for each listener; without one, nothing would pass.
        let Some(facade) = gateway.facades.get(self.listener) else {
            return gateway.refuse_unread((Reason::NoRoute.into(), request), None, record);
        };
        let Facade { front, metadata, .. } = facade;
        let inbound = match Inbound::read(request, peer, front, id) {
            Ok(mut inbound) => {
                inbound.goes_on(onward);
                inbound
            }
            Err(unread) => return gateway.refuse_unread(*unread, Some(facade), record),
        };
        record.asked(inbound.client(), inbound.request().method());
        let target = inbound.target();
        record.target(target.external_scheme(), target.host(), target.normalized_path());
        // Whoever asks for a verdict would take an answer of ours for one, and forward what nobody proved.
        if !facade.is_asked()
            && let Some(own) = gateway.own_answer(&inbound, metadata.as_ref())
        {
            return gateway.answer_itself(own, inbound, record);
        }
        let decision = gateway.decide(inbound, front, &mut record).await;
        record.decided(false);
        match decision {
            Ok(authorized) if facade.is_asked() => gateway.answer_with_verdict(authorized, record),
            Ok(authorized) => gateway.forward(authorized, record).await,
            Err(refused) => gateway.refuse(*refused, facade, record),
        }
    }
}

impl Gateway {
    /// HTTP/1.1 heads are bounded while they are read; HTTP/2 bounds only their bytes.
    fn is_too_large(&self, inbound: &Inbound<Incoming>) -> bool {
        inbound.request().headers().len() > self.limits.headers
    }

    /// Every check, in order. The only way to an [`Authorized`].
    async fn decide(
        &self,
        mut inbound: Inbound<Incoming>,
        front: &Front,
        record: &mut Record,
    ) -> Stage<Authorized<Incoming>, Incoming> {
        if self.is_too_large(&inbound) {
            return Err(Refused::boxed(Reason::HeaderTooLarge.into(), inbound, None));
        }
        // Which rule.
        let (index, route) = match routes::select(&self.routes, inbound.request().method(), inbound.target()) {
            Ok((index, route)) => (index, Arc::clone(route)),
            Err(refusal) => return Err(Refused::boxed(refusal, inbound, None)),
        };
        record.route = Some(index);
        match route.access {
            Access::Public => {
                record.decision = Decision::Public;
                Authorized::open(inbound, route)
            }
            Access::Enforce(_) => self.check(inbound, route, front, record).await,
            Access::Observe(_) => {
                inbound.keep_authorization();
                match self.check(inbound, route, front, record).await {
                    Ok(authorized) => Ok(authorized),
                    Err(refused) => self.observe(*refused, record),
                }
            }
        }
    }

    /// Who asks, by what right.
    async fn check(
        &self,
        inbound: Inbound<Incoming>,
        route: Arc<Route>,
        front: &Front,
        record: &mut Record,
    ) -> Stage<Authorized<Incoming>, Incoming> {
        let observes = matches!(route.access, Access::Observe(_));
        let question = self.question(front, &inbound);
        // What was shown.
        record.enter(Station::Token);
        let presented = Presented::new(inbound, route)?;
        // Did too much from there fail?
        let now = self.clock.now();
        let presented = presented.heed(&self.failures, now)?;
        // Does the token hold?
        let (text, hash, accepted) = (presented.token(), presented.hash(), presented.accepted_issuers());
        // Its issuer may be asked, and goes on if the client leaves meanwhile.
        let asking = self.failures.asking(presented.sender(), now);
        let token = self.tokens.verify(text, hash, accepted, &self.issuers, &*self.clock).await;
        asking.answered();
        let verified = match token {
            Ok(token) => presented.verified(token)?,
            Err(refusal) => {
                record.progress.opaque = self.tokens.is_asked_about(text, accepted);
                return Err(presented.refuse(refusal));
            }
        };
        record.verified(verified.token(), observes);
        // Does the caller possess what the token names?
        record.enter(Station::Binding);
        let now = self.clock.now();
        let bound = verified.heed(&self.failures, now)?.prove(&self.proofs, &self.tokens, now)?;
        record.proven(bound.possession().binding());
        let proof_age = bound.possession().proof().map(|proof| now.seconds_since(proof.issued_at()));
        // Does the caller ask too much?
        record.enter(Station::Limits);
        let admitted = bound.admit(&self.limiter, question.as_ref(), now)?;
        // Is the proof fresh?
        record.enter(Station::Replay);
        let fresh = admitted.spend_for(&self.lasting.replay, question.as_ref(), now).await?;
        if let Some(age) = proof_age {
            self.metrics().spent(age);
        }
        // May the token do this?
        record.enter(Station::Policy);
        let authorized = fresh.authorize(now)?;
        record.decision = Decision::Allow;
        Ok(authorized)
    }

    async fn forward(&self, authorized: Authorized<Incoming>, mut record: Box<Record>) -> Response<Body> {
        let route = Arc::clone(authorized.route());
        let owns_dpop = authorized.grant().is_some();
        let nonce_made = authorized.grant().and_then(Grant::nonce);
        let rule = route.cors.as_ref();
        let origin = rule.and_then(|_| cors::origin(authorized.inbound().request().headers()).cloned());
        let request = authorized.inbound().request();
        let grpc = request.version() == Version::HTTP_2 && refused::is_grpc(request.headers());
        record.enter(Station::Upstream);
        let forwarded = self.forwarder.forward(authorized).await;
        let (after, took) = record.returned();
        match forwarded {
            Ok(Forwarded { response, upgraded }) => {
                if let Some(upstream) = route.upstream {
                    self.metrics().upstream_answered(upstream, took);
                }
                let (mut parts, body) = response.into_parts();
                clean_response(&mut parts.headers, owns_dpop, upgraded);
                if route.forward.client_certificate {
                    hide_certificate(&mut parts.headers);
                }
                if let Some(nonce) = self.nonce_for(nonce_made, &record) {
                    nonce::hand_out(nonce, &mut parts.headers);
                }
                match rule {
                    Some(rule) => cors::mark(&mut parts.headers, rule, origin.as_ref()),
                    None if owns_dpop => cors::expose(&mut parts.headers),
                    None => {}
                }
                parts.version = Version::HTTP_11;
                if let Ok(id) = HeaderValue::from_str(record.id.as_str()) {
                    parts.headers.insert(REQUEST_ID, id);
                }
                record.answered(parts.status.as_u16(), after);
                Response::from_parts(parts, Body::upstream(body, record))
            }
            Err(refusal) => {
                let asked = Asked { route: Some(&route), origin: origin.as_ref(), grpc, ..Asked::default() };
                self.answer_refusal(refusal, &asked, record)
            }
        }
    }
}

/// What must not travel from the upstream to the client (RFC 9110 §7.6.1): fields of its
/// connection, and DPoP's vocabulary where the gateway is the one who speaks it.
fn clean_response(headers: &mut http::HeaderMap, owns_dpop: bool, upgraded: bool) {
    crate::request::connection::remove_hop_by_hop(headers);
    if upgraded {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    if !owns_dpop {
        return;
    }
    remove_dpop(headers);
}

/// RFC 9440 §2.4: an answer that depends on a field which clients do not send depends on nothing that a cache of theirs
/// can see.
fn hide_certificate(headers: &mut http::HeaderMap) {
    let names = |line: &HeaderValue| {
        let mut names = line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name.eq_ignore_ascii_case(b"client-cert") || name.eq_ignore_ascii_case(b"client-cert-chain"))
    };
    if headers.get_all(header::VARY).iter().any(names) {
        headers.insert(header::VARY, HeaderValue::from_static("*"));
    }
}

/// Takes DPoP's vocabulary out of a response or its trailers.
fn remove_dpop(headers: &mut http::HeaderMap) {
    headers.remove(DPOP_NONCE);
    if headers.get_all(header::WWW_AUTHENTICATE).iter().any(challenges_dpop) {
        let kept = headers.get_all(header::WWW_AUTHENTICATE).iter().filter(|value| !challenges_dpop(value));
        let kept: Vec<HeaderValue> = kept.cloned().collect();
        headers.remove(header::WWW_AUTHENTICATE);
        for value in kept {
            headers.append(header::WWW_AUTHENTICATE, value);
        }
    }
}

/// Whether one of a line's list elements, outside of quotes, is a DPoP challenge (RFC 9110 §11.6.1).
fn challenges_dpop(line: &HeaderValue) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    let outside: Vec<u8> = line
        .as_bytes()
        .iter()
        .filter_map(|byte| {
            let literal = quoted;
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ => {}
            }
            (!literal && !quoted).then_some(*byte)
        })
        .collect();
    outside.split(|byte| *byte == b',').any(|element| {
        let scheme = element.trim_ascii().split(|byte| matches!(byte, b' ' | b'\t')).next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"dpop")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dpop_challenge_is_seen_wherever_it_stands() {
        for (line, seen) in [
            ("DPoP", true),
            ("dpop algs=\"ES256\"", true),
            ("Bearer realm=\"api\", DPoP error=\"use_dpop_nonce\"", true),
            ("Bearer realm=\"a, DPoP x\"", false),
            ("Bearer realm=\"a \\\" , DPoP x\"", false),
            ("DPoPx a=1", false),
            ("Bearer dpop=1", false),
        ] {
            assert_eq!(challenges_dpop(&HeaderValue::from_static(line)), seen, "{line}");
        }
    }
}
