//! One value travels: [`Inbound`] → [`Presented`] → [`Verified`] → [`Bound`] → [`Admitted`] → [`Fresh`] →
//! [`Authorized`].
//!
//! Each stage consumes the one before and holds the request it was made for, so a stage cannot be left out,
//! spent twice, or spent on another request. Every stage that says no hands the request back in a [`Refused`].
//! The fields are private; only the functions here make the next value. `forward` takes an [`Authorized`] and
//! nothing else. Pure but for the limits and the replay log.

mod grant;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::limits::{Failures, Limiter, Place};
use crate::refusal::{Reason, Refusal};
use crate::replay::{Question, ReplayLog};
use crate::request::{Credentials, Inbound, lets_a_token_through};
use crate::routes::{Access, Policy, Route};
use crate::time::UnixTime;
use crate::verify::{
    AccessToken, Possession, Presentation, Proof, ProofKeys, ProofRules, Thumbprint, TokenHash, prove,
};

pub use grant::Grant;

/// A request that was refused, with the request itself: its body may still be on its way.
pub struct Refused<B> {
    /// Why.
    pub refusal: Refusal,
    /// What.
    pub inbound: Inbound<B>,
    /// Where it would have gone, once that was known.
    pub route: Option<Arc<Route>>,
    /// The proof key that its token names, once the token was verified.
    pub key: Option<Thumbprint>,
    /// What it had taken of its caller's limits.
    pub place: Option<Place>,
}

impl<B> Refused<B> {
    /// Refuses a request at the door.
    pub fn boxed(refusal: Refusal, inbound: Inbound<B>, route: Option<Arc<Route>>) -> Box<Self> {
        Box::new(Self { refusal, inbound, route, key: None, place: None })
    }
}

impl<B> fmt::Debug for Refused<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Refused").field(&self.refusal).finish()
    }
}

/// What a stage answers.
pub type Stage<T, B> = Result<T, Box<Refused<B>>>;

/// A request on a route that checks, with its one credential taken out.
pub struct Presented<B> {
    inbound: Inbound<B>,
    route: Arc<Route>,
    policy: Arc<Policy>,
    credentials: Credentials,
    hash: TokenHash,
}

impl<B> Presented<B> {
    /// Takes the credentials out of the request.
    ///
    /// # Errors
    /// What [`Inbound::take_credentials`] refuses. A public route has no credentials to present:
    /// [`Reason::CredentialsMissing`].
    pub fn new(mut inbound: Inbound<B>, route: Arc<Route>) -> Stage<Self, B> {
        let Some(policy) = route.access.policy().map(Arc::clone) else {
            return Err(Refused::boxed(Reason::CredentialsMissing.into(), inbound, Some(route)));
        };
        match inbound.take_credentials() {
            Ok(credentials) => {
                let hash = TokenHash::shown(&credentials);
                Ok(Self { inbound, route, policy, credentials, hash })
            }
            Err(refusal) => Err(Refused::boxed(refusal, inbound, Some(route))),
        }
    }

    /// The access token's text.
    pub fn token(&self) -> &str {
        self.credentials.token()
    }

    /// Its hash, computed once.
    pub const fn hash(&self) -> TokenHash {
        self.hash
    }

    /// Whose address it counts against if it fails, where that is known.
    pub fn sender(&self) -> Option<IpAddr> {
        self.inbound.sender()
    }

    /// The issuers that the route accepts; empty: all.
    pub fn accepted_issuers(&self) -> &[String] {
        &self.policy.issuers
    }

    /// Asks whether too many requests from this address failed, before any signature is checked.
    ///
    /// # Errors
    /// [`Reason::LimitFailures`].
    pub fn heed(self, failures: &Failures, now: UnixTime) -> Stage<Self, B> {
        let Some(sender) = self.inbound.sender() else { return Ok(self) };
        match failures.check(sender, None, now) {
            Ok(()) => Ok(self),
            Err(refusal) => Err(self.refuse(refusal)),
        }
    }

    /// Gives up.
    pub fn refuse(self, refusal: Refusal) -> Box<Refused<B>> {
        Refused::boxed(refusal, self.inbound, Some(self.route))
    }

    /// Joins the request and its verified token.
    ///
    /// # Errors
    /// [`Reason::TokenSignature`] when the token is another one than was presented,
    /// [`Reason::TokenIssuerNotAccepted`].
    pub fn verified(self, token: Arc<AccessToken>) -> Stage<Verified<B>, B> {
        if !token.is(&self.hash) {
            return Err(self.refuse(Reason::TokenSignature.into()));
        }
        match self.policy.accept_issuer(token.issuer()) {
            Ok(()) => Ok(Verified { presented: self, token }),
            Err(refusal) => Err(self.refuse(refusal)),
        }
    }
}

