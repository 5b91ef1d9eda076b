//! `keybound key` and `keybound request` against the running gateway: both ends of the wire are the program.

use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::process::{Ended, Program};
use crate::stage::{Gateway, Stage, now};
use crate::support::mint::Jws;

/// A person with a shell.
struct Person<'a> {
    stage: &'a Stage,
    gateway: &'a Gateway,
}

impl Person<'_> {
    async fn run(&self, token: Option<&str>, arguments: &[&str]) -> Ended {
        let token: Vec<_> = token.map(|token| ("KEYBOUND_TOKEN", token)).into_iter().collect();
        Program::run_with(self.stage.folder.path(), arguments, &token).await
    }

    /// Makes a key pair, with a certificate of the same name, and returns what is known of it.
    async fn make_key(&self, name: &str, algorithm: &str) -> Value {
        let (key, certificate) = (format!("{name}.pem"), format!("{name}.crt"));
        let arguments = ["key", "--json", "-a", algorithm, "-o", &key, "-c", &certificate];
        let Ended { code, out, err } = self.run(None, &arguments).await;
        assert_eq!(code, 0, "{err}");
        serde_json::from_str(&out).unwrap()
    }

    /// Asks the gateway for a path.
    async fn request(&self, token: &str, path: &str, more: &[&str]) -> Ended {
        let url = format!("https://{}{path}", self.gateway.address);
        let arguments = [&["request", &url, "--cacert", "server.pem"], more].concat();
        self.run(Some(token), &arguments).await
    }

    async fn gets(&self, token: &str, path: &str, more: &[&str]) {
        let before = self.stage.api.count();
        let Ended { code, out, err } = self.request(token, path, more).await;
        assert_eq!((code, out.as_str(), err.as_str()), (0, "fine", ""), "{path} {more:?}");
        assert_eq!(self.stage.api.count(), before + 1);
    }

    /// Refused, with this sentence, and for this reason in the gateway's log.
    async fn is_refused(&self, token: &str, path: &str, more: &[&str], sentence: &str, reason: &str) {
        let before = self.stage.api.count();
        let Ended { code, out, err } = self.request(token, path, more).await;
        assert_eq!((code, err.as_str()), (1, sentence), "{path} {more:?}: {out}");
        assert_eq!(self.stage.api.count(), before);
        let body: Value = serde_json::from_str(&out).unwrap();
        let line = self.gateway.access_line(body["request_id"].as_str().unwrap()).await;
        assert_eq!(line["reason"], reason);
    }
}

fn changed(mut token: Jws, claim: &str, value: Value) -> String {
    token.claims.insert(claim.into(), value);
    token.compact()
}

const ALGS: &str = "(algs: ES256 PS256 EdDSA Ed25519)";

#[tokio::test]
async fn dpop_from_a_shell() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let person = Person { stage: &stage, gateway: &gateway };
    for algorithm in ["ES256", "PS256", "EdDSA"] {
        let name = algorithm.to_lowercase();
        let jkt = person.make_key(&name, algorithm).await["jkt"].clone();
        let (token, file) = (stage.token_of(json!({"jkt": jkt})).compact(), format!("{name}.pem"));
        person.gets(&token, "/api/item?page=2", &["--key", &file]).await;
        let order = ["--key", &file, "-d", "a=1", "-H", "X-Test: 1"];
        person.gets(&token, "/api/orders", &order).await;
        let seen = stage.api.seen().pop().unwrap();
        assert_eq!(seen.header("authorization"), Some(format!("Bearer {token}").as_str()));
        assert_eq!((seen.header("dpop"), seen.header("x-test")), (None, Some("1")));
    }

    let jkt = person.make_key("own", "ES256").await["jkt"].clone();
    person.make_key("other", "ES256").await;
    let minted = || stage.token_of(json!({"jkt": jkt}));
    let token = minted().compact();
    let own = ["--key", "own.pem"];
    let told = |what: &str| format!("refused: 401 Unauthorized, {what}");
    let sentence = told(&format!("DPoP invalid_token: The access token is bound to another key. {ALGS}"));
    person.is_refused(&token, "/api/x", &["--key", "other.pem"], &sentence, "proof_key_mismatch").await;
    let sentence = told("Bearer invalid_token: The access token is DPoP-bound and was sent as a bearer token.");
    person.is_refused(&token, "/api/x", &[], &sentence, "dpop_token_as_bearer").await;
    person.is_refused(&token, "/api/x", &["--key", "own.pem", "--bearer"], &sentence, "dpop_token_as_bearer").await;
    let sentence = told(&format!("DPoP invalid_token: The access token has expired. {ALGS}"));
    let expired = changed(minted(), "exp", json!(now() - 600));
    person.is_refused(&expired, "/api/x", &own, &sentence, "token_expired").await;
    let sentence = told(&format!("DPoP invalid_token: The access token is meant for another resource. {ALGS}"));
    let elsewhere = changed(minted(), "aud", json!("https://other.example"));
    person.is_refused(&elsewhere, "/api/x", &own, &sentence, "token_audience").await;
    let sentence = format!(
        "refused: 403 Forbidden, DPoP insufficient_scope: The access token lacks a required scope. (scope: admin) {ALGS}"
    );
    person.is_refused(&token, "/admin-api/x", &own, &sentence, "scope_missing").await;
    person.is_refused(&token, "/elsewhere", &own, "refused: 404 Not Found", "no_route").await;
    person.is_refused(&token, "/down/x", &own, "failed: 502 Bad Gateway", "upstream_unreachable").await;
    person.gets(&token, "/api/x", &own).await;
    // Open routes ask for nothing.
    let url = format!("https://{}/open/x", gateway.address);
    let Ended { code, out, .. } = person.run(None, &["request", &url, "--cacert", "server.pem"]).await;
    assert_eq!((code, out.as_str()), (0, "fine"));
}

