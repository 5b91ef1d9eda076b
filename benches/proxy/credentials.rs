//! Tokens and proofs, made before the clock starts.

use jsonwebtoken::{EncodingKey, Header};
use keybound::clock::{Clock as _, SystemClock};
use keybound::prover::{ProofKey, ProofRequest};
use keybound::verify::{Algorithm, base64url};
use serde_json::{Value, json};

pub const AUDIENCE: &str = "https://api.example.com";
const KEY_ID: &str = "bench-1";

/// An authorization server, reduced to its key.
pub struct Issuer {
    pub name: String,
    key: ProofKey,
}

/// What one request shows.
#[derive(Clone)]
pub struct Call {
    pub path: &'static str,
    pub authorization: Option<String>,
    pub proof: Option<String>,
}

/// A client with a proof key and a token that names it.
pub struct Client {
    pub key: ProofKey,
    pub token: String,
}

/// What is wrong with a proof.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    None,
    Signature,
    Stale,
    Method,
    TokenHash,
}

impl Issuer {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), key: ProofKey::generate(Algorithm::Es256).unwrap() }
    }

    /// A token of a typical size, bound as `cnf` says.
    pub fn token(&self, cnf: &Value) -> String {
        let mut header = Header::new(jsonwebtoken::Algorithm::ES256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(KEY_ID.to_owned());
        let now = SystemClock.now().secs();
        let claims = json!({
            "iss": self.name, "aud": AUDIENCE, "sub": "5f0c2a86-6f2e-4a57-9a52-1f3f6c4e7f11",
            "client_id": "s6BhdRkqt3", "jti": "1c5e8a3f-55a0-4c0f-8a55-77e5ab9d3d10",
            "scope": "openid profile accounts:read payments:write", "iat": now, "exp": now + 7200,
            "auth_time": now - 60, "acr": "urn:mace:incommon:iap:silver", "cnf": cnf,
        });
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ec_der(self.key.pkcs8())).unwrap()
    }

    /// Its JWK set.
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.jwk()] })
    }

    pub fn jwk(&self) -> Value {
        let mut jwk = self.key.public_jwk().clone();
        jwk["kid"] = json!(KEY_ID);
        jwk["use"] = json!("sig");
        jwk
    }

    /// Its public key as PEM.
    pub fn public_pem(&self) -> String {
        use p256::pkcs8::{DecodePrivateKey as _, EncodePublicKey as _, LineEnding};
        let key = p256::SecretKey::from_pkcs8_der(self.key.pkcs8()).unwrap();
        key.public_key().to_public_key_pem(LineEnding::LF).unwrap()
    }

    pub fn client(&self, algorithm: Algorithm) -> Client {
        let key = ProofKey::generate(algorithm).unwrap();
        let token = self.token(&json!({ "jkt": key.thumbprint().to_string() }));
        Client { key, token }
    }
}

impl Client {
    /// A request with a fresh proof.
    pub fn call(&self, origin: &str, path: &'static str, flaw: Flaw) -> Call {
        let now = SystemClock.now();
        let request = ProofRequest {
            method: if flaw == Flaw::Method { "POST" } else { "GET" },
            url: &format!("{origin}{path}"),
            token: Some(if flaw == Flaw::TokenHash { "another" } else { &self.token }),
            nonce: None,
            issued_at: if flaw == Flaw::Stale { now - std::time::Duration::from_secs(600) } else { now },
            jti: None,
        };
        let mut proof = self.key.prove(&request).unwrap();
        if flaw == Flaw::Signature {
            proof = with_another_signature(&proof);
        }
        Call { path, authorization: Some(format!("DPoP {}", self.token)), proof: Some(proof) }
    }
}

impl Call {
    /// The same with a proof that nobody has seen before, for routes that do not look at it.
    pub fn with_another_proof(&self) -> Self {
        let mut random = [0; 240];
        aws_lc_rs::rand::fill(&mut random).unwrap();
        let proof = self.proof.as_deref().map(|proof| {
            let random = base64url::encode(&random);
            format!("{}{random}", &proof[..proof.len() - random.len()])
        });
        Self { proof, ..self.clone() }
    }
}

/// The signature with one bit in its middle turned over: still two numbers in range.
pub fn with_another_signature(proof: &str) -> String {
    let (input, signature) = proof.rsplit_once('.').unwrap();
    let mut signature = base64url::decode(signature).unwrap();
    signature[40] ^= 1;
    format!("{input}.{}", base64url::encode(&signature))
}
