//! Opaque tokens, as the operator sees them.

use std::time::Instant;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use serde_json::json;

use crate::process::{Ended, Program};
use crate::stage::{Gateway, Stage, missing};
use crate::support::mint::jti;
use crate::support::upstream::Upstream;
use crate::support::{AUDIENCE, ISSUER};

const SECRET: &str = "an-introspection-secret-6b1f";

/// The issuer's part of a configuration with somebody to ask.
fn asking(stage: &Stage, endpoint: &str) -> String {
    std::fs::write(stage.file("introspection.secret"), format!("{SECRET}\n")).unwrap();
    let introspection = format!(
        "{{ endpoint: '{endpoint}', client_id: api, client_secret_file: introspection.secret, cache: 0s, timeout: 2s }}"
    );
    format!("{{ jwks_uri: '{}' }}, introspection: {introspection}", stage.issuer.jwks_uri())
}

async fn reason(gateway: &Gateway, stage: &Stage, token: &str) -> (u16, String) {
    let answer = gateway.send(&stage.call_with("/api/item", token)).await;
    let line = gateway.access_line(answer.header("x-request-id").unwrap()).await;
    (answer.status, line["reason"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn check_says_who_is_asked() {
    let stage = Stage::set().await;
    let keys = asking(&stage, "https://as.example/introspect?tenant=1");
    let file = stage.configured(|configuration| configuration.keys = keys);
    let Ended { code, out, err } = Program::run(stage.folder.path(), &["check", "--config", file]).await;
    let wanted =
        format!("opaque    tokens of {ISSUER}: https://as.example/introspect is asked as api, answers not kept\n");
    assert_eq!((code, missing(&out, &[&wanted])), (0, String::new()), "{err}");
}

#[tokio::test]
async fn an_endpoint_that_fails_is_told_once_and_secrets_never() {
    let stage = Stage::set().await;
    let endpoint = Upstream::start().await;
    let keys = asking(&stage, &format!("http://{}/introspect", endpoint.address));
    let gateway = stage
        .gateway_with(|configuration| {
            configuration.keys = keys;
            configuration.telemetry = "{ log: { level: trace } }".to_owned();
        })
        .await;
    let token = format!("opaque-token-{}", jti());
    let jkt = stage.key.thumbprint();
    let active = json!({"active": true, "aud": AUDIENCE, "sub": "alice", "cnf": {"jkt": jkt}, "token_type": "Bearer"});
    let say = |status: u16, kind: &'static str, text: String| {
        endpoint.replies(move |_| {
            let answer = Response::builder().status(status).header("content-type", kind);
            answer.body(Full::new(Bytes::from(text.clone()))).unwrap()
        });
    };
    say(200, "application/json", active.to_string());
    assert_eq!(reason(&gateway, &stage, &token).await, (200, String::new()));
    assert_eq!(gateway.readiness().await.0, 200);

    let begun = Instant::now();
    say(401, "application/json", r#"{"error":"invalid_client"}"#.to_owned());
    for _ in 0..3 {
        assert_eq!(reason(&gateway, &stage, &token).await, (503, "introspection_unavailable".to_owned()));
    }
    let warning = gateway.program.says("opaque tokens cannot be asked about").await;
    let error = format!("http://{}/introspect: expected status 200, found 401", endpoint.address);
    assert_eq!(
        (&warning["level"], &warning["issuer"], &warning["error"]),
        (&json!("WARN"), &json!(ISSUER), &json!(error))
    );
    let (status, words) = gateway.readiness().await;
    assert_eq!(
        (status, missing(&words, &[&format!("degraded: introspection at {ISSUER}: {error}")])),
        (200, String::new())
    );

    say(200, "application/json", json!({"active": false}).to_string());
    assert_eq!(reason(&gateway, &stage, &token).await, (401, "token_inactive".to_owned()));
    assert_eq!(reason(&gateway, &stage, &token).await, (401, "token_inactive".to_owned()));
    assert!(!gateway.readiness().await.1.contains("introspection"));
    let line = gateway.program.says("opaque tokens can be asked about again").await;
    assert_eq!((&line["level"], &line["issuer"]), (&json!("INFO"), &json!(ISSUER)));

    // An issuer that stumbles over some tokens, which their senders may choose, does not fill the log.
    for (status, wanted) in [(500, 503), (200, 401), (500, 503), (200, 401), (500, 503), (200, 401)] {
        say(status, "application/json", json!({"active": false}).to_string());
        assert_eq!(reason(&gateway, &stage, &format!("opaque-token-{}", jti())).await.0, wanted);
    }

    let metrics = gateway.admin("/metrics").await.text();
    let count = |result: &str, count: u64| {
        format!("keybound_introspections_total{{issuer=\"{ISSUER}\",result=\"{result}\"}} {count}\n")
    };
    let wanted = [
        count("active", 1),
        count("inactive", 4),
        count("unavailable", 6),
        format!("keybound_introspection_cache_hits_total{{issuer=\"{ISSUER}\"}} 1\n"),
        format!("keybound_introspection_cache_misses_total{{issuer=\"{ISSUER}\"}} 11\n"),
    ];
    assert_eq!(missing(&metrics, &wanted.each_ref().map(String::as_str)), "");
    let log: Vec<String> = gateway.program.lines().iter().map(ToString::to_string).collect();
    let told = |text: &str| log.iter().filter(|line| line.contains(text)).count();
    // On a machine that is this slow, a while has passed.
    let most = 1 + usize::try_from(begun.elapsed().as_secs() / 10).unwrap();
    for text in ["opaque tokens cannot be asked about", "opaque tokens can be asked about again"] {
        assert!((1..=most).contains(&told(text)), "{text}: {} times", told(text));
    }
    assert_eq!(told("a token with cnf.jkt is of another type"), 1);
    for secret in [SECRET, &token, "YXBpOmFu"] {
        assert_eq!(told(secret), 0, "{secret} is in the log");
        assert!(!metrics.contains(secret));
    }
}