/// A request whose token holds.
pub struct Verified<B> {
    presented: Presented<B>,
    token: Arc<AccessToken>,
}

impl<B> Verified<B> {
    /// The token.
    pub const fn token(&self) -> &Arc<AccessToken> {
        &self.token
    }

    /// Asks whether too many proofs by this key failed at this address, before another is checked.
    ///
    /// # Errors
    /// [`Reason::LimitFailures`].
    pub fn heed(self, failures: &Failures, now: UnixTime) -> Stage<Self, B> {
        let (Some(key), Some(sender)) = (proof_key(&self.token), self.presented.inbound.sender()) else {
            return Ok(self);
        };
        match failures.check(sender, Some(key), now) {
            Ok(()) => Ok(self),
            Err(refusal) => Err(self.refuse(refusal)),
        }
    }

    fn refuse(self, refusal: Refusal) -> Box<Refused<B>> {
        let key = proof_key(&self.token);
        Box::new(Refused { key, ..*self.presented.refuse(refusal) })
    }

    /// Checks that the caller possesses what the token names.
    ///
    /// # Errors
    /// What [`prove`] refuses.
    pub fn prove(self, rules: &ProofRules, keys: &impl ProofKeys, now: UnixTime) -> Stage<Bound<B>, B> {
        let Self { presented, token } = self;
        let shown = Presentation {
            scheme: presented.credentials.scheme(),
            proof: presented.credentials.proof(),
            certificate: presented.inbound.certificate(),
            method: presented.inbound.request().method(),
            target: presented.inbound.target(),
        };
        match prove(&token, &shown, presented.policy.accepted, rules, keys, now) {
            Ok(possession) => Ok(Bound { presented, token, possession }),
            Err(refusal) => Err(Self { presented, token }.refuse(refusal)),
        }
    }
}

/// The proof key that a token names.
fn proof_key(token: &AccessToken) -> Option<Thumbprint> {
    token.confirmation().ok().flatten().and_then(|confirmation| confirmation.jkt)
}

/// A request whose caller possesses the key that the token names. Its proof is not spent yet.
pub struct Bound<B> {
    presented: Presented<B>,
    token: Arc<AccessToken>,
    possession: Possession,
}

impl<B> Bound<B> {
    /// What was proven.
    pub const fn possession(&self) -> &Possession {
        &self.possession
    }

    /// Asks whether the caller may ask now, before the proof is spent: whoever is told to come later may come with the
    /// same proof.
    ///
    /// # Errors
    /// [`Reason::LimitRate`], [`Reason::LimitConcurrent`], [`Reason::LimitFull`].
    pub fn admit(self, limiter: &Limiter, question: Option<&Question<'_>>, now: UnixTime) -> Stage<Admitted<B>, B> {
        // Whoever asks twice about one request was admitted with it.
        let again = self.possession.proof().zip(question).is_some_and(|(proof, known)| known.was_answered(proof, now));
        let limits = self.presented.policy.limits.as_ref().filter(|_| !again);
        let Some(limits) = limits else { return Ok(Admitted { bound: self, place: None }) };
        match limiter.admit(&self.presented.route.name, limits, &self.token, self.possession.proven(), now) {
            Ok(place) => Ok(Admitted { bound: self, place: Some(place) }),
            Err(refusal) => Err(self.refuse(refusal)),
        }
    }

    fn refuse(self, refusal: Refusal) -> Box<Refused<B>> {
        Verified { presented: self.presented, token: self.token }.refuse(refusal)
    }
}

/// A request whose caller may ask now. What it took of its caller's limits goes with it, to the end of the answer.
pub struct Admitted<B> {
    bound: Bound<B>,
    place: Option<Place>,
}

impl<B> Admitted<B> {
    /// Spends the proof. It stays spent whatever comes after.
    ///
    /// # Errors
    /// [`Reason::ProofBeforeStart`], [`Reason::ProofNonce`], [`Reason::ProofReplayed`], [`Reason::ReplayFull`],
    /// [`Reason::ReplayKeyQuota`], [`Reason::ReplayUnavailable`].
    pub async fn spend(self, log: &ReplayLog, now: UnixTime) -> Stage<Fresh<B>, B> {
        self.spend_for(log, None, now).await
    }

