//! The valid case, one change, the one problem.

use std::fs;

use crate::config::{Finding, Report, Severity, load};
use crate::gateway::Settings;
use crate::routes::{Access, AuthorizationForward};
use crate::telemetry::Share;
use crate::tokens::KeyTableSettings;

mod browsers;
mod fronts;
mod identity;
mod introspection;
mod limits;
mod listeners;
mod replicas;
mod telemetry;
mod upstreams;

const VALID: &str = "\
listeners:
  - address: 127.0.0.1:0
    # listener
issuers:
  - issuer: https://auth.example.com
    audiences: [https://api.example.com]
    # issuer
routes:
  - upstream: http://127.0.0.1:8080
    # route
# top
";

fn read(text: &str) -> Result<(Settings, Report), Report> {
    read_beside(&[], text)
}

/// With files of these names and contents beside it.
fn read_beside(files: &[(&str, &str)], text: &str) -> Result<(Settings, Report), Report> {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(directory.path().join(name), content).unwrap();
    }
    let file = directory.path().join("keybound.yaml");
    fs::write(&file, text).unwrap();
    load(&file, &|_| None).map(|loaded| (loaded.settings, loaded.warnings))
}

/// Puts a line in the place of a comment of [`VALID`], or something else in the place of something in it.
fn changed(what: &str, by: &str) -> String {
    let at = match what {
        "top" => "# top\n".to_owned(),
        "listener" | "issuer" | "route" => format!("    # {what}\n"),
        other => other.to_owned(),
    };
    assert!(VALID.contains(&at), "{what}");
    let by = if at.contains('#') { format!("{by}\n") } else { by.to_owned() };
    VALID.replacen(&at, &by, 1)
}

fn settings(what: &str, by: &str) -> Settings {
    read(&changed(what, by)).unwrap_or_else(|report| panic!("{by}\n{}", report.render(false))).0
}

fn is(finding: &Finding, severity: Severity, field: &str, message: &str) -> bool {
    finding.severity() == severity && finding.field() == field && finding.message().contains(message)
}

fn errors(report: &Report) -> Vec<&Finding> {
    report.findings().iter().filter(|finding| finding.severity() == Severity::Error).collect()
}

/// Each change alone is refused at its field for its reason, and for nothing else.
fn refused(cases: &[(&str, &str, &str, &str)]) {
    refused_beside(&[], cases);
}

fn refused_beside(files: &[(&str, &str)], cases: &[(&str, &str, &str, &str)]) {
    for (what, by, field, message) in cases {
        let report = read_beside(files, &changed(what, by)).expect_err(by);
        let errors = errors(&report);
        let expected = matches!(errors.as_slice(), [only] if is(only, Severity::Error, field, message));
        let told = report.render(false);
        assert!(expected, "{by}: expected {field}: …{message}…\n{told}");
        assert!(!told.contains("expected expected"), "{told}");
    }
}

#[test]
fn the_valid_case_is_valid_and_has_the_documented_defaults() {
    let (settings, warnings) = read(VALID).unwrap();
    let [replay] = warnings.findings() else { panic!("{warnings}") };
    assert!(is(replay, Severity::Warning, "replay.store", "replicas do not share them"));
    assert_eq!(settings.admin.address.to_string(), "127.0.0.1:9090");
    assert_eq!(settings.issuers[0].rules.token_types, ["at+jwt"]);
    assert_eq!((settings.routes[0].name.as_str(), settings.upstreams[0].name.as_str()), ("/", "http://127.0.0.1:8080"));
    let Access::Enforce(policy) = &settings.routes[0].access else { panic!("public") };
    assert!(
        policy.accepted.dpop && !policy.accepted.mtls && !policy.accepted.unbound,
        "nobody is asked for certificates"
    );
    assert_eq!(settings.routes[0].forward.authorization, AuthorizationForward::Bearer);
}

#[test]
fn defaults_may_be_written() {
    settings("route", "    cors: null\n    access: { mode: enforce }");
    settings(
        "top",
        "upstreams: { a: { endpoints: [http://127.0.0.1:1], tls: { ca_file: null }, http2: false, health_check: null } }",
    );
}

