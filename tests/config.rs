//! A configuration file, from its bytes to settings or to a report of everything that is wrong with it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must fail")]
#![allow(clippy::pedantic, missing_docs, reason = "pedantry is for what ships")]

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use keybound::accept::ClientCertificates;
use keybound::accept::tls::ClientTrust;
use keybound::config::{Loaded, Report, Severity, load};
use keybound::keys::KeySource;
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;

/// The smallest useful file of the contract.
const SMALLEST: &str = "\
listeners:
  - address: 0.0.0.0:8443
    tls: { certificate_file: tls.crt, key_file: tls.key, client_certificates: { mode: request } }
issuers:
  - issuer: https://auth.example.com
    audiences: [https://api.example.com]
routes:
  - upstream: http://127.0.0.1:8080
";

/// A directory with everything that a configuration can name.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| fs::write(directory.path().join(name), content).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["api.example.com".to_owned()]).unwrap().self_signed(&key).unwrap();
    write("tls.crt", &certificate.pem());
    write("tls.key", &key.serialize_pem());
    write("other.key", &KeyPair::generate().unwrap().serialize_pem());

    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    write("ca.pem", &ca.self_signed(&key).unwrap().pem());
    let list = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2026, 1, 1),
        next_update: rcgen::date_time_ymd(2046, 1, 1),
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    write("crl.pem", &list.signed_by(&Issuer::new(ca, key)).unwrap().pem().unwrap());
    let rfc_8037 = r#"{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    write("jwks.json", &format!(r#"{{"keys":[{rfc_8037},{{"kty":"oct","k":"AA"}}]}}"#));
    write("garbage.pem", "not PEM at all\n");
    directory
}

