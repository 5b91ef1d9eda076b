//! `keybound check` on every configuration that `deploy/` offers and the documents show.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use crate::tools::{KEYBOUND, documents, files, ran, repository};

/// Said of APIs in other containers, which the configurations speak of as well.
const PLAIN: &str = "the hop to the upstream is neither encrypted nor authenticated";

/// What the configurations name, in the place of `/etc/keybound`.
fn etc() -> TempDir {
    let etc = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["api.example.com".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    let key = key.serialize_pem();
    for (name, content) in [
        ("tls.crt", certificate.as_str()),
        ("tls.key", &key),
        ("tls/gateway.crt", &certificate),
        ("tls/gateway.key", &key),
        ("tls/ca.crt", &certificate),
        ("tls/tls.crt", &certificate),
        ("tls/tls.key", &key),
        ("certificates/gateway.crt", &certificate),
        ("certificates/gateway.key", &key),
        ("certificates/ca.crt", &certificate),
        ("secrets/tls.crt", &certificate),
        ("secrets/tls.key", &key),
        ("redis/ca.crt", &certificate),
        ("redis/password", "correct-horse-battery-staple\n"),
        ("nonce/secret", &"0123456789abcdef".repeat(4)),
    ] {
        let path = etc.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    etc
}

/// The configurations among the files, told by what a configuration must have.
fn configurations() -> Vec<PathBuf> {
    let is_configuration = |path: &PathBuf| {
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml");
        is_yaml
            && documents(&fs::read_to_string(path).unwrap())
                .iter()
                .any(|document| document.get("listeners").is_some() && document.get("routes").is_some())
    };
    // The chart's templates are not YAML yet; helm.rs has what becomes of them.
    let templates = repository("deploy/helm/keybound/templates");
    files("deploy").into_iter().filter(|path| !path.starts_with(&templates)).filter(is_configuration).collect()
}

/// `keybound check` says so, and warns of nothing else than of the plain hop to an API.
pub fn is_valid(name: &str, configuration: &str) {
    let etc = etc();
    let file = etc.path().join("keybound.yaml");
    fs::write(&file, configuration.replace("/etc/keybound", etc.path().to_str().unwrap())).unwrap();
    let mut command = Command::new(KEYBOUND);
    command.args(["check", "--config"]).arg(&file).env("CREDENTIALS_DIRECTORY", etc.path().join("secrets"));
    let (valid, words) = ran(&mut command);
    assert!(valid && words.contains(": valid\n"), "{name}: {words}");
    let strange = words.lines().find(|line| line.starts_with("warning") && !line.ends_with(PLAIN));
    assert_eq!(strange, None, "{name}: {words}");
}

#[test]
fn every_configuration_is_valid_and_nothing_else_is_to_be_warned_of() {
    let all = configurations();
    assert!(all.len() >= 6, "the configurations were found: {all:?}");
    for path in all {
        let name = path.strip_prefix(repository("")).unwrap().display().to_string();
        is_valid(&name, &fs::read_to_string(&path).unwrap());
    }
}

/// The blocks of a document that are a whole configuration, told by the same.
fn shown(document: &str) -> Vec<String> {
    let blocks = document.split("```yaml\n").skip(1).map(|rest| rest.split("\n```").next().unwrap().to_owned() + "\n");
    blocks.filter(|block| block.starts_with("listeners:") && block.contains("\nroutes:")).collect()
}

#[test]
fn every_configuration_of_the_documents_is_valid() {
    let etc = etc();
    let file = etc.path().join("keybound.yaml");
    let mut count = 0;
    let documents = files("docs").into_iter().chain([repository("README.md")]);
    for document in documents.filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let name = document.strip_prefix(repository("")).unwrap().display().to_string();
        for block in shown(&fs::read_to_string(&document).unwrap()) {
            fs::write(&file, &block).unwrap();
            let (valid, words) = ran(Command::new(KEYBOUND).args(["check", "--config"]).arg(&file));
            assert!(valid && words.contains(": valid\n"), "{name}: {words}{block}");
            // The documents speak of these two.
            let told = ["replay.store: ", "meant for the time of a migration"];
            let is_strange = |line: &&str| line.starts_with("warning") && !told.iter().any(|told| line.contains(told));
            let strange = words.lines().find(is_strange);
            assert_eq!(strange, None, "{name}: {words}");
            count += 1;
        }
    }
    assert!(count >= 8, "the configurations were found: {count}");
}
