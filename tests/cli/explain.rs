//! `keybound explain`, with a token, a proof and a certificate that were made beforehand.

use std::fs;

use jsonwebtoken::{Algorithm as Signs, EncodingKey, Header};
use keybound::prover::{ProofKey, ProofRequest};
use keybound::time::UnixTime;
use keybound::verify::{Algorithm, base64url};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::{BIN, PATIENCE, Ran, folder, run_with};

const NOW: i64 = 1_800_000_000;
const URL: &str = "https://rs.example/orders?page=2";

/// An issuer with its files, and a client with its key.
struct Scene {
    folder: TempDir,
    issuer: ProofKey,
    client: ProofKey,
}

impl Scene {
    fn new() -> Self {
        let folder = folder();
        let key = || ProofKey::generate(Algorithm::Es256).unwrap();
        let scene = Self { folder, issuer: key(), client: key() };
        let mut jwk = scene.issuer.public_jwk().clone();
        jwk["kid"] = json!("k1");
        scene.write("jwks.json", &json!({ "keys": [jwk] }).to_string());
        scene.write("keybound.yaml", &configuration("keys: { jwks_file: jwks.json }", "{ scopes: [orders] }"));
        scene
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn token(&self, changed: Value) -> String {
        let mut header = Header::new(Signs::ES256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some("k1".to_owned());
        let mut claims = json!({
            "iss": "https://as.example", "aud": "https://rs.example", "sub": "alice", "scope": "orders secret-scope",
            "iat": NOW, "exp": NOW + 300, "cnf": { "jkt": self.client.thumbprint().to_string() },
        });
        for (name, value) in changed.as_object().unwrap() {
            claims[name] = value.clone();
        }
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ec_der(self.issuer.pkcs8())).unwrap()
    }

    fn proof(&self, token: &str, method: &str, seconds_ago: i64) -> String {
        let request = ProofRequest {
            method,
            url: "https://rs.example/orders",
            token: Some(token),
            nonce: None,
            issued_at: UnixTime::from_secs(NOW - seconds_ago),
            jti: None,
        };
        self.client.prove(&request).unwrap()
    }

    /// Explains at [`NOW`], with the configuration unless the arguments name what is known.
    fn explain(&self, token: &str, proof: Option<&str>, more: &[&str]) -> Ran {
        let at = NOW.to_string();
        let mut arguments = vec!["explain", "--url", URL, "--at", &at];
        if !more.contains(&"--jwks") || more.contains(&"--config") {
            arguments.extend(["--config", "keybound.yaml"]);
        }
        arguments.extend(more.iter().filter(|argument| **argument != "--config"));
        if let Some(proof) = proof {
            self.write("proof", proof);
            arguments.extend(["--proof-file", "proof"]);
        }
        let ran = run_with(Some(token), &self.folder, &arguments);
        let parts = token.split('.').chain(proof.unwrap_or_default().split('.')).filter(|part| part.len() > 20);
        for part in parts {
            assert!(!ran.out.contains(part) && !ran.err.contains(part), "{}{}", ran.out, ran.err);
        }
        ran
    }
}

fn configuration(keys: &str, access: &str) -> String {
    format!(
        "listeners: [{{ address: 127.0.0.1:8080, trusted_proxies: [127.0.0.1], client_certificate_header: client-cert }}]\nissuers:\n  - issuer: https://as.example\n    \
         audiences: [https://rs.example]\n    {keys}\nroutes:\n  - name: orders\n    match: {{ path_prefix: /orders }}\n    \
         upstream: http://127.0.0.1:9\n    access: {access}\n"
    )
}

/// The line of a check.
fn line<'o>(out: &'o str, what: &str) -> &'o str {
    out.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what} in {out}"))
}

