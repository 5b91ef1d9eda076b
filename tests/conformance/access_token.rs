//! 3.5, 3.12: the access token, and other JWTs that are none.

use std::sync::Arc;

use keybound::keys::{IssuerSettings, KeySource};
use keybound::refusal::Reason;
use keybound::routes::Policy;
use keybound::verify::{Accepted, IssuerRules};
use serde_json::{Value, json};

use crate::support::keys::{Key, b64};
use crate::support::mint::{Jws, jti};
use crate::support::shot::Shot;
use crate::support::wire::Http;
use crate::support::{AUDIENCE, ISSUER, Plan, jwks_of, world};

#[tokio::test]
async fn neg_076_an_access_token_as_proof() {
    let world = world().await;
    let shot = world.good().frozen();
    let token = shot.token_text();
    world.refuses(Reason::ProofType, &shot.proof_field(&[&token])).await;
}

#[tokio::test]
async fn neg_077_a_proof_as_access_token() {
    let world = world().await;
    let proof = world.good().proof_compact("x").unwrap();
    world.refuses(Reason::TokenIssuer, &world.good().with(|shot| shot.token_text = Some(proof))).await;
    // Even one that its issuer signed and that claims to be from there.
    world.refuses(Reason::TokenType, &world.good().token_header("typ", "dpop+jwt")).await;
}

#[tokio::test]
async fn neg_078_and_079_and_209_other_jwts_of_the_issuer() {
    let world = world().await;
    let id_token = world.good().token_header("typ", "JWT").claim("aud", "app").claim("nonce", "n");
    world.refuses(Reason::TokenType, &id_token).await;
    for typ in ["logout+jwt", "secevent+jwt", "token-introspection+jwt", "client-authentication+jwt"] {
        world.refuses(Reason::TokenType, &world.good().token_header("typ", typ)).await;
        world.refuses(Reason::ProofType, &world.good().proof_header("typ", typ)).await;
    }
}

#[tokio::test]
async fn neg_173_not_a_signed_jwt() {
    let world = world().await;
    for text in ["abc", "a.b", "a.b.c.d.e", "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"] {
        let shot = world.good().with(|shot| shot.token_text = Some(text.to_owned()));
        world.refuses(Reason::TokenMalformed, &shot).await;
    }
}

#[tokio::test]
async fn neg_174_typ() {
    let world = world().await;
    world.refuses(Reason::TokenType, &world.good().no_token_header("typ")).await;
    for typ in [json!("JWT"), json!("jwt"), json!("dpop+jwt"), json!(1), Value::Null, json!("")] {
        world.refuses(Reason::TokenType, &world.good().token_header("typ", typ)).await;
    }
}

#[tokio::test]
async fn neg_174_a_token_without_typ_passes_where_its_issuer_may_leave_it_out() {
    let key = Key::es256();
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("other.json");
    std::fs::write(&file, jwks_of(&[("k1", &key)]).to_string()).unwrap();
    let mut rules = IssuerRules::new("https://other.example", vec![AUDIENCE.to_owned()]);
    rules.token_types = vec!["at+jwt".to_owned(), "absent".to_owned()];
    let other = IssuerSettings { rules, source: KeySource::File(file), roots: None };
    let world = Plan { more_issuers: vec![other], ..Plan::default() }.start().await;
    let key = Arc::new(key);
    let theirs = || world.good().claim("iss", "https://other.example").with(|shot| shot.token.key = Arc::clone(&key));
    for typ in [json!("absent"), json!("JWT"), json!(""), Value::Null] {
        world.refuses(Reason::TokenType, &theirs().token_header("typ", typ)).await;
    }
    world.refuses(Reason::TokenAudience, &theirs().no_token_header("typ").claim("aud", "client")).await;
    world.refuses(Reason::TokenType, &world.good().no_token_header("typ")).await;
    world.passes(&theirs().no_token_header("typ")).await;
    world.passes(&theirs()).await;
}

