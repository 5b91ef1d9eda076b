//! A real MCP server behind the gateway, and a real MCP client in front of it: streamable HTTP, with server-sent events
//! on streams that are silent for longer than the gateway waits for anything.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};

use crate::stage::{AuthorizationServer, Certificates, Gateway, Relay, Running, node};

/// How long streams are silent, in milliseconds; the gateway's own patience is a fraction of it.
const SILENCE: &str = "2500";

#[test]
fn an_mcp_client_finds_its_way_and_a_thief_does_not() {
    play("/mcp");
}

/// A client that asks in vain for the document of its server's path takes that of the whole host.
#[test]
fn an_mcp_client_finds_the_document_of_the_whole_host() {
    play("/");
}

fn play(path_prefix: &str) {
    let certificates = Certificates::make();
    let relay = Relay::bind();
    let (origin, server) = (relay.origin(), format!("{}/mcp", relay.origin()));
    let suffix = path_prefix.trim_end_matches('/');
    let resource = format!("{origin}{suffix}");
    let authorization_server = AuthorizationServer::of(&certificates, &resource);
    let mut mcp: Command = node("mcp-server.mjs");
    mcp.env("SILENCE", SILENCE);
    let mcp = Running::start(mcp, &certificates.file("mcp-server.log"));
    let ready: Value = serde_json::from_str(&mcp.line()).expect("the server prints its address");
    let address: SocketAddr = ready["address"].as_str().unwrap().parse().unwrap();
    let configuration = format!(
        "
upstreams:
  mcp: {{ endpoints: ['http://{address}'], response_timeout: 1s }}
routes:
  - name: mcp
    match: {{ path_prefix: {path_prefix} }}
    upstream: mcp
    access: {{ bindings: [dpop], scopes: [read] }}
    metadata: {{ resource_name: Orders for machines }}
dpop: {{ nonce: {{ mode: required }} }}
limits: {{ idle_timeout: 1s }}
replicas: 1
"
    );
    let gateway = Gateway::of(&certificates, &authorization_server.issuer, &resource, Some(&origin), &configuration);
    relay.lead_to(vec![gateway.address]);

    let mut client = node("mcp-client.mjs");
    client.envs(certificates.environment()).env("SERVER", &server);
    let mut client = Running::start(client, &certificates.file("mcp-client.log"));
    let lines = client.rest();
    let requests = mcp.so_far();
    let seen = || {
        let log = gateway.running.so_far().join("\n");
        format!("\nthe client: {}\nthe server: {requests:#?} {}\n{log}", client.complaints(), mcp.complaints())
    };
    let steps: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
    let metadata = format!("{origin}/.well-known/oauth-protected-resource{suffix}");
    let expected = [
        json!({"name": "without a token", "status": 401, "resource_metadata": metadata}),
        json!({"name": "with a token that is none", "status": 401, "resource_metadata": metadata}),
        json!({
            "name": "metadata",
            "document": {
                "resource": resource,
                "resource_name": "Orders for machines",
                "authorization_servers": [authorization_server.issuer],
                "scopes_supported": ["read"],
                "bearer_methods_supported": ["header"],
                "dpop_signing_alg_values_supported": ["ES256", "PS256", "EdDSA", "Ed25519"],
                "dpop_bound_access_tokens_required": true,
                "tls_client_certificate_bound_access_tokens": false,
            },
        }),
        json!({"name": "tools/list", "tools": ["add", "brew"]}),
        json!({"name": "tools/call", "text": "42"}),
        json!({"name": "a slow tool", "progress": [1], "text": "coffee"}),
        json!({"name": "a notification", "changed": true, "tools": ["add", "brew", "pour"]}),
        json!({"name": "the whole session", "broken": [], "challenged": 1}),
        json!({"name": "a stolen token as Bearer", "refused": 401, "why": "invalid_token"}),
        json!({"name": "a stolen token and another key", "refused": 401, "why": "invalid_token"}),
    ];
    assert_eq!(steps, expected, "{}", seen());

    // What the server saw was proven, all of it, and it saw one session with one stream of its own.
    let requests: Vec<Value> = requests.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(requests.iter().all(|request| request["scheme"] == "Bearer" && request["dpop"] == false), "{}", seen());
    let count = |method: &str| requests.iter().filter(|request| request["method"] == method).count();
    // initialize, initialized, list, add, brew, list
    assert_eq!((count("POST"), count("GET"), count("DELETE")), (6, 1, 1), "{}", seen());
}