#[test]
fn a_good_request_passes_every_check() {
    let scene = Scene::new();
    let token = scene.token(json!({}));
    let proof = scene.proof(&token, "GET", 5);
    let Ran { code, out, err } = scene.explain(&token, Some(&proof), &[]);
    assert!(code == 0 && err.is_empty() && !out.contains('✘'), "{out}{err}");
    let jkt = scene.client.thumbprint().to_string();
    for (what, holds) in [
        ("✔ target", "https://rs.example/orders"),
        ("✔ route ", "orders"),
        ("✔ iss ", "https://as.example"),
        ("✔ cnf", &jkt),
        ("✔ htu", "RFC 9449 §4.3 (9)"),
        ("✔ iat", "5 s ago"),
        ("– nonce", "none is demanded"),
        ("– used before", "only the running gateway knows"),
        ("✔ scope", "orders"),
    ] {
        assert!(line(&out, what).contains(holds), "{what}: {out}");
    }
    assert!(out.ends_with("would pass, if the proof, where there is one, was not used before.\n"), "{out}");
    // The same by variable.
    let output = assert_cmd::Command::new(BIN)
        .current_dir(&scene.folder)
        .env("KEYBOUND_TOKEN", &token)
        .env("KEYBOUND_PROOF", &proof)
        .args(["explain", "--url", URL, "--config", "keybound.yaml", "--at", "2027-01-15T08:00:00Z"])
        .timeout(PATIENCE)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn every_mistake_shows_and_the_first_one_is_the_verdict() {
    let scene = Scene::new();
    let token = scene.token(json!({ "aud": "https://other.example", "exp": NOW - 60, "scope": "x" }));
    let proof = scene.proof(&token, "POST", 500);
    let Ran { code, out, .. } = scene.explain(&token, Some(&proof), &[]);
    assert_eq!(code, 1, "{out}");
    let audience = "token_audience: expected https://rs.example, found https://other.example";
    for (what, says) in [
        ("✘ aud", audience),
        ("✘ exp", "token_expired: expected an exp in the future, found 60 s ago"),
        ("✘ htm", "proof_method: expected GET, found POST"),
        ("✔ htu", "https://rs.example/orders"),
        ("✘ iat", "proof_stale: expected iat from 90 s ago to 30 s ahead, found 500 s ago"),
        ("✘ scope", "scope_missing: expected orders, found x"),
    ] {
        assert!(line(&out, what).contains(says), "{what}: {out}");
    }
    let last = out.lines().last().unwrap();
    assert!(last.contains("refused: 401 invalid_token, token_audience. Client: Ask for a token for this API"), "{out}");
    assert!(last.contains("Operator: Does `audiences` hold"), "{out}");

    let Ran { code, out, .. } = scene.explain(&token, Some(&proof), &["--json"]);
    let all: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 1);
    assert_eq!(
        (&all["verdict"], &all["reason"], &all["status"]),
        (&json!("refused"), &json!("token_audience"), &json!(401))
    );
    let checks = all["checks"].as_array().unwrap();
    let htm = checks.iter().find(|check| check["what"] == "htm").unwrap();
    assert_eq!((&htm["outcome"], &htm["expected"], &htm["found"]), (&json!("fails"), &json!("GET"), &json!("POST")));
    assert_eq!((&htm["reason"], &htm["error"]), (&json!("proof_method"), &json!("invalid_dpop_proof")));
}

#[test]
fn a_certificate_and_the_scheme_can_be_given() {
    let scene = Scene::new();
    assert_eq!(run_with(None, &scene.folder, &["key", "-o", "c.pem", "-c", "c.crt"]).code, 0);
    assert_eq!(run_with(None, &scene.folder, &["key", "-o", "d.pem", "-c", "d.crt"]).code, 0);
    let pem = fs::read(scene.folder.path().join("c.crt")).unwrap();
    let der = <rustls::pki_types::CertificateDer as rustls::pki_types::pem::PemObject>::from_pem_slice(&pem).unwrap();
    let x5t = base64url::encode(&Sha256::digest(&der));
    let token = scene.token(json!({ "cnf": { "x5t#S256": x5t } }));
    for (arguments, code, verdict) in [
        (&["--cert", "c.crt"][..], 0, "would pass"),
        (&["--cert", "d.crt"], 1, "certificate_mismatch"),
        (&[], 1, "certificate_missing"),
        (&["--cert", "c.crt", "--scheme", "DPoP"], 1, "token_not_dpop_bound"),
    ] {
        let ran = scene.explain(&token, None, arguments);
        assert_eq!(ran.code, code, "{arguments:?} {}", ran.out);
        assert!(ran.out.lines().last().unwrap().contains(verdict), "{arguments:?} {}", ran.out);
    }
    let bound = scene.token(json!({}));
    let verdict = |arguments| scene.explain(&bound, None, arguments).out.lines().last().unwrap().to_owned();
    assert!(verdict(&[]).contains("dpop_token_as_bearer"));
    assert!(verdict(&["--scheme", "dpop"]).contains("proof_missing"));
}

