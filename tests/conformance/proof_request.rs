//! 3.6, 3.7, 3.9: the proof is for this request, of now, and for this token.

use keybound::refusal::Reason;
use keybound::verify::TokenHash;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use crate::support::keys::b64;
use crate::support::{Plan, world};

#[tokio::test]
async fn neg_080_htm_missing_or_no_method() {
    let world = world().await;
    world.refuses(Reason::ProofClaims, &world.good().no_proof_claim("htm")).await;
    for htm in [json!(""), json!(1), Value::Null, json!(["GET"])] {
        world.refuses(Reason::ProofClaims, &world.good().proof_claim("htm", htm)).await;
    }
}

#[tokio::test]
async fn neg_081_and_082_another_method() {
    let world = world().await;
    for htm in ["PUT", "HEAD", "get", "Get", "GET "] {
        world.refuses(Reason::ProofMethod, &world.good().proof_claim("htm", htm)).await;
    }
    world.refuses(Reason::ProofMethod, &world.good().method("HEAD").proof_claim("htm", "GET")).await;
}

#[tokio::test]
async fn neg_083_an_overridden_method() {
    let world = world().await;
    let shot = world.good().method("POST").proof_claim("htm", "DELETE").header("X-HTTP-Method-Override", "DELETE");
    world.refuses(Reason::ProofMethod, &shot).await;
    world.passes(&world.good().method("POST").header("X-HTTP-Method-Override", "DELETE")).await;
    assert_eq!(world.upstream.last().header("x-http-method-override"), None);
}

#[tokio::test]
async fn neg_084_htu_missing_or_no_uri() {
    let world = world().await;
    world.refuses(Reason::ProofClaims, &world.good().no_proof_claim("htu")).await;
    for htu in [json!(""), json!(1), Value::Null, json!([])] {
        world.refuses(Reason::ProofClaims, &world.good().proof_claim("htu", htu)).await;
    }
}

#[tokio::test]
async fn neg_085_to_097_and_105_another_uri() {
    let world = world().await;
    for htu in [
        ":::*;",
        "/api/item",
        "//rs.example/api/item",
        "https:rs.example/api/item",
        "https://rs.example/api/ item",
        "https://rs.example/api/\u{7}item",
        "https:\\\\rs.example\\api\\item",
        "https://other.example/api/item",
        "https://rs.example/api/item/ohnonotagain",
        "https://rs.example/api",
        "http://rs.example/api/item",
        "wss://rs.example/api/item",
        "ftp://rs.example/api/item",
        "data:,x",
        "https://rs.example:8443/api/item",
        "https://rs.example:80/api/item",
        "https://rs.example/api/item/",
        "https://rs.example/API/item",
        "https://user@rs.example/api/item",
        "https://rs.example@evil/api/item",
        "https://rs.example/api%2Fitem",
        "https://rs.example/%2561pi/item",
        "https://rs.example/%zz",
        "https://rs.example/api/item%",
        "https://rs.example/%c0%ae",
        "https://rs.example/api//item",
        "https://rs.example./api/item",
        "https://rs\u{ff0e}example/api/item",
        "https://2130706433/api/item",
        "https://rs.example:0443/api/item",
        "https://rs.example:65536/api/item",
        "https://rs.example:-1/api/item",
        "http://127.0.0.1:8080/api/item",
    ] {
        world.refuses(Reason::ProofTarget, &world.good().proof_claim("htu", htu)).await;
    }
}

#[tokio::test]
async fn neg_089_and_092_and_093_and_095_another_uri_was_asked_for() {
    let world = world().await;
    for (target, htu) in [
        ("/a/", "https://rs.example/a"),
        ("/a%40b", "https://rs.example/a@b"),
        ("/a@b", "https://rs.example/a%40b"),
        ("/a%3Ab", "https://rs.example/a:b"),
        ("/a/b", "https://rs.example/a%2Fb"),
        ("/%2561", "https://rs.example/a"),
        ("/%2561", "https://rs.example/%61"),
        ("/a//b", "https://rs.example/a/b"),
    ] {
        world.refuses(Reason::ProofTarget, &world.good().target(target).proof_claim("htu", htu)).await;
    }
}

