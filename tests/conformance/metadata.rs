//! Protected resource metadata (the checklist's 2.8, RFC 9728): clients find out by themselves what a resource demands.

use std::sync::Arc;

use http::Method;
use keybound::keys::{IssuerSettings, KeySource};
use keybound::refusal::Reason;
use keybound::routes::{Access, Described, Match, Policy, Route};
use keybound::verify::{Accepted, IssuerRules};
use serde_json::{Value, json};

use crate::support::wire::{Answer, Http, Message};
use crate::support::{APP, HOST, ISSUER, Plan, World, algorithms, public_route};

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
const PUBLIC: &str = "https://rs.example";
const DPOP: Accepted = Accepted { dpop: true, mtls: false, unbound: false };

fn published() -> Plan {
    Plan { public_url: Some(PUBLIC), ..Plan::default() }
}

/// A protected route for that prefix.
fn route(name: &str, path_prefix: &str, policy: Policy) -> Route {
    Route { access: Access::Enforce(Arc::new(policy)), ..public_route(name, path_prefix) }
}

async fn ask(world: &World, http: Http, method: &str, path: &str, host: &str, lines: &[(&str, &str)]) -> Answer {
    let headers = lines.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    let (method, target, host) = (method.to_owned(), path.to_owned(), Some(host.to_owned()));
    world.dialer.send(http, &Message { method, target, host, headers, body: Vec::new() }).await.unwrap()
}

async fn get(world: &World, path: &str) -> Answer {
    ask(world, Http::One, "GET", path, HOST, &[]).await
}

