//! 3.2: where credentials are looked for, and where not.

use keybound::refusal::Reason;
use keybound::verify::Accepted;

use crate::support::wire::Http;
use crate::support::{Plan, algorithms, world};

#[tokio::test]
async fn neg_001_no_credentials_at_all() {
    let world = world().await;
    world.refuses(Reason::CredentialsMissing, &world.good().no_proof().authorization(&[])).await;
}

#[tokio::test]
async fn neg_002_a_proof_without_a_token() {
    let world = world().await;
    world.refuses(Reason::CredentialsMissing, &world.good().authorization(&[])).await;
}

#[tokio::test]
async fn neg_003_the_dpop_scheme_without_a_proof() {
    let world = world().await;
    world.refuses(Reason::ProofMissing, &world.good().no_proof()).await;
}

#[tokio::test]
async fn neg_004_a_dpop_bound_token_as_bearer() {
    let world = world().await;
    world.refuses(Reason::DpopTokenAsBearer, &world.good().scheme("Bearer").no_proof()).await;
}

#[tokio::test]
async fn neg_005_a_dpop_bound_token_as_bearer_with_a_valid_proof() {
    let world = world().await;
    world.refuses(Reason::DpopTokenAsBearer, &world.good().scheme("Bearer")).await;
}

#[tokio::test]
async fn neg_004_also_where_unbound_tokens_may_pass() {
    let world = Plan::accepting(Accepted { dpop: true, mtls: false, unbound: true }).start().await;
    world.refuses(Reason::DpopTokenAsBearer, &world.good().scheme("Bearer").no_proof()).await;
}

#[tokio::test]
async fn neg_006_unknown_schemes() {
    let world = world().await;
    for line in ["Basic dXNlcjpwYXNz", "Token abc", "DPoPx {}", "Bearerish {}"] {
        world.refuses(Reason::CredentialsMissing, &world.good().authorization(&[line])).await;
    }
}

#[tokio::test]
async fn neg_007_two_authorization_lines() {
    let world = world().await;
    for lines in [["DPoP {}", "DPoP {}"], ["DPoP {}", "Bearer {}"], ["Bearer {}", "Bearer {}"]] {
        world.refuses(Reason::CredentialsMultiple, &world.good().authorization(&lines)).await;
    }
}

#[tokio::test]
async fn neg_008_two_credentials_in_one_line() {
    let world = world().await;
    world.refuses(Reason::CredentialsMultiple, &world.good().authorization(&["DPoP {}, Bearer bbb"])).await;
}

#[tokio::test]
async fn neg_009_to_011_what_follows_the_scheme_is_not_one_token() {
    let world = world().await;
    for line in ["DPoP tok m a l f o r m e d", "DPoP", "DPoP  ", "DPoP\t{}", "DPoP {}\"", "DPoP {}\u{e9}", "DPoP ="] {
        world.refuses(Reason::CredentialsMalformed, &world.good().authorization(&[line])).await;
    }
}

#[tokio::test]
async fn neg_012_and_014_two_dpop_lines() {
    let world = world().await;
    let good = world.good().frozen();
    let proof = good.proof_lines.clone().unwrap().remove(0);
    let doubled = good.clone().with(|shot| shot.proof_lines = Some(vec![proof.clone(), proof.clone()]));
    world.refuses(Reason::ProofMultiple, &doubled).await;
    let two = good.with(|shot| shot.proof_lines = Some(vec![proof, b"abc".to_vec()]));
    world.refuses(Reason::ProofMultiple, &two).await;
}

#[tokio::test]
async fn neg_013_one_dpop_line_with_two_proofs() {
    let world = world().await;
    world.refuses(Reason::ProofMultiple, &world.good().proof_text(|proof| format!("{proof},{proof}"))).await;
}

#[tokio::test]
async fn neg_015_an_empty_dpop_field() {
    let world = world().await;
    for line in ["", "null", " "] {
        world.refuses(Reason::ProofMalformed, &world.good().proof_field(&[line])).await;
    }
}

#[tokio::test]
async fn neg_016_a_proof_over_the_limit() {
    let world = world().await;
    world.refuses(Reason::ProofTooLarge, &world.good().proof_claim("x", "y".repeat(8000))).await;
}

#[tokio::test]
async fn neg_017_a_token_over_the_limit() {
    let world = world().await;
    world.refuses(Reason::TokenTooLarge, &world.good().claim("x", "y".repeat(16_000))).await;
}

#[tokio::test]
async fn neg_018_and_021_a_token_in_the_query() {
    let world = world().await;
    for query in [
        "access_token=abc",
        "a=1&access_token=abc",
        "access_token",
        "%61ccess_token=abc",
        "access%5Ftoken=abc",
        "a=1;access_token=abc",
        "access_token=a&access_token=b",
    ] {
        let shot = world.good().target(&format!("/api/item?{query}")).authorization(&[]);
        world.refuses(Reason::TokenInQuery, &shot).await;
    }
}

