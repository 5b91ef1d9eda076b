//! 3.4: the key of the proof.

use std::sync::Arc;

use aws_lc_rs::rsa::KeySize;
use keybound::refusal::Reason;
use serde_json::{Value, json};

use crate::support::keys::{Key, b64};
use crate::support::shot::Shot;
use crate::support::{Plan, World, algorithms, world};

/// A world where every algorithm may sign proofs, so that nothing but the key can be wrong.
async fn open_world() -> World {
    let all = ["ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512", "EdDSA"];
    let proofs = keybound::verify::ProofRules { algorithms: algorithms(&all), ..Default::default() };
    Plan { proofs, ..Plan::default() }.start().await
}

#[tokio::test]
async fn neg_060_and_061_no_jwk() {
    let world = world().await;
    world.refuses(Reason::ProofKey, &world.good().no_proof_header("jwk")).await;
    for jwk in [json!(""), json!(1), json!(true), Value::Null, json!("foo"), json!([]), json!({})] {
        world.refuses(Reason::ProofKey, &world.good().proof_header("jwk", jwk)).await;
    }
}

#[tokio::test]
async fn neg_062_and_063_private_or_symmetric_members() {
    let world = world().await;
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        for value in [json!("AQ"), Value::Null, json!("")] {
            world.refuses(Reason::ProofKeyPrivate, &world.good().jwk(member, value)).await;
        }
    }
    for alg in ["EdDSA", "PS256"] {
        let shot = Shot::dpop(&world, &Arc::new(Key::new(alg))).jwk("d", "AQ");
        world.refuses(Reason::ProofKeyPrivate, &shot).await;
    }
}

#[tokio::test]
async fn neg_064_and_065_kty() {
    let world = world().await;
    for kty in [json!("oct"), json!("ec"), json!("RSA"), json!("unknown"), json!(1), Value::Null] {
        world.refuses(Reason::ProofKey, &world.good().jwk("kty", kty)).await;
    }
    world.refuses(Reason::ProofKey, &world.good().no_jwk("kty")).await;
}

#[tokio::test]
async fn neg_066_crv() {
    let world = world().await;
    for crv in [json!("P-384"), json!("X25519"), json!("Ed448"), json!("secp256k1"), json!("p-256"), json!(1)] {
        world.refuses(Reason::ProofKey, &world.good().jwk("crv", crv)).await;
    }
    world.refuses(Reason::ProofKey, &world.good().no_jwk("crv")).await;
    let world = open_world().await;
    let p384 = Shot::dpop(&world, &Arc::new(Key::new("ES384"))).proof_header("alg", "ES256");
    world.refuses(Reason::ProofKey, &p384).await;
    world.refuses(Reason::ProofKey, &world.good().proof_header("alg", "ES384")).await;
    let edwards = Arc::new(Key::new("EdDSA"));
    for crv in ["X25519", "Ed448", "P-256"] {
        world.refuses(Reason::ProofKey, &Shot::dpop(&world, &edwards).jwk("crv", crv)).await;
    }
}

#[tokio::test]
async fn neg_067_and_068_coordinates() {
    let world = world().await;
    let jwk = world.k1.jwk();
    let x = jwk["x"].as_str().unwrap().to_owned();
    for bad in [
        json!(1),
        json!(""),
        json!(format!("{x}=")),
        json!(&x[..42]),
        json!(format!("{x}AA")),
        json!("!!!"),
        json!(b64([0; 32])),
        json!(b64([1; 32])),
        json!(b64([0xFF; 32])),
        json!(b64([0; 33])),
        json!(b64([0; 31])),
    ] {
        world.refuses(Reason::ProofKey, &world.good().jwk("x", bad.clone())).await;
        world.refuses(Reason::ProofKey, &world.good().jwk("y", bad)).await;
    }
    world.refuses(Reason::ProofKey, &world.good().no_jwk("x")).await;
    world.refuses(Reason::ProofKey, &world.good().no_jwk("y")).await;
    let infinity = b64([0; 32]);
    world.refuses(Reason::ProofKey, &world.good().jwk("x", infinity.clone()).jwk("y", infinity)).await;
}

#[tokio::test]
async fn neg_069_a_key_of_another_family() {
    let world = open_world().await;
    for alg in ["PS256", "RS256", "EdDSA", "ES512"] {
        world.refuses(Reason::ProofKey, &world.good().proof_header("alg", alg)).await;
    }
    let rsa = Shot::dpop(&world, &Arc::new(Key::new("PS256"))).proof_header("alg", "ES256");
    world.refuses(Reason::ProofKey, &rsa).await;
}

