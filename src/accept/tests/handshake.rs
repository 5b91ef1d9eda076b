//! Which certificate is shown, and which clients pass.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::pki::{self, Identity, TLS12, TLS13, authority, client, connect, server_pem, trust};
use super::{Running, ask, get, start};
use crate::accept::tls::{ClientTrust, NextTls, ServerCertificate};
use crate::accept::{ClientCertificates, Limits, TlsSettings};

/// What the server says of a client, or that the handshake failed. In TLS 1.3 the client believes that all is well
/// until it reads.
async fn outcome(running: &Running, client: ClientConfig) -> Result<String, std::io::Error> {
    let mut stream = connect(running.address, &Arc::new(client), "rs.example").await?;
    stream.write_all(&get("/")).await?;
    let mut bytes = vec![0; 4096];
    let read = super::within(stream.read(&mut bytes)).await?;
    let text = String::from_utf8_lossy(&bytes[..read]).into_owned();
    text.split("\r\n\r\n").nth(1).map(str::to_owned).ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}

#[tokio::test]
async fn the_certificate_is_chosen_by_name() {
    let authority = authority("server authority");
    let names: [&[&str]; 3] =
        [&["first.example"], &["*.wild.example", "both.example"], &["exact.wild.example", "both.example"]];
    let pems = names.map(|names| server_pem(&authority, names));
    let shown = pems.clone().map(|(pem, _)| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap());
    let load = |(pem, key): (String, String)| ServerCertificate::from_pem(pem.as_bytes(), key.as_bytes()).unwrap();
    let certificates = pems.into_iter().map(load).map(Arc::new).collect();
    let tls = TlsSettings {
        certificates,
        only_tls13: false,
        client_certificates: ClientCertificates::Off,
        keep_certificates: false,
    };
    let running = start(Some(tls), Limits::default());
    for (name, expected) in [
        ("first.example", 0),
        ("a.wild.example", 1),
        ("both.example", 1),
        ("EXACT.wild.example", 2),
        ("unknown.example", 0),
        ("a.b.wild.example", 0),
        ("wild.example", 0),
    ] {
        let seen = Arc::new(pki::Unverified::default());
        let mut config = client(&authority, TLS13, None);
        config.dangerous().set_certificate_verifier(Arc::clone(&seen) as _);
        let _stream = connect(running.address, &Arc::new(config), name).await.unwrap();
        assert_eq!(seen.leaf(), shown[expected], "{name}");
    }
}

#[tokio::test]
async fn a_self_signed_certificate_is_seen_in_binding_only_mode() {
    for versions in [TLS12, TLS13] {
        let (settings, authority) = pki::settings(ClientCertificates::Request(ClientTrust::Any));
        let running = start(Some(settings), Limits::default());
        let identity = Identity::self_signed();
        let seen = outcome(&running, client(&authority, versions, Some(&identity))).await.unwrap();
        assert_eq!(seen, format!("HTTP/1.1 https rs.example {}", identity.thumbprint()));
        let seen = outcome(&running, client(&authority, versions, None)).await.unwrap();
        assert_eq!(seen, "HTTP/1.1 https rs.example -");
    }
}

#[tokio::test]
async fn an_expired_certificate_is_seen_in_binding_only_mode() {
    let (settings, authority) = pki::settings(ClientCertificates::Require(ClientTrust::Any));
    let running = start(Some(settings), Limits::default());
    let expired = |params: &mut rcgen::CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let identity = Identity::issued(&pki::authority("nobody knows"), 1, expired);
    let seen = outcome(&running, client(&authority, TLS13, Some(&identity))).await.unwrap();
    assert!(seen.ends_with(&identity.thumbprint()), "{seen}");
}