#[tokio::test]
async fn neg_175_alg() {
    let world = world().await;
    for alg in [json!("none"), json!("HS256"), json!("es256"), json!(1), Value::Null] {
        world.refuses(Reason::TokenAlgorithm, &world.good().token_header("alg", alg)).await;
    }
    world.refuses(Reason::TokenAlgorithm, &world.good().no_token_header("alg")).await;
    // Known, but not allowed for the issuer; allowed, but not what the key is for.
    world.refuses(Reason::TokenAlgorithm, &world.good().token_header("alg", "RS512")).await;
    world.refuses(Reason::TokenKeyUnknown, &world.good().token_header("alg", "RS256")).await;
}

#[tokio::test]
async fn neg_176_a_signature_that_does_not_verify() {
    let world = world().await;
    let bent = world.good().with(|s| {
        s.token.edit_signature = Some(|mut sig| {
            sig[3] ^= 1;
            sig
        })
    });
    world.refuses(Reason::TokenSignature, &bent).await;
    let foreign = world.good().with(|shot| shot.token.key = Arc::new(Key::es256()));
    world.refuses(Reason::TokenSignature, &foreign).await;
    let edited = world.good().token_edit(|token| {
        let parts: Vec<&str> = token.split('.').collect();
        let claims = keybound::verify::base64url::decode(parts[1]).unwrap();
        let mut claims: Value = serde_json::from_slice(&claims).unwrap();
        claims["scope"] = json!("admin");
        format!("{}.{}.{}", parts[0], b64(claims.to_string()), parts[2])
    });
    world.refuses(Reason::TokenSignature, &edited).await;
    world.refuses(Reason::TokenKeyUnknown, &world.good().token_header("kid", "k9")).await;
}

#[tokio::test]
async fn neg_177_iss() {
    let world = world().await;
    world.refuses(Reason::TokenIssuer, &world.good().no_claim("iss")).await;
    for iss in [
        json!("https://evil.example"),
        json!("https://as.example/"),
        json!("HTTPS://as.example"),
        json!([ISSUER]),
        json!(1),
    ] {
        world.refuses(Reason::TokenIssuer, &world.good().claim("iss", iss)).await;
    }
}

#[tokio::test]
async fn neg_178_aud() {
    let world = world().await;
    world.refuses(Reason::TokenAudience, &world.good().no_claim("aud")).await;
    for aud in [
        json!("https://other.example"),
        json!([]),
        json!("https://rs.example/"),
        json!("https://rs"),
        json!("https://RS.example"),
        json!("https://rs.example.evil"),
        json!(1),
        json!([AUDIENCE, 1]),
        json!({}),
        json!(["a", "b"]),
    ] {
        world.refuses(Reason::TokenAudience, &world.good().claim("aud", aud)).await;
    }
}

#[tokio::test]
async fn neg_179_exp() {
    let world = world().await;
    let now = world.now();
    world.refuses(Reason::TokenClaims, &world.good().no_claim("exp")).await;
    for exp in [json!("1"), json!(true), Value::Null, json!(-1)] {
        world.refuses(Reason::TokenClaims, &world.good().claim("exp", exp)).await;
    }
    for exp in [now - 3600, now - 11, now - 10] {
        world.refuses(Reason::TokenExpired, &world.good().claim("exp", exp)).await;
    }
    world.passes(&world.good().claim("exp", now - 9)).await;
}

#[tokio::test]
async fn neg_179_a_remembered_token_expires_all_the_same() {
    let world = world().await;
    let expires = world.now() + 40;
    let shot = world.good().claim("exp", expires).frozen();
    let token = shot.token_text();
    let same_token = || world.good().with(|shot| shot.token_text = Some(token.clone()));
    world.passes(&same_token()).await;
    assert!(world.metric("keybound_token_cache_hits_total") > 0);
    world.set_clock(expires + 11);
    world.refuses(Reason::TokenExpired, &same_token()).await;
}

