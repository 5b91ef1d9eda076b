//! Who may pass a route: the configured part of authorization.

use std::sync::Arc;
use std::time::Duration;

use crate::limits::RouteLimits;
use crate::refusal::{Reason, Refusal, shown};
use crate::time::UnixTime;
use crate::verify::{Accepted, AccessToken, TokenClaims};

/// Who may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    pub fn accept_issuer(&self, issuer: &str) -> Result<(), Refusal> {
        if self.issuers.is_empty() || self.issuers.iter().any(|accepted| accepted == issuer) {
            return Ok(());
        }
        Err(Refusal::new(Reason::TokenIssuerNotAccepted).expected(self.issuers.join(" or ")).found(issuer.to_owned()))
    }

    /// What the token allows (RFC 6750 §3.1) and how its user was authenticated (RFC 9470 §4). A missing claim
    /// does not satisfy. Asked last: a thief without the key must not learn what a token may do.
    ///
    /// # Errors
    /// [`Reason::ScopeMissing`], [`Reason::AuthenticationWeak`], [`Reason::AuthenticationOld`].
    pub fn permit(&self, token: &AccessToken, now: UnixTime) -> Result<(), Refusal> {
        let claims = token.claims();
        self.check_scopes(claims)?;
        self.check_authentication(claims)?;
        self.check_authentication_age(claims, now)
    }

    /// All scopes are there. Proves nothing by itself; [`Self::permit`] asks it of a token that holds.
    ///
    /// # Errors
    /// [`Reason::ScopeMissing`].
    pub fn check_scopes(&self, claims: &TokenClaims) -> Result<(), Refusal> {
        match self.scopes.iter().find(|scope| !claims.has_scope(scope)) {
            None => Ok(()),
            Some(missing) => Err(Refusal::new(Reason::ScopeMissing)
                .expected(missing.clone())
                .found(shown(claims.scope().unwrap_or("no scope")))),
        }
    }

    /// The authentication was one of the wanted. Proves nothing by itself.
    ///
    /// # Errors
    /// [`Reason::AuthenticationWeak`].
    pub fn check_authentication(&self, claims: &TokenClaims) -> Result<(), Refusal> {
        let is_wanted = |acr: &str| self.acr_values.iter().any(|wanted| wanted == acr);
        if self.acr_values.is_empty() || claims.acr().is_some_and(is_wanted) {
            return Ok(());
        }
        Err(Refusal::new(Reason::AuthenticationWeak)
            .expected(self.acr_values.join(" or "))
            .found(shown(claims.acr().unwrap_or("no acr"))))
    }

    /// The authentication is recent enough. Proves nothing by itself.
    ///
    /// # Errors
    /// [`Reason::AuthenticationOld`].
    pub fn check_authentication_age(&self, claims: &TokenClaims, now: UnixTime) -> Result<(), Refusal> {
        match self.max_auth_age {
            Some(age) if claims.auth_time().is_none_or(|at| at + age < now) => {
                Err(Refusal::new(Reason::AuthenticationOld).expected(format!("at most {} s ago", age.as_secs())))
            }
            _ => Ok(()),
        }
    }
}
