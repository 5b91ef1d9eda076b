//! 3.10: the confirmation decides, whatever the scheme.

use keybound::refusal::Reason;
use keybound::verify::Accepted;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::keys::b64;
use crate::support::wire::Http;
use crate::support::{Identity, Plan, world};

#[tokio::test]
async fn neg_143_and_155_no_confirmation_at_the_top() {
    let world = world().await;
    world.refuses(Reason::TokenNotDpopBound, &world.good().no_claim("cnf")).await;
    let jkt = world.k1.thumbprint();
    for name in ["act", "token_introspection"] {
        let shot = world.good().no_claim("cnf").claim(name, json!({"cnf": {"jkt": jkt}}));
        world.refuses(Reason::TokenNotDpopBound, &shot).await;
        world.refuses(Reason::TokenUnbound, &shot.scheme("Bearer")).await;
    }
}

#[tokio::test]
async fn neg_144_and_145_a_confirmation_that_is_none() {
    let world = world().await;
    let jkt = world.k1.thumbprint();
    let hex: String =
        keybound::verify::base64url::decode(&jkt).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    for cnf in [
        Value::Null,
        json!(1),
        json!(true),
        json!("x"),
        json!([]),
        json!({"jkt": 1}),
        json!({"jkt": ""}),
        json!({"jkt": &jkt[..42]}),
        json!({"jkt": format!("{jkt}=")}),
        json!({"jkt": hex}),
        json!({"jkt": format!("{}!", &jkt[..42])}),
        json!({"x5t#S256": []}),
        json!({"jkt": jkt, "x5t#S256": ""}),
    ] {
        world.refuses(Reason::ConfirmationMalformed, &world.good().claim("cnf", cnf.clone())).await;
        world.refuses(Reason::ConfirmationMalformed, &world.good().claim("cnf", cnf).scheme("Bearer").no_proof()).await;
    }
}

#[tokio::test]
async fn neg_146_and_147_other_computations_of_the_thumbprint() {
    let world = world().await;
    let jwk = world.k1.jwk();
    let (x, y) = (&jwk["x"], &jwk["y"]);
    let as_sent = format!(r#"{{"kty":"EC","x":{x},"y":{y},"crv":"P-256"}}"#);
    let spaced = format!(r#"{{"crv": "P-256", "kty": "EC", "x": {x}, "y": {y}}}"#);
    for text in [as_sent, spaced] {
        let shot = world.good().claim("cnf", json!({"jkt": b64(Sha256::digest(text.as_bytes()))}));
        world.refuses(Reason::ProofKeyMismatch, &shot).await;
    }
    let jkt = world.k1.thumbprint();
    // The last character of 43 carries four bits: keep it, so that the text stays a thumbprint.
    let swap = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    let other: String = jkt[..42].chars().map(swap).chain(jkt[42..].chars()).collect();
    world.refuses(Reason::ProofKeyMismatch, &world.good().claim("cnf", json!({"jkt": other}))).await;
}

#[tokio::test]
async fn neg_148_nothing_that_can_be_enforced() {
    let world = world().await;
    let jwk = world.k1.jwk();
    for cnf in [
        json!({}),
        json!({"jwk": jwk}),
        json!({"kid": "k"}),
        json!({"jwe": "x"}),
        json!({"jku": "https://x"}),
        json!({"x5t": "T8Qp8fPmVYqb9iHyzQUaAbxBedY"}),
    ] {
        world.refuses(Reason::ConfirmationUnenforceable, &world.good().claim("cnf", cnf.clone())).await;
        let bearer = world.good().claim("cnf", cnf).scheme("Bearer").no_proof();
        world.refuses(Reason::ConfirmationUnenforceable, &bearer).await;
    }
}

#[tokio::test]
async fn neg_149_and_150_and_pos_37_a_token_bound_twice_proves_both() {
    let world = Plan::mtls().start().await;
    let (own, other) = (Identity::self_signed(), Identity::self_signed());
    let cnf = json!({"jkt": world.k1.thumbprint(), "x5t#S256": own.x5t()});
    let twice = || world.good().claim("cnf", cnf.clone());
    world.passes(&twice().dial(world.dial_as(&own))).await;
    world.refuses(Reason::CertificateMissing, &twice()).await;
    world.refuses(Reason::CertificateMismatch, &twice().dial(world.dial_as(&other))).await;
    world.refuses(Reason::ProofMissing, &twice().dial(world.dial_as(&own)).no_proof()).await;
    let bearer = twice().dial(world.dial_as(&own)).scheme("Bearer").no_proof();
    world.refuses(Reason::DpopTokenAsBearer, &bearer).await;
}

#[tokio::test]
async fn neg_151_a_certificate_bound_token_under_the_dpop_scheme() {
    let world = Plan::mtls().start().await;
    let own = Identity::self_signed();
    let shot = world.good().claim("cnf", json!({"x5t#S256": own.x5t()})).dial(world.dial_as(&own));
    world.refuses(Reason::TokenNotDpopBound, &shot).await;
}

#[tokio::test]
async fn neg_152_a_binding_that_the_route_does_not_accept() {
    let only_mtls = Accepted { dpop: false, mtls: true, unbound: false };
    let world = Plan { client_certificates: true, ..Plan::accepting(only_mtls) }.start().await;
    let answer = world.good().send(Http::One).await;
    assert_eq!((answer.status, world.upstream.count()), (401, 0));
    assert_eq!(world.refusals("api", Reason::BindingNotAccepted), 1);
    let challenges = answer.all("www-authenticate");
    assert!(
        challenges[0].starts_with("DPoP error=\"invalid_token\"") && challenges[1].starts_with("Bearer realm="),
        "{challenges:?}"
    );
    let own = Identity::self_signed();
    world.passes(&world.good_mtls(&own)).await;
}

#[tokio::test]
async fn neg_153_a_confirmation_twice() {
    let world = world().await;
    let jkt = world.k1.thumbprint();
    let text = Value::Object(world.good().token.claims).to_string();
    for spoiled in [
        text.replacen('{', &format!(r#"{{"cnf":{{"jkt":"{jkt}"}},"#), 1),
        text.replacen(r#""cnf":{"#, &format!(r#""cnf":{{"jkt":"{jkt}","#), 1),
    ] {
        assert_ne!(spoiled, text);
        let shot = world.good().with(|shot| shot.token.claims_text = Some(spoiled.into_bytes()));
        world.refuses(Reason::TokenMalformed, &shot).await;
    }
}

#[tokio::test]
async fn pos_36_unknown_members_beside_a_known_one() {
    let world = world().await;
    let jkt = world.k1.thumbprint();
    world.passes(&world.good().claim("cnf", json!({"jkt": jkt, "kc-jkt-type": "x", "kid": 1}))).await;
}

#[tokio::test]
async fn pos_43_a_certificate_that_the_token_does_not_name_does_not_matter() {
    let world = Plan::mtls().start().await;
    world.passes(&world.good().dial(world.dial_as(&Identity::self_signed()))).await;
}