#[tokio::test]
async fn neg_207_a_remembered_token_still_needs_its_proof() {
    let world = world().await;
    let token = world.good().token_text();
    let same_token = || world.good().with(|shot| shot.token_text = Some(token.clone()));
    world.passes(&same_token()).await;
    let remembered = world.metric("keybound_token_cache_hits_total");
    let thief = Shot::dpop(&world, &world.k2);
    world.refuses(Reason::ProofKeyMismatch, &same_token().with(|shot| shot.proof = thief.proof.clone())).await;
    world.refuses(Reason::ProofMissing, &same_token().no_proof()).await;
    world.refuses(Reason::DpopTokenAsBearer, &same_token().no_proof().scheme("Bearer")).await;
    world.refuses(Reason::ProofMethod, &same_token().proof_claim("htm", "PUT")).await;
    assert_eq!(world.metric("keybound_token_cache_hits_total"), remembered + 8, "it was remembered each time");
    world.passes(&same_token()).await;
}

#[tokio::test]
async fn neg_180_nbf_and_iat_in_the_future() {
    let world = world().await;
    let now = world.now();
    world.refuses(Reason::TokenNotYetValid, &world.good().claim("nbf", now + 11)).await;
    world.refuses(Reason::TokenNotYetValid, &world.good().claim("iat", now + 61)).await;
    world.passes(&world.good().claim("nbf", now + 10).claim("iat", now + 60)).await;
}

#[tokio::test]
async fn neg_181_header_members_that_would_choose_the_key() {
    let world = world().await;
    world.refuses(Reason::TokenCritical, &world.good().token_header("crit", json!(["exp"]))).await;
    world.refuses(Reason::TokenCritical, &world.good().token_header("b64", false)).await;
    let own = Arc::new(Key::es256());
    let embedded = world.good().token_header("jwk", own.jwk()).with(|shot| shot.token.key = Arc::clone(&own));
    world.refuses(Reason::TokenSignature, &embedded).await;
    for name in ["jku", "x5u", "x5c"] {
        let shot =
            world.good().token_header(name, "https://evil.example/").with(|shot| shot.token.key = Arc::clone(&own));
        world.refuses(Reason::TokenSignature, &shot).await;
    }
}

