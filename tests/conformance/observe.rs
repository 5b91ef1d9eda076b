//! A route that observes: everything is checked, what would be refused passes as it came, and nothing is believed.

use std::time::Duration;

use http::HeaderName;
use keybound::limits::{Per, Rate, RouteLimits};
use keybound::refusal::Reason;
use keybound::routes::{Forwarding, Policy};
use keybound::verify::Accepted;

use crate::support::shot::Shot;
use crate::support::wire::Http;
use crate::support::{Identity, Plan, World};

async fn world() -> World {
    let claims = vec![(HeaderName::from_static("x-auth-subject"), "sub".to_owned())];
    let accepted = Accepted { dpop: true, mtls: true, unbound: false };
    let policy = Policy { accepted, scopes: vec!["read".to_owned()], ..Policy::default() };
    let forward = Forwarding { claims, ..Forwarding::default() };
    Plan { observe: true, client_certificates: true, policy, forward, ..Plan::default() }.start().await
}

fn observed(world: &World, reason: Reason) -> u64 {
    world.metric(&format!("keybound_observed_refusals_total{{reason=\"{}\",route=\"api\"}}", reason.slug()))
}

/// Passes with its own `Authorization` lines and nothing proven.
async fn observes(world: &World, reason: Reason, shot: &Shot) {
    for http in [Http::One, Http::Two] {
        let (seen, counted) = (world.upstream.count(), observed(world, reason));
        let shot = shot.clone().header("X-Auth-Subject", "mallory").header("x_auth_subject", "mallory");
        let message = shot.message();
        let answer = shot.dialer().send(http, &message).await.unwrap();
        assert_eq!(answer.status, 200, "{http:?} {}", shot.what());
        assert_eq!(observed(world, reason), counted + 1, "{}: {}", reason.slug(), shot.what());
        assert_eq!((world.upstream.count(), world.refusals("api", reason)), (seen + 1, 0));
        let upstream = world.upstream.last();
        let sent = message.headers.iter().filter(|(name, _)| name == "Authorization");
        let sent: Vec<_> = sent.map(|(_, value)| String::from_utf8(value.clone()).unwrap()).collect();
        assert_eq!(upstream.all("authorization"), sent, "as it came");
        for name in ["x-auth-subject", "x_auth_subject", "dpop"] {
            assert_eq!(upstream.header(name), None, "{name} is not proven");
        }
    }
}

