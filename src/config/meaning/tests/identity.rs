//! `routes[].forward.identity`, in the manner of the tests around it.

use std::time::Duration;

use crate::prover::ProofKey;
use crate::verify::Algorithm;

use super::*;

const GIVEN: &str = "    forward: { identity: { sign_with: one.pem, audience: https://orders.internal } }";

fn pem(algorithm: Algorithm) -> String {
    ProofKey::generate(algorithm).unwrap().to_pem().unwrap().to_string()
}

fn with(line: &str, files: &[(&str, &str)]) -> Settings {
    read_beside(files, &changed("route", line)).unwrap_or_else(|report| panic!("{line}\n{}", report.render(false))).0
}

#[test]
fn identity_has_the_documented_defaults() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let key = pem(algorithm);
        let settings = with(GIVEN, &[("one.pem", &key)]);
        let identity = settings.routes[0].forward.identity.as_ref().unwrap();
        assert_eq!((identity.header.as_str(), identity.issuer.as_str()), ("x-identity", "keybound"));
        assert_eq!(
            (identity.audience.as_str(), identity.lifetime),
            ("https://orders.internal", Duration::from_secs(60))
        );
        let [only] = identity.keys.as_slice() else { panic!("one key") };
        assert_eq!(only.kid(), ProofKey::from_pem(key.as_bytes()).unwrap().thumbprint());
        assert_eq!(only.algorithm(), algorithm);
    }
    assert!(settings("route", "    forward: { identity: null }").routes[0].forward.identity.is_none());
}

#[test]
fn identity_is_what_the_file_says() {
    let (one, two) = (pem(Algorithm::EdDsa), pem(Algorithm::Es256));
    let line = "    forward: { identity: { header: X-Caller, sign_with: [two.pem, one.pem], audience: orders, issuer: \
                https://gateway.example, lifetime: 5m } }";
    let settings = with(line, &[("one.pem", &one), ("two.pem", &two)]);
    let identity = settings.routes[0].forward.identity.as_ref().unwrap();
    assert_eq!((identity.header.as_str(), identity.issuer.as_str()), ("x-caller", "https://gateway.example"));
    assert_eq!((identity.audience.as_str(), identity.lifetime), ("orders", Duration::from_mins(5)));
    let algorithms: Vec<_> = identity.keys.iter().map(|key| key.algorithm()).collect();
    assert_eq!(algorithms, [Algorithm::Es256, Algorithm::EdDsa], "in the file's order");
}

#[test]
fn a_wrong_identity_is_refused_at_its_place() {
    let (one, rsa, p384) = (pem(Algorithm::EdDsa), pem(Algorithm::Ps256), pem(Algorithm::Es384));
    let files = [("one.pem", one.as_str()), ("rsa.pem", &rsa), ("p384.pem", &p384), ("empty.pem", ""), ("no.pem", "x")];
    let place = |name: &str| format!("routes[0].forward.identity.{name}");
    let (header, sign_with, audience, lifetime) =
        (place("header"), place("sign_with"), place("audience"), place("lifetime"));
    let key = |file: &str| format!("    forward: {{ identity: {{ sign_with: {file}, audience: a }} }}");
    let more = |more: &str| format!("    forward: {{ identity: {{ sign_with: one.pem, audience: a, {more} }} }}");
    for (line, field, message) in [
        (key("gone.pem"), &sign_with, "cannot be read"),
        (key("empty.pem"), &sign_with, "found an empty file"),
        (key("no.pem"), &sign_with, "P-256 or Ed25519 (PKCS#8), found no PEM"),
        (key("rsa.pem"), &sign_with, "P-256 or Ed25519 (PKCS#8), found another key"),
        (key("p384.pem"), &sign_with, "P-256 or Ed25519 (PKCS#8), found another key"),
        (key("[]"), &sign_with, "nothing could be signed"),
        (key("[one.pem, one.pem]"), &place("sign_with[1]"), "different keys"),
        (key("1"), &sign_with, "a file, or a list of files"),
        ("    forward: { identity: { audience: a } }".to_owned(), &sign_with, "missing"),
        ("    forward: { identity: { sign_with: one.pem } }".to_owned(), &audience, "missing"),
        ("    forward: { identity: { sign_with: one.pem, audience: '' } }".to_owned(), &audience, "not empty"),
        (more("lifetime: 500ms"), &lifetime, "at least 1s"),
        (more("lifetime: 301s"), &lifetime, "at most 5m"),
        (more("issuer: ''"), &place("issuer"), "not empty"),
        (more("header: Authorization"), &header, "not for a route to set"),
        (more("header: x_forwarded_for"), &header, "not for a route to set"),
        (more("header: 'a b'"), &header, "the name of a header field"),
        (more("key: x"), &place("key"), "unknown field"),
    ] {
        refused_beside(&files, &[("route", &line, field, message)]);
    }
    let twice = "    forward: { claims: { X-Identity: sub }, identity: { sign_with: one.pem, audience: a } }";
    refused_beside(&files, &[("route", twice, &header, "set twice")]);
    let public = "    access: { mode: public }\n    forward: { identity: { sign_with: one.pem, audience: a } }";
    refused_beside(&files, &[("route", public, "routes[0].forward.identity", "a public route checks nothing")]);
}

#[test]
fn no_message_shows_a_key() {
    let broken = pem(Algorithm::EdDsa).replace("-----END", "-----DNE");
    let report = read_beside(&[("one.pem", &broken)], &changed("route", GIVEN)).expect_err("a broken key");
    let secret = broken.lines().nth(1).unwrap();
    assert!(!report.render(false).contains(secret) && !format!("{report:?}").contains(secret));
    let settings = with(GIVEN, &[("one.pem", &pem(Algorithm::EdDsa))]);
    let shown = format!("{:?}", settings.routes[0].forward.identity);
    assert!(shown.contains("keys: [IdentityKey(EdDSA ") && shown.len() < 300, "{shown}");
}
