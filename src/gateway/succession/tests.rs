use std::fs;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::config;

const YAML: &str = "
replicas: 1
listeners:
  - { address: 127.0.0.1:8443, tls: { certificate_file: a.pem, key_file: a.key, client_certificates: { mode: request } } }
  - { address: 127.0.0.1:8080 }
issuers:
  - { issuer: https://as.example, audiences: [https://api.example], keys: { jwks_uri: http://127.0.0.1:1/jwks } }
upstreams:
  orders: { endpoints: [http://127.0.0.1:2] }
routes:
  - { name: orders, match: { path_prefix: /orders }, upstream: orders }
  - { name: rest, upstream: http://127.0.0.1:3 }
";

const REDIS: &str = "replicas: 1\nreplay: { store: redis, redis: { urls: ['rediss://127.0.0.1:1'], ca_file: ca.pem, on_failure: deny } }";

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for name in ["a", "b"] {
            let made = rcgen::generate_simple_self_signed([format!("{name}.example")]).unwrap();
            fs::write(folder.0.path().join(format!("{name}.pem")), made.cert.pem()).unwrap();
            fs::write(folder.0.path().join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
        }
        fs::copy(folder.0.path().join("a.pem"), folder.0.path().join("ca.pem")).unwrap();
        folder
    }

    fn settings(&self, yaml: &str) -> Settings {
        let path = self.0.path().join("keybound.yaml");
        fs::write(&path, yaml).unwrap();
        config::load(&path, &|_| None).unwrap_or_else(|report| panic!("{report}")).settings
    }

    fn differences(&self, now: &str, then: &str) -> Vec<String> {
        Fixed::of(&self.settings(now)).differences(&Fixed::of(&self.settings(then)))
    }
}

#[test]
fn what_a_process_cannot_change_is_named() {
    let folder = Folder::new();
    let with = |more: &str| format!("{YAML}{more}\n");
    let replaced = |from: &str, to: &str| {
        assert!(YAML.contains(from), "{from}");
        YAML.replace(from, to)
    };
    let plain = "  - { address: 127.0.0.1:8080 }\n";
    let announced = "trusted_proxies: [10.0.0.1], proxy_protocol: optional }\n";
    let announced = replaced(plain, &plain.replace(" }\n", &format!(", {announced}")));
    for (then, named) in [
        (replaced(plain, ""), "listeners (removed 127.0.0.1:8080)"),
        (replaced("127.0.0.1:8080", "127.0.0.1:8081"), "listeners (added 127.0.0.1:8081, removed 127.0.0.1:8080)"),
        (replaced(plain, "").replace("listeners:\n", &format!("listeners:\n{plain}")), "listeners (their order)"),
        (announced.clone(), "listeners[1].proxy_protocol"),
        (
            replaced(plain, "  - { address: 127.0.0.1:8080, tls: { certificate_file: a.pem, key_file: a.key } }\n"),
            "listeners[1].tls (with or without)",
        ),
        (
            replaced("upstream: orders }", "upstream: orders, forward: { client_certificate: client-cert } }"),
            "routes[].forward.client_certificate (nothing is kept of open connections' certificates)",
        ),
        (with("admin: { address: 127.0.0.1:9091 }"), "admin.address"),
        (with("dpop: { proof_lifetime: 61s }"), "dpop.proof_lifetime"),
        (with("dpop: { proof_lifetime: 59s }"), "dpop.proof_lifetime"),
        (with("dpop: { clock_skew: 31s }"), "dpop.clock_skew"),
        (replaced("replicas: 1", REDIS), "replay.store"),
        (with("replay: { memory: { capacity: 1000000 } }"), "replay.memory.capacity"),
        (with("replay: { memory: { per_key: 1000 } }"), "replay.memory.per_key"),
        (with("limits: { connections: 10 }"), "limits.connections"),
        (with("limits: { header_bytes: 16KiB }"), "limits.header_bytes"),
        (with("limits: { headers: 50 }"), "limits.headers"),
        (with("limits: { header_timeout: 3s }"), "limits.header_timeout"),
        (with("limits: { handshake_timeout: 3s }"), "limits.handshake_timeout"),
        (with("limits: { idle_timeout: 3s }"), "limits.idle_timeout"),
        (with("telemetry: { log: { format: text } }"), "telemetry.log.format"),
    ] {
        assert_eq!(folder.differences(YAML, &then), [named]);
    }
    let trusts_more = announced.replace("[10.0.0.1]", "[10.0.0.1, 10.0.0.2]");
    assert_eq!(folder.differences(&announced, &trusts_more), ["listeners[1].trusted_proxies (beside proxy_protocol)"]);
    let several = with("admin: { address: 127.0.0.1:9091 }\nlimits: { headers: 50, connections: 10 }");
    assert_eq!(folder.differences(YAML, &several), ["admin.address", "limits.connections", "limits.headers"]);
}

#[test]
fn a_store_may_be_reached_otherwise_and_stays_the_same_one() {
    let folder = Folder::new();
    for (name, password) in [("one", "open sesame"), ("other", "close sesame")] {
        fs::write(folder.0.path().join(name), password).unwrap();
    }
    let redis = YAML.replace("replicas: 1", REDIS);
    assert_eq!(folder.differences(&redis, &redis), Vec::<String>::new());
    let plain = redis.replace("rediss", "redis").replace(", ca_file: ca.pem", "");
    for (from, to) in [
        ("on_failure: deny", "on_failure: local"),
        ("127.0.0.1:1'", "127.0.0.1:2'"),
        ("on_failure: deny", "timeout: 51ms"),
        ("on_failure: deny", "key_prefix: other"),
        ("on_failure: deny", "cluster: true"),
        ("on_failure: deny", "sentinel: { master: m }"),
        (redis.as_str(), plain.as_str()),
    ] {
        assert_eq!(folder.differences(&redis, &redis.replace(from, to)), ["replay.redis"], "{to}");
    }
    let watched = |more: &str| redis.replace("on_failure: deny", &format!("sentinel: {{ master: m{more} }}"));
    let user = |name: &str, file: &str| format!(", username: {name}, password_file: {file}");
    let (alone, with) =
        (user("one", "one"), |more: &str| redis.replace(", on_failure", &format!("{more}, on_failure")));
    for (before, after) in [
        (redis.clone(), redis.replace("ca.pem", "b.pem")),
        (redis.clone(), redis.replace(", ca_file: ca.pem", "")),
        (redis.clone(), with(", certificate_file: a.pem, key_file: a.key")),
        (redis.clone(), with(&alone)),
        (with(&alone), with(&user("one", "other"))),
        (with(&alone), with(&user("other", "one"))),
        (watched(&alone), watched(&user("other", "other"))),
    ] {
        let (before, after) = (Fixed::of(&folder.settings(&before)), Fixed::of(&folder.settings(&after)));
        assert_eq!(before.differences(&after), Vec::<String>::new(), "{after:?}");
        assert_ne!(before.replay(), after.replay(), "and it is noticed");
    }
    // Another file under the same name.
    let before = Fixed::of(&folder.settings(&redis));
    fs::copy(folder.0.path().join("b.pem"), folder.0.path().join("ca.pem")).unwrap();
    let after = Fixed::of(&folder.settings(&redis));
    assert_eq!(before.differences(&after), Vec::<String>::new());
    assert_ne!(before.replay(), after.replay());
}

#[tokio::test]
async fn what_changes_is_told_by_name() {
    let folder = Folder::new();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let gateway = Gateway::new(&mut folder.settings(YAML), clock, None).unwrap();
    for (from, to, told) in [
        ("", "", "nothing"),
        (
            "  - { name: rest",
            "  - { name: new, match: { path_prefix: /new }, upstream: orders }\n  - { name: rest",
            "routes: new added",
        ),
        ("  - { name: orders, match: { path_prefix: /orders }, upstream: orders }\n", "", "routes: orders removed"),
        ("path_prefix: /orders", "path_prefix: /order", "routes: orders changed"),
        ("upstream: orders }", "upstream: orders, access: { scopes: [a] } }", "routes: orders changed"),
        ("upstream: orders }", "upstream: orders, forward: { headers: { X-Key: hush } } }", "routes: orders changed"),
        ("http://127.0.0.1:2", "http://127.0.0.1:4", "upstreams: orders changed; routes: orders changed"),
        (
            "  - { name: orders, match: { path_prefix: /orders }, upstream: orders }\n  - { name: rest, upstream: http://127.0.0.1:3 }\n",
            "  - { name: rest, upstream: http://127.0.0.1:3 }\n  - { name: orders, match: { path_prefix: /orders }, upstream: orders }\n",
            "routes: in another order",
        ),
        ("https://api.example]", "https://api.example, https://b.example]", "issuers: https://as.example changed"),
        (
            "https://as.example,",
            "https://other.example,",
            "issuers: https://other.example added, https://as.example removed",
        ),
        ("127.0.0.1:8443,", "127.0.0.1:8443, public_url: https://api.example,", "listeners: 127.0.0.1:8443 changed"),
        ("replicas: 1", "replicas: 1\ndpop: { algorithms: [ES256] }", "dpop"),
        ("replicas: 1", "replicas: 1\ndpop: { nonce: { mode: required } }", "dpop"),
        ("replicas: 1", "replicas: 1\nlimits: { body_bytes: 1KiB, failures: { per_minute: 1 } }", "limits"),
    ] {
        assert!(YAML.contains(from), "{from}");
        let next = folder.settings(&YAML.replacen(from, to, 1));
        assert_eq!(gateway.changes(&next).to_string(), told, "{to}");
        // And it can follow.
        let differences = Fixed::of(&folder.settings(YAML)).differences(&Fixed::of(&next));
        assert_eq!(differences, Vec::<String>::new(), "{to}");
    }
}