#[tokio::test]
async fn neg_096_other_spellings_of_an_address() {
    let world = world().await;
    let asked = || world.good().with(|shot| shot.host = Some("127.0.0.1".to_owned()));
    let htu = |host: &str| format!("https://{host}/api/item");
    for host in ["2130706433", "0x7f.0.0.1", "0x7f000001", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]", "localhost"] {
        world.refuses(Reason::ProofTarget, &asked().proof_claim("htu", htu(host))).await;
    }
    world.passes(&asked().proof_claim("htu", htu("127.0.0.1"))).await;
}

#[tokio::test]
async fn neg_097_an_internal_or_stripped_url() {
    let mut plan = Plan::default();
    plan.forward.strip_prefix = Some("/api".to_owned());
    let world = plan.start().await;
    world.refuses(Reason::ProofTarget, &world.good().proof_claim("htu", "https://rs.example/item")).await;
    let internal = format!("http://{}/item", world.upstream.address);
    world.refuses(Reason::ProofTarget, &world.good().proof_claim("htu", internal)).await;
    assert_eq!(world.upstream.last().target, "/item?q=1", "the good sibling went there without the prefix");
}

#[tokio::test]
async fn neg_098_forwarded_hosts_of_strangers_count_for_nothing() {
    let world = world().await;
    for (name, value) in [
        ("X-Forwarded-Host", "evil.example"),
        ("Forwarded", "host=evil.example;proto=https"),
        ("X-Original-URL", "/evil"),
    ] {
        let shot = world.good().header(name, value).proof_claim("htu", "https://evil.example/api/item");
        world.refuses(Reason::ProofTarget, &shot).await;
    }
}

#[tokio::test]
async fn neg_102_a_proof_for_another_route() {
    let mut plan = Plan::default();
    plan.routes_before.push(crate::support::public_route("low", "/low"));
    let world = plan.start().await;
    world.refuses(Reason::ProofTarget, &world.good().proof_claim("htu", "https://rs.example/low")).await;
}

#[tokio::test]
async fn neg_103_an_endless_htu() {
    let world = world().await;
    let htu = format!("https://rs.example/./{}../api/item", "a/../".repeat(900));
    world.refuses(Reason::ProofTarget, &world.good().proof_claim("htu", htu)).await;
}

#[tokio::test]
async fn neg_110_to_112_iat_missing_or_no_date() {
    let world = world().await;
    world.refuses(Reason::ProofClaims, &world.good().no_proof_claim("iat")).await;
    world.refuses(Reason::ProofClaims, &world.good().no_proof_claim("iat").proof_claim("nonce", "n")).await;
    let now = world.now();
    for iat in [
        json!(now.to_string()),
        json!(true),
        Value::Null,
        json!([]),
        json!({}),
        json!(-1),
        json!(-0.0),
        json!(9_223_372_036_854_775_808_u64),
    ] {
        world.refuses(Reason::ProofClaims, &world.good().proof_claim("iat", iat)).await;
    }
}

#[tokio::test]
async fn neg_112_numbers_that_are_none() {
    let world = world().await;
    for number in ["1e400", "NaN", "Infinity", "01800000000"] {
        let shot = world.good().frozen();
        let token = shot.token_text();
        let mut proof = shot.proof.clone().unwrap();
        proof.claims.insert("ath".into(), crate::support::mint::ath(&token).into());
        proof.claims.remove("iat");
        let claims = Value::Object(proof.claims.clone()).to_string();
        proof.claims_text = Some(claims.replacen('{', &format!("{{\"iat\":{number},"), 1).into_bytes());
        let compact = proof.compact();
        let shot = shot.with(|shot| shot.proof_lines = Some(vec![compact.into_bytes()]));
        world.refuses(Reason::ProofMalformed, &shot).await;
    }
}

#[tokio::test]
async fn neg_113_too_old() {
    let world = world().await;
    let now = world.now();
    for age in [91, 300, 3600] {
        world.refuses(Reason::ProofStale, &world.good().proof_claim("iat", now - age)).await;
    }
}

