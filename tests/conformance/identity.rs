//! What an upstream is told of the caller, in a form that it can verify; read by jsonwebtoken, which is not the code
//! under test.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use keybound::identity::{Identity, IdentityKey};
use keybound::refusal::Reason;
use keybound::routes::{Forwarding, Policy};
use keybound::verify::Accepted;
use serde_json::{Value, json};

use crate::support::upstream::Seen;
use crate::support::wire::{Answer, Dialer, Http, Message};
use crate::support::{Identity as Certificate, Plan, World, public_route};

const ORDERS: &str = "https://orders.internal";

fn ed25519() -> Arc<IdentityKey> {
    let pair = Ed25519KeyPair::generate().unwrap();
    Arc::new(IdentityKey::from_der(pair.to_pkcs8v1().unwrap().as_ref()).unwrap())
}

fn p256() -> Arc<IdentityKey> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    Arc::new(IdentityKey::from_der(pair.to_pkcs8v1().unwrap().as_ref()).unwrap())
}

fn telling(keys: Vec<Arc<IdentityKey>>) -> Forwarding {
    let identity = Identity {
        header: http::HeaderName::from_static("x-identity"),
        issuer: "keybound".to_owned(),
        audience: ORDERS.to_owned(),
        lifetime: Duration::from_secs(60),
        keys,
    };
    Forwarding { identity: Some(identity), ..Forwarding::default() }
}

fn plan(keys: Vec<Arc<IdentityKey>>) -> Plan {
    let accepted = Accepted { dpop: true, mtls: true, unbound: true };
    let policy = Policy { accepted, ..Policy::default() };
    let open = public_route("open", "/open");
    Plan { forward: telling(keys), policy, client_certificates: true, routes_before: vec![open], ..Plan::default() }
}

async fn published(world: &World) -> (Answer, JwkSet) {
    let dialer = Dialer {
        address: world.server.admin().network().unwrap(),
        tls: None,
        server_name: String::new(),
        announce: Vec::new(),
    };
    let target = "/identity/jwks.json".to_owned();
    let message = Message { method: "GET".into(), target, host: Some("admin".into()), headers: vec![], body: vec![] };
    let answer = dialer.send(Http::One, &message).await.unwrap();
    let set = serde_json::from_slice(&answer.body).unwrap();
    (answer, set)
}

/// As an upstream does it: by `kid`, for itself, of the one type. Time is the test's.
async fn verified(world: &World, seen: &Seen) -> Value {
    let text = *seen.all("x-identity").first().expect("an assertion");
    assert_eq!(seen.all("x-identity").len(), 1);
    let header = jsonwebtoken::decode_header(text).unwrap();
    assert_eq!(header.typ.as_deref(), Some("identity+jwt"));
    let (_, set) = published(world).await;
    let jwk = set.find(header.kid.as_deref().expect("a kid")).expect("a published key");
    let mut validation = Validation::new(header.alg);
    validation.set_audience(&[ORDERS]);
    validation.set_issuer(&["keybound"]);
    validation.set_required_spec_claims(&["exp", "aud", "iss"]);
    validation.validate_exp = false;
    let claims: Value = jsonwebtoken::decode(text, &DecodingKey::from_jwk(jwk).unwrap(), &validation).unwrap().claims;
    validation.set_audience(&["https://payments.internal"]);
    assert!(jsonwebtoken::decode::<Value>(text, &DecodingKey::from_jwk(jwk).unwrap(), &validation).is_err());
    claims
}

#[tokio::test]
async fn an_upstream_is_told_who_was_proven_to_ask() {
    for (key, alg) in [(ed25519(), "EdDSA"), (p256(), "ES256")] {
        let world = plan(vec![Arc::clone(&key)]).start().await;
        for http in [Http::One, Http::Two] {
            let (now, auth_time) = (world.now(), world.now() - 40);
            let shot = world.good().method("POST").claim("acr", "gold").claim("auth_time", auth_time).body("x");
            let answer = world.passes_over(http, &shot).await;
            let claims = verified(&world, &world.upstream.last()).await;
            let jti = answer.header("x-request-id").unwrap();
            let expected = json!({
                "iss": "keybound", "aud": ORDERS, "iat": now, "exp": now + 60, "jti": jti,
                "sub": "alice", "client_id": "app", "scope": "read write", "acr": "gold", "auth_time": auth_time,
                "token_iss": "https://as.example", "binding": "dpop", "cnf": {"jkt": world.k1.thumbprint()},
                "htm": "POST", "htu": "https://rs.example/api/item",
            });
            assert_eq!(claims, expected, "{alg} {http:?}");
        }
        let (answer, _) = published(&world).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/jwk-set+json")));
        let set: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(set, json!({ "keys": [key.jwk()] }));
        assert_eq!((&set["keys"][0]["alg"], set["keys"][0].get("d")), (&json!(alg), None));
    }
}

