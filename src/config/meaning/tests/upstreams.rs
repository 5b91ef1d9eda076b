//! Endpoints, how they are recognized, and how they are asked whether they are well.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use super::{changed, read, read_beside, refused, settings};
use crate::config::Report;
use crate::forward::HealthCheck;
use crate::gateway::Settings;

/// An upstream that a route uses, with more in it.
fn with(endpoints: &str, more: &str) -> String {
    let named = changed("http://127.0.0.1:8080", "a");
    named.replace("# top\n", &format!("upstreams: {{ a: {{ endpoints: [{endpoints}]{more} }} }}\n"))
}

#[test]
fn mistakes_are_told_at_their_place() {
    let top = |field: &'static str, yaml: &'static str, message: &'static str| ("top", yaml, field, message);
    refused(&[
        top(
            "upstreams.a.endpoints[1]",
            "upstreams: { a: { endpoints: [http://127.0.0.1:1, https://x:2] } }",
            "expected `http://`, as the first endpoint has it, found `https://`",
        ),
        top(
            "upstreams.a.endpoints[2]",
            "upstreams: { a: { endpoints: [http://127.0.0.1:1, http://127.0.0.1:2, http://127.0.0.1:1] } }",
            "configured twice",
        ),
        top(
            "upstreams.a.endpoints[0]",
            "upstreams: { a: { endpoints: ['https://a..b'] } }",
            "a host that a certificate can name",
        ),
        top(
            "upstreams.a.tls.ca_file",
            "upstreams: { a: { endpoints: [https://x], tls: { ca_file: none.pem } } }",
            "none.pem",
        ),
        top(
            "upstreams.a.tls.certificate_file",
            "upstreams: { a: { endpoints: [https://x], tls: { certificate_file: none.pem } } }",
            "`key_file` belongs to it",
        ),
        top(
            "upstreams.a.tls.server_name",
            "upstreams: { a: { endpoints: [https://x], tls: { server_name: 'a b' } } }",
            "a host name or an IP address",
        ),
        top(
            "upstreams.a.tls.server_name",
            "upstreams: { a: { endpoints: [http://127.0.0.1:1], tls: { server_name: x } } }",
            "has no effect",
        ),
        top(
            "upstreams.a.max_connections",
            "upstreams: { a: { endpoints: [http://127.0.0.1:1], max_connections: 0 } }",
            "from 1 to 1000000",
        ),
        top(
            "upstreams.a.max_connections",
            "upstreams: { a: { endpoints: [http://127.0.0.1:1], http2: true, max_connections: 9 } }",
            "expected no limit beside `http2: true`",
        ),
        top(
            "upstreams.a.health_check.path",
            "upstreams: { a: { endpoints: [http://127.0.0.1:1], health_check: {} } }",
            "missing",
        ),
        top(
            "upstreams.a.health_check.path",
            "upstreams: { a: { endpoints: [http://127.0.0.1:1], health_check: { path: 'http://x/' } } }",
            "a path such as",
        ),
        top(
            "upstreams.a.health_check.interval",
            "upstreams: { a: { endpoints: [http://127.0.0.1:1], health_check: { path: /, interval: 1ms } } }",
            "at least 100ms",
        ),
        top(
            "upstreams.a.health_check.unhealthy_after",
            "upstreams: { a: { endpoints: [http://127.0.0.1:1], health_check: { path: /, unhealthy_after: 0 } } }",
            "from 1 to 1000",
        ),
    ]);
    let many: Vec<String> = (1..=65).map(|port| format!("http://127.0.0.1:{port}")).collect();
    let report = read(&with(&many.join(", "), "")).unwrap_err().render(false);
    assert!(report.contains("upstreams.a.endpoints: expected at most 64 endpoints, found 65"), "{report}");
    assert!(read(&with(&many[..64].join(", "), "")).is_ok());
}

#[test]
fn health_checks_have_defaults() {
    let set = read(&with("http://127.0.0.1:1, 'http://[::1]:2'", ", health_check: { path: '/healthz?deep=1' }"));
    let upstream = &set.unwrap().0.upstreams[0];
    assert_eq!(upstream.urls().collect::<Vec<_>>(), ["http://127.0.0.1:1", "http://[::1]:2"]);
    let check = upstream.health_check.as_ref().unwrap();
    let HealthCheck { path, interval, timeout, healthy_after, unhealthy_after } = check;
    assert_eq!((path.as_str(), *healthy_after, *unhealthy_after), ("/healthz?deep=1", 2, 3));
    assert_eq!((*interval, *timeout), (Duration::from_secs(5), Duration::from_secs(2)));
    let none = settings("top", "upstreams: { a: { endpoints: [http://127.0.0.1:1], health_check: null } }");
    assert!(none.upstreams[0].health_check.is_none());
}

#[test]
fn files_of_tls_are_read_at_once() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["gateway".to_owned()]).unwrap().self_signed(&key).unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = authority.self_signed(&key).unwrap().pem();
    let files = [
        ("ca.pem", authority.as_str()),
        ("own.pem", &certificate.pem()),
        ("own.key", &key.serialize_pem()),
        ("other.key", &KeyPair::generate().unwrap().serialize_pem()),
        ("garbage.pem", "none"),
    ];
    let read = |tls: &str| -> Result<(Settings, Report), Report> {
        read_beside(&files, &with("https://127.0.0.1:1", &format!(", tls: {{ {tls} }}")))
    };
    let good = "ca_file: ca.pem, certificate_file: own.pem, key_file: own.key, server_name: orders.internal";
    let tls = &read(good).unwrap().0.upstreams[0].tls;
    assert_eq!((tls.roots.as_ref().unwrap().len(), tls.certificate.is_some()), (1, true));
    assert_eq!(tls.server_name.as_ref().unwrap().to_str(), "orders.internal");
    let shown = format!("{tls:?}");
    assert!(!shown.contains("key") && shown.contains("certificate: true"), "{shown}");
    for (from, to, field) in [
        ("ca.pem", "garbage.pem", "upstreams.a.tls.ca_file"),
        ("own.pem", "garbage.pem", "upstreams.a.tls.certificate_file"),
        ("own.key", "other.key", "upstreams.a.tls"),
    ] {
        let report = read(&good.replace(from, to)).unwrap_err().render(false);
        assert!(report.contains(&format!("error: {field}")) && report.contains(to), "{report}");
    }
}