#[test]
fn listeners_are_checked() {
    let second = |address: &str| format!("  - address: {address}");
    let open = "tokens would cross the network in the clear";
    refused(&[
        ("127.0.0.1:0", "0.0.0.0:0", "listeners[0].address", open),
        ("127.0.0.1:0", "0.0.0.0:0\n    public_url: http://api.example.com", "listeners[0].address", open),
        ("127.0.0.1:0", "localhost:8443", "listeners[0].address", "expected an IP address and a port"),
        ("127.0.0.1:0", "8443", "listeners[0].address", "expected a text, found `8443`"),
        (
            "127.0.0.1:0",
            &format!("127.0.0.1:7\n{}", second("127.0.0.1:7")),
            "listeners[1].address",
            "another listener's",
        ),
        ("127.0.0.1:0", "127.0.0.1:9090", "admin.address", "a listener's address too"),
        ("listener", "    public_url: https://api.example.com/v1", "listeners[0].public_url", "expected only a host"),
        ("listener", "    public_url: api.example.com", "listeners[0].public_url", "expected a scheme"),
    ]);
    settings("127.0.0.1:0", "0.0.0.0:0\n    public_url: https://api.example.com");
    settings("127.0.0.1:0", &format!("127.0.0.1:0\n{}", second("127.0.0.1:0")));
    let report = read(&changed("127.0.0.1:0", "0.0.0.0:443\n    tls: {}")).unwrap_err();
    let missing: Vec<_> = errors(&report).iter().map(|finding| finding.field()).collect();
    assert_eq!(missing, ["listeners[0].tls.certificate_file", "listeners[0].tls.key_file"]);
}

#[test]
fn issuers_are_checked() {
    let issuer = "https://auth.example.com";
    refused(&[
        (issuer, "http://auth.example.com", "issuers[0].issuer", "expected an https URL"),
        (issuer, "https://auth.example.com?x", "issuers[0].issuer", "without query"),
        (issuer, "https://auth.example.com#x", "issuers[0].issuer", "without query"),
        (issuer, "auth.example.com", "issuers[0].issuer", "expected a URL"),
        (issuer, "https://me@auth.example.com", "issuers[0].issuer", "expected a URL without user name and password"),
        ("[https://api.example.com]", "[]", "issuers[0].audiences", "empty"),
        ("[https://api.example.com]", "['']", "issuers[0].audiences[0]", "not empty"),
        ("[https://api.example.com]", "https://api.example.com", "issuers[0].audiences", "expected a list"),
        ("issuer", "    algorithms: [none]", "issuers[0].algorithms[0]", "asymmetric"),
        ("issuer", "    algorithms: [ES256, HS256]", "issuers[0].algorithms[1]", "asymmetric"),
        ("issuer", "    algorithms: []", "issuers[0].algorithms", "empty"),
        ("issuer", "    token_types: []", "issuers[0].token_types", "empty"),
        ("issuer", "    token_types: [application/DPoP+jwt]", "issuers[0].token_types[0]", "not that of a proof"),
        ("issuer", "    clock_skew: 61s", "issuers[0].clock_skew", "expected at most 1m"),
        ("issuer", "    clock_skew: 10", "issuers[0].clock_skew", "expected a duration"),
        ("issuer", "    ca_file: missing.pem", "issuers[0].ca_file", "missing.pem"),
        ("issuer", "    keys: { discover: false }", "issuers[0].keys.discover", "one of"),
        ("issuer", "    keys: { discover: true, jwks_uri: https://x }", "issuers[0].keys", "found several"),
        (
            "issuer",
            "    keys: { jwks_uri: http://auth.example.com }",
            "issuers[0].keys.jwks_uri",
            "expected an https URL",
        ),
        ("issuer", "    keys: { jwks_file: missing.json }", "issuers[0].keys.jwks_file", "missing.json"),
        ("issuer", "  - issuer: https://auth.example.com\n    audiences: [x]", "issuers[1].issuer", "configured twice"),
    ]);
    for (own, sure) in [("none", "proves nothing"), ("HS256", "can also forge it"), ("ES256K", "known: ES256")] {
        let report = read(&changed("issuer", &format!("    algorithms: [{own}]"))).unwrap_err();
        assert!(errors(&report)[0].help().is_some_and(|help| help.contains(sure)), "{own}");
    }
    let loopback = settings(issuer, "http://127.0.0.1:8000");
    assert_eq!(loopback.issuers[0].rules.issuer, "http://127.0.0.1:8000");
}

