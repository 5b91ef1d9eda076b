//! gRPC's own client and server, with the gateway between them.

use std::process::Command;

use serde_json::{Value, json};

use crate::stage::{AUDIENCE, AuthorizationServer, Certificates, Gateway, Running, program, repository};

/// What each call comes to, and whether the API sees it.
const CALLS: [(&str, &str, bool); 10] = [
    ("unary", "OK", true),
    ("both ways at once", "OK", true),
    ("status of the API", "NOT_FOUND", true),
    ("no credentials", "UNAUTHENTICATED", false),
    ("token without a proof", "UNAUTHENTICATED", false),
    ("proof for another method", "UNAUTHENTICATED", false),
    ("proof used once", "OK", true),
    ("proof used twice", "UNAUTHENTICATED", false),
    ("token without the scope", "PERMISSION_DENIED", false),
    ("unary after all that", "OK", true),
];

fn python(script: &str) -> Command {
    let mut python = Command::new(program("KEYBOUND_PYTHON", "target/interop/venv/bin/python"));
    python.arg(repository("tests/interop").join(script));
    python
}

#[test]
fn pos_56_grpc_calls_through_keybound() {
    let certificates = Certificates::make();
    let authorization_server = AuthorizationServer::start(&certificates);
    let api = Running::start(python("grpc_api.py"), &certificates.file("api.log"));
    let routes = format!(
        "
upstreams:
  orders: {{ endpoints: ['http://127.0.0.1:{}'], http2: true }}
routes:
  - name: orders
    upstream: orders
    access: {{ scopes: [read] }}
    forward: {{ claims: {{ X-Auth-Subject: sub }} }}
",
        api.line()
    );
    let gateway = Gateway::of(&certificates, &authorization_server.issuer, AUDIENCE, None, &routes);

    let mut client = python("grpc_calls.py");
    client
        .envs(certificates.environment())
        .env("ISSUER", &authorization_server.issuer)
        .env("API", format!("https://localhost:{}", gateway.address.port()))
        .env("AUDIENCE", AUDIENCE);
    let mut client = Running::start(client, &certificates.file("client.log"));
    let lines = client.rest();
    let context = format!("{}\n{}", client.complaints(), gateway.running.so_far().join("\n"));
    let read = |line: &String| serde_json::from_str::<Value>(line).expect("a script prints JSON lines");
    let calls: Vec<Value> = lines.iter().map(read).collect();
    let codes: Vec<_> = calls.iter().map(|call| (call["name"].clone(), call["code"].clone())).collect();
    let expected: Vec<_> = CALLS.iter().map(|(name, code, _)| (json!(name), json!(code))).collect();
    assert_eq!(codes, expected, "{context}");
    for call in calls.iter().filter(|call| call["code"] == "OK") {
        assert_eq!(call["echoed"], true, "{call}");
    }
    assert_eq!(calls[0]["trailers"], json!({"x-length": "5"}));
    assert_eq!(calls[2]["details"], "no such order");
    assert_eq!(
        (&calls[7]["details"], &calls[8]["details"]),
        (&json!("invalid_dpop_proof"), &json!("insufficient_scope"))
    );

    let seen: Vec<Value> = api.so_far().iter().map(read).collect();
    assert_eq!(seen.len(), CALLS.iter().filter(|(.., forwarded)| *forwarded).count(), "{seen:?}");
    for call in seen {
        assert!(call["authorization"].as_str().unwrap().starts_with("Bearer "), "{call}");
        assert_eq!((&call["x-auth-subject"], &call["dpop"]), (&json!("dpop-client"), &Value::Null));
    }
}
