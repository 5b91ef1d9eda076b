//! Our verification against two others: jsonwebtoken for every algorithm they share, p256 for ES256.

use jsonwebtoken::{DecodingKey, crypto};
use keybound::verify::{Algorithm, Json, PublicKey};
use p256::ecdsa::signature::Verifier as _;

use crate::support::keys::{Key, b64};

const ROUNDS: u8 = 24;

fn ours(key: &Key) -> PublicKey {
    let jwk = Json::object(key.jwk().to_string().as_bytes()).unwrap();
    PublicKey::from_jwk(&jwk, Algorithm::from_name(key.alg).unwrap()).unwrap()
}

/// Signatures good, bent in one bit, cut, and over another message.
fn attempts(key: &Key, round: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
    let message = format!("header.payload-{round}").into_bytes();
    let good = key.sign(&message);
    let mut bent = good.clone();
    let at = usize::from(round) * 5 % bent.len();
    bent[at] ^= 1 << (round % 8);
    let mut zero = good.clone();
    zero[..good.len() / 2].fill(0);
    let cut = good[..good.len() - 1].to_vec();
    let longer = [&good[..], &[0]].concat();
    vec![
        (message.clone(), good.clone()),
        (message.clone(), bent),
        (message.clone(), zero),
        (message.clone(), cut),
        (message.clone(), longer),
        (message, Vec::new()),
        (b"another".to_vec(), good),
    ]
}

#[test]
fn verdicts_are_those_of_jsonwebtoken() {
    for alg in ["ES256", "ES384", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512", "EdDSA"] {
        let key = Key::new(alg);
        let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(key.jwk()).unwrap();
        let theirs = DecodingKey::from_jwk(&jwk).unwrap();
        let ours = ours(&key);
        assert_eq!(ours.thumbprint().to_string(), key.thumbprint(), "{alg}");
        let mut accepted = 0;
        for round in 0..ROUNDS {
            for (message, signature) in attempts(&key, round) {
                let verdict = ours.verifies(&message, &signature);
                let other = crypto::verify(&b64(&signature), &message, &theirs, alg.parse().unwrap()).unwrap_or(false);
                assert_eq!(verdict, other, "{alg} round {round}");
                accepted += usize::from(verdict);
            }
        }
        assert_eq!(accepted, usize::from(ROUNDS), "{alg}: the good ones and no other");
    }
}

#[test]
fn verdicts_are_those_of_p256() {
    let key = Key::es256();
    let jwk = key.jwk();
    let coordinate = |name: &str| {
        let bytes = keybound::verify::base64url::decode(jwk[name].as_str().unwrap()).unwrap();
        <[u8; 32]>::try_from(bytes).unwrap()
    };
    let point = [&[4][..], &coordinate("x"), &coordinate("y")].concat();
    let theirs = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).unwrap();
    let ours = ours(&key);
    for round in 0..ROUNDS {
        for (message, signature) in attempts(&key, round) {
            let other =
                p256::ecdsa::Signature::from_slice(&signature).is_ok_and(|s| theirs.verify(&message, &s).is_ok());
            assert_eq!(ours.verifies(&message, &signature), other, "round {round}");
        }
    }
}
