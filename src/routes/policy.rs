//! Who may pass a route: the configured part of authorization.

use std::sync::Arc;
use std::time::Duration;

use crate::limits::RouteLimits;
use crate::refusal::{Reason, Refusal, shown};
use crate::time::UnixTime;
use crate::verify::{Accepted, AccessToken};

/// Who may pass.
#[derive(Debug, Clone)]
pub enum Access {
    /// Everybody, on purpose. Credentials are not looked at and not forwarded.
    Public,
    /// Whoever proves possession of what the token is bound to, and fulfils the policy.
    Enforce(Arc<Policy>),
    /// Everybody, for the time of a migration: the policy is asked, and what it would refuse is counted and passes as it
    /// came, unproven.
    Observe(Arc<Policy>),
}

impl Access {
    /// What a proven token must fulfil; `None`: nobody asks.
    pub const fn policy(&self) -> Option<&Arc<Policy>> {
        match self {
            Self::Public => None,
            Self::Enforce(policy) | Self::Observe(policy) => Some(policy),
        }
    }
}

/// What a proven token must fulfil.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Which tokens are accepted, by what they are bound to.
    pub accepted: Accepted,
    /// Accepted issuers; empty: all configured ones.
    pub issuers: Vec<String>,
    /// All of these must be in `scope`.
    pub scopes: Vec<String>,
    /// One of these must be `acr` (RFC 9470 §3); empty: any.
    pub acr_values: Vec<String>,
    /// How long ago `auth_time` may lie (RFC 9470 §3).
    pub max_auth_age: Option<Duration>,
    /// How much one caller may ask.
    pub limits: Option<RouteLimits>,
}

impl Policy {
    /// Whether a route accepts tokens of this issuer at all. Asked before the binding: a token error.
    ///
    /// # Errors
    /// [`Reason::TokenIssuerNotAccepted`].
    pub fn accept_issuer(&self, token: &AccessToken) -> Result<(), Refusal> {
        if self.issuers.is_empty() || self.issuers.iter().any(|issuer| issuer == token.issuer()) {
            return Ok(());
        }
        Err(Refusal::new(Reason::TokenIssuerNotAccepted)
            .expected(self.issuers.join(" or "))
            .found(token.issuer().to_owned()))
    }

    /// What the token allows (RFC 6750 §3.1) and how its user was authenticated (RFC 9470 §4). A missing claim
    /// does not satisfy. Asked last: a thief without the key must not learn what a token may do.
    ///
    /// # Errors
    /// [`Reason::ScopeMissing`], [`Reason::AuthenticationWeak`], [`Reason::AuthenticationOld`].
    pub fn permit(&self, token: &AccessToken, now: UnixTime) -> Result<(), Refusal> {
        if let Some(missing) = self.scopes.iter().find(|scope| !token.has_scope(scope)) {
            return Err(Refusal::new(Reason::ScopeMissing)
                .expected(missing.clone())
                .found(shown(token.scope().unwrap_or("no scope"))));
        }
        let weak = !self.acr_values.is_empty()
            && !token.acr().is_some_and(|acr| self.acr_values.iter().any(|wanted| wanted == acr));
        if weak {
            return Err(Refusal::new(Reason::AuthenticationWeak)
                .expected(self.acr_values.join(" or "))
                .found(shown(token.acr().unwrap_or("no acr"))));
        }
        match self.max_auth_age {
            Some(age) if token.auth_time().is_none_or(|at| at + age < now) => {
                Err(Refusal::new(Reason::AuthenticationOld).expected(format!("at most {} s ago", age.as_secs())))
            }
            _ => Ok(()),
        }
    }
}
