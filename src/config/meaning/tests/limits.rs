//! `routes[].access.limits` and `limits.failures`, in the manner of the tests around it.

use std::time::Duration;

use super::*;
use crate::limits::{Per, Rate, RouteLimits};

fn of_route(limits: &str) -> Option<RouteLimits> {
    let settings = settings("route", &format!("    access: {{ limits: {limits} }}"));
    let Access::Enforce(policy) = &settings.routes[0].access else { panic!("public") };
    policy.limits
}

fn failures(limits: &str) -> Option<Rate> {
    settings("top", &format!("limits: {{ {limits} }}")).failures
}

fn second(often: u32, burst: u32) -> Option<Rate> {
    Some(Rate::new(often, Duration::from_secs(1), burst))
}

#[test]
fn limits_have_the_documented_defaults() {
    assert_eq!((of_route("null"), failures("failures: null"), failures("headers: 100")), (None, None, None));
    let per = Per::Thumbprint;
    for (yaml, limits) in [
        ("{ requests_per_second: 50 }", RouteLimits { per, rate: second(50, 100), concurrent: None }),
        ("{ requests_per_second: 1 }", RouteLimits { per, rate: second(1, 2), concurrent: None }),
        ("{ concurrent: 20 }", RouteLimits { per, rate: None, concurrent: Some(20) }),
        ("{ requests_per_second: null, concurrent: 1 }", RouteLimits { per, rate: None, concurrent: Some(1) }),
        (
            "{ per: client_id, requests_per_second: 5, burst: 1, concurrent: 2 }",
            RouteLimits { per: Per::ClientId, rate: second(5, 1), concurrent: Some(2) },
        ),
        (
            "{ per: subject, requests_per_second: 1000000 }",
            RouteLimits { per: Per::Subject, rate: second(1_000_000, 1_000_000), concurrent: None },
        ),
    ] {
        assert_eq!(of_route(yaml), Some(limits), "{yaml}");
    }
    let minute = |often, burst| Some(Rate::new(often, Duration::from_secs(60), burst));
    assert_eq!(failures("failures: {}"), minute(60, 120));
    assert_eq!(failures("failures: { per_minute: 5 }"), minute(5, 10));
    assert_eq!(failures("failures: { per_minute: 5, burst: 3 }"), minute(5, 3));
}

#[test]
fn a_brake_behind_a_terminator_is_told() {
    let warned = |yaml: &str| {
        let (_, warnings) = read(&changed("top", yaml)).unwrap();
        let is_told = |finding: &Finding| is(finding, Severity::Warning, "limits.failures", "the same TLS terminator");
        warnings.findings().iter().any(is_told)
    };
    assert!(warned("limits: { failures: {} }") && !warned("limits: { headers: 100 }"));
    let proxies =
        changed("listener", "    trusted_proxies: [10.0.0.7]").replace("# top\n", "limits: { failures: {} }\n");
    assert!(read(&proxies).unwrap().1.findings().iter().all(|finding| finding.field() != "limits.failures"));
    let tls = "    tls: { certificate_file: tls.crt, key_file: tls.key }";
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = [("tls.crt", made.cert.pem()), ("tls.key", made.signing_key.serialize_pem())];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let text = changed("listener", tls).replace("# top\n", "limits: { failures: {} }\n");
    let (settings, warnings) = read_beside(&files, &text).unwrap();
    assert!(settings.failures.is_some() && warnings.findings().len() == 1, "{warnings}");
}

#[test]
fn wrong_limits_are_refused_at_their_place() {
    let place = |name: &str| format!("routes[0].access.limits{name}");
    for (yaml, name, message) in [
        ("{}", "", "found neither"),
        ("{ per: subject }", "", "found neither"),
        ("{ burst: 5 }", "", "found neither"),
        ("{ requests_per_second: null }", "", "found neither"),
        ("{ concurrent: 5, burst: 5 }", ".burst", "no effect without `requests_per_second`"),
        ("{ requests_per_second: 0 }", ".requests_per_second", "a number from 1 to 1000000"),
        ("{ requests_per_second: 1000001 }", ".requests_per_second", "a number from 1 to 1000000"),
        ("{ requests_per_second: 1, burst: 0 }", ".burst", "a number from 1 to 1000000"),
        ("{ concurrent: 0 }", ".concurrent", "a number from 1 to 1000000"),
        ("{ per: address, concurrent: 1 }", ".per", "`thumbprint`, `client_id` or `subject`"),
        ("{ concurrent: 1, requests_per_minute: 1 }", ".requests_per_minute", "unknown field"),
    ] {
        let line = format!("    access: {{ limits: {yaml} }}");
        refused(&[("route", &line, &place(name), message)]);
    }
    let public = "    access: { mode: public, limits: { concurrent: 1 } }";
    refused(&[
        ("route", public, "routes[0].access.limits", "a public route checks nothing"),
        ("top", "limits: { failures: { per_minute: 0 } }", "limits.failures.per_minute", "a number from 1 to 1000000"),
        ("top", "limits: { failures: { burst: 0 } }", "limits.failures.burst", "a number from 1 to 1000000"),
        ("top", "limits: { failures: 60 }", "limits.failures", "a mapping"),
        ("top", "limits: { failures: { per_second: 1 } }", "limits.failures.per_second", "unknown field"),
    ]);
}
