//! `keybound schema`, asked by a validator that others wrote.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;

use super::{PATIENCE, done, folder, run};

pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What the validator says against each instance.
fn validate(instances: &BTreeMap<String, Value>) -> BTreeMap<String, Vec<String>> {
    let folder = folder();
    fs::write(folder.path().join("schema.json"), done(&folder, &["schema"])).unwrap();
    let python = repository("target/interop/venv/bin/python");
    let output = Command::new(python)
        .arg(repository("tests/cli/validate.py"))
        .arg(folder.path().join("schema.json"))
        .write_stdin(serde_json::to_vec(instances).unwrap())
        .timeout(PATIENCE)
        .output()
        .expect("tests/install was run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// As the gateway's own library reads it.
fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The YAML blocks of a document that are a configuration, or the beginning of one: others are indented.
fn blocks(document: &str) -> Vec<String> {
    let blocks = document.split("```yaml\n").skip(1).map(|rest| rest.split("\n```").next().unwrap().to_owned());
    blocks.filter(|block| block.starts_with(|first: char| first.is_ascii_lowercase())).collect()
}

#[test]
fn whatever_the_repository_shows_is_valid() {
    let mut instances = BTreeMap::new();
    let mut take = |name: &str, text: &str| {
        instances.insert(name.to_owned(), yaml(text));
    };
    let example = fs::read_to_string(repository("config.example.yaml")).unwrap();
    take("config.example.yaml", &example);
    let mut documents = vec!["README.md".to_owned()];
    for folder in ["docs", "docs/servers"] {
        let entries = fs::read_dir(repository(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        let names = entries.map(|name| format!("{folder}/{}", name.to_str().unwrap()));
        documents.extend(names.filter(|name| name.ends_with(".md")));
    }
    for document in documents {
        let text = fs::read_to_string(repository(&document)).unwrap();
        for (at, block) in blocks(&text).iter().enumerate() {
            take(&format!("{document} {at}"), block);
        }
    }
    for entry in fs::read_dir(repository("deploy")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("keybound") && name.ends_with(".yaml") {
            take(&name, &fs::read_to_string(&path).unwrap());
        }
    }
    assert!(instances.len() >= 9, "they were found: {:?}", instances.keys());
    for (name, errors) in validate(&instances) {
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
}

#[test]
fn the_reference_is_what_the_schema_says() {
    let committed = fs::read_to_string(repository("docs/reference.md")).unwrap_or_default();
    let printed = done(&folder(), &["schema", "--format", "markdown"]);
    let differs = committed.lines().zip(printed.lines()).find(|(committed, printed)| committed != printed);
    assert!(
        committed == printed,
        "docs/reference.md is out of date: cargo run --locked -- schema --format markdown > docs/reference.md\n{differs:#?}"
    );
}

/// What a file may say in the place of a value.
const GOOD: [&str; 14] = [
    "limits: { idle_timeout: 1m 30s, body_bytes: 1048576, header_bytes: 64 KiB }",
    "limits: { idle_timeout: \"${IDLE}\", body_bytes: null, headers: \"${HEADERS:-100}\" }",
    "dpop: { nonce: { mode: required, secret_file: [old, new] } }",
    "dpop: { nonce: { mode: \"${MODE}\", secret_file: one, lifetime: \"0\" } }",
    "listeners: [{ address: \"0.0.0.0:1\", client_certificate_header: x-forwarded-client-cert }]",
    "listeners: [{ address: \"0.0.0.0:1\", client_certificate_header: { name: X-C, encoding: pem } }]",
    "listeners: [{ address: \"0.0.0.0:1\", tls: { min_version: \"1.3\", client_certificates: { trust: any } } }]",
    "listeners: [{ address: \"0.0.0.0:1\", tls: { client_certificates: { trust: { ca_file: a, crl_files: [b] } } } }]",
    "replay: { store: redis, redis: { urls: [\"redis://a\"], cluster: true } }",
    "routes: [{ match: { path_prefix: /a }, upstream: \"${URL}\", forward: { claims: { X-A: sub } }, cors: null }]",
    "upstreams: { orders: { endpoints: [\"http://a\"] } }",
    "telemetry: { access_log: \"${LOG:-true}\", log: { level: debug } }",
    "telemetry: { access_log: { sample: 0.01 } }",
    "{}",
];

/// What it may not, and where that is.
const BROKEN: [(&str, &str); 20] = [
    ("listener: []", "$"),
    ("listeners: {}", "$.listeners"),
    ("listeners: [{ adress: a }]", "$.listeners[0]"),
    ("limits: { idle_timeout: 60 }", "$.limits.idle_timeout"),
    ("limits: { idle_timeout: 60 parsecs }", "$.limits.idle_timeout"),
    ("limits: { idle_timeout: null }", "$.limits.idle_timeout"),
    ("limits: { header_bytes: 64kb }", "$.limits.header_bytes"),
    ("limits: { headers: \"100\" }", "$.limits.headers"),
    ("limits: { headers: -1 }", "$.limits.headers"),
    ("dpop: null", "$.dpop"),
    ("dpop: { nonce: { mode: on } }", "$.dpop.nonce.mode"),
    ("dpop: { algorithms: ES256 }", "$.dpop.algorithms"),
    ("routes: [{ access: { scope: [a] } }]", "$.routes[0].access"),
    ("routes: [{ access: { mode: enforced } }]", "$.routes[0].access.mode"),
    ("routes: [{ forward: { claims: { Accept: 1 } } }]", "$.routes[0].forward.claims.Accept"),
    ("listeners: [{ tls: { min_version: 1.2 } }]", "$.listeners[0].tls"),
    (
        "listeners: [{ client_certificate_header: { name: X, encodin: pem } }]",
        "$.listeners[0].client_certificate_header",
    ),
    ("telemetry: { access_log: \"yes\" }", "$.telemetry.access_log"),
    ("telemetry: { access_log: 0.1 }", "$.telemetry.access_log"),
    ("telemetry: { access_log: { sample: 1.1 } }", "$.telemetry.access_log"),
];

#[test]
fn good_values_are_valid_and_broken_ones_are_not() {
    let instances = GOOD.iter().chain(BROKEN.iter().map(|(text, _)| text));
    let found = validate(&instances.map(|text| ((*text).to_owned(), yaml(text))).collect());
    for text in GOOD {
        assert!(found[text].is_empty(), "{text}: {:#?}", found[text]);
    }
    for (text, place) in BROKEN {
        let errors = &found[text];
        assert!(
            !errors.is_empty() && errors.iter().all(|error| error.starts_with(&format!("{place}: "))),
            "{text}: {errors:#?}"
        );
    }
}

/// The reader agrees about what is broken, each at its place.
#[test]
fn what_the_schema_refuses_is_refused_by_the_reader() {
    let folder = folder();
    for (text, place) in BROKEN {
        fs::write(folder.path().join("keybound.yaml"), text).unwrap();
        let ran = run(&folder, &["check", "--config", "keybound.yaml"]);
        let field = place.trim_start_matches("$").trim_start_matches('.');
        let told = ran.err.lines().any(|line| line.starts_with("error: ") && line.contains(field));
        assert!(ran.code == 1 && told, "{text}: {}", ran.err);
    }
}
