//! Nonces for clients (RFC 9449 §9): one with each 401 that offers DPoP, and a new one when the old one is half over.

use http::{HeaderMap, HeaderValue, header};

use super::state::Gateway;
use crate::refusal::Answer;
use crate::respond::DPOP_NONCE;
use crate::telemetry::Record;
use crate::time::UnixTime;
use crate::verify::Nonces;

impl Gateway {
    /// One to use from now on, where proofs must hold one.
    pub(super) fn fresh_nonce(&self) -> Option<HeaderValue> {
        let nonce = self.proofs.nonces.as_ref()?.mint(self.clock.now())?;
        HeaderValue::try_from(nonce).ok()
    }

    /// What goes with an answer that is no refusal. `made`: when the nonce of a good proof was. A client that only passed
    /// because the route observes, and that lacked nothing but a nonce, gets one: enforcing would cost it one retry.
    pub(super) fn nonce_for(&self, made: Option<UnixTime>, record: &Record) -> Option<HeaderValue> {
        let lacked = record.refusal.as_ref().is_some_and(|refusal| refusal.reason().answer() == Answer::UseNonce);
        if lacked { self.fresh_nonce() } else { self.next_nonce(made?) }
    }

    /// The next one, for a client whose proof was good and whose nonce was made then, if that soon is not any more.
    fn next_nonce(&self, made: UnixTime) -> Option<HeaderValue> {
        let nonces = self.proofs.nonces.as_ref()?;
        let lifetime = self.lasting.replay.nonce_lifetime().unwrap_or(nonces.lifetime);
        Nonces::is_half_over(made, lifetime, self.clock.now()).then(|| self.fresh_nonce())?
    }
}

/// Hands a nonce out with an answer. It is for one client, and a cache would give it to all (RFC 9449 §8.2).
pub(super) fn hand_out(nonce: HeaderValue, headers: &mut HeaderMap) {
    headers.insert(DPOP_NONCE, nonce);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Caches that have a field of their own do not look at the common one (RFC 9213 §2.2).
    for name in ["cdn-cache-control", "surrogate-control", "cloudflare-cdn-cache-control"] {
        headers.remove(name);
    }
}
