//! The last requests that were refused, for people who ask why.
//!
//! Kept in memory, within fixed bounds, as long as the process lives: of each reason the last few, so that a flood of one
//! hides no other. Nothing is kept of what a client could use again: no token, proof, nonce or key, no query.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::Method;

use crate::refusal::{Progress, Reason, Refusal, cut};
use crate::request::RequestId;
use crate::time::UnixTime;

/// Requests that are kept of each reason; of those that only observing let pass, as many more.
const EACH: usize = 16;

/// Bytes that are kept of a text.
const LONGEST: usize = 256;

/// What is remembered of one.
#[derive(Debug)]
pub struct RefusedRequest {
    /// Its name.
    pub id: RequestId,
    /// When it was refused.
    pub at: UnixTime,
    /// Why, with what was expected and found.
    pub refusal: Refusal,
    /// How far it came before that.
    pub progress: Progress,
    /// Whether it passed all the same, because its route only observes.
    pub observed: bool,
    /// The address that asked.
    pub peer: IpAddr,
    /// Its method; `None`: longer than any.
    pub method: Option<Method>,
    /// Its host, where the access log has it.
    pub host: Box<str>,
    /// Its path without query, or the beginning of it, where the access log has it.
    pub path: Box<str>,
    /// The name of its route, if it came so far.
    pub route: Option<Arc<str>>,
    /// Whose token it was, if that holds and tells.
    pub client_id: Option<Box<str>>,
}

impl RefusedRequest {
    /// Of a request about which nothing else is known.
    pub fn new(refusal: &Refusal, progress: Progress, id: RequestId, peer: IpAddr, at: UnixTime) -> Self {
        Self {
            id,
            at,
            refusal: refusal.shortened(LONGEST),
            progress,
            observed: false,
            peer,
            method: None,
            host: Box::default(),
            path: Box::default(),
            route: None,
            client_id: None,
        }
    }

    /// Adds what was asked.
    #[must_use]
    pub fn asked(mut self, method: &Method, host: &str, path: &str) -> Self {
        self.method = Some(method).filter(|method| method.as_str().len() <= 32).cloned();
        self.host = cut(host, LONGEST).into();
        self.path = cut(path, LONGEST).into();
        self
    }

    /// Adds what was found out about it.
    #[must_use]
    pub fn known(mut self, route: Option<&Arc<str>>, client_id: Option<&str>, observed: bool) -> Self {
        self.route = route.map(Arc::clone);
        self.client_id = client_id.map(|id| cut(id, LONGEST).into());
        self.observed = observed;
        self
    }
}

type Ring = Mutex<VecDeque<Arc<RefusedRequest>>>;

/// All of them. One short lock for each, and none that two reasons share.
pub struct RecentRefusals {
    /// By reason; first those that were refused, then those that only observing let pass.
    rings: Box<[Ring]>,
}

impl Default for RecentRefusals {
    fn default() -> Self {
        Self { rings: (0..2 * Reason::ALL.len()).map(|_| Ring::default()).collect() }
    }
}

impl RecentRefusals {
    /// The most that are remembered of one reason.
    pub const EACH: usize = EACH;

    /// Remembers one.
    pub fn note(&self, refused: RefusedRequest) {
        let offset = if refused.observed { Reason::ALL.len() } else { 0 };
        let Some(ring) = self.rings.get(offset + refused.refusal.reason() as usize) else { return };
        let refused = Arc::new(refused);
        let mut ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = if ring.len() < EACH { None } else { ring.pop_front() };
        ring.push_back(refused);
        drop(ring);
        // Where nobody waits for it.
        drop(oldest);
    }

    /// The one of this name.
    pub fn find(&self, id: &str) -> Option<Arc<RefusedRequest>> {
        self.all().find(|refused| refused.id.as_str() == id)
    }

    /// The last ones, the newest first.
    pub fn latest(&self, most: usize) -> Vec<Arc<RefusedRequest>> {
        let mut all: Vec<_> = self.all().collect();
        // Ids count up; a longer one is a later one.
        let key = |refused: &RefusedRequest| (refused.at, refused.id.as_str().len());
        all.sort_by(|a, b| key(b).cmp(&key(a)).then_with(|| b.id.as_str().cmp(a.id.as_str())));
        all.truncate(most);
        all
    }

    fn all(&self) -> impl Iterator<Item = Arc<RefusedRequest>> {
        let copy = |ring: &Ring| ring.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.rings.iter().flat_map(copy)
    }
}

impl fmt::Debug for RecentRefusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecentRefusals").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(number: u64, reason: Reason) -> RefusedRequest {
        let (progress, peer) = (Progress::default(), [192, 0, 2, 1].into());
        let at = UnixTime::from_millis(1_000_000 + i64::try_from(number / 10).unwrap());
        RefusedRequest::new(&Refusal::new(reason), progress, RequestId::new(1, number), peer, at)
    }

    #[test]
    fn of_each_reason_the_last_few_are_kept() {
        let recent = RecentRefusals::default();
        recent.note(refused(1, Reason::ProofReplayed));
        for number in 2..1000 {
            recent.note(refused(number, Reason::CredentialsMissing));
        }
        recent.note(RefusedRequest { observed: true, ..refused(1000, Reason::CredentialsMissing) });
        let all = recent.latest(usize::MAX);
        assert_eq!(all.len(), 1 + EACH + 1);
        let ids: Vec<_> = all.iter().map(|refused| refused.id.as_str()).collect();
        let id = |number: u64| RequestId::new(1, number).to_string();
        let kept = (1000 - u64::try_from(EACH).unwrap()..=1000).rev().chain([1]).map(id);
        assert_eq!(ids, kept.collect::<Vec<_>>());
        assert!(recent.find(&id(1)).is_some() && recent.find(&id(999)).is_some());
        assert!(recent.find(&id(2)).is_none() && recent.find("").is_none());
        assert_eq!(recent.latest(2).len(), 2);
    }

    #[test]
    fn texts_are_cut() {
        let long = "é".repeat(10_000);
        let refusal = Refusal::new(Reason::ProofTarget).expected(long.clone()).found(long.clone());
        let bare = refused(1, Reason::ProofTarget);
        let kept = RefusedRequest::new(&refusal, bare.progress, bare.id, bare.peer, bare.at)
            .asked(&Method::from_bytes("M".repeat(1000).as_bytes()).unwrap(), &long, &long)
            .known(None, Some(&long), false);
        let refusal = kept.refusal;
        let texts =
            [refusal.what_was_expected(), refusal.what_was_found(), kept.client_id.as_deref(), Some(&*kept.path)];
        assert!(texts.into_iter().all(|text| text.unwrap().len() == LONGEST) && kept.host.len() == LONGEST);
        assert_eq!(kept.method, None);
    }
}
