//! The embedded authorization server, reduced to what a gateway sees of one: metadata, public keys and tokens.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use jsonwebtoken::{Algorithm as JwtAlgorithm, EncodingKey, Header};
use keybound::accept::Handler;
use keybound::prover::ProofKey;
use keybound::request::Peer;
use keybound::time::UnixTime;
use keybound::verify::Algorithm;
use serde_json::{Value, json};

const KEY_ID: &str = "demo-1";

/// How long a token is valid, in seconds.
const LIFETIME: i64 = 8 * 3600;

/// Signs access tokens that name a key (RFC 9068).
pub struct Issuer {
    /// Its name: `iss`.
    pub name: String,
    audience: String,
    key: ProofKey,
}

impl Issuer {
    /// An issuer with a fresh key.
    pub fn new(name: String, audience: String) -> anyhow::Result<Self> {
        Ok(Self { name, audience, key: ProofKey::generate(Algorithm::Es256)? })
    }

    /// A token for `alice`, bound as `cnf` says; `null`: to nothing.
    pub fn token(&self, cnf: &Value, now: UnixTime) -> anyhow::Result<String> {
        self.token_for(&self.audience, cnf, now)
    }

    /// A token for another API.
    pub fn token_for(&self, audience: &str, cnf: &Value, now: UnixTime) -> anyhow::Result<String> {
        let mut header = Header::new(JwtAlgorithm::ES256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(KEY_ID.to_owned());
        let mut claims = json!({
            "iss": self.name, "aud": audience, "sub": "alice", "client_id": "demo-client", "scope": "orders",
            "iat": now.secs(), "exp": now.secs() + LIFETIME,
        });
        if !cnf.is_null() {
            claims["cnf"] = cnf.clone();
        }
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ec_der(self.key.pkcs8()))
            .context("cannot sign a token")
    }

    /// What it publishes.
    pub fn pages(&self) -> Pages {
        let metadata = json!({ "issuer": self.name, "jwks_uri": format!("{}/jwks", self.name) });
        let mut jwk = self.key.public_jwk().clone();
        jwk["kid"] = json!(KEY_ID);
        jwk["use"] = json!("sig");
        Pages { metadata: metadata.to_string().into(), keys: json!({ "keys": [jwk] }).to_string().into() }
    }
}

/// The issuer's public documents (RFC 8414, RFC 7517).
#[derive(Clone)]
pub struct Pages {
    metadata: Bytes,
    keys: Bytes,
}

impl Handler for Pages {
    type Body = Full<Bytes>;
    type BodyError = Infallible;

    async fn handle(&self, request: Request<Incoming>, _: Arc<Peer>) -> Response<Self::Body> {
        match request.uri().path() {
            "/.well-known/oauth-authorization-server" => json_answer(self.metadata.clone()),
            "/jwks" => json_answer(self.keys.clone()),
            _ => {
                let mut response = json_answer(Bytes::from_static(b"{}"));
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            }
        }
    }
}

/// A JSON document.
pub fn json_answer(body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
