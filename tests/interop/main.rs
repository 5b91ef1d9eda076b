//! Real OAuth clients call an API through the real binary, with tokens from a real authorization server.
//!
//! The scripts in this folder make the calls and print what came back; the tables here say what should.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must fail")]
#![allow(clippy::pedantic, missing_docs, reason = "pedantry is for what ships")]

mod grpc;
mod identity;
mod mcp;
mod nonces;
mod opaque;
#[path = "../shared/servers.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod servers;
mod stage;
#[path = "../shared/waiting.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod waiting;

use std::process::Command;

use serde_json::Value;

use stage::{AUDIENCE, Api, AuthorizationServer, Certificates, Gateway, Running, node, program, repository};
use waiting::eventually;

/// What a call of a script should come to.
struct Call {
    name: &'static str,
    status: u16,
    /// The first challenges, each a scheme and the `error` it carries, if any.
    challenges: &'static [&'static str],
    /// How many requests reach the API.
    forwarded: usize,
}

impl Call {
    fn comes_to(&self, answer: &Value) -> bool {
        let challenges = challenges(answer["challenge"].as_str().unwrap_or_default());
        let understood = answer["understood"].as_array().is_none_or(|parsed| understood(parsed) == challenges);
        let challenges: Vec<_> = challenges.iter().map(String::as_str).collect();
        answer["status"] == self.status && challenges.starts_with(self.challenges) && understood
    }
}

const fn good(name: &'static str) -> Call {
    Call { name, status: 200, challenges: &[], forwarded: 1 }
}

