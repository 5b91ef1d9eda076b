//! What two scanners find. Neither may find anything worse than "low", and whatever is left out is left out by name and for a
//! reason; a check that was not made is a finding.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::clients;
use crate::ground::{Door, Ground, issued};
use crate::support::HOST;

/// No scan takes longer.
const PATIENCE: Duration = Duration::from_secs(300);

/// A scanner and everything that it starts. They end with this.
struct Scanner(Child);

impl Scanner {
    fn start(command: &mut Command, folder: &Path) -> Self {
        let log = fs::File::create(folder.join("scan.log")).unwrap();
        command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.process_group(0).spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}; run `make test`, which installs it first")))
    }

    async fn ended(mut self, folder: &Path) -> String {
        let began = Instant::now();
        while self.0.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < PATIENCE, "the scan does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        fs::read_to_string(folder.join("scan.log")).unwrap()
    }
}

impl Drop for Scanner {
    fn drop(&mut self) {
        let group = format!("kill -KILL -- -{} 2>/dev/null", self.0.id());
        let _ = Command::new("sh").args(["-c", &group]).status();
        let _ = self.0.wait();
    }
}

/// What testssl.sh finds and what is not held against us.
const EXCUSED: &[(&str, &str, &str)] = &[
    ("engine_problem", "WARN", "this is about the scanner's own OpenSSL, which lacks GOST"),
    // Each suite that is offered has forward secrecy and authenticated encryption; which is best depends on what the
    // client's processor is good at. Mozilla's configuration, which sslyze checks, leaves it to the client, too.
    ("cipher_order", "HIGH", "every order is good"),
    // It asks with a session that it may have left before the ticket came; sessions.rs waits for it.
    ("sessionresumption_ticket", "WARN", "sometimes the scanner is too fast for itself"),
];

/// All that may find something: the lists of suites and the simulation of clients only inform.
const SECTIONS: &[&str] = &["-p", "-s", "-f", "-P", "-S", "-h", "-U"];

/// What testssl.sh must have looked at: a scan that gave up halfway finds nothing either.
const LOOKED_AT: &[&str] = &[
    "SSLv2",
    "SSLv3",
    "TLS1",
    "TLS1_1",
    "TLS1_2",
    "TLS1_3",
    "cipherlist_NULL",
    "cipherlist_aNULL",
    "cipherlist_EXPORT",
    "cipherlist_LOW",
    "cipherlist_3DES_IDEA",
    "cert_trust",
    "cert_chain_of_trust",
    "cert_expirationStatus",
    "heartbleed",
    "CCS",
    "ticketbleed",
    "ROBOT",
    "secure_renego",
    "secure_client_renego",
    "CRIME_TLS",
    "BREACH",
    "POODLE_SSL",
    "fallback_SCSV",
    "SWEET32",
    "FREAK",
    "DROWN",
    "LOGJAM",
    "BEAST",
    "LUCKY13",
    "RC4",
];

/// Runs testssl.sh and returns what it found: id, severity and words.
async fn testssl(ground: &Ground, door: Door, options: &[&str]) -> Vec<(String, String, String)> {
    let folder = ground.stage.folder.path();
    // The authorities that it goes by.
    fs::create_dir_all(folder.join("stores")).unwrap();
    fs::copy(folder.join("servers.pem"), folder.join("stores/ours.pem")).unwrap();
    let mut command = Command::new("testssl");
    command
        .args(["--jsonfile", "testssl.json", "--warnings", "batch", "--color", "0", "--quiet", "--nodns", "none"])
        .args(["--ip", "127.0.0.1"])
        .args(options)
        .arg(format!("localhost:{}", ground.address(door).port()))
        // It waits for what may come over long ways.
        .envs([("USLEEP_SND", "0.01"), ("USLEEP_REC", "0.02")])
        .env("CA_BUNDLES_PATH", folder.join("stores"));
    let log = Scanner::start(&mut command, folder).ended(folder).await;
    let text = fs::read_to_string(folder.join("testssl.json")).unwrap_or_else(|error| panic!("{error}: {log}"));
    let found: Vec<Value> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}\n{log}"));
    let word = |one: &Value, name: &str| one[name].as_str().unwrap_or_else(|| panic!("no {name}: {one}")).to_owned();
    found.iter().map(|one| (word(one, "id"), word(one, "severity"), word(one, "finding"))).collect()
}

fn installed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interop").join(name)
}

