use std::io;

use serde_json::Value;

use super::super::line::Form;
use super::super::output::{Bounds, Output};
use super::*;
use crate::clock::ManualClock;
use crate::refusal::Reason;
use crate::time::UnixTime;

/// What the records leave that `fill` is given a ledger for.
fn lines_of(form: Option<Form>, fill: impl FnOnce(&Arc<Ledger>)) -> (String, Arc<Metrics>) {
    let (reader, writer) = io::pipe().unwrap();
    let output = Output::start(writer, Bounds::default()).unwrap();
    let log = form.map(|form| AccessLog::new(output.lines().clone(), form));
    let metrics = Arc::new(Metrics::new(&["api"], &[]).unwrap());
    let clock = Arc::new(ManualClock::at(UnixTime::from_millis(1_795_351_414_309)));
    fill(&Arc::new(Ledger { metrics: Arc::clone(&metrics), clock, log, refusals: Arc::default(), tracer: None }));
    drop(output);
    (io::read_to_string(reader).unwrap(), metrics)
}

fn open(ledger: &Arc<Ledger>) -> Box<Record> {
    Record::open(Arc::clone(ledger), RequestId::new(1, 0x2a), [192, 0, 2, 1].into(), http::Method::GET)
}

fn keys(line: &str) -> Vec<&str> {
    let keys = line.split(",\"").filter_map(|piece| piece.split_once("\":"));
    keys.map(|(key, _)| key.trim_start_matches("{\"")).collect()
}

fn full(ledger: &Arc<Ledger>, reason: Reason) {
    let mut record = open(ledger);
    record.target("https", "rs.example", "/a");
    record.route = Some(0);
    record.binding = Some(Binding::Both);
    record.decided(false);
    record.returned();
    record.refusal = Some(Refusal::new(reason).expected("a \"b\"").found("\u{1}é"));
    record.decision = Decision::Error;
    record.answered(502, Duration::from_millis(1));
    record.bytes = 7;
}

#[test]
fn every_field_has_its_place() {
    let (line, _) = lines_of(Some(Form::Json), |ledger| full(ledger, Reason::UpstreamUnreachable));
    let names = "timestamp level request_id peer method host path route decision reason expected found binding status \
                 bytes duration_ms authorization_ms upstream_ms target";
    assert_eq!(keys(&line).join(" "), names, "{line}");
    let read: Value = serde_json::from_str(&line).unwrap();
    for (name, value) in [
        ("timestamp", "2026-11-22T12:43:34.309Z"),
        ("level", "WARN"),
        ("request_id", "0000000000000001-2a"),
        ("peer", "192.0.2.1"),
        ("method", "GET"),
        ("host", "rs.example"),
        ("path", "/a"),
        ("route", "api"),
        ("decision", "error"),
        ("reason", "upstream_unreachable"),
        ("expected", "a \"b\""),
        ("found", "\u{1}é"),
        ("binding", "dpop+mtls"),
        ("target", "access"),
    ] {
        assert_eq!(read[name], value, "{line}");
    }
    assert_eq!((&read["status"], &read["bytes"]), (&502.into(), &7.into()));
}

#[test]
fn who_broke_an_answer_off_first_is_counted_once() {
    let (line, metrics) = lines_of(Some(Form::Json), |ledger| {
        let mut record = open(ledger);
        record.broke_off(BrokenOff::Upstream);
        record.broke_off(BrokenOff::Client);
    });
    assert!(line.contains(r#""broken_off":"upstream""#), "{line}");
    let text = String::from_utf8(metrics.render(&super::super::Snapshot::default()).unwrap()).unwrap();
    let count = |by| format!(r#"keybound_broken_answers_total{{by="{by}",route="none"}}"#);
    assert!(text.contains(&format!("{} 1", count("upstream"))) && !text.contains(&count("client")), "{text}");
}

#[test]
fn what_is_not_known_is_left_out() {
    let (line, metrics) = lines_of(Some(Form::Json), |ledger| drop(open(ledger)));
    assert_eq!(
        keys(&line).join(" "),
        "timestamp level request_id peer method decision status bytes duration_ms target",
        "{line}"
    );
    assert!(line.contains(r#""level":"INFO""#) && line.contains(r#""status":499,"bytes":0,"#), "{line}");
    let text = String::from_utf8(metrics.render(&super::super::Snapshot::default()).unwrap()).unwrap();
    let series = r#"keybound_requests_total{binding="none",code="499",decision="refuse",route="none"} 1"#;
    assert!(text.contains(series), "{text}");
}

#[test]
fn a_target_that_cannot_be_read_is_a_path() {
    let (line, _) = lines_of(Some(Form::Json), |ledger| open(ledger).unread_target(|| "/é/../x".to_owned()));
    assert!(line.contains(r#""path":"/é/../x","#) && !line.contains("\"host\""), "{line}");
}

#[test]
fn the_fault_of_the_client_is_no_warning() {
    let (lines, _) = lines_of(Some(Form::Text { colours: false }), |ledger| {
        full(ledger, Reason::ProofReplayed);
        full(ledger, Reason::KeysUnavailable);
    });
    let levels: Vec<_> = lines.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(levels, ["INFO", "WARN"]);
    assert!(
        lines.contains(r#" access: request_id="0000000000000001-2a" peer=192.0.2.1 method="GET" host="#),
        "{lines}"
    );
}

#[test]
fn without_a_log_requests_are_counted_and_nothing_is_kept_for_a_line() {
    let (lines, metrics) = lines_of(None, |ledger| {
        let mut record = open(ledger);
        record.target("https", "rs.example", "/a");
        record.unread_target(|| unreachable!("nobody reads it"));
        assert!(record.target.is_empty());
        drop(record);
        full(ledger, Reason::KeysUnavailable);
    });
    assert_eq!((lines.as_str(), metrics.refusals(Reason::KeysUnavailable)), ("", 1));
    let text = String::from_utf8(metrics.render(&super::super::Snapshot::default()).unwrap()).unwrap();
    assert!(text.contains(r#"binding="none",code="499",decision="refuse",route="none"} 1"#), "{text}");
}
