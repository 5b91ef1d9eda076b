//! Issuers that misbehave, vanish and change their keys.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use keybound::keys::KeySource;
use keybound::verify::IssuerRules;
use serde_json::{Value, json};

use crate::issuer::{IssuerServer, Mood};
use crate::stage::{Gateway, Stage, missing};
use crate::support::keys::Key;
use crate::support::mint::{Jws, jti};
use crate::support::wire::Http;
use crate::support::{AUDIENCE, ISSUER, Plan};
use crate::{eventually, in_time};

fn signed_by(mut token: Jws, kid: &str, key: &Arc<Key>) -> String {
    token.header.insert("kid".into(), kid.into());
    token.key = Arc::clone(key);
    token.compact()
}

async fn reason(gateway: &Gateway, stage: &Stage, token: &str) -> (u16, String) {
    let answer = gateway.send(&stage.call_with("/api/item", token)).await;
    let line = gateway.access_line(answer.header("x-request-id").unwrap()).await;
    (answer.status, line["reason"].as_str().unwrap_or_default().to_owned())
}

fn unknown() -> (u16, String) {
    (401, "token_key_unknown".to_owned())
}

#[tokio::test]
async fn an_html_page_is_called_what_it_is_until_keys_come() {
    let stage = Stage::set().await;
    stage.issuer.becomes(Mood::Html);
    let gateway = stage.gateway_before_it_is_ready(|_| {}).await;
    let wrong = format!("{}: expected a JSON object, found an HTML or XML page", stage.issuer.jwks_uri());
    let warning = gateway.program.says("keys could not be refreshed").await;
    assert_eq!((&warning["level"], &warning["issuer"]), (&json!("WARN"), &json!(ISSUER)));
    assert_eq!((&warning["error"], &warning["in_use"]), (&json!(wrong), &json!(0)));
    let (status, words) = gateway.readiness().await;
    assert_eq!(status, 503);
    let wanted = format!("issuer {ISSUER}: no keys yet; the last attempt failed: {wrong}\n");
    assert_eq!(missing(&words, &[&wanted]), "");

    let answer = gateway.send(&stage.call("/api/item")).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")), "{answer:?}");
    assert_eq!((answer.header("www-authenticate"), answer.header("cache-control")), (None, Some("no-store")));
    assert_eq!(stage.api.count(), 0);
    let line = gateway.access_line(answer.header("x-request-id").unwrap()).await;
    assert_eq!((&line["level"], &line["reason"]), (&json!("WARN"), &json!("keys_unavailable")));
    assert_eq!((&line["decision"], &line["status"]), (&json!("error"), &json!(503)));
    // What needs no keys works.
    assert_eq!(gateway.status(&crate::stage::message("/open/x", &[])).await, 200);

    stage.issuer.publishes(&[("k1", &stage.issuer_key)]);
    gateway.program.says("ready").await;
    assert_eq!(gateway.readiness().await, (200, "ready\n".to_owned()));
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
    let scrape = gateway.scrape().await;
    let refreshes = |result| scrape.sum("keybound_jwks_refreshes_total", &[("issuer", ISSUER), ("result", result)]);
    assert_eq!(refreshes("loaded"), 1.0);
    assert!(refreshes("failed") >= 1.0 && scrape.sum("keybound_jwks_age_seconds", &[]) < 60.0);
}

#[tokio::test]
async fn a_silent_issuer_costs_a_request_moments_and_not_the_connection() {
    let stage = Stage::set().await;
    stage.issuer.becomes(Mood::Hangs);
    let gateway = stage.gateway_before_it_is_ready(|_| {}).await;
    let asked = Instant::now();
    let answer = gateway.send(&stage.call("/api/item")).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    assert!(asked.elapsed() < Duration::from_secs(9), "less than a fetch may take: {:?}", asked.elapsed());
}

#[tokio::test]
async fn pos_57_a_new_key_is_fetched_when_a_token_names_it_and_a_removed_one_is_forgotten() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let (new_key, old) = (Arc::new(Key::es256()), stage.token().compact());
    let new = signed_by(stage.token(), "k2", &new_key);
    assert_eq!(gateway.status(&stage.call_with("/api/item", &old)).await, 200);
    assert_eq!(stage.issuer.fetches(), 1);

    stage.issuer.publishes(&[("k2", &new_key)]);
    // Nobody has told the gateway yet.
    assert_eq!(gateway.status(&stage.call_with("/api/item", &old)).await, 200);
    assert_eq!(stage.issuer.fetches(), 1);
    assert_eq!(gateway.status(&stage.call_with("/api/item", &new)).await, 200);
    assert_eq!(stage.issuer.fetches(), 2);
    gateway.program.line("two loads", |line| line["message"] == "keys loaded" && line["keys"] == 1).await;

    // Its signature was remembered, and is no longer.
    let seen = stage.api.count();
    assert_eq!(reason(&gateway, &stage, &old).await, unknown());
    assert_eq!(reason(&gateway, &stage, &stage.token().compact()).await, unknown());
    assert_eq!(stage.api.count(), seen);
    // A key of the same name is another key.
    let impostor = signed_by(stage.token(), "k2", &stage.issuer_key);
    assert_eq!(reason(&gateway, &stage, &impostor).await, (401, "token_signature".to_owned()));
    for _ in 0..3 {
        assert_eq!(gateway.status(&stage.call_with("/api/item", &new)).await, 200);
    }
    assert_eq!(stage.issuer.fetches(), 4, "one more for each of the two refused");
}

