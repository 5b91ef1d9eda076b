//! 3.3: the proof as a JWS, and its header.

use keybound::refusal::Reason;
use serde_json::{Value, json};

use crate::support::keys::b64;
use crate::support::shot::Shot;
use crate::support::{Plan, algorithms, world};

fn raw_header(shot: Shot, text: impl AsRef<[u8]>) -> Shot {
    let text = text.as_ref().to_vec();
    shot.with(|shot| shot.proof.as_mut().unwrap().header_text = Some(text))
}

/// The claims as raw text, with `JTI`, `ATH` and `IAT` filled in.
fn raw_claims(shot: Shot, text: &str) -> Shot {
    let shot = shot.frozen();
    let token = shot.token_text();
    let iat = shot.proof.as_ref().unwrap().claims["iat"].to_string();
    let text = text
        .replace("JTI", &crate::support::mint::jti())
        .replace("ATH", &crate::support::mint::ath(&token))
        .replace("IAT", &iat);
    let mut proof = shot.proof.clone().unwrap();
    proof.claims_text = Some(text.into_bytes());
    let compact = proof.compact();
    shot.with(|shot| shot.proof_lines = Some(vec![compact.into_bytes()]))
}

#[tokio::test]
async fn neg_030_and_031_not_three_segments() {
    let world = world().await;
    for text in ["abc", "a.b", "a.b.c.d", "a.b.c.d.e", "...", "..", "."] {
        world.refuses(Reason::ProofMalformed, &world.good().proof_field(&[text])).await;
    }
    world.refuses(Reason::ProofMalformed, &world.good().proof_text(|proof| format!("{proof}."))).await;
}

#[tokio::test]
async fn neg_032_a_jwt_that_is_not_a_proof() {
    let world = world().await;
    let shot = world.good().no_proof_header("jwk").proof_header("typ", "JWT").proof_header("kid", "1");
    world.refuses(Reason::ProofType, &shot).await;
}

#[tokio::test]
async fn neg_033_and_034_other_spellings_of_base64url() {
    let world = world().await;
    for part in 0..3 {
        for spoil in ["=", "==", "+", "/", "!", "~"] {
            let shot = world.good().proof_text(move |proof| {
                let mut parts: Vec<String> = proof.split('.').map(str::to_owned).collect();
                parts[part].push_str(spoil);
                parts.join(".")
            });
            world.refuses(Reason::ProofMalformed, &shot).await;
        }
        for inside in [" ", "\t"] {
            let shot = world.good().proof_text(move |proof| {
                let mut parts: Vec<String> = proof.split('.').map(str::to_owned).collect();
                parts[part].insert_str(4, inside);
                parts.join(".")
            });
            world.refuses(Reason::ProofMalformed, &shot).await;
        }
    }
}

#[tokio::test]
async fn neg_035_stray_bits_in_the_last_character() {
    let world = world().await;
    // An ES256 signature's 86 characters end in one that carries two bits of nothing.
    let shot = world.good().proof_text(|mut proof| {
        let last = proof.pop().unwrap();
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let at = alphabet.find(last).unwrap();
        proof.push(alphabet.as_bytes()[at + 1] as char);
        proof
    });
    world.refuses(Reason::ProofMalformed, &shot).await;
    // Header and claims end in such a character when their length leaves a remainder of 1 by 3: spaces see to that.
    let fill = |text: String| format!("{text}{}", " ".repeat((4 - text.len() % 3) % 3));
    let shot = world.good();
    let proof = shot.proof.as_ref().unwrap();
    let header = fill(Value::Object(proof.header.clone()).to_string());
    let mut claims = proof.claims.clone();
    claims.insert("jti".to_owned(), crate::support::mint::jti().into());
    claims.insert("ath".to_owned(), crate::support::mint::ath(&shot.token_text()).into());
    let claims = fill(Value::Object(claims).to_string());
    for (part, stray) in [(0, true), (1, true), (0, false)] {
        let (header, claims) = (header.clone().into_bytes(), claims.clone().into_bytes());
        let shot = world.good().with(|shot| {
            let proof = shot.proof.as_mut().unwrap();
            (proof.header_text, proof.claims_text) = (Some(header), Some(claims));
        });
        let shot = shot.proof_text(move |proof| {
            let mut parts: Vec<String> = proof.split('.').map(str::to_owned).collect();
            let last = parts[part].pop().unwrap();
            assert!("AQgw".contains(last), "four bits of nothing");
            parts[part].push(if stray { char::from(last as u8 + 1) } else { last });
            parts.join(".")
        });
        // Without the stray bit it is the wrong token's proof and nothing worse.
        let reason = if stray { Reason::ProofMalformed } else { Reason::ProofTokenHash };
        world.refuses(reason, &shot).await;
    }
}

#[tokio::test]
async fn neg_036_parts_that_are_no_json_objects() {
    let world = world().await;
    for text in ["", "x", "[]", "\"x\"", "1", "null", "{} x", "\u{feff}{}", "{\"a\":\"\\ud800\"}"] {
        world.refuses(Reason::ProofMalformed, &raw_header(world.good(), text)).await;
        world.refuses(Reason::ProofMalformed, &raw_claims(world.good(), text)).await;
    }
    world.refuses(Reason::ProofMalformed, &raw_header(world.good(), b"{\"typ\":\"\xff\"}")).await;
}

