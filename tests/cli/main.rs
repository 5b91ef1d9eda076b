//! The client's commands, run as programs against real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must fail")]
#![allow(clippy::pedantic, missing_docs, reason = "pedantry is for what ships")]

use std::fs;
use std::io::Read as _;
use std::process::Stdio;
use std::time::Duration;

use assert_cmd::Command;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keybound::clock::{Clock as _, SystemClock};
use keybound::refusal::Reason;
use keybound::request::ProofField;
use keybound::verify::{Algorithm, Expected, ProofRules, Thumbprint, TokenHash, Unremembered, base64url, verify_proof};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

mod completions;
mod demo;
mod explain;
mod health;
mod request;
mod schema;
mod server;
mod servers;

const BIN: &str = env!("CARGO_BIN_EXE_keybound");
const PATIENCE: Duration = Duration::from_secs(30);
const TOKEN: &str = "sesame.open.now";

/// A run of the program, and what it left.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn run_with(token: Option<&str>, folder: &TempDir, arguments: &[&str]) -> Ran {
    let mut command = Command::new(BIN);
    command
        .current_dir(folder)
        .env_remove("KEYBOUND_TOKEN")
        .env_remove("KEYBOUND_PROOF")
        .args(arguments)
        .timeout(PATIENCE);
    command.envs(token.map(|token| ("KEYBOUND_TOKEN", token)));
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn run(folder: &TempDir, arguments: &[&str]) -> Ran {
    run_with(Some(TOKEN), folder, arguments)
}

fn done(folder: &TempDir, arguments: &[&str]) -> String {
    let Ran { code, out, err } = run(folder, arguments);
    assert_eq!(code, 0, "{arguments:?}: {err}");
    out
}

/// Makes `key.pem` and returns its thumbprint.
fn make_key(folder: &TempDir, algorithm: &str) -> Thumbprint {
    let arguments = ["key", "-a", algorithm, "-o", "key.pem", "--force", "--json"];
    let facts: Value = serde_json::from_str(&done(folder, &arguments)).unwrap();
    Thumbprint(base64url::decode_array(facts["jkt"].as_str().unwrap()).unwrap())
}

fn verify(proof: &str, method: &str, external_url: &str, key: Thumbprint) -> Result<(), Reason> {
    let token_hash = &TokenHash::of(TOKEN);
    let expected = Expected { method, external_url, token_hash, key };
    let rules = ProofRules { algorithms: Algorithm::ALL.to_vec(), ..ProofRules::default() };
    let field = ProofField::One(proof.trim_end().parse().unwrap());
    let proof = verify_proof(&field, &expected, &rules, &Unremembered, SystemClock.now());
    proof.map(|_| ()).map_err(|refusal| refusal.reason())
}

