//! 3.8 and 3.17: a proof passes once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use keybound::refusal::Reason;
use keybound::replay::MemorySettings;
use serde_json::json;

use crate::support::keys::b64;
use crate::support::shot::Shot;
use crate::support::wire::Http;
use crate::support::{Plan, world};

async fn status(shot: &Shot) -> u16 {
    shot.send(Http::One).await.status
}

#[tokio::test]
async fn neg_124_the_same_proof_twice() {
    let world = world().await;
    let shot = world.good().frozen();
    world.passes_over(Http::One, &shot).await;
    world.refuses(Reason::ProofReplayed, &shot).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neg_125_fifty_copies_at_once() {
    let world = Arc::new(world().await);
    for http in [Http::One, Http::Two] {
        let shot = world.good().frozen();
        let seen = world.upstream.count();
        let copies: Vec<_> = (0..50)
            .map(|_| {
                let shot = shot.clone();
                tokio::spawn(async move { shot.send(http).await.status })
            })
            .collect();
        let mut statuses = Vec::new();
        for copy in copies {
            statuses.push(copy.await.unwrap());
        }
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 49, "{statuses:?}");
        assert_eq!(world.upstream.count(), seen + 1);
    }
}

#[tokio::test]
async fn neg_127_the_same_jti_signed_again() {
    let world = world().await;
    let first = world.good().proof_claim("jti", "one");
    world.passes_over(Http::One, &first).await;
    let now = world.now();
    for again in [
        world.good().proof_claim("jti", "one").proof_claim("iat", now + 25),
        world.good().proof_claim("jti", "one").proof_claim("iat", now - 80),
        world.good().target("/other").proof_claim("jti", "one"),
        world.good().method("POST").proof_claim("jti", "one"),
    ] {
        world.refuses(Reason::ProofReplayed, &again).await;
    }
}

#[tokio::test]
async fn neg_128_a_malleated_signature() {
    let world = world().await;
    let shot = world.good().frozen();
    world.passes_over(Http::One, &shot).await;
    let proof = String::from_utf8(shot.proof_lines.clone().unwrap().remove(0)).unwrap();
    let (input, signature) = proof.rsplit_once('.').unwrap();
    let raw = keybound::verify::base64url::decode(signature).unwrap();
    let parsed = p256::ecdsa::Signature::from_slice(&raw).unwrap();
    let (r, s) = parsed.split_scalars();
    let twin = p256::ecdsa::Signature::from_scalars(r, -s).unwrap();
    let twin = format!("{input}.{}", b64(twin.to_bytes()));
    assert_ne!(twin, proof);
    world.refuses(Reason::ProofReplayed, &shot.with(|shot| shot.proof_lines = Some(vec![twin.into_bytes()]))).await;
}

#[tokio::test]
async fn neg_129_a_future_dated_proof_stays_spent_for_its_whole_life() {
    let world = world().await;
    let iat = world.now() + 29;
    let shot = world.good().proof_claim("iat", iat).frozen();
    world.passes_over(Http::One, &shot).await;
    for _ in 0..7 {
        world.clock.advance(Duration::from_secs(17));
        world.server.gateway().tidy();
        world.refuses_over(Http::One, Reason::ProofReplayed, &shot).await;
    }
    world.clock.advance(Duration::from_secs(1));
    world.server.gateway().tidy();
    world.refuses_over(Http::One, Reason::ProofStale, &shot).await;
}

#[tokio::test]
async fn neg_130_other_spellings_of_the_uri() {
    let world = world().await;
    world.passes_over(Http::One, &world.good().proof_claim("jti", "one")).await;
    for htu in ["https://RS.example/api/item", "https://rs.example:443/api/item", "https://rs.example/api/item?x=1"] {
        let again = world.good().proof_claim("jti", "one").proof_claim("htu", htu);
        world.refuses(Reason::ProofReplayed, &again).await;
    }
}

