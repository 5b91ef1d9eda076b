//! What an access token says (RFC 9068 §2.2, RFC 7662 §2.2), read once, and what depends on the moment.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::confirmation::Confirmation;
use super::json::Json;
use super::rules::IssuerRules;
use crate::refusal::{Reason, Refusal, shown};
use crate::time::UnixTime;

/// How far in the future `iat` may lie before the token is refused (FAPI 2.0 §5.3.2.1).
pub(super) const MAX_ISSUED_AHEAD: Duration = Duration::from_mins(1);

/// What the claims were read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A JWT, which must say who it is for and until when (RFC 9068 §2.2).
    Jwt,
    /// An issuer's answer about a token, which may leave out anything but `active` (RFC 7662 §2.2); without an `iss`, the
    /// issuer is whoever was asked.
    Answer,
}

/// The claims of an access token, of the right types. By themselves they prove nothing: nobody vouches for them but the
/// [`AccessToken`](super::AccessToken) that holds them.
pub struct TokenClaims {
    claims: Json,
    issuer: String,
    audiences: Vec<String>,
    expires: Option<UnixTime>,
    not_before: Option<UnixTime>,
    issued_at: Option<UnixTime>,
    auth_time: Option<UnixTime>,
    confirmation: Result<Option<Confirmation>, Refusal>,
    scope: Option<String>,
}

impl TokenClaims {
    /// Reads a claim set.
    ///
    /// # Errors
    /// [`Reason::TokenClaims`], [`Reason::TokenAudience`].
    pub(super) fn read(claims: Json, form: Form, rules: &IssuerRules) -> Result<Self, Refusal> {
        let wrong = |expected: &'static str| Refusal::new(Reason::TokenClaims).expected(expected);
        let date = |name: &str, expected: &'static str| match claims.get(name) {
            None => Ok(None),
            Some(value) => {
                value.as_f64().and_then(UnixTime::from_numeric_date).map(Some).ok_or_else(|| wrong(expected))
            }
        };
        let is_jwt = form == Form::Jwt;
        // RFC 9068 §2.2 demands more; these are the ones that a decision here rests on.
        if is_jwt && claims.string("sub").is_none() && claims.string("client_id").is_none() {
            return Err(wrong("sub or client_id, a string"));
        }
        let issuer = match claims.get("iss") {
            None if !is_jwt => &rules.issuer,
            iss => iss.and_then(Value::as_str).ok_or_else(|| wrong("iss, a string"))?,
        };
        let expires = date("exp", "exp, a date in seconds")?;
        if is_jwt && expires.is_none() {
            return Err(wrong("exp, a date in seconds"));
        }
        Ok(Self {
            issuer: issuer.to_owned(),
            audiences: audiences(&claims)?,
            expires,
            not_before: date("nbf", "nbf, a date in seconds")?,
            issued_at: date("iat", "iat, a date in seconds")?,
            auth_time: date("auth_time", "auth_time, a date in seconds")?,
            confirmation: Confirmation::of(&claims),
            scope: scope(&claims)?,
            claims,
        })
    }

    /// RFC 9068 §4: `aud` names this resource.
    ///
    /// # Errors
    /// [`Reason::TokenAudience`].
    pub fn check_audience(&self, rules: &IssuerRules) -> Result<(), Refusal> {
        if !self.audiences.iter().any(|audience| rules.audiences.contains(audience)) {
            return Err(Refusal::new(Reason::TokenAudience)
                .expected(rules.audiences.join(" or "))
                .found(if self.audiences.is_empty() { "none".to_owned() } else { shown(&self.audiences.join(", ")) }));
        }
        Ok(())
    }

    /// RFC 9068 §4: `exp` lies in the future.
    ///
    /// # Errors
    /// [`Reason::TokenExpired`].
    pub fn check_expiry(&self, rules: &IssuerRules, now: UnixTime) -> Result<(), Refusal> {
        if let Some(expires) = self.expires.filter(|expires| now >= *expires + rules.clock_skew) {
            return Err(Refusal::new(Reason::TokenExpired)
                .expected("an exp in the future")
                .found(format!("{:.0} s ago", now.seconds_since(expires))));
        }
        Ok(())
    }

    /// RFC 7519 §4.1.5, FAPI 2.0 §5.3.2.1: `nbf` and `iat` lie in the past.
    ///
    /// # Errors
    /// [`Reason::TokenNotYetValid`].
    pub fn check_beginning(&self, rules: &IssuerRules, now: UnixTime) -> Result<(), Refusal> {
        let ahead = |date: Option<UnixTime>, tolerance: Duration| date.is_some_and(|date| date > now + tolerance);
        if ahead(self.not_before, rules.clock_skew) || ahead(self.issued_at, MAX_ISSUED_AHEAD) {
            let latest = self.not_before.max(self.issued_at).unwrap_or(now);
            return Err(Refusal::new(Reason::TokenNotYetValid)
                .expected("nbf and iat in the past")
                .found(format!("{:.0} s ahead", latest.seconds_since(now))));
        }
        Ok(())
    }

    /// `iss`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `aud`.
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// `exp`, which a JWT always has.
    pub const fn expires(&self) -> Option<UnixTime> {
        self.expires
    }

    /// `iat`.
    pub const fn issued_at(&self) -> Option<UnixTime> {
        self.issued_at
    }

    /// `client_id`, if the token tells; where servers say it otherwise, `azp` or `cid`.
    pub fn client_id(&self) -> Option<&str> {
        ["client_id", "azp", "cid"].iter().find_map(|name| self.claims.string(name))
    }

    /// What key the token is bound to; `None`: to none.
    ///
    /// # Errors
    /// [`Reason::ConfirmationMalformed`], [`Reason::ConfirmationUnenforceable`].
    pub fn confirmation(&self) -> Result<Option<&Confirmation>, Refusal> {
        self.confirmation.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }

    /// `scope`, or what servers that do not follow RFC 9068 write as `scp`.
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// Whether `scope` names it.
    pub fn has_scope(&self, wanted: &str) -> bool {
        self.scope().is_some_and(|scope| scope.split(' ').any(|name| name == wanted))
    }

    /// `acr`.
    pub fn acr(&self) -> Option<&str> {
        self.claims.string("acr")
    }

    /// `auth_time`.
    pub const fn auth_time(&self) -> Option<UnixTime> {
        self.auth_time
    }

    /// Any claim.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }
}

