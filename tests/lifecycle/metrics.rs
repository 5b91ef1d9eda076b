//! What Prometheus gets to see, after traffic of every kind.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use keybound::refusal::Reason;
use serde_json::json;

use crate::samples::Scrape;
use crate::stage::{Gateway, Stage, message, now};
use crate::support::keys::Key;
use crate::support::mint::{Jws, jti};
use crate::support::wire::Http;
use crate::support::{HOST, ISSUER, Identity};

/// `design.md` section 6, as far as it exists: families, their types and labels.
const FAMILIES: [(&str, &str, &[&str]); 34] = [
    ("keybound_requests_total", "counter", &["binding", "code", "decision", "route"]),
    ("keybound_refusals_total", "counter", &["reason", "route"]),
    ("keybound_request_duration_seconds", "histogram", &["route"]),
    ("keybound_authorization_duration_seconds", "histogram", &["binding"]),
    ("keybound_upstream_duration_seconds", "histogram", &["upstream"]),
    ("keybound_proof_age_seconds", "histogram", &[]),
    ("keybound_replay_entries", "gauge", &[]),
    ("keybound_replay_inserts_total", "counter", &[]),
    ("keybound_replay_store_available", "gauge", &[]),
    ("keybound_replay_store_outages_total", "counter", &[]),
    ("keybound_replay_store_errors_total", "counter", &[]),
    ("keybound_replay_local_total", "counter", &[]),
    ("keybound_clock_jumps_total", "counter", &[]),
    ("keybound_token_cache_hits_total", "counter", &[]),
    ("keybound_token_cache_misses_total", "counter", &[]),
    ("keybound_es256_verifications_total", "counter", &["by"]),
    ("keybound_key_tables", "gauge", &[]),
    ("keybound_key_table_bytes", "gauge", &[]),
    ("keybound_key_table_builds_total", "counter", &[]),
    ("keybound_key_table_evictions_total", "counter", &[]),
    ("keybound_key_table_audits_total", "counter", &["result"]),
    ("keybound_jwks_refreshes_total", "counter", &["issuer", "result"]),
    ("keybound_jwks_age_seconds", "gauge", &["issuer"]),
    ("keybound_certificate_expiry_seconds", "gauge", &["listener"]),
    ("keybound_tls_handshakes_total", "counter", &["result"]),
    ("keybound_connections", "gauge", &[]),
    ("keybound_broken_answers_total", "counter", &["by", "route"]),
    ("keybound_connections_limit", "gauge", &[]),
    ("keybound_jwks_keys", "gauge", &["issuer"]),
    ("keybound_config_current", "gauge", &[]),
    ("keybound_config_reloads_total", "counter", &["result"]),
    ("keybound_trace_spans_total", "counter", &["result"]),
    ("keybound_build_info", "gauge", &["version"]),
    ("process_resident_memory_bytes", "gauge", &[]),
];

/// What was sent, counted by hand.
#[derive(Default)]
struct Sent {
    by_dpop: usize,
    by_mtls: usize,
    public: usize,
    refused: BTreeMap<&'static str, usize>,
    /// Refused, but only after their proof was spent.
    unreachable: usize,
}

impl Sent {
    fn refused(&self) -> usize {
        self.refused.values().sum()
    }
}

/// Good, refused, public and failing requests.
async fn traffic(stage: &Stage, gateway: &Gateway) -> Sent {
    let mut sent = Sent::default();
    let identity = Identity::self_signed();
    let token = stage.token().compact();
    for http in [Http::One, Http::Two, Http::One] {
        let call = stage.call_with("/api/item?q=1", &token);
        assert_eq!(gateway.dialer().send(http, &call).await.unwrap().status, 200);
        sent.by_dpop += 1;
        let call = stage.call_bound_to("/api/item", &identity);
        assert_eq!(gateway.dialer_of(&identity).send(http, &call).await.unwrap().status, 200);
        sent.by_mtls += 1;
        assert_eq!(gateway.dialer().send(http, &message("/open/x", &[])).await.unwrap().status, 200);
        sent.public += 1;
        assert_eq!(gateway.dialer().send(http, &stage.call("/down/x")).await.unwrap().status, 502);
        sent.unreachable += 1;
    }

    let once = stage.call_with("/api/item", &token);
    assert_eq!(gateway.status(&once).await, 200);
    sent.by_dpop += 1;
    let downgraded = message("/api/item", &[("Authorization", &format!("Bearer {token}"))]);
    let mut target = message("/api/%2e%2e/x", &[]);
    target.target = "/api/../x".to_owned();
    let late = |mut token: Jws| {
        token.claims["exp"] = json!(now() - 600);
        token.compact()
    };
    for (reason, status, call) in [
        (Reason::ProofReplayed, 401, once),
        (Reason::CredentialsMissing, 401, message("/api/item", &[])),
        (Reason::DpopTokenAsBearer, 401, downgraded),
        (Reason::ProofTarget, 401, {
            let mut call = stage.call("/api/item");
            call.target = "/api/other".to_owned();
            call
        }),
        (Reason::TokenExpired, 401, stage.call_with("/api/item", &late(stage.token()))),
        (Reason::CertificateMissing, 401, stage.call_bound_to("/api/item", &identity)),
        (Reason::ScopeMissing, 403, stage.call("/admin-api/item")),
        (Reason::NoRoute, 404, stage.call("/elsewhere")),
        (Reason::TargetInvalid, 400, target),
    ] {
        assert_eq!(gateway.status(&call).await, status, "{reason:?}");
        *sent.refused.entry(reason.slug()).or_default() += 1;
    }
    sent
}