async fn document(world: &World, path: &str) -> Value {
    let answer = get(world, path).await;
    assert_eq!(answer.status, 200, "{path} {answer:?}");
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn pos_62_the_document_is_there_for_everyone() {
    let world = published().start().await;
    for http in [Http::One, Http::Two] {
        // Whatever credentials come along, nobody looks at them.
        for lines in [&[][..], &[("Authorization", "Bearer x"), ("Authorization", "DPoP y"), ("DPoP", "z")]] {
            let answer = ask(&world, http, "GET", WELL_KNOWN, HOST, lines).await;
            assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{answer:?}");
            assert_eq!(answer.all("access-control-allow-origin"), ["*"]);
            assert_eq!(answer.all("cache-control"), ["public, max-age=300"]);
            let expected = json!({
                "resource": PUBLIC,
                "authorization_servers": [ISSUER],
                "bearer_methods_supported": ["header"],
                "dpop_signing_alg_values_supported": ["ES256", "PS256", "EdDSA", "Ed25519"],
                "dpop_bound_access_tokens_required": true,
                "tls_client_certificate_bound_access_tokens": false,
            });
            assert_eq!(serde_json::from_slice::<Value>(&answer.body).unwrap(), expected);
            let head = ask(&world, http, "HEAD", WELL_KNOWN, HOST, lines).await;
            assert_eq!((head.status, head.body.len()), (200, 0));
            assert_eq!(head.header("content-length"), Some(&*answer.body.len().to_string()), "{head:?}");
        }
    }
    assert_eq!(world.upstream.count(), 0, "never proxied");
}

#[tokio::test]
async fn pos_62_each_prefix_has_its_own() {
    let mut plan = published();
    plan.more_issuers.push(IssuerSettings {
        rules: IssuerRules::new("https://other-as.example", vec!["x".to_owned()]),
        source: KeySource::File("/nonexistent".into()),
        roots: None,
    });
    plan.wait = false;
    let scopes = |scopes: &[&str]| scopes.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>();
    let only_reads = |methods| Match { path_prefix: "/orders".to_owned(), methods, ..Match::default() };
    let mut reads = route("r", "/orders", Policy { accepted: DPOP, scopes: scopes(&["read"]), ..Policy::default() });
    reads.matches = only_reads(vec![Method::GET]);
    let mut writes = route(
        "w",
        "/orders",
        Policy {
            accepted: DPOP,
            scopes: scopes(&["read", "write"]),
            issuers: vec![ISSUER.to_owned()],
            ..Policy::default()
        },
    );
    writes.matches = only_reads(vec![Method::POST]);
    writes.metadata =
        Described { name: Some("Orders".to_owned()), documentation: Some("https://docs.example/orders".to_owned()) };
    let mtls = Policy {
        accepted: Accepted { dpop: false, mtls: true, unbound: false },
        issuers: vec!["https://other-as.example".to_owned()],
        ..Policy::default()
    };
    let migrating = Policy { accepted: Accepted { dpop: true, mtls: false, unbound: true }, ..Policy::default() };
    let both = Policy { accepted: Accepted { dpop: true, mtls: true, unbound: false }, ..Policy::default() };
    plan.routes_before = vec![
        reads,
        writes,
        route("machines", "/machines/v1", mtls),
        route("migrating", "/migrating/", migrating),
        route("both", "/both", both),
        public_route("open", "/open"),
    ];
    let world = plan.start().await;
    let orders = document(&world, "/.well-known/oauth-protected-resource/orders").await;
    assert_eq!(
        orders,
        json!({
            "resource": "https://rs.example/orders",
            "authorization_servers": [ISSUER, "https://other-as.example"],
            "scopes_supported": ["read", "write"],
            "bearer_methods_supported": ["header"],
            "dpop_signing_alg_values_supported": ["ES256", "PS256", "EdDSA", "Ed25519"],
            "dpop_bound_access_tokens_required": true,
            "tls_client_certificate_bound_access_tokens": false,
            "resource_name": "Orders",
            "resource_documentation": "https://docs.example/orders",
        })
    );
    let machines = document(&world, "/.well-known/oauth-protected-resource/machines/v1").await;
    assert_eq!(
        machines,
        json!({
            "resource": "https://rs.example/machines/v1",
            "authorization_servers": ["https://other-as.example"],
            "bearer_methods_supported": ["header"],
            "dpop_bound_access_tokens_required": false,
            "tls_client_certificate_bound_access_tokens": true,
        })
    );
    let migrating = document(&world, "/.well-known/oauth-protected-resource/migrating/").await;
    assert_eq!(migrating["resource"], "https://rs.example/migrating/");
    assert_eq!(migrating["dpop_bound_access_tokens_required"], false);
    let both = document(&world, "/.well-known/oauth-protected-resource/both").await;
    assert_eq!(both["dpop_bound_access_tokens_required"], false);
    assert_eq!(both["tls_client_certificate_bound_access_tokens"], true);
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn pos_62_what_is_no_resource_falls_to_the_routes() {
    let mut hidden = route("hidden", "/hidden", Policy::default());
    hidden.matches.hosts = vec!["internal.rs.example".to_owned()];
    let mut own = public_route("own", "/.well-known/oauth-protected-resource/own");
    own.matches.methods = vec![Method::GET];
    let routes_before = vec![hidden, own, public_route("open", "/open")];
    let matches = Match { path_prefix: "/api".to_owned(), ..Match::default() };
    let world = Plan { routes_before, matches, ..published() }.start().await;
    for suffix in ["", "/", "/hidden", "/open", "/ap", "/api/", "/api/item", "//api", "/other", "x"] {
        let answer = get(&world, &format!("{WELL_KNOWN}{suffix}")).await;
        assert_eq!((answer.status, answer.text().contains("resource\"")), (404, false), "{suffix} {answer:?}");
    }
    assert_eq!(world.upstream.count(), 0);
    // A document that the gateway does not have may be somebody else's.
    assert_eq!((get(&world, &format!("{WELL_KNOWN}/own")).await.status, world.upstream.count()), (200, 1));
    // Only who asks the right host hears of a route.
    let path = format!("{WELL_KNOWN}/hidden");
    let answer = ask(&world, Http::One, "GET", &path, "internal.rs.example", &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(document(&world, &format!("{WELL_KNOWN}/api")).await["resource"], "https://rs.example/api");
    assert_eq!(document(&world, &format!("{WELL_KNOWN}/%61pi?x=1")).await["resource"], "https://rs.example/api");
    assert_eq!(world.upstream.count(), 1);
}

#[tokio::test]
async fn pos_62_a_document_of_the_gateway_goes_before_every_route() {
    let routes_before = vec![public_route("open", "/.well-known")];
    let world = Plan { routes_before, ..published() }.start().await;
    assert_eq!(document(&world, WELL_KNOWN).await["resource"], PUBLIC);
    assert_eq!(world.upstream.count(), 0);
    assert_eq!((get(&world, "/.well-known/openid-configuration").await.status, world.upstream.count()), (200, 1));
}

#[tokio::test]
async fn pos_62_it_is_read_and_nothing_else() {
    let world = published().start().await;
    for http in [Http::One, Http::Two] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"] {
            let answer = ask(&world, http, method, WELL_KNOWN, HOST, &[("Origin", APP)]).await;
            assert_eq!((answer.status, answer.all("allow")), (405, vec!["GET, HEAD"]), "{answer:?}");
            assert_eq!(answer.all("access-control-allow-origin"), ["*"]);
            assert_eq!(answer.all("www-authenticate").len(), 0);
        }
    }
    assert_eq!((world.refusals("api", Reason::MethodNotServed), world.upstream.count()), (10, 0));
    // Clients in browsers that send fields of their own ask before.
    let asks = |method| {
        [
            ("Origin", APP),
            ("Access-Control-Request-Method", method),
            ("Access-Control-Request-Headers", "mcp-protocol-version"),
        ]
    };
    let answer = ask(&world, Http::One, "OPTIONS", WELL_KNOWN, HOST, &asks("GET")).await;
    assert_eq!((answer.status, answer.all("access-control-allow-origin")), (204, vec!["*"]));
    assert_eq!(answer.all("access-control-allow-headers"), ["Authorization, DPoP, mcp-protocol-version"]);
    assert_eq!(ask(&world, Http::One, "OPTIONS", WELL_KNOWN, HOST, &asks("POST")).await.status, 405);
    world.passes(&world.good()).await;
}

#[tokio::test]
async fn pos_62_without_a_public_url_there_is_none() {
    let world = Plan::default().start().await;
    world
        .refuses(Reason::CredentialsMissing, &world.good().authorization(&[]).no_proof().target_only(WELL_KNOWN))
        .await;
}

/// The document, its place and the challenge agree (PRM-05, PRM-06, SHP-02).
#[tokio::test]
async fn shp_02_and_pos_62_challenges_lead_to_the_document() {
    let mut plan = Plan { public_url: Some(PUBLIC), ..Plan::mtls() };
    plan.matches.path_prefix = "/api".to_owned();
    plan.proofs.algorithms = algorithms(&["PS256", "ES256"]);
    let world = plan.start().await;
    let refused = [
        (Reason::CredentialsMissing, world.good().authorization(&[]).no_proof()),
        (Reason::DpopTokenAsBearer, world.good().scheme("Bearer")),
        (Reason::CredentialsMultiple, world.good().authorization(&["DPoP {}", "DPoP {}"])),
        (Reason::ProofMissing, world.good().no_proof()),
        (Reason::TokenExpired, world.good().claim("exp", 1)),
    ];
    for (reason, shot) in refused {
        world.refuses(reason, &shot).await;
    }
    let answer = world.good().authorization(&[]).no_proof().send(Http::One).await;
    let challenges: Vec<_> =
        answer.all("www-authenticate").into_iter().map(crate::support::shape::parse_challenge).collect();
    assert_eq!(challenges.iter().map(|c| c.scheme.as_str()).collect::<Vec<_>>(), ["DPoP", "Bearer"]);
    for challenge in &challenges {
        let url = challenge.get("resource_metadata").unwrap();
        assert_eq!(url, "https://rs.example/.well-known/oauth-protected-resource/api");
        let document = document(&world, url.strip_prefix(PUBLIC).unwrap()).await;
        // The well-known name is what was put between host and path (RFC 9728 §3).
        assert_eq!(document["resource"], url.replace(WELL_KNOWN, ""));
        if let Some(algorithms) = challenge.get("algs") {
            assert_eq!(document["dpop_signing_alg_values_supported"], json!(algorithms.split(' ').collect::<Vec<_>>()));
        }
    }
}

#[tokio::test]
async fn resources_are_named_as_clients_see_them() {
    for (public_url, resource) in [
        ("https://API.example.com:443", "https://api.example.com"),
        ("https://api.example.com:8443/", "https://api.example.com:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ] {
        let world = Plan { public_url: Some(public_url), ..Plan::default() }.start().await;
        assert_eq!(document(&world, WELL_KNOWN).await["resource"], resource);
    }
}
