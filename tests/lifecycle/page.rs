//! What the admin port tells people and scripts of requests that were refused, and whom it tells.

use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::process::Program;
use crate::stage::{Gateway, Stage, message};
use crate::support::wire::{Answer, Http};
use crate::{eventually, in_time};

const SECRET: &str = "open sesame, says the operator";

async fn state(gateway: &Gateway) -> Value {
    serde_json::from_slice(&gateway.admin("/state.json").await.body).unwrap()
}

async fn explained(gateway: &Gateway, id: &str) -> Value {
    let answer = gateway.admin_with(&format!("/explain/{id}"), &[("Accept", "application/json")]).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    serde_json::from_slice(&answer.body).unwrap()
}

fn id(answer: &Answer) -> &str {
    answer.header("x-request-id").unwrap()
}

/// `keybound explain --request-id` at that gateway: exit code and what it printed.
async fn asked(stage: &Stage, admin: SocketAddr, id: &str, more: &[&str]) -> (i32, String, String) {
    let admin = format!("http://{admin}");
    let arguments = [&["explain", "--request-id", id, "--admin", &admin], more].concat();
    let ended = in_time("an explanation", Program::start(stage.folder.path(), &arguments, &[]).ended()).await;
    (ended.code, ended.out, ended.err)
}

#[tokio::test]
async fn a_refusal_is_explained_check_by_check() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let token = stage.token().compact();
    let proof = stage.proof(&token, "POST", "/api/item").compact();
    let fields = [("Authorization", &*format!("DPoP {token}")), ("DPoP", &*proof)];
    let refused = gateway.send(&message("/api/item?q=1", &fields)).await;
    let passed = gateway.send(&stage.call("/api/item")).await;
    assert_eq!((refused.status, passed.status), (401, 200));

    let told = explained(&gateway, id(&refused)).await;
    for (name, value) in [
        ("request_id", json!(id(&refused))),
        ("route", json!("api")),
        ("method", json!("GET")),
        ("host", json!("rs.example")),
        ("path", json!("/api/item")),
        ("peer", json!("127.0.0.1")),
        ("reason", json!("proof_method")),
        ("status", json!(401)),
        ("expected", json!("GET")),
        ("found", json!("POST")),
        ("observes", json!(false)),
    ] {
        assert_eq!(told[name], value, "{name}: {told:#}");
    }
    let outcome = |part: &str, what: &str| {
        let mut checks = told["checks"].as_array().unwrap().iter();
        checks.find(|check| check["part"] == part && check["what"] == what).map(|check| check["outcome"].clone())
    };
    for (part, what, came) in [
        ("token", "signature", "holds"),
        ("binding", "certificate", "needless"),
        ("proof", "jwk", "holds"),
        ("proof", "htm", "fails"),
        ("proof", "signature", "unreached"),
        ("policy", "scope", "unreached"),
    ] {
        assert_eq!(outcome(part, what), Some(json!(came)), "{part} {what}");
    }
    let (code, out, err) = asked(&stage, gateway.admin, id(&refused), &[]).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, gateway.admin(&format!("/explain/{}", id(&refused))).await.text().trim_end());
    let first = format!("{}  GET rs.example/api/item, route api, client app, from 127.0.0.1\n\n", id(&refused));
    assert!(out.starts_with(&first), "{out}");
    assert!(
        out.contains("✘ htm                RFC 9449 §4.3 (8)    proof_method: expected GET, found POST\n"),
        "{out}"
    );
    assert!(out.contains("it was refused: 401 invalid_dpop_proof, proof_method. Client: Sign the method"), "{out}");
    let (code, out, _) = asked(&stage, gateway.admin, id(&refused), &["--json"]).await;
    assert_eq!((code, &serde_json::from_str::<Value>(&out).unwrap()), (0, &told));

    let (code, out, err) = asked(&stage, gateway.admin, id(&passed), &[]).await;
    assert!(code == 1 && out.is_empty() && err.contains("no refused request of this id is remembered here"), "{err}");
    let (code, _, err) = asked(&stage, gateway.admin, "../metrics", &[]).await;
    assert!(code == 2 && err.contains("expected an id as in X-Request-Id"), "{err}");

    let state = state(&gateway).await;
    assert_eq!(
        (&state["refusals"][0]["request_id"], &state["refusals"][0]["reason"]),
        (&json!(id(&refused)), &json!("proof_method"))
    );
    let documented = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/admin.md")).unwrap();
    for name in state.as_object().unwrap().keys().chain(told.as_object().unwrap().keys().filter(|it| it.contains('_')))
    {
        assert!(documented.contains(&format!("`{name}`")), "{name}");
    }
    assert_eq!(state["routes"][0]["refused"], 1);
    assert_eq!(state["rates"]["by_reason"][0]["total"], 1);
    assert_eq!(state["issuers"][0]["keys"], json!([{ "kid": "k1", "alg": "ES256" }]));
    assert_eq!((&state["replay"]["entries"], &state["replay"]["capacity"]), (&json!(1), &json!(4_000_000)));
    assert_eq!((&state["readiness"]["ready"], &state["configuration"]["current"]), (&json!(true), &json!(true)));
    let has_rate = async || self::state(&gateway).await["rates"]["now"]["requests"].as_f64();
    eventually("a rate", has_rate).await;

    let admin = gateway.admin;
    gateway.program.signal("TERM");
    gateway.program.ended().await;
    let (code, _, err) = asked(&stage, admin, id(&refused), &["--timeout", "1s"]).await;
    assert!(code == 1 && err.starts_with("error: no answer from http://127.0.0.1:"), "{err}");
}