#[tokio::test]
async fn every_family_is_there_and_the_sums_add_up() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let sent = traffic(&stage, &gateway).await;
    let scrape = gateway.scrape().await;
    for (family, kind, labels) in FAMILIES {
        assert_eq!(scrape.types.get(family).map(String::as_str), Some(kind), "{family}\n{}", scrape.text);
        let labels: BTreeSet<_> = labels.iter().copied().collect();
        assert_eq!(scrape.labels(family), Some(labels), "{family}");
    }

    let sum = |name: &str, labels: &[(&str, &str)]| scrape.sum(name, labels) as usize;
    let requests = |labels: &[(&str, &str)]| sum("keybound_requests_total", labels);
    assert_eq!(
        requests(&[("decision", "allow"), ("binding", "dpop"), ("code", "200"), ("route", "api")]),
        sent.by_dpop
    );
    assert_eq!(
        requests(&[("decision", "allow"), ("binding", "mtls"), ("code", "200"), ("route", "api")]),
        sent.by_mtls
    );
    assert_eq!(requests(&[("decision", "public"), ("binding", "none"), ("route", "open")]), sent.public);
    assert_eq!(requests(&[("decision", "refuse")]), sent.refused());
    assert_eq!(requests(&[("decision", "error"), ("code", "502"), ("route", "down")]), sent.unreachable);
    let decisions = ["allow", "refuse", "error", "public"].map(|decision| requests(&[("decision", decision)]));
    assert_eq!(requests(&[]), decisions.iter().sum::<usize>());
    let all = sent.by_dpop + sent.by_mtls + sent.public + sent.refused() + sent.unreachable;
    assert_eq!(requests(&[]), all);

    for (reason, count) in &sent.refused {
        assert_eq!(sum("keybound_refusals_total", &[("reason", reason)]), *count, "{reason}");
    }
    assert_eq!(sum("keybound_refusals_total", &[("reason", "upstream_unreachable")]), sent.unreachable);
    let refused = sum("keybound_refusals_total", &[]);
    assert_eq!(refused, requests(&[("decision", "refuse")]) + requests(&[("decision", "error")]));

    // A spent proof stays spent, whatever the policy says or the upstream answers.
    let spent = sum("keybound_replay_inserts_total", &[]);
    let dpop = requests(&[("binding", "dpop"), ("decision", "allow")]);
    assert_eq!(spent, dpop + sent.refused["scope_missing"] + sent.unreachable);
    assert_eq!(sum("keybound_proof_age_seconds_count", &[]), spent);
    assert_eq!(sum("keybound_replay_entries", &[]), spent);
    assert_eq!(sum("keybound_broken_answers_total", &[]), 0);
    for route in ["api", "admin-api", "down", "open", "none"] {
        let label = [("route", route)];
        assert_eq!(sum("keybound_request_duration_seconds_count", &label), requests(&label), "{route}");
    }
    let forwarded = sent.by_dpop + sent.by_mtls + sent.public;
    assert_eq!(sum("keybound_upstream_duration_seconds_count", &[]), forwarded);
    assert_eq!(stage.api.count(), forwarded);
    // A target that cannot be read is refused before there is anything to decide.
    assert_eq!(sum("keybound_authorization_duration_seconds_count", &[]), all - 1);
    let (hits, misses) = (sum("keybound_token_cache_hits_total", &[]), sum("keybound_token_cache_misses_total", &[]));
    let tokens_shown = all - sent.public - ["credentials_missing", "no_route", "target_invalid"].len();
    assert!(hits >= 3 && hits + misses == tokens_shown, "{hits} + {misses} of {tokens_shown}");
    assert_eq!(sum("keybound_tls_handshakes_total", &[("result", "ok")]), all);
    assert_eq!(sum("keybound_jwks_refreshes_total", &[("issuer", ISSUER), ("result", "loaded")]), 1);
    let expiry = scrape.sum("keybound_certificate_expiry_seconds", &[("listener", &gateway.address.to_string())]);
    assert!(expiry > 1e9, "the certificate is good until the year 4096: {expiry}");
    let idle = async || gateway.scrape().await.sum("keybound_connections", &[]) == 0.0;
    crate::eventually("no connection is left", async || idle().await.then_some(())).await;
}

