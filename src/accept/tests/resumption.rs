//! POS-40: a session that resumes carries the client's certificate, and no more trust than it still deserves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, HandshakeKind};

use super::pki::{self, Identity, TLS12, TLS13, client, connect, trust};
use super::{Running, ask, get, start};
use crate::accept::tls::{ClientTrust, NextTls, Tls};
use crate::accept::{ClientCertificates, Limits};

/// Connects, asks, and tells how the handshake went and what the server saw.
async fn visit(running: &Running, client: &Arc<ClientConfig>) -> (Option<HandshakeKind>, String) {
    let mut stream = connect(running.address, client, "rs.example").await.unwrap();
    // Reading the answer also takes in the session tickets that came before it.
    let (_, seen) = ask(&mut stream, &get("/")).await;
    (stream.get_ref().1.handshake_kind(), seen)
}

#[tokio::test]
async fn a_resumed_session_carries_the_certificate() {
    for versions in [TLS12, TLS13] {
        let (settings, authority) = pki::settings(ClientCertificates::Request(ClientTrust::Any));
        let running = start(Some(settings), Limits::default());
        let identity = Identity::self_signed();
        let client = Arc::new(client(&authority, versions, Some(&identity)));
        let (first, seen) = visit(&running, &client).await;
        assert_eq!(first, Some(HandshakeKind::Full));
        assert!(seen.ends_with(&identity.thumbprint()), "{seen}");
        let (second, seen) = visit(&running, &client).await;
        assert_eq!(second, Some(HandshakeKind::Resumed));
        assert!(seen.ends_with(&identity.thumbprint()), "{seen}");
    }
}

#[tokio::test]
async fn a_session_without_a_certificate_resumes_without() {
    let (settings, authority) = pki::settings(ClientCertificates::Request(ClientTrust::Any));
    let running = start(Some(settings), Limits::default());
    let client = Arc::new(client(&authority, TLS13, None));
    visit(&running, &client).await;
    let (kind, seen) = visit(&running, &client).await;
    assert_eq!(kind, Some(HandshakeKind::Resumed));
    assert!(seen.ends_with(" -"), "{seen}");
}

/// NEG-227.
#[tokio::test]
async fn early_data_is_not_offered() {
    let (settings, authority) = pki::settings(ClientCertificates::Off);
    let running = start(Some(settings), Limits::default());
    let mut client = client(&authority, TLS13, None);
    client.enable_early_data = true;
    let client = Arc::new(client);
    visit(&running, &client).await;
    let mut connection = rustls::ClientConnection::new(Arc::clone(&client), "rs.example".try_into().unwrap()).unwrap();
    assert!(connection.early_data().is_none());
    let (kind, _) = visit(&running, &client).await;
    assert_eq!(kind, Some(HandshakeKind::Resumed));
}

#[tokio::test]
async fn replacing_the_settings_forgets_sessions() {
    let (settings, authority) = pki::settings(ClientCertificates::Request(ClientTrust::Any));
    let again = crate::accept::TlsSettings {
        certificates: settings.certificates.clone(),
        only_tls13: false,
        client_certificates: ClientCertificates::Request(ClientTrust::Any),
        keep_certificates: false,
    };
    let running = start(Some(settings), Limits::default());
    let client = Arc::new(client(&authority, TLS13, Some(&Identity::self_signed())));
    visit(&running, &client).await;
    running.tls.as_ref().unwrap().replace(NextTls::new(&again).unwrap());
    let (kind, _) = visit(&running, &client).await;
    assert_eq!(kind, Some(HandshakeKind::Full));
}

/// Stands still until it is moved, seconds since the epoch.
#[derive(Debug)]
struct HandClock(AtomicU64);

impl TimeProvider for HandClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::SeqCst))))
    }
}

const YEAR: u64 = 365 * 24 * 60 * 60;

#[tokio::test]
async fn a_certificate_that_expired_since_does_not_resume() {
    for versions in [TLS12, TLS13] {
        let issuer = pki::authority("client authority");
        let (settings, authority) = pki::settings(ClientCertificates::Request(trust(&issuer, None)));
        let clock = Arc::new(HandClock(AtomicU64::new(60 * YEAR)));
        let mut tls = Tls::new(&settings).unwrap();
        Arc::get_mut(&mut tls.config).unwrap().time_provider = Arc::clone(&clock) as _;
        let running = start(Some(settings), Limits::default());
        running.tls.as_ref().unwrap().set(tls);

        let expires = |params: &mut rcgen::CertificateParams| params.not_after = rcgen::date_time_ymd(2100, 1, 1);
        let identity = Identity::issued(&issuer, 1, expires);
        let client = Arc::new(client(&authority, versions, Some(&identity)));
        visit(&running, &client).await;
        let (kind, seen) = visit(&running, &client).await;
        assert_eq!(kind, Some(HandshakeKind::Resumed));
        assert!(seen.ends_with(&identity.thumbprint()), "{seen}");

        clock.0.store(140 * YEAR, Ordering::SeqCst);
        // The library resumes; the gateway hangs up before it hears a request.
        if let Ok(mut stream) = connect(running.address, &client, "rs.example").await {
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
            assert!(super::rest(&mut stream).await.is_empty());
        }
        running.diary.expect("failed: invalid peer certificate: certificate expired").await;
    }
}
