//! One issuer that is asked about its opaque tokens.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use super::endpoint::Endpoint;
use super::failure::Failure;
use super::memory::{Memory, Word};
use super::settings::{AnswerForm, IntrospectionSettings};
use crate::clock::Clock;
use crate::keys::{Issuer, Issuers};
use crate::refusal::{Reason, Refusal, shown};
use crate::time::UnixTime;
use crate::verify::{AccessToken, BadAnswer, Introspected, TokenHash, check_length};

/// How much longer than the question itself somebody waits for its answer.
const GRACE: Duration = Duration::from_secs(1);

/// Between two warnings.
const WARNED_EVERY: Duration = Duration::from_secs(10);

/// What a question comes to.
type Outcome = Result<Word, Refusal>;

/// Where the answer to a question will be.
type Coming = watch::Receiver<Option<Outcome>>;

/// Asks one issuer about tokens, remembers for a while what it said, and never asks it twice at a time about one token.
pub struct Introspector {
    issuer: String,
    issuers: Arc<Issuers>,
    endpoint: Endpoint,
    clock: Arc<dyn Clock>,
    runtime: Handle,
    memory: Arc<Memory>,
    /// How many questions may still be asked at once.
    permits: Arc<Semaphore>,
    concurrency: usize,
    /// What is being asked, and where its answer will be.
    under_way: Mutex<HashMap<TokenHash, Coming>>,
    health: Arc<Mutex<Health>>,
    tally: Arc<Tally>,
}

/// How the last question ended.
#[derive(Default)]
struct Health {
    last_error: Option<String>,
    /// Whether the log says that it fails, and when it last began to say so.
    told: bool,
    warned: Option<UnixTime>,
}

#[derive(Default)]
struct Tally {
    active: AtomicU64,
    inactive: AtomicU64,
    unavailable: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// How an endpoint does, for people and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntrospectorStatus {
    /// Whose.
    pub issuer: String,
    /// Why the last question got no answer; none: it did.
    pub last_error: Option<String>,
    /// Questions answered with an active token.
    pub active: u64,
    /// Questions answered with an inactive one.
    pub inactive: u64,
    /// Questions without an answer that could be understood.
    pub unavailable: u64,
    /// Requests whose token was remembered.
    pub hits: u64,
    /// Requests whose token was not.
    pub misses: u64,
    /// How many tokens are remembered: active ones, and denied ones.
    pub remembered: (usize, usize),
}

impl Introspector {
    pub(super) fn new(
        settings: IntrospectionSettings,
        issuers: Arc<Issuers>,
        clock: Arc<dyn Clock>,
        runtime: Handle,
    ) -> Result<Self, rustls::Error> {
        Ok(Self {
            issuer: settings.issuer.clone(),
            issuers,
            clock,
            runtime,
            memory: Arc::new(Memory::new(settings.cache)),
            permits: Arc::new(Semaphore::new(settings.concurrency.min(Semaphore::MAX_PERMITS))),
            concurrency: settings.concurrency,
            under_way: Mutex::default(),
            health: Arc::default(),
            tally: Arc::default(),
            endpoint: Endpoint::new(settings)?,
        })
    }

    /// Whether these settings say what it was told, secrets aside.
    pub fn is_told(&self, settings: &IntrospectionSettings) -> bool {
        self.endpoint.is_told(settings)
            && self.memory.keeps() == settings.cache
            && self.concurrency == settings.concurrency
    }

    /// Follows another one, about the same issuer.
    pub(super) fn succeeding(mut self, earlier: &Self) -> Self {
        let issuer = |of: &'_ Self| of.issuers.get(&of.issuer).map(std::ptr::from_ref);
        let rules = |of: &Self| of.issuers.get(&of.issuer).map(|issuer| issuer.rules().clone());
        // Whose keys would be had otherwise vouches no more for what it signed.
        let same_keys = self.endpoint.form() != AnswerForm::Jwt || issuer(&self) == issuer(earlier);
        if same_keys
            && self.endpoint.is_asked_like(&earlier.endpoint)
            && self.memory.keeps() == earlier.memory.keeps()
            && rules(&self) == rules(earlier)
        {
            self.memory = Arc::clone(&earlier.memory);
            self.health = Arc::clone(&earlier.health);
        }
        self.tally = Arc::clone(&earlier.tally);
        self
    }