#[tokio::test]
async fn connections_are_counted_while_they_are_open() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let open = [gateway.connect().await, gateway.connect().await, gateway.connect().await];
    assert_eq!(gateway.scrape().await.sum("keybound_connections", &[]), 3.0, "and those to the admin port are not");
    drop(open);
    let idle = async || gateway.scrape().await.sum("keybound_connections", &[]) == 0.0;
    crate::eventually("no connection is left", async || idle().await.then_some(())).await;
}

#[tokio::test]
async fn no_label_value_comes_from_a_request() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    traffic(&stage, &gateway).await;
    let before = gateway.scrape().await;
    let marked = |text: &str| text.contains("evil") || text.contains("EVIL");
    let evil = r#"evil",x="1"} 7"#;
    for round in 0..2 {
        for method in ["EVIL", "get", "PROPFIND", "M-SEARCH", "CONNECT", "TRACE", "OPTIONS"] {
            let mut call = stage.call("/api/item");
            call.method = method.to_owned();
            gateway.send(&call).await;
        }
        for path in ["/evil", "/evil/api", "/api/evil", "/api/evil?evil=evil", "/open/evil%22%7d", "/admin-api/evil"] {
            gateway.send(&stage.call(path)).await;
        }
        for host in ["evil.example", "evil.example:1", HOST] {
            let mut call = stage.call("/api/item");
            call.host = Some(host.to_owned());
            gateway.send(&call).await;
        }
        for member in ["kid", "typ", "alg", "jku"] {
            let mut token = stage.token();
            token.header.insert(member.into(), evil.into());
            gateway.send(&stage.call_with("/api/item", &token.compact())).await;
            let token = stage.token().compact();
            let mut proof = stage.proof(&token, "GET", "/api/item");
            proof.header.insert(member.into(), evil.into());
            let fields = [("Authorization", &*format!("DPoP {token}")), ("DPoP", &proof.compact())];
            gateway.send(&message("/api/item", &fields)).await;
        }
        for claim in ["iss", "aud", "sub", "client_id", "scope", "acr", "cnf", "jti"] {
            let mut token = stage.token();
            token.claims.insert(claim.into(), evil.into());
            gateway.send(&stage.call_with("/api/item", &token.compact())).await;
        }
        for scheme in ["Evil", "DPoP", "Bearer", "DPoP evil", "Basic"] {
            gateway.send(&message("/api/item", &[("Authorization", &format!("{scheme} {evil}"))])).await;
        }
        for field in ["X-Request-Id", "User-Agent", "X-Forwarded-For", "Forwarded", "Traceparent", "Evil"] {
            gateway.send(&message("/open/x", &[(field, evil)])).await;
        }
        let stranger = Key::es256();
        let mut token = stage.token();
        token.header.insert("kid".into(), jti().into());
        token.key = stranger.into();
        gateway.send(&stage.call_with("/api/item", &token.compact())).await;
        if round == 0 {
            let first = gateway.scrape().await;
            assert!(!marked(&first.text), "{}", first.text);
        }
    }
    let after = gateway.scrape().await;
    assert!(!marked(&after.text), "{}", after.text);
    let known = known_values(&before);
    for (label, values) in after.label_values() {
        let strange: Vec<_> = values.iter().filter(|value| !known[label].contains(**value)).collect();
        assert!(strange.is_empty(), "{label}: {strange:?}");
    }
}

/// The closed list of every label, and of those that the configuration fills, what they were before.
/// Of handshakes, refreshes, reloads, traces and the tables of keys.
const RESULTS: [&str; 11] = [
    "ok",
    "failed",
    "timeout",
    "loaded",
    "unchanged",
    "refused",
    "exported",
    "dropped",
    "agreed",
    "falsely_accepted",
    "falsely_refused",
];

fn known_values(before: &Scrape) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut known = before.label_values();
    let mut closed =
        |label, values: &mut dyn Iterator<Item = &'static str>| drop(known.insert(label, values.collect()));
    closed("reason", &mut Reason::ALL.iter().map(|reason| reason.slug()));
    closed("decision", &mut ["allow", "refuse", "public", "error"].into_iter());
    closed("binding", &mut ["none", "dpop", "mtls", "dpop+mtls", "unbound"].into_iter());
    closed("code", &mut ["200", "400", "401", "403", "404", "405", "502"].into_iter());
    closed("result", &mut RESULTS.into_iter());
    known
}

fn promtool() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interop/bin/promtool");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = std::env::split_paths(&path).map(|folder| folder.join("promtool"));
    let found = std::iter::once(installed).chain(candidates).find(|file| file.is_file());
    found.expect("promtool is missing: run `make test`, which installs it first")
}

#[tokio::test]
async fn promtool_has_nothing_to_say() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let quiet = gateway.scrape().await;
    traffic(&stage, &gateway).await;
    let busy = gateway.scrape().await;
    for scrape in [quiet, busy] {
        let mut command = Command::new(promtool());
        command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut check = command.spawn().unwrap();
        check.stdin.take().unwrap().write_all(scrape.text.as_bytes()).unwrap();
        let output = check.wait_with_output().unwrap();
        let words = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && words.is_empty(), "{words}\n{}", scrape.text);
    }
}