#[tokio::test]
async fn neg_131_a_bad_proof_does_not_burn_the_jti() {
    let world = world().await;
    let bad = world.good().proof_claim("jti", "one").proof_claim("ath", crate::support::mint::ath("x"));
    world.refuses(Reason::ProofTokenHash, &bad).await;
    let bent = world.good().proof_claim("jti", "one");
    let bent = bent.with(|s| {
        s.proof.as_mut().unwrap().edit_signature = Some(|mut sig| {
            sig[40] ^= 1;
            sig
        })
    });
    world.refuses(Reason::ProofSignature, &bent).await;
    world.passes_over(Http::One, &world.good().proof_claim("jti", "one")).await;
}

#[tokio::test]
async fn neg_132_spent_whatever_the_upstream_answers() {
    for code in [500, 503, 429] {
        let world = world().await;
        world.upstream.replies(move |_| {
            let mut response = Response::new(Full::new(Bytes::new()));
            *response.status_mut() = http::StatusCode::from_u16(code).unwrap();
            response
        });
        let shot = world.good().frozen();
        assert_eq!(status(&shot).await, code);
        assert_eq!(status(&shot).await, 401);
        assert_eq!((world.upstream.count(), world.refusals("api", Reason::ProofReplayed)), (1, 1));
    }
}

#[tokio::test]
async fn neg_132_spent_even_if_no_upstream_answers() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (upstream, code) in [(silent.local_addr().unwrap(), 504), (gone, 502)] {
        let plan = Plan { upstream: Some(upstream), response_timeout: Duration::from_millis(200), ..Plan::default() };
        let world = plan.start().await;
        let shot = world.good().frozen();
        assert_eq!(status(&shot).await, code);
        assert_eq!(status(&shot).await, 401);
        assert_eq!((world.spent(), world.refusals("api", Reason::ProofReplayed)), (1, 1));
    }
}

#[tokio::test]
async fn neg_134_the_same_proof_on_another_stream() {
    let world = world().await;
    let shot = world.good().frozen();
    let (message, elsewhere) = (shot.message(), shot.clone().target_only("/api/other").message());
    let stream = world.dialer.connect(Http::Two).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await.unwrap();
    let task = tokio::spawn(connection);
    assert_eq!(crate::support::wire::h2_exchange(&mut sender, &message).await.unwrap().status, 200);
    assert_eq!(crate::support::wire::h2_exchange(&mut sender, &message).await.unwrap().status, 401);
    assert_eq!(crate::support::wire::h2_exchange(&mut sender, &elsewhere).await.unwrap().status, 401);
    assert_eq!((world.upstream.count(), world.refusals("api", Reason::ProofReplayed)), (1, 1));
    assert_eq!(world.refusals("api", Reason::ProofTarget), 1);
    task.abort();
}

#[tokio::test]
async fn neg_119_the_clock_steps() {
    let world = world().await;
    let shot = world.good().frozen();
    world.passes_over(Http::One, &shot).await;
    let now = world.now();
    for step in [-300, 300, 0] {
        world.set_clock(now + step);
        world.server.gateway().tidy();
        assert_eq!(status(&shot).await, 401, "{step}");
    }
    // In the future the log let go of proofs that are acceptable again now: it vouches for none of that time.
    assert_eq!(status(&world.good()).await, 401);
    assert!(world.refusals("api", Reason::ProofStale) > 0);
    world.set_clock(now + 301);
    world.passes_over(Http::One, &world.good()).await;
}

