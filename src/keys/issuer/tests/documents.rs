//! What a JWK set may hold: NEG-187, POS-58.

use serde_json::json;

use super::*;
use crate::keys::tests::{rsa, with};

#[tokio::test]
async fn what_cannot_be_used_is_left_out_and_the_rest_serves() {
    let weak = base64_of(128);
    let server = publishing(&[
        json!({"kty": "oct", "kid": "symmetric", "k": "AAAA"}),
        json!({"kty": "RSA", "kid": "weak", "n": weak, "e": "AQAB"}),
        with(ec("encrypts"), "use", json!("enc")),
        with(ec("private"), "d", json!("AAAA")),
        json!({"kty": "XYZ", "kid": "unknown"}),
        json!("text"),
        with(ec("other curve"), "crv", json!("secp256k1")),
        with(ec("off curve"), "x", json!(crate::verify::base64url::encode(&[7; 32]))),
        ec("good"),
        rsa("good too"),
    ])
    .await;
    let gateway = Gateway::run("https://as.example", jwks_of(&server));
    gateway.loaded().await;
    assert_eq!(gateway.issuer().status().keys, 2);
    // An RSA key without alg serves PS256 and RS256.
    assert_eq!((gateway.knows("good"), gateway.knows("good too")), (1, 2));
    for kid in ["symmetric", "weak", "encrypts", "private", "unknown", "other curve", "off curve"] {
        assert_eq!(gateway.knows(kid), 0, "{kid}");
    }
}

#[tokio::test]
async fn one_kid_may_name_several_keys() {
    let (first, second) = (ec("same"), ec("same"));
    let server = publishing(&[first, with(rsa("same"), "alg", json!("RS256")), second]).await;
    let gateway = Gateway::run("https://as.example", jwks_of(&server));
    gateway.loaded().await;
    let keys = gateway.issuer().keys().unwrap();
    let of = |algorithm| keys.candidates(Some("same"), algorithm).count();
    assert_eq!((of(Algorithm::Es256), of(Algorithm::Rs256), of(Algorithm::Ps256)), (2, 1, 0));
}

#[tokio::test]
async fn each_issuer_has_its_own_keys() {
    let (one, other) = (publishing(&[ec("one")]).await, publishing(&[ec("other")]).await);
    let settings = |name: &str, server: &TestIssuer| IssuerSettings {
        rules: IssuerRules::new(name, Vec::new()),
        source: jwks_of(server),
        roots: Some(Arc::new(RootCertStore::empty())),
    };
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(START));
    let events: Arc<dyn KeyEvents> = Arc::new(Recorder::default());
    let both = vec![settings("https://one", &one), settings("https://other", &other)];
    let issuers = Arc::new(Issuers::with_pace(both, &clock, &events, pace(), &Issuers::default()).unwrap());
    let running = Arc::clone(&issuers);
    let task = tokio::spawn(async move { running.run().await });
    until(|| issuers.all_loaded()).await;
    let knows = |name: &str, kid: &str| {
        issuers.get(name).unwrap().keys().unwrap().candidates(Some(kid), Algorithm::Es256).count()
    };
    assert_eq!((knows("https://one", "one"), knows("https://one", "other")), (1, 0));
    assert_eq!((knows("https://other", "one"), knows("https://other", "other")), (0, 1));
    let names: Vec<_> = issuers.status().into_iter().map(|status| status.issuer).collect();
    assert_eq!(names, ["https://one", "https://other"]);
    task.abort();
}

fn base64_of(bytes: usize) -> String {
    crate::verify::base64url::encode(&vec![0xFB; bytes])
}
