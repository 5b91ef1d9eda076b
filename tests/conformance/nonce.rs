//! 3.11: nonces of the gateway, where every proof must hold one.

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use keybound::refusal::Reason;
use keybound::verify::Nonces;
use serde_json::json;

use crate::support::shot::Shot;
use crate::support::wire::{Answer, Http};
use crate::support::{NONCE_LIFE, NONCE_SECRET, NOW, Plan, World};

const OTHER_SECRET: &[u8] = &[2; 32];

fn nonces() -> Plan {
    Plan::nonces()
}

fn handed_out(answer: &Answer) -> String {
    let nonces = answer.all("dpop-nonce");
    assert_eq!(nonces.len(), 1, "{answer:?}");
    nonces[0].to_owned()
}

/// A nonce made so many seconds after the present.
fn nonce_at(secret: &[u8], seconds: i64) -> String {
    let nonces = Nonces::new([secret], NONCE_LIFE).unwrap();
    nonces.mint(keybound::time::UnixTime::from_secs(NOW + seconds)).unwrap()
}

fn with(world: &World, nonce: impl Into<String>) -> Shot {
    world.good().proof_claim("nonce", nonce.into())
}

fn without(world: &World) -> Shot {
    world.good().no_proof_claim("nonce")
}

#[tokio::test]
async fn pos_28_and_neg_160_a_challenge_and_an_answer_to_it() {
    let world = nonces().start().await;
    for http in [Http::One, Http::Two] {
        let answer = world.refuses_over(http, Reason::ProofNonceMissing, &without(&world)).await;
        let passed = world.passes_over(http, &with(&world, handed_out(&answer))).await;
        // The nonce is new: the client keeps it.
        assert_eq!(passed.all("dpop-nonce"), [""; 0]);
    }
}

#[tokio::test]
async fn pos_29_one_nonce_for_many_proofs() {
    let world = nonces().start().await;
    let nonce = nonce_at(NONCE_SECRET, 0);
    for _ in 0..5 {
        world.passes(&with(&world, &nonce)).await;
    }
}

#[tokio::test]
async fn pos_30_an_old_nonce_brings_a_new_one() {
    let world = nonces().start().await;
    world.upstream.replies(|_| {
        let cacheable = Response::builder().header("Cache-Control", "public, max-age=60");
        cacheable.header("DPoP-Nonce", "the-upstreams").body(Full::new(Bytes::new())).unwrap()
    });
    let half = i64::try_from(NONCE_LIFE.as_secs() / 2).unwrap();
    let young = world.passes_over(Http::One, &with(&world, nonce_at(NONCE_SECRET, -half))).await;
    assert_eq!((young.all("dpop-nonce").len(), young.header("cache-control")), (0, Some("public, max-age=60")));
    for age in [half + 1, 2 * half] {
        for http in [Http::One, Http::Two] {
            let answer = world.passes_over(http, &with(&world, nonce_at(NONCE_SECRET, -age))).await;
            assert_eq!(answer.all("cache-control"), ["no-store"]);
            assert_eq!(handed_out(&answer), nonce_at(NONCE_SECRET, 0));
        }
    }
}

#[tokio::test]
async fn pos_31_a_nonce_of_another_replica() {
    let (one, other) = (nonces().start().await, nonces().start().await);
    let answer = one.refuses_over(Http::One, Reason::ProofNonceMissing, &without(&one)).await;
    other.passes(&with(&other, handed_out(&answer))).await;
    // A rotation: one replica still makes nonces with the old secret, the other with the new one already.
    let old = Plan::nonces_of(&[NONCE_SECRET, OTHER_SECRET]).start().await;
    let new = Plan::nonces_of(&[OTHER_SECRET, NONCE_SECRET]).start().await;
    old.passes(&with(&old, nonce_at(OTHER_SECRET, 0))).await;
    new.passes(&with(&new, nonce_at(NONCE_SECRET, 0))).await;
}

