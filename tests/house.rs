//! The house rules that a compiler does not know: imports run one way, the pure stations stay pure, files stay short.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must fail")]
#![allow(clippy::pedantic, missing_docs, reason = "pedantry is for what ships")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which stations each station may import, in the order of a request's way. What is not listed may import anything.
const MAY_IMPORT: [(&str, &[&str]); 15] = [
    ("refusal", &[]),
    ("time", &[]),
    ("clock", &["time"]),
    ("request", &["refusal"]),
    ("verify", &["refusal", "time", "request"]),
    ("routes", &["refusal", "time", "request", "verify"]),
    ("accept", &["refusal", "time", "request"]),
    ("keys", &["refusal", "time", "clock", "verify"]),
    ("replay", &["refusal", "time", "verify"]),
    ("tokens", &["refusal", "time", "clock", "verify", "keys"]),
    ("authorize", &["refusal", "time", "request", "verify", "routes", "replay"]),
    ("respond", &["refusal", "request", "routes"]),
    ("forward", &["refusal", "request", "routes", "authorize", "keys"]),
    ("telemetry", &["refusal", "request", "verify"]),
    (
        "gateway",
        &[
            "refusal",
            "time",
            "clock",
            "request",
            "verify",
            "routes",
            "accept",
            "keys",
            "replay",
            "tokens",
            "authorize",
            "respond",
            "forward",
            "telemetry",
        ],
    ),
];

/// Stations without I/O, async, clock and logging.
const PURE: [&str; 6] = ["refusal", "time", "request", "verify", "routes", "respond"];

const IMPURE: [&str; 13] = [
    "tokio",
    "hyper",
    "rustls::",
    "std::fs",
    "std::io",
    "TcpStream",
    "UdpSocket",
    "SystemTime",
    "Instant::",
    "tracing",
    "log::",
    "async ",
    ".await",
];

/// (station, file, text without comments and tests).
fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let relative = path.strip_prefix(&root).unwrap().to_owned();
            let is_test =
                relative.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")));
            if relative.extension().is_none_or(|extension| extension != "rs") || is_test {
                continue;
            }
            let station =
                relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap()).collect();
            sources.push((station, relative, code.join("\n")));
        }
    }
    assert!(sources.len() > 30, "the sources were found");
    sources
}

fn imports(code: &str) -> Vec<String> {
    let name = |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    code.split("crate::").skip(1).map(name).filter(|name| !name.is_empty()).collect()
}

#[test]
fn imports_run_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.into_iter().collect();
    for (station, file, code) in sources() {
        let Some(allowed) = allowed.get(station.as_str()) else { continue };
        for import in imports(&code) {
            let fine = import == station || allowed.contains(&import.as_str());
            assert!(fine, "{}: `{station}` may import {allowed:?}, not `{import}`", file.display());
        }
    }
}

#[test]
fn pure_stations_stay_pure() {
    for (station, file, code) in sources() {
        if PURE.contains(&station.as_str()) {
            for word in IMPURE {
                assert!(!code.contains(word), "{}: `{word}` in a pure station", file.display());
            }
        }
    }
}

#[test]
fn the_system_clock_has_one_caller() {
    for (station, file, code) in sources() {
        assert!(station == "clock" || !code.contains("SystemTime::now"), "{}: ask the clock instead", file.display());
    }
}

#[test]
fn files_stay_short() {
    for (_, file, _) in sources() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(&file);
        let lines = fs::read_to_string(path).unwrap().lines().count();
        assert!(lines <= 400, "{}: {lines} lines; split by specification section or by station", file.display());
    }
}
