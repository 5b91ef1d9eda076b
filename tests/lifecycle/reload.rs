//! The configuration changes while the gateway runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::StatusCode;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsConnector;

use crate::issuer::Mood;
use crate::stage::{Configuration, Gateway, RELOADED, Stage, message, write};
use crate::support::wire::{Answer, Stream, client_tls, read_answer, read_one};
use crate::support::{HOST, ISSUER, jwks_of};
use crate::{eventually, in_time};

pub const REFUSED: &str = "configuration not reloaded: the one in force stays";

impl Gateway {
    /// How many came into force, how many did not, and whether the last one did.
    pub async fn reloads(&self) -> (f64, f64, f64) {
        let scrape = self.scrape().await;
        let of = |result| scrape.sum("keybound_config_reloads_total", &[("result", result)]);
        (of("ok"), of("refused"), scrape.sum("keybound_config_current", &[]))
    }
}

impl Stage {
    /// Changes the configuration file of a gateway that runs.
    pub fn changes(&self, change: impl FnOnce(&mut Configuration)) {
        let mut configuration = self.configuration();
        change(&mut configuration);
        write(&self.file("keybound.yaml"), &configuration.text());
    }

    pub fn another_route(&self) -> String {
        format!("\n  - {{ name: new, match: {{ path_prefix: /new }}, upstream: 'http://{}' }}", self.api.address)
    }
}

fn certificate(name: &str) -> (String, String) {
    let names = [HOST, "localhost", "127.0.0.1", name].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// The certificate that a handshake shows, in PEM's base64.
async fn shown(gateway: &Gateway) -> Vec<u8> {
    let stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from(HOST).unwrap();
    let stream = in_time("a handshake", TlsConnector::from(client_tls(None)).connect(name, stream)).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn der(pem: &str) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject as _;
    rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

async fn ask(connection: &mut Box<dyn Stream>, bytes: &[u8]) -> Answer {
    connection.write_all(bytes).await.unwrap();
    in_time("an answer", read_answer(&mut **connection, false)).await.unwrap()
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let old = der(&fs::read_to_string(stage.file("server.pem")).unwrap());
    assert_eq!(shown(&gateway).await, old);
    let mut connection = gateway.connect().await;
    assert_eq!(ask(&mut connection, &stage.call("/api/item").to_bytes()).await.status, 200);

    let (certificate, key) = certificate("second.example");
    write(&stage.file("server.pem"), &certificate);
    write(&stage.file("server.key"), &key);
    let line = gateway.said(RELOADED, 1).await;
    assert_eq!((&line["level"], &line["cause"]), (&json!("INFO"), &json!("a file changed")));
    assert_eq!(line["changes"], "tls: 127.0.0.1:0 changed");
    assert_eq!(line["files"], "server.key, server.pem");
    assert_eq!(shown(&gateway).await, der(&certificate));
    assert_eq!(ask(&mut connection, &stage.call("/api/item").to_bytes()).await.status, 200);
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
    assert_eq!(gateway.reloads().await, (1.0, 0.0, 1.0));
}

#[tokio::test]
async fn what_a_mounted_volume_shows_is_seen() {
    let stage = Stage::set().await;
    // As Kubernetes mounts ConfigMaps and Secrets: links to a link to a folder, and that link is renamed.
    let pairs = ["first.example", "second.example"].map(certificate);
    for (folder, (certificate, key)) in ["..v1", "..v2"].iter().zip(&pairs) {
        fs::create_dir(stage.file(folder)).unwrap();
        fs::write(stage.file(folder).join("tls.crt"), certificate).unwrap();
        fs::write(stage.file(folder).join("tls.key"), key).unwrap();
    }
    symlink("..v1", stage.file("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{name}"), stage.file(name)).unwrap();
    }
    let tls = "{ certificate_file: tls.crt, key_file: tls.key }";
    let gateway = stage.gateway_with(|configuration| configuration.tls = tls.to_owned()).await;
    assert_eq!(shown(&gateway).await, der(&pairs[0].0));
    symlink("..v2", stage.file("..data_tmp")).unwrap();
    fs::rename(stage.file("..data_tmp"), stage.file("..data")).unwrap();
    gateway.said(RELOADED, 1).await;
    assert_eq!(shown(&gateway).await, der(&pairs[1].0));
}

#[tokio::test]
async fn routes_come_and_go_and_requests_under_way_do_not_care() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    assert_eq!(gateway.status(&stage.call("/new/item")).await, 404);
    let mut held = gateway.connect().await;
    held.write_all(&stage.call("/open/hold").to_bytes()).await.unwrap();
    stage.api.sees(1).await;

    let mut routes = stage.configuration().routes;
    let open = routes.rfind("\n  - {").unwrap();
    routes.truncate(open);
    routes += &stage.another_route();
    stage.changes(|configuration| configuration.routes = routes);
    gateway.program.signal("HUP");
    let line = gateway.said(RELOADED, 1).await;
    assert_eq!(line["files"], "keybound.yaml");
    let changes = line["changes"].as_str().unwrap();
    assert!(changes.ends_with("routes: new added, open removed"), "{changes}");
    gateway.program.signal("HUP");
    let line = gateway.said(RELOADED, 2).await;
    assert_eq!((&line["changes"], &line["files"]), (&json!("nothing"), &json!(null)), "all are as they were");
    assert_eq!(gateway.status(&stage.call("/new/item")).await, 200);
    assert_eq!(gateway.status(&message("/open/item", &[])).await, 404);
    // Decided, forwarded and answered as it began.
    stage.api.release();
    let answer = in_time("an answer", read_answer(&mut *held, false)).await.unwrap();
    assert_eq!(answer.status, 200);
    let line = gateway.access_line(answer.header("x-request-id").unwrap()).await;
    assert_eq!((&line["route"], &line["decision"]), (&json!("open"), &json!("public")));
    let scrape = gateway.scrape().await;
    // There before the first of them, so that a rate sees it.
    let broken = r#"keybound_broken_answers_total{by="upstream",route="new"} 0"#;
    assert!(scrape.text.contains(broken), "{}", scrape.text);
    for (route, count) in [("open", 1.0), ("new", 1.0), ("none", 2.0)] {
        assert_eq!(scrape.sum("keybound_requests_total", &[("route", route)]), count, "{route}");
    }
}

