//! What the stations are given: an authorization server, clients, tokens, proofs and requests. Time stands still.

use std::sync::Arc;

use criterion::BatchSize;
use futures_util::FutureExt as _;
use http::Request;
use jsonwebtoken::{EncodingKey, Header};
use keybound::clock::{Clock, ManualClock};
use keybound::keys::{Issuer, IssuerSettings, Issuers, KeyEvents, KeySource, RefreshResult};
use keybound::prover::{ProofKey, ProofRequest};
use keybound::request::{ClientCertificate, Front, Inbound, Peer, RequestId, ServedNames, TlsFacts};
use keybound::time::UnixTime;
use keybound::tokens::Tokens;
use keybound::verify::{AccessToken, Algorithm, IssuerRules, TokenHash};
use serde_json::{Value, json};

pub const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
pub const HOST: &str = "api.example.com";
pub const URL: &str = "https://api.example.com/v1/accounts/4711/payments";
const TARGET: &str = "/v1/accounts/4711/payments?from=2026-07-01&limit=50";
const ISSUER: &str = "https://login.example.com/tenants/4f1c";
const AUDIENCE: &str = "https://api.example.com";

/// How many inputs are made at once where each serves only once: few enough to stay in the processor's caches.
pub const AT_ONCE: BatchSize = BatchSize::NumIterations(32);

/// The algorithms that the authorization server signs with.
pub const ALGORITHMS: [Algorithm; 4] = [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Ps256, Algorithm::Rs256];

/// An authorization server, and a gateway that has its keys.
pub struct World {
    signers: [ProofKey; 4],
    issuers: Issuers,
    clock: Arc<dyn Clock>,
    /// What the gateway remembers.
    pub tokens: Tokens,
}

/// A client: its proof key, and a token that names it.
pub struct Client {
    pub key: ProofKey,
    pub token: String,
}

impl World {
    pub fn new() -> Self {
        let signers = ALGORITHMS.map(|algorithm| ProofKey::generate(algorithm).unwrap());
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW));
        let issuers = issuers(&signers, &clock);
        Self { signers, issuers, clock, tokens: Tokens::default() }
    }

    pub fn issuer(&self) -> &Issuer {
        self.issuers.get(ISSUER).unwrap()
    }

    /// A token of about 900 bytes (an RSA signature adds 250), bound as `cnf` says.
    pub fn token(&self, algorithm: Algorithm, cnf: &Value) -> String {
        let key = self.signers.iter().find(|key| key.algorithm() == algorithm).unwrap();
        let signer = match algorithm {
            Algorithm::Es256 => EncodingKey::from_ec_der(key.pkcs8()),
            Algorithm::EdDsa => EncodingKey::from_ed_der(key.pkcs8()),
            _ => EncodingKey::from_rsa_pem(key.to_pem().unwrap().as_bytes()).unwrap(),
        };
        let mut header = Header::new(algorithm.name().parse().unwrap());
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(algorithm.name().to_owned());
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "5f0c2a86-6f2e-4a57-9a52-1f3f6c4e7f11",
            "client_id": "s6BhdRkqt3", "jti": "1c5e8a3f-55a0-4c0f-8a55-77e5ab9d3d10",
            "scope": "openid profile accounts:read payments:write", "iat": NOW.secs(), "exp": NOW.secs() + 7200,
            "auth_time": NOW.secs() - 60, "acr": "urn:mace:incommon:iap:silver", "cnf": cnf,
            "roles": ["account-holder", "payment-initiator"], "sid": "08a5019c-17e1-4977-8f42-65a12843ea02",
            "tenant": "4f1c2a7e-5b0d-4c7a-8d0e-6f1f5b0f9a31", "amr": ["pwd", "otp"],
        });
        jsonwebtoken::encode(&header, &claims, &signer).unwrap()
    }

    /// A client whose token is signed with ES256.
    pub fn client(&self, algorithm: Algorithm) -> Client {
        let key = ProofKey::generate(algorithm).unwrap();
        let token = self.token(Algorithm::Es256, &json!({ "jkt": key.thumbprint().to_string() }));
        Client { key, token }
    }

    /// The token as the gateway verifies it; remembered from the second time on. Waits for nothing.
    pub fn verify(&self, token: &str, hash: TokenHash) -> Arc<AccessToken> {
        self.tokens.verify(token, hash, &[], &self.issuers, &*self.clock).now_or_never().unwrap().unwrap()
    }
}

impl Client {
    /// A proof that nobody has seen, for `GET` of [`URL`].
    pub fn proof(&self) -> String {
        let token = Some(self.token.as_str());
        self.key
            .prove(&ProofRequest { method: "GET", url: URL, token, nonce: None, issued_at: NOW, jti: None })
            .unwrap()
    }

    /// A request with such a proof.
    pub fn request(&self) -> Request<()> {
        request(&format!("DPoP {}", self.token), Some(&self.proof()))
    }
}

/// A browser's or a mobile application's `GET` of [`URL`]: twelve fields, one fewer without a proof.
pub fn request(authorization: &str, proof: Option<&str>) -> Request<()> {
    let request = Request::get(TARGET)
        .header("host", HOST)
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
        .header("accept", "application/json, text/plain, */*")
        .header("accept-language", "en-US,en;q=0.5")
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .header("authorization", authorization)
        .header("origin", "https://app.example.com")
        .header("referer", "https://app.example.com/")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .header("if-none-match", "\"33a64df551425fcc55e4d42a148795d9f25f89d4\"")
        .header("connection", "keep-alive");
    let request = proof.into_iter().fold(request, |request, proof| request.header("dpop", proof));
    request.body(()).unwrap()
}

pub fn read(request: Request<()>, peer: &Arc<Peer>) -> Inbound<()> {
    Inbound::read(request, Arc::clone(peer), &Front::default(), RequestId::new(1, 4711)).unwrap()
}

/// The other end of a TLS connection.
pub fn peer(certificate: Option<ClientCertificate>) -> Arc<Peer> {
    let tls = TlsFacts { server_name: Some(HOST.to_owned()), certificate, names: Arc::new(OneCertificate) };
    Arc::new(Peer::new("192.0.2.7:50000".parse().unwrap(), Some(tls)))
}

#[derive(Debug)]
struct OneCertificate;

impl ServedNames for OneCertificate {
    fn certificate_for(&self, _: Option<&str>) -> usize {
        0
    }
}

/// The authorization server as the gateway knows it, with its keys loaded.
fn issuers(signers: &[ProofKey], clock: &Arc<dyn Clock>) -> Issuers {
    let public = |key: &ProofKey| {
        let mut jwk = key.public_jwk().clone();
        jwk["kid"] = json!(key.algorithm().name());
        jwk["alg"] = json!(key.algorithm().name());
        jwk
    };
    let jwks = json!({ "keys": signers.iter().map(public).collect::<Vec<_>>() });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), jwks.to_string()).unwrap();
    let rules = IssuerRules::new(ISSUER, vec![AUDIENCE.to_owned()]);
    let settings = IssuerSettings { rules, source: KeySource::File(file.path().to_owned()), roots: None };
    let events: Arc<dyn KeyEvents> = Arc::new(Unheard);
    let issuers = Issuers::new(vec![settings], clock, &events).unwrap();
    let loaded = async {
        while !issuers.all_loaded() {
            tokio::task::yield_now().await;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::select! { () = issuers.run() => {}, () = loaded => {} }
    });
    issuers
}

struct Unheard;

impl KeyEvents for Unheard {
    fn refreshed(&self, _: &str, _: RefreshResult) {}
}