    /// Whose tokens it knows.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The token, if its issuer says or said a moment ago that it is active, checked for this moment. Does not look at
    /// the binding. Whoever asks for the same token meanwhile waits for the same answer, which comes even when the
    /// first to ask has gone away.
    ///
    /// # Errors
    /// [`Reason::TokenTooLarge`], [`Reason::TokenInactive`], [`Reason::IntrospectionUnavailable`], and what
    /// [`AccessToken::check`] refuses.
    pub async fn verify(self: &Arc<Self>, token: &str, hash: TokenHash) -> Result<Arc<AccessToken>, Refusal> {
        let issuer = self.issuers.get(&self.issuer).ok_or_else(|| self.unavailable("no such issuer"))?;
        let word = if let Some(word) = self.memory.recall(&hash, self.clock.now()) {
            self.tally.hits.fetch_add(1, Relaxed);
            word
        } else {
            self.tally.misses.fetch_add(1, Relaxed);
            check_length(token)?;
            self.answer(token, hash).await?
        };
        match word {
            Word::Active(token) => token.check(issuer.rules(), self.clock.now()).map(|()| token),
            Word::Inactive => {
                Err(Refusal::new(Reason::TokenInactive).expected(format!("an active token of {}", self.issuer)))
            }
        }
    }

    /// Asks, or waits for the answer to the same question.
    async fn answer(self: &Arc<Self>, token: &str, hash: TokenHash) -> Outcome {
        let (mut answer, question) = match self.join(hash)? {
            Joined::Known(word) => return Ok(word),
            Joined::UnderWay(answer) => (answer, None),
            Joined::First(answer, question) => (answer, Some(question)),
        };
        if let Some(question) = question {
            let token = token.to_owned();
            self.runtime.spawn(async move { question.ask(&token).await });
        }
        // Whoever asks has a deadline; that it holds must not depend on the thread that asks.
        let told = timeout(self.endpoint.timeout() + GRACE, answer.wait_for(Option::is_some)).await;
        let told = told.ok().and_then(|told| told.ok().and_then(|outcome| outcome.clone()));
        told.unwrap_or_else(|| Err(self.unavailable(Failure::GivenUp)))
    }