#[tokio::test]
async fn pos_25_a_hundred_proofs_of_one_key() {
    let world = world().await;
    let shots: Vec<_> = (0..100)
        .map(|_| {
            let shot = world.good();
            tokio::spawn(async move { shot.send(Http::Two).await.status })
        })
        .collect();
    for shot in shots {
        assert_eq!(shot.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn pos_26_two_clients_use_the_same_jti() {
    let world = world().await;
    world.passes_over(Http::One, &world.good().proof_claim("jti", "one")).await;
    world.passes_over(Http::One, &Shot::dpop(&world, &world.k2).proof_claim("jti", "one")).await;
}

#[tokio::test]
async fn pos_27_the_same_jti_when_the_first_is_over() {
    let world = world().await;
    world.passes_over(Http::One, &world.good().proof_claim("jti", "one")).await;
    // Life (60 s + 30 s), and the bucket that the entry lies in.
    world.clock.advance(Duration::from_secs(180));
    world.server.gateway().tidy();
    world.passes_over(Http::One, &world.good().proof_claim("jti", "one")).await;
}

#[tokio::test]
async fn neg_286_full_refuses_and_forgets_nothing() {
    let replay = MemorySettings { capacity: 3, ..MemorySettings::default() };
    let world = Plan { replay: replay.into(), ..Plan::default() }.start().await;
    let first = world.good().frozen();
    world.passes_over(Http::One, &first).await;
    for _ in 0..2 {
        world.passes_over(Http::One, &world.good()).await;
    }
    let answer = world.good().send(Http::One).await;
    assert_eq!((answer.status, world.upstream.count()), (503, 3));
    crate::support::shape::assert_refusal(&answer, Reason::ReplayFull, &world.good());
    assert_eq!(status(&first).await, 401, "live entries stay");
    world.clock.advance(Duration::from_secs(180));
    world.server.gateway().tidy();
    world.passes_over(Http::One, &world.good()).await;
}

#[tokio::test]
async fn neg_286_one_key_has_its_share() {
    let replay = MemorySettings { per_key: 2, ..MemorySettings::default() };
    let world = Plan { replay: replay.into(), ..Plan::default() }.start().await;
    for _ in 0..2 {
        world.passes_over(Http::One, &world.good()).await;
    }
    let answer = world.good().send(Http::One).await;
    assert_eq!((answer.status, world.upstream.count()), (429, 2));
    assert!(answer.header("retry-after").is_some() && answer.header("www-authenticate").is_none());
    assert_eq!(world.refusals("api", Reason::ReplayKeyQuota), 1);
    world.passes_over(Http::One, &Shot::dpop(&world, &world.k2)).await;
}

#[tokio::test]
async fn neg_287_only_who_holds_the_key_writes() {
    let world = world().await;
    for _ in 0..20 {
        let stranger = Shot::dpop(&world, &world.k2);
        let shot = world.good().with(|shot| shot.proof = stranger.proof.clone());
        assert_eq!(status(&shot).await, 401);
        let garbage = world.good().claim("iss", "https://evil.example");
        assert_eq!(status(&garbage).await, 401);
    }
    assert_eq!((world.spent(), world.metric("keybound_replay_entries"), world.upstream.count()), (0, 0, 0));
}

#[tokio::test]
async fn neg_291_a_proof_from_before_the_start() {
    let world = Plan::default().start().await;
    let started = crate::support::NOW - 1000;
    world.set_clock(started + 20);
    let shot = world.good().proof_claim("iat", started - 1).claim("iat", started).claim("exp", started + 300);
    world.refuses(Reason::ProofBeforeStart, &shot).await;
    world.passes_over(Http::One, &world.good().proof_claim("iat", json!(started + 1))).await;
}

/// A host's clock that is set by hand or by a synchronization that comes late.
#[tokio::test]
async fn a_clock_that_is_set_is_counted() {
    const JUMPS: &str = "keybound_clock_jumps_total";
    let world = world().await;
    world.server.gateway().tidy();
    let before = world.metric(JUMPS);
    world.set_clock(world.now() + 3600);
    // The gateway does this once a second by itself.
    world.server.gateway().tidy();
    assert!(world.metric(JUMPS) > before, "{}", world.metrics());
    assert_eq!(world.good().send(Http::One).await.status, 200);
}