/// Names separated by spaces (RFC 9068 §2.2.3), or a list of names, as some servers write `scp`. `scope` counts where both
/// are there.
fn scope(claims: &Json) -> Result<Option<String>, Refusal> {
    let wrong = |expected: &'static str| Refusal::new(Reason::TokenClaims).expected(expected);
    match (claims.get("scope"), claims.get("scp")) {
        (Some(Value::String(scope)), _) | (None, Some(Value::String(scope))) => Ok(Some(scope.clone())),
        (Some(_), _) => Err(wrong("scope, a string of names separated by spaces")),
        (None, None) => Ok(None),
        (None, Some(Value::Array(names))) => {
            // One name with a space in it would become two.
            let name = |name: &Value| name.as_str().filter(|name| !name.contains(' ')).map(str::to_owned);
            let names: Option<Vec<String>> = names.iter().map(name).collect();
            let names = names.ok_or_else(|| wrong("scp, a list of names without spaces"))?;
            Ok(Some(names.join(" ")))
        }
        (None, Some(_)) => Err(wrong("scp, a string or a list of names")),
    }
}

fn audiences(claims: &Json) -> Result<Vec<String>, Refusal> {
    let wrong = || Refusal::new(Reason::TokenAudience).expected("aud, a string or an array of strings");
    match claims.get("aud") {
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        None => Ok(Vec::new()),
        Some(Value::Array(several)) => {
            several.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

impl fmt::Debug for TokenClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenClaims").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