#[tokio::test]
async fn neg_161_what_is_no_nonce_at_all() {
    let world = nonces().start().await;
    for value in [json!(null), json!(1), json!([]), json!({}), json!(true)] {
        world.refuses(Reason::ProofNonceMissing, &world.good().proof_claim("nonce", value)).await;
    }
    for text in ["", " "] {
        world.refuses(Reason::ProofNonce, &with(&world, text)).await;
    }
}

#[tokio::test]
async fn neg_162_garbage_and_damage() {
    let world = nonces().start().await;
    let good = nonce_at(NONCE_SECRET, 0);
    let mut flipped = good.clone().into_bytes();
    flipped[15] = if flipped[15] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();
    for nonce in ["garbage", &good[..good.len() - 1], &good[..8], &flipped, &format!("{good}A"), &format!("{good}=")] {
        world.refuses(Reason::ProofNonce, &with(&world, nonce)).await;
    }
}

#[tokio::test]
async fn neg_163_an_expired_nonce() {
    let world = nonces().start().await;
    let life = i64::try_from(NONCE_LIFE.as_secs()).unwrap();
    world.passes(&with(&world, nonce_at(NONCE_SECRET, -life))).await;
    world.refuses(Reason::ProofNonce, &with(&world, nonce_at(NONCE_SECRET, -life - 1))).await;
}

#[tokio::test]
async fn neg_164_a_nonce_of_somebody_else() {
    let world = nonces().start().await;
    // RFC 9449 §8 has this one of an authorization server.
    world.refuses(Reason::ProofNonce, &with(&world, "eyJ7S_zG.eyJH0-Z.HX4w-7v")).await;
    world.refuses(Reason::ProofNonce, &with(&world, nonce_at(OTHER_SECRET, 0))).await;
}

#[tokio::test]
async fn neg_165_a_nonce_of_the_future() {
    let world = nonces().start().await;
    // Forged: another moment under the MAC of this one.
    let mut bytes = keybound::verify::base64url::decode(&nonce_at(NONCE_SECRET, 0)).unwrap();
    bytes[4] ^= 1;
    world.refuses(Reason::ProofNonce, &with(&world, keybound::verify::base64url::encode(&bytes))).await;
    // Made by a replica whose clock is ahead: a little is tolerated.
    world.passes(&with(&world, nonce_at(NONCE_SECRET, 5))).await;
    world.refuses(Reason::ProofNonce, &with(&world, nonce_at(NONCE_SECRET, 6))).await;
}

#[tokio::test]
async fn neg_166_characters_and_sizes_that_no_nonce_has() {
    let world = nonces().start().await;
    for nonce in ["\u{1}", "a\"b", "a\\b", "é", "\u{7f}", &"A".repeat(3000)] {
        world.refuses(Reason::ProofNonce, &with(&world, nonce)).await;
    }
    world.refuses(Reason::ProofTooLarge, &with(&world, "A".repeat(9000))).await;
}

#[tokio::test]
async fn neg_167_whoever_lacks_the_key_hears_of_the_signature() {
    let world = nonces().start().await;
    let spoiled = |shot: Shot| {
        shot.proof_text(|text| {
            let (rest, signature) = text.rsplit_once('.').unwrap();
            let mut bytes = keybound::verify::base64url::decode(signature).unwrap();
            bytes[40] ^= 1;
            format!("{rest}.{}", keybound::verify::base64url::encode(&bytes))
        })
    };
    // Both come with a nonce all the same: the shape of every refusal here.
    world.refuses(Reason::ProofSignature, &spoiled(without(&world))).await;
    world.refuses(Reason::ProofSignature, &spoiled(world.good())).await;
}

#[tokio::test]
async fn neg_168_the_nonce_is_wanted_before_the_time_is_judged() {
    let world = nonces().start().await;
    world.refuses(Reason::ProofNonceMissing, &without(&world).proof_claim("iat", NOW - 3600)).await;
    world.refuses(Reason::ProofNonce, &with(&world, "x").proof_claim("iat", NOW + 3600)).await;
}

