//! The admin port's page for people, in a real browser, after the calls of a real DPoP client, good ones and a thief's.

use std::fs;

use serde_json::{Value, json};

use crate::ORDERS;
use crate::stage::{
    AUDIENCE, Api, AuthorizationServer, Certificates, Gateway, Relay, Running, node, program, repository,
};

/// Routes of every kind, and an upstream of which one endpoint does not answer.
fn routes(api: std::net::SocketAddr) -> String {
    format!(
        "
upstreams:
  orders: {{ endpoints: ['http://{api}', 'http://127.0.0.1:1'], health_check: {{ path: /healthz, interval: 1s }} }}
routes:
  - {{ name: status, match: {{ path_prefix: /status }}, upstream: 'http://{api}', access: {{ mode: public }} }}
  - name: invoices
    match: {{ path_prefix: /invoices }}
    upstream: orders
    access: {{ mode: observe, bindings: [dpop] }}
  - {{ name: orders, upstream: orders, access: {{ scopes: [read] }} }}
"
    )
}

#[test]
fn people_see_what_the_gateway_does() {
    let certificates = Certificates::make();
    let authorization_server = AuthorizationServer::start(&certificates);
    let api = Api::answering(ORDERS);
    let relay = Relay::bind();
    let origin = relay.origin();
    let gateway =
        Gateway::of(&certificates, &authorization_server.issuer, AUDIENCE, Some(&origin), &routes(api.address));
    relay.lead_to(vec![gateway.address]);
    let mut calls = node("dpop.mjs");
    calls
        .envs(certificates.environment())
        .env("ISSUER", &authorization_server.issuer)
        .env("API", &origin)
        .env("AUDIENCE", AUDIENCE);
    let called = Running::start(calls, &certificates.file("calls.log")).rest();
    assert!(called.len() > 20, "{called:#?}");

    let artefacts = repository("target/browser");
    fs::create_dir_all(&artefacts).unwrap();
    let mut driver = node("../browser/admin.mjs");
    driver
        .env("CHROMIUM", program("KEYBOUND_CHROMIUM", "/usr/bin/chromium"))
        .env("ARTEFACTS", &artefacts)
        .envs(certificates.environment())
        .env("API", &origin)
        .env("ADMIN", format!("http://{}", gateway.admin));
    let mut driver = Running::start(driver, &certificates.file("driver.log"));
    let lines = driver.rest();
    let seen: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
    let view = |ground: &str| json!({ "broken": [], "checked": true, "wider": 0, "ground": ground, "said": [], "elsewhere": [] });
    let (light, dark) = (view("rgb(246, 246, 243)"), view("rgb(17, 19, 21)"));
    let trouble = json!({
        "broken": [], "checked": true, "wider": 0, "markup": 0, "entries": [12, 60], "at": 12, "said": [],
    });
    let headings = [
        "Keybound ",
        "Needs a look",
        "Traffic",
        "Refusals by reason",
        "Upstreams",
        "Issuers",
        "Last refusals",
        "Routes",
        "Would be refused",
    ];
    let expected = [
        ("desktop light", light.clone()),
        ("desktop dark", dark.clone()),
        ("phone light", light),
        ("phone dark", dark),
        ("trouble, desktop", trouble.clone()),
        ("no answer, desktop", json!({ "told": true })),
        ("trouble, phone", trouble),
        ("no answer, phone", json!({ "told": true })),
        (
            "the keyboard",
            json!({ "first": ["#main", "pause"], "last": "/identity/jwks.json", "entries": true, "unseen": [] }),
        ),
        ("an opened entry", json!({ "kind": "summary", "open": 1 })),
        ("paused", json!({ "pressed": "true" })),
        ("the outline", json!({ "landmarks": [], "captions": 0, "headings": headings, "markup": 0 })),
        ("without scripts", json!({ "links": ["/state.json", "/observed", "/readyz", "/metrics"] })),
    ];
    let expected: Vec<Value> = expected.into_iter().map(|(name, seen)| json!([name, seen])).collect();
    assert_eq!(seen, expected, "{}", driver.complaints());
    for size in ["desktop", "phone"] {
        for scheme in ["light", "dark"] {
            let picture = artefacts.join(format!("admin-{size}-{scheme}.png"));
            assert!(fs::metadata(&picture).is_ok_and(|file| file.len() > 10_000), "{}", picture.display());
        }
    }
}