#[tokio::test]
async fn neg_114_and_116_too_far_in_the_future() {
    let world = world().await;
    let now = world.now();
    for ahead in [31, 65, 303, 3600] {
        world.refuses(Reason::ProofFuture, &world.good().proof_claim("iat", now + ahead)).await;
    }
    // In milliseconds it is a date beyond all dates.
    world.refuses(Reason::ProofClaims, &world.good().proof_claim("iat", now * 1000)).await;
}

#[tokio::test]
async fn neg_117_and_118_exp_and_nbf_of_a_proof() {
    let world = world().await;
    let now = world.now();
    world.refuses(Reason::ProofStale, &world.good().proof_claim("exp", now - 60)).await;
    world.refuses(Reason::ProofFuture, &world.good().proof_claim("nbf", now + 60)).await;
    world.passes(&world.good().proof_claim("nbf", now - 3600)).await;
    for name in ["exp", "nbf"] {
        for value in [json!("1"), json!(true), Value::Null] {
            world.refuses(Reason::ProofClaims, &world.good().proof_claim(name, value)).await;
        }
    }
}

#[tokio::test]
async fn pos_18_to_21_the_edges_of_time() {
    let world = world().await;
    let now = world.now();
    for iat in [json!(now - 10), json!(now + 8), json!(now - 90), json!(now + 30), json!(now as f64 + 0.25)] {
        world.passes(&world.good().proof_claim("iat", iat)).await;
    }
    world.passes(&world.good().proof_claim("nbf", now).proof_claim("exp", now + 300)).await;
}

#[tokio::test]
async fn neg_120_to_123_jti() {
    let world = world().await;
    world.refuses(Reason::ProofClaims, &world.good().no_proof_claim("jti")).await;
    for jti in [json!(""), json!(1), Value::Null, json!([]), json!({}), json!("x".repeat(513))] {
        world.refuses(Reason::ProofClaims, &world.good().proof_claim("jti", jti)).await;
    }
    world.passes_over(crate::support::wire::Http::One, &world.good().proof_claim("jti", "x".repeat(512))).await;
}

#[tokio::test]
async fn neg_135_and_138_ath_missing_or_no_text() {
    let world = world().await;
    world.refuses(Reason::ProofClaims, &world.good().no_proof_claim("ath")).await;
    for ath in [json!(""), json!(1), Value::Null, json!([])] {
        world.refuses(Reason::ProofClaims, &world.good().proof_claim("ath", ath)).await;
    }
}

#[tokio::test]
async fn neg_136_ath_of_another_token_of_the_same_key() {
    let world = world().await;
    let other = crate::support::mint::ath(&world.good().token_text());
    world.refuses(Reason::ProofTokenHash, &world.good().proof_claim("ath", other)).await;
}

#[tokio::test]
async fn neg_137_and_139_other_spellings_of_ath() {
    let world = world().await;
    // One whose hash looks different in the other alphabet.
    let (token, hash, right) = loop {
        let token = world.good().claim("jti", crate::support::mint::jti()).token_text();
        let hash = Sha256::digest(token.as_bytes());
        let right = b64(hash);
        if right.contains(['-', '_']) {
            break (token, hash, right);
        }
    };
    let sha1 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes());
    assert!(TokenHash::of(&token).is_spelled(&right));
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    // 43 characters carry 258 bits: the last two are nothing, and four last characters decode to the same hash.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.find(right.chars().last().unwrap()).unwrap();
    let stray = format!("{}{}", &right[..42], alphabet.as_bytes()[last + 1] as char);
    let payload = keybound::verify::base64url::decode(token.split('.').nth(1).unwrap()).unwrap();
    let spellings = [
        hex,
        format!("{right}="),
        right.replace('-', "+").replace('_', "/"),
        stray,
        b64(sha1),
        b64(Sha512::digest(token.as_bytes())),
        b64(Sha256::digest(payload)),
        b64(Sha256::digest(format!("DPoP {token}").as_bytes())),
        format!("{right} "),
    ];
    for ath in spellings {
        let shot = world.good().with(|shot| shot.token_text = Some(token.clone())).proof_claim("ath", ath);
        world.refuses(Reason::ProofTokenHash, &shot).await;
    }
}