#[tokio::test]
async fn neg_037_and_038_duplicate_members() {
    let world = world().await;
    let jwk = world.k1.jwk();
    let x = &jwk["x"];
    for text in [
        format!(r#"{{"typ":"dpop+jwt","typ":"dpop+jwt","alg":"ES256","jwk":{jwk}}}"#),
        format!(r#"{{"typ":"dpop+jwt","alg":"ES256","\u0061lg":"ES256","jwk":{jwk}}}"#),
        format!(
            r#"{{"typ":"dpop+jwt","alg":"ES256","jwk":{{"kty":"EC","crv":"P-256","x":{x},"x":{x},"y":{}}}}}"#,
            jwk["y"]
        ),
    ] {
        world.refuses(Reason::ProofMalformed, &raw_header(world.good(), text)).await;
    }
    let claims = r#""jti":"JTI","htm":"GET","htu":"https://rs.example/api/item","iat":IAT,"ath":"ATH""#;
    for more in [r#""htu":"https://rs.example/api/item""#, r#""ath":"ATH""#, r#""\u0068tu":"https://rs.example/x""#] {
        world.refuses(Reason::ProofMalformed, &raw_claims(world.good(), &format!("{{{claims},{more}}}"))).await;
    }
}

#[tokio::test]
async fn neg_039_deep_nesting_and_many_members() {
    let world = world().await;
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(1500), "]".repeat(1500));
    world.refuses(Reason::ProofMalformed, &raw_header(world.good(), &deep)).await;
    world.refuses(Reason::ProofMalformed, &raw_claims(world.good(), &deep)).await;
    // Many members are no harm as such; the bound on the proof's size bounds them.
    let many = |count: usize| (0..count).fold(world.good(), |shot, n| shot.proof_claim(&format!("m{n}"), n));
    world.passes(&many(300)).await;
    world.refuses(Reason::ProofTooLarge, &many(1000)).await;
}

#[tokio::test]
async fn neg_040_jws_json_serialization() {
    let world = world().await;
    let shot = world.good().proof_text(|proof| {
        let parts: Vec<&str> = proof.split('.').collect();
        format!(r#"{{"protected":"{}" "payload":"{}" "signature":"{}"}}"#, parts[0], parts[1], parts[2])
    });
    world.refuses(Reason::ProofMalformed, &shot).await;
    // As they really look, the commas alone make them several values.
    let forms: [fn(&[&str]) -> String; 3] = [
        |p| format!(r#"{{"payload":"{}","protected":"{}","signature":"{}"}}"#, p[1], p[0], p[2]),
        |p| format!(r#"{{"payload":"{}","signatures":[{{"protected":"{}","signature":"{}"}}]}}"#, p[1], p[0], p[2]),
        |p| {
            let one = format!(r#"{{"protected":"{}","signature":"{}"}}"#, p[0], p[2]);
            format!(r#"{{"payload":"{}","signatures":[{one},{one}]}}"#, p[1])
        },
    ];
    for form in forms {
        let shot = world.good().proof_text(move |proof| form(&proof.split('.').collect::<Vec<_>>()));
        world.refuses(Reason::ProofMultiple, &shot).await;
    }
}

#[tokio::test]
async fn neg_041_to_045_typ() {
    let world = world().await;
    world.refuses(Reason::ProofType, &world.good().no_proof_header("typ")).await;
    for typ in [
        json!("JWT"),
        json!("jwt"),
        json!("dpop+at"),
        json!("jwt+dpop"),
        json!("secevent+jwt"),
        json!("at+jwt"),
        json!("dpop+jwt+wrongyousee"),
        json!("DPoP+JWT"),
        json!("application/dpop+jwt"),
        json!(["dpop+jwt"]),
        json!(1),
        Value::Null,
        json!(""),
    ] {
        world.refuses(Reason::ProofType, &world.good().proof_header("typ", typ)).await;
    }
}

#[tokio::test]
async fn neg_046_to_049_alg() {
    let world = world().await;
    world.refuses(Reason::ProofAlgorithm, &world.good().no_proof_header("alg")).await;
    world.refuses(Reason::ProofAlgorithm, &world.good().no_proof_header("alg").proof_header("alg2", "ES256")).await;
    for alg in [
        json!("none"),
        json!("None"),
        json!("nOnE"),
        json!("HS256"),
        json!("HS384"),
        json!("HS512"),
        json!(1),
        json!(true),
        Value::Null,
        json!(""),
        json!("es256"),
        json!("ES256K"),
        json!("Ed448"),
        json!(["ES256"]),
    ] {
        world.refuses(Reason::ProofAlgorithm, &world.good().proof_header("alg", alg)).await;
    }
    let unsigned = world.good().proof_header("alg", "none").proof_text(|proof| {
        let (input, _) = proof.rsplit_once('.').unwrap();
        format!("{input}.")
    });
    world.refuses(Reason::ProofAlgorithm, &unsigned).await;
}

#[tokio::test]
async fn neg_048_an_hmac_under_the_public_key() {
    let world = world().await;
    let key = world.k1.jwk().to_string();
    let shot = world.good().proof_header("alg", "HS256").proof_text(move |proof| {
        let (input, _) = proof.rsplit_once('.').unwrap();
        let tag = aws_lc_rs::hmac::sign(
            &aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key.as_bytes()),
            input.as_bytes(),
        );
        format!("{input}.{}", b64(tag))
    });
    world.refuses(Reason::ProofAlgorithm, &shot).await;
}

#[tokio::test]
async fn neg_050_an_algorithm_that_is_not_enabled() {
    let world = world().await;
    let rs256 = std::sync::Arc::new(crate::support::keys::Key::new("RS256"));
    world.refuses(Reason::ProofAlgorithm, &Shot::dpop(&world, &rs256)).await;
    let only_eddsa = Plan {
        proofs: keybound::verify::ProofRules { algorithms: algorithms(&["EdDSA"]), ..Default::default() },
        ..Plan::default()
    };
    let world = only_eddsa.start().await;
    let answer = world.good().send(crate::support::wire::Http::One).await;
    assert_eq!(world.refusals("api", Reason::ProofAlgorithm), 1);
    assert!(answer.header("www-authenticate").unwrap().contains(r#"algs="EdDSA Ed25519""#), "{answer:?}");
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn neg_051_and_052_critical_extensions() {
    let world = world().await;
    for crit in [json!(["exp"]), json!(["b64"]), json!([]), json!("x"), json!(["unknown"])] {
        world.refuses(Reason::ProofCritical, &world.good().proof_header("crit", crit)).await;
    }
    world.refuses(Reason::ProofCritical, &world.good().proof_header("b64", false)).await;
    let both = world.good().proof_header("b64", false).proof_header("crit", json!(["b64"]));
    world.refuses(Reason::ProofCritical, &both).await;
}

#[tokio::test]
async fn neg_053_a_key_by_reference_is_no_key() {
    let world = world().await;
    for name in ["jku", "x5u", "x5c", "kid"] {
        let shot = world.good().no_proof_header("jwk").proof_header(name, "https://evil.example/");
        world.refuses(Reason::ProofKey, &shot).await;
    }
}

#[tokio::test]
async fn neg_054_and_058_references_beside_a_key_are_ignored() {
    let world = world().await;
    let evil = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    evil.set_nonblocking(true).unwrap();
    let place = format!("http://{}/", evil.local_addr().unwrap());
    for (name, value) in [
        ("jku", json!(place)),
        ("x5u", json!(place)),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
        ("kid", json!("../../etc/passwd")),
    ] {
        world.passes(&world.good().proof_header(name, value)).await;
    }
    assert!(evil.accept().is_err(), "nobody was asked for keys");
}

#[tokio::test]
async fn neg_055_and_056_a_signature_that_does_not_verify() {
    let world = world().await;
    let bent = |shot: Shot| {
        shot.with(|s| {
            s.proof.as_mut().unwrap().edit_signature = Some(|mut sig| {
                sig[7] ^= 1;
                sig
            })
        })
    };
    world.refuses(Reason::ProofSignature, &bent(world.good())).await;
    let other_claims = world.good().proof_text(|proof| {
        let parts: Vec<&str> = proof.split('.').collect();
        let claims = keybound::verify::base64url::decode(parts[1]).unwrap();
        let mut claims: Value = serde_json::from_slice(&claims).unwrap();
        claims["jti"] = json!("another");
        format!("{}.{}.{}", parts[0], b64(claims.to_string()), parts[2])
    });
    world.refuses(Reason::ProofSignature, &other_claims).await;
    let empty = world.good().with(|s| s.proof.as_mut().unwrap().edit_signature = Some(|_| Vec::new()));
    world.refuses(Reason::ProofSignature, &empty).await;
}

#[tokio::test]
async fn neg_057_signatures_of_the_wrong_form() {
    let world = world().await;
    fn der(raw: Vec<u8>) -> Vec<u8> {
        p256::ecdsa::Signature::from_slice(&raw).unwrap().to_der().as_bytes().to_vec()
    }
    let edits: [fn(Vec<u8>) -> Vec<u8>; 7] = [
        der,
        |mut sig| {
            sig.pop();
            sig
        },
        |mut sig| {
            sig.push(0);
            sig
        },
        |mut sig| {
            sig[..32].fill(0);
            sig
        },
        |mut sig| {
            sig[32..].fill(0);
            sig
        },
        |mut sig| {
            sig[..32].fill(0xFF);
            sig
        },
        |mut sig| {
            sig[32..].fill(0xFF);
            sig
        },
    ];
    for edit in edits {
        let shot = world.good().with(|s| s.proof.as_mut().unwrap().edit_signature = Some(edit));
        world.refuses(Reason::ProofSignature, &shot).await;
    }
}

#[tokio::test]
async fn neg_059_very_long_header_values() {
    let world = world().await;
    world.refuses(Reason::ProofTooLarge, &world.good().jwk("x5c", "A".repeat(12_000))).await;
}
