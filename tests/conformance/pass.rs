//! The pass itself: what one request proved is worth nothing for another.

use std::sync::Arc;

use http::Request;
use keybound::authorize::{Authorized, Presented, Refused};
use keybound::refusal::Reason;
use keybound::request::{Front, Inbound, Peer, RequestId};
use keybound::routes::{Access, Described, Forwarding, Match, Policy, Route};
use keybound::verify::{AccessToken, IssuerRules, Keyset, TokenHash, UnverifiedToken};
use serde_json::json;

use crate::support::keys::Key;
use crate::support::{AUDIENCE, ISSUER, NOW, jwks_of, mint, public_route};

fn inbound(token: &str) -> Inbound<()> {
    let request =
        Request::get("/api/item").header("host", "rs.example").header("authorization", format!("DPoP {token}"));
    let peer = Arc::new(Peer::new("127.0.0.1:1".parse().unwrap(), None));
    Inbound::read(request.body(()).unwrap(), peer, &Front::default(), RequestId::new(0, 1)).unwrap()
}

fn route() -> Route {
    Route {
        name: "api".to_owned(),
        matches: Match::default(),
        access: Access::Enforce(Arc::new(Policy::default())),
        upstream: Some(0),
        forward: Forwarding::default(),
        cors: None,
        metadata: Described::default(),
    }
}

fn enforced() -> Arc<Route> {
    Arc::new(route())
}

fn verified(token: &str, issuer_key: &Key) -> Arc<AccessToken> {
    let rules = IssuerRules::new(ISSUER, vec![AUDIENCE.to_owned()]);
    let (keys, _) = Keyset::parse(jwks_of(&[("k1", issuer_key)]).to_string().as_bytes(), &rules.algorithms).unwrap();
    Arc::new(UnverifiedToken::read(token, TokenHash::of(token)).unwrap().verify(&rules, &keys).unwrap())
}

#[test]
fn a_verified_token_counts_only_for_the_request_that_showed_it() {
    let (issuer_key, client) = (Arc::new(Key::es256()), Key::es256());
    let token =
        || mint::access_token(ISSUER, AUDIENCE, &issuer_key, json!({"jkt": client.thumbprint()}), NOW).compact();
    let (own, other) = (token(), token());
    let presented = Presented::new(inbound(&own), enforced()).unwrap();
    let refused = presented.verified(verified(&other, &issuer_key)).err().unwrap();
    assert_eq!(refused.refusal.reason(), Reason::TokenSignature);
    assert!(Presented::new(inbound(&own), enforced()).unwrap().verified(verified(&own, &issuer_key)).is_ok());
}

#[test]
fn only_a_route_that_observes_lets_a_refused_request_pass() {
    let observing = Route { access: Access::Observe(Arc::new(Policy::default())), ..route() };
    let refused = |route: Route| *Refused::boxed(Reason::ProofMissing.into(), inbound("x"), Some(Arc::new(route)));
    let (observed, refusal) = Authorized::observe(refused(observing)).unwrap();
    assert!(observed.grant().is_none() && refusal.reason() == Reason::ProofMissing);
    for route in [route(), public_route("open", "/")] {
        let refused = Authorized::observe(refused(route)).unwrap_err();
        assert_eq!(refused.refusal.reason(), Reason::ProofMissing);
    }
    let nowhere = *Refused::boxed(Reason::NoRoute.into(), inbound("x"), None);
    assert!(Authorized::observe(nowhere).is_err());
}

#[test]
fn only_a_public_route_opens_without_credentials() {
    let refused = Authorized::open(inbound("x"), enforced()).unwrap_err();
    assert_eq!(refused.refusal.reason(), Reason::CredentialsMissing);
    let refused = Presented::new(inbound("x"), Arc::new(public_route("open", "/"))).err().unwrap();
    assert_eq!(refused.refusal.reason(), Reason::CredentialsMissing);
    let open = Authorized::open(inbound("x"), Arc::new(public_route("open", "/"))).unwrap();
    assert!(open.grant().is_none() && !open.inbound().request().headers().contains_key("authorization"));
}