#[tokio::test]
async fn neg_115_a_good_nonce_does_not_excuse_a_wrong_time() {
    let world = nonces().start().await;
    world.refuses(Reason::ProofStale, &world.good().proof_claim("iat", NOW - 303)).await;
    world.refuses(Reason::ProofFuture, &world.good().proof_claim("iat", NOW + 303)).await;
    world.refuses(Reason::ProofClaims, &world.good().no_proof_claim("iat")).await;
}

#[tokio::test]
async fn neg_133_a_proof_refused_for_its_nonce_is_not_spent() {
    let world = nonces().start().await;
    let first = without(&world).proof_claim("jti", "one");
    world.refuses(Reason::ProofNonceMissing, &first).await;
    world.passes_over(Http::One, &world.good().proof_claim("jti", "one")).await;
    world.refuses(Reason::ProofReplayed, &world.good().proof_claim("jti", "one")).await;
}

#[tokio::test]
async fn neg_169_the_upstreams_nonce_stays_behind() {
    let world = nonces().start().await;
    world.upstream.replies(|_| {
        let own = Response::builder().status(401).header("DPoP-Nonce", "the-upstreams");
        own.header("WWW-Authenticate", "DPoP error=\"use_dpop_nonce\"").body(Full::new(Bytes::new())).unwrap()
    });
    let half = i64::try_from(NONCE_LIFE.as_secs() / 2).unwrap();
    for (age, expected) in [(0, 0), (half + 1, 1)] {
        let answer = with(&world, nonce_at(NONCE_SECRET, -age)).send(Http::One).await;
        let nonces = answer.all("dpop-nonce");
        assert_eq!((answer.status, nonces.len()), (401, expected));
        assert!(nonces.iter().all(|nonce| *nonce == nonce_at(NONCE_SECRET, 0)));
        assert_eq!(answer.all("www-authenticate"), [""; 0]);
    }
}

#[tokio::test]
async fn neg_171_an_upload_is_answered_in_full() {
    let world = nonces().start().await;
    let upload = without(&world).method("POST").body(vec![b'x'; 1 << 20]);
    for http in [Http::One, Http::Two] {
        let answer = world.refuses_over(http, Reason::ProofNonceMissing, &upload).await;
        let again = with(&world, handed_out(&answer)).method("POST").body(vec![b'x'; 1 << 20]);
        world.passes_over(http, &again).await;
        assert_eq!(world.upstream.last().body.len(), 1 << 20);
    }
}

#[tokio::test]
async fn neg_172_a_client_that_never_learns_gets_the_same_answer() {
    let world = nonces().start().await;
    let expired = nonce_at(NONCE_SECRET, -3600);
    for _ in 0..20 {
        world.refuses_over(Http::One, Reason::ProofNonce, &with(&world, &expired)).await;
    }
}

/// A restart opens no window: what was made before it, and is accepted after it, has a nonce of after it.
#[tokio::test]
async fn neg_291_a_nonce_from_before_the_start() {
    let restarted = Plan { started: NOW - 10, ..nonces() }.start().await;
    // The client's clock is ahead: by `iat` alone, it would have been signed after the start.
    let before = with(&restarted, nonce_at(NONCE_SECRET, -11)).proof_claim("iat", NOW + 25);
    let refused = restarted.refuses_over(Http::One, Reason::ProofNonce, &before).await;
    // And this one's is behind.
    restarted.passes_over(Http::One, &with(&restarted, handed_out(&refused)).proof_claim("iat", NOW - 60)).await;
}

#[tokio::test]
async fn only_proofs_need_nonces() {
    let plan = Plan { client_certificates: true, policy: Plan::mtls().policy, ..nonces() };
    let world = plan.start().await;
    let identity = crate::support::Identity::self_signed();
    let answer = world.passes_over(Http::One, &world.good_mtls(&identity)).await;
    assert_eq!(answer.all("dpop-nonce").len(), 0);
    // What a plain 401 offers comes with what it takes to accept the offer.
    let answer = world.refuses_over(Http::One, Reason::CredentialsMissing, &world.good().authorization(&[])).await;
    handed_out(&answer);
}
