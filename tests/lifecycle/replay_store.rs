//! A store that demands TLS, a certificate and a password, and what the operator hears of a store.

use std::fs;

use crate::servers::Redis;
use crate::stage::{Gateway, RELOADED, Stage, write};

const PASSWORD: &str = "correct-horse-battery-staple";

/// What the README gives a gateway's user: nothing else is used.
pub const RIGHTS: [&str; 6] = ["~keybound:*", "resetchannels", "-@all", "+set", "+info", "+time"];

/// A server with TLS and client certificates only, and a configuration that knows how to talk to it.
async fn guarded(stage: &Stage) -> Redis {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = rcgen::CertifiedIssuer::self_signed(authority, authority_key).unwrap();
    fs::write(stage.file("ca.pem"), authority.pem()).unwrap();
    for name in ["redis", "gateway", "renewed"] {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        certificate.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = certificate.signed_by(&key, &authority).unwrap();
        fs::write(stage.file(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(stage.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    fs::write(stage.file("password"), format!("{PASSWORD}\n")).unwrap();
    let path = |name: &str| stage.file(name).to_str().unwrap().to_owned();
    let password = format!(">{PASSWORD}");
    let user = [&["keybound", "on", &password][..], &RIGHTS].concat();
    Redis::guarded(&path("redis.pem"), &path("redis.key"), &path("ca.pem"), &user).await
}

fn settings(redis: &Redis, more: &str) -> String {
    let port = redis.tls_port();
    format!(
        "replicas: 2\nreplay: {{ store: redis, redis: {{ urls: ['rediss://127.0.0.1:{port}'], username: keybound, \
         password_file: password, ca_file: ca.pem, certificate_file: gateway.pem, key_file: gateway.key{more} }} }}"
    )
}

#[tokio::test]
async fn a_guarded_store_is_used_with_the_least_rights() {
    let stage = Stage::set().await;
    let redis = guarded(&stage).await;
    let replay = settings(&redis, "");
    let [one, other] =
        [stage.gateway_with(|c| c.replay.clone_from(&replay)).await, stage.gateway_with(|c| c.replay = replay).await];
    for _ in 0..3 {
        let call = stage.call("/api/item");
        assert_eq!((one.status(&call).await, other.status(&call).await), (200, 401));
    }
    for gateway in [&one, &other] {
        assert!(!gateway.program.everything().contains(PASSWORD));
    }
}

/// A password and a certificate that change while the gateway runs are used from then on, and nothing is forgotten.
#[tokio::test]
async fn another_password_and_certificate_are_followed() {
    const NEW: &str = "battery-staple-horse-correct";
    let stage = Stage::set().await;
    let redis = guarded(&stage).await;
    let gateway = stage.gateway_with(|c| c.replay = settings(&redis, "")).await;
    let spent = stage.call("/api/item");
    assert_eq!(gateway.status(&spent).await, 200);
    redis.administer(&["ACL", "SETUSER", "keybound", &format!(">{NEW}")]).await;
    for (from, to) in [("renewed.pem", "gateway.pem"), ("renewed.key", "gateway.key")] {
        fs::rename(stage.file(from), stage.file(to)).unwrap();
    }
    write(&stage.file("password"), NEW);
    let reloaded = gateway.said(RELOADED, 1).await;
    assert_eq!(reloaded["changes"], "replay.redis");
    assert_eq!(reloaded["files"].as_str().unwrap().split(", ").count(), 3, "{reloaded}");
    // The old one is of no use any more, and whoever came by it has to come anew.
    redis.administer(&["ACL", "SETUSER", "keybound", &format!("<{PASSWORD}")]).await;
    redis.administer(&["CLIENT", "KILL", "USER", "keybound"]).await;
    let passes = async || (gateway.status(&stage.call("/api/item")).await == 200).then_some(());
    crate::eventually("good requests pass", passes).await;
    assert_eq!(gateway.status(&spent).await, 401);
    let met_anew = |line: &serde_json::Value| line["reason"] == "proof_before_start";
    assert!(!gateway.program.lines().iter().any(met_anew), "it is the same store as before");

    // A wrong one is told at once.
    write(&stage.file("password"), "hunter2hunter2");
    let told = async || gateway.readiness().await.1.contains("Password authentication failed").then_some(());
    crate::eventually("a wrong password is told", told).await;
    write(&stage.file("password"), NEW);
    crate::eventually("good requests pass", passes).await;
    for secret in [PASSWORD, NEW, "hunter2"] {
        assert!(!gateway.program.everything().contains(secret));
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_without_telling_it() {
    let stage = Stage::set().await;
    let redis = guarded(&stage).await;
    fs::write(stage.file("password"), "hunter2hunter2").unwrap();
    let gateway = stage.gateway_before_it_is_ready(|c| c.replay = settings(&redis, "")).await;
    let line = gateway.program.says("the replay store does not answer").await;
    assert!(line["why"].as_str().unwrap().contains("Password"), "{line}");
    let (status, words) = gateway.readiness().await;
    assert!(status == 503 && words.contains("replay store: "), "{words}");
    assert!(!gateway.program.everything().contains("hunter2"));
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let stage = Stage::set().await;
    let redis = guarded(&stage).await;
    redis.administer(&["ACL", "SETUSER", "keybound", "-info"]).await;
    let gateway = stage.gateway_before_it_is_ready(|c| c.replay = settings(&redis, "")).await;
    let line = gateway.program.says("the replay store does not answer").await;
    let why = line["why"].as_str().unwrap();
    assert!(why.contains("NOPERM") && why.contains("'info'"), "{line}");
}

fn lines(gateway: &Gateway, message: &str) -> usize {
    gateway.program.lines().into_iter().filter(|line| line["message"] == message).count()
}

#[tokio::test]
async fn an_outage_is_told_once_and_its_end_too() {
    const GONE: &str = "the replay store does not answer";
    const BACK: &str = "the replay store answers";
    let stage = Stage::set().await;
    let mut redis = Redis::start().await;
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let replay = format!(
        "replicas: 2\nreplay: {{ store: redis, redis: {{ urls: ['{url}'], timeout: 2s, on_failure: local }} }}"
    );
    let gateway = stage.gateway_with(|c| c.replay = replay).await;
    // The store may be met after the first request: this policy does not wait for it.
    gateway.program.says(BACK).await;
    let before = lines(&gateway, GONE);
    for outage in 1..=2 {
        redis.kill();
        for _ in 0..10 {
            assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
        }
        assert!(gateway.readiness().await.1.contains("degraded: replay store: "));
        redis.restart().await;
        let told = gateway
            .program
            .line("the end of the outage", |line| {
                let ends = line["message"] == BACK && line["accepted_alone"] == 10;
                ends && gateway.program.lines().iter().filter(|line| line["message"] == BACK).count() == outage + 1
            })
            .await;
        assert_eq!(told["level"], "INFO");
        assert_eq!(lines(&gateway, GONE), before + outage, "ten requests, one line");
        assert_eq!(gateway.readiness().await, (200, "ready\n".to_owned()));
        // Proofs of the second in which it came back may have been made before.
        crate::eventually("good requests pass", async || {
            (gateway.status(&stage.call("/api/item")).await == 200).then_some(())
        })
        .await;
    }
    let warned = gateway.program.says(GONE).await;
    assert_eq!(warned["level"], "WARN");
    assert_eq!(warned["consequence"], "each replica remembers alone: a proof may pass once at each");
    let scrape = gateway.scrape().await;
    assert_eq!(scrape.sum("keybound_replay_local_total", &[]), 20.0);
    // Each counts once, too.
    assert_eq!(scrape.sum("keybound_replay_store_outages_total", &[]), (before + 2) as f64);
    assert_eq!(scrape.sum("keybound_replay_store_available", &[]), 1.0);
}

#[tokio::test]
async fn who_does_not_share_says_so_at_the_start() {
    let stage = Stage::set().await;
    let gateway = stage.gateway_with(|c| c.replay = "replay: { store: memory }".to_owned()).await;
    let said = gateway.program.line("a warning", |line| line["field"] == "replay.store").await;
    let message = "spent proofs are remembered by this process alone; replicas do not share them";
    assert_eq!((said["level"].as_str(), said["message"].as_str()), (Some("WARN"), Some(message)));
}