#[tokio::test]
async fn a_broken_file_keeps_the_old_one_in_force() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    write(
        &stage.file("keybound.yaml"),
        &stage.configuration().text().replace("limits: {}", "limits: { header: 1 }\nroute: []"),
    );
    let line = gateway.said(REFUSED, 1).await;
    assert_eq!((&line["level"], &line["cause"]), (&json!("ERROR"), &json!("a file changed")));
    let said = gateway.program.lines();
    let problems: Vec<&str> = said.iter().filter_map(|line| line["problem"].as_str()).collect();
    let text = fs::read_to_string(stage.file("keybound.yaml")).unwrap();
    let at = |what: &str| {
        1 + text[..text.find(what).unwrap()].lines().count()
            - usize::from(!text[..text.find(what).unwrap()].ends_with('\n'))
    };
    let wanted = [
        format!("keybound.yaml:{}:11: error: limits.header: unknown field", at("header: 1")),
        format!("keybound.yaml:{}:1: error: route: unknown field", at("route: []")),
    ];
    assert_eq!(problems, wanted);
    // What `check` says, too.
    let check = crate::process::Program::run(stage.folder.path(), &["check", "--config", "keybound.yaml"]).await;
    assert!(check.code == 1 && check.err.contains("limits.header: unknown field"), "{check:?}");
    assert_eq!(gateway.reloads().await, (0.0, 1.0, 0.0));
    assert_eq!(gateway.readiness().await, (200, "ready\n".to_owned()));
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);

    // A file that is not there yet is looked for, although its configuration is not in force.
    stage.changes(|configuration| configuration.tls = configuration.tls.replace("server.pem", "late.pem"));
    gateway.said(REFUSED, 2).await;
    fs::copy(stage.file("server.pem"), stage.file("late.next")).unwrap();
    fs::rename(stage.file("late.next"), stage.file("late.pem")).unwrap();
    let line = gateway.said(RELOADED, 1).await;
    assert_eq!((&line["changes"], &line["files"]), (&json!("nothing"), &json!("late.pem")));
    assert_eq!(gateway.reloads().await, (1.0, 2.0, 1.0));
}

