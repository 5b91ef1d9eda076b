//! What it is given to start with is wrong. It says what and where, with the right exit code, and leaves nothing
//! behind.

use std::fs;
use std::net::{SocketAddr, TcpListener};

use crate::process::{Ended, Program};
use crate::stage::{Configuration, Stage, missing};

/// `serve` and `check` both say no, in the same words: all of `wanted`.
async fn both_refuse(stage: &Stage, file: &str, wanted: &[&str]) {
    let serve = Program::run(stage.folder.path(), &["serve", "--config", file]).await;
    let check = Program::run(stage.folder.path(), &["check", "--config", file]).await;
    for Ended { code, out, err } in [&serve, &check] {
        assert_eq!((*code, out.as_str()), (1, ""), "{file}: {err}");
        assert_eq!(missing(err, wanted), "", "{file}");
    }
    assert_eq!(serve.err, check.err);
    assert_eq!(stage.issuer.fetches(), 0, "{file}");
}

async fn both_refuse_configuration(stage: &Stage, change: impl FnOnce(&mut Configuration), wanted: &[&str]) {
    both_refuse(stage, stage.configured(change), wanted).await;
}

fn with_tls(certificate: &str, key: &str) -> impl FnOnce(&mut Configuration) {
    move |configuration| configuration.tls = format!("{{ certificate_file: {certificate}, key_file: {key} }}")
}

#[tokio::test]
async fn a_configuration_that_is_none() {
    let stage = Stage::set().await;
    both_refuse(
        &stage,
        "absent.yaml",
        &["error: absent.yaml: cannot be read: No such file", "a relative path begins at the current directory"],
    )
    .await;
    fs::create_dir(stage.file("folder.yaml")).unwrap();
    both_refuse(&stage, "folder.yaml", &["error: folder.yaml: cannot be read: Is a directory"]).await;
    let garbage: &[(&[u8], &[&str])] = &[
        (b"", &["bad.yaml: this configuration is empty"]),
        (b"\x7fELF\x02\x01\x01\x00\xff\xfe", &["not a text in UTF-8", "bad.yaml:1:"]),
        (b"listeners: [{{{{", &["not valid YAML", "bad.yaml:1:"]),
        (b"listeners:\n\t- address: x\n", &["not valid YAML", "bad.yaml:2:", "spaces, not with tabs"]),
        (b"just some words\n", &["bad.yaml:1:1"]),
        (b"[]\n", &["bad.yaml:1:1"]),
        (&[b'['; 100_000], &["not valid YAML", "nested too deeply"]),
        (b"lsteners: []\n", &["lsteners", "did you mean `listeners`?", "bad.yaml:1:1"]),
    ];
    for (bytes, wanted) in garbage {
        fs::write(stage.file("bad.yaml"), bytes).unwrap();
        both_refuse(&stage, "bad.yaml", wanted).await;
    }
}

