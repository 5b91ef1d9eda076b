//! The journey that a request makes: verified, then spent.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;

use super::*;
use crate::request::ProofField;
use crate::verify::{Algorithm, Expected, Json, PublicKey, TokenHash, Unremembered, base64url, verify_proof};

struct Client {
    keys: EcdsaKeyPair,
    jwk: serde_json::Value,
}

impl Client {
    fn new() -> Self {
        let keys = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = keys.public_key().as_ref();
        let coordinate = |range: std::ops::Range<usize>| base64url::encode(&point[range]);
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": coordinate(1..33), "y": coordinate(33..65)});
        Self { keys, jwk }
    }

    fn proof(&self, jti: &str, iat: i64) -> String {
        let token_hash = TokenHash::of("token");
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk});
        let claims = json!({
            "jti": jti, "htm": "GET", "htu": "https://rs.example/api", "iat": iat,
            "ath": base64url::encode(token_hash.as_bytes()),
        });
        let segment = |value: serde_json::Value| base64url::encode(value.to_string().as_bytes());
        let input = format!("{}.{}", segment(header), segment(claims));
        let signature = self.keys.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", base64url::encode(signature.as_ref()))
    }

    fn verified(&self, text: &str, now: UnixTime) -> Result<Proof, Refusal> {
        let jwk = Json::from_members(self.jwk.as_object().unwrap());
        let expected = Expected {
            method: "GET",
            external_url: "https://rs.example/api",
            token_hash: &TokenHash::of("token"),
            key: PublicKey::from_jwk(&jwk, Algorithm::Es256).unwrap().thumbprint(),
        };
        let field = ProofField::One(text.parse().unwrap());
        verify_proof(&field, &expected, &ProofRules::default(), &Unremembered, now)
    }
}

#[test]
fn evidence_belongs_to_one_proof() {
    let (log, client) = (log(), Client::new());
    let iat = START.secs() + 1;
    let one = client.verified(&client.proof("one", iat), after(1)).unwrap();
    let other = client.verified(&client.proof("other", iat), after(1)).unwrap();
    let spent = log.spend(&one, after(1)).unwrap();
    assert!(spent.is_of(&one) && !spent.is_of(&other));
    refused(log.spend(&one, after(1)).map(drop), Reason::ProofReplayed);
    let _ = log.spend(&other, after(1)).unwrap();
}

#[test]
fn as_long_as_verification_accepts_it_the_log_refuses_it() {
    let (log, client) = (log(), Client::new());
    let text = client.proof("ahead", START.secs() + 30);
    let spent = log.spend(&client.verified(&text, after(1)).unwrap(), after(1)).unwrap();
    let mut refusals = 0;
    for seconds in 1..130 {
        log.expire(after(seconds));
        let Ok(copy) = client.verified(&text, after(seconds)) else { continue };
        assert!(spent.is_of(&copy));
        refused(log.spend(&copy, after(seconds)).map(drop), Reason::ProofReplayed);
        refusals += 1;
    }
    assert_eq!(refusals, 119);
}

#[test]
fn two_signatures_over_the_same_claims_are_one_proof() {
    let (log, client) = (log(), Client::new());
    let (one, other) = (client.proof("same", START.secs() + 1), client.proof("same", START.secs() + 1));
    assert_ne!(one, other, "ECDSA signs differently each time");
    let _ = log.spend(&client.verified(&one, after(1)).unwrap(), after(1)).unwrap();
    refused(log.spend(&client.verified(&other, after(1)).unwrap(), after(1)).map(drop), Reason::ProofReplayed);
}
