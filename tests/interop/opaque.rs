//! Opaque access tokens of a real authorization server: the gateway asks it, in each of the ways to show who asks and for
//! each form of answer.

use serde_json::Value;

use crate::stage::{AUDIENCE, Api, AuthorizationServer, Certificates, Gateway, Running, node};
use crate::{Call, good, refused};

const CALLS: &[Call] = &[
    good("key-bound"),
    good("key-bound, again"),
    refused("stolen, as Bearer", 401, &["Bearer invalid_token", "DPoP invalid_token"]),
    refused("stolen, with a proof by another key", 401, &["DPoP invalid_token"]),
    refused("stolen with its proof", 401, &["DPoP invalid_dpop_proof"]),
    good("certificate-bound"),
    refused("stolen, without a certificate", 401, &["Bearer invalid_token"]),
    refused("stolen, with another certificate", 401, &["Bearer invalid_token"]),
    refused("bound to nothing", 401, &["Bearer invalid_token"]),
    refused("of nobody", 401, &["DPoP invalid_token"]),
    refused("for another audience", 401, &["DPoP invalid_token"]),
    refused("without the scope", 403, &["DPoP insufficient_scope"]),
    good("a JWT"),
    refused("revoked", 401, &["DPoP invalid_token"]),
    good("certificate-bound, after all that"),
];

#[test]
fn opaque_tokens_of_a_real_authorization_server() {
    let secret = "client_id: gateway-secret, client_secret_file: gateway.secret";
    let certificate = "client_id: gateway-certificate, certificate_file: gateway.pem, key_file: gateway.key";
    let key = "client_id: gateway-key, signing_key_file: gateway.key";
    for (who, form) in [(secret, "json"), (certificate, "jwt"), (key, "json"), (secret, "jwt")] {
        play(who, form);
    }
}

fn play(who: &str, form: &str) {
    let certificates = Certificates::make();
    certificates.write("gateway.secret", "a secret: 100% & more+\n");
    let authorization_server = AuthorizationServer::start(&certificates);
    let issuer = &authorization_server.issuer;
    let api = Api::start();
    let keys = "    keys: { discover: true }\n";
    let asked = format!(
        "{keys}    introspection: {{ endpoint: {issuer}/token/introspection, {who}, response: {form}, cache: 1s }}\n"
    );
    let configuration = Gateway::configuration(&certificates, issuer, api.address, None, "");
    let gateway = Gateway::configured(&certificates, &configuration.replacen(keys, &asked, 1));

    let mut client = node("opaque.mjs");
    client
        .envs(certificates.environment())
        .env("ISSUER", issuer)
        .env("API", format!("https://localhost:{}", gateway.address.port()))
        .env("AUDIENCE", AUDIENCE);
    let mut client = Running::start(client, &certificates.file("client.log"));
    let answers: Vec<Value> = client.rest().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let log = gateway.running.so_far().join("\n");
    let seen = format!("{who} {form}\nthe client: {}\nthe gateway: {log}", client.complaints());
    assert_eq!(answers.len(), CALLS.len(), "{answers:?} {seen}");
    for (call, answer) in CALLS.iter().zip(&answers) {
        assert_eq!(answer["name"], call.name, "{seen}");
        assert!(call.comes_to(answer), "expected {} {:?}, found {answer} {seen}", call.status, call.challenges);
    }
    let reasons = ["token_inactive", "token_audience", "certificate_mismatch", "proof_key_mismatch", "proof_replayed"];
    for reason in reasons {
        assert!(log.contains(&format!("\"{reason}\"")), "{reason} {seen}");
    }
    assert!(!log.contains("cannot be asked about"), "{seen}");
    let field =
        |head: &str| head.lines().find_map(|line| line.strip_prefix("authorization: bearer ")).unwrap().to_owned();
    for token in api.requests().iter().map(|head| field(head)) {
        assert!(!log.to_ascii_lowercase().contains(&token), "no token in the log: {seen}");
    }
    assert!(!log.contains("100%") && !log.contains("PRIVATE"), "no secret in the log: {seen}");
}