#[tokio::test]
async fn neg_019_a_token_in_the_query_and_in_the_field() {
    let world = world().await;
    world.refuses(Reason::CredentialsMultiple, &world.good().target("/api/item?access_token=abc")).await;
}

#[tokio::test]
async fn neg_020_a_token_in_a_form_body_is_not_looked_at() {
    let world = world().await;
    let token = world.good().token_text();
    let shot = world
        .good()
        .method("POST")
        .authorization(&[])
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(format!("access_token={token}"));
    world.refuses(Reason::CredentialsMissing, &shot).await;
}

#[tokio::test]
async fn neg_022_credentials_in_trailers_are_not_looked_at() {
    let world = world().await;
    let shot = world.good().method("POST");
    let token = shot.token_text();
    let proof = shot.proof_compact(&token).unwrap();
    let text = format!(
        "POST /api/item HTTP/1.1\r\nHost: rs.example\r\nTransfer-Encoding: chunked\r\nTrailer: Authorization, DPoP\r\n\r\n\
         2\r\nhi\r\n0\r\nAuthorization: DPoP {token}\r\nDPoP: {proof}\r\n\r\n"
    );
    let before = world.refusals("api", Reason::CredentialsMissing);
    let answer = world.dialer.send_bytes(text.as_bytes(), false).await.unwrap();
    assert_eq!((answer.status, world.upstream.count()), (401, 0));
    assert_eq!(world.refusals("api", Reason::CredentialsMissing), before + 1);
    world.passes(&world.good()).await;
}

#[tokio::test]
async fn neg_023_and_024_and_026_other_places() {
    let world = world().await;
    let token = world.good().token_text();
    for (name, value) in [
        ("Proxy-Authorization", format!("DPoP {token}")),
        ("Cookie", format!("access_token={token}")),
        ("Authorization_", format!("DPoP {token}")),
        ("X-Authorization", format!("DPoP {token}")),
    ] {
        let shot = world.good().authorization(&[]).header(name, value);
        world.refuses(Reason::CredentialsMissing, &shot).await;
    }
    for name in ["DPoP_", "D_PoP"] {
        let shot = world.good().frozen();
        let proof = shot.proof_lines.clone().unwrap().remove(0);
        let moved = shot.with(|shot| shot.proof_lines = Some(Vec::new())).header(name, proof);
        world.refuses(Reason::ProofMissing, &moved).await;
    }
}

#[tokio::test]
async fn neg_025_a_folded_field_line_is_not_http() {
    let world = world().await;
    for (whole, folded) in [("Authorization: DPoP ", "Authorization: DPoP\r\n "), ("DPoP: ", "DPoP:\r\n\t")] {
        let text = String::from_utf8(world.good().message().to_bytes()).unwrap();
        assert!(text.contains(whole));
        let before = world.refusals("none", Reason::MessageMalformed);
        let answer = world.dialer.send_bytes(text.replace(whole, folded).as_bytes(), false).await.unwrap();
        assert_eq!((answer.status, world.upstream.count()), (400, 0), "{folded:?}");
        world.refused("none", Reason::MessageMalformed, before + 1).await;
    }
    world.passes(&world.good()).await;
}

#[tokio::test]
async fn neg_027_an_unbound_token_under_the_dpop_scheme() {
    let world = world().await;
    world.refuses(Reason::TokenNotDpopBound, &world.good().no_claim("cnf")).await;
}

#[tokio::test]
async fn neg_028_an_unbound_bearer_token() {
    let world = world().await;
    world.refuses(Reason::TokenUnbound, &world.good().no_claim("cnf").scheme("Bearer").no_proof()).await;
}

#[tokio::test]
async fn shp_02_a_challenge_lists_the_algorithms_that_are_configured() {
    let rules = |names: &[&str]| keybound::verify::ProofRules { algorithms: algorithms(names), ..Default::default() };
    for (proofs, algs) in [
        (keybound::verify::ProofRules::default(), "ES256 PS256 EdDSA Ed25519"),
        (rules(&["ES384", "ES256"]), "ES384 ES256"),
    ] {
        let world = Plan { proofs, ..Plan::default() }.start().await;
        let anonymous = world.good().no_proof().authorization(&[]);
        let answer = anonymous.send(Http::One).await;
        assert_eq!(answer.all("www-authenticate"), [format!("DPoP algs=\"{algs}\"")]);
        let answer = world.good().no_proof().send(Http::Two).await;
        assert!(answer.header("www-authenticate").unwrap().ends_with(&format!(", algs=\"{algs}\"")), "{answer:?}");
    }
}

#[tokio::test]
async fn shp_10_head_gets_the_same_head_and_no_body() {
    let world = world().await;
    let shot = world.good().method("HEAD").no_proof();
    for http in [Http::One, Http::Two] {
        let answer = world.refuses_over(http, Reason::ProofMissing, &shot).await;
        assert!(answer.header("content-length").is_some_and(|length| length != "0"), "{answer:?}");
    }
}
