//! What one caller may ask of one route.

use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use super::rate::{Moment, Rate};
use super::table::{Name, Table};
use crate::refusal::{Reason, Refusal};
use crate::time::UnixTime;
use crate::verify::{AccessToken, Demand};

/// When to come again after being one too many at once: nobody knows when a place becomes free.
const SOON: Duration = Duration::from_secs(1);

/// The limits of one route, for each caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteLimits {
    /// Who counts as one caller.
    pub per: Per,
    /// How often.
    pub rate: Option<Rate>,
    /// How many at once, from the decision to the end of the answer.
    pub concurrent: Option<u32>,
}

impl fmt::Display for RouteLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "each {}: ", self.per.as_str())?;
        if let Some(rate) = self.rate {
            write!(f, "{rate}{}", if self.concurrent.is_some() { ", " } else { "" })?;
        }
        self.concurrent.map_or(Ok(()), |most| write!(f, "{most} under way"))
    }
}

/// Who counts as one caller. Whoever the token does not name is known by the key, so that nobody is without a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// Who holds one key: that of the proof, else the certificate's.
    Thumbprint,
    /// The `client_id` of one issuer.
    ClientId,
    /// The `sub` of one issuer.
    Subject,
}

impl Per {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Thumbprint => "thumbprint",
            Self::ClientId => "client_id",
            Self::Subject => "subject",
        }
    }
}

/// Counts callers, all routes together, each by itself.
pub struct Limiter {
    table: Arc<Table>,
}

/// What a request took. Its place among those under way is free again when this is dropped.
#[must_use = "a place that is dropped is free for another request"]
pub struct Place {
    table: Arc<Table>,
    name: Name,
    /// What it took out of its caller's bucket, if there is one.
    share: Option<Share>,
    /// Whether it counts among those under way.
    counts: bool,
}

#[derive(Clone, Copy)]
struct Share {
    /// In nanoseconds.
    interval: i64,
    /// When the bucket would have been full again.
    full: Moment,
}

enum Denied {
    Concurrent(u32),
    Rate(Rate, Duration),
    Full,
}

impl Denied {
    fn refusal(&self, per: Per) -> Refusal {
        let per = per.as_str();
        match self {
            Self::Concurrent(most) => Refusal::new(Reason::LimitConcurrent)
                .expected(format!("at most {most} requests at once for each {per}"))
                .retry_after(SOON),
            Self::Rate(rate, wait) => {
                Refusal::new(Reason::LimitRate).expected(format!("{rate} for each {per}")).retry_after(*wait)
            }
            Self::Full => Refusal::new(Reason::LimitFull).expected("fewer callers at once"),
        }
    }
}

impl Limiter {
    /// For routes with these limits.
    pub fn new(limits: impl IntoIterator<Item = RouteLimits>) -> Self {
        Self { table: Arc::new(Table::new(longest(limits))) }
    }

    /// For routes with other limits, and with the same memory: who asked for a route of the same name before, or has
    /// requests under way there, did not begin anew.
    #[must_use]
    pub fn succeed(&self, limits: impl IntoIterator<Item = RouteLimits>) -> Self {
        self.table.stretch(longest(limits));
        Self { table: Arc::clone(&self.table) }
    }

    /// Takes a place on a route for who holds this token and has proven this.
    ///
    /// # Errors
    /// [`Reason::LimitRate`], [`Reason::LimitConcurrent`], [`Reason::LimitFull`].
    pub fn admit(
        &self,
        route: &str,
        limits: &RouteLimits,
        token: &AccessToken,
        proven: &Demand,
        now: UnixTime,
    ) -> Result<Place, Refusal> {
        let now = Moment::from(now);
        let name = self.table.name(|hasher| {
            write(hasher, route);
            write_caller(hasher, limits.per, token, proven);
        });
        let changed = self.table.change(name, now, |entry| {
            // Everything is asked before anything is changed: who is one too many at once takes nothing of the rate.
            if let Some(most) = limits.concurrent
                && entry.active >= most
            {
                return Err(Denied::Concurrent(most));
            }
            let mut share = None;
            if let Some(rate) = limits.rate {
                entry.full = rate.settle(entry.full, now);
                entry.full = rate.take(entry.full, now).map_err(|wait| Denied::Rate(rate, wait))?;
                share = Some(Share { interval: rate.interval(), full: entry.full });
            }
            if limits.concurrent.is_some() {
                entry.active += 1;
            }
            Ok(share)
        });
        // Words are found when nobody waits for the lock any more.
        let share = changed.unwrap_or(Err(Denied::Full)).map_err(|denied| denied.refusal(limits.per))?;
        Ok(Place { table: Arc::clone(&self.table), name, share, counts: limits.concurrent.is_some() })
    }

    /// Forgets callers who may ask as if they never had. About once a second.
    pub fn expire(&self, now: UnixTime) {
        self.table.expire(now.into());
    }
}

/// The longest that a bucket needs to fill.
fn longest(limits: impl IntoIterator<Item = RouteLimits>) -> i64 {
    limits.into_iter().filter_map(|limits| limits.rate).map(Rate::span).max().unwrap_or_default()
}

/// Different names write different bytes.
fn write_caller(hasher: &mut dyn Hasher, per: Per, token: &AccessToken, proven: &Demand) {
    let claim = |name: &'static str| token.claim(name).and_then(serde_json::Value::as_str).map(|value| (name, value));
    let named = match per {
        Per::Thumbprint => None,
        Per::ClientId => claim("client_id"),
        Per::Subject => claim("sub"),
    };
    if named.is_none() {
        match (&proven.proof_by, &proven.certificate) {
            (Some(key), _) => return write_key(hasher, 1, &key.0),
            (None, Some(certificate)) => return write_key(hasher, 2, certificate),
            (None, None) => {}
        }
    }
    match named.or_else(|| claim("client_id")).or_else(|| claim("sub")) {
        Some((claim, value)) => {
            hasher.write_u8(0);
            for text in [token.issuer(), claim, value] {
                write(hasher, text);
            }
        }
        None => write_key(hasher, 3, token.hash().as_bytes()),
    }
}

fn write_key(hasher: &mut dyn Hasher, kind: u8, key: &[u8; 32]) {
    hasher.write_u8(kind);
    hasher.write(key);
}

fn write(hasher: &mut dyn Hasher, text: &str) {
    hasher.write_usize(text.len());
    hasher.write(text.as_bytes());
}

impl Place {
    /// Gives back what was taken: a request that is refused after all is not counted, or whoever repeats a captured
    /// proof would use up what its owner may ask. What came back by itself meanwhile is not given twice.
    pub fn give_back(self, now: UnixTime) {
        let Some(Share { interval, full }) = self.share else { return };
        let rest = full.since(now.into()).clamp(0, interval);
        self.table.amend(self.name, |entry| entry.full = entry.full.plus(-rest));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.counts {
            self.table.amend(self.name, |entry| entry.active = entry.active.saturating_sub(1));
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place(…)")
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Limiter(…)")
    }
}

#[cfg(test)]
mod tests;