#[tokio::test]
async fn pos_57_many_tokens_of_a_new_key_share_one_fetch() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let new_key = Arc::new(Key::es256());
    stage.issuer.publishes(&[("k1", &stage.issuer_key), ("k2", &new_key)]);
    let calls = (0..20).map(|_| {
        let call = stage.call_with("/api/item", &signed_by(stage.token(), "k2", &new_key));
        let dialer = gateway.dialer();
        async move { dialer.send(Http::One, &call).await.unwrap().status }
    });
    assert_eq!(all(calls).await, [200; 20]);
    assert!(stage.issuer.fetches() <= 3, "{} fetches", stage.issuer.fetches());
}

/// All at the same time.
async fn all<T: Send + 'static>(calls: impl Iterator<Item = impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let tasks: Vec<_> = calls.map(tokio::spawn).collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(in_time("an answer", task).await.unwrap());
    }
    results
}

#[tokio::test]
async fn neg_186_keys_outlive_their_issuer() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    for mood in [Mood::Fails(StatusCode::INTERNAL_SERVER_ERROR), Mood::Html, Mood::Publishes(json!({"keys": []}))] {
        stage.issuer.becomes(mood);
        let fetches = stage.issuer.fetches();
        let stranger = signed_by(stage.token(), "k9", &Arc::new(Key::es256()));
        assert_eq!(reason(&gateway, &stage, &stranger).await, unknown());
        assert!(stage.issuer.fetches() > fetches);
        assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
        let (status, words) = gateway.readiness().await;
        assert_eq!((status, words.lines().next()), (200, Some("ready")), "degraded in words, not in status");
        assert_eq!(missing(&words, &["degraded: issuer https://as.example: 1 key, ", "the last attempt failed: "]), "");
    }
    // Gone altogether.
    let Stage { issuer, .. } = &stage;
    issuer.becomes(Mood::Hangs);
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
}

fn flood(stage: &Stage, gateway: &Gateway) -> impl Iterator<Item = impl Future<Output = u16> + Send + 'static> {
    let stranger = Arc::new(Key::es256());
    (0..200).map(move |_| {
        let call = stage.call_with("/api/item", &signed_by(stage.token(), &jti(), &stranger));
        let dialer = gateway.dialer();
        async move { dialer.send(Http::One, &call).await.unwrap().status }
    })
}

#[tokio::test]
async fn neg_288_a_flood_of_invented_kids_costs_the_issuer_almost_nothing() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let begun = Instant::now();
    assert_eq!(all(flood(&stage, &gateway)).await, [401; 200]);
    // One at the start, three at once, then one every five seconds.
    let allowed = 4 + begun.elapsed().as_secs() as usize / 5;
    assert!((2..=allowed).contains(&stage.issuer.fetches()), "{} fetches", stage.issuer.fetches());
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
    let scrape = gateway.scrape().await;
    assert_eq!(scrape.sum("keybound_refusals_total", &[("reason", "token_key_unknown")]), 200.0);
    assert_eq!(scrape.sum("keybound_jwks_refreshes_total", &[]), stage.issuer.fetches() as f64);
    assert_eq!(stage.api.count(), 1);
}

#[tokio::test]
async fn neg_288_a_flood_does_not_slow_down_the_recovery_of_a_lost_issuer() {
    let stage = Stage::set().await;
    stage.issuer.becomes(Mood::Fails(StatusCode::BAD_GATEWAY));
    let gateway = stage.gateway_before_it_is_ready(|_| {}).await;
    assert_eq!(all(flood(&stage, &gateway)).await, [503; 200]);
    assert!(stage.issuer.fetches() < 20, "{} fetches", stage.issuer.fetches());
    stage.issuer.publishes(&[("k1", &stage.issuer_key)]);
    gateway.program.says("ready").await;
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
}

#[tokio::test]
async fn neg_288_after_a_flood_a_new_key_waits_for_seconds_only() {
    let (old_key, new_key) = (Key::es256(), Arc::new(Key::es256()));
    let issuer = IssuerServer::start(Mood::Publishes(crate::support::jwks_of(&[("k1", &old_key)]))).await;
    let keys = Some(KeySource::Uri(issuer.jwks_uri().parse().unwrap()));
    let world = Plan { issuer: IssuerRules::new(ISSUER, vec![AUDIENCE.to_owned()]), keys, ..Plan::default() };
    let world = world.start().await;
    let with = |kid: Value, key: &Arc<Key>| {
        let shot = world.good().token_header("kid", kid);
        shot.with(|shot| shot.token.key = Arc::clone(key))
    };
    for _ in 0..50 {
        assert_eq!(with(jti().into(), &new_key).send(Http::One).await.status, 401);
    }
    assert_eq!(issuer.fetches(), 4, "one at the start and three for the flood, as time stands still");
    issuer.publishes(&[("k2", &new_key)]);
    assert_eq!(with("k2".into(), &new_key).send(Http::One).await.status, 401);
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(with("k2".into(), &new_key).send(Http::One).await.status, 200);
    assert_eq!(issuer.fetches(), 5);
    assert_eq!(world.metric(&format!("keybound_jwks_refreshes_total{{issuer=\"{ISSUER}\",result=\"loaded\"}}")), 2);

    // The age is that of the last confirmation, by the gateway's clock.
    let age = format!("keybound_jwks_age_seconds{{issuer=\"{ISSUER}\"}}");
    assert_eq!(world.metric(&age), 0);
    world.clock.advance(Duration::from_secs(90));
    assert_eq!(world.metric(&age), 90);
    eventually("the age of what is unchanged", async || {
        with(jti().into(), &new_key).send(Http::One).await;
        (world.metric(&age) == 0).then_some(())
    })
    .await;
}
