//! Traces, as a collector that others wrote receives them, and what becomes of requests when one does not.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};

use crate::collector::{Collector, Mood, Rotel, Span};
use crate::eventually;
use crate::stage::{Configuration, Gateway, RELOADED, Stage, message, now, write};
use crate::support::Identity;
use crate::support::keys::Key;
use crate::support::wire::{Answer, Http, Message};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const STEP: &str = "b7ad6b7169203331";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{STEP}-{flags}")
}

fn with(mut call: Message, fields: &[(&str, &str)]) -> Message {
    call.headers.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())));
    call
}

/// A gateway that tells this collector of its requests, and whatever else is to be said of telemetry.
async fn traced(stage: &Stage, endpoint: &str, more: &str) -> Gateway {
    let telemetry = format!("{{ otlp_endpoint: '{endpoint}'{more} }}");
    stage.gateway_with(|configuration| configuration.telemetry = telemetry).await
}

fn id_of(answer: &Answer) -> &str {
    answer.header("x-request-id").unwrap()
}

/// What the API saw last under this name.
fn told(stage: &Stage, name: &str) -> Vec<String> {
    let seen = stage.api.seen().pop().unwrap();
    seen.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

/// The trace, the step and the flags of the one field that the API saw last.
fn told_step(stage: &Stage) -> (String, String, String) {
    let told = told(stage, "traceparent");
    let [only] = &told[..] else { panic!("{told:?}") };
    let parts: Vec<&str> = only.split('-').collect();
    let [version, trace, step, flags] = parts[..] else { panic!("{only}") };
    assert_eq!((version, trace.len(), step.len()), ("00", 32, 16), "{only}");
    (trace.to_owned(), step.to_owned(), flags.to_owned())
}

async fn spans(gateway: &Gateway, result: &str) -> f64 {
    gateway.scrape().await.sum("keybound_trace_spans_total", &[("result", result)])
}

/// Waits until so many spans have come to this.
async fn counts(gateway: &Gateway, result: &str, expected: f64) {
    eventually(result, async || (spans(gateway, result).await >= expected).then_some(())).await;
    assert_eq!(spans(gateway, result).await, expected, "{result}");
}

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

#[tokio::test]
async fn a_trace_goes_on_from_the_client_to_the_api() {
    let (stage, rotel) = (Stage::set().await, Rotel::start().await);
    let gateway = traced(&stage, &rotel.endpoint(), "").await;
    for (http, version) in [(Http::One, "1.1"), (Http::Two, "2")] {
        let parent = traceparent("01");
        let fields = [("traceparent", &*parent), ("tracestate", "vendor=1"), ("tracestate", "other=2")];
        let call = with(stage.call("/api/item?q=secret"), &fields);
        let answer = gateway.dialer().send(http, &call).await.unwrap();
        assert_eq!(answer.status, 200);
        let (trace, step, flags) = told_step(&stage);
        assert_eq!((trace.as_str(), flags.as_str()), (TRACE, "01"));
        assert_eq!(told(&stage, "tracestate").join(","), "vendor=1,other=2");

        let spans = rotel.spans_of(id_of(&answer)).await;
        let stations = ["GET /api", "target", "token", "binding", "limits", "replay", "policy", "GET"];
        assert_eq!(names(&spans), stations);
        let (server, children) = spans.split_first().unwrap();
        let upstream = children.last().unwrap();
        assert_eq!((server.parent.as_str(), &upstream.id), (STEP, &step), "from the client's step to the API's");
        for span in &spans {
            assert!(span.trace == TRACE && !span.failed, "{span:?}");
        }
        let kinds = spans.iter().map(|span| span.kind.trim_start_matches("SPAN_KIND_")).collect::<Vec<_>>();
        assert_eq!((kinds[0], kinds[1], kinds[6], kinds[7]), ("SERVER", "INTERNAL", "INTERNAL", "CLIENT"));
        // One after the other, within the whole.
        let mut at = server.start;
        for span in children {
            assert!(at <= span.start && span.start <= span.end && span.end <= server.end, "{spans:#?}");
            at = span.end;
        }
        let real = u64::try_from(now()).unwrap() * 1_000_000_000;
        assert!(server.start.abs_diff(real) < 60_000_000_000 && server.start % 1_000_000 != 0, "{server:?}");

        let attributes = |span: &Span| serde_json::to_value(&span.attributes).unwrap();
        let expected = json!({
            "http.request.method": "GET", "http.route": "/api", "http.response.status_code": "200",
            "network.protocol.version": version, "url.scheme": "https", "server.address": "rs.example",
            "keybound.route": "api", "keybound.decision": "allow", "keybound.binding": "dpop",
            "keybound.request_id": id_of(&answer),
        });
        assert_eq!(attributes(server), expected);
        let api = stage.api.address;
        let expected = json!({
            "http.request.method": "GET", "http.response.status_code": "200", "server.address": "127.0.0.1",
            "server.port": api.port().to_string(), "keybound.upstream": format!("http://{api}"),
        });
        assert_eq!(attributes(upstream), expected);
        let binding = json!({"keybound.binding": "dpop"});
        let rest: Vec<_> = children[..6].iter().map(attributes).collect();
        assert_eq!(rest, [json!({}), json!({}), binding, json!({}), json!({}), json!({})]);
        let line = gateway.access_line(id_of(&answer)).await;
        assert_eq!(line["trace_id"], TRACE);
    }
    let said = rotel.said();
    assert!(said.contains("service.name: Str(keybound)") && said.contains("service.version: Str("), "{said}");
    assert!(!said.contains("item"), "neither path nor query: {said}");
}

#[tokio::test]
async fn a_refusal_ends_the_trace_at_its_station_and_says_why() {
    let (stage, rotel) = (Stage::set().await, Rotel::start().await);
    let observes = |configuration: &mut Configuration| {
        configuration.telemetry = format!("{{ otlp_endpoint: '{}' }}", rotel.endpoint());
        let access = format!("access: {{ mode: observe }}, upstream: 'http://{}'", stage.api.address);
        configuration.routes += &format!("\n  - {{ name: watched, match: {{ path_prefix: /watched }}, {access} }}");
    };
    let gateway = stage.gateway_with(observes).await;
    let identity = Identity::self_signed();
    let token = stage.token().compact();
    let once = stage.call_with("/api/item", &token);
    assert_eq!(gateway.status(&once).await, 200);
    let mut expired = stage.token();
    expired.claims["exp"] = json!(now() - 600);
    let mut stranger = stage.token();
    stranger.key = Key::es256().into();
    let mut outside = message("/x", &[]);
    outside.target = "/api/../x".to_owned();
    let mut invented = message("/open/x", &[]);
    invented.method = "BREW".to_owned();
    let long = "a.".repeat(127) + "example";
    let mut elsewhere = message("/open/x", &[]);
    elsewhere.host = Some(long.clone());
    let all = ["target", "token", "binding", "limits", "replay", "policy"];
    for (call, name, stations, reason, error) in [
        (once, "GET /api", &all[..5], "proof_replayed", ""),
        (message("/api/item", &[]), "GET /api", &all[..2], "credentials_missing", ""),
        (stage.call_with("/api/item", &expired.compact()), "GET /api", &all[..2], "token_expired", ""),
        (stage.call_with("/api/item", &stranger.compact()), "GET /api", &all[..2], "token_signature", ""),
        (stage.call_bound_to("/api/item", &identity), "GET /api", &all[..3], "certificate_missing", ""),
        (stage.call("/admin-api/item"), "GET /admin-api", &all[..6], "scope_missing", ""),
        (message("/elsewhere", &[]), "GET", &all[..1], "no_route", ""),
        (outside, "GET", &all[..1], "target_invalid", ""),
        (
            stage.call("/down/x"),
            "GET /down",
            &[&all[..], &["GET"]].concat(),
            "upstream_unreachable",
            "upstream_unreachable",
        ),
        (message("/open/x", &[]), "GET /open", &["target", "GET"], "", ""),
        (invented, "HTTP /open", &["target", "HTTP"], "", ""),
        (elsewhere, "GET", &all[..1], "host_invalid", ""),
    ] {
        let answer = gateway.send(&call).await;
        let spans = rotel.spans_of(id_of(&answer)).await;
        assert_eq!(names(&spans), [&[name][..], stations].concat(), "{reason}");
        let (server, children) = spans.split_first().unwrap();
        let said = |span: &Span, name: &str| span.attribute(name).unwrap_or_default().to_owned();
        assert_eq!((said(server, "keybound.reason"), said(server, "error.type")), (reason.into(), error.into()));
        assert_eq!(said(server, "http.response.status_code"), answer.status.to_string());
        let (last, before) = children.split_last().unwrap();
        assert_eq!((said(last, "keybound.reason"), said(last, "error.type")), (reason.into(), error.into()));
        assert!(before.iter().all(|span| !span.failed && span.attribute("keybound.reason").is_none()), "{before:?}");
        let fails = !error.is_empty();
        assert_eq!((last.failed, server.failed), (fails, fails), "{spans:#?}");
        assert_eq!(server.parent, "");
        // The client's words in bounds.
        let method = if call.method == "GET" { "GET" } else { "_OTHER" };
        assert_eq!(said(server, "http.request.method"), method);
        let host = if ["target_invalid", "host_invalid"].contains(&reason) { "" } else { "rs.example" };
        assert_eq!(said(server, "server.address"), host);
    }
    assert!(!rotel.said().contains("BREW"));
    // Where nothing is refused, the request goes on. What would have refused it stands at its station.
    let answer = gateway.send(&message("/watched/x", &[])).await;
    let spans = rotel.spans_of(id_of(&answer)).await;
    assert_eq!((answer.status, names(&spans)), (200, vec!["GET /watched", "target", "token", "GET"]));
    let reasons: Vec<_> = spans.iter().map(|span| span.attribute("keybound.reason").unwrap_or_default()).collect();
    assert_eq!(reasons, ["credentials_missing", "", "credentials_missing", ""]);
    assert!(spans.iter().all(|span| !span.failed), "{spans:#?}");
}

#[tokio::test]
async fn what_is_not_sampled_leaves_nothing_but_its_trace() {
    let (stage, collector) = (Stage::set().await, Collector::start(Mood::Takes).await);
    let parent = traceparent("00");
    // Not by the client: its step calls the API.
    let gateway = traced(&stage, &collector.endpoint(), "").await;
    let call = with(stage.call("/api/item"), &[("traceparent", &parent), ("tracestate", "vendor=1")]);
    let answer = gateway.send(&call).await;
    assert_eq!(told_step(&stage), (TRACE.to_owned(), STEP.to_owned(), "00".to_owned()));
    assert_eq!(told(&stage, "tracestate"), ["vendor=1"]);
    assert_eq!(gateway.access_line(id_of(&answer)).await["trace_id"], Value::Null);
    gateway.program.signal("TERM");
    assert_eq!(gateway.program.ended().await.code, 0);
    assert!(collector.names().is_empty(), "{:?}", collector.names());

    // Not by the gateway, whatever the client wants.
    let gateway = traced(&stage, &collector.endpoint(), ", traces: { sample: 0 }").await;
    let parent = traceparent("01");
    assert_eq!(gateway.status(&with(stage.call("/api/item"), &[("traceparent", &parent)])).await, 200);
    let (trace, step, flags) = told_step(&stage);
    assert!(trace == TRACE && step != STEP && flags == "00", "{trace} {step} {flags}");
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
    let (trace, step, flags) = told_step(&stage);
    assert!(trace != TRACE && step != STEP && flags == "00", "{trace} {step} {flags}");
    gateway.program.signal("TERM");
    assert_eq!(gateway.program.ended().await.code, 0);
    assert!(collector.names().is_empty(), "{:?}", collector.names());
}

#[tokio::test]
async fn a_share_is_traced() {
    let (stage, collector) = (Stage::set().await, Collector::start(Mood::Takes).await);
    let gateway = traced(&stage, &collector.endpoint(), ", traces: { sample: 0.5 }").await;
    let parent = traceparent("01");
    let mut flags = BTreeMap::<String, usize>::new();
    for _ in 0..40 {
        assert_eq!(gateway.status(&message("/open/x", &[("traceparent", &parent)])).await, 200);
        *flags.entry(told_step(&stage).2).or_default() += 1;
    }
    let sampled = flags["01"];
    assert!((5..=35).contains(&sampled), "{sampled} of 40, which happens less than once in a million times: {flags:?}");
    gateway.program.signal("TERM");
    assert_eq!(gateway.program.ended().await.code, 0);
    assert_eq!(collector.names().len(), 3 * sampled, "what was left was exported at the end");
}

#[tokio::test]
async fn what_is_invalid_is_no_trace_and_nobody_traces_where_it_is_off() {
    let (stage, collector) = (Stage::set().await, Collector::start(Mood::Takes).await);
    let parent = traceparent("01");
    let cases: [&[&str]; 4] = [&["00-nonsense"], &[&parent, &parent], &[&parent.to_uppercase()], &[""]];
    let gateway = traced(&stage, &collector.endpoint(), "").await;
    let elsewhere = Stage::set().await;
    let off = elsewhere.gateway().await;
    for lines in cases {
        let mut fields: Vec<_> = lines.iter().map(|line| ("traceparent", *line)).collect();
        fields.extend([("tracestate", "vendor=1"), ("baggage", "a=b")]);
        assert_eq!(gateway.status(&with(stage.call("/api/item"), &fields)).await, 200);
        let (trace, step, flags) = told_step(&stage);
        assert!(trace != TRACE && step != STEP && flags == "01", "{trace} {step} {flags}");
        assert!(told(&stage, "tracestate").is_empty(), "it belongs to a trace that is not continued");
        assert_eq!(told(&stage, "baggage"), ["a=b"]);

        assert_eq!(off.status(&with(elsewhere.call("/api/item"), &fields)).await, 200);
        assert_eq!(told(&elsewhere, "traceparent"), lines);
        assert_eq!(
            (told(&elsewhere, "tracestate"), told(&elsewhere, "baggage")),
            (vec!["vendor=1".into()], vec!["a=b".into()])
        );
    }
    assert_eq!(off.status(&elsewhere.call("/api/item")).await, 200);
    assert!(told(&elsewhere, "traceparent").is_empty());
}

#[tokio::test]
async fn a_collector_in_trouble_harms_no_request() {
    let cases = [
        (Mood::Fails(StatusCode::BAD_REQUEST), "status 400", 1),
        (Mood::Fails(StatusCode::SERVICE_UNAVAILABLE), "status 503", 3),
        (Mood::Fails(StatusCode::FOUND), "status 302", 1),
        (Mood::Rejects(3), "it rejected 3 of 3 spans", 1),
    ];
    join_all(cases.map(|(mood, why, tries)| trouble(mood, why, tries))).await;
}

/// The collector takes nothing for this reason, and is asked so often about the first batch.
async fn trouble(mood: Mood, why: &str, tries: usize) {
    const LOST: &str = "traces cannot be exported";
    let (stage, collector) = (Stage::set().await, Collector::start(mood).await);
    let gateway = traced(&stage, &collector.endpoint(), "").await;
    let open = message("/open/x", &[]);
    assert_eq!(gateway.status(&open).await, 200);
    counts(&gateway, "failed", 3.0).await;
    let line = gateway.said(LOST, 1).await;
    let place = format!("{}/v1/traces", collector.endpoint());
    assert_eq!((&line["level"], &line["why"], &line["collector"]), (&json!("WARN"), &json!(why), &json!(place)));
    assert_eq!(collector.received().len(), tries, "{why}");
    // Told once, and once when it is over.
    assert_eq!(gateway.status(&open).await, 200);
    counts(&gateway, "failed", 6.0).await;
    assert_eq!(collector.received().len(), tries + 1, "{why}");
    collector.becomes(Mood::Takes);
    assert_eq!(gateway.status(&open).await, 200);
    counts(&gateway, "exported", 3.0).await;
    gateway.said("traces are exported again", 1).await;
    let told = gateway.program.lines().into_iter().filter(|line| line["message"] == LOST).count();
    assert_eq!((told, spans(&gateway, "failed").await, spans(&gateway, "dropped").await), (1, 6.0, 0.0));
}

#[tokio::test]
async fn a_collector_that_is_away_or_says_nothing_harms_no_request_and_no_end() {
    let stage = Stage::set().await;
    let nobody = traced(&stage, "http://127.0.0.1:1", "").await;
    for _ in 0..5 {
        assert_eq!(nobody.status(&stage.call("/api/item")).await, 200);
    }
    counts(&nobody, "failed", 5.0 * 8.0).await;
    let line = nobody.said("traces cannot be exported", 1).await;
    assert!(line["why"].as_str().unwrap().contains("Connection refused"), "{line}");
    nobody.program.signal("TERM");
    assert_eq!(nobody.program.ended().await.code, 0);

    let collector = Collector::start(Mood::Hangs).await;
    let hanging = traced(&stage, &collector.endpoint(), "").await;
    assert_eq!(hanging.status(&stage.call("/api/item")).await, 200);
    eventually("a batch", async || (!collector.received().is_empty()).then_some(())).await;
    for _ in 0..5 {
        assert_eq!(hanging.status(&stage.call("/api/item")).await, 200);
    }
    hanging.program.signal("TERM");
    let ended = hanging.program.ended().await;
    assert_eq!(ended.code, 0, "every request was finished");
    assert!(ended.out.contains("the last traces were not exported in time"), "{}", ended.out);
}

#[tokio::test]
async fn a_collector_is_told_what_its_file_says_and_nobody_else_is() {
    let (stage, collector) = (Stage::set().await, Collector::start(Mood::Takes).await);
    std::fs::write(stage.file("otlp.headers"), "Authorization: Bearer open-sesame\nX-Tenant: 7\n").unwrap();
    let more = ", log: { level: trace }, traces: { service_name: edge, headers_file: otlp.headers }";
    let gateway = traced(&stage, &format!("{}/base/", collector.endpoint()), more).await;
    assert_eq!(gateway.status(&message("/open/x", &[])).await, 200);
    counts(&gateway, "exported", 3.0).await;
    let [only] = &collector.received()[..] else { panic!("one batch") };
    let header = |name: &str| only.headers.get(name).unwrap().to_str().unwrap();
    assert_eq!((only.path.as_str(), header("content-type")), ("/base/v1/traces", "application/x-protobuf"));
    assert_eq!((header("authorization"), header("x-tenant")), ("Bearer open-sesame", "7"));
    assert!(only.names().iter().all(|name| name.contains("edge")), "{:?}", only.names());
    let answer = gateway.admin("/metrics").await.text();
    gateway.program.signal("TERM");
    let ended = gateway.program.ended().await;
    assert!(!(ended.out + &ended.err + &answer).contains("sesame"));
}

#[tokio::test]
async fn another_configuration_traces_otherwise() {
    let (stage, first, second) =
        (Stage::set().await, Collector::start(Mood::Takes).await, Collector::start(Mood::Takes).await);
    let gateway = traced(&stage, &first.endpoint(), "").await;
    let reload = async |telemetry: &str, times: usize| {
        let mut configuration = stage.configuration();
        configuration.telemetry = telemetry.to_owned();
        write(&stage.file("keybound.yaml"), &configuration.text());
        gateway.program.signal("HUP");
        assert_eq!(gateway.said(RELOADED, times).await["changes"], "telemetry");
    };
    let open = message("/open/x", &[]);
    assert_eq!(gateway.status(&open).await, 200);
    // What was taken before goes where it was to go.
    reload(&format!("{{ otlp_endpoint: '{}', traces: {{ service_name: edge }} }}", second.endpoint()), 1).await;
    assert_eq!(gateway.status(&open).await, 200);
    counts(&gateway, "exported", 6.0).await;
    let names = (first.names(), second.names());
    assert!(names.0.len() == 3 && names.1.len() == 3 && names.1[0].contains("edge"), "{names:?}");
    reload("{}", 2).await;
    assert_eq!(gateway.status(&open).await, 200);
    assert!(told(&stage, "traceparent").is_empty());
    reload(&format!("{{ otlp_endpoint: '{}' }}", first.endpoint()), 3).await;
    assert_eq!(gateway.status(&open).await, 200);
    counts(&gateway, "exported", 9.0).await;
    assert_eq!((first.names().len(), second.names().len()), (6, 3));
}

#[tokio::test]
async fn a_collector_is_recognized_by_its_certificate() {
    let stage = Stage::set().await;
    let read = |name: &str| std::fs::read(stage.file(name)).unwrap();
    let collector = Collector::start_with(&read("server.pem"), &read("server.key"), Mood::Takes).await;
    let stranger = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(stage.file("stranger.pem"), stranger.cert.pem()).unwrap();
    for (trusted, result) in [("stranger.pem", "failed"), ("server.pem", "exported")] {
        // The system's authorities, as OpenSSL is told of others.
        let trusted = stage.file(trusted);
        let environment = [("SSL_CERT_FILE", trusted.to_str().unwrap()), ("SSL_CERT_DIR", "")];
        let endpoint = format!("https://{}", collector.address);
        let gateway = stage
            .gateway_in(&environment, |configuration| {
                configuration.telemetry = format!("{{ otlp_endpoint: '{endpoint}' }}");
            })
            .await;
        gateway.program.says("ready").await;
        assert_eq!(gateway.status(&message("/open/x", &[])).await, 200);
        counts(&gateway, result, 3.0).await;
        assert_eq!(collector.received().len(), usize::from(result == "exported"));
        gateway.program.signal("TERM");
        let ended = gateway.program.ended().await;
        assert_eq!(
            (ended.code, ended.out.contains("invalid peer certificate")),
            (0, result == "failed"),
            "{}",
            ended.out
        );
    }
}