#[tokio::test]
async fn what_needs_a_restart_is_refused_by_name() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    stage.changes(|configuration| {
        configuration.limits = "{ headers: 50 }".to_owned();
        configuration.replay = "replicas: 1\ndpop: { proof_lifetime: 90s }".to_owned();
        configuration.routes += &stage.another_route();
    });
    gateway.program.signal("HUP");
    let line = gateway.said(REFUSED, 1).await;
    assert_eq!((&line["level"], &line["cause"]), (&json!("ERROR"), &json!("SIGHUP")));
    assert_eq!(line["error"], "needs a restart: dpop.proof_lifetime, limits.headers");
    assert_eq!(gateway.status(&stage.call("/new/item")).await, 404, "nothing of it is in force");
    assert_eq!(gateway.reloads().await, (0.0, 1.0, 0.0));
    assert_eq!(gateway.readiness().await, (200, "ready\n".to_owned()));
}

/// A change to the configuration, put in force.
pub async fn reload(stage: &Stage, gateway: &Gateway, times: usize, change: impl FnOnce(&mut Configuration)) {
    stage.changes(change);
    gateway.program.signal("HUP");
    gateway.said(RELOADED, times).await;
}

#[tokio::test]
async fn what_was_spent_and_counted_stays_so() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let once = stage.call("/api/item");
    assert_eq!(gateway.status(&once).await, 200);
    let id = |answer: &Answer| answer.header("x-request-id").unwrap().to_owned();
    let first = gateway.send(&message("/open/x", &[])).await;
    let before = gateway.scrape().await;

    reload(&stage, &gateway, 1, |configuration| {
        configuration.routes += &stage.another_route();
        configuration.replay = "replicas: 1\ndpop: { algorithms: [ES256] }".to_owned();
    })
    .await;
    let answer = gateway.send(&once).await;
    assert_eq!(answer.status, 401);
    let line = gateway.access_line(&id(&answer)).await;
    assert_eq!(line["reason"], "proof_replayed");
    // Names of requests go on.
    let prefix = |id: &str| id.rsplit_once('-').unwrap().0.to_owned();
    assert_eq!(prefix(&id(&first)), prefix(&id(&answer)));
    let number = |id: &str| id.rsplit_once('-').unwrap().1.parse::<u64>().unwrap();
    assert_eq!(number(&id(&answer)), number(&id(&first)) + 1);
    // And counters never go back.
    let after = gateway.scrape().await;
    for family in ["keybound_requests_total", "keybound_token_cache_misses_total", "keybound_replay_inserts_total"] {
        assert!(after.sum(family, &[]) >= before.sum(family, &[]), "{family}");
    }
    assert_eq!(after.sum("keybound_requests_total", &[("route", "open")]), 1.0);
}

#[tokio::test]
async fn a_nonce_of_this_process_outlives_its_configuration() {
    let stage = Stage::set().await;
    let nonces = |configuration: &mut Configuration| {
        configuration.replay = "replicas: 1\ndpop: { nonce: { mode: required } }".to_owned();
    };
    let gateway = stage.gateway_with(nonces).await;
    let token = stage.token().compact();
    let with = |nonce: &str| {
        let mut proof = stage.proof(&token, "GET", "/api/item");
        proof.claims.insert("nonce".into(), nonce.into());
        message("/api/item", &[("Authorization", &format!("DPoP {token}")), ("DPoP", &proof.compact())])
    };
    let answer = gateway.send(&stage.call("/api/item")).await;
    let nonce = answer.header("dpop-nonce").unwrap().to_owned();
    assert_eq!(gateway.status(&with(&nonce)).await, 200);
    reload(&stage, &gateway, 1, |configuration| {
        nonces(configuration);
        configuration.routes += &stage.another_route();
    })
    .await;
    assert_eq!(gateway.status(&with(&nonce)).await, 200);
}