    fn join(self: &Arc<Self>, hash: TokenHash) -> Result<Joined, Refusal> {
        let mut under_way = lock(&self.under_way);
        if let Some(answer) = under_way.get(&hash) {
            return Ok(Joined::UnderWay(answer.clone()));
        }
        // It may have come since the look into the memory: what has ended was remembered before it was let go.
        if let Some(word) = self.memory.recall(&hash, self.clock.now()) {
            return Ok(Joined::Known(word));
        }
        let busy = || self.unavailable(format!("{} questions under way", self.concurrency));
        let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| busy())?;
        let (tell, answer) = watch::channel(None);
        under_way.insert(hash, answer.clone());
        Ok(Joined::First(answer, Question { introspector: Arc::clone(self), hash, tell, _permit: permit }))
    }

    async fn ask(&self, token: &str, hash: TokenHash) -> Result<(Word, usize), Failure> {
        let asking = async {
            let answer = self.endpoint.ask(token, self.clock.now()).await?;
            let introspected = self.read(&answer, hash).await?;
            Ok((introspected, answer.len()))
        };
        let asked = timeout(self.endpoint.timeout(), asking).await;
        let (introspected, length) = asked.unwrap_or_else(|_| Err(self.endpoint.too_slow()))?;
        let word = match introspected {
            Introspected::Inactive => Word::Inactive,
            Introspected::Active(token) => {
                self.note_type(&token);
                Word::Active(Arc::from(token))
            }
        };
        Ok((word, length))
    }

    async fn read(&self, answer: &Bytes, hash: TokenHash) -> Result<Introspected, Failure> {
        let bad = |bad| Failure::Answer(self.endpoint.place(), bad);
        let no_keys = || Failure::NoKeys(self.endpoint.place());
        let issuer = self.issuers.get(&self.issuer).ok_or_else(no_keys)?;
        if self.endpoint.form() == AnswerForm::Json {
            return Introspected::read(answer, hash, issuer.rules()).map_err(bad);
        }
        let read = |issuer: &Issuer| {
            let keys = issuer.keys().ok()?;
            let (client_id, now) = (self.endpoint.client_id(), self.clock.now());
            Some(Introspected::read_signed(answer, hash, issuer.rules(), &keys, client_id, now))
        };
        match read(issuer) {
            // The issuer may have changed its keys, or may not have been there when the gateway started.
            None | Some(Err(BadAnswer::KeyUnknown)) => {
                issuer.refresh_for_unknown_key().await;
                read(issuer).ok_or_else(no_keys)?.map_err(bad)
            }
            Some(read) => read.map_err(bad),
        }
    }

    /// What the token is bound to is `cnf`'s to say, and nobody else's: a `token_type` that contradicts it is the
    /// issuer's slip.
    fn note_type(&self, token: &AccessToken) {
        let kind = token.claim("token_type").and_then(serde_json::Value::as_str);
        let names_key = token.confirmation().is_ok_and(|cnf| cnf.is_some_and(|cnf| cnf.jkt.is_some()));
        if let Some(kind) = kind.filter(|kind| names_key && !kind.eq_ignore_ascii_case("dpop")) {
            tracing::debug!(issuer = %self.issuer, token_type = %shown(kind), "a token with cnf.jkt is of another type");
        }
    }

    /// Counts, remembers and tells how a question ended that was asked at `at`.
    fn ended(&self, hash: TokenHash, at: UnixTime, asked: Result<(Word, usize), Failure>) -> Outcome {
        let counter = match &asked {
            Ok((Word::Active(_), _)) => &self.tally.active,
            Ok((Word::Inactive, _)) => &self.tally.inactive,
            Err(_) => &self.tally.unavailable,
        };
        counter.fetch_add(1, Relaxed);
        self.tell(asked.as_ref().err().map(ToString::to_string));
        match asked {
            Ok((word, length)) => {
                self.memory.keep(hash, &word, length, at);
                Ok(word)
            }
            Err(failure) => Err(self.unavailable(failure)),
        }
    }

    /// One line for each change. An issuer that answers some questions and not others changes often, by its clients'
    /// choice: that is told once in a while.
    fn tell(&self, error: Option<String>) {
        let (mut health, now) = (lock(&self.health), self.clock.now());
        let is_news = || health.warned.is_none_or(|at| now.seconds_since(at).abs() >= WARNED_EVERY.as_secs_f64());
        match &error {
            Some(error) if !health.told && is_news() => {
                tracing::warn!(issuer = %self.issuer, %error, "opaque tokens cannot be asked about");
                (health.told, health.warned) = (true, Some(now));
            }
            None if health.told => {
                tracing::info!(issuer = %self.issuer, "opaque tokens can be asked about again");
                health.told = false;
            }
            Some(_) | None => {}
        }
        health.last_error = error;
    }

    fn unavailable(&self, why: impl fmt::Display) -> Refusal {
        Refusal::new(Reason::IntrospectionUnavailable)
            .expected(format!("an answer of {}", self.issuer))
            .found(why.to_string())
    }

    /// How it does.
    pub fn status(&self) -> IntrospectorStatus {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        IntrospectorStatus {
            issuer: self.issuer.clone(),
            last_error: lock(&self.health).last_error.clone(),
            active: read(&self.tally.active),
            inactive: read(&self.tally.inactive),
            unavailable: read(&self.tally.unavailable),
            hits: read(&self.tally.hits),
            misses: read(&self.tally.misses),
            remembered: self.memory.len(),
        }
    }
}

/// Whoever panicked with a lock held left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What somebody finds who wants to know of a token.
enum Joined {
    Known(Word),
    UnderWay(Coming),
    First(Coming, Question),
}

/// A question under way. However it ends, the next one about the same token may be asked.
struct Question {
    introspector: Arc<Introspector>,
    hash: TokenHash,
    tell: watch::Sender<Option<Outcome>>,
    _permit: OwnedSemaphorePermit,
}

impl Question {
    async fn ask(self, token: &str) {
        let at = self.introspector.clock.now();
        let asked = self.introspector.ask(token, self.hash).await;
        let outcome = self.introspector.ended(self.hash, at, asked);
        self.tell.send_replace(Some(outcome));
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        lock(&self.introspector.under_way).remove(&self.hash);
    }
}

impl fmt::Debug for Introspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspector").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