const fn refused(name: &'static str, status: u16, challenges: &'static [&'static str]) -> Call {
    Call { name, status, challenges, forwarded: 0 }
}

const DPOP_CALLS: &[Call] = &[
    good("get"),
    good("get with a query"),
    good("get the root"),
    good("get an escaped path"),
    good("head"),
    good("post"),
    good("put"),
    good("patch"),
    good("delete"),
    good("token signed with PS256"),
    good("token signed with RS256"),
    good("token signed with EdDSA"),
    good("proof signed with PS256"),
    good("proof signed with Ed25519"),
    refused("no credentials", 401, &["DPoP"]),
    refused("token without a proof", 401, &["DPoP invalid_dpop_proof"]),
    refused("token in the query", 400, &["DPoP invalid_request"]),
    refused("stolen token as Bearer", 401, &["Bearer invalid_token", "DPoP invalid_token"]),
    refused("proof by another key", 401, &["DPoP invalid_token"]),
    Call { forwarded: 1, ..refused("proof used twice", 401, &["DPoP invalid_dpop_proof"]) },
    refused("proof for another method", 401, &["DPoP invalid_dpop_proof"]),
    refused("proof for another path", 401, &["DPoP invalid_dpop_proof"]),
    refused("proof for another host", 401, &["DPoP invalid_dpop_proof"]),
    refused("proof for another token", 401, &["DPoP invalid_dpop_proof"]),
    refused("proof from ten minutes ago", 401, &["DPoP invalid_dpop_proof"]),
    refused("proof from ten minutes ahead", 401, &["DPoP invalid_dpop_proof"]),
    refused("token with the signature of another", 401, &["DPoP invalid_token"]),
    refused("token for another audience", 401, &["DPoP invalid_token"]),
    refused("token without the scope", 403, &["DPoP insufficient_scope"]),
    refused("unbound token", 401, &["Bearer invalid_token"]),
    refused("unbound token with a proof", 401, &["DPoP invalid_token"]),
    good("get after all that"),
];

const MTLS_CALLS: &[Call] = &[
    good("get"),
    good("get with a query"),
    good("get the root"),
    good("get an escaped path"),
    good("head"),
    good("post"),
    good("put"),
    good("patch"),
    good("delete"),
    good("over HTTP/1.1"),
    good("over HTTP/2"),
    good("over TLS 1.2"),
    good("over TLS 1.3"),
    good("token signed with PS256"),
    good("token signed with RS256"),
    good("token signed with EdDSA"),
    refused("no credentials", 401, &["DPoP"]),
    refused("token in the query", 400, &["DPoP invalid_request"]),
    refused("two tokens", 400, &["Bearer invalid_request", "DPoP invalid_request"]),
    refused("stolen token without a certificate", 401, &["Bearer invalid_token"]),
    refused("stolen token with another certificate", 401, &["Bearer invalid_token"]),
    refused("token with a renewed certificate", 401, &["Bearer invalid_token"]),
    refused("certificate in a header", 401, &["Bearer invalid_token"]),
    refused("token as DPoP", 401, &["DPoP invalid_token"]),
    refused("token with the signature of another", 401, &["Bearer invalid_token"]),
    refused("token for another audience", 401, &["Bearer invalid_token"]),
    refused("token without the scope", 403, &["Bearer insufficient_scope"]),
    refused("unbound token", 401, &["Bearer invalid_token"]),
    good("get after all that"),
];

#[test]
fn oauth4webapi_calls_through_keybound() {
    play(node("oauth4webapi.mjs"), "dpop-client", DPOP_CALLS);
}

#[test]
fn openid_client_calls_through_keybound() {
    play(node("openid-client.mjs"), "dpop-client", DPOP_CALLS);
}

#[test]
fn dpop_calls_through_keybound() {
    play(node("dpop.mjs"), "dpop-client", DPOP_CALLS);
}

#[test]
fn requests_oauth2client_calls_through_keybound() {
    let mut python = Command::new(program("KEYBOUND_PYTHON", "target/interop/venv/bin/python"));
    python.arg(repository("tests/interop/requests_oauth2client_calls.py"));
    play(python, "dpop-client", DPOP_CALLS);
}

#[test]
fn curl_calls_through_keybound() {
    let mut bash = Command::new("bash");
    bash.arg(repository("tests/interop/curl-calls"));
    play(bash, "mtls-client", MTLS_CALLS);
}

/// Runs a script against a gateway, an authorization server and an API of its own, and compares call by call.
fn play(mut client: Command, subject: &str, calls: &[Call]) {
    let certificates = Certificates::make();
    let authorization_server = AuthorizationServer::start(&certificates);
    let api = Api::start();
    let gateway = Gateway::start(&certificates, &authorization_server.issuer, api.address);

    client
        .envs(certificates.environment())
        .env("ISSUER", &authorization_server.issuer)
        .env("API", format!("https://localhost:{}", gateway.address.port()))
        .env("AUDIENCE", AUDIENCE);
    let mut client = Running::start(client, &certificates.file("client.log"));
    let lines = client.rest();
    let seen = || {
        let log = gateway.running.so_far().join("\n");
        format!("\nthe client: {}\nthe gateway: {log}", client.complaints())
    };

    let answers: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).expect("a script prints JSON lines")).collect();
    let made: Vec<_> = answers.iter().map(|answer| answer["name"].as_str().unwrap_or_default()).collect();
    let planned: Vec<_> = calls.iter().map(|call| call.name).collect();
    assert_eq!(made, planned, "the calls that were made{}", seen());

    let wrong: Vec<_> = calls
        .iter()
        .zip(&answers)
        .filter(|(call, answer)| !call.comes_to(answer))
        .map(|(call, answer)| format!("expected {} {:?}, found {answer}", call.status, call.challenges))
        .collect();
    assert!(wrong.is_empty(), "{}{}", wrong.join("\n"), seen());

    let requests = api.requests();
    let forwarded: usize = calls.iter().map(|call| call.forwarded).sum();
    assert_eq!(requests.len(), forwarded, "requests that the API saw{}", seen());
    for request in requests {
        assert!(request.contains("\r\nauthorization: bearer "), "the API gets the token as Bearer: {request}");
        assert!(!request.contains("\r\ndpop:"), "the proof stays at the gateway: {request}");
        assert!(request.contains(&format!("\r\nx-auth-subject: {subject}\r\n")), "the API learns who calls: {request}");
    }
    identity::verify_all(&certificates, &gateway, &api, subject);
}

/// The challenges of a `WWW-Authenticate` field, each as its scheme and its `error`.
fn challenges(field: &str) -> Vec<String> {
    let mut quoted = false;
    let separator = |c: char| {
        quoted ^= c == '"';
        !quoted && (c == ' ' || c == ',')
    };
    let mut challenges: Vec<String> = Vec::new();
    for word in field.split(separator).filter(|word| !word.is_empty()) {
        match (word.split_once('='), challenges.last_mut()) {
            (None, _) => challenges.push(word.to_owned()),
            (Some(("error", error)), Some(challenge)) => {
                challenge.push(' ');
                challenge.push_str(error.trim_matches('"'));
            }
            _ => {}
        }
    }
    challenges
}

/// What the client library made of the same field.
fn understood(parsed: &[Value]) -> Vec<String> {
    let one = |challenge: &Value| {
        let scheme = if challenge["scheme"] == "dpop" { "DPoP" } else { "Bearer" };
        challenge["error"].as_str().map_or_else(|| scheme.to_owned(), |error| format!("{scheme} {error}"))
    };
    parsed.iter().map(one).collect()
}