#[tokio::test]
async fn testssl_finds_nothing_above_low() {
    let ground = Ground::set().await;
    let began = Instant::now();
    let found = testssl(&ground, Door::Silent, SECTIONS).await;
    println!("testssl.sh: {} findings in {:?}", found.len(), began.elapsed());
    for (id, severity, words) in &found {
        println!("{severity:8} {id}: {words}");
    }
    let ids: BTreeSet<&str> = found.iter().map(|(id, ..)| id.as_str()).collect();
    let missing: Vec<_> = LOOKED_AT.iter().filter(|id| !ids.contains(**id)).collect();
    assert!(missing.is_empty(), "not looked at: {missing:?}");
    let fine = ["OK", "INFO", "LOW"];
    let bad: Vec<_> = found
        .iter()
        .filter(|(id, severity, _)| {
            !fine.contains(&severity.as_str())
                && !EXCUSED.iter().any(|(known, worst, _)| known == id && worst == severity)
        })
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

/// Runs sslyze and returns what it found, and what it says of Mozilla's configuration.
async fn sslyze(ground: &Ground, door: Door, options: &[&str]) -> (Value, String) {
    let folder = ground.stage.folder.path();
    let mut command = Command::new(installed("venv/bin/sslyze"));
    command
        .args(["--json_out", "sslyze.json", "--certinfo_ca_file", "servers.pem", "--sni", HOST])
        .args(["--mozilla_config", "intermediate", "--resum", "--early_data"])
        .args(options)
        .arg(ground.address(door).to_string());
    let log = Scanner::start(&mut command, folder).ended(folder).await;
    let text = fs::read_to_string(folder.join("sslyze.json")).unwrap_or_else(|error| panic!("{error}: {log}"));
    let all: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}\n{log}"));
    let result = &all["server_scan_results"][0];
    assert_eq!(result["scan_status"], "COMPLETED", "{log}");
    (result["scan_result"].clone(), log)
}

/// All that sslyze knows how to look for, and what it must have found.
fn judge(found: &Value, log: &str) {
    let result = |command: &str| {
        let attempt = &found[command];
        assert_eq!(attempt["status"], "COMPLETED", "{command}: {attempt}");
        &attempt["result"]
    };
    for (command, member, wanted) in [
        ("ssl_2_0_cipher_suites", "is_tls_version_supported", Value::Bool(false)),
        ("ssl_3_0_cipher_suites", "is_tls_version_supported", Value::Bool(false)),
        ("tls_1_0_cipher_suites", "is_tls_version_supported", Value::Bool(false)),
        ("tls_1_1_cipher_suites", "is_tls_version_supported", Value::Bool(false)),
        ("tls_1_2_cipher_suites", "is_tls_version_supported", Value::Bool(true)),
        ("tls_1_3_cipher_suites", "is_tls_version_supported", Value::Bool(true)),
        ("heartbleed", "is_vulnerable_to_heartbleed", Value::Bool(false)),
        ("openssl_ccs_injection", "is_vulnerable_to_ccs_injection", Value::Bool(false)),
        ("robot", "robot_result", "NOT_VULNERABLE_RSA_NOT_SUPPORTED".into()),
        ("tls_compression", "supports_compression", Value::Bool(false)),
        ("tls_1_3_early_data", "supports_early_data", Value::Bool(false)),
        ("tls_fallback_scsv", "supports_fallback_scsv", Value::Bool(true)),
        ("tls_extended_master_secret", "supports_ems_extension", Value::Bool(true)),
        ("session_renegotiation", "supports_secure_renegotiation", Value::Bool(true)),
        ("session_renegotiation", "is_vulnerable_to_client_renegotiation_dos", Value::Bool(false)),
        ("session_renegotiation", "client_renegotiations_success_count", 0.into()),
        ("session_resumption", "session_id_resumption_result", "FULLY_SUPPORTED".into()),
        // Tickets are not asked about: a session that resumes brings a new one, and sslyze looks for the old one.
    ] {
        assert_eq!(result(command)[member], wanted, "{command}, {member}: {}", result(command));
    }
    for deployment in result("certificate_info")["certificate_deployments"].as_array().unwrap() {
        let trusted = deployment["path_validation_results"].as_array().unwrap();
        assert!(trusted.iter().any(|one| one["was_validation_successful"] == true), "{trusted:?}");
    }
    assert!(log.contains("OK - Compliant"), "{log}");
}

#[tokio::test]
async fn sslyze_finds_nothing() {
    let ground = Ground::set().await;
    let began = Instant::now();
    let (found, log) = sslyze(&ground, Door::Silent, &[]).await;
    judge(&found, &log);
    println!("sslyze: {:?}", began.elapsed());
    // Where a certificate is demanded, with one and without.
    let identity = issued(&ground.clients, |_| {});
    clients::write(&ground, "mine", &identity);
    let (found, log) = sslyze(&ground, Door::Required, &["--cert", "mine.pem", "--key", "mine.key"]).await;
    judge(&found, &log);
    println!("sslyze with a certificate: {:?}", began.elapsed());
    assert_eq!(ground.stage.api.count(), 0);
}
