//! An explanation, beside what the gateway does. That both agree is asked of every case that goes through the ritual
//! (support/explained.rs); here is what an explanation says beyond that.

use std::time::Duration;

use keybound::explain::{Outcome, Verdict};
use keybound::refusal::Reason;
use serde_json::json;

use crate::support::shot::Shot;
use crate::support::wire::Http;
use crate::support::{Identity, Plan, ROUTE, world};

/// The reasons of all checks that fail, in order.
fn failures(explanation: &keybound::explain::Explanation) -> Vec<Reason> {
    let failed = explanation.checks.iter().filter_map(|check| match &check.outcome {
        Outcome::Fails(refusal) => Some(refusal.reason()),
        _ => None,
    });
    failed.collect()
}

#[tokio::test]
async fn all_mistakes_show_at_once_and_the_first_is_the_gateways() {
    use Reason::*;
    let world = world().await;
    let now = world.now();
    let shot = world.good();
    let shot = shot.token_header("typ", "JWT").claim("aud", "https://other.example").claim("exp", now - 100);
    let shot =
        shot.proof_claim("htm", "POST").proof_claim("htu", "https://other.example/").proof_claim("iat", now - 500);
    let shot = shot.proof_claim("ath", "x");
    world.refuses(TokenType, &shot).await;
    let explanation = world.explanation(&shot).unwrap();
    let all = [TokenType, TokenAudience, TokenExpired, ProofMethod, ProofTarget, ProofTokenHash, ProofStale];
    assert_eq!(failures(&explanation), all);
    assert_eq!(explanation.reason(), Some(TokenType));
}

/// One mistake.
type Spoil = fn(Shot) -> Shot;

/// One for each check that can fail together with others, in no order.
const SPOILS: [Spoil; 23] = [
    |shot| shot.claim("scope", "x"),
    |shot| shot.claim("acr", "0"),
    |shot| shot.claim("auth_time", 1),
    |shot| shot.claim("aud", "https://other.example"),
    |shot| shot.claim("exp", 1),
    |shot| shot.claim("nbf", 2_000_000_000),
    |shot| shot.claim("cnf", json!({ "jkt": 1 })),
    |shot| shot.claim("iss", "https://other.example"),
    |shot| shot.claim("sub", 1).no_claim("client_id"),
    |shot| shot.token_header("typ", "JWT"),
    |shot| shot.token_header("alg", "RS512"),
    |shot| shot.token_header("crit", json!(["x"])),
    |shot| shot.token_header("kid", "k9"),
    |shot| shot.scheme("Bearer"),
    |shot| shot.no_proof_claim("nonce"),
    |shot| shot.no_proof_claim("jti"),
    |shot| shot.proof_header("typ", "JWT"),
    |shot| shot.proof_header("alg", "none"),
    |shot| shot.proof_header("crit", json!(["x"])),
    |shot| shot.proof_claim("htm", "POST"),
    |shot| shot.proof_claim("htu", "https://other.example/"),
    |shot| shot.proof_claim("ath", "x"),
    |shot| shot.proof_claim("iat", 1),
];

#[tokio::test]
async fn of_two_mistakes_the_gateway_names_the_one_that_an_explanation_shows_first() {
    let mut plan = Plan::nonces();
    plan.policy.scopes = vec!["read".to_owned()];
    plan.policy.acr_values = vec!["1".to_owned()];
    plan.policy.max_auth_age = Some(Duration::from_secs(60));
    let world = plan.start().await;
    let good = || world.good().claim("acr", "1").claim("auth_time", world.now());
    assert_eq!(world.explanation(&good()).unwrap().verdict, Verdict::Passes);
    for (at, one) in SPOILS.iter().enumerate() {
        for other in &SPOILS[at..] {
            let shot = other(one(good()));
            let reason = world.explanation(&shot).unwrap().reason().unwrap();
            let counted = world.refusals(ROUTE, reason);
            let answer = shot.send(Http::One).await;
            assert_eq!(answer.status, reason.answer().status(), "{reason:?} {}", shot.what());
            assert_eq!(world.refusals(ROUTE, reason), counted + 1, "{reason:?} {}", shot.what());
        }
    }
    assert_eq!(world.upstream.count(), 0);
    assert_eq!(good().send(Http::One).await.status, 200);
}

