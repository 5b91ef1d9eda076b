//! One line for each request, and what it says.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::eventually;
use crate::process::Program;
use crate::stage::{Gateway, Stage, message, now};
use crate::support::Identity;
use crate::support::keys::Key;
use crate::support::wire::{Answer, Http, Message};

/// Sends a request and returns its answer and its line.
pub async fn logged(gateway: &Gateway, http: Http, message: &Message) -> (Answer, Value) {
    let answer = gateway.dialer().send(http, message).await.unwrap();
    let id = answer.header("x-request-id").expect("every answer names its request").to_owned();
    let line = gateway.access_line(&id).await;
    (answer, line)
}

/// Those fields of a line that are asked for.
pub fn fields(line: &Value, names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), line[name].clone())).collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test]
async fn a_good_request_has_one_line_that_says_who_what_and_how_long() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let identity = Identity::self_signed();
    for (http, binding) in [(Http::One, "dpop"), (Http::Two, "dpop"), (Http::One, "mtls"), (Http::Two, "mtls")] {
        let (mut call, thumbprint) = match binding {
            "dpop" => (stage.call("/api/item?q=secret"), stage.key.thumbprint()),
            _ => (stage.call_bound_to("/api/item?q=secret", &identity), identity.x5t()),
        };
        call.headers.push(("X-Request-Id".to_owned(), b"mine".to_vec()));
        let answer = gateway.dialer_of(&identity).send(http, &call).await.unwrap();
        let id = answer.header("x-request-id").unwrap();
        let seen = stage.api.seen().pop().unwrap();
        assert_eq!(seen.headers.get_all("x-request-id").iter().collect::<Vec<_>>(), [id], "one name on both sides");
        assert_eq!(seen.target, "/api/item?q=secret");
        let line = gateway.access_line(id).await;
        let expected = json!({
            "level": "INFO", "target": "access", "peer": "127.0.0.1", "method": "GET", "host": "rs.example",
            "path": "/api/item", "route": "api", "decision": "allow", "binding": binding, "client_id": "app",
            "thumbprint": thumbprint[..8], "status": 200, "bytes": 4,
            "reason": null, "expected": null, "found": null,
        });
        let names: Vec<_> = expected.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields(&line, &names), expected);
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
        let millis = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name} in {line}"));
        let (all, decision, upstream) = (millis("duration_ms"), millis("authorization_ms"), millis("upstream_ms"));
        assert!(decision > 0.0 && upstream > 0.0 && decision + upstream <= all + 0.01 && all < 60_000.0, "{line}");
    }
    let lines = gateway.access_lines();
    let ids: BTreeSet<_> = lines.iter().map(|line| line["request_id"].as_str().unwrap()).collect();
    assert_eq!((lines.len(), ids.len(), ids.contains("mine")), (4, 4, false));
}

