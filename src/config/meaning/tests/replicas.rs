//! What replicas must share: spent proofs and the secrets of nonces.

use std::time::Duration;

use super::*;
use crate::replay::{Address, OnFailure, RedisSettings, Topology};
use crate::time::UnixTime;

const SECRET: &str = "0123456789abcdef0123456789abcdef\n";
const OTHER: &str = "fedcba9876543210fedcba9876543210";
const FILES: [(&str, &str); 6] = [
    ("secret", SECRET),
    ("other", OTHER),
    ("short", "0123456789abcdef0123456789abcde\n\n"),
    ("empty", " \n"),
    ("password", "open sesame\n"),
    ("brief", "open sesame\n"),
];

fn meant(yaml: &str) -> (Settings, Report) {
    read_beside(&FILES, &changed("top", yaml)).unwrap_or_else(|report| panic!("{yaml}\n{}", report.render(false)))
}

/// The replay store, and nothing to warn of.
fn store(redis: &str) -> RedisSettings {
    let (settings, warnings) = meant(&format!("replay: {{ store: redis, redis: {{ {redis} }} }}"));
    assert!(warnings.is_empty(), "{warnings}");
    settings.replay.shared.unwrap()
}

fn refused_store(cases: &[(&str, &str, &str)]) {
    for (redis, field, message) in cases {
        let yaml = format!("replay: {{ store: redis, redis: {{ {redis} }} }}");
        refused_beside(&FILES, &[("top", &yaml, field, message)]);
    }
}

#[test]
fn more_than_one_replica_must_share() {
    let shared = "replay: { store: redis, redis: { urls: ['redis://127.0.0.1'] } }";
    let nonce = "dpop: { nonce: { mode: required } }";
    refused(&[
        ("top", "replicas: 2", "replay.store", "remembered by this process alone"),
        ("top", "replicas: 2\nreplay: { store: memory }", "replay.store", "replicas do not share"),
        ("top", &format!("replicas: 2\n{shared}\n{nonce}"), "dpop.nonce.mode", "would refuse the nonces of the others"),
        ("top", "replicas: 0", "replicas", "a number from 1 to"),
    ]);
    let secret = "dpop: { nonce: { mode: required, secret_file: secret } }";
    assert!(meant(&format!("replicas: 9\n{shared}\n{secret}")).1.is_empty());
    assert!(meant(&format!("replicas: 1\n{nonce}")).1.is_empty());
    let warned = |yaml: &str| -> Vec<String> {
        meant(yaml).1.findings().iter().map(|finding| finding.field().to_owned()).collect()
    };
    assert_eq!(warned("replay: { store: memory }"), ["replay.store"]);
    assert_eq!(warned(nonce), ["replay.store", "dpop.nonce.mode"]);
    assert_eq!(warned("replicas: 1\nreplay: { redis: { urls: ['redis://x'] } }"), ["replay.redis"]);
}

#[test]
fn nonces_are_made_with_the_first_secret_and_known_by_all() {
    let now = UnixTime::from_secs(1_800_000_000);
    let nonces = |secrets: &str| {
        let yaml = format!("replicas: 1\ndpop: {{ nonce: {{ mode: required, secret_file: {secrets} }} }}");
        meant(&yaml).0.proofs.nonces.unwrap()
    };
    let [old, both, new] = ["secret", "[secret, other]", "[other, secret]"].map(nonces);
    assert_eq!(old.lifetime, Duration::from_mins(5));
    assert_eq!(old.mint(now), both.mint(now));
    assert_ne!(old.mint(now), new.mint(now));
    let skew = Duration::from_secs(1);
    assert!(both.minted(&new.mint(now).unwrap(), now, skew).is_ok());
    assert!(old.minted(&new.mint(now).unwrap(), now, skew).is_err());
    // White space at the ends is no part of a secret.
    let same = crate::verify::Nonces::new([SECRET.trim().as_bytes()], old.lifetime).unwrap();
    assert_eq!(old.mint(now), same.mint(now));
    assert!(settings("top", "dpop: { nonce: { mode: off, lifetime: 5m, secret_file: null } }").proofs.nonces.is_none());
}

#[test]
fn nonces_are_checked() {
    let nonce = |members: &str| format!("dpop: {{ nonce: {{ mode: required, {members} }} }}");
    for (members, field, message) in [
        ("secret_file: nowhere", "dpop.nonce.secret_file", "nowhere: cannot be read"),
        ("secret_file: short", "dpop.nonce.secret_file", "at least 32 bytes, found 31"),
        ("secret_file: empty", "dpop.nonce.secret_file", "found an empty file"),
        ("secret_file: [secret, short]", "dpop.nonce.secret_file[1]", "at least 32 bytes, found 31"),
        ("secret_file: []", "dpop.nonce.secret_file", "empty: no nonce could be made"),
        ("secret_file: [secret, other, secret]", "dpop.nonce.secret_file", "expected different secrets"),
        ("secret_file: 5", "dpop.nonce.secret_file", "a file, or a list of files"),
        ("secret_file: secret, lifetime: 29s", "dpop.nonce.lifetime", "at least 30s"),
        ("secret_file: secret, lifetime: 2h", "dpop.nonce.lifetime", "at most 1h"),
    ] {
        refused_beside(&FILES, &[("top", &nonce(members), field, message)]);
    }
}

