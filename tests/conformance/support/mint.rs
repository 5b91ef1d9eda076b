//! Tokens and proofs that start valid and have one thing changed.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::keys::{Key, b64};

/// A JWS in the making. `*_text` replaces a whole part by raw text; `edit` has the last word over the compact form.
#[derive(Clone)]
pub struct Jws {
    pub header: Map<String, Value>,
    pub claims: Map<String, Value>,
    pub header_text: Option<Vec<u8>>,
    pub claims_text: Option<Vec<u8>>,
    pub key: Arc<Key>,
    pub edit_signature: Option<fn(Vec<u8>) -> Vec<u8>>,
    pub edit: Option<Arc<dyn Fn(String) -> String + Send + Sync>>,
}

impl Jws {
    pub fn new(header: Value, claims: Value, key: Arc<Key>) -> Self {
        let object = |value: Value| value.as_object().unwrap().clone();
        Self {
            header: object(header),
            claims: object(claims),
            header_text: None,
            claims_text: None,
            key,
            edit_signature: None,
            edit: None,
        }
    }

    pub fn compact(&self) -> String {
        let text = |raw: &Option<Vec<u8>>, members: &Map<String, Value>| {
            raw.clone().unwrap_or_else(|| Value::Object(members.clone()).to_string().into_bytes())
        };
        let header = b64(text(&self.header_text, &self.header));
        let claims = b64(text(&self.claims_text, &self.claims));
        let input = format!("{header}.{claims}");
        let mut signature = self.key.sign(input.as_bytes());
        if let Some(edit) = self.edit_signature {
            signature = edit(signature);
        }
        let compact = format!("{input}.{}", b64(signature));
        match &self.edit {
            Some(edit) => edit(compact),
            None => compact,
        }
    }
}

/// A signature with another bit: of one by ES256, in its s.
pub fn bent(mut signature: Vec<u8>) -> Vec<u8> {
    signature[40] ^= 1;
    signature
}

pub fn ath(token: &str) -> String {
    b64(Sha256::digest(token.as_bytes()))
}

pub fn jti() -> String {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    b64(bytes)
}

/// The access token of the baseline: RFC 9068, ES256, bound to `jkt`.
pub fn access_token(issuer: &str, audience: &str, key: &Arc<Key>, cnf: Value, now: i64) -> Jws {
    Jws::new(
        json!({"typ": "at+jwt", "alg": key.alg, "kid": "k1"}),
        json!({
            "iss": issuer, "aud": audience, "sub": "alice", "client_id": "app", "jti": jti(), "scope": "read write",
            "iat": now, "exp": now + 300, "cnf": cnf,
        }),
        Arc::clone(key),
    )
}

/// The proof of the baseline; `ath` is filled in when the token is known.
pub fn proof(key: &Arc<Key>, method: &str, url: &str, now: i64) -> Jws {
    Jws::new(
        json!({"typ": "dpop+jwt", "alg": key.alg, "jwk": key.jwk()}),
        json!({"jti": jti(), "htm": method, "htu": url, "iat": now}),
        Arc::clone(key),
    )
}
