//! `telemetry.otlp_endpoint` and `telemetry.traces`, in the manner of the tests around it.

use super::*;
use crate::telemetry::TraceSettings;

fn traces(files: &[(&str, &str)], yaml: &str) -> TraceSettings {
    let read = read_beside(files, &changed("top", &format!("telemetry: {yaml}")));
    read.unwrap_or_else(|report| panic!("{yaml}\n{}", report.render(false))).0.telemetry.traces.unwrap()
}

#[test]
fn a_collector_is_called_by_its_address() {
    assert_eq!(settings("top", "telemetry: { otlp_endpoint: null, traces: { sample: 0.5 } }").telemetry.traces, None);
    for (written, meant) in [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
        ("https://otlp.example.com", "https://otlp.example.com/v1/traces"),
        ("https://otlp.example.com/tenant/", "https://otlp.example.com/tenant/v1/traces"),
        ("https://otlp.example.com/tenant/v1/traces", "https://otlp.example.com/tenant/v1/traces"),
    ] {
        let found = traces(&[], &format!("{{ otlp_endpoint: '{written}' }}"));
        assert_eq!((found.endpoint.to_string().as_str(), found.share.number()), (meant, 1.0));
        assert_eq!((found.service_name.as_str(), found.headers.len()), ("keybound", 0));
    }
    let endpoint = |written: &str| format!("telemetry: {{ otlp_endpoint: '{written}' }}");
    for (written, message) in [
        ("127.0.0.1:4318", "expected a URL such as"),
        ("grpc://127.0.0.1:4317", "begins with `http://`"),
        ("http://me:you@127.0.0.1:4318", "without user name"),
        ("http://127.0.0.1:4318?x=1", "expected a URL such as"),
        ("http://127.0.0.1:4318#x", "expected a URL such as"),
        ("http://127.0.0.1:port", "expected a URL such as"),
    ] {
        refused(&[("top", &endpoint(written), "telemetry.otlp_endpoint", message)]);
    }
}

#[test]
fn what_a_collector_is_told_comes_from_a_file() {
    let yaml =
        "{ otlp_endpoint: 'https://otlp.example.com', traces: { sample: 0.1, service_name: edge, headers_file: h } }";
    let found = traces(&[("h", "Authorization: Basic c2VjcmV0\n\n x-tenant:  a b \r\n")], yaml);
    assert_eq!((found.share.number(), found.service_name.as_str()), (0.1, "edge"));
    let told: Vec<_> = found.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(told, [("authorization", "Basic c2VjcmV0"), ("x-tenant", "a b")]);
    assert!(!format!("{found:?}").contains("c2VjcmV0"));

    let top = format!("telemetry: {yaml}");
    let field = "telemetry.traces.headers_file";
    for (file, message) in [
        ("", "found an empty file"),
        ("Authorization: Basic c2VjcmV0\nhush\n", "line 2: expected a header field"),
        ("\n: hush", "line 1: expected a header field"),
        ("a b: hush", "line 1: expected a header field"),
        ("a: hu\x01sh", "line 1: expected a header field"),
        ("a: b\nContent-Length: 7", "line 2: expected a field that does not say how the message is sent"),
    ] {
        refused_beside(&[("h", file)], &[("top", &top, field, message)]);
        let report = read_beside(&[("h", file)], &changed("top", &top)).unwrap_err().render(false);
        assert!(!report.contains("hu") && !report.contains("c2Vj"), "{report}");
    }
    refused(&[
        ("top", &top, field, "cannot be read"),
        ("top", "telemetry: { traces: { service_name: '' } }", "telemetry.traces.service_name", "not empty"),
        ("top", "telemetry: { traces: { sample: 1.5 } }", "telemetry.traces.sample", "from 0.000001 to 1"),
        ("top", "telemetry: { traces: { ratio: 1 } }", "telemetry.traces.ratio", "unknown field"),
    ]);
    let alone = "telemetry: { traces: { headers_file: h } }";
    refused_beside(&[("h", "a: b")], &[("top", alone, field, "has no effect without")]);
}

#[test]
fn secrets_in_the_clear_are_told() {
    let warned = |endpoint: &str, more: &str| {
        let yaml = format!("telemetry: {{ otlp_endpoint: '{endpoint}'{more} }}");
        let (_, warnings) = read_beside(&[("h", "a: b")], &changed("top", &yaml)).unwrap();
        let is_told = |finding: &Finding| is(finding, Severity::Warning, "telemetry.otlp_endpoint", "in the clear");
        warnings.findings().iter().any(is_told)
    };
    let with = ", traces: { headers_file: h }";
    assert!(warned("http://otel:4318", with));
    assert!(!warned("http://otel:4318", "") && !warned("https://otel:4318", with));
    assert!(!warned("http://localhost:4318", with) && !warned("http://[::1]:4318", with));
}