/// NEG-218: the certificate of another, without its key.
#[tokio::test]
async fn a_certificate_without_its_key_fails_the_handshake() {
    let stolen = Identity::self_signed();
    let thief = Identity { certificate: stolen.certificate.clone(), key: rcgen::KeyPair::generate().unwrap() };
    let issuer = pki::authority("client authority");
    let forged = Identity { certificate: Identity::issued(&issuer, 1, |_| {}).certificate, ..Identity::self_signed() };
    for versions in [TLS12, TLS13] {
        for (trust, attacker) in [(ClientTrust::Any, &thief), (trust(&issuer, None), &forged)] {
            let (settings, authority) = pki::settings(ClientCertificates::Request(trust));
            let running = start(Some(settings), Limits::default());
            outcome(&running, client(&authority, versions, Some(attacker))).await.unwrap_err();
            running.diary.expect("failed: invalid peer certificate: BadSignature").await;
            outcome(&running, client(&authority, versions, None)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn who_must_show_a_certificate_fails_without() {
    let (settings, authority) = pki::settings(ClientCertificates::Require(ClientTrust::Any));
    let running = start(Some(settings), Limits::default());
    for versions in [TLS12, TLS13] {
        outcome(&running, client(&authority, versions, None)).await.unwrap_err();
    }
    running.diary.expect("failed: peer sent no certificates").await;
    let identity = Identity::self_signed();
    outcome(&running, client(&authority, TLS13, Some(&identity))).await.unwrap();
}

#[tokio::test]
async fn whoever_is_not_asked_shows_nothing() {
    let (settings, authority) = pki::settings(ClientCertificates::Off);
    let running = start(Some(settings), Limits::default());
    let identity = Identity::self_signed();
    let seen = outcome(&running, client(&authority, TLS13, Some(&identity))).await.unwrap();
    assert_eq!(seen, "HTTP/1.1 https rs.example -");
}

/// NEG-220 and NEG-228's neighbour: authorities check chain, dates, key usage, extended key usage and revocation.
#[tokio::test]
async fn authorities_accept_only_what_they_vouch_for() {
    let issuer = pki::authority("client authority");
    let (settings, authority) = pki::settings(ClientCertificates::Require(trust(&issuer, Some(&[7]))));
    let running = start(Some(settings), Limits::default());
    let good = Identity::issued(&issuer, 1, |_| {});
    let bad = [
        ("UnknownIssuer", Identity::issued(&pki::authority("other authority"), 1, |_| {})),
        ("UnknownIssuer", Identity::self_signed()),
        ("Revoked", Identity::issued(&issuer, 7, |_| {})),
        ("expired", Identity::issued(&issuer, 1, |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1))),
        ("not valid yet", Identity::issued(&issuer, 1, |params| params.not_before = rcgen::date_time_ymd(2999, 1, 1))),
        (
            "extended key usage",
            Identity::issued(&issuer, 1, |params| {
                params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
            }),
        ),
        (
            "InvalidPurpose",
            Identity::issued(&issuer, 1, |params| {
                params.key_usages = vec![rcgen::KeyUsagePurpose::KeyEncipherment];
            }),
        ),
    ];
    for versions in [TLS12, TLS13] {
        for (problem, identity) in &bad {
            outcome(&running, client(&authority, versions, Some(identity))).await.unwrap_err();
            running.diary.expect(problem).await;
        }
        outcome(&running, client(&authority, versions, None)).await.unwrap_err();
        let seen = outcome(&running, client(&authority, versions, Some(&good))).await.unwrap();
        assert!(seen.ends_with(&good.thumbprint()), "{seen}");
    }
}

#[tokio::test]
async fn a_revocation_list_that_is_out_of_date_or_of_another_authority_fails_closed() {
    let issuer = pki::authority("client authority");
    let other = pki::authority("other authority");
    for (list, problem) in [
        (pki::revocation_list(&issuer, &[], 2021), "expired"),
        (pki::revocation_list(&other, &[], 2100), "UnknownRevocationStatus"),
    ] {
        let ClientTrust::Authorities { roots, .. } = trust(&issuer, None) else { unreachable!() };
        let trust = ClientTrust::Authorities { roots, crls: vec![list] };
        let (settings, authority) = pki::settings(ClientCertificates::Request(trust));
        let running = start(Some(settings), Limits::default());
        let identity = Identity::issued(&issuer, 1, |_| {});
        outcome(&running, client(&authority, TLS13, Some(&identity))).await.unwrap_err();
        running.diary.expect(problem).await;
    }
}

#[tokio::test]
async fn tls_1_2_can_be_refused() {
    let (mut settings, authority) = pki::settings(ClientCertificates::Off);
    settings.only_tls13 = true;
    let running = start(Some(settings), Limits::default());
    outcome(&running, client(&authority, TLS12, None)).await.unwrap_err();
    outcome(&running, client(&authority, TLS13, None)).await.unwrap();
}

#[tokio::test]
async fn a_replaced_certificate_is_shown_from_the_next_handshake_on() {
    let (settings, authority) = pki::settings(ClientCertificates::Off);
    let running = start(Some(settings), Limits::default());
    let config = Arc::new(client(&authority, TLS13, None));
    let mut old = connect(running.address, &config, "rs.example").await.unwrap();

    let (renewed, other) = pki::settings(ClientCertificates::Off);
    running.tls.as_ref().unwrap().replace(NextTls::new(&renewed).unwrap());
    outcome(&running, client(&other, TLS13, None)).await.unwrap();
    outcome(&running, client(&authority, TLS13, None)).await.unwrap_err();
    assert_eq!(ask(&mut old, &get("/")).await.0, 200);
}
