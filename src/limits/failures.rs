//! Whoever sends proofs and tokens that fail is slowed down, and nobody else: a brake on the work that refusals cost.
//!
//! A failure counts against the address that it came from; of IPv6 against the /64, which one host has for itself. A proof
//! that the token's own key signed, and that is refused all the same (spent before, without a good nonce), counts
//! against the key *at that address*: whoever repeats a captured proof must not lock its owner out, nor its neighbours.
//! What cost no signature check counts against nobody.

use std::fmt;
use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::Arc;

use super::rate::{Moment, Rate};
use super::table::{Name, Table};
use crate::refusal::{Answer, Reason, Refusal};
use crate::time::UnixTime;
use crate::verify::Thumbprint;

/// Counts failures, if there is a limit to them.
pub struct Failures(Option<(Rate, Arc<Table>)>);

/// What a failure counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Against {
    Nobody,
    Address,
    KeyAtAddress,
}

impl Against {
    const fn of(reason: Reason) -> Self {
        match reason.answer() {
            Answer::InvalidToken | Answer::Downgrade | Answer::InvalidProof | Answer::UseNonce => {}
            Answer::Malformed
            | Answer::Forbidden
            | Answer::NoRoute
            | Answer::MethodNotServed
            | Answer::RequestTimeout
            | Answer::BodyTooLarge
            | Answer::Misdirected
            | Answer::HeaderTooLarge
            | Answer::NoCredentials
            | Answer::InvalidRequest
            | Answer::SeveralCredentials
            | Answer::InsufficientScope
            | Answer::InsufficientAuthentication
            | Answer::TooManyProofs
            | Answer::TooManyRequests
            | Answer::Unavailable
            | Answer::BadGateway
            | Answer::GatewayTimeout => return Self::Nobody,
        }
        if Self::is_seen_before_signatures(reason) {
            return Self::Nobody;
        }
        let by_the_right_key = matches!(
            reason,
            Reason::ProofNonceMissing | Reason::ProofNonce | Reason::ProofReplayed | Reason::ProofBeforeStart
        );
        if by_the_right_key { Self::KeyAtAddress } else { Self::Address }
    }

    /// Refused before any signature was checked.
    const fn is_seen_before_signatures(reason: Reason) -> bool {
        matches!(
            reason,
            Reason::CredentialsMalformed
                | Reason::TokenTooLarge
                | Reason::TokenMalformed
                | Reason::TokenType
                | Reason::TokenAlgorithm
                | Reason::TokenCritical
                | Reason::TokenIssuer
        )
    }
}

impl Failures {
    /// A limit for each sender; `None`: no limit.
    pub fn new(rate: Option<Rate>) -> Self {
        Self(rate.map(|rate| (rate, Arc::new(Table::new(rate.span())))))
    }

    /// How often one sender may fail.
    pub fn rate(&self) -> Option<Rate> {
        self.0.as_ref().map(|(rate, _)| *rate)
    }

    /// Another limit, or the same, with the same memory of who failed.
    #[must_use]
    pub fn succeed(&self, rate: Option<Rate>) -> Self {
        let (Some(rate), Some((_, table))) = (rate, &self.0) else { return Self::new(rate) };
        table.stretch(rate.span());
        Self(Some((rate, Arc::clone(table))))
    }

    /// Whether a sender may try: somebody at this address, or with `key`, whoever holds this key there.
    ///
    /// # Errors
    /// [`Reason::LimitFailures`].
    pub fn check(&self, address: IpAddr, key: Option<Thumbprint>, now: UnixTime) -> Result<(), Refusal> {
        let Some((rate, table)) = &self.0 else { return Ok(()) };
        let Some(entry) = table.look(name(table, address, key)) else { return Ok(()) };
        rate.take(entry.full, Moment::from(now))
            .map(drop)
            .map_err(|wait| Refusal::new(Reason::LimitFailures).expected("fewer requests that fail").retry_after(wait))
    }

    /// Counts a refusal. `key` is the proof key that the token names, if there was a token that holds.
    pub fn count(&self, reason: Reason, address: IpAddr, key: Option<Thumbprint>, now: UnixTime) {
        let Some((rate, table)) = &self.0 else { return };
        let key = match Against::of(reason) {
            Against::Nobody => return,
            Against::Address => None,
            Against::KeyAtAddress => key,
        };
        let now = Moment::from(now);
        // Without room nobody is slowed down who was not before. Every check is made all the same.
        let _ = table.change(name(table, address, key), now, |entry| {
            entry.full = rate.take(entry.full, now).unwrap_or_else(|_| rate.settle(entry.full, now));
        });
    }

    /// Counts a sender who leaves before a question of an issuer about its token is answered: the question was asked all
    /// the same.
    pub fn asking(&self, address: Option<IpAddr>, now: UnixTime) -> Asking<'_> {
        Asking { failures: self, address, now }
    }

    /// Forgets senders who may fail as if they never had. About once a second.
    pub fn expire(&self, now: UnixTime) {
        if let Some((_, table)) = &self.0 {
            table.expire(now.into());
        }
    }
}

/// An issuer may be being asked for a sender. Dropped with it if the sender leaves.
#[must_use = "it counts when it is dropped"]
pub struct Asking<'f> {
    failures: &'f Failures,
    address: Option<IpAddr>,
    now: UnixTime,
}