fn read_in(directory: &TempDir, content: impl AsRef<[u8]>, variables: &[(&str, &str)]) -> Result<Loaded, Report> {
    let file = directory.path().join("keybound.yaml");
    fs::write(&file, content).unwrap();
    load(&file, &|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
}

fn read(content: impl AsRef<[u8]>) -> Result<Loaded, Report> {
    read_in(&directory(), content, &[])
}

/// `line:column field` of every problem, in order.
fn places(report: &Report) -> Vec<String> {
    let place = |finding: &keybound::config::Finding| {
        let (line, column) = finding.place();
        format!("{line}:{column} {}", finding.field())
    };
    report.findings().iter().map(place).collect()
}

/// What a person sees, without the directory that is new in every run.
fn rendered(directory: &TempDir, report: &Report) -> String {
    report.render(false).replace(&format!("{}/", directory.path().display()), "")
}

#[test]
fn the_smallest_useful_file_is_useful() {
    let loaded = read(SMALLEST).unwrap_or_else(|report| panic!("{}", report.render(false)));
    assert_eq!(places(&loaded.warnings), ["1:1 replay.store"]);
    let settings = loaded.settings;
    let tls = settings.listeners[0].tls.as_ref().unwrap();
    assert!(matches!(tls.client_certificates, ClientCertificates::Request(ClientTrust::Any)));
    assert!(!tls.only_tls13);
    assert!(matches!(settings.issuers[0].source, KeySource::Discover));
    assert_eq!(settings.proofs.lifetime, Duration::from_mins(1));
    assert_eq!(settings.routes[0].upstream, Some(0));
}

#[test]
fn the_example_is_valid_and_states_the_defaults() {
    let loaded =
        read(include_str!("../config.example.yaml")).unwrap_or_else(|report| panic!("{}", report.render(false)));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let (example, smallest) = (loaded.settings, read(SMALLEST).unwrap().settings);
    let same = |a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug| assert_eq!(format!("{a:?}"), format!("{b:?}"));
    same(&example.limits, &smallest.limits);
    same(&example.proofs, &smallest.proofs);
    same(&example.replay, &smallest.replay);
    same(&example.telemetry, &smallest.telemetry);
    same(&example.admin, &smallest.admin);
    same(&example.issuers, &smallest.issuers);
    same(&example.routes[0].matches, &smallest.routes[0].matches);
    // Where nobody is asked for a certificate, certificates are not offered either.
    let asking = include_str!("../config.example.yaml")
        .replace("mode: off                            # off; request", "mode: request # ");
    same(&read(asking).unwrap().settings.routes[0].access, &smallest.routes[0].access);
    same(
        &example.routes[0].access,
        &read(SMALLEST.replace("mode: request", "mode: off")).unwrap().settings.routes[0].access,
    );
    same(&example.routes[0].forward, &smallest.routes[0].forward);
    assert_eq!(example.upstreams[0].connect_timeout, smallest.upstreams[0].connect_timeout);
    assert_eq!(example.upstreams[0].response_timeout, smallest.upstreams[0].response_timeout);
}

#[test]
fn the_guide_for_mcp_is_valid() {
    let guide = include_str!("../docs/mcp.md");
    let yaml = guide.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let loaded = read(yaml).unwrap_or_else(|report| panic!("{}", report.render(false)));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
}

#[test]
fn every_mistake_is_reported_at_its_place_in_one_go() {
    let report = read(
        "\
listeners:
  - adress: 0.0.0.0:8443
    tls: { certificate_file: none.crt, key_file: tls.key, min_version: 1.2 }
issuers:
  - issuer: http://auth.example.com
    audiences: []
    algorithms: [ES256, HS256]
    clock_skew: 5 parsecs
    audiences: [x]
dpop: { proof_lifetime: 1h }
routes:
  - name: \"größe\"
    upstream: odrers
    access: { mode: public, scopes: [read] }
  - access: { mode: observe }
upstreams:
  orders: { endpoints: ['http://127.0.0.1:1'] }
replicas: 1
telemetry:
  log: [json]
",
    )
    .unwrap_err();
    assert_eq!(
        places(&report),
        [
            "2:5 listeners[0].adress",
            "2:5 listeners[0].address",
            "3:30 listeners[0].tls.certificate_file",
            "3:72 listeners[0].tls.min_version",
            "5:13 issuers[0].issuer",
            "6:16 issuers[0].audiences",
            "7:25 issuers[0].algorithms[1]",
            "8:17 issuers[0].clock_skew",
            "9:5 issuers[0].audiences",
            "10:25 dpop.proof_lifetime",
            "12:11 routes[0].name",
            "13:15 routes[0].upstream",
            "14:37 routes[0].access.scopes",
            "15:5 routes[1].upstream",
            "15:21 routes[1].access.mode",
            "20:8 telemetry.log",
        ]
    );
}

#[test]
fn a_report_reads_like_one_of_the_compiler() {
    let directory = directory();
    let report = read_in(
        &directory,
        "\
listeners:
  - address: 127.0.0.1:0
    tsl: {}
issuers:
  - issuer: https://auth.example.com
    audiences: [https://api.example.com]
    clock_skew: 5m
    issuer: https://login.example.com
routes:
  - upstream: http://orders.internal:8080
    access: { bindings: [mtls] }
replicas: 1
",
        &[],
    )
    .unwrap_err();
    let expected = "\
error: listeners[0].tsl: unknown field
 --> keybound.yaml:3:5
  |
3 |     tsl: {}
  |     ^^^ no such field
  |
  = help: did you mean `tls`?

error: issuers[0].clock_skew: expected at most 1m, found `5m`
 --> keybound.yaml:7:17
  |
7 |     clock_skew: 5m
  |                 ^^ expected at most 1m

error: issuers[0].issuer: given twice
 --> keybound.yaml:8:5
  |
5 |   - issuer: https://auth.example.com
  |     ------ first here
...
8 |     issuer: https://login.example.com
  |     ^^^^^^ given again here

warning: routes[0].upstream: the hop to the upstream is neither encrypted nor authenticated
  --> keybound.yaml:10:15
   |
10 |   - upstream: http://orders.internal:8080
   |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^ plain HTTP across the network

error: routes[0].access.bindings: nobody can pass: no listener asks clients for a certificate
  --> keybound.yaml:11:25
   |
11 |     access: { bindings: [mtls] }
   |                         ^ only `mtls`
   |
   = help: set `client_certificates: { mode: request }` in a listener's `tls`

";
    assert_eq!(rendered(&directory, &report), expected);
    assert!(report.render(true).contains("\u{1b}["));
    let first = report.to_string().lines().next().unwrap_or_default().to_owned();
    assert!(first.ends_with("keybound.yaml:3:5: error: listeners[0].tsl: unknown field"), "{first}");
}

#[test]
fn every_file_of_a_pair_is_told_in_one_run() {
    let files = "certificate_file: tls.key, key_file: nope.key";
    let content = SMALLEST
        .replace("certificate_file: tls.crt, key_file: tls.key", files)
        .replace("mode: request", "mode: request, trust: { ca_file: tls.key, crl_files: [nope.crl] }");
    let report = read(&content).unwrap_err();
    let fields: Vec<_> =
        report.findings().iter().filter(|f| f.severity() == Severity::Error).map(|f| f.field()).collect();
    let tls = "listeners[0].tls";
    let trust = "listeners[0].tls.client_certificates.trust";
    assert_eq!(
        fields,
        [
            format!("{tls}.certificate_file"),
            format!("{tls}.key_file"),
            format!("{trust}.ca_file"),
            format!("{trust}.crl_files[0]")
        ]
    );
}

#[test]
fn files_are_read_and_judged_at_their_place() {
    let tls = |files: &str| SMALLEST.replace("certificate_file: tls.crt, key_file: tls.key", files);
    let trust = |trust: &str| SMALLEST.replace("mode: request", &format!("mode: request, trust: {trust}"));
    let issuer = |more: &str| SMALLEST.replace("routes:", &format!("    {more}\nroutes:"));
    for (content, field) in [
        (tls("certificate_file: none, key_file: tls.key"), "listeners[0].tls.certificate_file"),
        (tls("certificate_file: tls.crt, key_file: none"), "listeners[0].tls.key_file"),
        (tls("certificate_file: tls.crt, key_file: other.key"), "listeners[0].tls.key_file"),
        (tls("certificate_file: garbage.pem, key_file: tls.key"), "listeners[0].tls.certificate_file"),
        (
            tls(
                "certificate_file: tls.crt, key_file: tls.key, additional: [{ certificate_file: tls.crt, key_file: none }]",
            ),
            "listeners[0].tls.additional[0].key_file",
        ),
        (trust("{ ca_file: garbage.pem }"), "listeners[0].tls.client_certificates.trust.ca_file"),
        (
            trust("{ ca_file: ca.pem, crl_files: [crl.pem, garbage.pem] }"),
            "listeners[0].tls.client_certificates.trust.crl_files[1]",
        ),
        (trust("none"), "listeners[0].tls.client_certificates.trust"),
        (issuer("ca_file: garbage.pem"), "issuers[0].ca_file"),
        (issuer("keys: { jwks_file: garbage.pem }"), "issuers[0].keys.jwks_file"),
        (issuer("keys: { jwks_file: jwks.json }\n    algorithms: [RS256]"), "issuers[0].keys.jwks_file"),
    ] {
        let report = read(&content).expect_err(field);
        let errors: Vec<_> = report.findings().iter().filter(|f| f.severity() == Severity::Error).collect();
        assert!(matches!(errors.as_slice(), [only] if only.field() == field), "{field}\n{}", report.render(false));
    }

    let content = trust("{ ca_file: ca.pem, crl_files: [crl.pem] }")
        .replace("routes:", "    keys: { discover: false, jwks_file: jwks.json }\n    ca_file: ca.pem\nroutes:");
    let loaded = read(&content).unwrap_or_else(|report| panic!("{}", report.render(false)));
    let trust = &loaded.settings.listeners[0].tls.as_ref().unwrap().client_certificates;
    assert!(matches!(trust, ClientCertificates::Request(ClientTrust::Authorities { crls, .. }) if crls.len() == 1));
    assert!(matches!(&loaded.settings.issuers[0].source, KeySource::File(path) if path.is_absolute()));
    // The symmetric key is left out, and the authorities have nothing to fetch.
    assert_eq!(
        places(&loaded.warnings),
        ["1:1 replay.store", "7:41 issuers[0].keys.jwks_file", "8:14 issuers[0].ca_file"]
    );
}

#[test]
fn what_tls_makes_possible_is_checked_across_the_file() {
    let mtls = SMALLEST.to_owned() + "    access: { bindings: [mtls] }\nreplicas: 1\n";
    assert!(read(&mtls).is_ok_and(|loaded| loaded.warnings.is_empty()));
    let off = read(mtls.replace("mode: request", "mode: off")).unwrap_err();
    assert_eq!(places(&off), ["9:25 routes[0].access.bindings"]);
    let idle = read(mtls.replace("mode: request", "trust: { ca_file: ca.pem }").replace("[mtls]", "[dpop]")).unwrap();
    assert_eq!(places(&idle.warnings), ["3:88 listeners[0].tls.client_certificates.trust"]);
    let plain = read(mtls.replace("    tls:", "    public_url: http://api.example.com\n    tls:")).unwrap_err();
    assert_eq!(places(&plain), ["3:17 listeners[0].public_url"]);
    let version = read(mtls.replace("tls: {", "tls: { min_version: \"1.3\",")).unwrap();
    assert!(version.settings.listeners[0].tls.as_ref().is_some_and(|tls| tls.only_tls13));
}

#[test]
fn values_come_from_the_environment() {
    let directory = directory();
    let content = SMALLEST.replace("0.0.0.0:8443", "${HOST:-0.0.0.0}:${PORT}")
        + "replicas: 1\nreplay: { memory: { capacity: \"${CAPACITY}\" } }\nlimits: { drain_delay: \"${DELAY:-7s}\" }\n";
    let all = [("PORT", "8443"), ("CAPACITY", "1000")];
    let settings =
        read_in(&directory, &content, &all).unwrap_or_else(|report| panic!("{}", report.render(false))).settings;
    assert_eq!(settings.listeners[0].address.to_string(), "0.0.0.0:8443");
    assert_eq!((settings.replay.memory.capacity, settings.limits.drain_delay), (1000, Duration::from_secs(7)));

    let report = read_in(&directory, &content, &[]).unwrap_err();
    assert_eq!(places(&report), ["2:14 listeners[0].address", "10:31 replay.memory.capacity"]);
    assert!(report.findings()[0].message().contains("`PORT` is not set"));

    // What the environment says may be secret: it is not repeated.
    let report = read_in(&directory, &content, &[("PORT", "hunter2"), ("CAPACITY", "hunter2")]).unwrap_err();
    assert_eq!(report.findings().len(), 2);
    assert!(!report.render(false).contains("hunter2"), "{}", report.render(false));
}

#[test]
fn secrets_in_a_configuration_are_repeated_nowhere_and_its_mistakes_are() {
    let directory = directory();
    let with = |more: &str| read_in(&directory, format!("{SMALLEST}replicas: 1\n{more}\n"), &[]).unwrap_err();
    for more in [
        r#"replay: { store: redis, redis: { urls: ["redis://:hunter2@127.0.0.1:6379"], password: x } }"#,
        r#"replay: { store: redis, redis: { urls: ["redis://:hunter2@127.0.0.1:6379"], "password": "hunter2" } }"#,
        "replay: { store: redis, redis: { urls: [\"redis://:hunter2@a:1\"] } } # password: elsewhere",
        "replay: { store: redis, redis: { urls: ['redis://a:1'], password : hunter2 } }",
        "replay: { pass: hunter2 }",
        "replay: { store: redis, redis: { urls: ['redis://a:1'], username: '${PASSWORD:hunter2}' } }",
        "dpop: { auth:hunter2 }",
    ] {
        let report = with(more);
        assert!(!report.findings().is_empty());
        for said in [report.to_string(), report.render(false)] {
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
    // A file may be called like what it holds.
    for (more, told) in [
        ("dpop: { nonce: { secret_file: nonce.secret } }", "/nonce.secret: cannot be read: "),
        ("admin: { token_file: admin.token }", "/admin.token: cannot be read: "),
        (
            "replay: { store: redis, redis: { urls: ['redis://a:1'], password_file: redis.password } }",
            "/redis.password: cannot be read: ",
        ),
    ] {
        let report = with(more);
        assert!(report.to_string().contains(told), "{report}");
    }
}

/// A file in two places: the place is blamed that it does not fit.
#[test]
fn one_file_in_two_places_is_blamed_where_it_is_wrong() {
    let directory = directory();
    let alone = format!("{SMALLEST}replicas: 1\n");
    for (from, to, field, found) in [
        ("tls.key", "tls.crt", "key_file", "found a certificate"),
        ("tls.crt", "tls.key", "certificate_file", "found a private key"),
    ] {
        let report = read_in(&directory, alone.replace(from, to), &[]).unwrap_err();
        let [only] = report.findings() else { panic!("{report}") };
        assert_eq!((only.field(), only.message().contains(found)), (&*format!("listeners[0].tls.{field}"), true));
    }
    let empty = alone.replace("tls.key", "''").replace("tls.crt", "''");
    let report = read_in(&directory, &empty, &[]).unwrap_err();
    let fields: Vec<_> = report.findings().iter().map(|finding| finding.field()).collect();
    assert_eq!(fields, ["listeners[0].tls.certificate_file", "listeners[0].tls.key_file"], "{report}");
    let trust = |crl: &str| format!("mode: request, trust: {{ ca_file: ca.pem, crl_files: [{crl}] }}");
    let report = read_in(&directory, alone.replace("mode: request", &trust("ca.pem")), &[]).unwrap_err();
    let [only] = report.findings() else { panic!("{report}") };
    assert!(only.field().contains("crl_files"), "{report}");
    assert!(read_in(&directory, alone.replace("mode: request", &trust("crl.pem")), &[]).is_ok());
}

#[test]
fn what_is_no_configuration_is_told_so() {
    let broken: &[(&[u8], &str, (usize, usize))] = &[
        (b"", "empty", (1, 1)),
        (b"# nothing\n", "empty", (1, 1)),
        (b"null\n", "empty", (1, 1)),
        (b"- listeners\n", "expected a mapping", (1, 1)),
        (b"hello\n", "expected a mapping", (1, 1)),
        (b"a: 1\n---\nb: 2\n", "second document", (2, 1)),
        (b"listeners:\n\t- address: x\n", "not valid YAML", (2, 1)),
        (b"listeners: [\n", "not valid YAML", (1, 13)),
        (b"a: !!str x\nb: !Env X\n", "a tag has no meaning", (2, 4)),
        (b"a: *b\n", "unknown anchor", (1, 4)),
        (b"a: &a [*a]\n", "nested too deeply", (1, 4)),
        (b"a: x\x00y\n", "U+0000", (1, 5)),
        (b"a: \xE2\x82\xAC\nb: \xff\xfe\n", "UTF-8", (2, 4)),
        (b"\x7fELF\x02\x01\x01", "U+007F", (1, 1)),
        (b"1: x\n", "expected a name", (1, 1)),
    ];
    for (content, message, place) in broken {
        let shown = String::from_utf8_lossy(content);
        let report = read(content).expect_err(&shown);
        let first = &report.findings()[0];
        assert!(first.message().contains(message), "{shown}: {}", first.message());
        assert_eq!(first.place(), *place, "{shown}");
        assert!(!report.render(false).is_empty());
    }
    let tabs = read("listeners:\n\t- address: x\n").unwrap_err();
    assert!(tabs.findings()[0].help().is_some_and(|help| help.contains("spaces")));
    let dollar = read("admin: { address: ${A} }\n").unwrap_err();
    assert!(dollar.findings()[0].help().is_some_and(|help| help.contains("quotes")));
}

#[test]
fn a_file_that_cannot_be_read_is_told_so() {
    let directory = directory();
    for (path, message) in [("none.yaml", "cannot be read"), (".", "cannot be read")] {
        let report = load(&directory.path().join(path), &|_| None).unwrap_err();
        assert!(report.findings()[0].message().contains(message), "{report}");
        assert!(rendered(&directory, &report).starts_with("error: "), "{report}");
    }
    assert!(read(vec![b' '; 2 << 20]).unwrap_err().findings()[0].message().contains("larger than"));
}

#[test]
fn a_file_made_to_hurt_is_refused_in_time() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..30 {
        let again = vec![format!("*a{}", n - 1); 9].join(", ");
        writeln!(laughs, "a{n}: &a{n} [{again}]").unwrap();
    }
    let mut many = "listeners:\n".to_owned();
    for n in 0..5000 {
        writeln!(many, "  - {{ x{n}: 1 }}").unwrap();
    }
    for content in
        [laughs, "[".repeat(1 << 19), "{a: ".repeat(1 << 17), "- ".repeat(1 << 18), "? ".repeat(1 << 18), many]
    {
        let started = Instant::now();
        let report = read(&content).unwrap_err();
        assert!(report.render(false).len() < 1 << 20);
        assert!(started.elapsed() < Duration::from_secs(20), "{}: {:?}", &content[..20], started.elapsed());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_settings_or_a_report(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Err(report) = read(&bytes) {
            prop_assert!(!report.render(false).is_empty() && !report.to_string().is_empty());
        }
    }

    #[test]
    fn any_damage_to_a_file_is_settings_or_a_report(at in 0_usize..2000, by in "[-:{}\\[\\],&*!|>'\"%@`#? \n\t\r€$a0]{0,6}", cut in 0_usize..40) {
        let mut example = include_str!("../config.example.yaml").lines().map(|line| line.split(" #").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
        let at = example.floor_char_boundary(at.min(example.len()));
        let end = example.floor_char_boundary((at + cut).min(example.len()));
        example.replace_range(at..end, &by);
        if let Err(report) = read(&example) {
            prop_assert!(!report.render(false).is_empty() && !report.to_string().is_empty());
        }
    }
}
