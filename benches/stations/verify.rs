//! Tokens, proofs, and what is refused on the way.

use std::hint::black_box;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use http::HeaderValue;
use keybound::refusal::Reason;
use keybound::request::ProofField;
use keybound::verify::{
    Algorithm, Expected, KnownKey, ProofRules, TokenHash, Unremembered, UnverifiedToken, base64url, same_target,
    verify_proof,
};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::world::{ALGORITHMS, Client, NOW, URL, World};

pub fn measure(criterion: &mut Criterion, world: &World) {
    let client = world.client(Algorithm::Es256);
    let proof = client.proof();
    let mut group = criterion.benchmark_group("verify");
    signature_alone(&mut group, &client, &proof);
    tokens(&mut group, world);
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Ps256] {
        proofs(&mut group, world, algorithm);
    }
    refusals(&mut group, world, &client, &proof);
    for (name, htu) in
        [("equal", URL), ("to normalize", "HTTPS://API.EXAMPLE.COM:443/v1/./accounts/%34711/payments?limit=50")]
    {
        assert!(same_target(htu, URL));
        group.bench_function(format!("same target, {name}"), |b| b.iter(|| same_target(black_box(htu), URL)));
    }
}

fn signature_alone(group: &mut BenchmarkGroup<'_, WallTime>, client: &Client, proof: &str) {
    let (message, signature) = proof.rsplit_once('.').unwrap();
    let (signature, jwk) = (base64url::decode(signature).unwrap(), client.key.public_jwk());
    let coordinate = |name: &str| base64url::decode(jwk[name].as_str().unwrap()).unwrap();
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).unwrap();
    let known = KnownKey::new(&point).unwrap();
    group.bench_function("P-256 alone, with a table", |b| {
        b.iter(|| assert!(known.verify(&Sha256::digest(black_box(message.as_bytes())).into(), &signature)));
    });
    group.bench_function("table of a key", |b| b.iter_with_large_drop(|| KnownKey::new(black_box(&point)).unwrap()));
    group.bench_function("P-256 alone", |b| {
        b.iter(|| key.verify_sig(black_box(message.as_bytes()), &signature).unwrap());
    });
}

fn tokens(group: &mut BenchmarkGroup<'_, WallTime>, world: &World) {
    let (issuer, cnf) = (world.issuer(), json!({ "jkt": base64url::encode(&[7; 32]) }));
    let keys = issuer.keys().unwrap();
    for algorithm in ALGORITHMS {
        let token = world.token(algorithm, &cnf);
        let hash = TokenHash::of(&token);
        let anew = || UnverifiedToken::read(black_box(&token), hash)?.verify(issuer.rules(), &keys);
        group.bench_function(format!("token {algorithm}"), |b| b.iter_with_large_drop(|| anew().unwrap()));
    }
    let token = world.token(Algorithm::Es256, &cnf);
    let hash = TokenHash::of(&token);
    group.bench_function("token remembered", |b| b.iter(|| world.verify(black_box(&token), hash)));
}

fn expected<'a>(client: &Client, token_hash: &'a TokenHash) -> Expected<'a> {
    Expected { method: "GET", external_url: URL, token_hash, key: client.key.thumbprint() }
}

fn field(proof: &str) -> ProofField {
    ProofField::One(HeaderValue::from_str(proof).unwrap())
}

fn proofs(group: &mut BenchmarkGroup<'_, WallTime>, world: &World, algorithm: Algorithm) {
    let (client, rules) = (world.client(algorithm), ProofRules::default());
    let (field, hash) = (field(&client.proof()), TokenHash::of(&client.token));
    let expected = expected(&client, &hash);
    group.bench_function(format!("proof {algorithm}, unknown header"), |b| {
        b.iter(|| verify_proof(black_box(&field), &expected, &rules, &Unremembered, NOW).unwrap());
    });
    // The first of them is what makes the header known.
    group.bench_function(format!("proof {algorithm}"), |b| {
        b.iter(|| verify_proof(black_box(&field), &expected, &rules, &world.tokens, NOW).unwrap());
    });
}

/// Proofs under a known header, wrong in one thing.
fn refusals(group: &mut BenchmarkGroup<'_, WallTime>, world: &World, client: &Client, proof: &str) {
    let rules = ProofRules::default();
    let (hash, another) = (TokenHash::of(&client.token), TokenHash::of("another"));
    let expected = expected(client, &hash);
    let (good, forged) = (field(proof), field(&with_another_signature(proof)));
    verify_proof(&good, &expected, &rules, &world.tokens, NOW).unwrap();
    let later = NOW + Duration::from_secs(600);
    for (reason, field, expected, now) in [
        (Reason::ProofStale, &good, expected, later),
        (Reason::ProofMethod, &good, Expected { method: "POST", ..expected }, NOW),
        (Reason::ProofTokenHash, &good, Expected { token_hash: &another, ..expected }, NOW),
        (Reason::ProofSignature, &forged, expected, NOW),
    ] {
        let refuse = || verify_proof(black_box(field), &expected, &rules, &world.tokens, now).unwrap_err();
        assert_eq!(refuse().reason(), reason);
        group.bench_function(format!("refused: {}", reason.slug()), |b| b.iter(refuse));
    }
}

/// One bit in its middle turned over: still two numbers in range.
fn with_another_signature(proof: &str) -> String {
    let (message, signature) = proof.rsplit_once('.').unwrap();
    let mut signature = base64url::decode(signature).unwrap();
    signature[40] ^= 1;
    format!("{message}.{}", base64url::encode(&signature))
}