#[tokio::test]
async fn a_refusal_says_what_was_expected_and_found() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let (token, stranger) = (stage.token().compact(), Key::es256());
    let mut expired = stage.token();
    expired.claims["exp"] = json!(now() - 600);
    let mut other_method = stage.call_with("/api/item", &token);
    other_method.method = "DELETE".to_owned();
    let mut other_path = stage.call_with("/api/item", &token);
    other_path.target = "/api/other".to_owned();
    let mut other_key = stage.proof(&token, "GET", "/api/item");
    other_key.header["jwk"] = stranger.jwk();
    let other_jkt = stranger.thumbprint();
    other_key.key = stranger.into();
    let other_key =
        message("/api/item", &[("Authorization", &format!("DPoP {token}")), ("DPoP", &other_key.compact())]);
    let as_bearer = message("/api/item", &[("Authorization", &format!("Bearer {token}"))]);
    let own_jkt = stage.key.thumbprint();
    let cases: [(Message, u16, &str, &str, &str); 8] = [
        (message("/api/item", &[]), 401, "credentials_missing", "", ""),
        (as_bearer, 401, "dpop_token_as_bearer", "", ""),
        (stage.call_with("/api/item", &expired.compact()), 401, "token_expired", "an exp in the future", "s ago"),
        (other_method, 401, "proof_method", "DELETE", "GET"),
        (other_path, 401, "proof_target", "https://rs.example/api/other", "https://rs.example/api/item"),
        (other_key, 401, "proof_key_mismatch", &own_jkt, &other_jkt),
        (stage.call("/admin-api/x"), 403, "scope_missing", "admin", ""),
        (stage.call("/down/x"), 502, "upstream_unreachable", "a connection", "Connection refused"),
    ];
    for http in [Http::One, Http::Two] {
        for (call, status, reason, expected, found) in &cases {
            let mut call = call.clone();
            if *reason == "scope_missing" || *status == 502 {
                // A fresh proof.
                call = stage.call(&call.target);
            }
            let (answer, line) = logged(&gateway, http, &call).await;
            assert_eq!(answer.status, *status, "{reason}");
            let decision = if *status == 502 { ("error", "WARN") } else { ("refuse", "INFO") };
            let wanted = json!({"status": status, "reason": reason, "decision": decision.0, "level": decision.1});
            assert_eq!(fields(&line, &["status", "reason", "decision", "level"]), wanted);
            let says = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            assert!(says("expected").contains(expected) && says("found").contains(found), "{line}");
            // What the operator reads the client does not.
            for told in [says("expected"), says("found")].iter().filter(|told| told.len() > 20) {
                assert!(!answer.text().contains(told.as_str()), "{}", answer.text());
            }
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(body["request_id"], line["request_id"]);
            assert_eq!(line["upstream_ms"].is_null(), *status != 502, "{line}");
        }
    }
    assert_eq!(gateway.access_lines().len(), 2 * cases.len());
}

#[tokio::test]
async fn requests_without_a_route_or_a_readable_target_have_a_line_too() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let mut nowhere = message("/elsewhere", &[]);
    let (_, line) = logged(&gateway, Http::One, &nowhere).await;
    let wanted = json!({"route": null, "path": "/elsewhere", "reason": "no_route", "status": 404, "binding": null});
    assert_eq!(fields(&line, &["route", "path", "reason", "status", "binding"]), wanted);
    nowhere.target = "/api/../x".to_owned();
    let (_, line) = logged(&gateway, Http::One, &nowhere).await;
    let wanted = json!({"route": null, "path": "/api/../x", "host": null, "reason": "target_invalid", "status": 400});
    assert_eq!(fields(&line, &["route", "path", "host", "reason", "status"]), wanted);
    let (_, line) = logged(&gateway, Http::Two, &message("/open/x", &[])).await;
    let wanted = json!({"route": "open", "decision": "public", "status": 200, "reason": null, "client_id": null});
    assert_eq!(fields(&line, &["route", "decision", "status", "reason", "client_id"]), wanted);
}

#[tokio::test]
async fn who_does_not_wait_for_the_answer_is_logged_and_counted() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let mut connection = gateway.connect().await;
    connection.write_all(&stage.call("/api/hold").to_bytes()).await.unwrap();
    stage.api.sees(1).await;
    drop(connection);
    let line = gateway.program.line("an access line", |line| line["path"] == "/api/hold").await;
    let wanted = json!({"status": 499, "decision": "allow", "reason": null, "route": "api", "binding": "dpop"});
    assert_eq!(fields(&line, &["status", "decision", "reason", "route", "binding"]), wanted);
    let labels = [("route", "api"), ("decision", "allow"), ("code", "499"), ("binding", "dpop")];
    let scrape = gateway.scrape().await;
    assert_eq!(scrape.sum("keybound_requests_total", &labels), 1.0, "{}", scrape.text);
    assert_eq!(scrape.sum("keybound_request_duration_seconds_count", &[("route", "api")]), 1.0);
}

