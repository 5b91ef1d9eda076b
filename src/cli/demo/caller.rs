//! A client of the demo: one TLS identity, one request at a time.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use keybound::keys::fetch;
use keybound::prover::ProofKey;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Nothing on loopback takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Calls the gateway, with a client certificate or without.
pub struct Caller(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

impl Caller {
    /// A client that trusts `roots` and shows `identity`.
    pub fn new(roots: &RootCertStore, identity: Option<(&CertificateDer<'static>, &ProofKey)>) -> anyhow::Result<Self> {
        let mut tls = fetch::tls_config(roots.clone())?;
        if let Some((certificate, key)) = identity {
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.pkcs8().to_vec()));
            tls = rustls::ClientConfig::builder_with_provider(Arc::clone(tls.crypto_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots.clone())
                .with_client_auth_cert(vec![certificate.clone()], key)
                .context("the certificate and its key do not go together")?;
        }
        Ok(Self(Client::builder(TokioExecutor::new()).build(fetch::connector(tls, PATIENCE))))
    }

    /// Sends and reads the answer to its end.
    pub async fn send(&self, request: Request<Empty<Bytes>>) -> anyhow::Result<(StatusCode, Bytes)> {
        let exchange = async {
            let (parts, body) = self.0.request(request).await.context("the gateway gave no answer")?.into_parts();
            let body = body.collect().await.context("the answer broke off")?.to_bytes();
            anyhow::Ok((parts.status, body))
        };
        tokio::time::timeout(PATIENCE, exchange).await.context("the gateway gave no answer in time")?
    }
}
