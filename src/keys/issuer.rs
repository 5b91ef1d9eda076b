//! One issuer: its rules, its keys, and the task that keeps them fresh.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use rustls::RootCertStore;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::allowance::Allowance;
use super::fetch::{HttpClient, Place, same_roots};
use super::pace::{Pace, jittered};
use super::{IssuerSettings, KeyEvents, KeySource, LoadError, RefreshResult, discovery, file};
use crate::clock::Clock;
use crate::refusal::{Reason, Refusal};
use crate::time::UnixTime;
use crate::verify::{IssuerRules, Keyset, Skipped};

/// Of the entries that were left out of a JWK set, how many are named in the log.
const MAX_SKIPPED_NAMED: usize = 10;

/// One authorization server, and the keys that it signs with.
pub struct Issuer {
    rules: IssuerRules,
    source: KeySource,
    /// Other authorities than the system's.
    roots: Option<Arc<RootCertStore>>,
    client: HttpClient,
    clock: Arc<dyn Clock>,
    events: Arc<dyn KeyEvents>,
    pace: Pace,
    /// Empty until some were loaded, and never again.
    keys: ArcSwap<Keyset>,
    state: Mutex<State>,
    wanted: Notify,
    rounds: watch::Sender<Round>,
}

/// The issuer's keys at one moment. To be held shortly: it keeps keys that were replaced meanwhile.
pub struct Keys(Guard<Arc<Keyset>>);

impl Deref for Keys {
    type Target = Keyset;

    fn deref(&self) -> &Keyset {
        &self.0
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// How an issuer's keys stand, for people and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerStatus {
    /// The issuer.
    pub issuer: String,
    /// How many different keys are in use; 0: none were loaded yet.
    pub keys: usize,
    /// Since the issuer last confirmed them; none: never.
    pub age: Option<Duration>,
    /// Why the last attempt failed; none: it did not.
    pub last_error: Option<String>,
}

impl fmt::Display for IssuerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.age {
            Some(age) => {
                let plural = if self.keys == 1 { "" } else { "s" };
                write!(f, "{}: {} key{plural}, {} s old", self.issuer, self.keys, age.as_secs())?;
            }
            None => write!(f, "{}: no keys yet", self.issuer)?,
        }
        self.last_error.as_ref().map_or(Ok(()), |error| write!(f, "; the last attempt failed: {error}"))
    }
}

/// How many attempts ended, and how the last one did.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    number: u64,
    succeeded: bool,
}

#[derive(Debug)]
struct State {
    /// SHA-256 of the document in use, and when it was last seen.
    in_use: Option<([u8; 32], UnixTime)>,
    last_error: Option<String>,
    allowance: Allowance,
    /// Since when an attempt was asked for or has been running.
    under_way: Option<Instant>,
}

impl Issuer {
    pub(super) fn new(
        settings: IssuerSettings,
        client: HttpClient,
        clock: Arc<dyn Clock>,
        events: Arc<dyn KeyEvents>,
        pace: Pace,
    ) -> Self {
        let allowance = Allowance::new(pace.burst, pace.every);
        Self {
            rules: settings.rules,
            source: settings.source,
            roots: settings.roots,
            client,
            clock,
            events,
            pace,
            keys: ArcSwap::from_pointee(Keyset::default()),
            state: Mutex::new(State { in_use: None, last_error: None, allowance, under_way: None }),
            wanted: Notify::new(),
            rounds: watch::Sender::new(Round::default()),
        }
    }

    /// Whether these settings say what it was told.
    pub fn is_told(&self, settings: &IssuerSettings) -> bool {
        self.rules == settings.rules
            && self.source == settings.source
            && same_roots(self.roots.as_ref(), settings.roots.as_ref())
    }

    /// What its tokens must look like.
    pub const fn rules(&self) -> &IssuerRules {
        &self.rules
    }

    /// Its keys as last loaded, however long ago.
    ///
    /// # Errors
    /// [`Reason::KeysUnavailable`] when none were ever loaded.
    pub fn keys(&self) -> Result<Keys, Refusal> {
        let keys = Keys(self.keys.load());
        if keys.is_empty() {
            return Err(Refusal::new(Reason::KeysUnavailable)
                .expected(format!("keys of {}", self.rules.issuer))
                .found("none loaded yet"));
        }
        Ok(keys)
    }