#[tokio::test]
async fn handshakes_that_fail_are_counted() {
    let stage = Stage::set().await;
    let tls = "{ certificate_file: server.pem, key_file: server.key, client_certificates: { mode: require } }";
    let gateway = stage.gateway_with(|configuration| configuration.tls = tls.to_owned()).await;
    let count = async |result| gateway.scrape().await.sum("keybound_tls_handshakes_total", &[("result", result)]);

    // Not TLS at all.
    let mut plain = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    plain.write_all(&stage.call("/api/item").to_bytes()).await.unwrap();
    eventually("a failed handshake", async || (count("failed").await == 1.0).then_some(())).await;
    // No certificate where one is required: with TLS 1.3 the client learns of it when it reads.
    assert!(gateway.dialer().send(Http::One, &message("/open/x", &[])).await.is_err());
    eventually("a failed handshake", async || (count("failed").await == 2.0).then_some(())).await;
    // A client that leaves halfway.
    drop(tokio::net::TcpStream::connect(gateway.address).await.unwrap());
    eventually("a failed handshake", async || (count("failed").await == 3.0).then_some(())).await;
    assert_eq!(count("ok").await, 0.0);

    let identity = Identity::self_signed();
    let call = stage.call_bound_to("/api/item", &identity);
    assert_eq!(gateway.dialer_of(&identity).send(Http::One, &call).await.unwrap().status, 200);
    assert_eq!((count("ok").await, count("failed").await), (1.0, 3.0));
    assert_eq!(stage.api.count(), 1);
}