#[tokio::test]
async fn without_an_access_log_nothing_more_is_kept() {
    let stage = Stage::set().await;
    let token = stage.token().compact();
    let fields = [("Authorization", &*format!("DPoP {token}"))];
    // Whoever traces knows the target for its own sake.
    for more in ["", ", otlp_endpoint: 'http://127.0.0.1:1'"] {
        let gateway = stage.gateway_with(|it| it.telemetry = format!("{{ access_log: false{more} }}")).await;
        let refused = gateway.send(&message("/api/item", &fields)).await;
        let told = explained(&gateway, id(&refused)).await;
        let target = (&told["reason"], &told["path"], &told["host"]);
        assert_eq!(target, (&json!("proof_missing"), &Value::Null, &Value::Null), "{more}");
        let checks = told["checks"].as_array().unwrap();
        let certificate = checks.iter().find(|check| check["what"] == "certificate").unwrap();
        assert_eq!(certificate["outcome"], "needless", "what the token names is known all the same");
    }
}

#[tokio::test]
async fn of_a_request_that_only_observing_let_pass_no_check_is_said_to_have_held() {
    let stage = Stage::set().await;
    let observing = "\n  - { name: trial, match: { path_prefix: /trial }, upstream: 'http://127.0.0.1:1', access: { mode: observe } }";
    let gateway = stage.gateway_with(|it| it.routes += observing).await;
    let call = stage.call("/trial/item");
    let (proven, replayed) = (gateway.send(&call).await, gateway.send(&call).await);
    for (answer, outcome) in [(proven, "holds"), (replayed, "needless")] {
        assert_eq!(answer.status, 502);
        let told = explained(&gateway, id(&answer)).await;
        assert_eq!(told["reason"], "upstream_unreachable");
        let checks = told["checks"].as_array().unwrap();
        let of = |what: &str| checks.iter().find(|check| check["what"] == what).unwrap()["outcome"].clone();
        assert_eq!((of("route"), of("used before")), (json!("holds"), json!(outcome)), "{told:#}");
    }
}

#[tokio::test]
async fn a_flood_of_refusals_costs_a_few_places() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let first = gateway.send(&stage.call("/elsewhere")).await;
    let long = format!("/api/{}", "x".repeat(4000));
    let mut last = String::new();
    for _ in 0..100 {
        last = id(&gateway.send(&message(&long, &[])).await).to_owned();
    }
    let state = state(&gateway).await;
    let refusals = state["refusals"].as_array().unwrap();
    let of = |reason: &str| refusals.iter().filter(|one| one["reason"] == reason).count();
    assert_eq!((of("credentials_missing"), of("no_route"), refusals.len()), (16, 1, 17));
    assert!(refusals.iter().all(|one| one["path"].as_str().unwrap().len() < 300), "{refusals:#?}");
    assert_eq!(refusals[0]["request_id"], last);
    explained(&gateway, id(&first)).await;
}