#[tokio::test]
async fn what_a_route_accepts_is_asked_too() {
    let mut plan = Plan::default();
    plan.policy.issuers = vec!["https://other.example".to_owned()];
    let world = plan.start().await;
    let shot = world.good();
    assert_eq!(shot.send(Http::One).await.status, 401);
    world.refused(ROUTE, Reason::TokenIssuerNotAccepted, 1).await;
    assert_eq!(failures(&world.explanation(&shot).unwrap()), [Reason::TokenIssuerNotAccepted]);
}

#[tokio::test]
async fn every_explanation_of_a_proof_shows_the_same_steps() {
    let world = world().await;
    let steps = |shot: &Shot| -> Vec<&str> {
        world.explanation(shot).unwrap().checks.iter().map(|check| check.step.what).collect()
    };
    let all = steps(&world.good());
    assert_eq!(all.len(), 39, "{all:?}");
    for spoil in SPOILS {
        assert_eq!(steps(&spoil(world.good())), all);
    }
    let stranger = world.good().claim("iss", "https://other.example");
    assert_eq!(failures(&world.explanation(&stranger).unwrap()), [Reason::TokenIssuer]);
}

#[tokio::test]
async fn a_token_that_cannot_be_read_leaves_its_proof_to_be_looked_at() {
    let world = world().await;
    let shot = world.good().with(|shot| shot.token_text = Some("abc".to_owned())).proof_claim("htm", "POST");
    world.refuses(Reason::TokenMalformed, &shot).await;
    let explanation = world.explanation(&shot).unwrap();
    assert_eq!(failures(&explanation), [Reason::TokenMalformed, Reason::ProofMethod]);
}

#[tokio::test]
async fn a_stolen_dpop_token_as_bearer_shows_that_its_proof_is_missing_too() {
    let world = world().await;
    let shot = world.good().scheme("Bearer").no_proof();
    world.refuses(Reason::DpopTokenAsBearer, &shot).await;
    let explanation = world.explanation(&shot).unwrap();
    assert_eq!(failures(&explanation), [Reason::DpopTokenAsBearer, Reason::ProofMissing]);
}

#[tokio::test]
async fn a_bad_nonce_and_a_bad_time_are_one_mistake_at_a_time() {
    let world = Plan::nonces().start().await;
    let stale = world.now() - 500;
    let shot = world.good().no_proof_claim("nonce").proof_claim("iat", stale);
    world.refuses(Reason::ProofNonceMissing, &shot).await;
    assert_eq!(failures(&world.explanation(&shot).unwrap()), [Reason::ProofNonceMissing]);
    world.refuses(Reason::ProofStale, &world.good().proof_claim("iat", stale)).await;
}

#[tokio::test]
async fn good_requests_are_explained_as_good() {
    let world = Plan::mtls().start().await;
    let identity = Identity::self_signed();
    for shot in [world.good(), world.good_mtls(&identity)] {
        let explanation = world.explanation(&shot).unwrap();
        assert_eq!(explanation.verdict, Verdict::Passes);
        assert_eq!(explanation.route.as_deref(), Some("api"));
        world.passes(&shot).await;
    }
    // A proof that nobody asked for is not looked at, as the gateway does not.
    let idle = world.good_mtls(&identity).proof_field(&["rubbish"]);
    world.passes(&idle).await;
    assert_eq!(world.explanation(&idle).unwrap().verdict, Verdict::Passes);
}

#[tokio::test]
async fn an_explanation_shows_nothing_that_could_be_used() {
    let world = world().await;
    let secrets = ["s3cret-query", "s3cret-user", "s3cret-claim"];
    let shot = world.good().claim("scope", json!(["x"])).claim("password", secrets[2]);
    let shot = shot.proof_claim("htu", format!("https://{}@rs.example/other?key={}", secrets[1], secrets[0]));
    let shot = shot.frozen();
    world.refuses(Reason::TokenClaims, &shot).await;
    let text = format!("{:?}", world.explanation(&shot).unwrap());
    assert!(text.contains("ProofTarget"), "the URL was looked at");
    let fine = world.good().proof_claim("htu", format!("https://rs.example/api/item?key={}", secrets[0]));
    let text = text + &format!("{:?}", world.explanation(&fine).unwrap());
    let proof = String::from_utf8(shot.proof_lines.clone().unwrap().remove(0)).unwrap();
    let parts = proof.split('.').chain(secrets);
    for part in parts {
        assert!(!text.contains(part), "{part} in {text}");
    }
}