#[tokio::test]
async fn a_key_or_certificate_that_cannot_be_used() {
    let stage = Stage::set().await;
    fs::create_dir(stage.file("folder.key")).unwrap();
    fs::write(stage.file("other.key"), rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    fs::write(stage.file("garbage.pem"), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    let path = |name: &str| stage.file(name).display().to_string();
    let field = "listeners[0].tls.key_file: ";
    let (folder, other, garbage) = (path("folder.key"), path("other.key"), path("garbage.pem"));
    let place = "keybound.yaml:2:";
    both_refuse_configuration(&stage, with_tls("server.pem", &folder), &[field, &folder, "directory", place]).await;
    both_refuse_configuration(&stage, with_tls("server.pem", &garbage), &[field, &garbage, place]).await;
    let wanted = [field, other.as_str(), place, "expected the private key of the first certificate, found another key"];
    both_refuse_configuration(&stage, with_tls("server.pem", &other), &wanted).await;
    let absent = path("absent.pem");
    let wanted = ["listeners[0].tls.certificate_file: ", absent.as_str(), "No such file", place];
    both_refuse_configuration(&stage, with_tls(&absent, "server.key"), &wanted).await;
    // A private key is never repeated, however wrong its file is.
    let secret = fs::read_to_string(stage.file("server.key")).unwrap();
    let file = stage.configured(with_tls("server.key", "server.pem"));
    let err = Program::run(stage.folder.path(), &["check", "--config", file]).await.err;
    assert!(secret.lines().filter(|line| !line.starts_with("---")).all(|line| !err.contains(line)), "{err}");
    assert_eq!(missing(&err, &["certificate_file: ", "key_file: "]), "");
}

#[tokio::test]
async fn several_mistakes_are_told_at_once() {
    let stage = Stage::set().await;
    let change = |configuration: &mut Configuration| {
        configuration.admin = "nowhere".to_owned();
        configuration.limits = "{ drain_timeout: soon, colour: red }".to_owned();
        configuration.keys = "{ jwks_file: absent.json }".to_owned();
    };
    let wanted = ["issuers[0].keys.jwks_file", "limits.drain_timeout", "colour", "admin.address"];
    both_refuse_configuration(&stage, change, &wanted).await;
}

/// An address of this host that no other test uses, and where nobody listens.
fn free(host: &str) -> SocketAddr {
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn an_occupied_address_is_named_and_nothing_is_half_started() {
    let stage = Stage::set().await;
    let occupant = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = occupant.local_addr().unwrap();
    let (first, admin) = (free("127.0.71.1"), free("127.0.71.2"));
    let cases: [(String, String, String); 3] = [
        (taken.to_string(), admin.to_string(), format!("error: cannot listen on {taken}: ")),
        // The second of two listeners: the first was open already.
        (format!("{first}' }}, {{ address: '{taken}"), admin.to_string(), format!("error: cannot listen on {taken}: ")),
        (
            first.to_string(),
            taken.to_string(),
            format!("error: the admin port cannot be opened: cannot listen on {taken}: "),
        ),
    ];
    for (listener, admin_address, wanted) in cases {
        let file = stage.configured(|configuration| {
            configuration.listener = listener;
            configuration.admin = admin_address;
        });
        let Ended { code, out, err } = Program::run(stage.folder.path(), &["serve", "--config", file]).await;
        assert_eq!(code, 1, "{err}");
        assert_eq!(missing(&err, &[&wanted, "another process, or another listener, holds that address"]), "");
        assert_eq!(out, "", "nothing was begun");
        assert_eq!((stage.issuer.fetches(), stage.api.count()), (0, 0));
        for address in [first, admin] {
            TcpListener::bind(address).unwrap();
        }
        // What is only checked asks for no port at all.
        let Ended { code, out, err } = Program::run(stage.folder.path(), &["check", "--config", file]).await;
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
    }
    // An address of another host (RFC 5737).
    let file = stage.configured(|configuration| configuration.listener = "192.0.2.1:1".to_owned());
    let Ended { code, err, .. } = Program::run(stage.folder.path(), &["serve", "--config", file]).await;
    let wanted = "error: cannot listen on 192.0.2.1:1: this host has no such address";
    assert_eq!((code, missing(&err, &[wanted])), (1, String::new()));
}

#[tokio::test]
async fn check_asks_nobody() {
    let stage = Stage::set().await;
    let change = |configuration: &mut Configuration| {
        configuration.listener = "127.0.0.1:8443".to_owned();
        configuration.telemetry = "{ otlp_endpoint: 'http://127.0.0.1:1', traces: { sample: 0.1 } }".to_owned();
    };
    let file = stage.configured(change);
    let Ended { code, out, err } = Program::run(stage.folder.path(), &["check", "--config", file]).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let wanted = [
        "keybound.yaml: valid\n",
        "listener  https://127.0.0.1:8443, client certificates requested",
        "issuer    https://as.example for https://rs.example",
        "replay    in the memory of this process alone\n",
        "route     open: /open -> ",
        ", public",
        "traces    0.1 of all requests -> http://127.0.0.1:1/v1/traces, as keybound",
    ];
    assert_eq!(missing(&out, &wanted), "");
    assert_eq!((stage.issuer.fetches(), stage.api.count()), (0, 0));
}

#[tokio::test]
async fn check_says_what_replicas_share() {
    let stage = Stage::set().await;
    std::fs::write(stage.file("nonce.secret"), "0123456789abcdef0123456789abcdef").unwrap();
    let nonce = "dpop: { nonce: { mode: required, secret_file: nonce.secret } }\n";
    for (redis, wanted) in [
        ("urls: ['redis://10.0.0.7']", "replay    Redis at 10.0.0.7:6379, an outage refuses; nonces of 5m\n"),
        (
            "urls: ['redis://a', 'redis://[::1]:7'], sentinel: { master: m }, on_failure: nonce",
            "replay    Redis behind the Sentinels a:26379, [::1]:7, in an outage each replica alone, with new nonces; \
             nonces of 5m\n",
        ),
        (
            "urls: ['redis://a'], cluster: true, on_failure: local",
            "replay    Redis Cluster with a:6379, in an outage each replica alone; nonces of 5m\n",
        ),
    ] {
        let replay = format!("{nonce}replay: {{ store: redis, redis: {{ {redis} }} }}");
        let file = stage.configured(|configuration| configuration.replay = replay);
        let Ended { code, out, err } = Program::run(stage.folder.path(), &["check", "--config", file]).await;
        assert_eq!((code, missing(&out, &[wanted])), (0, String::new()), "{err}");
    }
}

#[tokio::test]
async fn check_says_what_callers_may_ask_and_what_upstreams_are_told() {
    let stage = Stage::set().await;
    let made = Program::run(stage.folder.path(), &["key", "--algorithm", "EdDSA", "--output", "identity.pem"]).await;
    assert_eq!(made.code, 0, "{}", made.err);
    let identity = "forward: { identity: { sign_with: identity.pem, audience: https://orders.internal } }";
    for (limits, wanted) in [
        ("requests_per_second: 50", "each thumbprint: at most 100 requests at once, then one in 20ms; tells"),
        ("per: subject, concurrent: 3", "; each subject: 3 under way; tells https://orders.internal in x-identity\n"),
        ("requests_per_second: 1, concurrent: 3", "at most 2 requests at once, then one in 1s, 3 under way; tells"),
    ] {
        let more = format!("', access: {{ limits: {{ {limits} }} }}, {identity} }}");
        let file = stage.configured(|it| it.routes = it.routes.replacen("' }", &more, 1));
        let Ended { code, out, err } = Program::run(stage.folder.path(), &["check", "--config", file]).await;
        assert_eq!((code, missing(&out, &[wanted])), (0, String::new()), "{out} {err}");
    }
}

#[tokio::test]
async fn wrong_usage() {
    let stage = Stage::set().await;
    let cases: [(&[&str], &[&str]); 7] = [
        (&[], &["Usage: keybound"]),
        (&["server"], &["'server'", "'serve'"]),
        (&["serve"], &["--config <FILE>"]),
        (&["serve", "--confg", "keybound.yaml"], &["'--confg'", "'--config'"]),
        (&["serve", "--config", "a.yaml", "--config", "b.yaml"], &["cannot be used multiple times"]),
        (&["serve", "--config", "a.yaml", "b.yaml"], &["'b.yaml'"]),
        (&["check"], &["--config <FILE>"]),
    ];
    for (arguments, wanted) in cases {
        let Ended { code, out, err } = Program::run(stage.folder.path(), arguments).await;
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
        assert_eq!(missing(&err, wanted), "", "{arguments:?}");
    }
}