fn claims(proof: &str) -> Value {
    serde_json::from_slice(&base64url::decode(proof.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn every_algorithm_makes_keys_whose_proofs_verify() {
    let folder = folder();
    for (algorithm, signs) in
        [("ES256", None), ("es384", None), ("PS256", None), ("PS256", Some("RS256")), ("EdDSA", None)]
    {
        let key = make_key(&folder, algorithm);
        let url = "https://RS.example:443/items?page=2#top";
        let mut arguments = vec!["proof", "--key", "key.pem", "-X", "PUT", "--url", url, "--nonce", "n-1"];
        arguments.extend(signs.iter().flat_map(|signs| ["--algorithm", *signs]));
        let proof = done(&folder, &arguments);
        assert_eq!(verify(&proof, "PUT", "https://rs.example/items", key), Ok(()), "{algorithm}");
        assert_eq!(verify(&proof, "GET", "https://rs.example/items", key), Err(Reason::ProofMethod));
        assert_eq!(claims(&proof)["nonce"], "n-1");
    }
}

#[test]
fn a_token_is_an_argument_a_file_or_a_variable() {
    let folder = folder();
    let key = make_key(&folder, "ES256");
    fs::write(folder.path().join("token"), format!("{TOKEN}\n")).unwrap();
    let proof = ["proof", "--key", "key.pem", "--url", "https://rs.example/"];
    for (variable, more) in [
        (Some(TOKEN), &[] as &[&str]),
        (Some("another"), &["--token", TOKEN]),
        (Some("another"), &["--token-file", "token"]),
        (None, &["--token-file", "token"]),
    ] {
        let Ran { out, .. } = run_with(variable, &folder, &[&proof, more].concat());
        assert_eq!(verify(&out, "GET", "https://rs.example/", key), Ok(()), "{more:?}");
    }
    assert!(claims(&run_with(None, &folder, &proof).out).get("ath").is_none());
}

#[test]
fn published_thumbprints_are_found() {
    let folder = folder();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3\
        oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6\
        qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJ\
        zKnqDKgw";
    let rsa = format!(r#"{{"kty":"RSA","e":"AQAB","alg":"RS256","kid":"2011-04-29","n":"{n}"}}"#);
    write("rsa.json", &rsa);
    let ed = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let ec = r#"{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}"#;
    write("set.json", &format!(r#"{{"keys":[{ed},{ec}]}}"#));
    let der = "MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAxODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UE\
        AwwEbXRsczBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ/Au08/coZwxS7LfA4vOLS9WuneIX\
        hbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwIDSQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOVbUlJSGQgjwD5\
        vaUaKlLR50Q2DmFfQj1L+SY=";
    write("c1.pem", &format!("-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n"));
    fs::write(folder.path().join("c1.der"), STANDARD.decode(der).unwrap()).unwrap();

    let out = done(&folder, &["key", "thumbprint", "rsa.json", "set.json", "c1.pem", "c1.der"]);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[0], "jkt       NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs  rsa.json (RSA public key)");
    assert_eq!(lines[1], "jkt       kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k  set.json (Ed25519 public key)");
    assert_eq!(lines[2], "jkt       0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I  set.json (P-256 public key)");
    for (at, file) in [(3, "c1.pem"), (5, "c1.der")] {
        let x5t = format!("x5t#S256  A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0  {file} (certificate of CN=mtls)");
        assert_eq!(lines[at], x5t);
        assert_eq!(lines[at + 1], format!("jkt       Fvi_j8Immo6AlgIwpZKqaXnNP_9b09pLKkQHObRebQY  {file} (its key)"));
    }
    let json: Value = serde_json::from_str(&done(&folder, &["key", "thumbprint", "--json", "c1.pem"])).unwrap();
    assert_eq!(json[0]["x5t#S256"], "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0");
}

#[test]
fn a_private_key_goes_to_one_place() {
    let folder = folder();
    let Ran { out, err, code } = run(&folder, &["key"]);
    assert!(code == 0 && out.starts_with("-----BEGIN PRIVATE KEY-----\n") && err.contains("\njkt "), "{err}");

    let out = done(&folder, &["key", "-o", "a.pem", "-c", "a.crt", "--subject", "batch", "--lifetime", "1day"]);
    assert!(!out.contains("PRIVATE KEY"), "{out}");
    let der = CertificateDer::from_pem_file(folder.path().join("a.crt")).unwrap();
    let x5t = base64url::encode(&Sha256::digest(&der));
    let known = done(&folder, &["key", "thumbprint", "a.pem", "a.crt"]);
    assert!(out.contains(&x5t) && known.contains(&x5t) && known.contains("CN=batch"), "{out}{known}");
    let jkts: Vec<_> = known.lines().filter_map(|line| line.strip_prefix("jkt")?.split_whitespace().next()).collect();
    assert!(jkts.len() == 2 && jkts[0] == jkts[1] && out.contains(jkts[0]), "{out}{known}");

    let before = fs::read(folder.path().join("a.pem")).unwrap();
    for arguments in [["key", "-o", "a.pem", "-c", "b.crt"], ["key", "-o", "b.pem", "-c", "a.crt"]] {
        let Ran { code, out, err } = run(&folder, &arguments);
        assert!(code == 1 && out.is_empty() && err.contains("exists; --force replaces it"), "{err}");
    }
    assert_eq!(fs::read(folder.path().join("a.pem")).unwrap(), before);
    assert!(!folder.path().join("b.pem").exists() && !folder.path().join("b.crt").exists());

    // Both files or none, also where the second cannot be written.
    for arguments in [&["key", "-f", "-o", "a.pem", "-c", "nowhere/x"][..], &["key", "-o", "b.pem", "-c", "nowhere/x"]]
    {
        let Ran { code, out, err } = run(&folder, arguments);
        assert!(code == 1 && out.is_empty() && err.contains("cannot write nowhere/x"), "{err}");
    }
    for arguments in [&["key", "-f", "-o", "a.pem", "-c", "./a.pem"][..], &["key", "-o", "b.pem", "-c", "b.pem"]] {
        let Ran { code, out, err } = run(&folder, arguments);
        assert!(code == 2 && out.is_empty() && err.contains("name the same file"), "{err}");
    }
    assert_eq!(fs::read(folder.path().join("a.pem")).unwrap(), before);
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a.crt", "a.pem"]);
    let replaced = done(&folder, &["key", "-f", "-o", "a.pem", "-c", "a.crt"]);
    let known = done(&folder, &["key", "thumbprint", "a.pem", "a.crt"]);
    let new: Vec<_> = known.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert!(new.len() == 3 && new.iter().all(|name| replaced.contains(name)) && !new.contains(&jkts[0]), "{known}");
}

#[test]
fn wrong_usage_is_told_apart_from_failure() {
    let folder = folder();
    make_key(&folder, "ES256");
    let (url, key): (&str, std::path::PathBuf) = ("https://rs.example/", folder.path().join("key.pem"));
    let key = key.to_str().unwrap();
    for (arguments, part) in [
        (&["serve-me"][..], "unrecognized subcommand"),
        (&["proof", "--url", url], "`keybound key --output FILE` makes one"),
        (&["proof", "--key", key], "--url <URL>"),
        (&["proof", "--key", key, "--url", "rs.example"], "must be absolute"),
        (&["proof", "--key", key, "--url", "https://a:hidden@rs.example/"], "must not hold a user name"),
        (&["proof", "--key", key, "--url", url, "--token", "a", "--token-file", "b"], "cannot be used with"),
        (&["request"], "<URL>"),
        (&["request", "/items"], "must be absolute"),
        (&["request", "https://rs.example/a b"], "a space is written %20"),
        (&["request", url, "--timeout", "soon"], "'--timeout <DURATION>': expected a duration such as 500ms"),
        (&["request", url, "-H", "hidden"], "--header number 1"),
        (&["request", url, "--cert-key", key], "--cert <FILE>"),
        (&["request", url, "--insecure", "--cacert", key], "cannot be used with"),
        (&["key", "-a", "HS256"], "possible values"),
        (&["key", "--lifetime", "1000years", "-c", "x"], "36500d"),
        (&["key", "--lifetime", "long", "-c", "x"], "expected a duration such as"),
        (&["key", "-o", "-"], "--output: expected a file"),
        (&["key", "-c", "-"], "--certificate: expected a file, found `-`"),
        (&["key", "thumbprint"], "<FILE>"),
    ] {
        let Ran { code, out, err } = run(&folder, arguments);
        assert!(code == 2 && out.is_empty() && err.contains(part) && !err.contains("hidden"), "{arguments:?}: {err}");
    }
    let Ran { code, err, .. } = run_with(None, &folder, &["request", url, "--bearer"]);
    assert!(code == 2 && err.contains("there is none"), "{err}");
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let folder = folder();
    fs::write(folder.path().join("empty"), "").unwrap();
    fs::write(folder.path().join("binary"), [0xff; 9]).unwrap();
    let url = "https://rs.example/";
    let missing = "No such file or directory (os error 2)";
    for (arguments, text) in [
        (&["proof", "--key", "none", "--url", url][..], format!("cannot read the key file none: {missing}")),
        (&["request", url, "--token-file", "none"], format!("cannot read the token file none: {missing}")),
        (&["request", url, "--token-file", "binary"], "cannot read the token file binary: it is not text".to_owned()),
        (&["request", url, "--token-file", "empty"], "empty: expected one access token, found nothing".to_owned()),
        (
            &["request", url, "--cert", "empty"],
            "cannot use the certificate file empty: expected a certificate".to_owned(),
        ),
        (&["request", url, "--cacert", "none"], format!("cannot use the authorities in none: {missing}")),
        (&["request", url, "-d", "@none"], format!("cannot read none: {missing}")),
        (&["key", "thumbprint", "empty"], "cannot tell what empty holds: expected a".to_owned()),
        (
            &["proof", "--key", "binary", "--url", url],
            "cannot use the key file binary: expected a private key".to_owned(),
        ),
    ] {
        let Ran { code, out, err } = run(&folder, arguments);
        assert!(code == 1 && out.is_empty() && err.starts_with(&format!("error: {text}")), "{arguments:?}: {err}");
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let folder = folder();
    let mut child = std::process::Command::new(BIN)
        .args(["key", "--json"])
        .current_dir(&folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert!(child.wait().unwrap().success() && err.is_empty(), "{err}");
}

/// A pipe whose reader has seen enough must not turn a no into a yes.
#[test]
fn the_exit_code_counts_without_a_reader_too() {
    let folder = folder();
    // RFC 7517, appendix A.1.
    let key = r#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;
    fs::write(folder.path().join("jwks.json"), format!(r#"{{"keys":[{key}]}}"#)).unwrap();
    let refuses = server::Server::start(&folder, None, &["HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"]);
    for arguments in [
        &["explain", "--jwks", "jwks.json", "--url", "https://rs.example/", "--token", "a.b.c"][..],
        &["request", &refuses.url, "--cacert", "ca.pem", "--token", "a"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = std::process::Command::new(BIN);
        let output =
            command.args(arguments).current_dir(&folder).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        // The answer, and not a mistake before it.
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && !err.contains("error:"), "{arguments:?}: {err}");
    }
}

#[test]
fn standard_input_is_read_once() {
    let Ran { code, err, .. } =
        run(&folder(), &["request", "https://rs.example/", "--token-file", "-", "--data", "@-"]);
    assert!(code == 2 && err.contains("--data @- and --token-file -: standard input is read once"), "{err}");
}

#[test]
fn help_explains() {
    let folder = folder();
    assert_eq!(done(&folder, &["--version"]), concat!("keybound ", env!("CARGO_PKG_VERSION"), "\n"));
    let help = done(&folder, &["--help"]);
    assert!(help.contains("proves possession of the key") && help.contains("Exit codes:"), "{help}");
    for verb in ["request", "proof", "key", "health", "doctor", "explain", "schema", "completions"] {
        let help = run_with(Some("hidden"), &folder, &[verb, "--help"]).out;
        assert!(help.contains("Example") && !help.contains("hidden"), "{help}");
    }
}