#[tokio::test]
async fn neg_182_json_that_is_not_strict() {
    let world = world().await;
    let claims = world.good().token.claims;
    let text = Value::Object(claims).to_string();
    for spoiled in [
        text.replacen('{', r#"{"aud":"https://rs.example","#, 1),
        text.replacen('{', r#"{"\u0069ss":"https://as.example","#, 1),
        text.replacen('{', "{\"x\":\"\\ud800\",", 1),
        format!("{text} x"),
    ] {
        let shot = world.good().with(|shot| shot.token.claims_text = Some(spoiled.into_bytes()));
        world.refuses(Reason::TokenMalformed, &shot).await;
    }
    let invalid = world.good().with(|shot| shot.token.claims_text = Some(b"{\"x\":\"\xff\"}".to_vec()));
    world.refuses(Reason::TokenMalformed, &invalid).await;
    for spoil in ["=", "+"] {
        let shot = world.good().token_edit(move |token| token.replacen('.', &format!("{spoil}."), 1));
        let reason = if spoil == "=" { Reason::CredentialsMalformed } else { Reason::TokenMalformed };
        world.refuses(reason, &shot).await;
    }
}

#[tokio::test]
async fn neg_183_nobody_in_particular() {
    let world = world().await;
    world.refuses(Reason::TokenClaims, &world.good().no_claim("sub").no_claim("client_id")).await;
    world.passes(&world.good().no_claim("sub")).await;
    world.passes(&world.good().no_claim("client_id")).await;
}

#[tokio::test]
async fn neg_184_the_key_of_one_issuer_for_another() {
    let other_key = Key::es256();
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("other.json");
    std::fs::write(&file, jwks_of(&[("k1", &other_key)]).to_string()).unwrap();
    let other = IssuerSettings {
        rules: IssuerRules::new("https://other.example", vec![AUDIENCE.to_owned()]),
        source: KeySource::File(file),
        roots: None,
    };
    let world = Plan { more_issuers: vec![other], ..Plan::default() }.start().await;
    let other_key = Arc::new(other_key);
    world.refuses(Reason::TokenSignature, &world.good().with(|shot| shot.token.key = Arc::clone(&other_key))).await;
    world.refuses(Reason::TokenSignature, &world.good().claim("iss", "https://other.example")).await;
    let theirs =
        world.good().claim("iss", "https://other.example").with(|shot| shot.token.key = Arc::clone(&other_key));
    world.passes(&theirs).await;
}

#[tokio::test]
async fn neg_184_an_issuer_that_the_route_does_not_accept() {
    let mut plan = Plan::default();
    plan.policy = Policy { issuers: vec!["https://other.example".to_owned()], ..plan.policy };
    let world = plan.start().await;
    let answer = world.good().send(Http::One).await;
    assert_eq!((answer.status, world.upstream.count()), (401, 0));
    assert_eq!(world.refusals("api", Reason::TokenIssuerNotAccepted), 1);
}

#[tokio::test]
async fn neg_187_unusable_keys_of_an_issuer_are_left_out() {
    let issuer_key = Key::es256();
    let mut jwks = jwks_of(&[("k1", &issuer_key)]);
    let keys = jwks["keys"].as_array_mut().unwrap();
    keys.insert(0, json!({"kty": "oct", "kid": "k1", "k": "AQ"}));
    keys.insert(0, json!({"kty": "RSA", "kid": "k1", "n": "AQAB", "e": "AQAB"}));
    let mut private = Key::es256().jwk();
    private["d"] = json!("AQ");
    private["kid"] = json!("k1");
    keys.insert(0, private);
    let mut encryption = issuer_key.jwk();
    encryption["use"] = json!("enc");
    encryption["kid"] = json!("encryption");
    keys.push(encryption);
    let world = Plan { jwks: Some(jwks), ..Plan::default() }.start().await;
    let issuer_key = Arc::new(issuer_key);
    let theirs = || world.good().with(|shot| shot.token.key = Arc::clone(&issuer_key));
    world.passes(&theirs()).await;
    let answer = theirs().token_header("kid", "encryption").send(Http::One).await;
    assert_eq!((answer.status, world.refusals("api", Reason::TokenKeyUnknown)), (401, 1));
}

#[tokio::test]
async fn neg_188_the_tokens_error_wins_over_the_proofs() {
    let world = world().await;
    let now = world.now();
    let both = world.good().claim("exp", now - 3600).proof_claim("htm", "PUT");
    world.refuses(Reason::TokenExpired, &both).await;
    world
        .refuses(
            Reason::TokenSignature,
            &both.no_proof().claim("exp", now + 60).with(|shot| shot.token.key = Arc::new(Key::es256())),
        )
        .await;
}

#[tokio::test]
async fn neg_189_scope() {
    let mut plan = Plan::default();
    plan.policy.scopes = vec!["read".to_owned(), "orders".to_owned()];
    let world = plan.start().await;
    let answer = world.good().send(Http::One).await;
    assert_eq!((answer.status, world.upstream.count()), (403, 0));
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(
        challenge.contains(r#"error="insufficient_scope""#) && challenge.contains(r#"scope="read orders""#),
        "{challenge}"
    );
    assert_eq!(world.refusals("api", Reason::ScopeMissing), 1);
    world.passes(&world.good().claim("scope", "orders read")).await;
    // As Okta and Entra write it.
    for scp in [json!("orders read"), json!(["read", "orders"])] {
        world.passes(&world.good().no_claim("scope").claim("scp", scp)).await;
    }
    for (scope, scp) in [("read", json!("read orders")), ("", json!(["read", "orders"])), ("read", json!(1))] {
        let shot = world.good().claim("scope", scope).claim("scp", scp);
        assert_eq!(shot.send(Http::One).await.status, 403, "`scope` counts where both are there");
    }
    for scp in [json!(["read orders"]), json!(["read", 1]), json!(1), json!({"read": true}), Value::Null] {
        let shot = world.good().no_claim("scope").claim("scp", scp);
        assert_eq!(shot.send(Http::One).await.status, 401);
    }
    assert_eq!(world.refusals("api", Reason::TokenClaims), 5);
    // A thief without the key does not learn what the token may do.
    let thief = Shot::dpop(&world, &world.k2);
    let stolen = world.good().with(|shot| shot.proof = thief.proof.clone());
    assert_eq!(stolen.send(Http::One).await.status, 401);
}

#[tokio::test]
async fn neg_190_authentication() {
    let mut plan = Plan::default();
    plan.policy.acr_values = vec!["phr".to_owned()];
    plan.policy.max_auth_age = Some(std::time::Duration::from_secs(300));
    let world = plan.start().await;
    let now = world.now();
    let good = || world.good().claim("acr", "phr").claim("auth_time", now - 10);
    for (shot, reason) in [
        (good().no_claim("acr"), Reason::AuthenticationWeak),
        (good().claim("acr", "pwd"), Reason::AuthenticationWeak),
        (good().no_claim("auth_time"), Reason::AuthenticationOld),
        (good().claim("auth_time", now - 301), Reason::AuthenticationOld),
    ] {
        let before = world.refusals("api", reason);
        let answer = shot.send(Http::One).await;
        let challenge = answer.header("www-authenticate").unwrap();
        assert_eq!((answer.status, world.refusals("api", reason)), (401, before + 1), "{challenge}");
        assert!(challenge.contains(r#"acr_values="phr""#) && challenge.contains(r#"max_age="300""#), "{challenge}");
    }
    assert_eq!(world.upstream.count(), 0);
    world.passes(&good()).await;
}

#[tokio::test]
async fn neg_191_a_hostile_kid() {
    let world = world().await;
    for kid in [json!("../../x"), json!("x".repeat(10_000)), json!("k1' OR '1'='1"), json!(1), Value::Null] {
        world.refuses(Reason::TokenKeyUnknown, &world.good().token_header("kid", kid)).await;
    }
}

#[tokio::test]
async fn pos_35_other_forms_of_aud_and_typ() {
    let world = world().await;
    world.passes(&world.good().claim("aud", json!(["https://other.example", AUDIENCE]))).await;
    for typ in ["application/at+jwt", "AT+JWT", "Application/AT+jwt"] {
        world.passes(&world.good().token_header("typ", typ)).await;
    }
}

#[tokio::test]
async fn pos_58_one_kid_for_several_keys() {
    let (first, second, rsa) = (Key::es256(), Key::es256(), Key::new("PS256"));
    let jwks = jwks_of(&[("k1", &first), ("k1", &second), ("k1", &rsa)]);
    let world = Plan { jwks: Some(jwks), ..Plan::default() }.start().await;
    for key in [first, second, rsa] {
        let key = Arc::new(key);
        let shot = world.good().token_header("alg", key.alg).with(|shot| shot.token.key = Arc::clone(&key));
        world.passes(&shot).await;
    }
}

#[tokio::test]
async fn a_token_without_kid_is_tried_with_the_keys_that_fit() {
    let world = world().await;
    world.passes(&world.good().no_token_header("kid")).await;
}

#[tokio::test]
async fn pos_46_and_47_and_neg_154_unbound_tokens_where_they_may_pass() {
    let world = Plan::accepting(Accepted { dpop: true, mtls: false, unbound: true }).start().await;
    let unbound = || world.good().no_claim("cnf").scheme("Bearer").no_proof();
    world.passes(&unbound()).await;
    world.passes(&unbound().header("DPoP", "stray")).await;
    assert_eq!(world.upstream.last().header("dpop"), None, "a stray proof goes no further");
    world.refuses(Reason::ConfirmationUnenforceable, &unbound().claim("cnf", json!({"kid": "x"}))).await;
    world.refuses(Reason::ConfirmationMalformed, &unbound().claim("cnf", Value::Null)).await;
}

/// A token that nobody minted, for the header alone.
#[tokio::test]
async fn neg_175_hmac_under_the_issuers_public_key() {
    let world = world().await;
    let key = world.issuer_key.jwk().to_string();
    let jws = Jws::new(
        json!({"typ": "at+jwt", "alg": "HS256", "kid": "k1"}),
        json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": world.now() + 60, "jti": jti()}),
        Arc::clone(&world.issuer_key),
    );
    let compact = jws.compact();
    let (input, _) = compact.rsplit_once('.').unwrap();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key.as_bytes());
    let forged = format!("{input}.{}", b64(aws_lc_rs::hmac::sign(&key, input.as_bytes())));
    world.refuses(Reason::TokenAlgorithm, &world.good().with(|shot| shot.token_text = Some(forged))).await;
}