#[tokio::test]
async fn what_would_be_refused_passes_as_it_came() {
    let world = world().await;
    let good = || world.good().claim("scope", "read");
    observes(&world, Reason::CredentialsMissing, &good().authorization(&[])).await;
    observes(&world, Reason::CredentialsMissing, &good().authorization(&["Basic YTpi"])).await;
    observes(&world, Reason::CredentialsMultiple, &good().authorization(&["Bearer a", "Bearer {}"])).await;
    observes(&world, Reason::TokenMalformed, &good().authorization(&["Bearer opaque"])).await;
    observes(&world, Reason::TokenSignature, &good().token_edit(|token| token[..token.len() - 4].to_owned() + "AAAA"))
        .await;
    observes(&world, Reason::TokenUnbound, &good().no_claim("cnf").scheme("Bearer").no_proof()).await;
    observes(&world, Reason::DpopTokenAsBearer, &good().scheme("Bearer").no_proof()).await;
    observes(&world, Reason::ProofMissing, &good().no_proof()).await;
    observes(&world, Reason::ProofTarget, &good().proof_claim("htu", "https://rs.example/other")).await;
    observes(&world, Reason::ScopeMissing, &good().claim("scope", "write")).await;
    let identity = Identity::self_signed();
    let certificate = world.good_mtls(&identity).claim("scope", "read").dial(world.dialer.clone());
    observes(&world, Reason::CertificateMissing, &certificate).await;
    let spent = good().frozen();
    assert_eq!(spent.send(Http::One).await.status, 200);
    observes(&world, Reason::ProofReplayed, &spent).await;
    assert_eq!(
        world.metric(r#"keybound_requests_total{binding="none",code="200",decision="observe",route="api"}"#),
        24
    );
}

#[tokio::test]
async fn what_holds_is_believed() {
    let world = world().await;
    let shot = world.good().claim("scope", "read").header("X-Auth-Subject", "mallory");
    world.passes(&shot).await;
    let seen = world.upstream.last();
    assert_eq!(seen.all("x-auth-subject"), ["alice"]);
    assert!(seen.header("authorization").unwrap().starts_with("Bearer "));
    assert_eq!(world.metric(r#"keybound_requests_total{binding="dpop",code="200",decision="allow",route="api"}"#), 2);
    assert_eq!(world.spent(), 2, "proofs are spent as they will be");
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_refused_all_the_same() {
    let world = world().await;
    let good = world.good().claim("scope", "read");
    for (shot, reason) in [
        (good.clone().target_only("/api/../admin"), Reason::TargetInvalid),
        (good.clone().with(|shot| shot.host = Some("a b".to_owned())), Reason::HostInvalid),
        (good.header("Connection", "authorization"), Reason::ConnectionNominates),
    ] {
        assert_eq!(shot.send(Http::One).await.status, 400);
        world.refused("none", reason, 1).await;
        assert_eq!(world.upstream.count(), 0);
    }
}

/// Whoever repeats a captured proof takes nothing of what its owner may ask.
#[tokio::test]
async fn a_replayed_proof_takes_nothing_of_its_owners_limits() {
    let rate = Rate::new(1, Duration::from_secs(1), 3);
    let limits = Some(RouteLimits { per: Per::Thumbprint, rate: Some(rate), concurrent: None });
    let accepted = Accepted { dpop: true, mtls: false, unbound: false };
    let policy = Policy { accepted, limits, ..Policy::default() };
    let world = Plan { observe: true, policy, ..Plan::default() }.start().await;
    let captured = world.good().frozen();
    for _ in 0..6 {
        assert_eq!(captured.send(Http::One).await.status, 200);
    }
    assert_eq!(observed(&world, Reason::ProofReplayed), 5);
    for _ in 0..2 {
        world.good().send(Http::One).await;
    }
    assert_eq!((observed(&world, Reason::LimitRate), world.spent()), (0, 3));
}

/// Enforcing costs such a client one retry; without a nonce it could never show that it would pass.
#[tokio::test]
async fn who_lacks_nothing_but_a_nonce_gets_one() {
    let world = Plan { observe: true, ..Plan::nonces() }.start().await;
    let answer = world.good().no_proof_claim("nonce").send(Http::One).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
    let nonce = answer.header("dpop-nonce").unwrap();
    assert_eq!(world.good().proof_claim("nonce", nonce).send(Http::One).await.status, 200);
    assert_eq!(observed(&world, Reason::ProofNonceMissing), 1);
    assert_eq!(world.spent(), 1);
    let legacy = world.good().scheme("Bearer").no_proof().send(Http::One).await;
    assert_eq!((legacy.status, legacy.header("dpop-nonce")), (200, None));
}

#[tokio::test]
async fn the_report_names_clients_and_reasons() {
    let world = world().await;
    let good = || world.good().claim("scope", "read");
    for _ in 0..2 {
        good().claim("client_id", "legacy-app").scheme("Bearer").no_proof().send(Http::One).await;
    }
    good().authorization(&["Bearer opaque"]).send(Http::One).await;
    good().send(Http::One).await;
    let report = world.server.gateway().observations().report();
    let rows: Vec<_> = report["would_be_refused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap().to_owned();
            (text("client"), text("reason"), row["requests"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("client_id legacy-app".to_owned(), "dpop_token_as_bearer".to_owned(), 2),
            ("address 127.0.0.1".to_owned(), "token_malformed".to_owned(), 1)
        ]
    );
    assert!(!good().leaks_into(&report.to_string()));
}