    /// Asks for fresh keys because a token names one that is not known (or because there are none at all), and
    /// waits for them for moments. Callers at the same time share one fetch; a flood of callers gets a few and
    /// then one every few seconds, so tokens with invented keys cost the issuer almost nothing. Tells whether
    /// keys were loaded, so that looking again makes sense.
    pub async fn refresh_for_unknown_key(&self) -> bool {
        let (mut rounds, deadline) = {
            let mut state = self.lock();
            if state.under_way.is_none() && !state.allowance.take(self.clock.now()) {
                return false;
            }
            let since = *state.under_way.get_or_insert_with(|| {
                self.wanted.notify_one();
                Instant::now()
            });
            // Under the lock, so that the end of what is under way cannot be missed.
            (self.rounds.subscribe(), since + self.pace.patience)
        };
        match timeout_at(deadline, rounds.changed()).await {
            Ok(Ok(())) => rounds.borrow().succeeded,
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Waits until keys were loaded once.
    pub async fn loaded(&self) {
        // The sender lives as long as `self`.
        let _ = self.rounds.subscribe().wait_for(|_| self.is_loaded()).await;
    }

    /// Whether keys were loaded once.
    pub fn is_loaded(&self) -> bool {
        !self.keys.load().is_empty()
    }

    /// How its keys stand.
    pub fn status(&self) -> IssuerStatus {
        let (now, state) = (self.clock.now(), self.lock());
        let age = |since: UnixTime| Duration::try_from_secs_f64(now.seconds_since(since)).unwrap_or_default();
        IssuerStatus {
            issuer: self.rules.issuer.clone(),
            keys: self.keys.load().len(),
            age: state.in_use.map(|(_, seen)| age(seen)),
            last_error: state.last_error.clone(),
        }
    }

    /// Takes over the keys of the same issuer as configured before, if they would be read the same way.
    pub(super) fn take_over(&self, earlier: &Self) {
        let same = self.rules.issuer == earlier.rules.issuer
            && self.rules.algorithms == earlier.rules.algorithms
            && self.source == earlier.source
            && same_roots(self.roots.as_ref(), earlier.roots.as_ref());
        let in_use = earlier.lock().in_use;
        if same && in_use.is_some() {
            self.keys.store(earlier.keys.load_full());
            self.lock().in_use = in_use;
            self.rounds.send_modify(|_| {});
        }
    }

    /// Loads the keys at once and again and again, for ever.
    pub(super) async fn keep_fresh(&self) {
        let mut failures = 0_u32;
        loop {
            self.lock().under_way.get_or_insert_with(Instant::now);
            let outcome = self.load().await;
            let pause = if let Ok((_, fresh_for)) = &outcome {
                failures = 0;
                self.pace.after_success(&self.source, *fresh_for)
            } else {
                failures = failures.saturating_add(1);
                self.pace.after_failures(&self.source, failures)
            };
            self.end_round(outcome.map(|(result, _)| result));
            let _ = timeout(jittered(pause), self.asked_for()).await;
        }
    }

    /// Waits until a request asks for fresh keys.
    async fn asked_for(&self) {
        loop {
            self.wanted.notified().await;
            // A call that came just as a round began was answered by that round.
            if self.lock().under_way.is_some() {
                return;
            }
        }
    }

    fn end_round(&self, outcome: Result<RefreshResult, LoadError>) {
        let result = outcome.as_ref().map_or(RefreshResult::Failed, |result| *result);
        let error = outcome.err().map(|error| error.to_string());
        if let Some(error) = &error {
            let in_use = self.keys.load().len();
            tracing::warn!(issuer = %self.rules.issuer, %error, in_use, "keys could not be refreshed");
        }
        self.events.refreshed(&self.rules.issuer, result);
        let mut state = self.lock();
        state.last_error = error;
        state.under_way = None;
        self.rounds.send_modify(|round| {
            *round = Round { number: round.number.wrapping_add(1), succeeded: result != RefreshResult::Failed };
        });
    }

    async fn load(&self) -> Result<(RefreshResult, Option<Duration>), LoadError> {
        let (place, document, fresh_for) = self.document().await?;
        let hash: [u8; 32] = Sha256::digest(&document).into();
        let known = self.lock().in_use.is_some_and(|(known, _)| known == hash);
        if !known {
            let (keyset, skipped) = file::read_jwks(&place, &document, &self.rules)?;
            self.report(&keyset, &skipped);
            self.keys.store(Arc::new(keyset));
        }
        self.lock().in_use = Some((hash, self.clock.now()));
        Ok((if known { RefreshResult::Unchanged } else { RefreshResult::Loaded }, fresh_for))
    }

    async fn document(&self) -> Result<(String, Vec<u8>, Option<Duration>), LoadError> {
        let uri = match &self.source {
            KeySource::File(path) => {
                let (place, owned) = (path.display().to_string(), path.clone());
                let read = tokio::task::spawn_blocking(move || file::read(&owned)).await;
                let ended =
                    |error: tokio::task::JoinError| LoadError::File { path: path.clone(), why: error.to_string() };
                return Ok((place, read.map_err(ended)??, None));
            }
            KeySource::Uri(uri) => uri.clone(),
            // Each time anew: an issuer may move its keys.
            KeySource::Discover => discovery::discover(&self.client, &self.rules.issuer).await?,
        };
        let fetched = self.client.get(&uri).await?;
        Ok((Place::of(&uri).to_string(), fetched.body.into(), fetched.fresh_for))
    }

    fn report(&self, keyset: &Keyset, skipped: &[Skipped]) {
        let issuer = &self.rules.issuer;
        tracing::info!(%issuer, keys = keyset.len(), skipped = skipped.len(), "keys loaded");
        for entry in skipped.iter().take(MAX_SKIPPED_NAMED) {
            tracing::warn!(%issuer, %entry, "an entry of the JWK set cannot be used");
        }
    }

    /// Whoever panicked with the lock held left a state that the next round replaces.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("rules", &self.rules).field("source", &self.source).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