#[test]
fn the_secret_of_the_admin_port_is_read_from_a_file() {
    let token = |admin: &str| meant(&format!("replicas: 1\nadmin: {{ {admin} }}")).0.admin.token;
    let of_file = token("token_file: secret").unwrap();
    assert!(of_file.is(SECRET.trim().as_bytes()) && !of_file.is(SECRET.as_bytes()) && !of_file.is(b""));
    assert!(token("token_file: null").is_none() && token("address: '0.0.0.0:9090'").is_none());
    for (file, message) in [
        ("nowhere", "nowhere: cannot be read"),
        ("brief", "expected a secret of at least 16 bytes, found 11"),
        ("empty", "found an empty file"),
        ("5", "expected a text"),
    ] {
        let admin = format!("admin: {{ token_file: {file} }}");
        refused_beside(&FILES, &[("top", &admin, "admin.token_file", message)]);
    }
}

#[test]
fn a_store_has_the_documented_defaults() {
    let store = store("urls: ['redis://10.0.0.7']");
    assert_eq!(store.servers, [Address { host: "10.0.0.7".to_owned(), port: 6379 }]);
    assert_eq!((store.topology, store.database, store.on_failure), (Topology::Single, 0, OnFailure::Deny));
    assert_eq!((store.key_prefix.as_str(), store.timeout), ("keybound:", Duration::from_millis(50)));
    assert!(store.tls.is_none() && store.credentials.password.is_none());
}

#[test]
fn every_field_of_a_store_has_its_meaning() {
    let sentinel = store(
        "urls: ['rediss://a', 'rediss://[::1]:7/3', 'rediss://c/3'], key_prefix: 'api:', timeout: 20ms, \
         sentinel: { master: mine, username: watch, password_file: password }, username: keybound, \
         password_file: password"
            .replace("//a'", "//a/3'")
            .as_str(),
    );
    let address = |host: &str, port| Address { host: host.to_owned(), port };
    assert_eq!(sentinel.servers, [address("a", 26379), address("::1", 7), address("c", 26379)]);
    let Topology::Sentinel { master, credentials } = &sentinel.topology else { panic!("{:?}", sentinel.topology) };
    assert_eq!((master.as_str(), credentials.username.as_deref()), ("mine", Some("watch")));
    assert_eq!(sentinel.credentials.password.as_ref().unwrap().as_str(), "open sesame");
    assert_eq!((sentinel.database, sentinel.key_prefix.as_str()), (3, "api:"));
    assert!(sentinel.tls.is_some());
    assert!(!format!("{sentinel:?}").contains("sesame"));
    assert_eq!(store("urls: ['redis://a', 'redis://b'], cluster: true").topology, Topology::Cluster);
}