#[tokio::test]
async fn keys_are_kept_and_an_issuer_that_is_new_costs_the_others_nothing() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    assert_eq!((gateway.status(&stage.call("/api/item")).await, stage.issuer.fetches()), (200, 1));
    // From now on nobody could get keys.
    stage.issuer.becomes(Mood::Fails(StatusCode::INTERNAL_SERVER_ERROR));
    for times in 1..=3 {
        reload(&stage, &gateway, times, |configuration| {
            configuration.routes += &stage.another_route().replace("new", &format!("new{times}"));
        })
        .await;
        assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
    }
    assert_eq!(stage.issuer.fetches(), 1, "not asked again");
    // Nor is a token that was verified before verified anew: it holds under the same rules.
    let (added, stranger) = ("https://other.example", stage.issuer.jwks_uri());
    let other = format!("{{ issuer: '{added}', audiences: [x], keys: {{ jwks_uri: '{stranger}' }} }}");
    let text = stage.configuration().text().replace("issuers: [", &format!("issuers: [{other}, "));
    write(&stage.file("keybound.yaml"), &text);
    gateway.program.signal("HUP");
    let line = gateway.said(RELOADED, 4).await;
    let changes = line["changes"].as_str().unwrap();
    assert!(changes.starts_with(&format!("issuers: {added} added; ")), "{changes}");
    eventually("the new one was asked", async || (stage.issuer.fetches() > 1).then_some(())).await;
    let (status, words) = gateway.readiness().await;
    assert_eq!((status, words.starts_with("ready\n")), (200, true), "{words}");
    assert!(words.contains(&format!("degraded: issuer {added}: no keys yet")), "{words}");
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);

    stage.issuer.publishes(&[("k1", &stage.issuer_key)]);
    eventually("its keys come", async || (gateway.readiness().await.1 == "ready\n").then_some(())).await;
    let age = format!("keybound_jwks_age_seconds{{issuer=\"{added}\"}}");
    assert!(gateway.admin("/metrics").await.text().contains(&age));

    // What is gone is nobody's concern any more; what was counted of it stays.
    reload(&stage, &gateway, 5, |_| {}).await;
    assert!(!gateway.admin("/metrics").await.text().contains(&age));
    let scrape = gateway.scrape().await;
    let refreshes = |issuer| scrape.sum("keybound_jwks_refreshes_total", &[("issuer", issuer)]);
    assert!(refreshes(ISSUER) == 1.0 && refreshes(added) >= 2.0);
}

#[tokio::test]
async fn whose_only_issuer_is_asked_elsewhere_in_vain_is_not_ready_and_says_so() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let age = "keybound_jwks_age_seconds{";
    assert!(gateway.admin("/metrics").await.text().contains(age));
    let keys = async || gateway.scrape().await.sum("keybound_jwks_keys", &[("issuer", ISSUER)]);
    assert_eq!(keys().await, 1.0);
    stage.issuer.becomes(Mood::Fails(StatusCode::NOT_FOUND));
    reload(&stage, &gateway, 1, |configuration| configuration.keys = configuration.keys.replace("/jwks", "/mistyped"))
        .await;
    let (status, words) = gateway.readiness().await;
    let metrics = gateway.admin("/metrics").await;
    assert_eq!((status, keys().await, metrics.text().contains(age)), (503, 0.0, false), "{words}");
    stage.issuer.publishes(&[("k1", &stage.issuer_key)]);
    reload(&stage, &gateway, 2, |_| {}).await;
    eventually("its keys come", async || (gateway.readiness().await.0 == 200).then_some(())).await;
    assert_eq!((gateway.status(&stage.call("/api/item")).await, keys().await), (200, 1.0));
}

#[tokio::test]
async fn a_key_set_that_kept_a_configuration_out_is_looked_at_again() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    write(&stage.file("keys.json"), "{");
    stage.changes(|configuration| configuration.keys = "{ jwks_file: keys.json }".to_owned());
    gateway.said(REFUSED, 1).await;
    write(&stage.file("keys.json"), &jwks_of(&[("k1", &stage.issuer_key)]).to_string());
    let line = gateway.said(RELOADED, 1).await;
    assert_eq!(line["cause"], "a file changed");
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
}

#[tokio::test]
async fn the_level_and_the_access_log_follow() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    reload(&stage, &gateway, 1, |configuration| {
        configuration.telemetry = "{ access_log: false, log: { level: debug } }".to_owned();
    })
    .await;
    assert_eq!(gateway.said(RELOADED, 1).await["changes"], "telemetry");
    let before = gateway.access_lines().len();
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
    let mut plain = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let line = gateway.said("TLS handshake failed", 1).await;
    assert_eq!((&line["level"], gateway.access_lines().len()), (&json!("DEBUG"), before));
}