#[tokio::test]
async fn an_assertion_says_what_was_proven_and_nothing_else() {
    let world = plan(vec![ed25519()]).start().await;
    let certificate = Certificate::self_signed();
    let (x5t, jkt) = (certificate.x5t(), world.k1.thumbprint());
    let both = json!({"jkt": jkt, "x5t#S256": x5t});
    for (shot, binding, cnf) in [
        (world.good(), "dpop", json!({"jkt": jkt})),
        (world.good_mtls(&certificate), "mtls", json!({"x5t#S256": x5t})),
        (world.good().claim("cnf", both.clone()).dial(world.dial_as(&certificate)), "dpop+mtls", both.clone()),
        // A certificate that nobody asked about proves nothing of a token that does not name it.
        (world.good().dial(world.dial_as(&certificate)), "dpop", json!({"jkt": jkt})),
        (world.good().no_claim("cnf").no_proof().scheme("Bearer"), "none", Value::Null),
    ] {
        for http in [Http::One, Http::Two] {
            world.passes_over(http, &shot).await;
            let claims = verified(&world, &world.upstream.last()).await;
            assert_eq!((&claims["binding"], &claims["cnf"]), (&json!(binding), &cnf), "{http:?} {claims}");
        }
    }
    world.passes_over(Http::One, &world.good().no_claim("sub").no_claim("scope").claim("acr", 7)).await;
    let claims = verified(&world, &world.upstream.last()).await;
    let absent = ["sub", "scope", "acr", "auth_time"].iter().all(|claim| claims.get(claim).is_none());
    assert!(absent && claims["client_id"] == "app", "{claims}");
}

#[tokio::test]
async fn an_assertion_does_not_outlive_its_token() {
    let world = plan(vec![ed25519()]).start().await;
    let now = world.now();
    // The last ones are accepted by the tolerance for clocks alone; what is said of them lives for a second.
    for (token_ends, ends) in [(300, 60), (61, 60), (60, 60), (59, 59), (7, 7), (1, 1), (0, 1), (-5, 1)] {
        world.passes_over(Http::One, &world.good().claim("exp", now + token_ends)).await;
        let claims = verified(&world, &world.upstream.last()).await;
        assert_eq!((&claims["iat"], &claims["exp"]), (&json!(now), &json!(now + ends)), "{token_ends}");
    }
}

#[tokio::test]
async fn no_spelling_of_a_clients_own_assertion_arrives() {
    let world = plan(vec![ed25519()]).start().await;
    let spellings = ["X-Identity", "x-identity", "X_Identity", "x_identity", "X-IDENTITY", "xidentity", "X--Identity"];
    for http in [Http::One, Http::Two] {
        for spelling in spellings {
            world.passes_over(http, &world.good().header(spelling, "forged")).await;
            let seen = world.upstream.last();
            verified(&world, &seen).await;
            let forged = seen.headers.values().any(|value| value == "forged");
            assert!(!forged, "{http:?} {spelling}: {:?}", seen.headers);

            // A route that tells nothing lets nobody else tell it either.
            let open = world.good().target_only("/open/x").authorization(&[]).no_proof().header(spelling, "forged");
            world.passes_over(http, &open).await;
            let seen = world.upstream.last();
            let told = seen.headers.iter().any(|(name, value)| value == "forged" || name == "x-identity");
            assert!(!told, "{http:?} {spelling}: {:?}", seen.headers);
        }
    }
    // Nor does a client take the gateway's away.
    world.passes_over(Http::One, &world.good().header("Connection", "X-Identity")).await;
    verified(&world, &world.upstream.last()).await;
}

#[tokio::test]
async fn a_public_route_has_none_even_for_a_good_token() {
    let world = plan(vec![ed25519()]).start().await;
    world.passes(&world.good().target("/open/x")).await;
    let seen = world.upstream.last();
    assert!(seen.header("x-identity").is_none() && seen.header("authorization").is_none(), "{:?}", seen.headers);
}

#[tokio::test]
async fn each_request_has_an_assertion_of_its_own() {
    let world = plan(vec![p256(), ed25519()]).start().await;
    let (_, set) = published(&world).await;
    assert_eq!(set.keys.len(), 2, "the one that signs, and the next");
    let mut seen = Vec::new();
    for path in ["/api/one", "/api/two?x=1"] {
        world.passes_over(Http::One, &world.good().target(path)).await;
        let claims = verified(&world, &world.upstream.last()).await;
        assert_eq!(
            jsonwebtoken::decode_header(world.upstream.last().header("x-identity").unwrap()).unwrap().kid,
            set.keys[0].common.key_id
        );
        seen.push((claims["jti"].clone(), claims["htu"].clone()));
    }
    assert_ne!(seen[0].0, seen[1].0);
    assert_eq!(
        (seen[0].1.as_str(), seen[1].1.as_str()),
        (Some("https://rs.example/api/one"), Some("https://rs.example/api/two"))
    );
}

#[tokio::test]
async fn the_gateway_takes_no_assertion_for_an_access_token() {
    let world = plan(vec![ed25519()]).start().await;
    world.passes_over(Http::One, &world.good()).await;
    let assertion = world.upstream.last().header("x-identity").unwrap().to_owned();
    world.refuses(Reason::TokenIssuer, &world.good().with(|shot| shot.token_text = Some(assertion))).await;
    let typed = world.good().token_header("typ", "identity+jwt");
    world.refuses(Reason::TokenType, &typed).await;
}

#[tokio::test]
async fn an_upstream_that_expects_an_assertion_never_goes_without() {
    let world = plan(Vec::new()).start().await;
    let answer = world.good().send(Http::One).await;
    assert_eq!((answer.status, world.upstream.count()), (503, 0), "{answer:?}");
    assert_eq!(world.refusals("api", Reason::IdentityUnavailable), 1);
}