    /// Spends the proof for a question of a trusted proxy. Whether the proxy asks again about the very request that the
    /// proof was spent for, only `question` can tell.
    ///
    /// # Errors
    /// Those of [`Self::spend`].
    pub async fn spend_for(
        self,
        log: &ReplayLog,
        question: Option<&Question<'_>>,
        now: UnixTime,
    ) -> Stage<Fresh<B>, B> {
        let Self { bound, place } = self;
        let spent = match bound.possession.proof() {
            None => Ok(()),
            Some(proof) => match log.spend(proof, now).await {
                Ok(spent) if spent.is_of(proof) => {
                    if let Some(question) = question {
                        question.answered(&spent, now);
                    }
                    Ok(())
                }
                // Cannot be; a receipt for another proof would be worth nothing.
                Ok(_) => Err(Reason::ProofReplayed.into()),
                Err(refusal) if refusal.reason() == Reason::ProofReplayed => match question {
                    Some(question) if question.was_answered(proof, now) => Ok(()),
                    Some(_) | None => Err(refusal),
                },
                Err(refusal) => Err(refusal),
            },
        };
        match spent {
            Ok(()) => Ok(Fresh { bound, place }),
            Err(refusal) => Err(Box::new(Refused { place, ..*bound.refuse(refusal) })),
        }
    }
}

/// A request whose proof was never spent before, but for this very request.
pub struct Fresh<B> {
    bound: Bound<B>,
    place: Option<Place>,
}

impl<B> Fresh<B> {
    /// Asks the policy, last of all: a thief without the key must not learn what a token may do.
    ///
    /// # Errors
    /// What [`Policy::permit`] refuses.
    pub fn authorize(self, now: UnixTime) -> Stage<Authorized<B>, B> {
        let Self { bound: Bound { presented, token, possession }, place } = self;
        match presented.policy.permit(&token, now) {
            Ok(()) => {
                let Presented { inbound, route, credentials, .. } = presented;
                let nonce = possession.proof().and_then(Proof::nonce);
                let grant = Grant { token, credentials, proven: *possession.proven(), nonce, at: now, place };
                Ok(Authorized { inbound, route, grant: Some(grant) })
            }
            Err(refusal) => Err(presented.refuse(refusal)),
        }
    }
}

/// The pass: a request that may go to its upstream. It cannot be made elsewhere, copied, or separated from the
/// request it was made for.
#[must_use = "an authorized request that is not forwarded leaves its client without an answer"]
pub struct Authorized<B> {
    inbound: Inbound<B>,
    route: Arc<Route>,
    grant: Option<Grant>,
}

impl<B> Authorized<B> {
    /// Lets a request pass a route that is open on purpose. Its credentials are taken out all the same: a token
    /// that nobody checked must not reach an API that trusts it.
    ///
    /// # Errors
    /// [`Reason::CredentialsMissing`] when the route is not public; [`Reason::TokenInQuery`] and
    /// [`Reason::CredentialsMultiple`] when a token would slip through in the query.
    pub fn open(mut inbound: Inbound<B>, route: Arc<Route>) -> Stage<Self, B> {
        if !matches!(route.access, Access::Public) {
            return Err(Refused::boxed(Reason::CredentialsMissing.into(), inbound, Some(route)));
        }
        match inbound.take_credentials() {
            Err(refusal) if lets_a_token_through(&refusal) => Err(Refused::boxed(refusal, inbound, Some(route))),
            Ok(_) | Err(_) => Ok(Self { inbound, route, grant: None }),
        }
    }

    /// Lets a request pass that was refused on a route which only observes: as it came, with its `Authorization`, and
    /// with nothing proven. Gives the refusal back beside it.
    ///
    /// # Errors
    /// The refusal stands on every other route.
    pub fn observe(refused: Refused<B>) -> Stage<(Self, Refusal), B> {
        match refused {
            Refused { refusal, mut inbound, route: Some(route), .. } if matches!(route.access, Access::Observe(_)) => {
                inbound.return_authorization();
                Ok((Self { inbound, route, grant: None }, refusal))
            }
            refused => Err(Box::new(refused)),
        }
    }

    /// The request.
    pub const fn inbound(&self) -> &Inbound<B> {
        &self.inbound
    }

    /// Its route.
    pub const fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// What was granted; `None` on a public route, and where only observing let the request pass.
    pub const fn grant(&self) -> Option<&Grant> {
        self.grant.as_ref()
    }

    /// What it took of its caller's limits, which whoever forwards it keeps until its answer is through.
    pub(crate) fn take_place(&mut self) -> Option<Place> {
        self.grant.as_mut().and_then(|grant| grant.place.take())
    }

    /// Spends the pass. For the forwarder.
    pub(crate) fn into_parts(self) -> (Inbound<B>, Arc<Route>, Option<Grant>) {
        (self.inbound, self.route, self.grant)
    }
}

impl<B> fmt::Debug for Authorized<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authorized").field(&self.inbound).finish()
    }
}
