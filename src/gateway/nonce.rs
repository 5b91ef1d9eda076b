//! Nonces for clients (RFC 9449 §9): one with each 401 that offers DPoP, and a new one when the old one is half over.

use http::{HeaderMap, HeaderValue, header};

use super::state::Gateway;
use crate::authorize::Grant;
use crate::respond::DPOP_NONCE;
use crate::verify::Nonces;

impl Gateway {
    /// One to use from now on, where proofs must hold one.
    pub(super) fn fresh_nonce(&self) -> Option<HeaderValue> {
        let nonce = self.proofs.nonces.as_ref()?.mint(self.clock.now())?;
        HeaderValue::try_from(nonce).ok()
    }

    /// The next one, for a client whose proof was good and whose nonce soon is not.
    pub(super) fn next_nonce(&self, grant: Option<&Grant>) -> Option<HeaderValue> {
        let (made, nonces) = (grant?.nonce()?, self.proofs.nonces.as_ref()?);
        let while_alone = self.replay.store().and_then(|store| store.nonce_lifetime);
        let lifetime = while_alone.unwrap_or(nonces.lifetime);
        Nonces::is_half_over(made, lifetime, self.clock.now()).then(|| self.fresh_nonce())?
    }
}

/// Hands a nonce out with an answer. It is for one client, and a cache would give it to all (RFC 9449 §8.2).
pub(super) fn hand_out(nonce: HeaderValue, headers: &mut HeaderMap) {
    headers.insert(DPOP_NONCE, nonce);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}