#[test]
fn a_store_is_checked() {
    let one = "urls: ['redis://a']";
    refused(&[
        ("top", "replay: { store: redis }", "replay.redis", "missing"),
        ("top", "replay: { store: redis, redis: {} }", "replay.redis.urls", "missing"),
        ("top", "replay: { store: redsi }", "replay.store", "`memory` or `redis`"),
    ]);
    refused_store(&[
        ("urls: []", "replay.redis.urls", "empty: spent proofs could be stored nowhere"),
        ("urls: ['http://a']", "replay.redis.urls[0]", "redis://127.0.0.1:6379"),
        ("urls: ['a:6379']", "replay.redis.urls[0]", "redis://127.0.0.1:6379"),
        ("urls: ['redis://a?x=1']", "replay.redis.urls[0]", "redis://127.0.0.1:6379"),
        ("urls: ['redis://a/x']", "replay.redis.urls[0]", "the number of a database"),
        ("urls: ['redis://a', 'redis://b']", "replay.redis.urls", "expected one server, found several"),
        ("urls: ['redis://a:0']", "replay.redis.urls[0]", "a port that somebody can listen on"),
        ("urls: ['redis://a/1#2']", "replay.redis.urls[0]", "redis://127.0.0.1:6379"),
        ("urls: ['redis://a', 'redis://a:6379'], cluster: true", "replay.redis.urls", "each server once"),
        ("urls: 'redis://a'", "replay.redis.urls", "a list"),
        ("urls: ['redis://a', 'redis://b'], sentinel: mymaster", "replay.redis.sentinel", "a mapping"),
        ("urls: ['redis://a/1'], cluster: true", "replay.redis.urls", "no databases but 0"),
        ("urls: ['redis://a/1', 'redis://b'], sentinel: { master: m }", "replay.redis.urls", "one database"),
        ("urls: ['redis://a', 'rediss://b'], cluster: true", "replay.redis.urls", "everywhere or nowhere"),
        (&format!("{one}, cluster: true, sentinel: {{ master: m }}"), "replay.redis.cluster", "no Sentinels"),
        (&format!("{one}, sentinel: {{}}"), "replay.redis.sentinel.master", "missing"),
        (&format!("{one}, username: u"), "replay.redis.password_file", "a user has a password"),
        (&format!("{one}, password_file: nowhere"), "replay.redis.password_file", "nowhere: cannot be read"),
        (&format!("{one}, ca_file: x"), "replay.redis.ca_file", "do not begin with `rediss://`"),
        (&format!("{one}, key_prefix: 'a{{b}}'"), "replay.redis.key_prefix", "without `{` and `}`"),
        (&format!("{one}, timeout: 0s"), "replay.redis.timeout", "at least 1ms"),
        (&format!("{one}, timeout: 11s"), "replay.redis.timeout", "at most 10s"),
        (&format!("{one}, on_failure: allow"), "replay.redis.on_failure", "`deny`, `local` or `nonce`"),
        (&format!("{one}, on_failure: nonce"), "replay.redis.on_failure", "proofs have nonces at all times"),
        ("urls: ['rediss://a'], ca_file: nowhere", "replay.redis.ca_file", "nowhere: cannot be read"),
        ("urls: ['rediss://a'], certificate_file: secret", "replay.redis.certificate_file", "`key_file` belongs to it"),
        ("urls: ['rediss://a'], key_file: secret", "replay.redis.key_file", "`certificate_file` belongs to it"),
    ]);
    // Neither the password nor the URL that holds it is repeated.
    let long = "sesame".repeat(11);
    for urls in [
        "['redis://u:sesame@a']",
        &format!("['redis://u:{long}@a']"),
        "['redis://u:se/sesame@a']",
        "['redis://u:sesame\"@a']",
        "'redis://u:sesame@a'",
        "[u:sesame@a]",
        "['redis://u:sesame@a']]",
        "['redis://a'], password: sesame",
    ] {
        let report =
            read(&changed("top", &format!("replay: {{ store: redis, redis: {{ urls: {urls} }} }}"))).unwrap_err();
        let told: String = errors(&report).iter().map(|finding| finding.message()).collect();
        assert!(!told.contains("sesame") && !report.render(false).contains("sesame"), "{}", report.render(false));
    }
    let report =
        read(&changed("top", "replay: { store: redis, redis: { urls: ['redis://u:sesame@a'] } }")).unwrap_err();
    let [only] = errors(&report)[..] else { panic!("{report}") };
    assert!(only.message().contains("fields of their own"), "{report}");
    assert!(report.render(false).contains("redis://********@a"), "{}", report.render(false));
}

#[test]
fn a_password_in_the_clear_and_too_few_sentinels_are_told() {
    let told = |redis: &str| -> Vec<String> {
        let (_, warnings) = meant(&format!("replay: {{ store: redis, redis: {{ {redis} }} }}"));
        warnings.findings().iter().map(|finding| finding.to_string()).collect()
    };
    let password = "password_file: password";
    assert!(told(&format!("urls: ['redis://10.0.0.7'], {password}"))[0].contains("crosses the network in the clear"));
    assert!(told(&format!("urls: ['rediss://10.0.0.7'], {password}")).is_empty());
    assert!(told(&format!("urls: ['redis://127.0.0.1'], {password}")).is_empty());
    assert!(
        told("urls: ['redis://a', 'redis://b'], sentinel: { master: m }")[0].contains("fewer than three Sentinels")
    );
    // Nobody proves anything: there is nothing to share.
    let open = VALID.replace("    # route", "    access: { mode: public }") + "replicas: 3\n";
    assert!(read(&open).unwrap().1.is_empty());
}

/// What the example shows as a comment is complete, and is what is meant without it.
#[test]
fn the_example_of_a_store_has_the_defaults() {
    let example = include_str!("../../../../config.example.yaml");
    let block: Vec<&str> = example
        .lines()
        .skip_while(|line| !line.starts_with("  # redis:"))
        .map_while(|line| line.strip_prefix("  # "))
        .collect();
    let shown =
        store(&block[1..].iter().map(|line| line.split(" #").next().unwrap().trim()).collect::<Vec<_>>().join(", "));
    let meant = RedisSettings::single(Address { host: "127.0.0.1".to_owned(), port: 6379 });
    assert_eq!(format!("{shown:?}"), format!("{meant:?}"));
}

#[test]
fn what_weakens_the_promise_is_told() {
    let (settings, warnings) = meant("replay: { store: redis, redis: { urls: ['redis://a'], on_failure: local } }");
    let [only] = warnings.findings() else { panic!("{warnings}") };
    assert!(is(only, Severity::Warning, "replay.redis.on_failure", "a stolen proof passes once at each replica"));
    assert_eq!(settings.replay.shared.unwrap().on_failure, OnFailure::Local);
    let nonce = "dpop: { nonce: { mode: required, secret_file: secret } }";
    let (settings, warnings) =
        meant(&format!("{nonce}\nreplay: {{ store: redis, redis: {{ urls: ['redis://a'], on_failure: nonce }} }}"));
    assert!(warnings.is_empty(), "{warnings}");
    assert_eq!(settings.replay.shared.unwrap().on_failure, OnFailure::Nonce);
}