#[test]
fn routes_are_checked() {
    let route = |field: &'static str, yaml: &'static str, message: &'static str| ("route", yaml, field, message);
    refused(&[
        route("routes[0].name", "    name: 'a b'", "expected a name"),
        route("routes[1].name", "    name: a\n  - { name: a, upstream: 'http://127.0.0.1:1' }", "another route's name"),
        route("routes[0].match.hosts[0]", "    match: { hosts: ['a:80'] }", "without scheme and port"),
        route("routes[0].match.hosts[0]", "    match: { hosts: ['*.*.example'] }", "expected a host name"),
        route("routes[0].match.path_prefix", "    match: { path_prefix: api }", "begins with `/`"),
        route("routes[0].match.path_prefix", "    match: { path_prefix: /a/../b }", "dot segments"),
        route("routes[0].match.path_prefix", "    match: { path_prefix: /a%2Fb }", "percent-encodings"),
        route("routes[0].match.methods[0]", "    match: { methods: [get] }", "upper case"),
        route("routes[0].match.methods[1]", "    match: { methods: [GET, TRACE] }", "never are"),
        route("routes[0].access.bindings", "    access: { bindings: [] }", "empty"),
        route("routes[0].access.bindings", "    access: { bindings: [mtls] }", "no listener asks"),
        route("routes[0].access.bindings[0]", "    access: { bindings: [dpopp] }", "expected `dpop` or `mtls`"),
        route("routes[0].access.issuers[0]", "    access: { issuers: [https://other] }", "configured issuers"),
        route("routes[0].access.scopes[0]", "    access: { scopes: ['a b'] }", "without spaces"),
        route(
            "routes[0].access.bindings",
            "    access: { mode: public, bindings: [dpop] }",
            "a public route checks nothing",
        ),
        route("routes[0].access.scopes", "    access: { mode: public, scopes: [a] }", "a public route checks nothing"),
        route("routes[0].access.max_auth_age", "    access: { mode: public, max_auth_age: 1h }", "checks nothing"),
        route(
            "routes[0].forward.authorization",
            "    access: { mode: public }\n    forward: { authorization: keep }",
            "checks nothing",
        ),
        route("routes[0].forward.strip_prefix", "    forward: { strip_prefix: /api }", "the beginning of"),
        route(
            "routes[0].forward.strip_prefix",
            "    match: { path_prefix: /apix }\n    forward: { strip_prefix: /api }",
            "the beginning of",
        ),
        route("routes[0].forward.strip_prefix", "    forward: { strip_prefix: / }", "does not end with"),
        route("routes[0].forward.claims.Host", "    forward: { claims: { Host: sub } }", "not for a route to set"),
        route(
            "routes[0].forward.claims.X-Forwarded-For",
            "    forward: { claims: { X-Forwarded-For: sub } }",
            "not for a route",
        ),
        route(
            "routes[0].forward.headers.X_Forwarded_For",
            "    forward: { headers: { X_Forwarded_For: x } }",
            "not for a route to set",
        ),
        route("routes[0].forward.headers.DPoP", "    forward: { headers: { DPoP: x } }", "not for a route to set"),
        route("routes[0].forward.headers.a b", "    forward: { headers: { a b: x } }", "the name of a header field"),
        route(
            "routes[0].forward.headers.X-A",
            "    forward: { headers: { X-A: \"a\\r\\nb\" } }",
            "without control characters",
        ),
        route(
            "routes[0].forward.headers.x-a",
            "    forward: { claims: { X-A: sub }, headers: { x-a: y } }",
            "set twice",
        ),
        ("http://127.0.0.1:8080", "orders", "routes[0].upstream", "the name of an upstream"),
        ("http://127.0.0.1:8080", "ftp://127.0.0.1", "routes[0].upstream", "begins with `http://`"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/api", "routes[0].upstream", "without path"),
        ("http://127.0.0.1:8080", "http://u@127.0.0.1:8080", "routes[0].upstream", "without user name"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:80800", "routes[0].upstream", "expected a URL"),
        ("upstream: http://127.0.0.1:8080", "name: x", "routes[0].upstream", "missing"),
    ]);
}

#[test]
fn routes_mean_what_they_say() {
    let text = "    name: orders
    match: { hosts: [API.example.com, '*.Example.org', '[0:0::1]'], path_prefix: /api/v1, methods: [GET, PURGE] }
    access: { bindings: [dpop], unbound_tokens: allow, scopes: [read], acr_values: [mfa], max_auth_age: 1h }
    forward: { strip_prefix: /api, claims: { X-Subject: sub }, headers: { X-Gateway: keybound }, authorization: strip }
  - { match: { path_prefix: /open }, upstream: http://127.0.0.1:8080, access: { mode: public } }
  - { match: { path_prefix: /open }, upstream: http://127.0.0.1:8080/ }";
    let (settings, warnings) =
        read(&changed("route", text)).unwrap_or_else(|report| panic!("{}", report.render(false)));
    let names: Vec<_> = settings.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["orders", "route-2", "route-3"]);
    let route = &settings.routes[0];
    assert_eq!(route.matches.hosts, ["api.example.com", "*.example.org", "[::1]"]);
    assert_eq!(route.forward.strip_prefix.as_deref(), Some("/api"));
    assert!(route.forward.headers[0].1.is_sensitive());
    let Access::Enforce(policy) = &route.access else { panic!("public") };
    assert!(policy.accepted.dpop && !policy.accepted.mtls && policy.accepted.unbound);
    assert!(matches!(settings.routes[1].access, Access::Public));
    assert_eq!((settings.upstreams.len(), settings.routes[2].upstream), (1, Some(0)));
    let [_, migration, hidden] = warnings.findings() else { panic!("{warnings}") };
    assert!(is(migration, Severity::Warning, "routes[0].access.unbound_tokens", "migration"));
    assert!(is(hidden, Severity::Warning, "routes[2]", "never reached"));
}

/// One mistake is one report.
#[test]
fn a_mistake_leads_to_no_other() {
    let text =
        "    match: { path_prefix: '/a%20b' }\n  - { match: { path_prefix: /b }, upstream: http://127.0.0.1:8080 }";
    let report = read(&changed("route", text)).unwrap_err();
    assert!(report.findings().iter().all(|finding| finding.field() != "routes[1]"), "{report}");
    assert!(is(errors(&report)[0], Severity::Error, "routes[0].match.path_prefix", "percent-encodings"), "{report}");
    let keys = changed("issuer", "    keys: { jwks_file: nowhere.json }");
    let report = read(&keys).unwrap_err();
    assert_eq!(errors(&report)[0].message().matches("nowhere.json").count(), 1, "{report}");
}

#[test]
fn the_rest_is_checked() {
    let top = |field: &'static str, yaml: &'static str, message: &'static str| ("top", yaml, field, message);
    refused(&[
        top("dpop.algorithms[0]", "dpop: { algorithms: [HS256] }", "asymmetric"),
        top("dpop.proof_lifetime", "dpop: { proof_lifetime: 6m }", "at most 5m"),
        top("dpop.proof_lifetime", "dpop: { proof_lifetime: 4s }", "at least 5s"),
        top("dpop.clock_skew", "dpop: { clock_skew: 2m }", "at most 1m"),
        top("dpop.key_tables", "dpop: { key_tables: on }", "expected `off`"),
        top("dpop.key_tables", "dpop: { key_tables: 64MiB }", "expected `off`"),
        top("dpop.key_tables", "dpop: { key_tables: 5 }", "`off` or a mapping with `memory`"),
        top("dpop.key_tables.memory", "dpop: { key_tables: { memory: 1023KiB } }", "from 1MiB to 1024GiB"),
        top("dpop.key_tables.audit_every", "dpop: { key_tables: { audit_every: 0 } }", "from 1 to 1000000"),
        top("replay.memory.capacity", "replay: { memory: { capacity: 0 } }", "from 1 to"),
        top("replay.memory.per_key", "replay: { memory: { per_key: -1 } }", "a whole number"),
        top("limits.header_bytes", "limits: { header_bytes: 1KiB }", "from 8KiB to 1MiB"),
        top("limits.header_bytes", "limits: { header_bytes: 32kib }", "expected a size"),
        top("limits.body_bytes", "limits: { body_bytes: 0 }", "at least 1 byte"),
        top("limits.idle_timeout", "limits: { idle_timeout: 0s }", "at least 1ms"),
        top("limits.idle_timeout", "limits: { idle_timeout: 2years }", "at most a year"),
        top("limits", "limits:", "expected a mapping"),
        top("admin.address", "admin: { address: 9090 }", "expected a text"),
        top("admin.address", "admin: { address: /run/admin.sock }", "expected an IP address and a port"),
        top("admin.address", "admin: { address: 'unix:admin.sock' }", "an absolute path behind `unix:`"),
        top("admin.address", "admin: { address: 'unix:' }", "an absolute path behind `unix:`"),
        top("admin.address", "admin: { address: 'unix:/' }", "an absolute path behind `unix:`"),
        top("admin.address", "admin: { address: 'unix:/nowhere/admin.sock' }", "/nowhere: there is no such folder"),
        top("telemetry.access_log", "telemetry: { access_log: yes }", "`true` or `false`"),
        top("telemetry.access_log", "telemetry: { access_log: 0.1 }", "a mapping with `sample`"),
        top("telemetry.access_log.sample", "telemetry: { access_log: {} }", "missing"),
        top("telemetry.access_log.sample", "telemetry: { access_log: { sample: 1% } }", "from 0.000001 to 1"),
        top("telemetry.access_log.sample", "telemetry: { access_log: { sample: 2 } }", "from 0.000001 to 1"),
        top("telemetry.access_log.sample", "telemetry: { access_log: { sample: -0.1 } }", "found the number `-0.1`"),
        top("telemetry.access_log.sample", "telemetry: { access_log: { sample: 0.0000001 } }", "from 0.000001 to 1"),
        top("telemetry.log.level", "telemetry: { log: { level: verbose } }", "`error`, `warn`"),
        top("upstreams.a b", "upstreams: { a b: { endpoints: [http://127.0.0.1:1] } }", "expected a name"),
        top("upstreams.a.endpoints", "upstreams: { a: { endpoints: [] } }", "empty"),
        top("upstreams.a.endpoints", "upstreams: { a: {} }", "missing"),
    ]);
    let set = settings("top", "limits: { body_bytes: 10MB, drain_delay: 5s }\ntelemetry: { log: { format: text } }");
    assert_eq!((set.limits.body_bytes, set.limits.drain_delay.as_secs()), (Some(10_000_000), 5));
    for (written, share) in
        [("true", Some(1.0)), ("false", None), ("{ sample: 0.01 }", Some(0.01)), ("{ sample: 0 }", Some(0.0))]
    {
        let set = settings("top", &format!("telemetry: {{ access_log: {written} }}"));
        assert_eq!(set.telemetry.access_log.map(Share::number), share, "{written}");
    }
    let long = format!("admin: {{ address: 'unix:/{}' }}", "x".repeat(107));
    refused(&[("top", &long, "admin.address", "at most 107 bytes")]);
    for path in ["/admin.sock".to_owned(), format!("/{}", "x".repeat(106))] {
        let set = settings("top", &format!("admin: {{ address: 'unix:{path}' }}"));
        assert_eq!(set.admin.address, crate::accept::Address::Unix(path.into()));
    }
}

#[test]
fn an_upstream_that_nobody_uses_is_told() {
    let spare = "upstreams: { spare: { endpoints: [http://127.0.0.1:1] } }";
    let (_, warnings) = read(&changed("top", spare)).unwrap();
    assert!(warnings.findings().iter().any(|finding| is(finding, Severity::Warning, "upstreams.spare", "no route")));
    let misspelled = changed("top", spare).replace("http://127.0.0.1:8080", "spear");
    assert!(!read(&misspelled).unwrap_err().render(false).contains("no route uses"));
}

#[test]
fn nothing_useful_is_refused() {
    for (text, field) in [
        ("listeners: []\nissuers: []\nroutes: []\n", vec!["listeners", "routes"]),
        ("limits: {}\n", vec!["listeners", "routes"]),
    ] {
        let report = read(text).unwrap_err();
        assert_eq!(errors(&report).iter().map(|finding| finding.field()).collect::<Vec<_>>(), field);
    }
    let tokenless =
        VALID.replace("issuers:\n  - issuer: https://auth.example.com\n    audiences: [https://api.example.com]\n", "");
    let report = read(&tokenless).unwrap_err();
    assert!(is(errors(&report)[0], Severity::Error, "issuers", "a route demands tokens"));
    assert!(read(&tokenless.replace("# route", "access: { mode: public }")).is_ok());
}

#[test]
fn tables_of_keys_are_on_unless_they_are_turned_off() {
    let of = |yaml: &str| settings("top", &format!("dpop: {{ {yaml} }}")).key_tables;
    let default = KeyTableSettings { memory: 64 << 20, audit_every: 1024 };
    for left_out in ["", "clock_skew: 30s", "key_tables: {}"] {
        assert_eq!(of(left_out), Some(default), "{left_out}");
    }
    assert_eq!(of("key_tables: { memory: 1MiB }"), Some(KeyTableSettings { memory: 1 << 20, ..default }));
    assert_eq!(of("key_tables: { audit_every: 1 }"), Some(KeyTableSettings { audit_every: 1, ..default }));
    assert_eq!(of("key_tables: off"), None);
}
