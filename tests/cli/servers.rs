//! The guides to authorization servers: tokens as a guide shows them, under the configuration that it shows, would pass.

use std::fs;

use jsonwebtoken::{Algorithm as Signs, EncodingKey, Header};
use keybound::prover::{ProofKey, ProofRequest};
use keybound::time::UnixTime;
use keybound::verify::{Algorithm, base64url};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::schema::repository;
use super::{Ran, folder, run_with};

/// A moment between the `iat` and the `exp` of every guide's token.
const NOW: i64 = 1_795_732_170;
const URL: &str = "https://api.example.com/orders";

/// Guide, and URL of the API.
const GUIDES: [(&str, &str); 6] = [
    ("auth0", URL),
    ("keycloak", URL),
    ("okta", URL),
    ("ping", URL),
    ("entra", URL),
    ("oidc-provider", "https://localhost:8443/orders"),
];

/// The first block of a kind.
fn block<'a>(guide: &'a str, kind: &str) -> &'a str {
    let (_, rest) = guide.split_once(&format!("```{kind}\n")).expect("the guide has such a block");
    rest.split("```").next().unwrap()
}

/// The folder of a guide's configuration, with what it names. Keys and certificates are made here, so the issuer signs
/// with ES256 whatever it is.
fn scene(guide: &str, issuer: &ProofKey) -> TempDir {
    let folder = folder();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let configuration = block(guide, "yaml").replace("    algorithms: [RS256]\n", "");
    write("keybound.yaml", &configuration);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["api.example.com".to_owned()]).unwrap().self_signed(&key).unwrap();
    for name in ["tls.crt", "tls/gateway.crt", "tls/ca.crt"] {
        write(name, &certificate.pem());
    }
    for name in ["tls.key", "tls/gateway.key"] {
        write(name, &key.serialize_pem());
    }
    let mut jwk = issuer.public_jwk().clone();
    jwk["kid"] = json!("k1");
    write("jwks.json", &json!({ "keys": [jwk] }).to_string());
    folder
}

#[test]
fn tokens_of_the_guides_would_pass() {
    for (name, url) in GUIDES {
        let guide = fs::read_to_string(repository(&format!("docs/servers/{name}.md"))).unwrap();
        let key = || ProofKey::generate(Algorithm::Es256).unwrap();
        let (issuer, client) = (key(), key());
        let folder = scene(&guide, &issuer);
        let mut shown = serde_json::Deserializer::from_str(block(&guide, "json")).into_iter::<Value>();
        let (shape, mut claims) = (shown.next().unwrap().unwrap(), shown.next().unwrap().unwrap());
        let mut header = Header::new(Signs::ES256);
        header.typ = shape["typ"].as_str().map(str::to_owned);
        header.kid = Some("k1".to_owned());
        claims["exp"] = json!(NOW + 300);
        let mut arguments =
            vec!["explain", "--config", "keybound.yaml", "--jwks", "jwks.json", "--url", url, "--token-file", "token"];
        let at = NOW.to_string();
        arguments.extend(["--at", &at]);
        let is_dpop = claims["cnf"].get("jkt").is_some();
        if is_dpop {
            claims["cnf"]["jkt"] = json!(client.thumbprint().to_string());
            arguments.extend(["--proof-file", "proof"]);
        } else {
            let own = KeyPair::generate().unwrap();
            let certificate = CertificateParams::default().self_signed(&own).unwrap();
            claims["cnf"]["x5t#S256"] = json!(base64url::encode(&Sha256::digest(certificate.der())));
            fs::write(folder.path().join("client.crt"), certificate.pem()).unwrap();
            arguments.extend(["--cert", "client.crt"]);
        }
        let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ec_der(issuer.pkcs8())).unwrap();
        fs::write(folder.path().join("token"), &token).unwrap();
        if is_dpop {
            let (token, issued_at) = (Some(&*token), UnixTime::from_secs(NOW));
            let request = ProofRequest { method: "GET", url, token, nonce: None, issued_at, jti: None };
            let proof = client.prove(&request).unwrap();
            fs::write(folder.path().join("proof"), proof).unwrap();
        }
        let Ran { code, out, err } = run_with(None, &folder, &arguments);
        assert!(code == 0 && out.contains("it would pass"), "{name}: {out}{err}");
    }
}
