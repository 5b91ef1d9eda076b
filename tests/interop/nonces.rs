//! Good clients behind a balancer that sends every connection to another gateway: nonces are demanded, and nobody notices
//! but for one more attempt in the beginning.

use std::process::Command;

use serde_json::Value;

use crate::servers::Redis;
use crate::stage::{
    AUDIENCE, Api, AuthorizationServer, Certificates, Gateway, Relay, Running, node, program, repository,
};

#[test]
fn oauth4webapi_works_through_nonces_of_two_gateways() {
    play(node("nonces.mjs"));
}

#[test]
fn requests_oauth2client_works_through_nonces_of_two_gateways() {
    let mut python = Command::new(program("KEYBOUND_PYTHON", "target/interop/venv/bin/python"));
    python.arg(repository("tests/interop/nonces.py"));
    play(python);
}

fn play(mut client: Command) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let redis = runtime.block_on(Redis::start());
    let certificates = Certificates::make();
    let authorization_server = AuthorizationServer::start(&certificates);
    let api = Api::start();
    let balancer = Relay::bind();
    let origin = balancer.origin();
    certificates.write("nonce.secret", "a secret that both gateways know: 7f3b");
    let more = format!(
        "replicas: 2
dpop: {{ nonce: {{ mode: required, secret_file: nonce.secret }} }}
replay: {{ store: redis, redis: {{ urls: ['redis://127.0.0.1:{}'], timeout: 2s }} }}
",
        redis.port
    );
    let start = || Gateway::with(&certificates, &authorization_server.issuer, api.address, Some(&origin), &more);
    let gateways = [start(), start()];
    balancer.lead_to(gateways.iter().map(|gateway| gateway.address).collect());

    client
        .envs(certificates.environment())
        .env("ISSUER", &authorization_server.issuer)
        .env("API", &origin)
        .env("AUDIENCE", AUDIENCE);
    let mut client = Running::start(client, &certificates.file("client.log"));
    let calls: Vec<Value> = client.rest().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let log = || gateways.iter().map(|gateway| gateway.running.so_far().join("\n")).collect::<Vec<_>>().join("\n");
    assert_eq!(calls.len(), 10, "{calls:?} {} {}", client.complaints(), log());
    for (index, call) in calls.iter().enumerate() {
        let attempts = if index == 0 { 2 } else { 1 };
        assert_eq!((&call["status"], &call["attempts"]), (&200.into(), &attempts.into()), "{call} {}", log());
    }
    assert_eq!(api.requests().len(), 10);
    // Ten calls and one challenge, in turns.
    for (gateway, decisions) in gateways.iter().zip([6, 5]) {
        let lines = gateway.running.until(|lines| access(lines).len() >= decisions);
        assert!(access(&lines).iter().filter(|line| line["decision"] == "allow").count() == 5, "{lines:?}");
    }
}

fn access(lines: &[String]) -> Vec<Value> {
    let lines = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("a JSON line"));
    lines.filter(|line| line["target"] == "access").collect()
}
