//! A script in a real browser calls an API of another origin through the real binary, with a token from a real
//! authorization server and a key that the browser never gives out.
//!
//! Beside it, the admin port's page for people. What the pages looked like and what they said is left in `target/browser`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must fail")]
#![allow(clippy::pedantic, missing_docs, reason = "pedantry is for what ships")]

mod admin;
#[path = "../interop/stage.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod stage;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use stage::{AUDIENCE, Api, AuthorizationServer, Certificates, Gateway, Relay, Running, node, program, repository};

/// What the API knows.
const ORDERS: &str = r#"[{"id":1,"item":"coffee"}]"#;

/// Serves the page and its modules from an origin of its own.
fn site() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            thread::spawn(move || serve(&stream));
        }
    });
    origin
}

fn serve(mut stream: &TcpStream) {
    stream.set_read_timeout(Some(stage::PATIENCE)).unwrap();
    let mut head = String::new();
    let mut reader = BufReader::new(stream);
    while !head.ends_with("\r\n\r\n") {
        // Browsers open connections that they may need later.
        if reader.read_line(&mut head).unwrap_or_default() == 0 {
            return;
        }
    }
    let path = head.split([' ', '?']).nth(1).unwrap_or_default();
    let (file, kind) = match path {
        "/" => ("tests/browser/page.html", "text/html"),
        "/page.mjs" => ("tests/browser/page.mjs", "text/javascript"),
        "/dpop.mjs" => ("tests/interop/node_modules/dpop/build/index.js", "text/javascript"),
        _ => ("", ""),
    };
    let body = if file.is_empty() { Vec::new() } else { fs::read(repository(file)).unwrap() };
    let status = if file.is_empty() { "404 Not Found" } else { "200 OK" };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(&[head.into_bytes(), body].concat());
}

/// How Chromium knows a certificate that no authority vouches for: the hash of its key.
fn key_hash(certificates: &Certificates) -> String {
    let certificate = CertificateDer::from_pem_file(certificates.file("server.pem")).unwrap();
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).unwrap();
    STANDARD.encode(Sha256::digest(parsed.public_key().raw))
}

#[test]
fn a_script_of_another_origin_proves_possession() {
    let certificates = Certificates::make();
    let authorization_server = AuthorizationServer::start(&certificates);
    let api = Api::answering(ORDERS);
    let (app, stranger) = (site(), site());
    let relay = Relay::bind();
    let origin = relay.origin();
    let configuration = format!(
        "
routes:
  - name: orders
    upstream: http://{}
    access: {{ bindings: [dpop], scopes: [read] }}
    cors: {{ allow_origins: ['{app}'] }}
dpop: {{ nonce: {{ mode: required }} }}
replicas: 1
",
        api.address
    );
    let gateway = Gateway::of(&certificates, &authorization_server.issuer, AUDIENCE, Some(&origin), &configuration);
    relay.lead_to(vec![gateway.address]);

    let artefacts = repository("target/browser");
    fs::create_dir_all(&artefacts).unwrap();
    let mut driver = node("../browser/drive.mjs");
    driver
        .envs(certificates.environment())
        .env("CHROMIUM", program("KEYBOUND_CHROMIUM", "/usr/bin/chromium"))
        .env("KEY_HASH", key_hash(&certificates))
        .env("ARTEFACTS", &artefacts)
        .env("APP", &app)
        .env("STRANGER", &stranger)
        .env("ISSUER", &authorization_server.issuer)
        .env("API", &origin)
        .env("AUDIENCE", AUDIENCE);
    let mut driver = Running::start(driver, &certificates.file("driver.log"));
    let lines = driver.rest();
    let seen = || {
        let log = gateway.running.so_far().join("\n");
        format!("\nthe browser: {lines:#?}\n{}\nthe gateway: {log}", driver.complaints())
    };
    let calls: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
    let orders: Value = serde_json::from_str(ORDERS).unwrap();
    let dpop = |error: &str| json!({"status": 401, "challenges": [["DPoP", error]], "body": error});
    let expected = [
        ("the key", json!({"extractable": false})),
        ("metadata", json!({"status": 200, "resource": origin, "dpop": true})),
        ("without a nonce", dpop("use_dpop_nonce")),
        ("the nonce", json!({"readable": true})),
        ("read", json!({"status": 200, "body": orders})),
        ("write", json!({"status": 200, "body": orders})),
        ("a proof used twice", dpop("invalid_dpop_proof")),
        (
            "a stolen token as Bearer",
            json!({
                "status": 401, "challenges": [["Bearer", "invalid_token"], ["DPoP", "invalid_token"]],
                "body": "invalid_token",
            }),
        ),
        ("without a token", json!({"status": 401, "challenges": [["DPoP", null]], "body": null})),
        // To the stranger's script, whatever the gateway says is a network error; metadata are for everyone.
        ("a stranger's metadata", json!({"status": 200, "resource": origin, "dpop": true})),
        ("a stranger without a token", json!({"unreadable": "TypeError"})),
        ("a stranger with a token", json!({"unreadable": "TypeError"})),
    ];
    let expected: Vec<Value> = expected.into_iter().map(|(name, outcome)| json!([name, outcome])).collect();
    assert_eq!(calls, expected, "{}", seen());
    // Two calls, and the first use of the proof that came twice.
    let requests = api.requests();
    assert_eq!(requests.len(), 3, "{}", seen());
    for request in &requests {
        assert!(request.contains("\r\nauthorization: bearer ") && !request.contains("\r\ndpop:"), "{request}");
        assert!(!request.starts_with("options"), "preflights stay at the gateway: {request}");
    }
    // One for each method that the app uses, and the stranger's: a browser remembers the answers.
    let preflights = |lines: &[String]| {
        let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["method"] == "OPTIONS" && line["route"] == "orders" && line["status"] == 204).count()
    };
    let log = gateway.running.until(|lines| preflights(lines) >= 4);
    assert!(log.iter().filter(|line| line.contains("\"OPTIONS\"")).all(|line| line.contains("\"public\"")), "{log:#?}");
    for artefact in ["app.png", "console.log"] {
        assert!(fs::metadata(artefacts.join(artefact)).is_ok_and(|file| file.len() > 0), "{artefact}");
    }
}
