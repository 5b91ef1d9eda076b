//! `keybound request` against servers that want proofs, nonces and certificates.

use std::fs;
use std::net::TcpListener;

use keybound::verify::base64url;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

use super::server::Server;
use super::{Ran, TOKEN, claims, done, folder, make_key, run, run_with, verify};

const GOOD: &str = "HTTP/1.1 200 OK\r\nX-Api: yes\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n";
const NONCE: &str = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: DPoP error=\"use_dpop_nonce\", algs=\"ES256\"\r\n\
    DPoP-Nonce: n-0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const EXPIRED: &str = "HTTP/1.1 401 Unauthorized\r\nDPoP-Nonce: n-0\r\nWWW-Authenticate: DPoP error=\"invalid_token\", \
    error_description=\"The access token has expired.\"\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";

#[test]
fn a_request_carries_its_token_and_a_proof() {
    let folder = folder();
    let key = make_key(&folder, "ES256");
    let server = Server::start(&folder, None, &[GOOD]);
    let url = format!("{}/items?page=2", server.url);
    let request = ["request", &url, "--key", "key.pem", "--cacert", "ca.pem"];
    let out =
        done(&folder, &[&request[..], &["-i", "-o", "-", "-X", "PATCH", "-d", "a=1", "-H", "X-Mine: yes"]].concat());
    assert_eq!(out, "HTTP/1.1 200 OK\nx-api: yes\ncontent-length: 6\nconnection: close\n\nhello\n");
    let seen = server.only();
    assert_eq!((seen.line.as_str(), seen.body.as_str()), ("PATCH /items?page=2 HTTP/1.1", "a=1"));
    assert_eq!(seen.field("authorization"), Some(format!("DPoP {TOKEN}").as_str()));
    assert_eq!(seen.field("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(seen.field("x-mine"), Some("yes"));
    assert_eq!(verify(seen.field("dpop").unwrap(), "PATCH", &format!("{}/items", server.url), key), Ok(()));

    fs::write(folder.path().join("body.json"), "{}").unwrap();
    let more = ["--bearer", "-o", "out", "-d", "@body.json", "-H", "Content-Type: application/json"];
    assert_eq!(done(&folder, &[&request[..], &more].concat()), "");
    let seen = server.only();
    assert_eq!((seen.line.as_str(), seen.body.as_str()), ("POST /items?page=2 HTTP/1.1", "{}"));
    assert_eq!(seen.field("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert!(seen.field("dpop").is_some() && seen.field("content-type") == Some("application/json"));
    assert_eq!(fs::read_to_string(folder.path().join("out")).unwrap(), "hello\n");
}

#[test]
fn a_nonce_challenge_is_answered_once_with_a_new_proof() {
    let folder = folder();
    let key = make_key(&folder, "EdDSA");
    let authorization_server = "HTTP/1.1 400 Bad Request\r\nDPoP-Nonce: n-0\r\nContent-Length: 26\r\n\
        Connection: close\r\n\r\n{\"error\":\"use_dpop_nonce\"}";
    for challenge in [NONCE, authorization_server] {
        let server = Server::start(&folder, None, &[challenge, GOOD]);
        let out = done(&folder, &["request", &server.url, "--key", "key.pem", "--cacert", "ca.pem", "-d", "a=1"]);
        assert_eq!(out, "hello\n");
        let seen = server.all();
        let proofs: Vec<_> = seen.iter().map(|seen| seen.field("dpop").unwrap()).collect();
        assert_eq!(proofs.len(), 2);
        assert_ne!(claims(proofs[0])["jti"], claims(proofs[1])["jti"]);
        assert!(claims(proofs[0]).get("nonce").is_none() && claims(proofs[1])["nonce"] == "n-0");
        assert_eq!(verify(proofs[1], "POST", &format!("{}/", server.url), key), Ok(()));
        assert!(seen.iter().all(|seen| seen.body == "a=1"));
    }
    let relentless = Server::start(&folder, None, &[NONCE]);
    let Ran { code, err, .. } = run(&folder, &["request", &relentless.url, "--key", "key.pem", "--cacert", "ca.pem"]);
    assert_eq!((code, relentless.all().len()), (1, 2), "{err}");
    assert_eq!(err, "refused: 401 Unauthorized, DPoP use_dpop_nonce (algs: ES256)\n");
}

#[test]
fn another_refusal_is_told_and_not_retried() {
    let folder = folder();
    make_key(&folder, "ES256");
    let server = Server::start(&folder, None, &[EXPIRED]);
    let Ran { code, out, err } = run(&folder, &["request", &server.url, "--key", "key.pem", "--cacert", "ca.pem"]);
    assert_eq!((code, out.as_str()), (1, "{}"));
    assert_eq!(err, "refused: 401 Unauthorized, DPoP invalid_token: The access token has expired.\n");
    server.only();
}

#[test]
fn a_client_certificate_is_shown() {
    let folder = folder();
    let certificate = folder.path().join("client.crt");
    for algorithm in ["ES256", "ES384", "PS256", "EdDSA"] {
        done(&folder, &["key", "-a", algorithm, "-o", "client.pem", "-c", "client.crt", "--force"]);
        let server = Server::start(&folder, Some(&certificate), &[GOOD]);
        let request = ["request", &server.url, "--cacert", "ca.pem", "-v"];
        let Ran { code, out, err } =
            run(&folder, &[&request[..], &["--cert", "client.crt", "--cert-key", "client.pem"]].concat());
        assert_eq!((code, out.as_str()), (0, "hello\n"), "{algorithm}: {err}");
        let der = CertificateDer::from_pem_file(&certificate).unwrap();
        let x5t = base64url::encode(&Sha256::digest(&der));
        assert!(err.contains(&format!("* the client's certificate has x5t#S256 {x5t}\n")), "{err}");
        let seen = server.only();
        assert_eq!(seen.certificate.as_deref(), Some(der.as_ref()));
        assert_eq!(seen.field("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
        assert!(seen.field("dpop").is_none());

        let Ran { code, .. } = run(&folder, &request);
        assert_eq!((code, server.all().len()), (1, 0));
    }
    let url = "https://127.0.0.1:1/";
    done(&folder, &["key", "-o", "other.pem"]);
    let Ran { code, err, .. } =
        run(&folder, &["request", url, "-k", "--cert", "client.crt", "--cert-key", "other.pem"]);
    assert!(code == 1 && err.contains("do not go together"), "{err}");
}

#[test]
fn a_stranger_gets_no_token() {
    let folder = folder();
    let server = Server::start(&folder, None, &[GOOD]);
    fs::rename(folder.path().join("ca.pem"), folder.path().join("this.pem")).unwrap();
    Server::start(&folder, None, &[GOOD]);
    let Ran { code, err, .. } = run(&folder, &["request", &server.url, "--cacert", "ca.pem"]);
    assert!(code == 1 && err.contains("--cacert FILE names whom to trust"), "{err}");
    assert_eq!(server.all().len(), 0);
    done(&folder, &["request", &server.url, "--cacert", "this.pem"]);
    done(&folder, &["request", &server.url, "--insecure"]);
    assert_eq!(server.all().len(), 2);
}

#[test]
fn what_is_told_holds_no_secret() {
    let folder = folder();
    make_key(&folder, "ES256");
    let echo = format!("HTTP/1.1 200 OK\r\nX-Echo: {TOKEN}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let server = Server::start(&folder, None, &[NONCE, &echo]);
    let url = format!("{}/?token={TOKEN}", server.url);
    let request = ["request", &url, "--key", "key.pem", "--cacert", "ca.pem", "-v", "-H", "Cookie: a=hidden"];
    let Ran { code, out, err } = run(&folder, &request);
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(err.contains("> authorization: DPoP <redacted>\n> dpop: <redacted>\n"), "{err}");
    assert!(err.contains("< HTTP/1.1 401 Unauthorized\n") && err.contains("* the proof's key has jkt "), "{err}");
    let key = fs::read_to_string(folder.path().join("key.pem")).unwrap();
    let seen = server.all();
    let secrets = [TOKEN, "hidden", key.lines().nth(1).unwrap(), seen[1].field("dpop").unwrap()];
    assert!(secrets.iter().all(|secret| !err.contains(secret)), "{err}");

    for bad in ["two words", "se\u{301}same"] {
        let Ran { code, err, .. } = run_with(Some(bad), &folder, &["request", &server.url]);
        assert!(code == 1 && err.starts_with("error: KEYBOUND_TOKEN: expected one") && !err.contains(bad), "{err}");
    }
}

#[test]
fn silence_and_absence_are_told() {
    let folder = folder();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let url = format!("http://{address}/");
    let Ran { code, err, .. } = run(&folder, &["request", &url, "--timeout", "200ms"]);
    assert_eq!((code, err), (1, format!("error: no answer from {url} within 200ms\n")));
    drop(silent);
    let Ran { code, err, .. } = run(&folder, &["request", &url]);
    assert!(code == 1 && err.starts_with(&format!("error: no answer from {url}: ")), "{err}");
    assert!(err.contains("Connection refused"), "{err}");
}