#[tokio::test]
async fn the_page_is_for_browsers_and_reads_nothing_from_elsewhere() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let index = gateway.admin("/").await;
    assert!(index.header("content-type") == Some("text/plain; charset=utf-8") && index.text().contains("/explain/ID"));
    let browser = [("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")];
    let page = gateway.admin_with("/", &browser).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';") && !policy.contains("unsafe")
    );
    let text = page.text();
    for file in ["/page.css", "/page.js", "/icon.svg"] {
        assert!(text.contains(&format!("\"{file}\"")), "{file}");
        assert_eq!(gateway.admin(file).await.status, 200, "{file}");
    }
    assert!(
        !text.contains("style=") && !text.contains("onclick") && !text.contains("://"),
        "nothing inline, nothing from afar"
    );

    for path in ["/", "/state.json", "/observed", "/explain/1"] {
        let answer = gateway.admin_from("attacker.example", path, &browser).await;
        assert_eq!(answer.status, 421, "{path}: {}", answer.text());
    }
    for path in ["/metrics", "/healthz", "/readyz", "/identity/jwks.json"] {
        assert_eq!(gateway.admin_from("keybound-admin", path, &[]).await.status, 200, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let mut message = message("/state.json", &[]);
        message.method = method.to_owned();
        assert_eq!(gateway.admin_dialer().send(Http::One, &message).await.unwrap().status, 405, "{method}");
    }
}

#[tokio::test]
async fn a_secret_closes_what_people_see_and_changes_without_a_restart() {
    let stage = Stage::set().await;
    let file = stage.file("admin.token");
    fs::write(&file, format!("{SECRET}\n")).unwrap();
    let gateway = stage.gateway_with(|it| it.admin = "127.0.0.1:0', token_file: 'admin.token".to_owned()).await;
    let refused = gateway.send(&message("/api/item", &[])).await;
    let explain = format!("/explain/{}", id(&refused));
    let closed = ["/state.json", "/observed", &explain];
    let bearer = |secret: &str| format!("Bearer {secret}");
    for path in closed {
        for fields in [&[][..], &[("Authorization", "Bearer guess")], &[("Authorization", "Basic Z3Vlc3M6Z3Vlc3M=")]] {
            let answer = gateway.admin_with(path, fields).await;
            assert_eq!(answer.status, 401, "{path}");
            assert!(answer.all("www-authenticate").iter().any(|line| line.starts_with("Basic realm=")), "{answer:?}");
        }
        assert_eq!(gateway.admin_with(path, &[("Authorization", &bearer(SECRET))]).await.status, 200, "{path}");
    }
    assert_eq!(gateway.admin_with("/", &[("Accept", "text/html")]).await.status, 401);
    for path in ["/", "/metrics", "/healthz", "/readyz", "/identity/jwks.json"] {
        assert_eq!(gateway.admin(path).await.status, 200, "{path}");
    }
    let (code, _, err) = asked(&stage, gateway.admin, id(&refused), &[]).await;
    assert!(code == 1 && err.contains("--admin-token-file"), "{err}");
    let with_file = ["--admin-token-file", "admin.token"];
    let (code, out, err) = asked(&stage, gateway.admin, id(&refused), &with_file).await;
    assert!(code == 0 && out.contains("credentials_missing"), "{out}{err}");

    let next = "another secret of the operator";
    fs::write(&file, next).unwrap();
    gateway.program.signal("HUP");
    gateway.program.says("configuration reloaded").await;
    assert_eq!(gateway.admin_with("/state.json", &[("Authorization", &bearer(SECRET))]).await.status, 401);
    let opened = gateway.admin_with("/state.json", &[("Authorization", &bearer(next))]).await;
    assert_eq!(opened.status, 200);

    // One that could be guessed is refused, and the one before stays.
    fs::write(&file, "short").unwrap();
    gateway.program.signal("HUP");
    gateway.program.says("configuration not reloaded: the one in force stays").await;
    let opened = gateway.admin_with("/state.json", &[("Authorization", &bearer(next))]).await;
    let state: Value = serde_json::from_slice(&opened.body).unwrap();
    assert_eq!(state["configuration"]["current"], false);
    assert!(state["configuration"]["reloads_refused"].as_u64() >= Some(1), "{state:#}");
    gateway.program.signal("TERM");
    let ended = gateway.program.ended().await;
    for secret in [SECRET, next, "short\n"] {
        assert!(!ended.out.contains(secret) && !ended.err.contains(secret));
    }
}