#[tokio::test]
async fn the_fields_stand_in_one_order_and_what_is_not_known_is_left_out() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let before = "timestamp level request_id peer method";
    let after = "duration_ms authorization_ms";
    for (call, fields) in [
        (
            stage.call("/api/item"),
            format!("{before} host path route decision binding client_id thumbprint status bytes {after} upstream_ms"),
        ),
        (
            stage.call("/down/x"),
            format!(
                "{before} host path route decision reason expected found binding client_id thumbprint status bytes \
                 {after} upstream_ms"
            ),
        ),
        (message("/elsewhere", &[]), format!("{before} host path decision reason status bytes {after}")),
        (message("/x/../y", &[]), format!("{before} path decision reason expected found status bytes {after}")),
    ] {
        let (answer, _) = logged(&gateway, Http::One, &call).await;
        let id = answer.header("x-request-id").unwrap();
        let everything = gateway.program.everything();
        let line = everything.lines().find(|line| line.contains(&format!(r#""request_id":"{id}","#))).unwrap();
        let keys = line.split("\":").filter_map(|piece| piece.rsplit_once(['{', ',']));
        let keys: Vec<_> = keys.map(|(_, key)| key.trim_start_matches('"')).collect();
        assert_eq!(keys.join(" "), format!("{fields} target"), "{line}");
    }
}

#[tokio::test]
async fn it_can_be_a_text() {
    let stage = Stage::set().await;
    let file = stage.configured(|configuration| configuration.telemetry = "{ log: { format: text } }".to_owned());
    let program = Program::start(stage.folder.path(), &["serve", "--config", file], &[("NO_COLOR", "1")]);
    let address = |said: &str, what: &str| {
        said.split_once(&format!("server: {what} address="))?.1.split_whitespace().next()?.parse().ok()
    };
    let (address, admin) = eventually("a gateway", async || {
        let said = program.everything();
        Some((address(&said, "listening")?, address(&said, "admin listening")?)).filter(|_| said.contains(": ready"))
    })
    .await;
    let gateway = Gateway { program, address, admin };
    let answer = gateway.send(&stage.call("/api/item")).await;
    let id = answer.header("x-request-id").unwrap();
    gateway.program.signal("TERM");
    let ended = gateway.program.ended().await;
    let line = ended.out.lines().find(|line| line.contains(id)).unwrap_or_else(|| panic!("{}", ended.out));
    let (stamp, rest) = line.split_once(' ').unwrap();
    assert!(stamp.len() == "2026-11-22T12:43:34.309Z".len() && stamp.ends_with('Z'), "{line}");
    let beginning = format!(
        " INFO access: request_id=\"{id}\" peer=127.0.0.1 method=\"GET\" host=\"rs.example\" path=\"/api/item\" \
         route=\"api\" decision=\"allow\" binding=\"dpop\" client_id=\"app\" thumbprint=\"{}\" status=200 bytes=4 \
         duration_ms=",
        &stage.key.thumbprint()[..8]
    );
    assert!(rest.starts_with(&beginning), "{line}");
}

#[tokio::test]
async fn it_can_be_left_out() {
    let stage = Stage::set().await;
    let gateway =
        stage.gateway_with(|configuration| configuration.telemetry = "{ access_log: false }".to_owned()).await;
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
    assert_eq!(gateway.status(&message("/api/item", &[])).await, 401);
    gateway.program.signal("TERM");
    let ended = gateway.program.ended().await;
    assert!(ended.code == 0 && !ended.out.contains("request_id"), "{}", ended.out);
}

/// The lines of as many good, refused, failing and given up requests as `each`, by decision.
async fn lines_of(stage: &Stage, gateway: &Gateway, each: usize) -> Vec<Value> {
    let mut last = String::new();
    for _ in 0..each {
        assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
        assert_eq!(gateway.status(&message("/open/x", &[])).await, 200);
        assert_eq!(gateway.status(&message("/api/item", &[])).await, 401);
        let answer = gateway.send(&stage.call("/down/x")).await;
        assert_eq!(answer.status, 502);
        last = answer.header("x-request-id").unwrap().to_owned();
    }
    gateway.access_line(&last).await;
    gateway.access_lines()
}

#[tokio::test]
async fn a_share_of_the_good_requests_can_leave_lines_and_all_others_do() {
    let stage = Stage::set().await;
    let sampled = |share: &str| format!("{{ access_log: {{ sample: {share} }} }}");
    let gateway = stage.gateway_with(|configuration| configuration.telemetry = sampled("0.5")).await;
    let lines = lines_of(&stage, &gateway, 40).await;
    let count = |decision: &str| lines.iter().filter(|line| line["decision"] == decision).count();
    assert_eq!((count("refuse"), count("error")), (40, 40));
    let good = count("allow") + count("public");
    assert!((15..=65).contains(&good), "{good} of 80, which happens once in a hundred million times");
    for line in &lines {
        let sample =
            if ["allow", "public"].map(Value::from).contains(&line["decision"]) { json!(0.5) } else { json!(null) };
        assert_eq!(line["sample"], sample, "{line}");
    }
    let scrape = gateway.scrape().await;
    assert_eq!(scrape.sum("keybound_requests_total", &[]), 160.0, "metrics count all of them");

    let gateway = stage.gateway_with(|configuration| configuration.telemetry = sampled("0")).await;
    let mut connection = gateway.connect().await;
    let before = stage.api.count();
    connection.write_all(&stage.call("/api/hold").to_bytes()).await.unwrap();
    stage.api.sees(before + 1).await;
    drop(connection);
    let line = gateway.program.line("an access line", |line| line["path"] == "/api/hold").await;
    assert_eq!(
        fields(&line, &["status", "decision", "sample"]),
        json!({"status": 499, "decision": "allow", "sample": null})
    );
    // Nor did an answer go well that somebody left in the middle.
    let mut connection = gateway.connect().await;
    connection.write_all(&stage.call("/api/drip").to_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"first, \r\n") {
        assert!(connection.read_buf(&mut answer).await.unwrap() > 0);
    }
    drop(connection);
    let line = gateway.program.line("an access line", |line| line["path"] == "/api/drip").await;
    assert_eq!(fields(&line, &["status", "sample"]), json!({"status": 200, "sample": null}));
    let decisions: Vec<_> =
        lines_of(&stage, &gateway, 1).await.into_iter().map(|line| line["decision"].clone()).collect();
    assert_eq!(decisions, ["allow", "allow", "refuse", "error"]);
}