impl Asking<'_> {
    /// There is an answer, and whoever decides by it counts.
    pub fn answered(mut self) {
        self.address = None;
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            self.failures.count(Reason::TokenInactive, address, None, self.now);
        }
    }
}

fn name(table: &Table, address: IpAddr, key: Option<Thumbprint>) -> Name {
    table.name(|hasher: &mut dyn Hasher| {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                hasher.write_u8(4);
                hasher.write(&address.octets());
            }
            IpAddr::V6(address) => {
                hasher.write_u8(6);
                hasher.write(&address.octets()[..8]);
            }
        }
        if let Some(key) = key {
            hasher.write(&key.0);
        }
    })
}

impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Failures").field(&self.0.as_ref().map(|(rate, _)| rate)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
    const KEY: Option<Thumbprint> = Some(Thumbprint([1; 32]));

    /// The question to the issuer was asked all the same.
    #[test]
    fn whoever_leaves_before_the_answer_counts() {
        let (failures, here) = (twice(), address("192.0.2.1"));
        failures.asking(Some(here), NOW).answered();
        drop(failures.asking(None, NOW));
        for _ in 0..2 {
            assert_eq!(failures.check(here, None, NOW), Ok(()));
            drop(failures.asking(Some(here), NOW));
        }
        assert_eq!(reason(failures.check(here, None, NOW)), Some(Reason::LimitFailures));
    }

    fn twice() -> Failures {
        Failures::new(Some(Rate::new(6, Duration::from_secs(60), 2)))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn reason(checked: Result<(), Refusal>) -> Option<Reason> {
        checked.err().map(|refusal| refusal.reason())
    }

    #[test]
    fn an_address_is_slowed_down_and_recovers_by_time_alone() {
        let (failures, here) = (twice(), address("192.0.2.1"));
        for _ in 0..2 {
            assert_eq!(failures.check(here, None, NOW), Ok(()));
            failures.count(Reason::TokenSignature, here, None, NOW);
        }
        let refused = failures.check(here, None, NOW).unwrap_err();
        assert_eq!((refused.reason(), refused.wait()), (Reason::LimitFailures, Some(Duration::from_secs(10))));
        // What failed meanwhile does not add up: one bad neighbour does not lock out the others for ever.
        for _ in 0..1000 {
            failures.count(Reason::TokenSignature, here, None, NOW);
        }
        let later = NOW + Duration::from_secs(10);
        assert_eq!(failures.check(here, None, later), Ok(()));
        failures.count(Reason::TokenSignature, here, None, later);
        assert_eq!(reason(failures.check(here, None, later)), Some(Reason::LimitFailures));
    }

    #[test]
    fn senders_are_told_apart() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
        ] {
            let failures = twice();
            for _ in 0..2 {
                failures.count(Reason::ProofSignature, address(one), KEY, NOW);
            }
            let found = reason(failures.check(address(other), None, NOW));
            assert_eq!(found, same.then_some(Reason::LimitFailures), "{one} {other}");
        }
    }

    #[test]
    fn a_repeated_proof_counts_against_its_key_at_that_address_alone() {
        let (failures, here, there) = (twice(), address("192.0.2.1"), address("192.0.2.2"));
        for _ in 0..2 {
            failures.count(Reason::ProofReplayed, here, KEY, NOW);
        }
        assert_eq!(reason(failures.check(here, KEY, NOW)), Some(Reason::LimitFailures));
        for (address, key) in [(there, KEY), (here, None), (here, Some(Thumbprint([2; 32])))] {
            assert_eq!(failures.check(address, key, NOW), Ok(()));
        }
    }

    #[test]
    fn what_counts_is_what_cost_a_signature_check() {
        let against = |wanted| Reason::ALL.iter().filter(move |reason| Against::of(**reason) == wanted);
        let slugs: Vec<_> = against(Against::KeyAtAddress).map(|reason| reason.slug()).collect();
        assert_eq!(slugs, ["proof_nonce_missing", "proof_nonce", "proof_before_start", "proof_replayed"]);
        let counts = [Reason::TokenSignature, Reason::TokenExpired, Reason::ProofSignature, Reason::ProofStale];
        assert!(counts.iter().all(|reason| Against::of(*reason) == Against::Address));
        for reason in against(Against::Address).chain(against(Against::KeyAtAddress)) {
            assert_eq!(reason.answer().status(), 401, "{}", reason.slug());
        }
        let free = [Reason::CredentialsMissing, Reason::TokenMalformed, Reason::ScopeMissing, Reason::LimitFailures];
        let (failures, here) = (twice(), address("192.0.2.1"));
        for reason in free {
            (0..9).for_each(|_| failures.count(reason, here, KEY, NOW));
        }
        assert_eq!((failures.check(here, None, NOW), failures.check(here, KEY, NOW)), (Ok(()), Ok(())));
    }

    #[test]
    fn without_a_limit_nobody_is_slowed_down() {
        let (failures, here) = (Failures::new(None), address("192.0.2.1"));
        (0..1000).for_each(|_| failures.count(Reason::TokenSignature, here, None, NOW));
        assert_eq!(failures.check(here, None, NOW), Ok(()));
    }
}
