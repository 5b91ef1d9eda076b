//! One look at an endpoint, as a request would reach it; for whoever checks a deployment.

use std::io;

use rustls::pki_types::CertificateDer;
use tokio_util::either::Either;

use super::check;
use super::dial::Transport;
use super::upstream::Upstream;
use crate::forward::endpoints::Endpoint;

/// What a server showed in the handshake, its own certificate first. Empty where TLS is not spoken.
pub type Chain = Vec<CertificateDer<'static>>;

/// How an endpoint answers.
#[derive(Debug)]
pub struct Probe {
    /// Whether a connection can be had: name, TCP, and TLS with all that is configured for it.
    pub reached: io::Result<Chain>,
    /// What it says of its health, in words if it is not good; `None`: nobody asks.
    pub health: Option<Result<(), String>>,
}

impl Upstream {
    /// Connects to the endpoint of this index, and asks for its health if that is configured. `None`: there is no such
    /// endpoint.
    pub async fn probe(&self, index: usize) -> Option<Probe> {
        let (Endpoint { pool, .. }, authority) =
            self.endpoints.all().get(index).zip(self.settings.endpoints.get(index))?;
        let reached = pool.dialer().dial().await.map(|(transport, _)| chain(&transport));
        let health = match &self.settings.health_check {
            Some(settings) if reached.is_ok() => {
                Some(check::once(pool.dialer(), pool.is_http2(), authority, settings).await)
            }
            Some(_) | None => None,
        };
        Some(Probe { reached, health })
    }
}

/// What the other end of a connection showed in the handshake.
pub fn chain(transport: &Transport) -> Chain {
    let Either::Right(tls) = transport else { return Chain::new() };
    let (_, session) = tls.get_ref();
    session.peer_certificates().unwrap_or_default().iter().map(|certificate| certificate.clone().into_owned()).collect()
}