#[tokio::test]
async fn neg_070_unsound_rsa_keys() {
    let world = open_world().await;
    let key = Arc::new(Key::new("PS256"));
    let modulus = keybound::verify::base64url::decode(key.jwk()["n"].as_str().unwrap()).unwrap();
    let with_n = |n: Vec<u8>| Shot::dpop(&world, &key).jwk("n", b64(n));
    let odd = |bytes: usize, first: u8| {
        let mut n = vec![0xA5; bytes];
        (n[0], n[bytes - 1]) = (first, 1);
        n
    };
    let mut even = modulus.clone();
    *even.last_mut().unwrap() &= 0xFE;
    let padded = [&[0][..], &modulus].concat();
    for n in [odd(64, 0x80), odd(128, 0x80), odd(256, 0x7F), odd(513, 1), odd(1024, 0x80), even, padded, vec![]] {
        world.refuses(Reason::ProofKey, &with_n(n)).await;
    }
    for e in ["AQ", "Ag", "AA", "", "AAEAAQ", "AQAAAAAAAQ", "BA"] {
        world.refuses(Reason::ProofKey, &Shot::dpop(&world, &key).jwk("e", e)).await;
    }
    world.refuses(Reason::ProofKey, &Shot::dpop(&world, &key).no_jwk("e")).await;
}

#[tokio::test]
async fn neg_071_unsound_ed25519_keys_and_signatures() {
    let world = world().await;
    let key = Arc::new(Key::new("EdDSA"));
    let good = || Shot::dpop(&world, &key);
    let mut prime = [0xFF; 32];
    (prime[0], prime[31]) = (0xED, 0x7F);
    for x in [vec![1; 31], vec![1; 33], vec![0; 32], [&[1][..], &[0; 31]].concat(), prime.to_vec()] {
        world.refuses(Reason::ProofKey, &good().jwk("x", b64(x))).await;
    }
    // S + L verifies where nobody looks at the range (RFC 8032 §5.1.7).
    let large = good().with(|shot| {
        shot.proof.as_mut().unwrap().edit_signature = Some(|mut signature| {
            const L: [u8; 32] = [
                0xED, 0xD3, 0xF5, 0x5C, 0x1A, 0x63, 0x12, 0x58, 0xD6, 0x9C, 0xF7, 0xA2, 0xDE, 0xF9, 0xDE, 0x14, 0, 0,
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
            ];
            let mut carry = 0;
            for (digit, l) in signature[32..].iter_mut().zip(L) {
                let sum = u16::from(*digit) + u16::from(l) + carry;
                *digit = sum.to_le_bytes()[0];
                carry = sum >> 8;
            }
            signature
        });
    });
    world.refuses(Reason::ProofSignature, &large).await;
    world.passes(&good()).await;
}

#[tokio::test]
async fn neg_072_the_keys_own_alg_is_another() {
    let world = world().await;
    for alg in [json!("ES384"), json!("RS256"), json!("none"), json!(1), Value::Null] {
        world.refuses(Reason::ProofKey, &world.good().jwk("alg", alg)).await;
    }
}

#[tokio::test]
async fn neg_073_use_and_key_ops_are_not_identity() {
    let world = world().await;
    world.passes(&world.good().jwk("use", "enc")).await;
    world.passes(&world.good().jwk("key_ops", json!(["encrypt"]))).await;
}

#[tokio::test]
async fn neg_074_signed_by_another_key_than_it_says() {
    let world = world().await;
    let shot = world.good().with(|shot| shot.proof.as_mut().unwrap().key = Arc::clone(&world.k2));
    world.refuses(Reason::ProofSignature, &shot).await;
}

#[tokio::test]
async fn neg_075_a_valid_proof_by_another_key() {
    let world = world().await;
    let thief = Shot::dpop(&world, &world.k2);
    let stolen = world.good().with(|shot| shot.proof = thief.proof.clone());
    world.refuses(Reason::ProofKeyMismatch, &stolen).await;
}

#[tokio::test]
async fn pos_22_every_enabled_algorithm() {
    let world = world().await;
    for alg in ["ES256", "PS256", "EdDSA", "Ed25519"] {
        world.passes(&Shot::dpop(&world, &Arc::new(Key::new(alg)))).await;
    }
    let world = open_world().await;
    for alg in ["ES384", "ES512", "RS256", "RS384", "RS512", "PS384", "PS512"] {
        world.passes(&Shot::dpop(&world, &Arc::new(Key::new(alg)))).await;
    }
}

#[tokio::test]
async fn pos_23_a_coordinate_with_leading_zeros() {
    let world = world().await;
    let key = loop {
        let key = Key::es256();
        if keybound::verify::base64url::decode(key.jwk()["x"].as_str().unwrap()).unwrap()[0] == 0 {
            break key;
        }
    };
    world.passes(&Shot::dpop(&world, &Arc::new(key))).await;
}

#[tokio::test]
async fn pos_24_rsa_sizes() {
    let world = world().await;
    for size in [KeySize::Rsa2048, KeySize::Rsa3072, KeySize::Rsa4096] {
        world.passes(&Shot::dpop(&world, &Arc::new(Key::rsa("PS256", size)))).await;
    }
}