#[tokio::test]
async fn a_proof_made_by_hand_passes_once() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let person = Person { stage: &stage, gateway: &gateway };
    let jkt = person.make_key("own", "ES256").await["jkt"].clone();
    let token = stage.token_of(json!({"jkt": jkt})).compact();
    let url = format!("https://{}/api/item", gateway.address);
    let Ended { code, out, err } = person.run(Some(&token), &["proof", "--key", "own.pem", "--url", &url]).await;
    assert_eq!(code, 0, "{err}");
    let (proof, credentials) = (format!("DPoP: {}", out.trim_end()), format!("Authorization: DPoP {token}"));
    let arguments = ["request", &url, "--cacert", "server.pem", "-H", &proof, "-H", &credentials];
    assert_eq!(person.run(None, &arguments).await.code, 0);
    let Ended { code, err, .. } = person.run(None, &arguments).await;
    let sentence = "refused: 401 Unauthorized, DPoP invalid_dpop_proof: The DPoP proof was used before.";
    assert_eq!((code, err), (1, format!("{sentence} {ALGS}")));
    assert_eq!(stage.api.count(), 1);
}

#[tokio::test]
async fn mutual_tls_from_a_shell() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let person = Person { stage: &stage, gateway: &gateway };
    for algorithm in ["ES256", "PS256", "EdDSA"] {
        let name = algorithm.to_lowercase();
        let x5t = person.make_key(&name, algorithm).await["x5t#S256"].clone();
        let token = stage.token_of(json!({"x5t#S256": x5t})).compact();
        let (certificate, key) = (format!("{name}.crt"), format!("{name}.pem"));
        person.gets(&token, "/api/item?page=2", &["--cert", &certificate, "--cert-key", &key]).await;
    }

    let facts = person.make_key("own", "ES256").await;
    person.make_key("other", "ES256").await;
    let token = stage.token_of(json!({"x5t#S256": facts["x5t#S256"]})).compact();
    let own = ["--cert", "own.crt", "--cert-key", "own.pem"];
    let told = |what: &str| format!("refused: 401 Unauthorized, {what}");
    let sentence = told("Bearer invalid_token: The access token is bound to a client certificate.");
    person.is_refused(&token, "/api/x", &[], &sentence, "certificate_missing").await;
    let sentence = told("Bearer invalid_token: The access token is bound to another client certificate.");
    let other = ["--cert", "other.crt", "--cert-key", "other.pem"];
    person.is_refused(&token, "/api/x", &other, &sentence, "certificate_mismatch").await;
    let sentence = told(&format!("DPoP invalid_token: The access token is not bound to a DPoP key. {ALGS}"));
    let with_proof = [&own[..], &["--key", "own.pem"]].concat();
    person.is_refused(&token, "/api/x", &with_proof, &sentence, "token_not_dpop_bound").await;
    // A token bound twice wants both.
    let both = stage.token_of(json!({"x5t#S256": facts["x5t#S256"], "jkt": facts["jkt"]})).compact();
    person.gets(&both, "/api/x", &with_proof).await;
    let sentence = told(&format!("DPoP invalid_token: The access token is bound to a client certificate. {ALGS}"));
    person.is_refused(&both, "/api/x", &["--key", "own.pem"], &sentence, "certificate_missing").await;
    person.gets(&token, "/api/x", &own).await;
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_gets_no_token() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let person = Person { stage: &stage, gateway: &gateway };
    let stranger = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(stage.file("stranger.pem"), stranger.cert.pem()).unwrap();
    let key = Arc::clone(&stage.key);
    let token = stage.token_of(json!({"jkt": key.thumbprint()})).compact();
    let url = format!("https://{}/api/item", gateway.address);
    let Ended { code, out, err } = person.run(Some(&token), &["request", &url, "--cacert", "stranger.pem"]).await;
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.starts_with("error: no answer from https://127.0.0.1:") && !err.contains(&token), "{err}");
    assert!(gateway.access_lines().is_empty() && stage.api.count() == 0);
}