#[test]
fn a_key_set_alone_is_enough_for_a_look_and_no_keys_leave_it_undecided() {
    let scene = Scene::new();
    let token = scene.token(json!({ "iss": "https://another.example", "aud": "anybody" }));
    let proof = scene.proof(&token, "GET", 0);
    let Ran { code, out, .. } = scene.explain(&token, Some(&proof), &["--jwks", "jwks.json"]);
    assert!(code == 0 && line(&out, "– aud").contains("found anybody"), "{out}");

    scene.write("keybound.yaml", &configuration("clock_skew: 10s", "{}"));
    let token = scene.token(json!({}));
    let proof = scene.proof(&token, "GET", 0);
    let Ran { code, out, .. } = scene.explain(&token, Some(&proof), &[]);
    assert!(code == 1 && line(&out, "– signature").contains("name them with --jwks"), "{out}");
    assert!(out.lines().last().unwrap().contains("not all could be asked"), "{out}");
    let Ran { code, out, .. } = scene.explain(&token, Some(&proof), &["--config", "--jwks", "jwks.json"]);
    assert!(code == 0 && out.contains("✔ signature"), "{out}");
    let mut bent = token.clone();
    let at = bent.len() - 20;
    bent.replace_range(at..=at, if bent.as_bytes()[at] == b'A' { "B" } else { "A" });
    let Ran { code, out, .. } = scene.explain(&bent, Some(&proof), &["--config", "--jwks", "jwks.json"]);
    assert!(code == 1 && out.contains("✘ signature"), "{out}");
}

#[test]
fn routes_that_are_open_or_only_observe_say_so() {
    let scene = Scene::new();
    let token = scene.token(json!({ "exp": NOW - 60 }));
    for (access, code, verdict) in [
        ("{ mode: public }", 0, "the route is public"),
        ("{ mode: observe }", 1, "token_expired (the route only observes: it passes unproven)"),
    ] {
        scene.write("keybound.yaml", &configuration("keys: { jwks_file: jwks.json }", access));
        let ran = scene.explain(&token, None, &[]);
        assert_eq!(ran.code, code, "{}{}", ran.out, ran.err);
        assert!(ran.out.lines().last().unwrap().contains(verdict), "{}", ran.out);
    }
    // Nobody looks at credentials there, and a token in the query would reach the API.
    scene.write("keybound.yaml", &configuration("keys: { jwks_file: jwks.json }", "{ mode: public }"));
    let in_query = format!("{URL}&access_token=abc");
    let in_query = ["explain", "--config", "keybound.yaml", "--url", &in_query];
    let Ran { code, out, .. } = run_with(Some(&token), &scene.folder, &in_query);
    assert!(
        code == 1 && out.lines().last().unwrap().contains("refused: 400 invalid_request, credentials_multiple"),
        "{out}"
    );
    scene.write("keybound.yaml", &configuration("keys: { jwks_file: jwks.json }", "{ mode: observe }"));
    let elsewhere = ["explain", "--config", "keybound.yaml", "--url", "https://rs.example/other"];
    let Ran { code, out, .. } = run_with(Some(&token), &scene.folder, &elsewhere);
    assert!(code == 1 && out.lines().last().unwrap().contains("404, no_route"), "{out}");
}

#[test]
fn what_is_missing_is_wrong_usage_and_what_is_unreadable_is_named() {
    let scene = Scene::new();
    let explain = |token, more: &[&str]| run_with(token, &scene.folder, &[&["explain", "--url", URL], more].concat());
    let token = scene.token(json!({}));
    for (token, more, part) in [
        (Some(&*token), &[][..], "--config <FILE>|--jwks <FILE>"),
        (None, &["--jwks", "jwks.json"], "KEYBOUND_TOKEN"),
        (Some(&*token), &["--jwks", "jwks.json", "--at", "tomorrow"], "2026-11-26T20:00:00Z"),
        (Some(&*token), &["--jwks", "jwks.json", "--scheme", "basic"], "possible values"),
    ] {
        let Ran { code, out, err } = explain(token, more);
        assert!(code == 2 && out.is_empty() && err.contains(part), "{more:?}: {code} {err}");
    }
    scene.write("empty", "");
    for (more, part) in [
        (&["--jwks", "none.json"][..], "none.json"),
        (&["--jwks", "jwks.json", "--proof-file", "none"], "cannot read the proof file none"),
        (&["--jwks", "jwks.json", "--proof-file", "empty"], "empty: expected one proof, found nothing"),
        (&["--jwks", "jwks.json", "--cert", "empty"], "cannot use the certificate file empty"),
        (&["--config", "none.yaml"], "none.yaml"),
    ] {
        let Ran { code, out, err } = explain(Some(&token), more);
        assert!(code == 1 && out.is_empty() && err.contains(part), "{more:?}: {code} {err}");
    }
}