#[tokio::test]
async fn a_hangup_while_it_ends_is_ignored() {
    let stage = Stage::set().await;
    let drains = |configuration: &mut Configuration| {
        configuration.limits = "{ drain_timeout: 30s }".to_owned();
    };
    let gateway = stage.gateway_with(drains).await;
    let mut held = gateway.connect().await;
    held.write_all(&stage.call("/api/hold").to_bytes()).await.unwrap();
    stage.api.sees(1).await;
    gateway.program.signal("TERM");
    gateway.program.says("stopping").await;
    stage.changes(|configuration| configuration.routes += &stage.another_route());
    gateway.program.signal("HUP");
    // Whoever heard it would have done it by then.
    for _ in 0..200 {
        assert_eq!(gateway.admin("/healthz").await.status, 200);
    }
    stage.api.release();
    let answer = in_time("an answer", read_one(&mut *held, false)).await.unwrap();
    assert_eq!(answer.status, 200);
    let ended = gateway.program.ended().await;
    assert_eq!((ended.code, ended.out.contains(RELOADED), ended.out.contains(REFUSED)), (0, false, false));
}

#[tokio::test]
async fn a_hundred_reloads_cost_no_request() {
    const RELOADS: usize = 100;
    const CLIENTS: usize = 4;
    let stage = Arc::new(Stage::set().await);
    let gateway = Arc::new(stage.gateway().await);
    let (over, passed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (stage, gateway, over, passed) =
                (Arc::clone(&stage), Arc::clone(&gateway), Arc::clone(&over), Arc::clone(&passed));
            tokio::spawn(async move {
                let token = stage.token().compact();
                while !over.load(Ordering::Relaxed) {
                    // Half of them on connections of their own.
                    let mut connection = gateway.connect().await;
                    for number in 0..if client % 2 == 0 { 50 } else { 1 } {
                        let answer =
                            ask(&mut connection, &stage.call_with(&format!("/api/{number}"), &token).to_bytes()).await;
                        assert_eq!((answer.status, answer.text().as_str()), (200, "fine"));
                        passed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    let (pem, key) = certificate("other.example");
    let own = ["server.pem", "server.key"].map(|name| fs::read_to_string(stage.file(name)).unwrap());
    for times in 1..=RELOADS {
        // A route in front of the others, limits for all, another certificate every tenth time.
        if times % 10 == 0 {
            let (pem, key) = if times % 20 == 0 { (&own[0], &own[1]) } else { (&pem, &key) };
            fs::write(stage.file(&format!("{times}.pem")), pem).unwrap();
            fs::write(stage.file(&format!("{times}.key")), key).unwrap();
        }
        let file = times / 10 * 10;
        reload(&stage, &gateway, times, |configuration| {
            configuration.routes =
                format!("{}{}", stage.another_route().replace("new", &format!("new{times}")), configuration.routes);
            configuration.limits = format!("{{ body_bytes: {times}KiB }}");
            if file > 0 {
                configuration.tls = configuration.tls.replace("server.", &format!("{file}."));
            }
        })
        .await;
        let target = passed.load(Ordering::Relaxed) + 30;
        eventually("requests between two reloads", async || {
            (passed.load(Ordering::Relaxed) >= target || clients.iter().any(|client| client.is_finished()))
                .then_some(())
        })
        .await;
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        in_time("the end of a client", client).await.unwrap();
    }
    let passed = passed.load(Ordering::Relaxed);
    assert!(passed >= 3000, "{passed}");
    assert_eq!((stage.api.count(), stage.issuer.fetches()), (passed, 1));
    let scrape = gateway.scrape().await;
    assert_eq!(scrape.sum("keybound_requests_total", &[("route", "api"), ("code", "200")]), passed as f64);
    assert_eq!(scrape.sum("keybound_requests_total", &[]), passed as f64);
    assert_eq!(gateway.reloads().await.1, 0.0);
    assert!(gateway.reloads().await.0 >= RELOADS as f64);
}
